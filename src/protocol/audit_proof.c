#include "protocol/audit_proof.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "protocol/audit_key.h"
#include "protocol/audit_reader.h"
#include "protocol/audit_tree.h"

/* ---- checkpoints ---- */

static ath_err
read_below(const char *dir, const char *file, struct why *why, struct ath_buf *content)
{
    char *path = file_path(dir, file);
    ath_err err;

    if (path == NULL)
        return ATH_ERR_NOMEM;
    err = file_read(path, content, why);
    free(path);
    return err;
}

static ath_err
load_key(const char *dir, const char *jkt, struct why *why, struct public_key **ret_key)
{
    struct ath_buf content = {.max = AUDIT_KEY_MAX_LEN};
    char file[AUDIT_MAX_NAME];
    ath_err err;

    snprintf(file, sizeof(file), "keys/%s.json", jkt);
    if ((err = read_below(dir, file, why, &content)) == ATH_OK)
        err = audit_key_decode(ath_buf_slice(&content), why, ret_key);
    ath_buf_done(&content);
    return err;
}

ath_err
audit_signed_note_load(const char *dir, uint64_t size, struct why *why,
                       struct audit_signed_note *note)
{
    char file[AUDIT_MAX_NAME] = "checkpoint", name[CHECKPOINT_NAME_LEN + 1];
    ath_err err;

    if (size != UINT64_MAX) {
        checkpoint_name(size, name);
        snprintf(file, sizeof(file), "checkpoints/%s", name);
    }
    note->bytes.max = CHECKPOINT_MAX_LEN;
    err = read_below(dir, file, why, &note->bytes);
    if (err == ATH_ERR_NOT_FOUND && size != UINT64_MAX)
        return why_set(why, err,
                       "no checkpoint covers exactly %llu records; ls %s/checkpoints "
                       "shows the sizes there are",
                       (unsigned long long)size, dir);
    if (err != ATH_OK)
        return err;
    if ((err = checkpoint_decode(ath_buf_slice(&note->bytes), why, &note->note)) != ATH_OK ||
        (err = load_key(dir, note->note.checkpoint.jkt, why, &note->key)) != ATH_OK)
        return err;
    if (size != UINT64_MAX && note->note.checkpoint.size != size)
        return why_set(why, ATH_ERR_INVALID_EVIDENCE, "%s covers %llu records", file,
                       (unsigned long long)note->note.checkpoint.size);
    return checkpoint_verify(&note->note, note->key, why);
}

void
audit_signed_note_done(struct audit_signed_note *note)
{
    public_key_free(note->key);
    ath_buf_done(&note->bytes);
    *note = (struct audit_signed_note){0};
}

/* The newest size: partial tiles are there for it. */
static ath_err
newest_size(const char *dir, struct why *why, uint64_t *ret_size)
{
    struct audit_signed_note newest = {0};
    ath_err err = audit_signed_note_load(dir, UINT64_MAX, why, &newest);

    if (err == ATH_OK)
        *ret_size = newest.note.checkpoint.size;
    audit_signed_note_done(&newest);
    return err;
}

/* ---- putting together ---- */

static void
put_path(struct json_maker *proof, struct ath_slice path)
{
    struct json_maker hashes;

    json_array_begin(&hashes);
    for (size_t at = 0; at < path.len; at += SHA256_LEN)
        json_put_base64url(&hashes, NULL, ath_slice_of(path.data + at, SHA256_LEN));
    json_put_maker(proof, "path", &hashes);
}

static void
put_note(struct json_maker *proof, const char *note_name, const char *key_name,
         const struct audit_signed_note *note)
{
    struct json *jwk = NULL;
    ath_err err = public_key_jwk(note->key, &jwk);

    json_put_slice(proof, note_name, ath_buf_slice(&note->bytes));
    if (err == ATH_OK)
        json_put_take(proof, key_name, jwk);
    else if (proof->err == ATH_OK)
        proof->err = err;
}

/* ---- inclusion ---- */

struct inclusion {
    uint64_t index;
    struct ath_buf line; /* the record */
    struct ath_buf path;
    struct audit_signed_note note;
};

static ath_err
read_record(const char *dir, uint64_t index, struct why *why, struct ath_buf *line)
{
    struct audit_reader *reader = NULL;
    struct audit_record record;
    ath_err err;

    if ((err = audit_reader_open(dir, why, &reader)) != ATH_OK ||
        (err = audit_reader_seek(reader, index, why)) != ATH_OK ||
        (err = audit_reader_next(reader, why, &record)) != ATH_OK)
        goto out;
    ath_buf_put_slice(line, record.line);
    err = line->err;
out:
    audit_reader_free(reader);
    return err;
}

