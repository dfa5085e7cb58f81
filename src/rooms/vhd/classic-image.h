/*
 * One image as the classic commands see it: opened and read in the original's order, with its errno values, because
 * those are exit statuses and stand in its texts.
 *
 * lib/vhd/image.h validates an image whole and says in a sentence what is wrong; here each table is read when a
 * command asks for it, and what is read is kept even when it is invalid, since `read -p` prints it.
 */
#ifndef ROOMS_VHD_CLASSIC_IMAGE_H
#define ROOMS_VHD_CLASSIC_IMAGE_H

#include "core/fs.h"
#include "lib/vhd/format.h"
#include "rooms/vhd/classic.h"

#define VHD_CLASSIC_TABLE_BYTES_MAX (64u * XK_MIB) /* of a BAT or a batmap in memory */
#define VHD_CLASSIC_DEPTH_MAX       1024           /* images in a chain */

enum vhd_classic_open_flags {
    VHD_CLASSIC_READ = 0,
    VHD_CLASSIC_WRITE = 1 << 0,
    VHD_CLASSIC_POISONED = 1 << 1, /* also one that an unfinished resize disabled */
    VHD_CLASSIC_FAST = 1 << 2,     /* the footer copy and the header behind it, in one read */
    VHD_CLASSIC_CACHED = 1 << 3,   /* regular files only */
    VHD_CLASSIC_COPY = 1 << 4,     /* take the footer copy without looking at the footer */
};

struct vhd_classic_image {
    struct vhd_classic *classic;
    struct xk_file file;
    char *path;
    uint64_t bytes; /* of the file or device, without what lies before start */
    uint64_t start; /* where the image begins in the file: inactive volumes lie inside a physical one */
    bool block_device;
    dev_t dev;
    ino_t ino;

    uint8_t footer_sector[VHD_FOOTER_BYTES], header_bytes[VHD_HEADER_BYTES]; /* as read */
    struct vhd_footer footer;
    struct vhd_header header;

    bool bat_read;
    uint32_t *bat;   /* host order */
    uint32_t blocks; /* entries of bat: as many as the disk has blocks */

    bool batmap_read;
    struct vhd_batmap batmap;
    uint8_t *map;
    size_t map_bytes;
};

/*
 * ret       zeroed on failure, except by vhd_classic_image_read_anyway().
 * returns   0; a negative errno value as the original's: -EINVAL (not a VHD, damaged), -EIO (a part is cut off),
 *           -EPIPE (a part lies behind the end), those of open(2).
 */
int vhd_classic_image_open(struct vhd_classic_image *ret, struct vhd_classic *c, const char *path, unsigned flags);
/* Footer and header of an image that is inside a larger file or device. Only these are read. */
int vhd_classic_image_open_file(struct vhd_classic_image *ret, struct vhd_classic *c, const char *path, unsigned flags);
/* Only ask whether it can be opened: 0, or the errno value that the original prints. */
int vhd_classic_image_try(struct vhd_classic *c, const char *path, unsigned flags);
/*
 * Before an image is written to whose footer at the end is damaged: write it, and the copy, from the copy.
 * returns   0, also when nothing was to be done; the errors of opening and writing it.
 */
int vhd_classic_image_mend(struct vhd_classic *c, const char *path, struct xk_err *err);
/* Harmless on a zeroed struct. */
void vhd_classic_image_close(struct vhd_classic_image *i);

