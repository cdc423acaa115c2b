/* Grants with their files and sockets: what is counted, what is on disk before anything is given
 * out, and how they end. */
#include "fixture_daemon.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "athd/consent_backoff.h"
#include "athd/grant_table.h"
#include "athd/handshake_table.h"
#include "athd/key_store.h"
#include "athd/listener.h"
#include "base/clock.h"
#include "base/file.h"
#include "test_key.h"

#define NOW INT64_C(1700000000)

static struct fixture f;
static struct grant_table *table;
static int done;
static ath_err done_err;

static void
on_done(void *ctx, ath_err err, const struct why *why)
{
    (void)ctx;
    (void)why;
    done++;
    done_err = err;
}

static void
on_counted(void *ctx, ath_err err)
{
    int *count = ctx;

    (*count)++;
    done_err = err;
}

static void
put_key(const char *name)
{
    struct test_key *pair = test_key_new(TEST_KEY_P256, name);
    struct ath_buf blob = {.max = HSM_WIRE_MAX_BLOB};
    struct public_key *public_key = NULL;
    struct key *key = key_new();

    assert_non_null(key);
    key->name = ath_strdup(name);
    key->hsm = ath_strdup("one");
    key->role = DID_CLIENT;
    assert_int_equal(public_key_from_der(test_key_der(pair), NULL, &public_key), ATH_OK);
    key_set_public(key, public_key);
    ath_buf_put_string(&blob, "-----BEGIN TSS2 PRIVATE KEY-----\n");
    key_attach(key, &blob, 1);
    test_key_free(pair);
    assert_int_equal(key_store_reserve(f.tenant->keys, name), ATH_OK);
    assert_int_equal(key_store_put(f.tenant->keys, key, on_done, NULL), ATH_OK);
    done = 0;
    fixture_run_until(&f, &done, 1);
    assert_int_equal(done_err, ATH_OK);
    key_store_release(f.tenant->keys, name);
    key_free(key);
    done = 0;
}

static int
begin(void **state)
{
    (void)state;
    fixture_begin(&f, NULL);
    fake_clock_set(NOW);
    f.config.socket = ath_strdup(fixture_path(&f, "run/socket"));
    assert_int_equal(listener_open(&f.athd, NULL, &f.athd.listener), ATH_OK);
    tenants_start(&f.athd);
    table = f.tenant->grants;
    put_key("k");
    return 0;
}

static int
end(void **state)
{
    (void)state;
    tenants_settle(&f.athd);
    listener_stop(f.athd.listener);
    listener_close(f.athd.listener);
    while (!store_queue_is_empty(&f.athd.stores))
        uv_run(f.athd.loop, UV_RUN_ONCE);
    fixture_turn(&f);
    listener_free(f.athd.listener);
    f.athd.listener = NULL;
    fixture_end(&f);
    return 0;
}

/* The caller's reference is dropped: the table has its own. */
static struct grant *
add(const char *params, struct grant *parent)
{
    const struct json_limits limits = {1u << 20, 8, 64, JSON_INTEGERS};
    struct grant *grant = NULL;
    struct json *object = NULL;
    struct why why = {{0}};

    assert_int_equal(json_parse(ath_slice_of_string(params), &limits, NULL, &object), ATH_OK);
    if (grant_new(object, f.tenant->uid, parent, f.tenant->keys, NOW, &why, &grant) != ATH_OK ||
        grant_table_add(table, grant, &why, on_done, NULL) != ATH_OK)
        fail_msg("%s: %s", params, why.text);
    json_free(object);
    done = 0;
    fixture_run_until(&f, &done, 1);
    assert_int_equal(done_err, ATH_OK);
    grant_free(grant);
    return grant;
}

static int64_t
uses_in_file(const char *name)
{
    const struct json_limits limits = {1u << 20, 8, 64, JSON_INTEGERS};
    char path[96], *text;
    struct json *object = NULL;
    int64_t uses = -1;

    snprintf(path, sizeof(path), "grants/%s.json", name);
    text = fixture_read(&f, path);
    assert_int_equal(json_parse(ath_slice_of_string(text), &limits, NULL, &object), ATH_OK);
    assert_true(json_get_int(object, "uses", &uses));
    json_free(object);
    free(text);
    return uses;
}

