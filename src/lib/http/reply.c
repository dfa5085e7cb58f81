/*
 * Replies leave at once, with one system call for head and body: most fit into the socket's buffer, and then they need
 * neither a turn of the loop nor the calls that ask the kernel for a sign and take that back. What does not fit, and
 * all that is encrypted or slowed down, goes through the bufferevent.
 *
 * Between hold and release replies gather; a ring of the kernel's (io_uring) sends them all with one call. That is
 * nearly half of what it costs to tell hundreds of clients of one event: with a call for each, the first client that
 * wakes up takes the processor from those behind it. Where there is no ring each gets its call.
 */
#include "lib/http/server-parts.h"

#include <assert.h>
#include <liburing.h>
#include <string.h>
#include <sys/socket.h>

#define RATE_TICKS   10  /* a second */
#define RING_ENTRIES 256 /* replies for each call */
#define RING_MIN     8   /* fewer are sent one by one */

struct http_ring {
    bool opened; /* it was tried */
    bool works;
    struct io_uring ring;
    struct msghdr messages[RING_ENTRIES];
    struct http_exchange *exchanges[RING_ENTRIES];
};

/* ---- bounds ---- */

static const char *reason(unsigned status)
{
    switch (status) {
#define REASON(number, name, text)                                                                                     \
    case number:                                                                                                       \
        return #text;
        HTTP_STATUS_MAP(REASON)
#undef REASON
    }
    return "Unknown";
}

/* Slow readers of large replies: the memory that they can bind has an end, and then the slowest of them has to go. */
static void make_room(struct http_server *s, size_t bytes)
{
    while (s->unsent > HTTP_UNSENT_BYTES_MAX || bytes > HTTP_UNSENT_BYTES_MAX - s->unsent) {
        struct http_exchange *slowest = NULL;
        for (struct http_exchange *x = s->first; x; x = x->next)
            if (x->state == HTTP_SENDING && x->reply_bytes > 0 && (!slowest || x->reply_order < slowest->reply_order))
                slowest = x;
        if (!slowest)
            return;
        http_exchange_free(slowest);
    }
}

static void body_free(const void *data, size_t bytes, void *context)
{
    free(context);
}

/* Also later replies of the connection; one that was slowed down stays so until it asks for another rate. */
static void set_rate(struct http_exchange *x, uint32_t rate_byte_s)
{
    const struct timeval tick = {.tv_usec = 1000000 / RATE_TICKS};
    const size_t bytes = XK_MAX(rate_byte_s / RATE_TICKS, 1u);
    struct ev_token_bucket_cfg *const rate =
        rate_byte_s ? ev_token_bucket_cfg_new(EV_RATE_LIMIT_MAX, EV_RATE_LIMIT_MAX, bytes, bytes, &tick) : NULL;

    if (rate_byte_s == 0 && !x->rate)
        return;
    (void)bufferevent_set_rate_limit(x->stream, rate);
    if (x->rate)
        ev_token_bucket_cfg_free(x->rate);
    x->rate = rate;
}

/* ---- sending ---- */

/* What is to be sent now: head and body. */
static struct msghdr message_of(struct http_exchange *x)
{
    return (struct msghdr){.msg_iov = x->pieces, .msg_iovlen = x->pieces[1].iov_len ? 2 : 1};
}

/* The rest of a reply of which `sent` bytes have left is the loop's business; so is an error, which it will meet. */
static void send_rest(struct http_exchange *x, size_t sent)
{
    struct evbuffer *const out = bufferevent_get_output(x->stream);
    const struct iovec *const head = &x->pieces[0], *const body = &x->pieces[1];
    const size_t from = sent > head->iov_len ? sent - head->iov_len : 0;
    int code = 0;

    http_exchange_times(x, 0, HTTP_WRITE_S);
    /* Head and body leave in one call here, too: apart, the second would wait for an acknowledgement of the first. */
    if (sent < head->iov_len)
        code = evbuffer_add(out, (const char *)head->iov_base + sent, head->iov_len - sent);
    if (code == 0 && from < body->iov_len)
        code = evbuffer_add_reference(out, (const char *)body->iov_base + from, body->iov_len - from, body_free,
                                      XK_TAKE(x->page));
    if (code < 0)
        x->close = true;
    (void)bufferevent_enable(x->stream, EV_WRITE);
}

