/* grant.*: sockets for one agent. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "athd/dispatch.h"
#include "athd/grant_table.h"
#include "athd/method_support.h"
#include "athd/policy_record.h"
#include "base/clock.h"

/* ---- grant.create ---- */

struct creation {
    struct request *request;
    struct grant *grant; /* counted */
    bool is_adopted;
};

/* What athd would have had to do more than the grant above allows is refused like any call that is
 * not allowed, and on record as such. */
static void
fail(struct request *request, ath_err err, const struct why *why)
{
    struct policy_question question = {.method = request->method->name};
    struct policy_answer answer = {.verdict = POLICY_DENY};
    struct json *data = NULL;
    struct why refusal = {{0}};

    if (err != ATH_ERR_POLICY_DENIED || request->caller->through == NULL) {
        request_fail(request, err, why);
        return;
    }
    answer.rule = request->caller->through->rule;
    (void)snprintf(answer.missing, sizeof(answer.missing), "%s", why->text);
    err = policy_refusal(request, &question, &answer, &refusal, &data);
    request_fail_data(request, err, &refusal, data);
}

static void
on_stored(void *ctx, ath_err err, const struct why *why)
{
    struct creation *creation = ctx;
    struct request *request = creation->request;
    struct grant *grant = creation->grant;
    struct json_maker result;
    struct why ended;

    if (err == ATH_OK && grant->table == NULL)
        err = why_set(&ended, ATH_ERR_GRANT_NOT_FOUND, "the grant \"%s\" has ended already",
                      grant->name),
        why = &ended;
    else if (err != ATH_OK)
        grant_end(grant, GRANT_FAILED);
    if (err == ATH_OK) {
        grant_record_created(request, grant, creation->is_adopted);
        json_object_begin(&result);
        grant_put_all(grant, &result);
        request_finish_maker(request, &result);
    } else {
        request_fail(request, err, why);
    }
    grant_free(grant);
    free(creation);
}

static ath_err
find_process(const struct request *request, struct why *why, struct grant_process **ret_process)
{
    int64_t pid = 0;

    if (!json_get_int(request->params, "process", &pid))
        return ATH_OK;
    if (request->caller->name_space != CALLER_SAME)
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "\"process\" can be named by programs in athd's own PID namespace only");
    return grant_process_find((pid_t)pid, request->caller->uid, why, ret_process);
}

static ath_err
make(struct creation *creation, struct why *why)
{
    struct request *request = creation->request;
    struct tenant *tenant = request->tenant;
    struct grant *grant = NULL;
    ath_err err;

    err = grant_new(request->params, tenant->uid, request->caller->through, tenant->keys,
                    clock_now(), why, &grant);
    if (err == ATH_OK && (err = find_process(request, why, &grant->process)) == ATH_OK)
        err = grant_table_add(tenant->grants, grant, why, on_stored, creation);
    if (err == ATH_OK)
        creation->grant = grant;
    else
        grant_free(grant);
    return err;
}

/* The owner, or one that it is within, gives a grant that is there its process. */
static ath_err
adopt(struct creation *creation, struct why *why)
{
    static const char *const others[] = {"keys",   "methods", "audiences", "peers",
                                         "scopes", "ttl",     "max_uses",  "unit"};
    struct request *request = creation->request;
    const char *name = method_param(request, "name");
    struct grant *grant = grant_table_find(request->tenant->grants, name);
    struct grant *through = request->caller->through;
    struct grant_process *process = NULL;
    ath_err err;

    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        if (method_param_json(request, others[i]) != NULL)
            return why_set(why, ATH_ERR_INVALID_PARAMS,
                           "\"%s\" cannot be given with \"adopt\": the grant is what it is",
                           others[i]);
    if (grant == NULL || (through != NULL && !grant_is_within(grant, through)))
        return why_set(why, ATH_ERR_GRANT_NOT_FOUND, "there is no grant \"%s\"", name);
    if (grant == through) /* it would live on where athd ends, and end those that have none */
        return why_set(why, ATH_ERR_POLICY_DENIED,
                       "adopt: a grant is given its process by who made it, not through its own "
                       "socket");
    if (grant->process != NULL)
        return why_set(why, ATH_ERR_GRANT_EXISTS,
                       "the grant \"%s\" is another process's, %ld, until that ends", name,
                       (long)grant_process_id(grant->process)->pid);
    if ((err = find_process(request, why, &process)) != ATH_OK)
        return err;
    if (process == NULL)
        return why_set(why, ATH_ERR_INVALID_PARAMS, "\"adopt\" needs a \"process\"");
    creation->is_adopted = true;
    creation->grant = grant_ref(grant);
    if ((err = grant_table_adopt(grant, process, on_stored, creation)) != ATH_OK) {
        grant_process_free(process);
        grant_free(grant);
    }
    return err;
}

void
method_grant_create(struct request *request)
{
    struct creation *creation = calloc(1, sizeof(*creation));
    struct why why = {{0}};
    ath_err err = ATH_ERR_NOMEM;

    if (creation != NULL) {
        creation->request = request;
        err = json_is_true(method_param_json(request, "adopt")) ? adopt(creation, &why)
                                                                : make(creation, &why);
    }
    if (err == ATH_OK)
        return;
    free(creation);
    fail(request, err, &why);
}

/* ---- grant.list, grant.revoke ---- */

struct listing {
    const struct caller *caller;
    struct json_maker array;
};

/* Through a grant: itself, and what is within it. */
static void
list_grant(void *ctx, const struct grant *grant)
{
    struct listing *listing = ctx;
    struct json_maker object;

    if (listing->caller->through != NULL && !grant_is_within(grant, listing->caller->through))
        return;
    json_object_begin(&object);
    grant_put_all(grant, &object);
    json_put_maker(&listing->array, NULL, &object);
}

void
method_grant_list(struct request *request)
{
    struct listing listing = {.caller = request->caller};
    struct json_maker result;
    ath_err err;

    json_array_begin(&listing.array);
    err = grant_table_each(request->tenant->grants, list_grant, &listing);
    json_object_begin(&result);
    json_put_maker(&result, "grants", &listing.array);
    if (err != ATH_OK && result.err == ATH_OK)
        result.err = err;
    request_finish_maker(request, &result);
}

/* Without its file it does not come back when athd is started again. */
static void
on_revoked(void *ctx, ath_err err, const struct why *why)
{
    struct request *request = ctx;
    struct json_maker result;
    struct why kept;

    if (err != ATH_OK) {
        (void)why_set(&kept, err,
                      "the grant has ended, but its file stays, so that it may be there again when "
                      "athd is started again: %.180s",
                      why_text(why, err));
        request_fail(request, err, &kept);
        return;
    }
    json_object_begin(&result);
    request_finish_maker(request, &result);
}

void
method_grant_revoke(struct request *request)
{
    const char *name = method_param(request, "name");
    struct grant *grant = grant_table_find(request->tenant->grants, name);
    struct grant *through = request->caller->through;
    struct why why;

    if (grant == NULL || (through != NULL && !grant_is_within(grant, through))) {
        request_fail(request,
                     why_set(&why, ATH_ERR_GRANT_NOT_FOUND, "there is no grant \"%s\"", name),
                     &why);
        return;
    }
    grant_revoke(grant, request, on_revoked, request);
}
