/*
 * The disk is resolved in units of 2 MiB: for each sector of the unit, the first layer that has it. A layer's bitmap is
 * read only while sectors are still open, and not at all when its batmap says that the block is full, so a dense image
 * costs one table look-up a block whatever its depth.
 */
#include "lib/vhd/chain.h"

#include "core/bytes.h"

#include <string.h>

#define UNIT_SECTORS (VHD_BLOCK_BYTES / VHD_SECTOR)
#define NOBODY       UINT16_MAX
_Static_assert(VHD_DEPTH_MAX < NOBODY, "a layer's number fits");

struct unit {
    uint64_t start;               /* on the disk, in sectors */
    uint32_t sectors, open;       /* of the unit; not yet found in a layer */
    uint16_t owner[UNIT_SECTORS]; /* layer, or NOBODY; not set while all sectors are open */
};

struct walk {
    const struct vhd_chain *chain;
    int (*visit)(void *context, const struct vhd_extent *extent);
    void *context;
    struct vhd_extent pending; /* sectors 0: none */
};

static int flush(struct walk *w)
{
    if (w->pending.sectors == 0)
        return 0;
    const struct vhd_extent e = w->pending;
    w->pending.sectors = 0;
    return w->visit(w->context, &e);
}

static int emit(struct walk *w, struct vhd_extent e)
{
    struct vhd_extent *p = &w->pending;
    const bool continues = p->sectors && p->layer == e.layer &&
                           (e.layer == VHD_LAYER_ZERO || p->file_offset + p->sectors * VHD_SECTOR == e.file_offset);
    if (continues) {
        p->sectors += e.sectors;
        return 0;
    }
    const int code = flush(w);
    *p = e;
    return code;
}

/* Bytes in the file of layer `v` where sector s of the disk lies; the sector is known to be there. */
static uint64_t place_of(const struct vhd *v, uint64_t s)
{
    if (v->footer.type == VHD_FIXED)
        return s * VHD_SECTOR;
    const uint32_t per_block = vhd_sectors_per_block(v);
    return ((uint64_t)v->bat[s / per_block] + vhd_bitmap_sectors(v) + s % per_block) * VHD_SECTOR;
}

/* Before the first sector is claimed. */
static void clear_owners(struct unit *u)
{
    if (u->open == u->sectors)
        memset(u->owner, 0xff, u->sectors * sizeof(u->owner[0]));
}

static void claim(struct unit *u, uint32_t from, uint32_t count, uint16_t layer)
{
    clear_owners(u);
    for (uint32_t i = from; i < from + count; i++) {
        if (u->owner[i] == NOBODY) {
            u->owner[i] = layer;
            u->open--;
        }
    }
}

static void claim_marked(struct unit *u, uint32_t from, uint32_t count, uint16_t layer, const uint8_t *bitmap,
                         uint32_t first_bit)
{
    clear_owners(u);
    for (uint32_t i = 0; i < count; i++) {
        if (u->owner[from + i] == NOBODY && vhd_bit(bitmap, first_bit + i)) {
            u->owner[from + i] = layer;
            u->open--;
        }
    }
}

static bool block_is_full(const struct vhd *v, uint32_t block)
{
    return v->batmap_state == VHD_GOOD && block / 8 < v->batmap_bytes && vhd_bit(v->batmap_bits, block);
}

/* Let one sparse layer claim what it has of the unit. */
static int claim_sparse(struct unit *u, const struct vhd *v, uint16_t layer, struct xk_err *err)
{
    const uint32_t per_block = vhd_sectors_per_block(v);
    uint8_t bitmap[VHD_BLOCK_BYTES / VHD_SECTOR / 8];

    for (uint32_t at = 0; at < u->sectors && u->open;) {
        const uint64_t sector = u->start + at;
        const uint32_t in_block = (uint32_t)(sector % per_block);
        const uint32_t count = XK_MIN(per_block - in_block, u->sectors - at);
        const uint64_t block = sector / per_block;
        if (block >= v->blocks)
            return 0;
        if (v->bat[block] != VHD_BAT_FREE) {
            const uint64_t data = ((uint64_t)v->bat[block] + vhd_bitmap_sectors(v)) * VHD_SECTOR;
            if (data > v->file_bytes)
                return xk_fail(err, -EBADMSG, "%s: block %llu at sector %u lies outside the file", v->path,
                               (unsigned long long)block, v->bat[block]);
            int code = vhd_block_check(v, (uint32_t)block, err);
            if (code < 0)
                return code;
            if (block_is_full(v, (uint32_t)block)) {
                claim(u, at, count, layer);
            } else {
                code = vhd_read_bitmap(v, (uint32_t)block, bitmap, err);
                if (code < 0)
                    return code;
                if (!xk_is_zero(bitmap, XK_DIV_UP(per_block, 8)))
                    claim_marked(u, at, count, layer, bitmap, in_block);
            }
        }
        at += count;
    }
    return 0;
}

static bool has_no_block(const struct vhd *v, uint64_t start, uint64_t end)
{
    const uint32_t per_block = vhd_sectors_per_block(v);

    for (uint64_t block = start / per_block; block * per_block < end && block < v->blocks; block++) {
        if (v->bat[block] != VHD_BAT_FREE)
            return false;
    }
    return true;
}

