/*
 * vhd-util check: the first thing that is wrong, in the original's order and words, then the headers as text.
 *
 * It looks at raw sectors, because a check asks for bits that mean nothing otherwise. Overlapping blocks are found by
 * sorting; the pair named is the one that the original's comparison of all with all comes to first. Where the original
 * overlooks a contradiction (parts of the metadata that overlap, tables too short for a cut last block, sizes above
 * what the format holds, offsets that wrap around) ours refuses with the nearest text.
 */
#include "rooms/vhd/classic-check.h"

#include "core/bytes.h"
#include "core/text.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#define SLACK_S 1800 /* clocks of file servers may be ahead */

/* ---- footers ---- */

static uint32_t packed(struct vhd_geometry g)
{
    return (uint32_t)g.cylinders << 16 | (uint32_t)g.heads << 8 | g.sectors;
}

static bool in_future(const struct vhd_classic_check *k, uint32_t timestamp)
{
    const struct xk_clock *clock = k->classic->app->clock;
    const int64_t now = clock->utc_ns(clock) / (int64_t)XK_NS_PER_S;
    return vhd_unix_time(timestamp) > now + SLACK_S;
}

static const char *footer_problem(const struct vhd_classic_check *k, const uint8_t *sector)
{
    enum { RESERVED_AT = 86 };
    struct vhd_footer f;

    vhd_footer_decode(&f, sector);
    const bool sparse = f.type == VHD_DYNAMIC || f.type == VHD_DIFFERENCING;
    if (memcmp(f.cookie, VHD_COOKIE, sizeof(f.cookie)) != 0)
        return "invalid cookie";
    if (f.checksum != f.checksum_computed)
        return "invalid checksum";
    if (!(f.features & 2))
        return "invalid 'reserved' feature";
    if (f.features & ~3u)
        return "invalid extra features";
    if (f.version != 0x00010000)
        return "invalid file format version";
    if (!sparse && f.data_offset != UINT64_MAX)
        return "invalid data offset";
    if (!k->ignore_timestamps && in_future(k, f.timestamp))
        return "creation time in future";
    if (vhd_classic_by_tapdisk(&f) && f.creator_version > 0x00010003)
        return "unsupported tap creator version";
    /* The original counts sectors in 32 bits, and so finds larger disks too small for their geometry. */
    const uint32_t sectors = (uint32_t)(f.current_bytes / VHD_SECTOR + (f.current_bytes % VHD_SECTOR != 0));
    if (packed(vhd_geometry_of(XK_MAX(sectors, 1u))) < packed(f.geometry))
        return "geometry too large";
    if (f.current_bytes > VHD_SIZE_MAX)
        return "invalid size";
    if (!sparse && f.type != VHD_FIXED)
        return "invalid type";
    if (f.saved > 1)
        return "invalid 'saved' state";
    if (f.hidden > 1)
        return "invalid 'hidden' state";
    if (!xk_is_zero(sector + RESERVED_AT, VHD_FOOTER_BYTES - RESERVED_AT))
        return "invalid 'reserved' bits";
    if (vhd_uuid_is_null(f.uuid))
        return "invalid (NULL) uuid";
    return NULL;
}

/* The first XenServer releases hid an image in the copy only. */
static bool differ_in_hidden_only(const uint8_t *primary, const uint8_t *backup)
{
    enum { HIDDEN_AT = 85 };
    uint8_t shown[VHD_FOOTER_BYTES];
    struct vhd_footer f;

    vhd_footer_decode(&f, backup);
    if (!f.hidden || !vhd_classic_by_tapdisk(&f) ||
        (f.creator_version != 0x00000001 && f.creator_version != 0x00010001))
        return false;
    memcpy(shown, backup, sizeof(shown));
    shown[HIDDEN_AT] = 0;
    return memcmp(primary, shown, sizeof(shown)) == 0;
}

/* This part of the original does not tell a part that is cut off from one that is not there. */
static int read_raw(const struct vhd_classic_image *i, void *buf, size_t bytes, uint64_t offset)
{
    const int code = vhd_classic_image_read(i, buf, bytes, offset);
    return code == -EPIPE ? -EIO : code;
}

/*
 * Find the footer in force.
 * ret_fixed  true: a fixed image, there is nothing more to look at.
 */
