/* Steps 3 to 5 at the client, and 8: the grant, M3, M4, M5, M8. */
#include <stdlib.h>
#include <string.h>

#include "protocol/handshake_client_state.h"
#include "protocol/handshake_decode.h"

/* User, client and server of one handshake have three different keys (profile section 2). */
static ath_err
check_user_key(const struct handshake_client *client, const struct user_grant *grant,
               struct why *why)
{
    if (public_key_equal(grant->user_key, client->client_key) ||
        (client->server_key != NULL && public_key_equal(grant->user_key, client->server_key)))
        return why_set(why, ATH_ERR_INVALID_CREDENTIAL,
                       "the user's key is the client's or the server's too");
    return ATH_OK;
}

static ath_err
check_grant(const struct handshake_client *client, const struct user_grant *grant, struct why *why)
{
    const char *server_did =
        client->server_did != NULL ? client->server_did : client->wanted_did;
    ath_err err = user_grant_check(grant, client->client_did, server_did, why);

    return err != ATH_OK ? err : check_user_key(client, grant, why);
}

ath_err
client_set_credential(struct handshake_client *client, const struct json *credential, int64_t now,
                      struct why *why)
{
    struct user_grant grant = {0};
    struct json *copy = NULL;
    ath_err err;

    if ((err = user_grant_read(credential, client->pins, now, why, &grant)) != ATH_OK)
        return err;
    if ((err = check_grant(client, &grant, why)) != ATH_OK)
        goto out;
    if ((copy = json_clone(credential)) == NULL) {
        err = ATH_ERR_NOMEM;
        goto out;
    }
    client->credential = copy;
    client->grant = grant; /* ownership moves to the machine */
    grant = (struct user_grant){0};
out:
    user_grant_done(&grant);
    return err;
}

/* ---- M3 ---- */

ath_err
client_after_trust(struct handshake_client *client, int64_t now, struct why *why,
                   struct handshake_need *need)
{
    struct json_maker message = {0};
    ath_err err;

    if (client->credential == NULL) {
        client->state = CLIENT_WAIT_GRANT;
        need->kind = HANDSHAKE_NEED_GRANT;
        return ATH_OK;
    }
    if ((err = check_grant(client, &client->grant, why)) != ATH_OK)
        return err;
    json_object_begin(&message);
    json_put_string(&message, "type", handshake_message_type_name(MESSAGE_IDENTITY_PROOF));
    json_put_int(&message, "timestamp", now);
    json_free(client->draft);
    client->draft = NULL;
    if ((err = json_maker_end(&message, &client->draft)) != ATH_OK)
        return err;
    client->state = CLIENT_SIGN_IDENTITY;
    return handshake_need_signature(need, PURPOSE_CLIENT_IDENTITY, client->t, client->draft);
}

/* The draft, signed, is the next message of the transcript. */
static ath_err
send_draft(struct handshake_client *client, const char *container, struct ath_slice signature,
           enum client_state next, struct handshake_need *need)
{
    ath_err err;

    if ((err = message_put_signature(client->draft, container, "signature", signature)) != ATH_OK ||
        (err = transcript_add(client->t, client->draft)) != ATH_OK)
        return err;
    client->state = next;
    need->kind = HANDSHAKE_NEED_SEND;
    return handshake_need_add(need, client->draft);
}

ath_err
client_identity_signed(struct handshake_client *client, struct ath_slice signature,
                       struct handshake_need *need)
{
    return send_draft(client, NULL, signature, CLIENT_WAIT_IDENTITY_RESULT, need);
}

/* ---- M4 and M5 ---- */

/* What the server says about its refusal reaches the caller quoted and cut (why_set). */
static ath_err
refused_by_server(const char *code, const char *message, struct why *why)
{
    return why_set(why, handshake_error_of_code(code), "the server refused: %.32s: \"%.160s\"", code,
                   message);
}

static void
put_authorization(struct json_maker *message, const struct json *credential)
{
    struct json_maker authorization = {0};

    json_object_begin(&authorization);
    json_put_copy(&authorization, "credential", credential);
    json_put_maker(message, "user_authorization", &authorization);
}

static ath_err
build_scope_request(struct handshake_client *client, int64_t now)
{
    struct json_maker message = {0};

    json_object_begin(&message);
    json_put_string(&message, "type", handshake_message_type_name(MESSAGE_SCOPE_REQUEST));
    handshake_put_scopes(&message, "scopes", &client->scopes);
    json_put_int(&message, "ttl", client->ttl);
    put_authorization(&message, client->credential);
    json_put_string(&message, "context", client->context);
    json_put_string(&message, "server_did", client->server_did);
    json_put_string(&message, "key_exchange_alg", KEY_EXCHANGE_ALG);
    json_put_string(&message, "key_exchange_params", key_agreement_share(client->agreement));
    json_put_int(&message, "timestamp", now);
    json_free(client->draft);
    client->draft = NULL;
    return json_maker_end(&message, &client->draft);
}

