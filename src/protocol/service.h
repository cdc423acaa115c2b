/* What an application offers to whom (service.put): pure rules of the server role. */
#ifndef PROTOCOL_SERVICE_H
#define PROTOCOL_SERVICE_H

#include "base/json.h"
#include "protocol/did.h"
#include "protocol/scope.h"

struct service_agent { /* which scopes a client may have */
    char *did;         /* a DID or "*" */
    struct scope_list scopes;
};

struct service_user { /* which account a user is */
    char *did;        /* a DID or "*" */
    char *account;
};

struct service {
    char *name;
    char *key; /* name of the server key */
    struct scope_list scopes_supported;
    int64_t token_max_ttl; /* 1 to 3600 */
    bool require_user_confirmation;
    struct service_agent *agents;
    size_t agent_count;
    struct service_user *users;
    size_t user_count;
    char **origins; /* https://host[:port] */
    size_t origin_count;
    bool bearer;
    struct json *restrictions; /* object or NULL */
};

/* From the params of service.put, strict. ATH_ERR_INVALID_PARAMS with why. */
ath_err service_decode(const struct json *object, struct why *why, struct service **ret_service) ATH_MUST_USE;
ath_err service_encode(const struct service *service, struct json **ret_object) ATH_MUST_USE;
void service_free(struct service *service);

/* The scopes of scopes_supported this client may have; NULL if no rule names it (nor "*"). A rule for the DID itself wins
 * over "*". Borrowed. */
const struct scope_list *service_scopes_of(const struct service *service, const char *client_did);
const char *service_account_of(const struct service *service, const char *user_did); /* NULL: unknown */
bool service_has_origin(const struct service *service, const char *origin);
bool origin_is_valid(const char *origin); /* https://host[:port], http:// on loopback, lower case, no default port, no slash */

#endif
