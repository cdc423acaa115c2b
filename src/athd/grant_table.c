#include "athd/grant_table.h"

#include <stdlib.h>

#include "athd/athd.h"
#include "athd/grant_place.h"
#include "athd/grant_table_private.h"
#include "athd/handshake_table.h"
#include "athd/listener.h"
#include "athd/session_table.h"
#include "athd/store_load.h"
#include "base/clock.h"

#define USED_UP_LINGER_S 60 /* so that who asks once more learns why */

/* ---- time ---- */

static bool
is_used_up(const struct grant *grant)
{
    return grant->max_uses != 0 && grant->uses >= grant->max_uses;
}

/* When it is over by itself, as far as that is known, or WALL_TIMER_NEVER. One that is used up and
 * bound to no process stays for a while, and as long as somebody is connected. */
static int64_t
end_of(const struct grant *grant, int64_t now, enum grant_end_reason *ret_reason)
{
    int64_t at = grant->expires_at != 0 ? grant->expires_at : WALL_TIMER_NEVER, used_up_end;

    *ret_reason = GRANT_EXPIRED;
    if (!is_used_up(grant) || grant->process != NULL)
        return at;
    used_up_end = grant->used_up_at + USED_UP_LINGER_S;
    if (used_up_end <= now &&
        listener_connections_of(grant->table->tenant->athd->listener, grant) > 0)
        used_up_end = now + USED_UP_LINGER_S;
    if (at < used_up_end)
        return at;
    *ret_reason = GRANT_USED_UP;
    return used_up_end;
}

/* One that is over; NULL: none, and *ret_next (or WALL_TIMER_NEVER) is when the next one is. */
static struct grant *
find_over(struct grant_table *table, int64_t now, enum grant_end_reason *ret_reason,
          int64_t *ret_next)
{
    struct grant *grant;

    *ret_next = WALL_TIMER_NEVER;
    LIST_FOREACH (grant, &table->all, of_table) {
        int64_t at = end_of(grant, now, ret_reason);

        if (at <= now)
            return grant;
        if (at < *ret_next)
            *ret_next = at;
    }
    return NULL;
}

void
grant_table_on_due(void *ctx)
{
    struct grant_table *table = ctx;
    enum grant_end_reason reason = GRANT_EXPIRED;
    int64_t now = clock_now(), next = 0;
    struct grant *grant;

    /* from the start after each: others may end with it */
    while ((grant = find_over(table, now, &reason, &next)) != NULL)
        grant_end(grant, reason);
    wall_timer_set(table->timer, next);
}

void
grant_table_note_used_up(struct grant *grant)
{
    grant->used_up_at = clock_now();
    if (grant->table != NULL)
        wall_timer_set(grant->table->timer, grant->used_up_at + USED_UP_LINGER_S);
}

/* ---- files ---- */

void
grant_table_write(struct grant *grant, int64_t uses, store_done_fn *done, void *ctx)
{
    struct grant_table *table = grant->table;
    char *path = store_file_path(table->dir, grant->name, ".json");
    struct ath_buf text = {.max = STORE_FILE_MAX};
    struct json *object = NULL;
    ath_err err = path == NULL ? ATH_ERR_NOMEM : grant_encode(grant, uses, &object);

    if (err == ATH_OK)
        err = store_file_text(object, &text);
    if (err != ATH_OK)
        text.err = err; /* told like a write that failed */
    store_replace(table->tenant->athd, path == NULL ? "" : path, &text, done, ctx);
    json_free(object);
    free(path);
}

/* done NULL: that it failed is in the log. */
static void
remove_file(struct grant_table *table, const char *name, store_done_fn *done, void *ctx)
{
    char *path = store_file_path(table->dir, name, ".json");
    struct ath_buf none = {.err = ATH_ERR_NOMEM};

    if (path != NULL)
        store_remove(table->tenant->athd, path, done, ctx);
    else
        store_replace(table->tenant->athd, "", &none, done, ctx); /* told as a failure */
    free(path);
}

/* ---- the end ---- */

static void
end_within(struct grant_table *table, const struct grant *parent)
{
    struct grant *grant;

    do { /* from the start after each: it ends others */
        LIST_FOREACH (grant, &table->all, of_table)
            if (grant->parent == parent)
                break;
        if (grant != NULL)
            grant_end(grant, GRANT_PARENT_ENDED);
    } while (grant != NULL);
}

static void
end(struct grant *grant, enum grant_end_reason reason, const struct request *request,
    store_done_fn *done, void *ctx)
{
    struct grant_table *table = grant->table;

    /* first of all, so that nothing that follows from this is allowed any more */
    grant->table = NULL;
    LIST_REMOVE(grant, of_table);
    (void)string_map_remove(&table->by_name, grant->name);
    grant_record_ended(table->tenant, grant, reason, request);
    log_info("event=grant-ended grant=%s", grant->name);
    end_within(table, grant);
    remove_file(table, grant->name, done, ctx);
    grant_process_free(grant->process);
    grant->process = NULL;
    if (grant->socket != NULL)
        listener_drop(grant->socket);
    grant->socket = NULL;
    if (grant->path != NULL)
        grant_place_remove(grant->path);
    handshake_table_abort_of(table->tenant->handshakes, grant_identity(grant));
    session_table_end_of(table->tenant->sessions, grant_identity(grant));
    grant_uses_drop(grant);
    grant_free(grant);
}

