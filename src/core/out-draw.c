/*
 * Rows and records as text: one walk over a row's tree gives its leaves with their full keys, for learning columns and
 * for drawing alike. A column is known by its full key, unit and all, so a missing value finds the column of the
 * others.
 */
#include "core/out-parts.h"

#include "core/text.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define COLUMN_GAP      2
#define LABEL_CELLS_MAX 24
#define LIST_LINE_CELLS 72

/* ---- a cell as text ---- */

const char *xk_out_unit_of(enum xk_out_cell kind)
{
    switch (kind) {
    case XK_CELL_BYTES:
        return "_bytes";
    case XK_CELL_DURATION:
        return "_ns";
    case XK_CELL_RATE:
        return "_bps";
    case XK_CELL_PERCENT:
        return "_percent";
    default:
        return "";
    }
}

/* For people: four digits tell enough, and a whole number is shown whole. */
static void add_rounded(struct xk_buf *b, double v)
{
    if (!isfinite(v))
        xk_buf_add_char(b, '-');
    else if (fabs(v) < 1e15 && v == trunc(v))
        xk_buf_printf(b, "%.0f", v);
    else if (fabs(v) >= 1000 && fabs(v) < 1e15)
        xk_buf_printf(b, "%.1f", v);
    else
        xk_buf_printf(b, "%.4g", v);
}

static void add_for_people(struct xk_buf *b, enum xk_out_cell kind, union xk_out_value v)
{
    switch (kind) {
    case XK_CELL_NONE:
    case XK_CELL_RECORD:
    case XK_CELL_LIST:
        xk_buf_add_char(b, '-');
        break;
    case XK_CELL_TEXT:
    case XK_CELL_TIME:
        xk_add_clean(b, v.text);
        break;
    case XK_CELL_U64:
        xk_buf_printf(b, "%" PRIu64, v.u);
        break;
    case XK_CELL_I64:
        xk_buf_printf(b, "%" PRId64, v.i);
        break;
    case XK_CELL_DOUBLE:
        add_rounded(b, v.d);
        break;
    case XK_CELL_BYTES:
        xk_buf_add_str(b, xk_size(v.u).s);
        break;
    case XK_CELL_DURATION:
        xk_buf_add_str(b, xk_duration(v.u).s);
        break;
    case XK_CELL_RATE:
        xk_buf_add_str(b, xk_rate(v.u).s);
        break;
    case XK_CELL_PERCENT:
        if (isfinite(v.d))
            xk_buf_printf(b, "%.1f %%", v.d);
        else
            xk_buf_add_char(b, '-');
        break;
    case XK_CELL_BOOL:
        xk_buf_add_str(b, v.b ? "yes" : "no");
        break;
    }
}

/* For programs: the raw value, cleaned of control characters but not yet quoted. */
static void add_for_programs(struct xk_buf *b, enum xk_out_cell kind, union xk_out_value v)
{
    switch (kind) {
    case XK_CELL_BYTES:
    case XK_CELL_DURATION:
    case XK_CELL_RATE:
        xk_buf_printf(b, "%" PRIu64, v.u);
        break;
    case XK_CELL_DOUBLE:
    case XK_CELL_PERCENT:
        if (isfinite(v.d))
            xk_buf_add_str(b, xk_number(v.d).s);
        break;
    case XK_CELL_BOOL:
        xk_buf_add_str(b, v.b ? "true" : "false");
        break;
    case XK_CELL_NONE:
        break;
    default:
        add_for_people(b, kind, v);
    }
}

static bool is_missing(const struct xk_out_node *n)
{
    const bool real = n->kind == XK_CELL_DOUBLE || n->kind == XK_CELL_PERCENT;

    return n->kind == XK_CELL_NONE || (real && !isfinite(n->v.d));
}

static void add_leaf(const struct xk_out *out, struct xk_buf *b, const struct xk_out_node *n)
{
    if (out->format == XK_OUT_TABLE)
        add_for_people(b, n->kind, n->v);
    else if (out->format == XK_OUT_PLAIN && is_missing(n))
        xk_buf_add_char(b, '-');
    else
        add_for_programs(b, n->kind, n->v);
}

static void add_key(struct xk_buf *b, const struct xk_out_node *n)
{
    xk_buf_add_str(b, n->key);
    xk_buf_add_str(b, xk_out_unit_of(n->kind));
}

