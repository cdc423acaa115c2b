/* When a checkpoint is due, and that one which failed is tried again. */
#include "tests/support/support.h"

#include "athd/athd.h"
#include "athd/audit_checkpoint_round.h"
#include "athd/audit_log_private.h"

#define MANY 65536u

static struct config config;
static struct athd athd;
static struct audit_log audit_log;
static struct audit_checkpoints checkpoints;

/* ---- what a round goes through ---- */

static uv_loop_t loop;
static unsigned settles, reaches;
static ath_err settle_err;

bool __wrap_audit_key_is_ready(const struct audit_key *key);
void __wrap_audit_counter_settle(struct audit_counter *counter, const struct checkpoint *newest,
                                 audit_counter_settled_fn *done, void *ctx);
void __wrap_audit_follower_reach(struct audit_follower *follower, struct audit_reach *reach);

bool
__wrap_audit_key_is_ready(const struct audit_key *key)
{
    (void)key;
    return true;
}

void
__wrap_audit_counter_settle(struct audit_counter *counter, const struct checkpoint *newest,
                            audit_counter_settled_fn *done, void *ctx)
{
    const struct audit_counter_state state = {0};

    (void)counter;
    (void)newest;
    settles++;
    done(ctx, settle_err, &state, NULL);
}

void
__wrap_audit_follower_reach(struct audit_follower *follower, struct audit_reach *reach)
{
    (void)follower;
    (void)reach;
    reaches++;
}

