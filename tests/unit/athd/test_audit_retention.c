/* Which segments may go, and that they do once a checkpoint covers the record of it. */
#include "fixture_daemon.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "athd/audit_line.h"
#include "athd/audit_log_private.h"
#include "athd/audit_record.h"
#include "athd/audit_retention.h"
#include "base/fd.h"
#include "base/file.h"

#define NOW 1767323045 /* 2026-01-02T03:04:05Z */
#define DAY 86400

static struct fixture fixture;
static struct audit_retention *retention;
static int closed;

/* Each group of records is a segment. */
static int
begin(void **state)
{
    (void)state;
    fixture_begin(&fixture, NULL);
    fake_clock_set(NOW);
    fixture.config.audit.segment_size = 1;
    assert_int_equal(audit_log_open(&fixture.athd, fixture.dir, NULL, &fixture.athd.audit), ATH_OK);
    assert_int_equal(audit_retention_new(&fixture.athd, &retention), ATH_OK);
    return 0;
}

static void
on_closed(void *ctx)
{
    ++*(int *)ctx;
}

static int
end(void **state)
{
    (void)state;
    closed = 0;
    audit_retention_free(retention);
    audit_log_close(fixture.athd.audit, on_closed, &closed);
    fixture_run_until(&fixture, &closed, 1);
    audit_log_free(fixture.athd.audit);
    fixture_end(&fixture);
    return 0;
}

static void
on_recorded(void *ctx, ath_err err)
{
    assert_int_equal(err, ATH_OK);
    ++*(int *)ctx;
}

/* A segment of one record each. */
static void
append(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct json_maker record;
        int done = 0;

        audit_record_begin(&record, "athd_started", NULL);
        audit_append(fixture.athd.audit, &record, on_recorded, &done);
        fixture_run_until(&fixture, &done, 1);
    }
}

/* Until no thread works and nothing waits to be written. */
static void
run_out(void)
{
    while (fixture.athd.loop->active_reqs.count != 0 || fixture.athd.audit->waiting_count != 0 ||
           fixture.athd.audit->is_writing)
        uv_run(fixture.athd.loop, UV_RUN_ONCE);
    uv_run(fixture.athd.loop, UV_RUN_NOWAIT);
}

static const char *
segment(unsigned number)
{
    static char name[32];

    (void)snprintf(name, sizeof(name), "audit/%08u.jsonl", number);
    return fixture_path(&fixture, name);
}

static bool
is_there(unsigned number)
{
    return access(segment(number), F_OK) == 0;
}

static struct audit_prunable
find(uint64_t covered, int64_t keep_days, int64_t keep_segments)
{
    const struct audit_span span = audit_log_span(fixture.athd.audit);
    struct audit_prunable prunable;

    assert_int_equal(audit_retention_find(audit_log_dir(fixture.athd.audit), &span, covered,
                                          keep_days, keep_segments, &prunable),
                     ATH_OK);
    return prunable;
}

static void
assert_kept(struct audit_prunable prunable, uint32_t kept_segment, uint64_t kept_from)
{
    assert_int_equal(prunable.kept_segment, kept_segment);
    assert_int_equal(prunable.kept_from, kept_from);
}

/* ---- which ---- */

static void
test_so_many_closed_segments_stay(void **state)
{
    (void)state;
    append(5);
    assert_kept(find(5, 0, 2), 3, 2);
    assert_kept(find(5, 0, 3), 2, 1);
    assert_kept(find(5, 0, 4), 0, 0);
    assert_kept(find(5, 0, 1000), 0, 0);
}

static void
test_what_no_checkpoint_covers_stays(void **state)
{
    (void)state;
    append(5);
    assert_kept(find(2, 0, 1), 3, 2);
    assert_kept(find(1, 0, 1), 2, 1);
    assert_kept(find(0, 0, 1), 0, 0);
}

/* The segment's record is of this time (seconds since 1970). */
static void
stamp(unsigned number, int64_t at)
{
    struct ath_buf line = {.max = 256};
    char text[CLOCK_TEXT_SIZE];

    audit_time_text(at, text);
    ath_buf_printf(&line, "{\"index\":%u,\"timestamp\":\"%s\",\"event\":\"x\"}\n", number - 1,
                   text);
    assert_int_equal(file_replace(segment(number), ath_buf_slice(&line), NULL), ATH_OK);
    ath_buf_done(&line);
}

static void
append_stamped(unsigned count, int64_t at)
{
    append(count);
    for (unsigned number = 1; number <= count; number++)
        stamp(number, at);
}

