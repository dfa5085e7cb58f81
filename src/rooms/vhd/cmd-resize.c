/*
 * `xenkit vhd resize`: grow or shrink the disk inside. A journal is written only where the change needs one: past the
 * tables, or of a fixed image.
 */
#include "rooms/vhd/room.h"

#include "core/text.h"
#include "lib/vhd/resize.h"

struct resize {
    uint64_t size;
    const char *journal;
    bool yes, dry_run;
};

static const struct xk_opt resize_opts[] = {
    XK_OPT_SIZE('s', "size", struct resize, size, "SIZE", "the new size of the disk, rounded up to a block"),
    XK_OPT_TEXT('j', "journal", struct resize, journal, "FILE", "where the undo journal goes [IMAGE.journal]"),
    XK_OPT_FLAG(0, "yes", struct resize, yes, "shrink although data are lost"),
    XK_OPT_FLAG(0, "dry-run", struct resize, dry_run, "say what would be done, write nothing"),
    XK_OPT_END,
};

static int needs_journal(bool *ret, const struct xk_fs *fs, const char *path, uint64_t bytes, struct xk_err *err)
{
    struct vhd v;

    const int code = vhd_open(&v, fs, path, VHD_NO_TABLES | VHD_DEVICES, err);
    if (code < 0)
        return code;
    *ret = !vhd_is_sparse(&v) || bytes > (uint64_t)v.header.max_entries * v.header.block_bytes;
    vhd_close(&v);
    return 0;
}

static int run(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    const struct resize *opts = args->opts;
    const char *path = args->operands[0];
    struct xk_out *out = app->out;
    bool journaled = false;
    struct vhd_resized resized;
    struct xk_prog progress;

    if (opts->size == 0)
        return xk_fail(err, -EINVAL, "the new size is needed: --size SIZE");
    xk_autofree char *beside = xk_asprintf("%s" VHD_JOURNAL_SUFFIX, path);
    if (!beside)
        return xk_fail_memory(err);
    int code = needs_journal(&journaled, app->fs, path, opts->size, err);
    if (code < 0)
        return code;
    const char *const asked = opts->journal ? opts->journal : beside;
    const struct vhd_resize how = {
        .bytes = opts->size,
        .journal = journaled || opts->journal ? asked : NULL,
        .drop_data = opts->yes,
        .dry_run = opts->dry_run,
        .progress = vhd_show_bytes,
        .context = &progress,
    };
    xk_prog_begin(&progress, app->log, app->clock, "moving blocks", 0, true);
    code = vhd_resize(&resized, app->fs, path, &how, err);
    xk_prog_end(&progress);
    if (code == -EEXIST)
        xk_err_hint(err, "an earlier resize did not end: `xenkit vhd revert --journal %s %s`", how.journal, path);
    if (code < 0)
        return code;
    xk_out_record(out, "image");
    xk_put_str(out, "path", path);
    xk_put_bytes(out, "old_size", resized.old_bytes);
    xk_put_bytes(out, "size", resized.new_bytes);
    xk_put_u64(out, "moved_blocks", resized.moved_blocks);
    xk_put_u64(out, "dropped_blocks", resized.dropped_blocks);
    xk_put_str(out, "journal", how.journal);
    xk_put_bool(out, "written", !opts->dry_run && resized.new_bytes != resized.old_bytes);
    xk_out_end(out);
    return 0;
}

static const char *const example[] = {"--size", "8M", "--dry-run", "sample.vhd", NULL};

const struct xk_command vhd_cmd_resize = {
    .name = "resize",
    .summary = "grow or shrink the disk of an image",
    .operands = "FILE",
    .min_operands = 1,
    .max_operands = 1,
    .opts = resize_opts,
    .opts_bytes = sizeof(struct resize),
    .run = run,
    .example = example,
};
