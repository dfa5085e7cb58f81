/*
 * The state file: what was written comes back, a process that dies at any moment leaves the last group that was told
 * of, a failing disk loses nothing, damage is named and left alone.
 */
#include "lib/simpool/state.h"

#include "core/testing/fault.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
    struct xk_random random;
    char folder[XK_FAULT_PATH_MAX], path[XK_FAULT_PATH_MAX + 16];
};

static int64_t now_ns = INT64_C(1700000000) * INT64_C(1000000000);

static struct simpool *pool_open(struct fixture *f)
{
    static struct xk_clock clock;
    struct simpool *const p = xk_zalloc(sizeof(*p));

    assert_non_null(p);
    clock = xk_clock_frozen(&now_ns);
    p->notes = XK_BUF_INIT(65536);
    p->settings.random = &f->random;
    p->settings.clock = &clock;
    p->settings.speed = 1;
    p->started_utc_ns = now_ns;
    p->started_ns = clock.monotonic_ns(&clock);
    p->settings.hosts = 1;
    assert_int_equal(sim_db_open(p, NULL), 0);
    return p;
}

static void pool_close(struct simpool *p)
{
    sim_state_close(p);
    sim_identities_close(p);
    sim_db_close(p);
    xk_buf_done(&p->notes);
    free(p);
}

static void fill(struct simpool *p)
{
    struct sim_object *const pool = sim_create(p, "pool"), *const host = sim_create(p, "host"),
                             *const vm = sim_create(p, "VM"), *const vbd = sim_create(p, "VBD");

    sim_put_text(p, pool, "master", host->ref);
    memcpy(p->host_refs[0], host->ref, SIM_REF_BYTES);
    sim_put_text(p, vm, "name_label", "a \"name\" with ü and <&>");
    sim_put_text(p, vm, "resident_on", host->ref);
    sim_put_text(p, vbd, "VM", vm->ref);
    sim_put_map(p, vm, "other_config", (const char *const[]){"k", "v", "", "empty key", NULL});
    sim_put_list(p, vm, "tags", (const char *const[]){"one", "two", NULL});
    sim_put_int(p, vm, "memory_static_max", INT64_MIN);
    sim_put_time(p, vm, "snapshot_time", 1234567890);
    sim_put(p, vm, "HVM_shadow_multiplier", xapi_real(1.5));
    (void)sim_create(p, "task");
    (void)sim_create(p, "session");
    assert_int_equal(p->error, 0);
}

static int setup(void **state)
{
    struct fixture *const f = xk_zalloc(sizeof(*f));

    *state = f;
    xk_random_seed(&f->random, 1);
    if (xk_fault_folder_make(f->folder) < 0)
        return -1;
    snprintf(f->path, sizeof(f->path), "%s/state", f->folder);
    return 0;
}

static int teardown(void **state)
{
    struct fixture *const f = *state;

    xk_fault_folder_clear(f->folder, true);
    free(f);
    return 0;
}

/* All that is kept of a pool, as text. */
static char *picture(const struct simpool *p)
{
    struct xk_buf b = XK_BUF_INIT(1u << 24);

    for (unsigned i = 0; i < xapi_class_count; i++) {
        for (struct sim_object *o = p->classes[i].first; o && sim_state_keeps(&xapi_classes[i]); o = o->class_next) {
            struct xapi_raw record;
            assert_int_equal(sim_record(&record, o), 0);
            xk_buf_printf(&b, "%s %s %s\n", xapi_text(xapi_classes[i].name), o->ref, record.json);
        }
    }
    char *const text = xk_buf_take(&b);
    assert_non_null(text);
    return text;
}

static void what_was_written_comes_back(void **state)
{
    struct fixture *const f = *state;
    struct simpool *p = pool_open(f);

    assert_int_equal(sim_state_open(p, xk_fs_posix(), f->path, NULL), 0);
    fill(p);
    assert_int_equal(sim_state_begin(p, NULL), 0);
    struct sim_object *const vm = sim_first(p, "VM");
    sim_put_text(p, vm, "name_label", "another");
    assert_int_equal(sim_state_flush(p, NULL), 0);
    struct sim_object *const gone = sim_create(p, "VDI");
    assert_int_equal(sim_state_flush(p, NULL), 0);
    sim_delete(p, gone);
    (void)sim_create(p, "network");
    assert_int_equal(sim_state_flush(p, NULL), 0);
    xk_autofree char *before = picture(p);
    const uint64_t generation = p->generation;
    pool_close(p);

    p = pool_open(f);
    assert_int_equal(sim_state_open(p, xk_fs_posix(), f->path, NULL), 1);
    xk_autofree char *after = picture(p);
    assert_string_equal(before, after);
    assert_true(p->generation > generation);
    assert_int_equal(p->settings.hosts, 1);
    assert_null(sim_first(p, "task"));
    assert_null(sim_first(p, "session"));
    assert_string_equal(xk_buf_str(&p->notes), "");
    pool_close(p);
}

