/* service.*: what this machine's applications offer to whom. */
#include <stdlib.h>

#include "athd/dispatch.h"
#include "athd/handshake_table.h"
#include "athd/method_support.h"
#include "athd/session_table.h"

struct service_job {
    struct request *request;
    bool serves_anyone;
    char *idle_agent; /* NULL: none; whose scopes the service does not all support */
};

static void
job_free(struct service_job *job)
{
    if (job == NULL)
        return;
    free(job->idle_agent);
    free(job);
}

static void
record_service(struct request *request, const char *event)
{
    struct json_maker record;

    audit_record_begin(&record, event, request);
    json_put_string(&record, "service", method_param(request, "name"));
    json_put_string(&record, "key", method_param(request, "key"));
    audit_record_note(request->athd, &record);
}

static void
put_warnings(struct json_maker *result, const struct service_job *job)
{
    struct json_maker warnings;
    struct ath_buf text = {.max = 1024};

    if (!job->serves_anyone && job->idle_agent == NULL)
        return;
    json_array_begin(&warnings);
    if (job->serves_anyone)
        json_put_string(&warnings, NULL,
                        "users[\"*\"]: anyone who makes a user key is served, all as one account");
    if (job->idle_agent != NULL) {
        ath_buf_printf(&text,
                       "agents[\"%s\"]: not all of its scopes are among scopes_supported; "
                       "those that are not are never granted",
                       job->idle_agent);
        json_put_string(&warnings, NULL, ath_buf_text(&text));
    }
    json_put_maker(result, "warnings", &warnings);
    ath_buf_done(&text);
}

/* The first agent that is allowed what the service does not know: most likely a slip of the pen. */
static const char *
find_idle_agent(const struct service *rules)
{
    size_t i;

    for (i = 0; i < rules->agent_count; i++)
        if (rules->agents[i].allowed.count < rules->agents[i].scopes.count)
            return rules->agents[i].did;
    return NULL;
}

static void
on_put(void *ctx, ath_err err, const struct why *why)
{
    struct service_job *job = ctx;
    struct request *request = job->request;
    struct json_maker result;

    if (err != ATH_OK) {
        job_free(job);
        request_fail(request, err, why);
        return;
    }
    record_service(request, "service_put");
    json_object_begin(&result);
    put_warnings(&result, job);
    job_free(job);
    request_finish_maker(request, &result);
}

static ath_err
check_key(const struct request *request, const struct service *rules, struct why *why)
{
    struct key *key;

    return method_key(request, rules->key, DID_SERVER, why, &key);
}

void
method_service_put(struct request *request)
{
    struct service_job *job = NULL;
    struct service *rules = NULL;
    struct why why = {""};
    const char *agent, *other, *key = method_param(request, "key");
    ath_err err;

    if ((err = service_decode(request->params, &why, &rules)) != ATH_OK ||
        (err = check_key(request, rules, &why)) != ATH_OK)
        goto fail;
    if ((job = calloc(1, sizeof(*job))) == NULL) {
        err = ATH_ERR_NOMEM;
        goto fail;
    }
    *job = (struct service_job){request, service_serves_anyone(rules), NULL};
    if ((agent = find_idle_agent(rules)) != NULL && (job->idle_agent = ath_strdup(agent)) == NULL) {
        err = ATH_ERR_NOMEM;
        goto fail;
    }
    err = service_store_put(request->tenant->services, rules, on_put, job);
    rules = NULL;
    if (err == ATH_OK)
        return;
    other = service_store_name_of_key(request->tenant->services, key);
    if (err == ATH_ERR_EXISTS)
        why_set(&why, ATH_ERR_INVALID_PARAMS,
                "key \"%s\" belongs to another service (%s); make a key for this one", key,
                other != NULL ? other : "being written");
fail:
    job_free(job);
    service_free(rules);
    request_fail(request, err, &why);
}

struct listing {
    const struct request *request;
    struct json_maker array;
};

static void
list_service(void *ctx, const struct service_entry *entry)
{
    struct listing *listing = ctx;
    struct json *object = NULL;

    if (!service_entry_is_for(entry, listing->request->tenant, listing->request->caller))
        return;
    if (service_encode(entry->rules, &object) != ATH_OK)
        object = NULL;
    json_put_take(&listing->array, NULL, object);
}

void
method_service_list(struct request *request)
{
    struct listing listing = {.request = request};
    struct json_maker result;

    json_array_begin(&listing.array);
    service_store_each(request->tenant->services, list_service, &listing);
    json_object_begin(&result);
    json_put_maker(&result, "services", &listing.array);
    request_finish_maker(request, &result);
}

static void
on_deleted(void *ctx, ath_err err, const struct why *why)
{
    struct request *request = ctx;
    struct json_maker result;

    if (err != ATH_OK) {
        request_fail(request, err, why);
        return;
    }
    record_service(request, "service_deleted");
    json_object_begin(&result);
    request_finish_maker(request, &result);
}

/* Its handshakes and sessions end with it. */
void
method_service_delete(struct request *request)
{
    const char *name = method_param(request, "name");
    struct tenant *tenant = request->tenant;
    struct why why = {""};
    ath_err err;

    if ((err = service_store_remove(tenant->services, name, on_deleted, request)) != ATH_OK) {
        if (err == ATH_ERR_NOT_FOUND)
            why_set(&why, err, "there is no service \"%s\"", name);
        request_fail(request, err, &why);
        return;
    }
    handshake_table_abort_service(tenant->handshakes, name);
    session_table_remove_service(tenant->sessions, name);
}
