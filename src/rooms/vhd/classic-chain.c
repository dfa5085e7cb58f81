/*
 * A piece of at most 256 KiB goes down through the layers with a map of the sectors that are still wanted. Each layer
 * keeps the last bitmap it read, because pieces come in ascending order. lib/vhd/chain.h opens the whole chain before
 * it reads, which the original does not, so a child of a missing parent could not be looked at.
 */
#include "rooms/vhd/classic-chain.h"

#include <string.h>

struct vhd_classic_layer {
    struct vhd_classic_image own, *image; /* image points to own, or to the caller's */
    bool raw;                             /* a raw parent: own has only a file */
    uint8_t *bitmap;
    uint64_t bitmap_block; /* UINT64_MAX: none yet */
};

static void layer_done(struct vhd_classic_layer *l)
{
    vhd_classic_image_close(&l->own);
    free(l->bitmap);
}

static int add_layer(struct vhd_classic_chain *chain)
{
    struct vhd_classic_layer *layers = xk_realloc(chain->layers, (chain->count + 1) * sizeof(*layers));
    if (!layers)
        return -ENOMEM;
    /* What lies in the layers may have moved. */
    for (size_t n = 1; n < chain->count; n++)
        layers[n].image = &layers[n].own;
    chain->layers = layers;
    layers[chain->count] = (struct vhd_classic_layer){.own.file.fd = -1, .bitmap_block = UINT64_MAX};
    return 0;
}

static int prepare_layer(struct vhd_classic_layer *l)
{
    if (!vhd_classic_is_sparse(l->image))
        return 0;
    l->bitmap = xk_alloc(vhd_classic_bitmap_bytes(l->image));
    return l->bitmap ? vhd_classic_image_read_bat(l->image) : -ENOMEM;
}

int vhd_classic_chain_begin(struct vhd_classic_chain *ret, struct vhd_classic_image *image)
{
    *ret = (struct vhd_classic_chain){.classic = image->classic};
    int code = add_layer(ret);
    if (code < 0)
        return code;
    ret->layers[0].image = image;
    code = prepare_layer(&ret->layers[0]);
    if (code < 0)
        layer_done(&ret->layers[0]);
    else
        ret->count = 1;
    return code;
}

void vhd_classic_chain_end(struct vhd_classic_chain *chain)
{
    for (size_t n = 0; n < chain->count; n++)
        layer_done(&chain->layers[n]);
    free(chain->layers);
    *chain = (struct vhd_classic_chain){0};
}

static bool is_in_chain(const struct vhd_classic_chain *chain, const struct vhd_classic_image *i)
{
    for (size_t n = 0; n < chain->count; n++) {
        if (chain->layers[n].image->dev == i->dev && chain->layers[n].image->ino == i->ino)
            return true;
    }
    return false;
}

/* Open the parent of the last layer. */
static int open_next(struct vhd_classic_chain *chain)
{
    const struct vhd_classic_image *child = chain->layers[chain->count - 1].image;
    const bool raw = vhd_classic_raw_parent(child);
    xk_autofree char *path = NULL;

    int code = chain->count >= VHD_CLASSIC_DEPTH_MAX ? -ELOOP : vhd_classic_parent(child, true, &path);
    if (code == 0)
        code = add_layer(chain);
    if (code < 0)
        return code;
    struct vhd_classic_layer *l = &chain->layers[chain->count];
    l->raw = raw;
    code = raw ? vhd_classic_image_open_file(&l->own, chain->classic, path, VHD_CLASSIC_READ)
               : vhd_classic_image_open(&l->own, chain->classic, path, VHD_CLASSIC_READ);
    if (code < 0)
        return code;
    l->image = &l->own;
    if (!raw)
        code = is_in_chain(chain, l->image) ? -ELOOP : prepare_layer(l);
    if (code < 0) {
        layer_done(l);
        return code;
    }
    chain->count++;
    return 0;
}

/* One layer's turn: a piece of the disk, and which of its sectors are still wanted. */
struct piece {
    uint8_t *data;
    uint64_t sector;
    uint32_t count, wanted;
    bool done[VHD_CLASSIC_CHUNK_SECTORS];
};

static void mark(struct piece *p, uint32_t from, uint32_t count)
{
    memset(p->done + from, true, count);
    p->wanted -= count;
}

/* What no layer has from this sector on. */
static void zero_rest(struct piece *p, uint32_t from)
{
    for (uint32_t n = from; n < p->count && p->wanted > 0; n++) {
        if (p->done[n])
            continue;
        memset(p->data + (size_t)n * VHD_SECTOR, 0, VHD_SECTOR);
        mark(p, n, 1);
    }
}

/*
 * Bytes behind the end of the data read as zeros: a last block may be cut, a raw parent may be smaller. A file that was
 * cut inside a sector is another thing.
 */
