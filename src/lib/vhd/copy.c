/*
 * The copy grows under a temporary name: an empty image of the same kind is laid out there, then the source's extents
 * go through the writer. Weighed: copying the file and changing its UUID, which is faster, but keeps a fragmented
 * order, misaligned blocks and tables that are too small.
 */
#include "lib/vhd/copy.h"

#include "core/bytes.h"
#include "lib/vhd/chain.h"
#include "lib/vhd/create.h"
#include "lib/vhd/key.h"
#include "lib/vhd/write.h"

#include <string.h>
#include <sys/stat.h>

#define COPY_BYTES   (1u << 20)
#define COPY_SECTORS (COPY_BYTES / VHD_SECTOR)
#define ZERO_SECTORS 128 /* zeros are looked for in stretches of 64 KiB */

struct copy {
    const struct vhd_copy *how;
    struct vhd_chain chain;    /* the source; with its parents only where their data are wanted */
    struct vhd image;          /* the copy */
    struct vhd_writer writer;  /* into it, unless it is fixed */
    struct vhd_cipher *cipher; /* NULL: plain */
    struct vhd_copied result;
    struct vhd_snapshot_made made; /* of a child: what the copy stands on */
    uint8_t *buf;
    struct xk_err *err;
};

/* Sectors that are marked as present, but are a hole of the new file. */
static int place_zeros(struct copy *c, uint64_t sector, uint64_t count)
{
    const uint32_t per_block = vhd_sectors_per_block(&c->image);
    int code = 0;

    for (uint64_t part; code == 0 && count > 0; sector += part, count -= part) {
        uint64_t offset;
        part = XK_MIN(count, per_block - sector % per_block);
        code = vhd_writer_allocate(&c->writer, (uint32_t)(sector / per_block), c->err);
        if (code == 0)
            code = vhd_writer_place(&c->writer, sector, part, &offset, c->err);
    }
    return code;
}

static int write_run(struct copy *c, const uint8_t *data, uint64_t sector, uint64_t count, bool zeros)
{
    if (vhd_is_sparse(&c->image))
        return zeros ? place_zeros(c, sector, count) : vhd_writer_write(&c->writer, data, sector, count, c->err);
    return zeros ? 0 : xk_file_write(&c->image.file, data, (size_t)count * VHD_SECTOR, sector * VHD_SECTOR, c->err);
}

/* Runs of zeros and of anything else, in turn. */
static int write_part(struct copy *c, uint64_t sector, uint64_t count)
{
    int code = 0;

    if (c->cipher)
        code = vhd_cipher_encrypt(c->cipher, c->buf, sector, count, c->err);
    for (uint64_t at = 0, end; code == 0 && at < count; at = end) {
        const uint8_t *const data = c->buf + at * VHD_SECTOR;
        end = XK_MIN(at + ZERO_SECTORS, count);
        const bool zeros = xk_is_zero(data, (size_t)(end - at) * VHD_SECTOR);
        while (end < count) {
            const uint64_t next = XK_MIN(end + ZERO_SECTORS, count);
            if (xk_is_zero(c->buf + end * VHD_SECTOR, (size_t)(next - end) * VHD_SECTOR) != zeros)
                break;
            end = next;
        }
        code = write_run(c, data, sector + at, end - at, zeros);
    }
    return code;
}

static int copy_run(struct copy *c, uint64_t sector, uint64_t count)
{
    int code = 0;

    c->result.data_bytes += count * VHD_SECTOR;
    if (c->how->dry_run)
        return 0;
    for (const uint64_t end = sector + count; code == 0 && sector < end;) {
        const uint64_t part = XK_MIN(end - sector, (uint64_t)COPY_SECTORS);
        code = vhd_chain_read(&c->chain, c->buf, sector, part, c->err);
        if (code == 0)
            code = write_part(c, sector, part);
        sector += part;
    }
    return code;
}

static int copy_extent(void *context, const struct vhd_extent *e)
{
    return e->layer == 0 ? copy_run(context, e->start, e->sectors) : 0;
}

