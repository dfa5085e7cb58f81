/*
 * Another size for the disk inside an image.
 */
#ifndef VHD_RESIZE_H
#define VHD_RESIZE_H

#include "lib/vhd/journal.h"

/* Moments at which a resize can be made to stop, for tests of what comes after. */
enum vhd_resize_stage {
    VHD_RESIZE_BEGUN,          /* the journal is sealed, the image poisoned */
    VHD_RESIZE_DATA_MOVED,     /* blocks made room for larger tables */
    VHD_RESIZE_METADATA_MOVED, /* so did locators and batmap */
    VHD_RESIZE_ENDED,          /* all is written, the journal still says "undo" */
};

struct vhd_resize {
    uint64_t bytes;      /* whole sectors; sparse images: rounded up to blocks */
    const char *journal; /* where the undo journal goes; NULL: only changes that need none, else -EINVAL */
    bool dry_run;        /* find out what would be done, write nothing */
    bool drop_data;      /* shrink although blocks behind the new end hold data */
    /* 0, or -ECANCELED: everything stays as it stands at this moment, as if killed. May be NULL. */
    int (*stage)(void *context, enum vhd_resize_stage stage);
    /* Called now and then with bytes moved or made zeros, and all of them. May be NULL. */
    void (*progress)(void *context, uint64_t done, uint64_t total);
    void *context;
};

struct vhd_resized {
    uint64_t old_bytes, new_bytes;
    uint32_t moved_blocks, dropped_blocks;
};

/*
 * Resize, growing or shrinking.
 *
 * Without a journal an image grows as far as its tables reach, and shrinks: both are ordered so that a cut-off leaves
 * the old or the new size. With one, tables are enlarged, blocks in their way moved to the end. A failure is undone
 * before this returns (unless `stage` made it); when that is impossible the journal stays for vhd_revert().
 *
 * returns   0; -EINVAL: no whole sectors, a journal would be needed; -EFBIG: above VHD_SIZE_MAX; -ENOTEMPTY: a shrink
 *           would drop data; -EEXIST: the journal is there already; -EBADMSG: a damaged image; -ESTALE: another file
 * has its name by now; -EINTR: a signal asked to stop, it was undone; I/O errors.
 */
int vhd_resize(struct vhd_resized *ret, const struct xk_fs *fs, const char *path, const struct vhd_resize *how,
               struct xk_err *err);

#endif
