/*
 * What one disk has more than another, as a differencing image: A + delta = B.
 */
#ifndef VOLUME_DELTA_H
#define VOLUME_DELTA_H

#include "lib/volume/compare.h"
#include "lib/vhd/create.h"

struct volume_delta {
    const struct volume *from; /* a VHD of any type, or raw: the parent of the new image */
    const struct volume *to;   /* any format; not smaller than `from` */
    const char *target;
    bool overwrite;
    bool dry_run; /* compare, write nothing */
    int64_t unix_seconds;
    struct xk_random *random;
    const char *chain_root;                         /* NULL, or where parents have to be */
    void (*progress)(void *context, uint64_t done); /* bytes of the disk; may be NULL */
    void *context;
};

struct volume_delta_made {
    uint64_t bytes;      /* of the new image's disk */
    uint64_t data_bytes; /* what it holds */
    unsigned depth;      /* layers of its chain */
};

/*
 * Write the image. It appears under its name only when it is whole and on stable storage.
 *
 * returns   0; -EEXIST; -ENOTSUP: a VHD cannot stand on an image of that format; -EINVAL: `to` is smaller;
 * vhd_snapshot()'s, the writer's and the comparison's errors.
 */
int volume_delta_write(struct volume_delta_made *ret, const struct xk_fs *fs, const struct volume_delta *how,
                       struct xk_err *err);

#endif
