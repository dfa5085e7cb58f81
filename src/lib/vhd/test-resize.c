/*
 * Resizing images of every kind, and cutting each resize off at every moment: after a revert the image has the old or
 * the new size, and what it held.
 */
#include "lib/vhd/audit.h"
#include "lib/vhd/resize.h"
#include "lib/vhd/test-images.h"

#include <signal.h>
#include <sys/wait.h>

enum shape {
    DYNAMIC,      /* blocks in the way of larger tables */
    EMPTY,        /* none */
    PREALLOCATED, /* tables for 8 GiB */
    CHILD,        /* locators behind the tables */
    FIXED,
    SHAPES,
};

struct shop {
    struct world w;
    enum shape shape;
    uint64_t bytes; /* asked for */
    bool journaled;
    char disk[PATH_BYTES], journal[PATH_BYTES];
    uint8_t *model; /* of the old disk */
};

static int shop_prepare(void *state)
{
    struct shop *s = state;
    char base[PATH_BYTES];

    xk_fault_folder_clear(s->w.dir, false);
    xk_random_seed(&s->w.random, 23);
    memset(s->model, 0, DISK_BYTES);
    name_in(s->disk, s->w.dir, "disk.vhd");
    name_in(s->journal, s->w.dir, "journal");
    name_in(base, s->w.dir, "base.vhd");
    struct vhd_create how = {.path = s->disk,
                             .bytes = DISK_BYTES,
                             .type = s->shape == FIXED ? VHD_FIXED : VHD_DYNAMIC,
                             .reserve_bytes = s->shape == PREALLOCATED ? 8 * XK_GIB : 0,
                             .unix_seconds = NOW,
                             .random = &s->w.random};
    int code = s->shape == CHILD ? create(xk_fs_posix(), base, VHD_DYNAMIC, &s->w.random, &s->w.err)
                                 : vhd_create(xk_fs_posix(), &how, &s->w.err);
    if (code == 0 && s->shape == CHILD)
        code = snapshot(xk_fs_posix(), s->disk, base, false, &s->w.random, &s->w.err);
    if (code == 0 && s->shape != EMPTY && s->shape != FIXED) {
        xk_random_bytes(&s->w.random, s->model + 100 * VHD_SECTOR, 5000 * VHD_SECTOR);
        code = write_at(xk_fs_posix(), s->disk, s->model + 100 * VHD_SECTOR, 100, 60, &s->w.err);
        memset(s->model + 160 * VHD_SECTOR, 0, 4000 * VHD_SECTOR);
        if (code == 0)
            code = write_at(xk_fs_posix(), s->disk, s->model + 4160 * VHD_SECTOR, 4160, 940, &s->w.err);
    }
    if (code == 0 && s->shape == FIXED) {
        xk_random_bytes(&s->w.random, s->model, DISK_BYTES);
        FILE *f = fopen(s->disk, "r+b");
        if (!f || fwrite(s->model, 1, DISK_BYTES, f) != DISK_BYTES)
            code = -EIO;
        if (f)
            fclose(f);
    }
    return code;
}

static void shop_make(struct shop *s, enum shape shape, uint64_t bytes, bool journaled)
{
    *s = (struct shop){.shape = shape, .bytes = bytes, .journaled = journaled};
    assert_int_equal(xk_fault_folder_make(s->w.dir), 0);
    s->model = malloc(DISK_BYTES);
    assert_non_null(s->model);
    assert_int_equal(shop_prepare(s), 0);
}

static void shop_end(struct shop *s)
{
    xk_fault_folder_clear(s->w.dir, true);
    free(s->model);
}

static int shop_run(void *state, const struct xk_fs *fs, struct xk_err *err)
{
    struct shop *s = state;
    struct vhd_resized resized;
    const struct vhd_resize how = {.bytes = s->bytes, .journal = s->journaled ? s->journal : NULL, .drop_data = true};
    return vhd_resize(&resized, fs, s->disk, &how, err);
}

static bool has_trouble(const char *path, char why[XK_FAULT_WHY_MAX])
{
    struct vhd v;
    struct vhd_problems problems = {0};
    struct xk_err err = {0};
    const struct vhd_audit_options all = {.bitmaps = true};

    if (vhd_open(&v, xk_fs_posix(), path, VHD_LENIENT, &err) < 0 || vhd_audit(&problems, &v, &all, &err) < 0) {
        snprintf(why, XK_FAULT_WHY_MAX, "%s", err.text);
        return true;
    }
    vhd_close(&v);
    for (size_t i = 0; i < problems.count; i++) {
        if (problems.items[i].severity < XK_WARNING)
            continue;
        snprintf(why, XK_FAULT_WHY_MAX, "audit: %s", problems.items[i].evidence);
        return true;
    }
    return false;
}

