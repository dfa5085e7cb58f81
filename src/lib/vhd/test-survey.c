/* The survey: trees, loops, doubles, leftovers, parents elsewhere, space; and what it does when memory or I/O fail. */
#include "lib/vhd/test-folder.h"

#include "core/testing/fault.h"
#include "core/text.h"

#include <sys/stat.h>
#include <time.h>

#define BLOCK UINT64_C(2097152)

static int set_up(void **state)
{
    static const struct folder empty = {0};
    struct folder *const f = malloc(sizeof(*f));
    if (!f)
        return -1;
    *f = empty;
    folder_make(f);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    folder_remove(*state);
    free(*state);
    return 0;
}

static const struct vhd_survey_options everything = {
    .recurse = true,
    .tables = true,
    .audit = {.bitmaps = true, .unix_seconds = TEST_NOW},
    .follow_parents = true,
};

static size_t index_of(const struct vhd_survey *s, const char *name)
{
    return (size_t)(image_named(s, name) - s->images);
}

static void make_chain(struct folder *f, unsigned depth)
{
    char name[32], parent[32];
    make_image(f, "c000.vhd", VHD_DYNAMIC, 4 * BLOCK, 0);
    for (unsigned i = 1; i < depth; i++) {
        snprintf(name, sizeof(name), "c%03u.vhd", i);
        snprintf(parent, sizeof(parent), "c%03u.vhd", i - 1);
        make_child(f, name, parent, false);
        set_hidden(f, parent);
    }
}

static void test_a_chain_of_thirty_is_sound(void **state)
{
    struct folder *const f = *state;
    struct vhd_survey s;
    char name[32];
    make_chain(f, 30);
    survey_folder(&s, f, &everything);
    assert_int_equal(s.count, 30);
    for (unsigned i = 0; i < 30; i++) {
        snprintf(name, sizeof(name), "c%03u.vhd", i);
        assert_string_equal(s.images[i].name, name);
        assert_int_equal(s.images[i].depth, i + 1);
        assert_int_equal(s.images[i].parent, i ? i - 1 : VHD_NO_IMAGE);
        assert_int_equal(s.images[i].children, i < 29);
        print_problems(name, s.images[i].problems);
        assert_int_equal(s.images[i].problems->count, 0);
    }
    vhd_survey_done(&s);
}

static void test_deeper_chains_are_named_once(void **state)
{
    struct folder *const f = *state;
    struct vhd_survey s;
    make_chain(f, 32);
    survey_folder(&s, f, &everything);
    for (unsigned i = 0; i < 32; i++)
        assert_int_equal(s.images[i].problems->count, i == 31);
    assert_int_equal(s.images[31].depth, 32);
    assert_int_equal(s.images[31].problems->items[0].kind, VHD_P_DEEP);
    assert_int_equal(s.images[31].problems->items[0].severity, XK_WARNING);
    vhd_survey_done(&s);
}

static void test_children_stand_in_order(void **state)
{
    struct folder *const f = *state;
    struct vhd_survey s;
    static const char *const names[] = {"b.vhd", "c.vhd", "d.vhd", "e.vhd"};
    make_image(f, "a.vhd", VHD_DYNAMIC, 4 * BLOCK, 0);
    for (size_t i = XK_COUNT(names); i-- > 0;)
        make_child(f, names[i], "a.vhd", false);
    survey_folder(&s, f, &everything);
    const struct vhd_survey_image *const a = image_named(&s, "a.vhd");
    assert_int_equal(a->children, 4);
    size_t n = a->first_child;
    for (size_t i = 0; i < XK_COUNT(names); i++) {
        assert_string_equal(s.images[n].name, names[i]);
        assert_string_equal(s.images[n].parent_text, s.images[index_of(&s, "a.vhd")].real_path);
        n = s.images[n].next_sibling;
    }
    assert_int_equal(n, VHD_NO_IMAGE);
    vhd_survey_done(&s);
}

