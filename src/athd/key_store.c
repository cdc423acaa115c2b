#include "athd/key_store.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "athd/athd.h"
#include "athd/store_load.h"
#include "athd/string_map.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"

struct name_item { /* an orphan or a damaged item, for agent.status */
    struct name_item *next;
    char name[];
};

struct key_store {
    struct athd *athd;
    char *dir;
    struct string_map by_name, by_did;
    struct string_map reserved; /* names and DIDs; the value is the text's copy */
    size_t reserved_names;
    struct name_item *orphans, *damaged;
};

/* ---- reading the directory ---- */

static ath_err
item_add(struct name_item **list, const char *name)
{
    size_t size = strlen(name) + 1;
    struct name_item *item = malloc(sizeof(*item) + size);

    if (item == NULL)
        return ATH_ERR_NOMEM;
    memcpy(item->name, name, size);
    item->next = *list;
    *list = item;
    return ATH_OK;
}

static void
items_free(struct name_item *list)
{
    while (list != NULL) {
        struct name_item *next = list->next;

        free(list);
        list = next;
    }
}

static bool
items_remove(struct name_item **list, const char *name)
{
    for (; *list != NULL; list = &(*list)->next)
        if (strcmp((*list)->name, name) == 0) {
            struct name_item *found = *list;

            *list = found->next;
            free(found);
            return true;
        }
    return false;
}

/* Takes a reference of its own. */
static ath_err
store_add(struct key_store *store, struct key *key)
{
    ath_err err;

    if ((err = string_map_put(&store->by_name, key->name, key)) != ATH_OK)
        return err;
    if ((err = string_map_put(&store->by_did, key->did, key)) != ATH_OK) {
        (void)string_map_remove(&store->by_name, key->name);
        return err;
    }
    key_ref(key);
    return ATH_OK;
}

static ath_err
load_key(void *ctx, const char *stem, const struct json *object, struct why *why)
{
    struct key_store *store = ctx;
    struct ath_buf blob = {.max = HSM_WIRE_MAX_BLOB};
    struct key *key = NULL;
    char *path = store_file_path(store->dir, stem, ".pem");
    ath_err err = path == NULL ? ATH_ERR_NOMEM : key_decode(object, why, &key);

    if (err != ATH_OK)
        goto out;
    if (strcmp(key->name, stem) != 0) {
        err = why_set(why, ATH_ERR_PARSE, "its name is not that of the file");
        goto out;
    }
    if (key_store_find_public(store, key->public_key) != NULL) {
        err = why_set(why, ATH_ERR_PARSE, "another name has this key already");
        goto out;
    }
    if (key->is_token) {
        blob = key->blob; /* ownership moves, and back */
        key->blob = (struct ath_buf){0};
    } else if ((err = file_read_own(path, &blob, why)) != ATH_OK) {
        goto out;
    }
    key_attach(key, &blob, hsm_pool_next_key_number(store->athd->hsms));
    err = store_add(store, key);
out:
    key_free(key);
    free(path);
    ath_buf_done(&blob);
    return err;
}

static void
note_damaged(void *ctx, const char *stem)
{
    struct key_store *store = ctx;

    (void)!item_add(&store->damaged, stem);
}

static bool
items_have(const struct name_item *list, const char *name)
{
    for (; list != NULL; list = list->next)
        if (strcmp(list->name, name) == 0)
            return true;
    return false;
}

static ath_err
find_orphan(void *ctx, const char *name)
{
    struct key_store *store = ctx;
    char *stem = ath_slice_dup(ath_slice_of(name, strlen(name) - strlen(".pem")));
    ath_err err = stem == NULL ? ATH_ERR_NOMEM : ATH_OK;

    if (err == ATH_OK && key_store_find(store, stem) == NULL && !items_have(store->damaged, stem)) {
        log_warning("event=key_orphan file=%s/%s why=\"a key without its JSON; kept\"", store->dir,
                    name);
        err = item_add(&store->orphans, stem);
    }
    free(stem);
    return err;
}

