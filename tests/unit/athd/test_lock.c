#include "fixture_daemon.h"

#include <sched.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "athd/lock.h"
#include "athd/lock_watch_line.h"
#include "base/clock.h"
#include "base/file.h"

static const char good[] =
    "{\"version\":1,\"by\":[\"passphrase\",\"suspend\"],\"since\":17,\"scrypt\":{\"n\":32768,\"r\":"
    "8,"
    "\"p\":3,\"salt\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\","
    "\"hash\":\"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE\"},\"wrong\":3,\"failed_at\":19}";
static const char session[] =
    "{\"version\":1,\"by\":[\"session\"],\"since\":17,\"wrong\":0,\"failed_at\":0}";

/* ---- the file ---- */

static ath_err
decode(const char *text, struct lock_record *record)
{
    struct why why = {{0}};
    ath_err err = lock_record_decode(ath_slice_of_string(text), &why, record);

    if (err == ATH_ERR_PARSE)
        assert_int_not_equal(why.text[0], '\0');
    return err;
}

static void
test_record_survives_its_file(void **state)
{
    struct lock_record record = {0}, again = {0};
    struct ath_buf text = {.max = LOCK_FILE_MAX};

    (void)state;
    assert_int_equal(decode(good, &record), ATH_OK);
    assert_int_equal(record.reasons, LOCK_BY_PASSPHRASE | LOCK_BY_SUSPEND);
    assert_int_equal(record.since, 17);
    assert_int_equal(record.wrong, 3);
    assert_int_equal(record.failed_at, 19);
    assert_int_equal(record.verifier.cost.n, 32768);
    assert_int_equal(record.verifier.hash[31], 1);
    lock_record_encode(&record, &text);
    assert_int_equal(text.err, ATH_OK);
    assert_int_equal(lock_record_decode(ath_buf_slice(&text), NULL, &again), ATH_OK);
    assert_memory_equal(&again, &record, sizeof(record));
    ath_buf_done(&text);
    assert_int_equal(decode(session, &record), ATH_OK);
    assert_int_equal(record.reasons, LOCK_BY_SESSION);
}

/* `good` with its first `what` replaced. */
static const char *
changed(const char *what, const char *by)
{
    static char text[1024];
    const char *at = strstr(good, what);

    assert_non_null(at);
    (void)snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - good), good, by, at + strlen(what));
    return text;
}

static void
test_what_athd_does_not_write_is_no_record(void **state)
{
    static const char *const changes[][2] = {
        {"\"version\":1", "\"version\":2"},
        {"\"version\":1,", ""},
        {"\"passphrase\",\"suspend\"", ""},
        {"\"suspend\"", "\"damage\""},
        {"\"suspend\"", "\"passphrase\""},
        {"\"suspend\"", "1"},
        {"[\"passphrase\",\"suspend\"]", "\"passphrase\""},
        {"\"passphrase\",", ""},
        {"\"since\":17", "\"since\":-1"},
        {"\"since\":17", "\"since\":\"17\""},
        {"32768", "32767"},
        {"32768", "1"},
        {"32768", "4294967296"},
        {"32768", "1048576"},
        {"\"r\":8", "\"r\":0"},
        {"\"r\":8", "\"r\":17"},
        {"\"p\":3", "\"p\":17"},
        {"\"p\":3", "\"p\":3,\"q\":1"},
        {"AAAA\"", "\""},
        {"AQE\"", "AQEAAAA\""},
        {"AQE\"", "AQ==\""},
        {"\"wrong\":3", "\"wrong\":1000001"},
        {"\"wrong\":3", "\"wrong\":-1"},
        {"\"failed_at\":19", "\"failed_at\":-19"},
        {"\"failed_at\":19", "\"failed_at\":19,\"more\":1"},
        {",\"failed_at\":19", ""},
        {"{\"version\"", "[{\"version\""},
    };
    struct lock_record record;

    (void)state;
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++)
        if (decode(changed(changes[i][0], changes[i][1]), &record) != ATH_ERR_PARSE)
            fail_msg("%s instead of %s is taken", changes[i][1], changes[i][0]);
    assert_int_equal(decode("", &record), ATH_ERR_PARSE);
    assert_int_equal(decode("null", &record), ATH_ERR_PARSE);
}

