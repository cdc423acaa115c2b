#include "athd/dispatch.h"

method_fn *const method_table[RPC_METHOD_COUNT] = {
    [RPC_AGENT_HELLO] = method_agent_hello,
    [RPC_AGENT_STATUS] = method_agent_status,
    [RPC_EVENTS_SUBSCRIBE] = method_events_subscribe,
};
