/*
 * Random writes into chains of random shape, beside a plain array that says what the disk must hold; and what a fault
 * or a crash at any moment leaves of them.
 */
#include "lib/vhd/test-images.h"

#include <limits.h>

struct covered {
    const struct vhd_chain *chain;
    uint64_t next;
};

/* Extents follow one another without a gap, and lie inside their files. */
static int cover(void *context, const struct vhd_extent *e)
{
    struct covered *c = context;
    assert_int_equal(e->start, c->next);
    assert_true(e->sectors > 0);
    if (e->layer >= 0 && (size_t)e->layer < c->chain->count)
        assert_true(e->file_offset + e->sectors * VHD_SECTOR <= c->chain->layers[e->layer].file_bytes);
    c->next += e->sectors;
    return 0;
}

static void compare_with(struct world *w, const char *path, const uint8_t *model)
{
    struct vhd_chain chain;
    uint8_t *got = malloc(DISK_BYTES);

    assert_non_null(got);
    if (vhd_chain_open(&chain, xk_fs_posix(), path, NULL, &w->err) < 0)
        fail_msg("%s", w->err.text);
    assert_int_equal(vhd_chain_bytes(&chain), DISK_BYTES);
    assert_int_equal(vhd_chain_read(&chain, got, 0, DISK_SECTORS, &w->err), 0);
    assert_memory_equal(got, model, DISK_BYTES);
    for (int i = 0; i < 40; i++) {
        const uint64_t count = 1 + xk_random_below(&w->random, 5000);
        const uint64_t sector = xk_random_below(&w->random, DISK_SECTORS - count);
        assert_int_equal(vhd_chain_read(&chain, got, sector, count, &w->err), 0);
        assert_memory_equal(got, model + sector * VHD_SECTOR, count * VHD_SECTOR);
    }
    struct covered c = {.chain = &chain};
    assert_int_equal(vhd_chain_map(&chain, 0, DISK_SECTORS, cover, &c, &w->err), 0);
    assert_int_equal(c.next, DISK_SECTORS);
    assert_int_equal(vhd_chain_read(&chain, got, DISK_SECTORS, 1, &w->err), -EINVAL);
    assert_int_equal(vhd_chain_read(&chain, got, UINT64_MAX, 2, &w->err), -EINVAL);
    vhd_chain_close(&chain);
    free(got);
}

enum root { ROOT_DYNAMIC, ROOT_FIXED, ROOT_RAW, ROOT_RAGGED };

