#include "fake_athd.h"

#include <poll.h>

#include "ath/client.h"

#define LINE 4096
#define PATIENCE_MS 100000

static struct ath_client *
connect_to(struct fake_athd *athd, fake_athd_fn *serve)
{
    struct ath_client *client = ath_client_new();

    fake_athd_start(athd, serve);
    assert_non_null(client);
    assert_int_equal(ath_client_connect(client, athd->path), ATH_OK);
    ath_client_set_timeout(client, PATIENCE_MS);
    return client;
}

static void
end(struct ath_client *client, struct fake_athd *athd)
{
    ath_client_free(client);
    fake_athd_stop(athd);
}

/* ---- calls ---- */

static void
serve_echo(int fd)
{
    char line[LINE], answer[LINE + 100];
    int id = 0;

    while (fake_athd_read(fd, line, sizeof(line))) {
        const char *params = strstr(line, "\"params\":");

        snprintf(answer, sizeof(answer), "{\"jsonrpc\":\"2.0\",\"id\":%d,\"result\":%s\r\n", ++id,
                 params == NULL ? "null}" : params + 9);
        fake_athd_say(fd, answer);
    }
}

static void
test_a_call_gives_the_result(void **state)
{
    struct fake_athd athd;
    struct ath_client *client = connect_to(&athd, serve_echo);
    char *result = NULL;

    (void)state;
    assert_int_equal(ath_client_call(client, "any.method", "{ \"a\" : [1,\n2] }", &result), ATH_OK);
    assert_string_equal(result, "{\"a\":[1,2]}");
    ath_string_free(result);
    assert_int_equal(ath_client_call(client, "any.method", NULL, &result), ATH_OK);
    assert_string_equal(result, "{}");
    ath_string_free(result);
    assert_int_equal(ath_client_call(client, "any.method", NULL, NULL), ATH_OK);
    assert_string_equal(ath_client_error_reason(client), "OK");
    end(client, &athd);
}

static void
test_params_that_are_no_object_are_refused_here(void **state)
{
    struct fake_athd athd;
    struct ath_client *client = connect_to(&athd, serve_echo);

    (void)state;
    assert_int_equal(ath_client_call(client, "m", "[1]", NULL), ATH_ERR_INVALID_PARAMS);
    assert_int_equal(ath_client_call(client, "m", "{\"a\":1", NULL), ATH_ERR_PARSE);
    assert_int_equal(ath_client_call(client, "m", "{\"a\":1,\"a\":2}", NULL), ATH_ERR_PARSE);
    assert_non_null(strstr(ath_client_error_message(client), "a"));
    assert_int_equal(ath_client_call(client, "m", "{}", NULL),
                     ATH_OK); /* nothing was sent before */
    end(client, &athd);
}

static void
serve_error(int fd)
{
    char line[LINE];

    while (fake_athd_read(fd, line, sizeof(line)))
        fake_athd_say(
            fd, "{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-32003,\"message\":\"no key "
                "k\",\"data\":{\"reason\":\"KEY_NOT_FOUND\",\"name\":\"k\"}}}\n");
}

static void
test_an_error_keeps_reason_message_and_data(void **state)
{
    struct fake_athd athd;
    struct ath_client *client = connect_to(&athd, serve_error);
    char *result = NULL;

    (void)state;
    assert_int_equal(ath_client_call(client, "key.get", "{\"name\":\"k\"}", &result),
                     ATH_ERR_KEY_NOT_FOUND);
    assert_null(result);
    assert_string_equal(ath_client_error_reason(client), "KEY_NOT_FOUND");
    assert_string_equal(ath_client_error_message(client), "no key k");
    assert_int_equal(ath_client_error_code(client), -32003);
    assert_string_equal(ath_client_error_data(client),
                        "{\"reason\":\"KEY_NOT_FOUND\",\"name\":\"k\"}");
    end(client, &athd);
}

/* ---- pipelining and events ---- */

