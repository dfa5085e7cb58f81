/* `xenkit vhd compare`: do two images show the same disk? Ends at the first byte that differs. */
#include "rooms/vhd/pair.h"

#include "lib/volume/compare.h"

struct compare {
    bool strict;
    int formats[2];
    const char *chain_root;
};

static const struct xk_opt compare_opts[] = {
    XK_OPT_FLAG(0, "strict", struct compare, strict, "disks of different sizes differ, also when the rest is zeros"),
    VHD_OPT_FORMATS(struct compare),
    VHD_OPT_CHAIN_ROOT(struct compare),
    XK_OPT_END,
};

struct looking {
    struct xk_prog progress;
    uint64_t first;
};

#define FOUND 1

static int keep_first(void *context, const struct volume_difference *d)
{
    struct looking *const l = context;

    l->first = d->first;
    return FOUND;
}

static void pass_progress(void *context, uint64_t done)
{
    struct looking *const l = context;

    xk_prog_set(&l->progress, done);
}

static int compare(struct xk_app *app, const struct compare *opts, const struct vhd_pair *pair, struct xk_err *err)
{
    const bool sizes_differ = pair->a->size_bytes != pair->b->size_bytes;
    struct volume_compared compared = {0};
    struct looking looking;
    struct xk_out *const out = app->out;

    xk_prog_begin(&looking.progress, app->log, app->clock, "comparing", vhd_pair_bytes(pair), true);
    const int code = volume_compare_run(
        &compared, pair->a, pair->b,
        &(struct volume_compare){.visit = keep_first, .progress = pass_progress, .context = &looking}, err);
    xk_prog_end(&looking.progress);
    if (code < 0)
        return code;
    const bool equal = code != FOUND && !(opts->strict && sizes_differ);
    xk_out_record(out, "compared");
    xk_put_bool(out, "equal", equal);
    xk_out_color(out, equal ? XK_COLOR_GOOD : XK_COLOR_BAD);
    if (code == FOUND)
        xk_put_u64(out, "first_difference", looking.first);
    else
        xk_put_none(out, "first_difference");
    xk_put_bytes(out, "size_a", pair->a->size_bytes);
    xk_put_bytes(out, "size_b", pair->b->size_bytes);
    xk_put_bytes(out, "shared", compared.shared_bytes);
    xk_put_bytes(out, "empty", compared.empty_bytes);
    xk_put_bytes(out, "compared", compared.other_bytes);
    xk_out_end(out);
    return equal ? XK_EXIT_OK : XK_EXIT_BAD;
}

static int run(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    const struct compare *opts = args->opts;
    struct vhd_pair pair;

    int code = vhd_pair_open(&pair, app->fs, args->operands, opts->formats, opts->chain_root, err);
    if (code < 0)
        return code;
    code = compare(app, opts, &pair, err);
    vhd_pair_close(&pair);
    return code;
}

static const struct xk_exit_row exits[] = {
    {XK_EXIT_BAD, "the disks differ"},
    {0, NULL},
};
static const char *const example[] = {"sample.vhd", "sample.vhd", NULL};

const struct xk_command vhd_cmd_compare = {
    .name = "compare",
    .summary = "tell whether two images show the same disk",
    .operands = "A B",
    .min_operands = 2,
    .max_operands = 2,
    .opts = compare_opts,
    .opts_bytes = sizeof(struct compare),
    .run = run,
    .exits = exits,
    .example = example,
};
