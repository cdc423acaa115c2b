/* Refusals that strangers cause: some have a record each, the others one together. */
#include "fixture_stores.h"

#include <stdio.h>

#include "athd/audit_flood.h"
#include "athd/audit_log.h"

static struct stores stores;

static int
setup(void **state)
{
    (void)state;
    fake_clock_set(1000);
    stores_begin(&stores);
    assert_int_equal(audit_flood_init(&stores.athd.flood, &stores.athd), ATH_OK);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    audit_flood_close(&stores.athd.flood);
    stores_end(&stores);
    fake_clock_set(0);
    return 0;
}

static unsigned
admitted(const char *event, uid_t uid, unsigned tries)
{
    unsigned count = 0;

    for (unsigned i = 0; i < tries; i++)
        count += audit_flood_admits(&stores.athd.flood, event, uid);
    return count;
}

/* The log's text once `count` records are in it; the caller frees it. */
static char *
log_with(uint64_t count)
{
    struct ath_buf text = {0};
    FILE *file;
    int c;

    while (audit_log_size(stores.athd.audit) < count && uv_run(&stores.loop, UV_RUN_ONCE) != 0)
        ;
    assert_int_equal(audit_log_size(stores.athd.audit), count);
    assert_non_null(file = fopen(stores_path(&stores, "audit/00000001.jsonl"), "r"));
    while ((c = fgetc(file)) != EOF)
        ath_buf_put_byte(&text, (uint8_t)c);
    (void)fclose(file);
    assert_non_null(ath_buf_text(&text));
    return (char *)text.data;
}

static void
test_a_flood_is_counted_and_recorded_once(void **state)
{
    char *text;

    (void)state;
    assert_int_equal(admitted("policy_denied", 7, 100000), AUDIT_FLOOD_SINGLES);
    fake_clock_move(AUDIT_FLOOD_WINDOW_MS / 1000);
    stores_fire_timer(&stores, &stores.athd.flood);
    text = log_with(1);
    assert_non_null(strstr(text,
                           "\"event\":\"more_of_the_same\",\"of\":\"policy_denied\",\"uid\":7,"
                           "\"count\":99980,\"since\":\""));
    free(text);
    assert_int_equal(admitted("policy_denied", 7, 1), 1);
}

static void
test_few_have_a_record_each_and_nothing_more(void **state)
{
    (void)state;
    assert_int_equal(admitted("policy_denied", 7, AUDIT_FLOOD_SINGLES), AUDIT_FLOOD_SINGLES);
    fake_clock_move(AUDIT_FLOOD_WINDOW_MS / 1000);
    stores_fire_timer(&stores, &stores.athd.flood);
    assert_int_equal(audit_log_size(stores.athd.audit), 0);
}

static void
test_one_stranger_does_not_hide_another_or_another_kind(void **state)
{
    (void)state;
    (void)admitted("policy_denied", 7, 1000);
    assert_int_equal(admitted("policy_denied", 8, 1), 1);
    assert_int_equal(admitted("connection_refused", 7, 1), 1);
}

static void
test_a_new_minute_settles_the_old_one_without_the_timer(void **state)
{
    char *text;

    (void)state;
    (void)admitted("policy_denied", 7, 25);
    fake_clock_move(AUDIT_FLOOD_WINDOW_MS / 1000);
    assert_int_equal(admitted("policy_denied", 7, 25), AUDIT_FLOOD_SINGLES);
    text = log_with(1);
    assert_non_null(strstr(text, "\"count\":5,"));
    free(text);
}

static void
test_more_kinds_than_places_share_the_last_one(void **state)
{
    char *text;

    (void)state;
    for (uid_t uid = 0; uid < AUDIT_FLOOD_KINDS - 1; uid++)
        assert_int_equal(admitted("policy_denied", uid, 1), 1);
    assert_int_equal(admitted("policy_denied", 1000, 15), 15);
    assert_int_equal(admitted("policy_denied", 1001, 15), AUDIT_FLOOD_SINGLES - 15);
    fake_clock_move(AUDIT_FLOOD_WINDOW_MS / 1000);
    stores_fire_timer(&stores, &stores.athd.flood);
    text = log_with(1);
    assert_non_null(strstr(text, "\"of\":\"others\",\"count\":10,"));
    free(text);
}

static void
test_what_is_counted_is_recorded_at_the_end(void **state)
{
    char *text;

    (void)state;
    (void)admitted("policy_denied", 7, 30);
    audit_flood_close(&stores.athd.flood);
    text = log_with(1);
    assert_non_null(strstr(text, "\"count\":10,"));
    free(text);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_flood_is_counted_and_recorded_once),
        TEST(test_few_have_a_record_each_and_nothing_more),
        TEST(test_one_stranger_does_not_hide_another_or_another_kind),
        TEST(test_a_new_minute_settles_the_old_one_without_the_timer),
        TEST(test_more_kinds_than_places_share_the_last_one),
        TEST(test_what_is_counted_is_recorded_at_the_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
