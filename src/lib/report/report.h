/*
 * The one HTML writer: a self-contained page, built straight down into a bounded buffer.
 *
 *     struct report r;
 *     report_begin(&r, &(struct report_head){.kind = "checkup", .title = "Disks of /srv/sr", .state = REPORT_CRITICAL,
 *                                            .verdict = "2 of 14 images are damaged", .unix_seconds = now});
 *     report_section(&r, "Findings", NULL);
 *     report_findings(&r, &findings);
 *     report_section(&r, "Images", "Every image that was found.");
 *     report_table(&r, "Images by name", columns, 2);
 *     for (…) {
 *         report_row(&r);
 *         report_cell_text(&r, image->name);
 *         report_cell_bytes(&r, image->bytes);
 *     }
 *     report_end(&r);
 *     int code = report_finish(&r);      the page is r.html.data, r.html.len
 *     report_done(&r);
 *
 * The page loads nothing (its content security policy forbids it), follows the reader's light or dark setting, prints,
 * fits a phone, and can be used without JavaScript. Every text may be foreign: it is escaped here, never by the caller,
 * and cut after REPORT_TEXT_MAX bytes. NULL texts are empty. Doubles that are not finite are "no value" or a gap.
 *
 * Errors are sticky: after the first (-EFBIG, -ENOMEM) nothing more is added and report_finish() returns it. Calls in
 * an order that makes no sense (a cell outside a row) are bugs of the caller and asserted.
 */
#ifndef REPORT_H
#define REPORT_H

#include "core/buf.h"
#include "core/check.h"
#include "core/stats.h"

#define REPORT_BYTES_MAX    (64 * XK_MIB) /* the page, unless the head says otherwise */
#define REPORT_TEXT_MAX     4096          /* bytes of one text */
#define REPORT_SECTIONS_MAX 40            /* entries of the contents list; later sections are written, not listed */
#define REPORT_OBJECTS_MAX  500           /* objects under one finding; the rest is counted */
#define REPORT_ROWS_MAX     20000         /* rows of one table; the rest is counted */
#define REPORT_BARS_MAX     60            /* bars, bins or parts of one chart; the rest is counted or merged */
#define REPORT_LINES_MAX    8             /* lines of one chart; the rest is counted */
#define REPORT_POINTS_MAX   20000         /* points of a zoomable line; more are thinned, keeping every peak */
#define REPORT_NODES_MAX    500           /* images drawn in one picture of chains; the rest is counted */

enum report_state {
    REPORT_NEUTRAL,
    REPORT_GOOD,
    REPORT_NOTE,
    REPORT_WARNING,
    REPORT_CRITICAL,
};
enum report_state report_state_of(enum xk_severity severity);

enum report_unit {
    REPORT_NUMBER,
    REPORT_BYTES,    /* KiB, MiB … */
    REPORT_DURATION, /* nanoseconds */
    REPORT_RATE,     /* bits a second */
    REPORT_PERCENT,  /* 0…100 */
};

/* ---- the page ---- */

struct report_head {
    const char *kind;     /* the instrument, a word: "checkup" */
    const char *title;    /* what was examined */
    const char *subtitle; /* a sentence, or NULL */
    enum report_state state;
    const char *verdict;  /* the one line to remember; NULL: no verdict */
    int64_t unix_seconds; /* when; 0: not shown */
    const char *machine;  /* where it ran: name and system; NULL: not shown */
    const char *command;  /* how to do it again, can be copied; NULL: not shown */
    size_t max_bytes;     /* 0: REPORT_BYTES_MAX */
};

struct report {
    struct xk_buf html;
    /* The rest is private. */
    struct xk_buf contents; /* the list of sections, put in its place at the end */
    size_t contents_at, rows, rows_left_off;
    unsigned sections, last_id;
    int block;                           /* what is open: enum in inner.h */
    const struct report_column *columns; /* of the open table */
    size_t column_count, column;
    bool section_open, item_open, series;
};

/* `head` is read during the call only. */
void report_begin(struct report *r, const struct report_head *head);
/*
 * Close what is open, add the scripts, end the page.
 * returns   0; -EFBIG: the page is larger than its maximum; -ENOMEM.
 */
int report_finish(struct report *r) XK_MUST_USE;
/* Free the page. Accepts a report that was never begun but is zero filled. */
void report_done(struct report *r);

/* Begin a section (it ends where the next begins); intro is a paragraph or NULL. */
void report_section(struct report *r, const char *title, const char *intro);
/*
 * A paragraph, and wherever "rich" is said: lines are kept, and text between `backquotes` is set as code; when it has
 * more than one word it is a command that can be copied.
 */
void report_paragraph(struct report *r, const char *rich);
/* A line with a sign for its state: "14 images, all healthy". */
void report_statement(struct report *r, enum report_state state, const char *rich);

/* ---- findings ---- */

/*
 * Cards, worst first; findings of one check and severity share one. Sort with xk_findings_sort() before. `why` and
 * `fix` are rich. With two severities or more there is a filter, which needs no script.
 */
