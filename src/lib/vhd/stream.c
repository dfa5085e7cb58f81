/*
 * The reader knows which part of the file it waits for, and throws away what stands before it: footer, header, table,
 * then the blocks in the order of their places. Whoever writes a stream writes them so; a file whose table stands
 * behind its blocks would have to be kept whole, and is refused.
 */
#include "lib/vhd/stream.h"

#include <stdlib.h>
#include <string.h>

#define BITMAP_BYTES(block_bytes) (((block_bytes) / VHD_SECTOR / 8 + VHD_SECTOR - 1) / VHD_SECTOR * VHD_SECTOR)
#define CREATOR                   "tap" /* whose size readers take as it is said; a version that has no batmap */
#define CREATOR_VERSION           0x10000u

enum part { FOOTER, HEADER, TABLE, BLOCK, OVER };

struct place {
    uint64_t offset; /* in the file */
    uint32_t number;
};

struct vhd_stream {
    struct vhd_stream_settings settings;
    enum part part;
    uint64_t at;           /* bytes of the file that are gone */
    uint64_t offset;       /* where the part begins */
    size_t wanted;         /* its bytes */
    struct xk_buf content; /* of it */
    struct vhd_footer footer;
    struct vhd_header header;
    struct place *blocks;
    size_t count, next;
};

struct vhd_stream *vhd_stream_new(const struct vhd_stream_settings *settings)
{
    struct vhd_stream *const s = xk_zalloc(sizeof(*s));

    if (!s)
        return NULL;
    s->settings = *settings;
    s->wanted = VHD_FOOTER_BYTES;
    s->content = XK_BUF_INIT((size_t)VHD_STREAM_BLOCKS_MAX * 4 + VHD_BLOCK_BYTES);
    return s;
}

void vhd_stream_free(struct vhd_stream *s)
{
    if (!s)
        return;
    xk_buf_done(&s->content);
    free(s->blocks);
    free(s);
}

/* ---- parts ---- */

static int await(struct vhd_stream *s, enum part part, uint64_t offset, size_t bytes, struct xk_err *err)
{
    if (offset < s->at)
        return xk_fail(err, -ENOTSUP, "a part at byte %llu, of which %llu are gone: no stream",
                       (unsigned long long)offset, (unsigned long long)s->at);
    s->part = part;
    s->offset = offset;
    s->wanted = bytes;
    return 0;
}

static int take_footer(struct vhd_stream *s, const uint8_t *bytes, struct xk_err *err)
{
    char text[128];

    vhd_footer_decode(&s->footer, bytes);
    const char *const problem = vhd_footer_problem(&s->footer, text, sizeof(text));
    if (problem)
        return xk_fail(err, -EBADMSG, "footer: %s", problem);
    if (s->footer.type != VHD_DYNAMIC && s->footer.type != VHD_DIFFERENCING)
        return xk_fail(err, -ENOTSUP, "a %s image is no stream", vhd_type_name(s->footer.type));
    if (s->footer.current_bytes > VHD_SIZE_MAX)
        return xk_fail(err, -EBADMSG, "a disk larger than the format has");
    if (s->settings.size && s->settings.size(s->settings.context, s->footer.current_bytes) < 0)
        return -ECANCELED;
    return await(s, HEADER, s->footer.data_offset, VHD_HEADER_BYTES, err);
}

static int take_header(struct vhd_stream *s, const uint8_t *bytes, struct xk_err *err)
{
    const struct vhd_header *const h = &s->header;
    char text[128];

    vhd_header_decode(&s->header, bytes);
    const char *const problem = vhd_header_problem(h, text, sizeof(text));
    if (problem)
        return xk_fail(err, -EBADMSG, "header: %s", problem);
    if (h->block_bytes < VHD_SECTOR || h->block_bytes > VHD_BLOCK_BYTES || h->block_bytes % VHD_SECTOR ||
        h->max_entries > VHD_STREAM_BLOCKS_MAX)
        return xk_fail(err, -EBADMSG, "header: %u blocks of %u bytes", h->max_entries, h->block_bytes);
    return await(s, TABLE, h->table_offset, (size_t)h->max_entries * 4, err);
}

