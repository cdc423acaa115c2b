#include "athd/replay_store.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "athd/replay_file.h"
#include "fixture_stores.h"
#include "protocol/protocol_limits.h"

#define NOW 1790000000
#define HOUR 3600

struct fixture {
    struct stores stores;
    struct replay_store *store;
    char dir[80];
};

static void
open_store(struct fixture *f)
{
    assert_int_equal(replay_store_open(&f->stores.athd, f->dir, NULL, &f->store), ATH_OK);
}

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    fake_clock_set(NOW);
    stores_begin(&f->stores);
    (void)snprintf(f->dir, sizeof(f->dir), "%s/replay", f->stores.dir);
    open_store(f);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    replay_store_free(f->store);
    stores_end(&f->stores);
    fake_clock_set(0);
    free(f);
    return 0;
}

static void
restart(struct fixture *f)
{
    stores_settle(&f->stores);
    replay_store_free(f->store);
    open_store(f);
}

static ath_err
use(struct fixture *f, const char *kid, const char *jti, int64_t expires_at)
{
    struct store_answer answer = {0};
    ath_err err = replay_store_use(f->store, kid, jti, expires_at, on_store_answer, &answer);

    return err != ATH_OK ? err : stores_wait(&f->stores, &answer);
}

static const char *
file_of(int64_t expires_at)
{
    static char name[64];

    (void)snprintf(name, sizeof(name), "replay/until-%lld.log",
                   (long long)replay_file_span_end(expires_at, NOW));
    return name;
}

static void
test_second_use_is_refused_also_after_a_restart(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(use(f, "kid", "jti", NOW + 300), ATH_OK);
    assert_int_equal(use(f, "kid", "jti", NOW + 300), ATH_ERR_REPLAYED);
    assert_int_equal(use(f, "kid", "jti", NOW + 900), ATH_ERR_REPLAYED);
    restart(f);
    assert_int_equal(replay_store_count(f->store), 1);
    assert_int_equal(use(f, "kid", "jti", NOW + 300), ATH_ERR_REPLAYED);
}

static void
test_kid_and_jti_are_not_run_together(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(use(f, "a", "bc", NOW + 300), ATH_OK);
    assert_int_equal(use(f, "ab", "c", NOW + 300), ATH_OK);
    assert_int_equal(use(f, "b", "bc", NOW + 300), ATH_OK);
}

static void
test_use_is_forgotten_when_its_time_is_over(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(use(f, "kid", "jti", NOW + 300), ATH_OK);
    fake_clock_move(299);
    assert_int_equal(use(f, "kid", "jti", NOW + 300), ATH_ERR_REPLAYED);
    fake_clock_move(1);
    assert_int_equal(use(f, "kid", "jti", NOW + 600), ATH_OK);
}

static void
test_second_use_is_refused_while_the_first_is_still_being_written(void **state)
{
    struct fixture *f = *state;
    struct store_answer answer = {0};

    assert_int_equal(replay_store_use(f->store, "kid", "jti", NOW + 300, on_store_answer, &answer),
                     ATH_OK);
    assert_false(answer.has_come);
    assert_int_equal(replay_store_use(f->store, "kid", "jti", NOW + 300, NULL, NULL),
                     ATH_ERR_REPLAYED);
    assert_int_equal(stores_wait(&f->stores, &answer), ATH_OK);
}

static void
test_many_uses_of_many_spans_are_all_there_after_a_restart(void **state)
{
    struct fixture *f = *state;
    struct store_answer answers[400] = {{0}};
    char jti[16];

    for (int i = 0; i < 400; i++) {
        (void)snprintf(jti, sizeof(jti), "jti-%d", i);
        assert_int_equal(replay_store_use(f->store, "kid", jti, NOW + 1 + (int64_t)i * 7 * HOUR,
                                          on_store_answer, &answers[i]),
                         ATH_OK);
    }
    for (int i = 0; i < 400; i++)
        assert_int_equal(stores_wait(&f->stores, &answers[i]), ATH_OK);
    restart(f);
    assert_int_equal(replay_store_count(f->store), 400);
    for (int i = 0; i < 400; i++) {
        (void)snprintf(jti, sizeof(jti), "jti-%d", i);
        assert_int_equal(use(f, "kid", jti, NOW + 1), ATH_ERR_REPLAYED);
    }
}

static void
test_file_goes_when_all_in_it_has_ended(void **state)
{
    struct fixture *f = *state;
    char name[64];

    (void)snprintf(name, sizeof(name), "%s", file_of(NOW + 300));
    assert_int_equal(use(f, "kid", "jti", NOW + 300), ATH_OK);
    assert_true(stores_has(&f->stores, name));
    fake_clock_move(HOUR / 4);
    assert_int_equal(use(f, "kid", "later", NOW + HOUR), ATH_OK);
    assert_false(stores_has(&f->stores, name));
}

static void
test_torn_last_line_is_cut_and_the_others_hold(void **state)
{
    struct fixture *f = *state;
    FILE *file;

    assert_int_equal(use(f, "kid", "jti", NOW + 300), ATH_OK);
    file = fopen(stores_path(&f->stores, file_of(NOW + 300)), "a");
    assert_non_null(file);
    assert_true(fputs("AAAAAAAAAAAAAAAAAAAAAA 17900", file) >= 0);
    assert_int_equal(fclose(file), 0);
    restart(f);
    assert_int_equal(use(f, "kid", "other", NOW + 300), ATH_OK);
    restart(f);
    assert_int_equal(replay_store_count(f->store), 2);
    assert_int_equal(use(f, "kid", "jti", NOW + 300), ATH_ERR_REPLAYED);
    assert_int_equal(use(f, "kid", "other", NOW + 300), ATH_ERR_REPLAYED);
}

