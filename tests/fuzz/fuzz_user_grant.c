/* First byte 'r': a credential (JSON) as it came; 'o': an object that is signed; else: header, line
 * end, claims, which are signed. */
#include "tests/fuzz/signer.h"

#include "protocol/handshake_transcript.h"
#include "protocol/user_grant.h"

#define NOW 1700000000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct public_key *
pinned_key(void *ctx, const char *did)
{
    (void)ctx;
    return strcmp(did, "did:ath:alice") == 0 ? signer_get()->key : NULL;
}

static void
try_credential(const struct json *credential)
{
    const struct did_pins pins = {pinned_key, NULL};
    struct user_grant grant = {0};

    if (user_grant_read(credential, &pins, NOW, NULL, &grant) == ATH_OK) {
        assert(did_check(grant.user_did, DID_USER, grant.user_key, &pins, NULL) !=
               ATH_ERR_UNKNOWN_PEER);
        assert(grant.scopes.count > 0 && grant.expires_at > NOW && grant.issued_at <= NOW + 300);
        assert(grant.audiences == NULL || grant.audience_count > 0);
        assert(user_grant_is_for(&grant, grant.client_did, NULL));
        for (size_t i = 0; i < grant.audience_count; i++)
            assert(user_grant_is_for(&grant, grant.client_did, grant.audiences[i]));
    }
    user_grant_done(&grant);
}

static struct json *
parse(struct ath_slice text)
{
    const struct json_limits limits = {MESSAGE_MAX_LEN, MESSAGE_MAX_DEPTH, MESSAGE_MAX_MEMBERS,
                                       JSON_INTEGERS};
    struct json *json = NULL;

    return json_parse(text, &limits, NULL, &json) == ATH_OK ? json : NULL;
}

static void
sign_object(struct json *object)
{
    uint8_t t0[SHA256_LEN], signature[64];
    struct ath_buf string = {0};

    json_remove(object, "signature");
    transcript_start(t0);
    if (handshake_string(USER_GRANT_LABEL, t0, object, &string) == ATH_OK) {
        signer_sign(ath_buf_slice(&string), signature);
        (void)!message_put_signature(object, NULL, "signature", ath_slice_of(signature, 64));
    }
    ath_buf_done(&string);
}

static void
try_token(struct ath_slice input)
{
    struct ath_buf token = {0};
    struct json_maker maker = {0};
    struct json *array = NULL;

    put_signed_token(input, &token);
    json_array_begin(&maker);
    json_put_slice(&maker, NULL, ath_buf_slice(&token));
    if (json_maker_end(&maker, &array) == ATH_OK)
        try_credential(json_first(array));
    json_free(array);
    ath_buf_done(&token);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct json *json = NULL;

    if (size == 0)
        return 0;
    if (data[0] == 'r' || data[0] == 'o') {
        json = parse(ath_slice_of(data + 1, size - 1));
        if (data[0] == 'o' && json_is_object(json))
            sign_object(json);
        try_credential(json);
        json_free(json);
    } else {
        try_token(ath_slice_of(data + 1, size - 1));
    }
    return 0;
}
