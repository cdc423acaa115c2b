#include "protocol/audit_verify.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "protocol/audit_reader.h"
#include "tests/support/audit_scene.h"
#include "tests/support/support.h"
#include "tests/support/temp_dir.h"

static ath_err
verify(const char *dir, struct audit_report *report)
{
    struct audit_verify_options options = {.dir = dir};

    return audit_verify(&options, report);
}

/* 600 records: full and partial tiles at two levels, three segments, checkpoints at odd places. */
static struct audit_scene *
make_log(const char *dir, bool has_counter)
{
    struct audit_scene *scene = audit_scene_new(dir, "audit", 250, has_counter);

    audit_scene_checkpoint(scene);
    audit_scene_append(scene, 1, 200);
    audit_scene_checkpoint(scene);
    audit_scene_append(scene, 255, 200);
    audit_scene_checkpoint(scene);
    audit_scene_append(scene, 44, 200);
    audit_scene_checkpoint(scene);
    audit_scene_append(scene, 300, 200);
    audit_scene_checkpoint(scene);
    return scene;
}

static void
assert_holds(const char *dir, struct audit_report *report)
{
    ath_err err = verify(dir, report);

    if (err != ATH_OK)
        print_error("%s+%llu: %s\n", report->wrong.file, (unsigned long long)report->wrong.offset,
                    why_text(&report->wrong.why, err));
    assert_int_equal(err, ATH_OK);
}

static void
test_a_log_as_athd_writes_it_holds(void **state)
{
    static struct audit_report report;
    struct temp_dir temp;

    (void)state;
    for (int has_counter = 0; has_counter < 2; has_counter++) {
        struct audit_scene *scene;
        const char *dir = temp_dir_make(&temp, "audit");

        scene = make_log(dir, has_counter == 1);
        assert_holds(dir, &report);
        assert_int_equal(report.size, 600);
        assert_int_equal(report.covered, 600);
        assert_int_equal(report.checkpoints, 5);
        assert_int_equal(report.first_index, 0);
        assert_int_equal(report.torn, 0);
        assert_int_equal(report.by_count, 1);
        assert_string_equal(report.by[0].jkt, audit_scene_jkt(scene));
        assert_int_equal(report.by[0].from, 0);
        assert_int_equal(report.by[0].to, 600);
        assert_int_equal(report.newest.has_counter, has_counter);
        audit_scene_append(scene, 7, 200);
        audit_scene_append_bytes(scene, "{\"index\":607,\"time");
        assert_holds(dir, &report);
        assert_int_equal(report.size, 607);
        assert_int_equal(report.covered, 600);
        assert_int_equal(report.torn, 18);
        audit_scene_free(scene);
        temp_dir_remove(&temp);
    }
}

static void
test_a_checkpoint_may_be_made_again_without_new_records(void **state)
{
    static struct audit_report report;
    struct temp_dir temp;
    const char *dir = temp_dir_make(&temp, "audit");
    struct audit_scene *scene = make_log(dir, true);

    (void)state;
    audit_scene_checkpoint(scene);
    assert_holds(dir, &report);
    assert_int_equal(report.checkpoints, 5);
    audit_scene_append(scene, 1, 200);
    audit_scene_checkpoint(scene);
    assert_holds(dir, &report);
    assert_int_equal(report.checkpoints, 6);
    audit_scene_free(scene);
    temp_dir_remove(&temp);
}

static void
test_a_log_whose_key_changed_says_who_signed_what(void **state)
{
    static struct audit_report report;
    const char *jkts[2];
    struct temp_dir temp;
    const char *dir = temp_dir_make(&temp, "audit");
    struct audit_scene *scene = make_log(dir, true);
    struct audit_verify_options options = {.dir = dir, .jkts = jkts, .jkt_count = 1};
    char first[JKT_LEN + 1];

    (void)state;
    strcpy(first, audit_scene_jkt(scene));
    jkts[0] = first;
    assert_int_equal(audit_verify(&options, &report), ATH_OK);
    audit_scene_change_key(scene, "another");
    jkts[1] = audit_scene_jkt(scene);
    audit_scene_append(scene, 10, 200);
    audit_scene_checkpoint(scene);
    assert_holds(dir, &report);
    assert_int_equal(report.by_count, 2);
    assert_string_equal(report.by[0].jkt, first);
    assert_int_equal(report.by[0].to, 600);
    assert_string_equal(report.by[1].jkt, jkts[1]);
    assert_int_equal(report.by[1].from, 600);
    assert_int_equal(report.by[1].to, 610);
    assert_int_equal(audit_verify(&options, &report), ATH_ERR_INVALID_EVIDENCE);
    assert_non_null(strstr(report.wrong.why.text, "signed by another key"));
    options.jkt_count = 2;
    assert_int_equal(audit_verify(&options, &report), ATH_OK);
    audit_scene_free(scene);
    temp_dir_remove(&temp);
}

