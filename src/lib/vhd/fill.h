/*
 * Giving every block of a sparse image its place before it is needed.
 */
#ifndef VHD_FILL_H
#define VHD_FILL_H

#include "lib/vhd/locator.h"

struct vhd_fill {
    bool tables_only;    /* where nothing is stored anywhere, say "present" without writing the zeros */
    uint64_t first;      /* sectors: only the blocks that hold first … last, both inclusive */
    uint64_t last;       /* UINT64_MAX: to the end */
    bool dry_run;        /* only count */
    unsigned open_flags; /* VHD_DEVICES, VHD_ANY_SIZE */
    struct vhd_parent_search search;
    /* Called after each block with sectors of the disk passed and in all. May be NULL. */
    void (*progress)(void *context, uint64_t done, uint64_t total);
    void *context;
};

struct vhd_filled {
    uint32_t blocks;        /* that had no place before */
    uint64_t written_bytes; /* of data */
    bool stopped;           /* a signal asked for an end; what was done until then is safe */
};

/*
 * Read the disk through its chain and store what this image does not have itself; afterwards its parents are not needed
 * for these blocks, and they take their whole space. The disk's content does not change, whatever moment this is cut
 * off at. A block whose sectors hold nothing is only marked when tables_only is set: no space is taken then.
 *
 * returns   0; -EINVAL: a fixed image, or first lies past the end of the disk; vhd_chain_open()'s errors; -ESTALE:
 *           another file has the name of one of them by now; -EFBIG: the file would pass 2 TiB; -ENOSPC and other I/O
 * errors.
 */
int vhd_fill(struct vhd_filled *ret, const struct xk_fs *fs, const char *path, const struct vhd_fill *how,
             struct xk_err *err);

#endif
