#include "tests/support/support.h"

#include <math.h>

#include "base/json.h"
#include "base/json_number.h"

static const struct json_limits doubles = {65536, 16, 1024, JSON_DOUBLES};

typedef void write_fn(const struct json *json, struct ath_buf *out);

static struct json *
parse(const char *text)
{
    struct json *json = NULL;
    struct why why = {""};

    if (json_parse(ath_slice_of_string(text), &doubles, &why, &json) != ATH_OK)
        fail_msg("%s", why.text);
    return json;
}

static void
assert_written(write_fn *write, const char *text, const char *expected)
{
    struct json *json = parse(text);
    struct ath_buf out = {0};

    write(json, &out);
    assert_int_equal(out.err, ATH_OK);
    assert_string_equal(ath_buf_text(&out), expected);
    ath_buf_done(&out);
    json_free(json);
}

/* RFC 8785 sections 3.2.2 and 3.2.3, its two worked examples. */
static void
test_rfc_8785_example_of_literals_numbers_and_strings(void **state)
{
    (void)state;
    assert_written(
        json_canonical,
        "{\"numbers\": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],"
        " \"string\": \"\\u20ac$\\u000F\\u000aA'\\u0042\\u0022\\u005c\\\\\\\"\\/\","
        " \"literals\": [null, true, false]}",
        "{\"literals\":[null,true,false],"
        "\"numbers\":[333333333.3333333,1e+30,4.5,0.002,1e-27],"
        "\"string\":\"\xE2\x82\xAC$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}");
}

static void
test_rfc_8785_example_of_sorting(void **state)
{
    (void)state;
    assert_written(
        json_canonical,
        "{\"\\u20ac\":\"Euro Sign\",\"\\r\":\"Carriage Return\","
        "\"\\ufb33\":\"Hebrew Letter Dalet With Dagesh\",\"1\":\"One\","
        "\"\\ud83d\\ude00\":\"Emoji: Grinning Face\",\"\\u0080\":\"Control\","
        "\"\\u00f6\":\"Latin Small Letter O With Diaeresis\"}",
        "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\xC2\x80\":\"Control\","
        "\"\xC3\xB6\":\"Latin Small Letter O With Diaeresis\",\"\xE2\x82\xAC\":\"Euro Sign\","
        "\"\xF0\x9F\x98\x80\":\"Emoji: Grinning Face\","
        "\"\xEF\xAC\xB3\":\"Hebrew Letter Dalet With Dagesh\"}");
}

static void
test_canonical_form_sorts_by_utf16_at_every_depth(void **state)
{
    (void)state;
    assert_written(json_canonical,
                   "{\"b\":[{\"z\":1,\"y\":{\"b\":1,\"a\":2}}],\"aa\":1,\"a\":{},\"\":[]}",
                   "{\"\":[],\"a\":{},\"aa\":1,\"b\":[{\"y\":{\"a\":2,\"b\":1},\"z\":1}]}");
    /* U+D7FF, U+10000 (a surrogate pair), U+E000, U+FFFF, U+10FFFF */
    assert_written(json_canonical,
                   "{\"\xEF\xBF\xBF\":1,\"\xF4\x8F\xBF\xBF\":2,\"\xEE\x80\x80\":3,"
                   "\"\xF0\x90\x80\x80\":4,\"\xED\x9F\xBF\":5}",
                   "{\"\xED\x9F\xBF\":5,\"\xF0\x90\x80\x80\":4,\"\xF4\x8F\xBF\xBF\":2,"
                   "\"\xEE\x80\x80\":3,\"\xEF\xBF\xBF\":1}");
}

static void
test_control_characters_are_escaped_as_rfc_8785_says(void **state)
{
    (void)state;
    assert_written(json_canonical,
                   "\"\\u0001\\u0008\\u0009\\u000A\\u000B\\u000C\\u000D\\u001F\\u007F\\/\"",
                   "\"\\u0001\\b\\t\\n\\u000b\\f\\r\\u001f\x7f/\"");
}

