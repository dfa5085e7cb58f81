/*
 * The content of a disk as the classic commands read it: an ancestor is opened when a sector is needed that no layer
 * above has, so that what is there can be read although the rest of the chain is gone.
 */
#ifndef ROOMS_VHD_CLASSIC_CHAIN_H
#define ROOMS_VHD_CLASSIC_CHAIN_H

#include "rooms/vhd/classic-image.h"

struct vhd_classic_layer;

struct vhd_classic_chain {
    struct vhd_classic *classic;
    struct vhd_classic_layer *layers; /* [0] is the disk itself */
    size_t count;
};

/* The image stays the caller's and must outlive the chain. returns 0; -ENOMEM. */
int vhd_classic_chain_begin(struct vhd_classic_chain *ret, struct vhd_classic_image *image);
void vhd_classic_chain_end(struct vhd_classic_chain *chain);

#define VHD_CLASSIC_CHUNK_SECTORS 512u /* 256 KiB stay in the cache between reading and writing */

/*
 * Read up to VHD_CLASSIC_CHUNK_SECTORS sectors.
 * returns   0; the error of what could not be opened or read; -ELOOP.
 */
int vhd_classic_chain_read(struct vhd_classic_chain *chain, uint8_t *ret, uint64_t sector, uint32_t count);

#endif
