#include "athd/grant_table_private.h"

#include <stdlib.h>

#include "athd/athd.h"
#include "athd/grant_place.h"
#include "athd/store_load.h"

static ath_err
load(void *ctx, const char *stem, const struct json *object, struct why *why)
{
    struct grant_table *table = ctx;
    struct grant_found *found = calloc(1, sizeof(*found));
    ath_err err;

    if (found == NULL)
        return ATH_ERR_NOMEM;
    if ((err = grant_decode(object, stem, table->tenant->uid, why, &found->file)) != ATH_OK) {
        free(found);
        return err;
    }
    found->next = table->found;
    table->found = found;
    return ATH_OK;
}

void
grant_table_free_found(struct grant_table *table)
{
    struct grant_found *found;

    while ((found = table->found) != NULL) {
        table->found = found->next;
        grant_file_done(&found->file);
        free(found);
    }
}

ath_err
grant_table_open(struct tenant *tenant, const char *dir, struct why *why,
                 struct grant_table **ret_table)
{
    struct grant_table *table = calloc(1, sizeof(*table));
    ath_err err = ATH_ERR_NOMEM;

    if (table == NULL)
        return err;
    table->tenant = tenant;
    LIST_INIT(&table->all);
    if ((table->dir = ath_strdup(dir)) != NULL)
        err = wall_timer_new(tenant->athd->loop, grant_table_on_due, table, &table->timer);
    if (err == ATH_OK)
        err = store_load(tenant->athd, dir, load, NULL, table, why);
    if (err != ATH_OK) {
        grant_table_close(table);
        grant_table_free(table);
        return err;
    }
    *ret_table = table;
    return ATH_OK;
}

/* Puts those into the table whose parents are there; false: none was. */
static bool
link_some(struct grant_table *table)
{
    bool is_linked = false;

    for (struct grant_found *found = table->found; found != NULL; found = found->next) {
        struct grant *grant = found->file.grant, *parent = NULL;

        if (grant->table != NULL)
            continue;
        if (found->file.parent != NULL &&
            ((parent = grant_table_find(table, found->file.parent)) == NULL ||
             parent->depth >= GRANT_DEPTH_MAX))
            continue;
        grant->parent = grant_ref(parent);
        grant->depth = parent == NULL ? 1 : parent->depth + 1;
        is_linked = grant_table_insert(table, grant) == ATH_OK || is_linked;
    }
    return is_linked;
}

/* In one walk the processes are found, in the next it is known who has none. */
static void
end_those_over(struct grant_table *table)
{
    enum grant_end_reason reason;
    struct grant_found *found;

    for (found = table->found; found != NULL; found = found->next)
        if (found->file.grant->table == NULL) /* what it was within is not there */
            (void)grant_table_insert(table, found->file.grant);
    for (found = table->found; found != NULL; found = found->next)
        found->is_over = grant_file_is_over(&found->file, table->tenant->uid, &found->reason);
    for (found = table->found; found != NULL; found = found->next) {
        reason = found->reason;
        if (found->is_over || reason == GRANT_PARENT_ENDED || !grant_has_process(found->file.grant))
            grant_end(found->file.grant, reason);
    }
}

static bool
is_kept(void *ctx, const char *name)
{
    return grant_table_find(ctx, name) != NULL;
}

void
grant_table_start(struct grant_table *table)
{
    struct grant_found *found;

    while (link_some(table))
        continue;
    end_those_over(table);
    for (found = table->found; found != NULL; found = found->next) {
        struct grant *grant = found->file.grant;
        struct why why = {{0}};
        ath_err err = grant->table == NULL ? ATH_OK : grant_table_serve(grant, false, &why);

        if (err == ATH_OK)
            continue;
        log_error("event=grant grant=%s reason=\"%s\"", grant->name, why_text(&why, err));
        grant_end(grant, GRANT_FAILED);
    }
    grant_table_free_found(table);
    grant_place_sweep(table->tenant->athd, table->tenant->uid, is_kept, table);
}
