/*
 * The table is read in pieces of some dozens of entries. Payload and sector bitmap entries are interleaved: after each
 * chunk_ratio payload entries comes one for the bitmap of their sectors, which only a differencing image uses.
 */
#include "lib/vhdx/inner.h"

#include "core/bytes.h"

#include <string.h>

/* Small: parents are walked by recursion, each on its own piece of stack. */
#define PIECE_ENTRIES 64u
#define BITMAP_PIECE  512u

enum {
    NOT_PRESENT = 0,
    UNDEFINED = 1,
    ZERO = 2,
    UNMAPPED = 3,
    UNMAPPED_OLD = 5,
    FULLY_PRESENT = 6,
    PARTIALLY_PRESENT = 7
};

struct map {
    const struct vhdx *v;
    int (*visit)(void *context, const struct vhdx_extent *extent);
    void *context;
    struct xk_err *err;
    uint64_t piece_first; /* entries in piece[] begin with this one */
    uint32_t piece_count;
    uint8_t piece[PIECE_ENTRIES * 8];
};

static uint64_t entry_of_block(const struct vhdx *v, uint64_t block)
{
    return block + block / v->chunk_ratio;
}

static uint64_t entry_of_bitmap(const struct vhdx *v, uint64_t block)
{
    return (block / v->chunk_ratio + 1) * ((uint64_t)v->chunk_ratio + 1) - 1;
}

static uint64_t entries(const struct vhdx *v)
{
    return v->blocks == 0    ? 0
           : v->differencing ? entry_of_bitmap(v, v->blocks - 1) + 1
                             : entry_of_block(v, v->blocks - 1) + 1;
}

/* The next entries from the table; walks are ascending, so a piece is read once. */
static int load(struct map *m, uint64_t n, uint64_t *ret_entry)
{
    if (n < m->piece_first || n - m->piece_first >= m->piece_count) {
        m->piece_count = 0;
        const uint32_t count = (uint32_t)XK_MIN(entries(m->v) - n, (uint64_t)PIECE_ENTRIES);
        const int code = vhdx_read_file(m->v, m->piece, count * 8u, m->v->bat_offset + n * 8, m->err);
        if (code < 0)
            return code;
        m->piece_first = n;
        m->piece_count = count;
    }
    struct xk_reader r = xk_reader(m->piece + (n - m->piece_first) * 8, 8);
    *ret_entry = xk_le64(&r);
    return 0;
}

static int check_place(const struct map *m, uint64_t entry, uint64_t bytes, const char *what, uint64_t block)
{
    const uint64_t at = entry >> 20 << 20;

    if (at >= VHDX_UNIT && at <= m->v->file_bytes && m->v->file_bytes - at >= bytes)
        return 0;
    return xk_fail(m->err, -EBADMSG, "%s: %s %llu at byte %llu lies outside the file of %llu bytes", m->v->path, what,
                   (unsigned long long)block, (unsigned long long)at, (unsigned long long)m->v->file_bytes);
}

static int emit(const struct map *m, uint64_t start, uint64_t bytes, enum vhdx_kind kind, uint64_t file_offset)
{
    const struct vhdx_extent e = {
        .start = start,
        .bytes = bytes,
        .kind = kind,
        .file_offset = file_offset,
        .plain = kind == VHDX_DATA && !vhdx_log_touches(m->v->log, file_offset, bytes),
    };

    return m->visit(m->context, &e);
}

static bool bit(const uint8_t *map, uint64_t n)
{
    return map[n / 8] >> (n % 8) & 1;
}

/* Sectors [from, to) of the disk in one block that has only some of them. `data_at`: where sector `from` would lie. */
static int map_partial(struct map *m, uint64_t block, uint64_t start, uint64_t end, uint64_t data_at)
{
    const struct vhdx *const v = m->v;
    const uint64_t chunk_sectors = UINT64_C(1) << 23;
    uint8_t bits[BITMAP_PIECE];
    uint64_t bitmap;

    int code = load(m, entry_of_bitmap(v, block), &bitmap);
    if (code == 0 && (bitmap & 7) != FULLY_PRESENT)
        code = xk_fail(m->err, -EBADMSG, "%s: block %llu is partly present, but its sector bitmap is not", v->path,
                       (unsigned long long)block);
    if (code == 0)
        code = check_place(m, bitmap, VHDX_UNIT, "the sector bitmap for block", block);
    while (code == 0 && start < end) {
        const uint64_t sector = start / v->sector_bytes % chunk_sectors;
        const uint64_t first = sector / 8;
        const size_t bytes = (size_t)XK_MIN((uint64_t)BITMAP_PIECE, VHDX_UNIT - first);
        code = vhdx_read_file(v, bits, bytes, (bitmap >> 20 << 20) + first, m->err);
        const uint64_t stop = XK_MIN(end, (start / v->sector_bytes + bytes * 8 - sector % 8) * v->sector_bytes);
        while (code == 0 && start < stop) {
            uint64_t n = start / v->sector_bytes % chunk_sectors - first * 8;
            const bool here = bit(bits, n);
            uint64_t to = start;
            do {
                to = XK_MIN((to / v->sector_bytes + 1) * v->sector_bytes, stop);
                n++;
            } while (to < stop && bit(bits, n) == here);
            code = emit(m, start, to - start, here ? VHDX_DATA : VHDX_ABSENT, here ? data_at : 0);
            data_at += to - start;
            start = to;
        }
    }
    return code;
}

static int map_block(struct map *m, uint64_t block, uint64_t start, uint64_t end)
{
    const struct vhdx *const v = m->v;
    uint64_t entry;

    int code = load(m, entry_of_block(v, block), &entry);
    if (code < 0)
        return code;
    const uint64_t place = (entry >> 20 << 20) + start % v->block_bytes;
    switch (entry & 7) {
    case NOT_PRESENT:
        return emit(m, start, end - start, VHDX_ABSENT, 0);
    case UNDEFINED:
    case ZERO:
    case UNMAPPED:
    case UNMAPPED_OLD:
        return emit(m, start, end - start, VHDX_ZERO, 0);
    case FULLY_PRESENT:
        code = check_place(m, entry, v->block_bytes, "block", block);
        return code < 0 ? code : emit(m, start, end - start, VHDX_DATA, place);
    case PARTIALLY_PRESENT:
        if (!v->differencing)
            return xk_fail(m->err, -EBADMSG, "%s: block %llu is partly present, but there is no parent", v->path,
                           (unsigned long long)block);
        code = check_place(m, entry, v->block_bytes, "block", block);
        return code < 0 ? code : map_partial(m, block, start, end, place);
    default:
        return xk_fail(m->err, -EBADMSG, "%s: block %llu is in the unknown state %u", v->path,
                       (unsigned long long)block, (unsigned)(entry & 7));
    }
}

int vhdx_map(const struct vhdx *v, uint64_t start, uint64_t bytes,
             int (*visit)(void *context, const struct vhdx_extent *extent), void *context, struct xk_err *err)
{
    struct map m = {.v = v, .visit = visit, .context = context, .err = err};
    const uint64_t end = start + bytes;
    int code = 0;

    if (end < start || end > v->size_bytes)
        return xk_fail(err, -EINVAL, "%s: %llu bytes at %llu pass the end of the disk", v->path,
                       (unsigned long long)bytes, (unsigned long long)start);
    while (code == 0 && start < end) {
        const uint64_t block = start / v->block_bytes;
        const uint64_t block_end = XK_MIN((block + 1) * v->block_bytes, end);
        code = map_block(&m, block, start, block_end);
        start = block_end;
    }
    return code;
}
