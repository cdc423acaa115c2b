/* What the TPM's counter says of the log, and what its files say of the counter. */
#include "fixture_stores.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "athd/audit_counter_private.h"
#include "athd/audit_key_private.h"
#include "base/bytes.h"
#include "base/file.h"
#include "tests/support/audit_scene.h"
#include "tests/support/temp_dir.h"

#define INDEX AUDIT_SCENE_COUNTER_INDEX
#define OTHER "8Ux2cVfT1Hj9l0mYp0dVQ9sYv0oN1vYJ3d1aXg4Tq0c" /* another key's thumbprint */

static struct temp_dir temp;
static struct audit_scene *scene;
static struct stores stores;
static struct audit_key key;
static struct audit_counter counter;
static struct audit_counter_state judged;

/* ---- the hardware ---- */

static struct {
    unsigned asked;
    struct hsm_job_params params; /* of the last job */
    size_t blob_len;              /* 0: it is to make a counter */
    uint32_t steps;
} hardware;

bool __wrap_hsm_pool_has_counter(const struct hsm_pool *pool, const char *hsm);
ath_err __wrap_hsm_pool_counter(struct hsm_pool *pool, const struct hsm_key_ref *ref,
                                struct ath_slice blob, uint32_t steps,
                                const uint8_t nonce[SHA256_LEN],
                                const struct hsm_job_params *params, struct hsm_job **ret_job);

bool
__wrap_hsm_pool_has_counter(const struct hsm_pool *pool, const char *hsm)
{
    (void)pool;
    (void)hsm;
    return true;
}

ath_err
__wrap_hsm_pool_counter(struct hsm_pool *pool, const struct hsm_key_ref *ref, struct ath_slice blob,
                        uint32_t steps, const uint8_t nonce[SHA256_LEN],
                        const struct hsm_job_params *params, struct hsm_job **ret_job)
{
    (void)pool;
    (void)ref;
    (void)nonce;
    (void)ret_job;
    hardware.asked++;
    hardware.params = *params;
    hardware.blob_len = blob.len;
    hardware.steps = steps;
    return ATH_OK;
}

static void
answer(const struct hsm_outcome *outcome)
{
    hardware.params.done(hardware.params.ctx, outcome);
}

static struct {
    int count;
    ath_err err;
    struct audit_counter_state state;
} settled;

static void
on_settled(void *ctx, ath_err err, const struct audit_counter_state *state, const struct why *why)
{
    (void)ctx;
    (void)why;
    settled.count++;
    settled.err = err;
    if (state != NULL)
        settled.state = *state;
}

static struct checkpoint
checkpoint_at(uint64_t value)
{
    struct checkpoint checkpoint = {.size = 10,
                                    .time = "2026-02-03T04:05:06.789Z",
                                    .has_counter = true,
                                    .counter_index = INDEX,
                                    .counter = value};

    strcpy(checkpoint.jkt, audit_scene_jkt(scene));
    return checkpoint;
}

/* The newest checkpoint has the counter at 5, and there it stands. */
static int
setup(void **state)
{
    (void)state;
    scene = audit_scene_new(temp_dir_make(&temp, "audit"), "audit", 100, true);
    stores_begin(&stores);
    key = (struct audit_key){.public = (struct public_key *)(uintptr_t)audit_scene_key(scene)};
    counter = (struct audit_counter){.athd = &stores.athd,
                                     .key = &key,
                                     .is_known = true,
                                     .index = INDEX,
                                     .value = 5,
                                     .has_newest = true,
                                     .newest = checkpoint_at(5)};
    counter.blob.max = AUDIT_COUNTER_PUBLIC_MAX;
    counter.pending_text.max = CHECKPOINT_MAX_TEXT;
    counter.evidence.max = HSM_WIRE_MAX_EVIDENCE;
    memset(&hardware, 0, sizeof(hardware));
    memset(&settled, 0, sizeof(settled));
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    ath_buf_done(&counter.blob);
    ath_buf_done(&counter.pending_text);
    ath_buf_done(&counter.evidence);
    free(counter.counter_path);
    free(counter.pending_path);
    stores_end(&stores);
    audit_scene_free(scene);
    temp_dir_remove(&temp);
    return 0;
}

