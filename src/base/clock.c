#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

int64_t
clock_now(void)
{
    struct timespec now;

    /* cannot fail for this clock and a valid pointer (clock_gettime(2)) */
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec;
}

uint64_t
clock_monotonic_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

uint64_t
clock_monotonic_ms(void)
{
    return clock_monotonic_us() / 1000u;
}

void
clock_now_text(char ret_text[CLOCK_TEXT_SIZE])
{
    struct timespec now;
    struct tm utc;
    char text[64];

    clock_gettime(CLOCK_REALTIME, &now);
    memset(&utc, 0, sizeof(utc));
    gmtime_r(&now.tv_sec, &utc);
    snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", utc.tm_year + 1900,
             utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
             (int)(now.tv_nsec / 1000000));
    memcpy(ret_text, text, CLOCK_TEXT_SIZE - 1);
    ret_text[CLOCK_TEXT_SIZE - 1] = '\0';
}
