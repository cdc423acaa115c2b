/* Steps 3 to 5 at the server: who the client is, and what it may be given. */
#include <string.h>

#include "protocol/handshake_server_state.h"

/* ---- M3 and M4 ---- */

static void
put_metadata(struct json_maker *message, const struct service *service)
{
    struct json_maker metadata = {0};

    json_object_begin(&metadata);
    handshake_put_scopes(&metadata, "scopes_supported", &service->scopes_supported);
    json_put_int(&metadata, "token_max_ttl", service->token_max_ttl);
    json_put_bool(&metadata, "require_user_confirmation", service->require_user_confirmation);
    json_put_maker(message, "metadata", &metadata);
}

static ath_err
send_identity_result(struct handshake_server *server, int64_t now, struct handshake_need *need)
{
    struct json_maker message = {0};
    struct json *result = NULL;
    ath_err err;

    json_object_begin(&message);
    json_put_string(&message, "type", handshake_message_type_name(MESSAGE_IDENTITY_RESULT));
    json_put_bool(&message, "success", true);
    put_metadata(&message, server->service);
    json_put_null(&message, "error");
    json_put_int(&message, "timestamp", now);
    if ((err = json_maker_end(&message, &result)) != ATH_OK)
        return err;
    if ((err = transcript_add(server->t, result)) == ATH_OK)
        err = handshake_need_add(need, result);
    memcpy(server->t4, server->t, SHA256_LEN);
    need->kind = HANDSHAKE_NEED_SEND;
    server->state = SERVER_WAIT_SCOPE_REQUEST;
    json_free(result);
    return err;
}

ath_err
server_add_identity_failure(ath_err err, const struct why *why, int64_t now,
                            struct handshake_need *need)
{
    struct json_maker message = {0};
    struct json *result = NULL;
    ath_err made;

    json_object_begin(&message);
    json_put_string(&message, "type", handshake_message_type_name(MESSAGE_IDENTITY_RESULT));
    json_put_bool(&message, "success", false);
    handshake_error_put(&message, err, why);
    json_put_int(&message, "timestamp", now);
    if ((made = json_maker_end(&message, &result)) == ATH_OK)
        made = handshake_need_add(need, result);
    json_free(result);
    return made;
}

/* A signature of the client's, in member `member` of object `container` (NULL: of the message). */
static ath_err
check_client_signature(const struct handshake_server *server, enum sign_purpose purpose,
                       const struct json *message, const char *container, const char *signature,
                       struct why *why)
{
    struct json *unsigned_message = message_without(message, container, "signature");
    ath_err err;

    if (unsigned_message == NULL)
        return ATH_ERR_NOMEM;
    err = handshake_signature_verify(server->client_key, purpose_text(purpose), server->t,
                                     unsigned_message, signature, false);
    json_free(unsigned_message);
    if (err == ATH_ERR_INVALID_SIGNATURE)
        (void)why_set(why, err, "the client's signature (%s) does not hold", purpose_text(purpose));
    return err;
}

ath_err
server_on_proof(struct handshake_server *server, const struct json *message, int64_t now,
                struct why *why, struct handshake_need *need)
{
    struct identity_proof proof;
    ath_err err;

    if ((err = identity_proof_decode(message, why, &proof)) != ATH_OK ||
        (err = handshake_timestamp_check(proof.timestamp, now, why)) != ATH_OK ||
        (err = check_client_signature(server, PURPOSE_CLIENT_IDENTITY, message, NULL,
                                      proof.signature, why)) != ATH_OK)
        return err;
    if (service_scopes_of(server->service, server->client_did) == NULL)
        return why_set(why, ATH_ERR_UNKNOWN_PEER, "no rule of this service names the client");
    if ((err = transcript_add(server->t, message)) != ATH_OK)
        return err;
    return send_identity_result(server, now, need);
}

/* ---- M5 ---- */

