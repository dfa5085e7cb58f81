/*
 * One image from foreign bytes: opened strictly and leniently, audited with bitmaps and data, mapped, read, its
 * locators decoded.
 *
 * An input is 8 bytes and then the file: a little-endian sector number where a hole goes in, and the hole's length in
 * sectors (at most 8 MiB). So images with 2 MiB blocks stay small. fuzz/corpus/vhd was made by `xenkit vhd create`,
 * `snapshot` and the kinds of lib/vhd/damage.h.
 */
#include "core/bytes.h"
#include "lib/vhd/audit.h"
#include "lib/vhd/chain.h"
#include "memory-fs.h"

#define HOLE_SECTORS_MAX (8 * XK_MIB / VHD_SECTOR)
#define MAP_SECTORS_MAX  (UINT64_C(1) << 20)
#define READ_SECTORS     64
#define YEAR_2025        INT64_C(1760000000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int visit(void *context, const struct vhd_extent *extent)
{
    uint64_t *const next = context;
    /* Ascending, whole, and without gaps. */
    if (extent->start != *next || extent->sectors == 0)
        abort();
    *next += extent->sectors;
    return 0;
}

static void map_and_read(struct vhd *v)
{
    struct vhd_chain chain = {.layers = v, .count = 1, .raw.fd = -1};
    const uint64_t sectors = vhd_sectors(v);
    const uint64_t mapped = XK_MIN(sectors, MAP_SECTORS_MAX);
    uint8_t buf[READ_SECTORS * VHD_SECTOR];
    uint64_t next = 0;

    if (vhd_chain_map(&chain, 0, mapped, visit, &next, NULL) == 0 && next != mapped)
        abort();
    if (sectors >= READ_SECTORS) {
        (void)vhd_chain_read(&chain, buf, 0, READ_SECTORS, NULL);
        (void)vhd_chain_read(&chain, buf, sectors - READ_SECTORS, READ_SECTORS, NULL);
    }
    if (vhd_chain_read(&chain, buf, sectors, 1, NULL) >= 0)
        abort();
}

static void decode_names(const struct vhd *v)
{
    for (int i = 0; i < VHD_LOCATORS; i++) {
        xk_autofree char *text = NULL;
        if (vhd_locator_text(&text, v, i, NULL) == 0 && !text)
            abort();
    }
    xk_autofree char *name = NULL;
    (void)vhd_parent_name(&name, v, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct vhd_audit_options options = {.bitmaps = true, .data = true, .unix_seconds = YEAR_2025};
    struct memory_file file;
    struct vhd_problems found = {0};
    struct vhd v;

    if (size < 8)
        return 0;
    struct xk_reader r = xk_reader(data, 8);
    const uint64_t hole_at = xk_le32(&r);
    const uint64_t hole_sectors = xk_le32(&r) % (HOLE_SECTORS_MAX + 1);
    memory_file_init(&file, data + 8, size - 8, hole_at * VHD_SECTOR, hole_sectors * VHD_SECTOR);

    (void)vhd_probe(&file.fs, "image.vhd");
    if (vhd_open(&v, &file.fs, "image.vhd", VHD_LENIENT, NULL) == 0) {
        if (vhd_audit(&found, &v, &options, NULL) == 0 && v.trouble_code && found.count == 0)
            abort(); /* opening it strictly would fail: the audit must know why */
        decode_names(&v);
        vhd_close(&v);
    }
    vhd_problems_done(&found);
    if (vhd_open(&v, &file.fs, "image.vhd", VHD_READ, NULL) == 0) {
        map_and_read(&v);
        vhd_close(&v);
    }
    return 0;
}
