/*
 * xk_newfile_* and xk_file_replace() under every fault and every crash: after each, the old file or the new one is
 * there, whole, and nothing else.
 */
#include "core/testing/fault.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define OLD       "the old content"
#define NEW_BYTES 5000

struct world {
    char folder[XK_FAULT_PATH_MAX];
    char path[XK_FAULT_PATH_MAX + 8];
    char fresh[NEW_BYTES];
    bool exclusive; /* nothing is there before */
    bool linked;    /* the file is reached through a symbolic link */
};

static int make_world(void **state)
{
    static struct world world;
    world.exclusive = world.linked = false;
    for (size_t i = 0; i < NEW_BYTES; i++)
        world.fresh[i] = (char)('a' + i % 26);
    *state = &world;
    const int r = xk_fault_folder_make(world.folder);
    snprintf(world.path, sizeof(world.path), "%s/file", world.folder);
    return r;
}

static int remove_world(void **state)
{
    const struct world *world = *state;
    xk_fault_folder_clear(world->folder, true);
    return 0;
}

static int prepare(void *state)
{
    const struct world *world = state;
    xk_fault_folder_clear(world->folder, false);
    if (world->exclusive)
        return 0;
    if (world->linked) {
        char link_path[XK_FAULT_PATH_MAX + 8];
        snprintf(link_path, sizeof(link_path), "%s/link", world->folder);
        if (symlink("file", link_path) < 0)
            return -errno;
    }
    const int r = xk_file_replace(xk_fs_posix(), world->path, OLD, strlen(OLD), 0640, NULL);
    return r < 0 ? r : chmod(world->path, 0640);
}

static int replace(void *state, const struct xk_fs *fs, struct xk_err *err)
{
    const struct world *world = state;
    char path[XK_FAULT_PATH_MAX + 8];
    snprintf(path, sizeof(path), "%s/%s", world->folder, world->linked ? "link" : "file");
    return xk_file_replace(fs, path, world->fresh, NEW_BYTES, 0644, err);
}

/* In three writes, the first one last, as a format with a header does. */
static int create(void *state, const struct xk_fs *fs, struct xk_err *err)
{
    const struct world *world = state;
    struct xk_newfile n;
    int r = xk_newfile_begin(&n, fs, world->path, 0644, true, err);
    if (r == 0)
        r = xk_file_truncate(&n.file, NEW_BYTES, err);
    for (int part = 2; r == 0 && part >= 0; part--) {
        const size_t at = (size_t)part * 2000;
        r = xk_file_write(&n.file, world->fresh + at, XK_MIN(NEW_BYTES - at, (size_t)2000), at, err);
    }
    if (r < 0) {
        xk_newfile_abort(&n);
        return r;
    }
    return xk_newfile_commit(&n, err);
}

enum found { FOUND_NOTHING, FOUND_OLD, FOUND_NEW, FOUND_OTHER };

static enum found look(const struct world *world, const char *folder)
{
    char path[XK_FAULT_PATH_MAX + 8], content[NEW_BYTES + 1];
    snprintf(path, sizeof(path), "%s/file", folder);
    FILE *f = fopen(path, "r");
    if (!f)
        return errno == ENOENT ? FOUND_NOTHING : FOUND_OTHER;
    const size_t got = fread(content, 1, sizeof(content), f);
    struct stat st;
    const bool known = fstat(fileno(f), &st) == 0;
    fclose(f);
    if (known && got == NEW_BYTES && !memcmp(content, world->fresh, NEW_BYTES))
        return world->exclusive || (st.st_mode & 07777) == 0640 ? FOUND_NEW : FOUND_OTHER;
    if (known && got == strlen(OLD) && !memcmp(content, OLD, got) && (st.st_mode & 07777) == 0640)
        return FOUND_OLD;
    return FOUND_OTHER;
}

static size_t count_files(const char *folder)
{
    size_t count = 0;
    DIR *dir = opendir(folder);
    while (dir && readdir(dir))
        count++;
    if (dir)
        closedir(dir);
    return count - 2; /* . and .. */
}

