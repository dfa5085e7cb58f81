/*
 * Both maps are fetched a window at a time into arrays and merged: maps come by callback, and two callbacks cannot wait
 * for each other without threads. A window ends where the first array is full, so memory does not depend on how
 * fragmented the images are.
 */
#include "lib/volume/compare.h"

#include "core/clock.h"

#include <string.h>

#define WINDOW_EXTENTS 2048
#define PIECE_BYTES    (256u * 1024)

/* The extents of one disk from some point on. */
struct window {
    const struct volume *volume;
    struct volume_extent *items; /* WINDOW_EXTENTS of them */
    size_t count, at;
    uint64_t end; /* what they cover */
    /* Of the file that was last asked for: which one it is. */
    const struct xk_file *known;
    dev_t dev;
    ino_t ino;
};

struct comparison {
    const struct volume_compare *how;
    struct volume_compared *ret;
    struct window a, b;
    uint8_t *a_piece, *b_piece, *zeros; /* PIECE_BYTES each */
    struct xk_err *err;
};

static int keep_extent(void *context, const struct volume_extent *e)
{
    struct window *const w = context;

    w->items[w->count++] = *e;
    w->end = e->start + e->bytes;
    return w->count == WINDOW_EXTENTS;
}

/* Fetch from `start` on, unless what is there goes further. Past the end of the disk there is one hole. */
static int window_fill(struct window *w, uint64_t start, uint64_t disks_end, struct xk_err *err)
{
    const uint64_t size = w->volume->size_bytes;

    if (start < w->end)
        return 0;
    w->count = w->at = 0;
    if (start < size) {
        const int code = volume_map(w->volume, start, size - start, keep_extent, w, err);
        return code < 0 ? code : 0;
    }
    w->items[w->count++] = (struct volume_extent){
        .start = start, .bytes = disks_end - start, .kind = VOLUME_HOLE, .layer = VOLUME_NO_LAYER};
    w->end = disks_end;
    return 0;
}

/* The part of the extent at `start` that lies in the window. */
static struct volume_extent window_at(struct window *w, uint64_t start)
{
    while (w->items[w->at].start + w->items[w->at].bytes <= start)
        w->at++;
    struct volume_extent e = w->items[w->at];
    const uint64_t skip = start - e.start;
    e.start = start;
    e.bytes -= skip;
    e.file_offset += skip;
    return e;
}

static bool identify(struct window *w, const struct xk_file *file)
{
    struct stat st;

    if (w->known == file)
        return true;
    if (file->fs->ops->fstat(file->fs, file->fd, &st) < 0)
        return false;
    w->known = file;
    w->dev = st.st_dev;
    w->ino = st.st_ino;
    return true;
}

static bool same_place(struct comparison *c, const struct volume_extent *a, const struct volume_extent *b)
{
    return a->kind == VOLUME_DATA && b->kind == VOLUME_DATA && a->file && b->file && a->file_offset == b->file_offset &&
           identify(&c->a, a->file) && identify(&c->b, b->file) && c->a.dev == c->b.dev && c->a.ino == c->b.ino;
}

/* `bytes` of an extent, skip bytes into it; either read into buf or the zeros. */
static int fetch(const struct comparison *c, const struct volume *v, const struct volume_extent *e, uint64_t skip,
                 size_t bytes, uint8_t *buf, const uint8_t **ret)
{
    *ret = buf;
    if (e->kind == VOLUME_DATA)
        return e->file ? xk_file_read(e->file, buf, bytes, e->file_offset + skip, c->err)
                       : volume_read(v, buf, bytes, e->start + skip, c->err);
    *ret = c->zeros;
    return 0;
}

static int tell(struct comparison *c, const struct volume_difference *d)
{
    c->ret->differing_bytes += d->bytes;
    return c->how->visit(c->how->context, d);
}

