/* What a TPM says of the audit log's counter: each member that is not as it must be. */
#include "tests/support/support.h"

#include "base/bytes.h"
#include "protocol/counter_evidence.h"

/* TPM 2.0 part 2, 13.5 and 10.12.8, as a TPM fills them in. */
struct parts {
    uint32_t index, attributes;
    uint16_t name_algorithm, size;
    uint32_t magic;
    uint16_t type, offset, contents_len;
    uint8_t safe, behind_public, behind_attest;
    uint32_t name_flip;
    uint16_t long_field; /* of the qualified signer's name; 0: the usual one */
};

static const struct parts right = {.index = 0x01800a7d,
                                   .attributes = 0x22040014,
                                   .name_algorithm = 0x000b,
                                   .size = 8,
                                   .magic = 0xff544347,
                                   .type = 0x8014,
                                   .contents_len = 8,
                                   .safe = 1};

static void
put_2b(struct ath_buf *out, struct ath_buf *bytes)
{
    bytes_put_u16(out, (uint16_t)bytes->len);
    ath_buf_put_slice(out, ath_buf_slice(bytes));
    ath_buf_done(bytes);
}

static void
put_public(const struct parts *parts, struct ath_buf *out, uint8_t name[2 + SHA256_LEN])
{
    struct ath_buf bytes = {0};

    bytes_put_u32(&bytes, parts->index);
    bytes_put_u16(&bytes, parts->name_algorithm);
    bytes_put_u32(&bytes, parts->attributes);
    bytes_put_u16(&bytes, 0);
    bytes_put_u16(&bytes, parts->size);
    if (parts->behind_public != 0)
        bytes_put_u8(&bytes, 0);
    name[0] = 0;
    name[1] = 0x0b;
    assert_int_equal(sha256(ath_buf_slice(&bytes), name + 2), ATH_OK);
    name[1 + SHA256_LEN] ^= (uint8_t)parts->name_flip;
    put_2b(out, &bytes);
}

static void
put_attest(const struct parts *parts, const uint8_t name[2 + SHA256_LEN], struct ath_buf *out)
{
    static const uint8_t zeros[300];
    struct ath_buf bytes = {0};

    bytes_put_u32(&bytes, parts->magic);
    bytes_put_u16(&bytes, parts->type);
    bytes_put_u16(&bytes, parts->long_field);
    ath_buf_put(&bytes, zeros, parts->long_field);
    bytes_put_u16(&bytes, 3);
    ath_buf_put_string(&bytes, "abc"); /* extraData */
    bytes_put_u64(&bytes, 123456);
    bytes_put_u32(&bytes, 7);
    bytes_put_u32(&bytes, 9);
    bytes_put_u8(&bytes, parts->safe);
    bytes_put_u64(&bytes, 0x20240101);
    bytes_put_u16(&bytes, 2 + SHA256_LEN);
    ath_buf_put(&bytes, name, 2 + SHA256_LEN);
    bytes_put_u16(&bytes, parts->offset);
    bytes_put_u16(&bytes, parts->contents_len);
    bytes_put_u64(&bytes, 42);
    ath_buf_put(&bytes, zeros, parts->contents_len > 8 ? parts->contents_len - 8u : 0);
    if (parts->behind_attest != 0)
        bytes_put_u8(&bytes, 0);
    put_2b(out, &bytes);
}

static ath_err
decode(const struct parts *parts, struct why *why, struct counter_evidence *ret_evidence)
{
    static const uint8_t signature[64];
    static uint8_t kept[2048]; /* what the evidence points into */
    struct ath_buf bytes = {0};
    uint8_t name[2 + SHA256_LEN];
    ath_err err;

    *why = (struct why){{0}};
    put_public(parts, &bytes, name);
    put_attest(parts, name, &bytes);
    ath_buf_put(&bytes, signature, sizeof(signature));
    assert_true(bytes.len <= sizeof(kept));
    memcpy(kept, bytes.data, bytes.len);
    err = counter_evidence_decode(ath_slice_of(kept, bytes.len), why, ret_evidence);
    ath_buf_done(&bytes);
    return err;
}

