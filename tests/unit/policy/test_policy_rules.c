/* The policy language: every wrong file with its line, and a table of decisions. */
#include "tests/support/support.h"

#include <stdio.h>
#include <time.h>

#include "policy/policy_rules.h"

#define OWNER 1000

static struct policy_rules *
rules_of(const char *text)
{
    struct policy_rules *rules = policy_rules_new(OWNER);
    struct why why = {{0}};

    assert_non_null(rules);
    if (policy_rules_add(rules, ath_slice_of_string(text), "p", &why) != ATH_OK)
        fail_msg("%s", why.text);
    assert_int_equal(policy_rules_index(rules), ATH_OK);
    return rules;
}

/* ---- wrong files ---- */

#define RULE(more)                                                                                 \
    "{\"rules\":[\n{\"name\":\"a\",\n\"who\":{\"uid\":1},\n\"may\":[\"*\"]," more "}]}"

static const struct {
    const char *text, *begins;
} wrong[] = {
    {"", "p:1: "},
    {"[]", "p:1: a policy is an object"},
    {"{}", "p:1: a policy must have \"rules\""},
    {"{\n\"rules\":[],\n\"rules\":[]}", "p:3: "},
    {"{\n\"rules\":{}}", "p:2: \"rules\" must be a list"},
    {"{\"rules\":[],\n\"observ\":true}", "p:2: a policy has no \"observ\""},
    {"{\"rules\":[],\n\"observe\":1}", "p:2: \"observe\" is true or false"},
    {"{\"rules\":[\n1]}", "p:2: a rule is an object"},
    {"{\"rules\":[\n// c\n{\"who\":{\"uid\":1},\"may\":[\"*\"]}]}",
     "p:3: a rule must have \"name\""},
    {"{\"rules\":[{\"name\":\"a\",\"may\":[\"*\"]}]}", "p:1: a rule must have \"who\""},
    {"{\"rules\":[{\"name\":\"a\",\"who\":{\"uid\":1}}]}", "p:1: a rule must have \"may\""},
    {RULE("\n\"key\":[\"a\"]"), "p:5: a rule has no \"key\""},
    {RULE("\n\"keys\":[]"), "p:5: \"keys\" is an empty list"},
    {RULE("\n\"keys\":[\"a\",\n1]"), "p:6: \"keys\" must be"},
    {RULE("\n\"keys\":\"\""), "p:5: \"keys\" must be"},
    {RULE("\n\"audiences\":[\"https://*\"]"), "p:5: \"audiences\": \"https://*\""},
    {RULE("\n\"audiences\":[\"https://a*.example\"]"), "p:5: "},
    {RULE("\n\"audiences\":[\"https://a.example?x\"]"), "p:5: "},
    {RULE("\n\"audiences\":[\"https://a.example/x/../y\"]"), "p:5: "},
    {RULE("\n\"audiences\":[\"https://u@a.example\"]"), "p:5: "},
    {RULE("\n\"audiences\":[\"https://\"]"), "p:5: "},
    {RULE("\n\"audiences\":[\"https://a.example:99999\"]"), "p:5: "},
    {RULE("\n\"audiences\":[\"https://a.example/x/..;a/y\"]"), "p:5: "},
    {RULE("\n\"audiences\":[\"https://a.example*\"]"), "p:5: "},
    {RULE("\n\"audiences\":[\"https://b\u00fccher.example\"]"), "p:5: "},
    {RULE("\n\"audiences\":[\"did:web:a.example*\"]"), "p:5: "},
    {RULE("\n\"audiences\":[\"did:*:a\"]"), "p:5: "},
    {RULE("\n\"peers\":[\"did:web:a*\"]"), "p:5: "},
    {RULE("\n\"peers\":[\"DID:web:a\"]"), "p:5: \"peers\" are DIDs"},
    {RULE("\n\"peers\":[\"https://a.example\"]"), "p:5: \"peers\" are DIDs"},
    {RULE("\n\"max_ttl\":0"), "p:5: \"max_ttl\""},
    {RULE("\n\"max_ttl\":\"5m\""), "p:5: \"max_ttl\""},
    {RULE("\n\"rate\":\"0/min\""), "p:5: \"rate\""},
    {RULE("\n\"rate\":\"5/week\""), "p:5: \"rate\""},
    {RULE("\n\"rate\":5"), "p:5: \"rate\""},
    {RULE("\n\"rate\":\"99999999999999999999/s\""), "p:5: \"rate\""},
    {RULE("\n\"hours\":\"8-18\""), "p:5: \"hours\""},
    {RULE("\n\"hours\":\"08:00-24:01\""), "p:5: \"hours\""},
    {RULE("\n\"hours\":\"08:60-18:00\""), "p:5: \"hours\""},
    {RULE("\n\"hours\":\"08:00-08:00\""), "p:5: \"hours\""},
    {RULE("\n\"days\":[\"mon\",\"montag\"]"), "p:5: \"days\""},
    {RULE("\n\"consent\":\"sometimes\""), "p:5: \"consent\""},
    {RULE("\n\"consent\":\"once:\""), "p:5: \"consent\""},
    {RULE("\n\"consent\":\"once:0\""), "p:5: \"consent\""},
    {RULE("\n\"consent\":\"once:5x\""), "p:5: \"consent\""},
    {"{\"rules\":[{\"name\":\"a\",\"who\":{},\"may\":\"*\"}]}", "p:1: \"who\" is an object"},
    {"{\"rules\":[{\"name\":\"a\",\"who\":{\n\"uids\":1},\"may\":\"*\"}]}",
     "p:2: \"who\" knows no"},
    {"{\"rules\":[{\"name\":\"a\",\"who\":{\"uid\":1,\n\"user\":\"root\"},\"may\":\"*\"}]}",
     "p:2: \"who\" has \"uid\" and \"user\""},
    {"{\"rules\":[{\"name\":\"a\",\"who\":{\"gid\":1,\n\"group\":\"root\"},\"may\":\"*\"}]}",
     "p:2: \"who\" has \"gid\" and \"group\""},
    {"{\"rules\":[{\"name\":\"a\",\"who\":{\"uid\":[1,\n\"*\"]},\"may\":\"*\"}]}", "p:2: \"uid\""},
    {"{\"rules\":[{\"name\":\"a\",\"who\":{\n\"uid\":1.0},\"may\":\"*\"}]}", "p:2: "},
    {"{\"rules\":[{\"name\":\"a\",\"who\":{\n\"uid\":1e3},\"may\":\"*\"}]}", "p:2: "},
    {"{\"rules\":[{\"name\":\"a\",\"who\":{\n\"Uid\":1},\"may\":\"*\"}]}", "p:2: \"who\" knows no"},
    {"{\"rules\":[{\"name\":\"a\",\"who\":{\n\"uid\":null},\"may\":\"*\"}]}", "p:2: \"uid\""},
    {"{\"rules\":[{\"name\":\"a\",\"who\":{\"uid\":1,\n\"uid\":2},\"may\":\"*\"}]}", "p:2: "},
    {"{\"rules\":[{\"name\":\"a\",\"who\":{\"uid\":1},\n\"may\":[]}]}",
     "p:2: \"may\" is an empty list"},
    {"{\"rules\":[{\"name\":\"a\",\"who\":{\"uid\":1},\n\"may\":[\"KEY.LIST\"]}]}", "p:2: \"may\""},
    {"{\"rules\":[{\"name\":\"a\",\"who\":{\"uid\":1},\n\"may\":[\"key.*.*\"]}]}", "p:2: \"may\""},
    {"{\"rules\":[{\"name\":\"a\",\"who\":{\"uid\":1},\n\"may\":[\"key\"]}]}", "p:2: \"may\""},
    {"{\"rules\":[{\"name\":\"a\",\"who\":{\"uid\":1},\n\"may\":[\"!key.list\"]}]}",
     "p:2: \"may\""},
    {"{\"rules\":[{\"name\":\"a\",\"who\":{\n\"uid\":-1},\"may\":\"*\"}]}", "p:2: \"uid\" must be"},
    {"{\"rules\":[{\"name\":\"a\",\"who\":{\n\"uid\":4294967295},\"may\":\"*\"}]}", "p:2: \"uid\""},
    {"{\"rules\":[{\"name\":\"a\",\"who\":{\n\"uid\":\"root\"},\"may\":\"*\"}]}",
     "p:2: \"uid\" is"},
    {"{\"rules\":[{\"name\":\"a\",\"who\":{\n\"user\":\"nobody-is-called-so\"},\"may\":\"*\"}]}",
     "p:2: this machine has no user"},
    {"{\"rules\":[{\"name\":\"a\",\"who\":{\n\"group\":\"no-such-group\"},\"may\":\"*\"}]}",
     "p:2: this machine has no group"},
    {"{\"rules\":[{\"name\":\"a\",\"who\":{\n\"exe\":\"node\"},\"may\":\"*\"}]}", "p:2: \"exe\""},
    {"{\"rules\":[{\"name\":\"a\",\"who\":{\n\"verity\":\"sha256:12\"},\"may\":\"*\"}]}",
     "p:2: \"verity\""},
    {"{\"rules\":[{\"name\":\"a\",\"who\":{\n\"namespace\":\"host\"},\"may\":\"*\"}]}",
     "p:2: \"namespace\""},
    {"{\"rules\":[{\"name\":\"a\",\"who\":{\"uid\":1},\n\"may\":[\"key.lst\"]}]}",
     "p:2: \"may\": there is no method or group \"key.lst\""},
    {"{\"rules\":[{\"name\":\"a\",\"who\":{\"uid\":1},\n\"may\":[\"k*\"]}]}", "p:2: \"may\""},
    {"{\"rules\":[{\"name\":\"a\",\"who\":{\"uid\":1},\n\"may\":[\"group:none\"]}]}",
     "p:2: \"may\""},
    {"{\"rules\":[{\n\"name\":\"a b\",\"who\":{\"uid\":1},\"may\":\"*\"}]}", "p:2: \"name\" is"},
    {"{\"rules\":[{\n\"name\":\"frozen\",\"who\":{\"uid\":1},\"may\":\"*\"}]}",
     "p:2: no rule is named"},
    {"{\"rules\":[{\"name\":\"a\",\"who\":{\"uid\":1},\"may\":\"*\"},\n"
     "{\"name\":\"a\",\"who\":{\"uid\":1},\"may\":\"*\"}]}",
     "p:2: two rules are named \"a\""},
};