static int compare_places(const void *a, const void *b)
{
    const struct place *const left = a, *const right = b;

    return left->offset < right->offset ? -1 : left->offset > right->offset;
}

static size_t block_file_bytes(const struct vhd_stream *s)
{
    return BITMAP_BYTES(s->header.block_bytes) + s->header.block_bytes;
}

static int await_block(struct vhd_stream *s, struct xk_err *err)
{
    if (s->next == s->count) {
        s->part = OVER;
        return 0;
    }
    return await(s, BLOCK, s->blocks[s->next].offset, block_file_bytes(s), err);
}

static int take_table(struct vhd_stream *s, const uint8_t *bytes, struct xk_err *err)
{
    struct xk_reader r = xk_reader(bytes, (size_t)s->header.max_entries * 4);

    s->blocks = xk_array_alloc((size_t)s->header.max_entries + 1, sizeof(*s->blocks));
    if (!s->blocks)
        return xk_fail_memory(err);
    for (uint32_t i = 0; i < s->header.max_entries; i++) {
        const uint32_t sector = xk_be32(&r);
        if (sector != VHD_BAT_FREE)
            s->blocks[s->count++] = (struct place){.offset = (uint64_t)sector * VHD_SECTOR, .number = i};
    }
    qsort(s->blocks, s->count, sizeof(*s->blocks), compare_places);
    return await_block(s, err);
}

/* Runs of sectors that the bitmap says are there. */
static int take_block(struct vhd_stream *s, const uint8_t *bytes, struct xk_err *err)
{
    const uint64_t start = (uint64_t)s->blocks[s->next].number * s->header.block_bytes;
    const uint64_t left = start < s->footer.current_bytes ? s->footer.current_bytes - start : 0;
    const uint8_t *const data = bytes + BITMAP_BYTES(s->header.block_bytes);
    const uint64_t sectors = XK_MIN(left, (uint64_t)s->header.block_bytes) / VHD_SECTOR;

    for (uint64_t from = 0, to; from < sectors; from = to) {
        const bool there = vhd_bit(bytes, from);
        for (to = from + 1; to < sectors && vhd_bit(bytes, to) == there;)
            to++;
        if (there && s->settings.data(s->settings.context, start + from * VHD_SECTOR, data + from * VHD_SECTOR,
                                      (size_t)(to - from) * VHD_SECTOR) < 0)
            return -ECANCELED;
    }
    s->next++;
    return await_block(s, err);
}

static int take_part(struct vhd_stream *s, struct xk_err *err)
{
    const uint8_t *const bytes = (const uint8_t *)xk_buf_str(&s->content);
    int code = 0;

    switch (s->part) {
    case FOOTER:
        code = take_footer(s, bytes, err);
        break;
    case HEADER:
        code = take_header(s, bytes, err);
        break;
    case TABLE:
        code = take_table(s, bytes, err);
        break;
    case BLOCK:
        code = take_block(s, bytes, err);
        break;
    case OVER:
        break;
    }
    xk_buf_reset(&s->content);
    return code;
}

int vhd_stream_feed(struct vhd_stream *s, const void *bytes, size_t count, struct xk_err *err)
{
    const uint8_t *at = bytes;

    for (;;) {
        if (s->part == OVER)
            return 1;
        const uint64_t skip = s->content.len == 0 && s->offset > s->at ? s->offset - s->at : 0;
        const size_t gone = (size_t)XK_MIN(skip, (uint64_t)count);
        const size_t part = gone == skip ? XK_MIN(count - gone, s->wanted - s->content.len) : 0;
        xk_buf_add(&s->content, at + gone, part);
        s->at += gone + part;
        at += gone + part;
        count -= gone + part;
        if (s->content.error)
            return xk_fail_memory(err);
        if (s->content.len < s->wanted || gone < skip)
            return 0;
        const int code = take_part(s, err);
        if (code < 0)
            return code;
    }
}

