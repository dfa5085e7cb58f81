/*
 * Opening follows the file's own order: identifier, the newer of two headers, the log, one of two region tables, the
 * metadata items. Everything after the headers is read through the log's patches. The BAT stays in the file and is read
 * in pieces when a range is mapped: the format allows tables of 512 MiB, and a hostile one costs nothing this way.
 */
#include "lib/vhdx/inner.h"

#include "core/bytes.h"
#include "core/text.h"

#include <stdio.h>
#include <string.h>

#define HEADER_BYTES       4096u
#define TABLE_BYTES        65536u
#define ENTRIES_MAX        2047u
#define METADATA_BYTES_MAX (16u << 20) /* of the region; 1 MiB is usual */

static const uint64_t header_at[2] = {64 << 10, 128 << 10};
static const uint64_t region_table_at[2] = {192 << 10, 256 << 10};

/* GUIDs as they stand on disk: the first three groups little-endian. */
static const uint8_t bat_region[16] = {0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42,
                                       0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08};
static const uint8_t metadata_region[16] = {0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b,
                                            0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e};
static const uint8_t file_parameters[16] = {0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d,
                                            0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b};
static const uint8_t virtual_disk_size[16] = {0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48,
                                              0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8};
static const uint8_t virtual_disk_id[16] = {0xab, 0x12, 0xca, 0xbe, 0xe6, 0xb2, 0x23, 0x45,
                                            0x93, 0xef, 0xc3, 0x09, 0xe0, 0x00, 0xc7, 0x46};
static const uint8_t logical_sector_size[16] = {0x1d, 0xbf, 0x41, 0x81, 0x6f, 0xa9, 0x09, 0x47,
                                                0xba, 0x47, 0xf2, 0x33, 0xa8, 0xfa, 0xab, 0x5f};
static const uint8_t physical_sector_size[16] = {0xc7, 0x48, 0xa3, 0xcd, 0x5d, 0x44, 0x71, 0x44,
                                                 0x9c, 0xc9, 0xe9, 0x88, 0x52, 0x51, 0xc5, 0x56};
static const uint8_t parent_locator[16] = {0x2d, 0x5f, 0xd3, 0xa8, 0x0b, 0xb3, 0x4d, 0x45,
                                           0xab, 0xf7, 0xd3, 0xd8, 0x48, 0x34, 0xab, 0x0c};
static const uint8_t parent_locator_vhdx[16] = {0xb7, 0xef, 0x4a, 0xb0, 0x9e, 0xd1, 0x81, 0x4a,
                                                0xb7, 0x89, 0x25, 0xb8, 0xe9, 0x44, 0x59, 0x13};

/* "2dc27766-f623-4200-…" as the specification prints them. */
static struct xk_word guid_text(const uint8_t guid[16])
{
    static const uint8_t order[16] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};
    uint8_t sorted[16];

    for (int i = 0; i < 16; i++)
        sorted[i] = guid[order[i]];
    return xk_uuid_text(sorted);
}

int vhdx_read_file(const struct vhdx *v, void *buf, size_t bytes, uint64_t offset, struct xk_err *err)
{
    uint64_t end;

    if (xk_add(offset, (uint64_t)bytes, &end) || end > v->file_bytes)
        return xk_fail(err, -EBADMSG, "%s ends early: wanted %zu bytes at %llu of %llu", v->path, bytes,
                       (unsigned long long)offset, (unsigned long long)v->file_bytes);
    if (!v->log)
        return xk_file_read(&v->file, buf, bytes, offset, err);
    /* What the log adds to the file is not there yet. */
    const ssize_t got = xk_file_read_some(&v->file, buf, bytes, offset, err);
    if (got < 0)
        return (int)got;
    memset((uint8_t *)buf + got, 0, bytes - (size_t)got);
    vhdx_log_apply(v->log, buf, bytes, offset);
    return 0;
}

