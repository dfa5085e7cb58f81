/* The audit: silent on sound images, each kind of damage found under its own name, hostile tables answered at once. */
#include "lib/vhd/test-folder.h"

#include "core/text.h"

#include <endian.h>
#include <sys/resource.h>
#include <time.h>

#define BLOCK UINT64_C(2097152)

#if defined(__SANITIZE_ADDRESS__)
#define SLOWNESS 10
#else
#define SLOWNESS 1
#endif

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
    .tables = true,
    .audit = {.bitmaps = true, .data = true, .unix_seconds = TEST_NOW},
    .follow_parents = true,
};

static void audit_file(struct vhd_problems *ret, struct folder *f, const char *name)
{
    struct xk_err err = {0};
    struct vhd v;
    *ret = (struct vhd_problems){0};
    int code = vhd_open(&v, xk_fs_posix(), in_folder(f, name), VHD_LENIENT, &err);
    assert_done(code, err);
    code = vhd_audit(ret, &v, &everything.audit, &err);
    assert_done(code, err);
    vhd_close(&v);
}

static void assert_silent(struct folder *f, const char *name)
{
    struct vhd_problems found;
    audit_file(&found, f, name);
    print_problems(name, &found);
    assert_int_equal(found.count, 0);
    vhd_problems_done(&found);
}

/* base.vhd with data, child.vhd on it with a block that is not full, fixed.vhd. */
static void make_set(struct folder *f)
{
    make_image(f, "base.vhd", VHD_DYNAMIC, 8 * BLOCK, 0);
    put_data(f, "base.vhd", 0, 4096, 0x11);
    put_data(f, "base.vhd", 4096 * 3 + 17, 100, 0x22);
    make_child(f, "child.vhd", "base.vhd", false);
    put_data(f, "child.vhd", 4096 * 5 + 64, 8, 0x33);
    put_data(f, "child.vhd", 4096 * 2, 4096, 0x44);
    make_image(f, "fixed.vhd", VHD_FIXED, 2 * BLOCK, 0);
    fill_hole(f, "fixed.vhd", 2 * BLOCK);
}

static void test_sound_images_are_silent(void **state)
{
    struct folder *const f = *state;
    make_set(f);
    make_image(f, "reserved.vhd", VHD_DYNAMIC, 4 * BLOCK, 4096 * BLOCK);
    make_image(f, "largest.vhd", VHD_DYNAMIC, VHD_SIZE_MAX, 0);
    put_data(f, "largest.vhd", VHD_SIZE_MAX / 512 - 5, 5, 1);
    make_image(f, "empty.vhd", VHD_DYNAMIC, 0, 0);
    assert_silent(f, "base.vhd");
    assert_silent(f, "child.vhd");
    assert_silent(f, "fixed.vhd");
    assert_silent(f, "reserved.vhd");
    assert_silent(f, "largest.vhd");
    assert_silent(f, "empty.vhd");
}

/* What else may come with a kind of damage, since one follows from the other. */
static bool is_consequence(const char *damage, const char *id)
{
    static const struct {
        const char *damage, *id;
    } known[] = {
        {"truncated", "vhd.footer"},      /* it was cut off, too */
        {"size-beyond", "vhd.bat-short"}, /* the table was made for a smaller disk */
        {"size-beyond", "vhd.batmap"},    /* and so was the batmap */
        {"bat-metadata", "vhd.trailing"}, /* where the block was */
    };
    for (size_t i = 0; i < XK_COUNT(known); i++) {
        if (strcmp(known[i].damage, damage) == 0 && strcmp(known[i].id, id) == 0)
            return true;
    }
    return false;
}

