/* The transport, over real sockets, with the methods that need nothing but the connection. */
#include "fixture_daemon.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "athd/connection.h"
#include "athd/dispatch.h"
#include "athd/events.h"
#include "athd/listener.h"
#include "base/fd.h"
#include "rpc/rpc_limits.h"

#define HELLO "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"agent.hello\"}"

static struct fixture fixture;
static char answer[4u * 1024u * 1024u];
static size_t answer_len;

static int
begin(void **state)
{
    struct why why = {{0}};

    (void)state;
    fixture_begin(&fixture, NULL);
    fixture.config.socket = ath_strdup(fixture_path(&fixture, "run/agent.sock"));
    assert_int_equal(listener_open(&fixture.athd, &why, &fixture.athd.listener), ATH_OK);
    return 0;
}

static int
end(void **state)
{
    int turns;

    (void)state;
    listener_stop(fixture.athd.listener);
    listener_close(fixture.athd.listener);
    for (turns = 0; listener_connections(fixture.athd.listener) > 0 && turns < 1000; turns++)
        fixture_turn(&fixture);
    request_table_cancel_all(&fixture.athd.requests, ATH_ERR_HSM_UNAVAILABLE);
    fixture_turn(&fixture);
    listener_free(fixture.athd.listener);
    fixture_end(&fixture);
    return 0;
}

