/* `xenkit vhd fill`: give every block its place now, so that the image neither grows nor needs its parents later. */
#include "rooms/vhd/room.h"
#include "rooms/vhd/several.h"

#include "core/text.h"
#include "lib/vhd/fill.h"

struct fill {
    bool tables_only, dry_run;
    uint64_t offset, length;
    const char *chain_root;
};

static const struct xk_opt fill_opts[] = {
    XK_OPT_FLAG(0, "tables-only", struct fill, tables_only, "where nothing is stored, write no zeros: take no space"),
    XK_OPT_SIZE(0, "offset", struct fill, offset, "SIZE", "begin with the block that holds this byte of the disk"),
    XK_OPT_SIZE(0, "length", struct fill, length, "SIZE", "only so many bytes [to the end of the disk]"),
    VHD_OPT_CHAIN_ROOT(struct fill),
    XK_OPT_FLAG(0, "dry-run", struct fill, dry_run, "say what would be written, write nothing"),
    XK_OPT_END,
};

static int fill_image(struct xk_app *app, const char *path, const void *context, struct xk_err *err)
{
    const struct fill *const opts = context;
    struct xk_out *out = app->out;
    struct xk_prog progress;
    struct vhd_filled filled;
    uint64_t end = UINT64_MAX;

    if (opts->length && xk_add(opts->offset, opts->length, &end))
        end = UINT64_MAX;
    const struct vhd_fill how = {
        .tables_only = opts->tables_only,
        .first = opts->offset / VHD_SECTOR,
        .last = (end - 1) / VHD_SECTOR,
        .dry_run = opts->dry_run,
        .open_flags = VHD_DEVICES,
        .search = {.root = opts->chain_root},
        .progress = vhd_show_sectors,
        .context = &progress,
    };
    xk_prog_begin(&progress, app->log, app->clock, "filling", 0, true);
    const int code = vhd_fill(&filled, app->fs, path, &how, err);
    xk_prog_end(&progress);
    if (code < 0)
        return code;
    xk_row(out);
    xk_put_str(out, "path", path);
    xk_put_u64(out, "new_blocks", filled.blocks);
    xk_put_bytes(out, "data", filled.written_bytes);
    xk_put_bool(out, "complete", !filled.stopped && !opts->dry_run);
    xk_put_bool(out, "written", !opts->dry_run);
    return filled.stopped ? xk_fail(err, -EINTR, "%s: stopped; what was filled until then is safe", path) : 0;
}

static int run(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    static const struct vhd_each each = {.section = "images", .one = fill_image};

    return vhd_each_image(app, args, &each, err);
}

static const char *const example[] = {"--dry-run", "sample.vhd", NULL};

const struct xk_command vhd_cmd_fill = {
    .name = "fill",
    .summary = "allocate every block, reading through the chain",
    .operands = "FILE…",
    .min_operands = 1,
    .max_operands = -1,
    .opts = fill_opts,
    .opts_bytes = sizeof(struct fill),
    .run = run,
    .example = example,
};
