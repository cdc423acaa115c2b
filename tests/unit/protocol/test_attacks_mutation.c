/*
 * Thousands of random changes to each message: none may crash a machine (run with sanitizers), and
 * none may be accepted in the end. Where a message has no signature of its own (1, 4, 8), the
 * one after it must give the change away. The number of changes of each message is 10,000 (with
 * sanitizers, which take ten times as long, 2,500), or ATH_MUTATIONS. The changes follow from a
 * seed, so a failure repeats.
 */
#include <stdio.h>

#include "protocol/handshake_message.h"
#include "tests/support/handshake_scene.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define DEFAULT_MUTATIONS 2500u
#else
#define DEFAULT_MUTATIONS 10000u
#endif

static const struct scene_options OPTIONS = {.confirm = true,
                                             .context = "a trip to Lisbon",
                                             .trace = SCENE_TRACE,
                                             .restrictions = "{\"rate_limit\":\"1/s\"}"};

static struct scene recorded; /* one honest handshake */

/* A scene that replays it: with the same grant, whose signature is random. */
static void
init_replay(struct scene *scene)
{
    struct scene_options options = OPTIONS;

    options.grant = recorded.grant;
    scene_init(scene, &options);
    scene->recorded = &recorded;
}

/* ---- a generator of our own: random_bytes is the machines' ---- */

static uint64_t random_state;

static uint32_t
draw(uint32_t below)
{
    /* xorshift64* (Vigna) */
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (uint32_t)((random_state * UINT64_C(2685821657736338717)) >> 32) % below;
}

/* ---- changing the text ---- */

static void
splice(struct ath_buf *text, size_t at, size_t removed, struct ath_slice put)
{
    struct ath_buf out = {0};

    ath_buf_put(&out, text->data, at);
    ath_buf_put_slice(&out, put);
    ath_buf_put(&out, text->data + at + removed, text->len - at - removed);
    ath_buf_done(text);
    *text = out;
}

static void
change_bytes(struct ath_buf *text)
{
    static const char *const TOKENS[] = {
        "\"", "{", "}", "[", "]", ",", ":", "null", "true", "false", "0", "-1", "1e3", "-0", "01",
        "9007199254740992", "\\u0000", "\\ud800", "\\u0061", "\"a\":1,", "\xff", "\xc0\x80", "\n",
        " ", "A", "_", "-", ".", "=", "ATH-TB1", "did:ath:", "\"type\":\"scope_request\",",
    };
    size_t at = draw((uint32_t)text->len), len = 1 + draw(8);
    const char *token = TOKENS[draw(sizeof(TOKENS) / sizeof(TOKENS[0]))];
    uint8_t *byte = text->data + at;

    if (len > text->len - at)
        len = text->len - at;
    switch (draw(5)) {
    case 0:
        *byte = (uint8_t)(*byte ^ 1u << draw(8));
        break;
    case 1:
        *byte = (uint8_t)"ABCDEFabcdef0123456789-_"[draw(24)];
        break;
    case 2:
        splice(text, at, len, (struct ath_slice){0});
        break;
    case 3:
        splice(text, at, draw(2) == 0 ? 0 : len, ath_slice_of_string(token));
        break;
    default: /* a piece of another message */
    {
        struct ath_buf other = {0};
        size_t from, piece;

        json_write(recorded.m[1 + draw(9)], &other);
        from = draw((uint32_t)other.len);
        piece = 1 + draw(40);
        if (piece > other.len - from)
            piece = other.len - from;
        splice(text, at, draw(2) == 0 ? 0 : piece < text->len - at ? piece : text->len - at,
               ath_slice_of(other.data + from, piece));
        ath_buf_done(&other);
        break;
    }
    }
}

/* ---- changing the tree ---- */

static const struct json *
random_member(const struct json *object)
{
    const struct json *member = json_first(object);

    for (uint32_t skip = draw((uint32_t)json_count(object)); skip > 0; skip--)
        member = json_next(member);
    return member;
}

