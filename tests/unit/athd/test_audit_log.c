#include "fixture_daemon.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "athd/audit_log.h"
#include "base/fd.h"

#define LOG_NAME "audit/00000001.jsonl"

static struct fixture fixture;
static int completions, closed;

struct result {
    int done;
    ath_err err;
};

static void
on_done(void *ctx, ath_err err)
{
    struct result *result = ctx;

    result->done++;
    result->err = err;
    completions++;
}

static void
open_log(void)
{
    struct why why = {{0}};

    assert_int_equal(audit_log_open(&fixture.athd, fixture.dir, &why, &fixture.athd.audit), ATH_OK);
}

static int
begin(void **state)
{
    (void)state;
    completions = closed = 0;
    fixture_begin(&fixture, NULL);
    open_log();
    return 0;
}

static void
on_closed(void *ctx)
{
    ++*(int *)ctx;
}

static void
close_log(void)
{
    int before = closed;

    audit_log_close(fixture.athd.audit, on_closed, &closed);
    fixture_run_until(&fixture, &closed, before + 1);
    fixture_turn(&fixture); /* what was closed is so after a turn */
    audit_log_free(fixture.athd.audit);
}

static int
end(void **state)
{
    (void)state;
    close_log();
    fixture_end(&fixture);
    return 0;
}

static void
append(const char *event, struct result *result)
{
    struct json_maker record;

    *result = (struct result){0};
    audit_record_begin(&record, event, NULL);
    json_put_string(&record, "key", "alice");
    audit_append(fixture.athd.audit, &record, on_done, result);
    assert_int_equal(result->done, 0);
}

/* Writes text as the log, as some death of athd may have left it, and opens it. */
static void
reopen_with(const char *text, size_t len)
{
    int fd;

    close_log();
    fd = open(fixture_path(&fixture, LOG_NAME), O_WRONLY | O_TRUNC);
    assert_true(fd >= 0);
    assert_int_equal(fd_write_all(fd, ath_slice_of(text, len)), ATH_OK);
    fd_close(&fd);
    open_log();
}

static void
test_records_are_numbered_lines_of_json(void **state)
{
    const struct json_limits limits = {65536, 8, 64, JSON_INTEGERS};
    struct result results[20];
    struct json *record = NULL;
    char *text, *line;
    int64_t index, i;

    (void)state;
    for (i = 0; i < 20; i++)
        append("test", &results[i]);
    fixture_run_until(&fixture, &completions, 20);
    assert_int_equal(audit_log_size(fixture.athd.audit), 20);
    text = fixture_read(&fixture, LOG_NAME);
    for (i = 0, line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n"), i++) {
        assert_int_equal(json_parse(ath_slice_of_string(line), &limits, NULL, &record), ATH_OK);
        assert_true(json_get_int(record, "index", &index));
        assert_int_equal(index, i);
        assert_non_null(json_get_string(record, "timestamp"));
        assert_string_equal(json_get_string(record, "event"), "test");
        assert_string_equal(json_get_string(record, "key"), "alice");
        json_free(record);
        assert_int_equal(results[i].err, ATH_OK);
    }
    assert_int_equal(i, 20);
    free(text);
}

static void
append_waiting(struct result *result)
{
    struct json_maker record;

    *result = (struct result){0};
    audit_record_begin(&record, "waiting", NULL);
    audit_append_waiting(fixture.athd.audit, &record, on_done, result);
}

static void
test_records_that_may_wait_are_written_when_they_are_wanted(void **state)
{
    struct result results[3];
    int i;

    (void)state;
    append_waiting(&results[0]);
    append_waiting(&results[1]);
    for (i = 0; i < 20; i++) {
        usleep(1000);
        fixture_turn(&fixture);
    }
    assert_int_equal(completions, 0);
    audit_write(fixture.athd.audit);
    fixture_turn(&fixture);
    append_waiting(&results[2]); /* not of the group under way */
    fixture_run_until(&fixture, &completions, 2);
    assert_int_equal(audit_log_size(fixture.athd.audit), 2);
    assert_int_equal(results[0].err, ATH_OK);
    assert_int_equal(results[2].done, 0);
    audit_write(fixture.athd.audit);
    fixture_run_until(&fixture, &completions, 3);
    audit_write(fixture.athd.audit); /* nothing waits: nothing happens */
    assert_int_equal(audit_log_size(fixture.athd.audit), 3);
}

