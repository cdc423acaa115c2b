#include "tests/support/support.h"

#include "rpc/methods.h"
#include "rpc/rpc_limits.h"

static struct why last_why;

static ath_err
check(const char *method_name, const char *params)
{
    struct json_limits limits = RPC_JSON_LIMITS;
    const struct rpc_method *method = method_find(method_name);
    struct json *json = NULL;
    ath_err err;

    assert_non_null(method);
    assert_int_equal(json_parse(ath_slice_of_string(params), &limits, NULL, &json), ATH_OK);
    last_why.text[0] = '\0';
    err = method_check_params(method, json, &last_why);
    json_free(json);
    return err;
}

/* A call with every parameter the API text gives it. */
static const struct {
    const char *method;
    const char *params;
} calls[] = {
    {"agent.hello", "{\"client\":\"test\"}"},
    {"agent.hello", "{\"client\":{\"name\":\"test\"}}"},
    {"agent.status", "{}"},
    {"agent.lock", "{}"},
    {"agent.unlock", "{}"},
    {"events.subscribe", "{\"topics\":[\"consent\",\"hsm\",\"key\",\"audit\"]}"},
    {"key.create", "{\"name\":\"k\",\"role\":\"client\",\"hsm\":\"tpm\",\"algorithm\":\"ES256\","
                   "\"agent_id\":\"https://a.example/\",\"display\":{\"name\":\"A\"},\"pin\":false,"
                   "\"confirm\":\"session\",\"expires_at\":4102444800}"},
    {"key.list", "{\"role\":\"user\"}"},
    {"key.get", "{\"name\":\"k\"}"},
    {"key.delete", "{\"name\":\"k\"}"},
    {"key.import",
     "{\"name\":\"k\",\"role\":\"server\",\"tss2_pem\":\"-----BEGIN TSS2 PRIVATE KEY-----\"}"},
    {"key.export", "{\"name\":\"k\",\"format\":\"agent.json\"}"},
    {"attestation.create", "{\"key\":\"k\",\"audience\":\"https://x.example\",\"ttl\":300,"
                           "\"capabilities\":[\"a\"],\"issuer\":\"origin\"}"},
    {"attestation.create",
     "{\"key\":\"k\",\"audience\":[\"https://x.example\",\"https://y.example\"]}"},
    {"attestation.verify",
     "{\"jwt\":\"a.b.c\",\"audience\":\"https://x.example\",\"public_key\":{\"kty\":\"EC\"}}"},
    {"attestation.verify",
     "{\"jwt\":\"a.b.c\",\"audience\":\"https://x.example\",\"public_key\":\"-----BEGIN\"}"},
    {"attestation.verify",
     "{\"jwt\":\"a.b.c\",\"audience\":\"https://x.example\",\"identity_document\":{}}"},
    {"handshake.start", "{\"key\":\"k\",\"scopes\":[\"mail:read\"],\"ttl\":600,\"context\":\"why\","
                        "\"credential\":\"a.b.c\",\"server\":{\"did\":\"did:ath:x\"}}"},
    {"handshake.start", "{\"key\":\"k\",\"scopes\":[\"mail:read\"],\"user_key\":\"u\","
                        "\"server\":{\"origin\":\"https://x.example\"}}"},
    {"handshake.receive", "{\"handshake\":\"h\",\"message\":{\"type\":\"handshake_response\"}}"},
    {"handshake.receive", "{\"handshake\":\"h\",\"message\":\"{}\"}"},
    {"handshake.accept", "{\"service\":\"s\",\"message\":{},\"source\":\"192.0.2.1\"}"},
    {"handshake.get", "{\"handshake\":\"h\"}"},
    {"handshake.list", "{}"},
    {"handshake.abort", "{\"handshake\":\"h\"}"},
    {"confirmation.answer", "{\"key\":\"k\",\"message\":{},\"server\":\"did:ath:server_x\"}"},
    {"service.put",
     "{\"name\":\"s\",\"key\":\"k\",\"scopes_supported\":[\"mail:read\"],\"token_max_ttl\":600,"
     "\"require_user_confirmation\":true,\"agents\":{\"*\":[\"mail:read\"]},\"users\":{},"
     "\"origins\":[\"https://x.example\"],\"bearer\":false,\"restrictions\":{}}"},
    {"service.list", "{}"},
    {"service.delete", "{\"name\":\"s\"}"},
    {"credential.issue",
     "{\"key\":\"u\",\"client\":\"did:ath:client_x\",\"scopes\":[\"mail:read\"],"
     "\"audience\":\"did:ath:server_x\",\"ttl\":3600}"},
    {"credential.put", "{\"credential\":\"a.b.c\"}"},
    {"credential.verify",
     "{\"credential\":{\"user_did\":\"x\"},\"client\":\"did:a:b\",\"audience\":\"did:a:c\"}"},
    {"credential.list", "{}"},
    {"session.seal", "{\"session\":\"s\",\"plaintext\":\"Zm9v\"}"},
    {"session.open", "{\"session\":\"s\",\"jwe\":\"a.b.c.d.e\"}"},
    {"session.token", "{\"session\":\"s\"}"},
    {"session.list", "{}"},
    {"session.close", "{\"session\":\"s\"}"},
    {"token.verify",
     "{\"service\":\"s\",\"token\":\"a.b.c\",\"scope\":\"mail:read\",\"session\":\"x\"}"},
    {"token.verify", "{\"service\":\"s\",\"token\":\"a.b.c\",\"proof\":\"a.b.c\"}"},
    {"grant.create",
     "{\"name\":\"g\",\"keys\":[\"k\"],\"methods\":[\"group:use\"],\"audiences\":[\"*\"],"
     "\"peers\":[\"did:web:x.example\"],\"scopes\":[\"mail:*\"],\"ttl\":60,\"max_uses\":3,"
     "\"process\":1,\"unit\":\"a.scope\",\"adopt\":false}"},
    {"grant.list", "{}"},
    {"grant.revoke", "{\"name\":\"g\"}"},
    {"peer.pin", "{\"did\":\"did:web:x.example\",\"public_key\":\"-----BEGIN\",\"origin\":\"https:/"
                 "/x.example\","
                 "\"name\":\"x\",\"allow_literal\":false}"},
    {"peer.list", "{}"},
    {"peer.remove", "{\"did\":\"did:web:x.example\"}"},
    {"consent.list", "{\"id\":\"q0123456789ab\"}"},
    {"consent.answer", "{\"id\":\"q0123456789ab\",\"approve\":true,\"scopes\":[\"a:b\"],"
                       "\"remember\":{\"uses\":20,\"seconds\":7200},\"freeze\":false}"},
    {"consent.attend", "{\"pins\":true}"},
    {"consent.environment",
     "{\"DISPLAY\":\":0\",\"WAYLAND_DISPLAY\":\"wayland-0\",\"XAUTHORITY\":\"/x\","
     "\"DBUS_SESSION_BUS_ADDRESS\":\"unix:path=/run/user/1/bus\",\"XDG_RUNTIME_DIR\":\"/run/user/"
     "1\","
     "\"XDG_SESSION_TYPE\":\"wayland\",\"GPG_TTY\":\"/dev/pts/1\",\"TERM\":\"xterm\","
     "\"LANG\":\"C.UTF-8\",\"LC_ALL\":\"C.UTF-8\",\"LC_CTYPE\":\"C\",\"LC_MESSAGES\":\"C\"}"},
    {"consent.forget", "{\"id\":\"w0123456789ab\"}"},
    {"consent.pinentry", "{\"id\":\"p0123456789ab\",\"GPG_TTY\":\"/dev/pts/1\",\"TERM\":\"xterm\","
                         "\"LC_CTYPE\":\"C.UTF-8\"}"},
    {"policy.check",
     "{\"method\":\"attestation.create\",\"params\":{\"key\":\"k\"},\"as\":{\"uid\":1}}"},
    {"policy.reload", "{}"},
    {"policy.show", "{}"},
    {"policy.freeze", "{\"key\":\"k\"}"},
    {"policy.unfreeze", "{\"all\":true}"},
    {"audit.query", "{\"after\":0,\"limit\":1000,\"event\":\"signature\",\"key\":\"k\","
                    "\"caller\":\"1000\",\"since\":1,\"until\":2}"},
    {"audit.checkpoint", "{}"},
    {"audit.proof", "{\"index\":0,\"size\":1}"},
    {"audit.consistency", "{\"from\":0,\"to\":1}"},
};

