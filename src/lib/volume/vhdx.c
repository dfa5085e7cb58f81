/*
 * One VHDX is explained by lib/vhdx; here it gets its parent. The parent locator has Windows paths: the relative one is
 * tried first, then the absolute one without its drive letter, then a file of that name beside the child.
 */
#include "lib/volume/inner.h"

#include "core/text.h"
#include "lib/vhdx/vhdx.h"

#include <string.h>

struct vhdx_volume {
    struct volume volume; /* first */
    struct vhdx image;
    struct volume *parent; /* NULL: none */
    struct volume_runs *runs;
};

static const struct vhdx_volume *vhdx_of(const struct volume *v)
{
    return (const struct vhdx_volume *)v;
}

struct vhdx_walk {
    const struct vhdx_volume *self;
    struct volume_join join;
    struct xk_err *err;
};

static int add_plain(void *context, const struct volume_extent *e)
{
    return volume_join_add(context, e);
}

static int add_extent(void *context, const struct vhdx_extent *from)
{
    struct vhdx_walk *const w = context;
    struct volume_extent e = {.start = from->start, .bytes = from->bytes};

    if (from->kind == VHDX_ABSENT)
        return volume_join_parent(&w->join, w->self->parent, from->start, from->bytes, w->err);
    if (from->kind == VHDX_ZERO) {
        e.kind = VOLUME_ZERO;
    } else if (from->plain) {
        e.file = &w->self->image.file;
        e.file_offset = from->file_offset;
        if (w->self->image.fixed)
            return volume_split_holes(&e, w->self->runs, add_plain, &w->join);
    }
    return volume_join_add(&w->join, &e);
}

static int vhdx_volume_map(const struct volume *v, uint64_t start, uint64_t bytes, volume_visit *visit, void *context,
                           struct xk_err *err)
{
    struct vhdx_walk w = {.self = vhdx_of(v), .join = {.visit = visit, .context = context}, .err = err};

    const int code = vhdx_map(&w.self->image, start, bytes, add_extent, &w, err);
    return code ? code : volume_join_flush(&w.join);
}

struct vhdx_read {
    const struct vhdx_volume *self;
    uint8_t *buf;
    uint64_t start;
    struct xk_err *err;
};

static int read_extent(void *context, const struct vhdx_extent *e)
{
    const struct vhdx_read *const r = context;
    uint8_t *const to = r->buf + (e->start - r->start);

    switch (e->kind) {
    case VHDX_DATA:
        return vhdx_read_file(&r->self->image, to, (size_t)e->bytes, e->file_offset, r->err);
    case VHDX_ABSENT:
        return volume_read_parent(r->self->parent, to, e->start, (size_t)e->bytes, r->err);
    default:
        memset(to, 0, (size_t)e->bytes);
        return 0;
    }
}

static int vhdx_read_stored(const struct volume *v, void *buf, uint64_t start, size_t bytes, struct xk_err *err)
{
    struct vhdx_read r = {.self = vhdx_of(v), .buf = buf, .start = start, .err = err};

    return vhdx_map(&r.self->image, start, bytes, read_extent, &r, err);
}

static const struct xk_file *vhdx_layer_file(const struct volume *v, int layer)
{
    const struct vhdx_volume *const self = vhdx_of(v);

    return layer == 0 ? &self->image.file : volume_layer_file(self->parent, layer - 1);
}

static void vhdx_volume_close(struct volume *v)
{
    struct vhdx_volume *const self = (struct vhdx_volume *)v;

    volume_close(self->parent);
    volume_runs_free(self->runs);
    vhdx_close(&self->image);
    free(self);
}

/* A Windows path as ours: no drive letter, slashes. The caller frees it; NULL: no memory. */
static char *from_windows(const char *text)
{
    const bool drive = ((text[0] | 0x20) >= 'a' && (text[0] | 0x20) <= 'z') && text[1] == ':';
    char *const path = xk_strdup(drive ? text + 2 : text);

    for (char *c = path; c && *c; c++) {
        if (*c == '\\')
            *c = '/';
    }
    return path;
}

static int find_parent(char **ret, const struct vhdx *v, const struct volume_options *options, struct xk_err *err)
{
    const char *const named = v->parent.relative_path ? v->parent.relative_path : v->parent.absolute_path;
    const char *const texts[] = {v->parent.relative_path, v->parent.absolute_path, named};

    for (size_t i = 0; i < XK_COUNT(texts); i++) {
        if (!texts[i] || !texts[i][0])
            continue;
        xk_autofree char *path = from_windows(texts[i]);
        if (!path)
            return xk_fail_memory(err);
        const int code = volume_parent_path(ret, v->path, i + 1 < XK_COUNT(texts) ? path : xk_base_name(path),
                                            options->chain_root, err);
        if (code == 0 || code == -EXDEV || code == -ENOMEM)
            return code;
    }
    return xk_fail(err, -ENOENT, "%s: its parent is missing; it is called %s", v->path, named ? named : "nothing");
}

static int open_parent(struct vhdx_volume *self, const struct xk_fs *fs, const struct volume_options *options,
                       const struct volume_trail *trail, struct xk_err *err)
{
    static const uint8_t none[16];
    const struct vhdx *const child = &self->image;
    xk_autofree char *path = NULL;

    if (!child->differencing)
        return 0;
    int code = find_parent(&path, child, options, err);
    if (code == 0)
        code = volume_vhdx_open(&self->parent, fs, path, options, trail, err);
    if (code < 0)
        return code;
    self->volume.layers += self->parent->layers;
    const struct vhdx *const parent = &vhdx_of(self->parent)->image;
    if (memcmp(parent->data_write_guid, child->parent.linkage, 16) != 0 &&
        (memcmp(child->parent.linkage2, none, 16) == 0 ||
         memcmp(parent->data_write_guid, child->parent.linkage2, 16) != 0))
        return xk_fail(err, -ESTALE, "%s: the parent %s is another one, or was written to since", child->path, path);
    return 0;
}

int volume_vhdx_open(struct volume **ret, const struct xk_fs *fs, const char *path,
                     const struct volume_options *options, const struct volume_trail *above, struct xk_err *err)
{
    static const struct volume_ops ops = {.map = vhdx_volume_map,
                                          .read_stored = vhdx_read_stored,
                                          .layer_file = vhdx_layer_file,
                                          .close = vhdx_volume_close};
    struct volume_trail trail;
    struct vhdx_volume *const self = xk_zalloc(sizeof(*self));

    if (!self)
        return xk_fail_memory(err);
    self->runs = volume_runs_new();
    int code = self->runs ? vhdx_open(&self->image, fs, path, err) : xk_fail_memory(err);
    if (code == 0) {
        self->volume = (struct volume){
            .ops = &ops,
            .format = VOLUME_VHDX,
            .size_bytes = self->image.size_bytes,
            .block_bytes = self->image.block_bytes,
            .layers = 1,
        };
        code = volume_trail_add(&trail, above, &self->image.file, options, err);
    }
    if (code == 0)
        code = open_parent(self, fs, options, &trail, err);
    if (code < 0) {
        vhdx_volume_close(&self->volume);
        return code;
    }
    *ret = &self->volume;
    return 0;
}
