/* What a decision costs, and the reading of the rules: the layer itself, without a socket. The
 * caller and the call are such that every rule is looked at: the last of them allows, or none. */
#include "ath_bench.h"

#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "policy/policy_rules.h"

#define RULES 1000u
#define TURNS 100u /* of a sample: the clock costs too */
#define OWNER 1000

static const char key[] = "travel";
static const char *const audiences[] = {"https://flights.example/api/search"};

static ath_err
make_rules(unsigned count, struct why *why, struct policy_rules **ret_rules)
{
    struct ath_buf text = {.max = POLICY_FILE_MAX};
    struct policy_rules *rules = policy_rules_new(OWNER);
    ath_err err;

    ath_buf_put_string(&text, "{\"rules\":[");
    for (unsigned i = 0; i + 1 < count; i++)
        ath_buf_printf(&text,
                       "{\"name\":\"r%u\",\"who\":{\"uid\":1000,\"exe\":\"/usr/bin/node\"},"
                       "\"may\":[\"group:attest\"],\"keys\":[\"agent%u\",\"travel*\"],"
                       "\"audiences\":[\"https://a%u.example\"],\"max_ttl\":300},",
                       i, i, i);
    ath_buf_put_string(&text, "{\"name\":\"last\",\"who\":{\"uid\":1000},\"may\":[\"*\"],"
                              "\"audiences\":[\"https://flights.example/api\"]}]}");
    err = rules == NULL ? ATH_ERR_NOMEM : text.err;
    if (err == ATH_OK)
        err = policy_rules_add(rules, ath_buf_slice(&text), "bench", why);
    ath_buf_done(&text);
    return policy_rules_finish(rules, err, ret_rules);
}

static double
now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

/* The median of samples of TURNS decisions each, in microseconds a decision. */
static ath_err
measure(const struct policy_rules *rules, double seconds, const char *const *asked, double *ret_us)
{
    const struct policy_subject subject = {
        .uid = OWNER, .exe = "/usr/bin/node", .unit = "travel.service", .name_space = POLICY_SAME};
    const enum sign_purpose purpose = PURPOSE_ATTESTATION;
    const struct policy_question question = {.method = "attestation.create",
                                             .key = key,
                                             .purpose = &purpose,
                                             .audiences = asked,
                                             .audience_count = 1,
                                             .ttl = 300,
                                             .now = clock_now()};
    double began = now_us(), end = began + seconds * 1e6;
    bool is_allowed = asked == audiences;
    size_t count = 0, cap = 65536;
    double *samples = calloc(cap, sizeof(*samples));
    ath_err err = samples == NULL ? ATH_ERR_NOMEM : ATH_OK;

    while (err == ATH_OK && count < cap && (count == 0 || began < end) && !bench_interrupted) {
        for (unsigned i = 0; i < TURNS && err == ATH_OK; i++)
            if ((policy_rules_decide(rules, &subject, &question).allowing != NULL) != is_allowed)
                err = ATH_ERR_INTERNAL;
        samples[count++] = (now_us() - began) / TURNS;
        began = now_us();
    }
    *ret_us = bench_median(samples, count);
    free(samples);
    return err;
}

ath_err
bench_policy(const struct bench_options *options, struct bench_report *report, struct why *why)
{
    static const char *const denied[] = {"https://flights.example.evil/api"};
    static const struct {
        const char *name;
        unsigned rules;
        const char *const *asked;
        const char *unit;
    } rows[] = {{"rules_1_us", 1, audiences, "us, 1 rule"},
                {"rules_1000_us", RULES, audiences, "us, 1,000 rules of which the last allows"},
                {"rules_1000_denied_us", RULES, denied, "us, 1,000 rules of which none allows"}};
    struct policy_rules *rules = NULL;
    ath_err err = ATH_OK;
    double us = 0;

    bench_report_section(report, "policy", "a decision of policy (median)");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) && err == ATH_OK; i++) {
        if ((err = make_rules(rows[i].rules, why, &rules)) != ATH_OK)
            break;
        if ((err = measure(rules, options->seconds, rows[i].asked, &us)) == ATH_OK)
            bench_report_value(report, rows[i].name, us, 2, rows[i].unit);
        policy_rules_free(rules);
    }
    return err;
}
