/*
 * Bringing the changes of an overlay to the disk in a way that can be taken back: an undo file first holds what every
 * changed place held and will hold.
 */
#ifndef VHD_UNDO_H
#define VHD_UNDO_H

#include "lib/vhd/overlay.h"

#define VHD_UNDO_SUFFIX    ".undo"        /* behind the image's name, where nothing else was said */
#define VHD_UNDO_BYTES_MAX (128 * XK_MIB) /* of an undo file that is followed */
#define VHD_UNDO_TAIL_MAX  (32 * XK_MIB)  /* that a repair may cut off */

/*
 * Write the undo file, then the changes; each is on stable storage before the next. Whatever moment this is cut off at,
 * vhd_undo() brings the old image back. When the changes cannot be written they are undone before this returns.
 *
 * returns   0: the image is changed, the undo file is there; -EEXIST: an undo file is there already; -EFBIG: more than
 *           VHD_UNDO_TAIL_MAX would be cut off; -EAGAIN: the image changed since the overlay began; -ESTALE: another
 * file has its name by now; I/O errors.
 */
int vhd_undo_apply(const struct vhd_overlay *o, const char *undo_path, struct xk_err *err);

/*
 * Follow an undo file and remove it. Can itself be cut off and repeated.
 *
 * returns   0; -ENOENT; -EINVAL: not an undo file; -EBADMSG: a damaged one, nothing was changed; -ESTALE: the image is
 *           another one, or was written to after the repair: nothing was changed; I/O errors.
 */
int vhd_undo(const struct xk_fs *fs, const char *path, const char *undo_path, struct xk_err *err);
/* Only ask whether it can be followed. ret_bytes: how much it would write back. May be NULL. */
int vhd_undo_preview(uint64_t *ret_bytes, const struct xk_fs *fs, const char *path, const char *undo_path,
                     struct xk_err *err);

#endif
