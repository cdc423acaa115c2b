#include "athd/dispatch.h"

method_fn *const method_table[RPC_METHOD_COUNT] = {
    [RPC_AGENT_HELLO] = method_agent_hello,
    [RPC_AGENT_STATUS] = method_agent_status,
    [RPC_EVENTS_SUBSCRIBE] = method_events_subscribe,
    [RPC_KEY_CREATE] = method_key_create,
    [RPC_KEY_LIST] = method_key_list,
    [RPC_KEY_GET] = method_key_get,
    [RPC_KEY_DELETE] = method_key_delete,
    [RPC_KEY_IMPORT] = method_key_import,
    [RPC_KEY_EXPORT] = method_key_export,
    [RPC_PEER_PIN] = method_peer_pin,
    [RPC_PEER_LIST] = method_peer_list,
    [RPC_PEER_REMOVE] = method_peer_remove,
};
