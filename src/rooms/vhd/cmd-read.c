/*
 * `xenkit vhd read`: the disk's bytes, through all its parents, as a stream. Holes of the output file stay holes.
 */
#include "rooms/vhd/room.h"

#include "core/text.h"
#include "lib/vhd/chain.h"

#include <string.h>

#define PIECE_SECTORS (VHD_BLOCK_BYTES / VHD_SECTOR)

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

/* Bytes [from, to) of the disk, in pieces that end on 2 MiB so that each block is resolved once. */
static int copy_out(struct xk_app *app, const struct vhd_chain *chain, uint64_t from, uint64_t to, struct xk_err *err)
{
    xk_autofree uint8_t *piece = xk_alloc(VHD_BLOCK_BYTES);
    struct xk_prog progress;
    int code = 0;

    if (!piece)
        return xk_fail_memory(err);
    xk_prog_begin(&progress, app->log, app->clock, "reading", to - from, true);
    for (uint64_t at = from; at < to && code == 0;) {
        const uint64_t first = at / VHD_SECTOR;
        const uint64_t last = XK_MIN(XK_DIV_UP(to, VHD_SECTOR), (first / PIECE_SECTORS + 1) * PIECE_SECTORS);
        if (xk_stop_signal()) {
            code = xk_fail(err, -EINTR, "stopped at byte %llu of the disk", (unsigned long long)at);
            break;
        }
        code = vhd_chain_read(chain, piece, first, last - first, err);
        if (code < 0)
            break;
        const uint64_t end = XK_MIN(last * VHD_SECTOR, to);
        xk_out_raw(app->out, piece + (at - first * VHD_SECTOR), (size_t)(end - at));
        code = xk_out_error(app->out);
        at = end;
        xk_prog_set(&progress, at - from);
    }
    xk_prog_end(&progress);
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
    } else {
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
