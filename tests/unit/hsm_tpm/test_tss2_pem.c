#include "hsm/tpm/tss2_pem.h"

#include <tss2/tss2_mu.h>

#include "support.h"

/* ---- a file, put together by hand ---- */

static void
der_put(struct ath_buf *out, uint8_t tag, struct ath_slice content)
{
    ath_buf_put_byte(out, tag);
    assert_true(content.len < 0x10000);
    if (content.len >= 0x100)
        ath_buf_put(out, "\x82", 1);
    else if (content.len >= 0x80)
        ath_buf_put(out, "\x81", 1);
    if (content.len >= 0x100)
        ath_buf_put_byte(out, (uint8_t)(content.len >> 8));
    ath_buf_put_byte(out, (uint8_t)content.len);
    ath_buf_put_slice(out, content);
}

struct recipe {
    const char *oid;   /* its DER; NULL: the loadable key's */
    int empty_auth;    /* -1: absent; else the BOOLEAN's byte */
    const char *extra; /* DER between emptyAuth and parent */
    size_t extra_len;
    uint32_t parent;
    size_t drop_public, drop_private; /* bytes left out at the end */
    bool add_private;                 /* a byte too many */
};

static const struct recipe plain = {.empty_auth = 0xff, .parent = 0x40000001};

static struct tss2_key
sample_key(void)
{
    struct tss2_key key = {
        .empty_auth = true,
        .parent = 0x40000001,
        .public.publicArea = {.type = TPM2_ALG_ECC,
                              .nameAlg = TPM2_ALG_SHA256,
                              .objectAttributes = 0x00040472,
                              .parameters.eccDetail = {.symmetric.algorithm = TPM2_ALG_NULL,
                                                       .scheme.scheme = TPM2_ALG_NULL,
                                                       .curveID = TPM2_ECC_NIST_P256,
                                                       .kdf.scheme = TPM2_ALG_NULL},
                              .unique.ecc = {.x.size = 32, .y.size = 32}},
        .private.size = 126,
    };

    memset(key.public.publicArea.unique.ecc.x.buffer, 'x', 32);
    memset(key.public.publicArea.unique.ecc.y.buffer, 'y', 32);
    memset(key.private.buffer, 'p', 126);
    return key;
}

static void
put_areas(const struct recipe *recipe, struct ath_buf *out)
{
    struct tss2_key key = sample_key();
    uint8_t bytes[1024] = {0};
    size_t len = 0;

    assert_int_equal(Tss2_MU_TPM2B_PUBLIC_Marshal(&key.public, bytes, sizeof(bytes), &len), 0);
    der_put(out, 4, ath_slice_of(bytes, len - recipe->drop_public));
    memset(bytes, 0, sizeof(bytes));
    len = 0;
    assert_int_equal(Tss2_MU_TPM2B_PRIVATE_Marshal(&key.private, bytes, sizeof(bytes), &len), 0);
    len += recipe->add_private ? 1 : 0;
    der_put(out, 4, ath_slice_of(bytes, len - recipe->drop_private));
}

static void
make_der(const struct recipe *recipe, struct ath_buf *out)
{
    static const uint8_t loadable[] = {0x06, 0x06, 0x67, 0x81, 0x05, 0x0a, 0x01, 0x03};
    const uint8_t parent[] = {0x02,
                              0x04,
                              (uint8_t)(recipe->parent >> 24),
                              (uint8_t)(recipe->parent >> 16),
                              (uint8_t)(recipe->parent >> 8),
                              (uint8_t)recipe->parent};
    const uint8_t flag[] = {0xa0, 3, 1, 1, (uint8_t)recipe->empty_auth};
    struct ath_buf body = {0};

    ath_buf_put(&body, recipe->oid != NULL ? recipe->oid : (const char *)loadable,
                sizeof(loadable));
    if (recipe->empty_auth >= 0)
        ath_buf_put(&body, flag, sizeof(flag));
    ath_buf_put(&body, recipe->extra, recipe->extra_len);
    ath_buf_put(&body, parent, sizeof(parent));
    put_areas(recipe, &body);
    der_put(out, 0x30, ath_buf_slice(&body));
    ath_buf_done(&body);
}

