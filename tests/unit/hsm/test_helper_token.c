/* The real ath-hsm-helper with SoftHSM behind a module that fails on demand: PINs from a person,
 * noise on standard output, modules that hang, tokens that are taken out. */
#include "fixture_token.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "skip.h"
#include "temp_dir.h"

#define EXIT_UNAVAILABLE 69
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define UNDER_SANITIZER true
#else
#define UNDER_SANITIZER false
#endif

struct process {
    struct scene *scene;
    struct temp_dir temp;
    char dir[TEMP_DIR_MAX], uri[2 * TEMP_DIR_MAX];
    pid_t pid;
};

static void
write_file(const struct process *process, const char *name, const char *content)
{
    char path[TEMP_DIR_MAX + 64], old[TEMP_DIR_MAX + 80];
    int fd;

    (void)snprintf(path, sizeof(path), "%s/%s", process->dir, name);
    (void)snprintf(old, sizeof(old), "%s.new", path);
    fd = open(old, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(fd_write_all(fd, ath_slice_of_string(content)), ATH_OK);
    close(fd);
    assert_int_equal(rename(old, path), 0);
}

/* What the module is to do wrong from now on. */
static void
set_fault(const struct process *process, const char *rule)
{
    write_file(process, "fault", rule);
}

static unsigned
count_logins(const struct process *process)
{
    char path[TEMP_DIR_MAX + 64];
    unsigned count = 0;
    FILE *file;
    int c;

    (void)snprintf(path, sizeof(path), "%s/logins", process->dir);
    if ((file = fopen(path, "re")) == NULL)
        return 0;
    while ((c = getc(file)) != EOF)
        count += c == '\n';
    (void)fclose(file);
    return count;
}

static int
wait_status(pid_t pid)
{
    uint64_t ends_at = clock_monotonic_ms() + PATIENCE_MS;
    int status = 0;

    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (clock_monotonic_ms() > ends_at) {
            kill(pid, SIGKILL);
            waitpid(pid, &status, 0);
            fail_msg("it does not end");
        }
        (void)poll(NULL, 0, 1);
    }
    return status;
}

static void
make_token(const struct process *process)
{
    char program[] = "softhsm2-util", init[] = "--init-token", slot[] = "--free",
         label[] = "--label", name[] = "agent", pin[] = "--pin", so_pin[] = "--so-pin",
         so[] = "87654321";
    char user[32] = "";
    char *argv[] = {program, init, slot, label, name, pin, user, so_pin, so, NULL};
    uint8_t line[32];
    size_t len;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

        token_put_pin_line(line, &len);
        memcpy(user, line + 2, len - 3);
        (void)dup2(null, 1);
        execvp(program, argv);
        _exit(127);
    }
    assert_int_equal(wait_status(pid), 0);
    assert_true(process->dir[0] != '\0');
}

static int
setup(void **state)
{
    struct process *process = calloc(1, sizeof(*process));
    char text[TEMP_DIR_MAX + 128];
    void *scene = NULL;

    assert_non_null(process);
    assert_int_equal(scene_setup(&scene), 0);
    process->scene = scene;
    (void)snprintf(process->dir, sizeof(process->dir), "%s", temp_dir_make(&process->temp, "hsm"));
    assert_int_equal(mkdir(process->dir, 0700), 0);
    (void)snprintf(text, sizeof(text), "%s/tokens", process->dir);
    assert_int_equal(mkdir(text, 0700), 0);
    (void)snprintf(text, sizeof(text),
                   "directories.tokendir = %s/tokens\nobjectstore.backend = file\n"
                   "log.level = ERROR\n",
                   process->dir);
    write_file(process, "conf", text);
    (void)snprintf(text, sizeof(text), "%s/conf", process->dir);
    assert_int_equal(setenv("SOFTHSM2_CONF", text, 1), 0);
    make_token(process);
    (void)snprintf(process->uri, sizeof(process->uri),
                   "pkcs11:token=agent?module-path=" TEST_PROGRAMS "/fault_module.so");
    *state = process;
    return 0;
}

static int
teardown(void **state)
{
    struct process *process = *state;
    void *scene = process->scene;

    if (process->pid > 0) {
        kill(process->pid, SIGKILL);
        waitpid(process->pid, NULL, 0);
    }
    temp_dir_remove(&process->temp);
    free(process);
    return scene_teardown(&scene);
}

