#include "athd/grant_room.h"

#include "protocol/protocol_limits.h"

/* Nothing that was presented is remembered for longer: it may be of that much later than now. */
#define WINDOW_S (2 * TIMESTAMP_LEEWAY_S + 1)

ath_err
grant_room_check(const char *name, size_t own, size_t held, size_t max, struct why *why)
{
    if (own >= max / GRANT_ROOM_PARTS)
        return why_set(why, ATH_ERR_LIMIT_EXCEEDED,
                       "%zu of these came through the grant \"%s\", and no grant may add more; its "
                       "owner can, or wait until some have expired",
                       own, name);
    if (held >= max / 2)
        return why_set(why, ATH_ERR_LIMIT_EXCEEDED,
                       "%zu of these are kept, and the rest of the room is not for grants; their "
                       "owner can add more, or wait until some have expired",
                       held);
    return ATH_OK;
}

/* Counted in two halves: what came in this window or in the one before may still be there. */
ath_err
grant_room_take(struct grant *through, size_t held, size_t max, int64_t now, struct why *why)
{
    struct grant *outer = through;
    struct grant_room *room;
    ath_err err;

    while (outer != NULL && outer->parent != NULL)
        outer = outer->parent;
    if (outer == NULL)
        return ATH_OK;
    room = &outer->room;
    if (now < room->began_at || now - room->began_at >= 2 * WINDOW_S)
        *room = (struct grant_room){.began_at = now};
    else if (now - room->began_at >= WINDOW_S)
        *room = (struct grant_room){.began_at = room->began_at + WINDOW_S, .before = room->taken};
    err = grant_room_check(outer->name, room->taken + room->before, held, max, why);
    if (err == ATH_OK)
        room->taken++;
    return err;
}
