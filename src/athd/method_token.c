/* token.verify: is this one of our access tokens, and may whoever presents it use it now? */
#include <stdlib.h>
#include <string.h>

#include "athd/dispatch.h"
#include "athd/method_support.h"
#include "athd/replay_store.h"
#include "athd/session_table.h"
#include "base/clock.h"
#include "protocol/dpop.h"
#include "protocol/jwt.h"

struct token_check {
    struct request *request;
    struct access_token token;   /* owned */
    const struct service *rules; /* borrowed; not used after the first turn */
    struct ath_slice text;       /* in params */
    char *account;               /* owned */
};

static void
check_free(struct token_check *check)
{
    access_token_done(&check->token);
    free(check->account);
    free(check);
}

/* A scope that the token does not hold is ATH's scope_violation. What holds has no record: the
 * decision was that of the handshake, which has one. */
static void
record_refused(const struct token_check *check, ath_err err)
{
    const struct request *request = check->request;
    const struct access_token *token = &check->token;
    const bool is_scope = err == ATH_ERR_SCOPE_NOT_APPROVED;
    struct json *scopes = NULL;
    struct json_maker record, denied;

    if (!audit_flood_admits(&request->athd->flood, is_scope ? "scope_violation" : "token_refused",
                            request->caller->uid))
        return;
    audit_record_begin(&record, is_scope ? "scope_violation" : "token_refused", request);
    json_put_string(&record, "service", method_param(request, "service"));
    json_put_string(&record, "agent_id", token->client_did);
    json_put_string(&record, "user_id", token->user_did);
    json_put_string(&record, "provider_id", token->server_did);
    if (is_scope) {
        json_array_begin(&denied);
        json_put_string(&denied, NULL, method_param(request, "scope"));
        json_put_maker(&record, "denied_scopes", &denied);
        if (scope_list_encode(&token->scopes, &scopes) != ATH_OK)
            scopes = NULL;
        json_put_take(&record, "effective_scopes", scopes);
    }
    json_put_string(&record, "denial_reason", ath_err_reason(err));
    audit_record_note(request->athd, &record);
}

static void
check_end(struct token_check *check, ath_err err, const struct why *why)
{
    struct request *request = check->request;
    struct json *claims = NULL;
    struct json_maker result;

    if (err == ATH_OK)
        err = access_token_claims(&check->token, &claims);
    if (err != ATH_OK) {
        record_refused(check, err);
        check_free(check);
        request_fail(request, err, why);
        return;
    }
    json_object_begin(&result);
    json_put_take(&result, "claims", claims);
    json_put_string(&result, "account", check->account);
    check_free(check);
    request_finish_maker(request, &result);
}

/* ---- the token by itself ---- */

/* What the service's rules say today counts, not what they said when the token was made. */
static ath_err
check_rules(const struct token_check *check, const char *scope, struct why *why)
{
    const struct scope_list *allowed = service_scopes_of(check->rules, check->token.client_did);

    if (allowed == NULL)
        return why_set(why, ATH_ERR_UNKNOWN_PEER, "the service no longer serves this client");
    if (check->account == NULL)
        return why_set(why, ATH_ERR_UNKNOWN_PEER, "the service no longer knows this user");
    if (scope == NULL)
        return ATH_OK;
    if (!scope_list_has(&check->token.scopes, scope) || !scope_list_has(allowed, scope))
        return why_set(why, ATH_ERR_SCOPE_NOT_APPROVED, "the token does not hold the scope \"%s\"",
                       scope);
    return ATH_OK;
}

