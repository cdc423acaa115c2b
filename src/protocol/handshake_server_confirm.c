/* Steps 6 and 7 at the server: the user is asked over a channel that does not pass the client. */
#include <string.h>

#include "crypto/random.h"
#include "protocol/handshake_server_state.h"

static ath_err
prepare(struct handshake_server *server, int64_t now)
{
    struct server_confirmation *confirmation = &server->confirmation;
    char *tail = confirmation->request_id + sizeof(REQUEST_ID_PREFIX) - 1;

    memcpy(confirmation->request_id, REQUEST_ID_PREFIX, sizeof(REQUEST_ID_PREFIX) - 1);
    confirmation->asked_at = now;
    confirmation->expires_at = now + CONFIRMATION_LIFE_S;
    confirmation->ttl = server_least(server_least(server->ttl, server->service->token_max_ttl),
                              server->grant.expires_at - now);
    ath_err err = random_base64url(RANDOM_ID_BYTES, tail);

    return err != ATH_OK ? err
                         : scope_list_copy(&server->decision.granted, &confirmation->requested);
}

static void
put_client(struct json_maker *message, const struct handshake_server *server)
{
    struct json_maker info = {0};

    json_put_string(message, "client_did", server->client_did);
    handshake_put_key(message, "client_pubkey", server->client_key);
    json_object_begin(&info);
    json_put_string(&info, "name", server->client_name != NULL ? server->client_name : "");
    json_put_string(&info, "developer",
                    server->client_developer != NULL ? server->client_developer : "");
    json_put_maker(message, "client_info", &info);
}

static ath_err
build_confirmation(struct handshake_server *server, const struct json *scope_request)
{
    const struct server_confirmation *confirmation = &server->confirmation;
    struct json_maker message = {0};

    json_object_begin(&message);
    json_put_string(&message, "type", handshake_message_type_name(MESSAGE_CONFIRMATION_REQUEST));
    json_put_string(&message, "request_id", confirmation->request_id);
    json_put_string(&message, "traceparent", server->traceparent);
    json_put_string(&message, "user_did", server->grant.user_did);
    json_put_string(&message, "server_did", server->server_did);
    handshake_put_key(&message, "server_pubkey", server->server_key);
    put_client(&message, server);
    json_put_base64url(&message, "handshake", ath_slice_of(server->t5, SHA256_LEN));
    json_put_base64url(&message, "transcript", ath_slice_of(server->t4, SHA256_LEN));
    json_put_copy(&message, "scope_request", scope_request);
    handshake_put_scopes(&message, "requested_scopes", &confirmation->requested);
    json_put_string(&message, "context", json_get_string(scope_request, "context"));
    json_put_int(&message, "ttl", confirmation->ttl);
    json_put_int(&message, "expires_at", confirmation->expires_at);
    json_put_int(&message, "timestamp", confirmation->asked_at);
    json_free(server->draft);
    server->draft = NULL;
    return json_maker_end(&message, &server->draft);
}

/* M6 holds M5 whole: an M5 that is just short and flat enough to be a message can be too much. */
static ath_err
check_fits(struct json *draft, struct why *why)
{
    static const uint8_t LONGEST[SIGNATURE_MAX_LEN] = {0};
    struct why ignored = {{0}};
    ath_err err;

    err = message_put_signature(draft, NULL, "signature", ath_slice_of(LONGEST, sizeof(LONGEST)));
    if (err == ATH_OK)
        err = handshake_message_check(draft, &ignored);
    json_remove(draft, "signature");
    if (err == ATH_ERR_INVALID_MESSAGE)
        (void)why_set(why, err, "scope_request is too long or too deep to be shown to the user");
    return err;
}

void
server_close_gate(struct handshake_server *server, int64_t now, enum confirmation_end end)
{
    if (!server->confirmation.open)
        return;
    server->confirmation.open = false;
    confirmation_gate_close(server->gate, server->grant.user_did, server->client_did,
                            server->confirmation.expires_at, now, end);
}

ath_err
server_confirm(struct handshake_server *server, const struct json *scope_request, int64_t now,
               struct why *why, struct handshake_need *need)
{
    struct server_confirmation *confirmation = &server->confirmation;
    int64_t retry_after_s = 0;
    uint8_t t0[SHA256_LEN];
    ath_err err;

    if ((err = prepare(server, now)) != ATH_OK ||
        (err = build_confirmation(server, scope_request)) != ATH_OK ||
        (err = check_fits(server->draft, why)) != ATH_OK)
        return err;
    err = confirmation_gate_open(server->gate, server->grant.user_did, server->client_did, now,
                                 confirmation->expires_at, &retry_after_s);
    if (err == ATH_ERR_RATE_LIMITED || err == ATH_ERR_LIMIT_EXCEEDED) {
        (void)why_set(why, err, "the user cannot be asked again yet; try again in %lld s",
                      (long long)retry_after_s);
        return server_refuse(server, ATH_ERR_RATE_LIMITED, why, now, need);
    }
    if (err != ATH_OK)
        return err;
    confirmation->open = true;
    server->state = SERVER_SIGN_CONFIRMATION;
    transcript_start(t0);
    return handshake_need_signature(need, PURPOSE_CONFIRMATION_REQUEST, t0, server->draft);
}

ath_err
server_confirm_signed(struct handshake_server *server, struct ath_slice signature,
                      struct handshake_need *need)
{
    struct server_confirmation *confirmation = &server->confirmation;
    ath_err err;

