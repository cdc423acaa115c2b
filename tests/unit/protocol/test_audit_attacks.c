/*
 * Whoever may write the log's files changes them: every byte, every line, every file, one at a
 * time; each must be found and its place named. What a checkpoint covers, that is: all of this log.
 */
#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "protocol/audit_reader.h"
#include "protocol/audit_verify.h"
#include "tests/support/audit_scene.h"
#include "tests/support/support.h"
#include "tests/support/temp_dir.h"

#define RECORDS 20
#define MAX_FILES 64

/* The log's files, as they were written. */
struct file {
    char name[128]; /* below the log's directory */
    struct ath_buf content;
};

static struct temp_dir temp;
static const char *dir;
static struct file files[MAX_FILES];
static size_t file_count;
static struct audit_report report;
static uint8_t newest_note[CHECKPOINT_MAX_LEN];
static size_t newest_note_len;

/* ---- files in and out ---- */

static void
path_of(const char *name, char ret_path[4096])
{
    snprintf(ret_path, 4096, "%s/%s", dir, name);
}

static void
put_file(const char *name, struct ath_slice content)
{
    char path[4096];
    FILE *file;

    path_of(name, path);
    file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(content.data, 1, content.len, file), content.len);
    assert_int_equal(fclose(file), 0);
}

static void
restore(const struct file *file)
{
    put_file(file->name, ath_buf_slice(&file->content));
}

static void
remove_file(const char *name)
{
    char path[4096];

    path_of(name, path);
    assert_int_equal(unlink(path), 0);
}

static int
keep_file(const char *path, const struct stat *status, int kind, struct FTW *where)
{
    struct file *file = &files[file_count];

    (void)status;
    (void)where;
    if (kind != FTW_F)
        return 0;
    assert_true(file_count++ < MAX_FILES);
    snprintf(file->name, sizeof(file->name), "%s", path + strlen(dir) + 1);
    file->content.max = 1u << 20;
    assert_int_equal(file_read(path, &file->content, NULL), ATH_OK);
    return 0;
}

static void
keep_files(void)
{
    for (size_t i = 0; i < file_count; i++)
        ath_buf_done(&files[i].content);
    file_count = 0;
    assert_int_equal(nftw(dir, keep_file, 16, FTW_PHYS), 0);
}

static const struct file *
file_named(const char *name)
{
    for (size_t i = 0; i < file_count; i++)
        if (strcmp(files[i].name, name) == 0)
            return &files[i];
    fail_msg("no file %s", name);
    return NULL;
}

/* ---- judging ---- */

static ath_err
verify(void)
{
    struct audit_verify_options options = {.dir = dir};

    return audit_verify(&options, &report);
}

static ath_err
verify_from_newest(void)
{
    const struct audit_older older = {ath_slice_of(newest_note, newest_note_len), "kept.note"};
    struct audit_verify_options options = {.dir = dir, .older = &older, .older_count = 1};

    return audit_verify(&options, &report);
}

/* Found, and said to be in `name` (NULL: wherever). */
static void
assert_found(const char *name, const char *what, size_t at)
{
    ath_err err = verify();

    if (err != ATH_ERR_INVALID_EVIDENCE || (name != NULL && strcmp(report.wrong.file, name) != 0) ||
        report.wrong.why.text[0] == '\0')
        fail_msg("%s of %s at %zu: %s, said to be in \"%s\": %s", what, name != NULL ? name : "?",
                 at, ath_err_reason(err), report.wrong.file, report.wrong.why.text);
}

static bool
is_segment(const struct file *file)
{
    return strstr(file->name, ".jsonl") != NULL;
}

/* The record that the byte at this offset of a segment belongs to. */
static uint64_t
record_at(const struct file *file, size_t offset)
{
    uint64_t index = strcmp(file->name, "00000001.jsonl") == 0 ? 0 : RECORDS / 2;

    for (size_t i = 0; i < offset; i++)
        index += file->content.data[i] == '\n';
    return index;
}

