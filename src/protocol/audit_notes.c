#include "protocol/audit_notes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "protocol/audit_key.h"

#define KEY_SUFFIX ".json"
#define MAX_NOTES (16u * 1024u * 1024u)

ath_err
audit_wrong_set(struct audit_wrong *wrong, const char *file, const char *fmt, ...)
{
    char text[sizeof(wrong->why.text)];
    va_list args;

    va_start(args, fmt);
    if (vsnprintf(text, sizeof(text), fmt, args) < 0)
        text[0] = '\0';
    va_end(args);
    wrong->has_index = wrong->is_between = false;
    wrong->offset = 0;
    snprintf(wrong->file, sizeof(wrong->file), "%s", file == NULL ? "" : file);
    return why_set(&wrong->why, ATH_ERR_INVALID_EVIDENCE, "%s", text);
}

/* What reading a file that must be there ended with. */
static ath_err
wrong_read(struct audit_wrong *wrong, const char *file, ath_err err)
{
    if (err == ATH_ERR_NOT_FOUND)
        return audit_wrong_set(wrong, file, "the file is missing");
    if (err == ATH_ERR_LIMIT_EXCEEDED)
        return audit_wrong_set(wrong, file, "the file is larger than any that athd writes");
    return err;
}

/* Being read: names are collected first, since files are checked in order. */
struct loading {
    const char *dir;
    struct audit_wrong *wrong;
    struct audit_notes *notes;
    size_t cap;
};

static ath_err
read_below(const struct loading *loading, const char *file, struct ath_buf *content)
{
    char *path = file_path(loading->dir, file);
    ath_err err;

    if (path == NULL)
        return ATH_ERR_NOMEM;
    err = wrong_read(loading->wrong, file, file_read(path, content, &loading->wrong->why));
    free(path);
    return err;
}

/* A directory that is not there has nothing in it: what should be is missed later, by name. */
static ath_err
each_below(struct loading *loading, const char *folder, const char *suffix,
           ath_err (*each)(void *ctx, const char *name))
{
    char *path = file_path(loading->dir, folder);
    ath_err err;

    if (path == NULL)
        return ATH_ERR_NOMEM;
    err = file_each(path, suffix, each, loading, &loading->wrong->why);
    free(path);
    return err == ATH_ERR_NOT_FOUND ? ATH_OK : err;
}

/* ---- keys ---- */

const struct public_key *
audit_keys_find(const struct audit_keys *keys, const char *jkt)
{
    for (size_t i = 0; i < keys->count; i++)
        if (strcmp(public_key_jkt(keys->keys[i]), jkt) == 0)
            return keys->keys[i];
    return NULL;
}

/* The one form, and the name that is its thumbprint. */
static ath_err
check_key(struct loading *loading, const char *file, const char *name, struct ath_slice content,
          const struct public_key *key)
{
    struct ath_buf same = {.max = AUDIT_KEY_MAX_LEN};
    char own_name[JKT_LEN + sizeof(KEY_SUFFIX)];
    ath_err err;

    snprintf(own_name, sizeof(own_name), "%s" KEY_SUFFIX, public_key_jkt(key));
    audit_key_put_file(key, &same);
    err = same.err;
    if (err == ATH_OK && strcmp(name, own_name) != 0)
        err =
            audit_wrong_set(loading->wrong, file, "it holds another key: %s", public_key_jkt(key));
    else if (err == ATH_OK && !ath_slice_equal(ath_buf_slice(&same), content))
        err = audit_wrong_set(loading->wrong, file, "it is not as athd writes it");
    ath_buf_done(&same);
    return err;
}

