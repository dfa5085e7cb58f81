/*
 * Only the header is kept. L1 and L2 tables stay in the file and are read in pieces when a range is mapped (map.c):
 * a chain of images with hostile tables of 32 MiB each then costs no memory.
 */
#include "lib/qcow2/qcow2.h"

#include "core/bytes.h"
#include "core/text.h"

#include <string.h>

#define MARK                0x514649fbu /* "QFI" 0xfb */
#define FRONT_BYTES_MAX     (64u << 10) /* header, extensions and names that are looked at */
#define HEADER_2_BYTES      72u
#define HEADER_3_BYTES      104u

#define EXT_END             0u
#define EXT_BACKING_FORMAT  0xe2792acau
#define EXT_FEATURE_NAMES   0x6803f857u

#define FEATURE_DIRTY       0
#define FEATURE_CORRUPT     1
#define FEATURE_DATA_FILE   2
#define FEATURE_COMPRESSION 3
#define FEATURE_EXTENDED_L2 4
#define FEATURES_READ                                                                                                  \
    ((1u << FEATURE_DIRTY) | (1u << FEATURE_CORRUPT) | (1u << FEATURE_COMPRESSION) | (1u << FEATURE_EXTENDED_L2))

/* The names that an image gives its own features. */
#define FEATURE_NAME_BYTES 48u

struct front {
    const struct qcow2 *image;
    const uint8_t *bytes;
    size_t count;
    uint64_t backing_offset;
    uint32_t backing_bytes;
    uint64_t features;
    uint32_t header_bytes;
    const uint8_t *names; /* the feature name table's rows */
    size_t names_bytes;
};

static int take_name(char **ret, const struct front *f, uint64_t offset, uint32_t bytes, const char *what,
                     struct xk_err *err)
{
    if (bytes > QCOW2_BACKING_NAME_MAX || offset > f->count || f->count - offset < bytes)
        return xk_fail(err, -EBADMSG, "%s: %s (%u bytes at %llu) does not lie in the header's cluster", f->image->path,
                       what, bytes, (unsigned long long)offset);
    if (memchr(f->bytes + offset, '\0', bytes))
        return xk_fail(err, -EBADMSG, "%s: %s has a NUL in it", f->image->path, what);
    free(*ret);
    *ret = xk_strndup((const char *)f->bytes + offset, bytes);
    return *ret ? 0 : xk_fail_memory(err);
}

static int read_extensions(struct front *f, struct qcow2 *q, struct xk_err *err)
{
    struct xk_reader r = xk_reader(f->bytes, f->count);

    xk_seek(&r, f->header_bytes);
    while (!f->backing_offset || r.at < f->backing_offset) {
        const uint32_t type = xk_be32(&r);
        const uint32_t bytes = xk_be32(&r);
        if (r.bad || type == EXT_END)
            return 0;
        const size_t at = r.at;
        if (bytes > xk_left(&r))
            return xk_fail(err, -EBADMSG, "%s: header extension %08x with %u bytes leaves the header's cluster",
                           q->path, type, bytes);
        if (type == EXT_BACKING_FORMAT) {
            const int code = take_name(&q->backing_format, f, at, bytes, "the backing file's format", err);
            if (code < 0)
                return code;
        } else if (type == EXT_FEATURE_NAMES) {
            f->names = f->bytes + at;
            f->names_bytes = bytes;
        }
        xk_skip(&r, XK_ROUND_UP((size_t)bytes, (size_t)8));
    }
    return 0;
}

/* What the image itself calls incompatible feature `bit`; "" when it does not say. */
static void feature_name(char ret[FEATURE_NAME_BYTES], const struct front *f, unsigned bit)
{
    ret[0] = '\0';
    for (size_t at = 0; at + FEATURE_NAME_BYTES <= f->names_bytes; at += FEATURE_NAME_BYTES) {
        const uint8_t *const row = f->names + at;
        if (row[0] == 0 && row[1] == bit) {
            memcpy(ret, row + 2, FEATURE_NAME_BYTES - 2);
            ret[FEATURE_NAME_BYTES - 2] = '\0';
            return;
        }
    }
}

