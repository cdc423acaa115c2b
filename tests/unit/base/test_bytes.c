#include "tests/support/support.h"

#include "base/bytes.h"

static void
test_what_is_put_is_read_again(void **state)
{
    struct ath_buf buf = {0};
    struct byte_reader reader;

    (void)state;
    bytes_put_u8(&buf, 0x01);
    bytes_put_u16(&buf, 0x0203);
    bytes_put_u32(&buf, 0x04050607);
    bytes_put_u64(&buf, UINT64_C(0x08090a0b0c0d0e0f));
    bytes_put_field(&buf, ath_slice_of_string("xyz"));
    assert_memory_equal(
        buf.data, "\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\0\0\0\x03xyz", 22);
    reader = byte_reader_of(ath_buf_slice(&buf));
    assert_int_equal(byte_reader_u8(&reader), 0x01);
    assert_int_equal(byte_reader_u16(&reader), 0x0203);
    assert_int_equal(byte_reader_u32(&reader), 0x04050607);
    assert_true(byte_reader_u64(&reader) == UINT64_C(0x08090a0b0c0d0e0f));
    assert_false(byte_reader_is_done(&reader));
    assert_true(ath_slice_is(byte_reader_field(&reader, 3), "xyz"));
    assert_true(byte_reader_is_done(&reader));
    ath_buf_done(&buf);
}

static void
test_a_short_read_is_remembered(void **state)
{
    struct byte_reader reader = byte_reader_of(ath_slice_of("\x01\x02\x03", 3));

    (void)state;
    assert_int_equal(byte_reader_u32(&reader), 0);
    assert_int_equal(byte_reader_u8(&reader), 0);
    assert_int_equal(byte_reader_bytes(&reader, 1).len, 0);
    assert_false(byte_reader_is_done(&reader));
}

static void
test_a_field_longer_than_its_limit_or_the_rest_is_refused(void **state)
{
    struct byte_reader reader = byte_reader_of(ath_slice_of("\0\0\0\x02xy", 6));

    (void)state;
    assert_int_equal(byte_reader_field(&reader, 1).len, 0);
    assert_true(reader.bad);
    reader = byte_reader_of(ath_slice_of("\0\0\0\x03xy", 6));
    assert_int_equal(byte_reader_field(&reader, 10).len, 0);
    assert_true(reader.bad);
    reader = byte_reader_of(ath_slice_of("\xff\xff\xff\xffxy", 6));
    assert_int_equal(byte_reader_field(&reader, SIZE_MAX).len, 0);
    assert_true(reader.bad);
}

static void
test_nothing_can_be_read_from_nothing(void **state)
{
    struct byte_reader reader = byte_reader_of((struct ath_slice){NULL, 0});

    (void)state;
    assert_true(byte_reader_is_done(&reader));
    assert_int_equal(byte_reader_bytes(&reader, 0).len, 0);
    assert_true(byte_reader_is_done(&reader));
    assert_int_equal(byte_reader_u8(&reader), 0);
    assert_false(byte_reader_is_done(&reader));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_put_is_read_again),
        cmocka_unit_test(test_a_short_read_is_remembered),
        cmocka_unit_test(test_a_field_longer_than_its_limit_or_the_rest_is_refused),
        cmocka_unit_test(test_nothing_can_be_read_from_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
