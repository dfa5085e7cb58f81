/*
 * Conversions among the formats that are read and written here: the content stays, whatever fails leaves the old target
 * or the new one, and the layout does not depend on the threads.
 */
#include "lib/convert/inner.h"

#include "core/testing/fault.h"
#include "lib/volume/compare.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define UNIT       CONVERT_UNIT
#define PAGE       CONVERT_PAGE
#define DISK_BYTES (5 * UNIT + 3 * 512)

struct scene {
    char folder[XK_FAULT_PATH_MAX];
    char source[XK_FAULT_PATH_MAX + 16], target[XK_FAULT_PATH_MAX + 16];
    struct volume *disk; /* the source, to compare with */
    enum convert_format to;
    unsigned threads;
    bool by_pipe, compare, is_new, sync; /* is_new: there is no old target */
    size_t pulled;
    struct convert_made made;
    struct xk_err err;
};

static void put(const struct xk_file *f, uint64_t offset, size_t bytes, uint8_t value)
{
    uint8_t *const data = malloc(bytes);

    memset(data, value, bytes);
    assert_int_equal(xk_file_write(f, data, bytes, offset, NULL), 0);
    free(data);
}

/* A disk with holes, stored zeros, dense and thin blocks, and an end inside a page. */
static int set_up(void **state)
{
    struct scene *const s = calloc(1, sizeof(*s));
    struct xk_file f;

    *state = s;
    assert_int_equal(xk_fault_folder_make(s->folder), 0);
    snprintf(s->source, sizeof(s->source), "%s/source", s->folder);
    snprintf(s->target, sizeof(s->target), "%s/target", s->folder);
    assert_int_equal(xk_file_open(&f, xk_fs_posix(), s->source, O_RDWR | O_CREAT, 0600, NULL), 0);
    assert_int_equal(xk_file_truncate(&f, DISK_BYTES, NULL), 0);
    put(&f, 0, 512, 1);
    put(&f, UNIT, UNIT, 2);             /* all of a block */
    put(&f, 2 * UNIT, UNIT, 0);         /* zeros that are stored */
    put(&f, 3 * UNIT + 7 * PAGE, 1, 3); /* one byte */
    put(&f, 3 * UNIT + 9 * PAGE, 3 * PAGE + 17, 4);
    put(&f, DISK_BYTES - 1, 1, 5);
    xk_file_close(&f);
    assert_int_equal(volume_open(&s->disk, xk_fs_posix(), s->source, NULL, NULL), 0);
    s->threads = 1;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *const s = *state;

    volume_close(s->disk);
    xk_fault_folder_clear(s->folder, true);
    free(s);
    return 0;
}

static ssize_t pull(void *context, void *buf, size_t bytes, struct xk_err *err)
{
    struct scene *const s = context;
    /* In pieces that fit nothing. */
    const size_t part = XK_MIN(XK_MIN(bytes, (size_t)100003), (size_t)DISK_BYTES - s->pulled);

    if (part && volume_read(s->disk, buf, part, s->pulled, err) < 0)
        return -EIO;
    s->pulled += part;
    return (ssize_t)part;
}

static int run(void *state, const struct xk_fs *fs, struct xk_err *err)
{
    struct scene *const s = state;
    struct volume *source = NULL;
    struct xk_random random;

    xk_random_seed(&random, 1);
    s->pulled = 0;
    int code = s->by_pipe ? 0 : volume_open(&source, fs, s->source, NULL, err);
    const struct convert how = {.fs = fs,
                                .source = source,
                                .pull = pull,
                                .pull_context = s,
                                .path = s->target,
                                .to = s->to,
                                .overwrite = !s->is_new,
                                .sync = s->sync,
                                .compare = s->compare,
                                .threads = s->threads,
                                .unix_seconds = 1700000000,
                                .random = &random};
    if (code == 0)
        code = convert(&s->made, &how, err);
    volume_close(source);
    return code;
}

static int differs(void *context, const struct volume_difference *d)
{
    return 1;
}

