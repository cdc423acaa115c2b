/* The wall clock's jumps, told from its drift and from sleep. */
#include "fixture_stores.h"

#include <stdio.h>

#include "athd/audit_log.h"
#include "athd/clock_watch.h"

static void
test_first_look_only_remembers(void **state)
{
    struct clock_watch watch = {0};

    (void)state;
    assert_true(clock_watch_jump(&watch, 1700000000000, 5000) == 0);
}

static void
test_jump_is_told_once_with_its_direction(void **state)
{
    struct clock_watch watch = {0};

    (void)state;
    (void)clock_watch_jump(&watch, 1000000, 1000);
    assert_true(clock_watch_jump(&watch, 1000000 + 10 + 3600000, 1010) == 3600000);
    assert_true(clock_watch_jump(&watch, 1000000 + 20 + 3600000, 1020) == 0);
    assert_true(clock_watch_jump(&watch, 1000000 + 30, 1030) == -3600000);
}

static void
test_two_seconds_are_no_jump_and_more_are(void **state)
{
    struct clock_watch watch = {0};

    (void)state;
    (void)clock_watch_jump(&watch, 100000, 1000);
    assert_true(clock_watch_jump(&watch, 102000, 1000) == 0);
    assert_true(clock_watch_jump(&watch, 104001, 1000) == 2001);
    assert_true(clock_watch_jump(&watch, 102001, 1000) == 0);
    assert_true(clock_watch_jump(&watch, 100000, 1000) == -2001);
}

/* CLOCK_BOOTTIME goes on while the machine sleeps. */
static void
test_sleep_and_slow_drift_are_no_jump(void **state)
{
    struct clock_watch watch = {0};
    int64_t real = 100000, boot = 1000;

    (void)state;
    (void)clock_watch_jump(&watch, real, boot);
    assert_true(clock_watch_jump(&watch, real + 86400000, boot + 86400000) == 0);
    for (int i = 0; i < 1000; i++) {
        real += 60030;
        boot += 60000;
        assert_true(i == 0 || clock_watch_jump(&watch, real + 86400000, boot + 86400000) == 0);
    }
}

/* As if the clock had been an hour behind at the last look. */
static void
test_jump_is_on_record_once(void **state)
{
    static struct stores stores;
    struct clock_watch *watch = &stores.athd.clock;
    char line[512] = "";
    const char *by_ms;
    FILE *file;

    (void)state;
    stores_begin(&stores);
    assert_int_equal(clock_watch_init(watch, &stores.athd), ATH_OK);
    clock_watch_look(watch);
    watch->offset_ms -= 3600000;
    stores_fire_timer(&stores, watch);
    clock_watch_look(watch);
    clock_watch_close(watch);
    clock_watch_look(watch); /* nothing any more */
    while (audit_log_size(stores.athd.audit) < 1 && uv_run(&stores.loop, UV_RUN_ONCE) != 0)
        ;
    assert_int_equal(audit_log_size(stores.athd.audit), 1);
    assert_non_null(file = fopen(stores_path(&stores, "audit/00000001.jsonl"), "r"));
    assert_non_null(fgets(line, sizeof(line), file));
    (void)fclose(file);
    assert_non_null(by_ms = strstr(line, "\"event\":\"clock_jump\",\"by_ms\":"));
    by_ms += strlen("\"event\":\"clock_jump\",\"by_ms\":");
    assert_in_range(strtol(by_ms, NULL, 10), 3598000, 3602000);
    stores_end(&stores);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_jump_is_on_record_once),
        cmocka_unit_test(test_first_look_only_remembers),
        cmocka_unit_test(test_jump_is_told_once_with_its_direction),
        cmocka_unit_test(test_two_seconds_are_no_jump_and_more_are),
        cmocka_unit_test(test_sleep_and_slow_drift_are_no_jump),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
