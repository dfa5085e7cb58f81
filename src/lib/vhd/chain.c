/*
 * Opening walks from the image to its root; every ancestor is opened once and stays open. XenServer's own library opens
 * the whole chain again for each 2 MiB it reads.
 */
#include "lib/vhd/chain.h"

#include "core/text.h"

#include <string.h>

static int check_loop(const struct vhd_chain *c, const struct vhd *next, struct xk_err *err)
{
    for (size_t i = 0; i < c->count; i++) {
        if (c->layers[i].dev == next->dev && c->layers[i].ino == next->ino)
            return xk_fail(err, -ELOOP, "%s is its own ancestor (through %s)", next->path,
                           c->layers[c->count - 1].path);
    }
    return 0;
}

static int check_identity(const struct vhd *child, const struct vhd *parent, struct xk_err *err)
{
    if (memcmp(child->header.parent_uuid, parent->footer.uuid, sizeof(parent->footer.uuid)) == 0)
        return 0;
    return xk_fail(err, -ESTALE, "%s names another parent (UUID %s) than %s (UUID %s)", child->path,
                   xk_uuid_text(child->header.parent_uuid).s, parent->path, xk_uuid_text(parent->footer.uuid).s);
}

static int open_raw_parent(struct vhd_chain *c, const struct xk_fs *fs, char *path, struct xk_err *err)
{
    c->raw_path = path;
    const int code = xk_file_open(&c->raw, fs, c->raw_path, O_RDONLY | O_NONBLOCK, 0, err);
    return code < 0 ? code : xk_file_size(&c->raw_bytes, &c->raw, err);
}

static int add_layer(struct vhd_chain *c, const struct xk_fs *fs, const char *path, unsigned flags, struct xk_err *err)
{
    struct vhd *layers = xk_realloc(c->layers, (c->count + 1) * sizeof(*layers));
    if (!layers)
        return xk_fail_memory(err);
    c->layers = layers;

    struct vhd *next = &c->layers[c->count];
    int code = vhd_open(next, fs, path, flags, err);
    if (code < 0)
        return code;
    code = check_loop(c, next, err);
    if (code == 0 && c->count > 0)
        code = check_identity(next - 1, next, err);
    if (code < 0) {
        vhd_close(next);
        return code;
    }
    c->count++;
    return 0;
}

static int open_layers(struct vhd_chain *c, const struct xk_fs *fs, const char *path,
                       const struct vhd_chain_options *options, struct xk_err *err)
{
    const size_t depth_max = options->depth_max ? options->depth_max : VHD_DEPTH_MAX;
    unsigned flags = options->open_flags;

    int code = add_layer(c, fs, path, flags, err);
    flags &= ~(unsigned)VHD_WRITE;
    while (code == 0 && c->layers[c->count - 1].footer.type == VHD_DIFFERENCING) {
        const struct vhd *child = &c->layers[c->count - 1];
        xk_autofree char *parent = NULL;

        if (c->count >= depth_max)
            return xk_fail(err, -ELOOP, "%s: the chain is deeper than %zu images", path, depth_max);
        if (c->count == 1 && options->parent) {
            parent = xk_strdup(options->parent);
            code = parent ? 0 : xk_fail_memory(err);
        } else {
            code = vhd_find_parent(&parent, child, &options->search, err);
        }
        if (code < 0)
            return code;
        if (vhd_uuid_is_null(child->header.parent_uuid))
            return open_raw_parent(c, fs, XK_TAKE(parent), err);
        code = add_layer(c, fs, parent, flags, err);
    }
    return code;
}

int vhd_chain_open(struct vhd_chain *ret, const struct xk_fs *fs, const char *path,
                   const struct vhd_chain_options *options, struct xk_err *err)
{
    const struct vhd_chain_options defaults = {0};

    *ret = (struct vhd_chain){.raw.fd = -1};
    const int code = open_layers(ret, fs, path, options ? options : &defaults, err);
    if (code < 0)
        vhd_chain_close(ret);
    return code;
}

void vhd_chain_close(struct vhd_chain *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->count; i++)
        vhd_close(&c->layers[i]);
    free(c->layers);
    xk_file_close(&c->raw);
    free(c->raw_path);
    *c = (struct vhd_chain){.raw.fd = -1};
}

int vhd_chain_check_names(const struct vhd_chain *c, size_t count, struct xk_err *err)
{
    int code = 0;

    for (size_t i = 0; i < XK_MIN(count, c->count) && code == 0; i++)
        code = xk_file_check_name(&c->layers[i].file, err);
    return code == 0 && c->raw.open && count > c->count ? xk_file_check_name(&c->raw, err) : code;
}
