/*
 * `xenkit vhd serve`: the disk over NBD. The image itself is never written to: with --writable, changes go into a new
 * differencing image on top of it.
 */
#include "rooms/vhd/room.h"

#include "core/text.h"
#include "lib/nbd/nbd.h"
#include "lib/vhd/create.h"

#include <malloc.h>
#include <string.h>

struct serve {
    const char *socket, *name, *overlay, *chain_root;
    uint64_t port, connections, idle, commit;
    int format;
    bool writable, once;
};

#define NO_PORT UINT64_MAX

static const struct xk_opt serve_opts[] = {
    XK_OPT_TEXT(0, "socket", struct serve, socket, "PATH", "listen on a Unix socket instead of a port"),
    XK_OPT_U64('p', "port", struct serve, port, "N", 0, UINT16_MAX,
               "port on 127.0.0.1; 0 takes any that is free [10809]"),
    XK_OPT_TEXT(0, "name", struct serve, name, "NAME", "name of the export [none]"),
    XK_OPT_FLAG(0, "writable", struct serve, writable, "let clients write, into --overlay"),
    XK_OPT_TEXT(0, "overlay", struct serve, overlay, "NEW", "the new image that takes what clients write"),
    XK_OPT_DURATION(0, "commit", struct serve, commit, "TIME",
                    "put changes on stable storage when nobody flushes for so long [5s]"),
    XK_OPT_FLAG(0, "once", struct serve, once, "end after the last client that opened the export"),
    XK_OPT_U64(0, "connections", struct serve, connections, "N", 1, NBD_CONNECTIONS_MAX,
               "clients at the same time [1024]"),
    XK_OPT_DURATION(0, "idle", struct serve, idle, "TIME", "disconnect a client that asks for nothing for so long"),
    VHD_OPT_FORMAT(struct serve),
    VHD_OPT_CHAIN_ROOT(struct serve),
    XK_OPT_END,
};

static int check_usage(const struct serve *opts, struct xk_err *err)
{
    int code = 0;

    if (opts->socket && opts->port != NO_PORT)
        code = xk_fail(err, -EINVAL, "--socket and --port are two places: choose one");
    else if (opts->writable && !opts->overlay)
        code = xk_fail(err, -EINVAL, "--writable needs a new image for the changes: --overlay NEW");
    else if (opts->overlay && !opts->writable)
        code = xk_fail(err, -EINVAL, "--overlay goes with --writable");
    else if (strlen(opts->name) > NBD_NAME_MAX)
        code = xk_fail(err, -EINVAL, "--name: at most %u bytes", NBD_NAME_MAX);
    if (code < 0)
        xk_err_exit(err, XK_EXIT_USAGE);
    return code;
}

static int make_overlay(struct volume_overlay **ret, struct xk_app *app, const struct serve *opts,
                        const struct volume *base, struct xk_err *err)
{
    const char *const parent = volume_layer_path(base, 0);
    struct vhd_snapshot_made made = {0};

    if (base->format != VOLUME_VHD && base->format != VOLUME_RAW)
        return xk_fail(err, -ENOTSUP, "%s: an overlay stands on a VHD or a raw disk, not on a %s image", parent,
                       volume_format_names[base->format]);
    int code = vhd_snapshot(app->fs,
                            &(struct vhd_snapshot){
                                .path = opts->overlay,
                                .parent = parent,
                                .parent_raw = base->format == VOLUME_RAW,
                                .keep_empty = true,
                                .unix_seconds = app->clock->utc_ns(app->clock) / (int64_t)XK_NS_PER_S,
                                .random = app->random,
                                .search = {.root = opts->chain_root},
                            },
                            &made, err);
    free(made.parent);
    return code < 0 ? code : volume_overlay_open(ret, app->fs, opts->overlay, base, err);
}

