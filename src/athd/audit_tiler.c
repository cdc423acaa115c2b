#include "athd/audit_tiler.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "protocol/audit_notes.h"

#define STEP 65536u          /* records of one call */
#define CHECKPOINTS_MAX 4096 /* that are looked at for one whose tiles are whole */

struct audit_tiler {
    const char *dir; /* borrowed */
    struct audit_tile_store tiles;
    struct audit_cursor cursor;
    struct audit_tree tree;
    bool is_loaded;   /* tree holds something */
    bool is_at_place; /* the cursor stands at tree.size */
    bool has_newest, is_inconsistent;
    struct audit_head newest;
};

ath_err
audit_tiler_new(const char *dir, const struct audit_head *newest, struct audit_tiler **ret_tiler)
{
    struct audit_tiler *tiler = calloc(1, sizeof(*tiler));
    ath_err err;

    if (tiler == NULL)
        return ATH_ERR_NOMEM;
    tiler->dir = dir;
    tiler->tiles.dir = dir;
    if (newest != NULL) {
        tiler->has_newest = true;
        tiler->newest = *newest;
    }
    if ((err = audit_cursor_init(&tiler->cursor, dir, &(struct audit_span){1, 1, 0})) != ATH_OK) {
        free(tiler);
        return err;
    }
    *ret_tiler = tiler;
    return ATH_OK;
}

void
audit_tiler_free(struct audit_tiler *tiler)
{
    if (tiler == NULL)
        return;
    audit_cursor_done(&tiler->cursor);
    free(tiler);
}

/* ---- where to begin ---- */

/* Do the tiles give this checkpoint's root? Then the tree is that of the checkpoint. */
static bool
load(struct audit_tiler *tiler, const struct audit_head *head)
{
    struct audit_tile_files files = {tiler->dir, head->size};
    uint8_t root[SHA256_LEN];
    struct why why = {{0}};

    if (audit_tree_load(head->size, audit_tile_file_read, &files, &why, &tiler->tree) == ATH_OK &&
        audit_tree_root(&tiler->tree, root) == ATH_OK && memcmp(root, head->root, SHA256_LEN) == 0)
        return true;
    log_info("event=audit reason=\"the tiles of checkpoint %llu are not whole and are made again\"",
             (unsigned long long)head->size);
    return false;
}

struct sizes {
    uint64_t values[CHECKPOINTS_MAX]; /* the largest ones below `below` */
    size_t count;
    uint64_t below;
};

static ath_err
collect(void *ctx, const char *name)
{
    struct sizes *sizes = ctx;
    uint64_t size;
    size_t i;

    if (checkpoint_parse_name(name, &size) != ATH_OK || size >= sizes->below)
        return ATH_OK;
    for (i = 0; i < sizes->count && sizes->values[i] > size; i++)
        ;
    if (i == CHECKPOINTS_MAX)
        return ATH_OK;
    if (sizes->count < CHECKPOINTS_MAX)
        sizes->count++;
    memmove(&sizes->values[i + 1], &sizes->values[i],
            (sizes->count - 1 - i) * sizeof(sizes->values[0]));
    sizes->values[i] = size;
    return ATH_OK;
}

static bool
read_head(const struct audit_tiler *tiler, uint64_t size, struct audit_head *ret_head)
{
    struct ath_buf text = {.max = CHECKPOINT_MAX_LEN};
    struct checkpoint_note note;
    bool good;

    good = audit_note_read(tiler->dir, size, NULL, &text) == ATH_OK &&
           checkpoint_decode(ath_buf_slice(&text), NULL, &note) == ATH_OK &&
           note.checkpoint.size == size;
    if (good) {
        ret_head->size = size;
        memcpy(ret_head->root, note.checkpoint.root, SHA256_LEN);
    }
    ath_buf_done(&text);
    return good;
}

static ath_err
load_older(struct audit_tiler *tiler, uint64_t below)
{
    struct sizes *sizes = calloc(1, sizeof(*sizes));
    char *dir = file_path(tiler->dir, "checkpoints");
    struct audit_head head;
    ath_err err = sizes == NULL || dir == NULL ? ATH_ERR_NOMEM : ATH_OK;
    size_t i;

    if (err != ATH_OK)
        goto out;
    sizes->below = below;
    if (file_each(dir, "", collect, sizes, NULL) != ATH_OK)
        sizes->count = 0;
    for (i = 0; i < sizes->count; i++)
        if (read_head(tiler, sizes->values[i], &head) && load(tiler, &head))
            goto out;
    memset(&tiler->tree, 0, sizeof(tiler->tree));
out:
    free(dir);
    free(sizes);
    return err;
}