static void
serve_backwards(int fd)
{
    char line[LINE];
    int i;

    for (i = 0; i < 3; i++)
        fake_athd_read(fd, line, sizeof(line));
    fake_athd_say(fd,
                  "{\"jsonrpc\":\"2.0\",\"method\":\"event\",\"params\":{\"topic\":\"key\"}}\n"
                  "{\"jsonrpc\":\"2.0\",\"id\":3,\"result\":\"third\"}\n"
                  "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"first\"}\n"
                  "{\"jsonrpc\":\"2.0\",\"id\":2,\"error\":{\"code\":-32007,\"message\":\"slow\","
                  "\"data\":{\"reason\":\"RATE_LIMITED\"}}}\n");
    fake_athd_read(fd, line, sizeof(line));
}

static void
test_answers_come_in_any_order_and_events_wait(void **state)
{
    struct fake_athd athd;
    struct ath_client *client = connect_to(&athd, serve_backwards);
    char *result = NULL;
    int64_t id = 0;

    (void)state;
    assert_int_equal(ath_client_send(client, "m", NULL, &id), ATH_OK);
    assert_int_equal(id, 1);
    assert_int_equal(ath_client_send(client, "m", NULL, &id), ATH_OK);
    /* a call in between takes its own answer (id 3) and keeps what comes before */
    assert_int_equal(ath_client_call(client, "m", NULL, &result), ATH_OK);
    assert_string_equal(result, "\"third\"");
    ath_string_free(result);
    assert_int_equal(ath_client_receive(client, &id, &result), ATH_OK);
    assert_int_equal(id, 1);
    assert_string_equal(result, "\"first\"");
    ath_string_free(result);
    assert_int_equal(ath_client_receive(client, &id, NULL), ATH_ERR_RATE_LIMITED);
    assert_int_equal(id, 2);
    assert_int_equal(ath_client_events_kept(client), 1);
    assert_int_equal(ath_client_event(client, &result), ATH_OK);
    assert_string_equal(result, "{\"topic\":\"key\"}");
    assert_int_equal(ath_client_events_kept(client), 0);
    ath_string_free(result);
    end(client, &athd);
}

/* An event that comes in one piece with an answer, half of another, and after a word of ours the
 * rest. */
static void
serve_pieces(int fd)
{
    char line[LINE];

    fake_athd_read(fd, line, sizeof(line));
    fake_athd_say(fd, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n"
                      "{\"jsonrpc\":\"2.0\",\"method\":\"event\",\"params\":{\"n\":1}}\n"
                      "{\"jsonrpc\":\"2.0\",\"method\":\"event\",");
    fake_athd_read(fd, line, sizeof(line));
    fake_athd_say(fd, "\"params\":{\"n\":2}}\n{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":[2]}\n");
    fake_athd_read(fd, line, sizeof(line));
    fake_athd_say(fd, "this is not JSON-RPC\n");
    fake_athd_read(fd, line, sizeof(line));
}

static void
wait_for_events(struct ath_client *client, size_t count)
{
    struct pollfd entry = {.fd = ath_client_fd(client), .events = POLLIN};

    assert_int_equal(ath_client_take_in(client), ATH_OK);
    while (ath_client_events_kept(client) < count) {
        assert_int_equal(poll(&entry, 1, PATIENCE_MS), 1);
        assert_int_equal(ath_client_take_in(client), ATH_OK);
    }
}

