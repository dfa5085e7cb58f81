/*
 * Each kind is a row whose function changes one thing in an open, sound image.
 * Checksums are renewed unless a wrong one is the damage, so that each kind is found by the rule it is meant for.
 */
#include "lib/vhd/damage.h"

#include "core/text.h"
#include "lib/vhd/image.h"
#include "lib/vhd/locator.h"

#include <endian.h>
#include <string.h>

#define FAR_FUTURE UINT32_MAX /* the year 2136 as a time stamp */

static int unsuitable(const struct vhd *v, const char *needs, struct xk_err *err)
{
    return xk_fail(err, -ENOTSUP, "%s: this damage needs %s", v->path, needs);
}

/* ---- writing parts ---- */

static int write_end_footer(const struct vhd *v, const struct vhd_footer *f, struct xk_err *err)
{
    uint8_t sector[VHD_FOOTER_BYTES];
    vhd_footer_encode(sector, f);
    return xk_file_write(&v->file, sector, v->short_footer ? VHD_SHORT_FOOTER_BYTES : sizeof(sector), v->end_offset,
                         err);
}

static int write_footer_copy(const struct vhd *v, const struct vhd_footer *f, struct xk_err *err)
{
    uint8_t sector[VHD_FOOTER_BYTES];
    vhd_footer_encode(sector, f);
    return xk_file_write(&v->file, sector, sizeof(sector), 0, err);
}

static int write_footers(const struct vhd *v, const struct vhd_footer *f, struct xk_err *err)
{
    const int code = vhd_is_sparse(v) ? write_footer_copy(v, f, err) : 0;
    return code < 0 ? code : write_end_footer(v, f, err);
}

static int write_header(const struct vhd *v, const struct vhd_header *h, struct xk_err *err)
{
    uint8_t bytes[VHD_HEADER_BYTES];
    vhd_header_encode(bytes, h);
    return xk_file_write(&v->file, bytes, sizeof(bytes), v->footer.data_offset, err);
}

static int write_entry(const struct vhd *v, uint32_t block, uint64_t sector, struct xk_err *err)
{
    const uint32_t entry = htobe32((uint32_t)sector);
    return xk_file_write(&v->file, &entry, sizeof(entry), v->header.table_offset + (uint64_t)block * sizeof(entry),
                         err);
}

/* The batmap with block's bit set or cleared, and a checksum that fits. */
static int write_batmap_bit(const struct vhd *v, uint32_t block, bool full, struct xk_err *err)
{
    struct vhd_batmap m = v->batmap;
    uint8_t sector[VHD_SECTOR];
    const uint64_t needs = XK_ROUND_UP(v->footer.current_bytes / VHD_BLOCK_BYTES / 8, (uint64_t)VHD_SECTOR);
    const uint64_t summed = XK_MAX(needs, (uint64_t)VHD_SECTOR);

    v->batmap_bits[block / 8] &= (uint8_t) ~(0x80u >> block % 8);
    if (full)
        vhd_bit_set(v->batmap_bits, block);
    m.checksum = vhd_batmap_checksum(m.version, v->batmap_bits, (size_t)summed);
    vhd_batmap_encode(sector, &m);
    const int code = xk_file_write(&v->file, v->batmap_bits, v->batmap_bytes, m.offset, err);
    return code < 0 ? code : xk_file_write(&v->file, sector, sizeof(sector), v->batmap_header_offset, err);
}

/* Put the footer elsewhere, which makes the file longer or shorter. */
static int move_footer(const struct vhd *v, uint64_t to, struct xk_err *err)
{
    uint8_t sector[VHD_FOOTER_BYTES];
    vhd_footer_encode(sector, &v->footer);
    const int code = xk_file_write(&v->file, sector, sizeof(sector), to, err);
    return code < 0 ? code : xk_file_truncate(&v->file, to + sizeof(sector), err);
}

