/*
 * Straight translation between bytes and structures, one field after the other, through the sticky reader and writer.
 * The alternative, packed structs over the buffer, saves a hundred lines and brings alignment and aliasing back.
 */
#include "lib/vhd/format.h"

#include <stdio.h>
#include <string.h>

const char *vhd_type_name(uint32_t type)
{
    switch (type) {
    case VHD_FIXED:
        return "fixed";
    case VHD_DYNAMIC:
        return "dynamic";
    case VHD_DIFFERENCING:
        return "differencing";
    default:
        return "unknown";
    }
}

struct vhd_geometry vhd_geometry_of(uint64_t sectors)
{
    const uint32_t most = 65535u * 16 * 255;
    const uint32_t total = sectors > most ? most : (uint32_t)sectors;
    uint32_t per_track, heads, tracks;

    if (total >= 65535u * 16 * 63) {
        per_track = 255;
        heads = 16;
        tracks = total / per_track;
    } else {
        per_track = 17;
        tracks = total / per_track;
        heads = XK_MAX((tracks + 1023) / 1024, 4u);
        if (tracks >= heads * 1024 || heads > 16) {
            per_track = 31;
            heads = 16;
            tracks = total / per_track;
        }
        if (tracks >= heads * 1024) {
            per_track = 63;
            heads = 16;
            tracks = total / per_track;
        }
    }
    return (struct vhd_geometry){
        .cylinders = (uint16_t)(tracks / heads), .heads = (uint8_t)heads, .sectors = (uint8_t)per_track};
}

uint64_t vhd_geometry_sectors(struct vhd_geometry g)
{
    return (uint64_t)g.cylinders * g.heads * g.sectors;
}

bool vhd_bits_full(const uint8_t *map, uint64_t count)
{
    const uint8_t rest = (uint8_t)(0xff00u >> (count % 8));

    for (uint64_t i = 0; i < count / 8; i++) {
        if (map[i] != 0xff)
            return false;
    }
    return count % 8 == 0 || (map[count / 8] & rest) == rest;
}

uint32_t vhd_checksum(const uint8_t *bytes, size_t count)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += bytes[i];
    return ~sum;
}

/* The checksum of a structure counts its own field as zeros. */
static uint32_t checksum_without(const uint8_t *bytes, size_t count, size_t field)
{
    uint32_t sum = ~vhd_checksum(bytes, count);
    for (size_t i = field; i < field + 4; i++)
        sum -= bytes[i];
    return ~sum;
}

#define FOOTER_CHECKSUM_AT 64
#define FOOTER_HIDDEN_AT   85
#define HEADER_CHECKSUM_AT 36

int64_t vhd_unix_time(uint32_t timestamp)
{
    return (int64_t)timestamp + VHD_EPOCH;
}

uint32_t vhd_timestamp(int64_t unix_seconds)
{
    if (unix_seconds < VHD_EPOCH)
        return 0;
    if (unix_seconds - VHD_EPOCH > (int64_t)UINT32_MAX)
        return UINT32_MAX;
    return (uint32_t)(unix_seconds - VHD_EPOCH);
}

static bool written_by_old_tapdisk(const struct vhd_footer *f)
{
    return memcmp(f->creator, "tap", 3) == 0 && (f->creator_version == 0x00000001 || f->creator_version == 0x00010001);
}

void vhd_footer_decode(struct vhd_footer *ret, const uint8_t sector[VHD_FOOTER_BYTES])
{
    struct xk_reader r = xk_reader(sector, VHD_FOOTER_BYTES);

    xk_take_bytes(&r, ret->cookie, sizeof(ret->cookie));
    ret->features = xk_be32(&r);
    ret->version = xk_be32(&r);
    ret->data_offset = xk_be64(&r);
    ret->timestamp = xk_be32(&r);
    xk_take_bytes(&r, ret->creator, sizeof(ret->creator));
    ret->creator_version = xk_be32(&r);
    ret->creator_os = xk_be32(&r);
    ret->original_bytes = xk_be64(&r);
    ret->current_bytes = xk_be64(&r);
    ret->geometry.cylinders = xk_be16(&r);
    ret->geometry.heads = xk_u8(&r);
    ret->geometry.sectors = xk_u8(&r);
    ret->type = xk_be32(&r);
    ret->checksum = xk_be32(&r);
    xk_take_bytes(&r, ret->uuid, sizeof(ret->uuid));
    ret->saved = xk_u8(&r);
    ret->hidden = xk_u8(&r);

    ret->checksum_computed = checksum_without(sector, VHD_FOOTER_BYTES, FOOTER_CHECKSUM_AT);
    /* The first XenServer releases hid an image without renewing its checksum. */
    if (ret->checksum != ret->checksum_computed && ret->hidden && written_by_old_tapdisk(ret) &&
        ret->checksum == ret->checksum_computed + ret->hidden)
        ret->checksum_computed = ret->checksum;
}

