/*
 * Repair by a plan. Everything that a damaged image still says is used to work out what it must have said; each step is
 * tried in memory first, and kept only when an audit finds the image better for it. What cannot be known is not
 * guessed: such problems are left, with the reason.
 *
 *     struct vhd_rebuild r;
 *     code = vhd_rebuild_plan(&r, fs, "disk.vhd", &options, err);
 *     … r.steps, r.left, r.after: nothing is written yet …
 *     if (code == 0)
 *         code = vhd_rebuild_apply(&r, "disk.vhd.undo", err);
 *     vhd_rebuild_done(&r);
 */
#ifndef VHD_REBUILD_H
#define VHD_REBUILD_H

#include "core/clock.h"
#include "lib/vhd/audit.h"
#include "lib/vhd/locator.h"
#include "lib/vhd/undo.h"

#define VHD_REBUILD_STEPS_MAX 32
#define VHD_REBUILD_LEFT_MAX  VHD_PROBLEMS_MAX
#define VHD_REBUILD_WHY_BYTES 240

struct vhd_rebuild_options {
    bool data;           /* read all data, and believe them where a bitmap calls them absent */
    const char *parent;  /* NULL, or this is the parent: write name, identity and locators for it */
    bool parent_raw;     /* it is a raw disk */
    bool new_uuid;       /* give the image another identity */
    bool forget_journal; /* an unfinished resize has no journal any more: take the image as it is */
    int64_t unix_seconds;
    struct xk_random *random;
    unsigned open_flags; /* VHD_DEVICES, VHD_ANY_SIZE */
    struct vhd_parent_search search;
    /* May be NULL. Called now and then while bitmaps and data are read; done_bytes grows up to the file's size. */
    void (*progress)(void *context, uint64_t done_bytes);
    void *context;
};

struct vhd_step {
    const char *part; /* "footer", "footer copy", "header", "block table", "bitmap", "batmap", "locators" */
    char before[128], after[128];
    char reason[240]; /* why that is right */
};

/* A problem that stays. */
struct vhd_left {
    enum vhd_problem_kind kind;
    enum xk_severity severity;
    char evidence[320];
    char why[VHD_REBUILD_WHY_BYTES]; /* why it is not repaired; "" for notes, which need no repair */
};

struct vhd_rebuild {
    struct vhd_rebuild_options options;
    struct vhd_overlay overlay; /* the image as it will be */
    struct vhd_step steps[VHD_REBUILD_STEPS_MAX];
    size_t step_count;
    struct vhd_problems before, after;
    struct vhd_problems quick; /* of the image as it will be, bitmaps left out; private */
    bool after_is_stale;       /* private */
    struct vhd_left left[VHD_REBUILD_LEFT_MAX];
    size_t left_count;
    char refused[VHD_P_KINDS][VHD_REBUILD_WHY_BYTES]; /* by kind: why a repair was not possible */
};

/*
 * Work out what can be repaired. Nothing is written.
 *
 * returns   0, also when nothing is wrong (no steps) or nothing can be repaired (no steps, but `left`); -EFBIG: more
 *           changes than an overlay holds; open, read and memory errors; with options.parent: vhd_reparent()'s errors.
 */
int vhd_rebuild_plan(struct vhd_rebuild *ret, const struct xk_fs *fs, const char *path,
                     const struct vhd_rebuild_options *options, struct xk_err *err);
/*
 * Do it, then audit the image again; if that finds it worse than before, everything is taken back.
 * returns   0; vhd_undo_apply()'s errors; -EUCLEAN: it was taken back.
 */
int vhd_rebuild_apply(const struct vhd_rebuild *r, const char *undo_path, struct xk_err *err);
void vhd_rebuild_done(struct vhd_rebuild *r); /* harmless on a zeroed struct */

#endif
