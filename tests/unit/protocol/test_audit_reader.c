#include "protocol/audit_reader.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/audit_scene.h"
#include "tests/support/support.h"
#include "tests/support/temp_dir.h"

static uint64_t
index_of(struct ath_slice line)
{
    struct audit_line begun;

    assert_int_equal(audit_line_check(line, NULL, &begun), ATH_OK);
    return begun.index;
}

static void
test_lines_are_checked_whole(void **state)
{
#define TIME "\"timestamp\":\"2026-01-02T03:04:05.678Z\""
    static const char *const good[] = {
        "{\"index\":0," TIME "}",
        "{\"index\":9007199254740991," TIME ",\"event\":\"x\"}",
        "{\"index\":7," TIME ",\"a\":[1,{\"b\":null}],\"c\":\"\\u00e4\xc3\xa4\"}",
    };
    static const char *const wrong[] = {
        "",
        "{}",
        "[]",
        " {\"index\":0," TIME "}",
        "{\"index\":0," TIME,
        "{\"index\":0," TIME "} x",
        "{\"index\":0," TIME ",}",
        "{\"index\":00," TIME "}",
        "{\"index\":-1," TIME "}",
        "{\"index\":1.0," TIME "}",
        "{\"index\":12345678901234567," TIME "}",
        "{\"index\" :0," TIME "}",
        "{\"index\":0, " TIME "}",
        "{" TIME ",\"index\":0}",
        "{\"index\":0,\"timestamp\":\"2026-01-02T03:04:05Z\"}",
        "{\"index\":0,\"timestamp\":\"2026-01-02T03:04:65.678Z\"}",
        "{\"index\":0,\"timestamp\":\"2026-01-02T03:04:05.678Z",
        "{\"index\":0," TIME ",\"index\":1}",
        "{\"index\":0," TIME ",\"a\":1,\"a\":2}",
        "{\"index\":0," TIME ",\"a\":\"\xff\"}",
        "{\"index\":0," TIME ",\"a\":\"\\u0000\"}",
        "{\"index\":0," TIME ",\"a\":01}",
    };
    struct audit_line line;

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        if (audit_line_check(ath_slice_of_string(good[i]), NULL, &line) != ATH_OK)
            fail_msg("\"%s\" was refused", good[i]);
    assert_int_equal(line.index, 7);
    assert_true(ath_slice_is(line.timestamp, "2026-01-02T03:04:05.678Z"));
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        if (audit_line_check(ath_slice_of_string(wrong[i]), NULL, &line) != ATH_ERR_PARSE)
            fail_msg("\"%s\" was accepted", wrong[i]);
}

static void
test_a_line_is_as_long_as_a_bundle_can_hold(void **state)
{
    static char text[AUDIT_LINE_MAX + 2];
    int begun = snprintf(text, sizeof(text), "{\"index\":0," TIME ",\"a\":\"");
    struct audit_line line;

    (void)state;
    memset(text + begun, 'a', sizeof(text) - (size_t)begun);
    memcpy(text + AUDIT_LINE_MAX - 2, "\"}", 2);
    assert_int_equal(audit_line_check(ath_slice_of(text, AUDIT_LINE_MAX), NULL, &line), ATH_OK);
    memcpy(text + AUDIT_LINE_MAX - 2, "a\"}", 3);
    assert_int_equal(audit_line_check(ath_slice_of(text, AUDIT_LINE_MAX + 1), NULL, &line),
                     ATH_ERR_LIMIT_EXCEEDED);
}

static void
test_records_come_in_order_over_all_segments(void **state)
{
    struct temp_dir temp;
    const char *dir = temp_dir_make(&temp, "audit");
    struct audit_scene *scene = audit_scene_new(dir, "audit", 100, false);
    struct audit_reader *reader = NULL;
    struct audit_record record;
    const uint32_t *numbers;
    uint32_t segment;
    uint64_t offset;

    (void)state;
    audit_scene_append(scene, 250, 20000); /* more than the reader's buffer in each */
    assert_int_equal(audit_reader_open(dir, NULL, &reader), ATH_OK);
    assert_int_equal(audit_reader_segments(reader, &numbers), 3);
    assert_int_equal(numbers[2], 3);
    for (uint64_t index = 0; index < 250; index++) {
        assert_int_equal(audit_reader_next(reader, NULL, &record), ATH_OK);
        assert_int_equal(index_of(record.line), index);
        assert_int_equal(record.segment, 1 + index / 100);
        assert_int_equal(record.offset == 0, index % 100 == 0);
    }
    assert_int_equal(audit_reader_next(reader, NULL, &record), ATH_ERR_NOT_FOUND);
    /* it goes on: what was not whole, and in a segment that was not there */
    audit_scene_append_bytes(scene, "{\"part\":");
    assert_int_equal(audit_reader_next(reader, NULL, &record), ATH_ERR_NOT_FOUND);
    assert_int_equal(audit_reader_torn(reader, &segment, &offset), 8);
    assert_int_equal(segment, 3);
    audit_scene_append_bytes(scene, "1}\n");
    assert_int_equal(audit_reader_next(reader, NULL, &record), ATH_OK);
    assert_true(ath_slice_is(record.line, "{\"part\":1}"));
    assert_int_equal(record.offset, offset);
    audit_scene_append(scene, 51, 200);
    assert_int_equal(audit_reader_refresh(reader, NULL), ATH_OK);
    for (uint64_t index = 250; index <= 300; index++) {
        assert_int_equal(audit_reader_next(reader, NULL, &record), ATH_OK);
        assert_int_equal(index_of(record.line), index);
    }
    assert_int_equal(record.segment, 4);
    audit_reader_free(reader);
    audit_scene_free(scene);
    temp_dir_remove(&temp);
}

