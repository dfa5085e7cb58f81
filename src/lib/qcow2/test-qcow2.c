/*
 * qcow2 images written by our own writer and then made wrong; the images of other programs are read in the room's
 * convert.t.
 */
#include "lib/qcow2/qcow2.h"

#include "core/bytes.h"
#include "core/testing/fault.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define CLUSTER    QCOW2_WRITE_CLUSTER
#define DISK_BYTES (700 * XK_MIB) /* two L2 tables */
#define FAR_BYTES  (600 * XK_MIB)

struct fixture {
    char folder[XK_FAULT_PATH_MAX];
    char path[XK_FAULT_PATH_MAX + 16];
    struct qcow2 q;
    struct xk_err err;
};

static int write_image(void *state, const struct xk_fs *fs, struct xk_err *err)
{
    const struct fixture *const f = state;
    uint8_t data[2 * CLUSTER];
    uint64_t offset = 0;
    struct qcow2_writer w = {0};
    struct xk_newfile n;

    memset(data, 'x', sizeof(data));
    int code = xk_newfile_begin(&n, fs, f->path, 0600, false, err);
    if (code < 0)
        return code;
    code = qcow2_writer_begin(&w, &n.file, err);
    if (code == 0)
        code = qcow2_writer_place(&w, 1, 2, &offset, err);
    if (code == 0)
        code = xk_file_write(&n.file, data, sizeof(data), offset, err);
    if (code == 0)
        code = qcow2_writer_place(&w, FAR_BYTES / CLUSTER, 1, &offset, err);
    if (code == 0)
        code = xk_file_write(&n.file, data, CLUSTER, offset, err);
    if (code == 0)
        code = qcow2_writer_finish(&w, DISK_BYTES, err);
    if (code == 0)
        code = xk_newfile_commit(&n, err);
    qcow2_writer_done(&w);
    xk_newfile_abort(&n);
    return code;
}

static int set_up(void **state)
{
    struct fixture *const f = calloc(1, sizeof(*f));

    *state = f;
    assert_int_equal(xk_fault_folder_make(f->folder), 0);
    snprintf(f->path, sizeof(f->path), "%s/a.qcow2", f->folder);
    assert_int_equal(write_image(f, xk_fs_posix(), NULL), 0);
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *const f = *state;

    qcow2_close(&f->q);
    xk_fault_folder_clear(f->folder, true);
    free(f);
    return 0;
}

static int open_image(struct fixture *f)
{
    qcow2_close(&f->q);
    return qcow2_open(&f->q, xk_fs_posix(), f->path, &f->err);
}

static void change(const struct fixture *f, uint64_t offset, uint64_t value, size_t bytes)
{
    uint8_t buf[8];
    struct xk_writer w = xk_writer(buf, sizeof(buf));
    struct xk_file file;

    xk_write_be64(&w, value << (64 - 8 * bytes));
    assert_int_equal(xk_file_open(&file, xk_fs_posix(), f->path, O_RDWR, 0, NULL), 0);
    assert_int_equal(xk_file_write(&file, buf, bytes, offset, NULL), 0);
    xk_file_close(&file);
}

static uint64_t at(const struct fixture *f, uint64_t offset)
{
    uint8_t buf[8];
    struct xk_file file;

    assert_int_equal(xk_file_open(&file, xk_fs_posix(), f->path, O_RDONLY, 0, NULL), 0);
    assert_int_equal(xk_file_read(&file, buf, sizeof(buf), offset, NULL), 0);
    xk_file_close(&file);
    struct xk_reader r = xk_reader(buf, sizeof(buf));
    return xk_be64(&r);
}

static uint64_t l2_table(const struct fixture *f)
{
    return at(f, at(f, 40)) & ~(UINT64_C(1) << 63);
}

struct seen {
    uint64_t bytes[4]; /* by kind */
    uint64_t next;
};

static int see(void *context, const struct qcow2_extent *e)
{
    struct seen *const s = context;

    assert_int_equal(e->start, s->next);
    s->next += e->bytes;
    s->bytes[e->kind] += e->bytes;
    return 0;
}

static int map_all(struct seen *s, struct fixture *f)
{
    *s = (struct seen){0};
    return qcow2_map(&f->q, 0, f->q.size_bytes, see, s, &f->err);
}

