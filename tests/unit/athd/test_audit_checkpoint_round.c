/* When a checkpoint is due. */
#include "tests/support/support.h"

#include "athd/athd.h"
#include "athd/audit_checkpoint_round.h"
#include "athd/audit_log_private.h"

#define MANY 65536u

static struct config config;
static struct athd athd;
static struct audit_log audit_log;
static struct audit_checkpoints checkpoints;

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
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    audit_retention_free(checkpoints.retention);
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

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_after_so_many_records_one_comes_by_itself),
        TEST(test_where_nothing_was_written_none_is_due),
        TEST(test_whoever_wants_one_has_one),
        TEST(test_a_log_without_a_checkpoint_that_counts_wants_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
