/*
 * `xenkit vhd scan`: one row for each image of a folder, from footers and headers only: two small reads a file, several
 * files at a time.
 */
#include "rooms/vhd/room.h"

#include "core/text.h"

struct scan {
    bool recurse;
    const char *chain_root;
};

static const struct xk_opt scan_opts[] = {
    XK_OPT_FLAG('r', "recurse", struct scan, recurse, "look into subfolders"),
    VHD_OPT_CHAIN_ROOT(struct scan),
    XK_OPT_END,
};

static void put_image(struct xk_out *out, const struct vhd_survey_image *image)
{
    const char *const problem = image->problems->count ? image->problems->items[0].evidence : NULL;

    xk_row(out);
    xk_put_str(out, "path", image->path);
    if (!image->usable) {
        xk_put_str(out, "type", "damaged");
        xk_out_color(out, XK_COLOR_BAD);
        xk_put_none(out, "size_bytes");
        xk_put_bytes(out, "file", image->file_bytes);
        xk_put_none(out, "hidden");
        xk_put_none(out, "depth");
        xk_put_none(out, "parent");
        xk_put_none(out, "uuid");
        xk_put_str(out, "problem", problem);
        return;
    }
    xk_put_str(out, "type", vhd_type_name(image->footer.type));
    xk_put_bytes(out, "size", image->footer.current_bytes);
    xk_put_bytes(out, "file", image->file_bytes);
    xk_put_bool(out, "hidden", image->footer.hidden);
    if (image->depth)
        xk_put_u64(out, "depth", image->depth);
    else
        xk_put_none(out, "depth");
    xk_put_str(out, "parent", image->parent_text);
    xk_put_str(out, "uuid", xk_uuid_text(image->footer.uuid).s);
    xk_put_str(out, "problem", problem);
}

static int run(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    const struct scan *opts = args->opts;
    struct vhd_survey survey;
    struct xk_prog progress;
    bool damaged = false;

    xk_prog_begin(&progress, app->log, app->clock, "scanning", 0, false);
    const struct vhd_survey_options options = {
        .recurse = opts->recurse,
        .missing_stands = args->count > 1,
        .search = {.root = opts->chain_root},
        .progress = &progress,
    };
    const int code = vhd_survey_run(&survey, app->fs, args->operands, (size_t)args->count, &options, err);
    xk_prog_end(&progress);
    if (code < 0)
        return code;
    xk_out_rows(app->out, "images");
    for (size_t i = 0; i < survey.count; i++) {
        put_image(app->out, &survey.images[i]);
        damaged |= !survey.images[i].usable;
    }
    xk_out_end(app->out);
    vhd_survey_done(&survey);
    return damaged ? XK_EXIT_BAD : XK_EXIT_OK;
}

static const struct xk_exit_row exits[] = {
    {XK_EXIT_BAD, "an image cannot be read; its row says type damaged"},
    {0, NULL},
};
static const char *const example[] = {".", NULL};

const struct xk_command vhd_cmd_scan = {
    .name = "scan",
    .summary = "list the images of a folder, one row each",
    .operands = "FILE|DIR…",
    .min_operands = 1,
    .max_operands = -1,
    .opts = scan_opts,
    .opts_bytes = sizeof(struct scan),
    .run = run,
    .exits = exits,
    .example = example,
};