/* sent: bytes; negative: none, for whatever reason. */
static void send_done(struct http_exchange *x, ssize_t sent)
{
    const size_t done = sent > 0 ? (size_t)sent : 0;

    if (done < x->pieces[0].iov_len + x->pieces[1].iov_len)
        send_rest(x, done);
    else if (!x->parsing) /* else whoever parses goes on by itself */
        bufferevent_trigger(x->stream, EV_WRITE, BEV_TRIG_DEFER_CALLBACKS | BEV_TRIG_IGNORE_WATERMARKS);
    free(XK_TAKE(x->page));
    x->pieces[0] = x->pieces[1] = (struct iovec){0};
}

static void send_now(struct http_exchange *x)
{
    const struct msghdr message = message_of(x);

    send_done(x, sendmsg(bufferevent_getfd(x->stream), &message, MSG_NOSIGNAL | MSG_DONTWAIT));
}

static void send_start(struct http_exchange *x)
{
    struct http_server *const s = x->server;

    if (!x->plain || x->rate || evbuffer_get_length(bufferevent_get_output(x->stream)) > 0)
        return send_done(x, 0);
    if (!s->holding)
        return send_now(x);
    x->held_next = s->held;
    x->held_link = &s->held;
    if (x->held_next)
        x->held_next->held_link = &x->held_next;
    s->held = x;
    s->held_count++;
}

void http_reply_unhold(struct http_exchange *x)
{
    if (!x->held_link)
        return;
    if (x->held_next)
        x->held_next->held_link = x->held_link;
    *x->held_link = x->held_next;
    x->held_link = NULL;
    x->held_next = NULL;
    x->server->held_count--;
}

/* ---- many at once ---- */

static bool ring_open(struct http_server *s)
{
    if (!s->ring)
        s->ring = xk_zalloc(sizeof(*s->ring));
    if (s->ring && !s->ring->opened) {
        s->ring->opened = true;
        s->ring->works = io_uring_queue_init(RING_ENTRIES, &s->ring->ring, 0) == 0;
    }
    return s->ring && s->ring->works;
}

void http_ring_close(struct http_ring *ring)
{
    if (ring && ring->works)
        io_uring_queue_exit(&ring->ring);
    free(ring);
}

/*
 * As many of the held ones as the ring takes. Sockets that do not wait are written to at once, so all results are there
 * when the call returns.
 */
static void ring_send(struct http_server *s)
{
    struct http_ring *const r = s->ring;
    unsigned count = 0;

    for (struct io_uring_sqe *entry; s->held && count < RING_ENTRIES && (entry = io_uring_get_sqe(&r->ring)); count++) {
        struct http_exchange *const x = s->held;
        http_reply_unhold(x);
        r->exchanges[count] = x;
        r->messages[count] = message_of(x);
        io_uring_prep_sendmsg(entry, bufferevent_getfd(x->stream), &r->messages[count], MSG_NOSIGNAL | MSG_DONTWAIT);
        io_uring_sqe_set_data64(entry, count);
    }
    /* What the kernel did not take, since memory is out, shows in what is left. */
    (void)io_uring_submit_and_wait(&r->ring, count);
    const unsigned taken = count - io_uring_sq_ready(&r->ring);
    for (unsigned i = 0; i < taken; i++) {
        struct io_uring_cqe *result;
        int code;
        while ((code = io_uring_wait_cqe(&r->ring, &result)) == -EINTR)
            ;
        assert(code == 0);
        struct http_exchange *const x = r->exchanges[io_uring_cqe_get_data64(result)];
        const ssize_t sent = result->res;
        io_uring_cqe_seen(&r->ring, result);
        send_done(x, sent);
    }
    if (taken < count) {
        io_uring_queue_exit(&r->ring);
        r->works = false;
    }
    for (unsigned i = taken; i < count; i++)
        send_now(r->exchanges[i]);
}

