#include "tests/support/support.h"

int64_t __real_clock_now(void);
uint64_t __real_clock_monotonic_ms(void);
int64_t __wrap_clock_now(void);
uint64_t __wrap_clock_monotonic_ms(void);
uint64_t __real_clock_boot_ms(void);
uint64_t __wrap_clock_boot_ms(void);

static int64_t fake_now;          /* 0: the real clock */
static int64_t set_ahead, asleep; /* seconds */

void
fake_clock_set(int64_t seconds)
{
    fake_now = seconds;
    set_ahead = asleep = 0;
}

void
fake_clock_jump(int64_t seconds)
{
    set_ahead += seconds;
}

void
fake_clock_sleep(int64_t seconds)
{
    asleep += seconds;
}

void
fake_clock_move(int64_t seconds)
{
    fake_now += seconds;
}

int64_t
__wrap_clock_now(void)
{
    return fake_now == 0 ? __real_clock_now() : fake_now + set_ahead + asleep;
}

uint64_t
__wrap_clock_monotonic_ms(void)
{
    return fake_now == 0 ? __real_clock_monotonic_ms() : (uint64_t)fake_now * 1000u;
}

uint64_t
__wrap_clock_boot_ms(void)
{
    return fake_now == 0 ? __real_clock_boot_ms() : (uint64_t)(fake_now + asleep) * 1000u;
}
