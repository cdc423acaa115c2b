/*
 * The lock of a tenant: athd goes on, but signs, opens and changes nothing of that uid's until a
 * person unlocks it. By a
 * passphrase (agent.lock), or without one because the machine sleeps or a session is locked
 * (lock_watch.h). STATE/lock.json holds it, so that neither SIGKILL nor a restart unlocks; a file
 * that cannot be read is a lock (LOCK_BY_DAMAGE) that ends when somebody has looked at it, removed
 * it and started athd again.
 */
#ifndef ATHD_LOCK_H
#define ATHD_LOCK_H

#include "athd/lock_file.h"
#include "athd/request.h"
#include "athd/store.h"

struct lock;

/* Reads the tenant's file (blocking, start-up). ATH_ERR_NOMEM. */
ath_err lock_open(struct tenant *tenant, struct lock **ret_lock) ATH_MUST_USE;
void lock_free(struct lock *lock); /* NULL is fine */

/* enum lock_reason bits; 0: not locked. NULL (there is no lock yet): 0. */
unsigned lock_reasons(const struct lock *lock);
/* What it was locked with. */
const struct lock_verifier *lock_verifier(const struct lock *lock);
/* "locked", and where it is: "lock": {since, by, retry_after?}. */
void lock_put_status(const struct lock *lock, struct json_maker *object);

/* A person is being asked: one dialogue at a time. False: there is one already. */
bool lock_take_screen(struct lock *lock);
void lock_give_screen(struct lock *lock);

/* ---- locking ---- */

/* One reason more, LOCK_BY_SUSPEND or LOCK_BY_SESSION. It holds from now on; done comes when it is
 * on disk, or cannot be (NULL: nobody waits). One that is there already changes nothing. */
void lock_add(struct lock *lock, enum lock_reason reason, store_done_fn *done, void *ctx);
/* The passphrase. It holds, and ends what is under way (`request`, which asked for it, goes on),
 * when it is on disk; then done says so. ATH_ERR_EXISTS: it is locked by one already.
 * ATH_ERR_NOMEM. With an error of these done is not called. */
ath_err lock_with_passphrase(struct lock *lock, const struct lock_verifier *verifier,
                             const struct request *request, store_done_fn *done,
                             void *ctx) ATH_MUST_USE;

/* ---- unlocking ---- */

/* Seconds until a passphrase may be tried; 0: now. */
uint32_t lock_wait_s(const struct lock *lock);
/* A passphrase is about to be tried: it counts as wrong until lock_end, so that whoever kills athd
 * meanwhile has used it up. done when it is on disk; where that fails it must not be tried. */
void lock_count_try(struct lock *lock, store_done_fn *done, void *ctx);
/* It was wrong: the pause begins now, not when its hash was begun. */
void lock_begin_pause(struct lock *lock);

/* How often it has been locked, by whatever: who unlocks shows that it saw the last one. */
uint64_t lock_count(const struct lock *lock);
/* These reasons end, when that is on disk and unless it was locked anew since `seen` (then
 * ATH_ERR_AGENT_LOCKED, and all of them stay). `request` may be NULL: logind. */
void lock_end(struct lock *lock, unsigned reasons, uint64_t seen, const struct request *request,
              store_done_fn *done, void *ctx);

/* ---- lock_gate.c: what a locked athd still does ---- */

enum lock_class {
    LOCK_UNKNOWN, /* not in the table: closed, and a test fails */
    LOCK_OPEN,    /* answered while locked */
    LOCK_CLOSED,  /* AGENT_LOCKED; what is under way ends so, whatever the hardware says later */
    LOCK_ENTRY,   /* not while locked; but what it began before is answered (agent.lock) */
};

enum lock_class lock_class_of(const char *method);
/* ATH_ERR_AGENT_LOCKED, and what ends it. */
ath_err lock_refusal(unsigned reasons, struct why *why) ATH_MUST_USE;
/* May the request go on: be carried out, sign? Else ATH_ERR_AGENT_LOCKED with why. */
ath_err lock_admits(const struct request *request, struct why *why) ATH_MUST_USE;
/* May what came of it leave, though it was locked while it was under way? Errors as above. */
ath_err lock_releases(const struct request *request, struct why *why) ATH_MUST_USE;

/* ---- lock_effects.c ---- */
/* What was under way or remembered ends: requests, questions, remembered answers, logins. */
void lock_take_effect(struct tenant *tenant);
/* The last reason has ended. */
void lock_lift(struct tenant *tenant);
/* For the log, the audit log and who listens. request may be NULL. */
void lock_tell_locked(struct tenant *tenant, enum lock_reason reason,
                      const struct request *request);
void lock_tell_unlocked(struct tenant *tenant, unsigned reasons, const struct request *request);

#endif
