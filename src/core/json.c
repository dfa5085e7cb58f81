/*
 * The JSON writer keeps one bit a level ("has a member already") instead of looking back at the text, so its buffer
 * can be drained at any time.
 */
#include "core/json.h"
#include "core/text.h"

#include <assert.h>
#include <math.h>

void xk_json_init(struct xk_json *j, struct xk_buf *buf, int indent)
{
    *j = (struct xk_json){.buf = buf, .indent = indent};
}

static void new_line(const struct xk_json *j)
{
    if (j->indent == 0)
        return;
    xk_buf_add_char(j->buf, '\n');
    xk_buf_add_repeat(j->buf, ' ', (size_t)(j->indent * j->depth));
}

/* All that stands before a value: comma, new line, key. */
static void begin_value(struct xk_json *j, const char *key)
{
    if (j->depth == 0) {
        assert(!key);
        return;
    }
    const int level = j->depth - 1;
    assert(j->array[level] == !key);
    if (j->started[level])
        xk_buf_add_char(j->buf, ',');
    j->started[level] = true;
    new_line(j);
    if (key) {
        xk_add_json_string(j->buf, key);
        xk_buf_add_str(j->buf, j->indent ? ": " : ":");
    }
}

static void open_level(struct xk_json *j, const char *key, bool array)
{
    begin_value(j, key);
    assert(j->depth < XK_JSON_DEPTH_MAX);
    j->array[j->depth] = array;
    j->started[j->depth] = false;
    j->depth++;
    xk_buf_add_char(j->buf, array ? '[' : '{');
}

void xk_json_object(struct xk_json *j, const char *key)
{
    open_level(j, key, false);
}

void xk_json_array(struct xk_json *j, const char *key)
{
    open_level(j, key, true);
}

void xk_json_end(struct xk_json *j)
{
    assert(j->depth > 0);
    j->depth--;
    if (j->started[j->depth])
        new_line(j);
    xk_buf_add_char(j->buf, j->array[j->depth] ? ']' : '}');
}

void xk_json_str(struct xk_json *j, const char *key, const char *text)
{
    begin_value(j, key);
    if (text)
        xk_add_json_string(j->buf, text);
    else
        xk_buf_add_str(j->buf, "null");
}

void xk_json_u64(struct xk_json *j, const char *key, uint64_t v)
{
    begin_value(j, key);
    xk_buf_add_u64(j->buf, v);
}

void xk_json_i64(struct xk_json *j, const char *key, int64_t v)
{
    begin_value(j, key);
    xk_buf_add_i64(j->buf, v);
}

void xk_json_double(struct xk_json *j, const char *key, double v)
{
    begin_value(j, key);
    xk_buf_add_str(j->buf, isfinite(v) ? xk_number(v).s : "null");
}

void xk_json_bool(struct xk_json *j, const char *key, bool v)
{
    begin_value(j, key);
    xk_buf_add_str(j->buf, v ? "true" : "false");
}

void xk_json_null(struct xk_json *j, const char *key)
{
    begin_value(j, key);
    xk_buf_add_str(j->buf, "null");
}

void xk_json_raw(struct xk_json *j, const char *key, const char *json, size_t bytes)
{
    begin_value(j, key);
    xk_buf_add(j->buf, json, bytes);
}
