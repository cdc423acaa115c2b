/* What an application offers to whom (service.put): pure rules of the server role. */
#ifndef PROTOCOL_SERVICE_H
#define PROTOCOL_SERVICE_H

#include "base/json.h"
#include "protocol/did.h"
#include "protocol/origin.h"
#include "protocol/scope.h"

struct service_agent { /* which scopes a client may have */
    char *did;         /* a DID or "*" */
    struct scope_list scopes;  /* as configured; may be empty: named, but nothing is allowed */
    struct scope_list allowed; /* those of them that the service supports */
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

/* From the params of service.put, strict: an unknown member is refused (`trace` is ignored).
 * ATH_ERR_INVALID_PARAMS with why, ATH_ERR_NOMEM. The caller frees *ret_service. */
ath_err service_decode(const struct json *object, struct why *why, struct service **ret_service) ATH_MUST_USE;
/* The same members again; what is optional and at its default is left out. ATH_ERR_NOMEM. */
ath_err service_encode(const struct service *service, struct json **ret_object) ATH_MUST_USE;
void service_free(struct service *service); /* NULL is fine */

/* The scopes of scopes_supported this client may have; NULL if no rule names it (nor "*"). A rule for
 * the DID itself wins over "*". Borrowed. */
const struct scope_list *service_scopes_of(const struct service *service, const char *client_did);
const char *service_account_of(const struct service *service, const char *user_did); /* NULL: unknown */
bool service_has_origin(const struct service *service, const char *origin);
/* users["*"]: anyone who makes a user key is served; service.put warns of it. */
bool service_serves_anyone(const struct service *service);

#endif