static bool
is_there(const char *name)
{
    return access(fixture_path(&f, name), F_OK) == 0;
}

/* ---- uses ---- */

static void
test_the_file_counts_a_signature_before_it_is_given_out(void **state)
{
    struct grant *grant = add("{\"name\":\"g\",\"keys\":[\"k\"],\"max_uses\":3}", NULL);
    struct grant_use uses[4];
    int counted = 0;

    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(grant_use_begin(grant, &uses[i], NULL), ATH_OK);
        grant_use_send(&uses[i], on_counted, &counted);
        assert_int_equal(uses[i].waits, 1);
    }
    assert_int_equal(grant_use_begin(grant, &uses[3], NULL), ATH_ERR_POLICY_DENIED);
    grant_use_end(&uses[3], false);
    assert_int_equal(uses_in_file("g"), 0);
    for (int i = 1; i <= 3; i++) {
        fixture_run_until(&f, &counted, i);
        assert_true(uses_in_file("g") >= counted);
    }
    assert_int_equal(done_err, ATH_OK);
    for (int i = 0; i < 3; i++)
        grant_use_end(&uses[i], true);
    assert_int_equal(grant_uses_left(grant), 0);
}

static void
test_what_was_not_signed_is_given_back(void **state)
{
    struct grant *grant = add("{\"name\":\"g\",\"keys\":[\"k\"],\"max_uses\":1}", NULL);
    struct grant_use use, other;
    int counted = 0;

    (void)state;
    assert_int_equal(grant_use_begin(grant, &use, NULL), ATH_OK);
    assert_int_equal(grant_use_begin(grant, &other, NULL), ATH_ERR_POLICY_DENIED);
    grant_use_end(&use, false);
    grant_use_end(&use, false); /* once is enough, twice is no more */
    assert_int_equal(grant_use_begin(grant, &use, NULL), ATH_OK);
    grant_use_send(&use, on_counted, &counted);
    grant_use_end(&use, false); /* while it waits: nobody is told */
    assert_int_equal(grant_uses_left(grant), 1);
    while (!store_queue_is_empty(&f.athd.stores))
        uv_run(f.athd.loop, UV_RUN_ONCE);
    fixture_turn(&f);
    assert_int_equal(counted, 0);
    assert_int_equal(grant_use_begin(grant, &use, NULL), ATH_OK);
    grant_use_send(&use, on_counted, &counted);
    assert_int_equal(use.waits, 0); /* the file counts one already */
    grant_use_end(&use, true);
}

static void
test_where_many_are_left_a_few_are_counted_in_advance(void **state)
{
    struct grant *grant = add("{\"name\":\"g\",\"keys\":[\"k\"],\"max_uses\":320}", NULL);
    struct grant_use use;
    int counted = 0;

    (void)state;
    assert_int_equal(grant_use_begin(grant, &use, NULL), ATH_OK);
    grant_use_send(&use, on_counted, &counted);
    fixture_run_until(&f, &counted, 1);
    grant_use_end(&use, true);
    assert_int_equal(uses_in_file("g"), 1 + 319 / 16);
    for (int i = 0; i < 319 / 16; i++) {
        assert_int_equal(grant_use_begin(grant, &use, NULL), ATH_OK);
        grant_use_send(&use, on_counted, &counted);
        assert_int_equal(use.waits, 0);
        grant_use_end(&use, true);
    }
    assert_int_equal(grant_use_begin(grant, &use, NULL), ATH_OK);
    grant_use_send(&use, on_counted, &counted);
    assert_int_equal(use.waits, 1);
    fixture_run_until(&f, &counted, 2);
    grant_use_end(&use, true);
    /* a clean end loses none */
    tenants_settle(&f.athd);
    while (!store_queue_is_empty(&f.athd.stores))
        uv_run(f.athd.loop, UV_RUN_ONCE);
    assert_int_equal(uses_in_file("g"), 1 + 319 / 16 + 1);
}