static int
connect_client(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    assert_true(fd >= 0);
    strcpy(address.sun_path, fixture.config.socket);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void
send_text(int fd, const char *text, size_t len)
{
    int turns;

    for (turns = 0; len > 0 && turns < 100000; turns++) {
        ssize_t n = send(fd, text, len, MSG_NOSIGNAL);

        if (n > 0) {
            text += n;
            len -= (size_t)n;
        } else if (errno != EAGAIN) {
            return; /* it was cut off: the test looks at that itself */
        }
        fixture_turn(&fixture);
    }
}

static void
say(int fd, const char *line)
{
    send_text(fd, line, strlen(line));
    send_text(fd, "\n", 1);
}

/* Takes what there is; false at the end of file. */
static bool
take(int fd)
{
    ssize_t n = recv(fd, answer + answer_len, sizeof(answer) - 1 - answer_len, 0);

    if (n > 0)
        answer_len += (size_t)n;
    answer[answer_len] = '\0';
    return n > 0 || (n < 0 && errno == EAGAIN);
}

static unsigned
count_answers(void)
{
    const char *at = answer;
    unsigned count = 0;

    while ((at = strchr(at, '\n')) != NULL) {
        at++;
        count++;
    }
    return count;
}

/* Turns the loop; where that was in vain so often, others may have something to do first. */
static void
turn_again(int turns)
{
    if (turns > 1000)
        usleep(100);
    fixture_turn(&fixture);
}

/* Reads until there are so many lines. */
static void
read_lines(int fd, unsigned count)
{
    int turns;

    answer_len = 0;
    answer[0] = '\0';
    for (turns = 0; turns < 200000 && count_answers() < count; turns++) {
        turn_again(turns);
        if (!take(fd))
            break;
    }
    assert_int_equal(count_answers(), count);
}

static void
read_to_end(int fd)
{
    int turns;

    answer_len = 0;
    answer[0] = '\0';
    for (turns = 0; turns < 200000; turns++) {
        turn_again(turns);
        if (!take(fd))
            return;
    }
    fail_msg("the connection was not closed");
}

static void
assert_error(const char *line, int code)
{
    char expected[32];
    int fd = connect_client();

    say(fd, line);
    read_lines(fd, 1);
    snprintf(expected, sizeof(expected), "\"code\":%d,", code);
    if (strstr(answer, expected) == NULL)
        fail_msg("%s: %s", line, answer);
    /* and the connection still works */
    say(fd, HELLO);
    read_lines(fd, 1);
    assert_non_null(strstr(answer, "\"server\":\"athd\""));
    fd_close(&fd);
}

static void
test_malformed_lines_have_their_errors_and_end_nothing(void **state)
{
    static const struct {
        const char *line;
        int code;
    } cases[] = {
        {"nonsense", -32700},
        {"{\"jsonrpc\":\"2.0\",\"id\":1,\"id\":2,\"method\":\"agent.hello\"}", -32700},
        {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"agent.hello\xff\"}", -32700},
        {"{\"jsonrpc\":\"2.0\",\"id\":NaN,\"method\":\"agent.hello\"}", -32700},
        {"{\"jsonrpc\":\"2.0\",\"id\":1.5,\"method\":\"agent.hello\"}", -32700},
        {"\x01\x02\x03\xfe\xff", -32700},
        {"{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"agent.hello\"}", -32600},
        {"{\"id\":1,\"method\":\"agent.hello\"}", -32600},
        {"{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"agent.hello\"}", -32600},
        {"{\"jsonrpc\":\"2.0\",\"id\":1}", -32600},
        {"17", -32600},
        {"[]", -32600},
        {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"agent.nonsense\"}", -32601},
        {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"vault.put\"}", -32601},
        {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"agent.hello\",\"params\":{\"x\":1}}", -32602},
        {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"agent.hello\",\"params\":[1]}", -32602},
        {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"agent.hello\",\"params\":{\"x\":1.5}}",
         -32602},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_error(cases[i].line, cases[i].code);
}

static void
test_ids_come_back_exactly(void **state)
{
    static const char *const ids[] = {"0",   "-1", "9007199254740991", "\"\"", "\"a\\u00e9\\n\"",
                                      "null"};
    char line[128], expected[64];
    size_t i;
    int fd = connect_client();

    (void)state;
    for (i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        snprintf(line, sizeof(line), "{\"jsonrpc\":\"2.0\",\"id\":%s,\"method\":\"agent.hello\"}",
                 ids[i]);
        say(fd, line);
        read_lines(fd, 1);
        snprintf(expected, sizeof(expected), "\"id\":%s,",
                 i == 4 ? "\"a\xc3\xa9\\n\""
                        : ids[i]); /* the same string, written without escape */
        assert_non_null(strstr(answer, expected));
    }
    fd_close(&fd);
}

static void
test_who_sends_a_number_that_is_none_is_told_which_call_it_was(void **state)
{
    static const char *const numbers[] = {"1.5", "1e3", "-0", "9007199254740992"};
    char line[128];
    size_t i;
    int fd = connect_client();

    (void)state;
    for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        snprintf(
            line, sizeof(line),
            "{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"method\":\"agent.hello\",\"params\":{\"x\":%s}}",
            numbers[i]);
        say(fd, line);
        read_lines(fd, 1);
        assert_non_null(strstr(answer, "\"id\":\"a\""));
        assert_non_null(strstr(answer, "-32602"));
    }
    fd_close(&fd);
}

static void
test_carriage_return_and_empty_lines_are_tolerated(void **state)
{
    int fd = connect_client();

    (void)state;
    say(fd, "\r\n\n" HELLO "\r");
    read_lines(fd, 1);
    assert_non_null(strstr(answer, "\"result\""));
    fd_close(&fd);
}

static void
test_line_may_come_byte_by_byte(void **state)
{
    const char *at;
    int fd = connect_client();

    (void)state;
    for (at = HELLO "\n"; *at != '\0'; at++)
        send_text(fd, at, 1);
    read_lines(fd, 1);
    assert_non_null(strstr(answer, "\"result\""));
    fd_close(&fd);
}

static void
test_last_line_counts_without_its_end(void **state)
{
    int fd = connect_client();

    (void)state;
    send_text(fd, HELLO, strlen(HELLO));
    shutdown(fd, SHUT_WR);
    read_to_end(fd);
    assert_int_equal(count_answers(), 1);
    assert_non_null(strstr(answer, "\"result\""));
    fd_close(&fd);
}

static void
test_notifications_are_not_answered_not_even_wrong_ones(void **state)
{
    int fd = connect_client();

    (void)state;
    say(fd, "{\"jsonrpc\":\"2.0\",\"method\":\"agent.hello\"}");
    say(fd, "{\"jsonrpc\":\"2.0\",\"method\":\"agent.nonsense\"}");
    say(fd, "[{\"jsonrpc\":\"2.0\",\"method\":\"agent.hello\"}]");
    say(fd, HELLO);
    read_lines(fd, 1);
    assert_non_null(strstr(answer, "\"id\":1,"));
    fd_close(&fd);
}

static void
test_batch_is_answered_by_one_array(void **state)
{
    const struct json_limits limits = {65536, 32, 128, JSON_INTEGERS};
    struct json *array = NULL;
    int fd = connect_client();

    (void)state;
    say(fd, "[" HELLO ",{\"jsonrpc\":\"2.0\",\"method\":\"agent.hello\"},7," HELLO "]");
    read_lines(fd, 1);
    assert_int_equal(json_parse(ath_slice_of(answer, answer_len - 1), &limits, NULL, &array),
                     ATH_OK);
    assert_true(json_is_array(array));
    assert_int_equal(json_count(array), 3);
    json_free(array);
    fd_close(&fd);
}

static void
put_batch(struct ath_buf *line, unsigned count)
{
    unsigned i;

    ath_buf_put_byte(line, '[');
    for (i = 0; i < count; i++)
        ath_buf_printf(line, "%s" HELLO, i == 0 ? "" : ",");
    ath_buf_put_byte(line, ']');
}

static void
test_batch_has_at_most_64_entries(void **state)
{
    struct ath_buf line = {0};
    int fd = connect_client();

    (void)state;
    put_batch(&line, 64);
    say(fd, ath_buf_text(&line));
    read_lines(fd, 1);
    assert_int_equal(answer[0], '[');
    ath_buf_clear(&line);
    put_batch(&line, 65);
    say(fd, ath_buf_text(&line));
    read_lines(fd, 1);
    assert_non_null(strstr(answer, "-32012"));
    ath_buf_done(&line);
    fd_close(&fd);
}

static void
test_depth_has_its_limit(void **state)
{
    char line[256];
    int i, len;

    (void)state;
    len = snprintf(line, sizeof(line),
                   "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"agent.hello\",\"params\":");
    for (i = 0; i < 32; i++)
        line[len++] = '[';
    for (i = 0; i < 32; i++)
        line[len++] = ']';
    snprintf(line + len, sizeof(line) - (size_t)len, "}");
    assert_error(line, -32012);
}

static void
test_line_has_its_limit_and_then_the_connection_ends(void **state)
{
    size_t len = RPC_LINE_MAX + 1;
    char *line = malloc(len + 2);
    int fd = connect_client();

    (void)state;
    assert_non_null(line);
    memset(line, ' ', len); /* exactly the longest line, with a call in it */
    memcpy(line, HELLO, strlen(HELLO));
    line[RPC_LINE_MAX] = '\n';
    send_text(fd, line, RPC_LINE_MAX + 1);
    read_lines(fd, 1);
    assert_non_null(strstr(answer, "\"result\""));
    memset(line, 'x', len);
    line[len] = '\n';
    send_text(fd, line, len + 1);
    read_to_end(fd);
    assert_int_equal(count_answers(), 1);
    assert_non_null(strstr(answer, "-32012"));
    free(line);
    fd_close(&fd);
}

static void
test_half_sent_line_ends_the_connection_after_its_time(void **state)
{
    struct pollfd readable;
    int fd, idle, turns;

    (void)state;
    fake_clock_set(1000);
    fd = connect_client();
    idle = connect_client();
    send_text(fd, "{\"jsonrpc\"", 10);
    for (turns = 0; turns < 50; turns++)
        fixture_turn(&fixture);
    fake_clock_move(29);
    for (turns = 0; turns < 3; turns++) /* turns of the timer that looks for such lines */
        uv_run(fixture.athd.loop, UV_RUN_ONCE);
    readable = (struct pollfd){.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&readable, 1, 0), 0);
    fake_clock_move(2);
    readable = (struct pollfd){.fd = fd, .events = POLLIN};
    for (turns = 0; turns < 1000 && poll(&readable, 1, 0) == 0; turns++)
        uv_run(fixture.athd.loop, UV_RUN_ONCE);
    read_to_end(fd);
    assert_non_null(strstr(answer, "-32012"));
    say(idle, HELLO); /* a connection between lines may be idle for ever */
    read_lines(idle, 1);
    fd_close(&fd);
    fd_close(&idle);
}