/* RFC 8785 appendix B: IEEE 754 bits and their text. */
static const struct {
    uint64_t bits;
    const char *text;
} numbers[] = {
    {0x0000000000000000, "0"},
    {0x8000000000000000, "0"},
    {0x0000000000000001, "5e-324"},
    {0x8000000000000001, "-5e-324"},
    {0x7fefffffffffffff, "1.7976931348623157e+308"},
    {0xffefffffffffffff, "-1.7976931348623157e+308"},
    {0x4340000000000000, "9007199254740992"},
    {0xc340000000000000, "-9007199254740992"},
    {0x4430000000000000, "295147905179352830000"},
    {0x44b52d02c7e14af5, "9.999999999999997e+22"},
    {0x44b52d02c7e14af6, "1e+23"},
    {0x44b52d02c7e14af7, "1.0000000000000001e+23"},
    {0x444b1ae4d6e2ef4e, "999999999999999700000"},
    {0x444b1ae4d6e2ef4f, "999999999999999900000"},
    {0x444b1ae4d6e2ef50, "1e+21"},
    {0x3eb0c6f7a0b5ed8c, "9.999999999999997e-7"},
    {0x3eb0c6f7a0b5ed8d, "0.000001"},
    {0x41b3de4355555553, "333333333.3333332"},
    {0x41b3de4355555554, "333333333.33333325"},
    {0x41b3de4355555555, "333333333.3333333"},
    {0x41b3de4355555556, "333333333.3333334"},
    {0x41b3de4355555557, "333333333.33333343"},
    {0xbecbf647612f3696, "-0.0000033333333333333333"},
    {0x43143ff3c1cb0959, "1424953923781206.2"},
    /* ours: the nearest decimal of 16 digits is not the one that reads back (2^-44) */
    {0x3d30000000000000, "5.684341886080802e-14"},
    {0x433fffffffffffff, "9007199254740991"},
    {0x4340000000000001, "9007199254740994"},
    {0x3ff8000000000000, "1.5"},
    {0xc024cccccccccccd, "-10.4"},
};

static void
test_numbers_are_written_as_rfc_8785_appendix_b_says(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        struct ath_buf out = {0};
        double value;

        memcpy(&value, &numbers[i].bits, sizeof(value));
        json_number_put(&out, value);
        assert_string_equal(ath_buf_text(&out), numbers[i].text);
        ath_buf_done(&out);
    }
}

static void
test_every_double_reads_back_as_itself(void **state)
{
    uint64_t bits = 1, i;

    (void)state;
    for (i = 0; i < 20000; i++) {
        struct ath_buf out = {0};
        double value, again;

        bits = bits * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        memcpy(&value, &bits, sizeof(value));
        if (!isfinite(value))
            continue;
        json_number_put(&out, value);
        again = strtod(ath_buf_text(&out), NULL);
        if (memcmp(&again, &value, sizeof(value)) != 0)
            fail_msg("%a is written as %s", value, ath_buf_text(&out));
        ath_buf_done(&out);
    }
}

static void
test_compact_form_keeps_the_order(void **state)
{
    (void)state;
    assert_written(json_write, " { \"b\" : [ 1 , { } , [ ] ] , \"a\" : \"x\\ty\" } ",
                   "{\"b\":[1,{},[]],\"a\":\"x\\ty\"}");
}

static void
test_pretty_form_is_indented(void **state)
{
    (void)state;
    assert_written(json_write_pretty, "{\"b\":[1,2],\"a\":{},\"c\":[]}",
                   "{\n  \"b\": [\n    1,\n    2\n  ],\n  \"a\": {},\n  \"c\": []\n}");
}

static void
test_equality_is_of_canonical_forms(void **state)
{
    struct json *a = parse("{\"a\":1.0,\"b\":[\"\\u00e4\"]}");
    struct json *b = parse("{\"b\":[\"\xC3\xA4\"],\"a\":1}");
    struct json *c = parse("{\"a\":1,\"b\":[\"\xC3\xA4\",1]}");

    (void)state;
    assert_true(json_equal(a, b));
    assert_false(json_equal(a, c));
    assert_false(json_equal(a, NULL));
    assert_true(json_equal(NULL, NULL));
    json_free(a);
    json_free(b);
    json_free(c);
}

static void
test_writing_stops_at_the_buffers_limit(void **state)
{
    struct json *json = parse("{\"a\":\"0123456789\"}");
    struct ath_buf out = {.max = 10};

    (void)state;
    json_canonical(json, &out);
    assert_int_equal(out.err, ATH_ERR_LIMIT_EXCEEDED);
    ath_buf_done(&out);
    json_free(json);
}

static ath_err
canonical_body(void *ctx)
{
    struct ath_buf out = {0};
    ath_err err;

    json_canonical(ctx, &out);
    err = out.err;
    ath_buf_done(&out);
    return err;
}

static void
test_each_failed_allocation_is_reported(void **state)
{
    struct json *json = parse(
        "{\"b\":{\"d\":1,\"c\":2},\"a\":[1.25,\"0123456789012345678901234567890123456789\"]}");

    (void)state;
    each_allocation_failing(canonical_body, json);
    json_free(json);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc_8785_example_of_literals_numbers_and_strings),
        cmocka_unit_test(test_rfc_8785_example_of_sorting),
        cmocka_unit_test(test_canonical_form_sorts_by_utf16_at_every_depth),
        cmocka_unit_test(test_control_characters_are_escaped_as_rfc_8785_says),
        cmocka_unit_test(test_numbers_are_written_as_rfc_8785_appendix_b_says),
        cmocka_unit_test(test_every_double_reads_back_as_itself),
        cmocka_unit_test(test_compact_form_keeps_the_order),
        cmocka_unit_test(test_pretty_form_is_indented),
        cmocka_unit_test(test_equality_is_of_canonical_forms),
        cmocka_unit_test(test_writing_stops_at_the_buffers_limit),
        cmocka_unit_test(test_each_failed_allocation_is_reported),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