/* The grant holds, is for this client and us, and its user is one we know, with a third key. */
static ath_err
check_grant(const struct handshake_server *server, const struct user_grant *grant, struct why *why)
{
    ath_err err = user_grant_check(grant, server->client_did, server->server_did, why);

    if (err != ATH_OK)
        return err;
    if (public_key_equal(grant->user_key, server->client_key) ||
        public_key_equal(grant->user_key, server->server_key))
        return why_set(why, ATH_ERR_INVALID_CREDENTIAL,
                       "the user's key is the client's or the server's too");
    if (service_account_of(server->service, grant->user_did) == NULL)
        return why_set(why, ATH_ERR_UNKNOWN_PEER, "the user is not known to this service");
    return ATH_OK;
}

/* Our share and Z; the ephemeral private key does not outlive this call (profile section 6). */
static ath_err
agree(struct handshake_server *server, const char *peer_share, struct why *why)
{
    struct key_agreement *agreement = NULL;
    ath_err err;

    if ((err = key_agreement_new(&agreement)) != ATH_OK)
        return err;
    if ((err = key_agreement_derive(agreement, peer_share, &server->z)) == ATH_OK)
        memcpy(server->share, key_agreement_share(agreement), sizeof(server->share));
    key_agreement_free(agreement);
    if (err == ATH_ERR_INVALID_KEY_SHARE)
        (void)why_set(why, err, "the client's key share is not a point of P-256");
    return err;
}

static ath_err
check_scope_request(struct handshake_server *server, const struct json *message,
                    const struct scope_request *request, int64_t now, struct why *why)
{
    ath_err err;

    if ((err = handshake_timestamp_check(request->timestamp, now, why)) != ATH_OK ||
        (err = check_client_signature(server, PURPOSE_SCOPE_REQUEST, message, "user_authorization",
                                      request->signature, why)) != ATH_OK)
        return err;
    if (strcmp(request->server_did, server->server_did) != 0)
        return why_set(why, ATH_ERR_UNKNOWN_PEER, "the request is for another server");
    if ((err = user_grant_read(request->credential, server->pins, now, why, &server->grant)) !=
            ATH_OK ||
        (err = check_grant(server, &server->grant, why)) != ATH_OK)
        return err;
    return agree(server, request->key_share, why);
}

static ath_err
keep_scope_request(struct handshake_server *server, const struct json *message,
                   const struct scope_request *request)
{
    ath_err err;

    server->ttl = request->ttl;
    if ((err = scope_list_copy(&request->scopes, &server->requested)) != ATH_OK ||
        (err = transcript_add(server->t, message)) != ATH_OK)
        return err;
    memcpy(server->t5, server->t, SHA256_LEN);
    server->has_t5 = true;
    return ATH_OK;
}

/* What can be granted before the user is asked again. */
static ath_err
decide(struct handshake_server *server, struct why *why)
{
    const struct scope_list *allowed = service_scopes_of(server->service, server->client_did);

    if (allowed == NULL)
        return why_set(why, ATH_ERR_UNKNOWN_PEER, "no rule of this service names the client");
    return scope_decide(&server->requested, allowed, &server->grant.scopes, NULL,
                        &server->decision);
}

ath_err
server_on_scope_request(struct handshake_server *server, const struct json *message, int64_t now,
                        struct why *why, struct handshake_need *need)
{
    struct scope_request request;
    ath_err err;

    if ((err = scope_request_decode(message, why, &request)) != ATH_OK)
        return err;
    if ((err = check_scope_request(server, message, &request, now, why)) != ATH_OK ||
        (err = keep_scope_request(server, message, &request)) != ATH_OK ||
        (err = decide(server, why)) != ATH_OK)
        goto out;
    if (server->service->require_user_confirmation && server->decision.granted.count > 0)
        err = server_confirm(server, message, now, why, need);
    else
        err = server_finish(server, now, why, need);
out:
    scope_request_done(&request);
    return err;
}