/* CRC-32C of a structure whose checksum stands at byte 4 and counts as zeros. */
static bool checksum_is_right(const uint8_t *bytes, size_t count)
{
    static const uint8_t zeros[4];
    struct xk_reader r = xk_reader(bytes, count);

    xk_skip(&r, 4);
    const uint32_t stored = xk_le32(&r);
    uint32_t crc = vhdx_crc32c(0, bytes, 4);
    crc = vhdx_crc32c(crc, zeros, 4);
    return vhdx_crc32c(crc, bytes + 8, count - 8) == stored;
}

/* ---- headers ---- */

struct header {
    uint64_t sequence;
    uint8_t data_write_guid[16];
    struct vhdx_log_place log;
    uint16_t log_version, version;
};

static bool decode_header(struct header *ret, const uint8_t bytes[HEADER_BYTES])
{
    char mark[4];
    struct xk_reader r = xk_reader(bytes, HEADER_BYTES);

    xk_take_bytes(&r, mark, 4);
    xk_skip(&r, 4);
    ret->sequence = xk_le64(&r);
    xk_skip(&r, 16);
    xk_take_bytes(&r, ret->data_write_guid, 16);
    xk_take_bytes(&r, ret->log.guid, 16);
    ret->log_version = xk_le16(&r);
    ret->version = xk_le16(&r);
    ret->log.bytes = xk_le32(&r);
    ret->log.offset = xk_le64(&r);
    return memcmp(mark, "head", 4) == 0 && checksum_is_right(bytes, HEADER_BYTES);
}

static int read_headers(struct header *ret, struct vhdx *v, struct xk_err *err)
{
    uint8_t bytes[HEADER_BYTES];
    bool found = false;

    for (size_t i = 0; i < XK_COUNT(header_at); i++) {
        struct header h;
        const ssize_t got = xk_file_read_some(&v->file, bytes, sizeof(bytes), header_at[i], err);
        if (got < 0)
            return (int)got;
        if ((size_t)got < sizeof(bytes) || !decode_header(&h, bytes) || (found && h.sequence <= ret->sequence))
            continue;
        *ret = h;
        found = true;
    }
    if (!found)
        return xk_fail(err, -EBADMSG, "%s: both headers are damaged", v->path);
    if (ret->version != 1)
        return xk_fail(err, -ENOTSUP, "%s: VHDX version %u; version 1 can be read", v->path, ret->version);
    if (!vhdx_guid_is_null(ret->log.guid) && ret->log_version != 0)
        return xk_fail(err, -ENOTSUP, "%s: log version %u; version 0 can be read", v->path, ret->log_version);
    return 0;
}

/* ---- regions ---- */

struct region {
    uint64_t offset;
    uint32_t bytes; /* 0: not found */
};

struct regions {
    struct region bat, metadata;
};

static int take_region(struct regions *all, const struct vhdx *v, struct xk_reader *r, struct xk_err *err)
{
    uint8_t guid[16];
    struct region found;

    xk_take_bytes(r, guid, 16);
    found.offset = xk_le64(r);
    found.bytes = xk_le32(r);
    const bool required = xk_le32(r) & 1;
    struct region *const to = memcmp(guid, bat_region, 16) == 0        ? &all->bat
                              : memcmp(guid, metadata_region, 16) == 0 ? &all->metadata
                                                                       : NULL;
    if (!to)
        return required ? xk_fail(err, -ENOTSUP, "%s: needs the unknown region %s", v->path, guid_text(guid).s) : 0;
    if (to->bytes)
        return xk_fail(err, -EBADMSG, "%s: region %s is there twice", v->path, guid_text(guid).s);
    if (found.bytes == 0 || found.bytes % VHDX_UNIT || found.offset % VHDX_UNIT || found.offset < VHDX_UNIT ||
        found.offset > v->file_bytes || v->file_bytes - found.offset < found.bytes)
        return xk_fail(err, -EBADMSG, "%s: region %s with %u bytes at %llu does not fit into the file", v->path,
                       guid_text(guid).s, found.bytes, (unsigned long long)found.offset);
    *to = found;
    return 0;
}