/* The old state or the new one, as the result says; an error after the new name was taken must say so. */
static int verify(void *state, const struct xk_fault_round *round, char why[XK_FAULT_WHY_MAX])
{
    const struct world *world = state;
    const enum found before = world->exclusive ? FOUND_NOTHING : FOUND_OLD;
    const enum found now = look(world, world->folder);
    const size_t files = count_files(world->folder) - world->linked;
    const bool said_complete = strstr(round->err->text, "is complete") != NULL;
    snprintf(why, XK_FAULT_WHY_MAX, "state %d, %zu files", now, files);
    if (now != (round->result == 0 || said_complete ? FOUND_NEW : before))
        return -1;
    if (files != (now != FOUND_NOTHING) && !round->unlink_failed)
        return -1;
    return round->result == 0 || round->fired ? 0 : -1;
}

static void a_replacement_under_faults(void **state)
{
    const struct xk_fault_case c = {
        .name = "replace", .prepare = prepare, .run = replace, .verify = verify, .state = *state};
    char why[XK_FAULT_WHY_MAX];
    if (xk_fault_loop(&c, why) < 0)
        fail_msg("%s", why);
}

static void a_replacement_through_a_link_under_faults(void **state)
{
    struct world *world = *state;
    world->linked = true;
    const struct xk_fault_case c = {
        .name = "link", .prepare = prepare, .run = replace, .verify = verify, .state = world};
    char why[XK_FAULT_WHY_MAX];
    if (xk_fault_loop(&c, why) < 0)
        fail_msg("%s", why);
}

static void a_creation_under_faults(void **state)
{
    struct world *world = *state;
    world->exclusive = true;
    const struct xk_fault_case c = {
        .name = "create", .prepare = prepare, .run = create, .verify = verify, .state = world};
    char why[XK_FAULT_WHY_MAX];
    if (xk_fault_loop(&c, why) < 0)
        fail_msg("%s", why);
}

static int slurp(void *state, const struct xk_fs *fs, struct xk_err *err)
{
    const struct world *world = state;
    xk_autofree char *content = NULL;
    const int r = xk_slurp(&content, "", world->path, 100, err);
    if (r < 0)
        return r;
    xk_autofree char *line = xk_slurp_line("", world->path);
    if (!line)
        return xk_fail_memory(err);
    return strcmp(content, OLD) || strcmp(line, OLD) ? xk_fail(err, -EBADMSG, "read \"%s\"", content) : 0;
}

static void a_small_file_without_memory(void **state)
{
    const struct xk_fault_case c = {.name = "slurp", .prepare = prepare, .run = slurp, .state = *state};
    char why[XK_FAULT_WHY_MAX];
    if (xk_fault_loop(&c, why) < 0)
        fail_msg("%s", why);
}

struct crash {
    const struct world *world;
    size_t last; /* records when the operation had ended */
    size_t seen[4];
};

static int verify_crash(void *state, const char *folder, size_t n, char why[XK_FAULT_WHY_MAX])
{
    struct crash *crash = state;
    const enum found now = look(crash->world, folder);
    crash->seen[now]++;
    snprintf(why, XK_FAULT_WHY_MAX, "state %d", now);
    if (n == crash->last)
        return now == FOUND_NEW ? 0 : -1;
    return now == FOUND_NEW || now == (crash->world->exclusive ? FOUND_NOTHING : FOUND_OLD) ? 0 : -1;
}

/* Record `run` and look at every crash of it. */
static int crash_loop(struct crash *ret, struct world *world,
                      int (*run)(void *state, const struct xk_fs *fs, struct xk_err *err), char why[XK_FAULT_WHY_MAX])
{
    assert_int_equal(prepare(world), 0);
    struct xk_err err;
    struct xk_fault_log log;
    assert_int_equal(xk_fault_log_begin(&log, world->folder, &err), 0);
    struct xk_fault_fs f;
    xk_fault_fs_init(&f, xk_fs_posix());
    f.log = &log;
    f.short_io = true;
    assert_int_equal(run(world, &f.fs, &err), 0);
    *ret = (struct crash){.world = world, .last = log.count};
    const int r = xk_crash_loop(&log, 20, verify_crash, ret, why);
    xk_fault_log_done(&log);
    return r;
}