static void
start(struct process *process)
{
    static char program[] = TEST_BIN_DIR "/ath-hsm-helper";
    char uri_option[] = "--uri", dir_option[] = "--state-dir", level_option[] = "--log-level",
         level[] = "error";
    char *argv[] = {program,      uri_option,   process->uri, dir_option,
                    process->dir, level_option, level,        NULL};

    process->pid = fork();
    assert_true(process->pid >= 0);
    if (process->pid == 0) {
        (void)dup2(process->scene->helper_fd, 0);
        (void)dup2(process->scene->helper_prompter_fd, 1);
        execv(program, argv);
        _exit(127);
    }
}

/* The wait status, after our end was closed. */
static int
finish(struct process *process)
{
    pid_t pid = process->pid;

    (void)shutdown(process->scene->fd, SHUT_RDWR);
    process->pid = 0;
    return wait_status(pid);
}

static struct hsm_response
login(struct process *process, uint32_t id, enum person person, bool keep, ath_err expected)
{
    pid_t pid = scene_pass_prompter(process->scene, id, person, -1);
    struct hsm_response response;

    scene_ask(
        process->scene,
        (struct hsm_request){.id = id,
                             .op = HSM_OP_LOGIN,
                             .pin = {.from = HSM_PIN_PROMPTER, .timeout_s = 60, .keep = keep}});
    response = scene_answer(process->scene, id, expected);
    scene_wait_prompter(pid);
    return response;
}

static void
greet(struct process *process)
{
    struct hsm_response response;

    scene_ask(process->scene,
              (struct hsm_request){.id = 1, .op = HSM_OP_INFO, .version = HSM_WIRE_VERSION});
    response = scene_answer(process->scene, 1, ATH_OK);
    assert_true(ath_slice_is(response.kind, "pkcs11"));
    assert_int_equal(response.login, HSM_LOGIN_PIN);
}

/* Makes a key and opens it as number 1. */
static void
make_key(struct process *process)
{
    struct scene *scene = process->scene;
    struct ath_buf blob = {.max = HSM_WIRE_MAX_BLOB};
    struct hsm_response response;

    scene_ask(scene, (struct hsm_request){.id = 2,
                                          .op = HSM_OP_KEY_CREATE,
                                          .algorithm = KEY_ES256,
                                          .name = ath_slice_of_string("test")});
    response = scene_answer(scene, 2, ATH_OK);
    ath_buf_put_slice(&blob, response.blob);
    assert_int_equal(public_key_from_der(response.public_der, NULL, &scene->key), ATH_OK);
    scene_ask(scene, (struct hsm_request){
                         .id = 3, .op = HSM_OP_KEY_OPEN, .key = 1, .data = ath_buf_slice(&blob)});
    (void)scene_answer(scene, 3, ATH_OK);
    ath_buf_done(&blob);
}

static void
test_person_logs_in_and_token_signs(void **state)
{
    struct process *process = *state;
    struct scene *scene = process->scene;

    start(process);
    greet(process);
    (void)login(process, 10, PERSON_RIGHT, false, ATH_OK);
    make_key(process);
    for (uint32_t i = 0; i < 50; i++)
        scene_sign(scene, 100 + i, (struct hsm_pin_request){0});
    for (unsigned i = 0; i < 50; i++) {
        struct hsm_response response = scene_take(scene);

        assert_int_equal(response.err, ATH_OK);
        scene_verify(scene, &response);
    }
    scene_ask(scene, (struct hsm_request){.id = 4, .op = HSM_OP_LOGOUT});
    (void)scene_answer(scene, 4, ATH_OK);
    assert_int_equal(count_logins(process), 1);
    assert_int_equal(finish(process), 0);
}

static void
test_wrong_pin_costs_the_token_one_try(void **state)
{
    struct process *process = *state;

    start(process);
    greet(process);
    (void)login(process, 10, PERSON_WRONG, true, ATH_ERR_PIN_INCORRECT);
    assert_int_equal(count_logins(process), 1);
    (void)login(process, 11, PERSON_RIGHT, true, ATH_OK);
    assert_int_equal(count_logins(process), 2);
    assert_int_equal(finish(process), 0);
}

