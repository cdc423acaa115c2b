/* Keys with a PIN each, as a TPM has them: asked for while others sign, tried once, kept with the
 * key. */
#include "fixture_token.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- hardware that signs one at a time, with keys that want a PIN ---- */

static struct {
    struct hsm_key *in[4]; /* keys whose PIN was right */
    uint8_t signature[SIGNATURE_MAX_LEN];
    unsigned logins, logouts, created;
} tpm;

static struct hsm_key **
find_in(const struct hsm_key *key)
{
    for (size_t i = 0; i < 4; i++)
        if (tpm.in[i] == key)
            return &tpm.in[i];
    return NULL;
}

static void
tpm_info(const struct hsm *hsm, struct hsm_info *ret_info)
{
    (void)hsm;
    *ret_info = (struct hsm_info){.kind = "tpm", .algorithms = 2, .parallel = 1};
}

static ath_err
tpm_key_create_with_pin(struct hsm *hsm, enum key_algorithm algorithm, const char *label,
                        struct ath_slice pin, struct hsm_fault *fault, struct ath_buf *blob)
{
    (void)hsm;
    assert_int_equal(algorithm, KEY_ES256);
    assert_string_equal(label, "agent");
    tpm.created++;
    if (!token_is_pin(pin))
        return why_set(&fault->why, ATH_ERR_HSM_ERROR, "not what was entered");
    ath_buf_put_string(blob, "plain");
    return blob->err;
}

static ath_err
tpm_key_login(struct hsm *hsm, struct hsm_key *key, struct ath_slice pin, struct hsm_fault *fault)
{
    struct hsm_key **in = find_in(key);

    (void)hsm;
    tpm.logins++;
    if (in != NULL)
        *in = NULL;
    if (!token_is_pin(pin))
        return why_set(&fault->why, ATH_ERR_PIN_INCORRECT, "the PIN is another");
    *find_in(NULL) = key;
    return ATH_OK;
}

static void
tpm_key_logout(struct hsm *hsm, struct hsm_key *key)
{
    struct hsm_key **in = find_in(key);

    (void)hsm;
    tpm.logouts += in != NULL;
    if (in != NULL)
        *in = NULL;
}

static void
tpm_key_close(struct hsm *hsm, struct hsm_key *key)
{
    tpm_key_logout(hsm, key);
    token_ops.key_close(hsm, key);
}

static ath_err
tpm_sign_begin(struct hsm *hsm, struct hsm_key *key, struct ath_slice message,
               struct hsm_fault *fault)
{
    if (find_in(key) == NULL)
        return why_set(&fault->why, ATH_ERR_PIN_REQUIRED, "its PIN is not here");
    return token_ops.sign_with(hsm, 0, key, message, ath_slice_of(NULL, 0), fault, tpm.signature);
}

static ath_err
tpm_sign_finish(struct hsm *hsm, struct hsm_fault *fault, uint8_t ret_signature[SIGNATURE_MAX_LEN])
{
    (void)hsm;
    (void)fault;
    memcpy(ret_signature, tpm.signature, SIGNATURE_MAX_LEN);
    return ATH_OK;
}

static struct hsm_ops tpm_ops;
static const struct hsm_ops *const backends[] = {&tpm_ops, NULL};

static int
setup(void **state)
{
    struct scene *scene;

    memset(&tpm, 0, sizeof(tpm));
    assert_int_equal(scene_setup(state), 0);
    scene = *state;
    tpm_ops = token_ops;
    tpm_ops.schemes[0] = "tpm:";
    tpm_ops.info = tpm_info;
    tpm_ops.sign_with = NULL;
    tpm_ops.login = NULL;
    tpm_ops.logout = NULL;
    tpm_ops.check = NULL;
    tpm_ops.key_close = tpm_key_close;
    tpm_ops.sign_begin = tpm_sign_begin;
    tpm_ops.sign_finish = tpm_sign_finish;
    tpm_ops.key_create_with_pin = tpm_key_create_with_pin;
    tpm_ops.key_login = tpm_key_login;
    tpm_ops.key_logout = tpm_key_logout;
    scene->options.uri = "tpm:double";
    scene->options.backends = backends;
    return 0;
}

