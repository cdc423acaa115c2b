/* The real ath-hsm-helper with a real swtpm: life, death, and what is left behind. */
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "crypto/digest.h"
#include "hsm/hsm.h"
#include "skip.h"
#include "support.h"

#define PATIENCE_MS 100000u /* less than ctest has */
#define EXIT_UNAVAILABLE 69

struct process {
    char dir[64];
    pid_t pid;
    int fd;
    uint32_t last_id;
    struct ath_buf in;
    struct ath_buf frame; /* of the last answer; its slices point here */
};

/* ---- the process ---- */

static void
start(struct process *process)
{
    static char program[] = TEST_BIN_DIR "/ath-hsm-helper";
    char uri_option[] = "--uri", uri[] = "swtpm:", dir_option[] = "--state-dir",
         level_option[] = "--log-level", level[] = "error";
    char *argv[] = {program, uri_option, uri, dir_option, process->dir, level_option, level, NULL};
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    process->pid = fork();
    assert_true(process->pid >= 0);
    if (process->pid == 0) {
        (void)dup2(pair[1], 0);
        execv(program, argv);
        _exit(127);
    }
    close(pair[1]);
    process->fd = pair[0];
}

static int
wait_status(pid_t pid)
{
    int status = 0;

    for (unsigned waited = 0; waited < PATIENCE_MS; waited += 5) {
        if (waitpid(pid, &status, WNOHANG) == pid)
            return status;
        (void)poll(NULL, 0, 5);
    }
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    fail_msg("the helper does not end");
    return -1;
}

/* Closes our end; the helper's wait status. */
static int
finish(struct process *process)
{
    fd_close(&process->fd);
    ath_buf_clear(&process->in);
    return wait_status(process->pid);
}