static void test_raw_parents_count(void **state)
{
    struct folder *const f = *state;
    struct vhd_survey s;
    const int fd = open(in_folder(f, "disk.img"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, 4 * (off_t)BLOCK), 0);
    close(fd);
    make_child(f, "child.vhd", "disk.img", true);
    make_child(f, "grandchild.vhd", "child.vhd", false);
    survey_folder(&s, f, &everything);
    assert_int_equal(s.count, 2); /* the raw disk is no image */
    assert_int_equal(image_named(&s, "child.vhd")->depth, 2);
    assert_true(image_named(&s, "child.vhd")->parent_found);
    assert_int_equal(image_named(&s, "child.vhd")->parent, VHD_NO_IMAGE);
    assert_int_equal(image_named(&s, "grandchild.vhd")->depth, 3);
    for (size_t i = 0; i < s.count; i++)
        assert_int_equal(s.images[i].problems->count, 0);
    vhd_survey_done(&s);

    assert_int_equal(unlink(in_folder(f, "disk.img")), 0);
    survey_folder(&s, f, &everything);
    assert_false(image_named(&s, "child.vhd")->parent_found);
    assert_non_null(problem_of(image_named(&s, "child.vhd")->problems, VHD_P_PARENT_MISSING));
    assert_non_null(strstr(image_named(&s, "child.vhd")->parent_text, "disk.img"));
    vhd_survey_done(&s);
}

static void make_loop(struct folder *f)
{
    char from[256];
    make_image(f, "one.vhd", VHD_DYNAMIC, 4 * BLOCK, 0);
    make_child(f, "two.vhd", "one.vhd", false);
    make_child(f, "three.vhd", "two.vhd", false);
    /* three stands on two; in the place of one (with its UUID) comes a child of three. */
    make_child(f, "new.vhd", "three.vhd", false);
    struct vhd v;
    struct xk_err err = {0};
    int code = vhd_open(&v, xk_fs_posix(), in_folder(f, "one.vhd"), VHD_READ, &err);
    assert_done(code, err);
    const struct vhd_footer one = v.footer;
    vhd_close(&v);
    code = vhd_open(&v, xk_fs_posix(), in_folder(f, "new.vhd"), VHD_WRITE, &err);
    assert_done(code, err);
    struct vhd_footer now = v.footer;
    uint8_t sector[VHD_FOOTER_BYTES];
    memcpy(now.uuid, one.uuid, sizeof(now.uuid));
    vhd_footer_encode(sector, &now);
    assert_int_equal(xk_file_write(&v.file, sector, sizeof(sector), 0, &err), 0);
    assert_int_equal(xk_file_write(&v.file, sector, sizeof(sector), v.end_offset, &err), 0);
    vhd_close(&v);
    snprintf(from, sizeof(from), "%s/new.vhd", f->dir);
    assert_int_equal(rename(from, in_folder(f, "one.vhd")), 0);
    make_image(f, "alone.vhd", VHD_DYNAMIC, 4 * BLOCK, 0);
}

static void test_loops_end(void **state)
{
    struct folder *const f = *state;
    struct vhd_survey s;
    make_loop(f);
    survey_folder(&s, f, &everything);
    static const char *const members[] = {"one.vhd", "two.vhd", "three.vhd"};
    for (size_t i = 0; i < XK_COUNT(members); i++) {
        const struct vhd_survey_image *const image = image_named(&s, members[i]);
        assert_int_equal(image->depth, 0);
        assert_int_equal(problem_of(image->problems, VHD_P_LOOP)->severity, XK_CRITICAL);
        assert_int_equal(problem_of(image->problems, VHD_P_LOOP)->count, 3);
    }
    assert_int_equal(image_named(&s, "alone.vhd")->depth, 1);
    assert_int_equal(image_named(&s, "alone.vhd")->problems->count, 0);
    vhd_survey_done(&s);
}

static void test_equal_uuids_are_named(void **state)
{
    struct folder *const f = *state;
    struct vhd_survey s;
    char command[1024];
    make_image(f, "a.vhd", VHD_DYNAMIC, 4 * BLOCK, 0);
    make_image(f, "b.vhd", VHD_DYNAMIC, 4 * BLOCK, 0);
    snprintf(command, sizeof(command), "cp %s/a.vhd %s/copy.vhd", f->dir, f->dir);
    assert_int_equal(system(command), 0);
    survey_folder(&s, f, &everything);
    assert_int_equal(s.count, 3);
    assert_int_equal(image_named(&s, "a.vhd")->problems->count, 0);
    assert_int_equal(image_named(&s, "b.vhd")->problems->count, 0);
    const struct vhd_problem *const problem = problem_of(image_named(&s, "copy.vhd")->problems, VHD_P_DUPLICATE_UUID);
    assert_non_null(strstr(problem->evidence, "a.vhd"));
    vhd_survey_done(&s);
}

