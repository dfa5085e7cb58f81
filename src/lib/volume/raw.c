/*
 * A raw image is its file; the map is what the file system stores of it.
 */
#include "lib/volume/inner.h"

struct raw {
    struct volume volume; /* first: a volume is a raw */
    struct xk_file file;
    char *path;
    struct volume_runs *runs;
};

static const struct raw *raw_of(const struct volume *v)
{
    return (const struct raw *)v;
}

static int raw_map(const struct volume *v, uint64_t start, uint64_t bytes, volume_visit *visit, void *context,
                   struct xk_err *err)
{
    const struct volume_extent whole = {
        .start = start, .bytes = bytes, .kind = VOLUME_DATA, .file = &raw_of(v)->file, .file_offset = start};

    return volume_split_holes(&whole, raw_of(v)->runs, visit, context);
}

static const struct xk_file *raw_layer_file(const struct volume *v, int layer)
{
    return &raw_of(v)->file;
}

static void raw_close(struct volume *v)
{
    struct raw *const r = (struct raw *)v;

    xk_file_close(&r->file);
    free(r->path);
    volume_runs_free(r->runs);
    free(r);
}

int volume_raw_open(struct volume **ret, const struct xk_fs *fs, const char *path, const struct volume_options *options,
                    const struct volume_trail *above, struct xk_err *err)
{
    static const struct volume_ops ops = {.map = raw_map, .layer_file = raw_layer_file, .close = raw_close};
    struct volume_trail trail;
    struct raw *const r = xk_zalloc(sizeof(*r));

    if (!r)
        return xk_fail_memory(err);
    r->volume = (struct volume){.ops = &ops, .format = VOLUME_RAW, .block_bytes = 4096, .layers = 1};
    r->file.fd = -1;
    r->path = xk_strdup(path);
    r->runs = volume_runs_new();
    int code = r->path && r->runs ? 0 : xk_fail_memory(err);
    if (code == 0)
        code = volume_file_open(&r->file, fs, r->path, &r->volume.size_bytes, err);
    if (code == 0)
        code = volume_trail_add(&trail, above, &r->file, options, err);
    if (code < 0) {
        raw_close(&r->volume);
        return code;
    }
    *ret = &r->volume;
    return 0;
}
