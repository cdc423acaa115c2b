/* `ath audit export --format tlog-tiles`: the log as C2SP tlog-tiles serves it: checkpoint, tile/,
 * tile/entries/; beside them the key as JWK and as signed-note's verifier key. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "ath_cmd_audit.h"
#include "base/bytes.h"
#include "base/file.h"
#include "protocol/audit_key.h"
#include "protocol/audit_proof.h"
#include "protocol/audit_tree.h"

#define MAX_BUNDLE (AUDIT_TILE_WIDTH * (AUDIT_LINE_MAX + 2))

struct exporting {
    const char *from, *to; /* directories */
    struct audit_signed_note newest;
    struct why *why;
};

/* The directories in path behind the first `from` characters. */
static ath_err
make_parents(char *path, size_t from, struct why *why)
{
    for (char *slash = strchr(path + from, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        bool is_made;

        *slash = '\0';
        is_made = mkdir(path, 0777) == 0 || errno == EEXIST;
        if (!is_made)
            why_set(why, ATH_ERR_IO, "cannot make %s: %s", path, strerror(errno));
        *slash = '/';
        if (!is_made)
            return ATH_ERR_IO;
    }
    return ATH_OK;
}

/* A copy of what is whole elsewhere: not synced, a file at a time. */
static ath_err
write_file(const struct exporting *exporting, const char *name, struct ath_slice content)
{
    char *path = file_path(exporting->to, name);
    FILE *file = NULL;
    ath_err err = ATH_ERR_NOMEM;
    bool is_written;

    if (path == NULL)
        return ATH_ERR_NOMEM;
    if ((err = make_parents(path, strlen(exporting->to) + 1, exporting->why)) != ATH_OK)
        goto out;
    file = fopen(path, "wbe");
    is_written = file != NULL && fwrite(content.data, 1, content.len, file) == content.len;
    if (file != NULL && fclose(file) != 0)
        is_written = false;
    if (!is_written)
        err = why_set(exporting->why, ATH_ERR_IO, "cannot write %s: %s", path, strerror(errno));
out:
    free(path);
    return err;
}

static ath_err
write_head(const struct exporting *exporting)
{
    struct ath_buf key = {0}, vkey = {0};
    ath_err err;

    audit_key_put_file(exporting->newest.key, &key);
    if ((err = key.err) != ATH_OK ||
        (err = checkpoint_put_vkey(exporting->newest.key, &vkey)) != ATH_OK)
        goto out;
    ath_buf_put_byte(&vkey, '\n');
    if ((err = vkey.err) != ATH_OK ||
        (err = write_file(exporting, "key.json", ath_buf_slice(&key))) != ATH_OK ||
        (err = write_file(exporting, "vkey", ath_buf_slice(&vkey))) != ATH_OK)
        goto out;
    err = write_file(exporting, "checkpoint", ath_buf_slice(&exporting->newest.bytes));
out:
    ath_buf_done(&vkey);
    ath_buf_done(&key);
    return err;
}

static ath_err
copy_tiles(const struct exporting *exporting)
{
    uint64_t size = exporting->newest.note.checkpoint.size;
    struct audit_tile_files files = {exporting->from, size};
    uint8_t hashes[AUDIT_TILE_MAX_LEN];
    char path[AUDIT_TILE_MAX_PATH];
    ath_err err;

    for (unsigned level = 0; audit_tile_hashes(size, level) != 0; level++)
        for (uint64_t index = 0; audit_tile_width(size, level, index) != 0; index++) {
            struct audit_tile tile = {level, index, audit_tile_width(size, level, index)};

            if ((err = audit_tile_file_read(&files, &tile, hashes, exporting->why)) != ATH_OK)
                return err;
            audit_tile_path(&tile, path);
            err =
                write_file(exporting, path, ath_slice_of(hashes, (size_t)tile.width * SHA256_LEN));
            if (err != ATH_OK)
                return err;
        }
    return ATH_OK;
}

/* The bundle of tile `index`; the reader stands before its first record. */
static ath_err
write_bundle(const struct exporting *exporting, struct audit_reader *reader, uint64_t index)
{
    struct audit_tile tile = {0, index,
                              audit_tile_width(exporting->newest.note.checkpoint.size, 0, index)};
    struct ath_buf bundle = {.max = MAX_BUNDLE};
    struct audit_record record;
    char path[AUDIT_TILE_MAX_PATH];
    ath_err err = ATH_OK;

    for (unsigned i = 0; err == ATH_OK && i < tile.width; i++) {
        if ((err = audit_reader_next(reader, exporting->why, &record)) != ATH_OK)
            break;
        bytes_put_u16(&bundle, (uint16_t)record.line.len);
        ath_buf_put_slice(&bundle, record.line);
        err = bundle.err;
    }
    audit_tile_entries_path(&tile, path);
    if (err == ATH_ERR_NOT_FOUND)
        err = why_set(exporting->why, ATH_ERR_INVALID_EVIDENCE,
                      "the log ends before its checkpoint; `ath audit verify` says more");
    if (err == ATH_OK)
        err = write_file(exporting, path, ath_buf_slice(&bundle));
    ath_buf_done(&bundle);
    return err;
}

/* The first record there is. */
static ath_err
first_index(struct audit_reader *reader, struct why *why, uint64_t *ret_index)
{
    struct audit_record record;
    struct audit_line line;
    ath_err err;

    if ((err = audit_reader_next(reader, why, &record)) != ATH_OK ||
        (err = audit_line_begin(record.line, why, &line)) != ATH_OK)
        return err;
    *ret_index = line.index;
    return ATH_OK;
}

/* tlog-tiles, "Pruning": bundles with a record that was removed are left out. */
static ath_err
write_bundles(const struct exporting *exporting, uint64_t *ret_first)
{
    uint64_t size = exporting->newest.note.checkpoint.size, index = 0;
    struct audit_reader *reader = NULL;
    ath_err err;

    if (size == 0)
        return ATH_OK;
    if ((err = audit_reader_open(exporting->from, exporting->why, &reader)) != ATH_OK ||
        (err = first_index(reader, exporting->why, ret_first)) != ATH_OK)
        goto out;
    index = (*ret_first + AUDIT_TILE_WIDTH - 1) / AUDIT_TILE_WIDTH;
    *ret_first = index * AUDIT_TILE_WIDTH;
    if (*ret_first < size)
        err = audit_reader_seek(reader, *ret_first, exporting->why);
    for (; err == ATH_OK && index * AUDIT_TILE_WIDTH < size; index++)
        err = write_bundle(exporting, reader, index);
out:
    audit_reader_free(reader);
    return err;
}

int
cmd_audit_export_tiles(const struct cmd_context *context, const char *dir, const char *output)
{
    struct why why = {""};
    struct exporting exporting = {.from = dir, .to = output, .why = &why};
    uint64_t first = 0;
    ath_err err;

    if (mkdir(output, 0777) != 0)
        return cmd_error("cannot make %s: %s", output, strerror(errno));
    if ((err = audit_signed_note_load(dir, UINT64_MAX, &why, &exporting.newest)) == ATH_OK &&
        (err = copy_tiles(&exporting)) == ATH_OK &&
        (err = write_bundles(&exporting, &first)) == ATH_OK)
        err = write_head(&exporting); /* last: what has a checkpoint is whole */
    if (err == ATH_OK && first != 0)
        cmd_note(context, "records before %" PRIu64 " are left out: they were removed", first);
    if (err == ATH_OK)
        cmd_note(context, "%" PRIu64 " records, signed by %s",
                 exporting.newest.note.checkpoint.size, exporting.newest.note.checkpoint.jkt);
    audit_signed_note_done(&exporting.newest);
    return err == ATH_OK ? EXIT_SUCCESS : cmd_audit_fail(dir, err, &why);
}