static void
test_a_wrong_file_is_refused_with_its_line(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct policy_rules *rules = policy_rules_new(OWNER);
        struct why why = {{0}};
        ath_err err = policy_rules_add(rules, ath_slice_of_string(wrong[i].text), "p", &why);

        if (err != ATH_ERR_INVALID_PARAMS ||
            strncmp(why.text, wrong[i].begins, strlen(wrong[i].begins)) != 0)
            fail_msg("%s\ngives \"%s\", not \"%s\"", wrong[i].text, why.text, wrong[i].begins);
        policy_rules_free(rules);
    }
}

/* ---- decisions ---- */

struct row {
    const char *rule; /* members beside name */
    struct policy_subject subject;
    struct policy_question question;
    const char *missing; /* NULL: allowed */
};

static const char *const mail[] = {"https://mail.example/inbox"};
static const char *const evil[] = {"https://mail.example.evil"};
static const char *const both[] = {"https://mail.example", "https://evil.example"};
static const char *const did[] = {"did:ath:server_x"};
static const enum sign_purpose attestation = PURPOSE_ATTESTATION;
static const gid_t groups[] = {5, 6};
static char read_scope[] = "mail:read", send_scope[] = "mail:send";
static char *scope_items[] = {read_scope, send_scope};
static const struct scope_list scopes = {scope_items, 2};
static char any_mail[] = "mail:*";
static char *any_items[] = {any_mail};
static const struct scope_list any_scope = {any_items, 1};
static const char *const other_did[] = {"did:ath:server_z"};

