/*
 * XenAPI calls and replies as bytes: XML-RPC and JSON-RPC 1.0 and 2.0, both directions.
 *
 * Everything decoded is untrusted: a document type, deep nesting, a wrong structure or text that is no UTF-8 is
 * refused. The memory that a document can take is the arena's maximum.
 */
#ifndef LIB_XAPI_WIRE_H
#define LIB_XAPI_WIRE_H

#include "lib/xapi/value.h"

enum xapi_protocol {
    XAPI_XML,
    XAPI_JSON1,
    XAPI_JSON2,
};

struct xapi_call {
    enum xapi_protocol protocol;
    const char *method;
    struct xapi_value params; /* a list; JSON-RPC 2 may also give a map by name */
    struct xapi_value id;     /* JSON: an int or a text, given back in the reply */
};

/* What a reply says: a value, or an error as a list of texts that begins with its code. */
struct xapi_reply {
    bool failed;
    struct xapi_value value; /* the error's texts when it failed */
};

/*
 * Decode a request body.
 *
 * json      false: XML-RPC.
 * returns   0; -EBADMSG: not such a document; -E2BIG: too deep or too many values; -ENOMEM.
 */
int xapi_call_decode(struct xapi_call *ret, struct xk_arena *arena, bool json, const char *body, size_t bytes,
                     struct xk_err *err);
void xapi_call_encode(struct xk_buf *b, const struct xapi_call *call);

/*
 * Append the reply to `call`. The buffer's error says when it did not fit.
 *
 * bare      XML: the value alone, without Status and Value around it, as system.listMethods answers.
 */
void xapi_reply_encode(struct xk_buf *b, const struct xapi_call *call, const struct xapi_reply *reply, bool bare);
int xapi_reply_decode(struct xapi_reply *ret, struct xk_arena *arena, bool json, const char *body, size_t bytes,
                      struct xk_err *err);

/* Any JSON document as a value. returns as xapi_call_decode(). */
int xapi_json_decode(struct xapi_value *ret, struct xk_arena *arena, const char *text, size_t bytes,
                     struct xk_err *err);
/* A value alone: "<value>…</value>", and its JSON. */
void xapi_xml_value(struct xk_buf *b, const struct xapi_value *v);
void xapi_json_value(struct xk_buf *b, const struct xapi_value *v);

/* "text/xml" or "application/json", exactly: clients compare the whole header. */
const char *xapi_content_type(enum xapi_protocol protocol);

#endif
