/* What is allowed for a while, and who waits after a refusal, against plain models of both: random
 * walks with a clock that jumps. */
#include "tests/support/support.h"

#include <stdio.h>
#include <stdlib.h>

#include "athd/consent_backoff.h"
#include "athd/consent_window.h"
#include "crypto/digest.h"

#define BEGIN 1700000000
#define STEPS 20000

static uint32_t seed;

static unsigned
draw(unsigned below)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % below;
}

static int
begin(void **state)
{
    (void)state;
    assert_int_equal(crypto_init(), ATH_OK);
    fake_clock_set(BEGIN);
    seed = 1;
    return 0;
}

static int
end(void **state)
{
    (void)state;
    fake_clock_set(0);
    return 0;
}

static struct consent_asker
asker_of(unsigned tenant, unsigned program)
{
    struct consent_asker asker = {.tenant = tenant, .uid = tenant, .exe = "/bin/agent"};

    asker.exe_file.inode = program;
    return asker;
}

/* ---- windows ---- */

#define SCOPES 4u
#define AUDIENCES 3u

struct asked {
    unsigned tenant, program, key, audiences, scopes; /* the last two: sets of bits */
    int64_t ttl;
};

static void
make_about(const struct asked *asked, struct consent_about *ret_about)
{
    static const char *const names[] = {"a", "b", "c", "d"};
    static const char *const keys[] = {"k0", "k1"};
    const char *audiences[AUDIENCES];
    struct scope_list scopes = {0};
    struct policy_question question = {
        .method = "credential.issue", .audiences = audiences, .ttl = asked->ttl, .scopes = &scopes};

    for (unsigned i = 0; i < AUDIENCES; i++)
        if ((asked->audiences >> i & 1) != 0)
            audiences[question.audience_count++] = names[i];
    for (unsigned i = 0; i < SCOPES; i++)
        if ((asked->scopes >> i & 1) != 0)
            assert_int_equal(scope_list_add(&scopes, names[i]), ATH_OK);
    assert_int_equal(
        consent_about_copy(&question, keys[asked->key], keys[asked->key], NULL, ret_about), ATH_OK);
    scope_list_done(&scopes);
}

static struct asked
draw_asked(void)
{
    return (struct asked){.tenant = draw(2),
                          .program = draw(2),
                          .key = draw(2),
                          .audiences = draw(1u << AUDIENCES),
                          .scopes = 1 + draw((1u << SCOPES) - 1),
                          .ttl = 1 + draw(3)};
}

struct model_window {
    struct asked allowed;
    unsigned uses_left;
    int64_t ends_at; /* by the fake clock; it sleeps with it */
    char id[CONSENT_ID_SIZE];
};

static struct model_window model[CONSENT_WINDOWS_MAX * 2];
static size_t model_count;

static bool
covers(const struct asked *allowed, const struct asked *asked)
{
    return allowed->tenant == asked->tenant && allowed->program == asked->program &&
           allowed->key == asked->key && allowed->audiences == asked->audiences &&
           (asked->scopes & ~allowed->scopes) == 0 && asked->ttl <= allowed->ttl;
}

static void
model_remove(size_t i)
{
    memmove(&model[i], &model[i + 1], (model_count - i - 1) * sizeof(model[0]));
    model_count--;
}

static void
model_prune(int64_t now)
{
    for (size_t i = model_count; i-- > 0;)
        if (now >= model[i].ends_at)
            model_remove(i);
}

/* The id that must allow it; NULL: none may. */
static const char *
model_use(const struct asked *asked)
{
    static char id[CONSENT_ID_SIZE];

    for (size_t i = 0; i < model_count; i++) {
        if (!covers(&model[i].allowed, asked))
            continue;
        memcpy(id, model[i].id, sizeof(id));
        if (--model[i].uses_left == 0)
            model_remove(i);
        return id;
    }
    return NULL;
}

static void
open_one(struct consent_windows *windows, int64_t now)
{
    const struct consent_window *window = NULL;
    struct asked allowed = draw_asked();
    struct consent_asker asker = asker_of(allowed.tenant, allowed.program);
    unsigned uses = 1 + draw(5), seconds = 1 + draw(60);
    struct consent_about about;
    size_t of_tenant = 0;
    ath_err err;

    for (size_t i = 0; i < model_count; i++)
        of_tenant += model[i].allowed.tenant == allowed.tenant;
    make_about(&allowed, &about);
    err = consent_windows_add(windows, &asker, &about, uses, seconds, &window);
    assert_int_equal(err, of_tenant >= CONSENT_WINDOWS_MAX ? ATH_ERR_LIMIT_EXCEEDED : ATH_OK);
    if (err != ATH_OK)
        return;
    model[model_count] = (struct model_window){allowed, uses, now + seconds, ""};
    memcpy(model[model_count++].id, window->id, CONSENT_ID_SIZE);
}

