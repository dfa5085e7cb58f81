/*
 * The content of a virtual disk, whatever file format holds it: raw, VHD with its parents, VHDX, qcow2 with its backing
 * files.
 *
 *     struct volume *v = NULL;
 *     int code = volume_open(&v, fs, "disk.qcow2", NULL, err);
 *     if (code == 0)
 *         code = volume_read(v, buf, sizeof(buf), 0, err);
 *     volume_close(v);
 *
 * A volume does not change after it was opened, and nothing here writes. volume_map() and volume_read() may be called
 * by several threads at once.
 */
#ifndef VOLUME_H
#define VOLUME_H

#include "core/fs.h"

#define VOLUME_DEPTH_MAX   256        /* images behind one another */
#define VOLUME_STACK_BYTES (2u << 20) /* what a thread that maps or reads may need for such a chain */

enum volume_format {
    VOLUME_AUTO, /* by the file's own marks; raw when it has none */
    VOLUME_RAW,
    VOLUME_VHD,
    VOLUME_VHDX,
    VOLUME_QCOW2,
};
/* "auto", "raw", "vhd", "vhdx", "qcow2", in the order of enum volume_format; NULL-ended, for options. */
extern const char *const volume_format_names[];

enum volume_kind {
    VOLUME_DATA, /* stored bytes, whatever they are */
    VOLUME_ZERO, /* zeros, and an image says so: they hide what its parents have */
    VOLUME_HOLE, /* zeros, since nothing is stored */
};

#define VOLUME_NO_LAYER (-1) /* no image of the chain has it */

/* A run of the disk that is of one kind and comes from one place. */
struct volume_extent {
    uint64_t start, bytes; /* on the disk */
    enum volume_kind kind;
    int layer; /* 0: the image that was opened, 1: its parent …; VOLUME_NO_LAYER */
    /*
     * DATA: where the bytes lie as they are. NULL: not plain in one file (compressed, or waiting in a log), so only
     * volume_read() has them.
     */
    const struct xk_file *file;
    uint64_t file_offset;
};

/* returns 0 to go on; anything else ends the walk, which returns it. */
typedef int volume_visit(void *context, const struct volume_extent *extent);

struct volume {
    const struct volume_ops *ops; /* volume-inner.h */
    enum volume_format format;    /* never VOLUME_AUTO */
    uint64_t size_bytes;          /* of the disk; any number of bytes for raw, else a multiple of 512 */
    uint32_t block_bytes;         /* the unit of allocation; reading whole ones is cheapest */
    size_t layers;                /* 1: no parents */
};

struct volume_options {
    enum volume_format format;
    const char *chain_root; /* NULL, or a folder that no parent may lie outside of */
    size_t depth_max;       /* 0: VOLUME_DEPTH_MAX; at most that */
    bool use_copy;          /* VHD: take the footer copy when the footer itself is damaged */
    bool any_size;          /* lift the limits on the memory for tables */
};

/*
 * Open the image and everything it stands on. A regular file or a block device; anything else is refused, it is not
 * waited for.
 *
 * options   NULL: defaults.
 * returns   0; -ENOENT and other open errors; -EBADMSG: damaged, or not of the format that was asked for, or, when none
 *           was asked for, of none that its name says; -EFBIG:
 * tables larger than the limit; -ENOTSUP: a FIFO or the like, encryption, a feature that is named in the sentence;
 *           -ELOOP: a loop of parents, or too many; -ESTALE: the parent is not the one the child names; -EXDEV: a
 * parent lies outside chain_root.
 */
int volume_open(struct volume **ret, const struct xk_fs *fs, const char *path, const struct volume_options *options,
                struct xk_err *err);
/* Accepts NULL. */
void volume_close(struct volume *v);

/* The file of a layer, as it was opened; borrowed. NULL: there is no such layer. */
const char *volume_layer_path(const struct volume *v, int layer);
/*
 * Do all files of the chain still have their names? For who says at the end what was read, or stands something on it.
 * returns   as xk_file_check_name().
 */
int volume_check_names(const struct volume *v, struct xk_err *err);

/*
 * Walk the bytes [start, start + bytes) of the disk as extents in ascending order, without gaps. Neighbours that are of
 * one kind and follow each other in one place are usually one extent.
 *
 * returns   0; visit's value; -EINVAL: the range passes the disk's end; -EBADMSG, -EIO and so on from reading tables.
 */
int volume_map(const struct volume *v, uint64_t start, uint64_t bytes, volume_visit *visit, void *context,
               struct xk_err *err);

/* Read bytes of the disk, any range. returns 0 or volume_map()'s errors. */
int volume_read(const struct volume *v, void *buf, size_t bytes, uint64_t start, struct xk_err *err);

/* What a file is by its marks, VOLUME_RAW without one; also when it cannot be read. Cheap. */
enum volume_format volume_probe(const struct xk_fs *fs, const char *path);

#endif
