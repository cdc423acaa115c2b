/* The newest checkpoint of a log, as a start finds it. Blocking. */
#ifndef ATHD_AUDIT_NEWEST_H
#define ATHD_AUDIT_NEWEST_H

#include "base/file.h"
#include "protocol/checkpoint.h"

#define AUDIT_NEWEST_NAME "checkpoint" /* a copy of the newest of checkpoints/ */

struct audit_newest {
    bool found;
    bool is_ahead;    /* `checkpoint` is not (yet) what checkpoints/ has as its newest */
    bool is_unlisted; /* the other way: it is not below checkpoints/ any more */
    struct checkpoint checkpoint;
    struct ath_buf note;
};

/* The newest checkpoint of dir/checkpoint and dir/checkpoints that can be believed: the key it
 * names (dir/keys) has signed it. ATH_OK: also where there is none. ATH_ERR_INVALID_EVIDENCE:
 * something was done to dir/checkpoint that no kill does (why); ret_newest is what is left all the
 * same, and may be empty. ATH_ERR_NOMEM. */
ath_err audit_newest_read(const char *dir, struct why *why,
                          struct audit_newest *ret_newest) ATH_MUST_USE;
void audit_newest_done(struct audit_newest *newest);

#endif
