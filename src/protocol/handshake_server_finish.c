/* Steps 8 and 9 at the server: what is granted, the access token, the session's keys. */
#include <string.h>

#include "crypto/random.h"
#include "protocol/handshake_server_state.h"
#include "protocol/jwt.h"

/* The least of all that limits it; 0 or less: nothing is left. */
static int64_t
ttl_granted(const struct handshake_server *server, int64_t now)
{
    int64_t ttl = server_least(server->ttl, server->service->token_max_ttl);

    ttl = server_least(ttl, TTL_MAX_S);
    ttl = server_least(ttl, server->grant.expires_at - now);
    if (server->confirmation.answered)
        ttl = server_least(ttl, server->confirmation.access_ends_at - now);
    return ttl;
}

/* ---- M8 ---- */

static void
put_decision(struct json_maker *message, const struct scope_decision *decision, bool granted)
{
    const struct scope_list nothing = {0};
    struct json *denied = NULL;

    handshake_put_scopes(message, "scopes_granted", granted ? &decision->granted : &nothing);
    if (scope_denied_encode(decision, &denied) != ATH_OK)
        denied = NULL; /* json_put_take says NOMEM */
    json_put_take(message, "scopes_denied", denied);
}

static void
put_scope_result(struct json_maker *message, const struct handshake_server *server, int64_t ttl,
                 int64_t now)
{
    json_object_begin(message);
    json_put_string(message, "type", handshake_message_type_name(MESSAGE_SCOPE_RESULT));
    put_decision(message, &server->decision, ttl > 0);
    json_put_int(message, "ttl_granted", ttl);
    if (server->confirmation.answered)
        json_put_base64url(message, "confirmation",
                           ath_slice_of(server->confirmation.u, SHA256_LEN));
    json_put_int(message, "timestamp", now);
}

ath_err
server_add_scope_refusal(const struct handshake_server *server, ath_err err, const struct why *why,
                         int64_t now, struct handshake_need *need)
{
    struct json_maker message = {0};
    struct json *result = NULL;
    ath_err made;

    put_scope_result(&message, server, 0, now);
    handshake_error_put(&message, err, why);
    if ((made = json_maker_end(&message, &result)) == ATH_OK)
        made = handshake_need_add(need, result);
    json_free(result);
    return made;
}

ath_err
server_refuse(struct handshake_server *server, ath_err err, const struct why *why, int64_t now,
              struct handshake_need *need)
{
    handshake_need_fail(need, err, why);
    need->refused_by_message = true;
    server->state = SERVER_FAILED;
    return server_add_scope_refusal(server, err, why, now, need);
}

static ath_err
build_scope_result(struct handshake_server *server, int64_t ttl, int64_t now)
{
    struct json_maker message = {0};

    put_scope_result(&message, server, ttl, now);
    if (server->service->restrictions != NULL)
        json_put_copy(&message, "restrictions", server->service->restrictions);
    return json_maker_end(&message, &server->scope_result);
}

/* ---- M9 ---- */

static ath_err
build_complete(struct handshake_server *server, int64_t now)
{
    struct json_maker message = {0};

    json_object_begin(&message);
    json_put_string(&message, "type", handshake_message_type_name(MESSAGE_HANDSHAKE_COMPLETE));
    json_put_string(&message, "key_exchange_alg", KEY_EXCHANGE_ALG);
    json_put_string(&message, "key_exchange_params", server->share);
    json_put_string(&message, "cipher_suite", CIPHER_SUITE);
    json_put_int(&message, "timestamp", now);
    json_free(server->draft);
    server->draft = NULL;
    return json_maker_end(&message, &server->draft);
}

