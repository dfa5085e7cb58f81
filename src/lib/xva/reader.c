/*
 * An archive as it arrives: bytes go through the unpacker, if the first block shows that there is need of one, into a
 * small machine that knows what has to come next, a member's head, its content, or the zeros behind it.
 *
 * What a stranger can make us hold is one member that somebody waits for; any other is passed over. One call unpacks a
 * slice at most, however much a few bytes unfold into, so that others get their turn.
 */
#include "lib/xva/parts.h"

#include "core/buf.h"
#include "core/text.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define UNPACKED_BYTES (128u << 10)

enum step { HEAD, CONTENT, PADDING, OVER };
enum member { METADATA, PIECE, SUM, TABLE, LONG_NAME, SIDE };

struct sum {
    char name[XVA_NAME_MAX + 1], text[XVA_SUM_TEXT];
};

struct xva_reader {
    struct xva_settings settings;
    struct xva_told told;
    struct xva_disk *disks;
    size_t disk_count;
    bool expecting, inline_sums, table;
    /* the packing */
    uint8_t first[XVA_BLOCK];
    size_t first_bytes, first_used;
    bool opened; /* it is known whether it is packed */
    struct xva_unpack *unpack;
    uint8_t *unpacked;
    bool pending; /* the unpacker may have more */
    size_t slice;
    /* the archive */
    enum step step;
    enum member wanted; /* METADATA, PIECE, SUM, TABLE: which comes next */
    enum member now;
    struct tar_member member;
    char long_name[XVA_NAME_MAX + 2];
    struct xk_buf content; /* also the piece that waits for its checksum */
    uint64_t left;         /* of the content, or of the zeros */
    uint8_t head[XVA_BLOCK];
    size_t head_bytes;
    /* the disks */
    size_t disk;
    uint64_t offset, first_piece; /* first_piece: the size of the first one of all; 0: not known */
    int64_t number;               /* of the last piece; -1 */
    char piece[XVA_NAME_MAX + 1];
    struct sum *sums;
    size_t sum_count, sum_capacity;
};

struct xva_reader *xva_reader_new(const struct xva_settings *settings)
{
    struct xva_reader *const r = xk_zalloc(sizeof(*r));

    if (!r)
        return NULL;
    r->settings = *settings;
    r->content = XK_BUF_INIT(XK_MAX(XVA_PIECE_MAX, XVA_METADATA_MAX) + 1);
    r->number = -1;
    return r;
}

static void disks_free(struct xva_reader *r)
{
    for (size_t i = 0; i < r->disk_count; i++)
        free((char *)(uintptr_t)r->disks[i].name);
    free(r->disks);
    r->disks = NULL;
    r->disk_count = 0;
}

void xva_reader_free(struct xva_reader *r)
{
    if (!r)
        return;
    disks_free(r);
    xva_unpack_free(r->unpack);
    free(r->unpacked);
    xk_buf_done(&r->content);
    free(r->sums);
    free(r);
}

const struct xva_told *xva_reader_told(const struct xva_reader *r)
{
    return &r->told;
}

static enum xva_state fail(struct xva_reader *r, enum xva_fault fault, const char *found)
{
    if (!r->told.fault) {
        r->told.fault = fault;
        snprintf(r->told.found, sizeof(r->told.found), "%s", found);
    }
    r->step = OVER;
    return XVA_FAILED;
}

/* ---- disks ---- */

static void want(struct xva_reader *r);

int xva_reader_expect(struct xva_reader *r, const struct xva_disk *disks, size_t count, bool inline_sums, bool table)
{
    assert(!r->expecting && count <= XVA_DISKS_MAX);
    r->expecting = true;
    r->inline_sums = inline_sums;
    r->table = table;
    r->disks = xk_array_alloc(count + 1, sizeof(*r->disks));
    if (!r->disks)
        return -ENOMEM;
    for (; r->disk_count < count; r->disk_count++) {
        struct xva_disk *const disk = &r->disks[r->disk_count];
        *disk = disks[r->disk_count];
        disk->name = xk_strdup(disk->name);
        if (!disk->name)
            return -ENOMEM;
    }
    if (!r->settings.metadata)
        want(r);
    return 0;
}

static int compare_sums(const void *a, const void *b)
{
    return strcmp(a, ((const struct sum *)b)->name);
}

const char *xva_reader_sum(const struct xva_reader *r, const char *name)
{
    const struct sum *const found =
        r->sum_count ? bsearch(name, r->sums, r->sum_count, sizeof(*r->sums), compare_sums) : NULL;

    return found ? found->text : NULL;
}

size_t xva_reader_sums(const struct xva_reader *r)
{
    return r->sum_count;
}

