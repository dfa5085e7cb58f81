/*
 * `xenkit vhd check`: everything that is wrong with images and between them. Runs the rows of lib/vhd/checks.c, the same
 * that `xenkit checkup` runs.
 */
#include "rooms/vhd/room.h"

#include "lib/vhd/checks.h"

struct check {
    bool data, bitmaps, recurse, follow;
    struct xk_words only, skip;
    const char *chain_root;
};

static const struct xk_opt check_opts[] = {
    XK_OPT_FLAG(0, "data", struct check, data, "read all data, too: sectors that hold data although marked absent"),
    XK_OPT_ON(0, "bitmaps", struct check, bitmaps, "do not read the bitmap of each block (faster, finds less)"),
    XK_OPT_FLAG('r', "recurse", struct check, recurse, "look into subfolders"),
    XK_OPT_ON(0, "parents", struct check, follow, "do not examine parents that were not named"),
    XK_OPT_LIST(0, "only", struct check, only, "ID", "look for this only; may be given again"),
    XK_OPT_LIST(0, "skip", struct check, skip, "ID", "do not look for this; may be given again"),
    VHD_OPT_CHAIN_ROOT(struct check),
    XK_OPT_END,
};

static enum xk_color color_of(enum xk_severity severity)
{
    return severity == XK_CRITICAL ? XK_COLOR_BAD : severity == XK_WARNING ? XK_COLOR_WARN : XK_COLOR_NOTE;
}

static void put_findings(struct xk_out *out, const struct xk_findings *found)
{
    xk_out_rows(out, "findings");
    for (size_t i = 0; i < found->count; i++) {
        const struct xk_finding *f = &found->items[i];
        xk_row(out);
        xk_put_str(out, "severity", xk_severity_name(f->severity));
        xk_out_color(out, color_of(f->severity));
        xk_put_str(out, "check", f->check->id);
        xk_put_str(out, "object", f->object);
        xk_put_str(out, "evidence", f->evidence);
        xk_put_str(out, "fix", f->fix);
    }
    xk_out_end(out);
}

static void put_summary(struct xk_out *out, const struct vhd_survey *survey, const struct xk_findings *found)
{
    size_t counts[XK_CRITICAL + 1] = {0};
    for (size_t i = 0; i < found->count; i++)
        counts[found->items[i].severity]++;

    xk_out_record(out, "summary");
    xk_put_u64(out, "images", survey->count);
    xk_put_u64(out, "critical", counts[XK_CRITICAL]);
    xk_put_u64(out, "warnings", counts[XK_WARNING]);
    xk_put_u64(out, "notes", counts[XK_NOTE]);
    xk_put_u64(out, "left_off", found->left_off);
    xk_put_bool(out, "healthy", counts[XK_CRITICAL] + counts[XK_WARNING] + found->left_off == 0);
    xk_out_end(out);
}

static bool is_bad(const struct xk_findings *found)
{
    for (size_t i = 0; i < found->count; i++) {
        if (found->items[i].severity >= XK_WARNING)
            return true;
    }
    return found->left_off > 0;
}

static int run(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    const struct check *opts = args->opts;
    struct vhd_survey survey;
    struct xk_findings found = {0};
    struct xk_prog progress;

    xk_prog_begin(&progress, app->log, app->clock, "checking", 0, false);
    const struct vhd_survey_options options = {
        .recurse = opts->recurse,
        .tables = true,
        .audit = {.bitmaps = opts->bitmaps, .data = opts->data},
        .search = {.root = opts->chain_root},
        .follow_parents = opts->follow,
        .progress = &progress,
    };
    int code = vhd_survey_run(&survey, app->fs, args->operands, (size_t)args->count, &options, err);
    xk_prog_end(&progress);
    if (code < 0)
        return code;
    code = xk_checks_run(vhd_checks, &opts->only, &opts->skip, &survey, &found, err);
    if (code == 0) {
        xk_findings_sort(&found);
        put_findings(app->out, &found);
        put_summary(app->out, &survey, &found);
        code = is_bad(&found) ? XK_EXIT_BAD : XK_EXIT_OK;
    }
    xk_findings_done(&found);
    vhd_survey_done(&survey);
    return code;
}

static const struct check defaults = {.bitmaps = true, .follow = true};
static const struct xk_exit_row exits[] = {
    {XK_EXIT_BAD, "an image has a problem of severity warning or critical"},
    {0, NULL},
};
static const char *const example[] = {"sample.vhd", NULL};

const struct xk_command vhd_cmd_check = {
    .name = "check",
    .summary = "find everything that is wrong with images, and say what to do",
    .operands = "FILE|DIR…",
    .min_operands = 1,
    .max_operands = -1,
    .opts = check_opts,
    .defaults = &defaults,
    .opts_bytes = sizeof(struct check),
    .run = run,
    .exits = exits,
    .example = example,
};
