/*
 * Repairs: every kind of deliberate damage on every kind of image, and each repair cut off at every moment. What was
 * repaired is sound and reads as before; what cannot be repaired stays as it is, with a reason.
 */
#include "lib/vhd/damage.h"
#include "lib/vhd/rebuild.h"
#include "lib/vhd/test-images.h"

#include <dirent.h>
#include <endian.h>
#include <time.h>
#include <unistd.h>

enum shape { DYNAMIC, CHILD, FIXED, SHAPES };

struct shop {
    struct world w;
    enum shape shape;
    const struct vhd_damage_kind *kind;
    char disk[PATH_BYTES], base[PATH_BYTES], undo[PATH_BYTES];
    uint8_t *model; /* what the disk must hold */
    uint8_t *hurt;  /* the damaged file */
    size_t hurt_bytes;
};

static uint8_t *slurp(const char *path, size_t *ret_bytes)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    *ret_bytes = (size_t)ftell(f);
    rewind(f);
    uint8_t *data = malloc(*ret_bytes);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, *ret_bytes, f), *ret_bytes);
    fclose(f);
    return data;
}

static void write_fixed_data(struct shop *s)
{
    FILE *f = fopen(s->disk, "r+b");
    assert_non_null(f);
    xk_random_bytes(&s->w.random, s->model, DISK_BYTES);
    assert_int_equal(fwrite(s->model, 1, DISK_BYTES, f), DISK_BYTES);
    fclose(f);
}

/* returns 0, or -ENOTSUP: this image cannot be damaged so. */
static int shop_prepare(void *state)
{
    struct shop *s = state;

    xk_fault_folder_clear(s->w.dir, false);
    xk_random_seed(&s->w.random, 41);
    memset(s->model, 0, DISK_BYTES);
    name_in(s->disk, s->w.dir, "disk.vhd");
    name_in(s->base, s->w.dir, "base.vhd");
    name_in(s->undo, s->w.dir, "disk.vhd.undo");
    int code = create(xk_fs_posix(), s->shape == CHILD ? s->base : s->disk, s->shape == FIXED ? VHD_FIXED : VHD_DYNAMIC,
                      &s->w.random, &s->w.err);
    if (code == 0 && s->shape == CHILD) {
        random_write(&s->w, s->base, s->model);
        code = snapshot(xk_fs_posix(), s->disk, s->base, false, &s->w.random, &s->w.err);
    }
    if (code == 0 && s->shape == FIXED)
        write_fixed_data(s);
    if (code == 0 && s->shape != FIXED) {
        /* A full block, and one with gaps; most of the disk stays free. */
        xk_random_bytes(&s->w.random, s->model, 3 * XK_MIB);
        code = write_at(xk_fs_posix(), s->disk, s->model, 0, 3 * XK_MIB / VHD_SECTOR, &s->w.err);
    }
    if (code == 0 && s->kind)
        code = vhd_damage_apply(s->kind, xk_fs_posix(), s->disk, &s->w.err);
    if (code == 0) {
        free(s->hurt);
        s->hurt = slurp(s->disk, &s->hurt_bytes);
    }
    return code;
}

static int shop_make(struct shop *s, enum shape shape, const struct vhd_damage_kind *kind)
{
    *s = (struct shop){.shape = shape, .kind = kind};
    assert_int_equal(xk_fault_folder_make(s->w.dir), 0);
    s->model = malloc(DISK_BYTES);
    assert_non_null(s->model);
    return shop_prepare(s);
}

static void shop_end(struct shop *s)
{
    xk_fault_folder_clear(s->w.dir, true);
    free(s->model);
    free(s->hurt);
}

/* The damaged image as it was, quickly: loops ask for it a thousand times. */
static int shop_again(void *state)
{
    struct shop *s = state;
    DIR *d = opendir(s->w.dir);
    const struct dirent *entry;
    FILE *f;

    if (!d)
        return -EIO;
    while ((entry = readdir(d)) != NULL) {
        if (strcmp(entry->d_name, "base.vhd") != 0)
            (void)unlinkat(dirfd(d), entry->d_name, 0);
    }
    (void)closedir(d);
    f = fopen(s->disk, "wb");
    const bool done = f && fwrite(s->hurt, 1, s->hurt_bytes, f) == s->hurt_bytes;
    return f && fclose(f) == 0 && done ? 0 : -EIO;
}