static void
use_one(struct consent_windows *windows)
{
    struct asked asked = draw_asked();
    struct consent_asker asker = asker_of(asked.tenant, asked.program);
    char id[CONSENT_ID_SIZE];
    const char *expected;
    struct consent_about about;

    make_about(&asked, &about);
    expected = model_use(&asked);
    assert_int_equal(consent_windows_use(windows, &asker, &about, id), expected != NULL);
    if (expected != NULL)
        assert_string_equal(id, expected);
    consent_about_done(&about);
}

static void
forget_one(struct consent_windows *windows)
{
    size_t i = model_count == 0 ? 0 : draw((unsigned)model_count);
    unsigned tenant;

    if (model_count == 0)
        return;
    tenant = model[i].allowed.tenant;
    assert_false(consent_windows_forget(windows, 1 - tenant, model[i].id)); /* not another's */
    assert_true(consent_windows_forget(windows, tenant, model[i].id));
    assert_false(consent_windows_forget(windows, tenant, model[i].id));
    model_remove(i);
}

static void
end_some(struct consent_windows *windows)
{
    unsigned tenant = draw(2), key = draw(2);
    bool all = draw(4) == 0;

    if (all)
        (void)consent_windows_end_tenant(windows, tenant);
    else
        consent_windows_end_key(windows, tenant, key == 0 ? "k0" : "k1");
    for (size_t i = model_count; i-- > 0;)
        if (model[i].allowed.tenant == tenant && (all || model[i].allowed.key == key))
            model_remove(i);
}

static void
test_windows_allow_what_the_model_allows_and_nothing_else(void **state)
{
    struct consent_windows windows = TAILQ_HEAD_INITIALIZER(windows);
    int64_t now = BEGIN;
    unsigned allowed = 0;

    (void)state;
    model_count = 0;
    for (unsigned step = 0; step < STEPS; step++) {
        size_t before = model_count;
        unsigned what = draw(100);

        model_prune(now);
        if (what < 30)
            open_one(&windows, now);
        else if (what < 90)
            use_one(&windows);
        else if (what < 94)
            forget_one(&windows);
        else if (what < 95)
            end_some(&windows);
        else
            now += draw(3), fake_clock_set(now);
        allowed += model_count < before;
    }
    assert_true(allowed > 100); /* it was not all refused */
    (void)consent_windows_end(&windows);
}

static void
test_a_window_is_over_after_sleep_and_where_the_clock_is_set(void **state)
{
    struct consent_windows windows = TAILQ_HEAD_INITIALIZER(windows);
    const struct asked asked = {.scopes = 1, .ttl = 1};
    struct consent_asker asker = asker_of(0, 0);
    const struct consent_window *window = NULL;
    char id[CONSENT_ID_SIZE];
    struct consent_about about;

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        fake_clock_set(BEGIN);
        make_about(&asked, &about);
        assert_int_equal(consent_windows_add(&windows, &asker, &about, 9, 60, &window), ATH_OK);
        if (i == 0)
            fake_clock_sleep(61);
        else if (i == 1)
            fake_clock_jump(61); /* the time of day that the user saw has come */
        else
            fake_clock_jump(-1000); /* and it does not last longer when the clock is set back */
        if (i == 2)
            fake_clock_move(61);
        make_about(&asked, &about);
        assert_false(consent_windows_use(&windows, &asker, &about, id));
        consent_about_done(&about);
        assert_true(TAILQ_EMPTY(&windows));
    }
}

/* ---- back-off ---- */

#define ASKERS 4u
#define KEYS 3u

static struct {
    unsigned refusals;
    int64_t refused_at, next_at;
} waits[ASKERS][KEYS];

static int64_t
pause_after(unsigned refusals)
{
    int64_t pause = 1;

    for (unsigned i = 1; i < refusals && pause < 300; i++)
        pause *= 2;
    return pause > 300 ? 300 : pause;
}

static void
check_wait(struct consent_backoffs *backoffs, unsigned who, unsigned key, int64_t now)
{
    static const char *const names[KEYS] = {"k0", "k1", NULL};
    struct consent_asker asker = asker_of(who / 2, who % 2);
    bool is_refused = true;
    uint64_t wait_ms = consent_backoffs_wait(backoffs, &asker, names[key], &is_refused);
    int64_t left = waits[who][key].next_at - now;

    assert_int_equal(wait_ms, left > 0 ? left * 1000 : 0);
    assert_int_equal(is_refused, left > 0 && waits[who][key].refusals > 3);
}

static void
refuse(struct consent_backoffs *backoffs, unsigned who, unsigned key, int64_t now)
{
    static const char *const names[KEYS] = {"k0", "k1", NULL};
    struct consent_asker asker = asker_of(who / 2, who % 2);
    bool is_silence = draw(2) == 0;
    uint64_t shown_ms = (uint64_t)(now - draw(20)) * 1000;

    if (is_silence)
        consent_backoffs_unanswered(backoffs, &asker, names[key], shown_ms);
    else
        consent_backoffs_refused(backoffs, &asker, names[key]);
    if (is_silence && waits[who][key].refusals > 0 &&
        shown_ms < (uint64_t)waits[who][key].refused_at * 1000)
        return; /* shown before: nobody was there for that one either */
    waits[who][key].refusals++;
    waits[who][key].refused_at = now;
    waits[who][key].next_at = now + pause_after(waits[who][key].refusals);
}

