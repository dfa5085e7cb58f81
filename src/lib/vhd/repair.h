/*
 * Bringing a damaged image back.
 */
#ifndef VHD_REPAIR_H
#define VHD_REPAIR_H

#include "core/clock.h"
#include "lib/vhd/image.h"

/*
 * Write both footers anew: the one in force behind the data, and its copy. A UUID of zeros is replaced by a new one.
 *
 * v          open with VHD_WRITE, and VHD_BACKUP_OK when the footer at the end may be damaged.
 * from_copy  believe the copy although the footer at the end is good.
 * returns    0; -EINVAL: there is no good copy, or a block lies outside the file; I/O errors.
 */
int vhd_repair_footers(struct vhd *v, bool from_copy, struct xk_random *random, struct xk_err *err);

#endif
