#include "tests/support/handshake_scene.h"

#include <stdio.h>

#include "base/base64url.h"
#include "crypto/merkle.h"
#include "crypto/random.h"
#include "protocol/handshake_message.h"
#include "protocol/jwt.h"
#include "protocol/user_grant.h"

#define OR(value, fallback) ((value) != 0 ? (value) : (fallback))

/* ---- parties ---- */

void
party_init(struct party *party, enum did_role role, enum test_key_kind kind, const char *name)
{
    struct why why = {{0}};

    party->pair = test_key_new(kind, name);
    assert_int_equal(public_key_from_der(test_key_der(party->pair), &why, &party->key), ATH_OK);
    did_of_key(role, party->key, party->did);
}

void
party_done(struct party *party)
{
    test_key_free(party->pair);
    public_key_free(party->key);
    *party = (struct party){0};
}

struct ath_slice
party_sign(const struct party *party, struct ath_slice message, uint8_t buffer[SIGNATURE_MAX_LEN])
{
    struct ath_buf out = {0};
    size_t len;

    test_key_sign(party->pair, message, &out);
    assert_int_equal(out.err, ATH_OK);
    len = out.len;
    memcpy(buffer, out.data, len);
    ath_buf_done(&out);
    return ath_slice_of(buffer, len);
}

/* ---- JSON ---- */

struct json *
scene_json(const char *text)
{
    static const struct json_limits LIMITS = {
        .max_len = 65536, .max_depth = 32, .max_members = 4096, .numbers = JSON_INTEGERS};
    struct json *json = NULL;
    struct why why = {{0}};

    if (json_parse(ath_slice_of_string(text), &LIMITS, &why, &json) != ATH_OK)
        fail_msg("%s: %s", text, why.text);
    return json;
}

void
json_set_string(struct json *object, const char *name, const char *text)
{
    struct json_maker maker = {.root = object};

    json_put_string(&maker, name, text);
    assert_int_equal(maker.err, ATH_OK);
}

void
json_set_int(struct json *object, const char *name, int64_t value)
{
    struct json_maker maker = {.root = object};

    json_put_int(&maker, name, value);
    assert_int_equal(maker.err, ATH_OK);
}

void
json_set_json(struct json *object, const char *name, const char *json_text)
{
    struct json_maker maker = {.root = object};

    json_put_take(&maker, name, scene_json(json_text));
    assert_int_equal(maker.err, ATH_OK);
}

struct scope_list
scene_scopes(const char *text)
{
    struct scope_list list = {0};
    struct why why = {{0}};

    assert_int_equal(scope_list_split(text, &why, &list), ATH_OK);
    return list;
}

/* ---- the grant and the service ---- */

struct json *
scene_make_grant(const struct party *user, const char *client_did, const char *audience,
                 const char *scopes, int64_t issued_at, int64_t expires_at)
{
    char user_did[DID_ATH_MAX_LEN], client[DID_MAX_LEN], aud[DID_MAX_LEN], jti[23] = {0};
    char *audiences[] = {aud};
    struct user_grant grant = {.user_did = user_did,
                               .client_did = client,
                               .scopes = scene_scopes(scopes),
                               .issued_at = issued_at,
                               .expires_at = expires_at,
                               .jti = jti,
                               .user_key = user->key};
    struct ath_buf input = {0}, jws = {0};
    uint8_t signature[SIGNATURE_MAX_LEN];
    struct json_maker array = {0};
    struct json *json = NULL;

    memcpy(user_did, user->did, sizeof(user_did));
    snprintf(client, sizeof(client), "%s", client_did);
    if (audience != NULL) {
        snprintf(aud, sizeof(aud), "%s", audience);
        grant.audiences = audiences;
        grant.audience_count = 1;
    }
    assert_int_equal(random_base64url(16, jti), ATH_OK);
    assert_int_equal(user_grant_signing_input(&grant, &input), ATH_OK);
    jws_join(ath_buf_slice(&input), party_sign(user, ath_buf_slice(&input), signature), &jws);
    json_object_begin(&array);
    json_put_slice(&array, "grant", ath_buf_slice(&jws));
    assert_int_equal(array.err, ATH_OK);
    json = json_clone(json_get(array.root, "grant"));
    assert_non_null(json);
    json_maker_done(&array);
    ath_buf_done(&input);
    ath_buf_done(&jws);
    scope_list_done(&grant.scopes);
    return json;
}

