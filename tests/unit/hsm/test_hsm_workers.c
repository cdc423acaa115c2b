/* Signatures of a token with several sessions: found by id, each verified, nothing else meanwhile.
 */
#include "fixture_token.h"

#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct hsm_pin_request no_pin = {0};

static void
test_signatures_in_flight_are_answered_by_id_and_verify(void **state)
{
    struct scene *scene = *state;
    bool seen[300] = {false};

    token.parallel = 4;
    token.holds = true;
    scene_start(scene);
    scene_open(scene, "plain");
    for (uint32_t i = 0; i < 300; i++)
        scene_sign(scene, 100 + i, no_pin);
    assert_true(token_wait(&token.signing, 4)); /* all sessions at once */
    token_hold(false);
    for (unsigned i = 0; i < 300; i++) {
        struct hsm_response response = scene_take(scene);

        assert_int_equal(response.err, ATH_OK);
        assert_true(response.id >= 100 && response.id < 400 && !seen[response.id - 100]);
        seen[response.id - 100] = true;
        scene_verify(scene, &response);
    }
    assert_int_equal(scene_end(scene), ATH_OK);
    assert_int_equal(token.most_signing, 4);
    assert_int_equal(token.signatures, 300);
}

static void
test_everything_else_waits_until_no_signature_is_in_flight(void **state)
{
    struct scene *scene = *state;
    unsigned signatures = 0;

    token.holds = true;
    scene_start(scene);
    scene_open(scene, "plain");
    for (uint32_t i = 0; i < 6; i++)
        scene_sign(scene, 100 + i, no_pin);
    scene_ask(scene, (struct hsm_request){.id = 3, .op = HSM_OP_RANDOM, .count = 5});
    scene_sign(scene, 200, no_pin);
    assert_true(token_wait(&token.signing, 2));
    token_hold(false);
    for (unsigned i = 0; i < 8; i++) {
        struct hsm_response response = scene_take(scene);

        assert_int_equal(response.err, ATH_OK);
        if (response.op == HSM_OP_RANDOM)
            assert_int_equal(signatures, 6);
        signatures += response.op == HSM_OP_SIGN;
    }
    assert_int_equal(signatures, 7); /* and the token saw no call beside a signature: teardown */
}

static void
test_key_that_is_closed_behind_its_signatures_is_closed_after_them(void **state)
{
    struct scene *scene = *state;

    scene_start(scene);
    scene_open(scene, "plain");
    for (uint32_t i = 0; i < 20; i++)
        scene_sign(scene, 100 + i, no_pin);
    scene_ask(scene, (struct hsm_request){.id = 3, .op = HSM_OP_KEY_CLOSE, .key = 1});
    scene_sign(scene, 200, no_pin);
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(scene_take(scene).err, ATH_OK);
    (void)scene_answer(scene, 3, ATH_OK);
    (void)scene_answer(scene, 200, ATH_ERR_KEY_NOT_FOUND);
}

static void
test_signature_that_does_not_verify_never_leaves(void **state)
{
    struct scene *scene = *state;

    token.bad_signature = true;
    scene_start(scene);
    scene_open(scene, "plain");
    scene_sign(scene, 100, no_pin);
    assert_int_equal(scene_answer(scene, 100, ATH_ERR_HSM_ERROR).data.len, 0);
}

/* An answer that waits for another to leave with it must not wait for ever when that has left. The
 * main loop sends what waits when it looks after the token each second: here it never does. */
static void
test_no_answer_is_left_behind(void **state)
{
    static struct hsm_ops ops;
    static const struct hsm_ops *const backends[] = {&ops, NULL};
    struct scene *scene = *state;

    ops = token_ops;
    ops.check = NULL;
    scene->options.backends = backends;
    token.parallel = 3;
    scene_start(scene);
    scene_open(scene, "plain");
    for (unsigned round = 0; round < 500; round++) {
        for (uint32_t i = 0; i < 3; i++)
            scene_sign(scene, 100 + i, no_pin);
        for (uint32_t i = 0; i < 3; i++)
            assert_int_equal(scene_take(scene).err, ATH_OK);
    }
    assert_int_equal(scene_end(scene), ATH_OK);
}

static void
test_failure_is_not_explained_by_an_older_one(void **state)
{
    struct scene *scene = *state;

    token.sign_err = ATH_ERR_HSM_ERROR;
    scene_start(scene);
    scene_open(scene, "card");
    for (uint32_t i = 0; i < 70; i++) { /* so many that each place for one has been used */
        scene_sign(scene, 100 + i, no_pin);
        assert_true(
            ath_slice_is(scene_answer(scene, 100 + i, ATH_ERR_HSM_ERROR).sentence, "it broke"));
    }
    pthread_mutex_lock(&token.lock);
    token.sign_err = ATH_OK;
    pthread_mutex_unlock(&token.lock);
    scene_sign(scene, 200, no_pin);
    assert_false(ath_slice_is(scene_answer(scene, 200, ATH_ERR_PIN_REQUIRED).sentence, "it broke"));
}

