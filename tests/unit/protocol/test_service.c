/* What an application offers to whom. */
#include "protocol/service.h"

#include "tests/support/handshake_scene.h"
#include "tests/support/support.h"

#define AGENT "did:ath:client_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define USER "did:ath:user_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

static const char WHOLE[] =
    "{\"name\":\"mail\",\"key\":\"mail-key\",\"scopes_supported\":[\"mail:read\",\"mail:send\"],"
    "\"token_max_ttl\":900,\"require_user_confirmation\":true,"
    "\"agents\":{\"" AGENT "\":[\"mail:send\",\"files:read\"],\"*\":[\"mail:read\"]},"
    "\"users\":{\"" USER "\":\"alice\"},\"origins\":[\"https://mail.example\"],"
    "\"bearer\":true,\"restrictions\":{\"rate_limit\":\"1/s\"}}";

static struct service *
decode(const char *text)
{
    struct json *json = scene_json(text);
    struct service *service = NULL;
    struct why why = {{0}};

    if (service_decode(json, &why, &service) != ATH_OK)
        fail_msg("%s: %s", text, why.text);
    json_free(json);
    return service;
}

static void
test_rule_for_the_did_wins_over_anyone_and_is_cut_to_what_is_supported(void **state)
{
    struct service *service = decode(WHOLE);
    const struct scope_list *scopes;

    (void)state;
    scopes = service_scopes_of(service, AGENT);
    assert_int_equal(scopes->count, 1);
    assert_string_equal(scopes->items[0], "mail:send");
    scopes = service_scopes_of(service, "did:ath:somebody");
    assert_int_equal(scopes->count, 1);
    assert_string_equal(scopes->items[0], "mail:read");
    service_free(service);
}

static void
test_who_is_not_listed_is_unknown(void **state)
{
    struct service *service = decode(
        "{\"name\":\"m\",\"key\":\"k\",\"scopes_supported\":[\"a\"],\"token_max_ttl\":1,"
        "\"require_user_confirmation\":false,\"agents\":{\"" AGENT "\":[]},\"users\":{}}");

    (void)state;
    assert_null(service_scopes_of(service, "did:ath:somebody"));
    assert_non_null(service_scopes_of(service, AGENT)); /* named, though nothing is allowed */
    assert_int_equal(service_scopes_of(service, AGENT)->count, 0);
    assert_null(service_account_of(service, USER));
    assert_false(service_serves_anyone(service));
    assert_false(service->bearer);
    assert_false(service_has_origin(service, "https://mail.example"));
    service_free(service);
}

static void
test_users_are_mapped_to_accounts(void **state)
{
    struct service *service = decode(WHOLE);
    struct service *open = decode(
        "{\"name\":\"m\",\"key\":\"k\",\"scopes_supported\":[\"a\"],\"token_max_ttl\":3600,"
        "\"require_user_confirmation\":false,\"agents\":{},"
        "\"users\":{\"*\":\"guest\",\"" USER "\":\"alice\"}}");

    (void)state;
    assert_string_equal(service_account_of(service, USER), "alice");
    assert_null(service_account_of(service, "did:ath:somebody"));
    assert_true(service_has_origin(service, "https://mail.example"));
    assert_false(service_has_origin(service, "https://mail.example:443"));
    assert_string_equal(service_account_of(open, USER), "alice");
    assert_string_equal(service_account_of(open, "did:ath:somebody"), "guest");
    assert_true(service_serves_anyone(open));
    service_free(service);
    service_free(open);
}

static void
test_encoding_gives_the_same_members_again(void **state)
{
    struct service *service = decode(WHOLE);
    struct json *expected = scene_json(WHOLE), *encoded = NULL;

    (void)state;
    assert_int_equal(service_encode(service, &encoded), ATH_OK);
    assert_true(json_equal(encoded, expected));
    json_free(encoded);
    json_free(expected);
    service_free(service);
}

