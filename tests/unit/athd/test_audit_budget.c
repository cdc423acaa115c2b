/* The audit log of a machine's athd: how much of it one uid may write. */
#include "fixture_stores.h"

#include <string.h>

#include "athd/audit_log.h"
#include "athd/audit_record.h"
#include "athd/caller.h"
#include "rpc/methods.h"

#define DAY_S 86400
#define BYTES 86400000 /* a day: 1,000 in a second */
#define KEPT (BYTES / 8)
#define ALICE 7u
#define BOB 8u

static struct stores stores;
static struct caller caller = {.references = 1, .pid = 1};
static int64_t retry_after_s; /* of the last refusal */
static char message[sizeof(((struct why *)0)->text)];

static void
init(bool is_system, int64_t bytes)
{
    audit_budget_done(&stores.athd.audit_budget);
    stores.config.is_system = is_system;
    stores.config.audit.uid_bytes_per_day = bytes;
    assert_int_equal(audit_budget_init(&stores.athd.audit_budget, &stores.athd), ATH_OK);
}

static int
setup(void **state)
{
    (void)state;
    fake_clock_set(1000);
    stores_begin(&stores);
    assert_int_equal(audit_flood_init(&stores.athd.flood, &stores.athd), ATH_OK);
    init(true, BYTES);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    audit_flood_close(&stores.athd.flood);
    stores_end(&stores);
    audit_budget_done(&stores.athd.audit_budget);
    fake_clock_set(0);
    return 0;
}

static ath_err
call(uid_t uid, enum rpc_method_id method)
{
    struct tenant tenant = {.athd = &stores.athd, .uid = uid};
    struct request request = {
        .athd = &stores.athd, .tenant = &tenant, .caller = &caller, .method = method_at(method)};
    struct json *data = NULL;
    struct why why = {{0}};
    ath_err err = audit_budget_admits(&request, &why, &data);

    caller.uid = uid;
    retry_after_s = 0;
    if (err == ATH_OK) {
        assert_null(data);
        return ATH_OK;
    }
    assert_true(json_get_int(data, "retry_after", &retry_after_s));
    json_free(data);
    (void)snprintf(message, sizeof(message), "%s", why.text);
    assert_int_equal(tenant.counters.denials, 1);
    return err;
}

/* The record of a refusal is one of its uid's: this minute there is none any more. */
static void
spend_refusal(uid_t uid)
{
    assert_true(audit_flood_admits_few(&stores.athd.flood, "audit_budget_spent", uid, 1));
}

/* As records of at most 1,000 bytes, which are what a second brings back. */
static void
charge(uid_t uid, uint64_t bytes)
{
    for (; bytes > 1000; bytes -= 1000)
        audit_budget_charge(&stores.athd.audit_budget, uid, 1000);
    audit_budget_charge(&stores.athd.audit_budget, uid, (size_t)bytes);
}

static void
test_who_has_had_seven_eighths_is_refused_and_told_when_to_come_again(void **state)
{
    (void)state;
    spend_refusal(ALICE);
    charge(ALICE, BYTES - KEPT - 1);
    assert_int_equal(call(ALICE, RPC_ATTESTATION_CREATE), ATH_OK);
    charge(ALICE, 1);
    assert_int_equal(call(ALICE, RPC_ATTESTATION_CREATE), ATH_ERR_RATE_LIMITED);
    assert_int_equal(retry_after_s, 1);
    charge(ALICE, 9999);
    assert_int_equal(call(ALICE, RPC_ATTESTATION_CREATE), ATH_ERR_RATE_LIMITED);
    assert_int_equal(retry_after_s, 10);
    assert_non_null(strstr(message, "uid 7 "));
    assert_non_null(strstr(message, "uid_bytes_per_day"));
    assert_non_null(strstr(message, "again in 10 s"));
    fake_clock_move(9);
    assert_int_equal(call(ALICE, RPC_ATTESTATION_CREATE), ATH_ERR_RATE_LIMITED);
    fake_clock_move(1);
    assert_int_equal(call(ALICE, RPC_ATTESTATION_CREATE), ATH_OK);
}