#define WHO1 "\"who\":{\"uid\":1},"
#define ALL "\"may\":[\"*\"]"
#define ATTEST .method = "attestation.create", .purpose = &attestation, .key = "k"

static const struct row rows[] = {
    {WHO1 ALL, {.uid = 1}, {.method = "key.list"}, NULL},
    {WHO1 ALL, {.uid = 2}, {.method = "key.list"}, "uid"},
    {WHO1 "\"may\":\"key.get\"", {.uid = 1}, {.method = "key.list"}, "may: key.list"},
    {WHO1 "\"may\":\"group:keys\"", {.uid = 1}, {.method = "key.list"}, NULL},
    {WHO1 "\"may\":\"key.*\"", {.uid = 1}, {.method = "key.delete"}, NULL},
    {WHO1 "\"may\":\"group:keys-read\"", {.uid = 1}, {.method = "key.delete"}, "may: key.delete"},
    {"\"who\":{\"uid\":\"*\"}," ALL, {.uid = 77}, {.method = "key.list"}, NULL},
    {"\"who\":{\"user\":\"root\"}," ALL, {.uid = 0}, {.method = "key.list"}, NULL},
    {"\"who\":{\"gid\":6}," ALL,
     {.gid = 1, .groups = groups, .group_count = 2},
     {.method = "key.list"},
     NULL},
    {"\"who\":{\"gid\":7}," ALL,
     {.gid = 1, .groups = groups, .group_count = 2},
     {.method = "key.list"},
     "uid"},
    {"\"who\":{\"unit\":\"a.service\"}," ALL, {.unit = "a.service"}, {.method = "key.list"}, NULL},
    {"\"who\":{\"unit\":\"a.service\"}," ALL,
     {.unit = "b.service"},
     {.method = "key.list"},
     "unit: b.service"},
    {"\"who\":{\"unit\":\"a.service\"}," ALL, {.uid = 7}, {.method = "key.list"}, "unit: unknown"},
    /* anybody names units of their own manager as they like */
    {"\"who\":{\"unit\":\"a.service\"}," ALL,
     {.uid = 7, .unit = "a.service", .is_users_unit = true},
     {.method = "key.list"},
     "unit"},
    {"\"who\":{\"unit\":\"a.service\",\"uid\":7}," ALL,
     {.uid = 7, .unit = "a.service", .is_users_unit = true},
     {.method = "key.list"},
     NULL},
    {"\"who\":{\"unit\":\"a.service\"}," ALL,
     {.uid = OWNER, .unit = "a.service", .is_users_unit = true},
     {.method = "key.list"},
     NULL},
    {"\"who\":{\"exe\":\"/usr/bin/*\"}," ALL,
     {.exe = "/usr/bin/node"},
     {.method = "key.list"},
     NULL},
    {"\"who\":{\"exe\":\"/usr/bin/*\"}," ALL,
     {.exe = "/usr/bin/x/node"},
     {.method = "key.list"},
     "exe: /usr/bin/x/node"},
    {"\"who\":{\"exe\":\"/usr/bin/*\"}," ALL, {.uid = 1}, {.method = "key.list"}, "exe: unknown"},
    {"\"who\":{\"grant\":\"travel\"}," ALL, {.uid = 1}, {.method = "key.list"}, "grant: none"},
    {"\"who\":{\"namespace\":[\"same\",\"other\"]}," ALL,
     {.name_space = POLICY_UNSEEN},
     {.method = "key.list"},
     "namespace: unseen"},
    {"\"who\":{\"exe_inode\":5}," ALL, {.exe_inode = 0}, {.method = "key.list"}, "exe_inode"},
    {WHO1 ALL ",\"keys\":[\"t*l\"]", {.uid = 1}, {.method = "key.get", .key = "travel"}, NULL},
    {WHO1 ALL ",\"keys\":[\"t*l\"]",
     {.uid = 1},
     {.method = "key.get", .key = "travels"},
     "keys: travels"},
    {WHO1 ALL ",\"keys\":[\"t*l\"]", {.uid = 1}, {.method = "agent.hello"}, NULL},
    {WHO1 ALL ",\"audiences\":[\"https://mail.example\"]",
     {.uid = 1},
     {ATTEST, .audiences = mail, .audience_count = 1},
     NULL},
    {WHO1 ALL ",\"audiences\":[\"https://mail.example\"]",
     {.uid = 1},
     {ATTEST, .audiences = evil, .audience_count = 1},
     "audiences: https://mail.example.evil"},
    {WHO1 ALL ",\"audiences\":[\"https://mail.example\"]",
     {.uid = 1},
     {ATTEST, .audiences = both, .audience_count = 2},
     "audiences: https://evil.example"},
    {WHO1 ALL ",\"audiences\":[\"https://mail.example\"]",
     {.uid = 1},
     {ATTEST},
     "audiences: anybody"},
    {WHO1 ALL ",\"audiences\":[\"https://mail.example\"]",
     {.uid = 1},
     {ATTEST, .is_preliminary = true},
     NULL},
    {WHO1 ALL ",\"audiences\":[\"*\"]", {.uid = 1}, {ATTEST}, NULL},
    {WHO1 ALL ",\"peers\":[\"did:ath:server_x\"]",
     {.uid = 1},
     {ATTEST, .peers = did, .peer_count = 1},
     NULL},
    {WHO1 ALL ",\"peers\":[\"did:ath:server_y\"]",
     {.uid = 1},
     {ATTEST, .peers = did, .peer_count = 1},
     "peers: did:ath:server_x"},
    {WHO1 ALL ",\"peers\":[\"did:ath:server_y\"]",
     {.uid = 1},
     {ATTEST, .audiences = did, .audience_count = 1},
     "peers: did:ath:server_x"},
    {WHO1 ALL ",\"peers\":[\"did:ath:server_y\"]", {.uid = 1}, {ATTEST}, "peers: anybody"},
    {WHO1 ALL ",\"scopes\":[\"mail:*\"]", {.uid = 1}, {ATTEST, .scopes = &scopes}, NULL},
    {WHO1 ALL ",\"scopes\":[\"mail:read\"]",
     {.uid = 1},
     {ATTEST, .scopes = &scopes},
     "scopes: mail:send"},
    {WHO1 ALL ",\"scopes\":[\"mail:?\"]",
     {.uid = 1},
     {ATTEST, .scopes = &any_scope},
     "scopes: mail:*"},
    {WHO1 ALL ",\"scopes\":[\"mail:*\"]", {.uid = 1}, {ATTEST, .scopes = &any_scope}, NULL},
    {WHO1 ALL ",\"keys\":[\"k\"]",
     {.uid = 1},
     {.method = "service.put", .key = "k", .also_key = "other"},
     "keys: other"},
    {WHO1 ALL ",\"keys\":[\"k\"]",
     {.uid = 1},
     {.method = "policy.unfreeze", .is_about_all = true},
     "keys: all of them"},
    {WHO1 ALL ",\"keys\":[\"?*\"]",
     {.uid = 1},
     {.method = "policy.unfreeze", .is_about_all = true},
     "keys: all of them"},
    {WHO1 ALL ",\"keys\":[\"*\"]",
     {.uid = 1},
     {.method = "policy.unfreeze", .is_about_all = true},
     NULL},
    {WHO1 ALL, {.uid = 1}, {.method = "policy.unfreeze", .is_about_all = true}, NULL},
    /* both sides of a signature count, and the one that is named does not vouch for the other */
    {WHO1 ALL ",\"audiences\":[\"https://mail.example\"],\"peers\":[\"did:ath:server_x\"]",
     {.uid = 1},
     {ATTEST, .audiences = mail, .audience_count = 1, .peers = other_did, .peer_count = 1},
     "peers: did:ath:server_z"},
    {WHO1 ALL ",\"audiences\":[\"https://mail.example\"],\"peers\":[\"did:ath:server_x\"]",
     {.uid = 1},
     {ATTEST, .audiences = other_did, .audience_count = 1},
     "audiences: did:ath:server_z"},
    {WHO1 ALL ",\"keys\":[\"K\"]", {.uid = 1}, {ATTEST}, "keys: k"},
    {WHO1 ALL ",\"max_ttl\":300", {.uid = 1}, {ATTEST, .ttl = 300}, NULL},
    {WHO1 ALL ",\"max_ttl\":300", {.uid = 1}, {ATTEST, .ttl = 301}, "max_ttl: 301, at most 300"},
    /* Thursday 1970-01-01 12:00 UTC */
    {WHO1 ALL ",\"hours\":\"08:00-18:00\"", {.uid = 1}, {ATTEST, .now = 43200}, NULL},
    {WHO1 ALL ",\"hours\":\"08:00-12:00\"", {.uid = 1}, {ATTEST, .now = 43200}, "hours"},
    {WHO1 ALL ",\"hours\":\"22:00-13:00\",\"days\":\"wed\"",
     {.uid = 1},
     {ATTEST, .now = 43200},
     NULL},
    {WHO1 ALL ",\"hours\":\"22:00-13:00\",\"days\":\"thu\"",
     {.uid = 1},
     {ATTEST, .now = 43200},
     "hours"},
    {WHO1 ALL ",\"days\":\"sat-thu\"", {.uid = 1}, {ATTEST, .now = 43200}, NULL},
    {WHO1 ALL ",\"days\":[\"fri\",\"sat\"]", {.uid = 1}, {ATTEST, .now = 43200}, "hours"},
};

