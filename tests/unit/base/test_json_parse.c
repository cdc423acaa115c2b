#include "tests/support/support.h"

#include "base/json.h"

static const struct json_limits integers = {65536, 16, 1024, JSON_INTEGERS};
static const struct json_limits doubles = {65536, 16, 1024, JSON_DOUBLES};

static ath_err
parse_with(const char *text, const struct json_limits *limits, struct why *why)
{
    struct json *json = NULL;
    ath_err err = json_parse(ath_slice_of_string(text), limits, why, &json);

    assert_true((err == ATH_OK) == (json != NULL));
    json_free(json);
    return err;
}

static void
assert_all(const char *const *texts, size_t count, const struct json_limits *limits,
           ath_err expected)
{
    size_t i;

    for (i = 0; i < count; i++)
        if (parse_with(texts[i], limits, NULL) != expected)
            fail_msg("%s gives %s", texts[i], ath_err_reason(parse_with(texts[i], limits, NULL)));
}

#define ASSERT_ALL(texts, limits, expected)                                                        \
    assert_all(texts, sizeof(texts) / sizeof((texts)[0]), limits, expected)

static void
test_json_of_rfc_8259_is_accepted(void **state)
{
    static const char *const good[] = {
        "{}",
        "[]",
        "null",
        "true",
        "false",
        "\"\"",
        "0",
        "-1",
        " \t\r\n[ 1 , 2 ] ",
        "{\"a\" : {\"b\":[[],{}]}}",
        "9007199254740991",
        "-9007199254740991",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e4\\uD83D\\uDE00\"",
        "\"\xC3\xA4\x7f\xEF\xBF\xBF\"",
        "{\"a\":1,\"A\":2,\"\":3,\"a \":4}",
    };

    (void)state;
    ASSERT_ALL(good, &integers, ATH_OK);
    ASSERT_ALL(good, &doubles, ATH_OK);
}

static void
test_everything_else_is_refused(void **state)
{
    static const char *const bad[] = {
        "",          " ",           "{",           "[",        "\"",        "[1,]",
        "[,1]",      "[1 2]",       "{\"a\":1,}",  "{,}",      "{\"a\"}",   "{\"a\":}",
        "{a:1}",     "{1:1}",       "{'a':1}",     "'a'",      "tru",       "True",
        "nul",       "nullx",       "NaN",         "Infinity", "-Infinity", "undefined",
        "1 2",       "{}{}",        "[]]",         "// x\n1",  "/* x */1",  "\xEF\xBB\xBF{}",
        "{}\xff",    "+1",          ".5",          "-",        "01",        "-01",
        "00",        "0x10",        "1.",          "1.e1",     "1e",        "1e+",
        "--1",       "\"\t\"",      "\"\n\"",      "\"\x01\"", "\"\\x\"",   "\"\\",
        "\"\\u12\"", "\"\\u12g4\"", "\"\\U0041\"", "\"\\'\"",  "[1,2",      "{\"a\":1",
        "]",         "}",           "[}",          "{]",       "\v1",       "\f1",
        "1\xC2\xA0", "\"a\"b\"",    ":",           ",",
    };

    (void)state;
    ASSERT_ALL(bad, &integers, ATH_ERR_PARSE);
    ASSERT_ALL(bad, &doubles, ATH_ERR_PARSE);
}

static void
test_an_embedded_nul_byte_is_no_end(void **state)
{
    struct json *json = NULL;

    (void)state;
    assert_int_equal(json_parse(ath_slice_of("1\0", 2), &integers, NULL, &json), ATH_ERR_PARSE);
    assert_int_equal(json_parse(ath_slice_of("\"a\0b\"", 5), &integers, NULL, &json),
                     ATH_ERR_PARSE);
    assert_int_equal(json_parse(ath_slice_of("\"\\\0b\"", 5), &integers, NULL, &json),
                     ATH_ERR_PARSE);
}

static void
test_only_plain_whole_numbers_are_integers(void **state)
{
    static const char *const bad[] = {
        "1.0",
        "1e3",
        "1E3",
        "0.0",
        "-0",
        "[-0]",
        "0e0",
        "9007199254740992",
        "-9007199254740992",
        "10000000000000000",
        "99999999999999999999999",
        "1.5",
    };
    static const char *const good_doubles[] = {"1.0",   "1e3",   "1E-3", "-0", "9007199254740992",
                                               "1e308", "1e-999"};
    static const char *const bad_doubles[] = {"1e999", "[-1e309]", "{\"a\":[2e308]}"};

    (void)state;
    ASSERT_ALL(bad, &integers, ATH_ERR_PARSE);
    ASSERT_ALL(good_doubles, &doubles, ATH_OK);
    ASSERT_ALL(bad_doubles, &doubles, ATH_ERR_PARSE);
}

