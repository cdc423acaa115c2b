/* ssh-agent with the same token, spoken to in its own protocol (draft-ietf-sshm-ssh-agent): what
 * else a machine has that signs over a socket with a key of a token. */
#include "ath_bench.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/fd.h"

#define START_TIMEOUT_MS 10000
#define MESSAGE_LEN 400 /* as long as what athd signs */
#define ANSWER_MAX 65536u

enum {
    REQUEST_IDENTITIES = 11,
    IDENTITIES_ANSWER = 12,
    ADD_SMARTCARD_KEY = 20,
    SUCCESS = 6,
};

static void
run_agent(const struct bench_ssh *ssh, const struct bench_token *token, pid_t parent)
{
    char module[PATH_MAX];
    int null;

    prctl(PR_SET_PDEATHSIG, SIGTERM);
    /* it says its socket on standard output, and compares modules by their real path */
    if (getppid() != parent || (null = open("/dev/null", O_WRONLY)) < 0 || dup2(null, 1) < 0 ||
        !realpath(token->module, module))
        _exit(1);
    bench_token_environment(token);
    execlp("ssh-agent", "ssh-agent", "-D", "-a", ssh->socket, "-P", module, (char *)NULL);
    _exit(127);
}

bool
bench_ssh_is_installed(void)
{
    char program[4096];

    for (const char *at = getenv("PATH"); at; at = strchr(at, ':') ? strchr(at, ':') + 1 : NULL) {
        snprintf(program, sizeof(program), "%.*s/ssh-agent", (int)strcspn(at, ":"), at);
        if (access(program, X_OK) == 0)
            return true;
    }
    return false;
}

/* One request, and its answer's content (type first). */
static ath_err
ask(int fd, struct ath_slice request, struct ath_buf *answer)
{
    uint8_t header[4] = {0};
    struct byte_reader reader = byte_reader_of(ath_slice_of(header, sizeof(header)));
    uint8_t *room;
    uint32_t len;
    ath_err err;

    if ((err = fd_write_all(fd, request)) != ATH_OK ||
        (err = fd_read_exact(fd, header, sizeof(header))) != ATH_OK)
        return err;
    if ((len = byte_reader_u32(&reader)) == 0 || len > ANSWER_MAX)
        return ATH_ERR_PARSE;
    ath_buf_clear(answer);
    if (!(room = ath_buf_reserve(answer, len)))
        return answer->err;
    answer->len = len;
    return fd_read_exact(fd, room, len);
}

/* A request of these bytes, framed. */
static ath_err
ask_content(int fd, const struct ath_buf *content, struct ath_buf *answer)
{
    struct ath_buf request = {0};
    ath_err err;

    bytes_put_field(&request, ath_buf_slice(content));
    err = content->err != ATH_OK ? content->err : request.err;
    if (err == ATH_OK)
        err = ask(fd, ath_buf_slice(&request), answer);
    ath_buf_done(&request);
    return err;
}

/* What ssh-add -s does, without a prompt. */
static ath_err
add_token(int fd, const struct bench_token *token, struct why *why)
{
    struct ath_buf content = {0}, answer = {0};
    ath_err err;

    bytes_put_u8(&content, ADD_SMARTCARD_KEY);
    bytes_put_field(&content, ath_slice_of_string(token->module));
    bytes_put_field(&content, ath_slice_of_string(token->pin));
    err = ask_content(fd, &content, &answer);
    if (err != ATH_OK || answer.data[0] != SUCCESS)
        err = why_set(why, ATH_ERR_HSM_ERROR, "ssh-agent does not take the token");
    ath_buf_done(&content);
    ath_buf_done(&answer);
    return err;
}

/* The agent's name for the token's key: the only one it has. */
static ath_err
find_identity(int fd, struct ath_buf *answer, struct why *why, struct ath_slice *ret_blob)
{
    struct ath_buf content = {0};
    struct byte_reader reader;
    ath_err err;

    bytes_put_u8(&content, REQUEST_IDENTITIES);
    err = ask_content(fd, &content, answer);
    ath_buf_done(&content);
    if (err != ATH_OK)
        return err;
    reader = byte_reader_of(ath_buf_slice(answer));
    if (byte_reader_u8(&reader) != IDENTITIES_ANSWER || byte_reader_u32(&reader) == 0)
        return why_set(why, ATH_ERR_HSM_ERROR, "ssh-agent sees no key in the token");
    *ret_blob = byte_reader_field(&reader, ANSWER_MAX);
    return reader.bad ? ATH_ERR_PARSE : ATH_OK;
}

static ath_err
make_sign_request(int fd, struct why *why, struct ath_buf *ret_request)
{
    const uint8_t message[MESSAGE_LEN] = {0};
    struct ath_buf content = {0}, answer = {0};
    struct ath_slice blob;
    ath_err err;

    if ((err = find_identity(fd, &answer, why, &blob)) != ATH_OK)
        goto out;
    bytes_put_u8(&content, BENCH_SSH_SIGN_REQUEST);
    bytes_put_field(&content, blob);
    bytes_put_field(&content, ath_slice_of(message, sizeof(message)));
    bytes_put_u32(&content, 0);
    bytes_put_field(ret_request, ath_buf_slice(&content));
    err = content.err != ATH_OK ? content.err : ret_request->err;
out:
    ath_buf_done(&content);
    ath_buf_done(&answer);
    return err;
}

static ath_err
wait_for(struct bench_ssh *ssh, struct why *why, int *ret_fd)
{
    const uint64_t ends_ms = clock_monotonic_ms() + START_TIMEOUT_MS;

    while (bench_connect(ssh->socket, ret_fd) != ATH_OK) {
        const bool has_ended = waitpid(ssh->pid, NULL, WNOHANG) == ssh->pid;

        if (has_ended)
            ssh->pid = 0;
        if (has_ended || bench_interrupted || clock_monotonic_ms() > ends_ms)
            return why_set(why, ATH_ERR_UNREACHABLE, "ssh-agent does not start");
        poll(NULL, 0, 5);
    }
    return ATH_OK;
}

ath_err
bench_ssh_start(struct bench_ssh *ssh, const struct bench_token *token, struct why *why)
{
    const pid_t parent = getpid();
    int fd = -1;
    ath_err err;

    snprintf(ssh->socket, sizeof(ssh->socket), "%s/ssh", token->dir);
    if ((ssh->pid = fork()) == 0)
        run_agent(ssh, token, parent);
    if (ssh->pid < 0)
        return ATH_ERR_IO;
    if ((err = wait_for(ssh, why, &fd)) != ATH_OK || (err = add_token(fd, token, why)) != ATH_OK)
        goto out;
    err = make_sign_request(fd, why, &ssh->request);
out:
    fd_close(&fd);
    return err;
}

void
bench_ssh_stop(struct bench_ssh *ssh)
{
    if (ssh->pid > 0 && kill(ssh->pid, SIGTERM) == 0)
        waitpid(ssh->pid, NULL, 0);
    ssh->pid = 0;
    ath_buf_done(&ssh->request);
}