static ath_err
check_token(struct token_check *check, struct why *why)
{
    struct request *request = check->request;
    const char *name = method_param(request, "service"), *account;
    const struct service_entry *entry =
        service_store_find_for(request->tenant, request->caller, name);
    const struct key *key;
    ath_err err;

    if (entry == NULL) {
        (void)why_set(why, ATH_ERR_NOT_FOUND, "there is no service \"%s\"", name);
        return ATH_ERR_NOT_FOUND;
    }
    check->rules = entry->rules;
    if ((key = key_store_find(request->tenant->keys, entry->rules->key)) == NULL ||
        key->role != DID_SERVER)
        return why_set(why, ATH_ERR_KEY_NOT_FOUND, "the service's key \"%s\" is gone",
                       entry->rules->key);
    if ((err = access_token_read(check->text, key->public_key, why, &check->token)) != ATH_OK)
        return err;
    if (strcmp(check->token.server_did, key->did) != 0)
        return why_set(why, ATH_ERR_INVALID_CREDENTIAL, "the token is of another server");
    if (!access_token_is_current(&check->token, clock_now()))
        return why_set(why, ATH_ERR_INVALID_CREDENTIAL,
                       "the token has expired or is not valid yet");
    account = service_account_of(entry->rules, check->token.user_did);
    if (account != NULL && (check->account = ath_strdup(account)) == NULL)
        return ATH_ERR_NOMEM;
    return check_rules(check, method_param(request, "scope"), why);
}

/* ---- who presents it ---- */

static ath_err
check_session(const struct token_check *check, const char *id, struct why *why)
{
    struct session *session = NULL;
    ath_err err;

    if ((err = session_table_find_for(check->request->tenant->sessions, id, check->request->caller,
                                      &session)) != ATH_OK)
        return err;
    if (session->service == NULL ||
        strcmp(session->service->rules->name, check->rules->name) != 0 ||
        memcmp(session->transcript, check->token.transcript, SHA256_LEN) != 0)
        return why_set(why, ATH_ERR_INVALID_CREDENTIAL, "the token belongs to another session");
    return ATH_OK;
}

static void
on_used(void *ctx, ath_err err, const struct why *why)
{
    check_end(ctx, err, why);
}

/* The proof as a string, or {jwt, method?, uri?} by a caller that says which HTTP request it came
 * with. ATH_OK: the answer follows when the proof's jti is remembered. */
static ath_err
check_proof(struct token_check *check, const struct json *proof, struct why *why)
{
    const char *jwt =
        json_string(proof) != NULL ? json_string(proof) : json_get_string(proof, "jwt");
    const struct dpop_expected expected = {
        .access_token = check->text,
        .jkt = check->token.client_jkt,
        .method = json_get_string(proof, "method"),
        .uri = json_get_string(proof, "uri"),
        .now = clock_now(),
    };
    int64_t fresh_until = 0;
    char *jti = NULL;
    ath_err err;

    if (jwt == NULL) {
        (void)why_set(why, ATH_ERR_INVALID_PARAMS, "proof must be a JWT, or hold one as \"jwt\"");
        return ATH_ERR_INVALID_PARAMS;
    }
    err = dpop_check(ath_slice_of_string(jwt), &expected, why, &jti, &fresh_until);
    if (err == ATH_OK)
        err = method_use(check->request, check->token.client_jkt, jti, fresh_until + 1, on_used,
                         check, why);
    free(jti);
    return err;
}

void
method_token_verify(struct request *request)
{
    const char *session = method_param(request, "session");
    const struct json *proof = method_param_json(request, "proof");
    struct token_check *check = calloc(1, sizeof(*check));
    struct why why = {""};
    ath_err err;

    if (check == NULL) {
        request_fail(request, ATH_ERR_NOMEM, NULL);
        return;
    }
    check->request = request;
    check->text = ath_slice_of_string(method_param(request, "token"));
    err = check_token(check, &why);
    if (err == ATH_OK && session != NULL)
        err = check_session(check, session, &why);
    if (err == ATH_OK && session == NULL && proof == NULL && !check->rules->bearer)
        err = why_set(&why, ATH_ERR_INVALID_CREDENTIAL,
                      "the token is bound to its holder: a session or a proof is needed");
    if (err == ATH_OK && proof != NULL && (err = check_proof(check, proof, &why)) == ATH_OK)
        return;
    check_end(check, err, &why);
}
