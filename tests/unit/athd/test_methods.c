/* The methods against a soft daemon (methods_soft_daemon.h): a user, a client and a server at one
 * athd. */
#include "methods_soft_daemon.h"

#include "athd/handshake_table.h"
#include "athd/session_table.h"
#include "base/clock.h"
#include "base/file.h"
#include "protocol/protocol_limits.h"

#define PATIENCE_S 100

#define AGENT "{\"name\":\"agent\",\"role\":\"client\",\"agent_id\":\"https://a.example/x\"}"

/* ---- the scene ---- */

static const char *client_did, *server_did;
static char client_id[64], server_id[64];

static void
copy_id(char ret_id[64], const struct json *result)
{
    assert_non_null(json_get_string(result, "handshake"));
    (void)snprintf(ret_id, 64, "%s", json_get_string(result, "handshake"));
}

static void
put_service(bool confirm)
{
    soft_ok(RPC_SERVICE_PUT,
            soft_text("{\"name\":\"mail\",\"key\":\"shop\",\"scopes_supported\":[\"a:b\",\"c:d\"],"
                      "\"token_max_ttl\":600,\"require_user_confirmation\":%s,"
                      "\"agents\":{\"*\":[\"a:b\"]},\"users\":{\"*\":\"everybody\"},"
                      "\"origins\":[\"https://m.example\"]}",
                      confirm ? "true" : "false"));
}