static void one_pool_at_a_time(void **state)
{
    struct fixture *const f = *state;
    struct simpool *const p = pool_open(f), *const other = pool_open(f);
    struct xk_err err = {0};

    assert_int_equal(sim_state_open(p, xk_fs_posix(), f->path, NULL), 0);
    fill(p);
    assert_int_equal(sim_state_begin(p, NULL), 0);
    assert_int_equal(sim_state_open(other, xk_fs_posix(), f->path, &err), -EBUSY);
    pool_close(other);
    pool_close(p);
}

/* Half the changes are large, so that the file is made anew several times on the way. */
static void change(struct simpool *p, unsigned i)
{
    static char large[64 << 10];
    struct sim_object *const vm = sim_first(p, "VM");

    if (i % 2) {
        sim_put_int(p, vm, "memory_target", i);
    } else {
        memset(large, 'a' + (int)(i % 26), sizeof(large) - 1);
        sim_put_text(p, vm, "name_description", large);
    }
}

static void a_log_that_grows_is_made_anew(void **state)
{
    struct fixture *const f = *state;
    struct simpool *p = pool_open(f);
    struct stat st;

    assert_int_equal(sim_state_open(p, xk_fs_posix(), f->path, NULL), 0);
    fill(p);
    assert_int_equal(sim_state_begin(p, NULL), 0);
    for (unsigned i = 0; i < 400; i++) {
        change(p, i);
        assert_int_equal(sim_state_flush(p, NULL), 0);
    }
    assert_int_equal(stat(f->path, &st), 0);
    assert_in_range(st.st_size, 1, 6 << 20); /* of 400 times 64 KiB */
    assert_int_equal(st.st_mode & 0777, 0600);
    xk_autofree char *before = picture(p);
    pool_close(p);
    p = pool_open(f);
    assert_int_equal(sim_state_open(p, xk_fs_posix(), f->path, NULL), 1);
    xk_autofree char *after = picture(p);
    assert_string_equal(before, after);
    pool_close(p);
}

/* ---- a file that is not as it was ---- */

struct bytes {
    char *data;
    size_t count;
};

static struct bytes slurp(const char *path)
{
    FILE *const file = fopen(path, "rb");
    struct bytes b = {.data = xk_alloc(1u << 20)};

    assert_true(file && b.data);
    b.count = fread(b.data, 1, 1u << 20, file);
    (void)fclose(file);
    return b;
}

