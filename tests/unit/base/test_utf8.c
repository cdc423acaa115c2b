#include "tests/support/support.h"

#include "base/utf8.h"

static void
test_every_code_point_is_written_and_read(void **state)
{
    uint32_t code_point;

    (void)state;
    for (code_point = 0; code_point <= 0x10FFFF; code_point++) {
        struct ath_buf buf = {0};
        uint32_t again = 0;
        size_t len;

        if (code_point == 0xD800)
            code_point = 0xE000;
        utf8_put(&buf, code_point);
        len = utf8_next(ath_buf_slice(&buf), &again);
        if (len != buf.len || again != code_point)
            fail_msg("U+%04X is read as U+%04X", (unsigned)code_point, (unsigned)again);
        if (len > 1 && utf8_next(ath_slice_of(buf.data, len - 1), NULL) != 0)
            fail_msg("a part of U+%04X is read", (unsigned)code_point);
        ath_buf_done(&buf);
    }
}

static void
test_what_rfc_3629_forbids_is_not_valid(void **state)
{
    static const char *const bad[] = {
        "\x80",
        "\xBF",
        "\xC0\x80",
        "\xC1\xBF",
        "\xE0\x80\x80",
        "\xE0\x9F\xBF",
        "\xED\xA0\x80",
        "\xED\xBF\xBF",
        "\xF0\x80\x80\x80",
        "\xF0\x8F\xBF\xBF",
        "\xF4\x90\x80\x80",
        "\xF5\x80\x80\x80",
        "\xFF",
        "\xC3",
        "\xC3(",
        "\xE2\x82",
        "\xE2(\xA1",
        "\xF0\x9F\x98",
        "\xFE\x83\xBF\xBF",
        "ab\xC3",
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (utf8_is_valid(ath_slice_of_string(bad[i])))
            fail_msg("entry %zu is taken for UTF-8", i);
    assert_true(utf8_is_valid(ath_slice_of_string("a\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80")));
    assert_true(utf8_is_valid(ath_slice_of(NULL, 0)));
}

static void
test_harmful_characters_become_question_marks(void **state)
{
    char text[] = "a\tb\x7f"
                  "c\xC2\x9B"
                  "d\xE2\x80\xAE"
                  "e\xE2\x80\x8B"
                  "f\xFF\xC3\xA4";

    (void)state;
    utf8_make_harmless(text);
    assert_string_equal(text, "a?b?c?d?e?f?\xC3\xA4");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_code_point_is_written_and_read),
        cmocka_unit_test(test_what_rfc_3629_forbids_is_not_valid),
        cmocka_unit_test(test_harmful_characters_become_question_marks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
