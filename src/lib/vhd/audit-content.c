/* Bitmaps against the disk's size and the batmap, and on request against the data. */
#include "lib/vhd/audit-parts.h"

#include "core/bytes.h"

#include <inttypes.h>
#include <string.h>

#define BLOCKS_PER_STEP 64 /* between two looks at progress and the stop signal */
/* Twice the blocks of the largest disk. Tables for more are read and compared, but not followed to each block. */
#define CONTENT_BLOCKS_MAX (2u * 1044480u)

struct content {
    struct vhd_places unreadable, beyond, not_full, stray;
    uint64_t stray_sectors;
    uint32_t sectors; /* of a block */
    uint8_t *bitmap, *data;
    struct vhd_hole hole;
};

/* Sectors that the bitmap calls absent must hold zeros. One read from the first to the last of them. */
static void audit_absent_data(struct vhd_auditing *a, struct content *c, uint32_t b, uint32_t disk_sectors)
{
    const struct vhd *v = a->v;
    uint32_t first = 0, last = disk_sectors, stray = 0, first_stray = 0;

    while (first < disk_sectors && vhd_bit(c->bitmap, first))
        first++;
    while (last > first && vhd_bit(c->bitmap, last - 1))
        last--;
    if (first == last)
        return;
    const uint64_t at = ((uint64_t)v->bat[b] + vhd_bitmap_sectors(v) + first) * VHD_SECTOR;
    if (xk_file_read(&v->file, c->data, (size_t)(last - first) * VHD_SECTOR, at, NULL) < 0) {
        vhd_place_add(&c->unreadable, "data of block %" PRIu32 " at sector %" PRIu32, b, v->bat[b]);
        return;
    }
    for (uint32_t s = first; s < last; s++) {
        if (vhd_bit(c->bitmap, s) || xk_is_zero(c->data + (size_t)(s - first) * VHD_SECTOR, VHD_SECTOR))
            continue;
        if (!stray++)
            first_stray = s;
    }
    if (stray) {
        c->stray_sectors += stray;
        vhd_place_add(&c->stray, "block %" PRIu32 " (%" PRIu32 " sectors, the first is %" PRIu32 ")", b, stray,
                      first_stray);
    }
}

static void audit_block_content(struct vhd_auditing *a, struct content *c, uint32_t b)
{
    const struct vhd *v = a->v;
    const uint64_t disk_left = v->footer.current_bytes / VHD_SECTOR - (uint64_t)b * c->sectors;
    const uint32_t disk_sectors = (uint32_t)XK_MIN(disk_left, (uint64_t)c->sectors);

    const bool hole =
        vhd_in_hole(&c->hole, &v->file, v->file_bytes, (uint64_t)v->bat[b] * VHD_SECTOR, vhd_block_needs(a, b));
    if (hole) {
        memset(c->bitmap, 0, (size_t)vhd_bitmap_sectors(v) * VHD_SECTOR);
    } else if (vhd_read_bitmap(v, b, c->bitmap, NULL) < 0) {
        vhd_place_add(&c->unreadable, "bitmap of block %" PRIu32 " at sector %" PRIu32, b, v->bat[b]);
        return;
    }
    const bool full = vhd_bits_full(c->bitmap, disk_sectors);
    if (!full && v->batmap_state == VHD_GOOD && vhd_bit(v->batmap_bits, b))
        vhd_place_add(&c->not_full, "block %" PRIu32, b);
    /* Some writers (qemu) call every sector of a block present, also those past the disk's end: no harm. */
    if (!full) {
        for (uint32_t s = disk_sectors; s < c->sectors; s++) {
            if (vhd_bit(c->bitmap, s)) {
                vhd_place_add(&c->beyond, "block %" PRIu32 " sector %" PRIu32, b, s);
                break;
            }
        }
    }
    if (!full && !hole && a->options->data)
        audit_absent_data(a, c, b, disk_sectors);
}

static void report_content(struct vhd_auditing *a, const struct content *c)
{
    if (c->unreadable.count)
        vhd_problem_add(a->found, VHD_P_BITMAP, XK_CRITICAL, c->unreadable.count, "cannot be read: %s%s",
                        c->unreadable.text, vhd_places_rest(&c->unreadable));
    if (c->beyond.count)
        vhd_problem_add(a->found, VHD_P_BITMAP, XK_WARNING, c->beyond.count,
                        "marks sectors past the end of the disk: %s%s", c->beyond.text, vhd_places_rest(&c->beyond));
    if (c->not_full.count)
        vhd_problem_add(a->found, VHD_P_BATMAP, XK_CRITICAL, c->not_full.count,
                        "the batmap calls %" PRIu64
                        " blocks full whose bitmaps have gaps; readers that believe it return "
                        "what lies in the gaps: %s%s",
                        c->not_full.count, c->not_full.text, vhd_places_rest(&c->not_full));
    if (c->stray.count)
        vhd_problem_add(a->found, VHD_P_BITMAP_DATA, XK_WARNING, c->stray_sectors,
                        "%" PRIu64 " sectors hold data although their bitmap calls them absent: %s%s", c->stray_sectors,
                        c->stray.text, vhd_places_rest(&c->stray));
}

int vhd_audit_content(struct vhd_auditing *a)
{
    const struct vhd *v = a->v;
    const struct vhd_audit_options *const o = a->options;
    struct content c = {.sectors = vhd_sectors_per_block(v)};
    uint64_t done = 0;
    uint32_t examined = 0;

    if (!o->bitmaps && !o->data)
        return 0;
    xk_autofree uint8_t *bitmap = xk_alloc((size_t)vhd_bitmap_sectors(v) * VHD_SECTOR);
    xk_autofree uint8_t *data = o->data ? xk_alloc(v->header.block_bytes) : NULL;
    if (!bitmap || (o->data && !data))
        return xk_fail_memory(a->err);
    c.bitmap = bitmap;
    c.data = data;

    for (uint32_t b = 0; b < v->blocks; b++) {
        if (b % BLOCKS_PER_STEP == 0) {
            if (xk_stop_signal())
                return xk_fail(a->err, -EINTR, "%s: stopped", v->path);
            if (o->progress)
                o->progress(o->context, XK_MIN(done, v->file_bytes));
        }
        if (v->bat[b] == VHD_BAT_FREE)
            continue;
        /* Blocks outside the file or on the tables have been named already. */
        const uint64_t start = (uint64_t)v->bat[b] * VHD_SECTOR;
        const uint64_t end = start + vhd_block_needs(a, b);
        if (end > a->end || vhd_region_under(a, start, end))
            continue;
        /* Blocks that do not overlap cannot be more than the file holds; a hostile table must not keep us longer. */
        if (done > v->file_bytes || ++examined > CONTENT_BLOCKS_MAX) {
            FOUND(a, VHD_P_BITMAP, XK_NOTE, "the bitmaps of the blocks from %" PRIu32 " on were not examined", b);
            break;
        }
        audit_block_content(a, &c, b);
        done += a->block_file_bytes;
    }
    report_content(a, &c);
    return 0;
}
