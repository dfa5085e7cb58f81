/*
 * Values as output. In JSON they keep the shape that the XenAPI gives them; as text, records become cards or rows, a
 * list becomes lines, and a value alone is a line.
 */
#include "rooms/api/api.h"

#include "core/text.h"
#include "lib/xapi/wire.h"

#include <string.h>

#define DEPTH_MAX       12 /* deeper values are shown as JSON in a text */
#define NESTED_JSON_MAX (16u << 20)

static void put(struct xk_out *out, const char *key, const struct xapi_value *v, unsigned depth);

static void put_deep(struct xk_out *out, const char *key, const struct xapi_value *v)
{
    xk_auto(xk_buf_done) struct xk_buf b = XK_BUF_INIT(NESTED_JSON_MAX);

    xapi_json_value(&b, v);
    xk_put_str(out, key, xk_buf_str(&b));
}

static void put_items(struct xk_out *out, const struct xapi_value *v, unsigned depth)
{
    for (size_t i = 0; i < v->count; i++) {
        if (v->shape == XAPI_MAP)
            put(out, v->items[2 * i].text, &v->items[2 * i + 1], depth + 1);
        else
            put(out, NULL, &v->items[i], depth + 1);
    }
}

static void put(struct xk_out *out, const char *key, const struct xapi_value *v, unsigned depth)
{
    switch ((enum xapi_shape)v->shape) {
    case XAPI_NIL:
    case XAPI_RAW:
        return xk_put_none(out, key);
    case XAPI_BOOL:
        return xk_put_bool(out, key, v->truth);
    case XAPI_INT:
    case XAPI_INT32:
        return xk_put_i64(out, key, v->integer);
    case XAPI_REAL:
        return xk_put_double(out, key, v->real);
    case XAPI_TEXT:
    case XAPI_TIME:
        return xk_put_str(out, key, v->text);
    case XAPI_LIST:
    case XAPI_MAP:
        if (depth == DEPTH_MAX)
            return put_deep(out, key, v);
        if (v->shape == XAPI_MAP)
            xk_put_record(out, key);
        else
            xk_put_list(out, key);
        put_items(out, v, depth);
        return xk_put_end(out);
    }
}

void api_put(struct xk_out *out, const char *key, const struct xapi_value *v)
{
    put(out, key, v, 2);
}

static bool holds_records(const struct xapi_value *v)
{
    const bool map = v->shape == XAPI_MAP;

    if (v->count == 0 || (!map && v->shape != XAPI_LIST))
        return false;
    for (size_t i = 0; i < v->count; i++)
        if (v->items[map ? 2 * i + 1 : i].shape != XAPI_MAP)
            return false;
    return true;
}

/* A map from refs to records, or a list of records. */
static void show_records(struct xk_out *out, const struct xapi_value *v)
{
    const bool map = v->shape == XAPI_MAP;

    xk_out_cards(out, "result");
    for (size_t i = 0; i < v->count; i++) {
        xk_row(out);
        if (map)
            xk_put_str(out, "ref", v->items[2 * i].text);
        put_items(out, &v->items[map ? 2 * i + 1 : i], 1);
    }
    xk_out_end(out);
}

static void show_list(struct xk_out *out, const struct xapi_value *v)
{
    if (xk_out_format(out) == XK_OUT_TABLE) {
        for (size_t i = 0; i < v->count; i++) {
            if (v->items[i].shape == XAPI_LIST || v->items[i].shape == XAPI_MAP) {
                xk_auto(xk_buf_done) struct xk_buf b = XK_BUF_INIT(NESTED_JSON_MAX);
                xapi_json_value(&b, &v->items[i]);
                xk_say(out, "%s\n", xk_out_clean(out, xk_buf_str(&b)));
            } else {
                api_show(out, &v->items[i]);
            }
        }
        return;
    }
    xk_out_rows(out, "result");
    for (size_t i = 0; i < v->count; i++) {
        xk_row(out);
        put(out, "value", &v->items[i], 1);
    }
    xk_out_end(out);
}

static void show_line(struct xk_out *out, const struct xapi_value *v)
{
    if (v->shape == XAPI_TEXT || v->shape == XAPI_TIME)
        xk_say(out, "%s\n", xk_out_clean(out, v->text));
    else if (v->shape == XAPI_BOOL)
        xk_say(out, "%s\n", v->truth ? "true" : "false");
    else if (v->shape == XAPI_REAL)
        xk_say(out, "%s\n", xk_number(v->real).s);
    else if (v->shape == XAPI_INT || v->shape == XAPI_INT32)
        xk_say(out, "%lld\n", (long long)v->integer);
}

void api_show(struct xk_out *out, const struct xapi_value *v)
{
    const enum xk_out_format format = xk_out_format(out);

    if (format == XK_OUT_JSON) {
        xk_out_record(out, NULL);
        put(out, "result", v, 1);
        xk_out_end(out);
    } else if (holds_records(v)) {
        show_records(out, v);
    } else if (v->shape == XAPI_LIST) {
        show_list(out, v);
    } else if (v->shape == XAPI_MAP) {
        xk_out_record(out, "result");
        put_items(out, v, 1);
        xk_out_end(out);
    } else if (format == XK_OUT_TABLE) {
        show_line(out, v);
    } else {
        xk_out_rows(out, "result");
        xk_row(out);
        put(out, "value", v, 1);
        xk_out_end(out);
    }
}

bool api_is_pool(const char *word, bool otherwise)
{
    return strstr(word, "://") || xk_has_prefix(word, "unix:") || word[0] == '/' || otherwise;
}
