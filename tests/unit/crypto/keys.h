/* Keys in the forms that tests begin with. */
#ifndef TESTS_UNIT_CRYPTO_KEYS_H
#define TESTS_UNIT_CRYPTO_KEYS_H

#include "crypto/public_key.h"
#include "tests/support/support.h"
#include "tests/support/test_key.h"

/* RFC 7515 A.3.1 */
#define EC_X "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\""
#define EC_Y "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\""
#define EC_JWK "{\"kty\":\"EC\",\"crv\":\"P-256\"," EC_X "," EC_Y "}"

/* RFC 8037 A.2 */
#define OKP_X "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\""
#define OKP_JWK "{\"kty\":\"OKP\",\"crv\":\"Ed25519\"," OKP_X "}"

/* The public half of a test's pair; the caller frees it. */
static inline struct public_key *
key_of(enum test_key_kind kind)
{
    struct test_key *pair = test_key_new(kind, "a");
    struct public_key *key = NULL;

    assert_int_equal(public_key_from_der(test_key_der(pair), NULL, &key), ATH_OK);
    test_key_free(pair);
    return key;
}

static inline ath_err
key_from_jwk(const char *text, struct public_key **ret_key)
{
    const struct json_limits limits = {4096, 4, 32, JSON_INTEGERS};
    struct json *jwk = NULL;
    ath_err err;

    assert_int_equal(json_parse(ath_slice_of_string(text), &limits, NULL, &jwk), ATH_OK);
    err = public_key_from_jwk(jwk, NULL, ret_key);
    json_free(jwk);
    return err;
}

static inline struct public_key *
key_of_jwk(const char *text)
{
    struct public_key *key = NULL;

    assert_int_equal(key_from_jwk(text, &key), ATH_OK);
    return key;
}

#endif
