#include "tests/support/support.h"

#include <stdio.h>

#include "rpc/jsonrpc.h"
#include "rpc/rpc_limits.h"

static struct json *
parse(const char *text)
{
    struct json_limits limits = RPC_JSON_LIMITS;
    struct json *json = NULL;

    assert_int_equal(json_parse(ath_slice_of_string(text), &limits, NULL, &json), ATH_OK);
    return json;
}

static void
assert_is(const struct json *json, const char *text)
{
    struct ath_buf out = {0};

    json_write(json, &out);
    assert_string_equal(ath_buf_text(&out), text);
    ath_buf_done(&out);
}

static void
test_a_request_is_decoded(void **state)
{
    struct rpc_call call;

    (void)state;
    assert_int_equal(
        rpc_call_decode(parse("{\"jsonrpc\":\"2.0\",\"id\":\"a-1\",\"method\":\"key.get\","
                              "\"params\":{\"name\":\"k\"},\"extra\":1}"),
                        NULL, &call),
        ATH_OK);
    assert_is(call.id, "\"a-1\"");
    assert_false(call.is_notification);
    assert_string_equal(call.method, "key.get");
    assert_is(call.params, "{\"name\":\"k\"}");
    rpc_call_done(&call);
}

static void
test_ids_are_strings_integers_or_null(void **state)
{
    static const char *const good[] = {"0", "-5", "9007199254740991", "\"\"", "null"};
    static const char *const bad[] = {"true", "{}", "[1]"};
    char text[128];
    struct rpc_call call;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        snprintf(text, sizeof(text), "{\"jsonrpc\":\"2.0\",\"id\":%s,\"method\":\"m\"}", good[i]);
        assert_int_equal(rpc_call_decode(parse(text), NULL, &call), ATH_OK);
        assert_is(call.id, good[i]);
        assert_false(call.is_notification);
        assert_is(call.params, "{}");
        rpc_call_done(&call);
    }
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        snprintf(text, sizeof(text), "{\"jsonrpc\":\"2.0\",\"id\":%s,\"method\":\"m\"}", bad[i]);
        assert_int_equal(rpc_call_decode(parse(text), NULL, &call), ATH_ERR_INVALID_REQUEST);
        assert_null(call.id);
        assert_false(call.is_notification);
        rpc_call_done(&call);
    }
}

static void
test_an_id_longer_than_its_limit_is_refused(void **state)
{
    char text[400], id[RPC_ID_MAX_LEN + 2];
    struct rpc_call call;

    (void)state;
    memset(id, 'x', sizeof(id) - 1);
    id[sizeof(id) - 1] = '\0';
    snprintf(text, sizeof(text), "{\"jsonrpc\":\"2.0\",\"id\":\"%s\",\"method\":\"m\"}", id);
    assert_int_equal(rpc_call_decode(parse(text), NULL, &call), ATH_ERR_INVALID_REQUEST);
    rpc_call_done(&call);
    snprintf(text, sizeof(text), "{\"jsonrpc\":\"2.0\",\"id\":\"%s\",\"method\":\"m\"}", id + 1);
    assert_int_equal(rpc_call_decode(parse(text), NULL, &call), ATH_OK);
    rpc_call_done(&call);
}

static void
test_a_call_without_id_is_a_notification_even_when_its_params_are_wrong(void **state)
{
    struct rpc_call call;

    (void)state;
    assert_int_equal(rpc_call_decode(parse("{\"jsonrpc\":\"2.0\",\"method\":\"m\"}"), NULL, &call),
                     ATH_OK);
    assert_true(call.is_notification);
    assert_null(call.id);
    rpc_call_done(&call);
    assert_int_equal(rpc_call_decode(parse("{\"jsonrpc\":\"2.0\",\"method\":\"m\",\"params\":[1]}"),
                                     NULL, &call),
                     ATH_ERR_INVALID_PARAMS);
    assert_true(call.is_notification);
    rpc_call_done(&call);
}

