#include "tests/support/support.h"

#include "base/base64url.h"

/* RFC 4648 section 10 without its padding, and the two characters that differ from base64. */
static const struct {
    const char *bytes;
    const char *text;
} pairs[] = {
    {"", ""},           {"f", "Zg"},          {"fo", "Zm8"},          {"foo", "Zm9v"},
    {"foob", "Zm9vYg"}, {"fooba", "Zm9vYmE"}, {"foobar", "Zm9vYmFy"}, {"\xfb\xff\xfe", "-__-"},
};

static void
test_known_bytes_have_their_text_and_back(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        struct ath_buf text = {0}, bytes = {0};
        char fixed[16];

        base64url_put(&text, ath_slice_of_string(pairs[i].bytes));
        assert_string_equal(ath_buf_text(&text), pairs[i].text);
        base64url_encode(ath_slice_of_string(pairs[i].bytes), fixed);
        assert_string_equal(fixed, pairs[i].text);
        assert_int_equal(base64url_decode(ath_buf_slice(&text), &bytes), ATH_OK);
        assert_true(ath_slice_is(ath_buf_slice(&bytes), pairs[i].bytes));
        ath_buf_done(&text);
        ath_buf_done(&bytes);
    }
}

static void
test_every_other_form_is_refused(void **state)
{
    static const char *const bad[] = {
        "Zg==", "Zg=",  "Z",     "Zh",     "Zm9",     "Zm8=",       "Zm 8",    "Zm8\n", "\nZm8",
        "+__-", "-//-", "Zm9vY", "Zm9vYh", "Zm9vYmF", "\xc3\xa4zz", "Zg\x80z", ".",     "Zm9v.",
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct ath_buf bytes = {0};

        assert_int_equal(base64url_decode(ath_slice_of_string(bad[i]), &bytes), ATH_ERR_PARSE);
        assert_int_equal(bytes.len, 0);
        ath_buf_done(&bytes);
    }
}

static void
test_every_byte_at_every_place_comes_back_or_is_refused(void **state)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    char text[4];
    int place, c;

    (void)state;
    for (place = 0; place < 4; place++) {
        for (c = 0; c < 256; c++) {
            bool known = c != 0 && strchr(alphabet, c) != NULL;
            struct ath_buf bytes = {0}, again = {0};

            memset(text, 'A', sizeof(text));
            text[place] = (char)c;
            assert_int_equal(base64url_decode(ath_slice_of(text, sizeof(text)), &bytes),
                             known ? ATH_OK : ATH_ERR_PARSE);
            if (known) {
                base64url_put(&again, ath_buf_slice(&bytes));
                assert_memory_equal(again.data, text, sizeof(text));
            }
            ath_buf_done(&bytes);
            ath_buf_done(&again);
        }
    }
}

static void
test_each_of_the_last_characters_unused_bits_counts(void **state)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    unsigned two = 0, three = 0, i;
    uint8_t bytes[2];

    (void)state;
    for (i = 0; i < 64; i++) {
        const char text2[] = {'A', alphabet[i]}, text3[] = {'A', 'A', alphabet[i]};

        two += base64url_decode_exact(ath_slice_of(text2, 2), bytes, 1) == ATH_OK;
        three += base64url_decode_exact(ath_slice_of(text3, 3), bytes, 2) == ATH_OK;
    }
    assert_int_equal(two, 4);
    assert_int_equal(three, 16);
}

static void
test_exact_decoding_refuses_another_length(void **state)
{
    uint8_t bytes[4];

    (void)state;
    assert_int_equal(base64url_decode_exact(ath_slice_of_string("Zm9v"), bytes, 3), ATH_OK);
    assert_memory_equal(bytes, "foo", 3);
    assert_int_equal(base64url_decode_exact(ath_slice_of_string("Zm9v"), bytes, 4), ATH_ERR_PARSE);
    assert_int_equal(base64url_decode_exact(ath_slice_of_string("Zm9v"), bytes, 2), ATH_ERR_PARSE);
    assert_int_equal(base64url_decode_exact(ath_slice_of_string(""), bytes, 0), ATH_OK);
}

static void
test_decoding_stops_at_the_buffers_limit(void **state)
{
    struct ath_buf bytes = {.max = 2};

    (void)state;
    assert_int_equal(base64url_decode(ath_slice_of_string("Zm9v"), &bytes), ATH_ERR_LIMIT_EXCEEDED);
    ath_buf_done(&bytes);
}

static void
test_alphabet_and_length_are_checked_without_decoding(void **state)
{
    (void)state;
    assert_true(base64url_is_alphabet(ath_slice_of_string("Z"), 1, 1));
    assert_true(base64url_is_alphabet(ath_slice_of_string("aZ09-_"), 1, 6));
    assert_false(base64url_is_alphabet(ath_slice_of_string("aZ09-_"), 1, 5));
    assert_false(base64url_is_alphabet(ath_slice_of_string("aZ09-_"), 7, 9));
    assert_false(base64url_is_alphabet(ath_slice_of_string("aZ09+"), 1, 9));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_bytes_have_their_text_and_back),
        cmocka_unit_test(test_every_other_form_is_refused),
        cmocka_unit_test(test_every_byte_at_every_place_comes_back_or_is_refused),
        cmocka_unit_test(test_each_of_the_last_characters_unused_bits_counts),
        cmocka_unit_test(test_exact_decoding_refuses_another_length),
        cmocka_unit_test(test_decoding_stops_at_the_buffers_limit),
        cmocka_unit_test(test_alphabet_and_length_are_checked_without_decoding),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
