/*
 * GET for what is too large for memory, on a connection of its own: the reader's body is emptied as fast as it is asked
 * for. The connection for calls stays free meanwhile.
 */
#include "lib/client/inner.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define PIECE_BYTES       (64u << 10)
#define REQUEST_BYTES_MAX (8u << 10)

struct client_download {
    struct client *client;
    char *path;
    struct http_stream *stream;
    struct http_reader reader;
    size_t given; /* of the reader's body */
    char piece[PIECE_BYTES];
};

static struct resolve_limits limits_in(const struct client *c, uint64_t ns)
{
    struct resolve_limits l = {
        .clock = c->app->clock, .deadline_ns = resolve_deadline(c->app->clock, ns), .root = c->app->root};

    if (c->manner.deadline_ns)
        l.deadline_ns = XK_MIN(l.deadline_ns, c->manner.deadline_ns);
    return l;
}

static int send_request(struct client_download *d, struct xk_err *err)
{
    const struct client *const c = d->client;
    const struct resolve_limits limits = limits_in(c, c->access.timeout_ns);
    xk_auto(xk_buf_done) struct xk_buf request = XK_BUF_INIT(REQUEST_BYTES_MAX);
    int code = 0;

    xk_buf_printf(&request,
                  "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: %s\r\nCookie: session_id=%s\r\nConnection: close\r\n\r\n",
                  d->path, c->socket_path ? "localhost" : c->now.host, c->user_agent, c->session);
    if (request.error)
        return xk_fail(err, -E2BIG, "GET %.200s: the path is too long", d->path);
    for (size_t at = 0; code == 0 && at < request.len;) {
        const ssize_t n = http_stream_write(d->stream, request.data + at, request.len - at, &limits);
        if (n < 0)
            code = xk_fail_sys(err, (int)n, "asking %s for %.200s", c->url, d->path);
        else
            at += (size_t)n;
    }
    explicit_bzero(request.data, request.len);
    return code;
}

/* One more piece from the connection into the reader. */
static int feed(struct client_download *d, struct xk_err *err)
{
    const struct client *const c = d->client;
    const struct resolve_limits limits = limits_in(c, c->access.timeout_ns);

    const ssize_t n = http_stream_read(d->stream, d->piece, sizeof(d->piece), &limits);
    if (n < 0)
        return xk_fail_sys(err, (int)n, "GET %.200s from %s", d->path, c->url);
    const ssize_t used = n ? http_reader_feed(&d->reader, d->piece, (size_t)n, err) : http_reader_end(&d->reader, err);
    return used < 0 ? (int)used : 0;
}

/* Until the head is there: then there is a body, or there is none. */
static int read_head(struct client_download *d, struct xk_err *err)
{
    struct http_reader *const r = &d->reader;

    while (!http_reader_whole(r) && r->body.len == 0) {
        const int code = feed(d, err);
        if (code < 0)
            return code;
    }
    if (http_reader_status(r) == HTTP_STATUS_OK)
        return 0;
    return xk_fail(err, -EREMOTEIO, "GET %.200s from %s: HTTP status %u", d->path, d->client->url,
                   http_reader_status(r));
}

void client_download_close(struct client_download *d)
{
    if (!d)
        return;
    http_reader_done(&d->reader);
    http_stream_close(d->stream);
    free(d->path);
    free(d);
}

int client_download_open(struct client_download **ret, struct client *c, const char *path, struct xk_err *err)
{
    int code = client_login(c, err);
    if (code < 0)
        return code;
    struct client_download *const d = xk_zalloc(sizeof(*d));
    if (!d)
        return xk_fail_memory(err);
    d->client = c;
    http_reader_init(&d->reader, SIZE_MAX, false, false);
    d->path = xk_strdup(path);
    const struct resolve_limits limits = limits_in(c, c->access.connect_timeout_ns);
    code = d->path ? client_stream(c, &d->stream, NULL, &limits, err) : xk_fail_memory(err);
    if (code == 0)
        code = send_request(d, err);
    if (code == 0)
        code = read_head(d, err);
    if (code < 0) {
        client_download_close(d);
        return code;
    }
    *ret = d;
    return 0;
}

ssize_t client_download_read(struct client_download *d, void *bytes, size_t count, struct xk_err *err)
{
    struct xk_buf *const body = &d->reader.body;

    while (d->given == body->len) {
        xk_buf_reset(body);
        d->given = 0;
        if (http_reader_whole(&d->reader))
            return 0;
        const int code = feed(d, err);
        if (code < 0)
            return code;
    }
    const size_t some = XK_MIN(count, body->len - d->given);
    memcpy(bytes, body->data + d->given, some);
    d->given += some;
    return (ssize_t)some;
}