/* returns 1: taken; 0: this copy is damaged; a negative errno value. */
static int try_region_table(struct regions *ret, const struct vhdx *v, uint8_t *bytes, uint64_t offset,
                            struct xk_err *err)
{
    char mark[4];

    int code = vhdx_read_file(v, bytes, TABLE_BYTES, offset, err);
    if (code < 0)
        return code == -EBADMSG ? 0 : code;
    struct xk_reader r = xk_reader(bytes, TABLE_BYTES);
    xk_take_bytes(&r, mark, 4);
    xk_skip(&r, 4);
    const uint32_t count = xk_le32(&r);
    xk_skip(&r, 4);
    if (memcmp(mark, "regi", 4) != 0 || count > ENTRIES_MAX || !checksum_is_right(bytes, TABLE_BYTES))
        return 0;
    for (uint32_t i = 0; i < count; i++) {
        code = take_region(ret, v, &r, err);
        if (code < 0)
            return code;
    }
    if (!ret->bat.bytes || !ret->metadata.bytes)
        return xk_fail(err, -EBADMSG, "%s: has no %s region", v->path, ret->bat.bytes ? "metadata" : "BAT");
    return 1;
}

static int read_regions(struct regions *ret, const struct vhdx *v, struct xk_err *err)
{
    xk_autofree uint8_t *bytes = xk_alloc(TABLE_BYTES);

    if (!bytes)
        return xk_fail_memory(err);
    for (size_t i = 0; i < XK_COUNT(region_table_at); i++) {
        *ret = (struct regions){0};
        const int code = try_region_table(ret, v, bytes, region_table_at[i], err);
        if (code)
            return code < 0 ? code : 0;
    }
    return xk_fail(err, -EBADMSG, "%s: both region tables are damaged", v->path);
}

/* ---- parent locator ---- */

/* "{83ed0ec1-24c8-49a6-a959-5e4bd1288015}" to bytes as on disk. */
static bool parse_guid(uint8_t ret[16], const char *text)
{
    unsigned g[11];
    char close = '\0';
    int used = 0;

    if (sscanf(text, "{%8x-%4x-%4x-%2x%2x-%2x%2x%2x%2x%2x%2x%c%n", &g[0], &g[1], &g[2], &g[3], &g[4], &g[5], &g[6],
               &g[7], &g[8], &g[9], &g[10], &close, &used) != 12 ||
        close != '}' || text[used])
        return false;
    struct xk_writer w = xk_writer(ret, 16);
    xk_write_le32(&w, g[0]);
    xk_write_le16(&w, (uint16_t)g[1]);
    xk_write_le16(&w, (uint16_t)g[2]);
    for (int i = 3; i < 11; i++)
        xk_write_u8(&w, (uint8_t)g[i]);
    return !w.bad;
}

static int take_text(char **ret, const uint8_t *item, size_t item_bytes, uint32_t offset, uint16_t bytes,
                     struct xk_err *err)
{
    xk_auto(xk_buf_done) struct xk_buf text = XK_BUF_INIT(VHDX_LOCATOR_BYTES * 2);

    if (offset > item_bytes || item_bytes - offset < bytes)
        return xk_fail(err, -EBADMSG, "a text of the parent locator lies outside of it");
    xk_buf_add_str(&text, "");
    if (xk_utf16_to_utf8(&text, item + offset, bytes, false) == -EILSEQ)
        return xk_fail(err, -EBADMSG, "a text of the parent locator is not UTF-16");
    *ret = xk_buf_take(&text);
    return *ret ? 0 : xk_fail_memory(err);
}

static int take_pair(struct vhdx_parent *p, const char *key, char **value, struct xk_err *err)
{
    char **to = NULL;

    if (strcmp(key, "parent_linkage") == 0 || strcmp(key, "parent_linkage2") == 0) {
        if (!parse_guid(strcmp(key, "parent_linkage") == 0 ? p->linkage : p->linkage2, *value))
            return xk_fail(err, -EBADMSG, "the parent locator's %s is not a GUID", key);
        return 0;
    }
    if (strcmp(key, "relative_path") == 0)
        to = &p->relative_path;
    else if (strcmp(key, "absolute_win32_path") == 0)
        to = &p->absolute_path;
    else if (strcmp(key, "volume_path") == 0)
        to = &p->volume_path;
    if (to && !*to)
        *to = XK_TAKE(*value);
    return 0;
}

