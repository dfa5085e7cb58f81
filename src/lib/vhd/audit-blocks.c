/*
 * Where the parts of the file lie: tables, batmap and blocks must not share bytes or reach past the end.
 *
 * Overlapping blocks are found by sorting the sector numbers (three radix passes) and looking at neighbours: 15 ms for
 * the million entries of the largest disk. Comparing each pair, as XenServer's own check does, takes 20 minutes for
 * that. Only the sectors are sorted, not which block each belongs to: that halves the memory, and the few blocks that
 * are named in a finding are looked up again.
 */
#include "lib/vhd/audit-parts.h"

#include "core/text.h"
#include "lib/vhd/locator.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- the parts of the file ---- */

static XK_PRINTF(5, 6) void region_add(struct vhd_auditing *a, uint64_t start, uint64_t bytes,
                                       enum vhd_problem_kind kind, const char *name, ...)
{
    assert(a->region_count < VHD_REGIONS_MAX);
    struct vhd_region *const r = &a->regions[a->region_count++];
    *r = (struct vhd_region){.start = start, .kind = kind};
    if (xk_add(start, bytes, &r->end))
        r->end = UINT64_MAX;
    va_list args;
    va_start(args, name);
    vsnprintf(r->name, sizeof(r->name), name, args);
    va_end(args);
}

/* Two parts that share bytes: the later one in the list is the one to blame. */
static void audit_regions(struct vhd_auditing *a)
{
    for (size_t i = 1; i < a->region_count; i++) {
        const struct vhd_region *const r = &a->regions[i];
        for (size_t j = 0; j < i; j++) {
            const struct vhd_region *const other = &a->regions[j];
            if (r->start >= other->end || other->start >= r->end)
                continue;
            FOUND(a, r->kind, r->kind == VHD_P_LOCATOR || r->kind == VHD_P_BATMAP ? XK_WARNING : XK_CRITICAL,
                  "%s at bytes %" PRIu64 " to %" PRIu64 " lies over %s at %" PRIu64 " to %" PRIu64, r->name, r->start,
                  r->end - 1, other->name, other->start, other->end - 1);
            break;
        }
    }
}

static void collect_regions(struct vhd_auditing *a)
{
    const struct vhd *v = a->v;

    region_add(a, 0, VHD_FOOTER_BYTES, VHD_P_FOOTER_COPY, "the footer copy");
    if (v->end_state == VHD_GOOD)
        region_add(a, v->end_offset, v->file_bytes - v->end_offset, VHD_P_FOOTER, "the footer");
    region_add(a, v->footer.data_offset, VHD_HEADER_BYTES, VHD_P_HEADER, "the header");
    if (v->bat)
        region_add(a, v->header.table_offset, vhd_bat_bytes(&v->header), VHD_P_BAT_OUTSIDE, "the block table");
    if (v->batmap_header_offset && v->batmap_state == VHD_GOOD) {
        region_add(a, v->batmap_header_offset, VHD_SECTOR, VHD_P_BATMAP, "the batmap header");
        region_add(a, v->batmap.offset, (uint64_t)v->batmap.size_sectors * VHD_SECTOR, VHD_P_BATMAP, "the batmap");
    }
    for (int i = 0; i < VHD_LOCATORS; i++) {
        const struct vhd_locator *const l = &v->header.locators[i];
        uint64_t end;
        if (l->code == VHD_LOCATOR_NONE || v->footer.type != VHD_DIFFERENCING)
            continue;
        if (!xk_add(l->offset, vhd_locator_space(l), &end) && end <= v->file_bytes)
            region_add(a, l->offset, vhd_locator_space(l), VHD_P_LOCATOR, "parent locator %d", i);
    }
}
/* ---- block table ---- */

static void audit_table(struct vhd_auditing *a)
{
    const struct vhd *v = a->v;
    const struct vhd_header *const h = &v->header;
    const uint64_t block = h->block_bytes;
    const uint64_t needed = v->footer.current_bytes / block + (v->footer.current_bytes % block != 0);
    uint64_t end;

    if (needed > h->max_entries)
        vhd_problem_add(a->found, VHD_P_BAT_SHORT, XK_CRITICAL, needed - h->max_entries,
                        "the disk has %" PRIu64 " blocks, the table %" PRIu32 " entries: the last %" PRIu64
                        " blocks cannot be read or written",
                        needed, h->max_entries, needed - h->max_entries);
    if (xk_add(h->table_offset, vhd_bat_bytes(h), &end) || end > a->end) {
        FOUND(a, VHD_P_BAT_OUTSIDE, XK_CRITICAL,
              "the table of %" PRIu32 " entries at byte %" PRIu64 " does not fit into the file, which ends at %" PRIu64,
              h->max_entries, h->table_offset, a->end);
    } else if (v->bat_state == VHD_UNREADABLE) {
        FOUND(a, VHD_P_BAT_OUTSIDE, XK_CRITICAL,
              "the table of %" PRIu32 " entries at byte %" PRIu64 " was not read: %s", h->max_entries, h->table_offset,
              v->trouble);
    }
}

