/* `xenkit vhd create`: a new fixed or dynamic image. */
#include "rooms/vhd/room.h"

#include "core/text.h"
#include "lib/vhd/create.h"

struct create {
    uint64_t size, reserve;
    bool fixed, exact, preallocate, force, dry_run;
};

static const struct xk_opt create_opts[] = {
    XK_OPT_SIZE('s', "size", struct create, size, "SIZE", "size of the disk, rounded up to 2 MiB"),
    XK_OPT_FLAG(0, "fixed", struct create, fixed, "a fixed image instead of a dynamic one"),
    XK_OPT_FLAG(0, "preallocate", struct create, preallocate, "with --fixed: reserve the space now"),
    XK_OPT_SIZE(0, "reserve", struct create, reserve, "SIZE", "make tables for growth up to SIZE [the disk's size]"),
    XK_OPT_FLAG(0, "exact", struct create, exact, "do not round the size up (a multiple of 512 bytes)"),
    XK_OPT_FLAG(0, "force", struct create, force, "replace an existing file"),
    XK_OPT_FLAG(0, "dry-run", struct create, dry_run, "say what would be made, write nothing"),
    XK_OPT_END,
};

static int check_opts(const struct create *opts, struct xk_err *err)
{
    const char *wrong = NULL;

    if (opts->size == 0)
        wrong = "the disk needs a size: --size SIZE";
    else if (opts->preallocate && !opts->fixed)
        wrong = "--preallocate goes with --fixed";
    else if (opts->reserve && opts->fixed)
        wrong = "--reserve is for dynamic images: a fixed one has no tables";
    if (!wrong)
        return 0;
    const int code = xk_fail(err, -EINVAL, "%s", wrong);
    xk_err_exit(err, XK_EXIT_USAGE);
    return code;
}

static int run(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    const struct create *opts = args->opts;
    const struct vhd_create how = {
        .path = args->operands[0],
        .bytes = opts->size,
        .type = opts->fixed ? VHD_FIXED : VHD_DYNAMIC,
        .reserve_bytes = opts->reserve,
        .exact = opts->exact,
        .preallocate = opts->preallocate,
        .overwrite = opts->force,
        .dry_run = opts->dry_run,
        .unix_seconds = app->clock->utc_ns(app->clock) / (int64_t)XK_NS_PER_S,
        .random = app->random,
    };

    int code = check_opts(opts, err);
    if (code == 0)
        code = vhd_create(app->fs, &how, err);
    if (code < 0)
        return code;
    xk_out_record(app->out, "image");
    xk_put_str(app->out, "path", how.path);
    xk_put_str(app->out, "type", vhd_type_name(how.type));
    xk_put_bytes(app->out, "size", opts->exact ? opts->size : XK_ROUND_UP(opts->size, (uint64_t)VHD_BLOCK_BYTES));
    xk_put_bool(app->out, "written", !opts->dry_run);
    xk_out_end(app->out);
    return 0;
}

static const char *const example[] = {"--size", "4M", "--dry-run", "new.vhd", NULL};

const struct xk_command vhd_cmd_create = {
    .name = "create",
    .summary = "make a new image",
    .operands = "FILE",
    .min_operands = 1,
    .max_operands = 1,
    .opts = create_opts,
    .opts_bytes = sizeof(struct create),
    .run = run,
    .example = example,
};