static void
test_what_has_come_is_taken_in_without_waiting(void **state)
{
    struct fake_athd athd;
    struct ath_client *client = connect_to(&athd, serve_pieces);
    char *text = NULL;
    int64_t id = 0;
    ath_err err;

    (void)state;
    assert_int_equal(ath_client_call(client, "m", NULL, NULL), ATH_OK);
    wait_for_events(client, 1);
    assert_int_equal(ath_client_take_in(client), ATH_OK); /* half an event is none, and no error */
    assert_int_equal(ath_client_events_kept(client), 1);
    assert_int_equal(ath_client_send(client, "m", NULL, &id), ATH_OK);
    wait_for_events(client, 2);
    assert_int_equal(ath_client_receive(client, &id, &text), ATH_OK);
    assert_int_equal(id, 2);
    assert_string_equal(text, "[2]");
    ath_string_free(text);
    assert_int_equal(ath_client_event(client, &text), ATH_OK);
    ath_string_free(text);
    assert_int_equal(ath_client_event(client, &text), ATH_OK);
    assert_string_equal(text, "{\"n\":2}");
    ath_string_free(text);
    assert_int_equal(ath_client_send(client, "m", NULL, &id), ATH_OK);
    while ((err = ath_client_take_in(client)) == ATH_OK)
        ;
    assert_int_equal(err, ATH_ERR_UNREACHABLE);
    assert_non_null(strstr(ath_client_error_message(client), "JSON-RPC"));
    assert_int_equal(ath_client_take_in(client), ATH_ERR_UNREACHABLE);
    end(client, &athd);
}

/* Reads nothing more until its answers, far more than a socket holds, have been taken. */
static void
serve_flood(int fd)
{
    static char answer[200100], line[65536];
    int i;

    memset(answer, 'x', sizeof(answer) - 1);
    for (i = 0; i < 20; i++) {
        char head[80];
        size_t len = (size_t)snprintf(head, sizeof(head),
                                      "{\"jsonrpc\":\"2.0\",\"id\":%d,\"result\":\"", i + 1);

        memcpy(answer, head, len);
        memcpy(answer + sizeof(answer) - 4, "\"}\n", 4);
        if (!fake_athd_read(fd, line, sizeof(line)))
            return;
        fake_athd_say(fd, answer);
        memset(answer, 'x', len);
    }
    fake_athd_read(fd, line, sizeof(line));
}

static void
test_sending_reads_meanwhile_so_that_nobody_waits_for_ever(void **state)
{
    struct fake_athd athd;
    struct ath_client *client = connect_to(&athd, serve_flood);
    static char params[40100];
    char *result = NULL;
    int64_t id;
    int i;

    (void)state;
    memcpy(params, "{\"a\":\"", 6);
    memset(params + 6, 'y', 40000);
    strcpy(params + 40006, "\"}");
    /* more than both directions hold, of calls it has not read and answers nobody has read */
    for (i = 0; i < 20; i++)
        assert_int_equal(ath_client_send(client, "m", params, &id), ATH_OK);
    for (i = 0; i < 20; i++) {
        assert_int_equal(ath_client_receive(client, &id, &result), ATH_OK);
        assert_int_equal(id, i + 1);
        assert_true(strlen(result) > 199000);
        ath_string_free(result);
    }
    end(client, &athd);
}

/* ---- a connection that ends ---- */

static void
serve_silence(int fd)
{
    char line[LINE];

    while (fake_athd_read(fd, line, sizeof(line)))
        ;
}

static const char *
cause_of(struct ath_client *client)
{
    return ath_client_error_data(client);
}

static void
test_no_answer_in_time_closes_the_connection(void **state)
{
    struct fake_athd athd;
    struct ath_client *client = connect_to(&athd, serve_silence);

    (void)state;
    ath_client_set_timeout(client, 30);
    assert_int_equal(ath_client_call(client, "m", NULL, NULL), ATH_ERR_UNREACHABLE);
    assert_non_null(strstr(cause_of(client), "timeout"));
    assert_int_equal(ath_client_fd(client), -1);
    assert_int_equal(ath_client_call(client, "m", NULL, NULL), ATH_ERR_UNREACHABLE);
    assert_non_null(strstr(cause_of(client), "closed"));
    end(client, &athd);
}

static void
serve_nothing(int fd)
{
    close(fd);
}

