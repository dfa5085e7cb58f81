/* What the files of the wire formats share; see wire.h. */
#ifndef LIB_XAPI_WIRE_PARTS_H
#define LIB_XAPI_WIRE_PARTS_H

#include "lib/xapi/wire.h"

/* A methodCall or a methodResponse. */
struct xapi_document {
    const char *method;       /* NULL: none was named */
    struct xapi_value params; /* a list */
    bool response;
};

/* by_parser: do not try the quick way; the result is the same. */
int xapi_xml_read(struct xapi_document *ret, struct xk_arena *arena, bool by_parser, const char *body, size_t bytes,
                  struct xk_err *err);

int xapi_xml_call_decode(struct xapi_call *ret, struct xk_arena *arena, const char *body, size_t bytes,
                         struct xk_err *err);
int xapi_xml_reply_decode(struct xapi_reply *ret, struct xk_arena *arena, const char *body, size_t bytes,
                          struct xk_err *err);
void xapi_xml_call_encode(struct xk_buf *b, const struct xapi_call *call);
void xapi_xml_reply_encode(struct xk_buf *b, const struct xapi_reply *reply, bool bare);

int xapi_json_call_decode(struct xapi_call *ret, struct xk_arena *arena, const char *body, size_t bytes,
                          struct xk_err *err);
int xapi_json_reply_decode(struct xapi_reply *ret, struct xk_arena *arena, const char *body, size_t bytes,
                           struct xk_err *err);
void xapi_json_call_encode(struct xk_buf *b, const struct xapi_call *call);
void xapi_json_reply_encode(struct xk_buf *b, const struct xapi_call *call, const struct xapi_reply *reply);

#endif