static int read_run(const struct vhd_classic_layer *l, uint64_t offset, struct piece *p, uint32_t from, uint32_t count)
{
    const uint64_t end = l->raw ? l->image->bytes : l->image->bytes - VHD_FOOTER_BYTES;
    const uint64_t bytes = offset < end ? XK_MIN((uint64_t)count * VHD_SECTOR, end - offset) : 0;
    const ssize_t got =
        xk_file_read_some(&l->image->file, p->data + (size_t)from * VHD_SECTOR, (size_t)bytes, offset, NULL);
    if (got < 0)
        return (int)got;
    memset(p->data + (size_t)from * VHD_SECTOR + got, 0, (size_t)count * VHD_SECTOR - (size_t)got);
    mark(p, from, count);
    return 0;
}

/* A run of wanted sectors that `has` (NULL: all) says are there; 0: none. *from is moved to its begin. */
static uint32_t next_run(const struct piece *p, const uint8_t *has, uint64_t bit, uint32_t *from, uint32_t end)
{
    uint32_t at = *from;
    while (at < end && (p->done[at] || (has && !vhd_bit(has, bit + (at - *from)))))
        at++;
    uint32_t to = at;
    while (to < end && !p->done[to] && (!has || vhd_bit(has, bit + (to - *from))))
        to++;
    *from = at;
    return to - at;
}

static int read_runs(const struct vhd_classic_layer *l, const uint8_t *has, uint64_t bit, uint64_t offset,
                     struct piece *p, uint32_t from, uint32_t end)
{
    while (from < end) {
        uint32_t at = from;
        const uint32_t count = next_run(p, has, bit, &at, end);
        if (count == 0)
            return 0;
        const int code = read_run(l, offset + (uint64_t)(at - from) * VHD_SECTOR, p, at, count);
        if (code < 0)
            return code;
        bit += at + count - from;
        offset += (uint64_t)(at + count - from) * VHD_SECTOR;
        from = at + count;
    }
    return 0;
}

static int load_bitmap(struct vhd_classic_layer *l, uint64_t block)
{
    if (l->bitmap_block == block)
        return 0;
    l->bitmap_block = UINT64_MAX;
    const int code = vhd_classic_image_read_bitmap(l->image, (uint32_t)block, l->bitmap);
    if (code == 0)
        l->bitmap_block = block;
    return code;
}

static int read_sparse(struct vhd_classic_layer *l, struct piece *p)
{
    const struct vhd_classic_image *i = l->image;
    const uint32_t block_sectors = vhd_classic_block_sectors(i);
    const uint64_t end = i->footer.current_bytes / VHD_SECTOR;

    for (uint32_t at = 0, part; at < p->count; at += part) {
        const uint64_t sector = p->sector + at, block = sector / block_sectors;
        const uint32_t within = (uint32_t)(sector % block_sectors);
        part = XK_MIN(p->count - at, block_sectors - within);
        if (sector >= end || block >= i->blocks) {
            /* The parent is smaller than the child: nothing below can have this. */
            zero_rest(p, at);
            return 0;
        }
        if (i->bat[block] == VHD_BAT_FREE)
            continue;
        int code = load_bitmap(l, block);
        if (code == 0)
            code = read_runs(l, l->bitmap, within,
                             (uint64_t)i->bat[block] * VHD_SECTOR + vhd_classic_bitmap_bytes(i) +
                                 (uint64_t)within * VHD_SECTOR,
                             p, at, at + part);
        if (code < 0)
            return code;
    }
    return 0;
}

/* A fixed image or a raw file. */
static int read_flat(const struct vhd_classic_layer *l, struct piece *p)
{
    const uint64_t end = l->raw ? XK_DIV_UP(l->image->bytes, VHD_SECTOR) : l->image->footer.current_bytes / VHD_SECTOR;
    const uint32_t count = p->sector >= end ? 0 : (uint32_t)XK_MIN((uint64_t)p->count, end - p->sector);
    return read_runs(l, NULL, 0, p->sector * VHD_SECTOR, p, 0, count);
}

int vhd_classic_chain_read(struct vhd_classic_chain *chain, uint8_t *ret, uint64_t sector, uint32_t count)
{
    struct piece p = {.data = ret, .sector = sector, .count = count, .wanted = count};

    for (size_t n = 0; p.wanted > 0; n++) {
        if (n == chain->count) {
            const struct vhd_classic_layer *last = &chain->layers[n - 1];
            if (last->raw || last->image->footer.type != VHD_DIFFERENCING) {
                zero_rest(&p, 0);
                return 0;
            }
            const int code = open_next(chain);
            if (code < 0)
                return code;
        }
        struct vhd_classic_layer *l = &chain->layers[n];
        const int code = l->raw || !vhd_classic_is_sparse(l->image) ? read_flat(l, &p) : read_sparse(l, &p);
        if (code < 0)
            return code;
    }
    return 0;
}