/* ---- slow readers ---- */

static void
test_pipelined_calls_beyond_the_pause_are_all_answered(void **state)
{
    struct ath_buf lines = {0};
    int i, fd = connect_client();

    (void)state;
    for (i = 0; i < 3000; i++)
        ath_buf_put_string(&lines, HELLO "\n");
    send_text(fd, ath_buf_text(&lines), 64); /* mid-line, then the rest while answers pile up */
    for (i = 0; i < 100; i++)
        fixture_turn(&fixture);
    answer_len = 0;
    {
        size_t sent = 64;
        int turns;

        for (turns = 0; turns < 200000 && count_answers() < 3000; turns++) {
            ssize_t n = send(fd, lines.data + sent, lines.len - sent, MSG_NOSIGNAL);

            sent += n > 0 ? (size_t)n : 0;
            fixture_turn(&fixture);
            if (sent == lines.len || turns % 8 == 0)
                take(fd);
        }
    }
    assert_int_equal(count_answers(), 3000);
    ath_buf_done(&lines);
    fd_close(&fd);
}

static void
test_caller_that_does_not_read_is_paused(void **state)
{
    struct ath_buf lines = {0};
    size_t sent = 0;
    ssize_t n;
    int i, fd = connect_client(), idle_turns = 0;

    (void)state;
    for (i = 0; i < 15000; i++)
        ath_buf_put_string(&lines, HELLO "\n");
    while (idle_turns < 200 && sent < lines.len) {
        n = send(fd, lines.data + sent, lines.len - sent, MSG_NOSIGNAL);
        sent += n > 0 ? (size_t)n : 0;
        idle_turns = n > 0 ? 0 : idle_turns + 1;
        fixture_turn(&fixture);
    }
    assert_true(sent < lines.len); /* its own socket is full: athd has stopped reading */
    answer_len = 0;
    for (i = 0; i < 1000000 && sent < lines.len; i++) { /* and goes on when it reads */
        n = send(fd, lines.data + sent, lines.len - sent, MSG_NOSIGNAL);
        sent += n > 0 ? (size_t)n : 0;
        answer_len = 0;
        take(fd);
        fixture_turn(&fixture);
    }
    assert_int_equal(sent, lines.len);
    ath_buf_done(&lines);
    fd_close(&fd);
}