static int
setup(void **state)
{
    (void)state;
    fake_clock_set(1790000000); /* it stands: nothing ends, however long a test takes */
    soft_begin();
    soft_ok(RPC_KEY_CREATE, "{\"name\":\"alice\",\"role\":\"user\"}");
    soft_ok(RPC_KEY_CREATE, AGENT);
    soft_ok(RPC_KEY_CREATE, "{\"name\":\"shop\",\"role\":\"server\"}");
    client_did = key_store_find(soft.tenant->keys, "agent")->did;
    server_did = key_store_find(soft.tenant->keys, "shop")->did;
    put_service(false);
    soft_ok(
        RPC_CREDENTIAL_ISSUE,
        soft_text("{\"key\":\"alice\",\"client\":\"%s\",\"scopes\":[\"a:b\",\"c:d\"],\"ttl\":3600}",
                  client_did));
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
start_params(void)
{
    return soft_text("{\"key\":\"agent\",\"scopes\":[\"a:b\",\"c:d\"],\"server\":{\"did\":\"%s\"}}",
                     server_did);
}

static const char *
accept_params(const char *m1)
{
    return soft_text("{\"service\":\"mail\",\"source\":\"s\",\"message\":%s}", m1);
}

static const char *
receive_params(const char *id, const char *message)
{
    return soft_text("{\"handshake\":\"%s\",\"message\":%s}", id, message);
}

static const char *
sent(const struct json *result)
{
    assert_non_null(json_get(result, "send"));
    return soft_json(json_get(result, "send"));
}

/* Params of the step that comes next: 1 start, 2 accept, 3 client takes M2, 4 server M3, 5 client
 * M4, 6 server M5, 7 user M6, 8 server M7, 9 client M8, 10 client M9. Steps 7 and 8 only with
 * confirmation. Runs everything before it. */
static const char *m8, *m9;

static void
take_pair(const struct json *result)
{
    const struct json *pair = json_get(result, "send");

    assert_int_equal(json_count(pair), 2);
    m8 = soft_json(json_first(pair));
    m9 = soft_json(json_next(json_first(pair)));
}

static const char *
params_of_step(int step, bool confirm)
{
    const struct json *result;

    if (step == 1)
        return start_params();
    result = soft_ok(RPC_HANDSHAKE_START, start_params());
    copy_id(client_id, result);
    if (step == 2)
        return accept_params(sent(result));
    result = soft_ok(RPC_HANDSHAKE_ACCEPT, accept_params(sent(result)));
    copy_id(server_id, result);
    for (int i = 3; i <= 6; i++) {
        const char *params = receive_params(i % 2 == 1 ? client_id : server_id, sent(result));

        if (i == step)
            return params;
        result = soft_ok(RPC_HANDSHAKE_RECEIVE, params);
    }
    if (confirm) {
        const char *m6 = soft_json(json_get(result, "confirm"));

        if (step == 7)
            return soft_text("{\"key\":\"alice\",\"message\":%s}", m6);
        result =
            soft_ok(RPC_CONFIRMATION_ANSWER, soft_text("{\"key\":\"alice\",\"message\":%s}", m6));
        if (step == 8)
            return receive_params(server_id, sent(result));
        result = soft_ok(RPC_HANDSHAKE_RECEIVE, receive_params(server_id, sent(result)));
    }
    take_pair(result);
    if (step == 9)
        return receive_params(client_id, m8);
    soft_ok(RPC_HANDSHAKE_RECEIVE, receive_params(client_id, m8));
    return receive_params(client_id, m9);
}

static enum rpc_method_id
method_of_step(int step)
{
    return step == 1   ? RPC_HANDSHAKE_START
           : step == 2 ? RPC_HANDSHAKE_ACCEPT
           : step == 7 ? RPC_CONFIRMATION_ANSWER
                       : RPC_HANDSHAKE_RECEIVE;
}

static void
assert_whole_handshake_works(bool confirm)
{
    const struct json *result = soft_ok(RPC_HANDSHAKE_RECEIVE, params_of_step(10, confirm));

    assert_string_equal(json_get_string(result, "state"), "done");
    assert_non_null(json_get_string(json_get(result, "result"), "access_token"));
}

static void
assert_err(const struct soft_answer *answer, ath_err err)
{
    if (answer->err != err)
        fail_msg("%s instead of %s: %s", ath_err_reason(answer->err), ath_err_reason(err),
                 answer->why.text);
}

/* ---- tests ---- */

static void
test_handshake_goes_through_with_and_without_confirmation(void **state)
{
    unsigned questions;

    (void)state;
    assert_whole_handshake_works(false);
    put_service(true);
    questions = soft.questions;
    assert_whole_handshake_works(true);
    assert_int_equal(soft.questions, questions + 1);
    assert_int_equal(handshake_table_count(soft.tenant->handshakes), 0);
    assert_int_equal(session_table_count(soft.tenant->sessions), 4);
}

static void
test_caller_who_leaves_leaves_a_handshake_that_goes_on(void **state)
{
    const char *params;

    (void)state;
    for (int step = 3; step <= 6; step++) {
        if (step == 4)
            continue; /* the server signs nothing for M4 */
        params = params_of_step(step, false);
        soft.hold = true;
        soft_send(0, RPC_HANDSHAKE_RECEIVE, params);
        soft_send(1, RPC_HANDSHAKE_RECEIVE, params);
        assert_err(soft_wait(1), ATH_ERR_HSM_BUSY);
        soft_cancel(0, ATH_ERR_CONSENT_TIMEOUT);
        assert_err(soft_wait(0), ATH_ERR_CONSENT_TIMEOUT);
        soft.hold = false;
        assert_err(soft_call(RPC_HANDSHAKE_RECEIVE, params), ATH_OK);
    }
}

static void
test_other_message_than_the_one_without_answer_ends_the_handshake(void **state)
{
    const char *params = params_of_step(3, false);

    (void)state;
    soft.hsm_err = ATH_ERR_HSM_UNAVAILABLE;
    assert_err(soft_call(RPC_HANDSHAKE_RECEIVE, params), ATH_ERR_HSM_UNAVAILABLE);
    soft.hsm_err = ATH_OK;
    assert_err(
        soft_call(RPC_HANDSHAKE_RECEIVE,
                  receive_params(client_id, "{\"type\":\"identity_result\",\"timestamp\":1}")),
        ATH_ERR_UNEXPECTED_MESSAGE);
    assert_err(soft_call(RPC_HANDSHAKE_RECEIVE, params), ATH_ERR_UNEXPECTED_MESSAGE);
}

static void
test_hardware_that_is_away_leaves_and_that_refuses_ends_the_handshake(void **state)
{
    const char *params;

    (void)state;
    params = params_of_step(6, false);
    soft.hsm_err = ATH_ERR_HSM_BUSY;
    assert_err(soft_call(RPC_HANDSHAKE_RECEIVE, params), ATH_ERR_HSM_BUSY);
    soft.hsm_err = ATH_OK;
    assert_err(soft_call(RPC_HANDSHAKE_RECEIVE, params), ATH_OK);
    params = params_of_step(6, false);
    soft.hsm_err = ATH_ERR_HSM_ERROR;
    assert_err(soft_call(RPC_HANDSHAKE_RECEIVE, params), ATH_ERR_HSM_ERROR);
    soft.hsm_err = ATH_OK;
    assert_string_equal(
        json_get_string(soft_ok(RPC_HANDSHAKE_GET, soft_text("{\"handshake\":\"%s\"}", server_id)),
                        "state"),
        "failed");
    soft.hsm_err = ATH_ERR_HSM_UNAVAILABLE;
    assert_err(soft_call(RPC_HANDSHAKE_ACCEPT, params_of_step(2, false)), ATH_ERR_HSM_UNAVAILABLE);
    assert_int_equal(service_store_find(soft.tenant->services, "mail")->memory->half_open, 0);
}

static void
test_what_is_taken_away_in_the_middle_is_not_used_any_more(void **state)
{
    const char *params;

    (void)state;
    params = params_of_step(3, false);
    soft.hold = true;
    soft_send(0, RPC_HANDSHAKE_RECEIVE, params);
    soft_send(1, RPC_HANDSHAKE_ABORT, soft_text("{\"handshake\":\"%s\"}", client_id));
    assert_err(soft_wait(1), ATH_OK);
    soft_release();
    assert_err(soft_wait(0), ATH_ERR_UNEXPECTED_MESSAGE);
    soft.hold = false;

    params = params_of_step(6, false);
    soft.hold = true;
    soft_send(0, RPC_HANDSHAKE_RECEIVE, params);
    soft_send(1, RPC_SERVICE_DELETE, "{\"name\":\"mail\"}");
    assert_err(soft_wait(1), ATH_OK);
    soft_send(1, RPC_KEY_DELETE, "{\"name\":\"shop\"}");
    assert_err(soft_wait(1), ATH_OK);
    soft_release();
    assert_int_not_equal(soft_wait(0)->err, ATH_OK);
    assert_int_equal(session_table_count(soft.tenant->sessions), 0);
}

static void
test_server_whose_hardware_is_too_busy_wants_cookie_and_proof(void **state)
{
    const char *m1, *retry, *proven;
    const struct json *result;

    (void)state;
    result = soft_ok(RPC_HANDSHAKE_START, start_params());
    copy_id(client_id, result);
    m1 = sent(result);
    soft.wait_ms = 3500;
    result = soft_ok(RPC_HANDSHAKE_ACCEPT, accept_params(m1));
    assert_null(json_get(result, "handshake"));
    assert_string_equal(json_get_string(json_get(result, "send"), "type"), "handshake_retry");
    assert_int_equal(soft.signatures, 1); /* the grant's */
    retry = sent(result);
    result = soft_ok(RPC_HANDSHAKE_RECEIVE, receive_params(client_id, retry));
    assert_int_equal(soft.signatures, 2);
    assert_true(json_is_number(json_get(result, "wait")));
    proven = sent(result);
    soft.wait_ms = 0;
    assert_err(
        soft_call(RPC_HANDSHAKE_ACCEPT, soft_text("{\"service\":\"mail\",\"message\":%s}", proven)),
        ATH_ERR_INVALID_MESSAGE); /* another source */
    result = soft_ok(RPC_HANDSHAKE_ACCEPT, accept_params(proven));
    copy_id(server_id, result);
    result = soft_ok(RPC_HANDSHAKE_RECEIVE, receive_params(client_id, sent(result)));
    soft_ok(RPC_HANDSHAKE_RECEIVE, receive_params(server_id, sent(result)));
    assert_err(soft_call(RPC_HANDSHAKE_ACCEPT, accept_params(proven)), ATH_ERR_INVALID_MESSAGE);
}

/* M2 for a client that knows only an origin. */
static const char *
params_of_first_contact(void)
{
    const struct json *result;

    result = soft_ok(RPC_HANDSHAKE_START, "{\"key\":\"agent\",\"scopes\":[\"a:b\"],"
                                          "\"server\":{\"origin\":\"https://m.example\"}}");
    copy_id(client_id, result);
    result = soft_ok(RPC_HANDSHAKE_ACCEPT, accept_params(sent(result)));
    return receive_params(client_id, sent(result));
}

static void
test_yes_to_one_server_does_not_move_an_origin_that_got_another_meanwhile(void **state)
{
    const char *first, *second, *third;
    unsigned questions;

    (void)state;
    put_service(false);
    first = params_of_first_contact();
    second = params_of_first_contact();
    third = params_of_first_contact();
    questions = soft.questions;
    soft_ok(RPC_HANDSHAKE_RECEIVE, first);
    soft_ok(RPC_HANDSHAKE_RECEIVE, second);
    assert_int_equal(soft.questions, questions + 1);
    soft_ok(RPC_PEER_PIN, soft_text("{\"did\":\"did:key:%s\",\"origin\":\"https://m.example\"}",
                                    "zDnaerDaTF5BXEavCrfRZEk316dpbLsfPDZ3WJ5hRTPFU2169"));
    assert_err(soft_call(RPC_HANDSHAKE_RECEIVE, third), ATH_ERR_PEER_KEY_CHANGED);
    assert_int_equal(soft.questions, questions + 1);
}

static void
test_user_is_asked_as_the_key_says(void **state)
{
    const char *issue = soft_text(
        "{\"key\":\"alice\",\"client\":\"%s\",\"scopes\":[\"a:b\"],\"ttl\":60}", client_did);
    struct key *key = key_store_find(soft.tenant->keys, "alice");
    unsigned questions = soft.questions, signatures = soft.signatures;

    (void)state;
    soft.consent = ATH_ERR_USER_DENIED;
    assert_err(soft_call(RPC_CREDENTIAL_ISSUE, issue), ATH_ERR_USER_DENIED);
    soft.consent = ATH_ERR_NO_PROMPTER;
    assert_err(soft_call(RPC_CREDENTIAL_ISSUE, issue), ATH_ERR_NO_PROMPTER);
    assert_int_equal(soft.questions, questions + 2);
    assert_int_equal(soft.signatures, signatures);
    soft.consent = ATH_OK;
    key->confirm = KEY_CONFIRM_SESSION;
    key->confirmed = false;
    soft_ok(RPC_CREDENTIAL_ISSUE, issue);
    soft_ok(RPC_CREDENTIAL_ISSUE, issue);
    assert_int_equal(soft.questions, questions + 3);
    key->confirm = KEY_CONFIRM_NEVER;
    soft_ok(RPC_CREDENTIAL_ISSUE, issue);
    assert_int_equal(soft.questions, questions + 3);
    key_store_find(soft.tenant->keys, "agent")->confirm = KEY_CONFIRM_ALWAYS;
    soft_ok(RPC_ATTESTATION_CREATE, "{\"key\":\"agent\",\"audience\":\"https://x.example\"}");
    assert_int_equal(soft.questions, questions + 4);
    assert_whole_handshake_works(false); /* once, not for each of its signatures */
    assert_int_equal(soft.questions, questions + 5);
}

static void
test_expired_key_signs_nothing(void **state)
{
    (void)state;
    key_store_find(soft.tenant->keys, "agent")->expires_at = clock_now();
    assert_err(soft_call(RPC_HANDSHAKE_START, start_params()), ATH_ERR_KEY_EXPIRED);
    assert_err(
        soft_call(RPC_ATTESTATION_CREATE, "{\"key\":\"agent\",\"audience\":\"https://x.example\"}"),
        ATH_ERR_KEY_EXPIRED);
}

/* Every step with its 1st, 2nd, 3rd ... allocation failing: an error, nothing leaked, and others go
 * on. */
static void
fail_each_allocation(int step, bool confirm, unsigned stride)
{
    unsigned rounds = 0;

    for (unsigned nth = 1;; nth += stride) {
        const struct soft_answer *answer;
        const char *params;

        /* else the user would have a rest from an M6 that got lost, and half-open ones would add up
         */
        if (confirm || rounds++ % 32 == 0) {
            soft_ok(RPC_SERVICE_DELETE, "{\"name\":\"mail\"}");
            put_service(confirm);
        }
        params = params_of_step(step, confirm);
        soft.fail_allocation = nth;
        answer = soft_call(method_of_step(step), params);
        if (!soft.failed) {
            assert_err(answer, ATH_OK);
            return;
        }
    }
}

static void
test_handshake_survives_each_failing_allocation(void **state)
{
    (void)state;
    for (int step = 1; step <= 10; step++)
        if (step != 7 && step != 8)
            fail_each_allocation(step, false, step <= 2 ? 3 : 7);
    assert_whole_handshake_works(false);
}

static void
test_confirmation_survives_each_failing_allocation(void **state)
{
    (void)state;
    put_service(true);
    fail_each_allocation(6, true, 7);
    fail_each_allocation(7, true, 7);
    fail_each_allocation(8, true, 7);
    soft_ok(RPC_SERVICE_DELETE, "{\"name\":\"mail\"}");
    put_service(true);
    assert_whole_handshake_works(true);
}

static void
fail_each_allocation_of(enum rpc_method_id method, const char *params)
{
    for (unsigned nth = 1;; nth++) {
        const struct soft_answer *answer;

        soft.fail_allocation = nth;
        answer = soft_call(method, params);
        if (!soft.failed) {
            assert_err(answer, ATH_OK);
            return;
        }
    }
}

static void
test_other_methods_survive_each_failing_allocation(void **state)
{
    const char *grant = json_string(json_get(
        soft_ok(RPC_CREDENTIAL_ISSUE,
                soft_text("{\"key\":\"alice\",\"client\":\"%s\",\"scopes\":[\"a:b\"],\"ttl\":60}",
                          client_did)),
        "credential"));
    char credential[2048], session[64];

    (void)state;
    (void)snprintf(credential, sizeof(credential), "{\"credential\":\"%s\"}", grant);
    assert_whole_handshake_works(false);
    (void)snprintf(session, sizeof(session), "%s",
                   json_get_string(json_get(soft_ok(RPC_HANDSHAKE_GET,
                                                    soft_text("{\"handshake\":\"%s\"}", client_id)),
                                            "result"),
                                   "session"));
    fail_each_allocation_of(RPC_KEY_LIST, "{}");
    fail_each_allocation_of(RPC_KEY_GET, "{\"name\":\"agent\"}");
    fail_each_allocation_of(RPC_KEY_EXPORT, "{\"name\":\"agent\",\"format\":\"ssh\"}");
    fail_each_allocation_of(RPC_KEY_EXPORT, "{\"name\":\"agent\",\"format\":\"jwk\"}");
    fail_each_allocation_of(RPC_SERVICE_LIST, "{}");
    fail_each_allocation_of(RPC_CREDENTIAL_PUT, credential);
    fail_each_allocation_of(RPC_CREDENTIAL_VERIFY, credential);
    fail_each_allocation_of(RPC_CREDENTIAL_LIST, "{}");
    fail_each_allocation_of(RPC_HANDSHAKE_LIST, "{}");
    fail_each_allocation_of(RPC_HANDSHAKE_GET, soft_text("{\"handshake\":\"%s\"}", client_id));
    fail_each_allocation_of(RPC_SESSION_LIST, "{}");
    fail_each_allocation_of(RPC_SESSION_SEAL,
                            soft_text("{\"session\":\"%s\",\"plaintext\":\"AAAA\"}", session));
    fail_each_allocation_of(RPC_SESSION_TOKEN, soft_text("{\"session\":\"%s\"}", session));
    fail_each_allocation_of(
        RPC_PEER_PIN, soft_text("{\"did\":\"%s\",\"origin\":\"https://m.example\"}", server_did));
    fail_each_allocation_of(RPC_PEER_LIST, "{}");
    fail_each_allocation_of(RPC_ATTESTATION_CREATE,
                            "{\"key\":\"agent\",\"audience\":[\"https://x.example\"]}");
    fail_each_allocation_of(
        RPC_CREDENTIAL_ISSUE,
        soft_text("{\"key\":\"alice\",\"client\":\"%s\",\"audience\":\"%s\",\"scopes\":[\"a:b\"],"
                  "\"ttl\":60}",
                  client_did, server_did));
    put_service(false);
    assert_whole_handshake_works(false);
}

/* Params of attestation.verify for one that the agent's key has just signed. */
static const char *
attestation_by_agent(void)
{
    const char *jwt = soft_json(json_get(
        soft_ok(RPC_ATTESTATION_CREATE, "{\"key\":\"agent\",\"audience\":\"https://x.example\"}"),
        "jwt"));
    const char *jwk = soft_json(
        json_get(soft_ok(RPC_KEY_EXPORT, "{\"name\":\"agent\",\"format\":\"jwk\"}"), "data"));

    return soft_text("{\"jwt\":%s,\"audience\":\"https://x.example\",\"public_key\":%s}", jwt, jwk);
}

static void
test_key_is_made_whole_or_not_at_all_when_memory_is_short(void **state)
{
    bool failed = true;

    (void)state;
    for (unsigned nth = 1; failed; nth++) {
        const struct soft_answer *answer;

        soft_ok(RPC_KEY_DELETE, "{\"name\":\"agent\"}");
        soft.fail_allocation = nth;
        answer = soft_call(RPC_KEY_CREATE, AGENT);
        failed = soft.failed;
        if (answer->err != ATH_OK && answer->err != ATH_ERR_AUDIT_UNAVAILABLE)
            assert_err(answer, ATH_ERR_NOMEM);
        /* it is there also when only the answer could not be made */
        if (key_store_find(soft.tenant->keys, "agent") == NULL)
            soft_ok(RPC_KEY_CREATE, AGENT);
        soft_ok(RPC_ATTESTATION_VERIFY, attestation_by_agent());
    }
}

/* ---- keys that are in a token already ---- */

static const struct soft_answer *
import(const char *rest)
{
    return soft_call(RPC_KEY_IMPORT, soft_text("{\"name\":\"mine\",\"role\":\"client\",%s}", rest));
}

#define CARD_KEY "\"pkcs11_uri\":\"pkcs11:token=card;object=me\""

static void
test_key_of_a_token_is_adopted_under_the_name_the_token_gives_it(void **state)
{
    const struct soft_answer *answer;

    (void)state;
    soft.is_token = true;
    soft.facts = (struct hsm_key_facts){.generated_inside = true, .never_extractable = true};
    assert_int_equal((answer = import(CARD_KEY))->err, ATH_OK);
    assert_string_equal(soft.opened, "pkcs11:token=card;object=me");
    assert_string_equal(json_get_string(answer->result, "uri"),
                        "pkcs11:token=card;serial=7;id=%01");
    assert_string_equal(json_get_string(answer->result, "hsm_kind"), "pkcs11");
    assert_true(json_is_true(json_get(json_get(answer->result, "hardware"), "never_extractable")));
    assert_int_equal(soft.forgotten, 0);
    /* the same key under a second name */
    answer = soft_call(RPC_KEY_IMPORT, "{\"name\":\"again\",\"role\":\"user\"," CARD_KEY "}");
    assert_err(answer, ATH_ERR_KEY_EXISTS);
    assert_int_equal(soft.forgotten, 1); /* the helper need not know it under both */
}

static void
test_what_names_no_key_of_the_token_is_refused(void **state)
{
    static const struct {
        const char *params;
        ath_err err;
        const char *why;
    } wrong[] = {
        {"\"confirm\":\"never\"", ATH_ERR_INVALID_PARAMS, "give one of"},
        {CARD_KEY ",\"tss2_pem\":\"x\"", ATH_ERR_INVALID_PARAMS, "give one of"},
        {"\"pkcs11_uri\":\"pkcs11:token=card\"", ATH_ERR_INVALID_PARAMS, "names no key"},
        {"\"pkcs11_uri\":\"pkcs11:token=card;object=a?module-path=/evil.so\"",
         ATH_ERR_INVALID_PARAMS, "module-path"},
        {"\"pkcs11_uri\":\"pkcs11:token=card;object=a?module-name=evil\"", ATH_ERR_INVALID_PARAMS,
         "module-name"},
        {"\"pkcs11_uri\":\"pkcs11:token=card;object=a?pin-source=file:/etc/passwd\"",
         ATH_ERR_INVALID_PARAMS, "pin-source"},
        {"\"pkcs11_uri\":\"pkcs11:token=other;object=a\"", ATH_ERR_HSM_NOT_FOUND, "no hsm"},
        {"\"pkcs11_uri\":\"pkcs11:token=card;object=a\",\"hsm\":\"nowhere\"", ATH_ERR_HSM_NOT_FOUND,
         "no hsm"},
        {"\"tss2_pem\":\"x\"", ATH_ERR_INVALID_PARAMS, "PKCS#11 token"},
    };
    const struct soft_answer *answer;
    size_t i;

    (void)state;
    soft.is_token = true;
    for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        answer = import(wrong[i].params);
        assert_err(answer, wrong[i].err);
        assert_non_null(strstr(answer->why.text, wrong[i].why));
    }
    assert_string_equal(soft.opened, "");
    soft.is_token = false;
    answer = import(CARD_KEY ",\"hsm\":\"soft\"");
    assert_err(answer, ATH_ERR_INVALID_PARAMS);
    assert_non_null(strstr(answer->why.text, "is a TPM"));
    soft.is_token = true;
    assert_int_equal(import(CARD_KEY)->err, ATH_OK); /* no failure has left its name behind */
}