static void
test_each_above_is_counted_and_waited_for(void **state)
{
    struct grant *outer = add("{\"name\":\"g\",\"keys\":[\"k\"],\"max_uses\":2}", NULL);
    struct grant *inner = add("{\"name\":\"h\",\"keys\":[\"k\"],\"max_uses\":2}", outer);
    struct grant_use use, other;
    struct why why = {{0}};
    int counted = 0;

    (void)state;
    assert_int_equal(grant_use_begin(inner, &use, NULL), ATH_OK);
    grant_use_send(&use, on_counted, &counted);
    assert_int_equal(use.waits, 2);
    fixture_run_until(&f, &counted, 1);
    assert_int_equal(counted, 1);
    assert_int_equal(uses_in_file("g"), 1);
    assert_int_equal(uses_in_file("h"), 1);
    grant_use_end(&use, true);
    assert_int_equal(grant_use_begin(outer, &use, NULL), ATH_OK);
    assert_int_equal(grant_use_begin(inner, &other, &why), ATH_ERR_POLICY_DENIED);
    assert_non_null(strstr(why.text, "\"g\""));
    assert_int_equal(grant_uses_left(inner), 0);
    grant_use_end(&other, false);
    grant_use_end(&use, true);
}

static void
test_without_a_file_that_counts_it_nothing_is_given_out(void **state)
{
    struct grant *grant = add("{\"name\":\"g\",\"keys\":[\"k\"],\"max_uses\":3}", NULL);
    struct grant_use use;
    char from[96];
    int counted = 0;

    (void)state;
    snprintf(from, sizeof(from), "%s", fixture_path(&f, "grants"));
    assert_int_equal(rename(from, fixture_path(&f, "elsewhere")), 0);
    assert_int_equal(grant_use_begin(grant, &use, NULL), ATH_OK);
    grant_use_send(&use, on_counted, &counted);
    fixture_run_until(&f, &counted, 1);
    assert_int_equal(done_err, ATH_ERR_AUDIT_UNAVAILABLE);
    grant_use_end(&use, true);
    assert_int_equal(rename(fixture_path(&f, "elsewhere"), from), 0);
}

static void
test_the_end_of_a_grant_ends_what_waits_for_its_file(void **state)
{
    struct grant *grant = add("{\"name\":\"g\",\"keys\":[\"k\"],\"max_uses\":3}", NULL);
    struct grant_use use, other;
    int counted = 0;

    (void)state;
    grant_ref(grant);
    assert_int_equal(grant_use_begin(grant, &use, NULL), ATH_OK);
    grant_use_send(&use, on_counted, &counted);
    grant_end(grant, GRANT_REVOKED);
    assert_int_equal(counted, 1);
    assert_int_equal(done_err, ATH_ERR_POLICY_DENIED);
    grant_use_end(&use, true);
    assert_int_equal(grant_use_begin(grant, &other, NULL), ATH_ERR_POLICY_DENIED);
    grant_free(grant);
    while (!store_queue_is_empty(&f.athd.stores))
        uv_run(f.athd.loop, UV_RUN_ONCE);
    assert_false(is_there("grants/g.json")); /* the write that was under way came before */
}

/* ---- life ---- */

static void
test_a_grant_has_a_file_and_a_socket_and_neither_when_it_has_ended(void **state)
{
    struct grant *grant = add("{\"name\":\"g\",\"keys\":[\"k\"]}", NULL);
    struct stat st;

    (void)state;
    assert_true(is_there("grants/g.json"));
    assert_int_equal(lstat(fixture_path(&f, "run/grants/g/agent.sock"), &st), 0);
    assert_true(S_ISSOCK(st.st_mode) && (st.st_mode & 0777) == 0600);
    assert_ptr_equal(grant_table_find(table, "g"), grant);
    grant_end(grant, GRANT_REVOKED);
    assert_null(grant_table_find(table, "g"));
    assert_false(is_there("run/grants/g"));
    while (!store_queue_is_empty(&f.athd.stores))
        uv_run(f.athd.loop, UV_RUN_ONCE);
    assert_false(is_there("grants/g.json"));
}

