/* ath-bench's parts. Everything prints through the report, so that table and JSON say the same. */
#ifndef TOOLS_ATH_BENCH_H
#define TOOLS_ATH_BENCH_H

#include <sys/types.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/why.h"

#define BENCH_PATH_MAX 100 /* a socket's path has 107 characters */
#define BENCH_ROUNDS_MAX 99

struct bench_options {
    double seconds;  /* of one measurement */
    unsigned rounds; /* A B A B ...: each round measures A, then B */
    bool json;
    const char *only; /* names separated by commas; NULL: all */
};

/* ---- ath_bench_stats.c: latencies ---- */

struct bench_samples { /* zero-initialise */
    uint32_t *us;
    size_t count, cap;
};

/* What came of one measurement. */
struct bench_run {
    double rate;           /* a second */
    double p50_ms, p99_ms; /* latency of one */
    size_t count;
};

void bench_samples_add(struct bench_samples *samples, uint64_t us); /* out of memory: dropped */
void bench_samples_done(struct bench_samples *samples);
/* Sorts them. elapsed_us: from the first request to the last answer. */
struct bench_run bench_run_of(struct bench_samples *samples, uint64_t elapsed_us);
double bench_median(double *values, size_t count); /* sorts; 0 of none */
/* The run whose members are the medians of the runs' members. */
struct bench_run bench_run_median(const struct bench_run *runs, size_t count);

/* ---- ath_bench_report.c ---- */

struct bench_report { /* zero-initialise */
    bool json;
    struct ath_buf text;
    bool has_section, has_value;
};

void bench_report_begin(struct bench_report *report, bool json);
void bench_report_section(struct bench_report *report, const char *name, const char *title);
void bench_report_value(struct bench_report *report, const char *name, double value, int digits,
                        const char *unit);
void bench_report_run(struct bench_report *report, const char *name, const struct bench_run *run);
void bench_report_text(struct bench_report *report, const char *name, const char *value);
void bench_report_end(struct bench_report *report); /* prints JSON; the table has been printed */

/* ---- ath_bench_agent.c: an athd of our own, in a directory of its own ---- */

struct bench_agent { /* zero-initialise; dir is made by bench_agent_start if empty */
    char dir[BENCH_PATH_MAX];
    char socket[BENCH_PATH_MAX + 8];
    pid_t pid; /* 0: not running */
    int notify_fd;
    double ready_ms; /* from fork to READY=1 */
};

/* Starts `athd --software-tpm` beside this program and waits until it is ready. Its prompter says
 * yes to everything. On failure the log's last lines are in why. */
ath_err bench_agent_start(struct bench_agent *agent, struct why *why) ATH_MUST_USE;
void bench_agent_stop(struct bench_agent *agent); /* ends it; the directory stays */
void bench_agent_done(struct bench_agent *agent); /* and removes the directory */
/* VmRSS in MiB; 0 when unknown. helper: of its child of this name. */
double bench_rss_mib(pid_t pid);
double bench_child_rss_mib(pid_t parent, const char *name);
/* mkdtemp under $TMPDIR or /tmp, and the removal of such a directory with all it holds. */
ath_err bench_dir_make(char ret_dir[BENCH_PATH_MAX], struct why *why) ATH_MUST_USE;
void bench_dir_remove(const char *dir);

/* ---- ath_bench_load.c: request lines written beforehand, answers counted by their line feeds ----
 */

struct bench_load {
    const char *socket;
    unsigned clients;            /* connections, at most 64 */
    unsigned depth;              /* requests in flight on each, at most 128 */
    const struct ath_buf *lines; /* requests in turn, line feed included; borrowed */
    size_t line_count;
    double seconds;
};

ath_err bench_load_run(const struct bench_load *load, struct why *why,
                       struct bench_run *ret_run) ATH_MUST_USE;
/* One connected socket. ATH_ERR_UNREACHABLE. */
ath_err bench_connect(const char *path, int *ret_fd) ATH_MUST_USE;
/* One call and its answer's line, JSON with "result"; anything else is an error with why. */
ath_err bench_call(const char *socket, const char *method, const char *params,
                   struct ath_buf *answer, struct why *why) ATH_MUST_USE;

/* ---- ath_bench_library.c: the same back end without athd ---- */

struct bench_library;

/* Opens the TPM back end on a software TPM of its own in dir and makes a key. */
ath_err bench_library_open(const char *dir, struct why *why,
                           struct bench_library **ret_library) ATH_MUST_USE;
void bench_library_close(struct bench_library *library);
/* Signs and verifies each signature, one after the other; overlapped: the TPM already has the next
 * one while the last is verified, which is all that can be got out of one TPM. */
ath_err bench_library_run(struct bench_library *library, double seconds, bool overlapped,
                          struct why *why, struct bench_run *ret_run) ATH_MUST_USE;

/* ---- the measurements ---- */

ath_err bench_signing(const struct bench_options *options, struct bench_report *report,
                      struct why *why) ATH_MUST_USE;
ath_err bench_reload(const struct bench_options *options, struct bench_report *report,
                     struct why *why) ATH_MUST_USE;
ath_err bench_handshake(const struct bench_options *options, struct bench_report *report,
                        struct why *why) ATH_MUST_USE;
ath_err bench_idle(const struct bench_options *options, struct bench_report *report,
                   struct why *why) ATH_MUST_USE;
ath_err bench_start(const struct bench_options *options, struct bench_report *report,
                    struct why *why) ATH_MUST_USE;

extern volatile int bench_interrupted; /* SIGINT, SIGTERM: measurements end at once */

#endif
