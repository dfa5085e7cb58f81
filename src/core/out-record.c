/*
 * Sections and cells: what a command says, turned into JSON at once or into the tree of the current row.
 */
#include "core/out-parts.h"

#include "core/text.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* Rows that wait to be drawn take no more memory than this. */
#define WAITING_BYTES (4 * XK_MIB)

/* ---- sections ---- */

static void begin_section(struct xk_out *out, const char *name, enum xk_out_section section)
{
    assert(out->section == XK_SECTION_NONE);
    for (size_t i = 0; name && i < out->section_count; i++)
        assert(strcmp(out->section_names[i], name) != 0);
    assert(!name || out->section_count < XK_OUT_SECTIONS_MAX);
    if (name)
        out->section_names[out->section_count++] = name;
    out->nameless = !name;
    out->section = section;
    out->column_count = 0;
    out->columns_fixed = false;
    out->in_row = false;
    out->cards = out->card_drawn = false;
    out->depth = 0;
    out->last_cell = NULL;
    if (out->format == XK_OUT_TABLE) {
        if (out->section_was_last)
            xk_buf_add_char(&out->buf, '\n');
        return;
    }
    if (out->format == XK_OUT_JSON)
        return;
    if (section == XK_SECTION_RECORD ? out->carried != XK_CARRIED_NOTHING : out->carried == XK_CARRIED_ROWS) {
        out->section = XK_SECTION_SKIPPED;
        return;
    }
    out->carried = section == XK_SECTION_RECORD ? XK_CARRIED_RECORD : XK_CARRIED_ROWS;
    if (section == XK_SECTION_ROWS)
        xk_buf_reset(&out->held);
}

/* A record or list is open below the row: a node of its own, which cells are added to. */
static struct xk_out_node *add_node(struct xk_out *out, const char *key, enum xk_out_cell kind)
{
    struct xk_out_node *const n = xk_arena_alloc(&out->arena, sizeof(*n));

    if (!n) {
        xk_out_set_error(out, out->arena.used + sizeof(*n) > out->arena.max ? -EFBIG : -ENOMEM);
        return NULL;
    }
    *n = (struct xk_out_node){.key = key, .kind = kind};
    struct xk_out_node *const parent = out->depth ? out->stack[out->depth - 1] : NULL;
    if (parent) {
        if (parent->last)
            parent->last->next = n;
        else
            parent->first = n;
        parent->last = n;
    }
    return n;
}

static void begin_tree(struct xk_out *out)
{
    out->depth = 0;
    out->stack[0] = add_node(out, NULL, XK_CELL_RECORD);
    out->depth = 1;
}

void xk_out_rows(struct xk_out *out, const char *name)
{
    begin_section(out, name, XK_SECTION_ROWS);
    if (out->format == XK_OUT_JSON)
        xk_json_array(&out->json, name);
}

void xk_out_cards(struct xk_out *out, const char *name)
{
    xk_out_rows(out, name);
    out->cards = out->format == XK_OUT_TABLE;
}

void xk_out_record(struct xk_out *out, const char *name)
{
    begin_section(out, name, XK_SECTION_RECORD);
    if (out->section == XK_SECTION_SKIPPED)
        return;
    if (out->format == XK_OUT_JSONL) {
        xk_json_init(&out->json, xk_out_sink(out), 0);
        xk_json_object(&out->json, NULL);
        out->depth = 1;
    } else if (out->format == XK_OUT_JSON) {
        if (name)
            xk_json_object(&out->json, name);
        out->depth = 1;
    } else {
        begin_tree(out);
    }
}

static void draw_card(struct xk_out *out)
{
    if (out->stack[0] && !out->error) {
        if (out->card_drawn)
            xk_buf_add_char(&out->buf, '\n');
        xk_out_draw_fields(out, out->stack[0], 0, false);
        out->card_drawn = true;
    }
    xk_arena_done(&out->arena);
    xk_out_drain_when_full(out);
}

