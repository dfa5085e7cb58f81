/*
 * Files. The posix operations only translate: EINTR is tried again, -1 becomes a negative errno value. All policy
 * (whole reads and writes, sentences, the order of a replacement) is above the table, so a table made for tests
 * meets the same policy as the real one.
 *
 * A replacement writes a temporary file, fsyncs it, renames it, and fsyncs the folder. O_TMPFILE with linkat() would
 * never leave a temporary name behind, but it cannot replace an old name and NFS has none. Extended attributes and
 * access lists of the old file are not carried over; mode and owner are.
 */
#include "core/fs.h"
#include "core/buf.h"
#include "core/clock.h"
#include "core/text.h"

#include <assert.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

/* What read(2) and write(2) take at most in one go; more would be cut by the kernel anyway. */
#define IO_BYTES_MAX 0x7ffff000
#define OFFSET_MAX   ((uint64_t)INT64_MAX)

#define RETRY(call)                                                                                                    \
    ({                                                                                                                 \
        __typeof__(call) r_;                                                                                           \
        do                                                                                                             \
            r_ = (call);                                                                                               \
        while (r_ < 0 && errno == EINTR);                                                                              \
        r_;                                                                                                            \
    })

/* ---- the real operations ---- */

static int posix_open(const struct xk_fs *fs, const char *path, int flags, mode_t mode)
{
    const int fd = RETRY(open(path, flags | O_CLOEXEC, mode));
    return fd < 0 ? -errno : fd;
}

static int posix_close(const struct xk_fs *fs, int fd)
{
    /* Linux has closed the descriptor even when it says EINTR; trying again could close somebody else's. */
    return close(fd) < 0 && errno != EINTR ? -errno : 0;
}

static ssize_t posix_pread(const struct xk_fs *fs, int fd, void *buf, size_t bytes, uint64_t offset)
{
    if (offset > OFFSET_MAX)
        return -EINVAL;
    const ssize_t got = RETRY(pread(fd, buf, XK_MIN(bytes, (size_t)IO_BYTES_MAX), (off_t)offset));
    return got < 0 ? -errno : got;
}

static ssize_t posix_pwrite(const struct xk_fs *fs, int fd, const void *buf, size_t bytes, uint64_t offset)
{
    if (offset > OFFSET_MAX)
        return -EFBIG;
    const ssize_t put = RETRY(pwrite(fd, buf, XK_MIN(bytes, (size_t)IO_BYTES_MAX), (off_t)offset));
    return put < 0 ? -errno : put;
}

static int posix_truncate(const struct xk_fs *fs, int fd, uint64_t bytes)
{
    if (bytes > OFFSET_MAX)
        return -EFBIG;
    return RETRY(ftruncate(fd, (off_t)bytes)) < 0 ? -errno : 0;
}

static int posix_allocate(const struct xk_fs *fs, int fd, int mode, uint64_t offset, uint64_t bytes)
{
    if (offset > OFFSET_MAX || bytes > OFFSET_MAX - offset)
        return -EFBIG;
    return RETRY(fallocate(fd, mode, (off_t)offset, (off_t)bytes)) < 0 ? -errno : 0;
}

static int posix_sync(const struct xk_fs *fs, int fd, bool data_only)
{
    const int r = data_only ? RETRY(fdatasync(fd)) : RETRY(fsync(fd));
    /* EINVAL: a pipe or a device without storage, nothing there to be made safe. */
    return r < 0 && errno != EINVAL ? -errno : 0;
}

static int posix_fstat(const struct xk_fs *fs, int fd, struct stat *ret)
{
    return fstat(fd, ret) < 0 ? -errno : 0;
}

static int posix_chmod_chown(const struct xk_fs *fs, int fd, const struct stat *like)
{
    struct stat now;
    if (fstat(fd, &now) < 0)
        return -errno;
    /* Only when it differs: file systems without owners refuse even a change to the same one. */
    if ((now.st_uid != like->st_uid || now.st_gid != like->st_gid) && fchown(fd, like->st_uid, like->st_gid) < 0)
        return -errno;
    return fchmod(fd, like->st_mode & 07777) < 0 ? -errno : 0;
}

