/* What a caller, or a peer through its caller, may try against the methods. Against the soft daemon
 * of test_methods.c. */
#include "methods_soft_daemon.h"

#include <stdio.h>

#include "athd/audit_log.h"
#include "athd/handshake_table.h"
#include "athd/peer_store.h"
#include "protocol/protocol_limits.h"

#define AGENT "{\"name\":\"agent\",\"role\":\"client\",\"agent_id\":\"https://a.example/x\"}"

static char client_id[64], server_id[64];

/* ---- the scene ---- */

static int
setup(void **state)
{
    (void)state;
    fake_clock_set(1790000000); /* it stands: nothing ends, however long a test takes */
    soft_begin();
    soft_ok(RPC_KEY_CREATE, "{\"name\":\"alice\",\"role\":\"user\"}");
    soft_ok(RPC_KEY_CREATE, AGENT);
    soft_ok(RPC_KEY_CREATE, "{\"name\":\"shop\",\"role\":\"server\"}");
    soft_ok(RPC_SERVICE_PUT, "{\"name\":\"mail\",\"key\":\"shop\",\"scopes_supported\":[\"a:b\"],"
                             "\"token_max_ttl\":600,\"require_user_confirmation\":false,"
                             "\"agents\":{\"*\":[\"a:b\"]},\"users\":{\"*\":\"everybody\"}}");
    soft_ok(RPC_CREDENTIAL_ISSUE,
            soft_text("{\"key\":\"alice\",\"client\":\"%s\",\"scopes\":[\"a:b\"],\"ttl\":3600}",
                      key_store_find(soft.tenant->keys, "agent")->did));
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    soft_end();
    fake_clock_set(0);
    return 0;
}

static const char *
sent(const struct json *result)
{
    assert_non_null(json_get(result, "send"));
    return soft_json(json_get(result, "send"));
}

static const char *
receive_params(const char *id, const char *message)
{
    return soft_text("{\"handshake\":\"%s\",\"message\":%s}", id, message);
}

static const struct json *
start(void)
{
    const struct json *result =
        soft_ok(RPC_HANDSHAKE_START,
                soft_text("{\"key\":\"agent\",\"scopes\":[\"a:b\"],\"server\":{\"did\":\"%s\"}}",
                          key_store_find(soft.tenant->keys, "shop")->did));

    (void)snprintf(client_id, sizeof(client_id), "%s", json_get_string(result, "handshake"));
    return result;
}

/* M2 for the client. */
static const char *
start_and_accept(void)
{
    const struct json *result = soft_ok(
        RPC_HANDSHAKE_ACCEPT, soft_text("{\"service\":\"mail\",\"message\":%s}", sent(start())));

    (void)snprintf(server_id, sizeof(server_id), "%s", json_get_string(result, "handshake"));
    return sent(result);
}

static void
assert_err(const struct soft_answer *answer, ath_err err)
{
    if (answer->err != err)
        fail_msg("%s instead of %s: %s", ath_err_reason(answer->err), ath_err_reason(err),
                 answer->why.text);
}

/* How many lines of the log have this text; all that was appended before is on disk. */
static int
count_records(const char *text)
{
    FILE *file;
    static char line[65536];
    int count = 0;

    soft_ok(RPC_KEY_DELETE, "{\"name\":\"alice\"}"); /* waits for its own record */
    soft_ok(RPC_KEY_CREATE, "{\"name\":\"alice\",\"role\":\"user\"}");
    assert_non_null(file = fopen(stores_path(&soft.stores, "audit/00000001.jsonl"), "r"));
    while (fgets(line, sizeof(line), file) != NULL)
        count += strstr(line, text) != NULL;
    (void)fclose(file);
    return count;
}

/* ---- tests ---- */

static void
test_deleted_key_signs_nothing_more_in_a_handshake_under_way(void **state)
{
    const char *m2 = start_and_accept(), *m3;
    unsigned signatures;

    (void)state;
    m3 = sent(soft_ok(RPC_HANDSHAKE_RECEIVE, receive_params(client_id, m2)));
    soft_ok(RPC_HANDSHAKE_RECEIVE, receive_params(server_id, m3));
    m2 = start_and_accept();
    soft_ok(RPC_KEY_DELETE, "{\"name\":\"agent\"}");
    signatures = soft.signatures;
    assert_err(soft_call(RPC_HANDSHAKE_RECEIVE, receive_params(client_id, m2)),
               ATH_ERR_KEY_NOT_FOUND);
    soft_ok(RPC_KEY_CREATE, AGENT); /* another one of the name is no replacement */
    assert_err(soft_call(RPC_HANDSHAKE_RECEIVE, receive_params(client_id, m2)),
               ATH_ERR_KEY_NOT_FOUND);
    assert_int_equal(soft.signatures, signatures);
}

static void
test_the_question_shows_all_that_an_attestation_is_for(void **state)
{
    (void)state;
    key_store_find(soft.tenant->keys, "agent")->confirm = KEY_CONFIRM_ALWAYS;
    soft_ok(RPC_ATTESTATION_CREATE,
            "{\"key\":\"agent\",\"audience\":[\"https://good.example\",\"https://evil.example\"],"
            "\"capabilities\":[\"pay\"],\"ttl\":3600}");
    assert_non_null(strstr(soft.question, "To: \"https://good.example\"\n"));
    assert_non_null(strstr(soft.question, "To: \"https://evil.example\"\n"));
    assert_non_null(strstr(soft.question, "\"pay\"\n"));
    assert_non_null(strstr(soft.question, "For: 1 hour\n"));
}

