/* A long audit log: a proof of one record by athd's socket, the verification of all, athd's memory.
 * The log is written before athd starts, as one that ran for long would have left it. */
#include "ath_bench.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"

#define RECORDS 1000000u
#define RECORDS_A_SEGMENT 150000u /* about 64 MiB, as athd has it */
#define RECORDS_A_WRITE 1000u
#define PROOFS 512u

static ath_err
fail(struct why *why, const char *what)
{
    return why_set(why, ATH_ERR_IO, "%s: %s", what, strerror(errno));
}

/* A record as athd writes one of an attestation, 420 bytes. */
static void
put_record(struct ath_buf *text, unsigned index)
{
    ath_buf_printf(
        text,
        "{\"index\":%u,\"timestamp\":\"2026-01-02T03:04:05.678Z\",\"event\":\"attestation_issued\","
        "\"caller\":{\"uid\":1000,\"pid\":%u,\"start_ticks\":123456,\"exe\":\"/usr/bin/node\"},"
        "\"rule\":\"owner\",\"duration_us\":870,\"jti\":\"%022u\",\"audience\":"
        "[\"https://api.example.com\"],\"expires_at\":1767323345,\"key\":\"bot\",\"jkt\":"
        "\"8Ux2cVfT1Hj9l0mYp0dVQ9sYv0oN1vYJ3d1aXg4Tq0c\",\"purpose\":\"attestation\",\"sha256\":"
        "\"%043u\"}\n",
        index, index % 30000 + 1, index, index);
}

static ath_err
write_segment(const char *dir, unsigned number, unsigned first, unsigned count, struct why *why)
{
    struct ath_buf text = {.max = RECORDS_A_WRITE * 1024u};
    char path[BENCH_PATH_MAX + 64];
    ath_err err = ATH_OK;
    int fd;

    snprintf(path, sizeof(path), "%s/state/audit/%08u.jsonl", dir, number);
    if ((fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)) < 0)
        return fail(why, path);
    for (unsigned i = 0; i < count && err == ATH_OK && !bench_interrupted; i++) {
        put_record(&text, first + i);
        if ((i + 1) % RECORDS_A_WRITE != 0 && i + 1 < count)
            continue;
        err = text.err != ATH_OK ? text.err : fd_write_all(fd, ath_buf_slice(&text));
        ath_buf_clear(&text);
    }
    ath_buf_done(&text);
    fd_close(&fd);
    return err != ATH_OK ? fail(why, path) : ATH_OK;
}

static ath_err
write_log(const char *dir, struct why *why)
{
    static const char *const below[] = {"state", "state/audit"};
    char path[BENCH_PATH_MAX + 32];
    ath_err err = ATH_OK;

    for (size_t i = 0; i < sizeof(below) / sizeof(below[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, below[i]);
        if (mkdir(path, 0700) != 0)
            return fail(why, path);
    }
    for (unsigned first = 0, number = 1; first < RECORDS && err == ATH_OK && !bench_interrupted;
         first += RECORDS_A_SEGMENT, number++) {
        unsigned left = RECORDS - first;

        err = write_segment(dir, number, first, left < RECORDS_A_SEGMENT ? left : RECORDS_A_SEGMENT,
                            why);
    }
    return err;
}

/* One after the other, of records all over the log. */
static ath_err
measure_proofs(const struct bench_options *options, const struct bench_agent *agent,
               struct bench_report *report, struct why *why)
{
    struct ath_buf *lines = calloc(PROOFS, sizeof(*lines));
    struct bench_load load = {.socket = agent->socket,
                              .clients = 1,
                              .depth = 1,
                              .lines = lines,
                              .line_count = PROOFS,
                              .seconds = options->seconds};
    struct bench_run runs[BENCH_ROUNDS_MAX], median;
    ath_err err = ATH_OK;

    if (lines == NULL)
        return ATH_ERR_NOMEM;
    for (unsigned i = 0; i < PROOFS; i++) {
        ath_buf_printf(&lines[i],
                       "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"audit.proof\",\"params\":"
                       "{\"index\":%u}}\n",
                       (unsigned)((uint64_t)i * 982451653u % RECORDS));
        if (lines[i].err != ATH_OK)
            err = lines[i].err;
    }
    for (unsigned i = 0; i < options->rounds && err == ATH_OK; i++)
        err = bench_load_run(&load, why, &runs[i]);
    if (err == ATH_OK) {
        median = bench_run_median(runs, options->rounds);
        bench_report_run(report, "proof", &median);
    }
    for (unsigned i = 0; i < PROOFS; i++)
        ath_buf_done(&lines[i]);
    free(lines);
    return err;
}

/* `ath audit verify`, which lies beside this program, in a process of its own. */
static ath_err
measure_verify(const struct bench_agent *agent, struct bench_report *report, struct why *why)
{
    char program[4096], state[BENCH_PATH_MAX + 16], *slash;
    ssize_t len = readlink("/proc/self/exe", program, sizeof(program) - 16);
    uint64_t began_us = clock_monotonic_us();
    int status = 0;
    pid_t pid;

    program[len > 0 ? len : 0] = '\0';
    if ((slash = strrchr(program, '/')) == NULL)
        return ATH_ERR_IO;
    memcpy(slash, "/ath", sizeof("/ath"));
    snprintf(state, sizeof(state), "%s/state", agent->dir);
    if ((pid = fork()) == 0) {
        int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

        if (null < 0 || dup2(null, STDOUT_FILENO) < 0 || dup2(null, STDERR_FILENO) < 0)
            _exit(127);
        execl(program, "ath", "audit", "verify", "--state-dir", state, (char *)NULL);
        _exit(127);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return fail(why, program);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return why_set(why, ATH_ERR_IO, "ath audit verify ended with %d", WEXITSTATUS(status));
    bench_report_value(report, "verify_s", (double)(clock_monotonic_us() - began_us) / 1e6, 2,
                       "s for `ath audit verify` of all");
    return ATH_OK;
}

ath_err
bench_audit(const struct bench_options *options, struct bench_report *report, struct why *why)
{
    struct bench_agent agent = {0};
    struct ath_buf answer = {0};
    ath_err err;

    if ((err = bench_dir_make(agent.dir, why)) != ATH_OK ||
        (err = write_log(agent.dir, why)) != ATH_OK ||
        (err = bench_agent_start(&agent, why)) != ATH_OK ||
        (err = bench_call(agent.socket, "audit.checkpoint", "{}", &answer, why)) != ATH_OK)
        goto out;
    bench_report_section(report, "audit", "a log of one million records");
    bench_report_value(report, "ready_ms", agent.ready_ms, 1, "ms from start to ready");
    if ((err = measure_proofs(options, &agent, report, why)) != ATH_OK)
        goto out;
    bench_report_value(report, "athd_mib", bench_rss_mib(agent.pid), 2, "MiB, athd's memory");
    bench_agent_stop(&agent);
    err = measure_verify(&agent, report, why);
out:
    ath_buf_done(&answer);
    bench_agent_done(&agent);
    return err;
}
