/*
 * `xenkit vhd query`: the few figures that scripts ask for, one row an image. Unlike `info` it follows the chain.
 */
#include "rooms/vhd/room.h"
#include "rooms/vhd/several.h"

#include "core/text.h"
#include "lib/vhd/create.h"
#include "lib/vhd/modify.h"

struct query {
    const char *chain_root;
};

static const struct xk_opt query_opts[] = {
    VHD_OPT_CHAIN_ROOT(struct query),
    XK_OPT_END,
};

static int put_image(struct xk_app *app, const char *path, const void *context, struct xk_err *err)
{
    const struct query *const opts = context;
    const struct vhd_parent_search search = {.root = opts->chain_root};
    xk_autofree char *parent = NULL;
    struct vhd v;
    uint8_t marker;

    int code = vhd_open(&v, app->fs, path, VHD_DEVICES, err);
    if (code < 0)
        return code;
    const bool has_parent = v.footer.type == VHD_DIFFERENCING;
    struct xk_err missing = {0};
    if (has_parent)
        (void)vhd_find_parent(&parent, &v, &search, &missing);
    const int depth = vhd_chain_depth(app->fs, path, &search, has_parent && parent ? err : &missing);

    struct xk_out *out = app->out;
    xk_row(out);
    xk_put_str(out, "path", path);
    xk_put_bytes(out, "size", v.footer.current_bytes);
    xk_put_bytes(out, "physical", vhd_data_end(&v) + VHD_FOOTER_BYTES);
    if (vhd_is_sparse(&v)) {
        xk_put_bytes(out, "max", (uint64_t)v.header.max_entries * v.header.block_bytes);
        xk_put_u64(out, "allocated_blocks", vhd_allocated(&v));
    } else {
        xk_put_none(out, "max_bytes");
        xk_put_none(out, "allocated_blocks");
    }
    xk_put_bool(out, "hidden", v.footer.hidden);
    if (vhd_get_marker(&marker, &v))
        xk_put_u64(out, "marker", marker);
    else
        xk_put_none(out, "marker");
    if (depth > 0)
        xk_put_u64(out, "depth", (uint64_t)depth);
    else
        xk_put_none(out, "depth");
    xk_put_str(out, "parent", parent);
    vhd_close(&v);

    if (has_parent && !parent)
        xk_log(app->log, XK_LOG_WARN, "%s", missing.text);
    return has_parent && parent && depth < 0 ? depth : 0;
}

static int run(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    static const struct vhd_each each = {.section = "images", .one = put_image};

    return vhd_each_image(app, args, &each, err);
}

static const char *const example[] = {"sample.vhd", NULL};

const struct xk_command vhd_cmd_query = {
    .name = "query",
    .summary = "sizes, parent, depth and flags of images, one row each",
    .operands = "FILE…",
    .min_operands = 1,
    .max_operands = -1,
    .opts = query_opts,
    .opts_bytes = sizeof(struct query),
    .run = run,
    .example = example,
};