static void
make_pem(struct ath_slice der, const char *label, struct ath_buf *out)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    ath_buf_printf(out, "-----BEGIN %s-----\n", label);
    for (size_t i = 0, column = 0; i < der.len; i += 3) {
        uint32_t word = (uint32_t)der.data[i] << 16;

        word |= i + 1 < der.len ? (uint32_t)der.data[i + 1] << 8 : 0;
        word |= i + 2 < der.len ? der.data[i + 2] : 0;
        ath_buf_put_byte(out, (uint8_t)alphabet[word >> 18 & 63]);
        ath_buf_put_byte(out, (uint8_t)alphabet[word >> 12 & 63]);
        ath_buf_put_byte(out, i + 1 < der.len ? (uint8_t)alphabet[word >> 6 & 63] : '=');
        ath_buf_put_byte(out, i + 2 < der.len ? (uint8_t)alphabet[word & 63] : '=');
        column += 4;
        if (column % 64 == 0 || i + 3 >= der.len)
            ath_buf_put_byte(out, '\n');
    }
    ath_buf_printf(out, "-----END %s-----\n", label);
}

static ath_err
read_recipe(const struct recipe *recipe, struct tss2_key *ret_key, struct why *why)
{
    struct ath_buf der = {0}, pem = {0};
    ath_err err;

    make_der(recipe, &der);
    make_pem(ath_buf_slice(&der), "TSS2 PRIVATE KEY", &pem);
    err = tss2_pem_decode(ath_buf_slice(&pem), why, ret_key);
    ath_buf_done(&der);
    ath_buf_done(&pem);
    return err;
}

static void
refuse(const struct recipe *recipe, const char *word)
{
    struct tss2_key key;
    struct why why = {""};

    assert_int_equal(read_recipe(recipe, &key, &why), ATH_ERR_INVALID_PARAMS);
    if (strstr(why.text, word) == NULL)
        fail_msg("%s", why.text);
}

/* ---- tests ---- */

static void
test_written_file_reads_back_the_same(void **state)
{
    struct tss2_key in = sample_key(), out;
    struct ath_buf text = {0};

    (void)state;
    for (int i = 0; i < 2; i++) {
        in.empty_auth = i == 0;
        ath_buf_clear(&text);
        assert_int_equal(tss2_pem_encode(&in, &text), ATH_OK);
        assert_int_equal(tss2_pem_decode(ath_buf_slice(&text), NULL, &out), ATH_OK);
        assert_int_equal(out.empty_auth, in.empty_auth);
        assert_int_equal(out.parent, in.parent);
        assert_int_equal(out.private.size, in.private.size);
        assert_memory_equal(out.private.buffer, in.private.buffer, in.private.size);
        assert_int_equal(out.public.publicArea.objectAttributes, 0x00040472);
    }
    ath_buf_done(&text);
}

static void
test_written_file_is_what_the_drafts_der_says(void **state)
{
    struct tss2_key key = sample_key();
    struct ath_buf text = {0}, der = {0}, expected = {0};

    (void)state;
    make_der(&plain, &der);
    make_pem(ath_buf_slice(&der), "TSS2 PRIVATE KEY", &expected);
    assert_int_equal(tss2_pem_encode(&key, &text), ATH_OK);
    assert_string_equal(ath_buf_text(&text), ath_buf_text(&expected));
    ath_buf_done(&text);
    ath_buf_done(&der);
    ath_buf_done(&expected);
}

static void
test_any_true_is_true_and_absent_is_false(void **state)
{
    static const struct {
        int written;
        bool read;
    } cases[] = {{0xff, true}, {0x01, true}, {0x80, true}, {0x00, false}, {-1, false}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct recipe recipe = plain;
        struct tss2_key key;

        recipe.empty_auth = cases[i].written;
        assert_int_equal(read_recipe(&recipe, &key, NULL), ATH_OK);
        assert_int_equal(key.empty_auth, cases[i].read);
    }
}

static void
test_authorization_policies_description_and_rsa_parent_may_be_there(void **state)
{
    /* [3] a list with one empty policy, [4] "agent", [5] FALSE */
    static const char extra[] = "\xa3\x08\x30\x06\x30\x04\xa1\x02\x30\x00"
                                "\xa4\x07\x0c\x05"
                                "agent"
                                "\xa5\x03\x01\x01\x00";
    struct recipe recipe = plain;
    struct tss2_key key;

    (void)state;
    recipe.extra = extra;
    recipe.extra_len = sizeof(extra) - 1;
    assert_int_equal(read_recipe(&recipe, &key, NULL), ATH_OK);
}

static void
test_policy_secret_and_rsa_parent_are_refused(void **state)
{
    struct recipe recipe = plain;

    (void)state;
    recipe.extra = "\xa1\x02\x30\x00"; /* an empty policy is still one */
    recipe.extra_len = 4;
    refuse(&recipe, "policy");
    recipe.extra = "\xa2\x03\x04\x01s";
    recipe.extra_len = 5;
    refuse(&recipe, "policy");
    recipe.extra = "\xa5\x03\x01\x01\xff";
    recipe.extra_len = 5;
    refuse(&recipe, "RSA");
}