/* ---- asking ---- */

static struct hsm_pin_request
from_person(void)
{
    return (struct hsm_pin_request){.from = HSM_PIN_PROMPTER,
                                    .keep = true,
                                    .timeout_s = 60,
                                    .text = ath_slice_of_string("to sign for alice")};
}

static pid_t
ask_login(struct scene *scene, uint32_t id, uint32_t key, enum person person)
{
    pid_t pid = scene_pass_prompter(scene, id, person, -1);

    scene_ask(scene,
              (struct hsm_request){.id = id, .op = HSM_OP_LOGIN, .key = key, .pin = from_person()});
    return pid;
}

static void
login(struct scene *scene, uint32_t id, uint32_t key, enum person person, ath_err expected)
{
    pid_t pid = ask_login(scene, id, key, person);

    (void)scene_answer(scene, id, expected);
    scene_wait_prompter(pid);
}

static void
open_key(struct scene *scene, uint32_t id, uint32_t key)
{
    scene_ask(scene, (struct hsm_request){.id = id,
                                          .op = HSM_OP_KEY_OPEN,
                                          .key = key,
                                          .data = ath_slice_of_string("plain")});
    (void)scene_answer(scene, id, ATH_OK);
}

static void
sign_with(struct scene *scene, uint32_t id, uint32_t key, ath_err expected)
{
    scene_ask(scene,
              (struct hsm_request){
                  .id = id, .op = HSM_OP_SIGN, .key = key, .data = ath_slice_of_string("m")});
    (void)scene_answer(scene, id, expected);
}

/* ---- tests ---- */

static void
test_key_signs_after_its_pin_was_right(void **state)
{
    struct scene *scene = *state;
    struct hsm_response response;

    scene_start(scene);
    scene_open(scene, "plain");
    sign_with(scene, 3, 1, ATH_ERR_PIN_REQUIRED);
    login(scene, 4, 1, PERSON_RIGHT, ATH_OK);
    scene_sign(scene, 5, (struct hsm_pin_request){.from = HSM_PIN_NONE});
    response = scene_answer(scene, 5, ATH_OK);
    scene_verify(scene, &response);
    assert_int_equal(tpm.logins, 1);
}

static void
test_wrong_pin_is_tried_once(void **state)
{
    struct scene *scene = *state;

    scene_start(scene);
    scene_open(scene, "plain");
    login(scene, 3, 1, PERSON_WRONG, ATH_ERR_PIN_INCORRECT);
    assert_int_equal(tpm.logins, 1);
    sign_with(scene, 4, 1, ATH_ERR_PIN_REQUIRED);
    login(scene, 5, 1, PERSON_CANCELS, ATH_ERR_USER_DENIED);
    login(scene, 6, 1, PERSON_DIES, ATH_ERR_NO_PROMPTER);
    login(scene, 7, 1, PERSON_EMPTY, ATH_ERR_USER_DENIED);
    assert_int_equal(tpm.logins, 1);
}

static void
test_pin_is_of_one_key(void **state)
{
    struct scene *scene = *state;

    scene_start(scene);
    scene_open(scene, "plain");
    open_key(scene, 3, 2);
    login(scene, 4, 1, PERSON_RIGHT, ATH_OK);
    sign_with(scene, 5, 1, ATH_OK);
    sign_with(scene, 6, 2, ATH_ERR_PIN_REQUIRED);
    login(scene, 7, 2, PERSON_RIGHT, ATH_OK);
    scene_ask(scene, (struct hsm_request){.id = 8, .op = HSM_OP_LOGOUT, .key = 1});
    (void)scene_answer(scene, 8, ATH_OK);
    sign_with(scene, 9, 1, ATH_ERR_PIN_REQUIRED);
    sign_with(scene, 10, 2, ATH_OK);
    scene_ask(scene, (struct hsm_request){.id = 11, .op = HSM_OP_LOGOUT});
    (void)scene_answer(scene, 11, ATH_OK);
    sign_with(scene, 12, 2, ATH_ERR_PIN_REQUIRED);
}