static int check_footers(struct vhd_classic_check *k, const struct vhd_classic_image *i, uint8_t *ret_sector,
                         bool *ret_fixed)
{
    uint8_t primary[VHD_FOOTER_BYTES] = {0}, backup[VHD_FOOTER_BYTES] = {0};
    struct vhd_classic *c = k->classic;
    const uint32_t bytes = i->bytes % VHD_SECTOR ? VHD_SHORT_FOOTER_BYTES : VHD_FOOTER_BYTES;

    *ret_fixed = false;
    if (i->bytes < bytes) {
        vhd_classic_say(c, "error calculating end of file: %d\n", -EINVAL);
        return -EINVAL;
    }
    int code = read_raw(i, primary, bytes, i->bytes - bytes);
    if (code < 0) {
        vhd_classic_say(c, "error reading primary footer: %d\n", code);
        return code;
    }
    const char *problem = footer_problem(k, primary);
    if (problem) {
        k->primary_missing = true;
        if (!k->ignore_footer) {
            vhd_classic_say(c, "primary footer invalid: %s\n", problem);
            return -EINVAL;
        }
    } else {
        struct vhd_footer f;
        vhd_footer_decode(&f, primary);
        *ret_fixed = f.type == VHD_FIXED;
        if (*ret_fixed) {
            if (f.current_bytes <= i->bytes - bytes)
                return 0;
            vhd_classic_say(c, "primary footer invalid: %s\n", "invalid size");
            return -EINVAL;
        }
    }

    code = read_raw(i, backup, VHD_FOOTER_BYTES, 0);
    if (code < 0) {
        vhd_classic_say(c, "error reading backup footer: %d\n", code);
        return code;
    }
    problem = footer_problem(k, backup);
    if (problem) {
        vhd_classic_say(c, "backup footer invalid: %s\n", problem);
        return -EINVAL;
    }
    const bool same = memcmp(primary, backup, sizeof(primary)) == 0;
    if (!same && !k->ignore_footer && !differ_in_hidden_only(primary, backup)) {
        vhd_classic_say(c, "primary and backup footers do not match\n");
        return -EINVAL;
    }
    memcpy(ret_sector, !same && k->ignore_footer ? backup : primary, VHD_FOOTER_BYTES);
    return 0;
}

/* ---- header ---- */

static const char *header_problem(const struct vhd_classic_image *i, const struct vhd_footer *f, const uint8_t *bytes)
{
    enum { RESERVED_AT = 768 };
    struct vhd_header h;
    uint64_t table_end;

    vhd_header_decode(&h, bytes);
    if (memcmp(h.cookie, VHD_HEADER_COOKIE, sizeof(h.cookie)) != 0)
        return "invalid cookie";
    if (h.checksum != h.checksum_computed)
        return "invalid checksum";
    if (h.version != 0x00010000)
        return "invalid header version";
    if (h.data_offset != UINT64_MAX)
        return "invalid data offset";
    if (h.table_offset == 0 || h.table_offset % VHD_SECTOR != 0 ||
        xk_add(h.table_offset, (uint64_t)h.max_entries * sizeof(uint32_t), &table_end) ||
        table_end > i->bytes - VHD_FOOTER_BYTES)
        return "invalid table offset";
    /* The table lies on the footer copy or on the header. */
    const uint64_t header_end = f->data_offset + VHD_HEADER_BYTES;
    if (h.table_offset < VHD_FOOTER_BYTES || (h.table_offset < header_end && table_end > f->data_offset))
        return "invalid table offset";
    if (h.block_bytes == 0 || (h.block_bytes & (h.block_bytes - 1)) != 0)
        return "invalid block size";
    if (h.block_bytes < VHD_SECTOR || h.block_bytes > VHD_BLOCK_BYTES)
        return "invalid block size";
    if (h.reserved || !xk_is_zero(bytes + RESERVED_AT, VHD_HEADER_BYTES - RESERVED_AT))
        return "invalid reserved bits";
    return NULL;
}

