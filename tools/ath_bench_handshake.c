/* Whole handshakes between two athds, each with its own software TPM, without prompts: four
 * signatures each. Every thread carries the messages of one handshake after the other. */
#include "ath_bench.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "ath/client.h"
#include "base/clock.h"
#include "base/json.h"

#define THREADS_MAX 8
#define SCOPES "[\"mail:read\",\"mail:send\"]"

struct carrier { /* one thread */
    const struct bench_agent *client, *server;
    const char *server_did;
    double seconds;
    struct bench_samples samples;
    struct why why;
    ath_err err;
};

static ath_err
explain(struct ath_client *client, struct why *why, ath_err err)
{
    return why_set(why, err, "handshake: %s (%s)", ath_client_error_message(client),
                   ath_client_error_reason(client));
}

/* ---- before: keys, grant, service ---- */

/* Calls and, where member is given, takes that member of the result as text on the heap. */
static ath_err
call_member(struct ath_client *client, const char *method, struct ath_buf *params,
            const char *member, struct why *why, char **ret_text)
{
    const struct json_limits limits = {.max_len = 262144, .max_depth = 32, .max_members = 1024};
    struct json *json = NULL;
    char *result = NULL;
    ath_err err;

    if ((err = ath_client_call(client, method, ath_buf_text(params), &result)) != ATH_OK) {
        explain(client, why, err);
        goto out;
    }
    if (!member)
        goto out;
    if ((err = json_parse(ath_slice_of_string(result), &limits, why, &json)) != ATH_OK)
        goto out;
    if (!(*ret_text = ath_strdup(json_get_string(json, member))))
        err = why_set(why, ATH_ERR_INTERNAL, "%s answers without %s", method, member);
out:
    ath_buf_clear(params);
    ath_string_free(result);
    json_free(json);
    return err;
}

/* A key that signs without asking; its DID. */
static ath_err
make_key(struct ath_client *client, const char *role, struct why *why, char **ret_did)
{
    struct ath_buf params = {0};
    ath_err err;

    ath_buf_printf(&params, "{\"name\":\"%s\",\"role\":\"%s\",\"confirm\":\"never\"}", role, role);
    err = call_member(client, "key.create", &params, "did", why, ret_did);
    ath_buf_done(&params);
    return err;
}

static ath_err
prepare(struct ath_client *client, struct ath_client *server, struct why *why,
        char **ret_server_did)
{
    char *user_did = NULL, *client_did = NULL;
    struct ath_buf params = {0};
    ath_err err;

    if ((err = make_key(client, "user", why, &user_did)) != ATH_OK ||
        (err = make_key(client, "client", why, &client_did)) != ATH_OK ||
        (err = make_key(server, "server", why, ret_server_did)) != ATH_OK)
        goto out;
    ath_buf_printf(&params,
                   "{\"key\":\"user\",\"client\":\"%s\",\"scopes\":" SCOPES ",\"ttl\":3600}",
                   client_did);
    if ((err = call_member(client, "credential.issue", &params, NULL, why, NULL)) != ATH_OK)
        goto out;
    ath_buf_printf(&params,
                   "{\"name\":\"app\",\"key\":\"server\",\"scopes_supported\":" SCOPES
                   ",\"token_max_ttl\":60,\"require_user_confirmation\":false,"
                   "\"agents\":{\"%s\":" SCOPES "},\"users\":{\"%s\":\"somebody\"}}",
                   client_did, user_did);
    err = call_member(server, "service.put", &params, NULL, why, NULL);
out:
    ath_buf_done(&params);
    free(user_did);
    free(client_did);
    return err;
}

/* ---- one handshake ---- */

/* Carries what the client sends to the server and what comes back to the client, until it is done.
 */
static ath_err
carry(struct ath_client *client, struct ath_client *server, struct ath_handshake_step *at_client,
      struct ath_handshake_step *at_server, struct why *why)
{
    ath_err err;

    while (at_client->state == ATH_HANDSHAKE_WAITING) {
        if (at_client->send_count != 1)
            return why_set(why, ATH_ERR_INTERNAL, "handshake: the client has nothing to send");
        err = at_server->handshake
                  ? ath_handshake_receive(server, at_client->send[0], at_server)
                  : ath_handshake_accept(server, "app", at_client->send[0], NULL, at_server);
        if (err != ATH_OK)
            return explain(server, why, err);
        for (size_t i = 0; i < at_server->send_count; i++)
            if ((err = ath_handshake_receive(client, at_server->send[i], at_client)) != ATH_OK)
                return explain(client, why, err);
    }
    return ATH_OK;
}

/* The session of a handshake that is done; athd keeps 4,096 of a caller. */
static ath_err
close_session(struct ath_client *client, const char *result, struct why *why)
{
    const struct json_limits limits = {.max_len = 262144, .max_depth = 32, .max_members = 1024};
    struct json *json = NULL;
    const char *session;
    ath_err err;

    if ((err = json_parse(ath_slice_of_string(result), &limits, why, &json)) != ATH_OK)
        return err;
    if (!(session = json_get_string(json, "session")))
        err = why_set(why, ATH_ERR_INTERNAL, "handshake: no session");
    else if ((err = ath_session_close(client, session)) != ATH_OK)
        explain(client, why, err);
    json_free(json);
    return err;
}