/* Its record is part of what it waits for. */
static void
test_who_comes_when_it_was_told_is_served(void **state)
{
    (void)state;
    charge(ALICE, BYTES - KEPT + 999);
    assert_int_equal(call(ALICE, RPC_ATTESTATION_CREATE), ATH_ERR_RATE_LIMITED);
    assert_int_equal(retry_after_s, 2);
    fake_clock_move(2);
    assert_int_equal(call(ALICE, RPC_ATTESTATION_CREATE), ATH_OK);
}

static void
test_what_takes_away_has_the_last_eighth(void **state)
{
    static const enum rpc_method_id methods[] = {
        RPC_POLICY_FREEZE, RPC_GRANT_REVOKE, RPC_AGENT_LOCK, RPC_AGENT_UNLOCK, RPC_CONSENT_ANSWER};

    (void)state;
    spend_refusal(ALICE);
    charge(ALICE, BYTES - 1);
    assert_int_equal(call(ALICE, RPC_KEY_CREATE), ATH_ERR_RATE_LIMITED);
    assert_int_equal(retry_after_s, KEPT / 1000);
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
        assert_int_equal(call(ALICE, methods[i]), ATH_OK);
    charge(ALICE, 1);
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
        assert_int_equal(call(ALICE, methods[i]), ATH_ERR_RATE_LIMITED);
    fake_clock_move(1);
    assert_int_equal(call(ALICE, RPC_POLICY_FREEZE), ATH_OK);
}

/* docs/audit-events.md: what only reads has no record. */
static void
test_what_has_no_record_always_may(void **state)
{
    static const char free[] = " agent.hello agent.status events.subscribe key.list key.get "
                               "handshake.list service.list credential.list session.list peer.list "
                               "policy.check policy.show grant.list consent.list audit.query "
                               "audit.checkpoint audit.proof audit.consistency ";
    char name[64];

    (void)state;
    charge(ALICE, 2 * (uint64_t)BYTES);
    for (size_t i = 0; i < RPC_METHOD_COUNT; i++) {
        enum rpc_method_id method = (enum rpc_method_id)i;

        (void)snprintf(name, sizeof(name), " %s ", method_at(method)->name);
        if ((call(ALICE, method) == ATH_OK) != (strstr(free, name) != NULL))
            fail_msg("%s", name);
    }
}

/* Two tables' lengths apart they would have the same place. */
static void
test_nobody_pays_for_another(void **state)
{
    uid_t same_place = ALICE + 2 * TENANTS_MAX, wraps = 2 * TENANTS_MAX - 1;

    (void)state;
    charge(ALICE, BYTES);
    charge(wraps, BYTES);
    assert_int_equal(call(BOB, RPC_KEY_CREATE), ATH_OK);
    assert_int_equal(call(same_place, RPC_KEY_CREATE), ATH_OK);
    charge(same_place, 1);
    charge(BOB, 1);
    assert_int_equal(call(same_place, RPC_KEY_CREATE), ATH_OK);
    assert_int_equal(call(BOB, RPC_KEY_CREATE), ATH_OK);
    charge(wraps + 2 * TENANTS_MAX, 1);
    assert_int_equal(call(wraps + 2 * TENANTS_MAX, RPC_KEY_CREATE), ATH_OK);
    assert_int_equal(call(wraps, RPC_KEY_CREATE), ATH_ERR_RATE_LIMITED);
    assert_int_equal(call(ALICE, RPC_KEY_CREATE), ATH_ERR_RATE_LIMITED);
}

