/*
 * VHDX images made here, part by part, so that each can be wrong on its own; the images of other programs are read in
 * the room's convert.t.
 */
#include "lib/vhdx/inner.h"

#include "core/bytes.h"
#include "core/testing/fault.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define MIB         (1u << 20)
#define LOG_AT      MIB
#define METADATA_AT (2 * MIB)
#define BAT_AT      (3 * MIB)
#define BLOCK_AT    (4 * MIB)
#define FILE_BYTES  (6 * MIB)
#define DISK_BYTES  (8 * MIB)
#define SECTOR      4096u

static const uint8_t log_guid[16] = {1, 2, 3, 4};

struct fixture {
    char folder[XK_FAULT_PATH_MAX];
    char path[XK_FAULT_PATH_MAX + 16];
    uint8_t *image; /* FILE_BYTES */
    struct vhdx v;
    struct xk_err err;
};

static void put(uint8_t *at, const char *hex)
{
    for (; *hex; hex += 2, at++) {
        const char digits[3] = {hex[0], hex[1], '\0'};
        *at = (uint8_t)strtoul(digits, NULL, 16);
    }
}

static void put32(uint8_t *at, uint32_t v)
{
    struct xk_writer w = xk_writer(at, 4);
    xk_write_le32(&w, v);
}

static void put64(uint8_t *at, uint64_t v)
{
    struct xk_writer w = xk_writer(at, 8);
    xk_write_le64(&w, v);
}

static void sum(uint8_t *part, size_t bytes)
{
    put32(part + 4, 0);
    put32(part + 4, vhdx_crc32c(0, part, bytes));
}

static void make_header(uint8_t *h, uint64_t sequence, bool log)
{
    memset(h, 0, SECTOR);
    memcpy(h, "head", 4);
    put64(h + 8, sequence);
    if (log)
        memcpy(h + 48, log_guid, 16);
    h[66] = 1; /* version */
    put32(h + 68, MIB);
    put64(h + 72, LOG_AT);
    sum(h, SECTOR);
}

static void make_regions(uint8_t *t)
{
    memcpy(t, "regi", 4);
    put32(t + 8, 2);
    put(t + 16, "6677c22d23f600429d64115e9bfd4a08");
    put64(t + 32, BAT_AT);
    put32(t + 40, MIB);
    put32(t + 44, 1);
    put(t + 48, "06a27c8b90479a4bb8fe575f050f886e");
    put64(t + 64, METADATA_AT);
    put32(t + 72, MIB);
    put32(t + 76, 1);
    sum(t, 65536);
}

static void make_item(uint8_t *table, unsigned n, const char *guid, uint32_t offset, uint32_t bytes)
{
    uint8_t *const e = table + 32 + n * 32;

    put(e, guid);
    put32(e + 16, offset);
    put32(e + 20, bytes);
    put32(e + 24, 4); /* required */
}

static void make_metadata(uint8_t *m)
{
    memcpy(m, "metadata", 8);
    m[10] = 5;
    make_item(m, 0, "3767a1ca36fa434db3b633f0aa44e76b", 65536, 8);
    make_item(m, 1, "2442a52f1bcd7648b2115dbed83bf4b8", 65544, 8);
    make_item(m, 2, "ab12cabee6b2234593efc309e000c746", 65552, 16);
    make_item(m, 3, "1dbf41816fa90947ba47f233a8faab5f", 65568, 4);
    make_item(m, 4, "c748a3cd5d4471449cc9e9885251c556", 65572, 4);
    put32(m + 65536, 2 * MIB); /* block */
    put64(m + 65544, DISK_BYTES);
    put32(m + 65568, 512);
    put32(m + 65572, 4096);
}

