#include "crypto/digest.h"

#include "tests/unit/crypto/hex.h"

/* FIPS 180-4 examples: "abc" and the empty message */
static void
test_sha256_and_sha384_give_the_published_digests(void **state)
{
    uint8_t digest[SHA384_LEN];

    (void)state;
    assert_int_equal(crypto_init(), ATH_OK);
    assert_int_equal(sha256(ath_slice_of_string("abc"), digest), ATH_OK);
    assert_hex(ath_slice_of(digest, SHA256_LEN),
               "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(sha256((struct ath_slice){0}, digest), ATH_OK);
    assert_hex(ath_slice_of(digest, SHA256_LEN),
               "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_int_equal(sha384(ath_slice_of_string("abc"), digest), ATH_OK);
    assert_hex(ath_slice_of(digest, SHA384_LEN),
               "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed"
               "8086072ba1e7cc2358baeca134c825a7");
}

static void
test_sha256_of_two_parts_is_that_of_the_whole(void **state)
{
    uint8_t parts[SHA256_LEN], whole[SHA256_LEN];

    (void)state;
    assert_int_equal(sha256_2(ath_slice_of_string("a"), ath_slice_of_string("bc"), parts), ATH_OK);
    assert_int_equal(sha256(ath_slice_of_string("abc"), whole), ATH_OK);
    assert_memory_equal(parts, whole, SHA256_LEN);
    assert_int_equal(sha256_2((struct ath_slice){0}, ath_slice_of_string("abc"), parts), ATH_OK);
    assert_memory_equal(parts, whole, SHA256_LEN);
}

/* RFC 4231, test cases 1, 2 and 6 (a key longer than a block) */
static void
test_hmac_gives_the_published_macs(void **state)
{
    uint8_t key[131], mac[SHA256_LEN];

    (void)state;
    memset(key, 0x0b, 20);
    assert_int_equal(hmac_sha256(ath_slice_of(key, 20), ath_slice_of_string("Hi There"), mac),
                     ATH_OK);
    assert_hex(ath_slice_of(mac, sizeof(mac)),
               "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    assert_int_equal(hmac_sha256(ath_slice_of_string("Jefe"),
                                 ath_slice_of_string("what do ya want for nothing?"), mac),
                     ATH_OK);
    assert_hex(ath_slice_of(mac, sizeof(mac)),
               "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, sizeof(key));
    assert_int_equal(
        hmac_sha256(ath_slice_of(key, sizeof(key)),
                    ath_slice_of_string("Test Using Larger Than Block-Size Key - Hash Key First"),
                    mac),
        ATH_OK);
    assert_hex(ath_slice_of(mac, sizeof(mac)),
               "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

/* RFC 5869 appendix A, the cases with SHA-256 */
struct hkdf_case {
    const char *ikm, *salt, *info, *prk, *okm;
};

static const struct hkdf_case hkdf_cases[] = {
    {"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "000102030405060708090a0b0c",
     "f0f1f2f3f4f5f6f7f8f9", "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
     "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"},
    {"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f2021222324252627"
     "28292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f",
     "606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f8081828384858687"
     "88898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeaf",
     "b0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7"
     "d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
     "06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244",
     "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac78272"
     "71cb41c65e590e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f"
     "1d87"},
    {"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "", "",
     "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04",
     "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"},
};

static void
test_hkdf_gives_the_published_keys(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(hkdf_cases) / sizeof(hkdf_cases[0]); i++) {
        const struct hkdf_case *c = &hkdf_cases[i];
        uint8_t ikm[80], salt[80];
        char info[81] = {0};
        struct ath_secret prk = {0}, okm = {0};
        size_t ikm_len = hex_decode(c->ikm, ikm), salt_len = hex_decode(c->salt, salt);

        hex_decode(c->info, (uint8_t *)info);
        assert_int_equal(
            hkdf_extract(ath_slice_of(salt, salt_len), ath_slice_of(ikm, ikm_len), &prk), ATH_OK);
        assert_hex(ath_secret_slice(&prk), c->prk);
        assert_int_equal(ath_secret_init(&okm, strlen(c->okm) / 2), ATH_OK);
        assert_int_equal(hkdf_expand(ath_secret_slice(&prk), info, &okm), ATH_OK);
        assert_hex(ath_secret_slice(&okm), c->okm);
        ath_secret_done(&okm);
        ath_secret_done(&prk);
    }
}

static void
test_hkdf_refuses_more_than_255_blocks(void **state)
{
    struct ath_secret okm = {0};

    (void)state;
    assert_int_equal(ath_secret_init(&okm, 255 * SHA256_LEN + 1), ATH_OK);
    assert_int_equal(hkdf_expand(ath_slice_of_string("prk"), "", &okm), ATH_ERR_LIMIT_EXCEEDED);
    ath_secret_done(&okm);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sha256_and_sha384_give_the_published_digests),
        cmocka_unit_test(test_sha256_of_two_parts_is_that_of_the_whole),
        cmocka_unit_test(test_hmac_gives_the_published_macs),
        cmocka_unit_test(test_hkdf_gives_the_published_keys),
        cmocka_unit_test(test_hkdf_refuses_more_than_255_blocks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
