/*
 * Writing on top of a disk: a plain array says what must be seen, before and after each flush, and when the image is
 * opened again.
 */
#include "lib/volume/overlay.h"

#include "lib/vhd/test-images.h"

#include <unistd.h>

#define ROUNDS 400

struct written {
    struct world *w;
    char raw[PATH_BYTES], path[PATH_BYTES];
    struct volume *base;
    struct volume_overlay *o;
    uint8_t *model, *got;
    uint64_t bytes;
};

/* A raw base with some data; `odd` more bytes than a whole number of sectors. */
static void make(struct written *t, struct world *w, uint64_t odd)
{
    *t = (struct written){.w = w, .bytes = DISK_BYTES + (odd ? VHD_SECTOR : 0)};
    t->model = calloc(1, t->bytes);
    t->got = calloc(1, t->bytes);
    assert_non_null(t->model);
    assert_non_null(t->got);
    name_in(t->raw, w->dir, "base.raw");
    name_in(t->path, w->dir, "top.vhd");
    xk_random_bytes(&w->random, t->model + 3 * XK_MIB + 77, 500000);
    if (odd)
        t->model[DISK_BYTES + odd - 1] = 0x99;
    struct xk_file f;
    assert_int_equal(xk_file_open(&f, xk_fs_posix(), t->raw, O_RDWR | O_CREAT, 0600, NULL), 0);
    assert_int_equal(xk_file_truncate(&f, DISK_BYTES + odd, NULL), 0);
    assert_int_equal(xk_file_write(&f, t->model + 3 * XK_MIB + 77, 500000, 3 * XK_MIB + 77, NULL), 0);
    if (odd)
        assert_int_equal(xk_file_write(&f, t->model + DISK_BYTES, (size_t)odd, DISK_BYTES, NULL), 0);
    xk_file_close(&f);
    assert_int_equal(volume_open(&t->base, xk_fs_posix(), t->raw, &(struct volume_options){.format = VOLUME_RAW}, NULL),
                     0);
    assert_int_equal(snapshot(xk_fs_posix(), t->path, t->raw, true, &w->random, &w->err), 0);
    assert_int_equal(volume_overlay_open(&t->o, xk_fs_posix(), t->path, t->base, &w->err), 0);
}

static void done(struct written *t)
{
    volume_overlay_close(t->o);
    volume_close(t->base);
    free(t->model);
    free(t->got);
}

static void expect_content(struct written *t, const struct volume *v)
{
    assert_int_equal(v->size_bytes, t->bytes);
    memset(t->got, 0xee, t->bytes);
    assert_int_equal(volume_read(v, t->got, t->bytes, 0, &t->w->err), 0);
    assert_memory_equal(t->got, t->model, t->bytes);
}

static void expect_reopened(struct written *t)
{
    struct volume *v = NULL;

    if (volume_open(&v, xk_fs_posix(), t->path, NULL, &t->w->err) < 0)
        fail_msg("%s", t->w->err.text);
    expect_content(t, v);
    volume_close(v);
}

static void change(struct written *t)
{
    struct xk_random *const random = &t->w->random;
    const uint64_t most = xk_random_below(random, 2) ? 3 * XK_MIB : 5000;
    const uint64_t bytes = 1 + xk_random_below(random, most);
    const uint64_t start = xk_random_below(random, t->bytes - bytes);
    int code;

    switch (xk_random_below(random, 4)) {
    case 0:
        memset(t->model + start, 0, bytes);
        code = volume_overlay_zero(t->o, start, bytes, xk_random_below(random, 2), &t->w->err);
        break;
    case 1:
        code = volume_overlay_flush(t->o, &t->w->err);
        break;
    default:
        xk_random_bytes(random, t->model + start, bytes);
        code = volume_overlay_write(t->o, t->model + start, bytes, start, &t->w->err);
        break;
    }
    if (code < 0)
        fail_msg("%s", t->w->err.text);
}

static void run_changes(struct world *w, uint64_t odd)
{
    struct written t;

    make(&t, w, odd);
    expect_content(&t, volume_overlay_view(t.o));
    for (int i = 0; i < ROUNDS; i++) {
        change(&t);
        if (i % 20 == 0)
            expect_content(&t, volume_overlay_view(t.o));
    }
    assert_int_equal(volume_overlay_flush(t.o, &w->err), 0);
    expect_content(&t, volume_overlay_view(t.o));
    expect_reopened(&t);
    done(&t);
}

static void what_was_written_is_seen_at_once(void **state)
{
    run_changes(*state, 0);
}

static void a_base_may_end_inside_a_sector(void **state)
{
    run_changes(*state, 100);
}

static void what_was_not_flushed_is_dropped(void **state)
{
    struct written t;
    const uint8_t data[5000] = {7};

    make(&t, *state, 0);
    assert_int_equal(volume_overlay_write(t.o, data, sizeof(data), 9 * XK_MIB, &t.w->err), 0);
    volume_overlay_close(t.o);
    t.o = NULL;
    expect_reopened(&t);
    done(&t);
}

static uint64_t used_bytes(const char *path)
{
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    return (uint64_t)st.st_blocks * 512;
}

static void trimming_gives_back_what_the_overlay_holds(void **state)
{
    struct written t;
    uint8_t *const data = malloc(2 * XK_MIB);

    make(&t, *state, 0);
    memset(data, 1, 2 * XK_MIB);
    assert_int_equal(volume_overlay_write(t.o, data, 2 * XK_MIB, 8 * XK_MIB, &t.w->err), 0);
    assert_int_equal(volume_overlay_flush(t.o, &t.w->err), 0);
    const uint64_t before = used_bytes(t.path);
    assert_int_equal(volume_overlay_trim(t.o, 0, t.bytes, &t.w->err), 0);
    assert_int_equal(volume_overlay_flush(t.o, &t.w->err), 0);
    expect_content(&t, volume_overlay_view(t.o)); /* the base's data stay */
    expect_reopened(&t);
    if (used_bytes(t.path) >= before)
        print_message("# this file system cannot give space back\n");
    free(data);
    done(&t);
}

static void nothing_is_written_past_the_end(void **state)
{
    struct written t;
    const uint8_t data[512] = {7};

    make(&t, *state, 0);
    assert_int_equal(volume_overlay_write(t.o, data, sizeof(data), t.bytes - 511, &t.w->err), -EINVAL);
    assert_int_equal(volume_overlay_write(t.o, data, sizeof(data), UINT64_MAX, &t.w->err), -EINVAL);
    assert_int_equal(volume_overlay_zero(t.o, 1, t.bytes, false, &t.w->err), -EINVAL);
    assert_int_equal(volume_overlay_trim(t.o, t.bytes, 1, &t.w->err), -EINVAL);
    expect_content(&t, volume_overlay_view(t.o));
    done(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(what_was_written_is_seen_at_once), WORLD_TEST(a_base_may_end_inside_a_sector),
        WORLD_TEST(what_was_not_flushed_is_dropped),  WORLD_TEST(trimming_gives_back_what_the_overlay_holds),
        WORLD_TEST(nothing_is_written_past_the_end),
    };
    return cmocka_run_group_tests_name("volume-overlay", tests, NULL, NULL);
}
