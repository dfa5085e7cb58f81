/*
 * vhd-util read: headers as text, tables and data as they lie in the file, the disk's content through its chain.
 *
 * Several requests may stand in one command line; they are answered in a fixed order until one fails. A fixed image has
 * no table, which the original asks for first, so nothing can be read of it.
 */
#include "rooms/vhd/classic-chain.h"

#include "core/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

struct request {
    bool asked;
    uint64_t at;
};

struct read {
    const char *name;
    bool headers, hex, bat_bits, batmap, cached;
    struct request translate, bat, bitmap, test_bitmap, extents, test_batmap, data, sectors, bytes;
    uint64_t count;
};

/* ---- numbers and times ---- */

struct number {
    char s[24];
};

static struct number number(bool hex, uint64_t value)
{
    struct number n;
    snprintf(n.s, sizeof(n.s), hex ? "%#" PRIx64 : "%" PRIu64, value);
    return n;
}

struct local_time {
    char s[40];
};

/* As ctime(3), in the local zone. */
static struct local_time local_time(uint32_t timestamp)
{
    struct local_time t;
    struct tm parts;
    const time_t seconds = vhd_unix_time(timestamp);

    if (!localtime_r(&seconds, &parts) || !strftime(t.s, sizeof(t.s), "%a %b %e %H:%M:%S %Y", &parts))
        t.s[0] = '\0';
    return t;
}

static const char *sum_verdict(uint32_t stored, uint32_t computed)
{
    return stored == computed ? "Good!" : "Bad!";
}

/* A fixed-width name, up to its NUL. */
struct name {
    char s[16];
};

static struct name name_of(const char *bytes, size_t count)
{
    struct name n = {0};
    memcpy(n.s, bytes, XK_MIN(count, sizeof(n.s) - 1));
    return n;
}

/* ---- -p ---- */

static const char *disk_type(uint32_t type)
{
    static const char *const names[] = {
        "None",
        "Reserved (deprecated)",
        "Fixed hard disk",
        "Dynamic hard disk",
        "Differencing hard disk",
        "Reserved (deprecated)",
        "Reserved (deprecated)",
    };
    return type < XK_COUNT(names) ? names[type] : "Unknown type!\n";
}

static const char *creator_os(uint32_t os)
{
    return os == VHD_LOCATOR_WI2K ? "Windows" : os == VHD_LOCATOR_MAC ? "Macintosh" : "Unknown!";
}

static void print_size(struct vhd_classic *c, const char *label, bool hex, uint64_t bytes)
{
    vhd_classic_say(c, "%s: %s MB (%s Bytes)\n", label, number(hex, bytes / XK_MIB).s, number(hex, bytes).s);
}