static void
test_use_that_cannot_be_written_is_an_error_and_may_be_tried_again(void **state)
{
    struct fixture *f = *state;
    char moved[96];

    (void)snprintf(moved, sizeof(moved), "%s-away", f->dir);
    assert_int_equal(rename(f->dir, moved), 0);
    assert_int_equal(use(f, "kid", "jti", NOW + 300), ATH_ERR_IO);
    assert_int_equal(rename(moved, f->dir), 0);
    assert_int_equal(use(f, "kid", "jti", NOW + 300), ATH_OK);
    assert_int_equal(use(f, "kid", "jti", NOW + 300), ATH_ERR_REPLAYED);
}

static void
test_a_million_is_the_limit_and_their_end_makes_room(void **state)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    struct fixture *f = *state;
    FILE *file = fopen(stores_path(&f->stores, file_of(NOW + 300)), "w");

    assert_non_null(file);
    for (unsigned i = 0; i < REPLAY_MAX; i++)
        (void)fprintf(file, "%c%c%c%cAAAAAAAAAAAAAAAAAA %d\n", digits[i & 63], digits[i >> 6 & 63],
                      digits[i >> 12 & 63], digits[i >> 18 & 63], NOW + 300);
    assert_int_equal(fclose(file), 0);
    restart(f);
    assert_int_equal(replay_store_count(f->store), REPLAY_MAX);
    assert_int_equal(use(f, "kid", "one more", NOW + 300), ATH_ERR_LIMIT_EXCEEDED);
    fake_clock_move(301);
    assert_int_equal(use(f, "kid", "one more", NOW + 900), ATH_OK);
    assert_int_equal(replay_store_count(f->store), 1);
}

static void
test_spans_are_few_and_end_behind_what_is_in_them(void **state)
{
    int64_t ends[200];
    size_t count = 0;

    (void)state;
    for (int64_t ahead = 1; ahead < (int64_t)1 << 40; ahead += ahead / 50 + 100) {
        int64_t end = replay_file_span_end(NOW + ahead, NOW);
        size_t i = 0;

        assert_true(end == 0 || end >= NOW + ahead);
        while (i < count && ends[i] != end)
            i++;
        assert_true(i < sizeof(ends) / sizeof(*ends));
        ends[i] = end;
        count = i == count ? count + 1 : count;
    }
    assert_true(count < 110);
}

static const char *
damaged_message(const struct fixture *f, const char *file)
{
    static char message[256];
    struct json *report = NULL;

    message[0] = '\0';
    assert_int_equal(damage_report(&f->stores.athd.damage, "", &report), ATH_OK);
    for (const struct json *item = json_first(report); item != NULL; item = json_next(item))
        if (strcmp(json_get_string(item, "file"), file) == 0)
            (void)snprintf(message, sizeof(message), "%s", json_get_string(item, "message"));
    json_free(report);
    return message;
}

static void
test_after_a_file_that_cannot_be_read_nothing_is_new(void **state)
{
    struct fixture *f = *state;
    char name[64];

    assert_int_equal(use(f, "kid", "jti", NOW + 300), ATH_OK);
    (void)snprintf(name, sizeof(name), "%s", file_of(NOW + 300));
    assert_int_equal(chmod(stores_path(&f->stores, name), 0666), 0);
    restart(f);
    assert_int_equal(use(f, "kid", "jti", NOW + 300), ATH_ERR_IO);
    assert_int_equal(use(f, "kid", "other", NOW + 86400), ATH_ERR_IO);
    assert_non_null(strstr(damaged_message(f, name), "others may write"));
    assert_int_equal(chmod(stores_path(&f->stores, name), 0600), 0);
    restart(f);
    assert_int_equal(use(f, "kid", "jti", NOW + 300), ATH_ERR_REPLAYED);
    assert_int_equal(use(f, "kid", "other", NOW + 300), ATH_OK);
}

static void
test_lines_that_cannot_be_read_are_told_and_the_others_hold(void **state)
{
    struct fixture *f = *state;

    stores_write(&f->stores, file_of(NOW + 300), "not a use\n");
    restart(f);
    assert_string_equal(damaged_message(f, file_of(NOW + 300)), "1 lines cannot be read");
    assert_int_equal(use(f, "kid", "jti", NOW + 300), ATH_OK);
    restart(f);
    assert_int_equal(use(f, "kid", "jti", NOW + 300), ATH_ERR_REPLAYED);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_second_use_is_refused_also_after_a_restart),
        TEST(test_kid_and_jti_are_not_run_together),
        TEST(test_use_is_forgotten_when_its_time_is_over),
        TEST(test_second_use_is_refused_while_the_first_is_still_being_written),
        TEST(test_many_uses_of_many_spans_are_all_there_after_a_restart),
        TEST(test_file_goes_when_all_in_it_has_ended),
        TEST(test_torn_last_line_is_cut_and_the_others_hold),
        TEST(test_after_a_file_that_cannot_be_read_nothing_is_new),
        TEST(test_lines_that_cannot_be_read_are_told_and_the_others_hold),
        TEST(test_use_that_cannot_be_written_is_an_error_and_may_be_tried_again),
        TEST(test_a_million_is_the_limit_and_their_end_makes_room),
        cmocka_unit_test(test_spans_are_few_and_end_behind_what_is_in_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
