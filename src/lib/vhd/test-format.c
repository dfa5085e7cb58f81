/* Known values of the format, and that encoding undoes decoding. */
#include "lib/vhd/format.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* source   what vhd-util 3.x prints for images of these sizes (MiB, rounded up to 2). */
static void geometry_is_that_of_vhd_util(void **state)
{
    static const struct {
        uint64_t mib;
        struct vhd_geometry want;
    } rows[] = {
        {2, {60, 4, 17}},       {10, {301, 4, 17}},        {138, {569, 16, 31}},       {504, {1024, 16, 63}},
        {2014, {4091, 16, 63}}, {65536, {32896, 16, 255}}, {131072, {65535, 16, 255}}, {2088960, {65535, 16, 255}},
    };
    for (size_t i = 0; i < XK_COUNT(rows); i++) {
        const struct vhd_geometry got = vhd_geometry_of(rows[i].mib * XK_MIB / VHD_SECTOR);
        assert_int_equal(got.cylinders, rows[i].want.cylinders);
        assert_int_equal(got.heads, rows[i].want.heads);
        assert_int_equal(got.sectors, rows[i].want.sectors);
    }
}

static void geometry_never_exceeds_the_disk(void **state)
{
    for (uint64_t sectors = 0; sectors < 300 * XK_MIB / VHD_SECTOR; sectors += 977)
        assert_true(vhd_geometry_sectors(vhd_geometry_of(sectors)) <= sectors);
    assert_int_equal(vhd_geometry_sectors(vhd_geometry_of(UINT64_MAX)), UINT64_C(65535) * 16 * 255);
}

/* The footer of a 10 MiB image made by vhd-util, byte for byte. */
static const uint8_t known_footer[] = {
    0x63, 0x6f, 0x6e, 0x65, 0x63, 0x74, 0x69, 0x78, 0x00, 0x00, 0x00, 0x02, 0x00, 0x01, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x32, 0x96, 0x87, 0x0a, 0x74, 0x61, 0x70, 0x00, 0x00, 0x01,
    0x00, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xa0, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0xa0, 0x00, 0x00, 0x01, 0x2d, 0x04, 0x11, 0x00, 0x00, 0x00, 0x04, 0xff, 0xff, 0xf0, 0x08,
    0xf3, 0x7c, 0x78, 0x6c, 0x11, 0x6d, 0x4c, 0x5a, 0xbd, 0x69, 0xaa, 0x99, 0x95, 0xeb, 0x14, 0xf8,
};

static void a_footer_of_vhd_util_is_read_and_written_alike(void **state)
{
    uint8_t sector[VHD_FOOTER_BYTES] = {0}, again[VHD_FOOTER_BYTES];
    struct vhd_footer f;
    char why[128];

    memcpy(sector, known_footer, sizeof(known_footer));
    vhd_footer_decode(&f, sector);
    assert_null(vhd_footer_problem(&f, why, sizeof(why)));
    assert_int_equal(f.current_bytes, 10 * XK_MIB);
    assert_int_equal(f.type, VHD_DIFFERENCING);
    assert_int_equal(f.geometry.cylinders, 301);
    assert_int_equal(f.checksum, 0xfffff008);
    f.checksum = 0;
    vhd_footer_encode(again, &f);
    assert_memory_equal(sector, again, sizeof(sector));
}

static void each_flipped_byte_of_a_footer_is_noticed(void **state)
{
    for (size_t i = 0; i < VHD_FOOTER_BYTES; i++) {
        uint8_t sector[VHD_FOOTER_BYTES] = {0};
        struct vhd_footer f;
        char why[128];
        memcpy(sector, known_footer, sizeof(known_footer));
        sector[i] ^= 0x20;
        vhd_footer_decode(&f, sector);
        assert_non_null(vhd_footer_problem(&f, why, sizeof(why)));
    }
}

