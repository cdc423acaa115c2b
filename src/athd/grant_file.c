/* A grant's file, and whether the grant in it outlives the athd that wrote it. */
#include <stdlib.h>
#include <string.h>

#include "athd/grant_table.h"
#include "base/clock.h"

#define FILE_VERSION 1

static void
put_file_process(const struct grant *grant, struct json_maker *object)
{
    const struct grant_process_id *id;
    struct json_maker member;

    if (grant->process == NULL)
        return;
    id = grant_process_id(grant->process);
    json_object_begin(&member);
    json_put_int(&member, "pid", id->pid);
    json_put_int(&member, "start_ticks", (int64_t)id->start_ticks);
    json_put_string(&member, "boot_id", id->boot_id);
    json_put_maker(object, "process", &member);
}

ath_err
grant_encode(const struct grant *grant, int64_t uses, struct json **ret_object)
{
    const struct policy_rule *rule = grant_limits_rule(grant->limits);
    struct json_maker object, thumbprints;

    json_object_begin(&object);
    json_put_int(&object, "version", FILE_VERSION);
    if (grant->parent != NULL)
        json_put_string(&object, "parent", grant->parent->name);
    grant_limits_put_texts(&object, "keys", &rule->keys);
    json_array_begin(&thumbprints);
    for (size_t i = 0; i < rule->keys.count; i++)
        json_put_string(&thumbprints, NULL, grant->keys[i].jkt);
    json_put_maker(&object, "jkts", &thumbprints);
    /* each by its name: no group grows while the grant lives */
    grant_limits_put(rule, &object);
    json_put_int(&object, "created_at", grant->created_at);
    if (grant->expires_at != 0)
        json_put_int(&object, "expires_at", grant->expires_at);
    if (grant->max_uses != 0) {
        json_put_int(&object, "max_uses", grant->max_uses);
        json_put_int(&object, "uses", uses);
    }
    put_file_process(grant, &object);
    return json_maker_end(&object, ret_object);
}

static ath_err
decode_keys(const struct json *object, struct grant *grant, struct why *why)
{
    const struct policy_rule *rule = grant_limits_rule(grant->limits);
    const struct json *entry = json_first(json_get(object, "jkts"));

    if (rule->keys.count == 0 || rule->keys.count > GRANT_KEYS_MAX ||
        json_count(json_get(object, "jkts")) != rule->keys.count)
        return why_set(why, ATH_ERR_PARSE, "keys or jkts are missing or wrong");
    if ((grant->keys = calloc(rule->keys.count, sizeof(*grant->keys))) == NULL)
        return ATH_ERR_NOMEM;
    for (size_t i = 0; i < rule->keys.count; i++, entry = json_next(entry)) {
        if (json_string(entry) == NULL || strlen(json_string(entry)) != JKT_LEN)
            return why_set(why, ATH_ERR_PARSE, "jkts are RFC 7638 thumbprints");
        grant->keys[i].name = rule->keys.items[i];
        memcpy(grant->keys[i].jkt, json_string(entry), JKT_LEN + 1);
    }
    return ATH_OK;
}

static ath_err
decode_numbers(const struct json *object, struct grant *grant, struct why *why)
{
    if (!json_get_int(object, "created_at", &grant->created_at))
        return why_set(why, ATH_ERR_PARSE, "created_at is missing or wrong");
    if (json_get(object, "expires_at") != NULL &&
        (!json_get_int(object, "expires_at", &grant->expires_at) || grant->expires_at < 1))
        return why_set(why, ATH_ERR_PARSE, "expires_at is wrong");
    if (json_get(object, "max_uses") == NULL)
        return ATH_OK;
    if (!json_get_int(object, "max_uses", &grant->max_uses) || grant->max_uses < 1 ||
        !json_get_int(object, "uses", &grant->uses) || grant->uses < 0 ||
        grant->uses > grant->max_uses)
        return why_set(why, ATH_ERR_PARSE, "max_uses or uses are wrong");
    grant->uses_sent = grant->uses_on_disk = grant->uses;
    return ATH_OK;
}

static ath_err
decode_process(const struct json *process, struct grant_file *file, struct why *why)
{
    const char *boot_id = json_get_string(process, "boot_id");
    int64_t pid = 0, start_ticks = 0;

    if (process == NULL)
        return ATH_OK;
    if (!json_get_int(process, "pid", &pid) || pid < 1 || pid > INT32_MAX ||
        !json_get_int(process, "start_ticks", &start_ticks) || start_ticks < 1 || boot_id == NULL ||
        strlen(boot_id) != GRANT_BOOT_ID_SIZE - 1)
        return why_set(why, ATH_ERR_PARSE, "process is not {pid, start_ticks, boot_id}");
    file->has_process = true;
    file->process.pid = (pid_t)pid;
    file->process.start_ticks = (uint64_t)start_ticks;
    memcpy(file->process.boot_id, boot_id, GRANT_BOOT_ID_SIZE);
    return ATH_OK;
}

ath_err
grant_decode(const struct json *object, const char *name, uid_t owner, struct why *why,
             struct grant_file *ret_file)
{
    const char *parent = json_get_string(object, "parent");
    struct grant_file file = {.grant = NULL};
    ath_err err;

    if (!name_is_valid(name) || (parent != NULL && !name_is_valid(parent)))
        return why_set(why, ATH_ERR_PARSE, "it, or its parent, has no name of a grant");
    if ((file.grant = grant_new_empty(name)) == NULL ||
        (parent != NULL && (file.parent = ath_strdup(parent)) == NULL))
        err = ATH_ERR_NOMEM;
    else if ((err = grant_limits_new(object, owner, NULL, why, &file.grant->limits)) == ATH_OK &&
             (err = decode_keys(object, file.grant, why)) == ATH_OK &&
             (err = decode_numbers(object, file.grant, why)) == ATH_OK)
        err = decode_process(json_get(object, "process"), &file, why);
    if (err == ATH_OK)
        *ret_file = file;
    else
        grant_file_done(&file);
    return err == ATH_ERR_INVALID_PARAMS ? ATH_ERR_PARSE : err;
}

void
grant_file_done(struct grant_file *file)
{
    free(file->parent);
    grant_free(file->grant);
    *file = (struct grant_file){.grant = NULL};
}

/* ---- after a restart ---- */

bool
grant_has_process(const struct grant *grant)
{
    while (grant != NULL && grant->process == NULL)
        grant = grant->parent;
    return grant != NULL;
}

bool
grant_file_is_over(struct grant_file *file, uid_t uid, enum grant_end_reason *ret_reason)
{
    struct grant *grant = file->grant;
    struct why why = {{0}};

    *ret_reason = GRANT_EXPIRED;
    if (grant->expires_at != 0 && grant->expires_at <= clock_now())
        return true;
    *ret_reason = GRANT_PROCESS_ENDED;
    if (file->has_process &&
        grant_process_find_again(&file->process, uid, &why, &grant->process) != ATH_OK)
        return true;
    *ret_reason =
        file->parent != NULL && grant->parent == NULL ? GRANT_PARENT_ENDED : GRANT_ATHD_RESTARTED;
    return false;
}
