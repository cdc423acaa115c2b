#include "base/base64.h"

#include "tests/support/support.h"

/* RFC 4648 section 10, and the two characters in which the alphabets differ. */
static const struct {
    const char *bytes, *text;
} vectors[] = {
    {"", ""},
    {"f", "Zg=="},
    {"fo", "Zm8="},
    {"foo", "Zm9v"},
    {"foob", "Zm9vYg=="},
    {"fooba", "Zm9vYmE="},
    {"foobar", "Zm9vYmFy"},
    {"\xfb\xef\xbe\xff\xff\xff", "++++////"},
};

static void
test_published_vectors_both_ways(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        struct ath_slice bytes = ath_slice_of_string(vectors[i].bytes);
        struct ath_buf text = {0}, back = {0};
        uint8_t exact[8];

        base64_put(&text, bytes);
        assert_true(ath_slice_is(ath_buf_slice(&text), vectors[i].text));
        assert_int_equal(text.len, BASE64_LEN(bytes.len));
        assert_int_equal(base64_decode(ath_slice_of_string(vectors[i].text), &back), ATH_OK);
        assert_true(ath_slice_equal(ath_buf_slice(&back), bytes));
        assert_int_equal(
            base64_decode_exact(ath_slice_of_string(vectors[i].text), exact, bytes.len), ATH_OK);
        assert_int_equal(
            base64_decode_exact(ath_slice_of_string(vectors[i].text), exact, bytes.len + 1),
            ATH_ERR_PARSE);
        ath_buf_done(&text);
        ath_buf_done(&back);
    }
}

static void
test_every_other_form_is_refused(void **state)
{
    static const char *const wrong[] = {
        "Z",    "Zg",       "Zg=",   "Zg===", "Zh==",  "Zm9=", "Zm8",  "====",   "=",
        "Z===", "Zg==Zg==", "Zg= =", "Zm9 v", "Zm9\n", "----", "____", "Zm9v\n", "=Zg="};
    struct ath_buf bytes = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        if (base64_decode(ath_slice_of_string(wrong[i]), &bytes) != ATH_ERR_PARSE)
            fail_msg("\"%s\" was accepted", wrong[i]);
        assert_int_equal(bytes.len, 0);
    }
    ath_buf_done(&bytes);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published_vectors_both_ways),
        cmocka_unit_test(test_every_other_form_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