static void
test_all_members_are_read(void **state)
{
    struct counter_evidence evidence;
    struct why why;

    (void)state;
    assert_int_equal(decode(&right, &why, &evidence), ATH_OK);
    assert_int_equal(evidence.index, 0x01800a7d);
    assert_int_equal(evidence.attributes, 0x22040014);
    assert_int_equal(evidence.value, 42);
    assert_int_equal(evidence.resets, 7);
    assert_int_equal(evidence.restarts, 9);
    assert_true(ath_slice_is(evidence.nonce, "abc"));
    assert_int_equal(evidence.signature.len, 64);
}

static void
test_each_member_that_is_not_as_it_must_be_is_told(void **state)
{
    struct parts cases[16];
    static const struct {
        ath_err err;
        const char *why;
    } told[] = {
        {ATH_ERR_INVALID_EVIDENCE, "by another hash than SHA-256"},
        {ATH_ERR_INVALID_EVIDENCE, "of an index that is no counter"},
        {ATH_ERR_INVALID_EVIDENCE, "of an index that is no counter"},
        {ATH_ERR_INVALID_EVIDENCE, "of a counter that was never stepped"},
        {ATH_ERR_INVALID_EVIDENCE, "TPM_GENERATED"},
        {ATH_ERR_INVALID_EVIDENCE, "is no NV_Certify"},
        {ATH_ERR_INVALID_EVIDENCE, "the counter's 8 bytes"},
        {ATH_ERR_INVALID_EVIDENCE, "the counter's 8 bytes"},
        {ATH_ERR_PARSE, "TPM2B_ATTEST is malformed"},
        {ATH_ERR_PARSE, "TPM2B_ATTEST is malformed"},
        {ATH_ERR_PARSE, "TPM2B_NV_PUBLIC is malformed"},
        {ATH_ERR_INVALID_EVIDENCE, "of another index than the public area"},
        {ATH_ERR_PARSE, "TPM2B_ATTEST is malformed"},
        {ATH_ERR_PARSE, "TPM2B_ATTEST is malformed"},
    };
    struct counter_evidence evidence;
    struct why why;
    size_t n = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        cases[i] = right;
    cases[n++].name_algorithm = 0x000c;
    cases[n++].attributes = 0x22040004; /* TPM_NT_ORDINARY */
    cases[n++].size = 7;
    cases[n++].attributes = 0x02040014; /* not TPMA_NV_WRITTEN */
    cases[n++].magic = 0xff544346;
    cases[n++].type = 0x8018; /* TPM_ST_ATTEST_QUOTE */
    cases[n++].offset = 1;
    cases[n++].contents_len = 9;
    cases[n++].safe = 2;
    cases[n++].behind_attest = 1;
    cases[n++].behind_public = 1;
    cases[n++].name_flip = 1;
    cases[n++].long_field = 257;
    cases[n++].contents_len = 7; /* one byte is left */
    assert_int_equal(n, sizeof(told) / sizeof(told[0]));
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(decode(&cases[i], &why, &evidence), told[i].err);
        if (strstr(why.text, told[i].why) == NULL)
            fail_msg("%zu: \"%s\" is not in \"%s\"", i, told[i].why, why.text);
    }
}

/* What a TPM may say and another one does not. */
static void
test_what_is_a_counter_all_the_same_is_accepted(void **state)
{
    struct parts parts = right;
    struct counter_evidence evidence;
    struct why why;

    (void)state;
    parts.attributes |= 0x1; /* TPMA_NV_PPWRITE */
    assert_int_equal(decode(&parts, &why, &evidence), ATH_OK);
    parts = right;
    parts.safe = 0;
    assert_int_equal(decode(&parts, &why, &evidence), ATH_OK);
    parts.long_field = 256;
    assert_int_equal(decode(&parts, &why, &evidence), ATH_OK);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_members_are_read),
        cmocka_unit_test(test_each_member_that_is_not_as_it_must_be_is_told),
        cmocka_unit_test(test_what_is_a_counter_all_the_same_is_accepted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