static int check_header(struct vhd_classic_check *k, const struct vhd_classic_image *i, const uint8_t *footer_sector)
{
    uint8_t bytes[VHD_HEADER_BYTES];
    struct vhd_footer f;

    vhd_footer_decode(&f, footer_sector);
    const int code = read_raw(i, bytes, sizeof(bytes), f.data_offset);
    if (code < 0) {
        vhd_classic_say(k->classic, "error reading header: %d\n", code);
        return code;
    }
    const char *problem = header_problem(i, &f, bytes);
    if (!problem)
        return 0;
    vhd_classic_say(k->classic, "header is invalid: %s\n", problem);
    return -EINVAL;
}

static const char *differencing_problem(const struct vhd_classic_check *k, const struct vhd_classic_image *i)
{
    enum { LOCATORS_AT = 576, LOCATORS_BYTES = VHD_LOCATORS * 24 };

    if (i->footer.type == VHD_DIFFERENCING) {
        xk_autofree char *name = NULL;
        if (!k->ignore_timestamps && in_future(k, i->header.parent_timestamp))
            return "parent creation time in future";
        if (vhd_classic_parent_name(i, &name) < 0)
            return "invalid parent name";
        return NULL;
    }
    if (!xk_is_zero(i->header.parent_name, sizeof(i->header.parent_name)))
        return "invalid non-null parent name";
    if (!xk_is_zero(i->header_bytes + LOCATORS_AT, LOCATORS_BYTES))
        return "invalid non-null parent locators";
    if (!vhd_classic_raw_parent(i))
        return "invalid non-null parent uuid";
    if (i->header.parent_timestamp)
        return "invalid non-zero parent timestamp";
    return NULL;
}

/* ---- blocks ---- */

struct pair {
    uint32_t first, second; /* UINT32_MAX: none */
};

