/*
 * What a classic scan looks at: files by name and pattern, or the volumes of an LVM group.
 */
#ifndef ROOMS_VHD_CLASSIC_SCAN_H
#define ROOMS_VHD_CLASSIC_SCAN_H

#include "core/buf.h"
#include "rooms/vhd/classic.h"

/* The first segment of a logical volume, on its physical one. */
struct vhd_classic_volume {
    const char *name;
    uint64_t bytes; /* of the whole volume */
    bool linear;
    const char *device;
    uint64_t start, segment_bytes; /* on the device */
};

struct vhd_classic_group {
    struct xk_arena arena;
    struct vhd_classic_volume *volumes;
    size_t count;
};

/*
 * Ask vgs and lvs (found in PATH, run without a shell) for a volume group.
 * returns   0; -EINVAL: no such group, or answers that cannot be understood; -ENOMEM; errors of starting a program.
 */
int vhd_classic_group_open(struct vhd_classic_group *ret, const struct vhd_classic *c, const char *name);
void vhd_classic_group_close(struct vhd_classic_group *g);

#endif