static void print_footer(struct vhd_classic *c, const struct vhd_classic_image *i, bool hex)
{
    const struct vhd_footer *f = &i->footer;
    const struct vhd_geometry g = f->geometry;
    const uint64_t product = vhd_geometry_sectors(g);
    const uint32_t sum = vhd_classic_checksum(i->footer_sector, VHD_FOOTER_BYTES, VHD_CLASSIC_FOOTER_SUM_AT);

    vhd_classic_say(c, "VHD Footer Summary:\n-------------------\n");
    vhd_classic_say(c, "Cookie              : %s\n", vhd_classic_clean(c, name_of(f->cookie, sizeof(f->cookie)).s));
    vhd_classic_say(c, "Features            : (0x%08x) %s%s\n", f->features, f->features & 1 ? "<TEMP>" : "",
                    f->features & 2 ? "<RESV>" : "");
    vhd_classic_say(c, "File format version : Major: %u, Minor: %u\n", f->version >> 16, f->version & 0xffff);
    vhd_classic_say(c, "Data offset         : %s\n", number(hex, f->data_offset).s);
    vhd_classic_say(c, "Timestamp           : %s\n", local_time(f->timestamp).s);
    vhd_classic_say(c, "Creator Application : '%s'\n", vhd_classic_clean(c, name_of(f->creator, sizeof(f->creator)).s));
    vhd_classic_say(c, "Creator version     : Major: %u, Minor: %u\n", f->creator_version >> 16,
                    f->creator_version & 0xffff);
    vhd_classic_say(c, "Creator OS          : %s\n", creator_os(f->creator_os));
    print_size(c, "Original disk size  ", hex, f->original_bytes);
    print_size(c, "Current disk size   ", hex, f->current_bytes);
    vhd_classic_say(c, "Geometry            : Cyl: %s, Hds: %s, Sctrs: %s\n", number(hex, g.cylinders).s,
                    number(hex, g.heads).s, number(hex, g.sectors).s);
    vhd_classic_say(c, "                    : = %s MB (%s Bytes)\n", number(hex, product >> 11).s,
                    number(hex, product * VHD_SECTOR).s);
    vhd_classic_say(c, "Disk type           : %s\n", disk_type(f->type));
    vhd_classic_say(c, "Checksum            : 0x%x|0x%x (%s)\n", f->checksum, sum, sum_verdict(f->checksum, sum));
    vhd_classic_say(c, "UUID                : %s\n", xk_uuid_text(f->uuid).s);
    vhd_classic_say(c, "Saved state         : %s\n", f->saved == 0 ? "No" : "Yes");
    vhd_classic_say(c, "Hidden              : %d\n", (int8_t)f->hidden);
    vhd_classic_say(c, "\n");
}

static void print_header(struct vhd_classic *c, const struct vhd_classic_image *i, bool hex)
{
    const struct vhd_header *h = &i->header;
    const uint32_t sum = vhd_classic_checksum(i->header_bytes, VHD_HEADER_BYTES, VHD_CLASSIC_HEADER_SUM_AT);
    xk_autofree char *parent = NULL;

    vhd_classic_say(c, "VHD Header Summary:\n-------------------\n");
    vhd_classic_say(c, "Cookie              : %s\n", vhd_classic_clean(c, name_of(h->cookie, sizeof(h->cookie)).s));
    vhd_classic_say(c, "Data offset (unusd) : %s\n", number(hex, h->data_offset).s);
    vhd_classic_say(c, "Table offset        : %s\n", number(hex, h->table_offset).s);
    vhd_classic_say(c, "Header version      : 0x%08x\n", h->version);
    vhd_classic_say(c, "Max BAT size        : %s\n", number(hex, h->max_entries).s);
    vhd_classic_say(c, "Block size          : %s (%s MB)\n", number(hex, h->block_bytes).s,
                    number(hex, h->block_bytes / XK_MIB).s);
    const int code = vhd_classic_parent_name(i, &parent);
    vhd_classic_say(c, "Parent name         : %s\n", code < 0 ? "failed to read name" : vhd_classic_clean(c, parent));
    vhd_classic_say(c, "Parent UUID         : %s\n", xk_uuid_text(h->parent_uuid).s);
    vhd_classic_say(c, "Parent timestamp    : %s\n", local_time(h->parent_timestamp).s);
    vhd_classic_say(c, "Checksum            : 0x%x|0x%x (%s)\n", h->checksum, sum, sum_verdict(h->checksum, sum));
    vhd_classic_say(c, "\n");
}

static const char *code_name(uint32_t code)
{
    switch (code) {
    case VHD_LOCATOR_WI2R:
        return "PLAT_CODE_WI2R";
    case VHD_LOCATOR_WI2K:
        return "PLAT_CODE_WI2K";
    case VHD_LOCATOR_W2RU:
        return "PLAT_CODE_W2RU";
    case VHD_LOCATOR_W2KU:
        return "PLAT_CODE_W2KU";
    case VHD_LOCATOR_MAC:
        return "PLAT_CODE_MAC";
    case VHD_LOCATOR_MACX:
        return "PLAT_CODE_MACX";
    default:
        return "UNKOWN";
    }
}