static struct vhd_rebuild_options options_for(struct shop *s)
{
    return (struct vhd_rebuild_options){
        .data = s->kind && strcmp(s->kind->name, "bitmap") == 0,
        .new_uuid = s->kind && strcmp(s->kind->name, "duplicate-uuid") == 0,
        .parent = s->kind && strncmp(s->kind->name, "parent-", 7) == 0 ? s->base : NULL,
        .unix_seconds = time(NULL), /* the parent's file has a time of today */
        .random = &s->w.random,
    };
}

static int shop_run(void *state, const struct xk_fs *fs, struct xk_err *err)
{
    struct shop *s = state;
    const struct vhd_rebuild_options options = options_for(s);
    struct vhd_rebuild *r = malloc(sizeof(*r));

    assert_non_null(r);
    int code = vhd_rebuild_plan(r, fs, s->disk, &options, err);
    if (code == 0 && r->step_count > 0)
        code = vhd_rebuild_apply(r, s->undo, err);
    vhd_rebuild_done(r);
    free(r);
    return code;
}

/* The worst thing that an audit with bitmaps and data has to say; its evidence in `why`. -1: nothing. */
static int worst_of(const char *path, bool data, char why[XK_FAULT_WHY_MAX])
{
    struct vhd v;
    struct vhd_problems problems = {0};
    const struct vhd_audit_options all = {.bitmaps = true, .data = data, .unix_seconds = time(NULL)};
    int worst = -1;

    why[0] = '\0';
    if (vhd_open(&v, xk_fs_posix(), path, VHD_LENIENT, NULL) < 0) {
        snprintf(why, XK_FAULT_WHY_MAX, "cannot be opened");
        return XK_CRITICAL;
    }
    assert_int_equal(vhd_audit(&problems, &v, &all, NULL), 0);
    vhd_close(&v);
    for (size_t i = 0; i < problems.count; i++) {
        if ((int)problems.items[i].severity > worst) {
            worst = (int)problems.items[i].severity;
            snprintf(why, XK_FAULT_WHY_MAX, "audit: %s", problems.items[i].evidence);
        }
    }
    vhd_problems_done(&problems);
    return worst;
}

static int same_content(const struct shop *s, const char *path, char why[XK_FAULT_WHY_MAX])
{
    struct vhd_chain chain;
    struct xk_err err = {0};

    if (vhd_chain_open(&chain, xk_fs_posix(), path, NULL, &err) < 0) {
        snprintf(why, XK_FAULT_WHY_MAX, "%s", err.text);
        return -EPROTO;
    }
    const uint64_t bytes = vhd_chain_bytes(&chain);
    uint8_t *got = malloc(DISK_BYTES);
    int code = bytes == DISK_BYTES ? vhd_chain_read(&chain, got, 0, DISK_SECTORS, &err)
                                   : xk_fail(&err, -EPROTO, "the disk has %llu bytes", (unsigned long long)bytes);
    if (code == 0 && memcmp(got, s->model, DISK_BYTES) != 0)
        code = xk_fail(&err, -EPROTO, "the content changed");
    free(got);
    vhd_chain_close(&chain);
    if (code < 0)
        snprintf(why, XK_FAULT_WHY_MAX, "%s", err.text);
    return code;
}

static bool is_hurt(const struct shop *s, const char *path)
{
    size_t bytes;
    uint8_t *now = slurp(path, &bytes);
    const bool same = bytes == s->hurt_bytes && memcmp(now, s->hurt, bytes) == 0;
    free(now);
    return same;
}

/* ---- every kind of damage ---- */

/* What nobody can repair, and (for some) only on one kind of image. */
static const struct {
    const char *name;
    bool only_fixed;
} hopeless[] = {
    {"poisoned", false},
    {"bat-overlap", false},
    {"truncated", false},
    {"not-vhd", true},
};

static bool is_hopeless(const struct shop *s)
{
    for (size_t i = 0; i < XK_COUNT(hopeless); i++) {
        if (strcmp(s->kind->name, hopeless[i].name) == 0)
            return !hopeless[i].only_fixed || s->shape == FIXED;
    }
    return false;
}

