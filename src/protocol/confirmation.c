/* Steps 6 and 7 at the user's side: everything is checked before a person is asked. */
#include "protocol/confirmation.h"

#include <stdlib.h>
#include <string.h>

#include "base/base64url.h"
#include "protocol/handshake_decode.h"
#include "protocol/user_grant.h"

struct confirmation {
    struct json *message;                /* M6; `request` points into it */
    struct confirmation_request request;
    struct public_key *user_key;
    uint8_t u6[SHA256_LEN];
    struct json *draft; /* M7 without its signature; NULL before the answer */
};

static ath_err
check_times(const struct confirmation_request *request, int64_t now, struct why *why)
{
    /* Until expires_at M6 is fresh, however old (profile section 5, step 6). */
    if (request->timestamp > now + TIMESTAMP_LEEWAY_S)
        return why_set(why, ATH_ERR_TIMESTAMP_SKEW, "the question is from the future");
    if (request->expires_at < request->timestamp ||
        request->expires_at > request->timestamp + CONFIRMATION_LIFE_MAX_S)
        return why_set(why, ATH_ERR_TIMESTAMP_SKEW, "the question is open for more than 600 s");
    if (now > request->expires_at)
        return why_set(why, ATH_ERR_TIMESTAMP_SKEW, "the question is no longer open");
    return ATH_OK;
}

static ath_err
check_parties(const struct confirmation_request *request, const char *user_did,
              const struct public_key *user_key, const char *polled_server_did,
              const struct did_pins *pins, struct why *why)
{
    ath_err err;

    if (strcmp(request->user_did, user_did) != 0)
        return why_set(why, ATH_ERR_UNKNOWN_PEER, "the question is for another user");
    if (polled_server_did != NULL && strcmp(request->server_did, polled_server_did) != 0)
        return why_set(why, ATH_ERR_UNKNOWN_PEER, "the question is not by the server that was asked");
    if ((err = did_check(request->server_did, DID_SERVER, request->server_key, pins, why)) !=
            ATH_OK ||
        (err = did_check(request->client_did, DID_CLIENT, request->client_key, pins, why)) !=
            ATH_OK)
        return err;
    if (public_key_equal(request->server_key, request->client_key) ||
        public_key_equal(request->server_key, user_key) ||
        public_key_equal(request->client_key, user_key))
        return why_set(why, ATH_ERR_INVALID_CREDENTIAL, "two of the three parties share a key");
    return ATH_OK;
}

static ath_err
check_signature(const struct public_key *key, enum sign_purpose purpose,
                const uint8_t t[SHA256_LEN], const struct json *message, const char *container,
                const char *signature, bool allow_batch, struct why *why)
{
    struct json *unsigned_message = message_without(message, container, "signature");
    ath_err err;

    if (unsigned_message == NULL)
        return ATH_ERR_NOMEM;
    err = handshake_signature_verify(key, purpose_text(purpose), t, unsigned_message, signature,
                                     allow_batch);
    json_free(unsigned_message);
    if (err == ATH_ERR_INVALID_SIGNATURE)
        (void)why_set(why, err, "the signature (%s) does not hold", purpose_text(purpose));
    return err;
}

/* The client really asked this: its signature under T4, and `handshake` is T5. */
static ath_err
check_scope_request_signed(const struct confirmation_request *request,
                           const struct scope_request *asked, struct why *why)
{
    char handshake[BASE64URL_LEN(SHA256_LEN) + 1];
    uint8_t t[SHA256_LEN];
    ath_err err;

    if (base64url_decode_exact(ath_slice_of_string(request->transcript), t, sizeof(t)) != ATH_OK)
        return ATH_ERR_INVALID_MESSAGE; /* decoding has seen to that */
    err = check_signature(request->client_key, PURPOSE_SCOPE_REQUEST, t, request->scope_request,
                          "user_authorization", asked->signature, false, why);
    if (err != ATH_OK || (err = transcript_add(t, request->scope_request)) != ATH_OK)
        return err;
    base64url_encode(ath_slice_of(t, sizeof(t)), handshake);
    if (strcmp(handshake, request->handshake) != 0)
        return why_set(why, ATH_ERR_INVALID_MESSAGE,
                       "member \"handshake\" does not fit the client's request");
    return ATH_OK;
}

