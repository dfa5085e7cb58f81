/*
 * The one JSON writer: streaming, into a buffer. Commas, nesting and escaping are its business; it cannot write an
 * invalid document as long as begin and end calls pair up (asserted).
 */
#ifndef XK_JSON_H
#define XK_JSON_H

#include "core/buf.h"

#define XK_JSON_DEPTH_MAX 64

struct xk_json {
    struct xk_buf *buf; /* the caller's; may be drained between calls */
    int indent;         /* spaces a level; 0: compact, one line */
    int depth;
    bool array[XK_JSON_DEPTH_MAX];   /* kind of each open level */
    bool started[XK_JSON_DEPTH_MAX]; /* it has a member already */
};

void xk_json_init(struct xk_json *j, struct xk_buf *buf, int indent);
/* key is NULL inside an array and at the top. */
void xk_json_object(struct xk_json *j, const char *key);
void xk_json_array(struct xk_json *j, const char *key);
void xk_json_end(struct xk_json *j);                                    /* the innermost object or array */
void xk_json_str(struct xk_json *j, const char *key, const char *text); /* NULL text: null */
void xk_json_u64(struct xk_json *j, const char *key, uint64_t v);
void xk_json_i64(struct xk_json *j, const char *key, int64_t v);
void xk_json_double(struct xk_json *j, const char *key, double v); /* not finite: null */
void xk_json_bool(struct xk_json *j, const char *key, bool v);
void xk_json_null(struct xk_json *j, const char *key);
/* A whole JSON value that another writer made; taken as it is. */
void xk_json_raw(struct xk_json *j, const char *key, const char *json, size_t bytes);

#endif
