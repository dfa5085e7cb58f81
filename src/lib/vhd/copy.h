/*
 * A copy of one image, written anew: its own UUID, its blocks in the disk's order, data on pages.
 */
#ifndef VHD_COPY_H
#define VHD_COPY_H

#include "core/clock.h"
#include "lib/vhd/locator.h"

struct vhd_copy {
    const char *from, *to;
    uint64_t reserve_bytes; /* tables for a disk of this size; 0: just enough */
    /*
     * Store each block that the source has whole, with zeros where the block has gaps, as
     * XenServer's copy does. Else only what the image has: a child stays a child of the same parent.
     */
    bool whole_blocks;
    const uint8_t *key; /* NULL, or encrypt with it; the copy gets its hash */
    size_t key_bytes;
    bool overwrite, dry_run;
    int64_t unix_seconds;
    struct xk_random *random;
    unsigned open_flags; /* for the source: VHD_DEVICES, VHD_BACKUP_OK, VHD_ANY_SIZE */
    struct vhd_parent_search search;
    /* Called now and then with sectors of the disk passed and in all. May be NULL. */
    void (*progress)(void *context, uint64_t done, uint64_t total);
    void *context;
};

struct vhd_copied {
    uint64_t disk_bytes, data_bytes; /* of the disk; of data copied, or with dry_run to be copied */
    uint8_t uuid[16];                /* of the copy; zeros with dry_run */
};

/*
 * The copy appears under its name only when it is whole and on stable storage. The hash of an encrypted disk's key
 * goes along; the hidden mark does not.
 *
 * returns   0; -EEXIST; -EINVAL: whole_blocks or key with an image that is not dynamic, or a key for a disk that is
 *           encrypted already; -EINTR: stopped by a signal; vhd_open()'s and vhd_create()'s errors. A failure leaves
 *           no new file behind.
 */
int vhd_copy(struct vhd_copied *ret, const struct xk_fs *fs, const struct vhd_copy *how, struct xk_err *err);

#endif