static void
test_records_that_wait_are_written_with_others_and_at_the_end(void **state)
{
    struct result results[3];

    (void)state;
    append_waiting(&results[0]);
    append("test", &results[1]);
    fixture_run_until(&fixture, &completions, 2);
    assert_int_equal(results[0].err, ATH_OK);
    append_waiting(&results[2]);
    close_log();
    assert_int_equal(results[2].done, 1);
    open_log();
    assert_int_equal(audit_log_size(fixture.athd.audit), 3);
}

/* Two parties of callers who ask again as soon as they are answered. */
#define CALLERS 8
#define PARTY (CALLERS / 2)
#define CALLS 400

static struct caller_again {
    struct deferred again;
} callers[CALLERS];
static int asked, groups;

static void ask(void *ctx);

static void
on_answered(void *ctx, ath_err err)
{
    struct caller_again *caller = ctx;

    assert_int_equal(err, ATH_OK);
    completions++;
    if (asked < CALLS)
        deferred_add(&fixture.athd.deferred, &caller->again, ask, caller);
}

static void
ask(void *ctx)
{
    struct json_maker record;

    asked++;
    audit_record_begin(&record, "test", NULL);
    audit_append(fixture.athd.audit, &record, on_answered, ctx);
}

static void
on_group(void *ctx)
{
    (void)ctx;
    groups++;
}

static void
test_two_parties_become_one(void **state)
{
    struct audit_watch watch = {.grown = NULL};
    int i;

    (void)state;
    asked = groups = 0;
    memset(callers, 0, sizeof(callers));
    audit_log_watch(fixture.athd.audit, &watch, on_group, NULL);
    for (i = 0; i < PARTY; i++)
        ask(&callers[i]);
    fixture_turn(&fixture); /* written by now, or being written */
    for (; i < CALLERS; i++)
        ask(&callers[i]);
    fixture_run_until(&fixture, &completions, CALLS);
    audit_log_unwatch(fixture.athd.audit, &watch);
    assert_true(groups <= CALLS / PARTY * 3 / 4);
}

/* Whoever does not ask again is not waited for for long. */
static void
test_one_is_written_alone_where_there_were_many(void **state)
{
    struct result results[CALLERS], alone;
    int i, k;

    (void)state;
    for (k = 1; k <= 50; k++) {
        for (i = 0; i < CALLERS; i++)
            append("test", &results[i]);
        fixture_run_until(&fixture, &completions, k * (CALLERS + 1) - 1);
        append("test", &alone);
        fixture_run_until(&fixture, &completions, k * (CALLERS + 1));
        assert_int_equal(alone.err, ATH_OK);
    }
}

static void
test_record_names_its_caller_and_trace(void **state)
{
    struct request *request = fixture_request(&fixture, RPC_AGENT_HELLO);
    struct result result = {0};
    struct json_maker record;
    char *text, expected[64];

    (void)state;
    request->trace = "00-11112222333344445555666677778888-1111222233334444-01";
    audit_record_begin(&record, "test", request);
    audit_append(fixture.athd.audit, &record, on_done, &result);
    request_fail(request, ATH_ERR_INTERNAL, NULL);
    fixture_run_until(&fixture, &completions, 1);
    text = fixture_read(&fixture, LOG_NAME);
    snprintf(expected, sizeof(expected), "\"caller\":{\"uid\":%lu,\"pid\":%ld,",
             (unsigned long)getuid(), (long)getpid());
    assert_non_null(strstr(text, expected));
    assert_non_null(strstr(text, "\"trace\":\"00-11112222"));
    free(text);
}

static void
on_grown(void *ctx)
{
    ++*(int *)ctx;
}

static void
test_who_watches_is_told_until_it_does_no_more(void **state)
{
    struct audit_watch watch = {0}, other = {0};
    struct result result;
    int told = 0, other_told = 0;

    (void)state;
    audit_log_unwatch(fixture.athd.audit, &watch); /* it does not yet */
    audit_log_watch(fixture.athd.audit, &watch, on_grown, &told);
    audit_log_watch(fixture.athd.audit, &other, on_grown, &other_told);
    append("athd_started", &result);
    fixture_run_until(&fixture, &result.done, 1);
    assert_int_equal(told, 1);
    audit_log_unwatch(fixture.athd.audit, &watch);
    audit_log_unwatch(fixture.athd.audit, &watch);
    append("athd_started", &result);
    fixture_run_until(&fixture, &result.done, 1);
    assert_int_equal(told, 1);
    assert_int_equal(other_told, 2);
    audit_log_unwatch(fixture.athd.audit, &other);
}

