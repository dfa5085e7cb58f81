/* The fault machinery itself: a loop that cannot find a mistake would make every test that uses it worthless. */
#include "core/testing/fault.h"
#include "core/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* ---- allocations ---- */

static void the_nth_allocation_fails_once(void **state)
{
    xk_fault_alloc_arm(2, false);
    void *first = xk_alloc(1), *second = xk_alloc(1), *third = xk_alloc(1);
    assert_true(xk_fault_alloc_fired());
    assert_int_equal(xk_fault_alloc_disarm(), 3);
    assert_non_null(first);
    assert_null(second);
    assert_non_null(third);
    free(first);
    free(third);
}

static void sticky_goes_on(void **state)
{
    xk_fault_alloc_arm(2, true);
    void *first = xk_alloc(1), *second = xk_alloc(1), *third = xk_alloc(1);
    xk_fault_alloc_disarm();
    void *fourth = xk_alloc(1);
    assert_non_null(first);
    assert_null(second);
    assert_null(third);
    assert_non_null(fourth);
    free(first);
    free(fourth);
}

static void every_kind_of_allocation_is_counted(void **state)
{
    struct xk_buf b = XK_BUF_INIT(100);
    struct xk_arena a = XK_ARENA_INIT(100);
    void *old = xk_alloc(1);
    const size_t before = xk_fault_alloc_live();
    xk_fault_alloc_arm(1, true);
    assert_null(xk_alloc(1));
    assert_null(xk_zalloc(1));
    assert_null(xk_array_alloc(1, 1));
    assert_null(xk_realloc(old, 100));
    assert_null(xk_strdup("x"));
    assert_null(xk_strndup("x", 1));
    assert_null(xk_asprintf("x"));
    assert_null(xk_arena_alloc(&a, 1));
    xk_buf_add_str(&b, "x");
    assert_int_equal(b.error, -ENOMEM);
    assert_int_equal(xk_fault_alloc_disarm(), 9);
    assert_int_equal(xk_fault_alloc_live(), before);
    free(old);
    assert_int_equal(xk_fault_alloc_live(), before - 1);
}

static void live_blocks_are_counted(void **state)
{
    const size_t before = xk_fault_alloc_live();
    enum { MANY = 5000 };
    static void *blocks[MANY];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < MANY; i++)
            blocks[i] = xk_realloc(xk_alloc(10), 1000);
        assert_int_equal(xk_fault_alloc_live(), before + MANY);
        for (int i = 0; i < MANY; i++)
            free(blocks[i]);
        assert_int_equal(xk_fault_alloc_live(), before);
    }
    free(NULL);
    free(strdup("not ours"));
    assert_int_equal(xk_fault_alloc_live(), before);
}

/* ---- file operations ---- */

static int make_folder(void **state)
{
    static char folder[XK_FAULT_PATH_MAX];
    *state = folder;
    return xk_fault_folder_make(folder);
}

static int remove_folder(void **state)
{
    xk_fault_folder_clear(*state, true);
    return access(*state, F_OK) == 0;
}

static const char *in(char ret[XK_FAULT_PATH_MAX * 2], const char *folder, const char *name)
{
    const int length = snprintf(ret, XK_FAULT_PATH_MAX * 2, "%s/%s", folder, name);
    assert_in_range(length, 1, XK_FAULT_PATH_MAX * 2 - 1);
    return ret;
}