static void
change_tree(struct json *message)
{
    static const char *const VALUES[] = {
        "null", "true", "false", "0", "-1", "1", "3600", "3601", "9007199254740991", "1790000001",
        "\"\"", "\"x\"", "[]", "{}", "[\"mail:read\"]", "[\"files:write\"]", "[null]",
        "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"", "\"req_AAAAAAAAAAAAAAAAAAAAAA\"",
        "{\"code\":\"UNKNOWN_PEER\",\"message\":\"\"}", "{\"jkt\":\"x\"}",
    };
    struct json_maker maker = {.root = message};
    const struct json *member = random_member(message), *other;
    char name[64];

    snprintf(name, sizeof(name), "%s", json_name(member));
    if (json_is_object(member) && json_count(member) > 0 && draw(3) != 0) {
        change_tree(json_get_mutable(message, name));
        return;
    }
    switch (draw(4)) {
    case 0:
        json_remove(message, name);
        break;
    case 1:
        json_set_json(message, name, VALUES[draw(sizeof(VALUES) / sizeof(VALUES[0]))]);
        break;
    case 2: /* the value of a member of another message */
        other = random_member(recorded.m[1 + draw(9)]);
        json_put_copy(&maker, draw(2) == 0 ? name : json_name(other), other);
        break;
    default:
        json_set_json(message, "x-added", VALUES[draw(sizeof(VALUES) / sizeof(VALUES[0]))]);
        break;
    }
    assert_int_equal(maker.err, ATH_OK);
}

/* NULL: the text is no message any more, or still says the same. */
static struct json *
mutate(int step)
{
    struct json *message = json_clone(recorded.m[step]), *changed = NULL;
    struct ath_buf text = {0};

    assert_non_null(message);
    if (draw(2) == 0)
        change_tree(message);
    json_write(message, &text);
    json_free(message);
    for (uint32_t n = draw(3); n > 0 && text.len > 0; n--)
        change_bytes(&text);
    if (handshake_message_parse(ath_buf_slice(&text), NULL, &changed) != ATH_OK)
        changed = NULL;
    if (changed != NULL && json_equal(changed, recorded.m[step])) {
        json_free(changed);
        changed = NULL;
    }
    ath_buf_done(&text);
    return changed;
}

/* ---- what must hold ---- */

static void
report(int step, const struct json *message, const char *what)
{
    struct ath_buf text = {0};

    json_write(message, &text);
    fail_msg("message %d %s: %s", step, what, ath_buf_text(&text));
}

/* The receiver of M1 cannot tell; the client must, when it sees what M2's signature covers. */
static void
check_unsigned_hello(struct scene *scene, const struct json *changed)
{
    struct why why = {{0}};
    struct json *m2;

    scene->recorded = NULL; /* signed for this very M1 */
    if (scene_server_accept(scene, changed, &why) != ATH_OK)
        return;
    m2 = json_clone(scene->need.send[0]);
    scene->recorded = &recorded;
    assert_int_equal(scene_client_start(scene, &why), ATH_OK);
    assert_int_equal(scene_client_receive(scene, m2), ATH_OK);
    if (scene->need.kind != HANDSHAKE_NEED_FAILED)
        report(1, changed, "changed and never noticed");
    json_free(m2);
}

/* M4: the client signs M5 over what it saw; the server, which sent something else, must refuse it. */
static void
check_unsigned_result(struct scene *scene, const struct json *changed)
{
    struct json *m5;

    scene->recorded = NULL;
    assert_int_equal(scene_client_receive(scene, changed), ATH_OK);
    if (scene->need.kind == HANDSHAKE_NEED_FAILED)
        return;
    m5 = json_clone(scene->need.send[0]);
    scene->recorded = &recorded;
    scene_replay_receiver(scene, 5);
    assert_int_equal(scene_server_receive(scene, m5), ATH_OK);
    if (scene->need.kind != HANDSHAKE_NEED_FAILED)
        report(4, changed, "changed and never noticed");
    json_free(m5);
}

static void
check_unsigned_scopes(struct scene *scene, const struct json *changed)
{
    assert_int_equal(scene_client_receive(scene, changed), ATH_OK);
    if (scene->need.kind == HANDSHAKE_NEED_FAILED)
        return;
    assert_int_equal(scene_client_receive(scene, recorded.m[9]), ATH_OK);
    if (scene->need.kind != HANDSHAKE_NEED_FAILED)
        report(8, changed, "changed and never noticed");
}

static void
check_signed(struct scene *scene, int step, const struct json *changed)
{
    struct json *m7 = NULL;

    if (step == 6) {
        if (scene_user_answer(scene, changed, &m7) == ATH_OK)
            report(6, changed, "changed and accepted");
        return;
    }
    if (step % 2 == 1 && step != 9)
        assert_int_equal(scene_server_receive(scene, changed), ATH_OK);
    else
        assert_int_equal(scene_client_receive(scene, changed), ATH_OK);
    if (scene->need.kind != HANDSHAKE_NEED_FAILED)
        report(step, changed, "changed and accepted");
}