/* cJSON reads at most 63 characters of a number and would take the rest for garbage. */
static void
test_a_number_of_63_characters_is_the_longest(void **state)
{
    char text[65] = "0.";

    (void)state;
    memset(text + 2, '1', 61);
    assert_int_equal(parse_with(text, &doubles, NULL), ATH_OK);
    text[63] = '1';
    assert_int_equal(parse_with(text, &doubles, NULL), ATH_ERR_LIMIT_EXCEEDED);
}

static void
test_strings_must_be_unicode_without_u0000(void **state)
{
    static const char *const bad[] = {
        "\"\xFF\"",           "\"\xC0\xAF\"",       "\"\xED\xA0\x80\"",   "\"\xF4\x90\x80\x80\"",
        "\"\xC3\"",           "\"\xE2\x82\"",       "\"\\u0000\"",        "\"a\\u0000b\"",
        "{\"\\u0000\":1}",    "\"\\uD800\"",        "\"\\uDC00\"",        "\"\\uD800x\"",
        "\"\\uD800\\uD800\"", "\"\\uDE00\\uD83D\"", "\"\\uD83D\\u0041\"", "\"\\uD83D\\",
        "\"\\uD83D\\uDE0\"",  "{\"\\uD800\":1}",
    };

    (void)state;
    ASSERT_ALL(bad, &integers, ATH_ERR_PARSE);
}

static void
test_a_name_twice_is_refused_however_it_is_written(void **state)
{
    static const char *const bad[] = {
        "{\"a\":1,\"a\":1}",
        "{\"a\":1,\"b\":2,\"a\":3}",
        "{\"a\":1,\"\\u0061\":1}",
        "{\"\":1,\"\":2}",
        "{\"\\/\":1,\"/\":1}",
        "{\"\xF0\x9F\x98\x80\":1,\"\\uD83D\\uDE00\":1}",
        "[{\"x\":{\"a\":1,\"a\":2}}]",
        "{\"a\":{\"b\":1},\"c\":{\"b\":1,\"d\":[{\"e\":1,\"e\":2}]}}",
        "{\"\\n\":1,\"\\u000a\":1}",
    };
    static const char *const good[] = {
        "{\"a\":{\"a\":{\"a\":1}}}",
        "[{\"a\":1},{\"a\":1}]",
        "{\"a\":1,\"a\\u0301\":2,\"\xC3\xA1\":3}",
    };

    (void)state;
    ASSERT_ALL(bad, &integers, ATH_ERR_PARSE);
    ASSERT_ALL(good, &integers, ATH_OK);
}

/* {"name0":0,"name1":1,...} */
static void
put_members(struct ath_buf *text, size_t count)
{
    size_t i;

    ath_buf_put_byte(text, '{');
    for (i = 0; i < count; i++)
        ath_buf_printf(text, "%s\"name%zu\":%zu", i > 0 ? "," : "", i, i);
    ath_buf_put_byte(text, '}');
}

static void
test_limits_are_exact(void **state)
{
    struct ath_buf text = {0};
    struct json_limits limits = {7, 3, 1024, JSON_INTEGERS};

    (void)state;
    assert_int_equal(parse_with("[[[1]]]", &limits, NULL), ATH_OK);
    assert_int_equal(parse_with("[[[1]]] ", &limits, NULL), ATH_ERR_LIMIT_EXCEEDED);
    limits.max_len = 100;
    assert_int_equal(parse_with("[[[[1]]]]", &limits, NULL), ATH_ERR_LIMIT_EXCEEDED);
    assert_int_equal(parse_with("{\"a\":[{\"b\":{}}]}", &limits, NULL), ATH_ERR_LIMIT_EXCEEDED);
    assert_int_equal(parse_with("[[[]],[[]],[[]]]", &limits, NULL), ATH_OK);

    put_members(&text, 1024);
    assert_int_equal(parse_with(ath_buf_text(&text), &integers, NULL), ATH_OK);
    ath_buf_clear(&text);
    put_members(&text, 1025);
    assert_int_equal(parse_with(ath_buf_text(&text), &integers, NULL), ATH_ERR_LIMIT_EXCEEDED);
    ath_buf_done(&text);
}

static void
test_an_array_may_have_more_entries_than_an_object_members(void **state)
{
    struct ath_buf text = {0};
    int i;

    (void)state;
    ath_buf_put_string(&text, "[0");
    for (i = 0; i < 5000; i++)
        ath_buf_put_string(&text, ",1");
    ath_buf_put_byte(&text, ']');
    assert_int_equal(parse_with(ath_buf_text(&text), &integers, NULL), ATH_OK);
    ath_buf_done(&text);
}

static void
test_no_depth_limit_lets_the_stack_overflow(void **state)
{
    struct json_limits limits = {SIZE_MAX, 1000000, SIZE_MAX, JSON_INTEGERS};
    struct ath_buf text = {0};
    int i;

    (void)state;
    for (i = 0; i < 100000; i++)
        ath_buf_put_byte(&text, '[');
    assert_int_equal(parse_with(ath_buf_text(&text), &limits, NULL), ATH_ERR_LIMIT_EXCEEDED);
    ath_buf_done(&text);
}

