/* What ath-logind-watch says, a line an event (tools/ath-logind-watch.c writes them). */
#ifndef ATHD_LOCK_WATCH_LINE_H
#define ATHD_LOCK_WATCH_LINE_H

#include <sys/types.h>

#include "base/buf.h"

#define LOCK_WATCH_LINE_MAX 32u /* without the line end */

enum lock_watch_event {
    LOCK_WATCH_READY,  /* "watching": it hears from logind what happens from now on */
    LOCK_WATCH_SLEEP,  /* "sleep": the machine sleeps as soon as "locked" is said to it */
    LOCK_WATCH_WAKE,   /* "wake" */
    LOCK_WATCH_LOCK,   /* "lock UID": a session of this uid's is locked */
    LOCK_WATCH_UNLOCK, /* "unlock UID": a session of this uid's was unlocked */
};

/* Exactly one of these forms; a uid as printf("%u") writes it, not (uid_t)-1. ATH_ERR_PARSE. */
ath_err lock_watch_line_decode(struct ath_slice line, enum lock_watch_event *ret_event,
                               uid_t *ret_uid) ATH_MUST_USE;

#endif