static void print_locators(struct vhd_classic *c, const struct vhd_classic_image *i, bool hex)
{
    vhd_classic_say(c, "VHD Parent Locators:\n--------------------\n");
    for (int n = 0; n < VHD_LOCATORS; n++) {
        const struct vhd_locator *l = &i->header.locators[n];
        xk_autofree char *text = NULL;

        if (l->code == VHD_LOCATOR_NONE)
            continue;
        vhd_classic_say(c, "locator:            : %d\n", n);
        vhd_classic_say(c, "       code         : %s\n", code_name(l->code));
        vhd_classic_say(c, "       data_space   : %s\n", number(hex, l->space).s);
        vhd_classic_say(c, "       data_length  : %s\n", number(hex, l->length).s);
        vhd_classic_say(c, "       data_offset  : %s\n", number(hex, l->offset).s);
        if (vhd_classic_locator_text(i, l, &text) < 0)
            vhd_classic_say(c, "failed to read parent name\n");
        else
            vhd_classic_say(c, "       decoded name : %s\n", vhd_classic_clean(c, text));
        vhd_classic_say(c, "\n");
    }
}

static void print_hex(struct vhd_classic *c, const char *label, const uint8_t *bytes, size_t count)
{
    vhd_classic_say(c, "%s: ", label);
    for (size_t n = 0; n < count; n++)
        vhd_classic_say(c, "%02x", bytes[n]);
    vhd_classic_say(c, "\n");
}

static void print_batmap_header(struct vhd_classic *c, const struct vhd_classic_image *i, bool hex)
{
    const struct vhd_batmap *b = &i->batmap;
    const uint32_t sum = vhd_batmap_checksum(b->version, i->map, (size_t)vhd_classic_map_bytes(i));

    vhd_classic_say(c, "VHD Batmap Summary:\n-------------------\n");
    vhd_classic_say(c, "Batmap offset       : %s\n", number(hex, b->offset).s);
    vhd_classic_say(c, "Batmap size (secs)  : %s\n", number(hex, b->size_sectors).s);
    vhd_classic_say(c, "Batmap version      : 0x%08x\n", b->version);
    if (b->keyhash_set == 1) {
        print_hex(c, "Batmap keyhash nonce", b->nonce, sizeof(b->nonce));
        print_hex(c, "Batmap keyhash hash ", b->hash, sizeof(b->hash));
    }
    vhd_classic_say(c, "Checksum            : 0x%x|0x%x (%s)\n", b->checksum, sum, sum_verdict(b->checksum, sum));
    vhd_classic_say(c, "\n");
}

static void print_headers(struct vhd_classic *c, struct vhd_classic_image *i, bool hex)
{
    print_footer(c, i, hex);
    if (!vhd_classic_is_sparse(i))
        return;
    print_header(c, i, hex);
    if (i->footer.type == VHD_DIFFERENCING)
        print_locators(c, i, hex);
    if (!vhd_classic_has_batmap(i))
        return;
    if (vhd_classic_image_read_batmap(i) < 0)
        vhd_classic_say(c, "failed to get batmap header\n");
    else
        print_batmap_header(c, i, hex);
}

/* What can be said of a file that is no sound image. */
static void dump_headers(struct vhd_classic *c, const char *name, bool hex)
{
    struct vhd_classic_image i;

    vhd_classic_say(c, "\n%s appears invalid; dumping headers\n\n", name);
    if (vhd_classic_image_open_file(&i, c, name, VHD_CLASSIC_READ) < 0)
        return;
    (void)vhd_classic_image_read_footer(&i, false);
    (void)vhd_classic_image_read_header(&i);
    print_footer(c, &i, hex);
    print_header(c, &i, hex);
    vhd_classic_image_close(&i);
}

/* ---- tables ---- */

/* True when at + count passes the end. *ret_sum is what the original prints. */
static bool past(uint64_t at, uint64_t count, uint64_t end, uint64_t *ret_sum)
{
    *ret_sum = at + count;
    return *ret_sum < at || *ret_sum > end;
}