static void
judge(void)
{
    judged = (struct audit_counter_state){0};
    audit_counter_judge(&counter, &judged);
}

static void
assert_is_well(void)
{
    judge();
    assert_false(judged.is_rolled_back);
    assert_false(judged.is_pending);
}

static void
assert_is_rolled_back(uint64_t expected, const char *why)
{
    judge();
    assert_true(judged.is_rolled_back);
    assert_false(judged.is_pending);
    assert_int_equal(judged.expected, expected);
    assert_int_equal(judged.found, counter.value);
    if (strstr(judged.why.text, why) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", why, judged.why.text);
}

static void
begin_pending(uint64_t value)
{
    counter.has_pending = counter.pending_fits = true;
    counter.pending = checkpoint_at(value);
}

/* ---- its value ---- */

static void
test_the_newest_checkpoints_value_is_well_and_every_other_told(void **state)
{
    static const uint64_t others[] = {0, 4, 6, UINT64_MAX};

    (void)state;
    assert_is_well();
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        counter.value = others[i];
        assert_is_rolled_back(5, "the newest checkpoint at 5: the audit log was put back");
    }
}

static void
test_a_step_that_a_kill_left_unsigned_is_completed(void **state)
{
    (void)state;
    begin_pending(6);
    assert_is_well(); /* it was not stepped yet */
    counter.value = 6;
    judge();
    assert_true(judged.is_pending);
    assert_false(judged.is_rolled_back);
    counter.has_newest = false; /* also the first checkpoint of all */
    judge();
    assert_true(judged.is_pending);
}

static void
test_only_what_fits_the_log_and_is_of_our_key_is_completed(void **state)
{
    (void)state;
    begin_pending(6);
    counter.value = 6;
    counter.pending_fits = false;
    assert_is_rolled_back(5, "is at 6");
    counter.pending_fits = true;
    strcpy(counter.pending.jkt, OTHER);
    assert_is_rolled_back(5, "is at 6");
    begin_pending(6);
    counter.pending.counter_index = INDEX + 1;
    assert_is_rolled_back(5, "is at 6");
    begin_pending(7);
    assert_is_rolled_back(5, "is at 6");
}

static void
test_a_first_checkpoint_that_was_begun_leaves_two_values(void **state)
{
    (void)state;
    counter.has_newest = false;
    counter.made_value = 77; /* what was begun says more */
    begin_pending(6);
    counter.value = 5;
    assert_is_well();
    counter.value = 4;
    assert_is_rolled_back(6, "the checkpoint that was begun at 6");
    counter.value = 7;
    assert_is_rolled_back(6, "the checkpoint that was begun at 6");
}

static void
test_a_counter_without_checkpoints_is_as_it_was_made(void **state)
{
    (void)state;
    counter.has_newest = false;
    counter.made_value = 5;
    assert_is_well();
    counter.value = 6;
    assert_is_rolled_back(5, "there is no checkpoint: they were taken away");
    counter.has_newest = true; /* one of before there was a counter */
    counter.newest.has_counter = false;
    assert_is_well();
}

static void
test_another_counter_than_the_newest_checkpoints_is_told(void **state)
{
    (void)state;
    counter.newest.counter_index = INDEX + 1;
    assert_is_rolled_back(5, "is not there any more");
    counter.newest.counter_index = INDEX; /* made anew under the same index */
    counter.is_lost = true;
    counter.lost_value = 3;
    assert_is_rolled_back(3, "is not there any more");
}

static void
test_a_checkpoint_of_another_key_is_told_unless_ours_is_new(void **state)
{
    (void)state;
    strcpy(counter.newest.jkt, OTHER);
    assert_is_rolled_back(5, "signed by the key " OTHER);
    key.is_fresh = true;
    assert_is_well();
    counter.value = 4;
    assert_is_rolled_back(5, "put back");
}

/* ---- asking it ---- */

static void
settle(const struct checkpoint *newest)
{
    settled.count = 0;
    audit_counter_settle(&counter, newest, on_settled, NULL);
    assert_int_equal(hardware.steps, 0);
}

