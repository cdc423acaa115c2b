/*
 * Whole handshakes with every intermediate value, tests/vectors/handshake-*.json, in a form that other
 * implementations can use (tests/vectors/README.md). Here the machines replay them: random bytes and
 * the time are fixed, the signatures are fed as the hardware's answers, and every message and every
 * value must come out as it stands in the file.
 *
 * With ATH_WRITE_VECTORS=DIR the files are made anew (ECDSA signatures are random, so they differ).
 */
#include <stdio.h>

#include "base/base64url.h"
#include "crypto/random.h"
#include "protocol/handshake_message.h"
#include "protocol/jwe.h"
#include "tests/support/handshake_scene.h"

struct vector_kind {
    const char *file, *about;
    bool batch;
    struct scene_options options;
};

static const struct vector_kind KINDS[] = {
    {.file = "handshake-plain.json",
     .about = "nine steps without confirmation: steps 6 and 7 do not take place"},
    {.file = "handshake-confirmed.json",
     .about = "with confirmation, context, traceparent and restrictions; the user approves one of "
              "the two scopes that are left",
     .options = {.confirm = true,
                 .requested = "mail:read mail:send files:read files:write",
                 .granted = "mail:read mail:send files:read",
                 .allowed = "mail:read mail:send files:write",
                 .context = "a trip to Lisbon \xe2\x9c\x88 \"soon\"",
                 .trace = SCENE_TRACE,
                 .restrictions = "{\"rate_limit\":\"100/minute\",\"order_amount_limit\":250}"}},
    {.file = "handshake-batch.json",
     .about = "with confirmation; messages 2 and 6 carry batch signatures",
     .batch = true,
     .options = {.confirm = true}},
    {.file = "handshake-p384.json",
     .about = "with confirmation; the client's key is P-384 (ES384), the user's Ed25519 (EdDSA)",
     .options = {.confirm = true,
                 .client_kind = TEST_KEY_P384,
                 .user_kind = TEST_KEY_ED25519}},
};

#define KIND_COUNT (sizeof(KINDS) / sizeof(KINDS[0]))
#define BATCH_RESPONSE_LEAF 1
#define BATCH_RESPONSE_SIZE 3
#define BATCH_CONFIRMATION_LEAF 4
#define BATCH_CONFIRMATION_SIZE 5

/* One approved scope in handshake-confirmed.json, all elsewhere. */
static const char *
approved_in(const struct vector_kind *kind)
{
    return kind->options.requested != NULL ? "mail:read" : NULL;
}

/* ---- what a handshake consists of, from the messages alone ---- */

struct derived {
    uint8_t t[10][SHA256_LEN]; /* after step n; 6 and 7: U6, U7 */
    uint8_t ath_th[SHA256_LEN];
    struct ath_buf to_be_signed[10];
    const char *label[10];
    struct json *ephemeral; /* {client: {private, share}, server: ...} */
    uint8_t z[32];
    struct session_keys keys;
};

static void
derive_transcripts(const struct scene *scene, struct derived *derived)
{
    struct json *without_token = message_without(scene->m[9], NULL, "access_token");

    transcript_start(derived->t[0]);
    for (int i = 1; i <= 8; i++) {
        if (scene->m[i] == NULL)
            continue;
        memcpy(derived->t[i], derived->t[i == 6 ? 0 : i == 8 ? 5 : i - 1], SHA256_LEN);
        assert_int_equal(transcript_add(derived->t[i], scene->m[i]), ATH_OK);
    }
    memcpy(derived->ath_th, derived->t[8], SHA256_LEN);
    assert_int_equal(transcript_add(derived->ath_th, without_token), ATH_OK);
    json_free(without_token);
}