/* The newest covers 100,000 records, the log has `more`, and nobody wants anything. */
static int
setup(void **state)
{
    (void)state;
    athd = (struct athd){.config = &config, .audit = &audit_log};
    audit_log = (struct audit_log){.athd = &athd, .span = {.size = 100000}};
    checkpoints = (struct audit_checkpoints){
        .athd = &athd, .has_newest = true, .newest_counts = true, .newest = {.size = 100000}};
    TAILQ_INIT(&checkpoints.waiting);
    assert_int_equal(audit_retention_new(&athd, &checkpoints.retention), ATH_OK);
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(uv_timer_init(&loop, &checkpoints.retry), 0);
    checkpoints.retry.data = &checkpoints;
    settles = reaches = 0;
    settle_err = ATH_OK;
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    audit_retention_free(checkpoints.retention);
    uv_close((uv_handle_t *)&checkpoints.retry, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    return 0;
}

static bool
is_due_behind(uint64_t more)
{
    audit_log.span.size = 100000 + more;
    return audit_round_is_due(&checkpoints);
}

static void
test_after_so_many_records_one_comes_by_itself(void **state)
{
    (void)state;
    assert_false(is_due_behind(1));
    assert_false(is_due_behind(MANY - 1));
    assert_true(is_due_behind(MANY));
    assert_true(is_due_behind(MANY + 1));
}

static void
test_where_nothing_was_written_none_is_due(void **state)
{
    struct audit_checkpoint_wait wait = {0};

    (void)state;
    checkpoints.is_wanted = checkpoints.is_finishing = true;
    TAILQ_INSERT_TAIL(&checkpoints.waiting, &wait, entry);
    assert_false(is_due_behind(0));
    checkpoints.newest_counts = false;
    audit_log.span.size = 0;
    assert_false(audit_round_is_due(&checkpoints));
}

static void
test_whoever_wants_one_has_one(void **state)
{
    struct audit_checkpoint_wait wait = {0};

    (void)state;
    checkpoints.is_wanted = true;
    assert_true(is_due_behind(1));
    checkpoints.is_wanted = false;
    checkpoints.is_finishing = true;
    assert_true(is_due_behind(1));
    checkpoints.is_finishing = false;
    TAILQ_INSERT_TAIL(&checkpoints.waiting, &wait, entry);
    assert_true(is_due_behind(1));
    TAILQ_REMOVE(&checkpoints.waiting, &wait, entry);
    assert_false(is_due_behind(1));
}

static void
test_a_log_without_a_checkpoint_that_counts_wants_one(void **state)
{
    (void)state;
    checkpoints.newest_counts = false;
    assert_true(is_due_behind(0));
    audit_log.span.size = 1; /* it was cut: below what the newest covers */
    assert_true(audit_round_is_due(&checkpoints));
}

/* ---- tries ---- */

static void
fire_retry(void)
{
    assert_true(uv_is_active((uv_handle_t *)&checkpoints.retry));
    (void)uv_timer_stop(&checkpoints.retry);
    checkpoints.retry.timer_cb(&checkpoints.retry);
}

static void
fail_reach(void)
{
    const struct why why = {"the disk is full"};

    checkpoints.reach.done(checkpoints.reach.ctx, ATH_ERR_IO, NULL, &why);
}

/* The hour's checkpoint, say, which nobody waits for. */
static void
test_one_that_failed_is_tried_again_until_it_is_made(void **state)
{
    (void)state;
    audit_log.span.size = 100001;
    checkpoints.is_wanted = true;
    audit_round_begin(&checkpoints);
    assert_int_equal(reaches, 1);
    for (unsigned i = 2; i < 20; i++) {
        uint64_t before_ms = checkpoints.retry_ms;

        fail_reach();
        assert_true(checkpoints.retry_ms > before_ms || checkpoints.retry_ms == 300000);
        assert_string_equal(checkpoints.why.text, "the disk is full");
        fire_retry();
        assert_int_equal(reaches, i);
        assert_int_equal(settles, i); /* what the counter says is asked anew */
    }
}

static void
test_where_the_counter_cannot_be_asked_it_is_asked_again(void **state)
{
    (void)state;
    audit_log.span.size = 100001;
    checkpoints.is_wanted = true;
    settle_err = ATH_ERR_HSM_BUSY;
    audit_round_begin(&checkpoints);
    assert_int_equal(reaches, 0);
    assert_true(checkpoints.retry_ms != 0);
    settle_err = ATH_OK;
    fire_retry();
    assert_int_equal(reaches, 1);
}

static ath_err told_err;

static void
on_told(void *ctx, ath_err err, struct ath_slice note, const struct why *why)
{
    (void)note;
    ++*(int *)ctx;
    told_err = err;
    assert_string_equal(why->text, "the disk is full");
}

static void
test_who_waits_is_told_of_a_failure_at_once(void **state)
{
    int told = 0;
    struct audit_checkpoint_wait wait = {.size = 100001, .done = on_told, .ctx = &told};

    (void)state;
    audit_log.span.size = 100001;
    TAILQ_INSERT_TAIL(&checkpoints.waiting, &wait, entry);
    audit_round_begin(&checkpoints);
    assert_int_equal(reaches, 1);
    fail_reach();
    assert_int_equal(told, 1);
    assert_int_equal(told_err, ATH_ERR_IO);
    assert_true(TAILQ_EMPTY(&checkpoints.waiting));
    fire_retry();
    assert_int_equal(told, 1);
}

/* Else agent.status would say "failing" until somebody writes something. */
static void
test_where_nothing_is_left_to_do_nothing_fails(void **state)
{
    (void)state;
    checkpoints.is_wanted = true;
    settle_err = ATH_ERR_HSM_BUSY;
    audit_round_begin(&checkpoints);
    assert_true(checkpoints.retry_ms != 0);
    settle_err = ATH_OK;
    fire_retry();
    assert_int_equal(reaches, 0);
    assert_int_equal(checkpoints.retry_ms, 0);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_after_so_many_records_one_comes_by_itself),
        TEST(test_where_nothing_was_written_none_is_due),
        TEST(test_whoever_wants_one_has_one),
        TEST(test_a_log_without_a_checkpoint_that_counts_wants_one),
        TEST(test_one_that_failed_is_tried_again_until_it_is_made),
        TEST(test_where_the_counter_cannot_be_asked_it_is_asked_again),
        TEST(test_who_waits_is_told_of_a_failure_at_once),
        TEST(test_where_nothing_is_left_to_do_nothing_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
