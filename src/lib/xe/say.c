/*
 * What a command prints: records with aligned names, lists, messages; or, with --minimal, the first column of every
 * record in one line, which is printed at the end (the tables of a command in the reverse order, as the real one does).
 */
#include "lib/xe/inner.h"

#include <string.h>

#define MINIMAL_BYTES_MAX (64u << 20)

void xe_print(struct xe *x, const char *text)
{
    const struct xe_terminal *const t = x->settings->terminal;

    if (x->failure == XE_LOST)
        return;
    const int code = t->print(t->context, text);
    if (code < 0)
        xe_fail_lost(x, code);
}

void xe_complain(struct xe *x, const char *text)
{
    const struct xe_terminal *const t = x->settings->terminal;

    if (x->failure == XE_LOST)
        return;
    const int code = t->complain(t->context, text);
    if (code < 0)
        xe_fail_lost(x, code);
}

/* ---- --minimal ---- */

/* What comes later stands first. */
static void minimal_add(struct xe *x, const struct xk_buf *column)
{
    struct xk_buf joined = XK_BUF_INIT(MINIMAL_BYTES_MAX);

    xk_buf_add(&joined, xk_buf_str(column), column->len);
    if (x->minimal_any) {
        xk_buf_add_char(&joined, ',');
        xk_buf_add(&joined, xk_buf_str(&x->minimal_text), x->minimal_text.len);
    }
    if (joined.error || column->error)
        xe_fail_memory(x);
    xk_buf_done(&x->minimal_text);
    x->minimal_text = joined;
    x->minimal_any = true;
}

static void add_escaped(struct xk_buf *b, const char *text)
{
    for (; *text; text++) {
        if (*text == ',' || *text == '\\')
            xk_buf_add_char(b, '\\');
        xk_buf_add_char(b, *text);
    }
}

void xe_say_flush(struct xe *x)
{
    if (x->minimal && xe_fine(x))
        xe_print(x, xk_buf_str(&x->minimal_text));
}

/* ---- lists and messages ---- */

void xe_say(struct xe *x, const char *text)
{
    if (!x->minimal && xe_fine(x))
        xe_print(x, text);
}

void xe_list(struct xe *x, const char *const *texts, size_t count)
{
    struct xk_buf column = XK_BUF_INIT(MINIMAL_BYTES_MAX);

    if (!xe_fine(x))
        return;
    for (size_t i = 0; i < count; i++) {
        if (!x->minimal) {
            xe_print(x, texts[i]);
            continue;
        }
        if (i > 0)
            xk_buf_add_char(&column, ',');
        add_escaped(&column, texts[i]);
    }
    if (x->minimal)
        minimal_add(x, &column);
    xk_buf_done(&column);
}

void xe_list_one(struct xe *x, const char *text)
{
    xe_list(x, &text, 1);
}

/* ---- tables ---- */

void xe_table_begin(struct xe *x)
{
    xk_buf_reset(&x->table_text);
    x->table_records = 0;
    x->table_broken = false;
}

static void draw(struct xe *x, const struct xe_pair *pairs, size_t count)
{
    struct xk_buf text = XK_BUF_INIT(MINIMAL_BYTES_MAX);
    size_t width = 0;

    for (size_t i = 0; i < count; i++)
        width = XK_MAX(width, strlen(pairs[i].name));
    width += 4;
    for (size_t i = 0; i < count; i++) {
        const size_t pad = width - strlen(pairs[i].name);
        if (i > 0)
            xk_buf_add_repeat(&text, ' ', pad);
        xk_buf_add_str(&text, pairs[i].name);
        if (i == 0)
            xk_buf_add_repeat(&text, ' ', pad);
        xk_buf_add_str(&text, ": ");
        xk_buf_add_str(&text, pairs[i].value);
        xk_buf_add_char(&text, '\n');
    }
    /* A record ends its last line, too, and an empty line follows it; the terminal adds the end of that one. */
    xk_buf_add_str(&text, count > 0 ? "\n" : "\n\n");
    if (text.error)
        xe_fail_memory(x);
    else
        xe_print(x, text.data);
    xk_buf_done(&text);
}

void xe_table_record(struct xe *x, const struct xe_pair *pairs, size_t count)
{
    if (!xe_fine(x))
        return;
    if (!x->minimal)
        return draw(x, pairs, count);
    if (count == 0) {
        x->table_broken = true;
        return;
    }
    if (x->table_records++ > 0)
        xk_buf_add_char(&x->table_text, ',');
    add_escaped(&x->table_text, pairs[0].value);
}

void xe_table_end(struct xe *x)
{
    if (x->minimal && xe_fine(x) && x->table_records > 0 && !x->table_broken)
        minimal_add(x, &x->table_text);
}

void xe_table_map(struct xe *x, const struct xapi_value *map)
{
    struct xe_pair *const pairs = xk_arena_alloc(&x->arena, (map->count + 1) * sizeof(*pairs));

    if (!pairs)
        return xe_fail_memory(x);
    const uint32_t count = map->shape == XAPI_MAP ? map->count : 0;
    for (uint32_t i = 0; i < count; i++)
        pairs[i] = (struct xe_pair){.name = xapi_value_text(&map->items[2 * i]),
                                    .value = xe_value_text(x, &map->items[2 * i + 1])};
    xe_table_begin(x);
    xe_table_record(x, pairs, count);
    xe_table_end(x);
}