static void check_refused(struct shop *s)
{
    const struct vhd_rebuild_options options = options_for(s);
    struct vhd_rebuild *r = malloc(sizeof(*r));
    bool said = false;

    assert_non_null(r);
    if (vhd_rebuild_plan(r, xk_fs_posix(), s->disk, &options, &s->w.err) < 0)
        fail_msg("%s: %s", s->kind->name, s->w.err.text);
    for (size_t i = 0; i < r->left_count; i++) {
        if (r->left[i].severity == XK_CRITICAL)
            said |= strlen(r->left[i].why) > 40;
    }
    if (!said)
        fail_msg("%s on shape %d is left without a reason", s->kind->name, s->shape);
    assert_int_equal(r->step_count, 0);
    vhd_rebuild_done(r);
    free(r);
    assert_true(is_hurt(s, s->disk));
}

static void check_repaired(struct shop *s)
{
    char why[XK_FAULT_WHY_MAX];
    const bool hurts = worst_of(s->disk, options_for(s).data, why) >= XK_NOTE;

    if (shop_run(s, xk_fs_posix(), &s->w.err) < 0)
        fail_msg("%s on shape %d: %s", s->kind->name, s->shape, s->w.err.text);
    if (worst_of(s->disk, options_for(s).data, why) > XK_NOTE)
        fail_msg("%s on shape %d: %s", s->kind->name, s->shape, why);
    if (same_content(s, s->disk, why) < 0)
        fail_msg("%s on shape %d: %s", s->kind->name, s->shape, why);
    if (access(s->undo, F_OK) != 0) {
        /* Nothing was done: then it was no more than a note, or another file's matter. */
        assert_true(is_hurt(s, s->disk));
        return;
    }
    assert_true(hurts || options_for(s).new_uuid || options_for(s).parent);
    if (vhd_undo(xk_fs_posix(), s->disk, s->undo, &s->w.err) < 0)
        fail_msg("%s on shape %d: undo: %s", s->kind->name, s->shape, s->w.err.text);
    if (!is_hurt(s, s->disk))
        fail_msg("%s on shape %d: undo does not bring the old bytes back", s->kind->name, s->shape);
    assert_int_equal(access(s->undo, F_OK), -1);
}

static void each_damage_is_repaired_or_refused(void **state)
{
    for (int shape = 0; shape < SHAPES; shape++) {
        unsigned tried = 0;
        for (const struct vhd_damage_kind *k = vhd_damage_kinds; k->name; k++) {
            struct shop s;
            if (k->on == VHD_DAMAGE_CHILD && shape != CHILD)
                continue;
            /* One image by itself does not show it. */
            if (strcmp(k->name, "parent-size") == 0)
                continue;
            const int code = shop_make(&s, (enum shape)shape, k);
            if (code == 0) {
                tried++;
                if (is_hopeless(&s))
                    check_refused(&s);
                else
                    check_repaired(&s);
            } else if (code != -ENOTSUP) {
                fail_msg("%s: %s", k->name, s.w.err.text);
            }
            shop_end(&s);
        }
        assert_true(tried >= (shape == FIXED ? 6 : 25));
    }
}

static void a_sound_image_needs_nothing(void **state)
{
    for (int shape = 0; shape < SHAPES; shape++) {
        struct shop s;
        assert_int_equal(shop_make(&s, (enum shape)shape, NULL), 0);
        assert_int_equal(shop_run(&s, xk_fs_posix(), &s.w.err), 0);
        assert_int_equal(access(s.undo, F_OK), -1);
        assert_true(is_hurt(&s, s.disk));
        shop_end(&s);
    }
}

