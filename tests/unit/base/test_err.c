#include "tests/support/support.h"

#include "base/why.h"

static void
test_every_error_has_reason_sentence_and_its_codes(void **state)
{
    int i;

    (void)state;
    for (i = 0; i < ATH_ERR_COUNT; i++) {
        ath_err err = (ath_err)i;

        assert_true(strlen(ath_err_reason(err)) > 1);
        assert_true(strlen(ath_err_sentence(err)) > 3);
        assert_true((ath_err_code(err) == 0) == (err == ATH_OK));
        assert_true((ath_err_exit_status(err) == 0) == (err == ATH_OK));
    }
    assert_int_equal(ath_err_code(ATH_ERR_POLICY_DENIED), -32001);
    assert_int_equal(ath_err_exit_status(ATH_ERR_POLICY_DENIED), 77);
}

static void
test_a_number_that_is_no_error_is_an_internal_error(void **state)
{
    (void)state;
    assert_string_equal(ath_err_reason((ath_err)9999), "INTERNAL_ERROR");
    assert_int_equal(ath_err_code(ATH_ERR_COUNT), -32603);
}

static void
test_what_went_over_the_wire_is_the_same_error_again(void **state)
{
    int i;

    (void)state;
    for (i = ATH_ERR_POLICY_DENIED; i < ATH_ERR_COUNT; i++) {
        ath_err err = (ath_err)i;

        assert_int_equal(ath_err_from_wire(ath_err_code(err), ath_err_reason(err)), err);
    }
    assert_int_equal(ath_err_from_wire(-32009, "REPLAYED"), ATH_ERR_REPLAYED);
    assert_int_equal(ath_err_from_wire(-32010, "REPLAYED"), ATH_ERR_SESSION_REPLAYED);
    assert_int_equal(ath_err_from_wire(-32603, "INTERNAL_ERROR"), ATH_ERR_INTERNAL);
    assert_int_equal(ath_err_from_wire(-32602, "INVALID_PARAMS"), ATH_ERR_INVALID_PARAMS);
    assert_int_equal(ath_err_from_wire(-32601, NULL), ATH_ERR_METHOD_NOT_FOUND);
    assert_int_equal(ath_err_from_wire(-32009, "SOMETHING_NEW"), ATH_ERR_INTERNAL);
    assert_int_equal(ath_err_from_wire(1, "REPLAYED"), ATH_ERR_INTERNAL);
    assert_int_equal(ath_err_from_wire(0, "OK"), ATH_ERR_INTERNAL);
}

static void
test_why_keeps_the_sentence_and_gives_the_error_back(void **state)
{
    struct why why = {""};

    (void)state;
    assert_string_equal(why_text(&why, ATH_ERR_IO), ath_err_sentence(ATH_ERR_IO));
    assert_string_equal(why_text(NULL, ATH_ERR_IO), ath_err_sentence(ATH_ERR_IO));
    assert_int_equal(why_set(&why, ATH_ERR_IO, "disk %d", 7), ATH_ERR_IO);
    assert_string_equal(why_text(&why, ATH_ERR_IO), "disk 7");
    assert_int_equal(why_set(NULL, ATH_ERR_IO, "disk %d", 7), ATH_ERR_IO);
}

static void
test_why_makes_strangers_words_harmless(void **state)
{
    struct why why = {""};
    char long_text[600];
    size_t i;

    (void)state;
    (void)why_set(&why, ATH_ERR_IO, "a\x1b[31m\nb\xff\xe2\x80\xaeq \xc3\xa4");
    assert_string_equal(why.text, "a?[31m?b??q \xc3\xa4");

    /* cut in the middle of a character: what is left is still UTF-8 */
    for (i = 0; i + 1 < sizeof(long_text); i += 2)
        memcpy(long_text + i, "\xc3\xa4", 2);
    long_text[sizeof(long_text) - 1] = '\0';
    (void)why_set(&why, ATH_ERR_IO, "%s", long_text);
    assert_int_equal(strlen(why.text), sizeof(why.text) - 1);
    assert_int_equal(why.text[sizeof(why.text) - 2], '?');
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_error_has_reason_sentence_and_its_codes),
        cmocka_unit_test(test_a_number_that_is_no_error_is_an_internal_error),
        cmocka_unit_test(test_what_went_over_the_wire_is_the_same_error_again),
        cmocka_unit_test(test_why_keeps_the_sentence_and_gives_the_error_back),
        cmocka_unit_test(test_why_makes_strangers_words_harmless),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
