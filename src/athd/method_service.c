/* service.*: what this machine's applications offer to whom. */
#include <stdlib.h>

#include "athd/dispatch.h"
#include "athd/handshake_table.h"
#include "athd/method_support.h"
#include "athd/session_table.h"

struct service_job {
    struct request *request;
    bool serves_anyone;
};

static void
record_service(struct request *request, const char *event)
{
    struct json_maker record;

    audit_record_begin(&record, event, request);
    json_put_string(&record, "service", method_param(request, "name"));
    audit_append(request->athd->audit, &record, NULL, NULL);
}

static void
on_put(void *ctx, ath_err err, const struct why *why)
{
    struct service_job *job = ctx;
    struct request *request = job->request;
    bool serves_anyone = job->serves_anyone;
    struct json_maker result, warnings;

    free(job);
    if (err != ATH_OK) {
        request_fail(request, err, why);
        return;
    }
    record_service(request, "service_put");
    json_object_begin(&result);
    if (serves_anyone) {
        json_array_begin(&warnings);
        json_put_string(&warnings, NULL,
                        "users[\"*\"]: anyone who makes a user key is served, all as one account");
        json_put_maker(&result, "warnings", &warnings);
    }
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
    ath_err err;

    if ((err = service_decode(request->params, &why, &rules)) != ATH_OK ||
        (err = check_key(request, rules, &why)) != ATH_OK)
        goto fail;
    if ((job = calloc(1, sizeof(*job))) == NULL) {
        err = ATH_ERR_NOMEM;
        goto fail;
    }
    *job = (struct service_job){request, service_serves_anyone(rules)};
    err = service_store_put(request->athd->services, rules, on_put, job);
    rules = NULL;
    if (err == ATH_OK)
        return;
    if (err == ATH_ERR_EXISTS)
        why_set(&why, ATH_ERR_INVALID_PARAMS,
                "key \"%s\" belongs to another service; a server's key belongs to one service only",
                method_param(request, "key"));
fail:
    free(job);
    service_free(rules);
    request_fail(request, err, &why);
}

static void
list_service(void *ctx, const struct service_entry *entry)
{
    struct json *object = NULL;

    if (service_encode(entry->rules, &object) != ATH_OK)
        object = NULL;
    json_put_take(ctx, NULL, object);
}

void
method_service_list(struct request *request)
{
    struct json_maker result, array;

    json_array_begin(&array);
    service_store_each(request->athd->services, list_service, &array);
    json_object_begin(&result);
    json_put_maker(&result, "services", &array);
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
    struct athd *athd = request->athd;
    struct why why = {""};
    ath_err err;

    if ((err = service_store_remove(athd->services, name, on_deleted, request)) != ATH_OK) {
        if (err == ATH_ERR_NOT_FOUND)
            why_set(&why, err, "there is no service \"%s\"", name);
        request_fail(request, err, &why);
        return;
    }
    handshake_table_abort_service(athd->handshakes, name);
    session_table_remove_service(athd->sessions, name);
}
