/*
 * What page.c, table.c, chart.c and tree.c share; not for callers.
 */
#ifndef REPORT_INNER_H
#define REPORT_INNER_H

#include "lib/report/report.h"

enum report_block {
    REPORT_BLOCK_NONE,
    REPORT_BLOCK_TABLE,
    REPORT_BLOCK_FACTS,
};

/* Foreign text: escaped, cut after REPORT_TEXT_MAX bytes, NULL is empty. */
void report_add_text(struct report *r, const char *text);
/* The same, shortened to `cells` columns with "…" in its middle: SVG text cannot wrap. */
void report_add_short(struct report *r, const char *text, size_t cells);
/* An XML id that no other element of the page has is "x" and this number. */
unsigned report_next_id(struct report *r);
/* "critical", "warning" …; also the class in style.css. */
const char *report_state_name(enum report_state state);
/* A table up to the cells of its heading; a wide one scrolls sideways. class: a further one of the table, or "". */
void report_open_table(struct report *r, const char *class, const char *caption);
/* The sign of a state, inside or outside of another SVG. */
void report_add_sign(struct report *r, enum report_state state);
/* What report_add_sign() refers to; once in a page. */
extern const char report_signs[];
/* "(N more …)" as a paragraph, when n is not 0. */
void report_add_left_off(struct report *r, size_t n, const char *what);

/* Values that can be drawn: finite, and small enough that the distance of two is finite too. */
bool report_drawable(double v);
/* A value with its unit, at most four significant digits; "no value" when it cannot be drawn. */
struct xk_word report_value(enum report_unit unit, double v);
/* A share of a whole with one decimal: "12.5 %". The fraction can be drawn. */
struct xk_word report_share(double fraction);
/* A percentage for an SVG attribute, such as 12.5, from 0…1; outside values are clamped. */
struct xk_word report_percent(double fraction);

#endif