static int
set_up(void **state)
{
    struct audit_scene *scene;

    (void)state;
    dir = temp_dir_make(&temp, "audit");
    scene = audit_scene_new(dir, "audit", RECORDS / 2, true);
    audit_scene_append(scene, 7, 130);
    audit_scene_checkpoint(scene);
    audit_scene_append(scene, 6, 130);
    audit_scene_checkpoint(scene);
    audit_scene_append(scene, 7, 130);
    audit_scene_checkpoint(scene);
    audit_scene_free(scene);
    keep_files();
    newest_note_len = file_named("checkpoint")->content.len;
    memcpy(newest_note, file_named("checkpoint")->content.data, newest_note_len);
    return verify() == ATH_OK ? 0 : -1;
}

static int
tear_down(void **state)
{
    (void)state;
    for (size_t i = 0; i < file_count; i++)
        ath_buf_done(&files[i].content);
    temp_dir_remove(&temp);
    return 0;
}

static void
test_the_log_has_all_kinds_of_files(void **state)
{
    (void)state;
    assert_int_equal(file_count, 2 + 1 + 3 + 1 + 1);
    file_named("00000001.jsonl");
    file_named("00000002.jsonl");
    file_named("tile/0/000.p/20");
    file_named("checkpoints/00000000000000000007");
    file_named("checkpoints/00000000000000000013");
    file_named("checkpoints/00000000000000000020");
}

/* ---- bytes ---- */

static void
change_bytes(struct file *file, uint8_t (*change)(uint8_t byte))
{
    for (size_t at = 0; at < file->content.len; at++) {
        uint8_t byte = file->content.data[at];

        if (change(byte) == byte)
            continue;
        file->content.data[at] = change(byte);
        restore(file);
        assert_found(file->name, "a changed byte", at);
        file->content.data[at] = byte;
        if (!is_segment(file))
            continue;
        assert_true(report.wrong.has_index);
        assert_int_equal(report.wrong.index, record_at(file, at));
        assert_true(report.wrong.offset <= at);
    }
    restore(file);
}

static uint8_t
flip_low(uint8_t byte)
{
    return byte ^ 0x01;
}

static uint8_t
flip_high(uint8_t byte)
{
    return byte ^ 0x80;
}

static uint8_t
make_line_feed(uint8_t byte)
{
    (void)byte;
    return '\n';
}

static void
test_every_changed_byte_is_found(void **state)
{
    (void)state;
    for (size_t i = 0; i < file_count; i++) {
        change_bytes(&files[i], flip_low);
        change_bytes(&files[i], flip_high);
        change_bytes(&files[i], make_line_feed);
    }
    assert_int_equal(verify(), ATH_OK);
}

/* ---- files ---- */

static void
test_every_truncation_is_found(void **state)
{
    (void)state;
    for (size_t i = 0; i < file_count; i++) {
        for (size_t len = 0; len < files[i].content.len; len++) {
            put_file(files[i].name, ath_slice_of(files[i].content.data, len));
            assert_found(is_segment(&files[i]) ? NULL : files[i].name, "a truncation", len);
            if (is_segment(&files[i]) && len != 0) {
                assert_true(report.wrong.has_index);
                assert_int_equal(report.wrong.index, record_at(&files[i], len));
            }
        }
        restore(&files[i]);
    }
    assert_int_equal(verify(), ATH_OK);
}

static void
test_every_deleted_file_is_found(void **state)
{
    (void)state;
    for (size_t i = 0; i < file_count; i++) {
        remove_file(files[i].name);
        assert_found(NULL, "the deletion", 0);
        restore(&files[i]);
    }
    assert_int_equal(verify(), ATH_OK);
}

/* `checkpoint` with the one before the newest is what a kill leaves: it verifies, and is said. */
static bool
is_as_a_kill_leaves_it(const struct file *file, const struct file *content)
{
    return strcmp(file->name, "checkpoint") == 0 &&
           strcmp(content->name, "checkpoints/00000000000000000013") == 0;
}

/* A file with the content of another, and both exchanged. `checkpoint` is the newest of
 * checkpoints/ anyway. */