static void what_was_written_is_read(void **state)
{
    struct fixture *const f = *state;
    struct seen s;

    assert_int_equal(open_image(f), 0);
    assert_int_equal(f->q.size_bytes, DISK_BYTES);
    assert_int_equal(f->q.version, 3);
    assert_null(f->q.backing_name);
    assert_int_equal(map_all(&s, f), 0);
    assert_int_equal(s.bytes[QCOW2_DATA], 3 * CLUSTER);
    assert_int_equal(s.bytes[QCOW2_ABSENT], DISK_BYTES - 3 * CLUSTER);
}

static int keep(void *context, const struct qcow2_extent *e)
{
    *(struct qcow2_extent *)context = *e;
    return 1;
}

static void a_range_may_begin_within_a_cluster(void **state)
{
    struct fixture *const f = *state;
    struct qcow2_extent whole, part;

    assert_int_equal(open_image(f), 0);
    assert_int_equal(qcow2_map(&f->q, CLUSTER, CLUSTER, keep, &whole, &f->err), 1);
    assert_int_equal(qcow2_map(&f->q, CLUSTER + 4608, 512, keep, &part, &f->err), 1);
    assert_int_equal(part.kind, QCOW2_DATA);
    assert_int_equal(part.start, CLUSTER + 4608);
    assert_int_equal(part.bytes, 512);
    assert_int_equal(part.file_offset, whole.file_offset + 4608);
}

/* Every cluster of the file is counted once, and none outside of it. */
static void the_reference_counts_are_those_of_the_file(void **state)
{
    struct fixture *const f = *state;
    uint64_t counted = 0;

    assert_int_equal(open_image(f), 0);
    const uint64_t clusters = f->q.file_bytes / CLUSTER;
    assert_int_equal(f->q.file_bytes % CLUSTER, 0);
    const uint64_t block = at(f, at(f, 48));
    for (uint64_t i = 0; i < CLUSTER / 8; i++) {
        const uint64_t four = at(f, block + i * 8);
        for (int n = 0; n < 4; n++) {
            const uint64_t count = four >> (48 - 16 * n) & 0xffff;
            assert_int_equal(count, i * 4 + (uint64_t)n < clusters);
            counted += count;
        }
    }
    assert_int_equal(counted, clusters);
}

static void tables_outside_the_file_are_refused(void **state)
{
    struct fixture *const f = *state;
    const uint64_t l1 = at(f, 40), l2 = l2_table(f), entry = at(f, l2 + 8);
    struct seen s;

    change(f, 40, l1 + 512, 8); /* not at a cluster */
    assert_int_equal(open_image(f), -EBADMSG);
    change(f, 40, UINT64_C(1) << 60, 8);
    assert_int_equal(open_image(f), -EBADMSG);
    change(f, 40, l1, 8);
    change(f, 36, 1, 4); /* an L1 table of one entry for two */
    assert_int_equal(open_image(f), -EBADMSG);
    change(f, 36, 2, 4);
    change(f, l1, UINT64_C(1) << 50, 8);
    assert_int_equal(open_image(f), 0);
    assert_int_equal(map_all(&s, f), -EBADMSG);
    change(f, l1, l2, 8);
    change(f, l2 + 8, entry + 512, 8); /* a cluster that is none */
    assert_int_equal(map_all(&s, f), -EBADMSG);
    change(f, l2 + 8, UINT64_C(1) << 50, 8);
    assert_int_equal(map_all(&s, f), -EBADMSG);
    change(f, l2 + 8, 1, 8); /* zeros without a place */
    assert_int_equal(map_all(&s, f), 0);
    assert_int_equal(s.bytes[QCOW2_ZERO], CLUSTER);
}

static void compressed_nonsense_is_refused(void **state)
{
    struct fixture *const f = *state;
    uint8_t *const cluster = malloc(CLUSTER);

    assert_int_equal(open_image(f), 0);
    for (uint8_t compression = QCOW2_ZLIB; compression <= QCOW2_ZSTD; compression++) {
        f->q.compression = compression;
        assert_int_equal(qcow2_read_compressed(&f->q, cluster, UINT64_C(1) << 62 | CLUSTER, &f->err), -EBADMSG);
        assert_int_equal(qcow2_read_compressed(&f->q, cluster, UINT64_C(1) << 62 | UINT64_C(1) << 53, &f->err),
                         -EBADMSG);
        assert_int_equal(qcow2_read_compressed(&f->q, cluster, UINT64_MAX >> 1, &f->err), -EBADMSG);
    }
    free(cluster);
}

