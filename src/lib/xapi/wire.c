/* Which of the two formats; what each does stands in wire-xml.c and wire-json.c. */
#include "lib/xapi/wire.h"

#include "lib/xapi/wire-parts.h"

int xapi_call_decode(struct xapi_call *ret, struct xk_arena *arena, bool json, const char *body, size_t bytes,
                     struct xk_err *err)
{
    return json ? xapi_json_call_decode(ret, arena, body, bytes, err)
                : xapi_xml_call_decode(ret, arena, body, bytes, err);
}

void xapi_call_encode(struct xk_buf *b, const struct xapi_call *call)
{
    if (call->protocol == XAPI_XML)
        xapi_xml_call_encode(b, call);
    else
        xapi_json_call_encode(b, call);
}

void xapi_reply_encode(struct xk_buf *b, const struct xapi_call *call, const struct xapi_reply *reply, bool bare)
{
    if (call->protocol == XAPI_XML)
        xapi_xml_reply_encode(b, reply, bare);
    else
        xapi_json_reply_encode(b, call, reply);
}

int xapi_reply_decode(struct xapi_reply *ret, struct xk_arena *arena, bool json, const char *body, size_t bytes,
                      struct xk_err *err)
{
    return json ? xapi_json_reply_decode(ret, arena, body, bytes, err)
                : xapi_xml_reply_decode(ret, arena, body, bytes, err);
}

const char *xapi_content_type(enum xapi_protocol protocol)
{
    return protocol == XAPI_XML ? "text/xml" : "application/json";
}