static int check_blocks(struct vhd_classic *c, const struct vhd_classic_image *i, const struct read *r, uint64_t block)
{
    uint64_t sum;
    if (!past(block, r->count, i->header.max_entries, &sum))
        return 0;
    vhd_classic_complain(c, "block %s past end of file\n", number(r->hex, sum).s);
    return -ERANGE;
}

static bool sectors_past(const struct vhd_classic_image *i, uint64_t sector, uint64_t count, uint64_t *ret_sum)
{
    return past(sector, count, i->footer.current_bytes / VHD_SECTOR, ret_sum);
}

/* The table is read only as far as the disk goes; with reserved space it has more entries, all free. */
static uint32_t entry(const struct vhd_classic_image *i, uint64_t block)
{
    return block < i->blocks ? i->bat[block] : VHD_BAT_FREE;
}

static int print_translation(struct vhd_classic *c, const struct vhd_classic_image *i, const struct read *r)
{
    const uint32_t block_sectors = vhd_classic_block_sectors(i);
    uint64_t sum;

    if (sectors_past(i, r->translate.at, r->count, &sum)) {
        vhd_classic_complain(c, "sector %s past end of file\n", number(r->hex, sum).s);
        return -ERANGE;
    }
    for (uint64_t sector = r->translate.at; sector < sum; sector++) {
        const uint64_t block = sector / block_sectors, within = sector % block_sectors;
        const uint32_t at = entry(i, block);

        vhd_classic_say(c, "logical sector %s: block number: %s, sector offset: %s, ", number(r->hex, sector).s,
                        number(r->hex, block).s, number(r->hex, within).s);
        if (at == VHD_BAT_FREE)
            vhd_classic_say(c, "file offset: not allocated\n");
        else
            vhd_classic_say(c, "file offset: %s\n",
                            number(r->hex, (at + within) * VHD_SECTOR + vhd_classic_bitmap_bytes(i)).s);
    }
    return 0;
}

static int print_bat(struct vhd_classic *c, const struct vhd_classic_image *i, const struct read *r)
{
    const int code = check_blocks(c, i, r, r->bat.at);
    if (code < 0)
        return code;
    for (uint64_t n = 0; n < r->count && n < i->blocks; n++) {
        const uint32_t at = entry(i, r->bat.at + n);
        vhd_classic_say(c, "block: %s: offset: %s\n", number(r->hex, r->bat.at + n).s,
                        at == VHD_BAT_FREE ? "not allocated" : number(r->hex, (uint64_t)at * VHD_SECTOR).s);
    }
    return 0;
}

/* One bit per whole block of the disk. */
static int write_bat_bits(struct vhd_classic *c, const struct vhd_classic_image *i)
{
    const uint64_t blocks = i->footer.current_bytes / i->header.block_bytes;
    const size_t bytes = (size_t)XK_DIV_UP(blocks, 8);
    xk_autofree uint8_t *bits = xk_zalloc(bytes);

    if (!bits)
        return -ENOMEM;
    for (uint64_t n = 0; n < blocks; n++) {
        if (i->bat[n] != VHD_BAT_FREE)
            bits[n / 8] |= (uint8_t)(0x80 >> n % 8);
    }
    return vhd_classic_data(c, bits, bytes);
}

static int write_bitmaps(struct vhd_classic *c, const struct vhd_classic_image *i, const struct read *r)
{
    const uint32_t bytes = vhd_classic_bitmap_bytes(i);
    int code = check_blocks(c, i, r, r->bitmap.at);
    if (code < 0)
        return code;
    xk_autofree uint8_t *bitmap = xk_alloc(bytes);
    if (!bitmap)
        return -ENOMEM;
    for (uint64_t n = 0; n < r->count && code == 0; n++) {
        const uint64_t block = r->bitmap.at + n;
        if (entry(i, block) == VHD_BAT_FREE) {
            vhd_classic_say(c, "block %s not allocated\n", number(r->hex, block).s);
            continue;
        }
        code = vhd_classic_image_read_bitmap(i, (uint32_t)block, bitmap);
        if (code == 0)
            code = vhd_classic_data(c, bitmap, bytes);
    }
    return code;
}

