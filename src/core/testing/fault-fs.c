/*
 * A file system over another one that fails on purpose and takes down what it did.
 *
 * Every operation asks trip() first; what is recorded is recorded only after the real one succeeded. Files are known
 * by (device, inode), because between a temporary name and the final one a file is the same; a created file gets a
 * new number even when the kernel hands out an old inode again.
 */
#include "core/testing/fault.h"
#include "core/text.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

const char *xk_fault_op_name(enum xk_fault_op op)
{
    static const char *const names[XK_FAULT_OP_COUNT] = {
        "open", "close", "read", "write",  "truncate", "allocate", "sync",
        "stat", "owner", "seek", "rename", "link",     "unlink",   "sync-dir",
    };
    return names[op];
}

/* ---- the record ---- */

struct xk_fault_inode {
    dev_t device;
    ino_t inode;
    unsigned file;
};

/* The machinery's memory does not pass through core's door: it must not be counted, nor fail. */
static void *must_have(void *memory)
{
    if (!memory)
        abort();
    return memory;
}

/* Growth by doubling at powers of two. */
static void *grown(void *items, size_t count, size_t item_bytes)
{
    if (count > 0 && (count & (count - 1)) != 0)
        return items;
    return must_have(realloc(items, (count > 0 ? count * 2 : 1) * item_bytes));
}

static struct xk_fault_inode *find_inode(struct xk_fault_log *log, const struct stat *st)
{
    for (size_t i = 0; i < log->inode_count; i++)
        if (log->inodes[i].device == st->st_dev && log->inodes[i].inode == st->st_ino)
            return &log->inodes[i];
    log->inodes = grown(log->inodes, log->inode_count, sizeof(*log->inodes));
    struct xk_fault_inode *inode = &log->inodes[log->inode_count++];
    *inode = (struct xk_fault_inode){.device = st->st_dev, .inode = st->st_ino, .file = UINT_MAX};
    return inode;
}

/* The name below the recorded folder, with links in its folder part resolved; NULL when it lies elsewhere. */
static char *name_inside(const struct xk_fault_log *log, const char *path, bool is_folder)
{
    char dir[PATH_MAX], real[PATH_MAX], whole[PATH_MAX * 2];
    const char *base = xk_base_name(path);
    if (is_folder) {
        if (!realpath(path, whole))
            return NULL;
    } else {
        snprintf(dir, sizeof(dir), "%.*s", base == path ? 1 : (int)(base - path), base == path ? "." : path);
        if (!realpath(dir, real))
            return NULL;
        snprintf(whole, sizeof(whole), "%s/%s", real, base);
    }
    if (!xk_has_prefix(whole, log->folder))
        return NULL;
    const char *rest = whole + strlen(log->folder);
    if (*rest != '/' && *rest != '\0')
        return NULL;
    return must_have(strdup(*rest == '/' ? rest + 1 : rest));
}

static struct xk_fault_record *add_record(struct xk_fault_log *log, enum xk_fault_op op)
{
    log->records = grown(log->records, log->count, sizeof(*log->records));
    struct xk_fault_record *record = &log->records[log->count++];
    *record = (struct xk_fault_record){.op = op, .file = UINT_MAX};
    return record;
}

static uint8_t *copy_data(struct xk_fault_log *log, const void *data, size_t bytes)
{
    if (log->error == 0 && bytes > XK_FAULT_DATA_MAX - log->data_bytes)
        log->error = -EFBIG;
    if (log->error < 0)
        return NULL;
    log->data_bytes += bytes;
    uint8_t *copy = must_have(malloc(bytes + 1));
    memcpy(copy, data, bytes);
    return copy;
}

