/* What is on record of grants: that they were made, with all they allow, and why they ended. */
#include "athd/athd.h"
#include "athd/audit_record.h"
#include "athd/grant_table.h"

void
grant_record_created(struct request *request, const struct grant *grant, bool is_adopted)
{
    struct json_maker record, member;

    audit_record_begin(&record, "grant_created", request);
    json_put_string(&record, "grant", grant->name);
    if (is_adopted)
        json_put_bool(&record, "adopted", true);
    json_object_begin(&member);
    grant_put_all(grant, &member);
    json_put_maker(&record, "limits", &member);
    audit_record_note(request->athd, &record);
}

void
grant_record_ended(const struct tenant *tenant, const struct grant *grant,
                   enum grant_end_reason reason, const struct request *request)
{
    static const char *const reasons[] = {"revoked",       "expired",      "used_up",
                                          "process_ended", "parent_ended", "athd_restarted",
                                          "failed"};
    struct json_maker record;

    audit_record_begin(&record, "grant_ended", request);
    if (request == NULL)
        audit_record_put_owner(&record, tenant);
    json_put_string(&record, "grant", grant->name);
    json_put_string(&record, "why", reasons[reason]);
    if (grant->max_uses != 0)
        json_put_int(&record, "uses", grant->uses);
    audit_record_note(tenant->athd, &record);
}