/* "counter none" in a checkpoint is for good: hardware that is only away says nothing of it. */
static void
test_only_hardware_that_can_make_none_leaves_checkpoints_without(void **state)
{
    static const ath_err passing[] = {ATH_ERR_HSM_UNAVAILABLE, ATH_ERR_HSM_BUSY, ATH_ERR_NOMEM};

    (void)state;
    for (size_t i = 0; i < sizeof(passing) / sizeof(passing[0]); i++) {
        settle(NULL);
        assert_int_equal(hardware.blob_len, 0);
        answer(&(struct hsm_outcome){.err = passing[i]});
        assert_int_equal(settled.count, 1);
        assert_int_equal(settled.err, passing[i]);
    }
    settle(NULL);
    answer(&(struct hsm_outcome){.err = ATH_ERR_HSM_ERROR});
    assert_int_equal(settled.count, 1);
    assert_int_equal(settled.err, ATH_OK);
    assert_false(settled.state.is_rolled_back);
    assert_int_equal(audit_counter_public(&counter).len, 0);
}

static void
test_a_log_that_had_a_counter_goes_on_without_never(void **state)
{
    const struct checkpoint newest = checkpoint_at(5);

    (void)state;
    settle(&newest);
    answer(&(struct hsm_outcome){.err = ATH_ERR_HSM_ERROR});
    assert_int_equal(settled.err, ATH_ERR_HSM_ERROR);
}

/* Another TPM, or one that was cleared: a new one is made, kept on disk first, and it is told. */
static void
test_a_counter_that_is_gone_is_made_anew_and_told(void **state)
{
    const struct checkpoint newest = checkpoint_at(5);
    struct ath_buf blob = {0}, file = {.max = AUDIT_COUNTER_PUBLIC_MAX};

    (void)state;
    audit_scene_put_counter_public(INDEX + 1, 0x22040014, &blob);
    assert_non_null(counter.counter_path = ath_strdup(stores_path(&stores, "counter")));
    ath_buf_put_string(&counter.blob, "the one before");
    settle(&newest);
    assert_int_equal(hardware.blob_len, strlen("the one before"));
    answer(&(struct hsm_outcome){.err = ATH_ERR_INVALID_PARAMS});
    assert_int_equal(settled.count, 0);
    assert_int_equal(hardware.asked, 2);
    assert_int_equal(hardware.blob_len, 0);
    answer(&(struct hsm_outcome){
        .counter = 9, .evidence = ath_slice_of_string("certified"), .blob = ath_buf_slice(&blob)});
    assert_int_equal(settled.count, 0); /* not before it is on disk */
    while (settled.count == 0 && uv_run(&stores.loop, UV_RUN_ONCE) != 0)
        ;
    assert_int_equal(settled.count, 1);
    assert_int_equal(settled.err, ATH_OK);
    assert_true(settled.state.is_rolled_back);
    assert_int_equal(settled.state.expected, 5);
    assert_int_equal(settled.state.found, 9);
    assert_true(ath_slice_equal(audit_counter_public(&counter), ath_buf_slice(&blob)));
    assert_int_equal(file_read(counter.counter_path, &file, NULL), ATH_OK);
    bytes_put_u64(&blob, 9);
    assert_true(ath_slice_equal(ath_buf_slice(&file), ath_buf_slice(&blob)));
    ath_buf_done(&blob);
    ath_buf_done(&file);
}

/* ---- its files ---- */

static void
write_files(struct ath_slice file, struct ath_slice pending)
{
    struct why why = {{0}};

    assert_non_null(counter.counter_path = ath_strdup(stores_path(&stores, "counter")));
    assert_non_null(counter.pending_path = ath_strdup(stores_path(&stores, "pending")));
    if (file.len != 0)
        assert_int_equal(file_replace(counter.counter_path, file, &why), ATH_OK);
    if (pending.len != 0)
        assert_int_equal(file_replace(counter.pending_path, pending, &why), ATH_OK);
    counter.index = 0;
    assert_int_equal(audit_counter_read_files(&counter, &why), ATH_OK);
}