static void
check_changed(struct scene *scene, int step, const struct json *changed)
{
    scene->recorded = &recorded;
    scene_replay_receiver(scene, step);
    switch (step) {
    case 1:
        check_unsigned_hello(scene, changed);
        break;
    case 4:
        check_unsigned_result(scene, changed);
        break;
    case 8:
        check_unsigned_scopes(scene, changed);
        break;
    default:
        check_signed(scene, step, changed);
        break;
    }
    /* the next one starts anew, and the user may be asked again */
    handshake_server_free(scene->s);
    scene->s = NULL;
    confirmation_gate_free(scene->gate);
    assert_int_equal(confirmation_gate_new(&scene->gate), ATH_OK);
}

static unsigned
mutations(void)
{
    const char *text = getenv("ATH_MUTATIONS");

    return text == NULL ? DEFAULT_MUTATIONS : (unsigned)strtoul(text, NULL, 10);
}

static void
mutate_message(int step)
{
    unsigned count = mutations(), changed_count = 0;
    struct scene scene;

    random_state = UINT64_C(88172645463325252) + (uint64_t)step;
    init_replay(&scene);
    for (unsigned i = 0; i < count; i++) {
        struct json *changed = mutate(step);

        if (changed == NULL)
            continue;
        changed_count++;
        check_changed(&scene, step, changed);
        json_free(changed);
    }
    assert_true(changed_count > count / 4); /* enough of them were still messages */
    scene_done(&scene);
}

static void
test_no_change_of_handshake_request_goes_unnoticed(void **state)
{
    (void)state;
    mutate_message(1);
}

static void
test_no_change_of_handshake_response_is_accepted(void **state)
{
    (void)state;
    mutate_message(2);
}

static void
test_no_change_of_identity_proof_is_accepted(void **state)
{
    (void)state;
    mutate_message(3);
}

static void
test_no_change_of_identity_result_goes_unnoticed(void **state)
{
    (void)state;
    mutate_message(4);
}

static void
test_no_change_of_scope_request_is_accepted(void **state)
{
    (void)state;
    mutate_message(5);
}

static void
test_no_change_of_confirmation_request_is_accepted(void **state)
{
    (void)state;
    mutate_message(6);
}

static void
test_no_change_of_confirmation_response_is_accepted(void **state)
{
    (void)state;
    mutate_message(7);
}

static void
test_no_change_of_scope_result_goes_unnoticed(void **state)
{
    (void)state;
    mutate_message(8);
}

static void
test_no_change_of_handshake_complete_is_accepted(void **state)
{
    (void)state;
    mutate_message(9);
}

/* The control: the replay itself is accepted, so that a refusal above means the change. */
static void
test_the_unchanged_messages_are_accepted(void **state)
{
    struct json *m7 = NULL;
    struct scene scene;

    (void)state;
    for (int step = 2; step <= 9; step++) {
        init_replay(&scene);
        scene_replay_receiver(&scene, step);
        if (step == 6) {
            assert_int_equal(scene_user_answer(&scene, recorded.m[6], &m7), ATH_OK);
            assert_true(json_equal(m7, recorded.m[7]));
            json_free(m7);
        } else {
            scene.m[step] = json_clone(recorded.m[step]);
            assert_step_taken(&scene, step);
        }
        scene_done(&scene);
    }
}

static int
record(void **state)
{
    (void)state;
    scene_init(&recorded, &OPTIONS);
    scene_run(&recorded, 10);
    return 0;
}

static int
forget(void **state)
{
    (void)state;
    scene_done(&recorded);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_unchanged_messages_are_accepted),
        cmocka_unit_test(test_no_change_of_handshake_request_goes_unnoticed),
        cmocka_unit_test(test_no_change_of_handshake_response_is_accepted),
        cmocka_unit_test(test_no_change_of_identity_proof_is_accepted),
        cmocka_unit_test(test_no_change_of_identity_result_goes_unnoticed),
        cmocka_unit_test(test_no_change_of_scope_request_is_accepted),
        cmocka_unit_test(test_no_change_of_confirmation_request_is_accepted),
        cmocka_unit_test(test_no_change_of_confirmation_response_is_accepted),
        cmocka_unit_test(test_no_change_of_scope_result_goes_unnoticed),
        cmocka_unit_test(test_no_change_of_handshake_complete_is_accepted),
    };

    if (crypto_init() != ATH_OK)
        return 1;
    return cmocka_run_group_tests(tests, record, forget);
}