static void
test_key_that_may_be_elsewhere_is_adopted_only_when_told(void **state)
{
    const struct soft_answer *answer;

    (void)state;
    soft.is_token = true;
    soft.facts = (struct hsm_key_facts){.extractable = true};
    answer = import(CARD_KEY);
    assert_err(answer, ATH_ERR_INVALID_PARAMS);
    assert_non_null(strstr(answer->why.text, "allow_extractable"));
    assert_int_equal(soft.forgotten, 1);
    soft.facts = (struct hsm_key_facts){.restricted = true};
    assert_err(import(CARD_KEY ",\"allow_extractable\":true"), ATH_ERR_INVALID_PARAMS);
    assert_int_equal(soft.forgotten, 2);
    soft.facts = (struct hsm_key_facts){.extractable = true};
    answer = import(CARD_KEY ",\"allow_extractable\":true");
    assert_int_equal(answer->err, ATH_OK);
    assert_non_null(json_get(json_get(answer->result, "hardware"), "warnings"));
}

static void
test_token_that_fails_leaves_no_key(void **state)
{
    (void)state;
    soft.is_token = true;
    soft.hsm_err = ATH_ERR_HSM_UNAVAILABLE;
    assert_err(import(CARD_KEY), ATH_ERR_HSM_UNAVAILABLE);
    assert_null(key_store_find(soft.tenant->keys, "mine"));
    soft.hold = true;
    soft_send(0, RPC_KEY_IMPORT, "{\"name\":\"mine\",\"role\":\"client\"," CARD_KEY "}");
    soft_cancel(0, ATH_ERR_CONSENT_TIMEOUT);
    assert_err(soft_wait(0), ATH_ERR_CONSENT_TIMEOUT);
    soft.hold = false;
    soft.hsm_err = ATH_OK;
    assert_int_equal(import(CARD_KEY)->err, ATH_OK);
}