/* A person who thinks holds nobody up, and two can be asked at once. */
static void
test_others_sign_while_a_person_is_asked(void **state)
{
    struct scene *scene = *state;
    pid_t first, second;

    scene_start(scene);
    scene_open(scene, "plain");
    open_key(scene, 3, 2);
    open_key(scene, 4, 3);
    login(scene, 5, 3, PERSON_RIGHT, ATH_OK);
    first = ask_login(scene, 6, 1, PERSON_SLOW);
    second = ask_login(scene, 7, 2, PERSON_SLOW);
    for (uint32_t id = 8; id < 40; id++)
        sign_with(scene, id, 3, ATH_OK);
    assert_int_equal(kill(second, SIGUSR1), 0);
    (void)scene_answer(scene, 7, ATH_OK);
    sign_with(scene, 40, 2, ATH_OK);
    sign_with(scene, 41, 1, ATH_ERR_PIN_REQUIRED);
    assert_int_equal(kill(first, SIGUSR1), 0);
    (void)scene_answer(scene, 6, ATH_OK);
    sign_with(scene, 42, 1, ATH_OK);
    scene_wait_prompter(first);
    scene_wait_prompter(second);
}

static void
test_key_that_is_closed_meanwhile_is_not_tried(void **state)
{
    struct scene *scene = *state;
    pid_t pid;

    scene_start(scene);
    scene_open(scene, "plain");
    pid = ask_login(scene, 3, 1, PERSON_SLOW);
    scene_ask(scene, (struct hsm_request){.id = 4, .op = HSM_OP_KEY_CLOSE, .key = 1});
    (void)scene_answer(scene, 4, ATH_OK);
    open_key(scene, 5, 1); /* another one under its number */
    assert_int_equal(kill(pid, SIGUSR1), 0);
    (void)scene_answer(scene, 3, ATH_ERR_KEY_NOT_FOUND);
    assert_int_equal(tpm.logins, 0);
    scene_wait_prompter(pid);
}

static void
test_end_takes_open_questions_along(void **state)
{
    struct scene *scene = *state;
    pid_t pid;

    scene_start(scene);
    scene_open(scene, "plain");
    pid = ask_login(scene, 3, 1, PERSON_SILENT);
    assert_int_equal(scene_end(scene), ATH_OK);
    scene_wait_prompter(pid);
}

/* ---- new keys ---- */

static pid_t
ask_create(struct scene *scene, uint32_t id, enum person person, int told_fd)
{
    pid_t pid = scene_pass_prompter(scene, id, person, told_fd);

    scene_ask(scene, (struct hsm_request){.id = id,
                                          .op = HSM_OP_KEY_CREATE,
                                          .algorithm = KEY_ES256,
                                          .name = ath_slice_of_string("agent"),
                                          .pin = from_person()});
    return pid;
}

static void
test_new_key_gets_the_pin_that_was_entered_twice(void **state)
{
    struct scene *scene = *state;
    struct hsm_response response;
    char told[4096];
    size_t len = 0;
    int pipe_fds[2];
    ssize_t n;
    pid_t pid;

    assert_int_equal(pipe(pipe_fds), 0);
    scene_start(scene);
    scene_open(scene, "plain");
    pid = ask_create(scene, 3, PERSON_RIGHT, pipe_fds[1]);
    response = scene_answer(scene, 3, ATH_OK);
    assert_true(ath_slice_is(response.blob, "plain"));
    assert_true(response.public_der.len > 0);
    scene_wait_prompter(pid);
    while ((n = read(pipe_fds[0], told + len, sizeof(told) - 1 - len)) > 0)
        len += (size_t)n;
    told[len] = '\0';
    close(pipe_fds[0]);
    assert_non_null(strstr(told, "Choose a PIN"));
    assert_non_null(strstr(told, "to sign for alice"));
    assert_non_null(strstr(told, "SETREPEAT"));
    assert_non_null(strstr(strstr(told, "GETPIN") + 1, "GETPIN"));
}

