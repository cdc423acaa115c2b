/*
 * Locks when the machine goes to sleep or a session is locked (lock_on in athd.json): a child,
 * ath-logind-watch, talks to logind, so that athd is linked with no D-Bus library. It holds sleep
 * up until athd says that it has locked. One that ends is started again, after 1, 2, 4 ... 60 s;
 * what it misses meanwhile does not lock.
 */
#ifndef ATHD_LOCK_WATCH_H
#define ATHD_LOCK_WATCH_H

#include "base/json.h"
#include "base/why.h"

struct athd;
struct lock_watch;

/* Starts the program. *ret_watch NULL: lock_on asks for nothing. ATH_ERR_INVALID_PARAMS with why:
 * there is no such program (athd was built without libsystemd); ATH_ERR_NOMEM. */
ath_err lock_watch_open(struct athd *athd, struct why *why,
                        struct lock_watch **ret_watch) ATH_MUST_USE;
/* Ends the program; closed(ctx) when it has gone. NULL: at once. */
void lock_watch_close(struct lock_watch *watch, void (*closed)(void *ctx), void *ctx);
void lock_watch_free(struct lock_watch *watch); /* after that; NULL is fine */

/* "lock_on": {suspend, session, watching} for agent.status; nothing where watch is NULL. */
void lock_watch_put_status(const struct lock_watch *watch, struct json_maker *object);

#endif