static int by_number(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static bool overlap(uint64_t a, uint64_t b, uint64_t sectors)
{
    return a < b + sectors && b < a + sectors;
}

/* The lowest block that shares sectors with another one, and the lowest of those others. */
static int find_overlap(struct pair *ret, const struct vhd_classic_image *i, uint64_t sectors)
{
    uint32_t used = 0;
    bool ascending = true;

    *ret = (struct pair){UINT32_MAX, UINT32_MAX};
    xk_autofree uint64_t *places = xk_array_alloc(i->blocks, sizeof(*places));
    if (!places)
        return -ENOMEM;
    for (uint32_t n = 0; n < i->blocks; n++) {
        if (i->bat[n] == VHD_BAT_FREE)
            continue;
        places[used] = (uint64_t)i->bat[n] << 32 | n;
        ascending = ascending && (used == 0 || places[used - 1] < places[used]);
        used++;
    }
    if (!ascending)
        qsort(places, used, sizeof(*places), by_number);
    for (uint32_t n = 1; n < used; n++) {
        const uint32_t lower = XK_MIN((uint32_t)places[n - 1], (uint32_t)places[n]);
        if (overlap(places[n - 1] >> 32, places[n] >> 32, sectors))
            ret->first = XK_MIN(ret->first, lower);
    }
    for (uint32_t n = 0; ret->first != UINT32_MAX && ret->second == UINT32_MAX && n < i->blocks; n++) {
        if (n != ret->first && i->bat[n] != VHD_BAT_FREE && overlap(i->bat[n], i->bat[ret->first], sectors))
            ret->second = n;
    }
    return 0;
}

static int check_data(struct vhd_classic_check *k, const struct vhd_classic_image *i, uint32_t block,
                      const uint8_t *bitmap)
{
    const uint64_t at = (uint64_t)i->bat[block] * VHD_SECTOR + vhd_classic_bitmap_bytes(i);
    const uint64_t end = i->bytes - VHD_FOOTER_BYTES;
    const size_t bytes = at < end ? (size_t)XK_MIN((uint64_t)i->header.block_bytes, end - at) : 0;
    int result = 0;

    if (bytes > 0 && vhd_in_hole(&k->hole, &i->file, i->bytes, i->start + at, bytes))
        return 0;
    memset(k->data + bytes, 0, i->header.block_bytes - bytes);
    const int code = bytes == 0 ? -EPIPE : vhd_classic_image_read(i, k->data, bytes / VHD_SECTOR * VHD_SECTOR, at);
    if (code < 0) {
        vhd_classic_say(k->classic, "error reading data block 0x%x\n", block);
        return code;
    }
    for (uint32_t n = 0; n < vhd_classic_block_sectors(i); n++) {
        if (vhd_bit(bitmap, n) || xk_is_zero(k->data + (size_t)n * VHD_SECTOR, VHD_SECTOR))
            continue;
        vhd_classic_say(k->classic, "sector 0x%x of block 0x%x has data where bitmap is clear\n", n, block);
        result = -EINVAL;
    }
    return result;
}

static int check_bitmap(struct vhd_classic_check *k, const struct vhd_classic_image *i, uint32_t block)
{
    const uint32_t sectors = vhd_classic_block_sectors(i);
    uint32_t written = 0;

    const int code = vhd_classic_image_read_bitmap(i, block, k->bitmap);
    if (code < 0) {
        vhd_classic_say(k->classic, "error reading bitmap 0x%x\n", block);
        return code;
    }
    for (uint32_t n = 0; n < sectors; n++)
        written += vhd_bit(k->bitmap, n);
    if (k->stats)
        k->stats->sectors_written += written;
    if (i->batmap_read && vhd_classic_batmap_test(i, block) && written < sectors) {
        vhd_classic_say(k->classic, "batmap shows partly written block %u full\n", block);
        return -EINVAL;
    }
    return k->check_data ? check_data(k, i, block, k->bitmap) : 0;
}

static int check_blocks(struct vhd_classic_check *k, const struct vhd_classic_image *i, uint64_t headers_end,
                        uint64_t end)
{
    const uint64_t sectors = (uint64_t)vhd_classic_block_sectors(i) + vhd_classic_bitmap_bytes(i) / VHD_SECTOR;
    struct pair bad = {UINT32_MAX, UINT32_MAX};

    int code = k->skip_overlaps ? 0 : find_overlap(&bad, i, sectors);
    k->hole = (struct vhd_hole){0};
    for (uint32_t n = 0; n < i->blocks && code == 0; n++) {
        const uint32_t at = i->bat[n];
        if (at == VHD_BAT_FREE)
            continue;
        if (at < headers_end) {
            vhd_classic_say(k->classic, "block %u (offset 0x%x) clobbers headers\n", n, at);
            return -EINVAL;
        }
        if (at + sectors > end && !(k->primary_missing && k->ignore_footer && at + sectors == end + 1)) {
            vhd_classic_say(k->classic, "block %u (offset 0x%x) clobbers footer\n", n, at);
            return -EINVAL;
        }
        if (n == bad.first) {
            vhd_classic_say(k->classic, "block %u (offset 0x%x) clobbers block %u (offset 0x%x)\n", n, at, bad.second,
                            i->bat[bad.second]);
            return -EINVAL;
        }
        if (k->stats)
            k->stats->sectors_allocated += vhd_classic_block_sectors(i);
        if (k->check_data || k->stats)
            code = check_bitmap(k, i, n);
        if (code == 0 && xk_stop_signal())
            code = -EINTR;
    }
    return code;
}

/* Entries behind the disk's last block are for growth and free. */
static int check_spare_entries(struct vhd_classic_check *k, const struct vhd_classic_image *i)
{
    const uint64_t first_sector = (uint64_t)i->blocks * sizeof(uint32_t) / VHD_SECTOR;
    const uint64_t sectors = XK_DIV_UP((uint64_t)i->header.max_entries * sizeof(uint32_t), VHD_SECTOR);
    uint8_t piece[64 * VHD_SECTOR];

    for (uint64_t at = first_sector; at < sectors;) {
        const size_t bytes = (size_t)XK_MIN(sectors - at, UINT64_C(64)) * VHD_SECTOR;
        const int code = vhd_classic_image_read(i, piece, bytes, i->header.table_offset + at * VHD_SECTOR);
        if (code < 0) {
            vhd_classic_say(k->classic, "error reading bat: %d\n", code);
            return code;
        }
        struct xk_reader r = xk_reader(piece, bytes);
        uint64_t n = at * (VHD_SECTOR / sizeof(uint32_t));
        for (; xk_left(&r) > 0 && n < i->header.max_entries; n++) {
            const uint32_t entry = xk_be32(&r);
            if (n >= i->blocks && entry != VHD_BAT_FREE) {
                vhd_classic_say(k->classic, "block %" PRIu64 " (offset 0x%x) lies behind the end of the disk\n", n,
                                entry);
                return -EINVAL;
            }
        }
        at += bytes / VHD_SECTOR;
    }
    return 0;
}

static int prepare_buffers(struct vhd_classic_check *k, const struct vhd_classic_image *i)
{
    free(k->bitmap);
    free(k->data);
    k->bitmap = xk_alloc(vhd_classic_bitmap_bytes(i));
    k->data = xk_alloc(i->header.block_bytes);
    return k->bitmap && k->data ? 0 : -ENOMEM;
}

static int check_bat(struct vhd_classic_check *k, struct vhd_classic_image *i)
{
    struct vhd_classic *c = k->classic;
    uint64_t headers_end, end = i->bytes;

    int code = prepare_buffers(k, i);
    if (code == 0 && k->collect_stats)
        code = vhd_classic_stats_add(k, i);
    if (code < 0)
        return code;
    if (end % VHD_SECTOR == VHD_SHORT_FOOTER_BYTES)
        end++;
    if (end % VHD_SECTOR != 0) {
        vhd_classic_say(c, "invalid file size: 0x%" PRIx64 "\n", end);
        return -EINVAL;
    }
    code = vhd_classic_image_read_bat(i);
    if (code < 0) {
        vhd_classic_say(c, "error reading bat: %d\n", code);
        return code;
    }
    code = vhd_classic_end_of_headers(i, &headers_end);
    if (code < 0) {
        vhd_classic_say(c, "error calculating end of metadata: %d\n", code);
        return code;
    }
    code = check_blocks(k, i, headers_end / VHD_SECTOR, (end - VHD_FOOTER_BYTES) / VHD_SECTOR);
    return code < 0 ? code : check_spare_entries(k, i);
}

/* ---- batmap ---- */

static bool ranges_meet(uint64_t a, uint64_t a_bytes, uint64_t b, uint64_t b_bytes)
{
    return a_bytes > 0 && b_bytes > 0 && (a < b ? b - a < a_bytes : a - b < b_bytes);
}

/* Does a part of the file lie on the footer copy, the header or the BAT? */
static bool meets_tables(const struct vhd_classic_image *i, uint64_t at, uint64_t bytes)
{
    const uint64_t bat_bytes = vhd_classic_batmap_header_offset(i) - i->header.table_offset;
    return ranges_meet(at, bytes, 0, VHD_FOOTER_BYTES) ||
           ranges_meet(at, bytes, i->footer.data_offset, VHD_HEADER_BYTES) ||
           ranges_meet(at, bytes, i->header.table_offset, bat_bytes);
}

static const char *batmap_problem(const struct vhd_classic_image *i)
{
    const struct vhd_batmap *b = &i->batmap;
    const uint64_t bytes = (uint64_t)b->size_sectors * VHD_SECTOR;
    uint64_t end;

    if (bytes == 0)
        return "invalid size zero";
    if (bytes * 8 < i->header.max_entries)
        return "batmap-BAT size mismatch";
    if (b->offset == 0 || b->offset % VHD_SECTOR != 0)
        return "invalid batmap offset";
    if (xk_add(b->offset, bytes, &end) || end > i->bytes - VHD_FOOTER_BYTES)
        return "invalid batmap size";
    if (meets_tables(i, b->offset, bytes) ||
        ranges_meet(b->offset, bytes, vhd_classic_batmap_header_offset(i), VHD_SECTOR))
        return "invalid batmap offset";
    if (b->version < VHD_BATMAP_VERSION_FIRST)
        return "invalid batmap version";
    return NULL;
}

/* Bits behind the disk's last block are for growth and clear, also those that no sum covers yet. */
static int check_spare_bits(struct vhd_classic_check *k, const struct vhd_classic_image *i)
{
    const uint64_t end = XK_DIV_UP((uint64_t)i->header.max_entries, 8);
    uint8_t piece[64 * VHD_SECTOR];
    uint64_t n = i->blocks;
    bool set = false;

    for (; !set && n < (uint64_t)i->map_bytes * 8; n++)
        set = vhd_bit(i->map, n);
    for (uint64_t at = i->map_bytes; !set && at < end; at += sizeof(piece)) {
        const size_t bytes = (size_t)XK_MIN(sizeof(piece), XK_ROUND_UP(end - at, (uint64_t)VHD_SECTOR));
        const int code = vhd_classic_image_read(i, piece, bytes, i->batmap.offset + at);
        if (code < 0) {
            vhd_classic_say(k->classic, "error reading batmap: %d\n", code);
            return code;
        }
        for (n = at * 8; !set && n < (at + bytes) * 8; n++)
            set = vhd_bit(piece, n - at * 8);
    }
    if (!set)
        return 0;
    vhd_classic_say(k->classic, "batmap shows unallocated block %" PRIu64 " full\n", n - 1);
    return -EINVAL;
}

static int check_batmap(struct vhd_classic_check *k, struct vhd_classic_image *i)
{
    const int code = vhd_classic_image_read_batmap(i);
    if (code < 0) {
        vhd_classic_say(k->classic, "error reading batmap: %d\n", code);
        return code;
    }
    const char *problem = batmap_problem(i);
    if (problem) {
        vhd_classic_say(k->classic, "batmap is invalid: %s\n", problem);
        return -EINVAL;
    }
    for (uint32_t n = 0; n < i->blocks; n++) {
        if (i->bat[n] == VHD_BAT_FREE && vhd_classic_batmap_test(i, n)) {
            vhd_classic_say(k->classic, "batmap shows unallocated block %u full\n", n);
            return -EINVAL;
        }
    }
    return check_spare_bits(k, i);
}

/* ---- parent locators ---- */

/* A locator that can be read. */
static bool is_path(uint32_t code)
{
    return code == VHD_LOCATOR_MACX || code == VHD_LOCATOR_W2RU || code == VHD_LOCATOR_W2KU;
}

static bool meets_other_parts(struct vhd_classic_image *i, int n)
{
    const struct vhd_locator *l = &i->header.locators[n];
    const uint64_t bytes = vhd_classic_locator_bytes(l);

    if (meets_tables(i, l->offset, bytes))
        return true;
    if (vhd_classic_has_batmap(i) &&
        (ranges_meet(l->offset, bytes, vhd_classic_batmap_header_offset(i), VHD_SECTOR) ||
         ranges_meet(l->offset, bytes, i->batmap.offset, (uint64_t)i->batmap.size_sectors * VHD_SECTOR)))
        return true;
    for (int m = 0; m < n; m++) {
        const struct vhd_locator *other = &i->header.locators[m];
        if (other->code != VHD_LOCATOR_NONE &&
            ranges_meet(l->offset, bytes, other->offset, vhd_classic_locator_bytes(other)))
            return true;
    }
    return false;
}

static const char *locator_problem(struct vhd_classic_image *i, int n)
{
    const struct vhd_locator *l = &i->header.locators[n];
    const uint64_t bytes = vhd_classic_locator_bytes(l);
    uint64_t end;

    if (l->code == VHD_LOCATOR_NONE)
        return l->space || l->length || l->reserved || l->offset ? "non-zero locator" : NULL;
    if (!l->offset)
        return "invalid data offset";
    if (!l->space)
        return "invalid data space";
    if (!l->length || (!is_path(l->code) && l->length > XK_MAX(bytes, (uint64_t)l->space)))
        return "invalid data length"; /* of a path, reading it says so */
    if (xk_add(l->offset, bytes, &end) || end > i->bytes - VHD_FOOTER_BYTES)
        return "invalid size";
    if (l->reserved)
        return "invalid reserved bits";
    return meets_other_parts(i, n) ? "invalid data offset" : NULL;
}

static const char *parent_problem(struct vhd_classic_check *k, const struct vhd_classic_image *i, const char *path)
{
    struct vhd_classic_image parent;
    const char *problem = NULL;

    if (vhd_classic_raw_parent(i) || k->ignore_parent_uuid)
        return NULL;
    if (vhd_classic_image_open(&parent, k->classic, path, VHD_CLASSIC_READ | VHD_CLASSIC_POISONED) < 0)
        return "error opening parent";
    if (memcmp(i->header.parent_uuid, parent.footer.uuid, sizeof(parent.footer.uuid)) != 0)
        problem = "invalid parent uuid";
    else if (parent.dev == i->dev && parent.ino == i->ino)
        problem = "it is the image itself";
    vhd_classic_image_close(&parent);
    return problem;
}

/* What a locator that can be read leads to. */
static int check_locator_target(struct vhd_classic_check *k, const struct vhd_classic_image *i, int n, const char *name)
{
    const struct vhd_locator *l = &i->header.locators[n];
    xk_autofree char *text = NULL;
    xk_autofree char *location = NULL;
    struct vhd_classic *c = k->classic;

    int code = vhd_classic_locator_text(i, l, &text);
    if (code < 0) {
        vhd_classic_say(c, "error reading parent locator %d: %d\n", n, code);
        return code;
    }
    if (strcmp(name, xk_base_name(text)) != 0) {
        vhd_classic_say(c, "parent locator %d name (%s) does not match header name (%s)\n", n,
                        vhd_classic_clean(c, xk_base_name(text)), vhd_classic_clean(c, name));
        return -EINVAL;
    }
    code = vhd_classic_find_parent(i, text, &location);
    if (code < 0) {
        vhd_classic_say(c, "error resolving %s: %d\n", vhd_classic_clean(c, text), code);
        return code;
    }
    const char *problem = parent_problem(k, i, location);
    if (problem) {
        vhd_classic_say(c, "invalid parent %s: %s\n", vhd_classic_clean(c, location), problem);
        return -EINVAL;
    }
    return 0;
}

static int check_locators(struct vhd_classic_check *k, struct vhd_classic_image *i)
{
    xk_autofree char *name = NULL;
    struct vhd_classic *c = k->classic;
    bool found = false;

    int code = vhd_classic_parent_name(i, &name);
    if (code < 0) {
        vhd_classic_say(c, "error decoding parent name: %d\n", code);
        return code;
    }
    for (int n = 0; n < VHD_LOCATORS; n++) {
        const struct vhd_locator *l = &i->header.locators[n];
        const char *problem = locator_problem(i, n);
        if (problem) {
            vhd_classic_say(c, "invalid parent locator %d: %s\n", n, problem);
            return -EINVAL;
        }
        if (l->code == VHD_LOCATOR_NONE)
            continue;
        for (int m = 0; m < n; m++) {
            if (i->header.locators[m].code != l->code)
                continue;
            vhd_classic_say(c, "duplicate platform code in locator %d: 0x%x\n", n, l->code);
            return -EINVAL;
        }
        if (!is_path(l->code))
            continue;
        code = check_locator_target(k, i, n, name);
        if (code < 0)
            return code;
        found = true;
    }
    if (!found) {
        vhd_classic_say(c, "could not find parent %s\n", vhd_classic_clean(c, name));
        return -EINVAL;
    }
    return 0;
}

/* ---- one image ---- */

static int check_sparse(struct vhd_classic_check *k, const char *name)
{
    struct vhd_classic_image image;

    int code = vhd_classic_image_open(&image, k->classic, name, VHD_CLASSIC_READ | VHD_CLASSIC_POISONED);
    if (code < 0)
        return code;
    const char *problem = differencing_problem(k, &image);
    if (problem) {
        vhd_classic_say(k->classic, "differencing header is invalid: %s\n", problem);
        code = -EINVAL;
    }
    if (code == 0)
        code = check_bat(k, &image);
    if (code == 0 && vhd_classic_has_batmap(&image))
        code = check_batmap(k, &image);
    if (code == 0 && image.footer.type == VHD_DIFFERENCING)
        code = check_locators(k, &image);
    vhd_classic_image_close(&image);
    return code;
}

static int check_parts(struct vhd_classic_check *k, const struct vhd_classic_image *i, const char *name)
{
    uint8_t footer[VHD_FOOTER_BYTES];
    bool fixed;

    int code = check_footers(k, i, footer, &fixed);
    if (code < 0 || fixed)
        return code;
    code = check_header(k, i, footer);
    if (code == 0)
        code = check_sparse(k, name);
    if (code == 0 && !k->collect_stats)
        vhd_classic_say(k->classic, "%s is valid\n", name);
    return code;
}

static void dump_metadata(struct vhd_classic *c, const char *name)
{
    char *const words[] = {(char[]){"read"}, (char[]){"-p"}, (char[]){"-n"}, xk_strdup(name)};
    char *argv[XK_COUNT(words)];

    vhd_classic_say(c, "%s appears invalid; dumping metadata\n", name);
    memcpy(argv, words, sizeof(argv));
    if (words[3])
        (void)vhd_classic_read(c, XK_COUNT(argv), argv);
    free(words[3]);
}

static int check_image(struct vhd_classic_check *k, const char *name)
{
    struct vhd_classic_image i;
    struct stat st;

    if (stat(name, &st) < 0) {
        const int code = -errno;
        vhd_classic_say(k->classic, "cannot stat %s: %d\n", name, -code);
        return code;
    }
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) {
        vhd_classic_say(k->classic, "%s is not a regular file or block device\n", name);
        return -EINVAL;
    }
    int code = vhd_classic_image_open_file(&i, k->classic, name, VHD_CLASSIC_READ);
    if (code < 0) {
        vhd_classic_say(k->classic, "error opening %s\n", name);
        return code;
    }
    code = check_parts(k, &i, name);
    vhd_classic_image_close(&i);
    if (code < 0 && code != -EINTR)
        dump_metadata(k->classic, name);
    return code;
}

