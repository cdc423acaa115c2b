#include "athd/audit_flood.h"

#include <string.h>

#include "athd/athd.h"
#include "athd/audit_record.h"
#include "base/clock.h"

static void
settle(struct audit_flood *flood, struct audit_flood_kind *kind)
{
    bool is_shared = kind == &flood->kinds[AUDIT_FLOOD_KINDS - 1];
    struct json_maker record;

    if (kind->more > 0) {
        audit_record_begin(&record, "more_of_the_same", NULL);
        json_put_string(&record, "of", is_shared ? "others" : kind->event);
        if (!is_shared)
            json_put_int(&record, "uid", kind->uid);
        if (!is_shared && flood->athd->config->is_system)
            json_put_int(&record, "owner", kind->uid);
        json_put_int(&record, "count", (int64_t)kind->more);
        json_put_string(&record, "since", kind->since);
        audit_record_note(flood->athd, &record);
    }
    *kind = (struct audit_flood_kind){0};
}

static bool
is_over(const struct audit_flood_kind *kind, uint64_t now_ms)
{
    return kind->event != NULL && now_ms - kind->began_ms >= AUDIT_FLOOD_WINDOW_MS;
}

static void
on_timer(uv_timer_t *timer)
{
    struct audit_flood *flood = timer->data;
    uint64_t now_ms = clock_monotonic_ms();
    bool is_empty = true;

    for (size_t i = 0; i < AUDIT_FLOOD_KINDS; i++) {
        if (is_over(&flood->kinds[i], now_ms))
            settle(flood, &flood->kinds[i]);
        is_empty = is_empty && flood->kinds[i].event == NULL;
    }
    if (is_empty)
        uv_timer_stop(timer);
}

ath_err
audit_flood_init(struct audit_flood *flood, struct athd *athd)
{
    *flood = (struct audit_flood){.athd = athd};
    if (uv_timer_init(athd->loop, &flood->timer) != 0)
        return ATH_ERR_NOMEM;
    flood->timer.data = flood;
    flood->has_timer = true;
    return ATH_OK;
}

void
audit_flood_close(struct audit_flood *flood)
{
    if (!flood->has_timer)
        return;
    flood->has_timer = false;
    for (size_t i = 0; i < AUDIT_FLOOD_KINDS; i++)
        if (flood->kinds[i].event != NULL)
            settle(flood, &flood->kinds[i]);
    uv_close((uv_handle_t *)&flood->timer, NULL);
}

/* Its own place, a free one, or the last. */
static struct audit_flood_kind *
place_of(struct audit_flood *flood, const char *event, uid_t uid)
{
    struct audit_flood_kind *kind, *empty = NULL;

    for (size_t i = 0; i < AUDIT_FLOOD_KINDS; i++) {
        kind = &flood->kinds[i];
        if (kind->event != NULL && kind->uid == uid && strcmp(kind->event, event) == 0)
            return kind;
        if (kind->event == NULL && empty == NULL)
            empty = kind;
    }
    return empty != NULL ? empty : &flood->kinds[AUDIT_FLOOD_KINDS - 1];
}

bool
audit_flood_admits_few(struct audit_flood *flood, const char *event, uid_t uid, unsigned singles)
{
    struct audit_flood_kind *kind;
    uint64_t now_ms = clock_monotonic_ms();

    if (!flood->has_timer)
        return true;
    kind = place_of(flood, event, uid);
    if (is_over(kind, now_ms))
        settle(flood, kind);
    if (kind->event == NULL) {
        *kind = (struct audit_flood_kind){.event = event, .uid = uid, .began_ms = now_ms};
        if (!uv_is_active((uv_handle_t *)&flood->timer))
            uv_timer_start(&flood->timer, on_timer, AUDIT_FLOOD_WINDOW_MS, AUDIT_FLOOD_WINDOW_MS);
    }
    if (kind->recorded < singles) {
        kind->recorded++;
        return true;
    }
    if (kind->more++ == 0)
        clock_now_text(kind->since);
    return false;
}

bool
audit_flood_admits(struct audit_flood *flood, const char *event, uid_t uid)
{
    return audit_flood_admits_few(flood, event, uid, AUDIT_FLOOD_SINGLES);
}
