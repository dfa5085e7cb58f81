/*
 * qcow2 images, versions 2 and 3: reading one file, and writing a plain version 3.
 *
 *     struct qcow2 image;
 *     if (qcow2_open(&image, fs, "disk.qcow2", err) < 0)
 *         return …;
 *     code = qcow2_map(&image, 0, image.size_bytes, visit, context, err);
 *     qcow2_close(&image);
 *
 * Snapshots inside the file are left alone: the content is the active one. Backing files are not opened here; what the
 * image does not have itself is given as QCOW2_ABSENT. The description does not change after opening; several threads
 * may map and read at once.
 *
 * source    “Qcow2 Image File Format” in QEMU's documentation (interop/qcow2), versions 2 and 3.
 */
#ifndef QCOW2_H
#define QCOW2_H

#include "core/fs.h"

#define QCOW2_CLUSTER_BITS_MIN 9
#define QCOW2_CLUSTER_BITS_MAX 21 /* 2 MiB */
#define QCOW2_BACKING_NAME_MAX 1023
#define QCOW2_L1_BYTES_MAX     (32u << 20) /* as QEMU takes */
#define QCOW2_SIZE_MAX         (UINT64_C(1) << 61)

enum qcow2_compression {
    QCOW2_ZLIB = 0,
    QCOW2_ZSTD = 1,
};

struct qcow2 {
    struct xk_file file;
    char *path;
    uint64_t file_bytes;
    uint64_t size_bytes; /* of the disk; a multiple of 512 in all that is known, but not by the format */
    uint32_t version, cluster_bits;
    enum qcow2_compression compression;
    bool dirty;    /* reference counts may be out of date; that does not matter for reading */
    bool extended; /* L2 entries with subclusters */
    uint64_t l1_offset;
    uint32_t l1_entries;  /* those that the disk needs */
    char *backing_name;   /* as stored; NULL: none */
    char *backing_format; /* "raw", "qcow2", …; NULL: not said */
};

/*
 * path      borrowed until qcow2_close().
 * returns   0; open errors; -EBADMSG: not a qcow2, or damaged; -ENOTSUP: encryption, an external data file, an unknown
 *           version, compression or incompatible feature, named in the sentence.
 */
int qcow2_open(struct qcow2 *ret, const struct xk_fs *fs, const char *path, struct xk_err *err);
/* Harmless on a zeroed struct. */
void qcow2_close(struct qcow2 *q);

static inline uint32_t qcow2_cluster_bytes(const struct qcow2 *q)
{
    return UINT32_C(1) << q->cluster_bits;
}

enum qcow2_kind {
    QCOW2_DATA,       /* stored in this file as it is */
    QCOW2_COMPRESSED, /* stored in this file; never more than one cluster at once */
    QCOW2_ZERO,       /* zeros, hiding the backing file */
    QCOW2_ABSENT,     /* the backing file's, or zeros without one */
};

struct qcow2_extent {
    uint64_t start, bytes; /* on the disk */
    enum qcow2_kind kind;
    uint64_t file_offset; /* DATA */
    uint64_t entry;       /* COMPRESSED: for qcow2_read_compressed() */
};

/*
 * Walk a range of the disk; extents in ascending order, not joined, inside one cluster each (holes may be longer).
 * visit     returns 0 to go on; anything else ends the walk and is returned.
 * returns   0; visit's value; -EBADMSG: a table points outside the file; I/O errors.
 */
int qcow2_map(const struct qcow2 *q, uint64_t start, uint64_t bytes,
              int (*visit)(void *context, const struct qcow2_extent *extent), void *context, struct xk_err *err);

/*
 * A whole compressed cluster.
 * ret       qcow2_cluster_bytes().
 * returns   0; -EBADMSG: does not expand to a cluster; -ENOMEM; I/O errors.
 */
int qcow2_read_compressed(const struct qcow2 *q, uint8_t *ret, uint64_t entry, struct xk_err *err);

/* ---- writing ---- */

#define QCOW2_WRITE_CLUSTER (UINT64_C(1) << 16)
#define QCOW2_WRITE_MAX     (UINT64_C(1) << 51) /* 2 PiB: the L1 table that QEMU takes at most, 32 MiB */

/*
 * A new image, written front to back. Clusters are given places in ascending order; the caller writes the data itself
 * (in any order), then ends with qcow2_writer_finish(), which writes tables, reference counts and the header last.
 * Until then the file is no qcow2. Not for several threads at once.
 */
struct qcow2_writer {
    const struct xk_file *file; /* empty, borrowed */
    uint64_t end;               /* bytes of the file given away so far */
    uint64_t *l1;
    uint64_t l1_entries, l1_room;
    uint64_t l2_index; /* which L2 table is in memory; UINT64_MAX: none */
    uint8_t *l2;       /* big-endian, one cluster */
};

int qcow2_writer_begin(struct qcow2_writer *ret, const struct xk_file *file, struct xk_err *err);
/*
 * Places for clusters [first, first + count) of the disk, next to each other in the file.
 * returns   0; -EFBIG: past QCOW2_WRITE_MAX; -ENOMEM; I/O errors.
 */
int qcow2_writer_place(struct qcow2_writer *w, uint64_t first, uint64_t count, uint64_t *ret_offset,
                       struct xk_err *err);
/* size_bytes of the disk: a multiple of 512, behind all placed clusters. */
int qcow2_writer_finish(struct qcow2_writer *w, uint64_t size_bytes, struct xk_err *err);
void qcow2_writer_done(struct qcow2_writer *w);

#endif
