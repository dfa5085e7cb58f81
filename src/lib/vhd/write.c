/*
 * Changed bitmaps stay in memory, sorted by block, until the commit writes them; a newly placed block gets its table
 * entry in memory only then, too. Weighed: writing bitmap, table and footer with each request, as XenServer does: three
 * small writes and three syncs for every extent, which is what makes its coalesce slow.
 */
#include "lib/vhd/write.h"

#include <assert.h>
#include <endian.h>
#include <string.h>

/* A block whose bitmap differs from the one in the file. */
struct vhd_touched {
    uint32_t block;
    uint32_t sector;   /* where the block is or will be */
    uint64_t gap_from; /* placed now: bytes from here to the bitmap belong to nobody */
    bool placed_now;   /* not in the table yet */
    bool zeroed;       /* the file is known to read as zeros where nothing was written */
    uint8_t *bitmap;
};

#define FILE_SECTORS_MAX UINT32_MAX /* sector numbers in the table have 32 bits, all ones means free */

int vhd_writer_begin(struct vhd_writer *ret, struct vhd *image, struct xk_err *err)
{
    *ret = (struct vhd_writer){0};
    if (!vhd_is_sparse(image) || !image->writable)
        return xk_fail(err, -EINVAL,
                       "%s: only a sparse image that was opened for writing can be written to block by block",
                       image->path);
    if (image->bat_state != VHD_GOOD || image->end_state != VHD_GOOD)
        return xk_fail(err, -EBADMSG, "%s: damaged images are not written to", image->path);
    const int code = vhd_check_overlap(image, err);
    if (code < 0)
        return code;
    /* Never before the footer: whatever is left there by a cut-off write, the old footer must outlive our data. */
    const uint64_t data_end = vhd_data_end(image);
    *ret = (struct vhd_writer){
        .image = image,
        .end = image->block_device ? data_end : XK_MAX(data_end, image->end_offset),
        .stale_end = image->block_device ? image->end_offset : image->file_bytes,
    };
    return 0;
}

void vhd_writer_done(struct vhd_writer *w)
{
    for (size_t i = 0; i < w->count; i++)
        free(w->touched[i].bitmap);
    free(w->touched);
    *w = (struct vhd_writer){0};
}

static size_t bitmap_bytes(const struct vhd *v)
{
    return (size_t)vhd_bitmap_sectors(v) * VHD_SECTOR;
}