static void
test_every_record_is_found(void **state)
{
    struct temp_dir temp;
    const char *dir = temp_dir_make(&temp, "audit");
    struct audit_scene *scene = audit_scene_new(dir, "audit", 37, false);
    struct audit_reader *reader = NULL;
    struct audit_record record;
    struct why why;
    char path[4096];

    (void)state;
    for (size_t i = 0; i < 130; i++)
        audit_scene_append(scene, 1, 150 + i * i % 9000);
    assert_int_equal(audit_reader_open(dir, NULL, &reader), ATH_OK);
    for (uint64_t i = 0; i < 130; i++) {
        uint64_t index = i * 77 % 130;

        assert_int_equal(audit_reader_seek(reader, index, &why), ATH_OK);
        for (uint64_t at = index; at < 130 && at < index + 3; at++) {
            assert_int_equal(audit_reader_next(reader, NULL, &record), ATH_OK);
            assert_int_equal(index_of(record.line), at);
        }
    }
    assert_int_equal(audit_reader_seek(reader, 130, &why), ATH_ERR_NOT_FOUND);
    assert_string_equal(why.text, "the log has no record 130 (not yet, or no more)");
    snprintf(path, sizeof(path), "%s/00000001.jsonl", dir);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(audit_reader_refresh(reader, NULL), ATH_OK);
    assert_int_equal(audit_reader_seek(reader, 36, &why), ATH_ERR_NOT_FOUND);
    assert_int_equal(audit_reader_seek(reader, 37, &why), ATH_OK);
    audit_reader_free(reader);
    audit_scene_free(scene);
    temp_dir_remove(&temp);
}

static void
test_what_is_no_line_is_said_with_its_place(void **state)
{
    static char endless[AUDIT_LINE_MAX + 3];
    struct temp_dir temp;
    const char *dir = temp_dir_make(&temp, "audit");
    struct audit_scene *scene = audit_scene_new(dir, "audit", 2, false);
    struct audit_reader *reader = NULL;
    struct audit_record record;
    uint64_t end;

    (void)state;
    audit_scene_append(scene, 2, 200);
    audit_scene_append_bytes(scene, "torn");
    audit_scene_append(scene, 1, 200);
    assert_int_equal(audit_reader_open(dir, NULL, &reader), ATH_OK);
    assert_int_equal(audit_reader_next(reader, NULL, &record), ATH_OK);
    assert_int_equal(audit_reader_next(reader, NULL, &record), ATH_OK);
    end = record.offset + record.line.len + 1;
    assert_int_equal(audit_reader_next(reader, NULL, &record), ATH_ERR_PARSE);
    assert_int_equal(record.segment, 1);
    assert_int_equal(record.offset, end);
    memset(endless, 'x', sizeof(endless) - 1);
    audit_scene_append_bytes(scene, endless);
    assert_int_equal(audit_reader_seek(reader, 2, NULL), ATH_OK);
    assert_int_equal(audit_reader_next(reader, NULL, &record), ATH_OK);
    assert_int_equal(audit_reader_next(reader, NULL, &record), ATH_ERR_LIMIT_EXCEEDED);
    assert_int_equal(record.segment, 2);
    audit_reader_free(reader);
    audit_scene_free(scene);
    temp_dir_remove(&temp);
}

/* Where a segment begins with no record, what stands behind it is not looked for by guessing. */
static void
test_seeking_over_a_damaged_segment_is_told(void **state)
{
    static const char damage[] = "damage";
    struct temp_dir temp;
    const char *dir = temp_dir_make(&temp, "audit");
    struct audit_scene *scene = audit_scene_new(dir, "audit", 2, false);
    struct audit_reader *reader = NULL;
    struct why why = {{0}};
    char path[4096];
    FILE *file;

    (void)state;
    audit_scene_append(scene, 10, 200);
    snprintf(path, sizeof(path), "%s/00000003.jsonl", dir); /* the first that is looked at */
    assert_non_null(file = fopen(path, "r+"));
    assert_true(fputs(damage, file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(audit_reader_open(dir, NULL, &reader), ATH_OK);
    for (uint64_t index = 0; index < 10; index++)
        assert_int_equal(audit_reader_seek(reader, index, &why), ATH_ERR_PARSE);
    audit_reader_free(reader);
    audit_scene_free(scene);
    temp_dir_remove(&temp);
}

static void
test_names_of_segments(void **state)
{
    static const char *const wrong[] = {"",
                                        "1.jsonl",
                                        "00000000.jsonl",
                                        "000000001.jsonl",
                                        "00000001.jsonl.damaged",
                                        "00000001.json",
                                        "+0000001.jsonl"};
    char name[AUDIT_SEGMENT_NAME_SIZE];
    uint32_t number = 0;

    (void)state;
    audit_segment_name(42, name);
    assert_string_equal(name, "00000042.jsonl");
    assert_int_equal(audit_segment_parse("99999999.jsonl", &number), ATH_OK);
    assert_int_equal(number, 99999999);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_int_equal(audit_segment_parse(wrong[i], &number), ATH_ERR_PARSE);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_are_checked_whole),
        cmocka_unit_test(test_a_line_is_as_long_as_a_bundle_can_hold),
        cmocka_unit_test(test_records_come_in_order_over_all_segments),
        cmocka_unit_test(test_every_record_is_found),
        cmocka_unit_test(test_what_is_no_line_is_said_with_its_place),
        cmocka_unit_test(test_seeking_over_a_damaged_segment_is_told),
        cmocka_unit_test(test_names_of_segments),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