/* returns whether exactly the right finding came. */
static bool damage_and_look(struct folder *f, const struct vhd_damage_kind *kind, const char *target)
{
    struct vhd_survey s;
    struct xk_err err = {0};
    bool found = false, good = true;

    const int code = vhd_damage_apply(kind, xk_fs_posix(), in_folder(f, target), &err);
    assert_done(code, err);
    survey_folder(&s, f, &everything);
    for (size_t i = 0; i < s.count; i++) {
        const struct vhd_survey_image *const image = &s.images[i];
        for (size_t p = 0; p < image->problems->count; p++) {
            const struct vhd_problem *const problem = &image->problems->items[p];
            const char *const id = vhd_check_of(problem->kind)->id;
            if (strcmp(id, kind->check_id) == 0 && strcmp(image->name, target) == 0) {
                found = true;
            } else if (!is_consequence(kind->name, id)) {
                print_message("# %s on %s gave also %s on %s: %s\n", kind->name, target, id, image->name,
                              problem->evidence);
                good = false;
            }
        }
    }
    if (!found)
        print_message("# %s on %s did not give %s\n", kind->name, target, kind->check_id);
    vhd_survey_done(&s);
    return found && good;
}

static void test_each_damage_is_found_under_its_name(void **state)
{
    XK_UNUSED void *const unused = *state;
    unsigned wrong = 0;
    for (const struct vhd_damage_kind *kind = vhd_damage_kinds; kind->name; kind++) {
        static const char *const targets[] = {"child.vhd", "base.vhd", "fixed.vhd"};
        for (size_t t = 0; t < XK_COUNT(targets); t++) {
            /* base.vhd has a child that would suffer as well; damage that goes by what is there needs its own. */
            if ((t > 0 && kind->on == VHD_DAMAGE_CHILD) || (t == 2 && kind->on != VHD_DAMAGE_ANY))
                continue;
            struct folder f;
            folder_make(&f);
            make_set(&f);
            if (t == 1)
                assert_int_equal(unlink(in_folder(&f, "child.vhd")), 0);
            struct vhd_survey s;
            survey_folder(&s, &f, &everything);
            for (size_t i = 0; i < s.count; i++)
                assert_int_equal(s.images[i].problems->count, 0);
            vhd_survey_done(&s);
            wrong += !damage_and_look(&f, kind, targets[t]);
            folder_remove(&f);
        }
    }
    assert_int_equal(wrong, 0);
}

static void test_damage_refuses_what_it_cannot_break(void **state)
{
    struct folder *const f = *state;
    struct xk_err err = {0};
    make_set(f);
    make_image(f, "empty.vhd", VHD_DYNAMIC, 4 * BLOCK, 0);
    for (const struct vhd_damage_kind *kind = vhd_damage_kinds; kind->name; kind++) {
        if (kind->on != VHD_DAMAGE_ANY)
            assert_int_equal(vhd_damage_apply(kind, xk_fs_posix(), in_folder(f, "fixed.vhd"), &err), -ENOTSUP);
        if (kind->on == VHD_DAMAGE_DATA)
            assert_int_equal(vhd_damage_apply(kind, xk_fs_posix(), in_folder(f, "empty.vhd"), &err), -ENOTSUP);
        if (kind->on == VHD_DAMAGE_CHILD)
            assert_true(vhd_damage_apply(kind, xk_fs_posix(), in_folder(f, "base.vhd"), &err) < 0);
    }
    assert_silent(f, "fixed.vhd");
    assert_silent(f, "empty.vhd");
    assert_silent(f, "base.vhd");
    assert_null(vhd_damage_find("no-such-damage"));
}

/* ---- changed fields, with good checksums ---- */

struct parts {
    int fd;
    struct vhd_footer footer;
    struct vhd_header header;
    uint64_t end;
};

static void open_parts(struct parts *p, struct folder *f, const char *name)
{
    struct vhd v;
    struct xk_err err = {0};
    const int code = vhd_open(&v, xk_fs_posix(), in_folder(f, name), VHD_READ, &err);
    assert_done(code, err);
    p->footer = v.footer;
    p->header = v.header;
    p->end = v.end_offset;
    vhd_close(&v);
    p->fd = open(f->path, O_RDWR | O_CLOEXEC);
    assert_true(p->fd >= 0);
}