static void
test_a_rule_allows_when_every_condition_holds(void **state)
{
    char text[512], missing[POLICY_MISSING_SIZE];

    (void)state;
    setenv("TZ", "UTC", 1);
    tzset();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct policy_rules *rules;
        struct policy_decision decision;

        snprintf(text, sizeof(text), "{\"rules\":[{\"name\":\"r\",%s}]}", rows[i].rule);
        rules = rules_of(text);
        decision = policy_rules_decide(rules, &rows[i].subject, &rows[i].question);
        policy_decision_missing(&decision, &rows[i].subject, &rows[i].question, missing);
        if ((decision.allowing != NULL) != (rows[i].missing == NULL) ||
            (rows[i].missing != NULL &&
             strncmp(missing, rows[i].missing, strlen(rows[i].missing)) != 0))
            fail_msg("row %zu: %s\nmissing \"%s\"", i, rows[i].rule, missing);
        policy_rules_free(rules);
    }
}

static void
test_the_first_rule_that_holds_decides_and_the_nearest_is_named(void **state)
{
    struct policy_rules *rules = rules_of(
        "{\"rules\":[{\"name\":\"a\",\"who\":{\"uid\":1},\"may\":\"key.get\",\"keys\":\"x\"},"
        "{\"name\":\"b\",\"who\":{\"uid\":1},\"may\":\"key.*\",\"keys\":\"y\",\"consent\":"
        "\"always\"},"
        "{\"name\":\"c\",\"who\":{\"uid\":[1,2]},\"may\":\"key.get\",\"keys\":\"y\"}]}");
    const struct policy_subject one = {.uid = 1}, two = {.uid = 2}, three = {.uid = 3};
    const struct policy_question x = {.method = "key.get", .key = "x"},
                                 y = {.method = "key.get", .key = "y"},
                                 z = {.method = "key.get", .key = "z"};
    struct policy_decision decision;

    (void)state;
    decision = policy_rules_decide(rules, &one, &x);
    assert_string_equal(policy_decision_rule(&decision), "a");
    decision = policy_rules_decide(rules, &one, &y);
    assert_string_equal(policy_decision_rule(&decision), "b");
    decision = policy_rules_decide(rules, &two, &y);
    assert_string_equal(policy_decision_rule(&decision), "c");
    decision = policy_rules_decide(rules, &two, &z);
    assert_null(decision.allowing);
    assert_string_equal(policy_decision_rule(&decision), "c");
    decision = policy_rules_decide(rules, &three, &z);
    assert_string_equal(policy_decision_rule(&decision), "default");
    policy_rules_free(rules);
}

