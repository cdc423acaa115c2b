/* The form of messages: texts that are none, and each member of each message removed, of each wrong
 * type, or out of range. */
#include "protocol/handshake_message.h"

#include <stdio.h>

#include "protocol/handshake_decode.h"
#include "protocol/handshake_field.h"
#include "tests/support/bad_input.h"
#include "tests/support/handshake_scene.h"

static ath_err
parse(const char *text)
{
    struct json *message = NULL;
    ath_err err = handshake_message_parse(ath_slice_of_string(text), NULL, &message);

    json_free(message);
    return err;
}

static void
test_texts_that_are_no_messages_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; BAD_TEXTS[i] != NULL; i++) {
        if (parse(BAD_TEXTS[i]) != ATH_ERR_INVALID_MESSAGE)
            fail_msg("%s is taken", BAD_TEXTS[i]);
    }
    assert_int_equal(parse("{\"a\":[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]}"), ATH_OK); /* nesting 16 */
    assert_int_equal(parse("{\"a\":9007199254740991,\"b\":-9007199254740991,\"c\":0}"), ATH_OK);
    assert_int_equal(parse("{\"a\":\"\\ud83d\\ude00\"}"), ATH_OK); /* a pair is one character */
    assert_int_equal(parse(" {\"e\\u0301\":1,\"\xc3\xa9\":2}\n"), ATH_OK); /* not normalised */
}

static void
put_padding(struct ath_buf *text, size_t len)
{
    ath_buf_clear(text);
    ath_buf_put_string(text, "{\"type\":\"x\",\"a\":\"");
    while (text->len < len - 2)
        ath_buf_put_byte(text, 'x');
    ath_buf_put_string(text, "\"}");
}

static void
test_a_message_has_at_most_65536_bytes(void **state)
{
    struct ath_buf text = {0};
    struct json *message = NULL;

    (void)state;
    put_padding(&text, 65536);
    assert_int_equal(text.len, 65536);
    assert_int_equal(handshake_message_parse(ath_buf_slice(&text), NULL, &message), ATH_OK);
    assert_int_equal(handshake_message_check(message, NULL), ATH_OK);
    json_set_string(message, "type", "xx"); /* one more */
    assert_int_equal(handshake_message_check(message, NULL), ATH_ERR_INVALID_MESSAGE);
    json_free(message);
    put_padding(&text, 65537);
    assert_int_equal(handshake_message_parse(ath_buf_slice(&text), NULL, &message),
                     ATH_ERR_INVALID_MESSAGE);
    ath_buf_done(&text);
}

static void
test_an_object_has_at_most_1024_members(void **state)
{
    struct ath_buf text = {0};
    struct json *message = NULL;

    (void)state;
    for (unsigned count = 1024; count <= 1025; count++) {
        ath_buf_clear(&text);
        for (unsigned i = 0; i < count; i++)
            ath_buf_printf(&text, "%c\"%u\":0", i == 0 ? '{' : ',', i);
        ath_buf_put_byte(&text, '}');
        assert_int_equal(handshake_message_parse(ath_buf_slice(&text), NULL, &message),
                         count == 1024 ? ATH_OK : ATH_ERR_INVALID_MESSAGE);
    }
    json_free(message);
    ath_buf_done(&text);
}

static void
test_what_came_as_json_keeps_the_same_limits(void **state)
{
    static const struct json_limits LOOSE = {
        .max_len = 1u << 20, .max_depth = 32, .max_members = 4096, .numbers = JSON_DOUBLES};
    static const char *const TEXTS[] = {"[1]", "7", "{\"a\":0.5}",
                                        "{\"a\":[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]}"};
    struct json *message = NULL;

    (void)state;
    for (size_t i = 0; i < sizeof(TEXTS) / sizeof(TEXTS[0]); i++) {
        assert_int_equal(json_parse(ath_slice_of_string(TEXTS[i]), &LOOSE, NULL, &message), ATH_OK);
        assert_int_equal(handshake_message_check(message, NULL), ATH_ERR_INVALID_MESSAGE);
        json_free(message);
    }
    assert_int_equal(handshake_message_check(NULL, NULL), ATH_ERR_INVALID_MESSAGE);
}

