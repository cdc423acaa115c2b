/* The checkpoints of an audit log and the keys that signed them, from its files (docs/audit.md).
 * Blocks; for tools. */
#ifndef PROTOCOL_AUDIT_NOTES_H
#define PROTOCOL_AUDIT_NOTES_H

#include "protocol/checkpoint.h"

#define AUDIT_MAX_KEYS 64u
#define AUDIT_MAX_NAME 128u

/* What is wrong with a log, and where: the first thing that was found. */
struct audit_wrong {
    char file[AUDIT_MAX_NAME]; /* below the log's directory; "" : the log as a whole */
    uint64_t offset;           /* byte in it where the wrong line begins; 0 for other files */
    bool has_index;
    uint64_t index;  /* of the record */
    bool is_between; /* so a reader sees it when athd has just written a checkpoint */
    struct why why;  /* what is wrong with it */
};

/* Sets all of it and returns ATH_ERR_INVALID_EVIDENCE. file may be NULL. */
ath_err audit_wrong_set(struct audit_wrong *wrong, const char *file, const char *fmt, ...)
    ATH_PRINTF(3, 4);

struct audit_keys {
    struct public_key *keys[AUDIT_MAX_KEYS]; /* owned */
    size_t count;
};

/* One checkpoint, verified. */
struct audit_note {
    struct checkpoint checkpoint;
    const struct public_key *key; /* of audit_keys */
    uint8_t digest[SHA256_LEN];   /* of the file */
};

struct audit_notes {
    struct audit_keys keys;
    struct audit_note *notes; /* by size, ascending; owned */
    size_t count;
    bool is_unfinished; /* dir/checkpoint is not yet the newest: athd writes it, or was killed */
};

/* The key of this thumbprint; NULL: there is none. */
const struct public_key *audit_keys_find(const struct audit_keys *keys, const char *jkt);

/*
 * Reads dir/keys, dir/checkpoints and dir/checkpoint, and checks all that needs no record: keys
 * that are what their names say; notes that are signed by them, are what their names say, follow
 * one another without a gap, count up, and end in dir/checkpoint (or one later: is_unfinished).
 * ATH_ERR_INVALID_EVIDENCE with *wrong (also where there is no file at all); ATH_ERR_IO with
 * wrong->why, ATH_ERR_NOMEM, ATH_ERR_CRYPTO.
 */
ath_err audit_notes_load(const char *dir, struct audit_wrong *wrong,
                         struct audit_notes *ret_notes) ATH_MUST_USE;
void audit_notes_done(struct audit_notes *notes); /* an empty one is fine */

/* The newest; NULL: there is none. */
const struct audit_note *audit_notes_newest(const struct audit_notes *notes);

/* The file of a note: dir/checkpoints/SIZE, appended. ATH_ERR_NOT_FOUND, ATH_ERR_IO,
 * ATH_ERR_NOMEM. */
ath_err audit_note_read(const char *dir, uint64_t size, struct why *why,
                        struct ath_buf *note) ATH_MUST_USE;

#endif
