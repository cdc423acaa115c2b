/* Steps 1 and 2 at the client: M1, a server's handshake_retry, M2 and who the server must be. */
#include <string.h>

#include "crypto/random.h"
#include "protocol/handshake_client_state.h"
#include "protocol/handshake_decode.h"

static ath_err
build_hello(struct handshake_client *client, const char *cookie, int64_t timestamp)
{
    struct json_maker message = {0}, versions = {0};

    json_free(client->draft);
    client->draft = NULL;
    json_object_begin(&message);
    json_put_string(&message, "type", handshake_message_type_name(MESSAGE_HANDSHAKE_REQUEST));
    json_put_string(&message, "client_did", client->client_did);
    handshake_put_key(&message, "client_pubkey", client->client_key);
    json_array_begin(&versions);
    json_put_string(&versions, NULL, HANDSHAKE_VERSION);
    json_put_maker(&message, "versions", &versions);
    handshake_put_capabilities(&message);
    json_put_string(&message, "nonce", client->nonce);
    json_put_string(&message, "audience",
                    client->wanted_did != NULL ? client->wanted_did : client->origin);
    json_put_string(&message, "cookie", cookie);
    json_put_string(&message, "traceparent", client->traceparent);
    json_put_int(&message, "timestamp", timestamp);
    return json_maker_end(&message, &client->draft);
}

/* The transcript begins with the M1 that is sent last. */
static ath_err
send_hello(struct handshake_client *client, struct handshake_need *need)
{
    ath_err err;

    transcript_start(client->t);
    if ((err = transcript_add(client->t, client->draft)) != ATH_OK)
        return err;
    need->kind = HANDSHAKE_NEED_SEND;
    need->wait_s = client->wait_s;
    client->state = CLIENT_WAIT_RESPONSE;
    return handshake_need_add(need, client->draft);
}

ath_err
client_hello(struct handshake_client *client, const char *cookie, bool with_proof, int64_t now,
             struct handshake_need *need)
{
    uint8_t t0[SHA256_LEN];
    ath_err err;

    /* It is sent when the wait is over, and says so. */
    client->started_at = now + client->wait_s;
    if ((err = random_base64url(NONCE_BYTES, client->nonce)) != ATH_OK ||
        (err = build_hello(client, cookie, client->started_at)) != ATH_OK)
        return err;
    if (!with_proof)
        return send_hello(client, need);
    client->state = CLIENT_SIGN_HELLO;
    transcript_start(t0);
    return handshake_need_signature(need, PURPOSE_CLIENT_HELLO, t0, client->draft);
}

ath_err
client_hello_signed(struct handshake_client *client, struct ath_slice signature,
                    struct handshake_need *need)
{
    ath_err err = message_put_signature(client->draft, NULL, "proof", signature);

    return err != ATH_OK ? err : send_hello(client, need);
}

ath_err
client_on_retry(struct handshake_client *client, const struct json *message, int64_t now,
                struct why *why, struct handshake_need *need)
{
    struct handshake_retry retry;
    ath_err err;

    if ((err = handshake_retry_decode(message, why, &retry)) != ATH_OK ||
        (err = handshake_timestamp_check(retry.timestamp, now, why)) != ATH_OK)
        return err;
    if (client->retries >= RETRIES_MAX)
        return why_set(why, ATH_ERR_UNEXPECTED_MESSAGE, "the server asks to try again too often");
    if (retry.proof && client->proof_made)
        return why_set(why, ATH_ERR_UNEXPECTED_MESSAGE, "the server asks for a second proof");
    client->retries++;
    client->proof_made = client->proof_made || retry.proof;
    client->wait_s = retry.retry_after;
    return client_hello(client, retry.cookie, retry.proof, now, need);
}

/* ---- M2 ---- */

static ath_err
check_negotiation(const struct handshake_client *client, const struct handshake_response *response,
                  struct why *why)
{
    if (!handshake_has_profile(response->capabilities))
        return why_set(why, ATH_ERR_PROFILE_REFUSED, "the server does not speak ATH-TB1");
    if (strcmp(response->version, HANDSHAKE_VERSION) != 0)
        return why_set(why, ATH_ERR_VERSION_MISMATCH, "the server chose version %s, not offered",
                       response->version);
    if (strcmp(response->nonce, client->nonce) == 0)
        return why_set(why, ATH_ERR_INVALID_NONCE, "the server's nonce is our own");
    return ATH_OK;
}

/* Is it the server that is wanted (profile section 2), with a key of its own? */
static ath_err
check_server(const struct handshake_client *client, const struct handshake_response *response,
             struct why *why)
{
    if (client->wanted_did != NULL && strcmp(client->wanted_did, response->server_did) != 0) {
        if (client->origin != NULL)
            return why_set(why, ATH_ERR_PEER_KEY_CHANGED, "%s is not the server pinned for %s",
                           response->server_did, client->origin);
        return why_set(why, ATH_ERR_UNKNOWN_PEER, "%s answered, not %s", response->server_did,
                       client->wanted_did);
    }
    if (public_key_equal(response->server_key, client->client_key))
        return why_set(why, ATH_ERR_INVALID_CREDENTIAL, "the server's key is our own");
    return did_check(response->server_did, DID_SERVER, response->server_key, client->pins, why);
}

static ath_err
check_response(const struct handshake_client *client, const struct json *message,
               const struct handshake_response *response, int64_t now, struct why *why)
{
    struct json *unsigned_message = NULL;
    ath_err err;

    if ((err = handshake_timestamp_check(response->timestamp, now, why)) != ATH_OK ||
        (err = check_negotiation(client, response, why)) != ATH_OK ||
        (err = check_server(client, response, why)) != ATH_OK)
        return err;
    if ((unsigned_message = message_without(message, NULL, "signature")) == NULL)
        return ATH_ERR_NOMEM;
    err = handshake_signature_verify(response->server_key, purpose_text(PURPOSE_SERVER_IDENTITY),
                                     client->t, unsigned_message, response->signature, true);
    json_free(unsigned_message);
    if (err == ATH_ERR_INVALID_SIGNATURE)
        (void)why_set(why, err, "the server's signature in handshake_response does not hold");
    return err;
}

ath_err
client_on_response(struct handshake_client *client, const struct json *message, int64_t now,
                   struct why *why, struct handshake_need *need)
{
    struct handshake_response response;
    ath_err err;

    if ((err = handshake_response_decode(message, why, &response)) != ATH_OK)
        return err;
    if ((err = check_response(client, message, &response, now, why)) != ATH_OK ||
        (err = transcript_add(client->t, message)) != ATH_OK)
        goto out;
    if ((client->server_did = ath_strdup(response.server_did)) == NULL) {
        err = ATH_ERR_NOMEM;
        goto out;
    }
    client->server_key = public_key_ref(response.server_key);
    client->response_at = now;
    if (client->wanted_did == NULL) {
        client->state = CLIENT_WAIT_TRUST;
        need->kind = HANDSHAKE_NEED_TRUST;
    } else {
        err = client_after_trust(client, now, why, need);
    }
out:
    handshake_response_done(&response);
    return err;
}
