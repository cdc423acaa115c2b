#include "athd/freeze.h"

#include <stdlib.h>
#include <string.h>

#include "athd/athd.h"
#include "base/file.h"
#include "base/name.h"

#define FILE_NAME "frozen.json"
#define FILE_MAX (FREEZE_KEYS_MAX * (NAME_MAX_LEN + 3u) + 64u)

static const struct json_limits limits = {FILE_MAX, 3, 2, JSON_INTEGERS};

struct frozen_set {
    bool all;
    char *keys[FREEZE_KEYS_MAX];
    size_t count;
};

struct freeze {
    struct athd *athd;
    char *path;
    struct frozen_set now;
    uint64_t freezes; /* so many since the start */
};

/* An unfreezing that is on its way to the disk. */
struct thaw {
    struct freeze *freeze;
    char *key; /* NULL: all */
    uint64_t freezes;
    store_done_fn *done;
    void *ctx;
};

static size_t
index_of(const struct frozen_set *set, const char *key)
{
    size_t i = 0;

    while (i < set->count && strcmp(set->keys[i], key) != 0)
        i++;
    return i;
}

static ath_err
add(struct frozen_set *set, const char *key)
{
    if (index_of(set, key) < set->count)
        return ATH_OK;
    if (set->count == FREEZE_KEYS_MAX)
        return ATH_ERR_LIMIT_EXCEEDED;
    if ((set->keys[set->count] = ath_strdup(key)) == NULL)
        return ATH_ERR_NOMEM;
    set->count++;
    return ATH_OK;
}

static void
remove_key(struct frozen_set *set, const char *key)
{
    size_t i = index_of(set, key);

    if (i == set->count)
        return;
    free(set->keys[i]);
    set->keys[i] = set->keys[--set->count];
}

static void
set_clear(struct frozen_set *set)
{
    while (set->count > 0)
        free(set->keys[--set->count]);
    set->all = false;
}

/* ---- the file ---- */

static ath_err
decode(struct ath_slice text, struct frozen_set *set, struct why *why)
{
    const struct json *keys, *entry;
    struct json *tree = NULL;
    ath_err err = json_parse(text, &limits, why, &tree);

    keys = json_get(tree, "keys");
    if (err == ATH_OK && (!json_is_object(tree) || json_count(tree) != 2 || !json_is_array(keys) ||
                          !json_is_bool(json_get(tree, "all"))))
        err = why_set(why, ATH_ERR_PARSE, "it is not {\"all\", \"keys\"}");
    set->all = json_is_true(json_get(tree, "all"));
    for (entry = json_first(keys); entry != NULL && err == ATH_OK; entry = json_next(entry))
        err = name_is_valid(json_string(entry)) ? add(set, json_string(entry))
                                                : why_set(why, ATH_ERR_PARSE, "a key has no name");
    json_free(tree);
    return err;
}

/* Whatever was frozen must not be used because its list was lost. */
static ath_err
read_file(struct freeze *freeze, const char *state_dir)
{
    struct ath_buf text = {.max = FILE_MAX};
    struct why why = {{0}};
    ath_err err = file_read_own(freeze->path, &text, &why);

    if (err == ATH_OK)
        err = decode(ath_buf_slice(&text), &freeze->now, &why);
    ath_buf_done(&text);
    if (err == ATH_OK || err == ATH_ERR_NOT_FOUND || err == ATH_ERR_NOMEM)
        return err == ATH_ERR_NOT_FOUND ? ATH_OK : err;
    damage_note(&freeze->athd->damage, state_dir, FILE_NAME, err, &why);
    log_error("event=frozen reason=\"%s cannot be read: all keys are frozen\"", freeze->path);
    set_clear(&freeze->now);
    freeze->now.all = true;
    return ATH_OK;
}

ath_err
freeze_open(struct athd *athd, const char *state_dir, struct why *why, struct freeze **ret_freeze)
{
    struct freeze *freeze = calloc(1, sizeof(*freeze));
    ath_err err = ATH_ERR_NOMEM;

    (void)why; /* a damaged file is no reason not to start: nothing signs then */
    if (freeze == NULL)
        return err;
    freeze->athd = athd;
    if ((freeze->path = file_path(state_dir, FILE_NAME)) == NULL ||
        (err = read_file(freeze, state_dir)) != ATH_OK) {
        freeze_free(freeze);
        return err;
    }
    if (freeze->now.all || freeze->now.count > 0)
        log_warning("event=frozen all=%s keys=%zu", freeze->now.all ? "true" : "false",
                    freeze->now.count);
    *ret_freeze = freeze;
    return ATH_OK;
}

