/*
 * Changes of one image: what they do, that every moment at which they can be cut off leaves the old image or the new
 * one, and that they stop cleanly at every error.
 *
 * A header of 1024 bytes is taken to be written or not; the crashes that tear single sectors are for the others.
 */
#include "lib/vhd/modify.h"
#include "lib/vhd/repair.h"
#include "lib/vhd/test-images.h"

#include <sys/stat.h>

#define OLD_FILL   'b'
#define NEW_FILL   'o'
#define CHILD_FILL 'c'
#define CHILD_AT   8192u

static int put_letter(const char *path, uint64_t sector, char fill)
{
    uint8_t data[VHD_SECTOR];

    memset(data, fill, sizeof(data));
    return write_at(xk_fs_posix(), path, data, sector, 1, NULL);
}

/* base.vhd, other.vhd, and child.vhd on base.vhd, each with a sector of its own letter. */
static int make_chain(struct world *w)
{
    char base[PATH_BYTES], other[PATH_BYTES], child[PATH_BYTES];
    const struct xk_fs *fs = xk_fs_posix();

    xk_fault_folder_clear(w->dir, false);
    int code = create(fs, name_in(base, w->dir, "base.vhd"), VHD_DYNAMIC, &w->random, &w->err);
    if (code == 0)
        code = create(fs, name_in(other, w->dir, "other.vhd"), VHD_DYNAMIC, &w->random, &w->err);
    if (code == 0)
        code = put_letter(base, 0, OLD_FILL);
    if (code == 0)
        code = put_letter(other, 0, NEW_FILL);
    if (code == 0)
        code = snapshot(fs, name_in(child, w->dir, "child.vhd"), base, false, &w->random, &w->err);
    return code < 0 ? code : put_letter(child, CHILD_AT, CHILD_FILL);
}

/* ---- the changes ---- */

struct change {
    const char *name;
    int (*run)(struct world *w, struct vhd *v, struct xk_err *err);
    unsigned losses; /* crashes that lose single sectors; 0: the header is written */
    bool new_parent, discard;
    uint8_t hidden;
};

static int hide(struct world *w, struct vhd *v, struct xk_err *err)
{
    return vhd_set_hidden(v, 1, err);
}

static int mark_it(struct world *w, struct vhd *v, struct xk_err *err)
{
    return vhd_set_marker(v, 7, err);
}

static int reparent(struct world *w, struct vhd *v, struct xk_err *err)
{
    char other[PATH_BYTES];
    return vhd_reparent(v, &(struct vhd_reparent){.parent = name_in(other, w->dir, "other.vhd")}, err);
}

static int discard(struct world *w, struct vhd *v, struct xk_err *err)
{
    return vhd_discard(v, err);
}

static int repair(struct world *w, struct vhd *v, struct xk_err *err)
{
    return vhd_repair_footers(v, false, &w->random, err);
}

static const struct change changes[] = {
    {.name = "hidden", .run = hide, .losses = 8, .hidden = 1},
    {.name = "marker", .run = mark_it, .losses = 8},
    {.name = "reparent", .run = reparent, .new_parent = true},
    {.name = "discard", .run = discard, .losses = 8, .discard = true},
    {.name = "repair", .run = repair, .losses = 8},
};

struct running {
    struct world *world;
    const struct change *change;
    size_t record_count;
};

static int run_change(void *state, const struct xk_fs *fs, struct xk_err *err)
{
    const struct running *r = state;
    char child[PATH_BYTES];
    struct vhd v;

    int code = vhd_open(&v, fs, name_in(child, r->world->dir, "child.vhd"), VHD_WRITE, err);
    if (code == 0)
        code = r->change->run(r->world, &v, err);
    vhd_close(&v);
    return code;
}

/* ---- what may be there ---- */

/* returns   0; else why says what is wrong. */
static int look(const char *folder, const struct change *c, bool ended, char why[XK_FAULT_WHY_MAX])
{
    char child[PATH_BYTES];
    uint8_t first[VHD_SECTOR], own[VHD_SECTOR];
    struct vhd_chain chain;
    struct xk_err err = {0};

    int code = vhd_chain_open(&chain, xk_fs_posix(), name_in(child, folder, "child.vhd"), NULL, &err);
    if (code < 0) {
        snprintf(why, XK_FAULT_WHY_MAX, "it cannot be opened: %.600s", err.text);
        return code;
    }
    code = vhd_chain_read(&chain, first, 0, 1, &err);
    if (code == 0)
        code = vhd_chain_read(&chain, own, CHILD_AT, 1, &err);
    const uint8_t hidden = chain.layers[0].footer.hidden;
    const bool batmap_good = chain.layers[0].batmap_state == VHD_GOOD;
    vhd_chain_close(&chain);
    const bool old_parent = first[0] == OLD_FILL, new_parent = c->new_parent && first[0] == NEW_FILL;
    const bool old_data = own[0] == CHILD_FILL, new_data = c->discard && own[0] == 0;
    if (code < 0)
        snprintf(why, XK_FAULT_WHY_MAX, "it cannot be read: %.600s", err.text);
    else if ((!old_parent && !new_parent) || (!old_data && !new_data) || (hidden && hidden != c->hidden))
        snprintf(why, XK_FAULT_WHY_MAX, "it holds %02x and %02x, hidden %d", first[0], own[0], hidden);
    else if (ended && (new_parent != c->new_parent || new_data != c->discard || hidden != c->hidden || !batmap_good))
        snprintf(why, XK_FAULT_WHY_MAX, "it had ended well, but the image is not the new one");
    else
        return 0;
    return -EPROTO;
}

static int look_after_crash(void *state, const char *folder, size_t n, char why[XK_FAULT_WHY_MAX])
{
    const struct running *r = state;
    return look(folder, r->change, n == r->record_count, why);
}

