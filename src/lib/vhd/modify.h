/*
 * Changes of one image that leave its data alone: the hidden mark, the marker, another parent, where the file ends,
 * throwing the data away. Each is written in an order of which every prefix is the old or the new state.
 *
 * The image is open with VHD_WRITE; afterwards the description says what is on disk. Each ends in
 * xk_file_check_name(): -ESTALE says that the change was made to a file that has lost its name to another one.
 */
#ifndef VHD_MODIFY_H
#define VHD_MODIFY_H

#include "lib/vhd/image.h"

/*
 * Write a footer at the end of the data and, for a sparse image, its copy; what lies behind is cut off (not on a block
 * device, where the footer is the last sector).
 *
 * returns   0; -EINVAL: a block lies outside the file, so the end is not known; I/O errors.
 */
int vhd_rewrite_footers(struct vhd *v, const struct vhd_footer *f, struct xk_err *err);

/*
 * XenServer's mark of an image that no disk uses by itself.
 * returns   as vhd_rewrite_footers(). On a full file system a sparse image is at least hidden by its copy: 0.
 */
int vhd_set_hidden(struct vhd *v, uint8_t hidden, struct xk_err *err);

/* A byte for the storage manager; in the batmap, or in an extended attribute. returns 0; I/O errors. */
int vhd_set_marker(struct vhd *v, uint8_t marker, struct xk_err *err);
/*
 * Read it, from where vhd_set_marker() puts it.
 * ret       0 when there is none.
 * returns   whether there is one.
 */
bool vhd_get_marker(uint8_t *ret, const struct vhd *v);

struct vhd_reparent {
    const char *parent;
    bool raw;     /* the parent is no VHD */
    bool dry_run; /* find out whether it can be done, write nothing */
    /* Called when the new path is stored, before it counts; a negative value stops there. May be NULL. */
    int (*before_commit)(void *context);
    void *context;
};
/*
 * Give a differencing image another parent, through the locator slots that it has.
 *
 * returns   0; -EINVAL: not a differencing image, or the parent's UUID is zero; -ELOOP: the image is an ancestor of
 * that parent; -ENAMETOOLONG: a slot is too small for the path; -ESTALE, also: the parent
 * was replaced meanwhile; errors of opening the parent.
 */
int vhd_reparent(struct vhd *v, const struct vhd_reparent *how, struct xk_err *err);

/*
 * Put the footer where a file or device of `bytes` bytes ends; nothing is cut off. The first one only asks.
 * returns   0; -EINVAL: not whole sectors, or the data need more.
 */
int vhd_check_file_end(const struct vhd *v, uint64_t bytes, struct xk_err *err);
int vhd_set_file_end(struct vhd *v, uint64_t bytes, struct xk_err *err);

/* Throw all data of a sparse image away; a child shows its parent again. -ENOSYS: a fixed image. */
int vhd_discard(struct vhd *v, struct xk_err *err);

#endif