void report_findings(struct report *r, const struct xk_findings *findings);

/* ---- tables and facts ---- */

struct report_column {
    const char *title;
    bool number; /* set the heading to the right, over its numbers */
};

/* A table until report_end(). `columns` lives as long; rows that are short are filled up. */
void report_table(struct report *r, const char *caption, const struct report_column *columns, size_t count);
void report_row(struct report *r);
/* A list of keys and values until report_end(). report_fact() gives a key, the next cell its value. */
void report_facts(struct report *r);
void report_fact(struct report *r, const char *key);
void report_end(struct report *r);

/* The cell of a row or the value of a fact. Numbers are set to the right. */
void report_cell_text(struct report *r, const char *text);
void report_cell_code(struct report *r, const char *text); /* paths, identifiers: in the fixed font */
void report_cell_u64(struct report *r, uint64_t v);
void report_cell_bytes(struct report *r, uint64_t bytes);
void report_cell_value(struct report *r, enum report_unit unit, double v);
void report_cell_time(struct report *r, int64_t unix_seconds);
void report_cell_bool(struct report *r, bool v);
void report_cell_state(struct report *r, enum report_state state, const char *text); /* with its sign and colour */
void report_cell_usage(struct report *r, enum report_state state, double percent);   /* a small bar and the number */
void report_cell_none(struct report *r);

/*
 * A square of `count` names by `count`, shaded from its best value to its worst.
 * values   row by row: from a name to a name; what cannot be drawn (NAN) is left empty.
 */
void report_matrix(struct report *r, const char *caption, enum report_unit unit, const char *const *names, size_t count,
                   const double *values, bool low_is_bad);

/* ---- charts: SVG, drawn here; they need no script and print ---- */

struct report_chart {
    const char *title;
    const char *description; /* what a reader who cannot see it should know; NULL: made from the values */
    enum report_unit unit;   /* of the values */
};

struct report_bar {
    const char *label;
    double value;
    enum report_state state;
};

/* Horizontal bars from zero, in the given order. */
void report_bars(struct report *r, const struct report_chart *chart, const struct report_bar *bars, size_t count);
/*
 * One bar made of parts, and its key. Negative values are left out.
 * total   the whole bar; 0 or less than the sum: the sum. What is missing to it stays empty.
 */
void report_parts(struct report *r, const struct report_chart *chart, const struct report_bar *parts, size_t count,
                  double total);

struct report_bin {
    double low, high; /* in the chart's unit */
    uint64_t count;
};
/* Columns of equal width, one for each bin, with the edges below. More than REPORT_BARS_MAX neighbours are merged. */
void report_histogram(struct report *r, const struct report_chart *chart, const struct report_bin *bins, size_t count);
/* The same from a latency histogram: bins that grow by a constant factor; median, 99 % and maximum in words. */
void report_latency(struct report *r, const struct report_chart *chart, const struct xk_hist *hist);

struct report_line {
    const char *name;
    const double *y; /* `count` values of the chart's unit */
};

struct report_lines {
    const double *x; /* `count` values, ascending; a point that goes back is left out */
    size_t count;
    bool x_is_time;      /* x is seconds since 1970, shown in UTC */
    const char *x_title; /* such as "block size in KiB"; NULL: none */
    const struct report_line *lines;
    size_t line_count;
};

void report_line_chart(struct report *r, const struct report_chart *chart, const struct report_lines *lines);
/*
 * The same for long series: where scripts run it becomes a chart to zoom into (dygraphs, inside the page). Without a
 * script, on paper, or when xenkit was built without dygraphs, it is the line chart.
 */
void report_series(struct report *r, const struct report_chart *chart, const struct report_lines *lines);
/* Whether this build carries dygraphs. */
bool report_can_zoom(void);

/* ---- chains ---- */

#define REPORT_NO_PARENT SIZE_MAX

struct report_node {
    const char *name;
    const char *note; /* a few words: "hidden", "footer damaged"; or NULL */
    uint64_t virtual_bytes, physical_bytes;
    unsigned depth; /* 1: has no parent; 0: counted here */
    size_t parent;  /* index of the parent in the same array, or REPORT_NO_PARENT */
    enum report_state state;
    bool absent; /* named by a child, but not found: drawn dashed, without sizes */
};

/*
 * A picture of chains: each image a box under its parent, an arrow from child to parent. Trees in trouble come first.
 * Parents that run in a circle are cut at one place and marked. At most REPORT_NODES_MAX boxes.
 * title   of the figure.
 */
void report_tree(struct report *r, const char *title, const struct report_node *nodes, size_t count);
/*
 * The same picture alone: an SVG file, which loads nothing either.
 * ret       zeroed; the caller ends it with xk_buf_done(), also after an error.
 * returns   0; -EFBIG: larger than REPORT_BYTES_MAX; -ENOMEM.
 */
int report_tree_svg(struct xk_buf *ret, const char *title, const struct report_node *nodes, size_t count) XK_MUST_USE;

#endif
