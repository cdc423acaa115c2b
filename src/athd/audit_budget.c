#include "athd/audit_budget.h"

#include <stdlib.h>
#include <string.h>

#include "athd/athd.h"
#include "athd/audit_record.h"
#include "athd/lock.h"
#include "base/clock.h"

#define DAY_US (86400u * UINT64_C(1000000))
#define KEPT_US (DAY_US / 8) /* for what takes away */
#define PLACES (2u * TENANTS_MAX)
#define REFUSALS_A_MINUTE 1u /* that are recorded each: they are about too many records */

/* Of one uid only how long it takes until all of its budget is there again. */
struct audit_budget_uid {
    bool is_used;
    uid_t uid;
    uint64_t full_at_us; /* monotonic; in the past: it is full */
};

ath_err
audit_budget_init(struct audit_budget *budget, const struct athd *athd)
{
    *budget = (struct audit_budget){.athd = athd};
    if (!athd->config->is_system)
        return ATH_OK;
    budget->uids = calloc(PLACES, sizeof(*budget->uids));
    return budget->uids == NULL ? ATH_ERR_NOMEM : ATH_OK;
}

void
audit_budget_done(struct audit_budget *budget)
{
    free(budget->uids);
    budget->uids = NULL;
}

/* There is a place for each tenant, and half of them stay free. */
static struct audit_budget_uid *
place_of(const struct audit_budget *budget, uid_t uid)
{
    size_t at = uid % PLACES;

    while (budget->uids[at].is_used && budget->uids[at].uid != uid)
        at = (at + 1) % PLACES;
    return &budget->uids[at];
}

static uint64_t
per_day(const struct audit_budget *budget)
{
    return budget->uids == NULL ? 0 : (uint64_t)budget->athd->config->audit.uid_bytes_per_day;
}

void
audit_budget_charge(struct audit_budget *budget, uid_t owner, size_t len)
{
    uint64_t now_us = clock_monotonic_ms() * 1000, bytes = per_day(budget);
    struct audit_budget_uid *place;

    if (bytes == 0)
        return;
    place = place_of(budget, owner);
    if (!place->is_used || place->full_at_us < now_us)
        *place = (struct audit_budget_uid){true, owner, now_us};
    place->full_at_us += len * DAY_US / bytes; /* len is below 2^16 */
}

/* ---- calls ---- */

static bool
has_suffix(const char *name, const char *suffix)
{
    size_t len = strlen(name), suffix_len = strlen(suffix);

    return len >= suffix_len && strcmp(name + len - suffix_len, suffix) == 0;
}

/* docs/audit-events.md: what only reads has no record. */
static bool
only_reads(const char *method)
{
    static const char *const readers[] = {"agent.hello", "agent.status", "events.subscribe",
                                          "key.get",     "policy.check", "policy.show"};

    for (size_t i = 0; i < sizeof(readers) / sizeof(readers[0]); i++)
        if (strcmp(method, readers[i]) == 0)
            return true;
    return has_suffix(method, ".list") || strncmp(method, "audit.", strlen("audit.")) == 0;
}

/* After how much of the day's budget the method is refused. */
static uint64_t
limit_us(const char *method)
{
    if (only_reads(method))
        return UINT64_MAX;
    return lock_class_of(method) == LOCK_CLOSED ? DAY_US - KEPT_US : DAY_US;
}

static void
record_refusal(struct request *request)
{
    struct json_maker record;

    if (!audit_flood_admits_few(&request->athd->flood, "audit_budget_spent", request->tenant->uid,
                                REFUSALS_A_MINUTE))
        return;
    audit_record_begin(&record, "audit_budget_spent", request);
    json_put_string(&record, "method", request->method->name);
    json_put_string(&record, "denial_reason", ath_err_reason(ATH_ERR_RATE_LIMITED));
    audit_record_note(request->athd, &record);
}

static ath_err
refuse(struct request *request, int64_t retry_after_s, struct why *why, struct json **ret_data)
{
    uid_t uid = request->tenant->uid;
    struct json_maker data;

    log_warning("event=audit_budget_spent uid=%lu method=%s retry_after=%lld", (unsigned long)uid,
                request->method->name, (long long)retry_after_s);
    request->tenant->counters.denials++;
    json_object_begin(&data);
    json_put_int(&data, "retry_after", retry_after_s);
    if (json_maker_end(&data, ret_data) != ATH_OK)
        *ret_data = NULL;
    return why_set(why, ATH_ERR_RATE_LIMITED,
                   "uid %lu has had its part of this machine's audit log (uid_bytes_per_day in "
                   "athd.json); try again in %lld s",
                   (unsigned long)uid, (long long)retry_after_s);
}

/* 0: now, else in how many seconds (at least 1). */
static int64_t
wait_s(const struct audit_budget *budget, uid_t uid, uint64_t limit)
{
    uint64_t now_us = clock_monotonic_ms() * 1000;
    const struct audit_budget_uid *place = place_of(budget, uid);

    if (!place->is_used || place->full_at_us <= now_us || place->full_at_us - now_us < limit)
        return 0;
    return (int64_t)((place->full_at_us - now_us - limit) / 1000000 + 1);
}

ath_err
audit_budget_admits(struct request *request, struct why *why, struct json **ret_data)
{
    const struct audit_budget *budget = &request->athd->audit_budget;
    uint64_t limit = limit_us(request->method->name);
    uid_t uid = request->tenant->uid;

    if (per_day(budget) == 0 || wait_s(budget, uid, limit) == 0)
        return ATH_OK;
    record_refusal(request); /* first: it is one of this uid's */
    return refuse(request, wait_s(budget, uid, limit), why, ret_data);
}
