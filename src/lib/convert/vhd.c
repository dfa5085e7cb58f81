/*
 * Dynamic VHDs. Each block lies in the file as a page that ends in the block's bitmap, and its data from the next page
 * on, so a block is one aligned write. Tables and footers are written last: a half-written file is no VHD.
 *
 * A pipe gets the tables first, so which blocks there will be is found by walking the map of the source beforehand; it
 * is not read twice, and blocks of stored zeros stay blocks. When the size is not known beforehand, the tables are made
 * for the largest disk; putting them behind the data would be allowed by the format, but nobody else does it.
 */
#include "lib/convert/vhd-parts.h"

#include "core/bytes.h"
#include "core/text.h"

#include <assert.h>
#include <string.h>

#define TABLE_OFFSET    (VHD_FOOTER_BYTES + VHD_HEADER_BYTES)
#define CREATOR_VERSION 0x00010003u
#define STRIDE          (VHD_PAGE + VHD_BLOCK_BYTES) /* of blocks in the file */
#define BITMAP_AT       (VHD_PAGE - VHD_SECTOR)      /* in the page before a block's data */
_Static_assert(CONVERT_UNIT == VHD_BLOCK_BYTES && CONVERT_PAGE == VHD_PAGE, "a unit is a block");

struct vhd_target {
    struct convert_target target; /* first */
    uint32_t entries;             /* of the BAT */
    uint32_t *bat;                /* host order */
    uint64_t metadata_bytes;      /* footer copy to batmap */
    uint64_t batmap_header;
    uint32_t batmap_sectors;
    uint64_t next;                    /* where the page before the next block goes */
    uint32_t pushed_blocks;           /* push: blocks before this one are out */
    uint8_t footer[VHD_FOOTER_BYTES]; /* the one at the front and the one at the end are the same */
};

int convert_check_vhd_size(uint64_t disk_bytes, struct xk_err *err)
{
    return disk_bytes <= VHD_SIZE_MAX
               ? 0
               : xk_fail(err, -EFBIG, "%s is more than the 2040 GiB that a VHD can have", xk_size(disk_bytes).s);
}

int convert_too_small(const struct convert_target *t, uint64_t needed, struct xk_err *err)
{
    return xk_fail(err, -ENOSPC, "%s: the device has %s, the image needs %s", t->how->path, xk_size(t->device_bytes).s,
                   xk_size(needed).s);
}

void convert_vhd_footer(uint8_t ret[VHD_FOOTER_BYTES], const struct convert *how, enum vhd_type type,
                        uint64_t disk_bytes)
{
    struct vhd_footer f = {
        .cookie = {'c', 'o', 'n', 'e', 'c', 't', 'i', 'x'},
        .features = 2,
        .version = 0x00010000,
        .data_offset = type == VHD_FIXED ? UINT64_MAX : VHD_FOOTER_BYTES,
        .timestamp = vhd_timestamp(how->unix_seconds),
        .creator = {'t', 'a', 'p', '\0'},
        .creator_version = CREATOR_VERSION,
        .original_bytes = disk_bytes,
        .current_bytes = disk_bytes,
        .geometry = vhd_geometry_of(disk_bytes / VHD_SECTOR),
        .type = type,
    };

    xk_random_bytes(how->random, f.uuid, sizeof(f.uuid));
    f.uuid[6] = (uint8_t)((f.uuid[6] & 0x0f) | 0x40);
    f.uuid[8] = (uint8_t)((f.uuid[8] & 0x3f) | 0x80);
    vhd_footer_encode(ret, &f);
}

static struct vhd_target *vhd_of(struct convert_target *t)
{
    return (struct vhd_target *)t;
}

/* ---- metadata ---- */

static uint64_t bat_bytes(const struct vhd_target *self)
{
    return XK_ROUND_UP((uint64_t)self->entries * sizeof(uint32_t), VHD_SECTOR);
}

static int lay_out(struct vhd_target *self, uint64_t disk_bytes, struct xk_err *err)
{
    const uint64_t table_bytes = disk_bytes == UINT64_MAX ? VHD_SIZE_MAX : disk_bytes;

    self->entries = XK_MAX((uint32_t)XK_DIV_UP(table_bytes, VHD_BLOCK_BYTES), 1u); /* nobody reads a table of none */
    self->batmap_header = TABLE_OFFSET + bat_bytes(self);
    self->batmap_sectors = XK_MAX(XK_DIV_UP(XK_DIV_UP(self->entries, 8), VHD_SECTOR), 1u);
    self->metadata_bytes = self->batmap_header + VHD_SECTOR + (uint64_t)self->batmap_sectors * VHD_SECTOR;
    /* The first bitmap is the first sector behind the tables that ends a page. */
    self->next = XK_ROUND_UP(self->metadata_bytes + VHD_SECTOR, (uint64_t)VHD_PAGE) - VHD_PAGE;
    self->bat = xk_alloc((size_t)self->entries * sizeof(*self->bat));
    if (!self->bat)
        return xk_fail_memory(err);
    memset(self->bat, 0xff, (size_t)self->entries * sizeof(*self->bat));
    return 0;
}

