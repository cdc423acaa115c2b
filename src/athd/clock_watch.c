#include "athd/clock_watch.h"

#include <stdbool.h>
#include <time.h>

#include "athd/athd.h"
#include "athd/audit_record.h"
#include "base/clock.h"
#include "base/log.h"

static int64_t
read_ms(clockid_t clock)
{
    struct timespec now;

    /* cannot fail for these clocks and a valid pointer (clock_gettime(2)) */
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

#define TRIES 5
#define APART_MS 100 /* more than that between the readings, and others ran meanwhile */

/* Both as of one moment, or a busy machine would be told as a jump. */
static void
read_both(int64_t *ret_realtime_ms, int64_t *ret_boottime_ms)
{
    int64_t before_ms;

    for (unsigned i = 0; i < TRIES; i++) {
        before_ms = read_ms(CLOCK_BOOTTIME);
        *ret_realtime_ms = read_ms(CLOCK_REALTIME);
        *ret_boottime_ms = read_ms(CLOCK_BOOTTIME);
        if (*ret_boottime_ms - before_ms <= APART_MS)
            return;
    }
}

int64_t
clock_watch_jump(struct clock_watch *watch, int64_t realtime_ms, int64_t boottime_ms)
{
    int64_t offset_ms = realtime_ms - boottime_ms, jump_ms = offset_ms - watch->offset_ms;
    bool is_first = !watch->has_offset;

    watch->has_offset = true;
    watch->offset_ms = offset_ms;
    if (is_first || (jump_ms <= CLOCK_WATCH_JUMP_MS && jump_ms >= -CLOCK_WATCH_JUMP_MS))
        return 0;
    return jump_ms;
}

void
clock_watch_look(struct clock_watch *watch)
{
    struct json_maker record;
    int64_t realtime_ms, boottime_ms, jump_ms;

    if (!watch->has_timer)
        return;
    read_both(&realtime_ms, &boottime_ms);
    jump_ms = clock_watch_jump(watch, realtime_ms, boottime_ms);
    if (jump_ms == 0)
        return;
    log_warning("event=clock_jump by_ms=%lld", (long long)jump_ms);
    audit_record_begin(&record, "clock_jump", NULL);
    json_put_int(&record, "by_ms", jump_ms);
    audit_record_note(watch->athd, &record);
}

static void
on_timer(uv_timer_t *timer)
{
    clock_watch_look(timer->data);
}

ath_err
clock_watch_init(struct clock_watch *watch, struct athd *athd)
{
    *watch = (struct clock_watch){.athd = athd};
    if (uv_timer_init(athd->loop, &watch->timer) != 0)
        return ATH_ERR_NOMEM;
    watch->timer.data = watch;
    watch->has_timer = true;
    clock_watch_look(watch);
    uv_timer_start(&watch->timer, on_timer, CLOCK_WATCH_EVERY_MS, CLOCK_WATCH_EVERY_MS);
    return ATH_OK;
}

void
clock_watch_close(struct clock_watch *watch)
{
    if (watch->has_timer)
        uv_close((uv_handle_t *)&watch->timer, NULL);
    watch->has_timer = false;
}