static int check_features(const struct front *f, struct xk_err *err)
{
    char name[FEATURE_NAME_BYTES];

    if (f->features >> FEATURE_DATA_FILE & 1)
        return xk_fail(err, -ENOTSUP, "%s: its data lies in an external data file, which is not followed",
                       f->image->path);
    const uint64_t unknown = f->features & ~(uint64_t)FEATURES_READ;
    if (!unknown)
        return 0;
    const unsigned bit = (unsigned)__builtin_ctzll(unknown);
    feature_name(name, f, bit);
    return xk_fail(err, -ENOTSUP, "%s: needs the unknown feature %s%s%s(incompatible bit %u)", f->image->path,
                   name[0] ? "'" : "", name, name[0] ? "' " : "", bit);
}

static int check_geometry(struct qcow2 *q, uint32_t l1_size, uint32_t refcount_order, struct xk_err *err)
{
    const uint32_t l2_bits = q->cluster_bits - (q->extended ? 4 : 3);
    const uint64_t reach = UINT64_C(1) << (q->cluster_bits + l2_bits); /* of one L1 entry */

    if (q->size_bytes > QCOW2_SIZE_MAX)
        return xk_fail(err, -EFBIG, "%s: a disk of %llu bytes", q->path, (unsigned long long)q->size_bytes);
    const uint64_t needed = XK_DIV_UP(q->size_bytes, reach);
    if (needed > l1_size)
        return xk_fail(err, -EBADMSG, "%s: the disk needs an L1 table of %llu entries, it has %u", q->path,
                       (unsigned long long)needed, l1_size);
    if (needed * 8 > QCOW2_L1_BYTES_MAX)
        return xk_fail(err, -EFBIG, "%s: the L1 table has %llu entries, more than the limit of %u", q->path,
                       (unsigned long long)needed, QCOW2_L1_BYTES_MAX / 8);
    if (needed && (q->l1_offset % qcow2_cluster_bytes(q) || q->l1_offset == 0 || q->l1_offset > q->file_bytes ||
                   q->file_bytes - q->l1_offset < needed * 8))
        return xk_fail(err, -EBADMSG, "%s: the L1 table at byte %llu with %llu entries does not fit into the file",
                       q->path, (unsigned long long)q->l1_offset, (unsigned long long)needed);
    q->l1_entries = (uint32_t)needed;
    if (refcount_order > 6)
        return xk_fail(err, -EBADMSG, "%s: reference counts of 2^%u bits", q->path, refcount_order);
    return 0;
}

