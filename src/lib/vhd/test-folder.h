/*
 * A folder of images for tests: made with the library itself, removed at the end.
 */
#ifndef VHD_TEST_FOLDER_H
#define VHD_TEST_FOLDER_H

#include "lib/vhd/checks.h"
#include "lib/vhd/create.h"
#include "lib/vhd/damage.h"
#include "lib/vhd/write.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define TEST_NOW INT64_C(1760000000) /* October 2025 */

struct folder {
    char dir[64];
    char path[256]; /* of the last in_folder() */
};

static inline void folder_make(struct folder *f)
{
    const char *const tmp = getenv("TMPDIR");
    snprintf(f->dir, sizeof(f->dir), "%.40s/xenkit-vhd-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(f->dir));
}

static inline void folder_remove(const struct folder *f)
{
    DIR *const d = opendir(f->dir);
    assert_non_null(d);
    const struct dirent *entry;
    while ((entry = readdir(d)) != NULL)
        (void)unlinkat(dirfd(d), entry->d_name, 0);
    (void)closedir(d);
    assert_int_equal(rmdir(f->dir), 0);
}

static inline const char *in_folder(struct folder *f, const char *name)
{
    snprintf(f->path, sizeof(f->path), "%s/%s", f->dir, name);
    return f->path;
}

#define assert_done(code, err)                                                                                         \
    do {                                                                                                               \
        if ((code) < 0)                                                                                                \
            fail_msg("%s: %d: %s", #code, (code), (err).text);                                                         \
    } while (0)

/* Each name has a UUID of its own. */
static inline uint64_t seed_of(const char *name)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (; *name; name++)
        hash = (hash ^ (uint8_t)*name) * UINT64_C(0x100000001b3);
    return hash;
}

static inline void make_image(struct folder *f, const char *name, enum vhd_type type, uint64_t bytes, uint64_t reserve)
{
    struct xk_err err = {0};
    struct xk_random random;
    xk_random_seed(&random, seed_of(name));
    const struct vhd_create how = {.path = in_folder(f, name),
                                   .bytes = bytes,
                                   .type = type,
                                   .reserve_bytes = reserve,
                                   .unix_seconds = TEST_NOW - 3600,
                                   .random = &random};
    const int code = vhd_create(xk_fs_posix(), &how, &err);
    assert_done(code, err);
}

/* A fixed image is made with a hole for its data. */
static inline void fill_hole(struct folder *f, const char *name, uint64_t bytes)
{
    const int fd = open(in_folder(f, name), O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(posix_fallocate(fd, 0, (off_t)bytes), 0);
    assert_int_equal(close(fd), 0);
}

static inline void make_child(struct folder *f, const char *name, const char *parent, bool raw)
{
    struct xk_err err = {0};
    struct xk_random random;
    char parent_path[256];
    xk_random_seed(&random, seed_of(name));
    snprintf(parent_path, sizeof(parent_path), "%s/%s", f->dir, parent);
    const struct vhd_snapshot how = {.path = in_folder(f, name),
                                     .parent = parent_path,
                                     .parent_raw = raw,
                                     .keep_empty = true,
                                     .unix_seconds = TEST_NOW - 1800,
                                     .random = &random};
    struct vhd_snapshot_made made = {0};
    /* The child keeps the time of its parent's last change. */
    const struct timespec then[2] = {{.tv_sec = TEST_NOW - 2400}, {.tv_sec = TEST_NOW - 2400}};
    assert_int_equal(utimensat(AT_FDCWD, parent_path, then, 0), 0);
    const int code = vhd_snapshot(xk_fs_posix(), &how, &made, &err);
    assert_done(code, err);
    free(made.parent);
}

/* Write sectors full of `fill` to the disk inside. */
static inline void put_data(struct folder *f, const char *name, uint64_t sector, uint64_t count, uint8_t fill)
{
    struct xk_err err = {0};
    struct vhd v;
    struct vhd_writer w;
    uint8_t *const data = malloc((size_t)count * VHD_SECTOR);
    assert_non_null(data);
    memset(data, fill, (size_t)count * VHD_SECTOR);
    int code = vhd_open(&v, xk_fs_posix(), in_folder(f, name), VHD_WRITE, &err);
    assert_done(code, err);
    code = vhd_writer_begin(&w, &v, &err);
    assert_done(code, err);
    code = vhd_writer_write(&w, data, sector, count, &err);
    assert_done(code, err);
    code = vhd_writer_commit(&w, &err);
    assert_done(code, err);
    vhd_writer_done(&w);
    vhd_close(&v);
    free(data);
}

static inline void set_hidden(struct folder *f, const char *name)
{
    struct xk_err err = {0};
    in_folder(f, name);
    const int code = vhd_damage_apply(vhd_damage_find("hidden-leaf"), xk_fs_posix(), f->path, &err);
    assert_done(code, err);
}

static inline void survey_folder(struct vhd_survey *s, const struct folder *f, const struct vhd_survey_options *options)
{
    struct xk_err err = {0};
    const char *const target = f->dir;
    const int code = vhd_survey_run(s, xk_fs_posix(), &target, 1, options, &err);
    assert_done(code, err);
}

static inline const struct vhd_survey_image *image_named(const struct vhd_survey *s, const char *name)
{
    for (size_t i = 0; i < s->count; i++) {
        if (strcmp(s->images[i].name, name) == 0)
            return &s->images[i];
    }
    fail_msg("%s is not in the survey", name);
    return NULL;
}

static inline const struct vhd_problem *problem_of(const struct vhd_problems *list, enum vhd_problem_kind kind)
{
    for (size_t i = 0; i < list->count; i++) {
        if (list->items[i].kind == kind)
            return &list->items[i];
    }
    return NULL;
}

static inline void print_problems(const char *name, const struct vhd_problems *list)
{
    for (size_t i = 0; i < list->count; i++)
        print_message("# %s: %s %s: %s\n", name, xk_severity_name(list->items[i].severity),
                      vhd_check_of(list->items[i].kind)->id, list->items[i].evidence);
}

#endif