/* 0: the file shows the source's disk; 1: another one, or none. */
static int is_other(const struct scene *s, const char *path)
{
    static const enum volume_format formats[] = {VOLUME_RAW, VOLUME_VHD, VOLUME_VHD, VOLUME_QCOW2};
    const struct volume_options options = {.format = formats[s->to]};
    const struct volume_compare how = {.visit = differs};
    struct volume_compared compared;
    struct volume *made = NULL;

    if (volume_open(&made, xk_fs_posix(), path, &options, NULL) < 0)
        return 1;
    const int other = volume_compare_run(&compared, s->disk, made, &how, NULL);
    volume_close(made);
    return other;
}

static const enum convert_format formats[] = {CONVERT_RAW, CONVERT_VHD, CONVERT_VHD_FIXED, CONVERT_QCOW2};

static void every_format_keeps_the_disk(void **state)
{
    struct scene *const s = *state;

    for (size_t i = 0; i < XK_COUNT(formats); i++) {
        for (int piped = 0; piped < 2; piped++) {
            s->to = formats[i];
            s->by_pipe = piped;
            s->compare = !piped;
            assert_int_equal(run(s, xk_fs_posix(), &s->err), 0);
            assert_int_equal(is_other(s, s->target), 0);
            assert_int_equal(s->made.disk_bytes, DISK_BYTES); /* whole sectors already */
            assert_int_equal(s->made.data_bytes, UNIT + 7 * PAGE);
        }
    }
}

/* Larger than one table of any format covers, nearly all of it a hole. */
static void a_large_disk_is_kept(void **state)
{
    struct scene *const s = *state;
    struct xk_file f;

    assert_int_equal(xk_file_open(&f, xk_fs_posix(), s->source, O_RDWR, 0, NULL), 0);
    assert_int_equal(xk_file_truncate(&f, 3 * XK_GIB + 512, NULL), 0);
    for (unsigned i = 1; i < 6; i++)
        put(&f, i * 600 * XK_MIB - 100, 3 * PAGE, (uint8_t)i);
    xk_file_close(&f);
    volume_close(s->disk);
    s->disk = NULL;
    assert_int_equal(volume_open(&s->disk, xk_fs_posix(), s->source, NULL, NULL), 0);
    for (size_t i = 0; i < XK_COUNT(formats); i++) {
        s->to = formats[i];
        s->threads = 1 + (unsigned)i;
        if (run(s, xk_fs_posix(), &s->err) < 0)
            fail_msg("%s", s->err.text);
        assert_int_equal(is_other(s, s->target), 0);
    }
}

static void zeros_are_not_stored(void **state)
{
    struct scene *const s = *state;
    struct stat st;

    s->to = CONVERT_RAW;
    assert_int_equal(run(s, xk_fs_posix(), &s->err), 0);
    assert_int_equal(stat(s->target, &st), 0);
    assert_int_equal(st.st_size, DISK_BYTES);
    assert_in_range((uint64_t)st.st_blocks * 512, UNIT, UNIT + 16 * PAGE);
    s->to = CONVERT_VHD;
    assert_int_equal(run(s, xk_fs_posix(), &s->err), 0);
    assert_int_equal(stat(s->target, &st), 0);
    assert_in_range((uint64_t)st.st_size, 4 * (UNIT + PAGE), 4 * (UNIT + PAGE) + 4 * PAGE); /* 4 of 6 blocks */
    assert_in_range((uint64_t)st.st_blocks * 512, UNIT, UNIT + 32 * PAGE);
}

static char *content(const char *path, size_t *ret_bytes)
{
    struct xk_file f;
    uint64_t bytes;

    assert_int_equal(xk_file_open(&f, xk_fs_posix(), path, O_RDONLY, 0, NULL), 0);
    assert_int_equal(xk_file_size(&bytes, &f, NULL), 0);
    char *const data = malloc((size_t)bytes);
    assert_int_equal(xk_file_read(&f, data, (size_t)bytes, 0, NULL), 0);
    xk_file_close(&f);
    *ret_bytes = (size_t)bytes;
    return data;
}