static int flip_byte(const struct vhd *v, uint64_t at, uint8_t bits, struct xk_err *err)
{
    uint8_t byte;
    const int code = xk_file_read(&v->file, &byte, 1, at, err);
    if (code < 0)
        return code;
    byte ^= bits;
    return xk_file_write(&v->file, &byte, 1, at, err);
}

/* ---- finding places ---- */

static int find_free(const struct vhd *v, uint32_t *ret_block, struct xk_err *err)
{
    for (uint32_t b = 0; b < v->blocks; b++) {
        if (v->bat[b] == VHD_BAT_FREE) {
            *ret_block = b;
            return 0;
        }
    }
    return unsuitable(v, "a block that is not allocated", err);
}

/* The allocated block that lies last in the file. */
static int find_last(const struct vhd *v, uint32_t *ret_block, struct xk_err *err)
{
    bool found = false;
    for (uint32_t b = 0; b < v->blocks; b++) {
        if (v->bat[b] == VHD_BAT_FREE || (found && v->bat[b] < v->bat[*ret_block]))
            continue;
        *ret_block = b;
        found = true;
    }
    return found ? 0 : unsuitable(v, "an allocated block", err);
}

static uint64_t data_at(const struct vhd *v, uint32_t block)
{
    return ((uint64_t)v->bat[block] + vhd_bitmap_sectors(v)) * VHD_SECTOR;
}

/* A sector that is present (or absent) in its block; the bitmap's first byte with such a bit decides. */
static int find_sector(const struct vhd *v, bool present, uint32_t *ret_block, uint32_t *ret_sector, struct xk_err *err)
{
    xk_autofree uint8_t *bitmap = xk_alloc((size_t)vhd_bitmap_sectors(v) * VHD_SECTOR);
    uint8_t data[VHD_SECTOR];

    if (!bitmap)
        return xk_fail_memory(err);
    for (uint32_t b = 0; b < v->blocks; b++) {
        if (v->bat[b] == VHD_BAT_FREE)
            continue;
        int code = vhd_read_bitmap(v, b, bitmap, err);
        if (code < 0)
            return code;
        for (uint32_t s = 0; s < vhd_sectors_per_block(v); s++) {
            if (vhd_bit(bitmap, s) != present)
                continue;
            if (present) {
                code = xk_file_read(&v->file, data, sizeof(data), data_at(v, b) + (uint64_t)s * VHD_SECTOR, err);
                if (code < 0)
                    return code;
                if (data[0] == 0 && memcmp(data, data + 1, sizeof(data) - 1) == 0)
                    continue;
            }
            *ret_block = b;
            *ret_sector = s;
            return 0;
        }
    }
    return unsuitable(v, present ? "a block with data" : "a block that is not full", err);
}

/* ---- footers ---- */

static int footer(struct vhd *v, struct xk_err *err)
{
    const uint8_t zeros[VHD_FOOTER_BYTES] = {0};
    return xk_file_write(&v->file, zeros, (size_t)(v->file_bytes - v->end_offset), v->end_offset, err);
}

static int footer_cookie(struct vhd *v, struct xk_err *err)
{
    return flip_byte(v, v->end_offset, 0x20, err);
}

static int footer_bit(struct vhd *v, struct xk_err *err)
{
    return flip_byte(v, v->end_offset + 200, 0x01, err);
}

static int footer_copy(struct vhd *v, struct xk_err *err)
{
    const uint8_t zeros[VHD_FOOTER_BYTES] = {0};
    return xk_file_write(&v->file, zeros, sizeof(zeros), 0, err);
}

static int copy_cookie(struct vhd *v, struct xk_err *err)
{
    return flip_byte(v, 0, 0x20, err);
}

static int footers_differ(struct vhd *v, struct xk_err *err)
{
    struct vhd_footer f = v->footer;
    f.timestamp ^= 1;
    return write_footer_copy(v, &f, err);
}

static int footer_field(struct vhd *v, struct xk_err *err)
{
    struct vhd_footer f = v->footer;
    f.saved = 7;
    return write_footers(v, &f, err);
}

