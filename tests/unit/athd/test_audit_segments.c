#include "fixture_daemon.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "athd/audit_cursor.h"
#include "athd/audit_line.h"
#include "athd/audit_query.h"
#include "athd/audit_tiler.h"
#include "base/fd.h"
#include "crypto/merkle.h"

static struct fixture fixture;
static struct audit_segments segments;

/* Not fixture_path: readers keep it. */
static const char *
dir(void)
{
    static char path[128];

    snprintf(path, sizeof(path), "%s/audit", fixture.dir);
    return path;
}

static void
open_segments(int64_t size)
{
    const struct audit_limits limits = {.segment_size = size};
    struct why why = {{0}};

    if (audit_segments_open(&segments, dir(), &limits, &why) != ATH_OK)
        fail_msg("%s", why.text);
}

static int
begin(void **state)
{
    (void)state;
    fixture_begin(&fixture, NULL);
    open_segments(1000);
    return 0;
}

static int
end(void **state)
{
    (void)state;
    audit_segments_close(&segments);
    fixture_end(&fixture);
    return 0;
}

static void
put_line(struct ath_buf *out, uint64_t index, size_t padding)
{
    ath_buf_printf(out,
                   "{\"index\":%llu,\"timestamp\":\"2026-01-02T03:04:05.678Z\",\"event\":\"e%llu\","
                   "\"caller\":{\"uid\":%llu},\"pad\":\"%*s\"}\n",
                   (unsigned long long)index, (unsigned long long)(index % 7),
                   (unsigned long long)(index % 3), (int)padding, "");
}

static void
append(uint64_t count, size_t padding)
{
    while (count-- > 0) {
        struct ath_buf line = {.max = 70000};

        put_line(&line, segments.file.next_index, padding);
        assert_int_equal(audit_segments_append(&segments, ath_buf_slice(&line), 1), ATH_OK);
        ath_buf_done(&line);
    }
}

static void
assert_reads_on_from(struct audit_cursor *cursor, uint64_t index)
{
    struct ath_slice line;
    uint64_t found;

    assert_int_equal(audit_cursor_seek(cursor, index, NULL), ATH_OK);
    for (; index < cursor->span.size; index++) {
        assert_int_equal(audit_cursor_next(cursor, NULL, &line), ATH_OK);
        assert_true(audit_line_index(line, &found));
        assert_int_equal(found, index);
        assert_int_equal(line.data[line.len - 1], '}');
    }
    assert_int_equal(audit_cursor_next(cursor, NULL, &line), ATH_ERR_NOT_FOUND);
}

/* ---- segments ---- */

static void
test_a_full_segment_is_followed_by_another(void **state)
{
    struct audit_span span;

    (void)state;
    append(100, 10);
    span = audit_segments_span(&segments);
    assert_int_equal(span.first, 1);
    assert_in_range(span.last, 8, 20);
    assert_int_equal(span.size, 100);
    audit_segments_close(&segments);
    open_segments(1000);
    assert_int_equal(audit_segments_span(&segments).size, 100);
    assert_int_equal(audit_segments_span(&segments).last, span.last);
}

static void
test_an_old_segment_is_followed_by_another(void **state)
{
    (void)state;
    segments.limits = (struct audit_limits){.segment_age_s = 3600};
    fake_clock_set(1767323045); /* the time of the records */
    append(3, 0);
    fake_clock_move(3601);
    append(1, 0);
    assert_int_equal(audit_segments_span(&segments).last, 2);
}

