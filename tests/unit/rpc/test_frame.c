#include "tests/support/support.h"

#include "rpc/frame.h"
#include "rpc/rpc_limits.h"

static void
feed(struct frame_reader *reader, const char *text)
{
    assert_int_equal(frame_reader_feed(reader, ath_slice_of_string(text)), ATH_OK);
}

static void
assert_next(struct frame_reader *reader, const char *expected)
{
    struct ath_slice line;

    assert_int_equal(frame_reader_next(reader, &line), ATH_OK);
    assert_true(ath_slice_is(line, expected));
}

static void
assert_none(struct frame_reader *reader)
{
    struct ath_slice line;

    assert_int_equal(frame_reader_next(reader, &line), ATH_ERR_NOT_FOUND);
}

static void
test_lines_come_out_however_the_bytes_came_in(void **state)
{
    static const char text[] = "one\ntwo\r\n\n\r\nthr\ree\n";
    size_t step;

    (void)state;
    for (step = 1; step < sizeof(text); step++) {
        struct frame_reader reader = {0};
        struct ath_buf lines = {0};
        struct ath_slice line;
        size_t at;

        for (at = 0; at < sizeof(text) - 1; at += step) {
            size_t rest = sizeof(text) - 1 - at;

            assert_int_equal(
                frame_reader_feed(&reader, ath_slice_of(text + at, rest < step ? rest : step)),
                ATH_OK);
            while (frame_reader_next(&reader, &line) == ATH_OK) {
                ath_buf_put_slice(&lines, line);
                ath_buf_put_byte(&lines, '|');
            }
        }
        assert_string_equal(ath_buf_text(&lines), "one|two|thr\ree|");
        assert_false(frame_reader_is_mid_line(&reader));
        ath_buf_done(&lines);
        frame_reader_done(&reader);
    }
}

static void
test_half_a_line_is_known_as_such(void **state)
{
    struct frame_reader reader = {0};

    (void)state;
    assert_none(&reader);
    assert_false(frame_reader_is_mid_line(&reader));
    feed(&reader, "a\nb");
    assert_next(&reader, "a");
    assert_none(&reader);
    assert_true(frame_reader_is_mid_line(&reader));
    feed(&reader, "c\n");
    assert_next(&reader, "bc");
    assert_none(&reader);
    assert_false(frame_reader_is_mid_line(&reader));
    frame_reader_done(&reader);
}

static void
test_an_idle_reader_keeps_no_memory(void **state)
{
    struct frame_reader reader = {0};

    (void)state;
    feed(&reader, "line\n");
    assert_next(&reader, "line");
    assert_none(&reader);
    assert_null(reader.buf.data);
    frame_reader_done(&reader);
}

/* Feeds count times 'x' in the largest chunks; the result of the last frame_reader_next. */
static ath_err
feed_many(struct frame_reader *reader, size_t count)
{
    static char chunk[RPC_READ_CHUNK];
    struct ath_slice line;
    ath_err err = ATH_ERR_NOT_FOUND;

    memset(chunk, 'x', sizeof(chunk));
    while (count > 0 && err == ATH_ERR_NOT_FOUND) {
        size_t len = count < sizeof(chunk) ? count : sizeof(chunk);

        assert_int_equal(frame_reader_feed(reader, ath_slice_of(chunk, len)), ATH_OK);
        err = frame_reader_next(reader, &line);
        count -= len;
    }
    return err;
}

static void
test_the_longest_line_passes_with_either_end(void **state)
{
    static const char *const ends[] = {"\n", "\r\n"};
    size_t i;

    (void)state;
    for (i = 0; i < 2; i++) {
        struct frame_reader reader = {0};
        struct ath_slice line;

        assert_int_equal(feed_many(&reader, RPC_LINE_MAX), ATH_ERR_NOT_FOUND);
        feed(&reader, ends[i]);
        assert_int_equal(frame_reader_next(&reader, &line), ATH_OK);
        assert_int_equal(line.len, RPC_LINE_MAX);
        frame_reader_done(&reader);
    }
}

static void
test_a_longer_line_is_refused_with_and_without_its_end(void **state)
{
    struct frame_reader reader = {0};
    struct ath_slice line;

    (void)state;
    assert_int_equal(feed_many(&reader, RPC_LINE_MAX + 1), ATH_ERR_NOT_FOUND);
    feed(&reader, "\n{}\n");
    assert_int_equal(frame_reader_next(&reader, &line), ATH_ERR_LIMIT_EXCEEDED);
    assert_int_equal(frame_reader_next(&reader, &line), ATH_ERR_LIMIT_EXCEEDED);
    frame_reader_done(&reader);

    assert_int_equal(feed_many(&reader, RPC_LINE_MAX + 2), ATH_ERR_LIMIT_EXCEEDED);
    assert_null(reader.buf.data);
    frame_reader_done(&reader);
}

static void
test_a_failed_allocation_is_reported(void **state)
{
    struct frame_reader reader = {0};

    (void)state;
    fail_allocation(1);
    assert_int_equal(frame_reader_feed(&reader, ath_slice_of_string("x")), ATH_ERR_NOMEM);
    fail_allocation(0);
    frame_reader_done(&reader);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_come_out_however_the_bytes_came_in),
        cmocka_unit_test(test_half_a_line_is_known_as_such),
        cmocka_unit_test(test_an_idle_reader_keeps_no_memory),
        cmocka_unit_test(test_the_longest_line_passes_with_either_end),
        cmocka_unit_test(test_a_longer_line_is_refused_with_and_without_its_end),
        cmocka_unit_test(test_a_failed_allocation_is_reported),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