static ath_err
decode_good(void *ctx)
{
    struct lock_record record;

    (void)ctx;
    return lock_record_decode(ath_slice_of_string(good), NULL, &record);
}

static void
test_record_without_memory_is_an_error(void **state)
{
    (void)state;
    each_allocation_failing(decode_good, NULL);
}

/* ---- what the watcher says ---- */

static void
test_lines_of_the_watcher_have_one_form(void **state)
{
    static const char *const bad[] = {
        "",        "lock",    "lock ",    "lock  1",         "lock 01",   "lock -1",
        "lock +1", "lock 1 ", "lock 1\r", "lock 1a",         "LOCK 1",    "unlock",
        "sleep ",  "sleep 1", " wake",    "lock 4294967295", "watching.", "unlock 12345678901"};
    enum lock_watch_event event = LOCK_WATCH_READY;
    uid_t uid = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (lock_watch_line_decode(ath_slice_of_string(bad[i]), &event, &uid) != ATH_ERR_PARSE)
            fail_msg("\"%s\" is taken", bad[i]);
    assert_int_equal(lock_watch_line_decode(ath_slice_of("lock 1\0", 7), &event, &uid),
                     ATH_ERR_PARSE);
    assert_int_equal(lock_watch_line_decode(ath_slice_of_string("sleep"), &event, &uid), ATH_OK);
    assert_int_equal(event, LOCK_WATCH_SLEEP);
    assert_int_equal(lock_watch_line_decode(ath_slice_of_string("unlock 0"), &event, &uid), ATH_OK);
    assert_int_equal(event, LOCK_WATCH_UNLOCK);
    assert_int_equal(uid, 0);
    assert_int_equal(lock_watch_line_decode(ath_slice_of_string("lock 4294967294"), &event, &uid),
                     ATH_OK);
    assert_int_equal(event, LOCK_WATCH_LOCK);
    assert_true(uid == 4294967294u);
}

/* ---- the gate ---- */

static void
test_every_method_is_classified(void **state)
{
    (void)state;
    for (int i = 0; i < RPC_METHOD_COUNT; i++) {
        const char *name = method_at((enum rpc_method_id)i)->name;

        if (lock_class_of(name) == LOCK_UNKNOWN)
            fail_msg("%s is not in the table of lock_gate.c", name);
    }
}

static void
test_whatever_signs_is_closed(void **state)
{
    (void)state;
    for (int i = 0; i < RPC_METHOD_COUNT; i++)
        if (policy_method_signs((enum rpc_method_id)i))
            assert_int_equal(lock_class_of(method_at((enum rpc_method_id)i)->name), LOCK_CLOSED);
    assert_int_equal(lock_class_of("no.such"), LOCK_UNKNOWN);
}

static struct fixture fixture;

static struct lock *
lock_now(void)
{
    return fixture.tenant->lock;
}

static void
test_unknown_method_is_closed(void **state)
{
    struct rpc_method unknown = {.name = "no.such"};
    struct request *request;
    struct why why = {{0}};

    (void)state;
    fixture_begin(&fixture, NULL);
    request = fixture_request(&fixture, RPC_KEY_LIST);
    assert_non_null(request);
    request->method = &unknown;
    assert_int_equal(lock_admits(request, &why), ATH_OK);
    lock_add(lock_now(), LOCK_BY_SESSION, NULL, NULL);
    assert_int_equal(lock_admits(request, &why), ATH_ERR_AGENT_LOCKED);
    assert_int_not_equal(why.text[0], '\0');
    request_fail(request, ATH_ERR_INTERNAL, NULL);
    fixture_end(&fixture);
}

/* ---- locking and unlocking ---- */

struct told {
    int times;
    ath_err err;
};

static void
on_told(void *ctx, ath_err err, const struct why *why)
{
    struct told *told = ctx;

    (void)why;
    told->times++;
    told->err = err;
}

