/* The table behind methods.h; private to src/rpc. */
#ifndef RPC_METHODS_TABLE_H
#define RPC_METHODS_TABLE_H

#include "rpc/methods.h"

extern const struct rpc_method rpc_methods[RPC_METHOD_COUNT];

#endif