static void
subscribe(int fd)
{
    say(fd, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"events.subscribe\",\"params\":{\"topics\":["
            "\"key\"]}}");
    read_lines(fd, 1);
    assert_non_null(strstr(answer, "\"result\":{\"topics\":[\"key\"]}"));
}

static void
publish(enum event_topic topic, const char *name)
{
    struct json_maker event;

    json_object_begin(&event);
    json_put_string(&event, "name", name);
    events_publish(&fixture.athd, topic, &event);
}

static void
test_events_reach_those_who_asked_for_their_topic(void **state)
{
    int fd = connect_client(), other = connect_client();

    (void)state;
    subscribe(fd);
    say(other, HELLO);
    read_lines(other, 1);
    publish(EVENT_HSM, "not asked for");
    publish(EVENT_KEY, "alice");
    read_lines(fd, 1);
    assert_string_equal(answer,
                        "{\"jsonrpc\":\"2.0\",\"method\":\"event\",\"params\":{\"name\":\"alice\","
                        "\"topic\":\"key\"}}\n");
    say(other, HELLO);
    read_lines(other, 1);
    assert_null(strstr(answer, "alice"));
    fd_close(&fd);
    fd_close(&other);
}

static void
test_slow_subscriber_loses_events_not_its_connection(void **state)
{
    static char long_name[8192];
    int i, fd = connect_client();

    (void)state;
    memset(long_name, 'n', sizeof(long_name) - 1);
    subscribe(fd);
    for (i = 0; i < 1000; i++)
        publish(EVENT_KEY, long_name);
    say(fd, HELLO);
    answer_len = 0;
    for (i = 0; i < 100000 && strstr(answer, "\"server\"") == NULL; i++) {
        fixture_turn(&fixture);
        assert_true(take(fd));
    }
    assert_true(count_answers() < 900);
    fd_close(&fd);
}

