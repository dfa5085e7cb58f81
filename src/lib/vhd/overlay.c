/*
 * Changed sectors lie in an array by number. Weighed: a copy of the file to try things on (images have terabytes), and
 * planning each change as bytes at a place, which would need second versions of every function that writes an image.
 */
#include "lib/vhd/overlay.h"

#include "lib/vhd/format.h"

#include <string.h>

static struct vhd_overlay *of(const struct xk_fs *fs)
{
    return fs->state;
}

static bool is_ours(const struct vhd_overlay *o, int fd)
{
    for (size_t i = 0; i < o->open_count; i++) {
        if (o->open[i] == fd)
            return true;
    }
    return false;
}

/* ---- changed sectors ---- */

static size_t position_of(const struct vhd_overlay *o, uint64_t number)
{
    size_t low = 0, high = o->count;
    while (low < high) {
        const size_t mid = low + (high - low) / 2;
        if (o->sectors[mid].number < number)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* What is seen of the file's own bytes; zeros behind them. */
static int read_under(struct vhd_overlay *o, int fd, uint8_t *buf, size_t bytes, uint64_t offset)
{
    const uint64_t there = offset < o->shown ? XK_MIN(o->shown - offset, (uint64_t)bytes) : 0;
    size_t done = 0;

    while (done < there) {
        const ssize_t got = o->real->ops->pread(o->real, fd, buf + done, (size_t)there - done, offset + done);
        if (got < 0) {
            o->read_error = o->read_error ? o->read_error : (int)got;
            return (int)got;
        }
        if (got == 0)
            break;
        done += (size_t)got;
    }
    memset(buf + done, 0, bytes - done);
    return 0;
}

static int changed_sector(uint8_t **ret, struct vhd_overlay *o, int fd, uint64_t number)
{
    const size_t at = position_of(o, number);
    if (at < o->count && o->sectors[at].number == number) {
        *ret = o->sectors[at].data;
        return 0;
    }
    if (o->count >= VHD_OVERLAY_SECTORS_MAX)
        return -EFBIG;
    if (o->count == o->capacity) {
        const size_t capacity = o->capacity ? 2 * o->capacity : 64;
        struct vhd_overlay_sector *const grown = xk_realloc(o->sectors, capacity * sizeof(*grown));
        if (!grown)
            return -ENOMEM;
        o->sectors = grown;
        o->capacity = capacity;
    }
    uint8_t *const data = xk_alloc(VHD_SECTOR);
    if (!data)
        return -ENOMEM;
    const int code = read_under(o, fd, data, VHD_SECTOR, number * VHD_SECTOR);
    if (code < 0) {
        free(data);
        return code;
    }
    memmove(&o->sectors[at + 1], &o->sectors[at], (o->count - at) * sizeof(*o->sectors));
    o->sectors[at] = (struct vhd_overlay_sector){.number = number, .data = data};
    o->count++;
    *ret = data;
    return 0;
}

static void forget_from(struct vhd_overlay *o, size_t first)
{
    for (size_t i = first; i < o->count; i++)
        free(o->sectors[i].data);
    o->count = XK_MIN(o->count, first);
}

/* ---- the operations ---- */

static int op_open(const struct xk_fs *fs, const char *path, int flags, mode_t mode)
{
    struct vhd_overlay *const o = of(fs);
    struct stat st;

    if (flags & (O_CREAT | O_TRUNC))
        return -EROFS;
    const int fd = o->real->ops->open(o->real, path, (flags & ~O_ACCMODE) | O_RDONLY, mode);
    if (fd < 0)
        return fd;
    int code = o->real->ops->fstat(o->real, fd, &st);
    if (code == 0 && st.st_dev == o->dev && st.st_ino == o->ino) {
        if (o->open_count == VHD_OVERLAY_OPEN_MAX)
            code = -EMFILE;
        else
            o->open[o->open_count++] = fd;
    } else if (code == 0 && (flags & O_ACCMODE) != O_RDONLY) {
        code = strcmp(path, o->path) == 0 ? -ESTALE : -EROFS;
    }
    if (code < 0) {
        (void)o->real->ops->close(o->real, fd);
        return code;
    }
    return fd;
}

static int op_close(const struct xk_fs *fs, int fd)
{
    struct vhd_overlay *const o = of(fs);

    for (size_t i = 0; i < o->open_count; i++) {
        if (o->open[i] == fd) {
            o->open[i] = o->open[--o->open_count];
            break;
        }
    }
    return o->real->ops->close(o->real, fd);
}

static ssize_t op_pread(const struct xk_fs *fs, int fd, void *buf, size_t bytes, uint64_t offset)
{
    struct vhd_overlay *const o = of(fs);
    uint8_t *const to = buf;

    if (!is_ours(o, fd))
        return o->real->ops->pread(o->real, fd, buf, bytes, offset);
    if (offset >= o->bytes)
        return 0;
    const size_t count = (size_t)XK_MIN((uint64_t)bytes, o->bytes - offset);
    const int code = read_under(o, fd, to, count, offset);
    if (code < 0)
        return code;
    const uint64_t end = offset + count;
    for (size_t i = position_of(o, offset / VHD_SECTOR); i < o->count; i++) {
        const uint64_t start = o->sectors[i].number * VHD_SECTOR;
        if (start >= end)
            break;
        const uint64_t from = XK_MAX(start, offset), till = XK_MIN(start + VHD_SECTOR, end);
        memcpy(to + (from - offset), o->sectors[i].data + (from - start), (size_t)(till - from));
    }
    return (ssize_t)count;
}

static ssize_t op_pwrite(const struct xk_fs *fs, int fd, const void *buf, size_t bytes, uint64_t offset)
{
    struct vhd_overlay *const o = of(fs);
    const uint8_t *const from = buf;
    uint64_t end;

    if (!is_ours(o, fd))
        return -EROFS;
    if (xk_add(offset, (uint64_t)bytes, &end))
        return -EFBIG;
    if (o->block_device && end > o->bytes)
        return -ENOSPC;
    for (size_t done = 0; done < bytes;) {
        const uint64_t at = offset + done;
        const size_t skip = (size_t)(at % VHD_SECTOR), part = XK_MIN(bytes - done, VHD_SECTOR - skip);
        uint8_t *sector;
        const int code = changed_sector(&sector, o, fd, at / VHD_SECTOR);
        if (code < 0)
            return code;
        memcpy(sector + skip, from + done, part);
        done += part;
    }
    o->bytes = XK_MAX(o->bytes, end);
    return (ssize_t)bytes;
}

static int op_truncate(const struct xk_fs *fs, int fd, uint64_t bytes)
{
    struct vhd_overlay *const o = of(fs);

    if (!is_ours(o, fd))
        return -EROFS;
    if (o->block_device)
        return bytes == o->bytes ? 0 : -EINVAL;
    if (bytes < o->bytes) {
        o->shown = XK_MIN(o->shown, bytes);
        forget_from(o, position_of(o, XK_DIV_UP(bytes, (uint64_t)VHD_SECTOR)));
        if (bytes % VHD_SECTOR && o->count && o->sectors[o->count - 1].number == bytes / VHD_SECTOR)
            memset(o->sectors[o->count - 1].data + bytes % VHD_SECTOR, 0, (size_t)(VHD_SECTOR - bytes % VHD_SECTOR));
    }
    o->bytes = bytes;
    return 0;
}

static int op_allocate(const struct xk_fs *fs, int fd, int mode, uint64_t offset, uint64_t bytes)
{
    return -EOPNOTSUPP;
}

static int op_sync(const struct xk_fs *fs, int fd, bool data_only)
{
    return 0;
}

static int op_fstat(const struct xk_fs *fs, int fd, struct stat *ret)
{
    struct vhd_overlay *const o = of(fs);
    const int code = o->real->ops->fstat(o->real, fd, ret);
    if (code == 0 && is_ours(o, fd) && !o->block_device)
        ret->st_size = (off_t)o->bytes;
    return code;
}

static int op_chmod_chown(const struct xk_fs *fs, int fd, const struct stat *like)
{
    return -EROFS;
}

/* Of the file's own data and the changed sectors what comes first. */
static int64_t next_data(const struct vhd_overlay *o, int fd, uint64_t offset)
{
    const size_t changed = position_of(o, offset / VHD_SECTOR);
    uint64_t next = UINT64_MAX;

    if (offset < o->shown) {
        const int64_t data = o->real->ops->seek(o->real, fd, offset, SEEK_DATA);
        if (data < 0 && data != -ENXIO)
            return data;
        if (data >= 0 && (uint64_t)data < o->shown)
            next = (uint64_t)data;
    }
    if (changed < o->count)
        next = XK_MIN(next, XK_MAX(offset, o->sectors[changed].number * VHD_SECTOR));
    return next < o->bytes ? (int64_t)next : -ENXIO;
}

static int64_t op_seek(const struct xk_fs *fs, int fd, uint64_t offset, int whence)
{
    struct vhd_overlay *const o = of(fs);
    if (is_ours(o, fd) && whence == SEEK_END)
        return (int64_t)(o->bytes + offset);
    if (is_ours(o, fd) && whence == SEEK_DATA)
        return next_data(o, fd, offset);
    return is_ours(o, fd) ? -EINVAL : o->real->ops->seek(o->real, fd, offset, whence);
}

static int op_two_names(const struct xk_fs *fs, const char *from, const char *to)
{
    return -EROFS;
}

static int op_name(const struct xk_fs *fs, const char *path)
{
    return -EROFS;
}

static const struct xk_fs_ops ops = {
    .open = op_open,
    .close = op_close,
    .pread = op_pread,
    .pwrite = op_pwrite,
    .truncate = op_truncate,
    .allocate = op_allocate,
    .sync = op_sync,
    .fstat = op_fstat,
    .chmod_chown = op_chmod_chown,
    .seek = op_seek,
    .rename = op_two_names,
    .link = op_two_names,
    .unlink = op_name,
    .sync_dir = op_name,
};

/* ---- beginning, ending, going back ---- */

int vhd_overlay_begin(struct vhd_overlay *ret, const struct xk_fs *real, const char *path, struct xk_err *err)
{
    struct xk_file f;
    struct stat st;

    *ret = (struct vhd_overlay){.fs = {.ops = &ops, .state = ret}, .real = real};
    int code = xk_file_open(&f, real, path, O_RDONLY | O_NONBLOCK, 0, err);
    if (code < 0)
        return code;
    code = real->ops->fstat(real, f.fd, &st);
    if (code < 0)
        xk_fail_sys(err, code, "%s", path);
    if (code == 0)
        code = xk_file_size(&ret->real_bytes, &f, err);
    xk_file_close(&f);
    if (code < 0)
        return code;
    ret->path = xk_strdup(path);
    if (!ret->path)
        return xk_fail_memory(err);
    ret->dev = st.st_dev;
    ret->ino = st.st_ino;
    ret->block_device = S_ISBLK(st.st_mode);
    ret->bytes = ret->shown = ret->real_bytes;
    return 0;
}

void vhd_overlay_done(struct vhd_overlay *o)
{
    forget_from(o, 0);
    free(o->sectors);
    free(o->path);
    *o = (struct vhd_overlay){0};
}

int vhd_overlay_mark(struct vhd_overlay_mark *ret, const struct vhd_overlay *o, struct xk_err *err)
{
    *ret = (struct vhd_overlay_mark){.bytes = o->bytes, .shown = o->shown};
    ret->sectors = xk_array_alloc(o->count, sizeof(*ret->sectors));
    if (!ret->sectors)
        return xk_fail_memory(err);
    for (; ret->count < o->count; ret->count++) {
        struct vhd_overlay_sector *const s = &ret->sectors[ret->count];
        s->number = o->sectors[ret->count].number;
        s->data = xk_alloc(VHD_SECTOR);
        if (!s->data) {
            vhd_overlay_mark_done(ret);
            return xk_fail_memory(err);
        }
        memcpy(s->data, o->sectors[ret->count].data, VHD_SECTOR);
    }
    return 0;
}

void vhd_overlay_mark_done(struct vhd_overlay_mark *m)
{
    for (size_t i = 0; i < m->count; i++)
        free(m->sectors[i].data);
    free(m->sectors);
    *m = (struct vhd_overlay_mark){0};
}

void vhd_overlay_return(struct vhd_overlay *o, struct vhd_overlay_mark *m)
{
    forget_from(o, 0);
    free(o->sectors);
    o->bytes = m->bytes;
    o->shown = m->shown;
    o->sectors = m->sectors;
    o->count = o->capacity = m->count;
    *m = (struct vhd_overlay_mark){0};
}