static enum xva_state sum_keep(struct xva_reader *r, const char *text)
{
    if (r->sum_count == XVA_SUMS_MAX)
        return fail(r, XVA_TOO_LARGE, "more pieces than a table of checksums can be about");
    if (r->sum_count == r->sum_capacity) {
        const size_t more = r->sum_capacity ? 2 * r->sum_capacity : 64;
        struct sum *const sums = xk_realloc(r->sums, more * sizeof(*sums)); /* SUMS_MAX bounds it */
        if (!sums)
            return fail(r, XVA_NO_MEMORY, "");
        r->sums = sums;
        r->sum_capacity = more;
    }
    snprintf(r->sums[r->sum_count].name, sizeof(r->sums->name), "%s", r->piece);
    snprintf(r->sums[r->sum_count++].text, sizeof(r->sums->text), "%s", text);
    return XVA_MORE;
}

/* Which comes next, now that a disk may be whole. */
static void want(struct xva_reader *r)
{
    while (r->disk < r->disk_count && r->offset >= r->disks[r->disk].bytes) {
        r->disk++;
        r->offset = 0;
        r->number = -1;
    }
    r->wanted = r->disk < r->disk_count ? PIECE : TABLE;
    if (r->wanted == TABLE && !r->table)
        r->step = OVER;
}

/* ---- members ---- */

static enum xva_state metadata_end(struct xva_reader *r)
{
    if (r->settings.metadata(r->settings.context, xk_buf_str(&r->content), r->content.len) < 0)
        return fail(r, XVA_USER, "");
    xk_buf_done(&r->content);
    xk_buf_init(&r->content, XK_MAX(XVA_PIECE_MAX, XVA_METADATA_MAX) + 1);
    if (r->settings.metadata_only)
        r->step = OVER;
    else
        want(r);
    return XVA_MORE;
}

/* Its number, from DISK/NUMBER. */
static bool piece_number(const struct xva_reader *r, const char *name, int64_t *ret)
{
    const char *const digits = name + strlen(r->disks[r->disk].name) + 1;

    return isdigit((unsigned char)*digits) && xk_parse_i64(ret, digits) == 0;
}

static enum xva_state piece_begin(struct xva_reader *r)
{
    const char *const disk = r->disks[r->disk].name, *const name = r->member.name;
    const size_t len = strlen(disk);
    int64_t number;

    if (strncmp(name, disk, len) != 0 || name[len] != '/')
        return fail(r, XVA_PIECE_NAME, name);
    if (!piece_number(r, name, &number))
        return fail(r, XVA_PIECE_NUMBER, name + len + 1);
    if (number <= r->number)
        return fail(r, XVA_PIECE_NAME, name);
    if (r->first_piece == 0)
        r->first_piece = r->member.bytes;
    /* Pieces that are left out are as long as the very first one. */
    uint64_t skipped, start;
    if (xk_mul((uint64_t)(number - r->number - 1), r->first_piece, &skipped) || xk_add(r->offset, skipped, &start) ||
        start > INT64_MAX - XVA_PIECE_MAX)
        return fail(r, XVA_PIECE_NUMBER, name + len + 1);
    r->offset = start;
    r->number = number;
    snprintf(r->piece, sizeof(r->piece), "%s", name);
    return XVA_MORE;
}

static enum xva_state piece_end(struct xva_reader *r)
{
    char text[XVA_SUM_TEXT];

    if (r->settings.data(r->settings.context, r->disk, r->offset, xk_buf_str(&r->content), r->content.len) < 0)
        return fail(r, XVA_USER, "");
    r->offset += r->content.len;
    if (r->inline_sums) {
        r->wanted = SUM;
        return XVA_MORE;
    }
    if (xva_sum_text(text, XVA_SHA1, xk_buf_str(&r->content), r->content.len) < 0)
        return fail(r, XVA_NO_MEMORY, "");
    if (r->table && sum_keep(r, text) == XVA_FAILED)
        return XVA_FAILED;
    want(r);
    return XVA_MORE;
}

/* The kind of checksum that a member is, and whose: DISK/NUMBER.KIND. returns   false: it is none. */
static bool sum_kind(const struct xva_reader *r, enum xva_sum *ret)
{
    const char *const name = r->member.name;

    for (size_t i = 0; i < 2; i++)
        if (xk_has_suffix(name, xva_sum_suffixes[i])) {
            *ret = (enum xva_sum)i;
            return true;
        }
    return false;
}

static enum xva_state sum_begin(struct xva_reader *r)
{
    const size_t len = strlen(r->piece);
    enum xva_sum kind;

    if (!sum_kind(r, &kind) || r->member.bytes >= XVA_SUM_TEXT)
        return fail(r, XVA_SUM_NAME, r->member.name);
    if (strncmp(r->member.name, r->piece, len) != 0 || r->member.name[len] != '.')
        return fail(r, XVA_SUM_NAME, r->member.name);
    if (xva_sum_text(r->told.computed, kind, xk_buf_str(&r->content), r->content.len) < 0)
        return fail(r, XVA_NO_MEMORY, "");
    return XVA_MORE;
}

