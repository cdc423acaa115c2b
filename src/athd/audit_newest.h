/* The newest checkpoint of a log, as a start finds it. Blocking. */
#ifndef ATHD_AUDIT_NEWEST_H
#define ATHD_AUDIT_NEWEST_H

#include "base/file.h"
#include "protocol/checkpoint.h"

struct audit_newest {
    bool found;
    bool is_ahead; /* it is only below checkpoints/ yet: a kill came between the two */
    struct checkpoint checkpoint;
    struct ath_buf note;
};

/* Reads dir/checkpoint, or the one below dir/checkpoints that follows it, and believes it when the
 * key it names (dir/keys) has signed it. ATH_OK: also where there is none. Any other error: it is
 * there and not to be believed (why), ret_newest is empty; ATH_ERR_NOMEM. */
ath_err audit_newest_read(const char *dir, struct why *why,
                          struct audit_newest *ret_newest) ATH_MUST_USE;
void audit_newest_done(struct audit_newest *newest);

#endif