static void
test_what_is_no_request_is_refused_with_its_id_where_it_can_be_read(void **state)
{
    static const char *const bad[] = {
        "{\"id\":7,\"method\":\"m\"}",
        "{\"jsonrpc\":\"1.0\",\"id\":7,\"method\":\"m\"}",
        "{\"jsonrpc\":2.0,\"id\":7,\"method\":\"m\"}",
        "{\"jsonrpc\":\"2.0\",\"id\":7}",
        "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":5}",
        "{\"JSONRPC\":\"2.0\",\"id\":7,\"method\":\"m\"}",
    };
    static const char *const no_objects[] = {"1", "\"x\"", "[]", "null", "true"};
    struct json_limits doubles = {1024, 32, 64, JSON_DOUBLES};
    struct rpc_call call;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct json *json = NULL;

        assert_int_equal(json_parse(ath_slice_of_string(bad[i]), &doubles, NULL, &json), ATH_OK);
        assert_int_equal(rpc_call_decode(json, NULL, &call), ATH_ERR_INVALID_REQUEST);
        assert_is(call.id, "7");
        assert_false(call.is_notification);
        rpc_call_done(&call);
    }
    for (i = 0; i < sizeof(no_objects) / sizeof(no_objects[0]); i++) {
        assert_int_equal(rpc_call_decode(parse(no_objects[i]), NULL, &call),
                         ATH_ERR_INVALID_REQUEST);
        assert_null(call.id);
        rpc_call_done(&call);
    }
}

static void
test_params_go_by_name(void **state)
{
    static const char *const bad[] = {"[]", "null", "1", "\"x\"", "true"};
    struct rpc_call call;
    char text[128];
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct why why = {""};

        snprintf(text, sizeof(text),
                 "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\",\"params\":%s}", bad[i]);
        assert_int_equal(rpc_call_decode(parse(text), &why, &call), ATH_ERR_INVALID_PARAMS);
        assert_is(call.id, "1");
        assert_non_null(strstr(why.text, "must be an object"));
        rpc_call_done(&call);
    }
}

static ath_err
decode_body(void *ctx)
{
    struct json *json = json_clone(ctx);
    struct rpc_call call;
    ath_err err;

    if (json == NULL)
        return ATH_ERR_NOMEM;
    err = rpc_call_decode(json, NULL, &call);
    rpc_call_done(&call);
    return err;
}

static void
test_decoding_survives_each_failed_allocation(void **state)
{
    struct json *json = parse("{\"jsonrpc\":\"2.0\",\"id\":\"x\",\"method\":\"m\"}");

    (void)state;
    each_allocation_failing(decode_body, json);
    json_free(json);
}

static void
test_results_and_errors_are_written(void **state)
{
    struct json *id = parse("\"x\""), *result = parse("{\"a\":1}");
    struct json *data = parse("{\"retry_after\":5,\"reason\":\"OTHER\",\"q\\\"\":[]}");
    struct ath_buf out = {0};
    struct why why = {"slow \"down\""};

    (void)state;
    rpc_put_result(&out, id, result);
    assert_string_equal(ath_buf_text(&out),
                        "{\"jsonrpc\":\"2.0\",\"id\":\"x\",\"result\":{\"a\":1}}");
    ath_buf_clear(&out);
    rpc_put_error(&out, NULL, ATH_ERR_PARSE, NULL, NULL);
    assert_string_equal(
        ath_buf_text(&out),
        "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32700,"
        "\"message\":\"the text is not valid JSON\",\"data\":{\"reason\":\"PARSE_ERROR\"}}}");
    ath_buf_clear(&out);
    rpc_put_error(&out, id, ATH_ERR_RATE_LIMITED, &why, data);
    assert_string_equal(ath_buf_text(&out),
                        "{\"jsonrpc\":\"2.0\",\"id\":\"x\",\"error\":{\"code\":-32007,"
                        "\"message\":\"slow \\\"down\\\"\","
                        "\"data\":{\"reason\":\"RATE_LIMITED\",\"retry_after\":5,\"q\\\"\":[]}}}");
    ath_buf_done(&out);
    json_free(id);
    json_free(result);
    json_free(data);
}