static void
test_every_replaced_file_is_found(void **state)
{
    (void)state;
    for (size_t i = 0; i < file_count; i++)
        for (size_t other = 0; other < file_count; other++) {
            if (ath_slice_equal(ath_buf_slice(&files[i].content),
                                ath_buf_slice(&files[other].content)))
                continue;
            put_file(files[i].name, ath_buf_slice(&files[other].content));
            if (!is_as_a_kill_leaves_it(&files[i], &files[other]))
                assert_found(NULL, "a replacement", other);
            else if (verify() != ATH_OK || !report.is_unfinished || report.covered != RECORDS)
                fail_msg("what a kill leaves: %s", report.wrong.why.text);
            put_file(files[other].name, ath_buf_slice(&files[i].content));
            assert_found(NULL, "an exchange", other);
            restore(&files[i]);
            restore(&files[other]);
        }
    assert_int_equal(verify(), ATH_OK);
}

/* A copy under a name that the log could have. */
static void
test_every_file_too_many_is_found(void **state)
{
    static const char *const names[] = {
        "00000003.jsonl",  "checkpoints/00000000000000000019",
        "tile/0/001",      "checkpoints/00000000000000000021",
        "tile/0/000",      "tile/0/000.p/19",
        "tile/0/000.p/21", "checkpoints/copy",
        "tile/0/copy",     "keys/8Ux2cVfT1Hj9l0mYp0dVQ9sYv0oN1vYJ3d1aXg4Tq0c.json",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        for (size_t source = 0; source < file_count; source++) {
            put_file(names[i], ath_buf_slice(&files[source].content));
            assert_found(NULL, "a copy", source);
            remove_file(names[i]);
        }
    assert_int_equal(verify(), ATH_OK);
}

/* ---- lines ---- */

struct lines {
    struct ath_slice line[RECORDS]; /* with their line feeds */
    size_t count;
};

static struct lines
lines_of(const struct file *file)
{
    struct lines lines = {.count = 0};
    size_t begin = 0;

    for (size_t i = 0; i < file->content.len; i++)
        if (file->content.data[i] == '\n') {
            lines.line[lines.count++] = ath_slice_of(file->content.data + begin, i + 1 - begin);
            begin = i + 1;
        }
    return lines;
}

static void
put_lines(const struct file *file, const struct ath_slice *lines, size_t count)
{
    struct ath_buf content = {0};

    for (size_t i = 0; i < count; i++)
        ath_buf_put_slice(&content, lines[i]);
    put_file(file->name, ath_buf_slice(&content));
    ath_buf_done(&content);
}

/* `changed`: the first record that is not in its place. */
static void
assert_line_found(const struct file *file, const char *what, uint64_t changed)
{
    char next[] = "00000002.jsonl";

    assert_found(NULL, what, changed);
    assert_true(report.wrong.has_index);
    assert_int_equal(report.wrong.index, changed);
    if (strcmp(report.wrong.file, file->name) != 0) /* its last line: missed in the next one */
        assert_string_equal(report.wrong.file, next);
}

static void
attack_lines(const struct file *file)
{
    struct lines lines = lines_of(file);
    struct ath_slice changed[RECORDS + 1];
    uint64_t first = record_at(file, 0);

    for (size_t i = 0; i < lines.count; i++) {
        memcpy(changed, lines.line, i * sizeof(changed[0]));
        memcpy(changed + i, lines.line + i + 1, (lines.count - i - 1) * sizeof(changed[0]));
        put_lines(file, changed, lines.count - 1);
        assert_line_found(file, "a deleted line", first + i);
        for (size_t at = 0; at <= lines.count; at++) {
            memcpy(changed, lines.line, at * sizeof(changed[0]));
            changed[at] = lines.line[i];
            memcpy(changed + at + 1, lines.line + at, (lines.count - at) * sizeof(changed[0]));
            put_lines(file, changed, lines.count + 1);
            if (at == lines.count && first + at == RECORDS) /* behind the last checkpoint */
                assert_line_found(file, "a line again", RECORDS);
            else
                assert_line_found(file, "a line again", first + (at == i ? at + 1 : at));
        }
        for (size_t other = i + 1; other < lines.count; other++) {
            memcpy(changed, lines.line, sizeof(changed[0]) * lines.count);
            changed[i] = lines.line[other];
            changed[other] = lines.line[i];
            put_lines(file, changed, lines.count);
            assert_line_found(file, "two lines exchanged", first + i);
        }
    }
    restore(file);
}

static void
test_every_line_deleted_repeated_or_moved_is_found(void **state)
{
    (void)state;
    attack_lines(file_named("00000001.jsonl"));
    attack_lines(file_named("00000002.jsonl"));
    assert_int_equal(verify(), ATH_OK);
}

/* A line that is as good as the real one but for what it says. */
static void
test_a_well_formed_record_that_was_not_signed_is_found(void **state)
{
    const struct file *file = file_named("00000002.jsonl");
    struct lines lines = lines_of(file);
    char text[512];

    (void)state;
    for (size_t i = 0; i < lines.count; i++) {
        struct ath_slice original = lines.line[i];
        char *at;

        memcpy(text, original.data, original.len);
        text[original.len] = '\0';
        at = strstr(text, "\"alice\"");
        assert_non_null(at);
        memcpy(at, "\"mallo\"", 7);
        lines.line[i] = ath_slice_of(text, original.len);
        put_lines(file, lines.line, lines.count);
        assert_line_found(file, "a forged record", RECORDS / 2 + i);
        assert_string_equal(report.wrong.why.text,
                            "the record was changed: it is not what was signed");
        lines.line[i] = original;
    }
    restore(file);
    assert_int_equal(verify(), ATH_OK);
}

/* ---- roll-back ---- */

/* The whole directory as it was at each earlier checkpoint is whole in itself; only somebody who
 * kept a later checkpoint, or the counter, can tell. */
static void
test_every_roll_back_shows_against_a_kept_checkpoint(void **state)
{
    static const uint64_t sizes[] = {7, 13};

    (void)state;
    assert_int_equal(verify_from_newest(), ATH_OK);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct temp_dir old;
        struct audit_scene *scene;
        const char *now = dir;

        dir = temp_dir_make(&old, "audit");
        scene = audit_scene_new(dir, "audit", RECORDS / 2, true);
        audit_scene_append(scene, 7, 130);
        audit_scene_checkpoint(scene);
        if (sizes[i] > 7) {
            audit_scene_append(scene, sizes[i] - 7, 130);
            audit_scene_checkpoint(scene);
        }
        assert_int_equal(verify(), ATH_OK);
        assert_int_equal(verify_from_newest(), ATH_ERR_INVALID_EVIDENCE);
        assert_string_equal(report.wrong.file, "kept.note");
        assert_non_null(strstr(report.wrong.why.text, "rolled back"));
        /* and gone on as if nothing had been: another history of the same length */
        audit_scene_append_text(scene, "\"event\":\"other\"}");
        audit_scene_append(scene, RECORDS - audit_scene_size(scene), 130);
        audit_scene_checkpoint(scene);
        assert_int_equal(verify(), ATH_OK);
        assert_int_equal(verify_from_newest(), ATH_ERR_INVALID_EVIDENCE);
        audit_scene_append(scene, 5, 130);
        audit_scene_checkpoint(scene);
        assert_int_equal(verify_from_newest(), ATH_ERR_INVALID_EVIDENCE);
        assert_string_equal(report.wrong.file, "kept.note");
        audit_scene_free(scene);
        temp_dir_remove(&old);
        dir = now;
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_log_has_all_kinds_of_files),
        cmocka_unit_test(test_every_changed_byte_is_found),
        cmocka_unit_test(test_every_truncation_is_found),
        cmocka_unit_test(test_every_deleted_file_is_found),
        cmocka_unit_test(test_every_replaced_file_is_found),
        cmocka_unit_test(test_every_file_too_many_is_found),
        cmocka_unit_test(test_every_line_deleted_repeated_or_moved_is_found),
        cmocka_unit_test(test_a_well_formed_record_that_was_not_signed_is_found),
        cmocka_unit_test(test_every_roll_back_shows_against_a_kept_checkpoint),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