static void
derive_strings(const struct scene *scene, struct derived *derived)
{
    static const char *const LABELS[10] = {
        [2] = "server-identity",      [3] = "client-identity",   [5] = "scope-request",
        [6] = "confirmation-request", [7] = "user-confirmation",
    };
    const char *token = json_get_string(scene->m[9], "access_token");

    for (int i = 1; i <= 7; i++) {
        struct json *body;

        if (LABELS[i] == NULL || scene->m[i] == NULL)
            continue;
        body = message_without(scene->m[i], i == 5 ? "user_authorization" : NULL, "signature");
        derived->label[i] = LABELS[i];
        assert_int_equal(handshake_string(LABELS[i], derived->t[i == 6 ? 0 : i - 1], body,
                                          &derived->to_be_signed[i]),
                         ATH_OK);
        json_free(body);
    }
    ath_buf_put(&derived->to_be_signed[9], token, (size_t)(strrchr(token, '.') - token));
}

/* The ephemeral key is the first thing the machine draws in its step. */
static void
put_ephemeral(struct json_maker *maker, const char *name, uint64_t seed,
              struct key_agreement **ret_agreement)
{
    struct json_maker one = {0};
    uint8_t scalar[32];

    fake_random_seed(seed);
    assert_int_equal(random_bytes(scalar, sizeof(scalar)), ATH_OK);
    fake_random_seed(seed);
    assert_int_equal(key_agreement_new(ret_agreement), ATH_OK);
    json_object_begin(&one);
    json_put_base64url(&one, "private", ath_slice_of(scalar, sizeof(scalar)));
    json_put_string(&one, "share", key_agreement_share(*ret_agreement));
    json_put_maker(maker, name, &one);
}

static void
derive_keys(const struct scene *scene, struct derived *derived)
{
    struct key_agreement *client = NULL, *server = NULL;
    struct ath_secret z = {0};
    struct json_maker maker = {0};

    json_object_begin(&maker);
    put_ephemeral(&maker, "client", SCENE_SEED + 10 + MESSAGE_IDENTITY_RESULT, &client);
    put_ephemeral(&maker, "server", SCENE_SEED + 20 + MESSAGE_SCOPE_REQUEST, &server);
    assert_int_equal(json_maker_end(&maker, &derived->ephemeral), ATH_OK);
    assert_string_equal(key_agreement_share(client),
                        json_get_string(scene->m[5], "key_exchange_params"));
    assert_string_equal(key_agreement_share(server),
                        json_get_string(scene->m[9], "key_exchange_params"));
    assert_int_equal(key_agreement_derive(client, key_agreement_share(server), &z), ATH_OK);
    memcpy(derived->z, z.data, sizeof(derived->z));
    assert_int_equal(session_keys_derive(&z, derived->ath_th, &derived->keys), ATH_OK);
    ath_secret_done(&z);
    key_agreement_free(client);
    key_agreement_free(server);
}

static void
derive(const struct scene *scene, struct derived *derived)
{
    *derived = (struct derived){0};
    derive_transcripts(scene, derived);
    derive_strings(scene, derived);
    derive_keys(scene, derived);
}

static void
derived_done(struct derived *derived)
{
    for (size_t i = 0; i < 10; i++)
        ath_buf_done(&derived->to_be_signed[i]);
    json_free(derived->ephemeral);
    session_keys_done(&derived->keys);
}

/* ---- as JSON ---- */

static void
put_party(struct json_maker *maker, const char *name, const struct party *party)
{
    struct ath_buf pem = {0}, private_pem = {0};
    struct json_maker one = {0};
    struct json *jwk = NULL;

    public_key_put_pem(party->key, &pem);
    test_key_put_private_pem(party->pair, &private_pem);
    assert_int_equal(public_key_jwk(party->key, &jwk), ATH_OK);
    json_object_begin(&one);
    json_put_string(&one, "did", party->did);
    json_put_string(&one, "jkt", public_key_jkt(party->key));
    json_put_slice(&one, "public_key_pem", ath_buf_slice(&pem));
    json_put_take(&one, "public_jwk", jwk);
    json_put_slice(&one, "TEST_ONLY_private_key_pem", ath_buf_slice(&private_pem));
    json_put_maker(maker, name, &one);
    ath_buf_done(&pem);
    ath_buf_done(&private_pem);
}

