/*
 * What is told while working: messages and progress, both on standard error.
 */
#ifndef XK_LOG_H
#define XK_LOG_H

#include "core/clock.h"
#include "core/err.h"

enum xk_level {
    XK_LOG_ERROR, /* always shown */
    XK_LOG_WARN,  /* hidden by -q */
    XK_LOG_INFO,  /* shown with -v */
    XK_LOG_DEBUG, /* shown with -vv */
};

struct xk_log {
    int fd;              /* -1: silent */
    enum xk_level level; /* the least urgent level that is shown */
    bool terminal, color;
    bool progress_shown; /* a progress line stands on the terminal and must be wiped first */
};

/* One line "xenkit: text", foreign control characters cleaned. */
void xk_log(struct xk_log *log, enum xk_level level, const char *format, ...) XK_PRINTF(3, 4);
/* The error's sentence, and its hint on a second line. */
void xk_log_err(struct xk_log *log, const struct xk_err *err);

/* A progress line: bar, share, rate, time left. Nothing appears when standard error is not a terminal or with -q. */
struct xk_prog {
    struct xk_log *log;
    const struct xk_clock *clock;
    const char *what;
    uint64_t total, done;
    bool bytes; /* count is in bytes; else things */
    uint64_t started_ns, drawn_ns;
};

void xk_prog_begin(struct xk_prog *p, struct xk_log *log, const struct xk_clock *clock, const char *what,
                   uint64_t total, bool bytes);
void xk_prog_set(struct xk_prog *p, uint64_t done); /* draws at most ten times a second */
void xk_prog_end(struct xk_prog *p);                /* wipes the line */

#endif
