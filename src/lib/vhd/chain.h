/*
 * A chain: an image and its ancestors, opened once, and the content of the disk that they make together.
 */
#ifndef VHD_CHAIN_H
#define VHD_CHAIN_H

#include "lib/vhd/image.h"
#include "lib/vhd/locator.h"

#define VHD_DEPTH_MAX 1024 /* layers; XenServer itself stops at 30 */

struct vhd_chain {
    struct vhd *layers; /* [0] is the image itself, the last one the root that is a VHD */
    size_t count;
    struct xk_file raw; /* below the last layer when that one's parent is raw; else not open */
    char *raw_path;
    uint64_t raw_bytes;
};

struct vhd_chain_options {
    struct vhd_parent_search search;
    unsigned open_flags; /* for each layer; VHD_WRITE goes to layer 0 only */
    size_t depth_max;    /* 0: VHD_DEPTH_MAX */
    const char *parent;  /* NULL, or use this as the parent of the first layer */
};

/*
 * Open an image with all its ancestors. Checks each parent's identity (UUID) and that the chain has no loop
 * (by device and inode).
 *
 * options   NULL: defaults.
 * returns   0; vhd_open()'s and vhd_find_parent()'s errors; -ELOOP: a loop, or deeper than depth_max; -ESTALE: the
 *           parent's UUID is not the one the child names.
 */
int vhd_chain_open(struct vhd_chain *ret, const struct xk_fs *fs, const char *path,
                   const struct vhd_chain_options *options, struct xk_err *err);
void vhd_chain_close(struct vhd_chain *c);
/* Do the first `count` images (the raw parent is the last one) still have their names? As xk_file_check_name(). */
int vhd_chain_check_names(const struct vhd_chain *c, size_t count, struct xk_err *err);

static inline uint64_t vhd_chain_bytes(const struct vhd_chain *c)
{
    return c->layers[0].footer.current_bytes;
}

#define VHD_LAYER_ZERO (-1) /* no layer has it: reads as zeros */

/* A run of the disk that comes from one place. */
struct vhd_extent {
    uint64_t start, sectors; /* on the disk, in sectors */
    int layer;               /* index in the chain; chain.count: the raw parent; VHD_LAYER_ZERO */
    uint64_t file_offset;    /* bytes in that layer's file; 0 for zeros */
};

/*
 * Walk the disk's sectors [start, start + sectors) as extents in ascending order, neighbours in one file merged.
 *
 * visit     returns 0 to go on; anything else ends the walk and is returned.
 * returns   0; visit's value; -EBADMSG, -EIO and so on from reading bitmaps; -EINVAL: the range passes the disk's end.
 */
int vhd_chain_map(const struct vhd_chain *c, uint64_t start, uint64_t sectors,
                  int (*visit)(void *context, const struct vhd_extent *extent), void *context, struct xk_err *err);

/* Read whole sectors of the disk. buf takes sectors * 512 bytes. returns 0 or vhd_chain_map()'s errors. */
int vhd_chain_read(const struct vhd_chain *c, void *buf, uint64_t start, uint64_t sectors, struct xk_err *err);

#endif
