/* Signatures: the library's loop against athd's socket, in turns (A B A B ...), so that a machine
 * that becomes slower or faster meanwhile does so for both. */
#include "ath_bench.h"

#include <string.h>

#define KEYS 200 /* more than a TPM has slots */

static const struct signing_case {
    const char *name, *ratio_name;
    unsigned clients, depth; /* clients 0: the library, overlapped */
} cases[] = {
    {"depth_1", "ratio_depth_1", 1, 1},        {"depth_8", "ratio_depth_8", 1, 8},
    {"depth_64", "ratio_depth_64", 1, 64},     {"clients_4", "ratio_clients_4", 4, 1},
    {"clients_16", "ratio_clients_16", 16, 1}, {"library_overlapped", "ratio_overlapped", 0, 0},
};

#define CASES (sizeof(cases) / sizeof(cases[0]))

static ath_err
create_key(const struct bench_agent *agent, unsigned number, struct why *why)
{
    struct ath_buf answer = {0};
    char params[256];
    ath_err err;

    snprintf(
        params, sizeof(params),
        "{\"name\":\"k%u\",\"role\":\"client\",\"agent_id\":\"https://bench.example/%u.json\"}",
        number, number);
    err = bench_call(agent->socket, "key.create", params, &answer, why);
    ath_buf_done(&answer);
    return err;
}

static ath_err
request_line(unsigned key, struct ath_buf *line)
{
    ath_buf_printf(line,
                   "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"attestation.create\",\"params\":"
                   "{\"key\":\"k%u\",\"audience\":\"https://api.example.com/ath/token\"}}\n",
                   key);
    return line->err;
}

static ath_err
measure_once(struct bench_library *library, const struct bench_load *load, struct why *why,
             struct bench_run *ret_run)
{
    return load->clients ? bench_load_run(load, why, ret_run)
                         : bench_library_run(library, load->seconds, true, why, ret_run);
}

/* One case: rounds of library, then socket. */
static ath_err
measure_case(const struct signing_case *one, const struct bench_options *options,
             struct bench_library *library, struct bench_load *load, struct bench_report *report,
             struct why *why)
{
    struct bench_run raw[BENCH_ROUNDS_MAX], through[BENCH_ROUNDS_MAX], median;
    double ratio[BENCH_ROUNDS_MAX], added[BENCH_ROUNDS_MAX];
    unsigned done = 0;
    ath_err err;

    load->clients = one->clients;
    load->depth = one->depth;
    for (; done < options->rounds && !bench_interrupted; done++) {
        if ((err = bench_library_run(library, options->seconds, false, why, &raw[done])) !=
                ATH_OK ||
            (err = measure_once(library, load, why, &through[done])) != ATH_OK)
            return err;
        ratio[done] = raw[done].rate > 0 ? through[done].rate / raw[done].rate : 0;
        added[done] = through[done].p50_ms - raw[done].p50_ms;
    }
    if (one == &cases[0]) {
        median = bench_run_median(raw, done);
        bench_report_run(report, "library", &median);
    }
    median = bench_run_median(through, done);
    bench_report_run(report, one->name, &median);
    bench_report_value(report, one->ratio_name, bench_median(ratio, done), 3, "of the library");
    if (one->depth == 1 && one->clients == 1)
        bench_report_value(report, "added_p50_ms", bench_median(added, done), 3, "ms");
    return ATH_OK;
}

ath_err
bench_signing(const struct bench_options *options, struct bench_report *report, struct why *why)
{
    struct bench_library *library = NULL;
    struct bench_agent agent = {0};
    struct ath_buf line = {0};
    struct bench_load load = {.lines = &line, .line_count = 1, .seconds = options->seconds};
    char dir[BENCH_PATH_MAX] = "";
    ath_err err;

    if ((err = bench_dir_make(dir, why)) != ATH_OK ||
        (err = bench_library_open(dir, why, &library)) != ATH_OK ||
        (err = bench_agent_start(&agent, why)) != ATH_OK ||
        (err = create_key(&agent, 0, why)) != ATH_OK || (err = request_line(0, &line)) != ATH_OK)
        goto out;
    load.socket = agent.socket;
    bench_report_section(report, "signing",
                         "attestation.create through the socket, against the library");
    for (size_t i = 0; i < CASES && !bench_interrupted; i++)
        if ((err = measure_case(&cases[i], options, library, &load, report, why)) != ATH_OK)
            goto out;
out:
    ath_buf_done(&line);
    bench_agent_done(&agent);
    bench_library_close(library);
    bench_dir_remove(dir);
    return err;
}

/* One key again and again, against many in turn: every signature then needs its key put into a
 * slot. */
static ath_err
measure_reload(const struct bench_options *options, const struct bench_agent *agent,
               const struct ath_buf *lines, struct bench_report *report, struct why *why)
{
    struct bench_run one[BENCH_ROUNDS_MAX], many[BENCH_ROUNDS_MAX], median_one, median_many;
    struct bench_load load = {.socket = agent->socket, .clients = 1, .depth = 1, .lines = lines};
    double ratio[BENCH_ROUNDS_MAX];
    unsigned done = 0;
    ath_err err;

    load.seconds = options->seconds;
    for (; done < options->rounds && !bench_interrupted; done++) {
        load.line_count = 1;
        if ((err = bench_load_run(&load, why, &one[done])) != ATH_OK)
            return err;
        load.line_count = KEYS;
        if ((err = bench_load_run(&load, why, &many[done])) != ATH_OK)
            return err;
        ratio[done] = one[done].rate > 0 ? many[done].rate / one[done].rate : 0;
    }
    median_one = bench_run_median(one, done);
    median_many = bench_run_median(many, done);
    bench_report_section(report, "reload", "200 keys in turn, against one");
    bench_report_run(report, "keys_1", &median_one);
    bench_report_run(report, "keys_200", &median_many);
    bench_report_value(report, "ratio", bench_median(ratio, done), 3, "of one key");
    bench_report_value(report, "reload_ms", median_many.p50_ms - median_one.p50_ms, 3, "ms");
    return ATH_OK;
}

ath_err
bench_reload(const struct bench_options *options, struct bench_report *report, struct why *why)
{
    struct ath_buf lines[KEYS] = {0};
    struct bench_agent agent = {0};
    ath_err err;

    if ((err = bench_agent_start(&agent, why)) != ATH_OK)
        goto out;
    for (unsigned i = 0; i < KEYS && !bench_interrupted; i++)
        if ((err = create_key(&agent, i, why)) != ATH_OK ||
            (err = request_line(i, &lines[i])) != ATH_OK)
            goto out;
    if (!bench_interrupted)
        err = measure_reload(options, &agent, lines, report, why);
out:
    for (unsigned i = 0; i < KEYS; i++)
        ath_buf_done(&lines[i]);
    bench_agent_done(&agent);
    return err;
}
