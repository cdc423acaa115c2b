#include "crypto/aead.h"

#include "tests/unit/crypto/hex.h"

/* The AES-256 cases 13, 14 and 16 of "The Galois/Counter Mode of Operation" (McGrew, Viega), which
 * NIST's validation uses too. */
struct gcm_case {
    const char *key, *iv, *plaintext, *aad, *ciphertext, *tag;
};

#define ZERO_KEY "0000000000000000000000000000000000000000000000000000000000000000"
#define ZERO_IV "000000000000000000000000"

static const struct gcm_case cases[] = {
    {ZERO_KEY, ZERO_IV, "", "", "", "530f8afbc74536b9a963b4f1c4cb738b"},
    {ZERO_KEY, ZERO_IV, "00000000000000000000000000000000", "", "cea7403d4d606b6e074ec5d3baf39d18",
     "d0d1c8a799996bf0265b98b5d48ab919"},
    {"feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888",
     "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
     "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
     "feedfacedeadbeeffeedfacedeadbeefabaddad2",
     "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
     "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
     "76fc6ece0f4e1768cddf8853bb2d551b"},
};

struct decoded {
    struct ath_secret key;
    uint8_t iv[AEAD_IV_LEN], tag[AEAD_TAG_LEN], plaintext[64], aad[32], ciphertext[64];
    size_t plaintext_len, aad_len;
};

static void
decode(const struct gcm_case *c, struct decoded *ret)
{
    uint8_t key[AEAD_KEY_LEN];

    memset(ret, 0, sizeof(*ret));
    hex_decode(c->key, key);
    assert_int_equal(ath_secret_from(ath_slice_of(key, sizeof(key)), &ret->key), ATH_OK);
    hex_decode(c->iv, ret->iv);
    hex_decode(c->tag, ret->tag);
    ret->plaintext_len = hex_decode(c->plaintext, ret->plaintext);
    ret->aad_len = hex_decode(c->aad, ret->aad);
    hex_decode(c->ciphertext, ret->ciphertext);
}

static void
test_seal_gives_the_published_ciphertexts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct decoded d;
        struct ath_buf out = {0};
        uint8_t tag[AEAD_TAG_LEN];

        decode(&cases[i], &d);
        assert_int_equal(aead_seal(&d.key, d.iv, ath_slice_of(d.aad, d.aad_len),
                                   ath_slice_of(d.plaintext, d.plaintext_len), &out, tag),
                         ATH_OK);
        assert_hex(ath_buf_slice(&out), cases[i].ciphertext);
        assert_hex(ath_slice_of(tag, sizeof(tag)), cases[i].tag);
        ath_buf_done(&out);
        ath_secret_done(&d.key);
    }
}

static void
test_open_gives_the_plaintext_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct decoded d;
        struct ath_buf out = {0};

        decode(&cases[i], &d);
        ath_buf_put_string(&out, "before");
        assert_int_equal(aead_open(&d.key, d.iv, ath_slice_of(d.aad, d.aad_len),
                                   ath_slice_of(d.ciphertext, d.plaintext_len), d.tag, &out),
                         ATH_OK);
        assert_int_equal(out.len, 6 + d.plaintext_len);
        assert_memory_equal(out.data, "before", 6);
        assert_memory_equal(out.data + 6, d.plaintext, d.plaintext_len);
        ath_buf_done(&out);
        ath_secret_done(&d.key);
    }
}

static void
assert_refused(const struct decoded *d)
{
    struct ath_buf out = {0};

    ath_buf_put_string(&out, "x");
    assert_int_equal(aead_open(&d->key, d->iv, ath_slice_of(d->aad, d->aad_len),
                               ath_slice_of(d->ciphertext, d->plaintext_len), d->tag, &out),
                     ATH_ERR_DECRYPT_FAILED);
    assert_int_equal(out.len, 1);
    /* what was decrypted before the tag failed has been wiped */
    for (size_t i = 1; i < 1 + d->plaintext_len; i++)
        assert_int_equal(out.data[i], 0);
    ath_buf_done(&out);
}

static void
test_open_refuses_whatever_was_changed(void **state)
{
    struct decoded d;

    (void)state;
    decode(&cases[2], &d);
    d.tag[15] ^= 1;
    assert_refused(&d);
    d.tag[15] ^= 1;
    d.aad[0] ^= 0x80;
    assert_refused(&d);
    d.aad[0] ^= 0x80;
    d.iv[11] ^= 1;
    assert_refused(&d);
    d.iv[11] ^= 1;
    d.ciphertext[7] ^= 1;
    assert_refused(&d);
    d.ciphertext[7] ^= 1;
    d.key.data[0] ^= 1;
    assert_refused(&d);
    ath_secret_done(&d.key);
}

static void
test_a_key_of_another_length_is_refused(void **state)
{
    struct ath_secret key = {0};
    struct ath_buf out = {0};
    uint8_t iv[AEAD_IV_LEN] = {0}, tag[AEAD_TAG_LEN];

    (void)state;
    assert_int_equal(ath_secret_init(&key, 16), ATH_OK);
    assert_int_equal(aead_seal(&key, iv, (struct ath_slice){0}, (struct ath_slice){0}, &out, tag),
                     ATH_ERR_CRYPTO);
    ath_secret_done(&key);
}

static void
test_the_buffers_limit_holds(void **state)
{
    struct decoded d;
    struct ath_buf out = {.max = 59};
    uint8_t tag[AEAD_TAG_LEN];

    (void)state;
    decode(&cases[2], &d);
    assert_int_equal(
        aead_seal(&d.key, d.iv, (struct ath_slice){0}, ath_slice_of(d.plaintext, 60), &out, tag),
        ATH_ERR_LIMIT_EXCEEDED);
    assert_int_equal(out.len, 0);
    ath_buf_done(&out);
    ath_secret_done(&d.key);
}

static ath_err
seal_body(void *ctx)
{
    struct decoded d;
    struct ath_buf out = {0};
    uint8_t tag[AEAD_TAG_LEN];
    ath_err err;

    memset(&d, 0, sizeof(d));
    if ((err = ath_secret_init(&d.key, AEAD_KEY_LEN)) == ATH_OK)
        err = aead_seal(&d.key, d.iv, (struct ath_slice){0}, ath_slice_of_string(ctx), &out, tag);
    ath_buf_done(&out);
    ath_secret_done(&d.key);
    return err;
}

static void
test_seal_survives_each_failing_allocation(void **state)
{
    char text[] = "some plaintext";

    (void)state;
    each_allocation_failing(seal_body, text);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_seal_gives_the_published_ciphertexts),
        cmocka_unit_test(test_open_gives_the_plaintext_back),
        cmocka_unit_test(test_open_refuses_whatever_was_changed),
        cmocka_unit_test(test_a_key_of_another_length_is_refused),
        cmocka_unit_test(test_the_buffers_limit_holds),
        cmocka_unit_test(test_seal_survives_each_failing_allocation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
