#include "athd/service_store.h"

#include <stdlib.h>
#include <string.h>

#include "athd/athd.h"
#include "athd/grant.h"
#include "athd/key_store.h"
#include "athd/store_load.h"
#include "athd/string_map.h"

struct service_store {
    struct athd *athd;
    char *dir;
    struct string_map by_name;
    struct change *changes;
};

/* ---- entries ---- */

static void
memory_free(struct service_memory *memory)
{
    if (memory == NULL || --memory->references > 0)
        return;
    confirmation_gate_free(memory->gate);
    cookie_jar_free(memory->cookies);
    free(memory);
}

static ath_err
memory_new(struct service_memory **ret_memory)
{
    struct service_memory *memory = calloc(1, sizeof(*memory));
    ath_err err;

    if (memory == NULL)
        return ATH_ERR_NOMEM;
    memory->references = 1;
    if ((err = confirmation_gate_new(&memory->gate)) == ATH_OK)
        err = cookie_jar_new(&memory->cookies);
    if (err == ATH_OK)
        *ret_memory = memory;
    else
        memory_free(memory);
    return err;
}

struct service_entry *
service_entry_ref(struct service_entry *entry)
{
    entry->references++;
    return entry;
}

void
service_entry_free(struct service_entry *entry)
{
    if (entry == NULL || --entry->references > 0)
        return;
    service_free(entry->rules);
    memory_free(entry->memory);
    free(entry);
}

/* Takes the rules, also on failure. `old` lends its memory; NULL: a new one. */
static ath_err
entry_new(struct service *rules, const struct service_entry *old, struct service_entry **ret_entry)
{
    struct service_entry *entry = calloc(1, sizeof(*entry));
    ath_err err = entry == NULL ? ATH_ERR_NOMEM : ATH_OK;

    if (err != ATH_OK) {
        service_free(rules);
        return err;
    }
    entry->references = 1;
    entry->rules = rules;
    if (old == NULL) {
        err = memory_new(&entry->memory);
    } else {
        entry->memory = old->memory;
        entry->memory->references++;
    }
    if (err == ATH_OK)
        *ret_entry = entry;
    else
        service_entry_free(entry);
    return err;
}

/* ---- the directory ---- */

/* Takes the rules, also on failure. */
static ath_err
add(struct service_store *store, struct service *rules)
{
    struct service_entry *old = service_store_find(store, rules->name), *entry = NULL;
    ath_err err;

    if ((err = entry_new(rules, old, &entry)) != ATH_OK)
        return err;
    if ((err = string_map_put(&store->by_name, entry->rules->name, entry)) != ATH_OK)
        service_entry_free(entry);
    else
        service_entry_free(old);
    return err;
}

static ath_err
load_service(void *ctx, const char *stem, const struct json *object, struct why *why)
{
    struct service *rules = NULL;
    ath_err err;

    if ((err = service_decode(object, why, &rules)) != ATH_OK)
        return err;
    if (strcmp(rules->name, stem) != 0) {
        service_free(rules);
        return why_set(why, ATH_ERR_PARSE, "its name is not that of the file");
    }
    return add(ctx, rules);
}

ath_err
service_store_open(struct athd *athd, const char *dir, struct why *why,
                   struct service_store **ret_store)
{
    struct service_store *store = calloc(1, sizeof(*store));
    ath_err err = ATH_ERR_NOMEM;

    if (store == NULL || (store->dir = ath_strdup(dir)) == NULL)
        goto out;
    store->athd = athd;
    if ((err = store_load(athd, dir, load_service, NULL, store, why)) != ATH_OK)
        goto out;
    *ret_store = store;
    store = NULL;
out:
    service_store_free(store);
    return err;
}

void
service_store_free(struct service_store *store)
{
    struct service_entry *entry;
    size_t cursor = 0;

    if (store == NULL)
        return;
    while ((entry = string_map_next(&store->by_name, &cursor)) != NULL)
        service_entry_free(entry);
    string_map_done(&store->by_name);
    free(store->dir);
    free(store);
}

struct service_entry *
service_store_find(const struct service_store *store, const char *name)
{
    return string_map_get(&store->by_name, name);
}

bool
service_entry_is_for(const struct service_entry *entry, const struct tenant *tenant,
                     const struct caller *caller)
{
    const struct key *key;

    if (caller->through == NULL)
        return true;
    key = key_store_find(tenant->keys, entry->rules->key);
    return key != NULL && grant_has_key(caller->through, key);
}

struct service_entry *
service_store_find_for(const struct tenant *tenant, const struct caller *caller, const char *name)
{
    struct service_entry *entry = service_store_find(tenant->services, name);

    return entry != NULL && service_entry_is_for(entry, tenant, caller) ? entry : NULL;
}