/* ---- requests ---- */

static struct request *held[256];
static unsigned held_count, cancelled;

static void
on_cancel(struct request *request, ath_err err)
{
    cancelled++;
    request_fail(request, err, NULL);
}

static void
hold(struct request *request)
{
    request->cancel = on_cancel;
    held[held_count++] = request;
}

/* Calls of key.list are held back as long as this test wants. */
method_fn __wrap_method_key_list;

void
__wrap_method_key_list(struct request *request)
{
    hold(request);
}

#define LIST "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"key.list\"}"

static void
run_until_held(unsigned count)
{
    int turns;

    for (turns = 0; turns < 100000 && held_count < count; turns++)
        turn_again(turns);
    assert_int_equal(held_count, count);
}

static void
test_129th_request_in_flight_is_refused(void **state)
{
    int i, fd = connect_client();

    (void)state;
    held_count = cancelled = 0;
    for (i = 0; i < 128; i++)
        say(fd, LIST);
    run_until_held(128);
    say(fd, LIST);
    read_lines(fd, 1);
    assert_non_null(strstr(answer, "-32012"));
    assert_int_equal(held_count, 128);
    request_fail(held[0], ATH_ERR_KEY_NOT_FOUND, NULL);
    read_lines(fd, 1);
    assert_non_null(strstr(answer, "KEY_NOT_FOUND"));
    say(fd, LIST);
    run_until_held(129);
    fd_close(&fd);
}

static void
run_until_cancelled(unsigned count)
{
    int turns;

    for (turns = 0; turns < 2000 && cancelled < count; turns++)
        uv_run(fixture.athd.loop, UV_RUN_ONCE);
    assert_int_equal(cancelled, count);
}

static void
test_work_is_dropped_when_its_caller_is_gone(void **state)
{
    int fd = connect_client();

    (void)state;
    held_count = cancelled = 0;
    say(fd, LIST);
    say(fd, "[" LIST "," LIST "]");
    run_until_held(3);
    fd_close(&fd);
    run_until_cancelled(3);
    assert_int_equal(fixture.athd.requests.count, 0);
}

static void
test_caller_that_only_stops_writing_gets_its_answers(void **state)
{
    int i, fd = connect_client();

    (void)state;
    held_count = cancelled = 0;
    say(fd, LIST);
    run_until_held(1);
    shutdown(fd, SHUT_WR);
    for (i = 0; i < 50; i++)
        fixture_turn(&fixture);
    assert_int_equal(cancelled, 0);
    request_fail(held[0], ATH_ERR_KEY_NOT_FOUND, NULL);
    read_to_end(fd);
    assert_non_null(strstr(answer, "KEY_NOT_FOUND"));
    fd_close(&fd);
}

static void
test_caller_that_stops_writing_and_then_goes_drops_its_work(void **state)
{
    int i, fd = connect_client();

    (void)state;
    held_count = cancelled = 0;
    say(fd, LIST);
    run_until_held(1);
    shutdown(fd, SHUT_WR);
    for (i = 0; i < 50; i++)
        fixture_turn(&fixture);
    fd_close(&fd);
    run_until_cancelled(1);
}

static void
test_request_past_its_deadline_is_cancelled(void **state)
{
    int fd = connect_client();

    (void)state;
    held_count = cancelled = 0;
    say(fd, LIST);
    run_until_held(1);
    request_set_deadline(held[0], 1);
    run_until_cancelled(1);
    read_lines(fd, 1);
    assert_non_null(strstr(answer, "HSM_UNAVAILABLE"));
    fd_close(&fd);
}