static void
on_revoked(void *ctx, ath_err err, const struct why *why)
{
    (void)ctx;
    (void)why;
    assert_false(is_there("grants/g.json"));
    done++;
    done_err = err;
}

static void
test_who_revokes_is_told_when_the_file_is_gone(void **state)
{
    struct grant *grant = add("{\"name\":\"g\",\"keys\":[\"k\"]}", NULL);

    (void)state;
    done = 0;
    grant_revoke(grant, NULL, on_revoked, NULL);
    assert_int_equal(done, 0);
    fixture_run_until(&f, &done, 1);
    assert_int_equal(done_err, ATH_OK);
}

static void
test_the_end_of_one_is_the_end_of_all_within_it_and_of_no_other(void **state)
{
    struct grant *outer = add("{\"name\":\"g\",\"keys\":[\"k\"]}", NULL), *inner;

    (void)state;
    inner = add("{\"name\":\"h\",\"keys\":[\"k\"]}", outer);
    (void)add("{\"name\":\"i\",\"keys\":[\"k\"]}", inner);
    (void)add("{\"name\":\"j\",\"keys\":[\"k\"]}", NULL);
    assert_int_equal(grant_table_count(table), 4);
    grant_end(outer, GRANT_REVOKED);
    assert_int_equal(grant_table_count(table), 1);
    assert_non_null(grant_table_find(table, "j"));
}

static void
test_a_name_that_is_taken_and_a_path_that_is_in_the_way(void **state)
{
    const struct json_limits limits = {1u << 20, 8, 64, JSON_INTEGERS};
    const char *text = "{\"name\":\"g\",\"keys\":[\"k\"]}";
    struct grant *grant = NULL;
    struct json *object = NULL;
    struct why why = {{0}};

    (void)state;
    assert_int_equal(json_parse(ath_slice_of_string(text), &limits, NULL, &object), ATH_OK);
    assert_int_equal(mkdir(fixture_path(&f, "run/grants"), 0700), 0);
    assert_int_equal(file_replace(fixture_path(&f, "run/grants/g"), ath_slice_of_string(""), NULL),
                     ATH_OK);
    assert_int_equal(grant_new(object, f.tenant->uid, NULL, f.tenant->keys, NOW, &why, &grant),
                     ATH_OK);
    assert_int_equal(grant_table_add(table, grant, &why, on_done, NULL), ATH_ERR_IO);
    assert_non_null(strstr(why.text, "run/grants/g"));
    grant_free(grant);
    assert_int_equal(unlink(fixture_path(&f, "run/grants/g")), 0);
    (void)add(text, NULL);
    assert_int_equal(grant_new(object, f.tenant->uid, NULL, f.tenant->keys, NOW, &why, &grant),
                     ATH_OK);
    assert_int_equal(grant_table_add(table, grant, &why, on_done, NULL), ATH_ERR_GRANT_EXISTS);
    grant_free(grant);
    json_free(object);
}

static void
test_what_it_is_within_is_part_of_its_end_and_of_its_numbers(void **state)
{
    struct grant *outer = add("{\"name\":\"g\",\"keys\":[\"k\"],\"ttl\":100,\"max_uses\":9}", NULL);
    struct grant *inner = add("{\"name\":\"h\",\"keys\":[\"k\"]}", outer);
    struct grant *last = add("{\"name\":\"i\",\"keys\":[\"k\"],\"ttl\":50,\"max_uses\":4}", inner);

    (void)state;
    assert_int_equal(grant_expires_at(inner), NOW + 100);
    assert_int_equal(grant_expires_at(last), NOW + 50);
    assert_int_equal(grant_uses_left(inner), 9);
    assert_int_equal(grant_uses_left(last), 4);
    assert_true(grant_is_within(last, outer) && grant_is_within(last, last));
    assert_false(grant_is_within(outer, last));
    assert_ptr_equal(grant_outermost(last), outer);
    assert_true(grant_identity(last) != grant_identity(inner));
}

