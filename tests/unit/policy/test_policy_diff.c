/* What `ath policy diff` calls tighter must be so: pairs of small random policies, and every
 * question there is in a small world. */
#include "tests/support/support.h"

#include <stdio.h>
#include <time.h>

#include "policy/policy_diff.h"

#define OWNER 1
#define RULES_MAX 4
#define LEN(list) (sizeof(list) / sizeof((list)[0]))
#define PAIRS 400

/* ---- chance, the same in every run ---- */

static uint64_t seed;

static unsigned
chance(unsigned below)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(seed >> 33) % below;
}

/* ---- random policies ---- */

static const char *const whos[] = {"{\"uid\":1}",
                                   "{\"uid\":2}",
                                   "{\"uid\":[1,2]}",
                                   "{\"uid\":\"*\"}",
                                   "{\"gid\":5}",
                                   "{\"uid\":1,\"gid\":5}",
                                   "{\"unit\":\"a.service\"}",
                                   "{\"uid\":2,\"unit\":\"a*\"}",
                                   "{\"uid\":2,\"exe\":\"/bin/*\"}",
                                   "{\"exe\":\"/bin/a\"}",
                                   "{\"uid\":1,\"grant\":\"g?\"}",
                                   "{\"uid\":1,\"namespace\":\"same\"}"};
static const char *const mays[] = {"\"attestation.create\"",
                                   "\"group:attest\"",
                                   "\"*\"",
                                   "[\"key.get\",\"key.list\"]",
                                   "[\"attestation.create\",\"policy.unfreeze\"]",
                                   "\"group:handshake\""};
static const char *const keys[] = {NULL,     NULL,    "\"a\"", "\"b\"", "[\"a\",\"b\"]",
                                   "\"a*\"", "\"?\"", "\"*\""};
static const char *const audiences[] = {NULL,
                                        NULL,
                                        NULL,
                                        "\"https://m.example\"",
                                        "\"https://*.example\"",
                                        "\"https://m.example/x\"",
                                        "[\"https://m.example\",\"did:web:*\"]",
                                        "\"did:web:a\"",
                                        "\"*\""};
static const char *const peers[] = {NULL,   NULL, NULL, NULL, "\"did:web:a\"", "\"did:web:*\"",
                                    "\"*\""};
static const char *const scopes[] = {NULL, NULL, NULL, "\"r\"", "[\"r\",\"w\"]", "\"r*\"", "\"*\""};
static const char *const ttls[] = {NULL, NULL, NULL, "60", "300"};
static const char *const hours[] = {NULL, NULL, NULL, NULL, "\"08:00-18:00\"", "\"22:00-12:30\""};
static const char *const rates[] = {NULL, NULL, NULL, NULL, "\"5/min\"", "\"10/min\"", "\"100/h\""};
static const char *const consents[] = {NULL,          NULL,          NULL,
                                       NULL,          "\"never\"",   "\"always\"",
                                       "\"once:60\"", "\"once:90\"", "\"first-audience\""};

/* The members of a rule, and what each may be. */
static const struct {
    const char *name;
    const char *const *values;
    size_t count;
} members[] = {{"who", whos, LEN(whos)},     {"may", mays, LEN(mays)},
               {"keys", keys, LEN(keys)},    {"audiences", audiences, LEN(audiences)},
               {"peers", peers, LEN(peers)}, {"scopes", scopes, LEN(scopes)},
               {"max_ttl", ttls, LEN(ttls)}, {"hours", hours, LEN(hours)},
               {"rate", rates, LEN(rates)},  {"consent", consents, LEN(consents)}};

struct rule {
    unsigned at[LEN(members)]; /* which of its values each member has */
};

struct draft {
    struct rule rules[RULES_MAX];
    size_t count;
    bool observe;
};

static void
draw_member(struct rule *rule, size_t member)
{
    rule->at[member] = chance((unsigned)members[member].count);
}

static void
draw_rule(struct rule *rule)
{
    for (size_t i = 0; i < LEN(members); i++)
        draw_member(rule, i);
}

