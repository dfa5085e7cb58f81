/*
 * XML-RPC as the real server speaks it: strings and ints are both bare text in <value>, nothing is ever a <fault>.
 * Reading stands in xml-read.c.
 */
#include "lib/xapi/wire.h"

#include "lib/xapi/wire-parts.h"

#include <string.h>

int xapi_xml_call_decode(struct xapi_call *ret, struct xk_arena *arena, const char *body, size_t bytes,
                         struct xk_err *err)
{
    struct xapi_document d;

    const int code = xapi_xml_read(&d, arena, false, body, bytes, err);
    if (code < 0)
        return code;
    if (d.response || !d.method)
        return xk_fail(err, -EBADMSG, "XML-RPC: this is no call");
    *ret = (struct xapi_call){.protocol = XAPI_XML, .method = d.method, .params = d.params};
    return 0;
}

int xapi_xml_reply_decode(struct xapi_reply *ret, struct xk_arena *arena, const char *body, size_t bytes,
                          struct xk_err *err)
{
    struct xapi_document d;

    const int code = xapi_xml_read(&d, arena, false, body, bytes, err);
    if (code < 0)
        return code;
    if (!d.response || d.params.count != 1)
        return xk_fail(err, -EBADMSG, "XML-RPC: this is no reply");
    const struct xapi_value params = d.params;
    const struct xapi_value *const status = xapi_map_get(&params.items[0], "Status");
    const struct xapi_value *const errors = xapi_map_get(&params.items[0], "ErrorDescription");
    const struct xapi_value *const value = xapi_map_get(&params.items[0], "Value");
    if (!status) {
        *ret = (struct xapi_reply){.value = params.items[0]};
        return 0;
    }
    const bool failed = strcmp(xapi_value_text(status), "Success") != 0;
    if (failed ? !errors || errors->shape != XAPI_LIST || errors->count == 0 : !value)
        return xk_fail(err, -EBADMSG, "XML-RPC: the reply has neither a value nor an error");
    *ret = (struct xapi_reply){.failed = failed, .value = failed ? *errors : *value};
    return 0;
}

/* ---- writing ---- */

/* Control characters cannot be said in XML 1.0 and are dropped, as the server does. */
static void add_escaped(struct xk_buf *b, const char *text, size_t bytes)
{
    size_t from = 0;

    for (size_t i = 0; i < bytes; i++) {
        const unsigned char c = (unsigned char)text[i];
        const char *instead = c == '<'                                          ? "&lt;"
                              : c == '>'                                        ? "&gt;"
                              : c == '&'                                        ? "&amp;"
                              : c == '"'                                        ? "&quot;"
                              : c < 0x20 && c != '\t' && c != '\n' && c != '\r' ? ""
                                                                                : NULL;
        if (!instead)
            continue;
        xk_buf_add(b, text + from, i - from);
        xk_buf_add_str(b, instead);
        from = i + 1;
    }
    xk_buf_add(b, text + from, bytes - from);
}

void xapi_xml_value(struct xk_buf *b, const struct xapi_value *v)
{
    if (v->shape == XAPI_RAW)
        return xk_buf_add(b, v->raw->xml, v->raw->xml_bytes);
    xk_buf_add_str(b, "<value>");
    switch ((enum xapi_shape)v->shape) {
    case XAPI_NIL:
    case XAPI_RAW:
        break;
    case XAPI_BOOL:
        xk_buf_printf(b, "<boolean>%d</boolean>", v->truth);
        break;
    case XAPI_INT:
        xk_buf_printf(b, "%lld", (long long)v->integer);
        break;
    case XAPI_INT32:
        xk_buf_printf(b, "<i4>%lld</i4>", (long long)v->integer);
        break;
    case XAPI_REAL:
        xk_buf_printf(b, "<double>%.16g</double>", v->real);
        break;
    case XAPI_TEXT:
        add_escaped(b, v->text, v->count);
        break;
    case XAPI_TIME:
        xk_buf_add_str(b, "<dateTime.iso8601>");
        add_escaped(b, v->text, v->count);
        xk_buf_add_str(b, "</dateTime.iso8601>");
        break;
    case XAPI_LIST:
        xk_buf_add_str(b, "<array><data>");
        for (size_t i = 0; i < v->count; i++)
            xapi_xml_value(b, &v->items[i]);
        xk_buf_add_str(b, "</data></array>");
        break;
    case XAPI_MAP:
        xk_buf_add_str(b, "<struct>");
        for (size_t i = 0; i < v->count; i++) {
            xk_buf_add_str(b, "<member><name>");
            add_escaped(b, v->items[2 * i].text, v->items[2 * i].count);
            xk_buf_add_str(b, "</name>");
            xapi_xml_value(b, &v->items[2 * i + 1]);
            xk_buf_add_str(b, "</member>");
        }
        xk_buf_add_str(b, "</struct>");
        break;
    }
    xk_buf_add_str(b, "</value>");
}

void xapi_xml_reply_encode(struct xk_buf *b, const struct xapi_reply *reply, bool bare)
{
    xk_buf_add_str(b, "<?xml version=\"1.0\"?><methodResponse><params><param>");
    if (bare && !reply->failed) {
        xapi_xml_value(b, &reply->value);
    } else {
        xk_buf_add_str(b, "<value><struct><member><name>Status</name><value>");
        xk_buf_add_str(b, reply->failed ? "Failure" : "Success");
        xk_buf_add_str(b, "</value></member><member><name>");
        xk_buf_add_str(b, reply->failed ? "ErrorDescription" : "Value");
        xk_buf_add_str(b, "</name>");
        xapi_xml_value(b, &reply->value);
        xk_buf_add_str(b, "</member></struct></value>");
    }
    xk_buf_add_str(b, "</param></params></methodResponse>");
}

void xapi_xml_call_encode(struct xk_buf *b, const struct xapi_call *call)
{
    xk_buf_add_str(b, "<?xml version=\"1.0\"?><methodCall><methodName>");
    add_escaped(b, call->method, strlen(call->method));
    xk_buf_add_str(b, "</methodName><params>");
    for (size_t i = 0; i < call->params.count; i++) {
        xk_buf_add_str(b, "<param>");
        xapi_xml_value(b, &call->params.items[i]);
        xk_buf_add_str(b, "</param>");
    }
    xk_buf_add_str(b, "</params></methodCall>");
}
