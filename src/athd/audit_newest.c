#include "athd/audit_newest.h"

#include <stdlib.h>
#include <string.h>

#include "protocol/audit_key.h"

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

/* The key of a note, as the log has it: its file's name is its thumbprint, which
 * checkpoint_verify compares. */
static ath_err
read_key(const char *dir, const char *jkt, struct why *why, struct public_key **ret_key)
{
    struct ath_buf text = {.max = AUDIT_KEY_MAX_LEN};
    char name[JKT_LEN + sizeof(".json")];
    ath_err err;

    memcpy(name, jkt, JKT_LEN);
    memcpy(name + JKT_LEN, ".json", sizeof(".json"));
    if ((err = read_file(dir, "/keys", name, &text, why)) == ATH_OK)
        err = audit_key_decode(ath_buf_slice(&text), why, ret_key);
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

/* ---- those below checkpoints/ ---- */

#define TRIES_MAX 16 /* newest ones that cannot be believed, before none is */

struct largest {
    uint64_t below; /* all are looked at where it is UINT64_MAX */
    bool found;
    uint64_t size;
};

static ath_err
find_largest(void *ctx, const char *name)
{
    struct largest *largest = ctx;
    uint64_t size;

    if (checkpoint_parse_name(name, &size) == ATH_OK && size < largest->below &&
        (!largest->found || size > largest->size)) {
        largest->found = true;
        largest->size = size;
    }
    return ATH_OK;
}

/* The newest that can be believed; the others are ath audit verify's to name. */
static ath_err
read_largest(const char *dir, struct audit_newest *ret_newest)
{
    char *folder = file_path(dir, "checkpoints");
    struct largest largest = {.below = UINT64_MAX};
    char name[CHECKPOINT_NAME_LEN + 1];
    ath_err err = folder == NULL ? ATH_ERR_NOMEM : ATH_OK;

    for (unsigned i = 0; err == ATH_OK && !ret_newest->found && i < TRIES_MAX; i++) {
        largest.found = false;
        if (file_each(folder, "", find_largest, &largest, NULL) != ATH_OK || !largest.found)
            break;
        checkpoint_name(largest.size, name);
        if (read_note(dir, "/checkpoints", name, ret_newest, NULL) == ATH_ERR_NOMEM)
            err = ATH_ERR_NOMEM;
        else if (ret_newest->found && ret_newest->checkpoint.size != largest.size)
            audit_newest_done(ret_newest); /* another one under this name */
        largest.below = largest.size;
    }
    free(folder);
    return err;
}

/* ---- which of the two ---- */

/* `checkpoint` is written last: what a kill leaves is the one before the newest, or an older one
 * of its size. Anything else was done to it, and is said. */
static void
compare(const struct audit_newest *top, const struct checkpoint *next, struct why *why)
{
    const struct checkpoint *last = &top->checkpoint;

    if (!top->found && next->has_previous)
        why_set(why, ATH_ERR_INVALID_EVIDENCE,
                "it was taken away; the newest of checkpoints/ covers %llu records",
                (unsigned long long)next->size);
    else if (top->found && last->size < next->size &&
             (!next->has_previous || last->size != next->previous))
        why_set(why, ATH_ERR_INVALID_EVIDENCE,
                "it was put back to the one of %llu records, the newest of checkpoints/ covers "
                "%llu",
                (unsigned long long)last->size, (unsigned long long)next->size);
}

static void
choose(struct audit_newest *top, struct audit_newest *listed, struct audit_newest *ret_newest)
{
    bool is_listed =
        listed->found && (!top->found || listed->checkpoint.size >= top->checkpoint.size);
    struct audit_newest *chosen = is_listed ? listed : top;

    chosen->is_ahead =
        is_listed && !ath_slice_equal(ath_buf_slice(&top->note), ath_buf_slice(&listed->note));
    chosen->is_unlisted = !is_listed && top->found;
    *ret_newest = *chosen; /* ownership moves */
    *chosen = (struct audit_newest){0};
}

ath_err
audit_newest_read(const char *dir, struct why *why, struct audit_newest *ret_newest)
{
    struct audit_newest top = {0}, listed = {0};
    struct why top_why = {{0}};
    ath_err err = read_note(dir, "", AUDIT_NEWEST_NAME, &top, &top_why);

    *ret_newest = (struct audit_newest){0};
    if (err == ATH_ERR_NOT_FOUND)
        top_why = (struct why){{0}};
    if (err != ATH_ERR_NOMEM)
        err = read_largest(dir, &listed);
    if (err == ATH_OK && top_why.text[0] == '\0' && listed.found)
        compare(&top, &listed.checkpoint, &top_why);
    if (err == ATH_OK)
        choose(&top, &listed, ret_newest);
    if (err == ATH_OK && top_why.text[0] != '\0')
        err = why_set(why, ATH_ERR_INVALID_EVIDENCE, "%s", top_why.text);
    audit_newest_done(&listed);
    audit_newest_done(&top);
    return err;
}

void
audit_newest_done(struct audit_newest *newest)
{
    ath_buf_done(&newest->note);
    *newest = (struct audit_newest){0};
}
