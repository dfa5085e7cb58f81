/*
 * One lock: readers share it, whoever changes something has it alone. What was written since the last commit is known
 * to the writer only, so the map asks it first, then the image's own tables, then the base. Weighed: committing before
 * each read of something new, which would sync the file for every block that a guest writes and reads back.
 */
#include "lib/volume/overlay.h"

#include "lib/vhd/chain.h"
#include "lib/vhd/write.h"
#include "lib/volume/inner.h"

#include <pthread.h>
#include <string.h>

#define ZEROS_BYTES   (64u * 1024)
#define EXTENTS_BATCH 256
/* How much of a large request is done before others get their turn. */
#define TURN_BYTES (8u * XK_MIB)

struct volume_overlay {
    struct volume view; /* first: the view is the overlay */
    const struct volume *base;
    char *path;
    struct vhd image;
    struct vhd_chain self; /* the image alone */
    struct vhd_writer writer;
    bool punched; /* space was given back since the last sync */
    uint8_t *zeros;
    pthread_rwlock_t lock;
};

static struct volume_overlay *overlay_of(const struct volume *v)
{
    return (struct volume_overlay *)(uintptr_t)v;
}

/* ---- what is where ---- */

struct overlay_walk {
    const struct volume_overlay *o;
    struct volume_join join;
    uint64_t start, end; /* of the range, bytes; sectors stick out */
    struct xk_err *err;
};

static int add_below(void *context, const struct volume_extent *from)
{
    struct overlay_walk *const w = context;
    struct volume_extent e = *from;

    if (e.layer != VOLUME_NO_LAYER)
        e.layer++;
    return volume_join_add(&w->join, &e);
}

/* Bytes [start, end) that the overlay does not have. */
static int walk_below(struct overlay_walk *w, uint64_t start, uint64_t end)
{
    const uint64_t there = XK_MIN(end, XK_MAX(start, w->o->base->size_bytes));
    const struct volume_extent rest = {
        .start = there, .bytes = end - there, .kind = VOLUME_HOLE, .layer = VOLUME_NO_LAYER};

    const int code = volume_map(w->o->base, XK_MIN(start, w->o->base->size_bytes), there - start, add_below, w, w->err);
    return code || !rest.bytes ? code : volume_join_add(&w->join, &rest);
}

/* Sectors from the overlay's own file, or not. */
static int walk_run(struct overlay_walk *w, uint64_t sector, uint64_t count, bool present, uint64_t file_offset)
{
    const uint64_t from = sector * VHD_SECTOR;
    const uint64_t start = XK_MAX(from, w->start), end = XK_MIN(from + count * VHD_SECTOR, w->end);

    if (!present)
        return walk_below(w, start, end);
    return volume_join_add(&w->join, &(struct volume_extent){.start = start,
                                                             .bytes = end - start,
                                                             .kind = VOLUME_DATA,
                                                             .file = &w->o->image.file,
                                                             .file_offset = file_offset + (start - from)});
}

static int add_committed(void *context, const struct vhd_extent *e)
{
    return walk_run(context, e->start, e->sectors, e->layer != VHD_LAYER_ZERO, e->file_offset);
}

static int walk_pending(struct overlay_walk *w, uint64_t first, uint64_t last, const uint8_t *bitmap, uint64_t data)
{
    const uint32_t per_block = vhd_sectors_per_block(&w->o->image);
    int code = 0;

    for (uint64_t at = first; at < last && code == 0;) {
        const bool present = vhd_bit(bitmap, at % per_block);
        uint64_t end = at + 1;
        while (end < last && vhd_bit(bitmap, end % per_block) == present)
            end++;
        code = walk_run(w, at, end - at, present, data + at % per_block * VHD_SECTOR);
        at = end;
    }
    return code;
}

