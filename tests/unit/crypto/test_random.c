#include "crypto/random.h"

#include "base/base64url.h"
#include "tests/support/support.h"

static void
test_two_draws_differ(void **state)
{
    uint8_t a[32] = {0}, b[32] = {0};

    (void)state;
    fake_random_seed(0);
    assert_int_equal(random_bytes(a, sizeof(a)), ATH_OK);
    assert_int_equal(random_bytes(b, sizeof(b)), ATH_OK);
    assert_memory_not_equal(a, b, sizeof(a));
}

static void
test_text_has_the_length_and_alphabet_of_base64url(void **state)
{
    char text[BASE64URL_LEN(64) + 1];

    (void)state;
    for (size_t len = 1; len <= 64; len++) {
        assert_int_equal(random_base64url(len, text), ATH_OK);
        assert_int_equal(strlen(text), BASE64URL_LEN(len));
        assert_true(base64url_is_alphabet(ath_slice_of_string(text), 1, sizeof(text)));
    }
    assert_int_equal(random_base64url(65, text), ATH_ERR_LIMIT_EXCEEDED);
}

static void
test_text_repeats_with_the_tests_seed(void **state)
{
    char first[23], second[23];

    (void)state;
    fake_random_seed(7);
    assert_int_equal(random_base64url(16, first), ATH_OK);
    fake_random_seed(7);
    assert_int_equal(random_base64url(16, second), ATH_OK);
    fake_random_seed(0);
    assert_string_equal(first, second);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_draws_differ),
        cmocka_unit_test(test_text_has_the_length_and_alphabet_of_base64url),
        cmocka_unit_test(test_text_repeats_with_the_tests_seed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
