#include "athd/audit_newest.h"

#include <stdlib.h>
#include <string.h>

#define NEWEST_NAME "checkpoint"

static ath_err
read_file(const char *dir, const char *folder, const char *name, struct ath_buf *text,
          struct why *why)
{
    struct ath_buf path = {.max = 8192};
    ath_err err;

    ath_buf_printf(&path, "%s%s/%s", dir, folder, name);
    err = ath_buf_text(&path) == NULL ? ATH_ERR_NOMEM
                                      : file_read_own((const char *)path.data, text, why);
    ath_buf_done(&path);
    return err;
}

/* The key of a note, as the log has it: its file's name is its thumbprint. */
static ath_err
read_key(const char *dir, const char *jkt, struct why *why, struct public_key **ret_key)
{
    static const struct json_limits limits = {4096, 4, 16, JSON_INTEGERS};
    struct ath_buf text = {.max = 4096};
    char name[JKT_LEN + sizeof(".json")];
    struct json *jwk = NULL;
    ath_err err;

    memcpy(name, jkt, JKT_LEN);
    memcpy(name + JKT_LEN, ".json", sizeof(".json"));
    if ((err = read_file(dir, "/keys", name, &text, why)) == ATH_OK &&
        (err = json_parse(ath_buf_slice(&text), &limits, why, &jwk)) == ATH_OK &&
        (err = public_key_from_jwk(jwk, why, ret_key)) == ATH_OK &&
        strcmp(public_key_jkt(*ret_key), jkt) != 0)
        err = why_set(why, ATH_ERR_INVALID_PUBLIC_KEY, "keys/%s is another key", name);
    json_free(jwk);
    ath_buf_done(&text);
    return err == ATH_ERR_NOT_FOUND ? ATH_ERR_INVALID_PUBLIC_KEY : err;
}

static ath_err
read_note(const char *dir, const char *folder, const char *name, struct audit_newest *newest,
          struct why *why)
{
    struct public_key *key = NULL;
    struct checkpoint_note note;
    ath_err err;

    newest->note.max = CHECKPOINT_MAX_LEN;
    if ((err = read_file(dir, folder, name, &newest->note, why)) == ATH_OK &&
        (err = checkpoint_decode(ath_buf_slice(&newest->note), why, &note)) == ATH_OK &&
        (err = read_key(dir, note.checkpoint.jkt, why, &key)) == ATH_OK &&
        (err = checkpoint_verify(&note, key, why)) == ATH_OK) {
        newest->found = true;
        newest->checkpoint = note.checkpoint;
    }
    public_key_free(key);
    if (err != ATH_OK)
        audit_newest_done(newest);
    return err;
}

/* ---- the one that follows ---- */

struct largest {
    bool found;
    uint64_t size;
};

static ath_err
find_largest(void *ctx, const char *name)
{
    struct largest *largest = ctx;
    uint64_t size;

    if (checkpoint_parse_name(name, &size) != ATH_OK || (largest->found && size <= largest->size))
        return ATH_OK;
    *largest = (struct largest){true, size};
    return ATH_OK;
}

static ath_err
read_successor(const char *dir, struct audit_newest *newest)
{
    char *folder = file_path(dir, "checkpoints");
    struct largest largest = {0};
    struct audit_newest next = {0};
    char name[CHECKPOINT_NAME_LEN + 1];
    ath_err err =
        folder == NULL ? ATH_ERR_NOMEM : file_each(folder, "", find_largest, &largest, NULL);

    free(folder);
    if (err != ATH_OK || !largest.found ||
        (newest->found && largest.size <= newest->checkpoint.size))
        return err;
    checkpoint_name(largest.size, name);
    err = read_note(dir, "/checkpoints", name, &next, NULL);
    if (err == ATH_OK && next.checkpoint.has_previous == newest->found &&
        (!newest->found || next.checkpoint.previous == newest->checkpoint.size)) {
        audit_newest_done(newest);
        *newest = next; /* ownership moves */
        newest->is_ahead = true;
        next = (struct audit_newest){0};
    }
    audit_newest_done(&next);
    return err;
}

ath_err
audit_newest_read(const char *dir, struct why *why, struct audit_newest *ret_newest)
{
    ath_err err;

    *ret_newest = (struct audit_newest){0};
    err = read_note(dir, "", NEWEST_NAME, ret_newest, why);
    if (err != ATH_OK && err != ATH_ERR_NOT_FOUND)
        return err;
    /* what follows and cannot be read is ath audit verify's to name */
    return read_successor(dir, ret_newest) == ATH_ERR_NOMEM ? ATH_ERR_NOMEM : ATH_OK;
}

void
audit_newest_done(struct audit_newest *newest)
{
    ath_buf_done(&newest->note);
    *newest = (struct audit_newest){0};
}
