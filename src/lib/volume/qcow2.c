/*
 * One qcow2 is explained by lib/qcow2; here it gets its backing file, which may be of any format.
 *
 * A backing file of no stated format is looked at for its marks, as QEMU does. Whoever writes inside a raw backing file
 * could so make it look like another format; `xenkit` opens it for reading only, and chain_root bounds what it can
 * name.
 */
#include "lib/volume/inner.h"

#include "core/text.h"
#include "lib/qcow2/qcow2.h"

#include <string.h>

struct qcow2_volume {
    struct volume volume; /* first */
    struct qcow2 image;
    struct volume *backing; /* NULL: none */
};

static const struct qcow2_volume *qcow2_of(const struct volume *v)
{
    return (const struct qcow2_volume *)v;
}

struct qcow2_walk {
    const struct qcow2_volume *self;
    struct volume_join join;
    struct xk_err *err;
};

static int add_extent(void *context, const struct qcow2_extent *from)
{
    struct qcow2_walk *const w = context;
    struct volume_extent e = {.start = from->start, .bytes = from->bytes};

    switch (from->kind) {
    case QCOW2_ABSENT:
        return volume_join_parent(&w->join, w->self->backing, from->start, from->bytes, w->err);
    case QCOW2_ZERO:
        e.kind = VOLUME_ZERO;
        break;
    case QCOW2_DATA:
        e.file = &w->self->image.file;
        e.file_offset = from->file_offset;
        break;
    case QCOW2_COMPRESSED:
        break;
    }
    return volume_join_add(&w->join, &e);
}

static int qcow2_volume_map(const struct volume *v, uint64_t start, uint64_t bytes, volume_visit *visit, void *context,
                            struct xk_err *err)
{
    struct qcow2_walk w = {.self = qcow2_of(v), .join = {.visit = visit, .context = context}, .err = err};

    const int code = qcow2_map(&w.self->image, start, bytes, add_extent, &w, err);
    return code ? code : volume_join_flush(&w.join);
}

struct qcow2_read {
    const struct qcow2_volume *self;
    uint8_t *buf;
    uint64_t start;
    uint8_t *cluster; /* expanded; NULL until the first one that is not wanted whole */
    struct xk_err *err;
};

/* A whole cluster expands right into its place. */
static int read_compressed(struct qcow2_read *r, uint8_t *to, const struct qcow2_extent *e)
{
    const struct qcow2 *const q = &r->self->image;
    const uint32_t cluster = qcow2_cluster_bytes(q);

    if (e->bytes == cluster)
        return qcow2_read_compressed(q, to, e->entry, r->err);
    if (!r->cluster)
        r->cluster = xk_alloc(cluster);
    if (!r->cluster)
        return xk_fail_memory(r->err);
    const int code = qcow2_read_compressed(q, r->cluster, e->entry, r->err);
    if (code == 0)
        memcpy(to, r->cluster + e->start % cluster, (size_t)e->bytes);
    return code;
}

static int read_extent(void *context, const struct qcow2_extent *e)
{
    struct qcow2_read *const r = context;
    uint8_t *const to = r->buf + (e->start - r->start);

    switch (e->kind) {
    case QCOW2_COMPRESSED:
        return read_compressed(r, to, e);
    case QCOW2_DATA:
        return xk_file_read(&r->self->image.file, to, (size_t)e->bytes, e->file_offset, r->err);
    case QCOW2_ABSENT:
        return volume_read_parent(r->self->backing, to, e->start, (size_t)e->bytes, r->err);
    default:
        memset(to, 0, (size_t)e->bytes);
        return 0;
    }
}

static int qcow2_read_stored(const struct volume *v, void *buf, uint64_t start, size_t bytes, struct xk_err *err)
{
    struct qcow2_read r = {.self = qcow2_of(v), .buf = buf, .start = start, .err = err};

    const int code = qcow2_map(&r.self->image, start, bytes, read_extent, &r, err);
    free(r.cluster);
    return code;
}

static const struct xk_file *qcow2_layer_file(const struct volume *v, int layer)
{
    const struct qcow2_volume *const self = qcow2_of(v);

    return layer == 0 ? &self->image.file : volume_layer_file(self->backing, layer - 1);
}

static void qcow2_volume_close(struct volume *v)
{
    struct qcow2_volume *const self = (struct qcow2_volume *)v;

    volume_close(self->backing);
    qcow2_close(&self->image);
    free(self);
}

static int format_of(enum volume_format *ret, const struct qcow2 *q, struct xk_err *err)
{
    static const struct {
        const char *name;
        enum volume_format format;
    } known[] = {{"raw", VOLUME_RAW}, {"qcow2", VOLUME_QCOW2}, {"vpc", VOLUME_VHD}, {"vhdx", VOLUME_VHDX}};

    *ret = VOLUME_AUTO;
    if (!q->backing_format)
        return 0;
    for (size_t i = 0; i < XK_COUNT(known); i++) {
        if (strcmp(q->backing_format, known[i].name) == 0) {
            *ret = known[i].format;
            return 0;
        }
    }
    return xk_fail(err, -ENOTSUP, "%s: its backing file has the format '%s', which cannot be read", q->path,
                   q->backing_format);
}

/* "nbd://…", "json:{…}" and the like name no file; a colon behind a slash does. */
static bool names_protocol(const char *name)
{
    const size_t length = strcspn(name, ":/");

    return name[length] == ':';
}

static int open_backing(struct qcow2_volume *self, const struct xk_fs *fs, const struct volume_options *options,
                        const struct volume_trail *trail, struct xk_err *err)
{
    const struct qcow2 *const q = &self->image;
    struct volume_options below = *options;
    xk_autofree char *path = NULL;

    if (!q->backing_name || !q->backing_name[0])
        return 0;
    const char *const name = q->backing_name + (xk_has_prefix(q->backing_name, "file:") ? strlen("file:") : 0);
    if (names_protocol(name))
        return xk_fail(err, -ENOTSUP, "%s: its backing file '%s' is no file", q->path, q->backing_name);
    int code = format_of(&below.format, q, err);
    if (code == 0)
        code = volume_parent_path(&path, q->path, name, options->chain_root, err);
    if (code == 0)
        code = volume_open_below(&self->backing, fs, path, &below, trail, err);
    if (code == 0)
        self->volume.layers += self->backing->layers;
    return code;
}

int volume_qcow2_open(struct volume **ret, const struct xk_fs *fs, const char *path,
                      const struct volume_options *options, const struct volume_trail *above, struct xk_err *err)
{
    static const struct volume_ops ops = {.map = qcow2_volume_map,
                                          .read_stored = qcow2_read_stored,
                                          .layer_file = qcow2_layer_file,
                                          .close = qcow2_volume_close};
    struct volume_trail trail;
    struct qcow2_volume *const self = xk_zalloc(sizeof(*self));

    if (!self)
        return xk_fail_memory(err);
    int code = qcow2_open(&self->image, fs, path, err);
    if (code == 0) {
        self->volume = (struct volume){
            .ops = &ops,
            .format = VOLUME_QCOW2,
            .size_bytes = self->image.size_bytes,
            .block_bytes = qcow2_cluster_bytes(&self->image),
            .layers = 1,
        };
        code = volume_trail_add(&trail, above, &self->image.file, options, err);
    }
    if (code == 0)
        code = open_backing(self, fs, options, &trail, err);
    if (code < 0) {
        qcow2_volume_close(&self->volume);
        return code;
    }
    *ret = &self->volume;
    return 0;
}
