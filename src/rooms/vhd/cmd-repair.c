/*
 * `xenkit vhd repair`: a plan first, then, with --apply, the repair, which leaves an undo file beside the image.
 * Without
 * --apply it is a dry run.
 */
#include "rooms/vhd/room.h"
#include "rooms/vhd/several.h"

#include "core/text.h"
#include "lib/vhd/checks.h"
#include "lib/vhd/rebuild.h"

#include <stdio.h>

#define IMAGES_MAX 1000 /* in one run: their plans are in memory together */

struct repair {
    bool apply, dry_run, data, raw, new_uuid, forget_journal;
    const char *parent, *undo, *undo_file, *chain_root;
};

static const struct xk_opt repair_opts[] = {
    XK_OPT_FLAG(0, "apply", struct repair, apply, "do it; without this the plan is only shown"),
    XK_OPT_FLAG(0, "dry-run", struct repair, dry_run, "show the plan, write nothing [the default]"),
    XK_OPT_FLAG(0, "data", struct repair, data, "read all data, and mark sectors that hold some as present"),
    XK_OPT_TEXT('p', "parent", struct repair, parent, "FILE", "the parent is this image: write locators for it"),
    XK_OPT_FLAG(0, "raw", struct repair, raw, "with --parent: it is a raw disk"),
    XK_OPT_FLAG(0, "new-uuid", struct repair, new_uuid, "give the image another UUID"),
    XK_OPT_FLAG(0, "forget-journal", struct repair, forget_journal,
                "enable an image whose resize did not end and whose journal is lost"),
    XK_OPT_TEXT(0, "undo-file", struct repair, undo_file, "FILE", "where the undo file goes [IMAGE.undo]"),
    XK_OPT_TEXT(0, "undo", struct repair, undo, "FILE", "take the repair back that left this undo file"),
    VHD_OPT_CHAIN_ROOT(struct repair),
    XK_OPT_END,
};

static int check_opts(const struct repair *opts, int images, struct xk_err *err)
{
    const char *wrong = NULL;

    if (opts->apply && opts->dry_run)
        wrong = "--apply and --dry-run are two things";
    else if (opts->undo && (opts->apply || opts->data || opts->parent || opts->new_uuid || opts->forget_journal))
        wrong = "--undo takes nothing with it but --dry-run";
    else if ((opts->undo || opts->undo_file) && images != 1)
        wrong = "one undo file goes with one image";
    else if (opts->raw && !opts->parent)
        wrong = "--raw goes with --parent";
    return wrong ? xk_fail(err, -EINVAL, "%s", wrong) : 0;
}

/* ---- taking back ---- */

static int undo(struct xk_app *app, const char *path, const struct repair *opts, struct xk_err *err)
{
    uint64_t bytes = 0;

    int code = vhd_undo_preview(&bytes, app->fs, path, opts->undo, err);
    if (code == 0 && !opts->dry_run)
        code = vhd_undo(app->fs, path, opts->undo, err);
    if (code < 0)
        return code;
    xk_out_record(app->out, "undo");
    xk_put_str(app->out, "image", path);
    xk_put_str(app->out, "undo_file", opts->undo);
    xk_put_bytes(app->out, "restored", bytes);
    xk_put_bool(app->out, "written", !opts->dry_run);
    xk_out_end(app->out);
    return 0;
}

/* ---- the plan ---- */

static void show_progress(void *context, uint64_t done_bytes)
{
    xk_prog_set(context, done_bytes);
}

static void put_step(struct xk_out *out, const char *path, const struct vhd_step *step, const char *state)
{
    xk_row(out);
    xk_put_str(out, "image", path);
    xk_put_str(out, "part", step->part);
    xk_put_str(out, "before", step->before);
    xk_put_str(out, "after", step->after);
    xk_put_str(out, "why", step->reason);
    xk_put_str(out, "state", state);
}

static void put_left(struct xk_out *out, const char *path, const struct vhd_left *left)
{
    xk_row(out);
    xk_put_str(out, "image", path);
    xk_put_str(out, "severity", xk_severity_name(left->severity));
    xk_put_str(out, "id", vhd_check_of(left->kind)->id);
    xk_put_str(out, "found", left->evidence);
    xk_put_str(out, "why_not_repaired", left->why[0] ? left->why : NULL);
}

/* One image's plan. The steps come first; what stays is told in a section of its own. */
struct plan {
    const char *path;
    char *undo_path; /* owned; NULL: nothing was written */
    struct vhd_rebuild rebuild;
};

static void plan_done(struct plan *plan)
{
    vhd_rebuild_done(&plan->rebuild);
    free(plan->undo_path);
    *plan = (struct plan){0};
}

static void plans_done(struct plan *plans, int count)
{
    for (int i = 0; i < count; i++)
        plan_done(&plans[i]);
    free(plans);
}

/* What a repair of this file alone cannot mend: where its parents are, and what. */
static bool is_of_parents(enum vhd_problem_kind kind)
{
    return kind == VHD_P_PARENT_MISSING || kind == VHD_P_PARENT_CHANGED || kind == VHD_P_PARENT_SIZE ||
           kind == VHD_P_LOOP;
}

static void add_left(struct vhd_rebuild *r, const struct vhd_problem *p)
{
    if (r->left_count == VHD_REBUILD_LEFT_MAX)
        return;
    struct vhd_left *const left = &r->left[r->left_count++];
    *left = (struct vhd_left){.kind = p->kind, .severity = p->severity};
    snprintf(left->evidence, sizeof(left->evidence), "%s", p->evidence);
    snprintf(left->why, sizeof(left->why), "%s",
             p->kind == VHD_P_PARENT_SIZE ? "which of the two sizes is right is not known"
                                          : "where the right parent is, is not known: --parent FILE says it");
}