/* A list inside one cell. Items that are records are written "key=value key=value". */
static void add_cell(const struct xk_out *out, struct xk_buf *b, const struct xk_out_node *n)
{
    if (n->kind != XK_CELL_LIST && n->kind != XK_CELL_RECORD) {
        add_leaf(out, b, n);
        return;
    }
    const char *const between = n->kind == XK_CELL_RECORD ? " " : out->format == XK_OUT_TABLE ? ", " : ";";
    if (!n->first && out->format != XK_OUT_CSV)
        xk_buf_add_char(b, '-');
    for (const struct xk_out_node *item = n->first; item; item = item->next) {
        if (item != n->first)
            xk_buf_add_str(b, between);
        if (item->key) {
            add_key(b, item);
            xk_buf_add_char(b, '=');
        }
        add_cell(out, b, item);
    }
}

/* A text that is cut because memory was out must not pass for the whole one. */
static const char *checked(struct xk_out *out)
{
    if (out->work.error)
        xk_out_set_error(out, out->work.error);
    return xk_buf_str(&out->work);
}

/* Valid until the next cell or heading. */
static const char *cell_text(struct xk_out *out, const struct xk_out_node *n)
{
    xk_buf_reset(&out->work);
    add_cell(out, &out->work, n);
    return checked(out);
}

/* "parent.size_bytes" becomes "PARENT.SIZE": a table says the unit in each cell. */
static const char *heading_text(struct xk_out *out, const char *path)
{
    static const char *const units[] = {"_bytes", "_ns", "_bps", "_percent"};
    size_t bytes = strlen(path);

    for (size_t i = 0; i < XK_COUNT(units); i++) {
        if (xk_has_suffix(path, units[i]) && bytes > strlen(units[i])) {
            bytes -= strlen(units[i]);
            break;
        }
    }
    xk_buf_reset(&out->work);
    for (size_t i = 0; i < bytes; i++) {
        const char c = path[i];
        xk_buf_add_char(&out->work, c == '_' ? ' ' : c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c);
    }
    return checked(out);
}

/* ---- rows as columns ---- */

struct walk {
    struct xk_out *out;
    char path[XK_OUT_KEY_MAX];
    void (*leaf)(struct walk *w, const struct xk_out_node *n);
    size_t column; /* where the next leaf most likely belongs */
    const struct xk_out_node **cells;
};

/* One more part of the path. returns   where it ends; snprintf() here was a seventh of what large results cost. */
static size_t path_add(struct walk *w, size_t at, const char *part)
{
    const size_t bytes = strlen(part);

    assert(bytes < sizeof(w->path) - at);
    memcpy(w->path + at, part, bytes + 1);
    return at + bytes;
}

static void walk_record(struct walk *w, const struct xk_out_node *record, size_t path_bytes)
{
    for (const struct xk_out_node *n = record->first; n; n = n->next) {
        size_t end = path_add(w, path_bytes, path_bytes ? "." : "");
        end = path_add(w, end, n->key ? n->key : "");
        end = path_add(w, end, xk_out_unit_of(n->kind));
        if (n->kind == XK_CELL_RECORD)
            walk_record(w, n, end);
        else
            w->leaf(w, n);
    }
}

/* The column of w->path, or column_count. Rows mostly repeat their order, so the first look is mostly right. */
static size_t find_column(const struct walk *w)
{
    const struct xk_out *const out = w->out;

    for (size_t i = 0; i < out->column_count; i++) {
        const size_t at = (w->column + i) % out->column_count;
        if (strcmp(out->columns[at].path, w->path) == 0)
            return at;
    }
    return out->column_count;
}

static void learn_leaf(struct walk *w, const struct xk_out_node *n)
{
    struct xk_out *const out = w->out;
    size_t at = find_column(w);

    if (at == out->column_count) {
        char *const path = out->column_count < XK_OUT_COLUMNS_MAX ? xk_arena_strdup(&out->column_arena, w->path) : NULL;
        if (!path) {
            xk_out_set_error(out, out->column_count < XK_OUT_COLUMNS_MAX ? -ENOMEM : -EFBIG);
            return;
        }
        /* A column that this row is the first to have stands behind the one that it follows in the row. */
        at = XK_MIN(w->column, out->column_count);
        memmove(&out->columns[at + 1], &out->columns[at], (out->column_count - at) * sizeof(out->columns[0]));
        out->columns[at] = (struct xk_out_column){.path = path};
        out->column_count++;
    }
    w->column = at + 1;
    struct xk_out_column *const c = &out->columns[at];
    if (n->kind == XK_CELL_U64 || n->kind == XK_CELL_I64 || n->kind == XK_CELL_DOUBLE || *xk_out_unit_of(n->kind))
        c->right = true;
    if (out->format == XK_OUT_TABLE) {
        c->width = XK_MAX(c->width, xk_display_width(cell_text(out, n)));
    }
}

