#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct ath_slice
ath_slice_of_string(const char *text)
{
    return ath_slice_of(text, text == NULL ? 0 : strlen(text));
}

bool
ath_slice_equal(struct ath_slice a, struct ath_slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

bool
ath_slice_is(struct ath_slice a, const char *text)
{
    return ath_slice_equal(a, ath_slice_of_string(text));
}

static size_t
max_of(const struct ath_buf *buf)
{
    return buf->max == 0 ? ATH_BUF_DEFAULT_MAX : buf->max;
}

#define FIRST_CAP 256u /* most of what is built here has its place in it */

/* Storage for need bytes in all. Not realloc: it would leave a copy of the old bytes behind. */
static bool
grow(struct ath_buf *buf, size_t need)
{
    size_t cap = buf->cap < FIRST_CAP ? FIRST_CAP : buf->cap;
    uint8_t *data;

    if (need <= buf->cap)
        return true;
    while (cap < need)
        cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    if ((data = malloc(cap)) == NULL) {
        buf->err = ATH_ERR_NOMEM;
        return false;
    }
    if (buf->data != NULL) {
        memcpy(data, buf->data, buf->len);
        explicit_bzero(buf->data, buf->cap);
        free(buf->data);
    }
    buf->data = data;
    buf->cap = cap;
    return true;
}

uint8_t *
ath_buf_reserve(struct ath_buf *buf, size_t len)
{
    if (buf->err != ATH_OK)
        return NULL;
    if (buf->len > max_of(buf) || len > max_of(buf) - buf->len) {
        buf->err = ATH_ERR_LIMIT_EXCEEDED;
        return NULL;
    }
    /* at least one byte, so that the result is never NULL without a failure */
    if (!grow(buf, buf->len + (len == 0 ? 1 : len)))
        return NULL;
    return buf->data + buf->len;
}

void
ath_buf_put(struct ath_buf *buf, const void *data, size_t len)
{
    uint8_t *room = ath_buf_reserve(buf, len);

    if (room == NULL || len == 0)
        return;
    memcpy(room, data, len);
    buf->len += len;
}

void
ath_buf_put_slice(struct ath_buf *buf, struct ath_slice slice)
{
    ath_buf_put(buf, slice.data, slice.len);
}

void
ath_buf_put_string(struct ath_buf *buf, const char *text)
{
    ath_buf_put_slice(buf, ath_slice_of_string(text));
}

void
ath_buf_put_byte(struct ath_buf *buf, uint8_t byte)
{
    ath_buf_put(buf, &byte, 1);
}

/* How long the text is; it is there if it fits with its NUL. */
static ATH_PRINTF(2, 0) size_t print(struct ath_buf *buf, const char *fmt, va_list args)
{
    size_t room = buf->cap - buf->len;
    int len = vsnprintf(room > 0 ? (char *)buf->data + buf->len : NULL, room, fmt, args);

    if (len < 0) {
        buf->err = ATH_ERR_INTERNAL;
        return 0;
    }
    return (size_t)len;
}

void
ath_buf_printf(struct ath_buf *buf, const char *fmt, ...)
{
    va_list args;
    size_t len, room;

    if (buf->err != ATH_OK)
        return;
    room = buf->cap - buf->len;
    va_start(args, fmt);
    len = print(buf, fmt, args);
    va_end(args);
    /* the NUL does not count against the limit */
    if (ath_buf_reserve(buf, len) == NULL)
        return;
    if (len >= room) {
        if (!grow(buf, buf->len + len + 1))
            return;
        va_start(args, fmt);
        len = print(buf, fmt, args);
        va_end(args);
    }
    buf->len += len;
}

void
ath_buf_consume(struct ath_buf *buf, size_t len)
{
    size_t rest;

    if (buf->len == 0)
        return;
    len = len > buf->len ? buf->len : len;
    rest = buf->len - len;
    memmove(buf->data, buf->data + len, rest);
    explicit_bzero(buf->data + rest, len);
    buf->len = rest;
}

void
ath_buf_clear(struct ath_buf *buf)
{
    if (buf->data != NULL)
        explicit_bzero(buf->data, buf->cap);
    buf->len = 0;
    buf->err = ATH_OK;
}

void
ath_buf_done(struct ath_buf *buf)
{
    if (buf->data != NULL)
        explicit_bzero(buf->data, buf->cap);
    free(buf->data);
    *buf = (struct ath_buf){.max = buf->max};
}

const char *
ath_buf_text(struct ath_buf *buf)
{
    if (buf->err != ATH_OK || !grow(buf, buf->len + 1))
        return NULL;
    buf->data[buf->len] = '\0';
    return (const char *)buf->data;
}

char *
ath_strdup(const char *text)
{
    return text == NULL ? NULL : ath_slice_dup(ath_slice_of_string(text));
}

ath_err
ath_strdup_to(const char *text, char **ret_copy)
{
    *ret_copy = ath_strdup(text);
    return text != NULL && *ret_copy == NULL ? ATH_ERR_NOMEM : ATH_OK;
}

char *
ath_slice_dup(struct ath_slice slice)
{
    char *copy = malloc(slice.len + 1);

    if (copy == NULL)
        return NULL;
    if (slice.len > 0)
        memcpy(copy, slice.data, slice.len);
    copy[slice.len] = '\0';
    return copy;
}
