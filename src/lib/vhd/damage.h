/*
 * Deliberate damage, for the demo, for teaching and for tests: each kind breaks one thing that a check must find.
 */
#ifndef VHD_DAMAGE_H
#define VHD_DAMAGE_H

#include "lib/vhd/image.h"

/* What an image must have for a kind of damage. Every kind also needs an image that opens without complaint. */
enum vhd_damage_on {
    VHD_DAMAGE_ANY,
    VHD_DAMAGE_SPARSE, /* dynamic or differencing */
    VHD_DAMAGE_BATMAP, /* sparse, with a batmap */
    VHD_DAMAGE_DATA,   /* sparse, with an allocated block that holds data and has gaps, and a free block */
    VHD_DAMAGE_CHILD,  /* differencing, with its parent in place */
};

struct vhd_damage_kind {
    const char *name;     /* "footer", "bat-overlap", … */
    const char *what;     /* one line */
    const char *check_id; /* the finding that it must give; milder consequences may come along */
    enum vhd_damage_on on;
    int (*change)(struct vhd *v, struct xk_err *err); /* for vhd_damage_apply() */
};

extern const struct vhd_damage_kind vhd_damage_kinds[];          /* ends with a NULL name */
const struct vhd_damage_kind *vhd_damage_find(const char *name); /* NULL: no such kind */
/* returns 0; -ENOTSUP: the image has not got what this kind needs; vhd_open()'s and I/O errors. */
int vhd_damage_apply(const struct vhd_damage_kind *kind, const struct xk_fs *fs, const char *path, struct xk_err *err);

#endif
