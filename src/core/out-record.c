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

static void begin_section(struct xk_out *out, const char *name, enum section section)
{
    assert(out->section == SECTION_NONE);
    for (size_t i = 0; i < out->section_count; i++)
        assert(strcmp(out->section_names[i], name) != 0);
    assert(out->section_count < XK_OUT_SECTIONS_MAX);
    out->section_names[out->section_count++] = name;
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
    if (section == SECTION_RECORD ? out->carried != CARRIED_NOTHING : out->carried == CARRIED_ROWS) {
        out->section = SECTION_SKIPPED;
        return;
    }
    out->carried = section == SECTION_RECORD ? CARRIED_RECORD : CARRIED_ROWS;
    if (section == SECTION_ROWS)
        xk_buf_reset(&out->held);
}

/* A record or list is open below the row: a node of its own, which cells are added to. */
static struct node *add_node(struct xk_out *out, const char *key, enum cell_kind kind)
{
    struct node *const n = xk_arena_alloc(&out->arena, sizeof(*n));

    if (!n) {
        xk_out_set_error(out, out->arena.used + sizeof(*n) > out->arena.max ? -EFBIG : -ENOMEM);
        return NULL;
    }
    *n = (struct node){.key = key, .kind = kind};
    struct node *const parent = out->depth ? out->stack[out->depth - 1] : NULL;
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
    out->stack[0] = add_node(out, NULL, CELL_RECORD);
    out->depth = 1;
}