static int decode_locator(struct vhdx_parent *p, const uint8_t *item, size_t bytes, struct xk_err *err)
{
    uint8_t type[16];
    struct xk_reader r = xk_reader(item, bytes);

    xk_take_bytes(&r, type, 16);
    xk_skip(&r, 2);
    const uint16_t count = xk_le16(&r);
    if (r.bad)
        return xk_fail(err, -EBADMSG, "the parent locator ends early");
    if (memcmp(type, parent_locator_vhdx, 16) != 0)
        return xk_fail(err, -ENOTSUP, "parent locator type %s is not one that can be read", guid_text(type).s);
    if (count > VHDX_LOCATOR_PAIRS)
        return xk_fail(err, -EBADMSG, "the parent locator has %u entries", count);
    for (uint16_t i = 0; i < count; i++) {
        xk_autofree char *key = NULL;
        xk_autofree char *value = NULL;
        const uint32_t key_at = xk_le32(&r);
        const uint32_t value_at = xk_le32(&r);
        const uint16_t key_bytes = xk_le16(&r);
        const uint16_t value_bytes = xk_le16(&r);
        if (r.bad)
            return xk_fail(err, -EBADMSG, "the parent locator ends early");
        int code = take_text(&key, item, bytes, key_at, key_bytes, err);
        if (code == 0)
            code = take_text(&value, item, bytes, value_at, value_bytes, err);
        if (code == 0)
            code = take_pair(p, key, &value, err);
        if (code < 0)
            return code;
    }
    return 0;
}

/* ---- metadata ---- */

struct item {
    uint8_t guid[16];
    uint32_t offset, bytes; /* in the region */
    bool required, user;
};

/* The bits that say which items were there. */
enum { HAS_PARAMETERS = 1, HAS_SIZE = 2, HAS_ID = 4, HAS_LOGICAL = 8, HAS_PHYSICAL = 16, HAS_LOCATOR = 32 };
#define HAS_ALL (HAS_PARAMETERS | HAS_SIZE | HAS_ID | HAS_LOGICAL | HAS_PHYSICAL)

static int take_item(struct vhdx *v, const struct item *item, uint64_t region, unsigned *has, struct xk_err *err)
{
    static const struct {
        const uint8_t *guid;
        unsigned bit;
        uint32_t bytes; /* 0: any */
    } known[] = {
        {file_parameters, HAS_PARAMETERS, 8},    {virtual_disk_size, HAS_SIZE, 8},
        {virtual_disk_id, HAS_ID, 16},           {logical_sector_size, HAS_LOGICAL, 4},
        {physical_sector_size, HAS_PHYSICAL, 4}, {parent_locator, HAS_LOCATOR, 0},
    };
    unsigned bit = 0;
    uint32_t wanted = 0;

    for (size_t i = 0; i < XK_COUNT(known) && !item->user; i++) {
        if (memcmp(item->guid, known[i].guid, 16) == 0) {
            bit = known[i].bit;
            wanted = known[i].bytes;
        }
    }
    if (!bit)
        return item->required
                   ? xk_fail(err, -ENOTSUP, "%s: needs the unknown metadata item %s", v->path, guid_text(item->guid).s)
                   : 0;
    if (*has & bit)
        return xk_fail(err, -EBADMSG, "%s: metadata item %s is there twice", v->path, guid_text(item->guid).s);
    if (wanted ? item->bytes != wanted : item->bytes > VHDX_LOCATOR_BYTES)
        return xk_fail(err, -EBADMSG, "%s: metadata item %s has %u bytes", v->path, guid_text(item->guid).s,
                       item->bytes);
    *has |= bit;

    xk_autofree uint8_t *bytes = xk_alloc(item->bytes);
    if (!bytes)
        return xk_fail_memory(err);
    const int code = vhdx_read_file(v, bytes, item->bytes, region + item->offset, err);
    if (code < 0)
        return code;
    struct xk_reader r = xk_reader(bytes, item->bytes);
    switch (bit) {
    case HAS_PARAMETERS: {
        v->block_bytes = xk_le32(&r);
        const uint32_t flags = xk_le32(&r);
        v->fixed = flags & 1;
        v->differencing = flags & 2;
        return 0;
    }
    case HAS_SIZE:
        v->size_bytes = xk_le64(&r);
        return 0;
    case HAS_ID:
        xk_take_bytes(&r, v->disk_id, 16);
        return 0;
    case HAS_LOGICAL:
        v->sector_bytes = xk_le32(&r);
        return 0;
    case HAS_PHYSICAL:
        v->physical_sector_bytes = xk_le32(&r);
        return 0;
    default: {
        struct xk_err why;
        const int bad = decode_locator(&v->parent, bytes, item->bytes, &why);
        return bad < 0 ? xk_fail(err, bad, "%s: %s", v->path, why.text) : 0;
    }
    }
}