static void encode_tables(const struct vhd_target *self, uint8_t *image, uint64_t disk_bytes)
{
    uint8_t *const map = image + self->batmap_header + VHD_SECTOR;
    const struct vhd_header header = {
        .cookie = {'c', 'x', 's', 'p', 'a', 'r', 's', 'e'},
        .data_offset = UINT64_MAX,
        .table_offset = TABLE_OFFSET,
        .version = 0x00010000,
        .max_entries = self->entries,
        .block_bytes = VHD_BLOCK_BYTES,
    };
    struct vhd_batmap batmap = {
        .cookie = {'t', 'd', 'b', 'a', 't', 'm', 'a', 'p'},
        .offset = self->batmap_header + VHD_SECTOR,
        .size_sectors = self->batmap_sectors,
        .version = VHD_BATMAP_VERSION,
    };
    struct xk_writer bat = xk_writer(image + TABLE_OFFSET, (size_t)self->entries * sizeof(uint32_t));

    vhd_header_encode(image + VHD_FOOTER_BYTES, &header);
    for (uint32_t i = 0; i < self->entries; i++) {
        xk_write_be32(&bat, self->bat[i]);
        if (self->bat[i] != VHD_BAT_FREE)
            vhd_bit_set(map, i); /* every sector of a block is marked as present */
    }
    /* Summed over what the disk needs, whatever the size of the map. */
    const uint64_t map_bytes = XK_MAX(XK_ROUND_UP(disk_bytes / VHD_BLOCK_BYTES / 8, (uint64_t)VHD_SECTOR), VHD_SECTOR);
    batmap.checksum = vhd_batmap_checksum(VHD_BATMAP_VERSION, map, (size_t)map_bytes);
    vhd_batmap_encode(image + self->batmap_header, &batmap);
}

/* Everything before the blocks. The caller frees it; NULL: no memory. */
static uint8_t *encode_front(struct vhd_target *self, uint64_t disk_bytes)
{
    uint8_t *const image = xk_zalloc((size_t)self->metadata_bytes);

    if (image) {
        convert_vhd_footer(self->footer, self->target.how, VHD_DYNAMIC, disk_bytes);
        memcpy(image, self->footer, VHD_FOOTER_BYTES);
        encode_tables(self, image, disk_bytes);
    }
    return image;
}

/* ---- blocks ---- */

static int allocate(struct vhd_target *self, uint64_t block, struct xk_err *err)
{
    struct convert_target *const t = &self->target;

    if (block >= self->entries)
        return convert_check_vhd_size((block + 1) * VHD_BLOCK_BYTES, err);
    if (t->in_place && self->next + STRIDE + VHD_FOOTER_BYTES > t->device_bytes)
        return convert_too_small(t, self->next + STRIDE + VHD_FOOTER_BYTES, err);
    self->bat[block] = (uint32_t)((self->next + BITMAP_AT) / VHD_SECTOR);
    self->next += STRIDE;
    return 0;
}

static int mark_data(void *context, const struct volume_extent *e)
{
    struct vhd_target *const self = context;

    if (e->kind != VOLUME_DATA)
        return 0;
    const uint64_t last = (e->start + e->bytes - 1) / VHD_BLOCK_BYTES;
    for (uint64_t block = e->start / VHD_BLOCK_BYTES; block <= last; block++)
        self->bat[block] = 0;
    return 0;
}

static int plan_push(struct vhd_target *self, uint64_t disk_bytes, struct xk_err *err)
{
    const struct volume *const source = self->target.how->source;

    int code = volume_map(source, 0, source->size_bytes, mark_data, self, err);
    if (code < 0)
        return code;
    const uint64_t first = self->next;
    for (uint32_t i = 0; i < self->entries && code == 0; i++) {
        if (self->bat[i] != VHD_BAT_FREE)
            code = allocate(self, i, err);
    }
    xk_autofree uint8_t *front = code == 0 ? encode_front(self, disk_bytes) : NULL;
    if (code == 0 && !front)
        code = xk_fail_memory(err);
    if (code == 0)
        code = convert_push_bytes(&self->target, front, (size_t)self->metadata_bytes, err);
    self->next = first;
    return code;
}

static int vhd_begin(struct convert_target *t, uint64_t disk_bytes, struct xk_err *err)
{
    struct vhd_target *const self = vhd_of(t);

    int code = disk_bytes == UINT64_MAX ? 0 : convert_check_vhd_size(disk_bytes, err);
    if (code == 0)
        code = lay_out(self, disk_bytes, err);
    if (code == 0 && t->in_place && self->metadata_bytes + VHD_FOOTER_BYTES > t->device_bytes)
        code = convert_too_small(t, self->metadata_bytes + VHD_FOOTER_BYTES, err);
    if (code == 0 && !t->file)
        code = plan_push(self, disk_bytes, err);
    return code;
}

