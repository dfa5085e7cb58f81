/*
 * A hash of a disk's content that is the same whatever format and whatever holes the image has, and costs nothing where
 * nothing is stored.
 *
 * H is the algorithm, | puts bytes behind each other, numbers are big-endian:
 *
 *     leaf n  = H(00 | bytes of block n)           blocks of block_bytes; the last one is as short as it is
 *     node    = H(01 | left | right)               left holds the largest power of two of leaves that leaves some for
 * right root    = H(02 | "xenkit disk 1" | size of the disk (8 bytes) | block_bytes (4 bytes) | top)
 *
 * top is the one node over all leaves, the only leaf, or H(00) for an empty disk. XXH3 is XXH3-128 without a seed in
 * its canonical (big-endian) form: fast, and no protection against anybody who wants two disks to look the same.
 */
#ifndef VOLUME_HASH_H
#define VOLUME_HASH_H

#include "lib/volume/volume.h"

enum volume_hash_algorithm { VOLUME_SHA256, VOLUME_XXH3 };
/* "sha256", "xxh3"; NULL-ended. */
extern const char *const volume_hash_names[];

#define VOLUME_HASH_BYTES_MAX   32
#define VOLUME_HASH_THREADS_MAX 16
#define VOLUME_HASH_BLOCK_MIN   4096u
#define VOLUME_HASH_BLOCK_MAX   (4u << 20)
#define VOLUME_HASH_BLOCK       (1u << 20) /* usual */

struct volume_digest {
    uint8_t bytes[VOLUME_HASH_BYTES_MAX];
};

struct volume_hash {
    enum volume_hash_algorithm algorithm;
    uint32_t block_bytes; /* a power of two between the limits */
    unsigned threads;     /* 0: as many as there are processors; at most VOLUME_HASH_THREADS_MAX */
    /*
     * Called for each block that is not all zeros, in order. returns 0 to go on; anything else ends the work, which
     * returns it. May be NULL.
     */
    int (*block)(void *context, uint64_t start, uint64_t bytes, const struct volume_digest *leaf);
    void (*progress)(void *context, uint64_t done); /* bytes of the disk; may be NULL */
    void *context;
};

struct volume_hashed {
    struct volume_digest root;
    size_t digest_bytes; /* 32, 16 */
    uint64_t blocks, zero_blocks;
};

/* returns 0; block's value; -EINVAL: block_bytes; -EINTR: a signal asked for an end; errors of reading; -ENOMEM. */
int volume_hash_run(struct volume_hashed *ret, const struct volume *v, const struct volume_hash *how,
                    struct xk_err *err);

#endif