static void test_links_are_no_second_image(void **state)
{
    struct folder *const f = *state;
    struct vhd_survey s;
    char hard[256];
    make_image(f, "m.vhd", VHD_DYNAMIC, 4 * BLOCK, 0);
    assert_int_equal(symlink("m.vhd", in_folder(f, "a.vhd")), 0);
    assert_int_equal(symlink(".", in_folder(f, "folder")), 0);
    assert_int_equal(symlink("nowhere", in_folder(f, "dangling.vhd")), 0);
    snprintf(hard, sizeof(hard), "%s/m.vhd", f->dir);
    assert_int_equal(link(hard, in_folder(f, "n.vhd")), 0);
    survey_folder(&s, f, &everything);
    assert_int_equal(s.count, 1);
    assert_string_equal(s.images[0].name, "m.vhd");
    vhd_survey_done(&s);
}

static void test_only_images_are_taken_from_a_folder(void **state)
{
    struct folder *const f = *state;
    struct vhd_survey s;
    struct xk_err err = {0};
    char from[256];
    make_image(f, "UPPER.VHD", VHD_DYNAMIC, 4 * BLOCK, 0);
    make_image(f, "plain.vhd", VHD_FIXED, 2 * BLOCK, 0);
    snprintf(from, sizeof(from), "%s/plain.vhd", f->dir);
    assert_int_equal(rename(from, in_folder(f, "no-name-for-it")), 0);
    assert_int_equal(xk_file_replace(xk_fs_posix(), in_folder(f, "notes.txt"), "text", 4, 0600, &err), 0);
    assert_int_equal(xk_file_replace(xk_fs_posix(), in_folder(f, "text.vhd"), "text", 4, 0600, &err), 0);
    assert_int_equal(xk_file_replace(xk_fs_posix(), in_folder(f, ".vhd"), "text", 4, 0600, &err), 0);
    assert_int_equal(mkfifo(in_folder(f, "fifo.vhd"), 0600), 0);
    survey_folder(&s, f, &everything);
    assert_int_equal(s.count, 3);
    assert_true(image_named(&s, "UPPER.VHD")->usable);
    assert_true(image_named(&s, "no-name-for-it")->usable);
    assert_false(image_named(&s, "text.vhd")->usable);
    assert_non_null(problem_of(image_named(&s, "text.vhd")->problems, VHD_P_NOT_VHD));
    vhd_survey_done(&s);

    /* Named directly, everything is taken. */
    const char *target = in_folder(f, "notes.txt");
    assert_int_equal(vhd_survey_run(&s, xk_fs_posix(), &target, 1, &everything, &err), 0);
    assert_int_equal(s.count, 1);
    assert_non_null(problem_of(s.images[0].problems, VHD_P_NOT_VHD));
    vhd_survey_done(&s);
    target = in_folder(f, "fifo.vhd");
    assert_int_equal(vhd_survey_run(&s, xk_fs_posix(), &target, 1, &everything, &err), 0);
    assert_non_null(problem_of(s.images[0].problems, VHD_P_UNREADABLE));
    vhd_survey_done(&s);
    target = in_folder(f, "not-there.vhd");
    assert_int_equal(vhd_survey_run(&s, xk_fs_posix(), &target, 1, &everything, &err), -ENOENT);
    assert_non_null(strstr(err.text, "not-there.vhd"));
}