static void place_leaf(struct walk *w, const struct xk_out_node *n)
{
    const size_t at = find_column(w);

    if (at == w->out->column_count)
        return;
    w->cells[at] = n;
    w->column = at + 1;
}

/* Draws a text into its column. The last one is cut on a terminal, and never padded. Returns the cells it took. */
static size_t add_table_cell(struct xk_out *out, size_t at, size_t used_cells, const char *text, enum xk_color color)
{
    const struct xk_out_column *const c = &out->columns[at];
    const bool last = at + 1 == out->column_count;
    const size_t cells = xk_display_width(text);
    const size_t pad = cells < c->width ? c->width - cells : 0;
    struct xk_buf *const b = &out->buf;

    if (c->right)
        xk_buf_add_repeat(b, ' ', pad);
    if (color != XK_COLOR_NONE)
        xk_out_add_color(out, b, color);
    if (last && out->width > used_cells + 1 && cells > out->width - used_cells) {
        xk_buf_add(b, text, xk_display_prefix(text, out->width - used_cells - 1));
        xk_buf_add_str(b, "…");
    } else {
        xk_buf_add_str(b, text);
    }
    if (color != XK_COLOR_NONE)
        xk_out_add_color(out, b, XK_COLOR_NONE);
    if (!c->right && !last)
        xk_buf_add_repeat(b, ' ', pad);
    if (!last)
        xk_buf_add_repeat(b, ' ', COLUMN_GAP);
    return cells + pad + COLUMN_GAP;
}

static void draw_table_line(struct xk_out *out, const struct xk_out_node *const *cells)
{
    static const struct xk_out_node nothing = {.kind = XK_CELL_NONE};
    size_t used = 0;

    for (size_t i = 0; i < out->column_count; i++) {
        const struct xk_out_node *const n = cells && cells[i] ? cells[i] : &nothing;
        const char *const text = cells ? cell_text(out, n) : heading_text(out, out->columns[i].path);
        used += add_table_cell(out, i, used, text, cells ? n->color : XK_COLOR_DIM);
    }
    xk_buf_add_char(&out->buf, '\n');
}

static void draw_csv_line(struct xk_out *out, struct xk_buf *b, const struct xk_out_node *const *cells)
{
    for (size_t i = 0; i < out->column_count; i++) {
        if (i)
            xk_buf_add_char(b, ',');
        if (!cells) {
            xk_add_csv(b, out->columns[i].path);
        } else if (cells[i]) {
            xk_add_csv(b, cell_text(out, cells[i]));
        }
    }
    xk_buf_add_str(b, "\r\n");
}

static void draw_plain_line(struct xk_out *out, struct xk_buf *b, const struct xk_out_node *const *cells)
{
    for (size_t i = 0; i < out->column_count; i++) {
        if (i)
            xk_buf_add_char(b, '\t');
        if (cells[i])
            add_cell(out, b, cells[i]);
        else
            xk_buf_add_char(b, '-');
    }
    xk_buf_add_char(b, '\n');
}

static void draw_headings(struct xk_out *out, struct xk_buf *b)
{
    if (out->format == XK_OUT_CSV)
        draw_csv_line(out, b, NULL);
    if (out->format != XK_OUT_TABLE)
        return;
    for (size_t i = 0; i < out->column_count; i++) {
        out->columns[i].width =
            XK_MAX(out->columns[i].width, xk_display_width(heading_text(out, out->columns[i].path)));
    }
    draw_table_line(out, NULL);
}