/* Most often the other one with a member or two changed: what is drawn anew is seldom tighter. */
static void
draft_change(const struct draft *from, struct draft *to)
{
    to->observe = chance(8) == 0 ? !from->observe : from->observe;
    for (size_t i = 0; i < from->count; i++) {
        unsigned what = chance(6);

        if (what == 0)
            continue;
        to->rules[to->count] = from->rules[i];
        for (unsigned n = 2; n < what; n++)
            draw_member(&to->rules[to->count], chance(LEN(members)));
        to->count++;
    }
    if (to->count > 1 && chance(5) == 0) {
        struct rule first = to->rules[0];

        to->rules[0] = to->rules[1];
        to->rules[1] = first;
    }
    if (to->count < RULES_MAX && chance(6) == 0)
        draw_rule(&to->rules[to->count++]);
}

static void
put_rule(struct ath_buf *text, const struct rule *rule, size_t number)
{
    ath_buf_printf(text, "%s{\"name\":\"r%zu\"", number == 0 ? "" : ",\n", number);
    for (size_t i = 0; i < LEN(members); i++)
        if (members[i].values[rule->at[i]] != NULL)
            ath_buf_printf(text, ",\"%s\":%s", members[i].name, members[i].values[rule->at[i]]);
    ath_buf_put_string(text, "}");
}

static char *
text_of(const struct draft *draft)
{
    struct ath_buf text = {0};
    char *copy;

    ath_buf_printf(&text, "{\"observe\":%s,\"rules\":[", draft->observe ? "true" : "false");
    for (size_t i = 0; i < draft->count; i++)
        put_rule(&text, &draft->rules[i], i);
    ath_buf_put_string(&text, "]}");
    copy = ath_strdup(ath_buf_text(&text));
    ath_buf_done(&text);
    assert_non_null(copy);
    return copy;
}

static struct policy_rules *
rules_of(const char *text)
{
    struct policy_rules *rules = policy_rules_new(OWNER);
    struct why why = {{0}};

    assert_non_null(rules);
    if (policy_rules_add(rules, ath_slice_of_string(text), "p", &why) != ATH_OK)
        fail_msg("%s\n%s", why.text, text);
    assert_int_equal(policy_rules_index(rules), ATH_OK);
    return rules;
}

/* ---- every question of a small world ---- */

static const gid_t five[] = {5};
static const struct policy_subject subjects[] = {
    {.uid = 1, .name_space = POLICY_SAME, .exe = "/bin/a", .unit = "a.service"},
    {.uid = 1, .groups = five, .group_count = 1, .grant = "g1"},
    {.uid = 2, .name_space = POLICY_SAME, .exe = "/bin/a", .unit = "a.service"},
    {.uid = 2, .unit = "a.service", .is_users_unit = true, .exe = "/bin/b", .gid = 5},
    {.uid = 3, .unit = "a.service", .is_users_unit = true},
    {.uid = 3, .unit = "ab.service", .exe = "/bin/a", .gid = 5, .name_space = POLICY_OTHER},
};
static const struct {
    const char *method;
    bool signs;
} methods[] = {{"attestation.create", true},
               {"handshake.start", true},
               {"key.get", false},
               {"key.list", false},
               {"policy.unfreeze", false}};
static const char *const asked_keys[] = {"a", "b", "ab", NULL};
static const char *const asked_audiences[] = {"https://m.example", "https://n.example/x",
                                              "https://m.example/x/y", "did:web:a", NULL};
static const char *const asked_peers[] = {"did:web:a", "did:web:b", NULL};
static char scope_r[] = "r", scope_w[] = "w";
static char *both_scopes[] = {scope_w, scope_r}, *one_scope[] = {scope_r};
static const struct scope_list asked_scopes[] = {{one_scope, 1}, {both_scopes, 2}, {NULL, 0}};
static const int64_t asked_ttls[] = {60, 200, 0};
static const int64_t times[] = {10 * 3600, 12 * 3600 + 1900, 23 * 3600};
static const enum sign_purpose purpose = PURPOSE_ATTESTATION;