static ath_err
load_key(void *ctx, const char *name)
{
    struct loading *loading = ctx;
    struct audit_keys *keys = &loading->notes->keys;
    struct ath_buf content = {.max = AUDIT_KEY_MAX_LEN};
    struct public_key *key = NULL;
    char file[AUDIT_MAX_NAME];
    struct why why = {""};
    ath_err err;

    snprintf(file, sizeof(file), "keys/%s", name);
    if (keys->count == AUDIT_MAX_KEYS) {
        err = audit_wrong_set(loading->wrong, file, "more than %u keys", AUDIT_MAX_KEYS);
        goto out;
    }
    if ((err = read_below(loading, file, &content)) != ATH_OK)
        goto out;
    err = audit_key_decode(ath_buf_slice(&content), &why, &key);
    if (err == ATH_ERR_PARSE || err == ATH_ERR_INVALID_PUBLIC_KEY || err == ATH_ERR_LIMIT_EXCEEDED)
        err = audit_wrong_set(loading->wrong, file, "no public key: %s", why_text(&why, err));
    if (err != ATH_OK ||
        (err = check_key(loading, file, name, ath_buf_slice(&content), key)) != ATH_OK)
        goto out;
    keys->keys[keys->count++] = key;
    key = NULL;
out:
    public_key_free(key);
    ath_buf_done(&content);
    return err;
}

/* ---- notes ---- */

static ath_err
collect_note(void *ctx, const char *name)
{
    struct loading *loading = ctx;
    struct audit_notes *notes = loading->notes;
    uint64_t size;

    if (checkpoint_parse_name(name, &size) != ATH_OK) {
        char file[AUDIT_MAX_NAME];

        snprintf(file, sizeof(file), "checkpoints/%s", name);
        return audit_wrong_set(loading->wrong, file, "the name is not a size of 20 digits");
    }
    if (notes->count == loading->cap) {
        size_t cap = loading->cap == 0 ? 64 : 2 * loading->cap;
        struct audit_note *grown;

        if (cap > MAX_NOTES)
            return audit_wrong_set(loading->wrong, "checkpoints", "too many files");
        if ((grown = realloc(notes->notes, cap * sizeof(*grown))) == NULL)
            return ATH_ERR_NOMEM;
        notes->notes = grown;
        loading->cap = cap;
    }
    memset(&notes->notes[notes->count], 0, sizeof(notes->notes[0]));
    notes->notes[notes->count++].checkpoint.size = size;
    return ATH_OK;
}

static int
compare_notes(const void *a, const void *b)
{
    uint64_t left = ((const struct audit_note *)a)->checkpoint.size;
    uint64_t right = ((const struct audit_note *)b)->checkpoint.size;

    return left < right ? -1 : left > right;
}

static ath_err
verify_note(struct loading *loading, const char *file, struct ath_slice content,
            struct audit_note *note)
{
    struct checkpoint_note decoded;
    struct why why = {""};
    ath_err err;

    if ((err = checkpoint_decode(content, &why, &decoded)) != ATH_OK)
        goto out;
    if (decoded.checkpoint.size != note->checkpoint.size) {
        err = why_set(&why, ATH_ERR_PARSE, "it covers %llu records",
                      (unsigned long long)decoded.checkpoint.size);
        goto out;
    }
    note->checkpoint = decoded.checkpoint;
    if ((note->key = audit_keys_find(&loading->notes->keys, decoded.checkpoint.jkt)) == NULL) {
        err = why_set(&why, ATH_ERR_INVALID_SIGNATURE, "keys/%s.json is missing",
                      decoded.checkpoint.jkt);
        goto out;
    }
    if ((err = checkpoint_verify(&decoded, note->key, &why)) != ATH_OK)
        goto out;
    return sha256(content, note->digest);
out:
    if (err == ATH_ERR_NOMEM || err == ATH_ERR_CRYPTO)
        return err;
    return audit_wrong_set(loading->wrong, file, "%s", why_text(&why, err));
}