static void headers_that_cannot_be_read_say_why(void **state)
{
    static const struct {
        uint64_t offset, value;
        size_t bytes;
        int code;
        const char *why;
    } wrong[] = {
        {0, 0x51464900, 4, -EBADMSG, "not a qcow2"},
        {4, 1, 4, -ENOTSUP, "version 1"},
        {20, 8, 4, -EBADMSG, "clusters of 2^8"},
        {20, 22, 4, -EBADMSG, "clusters of 2^22"},
        {24, UINT64_MAX, 8, -EFBIG, "a disk of"},
        {32, 1, 4, -ENOTSUP, "AES"},
        {32, 2, 4, -ENOTSUP, "LUKS"},
        {72, 4, 8, -ENOTSUP, "external data file"},
        {72, 1 << 7, 8, -ENOTSUP, "incompatible bit 7"},
        {96, 7, 4, -EBADMSG, "reference counts of 2^7"},
        {100, 100, 4, -EBADMSG, "a header of 100"},
        {104, 2, 1, -ENOTSUP, "unknown compression 2"},
        {8, 1 << 20, 8, -EBADMSG, "the backing file's name"},
        {112, UINT64_C(0xe2792acaffffffff), 8, -EBADMSG, "header extension e2792aca"},
    };
    struct fixture *const f = *state;

    for (size_t i = 0; i < XK_COUNT(wrong); i++) {
        const uint64_t old = at(f, wrong[i].offset);
        change(f, wrong[i].offset, wrong[i].value, wrong[i].bytes);
        assert_int_equal(open_image(f), wrong[i].code);
        if (!strstr(f->err.text, wrong[i].why))
            fail_msg("'%s' does not say '%s'", f->err.text, wrong[i].why);
        change(f, wrong[i].offset, old, 8);
    }
    assert_int_equal(open_image(f), 0);
}

static void an_unknown_feature_is_called_by_its_own_name(void **state)
{
    struct fixture *const f = *state;

    change(f, 72, UINT64_C(1) << 33, 8);
    change(f, 112, UINT64_C(0x6803f85700000030), 8); /* a feature name table of one row */
    change(f, 120, UINT64_C(0x0021737061636520), 8); /* incompatible, bit 33, "space " … */
    change(f, 128, UINT64_C(0x77617270), 4);         /* … "warp" */
    change(f, 132, 0, 4);
    assert_int_equal(open_image(f), -ENOTSUP);
    assert_non_null(strstr(f->err.text, "'space warp'"));
}

static int old_or_new(void *state, const struct xk_fault_round *round, char why[XK_FAULT_WHY_MAX])
{
    struct fixture *const f = state;
    struct seen s;

    if (open_image(f) < 0 || map_all(&s, f) < 0 || s.bytes[QCOW2_DATA] != 3 * CLUSTER) {
        snprintf(why, XK_FAULT_WHY_MAX, "the old image is gone: %s", f->err.text);
        return -1;
    }
    return 0;
}

static void every_failure_of_writing_leaves_a_whole_image(void **state)
{
    char why[XK_FAULT_WHY_MAX];
    const struct xk_fault_case c = {.name = "write a qcow2", .run = write_image, .verify = old_or_new, .state = *state};

    if (xk_fault_loop(&c, why) < 0)
        fail_msg("%s", why);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(what_was_written_is_read),
        TEST(a_range_may_begin_within_a_cluster),
        TEST(the_reference_counts_are_those_of_the_file),
        TEST(tables_outside_the_file_are_refused),
        TEST(compressed_nonsense_is_refused),
        TEST(headers_that_cannot_be_read_say_why),
        TEST(an_unknown_feature_is_called_by_its_own_name),
        TEST(every_failure_of_writing_leaves_a_whole_image),
    };
    return cmocka_run_group_tests_name("qcow2", tests, NULL, NULL);
}
