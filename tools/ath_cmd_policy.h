/* Commands of `ath policy` with code of their own; private to tools/ath_cmd_policy*.c. */
#ifndef TOOLS_ATH_CMD_POLICY_H
#define TOOLS_ATH_CMD_POLICY_H

#include "ath_cmd.h"

cmd_run_fn cmd_run_policy_diff, cmd_run_policy_learn, cmd_run_explain;

#endif
