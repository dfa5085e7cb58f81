/* `xenkit vhd mount`: the disk as a file, by FUSE; runs until it is stopped or somebody unmounts the folder. */
#include "rooms/vhd/room.h"

#include "core/text.h"
#include "lib/mount/mount.h"

#include <malloc.h>

struct mount_opts {
    const char *name, *chain_root;
    uint64_t threads;
    int format;
    bool everybody, use_copy;
};

static const struct xk_opt mount_opts[] = {
    XK_OPT_TEXT(0, "name", struct mount_opts, name, "NAME", "name of the file in DIR [disk.raw]"),
    XK_OPT_FLAG(0, "everybody", struct mount_opts, everybody, "let other users look into DIR, too"),
    XK_OPT_U64(0, "threads", struct mount_opts, threads, "N", 1, MOUNT_THREADS_MAX,
               "answer with N threads [two more than processors]"),
    VHD_OPT_FORMAT(struct mount_opts),
    XK_OPT_FLAG(0, "use-copy", struct mount_opts, use_copy, "accept a VHD's footer copy when its footer is damaged"),
    VHD_OPT_CHAIN_ROOT(struct mount_opts),
    XK_OPT_END,
};

static void tell_place(struct xk_out *out, const char *path, const struct volume *v)
{
    /* A row, not a record: those are shown at once in every format. */
    xk_out_cards(out, "mounted");
    xk_row(out);
    xk_put_str(out, "file", path);
    xk_put_str(out, "image", volume_layer_path(v, 0));
    xk_put_str(out, "format", volume_format_names[v->format]);
    xk_put_u64(out, "layers", v->layers);
    xk_put_bytes(out, "size", v->size_bytes);
    xk_out_flush(out);
    xk_out_end(out);
}

static void tell_totals(struct xk_out *out, const struct mount *m)
{
    const struct mount_totals t = mount_totals(m);

    xk_out_record(out, "unmounted");
    xk_put_u64(out, "opened", t.opened);
    xk_put_u64(out, "reads", t.reads);
    xk_put_bytes(out, "read", t.read_bytes);
    xk_put_u64(out, "failed", t.failed);
    xk_out_end(out);
}

static int run(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    const struct mount_opts *const opts = args->opts;
    const struct volume_options options = {
        .format = (enum volume_format)opts->format, .chain_root = opts->chain_root, .use_copy = opts->use_copy};
    const char *const folder = args->operands[1];
    xk_autofree char *path = xk_path_join(folder, opts->name);
    struct volume *v = NULL;
    struct mount *m = NULL;

    if (!path)
        return xk_fail_memory(err);
    (void)mallopt(M_ARENA_MAX, 2);
    int code = volume_open(&v, app->fs, args->operands[0], &options, err);
    if (code == 0)
        code =
            mount_begin(&m,
                        &(struct mount_settings){.volume = v,
                                                 .folder = folder,
                                                 .name = opts->name,
                                                 .threads = (unsigned)opts->threads,
                                                 .everybody = opts->everybody,
                                                 .unix_seconds = app->clock->utc_ns(app->clock) / (int64_t)XK_NS_PER_S},
                        err);
    if (code == 0) {
        tell_place(app->out, path, v);
        code = xk_out_error(app->out);
    }
    if (code == 0)
        code = mount_run(m, err);
    if (code == 0)
        tell_totals(app->out, m);
    mount_end(m);
    volume_close(v);
    return code;
}

static const struct mount_opts defaults = {.name = "disk.raw"};
static const char *const example[] = {"sample.vhd", "/mnt", NULL};

const struct xk_command vhd_cmd_mount = {
    .name = "mount",
    .summary = "show the disk as a raw file in a folder, read-only",
    .operands = "FILE DIR",
    .min_operands = 2,
    .max_operands = 2,
    .opts = mount_opts,
    .defaults = &defaults,
    .opts_bytes = sizeof(struct mount_opts),
    .run = run,
    .kind = XK_SERVER,
    .help = "Works by FUSE 3 until it is stopped (Ctrl-C, SIGTERM) or DIR is unmounted.",
    .example = example,
};
