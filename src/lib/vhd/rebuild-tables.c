/*
 * The repair of what lies between the footers. The header is believed where its fields agree with the batmap behind the
 * table; where they do not, that batmap's cookie says how long the table is. A table entry is given back to the one
 * place in the file that no other entry names, and only if there is just one of each.
 */
#include "lib/vhd/rebuild-parts.h"

#include "core/text.h"
#include "lib/vhd/canon.h"
#include "lib/vhd/modify.h"

#include <endian.h>
#include <stdio.h>
#include <string.h>

#define COOKIE_BYTES_WRONG_MAX 3
#define TABLE_BYTES_MAX        (5u << 20) /* the table of 2040 GiB has 4 MiB */
#define SCAN_BYTES             (64u * 1024)
#define LOCATOR_SLOTS          3

static bool near_cookie(const char cookie[8], const char *right)
{
    unsigned wrong = 0;
    for (size_t i = 0; i < 8; i++)
        wrong += cookie[i] != right[i];
    return wrong <= COOKIE_BYTES_WRONG_MAX;
}

static uint64_t blocks_needed(const struct vhd *v, uint32_t block_bytes)
{
    return XK_DIV_UP(v->footer.current_bytes, (uint64_t)block_bytes);
}

static int write_header(struct rebuild *b, const struct vhd *v, const struct vhd_header *h)
{
    uint8_t bytes[VHD_HEADER_BYTES];
    vhd_header_encode(bytes, h);
    return xk_file_write(&v->file, bytes, sizeof(bytes), v->footer.data_offset, b->err);
}

/* ---- the header ---- */

static bool has_batmap_at(const struct vhd *v, uint64_t at)
{
    uint8_t sector[VHD_SECTOR];
    struct vhd_batmap m;

    if (xk_file_read(&v->file, sector, sizeof(sector), at, NULL) < 0)
        return false;
    vhd_batmap_decode(&m, sector);
    return memcmp(m.cookie, VHD_BATMAP_COOKIE, sizeof(m.cookie)) == 0 && m.offset == at + VHD_SECTOR;
}

/* Is every entry free or the place of a block behind the table? A table of zeros or of text is not. */
static int table_is_plausible(bool *ret, struct rebuild *b, const struct vhd *v, const struct vhd_header *h)
{
    const uint64_t count = blocks_needed(v, h->block_bytes), end = h->table_offset + vhd_bat_bytes(h);
    uint32_t entries[VHD_SECTOR / sizeof(uint32_t)];

    *ret = true;
    for (uint64_t i = 0; i < count && *ret; i += XK_COUNT(entries)) {
        const size_t part = (size_t)XK_MIN(count - i, (uint64_t)XK_COUNT(entries));
        const int code = xk_file_read(&v->file, entries, part * sizeof(entries[0]),
                                      h->table_offset + i * sizeof(entries[0]), b->err);
        if (code < 0)
            return code;
        for (size_t n = 0; n < part && *ret; n++) {
            const uint32_t e = be32toh(entries[n]);
            *ret = e == VHD_BAT_FREE || ((uint64_t)e * VHD_SECTOR >= end && (uint64_t)e * VHD_SECTOR < v->file_bytes);
        }
    }
    return 0;
}

/* Do the fields of this header describe the file? */
static int fields_fit(bool *ret, struct rebuild *b, const struct vhd *v, const struct vhd_header *h)
{
    uint64_t end;

    *ret = false;
    if (h->block_bytes < VHD_SECTOR || h->block_bytes > VHD_BLOCK_BYTES || (h->block_bytes & (h->block_bytes - 1)) ||
        h->table_offset % VHD_SECTOR || h->table_offset < v->footer.data_offset + VHD_HEADER_BYTES ||
        vhd_bat_bytes(h) > TABLE_BYTES_MAX || blocks_needed(v, h->block_bytes) > h->max_entries ||
        xk_add(h->table_offset, vhd_bat_bytes(h), &end) || end > v->file_bytes)
        return 0;
    if (vhd_has_batmap(&v->footer) && v->footer.creator_version >= 0x00010002) {
        *ret = has_batmap_at(v, end);
        return 0;
    }
    return table_is_plausible(ret, b, v, h);
}

int vhd_step_header(struct rebuild *b, struct vhd *v)
{
    struct vhd_header h = v->header;
    bool fit;

    if (v->header_state != VHD_DAMAGED || !near_cookie(h.cookie, VHD_HEADER_COOKIE))
        return 0;
    memcpy(h.cookie, VHD_HEADER_COOKIE, sizeof(h.cookie));
    h.version = 0x00010000;
    const int code = fields_fit(&fit, b, v, &h);
    if (code < 0 || !fit)
        return code;
    vhd_step_tell(b, "header", "table, size and what lies behind the table agree with its fields");
    vhd_step_before(b, "checksum %08x, computed %08x", v->header.checksum, v->header.checksum_computed);
    vhd_step_after(b, "table of %u entries at byte %llu, reserved bytes zero", h.max_entries,
                   (unsigned long long)h.table_offset);
    return write_header(b, v, &h);
}