static void
put_list(struct json_maker *maker, const char *name, const char *scopes)
{
    struct scope_list list = scene_scopes(scopes);
    struct json *array = NULL;

    assert_int_equal(scope_list_encode(&list, &array), ATH_OK);
    json_put_take(maker, name, array);
    scope_list_done(&list);
}

static struct json *
service_params(const struct scene *scene)
{
    const struct scene_options *options = &scene->options;
    struct json_maker maker = {0}, agents = {0}, users = {0};
    struct json *params = NULL;

    json_object_begin(&maker);
    json_put_string(&maker, "name", "mail");
    json_put_string(&maker, "key", "mail-server");
    put_list(&maker, "scopes_supported",
             OR(options->supported, "mail:read mail:send files:read files:write"));
    json_put_int(&maker, "token_max_ttl", OR(options->token_max_ttl, 900));
    json_put_bool(&maker, "require_user_confirmation", options->confirm);
    if (options->agents != NULL) {
        json_put_take(&maker, "agents", scene_json(options->agents));
    } else {
        json_object_begin(&agents);
        put_list(&agents, scene->client.did, OR(options->allowed, "mail:read mail:send"));
        json_put_maker(&maker, "agents", &agents);
    }
    if (options->users != NULL) {
        json_put_take(&maker, "users", scene_json(options->users));
    } else {
        json_object_begin(&users);
        json_put_string(&users, scene->user.did, "alice");
        json_put_maker(&maker, "users", &users);
    }
    json_put_take(&maker, "origins", scene_json("[\"https://mail.example\"]"));
    if (options->restrictions != NULL)
        json_put_take(&maker, "restrictions", scene_json(options->restrictions));
    assert_int_equal(json_maker_end(&maker, &params), ATH_OK);
    return params;
}

/* ---- life ---- */

void
scene_init(struct scene *scene, const struct scene_options *options)
{
    const struct scene_options nothing = {0};
    struct why why = {{0}};
    struct json *params;
    const char *audience;

    *scene = (struct scene){.now = SCENE_NOW, .seed = SCENE_SEED};
    scene->options = options != NULL ? *options : nothing;
    options = &scene->options;
    party_init(&scene->user, DID_USER, options->user_kind, OR(options->user_key, "user"));
    party_init(&scene->client, DID_CLIENT, options->client_kind,
               OR(options->client_key, "client"));
    party_init(&scene->server, DID_SERVER, options->server_kind,
               OR(options->server_key, "server"));
    if (options->client_did != NULL)
        snprintf(scene->client.did, sizeof(scene->client.did), "%s", options->client_did);
    audience = options->audience == NULL          ? scene->server.did
               : options->audience[0] == '\0' ? NULL
                                                  : options->audience;
    fake_random_seed(SCENE_SEED);
    scene->grant = options->grant != NULL
                       ? json_clone(options->grant)
                       : scene_make_grant(&scene->user, scene->client.did, audience,
                                          OR(options->granted, "mail:read files:read"),
                                          SCENE_NOW - 60,
                                          SCENE_NOW + OR(options->grant_ttl, 86400));
    scene->requested = scene_scopes(OR(options->requested, "mail:read mail:send files:read"));
    params = service_params(scene);
    if (service_decode(params, &why, &scene->service) != ATH_OK)
        fail_msg("service: %s", why.text);
    json_free(params);
    assert_int_equal(confirmation_gate_new(&scene->gate), ATH_OK);
}

void
scene_done(struct scene *scene)
{
    handshake_need_done(&scene->need);
    handshake_client_free(scene->c);
    handshake_server_free(scene->s);
    confirmation_free(scene->asked);
    confirmation_gate_free(scene->gate);
    service_free(scene->service);
    scope_list_done(&scene->requested);
    json_free(scene->grant);
    for (size_t i = 0; i < sizeof(scene->m) / sizeof(scene->m[0]); i++)
        json_free(scene->m[i]);
    party_done(&scene->user);
    party_done(&scene->client);
    party_done(&scene->server);
    fake_random_seed(0);
}

static void
seed_step(const struct scene *scene, unsigned step)
{
    fake_random_seed(scene->random ? 0 : scene->seed + step);
}

/* ---- signatures ---- */

static struct ath_slice
decode_signature(const char *text, uint8_t buffer[SIGNATURE_MAX_LEN])
{
    size_t len = strlen(text) * 3 / 4;

    assert_true(len <= SIGNATURE_MAX_LEN);
    assert_int_equal(base64url_decode_exact(ath_slice_of_string(text), buffer, len), ATH_OK);
    return ath_slice_of(buffer, len);
}