static void
test_the_calls_of_the_api_are_accepted_and_every_method_is_among_them(void **state)
{
    bool seen[RPC_METHOD_COUNT] = {false};
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        if (check(calls[i].method, calls[i].params) != ATH_OK)
            fail_msg("%s %s: %s", calls[i].method, calls[i].params, last_why.text);
        seen[method_find(calls[i].method)->id] = true;
    }
    for (i = 0; i < RPC_METHOD_COUNT; i++)
        if (!seen[i])
            fail_msg("%s is not tried", method_at((enum rpc_method_id)i)->name);
}

static void
test_methods_are_found_by_exact_name_and_number(void **state)
{
    (void)state;
    assert_int_equal(method_find("key.create")->id, RPC_KEY_CREATE);
    assert_null(method_find("Key.create"));
    assert_null(method_find("vault.get"));
    assert_null(method_find(""));
    assert_string_equal(method_at(RPC_PEER_REMOVE)->name, "peer.remove");
    assert_null(method_at(RPC_METHOD_COUNT));
}

/* Takes each required member of each call away in turn. */
static void
test_each_required_member_is_missed(void **state)
{
    struct json_limits limits = RPC_JSON_LIMITS;
    size_t i, j;

    (void)state;
    for (i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        const struct rpc_method *method = method_find(calls[i].method);

        for (j = 0; j < method->param_count; j++) {
            struct json *json = NULL;
            ath_err err;

            assert_int_equal(json_parse(ath_slice_of_string(calls[i].params), &limits, NULL, &json),
                             ATH_OK);
            json_remove(json, method->params[j].name);
            err = method_check_params(method, json, &last_why);
            assert_int_equal(err, method->params[j].required ? ATH_ERR_INVALID_PARAMS : ATH_OK);
            if (err != ATH_OK)
                assert_non_null(strstr(last_why.text, method->params[j].name));
            json_free(json);
        }
    }
}