void
freeze_free(struct freeze *freeze)
{
    if (freeze == NULL)
        return;
    set_clear(&freeze->now);
    free(freeze->path);
    free(freeze);
}

static void
put_set(const struct frozen_set *set, const char *without, bool without_all,
        struct json_maker *object)
{
    struct json_maker keys;

    json_array_begin(&keys);
    for (size_t i = 0; i < set->count && !without_all; i++)
        if (without == NULL || strcmp(set->keys[i], without) != 0)
            json_put_string(&keys, NULL, set->keys[i]);
    json_put_bool(object, "all", set->all && !without_all);
    json_put_maker(object, "keys", &keys);
}

void
freeze_put(const struct freeze *freeze, struct json_maker *object, const char *name)
{
    struct json_maker set;

    json_object_begin(&set);
    put_set(&freeze->now, NULL, false, &set);
    json_put_maker(object, name, &set);
}

static ath_err
write_file(struct freeze *freeze, const char *without, bool without_all, store_done_fn *done,
           void *ctx)
{
    struct ath_buf text = {.max = FILE_MAX};
    struct json_maker object;
    struct json *tree = NULL;
    ath_err err;

    json_object_begin(&object);
    put_set(&freeze->now, without, without_all, &object);
    if ((err = json_maker_end(&object, &tree)) != ATH_OK)
        return err;
    json_write(tree, &text);
    ath_buf_put_byte(&text, '\n');
    json_free(tree);
    store_replace(freeze->athd, freeze->path, &text, done, ctx);
    return ATH_OK;
}

/* ---- changes ---- */

bool
freeze_has(const struct freeze *freeze, const char *key)
{
    return freeze->now.all || index_of(&freeze->now, key) < freeze->now.count;
}

const char *
freeze_remedy(const struct freeze *freeze, const char *key)
{
    return freeze->now.all ? "--all" : key;
}

ath_err
freeze_set(struct freeze *freeze, const char *key, struct why *why, store_done_fn *done, void *ctx)
{
    ath_err err = ATH_OK;

    freeze->freezes++;
    if (key == NULL)
        freeze->now.all = true;
    else if ((err = add(&freeze->now, key)) == ATH_ERR_LIMIT_EXCEEDED)
        return why_set(why, err, "%u keys are frozen by name; freeze all", FREEZE_KEYS_MAX);
    return err != ATH_OK ? err : write_file(freeze, NULL, false, done, ctx);
}

static void
on_thawed(void *ctx, ath_err err, const struct why *why)
{
    struct thaw *thaw = ctx;
    struct why later = {{0}};

    if (err == ATH_OK && thaw->freezes != thaw->freeze->freezes) {
        /* and the file that was written then says so too */
        err = why_set(&later, ATH_ERR_INVALID_PARAMS, "keys were frozen meanwhile, and stay so");
        why = &later;
    } else if (err == ATH_OK && thaw->key == NULL) {
        set_clear(&thaw->freeze->now);
    } else if (err == ATH_OK) {
        remove_key(&thaw->freeze->now, thaw->key);
    }
    thaw->done(thaw->ctx, err, why);
    free(thaw->key);
    free(thaw);
}

ath_err
freeze_end(struct freeze *freeze, const char *key, struct why *why, store_done_fn *done, void *ctx)
{
    struct thaw *thaw;
    ath_err err = ATH_ERR_NOMEM;

    if (key != NULL && freeze->now.all)
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "all keys are frozen, not only \"%s\": unfreeze all", key);
    if ((thaw = calloc(1, sizeof(*thaw))) == NULL)
        return err;
    *thaw = (struct thaw){freeze, NULL, freeze->freezes, done, ctx};
    if ((key == NULL || (thaw->key = ath_strdup(key)) != NULL) &&
        (err = write_file(freeze, key, key == NULL, on_thawed, thaw)) == ATH_OK)
        return ATH_OK;
    free(thaw->key);
    free(thaw);
    return err;
}