/* XenServer 0.1 and 1.1 set the hidden byte without renewing the checksum; others may not. */
static void the_old_hidden_byte_does_not_break_the_checksum(void **state)
{
    uint8_t sector[VHD_FOOTER_BYTES] = {0};
    struct vhd_footer f;
    char why[128];

    memcpy(sector, known_footer, sizeof(known_footer));
    vhd_footer_decode(&f, sector);
    f.creator_version = 0x00010001;
    vhd_footer_encode(sector, &f);
    sector[85] = 1;
    vhd_footer_decode(&f, sector);
    assert_null(vhd_footer_problem(&f, why, sizeof(why)));
    sector[85] = 0;
    sector[86] = 1;
    vhd_footer_decode(&f, sector);
    assert_non_null(vhd_footer_problem(&f, why, sizeof(why)));

    f.creator_version = 0x00010003;
    vhd_footer_encode(sector, &f);
    sector[85] = 1;
    vhd_footer_decode(&f, sector);
    assert_non_null(vhd_footer_problem(&f, why, sizeof(why)));
}

static void a_header_survives_its_own_encoding(void **state)
{
    uint8_t bytes[VHD_HEADER_BYTES], again[VHD_HEADER_BYTES];
    struct vhd_header h = {.data_offset = UINT64_MAX,
                           .table_offset = 1536,
                           .version = 0x00010000,
                           .max_entries = 5,
                           .block_bytes = VHD_BLOCK_BYTES,
                           .parent_timestamp = 7},
                      read;
    char why[128];

    memcpy(h.cookie, VHD_HEADER_COOKIE, 8);
    h.locators[7] = (struct vhd_locator){.code = VHD_LOCATOR_MACX, .space = 512, .length = 20, .offset = 3072};
    vhd_header_encode(bytes, &h);
    vhd_header_decode(&read, bytes);
    assert_null(vhd_header_problem(&read, why, sizeof(why)));
    assert_int_equal(read.locators[7].offset, 3072);
    vhd_header_encode(again, &read);
    assert_memory_equal(bytes, again, sizeof(bytes));

    static const uint32_t bad_blocks[] = {0, 1, 511, 513, 3u << 20, 4u << 20, 0xffffffff};
    for (size_t i = 0; i < XK_COUNT(bad_blocks); i++) {
        read.block_bytes = bad_blocks[i];
        vhd_header_encode(bytes, &read);
        vhd_header_decode(&h, bytes);
        assert_non_null(vhd_header_problem(&h, why, sizeof(why)));
    }
}

static void batmap_versions_sum_differently(void **state)
{
    static const uint8_t map[] = {0x01, 0xff, 0x80};
    assert_int_equal(vhd_batmap_checksum(VHD_BATMAP_VERSION, map, sizeof(map)), ~0x180u);
    assert_int_equal(vhd_batmap_checksum(0x00010001, map, sizeof(map)), ~(uint32_t)(1 - 1 - 128));
}

static void locator_space_below_a_sector_counts_sectors(void **state)
{
    assert_int_equal(vhd_locator_space(&(struct vhd_locator){.space = 2}), 1024);
    assert_int_equal(vhd_locator_space(&(struct vhd_locator){.space = 512}), 512);
    assert_int_equal(vhd_locator_space(&(struct vhd_locator){.space = UINT32_MAX}), UINT32_MAX);
}

static void times_are_clamped(void **state)
{
    assert_int_equal(vhd_timestamp(0), 0);
    assert_int_equal(vhd_timestamp(VHD_EPOCH + 1), 1);
    assert_int_equal(vhd_timestamp(INT64_MAX), UINT32_MAX);
    assert_int_equal(vhd_unix_time(vhd_timestamp(1900000000)), 1900000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(geometry_is_that_of_vhd_util),
        cmocka_unit_test(geometry_never_exceeds_the_disk),
        cmocka_unit_test(a_footer_of_vhd_util_is_read_and_written_alike),
        cmocka_unit_test(each_flipped_byte_of_a_footer_is_noticed),
        cmocka_unit_test(the_old_hidden_byte_does_not_break_the_checksum),
        cmocka_unit_test(a_header_survives_its_own_encoding),
        cmocka_unit_test(batmap_versions_sum_differently),
        cmocka_unit_test(locator_space_below_a_sector_counts_sectors),
        cmocka_unit_test(times_are_clamped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
