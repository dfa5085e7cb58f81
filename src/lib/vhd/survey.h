/*
 * Many images at once: a folder, or several, opened in parallel, each audited, and linked by parent into trees.
 */
#ifndef VHD_SURVEY_H
#define VHD_SURVEY_H

#include "core/log.h"
#include "lib/vhd/audit.h"
#include "lib/vhd/locator.h"

#define VHD_SURVEY_IMAGES_MAX  200000
#define VHD_SURVEY_LEVELS_MAX  64      /* folders below a target */
#define VHD_SURVEY_ENTRIES_MAX 4000000 /* directory entries looked at */
#define VHD_SURVEY_THREADS_MAX 4
#define VHD_SURVEY_DEEP        30 /* what XenServer allows; deeper chains are a finding */
#define VHD_NO_IMAGE           SIZE_MAX

struct vhd_survey_image {
    char *path; /* as found */
    char *real_path;
    const char *name;                /* base name inside path */
    bool usable;                     /* footer (and header) could be decoded */
    uint64_t file_bytes, used_bytes; /* size; space taken on the file system (st_blocks) */
    dev_t dev;
    ino_t ino;
    int64_t mtime;
    struct vhd_footer footer;
    struct vhd_header header;   /* zeros for a fixed image */
    bool from_folder;           /* found in a folder (so its neighbours are known), not named by itself */
    bool outside;               /* a parent that lies outside the targets */
    uint32_t blocks, allocated; /* allocated, data_end: 0 without options.tables */
    uint32_t shared;            /* blocks that both it and its parent have; an estimate when memory was short */
    uint64_t data_end;
    char *parent_text; /* what the image says of its parent: resolved path, or the name it looks for; NULL: none */
    size_t parent;     /* index; VHD_NO_IMAGE: none, or not in the survey */
    bool parent_found; /* it exists, in the survey or not (a raw file, too) */
    size_t first_child, next_sibling; /* VHD_NO_IMAGE ends */
    unsigned children;
    unsigned depth;                /* 1 for a root, a raw parent counts; 0 in a loop or above one */
    struct vhd_problems *problems; /* never NULL after vhd_survey_run() */
};

struct vhd_survey {
    struct vhd_survey_image *images; /* sorted by path */
    size_t count;
    struct xk_arena arena;
    /* free space of each file system that holds images, against what the images on it can still grow to */
    struct vhd_survey_fs {
        dev_t dev;
        const char *example; /* a path on it */
        uint64_t free_bytes, total_bytes, growth_bytes;
    } * file_systems;
    size_t file_system_count;
};

struct vhd_survey_options {
    bool recurse; /* into subfolders */
    bool tables;  /* read BAT and batmap (check), else footers and header only (scan) */
    struct vhd_audit_options audit;
    unsigned threads; /* 0: as many as help */
    struct vhd_parent_search search;
    bool missing_stands;      /* a target that does not exist is an image that cannot be read, and no error */
    bool follow_parents;      /* add parents that lie outside the given targets; else they are only looked at */
    struct xk_prog *progress; /* begun by the caller, or NULL; counts images, its total is set here */
};

/*
 * targets   files or folders; from a folder every file whose name ends in .vhd (any case) or that vhd_probe() knows.
 *           Files named directly are taken whatever they are.
 * returns   0; -ENOENT: a target does not exist (without missing_stands); -ENOMEM; -EINTR: stopped by a signal.
 */
int vhd_survey_run(struct vhd_survey *ret, const struct xk_fs *fs, const char *const *targets, size_t count,
                   const struct vhd_survey_options *options, struct xk_err *err);
void vhd_survey_done(struct vhd_survey *s);

/* Estimate, in bytes of file space, of what merging image n into its parent frees; 0 when it has none. */
uint64_t vhd_survey_coalesce_gain(const struct vhd_survey *s, size_t n);

#endif
