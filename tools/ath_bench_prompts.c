/* Nobody waits behind a prompt: another caller's signatures with no question open, and with 50, in
 * turns; shown by prompters (a process each), and by a program that attends. */
#include "ath_bench.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"

#define QUESTIONS 50
#define TRIES 300 /* of 100 ms */
#define SETTLE_MS 500

/* It shows every question, and nobody answers. */
static const char silent_prompter[] = "#!/bin/sh\n"
                                      "echo OK ready\n"
                                      "while read -r line; do\n"
                                      "    case \"$line\" in CONFIRM*) ;; *) echo OK ;; esac\n"
                                      "done\n";

/* A new file in the old one's place: one that runs cannot be written to. */
static ath_err
silence_prompter(const struct bench_agent *agent)
{
    char path[BENCH_PATH_MAX + 16], fresh[BENCH_PATH_MAX + 24];
    int fd;
    ath_err err;

    snprintf(path, sizeof(path), "%s/prompter", agent->dir);
    snprintf(fresh, sizeof(fresh), "%s/prompter.new", agent->dir);
    if ((fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0700)) < 0)
        return ATH_ERR_IO;
    err = fd_write_all(fd, ath_slice_of(silent_prompter, sizeof(silent_prompter) - 1));
    fd_close(&fd);
    return err == ATH_OK && rename(fresh, path) != 0 ? ATH_ERR_IO : err;
}

static unsigned
count_of(const struct ath_buf *text, const char *word)
{
    const char *at = (const char *)text->data, *end = at + text->len;
    unsigned count = 0;

    while (at < end && (at = memmem(at, (size_t)(end - at), word, strlen(word)))) {
        count++;
        at += strlen(word);
    }
    return count;
}

/* Until so many questions are open, and whoever shows them has settled. */
static ath_err
wait_for(const struct bench_agent *agent, unsigned questions, struct why *why)
{
    struct ath_buf answer = {.max = 4u * 1024 * 1024};
    unsigned found = 0;
    ath_err err = ATH_OK;

    for (unsigned i = 0; i < TRIES && err == ATH_OK && !bench_interrupted; i++) {
        if ((err = bench_call(agent->socket, "consent.list", "{}", &answer, why)) != ATH_OK)
            break;
        if ((found = count_of(&answer, "\"can_narrow\"")) == questions) {
            poll(NULL, 0, SETTLE_MS);
            break;
        }
        poll(NULL, 0, 100);
    }
    ath_buf_done(&answer);
    if (err == ATH_OK && found != questions && !bench_interrupted)
        err =
            why_set(why, ATH_ERR_INTERNAL, "%u questions are open instead of %u", found, questions);
    return err;
}

/* On a connection of their own; they end with it. About a key of their own, too: to take questions
 * back is to be asked later, and not at all in the end, for the same key. */
static ath_err
open_questions(const struct bench_agent *agent, const char *key, int *ret_fd, struct why *why)
{
    struct ath_buf lines = {0}, answer = {0};
    char params[96];
    ath_err err;

    snprintf(params, sizeof(params), "{\"name\":\"%s\",\"role\":\"user\"}", key);
    err = bench_call(agent->socket, "key.create", params, &answer, why);
    ath_buf_done(&answer);
    if (err != ATH_OK || (err = bench_connect(agent->socket, ret_fd)) != ATH_OK)
        return err;
    for (unsigned i = 1; i <= QUESTIONS; i++)
        ath_buf_printf(&lines,
                       "{\"jsonrpc\":\"2.0\",\"id\":%u,\"method\":\"credential.issue\",\"params\":{"
                       "\"key\":\"%s\",\"client\":\"did:web:agent.example\",\"scopes\":[\"a:b\"],"
                       "\"ttl\":%u}}\n",
                       i, key, i);
    err = lines.err != ATH_OK ? lines.err : fd_write_all(*ret_fd, ath_buf_slice(&lines));
    ath_buf_done(&lines);
    return err != ATH_OK ? err : wait_for(agent, QUESTIONS, why);
}