/* Puts a value of a wrong type in the place of each member. */
static void
test_each_member_of_a_wrong_type_is_refused_by_name(void **state)
{
    size_t i, j;

    (void)state;
    for (i = 0; i < RPC_METHOD_COUNT; i++) {
        const struct rpc_method *method = method_at((enum rpc_method_id)i);

        for (j = 0; j < method->param_count; j++) {
            struct json_maker maker;
            struct json *json = NULL;

            json_object_begin(&maker);
            json_put_null(&maker, method->params[j].name);
            assert_int_equal(json_maker_end(&maker, &json), ATH_OK);
            assert_int_equal(method_check_params(method, json, &last_why), ATH_ERR_INVALID_PARAMS);
            assert_non_null(strstr(last_why.text, method->params[j].name));
            json_free(json);
        }
    }
}

static const struct {
    const char *method;
    const char *params;
    const char *named; /* what the sentence must name */
} refused[] = {
    {"agent.status", "{\"x\":1}", "\"x\""},
    {"agent.lock", "{\"passphrase\":\"x\"}", "\"passphrase\""},
    {"agent.unlock", "{\"passphrase\":\"x\"}", "\"passphrase\""},
    {"key.get", "{\"name\":\"k\",\"Name\":\"k\"}", "\"Name\""},
    {"key.get", "{\"name\":\"../k\"}", "\"name\""},
    {"key.get", "{\"name\":\"\"}", "\"name\""},
    {"key.get", "{\"name\":7}", "\"name\""},
    {"key.create", "{\"name\":\"k\",\"role\":\"admin\"}", "user client server"},
    {"key.create", "{\"name\":\"k\",\"role\":\"\"}", "\"role\""},
    {"key.create", "{\"name\":\"k\",\"role\":\"user client\"}", "\"role\""},
    {"key.import", "{\"name\":\"k\",\"role\":\"user\",\"pin\":true}", "not built yet"},
    {"key.create", "{\"name\":\"k\",\"role\":\"user\",\"pin\":0}", "\"pin\""},
    {"key.create", "{\"name\":\"k\",\"role\":\"user\",\"expires_at\":0}", "\"expires_at\""},
    {"key.create", "{\"name\":\"k\",\"role\":\"user\",\"expires_at\":true}", "\"expires_at\""},
    {"key.create", "{\"name\":\"k\",\"role\":\"user\",\"display\":\"A\"}", "\"display\""},
    {"key.import", "{\"name\":\"k\",\"role\":\"user\",\"pkcs11_uri\":1}", "\"pkcs11_uri\""},
    {"audit.query", "{\"limit\":1001}", "\"limit\""},
    {"audit.query", "{\"after\":-1}", "\"after\""},
    {"audit.query", "{\"since\":\"2026-01-01\"}", "\"since\""},
    {"audit.proof", "{\"index\":9007199254740991}", "\"index\""},
    {"audit.consistency", "{\"from\":1}", "\"to\""},
    {"peer.pin", "{\"did\":\"did:web:x\",\"allow_literal\":true}", "not built yet"},
    {"peer.pin", "{\"did\":\"web:x\"}", "\"did\""},
    {"peer.pin", "{\"did\":\"did:\"}", "\"did\""},
    {"peer.pin", "{\"did\":\"did:web:x y\"}", "\"did\""},
    {"peer.pin", "{\"did\":\"did:web:\\u00e4\"}", "\"did\""},
    {"attestation.create", "{\"key\":\"k\",\"audience\":\"\"}", "\"audience\""},
    {"attestation.create", "{\"key\":\"k\",\"audience\":[]}", "\"audience\""},
    {"attestation.create", "{\"key\":\"k\",\"audience\":[\"\"]}", "\"audience\""},
    {"attestation.create", "{\"key\":\"k\",\"audience\":[1]}", "\"audience\""},
    {"attestation.create", "{\"key\":\"k\",\"audience\":\"x\",\"ttl\":0}", "\"ttl\""},
    {"attestation.create", "{\"key\":\"k\",\"audience\":\"x\",\"ttl\":3601}", "\"ttl\""},
    {"attestation.create", "{\"key\":\"k\",\"audience\":\"x\",\"ttl\":\"60\"}", "\"ttl\""},
    {"handshake.start", "{\"key\":\"k\",\"scopes\":[],\"server\":{}}", "\"scopes\""},
    {"handshake.start", "{\"key\":\"k\",\"scopes\":\"a:b\",\"server\":{}}", "\"scopes\""},
    {"handshake.receive", "{\"handshake\":\"h\",\"message\":[]}", "\"message\""},
    {"events.subscribe", "{\"topics\":[\"weather\"]}", "\"topics\""},
    {"session.seal", "{\"session\":\"s\",\"plaintext\":\"Zm9=\"}", "\"plaintext\""},
    {"session.seal", "{\"session\":\"s\",\"plaintext\":\"Zh\"}", "\"plaintext\""},
};