/* previous, and the counter of the key since its last note. */
static ath_err
check_order(struct loading *loading, const char *file, const struct audit_note *note,
            const struct audit_note *before)
{
    const struct checkpoint *now = &note->checkpoint;

    if (before == NULL)
        return now->has_previous
                   ? audit_wrong_set(loading->wrong, file,
                                     "the checkpoint before it, of %llu records, is missing",
                                     (unsigned long long)now->previous)
                   : ATH_OK;
    if (!now->has_previous || now->previous != before->checkpoint.size)
        return audit_wrong_set(loading->wrong, file,
                               "it does not follow the one of %llu records: one is missing or "
                               "one is too many",
                               (unsigned long long)before->checkpoint.size);
    return ATH_OK;
}

static ath_err
check_counter(struct loading *loading, const char *file, const struct audit_note *note,
              const struct audit_note *before)
{
    const struct checkpoint *now = &note->checkpoint, *last = &before->checkpoint;

    if (!last->has_counter)
        return ATH_OK;
    if (!now->has_counter)
        return audit_wrong_set(loading->wrong, file,
                               "it has no counter, the one of %llu records by the same key has",
                               (unsigned long long)last->size);
    if (now->counter <= last->counter)
        return audit_wrong_set(loading->wrong, file,
                               "its counter stands at %llu, that of the one of %llu records at "
                               "%llu already",
                               (unsigned long long)now->counter, (unsigned long long)last->size,
                               (unsigned long long)last->counter);
    return ATH_OK;
}

/* The last note by the same key among the first `count`; NULL: none. */
static const struct audit_note *
last_of_key(const struct audit_notes *notes, size_t count, const struct public_key *key)
{
    while (count-- > 0)
        if (notes->notes[count].key == key)
            return &notes->notes[count];
    return NULL;
}

static ath_err
load_note(struct loading *loading, size_t at)
{
    struct audit_notes *notes = loading->notes;
    struct audit_note *note = &notes->notes[at];
    struct ath_buf content = {.max = CHECKPOINT_MAX_LEN};
    const struct audit_note *of_key;
    char name[CHECKPOINT_NAME_LEN + 1], file[AUDIT_MAX_NAME];
    ath_err err;

    checkpoint_name(note->checkpoint.size, name);
    snprintf(file, sizeof(file), "checkpoints/%s", name);
    if ((err = read_below(loading, file, &content)) != ATH_OK ||
        (err = verify_note(loading, file, ath_buf_slice(&content), note)) != ATH_OK ||
        (err = check_order(loading, file, note, at == 0 ? NULL : note - 1)) != ATH_OK)
        goto out;
    of_key = last_of_key(notes, at, note->key);
    if (of_key != NULL)
        err = check_counter(loading, file, note, of_key);
out:
    ath_buf_done(&content);
    return err;
}

/* What a kill leaves, or a reader meets, while athd writes a checkpoint: the note before the newest
 * (or none, before the first), or an older one of the same size. Nothing is lost by it. */
static bool
is_before(const struct audit_notes *notes, const struct checkpoint *there)
{
    const struct audit_note *newest = audit_notes_newest(notes);

    if (there == NULL)
        return newest != NULL && notes->count == 1;
    return newest != NULL && (there->size == newest->checkpoint.size ||
                              (notes->count > 1 && there->size == (newest - 1)->checkpoint.size));
}

/* Is it a checkpoint of this log's keys? */
static bool
read_signed(const struct audit_notes *notes, struct ath_slice content, struct checkpoint *ret)
{
    const struct public_key *key;
    struct checkpoint_note note;

    if (checkpoint_decode(content, NULL, &note) != ATH_OK ||
        (key = audit_keys_find(&notes->keys, note.checkpoint.jkt)) == NULL ||
        checkpoint_verify(&note, key, NULL) != ATH_OK)
        return false;
    *ret = note.checkpoint;
    return true;
}