static struct ath_slice
recorded_signature(const struct scene *recorded, enum sign_purpose purpose,
                   uint8_t buffer[SIGNATURE_MAX_LEN])
{
    const char *text = NULL;

    switch (purpose) {
    case PURPOSE_SERVER_IDENTITY:
        text = json_get_string(recorded->m[2], "signature");
        break;
    case PURPOSE_CLIENT_IDENTITY:
        text = json_get_string(recorded->m[3], "signature");
        break;
    case PURPOSE_SCOPE_REQUEST:
        text = json_get_string(json_get(recorded->m[5], "user_authorization"), "signature");
        break;
    case PURPOSE_CONFIRMATION_REQUEST:
        text = json_get_string(recorded->m[6], "signature");
        break;
    case PURPOSE_USER_CONFIRMATION:
        text = json_get_string(recorded->m[7], "signature");
        break;
    case PURPOSE_ACCESS_TOKEN:
        text = strrchr(json_get_string(recorded->m[9], "access_token"), '.') + 1;
        break;
    default:
        break;
    }
    assert_non_null(text);
    return decode_signature(text, buffer);
}

static struct ath_slice
make_signature(struct scene *scene, const struct party *party, enum did_role role,
               uint8_t buffer[SIGNATURE_MAX_LEN])
{
    struct ath_slice message = ath_buf_slice(&scene->need.to_sign);

    /* what is asked for is what a key of this role may sign */
    if (!scene->allocations_fail)
        assert_int_equal(purpose_check(scene->need.purpose, role, message), ATH_OK);
    if (scene->recorded != NULL)
        return recorded_signature(scene->recorded, scene->need.purpose, buffer);
    return party_sign(party, message, buffer);
}

/* ---- the machines ---- */

static ath_err
client_sign_all(struct scene *scene, ath_err err)
{
    uint8_t buffer[SIGNATURE_MAX_LEN];
    struct ath_slice signature;

    while (err == ATH_OK && scene->need.kind == HANDSHAKE_NEED_SIGNATURE) {
        signature = make_signature(scene, &scene->client, DID_CLIENT, buffer);
        handshake_need_done(&scene->need);
        scene->client_signatures++;
        err = handshake_client_signed(scene->c, signature, scene->now, &scene->need);
    }
    return err;
}

static ath_err
server_sign_all(struct scene *scene, ath_err err)
{
    uint8_t buffer[SIGNATURE_MAX_LEN];
    struct ath_slice signature;

    while (err == ATH_OK && scene->need.kind == HANDSHAKE_NEED_SIGNATURE) {
        signature = make_signature(scene, &scene->server, DID_SERVER, buffer);
        handshake_need_done(&scene->need);
        scene->server_signatures++;
        err = handshake_server_signed(scene->s, signature, scene->now, &scene->need);
    }
    return err;
}

ath_err
scene_client_start(struct scene *scene, struct why *why)
{
    const struct scene_options *options = &scene->options;
    struct handshake_client_config config = {
        .client_did = scene->client.did,
        .client_key = scene->client.key,
        .server_did = options->origin == NULL ? scene->server.did : NULL,
        .origin = options->origin,
        .origin_pin = options->origin_pin,
        .scopes = &scene->requested,
        .ttl = OR(options->ttl, 600),
        .context = options->context,
        .traceparent = options->trace,
        .pins = options->pins,
        .credential = options->no_credential ? NULL : scene->grant,
    };

    handshake_need_done(&scene->need);
    handshake_client_free(scene->c);
    scene->c = NULL;
    seed_step(scene, 1);
    return handshake_client_start(&config, scene->now, why, &scene->c, &scene->need);
}

ath_err
scene_client_receive(struct scene *scene, const struct json *message)
{
    handshake_need_done(&scene->need);
    seed_step(scene, 10 + (unsigned)handshake_message_type(message));
    return client_sign_all(
        scene, handshake_client_receive(scene->c, message, scene->now, &scene->need));
}

ath_err
scene_server_accept(struct scene *scene, const struct json *m1, struct why *why)
{
    struct handshake_server_config config = {
        .service = scene->service,
        .server_did = scene->server.did,
        .server_key = scene->server.key,
        .gate = scene->gate,
        .pins = scene->options.pins,
        .client_name = "Travel agent",
        .client_developer = "Example Ltd",
    };
    struct handshake_hello hello = {0};
    ath_err err;

    handshake_need_done(&scene->need);
    handshake_server_free(scene->s);
    scene->s = NULL;
    seed_step(scene, 2);
    if ((err = handshake_server_hello(&config, m1, scene->now, why, &hello)) == ATH_OK)
        err = handshake_server_start(&config, &hello, scene->now, &scene->s, &scene->need);
    handshake_hello_done(&hello);
    return server_sign_all(scene, err);
}