static void
put_batch(struct json_maker *step, const struct ath_buf *string, size_t leaf, size_t size)
{
    struct json_maker batch = {0}, leaves = {0};

    json_array_begin(&leaves);
    for (size_t i = 0; i < size; i++) {
        if (i == leaf)
            json_put_slice(&leaves, NULL, ath_buf_slice(string));
        else
            json_put_string(&leaves, NULL, "another message of the batch");
    }
    json_object_begin(&batch);
    json_put_maker(&batch, "leaves", &leaves);
    json_put_int(&batch, "index", (int64_t)leaf);
    json_put_maker(step, "batch", &batch);
}

static void
put_step(struct json_maker *steps, const struct vector_kind *kind, const struct scene *scene,
         const struct derived *derived, int n)
{
    static const char *const SIGNERS[10] = {[2] = "server", [3] = "client", [5] = "client",
                                            [6] = "server", [7] = "user",   [9] = "server"};
    struct ath_buf canonical = {0};
    struct json_maker step = {0};
    uint8_t hash[SHA256_LEN];

    json_canonical(scene->m[n], &canonical);
    assert_int_equal(transcript_hash(scene->m[n], hash), ATH_OK);
    json_object_begin(&step);
    json_put_int(&step, "step", n);
    json_put_copy(&step, "message", scene->m[n]);
    json_put_slice(&step, "canonical", ath_buf_slice(&canonical));
    json_put_base64url(&step, "hash", ath_slice_of(hash, sizeof(hash)));
    if (n != 9)
        json_put_base64url(&step, n == 6 || n == 7 ? "user_transcript" : "transcript",
                           ath_slice_of(derived->t[n], SHA256_LEN));
    json_put_string(&step, "signed_by", SIGNERS[n]);
    json_put_string(&step, "label", derived->label[n]);
    if (derived->to_be_signed[n].len > 0)
        json_put_slice(&step, "to_be_signed", ath_buf_slice(&derived->to_be_signed[n]));
    if (kind->batch && n == 2)
        put_batch(&step, &derived->to_be_signed[2], BATCH_RESPONSE_LEAF, BATCH_RESPONSE_SIZE);
    if (kind->batch && n == 6)
        put_batch(&step, &derived->to_be_signed[6], BATCH_CONFIRMATION_LEAF,
                  BATCH_CONFIRMATION_SIZE);
    json_put_maker(steps, NULL, &step);
    ath_buf_done(&canonical);
}

static void
put_sealed(struct json_maker *sealed, struct jwe_channel *channel, const char *direction,
           const char *plaintext, int64_t re)
{
    struct json_maker one = {0};
    struct ath_buf jwe = {0};
    int64_t seq = (int64_t)channel->next_seq;

    assert_int_equal(jwe_seal(channel, ath_slice_of_string(plaintext), re, &jwe), ATH_OK);
    json_object_begin(&one);
    json_put_string(&one, "dir", direction);
    json_put_int(&one, "seq", seq);
    if (re >= 0)
        json_put_int(&one, "re", re);
    json_put_string(&one, "plaintext", plaintext);
    json_put_slice(&one, "jwe", ath_buf_slice(&jwe));
    json_put_maker(sealed, NULL, &one);
    ath_buf_done(&jwe);
}

