/*
 * Changes to one file that are kept in memory: whoever opens the file through the overlay sees them, and writes more of
 * them; the file itself stays as it is. So a repair can be tried, looked at and measured before anything is written.
 */
#ifndef VHD_OVERLAY_H
#define VHD_OVERLAY_H

#include "core/fs.h"

#define VHD_OVERLAY_SECTORS_MAX (64u * 1024) /* 32 MiB of changes */
#define VHD_OVERLAY_OPEN_MAX    8            /* of the file, at one time */

struct vhd_overlay_sector {
    uint64_t number; /* 512 bytes each */
    uint8_t *data;
};

struct vhd_overlay {
    struct xk_fs fs; /* hand out &o.fs; other files can only be read through it */
    const struct xk_fs *real;
    char *path;
    dev_t dev;
    ino_t ino;
    bool block_device;
    uint64_t real_bytes;                /* of the file when the overlay began */
    uint64_t bytes;                     /* now */
    uint64_t shown;                     /* of the file's own bytes, those below this are seen: it was cut there once */
    struct vhd_overlay_sector *sectors; /* by number */
    size_t count, capacity;
    int open[VHD_OVERLAY_OPEN_MAX];
    size_t open_count;
    int read_error; /* the first that the file itself gave, 0: none; whoever reads may have gone on after it */
};

/* returns 0; errors of opening and looking at the file; -ENOTSUP: neither a regular file nor a block device. */
int vhd_overlay_begin(struct vhd_overlay *ret, const struct xk_fs *real, const char *path, struct xk_err *err);
void vhd_overlay_done(struct vhd_overlay *o); /* harmless on a zeroed struct */

/* Changes put aside, to go back to. */
struct vhd_overlay_mark {
    uint64_t bytes, shown;
    struct vhd_overlay_sector *sectors;
    size_t count;
};
int vhd_overlay_mark(struct vhd_overlay_mark *ret, const struct vhd_overlay *o, struct xk_err *err);
void vhd_overlay_mark_done(struct vhd_overlay_mark *m);
/* Back to the mark, which is used up. */
void vhd_overlay_return(struct vhd_overlay *o, struct vhd_overlay_mark *m);

#endif