void vhd_footer_encode(uint8_t ret_sector[VHD_FOOTER_BYTES], const struct vhd_footer *f)
{
    struct xk_writer w = xk_writer(ret_sector, VHD_FOOTER_BYTES);

    xk_write_raw(&w, f->cookie, sizeof(f->cookie));
    xk_write_be32(&w, f->features);
    xk_write_be32(&w, f->version);
    xk_write_be64(&w, f->data_offset);
    xk_write_be32(&w, f->timestamp);
    xk_write_raw(&w, f->creator, sizeof(f->creator));
    xk_write_be32(&w, f->creator_version);
    xk_write_be32(&w, f->creator_os);
    xk_write_be64(&w, f->original_bytes);
    xk_write_be64(&w, f->current_bytes);
    xk_write_be16(&w, f->geometry.cylinders);
    xk_write_u8(&w, f->geometry.heads);
    xk_write_u8(&w, f->geometry.sectors);
    xk_write_be32(&w, f->type);
    xk_write_be32(&w, 0);
    xk_write_raw(&w, f->uuid, sizeof(f->uuid));
    xk_write_u8(&w, f->saved);
    xk_write_u8(&w, f->hidden);
    xk_write_zeros(&w, VHD_FOOTER_BYTES - w.at);

    struct xk_writer sum = xk_writer(ret_sector + FOOTER_CHECKSUM_AT, 4);
    xk_write_be32(&sum, vhd_checksum(ret_sector, VHD_FOOTER_BYTES));
}

const char *vhd_footer_problem(const struct vhd_footer *f, char *buf, size_t bytes)
{
    if (memcmp(f->cookie, VHD_COOKIE, 8) != 0 && memcmp(f->cookie, VHD_COOKIE_POISON, 8) != 0)
        return "it does not begin with 'conectix'";
    if (f->checksum != f->checksum_computed) {
        snprintf(buf, bytes, "checksum is %08x, computed %08x", f->checksum, f->checksum_computed);
        return buf;
    }
    if (f->version >> 16 != 1) {
        snprintf(buf, bytes, "format version is %u.%u, only 1.x is known", f->version >> 16, f->version & 0xffff);
        return buf;
    }
    if (f->type != VHD_FIXED && f->type != VHD_DYNAMIC && f->type != VHD_DIFFERENCING) {
        snprintf(buf, bytes, "disk type is %u, not 2, 3 or 4", f->type);
        return buf;
    }
    return NULL;
}

uint64_t vhd_locator_space(const struct vhd_locator *l)
{
    return l->space < VHD_SECTOR ? (uint64_t)l->space * VHD_SECTOR : l->space;
}

const char *vhd_locator_code_name(uint32_t code)
{
    switch (code) {
    case VHD_LOCATOR_NONE:
        return "none";
    case VHD_LOCATOR_WI2R:
        return "Wi2r";
    case VHD_LOCATOR_WI2K:
        return "Wi2k";
    case VHD_LOCATOR_W2RU:
        return "W2ru";
    case VHD_LOCATOR_W2KU:
        return "W2ku";
    case VHD_LOCATOR_MAC:
        return "Mac ";
    case VHD_LOCATOR_MACX:
        return "MacX";
    default:
        return "unknown";
    }
}

void vhd_header_decode(struct vhd_header *ret, const uint8_t bytes[VHD_HEADER_BYTES])
{
    struct xk_reader r = xk_reader(bytes, VHD_HEADER_BYTES);

    xk_take_bytes(&r, ret->cookie, sizeof(ret->cookie));
    ret->data_offset = xk_be64(&r);
    ret->table_offset = xk_be64(&r);
    ret->version = xk_be32(&r);
    ret->max_entries = xk_be32(&r);
    ret->block_bytes = xk_be32(&r);
    ret->checksum = xk_be32(&r);
    xk_take_bytes(&r, ret->parent_uuid, sizeof(ret->parent_uuid));
    ret->parent_timestamp = xk_be32(&r);
    ret->reserved = xk_be32(&r);
    xk_take_bytes(&r, ret->parent_name, sizeof(ret->parent_name));
    for (int i = 0; i < VHD_LOCATORS; i++) {
        struct vhd_locator *l = &ret->locators[i];
        l->code = xk_be32(&r);
        l->space = xk_be32(&r);
        l->length = xk_be32(&r);
        l->reserved = xk_be32(&r);
        l->offset = xk_be64(&r);
    }
    ret->checksum_computed = checksum_without(bytes, VHD_HEADER_BYTES, HEADER_CHECKSUM_AT);
}