ath_err
key_store_open(struct athd *athd, const char *dir, struct why *why, struct key_store **ret_store)
{
    struct key_store *store = calloc(1, sizeof(*store));
    ath_err err = ATH_ERR_NOMEM;

    if (store == NULL || (store->dir = ath_strdup(dir)) == NULL)
        goto out;
    store->athd = athd;
    if ((err = store_load(athd, dir, load_key, note_damaged, store, why)) != ATH_OK)
        goto out;
    if ((err = file_each(dir, ".pem", find_orphan, store, why)) != ATH_OK)
        goto out;
    *ret_store = store;
    store = NULL;
out:
    key_store_free(store);
    return err;
}

void
key_store_free(struct key_store *store)
{
    size_t cursor = 0;
    void *value;

    if (store == NULL)
        return;
    while ((value = string_map_next(&store->by_name, &cursor)) != NULL)
        key_free(value);
    for (cursor = 0; (value = string_map_next(&store->reserved, &cursor)) != NULL;)
        free(value);
    string_map_done(&store->by_name);
    string_map_done(&store->by_did);
    string_map_done(&store->reserved);
    items_free(store->orphans);
    items_free(store->damaged);
    free(store->dir);
    free(store);
}

/* ---- looking up ---- */

struct key *
key_store_find(const struct key_store *store, const char *name)
{
    return string_map_get(&store->by_name, name);
}

struct key *
key_store_find_did(const struct key_store *store, const char *did)
{
    return string_map_get(&store->by_did, did);
}

struct key *
key_store_find_public(const struct key_store *store, const struct public_key *public_key)
{
    char did[DID_ATH_MAX_LEN];
    struct key *key;

    for (int role = DID_USER; role <= DID_SERVER; role++) {
        did_of_key((enum did_role)role, public_key, did);
        if ((key = key_store_find_did(store, did)) != NULL)
            return key;
    }
    return NULL;
}

size_t
key_store_count(const struct key_store *store)
{
    return store->by_name.count;
}

void
key_store_each(const struct key_store *store, void (*each)(void *ctx, struct key *key), void *ctx)
{
    void **keys = string_map_sorted(&store->by_name);

    for (size_t i = 0; keys != NULL && i < store->by_name.count; i++)
        each(ctx, keys[i]);
    free(keys);
}

static void
put_items(struct json_maker *maker, const char *name, const struct name_item *list)
{
    struct json_maker array;

    json_array_begin(&array);
    for (; list != NULL; list = list->next)
        json_put_string(&array, NULL, list->name);
    json_put_maker(maker, name, &array);
}

ath_err
key_store_report(const struct key_store *store, struct json **ret_report)
{
    struct json_maker maker;

    json_object_begin(&maker);
    put_items(&maker, "orphans", store->orphans);
    put_items(&maker, "damaged", store->damaged);
    return json_maker_end(&maker, ret_report);
}

/* ---- names and DIDs that are being made ---- */

static ath_err
hold(struct key_store *store, const char *text)
{
    char *copy;
    ath_err err;

    if (string_map_get(&store->reserved, text) != NULL)
        return ATH_ERR_KEY_EXISTS;
    if ((copy = ath_strdup(text)) == NULL)
        return ATH_ERR_NOMEM;
    if ((err = string_map_put(&store->reserved, copy, copy)) != ATH_OK)
        free(copy);
    return err;
}

static void
release(struct key_store *store, const char *text)
{
    free(string_map_remove(&store->reserved, text));
}

ath_err
key_store_reserve(struct key_store *store, const char *name)
{
    ath_err err;

    /* a damaged item is not written over: it may be mended by hand */
    if (key_store_find(store, name) != NULL || items_have(store->damaged, name))
        return ATH_ERR_KEY_EXISTS;
    if (store->by_name.count + store->reserved_names >= KEY_STORE_MAX)
        return ATH_ERR_LIMIT_EXCEEDED;
    if ((err = hold(store, name)) == ATH_OK)
        store->reserved_names++;
    return err;
}

void
key_store_release(struct key_store *store, const char *name)
{
    store->reserved_names--;
    release(store, name);
}

/* ---- changes ---- */

struct change {
    struct key_store *store;
    struct key *key; /* counted */
    store_done_fn *done;
    void *ctx;
};

static struct change *
change_new(struct key_store *store, struct key *key, store_done_fn *done, void *ctx)
{
    struct change *change = calloc(1, sizeof(*change));

    if (change != NULL)
        *change = (struct change){store, key_ref(key), done, ctx};
    return change;
}