/* The token's strings and lists are the machine's own: only borrowed for the call. */
static ath_err
token_signing_input(struct handshake_server *server, int64_t now)
{
    char jti[BASE64URL_LEN(RANDOM_ID_BYTES) + 1];
    struct access_token token = {
        .server_did = server->server_did,
        .client_did = server->client_did,
        .user_did = server->grant.user_did,
        .scopes = server->decision.granted,
        .issued_at = now,
        .expires_at = server->token_expires_at,
        .jti = jti,
        .restrictions = server->result.restrictions,
    };
    ath_err err = random_base64url(RANDOM_ID_BYTES, jti);

    if (err != ATH_OK)
        return err;
    memcpy(token.client_jkt, public_key_jkt(server->client_key), sizeof(token.client_jkt));
    memcpy(token.transcript, server->result.transcript, SHA256_LEN);
    server->token_input.max = JWS_MAX_LEN;
    return access_token_signing_input(&token, server->server_key, &server->token_input);
}

static ath_err
bind(struct handshake_server *server)
{
    ath_err err;

    if (server->service->restrictions != NULL &&
        (server->result.restrictions = json_clone(server->service->restrictions)) == NULL)
        return ATH_ERR_NOMEM;
    if ((err = transcript_add(server->t, server->scope_result)) != ATH_OK) /* T8 */
        return err;
    memcpy(server->result.transcript, server->t, SHA256_LEN);
    return transcript_add(server->result.transcript, server->draft); /* ath_th */
}

static ath_err
put_token_need(const struct handshake_server *server, struct handshake_need *need)
{
    need->kind = HANDSHAKE_NEED_SIGNATURE;
    need->purpose = PURPOSE_ACCESS_TOKEN;
    need->to_sign.max = server->token_input.max;
    ath_buf_put_slice(&need->to_sign, ath_buf_slice(&server->token_input));
    return need->to_sign.err;
}

ath_err
server_finish(struct handshake_server *server, int64_t now, struct why *why,
              struct handshake_need *need)
{
    int64_t ttl = ttl_granted(server, now);
    ath_err err;

    if (server->decision.granted.count == 0) {
        (void)why_set(why, ATH_ERR_SCOPE_NOT_APPROVED, "no requested scope can be granted");
        return server_refuse(server, ATH_ERR_SCOPE_NOT_APPROVED, why, now, need);
    }
    if (ttl <= 0)
        return why_set(why, ATH_ERR_INVALID_CREDENTIAL, "the user's grant has expired");
    server->token_expires_at = now + ttl;
    if ((err = build_scope_result(server, ttl, now)) != ATH_OK ||
        (err = build_complete(server, now)) != ATH_OK || (err = bind(server)) != ATH_OK ||
        (err = token_signing_input(server, now)) != ATH_OK)
        return err;
    server->state = SERVER_SIGN_TOKEN;
    return put_token_need(server, need);
}

static ath_err
fill_result(struct handshake_server *server, struct ath_slice signature)
{
    struct handshake_result *result = &server->result;
    ath_err err;

    result->access_token.max = JWS_MAX_LEN;
    jws_join(ath_buf_slice(&server->token_input), signature, &result->access_token);
    if ((err = result->access_token.err) != ATH_OK)
        return err;
    err = session_keys_derive(&server->z, result->transcript, &result->keys);
    ath_secret_done(&server->z);
    if (err != ATH_OK)
        return err;
    result->peer_key = public_key_ref(server->client_key);
    result->expires_at = server->token_expires_at;
    memcpy(result->t5, server->t5, SHA256_LEN);
    result->scopes = server->decision; /* ownership moves to the result */
    server->decision = (struct scope_decision){0};
    result->peer_did = ath_strdup(server->client_did);
    result->user_did = ath_strdup(server->grant.user_did);
    return result->peer_did == NULL || result->user_did == NULL ? ATH_ERR_NOMEM : ATH_OK;
}

ath_err
server_token_signed(struct handshake_server *server, struct ath_slice signature,
                    struct handshake_need *need)
{
    struct json_maker message = {.root = server->draft};
    ath_err err;

    if ((err = fill_result(server, signature)) != ATH_OK)
        return err;
    json_put_slice(&message, "access_token", ath_buf_slice(&server->result.access_token));
    if ((err = message.err) != ATH_OK ||
        (err = handshake_need_add(need, server->scope_result)) != ATH_OK ||
        (err = handshake_need_add(need, server->draft)) != ATH_OK)
        return err;
    need->kind = HANDSHAKE_NEED_DONE;
    server->state = SERVER_DONE;
    return ATH_OK;
}
