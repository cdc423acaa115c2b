/*
 * Jumps of the wall clock: CLOCK_REALTIME against CLOCK_BOOTTIME, which also counts what the
 * machine slept. Looked at with each call that comes, and once a minute, so that a record that
 * follows a jump follows the record of the jump.
 */
#ifndef ATHD_CLOCK_WATCH_H
#define ATHD_CLOCK_WATCH_H

#include <uv.h>

#include <stdbool.h>
#include <stdint.h>

#include "ath/err.h"

struct athd;

#define CLOCK_WATCH_JUMP_MS 2000
#define CLOCK_WATCH_EVERY_MS 60000u

struct clock_watch {
    struct athd *athd;
    uv_timer_t timer;
    bool has_timer, has_offset;
    int64_t offset_ms; /* what the wall clock was ahead of the time since boot */
};

/* ATH_ERR_NOMEM. */
ath_err clock_watch_init(struct clock_watch *watch, struct athd *athd) ATH_MUST_USE;
void clock_watch_close(struct clock_watch *watch);

/* Reads both clocks, and records a jump. */
void clock_watch_look(struct clock_watch *watch);

/* How far the wall clock was set since the last look, in milliseconds (forward: positive); 0: no
 * further than CLOCK_WATCH_JUMP_MS, which is what a clock is slewed by. The first look only
 * remembers. */
int64_t clock_watch_jump(struct clock_watch *watch, int64_t realtime_ms, int64_t boottime_ms);

#endif