static void
test_log_goes_on_where_it_ended(void **state)
{
    struct result result;
    char *text;

    (void)state;
    append("one", &result);
    fixture_run_until(&fixture, &completions, 1);
    close_log();
    open_log();
    assert_int_equal(audit_log_size(fixture.athd.audit), 1);
    append("two", &result);
    fixture_run_until(&fixture, &completions, 2);
    text = fixture_read(&fixture, LOG_NAME);
    assert_non_null(strstr(text, "\n{\"index\":1,"));
    free(text);
}

static void
test_torn_last_line_is_cut_off(void **state)
{
    static const char torn[] = "{\"index\":0,\"event\":\"a\"}\n{\"index\":1,\"ev";
    struct result result;
    char *text;

    (void)state;
    reopen_with(torn, sizeof(torn) - 1);
    assert_int_equal(audit_log_size(fixture.athd.audit), 1);
    append("b", &result);
    fixture_run_until(&fixture, &completions, 1);
    text = fixture_read(&fixture, LOG_NAME);
    assert_int_equal(strncmp(text, "{\"index\":0,\"event\":\"a\"}\n{\"index\":1,\"timestamp\"", 45),
                     0);
    free(text);
    assert_int_not_equal(access(fixture_path(&fixture, LOG_NAME ".damaged"), F_OK), 0);
}

static void
test_garbage_at_the_end_is_kept_aside(void **state)
{
    static const char garbage[] = "{\"index\":7,\"event\":\"a\"}\n\0\0\0\0\nnonsense\n";
    struct stat st;

    (void)state;
    reopen_with(garbage, sizeof(garbage) - 1);
    assert_int_equal(audit_log_size(fixture.athd.audit), 8);
    assert_int_equal(stat(fixture_path(&fixture, LOG_NAME ".damaged"), &st), 0);
    assert_int_equal(st.st_size, 14);
}

static void
test_only_a_torn_line_is_an_empty_log(void **state)
{
    (void)state;
    reopen_with("{\"in", 4);
    assert_int_equal(audit_log_size(fixture.athd.audit), 0);
}

static void
limit_file_size(rlim_t bytes)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* RLIMIT_FSIZE cuts a write in its middle, as a full disk does. */
static void
test_record_that_does_not_fit_fails_and_uses_no_index(void **state)
{
    struct result good, bad, again;
    char *text;

    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    append("good", &good);
    fixture_run_until(&fixture, &completions, 1);
    limit_file_size(150);
    append("bad", &bad);
    fixture_run_until(&fixture, &completions, 2);
    limit_file_size(RLIM_INFINITY);
    assert_int_equal(good.err, ATH_OK);
    assert_int_equal(bad.err, ATH_ERR_AUDIT_UNAVAILABLE);
    assert_int_equal(audit_log_size(fixture.athd.audit), 1);
    append("again", &again);
    fixture_run_until(&fixture, &completions, 3);
    assert_int_equal(again.err, ATH_OK);
    text = fixture_read(&fixture, LOG_NAME);
    assert_null(strstr(text, "bad"));
    assert_non_null(strstr(text, "\n{\"index\":1,"));
    free(text);
}

/* A refusal has no answer that could wait for its record. */
static void
test_record_that_nobody_waits_for_is_written_when_there_is_room_again(void **state)
{
    struct result bad, good;
    struct json_maker record;
    const char *first, *second;
    char *text;

    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    limit_file_size(10);
    audit_record_begin(&record, "refusal", NULL);
    audit_append(fixture.athd.audit, &record, NULL, NULL);
    append("bad", &bad);
    fixture_run_until(&fixture, &completions, 1);
    audit_record_begin(&record, "refusal_too", NULL);
    audit_append(fixture.athd.audit, &record, NULL, NULL);
    append("bad", &bad);
    fixture_run_until(&fixture, &completions, 2);
    assert_int_equal(bad.err, ATH_ERR_AUDIT_UNAVAILABLE);
    limit_file_size(RLIM_INFINITY);
    append("good", &good);
    fixture_run_until(&fixture, &completions, 3);
    assert_int_equal(good.err, ATH_OK);
    text = fixture_read(&fixture, LOG_NAME);
    first = strstr(text, "{\"index\":0,");
    second = strstr(text, "{\"index\":1,");
    assert_true(first != NULL && second != NULL);
    assert_true(strstr(first, "\"refusal\"") < second);
    assert_non_null(strstr(second, "\"refusal_too\""));
    assert_null(strstr(text, "bad"));
    assert_int_equal(audit_log_size(fixture.athd.audit), 3);
    free(text);
}