/* ---- audiences ---- */

static void
fits(const char *pattern, const char *audience, bool expected)
{
    struct policy_audience a, b;

    assert_null(policy_audience_read_pattern(pattern, &a));
    policy_audience_read(audience, &b);
    if (policy_audience_fits(&a, &b) != expected)
        fail_msg("%s and %s", pattern, audience);
}

static void
test_an_audience_fits_whole_or_not_at_all(void **state)
{
    (void)state;
    fits("https://a.example", "https://a.example", true);
    fits("https://a.example", "https://A.Example:443/x?y#z", true);
    fits("https://a.example", "http://a.example", false);
    fits("https://a.example", "https://a.example:8443", false);
    fits("https://a.example", "https://a.example.evil", false);
    fits("https://a.example", "https://a.example@evil", false);
    fits("https://a.example", "https://evil/https://a.example", false);
    fits("https://a.example", "https://xa.example", false);
    fits("https://a.example", "https://a.example\\.evil", false);
    fits("https://a.example", "a.example", false);
    fits("https://a.example/api", "https://a.example/api", true);
    fits("https://a.example/api/", "https://a.example/api/x", true);
    fits("https://a.example/api", "https://a.example/apix", false);
    fits("https://a.example/api", "https://a.example/api/../admin", false);
    fits("https://a.example/api", "https://a.example/api/%2e%2e/admin", false);
    fits("https://a.example/api", "https://a.example/api/%2E%2E%2Fadmin", false);
    fits("https://a.example/api", "https://a.example/api\\..\\admin", false);
    fits("https://a.example/api", "https://a.example", false);
    fits("https://*.example.com", "https://a.example.com", true);
    fits("https://*.example.com", "https://a.b.example.com/x", true);
    fits("https://*.example.com", "https://example.com", false);
    fits("https://*.example.com", "https://aexample.com", false);
    fits("https://*.example.com/x", "https://a.example.com/y", false);
    fits("http://[::1]:8080", "http://[::1]:8080/x", true);
    fits("http://127.0.0.1:8080", "http://127.0.0.1:80", false);
    fits("https://a.example", "https://a.example.", false);
    fits("https://a.example", "https://a.example:", false);
    fits("https://a.example", "https://a.example:0443", false);
    fits("https://a.example", "https://a.example:443@evil", false);
    fits("https://a.example", "https://a.example%2eevil", false);
    fits("https://a.example", "https://a.example;@evil", false);
    fits("https://a.example", " https://a.example", false);
    fits("https://a.example", "https://a.example\t.evil", false);
    fits("https://a.example", "https://a.ex\xc3\xa4mple", false);
    fits("https://*.example.com", "https://a.example.com.", false);
    fits("https://*.example.com", "https://a.example.com.evil", false);
    fits("https://*.example.com", "https://a.example.com@evil", false);
    fits("https://*.example.com", "https://evil/.example.com", false);
    fits("https://*.example.com", "https://evil?.example.com", false);
    fits("https://*.example.com", "https://evil#.example.com", false);
    fits("https://*.example.com", "https://evil\\.example.com", false);
    fits("https://*.example.com", "https://[::1].example.com", false);
    fits("https://a.example/api", "https://a.example/api/..;/admin", false);
    fits("https://a.example/api", "https://a.example/api/.;x/..;y/admin", false);
    fits("https://a.example/api", "https://a.example/api/%252e%252e/admin", false);
    fits("https://a.example/api", "https://a.example//api", false);
    fits("https://a.example/api", "https://a.example/API", false);
    fits("https://a.example/api", "https://a.example/api?../../admin", true);
    fits("urn:a", "urn:a", true);
    fits("did:web:a.example:*", "did:web:a.example:b", true);
    fits("did:web:a.example:*", "did:web:a.example.evil", false);
    fits("did:web:*", "DID:WEB:a.example", false);
    fits("did:web:*", "did:web:", false);
    fits("urn:a", "urn:ab", false);
    fits("did:web:*", "did:web:a.example", true);
    fits("did:web:*", "did:key:z", false);
    fits("*", "anything", true);
}