/* The index of the block in the list, or of the first one behind it. */
static size_t position_of(const struct vhd_writer *w, uint32_t block)
{
    size_t low = 0, high = w->count;
    while (low < high) {
        const size_t mid = low + (high - low) / 2;
        if (w->touched[mid].block < block)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* Where the next block goes: its data page aligned, so its bitmap in the last sectors of a page. */
static uint64_t next_place(const struct vhd_writer *w)
{
    const uint64_t bitmap = bitmap_bytes(w->image);
    return XK_ROUND_UP(w->end + bitmap, (uint64_t)VHD_PAGE) - bitmap;
}

/* So that the file ends in a footer at every moment, whatever part of the new blocks has been written. */
static int write_footer_behind(const struct vhd *v, uint64_t end, struct xk_err *err)
{
    uint8_t footer[VHD_FOOTER_BYTES];

    if (v->block_device)
        return 0;
    vhd_footer_encode(footer, &v->footer);
    return xk_file_write(&v->file, footer, sizeof(footer), end, err);
}

static int place_block(struct vhd_writer *w, struct vhd_touched *t, struct xk_err *err)
{
    const struct vhd *v = w->image;
    const uint64_t at = next_place(w);
    const uint64_t end = at + bitmap_bytes(v) + v->header.block_bytes;

    if (end / VHD_SECTOR >= FILE_SECTORS_MAX)
        return xk_fail(err, -EFBIG, "%s: a block at byte %llu cannot be named by 32-bit sector numbers", v->path,
                       (unsigned long long)at);
    if (v->block_device && end > v->end_offset)
        return xk_fail(err, -ENOSPC,
                       "%s: no room for block %u: it would end at byte %llu, the device's footer begins at %llu",
                       v->path, t->block, (unsigned long long)end, (unsigned long long)v->end_offset);
    if (w->reserve) {
        const int reserved = v->file.fs->ops->allocate(v->file.fs, v->file.fd, 0, at, end - at);
        if (reserved < 0 && reserved != -EOPNOTSUPP && reserved != -ENOSYS)
            return xk_fail_sys(err, reserved, "%s: reserving block %u", v->path, t->block);
    }
    const int code = write_footer_behind(v, end, err);
    if (code < 0)
        return code;
    t->sector = (uint32_t)(at / VHD_SECTOR);
    t->gap_from = w->end;
    t->placed_now = true;
    w->end = end;
    w->grown = true;
    return 0;
}

static int take_placed(const struct vhd *v, const struct vhd_touched *t, struct xk_err *err)
{
    const int code = vhd_block_check(v, t->block, err);
    return code < 0 ? code : vhd_read_bitmap(v, t->block, t->bitmap, err);
}

static int touch(struct vhd_writer *w, uint32_t block, struct vhd_touched **ret, struct xk_err *err)
{
    size_t at = position_of(w, block);
    if (at < w->count && w->touched[at].block == block) {
        *ret = &w->touched[at];
        return 0;
    }
    if (w->count == VHD_WRITER_BLOCKS_MAX) {
        const int code = vhd_writer_commit(w, err);
        if (code < 0)
            return code;
        at = 0;
    }
    if (w->count == w->capacity) {
        const size_t capacity = w->capacity ? w->capacity * 2 : 16;
        struct vhd_touched *grown = xk_realloc(w->touched, capacity * sizeof(*grown));
        if (!grown)
            return xk_fail_memory(err);
        w->touched = grown;
        w->capacity = capacity;
    }
    struct vhd *v = w->image;
    struct vhd_touched t = {.block = block, .sector = v->bat[block], .bitmap = xk_zalloc(bitmap_bytes(v))};
    if (!t.bitmap)
        return xk_fail_memory(err);
    const int code = t.sector == VHD_BAT_FREE ? place_block(w, &t, err) : take_placed(v, &t, err);
    if (code < 0) {
        free(t.bitmap);
        return code;
    }
    memmove(&w->touched[at + 1], &w->touched[at], (w->count - at) * sizeof(t));
    w->touched[at] = t;
    w->count++;
    *ret = &w->touched[at];
    return 0;
}

/*
 * A new block may lie where the file holds something already: the old footer, what a cut-off write left, or anything on
 * a device. Readers that ignore bitmaps must find zeros there.
 */
static int clear_stale(struct vhd_writer *w, struct vhd_touched *t, uint64_t write_from, uint64_t write_to,
                       struct xk_err *err)
{
    const struct vhd *v = w->image;
    const uint64_t data = (uint64_t)t->sector * VHD_SECTOR + bitmap_bytes(v);
    const uint64_t end = XK_MIN(data + v->header.block_bytes, w->stale_end);

    if (!t->placed_now || t->zeroed)
        return 0;
    t->zeroed = true;
    int code = 0;
    if (data < XK_MIN(write_from, end))
        code = xk_file_write_zeros(&v->file, data, XK_MIN(write_from, end), err);
    if (code == 0 && write_to < end)
        code = xk_file_write_zeros(&v->file, write_to, end, err);
    return code;
}

int vhd_writer_allocate(struct vhd_writer *w, uint32_t block, struct xk_err *err)
{
    struct vhd_touched *t;

    if (block >= w->image->blocks)
        return xk_fail(err, -EINVAL, "%s: there is no block %u", w->image->path, block);
    const int code = touch(w, block, &t, err);
    return code < 0 ? code : clear_stale(w, t, UINT64_MAX, UINT64_MAX, err);
}

int vhd_writer_place(struct vhd_writer *w, uint64_t sector, uint64_t count_in_block, uint64_t *ret_offset,
                     struct xk_err *err)
{
    const struct vhd *v = w->image;
    const uint32_t per_block = vhd_sectors_per_block(v);
    const uint32_t first = (uint32_t)(sector % per_block);
    struct vhd_touched *t;
    uint64_t end;

    if (xk_add(sector, count_in_block, &end) || end > vhd_sectors(v) || sector / per_block >= v->blocks)
        return xk_fail(err, -EINVAL, "%s: sector %llu lies past the end of the disk", v->path,
                       (unsigned long long)sector);
    int code = touch(w, (uint32_t)(sector / per_block), &t, err);
    if (code < 0)
        return code;
    const uint64_t at = (uint64_t)t->sector * VHD_SECTOR + bitmap_bytes(v) + (uint64_t)first * VHD_SECTOR;
    code = clear_stale(w, t, at, at + count_in_block * VHD_SECTOR, err);
    if (code < 0)
        return code;
    for (uint64_t i = first; i < first + count_in_block; i++)
        vhd_bit_set(t->bitmap, i);
    *ret_offset = at;
    return 0;
}

int vhd_writer_write(struct vhd_writer *w, const void *buf, uint64_t sector, uint64_t count, struct xk_err *err)
{
    const uint32_t per_block = vhd_sectors_per_block(w->image);
    const uint8_t *from = buf;

    while (count > 0) {
        const uint64_t part = XK_MIN(count, per_block - sector % per_block);
        uint64_t offset;
        int code = vhd_writer_place(w, sector, part, &offset, err);
        if (code == 0)
            code = xk_file_write(&w->image->file, from, (size_t)(part * VHD_SECTOR), offset, err);
        if (code < 0)
            return code;
        from += part * VHD_SECTOR;
        sector += part;
        count -= part;
    }
    return 0;
}

bool vhd_writer_pending(const struct vhd_writer *w, uint32_t block, uint32_t *ret_block, const uint8_t **ret_bitmap,
                        uint64_t *ret_data)
{
    const size_t at = position_of(w, block);

    if (at == w->count)
        return false;
    const struct vhd_touched *t = &w->touched[at];
    *ret_block = t->block;
    *ret_bitmap = t->bitmap;
    *ret_data = (uint64_t)t->sector * VHD_SECTOR + bitmap_bytes(w->image);
    return true;
}

/* ---- the commit ---- */

/* The gap before a new block's bitmap is where a footer was: both are written as one. */
static int write_bitmaps(const struct vhd_writer *w, struct xk_err *err)
{
    const struct vhd *v = w->image;
    const size_t bytes = bitmap_bytes(v);
    uint8_t both[VHD_PAGE + VHD_BLOCK_BYTES / VHD_SECTOR / 8];
    int code = 0;

    for (size_t i = 0; i < w->count && code == 0; i++) {
        const struct vhd_touched *t = &w->touched[i];
        const uint64_t at = (uint64_t)t->sector * VHD_SECTOR;
        const size_t gap = t->placed_now ? (size_t)(at - t->gap_from) : 0;
        assert(gap < VHD_PAGE);
        memset(both, 0, gap);
        memcpy(both + gap, t->bitmap, bytes);
        code = xk_file_write(&v->file, both, gap + bytes, at - gap, err);
    }
    return code;
}

/* The table's changed sectors, each written once. */
static int write_table(const struct vhd_writer *w, struct xk_err *err)
{
    struct vhd *v = w->image;
    const uint32_t per_sector = VHD_SECTOR / sizeof(uint32_t);
    bool any = false;

    for (size_t i = 0; i < w->count; i++) {
        if (w->touched[i].placed_now) {
            v->bat[w->touched[i].block] = w->touched[i].sector;
            any = true;
        }
    }
    uint32_t written = UINT32_MAX;
    for (size_t i = 0; i < w->count; i++) {
        const uint32_t sector = w->touched[i].block / per_sector;
        if (!w->touched[i].placed_now || sector == written)
            continue;
        uint32_t entries[VHD_SECTOR / sizeof(uint32_t)];
        const uint32_t first = sector * per_sector;
        const uint32_t count = XK_MIN(per_sector, v->blocks - first);
        for (uint32_t e = 0; e < count; e++)
            entries[e] = htobe32(v->bat[first + e]);
        const int code = xk_file_write(&v->file, entries, count * sizeof(uint32_t),
                                       v->header.table_offset + (uint64_t)sector * VHD_SECTOR, err);
        if (code < 0)
            return code;
        written = sector;
    }
    return any ? xk_file_sync(&v->file, err) : 0;
}

static int write_batmap(const struct vhd_writer *w, struct xk_err *err)
{
    struct vhd *v = w->image;
    bool changed = false;

    if (v->batmap_state != VHD_GOOD)
        return 0;
    for (size_t i = 0; i < w->count; i++) {
        const uint32_t block = w->touched[i].block;
        if (block / 8 < v->batmap_bytes && !vhd_bit(v->batmap_bits, block) &&
            vhd_bits_full(w->touched[i].bitmap, vhd_sectors_per_block(v))) {
            vhd_bit_set(v->batmap_bits, block);
            changed = true;
        }
    }
    return changed ? vhd_write_batmap(v, err) : 0;
}

int vhd_writer_commit(struct vhd_writer *w, struct xk_err *err)
{
    if (w->count == 0)
        return 0;
    struct vhd *v = w->image;
    const struct xk_file *f = &v->file;

    /* Data, and the footer behind them, before anything refers to them. */
    int code = xk_file_sync(f, err);
    if (code == 0 && w->grown && !v->block_device) {
        v->end_offset = w->end;
        v->file_bytes = w->end + VHD_FOOTER_BYTES;
        v->short_footer = false;
    }
    if (code == 0)
        code = write_bitmaps(w, err);
    if (code == 0)
        code = xk_file_sync(f, err);
    if (code == 0)
        code = write_table(w, err);
    if (code == 0)
        code = write_batmap(w, err);
    if (code < 0)
        return code;
    for (size_t i = 0; i < w->count; i++)
        free(w->touched[i].bitmap);
    w->count = 0;
    w->grown = false;
    if (!v->block_device)
        w->stale_end = v->file_bytes;
    return 0;
}