static void
put_session(struct json_maker *maker, const struct derived *derived)
{
    struct json_maker session = {0}, sealed = {0};
    struct jwe_channel client = {0}, server = {0};
    struct session_keys mine = {0}, yours = {0};
    struct ath_secret z = {0};

    assert_int_equal(ath_secret_from(ath_slice_of(derived->z, 32), &z), ATH_OK);
    assert_int_equal(session_keys_derive(&z, derived->ath_th, &mine), ATH_OK);
    assert_int_equal(session_keys_derive(&z, derived->ath_th, &yours), ATH_OK);
    jwe_channel_init(&client, &mine, JWE_CLIENT);
    jwe_channel_init(&server, &yours, JWE_SERVER);
    json_array_begin(&sealed);
    put_sealed(&sealed, &client, "c2s", "{\"get\":\"/inbox\"}", -1);
    put_sealed(&sealed, &client, "c2s", "", -1);
    put_sealed(&sealed, &server, "s2c", "{\"messages\":[]}", 0);
    json_object_begin(&session);
    json_put_base64url(&session, "z", ath_slice_of(derived->z, 32));
    json_put_base64url(&session, "k_c2s", ath_secret_slice(&derived->keys.c2s));
    json_put_base64url(&session, "k_s2c", ath_secret_slice(&derived->keys.s2c));
    json_put_string(&session, "sid", derived->keys.sid);
    json_put_maker(&session, "sealed", &sealed);
    json_put_maker(maker, "session", &session);
    ath_secret_done(&z);
    jwe_channel_done(&client);
    jwe_channel_done(&server);
}

static void
put_setting(struct json_maker *maker, const struct vector_kind *kind, const struct scene *scene)
{
    struct json_maker parties = {0};
    struct json *service = NULL;

    json_put_string(maker, "about", kind->about);
    json_put_string(maker, "profile", "ATH-TB1");
    json_put_string(maker, "warning",
                    "TEST ONLY: the private keys in this file are public. Use them nowhere else.");
    json_put_int(maker, "now", SCENE_NOW);
    json_object_begin(&parties);
    put_party(&parties, "user", &scene->user);
    put_party(&parties, "client", &scene->client);
    put_party(&parties, "server", &scene->server);
    json_put_maker(maker, "parties", &parties);
    assert_int_equal(service_encode(scene->service, &service), ATH_OK);
    json_put_take(maker, "service", service);
    json_put_copy(maker, "grant", scene->grant);
}

static struct json *
vector_json(const struct vector_kind *kind, const struct scene *scene)
{
    struct json_maker maker = {0}, steps = {0};
    struct json *vector = NULL;
    struct derived derived;

    derive(scene, &derived);
    json_object_begin(&maker);
    put_setting(&maker, kind, scene);
    json_put_copy(&maker, "TEST_ONLY_ephemeral", derived.ephemeral);
    json_put_base64url(&maker, "t0", ath_slice_of(derived.t[0], SHA256_LEN));
    json_array_begin(&steps);
    for (int i = 1; i <= 9; i++) {
        if (scene->m[i] != NULL)
            put_step(&steps, kind, scene, &derived, i);
    }
    json_put_maker(&maker, "steps", &steps);
    json_put_base64url(&maker, "ath_th", ath_slice_of(derived.ath_th, SHA256_LEN));
    put_session(&maker, &derived);
    assert_int_equal(json_maker_end(&maker, &vector), ATH_OK);
    derived_done(&derived);
    return vector;
}

/* ---- running one ---- */

static void
put_hash(struct json *message, const char *member, const uint8_t t[SHA256_LEN])
{
    struct json_maker maker = {.root = message};

    json_put_base64url(&maker, member, ath_slice_of(t, SHA256_LEN));
    assert_int_equal(maker.err, ATH_OK);
}

/* A server that signs in batches, which athd's does not: its messages are those of `template`, an
 * ordinary handshake, fitted to this one. With a recording they are given. */
