/* What a lock ends, and who is told of it. */
#include "athd/athd.h"
#include "athd/audit_record.h"
#include "athd/consent.h"
#include "athd/events.h"
#include "athd/hsm_pool.h"
#include "athd/key_store.h"
#include "athd/lock.h"

/* ---- what ends ---- */

/* Whatever they still do, nothing of it leaves. */
static void
lock_out(struct tenant *tenant)
{
    struct request *request;

    LIST_FOREACH (request, &tenant->athd->requests.all, of_athd) {
        enum lock_class class = lock_class_of(request->method->name);

        if (request->tenant == tenant && class != LOCK_OPEN && class != LOCK_ENTRY)
            request->is_locked_out = true;
    }
}

/* From the start after each: a cancel may end other requests too. */
static void
cancel_locked_out(struct tenant *tenant)
{
    struct request *request;

    do {
        LIST_FOREACH (request, &tenant->athd->requests.all, of_athd)
            if (request->tenant == tenant && request->is_locked_out && request->cancel != NULL)
                break;
        if (request != NULL)
            request_cancel(request, ATH_ERR_AGENT_LOCKED);
    } while (request != NULL);
}

/* Keys whose user is asked once: asked anew. */
static void
forget_yes(void *ctx, struct key *key)
{
    (void)ctx;
    key->confirmed = false;
    key->locks++;
}

/* A token's login is everybody's whom athd serves: one uid's lock does not end it for the others.
 * The PINs of its own keys are forgotten. */
static void
shut_hsms(const struct tenant *tenant, bool is_shut)
{
    struct hsm_pool *hsms = tenant->athd->hsms;

    if (hsms == NULL)
        return;
    if (!tenant->athd->config->is_system)
        hsm_pool_shut(hsms, is_shut);
    else if (is_shut)
        hsm_pool_forget_pins(hsms, tenant);
}

void
lock_take_effect(struct tenant *tenant)
{
    lock_out(tenant);
    cancel_locked_out(tenant);
    policy_forget(tenant);
    consent_end_windows_of(tenant->athd->consent, tenant->uid);
    key_store_each(tenant->keys, forget_yes, NULL);
    shut_hsms(tenant, true);
}

void
lock_lift(struct tenant *tenant)
{
    shut_hsms(tenant, false);
}

/* ---- who is told ---- */

static void
publish(struct tenant *tenant, const char *state, const char *by)
{
    struct json_maker event;

    json_object_begin(&event);
    json_put_string(&event, "state", state);
    json_put_string(&event, "by", by);
    events_publish_to(tenant, EVENT_LOCK, &event);
}

/* logind says what a user's own programs make it say: as often as they like. */
static bool
has_record(const struct tenant *tenant, const char *event, const struct request *request)
{
    return request != NULL || audit_flood_admits(&tenant->athd->flood, event, tenant->uid);
}

static void
begin(struct json_maker *record, const char *event, const struct tenant *tenant,
      const struct request *request)
{
    audit_record_begin(record, event, request);
    if (request == NULL)
        audit_record_put_owner(record, tenant);
}

void
lock_tell_locked(struct tenant *tenant, enum lock_reason reason, const struct request *request)
{
    const char *by = lock_reason_name(reason);
    struct json_maker record;

    log_info("event=locked uid=%lu by=%s", (unsigned long)tenant->uid, by);
    publish(tenant, "locked", by);
    if (!has_record(tenant, "agent_locked", request))
        return;
    begin(&record, "agent_locked", tenant, request);
    json_put_string(&record, "by", by);
    audit_record_note(tenant->athd, &record);
}

/* By what a person showed who they are. */
static const char *
key_to(unsigned reasons, const struct request *request)
{
    if (request == NULL)
        return "session";
    return (reasons & LOCK_BY_PASSPHRASE) != 0 ? "passphrase" : "answer";
}

void
lock_tell_unlocked(struct tenant *tenant, unsigned reasons, const struct request *request)
{
    const char *by = key_to(reasons, request);
    bool is_open = lock_reasons(tenant->lock) == 0;
    struct json_maker record;

    log_info("event=unlocked uid=%lu by=%s locked=%s", (unsigned long)tenant->uid, by,
             is_open ? "false" : "true");
    publish(tenant, is_open ? "unlocked" : "locked", by);
    if (!has_record(tenant, "agent_unlocked", request))
        return;
    begin(&record, "agent_unlocked", tenant, request);
    json_put_string(&record, "by", by);
    json_put_bool(&record, "locked", !is_open);
    audit_record_note(tenant->athd, &record);
}