static bool
is_damage_told(const char *name)
{
    struct json *report = NULL;
    const struct json *entry;
    bool is_told = false;

    assert_int_equal(damage_report(&stores.athd.damage, "audit_key", &report), ATH_OK);
    for (entry = json_first(report); entry != NULL; entry = json_next(entry))
        is_told = is_told || strstr(json_get_string(entry, "file"), name) != NULL;
    json_free(report);
    return is_told;
}

static void
test_both_files_are_read(void **state)
{
    const struct checkpoint pending = checkpoint_at(6);
    struct ath_buf file = {0}, text = {0};

    (void)state;
    audit_scene_put_counter_public(INDEX, 0x22040014, &file);
    bytes_put_u64(&file, 0x0102030405060708);
    checkpoint_put_text(&pending, &text);
    write_files(ath_buf_slice(&file), ath_buf_slice(&text));
    assert_int_equal(counter.index, INDEX);
    assert_int_equal(counter.made_value, 0x0102030405060708);
    assert_int_equal(counter.blob.len, file.len - 8);
    assert_true(counter.has_pending);
    assert_int_equal(counter.pending.counter, 6);
    assert_false(is_damage_told(""));
    ath_buf_done(&file);
    ath_buf_done(&text);
}

static void
test_no_files_are_no_counter_and_no_damage(void **state)
{
    (void)state;
    write_files(ath_slice_of(NULL, 0), ath_slice_of(NULL, 0));
    assert_int_equal(counter.blob.len, 0);
    assert_false(counter.has_pending);
    assert_false(is_damage_told(""));
}

static void
test_damaged_files_are_told_and_not_used(void **state)
{
    struct ath_buf file = {0};

    (void)state;
    audit_scene_put_counter_public(INDEX, 0x22040014, &file);
    ath_buf_put(&file, "1234567", 7); /* a byte is missing: another length than it says */
    write_files(ath_buf_slice(&file), ath_slice_of_string("athd.audit/"));
    assert_int_equal(counter.blob.len, 0);
    assert_false(counter.has_pending);
    assert_true(is_damage_told("counter"));
    assert_true(is_damage_told("checkpoint.pending"));
    ath_buf_done(&file);
}

static void
test_a_file_of_no_more_than_a_value_is_no_counter(void **state)
{
    (void)state;
    write_files(ath_slice_of("12345678", 8), ath_slice_of(NULL, 0));
    assert_int_equal(counter.blob.len, 0);
    assert_true(is_damage_told("counter"));
}

/* A checkpoint without counter is never begun: it was put there. */
static void
test_a_pending_text_without_counter_is_not_used(void **state)
{
    struct checkpoint pending = checkpoint_at(6);
    struct ath_buf text = {0};

    (void)state;
    pending.has_counter = false;
    checkpoint_put_text(&pending, &text);
    write_files(ath_slice_of(NULL, 0), ath_buf_slice(&text));
    assert_false(counter.has_pending);
    ath_buf_done(&text);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_the_newest_checkpoints_value_is_well_and_every_other_told),
        TEST(test_a_step_that_a_kill_left_unsigned_is_completed),
        TEST(test_only_what_fits_the_log_and_is_of_our_key_is_completed),
        TEST(test_a_first_checkpoint_that_was_begun_leaves_two_values),
        TEST(test_a_counter_without_checkpoints_is_as_it_was_made),
        TEST(test_another_counter_than_the_newest_checkpoints_is_told),
        TEST(test_a_checkpoint_of_another_key_is_told_unless_ours_is_new),
        TEST(test_only_hardware_that_can_make_none_leaves_checkpoints_without),
        TEST(test_a_log_that_had_a_counter_goes_on_without_never),
        TEST(test_a_counter_that_is_gone_is_made_anew_and_told),
        TEST(test_both_files_are_read),
        TEST(test_no_files_are_no_counter_and_no_damage),
        TEST(test_damaged_files_are_told_and_not_used),
        TEST(test_a_file_of_no_more_than_a_value_is_no_counter),
        TEST(test_a_pending_text_without_counter_is_not_used),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