static int decode_header(struct qcow2 *q, struct front *f, struct xk_err *err)
{
    struct xk_reader r = xk_reader(f->bytes, f->count);

    const uint32_t mark = xk_be32(&r);
    q->version = xk_be32(&r);
    f->backing_offset = xk_be64(&r);
    f->backing_bytes = xk_be32(&r);
    q->cluster_bits = xk_be32(&r);
    q->size_bytes = xk_be64(&r);
    const uint32_t encryption = xk_be32(&r);
    const uint32_t l1_size = xk_be32(&r);
    q->l1_offset = xk_be64(&r);
    xk_seek(&r, HEADER_2_BYTES);
    if (r.bad || mark != MARK)
        return xk_fail(err, -EBADMSG, "%s: not a qcow2: it does not begin with its mark", q->path);
    if (q->version != 2 && q->version != 3)
        return xk_fail(err, -ENOTSUP, "%s: qcow version %u; 2 and 3 can be read", q->path, q->version);
    if (q->cluster_bits < QCOW2_CLUSTER_BITS_MIN || q->cluster_bits > QCOW2_CLUSTER_BITS_MAX)
        return xk_fail(err, -EBADMSG, "%s: clusters of 2^%u bytes", q->path, q->cluster_bits);

    uint32_t refcount_order = 4;
    uint8_t compression = QCOW2_ZLIB;
    f->header_bytes = HEADER_2_BYTES;
    if (q->version == 3) {
        f->features = xk_be64(&r);
        xk_skip(&r, 16);
        refcount_order = xk_be32(&r);
        f->header_bytes = xk_be32(&r);
        if (f->header_bytes > HEADER_3_BYTES)
            compression = xk_u8(&r);
        if (r.bad || f->header_bytes < HEADER_3_BYTES || f->header_bytes > f->count)
            return xk_fail(err, -EBADMSG, "%s: a header of %u bytes", q->path, f->header_bytes);
    }
    f->count = XK_MIN(f->count, (size_t)qcow2_cluster_bytes(q));
    int code = read_extensions(f, q, err);
    if (code == 0)
        code = check_features(f, err);
    if (code < 0)
        return code;
    if (encryption)
        return xk_fail(err, -ENOTSUP, "%s: is encrypted (%s), which cannot be read", q->path,
                       encryption == 1   ? "AES"
                       : encryption == 2 ? "LUKS"
                                         : "in an unknown way");
    q->dirty = f->features >> FEATURE_DIRTY & 1;
    q->extended = f->features >> FEATURE_EXTENDED_L2 & 1;
    if (q->extended && q->cluster_bits < 14)
        return xk_fail(err, -EBADMSG, "%s: subclusters in clusters of 2^%u bytes", q->path, q->cluster_bits);
    if (compression != QCOW2_ZLIB && compression != QCOW2_ZSTD)
        return xk_fail(err, -ENOTSUP, "%s: unknown compression %u; zlib and zstd can be read", q->path, compression);
    q->compression = compression;
    if (f->backing_offset) {
        code = take_name(&q->backing_name, f, f->backing_offset, f->backing_bytes, "the backing file's name", err);
        if (code < 0)
            return code;
    }
    return check_geometry(q, l1_size, refcount_order, err);
}

static int open_file(struct qcow2 *q, const struct xk_fs *fs, struct xk_err *err)
{
    struct stat st;

    int code = xk_file_open(&q->file, fs, q->path, O_RDONLY | O_NONBLOCK, 0, err);
    if (code < 0)
        return code;
    code = fs->ops->fstat(fs, q->file.fd, &st);
    if (code < 0)
        return xk_fail_sys(err, code, "cannot look at %s", q->path);
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        return xk_fail(err, -ENOTSUP, "%s is neither a regular file nor a block device", q->path);
    return xk_file_size(&q->file_bytes, &q->file, err);
}

static int read_front(struct qcow2 *q, struct xk_err *err)
{
    struct front f = {.image = q};
    xk_autofree uint8_t *bytes = xk_alloc(FRONT_BYTES_MAX);

    if (!bytes)
        return xk_fail_memory(err);
    const ssize_t got = xk_file_read_some(&q->file, bytes, FRONT_BYTES_MAX, 0, err);
    if (got < 0)
        return (int)got;
    f.bytes = bytes;
    f.count = (size_t)got;
    return decode_header(q, &f, err);
}

int qcow2_open(struct qcow2 *ret, const struct xk_fs *fs, const char *path, struct xk_err *err)
{
    *ret = (struct qcow2){.file.fd = -1};
    ret->path = xk_strdup(path);
    int code = ret->path ? open_file(ret, fs, err) : xk_fail_memory(err);
    if (code == 0)
        code = read_front(ret, err);
    if (code < 0)
        qcow2_close(ret);
    return code;
}

void qcow2_close(struct qcow2 *q)
{
    if (!q)
        return;
    xk_file_close(&q->file);
    free(q->path);
    free(q->backing_name);
    free(q->backing_format);
    *q = (struct qcow2){.file.fd = -1};
}
