/*
 * Several images on one command line: each gets its turn, whatever became of those before.
 *
 * A failure is told on standard error as it comes, and, in JSON, once more in a section "failures". The command then
 * ends with the exit status of the first. A single image is no different from any other error: no section, no count.
 */
#ifndef ROOM_VHD_SEVERAL_H
#define ROOM_VHD_SEVERAL_H

#include "core/room.h"

struct vhd_several {
    struct xk_app *app;
    size_t images, failed;
    struct xk_err first;
    struct vhd_failure {
        const char *path; /* the operand */
        int exit;
        char *message; /* owned */
    } * failures;
};

int vhd_several_begin(struct vhd_several *ret, struct xk_app *app, size_t images, struct xk_err *err);
/*
 * What became of an image.
 *
 * code      0, or the error that err tells of.
 * returns   0: go on with the next one; else end now, with this code: it was the only image, a signal came, memory is
 *           out, or nobody takes the output any more.
 */
int vhd_several_take(struct vhd_several *s, const char *path, int code, struct xk_err *err);
/*
 * After the results' sections were ended.
 *
 * code      what vhd_several_take() said last.
 * returns   code, or the first failure's, with err saying how many there were.
 */
int vhd_several_end(struct vhd_several *s, int code, struct xk_err *err);

/* All of it for a command that puts one row (or card) an image into one section. `opts` are those of args. */
struct vhd_each {
    const char *section;
    bool cards;
    int (*one)(struct xk_app *app, const char *path, const void *opts, struct xk_err *err);
};
int vhd_each_image(struct xk_app *app, const struct xk_args *args, const struct vhd_each *how, struct xk_err *err);

#endif