/* Two kinds of damage at once: the inner one shows only when the outer one is gone. */
static void damage_behind_damage_is_repaired(void **state)
{
    static const char *const pairs[][2] = {
        {"batmap", "header"},
        {"bat-past-end", "header-cookie"},
        {"geometry", "footer"},
        {"header", "not-vhd"},
    };
    for (size_t i = 0; i < XK_COUNT(pairs) - 1; i++) {
        struct shop s;
        char why[XK_FAULT_WHY_MAX];
        struct vhd v;
        assert_int_equal(shop_make(&s, DYNAMIC, vhd_damage_find(pairs[i][0])), 0);
        assert_int_equal(vhd_open(&v, xk_fs_posix(), s.disk, VHD_WRITE | VHD_LENIENT, &s.w.err), 0);
        assert_int_equal(vhd_damage_find(pairs[i][1])->change(&v, &s.w.err), 0);
        vhd_close(&v);
        if (shop_run(&s, xk_fs_posix(), &s.w.err) < 0)
            fail_msg("%s, %s: %s", pairs[i][0], pairs[i][1], s.w.err.text);
        if (worst_of(s.disk, false, why) > XK_NOTE || same_content(&s, s.disk, why) < 0)
            fail_msg("%s, %s: %s", pairs[i][0], pairs[i][1], why);
        shop_end(&s);
    }
}

/* All of the header is zeros: table and batmap say how it was. */
static void a_lost_header_is_found_again(void **state)
{
    struct shop s;
    char why[XK_FAULT_WHY_MAX];
    const uint8_t zeros[VHD_HEADER_BYTES] = {0};

    assert_int_equal(shop_make(&s, DYNAMIC, NULL), 0);
    FILE *f = fopen(s.disk, "r+b");
    assert_non_null(f);
    fseek(f, VHD_FOOTER_BYTES, SEEK_SET);
    assert_int_equal(fwrite(zeros, 1, sizeof(zeros), f), sizeof(zeros));
    fclose(f);
    if (shop_run(&s, xk_fs_posix(), &s.w.err) < 0)
        fail_msg("%s", s.w.err.text);
    if (worst_of(s.disk, true, why) > XK_NOTE || same_content(&s, s.disk, why) < 0)
        fail_msg("%s", why);
    shop_end(&s);
}

/* Every block of 2040 GiB has its place, none of them a byte in the file. */
static void make_full_table(const struct shop *s)
{
    struct world w = s->w;
    struct vhd v;
    uint8_t footer[VHD_FOOTER_BYTES];
    const struct vhd_create how = {
        .path = s->disk, .bytes = VHD_SIZE_MAX, .type = VHD_DYNAMIC, .unix_seconds = NOW, .random = &w.random};

    assert_int_equal(unlink(s->disk), 0);
    assert_int_equal(vhd_create(xk_fs_posix(), &how, &w.err), 0);
    assert_int_equal(vhd_open(&v, xk_fs_posix(), s->disk, VHD_WRITE, &w.err), 0);
    const uint64_t first = XK_ROUND_UP(vhd_data_end(&v) + VHD_SECTOR, VHD_PAGE) / VHD_SECTOR - 1;
    const uint64_t stride = (VHD_PAGE + (uint64_t)VHD_BLOCK_BYTES) / VHD_SECTOR;
    uint32_t *const table = malloc(v.blocks * sizeof(*table));
    assert_non_null(table);
    for (uint32_t i = 0; i < v.blocks; i++)
        table[i] = htobe32((uint32_t)(first + i * stride));
    vhd_footer_encode(footer, &v.footer);
    assert_int_equal(xk_file_write(&v.file, table, v.blocks * sizeof(*table), v.header.table_offset, &w.err), 0);
    assert_int_equal(xk_file_write(&v.file, footer, sizeof(footer), (first + v.blocks * stride) * VHD_SECTOR, &w.err),
                     0);
    /* And then the header is gone. */
    assert_int_equal(xk_file_write_zeros(&v.file, VHD_FOOTER_BYTES, VHD_FOOTER_BYTES + VHD_HEADER_BYTES, &w.err), 0);
    vhd_close(&v);
    free(table);
}

static void a_table_of_the_largest_disk_takes_no_time(void **state)
{
    struct shop s;
    char why[XK_FAULT_WHY_MAX];

    assert_int_equal(shop_make(&s, DYNAMIC, NULL), 0);
    make_full_table(&s);
    const clock_t begun = clock();
    if (shop_run(&s, xk_fs_posix(), &s.w.err) < 0)
        fail_msg("%s", s.w.err.text);
    const double seconds = (double)(clock() - begun) / CLOCKS_PER_SEC;
    if (worst_of(s.disk, true, why) > XK_NOTE)
        fail_msg("%s", why);
    if (seconds > 5)
        fail_msg("took %.1f s of processor time", seconds);
    shop_end(&s);
}

