/*
 * Faults on purpose: allocations and file operations that fail when told to, a record of everything that was written,
 * and the folders that a crash at any moment would leave behind. For tests; the shipped file never links it.
 *
 * A test program that uses this links with fault_dep, which redirects xk_realloc_bytes() and free() here.
 *
 *     static int replace(void *state, const struct xk_fs *fs, struct xk_err *err)
 *     {
 *         return xk_file_replace(fs, path, "new", 3, 0644, err);
 *     }
 *     …
 *     const struct xk_fault_case c = {"replace", make_old_file, replace, check_old_or_new, NULL};
 *     char why[XK_FAULT_WHY_MAX];
 *     assert_int_equal(xk_fault_loop(&c, why), 0);
 */
#ifndef XK_FAULT_H
#define XK_FAULT_H

#include "core/clock.h"
#include "core/err.h"
#include "core/fs.h"

#define XK_FAULT_WHY_MAX  1024
#define XK_FAULT_PATH_MAX 512

/* ---- allocations ---- */

/* Make the fail_at-th allocation from now on fail (1: the next; 0: none); sticky: and all after it. */
void xk_fault_alloc_arm(uint64_t fail_at, bool sticky);
/* Let all succeed again. returns the number of allocations since xk_fault_alloc_arm(). */
uint64_t xk_fault_alloc_disarm(void);
/* Whether one was made to fail since xk_fault_alloc_arm(). */
bool xk_fault_alloc_fired(void);
/* Blocks from xk_alloc() and its kin that nobody has freed. */
size_t xk_fault_alloc_live(void);

/* ---- file operations ---- */

enum xk_fault_op {
    XK_FAULT_OPEN,
    XK_FAULT_CLOSE,
    XK_FAULT_READ,
    XK_FAULT_WRITE,
    XK_FAULT_TRUNCATE,
    XK_FAULT_ALLOCATE,
    XK_FAULT_SYNC,
    XK_FAULT_STAT,
    XK_FAULT_OWNER,
    XK_FAULT_SEEK,
    XK_FAULT_RENAME,
    XK_FAULT_LINK,
    XK_FAULT_UNLINK,
    XK_FAULT_SYNC_DIR,
    XK_FAULT_OP_COUNT,
};
const char *xk_fault_op_name(enum xk_fault_op op);
#define XK_FAULT_BIT(op) (1U << (op))
#define XK_FAULT_ALL     (XK_FAULT_BIT(XK_FAULT_OP_COUNT) - 1)
/* What fails when a file system is full. */
#define XK_FAULT_SPACE                                                                                                 \
    (XK_FAULT_BIT(XK_FAULT_WRITE) | XK_FAULT_BIT(XK_FAULT_ALLOCATE) | XK_FAULT_BIT(XK_FAULT_SYNC) |                    \
     XK_FAULT_BIT(XK_FAULT_TRUNCATE) | XK_FAULT_BIT(XK_FAULT_LINK) | XK_FAULT_BIT(XK_FAULT_RENAME))

/* One operation that changes the disk, as it was done. */
struct xk_fault_record {
    enum xk_fault_op op;    /* OPEN: a file was created; OWNER: its mode was set */
    unsigned file;          /* which file, whatever it is called */
    char *path, *to;        /* names inside the recorded folder, for OPEN, RENAME, LINK, UNLINK, SYNC_DIR */
    uint64_t offset, bytes; /* WRITE, TRUNCATE (bytes: the new size), ALLOCATE */
    int mode;               /* permissions for OPEN and OWNER; fallocate's mode for ALLOCATE */
    uint8_t *data;          /* WRITE */
};

/* A file as it was when recording began. */
struct xk_fault_start {
    char *path;    /* inside the recorded folder */
    char *link_to; /* a symbolic link's text; NULL for a file */
    unsigned file; /* the same number for hard links to one file */
    mode_t mode;
    uint64_t bytes;
    uint8_t *data;
};

struct xk_fault_inode; /* which number a (device, inode) pair has now */

struct xk_fault_log {
    char *folder; /* its real path */
    struct xk_fault_start *start;
    size_t start_count;
    struct xk_fault_record *records;
    size_t count;
    unsigned file_count;
    struct xk_fault_inode *inodes;
    size_t inode_count, data_bytes;
    int error; /* recording failed: -ENOMEM, -EFBIG past XK_FAULT_DATA_MAX */
};

#define XK_FAULT_DATA_MAX (256 * XK_MIB)

/* A file system over another one. Zero it, call xk_fault_fs_init(), set what is wanted, hand out &f.fs. */
struct xk_fault_fs {
    struct xk_fs fs;
    const struct xk_fs *real;

