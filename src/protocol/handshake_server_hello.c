/* Steps 1 and 2 at the server: all of M1 that can be checked without a signature, then M2. */
#include <stdlib.h>
#include <string.h>

#include "crypto/random.h"
#include "protocol/handshake_server_state.h"

#define NONCE_BYTES 32

/* MAJOR.MINOR are compared as integers (profile section 5, step 2); we have one version, so the
 * highest one in common is that or none. */
static bool
offers_version(const struct json *versions)
{
    for (const struct json *item = json_first(versions); item != NULL; item = json_next(item)) {
        if (strcmp(json_string(item), HANDSHAKE_VERSION) == 0)
            return true;
    }
    return false;
}

static ath_err
check_request(const struct handshake_server_config *config, const struct handshake_request *request,
              int64_t now, struct why *why)
{
    ath_err err = handshake_timestamp_check(request->timestamp, now, why);

    if (err != ATH_OK)
        return err;
    if (!handshake_has_profile(request->capabilities))
        return why_set(why, ATH_ERR_PROFILE_REFUSED, "the client does not speak ATH-TB1");
    if (!offers_version(request->versions))
        return why_set(why, ATH_ERR_VERSION_MISMATCH,
                       "the client offers no protocol version that we have (%s)",
                       HANDSHAKE_VERSION);
    if (strcmp(request->audience, config->server_did) != 0 &&
        !service_has_origin(config->service, request->audience))
        return why_set(why, ATH_ERR_UNKNOWN_PEER,
                       "the message is for %s, which is neither our DID nor among our origins",
                       request->audience);
    if (public_key_equal(request->client_key, config->server_key))
        return why_set(why, ATH_ERR_INVALID_CREDENTIAL, "the client's key is our own");
    return did_check(request->client_did, DID_CLIENT, request->client_key, config->pins, why);
}

ath_err
handshake_server_hello(const struct handshake_server_config *config, const struct json *message,
                       int64_t now, struct why *why, struct handshake_hello *ret_hello)
{
    struct handshake_hello hello = {0};
    struct handshake_request request = {0};
    ath_err err;

    if ((err = handshake_message_check(message, why)) != ATH_OK)
        return err;
    if (handshake_message_type(message) != MESSAGE_HANDSHAKE_REQUEST)
        return why_set(why, ATH_ERR_UNEXPECTED_MESSAGE, "a handshake begins with %s",
                       handshake_message_type_name(MESSAGE_HANDSHAKE_REQUEST));
    if ((err = handshake_request_decode(message, why, &request)) != ATH_OK)
        return err;
    if ((err = check_request(config, &request, now, why)) != ATH_OK ||
        (err = transcript_hash(message, hello.hash)) != ATH_OK)
        goto out;
    hello.message = json_clone(message);
    hello.client_did = ath_strdup(request.client_did);
    hello.client_key = public_key_ref(request.client_key);
    if (hello.message == NULL || hello.client_did == NULL) {
        err = ATH_ERR_NOMEM;
        goto out;
    }
    hello.cookie = json_get_string(hello.message, "cookie");
    hello.has_proof = request.proof != NULL;
    *ret_hello = hello; /* ownership moves to the caller */
    hello = (struct handshake_hello){0};
out:
    handshake_hello_done(&hello);
    handshake_request_done(&request);
    return err;
}

ath_err
handshake_hello_check_proof(const struct handshake_hello *hello)
{
    const char *proof = json_get_string(hello->message, "proof");
    struct json *unsigned_message = NULL;
    uint8_t t0[SHA256_LEN];
    ath_err err;

    if (proof == NULL)
        return ATH_ERR_INVALID_SIGNATURE;
    if ((unsigned_message = message_without(hello->message, NULL, "proof")) == NULL)
        return ATH_ERR_NOMEM;
    transcript_start(t0);
    err = handshake_signature_verify(hello->client_key, purpose_text(PURPOSE_CLIENT_HELLO), t0,
                                     unsigned_message, proof, false);
    json_free(unsigned_message);
    return err;
}

void
handshake_hello_done(struct handshake_hello *hello)
{
    free(hello->client_did);
    public_key_free(hello->client_key);
    json_free(hello->message);
    *hello = (struct handshake_hello){0};
}

/* ---- M2 ---- */

ath_err
server_response(struct handshake_server *server, int64_t now, struct handshake_need *need)
{
    char nonce[BASE64URL_LEN(NONCE_BYTES) + 1];
    struct json_maker message = {0};
    ath_err err;

    if ((err = random_base64url(NONCE_BYTES, nonce)) != ATH_OK ||
        (err = random_base64url(RANDOM_ID_BYTES, server->handshake_id)) != ATH_OK)
        return err;
    json_object_begin(&message);
    json_put_string(&message, "type", handshake_message_type_name(MESSAGE_HANDSHAKE_RESPONSE));
    json_put_string(&message, "server_did", server->server_did);
    handshake_put_key(&message, "server_pubkey", server->server_key);
    json_put_string(&message, "version", HANDSHAKE_VERSION);
    handshake_put_capabilities(&message);
    json_put_string(&message, "nonce", nonce);
    json_put_string(&message, "handshake_id", server->handshake_id);
    json_put_int(&message, "timestamp", now);
    if ((err = json_maker_end(&message, &server->draft)) != ATH_OK)
        return err;
    server->state = SERVER_SIGN_RESPONSE;
    return handshake_need_signature(need, PURPOSE_SERVER_IDENTITY, server->t, server->draft);
}

ath_err
server_response_signed(struct handshake_server *server, struct ath_slice signature,
                       struct handshake_need *need)
{
    ath_err err;

    if ((err = message_put_signature(server->draft, NULL, "signature", signature)) != ATH_OK ||
        (err = transcript_add(server->t, server->draft)) != ATH_OK)
        return err;
    server->state = SERVER_WAIT_PROOF;
    need->kind = HANDSHAKE_NEED_SEND;
    return handshake_need_add(need, server->draft);
}
