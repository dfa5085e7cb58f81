/*
 * The trees of a survey as pictures: Graphviz text, an SVG file, an HTML page.
 */
#ifndef ROOM_VHD_CHAIN_PICTURE_H
#define ROOM_VHD_CHAIN_PICTURE_H

#include "core/room.h"
#include "lib/vhd/survey.h"

/* What is stored in the image: blocks that only it has, and blocks that hide ones of its parent. */
struct chain_bytes {
    uint64_t exclusive, shared;
};
struct chain_bytes chain_bytes_of(const struct vhd_survey_image *image);
/* "damaged", "loop", "parent missing"; NULL: nothing is wrong with it. */
const char *chain_problem_of(const struct vhd_survey_image *image);

/* Graphviz text, edges from child to parent, to `out` as it is. */
void chain_put_dot(struct xk_out *out, const struct vhd_survey *s);
/* Files that appear whole or not at all. returns 0; -EFBIG; I/O and memory errors. */
int chain_write_svg(struct xk_app *app, const struct vhd_survey *s, const char *path, struct xk_err *err);
int chain_write_html(struct xk_app *app, const struct vhd_survey *s, const char *path, struct xk_err *err);

#endif
