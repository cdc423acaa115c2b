/* Bytes that are looked at (ath_slice) and bytes that are owned (ath_buf). */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ath/err.h"

/* A view of bytes owned by somebody else. {NULL, 0} is the empty slice. */
struct ath_slice {
    const uint8_t *data;
    size_t len;
};

/*
 * Owned, growing bytes. Zero-initialise, with .max set to the limit that holds for the content
 * (0: ATH_BUF_DEFAULT_MAX). After the first failure .err is set (ATH_ERR_NOMEM or
 * ATH_ERR_LIMIT_EXCEEDED), further puts do nothing, and the caller checks once. Growing never
 * leaves a copy behind: old storage is wiped, as it is in ath_buf_done.
 */
struct ath_buf {
    uint8_t *data;
    size_t len;
    size_t cap;
    size_t max;
    ath_err err;
};

#define ATH_BUF_DEFAULT_MAX (1024u * 1024u)

static inline struct ath_slice
ath_slice_of(const void *data, size_t len)
{
    return (struct ath_slice){(const uint8_t *)data, len};
}

static inline struct ath_slice
ath_buf_slice(const struct ath_buf *buf)
{
    return (struct ath_slice){buf->data, buf->len};
}

struct ath_slice ath_slice_of_string(const char *text); /* without the final NUL; NULL is empty */
bool ath_slice_equal(struct ath_slice a, struct ath_slice b); /* not constant time: no secrets */
bool ath_slice_is(struct ath_slice a, const char *text);

void ath_buf_put(struct ath_buf *buf, const void *data, size_t len);
void ath_buf_put_slice(struct ath_buf *buf, struct ath_slice slice);
void ath_buf_put_string(struct ath_buf *buf, const char *text);
void ath_buf_put_byte(struct ath_buf *buf, uint8_t byte);
void ath_buf_printf(struct ath_buf *buf, const char *fmt, ...) ATH_PRINTF(2, 3);

/* Room for len more bytes at the end, to be written by the caller, who then adds to .len; NULL
 * after a failure. */
uint8_t *ath_buf_reserve(struct ath_buf *buf, size_t len);

/* Removes the first len bytes (all, if there are fewer); the tail that is freed is wiped. */
void ath_buf_consume(struct ath_buf *buf, size_t len);
void ath_buf_clear(struct ath_buf *buf); /* wiped and empty, storage and .max kept, .err reset */
void ath_buf_done(struct ath_buf *buf);  /* wiped and freed; an empty buffer is fine */

/* NUL-terminates (the NUL is not counted in .len) and returns the text; NULL after a failure. */
const char *ath_buf_text(struct ath_buf *buf);

/* Copy of a string or slice on the heap, NUL-terminated; NULL when out of memory (or text is NULL).
 * The caller frees it. */
char *ath_strdup(const char *text);
/* The same where a failing allocation is an error: ATH_ERR_NOMEM. */
ath_err ath_strdup_to(const char *text, char **ret_copy) ATH_MUST_USE;
char *ath_slice_dup(struct ath_slice slice);

#endif