/* Nothing in any layer, as for most of a large disk: no need to look at its sectors one by one. */
static bool is_empty(const struct unit *u, const struct vhd_chain *c)
{
    for (size_t i = 0; i < c->count; i++) {
        const struct vhd *const v = &c->layers[i];
        if (u->start < vhd_sectors(v) &&
            (v->footer.type == VHD_FIXED || !has_no_block(v, u->start, u->start + u->sectors)))
            return false;
    }
    return !c->raw.open || u->start >= XK_DIV_UP(c->raw_bytes, VHD_SECTOR);
}

static int resolve(struct unit *u, const struct vhd_chain *c, struct xk_err *err)
{
    for (size_t i = 0; i < c->count && u->open; i++) {
        const struct vhd *v = &c->layers[i];
        if (u->start >= vhd_sectors(v))
            continue;
        if (v->footer.type == VHD_FIXED) {
            claim(u, 0, (uint32_t)XK_MIN((uint64_t)u->sectors, vhd_sectors(v) - u->start), (uint16_t)i);
            continue;
        }
        const int code = claim_sparse(u, v, (uint16_t)i, err);
        if (code < 0)
            return code;
    }
    const uint64_t raw_sectors = XK_DIV_UP(c->raw_bytes, VHD_SECTOR);
    if (u->open && c->raw.open && u->start < raw_sectors)
        claim(u, 0, (uint32_t)XK_MIN((uint64_t)u->sectors, raw_sectors - u->start), (uint16_t)c->count);
    return 0;
}

static int emit_unit(struct walk *w, const struct unit *u)
{
    const struct vhd_chain *c = w->chain;

    for (uint32_t at = 0; at < u->sectors;) {
        const uint16_t owner = u->owner[at];
        const uint64_t sector = u->start + at;
        uint32_t end = at + 1;
        while (end < u->sectors && u->owner[end] == owner)
            end++;
        struct vhd_extent e = {.start = sector, .sectors = end - at, .layer = VHD_LAYER_ZERO};
        if (owner != NOBODY) {
            e.layer = owner;
            if (owner < c->count) {
                const struct vhd *v = &c->layers[owner];
                e.file_offset = place_of(v, sector);
                if (v->footer.type != VHD_FIXED) {
                    const uint32_t per_block = vhd_sectors_per_block(v);
                    e.sectors = XK_MIN(e.sectors, (uint64_t)(per_block - (uint32_t)(sector % per_block)));
                }
            } else {
                e.file_offset = sector * VHD_SECTOR;
            }
        }
        const int code = emit(w, e);
        if (code)
            return code;
        at += (uint32_t)e.sectors;
    }
    return 0;
}

int vhd_chain_map(const struct vhd_chain *c, uint64_t start, uint64_t sectors,
                  int (*visit)(void *context, const struct vhd_extent *extent), void *context, struct xk_err *err)
{
    struct walk w = {.chain = c, .visit = visit, .context = context};
    struct unit u;
    uint64_t end;

    if (xk_add(start, sectors, &end) || end > vhd_sectors(&c->layers[0]))
        return xk_fail(err, -EINVAL, "%s: sectors %llu to %llu pass the end of the disk (%llu sectors)",
                       c->layers[0].path, (unsigned long long)start, (unsigned long long)(start + sectors),
                       (unsigned long long)vhd_sectors(&c->layers[0]));
    if (c->layers[0].footer.type == VHD_FIXED && sectors) /* it has all of itself */
        return visit(context,
                     &(struct vhd_extent){.start = start, .sectors = sectors, .file_offset = start * VHD_SECTOR});
    for (u.start = start; u.start < end; u.start += u.sectors) {
        u.sectors = (uint32_t)XK_MIN(end - u.start, UNIT_SECTORS - u.start % UNIT_SECTORS);
        u.open = u.sectors;
        int code = is_empty(&u, c) ? 0 : resolve(&u, c, err);
        if (code == 0 && u.open == u.sectors)
            code = emit(&w, (struct vhd_extent){.start = u.start, .sectors = u.sectors, .layer = VHD_LAYER_ZERO});
        else if (code == 0)
            code = emit_unit(&w, &u);
        if (code)
            return code;
    }
    return flush(&w);
}

struct read_target {
    const struct vhd_chain *chain;
    uint8_t *buf;
    uint64_t start;
    struct xk_err *err;
};

static int read_extent(void *context, const struct vhd_extent *e)
{
    const struct read_target *t = context;
    uint8_t *to = t->buf + (e->start - t->start) * VHD_SECTOR;
    const size_t bytes = (size_t)(e->sectors * VHD_SECTOR);

    if (e->layer == VHD_LAYER_ZERO) {
        memset(to, 0, bytes);
        return 0;
    }
    if ((size_t)e->layer < t->chain->count)
        return xk_file_read(&t->chain->layers[e->layer].file, to, bytes, e->file_offset, t->err);

    /* A raw parent may end inside its last sector. */
    const ssize_t got = xk_file_read_some(&t->chain->raw, to, bytes, e->file_offset, t->err);
    if (got < 0)
        return (int)got;
    memset(to + got, 0, bytes - (size_t)got);
    return 0;
}

int vhd_chain_read(const struct vhd_chain *c, void *buf, uint64_t start, uint64_t sectors, struct xk_err *err)
{
    struct read_target t = {.chain = c, .buf = buf, .start = start, .err = err};
    return vhd_chain_map(c, start, sectors, read_extent, &t, err);
}
