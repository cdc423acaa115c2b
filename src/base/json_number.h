/* Numbers as ECMAScript writes them; private to src/base/json*.c. */
#ifndef BASE_JSON_NUMBER_H
#define BASE_JSON_NUMBER_H

#include "base/buf.h"

/* Number::toString of ECMA-262, which RFC 8785 3.2.2.3 asks for: the shortest digits that give the
 * same double again. value is finite. */
void json_number_put(struct ath_buf *out, double value);

#endif