static void
test_an_empty_last_segment_goes_on_behind_the_one_before(void **state)
{
    int fd;

    (void)state;
    append(5, 0);
    audit_segments_close(&segments);
    fd = open(fixture_path(&fixture, "audit/00000002.jsonl"), O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    fd_close(&fd);
    open_segments(100000);
    assert_int_equal(audit_segments_span(&segments).size, 5);
    append(1, 0);
    assert_int_equal(audit_segments_span(&segments).size, 6);
    assert_int_equal(audit_segments_span(&segments).last, 2);
}

static void
test_where_no_segment_can_be_made_the_old_one_grows_on(void **state)
{
    (void)state;
    append(20, 0);
    audit_segments_close(&segments);
    open_segments(500);
    assert_int_equal(mkdir(fixture_path(&fixture, "audit/00000003.jsonl"), 0700), 0);
    append(20, 0);
    assert_int_equal(audit_segments_span(&segments).size, 40);
}

/* ---- reading ---- */

static void
test_cursor_reads_every_record_from_everywhere(void **state)
{
    struct audit_span span;
    struct audit_cursor cursor;

    (void)state;
    append(150, 10);
    append(3, 60000);
    append(40, 0);
    append(2, 60000);
    span = audit_segments_span(&segments);
    assert_int_equal(audit_cursor_init(&cursor, dir(), &span), ATH_OK);
    for (uint64_t index = 0; index < span.size; index++)
        assert_reads_on_from(&cursor, index);
    assert_int_equal(audit_cursor_seek(&cursor, span.size, NULL), ATH_ERR_NOT_FOUND);
    audit_cursor_done(&cursor);
}

static void
test_cursor_finds_records_in_one_long_segment(void **state)
{
    struct audit_span span;
    struct audit_cursor cursor;

    (void)state;
    segments.limits.segment_size = 0;
    append(3000, 300);
    append(2, 65000);
    append(500, 30);
    span = audit_segments_span(&segments);
    assert_int_equal(audit_cursor_init(&cursor, dir(), &span), ATH_OK);
    for (uint64_t index = 0; index < span.size; index += 173)
        assert_reads_on_from(&cursor, index);
    audit_cursor_done(&cursor);
}

static void
test_cursor_reads_no_further_than_its_span(void **state)
{
    struct audit_span span;
    struct audit_cursor cursor;
    struct ath_slice line;

    (void)state;
    append(30, 0);
    span = audit_segments_span(&segments);
    append(10, 0);
    assert_int_equal(audit_cursor_init(&cursor, dir(), &span), ATH_OK);
    assert_reads_on_from(&cursor, 25);
    span = audit_segments_span(&segments);
    audit_cursor_set_span(&cursor, &span);
    for (int i = 0; i < 10; i++)
        assert_int_equal(audit_cursor_next(&cursor, NULL, &line), ATH_OK);
    assert_int_equal(audit_cursor_next(&cursor, NULL, &line), ATH_ERR_NOT_FOUND);
    audit_cursor_done(&cursor);
}

static void
test_damage_is_told_and_not_passed_over(void **state)
{
    struct audit_span span;
    struct audit_cursor cursor;
    struct ath_slice line;
    struct why why = {{0}};
    ath_err err = ATH_OK;
    int fd;

    (void)state;
    append(60, 0);
    span = audit_segments_span(&segments);
    fd = open(fixture_path(&fixture, "audit/00000002.jsonl"), O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "\n", 1, 150), 1);
    fd_close(&fd);
    assert_int_equal(audit_cursor_init(&cursor, dir(), &span), ATH_OK);
    assert_int_equal(audit_cursor_seek(&cursor, 0, NULL), ATH_OK);
    while (err == ATH_OK)
        err = audit_cursor_next(&cursor, &why, &line);
    assert_int_equal(err, ATH_ERR_PARSE);
    assert_non_null(strstr(why.text, "00000002"));
    audit_cursor_done(&cursor);
}