void xk_out_end_row(struct xk_out *out)
{
    if (!out->in_row)
        return;
    while (out->depth > 1)
        xk_put_end(out);
    out->in_row = false;
    out->depth = 0;
    out->last_cell = NULL;
    if (xk_out_is_json(out)) {
        xk_json_end(&out->json);
        if (out->format == XK_OUT_JSONL)
            xk_buf_add_char(&out->buf, '\n');
        xk_out_drain_when_full(out);
        return;
    }
    if (out->cards) {
        draw_card(out);
        return;
    }
    if (out->stack[0] && !out->error)
        out->rows[out->row_count++] = out->stack[0];
    if (out->row_count == XK_OUT_LEARN_ROWS || out->arena.used >= WAITING_BYTES)
        xk_out_draw_rows(out, &out->buf);
}

void xk_row(struct xk_out *out)
{
    if (out->section == XK_SECTION_SKIPPED)
        return;
    assert(out->section == XK_SECTION_ROWS);
    xk_out_end_row(out);
    out->in_row = true;
    if (!xk_out_is_json(out)) {
        begin_tree(out);
        return;
    }
    if (out->format == XK_OUT_JSONL)
        xk_json_init(&out->json, &out->buf, 0);
    xk_json_object(&out->json, NULL);
    out->depth = 1;
}

void xk_out_end(struct xk_out *out)
{
    const enum xk_out_section section = out->section;

    assert(section != XK_SECTION_NONE);
    if (section == XK_SECTION_ROWS) {
        xk_out_end_row(out);
        if (out->format == XK_OUT_JSON)
            xk_json_end(&out->json);
        else
            xk_out_draw_rows(out, &out->buf);
    } else if (section == XK_SECTION_RECORD) {
        while (out->depth > 1)
            xk_put_end(out);
        if (xk_out_is_json(out) && !(out->nameless && out->format == XK_OUT_JSON))
            xk_json_end(&out->json);
        else if (!xk_out_is_json(out))
            xk_out_draw_record(out);
        if (out->format == XK_OUT_JSONL)
            xk_buf_add_char(xk_out_sink(out), '\n');
    }
    out->section = XK_SECTION_NONE;
    out->depth = 0;
    out->last_cell = NULL;
    out->row_count = 0;
    xk_arena_done(&out->arena);
    xk_arena_done(&out->column_arena);
    out->section_was_last = true;
    xk_out_drain_when_full(out);
}

/* ---- cells ---- */

static void put_json(struct xk_out *out, const char *key, enum xk_out_cell kind, union xk_out_value v)
{
    char full[XK_OUT_KEY_MAX];
    struct xk_json *const j = &out->json;

    if (key && *xk_out_unit_of(kind)) {
        const int bytes = snprintf(full, sizeof(full), "%s%s", key, xk_out_unit_of(kind));
        assert(bytes > 0 && (size_t)bytes < sizeof(full));
        key = full;
    }
    switch (kind) {
    case XK_CELL_NONE:
        xk_json_null(j, key);
        break;
    case XK_CELL_TEXT:
    case XK_CELL_TIME:
        xk_json_str(j, key, v.text);
        break;
    case XK_CELL_U64:
    case XK_CELL_BYTES:
    case XK_CELL_DURATION:
    case XK_CELL_RATE:
        xk_json_u64(j, key, v.u);
        break;
    case XK_CELL_I64:
        xk_json_i64(j, key, v.i);
        break;
    case XK_CELL_DOUBLE:
    case XK_CELL_PERCENT:
        xk_json_double(j, key, v.d);
        break;
    case XK_CELL_BOOL:
        xk_json_bool(j, key, v.b);
        break;
    case XK_CELL_RECORD:
        xk_json_object(j, key);
        break;
    case XK_CELL_LIST:
        xk_json_array(j, key);
        break;
    }
    if (out->format == XK_OUT_JSON)
        xk_out_drain_when_full(out);
}

