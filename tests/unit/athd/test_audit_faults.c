/* Every call that touches the disk fails once, in each of the ways a disk has: whatever was said to
 * be on disk is there, in its place and once, and what follows works again. */
#include "fixture_daemon.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "athd/audit_cursor.h"
#include "athd/audit_tiler.h"
#include "athd/audit_line.h"
#include "base/fd.h"

/* ---- the disk ---- */

enum fault { FAULT_NOSPC, FAULT_IO, FAULT_SHORT, FAULT_COUNT };

static enum fault fault;
static unsigned countdown;    /* 0: nothing fails */
static unsigned in_a_row = 1; /* so many fail then */
static unsigned more;         /* of them */
static bool happened;

ssize_t __real_pwrite(int fd, const void *data, size_t len, off_t at);
ssize_t __wrap_pwrite(int fd, const void *data, size_t len, off_t at);
ssize_t __real_write(int fd, const void *data, size_t len);
ssize_t __wrap_write(int fd, const void *data, size_t len);
int __wrap_fdatasync(int fd);
int __wrap_fsync(int fd);
int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);
int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __real_ftruncate(int fd, off_t len);
int __wrap_ftruncate(int fd, off_t len);
int __real_mkdir(const char *path, mode_t mode);
int __wrap_mkdir(const char *path, mode_t mode);

static bool
fails_now(void)
{
    if (more > 0)
        more--;
    else if (countdown == 0 || --countdown > 0)
        return false;
    else
        more = in_a_row - 1;
    happened = true;
    errno = fault == FAULT_IO ? EIO : ENOSPC;
    return true;
}

ssize_t
__wrap_pwrite(int fd, const void *data, size_t len, off_t at)
{
    if (!fails_now())
        return __real_pwrite(fd, data, len, at);
    /* a part gets there, and then no more */
    if (fault == FAULT_SHORT && __real_pwrite(fd, data, len / 2, at) >= 0)
        countdown = 1;
    return fault == FAULT_SHORT && len > 1 ? (ssize_t)(len / 2) : -1;
}

ssize_t
__wrap_write(int fd, const void *data, size_t len)
{
    if (!fails_now())
        return __real_write(fd, data, len);
    if (fault == FAULT_SHORT && len > 1 && __real_write(fd, data, len / 2) >= 0) {
        countdown = 1;
        return (ssize_t)(len / 2);
    }
    return -1;
}

int
__wrap_fdatasync(int fd)
{
    (void)fd; /* nobody cuts the power here */
    return fails_now() ? -1 : 0;
}

int
__wrap_fsync(int fd)
{
    (void)fd; /* nobody cuts the power here */
    return fails_now() ? -1 : 0;
}

int
__wrap_rename(const char *from, const char *to)
{
    return fails_now() ? -1 : __real_rename(from, to);
}

int
__wrap_open(const char *path, int flags, ...)
{
    va_list arguments;
    int mode;

    va_start(arguments, flags);
    mode = (flags & O_CREAT) != 0 ? va_arg(arguments, int) : 0;
    va_end(arguments);
    return fails_now() ? -1 : __real_open(path, flags, mode);
}

int
__wrap_ftruncate(int fd, off_t len)
{
    return fails_now() ? -1 : __real_ftruncate(fd, len);
}

int
__wrap_mkdir(const char *path, mode_t mode)
{
    return fails_now() ? -1 : __real_mkdir(path, mode);
}

/* ---- what is done with it ---- */

static struct fixture fixture;
static char dir[128];
static const struct audit_limits limits = {.segment_size = 400};

struct run {
    struct audit_segments segments;
    struct audit_tiler *tiler;
    char written[4096]; /* names of the records that were said to be on disk: one letter each */
    size_t count;
};

static int
begin(void **state)
{
    (void)state;
    fixture_begin(&fixture, NULL);
    snprintf(dir, sizeof(dir), "%s/audit", fixture.dir);
    return 0;
}

static int
end(void **state)
{
    (void)state;
    countdown = 0;
    fixture_end(&fixture);
    return 0;
}