void
grant_end(struct grant *grant, enum grant_end_reason reason)
{
    if (grant->table != NULL)
        end(grant, reason, NULL, NULL, NULL);
}

void
grant_revoke(struct grant *grant, const struct request *request, store_done_fn *done, void *ctx)
{
    end(grant, GRANT_REVOKED, request, done, ctx);
}

static void
on_process_ended(void *ctx)
{
    grant_end(ctx, GRANT_PROCESS_ENDED);
}

/* ---- the beginning of one ---- */

static ath_err
listen_for(struct grant *grant, bool is_new, struct why *why)
{
    struct tenant *tenant = grant->table->tenant;
    char *path = NULL;
    ath_err err = grant_place_make(tenant->athd, tenant->uid, grant->name, is_new, why, &path);

    if (err != ATH_OK)
        return err;
    err = listener_add(tenant->athd->listener, tenant, grant, path, why, &grant->socket);
    if (err != ATH_OK) {
        grant_place_remove(path);
        free(path);
        return err;
    }
    grant->path = path;
    return ATH_OK;
}

ath_err
grant_table_insert(struct grant_table *table, struct grant *grant)
{
    enum grant_end_reason reason;
    ath_err err = string_map_put(&table->by_name, grant->name, grant);

    if (err != ATH_OK)
        return err;
    grant->table = table;
    grant_ref(grant);
    LIST_INSERT_HEAD(&table->all, grant, of_table);
    wall_timer_set(table->timer, end_of(grant, clock_now(), &reason));
    return ATH_OK;
}

ath_err
grant_table_serve(struct grant *grant, bool is_new, struct why *why)
{
    ath_err err = listen_for(grant, is_new, why);

    if (err == ATH_OK && grant->process != NULL)
        err = grant_process_watch(grant->process, grant->table->tenant->athd->loop,
                                  on_process_ended, grant);
    return err;
}

ath_err
grant_table_add(struct grant_table *table, struct grant *grant, struct why *why,
                store_done_fn *done, void *ctx)
{
    ath_err err;

    if (grant_table_find(table, grant->name) != NULL)
        return why_set(why, ATH_ERR_GRANT_EXISTS,
                       "there is a grant \"%s\" already: revoke it, or take another name",
                       grant->name);
    if (table->by_name.count >= GRANTS_MAX)
        return why_set(why, ATH_ERR_LIMIT_EXCEEDED, "there are %u grants already", GRANTS_MAX);
    if (!grant_place_has_room(table->tenant->athd, table->by_name.count))
        return why_set(why, ATH_ERR_LIMIT_EXCEEDED,
                       "you have %zu grants, and athd has no room for more: revoke some",
                       table->by_name.count);
    if ((err = grant_table_insert(table, grant)) != ATH_OK)
        return err;
    if ((err = grant_table_serve(grant, true, why)) != ATH_OK) {
        grant_end(grant, GRANT_FAILED);
        return err;
    }
    grant_table_write(grant, 0, done, ctx);
    return ATH_OK;
}

ath_err
grant_table_adopt(struct grant *grant, struct grant_process *process, store_done_fn *done,
                  void *ctx)
{
    ath_err err =
        grant_process_watch(process, grant->table->tenant->athd->loop, on_process_ended, grant);

    if (err != ATH_OK)
        return err;
    grant->process = process;
    grant_table_write(grant, grant_uses_claimed(grant), done, ctx);
    return ATH_OK;
}

/* ---- looking ---- */

struct grant *
grant_table_find(const struct grant_table *table, const char *name)
{
    return string_map_get(&table->by_name, name);
}

size_t
grant_table_count(const struct grant_table *table)
{
    return table->by_name.count;
}

ath_err
grant_table_each(const struct grant_table *table,
                 void (*each)(void *ctx, const struct grant *grant), void *ctx)
{
    void **sorted = string_map_sorted(&table->by_name);

    if (sorted == NULL && table->by_name.count > 0)
        return ATH_ERR_NOMEM;
    for (size_t i = 0; i < table->by_name.count; i++)
        each(ctx, sorted[i]);
    free(sorted);
    return ATH_OK;
}

/* ---- athd ends ---- */

void
grant_table_close(struct grant_table *table)
{
    struct grant *grant;

    LIST_FOREACH (grant, &table->all, of_table) {
        if (table->timer != NULL) /* the first time */
            grant_uses_settle(grant);
        grant_process_free(grant->process);
        grant->process = NULL;
    }
    wall_timer_free(table->timer);
    table->timer = NULL;
}

void
grant_table_free(struct grant_table *table)
{
    struct grant *grant;

    if (table == NULL)
        return;
    grant_table_free_found(table);
    while ((grant = LIST_FIRST(&table->all)) != NULL) {
        LIST_REMOVE(grant, of_table);
        grant->table = NULL;
        grant_free(grant);
    }
    string_map_done(&table->by_name);
    free(table->dir);
    free(table);
}