/* Walk sectors with their bits; the bitmap of each block is read once. */
static int for_bits(const struct vhd_classic_image *i, uint64_t sector, uint64_t count,
                    void (*visit)(void *context, uint64_t sector, bool set), void *context)
{
    const uint32_t block_sectors = vhd_classic_block_sectors(i);
    const uint64_t end = sector + count;
    xk_autofree uint8_t *bitmap = xk_alloc(vhd_classic_bitmap_bytes(i));

    if (!bitmap)
        return -ENOMEM;
    while (sector < end) {
        const uint64_t block = sector / block_sectors;
        const uint64_t block_end = XK_MIN(end, (block + 1) * block_sectors);
        const bool allocated = entry(i, block) != VHD_BAT_FREE;
        if (allocated) {
            const int code = vhd_classic_image_read_bitmap(i, (uint32_t)block, bitmap);
            if (code < 0)
                return code;
        }
        for (; sector < block_end; sector++)
            visit(context, sector, allocated && vhd_bit(bitmap, sector % block_sectors));
    }
    return 0;
}

struct bit_visit {
    struct vhd_classic *classic;
    bool hex;
    uint32_t block_sectors;
    uint64_t run_start, run_sectors;
};

static void print_bit(void *context, uint64_t sector, bool set)
{
    const struct bit_visit *v = context;
    vhd_classic_say(v->classic, "block %s: sec: %s: %d\n", number(v->hex, sector / v->block_sectors).s,
                    number(v->hex, sector % v->block_sectors).s, set);
}

static void end_run(struct bit_visit *v)
{
    if (v->run_sectors > 0)
        vhd_classic_say(v->classic, "%s %s\n", number(v->hex, v->run_start).s, number(v->hex, v->run_sectors).s);
    v->run_sectors = 0;
}

static void add_to_run(void *context, uint64_t sector, bool set)
{
    struct bit_visit *v = context;
    if (!set) {
        end_run(v);
        return;
    }
    if (v->run_sectors++ == 0)
        v->run_start = sector;
}

static int print_bits(struct vhd_classic *c, const struct vhd_classic_image *i, const struct read *r, uint64_t sector,
                      bool extents)
{
    struct bit_visit v = {.classic = c, .hex = r->hex, .block_sectors = vhd_classic_block_sectors(i)};
    uint64_t sum;

    if (sectors_past(i, sector, r->count, &sum)) {
        vhd_classic_say(c, "sector %s past end of file\n", number(r->hex, sector).s);
        return -ERANGE;
    }
    const int code = for_bits(i, sector, r->count, extents ? add_to_run : print_bit, &v);
    if (code == 0)
        end_run(&v);
    return code;
}

static int write_batmap(struct vhd_classic *c, struct vhd_classic_image *i)
{
    int code = vhd_classic_image_read_batmap(i);
    if (code < 0) {
        vhd_classic_say(c, "failed to read batmap: %d\n", code);
        return code;
    }
    /* As many sectors as the batmap has, also those behind the disk's last block. */
    uint8_t sector[VHD_SECTOR];
    for (uint32_t n = 0; n < i->batmap.size_sectors && code == 0; n++) {
        code = vhd_classic_image_read(i, sector, sizeof(sector), i->batmap.offset + (uint64_t)n * VHD_SECTOR);
        if (code == 0)
            code = vhd_classic_data(c, sector, sizeof(sector));
    }
    return code;
}

