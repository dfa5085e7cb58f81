/*
 * A request leaves in one write (head and body apart would wait for each other's acknowledgement). Before a kept
 * connection is used again it is looked at: one that the server has closed meanwhile is made anew, so that "lost"
 * stays the rare case in which nobody knows whether the request was seen.
 */
#include "lib/http/client.h"

#include "core/text.h"

#include <string.h>

#define PIECE_BYTES 65536

struct http_client {
    struct http_target target;
    const char *user_agent, *root;
    const struct xk_clock *clock;
    struct http_stream *stream; /* NULL: not connected */
    struct http_reader reader;
    struct http_pin pin;
    bool has_pin, sent, late;
    bool fresh; /* nobody has replied yet: it may be a port for something else */
};

int http_client_open(struct http_client **ret, const struct http_target *target, const char *user_agent,
                     const struct xk_clock *clock, const char *root, struct xk_err *err)
{
    struct http_client *const c = xk_zalloc(sizeof(*c));

    if (!c)
        return xk_fail_memory(err);
    *c = (struct http_client){.target = *target, .user_agent = user_agent, .clock = clock, .root = root, .fresh = true};
    *ret = c;
    return 0;
}

static void disconnect(struct http_client *c)
{
    http_stream_close(c->stream);
    c->stream = NULL;
}

void http_client_close(struct http_client *c)
{
    if (!c)
        return;
    disconnect(c);
    http_reader_done(&c->reader);
    free(c);
}

bool http_client_sent(const struct http_client *c)
{
    return c->sent;
}

bool http_client_late(const struct http_client *c)
{
    return c->late;
}

const struct http_pin *http_client_pin(const struct http_client *c)
{
    return c->has_pin ? &c->pin : NULL;
}

/* One line of the head, in up to three parts. */
static void put_line(struct xk_buf *b, const char *first, const char *second, const char *third)
{
    xk_buf_add_str(b, first);
    xk_buf_add_str(b, second);
    xk_buf_add_str(b, third);
    xk_buf_add_str(b, "\r\n");
}

static void put_host(struct xk_buf *b, const struct http_target *t)
{
    const bool v6 = !t->socket_path && strchr(t->host, ':');

    xk_buf_add_str(b, v6 ? "Host: [" : "Host: ");
    xk_buf_add_str(b, t->socket_path ? "localhost" : t->host);
    if (v6)
        xk_buf_add_char(b, ']');
    if (!t->socket_path && t->port != (t->tls ? 443 : 80)) {
        xk_buf_add_char(b, ':');
        xk_buf_add_u64(b, t->port);
    }
    xk_buf_add_str(b, "\r\n");
}

static void put_request(struct xk_buf *b, const struct http_client *c, const struct http_request *q)
{
    xk_buf_add_str(b, q->method);
    put_line(b, " ", q->path, " HTTP/1.1");
    put_host(b, &c->target);
    put_line(b, "User-Agent: ", c->user_agent, "\r\nAccept: */*");
    if (q->type)
        put_line(b, "Content-Type: ", q->type, "");
    if (q->body) {
        xk_buf_add_str(b, "Content-Length: ");
        xk_buf_add_u64(b, q->bytes);
        xk_buf_add_str(b, "\r\n");
    }
    put_line(b, q->headers ? q->headers : "", "", "");
    if (q->body)
        xk_buf_add(b, q->body, q->bytes);
}

static const char *server_text(const struct http_target *t)
{
    return t->socket_path ? t->socket_path : t->host;
}

static void hint_tls(const struct http_target *t, struct xk_err *err)
{
    xk_err_hint(err, "is it a port for TLS? Then https://%s:%u is the way", t->host, t->port);
}

/* What a failed read or write says. */
static int lost(struct http_client *c, int code, const char *doing, struct xk_err *err)
{
    const struct http_target *const t = &c->target;

    if (code == -EINTR)
        return xk_fail(err, code, "%s %s: stopped", doing, server_text(t));
    if (code == -ETIMEDOUT) {
        (void)xk_fail(err, code, "%s %s: no answer in time", doing, server_text(t));
        xk_err_hint(err, "--timeout says how long to wait");
        return code;
    }
    if (code == -EPIPE || code == -ECONNABORTED)
        code = -ECONNRESET;
    (void)xk_fail_sys(err, code, "%s %s", doing, server_text(t));
    if (c->fresh && !t->tls && !t->socket_path)
        hint_tls(t, err);
    return code;
}

