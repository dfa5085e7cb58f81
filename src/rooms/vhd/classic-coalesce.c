/*
 * vhd-util coalesce: an image into its direct parent. The original looks at these two only, so a chain that is broken
 * further down is no hindrance; but where it writes into whatever lies at the parent's place, this insists on the
 * parent's UUID, and an image that is its own parent is refused instead of being written to itself.
 */
#include "rooms/vhd/classic-image.h"

#include "lib/vhd/merge.h"

#include <inttypes.h>
#include <string.h>

struct progress {
    struct vhd_classic *classic;
    uint64_t blocks, shown, block_sectors;
};

/* The original renews its percentage before each block. */
static void show_progress(void *context, uint64_t done, uint64_t total)
{
    struct progress *p = context;
    const uint64_t end = done == total ? p->blocks : done / p->block_sectors;

    for (; p->shown < end; p->shown++)
        vhd_classic_say(p->classic, "\r%6.2f%%", (double)((float)p->shown / (float)p->blocks) * 100.00);
    vhd_classic_flush(p->classic);
    if (done == total)
        vhd_classic_say(p->classic, "\r100.00%%\n");
}

/* The layer below: an image or a raw disk. */
static int open_parent(struct vhd_chain *chain, struct vhd_classic *c, const char *name, bool sparse)
{
    const struct vhd *child = &chain->layers[0];
    const bool raw = vhd_uuid_is_null(child->header.parent_uuid);
    struct xk_err err = {0};
    char *path = NULL;

    int code = vhd_find_parent(&path, child, NULL, &err);
    if (code < 0) {
        code = vhd_classic_code(c, code, &err);
        vhd_classic_say(c, "error finding %s parent: %d\n", name, code);
        return code;
    }
    if (raw) {
        chain->raw_path = path;
        code = xk_file_open(&chain->raw, c->app->fs, path, O_RDWR, 0, &err);
        if (code == 0)
            code = xk_file_size(&chain->raw_bytes, &chain->raw, &err);
        if (code < 0) {
            code = vhd_classic_code(c, code, &err);
            vhd_classic_say(c, "failed to open parent %s: %d\n", path, code);
        }
        return code;
    }
    xk_autofree char *owned = path;
    if (sparse)
        vhd_classic_say(c, "opening for sparse writes\n");
    code = vhd_open(&chain->layers[1], c->app->fs, path, VHD_DEVICES | VHD_BACKUP_OK, &err);
    if (code == 0) {
        chain->count = 2;
        const struct vhd *parent = &chain->layers[1];
        if (parent->dev == child->dev && parent->ino == child->ino)
            code = -ELOOP;
        else if (memcmp(parent->footer.uuid, child->header.parent_uuid, sizeof(parent->footer.uuid)) != 0)
            code = -EINVAL;
        else if (parent->footer_from_copy)
            code = vhd_classic_image_mend(c, path, &err);
    }
    if (code < 0) {
        code = vhd_classic_code(c, code, &err);
        vhd_classic_say(c, "error opening %s: %d\n", path, code);
    }
    return code;
}

static int64_t coalesce(struct vhd_classic *c, const char *name, bool sparse, bool progress)
{
    struct vhd layers[2] = {{.file.fd = -1}, {.file.fd = -1}};
    struct vhd_chain chain = {.layers = layers, .count = 1, .raw.fd = -1};
    struct vhd_merged merged = {0};
    struct xk_err err = {0};

    int code = vhd_classic_image_try(c, name, VHD_CLASSIC_READ);
    if (code == 0)
        code = vhd_open(&layers[0], c->app->fs, name, VHD_DEVICES | VHD_BACKUP_OK, &err);
    if (code < 0) {
        code = vhd_classic_code(c, code, &err);
        vhd_classic_say(c, "error opening %s: %d\n", name, code);
        return code;
    }
    if (layers[0].footer.type != VHD_DIFFERENCING) {
        vhd_classic_say(c, "coalescing of non-differencing disks is not supported\n");
        code = -EINVAL;
    } else {
        code = open_parent(&chain, c, name, sparse);
    }
    if (code == 0) {
        struct progress p = {
            .classic = c, .blocks = layers[0].blocks, .block_sectors = vhd_sectors_per_block(&layers[0])};
        const struct vhd_merge how = {
            .links = 1, .reserve = !sparse, .progress = progress ? show_progress : NULL, .context = &p};
        code = vhd_merge_run(&merged, &chain, c->app->fs, &how, &err);
        if (code == 0 && merged.stopped)
            code = -EINTR;
        code = vhd_classic_code(c, code, &err);
    }
    vhd_close(&layers[0]);
    vhd_close(&layers[1]);
    xk_file_close(&chain.raw);
    free(chain.raw_path);
    return code < 0 ? code : (int64_t)merged.sectors;
}

int vhd_classic_coalesce(struct vhd_classic *c, int argc, char **argv)
{
    const char *name = NULL;
    bool sparse = false, progress = false, wrong = false;
    int letter;

    /* getopt knows -o, -a and -x, with a value; the command refuses them, as in the original. */
    struct vhd_classic_options o = vhd_classic_options(c, argc, argv, "n:o:a:x:sph");
    while (!wrong && (letter = vhd_classic_option(&o)) != -1) {
        switch (letter) {
        case 'n':
            name = o.value;
            break;
        case 's':
            sparse = true;
            break;
        case 'p':
            progress = true;
            break;
        default:
            wrong = true;
        }
    }
    if (wrong || !name || o.operand_count > 0) {
        vhd_classic_say(c, "options: <-n name> [-s sparse] [-p progress] [-h help]\n");
        return -EINVAL;
    }
    const int64_t result = coalesce(c, name, sparse, progress);
    if (result < 0) {
        vhd_classic_say(c, "error coalescing: %d\n", (int)result);
        return (int)result;
    }
    vhd_classic_say(c, "Coalesced %" PRId64 " sectors", result);
    return 0;
}