static void
test_what_the_api_does_not_allow_is_refused_by_name(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        if (check(refused[i].method, refused[i].params) != ATH_ERR_INVALID_PARAMS)
            fail_msg("%s %s is accepted", refused[i].method, refused[i].params);
        if (strstr(last_why.text, refused[i].named) == NULL)
            fail_msg("%s %s: %s", refused[i].method, refused[i].params, last_why.text);
    }
}

static void
test_params_that_are_no_object_are_refused(void **state)
{
    (void)state;
    assert_int_equal(check("agent.status", "[]"), ATH_ERR_INVALID_PARAMS);
    assert_int_equal(method_check_params(method_at(RPC_AGENT_STATUS), NULL, NULL),
                     ATH_ERR_INVALID_PARAMS);
}

static void
test_a_plaintext_that_is_too_long_is_a_limit(void **state)
{
    struct ath_buf bytes = {0};
    int i;

    (void)state;
    for (i = 0; i <= 65536; i++)
        ath_buf_put_byte(&bytes, 'x');
    for (i = 0; i < 2; i++) {
        struct json_maker maker;
        struct json *json = NULL;

        bytes.len = 65536 + (size_t)i;
        json_object_begin(&maker);
        json_put_string(&maker, "session", "s");
        json_put_base64url(&maker, "plaintext", ath_buf_slice(&bytes));
        assert_int_equal(json_maker_end(&maker, &json), ATH_OK);
        assert_int_equal(method_check_params(method_at(RPC_SESSION_SEAL), json, NULL),
                         i == 0 ? ATH_OK : ATH_ERR_LIMIT_EXCEEDED);
        json_free(json);
    }
    ath_buf_done(&bytes);
}

/* W3C Trace Context: version, trace-id, parent-id, flags. */
static void
test_every_method_takes_a_traceparent_and_nothing_else_as_trace(void **state)
{
    static const char *const bad[] = {
        "",
        "x",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-011",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319cb-7ad6b7169203331-01",
    };
    char text[128];
    size_t i;

    (void)state;
    assert_int_equal(
        check("agent.status",
              "{\"trace\":\"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\"}"),
        ATH_OK);
    assert_int_equal(check("agent.status", "{\"trace\":1}"), ATH_ERR_INVALID_PARAMS);
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        strcpy(text, "{\"trace\":\"");
        strcat(text, bad[i]);
        strcat(text, "\"}");
        if (check("agent.status", text) != ATH_ERR_INVALID_PARAMS)
            fail_msg("%s is accepted", bad[i]);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_calls_of_the_api_are_accepted_and_every_method_is_among_them),
        cmocka_unit_test(test_methods_are_found_by_exact_name_and_number),
        cmocka_unit_test(test_each_required_member_is_missed),
        cmocka_unit_test(test_each_member_of_a_wrong_type_is_refused_by_name),
        cmocka_unit_test(test_what_the_api_does_not_allow_is_refused_by_name),
        cmocka_unit_test(test_params_that_are_no_object_are_refused),
        cmocka_unit_test(test_a_plaintext_that_is_too_long_is_a_limit),
        cmocka_unit_test(test_every_method_takes_a_traceparent_and_nothing_else_as_trace),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