uint64_t vhd_block_needs(const struct vhd_auditing *a, uint32_t b)
{
    const uint64_t block = a->v->header.block_bytes;
    const uint64_t left = a->v->footer.current_bytes - (uint64_t)b * block;
    return left >= block ? a->block_file_bytes : a->block_file_bytes - block + XK_ROUND_UP(left, (uint64_t)VHD_SECTOR);
}

const struct vhd_region *vhd_region_under(const struct vhd_auditing *a, uint64_t start, uint64_t end)
{
    for (size_t i = 0; i < a->region_count; i++) {
        if (a->regions[i].start < end && start < a->regions[i].end)
            return &a->regions[i];
    }
    return NULL;
}

static uint32_t block_at(const struct vhd *v, uint32_t sector, uint32_t after)
{
    for (uint32_t b = after; b < v->blocks; b++) {
        if (v->bat[b] == sector)
            return b;
    }
    return v->blocks;
}

static void name_overlap(const struct vhd *v, struct vhd_places *pairs, uint32_t first, uint32_t second)
{
    const uint32_t b = block_at(v, first, 0);
    const uint32_t other = block_at(v, second, first == second ? b + 1 : 0);
    vhd_place_add(pairs, "%" PRIu32 " (sector %" PRIu32 ") and %" PRIu32 " (sector %" PRIu32 ")", b, first, other,
                  second);
}

/* sectors: of `count` blocks that lie in the file and off the metadata. */
static int audit_overlap(struct vhd_auditing *a, uint32_t **sectors, size_t count)
{
    const struct vhd *v = a->v;
    const uint64_t length = a->block_file_bytes / VHD_SECTOR;
    struct vhd_places pairs = {0};

    if (vhd_sort_sectors(sectors, count) < 0)
        return xk_fail_memory(a->err);
    /* The last block of the disk may be cut where the disk ends; only it is shorter. */
    const uint32_t last = v->blocks ? v->bat[v->blocks - 1] : VHD_BAT_FREE;
    const uint64_t last_length = v->blocks ? vhd_block_needs(a, v->blocks - 1) / VHD_SECTOR : 0;
    const uint32_t *const in_order = *sectors;
    uint64_t reach = 0;
    uint32_t reaching = 0;
    for (size_t i = 0; i < count; i++) {
        const uint64_t start = in_order[i];
        if (start < reach) {
            if (pairs.count < VHD_PLACES_NAMED)
                name_overlap(v, &pairs, reaching, in_order[i]);
            else
                pairs.count++;
        }
        const uint64_t end = start + (in_order[i] == last ? last_length : length);
        if (end > reach) {
            reach = end;
            reaching = in_order[i];
        }
    }
    if (pairs.count)
        vhd_problem_add(a->found, VHD_P_BAT_OVERLAP, XK_CRITICAL, pairs.count,
                        "%" PRIu64 " %s of blocks share sectors of the file: %s%s", pairs.count,
                        pairs.count == 1 ? "pair" : "pairs", pairs.text, vhd_places_rest(&pairs));
    return 0;
}

static int audit_blocks(struct vhd_auditing *a)
{
    const struct vhd *v = a->v;
    const uint64_t bitmap_bytes = (uint64_t)vhd_bitmap_sectors(v) * VHD_SECTOR;
    struct vhd_places past = {0}, on_metadata = {0};
    uint64_t misaligned = 0;
    size_t kept = 0, allocated = 0;

    for (uint32_t b = 0; b < v->blocks; b++)
        allocated += v->bat[b] != VHD_BAT_FREE;
    xk_autofree uint32_t *sectors = xk_array_alloc(allocated, sizeof(*sectors));
    if (!sectors)
        return xk_fail_memory(a->err);

    for (uint32_t b = 0; b < v->blocks; b++) {
        if (v->bat[b] == VHD_BAT_FREE)
            continue;
        const uint64_t start = (uint64_t)v->bat[b] * VHD_SECTOR;
        const uint64_t end = start + vhd_block_needs(a, b);
        if (end > a->end) {
            vhd_place_add(&past, "block %" PRIu32 " at sector %" PRIu32, b, v->bat[b]);
            continue;
        }
        const struct vhd_region *const under = vhd_region_under(a, start, end);
        if (under) {
            vhd_place_add(&on_metadata, "block %" PRIu32 " at sector %" PRIu32 " on %s", b, v->bat[b], under->name);
            continue;
        }
        misaligned += (start + bitmap_bytes) % VHD_PAGE != 0;
        sectors[kept++] = v->bat[b];
    }
    if (past.count)
        vhd_problem_add(a->found, VHD_P_BAT_PAST_END, XK_CRITICAL, past.count,
                        "%" PRIu64 " of %zu blocks reach past byte %" PRIu64 ", where the file's data end: %s%s",
                        past.count, allocated, a->end, past.text, vhd_places_rest(&past));
    if (on_metadata.count)
        vhd_problem_add(a->found, VHD_P_BAT_OVERLAP, XK_CRITICAL, on_metadata.count,
                        "%" PRIu64 " of %zu blocks lie on the image's own tables: %s%s", on_metadata.count, allocated,
                        on_metadata.text, vhd_places_rest(&on_metadata));
    if (misaligned)
        vhd_problem_add(a->found, VHD_P_MISALIGNED, XK_NOTE, misaligned,
                        "the data of %" PRIu64 " of %zu blocks do not begin on a %u-byte page", misaligned, allocated,
                        VHD_PAGE);
    return audit_overlap(a, &sectors, kept);
}