struct compared {
    const struct policy_rules *from, *to, *owners;
    size_t allowed; /* questions that both allow */
    char what[512]; /* "": nothing is gained */
};

/* What the policy does with it: 0 denied, else how little it asks. */
struct outcome {
    bool is_allowed, is_observed;
    enum policy_consent consent;
    int64_t consent_s;
    const struct policy_rule *rule;
};

static struct outcome
ask(const struct policy_rules *rules, const struct policy_rules *owners,
    const struct policy_subject *subject, const struct policy_question *question)
{
    struct policy_decision decision = policy_rules_decide(rules, subject, question);

    if (decision.allowing != NULL)
        return (struct outcome){.is_allowed = true,
                                .consent = decision.allowing->consent,
                                .consent_s = decision.allowing->consent_s,
                                .rule = decision.allowing};
    decision = policy_rules_decide(owners, subject, question);
    return (struct outcome){.is_allowed = rules->observe && decision.allowing != NULL,
                            .is_observed = true,
                            .consent = POLICY_CONSENT_NEVER};
}

static bool
asks_less(const struct outcome *before, const struct outcome *after)
{
    if (before->consent == POLICY_CONSENT_NEVER || after->consent == POLICY_CONSENT_ALWAYS)
        return false;
    return before->consent != after->consent || after->consent_s > before->consent_s;
}

static bool
is_more_often(const struct outcome *before, const struct outcome *after)
{
    if (before->rule == NULL || before->rule->rate == 0)
        return false;
    return after->rule == NULL || after->rule->rate == 0 ||
           after->rule->rate > before->rule->rate ||
           (uint64_t)after->rule->rate * before->rule->rate_s >
               (uint64_t)before->rule->rate * after->rule->rate_s;
}

/* Passing rules over must change nothing, not even which one comes nearest. */
static void
check_quick(const struct policy_rules *rules, const struct policy_subject *subject,
            const struct policy_question *question)
{
    struct policy_rules all = *rules;
    struct policy_decision quick = policy_rules_decide(rules, subject, question), slow;

    all.quick = NULL;
    slow = policy_rules_decide(&all, subject, question);
    assert_ptr_equal(quick.allowing, slow.allowing);
    assert_ptr_equal(quick.nearest, slow.nearest);
    assert_int_equal(quick.failed, slow.failed);
}

static void
compare_one(struct compared *compared, const struct policy_subject *subject,
            const struct policy_question *question)
{
    struct outcome before = ask(compared->from, compared->owners, subject, question);
    struct outcome after = ask(compared->to, compared->owners, subject, question);
    const char *gained = !after.is_allowed                ? NULL
                         : !before.is_allowed             ? "it was denied"
                         : asks_less(&before, &after)     ? "it was asked about more"
                         : is_more_often(&before, &after) ? "it was allowed less often"
                                                          : NULL;

    check_quick(compared->to, subject, question);
    compared->allowed += before.is_allowed && after.is_allowed;
    if (gained != NULL)
        (void)snprintf(compared->what, sizeof(compared->what),
                       "%s: uid %lu %s key %s audience %s peer %s ttl %ld now %ld", gained,
                       (unsigned long)subject->uid, question->method,
                       question->key == NULL ? "-" : question->key,
                       question->audience_count == 0 ? "-" : question->audiences[0],
                       question->peer_count == 0 ? "-" : question->peers[0], (long)question->ttl,
                       (long)question->now);
}

/* A signature is always one by some key; what is about all keys names none. */
static void
compare_keys(struct compared *compared, struct policy_question *question, bool signs,
             const struct policy_subject *subject)
{
    for (size_t key = 0; key < LEN(asked_keys); key++) {
        question->key = asked_keys[key];
        if (signs && question->key == NULL)
            continue;
        question->also_key = NULL;
        question->is_about_all = question->key == NULL && strcmp(question->method, "key.list") != 0;
        compare_one(compared, subject, question);
        if (question->key == NULL || signs)
            continue;
        question->also_key = "b";
        compare_one(compared, subject, question);
    }
}

