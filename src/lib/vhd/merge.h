/*
 * Merging images downwards (coalesce): what the upper layers of a chain hold is written into an ancestor. The upper
 * layers stay as they are, so a merge that was cut off is simply done again, or goes on from its last checkpoint.
 */
#ifndef VHD_MERGE_H
#define VHD_MERGE_H

#include "core/clock.h"
#include "lib/vhd/chain.h"

struct vhd_merge {
    size_t links;           /* how many layers from the top go into the one below them; 1: coalesce; at least 1 */
    uint64_t start_sector;  /* a checkpoint of an earlier run; 0: from the start */
    uint64_t bandwidth_bps; /* bits a second, 0: as fast as it goes; needs clock */
    const struct xk_clock *clock;
    bool reserve; /* give new blocks in the target their whole space at once */
    /* Called now and then with sectors of the disk passed and in all. May be NULL. */
    void (*progress)(void *context, uint64_t done, uint64_t total);
    /* Called when everything before this sector is on stable storage. A negative value ends the merge. May be NULL. */
    int (*checkpoint)(void *context, uint64_t sector);
    void *context;
};

struct vhd_merged {
    uint64_t sectors; /* written, in this run */
    bool stopped;     /* a signal asked for an end; a checkpoint was made */
};

/*
 * chain     opened for reading; the target below the merged layers may be a VHD of any type or a raw disk. Each sector
 *           is read once, from the uppermost layer that has it.
 * returns   0; -EINVAL: there is nothing below; -ERANGE: the target's disk is smaller than data that would go there;
 *           -EBADMSG: a damaged table; -ESTALE: another file has the name of the target or of
 *           a merged image by now; checkpoint's value; I/O
 * errors. After an error the target holds a part of the merge: every reader of the whole chain still sees the same
 * disk.
 */
int vhd_merge_run(struct vhd_merged *ret, const struct vhd_chain *chain, const struct xk_fs *fs,
                  const struct vhd_merge *how, struct xk_err *err);

/* The path of the image that would be written to. */
const char *vhd_merge_target(const struct vhd_chain *chain, size_t links);

#endif