struct zeros {
    const struct vhd_chain *chain;
    struct xk_err *err;
};

/* What an image stores behind the old end must be zeros. */
static int must_be_zeros(void *context, const struct vhd_extent *e)
{
    const struct zeros *z = context;
    uint8_t sector[VHD_SECTOR];

    for (uint64_t i = 0; e->layer != VHD_LAYER_ZERO && i < e->sectors; i++) {
        if (vhd_chain_read(z->chain, sector, e->start + i, 1, z->err) < 0)
            return -EPROTO;
        for (size_t b = 0; b < sizeof(sector); b++) {
            if (sector[b])
                return xk_fail(z->err, -EPROTO, "sector %llu is new and not zero", (unsigned long long)(e->start + i));
        }
    }
    return 0;
}

/* The size is one of two, the image sound, and its sectors those of the old disk; what is new reads as zeros. */
static int sound(const struct shop *s, const char *path, bool must_be_new, bool audited, char why[XK_FAULT_WHY_MAX])
{
    struct vhd_chain chain;
    struct xk_err err = {0};

    if (audited && has_trouble(path, why))
        return -EPROTO;
    const struct vhd_chain_options options = {.open_flags = VHD_BACKUP_OK};
    if (vhd_chain_open(&chain, xk_fs_posix(), path, &options, &err) < 0) {
        snprintf(why, XK_FAULT_WHY_MAX, "%s", err.text);
        return -EPROTO;
    }
    const uint64_t bytes = vhd_chain_bytes(&chain);
    const size_t same = bytes < DISK_BYTES ? (size_t)bytes : DISK_BYTES;
    uint8_t *got = malloc(same);
    int code = got ? vhd_chain_read(&chain, got, 0, same / VHD_SECTOR, &err) : -ENOMEM;
    if (code == 0 && bytes != s->bytes && (must_be_new || bytes != DISK_BYTES))
        code = xk_fail(&err, -EPROTO, "the disk has %llu bytes", (unsigned long long)bytes);
    if (code == 0 && memcmp(got, s->model, same) != 0)
        code = xk_fail(&err, -EPROTO, "a sector changed");
    if (code == 0)
        code = vhd_chain_map(&chain, same / VHD_SECTOR, (bytes - same) / VHD_SECTOR, must_be_zeros,
                             &(struct zeros){&chain, &err}, &err);
    free(got);
    vhd_chain_close(&chain);
    if (code < 0)
        snprintf(why, XK_FAULT_WHY_MAX, "%s", err.text);
    return code;
}

static const struct {
    enum shape shape;
    uint64_t bytes;
    bool journaled;
} changes[] = {
    {DYNAMIC, 900 * XK_MIB, true},      {EMPTY, 900 * XK_MIB, true},  {CHILD, 600 * XK_MIB, true},
    {PREALLOCATED, 100 * XK_MIB, true}, {DYNAMIC, 20 * XK_MIB, true}, {PREALLOCATED, 64 * XK_MIB, false},
    {DYNAMIC, 8 * XK_MIB, false},       {FIXED, 24 * XK_MIB, true},   {FIXED, 8 * XK_MIB, true},
};

static void each_change_keeps_the_data(void **state)
{
    for (size_t i = 0; i < XK_COUNT(changes); i++) {
        struct shop s;
        char why[XK_FAULT_WHY_MAX] = "";
        shop_make(&s, changes[i].shape, changes[i].bytes, changes[i].journaled);
        if (shop_run(&s, xk_fs_posix(), &s.w.err) < 0)
            fail_msg("change %zu: %s", i, s.w.err.text);
        if (sound(&s, s.disk, true, true, why) < 0)
            fail_msg("change %zu: %s", i, why);
        assert_int_equal(access(s.journal, F_OK), -1);
        shop_end(&s);
    }
}