static void
change_free(struct change *change)
{
    if (change != NULL)
        key_free(change->key);
    free(change);
}

static void
on_written(void *ctx, ath_err err, const struct why *why)
{
    struct change *change = ctx;

    release(change->store, change->key->did);
    if (err == ATH_OK)
        err = store_add(change->store, change->key);
    change->done(change->ctx, err, why);
    change_free(change);
}

/* The name of a lone PEM is wanted for a new key: the old file is kept under another name. */
static ath_err
move_orphan(struct key_store *store, const char *name)
{
    char moved[NAME_MAX + 1];
    char *from = NULL, *to = NULL;
    ath_err err = ATH_ERR_NOMEM;

    if (!items_remove(&store->orphans, name))
        return ATH_OK;
    (void)snprintf(moved, sizeof(moved), "%.64s@orphan-%lld", name, (long long)clock_now());
    if ((from = store_file_path(store->dir, name, ".pem")) == NULL ||
        (to = store_file_path(store->dir, moved, ".pem")) == NULL)
        goto out;
    err = rename(from, to) == 0 ? item_add(&store->orphans, moved) : ATH_ERR_IO;
out:
    free(from);
    free(to);
    return err;
}

static ath_err
write_key(struct change *change)
{
    struct ath_buf text = {.max = STORE_FILE_MAX}, blob = {.max = HSM_WIRE_MAX_BLOB};
    struct key *key = change->key;
    struct json *object = NULL;
    char *pem = store_file_path(change->store->dir, key->name, ".pem");
    char *json = store_file_path(change->store->dir, key->name, ".json");
    ath_err err =
        pem == NULL || json == NULL ? ATH_ERR_NOMEM : move_orphan(change->store, key->name);

    if (err != ATH_OK || (err = key_encode(key, &object)) != ATH_OK ||
        (err = store_file_text(object, &text)) != ATH_OK)
        goto out;
    ath_buf_put_slice(&blob, ath_buf_slice(&key->blob));
    if ((err = blob.err) != ATH_OK)
        goto out;
    if (key->is_token)
        store_replace(change->store->athd, json, &text, on_written, change);
    else
        store_replace_two(change->store->athd, pem, &blob, json, &text, on_written, change);
out:
    json_free(object);
    ath_buf_done(&blob);
    ath_buf_done(&text);
    free(json);
    free(pem);
    return err;
}

ath_err
key_store_put(struct key_store *store, struct key *key, store_done_fn *done, void *ctx)
{
    struct change *change;
    ath_err err;

    /* of two imports of one key under two names one wins, too */
    if (key_store_find_public(store, key->public_key) != NULL)
        return ATH_ERR_KEY_EXISTS;
    if ((err = hold(store, key->did)) != ATH_OK)
        return err;
    change = change_new(store, key, done, ctx);
    err = change == NULL ? ATH_ERR_NOMEM : write_key(change);
    if (err != ATH_OK) {
        release(store, key->did);
        change_free(change);
    }
    return err;
}

static void
on_removed(void *ctx, ath_err err, const struct why *why)
{
    struct change *change = ctx;

    change->done(change->ctx, err, why);
    change_free(change);
}

ath_err
key_store_remove(struct key_store *store, struct key *key, store_done_fn *done, void *ctx)
{
    struct change *change = change_new(store, key, done, ctx);
    char *pem = store_file_path(store->dir, key->name, ".pem");
    char *json = store_file_path(store->dir, key->name, ".json");
    ath_err err = change == NULL || pem == NULL || json == NULL ? ATH_ERR_NOMEM : ATH_OK;

    if (err != ATH_OK) {
        change_free(change);
        goto out;
    }
    (void)string_map_remove(&store->by_name, key->name);
    (void)string_map_remove(&store->by_did, key->did);
    key->is_deleted = true;
    key_free(key);             /* the store's reference; `change` has its own */
    if (change->key->is_token) /* a lone PEM of this name is somebody else's */
        store_remove(store->athd, json, on_removed, change);
    else
        store_remove_two(store->athd, json, pem, on_removed, change);
out:
    free(json);
    free(pem);
    return err;
}