static int walk(const struct volume_overlay *o, uint64_t start, uint64_t bytes, volume_visit *visit, void *context,
                struct xk_err *err)
{
    struct overlay_walk w = {
        .o = o, .join = {.visit = visit, .context = context}, .start = start, .end = start + bytes, .err = err};
    const uint32_t per_block = vhd_sectors_per_block(&o->image);
    const uint64_t last = XK_DIV_UP(w.end, VHD_SECTOR);
    int code = 0;

    for (uint64_t at = start / VHD_SECTOR; at < last && code == 0;) {
        const uint8_t *bitmap;
        uint32_t block;
        uint64_t data, until = last;
        const bool pending = vhd_writer_pending(&o->writer, (uint32_t)(at / per_block), &block, &bitmap, &data);
        if (pending && block == at / per_block) {
            until = XK_MIN(last, (uint64_t)(block + 1) * per_block);
            code = walk_pending(&w, at, until, bitmap, data);
        } else {
            if (pending)
                until = XK_MIN(last, (uint64_t)block * per_block);
            code = vhd_chain_map(&o->self, at, until - at, add_committed, &w, err);
        }
        at = until;
    }
    return code ? code : volume_join_flush(&w.join);
}

static int overlay_map(const struct volume *v, uint64_t start, uint64_t bytes, volume_visit *visit, void *context,
                       struct xk_err *err)
{
    struct volume_overlay *const o = overlay_of(v);

    pthread_rwlock_rdlock(&o->lock);
    const int code = walk(o, start, bytes, visit, context, err);
    pthread_rwlock_unlock(&o->lock);
    return code;
}

static int overlay_read_stored(const struct volume *v, void *buf, uint64_t start, size_t bytes, struct xk_err *err)
{
    return volume_read(overlay_of(v)->base, buf, bytes, start, err);
}

static const struct xk_file *overlay_layer_file(const struct volume *v, int layer)
{
    const struct volume_overlay *const o = overlay_of(v);

    return layer == 0 ? &o->image.file : volume_layer_file(o->base, layer - 1);
}

static void overlay_close(struct volume *v)
{
    volume_overlay_close(overlay_of(v));
}

/* ---- changing it; the lock is held alone ---- */

static int check_range(const struct volume_overlay *o, uint64_t start, uint64_t bytes, struct xk_err *err)
{
    uint64_t end;

    if (xk_add(start, bytes, &end) || end > o->view.size_bytes)
        return xk_fail(err, -EINVAL, "%s: %llu bytes at %llu pass the end of the disk (%llu bytes)", o->path,
                       (unsigned long long)bytes, (unsigned long long)start, (unsigned long long)o->view.size_bytes);
    return 0;
}

struct sector_read {
    uint8_t *sector;
    uint64_t start;
    const struct volume_overlay *o;
    struct xk_err *err;
};

static int read_part(void *context, const struct volume_extent *e)
{
    const struct sector_read *const r = context;
    uint8_t *const to = r->sector + (e->start - r->start);

    if (e->kind == VOLUME_DATA)
        return e->file ? xk_file_read(e->file, to, (size_t)e->bytes, e->file_offset, r->err)
                       : volume_read(r->o->base, to, (size_t)e->bytes, e->start, r->err);
    memset(to, 0, (size_t)e->bytes);
    return 0;
}

/* A part of one sector; buf NULL: zeros. */
static int write_part(struct volume_overlay *o, const uint8_t *buf, size_t bytes, uint64_t start, struct xk_err *err)
{
    uint8_t sector[VHD_SECTOR];
    const uint64_t from = start / VHD_SECTOR * VHD_SECTOR;
    struct sector_read r = {.sector = sector, .start = from, .o = o, .err = err};

    const int code = walk(o, from, sizeof(sector), read_part, &r, err);
    if (code < 0)
        return code;
    if (buf)
        memcpy(sector + (start - from), buf, bytes);
    else
        memset(sector + (start - from), 0, bytes);
    return vhd_writer_write(&o->writer, sector, from / VHD_SECTOR, 1, err);
}

