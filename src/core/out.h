/*
 * Output: a command emits typed records, this draws them as table, JSON, JSON lines, CSV or plain text.
 *
 * A result is one document with named sections. A section is a list of rows or a single record; both are filled with
 * xk_put_…(). Records nest (xk_put_record, xk_put_list). Example:
 *
 *     xk_out_rows(out, "images");
 *     for (…) {
 *         xk_row(out);
 *         xk_put_str(out, "name", image->name);
 *         xk_put_bytes(out, "size", image->bytes);
 *     }
 *     xk_out_end(out);
 *
 * gives in JSON {"images":[{"name":"a","size_bytes":512}, …]}, in a table two columns NAME and SIZE (512 B), in CSV a
 * header name,size_bytes. The unit is the last word of the JSON key:
 *
 *     bytes _bytes   duration _ns   rate _bps   percent _percent   time (text, ISO 8601 UTC, key as it is)
 *
 * CSV, JSON lines and plain text carry the document's first section of rows, or its first record when it has no rows
 * at all; the other sections are left to table and JSON. Missing values (xk_put_none) are null, "" and "-".
 * A record in plain text is a line "key TAB value" for each cell. In a row of a table or of CSV a nested record's cells
 * are columns of their own (parent.name), and a list is one cell, joined with ", " or ";".
 * Rows should have the same keys in the same order. Columns are learned from the first rows (1000 at most, or those
 * before a flush); a key that first comes later has no column in table, CSV and plain text.
 * All functions are quiet after the first write error, which xk_out_finish() reports.
 */
#ifndef XK_OUT_H
#define XK_OUT_H

#include "core/buf.h"
#include "core/err.h"
#include "core/fs.h"

enum xk_out_format {
    XK_OUT_TABLE,
    XK_OUT_JSON,
    XK_OUT_JSONL,
    XK_OUT_CSV,
    XK_OUT_PLAIN,
};

struct xk_out; /* opaque */

struct xk_out_settings {
    enum xk_out_format format;
    const char *file; /* NULL or "-": standard output. A regular file is replaced when the command ends well */
    bool color;       /* allowed at all; used only on a terminal */
    const struct xk_fs *fs;
};

int xk_out_open(struct xk_out **ret, const struct xk_out_settings *settings, struct xk_err *err);
/*
 * End the document and flush.
 * failed    NULL when the command did its work. Otherwise the document gets an "error" member {code, exit, message,
 *           hint}, and a -o FILE is left as it was, except for JSON, which is written with its error.
 * returns   0; the first write error (-EPIPE included).
 */
int xk_out_finish(struct xk_out *out, const struct xk_err *failed, struct xk_err *err);
void xk_out_close(struct xk_out *out);

enum xk_out_format xk_out_format(const struct xk_out *out);
bool xk_out_is_terminal(const struct xk_out *out);
size_t xk_out_width(const struct xk_out *out); /* columns; 0: not a terminal, never cut */
/*
 * Would a -o FILE replace this file, which the results are made from? Asked for each operand before a command runs;
 * commands ask it for the files that they find themselves.
 * returns   0; -EINVAL.
 */
int xk_out_check_source(const struct xk_out *out, const char *path, struct xk_err *err);

/* ---- sections ---- */

void xk_out_rows(struct xk_out *out, const char *name); /* begin a list of rows */
void xk_out_cards(struct xk_out *out,
                  const char *name); /* rows of many cells: a table shows them as "key: value" blocks */
/* Begin a single record; drawn as "key: value" lines. name NULL: in JSON its cells are members of the document itself.
 */
void xk_out_record(struct xk_out *out, const char *name);
void xk_out_end(struct xk_out *out); /* end the section */
void xk_row(struct xk_out *out);     /* begin the next row */

/* ---- cells ---- keys are lower_case words without a unit and live until the section ends. */

void xk_put_str(struct xk_out *out, const char *key, const char *text); /* foreign text allowed; NULL: none */
void xk_putf(struct xk_out *out, const char *key, const char *format, ...) XK_PRINTF(3, 4);
void xk_put_u64(struct xk_out *out, const char *key, uint64_t v);
void xk_put_i64(struct xk_out *out, const char *key, int64_t v);
void xk_put_double(struct xk_out *out, const char *key, double v);
void xk_put_bytes(struct xk_out *out, const char *key, uint64_t bytes);
void xk_put_duration(struct xk_out *out, const char *key, uint64_t ns);
void xk_put_rate(struct xk_out *out, const char *key, uint64_t bps);
void xk_put_pct(struct xk_out *out, const char *key, double percent); /* 0…100 */
void xk_put_time(struct xk_out *out, const char *key, int64_t unix_seconds);
void xk_put_bool(struct xk_out *out, const char *key, bool v);
/* The key as JSON has it, with the unit: xk_put_none(out, "size_bytes") stands where xk_put_bytes(out, "size", …)
 * would. */
void xk_put_none(struct xk_out *out, const char *key);
/* Nested: cells until xk_put_end(). A list's items have no key (pass NULL). */
void xk_put_record(struct xk_out *out, const char *key);
void xk_put_list(struct xk_out *out, const char *key);
void xk_put_end(struct xk_out *out);

/* Draw the cell just put in a colour when colours are on: for severities and verdicts. */
enum xk_color { XK_COLOR_NONE, XK_COLOR_GOOD, XK_COLOR_NOTE, XK_COLOR_WARN, XK_COLOR_BAD, XK_COLOR_DIM };
void xk_out_color(struct xk_out *out, enum xk_color color);

/* ---- text and bytes ---- */

/*
 * Free text between sections, newlines and all; shown only in the table format. Own words: foreign parts pass through
 * xk_out_clean(). Sections that follow each other are parted by an empty line; one after a text is not.
 */
void xk_say(struct xk_out *out, const char *format, ...) XK_PRINTF(2, 3);
/* The same in a colour. */
void xk_say_color(struct xk_out *out, enum xk_color color, const char *format, ...) XK_PRINTF(3, 4);
/* Foreign text made safe for a terminal; valid until the third next call. */
const char *xk_out_clean(struct xk_out *out, const char *foreign);
/* The exact bytes, whatever the format: for classic commands and for data streams. */
void xk_out_raw(struct xk_out *out, const void *bytes, size_t count);
void xk_out_rawf(struct xk_out *out, const char *format, ...) XK_PRINTF(2, 3);
/* Show what there is so far, for whoever waits for the next row; ends the row. */
void xk_out_flush(struct xk_out *out);
/* The first write error so far, 0: none. Long loops ask it. */
int xk_out_error(const struct xk_out *out);

/* ---- monitoring formats, for rooms that offer them ---- */

/* Append one Nagios performance datum: 'label'=value[UOM];[warn];[crit];[min];[max]. Limits that are NAN stay empty. */
void xk_perfdata(struct xk_buf *b, const char *label, double value, const char *unit, double warn, double crit,
                 double min, double max);
/* One Prometheus sample; labels are name, value pairs ended by NULL. Writes # HELP and # TYPE when help is not NULL. */
void xk_prometheus(struct xk_buf *b, const char *metric, const char *help, const char *type, const char *const *labels,
                   double value);

#endif