static void
test_a_log_whose_oldest_segments_were_removed_stays_provable(void **state)
{
    static struct audit_report report;
    struct temp_dir temp;
    const char *dir = temp_dir_make(&temp, "audit");
    struct audit_scene *scene = make_log(dir, true);
    char path[4096];

    (void)state;
    audit_scene_retain(scene, 500);
    assert_holds(dir, &report);
    assert_int_equal(report.first_index, 500);
    assert_int_equal(report.size, 601);
    audit_scene_append(scene, 400, 200); /* begins 00000004.jsonl with record 750 */
    audit_scene_checkpoint(scene);
    assert_holds(dir, &report);
    snprintf(path, sizeof(path), "%s/00000003.jsonl", dir);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(verify(dir, &report), ATH_ERR_INVALID_EVIDENCE);
    assert_string_equal(report.wrong.why.text,
                        "records 0 to 749 are missing, and no record says that they were removed");
    audit_scene_free(scene);
    temp_dir_remove(&temp);
}

static void
test_counters_that_do_not_count_up_are_found(void **state)
{
    static struct audit_report report;
    struct temp_dir temp;

    (void)state;
    for (int attack = 0; attack < 3; attack++) {
        const char *dir = temp_dir_make(&temp, "audit");
        struct audit_scene *scene = make_log(dir, true);
        struct checkpoint checkpoint;

        audit_scene_append(scene, 1, 200);
        checkpoint = audit_scene_next_checkpoint(scene);
        if (attack == 0)
            checkpoint.counter--;
        else if (attack == 1)
            checkpoint.counter = 0;
        else
            checkpoint.has_counter = false;
        audit_scene_sign(scene, &checkpoint);
        assert_int_equal(verify(dir, &report), ATH_ERR_INVALID_EVIDENCE);
        assert_string_equal(report.wrong.file, "checkpoints/00000000000000000601");
        assert_non_null(strstr(report.wrong.why.text, "counter"));
        audit_scene_free(scene);
        temp_dir_remove(&temp);
    }
}

static void
test_what_athd_said_of_a_log_put_back_is_told(void **state)
{
    static struct audit_report report;
    struct temp_dir temp;
    const char *dir = temp_dir_make(&temp, "audit");
    struct audit_scene *scene = make_log(dir, true);

    (void)state;
    audit_scene_append_text(scene, "\"event\":\"x\",\"y\":\"audit_rollback\"}");
    audit_scene_checkpoint(scene);
    assert_int_equal(verify(dir, &report), ATH_OK);
    assert_int_equal(report.rollbacks, 0);
    for (int i = 0; i < 2; i++)
        audit_scene_append_text(scene, "\"event\":\"audit_rollback\",\"expected\":4}");
    audit_scene_checkpoint(scene);
    assert_int_equal(verify(dir, &report), ATH_OK);
    assert_int_equal(report.rollbacks, 2);
    assert_int_equal(report.first_rollback, audit_scene_size(scene) - 2);
    audit_scene_free(scene);
    temp_dir_remove(&temp);
}

static void
test_a_root_that_was_never_the_logs_is_found(void **state)
{
    static struct audit_report report;
    struct temp_dir temp;
    const char *dir = temp_dir_make(&temp, "audit");
    struct audit_scene *scene = make_log(dir, true);
    struct checkpoint checkpoint;

    (void)state;
    audit_scene_append(scene, 10, 200);
    checkpoint = audit_scene_next_checkpoint(scene);
    checkpoint.root[0] ^= 1;
    audit_scene_sign(scene, &checkpoint);
    assert_int_equal(verify(dir, &report), ATH_ERR_INVALID_EVIDENCE);
    assert_string_equal(report.wrong.file, "checkpoints/00000000000000000610");
    assert_string_equal(report.wrong.why.text,
                        "records 600 to 609 with their tiles are not what was signed");
    audit_scene_free(scene);
    temp_dir_remove(&temp);
}

static void
assert_fails(const char *dir, struct audit_report *report, const char *file, const char *why)
{
    const struct audit_verify_options options = {.dir = dir};

    assert_int_not_equal(audit_verify(&options, report), ATH_OK);
    assert_string_equal(report->wrong.file, file);
    assert_string_equal(report->wrong.why.text, why);
}

static void
copy(const char *dir, const char *from, const char *to)
{
    struct ath_buf content = {.max = CHECKPOINT_MAX_LEN};
    char path[4096];

    snprintf(path, sizeof(path), "%s/%s", dir, from);
    assert_int_equal(file_read(path, &content, NULL), ATH_OK);
    snprintf(path, sizeof(path), "%s/%s", dir, to);
    assert_int_equal(file_replace(path, ath_buf_slice(&content), NULL), ATH_OK);
    ath_buf_done(&content);
}

