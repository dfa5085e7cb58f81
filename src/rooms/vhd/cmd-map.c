/* `xenkit vhd map`: the disk as extents, each with the image of the chain that it comes from. */
#include "rooms/vhd/room.h"

#include "core/text.h"
#include "lib/volume/volume.h"

struct map {
    uint64_t offset, length;
    int format;
    bool totals;
    const char *chain_root;
};

static const struct xk_opt map_opts[] = {
    XK_OPT_SIZE(0, "offset", struct map, offset, "SIZE", "begin at this byte of the disk [0]"),
    XK_OPT_SIZE(0, "length", struct map, length, "SIZE", "look at so many bytes [to the end of the disk]"),
    XK_OPT_FLAG(0, "totals", struct map, totals, "only how much each image contributes"),
    VHD_OPT_FORMAT(struct map),
    VHD_OPT_CHAIN_ROOT(struct map),
    XK_OPT_END,
};

static const char *const kind_names[] = {[VOLUME_DATA] = "data", [VOLUME_ZERO] = "zero", [VOLUME_HOLE] = "hole"};

struct layer_sum {
    uint64_t data_bytes, zero_bytes, hole_bytes, extents;
};

struct walk {
    struct xk_app *app;
    const struct volume *volume;
    struct layer_sum *sums; /* one for each layer, and one for what no layer has */
    bool rows;
};

static void put_layer(struct xk_out *out, const struct volume *v, int layer)
{
    if (layer == VOLUME_NO_LAYER)
        xk_put_none(out, "layer");
    else
        xk_put_i64(out, "layer", layer);
    xk_put_str(out, "path", volume_layer_path(v, layer));
}

static int visit(void *context, const struct volume_extent *e)
{
    struct walk *const w = context;
    struct layer_sum *const sum = &w->sums[e->layer == VOLUME_NO_LAYER ? w->volume->layers : (size_t)e->layer];
    struct xk_out *const out = w->app->out;

    sum->extents++;
    *(e->kind == VOLUME_DATA   ? &sum->data_bytes
      : e->kind == VOLUME_ZERO ? &sum->zero_bytes
                               : &sum->hole_bytes) += e->bytes;
    if (xk_stop_signal())
        return -EINTR;
    if (!w->rows)
        return 0;
    xk_row(out);
    xk_put_u64(out, "start", e->start);
    xk_put_bytes(out, "length", e->bytes);
    xk_put_str(out, "kind", kind_names[e->kind]);
    put_layer(out, w->volume, e->layer);
    if (e->kind == VOLUME_DATA && e->file)
        xk_put_u64(out, "file_offset", e->file_offset);
    else
        xk_put_none(out, "file_offset");
    return xk_out_error(out);
}

static void put_totals(const struct walk *w)
{
    struct xk_out *const out = w->app->out;

    xk_out_rows(out, "layers");
    for (size_t i = 0; i <= w->volume->layers; i++) {
        const struct layer_sum *const sum = &w->sums[i];
        const bool nobody = i == w->volume->layers;
        if (nobody && sum->extents == 0)
            continue;
        xk_row(out);
        put_layer(out, w->volume, nobody ? VOLUME_NO_LAYER : (int)i);
        xk_put_u64(out, "extents", sum->extents);
        xk_put_bytes(out, "data", sum->data_bytes);
        xk_put_bytes(out, "zero", sum->zero_bytes);
        xk_put_bytes(out, "hole", sum->hole_bytes);
    }
    xk_out_end(out);
}

static int map_volume(struct xk_app *app, const struct map *opts, const struct volume *v, struct xk_err *err)
{
    xk_autofree struct layer_sum *sums = xk_array_alloc(v->layers + 1, sizeof(*sums));
    struct walk w = {.app = app, .volume = v, .sums = sums, .rows = !opts->totals};

    if (!sums)
        return xk_fail_memory(err);
    if (opts->offset > v->size_bytes)
        return xk_fail(err, -EINVAL, "%s: offset %llu lies past the end of the disk (%llu bytes)",
                       volume_layer_path(v, 0), (unsigned long long)opts->offset, (unsigned long long)v->size_bytes);
    if (w.rows)
        xk_out_rows(app->out, "extents");
    const int code = volume_map(v, opts->offset, XK_MIN(opts->length, v->size_bytes - opts->offset), visit, &w, err);
    if (w.rows)
        xk_out_end(app->out);
    if (code == -EINTR)
        return xk_fail(err, code, "stopped before the end of the disk");
    if (code == 0)
        put_totals(&w);
    return code;
}

static int run(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    const struct map *opts = args->opts;
    const struct volume_options options = {.format = (enum volume_format)opts->format, .chain_root = opts->chain_root};
    struct volume *v = NULL;

    int code = volume_open(&v, app->fs, args->operands[0], &options, err);
    if (code < 0)
        return code;
    code = map_volume(app, opts, v, err);
    volume_close(v);
    return code;
}

static const struct map defaults = {.length = UINT64_MAX};
static const char *const example[] = {"sample.vhd", NULL};

const struct xk_command vhd_cmd_map = {
    .name = "map",
    .summary = "show the disk's extents and which image each comes from",
    .operands = "FILE",
    .min_operands = 1,
    .max_operands = 1,
    .opts = map_opts,
    .defaults = &defaults,
    .opts_bytes = sizeof(struct map),
    .run = run,
    .example = example,
};
