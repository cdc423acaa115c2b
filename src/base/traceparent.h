/* W3C Trace Context: the `traceparent` that joins one action across programs. */
#ifndef BASE_TRACEPARENT_H
#define BASE_TRACEPARENT_H

#include <stdbool.h>

/* As Trace Context 3.2 writes it: 2-32-16-2 lower-case hexadecimal digits joined by '-', version
 * not ff, neither id all zero. Later versions may append fields; those are refused. NULL is not
 * valid. */
bool traceparent_is_valid(const char *text);

#endif
