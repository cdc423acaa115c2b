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
#include "crypto/public_key.h"

#define BENCH_PATH_MAX 100 /* a socket's path has 107 characters */
#define BENCH_ROUNDS_MAX 99

struct bench_options {
    double seconds;  /* of one measurement */
    unsigned rounds; /* A B A B ...: each round measures A, then B */
    bool json;
    const char *only; /* names separated by commas */
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
    const struct bench_token *token; /* borrowed; NULL: a software TPM */
    char dir[BENCH_PATH_MAX];
    char socket[BENCH_PATH_MAX + 8];
    pid_t pid; /* 0: not running */
    int notify_fd;
    double ready_ms; /* from fork to READY=1 */
};

/* Starts the athd that lies beside this program, with a software TPM or token, and waits until it
 * is ready. Its prompter says yes to everything. On failure the log's last lines are in why. */
ath_err bench_agent_start(struct bench_agent *agent, struct why *why) ATH_MUST_USE;
void bench_agent_stop(struct bench_agent *agent); /* ends it; the directory stays */
void bench_agent_done(struct bench_agent *agent); /* and removes the directory */
/* VmRSS in MiB; 0 when unknown. helper: of its child of this name. */
double bench_rss_mib(pid_t pid);
double bench_child_rss_mib(pid_t parent, const char *name);
/* mkdtemp under $TMPDIR or /tmp, and the removal of such a directory with all it holds. */
ath_err bench_dir_make(char ret_dir[BENCH_PATH_MAX], struct why *why) ATH_MUST_USE;
void bench_dir_remove(const char *dir);

/* ---- ath_bench_load.c: requests written beforehand, answers counted ---- */

struct bench_load {
    const char *socket;
    unsigned clients;            /* connections, at most 64 */
    unsigned depth;              /* requests in flight on each, at most 128 */
    const struct ath_buf *lines; /* requests in turn, line feed included; borrowed */
    size_t line_count;
    bool is_ssh; /* ssh-agent's protocol instead: the lines are its requests */
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

/* ---- ath_bench_cryptoki.c: a PKCS#11 module in this process (a child that ends soon) ---- */

struct bench_module;

/* One way to run the raw loop. */
struct bench_raw {
    unsigned threads; /* at most 8, a session each */
    double seconds;
    const struct public_key *verify_with; /* every signature; NULL: none is looked at. Borrowed */
};

/* All: ATH_ERR_HSM_ERROR with the call that failed, ATH_ERR_HSM_UNAVAILABLE (module or token),
 * ATH_ERR_NOMEM. */
ath_err bench_module_open(const char *path, struct why *why,
                          struct bench_module **ret_module) ATH_MUST_USE;
void bench_module_close(struct bench_module *module);
/* In the first slot whose token is not initialised; the PIN is the security officer's, too. */
ath_err bench_module_make_token(struct bench_module *module, const char *label, const char *pin,
                                struct why *why) ATH_MUST_USE;
/* The key "bench", P-256, in the first slot whose token is; appends its SubjectPublicKeyInfo. */
ath_err bench_module_make_key(struct bench_module *module, const char *pin, struct why *why,
                              struct ath_buf *ret_der) ATH_MUST_USE;
/* Signs with the key "bench" for raw->seconds. */
ath_err bench_module_run(struct bench_module *module, const struct bench_raw *raw, const char *pin,
                         struct why *why, struct bench_run *ret_run) ATH_MUST_USE;

/* ---- ath_bench_token.c: a SoftHSM token of our own, in a directory of its own ---- */

struct bench_token { /* zero-initialise */
    char dir[BENCH_PATH_MAX];
    const char *module; /* its path; static */
    char pin[17];       /* thrown away with the token; also in dir/pin */
    char uri[512];      /* for athd: with module-path and pin-source */
    struct public_key *public_key;
};

/* Makes directory, token and key. ATH_ERR_HSM_UNAVAILABLE: SoftHSM is not installed. */
ath_err bench_token_make(struct bench_token *token, struct why *why) ATH_MUST_USE;
void bench_token_done(struct bench_token *token);
/* In a child: where SoftHSM finds the token. */
void bench_token_environment(const struct bench_token *token);
/* bench_module_run in a child. */
ath_err bench_token_run(const struct bench_token *token, const struct bench_raw *raw,
                        struct why *why, struct bench_run *ret_run) ATH_MUST_USE;

/* ---- ath_bench_ssh.c: ssh-agent with a token ---- */

#define BENCH_SSH_SIGN_REQUEST 13
#define BENCH_SSH_SIGN_RESPONSE 14

struct bench_ssh { /* zero-initialise */
    char socket[BENCH_PATH_MAX + 8];
    pid_t pid;              /* 0: not running */
    struct ath_buf request; /* asks for a signature by the token's key */
};

bool bench_ssh_is_installed(void);
/* Starts it in the token's directory and gives it the token. */
ath_err bench_ssh_start(struct bench_ssh *ssh, const struct bench_token *token,
                        struct why *why) ATH_MUST_USE;
void bench_ssh_stop(struct bench_ssh *ssh);

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
ath_err bench_policy(const struct bench_options *options, struct bench_report *report,
                     struct why *why) ATH_MUST_USE;
ath_err bench_prompts(const struct bench_options *options, struct bench_report *report,
                      struct why *why) ATH_MUST_USE;
ath_err bench_audit(const struct bench_options *options, struct bench_report *report,
                    struct why *why) ATH_MUST_USE;
ath_err bench_peers(const struct bench_options *options, struct bench_report *report,
                    struct why *why) ATH_MUST_USE;

extern volatile int bench_interrupted; /* SIGINT, SIGTERM: measurements end at once */

#endif