/* The place of the batmap header behind a table that begins at `from`; 0: there is none. */
static int find_batmap(uint64_t *ret, struct rebuild *b, const struct vhd *v, uint64_t from)
{
    xk_autofree uint8_t *buf = xk_alloc(SCAN_BYTES);
    if (!buf)
        return xk_fail_memory(b->err);
    *ret = 0;
    for (uint64_t at = from; at < from + TABLE_BYTES_MAX; at += SCAN_BYTES) {
        const ssize_t got = xk_file_read_some(&v->file, buf, SCAN_BYTES, at, b->err);
        if (got < 0)
            return (int)got;
        for (size_t i = 0; i + VHD_SECTOR <= (size_t)got; i += VHD_SECTOR) {
            if (memcmp(buf + i, VHD_BATMAP_COOKIE, 8) == 0 && has_batmap_at(v, at + i)) {
                *ret = at + i;
                return 0;
            }
        }
        if ((size_t)got < SCAN_BYTES)
            break;
    }
    return 0;
}

/* Entries of a table in [from, to): all but the zeros that fill its last sector. */
static int count_entries(uint64_t *ret, struct rebuild *b, const struct vhd *v, uint64_t from, uint64_t to)
{
    uint32_t last[VHD_SECTOR / sizeof(uint32_t)];

    const int code = xk_file_read(&v->file, last, sizeof(last), to - sizeof(last), b->err);
    if (code < 0)
        return code;
    size_t used = XK_COUNT(last);
    while (used > 0 && last[used - 1] == 0)
        used--;
    *ret = (to - from) / sizeof(uint32_t) - (XK_COUNT(last) - used);
    return 0;
}

/* Where the table must be and how long, from what lies behind it. *ret_found false: nothing says. */
static int find_table(struct vhd_header *h, bool *ret_found, struct rebuild *b, const struct vhd *v)
{
    const uint64_t from = v->footer.data_offset + VHD_HEADER_BYTES;
    uint64_t batmap = 0, entries = blocks_needed(v, h->block_bytes);
    int code = 0;

    *ret_found = false;
    h->table_offset = from;
    if (vhd_has_batmap(&v->footer)) {
        code = find_batmap(&batmap, b, v, from);
        if (code == 0 && batmap > from)
            code = count_entries(&entries, b, v, from, batmap);
        if (code < 0 || batmap <= from)
            return code;
    }
    if (entries > UINT32_MAX || entries < blocks_needed(v, h->block_bytes))
        return 0;
    h->max_entries = (uint32_t)entries;
    return fields_fit(ret_found, b, v, h);
}

int vhd_step_header_found(struct rebuild *b, struct vhd *v)
{
    const bool known = v->header_state == VHD_GOOD;
    struct vhd_header h = v->header;
    bool found;

    if (known && !vhd_has_problem(b->problems, VHD_P_BAT_OUTSIDE))
        return 0;
    if (v->footer.data_offset != VHD_FOOTER_BYTES || v->file_bytes < VHD_FOOTER_BYTES + VHD_HEADER_BYTES) {
        vhd_step_refuse(b, VHD_P_HEADER, "the footer names a place for the header that no writer uses");
        return 0;
    }
    const bool parent_readable = known || near_cookie(h.cookie, VHD_HEADER_COOKIE);
    if (v->footer.type == VHD_DIFFERENCING && !parent_readable && !b->r->options.parent) {
        vhd_step_refuse(b, VHD_P_HEADER, "the header that named the parent is gone: say which one it is with --parent");
        return 0;
    }
    if (!known) {
        memcpy(h.cookie, VHD_HEADER_COOKIE, sizeof(h.cookie));
        h.data_offset = UINT64_MAX;
        h.version = 0x00010000;
        h.block_bytes = VHD_BLOCK_BYTES;
        h.reserved = 0;
        if (v->footer.type == VHD_DYNAMIC || !parent_readable) {
            memset(h.parent_uuid, 0, sizeof(h.parent_uuid));
            memset(h.parent_name, 0, sizeof(h.parent_name));
            memset(h.locators, 0, sizeof(h.locators));
            h.parent_timestamp = 0;
        }
    }
    const int code = find_table(&h, &found, b, v);
    if (code < 0)
        return code;
    if (!found) {
        vhd_step_refuse(b, known ? VHD_P_BAT_OUTSIDE : VHD_P_HEADER,
                        "no table that fits the disk was found behind the header");
        return 0;
    }
    vhd_step_tell(b, "header", "a table that fits the disk was found there, followed by what must follow it");
    if (known)
        vhd_step_before(b, "table of %u entries at byte %llu", v->header.max_entries,
                        (unsigned long long)v->header.table_offset);
    else
        vhd_step_before(b, "no valid header");
    vhd_step_after(b, "table of %u entries at byte %llu", h.max_entries, (unsigned long long)h.table_offset);
    return write_header(b, v, &h);
}