static int check_metadata(const struct vhdx *v, unsigned has, struct xk_err *err)
{
    if ((has & HAS_ALL) != HAS_ALL)
        return xk_fail(err, -EBADMSG, "%s: a metadata item that every image has is missing", v->path);
    if (v->block_bytes < VHDX_UNIT || v->block_bytes > VHDX_BLOCK_BYTES_MAX || (v->block_bytes & (v->block_bytes - 1)))
        return xk_fail(err, -EBADMSG, "%s: blocks of %u bytes", v->path, v->block_bytes);
    if (v->sector_bytes != 512 && v->sector_bytes != 4096)
        return xk_fail(err, -EBADMSG, "%s: sectors of %u bytes", v->path, v->sector_bytes);
    if (v->physical_sector_bytes != 512 && v->physical_sector_bytes != 4096)
        return xk_fail(err, -EBADMSG, "%s: physical sectors of %u bytes", v->path, v->physical_sector_bytes);
    if (v->size_bytes > VHDX_SIZE_MAX || v->size_bytes % v->sector_bytes)
        return xk_fail(err, -EBADMSG, "%s: a disk of %llu bytes", v->path, (unsigned long long)v->size_bytes);
    if (v->differencing && !(has & HAS_LOCATOR))
        return xk_fail(err, -EBADMSG, "%s: has a parent, but no parent locator", v->path);
    return 0;
}

static int read_metadata(struct vhdx *v, const struct region *region, struct xk_err *err)
{
    char mark[8];
    unsigned has = 0;
    xk_autofree uint8_t *bytes = xk_alloc(TABLE_BYTES);

    if (!bytes)
        return xk_fail_memory(err);
    if (region->bytes > METADATA_BYTES_MAX)
        return xk_fail(err, -EFBIG, "%s: the metadata has %s, more than the limit of %s", v->path,
                       xk_size(region->bytes).s, xk_size(METADATA_BYTES_MAX).s);
    int code = vhdx_read_file(v, bytes, TABLE_BYTES, region->offset, err);
    if (code < 0)
        return code;
    struct xk_reader r = xk_reader(bytes, TABLE_BYTES);
    xk_take_bytes(&r, mark, 8);
    xk_skip(&r, 2);
    const uint16_t count = xk_le16(&r);
    xk_skip(&r, 20);
    if (memcmp(mark, "metadata", 8) != 0 || count > ENTRIES_MAX)
        return xk_fail(err, -EBADMSG, "%s: the metadata table is damaged", v->path);
    for (uint16_t i = 0; i < count; i++) {
        struct item item;
        xk_take_bytes(&r, item.guid, 16);
        item.offset = xk_le32(&r);
        item.bytes = xk_le32(&r);
        const uint32_t flags = xk_le32(&r);
        item.user = flags & 1;
        item.required = flags & 4;
        xk_skip(&r, 4);
        if (item.bytes &&
            (item.offset < TABLE_BYTES || item.offset > region->bytes || region->bytes - item.offset < item.bytes))
            return xk_fail(err, -EBADMSG, "%s: metadata item %s lies outside its region", v->path,
                           guid_text(item.guid).s);
        code = take_item(v, &item, region->offset, &has, err);
        if (code < 0)
            return code;
    }
    return check_metadata(v, has, err);
}

