/*
 * An HTTP/1.1 client for one server: one connection, kept alive, one request after the other.
 *
 * Blocking calls bounded by a deadline and by a stop. Replies are bounded in size, and hostile ones are refused.
 */
#ifndef LIB_HTTP_CLIENT_H
#define LIB_HTTP_CLIENT_H

#include "lib/http/reader.h"
#include "lib/http/stream.h"

struct http_client;

struct http_request {
    const char *method, *path;
    const char *type;    /* Content-Type; NULL: none */
    const char *headers; /* more lines, each ended by \r\n; NULL: none */
    const void *body;
    size_t bytes;
    size_t reply_max; /* bytes that the reply's body may have */
};

/* What bounds a request. */
struct http_limits {
    uint64_t connect_deadline_ns; /* when a connection has to be made; see struct resolve_limits */
    uint64_t deadline_ns;         /* for the whole reply */
    uint64_t grace_ns; /* after a stop or the deadline, how long a request that has left still waits for its reply */
    bool ignore_stop;
};

/*
 * target      its texts, and those in its trust, are borrowed until http_client_close().
 * user_agent  borrowed, too.
 */
int http_client_open(struct http_client **ret, const struct http_target *target, const char *user_agent,
                     const struct xk_clock *clock, const char *root, struct xk_err *err);
void http_client_close(struct http_client *c);
/*
 * Send a request and read its reply; connects when there is no connection that is still good.
 *
 * ret       the reply, valid until the next request: http_reader_status(), http_reader_header(), ->body.
 * returns   0 for any status; -ECONNRESET: the connection was lost (http_client_sent() tells whether anything had
 *           left); -EPROTO, -EFBIG: a reply that is none or too large; -ETIMEDOUT; -EINTR; what http_stream_open()
 *           returns. After an error there is no connection.
 */
int http_client_send(struct http_client *c, struct http_reader **ret, const struct http_request *request,
                     const struct http_limits *limits, struct xk_err *err);
/* Whether the last request may have reached the server. */
bool http_client_sent(const struct http_client *c);
/* Whether the reply of the last request came after its deadline, within the grace. */
bool http_client_late(const struct http_client *c);
/* Of the server that was last connected to. NULL: no TLS, or no connection was made. */
const struct http_pin *http_client_pin(const struct http_client *c);

#endif