/* What the image has of one stretch of the disk, or all of the block when whole ones are wanted. */
static int copy_stretch(struct copy *c, uint64_t start, uint64_t count)
{
    const struct vhd *source = &c->chain.layers[0];

    if (!c->how->whole_blocks)
        return vhd_chain_map(&c->chain, start, count, copy_extent, c, c->err);
    return source->bat[start / vhd_sectors_per_block(source)] == VHD_BAT_FREE ? 0 : copy_run(c, start, count);
}

static int copy_content(struct copy *c)
{
    const struct vhd *source = &c->chain.layers[0];
    const uint64_t total = vhd_sectors(source);
    const uint64_t step = vhd_is_sparse(source) ? vhd_sectors_per_block(source) : COPY_SECTORS;
    int code = 0;

    for (uint64_t at = 0; code == 0 && at < total; at += step) {
        if (xk_stop_signal())
            return xk_fail(c->err, -EINTR, "%s: stopped, nothing was made", c->how->to);
        code = copy_stretch(c, at, XK_MIN(step, total - at));
        if (c->how->progress)
            c->how->progress(c->how->context, XK_MIN(at + step, total), total);
    }
    return code;
}

/* ---- the new image ---- */

/* The key's hash, and for a child the time stamp that its parent had when it was made. */
static int copy_marks(struct copy *c)
{
    const struct vhd *source = &c->chain.layers[0];
    struct vhd_keyhash hash = {0};

    if (!vhd_is_sparse(source))
        return 0;
    int code = vhd_keyhash_read(&hash, source, c->err);
    if (code == 0 && hash.set && c->how->key)
        return xk_fail(c->err, -EINVAL, "%s: the disk is encrypted already", source->path);
    if (code == 0 && c->how->key)
        code = vhd_keyhash_compute(&hash, c->how->key, c->how->key_bytes, c->err);
    if (code == 0 && hash.set)
        code = vhd_keyhash_write(&c->image, &hash, c->err);
    if (code == 0 && source->footer.type == VHD_DIFFERENCING) {
        uint8_t header[VHD_HEADER_BYTES];
        c->image.header.parent_timestamp = source->header.parent_timestamp;
        vhd_header_encode(header, &c->image.header);
        code = xk_file_write(&c->image.file, header, sizeof(header), c->image.footer.data_offset, c->err);
    }
    return code;
}

static int lay_out(struct copy *c, const struct xk_fs *fs, const struct xk_file *into)
{
    const struct vhd_copy *const how = c->how;
    const struct vhd *source = &c->chain.layers[0];

    if (source->footer.type != VHD_DIFFERENCING) {
        const struct vhd_create create = {
            .path = how->to,
            .bytes = source->footer.current_bytes,
            .type = source->footer.type,
            .reserve_bytes = vhd_is_sparse(source) ? how->reserve_bytes : 0,
            .exact = true,
            .overwrite = how->overwrite,
            .dry_run = how->dry_run,
            .unix_seconds = how->unix_seconds,
            .random = how->random,
            .into = into,
        };
        return vhd_create(fs, &create, c->err);
    }
    xk_autofree char *parent = NULL;
    int code = vhd_find_parent(&parent, source, &how->search, c->err);
    if (code < 0)
        return code;
    const struct vhd_snapshot snapshot = {
        .path = how->to,
        .parent = parent,
        .parent_raw = vhd_uuid_is_null(source->header.parent_uuid),
        .keep_empty = true,
        .bytes = source->footer.current_bytes,
        .reserve_bytes = how->reserve_bytes,
        .overwrite = how->overwrite,
        .dry_run = how->dry_run,
        .unix_seconds = how->unix_seconds,
        .random = how->random,
        .search = how->search,
        .into = into,
    };
    return vhd_snapshot(fs, &snapshot, &c->made, c->err);
}

/* What was read, and what the copy of a child stands on, is what these names still lead to. */
static int check_names(const struct copy *c, const struct xk_fs *fs)
{
    const int code = vhd_chain_check_names(&c->chain, SIZE_MAX, c->err);

    return code == 0 && c->made.parent
               ? xk_path_check_identity(fs, c->made.parent, c->made.parent_dev, c->made.parent_ino, c->err)
               : code;
}