static void
test_why_says_where_and_what(void **state)
{
    struct why why = {""};

    (void)state;
    (void)parse_with("{\"a\":1,  \"a\":2}", &integers, &why);
    assert_string_equal(why.text, "byte 9: name \"a\" appears twice");
    (void)parse_with("[1,\n 1.5]", &integers, &why);
    assert_string_equal(why.text, "byte 5: only whole numbers are accepted");
    (void)parse_with("[1", &integers, &why);
    assert_string_equal(why.text, "byte 2: the text ends where ',' or ']' must follow");
    (void)parse_with("[\"\xFF\"]", &integers, &why);
    assert_string_equal(why.text, "byte 2: not valid UTF-8");
}

static ath_err
parse_body(void *ctx)
{
    struct json *json = NULL;
    ath_err err = json_parse(ath_slice_of_string(ctx), &integers, NULL, &json);

    json_free(json);
    return err;
}

static void
test_each_failed_allocation_is_reported_and_leaks_nothing(void **state)
{
    char text[] = "{\"a\":[1,\"two\",{\"b\":null}],\"c\":{\"d\":true,\"e\":\"\\u20ac\"}}";

    (void)state;
    each_allocation_failing(parse_body, text);
}

static void
test_only_the_check_wants_an_object_and_keeps_nothing(void **state)
{
    static const char *const good[] = {"{}", " \t\r\n{\"a\": [1]} "};
    static const char *const bad[] = {"", " ", "[]", " 1", "\"{\"", "{\"a\":1,\"a\":2}", "{} x"};
    struct why why = {""};
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_int_equal(json_check_object(ath_slice_of_string(good[i]), &integers, NULL), ATH_OK);
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(json_check_object(ath_slice_of_string(bad[i]), &integers, &why),
                         ATH_ERR_PARSE);
    assert_string_equal(why.text, "byte 3: text after the JSON value");
}

static void
test_configuration_may_have_comments(void **state)
{
    static const char text[] =
        "// first\n{ \"a\": \"x // y /* z */\", /* two\nlines */ \"b\\\"//\": 1 // end\n}\n//";
    struct json *json = NULL;
    int64_t value = 0;

    (void)state;
    assert_int_equal(json_parse_config(ath_slice_of_string(text), &integers, NULL, &json), ATH_OK);
    assert_string_equal(json_get_string(json, "a"), "x // y /* z */");
    assert_true(json_get_int(json, "b\"//", &value));
    json_free(json);
}

static void
test_configuration_errors_have_their_line(void **state)
{
    struct json *json = NULL;
    struct why why = {""};

    (void)state;
    assert_int_equal(json_parse_config(ath_slice_of_string("{\n// c\n/*\n*/ \"a\": 1,\n}"),
                                       &integers, &why, &json),
                     ATH_ERR_PARSE);
    assert_string_equal(why.text, "5: a member's name must follow here");
    assert_int_equal(json_parse_config(ath_slice_of_string("{}\n/* x"), &integers, &why, &json),
                     ATH_ERR_PARSE);
    assert_string_equal(why.text, "2: the comment has no end");
    assert_int_equal(json_parse_config(ath_slice_of_string("{\"a\":/1}"), &integers, &why, &json),
                     ATH_ERR_PARSE);
    assert_int_equal(json_parse_config(ath_slice_of_string("1/*/"), &integers, &why, &json),
                     ATH_ERR_PARSE);
    assert_int_equal(json_parse_config(ath_slice_of_string("\"a//"), &integers, &why, &json),
                     ATH_ERR_PARSE);
    assert_null(json);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_of_rfc_8259_is_accepted),
        cmocka_unit_test(test_everything_else_is_refused),
        cmocka_unit_test(test_an_embedded_nul_byte_is_no_end),
        cmocka_unit_test(test_only_plain_whole_numbers_are_integers),
        cmocka_unit_test(test_a_number_of_63_characters_is_the_longest),
        cmocka_unit_test(test_strings_must_be_unicode_without_u0000),
        cmocka_unit_test(test_a_name_twice_is_refused_however_it_is_written),
        cmocka_unit_test(test_limits_are_exact),
        cmocka_unit_test(test_an_array_may_have_more_entries_than_an_object_members),
        cmocka_unit_test(test_no_depth_limit_lets_the_stack_overflow),
        cmocka_unit_test(test_why_says_where_and_what),
        cmocka_unit_test(test_each_failed_allocation_is_reported_and_leaks_nothing),
        cmocka_unit_test(test_only_the_check_wants_an_object_and_keeps_nothing),
        cmocka_unit_test(test_configuration_may_have_comments),
        cmocka_unit_test(test_configuration_errors_have_their_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