static void
test_no_key_without_its_pin(void **state)
{
    static const struct {
        enum person person;
        ath_err expected;
    } cases[] = {{PERSON_CANCELS, ATH_ERR_USER_DENIED},
                 {PERSON_EMPTY, ATH_ERR_USER_DENIED},
                 {PERSON_255, ATH_ERR_USER_DENIED}, /* too long, three times */
                 {PERSON_GARBAGE, ATH_ERR_NO_PROMPTER},
                 {PERSON_DIES, ATH_ERR_NO_PROMPTER}};
    struct scene *scene = *state;

    scene_start(scene);
    scene_open(scene, "plain");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        pid_t pid = ask_create(scene, (uint32_t)i + 3, cases[i].person, -1);

        (void)scene_answer(scene, (uint32_t)i + 3, cases[i].expected);
        scene_wait_prompter(pid);
    }
    assert_int_equal(tpm.created, 0);
}

static void
test_requests_that_make_no_sense_are_refused(void **state)
{
    struct scene *scene = *state;
    struct hsm_pin_request kept = {.from = HSM_PIN_KEPT};
    pid_t pid;

    scene_start(scene);
    scene_open(scene, "plain");
    login(scene, 3, 9, PERSON_SILENT, ATH_ERR_KEY_NOT_FOUND);
    login(scene, 4, 0, PERSON_SILENT, ATH_ERR_INVALID_PARAMS);
    scene_ask(scene, (struct hsm_request){.id = 5, .op = HSM_OP_LOGIN, .key = 1, .pin = kept});
    (void)scene_answer(scene, 5, ATH_ERR_INVALID_REQUEST);
    scene_ask(scene, (struct hsm_request){
                         .id = 6, .op = HSM_OP_KEY_CREATE, .algorithm = KEY_ES256, .pin = kept});
    (void)scene_answer(scene, 6, ATH_ERR_INVALID_REQUEST);
    pid = scene_pass_prompter(scene, 7, PERSON_SILENT, -1);
    scene_ask(scene, (struct hsm_request){.id = 7,
                                          .op = HSM_OP_KEY_CREATE,
                                          .algorithm = KEY_ES256,
                                          .usage = HSM_KEY_AUDIT,
                                          .pin = from_person()});
    (void)scene_answer(scene, 7, ATH_ERR_INVALID_PARAMS);
    scene_wait_prompter(pid);
}

/* Its keys have the token's PIN. */
static void
test_keys_of_a_token_have_no_pin_of_their_own(void **state)
{
    struct scene *scene = *state;
    pid_t pid;

    scene_start(scene);
    scene_open(scene, "plain");
    login(scene, 3, 1, PERSON_SILENT, ATH_ERR_INVALID_PARAMS);
    pid = ask_create(scene, 4, PERSON_SILENT, -1);
    (void)scene_answer(scene, 4, ATH_ERR_INVALID_PARAMS);
    scene_wait_prompter(pid);
    assert_int_equal(token.logins, 0);
}

#define TPM(test) cmocka_unit_test_setup_teardown(test, setup, scene_teardown)
#define TOKEN(test) cmocka_unit_test_setup_teardown(test, scene_setup, scene_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TPM(test_key_signs_after_its_pin_was_right),
        TPM(test_wrong_pin_is_tried_once),
        TPM(test_pin_is_of_one_key),
        TPM(test_others_sign_while_a_person_is_asked),
        TPM(test_key_that_is_closed_meanwhile_is_not_tried),
        TPM(test_end_takes_open_questions_along),
        TPM(test_new_key_gets_the_pin_that_was_entered_twice),
        TPM(test_no_key_without_its_pin),
        TPM(test_requests_that_make_no_sense_are_refused),
        TOKEN(test_keys_of_a_token_have_no_pin_of_their_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