static void growing_and_shrinking_again_shows_nothing_old(void **state)
{
    struct shop s;
    struct vhd_resized resized;
    char why[XK_FAULT_WHY_MAX] = "";

    shop_make(&s, PREALLOCATED, 4 * XK_MIB, false);
    assert_int_equal(shop_run(&s, xk_fs_posix(), &s.w.err), 0);
    const struct vhd_resize grow = {.bytes = DISK_BYTES};
    assert_int_equal(vhd_resize(&resized, xk_fs_posix(), s.disk, &grow, &s.w.err), 0);
    memset(s.model + 4 * XK_MIB, 0, DISK_BYTES - 4 * XK_MIB);
    s.bytes = DISK_BYTES;
    if (sound(&s, s.disk, true, true, why) < 0)
        fail_msg("%s", why);
    shop_end(&s);
}

static void what_cannot_be_is_refused(void **state)
{
    struct shop s;
    struct vhd_resized resized;

    shop_make(&s, DYNAMIC, 900 * XK_MIB, true);
    uint8_t *last = s.model + DISK_BYTES - VHD_SECTOR;
    memset(last, 7, VHD_SECTOR);
    assert_int_equal(write_at(xk_fs_posix(), s.disk, last, DISK_SECTORS - 1, 1, &s.w.err), 0);
    struct vhd_resize how = {.bytes = 900 * XK_MIB};
    assert_int_equal(vhd_resize(&resized, xk_fs_posix(), s.disk, &how, &s.w.err), -EINVAL);
    how.bytes = VHD_SIZE_MAX + VHD_SECTOR;
    assert_int_equal(vhd_resize(&resized, xk_fs_posix(), s.disk, &how, &s.w.err), -EFBIG);
    how.bytes = 4 * XK_MIB;
    assert_int_equal(vhd_resize(&resized, xk_fs_posix(), s.disk, &how, &s.w.err), -ENOTEMPTY);
    how = (struct vhd_resize){.bytes = 900 * XK_MIB, .journal = s.disk};
    assert_int_equal(vhd_resize(&resized, xk_fs_posix(), s.disk, &how, &s.w.err), -EEXIST);
    char why[XK_FAULT_WHY_MAX] = "";
    assert_int_equal(sound(&s, s.disk, false, true, why), 0);
    shop_end(&s);
}

static int cancel(void *context, enum vhd_resize_stage stage)
{
    return stage == *(enum vhd_resize_stage *)context ? -ECANCELED : 0;
}

static void each_stage_can_be_reverted(void **state)
{
    for (int stage = VHD_RESIZE_BEGUN; stage <= VHD_RESIZE_ENDED; stage++) {
        struct shop s;
        struct vhd_resized resized;
        enum vhd_resize_stage at = (enum vhd_resize_stage)stage;
        enum vhd_revert outcome;
        struct vhd v;
        char why[XK_FAULT_WHY_MAX] = "";

        shop_make(&s, DYNAMIC, 900 * XK_MIB, true);
        const struct vhd_resize how = {.bytes = s.bytes, .journal = s.journal, .stage = cancel, .context = &at};
        assert_int_equal(vhd_resize(&resized, xk_fs_posix(), s.disk, &how, &s.w.err), -ECANCELED);
        assert_int_equal(vhd_open(&v, xk_fs_posix(), s.disk, VHD_READ, &s.w.err), -EBADMSG);
        if (vhd_revert(&outcome, xk_fs_posix(), s.disk, s.journal, NULL, &s.w.err) < 0)
            fail_msg("%s", s.w.err.text);
        assert_int_equal(outcome, VHD_REVERT_UNDONE);
        s.bytes = DISK_BYTES;
        if (sound(&s, s.disk, true, true, why) < 0)
            fail_msg("%s", why);
        assert_int_equal(access(s.journal, F_OK), -1);
        shop_end(&s);
    }
}

struct watched {
    enum vhd_resize_stage stop_at;
    uint64_t done, total;
    unsigned calls;
    bool backwards;
};

static int stop_at(void *context, enum vhd_resize_stage stage)
{
    return stage == ((struct watched *)context)->stop_at ? -ECANCELED : 0;
}

static void watch(void *context, uint64_t done, uint64_t total)
{
    struct watched *w = context;
    w->backwards = w->backwards || done < w->done || done > total;
    w->done = done;
    w->total = total;
    w->calls++;
}

