#include "tests/support/support.h"

#include "base/json.h"

static const struct json_limits integers = {65536, 16, 1024, JSON_INTEGERS};

static struct json *
parse(const char *text)
{
    struct json *json = NULL;

    assert_int_equal(json_parse(ath_slice_of_string(text), &integers, NULL, &json), ATH_OK);
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
put_all(struct json_maker *maker, const struct json *copied)
{
    struct json_maker inner;

    json_object_begin(maker);
    json_put_string(maker, "text", "x\"\xC3\xA4");
    json_put_string(maker, "absent", NULL);
    json_put_slice(maker, "slice", ath_slice_of("abcd", 2));
    json_put_base64url(maker, "bytes", ath_slice_of("\xfb\xff", 2));
    json_put_int(maker, "int", -INT64_C(9007199254740991));
    json_put_bool(maker, "bool", true);
    json_put_null(maker, "null");
    json_array_begin(&inner);
    json_put_int(&inner, NULL, 1);
    json_put_string(&inner, NULL, "two");
    json_put_maker(maker, "array", &inner);
    json_put_copy(maker, "copy", copied);
    json_put_take(maker, "taken", json_clone(copied));
    json_put_int(maker, "text", 5);
}

static void
test_what_is_put_is_there(void **state)
{
    struct json *copied = parse("{\"c\":[]}"), *made = NULL;
    struct json_maker maker;

    (void)state;
    put_all(&maker, copied);
    assert_int_equal(json_maker_end(&maker, &made), ATH_OK);
    assert_is(
        made,
        "{\"slice\":\"ab\",\"bytes\":\"-_8\",\"int\":-9007199254740991,\"bool\":true,"
        "\"null\":null,\"array\":[1,\"two\"],\"copy\":{\"c\":[]},\"taken\":{\"c\":[]},\"text\":5}");
    json_free(made);
    json_free(copied);
}

static ath_err
make_body(void *copied)
{
    struct json_maker maker;
    struct json *made = NULL;
    ath_err err;

    put_all(&maker, copied);
    err = json_maker_end(&maker, &made);
    assert_true((err == ATH_OK) == (made != NULL));
    json_free(made);
    return err;
}

static void
test_each_failed_allocation_is_said_once_at_the_end(void **state)
{
    struct json *copied = parse("{\"c\":[1,\"x\"]}");

    (void)state;
    each_allocation_failing(make_body, copied);
    json_free(copied);
}

static ath_err
end_of(void (*put)(struct json_maker *maker))
{
    struct json_maker maker;
    struct json *made = NULL;
    ath_err err;

    json_object_begin(&maker);
    put(&maker);
    json_put_string(&maker, "later", "x");
    err = json_maker_end(&maker, &made);
    json_free(made);
    return err;
}

static void
put_bad_utf8(struct json_maker *maker)
{
    json_put_string(maker, "a", "\xFF");
}

static void
put_nul(struct json_maker *maker)
{
    json_put_slice(maker, "a", ath_slice_of("x\0y", 3));
}

static void
put_large_int(struct json_maker *maker)
{
    json_put_int(maker, "a", INT64_C(9007199254740992));
}

static void
put_without_name(struct json_maker *maker)
{
    json_put_int(maker, NULL, 1);
}

static void
put_missing(struct json_maker *maker)
{
    json_put_take(maker, "a", NULL);
}

static void
test_what_is_no_json_is_refused(void **state)
{
    (void)state;
    assert_int_equal(end_of(put_bad_utf8), ATH_ERR_PARSE);
    assert_int_equal(end_of(put_nul), ATH_ERR_PARSE);
    assert_int_equal(end_of(put_large_int), ATH_ERR_LIMIT_EXCEEDED);
    assert_int_equal(end_of(put_without_name), ATH_ERR_INTERNAL);
    assert_int_equal(end_of(put_missing), ATH_ERR_NOMEM);
}

static void
test_a_member_put_into_an_array_loses_its_name(void **state)
{
    struct json *object = parse("{\"a\":1}"), *array = NULL;
    struct json_maker maker;

    (void)state;
    json_array_begin(&maker);
    json_put_copy(&maker, NULL, json_first(object));
    json_put_take(&maker, NULL, json_detach(object, "a"));
    assert_int_equal(json_maker_end(&maker, &array), ATH_OK);
    assert_is(array, "[1,1]");
    assert_null(json_name(json_first(array)));
    json_free(object);
    json_free(array);
}

static void
test_a_dropped_maker_leaks_nothing(void **state)
{
    struct json_maker maker;

    (void)state;
    json_object_begin(&maker);
    json_put_string(&maker, "a", "x");
    json_maker_done(&maker);
    json_maker_done(&maker);
}

static void
test_values_are_read_by_type_and_exact_name(void **state)
{
    struct json *json = parse(
        "{\"s\":\"x\",\"i\":-7,\"t\":true,\"f\":false,\"n\":null,\"o\":{},\"a\":[1,2,3],\"S\":1}");
    int64_t value = 0;

    (void)state;
    assert_string_equal(json_get_string(json, "s"), "x");
    assert_null(json_get_string(json, "S"));
    assert_null(json_get(json, "I"));
    assert_true(json_get_int(json, "i", &value) && value == -7);
    assert_false(json_get_int(json, "t", &value));
    assert_true(json_is_true(json_get(json, "t")));
    assert_false(json_is_true(json_get(json, "f")) || json_is_true(json_get(json, "i")));
    assert_true(json_is_bool(json_get(json, "f")) && json_is_bool(json_get(json, "t")));
    assert_true(json_is_null(json_get(json, "n")));
    assert_true(json_is_object(json_get(json, "o")) && json_is_array(json_get(json, "a")));
    assert_int_equal(json_count(json_get(json, "a")), 3);
    assert_int_equal(json_count(json), 8);
    assert_int_equal(json_count(json_get(json, "s")), 0);
    assert_string_equal(json_name(json_first(json)), "s");
    assert_string_equal(json_name(json_next(json_first(json))), "i");
    assert_null(json_name(json_first(json_get(json, "a"))));
    json_free(json);
}

static void
test_absent_is_never_anything(void **state)
{
    int64_t value;

    (void)state;
    assert_false(json_is_object(NULL) || json_is_array(NULL) || json_is_null(NULL) ||
                 json_is_bool(NULL));
    assert_false(json_is_number(NULL) || json_is_true(NULL) || json_int(NULL, &value));
    assert_null(json_string(NULL));
    assert_null(json_get(NULL, "a"));
    assert_null(json_first(NULL));
    assert_null(json_next(NULL));
    assert_null(json_clone(NULL));
    assert_int_equal(json_count(NULL), 0);
    json_free(NULL);
}

static void
test_members_are_removed_and_detached(void **state)
{
    struct json *json = parse("{\"a\":1,\"b\":[2],\"c\":3}"), *detached;

    (void)state;
    json_remove(json, "a");
    json_remove(json, "a");
    detached = json_detach(json, "b");
    assert_is(detached, "[2]");
    assert_is(json, "{\"c\":3}");
    assert_null(json_detach(json, "b"));
    assert_null(json_get_mutable(detached, "b"));
    json_free(json);
    json_free(detached);
}

static void
test_entries_are_detached_from_the_front(void **state)
{
    struct json *json = parse("[1,[2],3]"), *first;
    static const char *const left[] = {"[[2],3]", "[3]", "[]"};
    size_t i;

    (void)state;
    for (i = 0; i < 3; i++) {
        first = json_detach_first(json);
        assert_non_null(first);
        assert_null(json_next(first));
        assert_is(json, left[i]);
        json_free(first);
    }
    assert_null(json_detach_first(json));
    assert_null(json_detach_first(NULL));
    json_free(json);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_put_is_there),
        cmocka_unit_test(test_each_failed_allocation_is_said_once_at_the_end),
        cmocka_unit_test(test_what_is_no_json_is_refused),
        cmocka_unit_test(test_a_member_put_into_an_array_loses_its_name),
        cmocka_unit_test(test_a_dropped_maker_leaks_nothing),
        cmocka_unit_test(test_values_are_read_by_type_and_exact_name),
        cmocka_unit_test(test_absent_is_never_anything),
        cmocka_unit_test(test_members_are_removed_and_detached),
        cmocka_unit_test(test_entries_are_detached_from_the_front),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