static void spit(const char *path, const char *data, size_t count)
{
    FILE *const file = fopen(path, "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, count, file), count);
    assert_int_equal(fclose(file), 0);
}

/* A file of a snapshot and three groups; where they end is in `ends`. */
static struct bytes three_groups(struct fixture *f, size_t ends[4])
{
    struct simpool *const p = pool_open(f);
    struct stat st;

    assert_int_equal(sim_state_open(p, xk_fs_posix(), f->path, NULL), 0);
    fill(p);
    assert_int_equal(sim_state_begin(p, NULL), 0);
    for (unsigned i = 0; i < 4; i++) {
        if (i > 0) {
            sim_put_int(p, sim_first(p, "VM"), "memory_target", i);
            assert_int_equal(sim_state_flush(p, NULL), 0);
        }
        assert_int_equal(stat(f->path, &st), 0);
        ends[i] = (size_t)st.st_size;
    }
    pool_close(p);
    return slurp(f->path);
}

/* The number of the last group that is there, or the error. */
static int load_number(struct fixture *f, struct xk_err *err, bool *ret_noted)
{
    struct simpool *const p = pool_open(f);
    int code = sim_state_open(p, xk_fs_posix(), f->path, err);

    if (code == 1)
        code = (int)sim_int(sim_first(p, "VM"), "memory_target");
    if (ret_noted)
        *ret_noted = p->notes.len > 0;
    pool_close(p);
    return code;
}

static void a_group_that_was_not_whole_is_cut_off(void **state)
{
    struct fixture *const f = *state;
    size_t ends[4];
    struct bytes whole = three_groups(f, ends);
    bool noted;

    for (size_t size = ends[0]; size <= ends[3]; size++) {
        int want = 0;
        if (size % 11 && size != ends[1] && size != ends[2] && size != ends[3])
            continue;
        for (int i = 1; i < 4; i++)
            want = ends[i] <= size ? i : want;
        spit(f->path, whole.data, size);
        assert_int_equal(load_number(f, NULL, &noted), want);
        assert_int_equal(noted, size != ends[want]);
        /* It is gone for good. */
        struct stat st;
        assert_int_equal(stat(f->path, &st), 0);
        assert_int_equal(st.st_size, ends[want]);
    }
    /* As is a tail of which only the size came to the disk. */
    memset(whole.data + ends[2], 0, ends[3] - ends[2]);
    spit(f->path, whole.data, ends[3]);
    assert_int_equal(load_number(f, NULL, &noted), 2);
    assert_true(noted);
    free(whole.data);
}

static void damage_is_named_and_left_alone(void **state)
{
    struct fixture *const f = *state;
    size_t ends[4];
    struct bytes whole = three_groups(f, ends);
    struct xk_err err = {0};

    for (size_t i = 0; i < ends[3]; i++) {
        if (i > 60 && i < ends[2] && i % 101) /* not every byte of the long snapshot */
            continue;
        whole.data[i] ^= (char)(1 << (i % 8));
        spit(f->path, whole.data, ends[3]);
        const int code = load_number(f, &err, NULL);
        if (code != -EBADMSG && code != -ENOTSUP)
            fail_msg("a bit at %zu was not seen: %d %s", i, code, err.text);
        struct bytes now = slurp(f->path);
        assert_int_equal(now.count, ends[3]);
        assert_memory_equal(now.data, whole.data, ends[3]);
        free(now.data);
        whole.data[i] ^= (char)(1 << (i % 8));
    }
    /* The hint is true: what stands before the damage can be had. */
    whole.data[ends[2] + 60] ^= 1;
    spit(f->path, whole.data, ends[3]);
    assert_int_equal(load_number(f, &err, NULL), -EBADMSG);
    char hint[64];
    snprintf(hint, sizeof(hint), "truncate -s %zu", ends[2]);
    assert_non_null(strstr(err.hint, hint));
    spit(f->path, whole.data, ends[2]);
    assert_int_equal(load_number(f, NULL, NULL), 2);
    spit(f->path, whole.data, ends[0] - 1);
    assert_int_equal(load_number(f, NULL, NULL), -EBADMSG);
    spit(f->path, "", 0);
    assert_int_equal(load_number(f, NULL, NULL), -EBADMSG);
    free(whole.data);
}

/* ---- failing disks and crashes ---- */

struct loop {
    struct fixture *f;
    unsigned told, tried; /* the last change that was acknowledged, and the last one made */
};

static int prepare(void *state)
{
    struct loop *const l = state;

    (void)unlink(l->f->path);
    l->told = l->tried = 0;
    return 0;
}

/* A pool's life: begin, small and large groups, a new snapshot in the middle. */
static int live(void *state, const struct xk_fs *fs, struct xk_err *err)
{
    struct loop *const l = state;
    xk_fault_alloc_disarm(); /* the pool's own memory is another matter: here it is the disk that fails */
    struct simpool *const p = pool_open(l->f);
    int code = sim_state_open(p, fs, l->f->path, err);

    fill(p);
    if (code >= 0)
        code = sim_state_begin(p, err);
    for (unsigned i = 1; i <= 6 && code == 0; i++) {
        l->tried = i;
        sim_put_int(p, sim_first(p, "VM"), "memory_target", i);
        code = sim_state_flush(p, err);
        if (code == 0)
            l->told = i;
    }
    pool_close(p);
    return code;
}

static int look(void *state, const struct xk_fault_round *round, char why[XK_FAULT_WHY_MAX])
{
    struct loop *const l = state;
    struct xk_err err = {0};
    const int number = load_number(l->f, &err, NULL);

    if (number == 0 && l->told == 0)
        return 0;
    if (number < (int)l->told || number > (int)l->tried) {
        snprintf(why, XK_FAULT_WHY_MAX, "told %u, found %d %s", l->told, number, err.text);
        return -1;
    }
    return 0;
}

static void a_failing_disk_loses_nothing(void **state)
{
    struct loop l = {.f = *state};
    const struct xk_fault_case c = {.name = "state", .prepare = prepare, .run = live, .verify = look, .state = &l};
    char why[XK_FAULT_WHY_MAX] = "";

    if (xk_fault_loop(&c, why) != 0)
        fail_msg("%s", why);
}

/* Reading it back: each operation fails, and reads come in pieces. */
static int load_again(void *state, const struct xk_fs *fs, struct xk_err *err)
{
    struct loop *const l = state;
    xk_fault_alloc_disarm(); /* memory_runs_out_while_it_is_read() has that */
    struct simpool *const p = pool_open(l->f);

    const int code = sim_state_open(p, fs, l->f->path, err);
    if (code == 1 && sim_int(sim_first(p, "VM"), "memory_target") != 3)
        return xk_fail(err, -EBADMSG, "another group than the last");
    pool_close(p);
    return code < 0 ? code : 0;
}

static int make_groups(void *state)
{
    struct loop *const l = state;
    size_t ends[4];

    (void)unlink(l->f->path);
    free(three_groups(l->f, ends).data);
    l->told = l->tried = 3;
    return 0;
}

static void a_failing_disk_is_no_damage(void **state)
{
    struct loop l = {.f = *state};
    const struct xk_fault_case c = {
        .name = "load", .prepare = make_groups, .run = load_again, .verify = look, .state = &l};
    char why[XK_FAULT_WHY_MAX] = "";

    if (xk_fault_loop(&c, why) != 0)
        fail_msg("%s", why);
}

/* The next allocation to fail: each of the first hundred, then some. */
static uint64_t after(uint64_t at)
{
    return at < 100 ? at + 1 : at + 1 + at / 10;
}

static void memory_runs_out_while_it_is_read(void **state)
{
    struct fixture *const f = *state;
    size_t ends[4];
    struct bytes whole = three_groups(f, ends);
    bool fired = true;

    for (uint64_t at = 1; fired; at = after(at)) {
        const size_t live_before = xk_fault_alloc_live();
        struct simpool *const p = pool_open(f);
        struct xk_err err = {0};
        xk_fault_alloc_arm(at, at % 2);
        const int code = sim_state_open(p, xk_fs_posix(), f->path, &err);
        fired = xk_fault_alloc_fired();
        xk_fault_alloc_disarm();
        pool_close(p);
        assert_int_equal(xk_fault_alloc_live(), live_before);
        if (code != (fired ? -ENOMEM : 1))
            fail_msg("allocation %u: %d %s", (unsigned)at, code, err.text);
        struct bytes now = slurp(f->path);
        assert_int_equal(now.count, whole.count);
        assert_memory_equal(now.data, whole.data, whole.count);
        free(now.data);
    }
    assert_int_equal(load_number(f, NULL, NULL), 3);
    free(whole.data);
}

/* What could not be built is built by the next try: first the snapshot, then a group. */
static void memory_runs_out_while_it_is_written(void **state)
{
    struct fixture *const f = *state;
    bool fired = true;

    for (uint64_t at = 1; fired; at = after(at)) {
        (void)unlink(f->path);
        const size_t live_before = xk_fault_alloc_live();
        struct simpool *const p = pool_open(f);
        fill(p);
        assert_int_equal(sim_state_open(p, xk_fs_posix(), f->path, NULL), 0);
        fired = false;
        for (unsigned i = 0; i < 2; i++) {
            if (i > 0)
                sim_put_int(p, sim_first(p, "VM"), "memory_target", i);
            xk_fault_alloc_arm(at, at % 2);
            const int code = i == 0 ? sim_state_begin(p, NULL) : sim_state_flush(p, NULL);
            const bool failed = xk_fault_alloc_fired();
            xk_fault_alloc_disarm();
            assert_int_equal(code, failed ? -ENOMEM : 0);
            assert_int_equal(i == 0 ? sim_state_begin(p, NULL) : sim_state_flush(p, NULL), 0);
            fired = fired || failed;
        }
        pool_close(p);
        assert_int_equal(xk_fault_alloc_live(), live_before);
        assert_int_equal(load_number(f, NULL, NULL), 1);
    }
}

/* When there is room again, what could not be written follows. */
static void a_full_disk_is_made_up_for(void **state)
{
    struct fixture *const f = *state;
    struct simpool *p = pool_open(f);
    struct xk_fault_fs full;

    xk_fault_fs_init(&full, xk_fs_posix());
    assert_int_equal(sim_state_open(p, &full.fs, f->path, NULL), 0);
    fill(p);
    assert_int_equal(sim_state_begin(p, NULL), 0);
    full.which = XK_FAULT_SPACE;
    full.error = -ENOSPC;
    full.count = 0;
    full.fail_at = 1;
    full.sticky = true;
    for (unsigned i = 1; i < 5; i++) {
        sim_put_int(p, sim_first(p, "VM"), "memory_target", i);
        assert_int_equal(sim_state_flush(p, NULL), -ENOSPC);
    }
    full.fail_at = 0;
    full.sticky = false;
    assert_int_equal(sim_state_flush(p, NULL), 0);
    pool_close(p);
    assert_int_equal(load_number(f, NULL, NULL), 4);
}

int main(void)
{
#define T(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(what_was_written_comes_back),         T(one_pool_at_a_time),
        T(a_log_that_grows_is_made_anew),       T(a_group_that_was_not_whole_is_cut_off),
        T(damage_is_named_and_left_alone),      T(a_failing_disk_loses_nothing),
        T(a_failing_disk_is_no_damage),         T(memory_runs_out_while_it_is_read),
        T(memory_runs_out_while_it_is_written), T(a_full_disk_is_made_up_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
