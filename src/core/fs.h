/*
 * Files through a table of operations, so that tests can make any one fail, record them in order, or cut them off.
 *
 * Every library reads and writes through a struct xk_fs that it was handed. xk_fs_posix() is the real one.
 * Operations return a count or 0, or a negative errno value; -EINTR never comes out.
 */
#ifndef XK_FS_H
#define XK_FS_H

#include "core/base.h"
#include "core/err.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>

struct xk_fs;

struct xk_fs_ops {
    int (*open)(const struct xk_fs *fs, const char *path, int flags, mode_t mode); /* fd; O_CLOEXEC is added */
    int (*close)(const struct xk_fs *fs, int fd);
    ssize_t (*pread)(const struct xk_fs *fs, int fd, void *buf, size_t bytes, uint64_t offset);
    ssize_t (*pwrite)(const struct xk_fs *fs, int fd, const void *buf, size_t bytes, uint64_t offset);
    int (*truncate)(const struct xk_fs *fs, int fd, uint64_t bytes);
    int (*allocate)(const struct xk_fs *fs, int fd, int mode, uint64_t offset, uint64_t bytes); /* as fallocate(2) */
    int (*sync)(const struct xk_fs *fs, int fd, bool data_only);
    int (*fstat)(const struct xk_fs *fs, int fd, struct stat *ret);
    int (*chmod_chown)(const struct xk_fs *fs, int fd, const struct stat *like);  /* owner first, then mode */
    int64_t (*seek)(const struct xk_fs *fs, int fd, uint64_t offset, int whence); /* SEEK_DATA, SEEK_HOLE, SEEK_END */
    int (*rename)(const struct xk_fs *fs, const char *from, const char *to);
    /* -EEXIST when `to` exists. A file system without links moves instead: then `from` is gone. */
    int (*link)(const struct xk_fs *fs, const char *from, const char *to);
    int (*unlink)(const struct xk_fs *fs, const char *path);
    int (*sync_dir)(const struct xk_fs *fs, const char *dir);
    /* The rest may be NULL: a table without them is as good, only slower. */
    void (*write_behind)(const struct xk_fs *fs, int fd, uint64_t offset, uint64_t bytes, bool drop);
    int (*clone)(const struct xk_fs *fs, int fd, uint64_t offset, int from_fd, uint64_t from_offset, uint64_t bytes);
    int (*direct)(const struct xk_fs *fs, int fd, bool on);                /* O_DIRECT on or off */
    int (*exchange)(const struct xk_fs *fs, const char *a, const char *b); /* each gets the other's name, at once */
};

struct xk_fs {
    const struct xk_fs_ops *ops;
    void *state; /* belongs to the ops */
};

const struct xk_fs *xk_fs_posix(void);

/* One open file. Storage is the caller's; xk_file_close() accepts a zeroed or closed one. */
struct xk_file {
    const struct xk_fs *fs;
    int fd; /* -1 when closed */
    bool open;
    const char *path; /* borrowed, for messages */
};

/* An empty name is the user's slip: -ENOENT with the exit status of one. */
int xk_path_check_empty(const char *path, struct xk_err *err);
int xk_file_open(struct xk_file *ret, const struct xk_fs *fs, const char *path, int flags, mode_t mode,
                 struct xk_err *err);
void xk_file_close(struct xk_file *f);
/*
 * Bytes of the file or the block device.
 * returns   0; a negative errno value; -EISDIR, -ENOTSUP for what has no size (FIFO, socket, character device).
 */
int xk_file_size(uint64_t *ret_bytes, const struct xk_file *f, struct xk_err *err);
/* As many bytes as there are up to `bytes`; short only at the end of the file. returns the count. */
ssize_t xk_file_read_some(const struct xk_file *f, void *buf, size_t bytes, uint64_t offset, struct xk_err *err);
/* All of them, else -EBADMSG ("ends at …"). */
int xk_file_read(const struct xk_file *f, void *buf, size_t bytes, uint64_t offset, struct xk_err *err);
int xk_file_write(const struct xk_file *f, const void *buf, size_t bytes, uint64_t offset, struct xk_err *err);
/* Zeros over the bytes [from, to). */
int xk_file_write_zeros(const struct xk_file *f, uint64_t from, uint64_t to, struct xk_err *err);
int xk_file_truncate(const struct xk_file *f, uint64_t bytes, struct xk_err *err);
int xk_file_sync(const struct xk_file *f, struct xk_err *err);
/*
 * Is it still the same file? Who writes to an open file, or reads a file to say something about its name, asks at the
 * end: another process may have renamed something else over the name, and then nothing was done to what stands there.
 *
 * returns   0; -ESTALE: a sentence says that the file was replaced, or is gone; errors of looking at it.
 */
