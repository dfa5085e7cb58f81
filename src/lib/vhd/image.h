/*
 * One VHD image: opened, read and validated once into a description that does not change afterwards.
 *
 *     struct vhd image;
 *     if (vhd_open(&image, fs, "disk.vhd", VHD_READ, err) < 0)
 *         return …;
 *     … image.footer.current_bytes, image.bat[3] …
 *     vhd_close(&image);
 *
 * Reading the disk's content, through its parents, is chain.h. Looking for damage is audit.h; for that an image can be
 * opened with VHD_LENIENT, which keeps what could be read and says what could not.
 */
#ifndef VHD_IMAGE_H
#define VHD_IMAGE_H

#include "core/fs.h"
#include "lib/vhd/format.h"

enum vhd_open_flags {
    VHD_READ = 0,
    VHD_WRITE = 1 << 0,     /* open the file for writing, too */
    VHD_LENIENT = 1 << 1,   /* go on after damage; every part has its own state */
    VHD_NO_TABLES = 1 << 2, /* footers and header only: no BAT, no batmap (fast) */
    VHD_ANY_SIZE = 1 << 3,  /* lift VHD_METADATA_MAX to VHD_METADATA_MAX_ASKED */
    VHD_DEVICES = 1 << 4,   /* accept block devices */
    VHD_BACKUP_OK = 1 << 5, /* take the footer copy when the footer itself is damaged */
};

#define VHD_METADATA_MAX       (64u * XK_MIB) /* memory for the tables of one image */
#define VHD_METADATA_MAX_ASKED (4u * XK_GIB)
#define VHD_BLOCK_FOLLOWED_MAX (16u * XK_MIB) /* bytes of a block, in an image that is opened leniently */

/* How a part was found. */
enum vhd_state {
    VHD_ABSENT, /* this kind of image has none, or it was not asked for */
    VHD_GOOD,
    VHD_UNREADABLE, /* lies outside the file, or an I/O error: see vhd.trouble */
    VHD_DAMAGED,    /* read, but cookie, checksum or contents are wrong */
};

struct vhd {
    struct xk_file file;
    char *path; /* as given */
    uint64_t file_bytes;
    bool block_device, writable;
    dev_t dev;
    ino_t ino;
    int64_t mtime; /* Unix seconds */

    /* Footers: the one at the end, and for sparse images its copy at the front. `footer` is the one in force. */
    enum vhd_state end_state, copy_state;
    struct vhd_footer footer, end_footer, copy_footer;
    uint64_t end_offset; /* bytes; where the footer at the end begins */
    bool short_footer;   /* 511 bytes at the end */
    bool footer_from_copy;

    enum vhd_state header_state; /* ABSENT for fixed images */
    struct vhd_header header;

    enum vhd_state bat_state;
    uint32_t *bat;   /* host order; sector numbers or VHD_BAT_FREE */
    uint32_t blocks; /* entries in bat: ceil(current_bytes / block_bytes), at most max_entries */
    uint32_t crowd;  /* of them lie in the file, more than it has room for; 0: there is room */

    enum vhd_state batmap_state; /* ABSENT when the creator writes none */
    struct vhd_batmap batmap;
    uint64_t batmap_header_offset; /* 0: none */
    uint8_t *batmap_bits;          /* batmap_bytes of them, bit per block, 1: every sector present */
    size_t batmap_bytes;

    int trouble_code; /* VHD_LENIENT: why the first bad part is bad */
    char trouble[256];
};

/*
 * Open and validate.
 *
 * path      borrowed until vhd_close().
 * returns   0; -ENOENT and other open errors; -EBADMSG: no usable footer, header or table; -EFBIG: tables larger than
 *           the limit; -ENOTSUP: FIFO, device without VHD_DEVICES, block size that is not a power of two.
 *           With VHD_LENIENT only open, stat and memory errors fail, and -EBADMSG when no footer at all is there.
 */
int vhd_open(struct vhd *ret, const struct xk_fs *fs, const char *path, unsigned flags, struct xk_err *err);
/* Harmless on a zeroed struct. */
void vhd_close(struct vhd *v);

/* True for a file that begins or ends like a VHD; cheap (two reads). False also when it cannot be read. */
bool vhd_probe(const struct xk_fs *fs, const char *path);

static inline bool vhd_is_sparse(const struct vhd *v)
{
    return v->footer.type == VHD_DYNAMIC || v->footer.type == VHD_DIFFERENCING;
}
static inline uint32_t vhd_sectors_per_block(const struct vhd *v)
{
    return v->header.block_bytes / VHD_SECTOR;
}
/* Sectors of the bitmap before each block's data, rounded up to whole sectors. */
static inline uint32_t vhd_bitmap_sectors(const struct vhd *v)
{
    return XK_DIV_UP(XK_DIV_UP(vhd_sectors_per_block(v), 8), VHD_SECTOR);
}
static inline uint64_t vhd_sectors(const struct vhd *v)
{
    return v->footer.current_bytes / VHD_SECTOR;
}
/* Does a creator of this name and version write a batmap behind the BAT? */
bool vhd_has_batmap(const struct vhd_footer *f);
/* Bytes of the BAT on disk, padded to a sector. */
uint64_t vhd_bat_bytes(const struct vhd_header *h);
/* Blocks with an entry in the BAT. */
uint32_t vhd_allocated(const struct vhd *v);
/*
 * The first byte behind everything but the footer: where the next block would begin, before page alignment.
 * Entries that lie outside the file are left out.
 */
uint64_t vhd_data_end(const struct vhd *v);
/* Bytes of the batmap that its checksum covers: the sectors that the current size needs, whatever the map's size. */
uint64_t vhd_batmap_summed_bytes(const struct vhd *v);
/* Write the batmap from memory with a new checksum, map first. returns 0 or the I/O error. */
int vhd_write_batmap(struct vhd *v, struct xk_err *err);
/*
 * Whether the file system has a hole where these bytes of the file lie, so that they are zeros without being read.
 * Asked in ascending order, one question to the system answers for all that lie in the same hole. Begin with a zeroed
 * one for each file.
 */
struct vhd_hole {
    uint64_t from, to;
};
bool vhd_in_hole(struct vhd_hole *h, const struct xk_file *f, uint64_t file_bytes, uint64_t start, uint64_t bytes);
/*
 * For who reads or writes a block that has a place.
 * returns 0; -EBADMSG: it lies on the footer copy, the header or the table, so what is there is none of the disk's; or
 *         the table has more blocks than the file, of which a small one could claim terabytes.
 */
int vhd_block_check(const struct vhd *v, uint32_t block, struct xk_err *err);
/*
 * For who is going to write: two blocks in one place would destroy each other.
 * returns 0, also when there is no table to look at; -EBADMSG: they share sectors; -ENOMEM.
 */
int vhd_check_overlap(const struct vhd *v, struct xk_err *err);
/* Put `count` sector numbers into ascending order; *items may become other memory. returns 0; -ENOMEM. */
int vhd_sort_sectors(uint32_t **items, size_t count);
/* Read block b's bitmap (vhd_bitmap_sectors() * 512 bytes). returns 0; -EBADMSG when it lies outside the file. */
int vhd_read_bitmap(const struct vhd *v, uint32_t block, uint8_t *ret, struct xk_err *err);

#endif