static void progress_runs_to_its_end(void **state)
{
    struct shop s;
    struct vhd_resized resized;
    enum vhd_revert outcome;
    struct watched w = {.stop_at = VHD_RESIZE_ENDED};

    shop_make(&s, DYNAMIC, 900 * XK_MIB, true);
    const struct vhd_resize how = {
        .bytes = s.bytes, .journal = s.journal, .stage = stop_at, .progress = watch, .context = &w};
    assert_int_equal(vhd_resize(&resized, xk_fs_posix(), s.disk, &how, &s.w.err), -ECANCELED);
    assert_true(w.calls > 1 && !w.backwards && w.done == w.total && w.total > 2 * XK_MIB);

    w = (struct watched){0};
    const struct vhd_revert_how back = {.progress = watch, .context = &w};
    assert_int_equal(vhd_revert(&outcome, xk_fs_posix(), s.disk, s.journal, &back, &s.w.err), 0);
    assert_true(w.calls > 1 && !w.backwards && w.done > w.total * 9 / 10);
    shop_end(&s);
}

static void ask_for_a_stop(void *context, uint64_t done, uint64_t total)
{
    if (done < total)
        (void)raise(SIGTERM);
}

/* In a process of its own: the wish to stop stays for good. */
static void a_stop_is_undone(void **state)
{
    struct shop s;
    struct vhd_resized resized;
    char why[XK_FAULT_WHY_MAX] = "";
    int status;

    shop_make(&s, DYNAMIC, 900 * XK_MIB, true);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        const struct vhd_resize how = {.bytes = s.bytes, .journal = s.journal, .progress = ask_for_a_stop};
        xk_stop_install();
        _exit(vhd_resize(&resized, xk_fs_posix(), s.disk, &how, NULL) == -EINTR ? 42 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 42);
    assert_int_equal(access(s.journal, F_OK), -1);
    s.bytes = DISK_BYTES;
    if (sound(&s, s.disk, true, true, why) < 0)
        fail_msg("%s", why);
    shop_end(&s);
}

static void a_journal_of_another_image_is_refused(void **state)
{
    struct shop s;
    struct vhd_resized resized;
    enum vhd_resize_stage at = VHD_RESIZE_BEGUN;
    enum vhd_revert outcome;
    char other[PATH_BYTES];

    shop_make(&s, DYNAMIC, 900 * XK_MIB, true);
    const struct vhd_resize how = {.bytes = s.bytes, .journal = s.journal, .stage = cancel, .context = &at};
    assert_int_equal(vhd_resize(&resized, xk_fs_posix(), s.disk, &how, &s.w.err), -ECANCELED);
    assert_int_equal(create(xk_fs_posix(), name_in(other, s.w.dir, "other.vhd"), VHD_DYNAMIC, &s.w.random, &s.w.err),
                     0);
    assert_int_equal(vhd_revert(&outcome, xk_fs_posix(), other, s.journal, NULL, &s.w.err), -EINVAL);
    assert_int_equal(vhd_revert(&outcome, xk_fs_posix(), s.disk, other, NULL, &s.w.err), -EINVAL);

    /* A damaged entry: nothing is changed. */
    FILE *f = fopen(s.journal, "r+b");
    assert_non_null(f);
    fseek(f, 700, SEEK_SET);
    fputc('x', f);
    fclose(f);
    assert_int_equal(vhd_revert(&outcome, xk_fs_posix(), s.disk, s.journal, NULL, &s.w.err), -EBADMSG);
    shop_end(&s);
}

/* ---- cut off ---- */

static int verify_fault(void *state, const struct xk_fault_round *round, char why[XK_FAULT_WHY_MAX])
{
    struct shop *s = state;
    enum vhd_revert outcome;
    struct xk_err err = {0};

    if (s->journaled && access(s->journal, F_OK) == 0 &&
        vhd_revert(&outcome, xk_fs_posix(), s->disk, s->journal, NULL, &err) < 0) {
        snprintf(why, XK_FAULT_WHY_MAX, "revert: %s", err.text);
        return -EPROTO;
    }
    return sound(s, s->disk, round->result == 0, s->journaled, why);
}

static int verify_crash(void *state, const char *folder, size_t n, char why[XK_FAULT_WHY_MAX])
{
    struct shop *s = state;
    char disk[PATH_BYTES], journal[PATH_BYTES];
    enum vhd_revert outcome;
    struct xk_err err = {0};

    name_in(disk, folder, "disk.vhd");
    name_in(journal, folder, "journal");
    if (access(journal, F_OK) == 0 && vhd_revert(&outcome, xk_fs_posix(), disk, journal, NULL, &err) < 0) {
        snprintf(why, XK_FAULT_WHY_MAX, "revert: %s", err.text);
        return -EPROTO;
    }
    return sound(s, disk, false, s->journaled, why);
}