static void test_parents_elsewhere(void **state)
{
    struct folder *const f = *state;
    struct vhd_survey s;
    struct xk_err err = {0};
    struct vhd_survey_options options = everything;
    make_chain(f, 4);
    char path[256];
    snprintf(path, sizeof(path), "%s", in_folder(f, "c003.vhd"));
    const char *const target = path;

    assert_int_equal(vhd_survey_run(&s, xk_fs_posix(), &target, 1, &options, &err), 0);
    assert_int_equal(s.count, 4);
    assert_true(image_named(&s, "c000.vhd")->outside);
    assert_false(image_named(&s, "c003.vhd")->outside);
    assert_int_equal(image_named(&s, "c003.vhd")->depth, 4);
    for (size_t i = 0; i < s.count; i++)
        assert_int_equal(s.images[i].problems->count, 0);
    vhd_survey_done(&s);

    options.follow_parents = false;
    assert_int_equal(vhd_survey_run(&s, xk_fs_posix(), &target, 1, &options, &err), 0);
    assert_int_equal(s.count, 1);
    assert_int_equal(s.images[0].parent, VHD_NO_IMAGE);
    assert_true(s.images[0].parent_found);
    assert_int_equal(s.images[0].depth, 4);
    vhd_survey_done(&s);

    /* What is wrong with the parent is the child's problem also when the parent is not listed. */
    assert_int_equal(vhd_damage_apply(vhd_damage_find("null-uuid"), xk_fs_posix(), in_folder(f, "c002.vhd"), &err), 0);
    assert_int_equal(vhd_survey_run(&s, xk_fs_posix(), &target, 1, &options, &err), 0);
    assert_int_equal(s.count, 1);
    assert_non_null(problem_of(s.images[0].problems, VHD_P_PARENT_CHANGED));
    vhd_survey_done(&s);

    options.search.root = "/proc";
    assert_int_equal(vhd_survey_run(&s, xk_fs_posix(), &target, 1, &options, &err), 0);
    assert_non_null(strstr(problem_of(s.images[0].problems, VHD_P_PARENT_MISSING)->evidence, "/proc"));
    vhd_survey_done(&s);
}

static void test_a_fixed_image_with_holes_has_not_got_its_space(void **state)
{
    struct folder *const f = *state;
    struct vhd_survey s;

    make_image(f, "fixed.vhd", VHD_FIXED, 8 * XK_MIB, 0);
    make_image(f, "dynamic.vhd", VHD_DYNAMIC, 8 * XK_MIB, 0);
    survey_folder(&s, f, &everything);
    assert_non_null(problem_of(image_named(&s, "fixed.vhd")->problems, VHD_P_SPARSE));
    assert_null(problem_of(image_named(&s, "dynamic.vhd")->problems, VHD_P_SPARSE));
    vhd_survey_done(&s);

    fill_hole(f, "fixed.vhd", 8 * XK_MIB);
    survey_folder(&s, f, &everything);
    assert_null(problem_of(image_named(&s, "fixed.vhd")->problems, VHD_P_SPARSE));
    vhd_survey_done(&s);
}

static void test_hidden_leaves_only_where_neighbours_are_known(void **state)
{
    struct folder *const f = *state;
    struct vhd_survey s;
    struct xk_err err = {0};
    make_chain(f, 2);
    assert_int_equal(unlink(in_folder(f, "c001.vhd")), 0);
    survey_folder(&s, f, &everything);
    assert_non_null(problem_of(s.images[0].problems, VHD_P_HIDDEN_LEAF));
    vhd_survey_done(&s);
    const char *const target = in_folder(f, "c000.vhd");
    assert_int_equal(vhd_survey_run(&s, xk_fs_posix(), &target, 1, &everything, &err), 0);
    assert_int_equal(s.images[0].problems->count, 0);
    vhd_survey_done(&s);
}

static void test_coalesce_gain(void **state)
{
    struct folder *const f = *state;
    struct vhd_survey s;
    make_image(f, "a.vhd", VHD_DYNAMIC, 16 * BLOCK, 0);
    put_data(f, "a.vhd", 0, 4096 * 3, 1); /* blocks 0, 1, 2 */
    make_child(f, "b.vhd", "a.vhd", false);
    put_data(f, "b.vhd", 4096, 4096 * 3, 2); /* blocks 1, 2, 3 */
    survey_folder(&s, f, &everything);
    const size_t b = index_of(&s, "b.vhd");
    assert_int_equal(s.images[b].allocated, 3);
    assert_int_equal(s.images[b].shared, 2);
    assert_null(problem_of(s.images[b].problems, VHD_P_COALESCE)); /* somebody may want a.vhd */
    const uint64_t gain = vhd_survey_coalesce_gain(&s, b);
    assert_true(gain >= 2 * BLOCK && gain < 2 * BLOCK + 64 * 1024);
    assert_int_equal(vhd_survey_coalesce_gain(&s, index_of(&s, "a.vhd")), 0);
    vhd_survey_done(&s);

    set_hidden(f, "a.vhd");
    survey_folder(&s, f, &everything);
    const struct vhd_problem *const problem = problem_of(image_named(&s, "b.vhd")->problems, VHD_P_COALESCE);
    assert_non_null(problem);
    assert_int_equal(problem->severity, XK_NOTE);
    assert_int_equal(problem->count, gain);
    vhd_survey_done(&s);

    make_child(f, "c.vhd", "a.vhd", false); /* two children: a.vhd is needed */
    survey_folder(&s, f, &everything);
    assert_null(problem_of(image_named(&s, "b.vhd")->problems, VHD_P_COALESCE));
    vhd_survey_done(&s);
}