static int null_uuid(struct vhd *v, struct xk_err *err)
{
    struct vhd_footer f = v->footer;
    memset(f.uuid, 0, sizeof(f.uuid));
    return write_footers(v, &f, err);
}

static int short_footer(struct vhd *v, struct xk_err *err)
{
    if (v->short_footer)
        return unsuitable(v, "a footer of 512 bytes", err);
    return xk_file_truncate(&v->file, v->end_offset + VHD_SHORT_FOOTER_BYTES, err);
}

static int poisoned(struct vhd *v, struct xk_err *err)
{
    struct vhd_footer f = v->footer;
    memcpy(f.cookie, VHD_COOKIE_POISON, sizeof(f.cookie));
    return write_footers(v, &f, err);
}

static int not_vhd(struct vhd *v, struct xk_err *err)
{
    const int code = vhd_is_sparse(v) ? footer_copy(v, err) : 0;
    return code < 0 ? code : footer(v, err);
}

static int geometry(struct vhd *v, struct xk_err *err)
{
    struct vhd_footer f = v->footer;
    if (f.geometry.cylinders < 0x7fff)
        f.geometry.cylinders = (uint16_t)(f.geometry.cylinders * 2 + 16);
    else
        f.geometry.heads /= 2;
    return write_footers(v, &f, err);
}

static int size_beyond(struct vhd *v, struct xk_err *err)
{
    struct vhd_footer f = v->footer;
    f.current_bytes = f.type == VHD_FIXED ? v->end_offset + XK_MIB : 3 * XK_TIB;
    f.geometry = vhd_geometry_of(f.current_bytes / VHD_SECTOR);
    return write_footers(v, &f, err);
}

static int hidden_leaf(struct vhd *v, struct xk_err *err)
{
    struct vhd_footer f = v->footer;
    f.hidden = 1;
    return write_footers(v, &f, err);
}

/* ---- header and table ---- */

static int header(struct vhd *v, struct xk_err *err)
{
    return flip_byte(v, v->footer.data_offset + 900, 0x40, err);
}

static int header_cookie(struct vhd *v, struct xk_err *err)
{
    return flip_byte(v, v->footer.data_offset, 0x20, err);
}

static int header_field(struct vhd *v, struct xk_err *err)
{
    struct vhd_header h = v->header;
    h.parent_timestamp = FAR_FUTURE;
    return write_header(v, &h, err);
}

static int bat_outside(struct vhd *v, struct xk_err *err)
{
    struct vhd_header h = v->header;
    h.table_offset = XK_ROUND_UP(v->file_bytes + XK_MIB, (uint64_t)VHD_SECTOR);
    return write_header(v, &h, err);
}

static int bat_short(struct vhd *v, struct xk_err *err)
{
    struct vhd_footer f = v->footer;
    f.current_bytes = ((uint64_t)v->header.max_entries + 1) * v->header.block_bytes;
    f.geometry = vhd_geometry_of(f.current_bytes / VHD_SECTOR);
    return write_footers(v, &f, err);
}

static int bat_past_end(struct vhd *v, struct xk_err *err)
{
    uint32_t block = 0;
    const int code = find_free(v, &block, err);
    return code < 0 ? code
                    : write_entry(v, block, XK_MIN(v->file_bytes / VHD_SECTOR + 8, (uint64_t)VHD_BAT_FREE - 1), err);
}

static int bat_overlap(struct vhd *v, struct xk_err *err)
{
    uint32_t block = 0, used = 0;
    int code = find_free(v, &block, err);
    if (code == 0)
        code = find_last(v, &used, err);
    return code < 0 ? code : write_entry(v, block, v->bat[used], err);
}

static int bat_metadata(struct vhd *v, struct xk_err *err)
{
    uint32_t used = 0;
    const int code = find_last(v, &used, err);
    return code < 0 ? code : write_entry(v, used, v->footer.data_offset / VHD_SECTOR, err);
}