void xk_out_draw_rows(struct xk_out *out, struct xk_buf *b)
{
    const struct xk_out_node *cells[XK_OUT_COLUMNS_MAX];

    if (!out->row_count)
        return;
    if (!out->columns_fixed) {
        for (size_t i = 0; i < out->row_count; i++) {
            struct walk w = {.out = out, .leaf = learn_leaf};
            walk_record(&w, out->rows[i], 0);
        }
        out->columns_fixed = true;
        draw_headings(out, b);
    }
    for (size_t i = 0; i < out->row_count; i++) {
        struct walk w = {.out = out, .leaf = place_leaf, .cells = cells};
        memset(cells, 0, out->column_count * sizeof(cells[0]));
        walk_record(&w, out->rows[i], 0);
        if (out->format == XK_OUT_TABLE)
            draw_table_line(out, cells);
        else if (out->format == XK_OUT_CSV)
            draw_csv_line(out, b, cells);
        else
            draw_plain_line(out, b, cells);
        xk_out_drain_when_full(out);
    }
    out->row_count = 0;
    xk_arena_done(&out->arena);
}

/* ---- a record as lines ---- */

static bool is_block(const struct xk_out *out, const struct xk_out_node *n)
{
    if (n->kind == XK_CELL_RECORD)
        return n->first;
    if (n->kind != XK_CELL_LIST)
        return false;
    size_t cells = 0;
    for (const struct xk_out_node *item = n->first; item; item = item->next) {
        if (item->kind == XK_CELL_RECORD || item->kind == XK_CELL_LIST)
            return true;
        if (item->kind == XK_CELL_TEXT)
            cells += xk_display_width(item->v.text) + 2;
    }
    return cells > LIST_LINE_CELLS;
}

static size_t label_cells(const struct xk_out_node *record)
{
    size_t widest = 0;

    for (const struct xk_out_node *n = record->first; n; n = n->next) {
        const size_t cells = strlen(n->key);
        if (cells <= LABEL_CELLS_MAX)
            widest = XK_MAX(widest, cells);
    }
    return widest;
}

static void draw_value(struct xk_out *out, struct xk_buf *b, const struct xk_out_node *n)
{
    if (n->color != XK_COLOR_NONE)
        xk_out_add_color(out, b, n->color);
    add_cell(out, b, n);
    if (n->color != XK_COLOR_NONE)
        xk_out_add_color(out, b, XK_COLOR_NONE);
    xk_buf_add_char(b, '\n');
}

static void draw_items(struct xk_out *out, const struct xk_out_node *list, size_t indent)
{
    for (const struct xk_out_node *item = list->first; item; item = item->next) {
        xk_buf_add_repeat(&out->buf, ' ', indent);
        xk_buf_add_str(&out->buf, "- ");
        if (item->kind == XK_CELL_RECORD && item->first)
            xk_out_draw_fields(out, item, indent + 2, true);
        else
            draw_value(out, &out->buf, item);
    }
}

void xk_out_draw_fields(struct xk_out *out, const struct xk_out_node *record, size_t indent, bool first_is_begun)
{
    struct xk_buf *const b = &out->buf;
    const size_t widest = label_cells(record);

    for (const struct xk_out_node *n = record->first; n; n = n->next) {
        if (!first_is_begun || n != record->first)
            xk_buf_add_repeat(b, ' ', indent);
        for (const char *c = n->key; *c; c++)
            xk_buf_add_char(b, *c == '_' ? ' ' : *c);
        xk_buf_add_char(b, ':');
        if (is_block(out, n)) {
            xk_buf_add_char(b, '\n');
            if (n->kind == XK_CELL_RECORD)
                xk_out_draw_fields(out, n, indent + 2, false);
            else
                draw_items(out, n, indent + 2);
        } else {
            const size_t cells = strlen(n->key);
            xk_buf_add_repeat(b, ' ', 1 + (cells < widest ? widest - cells : 0));
            draw_value(out, b, n);
        }
        xk_out_drain_when_full(out);
    }
}

static void plain_leaf(struct walk *w, const struct xk_out_node *n)
{
    struct xk_buf *const b = xk_out_sink(w->out);

    xk_buf_add_str(b, w->path);
    xk_buf_add_char(b, '\t');
    add_cell(w->out, b, n);
    xk_buf_add_char(b, '\n');
}

void xk_out_draw_record(struct xk_out *out)
{
    struct xk_out_node *const record = out->stack[0];

    if (!record)
        return;
    if (out->format == XK_OUT_TABLE) {
        xk_out_draw_fields(out, record, 0, false);
    } else if (out->format == XK_OUT_PLAIN) {
        struct walk w = {.out = out, .leaf = plain_leaf};
        walk_record(&w, record, 0);
    } else {
        out->rows[0] = record;
        out->row_count = 1;
        xk_out_draw_rows(out, xk_out_sink(out));
    }
}
