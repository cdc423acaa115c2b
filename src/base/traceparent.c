#include "base/traceparent.h"

#include <stddef.h>
#include <string.h>

#define TRACEPARENT_LEN 55

/* Lower-case hexadecimal digits at `at`, followed by the separator. */
static bool
is_hex_field(const char *text, size_t at, size_t len, char separator)
{
    return strspn(text + at, "0123456789abcdef") == len && text[at + len] == separator;
}

bool
traceparent_is_valid(const char *text)
{
    if (text == NULL || strnlen(text, TRACEPARENT_LEN + 1) != TRACEPARENT_LEN)
        return false;
    return is_hex_field(text, 0, 2, '-') && is_hex_field(text, 3, 32, '-') &&
           is_hex_field(text, 36, 16, '-') && is_hex_field(text, 53, 2, '\0') &&
           strncmp(text, "ff", 2) != 0 && strspn(text + 3, "0") < 32 && strspn(text + 36, "0") < 16;
}