static void
compare_sides(struct compared *compared, struct policy_question *question, bool signs,
              const struct policy_subject *subject)
{
    for (size_t audience = 0; audience < LEN(asked_audiences); audience++)
        for (size_t peer = 0; peer < LEN(asked_peers); peer++) {
            question->audiences = &asked_audiences[audience];
            question->audience_count = asked_audiences[audience] != NULL;
            question->peers = &asked_peers[peer];
            question->peer_count = asked_peers[peer] != NULL;
            compare_keys(compared, question, signs, subject);
        }
}

static void
compare_limits(struct compared *compared, size_t method, const struct policy_subject *subject)
{
    struct policy_question question = {.method = methods[method].method,
                                       .purpose = methods[method].signs ? &purpose : NULL};

    for (size_t limit = 0; limit < LEN(asked_scopes) * LEN(asked_ttls); limit++) {
        size_t scope = limit % LEN(asked_scopes);

        question.scopes = asked_scopes[scope].count > 0 ? &asked_scopes[scope] : NULL;
        question.ttl = asked_ttls[limit / LEN(asked_scopes)];
        question.now = times[chance(LEN(times))];
        compare_sides(compared, &question, methods[method].signs, subject);
    }
}

static void
compare_all(struct compared *compared)
{
    for (size_t method = 0; method < LEN(methods); method++)
        for (size_t subject = 0; subject < LEN(subjects); subject++)
            compare_limits(compared, method, &subjects[subject]);
}

/* ---- the property ---- */

struct gains {
    size_t count;
    char first[160];
};

static void
on_gain(void *ctx, const struct policy_rule *rule, const char *method, const char *why)
{
    struct gains *gains = ctx;

    if (gains->count++ == 0)
        (void)snprintf(gains->first, sizeof(gains->first), "%s %s: %s",
                       rule == NULL ? "-" : rule->name, method, why);
}

static bool
is_tighter(const struct policy_rules *from, const struct policy_rules *to, struct gains *gains)
{
    bool said = policy_diff(from, to, on_gain, gains);

    assert_int_equal(said, gains->count == 0);
    return said;
}

static size_t
try_pair(const struct policy_rules *owners)
{
    struct draft a = {.observe = chance(10) == 0}, b = {.count = 0};
    struct compared compared = {.owners = owners};
    char *from_text, *to_text;
    struct policy_rules *from, *to;
    struct gains gains = {0};
    size_t wanted = 1 + chance(RULES_MAX - 1);

    while (a.count < wanted)
        draw_rule(&a.rules[a.count++]);
    draft_change(&a, &b);
    from_text = text_of(&a);
    to_text = text_of(&b);
    compared.from = from = rules_of(from_text);
    compared.to = to = rules_of(to_text);
    if (is_tighter(from, to, &gains)) {
        compare_all(&compared);
        if (compared.what[0] != '\0')
            fail_msg("it is said only to tighten, but %s\n%s\n->\n%s", compared.what, from_text,
                     to_text);
    }
    gains = (struct gains){0};
    if (!is_tighter(from, from, &gains))
        fail_msg("it is not as tight as itself: %s\n%s", gains.first, from_text);
    policy_rules_free(to);
    policy_rules_free(from);
    free(to_text);
    free(from_text);
    return compared.allowed;
}

static void
test_what_is_said_to_tighten_allows_nothing_new(void **state)
{
    struct policy_rules *owners = NULL;
    size_t tighter = 0;

    (void)state;
    seed = 20261123;
    setenv("TZ", "UTC", 1);
    tzset();
    assert_int_equal(policy_rules_built_in(OWNER, false, NULL, &owners), ATH_OK);
    for (int i = 0; i < PAIRS; i++)
        tighter += try_pair(owners) > 0;
    policy_rules_free(owners);
    print_message("%zu of %d changes only tighten, and leave something\n", tighter, PAIRS);
    assert_true(tighter > PAIRS / 50); /* or nothing was tried */
}