static void
test_who_was_quiet_for_long_has_one_day_and_not_two(void **state)
{
    (void)state;
    charge(ALICE, 1);
    fake_clock_move(10 * DAY_S);
    charge(ALICE, BYTES - KEPT);
    assert_int_equal(call(ALICE, RPC_KEY_CREATE), ATH_ERR_RATE_LIMITED);
}

static void
test_an_athd_of_one_user_and_zero_have_no_limit(void **state)
{
    (void)state;
    init(false, BYTES);
    charge(ALICE, 2 * (uint64_t)BYTES);
    assert_int_equal(call(ALICE, RPC_KEY_CREATE), ATH_OK);
    init(true, 0);
    charge(ALICE, 2 * (uint64_t)BYTES);
    assert_int_equal(call(ALICE, RPC_KEY_CREATE), ATH_OK);
}

/* ---- records ---- */

static void
append(const struct tenant *owner)
{
    struct json_maker record;
    char padding[991];

    memset(padding, 'x', sizeof(padding) - 1);
    padding[sizeof(padding) - 1] = '\0';
    audit_record_begin(&record, "athd_started", NULL);
    if (owner != NULL)
        audit_record_put_owner(&record, owner);
    json_put_string(&record, "pad", padding);
    audit_record_note(&stores.athd, &record);
}

/* Never less than what is on disk, and little more. */
static void
test_records_are_paid_by_their_owner(void **state)
{
    struct tenant alice = {.athd = &stores.athd, .uid = ALICE};
    const uint64_t len = strlen("{\"index\":0,\"timestamp\":\"2026-01-02T03:04:05.678Z\","
                                "\"event\":\"athd_started\",\"owner\":7,\"pad\":\"\"}\n") +
                         990;

    (void)state;
    spend_refusal(ALICE);
    charge(ALICE, BYTES - KEPT - len - 40);
    append(NULL);
    append(&alice);
    assert_int_equal(call(ALICE, RPC_KEY_CREATE), ATH_OK);
    charge(ALICE, 40);
    assert_int_equal(call(ALICE, RPC_KEY_CREATE), ATH_ERR_RATE_LIMITED);
}

static void
test_refusals_are_on_record_once_a_minute_and_counted(void **state)
{
    char line[512];
    FILE *file;

    (void)state;
    charge(ALICE, BYTES);
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(call(ALICE, RPC_KEY_CREATE), ATH_ERR_RATE_LIMITED);
    fake_clock_move(AUDIT_FLOOD_WINDOW_MS / 1000);
    stores_fire_timer(&stores, &stores.athd.flood);
    while (audit_log_size(stores.athd.audit) < 2 && uv_run(&stores.loop, UV_RUN_ONCE) != 0)
        ;
    assert_int_equal(audit_log_size(stores.athd.audit), 2);
    assert_non_null(file = fopen(stores_path(&stores, "audit/00000001.jsonl"), "r"));
    assert_non_null(fgets(line, sizeof(line), file));
    assert_non_null(strstr(line, "\"event\":\"audit_budget_spent\",\"owner\":7,"));
    assert_non_null(strstr(line, "\"method\":\"key.create\",\"denial_reason\":\"RATE_LIMITED\"}"));
    assert_non_null(fgets(line, sizeof(line), file));
    assert_non_null(strstr(line, "\"of\":\"audit_budget_spent\",\"uid\":7,\"owner\":7,"
                                 "\"count\":999,"));
    (void)fclose(file);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_who_has_had_seven_eighths_is_refused_and_told_when_to_come_again),
        TEST(test_who_comes_when_it_was_told_is_served),
        TEST(test_what_takes_away_has_the_last_eighth),
        TEST(test_what_has_no_record_always_may),
        TEST(test_nobody_pays_for_another),
        TEST(test_who_was_quiet_for_long_has_one_day_and_not_two),
        TEST(test_an_athd_of_one_user_and_zero_have_no_limit),
        TEST(test_records_are_paid_by_their_owner),
        TEST(test_refusals_are_on_record_once_a_minute_and_counted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