static int print_batmap_bits(struct vhd_classic *c, struct vhd_classic_image *i, const struct read *r)
{
    int code = check_blocks(c, i, r, r->test_batmap.at);
    if (code < 0)
        return code;
    code = vhd_classic_image_read_batmap(i);
    if (code < 0) {
        vhd_classic_complain(c, "failed to get batmap\n");
        return code;
    }
    for (uint64_t n = 0; n < r->count; n++) {
        const uint64_t block = r->test_batmap.at + n;
        vhd_classic_complain(c, "batmap for block %s: %d\n", number(r->hex, block).s,
                             vhd_classic_batmap_test(i, block));
    }
    return 0;
}

/* ---- data ---- */

static int write_blocks(struct vhd_classic *c, const struct vhd_classic_image *i, const struct read *r)
{
    const uint64_t end = i->bytes - VHD_FOOTER_BYTES;
    int code = check_blocks(c, i, r, r->data.at);
    if (code < 0)
        return code;
    xk_autofree uint8_t *data = xk_alloc(i->header.block_bytes);
    if (!data)
        return -ENOMEM;
    for (uint64_t n = 0; n < r->count && code == 0; n++) {
        const uint64_t block = r->data.at + n;
        if (entry(i, block) == VHD_BAT_FREE) {
            vhd_classic_say(c, "block %s not allocated\n", number(r->hex, block).s);
            continue;
        }
        const uint64_t at = (uint64_t)i->bat[block] * VHD_SECTOR + vhd_classic_bitmap_bytes(i);
        if (at >= end)
            return -EPIPE;
        const size_t bytes = (size_t)XK_MIN((uint64_t)i->header.block_bytes, end - at);
        memset(data + bytes, 0, i->header.block_bytes - bytes);
        code = vhd_classic_image_read(i, data, bytes, at);
        if (code == 0)
            code = vhd_classic_data(c, data, i->header.block_bytes);
    }
    return code;
}

/* Bytes of the disk, from its chain. */
static int write_content(struct vhd_classic *c, struct vhd_classic_image *i, uint64_t start, uint64_t bytes)
{
    struct vhd_classic_chain chain;
    uint64_t end;

    if (past(start, bytes, i->footer.current_bytes, &end))
        return -ERANGE;
    xk_autofree uint8_t *data = xk_alloc(VHD_CLASSIC_CHUNK_SECTORS * VHD_SECTOR);
    if (!data)
        return -ENOMEM;
    int code = vhd_classic_chain_begin(&chain, i);
    while (code == 0 && start < end) {
        const uint64_t sector = start / VHD_SECTOR;
        const uint64_t to = XK_MIN(XK_DIV_UP(end, VHD_SECTOR), XK_ROUND_UP(sector + 1, VHD_CLASSIC_CHUNK_SECTORS));
        const uint64_t piece_end = XK_MIN(end, to * VHD_SECTOR);
        code = vhd_classic_chain_read(&chain, data, sector, (uint32_t)(to - sector));
        if (code == 0)
            code = vhd_classic_data(c, data + start % VHD_SECTOR, (size_t)(piece_end - start));
        if (code == 0 && xk_stop_signal())
            code = -EINTR;
        start = piece_end;
    }
    vhd_classic_chain_end(&chain);
    return code;
}

static int write_sectors(struct vhd_classic *c, struct vhd_classic_image *i, const struct read *r)
{
    uint64_t start, bytes;
    if (xk_mul(r->sectors.at, (uint64_t)VHD_SECTOR, &start) || xk_mul(r->count, (uint64_t)VHD_SECTOR, &bytes))
        return -ERANGE;
    return write_content(c, i, start, bytes);
}

/* ---- the command ---- */

