/* UTF-8 (RFC 3629): no surrogates, no overlong forms, nothing above U+10FFFF. */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include "base/buf.h"

/* Length in bytes (1 to 4) of the character text begins with, its code point in *ret_code_point
 * (may be NULL); 0 if text is empty or does not begin with a valid character. */
size_t utf8_next(struct ath_slice text, uint32_t *ret_code_point);

bool utf8_is_valid(struct ath_slice text);

/* Appends one code point; the caller has made sure that it is one. */
void utf8_put(struct ath_buf *buf, uint32_t code_point);

/* Must not reach a terminal, a log line or a JSON string as it is: control characters, line and
 * paragraph separators, bidirectional controls, invisible ones. */
bool utf8_is_harmful(uint32_t code_point);

/* Replaces, in place, what must not reach a terminal, a log line or a JSON string by '?': control
 * characters, line and paragraph separators, bidirectional controls, bytes that are not UTF-8. */
void utf8_make_harmless(char *text);

#endif