static void
append(struct run *run, char letter)
{
    struct ath_buf line = {.max = 4096};

    ath_buf_printf(&line,
                   "{\"index\":%llu,\"timestamp\":\"2026-01-02T03:04:05.678Z\",\"event\":\"%c\"}\n",
                   (unsigned long long)run->segments.file.next_index, letter);
    if (audit_segments_append(&run->segments, ath_buf_slice(&line), 1) == ATH_OK)
        run->written[run->count++] = letter;
    ath_buf_done(&line);
}

/* Exactly the records that were said to be there, in their order, each at its index. */
static void
assert_log_is(const struct run *run, const struct audit_span *span)
{
    struct audit_cursor cursor;
    struct ath_slice line;
    const char *event;
    size_t i;

    assert_int_equal(span->size, run->count);
    assert_int_equal(audit_cursor_init(&cursor, dir, span), ATH_OK);
    if (run->count > 0)
        assert_int_equal(audit_cursor_seek(&cursor, 0, NULL), ATH_OK);
    for (i = 0; i < run->count; i++) {
        assert_int_equal(audit_cursor_next(&cursor, NULL, &line), ATH_OK);
        event = memmem(line.data, line.len, "\"event\":\"", 9);
        assert_non_null(event);
        assert_int_equal(event[9], run->written[i]);
    }
    audit_cursor_done(&cursor);
}

static void
remove_log(void)
{
    char command[200];

    assert_int_equal(strncmp(dir, "/tmp/ath-test-athd-", 19), 0);
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    assert_int_equal(system(command), 0);
}

/* Opens, writes more than one segment, hashes, opens again; the nth call on the disk fails. False:
 * there was none such. */
static bool
run_with_fault(unsigned nth)
{
    struct run run = {.count = 0};
    struct audit_head head = {0}, again = {0};
    struct audit_span span;
    struct why why = {{0}};
    char letter;

    countdown = nth;
    happened = false;
    while (audit_segments_open(&run.segments, dir, &limits, &why) != ATH_OK)
        assert_true(happened && why.text[0] != '\0');
    assert_int_equal(audit_tiler_new(dir, NULL, &run.tiler), ATH_OK);
    for (letter = 'a'; letter <= 'n'; letter++) {
        append(&run, letter);
        if (letter % 6 == 0) {
            span = audit_segments_span(&run.segments);
            if (audit_tiler_run(run.tiler, &span, span.size, true, &head, &why) != ATH_OK)
                assert_true(happened && why.text[0] != '\0');
        }
    }
    more = 0;
    if (countdown == 1) /* a short write whose rest was never tried */
        countdown = 0;
    while (audit_file_mend(&run.segments.file) != ATH_OK) /* else a record that failed may stay */
        assert_true(happened);
    audit_segments_close(&run.segments);
    while (audit_segments_open(&run.segments, dir, &limits, &why) != ATH_OK)
        assert_true(happened);
    countdown = more = 0;
    append(&run, 'A'); /* all is well again */
    assert_true(run.count + 2 * in_a_row >= 15);
    span = audit_segments_span(&run.segments);
    assert_log_is(&run, &span);
    assert_int_equal(audit_tiler_run(run.tiler, &span, span.size, true, &head, &why), ATH_OK);
    audit_tiler_free(run.tiler);
    /* whatever the fault left of the tiles, it is not what is believed */
    assert_int_equal(audit_tiler_new(dir, &head, &run.tiler), ATH_OK);
    assert_int_equal(audit_tiler_run(run.tiler, &span, span.size, true, &again, &why), ATH_OK);
    assert_memory_equal(head.root, again.root, SHA256_LEN);
    assert_false(audit_tiler_is_inconsistent(run.tiler));
    audit_tiler_free(run.tiler);
    audit_segments_close(&run.segments);
    remove_log();
    return happened;
}

static void
test_each_failing_call_is_told_and_loses_nothing(void **state)
{
    unsigned nth;

    (void)state;
    for (in_a_row = 1; in_a_row <= 2; in_a_row++)
        for (fault = 0; fault < FAULT_COUNT; fault++) {
            for (nth = 1; run_with_fault(nth); nth++)
                ;
            assert_in_range(nth, 50, 10000);
        }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_each_failing_call_is_told_and_loses_nothing, begin,
                                        end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