static void the_nth_operation_fails(void **state)
{
    char path[XK_FAULT_PATH_MAX * 2];
    struct xk_fault_fs f;
    xk_fault_fs_init(&f, xk_fs_posix());
    f.which = XK_FAULT_BIT(XK_FAULT_WRITE) | XK_FAULT_BIT(XK_FAULT_SYNC);
    f.fail_at = 2;
    f.error = -ENOSPC;
    struct xk_file file;
    struct xk_err err;
    assert_int_equal(xk_file_open(&file, &f.fs, in(path, *state, "a"), O_RDWR | O_CREAT, 0600, &err), 0);
    assert_int_equal(xk_file_write(&file, "x", 1, 0, &err), 0);
    assert_int_equal(xk_file_sync(&file, &err), -ENOSPC);
    assert_int_equal(xk_file_write(&file, "x", 1, 1, &err), 0);
    assert_true(f.fired);
    assert_int_equal(f.fired_op, XK_FAULT_SYNC);
    assert_int_equal(f.count, 3);
    f.sticky = true;
    assert_int_equal(xk_file_write(&file, "y", 1, 0, &err), -ENOSPC);
    char got;
    assert_int_equal(xk_file_read(&file, &got, 1, 0, &err), 0); /* is not in `which` */
    assert_int_equal(got, 'x');                                 /* a write that failed wrote nothing */
    assert_int_equal(f.open_files, 1);
    xk_file_close(&file);
    assert_int_equal(f.open_files, 0);
}

static void transfers_can_be_short(void **state)
{
    char path[XK_FAULT_PATH_MAX * 2], text[1000], got[1000];
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (char)i;
    struct xk_fault_fs f;
    xk_fault_fs_init(&f, xk_fs_posix());
    f.short_io = true;
    struct xk_file file;
    assert_int_equal(xk_file_open(&file, &f.fs, in(path, *state, "a"), O_RDWR | O_CREAT, 0600, NULL), 0);
    const uint64_t before = f.count;
    assert_int_equal(xk_file_write(&file, text, sizeof(text), 0, NULL), 0);
    assert_true(f.count - before > 1);
    assert_int_equal(xk_file_read(&file, got, sizeof(got), 0, NULL), 0);
    assert_memory_equal(got, text, sizeof(got));
    xk_file_close(&file);
}

/* ---- record and replay ---- */