static int look_at_parents(struct plan *plan, struct xk_app *app, const struct repair *opts, struct xk_err *err)
{
    const struct vhd_survey_options options = {.search = {.root = opts->chain_root}, .follow_parents = true};
    struct vhd_survey survey;

    const int code = vhd_survey_run(&survey, app->fs, &plan->path, 1, &options, err);
    if (code < 0)
        return code;
    for (size_t i = 0; i < survey.count; i++) {
        const struct vhd_problems *const problems = survey.images[i].problems;
        for (size_t p = 0; !survey.images[i].outside && p < problems->count; p++) {
            if (is_of_parents(problems->items[p].kind))
                add_left(&plan->rebuild, &problems->items[p]);
        }
    }
    vhd_survey_done(&survey);
    return 0;
}

static int make_plan(struct plan *plan, struct xk_app *app, const struct repair *opts, struct xk_err *err)
{
    struct xk_prog progress;
    struct stat st;
    const struct vhd_rebuild_options options = {
        .data = opts->data,
        .parent = opts->parent,
        .parent_raw = opts->raw,
        .new_uuid = opts->new_uuid,
        .forget_journal = opts->forget_journal,
        .unix_seconds = app->clock->utc_ns(app->clock) / (int64_t)XK_NS_PER_S,
        .random = app->random,
        .open_flags = VHD_DEVICES,
        .search = {.root = opts->chain_root},
        .progress = show_progress,
        .context = &progress,
    };

    xk_prog_begin(&progress, app->log, app->clock, "examining",
                  stat(plan->path, &st) == 0 && S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0, true);
    int code = vhd_rebuild_plan(&plan->rebuild, app->fs, plan->path, &options, err);
    if (code == 0 && !opts->parent)
        code = look_at_parents(plan, app, opts, err);
    if (code == 0 && opts->apply && plan->rebuild.step_count > 0) {
        plan->undo_path = opts->undo_file ? xk_strdup(opts->undo_file) : xk_asprintf("%s" VHD_UNDO_SUFFIX, plan->path);
        code = plan->undo_path ? vhd_rebuild_apply(&plan->rebuild, plan->undo_path, err) : xk_fail_memory(err);
        if (code == -EEXIST)
            xk_err_hint(err,
                        "an earlier repair left it: take that back with `xenkit vhd repair --undo %s %s`, or delete it "
                        "when that repair is to stay",
                        plan->undo_path, plan->path);
    }
    xk_prog_end(&progress);
    return code;
}

static void put_plans(struct xk_out *out, const struct plan *plans, int count, bool applied)
{
    xk_out_rows(out, "steps");
    for (int i = 0; i < count; i++) {
        for (size_t s = 0; s < plans[i].rebuild.step_count; s++)
            put_step(out, plans[i].path, &plans[i].rebuild.steps[s], applied ? "done" : "planned");
    }
    xk_out_end(out);
    xk_out_rows(out, "left");
    for (int i = 0; i < count; i++) {
        for (size_t l = 0; l < plans[i].rebuild.left_count; l++)
            put_left(out, plans[i].path, &plans[i].rebuild.left[l]);
    }
    xk_out_end(out);
    xk_out_rows(out, "undo_files");
    for (int i = 0; i < count; i++) {
        if (!plans[i].undo_path)
            continue;
        xk_row(out);
        xk_put_str(out, "image", plans[i].path);
        xk_put_str(out, "undo_file", plans[i].undo_path);
    }
    xk_out_end(out);
}

static bool is_bad(const struct plan *plan)
{
    for (size_t i = 0; i < plan->rebuild.left_count; i++) {
        if (plan->rebuild.left[i].severity > XK_NOTE)
            return true;
    }
    return false;
}

static int run(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    const struct repair *opts = args->opts;
    struct vhd_several several;
    size_t steps = 0;
    bool bad = false;

    int code = check_opts(opts, args->count, err);
    if (code < 0)
        return code;
    if (opts->undo)
        return undo(app, args->operands[0], opts, err);
    struct plan *plans = xk_array_alloc((size_t)args->count, sizeof(*plans));
    if (!plans)
        return xk_fail_memory(err);
    code = vhd_several_begin(&several, app, (size_t)args->count, err);
    int made = 0;
    for (int i = 0; i < args->count && code == 0; i++) {
        struct plan *const plan = &plans[made];
        plan->path = args->operands[i];
        const int one = make_plan(plan, app, opts, err);
        if (one < 0) {
            plan_done(plan);
        } else {
            steps += plan->rebuild.step_count;
            bad |= is_bad(plan);
            made++;
        }
        code = vhd_several_take(&several, args->operands[i], one, err);
    }
    put_plans(app->out, plans, made, opts->apply);
    if (made > 0 && steps == 0)
        xk_say(app->out, bad ? "\nNothing can be repaired.\n" : "\nNothing needs repair.\n");
    else if (made > 0 && !opts->apply)
        xk_say(app->out, "\nNothing was written; --apply does it.\n");
    plans_done(plans, made);
    code = vhd_several_end(&several, code, err);
    return code < 0 ? code : (bad ? XK_EXIT_BAD : XK_EXIT_OK);
}

static const struct xk_exit_row exits[] = {
    {XK_EXIT_BAD, "problems of severity warning or critical are (or would be) left"},
    {0, NULL},
};
static const char *const example[] = {"sample.vhd", NULL};

const struct xk_command vhd_cmd_repair = {
    .name = "repair",
    .summary = "bring a damaged image back, step by step, with an undo file",
    .operands = "FILE…",
    .min_operands = 1,
    .max_operands = IMAGES_MAX,
    .opts = repair_opts,
    .opts_bytes = sizeof(struct repair),
    .run = run,
    .exits = exits,
    .example = example,
};
