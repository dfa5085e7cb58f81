/* Two disks, opened together. */
#include "rooms/vhd/pair.h"

int vhd_pair_open(struct vhd_pair *ret, const struct xk_fs *fs, const char *const paths[2], const int formats[2],
                  const char *chain_root, struct xk_err *err)
{
    struct volume_options options = {.format = (enum volume_format)formats[0], .chain_root = chain_root};

    *ret = (struct vhd_pair){0};
    int code = volume_open(&ret->a, fs, paths[0], &options, err);
    if (code < 0)
        return code;
    options.format = (enum volume_format)formats[1];
    code = volume_open(&ret->b, fs, paths[1], &options, err);
    if (code < 0)
        vhd_pair_close(ret);
    return code;
}

void vhd_pair_close(struct vhd_pair *pair)
{
    volume_close(pair->a);
    volume_close(pair->b);
    *pair = (struct vhd_pair){0};
}

uint64_t vhd_pair_bytes(const struct vhd_pair *pair)
{
    return XK_MAX(pair->a->size_bytes, pair->b->size_bytes);
}

void vhd_pair_progress(void *context, uint64_t done)
{
    xk_prog_set(context, done);
}
