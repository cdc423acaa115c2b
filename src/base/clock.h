/* The time. Tests replace it by linking tests/support/fake_clock.c's wrappers (--wrap). */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

int64_t clock_now(void); /* seconds since 1970-01-01T00:00:00Z */
uint64_t clock_monotonic_ms(void);
uint64_t clock_monotonic_us(void);
/* As clock_monotonic_ms, but goes on while the machine sleeps (clock_gettime(2)). */
uint64_t clock_boot_ms(void);

/* RFC 3339, UTC, milliseconds: "2026-01-02T03:04:05.678Z". Writes 25 bytes with the NUL. */
#define CLOCK_TEXT_SIZE 25
void clock_now_text(char ret_text[CLOCK_TEXT_SIZE]);
/* Exactly that form, its month, day, hour, minute and second (60 too) in their ranges. */
bool clock_text_is_valid(struct ath_slice text);

#endif