/* The number of the file behind a descriptor; false when it is none of the recorded folder. */
static bool file_of(unsigned *ret, const struct xk_fault_fs *f, int fd)
{
    struct stat st;
    if (!f->log || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return false;
    *ret = find_inode(f->log, &st)->file;
    return *ret != UINT_MAX;
}

static struct xk_fault_record *record_file(const struct xk_fault_fs *f, int fd, enum xk_fault_op op)
{
    unsigned file;
    if (!file_of(&file, f, fd))
        return NULL;
    struct xk_fault_record *record = add_record(f->log, op);
    record->file = file;
    return record;
}

/* A change of names; one that moves something into or out of the folder cannot be replayed. */
static void record_names(const struct xk_fault_fs *f, enum xk_fault_op op, const char *path, const char *to)
{
    if (!f->log)
        return;
    char *inside = name_inside(f->log, path, op == XK_FAULT_SYNC_DIR);
    char *to_inside = to ? name_inside(f->log, to, false) : NULL;
    if (to && !inside != !to_inside)
        f->log->error = -EXDEV;
    if (inside && !to == !to_inside) {
        struct xk_fault_record *record = add_record(f->log, op);
        record->path = XK_TAKE(inside);
        record->to = XK_TAKE(to_inside);
    }
    free(inside);
    free(to_inside);
}

static void record_open(const struct xk_fault_fs *f, const char *path, int fd, int flags, bool existed)
{
    struct stat st;
    if (!f->log || flags & O_PATH || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return;
    if (!existed) {
        char *inside = name_inside(f->log, path, false);
        if (!inside)
            return;
        struct xk_fault_inode *inode = find_inode(f->log, &st);
        inode->file = f->log->file_count++;
        struct xk_fault_record *record = add_record(f->log, XK_FAULT_OPEN);
        record->file = inode->file;
        record->path = inside;
        record->mode = (int)(st.st_mode & 07777);
    } else if (flags & O_TRUNC) {
        (void)record_file(f, fd, XK_FAULT_TRUNCATE); /* to 0 bytes */
    }
}

/* ---- the operations ---- */

static struct xk_fault_fs *fault_of(const struct xk_fs *fs)
{
    return fs->state;
}

/* Count an operation. True: it is this one's turn to fail. */
static bool trip(struct xk_fault_fs *f, enum xk_fault_op op)
{
    if (!(f->which & XK_FAULT_BIT(op)))
        return false;
    f->count++;
    const bool fail = f->fail_at != 0 && (f->sticky ? f->count >= f->fail_at : f->count == f->fail_at);
    if (fail && !f->fired) {
        f->fired = true;
        f->fired_op = op;
    }
    return fail;
}

static size_t transfer_bytes(struct xk_fault_fs *f, size_t bytes)
{
    return f->short_io && bytes > 1 ? 1 + (size_t)xk_random_below(&f->random, bytes - 1) : bytes;
}

static int fault_open(const struct xk_fs *fs, const char *path, int flags, mode_t mode)
{
    struct xk_fault_fs *f = fault_of(fs);
    if (trip(f, XK_FAULT_OPEN))
        return f->error;
    const bool existed = !(flags & O_CREAT) || access(path, F_OK) == 0;
    const int fd = f->real->ops->open(f->real, path, flags, mode);
    if (fd < 0)
        return fd;
    f->open_files++;
    record_open(f, path, fd, flags, existed);
    return fd;
}

static int fault_close(const struct xk_fs *fs, int fd)
{
    struct xk_fault_fs *f = fault_of(fs);
    const bool fail = trip(f, XK_FAULT_CLOSE);
    /* As in the kernel, the descriptor is gone whatever close() says. */
    const int r = f->real->ops->close(f->real, fd);
    f->open_files--;
    return fail ? f->error : r;
}

static ssize_t fault_pread(const struct xk_fs *fs, int fd, void *buf, size_t bytes, uint64_t offset)
{
    struct xk_fault_fs *f = fault_of(fs);
    if (trip(f, XK_FAULT_READ))
        return f->error;
    return f->real->ops->pread(f->real, fd, buf, transfer_bytes(f, bytes), offset);
}

static ssize_t fault_pwrite(const struct xk_fs *fs, int fd, const void *buf, size_t bytes, uint64_t offset)
{
    struct xk_fault_fs *f = fault_of(fs);
    if (trip(f, XK_FAULT_WRITE))
        return f->error;
    const ssize_t put = f->real->ops->pwrite(f->real, fd, buf, transfer_bytes(f, bytes), offset);
    struct xk_fault_record *record = put > 0 ? record_file(f, fd, XK_FAULT_WRITE) : NULL;
    if (record) {
        record->offset = offset;
        record->bytes = (uint64_t)put;
        record->data = copy_data(f->log, buf, (size_t)put);
    }
    return put;
}

static int fault_truncate(const struct xk_fs *fs, int fd, uint64_t bytes)
{
    struct xk_fault_fs *f = fault_of(fs);
    if (trip(f, XK_FAULT_TRUNCATE))
        return f->error;
    const int r = f->real->ops->truncate(f->real, fd, bytes);
    struct xk_fault_record *record = r == 0 ? record_file(f, fd, XK_FAULT_TRUNCATE) : NULL;
    if (record)
        record->bytes = bytes;
    return r;
}

static int fault_allocate(const struct xk_fs *fs, int fd, int mode, uint64_t offset, uint64_t bytes)
{
    struct xk_fault_fs *f = fault_of(fs);
    if (trip(f, XK_FAULT_ALLOCATE))
        return f->error;
    const int r = f->real->ops->allocate(f->real, fd, mode, offset, bytes);
    struct xk_fault_record *record = r == 0 ? record_file(f, fd, XK_FAULT_ALLOCATE) : NULL;
    if (record) {
        record->mode = mode;
        record->offset = offset;
        record->bytes = bytes;
    }
    return r;
}

/* Never fails: whoever asks for it can do without, and is tested so by a table that lacks it. */
static int fault_direct(const struct xk_fs *fs, int fd, bool on)
{
    const struct xk_fs *real = fault_of(fs)->real;
    return real->ops->direct ? real->ops->direct(real, fd, on) : -EOPNOTSUPP;
}

static int fault_sync(const struct xk_fs *fs, int fd, bool data_only)
{
    struct xk_fault_fs *f = fault_of(fs);
    if (trip(f, XK_FAULT_SYNC))
        return f->error;
    const int r = f->real->ops->sync(f->real, fd, data_only);
    if (r == 0)
        (void)record_file(f, fd, XK_FAULT_SYNC);
    return r;
}

static int fault_fstat(const struct xk_fs *fs, int fd, struct stat *ret)
{
    struct xk_fault_fs *f = fault_of(fs);
    return trip(f, XK_FAULT_STAT) ? f->error : f->real->ops->fstat(f->real, fd, ret);
}

static int fault_chmod_chown(const struct xk_fs *fs, int fd, const struct stat *like)
{
    struct xk_fault_fs *f = fault_of(fs);
    if (trip(f, XK_FAULT_OWNER))
        return f->error;
    const int r = f->real->ops->chmod_chown(f->real, fd, like);
    struct xk_fault_record *record = r == 0 ? record_file(f, fd, XK_FAULT_OWNER) : NULL;
    if (record)
        record->mode = (int)(like->st_mode & 07777);
    return r;
}

static int64_t fault_seek(const struct xk_fs *fs, int fd, uint64_t offset, int whence)
{
    struct xk_fault_fs *f = fault_of(fs);
    return trip(f, XK_FAULT_SEEK) ? f->error : f->real->ops->seek(f->real, fd, offset, whence);
}

static int fault_rename(const struct xk_fs *fs, const char *from, const char *to)
{
    struct xk_fault_fs *f = fault_of(fs);
    if (trip(f, XK_FAULT_RENAME))
        return f->error;
    const int r = f->real->ops->rename(f->real, from, to);
    if (r == 0)
        record_names(f, XK_FAULT_RENAME, from, to);
    return r;
}

static int fault_link(const struct xk_fs *fs, const char *from, const char *to)
{
    struct xk_fault_fs *f = fault_of(fs);
    if (trip(f, XK_FAULT_LINK))
        return f->error;
    const int r = f->real->ops->link(f->real, from, to);
    if (r == 0)
        record_names(f, XK_FAULT_LINK, from, to);
    return r;
}

static int fault_unlink(const struct xk_fs *fs, const char *path)
{
    struct xk_fault_fs *f = fault_of(fs);
    if (trip(f, XK_FAULT_UNLINK)) {
        f->unlink_failed = true;
        return f->error;
    }
    const int r = f->real->ops->unlink(f->real, path);
    if (r == 0)
        record_names(f, XK_FAULT_UNLINK, path, NULL);
    return r;
}

static int fault_sync_dir(const struct xk_fs *fs, const char *dir)
{
    struct xk_fault_fs *f = fault_of(fs);
    if (trip(f, XK_FAULT_SYNC_DIR))
        return f->error;
    const int r = f->real->ops->sync_dir(f->real, dir);
    if (r == 0)
        record_names(f, XK_FAULT_SYNC_DIR, dir, NULL);
    return r;
}

void xk_fault_fs_init(struct xk_fault_fs *f, const struct xk_fs *real)
{
    static const struct xk_fs_ops ops = {
        .open = fault_open,
        .close = fault_close,
        .pread = fault_pread,
        .pwrite = fault_pwrite,
        .truncate = fault_truncate,
        .allocate = fault_allocate,
        .direct = fault_direct,
        .sync = fault_sync,
        .fstat = fault_fstat,
        .chmod_chown = fault_chmod_chown,
        .seek = fault_seek,
        .rename = fault_rename,
        .link = fault_link,
        .unlink = fault_unlink,
        .sync_dir = fault_sync_dir,
    };
    *f = (struct xk_fault_fs){
        .fs = {.ops = &ops, .state = f},
        .real = real,
        .error = -EIO,
        .which = XK_FAULT_ALL,
    };
    xk_random_seed(&f->random, 1);
}

/* ---- beginning and end of a record ---- */

static int start_file(struct xk_fault_log *log, const char *inside, const char *path, const struct stat *st)
{
    log->start = grown(log->start, log->start_count, sizeof(*log->start));
    struct xk_fault_start *start = &log->start[log->start_count++];
    *start = (struct xk_fault_start){.path = must_have(strdup(inside)), .mode = st->st_mode & 07777, .file = UINT_MAX};
    if (S_ISLNK(st->st_mode)) {
        char text[PATH_MAX];
        const ssize_t length = readlink(path, text, sizeof(text) - 1);
        if (length < 0)
            return -errno;
        text[length] = '\0';
        start->link_to = must_have(strdup(text));
        return 0;
    }
    struct xk_fault_inode *inode = find_inode(log, st);
    if (inode->file == UINT_MAX)
        inode->file = log->file_count++;
    start->file = inode->file;
    start->bytes = (uint64_t)st->st_size;
    if (start->bytes > XK_FAULT_DATA_MAX - log->data_bytes)
        return -EFBIG;
    log->data_bytes += start->bytes;
    start->data = must_have(malloc(start->bytes + 1));
    struct xk_file file;
    int r = xk_file_open(&file, xk_fs_posix(), path, O_RDONLY, 0, NULL);
    if (r == 0) {
        r = xk_file_read(&file, start->data, start->bytes, 0, NULL);
        xk_file_close(&file);
    }
    return r;
}

static int start_folder(struct xk_fault_log *log, const char *inside)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/%s", log->folder, inside);
    DIR *dir = opendir(path);
    if (!dir)
        return -errno;
    int r = 0;
    for (const struct dirent *entry; r == 0 && (entry = readdir(dir));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        char name[PATH_MAX], whole[PATH_MAX * 2];
        struct stat st;
        if (snprintf(name, sizeof(name), "%s%s%s", inside, *inside ? "/" : "", entry->d_name) >= (int)sizeof(name))
            r = -ENAMETOOLONG;
        snprintf(whole, sizeof(whole), "%s/%s", log->folder, name);
        if (r == 0 && lstat(whole, &st) < 0)
            r = -errno;
        if (r == 0 && S_ISDIR(st.st_mode))
            r = start_folder(log, name);
        else if (r == 0 && (S_ISREG(st.st_mode) || S_ISLNK(st.st_mode)))
            r = start_file(log, name, whole, &st);
    }
    closedir(dir);
    return r;
}

int xk_fault_log_begin(struct xk_fault_log *ret, const char *folder, struct xk_err *err)
{
    struct xk_fault_log log = {.folder = realpath(folder, NULL)};
    const int r = log.folder ? start_folder(&log, "") : -errno;
    if (r < 0) {
        xk_fault_log_done(&log);
        return xk_fail_sys(err, r, "cannot take down what is in %s", folder);
    }
    *ret = log;
    return 0;
}

void xk_fault_log_done(struct xk_fault_log *log)
{
    if (!log)
        return;
    for (size_t i = 0; i < log->start_count; i++) {
        free(log->start[i].path);
        free(log->start[i].link_to);
        free(log->start[i].data);
    }
    for (size_t i = 0; i < log->count; i++) {
        free(log->records[i].path);
        free(log->records[i].to);
        free(log->records[i].data);
    }
    free(log->start);
    free(log->records);
    free(log->inodes);
    free(log->folder);
    *log = (struct xk_fault_log){0};
}
