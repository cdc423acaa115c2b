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

uint64_t
clock_boot_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
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

/* A letter of the form stands for a digit of that number, which is to lie in [min, max]. */
bool
clock_text_is_valid(struct ath_slice text)
{
    static const char form[CLOCK_TEXT_SIZE] = "yyyy-MM-ddThh:mm:ss.fffZ";
    static const struct {
        size_t at;
        int min, max;
    } numbers[] = {{5, 1, 12}, {8, 1, 31}, {11, 0, 23}, {14, 0, 59}, {17, 0, 60}};

    if (text.len != CLOCK_TEXT_SIZE - 1)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        bool is_digit = text.data[i] >= '0' && text.data[i] <= '9';

        if (strchr("yMdhmsf", form[i]) != NULL ? !is_digit : text.data[i] != (uint8_t)form[i])
            return false;
    }
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        const uint8_t *digits = text.data + numbers[i].at;
        int value = (digits[0] - '0') * 10 + digits[1] - '0';

        if (value < numbers[i].min || value > numbers[i].max)
            return false;
    }
    return true;
}
