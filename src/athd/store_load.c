#include "athd/store_load.h"

#include <stdlib.h>
#include <string.h>

#include "athd/athd.h"
#include "base/file.h"

#define SUFFIX ".json"

struct loading {
    struct athd *athd;
    const char *dir;
    store_each_fn *each;
    store_damaged_fn *damaged;
    void *ctx;
};

static ath_err
load(const struct loading *loading, const char *name, const char *stem, struct why *why)
{
    const struct json_limits limits = {STORE_FILE_MAX, 32, 65536, JSON_INTEGERS};
    struct ath_buf text = {.max = STORE_FILE_MAX};
    struct json *object = NULL;
    char *path = file_path(loading->dir, name);
    ath_err err = path == NULL ? ATH_ERR_NOMEM : file_read_own(path, &text, why);

    if (err == ATH_OK)
        err = json_parse(ath_buf_slice(&text), &limits, why, &object);
    if (err == ATH_OK && !json_is_object(object))
        err = why_set(why, ATH_ERR_PARSE, "not a JSON object");
    if (err == ATH_OK)
        err = loading->each(loading->ctx, stem, object, why);
    json_free(object);
    free(path);
    ath_buf_done(&text);
    return err;
}

static ath_err
load_one(void *ctx, const char *name)
{
    const struct loading *loading = ctx;
    struct why why = {""};
    char *stem = ath_slice_dup(ath_slice_of(name, strlen(name) - strlen(SUFFIX)));
    ath_err err = stem == NULL ? ATH_ERR_NOMEM : load(loading, name, stem, &why);

    if (err != ATH_OK && err != ATH_ERR_NOMEM) {
        damage_note(&loading->athd->damage, loading->dir, name, err, &why);
        if (loading->damaged != NULL)
            loading->damaged(loading->ctx, stem);
        err = ATH_OK;
    }
    free(stem);
    return err;
}

ath_err
store_load(struct athd *athd, const char *dir, store_each_fn *each, store_damaged_fn *damaged,
           void *ctx, struct why *why)
{
    struct loading loading = {athd, dir, each, damaged, ctx};
    ath_err err;

    if ((err = file_make_private_dir(dir, why)) != ATH_OK)
        return err;
    if ((err = file_remove_temporaries(dir, why)) != ATH_OK)
        return err;
    return file_each(dir, SUFFIX, load_one, &loading, why);
}

ath_err
store_file_text(const struct json *object, struct ath_buf *out)
{
    json_write_pretty(object, out);
    ath_buf_put_byte(out, '\n');
    return out->err;
}

char *
store_file_path(const char *dir, const char *stem, const char *suffix)
{
    struct ath_buf path = {.max = 8192};
    char *copy;

    ath_buf_printf(&path, "%s/%s%s", dir, stem, suffix);
    copy = ath_buf_text(&path) == NULL ? NULL : ath_strdup((const char *)path.data);
    ath_buf_done(&path);
    return copy;
}