static void
test_calls_are_written(void **state)
{
    struct json *params = parse("{\"name\":\"k\"}");
    struct ath_buf out = {0};

    (void)state;
    rpc_put_request(&out, 12, "key.get", params);
    assert_string_equal(
        ath_buf_text(&out),
        "{\"jsonrpc\":\"2.0\",\"id\":12,\"method\":\"key.get\",\"params\":{\"name\":\"k\"}}");
    ath_buf_clear(&out);
    rpc_put_notification(&out, "event", NULL);
    assert_string_equal(ath_buf_text(&out),
                        "{\"jsonrpc\":\"2.0\",\"method\":\"event\",\"params\":{}}");
    ath_buf_done(&out);
    json_free(params);
}

static ath_err
write_body(void *ctx)
{
    struct ath_buf out = {0};
    ath_err err;

    rpc_put_error(&out, NULL, ATH_ERR_IO, NULL, ctx);
    err = out.err;
    ath_buf_done(&out);
    return err;
}

static void
test_writing_reports_each_failed_allocation(void **state)
{
    struct json *data = parse("{\"native\":\"0x922\"}");

    (void)state;
    each_allocation_failing(write_body, data);
    json_free(data);
}

static void
test_answers_are_decoded(void **state)
{
    struct rpc_answer answer;

    (void)state;
    assert_int_equal(
        rpc_answer_decode(parse("{\"jsonrpc\":\"2.0\",\"id\":3,\"result\":null}"), &answer),
        ATH_OK);
    assert_true(answer.has_id && answer.id == 3);
    assert_int_equal(answer.err, ATH_OK);
    assert_true(json_is_null(answer.result));
    rpc_answer_done(&answer);

    assert_int_equal(
        rpc_answer_decode(
            parse("{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32004,"
                  "\"message\":\"busy\",\"data\":{\"reason\":\"HSM_BUSY\",\"native\":\"x\"}}}"),
            &answer),
        ATH_OK);
    assert_false(answer.has_id);
    assert_int_equal(answer.err, ATH_ERR_HSM_BUSY);
    assert_int_equal(answer.code, -32004);
    assert_string_equal(answer.message, "busy");
    assert_string_equal(json_get_string(answer.data, "native"), "x");
    assert_null(answer.result);
    rpc_answer_done(&answer);

    assert_int_equal(
        rpc_answer_decode(
            parse("{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-32601,\"message\":\"\"}}"),
            &answer),
        ATH_OK);
    assert_int_equal(answer.err, ATH_ERR_METHOD_NOT_FOUND);
    rpc_answer_done(&answer);
}

static void
test_what_is_no_answer_is_refused(void **state)
{
    static const char *const bad[] = {
        "1",
        "[]",
        "{}",
        "{\"jsonrpc\":\"2.0\",\"id\":1}",
        "{\"id\":1,\"result\":1}",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":1,\"error\":{\"code\":1,\"message\":\"x\"}}",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":5}",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"message\":\"x\"}}",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":9999999999,\"message\":\"x\"}}",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-32000}}",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\",\"result\":1}",
    };
    struct rpc_answer answer;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(rpc_answer_decode(parse(bad[i]), &answer), ATH_ERR_INVALID_REQUEST);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_request_is_decoded),
        cmocka_unit_test(test_ids_are_strings_integers_or_null),
        cmocka_unit_test(test_an_id_longer_than_its_limit_is_refused),
        cmocka_unit_test(test_a_call_without_id_is_a_notification_even_when_its_params_are_wrong),
        cmocka_unit_test(test_what_is_no_request_is_refused_with_its_id_where_it_can_be_read),
        cmocka_unit_test(test_params_go_by_name),
        cmocka_unit_test(test_decoding_survives_each_failed_allocation),
        cmocka_unit_test(test_results_and_errors_are_written),
        cmocka_unit_test(test_calls_are_written),
        cmocka_unit_test(test_writing_reports_each_failed_allocation),
        cmocka_unit_test(test_answers_are_decoded),
        cmocka_unit_test(test_what_is_no_answer_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
