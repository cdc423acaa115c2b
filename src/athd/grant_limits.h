/*
 * What a grant can be used for, as one rule of policy (athd-policy(5)): its methods, keys,
 * audiences, peers, scopes, and the unit its callers are in. Some methods are the owner's alone,
 * and in no grant whatever it names. Pure, but for memory.
 */
#ifndef ATHD_GRANT_LIMITS_H
#define ATHD_GRANT_LIMITS_H

#include "policy/policy_rules.h"

#define GRANT_METHODS_DEFAULT "group:use"
#define GRANT_LIMITS_MAX_LEN                                                                       \
    16384u /* as JSON: all of them go into one answer, each into a record */

/*
 * From `object`, the params of grant.create or a grant's file: keys, and where they are there
 * methods, audiences, peers, scopes, unit. `within` (NULL: none) is what the grant that makes this
 * one has: methods that are not named are then those of the default that it has.
 * ATH_ERR_INVALID_PARAMS and ATH_ERR_LIMIT_EXCEEDED with why, ATH_ERR_NOMEM.
 */
ath_err grant_limits_new(const struct json *object, uid_t owner, const struct policy_rule *within,
                         struct why *why, struct policy_rules **ret_limits) ATH_MUST_USE;
const struct policy_rule *grant_limits_rule(const struct policy_rules *limits);

/* Is the method never to be had through a grant's socket? */
bool grant_limits_is_owners(enum rpc_method_id method);

/* Is everything `inner` allows also what `outer` allows? Else what is wider, as "audiences:
 * https://a.example", in *why. Keys are compared by name. ATH_ERR_POLICY_DENIED. */
ath_err grant_limits_check_narrower(const struct policy_rule *outer,
                                    const struct policy_rule *inner, struct why *why) ATH_MUST_USE;

/* methods, audiences, peers, scopes and unit, as far as there are any. */
void grant_limits_put(const struct policy_rule *rule, struct json_maker *object);
void grant_limits_put_texts(struct json_maker *object, const char *name,
                            const struct policy_texts *texts);
void grant_limits_put_methods(const struct policy_rule *rule, struct json_maker *object);

#endif
