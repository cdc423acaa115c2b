#include "tests/support/support.h"

#include "crypto/digest.h"
#include "crypto/scrypt.h"

static void
derive(const char *passphrase, const char *salt, struct scrypt_cost cost, struct ath_secret *okm)
{
    assert_int_equal(ath_secret_init(okm, 64), ATH_OK);
    assert_int_equal(scrypt(ath_slice_of_string(passphrase), ath_slice_of_string(salt), &cost, okm),
                     ATH_OK);
}

/* RFC 7914, section 12; the first vector has an empty passphrase and salt, which we never have. */
static void
test_rfc_7914_vectors_hold(void **state)
{
    static const uint8_t second[] = {0xfd, 0xba, 0xbe, 0x1c, 0x9d, 0x34, 0x72, 0x00,
                                     0x78, 0x56, 0xe7, 0x19, 0x0d, 0x01, 0xe9, 0xfe};
    static const uint8_t third[] = {0x70, 0x23, 0xbd, 0xcb, 0x3a, 0xfd, 0x73, 0x48,
                                    0x46, 0x1c, 0x06, 0xcd, 0x81, 0xfd, 0x38, 0xeb};
    struct ath_secret okm;

    (void)state;
    derive("password", "NaCl", (struct scrypt_cost){1024, 8, 16}, &okm);
    assert_memory_equal(okm.data, second, sizeof(second));
    ath_secret_done(&okm);
    derive("pleaseletmein", "SodiumChloride", (struct scrypt_cost){16384, 8, 1}, &okm);
    assert_memory_equal(okm.data, third, sizeof(third));
    ath_secret_done(&okm);
}

static void
test_cost_beyond_its_limits_is_refused(void **state)
{
    static const struct scrypt_cost bad[] = {
        {0, 8, 1},      {1, 8, 1},        {3, 8, 1},      {32768, 0, 1},    {32768, 8, 0},
        {32768, 8, 17}, {1u << 17, 8, 1}, {32768, 17, 1}, {1u << 31, 1, 1}, {32768, UINT32_MAX, 1}};
    struct ath_secret okm;

    (void)state;
    assert_int_equal(ath_secret_init(&okm, 32), ATH_OK);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(scrypt_cost_is_valid(&bad[i]));
        assert_int_equal(scrypt(ath_slice_of_string("a"), ath_slice_of_string("b"), &bad[i], &okm),
                         ATH_ERR_CRYPTO);
    }
    assert_true(scrypt_cost_is_valid(&(struct scrypt_cost){65536, 8, 16}));
    ath_secret_done(&okm);
}

static void
test_largest_cost_that_is_valid_can_be_had(void **state)
{
    struct ath_secret okm;

    (void)state;
    derive("a", "b", (struct scrypt_cost){65536, 8, 1}, &okm);
    ath_secret_done(&okm);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc_7914_vectors_hold),
        cmocka_unit_test(test_cost_beyond_its_limits_is_refused),
        cmocka_unit_test(test_largest_cost_that_is_valid_can_be_had),
    };

    if (crypto_init() != ATH_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