/* ---- table ---- */

static int place_bat(struct vhdx *v, const struct region *region, struct xk_err *err)
{
    const uint64_t chunk = (UINT64_C(1) << 23) * v->sector_bytes; /* what one sector bitmap block tells of */
    const uint64_t blocks = XK_DIV_UP(v->size_bytes, v->block_bytes);

    v->blocks = (uint32_t)blocks; /* 64 TiB / 1 MiB fit */
    v->chunk_ratio = (uint32_t)(chunk / v->block_bytes);
    v->bat_offset = region->offset;
    const uint64_t entries = v->differencing ? XK_DIV_UP(blocks, v->chunk_ratio) * (v->chunk_ratio + UINT64_C(1))
                             : blocks        ? blocks + (blocks - 1) / v->chunk_ratio
                                             : 0;
    if (entries * 8 > region->bytes)
        return xk_fail(err, -EBADMSG, "%s: the disk needs a table of %llu entries, its region has room for %u", v->path,
                       (unsigned long long)entries, region->bytes / 8);
    return 0;
}

static int read_parts(struct vhdx *v, struct xk_err *err)
{
    char mark[8];
    struct header header;
    struct regions regions;

    const ssize_t got = xk_file_read_some(&v->file, mark, sizeof(mark), 0, err);
    if (got < 0)
        return (int)got;
    if ((size_t)got < sizeof(mark) || memcmp(mark, "vhdxfile", sizeof(mark)) != 0)
        return xk_fail(err, -EBADMSG, "%s: not a VHDX: it does not begin with its mark", v->path);
    int code = read_headers(&header, v, err);
    if (code == 0) {
        memcpy(v->data_write_guid, header.data_write_guid, sizeof(v->data_write_guid));
        code = vhdx_log_read(&v->log, &v->file, &v->file_bytes, &header.log, err);
    }
    if (code == 0)
        code = read_regions(&regions, v, err);
    if (code == 0)
        code = read_metadata(v, &regions.metadata, err);
    return code < 0 ? code : place_bat(v, &regions.bat, err);
}

static int open_file(struct vhdx *v, const struct xk_fs *fs, struct xk_err *err)
{
    struct stat st;

    int code = xk_file_open(&v->file, fs, v->path, O_RDONLY | O_NONBLOCK, 0, err);
    if (code < 0)
        return code;
    code = fs->ops->fstat(fs, v->file.fd, &st);
    if (code < 0)
        return xk_fail_sys(err, code, "cannot look at %s", v->path);
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        return xk_fail(err, -ENOTSUP, "%s is neither a regular file nor a block device", v->path);
    return xk_file_size(&v->file_bytes, &v->file, err);
}

int vhdx_open(struct vhdx *ret, const struct xk_fs *fs, const char *path, struct xk_err *err)
{
    *ret = (struct vhdx){.file.fd = -1};
    ret->path = xk_strdup(path);
    int code = ret->path ? open_file(ret, fs, err) : xk_fail_memory(err);
    if (code == 0)
        code = read_parts(ret, err);
    if (code < 0)
        vhdx_close(ret);
    return code;
}

void vhdx_close(struct vhdx *v)
{
    if (!v)
        return;
    xk_file_close(&v->file);
    vhdx_log_free(v->log);
    free(v->parent.relative_path);
    free(v->parent.absolute_path);
    free(v->parent.volume_path);
    free(v->path);
    *v = (struct vhdx){.file.fd = -1};
}
