/*
 * `ath handshake run`: what the network does between three machines, done between their sockets. It
 * holds nothing but messages; who answers what, and whether, is athd's business on each side.
 */
#include "ath_cmd_handshake.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

#define MESSAGES_MAX 64 /* nine, and room for retries: a peer that sends for ever is cut off */

/* ---- the exchange ---- */

static ath_err
fail_by(const struct run *run, const struct party *party, ath_err err)
{
    if (!run->context->json)
        fprintf(stderr, "At the %s's side:\n", party->label);
    cmd_fail(run->context, party->client, err);
    return err;
}

/* What has been done for a party since `began_us`; its athd tells of each signature, before the
 * answer. */
static struct cost
cost_since(struct run *run, struct party *party, uint64_t began_us)
{
    struct cost cost = {.us = clock_monotonic_us() - began_us};
    char *text = NULL;

    run->total_us += cost.us;
    while (ath_client_events_kept(party->client) > 0 &&
           ath_client_event(party->client, &text) == ATH_OK) {
        struct json *event = cmd_parse(text);
        int64_t hardware_us;

        if (json_get_int(event, "hardware_us", &hardware_us) && hardware_us > 0)
            cost.hardware_us += (uint64_t)hardware_us;
        json_free(event);
        ath_string_free(text);
    }
    return cost;
}

/* Hands `message` to party; what it sends then is in party->step. */
static ath_err
receive(struct run *run, struct party *party, const char *message, struct cost *ret_cost)
{
    uint64_t began_us = clock_monotonic_us();
    ath_err err;

    if (++run->messages > MESSAGES_MAX) {
        cmd_error("the handshake does not come to an end");
        return ATH_ERR_UNEXPECTED_MESSAGE;
    }
    if (party == &run->server && party->step.handshake == NULL)
        err = ath_handshake_accept(party->client, run->service, message, NULL, &party->step);
    else
        err = ath_handshake_receive(party->client, message, &party->step);
    if (err == ATH_OK)
        *ret_cost = cost_since(run, party, began_us);
    return err;
}

/* What the server answers with is the client's to read, also where the server ends it. */
static ath_err
carry_to_client(struct run *run, struct cost *cost)
{
    char **messages = run->server.step.send;
    size_t count = run->server.step.send_count, i;
    struct cost client_cost = {0};
    ath_err err = ATH_OK;

    for (i = 0; i < count && err == ATH_OK; i++) {
        run_show_message(run, messages[i], cost);
        err = receive(run, &run->client, messages[i], &client_cost);
        if (err != ATH_OK)
            return fail_by(run, &run->client, err);
    }
    if (count > 0 && run->client.step.send_count > 0) {
        if (run->client.step.wait_s > 0) {
            cmd_note(run->context, "(waiting %d s, as the application asks)",
                     run->client.step.wait_s);
            sleep((unsigned)run->client.step.wait_s);
        }
        run_show_message(run, run->client.step.send[0], &client_cost);
    }
    return ATH_OK;
}

/* Steps 6 and 7, on the channel between application and user. */
static ath_err
ask_user(struct run *run, struct cost *cost)
{
    uint64_t began_us;
    struct cost user_cost;
    char *answer = NULL;
    ath_err err;

    run_show_message(run, run->server.step.confirm, cost);
    began_us = clock_monotonic_us();
    err = ath_confirmation_answer(run->user.client, run->user_key == NULL ? "" : run->user_key,
                                  run->server.step.confirm, run->server_did, &answer);
    if (err != ATH_OK)
        return fail_by(run, &run->user, err);
    user_cost = cost_since(run, &run->user, began_us);
    run_show_message(run, answer, &user_cost);
    err = receive(run, &run->server, answer, cost);
    ath_string_free(answer);
    return err;
}

static char *find_user_key(struct run *run, const char *confirm);

/* Hands the client's message to the server, the server's question to the user, and the server's
 * answers to the client. */
static ath_err
carry_round(struct run *run)
{
    struct cost cost = {0};
    char *message = ath_strdup(run->client.step.send[0]);
    ath_err err, carried;

    if (message == NULL)
        return ATH_ERR_NOMEM;
    err = receive(run, &run->server, message, &cost);
    ath_string_free(message);
    if (err == ATH_OK && run->server.step.state == ATH_HANDSHAKE_CONFIRM &&
        run->server.step.confirm != NULL) {
        if (run->user_key == NULL)
            run->user_key = find_user_key(run, run->server.step.confirm);
        err = ask_user(run, &cost);
        if (err != ATH_OK && run->server.step.state != ATH_HANDSHAKE_FAILED)
            return err;
    }
    carried = carry_to_client(run, &cost);
    if (carried != ATH_OK)
        return carried; /* the client has said why, in the reason's own words */
    return err == ATH_OK ? ATH_OK : fail_by(run, &run->server, err);
}