static void
end_reasons(unsigned reasons, uint64_t seen, ath_err expected)
{
    struct told told = {0};

    lock_end(lock_now(), reasons, seen, NULL, on_told, &told);
    assert_int_equal(told.times, 0);
    fixture_run_until(&fixture, &told.times, 1);
    assert_int_equal(told.err, expected);
}

static void
add_reason(enum lock_reason reason)
{
    struct told told = {0};

    lock_add(lock_now(), reason, on_told, &told);
    assert_true((lock_reasons(lock_now()) & (unsigned)reason) != 0); /* from now on */
    assert_int_equal(told.times, 0);
    fixture_run_until(&fixture, &told.times, 1);
    assert_int_equal(told.err, ATH_OK);
}

static unsigned
reasons_on_disk(void)
{
    struct lock_record record = {0};
    struct ath_buf text = {.max = LOCK_FILE_MAX};
    ath_err err = file_read(fixture_path(&fixture, LOCK_FILE_NAME), &text, NULL);

    if (err == ATH_OK)
        err = lock_record_decode(ath_buf_slice(&text), NULL, &record);
    assert_true(err == ATH_OK || err == ATH_ERR_NOT_FOUND);
    ath_buf_done(&text);
    return record.reasons;
}

static void
test_reasons_end_one_by_one_and_the_file_with_the_last(void **state)
{
    (void)state;
    fixture_begin(&fixture, NULL);
    assert_int_equal(lock_reasons(lock_now()), 0);
    add_reason(LOCK_BY_SESSION);
    add_reason(LOCK_BY_SUSPEND);
    assert_int_equal(reasons_on_disk(), LOCK_BY_SESSION | LOCK_BY_SUSPEND);
    end_reasons(LOCK_BY_SESSION, lock_count(lock_now()), ATH_OK);
    assert_int_equal(lock_reasons(lock_now()), LOCK_BY_SUSPEND);
    assert_int_equal(reasons_on_disk(), LOCK_BY_SUSPEND);
    end_reasons(LOCK_BY_SESSION | LOCK_BY_SUSPEND, lock_count(lock_now()), ATH_OK);
    assert_int_equal(lock_reasons(lock_now()), 0);
    assert_int_equal(reasons_on_disk(), 0);
    fixture_end(&fixture);
}

static void
test_lock_that_comes_while_unlocking_stays(void **state)
{
    struct told told = {0};
    uint64_t seen;

    (void)state;
    fixture_begin(&fixture, NULL);
    add_reason(LOCK_BY_SESSION);
    seen = lock_count(lock_now());
    lock_end(lock_now(), LOCK_BY_SESSION, seen, NULL, on_told, &told);
    lock_add(lock_now(), LOCK_BY_SESSION, NULL, NULL); /* the same one, while the file is removed */
    fixture_run_until(&fixture, &told.times, 1);
    assert_int_equal(told.err, ATH_ERR_AGENT_LOCKED);
    assert_int_equal(lock_reasons(lock_now()), LOCK_BY_SESSION);
    add_reason(LOCK_BY_SUSPEND); /* its file comes after all others */
    assert_int_equal(reasons_on_disk(), LOCK_BY_SESSION | LOCK_BY_SUSPEND);
    end_reasons(LOCK_BY_SESSION, seen, ATH_ERR_AGENT_LOCKED); /* who had not seen it */
    fixture_end(&fixture);
}

static void
test_passphrase_and_other_reasons_that_cross_are_all_on_disk(void **state)
{
    const struct lock_verifier verifier = {.cost = {32768, 8, 3}, .hash = {7}};
    struct told kept = {0}, ended = {0};

    (void)state;
    fixture_begin(&fixture, NULL);
    add_reason(LOCK_BY_SESSION);
    lock_end(lock_now(), LOCK_BY_SESSION, lock_count(lock_now()), NULL, on_told, &ended);
    assert_int_equal(lock_with_passphrase(lock_now(), &verifier, NULL, on_told, &kept), ATH_OK);
    fixture_run_until(&fixture, &kept.times, 1);
    assert_int_equal(ended.times, 1);
    assert_int_equal(kept.err, ATH_OK);
    assert_true((lock_reasons(lock_now()) & LOCK_BY_PASSPHRASE) != 0);
    assert_int_equal(lock_verifier(lock_now())->hash[0], 7);
    add_reason(LOCK_BY_SUSPEND);
    assert_int_equal(reasons_on_disk(), lock_reasons(lock_now()));
    assert_int_equal(lock_with_passphrase(lock_now(), &verifier, NULL, on_told, &kept),
                     ATH_ERR_EXISTS);
    fixture_end(&fixture);
}