static int truncated(struct vhd *v, struct xk_err *err)
{
    uint32_t last = 0;
    const int code = find_last(v, &last, err);
    return code < 0 ? code : xk_file_truncate(&v->file, data_at(v, last) + v->header.block_bytes / 2 - 1, err);
}

static int trailing(struct vhd *v, struct xk_err *err)
{
    uint8_t garbage[16 * 1024];
    memset(garbage, 0x5a, sizeof(garbage));
    const int code = xk_file_write(&v->file, garbage, sizeof(garbage), v->end_offset, err);
    return code < 0 ? code : move_footer(v, v->end_offset + sizeof(garbage), err);
}

/* The block that lies last moves up by a sector. */
static int misaligned(struct vhd *v, struct xk_err *err)
{
    uint32_t last = 0;
    int code = find_last(v, &last, err);
    if (code < 0)
        return code;
    const size_t bytes = v->header.block_bytes + (size_t)vhd_bitmap_sectors(v) * VHD_SECTOR;
    const uint64_t from = (uint64_t)v->bat[last] * VHD_SECTOR;
    xk_autofree uint8_t *block = xk_alloc(bytes);
    if (!block)
        return xk_fail_memory(err);
    if (data_at(v, last) % VHD_PAGE)
        return unsuitable(v, "blocks on pages", err);
    code = xk_file_read(&v->file, block, bytes, from, err);
    if (code == 0)
        code = xk_file_write(&v->file, block, bytes, from + VHD_SECTOR, err);
    if (code == 0)
        code = write_entry(v, last, v->bat[last] + 1, err);
    return code < 0 ? code : move_footer(v, from + VHD_SECTOR + bytes, err);
}

/* ---- batmap and bitmaps ---- */

static int batmap(struct vhd *v, struct xk_err *err)
{
    if (v->batmap_state != VHD_GOOD)
        return unsuitable(v, "a batmap", err);
    return flip_byte(v, v->batmap.offset, 0x80, err);
}

static int batmap_free(struct vhd *v, struct xk_err *err)
{
    uint32_t block = 0;
    if (v->batmap_state != VHD_GOOD)
        return unsuitable(v, "a batmap", err);
    const int code = find_free(v, &block, err);
    return code < 0 ? code : write_batmap_bit(v, block, true, err);
}

static int batmap_full(struct vhd *v, struct xk_err *err)
{
    uint32_t block = 0, sector = 0;
    if (v->batmap_state != VHD_GOOD)
        return unsuitable(v, "a batmap", err);
    const int code = find_sector(v, false, &block, &sector, err);
    return code < 0 ? code : write_batmap_bit(v, block, true, err);
}

static int bitmap(struct vhd *v, struct xk_err *err)
{
    uint32_t block = 0, sector = 0;
    int code = find_sector(v, true, &block, &sector, err);
    if (code == 0 && v->batmap_state == VHD_GOOD && vhd_bit(v->batmap_bits, block))
        code = write_batmap_bit(v, block, false, err);
    return code < 0
               ? code
               : flip_byte(v, (uint64_t)v->bat[block] * VHD_SECTOR + sector / 8, (uint8_t)(0x80u >> sector % 8), err);
}

static int stray_data(struct vhd *v, struct xk_err *err)
{
    uint32_t block = 0, sector = 0;
    const int code = find_sector(v, false, &block, &sector, err);
    return code < 0 ? code : flip_byte(v, data_at(v, block) + (uint64_t)sector * VHD_SECTOR + 100, 0xa5, err);
}

/* ---- parents ---- */

static int need_child(const struct vhd *v, struct xk_err *err)
{
    return v->footer.type == VHD_DIFFERENCING ? 0 : unsuitable(v, "a differencing image", err);
}

static int locator(struct vhd *v, struct xk_err *err)
{
    struct vhd_header h = v->header;
    const int code = need_child(v, err);
    if (code < 0)
        return code;
    if (h.locators[0].code == VHD_LOCATOR_NONE)
        return unsuitable(v, "a parent locator", err);
    h.locators[0].offset = v->file_bytes + XK_MIB;
    return write_header(v, &h, err);
}

