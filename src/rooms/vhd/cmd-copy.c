/* `xenkit vhd copy`: one image written anew, with a UUID of its own. `convert` makes other formats and flattens. */
#include "rooms/vhd/room.h"

#include "core/text.h"
#include "lib/vhd/copy.h"
#include "lib/vhd/key.h"

#include <string.h>

struct copy {
    uint64_t reserve;
    bool whole_blocks, force, dry_run;
    const char *key_file, *chain_root;
};

static const struct xk_opt copy_opts[] = {
    XK_OPT_SIZE(0, "reserve", struct copy, reserve, "SIZE", "make tables for growth up to SIZE [the disk's size]"),
    XK_OPT_FLAG(0, "whole-blocks", struct copy, whole_blocks, "store each block whole, gaps as zeros"),
    XK_OPT_TEXT(0, "key-file", struct copy, key_file, "FILE", "encrypt the copy with this key (32 or 64 bytes)"),
    VHD_OPT_CHAIN_ROOT(struct copy),
    XK_OPT_FLAG(0, "force", struct copy, force, "replace an existing file"),
    XK_OPT_FLAG(0, "dry-run", struct copy, dry_run, "say what would be copied, write nothing"),
    XK_OPT_END,
};

static int copy(struct xk_app *app, const struct xk_args *args, struct vhd_copied *ret, const uint8_t *key,
                size_t key_bytes, struct xk_err *err)
{
    const struct copy *opts = args->opts;
    struct xk_prog progress;
    const struct vhd_copy how = {
        .from = args->operands[0],
        .to = args->operands[1],
        .reserve_bytes = opts->reserve,
        .whole_blocks = opts->whole_blocks,
        .key = key,
        .key_bytes = key_bytes,
        .overwrite = opts->force,
        .dry_run = opts->dry_run,
        .unix_seconds = app->clock->utc_ns(app->clock) / (int64_t)XK_NS_PER_S,
        .random = app->random,
        .open_flags = VHD_DEVICES,
        .search = {.root = opts->chain_root},
        .progress = vhd_show_sectors,
        .context = &progress,
    };

    xk_prog_begin(&progress, app->log, app->clock, "copying", 0, true);
    const int code = vhd_copy(ret, app->fs, &how, err);
    xk_prog_end(&progress);
    return code;
}

static int run(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    const struct copy *opts = args->opts;
    struct xk_out *out = app->out;
    uint8_t key[VHD_KEY_BYTES_MAX];
    struct vhd_copied copied;

    const int key_bytes = opts->key_file ? vhd_key_load(key, app->fs, opts->key_file, err) : 0;
    if (key_bytes < 0)
        return key_bytes;
    const int code = copy(app, args, &copied, opts->key_file ? key : NULL, (size_t)key_bytes, err);
    explicit_bzero(key, sizeof(key));
    if (code < 0)
        return code;
    xk_out_record(out, "copy");
    xk_put_str(out, "image", args->operands[0]);
    xk_put_str(out, "copy", args->operands[1]);
    xk_put_bytes(out, "size", copied.disk_bytes);
    xk_put_bytes(out, "data", copied.data_bytes);
    xk_put_bool(out, "encrypted", opts->key_file != NULL);
    if (opts->dry_run)
        xk_put_none(out, "uuid");
    else
        xk_put_str(out, "uuid", xk_uuid_text(copied.uuid).s);
    xk_put_bool(out, "written", !opts->dry_run);
    xk_out_end(out);
    return 0;
}

static const char *const example[] = {"--dry-run", "sample.vhd", "copy.vhd", NULL};

const struct xk_command vhd_cmd_copy = {
    .name = "copy",
    .summary = "write an image anew: in order, on pages, with a UUID of its own",
    .operands = "FILE NEW",
    .min_operands = 2,
    .max_operands = 2,
    .opts = copy_opts,
    .opts_bytes = sizeof(struct copy),
    .run = run,
    .example = example,
};