/* Until nothing is to be written any more. */
static void
settle(void)
{
    while (!store_queue_is_empty(&fixture.athd.stores))
        fixture_turn(&fixture);
}

static void
test_file_says_what_holds_when_unlocking_crosses_itself(void **state)
{
    const struct lock_verifier verifier = {.cost = {32768, 8, 3}};
    struct told first = {0}, second = {0}, kept = {0};

    (void)state;
    fixture_begin(&fixture, NULL);
    add_reason(LOCK_BY_SESSION);
    lock_end(lock_now(), LOCK_BY_SESSION, lock_count(lock_now()), NULL, on_told, &first);
    lock_add(lock_now(), LOCK_BY_SESSION, NULL, NULL);
    lock_end(lock_now(), LOCK_BY_SESSION, lock_count(lock_now()), NULL, on_told, &second);
    settle();
    assert_int_equal(first.err, ATH_ERR_AGENT_LOCKED);
    assert_int_equal(second.err, ATH_OK);
    assert_int_equal(lock_reasons(lock_now()), 0);
    assert_int_equal(reasons_on_disk(), 0);

    assert_int_equal(lock_with_passphrase(lock_now(), &verifier, NULL, on_told, &kept), ATH_OK);
    fixture_run_until(&fixture, &kept.times, 1);
    add_reason(LOCK_BY_SESSION);
    lock_end(lock_now(), LOCK_BY_SESSION | LOCK_BY_PASSPHRASE, lock_count(lock_now()), NULL, NULL,
             NULL);
    lock_end(lock_now(), LOCK_BY_SESSION, lock_count(lock_now()), NULL, NULL, NULL);
    settle();
    assert_int_equal(lock_reasons(lock_now()), 0);
    assert_int_equal(reasons_on_disk(), 0);
    fixture_end(&fixture);
}

/* A user's own programs can make logind say so as often as they like, faster than a disk writes. */
static void
test_session_that_flaps_piles_no_writes_up(void **state)
{
    (void)state;
    fixture_begin(&fixture, NULL);
    for (int i = 0; i < 1000; i++) {
        lock_add(lock_now(), LOCK_BY_SESSION, NULL, NULL);
        lock_end(lock_now(), LOCK_BY_SESSION, lock_count(lock_now()), NULL, NULL, NULL);
    }
    assert_true(fixture.athd.stores.len < 8);
    settle();
    assert_int_equal(lock_reasons(lock_now()), 0);
    assert_int_equal(reasons_on_disk(), 0);
    for (int i = 0; i < 1000; i++) {
        lock_end(lock_now(), LOCK_BY_SESSION, lock_count(lock_now()), NULL, NULL, NULL);
        lock_add(lock_now(), LOCK_BY_SESSION, NULL, NULL);
    }
    assert_true(fixture.athd.stores.len < 8);
    settle();
    assert_int_equal(lock_reasons(lock_now()), LOCK_BY_SESSION);
    assert_int_equal(reasons_on_disk(), LOCK_BY_SESSION);
    fixture_end(&fixture);
}