static bool
contexts_are_equal(const char *a, const char *b)
{
    if (a == NULL || b == NULL)
        return a == NULL && b == NULL;
    return strcmp(a, b) == 0;
}

/* A server can ask only for what a client did ask for. */
static ath_err
check_content(const struct confirmation_request *request, const struct scope_request *asked,
              struct why *why)
{
    if (strcmp(asked->server_did, request->server_did) != 0)
        return why_set(why, ATH_ERR_UNKNOWN_PEER, "the client asked another server");
    if (!scope_list_is_subset(&request->requested_scopes, &asked->scopes))
        return why_set(why, ATH_ERR_SCOPE_NOT_APPROVED,
                       "the server asks for a scope that the client did not request");
    if (request->ttl > asked->ttl)
        return why_set(why, ATH_ERR_INVALID_MESSAGE,
                       "the server asks for more time than the client did");
    if (!contexts_are_equal(request->context, asked->context))
        return why_set(why, ATH_ERR_INVALID_MESSAGE, "member \"context\" is not the client's");
    return ATH_OK;
}

static ath_err
check_grant(const struct confirmation_request *request, const struct scope_request *asked,
            const struct public_key *user_key, const struct did_pins *pins, int64_t now,
            struct why *why)
{
    struct user_grant grant = {0};
    ath_err err = user_grant_read(asked->credential, pins, now, why, &grant);

    if (err != ATH_OK)
        return err;
    if (strcmp(grant.user_did, request->user_did) != 0 ||
        !public_key_equal(grant.user_key, user_key))
        err = why_set(why, ATH_ERR_INVALID_CREDENTIAL, "the client's grant is another user's");
    else
        err = user_grant_check(&grant, request->client_did, request->server_did, why);
    user_grant_done(&grant);
    return err;
}

static ath_err
check_scope_request(const struct confirmation_request *request, const struct public_key *user_key,
                    const struct did_pins *pins, int64_t now, struct why *why)
{
    struct scope_request asked = {0};
    ath_err err;

    if (handshake_message_type(request->scope_request) != MESSAGE_SCOPE_REQUEST)
        return why_set(why, ATH_ERR_INVALID_MESSAGE,
                       "member \"scope_request\" is not a scope_request");
    if ((err = scope_request_decode(request->scope_request, why, &asked)) != ATH_OK)
        return err;
    if ((err = check_scope_request_signed(request, &asked, why)) == ATH_OK &&
        (err = check_content(request, &asked, why)) == ATH_OK)
        err = check_grant(request, &asked, user_key, pins, now, why);
    scope_request_done(&asked);
    return err;
}

static ath_err
check_all(const struct confirmation *confirmation, const char *user_did,
          const char *polled_server_did, const struct did_pins *pins, int64_t now, struct why *why)
{
    const struct confirmation_request *request = &confirmation->request;
    uint8_t t0[SHA256_LEN];
    ath_err err;

    transcript_start(t0);
    if ((err = check_times(request, now, why)) != ATH_OK ||
        (err = check_parties(request, user_did, confirmation->user_key, polled_server_did, pins,
                             why)) != ATH_OK ||
        (err = check_signature(request->server_key, PURPOSE_CONFIRMATION_REQUEST, t0,
                               confirmation->message, NULL, request->signature, true, why)) !=
            ATH_OK)
        return err;
    return check_scope_request(request, confirmation->user_key, pins, now, why);
}

ath_err
confirmation_open(const struct json *m6, const char *user_did, const struct public_key *user_key,
                  const char *polled_server_did, const struct did_pins *pins, int64_t now,
                  struct why *why, struct confirmation **ret_confirmation)
{
    struct confirmation *confirmation = NULL;
    ath_err err;