static void
test_token_that_is_gone_is_told_to_all_and_ends_the_loop(void **state)
{
    struct scene *scene = *state;

    token.holds = true;
    scene_start(scene);
    scene_open(scene, "plain");
    for (uint32_t i = 0; i < 10; i++)
        scene_sign(scene, 100 + i, no_pin);
    assert_true(token_wait(&token.signing, 2));
    token.sign_err = ATH_ERR_HSM_UNAVAILABLE; /* read with the lock, which token_hold takes */
    token_hold(false);
    for (unsigned i = 0; i < 10; i++) {
        struct hsm_response response = scene_take(scene);

        assert_int_equal(response.err, ATH_ERR_HSM_UNAVAILABLE);
        assert_true(ath_slice_is(response.sentence, "it broke"));
    }
    pthread_join(scene->thread, NULL); /* by itself */
    scene->is_running = false;
    assert_int_equal(scene->result, ATH_ERR_HSM_UNAVAILABLE);
    assert_true(token.signatures < 10); /* those that waited were not tried */
}

static void
test_long_messages_pass_whole(void **state)
{
    struct scene *scene = *state;
    size_t len = HSM_WIRE_MAX_MESSAGE;
    uint8_t *message = malloc(len);

    assert_non_null(message);
    memset(message, 'm', len);
    scene_start(scene);
    scene_open(scene, "plain");
    for (uint32_t i = 0; i < 8; i++) {
        message[0] = (uint8_t)i;
        scene_ask(scene,
                  (struct hsm_request){
                      .id = i, .op = HSM_OP_SIGN, .key = 1, .data = ath_slice_of(message, len)});
    }
    for (unsigned i = 0; i < 8; i++) {
        struct hsm_response response = scene_take(scene);

        assert_int_equal(response.err, ATH_OK);
        message[0] = (uint8_t)response.id;
        assert_int_equal(public_key_verify(scene->key, ath_slice_of(message, len), response.data),
                         ATH_OK);
    }
    free(message);
}

static void
test_caller_that_leaves_with_signatures_in_flight_ends_the_loop(void **state)
{
    struct scene *scene = *state;

    token.holds = true;
    scene_start(scene);
    scene_open(scene, "plain");
    for (uint32_t i = 0; i < 50; i++)
        scene_sign(scene, 100 + i, no_pin);
    assert_true(token_wait(&token.signing, 2));
    (void)shutdown(scene->fd, SHUT_RDWR);
    token_hold(false);
    (void)scene_end(scene);
    assert_int_equal(token.closes, 1);
}

static void
test_nothing_is_left_open(void **state)
{
    struct scene *scene = *state;
    unsigned before = scene_count_fds();

    scene_start(scene);
    scene_open(scene, "plain");
    scene_sign(scene, 100, no_pin);
    (void)scene_answer(scene, 100, ATH_OK);
    assert_int_equal(scene_end(scene), ATH_OK);
    assert_int_equal(scene_count_fds(), before);
}

static void
test_unknown_requests_of_a_token_are_refused_in_sentences(void **state)
{
    struct scene *scene = *state;
    struct hsm_response response;

    scene_start(scene);
    scene_open(scene, "plain");
    scene_ask(scene,
              (struct hsm_request){.id = 3,
                                   .op = HSM_OP_COUNTER,
                                   .key = 1,
                                   .nonce = ath_slice_of("12345678901234567890123456789012", 32)});
    response = scene_answer(scene, 3, ATH_ERR_INVALID_PARAMS);
    assert_true(ath_slice_is(response.sentence, "this hsm has no counter; only a TPM has one"));
}

/* The module hangs, athd is gone: the process must not stay. In a child, whose exit is seen. */
static void
test_module_that_hangs_does_not_keep_the_process(void **state)
{
    struct scene *scene = *state;
    int status = 0;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        scene->options.hang_limit_ms = 50;
        token.holds = true;
        scene_start(scene);
        scene_open(scene, "plain");
        scene_sign(scene, 100, no_pin);
        if (!token_wait(&token.signing, 1))
            _exit(1);
        (void)scene_end(scene);
        _exit(2); /* it did not hang */
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 69);
}

static void
test_watchdog_leaves_those_alone_who_end_in_time(void **state)
{
    struct scene *scene = *state;

    scene->options.hang_limit_ms = 60000;
    scene_start(scene);
    scene_open(scene, "plain");
    assert_int_equal(scene_end(scene), ATH_OK);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, scene_setup, scene_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_signatures_in_flight_are_answered_by_id_and_verify),
        TEST(test_everything_else_waits_until_no_signature_is_in_flight),
        TEST(test_key_that_is_closed_behind_its_signatures_is_closed_after_them),
        TEST(test_signature_that_does_not_verify_never_leaves),
        TEST(test_no_answer_is_left_behind),
        TEST(test_failure_is_not_explained_by_an_older_one),
        TEST(test_token_that_is_gone_is_told_to_all_and_ends_the_loop),
        TEST(test_long_messages_pass_whole),
        TEST(test_caller_that_leaves_with_signatures_in_flight_ends_the_loop),
        TEST(test_nothing_is_left_open),
        TEST(test_unknown_requests_of_a_token_are_refused_in_sentences),
        TEST(test_module_that_hangs_does_not_keep_the_process),
        TEST(test_watchdog_leaves_those_alone_who_end_in_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