/* ---- the chain ---- */

struct place {
    dev_t dev;
    ino_t ino;
};

static int check_parents(struct vhd_classic_check *k, const char *name)
{
    xk_autofree char *current = xk_strdup(name);
    xk_autofree struct place *seen = xk_array_alloc(VHD_CLASSIC_DEPTH_MAX, sizeof(*seen));
    size_t depth = 0;
    int code = current && seen ? 0 : -ENOMEM;

    while (code == 0) {
        struct vhd_classic_image i;
        char *parent = NULL;

        code = vhd_classic_image_open(&i, k->classic, current, VHD_CLASSIC_READ | VHD_CLASSIC_POISONED);
        if (code < 0)
            break;
        if (i.footer.type != VHD_DIFFERENCING || vhd_classic_raw_parent(&i)) {
            vhd_classic_image_close(&i);
            break;
        }
        for (size_t n = 0; n < depth && code == 0; n++)
            code = seen[n].dev == i.dev && seen[n].ino == i.ino ? -ELOOP : 0;
        if (code == 0 && depth == VHD_CLASSIC_DEPTH_MAX)
            code = -ELOOP;
        if (code == 0) {
            seen[depth++] = (struct place){i.dev, i.ino};
            code = vhd_classic_parent(&i, true, &parent);
            if (code < 0)
                vhd_classic_say(k->classic, "error getting parent: %d\n", code);
        }
        vhd_classic_image_close(&i);
        if (code == 0) {
            free(current);
            current = parent;
            code = check_image(k, current);
        }
    }
    if (code < 0 && code != -EINTR)
        vhd_classic_say(k->classic, "error checking parents: %d\n", code);
    return code;
}

