/* policy.json and policy.d of a configuration directory, read whole. Blocks. */
#ifndef POLICY_POLICY_FILES_H
#define POLICY_POLICY_FILES_H

#include "policy/policy_rules.h"

/* DIR/policy.json, then DIR/policy.d, its .json files in the order of their names. They must be
 * ours or root's and not writable by everybody. ATH_ERR_NOT_FOUND: there is none of them;
 * ATH_ERR_INVALID_PARAMS with file and line; ATH_ERR_IO, ATH_ERR_NOMEM. */
ath_err policy_files_read(const char *dir, uid_t owner, struct why *why,
                          struct policy_rules **ret_rules) ATH_MUST_USE;
/* One file, whoever's it is, or a directory as above. Errors as above. */
ath_err policy_files_read_at(const char *path, uid_t owner, struct why *why,
                             struct policy_rules **ret_rules) ATH_MUST_USE;

#endif