static const struct json *
batch_message(struct scene *scene, const struct scene *template, int n)
{
    uint8_t t[SHA256_LEN];
    struct json_maker maker = {0};

    if (scene->recorded != NULL) {
        scene->m[n] = json_clone(scene->recorded->m[n]);
        return scene->m[n];
    }
    scene->m[n] = json_clone(template->m[n]);
    maker.root = scene->m[n];
    switch (n) {
    case 2:
        scene_transcript(scene, 1, t);
        scene_sign_batch(&scene->server, "server-identity", t, scene->m[2], BATCH_RESPONSE_LEAF,
                         BATCH_RESPONSE_SIZE);
        break;
    case 6:
        scene_transcript(scene, 4, t);
        put_hash(scene->m[6], "transcript", t);
        scene_transcript(scene, 5, t);
        put_hash(scene->m[6], "handshake", t);
        json_put_copy(&maker, "scope_request", scene->m[5]);
        transcript_start(t);
        scene_sign_batch(&scene->server, "confirmation-request", t, scene->m[6],
                         BATCH_CONFIRMATION_LEAF, BATCH_CONFIRMATION_SIZE);
        break;
    case 8:
        transcript_start(t);
        assert_int_equal(transcript_add(t, scene->m[6]), ATH_OK);
        assert_int_equal(transcript_add(t, scene->m[7]), ATH_OK);
        put_hash(scene->m[8], "confirmation", t);
        break;
    case 9:
        maker.root = scene_forge_complete(scene, scene->m[8], NULL, NULL);
        json_free(scene->m[9]);
        scene->m[9] = maker.root;
        break;
    default:
        break;
    }
    return scene->m[n];
}

static void
run_batch(struct scene *scene, const struct scene *template)
{
    scene_run(scene, 1);
    assert_int_equal(scene_client_receive(scene, batch_message(scene, template, 2)), ATH_OK);
    scene->m[3] = json_clone(scene->need.send[0]);
    assert_int_equal(scene_client_receive(scene, batch_message(scene, template, 4)), ATH_OK);
    scene->m[5] = json_clone(scene->need.send[0]);
    assert_int_equal(
        scene_user_answer(scene, batch_message(scene, template, 6), &scene->m[7]), ATH_OK);
    assert_int_equal(scene_client_receive(scene, batch_message(scene, template, 8)), ATH_OK);
    assert_int_equal(scene_client_receive(scene, batch_message(scene, template, 9)), ATH_OK);
    assert_int_equal(scene->need.kind, HANDSHAKE_NEED_DONE);
}

/* A whole handshake of this kind; with `recorded` a replay of it. */
static void
run_kind(const struct vector_kind *kind, const struct scene *recorded, struct scene *scene)
{
    const char *approved = approved_in(kind);
    struct scene_options options = kind->options;
    struct scope_list approve = {0};
    struct scene template;

    if (recorded != NULL)
        options.grant = recorded->grant;
    scene_init(scene, &options);
    scene->recorded = recorded;
    if (approved != NULL) {
        approve = scene_scopes(approved);
        scene->approve = &approve;
    }
    if (kind->batch) {
        options.grant = scene->grant;
        scene_init(&template, &options);
        if (recorded == NULL)
            scene_run(&template, 9);
        run_batch(scene, &template);
        scene_done(&template);
    } else {
        scene_run(scene, 10);
    }
    scene->approve = NULL;
    scope_list_done(&approve);
}

/* ---- the tests ---- */

static struct json *
load(const char *file)
{
    static const struct json_limits LIMITS = {
        .max_len = 1u << 20, .max_depth = 64, .max_members = 4096, .numbers = JSON_INTEGERS};
    struct ath_buf text = {0};
    struct json *json = NULL;
    struct why why = {{0}};

    read_vector(file, &text);
    if (json_parse(ath_buf_slice(&text), &LIMITS, &why, &json) != ATH_OK)
        fail_msg("%s: %s", file, why.text);
    ath_buf_done(&text);
    return json;
}

/* Only grant and messages, borrowed from nothing: what a replay needs. */
static void
recording_of(const struct json *vector, struct scene *ret_recorded)
{
    *ret_recorded = (struct scene){.grant = json_clone(json_get(vector, "grant"))};
    for (const struct json *step = json_first(json_get(vector, "steps")); step != NULL;
         step = json_next(step)) {
        int64_t n = 0;

        assert_true(json_get_int(step, "step", &n) && n >= 1 && n <= 9);
        ret_recorded->m[n] = json_clone(json_get(step, "message"));
    }
}

