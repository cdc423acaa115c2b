/* Origins (RFC 6454) as M1's audience and a service's configuration write them. */
#ifndef PROTOCOL_ORIGIN_H
#define PROTOCOL_ORIGIN_H

#include <stdbool.h>

/* https://host[:port]; http:// only on loopback (localhost, 127.0.0.0/8, [::1]). Lower case, no
 * default port, no slash at the end (profile section 5, step 1). */
bool origin_is_valid(const char *origin);

#endif