static ath_err
handshake_once(struct ath_client *client, struct ath_client *server, const char *server_did,
               struct why *why)
{
    static const char *const scopes[] = {"mail:read", "mail:send"};
    const struct ath_handshake_request request = {
        .key = "client", .scopes = scopes, .scope_count = 2, .server_did = server_did, .ttl_s = 60};
    struct ath_handshake_step at_client = {0}, at_server = {0};
    ath_err err;

    if ((err = ath_handshake_start(client, &request, &at_client)) != ATH_OK) {
        explain(client, why, err);
        goto out;
    }
    if ((err = carry(client, server, &at_client, &at_server, why)) != ATH_OK)
        goto out;
    if ((err = close_session(client, at_client.result, why)) != ATH_OK)
        goto out;
    err = close_session(server, at_server.result, why);
out:
    ath_handshake_step_done(&at_client);
    ath_handshake_step_done(&at_server);
    return err;
}

/* ---- many ---- */

static ath_err
connect_to(const struct bench_agent *agent, struct why *why, struct ath_client **ret_client)
{
    ath_err err;

    if (!(*ret_client = ath_client_new()))
        return ATH_ERR_NOMEM;
    if ((err = ath_client_connect(*ret_client, agent->socket)) != ATH_OK)
        explain(*ret_client, why, err);
    return err;
}

static void *
run_carrier(void *ctx)
{
    struct carrier *carrier = ctx;
    const uint64_t ends_us = clock_monotonic_us() + (uint64_t)(carrier->seconds * 1e6);
    struct ath_client *client = NULL, *server = NULL;
    uint64_t now;

    if ((carrier->err = connect_to(carrier->client, &carrier->why, &client)) != ATH_OK ||
        (carrier->err = connect_to(carrier->server, &carrier->why, &server)) != ATH_OK)
        goto out;
    while ((now = clock_monotonic_us()) < ends_us && !bench_interrupted) {
        carrier->err = handshake_once(client, server, carrier->server_did, &carrier->why);
        if (carrier->err != ATH_OK)
            goto out;
        bench_samples_add(&carrier->samples, clock_monotonic_us() - now);
    }
out:
    ath_client_free(client);
    ath_client_free(server);
    return NULL;
}

static ath_err
run_threads(const struct carrier *model, unsigned threads, struct why *why,
            struct bench_run *ret_run)
{
    struct carrier carriers[THREADS_MAX];
    struct bench_samples all = {0};
    const uint64_t began = clock_monotonic_us();
    pthread_t ids[THREADS_MAX];
    unsigned started = 0;
    uint64_t elapsed;
    ath_err err = ATH_OK;

    for (; started < threads; started++) {
        carriers[started] = *model;
        if (pthread_create(&ids[started], NULL, run_carrier, &carriers[started]) != 0) {
            err = ATH_ERR_NOMEM;
            break;
        }
    }
    for (unsigned i = 0; i < started; i++)
        pthread_join(ids[i], NULL);
    elapsed = clock_monotonic_us() - began;
    for (unsigned i = 0; i < started; i++) {
        for (size_t k = 0; k < carriers[i].samples.count; k++)
            bench_samples_add(&all, carriers[i].samples.us[k]);
        if (err == ATH_OK && (err = carriers[i].err) != ATH_OK)
            *why = carriers[i].why;
        bench_samples_done(&carriers[i].samples);
    }
    *ret_run = bench_run_of(&all, elapsed);
    bench_samples_done(&all);
    return err;
}

static ath_err
measure(const struct bench_options *options, const struct carrier *model,
        struct bench_report *report, struct why *why)
{
    static const struct {
        const char *name;
        unsigned threads;
    } cases[] = {{"carriers_1", 1}, {"carriers_8", THREADS_MAX}};
    struct bench_run runs[2][BENCH_ROUNDS_MAX], median;
    unsigned done = 0;
    ath_err err;

    for (; done < options->rounds && !bench_interrupted; done++)
        for (size_t i = 0; i < 2; i++)
            if ((err = run_threads(model, cases[i].threads, why, &runs[i][done])) != ATH_OK)
                return err;
    bench_report_section(report, "handshake",
                         "whole handshakes between two athds (four signatures each)");
    for (size_t i = 0; i < 2; i++) {
        median = bench_run_median(runs[i], done);
        bench_report_run(report, cases[i].name, &median);
    }
    return ATH_OK;
}

ath_err
bench_handshake(const struct bench_options *options, struct bench_report *report, struct why *why)
{
    struct ath_client *client = NULL, *server = NULL;
    struct bench_agent at_client = {0}, at_server = {0};
    struct carrier model = {
        .client = &at_client, .server = &at_server, .seconds = options->seconds};
    char *server_did = NULL;
    ath_err err;

    if ((err = bench_agent_start(&at_client, why)) != ATH_OK ||
        (err = bench_agent_start(&at_server, why)) != ATH_OK ||
        (err = connect_to(&at_client, why, &client)) != ATH_OK ||
        (err = connect_to(&at_server, why, &server)) != ATH_OK ||
        (err = prepare(client, server, why, &server_did)) != ATH_OK)
        goto out;
    model.server_did = server_did;
    err = measure(options, &model, report, why);
out:
    free(server_did);
    ath_client_free(client);
    ath_client_free(server);
    bench_agent_done(&at_client);
    bench_agent_done(&at_server);
    return err;
}