static void
recording_done(struct scene *recorded)
{
    json_free(recorded->grant);
    for (size_t i = 0; i < 10; i++)
        json_free(recorded->m[i]);
}

static void
assert_same_messages(const char *file, const struct scene *scene, const struct scene *recorded)
{
    for (int i = 1; i <= 9; i++) {
        if ((scene->m[i] == NULL) != (recorded->m[i] == NULL) ||
            (scene->m[i] != NULL && !json_equal(scene->m[i], recorded->m[i])))
            fail_msg("%s: message %d came out differently", file, i);
    }
}

static void
assert_same_keys(struct scene *scene, const struct json *vector)
{
    const struct json *session = json_get(vector, "session");
    struct handshake_result result = {0};
    struct ath_buf text = {0};

    handshake_client_take_result(scene->c, &result);
    assert_string_equal(result.keys.sid, json_get_string(session, "sid"));
    base64url_put(&text, ath_secret_slice(&result.keys.c2s));
    assert_string_equal(ath_buf_text(&text), json_get_string(session, "k_c2s"));
    ath_buf_clear(&text);
    base64url_put(&text, ath_slice_of(result.transcript, SHA256_LEN));
    assert_string_equal(ath_buf_text(&text), json_get_string(vector, "ath_th"));
    ath_buf_done(&text);
    handshake_result_done(&result);
}

static void
replay(const struct vector_kind *kind)
{
    struct json *vector = load(kind->file), *again;
    struct scene recorded, scene;

    recording_of(vector, &recorded);
    run_kind(kind, &recorded, &scene);
    assert_same_messages(kind->file, &scene, &recorded);
    again = vector_json(kind, &scene);
    if (!json_equal(again, vector))
        fail_msg("%s: a value came out differently", kind->file);
    assert_same_keys(&scene, vector);
    json_free(again);
    scene_done(&scene);
    recording_done(&recorded);
    json_free(vector);
}

static void
test_plain_handshake_comes_out_as_in_its_vector(void **state)
{
    (void)state;
    replay(&KINDS[0]);
}

static void
test_confirmed_handshake_comes_out_as_in_its_vector(void **state)
{
    (void)state;
    replay(&KINDS[1]);
}

static void
test_handshake_with_batch_signatures_comes_out_as_in_its_vector(void **state)
{
    (void)state;
    replay(&KINDS[2]);
}

static void
test_handshake_of_other_algorithms_comes_out_as_in_its_vector(void **state)
{
    (void)state;
    replay(&KINDS[3]);
}

static int
write_vectors(const char *dir)
{
    for (size_t i = 0; i < KIND_COUNT; i++) {
        struct ath_buf text = {0};
        char path[4096];
        struct json *vector;
        struct scene scene;
        FILE *file;

        run_kind(&KINDS[i], NULL, &scene);
        vector = vector_json(&KINDS[i], &scene);
        json_write_pretty(vector, &text);
        snprintf(path, sizeof(path), "%s/%s", dir, KINDS[i].file);
        if ((file = fopen(path, "wb")) == NULL ||
            fwrite(text.data, 1, text.len, file) != text.len || fclose(file) != 0)
            return 1;
        ath_buf_done(&text);
        json_free(vector);
        scene_done(&scene);
    }
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_handshake_comes_out_as_in_its_vector),
        cmocka_unit_test(test_confirmed_handshake_comes_out_as_in_its_vector),
        cmocka_unit_test(test_handshake_with_batch_signatures_comes_out_as_in_its_vector),
        cmocka_unit_test(test_handshake_of_other_algorithms_comes_out_as_in_its_vector),
    };
    const char *dir = getenv("ATH_WRITE_VECTORS");

    if (crypto_init() != ATH_OK)
        return 1;
    return dir != NULL ? write_vectors(dir) : cmocka_run_group_tests(tests, NULL, NULL);
}
