/* base64url without padding (RFC 4648 section 5), strict: padding, white space, other alphabets and
 * unused bits that are not zero are refused, so every byte string has exactly one form. */
#ifndef BASE_BASE64URL_H
#define BASE_BASE64URL_H

#include "base/buf.h"

/* Length of the text for len bytes. */
#define BASE64URL_LEN(len) (((len)*4 + 2) / 3)

void base64url_put(struct ath_buf *text, struct ath_slice bytes);

/* Writes BASE64URL_LEN(bytes.len) characters and a NUL. */
void base64url_encode(struct ath_slice bytes, char *ret_text);

/* Appends the bytes to `bytes`. ATH_ERR_PARSE for anything but the one form;
 * ATH_ERR_LIMIT_EXCEEDED, ATH_ERR_NOMEM from the buffer. */
ath_err base64url_decode(struct ath_slice text, struct ath_buf *bytes) ATH_MUST_USE;

/* The text must stand for exactly len bytes. ATH_ERR_PARSE otherwise. */
ath_err base64url_decode_exact(struct ath_slice text, uint8_t *ret_bytes, size_t len) ATH_MUST_USE;

/* Every character is of [A-Za-z0-9_-] and the length lies within [min, max]. */
bool base64url_is_alphabet(struct ath_slice text, size_t min, size_t max);

#endif