static void
test_pin_is_nowhere_in_the_process_but_where_it_is_kept(void **state)
{
    struct process *process = *state;
    unsigned locked, unlocked;

    start(process);
    greet(process);
    (void)login(process, 10, PERSON_RIGHT, true, ATH_OK);
    if (!scene_find_pin(process->pid, &locked, &unlocked))
        skip_because("only root may look into its memory");
    assert_int_equal(locked, 1);
    assert_int_equal(unlocked, 0);
    scene_ask(process->scene, (struct hsm_request){.id = 4, .op = HSM_OP_LOGOUT});
    (void)scene_answer(process->scene, 4, ATH_OK);
    assert_true(scene_find_pin(process->pid, &locked, &unlocked));
    assert_int_equal(locked + unlocked, 0);
    assert_int_equal(finish(process), 0);
}

static void
test_what_a_module_prints_does_not_reach_our_sockets(void **state)
{
    struct process *process = *state;
    char byte;

    set_fault(process, "* print stdout\n");
    start(process);
    greet(process);
    (void)login(process, 10, PERSON_RIGHT, false, ATH_OK);
    make_key(process);
    scene_sign(process->scene, 100, (struct hsm_pin_request){0});
    (void)scene_answer(process->scene, 100, ATH_OK);
    assert_int_equal(recv(process->scene->prompter_fd, &byte, 1, MSG_DONTWAIT), -1);
    assert_int_equal(errno, EAGAIN);
    assert_int_equal(finish(process), 0);
}

/* Its debugging may show PINs. */
static void
test_what_a_module_prints_is_not_in_our_log(void **state)
{
    struct process *process = *state;
    char text[512] = "";
    int pair[2], before;

    if (UNDER_SANITIZER)
        skip_because("a sanitizer writes there itself");
    set_fault(process, "* print stderr\n");
    assert_int_equal(pipe2(pair, O_CLOEXEC | O_NONBLOCK), 0);
    assert_true((before = dup(STDERR_FILENO)) >= 0);
    (void)dup2(pair[1], STDERR_FILENO);
    start(process);
    (void)dup2(before, STDERR_FILENO);
    close(before);
    close(pair[1]);
    greet(process);
    scene_ask(process->scene, (struct hsm_request){.id = 5, .op = HSM_OP_RANDOM, .count = 1});
    (void)scene_answer(process->scene, 5, ATH_OK);
    assert_int_equal(finish(process), 0);
    assert_int_equal(read(pair[0], text, sizeof(text) - 1), 0);
    close(pair[0]);
}

static void
test_module_that_hangs_does_not_hold_the_token_when_athd_is_gone(void **state)
{
    struct process *process = *state;
    int status;

    start(process);
    greet(process);
    (void)login(process, 10, PERSON_RIGHT, false, ATH_OK);
    make_key(process);
    set_fault(process, "C_Sign hang\n");
    scene_sign(process->scene, 100, (struct hsm_pin_request){0});
    scene_ask(process->scene, (struct hsm_request){.id = 5, .op = HSM_OP_RANDOM, .count = 1});
    status = finish(process);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), EXIT_UNAVAILABLE);
}

static void
test_token_that_is_away_is_waited_for_and_one_taken_out_is_noticed(void **state)
{
    struct process *process = *state;
    struct hsm_response response;
    int status;

    set_fault(process, "token away\n");
    start(process);
    scene_ask(process->scene,
              (struct hsm_request){.id = 7, .op = HSM_OP_INFO, .version = HSM_WIRE_VERSION});
    assert_true(scene_answer(process->scene, 7, ATH_ERR_HSM_UNAVAILABLE).waits);
    set_fault(process, "");
    response = scene_answer(process->scene, 7, ATH_OK);
    assert_true(ath_slice_is(response.kind, "pkcs11"));
    set_fault(process, "token away\n");
    response = scene_answer(process->scene, 7, ATH_ERR_HSM_UNAVAILABLE); /* nobody asked */
    assert_false(response.waits);
    status = wait_status(process->pid); /* by itself */
    process->pid = 0;
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), EXIT_UNAVAILABLE);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_person_logs_in_and_token_signs),
        TEST(test_wrong_pin_costs_the_token_one_try),
        TEST(test_pin_is_nowhere_in_the_process_but_where_it_is_kept),
        TEST(test_what_a_module_prints_does_not_reach_our_sockets),
        TEST(test_what_a_module_prints_is_not_in_our_log),
        TEST(test_module_that_hangs_does_not_hold_the_token_when_athd_is_gone),
        TEST(test_token_that_is_away_is_waited_for_and_one_taken_out_is_noticed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