static void the_layout_does_not_depend_on_the_threads(void **state)
{
    struct scene *const s = *state;

    for (size_t i = 0; i < XK_COUNT(formats); i++) {
        size_t one_bytes, many_bytes;
        s->to = formats[i];
        s->threads = 1;
        assert_int_equal(run(s, xk_fs_posix(), &s->err), 0);
        char *const one = content(s->target, &one_bytes);
        for (int round = 0; round < 4; round++) {
            s->threads = 4;
            assert_int_equal(run(s, xk_fs_posix(), &s->err), 0);
            char *const many = content(s->target, &many_bytes);
            assert_int_equal(one_bytes, many_bytes);
            assert_memory_equal(one, many, one_bytes);
            free(many);
        }
        free(one);
    }
}

static ssize_t refuse_direct(const struct xk_fs *fs, int fd, const void *buf, size_t bytes, uint64_t offset)
{
    return fcntl(fd, F_GETFL) & O_DIRECT ? -EINVAL : xk_fs_posix()->ops->pwrite(fs, fd, buf, bytes, offset);
}

/* Past the page cache or through it: the file is the same. */
static void direct_writes_are_not_needed(void **state)
{
    struct scene *const s = *state;
    struct xk_fs_ops without = *xk_fs_posix()->ops;
    struct xk_fs_ops refusing = without;

    without.direct = NULL;
    refusing.pwrite = refuse_direct;
    const struct xk_fs others[] = {{.ops = &without}, {.ops = &refusing}};
    s->threads = 3;
    for (size_t i = 0; i < XK_COUNT(formats); i++) {
        size_t bytes, other_bytes;
        s->to = formats[i];
        assert_int_equal(run(s, xk_fs_posix(), &s->err), 0);
        char *const made = content(s->target, &bytes);
        for (size_t n = 0; n < XK_COUNT(others); n++) {
            assert_int_equal(run(s, &others[n], &s->err), 0);
            char *const other = content(s->target, &other_bytes);
            assert_int_equal(bytes, other_bytes);
            assert_memory_equal(made, other, bytes);
            free(other);
        }
        free(made);
    }
}

static void what_cannot_be_is_refused(void **state)
{
    struct scene *const s = *state;
    struct xk_random random;
    struct convert how = {
        .fs = xk_fs_posix(), .source = s->disk, .path = s->source, .overwrite = true, .random = &random};

    xk_random_seed(&random, 1);
    assert_int_equal(convert(&s->made, &how, &s->err), -EINVAL); /* onto itself */
    how.path = s->folder;
    assert_int_equal(convert(&s->made, &how, &s->err), -EISDIR);
    how.overwrite = false;
    how.path = s->target;
    s->to = CONVERT_RAW;
    assert_int_equal(run(s, xk_fs_posix(), &s->err), 0);
    assert_int_equal(convert(&s->made, &how, &s->err), -EEXIST);
    how.path = NULL;
    how.to = CONVERT_QCOW2;
    assert_int_equal(convert(&s->made, &how, &s->err), -EINVAL);
    how.to = CONVERT_RAW;
    how.compare = true;
    assert_int_equal(convert(&s->made, &how, &s->err), -EINVAL);
}

static void an_input_that_is_too_long_leaves_nothing(void **state)
{
    struct scene *const s = *state;
    struct xk_random random;
    const struct convert how = {.fs = xk_fs_posix(),
                                .pull = pull,
                                .pull_context = s,
                                .pull_bytes = DISK_BYTES - 512,
                                .path = s->target,
                                .to = CONVERT_VHD,
                                .random = &random};

    xk_random_seed(&random, 1);
    assert_int_equal(convert(&s->made, &how, &s->err), -EFBIG);
    assert_int_equal(access(s->target, F_OK), -1);
}

/* ---- failures ---- */

static const char old_content[] = "the old target";

static int put_old_target(void *state)
{
    const struct scene *const s = state;

    return xk_file_replace(xk_fs_posix(), s->target, old_content, sizeof(old_content), 0600, NULL);
}