/* ---- by hand ---- */

struct row {
    const char *from, *to;
    const char *gain; /* NULL: it only tightens */
};

#define R(name, more) "{\"name\":\"" name "\"," more "}"
#define ME "\"who\":{\"uid\":1},"
#define ALL "\"may\":\"*\""

static const struct row rows[] = {
    {R("a", ME ALL), "", NULL},
    {"", R("a", ME ALL), "no rule allowed it"},
    {R("a", ME ALL), R("b", ME ALL), NULL},
    {R("a", ME ALL), R("a", ME "\"may\":\"key.*\",\"keys\":\"x\""), NULL},
    {R("a", ME ALL), R("a", "\"who\":{\"uid\":[1,2]}," ALL), "all of these callers"},
    {R("a", ME ALL ",\"keys\":\"a*\""), R("a", ME ALL ",\"keys\":[\"ab\",\"a*\"]"), NULL},
    {R("a", ME ALL ",\"keys\":\"ab\""), R("a", ME ALL ",\"keys\":\"a*\""), "in its way"},
    {R("a", ME ALL ",\"audiences\":\"https://*.a.example\""),
     R("a", ME ALL ",\"audiences\":\"https://b.a.example/x\""), NULL},
    {R("a", ME ALL ",\"audiences\":\"https://a.example\""),
     R("a", ME ALL ",\"audiences\":\"https://*.a.example\""), "in its way"},
    {R("a", ME ALL ",\"scopes\":\"r\""), R("a", ME ALL ",\"scopes\":[\"r\",\"w\"]"), "in its way"},
    {R("a", ME ALL ",\"consent\":\"always\""), R("a", ME ALL), "asked more often"},
    {R("a", ME ALL ",\"consent\":\"first-audience\""), R("a", ME ALL ",\"consent\":\"always\""),
     NULL},
    {R("a", ME ALL ",\"consent\":\"first-audience\""), R("a", ME ALL ",\"consent\":\"once:1\""),
     "asked more often"},
    {R("a", ME ALL ",\"consent\":\"once:60\""), R("a", ME ALL ",\"consent\":\"once:61\""),
     "asked more often"},
    {R("a", ME ALL ",\"rate\":\"5/min\""), R("a", ME ALL ",\"rate\":\"4/min\""), NULL},
    {R("a", ME ALL ",\"rate\":\"5/min\""), R("a", ME ALL ",\"rate\":\"6/min\""), "less often"},
    {R("a", ME ALL ",\"rate\":\"5/min\""), R("a", ME ALL ",\"rate\":\"5/s\""), "less often"},
    /* two counters in the place of one */
    {R("a", ME ALL ",\"rate\":\"5/min\""),
     R("a", ME "\"may\":\"key.*\",\"rate\":\"5/min\"") "," R(
         "b", ME "\"may\":\"peer.*\",\"rate\":\"5/min\""),
     "less often"},
    {R("a", ME ALL ",\"rate\":\"5/min\""),
     R("a", ME "\"may\":\"group:attest\",\"rate\":\"5/min\",\"audiences\":\"https://"
               "a.example\"") "," R("b", ME "\"may\":\"group:attest\",\"rate\":\"5/"
                                            "min\",\"audiences\":\"https://b.example\""),
     "less often"},
    /* a rule that stood before, and asked, has gone */
    {R("a", ME "\"may\":\"key.get\",\"consent\":\"always\"") "," R("b", ME ALL), R("b", ME ALL),
     "asked more often"},
    {R("a", ME ALL ",\"keys\":\"x\",\"consent\":\"always\"") "," R("b", ME ALL ",\"keys\":\"y\""),
     R("b", ME ALL ",\"keys\":\"y\""), "asked more often"}, /* of calls about no key */
    {R("a", ME "\"may\":\"attestation.create\",\"keys\":\"x\",\"consent\":\"always\"") "," R(
         "b", ME "\"may\":\"attestation.create\",\"keys\":\"y\""),
     R("b", ME "\"may\":\"attestation.create\",\"keys\":\"y\""), NULL},
    {R("a", ME "\"may\":\"key.get\",\"rate\":\"1/min\"") "," R("b", ME ALL), R("b", ME ALL),
     "less often"},
    /* two yeses become one */
    {R("a", ME "\"may\":\"attestation.create\",\"max_ttl\":60,\"consent\":\"once:60\"") "," R(
         "b", ME "\"may\":\"attestation.create\",\"consent\":\"once:60\""),
     R("b", ME "\"may\":\"attestation.create\",\"consent\":\"once:60\""), "asked more often"},
    /* the order changes who decides */
    {R("a", ME ALL ",\"consent\":\"always\"") "," R("b", ME ALL),
     R("b", ME ALL) "," R("a", ME ALL ",\"consent\":\"always\""), "asked more often"},
    {R("a", ME ALL) "," R("b", ME ALL ",\"consent\":\"always\""),
     R("b", ME ALL ",\"consent\":\"always\"") "," R("a", ME ALL), NULL},
    /* a user's own unit counts only where the rule has a uid */
    {R("a", "\"who\":{\"unit\":\"a.service\"}," ALL),
     R("a", "\"who\":{\"unit\":\"a.service\",\"uid\":2}," ALL), "all of these callers"},
};

