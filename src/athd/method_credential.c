/* credential.*: what users grant in advance. */
#include <stdlib.h>
#include <string.h>

#include "athd/credential_store.h"
#include "athd/dispatch.h"
#include "athd/grant.h"
#include "athd/grant_issue.h"
#include "athd/method_support.h"
#include "base/clock.h"

/* ---- issue ---- */

static void
on_issued(void *ctx, ath_err err, const struct why *why, struct json *taken_data,
          const struct credential *credential)
{
    struct request *request = ctx;
    struct json_maker result;

    if (err != ATH_OK) {
        request_fail_data(request, err, why, taken_data);
        return;
    }
    json_object_begin(&result);
    json_put_copy(&result, "credential", credential->text);
    json_put_string(&result, "jti", credential->id);
    json_put_int(&result, "expires_at", credential->grant.expires_at);
    request_finish_maker(request, &result);
}

/* A DID that says its role must say this one. */
static bool
is_did_of(const char *did, enum did_role role)
{
    const char *name = did_role_name(role);

    if (!did_is_valid(did))
        return false;
    return !did_is_self_certifying(did) ||
           strncmp(did + strlen("did:ath:"), name, strlen(name)) == 0;
}

static ath_err
check_parties(const struct request *request, const char *const *audiences, size_t count,
              struct why *why)
{
    if (!is_did_of(method_param(request, "client"), DID_CLIENT))
        return why_set(why, ATH_ERR_INVALID_PARAMS, "client is not the DID of a client");
    for (size_t i = 0; i < count; i++)
        if (!is_did_of(audiences[i], DID_SERVER))
            return why_set(why, ATH_ERR_INVALID_PARAMS, "audience is not the DID of a server");
    return ATH_OK;
}

void
method_credential_issue(struct request *request)
{
    const char *audiences[AUDIENCES_MAX];
    struct scope_list scopes = {0};
    struct grant_order order = {.client_did = method_param(request, "client"), .scopes = &scopes};
    struct key *key = NULL;
    struct why why = {""};
    ath_err err;

    order.audience_count =
        method_strings(method_param_json(request, "audience"), audiences, AUDIENCES_MAX);
    order.audiences = order.audience_count == 0 ? NULL : audiences;
    err = method_key(request, method_param(request, "key"), DID_USER, &why, &key);
    if (err == ATH_OK)
        err = check_parties(request, audiences, order.audience_count, &why);
    if (err == ATH_OK &&
        scope_list_decode(method_param_json(request, "scopes"), 1, &why, &scopes) != ATH_OK)
        err = ATH_ERR_INVALID_PARAMS;
    if (err == ATH_OK && !json_get_int(request->params, "ttl", &order.ttl))
        err = ATH_ERR_INVALID_PARAMS;
    if (err == ATH_OK)
        grant_issue(request, key, &order, on_issued, request);
    else
        request_fail(request, err, &why);
    scope_list_done(&scopes);
}

/* ---- put, verify, list ---- */

struct putting {
    struct request *request;
    struct json_maker record;
};

/* A caller at a grant's socket has to do with its keys' credentials only. */
static bool
is_of_caller(const struct request *request, const char *did)
{
    const struct grant *through = request->caller->through;
    const struct key *key = through == NULL ? NULL : key_store_find_did(request->tenant->keys, did);

    return through == NULL || (key != NULL && grant_has_key(through, key));
}

static void
putting_fail(struct putting *putting, ath_err err, const struct why *why)
{
    struct request *request = putting->request;

    json_maker_done(&putting->record);
    free(putting);
    request_fail(request, err, why);
}

static void
on_put(void *ctx, ath_err err, const struct why *why)
{
    struct putting *putting = ctx;
    struct request *request = putting->request;
    struct json_maker result;

    if (err != ATH_OK) {
        putting_fail(putting, err, why);
        return;
    }
    audit_record_note(request->athd, &putting->record);
    free(putting);
    json_object_begin(&result);
    request_finish_maker(request, &result);
}

/* What was put is recorded when it is on disk. */
static struct putting *
putting_new(struct request *request, const struct user_grant *grant)
{
    struct putting *putting = calloc(1, sizeof(*putting));
    struct json *scopes = NULL;

    if (putting == NULL)
        return NULL;
    putting->request = request;
    audit_record_begin(&putting->record, "credential_stored", request);
    json_put_string(&putting->record, "jti", grant->jti);
    json_put_string(&putting->record, "user_id", grant->user_did);
    json_put_string(&putting->record, "agent_id", grant->client_did);
    if (scope_list_encode(&grant->scopes, &scopes) != ATH_OK)
        scopes = NULL;
    json_put_take(&putting->record, "effective_scopes", scopes);
    json_put_int(&putting->record, "expires_at", grant->expires_at);
    return putting;
}

