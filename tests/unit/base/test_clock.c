#include "tests/support/support.h"

#include <time.h>

#include "base/clock.h"

static void
test_the_clock_tells_the_systems_time(void **state)
{
    int64_t before = (int64_t)time(NULL), now = clock_now();

    (void)state;
    assert_true(now >= before);
    assert_true(now <= (int64_t)time(NULL) + 1); /* which may be some milliseconds behind */
}

static void
test_monotonic_time_does_not_go_back(void **state)
{
    uint64_t us = clock_monotonic_us(), ms = clock_monotonic_ms();

    (void)state;
    assert_true(ms >= us / 1000);
    assert_true(clock_monotonic_us() >= us);
}

static void
test_text_is_rfc_3339_with_milliseconds(void **state)
{
    char text[CLOCK_TEXT_SIZE];
    struct tm utc = {0};
    int64_t now = clock_now();
    const char *rest;

    (void)state;
    clock_now_text(text);
    assert_int_equal(strlen(text), CLOCK_TEXT_SIZE - 1);
    rest = strptime(text, "%Y-%m-%dT%H:%M:%S.", &utc);
    assert_non_null(rest);
    assert_int_equal(strspn(rest, "0123456789"), 3);
    assert_string_equal(rest + 3, "Z");
    assert_true((int64_t)timegm(&utc) >= now && (int64_t)timegm(&utc) <= clock_now());
}

static void
test_only_that_form_of_text_is_valid(void **state)
{
    static const char *const good[] = {"2026-01-02T03:04:05.678Z", "0000-12-31T23:59:60.999Z"};
    static const char *const wrong[] = {
        "",
        "2026-01-02T03:04:05.678",
        "2026-01-02T03:04:05.678Z ",
        "2026-01-02T03:04:05Z",
        "2026-01-02T03:04:05,678Z",
        "2026-01-02t03:04:05.678Z",
        "2026-01-02 03:04:05.678Z",
        "2026/01/02T03:04:05.678Z",
        "2026-00-02T03:04:05.678Z",
        "2026-13-02T03:04:05.678Z",
        "2026-01-00T03:04:05.678Z",
        "2026-01-32T03:04:05.678Z",
        "2026-01-02T24:04:05.678Z",
        "2026-01-02T03:60:05.678Z",
        "2026-01-02T03:04:61.678Z",
        "2o26-01-02T03:04:05.678Z",
        "yyyy-MM-ddThh:mm:ss.fffZ",
    };
    char now[CLOCK_TEXT_SIZE];

    (void)state;
    clock_now_text(now);
    assert_true(clock_text_is_valid(ath_slice_of_string(now)));
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_true(clock_text_is_valid(ath_slice_of_string(good[i])));
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        if (clock_text_is_valid(ath_slice_of_string(wrong[i])))
            fail_msg("\"%s\" was accepted", wrong[i]);
}

static void
test_a_fake_clock_stands_until_it_is_moved(void **state)
{
    (void)state;
    fake_clock_set(1000);
    assert_int_equal(clock_now(), 1000);
    fake_clock_move(5);
    assert_int_equal(clock_now(), 1005);
    assert_int_equal(clock_monotonic_ms(), 1005000);
    fake_clock_set(0);
    assert_true(clock_now() > 1000000000);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_clock_tells_the_systems_time),
        cmocka_unit_test(test_monotonic_time_does_not_go_back),
        cmocka_unit_test(test_text_is_rfc_3339_with_milliseconds),
        cmocka_unit_test(test_only_that_form_of_text_is_valid),
        cmocka_unit_test(test_a_fake_clock_stands_until_it_is_moved),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