int xk_file_check_name(const struct xk_file *f, struct xk_err *err); /* does its path still lead to it? */
int xk_path_check_identity(const struct xk_fs *fs, const char *path, dev_t dev, ino_t ino, struct xk_err *err);
int xk_file_check_identity(const struct xk_file *f, dev_t dev, ino_t ino, struct xk_err *err); /* opened once more */
int xk_file_check_same(const struct xk_file *f, const struct xk_file *other, struct xk_err *err);
/*
 * Let the disk begin with what was written to a range, so that a later xk_file_sync() has little left to wait for.
 * drop: wait until it is there, and give its memory back. Only a hint; an error shows in xk_file_sync().
 */
void xk_file_write_behind(const struct xk_file *f, uint64_t offset, uint64_t bytes, bool drop);
/*
 * Share a range of another file on the same file system instead of copying it (reflink). Offsets and bytes are
 * multiples of the file system's block. returns   0; -EOPNOTSUPP, -EXDEV, -EINVAL and so on when that cannot be done
 * here: copy instead. Records no error.
 */
int xk_file_clone(const struct xk_file *f, uint64_t offset, const struct xk_file *from, uint64_t from_offset,
                  uint64_t bytes);

/*
 * Read and write past the page cache from now on, or through it again; where it is on, memory, offsets and bytes are
 * multiples of 4096. returns false: it is off, since the file system cannot do that.
 */
bool xk_file_direct(const struct xk_file *f, bool on);

/*
 * A new file that appears under its name only when it is whole.
 *
 * xk_newfile_begin() makes a temporary file beside `path`; write to `.file`; xk_newfile_commit() fsyncs it, gives it
 * its name (replacing an old file and keeping that one's mode and owner; with `exclusive`, failing with -EEXIST),
 * and fsyncs the folder. xk_newfile_abort() removes it; it is harmless after a commit and on a zeroed struct.
 */
struct xk_newfile {
    struct xk_file file;
    char *path, *temp;
    bool exclusive, pending;
    bool no_sync; /* set it before the commit: do not wait for the disk; a power failure may leave a broken file */
    /*
     * Set it before the commit: replace nothing but what stood there at the beginning. What came in between stays, and
     * the commit fails: -ESTALE, -EEXIST.
     */
    bool only_old;
    bool had_old; /* at the beginning this stood there */
    dev_t old_dev;
    ino_t old_ino;
};

int xk_newfile_begin(struct xk_newfile *ret, const struct xk_fs *fs, const char *path, mode_t mode, bool exclusive,
                     struct xk_err *err);
int xk_newfile_commit(struct xk_newfile *n, struct xk_err *err);
void xk_newfile_abort(struct xk_newfile *n);

/* Replace a file's content at once: xk_newfile_* around one write. */
int xk_file_replace(const struct xk_fs *fs, const char *path, const void *data, size_t bytes, mode_t mode,
                    struct xk_err *err);

/*
 * A whole small text file below a root directory ("" for none), such as /proc/meminfo.
 * ret       NUL-terminated, the caller frees it. -EFBIG past `max` bytes, other negative errno values as open and read.
 */
int xk_slurp(char **ret, const char *root, const char *path, size_t max, struct xk_err *err);
/* The first line of such a file without its newline, or "" when it cannot be read. The caller frees; NULL: no memory.
 */
char *xk_slurp_line(const char *root, const char *path) XK_MUST_USE;
/* Is there anything at that path below a root directory? Also false when it cannot be looked up. */
bool xk_exists(const char *root, const char *path);

/* Let this process have `wanted` descriptors, as far as it may. returns how many it may have now. */
uint64_t xk_fd_limit_raise(uint64_t wanted);

#endif
