/*
 * For tests: images of a fixed size, written to at random beside a plain array that says what the disk must hold.
 */
#ifndef VHD_TEST_IMAGES_H
#define VHD_TEST_IMAGES_H

#include "core/testing/fault.h"
#include "lib/vhd/chain.h"
#include "lib/vhd/create.h"
#include "lib/vhd/write.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define DISK_SECTORS (9u * 4096) /* 18 MiB */
#define DISK_BYTES   ((uint64_t)DISK_SECTORS * VHD_SECTOR)
#define NOW          1795000000
#define PATH_BYTES   (XK_FAULT_PATH_MAX + 64)

struct world {
    char dir[XK_FAULT_PATH_MAX];
    struct xk_random random;
    struct xk_err err;
};

static inline int world_make(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    if (!w || xk_fault_folder_make(w->dir) < 0)
        return -1;
    xk_random_seed(&w->random, 7);
    *state = w;
    return 0;
}

static inline int world_end(void **state)
{
    struct world *w = *state;
    xk_fault_folder_clear(w->dir, true);
    free(w);
    return 0;
}

static inline const char *name_in(char ret[PATH_BYTES], const char *dir, const char *name)
{
    snprintf(ret, PATH_BYTES, "%s/%s", dir, name);
    return ret;
}

static inline int create(const struct xk_fs *fs, const char *path, enum vhd_type type, struct xk_random *random,
                         struct xk_err *err)
{
    return vhd_create(
        fs,
        &(struct vhd_create){
            .path = path, .bytes = DISK_BYTES, .type = type, .overwrite = true, .unix_seconds = NOW, .random = random},
        err);
}

static inline int snapshot(const struct xk_fs *fs, const char *path, const char *parent, bool raw,
                           struct xk_random *random, struct xk_err *err)
{
    struct vhd_snapshot_made made = {0};
    const int code = vhd_snapshot(fs,
                                  &(struct vhd_snapshot){.path = path,
                                                         .parent = parent,
                                                         .parent_raw = raw,
                                                         .keep_empty = true,
                                                         .overwrite = true,
                                                         .unix_seconds = NOW,
                                                         .random = random},
                                  &made, err);
    free(made.parent);
    return code;
}

static inline int write_at(const struct xk_fs *fs, const char *path, const uint8_t *data, uint64_t sector,
                           uint64_t count, struct xk_err *err)
{
    struct vhd image;
    struct vhd_writer w = {0};

    int code = vhd_open(&image, fs, path, VHD_WRITE, err);
    if (code < 0)
        return code;
    code = vhd_writer_begin(&w, &image, err);
    if (code == 0)
        code = vhd_writer_write(&w, data, sector, count, err);
    if (code == 0)
        code = vhd_writer_commit(&w, err);
    vhd_writer_done(&w);
    vhd_close(&image);
    return code;
}

static inline void random_write(struct world *w, const char *path, uint8_t *model)
{
    const uint64_t count = 1 + xk_random_below(&w->random, xk_random_below(&w->random, 2) ? 9000 : 64);
    const uint64_t sector = xk_random_below(&w->random, DISK_SECTORS - count);

    xk_random_bytes(&w->random, model + sector * VHD_SECTOR, (size_t)count * VHD_SECTOR);
    if (write_at(xk_fs_posix(), path, model + sector * VHD_SECTOR, sector, count, &w->err) < 0)
        fail_msg("%s", w->err.text);
}

#define WORLD_TEST(f) cmocka_unit_test_setup_teardown(f, world_make, world_end)

#endif