void http_server_hold(struct http_server *s)
{
    s->holding = true;
}

void http_server_release(struct http_server *s)
{
    s->holding = false;
    while (s->held_count >= RING_MIN && ring_open(s))
        ring_send(s);
    while (s->held) {
        struct http_exchange *const x = s->held;
        http_reply_unhold(x);
        send_now(x);
    }
}

/* ---- replies ---- */

static void put_line(struct xk_buf *b, const char *name, const char *text)
{
    xk_buf_add_str(b, name);
    xk_buf_add_str(b, text);
    xk_buf_add_str(b, "\r\n");
}

/* bytes     of the body; -1: it ends with the connection. */
static void put_head(struct xk_buf *b, const struct http_exchange *x, const struct http_reply *reply, int64_t bytes)
{
    const char *const server = x->server->settings.server_name;

    xk_buf_add_str(b, "HTTP/1.1 ");
    xk_buf_add_u64(b, reply->status);
    put_line(b, " ", reason(reply->status));
    if (server)
        put_line(b, "Server: ", server);
    if (reply->type)
        put_line(b, "Content-Type: ", reply->type);
    if (bytes >= 0) {
        xk_buf_add_str(b, "content-length: ");
        xk_buf_add_u64(b, (uint64_t)bytes);
        xk_buf_add_str(b, "\r\n");
    }
    put_line(b, "connection: ", x->close ? "close" : "keep-alive");
    if (reply->headers)
        xk_buf_add_str(b, reply->headers);
    xk_buf_add_str(b, "\r\n");
}

void http_reply(struct http_exchange *x, const struct http_reply *reply, struct xk_buf *body)
{
    assert(x->state == HTTP_READING || x->state == HTTP_HANDLED);
    if (body && body->error) {
        xk_buf_done(body);
        return http_refuse(x, 500);
    }
    const size_t bytes = body ? body->len : 0;
    x->page = body ? XK_TAKE(body->data) : NULL;
    if (body)
        *body = XK_BUF_INIT(body->max);
    x->gone = NULL;
    const bool cut = reply->cut || x->spoil.cut;
    const size_t cut_bytes = reply->cut ? reply->cut_bytes : x->spoil.cut_bytes;
    x->close |= reply->close || cut;
    make_room(x->server, bytes);
    x->state = HTTP_SENDING;
    x->reply_bytes = bytes;
    x->reply_order = x->server->replies++;
    x->server->unsent += bytes;
    set_rate(x, reply->rate_byte_s ? reply->rate_byte_s : x->spoil.rate_byte_s);
    xk_buf_reset(&x->reply_head);
    put_head(&x->reply_head, x, reply, (int64_t)bytes);
    if (x->reply_head.error) { /* nothing can be said: the connection ends */
        xk_buf_reset(&x->reply_head);
        x->close = true;
        free(XK_TAKE(x->page));
    }
    x->pieces[0] = (struct iovec){.iov_base = x->reply_head.data, .iov_len = x->reply_head.len};
    if (x->page && bytes && x->parser.method != HTTP_HEAD)
        x->pieces[1] = (struct iovec){.iov_base = x->page, .iov_len = cut ? XK_MIN(bytes, cut_bytes) : bytes};
    send_start(x);
}

