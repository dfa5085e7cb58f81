/*
 * Between the parts of the output layer: out.c (where bytes go), out-record.c (sections and cells), out-draw.c (rows
 * and records as text). Nobody else includes this.
 */
#ifndef XK_OUT_PARTS_H
#define XK_OUT_PARTS_H

#include "core/json.h"
#include "core/out.h"

#define XK_OUT_LEARN_ROWS   1000
#define XK_OUT_COLUMNS_MAX  256
#define XK_OUT_DEPTH_MAX    16
#define XK_OUT_SECTIONS_MAX 32
#define XK_OUT_KEY_MAX      256 /* with the keys of the records around it */
#define XK_OUT_CLEAN_TEXTS  3

enum xk_out_cell {
    XK_CELL_NONE,
    XK_CELL_TEXT,
    XK_CELL_U64,
    XK_CELL_I64,
    XK_CELL_DOUBLE,
    XK_CELL_BYTES,
    XK_CELL_DURATION,
    XK_CELL_RATE,
    XK_CELL_PERCENT,
    XK_CELL_TIME,
    XK_CELL_BOOL,
    XK_CELL_RECORD,
    XK_CELL_LIST,
};

union xk_out_value {
    const char *text;
    uint64_t u;
    int64_t i;
    double d;
    bool b;
};

struct xk_out_node {
    const char *key; /* NULL in a list */
    enum xk_out_cell kind;
    enum xk_color color;
    union xk_out_value v;
    struct xk_out_node *first, *last, *next;
};

struct xk_out_column {
    const char *path; /* the whole key with its unit, "parent.size_bytes" */
    size_t width;     /* cells */
    bool right;
};

enum xk_out_section {
    XK_SECTION_NONE,
    XK_SECTION_ROWS,
    XK_SECTION_RECORD,
    XK_SECTION_SKIPPED, /* the format carries one section only, and this is not it */
};

enum xk_out_carried {
    XK_CARRIED_NOTHING,
    XK_CARRIED_RECORD, /* in `held`, until rows take its place */
    XK_CARRIED_ROWS,
};

struct xk_out {
    enum xk_out_format format;
    bool terminal, color;
    size_t width;
    const struct xk_fs *fs;
    int fd; /* standard output or a special file; -1 when `file` is used */
    bool owns_fd;
    const char *where; /* for messages */
    struct xk_newfile file;
    dev_t replaced_dev; /* of what stands at -o FILE; 0, 0: nothing that could be lost */
    ino_t replaced_ino;
    uint64_t offset_bytes;
    int error;

    struct xk_buf buf;  /* to be written */
    struct xk_buf held; /* see enum xk_out_carried */
    struct xk_buf work; /* one cell being drawn */
    struct xk_buf clean[XK_OUT_CLEAN_TEXTS];
    unsigned clean_next;

    struct xk_json json;
    bool json_open;

    enum xk_out_section section;
    enum xk_out_carried carried;
    const char *section_names[XK_OUT_SECTIONS_MAX];
    size_t section_count;
    bool section_was_last; /* nothing was said since */
    bool nameless;         /* the record's cells are the document's own members */

    bool in_row;
    bool cards, card_drawn; /* the rows of this section are drawn one below the other */
    struct xk_arena arena;  /* rows not yet drawn, or the record */
    size_t row_count;
    struct xk_out_node *stack[XK_OUT_DEPTH_MAX]; /* open records and lists; [0] is the row or the record */
    size_t depth;
    struct xk_out_node *last_cell;

    struct xk_arena column_arena;
    size_t column_count;
    bool columns_fixed;

    /* Last, and not cleared at the start: most runs never touch these pages. */
    struct xk_out_node *rows[XK_OUT_LEARN_ROWS];
    struct xk_out_column columns[XK_OUT_COLUMNS_MAX];
};

static inline bool xk_out_is_json(const struct xk_out *out)
{
    return out->format == XK_OUT_JSON || out->format == XK_OUT_JSONL;
}

/* ---- out.c ---- */

/* Keep the first error. */
void xk_out_set_error(struct xk_out *out, int code);
void xk_out_drain(struct xk_out *out);
void xk_out_drain_when_full(struct xk_out *out);
/* Where the current section's text goes. */
struct xk_buf *xk_out_sink(struct xk_out *out);
/* Nothing when colours are off. */
void xk_out_add_color(const struct xk_out *out, struct xk_buf *b, enum xk_color color);

/* ---- out-record.c ---- */

void xk_out_end_row(struct xk_out *out);

/* ---- out-draw.c ---- */

/* What a key ends in: "_bytes", "". */
const char *xk_out_unit_of(enum xk_out_cell kind);
/* Draw the rows collected so far into b and forget them. */
void xk_out_draw_rows(struct xk_out *out, struct xk_buf *b);
/* The record in stack[0], as the format wants it. */
void xk_out_draw_record(struct xk_out *out);
/* A record as "key: value" lines; with first_is_begun the first line stands behind a "- " already. */
void xk_out_draw_fields(struct xk_out *out, const struct xk_out_node *record, size_t indent, bool first_is_begun);

#endif
