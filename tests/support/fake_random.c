#include "tests/support/support.h"

/* Weak: tests of the layers below crypto are linked without it. The linker is told to take the real
 * one in wherever there is one (-u random_bytes). */
ath_err __real_random_bytes(uint8_t *ret_bytes, size_t len) __attribute__((weak));
ath_err __wrap_random_bytes(uint8_t *ret_bytes, size_t len);

static uint64_t state; /* 0: real randomness */

void
fake_random_seed(uint64_t seed)
{
    state = seed;
}

/* splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014) */
static uint64_t
next(void)
{
    uint64_t z = state += UINT64_C(0x9E3779B97F4A7C15);

    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

ath_err
__wrap_random_bytes(uint8_t *ret_bytes, size_t len)
{
    size_t i;

    if (state == 0)
        return __real_random_bytes(ret_bytes, len);
    for (i = 0; i < len; i++)
        ret_bytes[i] = (uint8_t)next();
    return ATH_OK;
}
