/* agent.hello, agent.status, events.subscribe. */
#include <stdlib.h>
#include <string.h>

#include "ath/version.h"
#include "athd/athd.h"
#include "athd/connection.h"
#include "athd/dispatch.h"
#include "athd/audit_checkpoint.h"
#include "athd/events.h"
#include "athd/freeze.h"
#include "athd/grant.h"
#include "athd/handshake_table.h"
#include "athd/hsm_pool.h"
#include "athd/key_store.h"
#include "athd/lock.h"
#include "athd/lock_watch.h"
#include "athd/session_table.h"
#include "base/clock.h"

#define API_VERSION 1

/* What this athd can do: the names of its methods. */
static void
put_capabilities(struct json_maker *result)
{
    struct json_maker names;
    size_t i;

    json_array_begin(&names);
    for (i = 0; i < RPC_METHOD_COUNT; i++)
        if (method_table[i] != NULL)
            json_put_string(&names, NULL, method_at((enum rpc_method_id)i)->name);
    json_put_maker(result, "capabilities", &names);
}

void
method_agent_hello(struct request *request)
{
    struct json_maker result;

    json_object_begin(&result);
    json_put_string(&result, "server", "athd");
    json_put_string(&result, "version", ATH_VERSION);
    json_put_int(&result, "api", API_VERSION);
    caller_put_all(request->caller, &result, "you");
    if (request->caller->through != NULL)
        grant_put_own(request->caller->through, &result, "grant");
    put_capabilities(&result);
    request_finish_maker(request, &result);
}

static void
put_counters(struct json_maker *result, const struct tenant *tenant)
{
    const struct athd *athd = tenant->athd;
    struct json_maker counters;

    json_object_begin(&counters);
    json_put_int(&counters, "requests", (int64_t)tenant->counters.requests);
    json_put_int(&counters, "errors", (int64_t)tenant->counters.errors);
    json_put_int(&counters, "signatures", (int64_t)tenant->counters.signatures);
    json_put_int(&counters, "denials", (int64_t)tenant->counters.denials);
    json_put_int(&counters, "prompts",
                 (int64_t)(tenant->counters.prompts + athd->counters.prompts));
    json_put_int(&counters, "helper_restarts", (int64_t)athd->counters.helper_restarts);
    json_put_int(&counters, "connections_refused", (int64_t)athd->counters.connections_refused);
    json_put_maker(result, "counters", &counters);
}

static void
put_audit(struct json_maker *result, const struct athd *athd, const struct audit_head *head)
{
    struct json_maker audit;

    json_object_begin(&audit);
    json_put_int(&audit, "size",
                 (int64_t)(head != NULL ? head->size : audit_log_size(athd->audit)));
    if (head != NULL)
        json_put_base64url(&audit, "root", ath_slice_of(head->root, SHA256_LEN));
    if (athd->checkpoints != NULL)
        audit_checkpoints_put_status(athd->checkpoints, &audit);
    json_put_maker(result, "audit", &audit);
}

struct own {
    const struct request *request;
    int64_t keys, handshakes, sessions;
};

static void
count_own_key(void *ctx, struct key *key)
{
    struct own *own = ctx;

    own->keys += grant_has_key(own->request->caller->through, key);
}

static void
count_own_handshake(void *ctx, const struct handshake *handshake)
{
    struct own *own = ctx;

    own->handshakes += handshake->ended_at == 0 &&
                       caller_sees(own->request->caller, handshake->caller_identity);
}

static void
count_own_session(void *ctx, const struct session *session)
{
    struct own *own = ctx;

    own->sessions += caller_sees(own->request->caller, session->caller_identity);
}

/* At a grant's socket: of its own affairs. */
static void
answer_own_status(struct request *request)
{
    const struct tenant *tenant = request->tenant;
    struct own own = {.request = request};
    struct json_maker result;

    key_store_each(tenant->keys, count_own_key, &own);
    handshake_table_each(tenant->handshakes, count_own_handshake, &own);
    session_table_each(tenant->sessions, count_own_session, &own);
    json_object_begin(&result);
    json_put_int(&result, "uptime",
                 (int64_t)((clock_monotonic_ms() - tenant->athd->started_ms) / 1000));
    lock_put_status(tenant->lock, &result);
    grant_put_own(request->caller->through, &result, "grant");
    json_put_int(&result, "keys", own.keys);
    json_put_int(&result, "handshakes", own.handshakes);
    json_put_int(&result, "sessions", own.sessions);
    request_finish_maker(request, &result);
}

