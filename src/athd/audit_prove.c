#include "athd/audit_prove.h"

#include <string.h>

#include "athd/audit_cursor.h"
#include "base/file.h"
#include "protocol/audit_tree.h"

static ath_err
read_note(const char *dir, uint64_t size, struct why *why, struct ath_buf *note,
          struct checkpoint *ret_checkpoint)
{
    char name[CHECKPOINT_NAME_LEN + 1];
    struct ath_buf path = {.max = 8192};
    struct checkpoint_note decoded;
    ath_err err;

    checkpoint_name(size, name);
    ath_buf_printf(&path, "%s/checkpoints/%s", dir, name);
    err = ath_buf_text(&path) == NULL ? ATH_ERR_NOMEM
                                      : file_read_own((const char *)path.data, note, why);
    ath_buf_done(&path);
    if (err == ATH_ERR_NOT_FOUND)
        return why_set(why, err, "there is no checkpoint of %llu records",
                       (unsigned long long)size);
    if (err == ATH_OK)
        err = checkpoint_decode(ath_buf_slice(note), why, &decoded);
    if (err != ATH_OK)
        return err;
    if (decoded.checkpoint.size != size)
        return why_set(why, ATH_ERR_PARSE, "checkpoints/%s is of another size", name);
    *ret_checkpoint = decoded.checkpoint;
    return ATH_OK;
}

static ath_err
wrong_root(struct why *why, uint64_t size)
{
    return why_set(why, ATH_ERR_INVALID_EVIDENCE,
                   "the tiles of the audit log do not give the root of its checkpoint of %llu "
                   "records; ath audit verify names what is wrong",
                   (unsigned long long)size);
}

static ath_err
read_record(const char *dir, const struct audit_span *span, uint64_t index, struct why *why,
            struct ath_buf *record)
{
    struct audit_cursor cursor;
    struct ath_slice line;
    ath_err err;

    if ((err = audit_cursor_init(&cursor, dir, span)) == ATH_OK &&
        (err = audit_cursor_seek(&cursor, index, why)) == ATH_OK &&
        (err = audit_cursor_next(&cursor, why, &line)) == ATH_OK) {
        ath_buf_put_slice(record, line);
        err = record->err;
    }
    audit_cursor_done(&cursor);
    return err == ATH_ERR_NOT_FOUND ? ATH_OK : err; /* removed: the proof holds without it */
}

/* The record is the leaf, and leaf and path give the root. */
static ath_err
check(const struct audit_inclusion *inclusion, uint64_t index, const struct checkpoint *checkpoint,
      struct why *why)
{
    uint8_t root[SHA256_LEN], leaf[SHA256_LEN];
    ath_err err = merkle_root_from_leaf(inclusion->leaf, index, checkpoint->size,
                                        ath_buf_slice(&inclusion->path), root);

    if (err == ATH_OK && inclusion->record.len > 0)
        err = merkle_leaf(ath_buf_slice(&inclusion->record), leaf);
    if (err != ATH_OK)
        return err;
    if (memcmp(root, checkpoint->root, SHA256_LEN) != 0 ||
        (inclusion->record.len > 0 && memcmp(leaf, inclusion->leaf, SHA256_LEN) != 0))
        return wrong_root(why, checkpoint->size);
    return ATH_OK;
}

ath_err
audit_prove_inclusion(const char *dir, const struct audit_span *span, uint64_t index, uint64_t size,
                      struct why *why, struct audit_inclusion *ret_inclusion)
{
    struct audit_tile_files files = {dir, size};
    struct audit_tiles *tiles = NULL;
    struct checkpoint checkpoint;
    ath_err err;

    *ret_inclusion = (struct audit_inclusion){.path = {.max = AUDIT_PATH_MAX},
                                              .record = {.max = 65536},
                                              .note = {.max = CHECKPOINT_MAX_LEN}};
    if (index >= size)
        return why_set(why, ATH_ERR_NOT_FOUND,
                       "record %llu is not covered by a checkpoint of %llu; audit.checkpoint makes "
                       "one",
                       (unsigned long long)index, (unsigned long long)size);
    if ((err = read_note(dir, size, why, &ret_inclusion->note, &checkpoint)) != ATH_OK ||
        (err = audit_tiles_new(audit_tile_file_read, &files, &tiles)) != ATH_OK)
        return err;
    if ((err = audit_tiles_leaf(tiles, index, why, ret_inclusion->leaf)) == ATH_OK &&
        (err = audit_tiles_inclusion(tiles, index, size, why, &ret_inclusion->path)) == ATH_OK &&
        (err = read_record(dir, span, index, why, &ret_inclusion->record)) == ATH_OK)
        err = check(ret_inclusion, index, &checkpoint, why);
    audit_tiles_free(tiles);
    /* a tile, not what was asked for */
    return err == ATH_ERR_NOT_FOUND ? ATH_ERR_IO : err;
}

void
audit_inclusion_done(struct audit_inclusion *inclusion)
{
    ath_buf_done(&inclusion->path);
    ath_buf_done(&inclusion->record);
    ath_buf_done(&inclusion->note);
}

ath_err
audit_prove_consistency(const char *dir, uint64_t from, uint64_t to, struct why *why,
                        struct ath_buf *path)
{
    struct audit_tile_files files = {dir, to};
    struct ath_buf note = {.max = CHECKPOINT_MAX_LEN};
    struct checkpoint first, second;
    struct audit_tiles *tiles = NULL;
    ath_err err;

    if (from > to)
        return why_set(why, ATH_ERR_NOT_FOUND, "\"from\" must be the older, smaller one");
    if ((err = read_note(dir, from, why, &note, &first)) != ATH_OK)
        goto out;
    ath_buf_clear(&note);
    if ((err = read_note(dir, to, why, &note, &second)) != ATH_OK ||
        (err = audit_tiles_new(audit_tile_file_read, &files, &tiles)) != ATH_OK)
        goto out;
    err = audit_tiles_consistency(tiles, from, to, why, path);
    if (err == ATH_ERR_NOT_FOUND)
        err = ATH_ERR_IO;
    if (err == ATH_OK && (err = merkle_check_consistency(from, first.root, to, second.root,
                                                         ath_buf_slice(path))) != ATH_OK)
        err = err == ATH_ERR_NOMEM ? err : wrong_root(why, to);
out:
    audit_tiles_free(tiles);
    ath_buf_done(&note);
    return err;
}