/* Runs of units that differ; a run ends where b turns from zeros to data, too. */
static int tell_pieces(struct comparison *c, uint64_t start, const uint8_t *a, const uint8_t *b, size_t bytes)
{
    for (size_t at = 0; at < bytes;) {
        struct volume_difference d = {.start = start + at, .data = b + at};
        size_t end = at;
        while (end < bytes) {
            const size_t unit = XK_MIN(bytes - end, (size_t)VOLUME_COMPARE_UNIT);
            if (memcmp(a + end, b + end, unit) == 0)
                break;
            const bool zero = memcmp(b + end, c->zeros, unit) == 0;
            if (end > at && zero != d.zero)
                break;
            d.zero = zero;
            end += unit;
        }
        if (end == at) {
            at += VOLUME_COMPARE_UNIT;
            continue;
        }
        d.bytes = end - at;
        d.first = d.start;
        while (a[d.first - start] == b[d.first - start])
            d.first++;
        const int code = tell(c, &d);
        if (code)
            return code;
        at = end;
    }
    return 0;
}

static int compare_data(struct comparison *c, const struct volume_extent *a, const struct volume_extent *b,
                        uint64_t bytes)
{
    for (uint64_t at = 0; at < bytes;) {
        /* Pieces begin and end on multiples of their size, so units do not move with the extents. */
        const uint64_t start = a->start + at;
        const size_t part = (size_t)XK_MIN(bytes - at, PIECE_BYTES - start % PIECE_BYTES);
        const uint8_t *a_data, *b_data;
        if (xk_stop_signal())
            return xk_fail(c->err, -EINTR, "stopped at byte %llu of the disk", (unsigned long long)start);
        int code = fetch(c, c->a.volume, a, at, part, c->a_piece, &a_data);
        if (code == 0)
            code = fetch(c, c->b.volume, b, at, part, c->b_piece, &b_data);
        if (code == 0 && memcmp(a_data, b_data, part) != 0)
            code = tell_pieces(c, start, a_data, b_data, part);
        if (code)
            return code;
        at += part;
        if (c->how->progress)
            c->how->progress(c->how->context, start + part);
    }
    return 0;
}

static int compare_pair(struct comparison *c, const struct volume_extent *a, const struct volume_extent *b,
                        uint64_t bytes)
{
    if (a->kind != VOLUME_DATA && b->kind != VOLUME_DATA) {
        c->ret->empty_bytes += bytes;
        return 0;
    }
    if (same_place(c, a, b)) {
        c->ret->shared_bytes += bytes;
        return 0;
    }
    c->ret->other_bytes += bytes;
    if (!c->how->places_only)
        return compare_data(c, a, b, bytes);
    return tell(c, &(struct volume_difference){
                       .start = a->start, .bytes = bytes, .first = a->start, .zero = b->kind != VOLUME_DATA});
}

static int compare_all(struct comparison *c)
{
    const uint64_t end = XK_MAX(c->a.volume->size_bytes, c->b.volume->size_bytes);

    for (uint64_t at = 0; at < end;) {
        int code = window_fill(&c->a, at, end, c->err);
        if (code == 0)
            code = window_fill(&c->b, at, end, c->err);
        if (code)
            return code;
        const uint64_t both = XK_MIN(c->a.end, c->b.end);
        while (at < both) {
            const struct volume_extent a = window_at(&c->a, at), b = window_at(&c->b, at);
            const uint64_t bytes = XK_MIN(a.bytes, b.bytes);
            code = compare_pair(c, &a, &b, bytes);
            if (code)
                return code;
            at += bytes;
        }
        if (xk_stop_signal())
            return xk_fail(c->err, -EINTR, "stopped at byte %llu of the disk", (unsigned long long)at);
        if (c->how->progress)
            c->how->progress(c->how->context, at);
    }
    return 0;
}

int volume_compare_run(struct volume_compared *ret, const struct volume *a, const struct volume *b,
                       const struct volume_compare *how, struct xk_err *err)
{
    xk_autofree struct volume_extent *extents = xk_array_alloc(2 * WINDOW_EXTENTS, sizeof(*extents));
    xk_autofree uint8_t *pieces = xk_zalloc((size_t)3 * PIECE_BYTES);

    *ret = (struct volume_compared){0};
    if (!extents || !pieces)
        return xk_fail_memory(err);
    struct comparison c = {
        .how = how,
        .ret = ret,
        .a = {.volume = a, .items = extents},
        .b = {.volume = b, .items = extents + WINDOW_EXTENTS},
        .a_piece = pieces,
        .b_piece = pieces + PIECE_BYTES,
        .zeros = pieces + (size_t)2 * PIECE_BYTES,
        .err = err,
    };
    return compare_all(&c);
}
