/*
 * JSON-RPC 1.0 and 2.0. json-read.c reads, core's writer writes.
 *
 * A reply is of the call's version; version 1.0 has no mark, 2.0 says "jsonrpc": "2.0". Integers are numbers here.
 */
#include "lib/xapi/wire.h"

#include "core/json.h"
#include "core/text.h"
#include "lib/xapi/wire-parts.h"

#include <string.h>

static int read_document(struct xapi_value *ret, struct xk_arena *arena, const char *body, size_t bytes,
                         struct xk_err *err)
{
    struct xk_err why = {0};
    int code = xapi_json_decode(ret, arena, body, bytes, &why);

    if (code < 0)
        return xk_fail(err, code, "JSON-RPC: %s", why.text);
    return ret->shape == XAPI_MAP ? 0 : xk_fail(err, -EBADMSG, "JSON-RPC: the document is not one object");
}

/* The version that a document says it has; XAPI_XML when it is none. */
static enum xapi_protocol version_of(const struct xapi_value *document)
{
    const struct xapi_value *const version = xapi_map_get(document, "jsonrpc");

    if (!version)
        return XAPI_JSON1;
    return strcmp(xapi_value_text(version), "2.0") == 0 ? XAPI_JSON2 : XAPI_XML;
}

int xapi_json_call_decode(struct xapi_call *ret, struct xk_arena *arena, const char *body, size_t bytes,
                          struct xk_err *err)
{
    struct xapi_value document;

    const int code = read_document(&document, arena, body, bytes, err);
    if (code < 0)
        return code;
    const struct xapi_value *const method = xapi_map_get(&document, "method"),
                                   *const params = xapi_map_get(&document, "params"),
                                   *const id = xapi_map_get(&document, "id");
    const enum xapi_protocol version = version_of(&document);
    if (version == XAPI_XML)
        return xk_fail(err, -EBADMSG, "JSON-RPC: the version is neither absent nor \"2.0\"");
    if (!method || method->shape != XAPI_TEXT)
        return xk_fail(err, -EBADMSG, "JSON-RPC: the method is missing");
    if (!id || (id->shape != XAPI_INT && id->shape != XAPI_TEXT))
        return xk_fail(err, -EBADMSG, "JSON-RPC: the id is neither a number nor a text");
    if (params && params->shape != XAPI_LIST && !(version == XAPI_JSON2 && params->shape == XAPI_MAP))
        return xk_fail(err, -EBADMSG, "JSON-RPC: the parameters are no list");
    *ret = (struct xapi_call){
        .protocol = version, .method = method->text, .params = params ? *params : xapi_list(NULL, 0), .id = *id};
    return 0;
}

int xapi_json_reply_decode(struct xapi_reply *ret, struct xk_arena *arena, const char *body, size_t bytes,
                           struct xk_err *err)
{
    struct xapi_value document;

    const int code = read_document(&document, arena, body, bytes, err);
    if (code < 0)
        return code;
    const struct xapi_value *const result = xapi_map_get(&document, "result"), *const error =
                                                                                   xapi_map_get(&document, "error");
    if (error && error->shape == XAPI_MAP) { /* 2.0: the code is the message, its parameters are the data */
        const struct xapi_value *const message = xapi_map_get(error, "message"), *const data =
                                                                                     xapi_map_get(error, "data");
        const size_t count = data && data->shape == XAPI_LIST ? data->count : 0;
        struct xapi_value *const texts = xk_arena_alloc(arena, (count + 1) * sizeof(*texts));
        if (!texts)
            return xk_fail_memory(err);
        if (!message || message->shape != XAPI_TEXT)
            return xk_fail(err, -EBADMSG, "JSON-RPC: the error has no message");
        texts[0] = *message;
        if (count)
            memcpy(texts + 1, data->items, count * sizeof(*texts));
        *ret = (struct xapi_reply){.failed = true, .value = xapi_list(texts, count + 1)};
        return 0;
    }
    if (error && error->shape == XAPI_LIST && error->count) {
        *ret = (struct xapi_reply){.failed = true, .value = *error};
        return 0;
    }
    if (!result || (error && error->shape != XAPI_NIL))
        return xk_fail(err, -EBADMSG, "JSON-RPC: the reply has neither a result nor an error");
    *ret = (struct xapi_reply){.value = *result};
    return 0;
}

/* ---- writing ---- */

static void put(struct xk_json *j, const char *key, const struct xapi_value *v)
{
    switch ((enum xapi_shape)v->shape) {
    case XAPI_NIL: /* a call that returns nothing answers "" */
        return xk_json_str(j, key, "");
    case XAPI_BOOL:
        return xk_json_bool(j, key, v->truth);
    case XAPI_INT:
    case XAPI_INT32:
        return xk_json_i64(j, key, v->integer);
    case XAPI_REAL:
        return xk_json_double(j, key, v->real);
    case XAPI_TEXT:
    case XAPI_TIME:
        return xk_json_str(j, key, v->text);
    case XAPI_LIST:
        xk_json_array(j, key);
        for (size_t i = 0; i < v->count; i++)
            put(j, NULL, &v->items[i]);
        return xk_json_end(j);
    case XAPI_MAP:
        xk_json_object(j, key);
        for (size_t i = 0; i < v->count; i++)
            put(j, v->items[2 * i].text, &v->items[2 * i + 1]);
        return xk_json_end(j);
    case XAPI_RAW:
        return xk_json_raw(j, key, v->raw->json, v->raw->json_bytes);
    }
}

void xapi_json_value(struct xk_buf *b, const struct xapi_value *v)
{
    struct xk_json j;

    xk_json_init(&j, b, 0);
    put(&j, NULL, v);
}

void xapi_json_reply_encode(struct xk_buf *b, const struct xapi_call *call, const struct xapi_reply *reply)
{
    const bool two = call->protocol == XAPI_JSON2;
    const struct xapi_value *const v = &reply->value;
    struct xk_json j;

    xk_json_init(&j, b, 0);
    xk_json_object(&j, NULL);
    if (two)
        xk_json_str(&j, "jsonrpc", "2.0");
    if (!reply->failed) {
        put(&j, "result", v);
        if (!two)
            xk_json_null(&j, "error");
    } else if (!two) {
        xk_json_null(&j, "result");
        put(&j, "error", v);
    } else {
        const struct xapi_value data = xapi_list(v->items + 1, v->count - 1);
        xk_json_object(&j, "error");
        xk_json_i64(&j, "code", 1);
        put(&j, "message", &v->items[0]);
        put(&j, "data", &data);
        xk_json_end(&j);
    }
    put(&j, "id", &call->id);
    xk_json_end(&j);
}

void xapi_json_call_encode(struct xk_buf *b, const struct xapi_call *call)
{
    struct xk_json j;

    xk_json_init(&j, b, 0);
    xk_json_object(&j, NULL);
    if (call->protocol == XAPI_JSON2)
        xk_json_str(&j, "jsonrpc", "2.0");
    xk_json_str(&j, "method", call->method);
    put(&j, "params", &call->params);
    put(&j, "id", &call->id);
    xk_json_end(&j);
}