/* ---- writing ---- */

static struct vhd_footer footer_of(const struct vhd_stream_head *head)
{
    const uint64_t bytes = (head->bytes + VHD_SECTOR - 1) / VHD_SECTOR * VHD_SECTOR;
    struct vhd_footer f = {.features = 2,
                           .version = 0x10000,
                           .data_offset = VHD_FOOTER_BYTES,
                           .timestamp = vhd_timestamp(head->unix_seconds),
                           .creator_version = CREATOR_VERSION,
                           .original_bytes = bytes,
                           .current_bytes = bytes,
                           .geometry = vhd_geometry_of(bytes / VHD_SECTOR),
                           .type = head->differencing ? VHD_DIFFERENCING : VHD_DYNAMIC};

    memcpy(f.cookie, VHD_COOKIE, sizeof(f.cookie));
    memcpy(f.creator, CREATOR, sizeof(CREATOR));
    memcpy(f.uuid, head->uuid, sizeof(f.uuid));
    return f;
}

void vhd_stream_tail(struct xk_buf *ret, const struct vhd_stream_head *head)
{
    const struct vhd_footer footer = footer_of(head);
    uint8_t sector[VHD_FOOTER_BYTES];

    vhd_footer_encode(sector, &footer);
    xk_buf_add(ret, sector, sizeof(sector));
}

static void add_header(struct xk_buf *ret, const struct vhd_stream_head *head, uint32_t entries)
{
    struct vhd_header h = {.data_offset = UINT64_MAX,
                           .table_offset = VHD_FOOTER_BYTES + VHD_HEADER_BYTES,
                           .version = 0x10000,
                           .max_entries = entries,
                           .block_bytes = VHD_BLOCK_BYTES};
    uint8_t bytes[VHD_HEADER_BYTES];

    memcpy(h.cookie, VHD_HEADER_COOKIE, sizeof(h.cookie));
    if (head->differencing) {
        memcpy(h.parent_uuid, head->parent_uuid, sizeof(h.parent_uuid));
        h.parent_timestamp = vhd_timestamp(head->unix_seconds);
        for (size_t i = 0; head->parent_name[i] && 2 * i + 1 < sizeof(h.parent_name) - 2; i++)
            h.parent_name[2 * i + 1] = (uint8_t)head->parent_name[i];
    }
    vhd_header_encode(bytes, &h);
    xk_buf_add(ret, bytes, sizeof(bytes));
}

int vhd_stream_head(struct xk_buf *ret, const struct vhd_stream_head *head, const uint32_t *blocks, size_t count)
{
    if (head->bytes > VHD_SIZE_MAX)
        return -EFBIG;
    const uint32_t entries = (uint32_t)((head->bytes + VHD_BLOCK_BYTES - 1) / VHD_BLOCK_BYTES);
    const size_t table = ((size_t)entries * 4 + VHD_SECTOR - 1) / VHD_SECTOR * VHD_SECTOR;
    uint32_t sector = (uint32_t)((VHD_FOOTER_BYTES + VHD_HEADER_BYTES + table) / VHD_SECTOR);
    size_t next = 0;

    vhd_stream_tail(ret, head);
    add_header(ret, head, entries);
    for (size_t i = 0; i < table / 4; i++) {
        const bool there = next < count && blocks[next] == i;
        uint8_t entry[4];
        struct xk_writer w = xk_writer(entry, sizeof(entry));
        xk_write_be32(&w, there ? sector : VHD_BAT_FREE);
        xk_buf_add(ret, entry, sizeof(entry));
        next += there;
        if (there)
            sector += (uint32_t)((BITMAP_BYTES(VHD_BLOCK_BYTES) + VHD_BLOCK_BYTES) / VHD_SECTOR);
    }
    return ret->error;
}
