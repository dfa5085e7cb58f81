/*
 * The check-up: targets go to the check sets that accept them, what these find is put in one order, and drawn as text,
 * records, or a page.
 */
#ifndef ROOM_CHECKUP_H
#define ROOM_CHECKUP_H

#include "core/check.h"

extern const struct xk_room checkup_room;
extern const struct xk_command checkup_cmd_checkup;

/* ---- examine.c ---- */

#define CHECKUP_SETS_MAX 32

/* What one set looked at. */
struct checkup_part {
    const struct xk_check_set *set;
    void *subject;
    size_t targets;
};

struct checkup {
    struct checkup_part parts[CHECKUP_SETS_MAX];
    size_t part_count;
    struct xk_findings findings; /* sorted */
    struct xk_tally tally;
};

/*
 * Examine all targets.
 * returns   0, whatever was found; -ENOENT: a target that no set accepts; -EINVAL: --only or --skip names no check;
 *           a set's error. access: as a set's open() takes it. *ret is to be ended with checkup_done() in any case.
 */
int checkup_examine(struct checkup *ret, struct xk_app *app, const char *const *targets, size_t count,
                    const struct xk_words *only, const struct xk_words *skip, const void *access, struct xk_err *err);
void checkup_done(struct checkup *c);

/* ---- page.c ---- */

/* Write the page; an older file of that name is replaced. title: what was examined. */
int checkup_page_write(const struct checkup *c, struct xk_app *app, const char *path, const char *title,
                       struct xk_err *err);

/* ---- demo.c ---- */

struct checkup_demo {
    char *dir;
    struct checkup_plant *plants;
    size_t count;
};

/*
 * Build a folder of sample images, healthy and deliberately damaged.
 * dir       NULL: a new one below $TMPDIR or /tmp. A given one must be new or empty.
 */
int checkup_demo_build(struct checkup_demo *ret, struct xk_app *app, const char *dir, struct xk_err *err);
/*
 * Compare what was planted with what was found below the folder. Differences are told in *ret_text, one a line.
 * returns   the number of differences; -ENOMEM.
 */
int checkup_demo_verify(const struct checkup_demo *demo, const struct checkup *c, struct xk_buf *ret_text);
void checkup_demo_done(struct checkup_demo *demo);

#endif
