/*
 * Block by block, what the chain shows and the image itself lacks goes through the writer, whose commits order data,
 * bitmaps and table. A block that is there already is not written again, only its space is claimed. XenServer's fill
 * writes every block over itself, and its table-only kind gives a new, empty place to blocks that held data.
 */
#include "lib/vhd/fill.h"

#include "core/bytes.h"
#include "core/clock.h"
#include "lib/vhd/chain.h"
#include "lib/vhd/write.h"

#include <fcntl.h>
#include <string.h>

#define COPY_BYTES (1u << 20)

struct fill {
    const struct vhd_fill *how;
    const struct vhd_chain *chain;
    struct vhd *image;
    struct vhd_writer writer;
    struct vhd_filled result;
    bool was_free; /* the block at hand had no place */
    uint8_t *buf;
    struct xk_err *err;
};

/* Sectors that are there already: only their space may be missing. Not every file system can claim it. */
static int claim_space(const struct fill *f, const struct vhd_extent *e)
{
    const struct xk_file *file = &f->image->file;

    if (f->how->tables_only || f->how->dry_run || f->image->block_device)
        return 0;
    const int code = file->fs->ops->allocate(file->fs, file->fd, 0, e->file_offset, e->sectors * VHD_SECTOR);
    return code == 0 || code == -EOPNOTSUPP || code == -ENOSYS
               ? 0
               : xk_fail_sys(f->err, code, "%s: reserving %llu bytes", f->image->path,
                             (unsigned long long)e->sectors * VHD_SECTOR);
}

/* At most COPY_BYTES, of which this image has nothing. */
static int fill_run(struct fill *f, uint64_t sector, uint64_t count)
{
    const size_t bytes = (size_t)count * VHD_SECTOR;
    const bool may_be_marked = f->how->tables_only && f->was_free;
    uint64_t offset;

    /* A dry run reads only what its figure depends on. */
    const int code = f->how->dry_run && !may_be_marked ? 0 : vhd_chain_read(f->chain, f->buf, sector, count, f->err);
    if (code < 0)
        return code;
    /* A raw parent has its holes as data. */
    const bool only_marked = may_be_marked && xk_is_zero(f->buf, bytes);
    f->result.written_bytes += only_marked ? 0 : bytes;
    if (f->how->dry_run)
        return 0;
    if (only_marked)
        return vhd_writer_place(&f->writer, sector, count, &offset, f->err);
    return vhd_writer_write(&f->writer, f->buf, sector, count, f->err);
}

static int fill_extent(void *context, const struct vhd_extent *e)
{
    struct fill *f = context;
    uint64_t offset;

    if (e->layer == 0)
        return claim_space(f, e);
    if (e->layer == VHD_LAYER_ZERO && f->how->tables_only && f->was_free)
        return f->how->dry_run ? 0 : vhd_writer_place(&f->writer, e->start, e->sectors, &offset, f->err);
    int code = 0;
    for (uint64_t at = 0; at < e->sectors && code == 0; at += COPY_BYTES / VHD_SECTOR)
        code = fill_run(f, e->start + at, XK_MIN(e->sectors - at, (uint64_t)(COPY_BYTES / VHD_SECTOR)));
    return code;
}

static int fill_block(struct fill *f, uint32_t block)
{
    const uint32_t per_block = vhd_sectors_per_block(f->image);
    const uint64_t start = (uint64_t)block * per_block;
    int code = 0;

    f->was_free = f->image->bat[block] == VHD_BAT_FREE;
    if (f->was_free) {
        /* Before anything is only marked: what a new place held before must be gone. */
        if (f->how->tables_only && !f->how->dry_run)
            code = vhd_writer_allocate(&f->writer, block, f->err);
        f->result.blocks++;
    }
    if (code < 0)
        return code;
    const uint64_t sectors = XK_MIN((uint64_t)per_block, vhd_sectors(f->image) - start);
    return vhd_chain_map(f->chain, start, sectors, fill_extent, f, f->err);
}

static int fill_all(struct fill *f)
{
    const uint64_t total = vhd_sectors(f->image);
    const uint32_t per_block = vhd_sectors_per_block(f->image);

    if (total == 0)
        return 0;
    if (f->how->first >= total)
        return xk_fail(f->err, -EINVAL, "%s: sector %llu lies past the end of the disk (%llu sectors)", f->image->path,
                       (unsigned long long)f->how->first, (unsigned long long)total);
    const uint64_t last = XK_MIN(f->how->last, total - 1);
    for (uint64_t block = f->how->first / per_block; block <= last / per_block && !f->result.stopped; block++) {
        const int code = fill_block(f, (uint32_t)block);
        if (code < 0)
            return code;
        if (f->how->progress)
            f->how->progress(f->how->context, XK_MIN((block + 1) * per_block, total), total);
        f->result.stopped = block < last / per_block && xk_stop_signal() != 0;
    }
    if (f->how->dry_run)
        return 0;
    const int code = vhd_writer_commit(&f->writer, f->err);
    return code < 0 ? code : xk_file_sync(&f->image->file, f->err);
}

int vhd_fill(struct vhd_filled *ret, const struct xk_fs *fs, const char *path, const struct vhd_fill *how,
             struct xk_err *err)
{
    const struct vhd_chain_options options = {
        .search = how->search, .open_flags = how->dry_run ? how->open_flags : how->open_flags | VHD_WRITE};
    struct vhd_chain chain;
    struct fill f = {.how = how, .chain = &chain, .err = err};

    xk_autofree uint8_t *buf = xk_alloc(COPY_BYTES);
    if (!buf)
        return xk_fail_memory(err);
    f.buf = buf;
    int code = vhd_chain_open(&chain, fs, path, &options, err);
    if (code < 0)
        return code;
    f.image = &chain.layers[0];
    if (!vhd_is_sparse(f.image))
        code = xk_fail(err, -EINVAL, "%s: a fixed image is full by nature", path);
    else if (!how->dry_run)
        code = vhd_writer_begin(&f.writer, f.image, err);
    if (code == 0)
        code = fill_all(&f);
    if (code == 0)
        code = vhd_chain_check_names(&chain, SIZE_MAX, err);
    vhd_writer_done(&f.writer);
    vhd_chain_close(&chain);
    if (code == 0)
        *ret = f.result;
    return code;
}
