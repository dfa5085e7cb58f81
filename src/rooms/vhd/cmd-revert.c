/* `xenkit vhd revert`: undo or finish a resize that was cut off, by the journal that it left. */
#include "rooms/vhd/room.h"

#include "core/text.h"
#include "lib/vhd/journal.h"

struct revert {
    const char *journal;
    bool dry_run;
};

static const struct xk_opt revert_opts[] = {
    XK_OPT_TEXT('j', "journal", struct revert, journal, "FILE", "the journal that the resize left [IMAGE.journal]"),
    XK_OPT_FLAG(0, "dry-run", struct revert, dry_run, "say what would be done, write nothing"),
    XK_OPT_END,
};

static const char *const outcomes[] = {
    [VHD_REVERT_NOTHING] = "nothing",
    [VHD_REVERT_UNDONE] = "undone",
    [VHD_REVERT_FINISHED] = "finished",
};

static int run(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    const struct revert *opts = args->opts;
    const char *path = args->operands[0];
    struct xk_prog progress;
    const struct vhd_revert_how how = {.dry_run = opts->dry_run, .progress = vhd_show_bytes, .context = &progress};
    enum vhd_revert outcome;
    struct vhd v;

    xk_autofree char *beside = xk_asprintf("%s" VHD_JOURNAL_SUFFIX, path);
    if (!beside)
        return xk_fail_memory(err);
    const char *const journal = opts->journal ? opts->journal : beside;
    xk_prog_begin(&progress, app->log, app->clock, "reverting", 0, true);
    int code = vhd_revert(&outcome, app->fs, path, journal, &how, err);
    xk_prog_end(&progress);
    if (code == 0 && !opts->dry_run)
        code = vhd_open(&v, app->fs, path, VHD_NO_TABLES | VHD_DEVICES, err);
    if (code < 0)
        return code;
    xk_out_record(app->out, "image");
    xk_put_str(app->out, "path", path);
    xk_put_str(app->out, "journal", journal);
    xk_put_str(app->out, "resize", outcomes[outcome]);
    if (opts->dry_run) {
        xk_put_none(app->out, "size_bytes");
    } else {
        xk_put_bytes(app->out, "size", v.footer.current_bytes);
        vhd_close(&v);
    }
    xk_put_bool(app->out, "written", !opts->dry_run);
    xk_out_end(app->out);
    return 0;
}

static const char *const example[] = {"--dry-run", "sample.vhd", NULL};

const struct xk_command vhd_cmd_revert = {
    .name = "revert",
    .summary = "undo or finish a resize that was cut off",
    .operands = "FILE",
    .min_operands = 1,
    .max_operands = 1,
    .opts = revert_opts,
    .opts_bytes = sizeof(struct revert),
    .run = run,
    .example = example,
};