static void
test_an_athd_that_ends_is_noticed_by_who_takes_in(void **state)
{
    struct fake_athd athd;
    struct ath_client *client = connect_to(&athd, serve_nothing);
    struct pollfd entry = {.fd = ath_client_fd(client), .events = POLLIN};

    (void)state;
    assert_int_equal(poll(&entry, 1, PATIENCE_MS), 1);
    assert_int_equal(ath_client_take_in(client), ATH_ERR_UNREACHABLE);
    assert_non_null(strstr(cause_of(client), "closed"));
    end(client, &athd);
}

static void
test_an_athd_that_ends_is_said_to_have_ended(void **state)
{
    struct fake_athd athd;
    struct ath_client *client = connect_to(&athd, serve_nothing);

    (void)state;
    assert_int_equal(ath_client_call(client, "m", NULL, NULL), ATH_ERR_UNREACHABLE);
    assert_non_null(strstr(cause_of(client), "closed"));
    assert_int_equal(ath_client_fd(client), -1);
    end(client, &athd);
}

static void
serve_garbage(int fd)
{
    char line[LINE];

    fake_athd_read(fd, line, sizeof(line));
    fake_athd_say(fd, "HTTP/1.1 400 Bad Request\r\n\r\n");
    fake_athd_read(fd, line, sizeof(line));
}

static void
test_what_is_not_json_rpc_ends_the_connection(void **state)
{
    struct fake_athd athd;
    struct ath_client *client = connect_to(&athd, serve_garbage);

    (void)state;
    assert_int_equal(ath_client_call(client, "m", NULL, NULL), ATH_ERR_UNREACHABLE);
    assert_non_null(strstr(ath_client_error_message(client), "not JSON-RPC"));
    end(client, &athd);
}

/* ---- handshake steps ---- */

#define DONE_WITH_M8_AND_M9                                                                        \
    "\"result\":{\"state\":\"done\",\"send\":[{\"n\":8},{\"n\":9}],"                               \
    "\"result\":{\"session\":\"s\"}}"
#define REFUSED_WITH_M4                                                                            \
    "\"error\":{\"code\":-32009,\"message\":\"no\",\"data\":{\"reason\":\"INVALID_SIGNATURE\","    \
    "\"send\":{\"type\":\"identity_result\"}}}"

static void
serve_handshake(int fd)
{
    static const char *const answers[] = {
        "\"result\":{\"handshake\":\"h1\",\"send\":{\"type\":\"handshake_request\"}}",
        "\"result\":{\"state\":\"waiting\",\"wait\":7,\"send\":{\"type\":\"again\"}}",
        "\"result\":{\"state\":\"confirm\",\"confirm\":{\"type\":\"m6\"}}",
        DONE_WITH_M8_AND_M9,
        REFUSED_WITH_M4,
    };
    char line[LINE], answer[LINE];
    size_t i;

    for (i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        if (!fake_athd_read(fd, line, sizeof(line)))
            return;
        /* the message goes as the text it is, and the handshake goes on under its name */
        if (i > 0 && (strstr(line, "\"handshake\":\"h1\"") == NULL ||
                      strstr(line, "\"message\":\"{\\\"a\\\": 1}\"") == NULL))
            return;
        snprintf(answer, sizeof(answer), "{\"jsonrpc\":\"2.0\",\"id\":%zu,%s}\n", i + 1,
                 answers[i]);
        fake_athd_say(fd, answer);
    }
    fake_athd_read(fd, line, sizeof(line));
}