static void make_root(struct world *w, enum root root, char path[PATH_BYTES], uint8_t *model)
{
    name_in(path, w->dir, root == ROOT_RAW || root == ROOT_RAGGED ? "root.raw" : "root.vhd");
    memset(model, 0, DISK_BYTES);
    if (root == ROOT_DYNAMIC) {
        assert_int_equal(create(xk_fs_posix(), path, VHD_DYNAMIC, &w->random, &w->err), 0);
        for (int i = 0; i < 4; i++)
            random_write(w, path, model);
        return;
    }
    /* A raw disk that ends inside its last sector: the rest of it reads as zeros. */
    const size_t bytes = root == ROOT_RAGGED ? DISK_BYTES - 200 : DISK_BYTES;
    xk_random_bytes(&w->random, model, bytes);
    if (root == ROOT_FIXED)
        assert_int_equal(create(xk_fs_posix(), path, VHD_FIXED, &w->random, &w->err), 0);
    FILE *f = fopen(path, root == ROOT_FIXED ? "r+b" : "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(model, 1, bytes, f), bytes);
    fclose(f);
}

static void chain_of(struct world *w, enum root root, int depth)
{
    char parent[PATH_BYTES], path[PATH_BYTES], name[32];
    uint8_t *model = malloc(DISK_BYTES);

    assert_non_null(model);
    make_root(w, root, parent, model);
    for (int i = 2; i <= depth; i++) {
        snprintf(name, sizeof(name), "%d.vhd", i);
        name_in(path, w->dir, name);
        const bool raw = i == 2 && (root == ROOT_RAW || root == ROOT_RAGGED);
        if (snapshot(xk_fs_posix(), path, parent, raw, &w->random, &w->err) < 0)
            fail_msg("%s", w->err.text);
        for (uint64_t n = xk_random_below(&w->random, 4); n > 0; n--)
            random_write(w, path, model);
        memcpy(parent, path, sizeof(parent));
    }
    compare_with(w, parent, model);
    assert_int_equal(vhd_chain_depth(xk_fs_posix(), parent, NULL, &w->err), depth);
    free(model);
}

static void a_single_image_reads_back(void **state)
{
    chain_of(*state, ROOT_DYNAMIC, 1);
}
static void a_chain_of_thirty_reads_back(void **state)
{
    chain_of(*state, ROOT_DYNAMIC, 30);
}
static void a_chain_on_a_fixed_image_reads_back(void **state)
{
    chain_of(*state, ROOT_FIXED, 4);
}
static void a_chain_on_a_raw_disk_reads_back(void **state)
{
    chain_of(*state, ROOT_RAW, 3);
}
static void a_chain_on_a_ragged_raw_disk_reads_back(void **state)
{
    chain_of(*state, ROOT_RAGGED, 3);
}

static void a_loop_ends(void **state)
{
    struct world *w = *state;
    char a[PATH_BYTES], b[PATH_BYTES], c[PATH_BYTES];
    struct vhd_chain chain;

    name_in(a, w->dir, "a.vhd");
    name_in(b, w->dir, "b.vhd");
    name_in(c, w->dir, "c.vhd");
    assert_int_equal(create(xk_fs_posix(), a, VHD_DYNAMIC, &w->random, &w->err), 0);
    assert_int_equal(snapshot(xk_fs_posix(), b, a, false, &w->random, &w->err), 0);
    assert_int_equal(rename(b, a), 0);
    /* a.vhd now names a.vhd as its parent. */
    assert_int_equal(vhd_chain_open(&chain, xk_fs_posix(), a, NULL, &w->err), -ELOOP);

    assert_int_equal(create(xk_fs_posix(), b, VHD_DYNAMIC, &w->random, &w->err), 0);
    assert_int_equal(snapshot(xk_fs_posix(), c, b, false, &w->random, &w->err), 0);
    assert_int_equal(create(xk_fs_posix(), b, VHD_DYNAMIC, &w->random, &w->err), 0);
    assert_int_equal(vhd_chain_open(&chain, xk_fs_posix(), c, NULL, &w->err), -ESTALE);
    assert_int_equal(unlink(b), 0);
    assert_int_equal(vhd_chain_open(&chain, xk_fs_posix(), c, NULL, &w->err), -ENOENT);
}

static void a_chain_root_keeps_parents_inside(void **state)
{
    struct world *w = *state;
    char parent[PATH_BYTES], child[PATH_BYTES], inside[PATH_BYTES];
    struct vhd_chain chain;

    name_in(parent, w->dir, "parent.vhd");
    name_in(inside, w->dir, "inside");
    name_in(child, w->dir, "inside/child.vhd");
    assert_int_equal(mkdir(inside, 0700), 0);
    assert_int_equal(create(xk_fs_posix(), parent, VHD_DYNAMIC, &w->random, &w->err), 0);
    assert_int_equal(snapshot(xk_fs_posix(), child, parent, false, &w->random, &w->err), 0);
    struct vhd_chain_options options = {.search.root = inside};
    assert_int_equal(vhd_chain_open(&chain, xk_fs_posix(), child, &options, &w->err), -EXDEV);
    options.search.root = w->dir;
    assert_int_equal(vhd_chain_open(&chain, xk_fs_posix(), child, &options, &w->err), 0);
    vhd_chain_close(&chain);
}

static void snapshots_pass_over_empty_ones(void **state)
{
    struct world *w = *state;
    char base[PATH_BYTES], empty[PATH_BYTES], top[PATH_BYTES], want[PATH_MAX]; /* as realpath() asks */
    struct vhd_snapshot_made made = {0};
    uint8_t sector[VHD_SECTOR] = {1};

    name_in(base, w->dir, "base.vhd");
    name_in(empty, w->dir, "empty.vhd");
    name_in(top, w->dir, "top.vhd");
    assert_int_equal(create(xk_fs_posix(), base, VHD_DYNAMIC, &w->random, &w->err), 0);
    assert_int_equal(snapshot(xk_fs_posix(), empty, base, false, &w->random, &w->err), 0);
    struct vhd_snapshot how = {
        .path = top, .parent = empty, .overwrite = true, .unix_seconds = NOW, .random = &w->random};
    assert_int_equal(vhd_snapshot(xk_fs_posix(), &how, &made, &w->err), 0);
    assert_string_equal(made.parent, realpath(base, want) ? want : "?");
    assert_int_equal(made.depth, 2);
    free(made.parent);

    how.depth_limit = 1;
    assert_int_equal(vhd_snapshot(xk_fs_posix(), &how, &made, &w->err), -ENOSPC);
    how.depth_limit = 0;
    assert_int_equal(write_at(xk_fs_posix(), empty, sector, 5, 1, &w->err), 0);
    assert_int_equal(vhd_snapshot(xk_fs_posix(), &how, &made, &w->err), 0);
    assert_string_equal(made.parent, realpath(empty, want) ? want : "?");
    assert_int_equal(made.depth, 3);
    free(made.parent);
}

static void sizes_that_do_not_fit_are_refused(void **state)
{
    struct world *w = *state;
    char path[PATH_BYTES];
    struct vhd_create how = {.type = VHD_DYNAMIC, .unix_seconds = NOW, .random = &w->random};

    how.path = name_in(path, w->dir, "x.vhd");
    how.bytes = VHD_SIZE_MAX + 1;
    assert_int_equal(vhd_create(xk_fs_posix(), &how, &w->err), -EFBIG);
    how.bytes = UINT64_MAX;
    assert_int_equal(vhd_create(xk_fs_posix(), &how, &w->err), -EFBIG);
    how.bytes = 1000;
    how.exact = true;
    assert_int_equal(vhd_create(xk_fs_posix(), &how, &w->err), -EINVAL);
    how.exact = false;
    how.bytes = 8 * XK_MIB;
    how.reserve_bytes = 4 * XK_MIB;
    assert_int_equal(vhd_create(xk_fs_posix(), &how, &w->err), -EINVAL);
    assert_int_equal(access(path, F_OK), -1);
    how.reserve_bytes = 0;
    assert_int_equal(vhd_create(xk_fs_posix(), &how, &w->err), 0);
    assert_int_equal(vhd_create(xk_fs_posix(), &how, &w->err), -EEXIST);
}

/* ---- faults and crashes ---- */

struct scene {
    char dir[XK_FAULT_PATH_MAX];
    char base[PATH_BYTES], disk[PATH_BYTES];
    struct xk_random random;
    uint8_t *old_disk, *new_disk; /* what disk.vhd holds before and after */
    uint64_t sector, count;
};

#define SCENE_FROM  3000u
#define SCENE_COUNT 6000u

static int prepare_write(void *state)
{
    struct scene *s = state;
    struct xk_err err = {0};

    xk_fault_folder_clear(s->dir, false);
    xk_random_seed(&s->random, 11);
    memset(s->old_disk, 0, DISK_BYTES);
    int code = create(xk_fs_posix(), s->base, VHD_DYNAMIC, &s->random, &err);
    xk_random_bytes(&s->random, s->old_disk, 5000 * VHD_SECTOR);
    if (code == 0)
        code = write_at(xk_fs_posix(), s->base, s->old_disk, 0, 5000, &err);
    if (code == 0)
        code = snapshot(xk_fs_posix(), s->disk, s->base, false, &s->random, &err);
    if (code == 0)
        code = write_at(xk_fs_posix(), s->disk, s->old_disk + 64 * VHD_SECTOR, 64, 100, &err);
    memcpy(s->new_disk, s->old_disk, DISK_BYTES);
    xk_random_bytes(&s->random, s->new_disk + SCENE_FROM * VHD_SECTOR, SCENE_COUNT * VHD_SECTOR);
    return code;
}

static int run_write(void *state, const struct xk_fs *fs, struct xk_err *err)
{
    struct scene *s = state;
    return write_at(fs, s->disk, s->new_disk + SCENE_FROM * VHD_SECTOR, SCENE_FROM, SCENE_COUNT, err);
}

/* Each sector is the old or the new one; with `done`, the new one. */
static int old_or_new(struct scene *s, const char *path, bool done, char why[XK_FAULT_WHY_MAX])
{
    struct vhd_chain chain;
    struct xk_err err = {0};
    int wrong = 0;

    /* A crash can lose the footer at the end while the one at the front stands. */
    const struct vhd_chain_options options = {.open_flags = VHD_BACKUP_OK};
    if (vhd_chain_open(&chain, xk_fs_posix(), path, &options, &err) < 0) {
        snprintf(why, XK_FAULT_WHY_MAX, "%s", err.text);
        return -EPROTO;
    }
    uint8_t *got = malloc(DISK_BYTES);
    if (!got || vhd_chain_read(&chain, got, 0, DISK_SECTORS, &err) < 0) {
        snprintf(why, XK_FAULT_WHY_MAX, "%s", err.text);
        wrong = -EPROTO;
    }
    for (size_t i = 0; !wrong && i < DISK_SECTORS; i++) {
        const size_t at = i * VHD_SECTOR;
        if (memcmp(got + at, s->new_disk + at, VHD_SECTOR) != 0 &&
            (done || memcmp(got + at, s->old_disk + at, VHD_SECTOR) != 0)) {
            snprintf(why, XK_FAULT_WHY_MAX, "sector %zu is neither old nor new", i);
            wrong = -EPROTO;
        }
    }
    free(got);
    vhd_chain_close(&chain);
    return wrong;
}

static int verify_write(void *state, const struct xk_fault_round *round, char why[XK_FAULT_WHY_MAX])
{
    struct scene *s = state;
    return old_or_new(s, s->disk, round->result == 0, why);
}

static int verify_write_crash(void *state, const char *folder, size_t n, char why[XK_FAULT_WHY_MAX])
{
    char path[PATH_BYTES];
    return old_or_new(state, name_in(path, folder, "disk.vhd"), false, why);
}

static void scene_begin(struct scene *s)
{
    assert_int_equal(xk_fault_folder_make(s->dir), 0);
    name_in(s->base, s->dir, "base.vhd");
    name_in(s->disk, s->dir, "disk.vhd");
    s->old_disk = malloc(DISK_BYTES);
    s->new_disk = malloc(DISK_BYTES);
    assert_true(s->old_disk && s->new_disk);
}

static void scene_end(struct scene *s)
{
    xk_fault_folder_clear(s->dir, true);
    free(s->old_disk);
    free(s->new_disk);
}

static void a_fault_while_writing_keeps_old_or_new(void **state)
{
    struct scene s = {0};
    char why[XK_FAULT_WHY_MAX] = "";

    scene_begin(&s);
    const struct xk_fault_case c = {"write", prepare_write, run_write, verify_write, &s, false};
    if (xk_fault_loop(&c, why) < 0)
        fail_msg("%s", why);
    scene_end(&s);
}

static void crash_everywhere(struct scene *s, int (*prepare)(void *),
                             int (*run)(void *, const struct xk_fs *, struct xk_err *),
                             int (*verify)(void *, const char *, size_t, char[XK_FAULT_WHY_MAX]), unsigned seeds)
{
    struct xk_fault_log log;
    struct xk_fault_fs faulty = {0};
    struct xk_err err = {0};
    char why[XK_FAULT_WHY_MAX] = "";

    assert_int_equal(prepare(s), 0);
    assert_int_equal(xk_fault_log_begin(&log, s->dir, &err), 0);
    xk_fault_fs_init(&faulty, xk_fs_posix());
    faulty.log = &log;
    assert_int_equal(run(s, &faulty.fs, &err), 0);
    assert_int_equal(log.error, 0);
    if (xk_crash_loop(&log, seeds, verify, s, why) < 0)
        fail_msg("%s", why);
    xk_fault_log_done(&log);
}

static void a_crash_while_writing_keeps_old_or_new(void **state)
{
    struct scene s = {0};
    scene_begin(&s);
    crash_everywhere(&s, prepare_write, run_write, verify_write_crash, 4);
    scene_end(&s);
}

static int prepare_base(void *state)
{
    struct scene *s = state;
    struct xk_err err = {0};
    xk_fault_folder_clear(s->dir, false);
    xk_random_seed(&s->random, 5);
    return create(xk_fs_posix(), s->base, VHD_DYNAMIC, &s->random, &err);
}

static int run_snapshot(void *state, const struct xk_fs *fs, struct xk_err *err)
{
    struct scene *s = state;
    return snapshot(fs, s->disk, s->base, false, &s->random, err);
}

static int run_create(void *state, const struct xk_fs *fs, struct xk_err *err)
{
    struct scene *s = state;
    return create(fs, s->base, VHD_FIXED, &s->random, err);
}

/* There is no such file, or a whole one. */
static int absent_or_whole(const char *path, bool must_be_there, char why[XK_FAULT_WHY_MAX])
{
    struct vhd image;
    struct xk_err err = {0};

    const int code = vhd_open(&image, xk_fs_posix(), path, VHD_READ, &err);
    if (code == 0)
        vhd_close(&image);
    if (code == 0 || (code == -ENOENT && !must_be_there))
        return 0;
    snprintf(why, XK_FAULT_WHY_MAX, "%s", err.text);
    return -EPROTO;
}

static int verify_disk(void *state, const struct xk_fault_round *round, char why[XK_FAULT_WHY_MAX])
{
    return absent_or_whole(((struct scene *)state)->disk, round->result == 0, why);
}
static int verify_base(void *state, const struct xk_fault_round *round, char why[XK_FAULT_WHY_MAX])
{
    return absent_or_whole(((struct scene *)state)->base, true, why); /* the old one or the new one */
}
static int verify_disk_crash(void *state, const char *folder, size_t n, char why[XK_FAULT_WHY_MAX])
{
    char path[PATH_BYTES];
    return absent_or_whole(name_in(path, folder, "disk.vhd"), false, why);
}
static int run_create_new(void *state, const struct xk_fs *fs, struct xk_err *err)
{
    struct scene *s = state;
    return create(fs, s->disk, VHD_FIXED, &s->random, err);
}
static int verify_base_crash(void *state, const char *folder, size_t n, char why[XK_FAULT_WHY_MAX])
{
    char path[PATH_BYTES];
    return absent_or_whole(name_in(path, folder, "base.vhd"), true, why);
}

static void faults_and_crashes_leave_no_half_image(void **state)
{
    struct scene s = {0};
    char why[XK_FAULT_WHY_MAX] = "";

    scene_begin(&s);
    const struct xk_fault_case snapshots = {"snapshot", prepare_base, run_snapshot, verify_disk, &s, false};
    if (xk_fault_loop(&snapshots, why) < 0)
        fail_msg("%s", why);
    const struct xk_fault_case creates = {"create over an image", prepare_base, run_create, verify_base, &s, false};
    if (xk_fault_loop(&creates, why) < 0)
        fail_msg("%s", why);
    crash_everywhere(&s, prepare_base, run_snapshot, verify_disk_crash, 8);
    crash_everywhere(&s, prepare_base, run_create, verify_base_crash, 8);
    crash_everywhere(&s, prepare_base, run_create_new, verify_disk_crash, 8);
    scene_end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(a_single_image_reads_back),
        WORLD_TEST(a_chain_of_thirty_reads_back),
        WORLD_TEST(a_chain_on_a_fixed_image_reads_back),
        WORLD_TEST(a_chain_on_a_raw_disk_reads_back),
        WORLD_TEST(a_chain_on_a_ragged_raw_disk_reads_back),
        WORLD_TEST(a_loop_ends),
        WORLD_TEST(a_chain_root_keeps_parents_inside),
        WORLD_TEST(snapshots_pass_over_empty_ones),
        WORLD_TEST(sizes_that_do_not_fit_are_refused),
        cmocka_unit_test(a_fault_while_writing_keeps_old_or_new),
        cmocka_unit_test(a_crash_while_writing_keeps_old_or_new),
        cmocka_unit_test(faults_and_crashes_leave_no_half_image),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