static void
test_nobody_is_told_of_a_lock_before_it_is_on_disk_whatever_crosses_it(void **state)
{
    const struct lock_verifier verifier = {.cost = {32768, 8, 3}};
    struct told kept = {0}, slept = {0};

    (void)state;
    fixture_begin(&fixture, NULL);
    assert_int_equal(lock_with_passphrase(lock_now(), &verifier, NULL, on_told, &kept), ATH_OK);
    lock_add(lock_now(), LOCK_BY_SUSPEND, on_told, &slept); /* knows of no passphrase yet */
    fixture_run_until(&fixture, &slept.times, 1);
    assert_int_equal(kept.times, 0);
    fixture_run_until(&fixture, &kept.times, 1);
    assert_int_equal(kept.err, ATH_OK);
    assert_int_equal(reasons_on_disk(), LOCK_BY_PASSPHRASE | LOCK_BY_SUSPEND);

    lock_end(lock_now(), LOCK_BY_SUSPEND | LOCK_BY_PASSPHRASE, lock_count(lock_now()), NULL, NULL,
             NULL);
    while (reasons_on_disk() != 0) /* a thread removes it; the loop has not heard of that */
        assert_int_equal(sched_yield(), 0);
    slept.times = 0;
    lock_add(lock_now(), LOCK_BY_SUSPEND, on_told, &slept);
    fixture_run_until(&fixture, &slept.times, 1);
    assert_int_equal(reasons_on_disk(), LOCK_BY_PASSPHRASE | LOCK_BY_SUSPEND);
    settle();
    assert_int_equal(reasons_on_disk(), lock_reasons(lock_now()));
    fixture_end(&fixture);
}

static void
test_try_that_crosses_an_unlocked_session_stays_counted(void **state)
{
    const struct lock_verifier verifier = {.cost = {32768, 8, 3}};
    struct told told = {0}, ended = {0}, again = {0};
    char *text;

    (void)state;
    fixture_begin(&fixture, NULL);
    fake_clock_set(1800000000);
    assert_int_equal(lock_with_passphrase(lock_now(), &verifier, NULL, on_told, &told), ATH_OK);
    fixture_run_until(&fixture, &told.times, 1);
    add_reason(LOCK_BY_SESSION);
    told.times = 0;
    for (int i = 0; i < 3; i++)
        lock_count_try(lock_now(), NULL, NULL);
    lock_end(lock_now(), LOCK_BY_SESSION, lock_count(lock_now()), NULL, on_told, &ended);
    lock_end(lock_now(), LOCK_BY_SESSION, lock_count(lock_now()), NULL, on_told, &again);
    lock_count_try(lock_now(), on_told, &told);
    fixture_run_until(&fixture, &told.times, 1);
    fixture_run_until(&fixture, &ended.times, 1);
    fixture_run_until(&fixture, &again.times, 1);
    assert_int_equal(lock_reasons(lock_now()), LOCK_BY_PASSPHRASE);
    assert_int_equal(lock_wait_s(lock_now()), 30); /* the fourth's pause */
    add_reason(LOCK_BY_SUSPEND);
    assert_int_equal(reasons_on_disk(), LOCK_BY_PASSPHRASE | LOCK_BY_SUSPEND);
    text = fixture_read(&fixture, LOCK_FILE_NAME);
    assert_non_null(strstr(text, "\"wrong\": 4"));
    free(text);
    fixture_end(&fixture);
}

static void
test_disk_that_fails_neither_locks_by_passphrase_nor_unlocks(void **state)
{
    const struct lock_verifier verifier = {.cost = {32768, 8, 3}};
    struct told told = {0};

    (void)state;
    fixture_begin(&fixture, NULL);
    add_reason(LOCK_BY_SESSION);
    assert_int_equal(unlink(fixture_path(&fixture, LOCK_FILE_NAME)), 0);
    assert_int_equal(mkdir(fixture_path(&fixture, LOCK_FILE_NAME), 0700), 0);
    assert_int_equal(lock_with_passphrase(lock_now(), &verifier, NULL, on_told, &told), ATH_OK);
    fixture_run_until(&fixture, &told.times, 1);
    assert_int_equal(told.err, ATH_ERR_IO);
    assert_int_equal(lock_reasons(lock_now()), LOCK_BY_SESSION);
    end_reasons(LOCK_BY_SESSION, lock_count(lock_now()), ATH_ERR_IO);
    assert_int_equal(lock_reasons(lock_now()), LOCK_BY_SESSION);
    fixture_end(&fixture);
}