/* Push blocks that the map promised, up to but without `end`; they turned out to be zeros. */
static int push_zero_blocks(struct vhd_target *self, uint64_t end, struct xk_err *err)
{
    uint8_t bitmap[VHD_SECTOR];
    int code = 0;

    memset(bitmap, 0xff, sizeof(bitmap));
    for (; self->pushed_blocks < end && code == 0; self->pushed_blocks++) {
        if (self->bat[self->pushed_blocks] == VHD_BAT_FREE)
            continue;
        code = convert_push_zeros_to(&self->target, self->next + BITMAP_AT, err);
        if (code == 0)
            code = convert_push_bytes(&self->target, bitmap, sizeof(bitmap), err);
        self->next += STRIDE;
        if (code == 0)
            code = convert_push_zeros_to(&self->target, self->next, err);
    }
    return code;
}

static int push_block(struct vhd_target *self, struct convert_unit *u, struct xk_err *err)
{
    const uint32_t block = (uint32_t)(u->start / VHD_BLOCK_BYTES);

    int code = push_zero_blocks(self, u->any ? block : block + UINT64_C(1), err);
    if (code < 0 || !u->any)
        return code;
    if (self->bat[block] == VHD_BAT_FREE)
        return xk_fail(err, -ESTALE, "%s: changes while it is read", volume_layer_path(self->target.how->source, 0));
    memset(u->data - VHD_SECTOR, 0xff, VHD_SECTOR);
    code = convert_push_zeros_to(&self->target, self->next + BITMAP_AT, err);
    if (code == 0)
        code = convert_push_bytes(&self->target, u->data - VHD_SECTOR, VHD_SECTOR + VHD_BLOCK_BYTES, err);
    self->next += STRIDE;
    self->pushed_blocks = block + 1;
    return code;
}

static int vhd_place(struct convert_target *t, struct convert_unit *u, struct xk_err *err)
{
    struct vhd_target *const self = vhd_of(t);

    if (!t->file)
        return push_block(self, u, err);
    if (!u->any)
        return 0;
    u->place = self->next;
    return allocate(self, u->start / VHD_BLOCK_BYTES, err);
}

static uint64_t vhd_foresee(const struct convert_target *t, uint64_t start, size_t nth)
{
    return ((const struct vhd_target *)t)->next + nth * STRIDE;
}

static int vhd_write(struct convert_target *t, struct convert_unit *u, struct xk_err *err)
{
    uint8_t *const page = u->data - VHD_PAGE;

    memset(page, 0, BITMAP_AT);
    memset(page + BITMAP_AT, 0xff, VHD_SECTOR);
    return t->in_place ? convert_write(t, page, STRIDE, u->place, err) : convert_put(t, u, err);
}

/* Tables before footers, the copy at the front last. */
static int write_front(struct vhd_target *self, uint64_t disk_bytes, struct xk_err *err)
{
    struct convert_target *const t = &self->target;
    xk_autofree uint8_t *front = encode_front(self, disk_bytes);

    if (!front)
        return xk_fail_memory(err);
    int code = xk_file_write(t->file, front + VHD_FOOTER_BYTES, (size_t)self->metadata_bytes - VHD_FOOTER_BYTES,
                             VHD_FOOTER_BYTES, err);
    if (code == 0)
        code = xk_file_write(t->file, self->footer, VHD_FOOTER_BYTES, t->file_bytes - VHD_FOOTER_BYTES, err);
    if (code == 0)
        code = xk_file_write(t->file, self->footer, VHD_FOOTER_BYTES, 0, err);
    /* Space may have been taken for blocks that turned out to be zeros. */
    return code < 0 || t->in_place ? code : xk_file_truncate(t->file, t->file_bytes, err);
}

static int vhd_finish(struct convert_target *t, uint64_t disk_bytes, struct xk_err *err)
{
    struct vhd_target *const self = vhd_of(t);

    int code = convert_check_vhd_size(disk_bytes, err);
    if (code == 0 && !t->file)
        code = push_zero_blocks(self, self->entries, err);
    if (code < 0)
        return code;
    /* Without blocks the footer follows the tables at once. */
    const uint64_t end = XK_MAX(self->next, self->metadata_bytes);
    t->file_bytes = t->in_place ? t->device_bytes : end + VHD_FOOTER_BYTES;
    if (t->file)
        return write_front(self, disk_bytes, err);
    code = convert_push_zeros_to(t, end, err);
    return code < 0 ? code : convert_push_bytes(t, self->footer, VHD_FOOTER_BYTES, err);
}

static void vhd_done(struct convert_target *t)
{
    free(vhd_of(t)->bat);
    free(t);
}

int convert_vhd_target(struct convert_target **ret, struct xk_err *err)
{
    static const struct convert_target_ops ops = {.begin = vhd_begin,
                                                  .place = vhd_place,
                                                  .foresee = vhd_foresee,
                                                  .write = vhd_write,
                                                  .finish = vhd_finish,
                                                  .done = vhd_done};
    struct vhd_target *const self = xk_zalloc(sizeof(*self));

    if (!self)
        return xk_fail_memory(err);
    self->target.ops = &ops;
    self->target.head_bytes = VHD_PAGE;
    *ret = &self->target;
    return 0;
}