static void
test_who_was_refused_waits_as_the_model_says(void **state)
{
    static const char *const names[KEYS] = {"k0", "k1", NULL};
    struct consent_backoffs backoffs = TAILQ_HEAD_INITIALIZER(backoffs);
    int64_t now = BEGIN;
    unsigned refused = 0;

    (void)state;
    memset(waits, 0, sizeof(waits));
    for (unsigned step = 0; step < STEPS; step++) {
        unsigned who = draw(ASKERS), key = draw(KEYS), what = draw(100);
        struct consent_asker asker = asker_of(who / 2, who % 2);

        for (unsigned i = 0; i < ASKERS * KEYS; i++)
            if (now - waits[i / KEYS][i % KEYS].refused_at >= 3600)
                memset(&waits[i / KEYS][i % KEYS], 0, sizeof(waits[0][0]));
        check_wait(&backoffs, who, key, now);
        refused += waits[who][key].refusals > 3 && waits[who][key].next_at > now;
        if (what < 40) {
            refuse(&backoffs, who, key, now);
        } else if (what < 45) {
            consent_backoffs_approved(&backoffs, &asker, names[key]);
            memset(&waits[who][key], 0, sizeof(waits[0][0]));
        } else if (what < 46) {
            now += 3600;
        } else {
            now += draw(30);
        }
        fake_clock_set(now);
    }
    assert_true(refused > 100);
    consent_backoffs_end(&backoffs);
}

static void
test_many_askers_of_one_tenant_do_not_make_athd_forget_those_of_another(void **state)
{
    struct consent_backoffs backoffs = TAILQ_HEAD_INITIALIZER(backoffs);
    struct consent_asker victim = asker_of(1, 1), other;
    struct consent_backoff *backoff;
    bool is_refused = false;
    size_t count = 0;

    (void)state;
    for (unsigned i = 0; i < 4; i++)
        consent_backoffs_refused(&backoffs, &victim, "k");
    for (unsigned i = 0; i < 2 * CONSENT_BACKOFFS_MAX; i++) {
        other = asker_of(2, i);
        consent_backoffs_refused(&backoffs, &other, "k");
    }
    assert_true(consent_backoffs_wait(&backoffs, &victim, "k", &is_refused) > 0);
    assert_true(is_refused);
    TAILQ_FOREACH (backoff, &backoffs, entry)
        count++;
    assert_int_equal(count, CONSENT_BACKOFFS_MAX + 1);
    consent_backoffs_end(&backoffs);
}

/* ---- what is the same question ---- */

static void
test_no_two_questions_that_differ_have_one_digest(void **state)
{
    const struct consent_asker a = asker_of(0, 0), b = asker_of(0, 1);
    uint8_t digests[5][SHA256_LEN];
    struct consent_about about;
    const struct asked asked = {.scopes = 3, .ttl = 1};
    unsigned made = 0;

    (void)state;
    make_about(&asked, &about);
    assert_int_equal(consent_about_digest(&about, &a, ath_slice_of_string("x"), digests[made++]),
                     ATH_OK);
    assert_int_equal(consent_about_digest(&about, &b, ath_slice_of_string("x"), digests[made++]),
                     ATH_OK);
    assert_int_equal(consent_about_digest(&about, &a, ath_slice_of_string("y"), digests[made++]),
                     ATH_OK);
    about.rest = ath_strdup("");
    assert_int_equal(consent_about_digest(&about, &a, ath_slice_of_string("x"), digests[made++]),
                     ATH_OK);
    free(about.rest);
    about.rest = about.key; /* moved from one place to another */
    about.key = NULL;
    assert_int_equal(consent_about_digest(&about, &a, ath_slice_of_string("x"), digests[made++]),
                     ATH_OK);
    consent_about_done(&about);
    for (unsigned i = 0; i < made; i++)
        for (unsigned j = 0; j < i; j++)
            assert_memory_not_equal(digests[i], digests[j], SHA256_LEN);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_windows_allow_what_the_model_allows_and_nothing_else,
                                        begin, end),
        cmocka_unit_test_setup_teardown(
            test_a_window_is_over_after_sleep_and_where_the_clock_is_set, begin, end),
        cmocka_unit_test_setup_teardown(test_who_was_refused_waits_as_the_model_says, begin, end),
        cmocka_unit_test_setup_teardown(
            test_many_askers_of_one_tenant_do_not_make_athd_forget_those_of_another, begin, end),
        cmocka_unit_test_setup_teardown(test_no_two_questions_that_differ_have_one_digest, begin,
                                        end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
