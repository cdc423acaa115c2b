/* What policy is asked about a call, from its params and from what they name: a handshake, a
 * session and a service have keys and other sides. */
#ifndef ATHD_POLICY_QUESTION_H
#define ATHD_POLICY_QUESTION_H

#include "athd/policy.h"
#include "athd/request.h"
#include "protocol/protocol_limits.h"

#define POLICY_QUESTION_AUDIENCES 16u /* as many as a method takes */

struct policy_asked {
    struct policy_question question; /* points into the rest, the params and athd's tables */
    const char *audiences[POLICY_QUESTION_AUDIENCES];
    const char *peers[1];
    struct scope_list scopes; /* owned */
};

/* Before the method: what signs is a preliminary question, put again when all is known. Valid until
 * the loop's next turn; ended by policy_asked_done, also after an error. ATH_ERR_NOMEM. */
ath_err policy_question_of_call(const struct tenant *tenant, const struct caller *caller,
                                const struct rpc_method *method, const struct json *params,
                                struct policy_asked *ret_asked) ATH_MUST_USE;
/* As if all were known, for policy.check; what is read from a message only leaves it preliminary.
 * As policy_question_of_call. */
ath_err policy_question_of_check(const struct tenant *tenant, const struct caller *caller,
                                 const struct rpc_method *method, const struct json *params,
                                 struct policy_asked *ret_asked) ATH_MUST_USE;
void policy_asked_done(struct policy_asked *asked);

/* A copy of a question, for when somebody has answered: what it pointed to may be gone then.
 * ATH_ERR_NOMEM. */
struct policy_kept;
ath_err policy_kept_new(const struct policy_question *question,
                        struct policy_kept **ret_kept) ATH_MUST_USE;
const struct policy_question *policy_kept_question(const struct policy_kept *kept);
void policy_kept_free(struct policy_kept *kept); /* NULL is fine */

#endif
