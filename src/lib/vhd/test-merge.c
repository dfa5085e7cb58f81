/*
 * Merging: the target alone must read like the chain did, whatever its kind; the chain reads the same at every moment,
 * also when the merge is cut off.
 */
#include "lib/vhd/merge.h"
#include "core/text.h"
#include "lib/vhd/test-images.h"

#define LAYERS 4

/* A root of the given kind with LAYERS - 1 images above it; the model is what the top shows. */
struct stack {
    char path[LAYERS][PATH_BYTES];
    uint8_t *model;
};

static void stack_make(struct world *w, struct stack *s, enum vhd_type root, bool raw, int writes)
{
    char name[32];

    s->model = calloc(1, DISK_BYTES);
    assert_non_null(s->model);
    name_in(s->path[0], w->dir, raw ? "root.raw" : "root.vhd");
    if (raw) {
        const int fd = open(s->path[0], O_CREAT | O_WRONLY | O_TRUNC, 0600);
        assert_true(fd >= 0 && ftruncate(fd, (off_t)DISK_BYTES) == 0);
        close(fd);
    } else {
        assert_int_equal(create(xk_fs_posix(), s->path[0], root, &w->random, &w->err), 0);
        if (root == VHD_DYNAMIC)
            random_write(w, s->path[0], s->model);
    }
    for (int i = 1; i < LAYERS; i++) {
        snprintf(name, sizeof(name), "%d.vhd", i);
        name_in(s->path[i], w->dir, name);
        assert_int_equal(snapshot(xk_fs_posix(), s->path[i], s->path[i - 1], raw && i == 1, &w->random, &w->err), 0);
        for (int n = 0; n < writes; n++)
            random_write(w, s->path[i], s->model);
    }
}

static void assert_reads(struct world *w, const char *path, bool raw, const uint8_t *model)
{
    uint8_t *got = malloc(DISK_BYTES);
    assert_non_null(got);
    if (raw) {
        FILE *f = fopen(path, "rb");
        assert_non_null(f);
        assert_int_equal(fread(got, 1, DISK_BYTES, f), DISK_BYTES);
        fclose(f);
    } else {
        struct vhd_chain chain;
        if (vhd_chain_open(&chain, xk_fs_posix(), path, NULL, &w->err) < 0)
            fail_msg("%s", w->err.text);
        assert_int_equal(vhd_chain_read(&chain, got, 0, DISK_SECTORS, &w->err), 0);
        vhd_chain_close(&chain);
    }
    assert_memory_equal(got, model, DISK_BYTES);
    free(got);
}

static int merge(const struct xk_fs *fs, const char *top, const struct vhd_merge *how, struct vhd_merged *ret,
                 struct xk_err *err)
{
    struct vhd_chain chain;
    int code = vhd_chain_open(&chain, fs, top, NULL, err);
    if (code < 0)
        return code;
    code = vhd_merge_run(ret, &chain, fs, how, err);
    vhd_chain_close(&chain);
    return code;
}

static void merge_into(struct world *w, enum vhd_type root, bool raw)
{
    struct stack s;
    struct vhd_merged merged;

    stack_make(w, &s, root, raw, 3);
    const char *top = s.path[LAYERS - 1];
    assert_int_equal(merge(xk_fs_posix(), top, &(struct vhd_merge){.links = 1}, &merged, &w->err), 0);
    assert_true(merged.sectors > 0);
    assert_reads(w, s.path[LAYERS - 2], false, s.model);
    assert_reads(w, top, false, s.model);

    if (merge(xk_fs_posix(), top, &(struct vhd_merge){.links = LAYERS - 1}, &merged, &w->err) < 0)
        fail_msg("%s", w->err.text);
    assert_reads(w, s.path[0], raw, s.model);
    assert_reads(w, top, false, s.model);
    assert_int_equal(merge(xk_fs_posix(), top, &(struct vhd_merge){.links = LAYERS}, &merged, &w->err), -EINVAL);
    free(s.model);
}

static void merging_into_a_dynamic_root(void **state)
{
    merge_into(*state, VHD_DYNAMIC, false);
}
static void merging_into_a_fixed_root(void **state)
{
    merge_into(*state, VHD_FIXED, false);
}
static void merging_into_a_raw_root(void **state)
{
    merge_into(*state, VHD_DYNAMIC, true);
}

struct points {
    uint64_t last;
    unsigned count;
};

static int note_point(void *context, uint64_t sector)
{
    struct points *p = context;
    assert_true(sector > p->last);
    p->last = sector;
    return ++p->count == 1 ? 0 : -EPROTO;
}

static void a_merge_tells_where_it_is_safe(void **state)
{
    struct world *w = *state;
    struct stack s;
    struct vhd_merged merged;
    struct points points = {0};

    stack_make(w, &s, VHD_DYNAMIC, false, 3);
    const struct vhd_merge how = {.links = LAYERS - 1, .checkpoint = note_point, .context = &points};
    assert_int_equal(merge(xk_fs_posix(), s.path[LAYERS - 1], &how, &merged, &w->err), 0);
    assert_int_equal(points.count, 1);
    assert_int_equal(points.last, DISK_SECTORS);
    /* Going on from the end writes nothing. */
    const struct vhd_merge again = {.links = LAYERS - 1, .start_sector = points.last};
    assert_int_equal(merge(xk_fs_posix(), s.path[LAYERS - 1], &again, &merged, &w->err), 0);
    assert_int_equal(merged.sectors, 0);
    free(s.model);
}

static uint64_t frozen_ns(const struct xk_clock *clock)
{
    return *(uint64_t *)clock->state;
}
static void frozen_sleep(const struct xk_clock *clock, uint64_t ns)
{
    *(uint64_t *)clock->state += ns;
}

