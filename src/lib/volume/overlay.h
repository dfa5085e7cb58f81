/*
 * Writing on top of a disk that stays as it is: changes go into a differencing VHD above it.
 *
 * What was written is seen at once through the view; it is on stable storage after a flush. Until then a crash leaves
 * the content of the last flush, with some of the newer writes or none; the footer at the end of the image may be gone
 * then, and the one at the front be needed (volume_options.use_copy, or a repair). All functions but open and close may
 * be called by several threads at once.
 */
#ifndef VOLUME_OVERLAY_H
#define VOLUME_OVERLAY_H

#include "lib/volume/volume.h"

struct volume_overlay;

/*
 * path      a differencing image that stands on `base`, such as vhd_snapshot() has just made.
 * base      what lies below, opened; borrowed until the overlay is closed.
 * returns   0; the errors of opening for writing.
 */
int volume_overlay_open(struct volume_overlay **ret, const struct xk_fs *fs, const char *path,
                        const struct volume *base, struct xk_err *err);
/* Drops what was not flushed. Accepts NULL. */
void volume_overlay_close(struct volume_overlay *o);

/* The disk with all changes: layer 0 is the overlay, layer 1 the base's layer 0, and so on. Borrowed. */
const struct volume *volume_overlay_view(const struct volume_overlay *o);

/* Any range of bytes of the disk. returns 0; -EINVAL: past its end; -ENOSPC; I/O errors. */
int volume_overlay_write(struct volume_overlay *o, const void *buf, size_t bytes, uint64_t start, struct xk_err *err);
/* Make a range zeros. keep_space: without giving the overlay's space back. returns as write. */
int volume_overlay_zero(struct volume_overlay *o, uint64_t start, uint64_t bytes, bool keep_space, struct xk_err *err);
/* The range is not needed any more: give back what the overlay itself holds of it. What it reads as then is open. */
int volume_overlay_trim(struct volume_overlay *o, uint64_t start, uint64_t bytes, struct xk_err *err);
/* Everything written before is on stable storage afterwards. Cheap when nothing was. */
int volume_overlay_flush(struct volume_overlay *o, struct xk_err *err);

#endif