/* ---- hours ---- */

static bool
holds_at(const char *text, int64_t now)
{
    struct policy_hours hours;

    assert_true(policy_hours_read(text, &hours));
    return policy_hours_hold(&hours, now);
}

/* Central Europe 2026: 2026-03-29 01:00 UTC, 02:00 becomes 03:00; 2026-10-25 01:00 UTC, 03:00
 * becomes 02:00. */
static void
test_hours_are_those_of_the_clock_on_the_wall(void **state)
{
    const int64_t spring = 1774746000, autumn = 1792890000;

    (void)state;
    setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
    tzset();
    assert_true(holds_at("01:00-02:00", spring - 1));
    assert_false(holds_at("01:00-02:00", spring));
    assert_false(holds_at("02:00-03:00", spring - 1));
    assert_false(holds_at("02:00-03:00", spring)); /* it does not come that night */
    assert_true(holds_at("03:00-04:00", spring));
    assert_true(holds_at("02:00-03:00", autumn - 1)); /* it comes twice */
    assert_true(holds_at("02:00-03:00", autumn));
    assert_true(holds_at("02:00-03:00", autumn + 3599));
    assert_false(holds_at("02:00-03:00", autumn + 3600));
    assert_true(holds_at("22:00-06:00", autumn));
    assert_false(holds_at("06:00-22:00", autumn));
    setenv("TZ", "UTC", 1);
    tzset();
    assert_false(holds_at("02:00-03:00", autumn));
    assert_true(holds_at("00:00-24:00", 0));
    assert_true(holds_at("23:59-00:00", 86399));
    assert_false(holds_at("23:59-00:00", 86400));
    assert_false(holds_at("00:00-23:59", INT64_MAX)); /* no such day */
}

/* ---- groups ---- */