/* head: of the whole log, NULL where it cannot be told. */
static void
answer_status(struct request *request, const struct audit_head *head)
{
    const struct tenant *tenant = request->tenant;
    const struct athd *athd = tenant->athd;
    struct json_maker result;
    struct json *hsms = NULL, *report = NULL, *damaged = NULL;

    json_object_begin(&result);
    json_put_int(&result, "uptime", (int64_t)((clock_monotonic_ms() - athd->started_ms) / 1000));
    lock_put_status(tenant->lock, &result);
    lock_watch_put_status(athd->lock_watch, &result);
    if (hsm_pool_status(athd->hsms, &hsms) != ATH_OK ||
        key_store_report(tenant->keys, &report) != ATH_OK ||
        damage_report(&athd->damage, tenant->dir, &damaged) != ATH_OK)
        result.err = ATH_ERR_NOMEM;
    json_put_take(&result, "hsms", hsms);
    json_put_int(&result, "keys", (int64_t)key_store_count(tenant->keys));
    json_put_take(&result, "key_files", report);
    json_put_take(&result, "damaged", damaged);
    json_put_int(&result, "handshakes", (int64_t)handshake_table_count(tenant->handshakes));
    json_put_int(&result, "sessions", (int64_t)session_table_count(tenant->sessions));
    policy_put_status(athd->policy, &result, "policy");
    freeze_put(tenant->freeze, &result, "frozen");
    put_audit(&result, athd, head);
    put_counters(&result, tenant);
    request_finish_maker(request, &result);
}

struct status {
    struct request *request;
    struct audit_reach reach;
};

static void
on_head(void *ctx, ath_err err, const struct audit_head *head, const struct why *why)
{
    struct status *status = ctx;
    struct request *request = status->request;

    (void)why; /* it is in the answer's `audit` */
    free(status);
    request->cancel = NULL;
    answer_status(request, err == ATH_OK ? head : NULL);
}

static void
on_status_cancel(struct request *request, ath_err err)
{
    struct status *status = request->stage;

    audit_follower_forget(audit_checkpoints_follower(request->athd->checkpoints), &status->reach);
    free(status);
    request_fail(request, err, NULL);
}

/* The root is a moment behind the log: it is waited for, unless something holds it up. */
void
method_agent_status(struct request *request)
{
    struct audit_checkpoints *checkpoints = request->athd->checkpoints;
    struct status *status;

    if (request->caller->through != NULL) {
        answer_own_status(request);
        return;
    }
    if (checkpoints == NULL ||
        audit_follower_failure(audit_checkpoints_follower(checkpoints)) != NULL ||
        (status = calloc(1, sizeof(*status))) == NULL) {
        answer_status(request, NULL);
        return;
    }
    status->request = request;
    status->reach = (struct audit_reach){
        .size = audit_log_size(request->athd->audit), .done = on_head, .ctx = status};
    request->stage = status;
    request->cancel = on_status_cancel;
    audit_follower_reach(audit_checkpoints_follower(checkpoints), &status->reach);
}

static unsigned
topic_bit(const char *name)
{
    unsigned topic;

    for (topic = 0; topic < EVENT_TOPIC_COUNT; topic++)
        if (strcmp(event_topic_name((enum event_topic)topic), name) == 0)
            return 1u << topic;
    return 0;
}

/* The list replaces the one before; an empty one ends the subscription. */
void
method_events_subscribe(struct request *request)
{
    const struct json *topics = json_get(request->params, "topics"), *topic;
    struct json_maker result;
    unsigned bits = 0;

    for (topic = json_first(topics); topic != NULL; topic = json_next(topic))
        bits |= topic_bit(json_string(topic));
    if (request->connection != NULL)
        request->connection->topics =
            bits | (request->connection->attends ? 1u << EVENT_CONSENT : 0);
    request->athd->topics_wanted |= bits;
    json_object_begin(&result);
    json_put_copy(&result, "topics", topics);
    request_finish_maker(request, &result);
}
