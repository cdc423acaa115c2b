#include "tests/unit/crypto/keys.h"

static void
assert_jwk_refused(const char *text)
{
    struct public_key *key = NULL;

    assert_int_equal(key_from_jwk(text, &key), ATH_ERR_INVALID_PUBLIC_KEY);
    assert_null(key);
}

static void
test_jwk_with_optional_members_is_accepted(void **state)
{
    struct public_key *plain = key_of_jwk(EC_JWK);
    struct public_key *more = key_of_jwk("{\"kty\":\"EC\",\"crv\":\"P-256\"," EC_X "," EC_Y
                                         ",\"kid\":\"1\",\"alg\":\"ES256\",\"use\":\"sig\"}");

    (void)state;
    assert_true(public_key_equal(plain, more));
    public_key_free(more);
    public_key_free(plain);
}

static void
test_jwk_of_a_private_key_is_refused(void **state)
{
    (void)state;
    assert_jwk_refused("{\"kty\":\"EC\",\"crv\":\"P-256\"," EC_X "," EC_Y
                       ",\"d\":\"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI\"}");
    assert_jwk_refused("{\"kty\":\"EC\",\"crv\":\"P-256\"," EC_X "," EC_Y ",\"d\":null}");
    assert_jwk_refused("{\"kty\":\"OKP\",\"crv\":\"Ed25519\"," OKP_X
                       ",\"d\":\"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A\"}");
    assert_jwk_refused("{\"kty\":\"EC\",\"crv\":\"P-256\"," EC_X "," EC_Y ",\"k\":\"AA\"}");
}

static void
test_jwk_coordinates_must_have_full_length(void **state)
{
    (void)state;
    assert_jwk_refused("{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":"
                       "\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVA\"," EC_Y "}");
    assert_jwk_refused("{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AH_NzidwuMRdQYPL7m_bS3tYBzM1e-"
                       "nvE7rPbjx70VRF\"," EC_Y "}");
    assert_jwk_refused("{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":"
                       "\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU=\"," EC_Y "}");
    assert_jwk_refused("{\"kty\":\"EC\",\"crv\":\"P-256\"," EC_X "}");
    assert_jwk_refused("{\"kty\":\"EC\",\"crv\":\"P-256\"," EC_X ",\"y\":null}");
    assert_jwk_refused("{\"kty\":\"EC\",\"crv\":\"P-384\"," EC_X "," EC_Y "}");
}

static void
test_jwk_kind_and_curve_must_fit(void **state)
{
    (void)state;
    assert_jwk_refused("{\"kty\":\"OKP\",\"crv\":\"P-256\"," EC_X "," EC_Y "}");
    assert_jwk_refused("{\"kty\":\"EC\",\"crv\":\"Ed25519\"," OKP_X "}");
    assert_jwk_refused("{\"kty\":\"OKP\",\"crv\":\"X25519\"," OKP_X "}");
    assert_jwk_refused("{\"kty\":\"OKP\",\"crv\":\"Ed25519\"," OKP_X "," EC_Y "}");
    assert_jwk_refused("{\"kty\":\"EC\",\"crv\":\"secp256k1\"," EC_X "," EC_Y "}");
    assert_jwk_refused("{\"kty\":\"ec\",\"crv\":\"P-256\"," EC_X "," EC_Y "}");
    assert_jwk_refused("{\"crv\":\"P-256\"," EC_X "," EC_Y "}");
    assert_jwk_refused("{\"kty\":\"EC\",\"crv\":7," EC_X "," EC_Y "}");
    assert_jwk_refused("{}");
    assert_jwk_refused("[]");
    /* RFC 7515 A.3's x with its y changed */
    assert_jwk_refused("{\"kty\":\"EC\",\"crv\":\"P-256\"," EC_X
                       ",\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5bA\"}");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_jwk_with_optional_members_is_accepted),
        cmocka_unit_test(test_jwk_of_a_private_key_is_refused),
        cmocka_unit_test(test_jwk_coordinates_must_have_full_length),
        cmocka_unit_test(test_jwk_kind_and_curve_must_fit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