static bool any_locator(const struct vhd_header *h)
{
    for (int i = 0; i < VHD_LOCATORS; i++) {
        if (h->locators[i].code != VHD_LOCATOR_NONE)
            return true;
    }
    return false;
}

/* The parent that the image itself still names, when it is the right one; NULL: it is not found. The caller frees it.
 */
static int known_parent(char **ret, int64_t *ret_mtime, struct rebuild *b, const struct vhd *v)
{
    xk_autofree char *path = NULL;
    struct vhd parent;
    struct stat st;

    *ret = NULL;
    int code = vhd_find_parent(&path, v, &b->r->options.search, NULL);
    if (code == 0 && vhd_uuid_is_null(v->header.parent_uuid)) {
        if (stat(path, &st) < 0)
            return 0;
        *ret_mtime = st.st_mtime;
        *ret = XK_TAKE(path);
        return 0;
    }
    if (code == 0)
        code = vhd_open(&parent, b->r->overlay.real, path, VHD_NO_TABLES | VHD_DEVICES | VHD_BACKUP_OK, NULL);
    if (code < 0)
        return code == -ENOMEM ? xk_fail_memory(b->err) : 0;
    if (memcmp(parent.footer.uuid, v->header.parent_uuid, sizeof(parent.footer.uuid)) == 0) {
        *ret_mtime = parent.mtime;
        *ret = XK_TAKE(path);
    }
    vhd_close(&parent);
    return 0;
}

int vhd_step_header_fields(struct rebuild *b, struct vhd *v)
{
    struct vhd_header h = v->header;
    int64_t mtime = 0;

    if (v->header_state != VHD_GOOD || !vhd_has_problem(b->problems, VHD_P_HEADER_FIELD))
        return 0;
    h.data_offset = UINT64_MAX;
    h.reserved = 0;
    if (v->footer.type == VHD_DIFFERENCING) {
        if (vhd_unix_time(h.parent_timestamp) > b->r->options.unix_seconds + VHD_CLOCK_SLACK_SECONDS) {
            xk_autofree char *parent = NULL;
            const int code = known_parent(&parent, &mtime, b, v);
            if (code < 0)
                return code;
            if (!parent) {
                vhd_step_refuse(b, VHD_P_HEADER_FIELD, "the parent, whose time stamp it should have, is not found");
                return 0;
            }
            h.parent_timestamp = vhd_timestamp(mtime);
        }
        vhd_step_tell(b, "header", "the parent has this time stamp; reserved fields become zeros");
    } else {
        if (any_locator(&h) && !vhd_uuid_is_null(h.parent_uuid)) {
            vhd_step_refuse(b, VHD_P_HEADER_FIELD,
                            "it names a parent in full: whether the image is a child after all is not known");
            return 0;
        }
        memset(h.parent_uuid, 0, sizeof(h.parent_uuid));
        memset(h.parent_name, 0, sizeof(h.parent_name));
        memset(h.locators, 0, sizeof(h.locators));
        h.parent_timestamp = 0;
        vhd_step_tell(b, "header", "a dynamic disk has no parent; reserved fields become zeros");
    }
    vhd_step_before(b, "parent of %s", xk_iso_time(vhd_unix_time(v->header.parent_timestamp)).s);
    if (h.parent_timestamp)
        vhd_step_after(b, "parent of %s", xk_iso_time(vhd_unix_time(h.parent_timestamp)).s);
    else
        vhd_step_after(b, "no parent");
    return write_header(b, v, &h);
}

/* ---- the block table ---- */

uint64_t vhd_metadata_end(const struct vhd *v)
{
    uint64_t end = v->footer.data_offset + VHD_HEADER_BYTES;

    end = XK_MAX(end, v->header.table_offset + vhd_bat_bytes(&v->header));
    if (v->batmap_header_offset) {
        end = XK_MAX(end, v->batmap_header_offset + VHD_SECTOR);
        if (v->batmap_state == VHD_GOOD)
            end = XK_MAX(end, v->batmap.offset + (uint64_t)v->batmap.size_sectors * VHD_SECTOR);
    }
    for (int i = 0; i < VHD_LOCATORS; i++) {
        const struct vhd_locator *const l = &v->header.locators[i];
        if (l->code != VHD_LOCATOR_NONE && l->offset < v->file_bytes &&
            vhd_locator_space(l) <= v->file_bytes - l->offset && l->offset < end + VHD_LOCATOR_TEXT_MAX)
            end = XK_MAX(end, l->offset + vhd_locator_space(l));
    }
    return XK_ROUND_UP(end, (uint64_t)VHD_SECTOR);
}

