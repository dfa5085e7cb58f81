/*
 * What the classic check hands from image to image, and its statistics.
 */
#ifndef ROOMS_VHD_CLASSIC_CHECK_H
#define ROOMS_VHD_CLASSIC_CHECK_H

#include "lib/vhd/image.h"
#include "rooms/vhd/classic-image.h"

/* The numbers of one image of the chain; the image stays open, so that bitmaps can be compared at the end. */
struct vhd_classic_stats {
    struct vhd_classic_image image;
    char *name; /* as given */
    uint64_t sectors_allocated, sectors_written;
    uint64_t not_in_parent, not_in_ancestors;
};

struct vhd_classic_check {
    struct vhd_classic *classic;
    bool ignore_footer, ignore_parent_uuid, ignore_timestamps, check_data, skip_overlaps, collect_stats;
    bool primary_missing;
    uint8_t *bitmap, *data;          /* of one block */
    struct vhd_hole hole;            /* of the image being checked */
    struct vhd_classic_stats *stats; /* of the image being checked; NULL without -s */
    struct vhd_classic_stats *all;   /* leaf first */
    size_t count;
};

/* Begin to count for an image. returns 0; -ENOMEM. */
int vhd_classic_stats_add(struct vhd_classic_check *k, const struct vhd_classic_image *i);
/* One line for each image, the root first; nothing without -s. */
void vhd_classic_stats_print(struct vhd_classic_check *k);
void vhd_classic_stats_done(struct vhd_classic_check *k);

#endif