static void
test_types_are_known_by_their_exact_names(void **state)
{
    struct json *message = scene_json("{\"type\":\"handshake_request\"}");

    (void)state;
    for (int type = MESSAGE_HANDSHAKE_REQUEST; type < MESSAGE_UNKNOWN; type++) {
        const char *name = handshake_message_type_name((enum handshake_message_type)type);

        json_set_string(message, "type", name);
        assert_int_equal(handshake_message_type(message), type);
    }
    json_set_string(message, "type", "Handshake_request");
    assert_int_equal(handshake_message_type(message), MESSAGE_UNKNOWN);
    json_set_json(message, "type", "1");
    assert_int_equal(handshake_message_type(message), MESSAGE_UNKNOWN);
    json_remove(message, "type");
    assert_int_equal(handshake_message_type(message), MESSAGE_UNKNOWN);
    assert_int_equal(handshake_message_type(NULL), MESSAGE_UNKNOWN);
    json_free(message);
}

/* ---- each member of each message ---- */

static ath_err
decode(int step, const struct json *message)
{
    union {
        struct handshake_request m1;
        struct handshake_response m2;
        struct identity_proof m3;
        struct identity_result m4;
        struct scope_request m5;
        struct confirmation_request m6;
        struct confirmation_response m7;
        struct scope_result m8;
        struct handshake_complete m9;
        struct handshake_retry retry;
    } u;
    ath_err err;

    switch (step) {
    case 1:
        if ((err = handshake_request_decode(message, NULL, &u.m1)) == ATH_OK)
            handshake_request_done(&u.m1);
        return err;
    case 2:
        if ((err = handshake_response_decode(message, NULL, &u.m2)) == ATH_OK)
            handshake_response_done(&u.m2);
        return err;
    case 3:
        return identity_proof_decode(message, NULL, &u.m3);
    case 4:
        if ((err = identity_result_decode(message, NULL, &u.m4)) == ATH_OK)
            identity_result_done(&u.m4);
        return err;
    case 5:
        if ((err = scope_request_decode(message, NULL, &u.m5)) == ATH_OK)
            scope_request_done(&u.m5);
        return err;
    case 6:
        if ((err = confirmation_request_decode(message, NULL, &u.m6)) == ATH_OK)
            confirmation_request_done(&u.m6);
        return err;
    case 7:
        if ((err = confirmation_response_decode(message, NULL, &u.m7)) == ATH_OK)
            confirmation_response_done(&u.m7);
        return err;
    case 8:
        if ((err = scope_result_decode(message, NULL, &u.m8)) == ATH_OK)
            scope_result_done(&u.m8);
        return err;
    case 9:
        return handshake_complete_decode(message, NULL, &u.m9);
    default:
        return handshake_retry_decode(message, NULL, &u.retry);
    }
}

static bool
is_one_of(const char *name, const char *const *names)
{
    for (; *names != NULL; names++) {
        if (strcmp(*names, name) == 0)
            return true;
    }
    return false;
}

/* Members that a message may lack. ("type" is looked at before anything is decoded.) */
static const char *const OPTIONAL[] = {"type", "traceparent", "context", "client_info",
                                       "restrictions", "confirmation", "credentials", "cookie",
                                       NULL};
/* M4's error is null with success. */
static const char *const MAY_BE_NULL[] = {"type", "error", NULL};

static void
assert_members_are_checked(struct scene *scene, int step)
{
    static const char *const WRONG_TYPES[] = {"null", "true", "7", "\"\"", "[]", "{}",
                                              "-1",   "[7]",  "{\"a\":1}"};

    for (const struct json *member = json_first(scene->m[step]); member != NULL;
         member = json_next(member)) {
        const char *name = json_name(member);
        struct json *changed = message_without(scene->m[step], NULL, name);

        if (!is_one_of(name, OPTIONAL) && decode(step, changed) == ATH_OK)
            fail_msg("message %d is taken without %s", step, name);
        for (size_t i = 0; i < sizeof(WRONG_TYPES) / sizeof(WRONG_TYPES[0]); i++) {
            struct json *value = scene_json(WRONG_TYPES[i]);
            bool same_kind = (json_string(value) != NULL) == (json_string(member) != NULL) &&
                             json_is_object(value) == json_is_object(member) &&
                             json_is_array(value) == json_is_array(member) &&
                             json_is_number(value) == json_is_number(member) &&
                             json_is_bool(value) == json_is_bool(member) &&
                             json_is_null(value) == json_is_null(member);

            json_free(value);
            if (same_kind || is_one_of(name, MAY_BE_NULL))
                continue;
            json_set_json(changed, name, WRONG_TYPES[i]);
            if (decode(step, changed) != ATH_ERR_INVALID_MESSAGE)
                fail_msg("message %d is taken with %s: %s", step, name, WRONG_TYPES[i]);
        }
        json_free(changed);
    }
}