/* The table, sorted into good entries (by place) and bad ones. */
struct entries {
    uint32_t *places; /* of the good ones, ascending */
    size_t count;
    uint32_t bad_block; /* the first bad one */
    uint32_t bad;
    bool cut, overlap; /* a bad one begins inside the file; two have one place */
    uint64_t from, to; /* bytes where blocks can be */
};

static int by_place(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static int sort_entries(struct entries *e, struct rebuild *b, const struct vhd *v)
{
    const uint64_t stored = vhd_stored_block_bytes(v);

    e->from = vhd_metadata_end(v);
    e->to = v->end_state == VHD_GOOD ? v->end_offset : v->file_bytes;
    e->places = xk_array_alloc(v->blocks, sizeof(*e->places));
    if (!e->places)
        return xk_fail_memory(b->err);
    for (uint32_t n = 0; n < v->blocks; n++) {
        const uint64_t at = (uint64_t)v->bat[n] * VHD_SECTOR;
        if (v->bat[n] == VHD_BAT_FREE)
            continue;
        if (at >= e->from && at + stored <= e->to) {
            e->places[e->count++] = v->bat[n];
            continue;
        }
        e->cut |= at >= e->from && at < e->to;
        if (e->bad++ == 0)
            e->bad_block = n;
    }
    qsort(e->places, e->count, sizeof(*e->places), by_place);
    for (size_t i = 1; i < e->count; i++)
        e->overlap |= (uint64_t)(e->places[i] - e->places[i - 1]) * VHD_SECTOR < stored;
    return 0;
}

/* Places between the good blocks where another one would fit. */
static uint64_t find_places(const struct entries *e, const struct vhd *v, uint64_t *ret_first)
{
    const uint64_t stored = vhd_stored_block_bytes(v), bitmap = (uint64_t)vhd_bitmap_sectors(v) * VHD_SECTOR;
    const bool paged = e->count == 0 || ((uint64_t)e->places[0] * VHD_SECTOR + bitmap) % VHD_PAGE == 0;
    uint64_t found = 0, from = e->from;

    for (size_t i = 0; i <= e->count; i++) {
        const uint64_t to = i < e->count ? (uint64_t)e->places[i] * VHD_SECTOR : e->to;
        for (;;) {
            const uint64_t at = paged ? XK_ROUND_UP(from + bitmap, (uint64_t)VHD_PAGE) - bitmap : from;
            if (at > to || to - at < stored)
                break;
            if (found++ == 0)
                *ret_first = at;
            from = at + stored;
        }
        from = to + stored;
    }
    return found;
}

/* Does a block lie there? Its bitmap marks something, and what it does not mark is zeros. */
static int looks_like_block(bool *ret, struct rebuild *b, const struct vhd *v, uint64_t at)
{
    const size_t bitmap_bytes = (size_t)vhd_bitmap_sectors(v) * VHD_SECTOR, stored = (size_t)vhd_stored_block_bytes(v);
    bool marked = false, stray = false;
    xk_autofree uint8_t *block = xk_alloc(stored);
    if (!block)
        return xk_fail_memory(b->err);
    const int code = xk_file_read(&v->file, block, stored, at, b->err);
    for (uint32_t s = 0; code == 0 && s < vhd_sectors_per_block(v); s++) {
        const uint8_t *const data = block + bitmap_bytes + (size_t)s * VHD_SECTOR;
        if (vhd_bit(block, s))
            marked = true;
        else
            stray |= data[0] != 0 || memcmp(data, data + 1, VHD_SECTOR - 1) != 0;
    }
    *ret = marked && !stray;
    return code;
}

static int write_entry(struct rebuild *b, struct vhd *v, uint32_t block, uint32_t sector)
{
    const uint32_t entry = htobe32(sector);
    return xk_file_write(&v->file, &entry, sizeof(entry), v->header.table_offset + (uint64_t)block * sizeof(entry),
                         b->err);
}

static int relink(struct rebuild *b, struct vhd *v, const struct entries *e, uint64_t place)
{
    bool block = false;

    const int code = looks_like_block(&block, b, v, place);
    if (code < 0)
        return code;
    if (!block) {
        vhd_step_refuse(b, VHD_P_BAT_PAST_END, "where block %u could lie (byte %llu) there is no block", e->bad_block,
                        (unsigned long long)place);
        return 0;
    }
    vhd_step_tell(b, "block table",
                  "it is the only entry that cannot be, and there the only block that no entry names");
    vhd_step_before(b, "block %u at sector %u", e->bad_block, v->bat[e->bad_block]);
    vhd_step_after(b, "block %u at sector %llu", e->bad_block, (unsigned long long)(place / VHD_SECTOR));
    return write_entry(b, v, e->bad_block, (uint32_t)(place / VHD_SECTOR));
}

static int free_bad_entries(struct rebuild *b, struct vhd *v, const struct entries *e)
{
    const uint64_t stored = vhd_stored_block_bytes(v);
    int code = 0;

    vhd_step_tell(
        b, "block table",
        "the file is whole (its footer is behind the last block) and has no block that an entry does not name");
    vhd_step_before(b, "block %u at sector %u%s", e->bad_block, v->bat[e->bad_block], e->bad > 1 ? ", and others" : "");
    vhd_step_after(b, "%u blocks not allocated", e->bad);
    for (uint32_t n = 0; n < v->blocks && code == 0; n++) {
        const uint64_t at = (uint64_t)v->bat[n] * VHD_SECTOR;
        if (v->bat[n] != VHD_BAT_FREE && (at < e->from || at + stored > e->to))
            code = write_entry(b, v, n, VHD_BAT_FREE);
    }
    return code;
}

static int repair_entries(struct rebuild *b, struct vhd *v, const struct entries *e)
{
    const enum vhd_problem_kind kind =
        vhd_has_problem(b->problems, VHD_P_BAT_PAST_END) ? VHD_P_BAT_PAST_END : VHD_P_BAT_OVERLAP;
    uint64_t first = 0;

    if (e->overlap) {
        vhd_step_refuse(
            b, VHD_P_BAT_OVERLAP,
            "two blocks name the same sectors, and the image does not say whose data they hold; `xenkit vhd "
            "info --json` lists the table, a backup tells which is right");
        return 0;
    }
    if (e->bad == 0)
        return 0;
    if (e->cut || v->end_state != VHD_GOOD) {
        vhd_step_refuse(b, kind, "the file was cut off, and what lay behind is gone: get the file again");
        return 0;
    }
    const uint64_t places = find_places(e, v, &first);
    if (places == 0)
        return free_bad_entries(b, v, e);
    if (places == 1 && e->bad == 1)
        return relink(b, v, e, first);
    vhd_step_refuse(b, kind,
                    "%u entries cannot be, and the file has room for %llu blocks that no entry names: which belongs to "
                    "which is not known",
                    e->bad, (unsigned long long)places);
    return 0;
}

int vhd_step_bat(struct rebuild *b, struct vhd *v)
{
    struct entries e = {0};

    if (!vhd_has_problem(b->problems, VHD_P_BAT_PAST_END) && !vhd_has_problem(b->problems, VHD_P_BAT_OVERLAP))
        return 0;
    if (v->header_state != VHD_GOOD || v->bat_state != VHD_GOOD)
        return 0;
    int code = sort_entries(&e, b, v);
    if (code == 0)
        code = repair_entries(b, v, &e);
    free(e.places);
    return code;
}

/* ---- bitmaps ---- */

struct bitmaps {
    uint32_t blocks;         /* changed */
    uint64_t cleared, found; /* bits past the disk's end; sectors with data */
    struct vhd_hole hole;
};

static void clear_beyond(struct bitmaps *m, uint8_t *bitmap, uint32_t disk_sectors, uint32_t sectors)
{
    for (uint32_t s = disk_sectors; s < sectors; s++) {
        if (vhd_bit(bitmap, s)) {
            bitmap[s / 8] &= (uint8_t) ~(0x80u >> (s % 8));
            m->cleared++;
        }
    }
}

static void mark_data(struct bitmaps *m, uint8_t *bitmap, const uint8_t *data, uint32_t disk_sectors)
{
    for (uint32_t s = 0; s < disk_sectors; s++) {
        const uint8_t *const at = data + (size_t)s * VHD_SECTOR;
        if (!vhd_bit(bitmap, s) && (at[0] != 0 || memcmp(at, at + 1, VHD_SECTOR - 1) != 0)) {
            vhd_bit_set(bitmap, s);
            m->found++;
        }
    }
}

/* buf: room for a block with its bitmap. */
static int repair_bitmap(struct bitmaps *m, struct rebuild *b, struct vhd *v, uint32_t n, bool beyond, uint8_t *buf)
{
    const size_t bitmap_bytes = (size_t)vhd_bitmap_sectors(v) * VHD_SECTOR;
    const uint32_t sectors = vhd_sectors_per_block(v);
    const uint64_t left = vhd_sectors(v) - (uint64_t)n * sectors, at = (uint64_t)v->bat[n] * VHD_SECTOR;
    const uint32_t disk_sectors = (uint32_t)XK_MIN(left, (uint64_t)sectors);
    const uint64_t had = m->cleared + m->found;
    const size_t wanted = bitmap_bytes + (b->r->options.data ? (size_t)disk_sectors * VHD_SECTOR : 0);

    /* Only the last block can have bits past the end, and a hole has none at all. */
    if ((!b->r->options.data && disk_sectors == sectors) || vhd_in_hole(&m->hole, &v->file, v->file_bytes, at, wanted))
        return 0;
    const int code = xk_file_read(&v->file, buf, wanted, at, b->err);
    if (code < 0)
        return code;
    if (beyond && disk_sectors < sectors)
        clear_beyond(m, buf, disk_sectors, sectors);
    if (b->r->options.data)
        mark_data(m, buf, buf + bitmap_bytes, disk_sectors);
    if (m->cleared + m->found == had)
        return 0;
    m->blocks++;
    return xk_file_write(&v->file, buf, bitmap_bytes, at, b->err);
}

int vhd_step_bitmaps(struct rebuild *b, struct vhd *v)
{
    const bool beyond = vhd_has_problem(b->problems, VHD_P_BITMAP);
    const bool data = b->r->options.data && vhd_has_problem(b->problems, VHD_P_BITMAP_DATA);
    struct bitmaps m = {0};

    if ((!beyond && !data) || v->header_state != VHD_GOOD || v->bat_state != VHD_GOOD ||
        vhd_has_problem(b->problems, VHD_P_BAT_PAST_END) || vhd_has_problem(b->problems, VHD_P_BAT_OVERLAP))
        return 0;
    xk_autofree uint8_t *buf = xk_alloc((size_t)vhd_stored_block_bytes(v));
    if (!buf)
        return xk_fail_memory(b->err);
    int code = 0;
    for (uint32_t n = 0; n < v->blocks && code == 0; n++) {
        if (v->bat[n] != VHD_BAT_FREE)
            code = repair_bitmap(&m, b, v, n, beyond, buf);
        if (code == 0 && xk_stop_signal())
            code = xk_fail(b->err, -EINTR, "%s: stopped, nothing was changed", v->path);
    }
    if (code < 0 || m.blocks == 0)
        return code;
    vhd_step_tell(b, "bitmap",
                  m.found ? "--data: what a sector holds is believed more than its bit"
                          : "the disk ends before these sectors");
    vhd_step_before(b, "%u bitmaps wrong", m.blocks);
    vhd_step_after(b, "%llu sectors with data marked, %llu past the end unmarked", (unsigned long long)m.found,
                   (unsigned long long)m.cleared);
    return 0;
}

/* ---- the batmap ---- */

/* Bits for the blocks that their bitmaps call full. */
static int make_map(uint8_t *map, uint64_t *ret_full, struct rebuild *b, const struct vhd *v)
{
    xk_autofree uint8_t *bitmap = xk_alloc((size_t)vhd_bitmap_sectors(v) * VHD_SECTOR);
    struct vhd_hole hole = {0};

    if (!bitmap)
        return xk_fail_memory(b->err);
    *ret_full = 0;
    for (uint32_t n = 0; n < v->blocks; n++) {
        if (xk_stop_signal())
            return xk_fail(b->err, -EINTR, "%s: stopped, nothing was changed", v->path);
        if (v->bat[n] == VHD_BAT_FREE || vhd_in_hole(&hole, &v->file, v->file_bytes, (uint64_t)v->bat[n] * VHD_SECTOR,
                                                     (uint64_t)vhd_bitmap_sectors(v) * VHD_SECTOR))
            continue;
        /* A bitmap that cannot be read is another problem; here it is not full. */
        if (vhd_read_bitmap(v, n, bitmap, NULL) == 0 && vhd_bits_full(bitmap, vhd_sectors_per_block(v))) {
            vhd_bit_set(map, n);
            ++*ret_full;
        }
    }
    return 0;
}

int vhd_step_batmap(struct rebuild *b, struct vhd *v)
{
    const uint64_t at = v->header.table_offset + vhd_bat_bytes(&v->header);
    uint64_t full = 0;

    if (!vhd_has_problem(b->problems, VHD_P_BATMAP) || v->header_state != VHD_GOOD || v->bat_state != VHD_GOOD)
        return 0;
    struct vhd_batmap m = v->batmap;
    const bool header_known = v->batmap_header_offset && near_cookie(m.cookie, VHD_BATMAP_COOKIE);
    const uint32_t needed = XK_MAX(XK_DIV_UP(XK_DIV_UP(v->header.max_entries, 8), (uint32_t)VHD_SECTOR), 1u);
    if (!header_known)
        m = (struct vhd_batmap){0};
    memcpy(m.cookie, VHD_BATMAP_COOKIE, sizeof(m.cookie));
    m.version = VHD_BATMAP_VERSION;
    if (!header_known || m.offset != at + VHD_SECTOR || m.size_sectors < needed || m.size_sectors > 2 * needed + 1) {
        m.offset = at + VHD_SECTOR;
        m.size_sectors = needed;
    }
    const size_t bytes = (size_t)m.size_sectors * VHD_SECTOR;
    /* What no disk can need is a header's untruth, and stays in the list of what is left. */
    if (bytes > VHD_METADATA_MAX)
        return 0;
    xk_autofree uint8_t *map = xk_zalloc(bytes);
    if (!map)
        return xk_fail_memory(b->err);
    int code = make_map(map, &full, b, v);
    if (code < 0)
        return code;
    const uint64_t summed = XK_MIN(vhd_batmap_summed_bytes(v), (uint64_t)bytes);
    m.checksum = vhd_batmap_checksum(m.version, map, (size_t)summed);
    uint8_t sector[VHD_SECTOR];
    vhd_batmap_encode(sector, &m);
    code = xk_file_write(&v->file, sector, sizeof(sector), at, b->err);
    if (code == 0)
        code = xk_file_write(&v->file, map, bytes, m.offset, b->err);
    vhd_step_tell(b, "batmap",
                  header_known ? "it says again what the bitmaps say"
                               : "it says again what the bitmaps say; marker and key hash are lost");
    vhd_step_before(b, "%s", v->batmap_state == VHD_GOOD ? "not what the bitmaps say" : "damaged");
    vhd_step_after(b, "%llu full blocks", (unsigned long long)full);
    return code;
}

/* ---- locators and parent ---- */

static bool is_path_code(uint32_t code)
{
    return code == VHD_LOCATOR_MACX || code == VHD_LOCATOR_W2KU || code == VHD_LOCATOR_W2RU;
}

/* A slot that text can be written into where it is. */
static bool slot_is_sound(const struct vhd *v, const struct vhd_locator *l, size_t bytes)
{
    return l->offset % VHD_SECTOR == 0 && l->offset >= v->footer.data_offset + VHD_HEADER_BYTES &&
           l->offset < v->end_offset && vhd_locator_space(l) <= v->end_offset - l->offset &&
           vhd_locator_space(l) >= bytes && vhd_locator_space(l) <= VHD_LOCATOR_TEXT_MAX;
}

static uint64_t first_block_at(const struct vhd *v)
{
    uint64_t first = v->end_offset;
    for (uint32_t n = 0; n < v->blocks; n++) {
        if (v->bat[n] != VHD_BAT_FREE)
            first = XK_MIN(first, (uint64_t)v->bat[n] * VHD_SECTOR);
    }
    return first;
}

/* Room for `bytes` that nothing uses before the first block; 0: there is none. */
static uint64_t free_room(const struct vhd *v, const struct vhd_header *h, uint64_t bytes)
{
    uint64_t end = v->header.table_offset + vhd_bat_bytes(&v->header);

    if (v->batmap_state == VHD_GOOD)
        end = XK_MAX(end, v->batmap.offset + (uint64_t)v->batmap.size_sectors * VHD_SECTOR);
    for (int i = 0; i < VHD_LOCATORS; i++) {
        if (h->locators[i].code != VHD_LOCATOR_NONE)
            end = XK_MAX(end, h->locators[i].offset + vhd_locator_space(&h->locators[i]));
    }
    end = XK_ROUND_UP(end, (uint64_t)VHD_SECTOR);
    return end + bytes <= first_block_at(v) ? end : 0;
}

/*
 * The three paths of XenServer's into slots 0 to 2, each where it was if there is room, and other readable locators
 * kept. The footer has to move when there is room only at the end.
 */
static int write_locators(struct rebuild *b, struct vhd *v, struct vhd_header *h, const char *parent)
{
    static const uint32_t codes[LOCATOR_SLOTS] = {VHD_LOCATOR_MACX, VHD_LOCATOR_W2KU, VHD_LOCATOR_W2RU};
    xk_auto(vhd_locator_texts_done) struct vhd_locator_texts texts = {0};
    xk_autofree char *own = vhd_canonical_path(v->path);
    xk_autofree char *dir = own ? xk_dir_name(own) : NULL;
    struct vhd_locator old[VHD_LOCATORS];
    if (!dir)
        return xk_fail_sys(b->err, -errno, "%s", v->path);

    int code = vhd_locator_texts_make(&texts, dir, parent, b->err);
    const struct xk_buf *const text[LOCATOR_SLOTS] = {&texts.macx, &texts.w2ku, &texts.w2ru};
    memcpy(old, h->locators, sizeof(old));
    memset(h->locators, 0, sizeof(h->locators));
    uint64_t append = v->block_device ? XK_ROUND_UP(vhd_data_end(v), (uint64_t)VHD_SECTOR) : v->end_offset;
    for (int i = 0; i < LOCATOR_SLOTS && code == 0; i++) {
        const uint32_t space = XK_ROUND_UP(XK_MAX((uint32_t)text[i]->len, 1u), VHD_SECTOR);
        struct vhd_locator *const l = &h->locators[i];
        for (int n = 0; n < VHD_LOCATORS && !l->code; n++) {
            if (old[n].code == codes[i] && slot_is_sound(v, &old[n], space))
                *l = (struct vhd_locator){.code = codes[i], .space = space, .offset = old[n].offset};
        }
        l->length = (uint32_t)text[i]->len;
    }
    for (int n = LOCATOR_SLOTS; n < VHD_LOCATORS; n++) {
        if (!is_path_code(old[n].code) && slot_is_sound(v, &old[n], 1) && old[n].length)
            h->locators[n] = old[n];
    }
    for (int i = 0; i < LOCATOR_SLOTS && code == 0; i++) {
        struct vhd_locator *const l = &h->locators[i];
        const uint32_t space = XK_ROUND_UP(XK_MAX(l->length, 1u), VHD_SECTOR);
        if (!l->code) {
            *l = (struct vhd_locator){
                .code = codes[i], .space = space, .length = l->length, .offset = free_room(v, h, space)};
            if (!l->offset) {
                l->offset = append;
                append += space;
            }
        }
        if (v->block_device && append > v->end_offset)
            return xk_fail(b->err, -ENOSPC, "%s: the device has no room for the parent's path", v->path);
        xk_autofree uint8_t *padded = xk_zalloc(space);
        if (!padded)
            return xk_fail_memory(b->err);
        memcpy(padded, text[i]->data, text[i]->len);
        code = xk_file_write(&v->file, padded, space, l->offset, b->err);
    }
    if (code == 0)
        code = write_header(b, v, h);
    if (code == 0 && !v->block_device && append > v->end_offset) {
        uint8_t footer[VHD_FOOTER_BYTES];
        vhd_footer_encode(footer, &v->footer);
        code = xk_file_write(&v->file, footer, sizeof(footer), append, b->err);
        v->end_offset = append;
        v->file_bytes = append + VHD_FOOTER_BYTES;
    }
    return code;
}

static bool may_write_locators(const struct vhd *v)
{
    return v->footer.type == VHD_DIFFERENCING && v->header_state == VHD_GOOD && v->bat_state == VHD_GOOD &&
           v->end_state == VHD_GOOD;
}

int vhd_step_locators(struct rebuild *b, struct vhd *v)
{
    struct vhd_header h = v->header;
    int64_t mtime = 0;

    if (!vhd_has_problem(b->problems, VHD_P_LOCATOR) || b->r->options.parent || !may_write_locators(v))
        return 0;
    xk_autofree char *parent = NULL;
    int code = known_parent(&parent, &mtime, b, v);
    if (code < 0)
        return code;
    if (!parent) {
        vhd_step_refuse(b, VHD_P_LOCATOR, "the parent is not found by what is left: say which one it is with --parent");
        return 0;
    }
    vhd_step_tell(b, "locators", "the parent was found there by the others, and has the right UUID");
    vhd_step_before(b, "not all can be read");
    vhd_step_after(b, "%.120s", parent);
    code = vhd_set_parent_name(&h, parent, b->err);
    return code < 0 ? code : write_locators(b, v, &h, parent);
}

int vhd_step_parent(struct rebuild *b, struct vhd *v)
{
    struct vhd_header h = v->header;
    const struct vhd_rebuild_options *const o = &b->r->options;

    if (!o->parent)
        return 0;
    if (!may_write_locators(v))
        return v->footer.type == VHD_DIFFERENCING
                   ? 0
                   : xk_fail(b->err, -EINVAL, "%s: a %s image has no parent", v->path, vhd_type_name(v->footer.type));
    xk_autofree char *parent = vhd_canonical_path(o->parent);
    if (!parent)
        return xk_fail_sys(b->err, -errno, "%s", o->parent);
    vhd_step_tell(b, "locators", "asked for");
    vhd_step_before(b, "parent UUID %s", xk_uuid_text(v->header.parent_uuid).s);
    int code = write_locators(b, v, &h, parent);
    if (code < 0)
        return code;
    v->header = h;
    code = vhd_reparent(v, &(struct vhd_reparent){.parent = parent, .raw = o->parent_raw}, b->err);
    vhd_step_after(b, "%.80s, UUID %s", parent, xk_uuid_text(v->header.parent_uuid).s);
    return code;
}
