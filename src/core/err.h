/*
 * What went wrong, in a sentence, and which exit status that means.
 *
 * The caller lends a struct xk_err (it works when memory is gone) and may pass NULL. Functions return a negative
 * errno value; main.c turns the first error that reaches it into text, hint and exit status.
 */
#ifndef XK_ERR_H
#define XK_ERR_H

#include "core/base.h"

#include <errno.h>
#include <stdarg.h>

/* The exit statuses of every native command; see xenkit(1). */
enum xk_exit {
    XK_EXIT_OK = 0,
    XK_EXIT_BAD = 1,     /* the thing examined is bad */
    XK_EXIT_USAGE = 2,   /* the command line is wrong */
    XK_EXIT_CANNOT = 3,  /* not possible here: privilege, missing feature */
    XK_EXIT_REMOTE = 4,  /* the far side failed */
    XK_EXIT_DAMAGED = 5, /* data damaged beyond safe use */
    XK_EXIT_IO = 6,      /* I/O or memory */
    XK_EXIT_TIMEOUT = 124,
    XK_EXIT_SIGNAL = 128, /* plus the signal's number */
};

#define XK_ERR_TEXT_MAX 640
#define XK_ERR_HINT_MAX 320

struct xk_err {
    int code;                   /* negative errno value, 0: no error */
    int exit;                   /* enum xk_exit; from the table in err.c unless xk_err_exit() set another */
    char text[XK_ERR_TEXT_MAX]; /* one sentence without a final period, cut at the end when it is too long */
    char hint[XK_ERR_HINT_MAX]; /* what to do next; may be empty */
};

/*
 * Record an error and return its code, so that a failing function ends in `return xk_fail(err, -EIO, "…")`.
 * The text says what was being done, to which object, and what was found. Clears the hint.
 */
int xk_fail(struct xk_err *err, int code, const char *format, ...) XK_PRINTF(3, 4);
int xk_vfail(struct xk_err *err, int code, const char *format, va_list args) XK_PRINTF(3, 0);
/* Like xk_fail, and appends ": " and the system's text for code. */
int xk_fail_sys(struct xk_err *err, int code, const char *format, ...) XK_PRINTF(3, 4);
/* Add what to try next to the error just recorded. */
void xk_err_hint(struct xk_err *err, const char *format, ...) XK_PRINTF(2, 3);
/* Override the exit status that the code stands for. */
void xk_err_exit(struct xk_err *err, enum xk_exit status);
void xk_err_clear(struct xk_err *err);
/* Memory is out: the same sentence everywhere. Returns -ENOMEM. */
int xk_fail_memory(struct xk_err *err);

/* The exit status that a negative errno value stands for; 0 for 0. */
int xk_exit_of(int code);

#endif
