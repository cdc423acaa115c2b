/* ath-bench: what athd costs on this machine. Ratios come from runs in turns (A B A B ...) and are
 * medians, so that they can be compared between machines; absolute figures cannot. */
#include "ath_bench.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "ath/version.h"
#include "base/log.h"

volatile int bench_interrupted;

static const char usage[] =
    "usage: ath-bench [--json] [--seconds N] [--rounds N] [--peers | --only NAME[,NAME]...]\n"
    "Measures athd (the one beside this program) with software TPMs in temporary directories.\n"
    "  --json        machine-readable output\n"
    "  --seconds N   of one measurement; default 0.5\n"
    "  --rounds N    measurements of each side, in turns; default 5, at most 99\n"
    "  --only NAMES  of: signing reload handshake idle start policy prompts audit peers; default:\n"
    "                all but audit and peers\n"
    "  --only policy a decision of the rules: median of samples of 100, with 1 and 1,000 rules\n"
    "  --only audit  a proof by the socket out of a million records, their verification (400 MB in\n"
    "                $TMPDIR)\n"
    "  --peers       --only peers: athd, the raw Cryptoki loop and ssh-agent in turns, all with "
    "one\n"
    "                SoftHSM token (needs softhsm2 and openssh-client). athd verifies each "
    "signature\n"
    "                before it leaves, so like is compared with like where the raw loop does, "
    "too\n";

static const struct measurement {
    const char *name;
    ath_err (*run)(const struct bench_options *options, struct bench_report *report,
                   struct why *why);
} measurements[] = {
    {"signing", bench_signing}, {"reload", bench_reload}, {"handshake", bench_handshake},
    {"idle", bench_idle},       {"start", bench_start},   {"policy", bench_policy},
    {"prompts", bench_prompts}, {"audit", bench_audit},   {"peers", bench_peers},
};

#define MEASUREMENTS (sizeof(measurements) / sizeof(measurements[0]))

static const char by_default[] = "signing,reload,handshake,idle,start,policy,prompts";

static void
on_signal(int number)
{
    (void)number;
    bench_interrupted = 1;
}

/* Is name one of the words of the list? */
static bool
is_listed(const char *list, const char *name, size_t len)
{
    for (const char *at = list; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
        if (strcspn(at, ",") == len && strncmp(at, name, len) == 0)
            return true;
    return false;
}

static bool
is_known(const char *only)
{
    for (const char *at = only; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
        bool found = false;

        for (size_t i = 0; i < MEASUREMENTS && !found; i++)
            found = is_listed(measurements[i].name, at, strcspn(at, ","));
        if (!found)
            return false;
    }
    return true;
}

static bool
read_number(const char *text, double least, double most, double *ret_value)
{
    char *end;
    double value;

    if (!text)
        return false;
    errno = 0;
    value = strtod(text, &end);
    if (errno || end == text || *end || !(value >= least && value <= most))
        return false;
    *ret_value = value;
    return true;
}

static bool
read_options(int argc, char **argv, struct bench_options *options)
{
    double rounds = 5;

    *options = (struct bench_options){.seconds = 0.5, .only = by_default};
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;

        if (strcmp(argv[i], "--json") == 0)
            options->json = true;
        else if (strcmp(argv[i], "--peers") == 0)
            options->only = "peers";
        else if (strcmp(argv[i], "--seconds") == 0 &&
                 read_number(value, 0.01, 3600, &options->seconds))
            i++;
        else if (strcmp(argv[i], "--rounds") == 0 &&
                 read_number(value, 1, BENCH_ROUNDS_MAX, &rounds))
            i++;
        else if (strcmp(argv[i], "--only") == 0 && value && is_known(value))
            options->only = argv[++i];
        else
            return false;
    }
    options->rounds = (unsigned)rounds;
    return true;
}

/* 1,000 connections need as many descriptors, here and in athd, which inherits the limit. */
static void
raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < 4096) {
        limit.rlim_cur = limit.rlim_max < 4096 ? limit.rlim_max : 4096;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int
run(const struct bench_options *options)
{
    struct bench_report report;
    struct why why = {0};
    ath_err err = ATH_OK;

    bench_report_begin(&report, options->json);
    for (size_t i = 0; i < MEASUREMENTS && err == ATH_OK && !bench_interrupted; i++) {
        const struct measurement *one = &measurements[i];

        if (is_listed(options->only, one->name, strlen(one->name)))
            err = one->run(options, &report, &why);
    }
    bench_report_end(&report);
    if (bench_interrupted)
        return 1;
    if (err != ATH_OK)
        fprintf(stderr, "ath-bench: %s\n", why_text(&why, err));
    return ath_err_exit_status(err);
}

int
main(int argc, char **argv)
{
    struct sigaction action = {.sa_handler = on_signal};
    struct bench_options options;

    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        fputs(usage, stdout);
        return 0;
    }
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        puts("ath-bench " ATH_VERSION);
        return 0;
    }
    if (!read_options(argc, argv, &options)) {
        fputs(usage, stderr);
        return 64;
    }
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    raise_descriptor_limit();
    log_set_name("ath-bench");
    log_set_level(LOG_LEVEL_ERROR);
    return run(&options);
}
