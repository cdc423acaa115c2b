/* base64 with padding (RFC 4648 section 4), strict as base64url.h is: one form for each byte
 * string. */
#ifndef BASE_BASE64_H
#define BASE_BASE64_H

#include "base/buf.h"

/* Length of the text for len bytes. */
#define BASE64_LEN(len) (((len) + 2) / 3 * 4)

void base64_put(struct ath_buf *text, struct ath_slice bytes);

/* Appends the bytes to `bytes`. ATH_ERR_PARSE for anything but the one form; the buffers' errors
 * ATH_ERR_LIMIT_EXCEEDED, ATH_ERR_NOMEM. */
ath_err base64_decode(struct ath_slice text, struct ath_buf *bytes) ATH_MUST_USE;

/* The text must stand for exactly len bytes, else ATH_ERR_PARSE; ATH_ERR_NOMEM. */
ath_err base64_decode_exact(struct ath_slice text, uint8_t *ret_bytes, size_t len) ATH_MUST_USE;

#endif