/* Returns the node, NULL when the format needs none. */
static struct xk_out_node *put(struct xk_out *out, const char *key, enum xk_out_cell kind, union xk_out_value v)
{
    if (out->section == XK_SECTION_SKIPPED)
        return NULL;
    assert(out->section == XK_SECTION_RECORD || out->in_row);
    if (xk_out_is_json(out)) { /* also after an error, so that begin and end stay paired */
        put_json(out, key, kind, v);
        return NULL;
    }
    if (out->error)
        return NULL;
    struct xk_out_node *const n = add_node(out, key, kind);
    if (!n)
        return NULL;
    n->v = v;
    if ((kind == XK_CELL_TEXT || kind == XK_CELL_TIME) && !(n->v.text = xk_arena_strdup(&out->arena, v.text))) {
        n->kind = XK_CELL_NONE;
        xk_out_set_error(out, -ENOMEM);
    }
    out->last_cell = n;
    return n;
}

void xk_put_str(struct xk_out *out, const char *key, const char *text)
{
    (void)put(out, key, text ? XK_CELL_TEXT : XK_CELL_NONE, (union xk_out_value){.text = text});
}

void xk_putf(struct xk_out *out, const char *key, const char *format, ...)
{
    struct xk_buf text;
    va_list args;

    xk_buf_init(&text, XK_MIB);
    va_start(args, format);
    xk_buf_vprintf(&text, format, args);
    va_end(args);
    if (text.error)
        xk_out_set_error(out, text.error);
    xk_put_str(out, key, xk_buf_str(&text));
    xk_buf_done(&text);
}

void xk_put_u64(struct xk_out *out, const char *key, uint64_t v)
{
    (void)put(out, key, XK_CELL_U64, (union xk_out_value){.u = v});
}

void xk_put_i64(struct xk_out *out, const char *key, int64_t v)
{
    (void)put(out, key, XK_CELL_I64, (union xk_out_value){.i = v});
}

void xk_put_double(struct xk_out *out, const char *key, double v)
{
    (void)put(out, key, XK_CELL_DOUBLE, (union xk_out_value){.d = v});
}

void xk_put_bytes(struct xk_out *out, const char *key, uint64_t bytes)
{
    (void)put(out, key, XK_CELL_BYTES, (union xk_out_value){.u = bytes});
}

void xk_put_duration(struct xk_out *out, const char *key, uint64_t ns)
{
    (void)put(out, key, XK_CELL_DURATION, (union xk_out_value){.u = ns});
}

void xk_put_rate(struct xk_out *out, const char *key, uint64_t bps)
{
    (void)put(out, key, XK_CELL_RATE, (union xk_out_value){.u = bps});
}

void xk_put_pct(struct xk_out *out, const char *key, double percent)
{
    (void)put(out, key, XK_CELL_PERCENT, (union xk_out_value){.d = percent});
}

void xk_put_time(struct xk_out *out, const char *key, int64_t unix_seconds)
{
    (void)put(out, key, XK_CELL_TIME, (union xk_out_value){.text = xk_iso_time(unix_seconds).s});
}

void xk_put_bool(struct xk_out *out, const char *key, bool v)
{
    (void)put(out, key, XK_CELL_BOOL, (union xk_out_value){.b = v});
}

void xk_put_none(struct xk_out *out, const char *key)
{
    (void)put(out, key, XK_CELL_NONE, (union xk_out_value){.u = 0});
}

static void open_nested(struct xk_out *out, const char *key, enum xk_out_cell kind)
{
    assert(out->section == XK_SECTION_SKIPPED || out->depth < XK_OUT_DEPTH_MAX);
    struct xk_out_node *const n = put(out, key, kind, (union xk_out_value){.u = 0});
    if (out->section != XK_SECTION_SKIPPED)
        out->stack[out->depth++] = n;
}

void xk_put_record(struct xk_out *out, const char *key)
{
    open_nested(out, key, XK_CELL_RECORD);
}

void xk_put_list(struct xk_out *out, const char *key)
{
    open_nested(out, key, XK_CELL_LIST);
}

void xk_put_end(struct xk_out *out)
{
    if (out->section == XK_SECTION_SKIPPED)
        return;
    assert(out->depth > 1);
    out->depth--;
    if (xk_out_is_json(out))
        xk_json_end(&out->json);
    else
        out->last_cell = out->stack[out->depth];
}

void xk_out_color(struct xk_out *out, enum xk_color color)
{
    if (out->last_cell)
        out->last_cell->color = color;
}
