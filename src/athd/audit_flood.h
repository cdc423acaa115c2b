/*
 * Refusals that strangers can cause at will must not fill the disk: of one kind, by one uid, so
 * many a minute are recorded one by one; the others are counted and recorded together
 * (`more_of_the_same`) when the minute is over.
 */
#ifndef ATHD_AUDIT_FLOOD_H
#define ATHD_AUDIT_FLOOD_H

#include <sys/types.h>

#include <uv.h>

#include "base/json.h"

struct athd;

#define AUDIT_FLOOD_SINGLES 20u /* a kind, uid and minute */
#define AUDIT_FLOOD_WINDOW_MS 60000u
#define AUDIT_FLOOD_KINDS 256u /* kinds and uids at once; the last one is shared by all others */

struct audit_flood {
    struct athd *athd;
    uv_timer_t timer;
    bool has_timer;
    struct audit_flood_kind {
        const char *event; /* static; NULL: free */
        uid_t uid;
        uint64_t began_ms;
        unsigned recorded;
        uint64_t more;
        char since[25];
    } kinds[AUDIT_FLOOD_KINDS];
};

/* ATH_ERR_NOMEM. */
ath_err audit_flood_init(struct audit_flood *flood, struct athd *athd) ATH_MUST_USE;
/* Records what was counted; nothing is counted any more, everything admitted. */
void audit_flood_close(struct audit_flood *flood);

/* May this one have a record of its own? False: it is counted. `event` is a string literal. */
bool audit_flood_admits(struct audit_flood *flood, const char *event, uid_t uid);
/* The same where `singles` a minute are enough. */
bool audit_flood_admits_few(struct audit_flood *flood, const char *event, uid_t uid,
                            unsigned singles);

#endif
