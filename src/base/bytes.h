/* Fixed-width big-endian integers and length-prefixed fields, read with a cursor that cannot run
 * over: after the first short read .bad is set and every further read gives zero; hexadecimal
 * digits. */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include "base/buf.h"

struct byte_reader {
    struct ath_slice rest;
    bool bad;
};

static inline struct byte_reader
byte_reader_of(struct ath_slice slice)
{
    return (struct byte_reader){slice, false};
}

/* The value of a hexadecimal digit in either case; -1: it is none. */
static inline int
hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

uint8_t byte_reader_u8(struct byte_reader *reader);
uint16_t byte_reader_u16(struct byte_reader *reader);
uint32_t byte_reader_u32(struct byte_reader *reader);
uint64_t byte_reader_u64(struct byte_reader *reader);
struct ath_slice byte_reader_bytes(struct byte_reader *reader, size_t len);
/* A u32 length of at most max_len, then as many bytes. */
struct ath_slice byte_reader_field(struct byte_reader *reader, size_t max_len);
/* All was read and nothing went wrong. */
bool byte_reader_is_done(const struct byte_reader *reader);

void bytes_put_u8(struct ath_buf *buf, uint8_t value);
void bytes_put_u16(struct ath_buf *buf, uint16_t value);
void bytes_put_u32(struct ath_buf *buf, uint32_t value);
void bytes_put_u64(struct ath_buf *buf, uint64_t value);
void bytes_put_field(struct ath_buf *buf, struct ath_slice field); /* u32 length, bytes */

#endif