/* A kill leaves the one before the newest; an older one was put there, a newer one has lost its
 * place. */
static void
test_a_newest_that_is_not_the_newest_is_said_for_what_it_is(void **state)
{
    static struct audit_report report;
    struct temp_dir temp;
    const char *dir = temp_dir_make(&temp, "audit");
    struct audit_scene *scene = audit_scene_new(dir, "audit", 100, false);
    char path[4096];

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        audit_scene_append(scene, 10, 200);
        audit_scene_checkpoint(scene);
    }
    copy(dir, "checkpoints/00000000000000000030", "checkpoint");
    assert_holds(dir, &report);
    assert_true(report.is_unfinished);
    copy(dir, "checkpoints/00000000000000000020", "checkpoint");
    assert_fails(dir, &report, "checkpoint",
                 "it is not the newest of checkpoints/, the one of 40 records");
    copy(dir, "checkpoints/00000000000000000040", "checkpoint");
    snprintf(path, sizeof(path), "%s/checkpoints/00000000000000000040", dir);
    assert_int_equal(unlink(path), 0);
    assert_fails(dir, &report, "checkpoint", "its file in checkpoints/ is missing");
    audit_scene_free(scene);
    temp_dir_remove(&temp);
}

/* A kill before the first leaves none there; never one that is none of the log's. */
static void
test_a_first_newest_that_is_no_checkpoint_is_found(void **state)
{
    static struct audit_report report;
    struct temp_dir temp;
    const char *dir = temp_dir_make(&temp, "audit");
    struct audit_scene *scene = audit_scene_new(dir, "audit", 100, false);
    char path[4096];

    (void)state;
    audit_scene_append(scene, 10, 200);
    audit_scene_checkpoint(scene);
    snprintf(path, sizeof(path), "%s/checkpoint", dir);
    assert_int_equal(file_replace(path, ath_slice_of_string("anything\n"), NULL), ATH_OK);
    assert_fails(dir, &report, "checkpoint",
                 "it is not the newest of checkpoints/, the one of 10 records");
    assert_int_equal(unlink(path), 0);
    assert_holds(dir, &report);
    assert_true(report.is_unfinished);
    audit_scene_free(scene);
    temp_dir_remove(&temp);
}

static void
test_what_is_no_log_is_said(void **state)
{
    static struct audit_report report;
    struct temp_dir temp;
    const char *dir = temp_dir_make(&temp, "audit");

    (void)state;
    assert_int_equal(verify(dir, &report), ATH_ERR_NOT_FOUND);
    assert_int_equal(mkdir(dir, 0700), 0);
    assert_int_equal(verify(dir, &report), ATH_ERR_INVALID_EVIDENCE);
    assert_string_equal(report.wrong.file, "checkpoint");
    assert_string_equal(report.wrong.why.text, "there is none (yet): nothing shows that the "
                                               "records are those that were written");
    temp_dir_remove(&temp);
}

struct scene_dir {
    const char *dir;
};

static ath_err
verify_body(void *ctx)
{
    static struct audit_report report;

    return verify(((struct scene_dir *)ctx)->dir, &report);
}

static void
test_no_failing_allocation_makes_it_hold_or_leak(void **state)
{
    struct temp_dir temp;
    struct scene_dir scene_dir = {temp_dir_make(&temp, "audit")};
    struct audit_scene *scene = audit_scene_new(scene_dir.dir, "audit", 10, true);

    (void)state;
    audit_scene_append(scene, 15, 150);
    audit_scene_checkpoint(scene);
    each_allocation_failing(verify_body, &scene_dir);
    audit_scene_free(scene);
    temp_dir_remove(&temp);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_log_as_athd_writes_it_holds),
        cmocka_unit_test(test_a_checkpoint_may_be_made_again_without_new_records),
        cmocka_unit_test(test_a_log_whose_key_changed_says_who_signed_what),
        cmocka_unit_test(test_a_log_whose_oldest_segments_were_removed_stays_provable),
        cmocka_unit_test(test_counters_that_do_not_count_up_are_found),
        cmocka_unit_test(test_what_athd_said_of_a_log_put_back_is_told),
        cmocka_unit_test(test_a_root_that_was_never_the_logs_is_found),
        cmocka_unit_test(test_a_newest_that_is_not_the_newest_is_said_for_what_it_is),
        cmocka_unit_test(test_a_first_newest_that_is_no_checkpoint_is_found),
        cmocka_unit_test(test_what_is_no_log_is_said),
        cmocka_unit_test(test_no_failing_allocation_makes_it_hold_or_leak),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