/* Half of a surrogate pair in a Windows path. */
static int locator_text(struct vhd *v, struct xk_err *err)
{
    const uint8_t half[2] = {0x00, 0xd8};
    const int code = need_child(v, err);
    if (code < 0)
        return code;
    for (int i = 0; i < VHD_LOCATORS; i++) {
        const struct vhd_locator *const l = &v->header.locators[i];
        if ((l->code == VHD_LOCATOR_W2KU || l->code == VHD_LOCATOR_W2RU) && l->length >= 4)
            return xk_file_write(&v->file, half, sizeof(half), l->offset + l->length - sizeof(half), err);
    }
    return unsuitable(v, "a Windows parent locator", err);
}

static int write_locator(const struct vhd *v, struct vhd_header *h, int n, const struct xk_buf *text,
                         struct xk_err *err)
{
    struct vhd_locator *const l = &h->locators[n];
    if (text->len > vhd_locator_space(l))
        return xk_fail(err, -ENAMETOOLONG, "%s: locator %d has no room for %zu bytes", v->path, n, text->len);
    l->length = (uint32_t)text->len;
    return xk_file_write(&v->file, text->data, text->len, l->offset, err);
}

/* Make locators and name say another path. */
static int point_to(const struct vhd *v, struct vhd_header *h, const char *parent, struct xk_err *err)
{
    xk_autofree char *real = realpath(v->path, NULL);
    xk_autofree char *dir = real ? xk_dir_name(real) : NULL;
    xk_auto(vhd_locator_texts_done) struct vhd_locator_texts texts = {0};
    xk_auto(xk_buf_done) struct xk_buf name = XK_BUF_INIT(sizeof(h->parent_name));

    if (!dir)
        return xk_fail_memory(err);
    int code = vhd_locator_texts_make(&texts, dir, parent, err);
    for (int i = 0; i < VHD_LOCATORS && code == 0; i++) {
        if (h->locators[i].code == VHD_LOCATOR_MACX)
            code = write_locator(v, h, i, &texts.macx, err);
        else if (h->locators[i].code == VHD_LOCATOR_W2KU)
            code = write_locator(v, h, i, &texts.w2ku, err);
        else if (h->locators[i].code == VHD_LOCATOR_W2RU)
            code = write_locator(v, h, i, &texts.w2ru, err);
        else if (h->locators[i].code != VHD_LOCATOR_NONE)
            return unsuitable(v, "the locators that XenServer writes", err);
    }
    if (code < 0)
        return code;
    if (xk_utf8_to_utf16(&name, xk_base_name(parent), true) < 0 || name.error)
        return xk_fail(err, -ENAMETOOLONG, "%s: '%s' does not fit the header", v->path, xk_base_name(parent));
    memset(h->parent_name, 0, sizeof(h->parent_name));
    memcpy(h->parent_name, name.data, name.len);
    return write_header(v, h, err);
}

static int parent_missing(struct vhd *v, struct xk_err *err)
{
    struct vhd_header h = v->header;
    xk_autofree char *parent = NULL;
    const int code = vhd_find_parent(&parent, v, NULL, err);
    if (code < 0)
        return code;
    xk_autofree char *dir = xk_dir_name(parent);
    xk_autofree char *gone = dir ? xk_path_join(dir, "no-such-parent.vhd") : NULL;
    return gone ? point_to(v, &h, gone, err) : xk_fail_memory(err);
}

static int parent_uuid(struct vhd *v, struct xk_err *err)
{
    struct vhd_header h = v->header;
    const int code = need_child(v, err);
    h.parent_uuid[0] ^= 0xff;
    return code < 0 ? code : write_header(v, &h, err);
}

static int parent_loop(struct vhd *v, struct xk_err *err)
{
    struct vhd_header h = v->header;
    xk_autofree char *self = realpath(v->path, NULL);
    const int code = need_child(v, err);
    if (code < 0)
        return code;
    if (!self)
        return xk_fail_memory(err);
    memcpy(h.parent_uuid, v->footer.uuid, sizeof(h.parent_uuid));
    return point_to(v, &h, self, err);
}