static int write_request(struct http_client *c, const struct xk_buf *b, const struct resolve_limits *limits,
                         struct xk_err *err)
{
    for (size_t at = 0; at < b->len;) {
        const ssize_t sent = http_stream_write(c->stream, b->data + at, b->len - at, limits);
        if (sent < 0) {
            /* A server that refuses a request closes before it has read it: its reply may be there all the same. */
            if ((sent == -EPIPE || sent == -ECONNRESET) && c->sent)
                return 0;
            return lost(c, (int)sent, "sending to", err);
        }
        at += (size_t)sent;
        c->sent = true;
    }
    return 0;
}

/* It is time to end: go on for the time of grace, if there is one. returns   whether to. */
static bool go_on(struct resolve_limits *limits, uint64_t *grace_ns)
{
    if (*grace_ns == 0)
        return false;
    limits->deadline_ns = resolve_deadline(limits->clock, *grace_ns);
    limits->ignore_stop = true;
    *grace_ns = 0;
    return true;
}

static int read_reply(struct http_client *c, struct resolve_limits *limits, uint64_t grace_ns, struct xk_err *err)
{
    xk_autofree char *piece = xk_alloc(PIECE_BYTES);
    struct xk_err why = {0};

    if (!piece)
        return xk_fail_memory(err);
    while (!http_reader_whole(&c->reader)) {
        const ssize_t got = http_stream_read(c->stream, piece, PIECE_BYTES, limits);
        if ((got == -EINTR || got == -ETIMEDOUT) && go_on(limits, &grace_ns)) {
            c->late = got == -ETIMEDOUT;
            continue;
        }
        if (got < 0)
            return lost(c, (int)got, "waiting for", err);
        const ssize_t used =
            got ? http_reader_feed(&c->reader, piece, (size_t)got, &why) : http_reader_end(&c->reader, &why);
        if (used < 0) {
            (void)xk_fail(err, (int)used, "%s: %s", server_text(&c->target), why.text);
            if (c->fresh && !c->reader.begun && !c->target.tls && !c->target.socket_path)
                hint_tls(&c->target, err);
            return (int)used;
        }
        if (used < got) /* more than a reply: such a connection is not used again */
            c->reader.close = true;
    }
    return 0;
}

static int connect_now(struct http_client *c, const struct http_limits *limits, struct xk_err *err)
{
    const struct resolve_limits part = {.clock = c->clock,
                                        .root = c->root,
                                        .deadline_ns = XK_MIN(limits->connect_deadline_ns, limits->deadline_ns),
                                        .ignore_stop = limits->ignore_stop};

    if (c->stream && http_stream_idle(c->stream))
        return 0;
    disconnect(c);
    const int code = http_stream_open(&c->stream, &c->target, &part, err);
    const struct http_pin *const pin = code == 0 ? http_stream_pin(c->stream) : NULL;
    c->has_pin = pin != NULL;
    if (pin)
        c->pin = *pin;
    return code;
}

int http_client_send(struct http_client *c, struct http_reader **ret, const struct http_request *request,
                     const struct http_limits *limits, struct xk_err *err)
{
    struct resolve_limits all = {
        .clock = c->clock, .root = c->root, .deadline_ns = limits->deadline_ns, .ignore_stop = limits->ignore_stop};
    xk_auto(xk_buf_done) struct xk_buf b = XK_BUF_INIT(request->bytes + HTTP_REPLY_HEAD_MAX);

    c->sent = c->late = false;
    put_request(&b, c, request);
    if (b.error)
        return b.error == -ENOMEM ? xk_fail_memory(err) : xk_fail(err, -E2BIG, "the request is too large");
    int code = connect_now(c, limits, err);
    if (code < 0)
        return code;
    http_reader_done(&c->reader);
    http_reader_init(&c->reader, request->reply_max, strcmp(request->method, "HEAD") == 0, false);
    code = write_request(c, &b, &all, err);
    if (code == 0)
        code = read_reply(c, &all, limits->grace_ns, err);
    if (code < 0 || c->reader.close)
        disconnect(c);
    if (code == 0) {
        c->fresh = false;
        *ret = &c->reader;
    }
    return code;
}