/* The swtpm on our state directory; 0: none. */
static pid_t
find_swtpm(const struct process *process)
{
    char path[300], wanted[96], line[1024];
    DIR *proc = opendir("/proc");
    struct dirent *entry;
    pid_t found = 0;

    assert_non_null(proc);
    (void)snprintf(wanted, sizeof(wanted), "dir=%s/swtpm", process->dir);
    while (found == 0 && (entry = readdir(proc)) != NULL) {
        ssize_t n;
        int fd;

        (void)snprintf(path, sizeof(path), "/proc/%s/cmdline", entry->d_name);
        if ((fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
            continue;
        n = read(fd, line, sizeof(line));
        if (n > 0 && memmem(line, (size_t)n, wanted, strlen(wanted)) != NULL)
            found = (pid_t)strtol(entry->d_name, NULL, 10);
        close(fd);
    }
    closedir(proc);
    return found;
}

static void
must_be_without_swtpm(const struct process *process)
{
    for (unsigned waited = 0; find_swtpm(process) != 0; waited += 5) {
        if (waited > PATIENCE_MS)
            fail_msg("swtpm is left behind");
        (void)poll(NULL, 0, 5);
    }
}

/* A number from /proc/PID/status, as after "VmRSS:". */
static long
status_number(pid_t pid, const char *name)
{
    char path[64], text[8192], *at;
    ssize_t n;
    int fd;

    (void)snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    n = read(fd, text, sizeof(text) - 1);
    close(fd);
    assert_true(n > 0);
    text[n] = '\0';
    at = strstr(text, name);
    assert_non_null(at);
    return strtol(at + strlen(name), NULL, 10);
}

/* ---- the wire ---- */

static uint32_t
ask(struct process *process, struct hsm_request request)
{
    struct ath_buf frame = {0};
    uint32_t id = ++process->last_id;

    request.id = id;
    hsm_request_encode(&request, &frame);
    assert_int_equal(fd_write_all(process->fd, ath_buf_slice(&frame)), ATH_OK);
    ath_buf_done(&frame);
    return id;
}

static struct hsm_response
take(struct process *process, uint32_t id)
{
    struct hsm_response response;
    struct ath_slice content;
    size_t total = 0;

    for (;;) {
        uint8_t *room;
        ssize_t n;

        assert_int_equal(hsm_frame_peek(ath_buf_slice(&process->in), &content, &total), ATH_OK);
        if (total > 0)
            break;
        assert_non_null(room = ath_buf_reserve(&process->in, 4096));
        n = read(process->fd, room, 4096);
        assert_true(n > 0);
        process->in.len += (size_t)n;
    }
    ath_buf_clear(&process->frame);
    ath_buf_put_slice(&process->frame, content);
    ath_buf_consume(&process->in, total);
    assert_int_equal(hsm_response_decode(ath_buf_slice(&process->frame), &response), ATH_OK);
    assert_int_equal(response.id, id);
    return response;
}

static struct hsm_response
call(struct process *process, struct hsm_request request, ath_err err)
{
    struct hsm_response response = take(process, ask(process, request));

    if (response.err != err)
        fail_msg("%s: %.*s", ath_err_reason(response.err), (int)response.sentence.len,
                 (const char *)response.sentence.data);
    return response;
}

static void
greet(struct process *process)
{
    (void)call(process, (struct hsm_request){.op = HSM_OP_INFO, .version = HSM_WIRE_VERSION},
               ATH_OK);
}

static void
create(struct process *process, enum key_algorithm algorithm, struct ath_buf *blob)
{
    struct hsm_response response = call(process,
                                        (struct hsm_request){.op = HSM_OP_KEY_CREATE,
                                                             .algorithm = (uint8_t)algorithm,
                                                             .name = ath_slice_of_string("test")},
                                        ATH_OK);

    ath_buf_clear(blob);
    ath_buf_put_slice(blob, response.blob);
}

static struct public_key *
open_key(struct process *process, uint32_t number, const struct ath_buf *blob)
{
    struct hsm_response response = call(
        process,
        (struct hsm_request){.op = HSM_OP_KEY_OPEN, .key = number, .data = ath_buf_slice(blob)},
        ATH_OK);
    struct public_key *key = NULL;

    assert_int_equal(public_key_from_der(response.public_der, NULL, &key), ATH_OK);
    return key;
}

static struct hsm_request
sign_request(uint32_t number, const char *message)
{
    return (struct hsm_request){
        .op = HSM_OP_SIGN, .key = number, .data = ath_slice_of_string(message)};
}

static void
must_sign(struct process *process, uint32_t number, const struct public_key *key)
{
    struct hsm_response response = call(process, sign_request(number, "a message"), ATH_OK);

    assert_int_equal(public_key_verify(key, ath_slice_of_string("a message"), response.data),
                     ATH_OK);
}

/* ---- fixtures ---- */

static int
setup(void **state)
{
    struct process *process = calloc(1, sizeof(*process));
    char path[80];

    assert_non_null(process);
    assert_int_equal(crypto_init(), ATH_OK);
    (void)snprintf(process->dir, sizeof(process->dir), "/tmp/ath-test-helper-XXXXXX");
    assert_non_null(mkdtemp(process->dir));
    (void)snprintf(path, sizeof(path), "%s/swtpm", process->dir); /* no set-up then */
    assert_int_equal(mkdir(path, 0700), 0);
    start(process);
    *state = process;
    return 0;
}

static int
remove_entry(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
    (void)status;
    (void)type;
    (void)ftw;
    return remove(path);
}

static int
teardown(void **state)
{
    struct process *process = *state;

    if (process->fd >= 0)
        (void)finish(process);
    must_be_without_swtpm(process);
    (void)nftw(process->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    ath_buf_done(&process->in);
    ath_buf_done(&process->frame);
    free(process);
    return 0;
}

/* ---- tests ---- */

static void
test_both_algorithms_sign_through_the_process(void **state)
{
    static const enum key_algorithm algorithms[] = {KEY_ES256, KEY_ES384};
    struct process *process = *state;
    struct ath_buf blob = {0};
    struct hsm_response response;

    greet(process);
    for (uint32_t i = 0; i < 2; i++) {
        struct public_key *key;

        create(process, algorithms[i], &blob);
        key = open_key(process, i, &blob);
        must_sign(process, i, key);
        response = call(process, sign_request(i, "x"), ATH_OK);
        assert_true(response.hardware_us > 0);
        public_key_free(key);
    }
    (void)call(process, sign_request(2, "x"), ATH_ERR_KEY_NOT_FOUND);
    response = call(process, (struct hsm_request){.op = HSM_OP_RANDOM, .count = 64}, ATH_OK);
    assert_int_equal(response.data.len, 64);
    ath_buf_done(&blob);
}

static void
test_pipelined_requests_are_answered_in_order(void **state)
{
    enum { DEPTH = 64 };
    struct process *process = *state;
    struct ath_buf blob = {0};
    struct public_key *key;
    uint32_t ids[DEPTH];

    greet(process);
    create(process, KEY_ES256, &blob);
    key = open_key(process, 1, &blob);
    for (size_t i = 0; i < DEPTH; i++)
        ids[i] = ask(process, sign_request(1, "a message"));
    for (size_t i = 0; i < DEPTH; i++) {
        struct hsm_response response = take(process, ids[i]);

        assert_int_equal(response.err, ATH_OK);
        assert_int_equal(public_key_verify(key, ath_slice_of_string("a message"), response.data),
                         ATH_OK);
    }
    public_key_free(key);
    ath_buf_done(&blob);
}

static void
test_large_message_is_signed(void **state)
{
    static uint8_t bytes[HSM_WIRE_MAX_MESSAGE];
    struct process *process = *state;
    struct ath_buf blob = {0};
    struct public_key *key;
    struct hsm_response response;

    greet(process);
    create(process, KEY_ES256, &blob);
    key = open_key(process, 1, &blob);
    response = call(process,
                    (struct hsm_request){
                        .op = HSM_OP_SIGN, .key = 1, .data = ath_slice_of(bytes, sizeof(bytes))},
                    ATH_OK);
    assert_int_equal(public_key_verify(key, ath_slice_of(bytes, sizeof(bytes)), response.data),
                     ATH_OK);
    public_key_free(key);
    ath_buf_done(&blob);
}

static void
test_end_of_file_ends_helper_and_swtpm_cleanly(void **state)
{
    struct process *process = *state;

    greet(process);
    assert_true(find_swtpm(process) > 0);
    assert_int_equal(finish(process), 0);
    must_be_without_swtpm(process);
}

static void
test_end_of_file_before_anything_is_fine(void **state)
{
    assert_int_equal(finish(*state), 0);
}

static void
test_killed_tpm_ends_the_helper_and_a_fresh_one_signs_with_the_old_blob(void **state)
{
    struct process *process = *state;
    struct ath_buf blob = {0};
    struct public_key *key;
    int status;

    greet(process);
    create(process, KEY_ES256, &blob);
    key = open_key(process, 1, &blob);
    must_sign(process, 1, key);
    assert_int_equal(kill(find_swtpm(process), SIGKILL), 0);
    (void)call(process, sign_request(1, "a message"), ATH_ERR_HSM_UNAVAILABLE);
    status = wait_status(process->pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), EXIT_UNAVAILABLE);
    fd_close(&process->fd);
    public_key_free(key);

    start(process);
    greet(process);
    key = open_key(process, 1, &blob);
    must_sign(process, 1, key);
    public_key_free(key);
    ath_buf_done(&blob);
}

static void
test_killed_helper_takes_its_swtpm_along(void **state)
{
    struct process *process = *state;

    greet(process);
    assert_true(find_swtpm(process) > 0);
    assert_int_equal(kill(process->pid, SIGKILL), 0);
    (void)wait_status(process->pid);
    must_be_without_swtpm(process);
    fd_close(&process->fd);
}

static void
test_helper_can_be_started_again_at_once_after_a_kill(void **state)
{
    struct process *process = *state;

    for (int i = 0; i < 20; i++) {
        greet(process);
        assert_int_equal(kill(process->pid, SIGKILL), 0);
        assert_int_equal(waitpid(process->pid, NULL, 0), process->pid);
        fd_close(&process->fd);
        start(process);
    }
    greet(process);
}

static void
test_terminal_and_service_signals_are_left_to_athd(void **state)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP};
    struct process *process = *state;

    greet(process);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(kill(process->pid, signals[i]), 0);
    (void)call(process, (struct hsm_request){.op = HSM_OP_RANDOM, .count = 8}, ATH_OK);
    assert_int_equal(finish(process), 0);
}