static void a_later_write_forbids_the_undo(void **state)
{
    struct shop s;

    assert_int_equal(shop_make(&s, DYNAMIC, vhd_damage_find("footer")), 0);
    assert_int_equal(shop_run(&s, xk_fs_posix(), &s.w.err), 0);
    assert_int_equal(shop_run(&s, xk_fs_posix(), &s.w.err), 0);
    /* A new block lies where the footer was. */
    assert_int_equal(write_at(xk_fs_posix(), s.disk, s.model, 12 * XK_MIB / VHD_SECTOR, 8, &s.w.err), 0);
    free(s.hurt);
    s.hurt = slurp(s.disk, &s.hurt_bytes);
    assert_int_equal(vhd_undo(xk_fs_posix(), s.disk, s.undo, &s.w.err), -ESTALE);
    assert_true(is_hurt(&s, s.disk));
    assert_int_equal(vhd_undo(xk_fs_posix(), s.disk, s.disk, &s.w.err), -EINVAL);
    /* A damaged undo file is not followed. */
    FILE *f = fopen(s.undo, "r+b");
    assert_non_null(f);
    fseek(f, 100, SEEK_SET);
    fputc('x', f);
    fclose(f);
    assert_int_equal(vhd_undo(xk_fs_posix(), s.disk, s.undo, &s.w.err), -EBADMSG);
    shop_end(&s);
}

static void an_undo_file_is_never_replaced(void **state)
{
    struct shop s;

    assert_int_equal(shop_make(&s, DYNAMIC, vhd_damage_find("footer")), 0);
    FILE *f = fopen(s.undo, "wb");
    assert_non_null(f);
    fclose(f);
    assert_int_equal(shop_run(&s, xk_fs_posix(), &s.w.err), -EEXIST);
    assert_true(is_hurt(&s, s.disk));
    shop_end(&s);
}

static void a_forgotten_journal(void **state)
{
    struct shop s;
    char why[XK_FAULT_WHY_MAX];

    assert_int_equal(shop_make(&s, DYNAMIC, vhd_damage_find("poisoned")), 0);
    struct vhd_rebuild_options options = options_for(&s);
    options.forget_journal = true;
    struct vhd_rebuild *r = malloc(sizeof(*r));
    assert_non_null(r);
    assert_int_equal(vhd_rebuild_plan(r, xk_fs_posix(), s.disk, &options, &s.w.err), 0);
    assert_int_equal(vhd_rebuild_apply(r, s.undo, &s.w.err), 0);
    vhd_rebuild_done(r);
    free(r);
    if (worst_of(s.disk, true, why) > XK_NOTE || same_content(&s, s.disk, why) < 0)
        fail_msg("%s", why);
    shop_end(&s);
}

/* ---- cut off ---- */

/* Old bytes, or sound with the right content; with an undo file also what that makes the old bytes again. */
static int old_or_new(const struct shop *s, const char *disk, const char *undo, char why[XK_FAULT_WHY_MAX])
{
    struct xk_err err = {0};

    if (access(undo, F_OK) == 0) {
        if (vhd_undo(xk_fs_posix(), disk, undo, &err) < 0) {
            snprintf(why, XK_FAULT_WHY_MAX, "undo: %s", err.text);
            return -EPROTO;
        }
        if (!is_hurt(s, disk)) {
            snprintf(why, XK_FAULT_WHY_MAX, "the undo file does not bring the old bytes back");
            return -EPROTO;
        }
        return 0;
    }
    if (is_hurt(s, disk))
        return 0;
    snprintf(why, XK_FAULT_WHY_MAX, "changed without an undo file");
    return -EPROTO;
}

static int verify_fault(void *state, const struct xk_fault_round *round, char why[XK_FAULT_WHY_MAX])
{
    struct shop *s = state;

    /* A parent that cannot be opened just now is as good as missing: then nothing is done, and that is no failure. */
    const bool done = round->result == 0 && (!round->fired || access(s->undo, F_OK) == 0);
    if (done && (worst_of(s->disk, options_for(s).data, why) > XK_NOTE || same_content(s, s->disk, why) < 0))
        return -EPROTO;
    return old_or_new(s, s->disk, s->undo, why);
}