void
service_store_each(const struct service_store *store,
                   void (*each)(void *ctx, const struct service_entry *entry), void *ctx)
{
    void **entries = string_map_sorted(&store->by_name);

    for (size_t i = 0; entries != NULL && i < store->by_name.count; i++)
        each(ctx, entries[i]);
    free(entries);
}

/* ---- changes ---- */

struct change {
    struct change *next; /* of those under way */
    bool superseded;     /* removed again before it was written */
    struct service_store *store;
    struct service *rules; /* owned; NULL for a removal */
    store_done_fn *done;
    void *ctx;
};

static struct change *
change_new(struct service_store *store, struct service *taken_rules, store_done_fn *done, void *ctx)
{
    struct change *change = calloc(1, sizeof(*change));

    if (change == NULL)
        service_free(taken_rules);
    else
        *change = (struct change){store->changes, false, store, taken_rules, done, ctx};
    if (change != NULL)
        store->changes = change;
    return change;
}

/* Tells the caller, and forgets it. */
static void
change_end(struct change *change, ath_err err, const struct why *why)
{
    struct change **link = &change->store->changes;

    while (*link != change)
        link = &(*link)->next;
    *link = change->next;
    change->done(change->ctx, err, why);
    free(change);
}

static void
on_written(void *ctx, ath_err err, const struct why *why)
{
    struct change *change = ctx;

    if (err == ATH_OK && !change->superseded)
        err = add(change->store, change->rules);
    else
        service_free(change->rules);
    change_end(change, err, why);
}

const char *
service_store_name_of_key(const struct service_store *store, const char *key)
{
    const struct service_entry *entry;
    size_t cursor = 0;

    while ((entry = string_map_next(&store->by_name, &cursor)) != NULL)
        if (strcmp(entry->rules->key, key) == 0)
            return entry->rules->name;
    return NULL;
}

/* Has another service, one that is being written included, this server key? */
static bool
key_is_taken(const struct service_store *store, const struct service *rules)
{
    const struct service_entry *entry;
    size_t cursor = 0;

    while ((entry = string_map_next(&store->by_name, &cursor)) != NULL)
        if (strcmp(entry->rules->key, rules->key) == 0 &&
            strcmp(entry->rules->name, rules->name) != 0)
            return true;
    for (const struct change *change = store->changes; change != NULL; change = change->next)
        if (change->rules != NULL && !change->superseded &&
            strcmp(change->rules->key, rules->key) == 0 &&
            strcmp(change->rules->name, rules->name) != 0)
            return true;
    return false;
}

ath_err
service_store_put(struct service_store *store, struct service *taken_rules, store_done_fn *done,
                  void *ctx)
{
    struct ath_buf text = {.max = STORE_FILE_MAX};
    struct json *object = NULL;
    struct change *change = NULL;
    char *path = store_file_path(store->dir, taken_rules->name, ".json");
    ath_err err = path == NULL ? ATH_ERR_NOMEM : service_encode(taken_rules, &object);

    if (err == ATH_OK)
        err = store_file_text(object, &text);
    if (err == ATH_OK && store->by_name.count >= tenant_share(store->athd, SERVICES_MAX) &&
        service_store_find(store, taken_rules->name) == NULL)
        err = ATH_ERR_LIMIT_EXCEEDED;
    if (err == ATH_OK && key_is_taken(store, taken_rules))
        err = ATH_ERR_EXISTS;
    if (err != ATH_OK)
        service_free(taken_rules);
    else if ((change = change_new(store, taken_rules, done, ctx)) == NULL)
        err = ATH_ERR_NOMEM;
    else
        store_replace(store->athd, path, &text, on_written, change);
    json_free(object);
    ath_buf_done(&text);
    free(path);
    return err;
}

static void
on_removed(void *ctx, ath_err err, const struct why *why)
{
    change_end(ctx, err, why);
}

ath_err
service_store_remove(struct service_store *store, const char *name, store_done_fn *done, void *ctx)
{
    struct service_entry *entry = service_store_find(store, name);
    struct change *change;
    char *path;

    if (entry == NULL)
        return ATH_ERR_NOT_FOUND;
    if ((path = store_file_path(store->dir, name, ".json")) == NULL)
        return ATH_ERR_NOMEM;
    if ((change = change_new(store, NULL, done, ctx)) == NULL) {
        free(path);
        return ATH_ERR_NOMEM;
    }
    for (struct change *other = store->changes; other != NULL; other = other->next)
        if (other->rules != NULL && strcmp(other->rules->name, name) == 0)
            other->superseded = true;
    (void)string_map_remove(&store->by_name, name);
    service_entry_free(entry);
    store_remove(store->athd, path, on_removed, change);
    free(path);
    return ATH_OK;
}
