/* Issuing a grant by the user's key: policy, the user's yes, signature and record, then on disk. */
#ifndef ATHD_GRANT_ISSUE_H
#define ATHD_GRANT_ISSUE_H

#include "athd/credential_store.h"
#include "athd/key_store.h"
#include "athd/request.h"

struct grant_order { /* all borrowed during the call, copied */
    const char *client_did;
    const char *const *audiences; /* NULL: any server */
    size_t audience_count;
    const struct scope_list *scopes;
    int64_t ttl;
    const char *purpose; /* the agent's own words, for the question; NULL: none */
    int64_t timeout_s;   /* of the question; 0: the configured one */
};

/* credential is the store's, valid during the call; NULL on failure. data (taken, may be NULL) is
 * for request_fail_data. */
typedef void grant_done_fn(void *ctx, ath_err err, const struct why *why, struct json *taken_data,
                           const struct credential *credential);

/* While it runs it is the request's stage. done once; may be called from inside. Errors:
 * POLICY_DENIED, those of consent and of signing, EXISTS and LIMIT_EXCEEDED of the store. */
void grant_issue(struct request *request, struct key *user_key, const struct grant_order *order,
                 grant_done_fn *done, void *ctx);

#endif