/* A line that nobody ended is not passed over for the segment behind it. */
static void
test_what_stands_behind_the_last_line_of_a_segment_is_damage(void **state)
{
    struct audit_span span;
    struct audit_cursor cursor;
    struct ath_slice line;
    ath_err err = ATH_OK;
    int fd;

    (void)state;
    append(30, 0);
    span = audit_segments_span(&segments);
    assert_true(span.last >= 3);
    fd = open(fixture_path(&fixture, "audit/00000002.jsonl"), O_WRONLY | O_APPEND);
    assert_true(fd >= 0);
    assert_int_equal(fd_write_all(fd, ath_slice_of_string("{\"index\":")), ATH_OK);
    fd_close(&fd);
    assert_int_equal(audit_cursor_init(&cursor, dir(), &span), ATH_OK);
    assert_int_equal(audit_cursor_seek(&cursor, 0, NULL), ATH_OK);
    while (err == ATH_OK)
        err = audit_cursor_next(&cursor, NULL, &line);
    assert_int_equal(err, ATH_ERR_PARSE);
    assert_int_equal(cursor.number, 2);
    audit_cursor_done(&cursor);
}

static void
test_only_exact_beginnings_are_records(void **state)
{
    static const char *const wrong[] = {"",
                                        "{\"index\":}",
                                        "{\"index\":01,",
                                        "{\"index\":-1,",
                                        "{ \"index\":1,",
                                        "{\"index\":1",
                                        "{\"i\":1,",
                                        "{\"index\":1x,",
                                        "{\"index\":9007199254740992,"};
    uint64_t index;

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_false(audit_line_index(ath_slice_of_string(wrong[i]), &index));
    assert_true(audit_line_index(ath_slice_of_string("{\"index\":9007199254740991,"), &index));
    assert_int_equal(index, 9007199254740991u);
}

/* ---- queries ---- */

static int64_t
query(const struct audit_filter *filter, uint64_t first, int64_t limit, struct audit_query *query)
{
    struct audit_span span = audit_segments_span(&segments);
    struct why why = {{0}};

    assert_int_equal(audit_query_init(query, dir(), &span, filter, first, limit), ATH_OK);
    while (!query->is_done)
        if (audit_query_step(query, &why) != ATH_OK)
            fail_msg("%s", why.text);
    return query->count;
}

static void
test_query_gives_what_was_asked_for_and_where_to_go_on(void **state)
{
    struct audit_query found;

    (void)state;
    append(100, 10);
    assert_int_equal(query(&(struct audit_filter){.event = "e3"}, 0, 1000, &found), 14);
    assert_false(found.is_partial);
    audit_query_done(&found);
    assert_int_equal(query(&(struct audit_filter){.event = "e3"}, 0, 5, &found), 5);
    assert_true(found.is_partial);
    assert_int_equal(found.next, 31);
    audit_query_done(&found);
    assert_int_equal(query(&(struct audit_filter){.event = "e3"}, 32, 1000, &found), 9);
    audit_query_done(&found);
    assert_int_equal(query(&(struct audit_filter){.event = "e"}, 0, 1000, &found), 0);
    audit_query_done(&found);
    assert_int_equal(query(&(struct audit_filter){.caller = "2"}, 0, 1000, &found), 33);
    audit_query_done(&found);
    assert_int_equal(
        query(&(struct audit_filter){.has_until = true, .until = 1767323045}, 0, 10, &found), 0);
    audit_query_done(&found);
    assert_int_equal(
        query(&(struct audit_filter){.has_since = true, .since = 1767323045}, 0, 10, &found), 10);
    audit_query_done(&found);
}

static void
test_query_is_bounded_in_bytes(void **state)
{
    struct audit_query found;

    (void)state;
    append(10, 60000);
    assert_in_range(query(&(struct audit_filter){0}, 0, 1000, &found), 1, 3);
    assert_true(found.is_partial);
    assert_true(found.bytes <= AUDIT_QUERY_BYTES_MAX);
    audit_query_done(&found);
}

/* ---- power that fails while a group is written ---- */

