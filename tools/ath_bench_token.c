/* A SoftHSM token of our own: in a temporary directory, with a PIN that is thrown away with it. The
 * module is only loaded in children, which find the directory by SOFTHSM2_CONF; this process
 * stays free of it and of its environment. */
#include "ath_bench.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "crypto/digest.h"
#include "crypto/random.h"

#define LABEL "ath-bench"

/* Where systems keep it. */
static const char *const modules[] = {
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
};

/* What a child brings back. */
struct answer {
    ath_err err;
    struct why why;
    struct bench_run run;
    uint8_t der[128];
    size_t der_len;
};

/* What a child is to do. */
struct order {
    const struct bench_token *token;
    const struct bench_raw *raw; /* NULL: make token and key */
};

/* ---- in the child ---- */

static ath_err
make_token_and_key(const struct bench_token *token, struct answer *answer)
{
    struct bench_module *module = NULL;
    struct ath_buf der = {.max = sizeof(answer->der)};
    ath_err err;

    if ((err = bench_module_open(token->module, &answer->why, &module)) != ATH_OK ||
        (err = bench_module_make_token(module, LABEL, token->pin, &answer->why)) != ATH_OK)
        goto out;
    bench_module_close(module); /* SoftHSM renumbers the slot of a new token */
    module = NULL;
    if ((err = bench_module_open(token->module, &answer->why, &module)) != ATH_OK ||
        (err = bench_module_make_key(module, token->pin, &answer->why, &der)) != ATH_OK)
        goto out;
    memcpy(answer->der, der.data, der.len);
    answer->der_len = der.len;
out:
    bench_module_close(module);
    ath_buf_done(&der);
    return err;
}

static ath_err
run_loop(const struct order *order, struct answer *answer)
{
    struct bench_module *module = NULL;
    ath_err err;

    if ((err = bench_module_open(order->token->module, &answer->why, &module)) == ATH_OK)
        err = bench_module_run(module, order->raw, order->token->pin, &answer->why, &answer->run);
    bench_module_close(module);
    return err;
}

static void
run_child(const struct order *order, int out_fd, pid_t parent)
{
    struct answer answer = {0};

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    bench_token_environment(order->token);
    answer.err = order->raw ? run_loop(order, &answer) : make_token_and_key(order->token, &answer);
    _exit(fd_write_all(out_fd, ath_slice_of(&answer, sizeof(answer))) == ATH_OK ? 0 : 1);
}

/* ---- on our side ---- */

static ath_err
in_child(const struct order *order, struct why *why, struct answer *ret_answer)
{
    const pid_t parent = getpid();
    int fds[2];
    pid_t pid;
    ath_err err;

    if (pipe2(fds, O_CLOEXEC) != 0)
        return ATH_ERR_IO;
    if ((pid = fork()) == 0)
        run_child(order, fds[1], parent);
    fd_close(&fds[1]);
    err = pid < 0 ? ATH_ERR_IO : fd_read_exact(fds[0], ret_answer, sizeof(*ret_answer));
    fd_close(&fds[0]);
    if (pid > 0)
        waitpid(pid, NULL, 0);
    if (err != ATH_OK)
        return why_set(why, ATH_ERR_HSM_ERROR, "the token's module ended the process it was in");
    if (ret_answer->err != ATH_OK)
        *why = ret_answer->why;
    return ret_answer->err;
}

static ath_err
write_file(const char *path, struct ath_slice content)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    ath_err err;

    if (fd < 0)
        return ATH_ERR_IO;
    err = fd_write_all(fd, content);
    fd_close(&fd);
    return err;
}

static ath_err
write_files(const struct bench_token *token)
{
    struct ath_buf conf = {0};
    char path[BENCH_PATH_MAX + 16];
    ath_err err;

    snprintf(path, sizeof(path), "%s/tokens", token->dir);
    if (mkdir(path, 0700) != 0)
        return ATH_ERR_IO;
    ath_buf_printf(
        &conf, "directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n", path);
    snprintf(path, sizeof(path), "%s/conf", token->dir);
    if ((err = conf.err) == ATH_OK)
        err = write_file(path, ath_buf_slice(&conf));
    ath_buf_done(&conf);
    if (err != ATH_OK)
        return err;
    snprintf(path, sizeof(path), "%s/pin", token->dir);
    return write_file(path, ath_slice_of_string(token->pin));
}

static ath_err
find_module(struct why *why, const char **ret_path)
{
    for (size_t i = 0; i < sizeof(modules) / sizeof(modules[0]); i++)
        if (access(modules[i], R_OK) == 0) {
            *ret_path = modules[i];
            return ATH_OK;
        }
    return why_set(why, ATH_ERR_HSM_UNAVAILABLE,
                   "SoftHSM is not installed, so there is no token to measure with: install "
                   "softhsm2");
}

ath_err
bench_token_make(struct bench_token *token, struct why *why)
{
    const struct order order = {.token = token};
    struct answer answer = {0};
    ath_err err;

    if ((err = find_module(why, &token->module)) != ATH_OK ||
        (err = bench_dir_make(token->dir, why)) != ATH_OK ||
        (err = random_base64url(12, token->pin)) != ATH_OK ||
        (err = write_files(token)) != ATH_OK || (err = in_child(&order, why, &answer)) != ATH_OK)
        return err;
    snprintf(token->uri, sizeof(token->uri),
             "pkcs11:token=" LABEL "?module-path=%s&pin-source=file:%s/pin", token->module,
             token->dir);
    return public_key_from_der(ath_slice_of(answer.der, answer.der_len), why, &token->public_key);
}

void
bench_token_done(struct bench_token *token)
{
    public_key_free(token->public_key);
    token->public_key = NULL;
    bench_dir_remove(token->dir);
    explicit_bzero(token->pin, sizeof(token->pin));
}

void
bench_token_environment(const struct bench_token *token)
{
    char path[BENCH_PATH_MAX + 16];

    snprintf(path, sizeof(path), "%s/conf", token->dir);
    setenv("SOFTHSM2_CONF", path, 1);
}

ath_err
bench_token_run(const struct bench_token *token, const struct bench_raw *raw, struct why *why,
                struct bench_run *ret_run)
{
    const struct order order = {.token = token, .raw = raw};
    struct answer answer = {0};
    ath_err err = in_child(&order, why, &answer);

    if (err == ATH_OK)
        *ret_run = answer.run;
    return err;
}