static void a_replacement_and_crashes(void **state)
{
    char why[XK_FAULT_WHY_MAX];
    struct crash crash;
    if (crash_loop(&crash, *state, replace, why) < 0)
        fail_msg("%s", why);
    assert_true(crash.seen[FOUND_OLD] > 20 && crash.seen[FOUND_NEW] > 20); /* both sides were tried */
}

static void a_creation_and_crashes(void **state)
{
    struct world *world = *state;
    world->exclusive = true;
    char why[XK_FAULT_WHY_MAX];
    struct crash crash;
    if (crash_loop(&crash, world, create, why) < 0)
        fail_msg("%s", why);
    assert_true(crash.seen[FOUND_NOTHING] > 20 && crash.seen[FOUND_NEW] > 20);
}

/* The mistakes that the crash loop is there for. */

static int overwrite_in_place(void *state, const struct xk_fs *fs, struct xk_err *err)
{
    const struct world *world = state;
    struct xk_file f;
    int r = xk_file_open(&f, fs, world->path, O_WRONLY | O_TRUNC, 0, err);
    if (r == 0) {
        r = xk_file_write(&f, world->fresh, NEW_BYTES, 0, err);
        if (r == 0)
            r = xk_file_sync(&f, err);
        xk_file_close(&f);
    }
    return r;
}

static int rename_without_sync(void *state, const struct xk_fs *fs, struct xk_err *err)
{
    const struct world *world = state;
    char temp[XK_FAULT_PATH_MAX + 16];
    snprintf(temp, sizeof(temp), "%s.tmp", world->path);
    struct xk_file f;
    int r = xk_file_open(&f, fs, temp, O_WRONLY | O_CREAT | O_EXCL, 0640, err);
    if (r == 0) {
        r = xk_file_write(&f, world->fresh, NEW_BYTES, 0, err);
        xk_file_close(&f);
    }
    if (r == 0)
        r = fs->ops->rename(fs, temp, world->path);
    return r == 0 ? fs->ops->sync_dir(fs, world->folder) : r;
}

static int rename_without_folder_sync(void *state, const struct xk_fs *fs, struct xk_err *err)
{
    const struct world *world = state;
    char temp[XK_FAULT_PATH_MAX + 16];
    snprintf(temp, sizeof(temp), "%s.tmp", world->path);
    struct xk_file f;
    int r = xk_file_open(&f, fs, temp, O_WRONLY | O_CREAT | O_EXCL, 0640, err);
    if (r == 0) {
        r = xk_file_write(&f, world->fresh, NEW_BYTES, 0, err);
        if (r == 0)
            r = xk_file_sync(&f, err);
        xk_file_close(&f);
    }
    return r == 0 ? fs->ops->rename(fs, temp, world->path) : r;
}

static void the_crash_loop_finds_mistakes(void **state)
{
    static int (*const mistakes[])(void *state, const struct xk_fs *fs, struct xk_err *err) = {
        overwrite_in_place, rename_without_sync, rename_without_folder_sync};
    for (size_t i = 0; i < XK_COUNT(mistakes); i++) {
        char why[XK_FAULT_WHY_MAX];
        struct crash crash;
        assert_int_equal(crash_loop(&crash, *state, mistakes[i], why), -EPROTO);
        assert_non_null(strstr(why, "crash after"));
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_world, remove_world)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_replacement_under_faults),    TEST(a_replacement_through_a_link_under_faults),
        TEST(a_creation_under_faults),       TEST(a_small_file_without_memory),
        TEST(a_replacement_and_crashes),     TEST(a_creation_and_crashes),
        TEST(the_crash_loop_finds_mistakes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