static int parent_touched(struct vhd *v, struct xk_err *err)
{
    struct vhd_header h = v->header;
    const int code = need_child(v, err);
    if (code < 0)
        return code;
    h.parent_timestamp -= XK_MIN(h.parent_timestamp - 1, UINT32_C(7) * 86400);
    return write_header(v, &h, err);
}

static int parent_size(struct vhd *v, struct xk_err *err)
{
    struct vhd_footer f = v->footer;
    const int code = need_child(v, err);
    if (code < 0)
        return code;
    if (f.current_bytes <= v->header.block_bytes)
        return unsuitable(v, "a disk of two blocks", err);
    f.current_bytes -= v->header.block_bytes;
    f.geometry = vhd_geometry_of(f.current_bytes / VHD_SECTOR);
    return write_footers(v, &f, err);
}

static int duplicate_uuid(struct vhd *v, struct xk_err *err)
{
    struct vhd_footer f = v->footer;
    xk_autofree char *path = NULL;
    struct vhd parent;

    int code = vhd_find_parent(&path, v, NULL, err);
    if (code == 0)
        code = vhd_open(&parent, v->file.fs, path, VHD_NO_TABLES, err);
    if (code < 0)
        return code;
    memcpy(f.uuid, parent.footer.uuid, sizeof(f.uuid));
    vhd_close(&parent);
    return write_footers(v, &f, err);
}

/* ---- the table ---- */

