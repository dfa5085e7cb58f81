/*
 * `xenkit vhd diff`: where disk B differs from disk A, as extents. What both take from a common ancestor is not read.
 */
#include "rooms/vhd/pair.h"

#include "lib/volume/compare.h"

struct diff {
    bool places;
    int formats[2];
    const char *chain_root;
};

static const struct xk_opt diff_opts[] = {
    XK_OPT_FLAG(0, "places", struct diff, places, "read no data: what comes from different places counts as changed"),
    VHD_OPT_FORMATS(struct diff),
    VHD_OPT_CHAIN_ROOT(struct diff),
    XK_OPT_END,
};

struct listing {
    struct xk_app *app;
    struct xk_prog progress;
    struct volume_difference pending; /* bytes 0: none */
    uint64_t extents;
};

static int flush(struct listing *l)
{
    struct xk_out *const out = l->app->out;

    if (l->pending.bytes == 0)
        return 0;
    xk_row(out);
    xk_put_u64(out, "start", l->pending.start);
    xk_put_bytes(out, "length", l->pending.bytes);
    xk_put_str(out, "kind", l->pending.zero ? "zero" : "data");
    l->pending.bytes = 0;
    l->extents++;
    return xk_out_error(out);
}

static int list_difference(void *context, const struct volume_difference *d)
{
    struct listing *const l = context;
    struct volume_difference *const p = &l->pending;

    if (p->bytes && p->zero == d->zero && p->start + p->bytes == d->start) {
        p->bytes += d->bytes;
        return 0;
    }
    const int code = flush(l);
    *p = *d;
    return code;
}

static void pass_progress(void *context, uint64_t done)
{
    struct listing *const l = context;

    xk_prog_set(&l->progress, done);
}

static int list(struct xk_app *app, const struct diff *opts, const struct vhd_pair *pair, struct xk_err *err)
{
    struct listing l = {.app = app};
    struct volume_compared compared;
    struct xk_out *const out = app->out;

    xk_out_rows(out, "changed");
    xk_prog_begin(&l.progress, app->log, app->clock, "comparing", vhd_pair_bytes(pair), true);
    int code = volume_compare_run(
        &compared, pair->a, pair->b,
        &(struct volume_compare){
            .places_only = opts->places, .visit = list_difference, .progress = pass_progress, .context = &l},
        err);
    xk_prog_end(&l.progress);
    if (code == 0)
        code = flush(&l);
    xk_out_end(out);
    if (code < 0)
        return code;
    xk_out_record(out, "totals");
    xk_put_u64(out, "extents", l.extents);
    xk_put_bytes(out, "changed", compared.differing_bytes);
    xk_put_bytes(out, "shared", compared.shared_bytes);
    xk_put_bytes(out, "empty", compared.empty_bytes);
    xk_put_bytes(out, "compared", opts->places ? 0 : compared.other_bytes);
    xk_put_bytes(out, "size_a", pair->a->size_bytes);
    xk_put_bytes(out, "size_b", pair->b->size_bytes);
    xk_out_end(out);
    return 0;
}

static int run(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    const struct diff *opts = args->opts;
    struct vhd_pair pair;

    int code = vhd_pair_open(&pair, app->fs, args->operands, opts->formats, opts->chain_root, err);
    if (code < 0)
        return code;
    code = list(app, opts, &pair, err);
    vhd_pair_close(&pair);
    return code;
}

static const char *const example[] = {"sample.vhd", "sample.vhd", NULL};

const struct xk_command vhd_cmd_diff = {
    .name = "diff",
    .summary = "list where disk B differs from disk A",
    .operands = "A B",
    .min_operands = 2,
    .max_operands = 2,
    .opts = diff_opts,
    .opts_bytes = sizeof(struct diff),
    .run = run,
    .example = example,
};