static ath_err
check_other_newest(struct loading *loading, bool is_there, struct ath_slice content)
{
    const struct audit_note *newest = audit_notes_newest(loading->notes);
    struct checkpoint there = {0};
    bool is_signed = read_signed(loading->notes, content, &there);
    ath_err err;

    if ((is_signed && is_before(loading->notes, &there)) ||
        (!is_there && is_before(loading->notes, NULL))) {
        loading->notes->is_unfinished = true;
        return ATH_OK;
    }
    if (newest == NULL && content.len == 0)
        err = audit_wrong_set(loading->wrong, "checkpoint",
                              "there is none (yet): nothing shows that the records are those that "
                              "were written");
    else if (newest == NULL || (is_signed && there.size > newest->checkpoint.size))
        err = audit_wrong_set(loading->wrong, "checkpoint", "its file in checkpoints/ is missing");
    else if (content.len == 0)
        err = audit_wrong_set(loading->wrong, "checkpoint", "the file is missing or empty");
    else
        err = audit_wrong_set(loading->wrong, "checkpoint",
                              "it is not the newest of checkpoints/, the one of %llu records",
                              (unsigned long long)newest->checkpoint.size);
    loading->wrong->is_between = is_signed;
    return err;
}

/* dir/checkpoint has the bytes of the newest note. */
static ath_err
check_newest(struct loading *loading)
{
    const struct audit_note *newest = audit_notes_newest(loading->notes);
    char *path = file_path(loading->dir, "checkpoint");
    struct ath_buf content = {.max = CHECKPOINT_MAX_LEN};
    uint8_t digest[SHA256_LEN];
    ath_err err;

    if (path == NULL)
        return ATH_ERR_NOMEM;
    err = file_read(path, &content, &loading->wrong->why);
    if (err == ATH_ERR_NOT_FOUND)
        err = check_other_newest(loading, false, (struct ath_slice){0});
    else if ((err = wrong_read(loading->wrong, "checkpoint", err)) == ATH_OK &&
             (err = sha256(ath_buf_slice(&content), digest)) == ATH_OK &&
             (newest == NULL || memcmp(digest, newest->digest, sizeof(digest)) != 0))
        err = check_other_newest(loading, true, ath_buf_slice(&content));
    ath_buf_done(&content);
    free(path);
    return err;
}

ath_err
audit_notes_load(const char *dir, struct audit_wrong *wrong, struct audit_notes *ret_notes)
{
    struct audit_notes notes = {0};
    struct loading loading = {.dir = dir, .wrong = wrong, .notes = &notes};
    ath_err err;

    if ((err = each_below(&loading, "keys", KEY_SUFFIX, load_key)) != ATH_OK ||
        (err = each_below(&loading, "checkpoints", "", collect_note)) != ATH_OK)
        goto out;
    if (notes.count != 0)
        qsort(notes.notes, notes.count, sizeof(notes.notes[0]), compare_notes);
    for (size_t i = 0; err == ATH_OK && i < notes.count; i++)
        err = load_note(&loading, i);
    if (err != ATH_OK || (err = check_newest(&loading)) != ATH_OK)
        goto out;
    *ret_notes = notes;
    notes = (struct audit_notes){0};
out:
    audit_notes_done(&notes);
    return err;
}

void
audit_notes_done(struct audit_notes *notes)
{
    for (size_t i = 0; i < notes->keys.count; i++)
        public_key_free(notes->keys.keys[i]);
    free(notes->notes);
    *notes = (struct audit_notes){0};
}

const struct audit_note *
audit_notes_newest(const struct audit_notes *notes)
{
    return notes->count != 0 ? &notes->notes[notes->count - 1] : NULL;
}

ath_err
audit_note_read(const char *dir, uint64_t size, struct why *why, struct ath_buf *note)
{
    char name[CHECKPOINT_NAME_LEN + 1], file[AUDIT_MAX_NAME];
    char *path;
    ath_err err;

    checkpoint_name(size, name);
    snprintf(file, sizeof(file), "checkpoints/%s", name);
    if ((path = file_path(dir, file)) == NULL)
        return ATH_ERR_NOMEM;
    err = file_read(path, note, why);
    free(path);
    return err;
}