/* The log's first segment. */
static char *
audit_text(void)
{
    struct ath_buf text = {0};
    char *copy;

    assert_int_equal(file_read(stores_path(&soft.stores, "audit/00000001.jsonl"), &text, NULL),
                     ATH_OK);
    assert_non_null(copy = ath_slice_dup(ath_buf_slice(&text)));
    ath_buf_done(&text);
    return copy;
}

/* The same, with this in it: the answer to a request may be there before a record that it does not
 * wait for. */
static char *
audit_text_with(const char *words)
{
    uint64_t ends_at_ns = uv_hrtime() + PATIENCE_S * UINT64_C(1000000000);
    char *text;

    while (strstr(text = audit_text(), words) == NULL) {
        free(text);
        assert_true(uv_hrtime() < ends_at_ns);
        soft_turn();
    }
    return text;
}

static void
test_key_whose_token_is_away_stays_and_the_log_says_so(void **state)
{
    char *log;

    (void)state;
    soft.is_token = true;
    assert_int_equal(import(CARD_KEY)->err, ATH_OK);
    assert_err(soft_call(RPC_KEY_DELETE, "{\"name\":\"mine\"}"), ATH_ERR_HSM_UNAVAILABLE);
    assert_non_null(key_store_find(soft.tenant->keys, "mine"));
    soft_ok(RPC_KEY_LIST, "{}");
    log = audit_text_with("\"key_not_deleted\"");
    assert_non_null(strstr(log, "\"key_deleted\""));
    assert_true(strstr(log, "\"key_deleted\"") < strstr(log, "\"key_not_deleted\""));
    free(log);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_handshake_goes_through_with_and_without_confirmation),
        TEST(test_caller_who_leaves_leaves_a_handshake_that_goes_on),
        TEST(test_other_message_than_the_one_without_answer_ends_the_handshake),
        TEST(test_hardware_that_is_away_leaves_and_that_refuses_ends_the_handshake),
        TEST(test_what_is_taken_away_in_the_middle_is_not_used_any_more),
        TEST(test_server_whose_hardware_is_too_busy_wants_cookie_and_proof),
        TEST(test_yes_to_one_server_does_not_move_an_origin_that_got_another_meanwhile),
        TEST(test_user_is_asked_as_the_key_says),
        TEST(test_expired_key_signs_nothing),
        TEST(test_handshake_survives_each_failing_allocation),
        TEST(test_confirmation_survives_each_failing_allocation),
        TEST(test_other_methods_survive_each_failing_allocation),
        TEST(test_key_is_made_whole_or_not_at_all_when_memory_is_short),
        TEST(test_key_of_a_token_is_adopted_under_the_name_the_token_gives_it),
        TEST(test_what_names_no_key_of_the_token_is_refused),
        TEST(test_key_that_may_be_elsewhere_is_adopted_only_when_told),
        TEST(test_token_that_fails_leaves_no_key),
        TEST(test_key_whose_token_is_away_stays_and_the_log_says_so),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