static void close_parts(struct parts *p)
{
    uint8_t sector[VHD_FOOTER_BYTES], header[VHD_HEADER_BYTES];
    vhd_footer_encode(sector, &p->footer);
    vhd_header_encode(header, &p->header);
    assert_int_equal(pwrite(p->fd, sector, sizeof(sector), (off_t)p->end), sizeof(sector));
    if (p->footer.type != VHD_FIXED) {
        assert_int_equal(pwrite(p->fd, sector, sizeof(sector), 0), sizeof(sector));
        assert_int_equal(pwrite(p->fd, header, sizeof(header), 512), sizeof(header));
    }
    close(p->fd);
}

static void test_geometry_by_rounding_is_no_problem(void **state)
{
    struct folder *const f = *state;
    struct parts p;
    struct vhd_problems found;
    make_set(f);
    open_parts(&p, f, "base.vhd");
    p.footer.geometry.cylinders--;
    close_parts(&p);
    assert_silent(f, "base.vhd");

    open_parts(&p, f, "base.vhd");
    p.footer.geometry = (struct vhd_geometry){65535, 16, 255}; /* qemu's force_size */
    close_parts(&p);
    audit_file(&found, f, "base.vhd");
    assert_int_equal(found.count, 1);
    assert_int_equal(found.items[0].kind, VHD_P_GEOMETRY);
    assert_int_equal(found.items[0].severity, XK_NOTE);
    vhd_problems_done(&found);

    open_parts(&p, f, "base.vhd");
    p.footer.geometry = (struct vhd_geometry){1, 2, 3}; /* too small: harmless while readers take the size field … */
    close_parts(&p);
    audit_file(&found, f, "base.vhd");
    assert_int_equal(problem_of(&found, VHD_P_GEOMETRY)->severity, XK_NOTE);
    vhd_problems_done(&found);

    open_parts(&p, f, "base.vhd");
    memcpy(p.footer.creator, "vpc ", 4); /* … and they do not for this creator */
    close_parts(&p);
    audit_file(&found, f, "base.vhd");
    assert_int_equal(problem_of(&found, VHD_P_GEOMETRY)->severity, XK_WARNING);
    vhd_problems_done(&found);
}

static void test_clocks_may_differ_by_half_an_hour(void **state)
{
    struct folder *const f = *state;
    struct parts p;
    struct vhd_problems found;
    make_set(f);
    open_parts(&p, f, "child.vhd");
    p.footer.timestamp = vhd_timestamp(TEST_NOW + VHD_CLOCK_SLACK_SECONDS);
    p.header.parent_timestamp = p.footer.timestamp;
    close_parts(&p);
    assert_silent(f, "child.vhd");

    open_parts(&p, f, "child.vhd");
    p.footer.timestamp++;
    p.header.parent_timestamp++;
    close_parts(&p);
    audit_file(&found, f, "child.vhd");
    assert_int_equal(found.count, 2);
    assert_non_null(problem_of(&found, VHD_P_FOOTER_FIELD));
    assert_non_null(problem_of(&found, VHD_P_HEADER_FIELD));
    vhd_problems_done(&found);
}

static void test_every_field_is_looked_at(void **state)
{
    struct folder *const f = *state;
    struct parts p;
    struct vhd_problems found;
    make_set(f);
    open_parts(&p, f, "base.vhd");
    p.footer.features = 0x10;
    p.footer.version = 0x00010001;
    p.footer.hidden = 2;
    p.footer.saved = 2;
    p.footer.creator_version = 0x00010009;
    memset(p.footer.uuid, 0, sizeof(p.footer.uuid));
    p.header.data_offset = 1;
    p.header.reserved = 1;
    p.header.parent_uuid[3] = 1;
    p.header.parent_name[1] = 'x';
    p.header.locators[7].length = 1;
    close_parts(&p);
    audit_file(&found, f, "base.vhd");
    print_problems("base.vhd", &found);
    size_t footer = 0, header = 0;
    for (size_t i = 0; i < found.count; i++) {
        footer += found.items[i].kind == VHD_P_FOOTER_FIELD;
        header += found.items[i].kind == VHD_P_HEADER_FIELD;
    }
    assert_int_equal(footer, 6);
    assert_int_equal(header, 3);
    assert_int_equal(found.count, 9);
    vhd_problems_done(&found);
}