static void
test_a_later_grant_of_the_name_is_another_asker(void **state)
{
    struct grant *first = add("{\"name\":\"g\",\"keys\":[\"k\"]}", NULL), *second;
    struct caller one = {.uid = 1, .pid = 5}, other = {.uid = 1, .pid = 6}, later = {.uid = 1};
    struct consent_asker asks[3];

    (void)state;
    caller_set_grant(&one, first);
    caller_set_grant(&other, first);
    grant_end(first, GRANT_REVOKED);
    second = add("{\"name\":\"g\",\"keys\":[\"k\"]}", NULL);
    caller_set_grant(&later, second);
    consent_asker_of(&one, 1, &asks[0]);
    consent_asker_of(&other, 1, &asks[1]);
    consent_asker_of(&later, 1, &asks[2]);
    assert_true(consent_asker_equal(&asks[0], &asks[1]));
    assert_false(consent_asker_equal(&asks[0], &asks[2]));
    assert_true(caller_sees(&one, other.identity));
    assert_false(caller_sees(&later, one.identity));
    grant_free(one.through);
    grant_free(other.through);
    grant_free(later.through);
}

/* Or an agent would ask its user until he is tired: by another grant within its own, by another
 * program each time. */
static void
test_a_no_to_a_grant_is_one_to_all_within_it_and_whatever_it_starts(void **state)
{
    struct grant *outer = add("{\"name\":\"g\",\"keys\":[\"k\"]}", NULL);
    struct grant *made[] = {outer, add("{\"name\":\"h\",\"keys\":[\"k\"]}", outer),
                            add("{\"name\":\"i\",\"keys\":[\"k\"]}", outer),
                            add("{\"name\":\"j\",\"keys\":[\"k\"]}", NULL)};
    struct consent_backoffs backoffs = TAILQ_HEAD_INITIALIZER(backoffs);
    struct consent_asker asks[4];
    bool is_refused = false;

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct caller caller = {.uid = 1, .pid = 5};

        caller_set_grant(&caller, made[i]);
        consent_asker_of(&caller, 1, &asks[i]);
        (void)snprintf(asks[i].exe, sizeof(asks[i].exe), "/tmp/%zu", i);
        grant_free(caller.through);
    }
    consent_backoffs_refused(&backoffs, &asks[1], "k");
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(consent_backoffs_wait(&backoffs, &asks[i], "k", &is_refused) > 0, i < 3);
    consent_backoffs_end(&backoffs);
}

static void
test_a_yes_is_one_for_that_grant_until_the_next_lock(void **state)
{
    struct grant *outer = add("{\"name\":\"g\",\"keys\":[\"k\"]}", NULL), *inner;
    struct key *key = key_store_find(f.tenant->keys, "k");

    (void)state;
    inner = add("{\"name\":\"h\",\"keys\":[\"k\"]}", outer);
    assert_false(grant_is_confirmed(outer, key));
    grant_confirm(outer, key);
    assert_true(grant_is_confirmed(outer, key));
    assert_false(grant_is_confirmed(inner, key) || key->confirmed);
    key->locks++;
    assert_false(grant_is_confirmed(outer, key));
}

/* ---- the decision ---- */

static struct policy_answer
ask(const struct grant *grant, const char *method, const char *key, const char *audience,
    bool signs)
{
    static const enum sign_purpose purpose = PURPOSE_ATTESTATION;
    const struct policy_subject subject = {.uid = f.tenant->uid};
    const struct policy_question question = {.method = method,
                                             .key = key,
                                             .audiences = &audience,
                                             .audience_count = audience != NULL,
                                             .purpose = signs ? &purpose : NULL};
    struct policy_answer answer = {.verdict = POLICY_ALLOW, .rule = NULL};

    (void)grant_decide(grant, &subject, &question, f.tenant->keys, &answer);
    return answer;
}