static void
overwrite(const char *name, off_t at, size_t len)
{
    static const char zeros[4096];
    int fd = open(fixture_path(&fixture, name), O_WRONLY);

    assert_true(fd >= 0 && len <= sizeof(zeros));
    assert_int_equal(pwrite(fd, zeros, len, at), (ssize_t)len);
    fd_close(&fd);
}

static off_t
size_of(const char *name)
{
    struct stat st;

    assert_int_equal(stat(fixture_path(&fixture, name), &st), 0);
    return st.st_size;
}

static void
reopen(uint64_t covered)
{
    const struct audit_limits limits = {.segment_size = 1 << 20, .covered = covered};
    struct why why = {{0}};

    audit_segments_close(&segments);
    if (audit_segments_open(&segments, dir(), &limits, &why) != ATH_OK)
        fail_msg("%s", why.text);
}

/* Lines of 200 bytes and more; the hole is in records 20 to 22. */
static void
test_log_ends_at_a_hole_that_no_checkpoint_covers(void **state)
{
    off_t before;

    (void)state;
    reopen(0);
    append(20, 100);
    before = segments.file.size;
    append(20, 100);
    overwrite("audit/00000001.jsonl", before + 10, 400);
    reopen(20);
    assert_int_equal(segments.file.next_index, 20);
    assert_int_equal(segments.file.size, before);
    assert_int_equal(size_of("audit/00000001.jsonl"), before);
    assert_true(segments.file.is_torn_kept);
    assert_int_equal(segments.file.torn, size_of("audit/00000001.jsonl.damaged"));
    append(5, 0);
    assert_int_equal(segments.file.next_index, 25);
}

/* What was synced and signed, somebody has changed: ath audit verify is to name it. */
static void
test_a_hole_in_what_a_checkpoint_covers_stays_as_it_is(void **state)
{
    off_t before, whole;

    (void)state;
    reopen(0);
    append(20, 100);
    before = segments.file.size;
    append(20, 100);
    whole = segments.file.size;
    overwrite("audit/00000001.jsonl", before + 10, 400);
    reopen(24);
    assert_int_equal(segments.file.next_index, 40);
    assert_int_equal(size_of("audit/00000001.jsonl"), whole);
    assert_int_equal(segments.file.torn, 0);
}

static void
test_a_hole_inside_of_one_line_ends_the_log_too(void **state)
{
    off_t before;

    (void)state;
    reopen(0);
    append(20, 2000);
    before = segments.file.size;
    append(1, 2000);
    append(20, 100);
    overwrite("audit/00000001.jsonl", before + 500, 700);
    reopen(3);
    assert_int_equal(segments.file.next_index, 20);
    assert_int_equal(segments.file.size, before);
}

static void
test_a_hole_where_a_segment_begins_ends_the_log(void **state)
{
    char name[64];

    (void)state;
    append(1, 2000);
    append(4, 0);
    assert_int_equal(segments.last, 2);
    snprintf(name, sizeof(name), "audit/%08u.jsonl", segments.last);
    overwrite(name, 0, 150); /* the first of its lines and a part of the second */
    reopen(1);
    assert_int_equal(segments.file.size, 0);
    assert_int_equal(segments.file.next_index, 1);
}

/* ---- the tree ---- */

static void
root_of_records(uint64_t count, uint8_t ret_root[SHA256_LEN])
{
    struct audit_span span = audit_segments_span(&segments);
    struct merkle_stack stack = {0};
    struct audit_cursor cursor;
    struct ath_slice line;
    uint8_t leaf[SHA256_LEN];

    assert_int_equal(audit_cursor_init(&cursor, dir(), &span), ATH_OK);
    assert_int_equal(audit_cursor_seek(&cursor, 0, NULL), ATH_OK);
    while (count-- > 0) {
        assert_int_equal(audit_cursor_next(&cursor, NULL, &line), ATH_OK);
        assert_int_equal(merkle_leaf(line, leaf), ATH_OK);
        assert_int_equal(merkle_stack_push(&stack, leaf), ATH_OK);
    }
    audit_cursor_done(&cursor);
    assert_int_equal(merkle_stack_root(&stack, ret_root), ATH_OK);
}

