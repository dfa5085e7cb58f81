/*
 * New images. Each appears under its name only when it is whole and on stable storage.
 */
#ifndef VHD_CREATE_H
#define VHD_CREATE_H

#include "core/clock.h"
#include "lib/vhd/chain.h"

struct vhd_create {
    const char *path;
    uint64_t bytes;           /* of the disk; rounded up to 2 MiB unless exact */
    enum vhd_type type;       /* VHD_FIXED or VHD_DYNAMIC */
    uint64_t reserve_bytes;   /* dynamic: tables for a disk of this size (online growth); 0: just enough */
    bool exact;               /* keep bytes as they are (a multiple of 512) */
    bool preallocate;         /* fixed: allocate the space instead of leaving a hole */
    bool overwrite;           /* replace an existing file; else -EEXIST */
    bool dry_run;             /* check everything, write nothing */
    int64_t unix_seconds;     /* creation stamp */
    struct xk_random *random; /* for the UUID */
    /* NULL, or an open, empty file that gets the image; path is then only the name that it will have. */
    const struct xk_file *into;
};

/*
 * An existing block device is always written in place (tables first, footers last); anything else appears whole.
 * returns   0; -EEXIST; -EINVAL: sizes contradict; -EFBIG: above VHD_SIZE_MAX; -ENOSPC: the device is too small;
 *           I/O errors. A failure leaves no new file behind.
 */
int vhd_create(const struct xk_fs *fs, const struct vhd_create *how, struct xk_err *err);

struct vhd_snapshot {
    const char *path, *parent;
    bool parent_raw;
    bool keep_empty; /* link to the named parent even when it is an empty differencing image */
    uint64_t bytes;  /* of the new disk, not less than the parent's and a multiple of 512; 0: as the parent's */
    uint64_t reserve_bytes;
    unsigned depth_limit; /* 0: none; -ENOSPC when the new image's chain would be deeper */
    bool overwrite, dry_run;
    int64_t unix_seconds;
    struct xk_random *random;
    struct vhd_parent_search search;
    const struct xk_file *into; /* as in struct vhd_create */
};

/* What came of it. */
struct vhd_snapshot_made {
    char *parent; /* real path of the image it stands on; the caller frees it */
    dev_t parent_dev;
    ino_t parent_ino;
    uint64_t bytes; /* of the disk */
    unsigned depth; /* layers, itself and a raw parent included; also set when depth_limit refused it */
};

/*
 * A differencing image on top of a parent.
 * returns   as vhd_create(); -ENOSPC: depth_limit reached; -ELOOP: it would replace an image that it stands on; the
 *           errors of opening the parent's chain.
 */
int vhd_snapshot(const struct xk_fs *fs, const struct vhd_snapshot *how, struct vhd_snapshot_made *ret,
                 struct xk_err *err);

/* A random UUID (version 4). */
void vhd_make_uuid(uint8_t ret[16], struct xk_random *random);

/*
 * The number of layers, a raw parent included, without opening tables; 1 for an image without a parent.
 * returns   the depth; vhd_chain_open()'s errors.
 */
int vhd_chain_depth(const struct xk_fs *fs, const char *path, const struct vhd_parent_search *search,
                    struct xk_err *err);

#endif
