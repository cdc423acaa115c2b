#include "base/name.h"

#include <stddef.h>
#include <string.h>

bool
name_is_valid(const char *text)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._@-";
    size_t len;

    if (text == NULL || text[0] == '.' || text[0] == '-')
        return false;
    len = strnlen(text, NAME_MAX_LEN + 1);
    return len >= 1 && len <= NAME_MAX_LEN && strspn(text, allowed) == len;
}