/* The audit key's kind: who could use one as an identity could have it sign for a counter. */
static void
test_restricted_key_is_no_identity(void **state)
{
    (void)state;
    soft.facts.restricted = true;
    assert_err(soft_call(RPC_KEY_CREATE, "{\"name\":\"other\",\"role\":\"client\"}"),
               ATH_ERR_INVALID_PARAMS);
    assert_null(key_store_find(soft.tenant->keys, "other"));
    soft.facts.restricted = false;
    soft_ok(RPC_KEY_CREATE, "{\"name\":\"other\",\"role\":\"client\"}");
}

/* As many scopes as a message may hold: more than a record. */
static const char *
too_many_scopes(void)
{
    static char message[MESSAGE_MAX_LEN + 1];
    size_t len;

    len = (size_t)snprintf(message, sizeof(message),
                           "{\"type\":\"scope_request\",\"timestamp\":1,\"scopes\":[\"a:b\"");
    while (len < MESSAGE_MAX_LEN - 16)
        len += (size_t)snprintf(message + len, sizeof(message) - len, ",\"a:%05zu\"", len);
    (void)snprintf(message + len, sizeof(message) - len, "]}");
    return message;
}

static void
test_a_refused_attempt_leaves_its_record_whatever_it_asked_for(void **state)
{
    static char params[MESSAGE_MAX_LEN + 256];
    const char *m2 = start_and_accept(), *m3;
    int before = count_records("access_denied");

    (void)state;
    m3 = sent(soft_ok(RPC_HANDSHAKE_RECEIVE, receive_params(client_id, m2)));
    soft_ok(RPC_HANDSHAKE_RECEIVE, receive_params(server_id, m3));
    (void)snprintf(params, sizeof(params), "{\"handshake\":\"%s\",\"message\":%s}", server_id,
                   too_many_scopes());
    (void)soft_call(RPC_HANDSHAKE_RECEIVE, params);
    assert_int_equal(count_records("access_denied"), before + 1);
}

/* To a server that nobody has ever heard of: nothing is sent, nothing signed. */
static void
test_a_caller_who_starts_handshakes_without_end_does_not_keep_others_from_theirs(void **state)
{
    const char *params =
        "{\"key\":\"agent\",\"scopes\":[\"a:b\"],\"server\":{\"origin\":\"https://x.example\"}}";
    const struct soft_answer *answer;
    unsigned i;

    (void)state;
    for (i = 0; i < HANDSHAKES_PER_CALLER; i++)
        soft_ok(RPC_HANDSHAKE_START, params);
    answer = soft_call(RPC_HANDSHAKE_START, params);
    assert_err(answer, ATH_ERR_LIMIT_EXCEEDED);
    soft.caller = 2;
    soft_ok(RPC_HANDSHAKE_START, params);
    (void)start_and_accept(); /* a server's are limited by source and service */
}

static void
test_the_name_of_a_pin_stays_when_its_server_is_met_at_an_origin(void **state)
{
    const char *did = key_store_find(soft.tenant->keys, "shop")->did;
    const struct json *result;

    (void)state;
    soft_ok(RPC_SERVICE_PUT, "{\"name\":\"mail\",\"key\":\"shop\",\"scopes_supported\":[\"a:b\"],"
                             "\"token_max_ttl\":600,\"require_user_confirmation\":false,"
                             "\"agents\":{\"*\":[\"a:b\"]},\"users\":{\"*\":\"everybody\"},"
                             "\"origins\":[\"https://m.example\"]}");
    soft_ok(RPC_PEER_PIN, soft_text("{\"did\":\"%s\",\"name\":\"my-shop\"}", did));
    result = soft_ok(RPC_HANDSHAKE_START, "{\"key\":\"agent\",\"scopes\":[\"a:b\"],"
                                          "\"server\":{\"origin\":\"https://m.example\"}}");
    (void)snprintf(client_id, sizeof(client_id), "%s", json_get_string(result, "handshake"));
    result = soft_ok(RPC_HANDSHAKE_ACCEPT,
                     soft_text("{\"service\":\"mail\",\"message\":%s}", sent(result)));
    soft_ok(RPC_HANDSHAKE_RECEIVE, receive_params(client_id, sent(result)));
    assert_string_equal(peer_store_find(soft.tenant->peers, did)->origin, "https://m.example");
    assert_string_equal(peer_store_find(soft.tenant->peers, did)->name, "my-shop");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_deleted_key_signs_nothing_more_in_a_handshake_under_way),
        TEST(test_the_question_shows_all_that_an_attestation_is_for),
        TEST(test_restricted_key_is_no_identity),
        TEST(test_a_refused_attempt_leaves_its_record_whatever_it_asked_for),
        TEST(test_a_caller_who_starts_handshakes_without_end_does_not_keep_others_from_theirs),
        TEST(test_the_name_of_a_pin_stays_when_its_server_is_met_at_an_origin),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