/* In which groups each method is: one that comes later must be put here, and so thought of. */
static const char *const groups_of[RPC_METHOD_COUNT] = {
    [RPC_AGENT_HELLO] = "agent use",
    [RPC_AGENT_STATUS] = "agent use",
    [RPC_AGENT_LOCK] = "", /* it stops everybody: for who is named, or may everything */
    [RPC_AGENT_UNLOCK] = "",
    [RPC_EVENTS_SUBSCRIBE] = "agent use",
    [RPC_KEY_CREATE] = "keys",
    [RPC_KEY_LIST] = "keys keys-read use",
    [RPC_KEY_GET] = "keys keys-read use",
    [RPC_KEY_DELETE] = "keys",
    [RPC_KEY_IMPORT] = "keys",
    [RPC_KEY_EXPORT] = "keys keys-read use",
    [RPC_ATTESTATION_CREATE] = "attest use",
    [RPC_ATTESTATION_VERIFY] = "attest use",
    [RPC_HANDSHAKE_START] = "handshake use",
    [RPC_HANDSHAKE_RECEIVE] = "handshake application use",
    [RPC_HANDSHAKE_ACCEPT] = "application use",
    [RPC_HANDSHAKE_GET] = "handshake application use",
    [RPC_HANDSHAKE_LIST] = "handshake application use",
    [RPC_HANDSHAKE_ABORT] = "handshake application use",
    [RPC_CONFIRMATION_ANSWER] = "user",
    [RPC_SERVICE_PUT] = "services",
    [RPC_SERVICE_LIST] = "application services",
    [RPC_SERVICE_DELETE] = "services",
    [RPC_CREDENTIAL_ISSUE] = "user",
    [RPC_CREDENTIAL_PUT] = "user",
    [RPC_CREDENTIAL_VERIFY] = "user use",
    [RPC_CREDENTIAL_LIST] = "user use",
    [RPC_SESSION_SEAL] = "handshake application use",
    [RPC_SESSION_OPEN] = "handshake application use",
    [RPC_SESSION_TOKEN] = "handshake application use",
    [RPC_SESSION_LIST] = "handshake application use",
    [RPC_SESSION_CLOSE] = "handshake application use",
    [RPC_TOKEN_VERIFY] = "application use",
    [RPC_GRANT_CREATE] = "grants",
    [RPC_GRANT_LIST] = "grants",
    [RPC_GRANT_REVOKE] = "grants",
    [RPC_PEER_PIN] = "peers",
    [RPC_PEER_LIST] = "peers",
    [RPC_PEER_REMOVE] = "peers",
    [RPC_CONSENT_LIST] = "consent",
    [RPC_CONSENT_ANSWER] = "consent",
    [RPC_CONSENT_ATTEND] = "consent",
    [RPC_CONSENT_ENVIRONMENT] = "consent",
    [RPC_CONSENT_FORGET] = "consent",
    [RPC_CONSENT_PINENTRY] = "consent",
    [RPC_POLICY_CHECK] = "policy",
    [RPC_POLICY_RELOAD] = "policy",
    [RPC_POLICY_SHOW] = "policy",
    [RPC_POLICY_FREEZE] = "policy",
    [RPC_POLICY_UNFREEZE] = "policy",
    [RPC_AUDIT_QUERY] = "audit",
    [RPC_AUDIT_CHECKPOINT] = "audit",
    [RPC_AUDIT_PROOF] = "audit",
    [RPC_AUDIT_CONSISTENCY] = "audit",
};

static void
test_every_method_is_in_the_groups_that_were_meant_for_it(void **state)
{
    static const char *const names[] = {
        "agent", "keys",  "keys-read", "attest",  "handshake", "application", "services",
        "user",  "peers", "grants",    "consent", "audit",     "policy",      "use"};
    char found[256], group[32];

    (void)state;
    for (size_t i = 0; i < RPC_METHOD_COUNT; i++) {
        found[0] = '\0';
        for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++) {
            uint64_t methods[POLICY_METHOD_WORDS] = {0};

            snprintf(group, sizeof(group), "group:%s", names[k]);
            assert_true(policy_methods_add(group, methods));
            if ((methods[i / 64] >> i % 64 & 1) == 0)
                continue;
            strcat(found, found[0] == '\0' ? "" : " ");
            strcat(found, names[k]);
        }
        if (groups_of[i] == NULL || strcmp(groups_of[i], found) != 0)
            fail_msg("%s is in the groups \"%s\", not in \"%s\": is that what authors of older "
                     "rules meant?",
                     method_at((enum rpc_method_id)i)->name, found,
                     groups_of[i] == NULL ? "(never thought of)" : groups_of[i]);
    }
}

static void
test_a_glob_takes_no_time(void **state)
{
    char text[2048];

    (void)state;
    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    assert_false(policy_glob("*a*a*a*a*a*a*a*a*a*a*b", text, false));
    assert_true(policy_glob("*a*a*a*a*", text, false));
    assert_true(policy_glob("", "", false));
    assert_false(policy_glob("", "a", false));
    assert_true(policy_glob("a?c*", "abc", true));
    assert_false(policy_glob("a?c", "a/c", true));
}

/* ---- speed ---- */

/* Of this process: what others do on the machine does not count. */
static uint64_t
cpu_us(void)
{
    struct timespec used;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (uint64_t)used.tv_sec * 1000000 + (uint64_t)used.tv_nsec / 1000;
}