static void test_growth_is_summed_for_leaves(void **state)
{
    struct folder *const f = *state;
    struct vhd_survey s;
    make_image(f, "a.vhd", VHD_DYNAMIC, 16 * BLOCK, 0);
    make_child(f, "b.vhd", "a.vhd", false);
    put_data(f, "b.vhd", 0, 4096 * 4, 2);
    make_image(f, "fixed.vhd", VHD_FIXED, 4 * BLOCK, 0);
    survey_folder(&s, f, &everything);
    assert_int_equal(s.file_system_count, 1);
    assert_true(s.file_systems[0].free_bytes > 0);
    /* 12 blocks of b, with bitmaps; the fixed one's hole; a is only a parent. */
    const uint64_t least = 12 * (BLOCK + 512) + 4 * BLOCK - 64 * 1024;
    assert_in_range(s.file_systems[0].growth_bytes, least, least + 256 * 1024);
    vhd_survey_done(&s);
}

static void test_many_images_in_threads(void **state)
{
    struct folder *const f = *state;
    char name[32];
    for (unsigned i = 0; i < 300; i++) {
        snprintf(name, sizeof(name), "%03u.vhd", i);
        make_image(f, name, i % 3 ? VHD_DYNAMIC : VHD_FIXED, BLOCK * (1 + i % 5), 0);
    }
    for (unsigned threads = 0; threads <= 5; threads++) {
        struct vhd_survey s;
        struct vhd_survey_options options = everything;
        options.threads = threads;
        survey_folder(&s, f, &options);
        assert_int_equal(s.count, 300);
        for (unsigned i = 0; i < 300; i++) {
            snprintf(name, sizeof(name), "%03u.vhd", i);
            assert_string_equal(s.images[i].name, name);
            assert_true(s.images[i].usable);
            assert_int_equal(s.images[i].footer.current_bytes, BLOCK * (1 + i % 5));
            assert_null(problem_of(s.images[i].problems, VHD_P_UNREADABLE));
        }
        vhd_survey_done(&s);
    }
}

/* ---- rows ---- */

static void test_every_kind_has_a_row(void **state)
{
    XK_UNUSED void *const unused = *state;
    for (int kind = 0; kind < VHD_P_KINDS; kind++) {
        const struct xk_check *const row = vhd_check_of((enum vhd_problem_kind)kind);
        assert_true(xk_has_prefix(row->id, "vhd."));
        assert_int_equal(row->detail, kind);
        assert_non_null(row->run);
        assert_true(strlen(row->title) > 5 && strlen(row->why) > 20 && strlen(row->fix) > 20);
        for (int other = 0; other < kind; other++)
            assert_string_not_equal(row->id, vhd_checks[other].id);
    }
    assert_null(vhd_checks[VHD_P_KINDS].id);
    for (const struct vhd_damage_kind *k = vhd_damage_kinds; k->name; k++) {
        bool known = false;
        for (const struct xk_check *row = vhd_checks; row->id; row++)
            known = known || strcmp(row->id, k->check_id) == 0;
        assert_true(known);
        assert_ptr_equal(vhd_damage_find(k->name), k);
    }
}

static void test_the_set_reports_what_the_survey_found(void **state)
{
    struct folder *const f = *state;
    struct xk_err err = {0};
    int64_t now = TEST_NOW * (int64_t)XK_NS_PER_S;
    const struct xk_clock clock = xk_clock_frozen(&now);
    struct xk_log log = {.fd = -1};
    struct xk_app app = {.fs = xk_fs_posix(), .clock = &clock, .log = &log};
    void *subject = NULL;
    struct xk_findings found = {0};

    make_chain(f, 2);
    assert_int_equal(vhd_damage_apply(vhd_damage_find("footer"), xk_fs_posix(), in_folder(f, "c001.vhd"), &err), 0);
    assert_true(vhd_check_set.accepts(f->dir));
    assert_true(vhd_check_set.accepts(f->path));
    assert_false(vhd_check_set.accepts("localhost"));
    assert_false(vhd_check_set.accepts("/dev/null"));
    const char *const target = f->dir;
    int code = vhd_check_set.open(&subject, &app, &target, 1, NULL, &err);
    assert_done(code, err);
    for (const struct xk_check *row = vhd_check_set.checks; row->id; row++) {
        code = row->run(row, subject, &found, &err);
        assert_done(code, err);
    }
    size_t others = 0;
    for (size_t i = 0; i < found.count; i++)
        others +=
            strcmp(found.items[i].check->id, "vhd.footer") != 0 && strcmp(found.items[i].check->id, "vhd.space") != 0;
    assert_int_equal(others, 0);
    assert_true(found.count >= 1);
    xk_findings_done(&found);
    vhd_check_set.close(subject);
    vhd_check_set.close(NULL);
}