static void
test_a_handshakes_steps_say_what_to_carry(void **state)
{
    static const char *const scopes[] = {"a:b", "c:d"};
    struct ath_handshake_request request = {
        .key = "k", .scopes = scopes, .scope_count = 2, .server_did = "did:ath:x"};
    struct ath_handshake_step step = {0};
    struct fake_athd athd;
    struct ath_client *client = connect_to(&athd, serve_handshake);

    (void)state;
    assert_int_equal(ath_handshake_start(client, &request, &step), ATH_OK);
    assert_string_equal(step.handshake, "h1");
    assert_int_equal(step.state, ATH_HANDSHAKE_WAITING);
    assert_int_equal(step.send_count, 1);
    assert_string_equal(step.send[0], "{\"type\":\"handshake_request\"}");

    assert_int_equal(ath_handshake_receive(client, "{\"a\": 1}", &step), ATH_OK);
    assert_int_equal(step.wait_s, 7);
    assert_int_equal(ath_handshake_receive(client, "{\"a\": 1}", &step), ATH_OK);
    assert_int_equal(step.state, ATH_HANDSHAKE_CONFIRM);
    assert_string_equal(step.confirm, "{\"type\":\"m6\"}");
    assert_int_equal(step.send_count, 0);
    assert_int_equal(step.wait_s, 0);

    assert_int_equal(ath_handshake_receive(client, "{\"a\": 1}", &step), ATH_OK);
    assert_int_equal(step.state, ATH_HANDSHAKE_DONE);
    assert_int_equal(step.send_count, 2);
    assert_string_equal(step.send[1], "{\"n\":9}");
    assert_string_equal(step.result, "{\"session\":\"s\"}");

    assert_int_equal(ath_handshake_receive(client, "{\"a\": 1}", &step), ATH_ERR_INVALID_SIGNATURE);
    assert_int_equal(step.state, ATH_HANDSHAKE_FAILED);
    assert_int_equal(step.send_count, 1);
    assert_string_equal(step.send[0], "{\"type\":\"identity_result\"}");
    assert_string_equal(ath_client_error_message(client), "no");
    ath_handshake_step_done(&step);
    end(client, &athd);
}

/* ---- memory ---- */

static ath_err
call_once(void *ctx)
{
    struct ath_client *client = ctx;
    char *result = NULL;
    ath_err err = ath_client_call(client, "m", "{\"a\":1}", &result);

    assert_true(err == ATH_OK || err == ATH_ERR_NOMEM);
    ath_string_free(result);
    return err;
}

/* Each answer is an error with data, and events before it. */
static void
serve_all_kinds(int fd)
{
    char line[LINE], answer[LINE];

    while (fake_athd_read(fd, line, sizeof(line))) {
        const char *id = strstr(line, "\"id\":");

        snprintf(answer, sizeof(answer),
                 "{\"jsonrpc\":\"2.0\",\"method\":\"event\",\"params\":{\"topic\":\"key\"}}\n"
                 "{\"jsonrpc\":\"2.0\",\"id\":%d,\"result\":{\"a\":\"b\"}}\n",
                 id == NULL ? 0 : atoi(id + 5));
        fake_athd_say(fd, answer);
    }
}

static ath_err
connect_and_call(void *ctx)
{
    struct fake_athd athd;
    struct ath_client *client;
    ath_err err = ATH_ERR_NOMEM;

    (void)ctx;
    fake_athd_start(&athd, serve_all_kinds);
    if ((client = ath_client_new()) != NULL &&
        (err = ath_client_connect(client, athd.path)) == ATH_OK)
        err = call_once(client);
    end(client, &athd);
    return err;
}

static void
test_each_failing_allocation_is_survived(void **state)
{
    (void)state;
    each_allocation_failing(connect_and_call, NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_call_gives_the_result),
        cmocka_unit_test(test_params_that_are_no_object_are_refused_here),
        cmocka_unit_test(test_an_error_keeps_reason_message_and_data),
        cmocka_unit_test(test_answers_come_in_any_order_and_events_wait),
        cmocka_unit_test(test_what_has_come_is_taken_in_without_waiting),
        cmocka_unit_test(test_sending_reads_meanwhile_so_that_nobody_waits_for_ever),
        cmocka_unit_test(test_no_answer_in_time_closes_the_connection),
        cmocka_unit_test(test_an_athd_that_ends_is_noticed_by_who_takes_in),
        cmocka_unit_test(test_an_athd_that_ends_is_said_to_have_ended),
        cmocka_unit_test(test_what_is_not_json_rpc_ends_the_connection),
        cmocka_unit_test(test_a_handshakes_steps_say_what_to_carry),
        cmocka_unit_test(test_each_failing_allocation_is_survived),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