/* The first piece of a range: up to the next sector's begin, or whole sectors up to `most` bytes, or what is left. */
static uint64_t next_piece(uint64_t start, uint64_t bytes, uint64_t most)
{
    const uint64_t in_sector = start % VHD_SECTOR;

    if (in_sector || bytes < VHD_SECTOR)
        return XK_MIN(bytes, VHD_SECTOR - in_sector);
    return XK_MIN(bytes / VHD_SECTOR * VHD_SECTOR, most);
}

static int write_range(struct volume_overlay *o, const uint8_t *buf, uint64_t bytes, uint64_t start, struct xk_err *err)
{
    int code = 0;

    while (bytes && code == 0) {
        const uint64_t part = next_piece(start, bytes, buf ? bytes : ZEROS_BYTES);
        if (part % VHD_SECTOR)
            code = write_part(o, buf, (size_t)part, start, err);
        else
            code = vhd_writer_write(&o->writer, buf ? buf : o->zeros, start / VHD_SECTOR, part / VHD_SECTOR, err);
        buf = buf ? buf + part : NULL;
        start += part;
        bytes -= part;
    }
    return code;
}

int volume_overlay_write(struct volume_overlay *o, const void *buf, size_t bytes, uint64_t start, struct xk_err *err)
{
    int code = check_range(o, start, bytes, err);

    if (code < 0)
        return code;
    pthread_rwlock_wrlock(&o->lock);
    code = write_range(o, buf, bytes, start, err);
    pthread_rwlock_unlock(&o->lock);
    return code;
}

/* Extents of a range, as many as fit; changing something while walking over it would move them. */
struct extents {
    struct volume_extent items[EXTENTS_BATCH];
    size_t count;
    uint64_t end;
};

static int keep_extent(void *context, const struct volume_extent *e)
{
    struct extents *const x = context;

    x->items[x->count++] = *e;
    x->end = e->start + e->bytes;
    return x->count == EXTENTS_BATCH;
}

/* Give the file's space back; the range reads as zeros then. 1: the file system cannot. */
static int punch(struct volume_overlay *o, const struct volume_extent *e, struct xk_err *err)
{
    const struct xk_file *const f = &o->image.file;
    const int code =
        f->fs->ops->allocate(f->fs, f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, e->file_offset, e->bytes);

    if (code == -EOPNOTSUPP || code == -ENOSYS)
        return 1;
    o->punched = true;
    return code < 0 ? xk_fail_sys(err, code, "%s: giving space back", o->path) : 0;
}

enum clearing { ZERO, ZERO_IN_PLACE, TRIM };

static int clear_extent(struct volume_overlay *o, const struct volume_extent *e, enum clearing how, struct xk_err *err)
{
    int code = 1;

    if (e->kind != VOLUME_DATA)
        return 0;
    if (e->layer == 0 && how != ZERO_IN_PLACE)
        code = punch(o, e, err);
    if (code == 1)
        code = how == TRIM ? 0 : write_range(o, NULL, e->bytes, e->start, err);
    return code;
}

static int clear_turn(struct volume_overlay *o, struct extents *x, uint64_t start, uint64_t bytes, enum clearing how,
                      struct xk_err *err)
{
    x->count = 0;
    int code = walk(o, start, bytes, keep_extent, x, err);
    for (size_t i = 0; i < x->count && code >= 0; i++)
        code = clear_extent(o, &x->items[i], how, err);
    return XK_MIN(code, 0);
}

static int clear(struct volume_overlay *o, uint64_t start, uint64_t bytes, enum clearing how, struct xk_err *err)
{
    const uint64_t end = start + bytes;
    xk_autofree struct extents *x = xk_alloc(sizeof(*x));

    if (!x)
        return xk_fail_memory(err);
    int code = check_range(o, start, bytes, err);
    while (code == 0 && start < end) {
        pthread_rwlock_wrlock(&o->lock);
        code = clear_turn(o, x, start, XK_MIN(end - start, TURN_BYTES), how, err);
        pthread_rwlock_unlock(&o->lock);
        start = x->end;
    }
    return code;
}

