/*
 * A grant: a socket of its own for one agent, at which only some methods, keys, audiences, peers
 * and scopes can be had, for a time, for a number of signatures, while a process lives. A grant
 * made through another one's socket can only narrow that one: every one above it is asked at each
 * use.
 */
#ifndef ATHD_GRANT_H
#define ATHD_GRANT_H

#include <sys/queue.h>

#include "athd/grant_limits.h"
#include "athd/grant_process.h"
#include "base/name.h"
#include "crypto/public_key.h"

struct caller;
struct grant_table;
struct key;
struct key_store;
struct listener_socket;
struct policy_answer;

#define GRANT_DEPTH_MAX 8u
#define GRANT_KEYS_MAX 64u
#define GRANT_CONNECTIONS_MAX 128u
#define GRANT_RULE_SIZE (NAME_MAX_LEN + 7)

struct grant_key {    /* the key that had this name when the grant was made */
    const char *name; /* of the limits */
    char jkt[JKT_LEN + 1];
    bool confirmed; /* KEY_CONFIRM_SESSION: the user said yes, and it was locked so often before */
    unsigned locks;
};

/* A signature that waits until the file says that it was counted; grant_uses.c. */
struct grant_use_step {
    TAILQ_ENTRY(grant_use_step) entry;
    struct grant_use *use;
    struct grant *grant; /* NULL: it does not wait for this one */
    int64_t number;
};

struct grant_use {
    struct grant_use_step steps[GRANT_DEPTH_MAX];
    unsigned waits;
    bool is_sent;
    ath_err err;
    struct grant *grant; /* counted; NULL: nothing is counted */
    void (*done)(void *ctx, ath_err err);
    void *ctx;
};

struct grant_room { /* of what is forgotten by itself; grant_room.h */
    int64_t began_at;
    size_t taken, before; /* since then; in the window before */
};

struct grant { /* counted: the table, grants within it, callers at its socket, writes, uses */
    unsigned references;
    struct grant_table *table; /* NULL: it has ended */
    LIST_ENTRY(grant) of_table;
    struct grant *parent; /* counted; NULL: the owner made it */
    unsigned depth;       /* 1: the owner made it */
    uint64_t serial;      /* no other grant had it since athd started; not 0 */
    char name[NAME_MAX_LEN + 1];
    char rule[GRANT_RULE_SIZE]; /* "grant:NAME", as what refuses is called */
    struct policy_rules *limits;
    struct grant_key *keys;         /* as many as the limits have */
    int64_t created_at, expires_at; /* expires_at 0: never by itself */
    struct grant_process *process;  /* NULL: none */

    int64_t max_uses;                /* signatures; 0: any number */
    int64_t uses;                    /* that were begun */
    int64_t uses_sent, uses_on_disk; /* to the hardware; no more are given out than the file says */
    int64_t uses_being_written;      /* 0: no write is under way */
    int64_t used_up_at;
    TAILQ_HEAD(, grant_use_step) waiting;

    struct grant_room room;         /* of the outermost one */
    char *path;                     /* of its socket */
    struct listener_socket *socket; /* NULL: nobody listens (yet) */
};

/* From the params of grant.create. Its keys are those of `keys` now. ATH_ERR_INVALID_PARAMS,
 * ATH_ERR_KEY_NOT_FOUND, ATH_ERR_POLICY_DENIED (wider than parent; why: "audiences: ..."),
 * ATH_ERR_LIMIT_EXCEEDED, ATH_ERR_NOMEM. */
ath_err grant_new(const struct json *params, uid_t owner, struct grant *parent,
                  const struct key_store *keys, int64_t now, struct why *why,
                  struct grant **ret_grant) ATH_MUST_USE;
/* Without limits and numbers yet; one reference. NULL: out of memory. */
struct grant *grant_new_empty(const char *name);
struct grant *grant_ref(struct grant *grant);
void grant_free(struct grant *grant); /* drops one reference; NULL is fine */

/* Its callers are one in fair queues, and handshakes and sessions are theirs alone:
 * caller->identity of them all, and of nobody at the owner's socket. */
uint64_t grant_identity(const struct grant *grant);
const struct grant *grant_outermost(const struct grant *grant);
bool grant_is_within(const struct grant *grant, const struct grant *outer); /* or the same */
/* The earliest end of it and those above it; 0: none. */
int64_t grant_expires_at(const struct grant *grant);
/* The fewest left of it and those above it; -1: any number. */
int64_t grant_uses_left(const struct grant *grant);
bool grant_has_key(const struct grant *grant, const struct key *key);
/* A yes to a key that asks once (KEY_CONFIRM_SESSION) is one for this very grant; it has the key.
 */
bool grant_is_confirmed(const struct grant *grant, const struct key *key);
void grant_confirm(struct grant *grant, const struct key *key);

/* As grant.list shows it; and as its own callers see it (agent.hello): what all above it allow. */
void grant_put_all(const struct grant *grant, struct json_maker *object);
void grant_put_own(const struct grant *grant, struct json_maker *object, const char *name);

/* grant_file.c */

/* TENANT/grants/NAME.json; what the file says was used may be more than what was. */
ath_err grant_encode(const struct grant *grant, int64_t uses,
                     struct json **ret_object) ATH_MUST_USE;
/* A file: what it tells of others is left to the caller. */
struct grant_file {
    char *parent; /* NULL: none; owned, as the rest */
    bool has_process;
    struct grant_process_id process;
    struct grant *grant;
};
/* ATH_ERR_PARSE with why, ATH_ERR_NOMEM. */
ath_err grant_decode(const struct json *object, const char *name, uid_t owner, struct why *why,
                     struct grant_file *ret_file) ATH_MUST_USE;
void grant_file_done(struct grant_file *file);
/* Has it, or one that it is within, a process? */
bool grant_has_process(const struct grant *grant);

/* grant_decide.c */

/* Does a decision depend on the caller's unit? NULL: no. */
bool grant_looks_at_process(const struct grant *grant);
/* May a caller at this grant's socket do this: do it and all above it live, and allow it? False:
 * *ret_answer says which does not, and why. NULL: the owner's socket, true. */
bool grant_decide(const struct grant *grant, const struct policy_subject *subject,
                  const struct policy_question *question, const struct key_store *keys,
                  struct policy_answer *ret_answer);

/* grant_uses.c */

/* Counts a signature for the grant and all above it (NULL: nothing is counted).
 * ATH_ERR_POLICY_DENIED with why: all are used. */
ath_err grant_use_begin(struct grant *grant, struct grant_use *use, struct why *why) ATH_MUST_USE;
/* The hardware begins: now the files count it too. With use->waits 0 they do already; else
 * done(ctx, err) is called when they do, once and from the loop. ATH_ERR_AUDIT_UNAVAILABLE: a file
 * could not be written; ATH_ERR_POLICY_DENIED: the grant has ended. */
void grant_use_send(struct grant_use *use, void (*done)(void *ctx, ath_err err), void *ctx);
/* Was nothing signed after all, it is not counted. Every use is ended; one that still waits is told
 * nothing any more. */
void grant_use_end(struct grant_use *use, bool is_signed);
/* The grant has ended: nobody is told of its file any more. */
void grant_uses_drop(struct grant *grant);
/* What the file says was used, or is about to. */
int64_t grant_uses_claimed(const struct grant *grant);
/* athd ends: the file shall say what was used. */
void grant_uses_settle(struct grant *grant);

#endif