static void test_crashes(void **state)
{
    struct world *w = *state;

    for (size_t i = 0; i < XK_COUNT(changes); i++) {
        struct running r = {.world = w, .change = &changes[i]};
        struct xk_fault_log log;
        struct xk_fault_fs f = {0};
        char why[XK_FAULT_WHY_MAX] = "";

        assert_int_equal(make_chain(w), 0);
        assert_int_equal(xk_fault_log_begin(&log, w->dir, &w->err), 0);
        xk_fault_fs_init(&f, xk_fs_posix());
        f.log = &log;
        assert_int_equal(run_change(&r, &f.fs, &w->err), 0);
        r.record_count = log.count;
        assert_true(log.count > 0);
        if (xk_crash_loop(&log, changes[i].losses, look_after_crash, &r, why) < 0)
            fail_msg("%s: %s", changes[i].name, why);
        xk_fault_log_done(&log);
    }
}

/* ---- errors ---- */

static int prepare(void *state)
{
    const struct running *r = state;
    return make_chain(r->world);
}

static int look_after_error(void *state, const struct xk_fault_round *round, char why[XK_FAULT_WHY_MAX])
{
    const struct running *r = state;
    /* A full file system leaves the hidden mark in the copy alone, and that counts as done. */
    const bool in_copy_only = round->fired && round->error == -ENOSPC && r->change->hidden;
    return look(r->world->dir, r->change, round->result == 0 && !in_copy_only, why);
}

static void test_errors(void **state)
{
    struct world *w = *state;

    for (size_t i = 0; i < XK_COUNT(changes); i++) {
        struct running r = {.world = w, .change = &changes[i]};
        char why[XK_FAULT_WHY_MAX] = "";
        const struct xk_fault_case c = {.name = changes[i].name,
                                        .prepare = prepare,
                                        .run = run_change,
                                        .verify = look_after_error,
                                        .state = &r,
                                        .any_error = true};
        if (xk_fault_loop(&c, why) < 0)
            fail_msg("%s: %s", changes[i].name, why);
    }
}

/* ---- single facts ---- */

static void open_child(struct vhd *v, struct world *w)
{
    char child[PATH_BYTES];
    assert_int_equal(make_chain(w), 0);
    assert_int_equal(vhd_open(v, xk_fs_posix(), name_in(child, w->dir, "child.vhd"), VHD_WRITE, &w->err), 0);
}

static void test_loop_is_refused(void **state)
{
    struct world *w = *state;
    char child[PATH_BYTES], grandchild[PATH_BYTES];
    struct vhd v;

    open_child(&v, w);
    name_in(child, w->dir, "child.vhd");
    name_in(grandchild, w->dir, "grandchild.vhd");
    assert_int_equal(snapshot(xk_fs_posix(), grandchild, child, false, &w->random, &w->err), 0);
    assert_int_equal(vhd_reparent(&v, &(struct vhd_reparent){.parent = child}, &w->err), -ELOOP);
    assert_int_equal(vhd_reparent(&v, &(struct vhd_reparent){.parent = grandchild}, &w->err), -ELOOP);
    vhd_close(&v);
}

static int refuse(void *context)
{
    return -ECANCELED;
}

static void test_stop_before_commit(void **state)
{
    struct world *w = *state;
    char other[PATH_BYTES], why[XK_FAULT_WHY_MAX] = "";
    const struct change nothing = {.name = "nothing"};
    struct vhd v;

    open_child(&v, w);
    const struct vhd_reparent how = {.parent = name_in(other, w->dir, "other.vhd"), .before_commit = refuse};
    assert_int_equal(vhd_reparent(&v, &how, &w->err), -ECANCELED);
    vhd_close(&v);
    if (look(w->dir, &nothing, true, why) < 0)
        fail_msg("%s", why);
}

static void test_file_end(void **state)
{
    struct world *w = *state;
    struct vhd v;

    open_child(&v, w);
    const uint64_t bytes = v.file_bytes;
    assert_int_equal(vhd_set_file_end(&v, bytes - VHD_SECTOR, &w->err), -EINVAL);
    assert_int_equal(vhd_set_file_end(&v, bytes + 1, &w->err), -EINVAL);
    assert_int_equal(vhd_set_file_end(&v, bytes + 8 * VHD_SECTOR, &w->err), 0);
    vhd_close(&v);
    char why[XK_FAULT_WHY_MAX] = "";
    const struct change nothing = {.name = "nothing"};
    if (look(w->dir, &nothing, true, why) < 0)
        fail_msg("%s", why);
}

static void test_block_outside_keeps_footers(void **state)
{
    struct world *w = *state;
    struct vhd v;

    open_child(&v, w);
    v.bat[1] = 0x00ffffff;
    assert_int_equal(vhd_set_hidden(&v, 1, &w->err), -EINVAL);
    vhd_close(&v);
}

static void test_zero_uuid_is_replaced(void **state)
{
    struct world *w = *state;
    struct vhd v;

    open_child(&v, w);
    memset(v.footer.uuid, 0, sizeof(v.footer.uuid));
    assert_int_equal(vhd_repair_footers(&v, false, &w->random, &w->err), 0);
    assert_false(vhd_uuid_is_null(v.footer.uuid));
    assert_memory_equal(v.end_footer.uuid, v.copy_footer.uuid, sizeof(v.footer.uuid));
    vhd_close(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(test_crashes),
        WORLD_TEST(test_errors),
        WORLD_TEST(test_loop_is_refused),
        WORLD_TEST(test_stop_before_commit),
        WORLD_TEST(test_file_end),
        WORLD_TEST(test_block_outside_keeps_footers),
        WORLD_TEST(test_zero_uuid_is_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
