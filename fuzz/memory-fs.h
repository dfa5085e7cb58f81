/*
 * A file system of one file in memory, for fuzzing decoders that read through struct xk_fs. The file is the given bytes
 * with a hole put in, so that a small input can be a large sparse image. Only reading works.
 */
#ifndef FUZZ_MEMORY_FS_H
#define FUZZ_MEMORY_FS_H

#include "core/fs.h"

#include <string.h>

struct memory_file {
    struct xk_fs fs; /* hand out &file.fs */
    const uint8_t *data;
    size_t bytes;
    uint64_t hole_at, hole_bytes;
};

static inline const struct memory_file *memory_file_of(const struct xk_fs *fs)
{
    return fs->state;
}

static int memory_open(const struct xk_fs *fs, const char *path, int flags, mode_t mode)
{
    return (flags & O_ACCMODE) == O_RDONLY ? 0 : -EROFS;
}

static int memory_close(const struct xk_fs *fs, int fd)
{
    return 0;
}

static uint64_t memory_bytes(const struct memory_file *f)
{
    return f->bytes + f->hole_bytes;
}

static ssize_t memory_pread(const struct xk_fs *fs, int fd, void *buf, size_t bytes, uint64_t offset)
{
    const struct memory_file *const f = memory_file_of(fs);
    const uint64_t size = memory_bytes(f);
    uint8_t *const to = buf;

    if (offset >= size)
        return 0;
    const size_t count = (size_t)XK_MIN((uint64_t)bytes, size - offset);
    for (size_t done = 0; done < count;) {
        const uint64_t at = offset + done;
        const uint64_t left = count - done;
        size_t part;
        if (at < f->hole_at) {
            part = (size_t)XK_MIN(left, f->hole_at - at);
            memcpy(to + done, f->data + at, part);
        } else if (at < f->hole_at + f->hole_bytes) {
            part = (size_t)XK_MIN(left, f->hole_at + f->hole_bytes - at);
            memset(to + done, 0, part);
        } else {
            part = (size_t)left;
            memcpy(to + done, f->data + (at - f->hole_bytes), part);
        }
        done += part;
    }
    return (ssize_t)count;
}

static ssize_t memory_pwrite(const struct xk_fs *fs, int fd, const void *buf, size_t bytes, uint64_t offset)
{
    return -EROFS;
}

static int memory_fstat(const struct xk_fs *fs, int fd, struct stat *ret)
{
    *ret = (struct stat){.st_mode = S_IFREG | 0600, .st_ino = 1, .st_nlink = 1};
    ret->st_size = (off_t)memory_bytes(memory_file_of(fs));
    return 0;
}

static int64_t memory_seek(const struct xk_fs *fs, int fd, uint64_t offset, int whence)
{
    const struct memory_file *const f = memory_file_of(fs);
    const uint64_t hole_end = f->hole_at + f->hole_bytes;
    const bool in_hole = offset >= f->hole_at && offset < hole_end;

    if (whence == SEEK_END)
        return (int64_t)(memory_bytes(f) + offset);
    if (offset >= memory_bytes(f) || (in_hole && whence == SEEK_DATA && hole_end == memory_bytes(f)))
        return -ENXIO;
    if (whence == SEEK_DATA)
        return (int64_t)(in_hole ? hole_end : offset);
    return (int64_t)(offset < f->hole_at ? f->hole_at : (in_hole ? offset : memory_bytes(f)));
}

/* hole_at is cut to the data. The file must not move afterwards. */
static void memory_file_init(struct memory_file *f, const uint8_t *data, size_t bytes, uint64_t hole_at,
                             uint64_t hole_bytes)
{
    static const struct xk_fs_ops ops = {
        .open = memory_open,
        .close = memory_close,
        .pread = memory_pread,
        .pwrite = memory_pwrite,
        .fstat = memory_fstat,
        .seek = memory_seek,
    };
    *f = (struct memory_file){
        .fs = {.ops = &ops, .state = f},
        .data = data,
        .bytes = bytes,
        .hole_at = XK_MIN(hole_at, (uint64_t)bytes),
        .hole_bytes = hole_bytes,
    };
}

#endif