static void
test_a_decision_of_a_thousand_rules_takes_no_time(void **state)
{
    struct ath_buf text = {.max = POLICY_FILE_MAX};
    const struct policy_subject subject = {.uid = 1, .exe = "/usr/bin/node", .unit = "a.service"};
    const struct policy_question question = {ATTEST, .audiences = mail, .audience_count = 1,
                                             .scopes = &scopes, .ttl = 60};
    struct policy_decision decision = {0};
    struct policy_rules *rules;
    uint64_t began, us;
    const int turns = 2000;

    (void)state;
    ath_buf_put_string(&text, "{\"rules\":[");
    for (int i = 0; i < 1000; i++)
        ath_buf_printf(&text,
                       "%s{\"name\":\"r%d\",\"who\":{\"uid\":1,\"exe\":\"/usr/bin/node\"},"
                       "\"may\":[\"group:attest\"],\"keys\":[\"key%d\",\"other%d\"],"
                       "\"audiences\":[\"https://a%d.example\"],\"max_ttl\":300}",
                       i == 0 ? "" : ",", i, i, i, i);
    ath_buf_put_string(&text, "]}");
    rules = rules_of(ath_buf_text(&text));
    ath_buf_done(&text);
    began = cpu_us();
    for (int i = 0; i < turns; i++)
        decision = policy_rules_decide(rules, &subject, &question);
    us = cpu_us() - began;
    assert_null(decision.allowing);
    assert_string_equal(policy_decision_rule(&decision), "r0");
    print_message("a decision of 1,000 rules: %.2f us\n", (double)us / turns);
    policy_rules_free(rules);
}

static void
test_reading_survives_any_allocation_that_fails(void **state)
{
    static const char text[] =
        "{\"rules\":[{\"name\":\"a\",\"who\":{\"uid\":[1,2],\"exe\":\"/a\"},\"may\":[\"*\"],"
        "\"keys\":[\"a\"],\"audiences\":[\"https://a.example\"],\"peers\":\"did:x:y\"}]}";
    ath_err err = ATH_ERR_NOMEM;

    (void)state;
    for (unsigned nth = 1; err == ATH_ERR_NOMEM && nth < 500; nth++) {
        struct policy_rules *rules;

        fail_allocation(nth);
        rules = policy_rules_new(OWNER);
        if (rules != NULL)
            err = policy_rules_add(rules, ath_slice_of_string(text), "p", NULL);
        if (rules != NULL && err == ATH_OK)
            err = policy_rules_index(rules);
        fail_allocation(0);
        policy_rules_free(rules);
    }
    assert_int_equal(err, ATH_OK);
}

static void
test_the_owners_policy_is_a_valid_file(void **state)
{
    struct policy_rules *rules = NULL, *again;
    struct ath_buf text = {0};
    struct json *tree = NULL;

    (void)state;
    assert_int_equal(policy_rules_built_in(OWNER, false, NULL, &rules), ATH_OK);
    assert_int_equal(policy_rules_encode(rules, &tree), ATH_OK);
    json_write_pretty(tree, &text);
    again = rules_of(ath_buf_text(&text));
    assert_int_equal(again->count, 1);
    ath_buf_done(&text);
    json_free(tree);
    policy_rules_free(again);
    policy_rules_free(rules);
}

/* A method that comes later must be put on one side by somebody. */
static void
test_in_the_machines_policy_each_may_work_with_its_own_and_no_more(void **state)
{
    static const enum rpc_method_id not_for_all[] = {RPC_KEY_IMPORT, RPC_POLICY_RELOAD};
    const struct policy_subject anyone = {.uid = 4711, .gid = 4711};
    struct policy_rules *rules = NULL;

    (void)state;
    assert_int_equal(policy_rules_built_in(OWNER, true, NULL, &rules), ATH_OK);
    for (int id = 0; id < RPC_METHOD_COUNT; id++) {
        const char *method = method_at((enum rpc_method_id)id)->name;
        const struct policy_question question = {.method = method};
        bool is_expected = true;

        for (size_t i = 0; i < sizeof(not_for_all) / sizeof(not_for_all[0]); i++)
            is_expected = is_expected && not_for_all[i] != (enum rpc_method_id)id;
        if ((policy_rules_decide(rules, &anyone, &question).allowing != NULL) != is_expected)
            fail_msg("%s", method);
    }
    policy_rules_free(rules);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_wrong_file_is_refused_with_its_line),
        cmocka_unit_test(test_a_rule_allows_when_every_condition_holds),
        cmocka_unit_test(test_the_first_rule_that_holds_decides_and_the_nearest_is_named),
        cmocka_unit_test(test_an_audience_fits_whole_or_not_at_all),
        cmocka_unit_test(test_hours_are_those_of_the_clock_on_the_wall),
        cmocka_unit_test(test_every_method_is_in_the_groups_that_were_meant_for_it),
        cmocka_unit_test(test_a_glob_takes_no_time),
        cmocka_unit_test(test_a_decision_of_a_thousand_rules_takes_no_time),
        cmocka_unit_test(test_reading_survives_any_allocation_that_fails),
        cmocka_unit_test(test_the_owners_policy_is_a_valid_file),
        cmocka_unit_test(test_in_the_machines_policy_each_may_work_with_its_own_and_no_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
