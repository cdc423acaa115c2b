#include "base/bytes.h"

static uint64_t
read_big_endian(struct byte_reader *reader, size_t len)
{
    struct ath_slice bytes = byte_reader_bytes(reader, len);
    uint64_t value = 0;
    size_t i;

    for (i = 0; i < bytes.len; i++)
        value = value << 8 | bytes.data[i];
    return value;
}

uint8_t
byte_reader_u8(struct byte_reader *reader)
{
    return (uint8_t)read_big_endian(reader, 1);
}

uint16_t
byte_reader_u16(struct byte_reader *reader)
{
    return (uint16_t)read_big_endian(reader, 2);
}

uint32_t
byte_reader_u32(struct byte_reader *reader)
{
    return (uint32_t)read_big_endian(reader, 4);
}

uint64_t
byte_reader_u64(struct byte_reader *reader)
{
    return read_big_endian(reader, 8);
}

struct ath_slice
byte_reader_bytes(struct byte_reader *reader, size_t len)
{
    struct ath_slice bytes = {reader->rest.data, len};

    if (reader->bad || len > reader->rest.len) {
        reader->bad = true;
        return (struct ath_slice){NULL, 0};
    }
    if (len > 0)
        reader->rest = ath_slice_of(reader->rest.data + len, reader->rest.len - len);
    return bytes;
}

struct ath_slice
byte_reader_field(struct byte_reader *reader, size_t max_len)
{
    uint32_t len = byte_reader_u32(reader);

    if (len > max_len)
        reader->bad = true;
    return byte_reader_bytes(reader, len);
}

bool
byte_reader_is_done(const struct byte_reader *reader)
{
    return !reader->bad && reader->rest.len == 0;
}

static void
put_big_endian(struct ath_buf *buf, uint64_t value, size_t len)
{
    uint8_t bytes[8];
    size_t i;

    for (i = 0; i < len; i++)
        bytes[i] = (uint8_t)(value >> (8 * (len - 1 - i)));
    ath_buf_put(buf, bytes, len);
}

void
bytes_put_u8(struct ath_buf *buf, uint8_t value)
{
    put_big_endian(buf, value, 1);
}

void
bytes_put_u16(struct ath_buf *buf, uint16_t value)
{
    put_big_endian(buf, value, 2);
}

void
bytes_put_u32(struct ath_buf *buf, uint32_t value)
{
    put_big_endian(buf, value, 4);
}

void
bytes_put_u64(struct ath_buf *buf, uint64_t value)
{
    put_big_endian(buf, value, 8);
}

void
bytes_put_field(struct ath_buf *buf, struct ath_slice field)
{
    if (field.len > UINT32_MAX) {
        buf->err = buf->err == ATH_OK ? ATH_ERR_LIMIT_EXCEEDED : buf->err;
        return;
    }
    bytes_put_u32(buf, (uint32_t)field.len);
    ath_buf_put_slice(buf, field);
}