static ath_err
begin(struct audit_tiler *tiler, const struct audit_span *span)
{
    bool expects = tiler->has_newest && tiler->newest.size <= span->size;
    ath_err err = ATH_OK;

    tiler->is_at_place = false;
    tiler->tiles.unsynced_count = 0;
    if (!expects || !load(tiler, &tiler->newest))
        err = load_older(tiler, expects ? tiler->newest.size : span->size + 1);
    tiler->is_loaded = err == ATH_OK;
    return err;
}

/* ---- going on ---- */

static ath_err
append_next(struct audit_tiler *tiler, struct why *why)
{
    uint8_t leaf[SHA256_LEN];
    struct ath_slice line;
    ath_err err;

    if ((err = audit_cursor_next(&tiler->cursor, why, &line)) != ATH_OK ||
        (err = merkle_leaf(line, leaf)) != ATH_OK)
        return err;
    if ((err = audit_tree_append(&tiler->tree, leaf, audit_tile_store_put, &tiler->tiles)) !=
        ATH_OK)
        return why_set(why, err, "%s", why_text(&tiler->tiles.why, err));
    return ATH_OK;
}

/* The one root that is known beforehand. */
static ath_err
check_newest(struct audit_tiler *tiler, struct why *why)
{
    uint8_t root[SHA256_LEN];
    ath_err err;

    if (!tiler->has_newest || tiler->tree.size != tiler->newest.size || tiler->is_inconsistent)
        return ATH_OK;
    if ((err = audit_tree_root(&tiler->tree, root)) != ATH_OK ||
        memcmp(root, tiler->newest.root, SHA256_LEN) == 0)
        return err;
    tiler->is_inconsistent = true;
    return why_set(
        why, ATH_ERR_PARSE,
        "the %llu records do not give the root of their checkpoint: the log was changed; "
        "ath audit verify names the place",
        (unsigned long long)tiler->newest.size);
}

static ath_err
go_on(struct audit_tiler *tiler, uint64_t target, struct why *why)
{
    uint64_t end = target - tiler->tree.size > STEP ? tiler->tree.size + STEP : target;
    ath_err err = ATH_OK;

    if (tiler->tree.size < end && !tiler->is_at_place) {
        if ((err = audit_cursor_seek(&tiler->cursor, tiler->tree.size, why)) != ATH_OK)
            return err == ATH_ERR_NOT_FOUND
                       ? why_set(why, ATH_ERR_PARSE, "record %llu of the audit log is not there",
                                 (unsigned long long)tiler->tree.size)
                       : err;
        tiler->is_at_place = true;
    }
    while (err == ATH_OK && tiler->tree.size < end) {
        if ((err = append_next(tiler, why)) == ATH_OK)
            err = check_newest(tiler, why);
    }
    return err;
}

static ath_err
make_whole(struct audit_tiler *tiler, struct why *why)
{
    ath_err err = audit_tree_partials(&tiler->tree, audit_tile_store_put, &tiler->tiles);

    if (err == ATH_OK)
        err = audit_tile_store_sync(&tiler->tiles);
    if (err == ATH_OK)
        err = audit_tree_root(&tiler->tree, tiler->newest.root);
    if (err == ATH_OK) { /* after a failure it goes on from here: older segments may be gone */
        tiler->newest.size = tiler->tree.size;
        tiler->has_newest = true;
    }
    return err == ATH_OK ? ATH_OK : why_set(why, err, "%s", why_text(&tiler->tiles.why, err));
}

ath_err
audit_tiler_run(struct audit_tiler *tiler, const struct audit_span *span, uint64_t target,
                bool whole, struct audit_head *ret_head, struct why *why)
{
    ath_err err = ATH_OK;

    audit_cursor_set_span(&tiler->cursor, span);
    if (!tiler->is_loaded && (err = begin(tiler, span)) != ATH_OK)
        return err;
    if (target > tiler->tree.size)
        err = go_on(tiler, target, why);
    else if (target < tiler->tree.size && whole)
        return ATH_ERR_NOT_FOUND;
    if (err == ATH_OK && whole && tiler->tree.size == target)
        err = make_whole(tiler, why);
    if (err == ATH_OK)
        err = audit_tree_root(&tiler->tree, ret_head->root);
    if (err != ATH_OK) {
        tiler->is_loaded = false; /* a tree that failed in its middle is made anew */
        return err;
    }
    ret_head->size = tiler->tree.size;
    return ATH_OK;
}

bool
audit_tiler_is_inconsistent(const struct audit_tiler *tiler)
{
    return tiler->is_inconsistent;
}