/* What the program that attends was told: one that does not read is passed over, and prompters are
 * started instead. -1: there is none. */
static void
read_away(int attending)
{
    char chunk[65536];

    while (attending >= 0 && recv(attending, chunk, sizeof(chunk), MSG_DONTWAIT) > 0)
        ;
}

/* Rounds of none, then 50. attending: as in read_away. */
static ath_err
measure(const struct bench_options *options, const struct bench_agent *agent, const char *name,
        const struct bench_load *load, int attending, struct bench_report *report, struct why *why)
{
    struct bench_run none[BENCH_ROUNDS_MAX], many[BENCH_ROUNDS_MAX], median;
    double ratio[BENCH_ROUNDS_MAX];
    char label[64];
    unsigned done = 0;
    ath_err err = ATH_OK;
    int fd = -1;

    for (; done < options->rounds && !bench_interrupted; done++) {
        snprintf(label, sizeof(label), "%s-%u", name, done);
        if ((err = wait_for(agent, 0, why)) != ATH_OK ||
            (err = bench_load_run(load, why, &none[done])) != ATH_OK ||
            (err = open_questions(agent, label, &fd, why)) != ATH_OK)
            break;
        read_away(attending);
        if ((err = bench_load_run(load, why, &many[done])) != ATH_OK)
            break;
        fd_close(&fd);
        read_away(attending);
        ratio[done] = none[done].p99_ms > 0 ? many[done].p99_ms / none[done].p99_ms : 0;
    }
    fd_close(&fd);
    if (err != ATH_OK)
        return err;
    median = bench_run_median(none, done);
    snprintf(label, sizeof(label), "%s_0", name);
    bench_report_run(report, label, &median);
    median = bench_run_median(many, done);
    snprintf(label, sizeof(label), "%s_50", name);
    bench_report_run(report, label, &median);
    snprintf(label, sizeof(label), "%s_ratio_p99", name);
    bench_report_value(report, label, bench_median(ratio, done), 3, "of the p99 without questions");
    return ATH_OK;
}

static ath_err
create_key(const struct bench_agent *agent, struct why *why)
{
    static const char params[] =
        "{\"name\":\"k\",\"role\":\"client\",\"agent_id\":\"https://bench.example/k.json\"}";
    struct ath_buf answer = {0};
    ath_err err = bench_call(agent->socket, "key.create", params, &answer, why);

    ath_buf_done(&answer);
    return err;
}

/* The connection of a program that attends. */
static ath_err
attend(const struct bench_agent *agent, int *ret_fd)
{
    static const char line[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"consent.attend\"}\n";
    ath_err err = bench_connect(agent->socket, ret_fd);

    return err != ATH_OK ? err : fd_write_all(*ret_fd, ath_slice_of(line, sizeof(line) - 1));
}

ath_err
bench_prompts(const struct bench_options *options, struct bench_report *report, struct why *why)
{
    struct bench_agent agent = {0};
    struct ath_buf line = {0};
    struct bench_load load = {
        .clients = 1, .depth = 1, .lines = &line, .line_count = 1, .seconds = options->seconds};
    ath_err err;
    int fd = -1;

    ath_buf_put_string(&line, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"attestation.create\","
                              "\"params\":{\"key\":\"k\",\"audience\":\"https://a.example\"}}\n");
    if ((err = line.err) != ATH_OK || (err = bench_agent_start(&agent, why)) != ATH_OK ||
        (err = create_key(&agent, why)) != ATH_OK || (err = silence_prompter(&agent)) != ATH_OK)
        goto out;
    load.socket = agent.socket;
    bench_report_section(report, "prompts",
                         "another caller's signatures, with 50 questions open, against none");
    if ((err = measure(options, &agent, "prompters", &load, -1, report, why)) != ATH_OK ||
        (err = attend(&agent, &fd)) != ATH_OK)
        goto out;
    err = measure(options, &agent, "attended", &load, fd, report, why);
out:
    fd_close(&fd);
    ath_buf_done(&line);
    bench_agent_done(&agent);
    return err;
}