/* The loop does not turn: nothing gets onto the disk, as with one that hangs. */
static void
test_a_disk_that_hangs_does_not_eat_the_memory(void **state)
{
    static char words[60001];
    static struct result results[400];
    struct json_maker record;
    size_t i, refused = 0;

    (void)state;
    memset(words, 'x', sizeof(words) - 1);
    for (i = 0; i < 400; i++) {
        audit_record_begin(&record, words, NULL);
        results[i] = (struct result){0};
        audit_append(fixture.athd.audit, &record, on_done, &results[i]);
    }
    fixture_run_until(&fixture, &completions, 400);
    for (i = 0; i < 400; i++)
        refused += results[i].err == ATH_ERR_AUDIT_UNAVAILABLE;
    assert_in_range(refused, 50, 150); /* 16 MiB are kept, and a group that is being written */
    append("after", &results[0]);
    fixture_run_until(&fixture, &completions, 401);
    assert_int_equal(results[0].err, ATH_OK);
    assert_int_equal(audit_log_size(fixture.athd.audit), 401 - refused);
}

static void
test_log_that_was_cut_by_somebody_else_takes_no_more(void **state)
{
    struct result result;

    (void)state;
    append("one", &result);
    fixture_run_until(&fixture, &completions, 1);
    assert_int_equal(truncate(fixture_path(&fixture, LOG_NAME), 3), 0);
    append("two", &result);
    fixture_run_until(&fixture, &completions, 2);
    assert_int_equal(result.err, ATH_ERR_AUDIT_UNAVAILABLE);
}

static void
test_log_that_is_no_file_stops_the_start(void **state)
{
    struct audit_log *log = NULL;
    struct why why = {{0}};
    char path[256];

    (void)state;
    snprintf(path, sizeof(path), "%s/other", fixture.dir);
    assert_int_equal(mkdir(path, 0700), 0);
    strcat(path, "/audit");
    assert_int_equal(mkdir(path, 0700), 0);
    strcat(path, "/00000001.jsonl");
    assert_int_equal(mkdir(path, 0700), 0);
    *strstr(path, "/audit") = '\0';
    assert_int_equal(audit_log_open(&fixture.athd, path, &why, &log), ATH_ERR_IO);
    assert_true(why.text[0] != '\0');
}

static ath_err
append_once(void *ctx)
{
    struct result *result = ctx;
    int before = completions;

    append("test", result);
    fixture_run_until(&fixture, &completions, before + 1);
    return result->err;
}

static void
test_each_failing_allocation_is_told_and_leaves_whole_lines(void **state)
{
    struct result result;

    (void)state;
    each_allocation_failing(append_once, &result);
    close_log();
    open_log();
    assert_true(audit_log_size(fixture.athd.audit) >= 1);
    assert_int_not_equal(access(fixture_path(&fixture, LOG_NAME ".damaged"), F_OK), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_records_are_numbered_lines_of_json, begin, end),
        cmocka_unit_test_setup_teardown(test_records_that_may_wait_are_written_when_they_are_wanted,
                                        begin, end),
        cmocka_unit_test_setup_teardown(
            test_records_that_wait_are_written_with_others_and_at_the_end, begin, end),
        cmocka_unit_test_setup_teardown(test_two_parties_become_one, begin, end),
        cmocka_unit_test_setup_teardown(test_one_is_written_alone_where_there_were_many, begin,
                                        end),
        cmocka_unit_test_setup_teardown(test_record_names_its_caller_and_trace, begin, end),
        cmocka_unit_test_setup_teardown(test_log_goes_on_where_it_ended, begin, end),
        cmocka_unit_test_setup_teardown(test_who_watches_is_told_until_it_does_no_more, begin, end),
        cmocka_unit_test_setup_teardown(test_torn_last_line_is_cut_off, begin, end),
        cmocka_unit_test_setup_teardown(test_garbage_at_the_end_is_kept_aside, begin, end),
        cmocka_unit_test_setup_teardown(test_only_a_torn_line_is_an_empty_log, begin, end),
        cmocka_unit_test_setup_teardown(test_record_that_does_not_fit_fails_and_uses_no_index,
                                        begin, end),
        cmocka_unit_test_setup_teardown(
            test_record_that_nobody_waits_for_is_written_when_there_is_room_again, begin, end),
        cmocka_unit_test_setup_teardown(test_a_disk_that_hangs_does_not_eat_the_memory, begin, end),
        cmocka_unit_test_setup_teardown(test_log_that_was_cut_by_somebody_else_takes_no_more, begin,
                                        end),
        cmocka_unit_test_setup_teardown(test_log_that_is_no_file_stops_the_start, begin, end),
        cmocka_unit_test_setup_teardown(test_each_failing_allocation_is_told_and_leaves_whole_lines,
                                        begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