static void test_locators_are_compared(void **state)
{
    struct folder *const f = *state;
    struct parts p;
    struct vhd_problems found;
    make_set(f);
    open_parts(&p, f, "child.vhd");
    p.header.locators[3] = p.header.locators[1]; /* the same platform twice, over the same bytes */
    p.header.locators[4].code = 0x12345678;
    p.header.locators[5] = (struct vhd_locator){.code = VHD_LOCATOR_MAC, .space = 512, .length = 513, .offset = 512};
    p.header.locators[7].length = 1;
    p.header.locators[6] =
        (struct vhd_locator){.code = VHD_LOCATOR_WI2K, .space = 1, .length = 9, .offset = UINT64_MAX};
    close_parts(&p);
    audit_file(&found, f, "child.vhd");
    print_problems("child.vhd", &found);
    size_t count = 0;
    for (size_t i = 0; i < found.count; i++)
        count += found.items[i].kind == VHD_P_LOCATOR;
    /* doubled, over another, unknown, too long, over the header, past the end, unused but filled */
    assert_int_equal(count, 7);
    assert_null(problem_of(&found, VHD_P_BAT_OVERLAP));
    vhd_problems_done(&found);
}

/* ---- blocks ---- */

/* A description without its file's cooperation: the table says what the test wants. */
static void fake_image(struct vhd *v, struct folder *f, uint32_t *bat, uint32_t blocks, uint32_t block_bytes,
                       uint64_t file_bytes)
{
    struct xk_err err = {0};
    *v = (struct vhd){.file_bytes = file_bytes, .end_state = VHD_GOOD, .copy_state = VHD_GOOD};
    int code = xk_file_open(&v->file, xk_fs_posix(), in_folder(f, "fake"), O_RDWR | O_CREAT, 0600, &err);
    assert_done(code, err);
    code = xk_file_truncate(&v->file, file_bytes, &err);
    assert_done(code, err);
    v->path = f->path;
    v->end_offset = file_bytes - VHD_FOOTER_BYTES;
    v->footer = (struct vhd_footer){.features = 2,
                                    .version = 0x00010000,
                                    .data_offset = 512,
                                    .type = VHD_DYNAMIC,
                                    .creator = "win ",
                                    .uuid = {1},
                                    .current_bytes = (uint64_t)blocks * block_bytes};
    v->footer.geometry = vhd_geometry_of(v->footer.current_bytes / 512);
    memcpy(v->footer.cookie, VHD_COOKIE, 8);
    v->end_footer = v->copy_footer = v->footer;
    v->header_state = VHD_GOOD;
    v->header = (struct vhd_header){
        .data_offset = UINT64_MAX, .table_offset = 1536, .max_entries = blocks, .block_bytes = block_bytes};
    v->bat_state = VHD_GOOD;
    v->bat = bat;
    v->blocks = blocks;
}

static uint64_t count_overlaps_slowly(const uint32_t *bat, uint32_t blocks, uint64_t length)
{
    uint64_t hurt = 0;
    /* A block counts when one that begins before it (or, at the same sector, has a smaller number) reaches into it. */
    for (uint32_t i = 0; i < blocks; i++) {
        for (uint32_t j = 0; j < blocks; j++) {
            if (i == j || bat[i] == VHD_BAT_FREE || bat[j] == VHD_BAT_FREE)
                continue;
            if ((bat[j] < bat[i] || (bat[j] == bat[i] && j < i)) && bat[j] + length > bat[i]) {
                hurt++;
                break;
            }
        }
    }
    return hurt;
}

