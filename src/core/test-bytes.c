/* Readers and writers: both byte orders, and what happens at the end. */
#include "core/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const uint8_t sample[] = {0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef,
                                 0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10};

static void big_endian_values(void **state)
{
    struct xk_reader r = xk_reader(sample, sizeof(sample));
    assert_int_equal(xk_u8(&r), 0x01);
    assert_int_equal(xk_be16(&r), 0x2345);
    assert_int_equal(xk_be32(&r), 0x6789abcd);
    assert_true(xk_be64(&r) == UINT64_C(0xeffedcba98765432));
    assert_int_equal(xk_left(&r), 1);
    assert_false(r.bad);
}

static void little_endian_values(void **state)
{
    struct xk_reader r = xk_reader(sample, sizeof(sample));
    assert_int_equal(xk_le16(&r), 0x2301);
    assert_int_equal(xk_le32(&r), 0xab896745);
    assert_true(xk_le64(&r) == UINT64_C(0x547698badcfeefcd));
    assert_false(r.bad);
}

static void a_read_past_the_end_is_zero_for_good(void **state)
{
    struct xk_reader r = xk_reader(sample, 3);
    assert_int_equal(xk_be16(&r), 0x0123);
    assert_int_equal(xk_be32(&r), 0);
    assert_true(r.bad);
    assert_int_equal(xk_u8(&r), 0); /* one byte would have been left */
    assert_int_equal(xk_left(&r), 0);
    xk_seek(&r, 0);
    assert_int_equal(xk_u8(&r), 0);
    assert_true(r.bad);
}

static void each_width_stops_exactly_at_the_end(void **state)
{
    for (size_t size = 0; size <= 8; size++) {
        struct xk_reader r8 = xk_reader(sample, size), r16 = r8, r32 = r8, r64 = r8;
        (void)xk_u8(&r8);
        (void)xk_le16(&r16);
        (void)xk_le32(&r32);
        (void)xk_le64(&r64);
        assert_int_equal(r8.bad, size < 1);
        assert_int_equal(r16.bad, size < 2);
        assert_int_equal(r32.bad, size < 4);
        assert_int_equal(r64.bad, size < 8);
    }
}

static void skip_and_seek(void **state)
{
    struct xk_reader r = xk_reader(sample, sizeof(sample));
    xk_skip(&r, 14);
    assert_int_equal(xk_be16(&r), 0x3210);
    xk_seek(&r, 2);
    assert_int_equal(xk_u8(&r), 0x45);
    xk_seek(&r, sizeof(sample));
    assert_int_equal(xk_left(&r), 0);
    assert_false(r.bad);
    xk_skip(&r, 0);
    assert_false(r.bad);
    xk_seek(&r, sizeof(sample) + 1);
    assert_true(r.bad);
}

static void a_huge_skip_does_not_wrap(void **state)
{
    struct xk_reader r = xk_reader(sample, sizeof(sample));
    xk_skip(&r, 8);
    xk_skip(&r, SIZE_MAX - 4);
    assert_true(r.bad);
    assert_int_equal(r.at, 8);
}

static void bytes_are_copied_or_zeroed(void **state)
{
    uint8_t out[4];
    struct xk_reader r = xk_reader(sample, 6);
    xk_take_bytes(&r, out, 4);
    assert_memory_equal(out, sample, 4);
    memset(out, 0xff, sizeof(out));
    xk_take_bytes(&r, out, 4);
    assert_true(r.bad);
    assert_memory_equal(out, "\0\0\0\0", 4);

    struct xk_reader empty = xk_reader(NULL, 0);
    xk_take_bytes(&empty, NULL, 0);
    assert_false(empty.bad);
    assert_int_equal(xk_u8(&empty), 0);
    assert_true(empty.bad);
}

static void what_is_written_reads_back(void **state)
{
    uint8_t out[42];
    struct xk_writer w = xk_writer(out, sizeof(out));
    xk_write_u8(&w, 0xfe);
    xk_write_be16(&w, 0x8001);
    xk_write_be32(&w, 0x80000001);
    xk_write_be64(&w, UINT64_C(0x8000000000000001));
    xk_write_le16(&w, 0x8002);
    xk_write_le32(&w, 0x80000002);
    xk_write_le64(&w, UINT64_C(0x8000000000000002));
    xk_write_raw(&w, "conectix", 8);
    xk_write_zeros(&w, 5);
    assert_false(w.bad);
    assert_int_equal(w.at, sizeof(out));
    assert_memory_equal(out, "\xfe\x80\x01\x80\0\0\x01\x80\0\0\0\0\0\0\x01\x02\x80\x02\0\0\x80\x02\0\0\0\0\0\0\x80",
                        29);

    struct xk_reader r = xk_reader(out, sizeof(out));
    assert_int_equal(xk_u8(&r), 0xfe);
    assert_int_equal(xk_be16(&r), 0x8001);
    assert_int_equal(xk_be32(&r), 0x80000001);
    assert_true(xk_be64(&r) == UINT64_C(0x8000000000000001));
    assert_int_equal(xk_le16(&r), 0x8002);
    assert_int_equal(xk_le32(&r), 0x80000002);
    assert_true(xk_le64(&r) == UINT64_C(0x8000000000000002));
    assert_memory_equal(r.data + r.at, "conectix\0\0\0\0\0", 13);
}

static void a_write_past_the_end_writes_nothing(void **state)
{
    uint8_t out[4] = {1, 2, 3, 4};
    struct xk_writer w = xk_writer(out, 3);
    xk_write_be32(&w, 0);
    assert_true(w.bad);
    xk_write_u8(&w, 9); /* would fit */
    xk_write_zeros(&w, 1);
    xk_write_raw(&w, "x", 1);
    assert_memory_equal(out, "\1\2\3\4", 4);
    assert_int_equal(w.at, 0);
}

static void zeros_are_found_wherever_they_end(void **state)
{
    uint8_t buf[1100] = {0};

    for (size_t from = 0; from < 40; from++) {
        for (size_t count = 0; count + from < sizeof(buf); count += 13) {
            assert_true(xk_is_zero(buf + from, count));
            buf[from + count] = 1; /* right behind */
            assert_true(xk_is_zero(buf + from, count));
            assert_false(xk_is_zero(buf + from, count + 1));
            buf[from + count] = 0;
            if (count) {
                buf[from] = 0x80;
                assert_false(xk_is_zero(buf + from, count));
                buf[from] = 0;
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(big_endian_values),
        cmocka_unit_test(little_endian_values),
        cmocka_unit_test(a_read_past_the_end_is_zero_for_good),
        cmocka_unit_test(zeros_are_found_wherever_they_end),
        cmocka_unit_test(each_width_stops_exactly_at_the_end),
        cmocka_unit_test(skip_and_seek),
        cmocka_unit_test(a_huge_skip_does_not_wrap),
        cmocka_unit_test(bytes_are_copied_or_zeroed),
        cmocka_unit_test(what_is_written_reads_back),
        cmocka_unit_test(a_write_past_the_end_writes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
