/* Names of keys, services, grants, secrets and pins: 1 to 64 of [A-Za-z0-9._@-], not beginning with
 * '.' or '-' (docs/api.md, "Transport"). */
#ifndef BASE_NAME_H
#define BASE_NAME_H

#include <stdbool.h>

#define NAME_MAX_LEN 64
bool name_is_valid(const char *text);

#endif