static void
test_pauses_grow_and_neither_sleep_nor_the_wall_clock_shortens_them(void **state)
{
    static const uint32_t pauses[] = {0, 1, 5, 30, 120, 600, 3600, 3600};
    const struct lock_verifier verifier = {.cost = {32768, 8, 3}};
    struct told told = {0};

    (void)state;
    fixture_begin(&fixture, NULL);
    fake_clock_set(1800000000);
    assert_int_equal(lock_with_passphrase(lock_now(), &verifier, NULL, on_told, &told), ATH_OK);
    fixture_run_until(&fixture, &told.times, 1);
    for (size_t i = 0; i < sizeof(pauses) / sizeof(pauses[0]); i++) {
        told.times = 0;
        lock_count_try(lock_now(), on_told, &told);
        fixture_run_until(&fixture, &told.times, 1);
        lock_begin_pause(lock_now());
        assert_int_equal(lock_wait_s(lock_now()), pauses[i]);
        fake_clock_jump(7200);
        assert_int_equal(lock_wait_s(lock_now()), pauses[i]);
        fake_clock_jump(-7200);
        fake_clock_sleep((int64_t)pauses[i]);
        assert_int_equal(lock_wait_s(lock_now()), 0);
    }
    fixture_end(&fixture);
}

static void
test_what_was_under_way_is_not_released(void **state)
{
    struct request *signing, *reading, *locking;
    struct why why = {{0}};

    (void)state;
    fixture_begin(&fixture, NULL);
    signing = fixture_request(&fixture, RPC_ATTESTATION_CREATE);
    reading = fixture_request(&fixture, RPC_KEY_LIST);
    locking = fixture_request(&fixture, RPC_AGENT_LOCK);
    add_reason(LOCK_BY_SUSPEND);
    assert_int_equal(lock_releases(signing, &why), ATH_ERR_AGENT_LOCKED);
    assert_int_equal(lock_releases(reading, &why), ATH_OK);
    assert_int_equal(lock_admits(reading, &why), ATH_OK);
    assert_int_equal(lock_releases(locking, &why), ATH_OK);
    assert_int_equal(lock_admits(locking, &why), ATH_ERR_AGENT_LOCKED);
    end_reasons(LOCK_BY_SUSPEND, lock_count(lock_now()), ATH_OK);
    assert_int_equal(lock_admits(signing, &why), ATH_ERR_AGENT_LOCKED); /* however late it is */
    assert_int_equal(lock_releases(signing, &why), ATH_ERR_AGENT_LOCKED);
    request_fail(signing, ATH_ERR_INTERNAL, NULL);
    request_fail(reading, ATH_ERR_INTERNAL, NULL);
    request_fail(locking, ATH_ERR_INTERNAL, NULL);
    fixture_end(&fixture);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_record_survives_its_file),
        cmocka_unit_test(test_what_athd_does_not_write_is_no_record),
        cmocka_unit_test(test_record_without_memory_is_an_error),
        cmocka_unit_test(test_lines_of_the_watcher_have_one_form),
        cmocka_unit_test(test_every_method_is_classified),
        cmocka_unit_test(test_whatever_signs_is_closed),
        cmocka_unit_test(test_unknown_method_is_closed),
        cmocka_unit_test(test_reasons_end_one_by_one_and_the_file_with_the_last),
        cmocka_unit_test(test_lock_that_comes_while_unlocking_stays),
        cmocka_unit_test(test_passphrase_and_other_reasons_that_cross_are_all_on_disk),
        cmocka_unit_test(test_file_says_what_holds_when_unlocking_crosses_itself),
        cmocka_unit_test(test_session_that_flaps_piles_no_writes_up),
        cmocka_unit_test(test_nobody_is_told_of_a_lock_before_it_is_on_disk_whatever_crosses_it),
        cmocka_unit_test(test_try_that_crosses_an_unlocked_session_stays_counted),
        cmocka_unit_test(test_disk_that_fails_neither_locks_by_passphrase_nor_unlocks),
        cmocka_unit_test(test_pauses_grow_and_neither_sleep_nor_the_wall_clock_shortens_them),
        cmocka_unit_test(test_what_was_under_way_is_not_released),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