void xk_out_rows(struct xk_out *out, const char *name)
{
    begin_section(out, name, SECTION_ROWS);
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
    begin_section(out, name, SECTION_RECORD);
    if (out->section == SECTION_SKIPPED)
        return;
    if (out->format == XK_OUT_JSONL) {
        xk_json_init(&out->json, xk_out_sink(out), 0);
        xk_json_object(&out->json, NULL);
        out->depth = 1;
    } else if (out->format == XK_OUT_JSON) {
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
    if (out->section == SECTION_SKIPPED)
        return;
    assert(out->section == SECTION_ROWS);
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
    const enum section section = out->section;

    assert(section != SECTION_NONE);
    if (section == SECTION_ROWS) {
        xk_out_end_row(out);
        if (out->format == XK_OUT_JSON)
            xk_json_end(&out->json);
        else
            xk_out_draw_rows(out, &out->buf);
    } else if (section == SECTION_RECORD) {
        while (out->depth > 1)
            xk_put_end(out);
        if (xk_out_is_json(out))
            xk_json_end(&out->json);
        else
            xk_out_draw_record(out);
        if (out->format == XK_OUT_JSONL)
            xk_buf_add_char(xk_out_sink(out), '\n');
    }
    out->section = SECTION_NONE;
    out->depth = 0;
    out->last_cell = NULL;
    out->row_count = 0;
    xk_arena_done(&out->arena);
    xk_arena_done(&out->column_arena);
    out->section_was_last = true;
    xk_out_drain_when_full(out);
}

/* ---- cells ---- */

static void put_json(struct xk_out *out, const char *key, enum cell_kind kind, union cell_value v)
{
    char full[XK_OUT_KEY_MAX];
    struct xk_json *const j = &out->json;

    if (key && *xk_out_unit_of(kind)) {
        const int bytes = snprintf(full, sizeof(full), "%s%s", key, xk_out_unit_of(kind));
        assert(bytes > 0 && (size_t)bytes < sizeof(full));
        key = full;
    }
    switch (kind) {
    case CELL_NONE:
        xk_json_null(j, key);
        break;
    case CELL_TEXT:
    case CELL_TIME:
        xk_json_str(j, key, v.text);
        break;
    case CELL_U64:
    case CELL_BYTES:
    case CELL_DURATION:
    case CELL_RATE:
        xk_json_u64(j, key, v.u);
        break;
    case CELL_I64:
        xk_json_i64(j, key, v.i);
        break;
    case CELL_DOUBLE:
    case CELL_PERCENT:
        xk_json_double(j, key, v.d);
        break;
    case CELL_BOOL:
        xk_json_bool(j, key, v.b);
        break;
    case CELL_RECORD:
        xk_json_object(j, key);
        break;
    case CELL_LIST:
        xk_json_array(j, key);
        break;
    }
    if (out->format == XK_OUT_JSON)
        xk_out_drain_when_full(out);
}

/* Returns the node, NULL when the format needs none. */
static struct node *put(struct xk_out *out, const char *key, enum cell_kind kind, union cell_value v)
{
    if (out->section == SECTION_SKIPPED)
        return NULL;
    assert(out->section == SECTION_RECORD || out->in_row);
    if (xk_out_is_json(out)) { /* also after an error, so that begin and end stay paired */
        put_json(out, key, kind, v);
        return NULL;
    }
    if (out->error)
        return NULL;
    struct node *const n = add_node(out, key, kind);
    if (!n)
        return NULL;
    n->v = v;
    if ((kind == CELL_TEXT || kind == CELL_TIME) && !(n->v.text = xk_arena_strdup(&out->arena, v.text))) {
        n->kind = CELL_NONE;
        xk_out_set_error(out, -ENOMEM);
    }
    out->last_cell = n;
    return n;
}

void xk_put_str(struct xk_out *out, const char *key, const char *text)
{
    (void)put(out, key, text ? CELL_TEXT : CELL_NONE, (union cell_value){.text = text});
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
    (void)put(out, key, CELL_U64, (union cell_value){.u = v});
}

void xk_put_i64(struct xk_out *out, const char *key, int64_t v)
{
    (void)put(out, key, CELL_I64, (union cell_value){.i = v});
}

void xk_put_double(struct xk_out *out, const char *key, double v)
{
    (void)put(out, key, CELL_DOUBLE, (union cell_value){.d = v});
}

void xk_put_bytes(struct xk_out *out, const char *key, uint64_t bytes)
{
    (void)put(out, key, CELL_BYTES, (union cell_value){.u = bytes});
}

void xk_put_duration(struct xk_out *out, const char *key, uint64_t ns)
{
    (void)put(out, key, CELL_DURATION, (union cell_value){.u = ns});
}

void xk_put_rate(struct xk_out *out, const char *key, uint64_t bps)
{
    (void)put(out, key, CELL_RATE, (union cell_value){.u = bps});
}

void xk_put_pct(struct xk_out *out, const char *key, double percent)
{
    (void)put(out, key, CELL_PERCENT, (union cell_value){.d = percent});
}

void xk_put_time(struct xk_out *out, const char *key, int64_t unix_seconds)
{
    (void)put(out, key, CELL_TIME, (union cell_value){.text = xk_iso_time(unix_seconds).s});
}

void xk_put_bool(struct xk_out *out, const char *key, bool v)
{
    (void)put(out, key, CELL_BOOL, (union cell_value){.b = v});
}

void xk_put_none(struct xk_out *out, const char *key)
{
    (void)put(out, key, CELL_NONE, (union cell_value){.u = 0});
}

static void open_nested(struct xk_out *out, const char *key, enum cell_kind kind)
{
    assert(out->section == SECTION_SKIPPED || out->depth < XK_OUT_DEPTH_MAX);
    struct node *const n = put(out, key, kind, (union cell_value){.u = 0});
    if (out->section != SECTION_SKIPPED)
        out->stack[out->depth++] = n;
}

void xk_put_record(struct xk_out *out, const char *key)
{
    open_nested(out, key, CELL_RECORD);
}

void xk_put_list(struct xk_out *out, const char *key)
{
    open_nested(out, key, CELL_LIST);
}

void xk_put_end(struct xk_out *out)
{
    if (out->section == SECTION_SKIPPED)
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
