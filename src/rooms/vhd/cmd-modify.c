/* `xenkit vhd modify`: another parent, another end of the file, or no data at all. One change in a run. */
#include "rooms/vhd/room.h"

#include "core/text.h"
#include "lib/vhd/modify.h"

struct modify {
    const char *parent;
    uint64_t file_end;
    bool raw, discard, yes, dry_run;
};

static const struct xk_opt modify_opts[] = {
    XK_OPT_TEXT('p', "parent", struct modify, parent, "FILE", "the parent is this image now"),
    XK_OPT_FLAG(0, "raw", struct modify, raw, "with --parent: it is a raw disk"),
    XK_OPT_SIZE(0, "file-end", struct modify, file_end, "SIZE", "write the footer where a file of SIZE bytes ends"),
    XK_OPT_FLAG(0, "discard", struct modify, discard, "throw all data of the image away (needs --yes)"),
    XK_OPT_FLAG(0, "yes", struct modify, yes, "really discard"),
    XK_OPT_FLAG(0, "dry-run", struct modify, dry_run, "find out whether it can be done, write nothing"),
    XK_OPT_END,
};

static int check_opts(const struct modify *opts, struct xk_err *err)
{
    if ((opts->parent != NULL) + (opts->file_end != 0) + opts->discard != 1)
        return xk_fail(err, -EINVAL, "one change is needed: --parent FILE, --file-end SIZE, or --discard");
    if (opts->raw && !opts->parent)
        return xk_fail(err, -EINVAL, "--raw goes with --parent");
    if (opts->discard && !opts->yes && !opts->dry_run) {
        const int code = xk_fail(err, -EINVAL, "--discard throws the data of the image away");
        xk_err_hint(err, "add --yes to do it, --dry-run to see how much that is");
        return code;
    }
    return 0;
}

static int change(struct vhd *v, const struct modify *opts, struct xk_err *err)
{
    if (opts->parent)
        return vhd_reparent(
            v, &(struct vhd_reparent){.parent = opts->parent, .raw = opts->raw, .dry_run = opts->dry_run}, err);
    if (opts->file_end)
        return opts->dry_run ? vhd_check_file_end(v, opts->file_end, err) : vhd_set_file_end(v, opts->file_end, err);
    if (!vhd_is_sparse(v))
        return xk_fail(err, -ENOSYS, "%s: a fixed image has no blocks to give back", v->path);
    return opts->dry_run ? 0 : vhd_discard(v, err);
}

static int run(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    const struct modify *opts = args->opts;
    struct xk_out *out = app->out;
    struct vhd v;

    int code = check_opts(opts, err);
    if (code < 0)
        return code;
    code = vhd_open(&v, app->fs, args->operands[0], (opts->dry_run ? VHD_READ : VHD_WRITE) | VHD_DEVICES, err);
    if (code < 0)
        return code;
    const uint32_t blocks = vhd_allocated(&v);
    const uint64_t data_bytes = (uint64_t)blocks * v.header.block_bytes;
    code = change(&v, opts, err);
    vhd_close(&v);
    if (code < 0)
        return code;
    xk_out_record(out, "image");
    xk_put_str(out, "path", args->operands[0]);
    if (opts->parent) {
        xk_put_str(out, "parent", opts->parent);
        xk_put_bool(out, "raw_parent", opts->raw);
    }
    if (opts->file_end)
        xk_put_bytes(out, "file_end", opts->file_end);
    if (opts->discard) {
        xk_put_u64(out, "discarded_blocks", blocks);
        xk_put_bytes(out, "discarded", data_bytes);
    }
    xk_put_bool(out, "written", !opts->dry_run);
    xk_out_end(out);
    return 0;
}

static const char *const example[] = {"--discard", "--dry-run", "sample.vhd", NULL};

const struct xk_command vhd_cmd_modify = {
    .name = "modify",
    .summary = "give an image another parent or another end, or discard its data",
    .operands = "FILE",
    .min_operands = 1,
    .max_operands = 1,
    .opts = modify_opts,
    .opts_bytes = sizeof(struct modify),
    .run = run,
    .example = example,
};
