/*
 * The key as audit_key.c (its state, the next try), audit_key_file.c (what is on disk at the start)
 * and audit_key_make.c (a new one) share it.
 */
#ifndef ATHD_AUDIT_KEY_PRIVATE_H
#define ATHD_AUDIT_KEY_PRIVATE_H

#include <uv.h>

#include "athd/audit_key.h"

enum audit_key_state {
    AUDIT_KEY_NEW,     /* nothing was tried yet */
    AUDIT_KEY_OPENING, /* the hardware looks at the blob */
    AUDIT_KEY_MAKING,  /* the hardware makes one */
    AUDIT_KEY_WRITING, /* the files are written */
    AUDIT_KEY_WAITING, /* for the next try */
    AUDIT_KEY_READY,
};

struct audit_key {
    struct athd *athd;
    char *dir;        /* audit_key */
    char *public_dir; /* audit/keys */
    const char *hsm;  /* borrowed from the pool; NULL: there is none of this name */
    enum audit_key_state state;
    struct public_key *public;
    struct ath_buf blob;
    struct hsm_key_ref ref;
    int64_t created_at;
    char replaced[JKT_LEN + 1]; /* the key that this one takes the place of; "": none */
    bool is_fresh;              /* made since athd started */
    bool is_unrecorded;         /* its record is still to be written */
    bool is_refused;            /* it is of no use any more: another is to be made */
    struct public_key *made;    /* until it is on disk */
    struct ath_buf made_blob;
    uv_timer_t timer;
    uint64_t retry_ms;
    bool is_closing;
    struct hsm_job *job;
    struct why why;
    void (*ready)(void *ctx);
    void *ctx;
};

/* audit_key.c: it failed, why (NULL: err says all); the next try comes by itself. */
void audit_key_wait(struct audit_key *key, ath_err err, const struct why *why);
void audit_key_become_ready(struct audit_key *key);

/* audit_key_file.c, for store_load (ctx: the key): the newest one of our hsm is ours; the newest of
 * any is what a new one takes the place of. */
ath_err audit_key_load(void *ctx, const char *stem, const struct json *object,
                       struct why *why) ATH_MUST_USE;
/* Takes both, as the key that is used from now on. */
void audit_key_take(struct audit_key *key, struct public_key *taken_public,
                    struct ath_buf *taken_blob);

/* audit_key_make.c: the hardware has made one (ctx: the key), or not. */
void audit_key_on_made(void *ctx, const struct hsm_outcome *outcome);
/* Writes `made`; then it is the key, and on record. Errors: nothing is under way. */
ath_err audit_key_write_made(struct audit_key *key) ATH_MUST_USE;
/* Which key signs from now on is on record, under the first checkpoint it signs; then it is ready.
 */
void audit_key_record(struct audit_key *key);

#endif