ath_err
scene_server_receive(struct scene *scene, const struct json *message)
{
    handshake_need_done(&scene->need);
    seed_step(scene, 20 + (unsigned)handshake_message_type(message));
    return server_sign_all(
        scene, handshake_server_receive(scene->s, message, scene->now, &scene->need));
}

ath_err
scene_user_answer(struct scene *scene, const struct json *m6, struct json **ret_m7)
{
    struct ath_buf to_sign = {0};
    uint8_t buffer[SIGNATURE_MAX_LEN];
    struct ath_slice signature;
    struct why why = {{0}};
    ath_err err;

    confirmation_free(scene->asked);
    scene->asked = NULL;
    err = confirmation_open(m6, scene->user.did, scene->user.key, scene->server.did,
                            scene->options.pins, scene->now, &why, &scene->asked);
    if (err == ATH_OK)
        err = confirmation_answer(scene->asked, !scene->user_says_no, scene->approve, scene->now,
                                  &to_sign);
    if (err == ATH_OK) {
        scene->user_signatures++;
        signature = scene->recorded != NULL
                        ? recorded_signature(scene->recorded, PURPOSE_USER_CONFIRMATION, buffer)
                        : party_sign(&scene->user, ath_buf_slice(&to_sign), buffer);
        err = confirmation_signed(scene->asked, signature, ret_m7);
    }
    ath_buf_done(&to_sign);
    return err;
}

/* ---- a whole handshake ---- */

static void
keep(struct scene *scene, int step, const struct json *message)
{
    json_free(scene->m[step]);
    scene->m[step] = json_clone(message);
    assert_non_null(scene->m[step]);
}

static void
expect(const struct scene *scene, ath_err err, enum handshake_need_kind kind, const char *what)
{
    if (err != ATH_OK || scene->need.kind != kind)
        fail_msg("%s: %s, need %d: %s", what, ath_err_reason(err), (int)scene->need.kind,
                 why_text(&scene->need.why, scene->need.err));
}

static void
step_5_answer(struct scene *scene)
{
    ath_err err = scene_server_receive(scene, scene->m[5]);

    if (!scene->options.confirm) {
        expect(scene, err, HANDSHAKE_NEED_DONE, "M5");
        assert_int_equal(scene->need.send_count, 2);
        keep(scene, 8, scene->need.send[0]);
        keep(scene, 9, scene->need.send[1]);
        return;
    }
    expect(scene, err, HANDSHAKE_NEED_CONFIRM, "M5");
    keep(scene, 6, scene->need.confirm);
}

static void
step_7_answer(struct scene *scene)
{
    ath_err err = scene_server_receive(scene, scene->m[7]);

    expect(scene, err, HANDSHAKE_NEED_DONE, "M7");
    assert_int_equal(scene->need.send_count, 2);
    keep(scene, 8, scene->need.send[0]);
    keep(scene, 9, scene->need.send[1]);
}

static void
make_step(struct scene *scene, int step)
{
    struct why why = {{0}};
    ath_err err;

    switch (step) {
    case 1:
        err = scene_client_start(scene, &why);
        expect(scene, err, HANDSHAKE_NEED_SEND, why.text);
        keep(scene, 1, scene->need.send[0]);
        break;
    case 2:
        err = scene_server_accept(scene, scene->m[1], &why);
        expect(scene, err, HANDSHAKE_NEED_SEND, why.text);
        keep(scene, 2, scene->need.send[0]);
        break;
    case 3:
        expect(scene, scene_client_receive(scene, scene->m[2]), HANDSHAKE_NEED_SEND, "M2");
        keep(scene, 3, scene->need.send[0]);
        break;
    case 4:
        expect(scene, scene_server_receive(scene, scene->m[3]), HANDSHAKE_NEED_SEND, "M3");
        keep(scene, 4, scene->need.send[0]);
        break;
    case 5:
        expect(scene, scene_client_receive(scene, scene->m[4]), HANDSHAKE_NEED_SEND, "M4");
        keep(scene, 5, scene->need.send[0]);
        break;
    case 6:
        step_5_answer(scene);
        break;
    case 7:
        if (scene->options.confirm)
            assert_int_equal(scene_user_answer(scene, scene->m[6], &scene->m[7]), ATH_OK);
        break;
    case 8:
        if (scene->options.confirm)
            step_7_answer(scene);
        break;
    case 10:
        expect(scene, scene_client_receive(scene, scene->m[8]), HANDSHAKE_NEED_SEND, "M8");
        expect(scene, scene_client_receive(scene, scene->m[9]), HANDSHAKE_NEED_DONE, "M9");
        break;
    default:
        break;
    }
}