static enum xva_state sum_end(struct xva_reader *r)
{
    snprintf(r->told.said, sizeof(r->told.said), "%s", xk_buf_str(&r->content));
    if (strcmp(r->told.said, r->told.computed) != 0 && !r->settings.force)
        return fail(r, XVA_SUM_WRONG, r->piece);
    if (r->table && sum_keep(r, r->told.computed) == XVA_FAILED)
        return XVA_FAILED;
    want(r);
    return XVA_MORE;
}

static enum xva_state table_end(struct xva_reader *r)
{
    r->step = OVER;
    if (!r->settings.table || r->settings.table(r->settings.context, xk_buf_str(&r->content), r->content.len) == 0)
        return XVA_MORE;
    return r->settings.force ? XVA_MORE : fail(r, XVA_TABLE_WRONG, "");
}

/* About the next member: what is held for that one stays. */
static bool is_aside(enum member now)
{
    return now == LONG_NAME || now == SIDE;
}

static enum xva_state content_end(struct xva_reader *r)
{
    const enum member now = r->now;

    r->left = xva_tar_padding(r->member.bytes);
    r->step = PADDING;
    if (r->content.error)
        return fail(r, XVA_NO_MEMORY, "");
    switch (now) {
    case METADATA:
        return metadata_end(r);
    case PIECE:
        return piece_end(r);
    case SUM:
        return sum_end(r);
    case TABLE:
        return table_end(r);
    case LONG_NAME:
    case SIDE:
        break;
    }
    return XVA_MORE;
}

/* What the member may be long, and which sentence says that it is longer. */
static uint64_t limit_of(enum member now, const char **ret_text)
{
    switch (now) {
    case METADATA:
    case TABLE:
        *ret_text = "metadata of more than 64 MiB";
        return XVA_METADATA_MAX;
    case PIECE:
        *ret_text = "a piece of more than 64 MiB";
        return XVA_PIECE_MAX;
    case LONG_NAME:
        *ret_text = "a name of more than 255 bytes";
        return XVA_NAME_MAX + 1;
    default:
        *ret_text = "a member of more than 1 MiB that is none of a disk";
        return 1u << 20;
    }
}

static enum xva_state head_end(struct xva_reader *r)
{
    static const uint8_t zeros[XVA_BLOCK];
    const char *text;

    if (memcmp(r->head, zeros, sizeof(zeros)) == 0)
        return fail(r, XVA_STREAM_END, "");
    const enum tar_kind kind = xva_tar_read(&r->member, r->head);
    if (kind == TAR_BAD)
        return fail(r, XVA_DAMAGED_TAR, "");
    r->now = kind == TAR_LONG_NAME ? LONG_NAME : kind == TAR_SIDE ? SIDE : r->wanted;
    if (kind == TAR_FILE && *r->long_name) {
        snprintf(r->member.name, sizeof(r->member.name), "%s", r->long_name);
        *r->long_name = '\0';
    }
    if (r->now == METADATA && strcmp(r->member.name, XVA_METADATA_NAME) != 0)
        return fail(r, r->unpack ? XVA_UNEXPECTED : XVA_ENDED, r->member.name);
    if (r->member.bytes > limit_of(r->now, &text))
        return fail(r, XVA_TOO_LARGE, text);
    if (r->now == PIECE && piece_begin(r) == XVA_FAILED)
        return XVA_FAILED;
    if (r->now == SUM && sum_begin(r) == XVA_FAILED)
        return XVA_FAILED;
    if (!is_aside(r->now))
        xk_buf_reset(&r->content);
    else if (r->now == LONG_NAME)
        memset(r->long_name, 0, sizeof(r->long_name));
    r->left = r->member.bytes;
    r->step = CONTENT;
    return r->left == 0 ? content_end(r) : XVA_MORE;
}

/* ---- the machine ---- */

static enum xva_state take_head(struct xva_reader *r, const uint8_t *at, size_t count, size_t *ret_taken)
{
    const size_t part = XK_MIN(count, XVA_BLOCK - r->head_bytes);

    memcpy(r->head + r->head_bytes, at, part);
    r->head_bytes += part;
    *ret_taken = part;
    if (r->head_bytes < XVA_BLOCK)
        return XVA_MORE;
    r->head_bytes = 0;
    return head_end(r);
}

static enum xva_state take_content(struct xva_reader *r, const uint8_t *at, size_t count, size_t *ret_taken)
{
    const size_t part = (size_t)XK_MIN((uint64_t)count, r->left);

