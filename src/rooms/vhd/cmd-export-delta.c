/* `xenkit vhd export-delta`: what disk B has more than disk A, as a differencing image on A. */
#include "rooms/vhd/pair.h"

#include "lib/volume/delta.h"

struct delta {
    const char *from, *chain_root;
    int formats[2];
    bool verify, force, dry_run;
};

static const struct xk_opt delta_opts[] = {
    XK_OPT_TEXT(0, "from", struct delta, from, "A", "the disk that the new image will stand on"),
    XK_OPT_FLAG(0, "verify", struct delta, verify, "compare the new image with B afterwards"),
    VHD_OPT_FORMATS(struct delta),
    VHD_OPT_CHAIN_ROOT(struct delta),
    XK_OPT_FLAG(0, "force", struct delta, force, "replace an existing file"),
    XK_OPT_FLAG(0, "dry-run", struct delta, dry_run, "compare and say how much it would be, write nothing"),
    XK_OPT_END,
};

static int refuse_difference(void *context, const struct volume_difference *d)
{
    *(uint64_t *)context = d->first;
    return 1;
}

static int verify(struct xk_app *app, const struct delta *opts, const char *target, const struct volume *b,
                  struct xk_err *err)
{
    const struct volume_options options = {.format = VOLUME_VHD, .chain_root = opts->chain_root};
    struct volume_compared compared;
    struct volume *made = NULL;
    uint64_t first;

    int code = volume_open(&made, app->fs, target, &options, err);
    if (code < 0)
        return code;
    code = volume_compare_run(&compared, made, b,
                              &(struct volume_compare){.visit = refuse_difference, .context = &first}, err);
    volume_close(made);
    if (code > 0)
        code = xk_fail(err, -EBADMSG, "%s differs from %s at byte %llu", target, volume_layer_path(b, 0),
                       (unsigned long long)first);
    return code;
}

static int export(struct xk_app *app, const struct delta *opts, const struct vhd_pair *pair, const char *target,
                  struct xk_err *err)
{
    struct volume_delta_made made;
    struct xk_prog progress;

    xk_prog_begin(&progress, app->log, app->clock, "comparing", vhd_pair_bytes(pair), true);
    int code = volume_delta_write(&made, app->fs,
                                  &(struct volume_delta){
                                      .from = pair->a,
                                      .to = pair->b,
                                      .target = target,
                                      .overwrite = opts->force,
                                      .dry_run = opts->dry_run,
                                      .unix_seconds = app->clock->utc_ns(app->clock) / (int64_t)XK_NS_PER_S,
                                      .random = app->random,
                                      .chain_root = opts->chain_root,
                                      .progress = vhd_pair_progress,
                                      .context = &progress,
                                  },
                                  err);
    xk_prog_end(&progress);
    const bool check = opts->verify && !opts->dry_run;
    if (code == 0 && check)
        code = verify(app, opts, target, pair->b, err);
    if (code < 0)
        return code;
    xk_out_record(app->out, "delta");
    xk_put_str(app->out, "path", target);
    xk_put_str(app->out, "parent", volume_layer_path(pair->a, 0));
    xk_put_bytes(app->out, "size", made.bytes);
    xk_put_bytes(app->out, "data", made.data_bytes);
    xk_put_u64(app->out, "depth", made.depth);
    xk_put_bool(app->out, "written", !opts->dry_run);
    xk_put_bool(app->out, "verified", check);
    xk_out_end(app->out);
    return 0;
}

static int run(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    const struct delta *opts = args->opts;
    const char *const paths[] = {opts->from, args->operands[0]};
    struct vhd_pair pair;

    if (!opts->from) {
        const int code = xk_fail(err, -EINVAL, "a delta begins somewhere: --from A");
        xk_err_exit(err, XK_EXIT_USAGE);
        return code;
    }
    int code = vhd_pair_open(&pair, app->fs, paths, opts->formats, opts->chain_root, err);
    if (code < 0)
        return code;
    code = export(app, opts, &pair, args->operands[1], err);
    vhd_pair_close(&pair);
    return code;
}

static const char *const example[] = {"--from", "sample.vhd", "sample.vhd", "new.vhd", "--dry-run", NULL};

const struct xk_command vhd_cmd_export_delta = {
    .name = "export-delta",
    .summary = "write what disk B has more than disk A as a differencing image",
    .operands = "B TARGET",
    .min_operands = 2,
    .max_operands = 2,
    .opts = delta_opts,
    .opts_bytes = sizeof(struct delta),
    .run = run,
    .example = example,
};