/* A log entry of one data sector (or, with zeros, one run of zeros) for place `to`. */
static void make_entry(uint8_t *log, uint32_t at, uint64_t sequence, uint32_t tail, uint64_t to, const uint8_t *sector)
{
    uint8_t *const e = log + at;
    uint8_t *const d = e + 64;

    memset(e, 0, SECTOR);
    memcpy(e, "loge", 4);
    put32(e + 8, sector ? 2 * SECTOR : SECTOR);
    put32(e + 12, tail);
    put64(e + 16, sequence);
    put32(e + 24, 1);
    memcpy(e + 32, log_guid, 16);
    put64(e + 48, FILE_BYTES);
    put64(e + 56, FILE_BYTES);
    memcpy(d, sector ? "desc" : "zero", 4);
    put64(d + 16, to);
    put64(d + 24, sequence);
    if (sector) {
        uint8_t *const data = e + SECTOR;
        memcpy(data, sector, SECTOR);
        memcpy(d + 4, sector + SECTOR - 4, 4);
        memcpy(d + 8, sector, 8);
        memcpy(data, "data", 4);
        put32(data + 4, (uint32_t)(sequence >> 32));
        put32(data + SECTOR - 4, (uint32_t)sequence);
        sum(e, 2 * SECTOR);
    } else {
        put64(d + 8, SECTOR);
        sum(e, SECTOR);
    }
}

static int set_up(void **state)
{
    struct fixture *const f = calloc(1, sizeof(*f));

    *state = f;
    assert_int_equal(xk_fault_folder_make(f->folder), 0);
    snprintf(f->path, sizeof(f->path), "%s/a.vhdx", f->folder);
    f->image = calloc(1, FILE_BYTES);
    memcpy(f->image, "vhdxfile", 8);
    make_header(f->image + (64 << 10), 1, false);
    make_header(f->image + (128 << 10), 2, false);
    make_regions(f->image + (192 << 10));
    memcpy(f->image + (256 << 10), f->image + (192 << 10), 65536);
    make_metadata(f->image + METADATA_AT);
    put64(f->image + BAT_AT + 8, BLOCK_AT | 6); /* block 1 is there */
    memset(f->image + BLOCK_AT, 'x', 2 * MIB);
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *const f = *state;

    vhdx_close(&f->v);
    xk_fault_folder_clear(f->folder, true);
    free(f->image);
    free(f);
    return 0;
}

static int open_image(struct fixture *f)
{
    assert_int_equal(xk_file_replace(xk_fs_posix(), f->path, f->image, FILE_BYTES, 0600, NULL), 0);
    return vhdx_open(&f->v, xk_fs_posix(), f->path, &f->err);
}

struct seen {
    size_t count;
    struct vhdx_extent extents[8];
};

static int see(void *context, const struct vhdx_extent *e)
{
    struct seen *const s = context;

    assert_true(s->count < XK_COUNT(s->extents));
    s->extents[s->count++] = *e;
    return 0;
}

static void map_all(struct seen *s, const struct fixture *f)
{
    *s = (struct seen){0};
    assert_int_equal(vhdx_map(&f->v, 0, f->v.size_bytes, see, s, NULL), 0);
}