static void tell_address(struct xk_out *out, const struct serve *opts, const struct nbd_server *server,
                         const struct volume *v)
{
    /* A row, not a record: those are shown at once in every format. */
    xk_out_cards(out, "serving");
    xk_row(out);
    xk_put_str(out, "uri", nbd_uri(server));
    if (opts->socket)
        xk_put_none(out, "port");
    else
        xk_put_u64(out, "port", nbd_port(server));
    xk_put_str(out, "socket", opts->socket);
    xk_put_str(out, "image", volume_layer_path(v, opts->writable ? 1 : 0));
    xk_put_str(out, "overlay", opts->overlay);
    xk_put_bytes(out, "size", v->size_bytes);
    xk_put_bool(out, "writable", opts->writable);
    xk_out_flush(out);
    xk_out_end(out);
}

static void tell_totals(struct xk_out *out, const struct nbd_server *server)
{
    const struct nbd_totals t = nbd_totals(server);

    xk_out_record(out, "served");
    xk_put_u64(out, "clients", t.clients);
    xk_put_u64(out, "refused", t.refused);
    xk_put_u64(out, "broken", t.broken);
    xk_put_u64(out, "requests", t.requests);
    xk_put_bytes(out, "read", t.read_bytes);
    xk_put_bytes(out, "written", t.written_bytes);
    xk_out_end(out);
}

static int serve(struct xk_app *app, const struct serve *opts, const struct volume *v, struct volume_overlay *overlay,
                 struct xk_err *err)
{
    const struct nbd_settings settings = {
        .export = {.name = opts->name, .description = volume_layer_path(v, 0), .volume = v, .overlay = overlay},
        .socket = opts->socket,
        .port = opts->port == NO_PORT ? NBD_PORT : (uint16_t)opts->port,
        .connections_max = (unsigned)opts->connections,
        .idle_ns = opts->idle,
        .commit_ns = opts->commit,
        .once = opts->once,
        .log = app->log,
        .clock = app->clock,
    };
    struct nbd_server *server = NULL;

    int code = nbd_listen(&server, &settings, err);
    if (code < 0)
        return code;
    tell_address(app->out, opts, server, v);
    code = xk_out_error(app->out);
    if (code == 0)
        code = nbd_run(server, err);
    if (code == 0)
        tell_totals(app->out, server);
    nbd_close(server);
    return code;
}

static int run(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    const struct serve *opts = args->opts;
    const struct volume_options options = {.format = (enum volume_format)opts->format, .chain_root = opts->chain_root};
    struct volume_overlay *overlay = NULL;
    struct volume *v = NULL;

    int code = check_usage(opts, err);
    if (code < 0)
        return code;
    /* A heap for each of a thousand threads would be 64 MiB of address space each. */
    (void)mallopt(M_ARENA_MAX, 2);
    code = volume_open(&v, app->fs, args->operands[0], &options, err);
    if (code == 0 && opts->writable)
        code = make_overlay(&overlay, app, opts, v, err);
    if (code == 0)
        code = serve(app, opts, overlay ? volume_overlay_view(overlay) : v, overlay, err);
    if (code == 0 && overlay) {
        /* The overlay itself was looked at with each commit. */
        code = volume_check_names(v, err);
        if (code == -ESTALE)
            xk_err_hint(err, "%s stands on the file that was there before; give it that name back, or throw it away",
                        opts->overlay);
    }
    volume_overlay_close(overlay);
    volume_close(v);
    return code;
}

static const struct serve defaults = {
    .name = "", .port = NO_PORT, .connections = NBD_CONNECTIONS, .commit = 5 * XK_NS_PER_S};
static const char *const example[] = {"--port", "0", "sample.vhd", NULL};

const struct xk_command vhd_cmd_serve = {
    .name = "serve",
    .summary = "serve the disk over NBD on a socket or on loopback",
    .operands = "FILE",
    .min_operands = 1,
    .max_operands = 1,
    .opts = serve_opts,
    .defaults = &defaults,
    .opts_bytes = sizeof(struct serve),
    .run = run,
    .kind = XK_SERVER,
    .example = example,
};