static void
test_stop_lets_answers_out_and_closes_the_idle(void **state)
{
    int busy = connect_client(), idle = connect_client();

    (void)state;
    held_count = cancelled = 0;
    say(idle, HELLO);
    read_lines(idle, 1);
    say(busy, LIST);
    run_until_held(1);
    listener_stop(fixture.athd.listener);
    read_to_end(idle);
    say(busy, HELLO); /* not read any more */
    request_fail(held[0], ATH_ERR_KEY_NOT_FOUND, NULL);
    read_to_end(busy);
    assert_int_equal(count_answers(), 1);
    assert_non_null(strstr(answer, "KEY_NOT_FOUND"));
    assert_int_not_equal(access(fixture.config.socket, F_OK), 0);
    fd_close(&busy);
    fd_close(&idle);
}

static void
test_1025th_connection_is_told_why(void **state)
{
    static int fds[1025];
    int i, turns;

    (void)state;
    for (i = 0; i < 1025; i++) {
        fds[i] = connect_client();
        fixture_turn(&fixture);
    }
    for (turns = 0; turns < 1000 && listener_connections(fixture.athd.listener) < 1025; turns++)
        fixture_turn(&fixture);
    read_to_end(fds[1024]);
    assert_non_null(strstr(answer, "-32012"));
    say(fds[1023], HELLO);
    read_lines(fds[1023], 1);
    assert_non_null(strstr(answer, "\"result\""));
    for (i = 0; i < 1025; i++)
        fd_close(&fds[i]);
}

static void
test_a_caller_there_is_no_memory_for_does_not_end_the_listening(void **state)
{
    int first, second, turns;

    (void)state;
    first = connect_client();
    fail_allocation(1);
    fixture_turn(&fixture);
    assert_true(fail_allocation_happened());
    fail_allocation(0);
    second = connect_client();
    say(first, HELLO);
    say(second, HELLO);
    for (turns = 0; turns < 1000 && listener_connections(fixture.athd.listener) < 2; turns++)
        (void)uv_run(fixture.athd.loop, UV_RUN_ONCE);
    read_lines(second, 1);
    read_lines(first, 1);
    fd_close(&first);
    fd_close(&second);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
        TEST(test_malformed_lines_have_their_errors_and_end_nothing),
        TEST(test_a_caller_there_is_no_memory_for_does_not_end_the_listening),
        TEST(test_ids_come_back_exactly),
        TEST(test_who_sends_a_number_that_is_none_is_told_which_call_it_was),
        TEST(test_carriage_return_and_empty_lines_are_tolerated),
        TEST(test_line_may_come_byte_by_byte),
        TEST(test_last_line_counts_without_its_end),
        TEST(test_notifications_are_not_answered_not_even_wrong_ones),
        TEST(test_batch_is_answered_by_one_array),
        TEST(test_batch_has_at_most_64_entries),
        TEST(test_depth_has_its_limit),
        TEST(test_line_has_its_limit_and_then_the_connection_ends),
        TEST(test_half_sent_line_ends_the_connection_after_its_time),
        TEST(test_pipelined_calls_beyond_the_pause_are_all_answered),
        TEST(test_caller_that_does_not_read_is_paused),
        TEST(test_events_reach_those_who_asked_for_their_topic),
        TEST(test_slow_subscriber_loses_events_not_its_connection),
        TEST(test_129th_request_in_flight_is_refused),
        TEST(test_work_is_dropped_when_its_caller_is_gone),
        TEST(test_caller_that_only_stops_writing_gets_its_answers),
        TEST(test_caller_that_stops_writing_and_then_goes_drops_its_work),
        TEST(test_request_past_its_deadline_is_cancelled),
        TEST(test_stop_lets_answers_out_and_closes_the_idle),
        TEST(test_1025th_connection_is_told_why),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