static void test_overlaps_agree_with_comparing_all_pairs(void **state)
{
    struct folder *const f = *state;
    struct xk_random random;
    struct xk_err err = {0};
    uint32_t bat[64];
    const uint64_t length = 4096 / 512 + 1;
    unsigned clean = 0, hurt = 0;

    xk_random_seed(&random, 20251123);
    for (int round = 0; round < 400; round++) {
        const uint32_t blocks = (uint32_t)xk_random_below(&random, 63) + 1;
        const uint64_t room = 64 * length * (1 + (uint64_t)round % 40);
        for (uint32_t b = 0; b < blocks; b++) {
            const uint64_t at =
                round % 2 ? xk_random_below(&random, room) : xk_random_below(&random, room / length) * length;
            bat[b] = xk_random_below(&random, 4) ? (uint32_t)(16 + at) : VHD_BAT_FREE;
        }
        struct vhd v;
        struct vhd_problems found = {0};
        fake_image(&v, f, bat, blocks, 4096, (16 + room + length + 1) * 512);
        const int code = vhd_audit(&found, &v, NULL, &err);
        assert_done(code, err);
        const struct vhd_problem *const problem = problem_of(&found, VHD_P_BAT_OVERLAP);
        const uint64_t want = count_overlaps_slowly(bat, blocks, length);
        assert_int_equal(problem ? problem->count : 0, want);
        assert_null(problem_of(&found, VHD_P_BAT_PAST_END));
        clean += want == 0;
        hurt += want > 0;
        vhd_problems_done(&found);
        xk_file_close(&v.file);
    }
    /* Both answers were asked for. */
    assert_true(clean > 20 && hurt > 20);
}

static void test_blocks_may_touch_but_not_more(void **state)
{
    struct folder *const f = *state;
    struct xk_err err = {0};
    const uint32_t length = 9;
    uint32_t bat[3] = {7, 7 + 2 * 9,
                       7 + 9}; /* right behind the tables (sector 4 is the table's last), and the footer follows */
    struct vhd v;
    struct vhd_problems found = {0};

    for (int shift = 0; shift < 3; shift++) {
        bat[0] = 7;
        bat[1] = 7 + 2 * length;
        fake_image(&v, f, bat, 3, 4096, (7 + 3 * (uint64_t)length + 1) * 512);
        bat[0] -= shift == 1; /* still behind the table */
        bat[1] += shift == 2; /* onto the footer */
        int code = vhd_audit(&found, &v, NULL, &err);
        assert_done(code, err);
        assert_null(problem_of(&found, VHD_P_BAT_OVERLAP));
        assert_true((problem_of(&found, VHD_P_BAT_PAST_END) != NULL) == (shift == 2));
        vhd_problems_done(&found);
        bat[0] = 3; /* onto the table */
        code = vhd_audit(&found, &v, NULL, &err);
        assert_done(code, err);
        assert_non_null(strstr(problem_of(&found, VHD_P_BAT_OVERLAP)->evidence, "the block table"));
        vhd_problems_done(&found);
        xk_file_close(&v.file);
    }
}

/* Of the processor, since test machines are shared. */
static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void test_a_full_table_takes_half_a_second_at_most(void **state)
{
    struct folder *const f = *state;
    struct xk_err err = {0};
    const uint32_t blocks = (uint32_t)(VHD_SIZE_MAX / BLOCK);
    const uint64_t length = BLOCK / 512 + 1;
    uint32_t *const bat = malloc(blocks * sizeof(*bat));
    struct xk_random random;
    struct vhd v;
    struct vhd_problems found = {0};

    assert_non_null(bat);
    assert_int_equal(blocks, 1044480);
    xk_random_seed(&random, 1);
    const uint64_t first = 8192 + 7;
    for (uint32_t b = 0; b < blocks; b++)
        bat[b] = (uint32_t)(first + b * length);
    for (uint32_t b = blocks; b-- > 1;) {
        const uint32_t other = (uint32_t)xk_random_below(&random, b + 1);
        const uint32_t swap = bat[b];
        bat[b] = bat[other];
        bat[other] = swap;
    }
    fake_image(&v, f, bat, blocks, VHD_BLOCK_BYTES, (first + blocks * length + 1) * 512);
    const double start = seconds_now();
    int code = vhd_audit(&found, &v, NULL, &err);
    const double took = seconds_now() - start;
    assert_done(code, err);
    print_message("# %u blocks in %.3f s\n", blocks, took);
    assert_true(took < 0.5 * SLOWNESS);
    assert_null(problem_of(&found, VHD_P_BAT_OVERLAP));
    vhd_problems_done(&found);

    bat[777]++; /* one sector into its neighbour */
    code = vhd_audit(&found, &v, NULL, &err);
    assert_done(code, err);
    const struct vhd_problem *const problem = problem_of(&found, VHD_P_BAT_OVERLAP);
    /* Its place moved up by one: it reaches into the next, unless it was the last. */
    assert_non_null(problem);
    assert_int_equal(problem->count, 1);
    assert_non_null(strstr(problem->evidence, "777 (sector"));
    vhd_problems_done(&found);
    xk_file_close(&v.file);
    free(bat);
}