static void
test_tiler_gives_the_root_of_what_is_in_the_segments(void **state)
{
    struct audit_tiler *tiler = NULL;
    struct audit_head head, again;
    struct audit_span span;
    struct why why = {{0}};
    uint8_t root[SHA256_LEN];

    (void)state;
    append(700, 0);
    span = audit_segments_span(&segments);
    assert_int_equal(audit_tiler_new(dir(), NULL, &tiler), ATH_OK);
    assert_int_equal(audit_tiler_run(tiler, &span, 300, true, &head, &why), ATH_OK);
    assert_int_equal(head.size, 300);
    root_of_records(300, root);
    assert_memory_equal(head.root, root, SHA256_LEN);
    assert_int_equal(access(fixture_path(&fixture, "audit/tile/0/000"), F_OK), 0);
    assert_int_equal(access(fixture_path(&fixture, "audit/tile/0/001.p/44"), F_OK), 0);
    assert_int_equal(access(fixture_path(&fixture, "audit/tile/1/000.p/1"), F_OK), 0);
    assert_int_equal(audit_tiler_run(tiler, &span, 700, false, &head, &why), ATH_OK);
    assert_int_equal(audit_tiler_run(tiler, &span, 300, true, &again, &why), ATH_ERR_NOT_FOUND);
    audit_tiler_free(tiler);
    /* another one that knows the root of 700: it begins where tiles give it, here at nothing */
    assert_int_equal(audit_tiler_new(dir(), &head, &tiler), ATH_OK);
    assert_int_equal(audit_tiler_run(tiler, &span, 700, true, &again, &why), ATH_OK);
    assert_memory_equal(head.root, again.root, SHA256_LEN);
    assert_false(audit_tiler_is_inconsistent(tiler));
    audit_tiler_free(tiler);
}

static void
test_tiler_says_once_that_records_do_not_give_the_checkpoints_root(void **state)
{
    struct audit_head wrong = {.size = 20}, head;
    struct audit_tiler *tiler = NULL;
    struct audit_span span;
    struct why why = {{0}};

    (void)state;
    append(30, 0);
    span = audit_segments_span(&segments);
    assert_int_equal(audit_tiler_new(dir(), &wrong, &tiler), ATH_OK);
    assert_int_equal(audit_tiler_run(tiler, &span, 30, false, &head, &why), ATH_ERR_PARSE);
    assert_true(audit_tiler_is_inconsistent(tiler));
    assert_int_equal(audit_tiler_run(tiler, &span, 30, false, &head, &why), ATH_OK);
    assert_int_equal(head.size, 30);
    audit_tiler_free(tiler);
}