ath_err
client_on_identity_result(struct handshake_client *client, const struct json *message, int64_t now,
                          struct why *why, struct handshake_need *need)
{
    struct identity_result result;
    ath_err err;

    if ((err = identity_result_decode(message, why, &result)) != ATH_OK)
        return err;
    if ((err = handshake_timestamp_check(result.timestamp, now, why)) != ATH_OK)
        goto out;
    if (!result.success) {
        err = refused_by_server(result.error_code, result.error_message, why);
        goto out;
    }
    if ((err = transcript_add(client->t, message)) != ATH_OK ||
        (err = key_agreement_new(&client->agreement)) != ATH_OK ||
        (err = build_scope_request(client, now)) != ATH_OK)
        goto out;
    client->waits_for_user = result.require_user_confirmation;
    client->state = CLIENT_SIGN_SCOPE_REQUEST;
    err = handshake_need_signature(need, PURPOSE_SCOPE_REQUEST, client->t, client->draft);
out:
    identity_result_done(&result);
    return err;
}

ath_err
client_scope_request_signed(struct handshake_client *client, struct ath_slice signature,
                            struct handshake_need *need)
{
    ath_err err = send_draft(client, "user_authorization", signature, CLIENT_WAIT_SCOPE_RESULT, need);

    if (err != ATH_OK)
        return err;
    memcpy(client->t5, client->t, SHA256_LEN);
    memcpy(client->result.t5, client->t, SHA256_LEN);
    client->has_t5 = true;
    return ATH_OK;
}

/* ---- M8 ---- */

static ath_err
check_scope_result(const struct handshake_client *client, const struct scope_result *result,
                   int64_t now, struct why *why)
{
    ath_err err = handshake_timestamp_check(result->timestamp, now, why);

    if (err != ATH_OK)
        return err;
    if (result->error_code != NULL)
        return refused_by_server(result->error_code, result->error_message, why);
    if (!scope_list_is_subset(&result->scopes_granted, &client->scopes))
        return why_set(why, ATH_ERR_SCOPE_NOT_APPROVED,
                       "the server granted a scope that was not requested");
    if (result->ttl_granted > client->ttl)
        return why_set(why, ATH_ERR_INVALID_MESSAGE, "the server granted more time than requested");
    return ATH_OK;
}

/* The peer's word for why, as one of ours: nothing a stranger wrote is passed on as a reason. */
static const char *
known_reason(const char *reason)
{
    static const char *const KNOWN[] = {"server_policy", "user_grant", "user_confirmation"};

    for (size_t i = 0; i < sizeof(KNOWN) / sizeof(KNOWN[0]); i++) {
        if (strcmp(KNOWN[i], reason) == 0)
            return KNOWN[i];
    }
    return "other";
}

static ath_err
keep_denied(const struct scope_result *from, struct scope_decision *decision)
{
    size_t count = json_count(from->scopes_denied);

    if (count == 0)
        return ATH_OK;
    if ((decision->denied = calloc(count, sizeof(*decision->denied))) == NULL)
        return ATH_ERR_NOMEM;
    for (const struct json *item = json_first(from->scopes_denied); item != NULL;
         item = json_next(item)) {
        struct scope_denial *denial = &decision->denied[decision->denied_count];

        if ((denial->scope = ath_strdup(json_get_string(item, "scope"))) == NULL)
            return ATH_ERR_NOMEM;
        denial->reason = known_reason(json_get_string(item, "reason"));
        decision->denied_count++;
    }
    return ATH_OK;
}

static ath_err
keep_scope_result(struct handshake_client *client, const struct scope_result *result)
{
    ath_err err;

    client->ttl_granted = result->ttl_granted;
    if ((err = scope_list_copy(&result->scopes_granted, &client->result.scopes.granted)) != ATH_OK ||
        (err = keep_denied(result, &client->result.scopes)) != ATH_OK)
        return err;
    if (result->restrictions == NULL)
        return ATH_OK;
    client->result.restrictions = json_clone(result->restrictions);
    return client->result.restrictions == NULL ? ATH_ERR_NOMEM : ATH_OK;
}

ath_err
client_on_scope_result(struct handshake_client *client, const struct json *message, int64_t now,
                       struct why *why, struct handshake_need *need)
{
    struct scope_result result;
    ath_err err;

    if ((err = scope_result_decode(message, why, &result)) != ATH_OK)
        return err;
    if ((err = check_scope_result(client, &result, now, why)) != ATH_OK ||
        (err = keep_scope_result(client, &result)) != ATH_OK ||
        (err = transcript_add(client->t, message)) != ATH_OK)
        goto out;
    client->state = CLIENT_WAIT_COMPLETE;
    need->kind = HANDSHAKE_NEED_SEND; /* nothing: M9 follows by itself */
out:
    scope_result_done(&result);
    return err;
}