static void
is_denied(struct policy_answer answer, const char *rule, const char *missing)
{
    assert_int_equal(answer.verdict, POLICY_DENY);
    assert_string_equal(answer.rule, rule);
    if (strncmp(answer.missing, missing, strlen(missing)) != 0)
        fail_msg("%s, not %s", answer.missing, missing);
}

static void
test_each_of_the_chain_is_asked_and_the_first_no_is_told(void **state)
{
    const char *a = "https://a.example";
    struct grant *outer = add("{\"name\":\"g\",\"keys\":[\"k\"],\"ttl\":100,\"max_uses\":1,"
                              "\"audiences\":[\"https://a.example\"]}",
                              NULL);
    struct grant *inner = add("{\"name\":\"h\",\"keys\":[\"k\"],\"ttl\":50}", outer);
    struct grant_use use;

    (void)state;
    assert_int_equal(ask(NULL, "key.delete", "x", NULL, false).verdict, POLICY_ALLOW);
    assert_int_equal(ask(inner, "attestation.create", "k", a, true).verdict, POLICY_ALLOW);
    is_denied(ask(inner, "key.delete", "k", NULL, false), "grant:h", "methods: key.delete");
    is_denied(ask(inner, "no.such", "k", NULL, false), "grant:h", "methods: no.such");
    is_denied(ask(inner, "attestation.create", "l", a, true), "grant:h", "keys: l");
    is_denied(ask(inner, "attestation.create", "k", "https://b.example", true), "grant:g",
              "audiences: https://b.example");
    assert_int_equal(grant_use_begin(inner, &use, NULL), ATH_OK);
    is_denied(ask(inner, "attestation.create", "k", a, true), "grant:g", "max_uses: all 1");
    assert_int_equal(ask(inner, "key.get", "k", NULL, false).verdict, POLICY_ALLOW);
    grant_use_end(&use, false);
    fake_clock_move(50);
    is_denied(ask(inner, "key.get", "k", NULL, false), "grant:h", "ttl");
    assert_int_equal(ask(outer, "key.get", "k", NULL, false).verdict, POLICY_ALLOW);
    fake_clock_move(50);
    is_denied(ask(outer, "key.get", "k", NULL, false), "grant:g", "ttl");
    grant_ref(inner);
    grant_end(outer, GRANT_REVOKED);
    is_denied(ask(inner, "key.get", "k", NULL, false), "grant:h", "ended");
    grant_free(inner);
}

/* ---- the file ---- */

static ath_err
decode(const char *text, struct grant_file *ret_file)
{
    const struct json_limits limits = {1u << 20, 8, 64, JSON_INTEGERS};
    struct json *object = NULL;
    struct why why = {{0}};
    ath_err err;

    assert_int_equal(json_parse(ath_slice_of_string(text), &limits, NULL, &object), ATH_OK);
    err = grant_decode(object, "g", f.tenant->uid, &why, ret_file);
    assert_true(err == ATH_OK || why.text[0] != '\0');
    json_free(object);
    return err;
}

#define JKT "\"jkts\":[\"0123456789012345678901234567890123456789012\"]"
#define FILE_OF(more) "{\"version\":1,\"keys\":[\"k\"]," JKT ",\"created_at\":1" more "}"
#define BOOT "\"boot_id\":\"01234567-0123-0123-0123-012345678901\""