int volume_overlay_zero(struct volume_overlay *o, uint64_t start, uint64_t bytes, bool keep_space, struct xk_err *err)
{
    return clear(o, start, bytes, keep_space ? ZERO_IN_PLACE : ZERO, err);
}

int volume_overlay_trim(struct volume_overlay *o, uint64_t start, uint64_t bytes, struct xk_err *err)
{
    return clear(o, start, bytes, TRIM, err);
}

int volume_overlay_flush(struct volume_overlay *o, struct xk_err *err)
{
    pthread_rwlock_wrlock(&o->lock);
    const bool changed = o->writer.count > 0;
    int code = vhd_writer_commit(&o->writer, err);
    if (code == 0 && o->punched && !changed)
        code = xk_file_sync(&o->image.file, err);
    if (code == 0)
        o->punched = false;
    pthread_rwlock_unlock(&o->lock);
    /* What is safe in a file that has lost its name is lost with the last client. */
    return code < 0 ? code : xk_file_check_name(&o->image.file, err);
}

/* ---- opening ---- */

const struct volume *volume_overlay_view(const struct volume_overlay *o)
{
    return &o->view;
}

/* New blocks went over the footer at the end; without their commit it belongs where it was. */
static void drop_changes(struct volume_overlay *o)
{
    const struct vhd *const v = &o->image;
    uint8_t footer[VHD_FOOTER_BYTES];

    if (o->writer.count == 0 || v->block_device)
        return;
    vhd_footer_encode(footer, &v->footer);
    if (xk_file_write(&v->file, footer, sizeof(footer), v->end_offset, NULL) == 0)
        (void)xk_file_truncate(&v->file, v->end_offset + sizeof(footer), NULL);
}

void volume_overlay_close(struct volume_overlay *o)
{
    if (!o)
        return;
    drop_changes(o);
    vhd_writer_done(&o->writer);
    vhd_close(&o->image);
    (void)pthread_rwlock_destroy(&o->lock);
    free(o->zeros);
    free(o->path);
    free(o);
}

int volume_overlay_open(struct volume_overlay **ret, const struct xk_fs *fs, const char *path,
                        const struct volume *base, struct xk_err *err)
{
    static const struct volume_ops ops = {.map = overlay_map,
                                          .read_stored = overlay_read_stored,
                                          .layer_file = overlay_layer_file,
                                          .close = overlay_close};
    struct volume_overlay *const o = xk_zalloc(sizeof(*o));

    if (!o)
        return xk_fail_memory(err);
    (void)pthread_rwlock_init(&o->lock, NULL);
    o->base = base;
    o->image.file.fd = -1;
    o->path = xk_strdup(path);
    o->zeros = xk_zalloc(ZEROS_BYTES);
    int code = o->path && o->zeros ? vhd_open(&o->image, fs, o->path, VHD_WRITE, err) : xk_fail_memory(err);
    if (code == 0 && o->image.footer.type != VHD_DIFFERENCING)
        code = xk_fail(err, -EINVAL, "%s: is no differencing image", path);
    if (code == 0)
        code = vhd_writer_begin(&o->writer, &o->image, err);
    /* The image names its parents; what is served below it is what they were when they were opened. */
    if (code == 0)
        code = volume_check_names(base, err);
    if (code < 0) {
        volume_overlay_close(o);
        return code;
    }
    o->self = (struct vhd_chain){.layers = &o->image, .count = 1, .raw.fd = -1};
    o->view = (struct volume){.ops = &ops,
                              .format = VOLUME_VHD,
                              .size_bytes = o->image.footer.current_bytes,
                              .block_bytes = o->image.header.block_bytes,
                              .layers = base->layers + 1};
    *ret = o;
    return 0;
}
