#include "fixture_daemon.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "athd/store.h"

static struct fixture fixture;
static int completions;

struct result {
    int done;
    ath_err err;
};

static void
on_done(void *ctx, ath_err err, const struct why *why)
{
    struct result *result = ctx;

    (void)why;
    result->done++;
    result->err = err;
    completions++;
}

static int
begin(void **state)
{
    (void)state;
    completions = 0;
    fixture_begin(&fixture, NULL);
    return 0;
}

static int
end(void **state)
{
    (void)state;
    assert_true(store_queue_is_empty(&fixture.athd.stores));
    fixture_end(&fixture);
    return 0;
}

static void
replace(const char *name, const char *text, struct result *result)
{
    struct ath_buf content = {0};

    *result = (struct result){0};
    ath_buf_put_string(&content, text);
    store_replace(&fixture.athd, fixture_path(&fixture, name), &content, on_done, result);
    assert_null(content.data); /* taken */
    assert_int_equal(result->done, 0);
}

static void
test_file_is_replaced_and_private(void **state)
{
    struct result result;
    struct stat st;
    char *text;

    (void)state;
    replace("a", "one", &result);
    fixture_run_until(&fixture, &completions, 1);
    assert_int_equal(result.err, ATH_OK);
    text = fixture_read(&fixture, "a");
    assert_string_equal(text, "one");
    free(text);
    assert_int_equal(stat(fixture_path(&fixture, "a"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void
test_writes_to_one_path_keep_their_order(void **state)
{
    struct result results[50];
    char text[16], *found;
    int i;

    (void)state;
    for (i = 0; i < 50; i++) {
        snprintf(text, sizeof(text), "%d", i);
        replace(i % 2 == 0 ? "a" : "b", text, &results[i]);
    }
    fixture_run_until(&fixture, &completions, 50);
    found = fixture_read(&fixture, "a");
    assert_string_equal(found, "48");
    free(found);
    found = fixture_read(&fixture, "b");
    assert_string_equal(found, "49");
    free(found);
}

static void
test_removal_follows_the_write_before_it(void **state)
{
    struct result written, removed = {0};

    (void)state;
    replace("a", "one", &written);
    store_remove(&fixture.athd, fixture_path(&fixture, "a"), on_done, &removed);
    fixture_run_until(&fixture, &completions, 2);
    assert_int_equal(removed.err, ATH_OK);
    assert_int_not_equal(access(fixture_path(&fixture, "a"), F_OK), 0);
}

static void
test_removing_what_is_not_there_is_fine(void **state)
{
    struct result removed = {0};

    (void)state;
    store_remove_two(&fixture.athd, "/tmp/ath-test-athd-no-such", fixture_path(&fixture, "none"),
                     on_done, &removed);
    fixture_run_until(&fixture, &completions, 1);
    assert_int_equal(removed.err, ATH_OK);
}

static void
test_second_file_is_not_written_when_the_first_failed(void **state)
{
    struct ath_buf first = {0}, second = {0};
    struct result result = {0};

    (void)state;
    ath_buf_put_string(&first, "1");
    ath_buf_put_string(&second, "2");
    store_replace_two(&fixture.athd, "/no/such/directory/at/all", &first,
                      fixture_path(&fixture, "second"), &second, on_done, &result);
    fixture_run_until(&fixture, &completions, 1);
    assert_int_equal(result.err, ATH_ERR_IO);
    assert_int_not_equal(access(fixture_path(&fixture, "second"), F_OK), 0);
}

static void
test_content_that_failed_to_be_built_is_not_written(void **state)
{
    struct ath_buf content = {.max = 2};
    struct result result = {0};

    (void)state;
    ath_buf_put_string(&content, "too long");
    store_replace(&fixture.athd, fixture_path(&fixture, "a"), &content, on_done, &result);
    assert_int_equal(result.done, 0);
    fixture_run_until(&fixture, &completions, 1);
    assert_int_equal(result.err, ATH_ERR_LIMIT_EXCEEDED);
    assert_int_not_equal(access(fixture_path(&fixture, "a"), F_OK), 0);
}

static ath_err
replace_once(void *ctx)
{
    struct result *result = ctx;
    int before = completions;
    struct ath_buf content = {0};

    ath_buf_put_string(&content, "text");
    *result = (struct result){0};
    store_replace(&fixture.athd, fixture_path(&fixture, "a"), &content, on_done, result);
    fixture_run_until(&fixture, &completions, before + 1);
    return result->err;
}

static void
test_each_failing_allocation_is_told_from_the_loop(void **state)
{
    struct result result;

    (void)state;
    each_allocation_failing(replace_once, &result);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_file_is_replaced_and_private, begin, end),
        cmocka_unit_test_setup_teardown(test_writes_to_one_path_keep_their_order, begin, end),
        cmocka_unit_test_setup_teardown(test_removal_follows_the_write_before_it, begin, end),
        cmocka_unit_test_setup_teardown(test_removing_what_is_not_there_is_fine, begin, end),
        cmocka_unit_test_setup_teardown(test_second_file_is_not_written_when_the_first_failed,
                                        begin, end),
        cmocka_unit_test_setup_teardown(test_content_that_failed_to_be_built_is_not_written, begin,
                                        end),
        cmocka_unit_test_setup_teardown(test_each_failing_allocation_is_told_from_the_loop, begin,
                                        end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
