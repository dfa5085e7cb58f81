/*
 * Encrypted disks: what an image says of its key, and the cipher. The image never holds the key itself, only a random
 * number and the SHA-256 of that number followed by the key.
 *
 * source   blktap 3.55, drivers/block-crypto.c: AES-XTS over each sector; the tweak is the sector's number, its lower
 * 32 bits little-endian and zeros.
 */
#ifndef VHD_KEY_H
#define VHD_KEY_H

#include "lib/vhd/image.h"

#define VHD_KEY_BYTES_MAX 64 /* AES-256-XTS; the other size is 32, AES-128-XTS */

struct vhd_keyhash {
    bool set; /* false: the disk is not encrypted */
    uint8_t nonce[32], hash[32];
};

/* From the batmap, or from an extended attribute where there is none. returns 0; -EBADMSG: damaged; I/O errors. */
int vhd_keyhash_read(struct vhd_keyhash *ret, const struct vhd *v, struct xk_err *err);
/*
 * Store it; the second one only asks whether that can be done.
 * v         open with VHD_WRITE.
 * returns   0; -EINVAL: a fixed image, or one that holds data already (it would be read through the cipher from now
 * on); -EBADMSG; -ESTALE: another file has the image's name by now; I/O errors.
 */
int vhd_keyhash_write(struct vhd *v, const struct vhd_keyhash *k, struct xk_err *err);
int vhd_keyhash_check(const struct vhd *v, struct xk_err *err);
/* k->hash from k->nonce and the key. returns 0; -EINVAL: no key has `bytes` bytes; -ENOMEM. */
int vhd_keyhash_compute(struct vhd_keyhash *k, const uint8_t *key, size_t bytes, struct xk_err *err);
/* Does the key belong to it? returns 1 or 0; vhd_keyhash_compute()'s errors. */
int vhd_keyhash_matches(const struct vhd_keyhash *k, const uint8_t *key, size_t bytes, struct xk_err *err);
/* A key file: 32 or 64 bytes, nothing else. returns the number of bytes; -EINVAL; I/O errors. */
int vhd_key_load(uint8_t ret[VHD_KEY_BYTES_MAX], const struct xk_fs *fs, const char *path, struct xk_err *err);

struct vhd_cipher; /* opaque */
int vhd_cipher_open(struct vhd_cipher **ret, const uint8_t *key, size_t bytes, struct xk_err *err);
/* Encrypt `count` sectors in place; the first one is sector number `sector` of the disk. */
int vhd_cipher_encrypt(struct vhd_cipher *c, uint8_t *data, uint64_t sector, uint64_t count, struct xk_err *err);
void vhd_cipher_close(struct vhd_cipher *c); /* NULL allowed; the key leaves the memory */

#endif