static int answer(struct vhd_classic *c, struct vhd_classic_image *i, const struct read *r)
{
    int code = 0;

    if (r->headers)
        print_headers(c, i, r->hex);
    if (r->translate.asked)
        code = print_translation(c, i, r);
    if (code == 0 && r->bat.asked)
        code = print_bat(c, i, r);
    if (code == 0 && r->bat_bits)
        code = write_bat_bits(c, i);
    if (code == 0 && r->bitmap.asked)
        code = write_bitmaps(c, i, r);
    if (code == 0 && r->test_bitmap.asked)
        code = print_bits(c, i, r, r->test_bitmap.at, false);
    if (code == 0 && r->extents.asked)
        code = print_bits(c, i, r, r->extents.at, true);
    if (code == 0 && r->batmap)
        code = write_batmap(c, i);
    if (code == 0 && r->test_batmap.asked)
        code = print_batmap_bits(c, i, r);
    if (code == 0 && r->data.asked)
        code = write_blocks(c, i, r);
    if (code == 0 && r->sectors.asked)
        code = write_sectors(c, i, r);
    if (code == 0 && r->bytes.asked)
        code = write_content(c, i, r->bytes.at, r->count);
    return code;
}

static int usage(struct vhd_classic *c)
{
    vhd_classic_say(c, "options:\n"
                       "-h          help\n"
                       "-n          name\n"
                       "-p          print VHD headers\n"
                       "-t sec      translate logical sector to VHD location\n"
                       "-b blk      print bat entry\n"
                       "-B          print entire bat as a bitmap\n"
                       "-m blk      print bitmap\n"
                       "-i sec      test bitmap for logical sector\n"
                       "-e sec      output extent list of allocated logical sectors\n"
                       "-a          print batmap\n"
                       "-j blk      test batmap for block\n"
                       "-d blk      print data\n"
                       "-c num      num units\n"
                       "-r sec      read num sectors at sec\n"
                       "-R byte     read num bytes at byte\n"
                       "-x          print in hex\n");
    return -EINVAL;
}

static bool take(struct request *request, const char *word)
{
    request->asked = true;
    return vhd_classic_number(&request->at, word);
}

static bool take_letter(struct read *r, int letter, const char *value)
{
    switch (letter) {
    case 'n':
        r->name = value;
        return true;
    case 'p':
        return r->headers = true;
    case 'C':
        return r->cached = true;
    case 'B':
        return r->bat_bits = true;
    case 't':
        return take(&r->translate, value);
    case 'b':
        return take(&r->bat, value);
    case 'm':
        return take(&r->bitmap, value);
    case 'i':
        return take(&r->test_bitmap, value);
    case 'e':
        return take(&r->extents, value);
    case 'a':
        return r->batmap = true;
    case 'j':
        return take(&r->test_batmap, value);
    case 'd':
        return take(&r->data, value);
    case 'r':
        return take(&r->sectors, value);
    case 'R':
        return take(&r->bytes, value);
    case 'c':
        return vhd_classic_number(&r->count, value);
    case 'x':
        return r->hex = true;
    default:
        return false;
    }
}

int vhd_classic_read(struct vhd_classic *c, int argc, char **argv)
{
    struct read r = {.count = 1};
    struct vhd_classic_image image;
    int letter;

    struct vhd_classic_options o = vhd_classic_options(c, argc, argv, "n:pt:b:Bm:i:e:aj:d:c:r:R:xCh");
    while ((letter = vhd_classic_option(&o)) != -1) {
        if (!take_letter(&r, letter, o.value))
            return usage(c);
    }
    if (!r.name || o.operand_count > 0)
        return usage(c);

    const unsigned flags = VHD_CLASSIC_POISONED | (r.cached ? VHD_CLASSIC_CACHED | VHD_CLASSIC_FAST : 0);
    int code = vhd_classic_image_open(&image, c, r.name, flags);
    if (code < 0) {
        vhd_classic_say(c, "Failed to open %s: %d\n", r.name, code);
        dump_headers(c, r.name, r.hex);
        return code;
    }
    code = vhd_classic_image_read_bat(&image);
    if (code < 0)
        vhd_classic_say(c, "Failed to get bat for %s: %d\n", r.name, code);
    else
        code = answer(c, &image, &r);
    vhd_classic_image_close(&image);
    return code;
}