static void
test_a_file_that_is_not_whole_is_no_grant(void **state)
{
    static const char *const damaged[] = {
        "{}",
        "{\"keys\":[\"k\"],\"jkts\":[\"short\"],\"created_at\":1}",
        "{\"keys\":[\"k\"],\"jkts\":[],\"created_at\":1}",
        "{\"keys\":[\"k\"]," JKT "}",
        "{" JKT ",\"created_at\":1}",
        FILE_OF(",\"methods\":[\"audit.query\"]"),
        FILE_OF(",\"methods\":[\"no.such\"]"),
        FILE_OF(",\"parent\":\"../g\""),
        FILE_OF(",\"expires_at\":0"),
        FILE_OF(",\"expires_at\":\"never\""),
        FILE_OF(",\"max_uses\":5"),
        FILE_OF(",\"max_uses\":5,\"uses\":6"),
        FILE_OF(",\"max_uses\":5,\"uses\":-1"),
        FILE_OF(",\"max_uses\":0,\"uses\":0"),
        FILE_OF(",\"process\":{}"),
        FILE_OF(",\"process\":7"),
        FILE_OF(",\"process\":{\"pid\":0,\"start_ticks\":1," BOOT "}"),
        FILE_OF(",\"process\":{\"pid\":1,\"start_ticks\":0," BOOT "}"),
        FILE_OF(",\"process\":{\"pid\":1,\"start_ticks\":1,\"boot_id\":\"x\"}"),
    };
    struct grant_file file;

    (void)state;
    for (size_t i = 0; i < sizeof(damaged) / sizeof(damaged[0]); i++)
        if (decode(damaged[i], &file) != ATH_ERR_PARSE)
            fail_msg("%s is read", damaged[i]);
    assert_int_equal(
        decode(FILE_OF(",\"max_uses\":5,\"uses\":2,\"expires_at\":9,\"parent\":\"p\",\"process\":"
                       "{\"pid\":1,\"start_ticks\":7," BOOT "}"),
               &file),
        ATH_OK);
    assert_string_equal(file.parent, "p");
    assert_true(file.has_process && file.process.pid == 1 && file.process.start_ticks == 7);
    assert_int_equal(grant_uses_left(file.grant), 3);
    assert_int_equal(grant_expires_at(file.grant), 9);
    grant_file_done(&file);
}

static void
test_a_file_says_what_the_grant_is(void **state)
{
    struct grant *grant = add(
        "{\"name\":\"g\",\"keys\":[\"k\"],\"methods\":[\"group:use\",\"grant.*\"],\"audiences\":"
        "[\"https://*.example\"],\"peers\":[\"did:web:*\"],\"scopes\":[\"a:*\"],\"ttl\":9,"
        "\"max_uses\":7,\"unit\":\"a.scope\"}",
        NULL);
    struct grant_file file;
    struct json *first = NULL, *second = NULL;
    char *text = fixture_read(&f, "grants/g.json");

    (void)state;
    assert_int_equal(decode(text, &file), ATH_OK);
    assert_int_equal(grant_encode(grant, 3, &first), ATH_OK);
    assert_int_equal(grant_encode(file.grant, 3, &second), ATH_OK);
    assert_true(json_equal(first, second));
    assert_true(grant_has_key(file.grant, key_store_find(f.tenant->keys, "k")));
    json_free(first);
    json_free(second);
    grant_file_done(&file);
    free(text);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_the_file_counts_a_signature_before_it_is_given_out),
        TEST(test_what_was_not_signed_is_given_back),
        TEST(test_where_many_are_left_a_few_are_counted_in_advance),
        TEST(test_each_above_is_counted_and_waited_for),
        TEST(test_without_a_file_that_counts_it_nothing_is_given_out),
        TEST(test_the_end_of_a_grant_ends_what_waits_for_its_file),
        TEST(test_a_grant_has_a_file_and_a_socket_and_neither_when_it_has_ended),
        TEST(test_who_revokes_is_told_when_the_file_is_gone),
        TEST(test_the_end_of_one_is_the_end_of_all_within_it_and_of_no_other),
        TEST(test_a_name_that_is_taken_and_a_path_that_is_in_the_way),
        TEST(test_what_it_is_within_is_part_of_its_end_and_of_its_numbers),
        TEST(test_a_later_grant_of_the_name_is_another_asker),
        TEST(test_a_yes_is_one_for_that_grant_until_the_next_lock),
        TEST(test_a_no_to_a_grant_is_one_to_all_within_it_and_whatever_it_starts),
        TEST(test_each_of_the_chain_is_asked_and_the_first_no_is_told),
        TEST(test_a_file_that_is_not_whole_is_no_grant),
        TEST(test_a_file_says_what_the_grant_is),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
