/* key.list, key.get, key.export: what athd says of its keys. */
#include "athd/dispatch.h"
#include "athd/grant.h"
#include "athd/key_export.h"
#include "athd/method_support.h"

struct listing {
    struct request *request;
    struct json_maker array;
    enum did_role role;
    bool all_roles;
};

static void
list_key(void *ctx, struct key *key)
{
    struct listing *listing = ctx;
    struct json *info = NULL;

    const struct grant *through = listing->request->caller->through;

    if ((!listing->all_roles && key->role != listing->role) ||
        (through != NULL && !grant_has_key(through, key)))
        return;
    if (key_info(key, listing->request->athd->hsms, &info) != ATH_OK)
        info = NULL;
    json_put_take(&listing->array, NULL, info);
}

void
method_key_list(struct request *request)
{
    struct listing listing = {.request = request};
    struct json_maker result;

    listing.all_roles = !did_role_parse(method_param(request, "role"), &listing.role);
    json_array_begin(&listing.array);
    key_store_each(request->tenant->keys, list_key, &listing);
    json_object_begin(&result);
    json_put_maker(&result, "keys", &listing.array);
    request_finish_maker(request, &result);
}

void
method_key_get(struct request *request)
{
    struct key *key = method_named_key(request);
    struct json *info = NULL;

    if (key == NULL)
        return;
    if (key_info(key, request->athd->hsms, &info) != ATH_OK)
        info = NULL;
    request_finish(request, info);
}

static void
record_export(const struct request *request, const struct key *key)
{
    struct json_maker record;

    audit_record_begin(&record, "key_exported", request);
    json_put_string(&record, "key", key->name);
    json_put_string(&record, "jkt", public_key_jkt(key->public_key));
    json_put_string(&record, "format", method_param(request, "format"));
    audit_record_note(request->athd, &record);
}

void
method_key_export(struct request *request)
{
    struct key *key = method_named_key(request);
    struct json_maker result;
    struct json *data = NULL;
    struct why why = {""};
    ath_err err;

    if (key == NULL)
        return;
    if ((err = key_export(key, method_param(request, "format"), &why, &data)) != ATH_OK) {
        request_fail(request, err, &why);
        return;
    }
    record_export(request, key);
    json_object_begin(&result);
    json_put_take(&result, "data", data);
    request_finish_maker(request, &result);
}