static void
test_garbage_ends_the_helper(void **state)
{
    struct process *process = *state;
    int status;

    greet(process);
    assert_int_equal(fd_write_all(process->fd, ath_slice_of("\xff\xff\xff\xff", 4)), ATH_OK);
    status = wait_status(process->pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) != 0);
    fd_close(&process->fd);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define UNDER_SANITIZER true
#else
#define UNDER_SANITIZER false
#endif

static void
test_helper_is_small_and_in_its_sandbox(void **state)
{
    struct process *process = *state;
    struct ath_buf blob = {0};
    struct public_key *key;

    if (UNDER_SANITIZER)
        skip_because("sanitizers have their own memory");
    greet(process);
    create(process, KEY_ES256, &blob);
    key = open_key(process, 1, &blob);
    for (int i = 0; i < 100; i++)
        must_sign(process, 1, key);
    assert_true(status_number(process->pid, "VmRSS:") < 12 * 1024);
    assert_int_equal(status_number(process->pid, "Seccomp:"), 2);
    assert_int_equal(status_number(process->pid, "NoNewPrivs:"), 1);
    public_key_free(key);
    ath_buf_done(&blob);
}

static void
test_wrong_usage_is_64(void **state)
{
    static const char *const commands[] = {
        TEST_BIN_DIR "/ath-hsm-helper </dev/null 2>/dev/null",
        TEST_BIN_DIR "/ath-hsm-helper --uri swtpm: --state-dir x </dev/null 2>/dev/null",
        TEST_BIN_DIR "/ath-hsm-helper --uri what: --state-dir /tmp </dev/null 2>/dev/null",
        TEST_BIN_DIR "/ath-hsm-helper --uri swtpm: --state-dir /tmp more </dev/null 2>/dev/null",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        assert_int_equal(WEXITSTATUS(system(commands[i])), 64);
    assert_int_equal(system(TEST_BIN_DIR "/ath-hsm-helper --version >/dev/null"), 0);
    assert_int_equal(system(TEST_BIN_DIR "/ath-hsm-helper --help >/dev/null"), 0);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_both_algorithms_sign_through_the_process),
        TEST(test_pipelined_requests_are_answered_in_order),
        TEST(test_large_message_is_signed),
        TEST(test_end_of_file_ends_helper_and_swtpm_cleanly),
        TEST(test_end_of_file_before_anything_is_fine),
        TEST(test_killed_tpm_ends_the_helper_and_a_fresh_one_signs_with_the_old_blob),
        TEST(test_killed_helper_takes_its_swtpm_along),
        TEST(test_helper_can_be_started_again_at_once_after_a_kill),
        TEST(test_terminal_and_service_signals_are_left_to_athd),
        TEST(test_garbage_ends_the_helper),
        TEST(test_helper_is_small_and_in_its_sandbox),
        cmocka_unit_test(test_wrong_usage_is_64),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