    if ((err = handshake_message_check(m6, why)) != ATH_OK)
        return err;
    if (handshake_message_type(m6) != MESSAGE_CONFIRMATION_REQUEST)
        return why_set(why, ATH_ERR_UNEXPECTED_MESSAGE, "this is not an %s",
                       handshake_message_type_name(MESSAGE_CONFIRMATION_REQUEST));
    if ((confirmation = calloc(1, sizeof(*confirmation))) == NULL)
        return ATH_ERR_NOMEM;
    confirmation->user_key = public_key_ref(user_key);
    if ((confirmation->message = json_clone(m6)) == NULL) {
        err = ATH_ERR_NOMEM;
        goto out;
    }
    if ((err = confirmation_request_decode(confirmation->message, why, &confirmation->request)) !=
            ATH_OK ||
        (err = check_all(confirmation, user_did, polled_server_did, pins, now, why)) != ATH_OK)
        goto out;
    transcript_start(confirmation->u6);
    if ((err = transcript_add(confirmation->u6, confirmation->message)) != ATH_OK)
        goto out;
    *ret_confirmation = confirmation;
    confirmation = NULL;
out:
    confirmation_free(confirmation);
    return err;
}

void
confirmation_free(struct confirmation *confirmation)
{
    if (confirmation == NULL)
        return;
    confirmation_request_done(&confirmation->request);
    json_free(confirmation->message);
    json_free(confirmation->draft);
    public_key_free(confirmation->user_key);
    free(confirmation);
}

/* "" says nothing. */
static const char *
text_or_null(const char *text)
{
    return text == NULL || text[0] == '\0' ? NULL : text;
}

void
confirmation_view(const struct confirmation *confirmation, struct confirmation_view *ret_view)
{
    const struct confirmation_request *request = &confirmation->request;

    *ret_view = (struct confirmation_view){
        .server_did = request->server_did,
        .client_did = request->client_did,
        .user_did = request->user_did,
        .client_name = text_or_null(request->client_name),
        .client_developer = text_or_null(request->client_developer),
        .context = text_or_null(request->context),
        .scopes = &request->requested_scopes,
        .ttl = request->ttl,
        .expires_at = request->expires_at,
        .handshake = request->handshake,
        .request_id = request->request_id,
        .traceparent = text_or_null(request->traceparent),
    };
}

/* ---- M7 ---- */

static ath_err
build_response(struct confirmation *confirmation, bool approved, const struct scope_list *scopes,
               int64_t now)
{
    const struct confirmation_request *request = &confirmation->request;
    struct json_maker message = {0};

    json_object_begin(&message);
    json_put_string(&message, "type", handshake_message_type_name(MESSAGE_CONFIRMATION_RESPONSE));
    json_put_string(&message, "request_id", request->request_id);
    json_put_bool(&message, "approved", approved);
    handshake_put_scopes(&message, "approved_scopes", scopes);
    json_put_int(&message, "expires_at", approved ? now + request->ttl : now);
    json_put_string(&message, "user_did", request->user_did);
    handshake_put_key(&message, "user_pubkey", confirmation->user_key);
    json_put_int(&message, "timestamp", now);
    json_free(confirmation->draft);
    confirmation->draft = NULL;
    return json_maker_end(&message, &confirmation->draft);
}

ath_err
confirmation_answer(struct confirmation *confirmation, bool approved,
                    const struct scope_list *approved_scopes, int64_t now, struct ath_buf *to_sign)
{
    const struct scope_list *requested = &confirmation->request.requested_scopes;
    const struct scope_list nothing = {0};
    const struct scope_list *scopes = approved_scopes != NULL ? approved_scopes : requested;
    ath_err err;

    if (now > confirmation->request.expires_at)
        return ATH_ERR_CONSENT_TIMEOUT;
    if (!approved)
        scopes = &nothing;
    else if (scopes->count == 0 || !scope_list_is_subset(scopes, requested))
        return ATH_ERR_INVALID_PARAMS;
    if ((err = build_response(confirmation, approved, scopes, now)) != ATH_OK)
        return err;
    return handshake_string(purpose_text(PURPOSE_USER_CONFIRMATION), confirmation->u6,
                            confirmation->draft, to_sign);
}

ath_err
confirmation_signed(struct confirmation *confirmation, struct ath_slice signature,
                    struct json **ret_m7)
{
    enum key_algorithm algorithm = public_key_algorithm(confirmation->user_key);
    ath_err err;

    if (confirmation->draft == NULL || signature.len != key_algorithm_signature_len(algorithm))
        return ATH_ERR_INVALID_PARAMS;
    if ((err = message_put_signature(confirmation->draft, NULL, "signature", signature)) != ATH_OK)
        return err;
    *ret_m7 = confirmation->draft; /* ownership moves to the caller */
    confirmation->draft = NULL;
    return ATH_OK;
}
