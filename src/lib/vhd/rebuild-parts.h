/*
 * What the files of the repair share. A step function looks at the image as repaired so far (`v`, opened leniently for
 * writing through the overlay), changes it through v->file, and says what it did with vhd_step_tell(); it does nothing
 * when its part needs nothing, and says why with vhd_step_refuse() when it cannot know what is right.
 */
#ifndef VHD_REBUILD_PARTS_H
#define VHD_REBUILD_PARTS_H

#include "lib/vhd/image.h"
#include "lib/vhd/rebuild.h"

struct rebuild {
    struct vhd_rebuild *r;
    const struct vhd_problems *problems; /* of the image as it is now */
    struct vhd_step told;                /* by the step at hand; part NULL: nothing */
    struct xk_err *err;
};

void vhd_step_tell(struct rebuild *b, const char *part, const char *reason, ...) XK_PRINTF(3, 4);
void vhd_step_before(struct rebuild *b, const char *format, ...) XK_PRINTF(2, 3);
void vhd_step_after(struct rebuild *b, const char *format, ...) XK_PRINTF(2, 3);
void vhd_step_refuse(struct rebuild *b, enum vhd_problem_kind kind, const char *format, ...) XK_PRINTF(3, 4);
bool vhd_has_problem(const struct vhd_problems *list, enum vhd_problem_kind kind);
uint64_t vhd_stored_block_bytes(const struct vhd *v);
/* Bytes where everything but blocks and the footer ends. */
uint64_t vhd_metadata_end(const struct vhd *v);

/* rebuild-tables.c */
int vhd_step_header(struct rebuild *b, struct vhd *v);
int vhd_step_header_found(struct rebuild *b, struct vhd *v);
int vhd_step_header_fields(struct rebuild *b, struct vhd *v);
int vhd_step_bat(struct rebuild *b, struct vhd *v);
int vhd_step_bitmaps(struct rebuild *b, struct vhd *v);
int vhd_step_batmap(struct rebuild *b, struct vhd *v);
int vhd_step_locators(struct rebuild *b, struct vhd *v);
int vhd_step_parent(struct rebuild *b, struct vhd *v);

#endif