/* By when the next one begins: all of its own records are older. */
static void
test_what_is_younger_than_so_many_days_stays(void **state)
{
    (void)state;
    append_stamped(4, NOW);
    stamp(4, NOW + 1);
    fake_clock_set(NOW + 10 * DAY);
    assert_kept(find(4, 10, 0), 0, 0);
    fake_clock_move(1);
    assert_kept(find(4, 10, 0), 3, 2);
    fake_clock_move(1);
    assert_kept(find(4, 10, 0), 4, 3);
    assert_kept(find(4, 11, 0), 0, 0);
}

static void
test_a_segment_goes_when_neither_keeps_it(void **state)
{
    (void)state;
    append_stamped(5, NOW);
    assert_kept(find(5, 10, 2), 0, 0);
    fake_clock_move(11 * DAY);
    assert_kept(find(5, 10, 2), 3, 2);
    assert_kept(find(5, 10, 4), 0, 0);
}

static void
test_without_limits_everything_stays(void **state)
{
    (void)state;
    append_stamped(5, NOW);
    fake_clock_move(1000 * DAY);
    assert_kept(find(5, 0, 0), 0, 0);
    audit_retention_covered(retention, 5);
    run_out();
    assert_false(audit_retention_wants_checkpoint(retention));
}

/* ---- that they go ---- */

static void
announce(void)
{
    fixture.config.audit.keep_segments = 2;
    append(5);
    audit_retention_covered(retention, 5);
    audit_retention_covered(retention, 5); /* it looks already */
    run_out();
    assert_true(audit_retention_wants_checkpoint(retention));
    assert_int_equal(audit_log_size(fixture.athd.audit), 6); /* one record of it */
}

static void
test_it_is_on_record_before_and_goes_when_that_is_covered(void **state)
{
    char *text;

    (void)state;
    announce();
    text = fixture_read(&fixture, "audit/00000006.jsonl");
    assert_non_null(strstr(text, "\"event\":\"audit_retention\",\"kept_from\":2,\"segments\":2}"));
    free(text);
    audit_retention_covered(retention, 5);
    run_out();
    assert_true(is_there(1));
    audit_retention_covered(retention, 6);
    run_out();
    assert_false(is_there(1));
    assert_false(is_there(2));
    assert_true(is_there(3));
    assert_false(audit_retention_wants_checkpoint(retention));
    assert_int_equal(audit_log_span(fixture.athd.audit).first, 3);
    assert_int_equal(audit_log_span(fixture.athd.audit).last, 6);
}

/* The oldest first, so that what is left has no gap. */
static void
test_what_cannot_be_removed_keeps_what_is_behind_it(void **state)
{
    (void)state;
    announce();
    assert_int_equal(unlink(segment(2)), 0);
    assert_int_equal(mkdir(segment(2), 0700), 0);
    audit_retention_covered(retention, 6);
    run_out();
    assert_false(is_there(1));
    assert_true(is_there(3));
    assert_int_equal(audit_log_span(fixture.athd.audit).first, 2);
}

static void
test_one_that_is_gone_already_is_no_failure(void **state)
{
    (void)state;
    announce();
    assert_int_equal(unlink(segment(1)), 0);
    audit_retention_covered(retention, 6);
    run_out();
    assert_false(is_there(2));
    assert_int_equal(audit_log_span(fixture.athd.audit).first, 3);
}

static void
test_in_a_damaged_log_nothing_goes(void **state)
{
    static const char no_time[] = "{\"index\":2,\"event\":\"x\"}\n";

    (void)state;
    fixture.config.audit.keep_days = 10;
    append_stamped(5, NOW);
    fake_clock_move(11 * DAY);
    assert_int_equal(file_replace(segment(3), ath_slice_of_string(no_time), NULL), ATH_OK);
    audit_retention_covered(retention, 5);
    run_out();
    assert_false(audit_retention_wants_checkpoint(retention));
    assert_int_equal(audit_log_size(fixture.athd.audit), 5);
    assert_int_equal(file_replace(segment(3), ath_slice_of_string("no record\n"), NULL), ATH_OK);
    audit_retention_covered(retention, 5);
    run_out();
    assert_int_equal(audit_log_size(fixture.athd.audit), 5);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, begin, end)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_so_many_closed_segments_stay),
        TEST(test_what_no_checkpoint_covers_stays),
        TEST(test_what_is_younger_than_so_many_days_stays),
        TEST(test_a_segment_goes_when_neither_keeps_it),
        TEST(test_without_limits_everything_stays),
        TEST(test_it_is_on_record_before_and_goes_when_that_is_covered),
        TEST(test_what_cannot_be_removed_keeps_what_is_behind_it),
        TEST(test_one_that_is_gone_already_is_no_failure),
        TEST(test_in_a_damaged_log_nothing_goes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
