/*
 * `xenkit vhd check`: everything that is wrong with images and between them. Runs the rows of lib/vhd/checks.c, the
 * same that `xenkit checkup` runs.
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

static int run(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    const struct check *opts = args->opts;
    struct vhd_survey survey;
    struct xk_findings found = {0};
    struct xk_tally tally;
    struct xk_prog progress;

    xk_prog_begin(&progress, app->log, app->clock, "checking", 0, false);
    const struct vhd_survey_options options = {
        .recurse = opts->recurse,
        .missing_stands = args->count > 1,
        .tables = true,
        .audit = {.bitmaps = opts->bitmaps,
                  .data = opts->data,
                  .unix_seconds = app->clock->utc_ns(app->clock) / (int64_t)XK_NS_PER_S},
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
        xk_findings_show(app->out, &found);
        xk_findings_tally(&tally, &found);
        code = tally.bad ? XK_EXIT_BAD : XK_EXIT_OK;
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