    transcript_start(confirmation->u);
    if ((err = message_put_signature(server->draft, NULL, "signature", signature)) != ATH_OK ||
        (err = transcript_add(confirmation->u, server->draft)) != ATH_OK)
        return err;
    need->confirm = server->draft; /* ownership moves to the need */
    server->draft = NULL;
    need->kind = HANDSHAKE_NEED_CONFIRM;
    server->state = SERVER_WAIT_CONFIRMATION;
    return ATH_OK;
}

/* ---- M7 ---- */

static ath_err
check_user(const struct handshake_server *server, const struct confirmation_response *response,
           struct why *why)
{
    ath_err err;

    if (strcmp(response->request_id, server->confirmation.request_id) != 0)
        return why_set(why, ATH_ERR_UNEXPECTED_MESSAGE, "the answer is to another question");
    if (strcmp(response->user_did, server->grant.user_did) != 0)
        return why_set(why, ATH_ERR_UNKNOWN_PEER, "the answer is another user's");
    if ((err = did_check(response->user_did, DID_USER, response->user_key, server->pins, why)) !=
        ATH_OK)
        return err;
    if (!public_key_equal(response->user_key, server->grant.user_key))
        return why_set(why, ATH_ERR_UNKNOWN_PEER, "the answer's key is not the grant's");
    return ATH_OK;
}

static ath_err
check_times(const struct handshake_server *server, const struct confirmation_response *response,
            int64_t now, struct why *why)
{
    const struct server_confirmation *confirmation = &server->confirmation;
    ath_err err = handshake_timestamp_check(response->timestamp, now, why);

    if (err != ATH_OK)
        return err;
    if (response->timestamp > confirmation->expires_at || now > confirmation->expires_at)
        return why_set(why, ATH_ERR_TIMESTAMP_SKEW, "the user's answer came too late");
    /* "now" in the text is when the user answered: a clock a little ahead of ours is no fraud, and
     * what is granted ends by our own clock in any case (server_finish). */
    if (response->expires_at > response->timestamp + confirmation->ttl)
        return why_set(why, ATH_ERR_TIMESTAMP_SKEW, "the answer allows more time than was asked");
    if (response->approved && response->expires_at <= now)
        return why_set(why, ATH_ERR_TIMESTAMP_SKEW, "the answer allows access that has ended");
    return ATH_OK;
}

static ath_err
check_answer(const struct handshake_server *server, const struct json *message,
             const struct confirmation_response *response, int64_t now, struct why *why)
{
    struct json *unsigned_message = NULL;
    ath_err err;

    if ((err = check_user(server, response, why)) != ATH_OK)
        return err;
    if ((unsigned_message = message_without(message, NULL, "signature")) == NULL)
        return ATH_ERR_NOMEM;
    err = handshake_signature_verify(response->user_key, purpose_text(PURPOSE_USER_CONFIRMATION),
                                     server->confirmation.u, unsigned_message, response->signature,
                                     false);
    json_free(unsigned_message);
    if (err == ATH_ERR_INVALID_SIGNATURE)
        (void)why_set(why, err, "the user's signature does not hold");
    if (err != ATH_OK)
        return err;
    if ((err = check_times(server, response, now, why)) != ATH_OK)
        return err;
    if (!scope_list_is_subset(&response->approved_scopes, &server->confirmation.requested))
        return why_set(why, ATH_ERR_SCOPE_NOT_APPROVED,
                       "the answer approves a scope that was not asked for");
    return ATH_OK;
}

/* The user's answer becomes part of what is granted, and of M8 (`confirmation` is U7). */
static ath_err
keep_answer(struct handshake_server *server, const struct json *message,
            const struct confirmation_response *response)
{
    struct server_confirmation *confirmation = &server->confirmation;
    const struct scope_list *allowed = service_scopes_of(server->service, server->client_did);
    const struct scope_list nothing = {0};
    ath_err err;

    if ((err = transcript_add(confirmation->u, message)) != ATH_OK ||
        (err = scope_list_copy(&response->approved_scopes, &confirmation->approved)) != ATH_OK)
        return err;
    confirmation->answered = true;
    confirmation->access_ends_at = response->expires_at;
    scope_decision_done(&server->decision);
    server->decision = (struct scope_decision){0};
    return scope_decide(&server->requested, allowed != NULL ? allowed : &nothing,
                        &server->grant.scopes, &confirmation->approved, &server->decision);
}

ath_err
server_on_confirmation(struct handshake_server *server, const struct json *message, int64_t now,
                       struct why *why, struct handshake_need *need)
{
    struct confirmation_response response;
    ath_err err;

    if ((err = confirmation_response_decode(message, why, &response)) != ATH_OK)
        return err;
    if ((err = check_answer(server, message, &response, now, why)) != ATH_OK ||
        (err = keep_answer(server, message, &response)) != ATH_OK)
        goto out;
    server_close_gate(server, now,
                      response.approved ? CONFIRMATION_APPROVED : CONFIRMATION_REFUSED);
    if (response.approved) {
        err = server_finish(server, now, why, need);
    } else {
        (void)why_set(why, ATH_ERR_USER_DENIED, "the user said no");
        err = server_refuse(server, ATH_ERR_USER_DENIED, why, now, need);
    }
out:
    confirmation_response_done(&response);
    return err;
}