static void
test_importable_and_sealed_objects_are_refused(void **state)
{
    struct recipe recipe = plain;

    (void)state;
    recipe.oid = "\x06\x06\x67\x81\x05\x0a\x01\x04";
    refuse(&recipe, "2.23.133.10.1.3");
    recipe.oid = "\x06\x06\x67\x81\x05\x0a\x01\x05";
    refuse(&recipe, "2.23.133.10.1.3");
}

static void
test_damaged_areas_are_refused(void **state)
{
    struct recipe recipe = plain;

    (void)state;
    recipe.drop_public = 1;
    refuse(&recipe, "area");
    recipe = plain;
    recipe.drop_private = 1;
    refuse(&recipe, "area");
    recipe = plain;
    recipe.add_private = true;
    refuse(&recipe, "area");
}

static void
test_negative_parent_is_refused(void **state)
{
    struct recipe recipe = plain;

    (void)state;
    recipe.parent = 0x81000001; /* as an INTEGER of four bytes it is negative */
    refuse(&recipe, "parent");
}

static void
test_every_truncation_and_every_appended_byte_is_refused(void **state)
{
    struct ath_buf der = {0}, pem = {0};
    struct tss2_key key;

    (void)state;
    make_der(&plain, &der);
    for (size_t len = 0; len < der.len; len++) {
        ath_buf_clear(&pem);
        make_pem(ath_slice_of(der.data, len), "TSS2 PRIVATE KEY", &pem);
        assert_int_equal(tss2_pem_decode(ath_buf_slice(&pem), NULL, &key), ATH_ERR_INVALID_PARAMS);
    }
    ath_buf_put_byte(&der, 0);
    ath_buf_clear(&pem);
    make_pem(ath_buf_slice(&der), "TSS2 PRIVATE KEY", &pem);
    assert_int_equal(tss2_pem_decode(ath_buf_slice(&pem), NULL, &key), ATH_ERR_INVALID_PARAMS);
    ath_buf_done(&der);
    ath_buf_done(&pem);
}

static void
test_ber_that_is_not_der_is_refused(void **state)
{
    /* emptyAuth with a length in two bytes */
    struct recipe recipe = plain;

    (void)state;
    recipe.empty_auth = -1;
    recipe.extra = "\xa0\x81\x03\x01\x01\xff";
    recipe.extra_len = 6;
    refuse(&recipe, "ASN.1");
}

static void
test_pem_around_it_must_be_clean(void **state)
{
    struct ath_buf der = {0}, pem = {0};
    struct tss2_key key;

    (void)state;
    make_der(&plain, &der);
    make_pem(ath_buf_slice(&der), "PRIVATE KEY", &pem);
    assert_int_equal(tss2_pem_decode(ath_buf_slice(&pem), NULL, &key), ATH_ERR_INVALID_PARAMS);
    ath_buf_clear(&pem);
    ath_buf_put_string(&pem, "hello\n");
    make_pem(ath_buf_slice(&der), "TSS2 PRIVATE KEY", &pem);
    assert_int_equal(tss2_pem_decode(ath_buf_slice(&pem), NULL, &key), ATH_ERR_INVALID_PARAMS);
    ath_buf_clear(&pem);
    make_pem(ath_buf_slice(&der), "TSS2 PRIVATE KEY", &pem);
    ath_buf_put_string(&pem, " \r\n\t\n");
    assert_int_equal(tss2_pem_decode(ath_buf_slice(&pem), NULL, &key), ATH_OK);
    ath_buf_put_string(&pem, "x");
    assert_int_equal(tss2_pem_decode(ath_buf_slice(&pem), NULL, &key), ATH_ERR_INVALID_PARAMS);
    assert_int_equal(tss2_pem_decode((struct ath_slice){0}, NULL, &key), ATH_ERR_INVALID_PARAMS);
    ath_buf_done(&der);
    ath_buf_done(&pem);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_written_file_reads_back_the_same),
        cmocka_unit_test(test_written_file_is_what_the_drafts_der_says),
        cmocka_unit_test(test_any_true_is_true_and_absent_is_false),
        cmocka_unit_test(test_authorization_policies_description_and_rsa_parent_may_be_there),
        cmocka_unit_test(test_policy_secret_and_rsa_parent_are_refused),
        cmocka_unit_test(test_importable_and_sealed_objects_are_refused),
        cmocka_unit_test(test_damaged_areas_are_refused),
        cmocka_unit_test(test_negative_parent_is_refused),
        cmocka_unit_test(test_every_truncation_and_every_appended_byte_is_refused),
        cmocka_unit_test(test_ber_that_is_not_der_is_refused),
        cmocka_unit_test(test_pem_around_it_must_be_clean),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
