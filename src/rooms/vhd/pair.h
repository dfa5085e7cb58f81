/*
 * The two disks that diff, compare and export-delta look at.
 */
#ifndef ROOM_VHD_PAIR_H
#define ROOM_VHD_PAIR_H

#include "rooms/vhd/room.h"

#include "lib/volume/volume.h"

struct vhd_pair {
    struct volume *a, *b;
};

/*
 * Open both or none.
 * formats   enum volume_format of each.
 */
int vhd_pair_open(struct vhd_pair *ret, const struct xk_fs *fs, const char *const paths[2], const int formats[2],
                  const char *chain_root, struct xk_err *err);
void vhd_pair_close(struct vhd_pair *pair);
uint64_t vhd_pair_bytes(const struct vhd_pair *pair); /* of the larger disk */
/* For struct volume_compare; context: a struct xk_prog. */
void vhd_pair_progress(void *context, uint64_t done);

#define VHD_OPT_FORMATS(type)                                                                                          \
    XK_OPT_CHOICE('f', "format", type, formats[0], "FORMAT", volume_format_names, "format of A [auto]"),               \
        XK_OPT_CHOICE('F', "other-format", type, formats[1], "FORMAT", volume_format_names, "format of B [auto]")

#endif