static void crc_is_castagnolis(void **state)
{
    assert_int_equal(vhdx_crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(vhdx_crc32c(vhdx_crc32c(0, "1234", 4), "56789", 5), 0xe3069283);
}

static void an_image_is_read(void **state)
{
    struct fixture *const f = *state;
    struct seen s;

    assert_int_equal(open_image(f), 0);
    assert_int_equal(f->v.size_bytes, DISK_BYTES);
    assert_int_equal(f->v.block_bytes, 2 * MIB);
    map_all(&s, f);
    assert_int_equal(s.count, 4);
    assert_int_equal(s.extents[0].kind, VHDX_ABSENT);
    assert_int_equal(s.extents[1].kind, VHDX_DATA);
    assert_int_equal(s.extents[1].file_offset, BLOCK_AT);
    assert_true(s.extents[1].plain);
}

static void the_newer_header_counts_and_the_other_one_does_when_it_is_damaged(void **state)
{
    struct fixture *const f = *state;

    make_header(f->image + (128 << 10), 2, true); /* its log is empty, so it cannot be opened … */
    assert_int_equal(open_image(f), -EBADMSG);
    f->image[(128 << 10) + 100] ^= 1; /* … but this way nobody believes it */
    assert_int_equal(open_image(f), 0);
    vhdx_close(&f->v);
    f->image[(64 << 10) + 100] ^= 1;
    assert_int_equal(open_image(f), -EBADMSG);
    assert_non_null(strstr(f->err.text, "both headers"));
}

/* The second entry overrides the first; both are newer than what the file has. */
static void a_log_is_replayed_in_memory(void **state)
{
    struct fixture *const f = *state;
    uint8_t sector[SECTOR] = {0};
    uint8_t *const log = f->image + LOG_AT;
    struct seen s;

    make_header(f->image + (128 << 10), 2, true);
    put64(sector, 2); /* block 0: zeros */
    put64(sector + 8, 2);
    make_entry(log, 0, 7, 0, BAT_AT, sector);
    put64(sector + 16, BLOCK_AT | 6); /* block 2 is there now */
    put64(sector + SECTOR - 8, 99);
    make_entry(log, 2 * SECTOR, 8, 0, BAT_AT, sector);
    assert_int_equal(open_image(f), 0);
    map_all(&s, f);
    assert_int_equal(s.extents[0].kind, VHDX_ZERO);
    assert_int_equal(s.extents[1].kind, VHDX_ZERO);
    assert_int_equal(s.extents[2].kind, VHDX_DATA);
    uint8_t last[8];
    assert_int_equal(vhdx_read_file(&f->v, last, 8, BAT_AT + SECTOR - 8, NULL), 0);
    assert_int_equal(last[0], 99);
}

static void a_sequence_may_run_round_the_end_of_the_log(void **state)
{
    struct fixture *const f = *state;
    uint8_t sector[SECTOR] = {2};
    uint8_t *const log = f->image + LOG_AT;
    struct seen s;

    make_header(f->image + (128 << 10), 2, true);
    make_entry(log, MIB - 2 * SECTOR, 20, MIB - 2 * SECTOR, BAT_AT, sector);
    make_entry(log, 0, 21, MIB - 2 * SECTOR, BLOCK_AT, NULL);       /* zeros over the first sector of the data */
    make_entry(log, 100 * SECTOR, 5, 100 * SECTOR, BAT_AT, sector); /* an old one that is over */
    assert_int_equal(open_image(f), 0);
    map_all(&s, f);
    assert_int_equal(s.extents[0].kind, VHDX_ZERO);
    uint8_t bytes[2] = {1, 1};
    assert_int_equal(vhdx_read_file(&f->v, bytes, 2, BLOCK_AT + SECTOR - 1, NULL), 0);
    assert_int_equal(bytes[0], 0);
    assert_int_equal(bytes[1], 'x');
}

static void data_under_the_log_is_not_plain(void **state)
{
    struct fixture *const f = *state;
    struct seen s;

    make_header(f->image + (128 << 10), 2, true);
    make_entry(f->image + LOG_AT, 0, 1, 0, BLOCK_AT + 8 * SECTOR, NULL);
    assert_int_equal(open_image(f), 0);
    map_all(&s, f);
    assert_int_equal(s.extents[1].kind, VHDX_DATA);
    assert_false(s.extents[1].plain);
}

static void a_torn_log_is_refused(void **state)
{
    struct fixture *const f = *state;
    uint8_t sector[SECTOR] = {2};

    make_header(f->image + (128 << 10), 2, true);
    make_entry(f->image + LOG_AT, 0, 7, 0, BAT_AT, sector);
    f->image[LOG_AT + SECTOR + 100] ^= 1;
    assert_int_equal(open_image(f), -EBADMSG);
    assert_non_null(strstr(f->err.text, "no entry of the log is whole"));
}

/* Every sector begins an entry that reaches over the whole ring. */
static void entries_that_overlap_cost_no_time(void **state)
{
    struct fixture *const f = *state;
    const struct xk_clock *const clock = xk_clock_system();

    make_header(f->image + (128 << 10), 2, true);
    for (uint32_t at = 0; at < MIB; at += SECTOR) {
        make_entry(f->image + LOG_AT, at, 7, at, BAT_AT, NULL);
        put32(f->image + LOG_AT + at + 8, MIB);
    }
    const uint64_t begun_ns = clock->monotonic_ns(clock);
    assert_int_equal(open_image(f), -EBADMSG);
    assert_true(clock->monotonic_ns(clock) - begun_ns < XK_NS_PER_S);
    assert_non_null(strstr(f->err.text, "overlap"));
}

static void what_is_required_and_unknown_is_named(void **state)
{
    struct fixture *const f = *state;

    f->image[METADATA_AT + 10] = 6;
    make_item(f->image + METADATA_AT, 5, "00112233445566778899aabbccddeeff", 65600, 4);
    assert_int_equal(open_image(f), -ENOTSUP);
    assert_non_null(strstr(f->err.text, "33221100-5544-7766-8899-aabbccddeeff"));
}

static void fields_that_contradict_each_other_are_refused(void **state)
{
    static const struct {
        uint32_t at;
        uint64_t value;
        size_t bytes;
    } wrong[] = {
        {METADATA_AT + 65536, 3 * MIB, 4},        /* a block that is no power of two */
        {METADATA_AT + 65536, 512 * MIB, 4},      /* or too large */
        {METADATA_AT + 65544, DISK_BYTES + 1, 8}, /* half a sector */
        {METADATA_AT + 65544, UINT64_MAX, 8},
        {METADATA_AT + 65544, 64 * XK_TIB, 8}, /* more than its table has entries for */
        {METADATA_AT + 65568, 1024, 4},
        {METADATA_AT + 32 + 16, 2 * MIB, 4}, /* an item outside of its region */
        {METADATA_AT + 32 + 20, 9, 4},       /* or of another length */
        {METADATA_AT, 0, 8},
    };
    struct fixture *const f = *state;

    for (size_t i = 0; i < XK_COUNT(wrong); i++) {
        uint8_t old[8];
        memcpy(old, f->image + wrong[i].at, 8);
        if (wrong[i].bytes == 8)
            put64(f->image + wrong[i].at, wrong[i].value);
        else
            put32(f->image + wrong[i].at, (uint32_t)wrong[i].value);
        assert_int_equal(open_image(f), -EBADMSG);
        memcpy(f->image + wrong[i].at, old, 8);
    }
    assert_int_equal(open_image(f), 0);
}

static void a_block_outside_the_file_is_refused(void **state)
{
    struct fixture *const f = *state;
    struct seen s = {0};

    put64(f->image + BAT_AT + 8, (5 * UINT64_C(1) << 20) | 6); /* sticks out by half */
    assert_int_equal(open_image(f), 0);
    assert_int_equal(vhdx_map(&f->v, 0, DISK_BYTES, see, &s, &f->err), -EBADMSG);
    vhdx_close(&f->v);
    put64(f->image + BAT_AT + 8, BLOCK_AT | 7); /* partly present without a parent */
    assert_int_equal(open_image(f), 0);
    s.count = 0;
    assert_int_equal(vhdx_map(&f->v, 0, DISK_BYTES, see, &s, &f->err), -EBADMSG);
}

static int open_and_map(void *state, const struct xk_fs *fs, struct xk_err *err)
{
    const struct fixture *const f = state;
    struct seen s = {0};
    struct vhdx v;

    int code = vhdx_open(&v, fs, f->path, err);
    if (code == 0)
        code = vhdx_map(&v, 0, v.size_bytes, see, &s, err);
    vhdx_close(&v);
    return code;
}

static void every_failure_is_clean(void **state)
{
    struct fixture *const f = *state;
    uint8_t sector[SECTOR] = {2};
    char why[XK_FAULT_WHY_MAX];
    const struct xk_fault_case c = {.name = "open a VHDX with a log", .run = open_and_map, .state = f};

    make_header(f->image + (128 << 10), 2, true);
    make_entry(f->image + LOG_AT, 0, 7, 0, BAT_AT, sector);
    assert_int_equal(open_image(f), 0);
    if (xk_fault_loop(&c, why) < 0)
        fail_msg("%s", why);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(crc_is_castagnolis),
        TEST(an_image_is_read),
        TEST(the_newer_header_counts_and_the_other_one_does_when_it_is_damaged),
        TEST(a_log_is_replayed_in_memory),
        TEST(a_sequence_may_run_round_the_end_of_the_log),
        TEST(data_under_the_log_is_not_plain),
        TEST(a_torn_log_is_refused),
        TEST(entries_that_overlap_cost_no_time),
        TEST(what_is_required_and_unknown_is_named),
        TEST(fields_that_contradict_each_other_are_refused),
        TEST(a_block_outside_the_file_is_refused),
        TEST(every_failure_is_clean),
    };
    return cmocka_run_group_tests_name("vhdx", tests, NULL, NULL);
}