static int64_t posix_seek(const struct xk_fs *fs, int fd, uint64_t offset, int whence)
{
    if (offset > OFFSET_MAX)
        return -EINVAL;
    struct stat st;
    if (whence == SEEK_END && fstat(fd, &st) == 0 && S_ISBLK(st.st_mode)) {
        uint64_t bytes;
        if (ioctl(fd, BLKGETSIZE64, &bytes) < 0)
            return -errno;
        return bytes > OFFSET_MAX - offset ? -EOVERFLOW : (int64_t)(bytes + offset);
    }
    const off_t at = lseek(fd, (off_t)offset, whence);
    return at < 0 ? -errno : at;
}

static int posix_rename(const struct xk_fs *fs, const char *from, const char *to)
{
    return rename(from, to) < 0 ? -errno : 0;
}

static int posix_exchange(const struct xk_fs *fs, const char *a, const char *b)
{
    return renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE) < 0 ? -errno : 0;
}

static int posix_link(const struct xk_fs *fs, const char *from, const char *to)
{
    if (link(from, to) == 0)
        return 0;
    const int why = errno;
    /* FAT and some network file systems have no links; there a move that replaces nothing does the same service. */
    if ((why == EPERM || why == ENOTSUP || why == ENOSYS) &&
        renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
        return 0;
    return errno == EEXIST ? -EEXIST : -why;
}

static int posix_unlink(const struct xk_fs *fs, const char *path)
{
    return unlink(path) < 0 ? -errno : 0;
}

static int posix_sync_dir(const struct xk_fs *fs, const char *dir)
{
    xk_autoclose const int fd = posix_open(fs, dir, O_RDONLY | O_DIRECTORY, 0);
    return fd < 0 ? fd : posix_sync(fs, fd, false);
}

static void posix_write_behind(const struct xk_fs *fs, int fd, uint64_t offset, uint64_t bytes, bool drop)
{
    if (offset > OFFSET_MAX || bytes > OFFSET_MAX - offset)
        return;
    const unsigned wait = drop ? SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WAIT_AFTER : 0;
    (void)sync_file_range(fd, (off_t)offset, (off_t)bytes, SYNC_FILE_RANGE_WRITE | wait);
    if (drop)
        (void)posix_fadvise(fd, (off_t)offset, (off_t)bytes, POSIX_FADV_DONTNEED);
}

static int posix_clone(const struct xk_fs *fs, int fd, uint64_t offset, int from_fd, uint64_t from_offset,
                       uint64_t bytes)
{
    const struct file_clone_range range = {
        .src_fd = from_fd, .src_offset = from_offset, .src_length = bytes, .dest_offset = offset};
    return RETRY(ioctl(fd, FICLONERANGE, &range)) < 0 ? -errno : 0;
}

static int posix_direct(const struct xk_fs *fs, int fd, bool on)
{
    const int flags = fcntl(fd, F_GETFL);

    if (flags < 0)
        return -errno;
    return fcntl(fd, F_SETFL, on ? flags | O_DIRECT : flags & ~O_DIRECT) < 0 ? -errno : 0;
}

const struct xk_fs *xk_fs_posix(void)
{
    static const struct xk_fs_ops ops = {
        .open = posix_open,
        .close = posix_close,
        .pread = posix_pread,
        .pwrite = posix_pwrite,
        .truncate = posix_truncate,
        .allocate = posix_allocate,
        .sync = posix_sync,
        .fstat = posix_fstat,
        .chmod_chown = posix_chmod_chown,
        .seek = posix_seek,
        .rename = posix_rename,
        .link = posix_link,
        .unlink = posix_unlink,
        .sync_dir = posix_sync_dir,
        .write_behind = posix_write_behind,
        .clone = posix_clone,
        .direct = posix_direct,
        .exchange = posix_exchange,
    };
    static const struct xk_fs fs = {.ops = &ops};
    return &fs;
}

/* ---- one open file ---- */

/* A sentence for what the system refused. Its EINVAL is not a wrong command line, its EFBIG not a damaged image. */
static int XK_PRINTF(3, 4) fail_fs(struct xk_err *err, int code, const char *format, ...)
{
    char what[XK_ERR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    xk_fail_sys(err, code, "%s", what);
    const int exit = xk_exit_of(code);
    if (exit == XK_EXIT_USAGE || exit == XK_EXIT_DAMAGED)
        xk_err_exit(err, XK_EXIT_IO);
    return code;
}

int xk_path_check_empty(const char *path, struct xk_err *err)
{
    if (path[0] != '\0')
        return 0;
    xk_fail(err, -ENOENT, "a file's name is empty");
    xk_err_exit(err, XK_EXIT_USAGE);
    return -ENOENT;
}

int xk_file_open(struct xk_file *ret, const struct xk_fs *fs, const char *path, int flags, mode_t mode,
                 struct xk_err *err)
{
    int fd = xk_path_check_empty(path, err);
    if (fd < 0)
        return fd;
    fd = fs->ops->open(fs, path, flags, mode);
    if (fd < 0)
        return fail_fs(err, fd, "cannot %s %s", flags & O_CREAT && flags & O_EXCL ? "create" : "open", path);
    *ret = (struct xk_file){.fs = fs, .fd = fd, .open = true, .path = path};
    return 0;
}

void xk_file_close(struct xk_file *f)
{
    if (!f || !f->open)
        return;
    (void)f->fs->ops->close(f->fs, f->fd);
    f->open = false;
    f->fd = -1;
}

int xk_file_size(uint64_t *ret_bytes, const struct xk_file *f, struct xk_err *err)
{
    struct stat st;
    const int r = f->fs->ops->fstat(f->fs, f->fd, &st);
    if (r < 0)
        return fail_fs(err, r, "cannot look at %s", f->path);
    if (S_ISREG(st.st_mode)) {
        *ret_bytes = (uint64_t)st.st_size;
        return 0;
    }
    if (S_ISBLK(st.st_mode)) {
        const int64_t end = f->fs->ops->seek(f->fs, f->fd, 0, SEEK_END);
        if (end < 0)
            return fail_fs(err, (int)end, "cannot find the size of the device %s", f->path);
        *ret_bytes = (uint64_t)end;
        return 0;
    }
    if (S_ISDIR(st.st_mode))
        return xk_fail(err, -EISDIR, "%s is a folder, not a file", f->path);
    return xk_fail(err, -ENOTSUP, "%s is neither a file nor a block device, it has no size", f->path);
}

ssize_t xk_file_read_some(const struct xk_file *f, void *buf, size_t bytes, uint64_t offset, struct xk_err *err)
{
    assert(bytes <= SSIZE_MAX);
    /* A position that no file can have comes from a hostile table; there is nothing to read. */
    if (offset > OFFSET_MAX)
        return 0;
    const size_t wanted = (size_t)XK_MIN((uint64_t)bytes, OFFSET_MAX - offset);
    size_t done = 0;
    while (done < wanted) {
        const ssize_t got = f->fs->ops->pread(f->fs, f->fd, (uint8_t *)buf + done, wanted - done, offset + done);
        if (got < 0)
            return fail_fs(err, (int)got, "cannot read %zu bytes at %llu of %s", bytes, (unsigned long long)offset,
                           f->path);
        if (got == 0)
            break;
        done += (size_t)got;
    }
    return (ssize_t)done;
}

int xk_file_read(const struct xk_file *f, void *buf, size_t bytes, uint64_t offset, struct xk_err *err)
{
    const ssize_t got = xk_file_read_some(f, buf, bytes, offset, err);
    if (got < 0)
        return (int)got;
    if ((size_t)got < bytes)
        return xk_fail(err, -EBADMSG, "%s ends early: wanted %zu bytes at %llu, found %zd", f->path, bytes,
                       (unsigned long long)offset, got);
    return 0;
}

int xk_file_write(const struct xk_file *f, const void *buf, size_t bytes, uint64_t offset, struct xk_err *err)
{
    size_t done = 0;
    int r = offset > OFFSET_MAX || bytes > OFFSET_MAX - offset ? -EFBIG : 0;
    while (r == 0 && done < bytes) {
        const ssize_t put = f->fs->ops->pwrite(f->fs, f->fd, (const uint8_t *)buf + done, bytes - done, offset + done);
        if (put > 0)
            done += (size_t)put;
        else
            r = put < 0 ? (int)put : -EIO; /* a device that takes nothing would keep us here for ever */
    }
    if (r < 0)
        return fail_fs(err, r, "cannot write %zu bytes at %llu of %s", bytes, (unsigned long long)offset, f->path);
    return 0;
}

int xk_file_write_zeros(const struct xk_file *f, uint64_t from, uint64_t to, struct xk_err *err)
{
    static const uint8_t zeros[256 * 1024];
    int code = 0;

    while (code == 0 && from < to) {
        const size_t part = (size_t)XK_MIN(to - from, (uint64_t)sizeof(zeros));
        code = xk_file_write(f, zeros, part, from, err);
        from += part;
    }
    return code;
}

int xk_file_truncate(const struct xk_file *f, uint64_t bytes, struct xk_err *err)
{
    const int r = f->fs->ops->truncate(f->fs, f->fd, bytes);
    return r < 0 ? fail_fs(err, r, "cannot make %s %llu bytes long", f->path, (unsigned long long)bytes) : 0;
}

int xk_file_sync(const struct xk_file *f, struct xk_err *err)
{
    const int r = f->fs->ops->sync(f->fs, f->fd, false);
    return r < 0 ? fail_fs(err, r, "cannot make %s safe on its disk", f->path) : 0;
}

int xk_file_check_identity(const struct xk_file *f, dev_t dev, ino_t ino, struct xk_err *err)
{
    struct stat st;
    const int r = f->fs->ops->fstat(f->fs, f->fd, &st);
    if (r < 0)
        return fail_fs(err, r, "cannot look at %s", f->path);
    return st.st_dev == dev && st.st_ino == ino
               ? 0
               : xk_fail(err, -ESTALE, "%s was replaced by another file in the meantime", f->path);
}

int xk_path_check_identity(const struct xk_fs *fs, const char *path, dev_t dev, ino_t ino, struct xk_err *err)
{
    struct xk_file now = {.fs = fs, .path = path};
    now.fd = fs->ops->open(fs, path, O_PATH, 0);
    if (now.fd == -ENOENT)
        return xk_fail(err, -ESTALE, "%s was removed or renamed in the meantime", path);
    if (now.fd < 0)
        return fail_fs(err, now.fd, "cannot look at %s", path);
    const int r = xk_file_check_identity(&now, dev, ino, err);
    (void)fs->ops->close(fs, now.fd);
    return r;
}

int xk_file_check_name(const struct xk_file *f, struct xk_err *err)
{
    struct stat st;
    const int r = f->fs->ops->fstat(f->fs, f->fd, &st);
    return r < 0 ? fail_fs(err, r, "cannot look at %s", f->path)
                 : xk_path_check_identity(f->fs, f->path, st.st_dev, st.st_ino, err);
}

int xk_file_check_same(const struct xk_file *f, const struct xk_file *other, struct xk_err *err)
{
    struct stat st;
    const int r = other->fs->ops->fstat(other->fs, other->fd, &st);
    return r < 0 ? fail_fs(err, r, "cannot look at %s", other->path)
                 : xk_file_check_identity(f, st.st_dev, st.st_ino, err);
}

void xk_file_write_behind(const struct xk_file *f, uint64_t offset, uint64_t bytes, bool drop)
{
    if (bytes && f->fs->ops->write_behind)
        f->fs->ops->write_behind(f->fs, f->fd, offset, bytes, drop);
}

int xk_file_clone(const struct xk_file *f, uint64_t offset, const struct xk_file *from, uint64_t from_offset,
                  uint64_t bytes)
{
    if (!f->fs->ops->clone || from->fs != f->fs)
        return -EOPNOTSUPP;
    return f->fs->ops->clone(f->fs, f->fd, offset, from->fd, from_offset, bytes);
}

bool xk_file_direct(const struct xk_file *f, bool on)
{
    return f->fs->ops->direct && f->fs->ops->direct(f->fs, f->fd, on) == 0 && on;
}

/* ---- a new file ---- */

#define LINKS_MAX      40 /* as the kernel follows */
#define TEMP_TRIES_MAX 64 /* of 32^6 names */
#define TEMP_LETTERS   6

/*
 * What stands under a name now.
 * follow    0, or O_NOFOLLOW to look at a link itself.
 * returns   1: something, described in *ret; 0: nothing; a negative errno value.
 */
static int look_at(struct stat *ret, const struct xk_fs *fs, const char *path, int follow, struct xk_err *err)
{
    const int fd = fs->ops->open(fs, path, O_PATH | follow, 0);
    if (fd == -ENOENT)
        return 0;
    const int r = fd < 0 ? fd : fs->ops->fstat(fs, fd, ret);
    if (fd >= 0)
        (void)fs->ops->close(fs, fd);
    return r < 0 ? fail_fs(err, r, "cannot look at %s", path) : 1;
}

/* A file to be replaced must be a regular one: a rename would put a file where a device or a pipe was. */
static int check_replaceable(const struct stat *st, const char *path, struct xk_err *err)
{
    if (S_ISREG(st->st_mode))
        return 0;
    if (S_ISDIR(st->st_mode))
        return xk_fail(err, -EISDIR, "cannot replace %s: it is a folder", path);
    return xk_fail(err, -ENOTSUP, "cannot replace %s: it is not a regular file", path);
}

static int read_link(char **ret, const char *path, struct xk_err *err)
{
    char text[PATH_MAX];
    const ssize_t length = readlink(path, text, sizeof(text));
    if (length < 0)
        return fail_fs(err, -errno, "cannot follow the link %s", path);
    if (length == 0 || (size_t)length >= sizeof(text))
        return fail_fs(err, -ENAMETOOLONG, "cannot follow the link %s", path);
    xk_autofree char *target = xk_strndup(text, (size_t)length);
    xk_autofree char *dir = xk_dir_name(path);
    if (!target || !dir)
        return xk_fail_memory(err);
    *ret = xk_path_join(dir, target);
    return *ret ? 0 : xk_fail_memory(err);
}

/*
 * The name that a replacement has to take: the last of a chain of links, so that the links stay.
 * ret_old   what stands there; written when the result is 1.
 * returns   1: a regular file stands there; 0: nothing does; a negative errno value.
 */
static int find_target(char **ret, struct stat *ret_old, const struct xk_fs *fs, const char *path, struct xk_err *err)
{
    xk_autofree char *current = xk_strdup(path);
    if (!current)
        return xk_fail_memory(err);
    for (int hops = 0; hops <= LINKS_MAX; hops++) {
        int r = look_at(ret_old, fs, current, O_NOFOLLOW, err);
        if (r < 0)
            return r;
        if (r == 0 || !S_ISLNK(ret_old->st_mode)) {
            const int bad = r ? check_replaceable(ret_old, path, err) : 0;
            if (bad < 0)
                return bad;
            *ret = XK_TAKE(current);
            return r;
        }
        /* Before the text of the link is believed: those below /proc name pipes that stand nowhere. */
        struct stat end;
        r = look_at(&end, fs, current, 0, err);
        if (r > 0)
            r = check_replaceable(&end, path, err);
        char *next = NULL;
        if (r == 0)
            r = read_link(&next, current, err);
        if (r < 0)
            return r;
        free(current);
        current = next;
    }
    return fail_fs(err, -ELOOP, "cannot follow the link %s", path);
}

/* The name of a temporary file beside `path`: hidden, and recognisable by a scan. NULL: no memory. */
static char *temp_name(const char *path, struct xk_random *random)
{
    static const char letters[] = "0123456789abcdefghjkmnpqrstvwxyz";
    char tail[TEMP_LETTERS + 1];
    for (int i = 0; i < TEMP_LETTERS; i++)
        tail[i] = letters[xk_random_below(random, sizeof(letters) - 1)];
    tail[TEMP_LETTERS] = '\0';
    xk_autofree char *dir = xk_dir_name(path);
    if (!dir)
        return NULL;
    /* The whole name has to stay below NAME_MAX; the cut part must not split a letter. */
    const char *base = xk_base_name(path);
    size_t keep = strnlen(base, NAME_MAX - sizeof("..xk-") - TEMP_LETTERS);
    while (base[keep] && keep > 0 && ((unsigned char)base[keep] & 0xc0) == 0x80)
        keep--;
    xk_autofree char *name = xk_asprintf(".%.*s.xk-%s", (int)keep, base, tail);
    return name ? xk_path_join(dir, name) : NULL;
}

static int create_temp(struct xk_newfile *n, const struct xk_fs *fs, mode_t mode, struct xk_err *err)
{
    struct xk_random random;
    xk_random_seed_system(&random);
    int fd = -EEXIST;
    for (int i = 0; fd == -EEXIST && i < TEMP_TRIES_MAX; i++) {
        free(n->temp);
        n->temp = temp_name(n->path, &random);
        if (!n->temp)
            return xk_fail_memory(err);
        fd = fs->ops->open(fs, n->temp, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, mode);
    }
    if (fd < 0)
        return fail_fs(err, fd, "cannot create %s", n->path);
    n->file = (struct xk_file){.fs = fs, .fd = fd, .open = true, .path = n->path};
    n->pending = true;
    return 0;
}

int xk_newfile_begin(struct xk_newfile *ret, const struct xk_fs *fs, const char *path, mode_t mode, bool exclusive,
                     struct xk_err *err)
{
    *ret = (struct xk_newfile){.exclusive = exclusive, .file.fd = -1};
    struct stat old;
    int r = xk_path_check_empty(path, err);
    if (r < 0)
        return r;
    if (exclusive) {
        /* Only a kindness to whoever would write for an hour first: the link in commit decides. */
        r = look_at(&old, fs, path, O_NOFOLLOW, err);
        if (r > 0)
            r = xk_fail_sys(err, -EEXIST, "cannot create %s", path);
        if (r == 0 && !(ret->path = xk_strdup(path)))
            r = xk_fail_memory(err);
    } else {
        r = find_target(&ret->path, &old, fs, path, err);
        ret->had_old = r > 0;
        if (r > 0) {
            ret->old_dev = old.st_dev;
            ret->old_ino = old.st_ino;
        }
    }
    /* What replaces a secret is not readable for others in the meantime; commit sets the old mode. */
    if (r >= 0)
        r = create_temp(ret, fs, r > 0 ? mode & 0700 : mode, err);
    if (r < 0)
        xk_newfile_abort(ret);
    return r;
}

static bool is_old(const struct xk_newfile *n, const struct stat *st)
{
    return n->had_old && st->st_dev == n->old_dev && st->st_ino == n->old_ino;
}

static int not_the_old(const struct xk_newfile *n, struct xk_err *err)
{
    return xk_fail(err, -ESTALE, "%s was replaced by another file in the meantime, which stays", n->path);
}

/*
 * Between a look at the old file and a rename over it somebody else's could come. Both names are exchanged instead, and
 * what has the temporary one then is looked at before it goes.
 */
static int exchange_with_old(struct xk_newfile *n, struct xk_err *err)
{
    const struct xk_fs *fs = n->file.fs;
    struct stat old;

    int r = fs->ops->exchange ? fs->ops->exchange(fs, n->temp, n->path) : -ENOSYS;
    if (r == -ENOSYS || r == -EINVAL || r == -EOPNOTSUPP) { /* a file system without: the look has to be enough */
        r = fs->ops->rename(fs, n->temp, n->path);
        return r < 0 ? fail_fs(err, r, "cannot replace %s", n->path) : 0;
    }
    if (r < 0)
        return fail_fs(err, r, "cannot replace %s", n->path);
    n->pending = false; /* what has the temporary name may be anybody's */
    r = look_at(&old, fs, n->temp, O_NOFOLLOW, err);
    if (r > 0 && !is_old(n, &old)) {
        n->pending = fs->ops->exchange(fs, n->temp, n->path) == 0;
        return n->pending ? not_the_old(n, err)
                          : xk_fail(err, -ESTALE, "%s was replaced by another file in the meantime, which is %s now",
                                    n->path, n->temp);
    }
    if (r > 0 && (r = fs->ops->unlink(fs, n->temp)) < 0)
        fail_fs(err, r, "%s is complete, but the old one stays as %s", n->path, n->temp);
    return r;
}

/* Give the temporary file a name that nobody has. */
static int take_free_name(struct xk_newfile *n, struct xk_err *err)
{
    const struct xk_fs *fs = n->file.fs;
    int r = fs->ops->link(fs, n->temp, n->path);
    if (r < 0)
        return fail_fs(err, r, "cannot create %s", n->path);
    r = fs->ops->unlink(fs, n->temp);
    if (r < 0 && r != -ENOENT) /* a link that was a move has left nothing behind */
        return fail_fs(err, r, "%s is complete, but its temporary name %s stays", n->path, n->temp);
    return 0;
}

/* Give the temporary file its name; there: something has it now. */
static int take_name(struct xk_newfile *n, bool there, struct xk_err *err)
{
    const struct xk_fs *fs = n->file.fs;
    int r;

    if (n->exclusive || (n->only_old && !there))
        r = take_free_name(n, err);
    else if (n->only_old)
        r = exchange_with_old(n, err);
    else if ((r = fs->ops->rename(fs, n->temp, n->path)) < 0)
        fail_fs(err, r, "cannot replace %s", n->path);
    if (r == 0)
        n->pending = false;
    return r;
}

int xk_newfile_commit(struct xk_newfile *n, struct xk_err *err)
{
    assert(n->pending && n->file.open);
    const struct xk_fs *fs = n->file.fs;
    xk_autofree char *dir = xk_dir_name(n->path);
    int r = dir ? 0 : xk_fail_memory(err);
    struct stat old;
    bool there = false;
    if (r == 0 && !n->exclusive && (r = look_at(&old, fs, n->path, O_NOFOLLOW, err)) > 0) {
        there = true;
        r = n->only_old && !is_old(n, &old) ? not_the_old(n, err) : check_replaceable(&old, n->path, err);
        if (r == 0 && (r = fs->ops->chmod_chown(fs, n->file.fd, &old)) < 0) {
            fail_fs(err, r, "cannot keep the owner and mode of %s", n->path);
            xk_err_hint(err, "write to a new name, or remove the old file first");
        }
    }
    if (r == 0 && !n->no_sync)
        r = xk_file_sync(&n->file, err);
    if (r == 0) {
        n->file.open = false;
        r = fs->ops->close(fs, n->file.fd);
        if (r < 0)
            fail_fs(err, r, "cannot finish %s", n->path);
    }
    if (r == 0)
        r = take_name(n, there, err);
    if (r == 0 && !n->no_sync) {
        r = fs->ops->sync_dir(fs, dir);
        if (r < 0)
            fail_fs(err, r, "%s is complete, but its folder could not be made safe on the disk", n->path);
    }
    xk_newfile_abort(n);
    return r;
}

void xk_newfile_abort(struct xk_newfile *n)
{
    if (!n)
        return;
    const struct xk_fs *fs = n->file.fs;
    xk_file_close(&n->file);
    if (n->pending)
        (void)fs->ops->unlink(fs, n->temp);
    free(n->path);
    free(n->temp);
    *n = (struct xk_newfile){.file.fd = -1};
}

int xk_file_replace(const struct xk_fs *fs, const char *path, const void *data, size_t bytes, mode_t mode,
                    struct xk_err *err)
{
    struct xk_newfile n;
    int r = xk_newfile_begin(&n, fs, path, mode, false, err);
    if (r == 0)
        r = xk_file_write(&n.file, data, bytes, 0, err);
    if (r < 0) {
        xk_newfile_abort(&n);
        return r;
    }
    return xk_newfile_commit(&n, err);
}

/* ---- small text files ---- */

#define SLURP_LINE_MAX 65536

/* Append a file to a buffer until the end or until the buffer is full. -EFBIG: it goes on after that. */
static int read_all(struct xk_buf *ret, const char *root, const char *path)
{
    xk_autofree char *full = xk_asprintf("%s%s", root, path);
    if (!full)
        return -ENOMEM;
    /* Not blocking: a FIFO without a writer is an empty file, it does not hang. */
    xk_autoclose const int fd = RETRY(open(full, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
    if (fd < 0)
        return -errno;
    for (;;) {
        char chunk[4096];
        const ssize_t got = RETRY(read(fd, chunk, sizeof(chunk)));
        if (got < 0)
            return -errno;
        if (got == 0)
            return 0;
        const size_t fits = XK_MIN((size_t)got, ret->max - ret->len);
        xk_buf_add(ret, chunk, fits);
        if (ret->error)
            return ret->error;
        if (fits < (size_t)got)
            return -EFBIG;
    }
}

int xk_slurp(char **ret, const char *root, const char *path, size_t max, struct xk_err *err)
{
    xk_auto(xk_buf_done) struct xk_buf text = XK_BUF_INIT(max);
    const int r = read_all(&text, root, path);
    if (r == -ENOMEM)
        return xk_fail_memory(err);
    if (r == -EFBIG)
        return xk_fail(err, r, "%s%s is longer than %s", root, path, xk_size(max).s);
    if (r < 0)
        return fail_fs(err, r, "cannot read %s%s", root, path);
    char *taken = xk_buf_take(&text);
    if (!taken)
        return xk_fail_memory(err);
    *ret = taken;
    return 0;
}

char *xk_slurp_line(const char *root, const char *path)
{
    xk_auto(xk_buf_done) struct xk_buf text = XK_BUF_INIT(SLURP_LINE_MAX);
    const int r = read_all(&text, root, path);
    if (r == -ENOMEM)
        return NULL;
    if (r < 0 && r != -EFBIG)
        return xk_strdup("");
    const char *content = xk_buf_str(&text);
    return xk_strndup(content, strcspn(content, "\n"));
}

bool xk_exists(const char *root, const char *path)
{
    xk_autofree char *full = xk_asprintf("%s%s", root, path);
    return full && access(full, F_OK) == 0;
}

uint64_t xk_fd_limit_raise(uint64_t wanted)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return wanted;
    if (limit.rlim_cur < wanted && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = XK_MIN((rlim_t)wanted, limit.rlim_max);
        (void)setrlimit(RLIMIT_NOFILE, &limit);
        (void)getrlimit(RLIMIT_NOFILE, &limit);
    }
    return limit.rlim_cur;
}