/* ---- failures ---- */

static int run_survey(void *state, const struct xk_fs *fs, struct xk_err *err)
{
    const struct folder *const f = state;
    const char *const target = f->dir;
    struct vhd_survey s;
    struct vhd_survey_options options = everything;
    options.threads = 1; /* the how-manieth allocation must be the same one each time */
    options.audit.data = true;
    const int code = vhd_survey_run(&s, fs, &target, 1, &options, err);
    if (code == 0)
        vhd_survey_done(&s);
    return code;
}

/* An I/O error makes an image unreadable, it does not end the survey; memory ends it. */
static void test_each_failing_allocation(void **state)
{
    struct folder *const f = *state;
    make_chain(f, 3);
    put_data(f, "c002.vhd", 0, 9, 1);
    for (int sticky = 0; sticky < 2; sticky++) {
        bool fired = true;
        uint64_t at = 0;
        while (fired) {
            struct xk_err err = {0};
            const size_t live = xk_fault_alloc_live();
            xk_fault_alloc_arm(++at, sticky);
            const int code = run_survey(f, xk_fs_posix(), &err);
            fired = xk_fault_alloc_fired();
            (void)xk_fault_alloc_disarm();
            if (code != (fired ? -ENOMEM : 0))
                fail_msg("allocation %llu: %d", (unsigned long long)at, code);
            assert_int_equal(xk_fault_alloc_live(), live);
        }
        assert_true(at > 20);
    }
}

static void test_each_failing_read(void **state)
{
    struct folder *const f = *state;
    make_chain(f, 3);
    put_data(f, "c002.vhd", 0, 9, 1);
    bool fired = true;
    for (uint64_t at = 1; fired; at++) {
        struct xk_fault_fs faulty;
        struct xk_err err = {0};
        struct vhd_survey s;
        const char *const target = f->dir;
        xk_fault_fs_init(&faulty, xk_fs_posix());
        faulty.fail_at = at;
        faulty.error = -EIO;
        faulty.which = XK_FAULT_BIT(XK_FAULT_READ) | XK_FAULT_BIT(XK_FAULT_OPEN);
        struct vhd_survey_options options = everything;
        options.threads = 1;
        const int code = vhd_survey_run(&s, &faulty.fs, &target, 1, &options, &err);
        assert_done(code, err);
        fired = faulty.fired;
        /* Whatever failed, all are there; something was said, or another locator told the same. */
        assert_int_equal(s.count, 3);
        size_t said = 0, whole = 0;
        for (size_t i = 0; i < s.count; i++) {
            said += s.images[i].problems->count > 0;
            whole += s.images[i].usable && s.images[i].depth == i + 1;
        }
        if (fired && said == 0 && whole < s.count)
            fail_msg("read or open %llu failed and nothing was said", (unsigned long long)at);
        if (!fired)
            assert_int_equal(said, 0);
        assert_int_equal(faulty.open_files, 0);
        vhd_survey_done(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_chain_of_thirty_is_sound, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_deeper_chains_are_named_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_children_stand_in_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_raw_parents_count, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_loops_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_equal_uuids_are_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_links_are_no_second_image, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_only_images_are_taken_from_a_folder, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_parents_elsewhere, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_hidden_leaves_only_where_neighbours_are_known, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_fixed_image_with_holes_has_not_got_its_space, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_coalesce_gain, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_growth_is_summed_for_leaves, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_many_images_in_threads, set_up, tear_down),
        cmocka_unit_test(test_every_kind_has_a_row),
        cmocka_unit_test_setup_teardown(test_the_set_reports_what_the_survey_found, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_each_failing_allocation, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_each_failing_read, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