static void bandwidth_is_kept(void **state)
{
    struct world *w = *state;
    struct stack s;
    struct vhd_merged merged;
    uint64_t now_ns = 5;
    const struct xk_clock clock = {.monotonic_ns = frozen_ns, .sleep_ns = frozen_sleep, .state = &now_ns};

    stack_make(w, &s, VHD_DYNAMIC, false, 3);
    const struct vhd_merge how = {.links = 1, .bandwidth_bps = 8000000, .clock = &clock};
    assert_int_equal(merge(xk_fs_posix(), s.path[LAYERS - 1], &how, &merged, &w->err), 0);
    const double seconds = (double)(now_ns - 5) / (double)XK_NS_PER_S;
    const double expected = (double)merged.sectors * VHD_SECTOR / 1e6;
    assert_true(seconds > expected * 0.999 && seconds < expected * 1.001);
    free(s.model);
}

static void a_smaller_target_is_refused(void **state)
{
    struct world *w = *state;
    char base[PATH_BYTES], raw[PATH_BYTES];
    struct vhd_merged merged;
    uint8_t sector[VHD_SECTOR] = {1};

    name_in(raw, w->dir, "small.raw");
    name_in(base, w->dir, "top.vhd");
    int fd = open(raw, O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0 && ftruncate(fd, (off_t)DISK_BYTES) == 0);
    assert_int_equal(snapshot(xk_fs_posix(), base, raw, true, &w->random, &w->err), 0);
    assert_int_equal(write_at(xk_fs_posix(), base, sector, DISK_SECTORS - 1, 1, &w->err), 0);
    assert_int_equal(ftruncate(fd, (off_t)DISK_BYTES / 2), 0);
    close(fd);
    assert_int_equal(merge(xk_fs_posix(), base, &(struct vhd_merge){.links = 1}, &merged, &w->err), -ERANGE);
}

/* ---- cut off ---- */

struct cut {
    struct world w;
    struct stack s;
    bool made;
};

static int cut_prepare(void *state)
{
    struct cut *c = state;
    xk_fault_folder_clear(c->w.dir, false);
    free(c->s.model);
    xk_random_seed(&c->w.random, 3);
    stack_make(&c->w, &c->s, VHD_DYNAMIC, false, 1);
    return 0;
}

static int cut_run(void *state, const struct xk_fs *fs, struct xk_err *err)
{
    struct cut *c = state;
    struct vhd_merged merged;
    return merge(fs, c->s.path[LAYERS - 1], &(struct vhd_merge){.links = LAYERS - 1}, &merged, err);
}

static int reads_like(const char *path, const uint8_t *model, char why[XK_FAULT_WHY_MAX])
{
    struct vhd_chain chain;
    struct xk_err err = {0};
    const struct vhd_chain_options options = {.open_flags = VHD_BACKUP_OK};
    uint8_t *got = malloc(DISK_BYTES);
    int code = vhd_chain_open(&chain, xk_fs_posix(), path, &options, &err);

    if (code == 0) {
        code = got ? vhd_chain_read(&chain, got, 0, DISK_SECTORS, &err) : -ENOMEM;
        if (code == 0 && memcmp(got, model, DISK_BYTES) != 0)
            code = xk_fail(&err, -EPROTO, "the chain reads otherwise");
        vhd_chain_close(&chain);
    }
    free(got);
    if (code < 0)
        snprintf(why, XK_FAULT_WHY_MAX, "%s", err.text);
    return code;
}

static int cut_verify(void *state, const struct xk_fault_round *round, char why[XK_FAULT_WHY_MAX])
{
    struct cut *c = state;
    const int code = reads_like(c->s.path[LAYERS - 1], c->s.model, why);
    return code < 0 || round->result < 0 ? code : reads_like(c->s.path[0], c->s.model, why);
}

static int cut_verify_crash(void *state, const char *folder, size_t n, char why[XK_FAULT_WHY_MAX])
{
    struct cut *c = state;
    char path[PATH_BYTES];
    return reads_like(name_in(path, folder, xk_base_name(c->s.path[LAYERS - 1])), c->s.model, why);
}

static void a_merge_that_is_cut_off_changes_no_disk(void **state)
{
    struct cut c = {0};
    struct xk_fault_log log;
    struct xk_fault_fs recording = {0};
    char why[XK_FAULT_WHY_MAX] = "";

    assert_int_equal(xk_fault_folder_make(c.w.dir), 0);
    const struct xk_fault_case faults = {"merge", cut_prepare, cut_run, cut_verify, &c, false};
    if (xk_fault_loop(&faults, why) < 0)
        fail_msg("%s", why);

    assert_int_equal(cut_prepare(&c), 0);
    assert_int_equal(xk_fault_log_begin(&log, c.w.dir, &c.w.err), 0);
    xk_fault_fs_init(&recording, xk_fs_posix());
    recording.log = &log;
    assert_int_equal(cut_run(&c, &recording.fs, &c.w.err), 0);
    assert_int_equal(log.error, 0);
    if (xk_crash_loop(&log, 2, cut_verify_crash, &c, why) < 0)
        fail_msg("%s", why);
    xk_fault_log_done(&log);
    xk_fault_folder_clear(c.w.dir, true);
    free(c.s.model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(merging_into_a_dynamic_root),
        WORLD_TEST(merging_into_a_fixed_root),
        WORLD_TEST(merging_into_a_raw_root),
        WORLD_TEST(a_merge_tells_where_it_is_safe),
        WORLD_TEST(bandwidth_is_kept),
        WORLD_TEST(a_smaller_target_is_refused),
        cmocka_unit_test(a_merge_that_is_cut_off_changes_no_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