static void
test_each_member_removed_or_of_another_type_is_refused(void **state)
{
    struct scene_options options = {.confirm = true,
                                    .context = "a trip",
                                    .trace = SCENE_TRACE,
                                    .restrictions = "{\"rate_limit\":\"1/s\"}"};
    struct scene scene;

    (void)state;
    scene_init(&scene, &options);
    scene_run(&scene, 10);
    for (int step = 1; step <= 9; step++) {
        assert_int_equal(decode(step, scene.m[step]), ATH_OK);
        assert_members_are_checked(&scene, step);
    }
    json_free(scene.m[1]);
    scene.m[1] = scene_json("{\"type\":\"handshake_retry\",\"cookie\":\"0123456789012345678901\","
                            "\"proof\":false,\"retry_after\":0,\"timestamp\":1}");
    /* as step 10 of the table above */
    assert_int_equal(decode(10, scene.m[1]), ATH_OK);
    for (const char *const *name = (const char *const[]){"cookie", "proof", "retry_after",
                                                         "timestamp", NULL};
         *name != NULL; name++) {
        struct json *changed = message_without(scene.m[1], NULL, *name);

        assert_int_equal(decode(10, changed), ATH_ERR_INVALID_MESSAGE);
        json_set_json(changed, *name, "[]");
        assert_int_equal(decode(10, changed), ATH_ERR_INVALID_MESSAGE);
        json_free(changed);
    }
    scene_done(&scene);
}

static void
test_unknown_members_are_ignored(void **state)
{
    struct scene_options options = {.confirm = true};
    struct scene scene;

    (void)state;
    scene_init(&scene, &options);
    scene_run(&scene, 9);
    for (int step = 1; step <= 9; step++) {
        json_set_json(scene.m[step], "x-unknown", "{\"a\":[null]}");
        assert_int_equal(decode(step, scene.m[step]), ATH_OK);
    }
    scene_done(&scene);
}

/* ---- small things ---- */

static void
test_error_member_and_codes_fit_each_other(void **state)
{
    struct why why = {"because"};
    struct json_maker maker = {0};

    (void)state;
    json_object_begin(&maker);
    handshake_error_put(&maker, ATH_ERR_TIMESTAMP_SKEW, &why);
    assert_string_equal(json_get_string(json_get(maker.root, "error"), "code"), "TIMESTAMP_SKEW");
    assert_string_equal(json_get_string(json_get(maker.root, "error"), "message"), "because");
    json_maker_done(&maker);
    assert_int_equal(handshake_error_of_code("TIMESTAMP_SKEW"), ATH_ERR_TIMESTAMP_SKEW);
    assert_int_equal(handshake_error_of_code("CONSENT_TIMEOUT"), ATH_ERR_CONSENT_TIMEOUT);
    assert_int_equal(handshake_error_of_code("INTERNAL_ERROR"), ATH_ERR_INVALID_MESSAGE);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts_that_are_no_messages_are_refused),
        cmocka_unit_test(test_a_message_has_at_most_65536_bytes),
        cmocka_unit_test(test_an_object_has_at_most_1024_members),
        cmocka_unit_test(test_what_came_as_json_keeps_the_same_limits),
        cmocka_unit_test(test_types_are_known_by_their_exact_names),
        cmocka_unit_test(test_each_member_removed_or_of_another_type_is_refused),
        cmocka_unit_test(test_unknown_members_are_ignored),
        cmocka_unit_test(test_error_member_and_codes_fit_each_other),
    };

    if (crypto_init() != ATH_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