/* Of one that came through a grant; frees the credential where there is none. */
static ath_err
check_room(const struct request *request, struct credential *credential, struct why *why)
{
    const struct grant *through = request->caller->through;
    ath_err err = ATH_OK;

    if (through != NULL)
        err = ath_strdup_to(grant_outermost(through)->name, &credential->through);
    if (err == ATH_OK)
        err = credential_store_check_room(request->tenant->credentials, credential, why);
    if (err != ATH_OK)
        credential_free(credential);
    return err;
}

void
method_credential_put(struct request *request)
{
    const struct json *param = method_param_json(request, "credential");
    struct tenant *tenant = request->tenant;
    struct credential *credential = NULL;
    struct user_grant grant = {0};
    struct putting *putting = NULL;
    struct why why = {""};
    struct json *text;
    int64_t now = clock_now();
    ath_err err;

    if ((err = user_grant_read(param, &tenant->pins, now, &why, &grant)) != ATH_OK) {
        request_fail(request, err, &why);
        return;
    }
    if (!is_of_caller(request, grant.client_did)) {
        user_grant_done(&grant);
        request_fail(request,
                     why_set(&why, ATH_ERR_POLICY_DENIED,
                             "the credential is for none of the grant's keys"),
                     &why);
        return;
    }
    text = json_clone(param);
    if (text == NULL || (putting = putting_new(request, &grant)) == NULL) {
        json_free(text);
        user_grant_done(&grant);
        request_fail(request, ATH_ERR_NOMEM, NULL);
        return;
    }
    if ((err = credential_new(text, &grant, now, &credential)) == ATH_OK &&
        (err = check_room(request, credential, &why)) == ATH_OK)
        err = credential_store_put(tenant->credentials, credential, on_put, putting);
    if (err == ATH_ERR_EXISTS)
        (void)why_set(&why, err, "another grant with this jti is kept here already");
    if (err != ATH_OK)
        putting_fail(putting, err, &why);
}

static ath_err
check_grant(const struct request *request, const struct user_grant *grant, struct why *why)
{
    const char *client = method_param(request, "client"),
               *audience = method_param(request, "audience");

    if (client != NULL && strcmp(client, grant->client_did) != 0)
        return why_set(why, ATH_ERR_INVALID_CREDENTIAL, "the grant is for another client");
    if (audience != NULL)
        return user_grant_check(grant, grant->client_did, audience, why);
    return ATH_OK;
}

void
method_credential_verify(struct request *request)
{
    struct user_grant grant = {0};
    struct json_maker result;
    struct why why = {""};
    ath_err err;

    err = user_grant_read(method_param_json(request, "credential"), &request->tenant->pins,
                          clock_now(), &why, &grant);
    if (err == ATH_OK)
        err = check_grant(request, &grant, &why);
    if (err != ATH_OK) {
        user_grant_done(&grant);
        request_fail(request, err, &why);
        return;
    }
    json_object_begin(&result);
    json_put_bool(&result, "valid", true);
    credential_put_grant(&result, grant.jti, &grant);
    user_grant_done(&grant);
    request_finish_maker(request, &result);
}

struct listing {
    const struct request *request;
    struct json_maker array;
};

static void
list_credential(void *ctx, const struct credential *credential)
{
    struct listing *listing = ctx;
    struct json *object = NULL;

    if (!is_of_caller(listing->request, credential->grant.client_did) &&
        !is_of_caller(listing->request, credential->grant.user_did))
        return;
    if (credential_encode(credential, &object) != ATH_OK)
        object = NULL;
    json_put_take(&listing->array, NULL, object);
}

void
method_credential_list(struct request *request)
{
    struct listing listing = {.request = request};
    struct json_maker result;

    credential_store_prune(request->tenant->credentials, clock_now());
    json_array_begin(&listing.array);
    credential_store_each(request->tenant->credentials, list_credential, &listing);
    json_object_begin(&result);
    json_put_maker(&result, "credentials", &listing.array);
    request_finish_maker(request, &result);
}
