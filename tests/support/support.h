/*
 * What unit tests may put in the place of the real thing, by the linker's --wrap (no hook in
 * product code): allocations, time, randomness.
 */
#ifndef TESTS_SUPPORT_H
#define TESTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"

/* The nth allocation from now on (1 is the next) fails, and only that one; 0: none. */
void fail_allocation(unsigned nth);
/* Did the failure armed by fail_allocation happen? */
bool fail_allocation_happened(void);

/* Time stands at `seconds` until moved; 0: the real clock again. */
void fake_clock_set(int64_t seconds);
void fake_clock_move(int64_t seconds);
/* While it stands: the time of day alone is changed; the machine sleeps. */
void fake_clock_jump(int64_t seconds);
void fake_clock_sleep(int64_t seconds);

/* random_bytes gives SHA-256-free counter bytes from the seed (repeatable); 0: real randomness. */
void fake_random_seed(uint64_t seed);

/* Runs body again and again with its first, second, ... allocation failing, until it runs through
 * without the armed failure. body must return ATH_OK or an error, and leak nothing. */
void each_allocation_failing(ath_err (*body)(void *ctx), void *ctx);

/* Reads tests/vectors/<name>; fails the test if it cannot. */
void read_vector(const char *name, struct ath_buf *out);

#endif
