#include "tests/support/support.h"

#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"

/* What body writes to stderr. */
static void
capture(void (*body)(void), char *ret_text, size_t size)
{
    int saved = dup(STDERR_FILENO), ends[2];
    ssize_t len;

    assert_int_equal(pipe(ends), 0);
    assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
    body();
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    fd_close(&ends[1]);
    fd_close(&saved);
    len = read(ends[0], ret_text, size - 1);
    fd_close(&ends[0]);
    assert_true(len >= 0);
    ret_text[len] = '\0';
}

static void
write_three(void)
{
    log_set_level(LOG_LEVEL_WARNING);
    log_error("event=a n=%d", 1);
    log_info("event=b");
    log_warning("event=c text=%s", "x\ny\x1b[0m");
}

static void
write_long(void)
{
    char text[3000];

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    log_error("%s", text);
}

static void
test_lines_of_the_level_are_written_and_harmless(void **state)
{
    char text[512];

    (void)state;
    log_set_name("athd");
    capture(write_three, text, sizeof(text));
    assert_string_equal(text, "athd: error: event=a n=1\nathd: warning: event=c text=x?y?[0m\n");
}

static void
write_quotes(void)
{
    log_error("event=a reason=\"%s\" n=%d path=%s", "no \"b\" at C:\\ \" event=x reason=\"", 1,
              "a\\\"");
}

static void
test_what_a_value_says_ends_no_quotes(void **state)
{
    char text[512];

    (void)state;
    capture(write_quotes, text, sizeof(text));
    assert_string_equal(text, "athd: error: event=a reason=\"no \\\"b\\\" at C:\\\\ \\\" event=x "
                              "reason=\\\"\" n=1 path=a\\\\\"\n");
}

static void
write_only_quotes(void)
{
    char text[3000];

    memset(text, '"', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    log_error("reason=\"%s\"", text);
}

static void
test_a_long_line_of_quotes_is_cut_between_two(void **state)
{
    char text[4096];
    size_t len;

    (void)state;
    capture(write_only_quotes, text, sizeof(text));
    len = strlen(text);
    assert_true(len < 1100);
    assert_string_equal(text + len - 3, "\\\"\n");
    assert_non_null(strstr(text, "reason=\"\\\"\\\""));
}

static void
test_a_long_line_is_cut_and_still_ends(void **state)
{
    char text[4096];

    (void)state;
    capture(write_long, text, sizeof(text));
    assert_true(strlen(text) < 1100);
    assert_int_equal(text[strlen(text) - 1], '\n');
}

static void
test_levels_have_names(void **state)
{
    enum log_level level = LOG_LEVEL_ERROR;

    (void)state;
    assert_true(log_level_parse("debug", &level));
    assert_int_equal(level, LOG_LEVEL_DEBUG);
    assert_true(log_level_parse("warning", &level));
    assert_int_equal(level, LOG_LEVEL_WARNING);
    assert_false(log_level_parse("loud", &level));
    assert_false(log_level_parse(NULL, &level));
    assert_int_equal(level, LOG_LEVEL_WARNING);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_of_the_level_are_written_and_harmless),
        cmocka_unit_test(test_what_a_value_says_ends_no_quotes),
        cmocka_unit_test(test_a_long_line_is_cut_and_still_ends),
        cmocka_unit_test(test_a_long_line_of_quotes_is_cut_between_two),
        cmocka_unit_test(test_levels_have_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