/* handshake.start, with whatever the options said. */
static ath_err
start(struct run *run)
{
    const struct json *params = run->context->params, *scope;
    struct ath_handshake_request request = {0};
    const char *scopes[64];
    uint64_t began_us = clock_monotonic_us();
    struct cost cost;
    int64_t ttl = 0;
    ath_err err;

    for (scope = json_first(json_get(params, "scopes")); scope != NULL && request.scope_count < 64;
         scope = json_next(scope))
        scopes[request.scope_count++] = json_string(scope);
    request.key = run->client_key;
    request.scopes = scopes;
    request.server_origin = json_get_string(run->context->extra, "--origin");
    request.server_did = request.server_origin == NULL ? run->server_did : NULL;
    request.credential = run->credential;
    request.context = json_get_string(params, "context");
    request.traceparent = json_get_string(params, "trace");
    request.ttl_s = json_get_int(params, "ttl", &ttl) ? (int)ttl : 0;
    err = ath_handshake_start(run->client.client, &request, &run->client.step);
    if (err != ATH_OK)
        return fail_by(run, &run->client, err);
    cost = cost_since(run, &run->client, began_us);
    if (run->client.step.send_count > 0)
        run_show_message(run, run->client.step.send[0], &cost);
    return ATH_OK;
}

/* ---- finding out what the options do not say ---- */

/* The entry of an array of objects whose `name` is value; NULL: none. */
static const struct json *
entry_with(const struct json *array, const char *name, const char *value)
{
    const struct json *entry;

    for (entry = json_first(array); entry != NULL; entry = json_next(entry)) {
        const char *text = json_get_string(entry, name);

        if (text != NULL && strcmp(text, value) == 0)
            return entry;
    }
    return NULL;
}

/* key.get's `did`, on the heap; NULL after saying why not. */
static ath_err
did_of_key(struct run *run, struct party *party, const char *key, char **ret_did)
{
    struct json_maker maker;
    struct json *params = NULL, *info = NULL;
    ath_err err;

    json_object_begin(&maker);
    json_put_string(&maker, "name", key);
    if ((err = json_maker_end(&maker, &params)) != ATH_OK)
        return err;
    err = cmd_call(run->context, party->client, "key.get", params, &info);
    if (err == ATH_OK && (*ret_did = ath_strdup(json_get_string(info, "did"))) == NULL)
        err = ATH_ERR_NOMEM;
    json_free(params);
    json_free(info);
    return err;
}

static ath_err
find_server(struct run *run)
{
    struct json *services = NULL;
    const struct json *service;
    ath_err err;

    err = cmd_call(run->context, run->server.client, "service.list", NULL, &services);
    if (err != ATH_OK)
        return err;
    service = entry_with(json_get(services, "services"), "name", run->service);
    if (service == NULL) {
        cmd_error("the application's athd has no service %s", run->service);
        err = ATH_ERR_USAGE;
    } else if ((run->server_key = ath_strdup(json_get_string(service, "key"))) == NULL) {
        err = ATH_ERR_NOMEM;
    } else {
        err = did_of_key(run, &run->server, run->server_key, &run->server_did);
    }
    json_free(services);
    return err;
}

/* The name of the key at the user's athd that M6 asks; NULL: it has none. */
static char *
find_user_key(struct run *run, const char *confirm)
{
    struct json *message = cmd_parse(confirm), *keys = NULL;
    const char *did = json_get_string(message, "user_did");
    char *name = NULL;

    if (did != NULL && cmd_call(run->context, run->user.client, "key.list", NULL, &keys) == ATH_OK)
        name = ath_strdup(json_get_string(entry_with(json_get(keys, "keys"), "did", did), "name"));
    json_free(message);
    json_free(keys);
    return name;
}

