/*
 * `xenkit vhd read`: the disk's bytes, through all its parents, as a stream.
 */
#include "rooms/vhd/room.h"

#include "core/text.h"
#include "lib/vhd/chain.h"

#include <string.h>

#define PIECE_BYTES (256u * 1024)

struct read_opts {
    uint64_t offset, length;
    const char *chain_root;
    bool use_copy;
};

static const struct xk_opt read_opts[] = {
    XK_OPT_SIZE(0, "offset", struct read_opts, offset, "SIZE", "begin at this byte of the disk [0]"),
    XK_OPT_SIZE(0, "length", struct read_opts, length, "SIZE", "read so many bytes [to the end of the disk]"),
    XK_OPT_FLAG(0, "use-copy", struct read_opts, use_copy, "accept the footer copy when the footer itself is damaged"),
    VHD_OPT_CHAIN_ROOT(struct read_opts),
    XK_OPT_END,
};

/* The part of the disk that is wanted, and how far it has come. */
struct copy {
    struct xk_app *app;
    const struct vhd_chain *chain;
    uint64_t from, to; /* bytes of the disk */
    struct xk_prog progress;
    struct xk_err *err;
    uint8_t piece[PIECE_BYTES];
};

static int copy_piece(struct copy *c, const struct vhd_extent *e, uint64_t at, size_t bytes)
{
    const uint64_t offset = e->file_offset + (at - e->start * VHD_SECTOR);

    if (xk_stop_signal())
        return xk_fail(c->err, -EINTR, "stopped at byte %llu of the disk", (unsigned long long)at);
    if (e->layer == VHD_LAYER_ZERO) {
        memset(c->piece, 0, bytes);
    } else if ((size_t)e->layer < c->chain->count) {
        const int code = xk_file_read(&c->chain->layers[e->layer].file, c->piece, bytes, offset, c->err);
        if (code < 0)
            return code;
    } else {
        const ssize_t got = xk_file_read_some(&c->chain->raw, c->piece, bytes, offset, c->err);
        if (got < 0)
            return (int)got;
        memset(c->piece + got, 0, bytes - (size_t)got);
    }
    xk_out_raw(c->app->out, c->piece, bytes);
    return xk_out_error(c->app->out);
}

/* Small pieces, so that what was read is still in the processor's cache when it is written. */
static int copy_extent(void *context, const struct vhd_extent *e)
{
    struct copy *c = context;
    const uint64_t end = XK_MIN((e->start + e->sectors) * VHD_SECTOR, c->to);

    for (uint64_t at = XK_MAX(e->start * VHD_SECTOR, c->from); at < end;) {
        const size_t bytes = (size_t)XK_MIN(end - at, (uint64_t)PIECE_BYTES);
        const int code = copy_piece(c, e, at, bytes);
        if (code < 0)
            return code;
        at += bytes;
        xk_prog_set(&c->progress, at - c->from);
    }
    return 0;
}

static int copy_out(struct xk_app *app, const struct vhd_chain *chain, uint64_t from, uint64_t to, struct xk_err *err)
{
    xk_autofree struct copy *c = xk_alloc(sizeof(*c));

    if (!c)
        return xk_fail_memory(err);
    c->app = app;
    c->chain = chain;
    c->from = from;
    c->to = to;
    c->err = err;
    xk_prog_begin(&c->progress, app->log, app->clock, "reading", to - from, true);
    const uint64_t first = from / VHD_SECTOR;
    const int code = vhd_chain_map(chain, first, XK_DIV_UP(to, VHD_SECTOR) - first, copy_extent, c, err);
    xk_prog_end(&c->progress);
    return code;
}

static int check_output(const struct xk_app *app, const struct vhd_chain *chain, struct xk_err *err)
{
    int code = chain->raw.open ? xk_out_check_source(app->out, chain->raw_path, err) : 0;

    for (size_t i = 0; i < chain->count && code == 0; i++)
        code = xk_out_check_source(app->out, chain->layers[i].path, err);
    return code;
}

static int run(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    const struct read_opts *opts = args->opts;
    const struct vhd_chain_options options = {
        .search = {.root = opts->chain_root},
        .open_flags = VHD_DEVICES | (opts->use_copy ? VHD_BACKUP_OK : 0),
    };
    struct vhd_chain chain;

    int code = vhd_chain_open(&chain, app->fs, args->operands[0], &options, err);
    if (code < 0)
        return code;
    /* Of a size that is no multiple of 512 the rest cannot be addressed; `check` names it. */
    const uint64_t size = vhd_sectors(&chain.layers[0]) * VHD_SECTOR;
    uint64_t end;
    if (opts->offset > size) {
        code = xk_fail(err, -EINVAL, "%s: offset %llu lies past the end of the disk (%llu bytes)", args->operands[0],
                       (unsigned long long)opts->offset, (unsigned long long)size);
    } else if ((code = check_output(app, &chain, err)) == 0) {
        if (opts->length == UINT64_MAX || xk_add(opts->offset, opts->length, &end) || end > size)
            end = size;
        code = copy_out(app, &chain, opts->offset, end, err);
    }
    vhd_chain_close(&chain);
    return code;
}

static const struct read_opts defaults = {.length = UINT64_MAX};
static const char *const example[] = {"sample.vhd", "--length", "512", NULL};

const struct xk_command vhd_cmd_read = {
    .name = "read",
    .summary = "write the disk's bytes to standard output",
    .operands = "FILE",
    .min_operands = 1,
    .max_operands = 1,
    .opts = read_opts,
    .defaults = &defaults,
    .opts_bytes = sizeof(struct read_opts),
    .run = run,
    .example = example,
    .raw = true,
};