static int usage(struct vhd_classic *c, int result)
{
    vhd_classic_say(c, "options: -n <file> [-i ignore missing primary footers] "
                       "[-I ignore parent uuids] [-t ignore timestamps] "
                       "[-B do not check BAT for overlapping (precludes -s, -b)] "
                       "[-p check parents] [-b check bitmaps] [-s stats] [-h help]\n");
    return result;
}

int vhd_classic_check(struct vhd_classic *c, int argc, char **argv)
{
    struct vhd_classic_check k = {.classic = c};
    const char *name = NULL;
    bool parents = false;
    int letter;

    struct vhd_classic_options o = vhd_classic_options(c, argc, argv, "n:iItpbBsh");
    while ((letter = vhd_classic_option(&o)) != -1) {
        switch (letter) {
        case 'n':
            name = o.value;
            break;
        case 'i':
            k.ignore_footer = true;
            break;
        case 'I':
            k.ignore_parent_uuid = true;
            break;
        case 't':
            k.ignore_timestamps = true;
            break;
        case 'p':
            parents = true;
            break;
        case 'b':
            k.check_data = true;
            break;
        case 'B':
            k.skip_overlaps = true;
            break;
        case 's':
            k.collect_stats = true;
            break;
        case 'h':
            return usage(c, 0);
        default:
            return usage(c, -EINVAL);
        }
    }
    if (!name || o.operand_count > 0 || ((k.collect_stats || k.check_data) && k.skip_overlaps))
        return usage(c, -EINVAL);

    int code = check_image(&k, name);
    if (code == 0) {
        if (parents)
            code = check_parents(&k, name);
        vhd_classic_stats_print(&k);
    }
    vhd_classic_stats_done(&k);
    free(k.bitmap);
    free(k.data);
    return code;
}
