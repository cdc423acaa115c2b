/* What athd costs when it does nothing, and how soon it is there. */
#include "ath_bench.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"

#define CONNECTIONS 1000
#define STARTS 10

static const char hello[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"agent.hello\"}\n";

/* Connects and says hello, so that a connection counts that has been used. */
static ath_err
open_used(const char *path, int *ret_fd)
{
    char answer[8192];
    size_t len = 0;
    ssize_t got;
    ath_err err;

    if ((err = bench_connect(path, ret_fd)) != ATH_OK)
        return err;
    if ((err = fd_write_all(*ret_fd, ath_slice_of(hello, sizeof(hello) - 1))) != ATH_OK)
        return err;
    while (len < sizeof(answer) && (got = read(*ret_fd, answer + len, sizeof(answer) - len)) > 0) {
        len += (size_t)got;
        if (answer[len - 1] == '\n')
            return memmem(answer, len, "\"result\"", 8) ? ATH_OK : ATH_ERR_LIMIT_EXCEEDED;
    }
    return ATH_ERR_UNREACHABLE;
}

static ath_err
measure_connections(const struct bench_agent *agent, struct bench_report *report, struct why *why)
{
    double before = bench_rss_mib(agent->pid), after;
    ath_err err = ATH_OK;
    unsigned opened = 0;
    int *fds;

    if (!(fds = calloc(CONNECTIONS, sizeof(*fds))))
        return ATH_ERR_NOMEM;
    for (; opened < CONNECTIONS && !bench_interrupted; opened++) {
        fds[opened] = -1;
        if ((err = open_used(agent->socket, &fds[opened])) != ATH_OK) {
            why_set(why, err, "connection %u was refused (ulimit -n?)", opened + 1);
            opened++;
            goto out;
        }
    }
    after = bench_rss_mib(agent->pid);
    bench_report_value(report, "connections", opened, 0, "idle");
    bench_report_value(report, "connections_mib", after - before, 2, "MiB more");
out:
    for (unsigned i = 0; i < opened; i++)
        fd_close(&fds[i]);
    free(fds);
    return err;
}

ath_err
bench_idle(const struct bench_options *options, struct bench_report *report, struct why *why)
{
    struct bench_agent agent = {0};
    struct ath_buf answer = {0};
    ath_err err;

    (void)options;
    if ((err = bench_agent_start(&agent, why)) != ATH_OK ||
        (err = bench_call(agent.socket, "key.create", "{\"name\":\"k\",\"role\":\"server\"}",
                          &answer, why)) != ATH_OK)
        goto out;
    poll(NULL, 0, 200);
    bench_report_section(report, "idle",
                         "memory (RSS) of an idle athd, its helper, idle connections");
    bench_report_value(report, "athd_mib", bench_rss_mib(agent.pid), 2, "MiB");
    bench_report_value(report, "helper_mib", bench_child_rss_mib(agent.pid, "ath-hsm-helper"), 2,
                       "MiB");
    err = measure_connections(&agent, report, why);
out:
    ath_buf_done(&answer);
    bench_agent_done(&agent);
    return err;
}

ath_err
bench_start(const struct bench_options *options, struct bench_report *report, struct why *why)
{
    double ready[STARTS], first = 0;
    struct bench_agent agent = {0};
    struct ath_buf answer = {0};
    unsigned done = 0;
    ath_err err;

    (void)options;
    if ((err = bench_agent_start(&agent, why)) != ATH_OK)
        goto out;
    first = agent.ready_ms;
    if ((err = bench_call(agent.socket, "key.create", "{\"name\":\"k\",\"role\":\"server\"}",
                          &answer, why)) != ATH_OK)
        goto out;
    for (; done < STARTS && !bench_interrupted; done++) {
        bench_agent_stop(&agent);
        if ((err = bench_agent_start(&agent, why)) != ATH_OK)
            goto out;
        ready[done] = agent.ready_ms;
    }
    bench_report_section(report, "start", "from start to ready");
    bench_report_value(report, "first_ms", first, 1, "ms, with an empty state directory");
    bench_report_value(report, "ready_ms", bench_median(ready, done), 1,
                       "ms, with an initialised one");
out:
    ath_buf_done(&answer);
    bench_agent_done(&agent);
    return err;
}