void http_refuse_with(struct http_exchange *x, unsigned status, const char *headers)
{
    struct xk_buf page = XK_BUF_INIT(1024);

    xk_buf_printf(&page, "<html><body><h1>HTTP %u %s</h1></body></html>", status,
                  status == 500 ? "Internal Error" : reason(status));
    if (page.error)
        xk_buf_reset(&page);
    http_reply(x, &(struct http_reply){.status = status, .type = "text/html", .headers = headers, .close = true},
               &page);
}

void http_refuse(struct http_exchange *x, unsigned status)
{
    http_refuse_with(x, status, NULL);
}

void http_drop(struct http_exchange *x)
{
    x->gone = NULL;
    x->close = true;
    x->state = HTTP_LINGERING;
    x->lingered = HTTP_LINGER_BYTES_MAX;
    /* Not now: the caller may be the handler, and a flush that is due at once ends it from the loop. */
    bufferevent_trigger(x->stream, EV_READ, BEV_TRIG_DEFER_CALLBACKS | BEV_TRIG_IGNORE_WATERMARKS);
}

void http_reset(struct http_exchange *x)
{
    const struct linger now = {.l_onoff = 1};

    (void)setsockopt(bufferevent_getfd(x->stream), SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    http_drop(x);
}

void http_spoil(struct http_exchange *x, const struct http_spoil *spoil)
{
    x->spoil = *spoil;
}

void http_on_gone(struct http_exchange *x, void (*gone)(void *context), void *context)
{
    x->gone = gone;
    x->gone_context = context;
}

/* ---- another protocol ---- */

void http_take(struct http_exchange *x, const struct http_raw *raw)
{
    assert(x->state == HTTP_HANDLED);
    x->state = HTTP_TAKEN;
    x->readable = raw->readable;
    x->writable = raw->writable;
    (void)bufferevent_enable(x->stream, EV_WRITE);
    http_on_gone(x, raw->gone, raw->context);
    if (evbuffer_get_length(bufferevent_get_input(x->stream)) > 0)
        bufferevent_trigger(x->stream, EV_READ, BEV_TRIG_DEFER_CALLBACKS | BEV_TRIG_IGNORE_WATERMARKS);
}

int http_stream(struct http_exchange *x, const struct http_reply *reply, const struct http_raw *raw)
{
    x->close = true;
    xk_buf_reset(&x->reply_head);
    put_head(&x->reply_head, x, reply, -1);
    if (x->reply_head.error)
        return x->reply_head.error;
    if (evbuffer_add(bufferevent_get_output(x->stream), x->reply_head.data, x->reply_head.len) < 0)
        return -ENOMEM;
    set_rate(x, x->spoil.rate_byte_s);
    http_take(x, raw);
    return 0;
}

int http_write(struct http_exchange *x, const void *bytes, size_t count)
{
    struct evbuffer *const out = bufferevent_get_output(x->stream);

    assert(x->state == HTTP_TAKEN);
    if (x->spoil.cut) {
        count = XK_MIN(count, x->spoil.cut_bytes);
        x->spoil.cut_bytes -= count;
    }
    if (count > HTTP_RAW_BYTES_MAX || evbuffer_get_length(out) > HTTP_RAW_BYTES_MAX - count)
        return -ENOBUFS;
    http_exchange_times(x, 0, HTTP_WRITE_S);
    return evbuffer_add(out, bytes, count) < 0 ? -ENOMEM : 0;
}

void http_expect(struct http_exchange *x, unsigned seconds)
{
    assert(x->state == HTTP_TAKEN);
    http_exchange_times(x, (int)seconds, HTTP_WRITE_S);
}

void http_finish(struct http_exchange *x)
{
    assert(x->state == HTTP_TAKEN);
    x->gone = NULL;
    x->close = true;
    x->state = HTTP_SENDING;
    http_exchange_times(x, 0, HTTP_WRITE_S);
    /* With nothing left to send no callback would come. */
    bufferevent_trigger(x->stream, EV_WRITE, BEV_TRIG_DEFER_CALLBACKS | BEV_TRIG_IGNORE_WATERMARKS);
}
