/* `xenkit vhd snapshot`: a differencing image on top of another image or a raw disk. */
#include "rooms/vhd/room.h"

#include "core/text.h"
#include "lib/vhd/create.h"

struct snapshot {
    const char *parent, *chain_root;
    uint64_t reserve, depth_limit;
    bool raw, keep_empty, force, dry_run;
};

static const struct xk_opt snapshot_opts[] = {
    XK_OPT_TEXT('p', "parent", struct snapshot, parent, "FILE", "the image to stand on"),
    XK_OPT_FLAG(0, "raw", struct snapshot, raw, "the parent is a raw disk"),
    XK_OPT_FLAG(0, "keep-empty", struct snapshot, keep_empty,
                "link to the named parent even when it is an empty snapshot itself"),
    XK_OPT_U64(0, "depth-limit", struct snapshot, depth_limit, "N", 1, VHD_DEPTH_MAX,
               "refuse a chain deeper than N [30]"),
    XK_OPT_SIZE(0, "reserve", struct snapshot, reserve, "SIZE", "make tables for growth up to SIZE [the disk's size]"),
    VHD_OPT_CHAIN_ROOT(struct snapshot),
    XK_OPT_FLAG(0, "force", struct snapshot, force, "replace an existing file"),
    XK_OPT_FLAG(0, "dry-run", struct snapshot, dry_run, "say what would be made, write nothing"),
    XK_OPT_END,
};

static int run(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    const struct snapshot *opts = args->opts;
    const struct vhd_snapshot how = {
        .path = args->operands[0],
        .parent = opts->parent,
        .parent_raw = opts->raw,
        .keep_empty = opts->keep_empty,
        .reserve_bytes = opts->reserve,
        .depth_limit = (unsigned)opts->depth_limit,
        .overwrite = opts->force,
        .dry_run = opts->dry_run,
        .unix_seconds = app->clock->utc_ns(app->clock) / (int64_t)XK_NS_PER_S,
        .random = app->random,
        .search = {.root = opts->chain_root},
    };
    struct vhd_snapshot_made made = {0};

    if (!opts->parent) {
        const int code = xk_fail(err, -EINVAL, "a snapshot needs a parent: --parent FILE");
        xk_err_exit(err, XK_EXIT_USAGE);
        return code;
    }
    const int code = vhd_snapshot(app->fs, &how, &made, err);
    if (code < 0)
        return code;
    xk_out_record(app->out, "image");
    xk_put_str(app->out, "path", how.path);
    xk_put_str(app->out, "parent", made.parent);
    xk_put_bytes(app->out, "size", made.bytes);
    xk_put_u64(app->out, "depth", made.depth);
    xk_put_bool(app->out, "written", !opts->dry_run);
    xk_out_end(app->out);
    free(made.parent);
    return 0;
}

static const struct snapshot defaults = {.depth_limit = 30};
static const char *const example[] = {"--parent", "sample.vhd", "--dry-run", "new.vhd", NULL};

const struct xk_command vhd_cmd_snapshot = {
    .name = "snapshot",
    .summary = "make a differencing image on top of another",
    .operands = "FILE",
    .min_operands = 1,
    .max_operands = 1,
    .opts = snapshot_opts,
    .defaults = &defaults,
    .opts_bytes = sizeof(struct snapshot),
    .run = run,
    .example = example,
};