static void
test_rows(void **state)
{
    char text[2][1024];

    (void)state;
    for (size_t i = 0; i < LEN(rows); i++) {
        struct policy_rules *from, *to;
        struct gains gains = {0};

        snprintf(text[0], sizeof(text[0]), "{\"rules\":[%s]}", rows[i].from);
        snprintf(text[1], sizeof(text[1]), "{\"rules\":[%s]}", rows[i].to);
        from = rules_of(text[0]);
        to = rules_of(text[1]);
        if (is_tighter(from, to, &gains) != (rows[i].gain == NULL) ||
            (rows[i].gain != NULL && strstr(gains.first, rows[i].gain) == NULL))
            fail_msg("row %zu: %s\n->\n%s\ngives \"%s\"", i, text[0], text[1], gains.first);
        policy_rules_free(to);
        policy_rules_free(from);
    }
}

static void
test_observing_gains_what_is_taken_away(void **state)
{
    static const struct {
        const char *from, *to;
        bool is_tighter;
    } pairs[] = {
        {"{\"rules\":[]}", "{\"observe\":true,\"rules\":[]}", false},
        {"{\"observe\":true,\"rules\":[]}", "{\"rules\":[]}", true},
        {"{\"observe\":true,\"rules\":[]}", "{\"observe\":true,\"rules\":[]}", true},
        {"{\"observe\":true,\"rules\":[" R("a", ME ALL) "]}", "{\"observe\":true,\"rules\":[]}",
         true},
        {"{\"observe\":true,\"rules\":[" R("a", ME ALL ",\"consent\":\"always\"") "]}",
         "{\"observe\":true,\"rules\":[]}", false},
        {"{\"observe\":true,\"rules\":[" R("a", ME ALL ",\"rate\":\"1/min\"") "]}",
         "{\"observe\":true,\"rules\":[]}", false},
    };

    (void)state;
    for (size_t i = 0; i < LEN(pairs); i++) {
        struct policy_rules *from = rules_of(pairs[i].from), *to = rules_of(pairs[i].to);
        struct gains gains = {0};

        if (is_tighter(from, to, &gains) != pairs[i].is_tighter)
            fail_msg("%s\n->\n%s\ngives \"%s\"", pairs[i].from, pairs[i].to, gains.first);
        policy_rules_free(to);
        policy_rules_free(from);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_observing_gains_what_is_taken_away),
        cmocka_unit_test(test_what_is_said_to_tighten_allows_nothing_new),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