/* Which messages there are says how far it has come. */
static int
steps_made(const struct scene *scene)
{
    int made = 0;

    for (int i = 1; i <= 9; i++) {
        if (scene->m[i] != NULL)
            made = i;
    }
    return made;
}

void
scene_run(struct scene *scene, int step)
{
    for (int i = steps_made(scene) + 1; i <= step; i++)
        make_step(scene, i);
}

/* ---- what an attacker with a key can do ---- */

void
scene_transcript(const struct scene *scene, int n, uint8_t ret_t[SHA256_LEN])
{
    transcript_start(ret_t);
    for (int i = 1; i <= n; i++) {
        if (i == 6 || i == 7)
            continue;
        assert_int_equal(transcript_add(ret_t, scene->m[i]), ATH_OK);
    }
}

static void
put_text(struct json *message, const char *container, const char *member, struct ath_slice text)
{
    struct json_maker maker = {
        .root = container == NULL ? message : json_get_mutable(message, container)};

    json_put_slice(&maker, member, text);
    assert_int_equal(maker.err, ATH_OK);
}

static void
string_of(const char *label, const uint8_t t[SHA256_LEN], const struct json *message,
          const char *container, const char *member, struct ath_buf *ret_string)
{
    struct json *body = message_without(message, container, member);

    assert_non_null(body);
    assert_int_equal(handshake_string(label, t, body, ret_string), ATH_OK);
    json_free(body);
}

void
scene_sign_message(const struct party *party, const char *label, const uint8_t t[SHA256_LEN],
                   struct json *message, const char *container, const char *member)
{
    struct ath_buf string = {0}, text = {0};
    uint8_t buffer[SIGNATURE_MAX_LEN];

    string_of(label, t, message, container, member, &string);
    base64url_put(&text, party_sign(party, ath_buf_slice(&string), buffer));
    put_text(message, container, member, ath_buf_slice(&text));
    ath_buf_done(&string);
    ath_buf_done(&text);
}

void
scene_sign_batch(const struct party *party, const char *label, const uint8_t t[SHA256_LEN],
                 struct json *message, size_t index, size_t size)
{
    struct ath_buf string = {0}, text = {0}, root_string = {0}, path = {0};
    struct ath_slice leaves[8];
    uint8_t root[SHA256_LEN], buffer[SIGNATURE_MAX_LEN];

    assert_true(size >= 2 && size <= 8 && index < size);
    string_of(label, t, message, NULL, "signature", &string);
    for (size_t i = 0; i < size; i++)
        leaves[i] = ath_slice_of_string("another message of the batch");
    leaves[index] = ath_buf_slice(&string);
    assert_int_equal(merkle_root(leaves, size, root), ATH_OK);
    assert_int_equal(merkle_path(leaves, size, index, &path), ATH_OK);
    ath_buf_printf(&root_string, "ATH-TB1 batch %zu ", size);
    base64url_put(&root_string, ath_slice_of(root, sizeof(root)));
    base64url_put(&text, party_sign(party, ath_buf_slice(&root_string), buffer));
    ath_buf_printf(&text, ".%zu.%zu.", size, index);
    base64url_put(&text, ath_buf_slice(&path));
    put_text(message, NULL, "signature", ath_buf_slice(&text));
    ath_buf_done(&string);
    ath_buf_done(&text);
    ath_buf_done(&root_string);
    ath_buf_done(&path);
}