static void
test_each_member_missing_or_wrong_is_refused(void **state)
{
    static const struct {
        const char *member, *value; /* NULL: removed */
    } WRONG[] = {
        {"name", NULL},
        {"name", "7"},
        {"name", "\".hidden\""},
        {"name", "\"../../etc\""},
        {"key", NULL},
        {"key", "\"\""},
        {"scopes_supported", NULL},
        {"scopes_supported", "[]"},
        {"scopes_supported", "[\"a\",\"a\"]"},
        {"scopes_supported", "[\"a b\"]"},
        {"token_max_ttl", NULL},
        {"token_max_ttl", "0"},
        {"token_max_ttl", "3601"},
        {"token_max_ttl", "\"900\""},
        {"require_user_confirmation", NULL},
        {"require_user_confirmation", "1"},
        {"agents", NULL},
        {"agents", "[]"},
        {"agents", "{\"nobody\":[\"mail:read\"]}"},
        {"agents", "{\"*\":\"mail:read\"}"},
        {"agents", "{\"*\":[7]}"},
        {"users", NULL},
        {"users", "{\"nobody\":\"alice\"}"},
        {"users", "{\"*\":\"\"}"},
        {"users", "{\"*\":7}"},
        {"origins", "\"https://mail.example\""},
        {"origins", "[\"https://mail.example/\"]"},
        {"origins", "[7]"},
        {"bearer", "\"no\""},
        {"restrictions", "[]"},
        {"restrictions", "{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":1}}}}}}}}}"},
        {"unknown", "1"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(WRONG) / sizeof(WRONG[0]); i++) {
        struct json *json = scene_json(WHOLE);
        struct service *service = NULL;
        struct why why = {{0}};

        if (WRONG[i].value == NULL)
            json_remove(json, WRONG[i].member);
        else
            json_set_json(json, WRONG[i].member, WRONG[i].value);
        assert_int_equal(service_decode(json, &why, &service), ATH_ERR_INVALID_PARAMS);
        assert_non_null(strstr(why.text, WRONG[i].member));
        json_free(json);
    }
}

static void
test_what_every_call_may_carry_is_ignored(void **state)
{
    struct json *json = scene_json(WHOLE);
    struct service *service = NULL;
    struct why why = {{0}};

    (void)state;
    json_set_string(json, "trace", SCENE_TRACE);
    assert_int_equal(service_decode(json, &why, &service), ATH_OK);
    json_free(json);
    service_free(service);
}

static ath_err
decode_and_encode(void *ctx)
{
    struct service *service = NULL;
    struct json *again = NULL;
    ath_err err;

    if ((err = service_decode(ctx, NULL, &service)) == ATH_OK)
        err = service_encode(service, &again);
    json_free(again);
    service_free(service);
    return err;
}

static void
test_each_allocation_may_fail(void **state)
{
    struct json *json = scene_json(WHOLE);

    (void)state;
    each_allocation_failing(decode_and_encode, json);
    json_free(json);
}

/* ---- origins ---- */

static void
test_origins_have_one_form(void **state)
{
    static const char *const RIGHT[] = {
        "https://mail.example",   "https://a",          "https://mail.example:8443",
        "https://192.0.2.1:1",    "https://[2001:db8::1]", "https://[2001:db8::1]:65535",
        "http://localhost",       "http://localhost:8080", "http://127.0.0.1:9",
        "http://127.1.2.3",       "http://[::1]:1",     "https://xn--mnchen-3ya.example",
        "http://localhost:443",   "https://localhost:80",
    };
    static const char *const WRONG[] = {
        "",
        "https://",
        "mail.example",
        "http://mail.example",
        "http://localhost.example",
        "http://127.0.0.1.example",
        "http://128.0.0.1",
        "http://[::2]",
        "https://Mail.example",
        "HTTPS://mail.example",
        "https://mail.example/",
        "https://mail.example/path",
        "https://mail.example?",
        "https://mail.example#",
        "https://user@mail.example",
        "https://mail.example:443",
        "http://localhost:80",
        "https://mail.example:",
        "https://mail.example:0",
        "https://mail.example:08443",
        "https://mail.example:65536",
        "https://mail.example:99999",
        "https://mail.example:8443x",
        "https://mail..example",
        "https://.example",
        "https://mail.example.",
        "https://mail example",
        "https://m\xc3\xbcnchen.example",
        "https://999.0.0.1",
        "https://1.2.3",
        "https://[2001:DB8::1]",
        "https://[2001:db8:0:0:0:0:0:1]",
        "https://[::1",
        "https://::1",
        "https://[]",
        "ftp://mail.example",
        "https:///mail.example",
        "https://*.example",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(RIGHT) / sizeof(RIGHT[0]); i++) {
        if (!origin_is_valid(RIGHT[i]))
            fail_msg("%s is an origin", RIGHT[i]);
    }
    for (size_t i = 0; i < sizeof(WRONG) / sizeof(WRONG[0]); i++) {
        if (origin_is_valid(WRONG[i]))
            fail_msg("%s is no origin", WRONG[i]);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rule_for_the_did_wins_over_anyone_and_is_cut_to_what_is_supported),
        cmocka_unit_test(test_who_is_not_listed_is_unknown),
        cmocka_unit_test(test_users_are_mapped_to_accounts),
        cmocka_unit_test(test_encoding_gives_the_same_members_again),
        cmocka_unit_test(test_each_member_missing_or_wrong_is_refused),
        cmocka_unit_test(test_what_every_call_may_carry_is_ignored),
        cmocka_unit_test(test_each_allocation_may_fail),
        cmocka_unit_test(test_origins_have_one_form),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
