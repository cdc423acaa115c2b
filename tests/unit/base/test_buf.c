#include "tests/support/support.h"

#include <stdio.h>

#include "base/buf.h"

static void
test_slices_are_equal_by_their_bytes(void **state)
{
    (void)state;
    assert_true(ath_slice_is(ath_slice_of("abc", 3), "abc"));
    assert_false(ath_slice_is(ath_slice_of("abc", 3), "abd"));
    assert_false(ath_slice_is(ath_slice_of("abc", 2), "abc"));
    assert_true(ath_slice_equal(ath_slice_of_string(NULL), ath_slice_of("", 0)));
}

static void
test_puts_append(void **state)
{
    struct ath_buf buf = {0};
    int i;

    (void)state;
    ath_buf_put(&buf, "a", 1);
    ath_buf_put_string(&buf, "bc");
    ath_buf_put_byte(&buf, 'd');
    ath_buf_printf(&buf, "%d-%s", 12, "x");
    assert_string_equal(ath_buf_text(&buf), "abcd12-x");
    assert_int_equal(buf.len, 8);
    for (i = 0; i < 1000; i++)
        ath_buf_put_string(&buf, "0123456789");
    assert_int_equal(buf.len, 10008);
    assert_memory_equal(buf.data + 9998, "0123456789", 10);
    ath_buf_done(&buf);
    assert_null(buf.data);
}

static void
test_a_buffer_takes_exactly_its_limit_and_then_nothing(void **state)
{
    struct ath_buf buf = {.max = 4};

    (void)state;
    ath_buf_printf(&buf, "%s", "abcd");
    assert_int_equal(buf.err, ATH_OK);
    assert_string_equal(ath_buf_text(&buf), "abcd");
    ath_buf_put_byte(&buf, 'e');
    assert_int_equal(buf.err, ATH_ERR_LIMIT_EXCEEDED);
    ath_buf_consume(&buf, 2);
    ath_buf_put_byte(&buf, 'e');
    assert_int_equal(buf.len, 2);
    assert_null(ath_buf_reserve(&buf, 1));
    assert_null(ath_buf_text(&buf));
    ath_buf_clear(&buf);
    assert_int_equal(buf.err, ATH_OK);
    ath_buf_put_byte(&buf, 'f');
    assert_string_equal(ath_buf_text(&buf), "f");
    ath_buf_done(&buf);
    assert_int_equal(buf.max, 4);
}

static void
test_printed_text_of_each_length_is_whole(void **state)
{
    char expected[1100];
    int len;

    (void)state;
    for (len = 0; len < 1000; len++) {
        struct ath_buf buf = {0};

        snprintf(expected, sizeof(expected), "<%0*d>", len, 7);
        ath_buf_printf(&buf, "<%0*d>", len, 7);
        assert_string_equal(ath_buf_text(&buf), expected);
        ath_buf_printf(&buf, "%s", expected);
        assert_int_equal(buf.len, 2 * strlen(expected));
        assert_memory_equal(buf.data + strlen(expected), expected, strlen(expected));
        ath_buf_done(&buf);
    }
}

static void
test_lengths_that_would_wrap_are_refused(void **state)
{
    struct ath_buf buf = {.max = SIZE_MAX};

    (void)state;
    ath_buf_put_byte(&buf, 'a');
    ath_buf_put(&buf, "b", SIZE_MAX);
    assert_int_equal(buf.err, ATH_ERR_LIMIT_EXCEEDED);
    ath_buf_done(&buf);
}

static void
test_a_failed_allocation_keeps_what_was_there(void **state)
{
    struct ath_buf buf = {0};
    char block[512];

    (void)state;
    memset(block, 'x', sizeof(block));
    ath_buf_put(&buf, block, sizeof(block));
    fail_allocation(1);
    ath_buf_put(&buf, block, sizeof(block));
    assert_true(fail_allocation_happened());
    fail_allocation(0);
    assert_int_equal(buf.err, ATH_ERR_NOMEM);
    assert_int_equal(buf.len, sizeof(block));
    assert_memory_equal(buf.data, block, sizeof(block));
    ath_buf_done(&buf);
}

static void
test_consumed_bytes_are_gone_and_wiped(void **state)
{
    static const uint8_t zeros[4];
    struct ath_buf buf = {0};

    (void)state;
    ath_buf_put_string(&buf, "abcdef");
    ath_buf_consume(&buf, 4);
    assert_true(ath_slice_is(ath_buf_slice(&buf), "ef"));
    assert_memory_equal(buf.data + 2, zeros, 4);
    ath_buf_consume(&buf, 100);
    assert_int_equal(buf.len, 0);
    assert_memory_equal(buf.data, zeros, 2);
    ath_buf_done(&buf);
    ath_buf_consume(&buf, 1);
}

static void
test_copies_end_in_nul_and_need_memory(void **state)
{
    char *copy = ath_slice_dup(ath_slice_of("abcd", 3));

    (void)state;
    assert_string_equal(copy, "abc");
    free(copy);
    assert_null(ath_strdup(NULL));
    fail_allocation(1);
    assert_null(ath_strdup("abc"));
    fail_allocation(0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slices_are_equal_by_their_bytes),
        cmocka_unit_test(test_puts_append),
        cmocka_unit_test(test_a_buffer_takes_exactly_its_limit_and_then_nothing),
        cmocka_unit_test(test_printed_text_of_each_length_is_whole),
        cmocka_unit_test(test_lengths_that_would_wrap_are_refused),
        cmocka_unit_test(test_a_failed_allocation_keeps_what_was_there),
        cmocka_unit_test(test_consumed_bytes_are_gone_and_wiped),
        cmocka_unit_test(test_copies_end_in_nul_and_need_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