/* Exactly `bytes` bytes at a multiple of 512. returns 0; -EINVAL: not a multiple; -EIO, -EPIPE as above. */
int vhd_classic_image_read(const struct vhd_classic_image *i, void *buf, size_t bytes, uint64_t offset);
/* Keep what was read even when it is invalid (-EINVAL). */
int vhd_classic_image_read_footer(struct vhd_classic_image *i, bool copy_only);
int vhd_classic_image_read_footer_at(struct vhd_classic_image *i, uint64_t offset);
int vhd_classic_image_read_header(struct vhd_classic_image *i);
int vhd_classic_footer_validate(const struct vhd_footer *f);
int vhd_classic_header_validate(const struct vhd_header *h);
int vhd_classic_image_read_bat(struct vhd_classic_image *i);
/* Header only, not validated. */
int vhd_classic_image_read_batmap_header(struct vhd_classic_image *i);
/* Header and map, both validated. */
int vhd_classic_image_read_batmap(struct vhd_classic_image *i);
/* Block b's bitmap; ret takes vhd_classic_bitmap_bytes(). -ERANGE, -EINVAL: not allocated. */
int vhd_classic_image_read_bitmap(const struct vhd_classic_image *i, uint32_t block, uint8_t *ret);
/* Marker and key hash: in the batmap, or in extended attributes of a file without one. */
int vhd_classic_image_marker(struct vhd_classic_image *i, uint8_t *ret);
int vhd_classic_image_keyhash(struct vhd_classic_image *i, struct vhd_batmap *ret);
int vhd_classic_image_hidden(struct vhd_classic_image *i, uint8_t *ret);

bool vhd_classic_is_sparse(const struct vhd_classic_image *i);
bool vhd_classic_by_tapdisk(const struct vhd_footer *f);
bool vhd_classic_has_batmap(struct vhd_classic_image *i);
static inline bool vhd_classic_raw_parent(const struct vhd_classic_image *i)
{
    return vhd_uuid_is_null(i->header.parent_uuid);
}
static inline uint32_t vhd_classic_block_sectors(const struct vhd_classic_image *i)
{
    return i->header.block_bytes / VHD_SECTOR;
}
static inline uint32_t vhd_classic_bitmap_bytes(const struct vhd_classic_image *i)
{
    return XK_ROUND_UP(XK_DIV_UP(vhd_classic_block_sectors(i), 8), VHD_SECTOR);
}
/* Blocks of the disk, the last one perhaps cut. */
uint64_t vhd_classic_blocks(const struct vhd_classic_image *i);
/* Bytes of the map that count for its checksum: the original rounds the blocks down, then up to whole sectors. */
uint64_t vhd_classic_map_bytes(const struct vhd_classic_image *i);
uint64_t vhd_classic_batmap_header_offset(const struct vhd_classic_image *i);
static inline bool vhd_classic_batmap_test(const struct vhd_classic_image *i, uint64_t block)
{
    return i->map && block / 8 < i->map_bytes && vhd_bit(i->map, block);
}
/* Bytes before the first block could begin; after the last one ends. */
int vhd_classic_end_of_headers(struct vhd_classic_image *i, uint64_t *ret);
int vhd_classic_end_of_data(struct vhd_classic_image *i, uint64_t *ret);
/* The checksum that these bytes should carry at `field`. */
uint32_t vhd_classic_checksum(const uint8_t *bytes, size_t count, size_t field);
#define VHD_CLASSIC_FOOTER_SUM_AT 64
#define VHD_CLASSIC_HEADER_SUM_AT 36

/* ---- parents ---- */

/* The parent's name in the header, without drive letter and backslashes; the caller frees it. -EINVAL. */
int vhd_classic_parent_name(const struct vhd_classic_image *i, char **ret);
/* The text of a locator; the caller frees it. -EINVAL: unreadable code or text. */
int vhd_classic_locator_text(const struct vhd_classic_image *i, const struct vhd_locator *l, char **ret);
/* Bytes that a locator reserves; 0: nonsense. */
uint64_t vhd_classic_locator_bytes(const struct vhd_locator *l);
bool vhd_classic_locator_code_known(uint32_t code);
/* Where `text` leads to from this image: absolute, or relative to its real folder. The caller frees it. */
int vhd_classic_find_parent(const struct vhd_classic_image *i, const char *text, char **ret);
/* The first locator that leads to a readable file; without `resolve` the first text. The caller frees it. */
int vhd_classic_parent(const struct vhd_classic_image *i, bool resolve, char **ret);
/* Images in the chain, a raw parent included. -ELOOP. */
int vhd_classic_depth(struct vhd_classic_image *i, unsigned *ret);

#endif
