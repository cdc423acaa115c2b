/* Whatever is accepted as a key, in each of its forms, has its one form again when written. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/public_key.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_round_trip(const struct public_key *key)
{
    struct ath_buf text = {0};
    struct public_key *again = NULL;

    public_key_put_pem(key, &text);
    if (text.err == ATH_OK) {
        assert(public_key_from_pem(ath_buf_slice(&text), NULL, &again) == ATH_OK);
        assert(public_key_equal(key, again));
    }
    public_key_free(again);
    ath_buf_done(&text);
}

static void
try_jwk(struct ath_slice input)
{
    const struct json_limits limits = {4096, 4, 32, JSON_INTEGERS};
    struct json *jwk = NULL;
    struct public_key *key = NULL;

    if (json_parse(input, &limits, NULL, &jwk) == ATH_OK &&
        public_key_from_jwk(jwk, NULL, &key) == ATH_OK)
        check_round_trip(key);
    public_key_free(key);
    json_free(jwk);
}

static void
try_did_key(struct ath_slice input)
{
    char *did = ath_slice_dup(input);
    struct ath_buf again = {0};
    struct public_key *key = NULL;

    if (did != NULL && strlen(did) == input.len &&
        public_key_from_did_key(did, NULL, &key) == ATH_OK) {
        assert(public_key_did_key(key, &again) == ATH_OK &&
               ath_slice_is(ath_buf_slice(&again), did));
        check_round_trip(key);
    }
    public_key_free(key);
    ath_buf_done(&again);
    free(did);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ath_slice input = ath_slice_of(data, size);
    uint8_t signature[SIGNATURE_MAX_LEN];
    struct public_key *key = NULL;

    if (public_key_from_pem(input, NULL, &key) == ATH_OK)
        check_round_trip(key);
    public_key_free(key);
    key = NULL;
    if (public_key_from_der(input, NULL, &key) == ATH_OK) {
        assert(ath_slice_equal(public_key_der(key), input));
        check_round_trip(key);
    }
    public_key_free(key);
    (void)!signature_from_der(KEY_ES256, input, signature);
    (void)!signature_from_der(KEY_ES384, input, signature);
    try_jwk(input);
    try_did_key(input);
    return 0;
}
