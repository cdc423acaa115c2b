/* First byte 'r': the rest is a token as it came. Else: header, line end, claims, which are signed.
 * A token that is read has one text only, and each reader of tokens of a kind gets it. */
#include "tests/fuzz/signer.h"

#include "protocol/jws.h"
#include "protocol/jwt.h"
#include "protocol/purpose.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_signature_segment(const struct jws *jws, struct ath_slice token)
{
    struct ath_buf again = {0};

    jws_join(jws->signing_input, ath_slice_of(jws->signature, jws->signature_len), &again);
    assert(again.err != ATH_OK || ath_slice_equal(ath_buf_slice(&again), token));
    ath_buf_done(&again);
}

static void
try_jws(struct ath_slice token)
{
    struct jws jws = {0};
    struct public_key *key = NULL;

    if (jws_decode(token, NULL, NULL, &jws) == ATH_OK) {
        check_signature_segment(&jws, token);
        if (jws_header_key(&jws, NULL, &key) == ATH_OK)
            (void)!jws_verify(&jws, key, NULL);
        (void)!jws_verify(&jws, signer_get()->key, NULL);
    }
    public_key_free(key);
    jws_done(&jws);
}

static void
try_access_token(struct ath_slice token)
{
    struct access_token access = {0};
    struct ath_buf input = {0};

    if (access_token_read(token, signer_get()->key, NULL, &access) == ATH_OK) {
        assert(access.expires_at > access.issued_at && access.scopes.count > 0);
        assert(access_token_signing_input(&access, signer_get()->key, &input) != ATH_OK ||
               purpose_check(PURPOSE_ACCESS_TOKEN, DID_SERVER, ath_buf_slice(&input)) == ATH_OK);
    }
    ath_buf_done(&input);
    access_token_done(&access);
}

/* Nothing may be signed for two purposes. */
static void
try_purposes(struct ath_slice bytes)
{
    unsigned allowed = 0;

    for (int purpose = 0; purpose < PURPOSE_COUNT; purpose++)
        for (int role = DID_USER; role <= DID_SERVER; role++)
            if (purpose_check((enum sign_purpose)purpose, (enum did_role)role, bytes) == ATH_OK)
                allowed++;
    assert(allowed <= 1);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ath_buf token = {0};

    if (size == 0)
        return 0;
    if (data[0] == 'r')
        ath_buf_put(&token, data + 1, size - 1);
    else
        put_signed_token(ath_slice_of(data + 1, size - 1), &token);
    if (token.err == ATH_OK) {
        try_jws(ath_buf_slice(&token));
        try_access_token(ath_buf_slice(&token));
        try_purposes(ath_buf_slice(&token));
    }
    ath_buf_done(&token);
    return 0;
}