    if (r->now == LONG_NAME)
        memcpy(r->long_name + (r->member.bytes - r->left), at, part);
    else if (r->now != SIDE)
        xk_buf_add(&r->content, at, part);
    r->left -= part;
    *ret_taken = part;
    return r->left == 0 || r->content.error ? content_end(r) : XVA_MORE;
}

/* Bytes of the archive itself. */
static enum xva_state take(struct xva_reader *r, const uint8_t *at, size_t count)
{
    enum xva_state state = XVA_MORE;

    while (state == XVA_MORE && r->step != OVER && (count > 0 || (r->step == PADDING && r->left == 0))) {
        size_t taken = 0;
        if (r->step == HEAD) {
            state = take_head(r, at, count, &taken);
        } else if (r->step == CONTENT) {
            state = take_content(r, at, count, &taken);
        } else {
            taken = (size_t)XK_MIN((uint64_t)count, r->left);
            r->left -= taken;
            if (r->left == 0)
                r->step = HEAD;
        }
        at += taken;
        count -= taken;
    }
    return state == XVA_FAILED ? XVA_FAILED : r->step == OVER ? XVA_DONE : XVA_MORE;
}

/* ---- packing ---- */

static enum xva_state open_packing(struct xva_reader *r)
{
    const enum xva_packing packing = xva_packing_of(r->first, r->first_bytes);

    r->opened = true;
    if (packing == XVA_PLAIN)
        return XVA_MORE;
    r->unpack = xva_unpack_new(packing);
    r->unpacked = xk_array_alloc(UNPACKED_BYTES, 1);
    return r->unpack && r->unpacked ? XVA_MORE : fail(r, XVA_NO_MEMORY, "");
}

/* Input goes in; `*ret_taken` of it is gone. */
static enum xva_state pass_on(struct xva_reader *r, const uint8_t *at, size_t count, size_t *ret_taken)
{
    size_t taken, made;

    *ret_taken = 0;
    if (!r->unpack) {
        *ret_taken = count;
        return take(r, at, count);
    }
    do {
        const int code =
            xva_unpack_step(r->unpack, at + *ret_taken, count - *ret_taken, &taken, r->unpacked, UNPACKED_BYTES, &made);
        *ret_taken += taken;
        r->slice += made;
        r->pending = made == UNPACKED_BYTES;
        if (code == -ENOMEM)
            return fail(r, XVA_NO_MEMORY, "");
        const enum xva_state state = take(r, r->unpacked, made);
        if (state != XVA_MORE)
            return state;
        if (code < 0)
            return fail(r, XVA_ENDED, "");
        if (r->slice >= XVA_SLICE_BYTES && (r->pending || *ret_taken < count))
            return XVA_AGAIN;
    } while (r->pending || (*ret_taken < count && (taken > 0 || made > 0)));
    return *ret_taken < count ? fail(r, XVA_ENDED, "") : XVA_MORE;
}

enum xva_state xva_reader_feed(struct xva_reader *r, const void *bytes, size_t count, size_t *ret_taken)
{
    const uint8_t *const at = bytes;
    size_t taken = 0;

    *ret_taken = 0;
    r->slice = 0;
    if (r->step == OVER)
        return r->told.fault ? XVA_FAILED : XVA_DONE;
    if (!r->opened) {
        const size_t part = XK_MIN(count, XVA_BLOCK - r->first_bytes);
        memcpy(r->first + r->first_bytes, at, part);
        r->first_bytes += part;
        *ret_taken = part;
        if (r->first_bytes < XVA_BLOCK)
            return XVA_MORE;
        if (open_packing(r) == XVA_FAILED)
            return XVA_FAILED;
        /* As with xapi: what does not begin as an archive is taken for a packed one, which ends before it began. */
        if (!r->unpack && xva_tar_read(&r->member, r->first) == TAR_BAD)
            return fail(r, XVA_ENDED, "");
    }
    while (r->first_used < r->first_bytes) {
        const enum xva_state state = pass_on(r, r->first + r->first_used, r->first_bytes - r->first_used, &taken);
        r->first_used += taken;
        if (state != XVA_MORE)
            return state;
    }
    const enum xva_state state = pass_on(r, at + *ret_taken, count - *ret_taken, &taken);
    *ret_taken += taken;
    return state;
}

enum xva_state xva_reader_end(struct xva_reader *r)
{
    const bool packed = !r->opened && xva_packing_of(r->first, r->first_bytes) != XVA_PLAIN;
    size_t taken = 0;

    if (packed && open_packing(r) == XVA_FAILED)
        return XVA_FAILED;
    if (packed || r->pending) {
        const enum xva_state state = xva_reader_feed(r, "", 0, &taken);
        if (state != XVA_MORE)
            return state;
    }
    if (r->step == OVER)
        return r->told.fault ? XVA_FAILED : XVA_DONE;
    return fail(r, XVA_ENDED, "");
}