static void audit_trailing(struct vhd_auditing *a)
{
    const struct vhd *v = a->v;

    /* On a device the footer stands at its very end, wherever the data stop. */
    if (v->block_device || v->end_state != VHD_GOOD || !v->bat)
        return;
    const uint64_t data_end = vhd_data_end(v);
    /* Less than a page is alignment. */
    if (data_end + VHD_PAGE > v->end_offset)
        return;
    vhd_problem_add(a->found, VHD_P_TRAILING, XK_NOTE, v->end_offset - data_end,
                    "nothing refers to the %" PRIu64 " bytes (%s) between byte %" PRIu64 " and the footer",
                    v->end_offset - data_end, xk_size(v->end_offset - data_end).s, data_end);
}

/* ---- batmap ---- */

static void audit_batmap(struct vhd_auditing *a)
{
    const struct vhd *v = a->v;
    const struct vhd_batmap *const m = &v->batmap;
    struct vhd_places free_blocks = {0};

    if (v->batmap_state == VHD_ABSENT)
        return;
    if (v->batmap_state != VHD_GOOD) {
        if (!v->batmap_header_offset)
            FOUND(a, VHD_P_BATMAP, XK_WARNING, "the batmap header behind the block table lies outside the file");
        else if (memcmp(m->cookie, VHD_BATMAP_COOKIE, sizeof(m->cookie)) != 0)
            FOUND(a, VHD_P_BATMAP, XK_WARNING, "no batmap header at byte %" PRIu64 ", behind the block table",
                  v->batmap_header_offset);
        else if (m->version > VHD_BATMAP_VERSION)
            FOUND(a, VHD_P_BATMAP, XK_WARNING, "the batmap has the unknown version %08" PRIx32, m->version);
        else if (v->batmap_bits)
            FOUND(a, VHD_P_BATMAP, XK_WARNING,
                  "the batmap of %" PRIu32 " sectors at byte %" PRIu64 " fails its checksum %08" PRIx32,
                  m->size_sectors, m->offset, m->checksum);
        else
            FOUND(a, VHD_P_BATMAP, XK_WARNING,
                  "the batmap of %" PRIu32 " sectors at byte %" PRIu64 " does not fit the file or the %" PRIu32
                  " blocks",
                  m->size_sectors, m->offset, v->blocks);
        return;
    }
    if ((uint64_t)m->size_sectors * VHD_SECTOR * 8 < v->header.max_entries)
        FOUND(a, VHD_P_BATMAP, XK_WARNING, "the batmap has %" PRIu64 " bits, the block table %" PRIu32 " entries",
              (uint64_t)m->size_sectors * VHD_SECTOR * 8, v->header.max_entries);
    if (m->offset % VHD_SECTOR)
        FOUND(a, VHD_P_BATMAP, XK_WARNING, "the batmap's place, byte %" PRIu64 ", is no whole sector", m->offset);
    if (m->version < VHD_BATMAP_VERSION_FIRST)
        FOUND(a, VHD_P_BATMAP, XK_WARNING, "the batmap has the unknown version %08" PRIx32, m->version);
    const uint64_t bits = (uint64_t)v->batmap_bytes * 8;
    for (uint64_t b = 0; b < bits; b++) {
        if (vhd_bit(v->batmap_bits, b) && (b >= v->blocks || v->bat[b] == VHD_BAT_FREE))
            vhd_place_add(&free_blocks, "block %" PRIu64, b);
    }
    if (free_blocks.count)
        vhd_problem_add(a->found, VHD_P_BATMAP, XK_WARNING, free_blocks.count,
                        "the batmap calls %" PRIu64 " blocks full that the table does not have: %s%s",
                        free_blocks.count, free_blocks.text, vhd_places_rest(&free_blocks));
}

/* ---- all of them ---- */

int vhd_audit_layout(struct vhd_auditing *a)
{
    collect_regions(a);
    audit_regions(a);
    audit_table(a);
    if (!a->v->bat)
        return 0;
    const int code = audit_blocks(a);
    if (code < 0)
        return code;
    audit_batmap(a);
    audit_trailing(a);
    return 0;
}