const struct vhd_damage_kind vhd_damage_kinds[] = {
    {"footer", "the footer at the end is overwritten with zeros", "vhd.footer", VHD_DAMAGE_SPARSE, footer},
    {"footer-cookie", "the footer begins with 'Conectix' instead of 'conectix'", "vhd.footer", VHD_DAMAGE_SPARSE,
     footer_cookie},
    {"footer-bit", "one bit in the footer's reserved bytes is flipped", "vhd.footer", VHD_DAMAGE_ANY, footer_bit},
    {"footer-copy", "the copy of the footer is overwritten with zeros", "vhd.footer-copy", VHD_DAMAGE_SPARSE,
     footer_copy},
    {"copy-cookie", "the footer's copy begins with 'Conectix'", "vhd.footer-copy", VHD_DAMAGE_SPARSE, copy_cookie},
    {"footers-differ", "the footer's copy has another creation time", "vhd.footers-differ", VHD_DAMAGE_SPARSE,
     footers_differ},
    {"footer-field", "the saved-state flag is 7", "vhd.footer-field", VHD_DAMAGE_ANY, footer_field},
    {"null-uuid", "the UUID is all zeros", "vhd.footer-field", VHD_DAMAGE_ANY, null_uuid},
    {"short-footer", "the file's last byte is cut off", "vhd.short-footer", VHD_DAMAGE_ANY, short_footer},
    {"poisoned", "the footers say that a resize did not finish", "vhd.poisoned", VHD_DAMAGE_SPARSE, poisoned},
    {"not-vhd", "footer and copy are overwritten with zeros", "vhd.not-vhd", VHD_DAMAGE_ANY, not_vhd},
    {"geometry", "the geometry is twice as large as the disk", "vhd.geometry", VHD_DAMAGE_ANY, geometry},
    {"size-beyond", "the disk is larger than the format (or the fixed file) allows", "vhd.size", VHD_DAMAGE_ANY,
     size_beyond},
    {"hidden-leaf", "an image that no other is based on is hidden", "vhd.hidden-leaf", VHD_DAMAGE_SPARSE, hidden_leaf},
    {"header", "one bit in the header's reserved bytes is flipped", "vhd.header", VHD_DAMAGE_SPARSE, header},
    {"header-cookie", "the header begins with 'Cxsparse'", "vhd.header", VHD_DAMAGE_SPARSE, header_cookie},
    {"header-field", "the parent's time stamp lies in the year 2136", "vhd.header-field", VHD_DAMAGE_SPARSE,
     header_field},
    {"bat-outside", "the block table lies past the end of the file", "vhd.bat-outside", VHD_DAMAGE_SPARSE, bat_outside},
    {"bat-short", "the disk has one block more than the table has entries", "vhd.bat-short", VHD_DAMAGE_SPARSE,
     bat_short},
    {"bat-past-end", "a block lies past the end of the file", "vhd.bat-past-end", VHD_DAMAGE_SPARSE, bat_past_end},
    {"bat-overlap", "two blocks have the same place", "vhd.bat-overlap", VHD_DAMAGE_DATA, bat_overlap},
    {"bat-metadata", "a block lies on the header", "vhd.bat-overlap", VHD_DAMAGE_DATA, bat_metadata},
    {"truncated", "the file is cut off in the middle of its last block", "vhd.bat-past-end", VHD_DAMAGE_DATA,
     truncated},
    {"trailing", "16 KiB of garbage before the footer", "vhd.trailing", VHD_DAMAGE_SPARSE, trailing},
    {"misaligned", "the last block is moved up by a sector", "vhd.misaligned", VHD_DAMAGE_DATA, misaligned},
    {"batmap", "a bit of the batmap is flipped, its checksum stays", "vhd.batmap", VHD_DAMAGE_BATMAP, batmap},
    {"batmap-free", "the batmap calls a block full that is not there", "vhd.batmap", VHD_DAMAGE_BATMAP, batmap_free},
    {"batmap-full", "the batmap calls a block full that has gaps", "vhd.batmap", VHD_DAMAGE_DATA, batmap_full},
    {"bitmap", "a bitmap has lost the bit of a sector that holds data", "vhd.bitmap-data", VHD_DAMAGE_DATA, bitmap},
    {"stray-data", "a sector that its bitmap calls absent holds data", "vhd.bitmap-data", VHD_DAMAGE_DATA, stray_data},
    {"locator", "a parent locator lies past the end of the file", "vhd.locator", VHD_DAMAGE_CHILD, locator},
    {"locator-text", "a parent locator's text is not UTF-16", "vhd.locator", VHD_DAMAGE_CHILD, locator_text},
    {"parent-missing", "the image names a parent that is not there", "vhd.parent-missing", VHD_DAMAGE_CHILD,
     parent_missing},
    {"parent-uuid", "the image names another UUID than its parent has", "vhd.parent-changed", VHD_DAMAGE_CHILD,
     parent_uuid},
    {"parent-loop", "the image names itself as its parent", "vhd.parent-loop", VHD_DAMAGE_CHILD, parent_loop},
    {"parent-touched", "the snapshot is a week older than its parent", "vhd.parent-touched", VHD_DAMAGE_CHILD,
     parent_touched},
    {"parent-size", "the disk is smaller than its parent's", "vhd.parent-size", VHD_DAMAGE_CHILD, parent_size},
    {"duplicate-uuid", "the image has the UUID of its parent", "vhd.duplicate-uuid", VHD_DAMAGE_CHILD, duplicate_uuid},
    {NULL},
};

const struct vhd_damage_kind *vhd_damage_find(const char *name)
{
    for (const struct vhd_damage_kind *k = vhd_damage_kinds; k->name; k++) {
        if (strcmp(k->name, name) == 0)
            return k;
    }
    return NULL;
}

int vhd_damage_apply(const struct vhd_damage_kind *kind, const struct xk_fs *fs, const char *path, struct xk_err *err)
{
    struct vhd v;

    int code = vhd_open(&v, fs, path, VHD_WRITE, err);
    if (code < 0)
        return code;
    if (kind->on != VHD_DAMAGE_ANY && !vhd_is_sparse(&v))
        code = unsuitable(&v, "a dynamic or differencing image", err);
    else
        code = kind->change(&v, err);
    if (code == 0)
        code = xk_file_sync(&v.file, err);
    vhd_close(&v);
    return code;
}