static ath_err
read_path(const char *dir, struct inclusion *inclusion, uint64_t newest, struct why *why)
{
    struct audit_tile_files files = {dir, newest};
    const struct checkpoint *checkpoint = &inclusion->note.note.checkpoint;
    struct audit_tiles *tiles = NULL;
    uint8_t root[SHA256_LEN];
    ath_err err;

    if ((err = audit_tiles_new(audit_tile_file_read, &files, &tiles)) != ATH_OK ||
        (err = audit_tiles_inclusion(tiles, inclusion->index, checkpoint->size, why,
                                     &inclusion->path)) != ATH_OK)
        goto out;
    err = merkle_root_from_path(ath_buf_slice(&inclusion->line), inclusion->index, checkpoint->size,
                                ath_buf_slice(&inclusion->path), root);
    if (err == ATH_OK && memcmp(root, checkpoint->root, SHA256_LEN) != 0)
        err = why_set(why, ATH_ERR_INVALID_EVIDENCE,
                      "record %llu is not what was signed; `ath "
                      "audit verify` says what is wrong",
                      (unsigned long long)inclusion->index);
out:
    audit_tiles_free(tiles);
    return err;
}

static ath_err
make_inclusion(const struct inclusion *inclusion, struct json **ret_proof)
{
    struct json_maker proof;

    json_object_begin(&proof);
    json_put_string(&proof, "type", "athd.audit/inclusion");
    json_put_int(&proof, "index", (int64_t)inclusion->index);
    json_put_int(&proof, "size", (int64_t)inclusion->note.note.checkpoint.size);
    json_put_slice(&proof, "leaf", ath_buf_slice(&inclusion->line));
    put_path(&proof, ath_buf_slice(&inclusion->path));
    put_note(&proof, "checkpoint", "key", &inclusion->note);
    return json_maker_end(&proof, ret_proof);
}

ath_err
audit_proof_inclusion(const char *dir, uint64_t index, uint64_t size, struct why *why,
                      struct json **ret_proof)
{
    struct inclusion inclusion = {.index = index, .line = {.max = AUDIT_LINE_MAX}};
    uint64_t newest = 0;
    ath_err err;

    if ((err = newest_size(dir, why, &newest)) != ATH_OK ||
        (err = audit_signed_note_load(dir, size, why, &inclusion.note)) != ATH_OK)
        goto out;
    if (index >= inclusion.note.note.checkpoint.size) {
        err = why_set(why, ATH_ERR_NOT_FOUND,
                      "record %llu is not covered by the checkpoint of %llu records; `ath audit "
                      "checkpoint` makes a new one",
                      (unsigned long long)index,
                      (unsigned long long)inclusion.note.note.checkpoint.size);
        goto out;
    }
    if ((err = read_record(dir, index, why, &inclusion.line)) != ATH_OK ||
        (err = read_path(dir, &inclusion, newest, why)) != ATH_OK)
        goto out;
    err = make_inclusion(&inclusion, ret_proof);
out:
    ath_buf_done(&inclusion.line);
    ath_buf_done(&inclusion.path);
    audit_signed_note_done(&inclusion.note);
    return err;
}

/* ---- consistency ---- */

static ath_err
read_consistency(const char *dir, const struct checkpoint *from, const struct checkpoint *to,
                 uint64_t newest, struct why *why, struct ath_buf *path)
{
    struct audit_tile_files files = {dir, newest};
    struct audit_tiles *tiles = NULL;
    ath_err err;

    if ((err = audit_tiles_new(audit_tile_file_read, &files, &tiles)) != ATH_OK ||
        (err = audit_tiles_consistency(tiles, from->size, to->size, why, path)) != ATH_OK)
        goto out;
    err = merkle_check_consistency(from->size, from->root, to->size, to->root, ath_buf_slice(path));
    if (err == ATH_ERR_INVALID_EVIDENCE)
        why_set(why, err,
                "the checkpoint of %llu records does not continue that of %llu; `ath "
                "audit verify` says what is wrong",
                (unsigned long long)to->size, (unsigned long long)from->size);
out:
    audit_tiles_free(tiles);
    return err;
}

ath_err
audit_proof_consistency(const char *dir, uint64_t from, uint64_t to, struct why *why,
                        struct json **ret_proof)
{
    struct audit_signed_note from_note = {0}, to_note = {0};
    struct ath_buf path = {0};
    struct json_maker proof;
    uint64_t newest = 0;
    ath_err err;

    if ((err = newest_size(dir, why, &newest)) != ATH_OK ||
        (err = audit_signed_note_load(dir, from, why, &from_note)) != ATH_OK ||
        (err = audit_signed_note_load(dir, to, why, &to_note)) != ATH_OK ||
        (err = read_consistency(dir, &from_note.note.checkpoint, &to_note.note.checkpoint, newest,
                                why, &path)) != ATH_OK)
        goto out;
    json_object_begin(&proof);
    json_put_string(&proof, "type", "athd.audit/consistency");
    json_put_int(&proof, "from", (int64_t)from_note.note.checkpoint.size);
    json_put_int(&proof, "to", (int64_t)to_note.note.checkpoint.size);
    put_path(&proof, ath_buf_slice(&path));
    put_note(&proof, "from_checkpoint", "from_key", &from_note);
    put_note(&proof, "to_checkpoint", "to_key", &to_note);
    err = json_maker_end(&proof, ret_proof);
out:
    ath_buf_done(&path);
    audit_signed_note_done(&to_note);
    audit_signed_note_done(&from_note);
    return err;
}