static void put(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static void assert_content(const char *folder, const char *name, const char *want)
{
    char path[XK_FAULT_PATH_MAX * 2];
    xk_autofree char *content = NULL;
    if (xk_slurp(&content, "", in(path, folder, name), 100000, NULL) < 0)
        assert_null(want);
    else
        assert_string_equal(content, want);
}

static void each_prefix_is_what_was_there(void **state)
{
    char source[XK_FAULT_PATH_MAX * 2], a[XK_FAULT_PATH_MAX * 2], b[XK_FAULT_PATH_MAX * 2], c[XK_FAULT_PATH_MAX * 2];
    mkdir(in(source, *state, "source"), 0755);
    mkdir(in(a, source, "sub"), 0755);
    put(in(a, source, "sub/kept"), "kept");
    put(in(a, source, "a"), "0123456789");
    in(b, source, "b");
    in(c, source, "c");
    assert_int_equal(link(a, b), 0);
    assert_int_equal(symlink("sub/kept", in(c, source, "l")), 0);
    in(c, source, "c");

    struct xk_err err;
    struct xk_fault_log log;
    assert_int_equal(xk_fault_log_begin(&log, source, &err), 0);
    struct xk_fault_fs f;
    xk_fault_fs_init(&f, xk_fs_posix());
    f.log = &log;
    struct xk_file file, other;
    assert_int_equal(xk_file_open(&file, &f.fs, a, O_RDWR, 0, &err), 0);
    assert_int_equal(xk_file_write(&file, "AB", 2, 1, &err), 0);                                /* 1 */
    assert_int_equal(xk_file_sync(&file, &err), 0);                                             /* 2 */
    assert_int_equal(f.fs.ops->rename(&f.fs, a, c), 0);                                         /* 3 */
    assert_int_equal(xk_file_write(&file, "CD", 2, 3, &err), 0);                                /* 4 */
    assert_int_equal(xk_file_truncate(&file, 6, &err), 0);                                      /* 5 */
    assert_int_equal(f.fs.ops->unlink(&f.fs, b), 0);                                            /* 6 */
    assert_int_equal(xk_file_open(&other, &f.fs, b, O_RDWR | O_CREAT | O_EXCL, 0600, &err), 0); /* 7 */
    assert_int_equal(xk_file_write(&other, "new", 3, 0, &err), 0);                              /* 8 */
    assert_int_equal(f.fs.ops->link(&f.fs, b, a), 0);                                           /* 9 */
    assert_int_equal(f.fs.ops->sync_dir(&f.fs, source), 0);                                     /* 10 */
    xk_file_close(&other);
    xk_file_close(&file);
    assert_int_equal(xk_file_open(&file, &f.fs, a, O_RDWR | O_TRUNC, 0, &err), 0); /* 11 */
    xk_file_close(&file);
    assert_int_equal(log.count, 11);
    assert_int_equal(log.error, 0);

    static const struct {
        const char *a, *b, *c;
    } states[] = {
        {"0123456789", "0123456789", NULL},
        {"0AB3456789", "0AB3456789", NULL},
        {"0AB3456789", "0AB3456789", NULL},
        {NULL, "0AB3456789", "0AB3456789"},
        {NULL, "0ABCD56789", "0ABCD56789"},
        {NULL, "0ABCD5", "0ABCD5"},
        {NULL, NULL, "0ABCD5"},
        {NULL, "", "0ABCD5"},
        {NULL, "new", "0ABCD5"},
        {"new", "new", "0ABCD5"},
        {"new", "new", "0ABCD5"},
        {"", "", "0ABCD5"},
    };
    char to[XK_FAULT_PATH_MAX * 2];
    mkdir(in(to, *state, "to"), 0755);
    for (size_t n = 0; n < XK_COUNT(states); n++) {
        xk_fault_folder_clear(to, false);
        assert_int_equal(xk_fault_replay(&log, n, to, XK_CRASH_PREFIX, 0, &err), 0);
        assert_content(to, "a", states[n].a);
        assert_content(to, "b", states[n].b);
        assert_content(to, "c", states[n].c);
        assert_content(to, "sub/kept", "kept");
        assert_content(to, "l", "kept");
    }
    xk_fault_log_done(&log);
    xk_fault_log_done(NULL);
}

static void space_is_replayed(void **state)
{
    char source[XK_FAULT_PATH_MAX * 2], a[XK_FAULT_PATH_MAX * 2], to[XK_FAULT_PATH_MAX * 2];
    mkdir(in(source, *state, "source"), 0755);
    mkdir(in(to, *state, "to"), 0755);
    in(a, source, "a");
    put(a, "0123456789");
    struct xk_err err;
    struct xk_fault_log log;
    assert_int_equal(xk_fault_log_begin(&log, source, &err), 0);
    struct xk_fault_fs f;
    xk_fault_fs_init(&f, xk_fs_posix());
    f.log = &log;
    struct xk_file file;
    assert_int_equal(xk_file_open(&file, &f.fs, a, O_RDWR, 0, &err), 0);
    const int r = f.fs.ops->allocate(&f.fs, file.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2, 3);
    assert_int_equal(f.fs.ops->seek(&f.fs, file.fd, 0, SEEK_END), 10);
    xk_file_close(&file);
    if (r == -EOPNOTSUPP) {
        xk_fault_log_done(&log);
        skip();
    }
    assert_int_equal(r, 0);
    assert_int_equal(log.count, 1);
    assert_int_equal(xk_fault_replay(&log, 1, to, XK_CRASH_PREFIX, 0, &err), 0);
    char path[XK_FAULT_PATH_MAX * 2], got[10];
    assert_int_equal(xk_file_open(&file, xk_fs_posix(), in(path, to, "a"), O_RDONLY, 0, &err), 0);
    assert_int_equal(xk_file_read(&file, got, 10, 0, &err), 0);
    xk_file_close(&file);
    assert_memory_equal(got,
                        "01\0\0\0"
                        "56789",
                        10);

    /* A move out of the folder cannot be replayed, and is not passed over. */
    assert_int_equal(f.fs.ops->rename(&f.fs, a, in(path, *state, "gone")), 0);
    assert_int_equal(xk_fault_replay(&log, 1, to, XK_CRASH_PREFIX, 0, &err), -EXDEV);
    xk_fault_log_done(&log);
    assert_int_equal(xk_fault_log_begin(&log, path, &err), -ENOTDIR);
}

/* What each seed made of three sectors of which none, all, or only the first was made safe. */
static void lost_writes(void **state)
{
    char source[XK_FAULT_PATH_MAX * 2], a[XK_FAULT_PATH_MAX * 2], to[XK_FAULT_PATH_MAX * 2];
    mkdir(in(source, *state, "source"), 0755);
    mkdir(in(to, *state, "to"), 0755);
    char sectors[3 * 512];
    memset(sectors, 'o', sizeof(sectors));
    in(a, source, "a");
    assert_int_equal(xk_file_replace(xk_fs_posix(), a, sectors, sizeof(sectors), 0600, NULL), 0);

    struct xk_err err;
    struct xk_fault_log log;
    assert_int_equal(xk_fault_log_begin(&log, source, &err), 0);
    struct xk_fault_fs f;
    xk_fault_fs_init(&f, xk_fs_posix());
    f.log = &log;
    struct xk_file file;
    memset(sectors, 'n', sizeof(sectors));
    assert_int_equal(xk_file_open(&file, &f.fs, a, O_RDWR, 0, &err), 0);
    assert_int_equal(xk_file_write(&file, sectors, 512, 0, &err), 0);
    assert_int_equal(xk_file_sync(&file, &err), 0);
    assert_int_equal(xk_file_write(&file, sectors, 2 * 512, 512, &err), 0);
    xk_file_close(&file);

    bool seen[4] = {false};
    for (uint64_t seed = 0; seed < 60; seed++) {
        xk_fault_folder_clear(to, false);
        assert_int_equal(xk_fault_replay(&log, log.count, to, XK_CRASH_LOSE, seed, &err), 0);
        char path[XK_FAULT_PATH_MAX * 2], got[3 * 512];
        assert_int_equal(xk_file_open(&file, xk_fs_posix(), in(path, to, "a"), O_RDONLY, 0, &err), 0);
        assert_int_equal(xk_file_read(&file, got, sizeof(got), 0, &err), 0);
        xk_file_close(&file);
        assert_int_equal(got[0], 'n');             /* was made safe */
        for (int sector = 0; sector < 3; sector++) /* a sector is never torn */
            for (int i = 0; i < 512; i++)
                assert_int_equal(got[sector * 512 + i], got[sector * 512]);
        seen[(got[512] == 'n') + 2 * (got[1024] == 'n')] = true;
    }
    for (int i = 0; i < 4; i++)
        assert_true(seen[i]); /* none, each alone (so: the later without the earlier), both */
    xk_fault_log_done(&log);
}

/* ---- the loop ---- */

struct mistake {
    char path[XK_FAULT_PATH_MAX * 2];
    char *leaked; /* for the test to free */
};

static int in_order(void *state, const struct xk_fs *fs, struct xk_err *err)
{
    const struct mistake *mistake = state;
    xk_autofree char *text = xk_strdup("text");
    return text ? xk_file_replace(fs, mistake->path, text, 4, 0600, err) : xk_fail_memory(err);
}

static int leaks(void *state, const struct xk_fs *fs, struct xk_err *err)
{
    struct mistake *mistake = state;
    char *text = xk_strdup("text");
    const int r = text ? xk_file_replace(fs, mistake->path, text, 4, 0600, err) : xk_fail_memory(err);
    if (r == -ENOSPC) {
        mistake->leaked = text;
        return r;
    }
    free(text);
    return r;
}

static int stays_open(void *state, const struct xk_fs *fs, struct xk_err *err)
{
    const struct mistake *mistake = state;
    struct xk_file f;
    int r = xk_file_open(&f, fs, mistake->path, O_RDWR | O_CREAT, 0600, err);
    if (r == 0 && (r = xk_file_sync(&f, err)) == 0)
        xk_file_close(&f);
    return r;
}

static int says_nothing(void *state, const struct xk_fs *fs, struct xk_err *err)
{
    const struct mistake *mistake = state;
    const int r = xk_file_replace(fs, mistake->path, "text", 4, 0600, err);
    if (r < 0)
        err->text[0] = '\0';
    return r;
}

static int says_another(void *state, const struct xk_fs *fs, struct xk_err *err)
{
    const struct mistake *mistake = state;
    const int r = xk_file_replace(fs, mistake->path, "text", 4, 0600, err);
    return r == -EIO ? xk_fail(err, -EPERM, "something else") : r;
}

static int never_works(void *state, const struct xk_fs *fs, struct xk_err *err)
{
    return xk_fail(err, -EIO, "no");
}

static int mixes_up_codes(void *state, const struct xk_fs *fs, struct xk_err *err)
{
    const struct mistake *mistake = state;
    const int r = xk_file_replace(fs, mistake->path, "text", 4, 0600, err);
    return r < 0 ? -EPERM : 0;
}

static int ignores_short_writes(void *state, const struct xk_fs *fs, struct xk_err *err)
{
    const struct mistake *mistake = state;
    const int fd = fs->ops->open(fs, mistake->path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd < 0)
        return xk_fail_sys(err, fd, "open");
    const ssize_t put_bytes = fs->ops->pwrite(fs, fd, "text", 4, 0);
    const int r = fs->ops->close(fs, fd);
    if (put_bytes < 0)
        return xk_fail_sys(err, (int)put_bytes, "write");
    return r < 0 ? xk_fail_sys(err, r, "close") : 0;
}

static int is_whole(void *state, const struct xk_fault_round *round, char why[XK_FAULT_WHY_MAX])
{
    const struct mistake *mistake = state;
    xk_autofree char *content = NULL;
    if (round->result < 0 || (xk_slurp(&content, "", mistake->path, 100, NULL) == 0 && !strcmp(content, "text")))
        return 0;
    snprintf(why, XK_FAULT_WHY_MAX, "holds \"%s\"", content ? content : "nothing");
    return -1;
}

static void the_loop_finds_mistakes(void **state)
{
    static const struct {
        int (*run)(void *state, const struct xk_fs *fs, struct xk_err *err);
        const char *found; /* NULL: nothing is wrong */
    } cases[] = {
        {in_order, NULL},
        {leaks, "memory that nobody frees"},
        {stays_open, "leaves a file open"},
        {says_nothing, "without a sentence"},
        {says_another, "another error"},
        {never_works, "fails undisturbed"},
        {mixes_up_codes, "not what was returned"},
        {ignores_short_writes, "holds \"t"},
    };
    struct mistake mistake = {.leaked = NULL};
    in(mistake.path, *state, "a");
    for (size_t i = 0; i < XK_COUNT(cases); i++) {
        const struct xk_fault_case c = {.name = "case", .run = cases[i].run, .verify = is_whole, .state = &mistake};
        char why[XK_FAULT_WHY_MAX];
        const int r = xk_fault_loop(&c, why);
        if (r != (cases[i].found ? -EPROTO : 0) || (cases[i].found && !strstr(why, cases[i].found)))
            fail_msg("case %zu gives %d: %s", i, r, why);
    }
    free(mistake.leaked);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_nth_allocation_fails_once),
        cmocka_unit_test(sticky_goes_on),
        cmocka_unit_test(every_kind_of_allocation_is_counted),
        cmocka_unit_test(live_blocks_are_counted),
        TEST(the_nth_operation_fails),
        TEST(transfers_can_be_short),
        TEST(each_prefix_is_what_was_there),
        TEST(space_is_replayed),
        TEST(lost_writes),
        TEST(the_loop_finds_mistakes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
