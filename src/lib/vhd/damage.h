/*
 * Deliberate damage, for the demo, for teaching and for tests: each kind breaks one thing that a check must find.
 */
#ifndef VHD_DAMAGE_H
#define VHD_DAMAGE_H

#include "core/fs.h"

struct vhd_damage_kind {
    const char *name;     /* "footer", "bat-overlap", … */
    const char *what;     /* one line */
    const char *check_id; /* the finding that it must give */
    int (*apply)(const struct xk_fs *fs, const char *path, struct xk_err *err);
};

extern const struct vhd_damage_kind vhd_damage_kinds[]; /* ends with a NULL name */
const struct vhd_damage_kind *vhd_damage_find(const char *name);

#endif