    uint64_t fail_at;         /* the operation that fails, counting those in `which` from 1; 0: none */
    bool sticky;              /* and all of `which` after it */
    int error;                /* what it fails with, such as -EIO */
    unsigned which;           /* XK_FAULT_BIT(…) of the operations that count; all after init */
    bool short_io;            /* reads and writes move fewer bytes than asked for, at least one */
    struct xk_random random;  /* for short_io */
    struct xk_fault_log *log; /* NULL: no record */

    uint64_t count; /* operations in `which` so far */
    bool fired;
    enum xk_fault_op fired_op; /* the first that failed */
    bool unlink_failed;        /* so that a leftover temporary file is no surprise */
    int open_files;            /* opened and not closed */
};

void xk_fault_fs_init(struct xk_fault_fs *f, const struct xk_fs *real);

/* ---- the record and what a crash leaves ---- */

/*
 * Take down what is in the folder (regular files and symbolic links, folders below it too). Give the log to a
 * struct xk_fault_fs afterwards; what it does in that folder is then recorded.
 */
int xk_fault_log_begin(struct xk_fault_log *ret, const char *folder, struct xk_err *err);
void xk_fault_log_done(struct xk_fault_log *log);

enum xk_crash {
    /* Exactly the first n operations happened. */
    XK_CRASH_PREFIX,
    /*
     * The first n happened, but what was not made safe in between is there or not, by chance. Writes after the last
     * fsync of their file: each sector of 512 bytes is kept or lost on its own, so later ones can be there without
     * earlier ones; new sizes and modes: kept or lost. Names: only a beginning of the changes after the last fsync of
     * a folder (journals keep their order); this beginning need not go along with the data.
     */
    XK_CRASH_LOSE,
};

/*
 * Make the folder that a crash after the first n records leaves.
 *
 * to        an empty folder that exists.
 * seed      for XK_CRASH_LOSE; the same seed gives the same folder.
 */
int xk_fault_replay(const struct xk_fault_log *log, size_t n, const char *to, enum xk_crash how, uint64_t seed,
                    struct xk_err *err);
/*
 * Look at every crash of a recorded operation: after each record, in order, and `seeds` times with losses.
 * verify    looks at the folder; 0: good. n == log->count: the operation had ended well before the crash.
 * returns   0; -EPROTO when verify refused (why says which crash); other negative errno values.
 */
int xk_crash_loop(const struct xk_fault_log *log, unsigned seeds,
                  int (*verify)(void *state, const char *folder, size_t n, char why[XK_FAULT_WHY_MAX]), void *state,
                  char why[XK_FAULT_WHY_MAX]);

/* ---- loops ---- */

struct xk_fault_round {
    bool allocation; /* an allocation failed, else a file operation */
    bool sticky;
    uint64_t at;         /* the how-manieth; 0: none, the round with short reads and writes */
    bool fired;          /* it was reached; false: the last round, which nothing disturbed */
    enum xk_fault_op op; /* the first file operation that failed */
    bool unlink_failed;
    int error;  /* what was injected */
    int result; /* what run() returned */
    const struct xk_err *err;
};

struct xk_fault_case {
    const char *name;
    /* Make the world as it is before: called before every round. NULL: nothing to make. */
    int (*prepare)(void *state);
    /* The operation. It allocates through core and reaches files through fs only. */
    int (*run)(void *state, const struct xk_fs *fs, struct xk_err *err);
    /* Look at what is there now; 0: good, else say why not. NULL: only the loop's own rules. */
    int (*verify)(void *state, const struct xk_fault_round *round, char why[XK_FAULT_WHY_MAX]);
    void *state;
    bool any_error; /* run() may fail with another error than the one that was injected */
};

/*
 * Run the case once with short transfers, then with the 1st, 2nd, 3rd … allocation failing and the 1st, 2nd, 3rd …
 * file operation failing (EIO, ENOSPC), once and sticky, until it gets through undisturbed.
 *
 * The loop's own rules: an undisturbed run succeeds; a failing one returns the injected error with a sentence; every
 * block is freed and every file closed.
 * why       says what was wrong.
 * returns   0; -EPROTO when a rule or verify() was not satisfied; the error of prepare().
 */
int xk_fault_loop(const struct xk_fault_case *c, char why[XK_FAULT_WHY_MAX]);

/* ---- folders for tests ---- */

/* A new folder below $TMPDIR or /tmp. */
int xk_fault_folder_make(char ret_path[XK_FAULT_PATH_MAX]);
/* Remove what is in it; with `itself`, the folder too. */
void xk_fault_folder_clear(const char *path, bool itself);

#endif
