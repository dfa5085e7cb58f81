/*
 * A check is a row: what it looks for, how bad that is, why it matters, what to do. `checkup` and the rooms' own
 * `check` verbs run the same rows.
 *
 * A set examines one kind of target. It opens the target once into a subject of its own (all images of a folder, this
 * machine), then each row looks at the subject and reports findings. Nothing here prints.
 */
#ifndef XK_CHECK_H
#define XK_CHECK_H

#include "core/buf.h"
#include "core/err.h"
#include "core/room.h"

enum xk_severity {
    XK_NOTE,     /* good to know */
    XK_WARNING,  /* will hurt */
    XK_CRITICAL, /* hurts now, or data are at risk */
};
const char *xk_severity_name(enum xk_severity severity); /* "note", "warning", "critical" */

struct xk_findings;

struct xk_check {
    const char *id;            /* "vhd.footer-damaged": set, dot, words with dashes */
    const char *title;         /* what is wrong, as a heading */
    enum xk_severity severity; /* the usual one; a finding may be milder or worse */
    const char *why;           /* one or two sentences */
    const char *fix;           /* what to do next, with the command; the word FILE in it stands for the object */
    /* returns 0 or a negative errno value when the check itself could not be done. */
    int (*run)(const struct xk_check *check, const void *subject, struct xk_findings *sink, struct xk_err *err);
    int detail; /* the row's own constant for a `run` that serves several rows */
};

struct xk_finding {
    const struct xk_check *check;
    enum xk_severity severity;
    const char *object;   /* which file, host, setting */
    const char *evidence; /* the numbers that say so */
    const char *fix;      /* for this object; the row's when nothing special was given */
};

/* Collects findings; at most XK_FINDINGS_MAX, the rest are counted. */
#define XK_FINDINGS_MAX 20000
struct xk_findings {
    struct xk_arena arena;
    struct xk_finding *items;
    size_t count, capacity, left_off;
    int error; /* -ENOMEM */
};

void xk_findings_done(struct xk_findings *f);
/* Report. `fix` NULL: the row's own. The evidence is a printf text. */
void xk_find(struct xk_findings *sink, const struct xk_check *check, enum xk_severity severity, const char *object,
             const char *fix, const char *evidence, ...) XK_PRINTF(6, 7);
/* Worst first, then by check id and object. */
void xk_findings_sort(struct xk_findings *f);

/* What findings amount to. */
struct xk_tally {
    size_t count[XK_CRITICAL + 1]; /* by severity */
    enum xk_severity worst;        /* meaningful when there are findings */
    bool bad;                      /* a warning, something critical, or findings that were left off */
    char verdict[160];             /* "2 critical, 1 warning, 0 notes" */
};
void xk_findings_tally(struct xk_tally *ret, const struct xk_findings *f);
/*
 * Draw sorted findings: in the table format text for people, grouped by check; in the others the rows "findings". The
 * record "summary" follows, in the table format the verdict alone.
 */
void xk_findings_show(struct xk_out *out, const struct xk_findings *f);

/*
 * Run the rows over a subject.
 *
 * rows      end with a NULL id.
 * only      when it has items, rows of these ids alone; skip: all but these. Either may be NULL. An item names a row
 *           ("vhd.footer") or all rows of a set ("vhd").
 * returns   0; the first error of a row; the sink's.
 */
struct xk_words;
int xk_checks_run(const struct xk_check *rows, const struct xk_words *only, const struct xk_words *skip,
                  const void *subject, struct xk_findings *sink, struct xk_err *err);
/* Does a row belong to what --only and --skip leave? */
bool xk_check_wanted(const struct xk_check *check, const struct xk_words *only, const struct xk_words *skip);

struct xk_check_set {
    const char *name;                    /* "vhd", "machine" */
    const char *summary;                 /* what it examines */
    bool (*accepts)(const char *target); /* e.g. a path; "localhost" */
    /*
     * Examine the targets that this set accepted.
     * access        how what is far away is reached, as the command line says it; each set knows its own kind. May be
     * NULL. ret_subject   owned by the caller until close(). Things that cannot be read at all are part of the subject
     *               (and become findings), so this fails only for memory or a stop.
     */
    int (*open)(void **ret_subject, struct xk_app *app, const char *const *targets, size_t count, const void *access,
                struct xk_err *err);
    void (*close)(void *subject);
    const struct xk_check *checks; /* ends with a NULL id */
};

/* Every set that was built in (src/lib/meson.build), NULL-ended. */
extern const struct xk_check_set *const xk_check_sets[];

#endif
