/*
 * VHDX images, read only: one file's headers, log, regions, metadata and block allocation table (BAT).
 *
 *     struct vhdx image;
 *     if (vhdx_open(&image, fs, "disk.vhdx", err) < 0)
 *         return …;
 *     code = vhdx_map(&image, 0, image.size_bytes, visit, context, err);
 *     vhdx_close(&image);
 *
 * A log that was not emptied is replayed in memory: the description and the content are those that Hyper-V would see
 * after it had opened the file, and the file stays as it is. Parents are not opened here; what a differencing image
 * does not have itself is given as VHDX_ABSENT, and vhdx.parent says what the file knows of its parent.
 *
 * The description does not change after opening; several threads may map and read at once.
 *
 * source    [MS-VHDX] Virtual Hard Disk v2 (VHDX) File Format, version 1.00 of the format.
 */
#ifndef VHDX_H
#define VHDX_H

#include "core/fs.h"

#define VHDX_SIZE_MAX        (64 * XK_TIB)
#define VHDX_BLOCK_BYTES_MAX (256u << 20)
#define VHDX_LOG_BYTES_MAX   (64u << 20) /* 1 MiB is usual */
#define VHDX_LOG_PATCHES_MAX 65536u      /* changed places that one log may name */
#define VHDX_LOCATOR_PAIRS   16          /* of a parent locator; five are defined */
#define VHDX_LOCATOR_BYTES   (64u << 10)

/* What a differencing image says about its parent. Texts are UTF-8 as stored (backslashes); NULL: not there. */
struct vhdx_parent {
    uint8_t linkage[16], linkage2[16]; /* the parent's data_write_guid; linkage2 is zeros when there is none */
    char *relative_path, *absolute_path, *volume_path;
};

struct vhdx_log; /* the patches that an unfinished log asks for */

struct vhdx {
    struct xk_file file;
    char *path;
    uint64_t file_bytes; /* as large as the log wants it, if that is more than what is there */
    uint64_t size_bytes; /* of the disk */
    uint32_t block_bytes, sector_bytes, physical_sector_bytes;
    bool fixed; /* blocks are to stay allocated */
    bool differencing;
    uint8_t disk_id[16], data_write_guid[16];
    struct vhdx_parent parent;

    uint64_t bat_offset;
    uint32_t blocks, chunk_ratio; /* payload blocks for each sector bitmap block */
    struct vhdx_log *log;         /* NULL: it was empty */
};

/*
 * path      borrowed until vhdx_close().
 * returns   0; open errors; -EBADMSG: not a VHDX, or damaged; -ENOTSUP: a version, region or metadata item that is
 *           required and unknown; -EFBIG: past a limit above.
 */
int vhdx_open(struct vhdx *ret, const struct xk_fs *fs, const char *path, struct xk_err *err);
/* Harmless on a zeroed struct. */
void vhdx_close(struct vhdx *v);

enum vhdx_kind {
    VHDX_DATA,   /* stored in this file */
    VHDX_ZERO,   /* zeros, hiding the parent */
    VHDX_ABSENT, /* the parent's, or zeros without one */
};

struct vhdx_extent {
    uint64_t start, bytes; /* on the disk */
    enum vhdx_kind kind;
    uint64_t file_offset; /* DATA */
    bool plain;           /* DATA: the file has the bytes as they are, no log stands before them */
};

/*
 * Walk a range of the disk; extents in ascending order, not joined.
 * visit     returns 0 to go on; anything else ends the walk and is returned.
 * returns   0; visit's value; -EBADMSG: the table or a bitmap points outside the file; I/O errors.
 */
int vhdx_map(const struct vhdx *v, uint64_t start, uint64_t bytes,
             int (*visit)(void *context, const struct vhdx_extent *extent), void *context, struct xk_err *err);

/* Read bytes of the file as the log leaves them. returns 0; -EBADMSG past the end; I/O errors. */
int vhdx_read_file(const struct vhdx *v, void *buf, size_t bytes, uint64_t offset, struct xk_err *err);

#endif