static void
test_tiles_that_cannot_be_written_are_written_later(void **state)
{
    struct audit_tiler *tiler = NULL;
    struct audit_head head;
    struct audit_span span;
    struct why why = {{0}};
    uint8_t root[SHA256_LEN];
    int fd;

    (void)state;
    append(300, 0);
    span = audit_segments_span(&segments);
    /* a file where the directory should be: that fails for root, too */
    fd = open(fixture_path(&fixture, "audit/tile"), O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    fd_close(&fd);
    assert_int_equal(audit_tiler_new(dir(), NULL, &tiler), ATH_OK);
    assert_int_equal(audit_tiler_run(tiler, &span, 300, false, &head, &why), ATH_ERR_IO);
    assert_non_null(strstr(why.text, "tile"));
    assert_int_equal(unlink(fixture_path(&fixture, "audit/tile")), 0);
    assert_int_equal(audit_tiler_run(tiler, &span, 300, true, &head, &why), ATH_OK);
    root_of_records(300, root);
    assert_memory_equal(head.root, root, SHA256_LEN);
    audit_tiler_free(tiler);
}

/* Older segments may be removed once a checkpoint covers them. */
static void
test_tiler_that_failed_goes_on_from_its_last_whole_tree(void **state)
{
    struct audit_tiler *tiler = NULL;
    struct audit_head head;
    struct audit_span span;
    struct why why = {{0}};
    uint8_t root[SHA256_LEN];

    (void)state;
    append(300, 0);
    span = audit_segments_span(&segments);
    assert_int_equal(audit_tiler_new(dir(), NULL, &tiler), ATH_OK);
    assert_int_equal(audit_tiler_run(tiler, &span, 300, true, &head, &why), ATH_OK);
    append(300, 0);
    root_of_records(600, root);
    span = audit_segments_span(&segments);
    assert_int_equal(unlink(fixture_path(&fixture, "audit/00000001.jsonl")), 0);
    span.first = 2;
    /* a directory where a tile should be: that fails for root, too */
    assert_int_equal(mkdir(fixture_path(&fixture, "audit/tile/0/001"), 0700), 0);
    assert_int_equal(audit_tiler_run(tiler, &span, 600, true, &head, &why), ATH_ERR_IO);
    assert_int_equal(rmdir(fixture_path(&fixture, "audit/tile/0/001")), 0);
    assert_int_equal(audit_tiler_run(tiler, &span, 600, true, &head, &why), ATH_OK);
    assert_memory_equal(head.root, root, SHA256_LEN);
    audit_tiler_free(tiler);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_full_segment_is_followed_by_another, begin, end),
        cmocka_unit_test_setup_teardown(test_an_old_segment_is_followed_by_another, begin, end),
        cmocka_unit_test_setup_teardown(test_an_empty_last_segment_goes_on_behind_the_one_before,
                                        begin, end),
        cmocka_unit_test_setup_teardown(test_where_no_segment_can_be_made_the_old_one_grows_on,
                                        begin, end),
        cmocka_unit_test_setup_teardown(test_cursor_reads_every_record_from_everywhere, begin, end),
        cmocka_unit_test_setup_teardown(test_cursor_finds_records_in_one_long_segment, begin, end),
        cmocka_unit_test_setup_teardown(test_cursor_reads_no_further_than_its_span, begin, end),
        cmocka_unit_test_setup_teardown(test_damage_is_told_and_not_passed_over, begin, end),
        cmocka_unit_test_setup_teardown(
            test_what_stands_behind_the_last_line_of_a_segment_is_damage, begin, end),
        cmocka_unit_test(test_only_exact_beginnings_are_records),
        cmocka_unit_test_setup_teardown(test_query_gives_what_was_asked_for_and_where_to_go_on,
                                        begin, end),
        cmocka_unit_test_setup_teardown(test_query_is_bounded_in_bytes, begin, end),
        cmocka_unit_test_setup_teardown(test_log_ends_at_a_hole_that_no_checkpoint_covers, begin,
                                        end),
        cmocka_unit_test_setup_teardown(test_a_hole_in_what_a_checkpoint_covers_stays_as_it_is,
                                        begin, end),
        cmocka_unit_test_setup_teardown(test_a_hole_inside_of_one_line_ends_the_log_too, begin,
                                        end),
        cmocka_unit_test_setup_teardown(test_a_hole_where_a_segment_begins_ends_the_log, begin,
                                        end),
        cmocka_unit_test_setup_teardown(test_tiler_that_failed_goes_on_from_its_last_whole_tree,
                                        begin, end),
        cmocka_unit_test_setup_teardown(test_tiler_gives_the_root_of_what_is_in_the_segments, begin,
                                        end),
        cmocka_unit_test_setup_teardown(
            test_tiler_says_once_that_records_do_not_give_the_checkpoints_root, begin, end),
        cmocka_unit_test_setup_teardown(test_tiles_that_cannot_be_written_are_written_later, begin,
                                        end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
