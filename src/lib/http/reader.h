/*
 * The reading half of an HTTP/1 client: bytes in, one reply out. Everything read is untrusted and bounded.
 */
#ifndef LIB_HTTP_READER_H
#define LIB_HTTP_READER_H

#include "core/buf.h"
#include "core/err.h"

#include <http_parser.h>

#define HTTP_REPLY_HEAD_MAX    (64u << 10) /* status line and headers */
#define HTTP_REPLY_HEADERS_MAX 128
#define HTTP_REPLY_INTERIM_MAX 16 /* "100 Continue" and the like before the reply itself */

struct http_reader {
    http_parser parser;
    struct xk_buf head; /* names and values, each ended by NUL */
    struct xk_buf body;
    struct {
        size_t name, value; /* places in head; value 0: none */
    } headers[HTTP_REPLY_HEADERS_MAX];
    unsigned header_count, interim;
    bool in_value, head_only, no_body, begun, whole, close;
    const char *wrong; /* why the parser was stopped */
    int code;
};

/*
 * body_max  bytes that the reply's body may have.
 * no_body   the reply to HEAD, which has headers of a body only.
 * head_only stop after the head: the reply to CONNECT, after which the connection is something else.
 */
void http_reader_init(struct http_reader *r, size_t body_max, bool no_body, bool head_only);
void http_reader_done(struct http_reader *r);
/*
 * Take what came from the connection.
 *
 * returns   how many bytes belonged to the reply (all of them until it is whole); -EPROTO: that is no HTTP;
 *           -EFBIG: it is larger than it may be; -ENOMEM.
 */
ssize_t http_reader_feed(struct http_reader *r, const char *bytes, size_t count, struct xk_err *err);
/* The connection ended. returns   0: the reply is whole now; -ECONNRESET: it was cut. */
int http_reader_end(struct http_reader *r, struct xk_err *err);

static inline bool http_reader_whole(const struct http_reader *r)
{
    return r->whole;
}
static inline unsigned http_reader_status(const struct http_reader *r)
{
    return r->parser.status_code;
}
/* Case does not matter; of several the first. NULL: none. */
const char *http_reader_header(const struct http_reader *r, const char *name);

#endif