void vhd_header_encode(uint8_t ret_bytes[VHD_HEADER_BYTES], const struct vhd_header *h)
{
    struct xk_writer w = xk_writer(ret_bytes, VHD_HEADER_BYTES);

    xk_write_raw(&w, h->cookie, sizeof(h->cookie));
    xk_write_be64(&w, h->data_offset);
    xk_write_be64(&w, h->table_offset);
    xk_write_be32(&w, h->version);
    xk_write_be32(&w, h->max_entries);
    xk_write_be32(&w, h->block_bytes);
    xk_write_be32(&w, 0);
    xk_write_raw(&w, h->parent_uuid, sizeof(h->parent_uuid));
    xk_write_be32(&w, h->parent_timestamp);
    xk_write_be32(&w, h->reserved);
    xk_write_raw(&w, h->parent_name, sizeof(h->parent_name));
    for (int i = 0; i < VHD_LOCATORS; i++) {
        const struct vhd_locator *l = &h->locators[i];
        xk_write_be32(&w, l->code);
        xk_write_be32(&w, l->space);
        xk_write_be32(&w, l->length);
        xk_write_be32(&w, l->reserved);
        xk_write_be64(&w, l->offset);
    }
    xk_write_zeros(&w, VHD_HEADER_BYTES - w.at);

    struct xk_writer sum = xk_writer(ret_bytes + HEADER_CHECKSUM_AT, 4);
    xk_write_be32(&sum, vhd_checksum(ret_bytes, VHD_HEADER_BYTES));
}

const char *vhd_header_problem(const struct vhd_header *h, char *buf, size_t bytes)
{
    if (memcmp(h->cookie, VHD_HEADER_COOKIE, 8) != 0)
        return "it does not begin with 'cxsparse'";
    if (h->checksum != h->checksum_computed) {
        snprintf(buf, bytes, "checksum is %08x, computed %08x", h->checksum, h->checksum_computed);
        return buf;
    }
    if (h->version != 0x00010000) {
        snprintf(buf, bytes, "header version is %08x, only 00010000 is known", h->version);
        return buf;
    }
    if (h->block_bytes < VHD_SECTOR || (h->block_bytes & (h->block_bytes - 1)) != 0) {
        snprintf(buf, bytes, "block size is %u bytes, which is no power of two from 512 up", h->block_bytes);
        return buf;
    }
    if (h->block_bytes > VHD_BLOCK_BYTES) {
        snprintf(buf, bytes, "block size is %u bytes, more than 2 MiB", h->block_bytes);
        return buf;
    }
    return NULL;
}

void vhd_batmap_decode(struct vhd_batmap *ret, const uint8_t sector[VHD_SECTOR])
{
    struct xk_reader r = xk_reader(sector, VHD_SECTOR);

    xk_take_bytes(&r, ret->cookie, sizeof(ret->cookie));
    ret->offset = xk_be64(&r);
    ret->size_sectors = xk_be32(&r);
    ret->version = xk_be32(&r);
    ret->checksum = xk_be32(&r);
    ret->marker = xk_u8(&r);
    ret->keyhash_set = xk_u8(&r);
    xk_take_bytes(&r, ret->nonce, sizeof(ret->nonce));
    xk_take_bytes(&r, ret->hash, sizeof(ret->hash));
}

void vhd_batmap_encode(uint8_t ret_sector[VHD_SECTOR], const struct vhd_batmap *b)
{
    struct xk_writer w = xk_writer(ret_sector, VHD_SECTOR);

    xk_write_raw(&w, b->cookie, sizeof(b->cookie));
    xk_write_be64(&w, b->offset);
    xk_write_be32(&w, b->size_sectors);
    xk_write_be32(&w, b->version);
    xk_write_be32(&w, b->checksum);
    xk_write_u8(&w, b->marker);
    xk_write_u8(&w, b->keyhash_set);
    xk_write_raw(&w, b->nonce, sizeof(b->nonce));
    xk_write_raw(&w, b->hash, sizeof(b->hash));
    xk_write_zeros(&w, VHD_SECTOR - w.at);
}

uint32_t vhd_batmap_checksum(uint32_t version, const uint8_t *map, size_t bytes)
{
    if (version != 0x00010001)
        return vhd_checksum(map, bytes);

    uint32_t sum = 0;
    for (size_t i = 0; i < bytes; i++)
        sum += map[i] < 128 ? map[i] : map[i] - 256u;
    return ~sum;
}
