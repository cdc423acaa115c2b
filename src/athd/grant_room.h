/* How much of its owner's tables a grant may fill: what is kept for long counts by the name of the
 * outermost grant, so that running the same agent again wins nothing. */
#ifndef ATHD_GRANT_ROOM_H
#define ATHD_GRANT_ROOM_H

#include "athd/grant.h"

#define GRANT_ROOM_PARTS 16u /* a grant has one of them, all grants together half */

/* One more that is forgotten by itself within minutes, as presented tokens are, where the table
 * holds `held` of at most `max`. through NULL: the owner's own, which may fill it.
 * ATH_ERR_LIMIT_EXCEEDED with why. */
ath_err grant_room_take(struct grant *through, size_t held, size_t max, int64_t now,
                        struct why *why) ATH_MUST_USE;

/* May one more be kept, where `own` came through grants of this name, and `held` in all? As
 * above. */
ath_err grant_room_check(const char *name, size_t own, size_t held, size_t max,
                         struct why *why) ATH_MUST_USE;

#endif