struct json *
scene_forge_complete(const struct scene *scene, const struct json *m8,
                     void (*edit)(struct json_maker *claims, const void *ctx), const void *ctx)
{
    struct json *m9 = message_without(scene->m[9], NULL, "access_token");
    const char *token_text = json_get_string(scene->m[9], "access_token");
    struct access_token token = {0};
    struct json_maker claims = {0};
    struct ath_buf input = {0}, jws = {0};
    uint8_t t[SHA256_LEN], buffer[SIGNATURE_MAX_LEN];
    struct why why = {{0}};

    assert_int_equal(access_token_read(ath_slice_of_string(token_text), scene->server.key, &why,
                                       &token),
                     ATH_OK);
    assert_int_equal(access_token_claims(&token, &claims.root), ATH_OK);
    scene_transcript(scene, 5, t);
    assert_int_equal(transcript_add(t, m8), ATH_OK);
    assert_int_equal(transcript_add(t, m9), ATH_OK);
    json_put_base64url(&claims, "ath_th", ath_slice_of(t, sizeof(t)));
    if (edit != NULL)
        edit(&claims, ctx);
    assert_int_equal(claims.err, ATH_OK);
    assert_int_equal(
        jws_signing_input(scene->server.key, ACCESS_TOKEN_TYP, false, claims.root, &input), ATH_OK);
    jws_join(ath_buf_slice(&input), party_sign(&scene->server, ath_buf_slice(&input), buffer), &jws);
    put_text(m9, NULL, "access_token", ath_buf_slice(&jws));
    ath_buf_done(&input);
    ath_buf_done(&jws);
    json_maker_done(&claims);
    access_token_done(&token);
    return m9;
}

void
assert_refused(const struct scene *scene, ath_err err)
{
    if (scene->need.kind != HANDSHAKE_NEED_FAILED || scene->need.err != err)
        fail_msg("expected %s, got need %d, %s: %s", ath_err_reason(err), (int)scene->need.kind,
                 ath_err_reason(scene->need.err), scene->need.why.text);
}

void
scene_resign(struct scene *scene, int step)
{
    uint8_t t[SHA256_LEN];

    scene_transcript(scene, step == 6 || step == 7 ? 0 : step - 1, t);
    switch (step) {
    case 2:
        scene_sign_message(&scene->server, "server-identity", t, scene->m[2], NULL, "signature");
        break;
    case 3:
        scene_sign_message(&scene->client, "client-identity", t, scene->m[3], NULL, "signature");
        break;
    case 5:
        scene_sign_message(&scene->client, "scope-request", t, scene->m[5], "user_authorization",
                           "signature");
        break;
    case 6:
        scene_sign_message(&scene->server, "confirmation-request", t, scene->m[6], NULL,
                           "signature");
        break;
    case 7:
        assert_int_equal(transcript_add(t, scene->m[6]), ATH_OK);
        scene_sign_message(&scene->user, "user-confirmation", t, scene->m[7], NULL, "signature");
        break;
    default:
        fail_msg("message %d has no signature", step);
    }
}

/* What came of it: ATH_OK, or the error of the call or of the refusal. */
static ath_err
deliver(struct scene *scene, int step)
{
    struct json *m7 = NULL;
    struct why why = {{0}};
    ath_err err;

    switch (step) {
    case 1:
        return scene_server_accept(scene, scene->m[1], &why);
    case 6:
        err = scene_user_answer(scene, scene->m[6], &m7);
        json_free(m7);
        return err;
    case 3:
    case 5:
    case 7:
        err = scene_server_receive(scene, scene->m[step]);
        break;
    default:
        err = scene_client_receive(scene, scene->m[step]);
        break;
    }
    if (err == ATH_OK && scene->need.kind == HANDSHAKE_NEED_FAILED)
        return scene->need.err;
    return err;
}

void
assert_step_refused(struct scene *scene, int step, ath_err err)
{
    ath_err got = deliver(scene, step);

    if (got != err)
        fail_msg("message %d: expected %s, got %s: %s", step, ath_err_reason(err),
                 ath_err_reason(got), scene->need.why.text);
}

void
assert_step_taken(struct scene *scene, int step)
{
    assert_step_refused(scene, step, ATH_OK);
}

void
scene_replay_receiver(struct scene *scene, int step)
{
    const struct scene *recorded = scene->recorded;
    struct why why = {{0}};

    if (step == 1 || step == 6)
        return;
    if (step % 2 == 1 && step != 9) {
        assert_int_equal(scene_server_accept(scene, recorded->m[1], &why), ATH_OK);
        for (int i = 3; i < step; i += 2)
            assert_int_equal(scene_server_receive(scene, recorded->m[i]), ATH_OK);
        return;
    }
    assert_int_equal(scene_client_start(scene, &why), ATH_OK);
    for (int i = 2; i < step; i++) {
        if (i == 2 || i == 4 || i == 8)
            assert_int_equal(scene_client_receive(scene, recorded->m[i]), ATH_OK);
    }
    assert_int_equal(scene->need.kind, HANDSHAKE_NEED_SEND);
}