/* ---- hostile ---- */

static long peak_mib(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss / 1024;
}

static void look_at_hostile(struct folder *f, const char *what)
{
    struct vhd v;
    struct xk_err err = {0};
    struct vhd_problems found = {0};
    const double start = seconds_now();

    int code = vhd_open(&v, xk_fs_posix(), in_folder(f, "hostile.vhd"), VHD_LENIENT, &err);
    if (code == 0) {
        code = vhd_audit(&found, &v, &everything.audit, &err);
        assert_done(code, err);
        vhd_close(&v);
        if (found.count == 0)
            fail_msg("%s was not noticed", what);
    }
    vhd_problems_done(&found);
    const double took = seconds_now() - start;
    print_message("# %.2f s: %s\n", took, what);
    if (took > 1.0 * SLOWNESS)
        fail_msg("%s took %.1f s", what, took);
}

static void test_hostile_fields_are_answered_at_once(void **state)
{
    struct folder *const f = *state;
    struct parts p;
#define HOSTILE(change)                                                                                                \
    do {                                                                                                               \
        make_image(f, "hostile.vhd", VHD_DYNAMIC, 8 * BLOCK, 0);                                                       \
        put_data(f, "hostile.vhd", 0, 8, 1);                                                                           \
        open_parts(&p, f, "hostile.vhd");                                                                              \
        change;                                                                                                        \
        close_parts(&p);                                                                                               \
        look_at_hostile(f, #change);                                                                                   \
        unlink(f->path);                                                                                               \
    } while (0)

    HOSTILE(p.header.max_entries = UINT32_MAX);
    HOSTILE(p.header.table_offset = UINT64_MAX);
    HOSTILE(p.header.table_offset = UINT64_MAX - 511);
    HOSTILE(p.header.table_offset = 0);
    HOSTILE(p.header.table_offset = 513);
    HOSTILE(p.header.block_bytes = 0);
    HOSTILE(p.header.block_bytes = 1);
    HOSTILE(p.header.block_bytes = 512);
    HOSTILE(p.header.block_bytes = UINT32_C(1) << 31);
    HOSTILE(p.header.block_bytes = 12345);
    HOSTILE(p.footer.data_offset = UINT64_MAX - 1);
    HOSTILE(p.footer.data_offset = 0);
    HOSTILE(p.footer.current_bytes = UINT64_MAX);
    HOSTILE(p.footer.current_bytes = 1);
    HOSTILE((p.footer.current_bytes = UINT64_MAX, p.header.max_entries = UINT32_MAX));
    HOSTILE((p.footer.current_bytes = UINT64_MAX, p.header.block_bytes = 512, p.header.max_entries = UINT32_MAX));
    HOSTILE((p.footer.type = VHD_DIFFERENCING,
             p.header.locators[0] = (struct vhd_locator){VHD_LOCATOR_MACX, UINT32_MAX, UINT32_MAX, 0, UINT64_MAX - 1}));
    HOSTILE((p.footer.type = VHD_FIXED, p.footer.data_offset = UINT64_MAX, p.footer.current_bytes = UINT64_MAX));
    print_message("# peak %ld MiB\n", peak_mib());
    assert_true(peak_mib() < 256 * SLOWNESS);
}

/* A file of 5 GiB that takes no space: a table of 16 Mi entries that all point to sector 0, or to one good place. */
static void test_hostile_tables_in_sparse_files(void **state)
{
    struct folder *const f = *state;
    static const uint32_t entries[] = {16u << 20, (16u << 20) + 1, UINT32_MAX};
    struct parts p;

    for (size_t i = 0; i < XK_COUNT(entries); i++) {
        for (int block = 0; block < 2; block++) {
            make_image(f, "hostile.vhd", VHD_DYNAMIC, 8 * BLOCK, 0);
            open_parts(&p, f, "hostile.vhd");
            p.header.max_entries = entries[i];
            p.header.table_offset = XK_MIB;
            p.header.block_bytes = block ? 512 : VHD_BLOCK_BYTES;
            p.footer.current_bytes = (uint64_t)entries[i] * p.header.block_bytes;
            p.end = 17 * XK_GIB - 512;
            assert_int_equal(ftruncate(p.fd, (off_t)p.end + 512), 0);
            close_parts(&p);
            look_at_hostile(f, "a huge table of zeros");
            unlink(in_folder(f, "hostile.vhd"));
        }
    }
    print_message("# peak %ld MiB\n", peak_mib());
    assert_true(peak_mib() < 256 * SLOWNESS);
}

static void test_one_place_for_sixteen_million_blocks(void **state)
{
    struct folder *const f = *state;
    struct parts p;
    const uint32_t entries = 16u << 20;
    uint32_t *const row = malloc(XK_MIB);

    assert_non_null(row);
    for (size_t i = 0; i < XK_MIB / 4; i++)
        row[i] = htobe32(UINT32_C(0x00100000));
    make_image(f, "hostile.vhd", VHD_DYNAMIC, 8 * BLOCK, 0);
    open_parts(&p, f, "hostile.vhd");
    p.header.max_entries = entries;
    p.header.table_offset = XK_MIB;
    p.footer.current_bytes = (uint64_t)entries * BLOCK;
    p.end = XK_GIB - 512;
    assert_int_equal(ftruncate(p.fd, (off_t)p.end + 512), 0);
    for (uint64_t at = 0; at < 64; at++)
        assert_int_equal(pwrite(p.fd, row, XK_MIB, (off_t)((1 + at) * XK_MIB)), XK_MIB);
    close_parts(&p);
    free(row);
    look_at_hostile(f, "16 Mi blocks at one place");
    print_message("# peak %ld MiB\n", peak_mib());
    assert_true(peak_mib() < 256 * SLOWNESS);
}

static void test_the_list_of_problems_is_bounded(void **state)
{
    XK_UNUSED void *const unused = *state;
    struct vhd_problems list = {0};
    for (int i = 0; i < 3 * VHD_PROBLEMS_MAX; i++)
        vhd_problem_add(&list, VHD_P_LOCATOR, XK_NOTE, 1, "%0400d", i);
    assert_int_equal(list.count, VHD_PROBLEMS_MAX);
    assert_int_equal(strlen(list.items[0].evidence), sizeof(list.items[0].evidence) - 1);
    vhd_problems_done(&list);
    assert_int_equal(list.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_sound_images_are_silent, set_up, tear_down),
        cmocka_unit_test(test_each_damage_is_found_under_its_name),
        cmocka_unit_test_setup_teardown(test_damage_refuses_what_it_cannot_break, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_geometry_by_rounding_is_no_problem, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_clocks_may_differ_by_half_an_hour, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_every_field_is_looked_at, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_locators_are_compared, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_overlaps_agree_with_comparing_all_pairs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_blocks_may_touch_but_not_more, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_full_table_takes_half_a_second_at_most, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_hostile_fields_are_answered_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_hostile_tables_in_sparse_files, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_one_place_for_sixteen_million_blocks, set_up, tear_down),
        cmocka_unit_test(test_the_list_of_problems_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
