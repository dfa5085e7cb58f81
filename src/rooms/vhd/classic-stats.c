/*
 * vhd-util check -s: how much of each image is written, and how much of that is new to its parent and to all ancestors.
 *
 * The disk is walked once in pieces of 2 MiB with the bitmaps of all images side by side. The original keeps a bit for
 * every sector of every image, which is 512 MiB for one disk of 2040 GiB.
 */
#include "rooms/vhd/classic-check.h"

#include "core/text.h"

#include <inttypes.h>
#include <string.h>

#define PIECE_SECTORS 4096u
#define PIECE_BYTES   (PIECE_SECTORS / 8)

int vhd_classic_stats_add(struct vhd_classic_check *k, const struct vhd_classic_image *i)
{
    struct vhd_classic_stats *all = xk_realloc(k->all, (k->count + 1) * sizeof(*all));
    if (!all)
        return -ENOMEM;
    k->all = all;
    struct vhd_classic_stats *s = &all[k->count];
    *s = (struct vhd_classic_stats){.name = xk_strdup(i->path)};
    if (!s->name)
        return -ENOMEM;
    const int code = vhd_classic_image_open(&s->image, k->classic, i->path, VHD_CLASSIC_READ | VHD_CLASSIC_POISONED);
    if (code < 0) {
        free(s->name);
        return code;
    }
    k->count++;
    k->stats = s;
    return 0;
}

void vhd_classic_stats_done(struct vhd_classic_check *k)
{
    for (size_t n = 0; n < k->count; n++) {
        vhd_classic_image_close(&k->all[n].image);
        free(k->all[n].name);
    }
    free(k->all);
    k->all = NULL;
    k->count = 0;
}

/* Which sectors of a piece an image has. returns false when it has none, or they cannot be read. */
static bool piece_bits(uint8_t *ret, const struct vhd_classic_image *i, uint64_t piece)
{
    const uint32_t block_sectors = vhd_classic_block_sectors(i);
    uint8_t bitmap[PIECE_BYTES];
    bool any = false;

    memset(ret, 0, PIECE_BYTES);
    for (uint32_t at = 0; at < PIECE_SECTORS; at += block_sectors) {
        const uint64_t block = (piece * PIECE_SECTORS + at) / block_sectors;
        if (block >= i->blocks || i->bat[block] == VHD_BAT_FREE ||
            vhd_classic_image_read(i, bitmap, vhd_classic_bitmap_bytes(i), (uint64_t)i->bat[block] * VHD_SECTOR) < 0)
            continue;
        for (uint32_t n = 0; n < block_sectors; n++) {
            if (vhd_bit(bitmap, n))
                ret[(at + n) / 8] |= (uint8_t)(0x80 >> (at + n) % 8);
        }
        any = true;
    }
    return any;
}

static uint32_t count_new(const uint8_t *bits, const uint8_t *known)
{
    uint32_t count = 0;
    for (size_t n = 0; n < PIECE_BYTES; n++)
        count += (uint32_t)__builtin_popcount(bits[n] & ~known[n] & 0xff);
    return count;
}

/* From the root upwards, as far as the root's disk goes. */
static void compare_piece(struct vhd_classic_check *k, uint64_t piece)
{
    uint8_t parent[PIECE_BYTES], ancestors[PIECE_BYTES], own[PIECE_BYTES];

    (void)piece_bits(parent, &k->all[k->count - 1].image, piece);
    memcpy(ancestors, parent, sizeof(ancestors));
    for (size_t n = k->count - 1; n-- > 0;) {
        struct vhd_classic_stats *s = &k->all[n];
        if (piece_bits(own, &s->image, piece)) {
            s->not_in_parent += count_new(own, parent);
            s->not_in_ancestors += count_new(own, ancestors);
            for (size_t b = 0; b < PIECE_BYTES; b++)
                ancestors[b] |= own[b];
        }
        memcpy(parent, own, sizeof(parent));
    }
}

/* As the original's float arithmetic rounds it. */
static double percent(uint64_t part, uint64_t whole)
{
    return whole ? (double)(float)((double)((float)part / (float)whole) * 100.0) : 0.0;
}

static void print_one(struct vhd_classic *c, const struct vhd_classic_stats *s)
{
    vhd_classic_say(c, "%s: secs allocated: 0x%" PRIx64 " secs written: 0x%" PRIx64 " (%.2f%%)",
                    vhd_classic_clean(c, xk_base_name(s->name)), s->sectors_allocated, s->sectors_written,
                    percent(s->sectors_written, s->sectors_allocated));
}

void vhd_classic_stats_print(struct vhd_classic_check *k)
{
    struct vhd_classic *c = k->classic;

    if (k->count == 0)
        return;
    for (size_t n = 0; n < k->count; n++) {
        if (vhd_classic_image_read_bat(&k->all[n].image) < 0)
            return;
    }
    const struct vhd_classic_image *root = &k->all[k->count - 1].image;
    const uint64_t sectors = (uint64_t)root->header.max_entries * vhd_classic_block_sectors(root);
    for (uint64_t piece = 0; k->count > 1 && piece < XK_DIV_UP(sectors, PIECE_SECTORS); piece++)
        compare_piece(k, piece);

    print_one(c, &k->all[k->count - 1]);
    vhd_classic_say(c, "\n");
    for (size_t n = k->count - 1; n-- > 0;) {
        const struct vhd_classic_stats *s = &k->all[n];
        print_one(c, s);
        vhd_classic_say(c,
                        " secs not in parent: 0x%" PRIx64 " (%.2f%%) secs not in ancestors: 0x%" PRIx64 " (%.2f%%)\n",
                        s->not_in_parent, percent(s->not_in_parent, s->sectors_written), s->not_in_ancestors,
                        percent(s->not_in_ancestors, s->sectors_written));
    }
}