static int old_or_new(const struct scene *s, const char *path, char why[XK_FAULT_WHY_MAX])
{
    xk_autofree char *text = NULL;

    if (is_other(s, path) == 0)
        return 0;
    if (xk_slurp(&text, "", path, sizeof(old_content), NULL) == 0 &&
        memcmp(text, old_content, sizeof(old_content)) == 0)
        return 0;
    snprintf(why, XK_FAULT_WHY_MAX, "neither the old target nor the new one");
    return -1;
}

static int verify(void *state, const struct xk_fault_round *round, char why[XK_FAULT_WHY_MAX])
{
    const struct scene *const s = state;

    if (round->result == 0 && is_other(s, s->target) != 0) {
        snprintf(why, XK_FAULT_WHY_MAX, "it says that it went well, and the target is not the source");
        return -1;
    }
    return old_or_new(s, s->target, why);
}

static void every_failure_leaves_the_old_target_or_the_new_one(void **state)
{
    struct scene *const s = *state;
    char why[XK_FAULT_WHY_MAX];

    for (size_t i = 0; i < XK_COUNT(formats); i++) {
        s->to = formats[i];
        s->compare = i % 2;
        const struct xk_fault_case c = {
            .name = convert_format_names[i], .prepare = put_old_target, .run = run, .verify = verify, .state = s};
        if (xk_fault_loop(&c, why) < 0)
            fail_msg("%s", why);
    }
}

struct crashing {
    struct scene *scene;
    size_t records; /* after so many the command had ended */
};

static int verify_crash(void *state, const char *folder, size_t n, char why[XK_FAULT_WHY_MAX])
{
    const struct crashing *const c = state;
    char path[XK_FAULT_PATH_MAX + 16];

    snprintf(path, sizeof(path), "%s/target", folder);
    if (c->scene->is_new && n < c->records && access(path, F_OK) < 0)
        return 0;
    return old_or_new(c->scene, path, why);
}

/* losses: what was not made safe may be lost, so many times at each moment; 0: all is there that was done before. */
static void crash_everywhere(struct scene *s, unsigned losses)
{
    char why[XK_FAULT_WHY_MAX] = "";

    for (size_t i = 0; i < XK_COUNT(formats); i++) {
        struct xk_fault_log log;
        struct xk_fault_fs recorded = {0};
        s->to = formats[i];
        (void)unlink(s->target);
        if (!s->is_new)
            assert_int_equal(put_old_target(s), 0);
        assert_int_equal(xk_fault_log_begin(&log, s->folder, &s->err), 0);
        xk_fault_fs_init(&recorded, xk_fs_posix());
        recorded.log = &log;
        assert_int_equal(run(s, &recorded.fs, &s->err), 0);
        assert_int_equal(log.error, 0);
        struct crashing c = {.scene = s, .records = log.count};
        if (xk_crash_loop(&log, losses, verify_crash, &c, why) < 0)
            fail_msg("%s", why);
        xk_fault_log_done(&log);
    }
}

static void a_crash_leaves_the_old_target_or_the_new_one(void **state)
{
    crash_everywhere(*state, 2);
}

static void a_crash_leaves_no_new_target_or_all_of_it(void **state)
{
    struct scene *const s = *state;

    s->is_new = s->sync = true;
    crash_everywhere(s, 2);
    /* Without waiting this is promised of a kill, not of a power failure. */
    s->sync = false;
    crash_everywhere(s, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(every_format_keeps_the_disk),
        TEST(a_large_disk_is_kept),
        TEST(zeros_are_not_stored),
        TEST(the_layout_does_not_depend_on_the_threads),
        TEST(direct_writes_are_not_needed),
        TEST(what_cannot_be_is_refused),
        TEST(an_input_that_is_too_long_leaves_nothing),
        TEST(every_failure_leaves_the_old_target_or_the_new_one),
        TEST(a_crash_leaves_the_old_target_or_the_new_one),
        TEST(a_crash_leaves_no_new_target_or_all_of_it),
    };
    return cmocka_run_group_tests_name("convert", tests, NULL, NULL);
}
