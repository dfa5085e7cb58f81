/*
 * What the files of this library share: the unit of work, and what a target has to do with it.
 */
#ifndef CONVERT_INNER_H
#define CONVERT_INNER_H

#include "lib/convert/convert.h"

#include <pthread.h>
#include <stdatomic.h>

#define CONVERT_UNIT    (2u << 20) /* a VHD block, 32 clusters of a qcow2 */
#define CONVERT_PAGE    4096u      /* zeros are looked for in pages */
#define CONVERT_PAGES   (CONVERT_UNIT / CONVERT_PAGE)
#define CONVERT_NOWHERE UINT64_MAX

/* Where something was or may have been under the name, the disk has all of the new file before it takes the name. */
static inline bool convert_waits(const struct convert *how)
{
    return how->sync || how->overwrite;
}

/* A piece of the disk on its way through. */
struct convert_unit {
    uint64_t ticket; /* in order of the disk, without gaps */
    uint64_t start;  /* on the disk, a multiple of CONVERT_UNIT */
    size_t bytes;    /* CONVERT_UNIT but for the last one */
    uint8_t *data;   /* page-aligned; behind `bytes` zeros; a page before it belongs to the target */
    uint64_t filled[CONVERT_PAGES / 64]; /* bit for each page that is not zeros */
    uint64_t taken[CONVERT_PAGES / 64];  /* bit for each page that the source stores */
    bool any;                            /* one of them is set */
    bool promised;                       /* the source's map has data for it */
    const struct xk_file *clone;         /* not read: the whole unit lies here … */
    uint64_t clone_offset;               /* … from this byte on */
    uint64_t place;                      /* the target's: where in the file; CONVERT_NOWHERE */
};

static inline bool convert_page_filled(const struct convert_unit *u, size_t page)
{
    return u->filled[page / 64] >> (page % 64) & 1;
}

static inline bool convert_page_taken(const struct convert_unit *u, size_t page)
{
    return u->taken[page / 64] >> (page % 64) & 1;
}

/* Deals out the units of a disk that have data. Used under a lock of the caller. */
struct convert_cursor {
    const struct volume *volume;
    uint64_t at;
    bool scanning; /* the last unit had no data: look ahead before giving out the next one */
};
/* returns 1: a unit begins at *ret_start; 0: no data any more; a negative errno value. */
int convert_cursor_next(struct convert_cursor *c, uint64_t *ret_start, struct xk_err *err);

/* Space that was taken for units to come. */
struct convert_reserve {
    atomic_bool on;
    struct convert_cursor ahead;
    uint64_t end;         /* of the file: nothing is taken from here on */
    size_t window_units;  /* for so many it is taken the next time */
    atomic_uint returned; /* units that gave back space */
    atomic_bool shifted;  /* a unit had no data after all: what follows lies nearer than foreseen */
};

struct convert_target {
    const struct convert_target_ops *ops;
    const struct convert *how;
    struct xk_file *file;  /* NULL: push */
    bool in_place;         /* a block device: what is not written is not zeros */
    uint64_t device_bytes; /* in_place */
    uint64_t file_bytes;   /* set by finish: the length of the target */
    uint64_t pushed;       /* bytes so far */
    size_t head_bytes;     /* of a unit in the file, before its data */
    size_t grain_bytes;    /* what is written goes out in pieces of this size, pages of zeros among them; 0: a page */
    atomic_bool direct;    /* the file is written past the page cache */
    struct convert_reserve reserve;
    pthread_mutex_t writing;
};

struct convert_target_ops {
    /* disk_bytes: UINT64_MAX when it is not known yet. */
    int (*begin)(struct convert_target *t, uint64_t disk_bytes, struct xk_err *err);
    /* In order of the disk and by one thread at once. Units that are all zeros may be left out. */
    int (*place)(struct convert_target *t, struct convert_unit *u, struct xk_err *err);
    /*
     * Where in the file the nth unit from the next one on will go, which begins at `start` of the disk, when all before
     * it have data. NULL: nobody can tell; then the file is written through the page cache.
     */
    uint64_t (*foresee)(const struct convert_target *t, uint64_t start, size_t nth);
    /* By any thread, after place(); only for files. */
    int (*write)(struct convert_target *t, struct convert_unit *u, struct xk_err *err);
    int (*finish)(struct convert_target *t, uint64_t disk_bytes, struct xk_err *err);
    void (*done)(struct convert_target *t); /* frees; also when begin failed */
};

int convert_raw_target(struct convert_target **ret, struct xk_err *err); /* raw and fixed VHD */
int convert_vhd_target(struct convert_target **ret, struct xk_err *err);
int convert_qcow2_target(struct convert_target **ret, struct xk_err *err);

/* ---- for targets ---- */

/*
 * Put a unit's head and data at its place of the file: shared with the source when that was found possible, else the
 * pages that are not zeros; all of them on a device.
 */
int convert_put(struct convert_target *t, struct convert_unit *u, struct xk_err *err);
/*
 * Through the page cache one write at a time, in pieces: writers of one file would wait for each other in the kernel,
 * spinning.
 */
int convert_write(struct convert_target *t, const void *buf, size_t bytes, uint64_t offset, struct xk_err *err);
int convert_push_bytes(struct convert_target *t, const void *buf, size_t bytes, struct xk_err *err);
/* Zeros up to a position of the output. */
int convert_push_zeros_to(struct convert_target *t, uint64_t position, struct xk_err *err);
/* Make a range of a device zeros. */
int convert_zero_device(struct convert_target *t, uint64_t from, uint64_t to, struct xk_err *err);

/* ---- space taken beforehand, writing past the page cache ---- */

/*
 * Past the page cache where the file system can do it, and somebody waits for the disk. Whole pages until
 * convert_direct_end().
 */
void convert_direct_begin(struct convert_target *t);
void convert_direct_end(struct convert_target *t);
/* Take space for the unit that begins here and some after it, if that was not done yet. In order of the disk. */
void convert_reserve(struct convert_target *t, uint64_t start);
/* Give back what was taken for pages of a unit that turned out to be zeros. */
void convert_release(struct convert_target *t, const struct convert_unit *u);

unsigned convert_thread_count(unsigned wanted);

#endif
