/* Three ways to the same SoftHSM token, measured in turns: the raw Cryptoki loop, athd through its
 * socket (audit record, verification and all), ssh-agent through its own. */
#include "ath_bench.h"

enum way { RAW, ATHD, SSH };

enum {
    RAW_1,
    RAW_2,
    RAW_1_VERIFIED,
    RAW_2_VERIFIED,
    ATHD_DEPTH_1,
    ATHD_DEPTH_8,
    ATHD_DEPTH_64,
    ATHD_CLIENTS_4,
    SSH_DEPTH_1,
    SSH_DEPTH_8,
    SSH_CLIENTS_4,
    CASES
};

static const struct peer_case {
    const char *name;
    enum way way;
    unsigned threads; /* RAW: threads; else connections */
    unsigned depth;   /* requests in flight on each connection */
    bool verified;    /* RAW: the signatures are looked at */
} cases[CASES] = {
    [RAW_1] = {"raw_1", RAW, 1, 0, false},
    [RAW_2] = {"raw_2", RAW, 2, 0, false},
    [RAW_1_VERIFIED] = {"raw_1_verified", RAW, 1, 0, true},
    [RAW_2_VERIFIED] = {"raw_2_verified", RAW, 2, 0, true},
    [ATHD_DEPTH_1] = {"athd_depth_1", ATHD, 1, 1, true},
    [ATHD_DEPTH_8] = {"athd_depth_8", ATHD, 1, 8, true},
    [ATHD_DEPTH_64] = {"athd_depth_64", ATHD, 1, 64, true},
    [ATHD_CLIENTS_4] = {"athd_clients_4", ATHD, 4, 1, true},
    [SSH_DEPTH_1] = {"ssh_agent_depth_1", SSH, 1, 1, false},
    [SSH_DEPTH_8] = {"ssh_agent_depth_8", SSH, 1, 8, false},
    [SSH_CLIENTS_4] = {"ssh_agent_clients_4", SSH, 4, 1, false},
};

/* Each round's quotient; the median of them is told. */
static const struct {
    const char *name, *text;
    int of, by;
} ratios[] = {
    {"ratio_raw_2", "athd, depth 8, of the bare raw loop, 2 threads", ATHD_DEPTH_8, RAW_2},
    {"ratio_raw_2_verified", "the same, of the loop that verifies each one by OpenSSL",
     ATHD_DEPTH_8, RAW_2_VERIFIED},
    {"ratio_ssh_agent_depth_1", "times ssh-agent, depth 1", ATHD_DEPTH_1, SSH_DEPTH_1},
    {"ratio_ssh_agent_depth_8", "times ssh-agent, depth 8", ATHD_DEPTH_8, SSH_DEPTH_8},
    {"ratio_ssh_agent_clients_4", "times ssh-agent, 4 clients", ATHD_CLIENTS_4, SSH_CLIENTS_4},
};

#define RATIOS (sizeof(ratios) / sizeof(ratios[0]))

struct peers {
    struct bench_token token;
    struct bench_agent agent;
    struct bench_ssh ssh;
    struct ath_buf line;
    bool has_ssh;
    struct bench_run runs[CASES][BENCH_ROUNDS_MAX];
    unsigned rounds; /* complete ones */
};

static ath_err
measure(struct peers *peers, const struct peer_case *one, double seconds, struct why *why,
        struct bench_run *ret_run)
{
    const struct bench_raw raw = {one->threads, seconds,
                                  one->verified ? peers->token.public_key : NULL};
    const struct bench_load load = {.socket =
                                        one->way == SSH ? peers->ssh.socket : peers->agent.socket,
                                    .clients = one->threads,
                                    .depth = one->depth,
                                    .lines = one->way == SSH ? &peers->ssh.request : &peers->line,
                                    .line_count = 1,
                                    .is_ssh = one->way == SSH,
                                    .seconds = seconds};

    return one->way == RAW ? bench_token_run(&peers->token, &raw, why, ret_run)
                           : bench_load_run(&load, why, ret_run);
}

static bool
is_measured(const struct peers *peers, int one)
{
    return cases[one].way != SSH || peers->has_ssh;
}

static ath_err
measure_rounds(struct peers *peers, const struct bench_options *options, struct why *why)
{
    ath_err err;

    while (peers->rounds < options->rounds) {
        for (int i = 0; i < CASES; i++) {
            if (bench_interrupted)
                return ATH_OK;
            if (is_measured(peers, i) && (err = measure(peers, &cases[i], options->seconds, why,
                                                        &peers->runs[i][peers->rounds])) != ATH_OK)
                return err;
        }
        peers->rounds++;
    }
    return ATH_OK;
}

static double
ratio_of(const struct peers *peers, int of, int by)
{
    double values[BENCH_ROUNDS_MAX];

    for (unsigned i = 0; i < peers->rounds; i++)
        values[i] =
            peers->runs[by][i].rate > 0 ? peers->runs[of][i].rate / peers->runs[by][i].rate : 0;
    return bench_median(values, peers->rounds);
}

static void
report_all(const struct peers *peers, struct bench_report *report)
{
    bench_report_section(
        report, "peers",
        "signatures with one SoftHSM token: in the process, by athd, by ssh-agent");
    for (int i = 0; i < CASES; i++) {
        struct bench_run median = bench_run_median(peers->runs[i], peers->rounds);

        if (is_measured(peers, i))
            bench_report_run(report, cases[i].name, &median);
    }
    for (size_t i = 0; i < RATIOS; i++)
        if (is_measured(peers, ratios[i].by))
            bench_report_value(report, ratios[i].name, ratio_of(peers, ratios[i].of, ratios[i].by),
                               3, ratios[i].text);
    if (!peers->has_ssh)
        bench_report_text(report, "ssh_agent", "not installed, not measured (openssh-client)");
}

static ath_err
start_all(struct peers *peers, struct why *why)
{
    struct ath_buf answer = {0};
    ath_err err;

    if ((err = bench_token_make(&peers->token, why)) != ATH_OK)
        return err;
    peers->agent.token = &peers->token;
    if ((err = bench_agent_start(&peers->agent, why)) != ATH_OK)
        return err;
    err =
        bench_call(peers->agent.socket, "key.create",
                   "{\"name\":\"k\",\"role\":\"client\",\"agent_id\":\"https://bench.example/a\"}",
                   &answer, why);
    ath_buf_done(&answer);
    if (err != ATH_OK)
        return err;
    peers->has_ssh = bench_ssh_is_installed();
    return peers->has_ssh ? bench_ssh_start(&peers->ssh, &peers->token, why) : ATH_OK;
}

ath_err
bench_peers(const struct bench_options *options, struct bench_report *report, struct why *why)
{
    static struct peers peers; /* one a run; too large for a stack */
    ath_err err;

    ath_buf_put_string(&peers.line,
                       "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"attestation.create\",\"params\":"
                       "{\"key\":\"k\",\"audience\":\"https://api.example.com/ath/token\"}}\n");
    if ((err = peers.line.err) != ATH_OK || (err = start_all(&peers, why)) != ATH_OK ||
        (err = measure_rounds(&peers, options, why)) != ATH_OK)
        goto out;
    if (peers.rounds)
        report_all(&peers, report);
out:
    ath_buf_done(&peers.line);
    bench_ssh_stop(&peers.ssh);
    bench_agent_done(&peers.agent);
    bench_token_done(&peers.token);
    return err;
}
