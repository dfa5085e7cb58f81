/*
 * What the files of a classic scan share: what is scanned (classic-scan.c), how one image is looked at
 * (classic-scan-image.c), and how what was found is told, in lines or as a tree (classic-scan-tell.c).
 */
#ifndef ROOMS_VHD_CLASSIC_SCAN_PARTS_H
#define ROOMS_VHD_CLASSIC_SCAN_PARTS_H

#include "core/text.h"
#include "rooms/vhd/classic-image.h"
#include "rooms/vhd/classic-scan.h"

enum vhd_scan_kind {
    VHD_SCAN_NOTHING, /* a target that could not be looked at; the original prints a line for it, too */
    VHD_SCAN_RAW_FILE,
    VHD_SCAN_VHD_FILE,
    VHD_SCAN_RAW_VOLUME,
    VHD_SCAN_VHD_VOLUME,
};

struct vhd_scan_target {
    enum vhd_scan_kind kind;
    const char *name, *device;
    uint64_t bytes, start, end;
};

/* What a line says. */
struct vhd_scan_entry {
    const char *name, *parent; /* parent NULL: none */
    uint64_t capacity_bytes, file_bytes;
    uint8_t hidden, marker;
    bool keyhash_set;
    uint8_t hash[32];
    int error;
    const char *message;
    /* in the tree; indices, VHD_SCAN_NO_ENTRY ends */
    size_t first_child, last_child, next_sibling;
    bool has_parent, printed;
};

#define VHD_SCAN_NO_ENTRY SIZE_MAX

/* A set of texts; open addressing, at most half full. */
struct vhd_scan_names {
    const char **slots;
    size_t size, count;
};

struct vhd_scan {
    struct vhd_classic *classic;
    const char *filter, *group_name;
    bool fast, go_on, tree, parents, verbose, markers;
    struct vhd_classic_group group;
    struct xk_arena arena;
    struct vhd_scan_target *targets;
    size_t target_count, target_room;
    struct vhd_scan_names known;    /* what is a target already: base names of files, names of volumes */
    struct vhd_scan_entry *entries; /* for the tree */
    size_t entry_count, entry_room;
    struct vhd_scan_names entry_names;
};

/* As basename(3). */
static inline const char *vhd_scan_base_name(const char *path)
{
    return *path ? xk_base_name(path) : ".";
}

static inline bool vhd_scan_is_volume(enum vhd_scan_kind kind)
{
    return kind == VHD_SCAN_RAW_VOLUME || kind == VHD_SCAN_VHD_VOLUME;
}

static inline bool vhd_scan_is_vhd(enum vhd_scan_kind kind)
{
    return kind == VHD_SCAN_VHD_FILE || kind == VHD_SCAN_VHD_VOLUME;
}

/* returns 1: added; 0: it was there; -ENOMEM. The text must stay. */
int vhd_scan_names_add(struct vhd_scan_names *set, const char *text);
bool vhd_scan_names_have(const struct vhd_scan_names *set, const char *text);

/*
 * What one target is; nothing is told.
 *
 * ret            its error and message say what went wrong; names are borrowed from the target and from the next two.
 * ret_name       memory of the entry's name, ret_parent that of its parent's; the caller frees both, may be NULL.
 * ret_raw_parent the parent is a raw disk.
 */
void vhd_scan_image_look(struct vhd_scan_entry *ret, const struct vhd_scan *s, const struct vhd_scan_target *t,
                         char **ret_name, char **ret_parent, bool *ret_raw_parent);

/* A line at once, or kept for the tree. */
void vhd_scan_tell(struct vhd_scan *s, struct vhd_scan_entry *e);
/* The line of a target that could not be looked at. returns code. */
int vhd_scan_tell_failure(struct vhd_scan *s, const char *name, int code);
/* Everything that was kept. returns 0; -ENOMEM. */
int vhd_scan_tell_tree(struct vhd_scan *s);

#endif
