/* The newest checkpoint is found whatever a kill, or somebody, left of its two files. */
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "athd/audit_newest.h"
#include "tests/support/audit_scene.h"
#include "tests/support/support.h"
#include "tests/support/temp_dir.h"

#define FIRST "checkpoints/00000000000000000007"
#define SECOND "checkpoints/00000000000000000013"
#define THIRD "checkpoints/00000000000000000020"

static struct temp_dir temp;
static const char *dir;
static struct audit_scene *scene;

static int
begin(void **state)
{
    (void)state;
    umask(077);
    dir = temp_dir_make(&temp, "audit");
    scene = audit_scene_new(dir, "audit", 100, true);
    audit_scene_append(scene, 7, 130);
    audit_scene_checkpoint(scene);
    audit_scene_append(scene, 6, 130);
    audit_scene_checkpoint(scene);
    audit_scene_append(scene, 7, 130);
    audit_scene_checkpoint(scene);
    return 0;
}

static int
end(void **state)
{
    (void)state;
    audit_scene_free(scene);
    temp_dir_remove(&temp);
    return 0;
}

static const char *
path_of(const char *name)
{
    static char path[4096];

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return path;
}

static void
copy(const char *from, const char *to)
{
    struct ath_buf content = {.max = CHECKPOINT_MAX_LEN};

    assert_int_equal(file_read(path_of(from), &content, NULL), ATH_OK);
    assert_int_equal(file_replace(path_of(to), ath_buf_slice(&content), NULL), ATH_OK);
    ath_buf_done(&content);
}

static void
damage(const char *name)
{
    assert_int_equal(file_replace(path_of(name), ath_slice_of_string("athd.audit/no\n"), NULL),
                     ATH_OK);
}

static void
lose(const char *name)
{
    assert_int_equal(unlink(path_of(name)), 0);
}

/* said: a part of what is wrong with `checkpoint`; NULL: nothing is. */
static void
assert_newest(uint64_t size, bool is_ahead, bool is_unlisted, const char *said)
{
    struct audit_newest newest;
    struct why why = {{0}};
    ath_err err = audit_newest_read(dir, &why, &newest);

    if (err != (said == NULL ? ATH_OK : ATH_ERR_INVALID_EVIDENCE) ||
        (said != NULL && strstr(why.text, said) == NULL))
        fail_msg("%s: %s", ath_err_reason(err), why.text);
    assert_int_equal(newest.found, size != 0);
    assert_int_equal(newest.checkpoint.size, size);
    assert_int_equal(newest.is_ahead, is_ahead);
    assert_int_equal(newest.is_unlisted, is_unlisted);
    assert_int_equal(newest.note.len != 0, size != 0);
    audit_newest_done(&newest);
}

static void
test_newest_of_a_whole_log(void **state)
{
    (void)state;
    assert_newest(20, false, false, NULL);
}

static void
test_what_a_kill_leaves_is_gone_on_from(void **state)
{
    struct checkpoint again;

    (void)state;
    copy(SECOND, "checkpoint");
    assert_newest(20, true, false, NULL);
    copy(THIRD, "checkpoint");
    copy(THIRD, "older"); /* and one of the same size in its place */
    again = audit_scene_next_checkpoint(scene);
    again.has_previous = true;
    again.previous = 13;
    audit_scene_sign(scene, &again);
    copy("older", "checkpoint");
    assert_newest(20, true, false, NULL);
}

static void
test_first_checkpoint_that_is_half_written_is_gone_on_from(void **state)
{
    (void)state;
    lose(SECOND);
    lose(THIRD);
    lose("checkpoint");
    assert_newest(7, true, false, NULL);
    lose(FIRST);
    assert_newest(0, false, false, NULL);
}

static void
test_newest_that_was_put_back_or_taken_away_is_told_and_not_believed(void **state)
{
    (void)state;
    copy(FIRST, "checkpoint");
    assert_newest(20, true, false, "put back");
    lose("checkpoint");
    assert_newest(20, true, false, "taken away");
    damage("checkpoint");
    assert_newest(20, true, false, "line 1");
}

static void
test_file_that_is_missing_below_checkpoints_is_not_missed(void **state)
{
    (void)state;
    lose(THIRD);
    assert_newest(20, false, true, NULL);
    damage(THIRD);
    assert_newest(20, false, true, NULL);
    damage(SECOND);
    assert_newest(20, false, true, NULL);
    damage("checkpoint");
    assert_newest(7, true, false, "line 1");
}

static void
test_what_nobody_signed_is_no_checkpoint(void **state)
{
    (void)state;
    damage("checkpoints/00000000000000000099");
    copy(SECOND, "checkpoints/00000000000000000025");
    copy(SECOND, "checkpoints/copy");
    assert_newest(20, false, false, NULL);
}

static void
test_without_its_key_no_checkpoint_is_believed(void **state)
{
    char name[128];

    (void)state;
    snprintf(name, sizeof(name), "keys/%s.json", audit_scene_jkt(scene));
    lose(name);
    assert_newest(0, false, false, "keys/");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_newest_of_a_whole_log, begin, end),
        cmocka_unit_test_setup_teardown(test_what_a_kill_leaves_is_gone_on_from, begin, end),
        cmocka_unit_test_setup_teardown(test_first_checkpoint_that_is_half_written_is_gone_on_from,
                                        begin, end),
        cmocka_unit_test_setup_teardown(
            test_newest_that_was_put_back_or_taken_away_is_told_and_not_believed, begin, end),
        cmocka_unit_test_setup_teardown(test_file_that_is_missing_below_checkpoints_is_not_missed,
                                        begin, end),
        cmocka_unit_test_setup_teardown(test_what_nobody_signed_is_no_checkpoint, begin, end),
        cmocka_unit_test_setup_teardown(test_without_its_key_no_checkpoint_is_believed, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
