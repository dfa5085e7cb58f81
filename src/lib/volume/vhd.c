/*
 * A VHD and its parents are resolved by lib/vhd; here its sectors become bytes, and what is stored is looked through
 * for holes of the file system: a block that was marked as present without being written is nothing to read.
 */
#include "lib/volume/inner.h"

#include "lib/vhd/chain.h"

struct vhd_volume {
    struct volume volume; /* first */
    struct vhd_chain chain;
    struct volume_runs **runs; /* for each layer */
};

static const struct vhd_volume *vhd_of(const struct volume *v)
{
    return (const struct vhd_volume *)v;
}

struct vhd_walk {
    const struct vhd_chain *chain;
    struct volume_runs *const *runs;
    struct volume_join join;
    uint64_t start, end; /* of the range in bytes; extents are whole sectors and stick out */
};

static int add_plain(void *context, const struct volume_extent *e)
{
    return volume_join_add(context, e);
}

/* The last sector of a raw parent may be short; what is missing reads as zeros. */
static int add_raw_parent(struct vhd_walk *w, struct volume_extent *e)
{
    const uint64_t file_bytes = w->chain->raw_bytes;
    const uint64_t there = e->file_offset < file_bytes ? XK_MIN(e->bytes, file_bytes - e->file_offset) : 0;
    struct volume_extent rest = {.start = e->start + there, .bytes = e->bytes - there, .kind = VOLUME_HOLE};
    int code = 0;

    rest.layer = e->layer;
    e->bytes = there;
    if (e->bytes)
        code = volume_split_holes(e, w->runs[e->layer], add_plain, &w->join);
    if (code == 0 && rest.bytes)
        code = volume_join_add(&w->join, &rest);
    return code;
}

static int add_extent(void *context, const struct vhd_extent *from)
{
    struct vhd_walk *const w = context;
    const uint64_t from_start = from->start * VHD_SECTOR;
    const uint64_t start = XK_MAX(from_start, w->start);
    const uint64_t end = XK_MIN(from_start + from->sectors * VHD_SECTOR, w->end);
    struct volume_extent e = {.start = start, .bytes = end - start, .layer = from->layer};

    if (from->layer == VHD_LAYER_ZERO) {
        e.kind = VOLUME_HOLE;
        e.layer = VOLUME_NO_LAYER;
        return volume_join_add(&w->join, &e);
    }
    const bool raw = (size_t)from->layer == w->chain->count;
    e.kind = VOLUME_DATA;
    e.file = raw ? &w->chain->raw : &w->chain->layers[from->layer].file;
    e.file_offset = from->file_offset + (start - from_start);
    return raw ? add_raw_parent(w, &e) : volume_split_holes(&e, w->runs[e.layer], add_plain, &w->join);
}

static int vhd_volume_map(const struct volume *v, uint64_t start, uint64_t bytes, volume_visit *visit, void *context,
                          struct xk_err *err)
{
    struct vhd_walk w = {.chain = &vhd_of(v)->chain,
                         .runs = vhd_of(v)->runs,
                         .join = {.visit = visit, .context = context},
                         .start = start,
                         .end = start + bytes};
    const uint64_t first = start / VHD_SECTOR;
    const uint64_t last = XK_DIV_UP(start + bytes, VHD_SECTOR);

    const int code = vhd_chain_map(w.chain, first, last - first, add_extent, &w, err);
    return code ? code : volume_join_flush(&w.join);
}

static const struct xk_file *vhd_layer_file(const struct volume *v, int layer)
{
    const struct vhd_chain *const c = &vhd_of(v)->chain;

    return (size_t)layer < c->count ? &c->layers[layer].file : &c->raw;
}

static void vhd_volume_close(struct volume *v)
{
    struct vhd_volume *const self = (struct vhd_volume *)v;

    vhd_chain_close(&self->chain);
    for (size_t i = 0; self->runs && i < v->layers; i++)
        volume_runs_free(self->runs[i]);
    free(self->runs);
    free(self);
}

static int make_runs(struct vhd_volume *self, struct xk_err *err)
{
    self->runs = xk_zalloc(self->volume.layers * sizeof(struct volume_runs *));
    for (size_t i = 0; self->runs && i < self->volume.layers; i++) {
        self->runs[i] = volume_runs_new();
        if (!self->runs[i])
            return xk_fail_memory(err);
    }
    return self->runs ? 0 : xk_fail_memory(err);
}

/* A parent that another format's chain came through would be a loop that vhd_chain_open() cannot see. */
static int check_trail(const struct vhd_chain *c, const struct volume_trail *above,
                       const struct volume_options *options, struct xk_err *err)
{
    struct volume_trail trail;

    for (size_t i = 0; i < c->count + c->raw.open; i++) {
        const int code = volume_trail_add(&trail, above, i < c->count ? &c->layers[i].file : &c->raw, options, err);
        if (code < 0)
            return code;
    }
    return 0;
}

int volume_vhd_open(struct volume **ret, const struct xk_fs *fs, const char *path, const struct volume_options *options,
                    const struct volume_trail *above, struct xk_err *err)
{
    static const struct volume_ops ops = {
        .map = vhd_volume_map, .layer_file = vhd_layer_file, .close = vhd_volume_close};
    const size_t depth_left = volume_depth_left(options, above);
    const struct vhd_chain_options how = {
        .search = {.root = options->chain_root},
        .open_flags = VHD_DEVICES | (options->use_copy ? VHD_BACKUP_OK : 0u) | (options->any_size ? VHD_ANY_SIZE : 0u),
        .depth_max = depth_left,
    };

    if (depth_left == 0)
        return xk_fail(err, -ELOOP, "%s: the chain has more than %zu images", path, volume_trail_length(above));
    struct vhd_volume *const self = xk_zalloc(sizeof(*self));
    if (!self)
        return xk_fail_memory(err);
    int code = vhd_chain_open(&self->chain, fs, path, &how, err);
    if (code < 0) {
        free(self);
        return code;
    }
    const struct vhd *const top = &self->chain.layers[0];
    self->volume = (struct volume){
        .ops = &ops,
        .format = VOLUME_VHD,
        .size_bytes = vhd_sectors(top) * VHD_SECTOR,
        .block_bytes = vhd_is_sparse(top) ? top->header.block_bytes : 4096,
        .layers = self->chain.count + self->chain.raw.open,
    };
    code = make_runs(self, err);
    if (code == 0)
        code = check_trail(&self->chain, above, options, err);
    if (code < 0) {
        vhd_volume_close(&self->volume);
        return code;
    }
    *ret = &self->volume;
    return 0;
}