static int fill_image(struct copy *c, const struct xk_fs *fs, const char *path)
{
    int code = vhd_open(&c->image, fs, path, VHD_WRITE | (c->how->open_flags & VHD_ANY_SIZE), c->err);
    if (code == 0)
        code = copy_marks(c);
    if (code == 0 && vhd_is_sparse(&c->image))
        code = vhd_writer_begin(&c->writer, &c->image, c->err);
    if (code == 0)
        code = copy_content(c);
    if (code == 0 && vhd_is_sparse(&c->image))
        code = vhd_writer_commit(&c->writer, c->err);
    return code;
}

static int write_copy(struct copy *c, const struct xk_fs *fs)
{
    struct xk_newfile n;

    int code = xk_newfile_begin(&n, fs, c->how->to, 0644, !c->how->overwrite, c->err);
    if (code < 0)
        return code;
    n.only_old = true;
    code = lay_out(c, fs, &n.file);
    if (code == 0)
        code = fill_image(c, fs, n.temp);
    if (code == 0)
        code = check_names(c, fs);
    if (code == 0)
        code = xk_newfile_commit(&n, c->err);
    xk_newfile_abort(&n);
    memcpy(c->result.uuid, c->image.footer.uuid, sizeof(c->result.uuid));
    vhd_writer_done(&c->writer);
    vhd_close(&c->image);
    return code;
}

/* ---- what is asked for ---- */

static int check_target(const struct copy *c)
{
    const struct vhd *source = &c->chain.layers[0];
    struct stat st;

    if (stat(c->how->to, &st) < 0)
        return 0;
    if (st.st_dev == source->dev && st.st_ino == source->ino)
        return xk_fail(c->err, -EINVAL, "%s: is the image itself", c->how->to);
    if (!c->how->overwrite)
        return xk_fail(c->err, -EEXIST, "%s: is there already", c->how->to);
    return S_ISREG(st.st_mode) ? 0 : xk_fail(c->err, -ENOTSUP, "%s: is not a regular file", c->how->to);
}

static int open_source(struct copy *c, const struct xk_fs *fs)
{
    const struct vhd_copy *const how = c->how;

    /* Its own layer is enough: a copied child has the same parent. */
    c->chain.layers = xk_zalloc(sizeof(*c->chain.layers));
    if (!c->chain.layers)
        return xk_fail_memory(c->err);
    int code = vhd_open(c->chain.layers, fs, how->from, how->open_flags & ~(unsigned)VHD_WRITE, c->err);
    if (code < 0)
        return code;
    c->chain.count = 1;
    if ((how->whole_blocks || how->key) && c->chain.layers[0].footer.type != VHD_DYNAMIC)
        code = xk_fail(c->err, -EINVAL, "%s: only a dynamic image can be copied %s, this one is %s", how->from,
                       how->key ? "with a key" : "block by block", vhd_type_name(c->chain.layers[0].footer.type));
    if (code == 0 && how->key)
        code = vhd_cipher_open(&c->cipher, how->key, how->key_bytes, c->err);
    return code;
}

int vhd_copy(struct vhd_copied *ret, const struct xk_fs *fs, const struct vhd_copy *how, struct xk_err *err)
{
    struct copy c = {.how = how, .chain.raw.fd = -1, .image.file.fd = -1, .err = err};

    xk_autofree uint8_t *buf = xk_alloc(COPY_BYTES);
    if (!buf)
        return xk_fail_memory(err);
    c.buf = buf;
    int code = open_source(&c, fs);
    if (code == 0)
        code = check_target(&c);
    if (code == 0)
        code = how->dry_run ? lay_out(&c, fs, NULL) : write_copy(&c, fs);
    if (code == 0 && how->dry_run)
        code = copy_content(&c);
    if (code == 0) {
        c.result.disk_bytes = c.chain.layers[0].footer.current_bytes;
        *ret = c.result;
    }
    free(c.made.parent);
    vhd_cipher_close(c.cipher);
    vhd_chain_close(&c.chain);
    return code;
}