/* --user-key: the user grants these scopes, to this agent, at this application, now. */
static ath_err
issue_grant(struct run *run)
{
    const struct json *params = run->context->params;
    struct json_maker maker;
    struct json *call = NULL, *issued = NULL;
    char *client_did = NULL;
    int64_t ttl = 3600;
    ath_err err;

    if ((err = did_of_key(run, &run->client, run->client_key, &client_did)) != ATH_OK)
        return err;
    json_object_begin(&maker);
    json_put_string(&maker, "key", run->user_key);
    json_put_string(&maker, "client", client_did);
    json_put_string(&maker, "audience", run->server_did);
    json_put_copy(&maker, "scopes", json_get(params, "scopes"));
    json_put_int(&maker, "ttl", json_get_int(params, "ttl", &ttl) ? ttl : 3600);
    free(client_did);
    if ((err = json_maker_end(&maker, &call)) != ATH_OK)
        return err;
    err = cmd_call(run->context, run->user.client, "credential.issue", call, &issued);
    json_free(call);
    if (err == ATH_OK &&
        (run->credential = ath_strdup(json_get_string(issued, "credential"))) == NULL)
        err = ATH_ERR_NOMEM;
    json_free(issued);
    return err;
}

/* What was begun and cannot be finished is given up on both sides, so that nothing lingers. */
static void
give_up(struct run *run)
{
    struct party *parties[] = {&run->client, &run->server};
    size_t i;

    for (i = 0; i < 2; i++) {
        struct party *party = parties[i];

        if (party->client != NULL && party->step.handshake != NULL &&
            party->step.state < ATH_HANDSHAKE_DONE)
            (void)!ath_handshake_abort(party->client, party->step.handshake);
    }
}

/* An athd that does not tell of its signatures does no less for the handshake. */
static void
watch_hardware(struct party *party)
{
    (void)!ath_client_call(party->client, "events.subscribe", "{\"topics\":[\"hsm\"]}", NULL);
}

static int
connect_parties(struct run *run)
{
    const struct json *extra = run->context->extra;
    const char *user = json_get_string(extra, "--user");
    int status = EXIT_SUCCESS;

    run->client.client = cmd_connect(run->context, json_get_string(extra, "--client"), &status);
    if (run->client.client == NULL)
        return status;
    run->server.client = cmd_connect(run->context, json_get_string(extra, "--server"), &status);
    if (run->server.client == NULL)
        return status;
    run->user.shared = user == NULL;
    run->user.client = user == NULL ? run->client.client : cmd_connect(run->context, user, &status);
    if (run->user.client == NULL)
        return status;
    watch_hardware(&run->client);
    watch_hardware(&run->server);
    watch_hardware(&run->user);
    return EXIT_SUCCESS;
}

static ath_err
run_all(struct run *run)
{
    ath_err err;

    if ((err = find_server(run)) != ATH_OK)
        return err;
    if (run->user_key != NULL && run->credential == NULL && (err = issue_grant(run)) != ATH_OK)
        return err;
    if ((err = start(run)) != ATH_OK)
        return err;
    while (err == ATH_OK && run->client.step.state != ATH_HANDSHAKE_DONE &&
           run->client.step.send_count > 0)
        err = carry_round(run);
    if (err == ATH_OK && run->client.step.state != ATH_HANDSHAKE_DONE) {
        cmd_error("the handshake stopped half-way: the application sent nothing more");
        err = ATH_ERR_UNEXPECTED_MESSAGE;
    }
    return err;
}

static void
run_done(struct run *run)
{
    if (!run->user.shared)
        ath_client_free(run->user.client);
    ath_client_free(run->server.client);
    ath_client_free(run->client.client);
    ath_handshake_step_done(&run->client.step);
    ath_handshake_step_done(&run->server.step);
    json_maker_done(&run->steps);
    free(run->server_key);
    free(run->user_key);
    free(run->server_did);
    ath_string_free(run->credential);
}

int
cmd_run_handshake(struct cmd_context *context)
{
    struct run run = {.context = context,
                      .client.label = "agent",
                      .server.label = "application",
                      .user.label = "user",
                      .client_key = json_get_string(context->params, "key"),
                      .service = json_get_string(context->extra, "--service")};
    int status;
    ath_err err;

    run.user_key = ath_strdup(json_get_string(context->extra, "--user-key"));
    run.credential = ath_strdup(json_get_string(context->params, "credential"));
    json_array_begin(&run.steps);
    if ((status = connect_parties(&run)) != EXIT_SUCCESS)
        goto out;
    if ((err = run_all(&run)) != ATH_OK) {
        give_up(&run);
        status = ath_err_exit_status(err);
    } else {
        status = run_finish(&run);
    }
out:
    run_done(&run);
    return status;
}