static int verify_crash(void *state, const char *folder, size_t n, char why[XK_FAULT_WHY_MAX])
{
    struct shop *s = state;
    char disk[PATH_BYTES], undo[PATH_BYTES];
    return old_or_new(s, name_in(disk, folder, "disk.vhd"), name_in(undo, folder, "disk.vhd.undo"), why);
}

static void record(struct shop *s, struct xk_fault_log *log,
                   int (*run)(void *state, const struct xk_fs *fs, struct xk_err *err))
{
    struct xk_fault_fs recording = {0};

    assert_int_equal(xk_fault_log_begin(log, s->w.dir, &s->w.err), 0);
    xk_fault_fs_init(&recording, xk_fs_posix());
    recording.log = log;
    if (run(s, &recording.fs, &s->w.err) < 0)
        fail_msg("%s", s->w.err.text);
    assert_int_equal(log->error, 0);
}

static void cut_off(enum shape shape, const char *kind)
{
    struct shop s;
    struct xk_fault_log log;
    char why[XK_FAULT_WHY_MAX] = "";

    assert_int_equal(shop_make(&s, shape, vhd_damage_find(kind)), 0);
    const struct xk_fault_case faults = {"repair", shop_again, shop_run, verify_fault, &s, true};
    if (xk_fault_loop(&faults, why) < 0)
        fail_msg("%s: %s", kind, why);
    assert_int_equal(shop_again(&s), 0);
    record(&s, &log, shop_run);
    if (xk_crash_loop(&log, 2, verify_crash, &s, why) < 0)
        fail_msg("%s: %s", kind, why);
    xk_fault_log_done(&log);
    shop_end(&s);
}

static void cutting_off_a_moved_footer(void **state)
{
    cut_off(DYNAMIC, "trailing");
}
static void cutting_off_a_batmap(void **state)
{
    cut_off(DYNAMIC, "batmap-full");
}
static void cutting_off_locators(void **state)
{
    cut_off(CHILD, "locator");
}

static int undo_prepare(void *state)
{
    struct shop *s = state;
    const int code = shop_again(s);
    return code < 0 ? code : shop_run(s, xk_fs_posix(), &s->w.err);
}

static int undo_run(void *state, const struct xk_fs *fs, struct xk_err *err)
{
    struct shop *s = state;
    return vhd_undo(fs, s->disk, s->undo, err);
}

static int verify_undo_fault(void *state, const struct xk_fault_round *round, char why[XK_FAULT_WHY_MAX])
{
    struct shop *s = state;
    return old_or_new(s, s->disk, s->undo, why);
}

static void cutting_off_an_undo(void **state)
{
    struct shop s;
    struct xk_fault_log log;
    char why[XK_FAULT_WHY_MAX] = "";

    assert_int_equal(shop_make(&s, DYNAMIC, vhd_damage_find("trailing")), 0);
    const struct xk_fault_case faults = {"undo", undo_prepare, undo_run, verify_undo_fault, &s, true};
    if (xk_fault_loop(&faults, why) < 0)
        fail_msg("%s", why);
    assert_int_equal(undo_prepare(&s), 0);
    record(&s, &log, undo_run);
    if (xk_crash_loop(&log, 3, verify_crash, &s, why) < 0)
        fail_msg("%s", why);
    xk_fault_log_done(&log);
    shop_end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_damage_is_repaired_or_refused),
        cmocka_unit_test(a_sound_image_needs_nothing),
        cmocka_unit_test(damage_behind_damage_is_repaired),
        cmocka_unit_test(a_lost_header_is_found_again),
        cmocka_unit_test(a_table_of_the_largest_disk_takes_no_time),
        cmocka_unit_test(a_later_write_forbids_the_undo),
        cmocka_unit_test(an_undo_file_is_never_replaced),
        cmocka_unit_test(a_forgotten_journal),
        cmocka_unit_test(cutting_off_a_moved_footer),
        cmocka_unit_test(cutting_off_a_batmap),
        cmocka_unit_test(cutting_off_locators),
        cmocka_unit_test(cutting_off_an_undo),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