static void cut_off(enum shape shape, uint64_t bytes, bool journaled)
{
    struct shop s;
    struct xk_fault_log log;
    struct xk_fault_fs recording = {0};
    char why[XK_FAULT_WHY_MAX] = "";

    shop_make(&s, shape, bytes, journaled);
    const struct xk_fault_case faults = {"resize", shop_prepare, shop_run, verify_fault, &s, false};
    if (xk_fault_loop(&faults, why) < 0)
        fail_msg("%s", why);

    assert_int_equal(shop_prepare(&s), 0);
    assert_int_equal(xk_fault_log_begin(&log, s.w.dir, &s.w.err), 0);
    xk_fault_fs_init(&recording, xk_fs_posix());
    recording.log = &log;
    assert_int_equal(shop_run(&s, &recording.fs, &s.w.err), 0);
    assert_int_equal(log.error, 0);
    if (xk_crash_loop(&log, 1, verify_crash, &s, why) < 0)
        fail_msg("%s", why);
    xk_fault_log_done(&log);
    shop_end(&s);
}

static void cutting_off_a_grow_with_moved_blocks(void **state)
{
    cut_off(DYNAMIC, 300 * XK_MIB, true);
}
static void cutting_off_a_grow_of_a_child(void **state)
{
    cut_off(CHILD, 300 * XK_MIB, true);
}
static void cutting_off_a_grow_inside_the_tables(void **state)
{
    cut_off(PREALLOCATED, 64 * XK_MIB, false);
}
static void cutting_off_a_shrink(void **state)
{
    cut_off(DYNAMIC, 8 * XK_MIB, false);
}
static void cutting_off_a_fixed_grow(void **state)
{
    cut_off(FIXED, 19 * XK_MIB, true);
}
static void cutting_off_a_fixed_shrink(void **state)
{
    cut_off(FIXED, 8 * XK_MIB, true);
}

/* The journal's own recovery, cut off and done again. */
static int revert_prepare(void *state)
{
    struct shop *s = state;
    struct vhd_resized resized;
    enum vhd_resize_stage at = VHD_RESIZE_ENDED;
    const struct vhd_resize how = {.bytes = 300 * XK_MIB, .journal = s->journal, .stage = cancel, .context = &at};

    const int code = shop_prepare(s);
    if (code < 0)
        return code;
    return vhd_resize(&resized, xk_fs_posix(), s->disk, &how, &s->w.err) == -ECANCELED ? 0 : -EIO;
}

static int revert_run(void *state, const struct xk_fs *fs, struct xk_err *err)
{
    struct shop *s = state;
    enum vhd_revert outcome;
    return vhd_revert(&outcome, fs, s->disk, s->journal, NULL, err);
}

static void cutting_off_a_revert(void **state)
{
    struct shop s;
    char why[XK_FAULT_WHY_MAX] = "";

    shop_make(&s, DYNAMIC, DISK_BYTES, true);
    const struct xk_fault_case faults = {"revert", revert_prepare, revert_run, verify_fault, &s, false};
    if (xk_fault_loop(&faults, why) < 0)
        fail_msg("%s", why);
    shop_end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_change_keeps_the_data),
        cmocka_unit_test(growing_and_shrinking_again_shows_nothing_old),
        cmocka_unit_test(what_cannot_be_is_refused),
        cmocka_unit_test(each_stage_can_be_reverted),
        cmocka_unit_test(progress_runs_to_its_end),
        cmocka_unit_test(a_stop_is_undone),
        cmocka_unit_test(a_journal_of_another_image_is_refused),
        cmocka_unit_test(cutting_off_a_grow_with_moved_blocks),
        cmocka_unit_test(cutting_off_a_grow_of_a_child),
        cmocka_unit_test(cutting_off_a_grow_inside_the_tables),
        cmocka_unit_test(cutting_off_a_shrink),
        cmocka_unit_test(cutting_off_a_fixed_grow),
        cmocka_unit_test(cutting_off_a_fixed_shrink),
        cmocka_unit_test(cutting_off_a_revert),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
