/*
 * The VHD format on disk: footer, header, block allocation table (BAT), batmap, parent locators. Nothing here does I/O.
 *
 * Decoders take untrusted bytes and only translate; what the values mean for each other is asked by vhd_*_problem()
 * and by audit.h. All fields are big-endian on disk and in host order here. A sector is 512 bytes.
 *
 * source   Virtual Hard Disk Image Format Specification 1.0 (2006); the batmap, the hidden byte and the page-aligned
 *          data are XenServer's additions.
 */
#ifndef VHD_FORMAT_H
#define VHD_FORMAT_H

#include "core/bytes.h"
#include "core/err.h"

#define VHD_SECTOR             512u
#define VHD_FOOTER_BYTES       512u
#define VHD_SHORT_FOOTER_BYTES 511u /* Virtual PC before 2004 */
#define VHD_HEADER_BYTES       1024u
#define VHD_BLOCK_BYTES        (2u << 20) /* what everybody uses, and the largest that XenServer takes */
#define VHD_BAT_FREE           UINT32_MAX
#define VHD_LOCATORS           8
#define VHD_SIZE_MAX           (UINT64_C(0xff000000) * VHD_SECTOR) /* 2040 GiB */
#define VHD_EPOCH              946684800                           /* 2000-01-01 00:00 UTC in Unix seconds */
#define VHD_PAGE               4096u

#define VHD_COOKIE             "conectix"
#define VHD_COOKIE_POISON      "v_poison" /* an unfinished resize disabled the image */
#define VHD_HEADER_COOKIE      "cxsparse"
#define VHD_BATMAP_COOKIE      "tdbatmap"

enum vhd_type {
    VHD_FIXED = 2,
    VHD_DYNAMIC = 3,
    VHD_DIFFERENCING = 4,
};
const char *vhd_type_name(uint32_t type); /* "fixed", "dynamic", "differencing", "unknown" */

struct vhd_geometry {
    uint16_t cylinders;
    uint8_t heads, sectors;
};
/* The specification's algorithm; sectors beyond 65535*16*255 give that maximum. */
struct vhd_geometry vhd_geometry_of(uint64_t sectors);
uint64_t vhd_geometry_sectors(struct vhd_geometry g);

struct vhd_footer {
    char cookie[8];
    uint32_t features, version;
    uint64_t data_offset; /* bytes; all ones for a fixed disk */
    uint32_t timestamp;   /* seconds since VHD_EPOCH */
    char creator[4];
    uint32_t creator_version, creator_os;
    uint64_t original_bytes, current_bytes;
    struct vhd_geometry geometry;
    uint32_t type; /* enum vhd_type when known */
    uint32_t checksum, checksum_computed;
    uint8_t uuid[16];
    uint8_t saved, hidden;
};

void vhd_footer_decode(struct vhd_footer *ret, const uint8_t sector[VHD_FOOTER_BYTES]);
/* Writes the checksum, too, whatever f->checksum says. */
void vhd_footer_encode(uint8_t ret_sector[VHD_FOOTER_BYTES], const struct vhd_footer *f);
/* The first reason why this is no usable footer ("cookie is …"), or NULL. `buf` lends the space. */
const char *vhd_footer_problem(const struct vhd_footer *f, char *buf, size_t bytes);
/* Unix seconds of a timestamp field, and back (clamped). */
int64_t vhd_unix_time(uint32_t timestamp);
uint32_t vhd_timestamp(int64_t unix_seconds);

/* Platform codes of parent locators, as the numbers on disk. */
#define VHD_LOCATOR_NONE 0u
#define VHD_LOCATOR_WI2R 0x57693272u /* Windows relative, ANSI (old) */
#define VHD_LOCATOR_WI2K 0x5769326bu /* Windows absolute, ANSI (old) */
#define VHD_LOCATOR_W2RU 0x57327275u /* Windows relative, UTF-16LE */
#define VHD_LOCATOR_W2KU 0x57326b75u /* Windows absolute, UTF-16LE */
#define VHD_LOCATOR_MAC  0x4d616320u
#define VHD_LOCATOR_MACX 0x4d616358u /* file URL, UTF-8 */

struct vhd_locator {
    uint32_t code;
    uint32_t space;  /* bytes reserved; old writers stored sectors: see vhd_locator_space() */
    uint32_t length; /* bytes used */
    uint32_t reserved;
    uint64_t offset; /* bytes from the start of the file */
};
/* Bytes reserved: a value below 512 counts sectors. */
uint64_t vhd_locator_space(const struct vhd_locator *l);
const char *vhd_locator_code_name(uint32_t code); /* "W2KU", …; "none"; "unknown" */

struct vhd_header {
    char cookie[8];
    uint64_t data_offset;  /* unused, all ones */
    uint64_t table_offset; /* bytes */
    uint32_t version;
    uint32_t max_entries; /* of the BAT */
    uint32_t block_bytes;
    uint32_t checksum, checksum_computed;
    uint8_t parent_uuid[16]; /* zeros with type differencing: the parent is raw */
    uint32_t parent_timestamp;
    uint32_t reserved;
    uint8_t parent_name[512]; /* UTF-16BE base name as stored */
    struct vhd_locator locators[VHD_LOCATORS];
};

void vhd_header_decode(struct vhd_header *ret, const uint8_t bytes[VHD_HEADER_BYTES]);
void vhd_header_encode(uint8_t ret_bytes[VHD_HEADER_BYTES], const struct vhd_header *h);
/* The first reason why this is no usable header, or NULL. */
const char *vhd_header_problem(const struct vhd_header *h, char *buf, size_t bytes);

struct vhd_batmap {
    char cookie[8];
    uint64_t offset;       /* of the map, bytes */
    uint32_t size_sectors; /* of the map */
    uint32_t version;      /* 0x10002 today; 0x10001 summed signed chars */
    uint32_t checksum;     /* of the map's bytes, not of this header */
    uint8_t marker;
    uint8_t keyhash_set; /* 1: nonce and hash are there */
    uint8_t nonce[32], hash[32];
};
#define VHD_BATMAP_VERSION       0x10002u
#define VHD_BATMAP_VERSION_FIRST 0x10000u

void vhd_batmap_decode(struct vhd_batmap *ret, const uint8_t sector[VHD_SECTOR]);
void vhd_batmap_encode(uint8_t ret_sector[VHD_SECTOR], const struct vhd_batmap *b);
/* Checksum of `bytes` map bytes as batmap version `version` wants it. */
uint32_t vhd_batmap_checksum(uint32_t version, const uint8_t *map, size_t bytes);

/* Ones' complement of the byte sum. */
uint32_t vhd_checksum(const uint8_t *bytes, size_t count);

static inline bool vhd_bit(const uint8_t *map, uint64_t n)
{
    return map[n / 8] & (0x80u >> (n % 8));
}
static inline void vhd_bit_set(uint8_t *map, uint64_t n)
{
    map[n / 8] |= (uint8_t)(0x80u >> (n % 8));
}
/* Whether the first `count` bits are all set. */
bool vhd_bits_full(const uint8_t *map, uint64_t count);
static inline bool vhd_uuid_is_null(const uint8_t uuid[16])
{
    for (int i = 0; i < 16; i++) {
        if (uuid[i])
            return false;
    }
    return true;
}

#endif
