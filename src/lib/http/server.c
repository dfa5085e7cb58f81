/*
 * How a connection lives: bytes gather in the bufferevent, http-parser eats them until one request is whole, then it is
 * paused and the handler is called. Nothing further is parsed until the reply is given and has left for the kernel, so
 * what a client can make us hold is one head, one body and one reply.
 *
 * libevent's own evhttp was weighed: it hides the head's limits and times, and cannot refuse a body from its head
 * alone.
 */
#include "lib/http/server.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/listener.h>
#include <http_parser.h>

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/socket.h>

#define INPUT_BYTES_MAX  (64u << 10) /* not yet parsed */
#define LINGER_BYTES_MAX (1u << 20)
#define LINGER_S         2
#define SPARE_FILES      64
#define BACKLOG          1024
#define RATE_TICKS       10 /* a second */

struct header {
    size_t name, value; /* places in the head's text */
};

enum state {
    GREETING,  /* TLS is not agreed on yet */
    READING,   /* of a request, or between two */
    HANDLED,   /* the handler has it */
    SENDING,   /* a reply goes out */
    TAKEN,     /* speaks another protocol */
    LINGERING, /* all is said: what still comes is thrown away, so that the reply is not lost by a reset */
};

/* A connection and the exchange on it are one: there is never more than one request in work. */
struct http_exchange {
    struct http_server *server;
    struct http_exchange *next, **link;
    struct bufferevent *stream;
    struct event *head_timer;
    http_parser parser;
    unsigned tag;
    enum state state;
    unsigned refused; /* status that ends the request while it is still read; 0: none */
    bool begun;       /* the first byte of a request was seen */
    bool whole, close;
    bool plain;    /* no TLS: what is said can be written to the socket at once */
    bool parsing;  /* in go_on(), which looks at the state again afterwards */
    bool handling; /* the handler is running just now */
    struct http_spoil spoil;
    struct xk_buf head; /* target, names and values, each ended by NUL */
    size_t target_len;
    struct header headers[HTTP_HEADERS_MAX];
    unsigned header_count;
    bool in_value;
    char *path, *query;
    struct xk_buf body;
    size_t lingered, reply_bytes;
    uint64_t reply_order;
    struct ev_token_bucket_cfg *rate;
    void (*gone)(void *context);
    void *gone_context;
    void (*readable)(void *context, struct evbuffer *in);
};

struct listener {
    struct http_server *server;
    struct evconnlistener *listener;
    struct http_identity *identity;
    struct sockaddr_in address;
    enum http_hearing hearing;
    unsigned tag;
};

struct http_server {
    struct event_base *base;
    struct http_settings settings;
    struct listener listeners[HTTP_LISTENERS_MAX];
    unsigned listener_count, connections;
    size_t unsent; /* bytes of all replies that are being sent */
    uint64_t replies;
    struct http_exchange *first;
};

static void go_on(struct http_exchange *x);

/* ---- ends ---- */

static void pause_accepting(struct http_server *s, bool pause)
{
    for (unsigned i = 0; i < s->listener_count; i++) {
        struct listener *const l = &s->listeners[i];
        if (pause && l->listener)
            (void)evconnlistener_disable(l->listener);
        else if (l->listener && l->hearing == HTTP_HEARS)
            (void)evconnlistener_enable(l->listener);
    }
}

static void request_reset(struct http_exchange *x)
{
    xk_buf_done(&x->body);
    xk_buf_init(&x->body, x->server->settings.body_bytes_max + 1);
    xk_buf_done(&x->head);
    xk_buf_init(&x->head, 2 * HTTP_HEAD_BYTES_MAX);
    free(x->path);
    x->path = x->query = NULL;
    x->target_len = 0;
    x->header_count = 0;
    x->in_value = x->begun = x->whole = false;
    x->spoil = (struct http_spoil){0};
}

static void connection_free(struct http_exchange *x)
{
    struct http_server *const s = x->server;

    if (x->gone) {
        void (*const gone)(void *context) = x->gone;
        x->gone = NULL;
        gone(x->gone_context);
    }
    if (x->next)
        x->next->link = x->link;
    *x->link = x->next;
    s->unsent -= x->reply_bytes;
    if (x->head_timer)
        event_free(x->head_timer);
    bufferevent_free(x->stream);
    if (x->rate)
        ev_token_bucket_cfg_free(x->rate);
    xk_buf_done(&x->head);
    xk_buf_done(&x->body);
    free(x->path);
    free(x);
    if (s->connections-- == s->settings.connections)
        pause_accepting(s, false);
}

static void set_times(struct http_exchange *x, int read_s, int write_s)
{
    const struct timeval read = {.tv_sec = read_s}, write = {.tv_sec = write_s};

    (void)bufferevent_set_timeouts(x->stream, read_s ? &read : NULL, write_s ? &write : NULL);
}

/* ---- the parser's callbacks ---- */

static int part_add(struct http_exchange *x, const char *at, size_t len)
{
    xk_buf_add(&x->head, at, len);
    if (x->head.len > HTTP_HEAD_BYTES_MAX || x->head.error) {
        x->refused = 431;
        return -1;
    }
    return 0;
}

static int on_begin(http_parser *p)
{
    struct http_exchange *const x = p->data;

    request_reset(x);
    x->begun = true;
    return 0;
}

static int on_target(http_parser *p, const char *at, size_t len)
{
    struct http_exchange *const x = p->data;

    x->target_len += len;
    return part_add(x, at, len);
}

static int on_name(http_parser *p, const char *at, size_t len)
{
    struct http_exchange *const x = p->data;

    if (x->in_value || x->header_count == 0) {
        if (x->header_count == HTTP_HEADERS_MAX) {
            x->refused = 431;
            return -1;
        }
        xk_buf_add_char(&x->head, '\0');
        x->headers[x->header_count++] = (struct header){.name = x->head.len, .value = 0};
        x->in_value = false;
    }
    return part_add(x, at, len);
}

static int on_value(http_parser *p, const char *at, size_t len)
{
    struct http_exchange *const x = p->data;

    if (!x->in_value) {
        xk_buf_add_char(&x->head, '\0');
        x->headers[x->header_count - 1].value = x->head.len;
        x->in_value = true;
    }
    return part_add(x, at, len);
}

/* The server takes bodies only with a length, and looks at it before the first byte. */
static int on_head_end(http_parser *p)
{
    struct http_exchange *const x = p->data;
    const bool has_length = (p->flags & F_CONTENTLENGTH) != 0;

    xk_buf_add_char(&x->head, '\0');
    if (x->head.error)
        x->refused = 500;
    else if (p->http_major != 1)
        x->refused = 505;
    else if (p->flags & F_CHUNKED || ((p->method == HTTP_POST || p->method == HTTP_PUT) && !has_length))
        x->refused = 500;
    else if (has_length && p->content_length > x->server->settings.body_bytes_max)
        x->refused = 500;
    return x->refused ? -1 : 0;
}

static int on_body(http_parser *p, const char *at, size_t len)
{
    struct http_exchange *const x = p->data;

    xk_buf_add(&x->body, at, len);
    return x->body.error ? -1 : 0;
}

static int on_whole(http_parser *p)
{
    struct http_exchange *const x = p->data;

    x->whole = true;
    x->close = !http_should_keep_alive(p);
    http_parser_pause(p, 1);
    return 0;
}

static const struct http_parser_settings callbacks = {
    .on_message_begin = on_begin,
    .on_url = on_target,
    .on_header_field = on_name,
    .on_header_value = on_value,
    .on_headers_complete = on_head_end,
    .on_body = on_body,
    .on_message_complete = on_whole,
};

/* ---- replies ---- */

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
            if (x->state == SENDING && x->reply_bytes > 0 && (!slowest || x->reply_order < slowest->reply_order))
                slowest = x;
        if (!slowest)
            return;
        connection_free(slowest);
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

/*
 * Most replies fit into the socket's buffer: written at once they need neither a turn of the loop nor the two calls
 * that ask the kernel for a sign and take that back. That is half of what it costs to tell many clients of one event.
 */
static void send_now(struct http_exchange *x)
{
    struct evbuffer *const out = bufferevent_get_output(x->stream);

    if (x->plain && !x->rate) {
        (void)evbuffer_unfreeze(out, 1);
        (void)evbuffer_write(out, bufferevent_getfd(x->stream));
        (void)evbuffer_freeze(out, 1);
    }
    /* What is left, or an error, is the loop's business. */
    if (!x->plain || evbuffer_get_length(out) > 0)
        (void)bufferevent_enable(x->stream, EV_WRITE);
    else if (!x->parsing)
        bufferevent_trigger(x->stream, EV_WRITE, BEV_TRIG_DEFER_CALLBACKS | BEV_TRIG_IGNORE_WATERMARKS);
}

void http_reply(struct http_exchange *x, const struct http_reply *reply, struct xk_buf *body)
{
    struct evbuffer *const out = bufferevent_get_output(x->stream);
    static const char empty[1];
    struct xk_buf page = {0};

    assert(x->state == READING || x->state == HANDLED);
    if (body && body->error) {
        xk_buf_done(body);
        return http_refuse(x, 500);
    }
    if (body)
        page = *body, *body = (struct xk_buf){.max = body->max};
    x->gone = NULL;
    const bool cut = reply->cut || x->spoil.cut;
    const size_t cut_bytes = reply->cut ? reply->cut_bytes : x->spoil.cut_bytes;
    x->close |= reply->close || cut;
    make_room(x->server, page.len);
    x->state = SENDING;
    x->reply_bytes = page.len;
    x->reply_order = x->server->replies++;
    x->server->unsent += page.len;
    set_rate(x, reply->rate_byte_s ? reply->rate_byte_s : x->spoil.rate_byte_s);
    int code =
        evbuffer_add_printf(out, "HTTP/1.1 %u %s\r\n%s%s%s%s%s%scontent-length: %zu\r\nconnection: %s\r\n%s\r\n",
                            reply->status, reason(reply->status), x->server->settings.server_name ? "Server: " : "",
                            x->server->settings.server_name ? x->server->settings.server_name : "",
                            x->server->settings.server_name ? "\r\n" : "", reply->type ? "Content-Type: " : "",
                            reply->type ? reply->type : "", reply->type ? "\r\n" : "", page.len,
                            x->close ? "close" : "keep-alive", reply->headers ? reply->headers : "");
    const bool has_body = page.len > 0 && x->parser.method != HTTP_HEAD;
    /* Head and body leave in one writev: apart, the second would wait for an acknowledgement of the first. */
    if (code >= 0 && has_body)
        code = evbuffer_add_reference(out, page.data ? page.data : empty, cut ? XK_MIN(page.len, cut_bytes) : page.len,
                                      body_free, page.data);
    if (code < 0 || !has_body)
        free(page.data);
    if (code < 0)
        x->close = true;
    set_times(x, 0, HTTP_WRITE_S);
    send_now(x);
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
    x->state = LINGERING;
    x->lingered = LINGER_BYTES_MAX;
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
    assert(x->state == HANDLED);
    x->state = TAKEN;
    x->readable = raw->readable;
    (void)bufferevent_enable(x->stream, EV_WRITE);
    http_on_gone(x, raw->gone, raw->context);
    if (evbuffer_get_length(bufferevent_get_input(x->stream)) > 0)
        bufferevent_trigger(x->stream, EV_READ, BEV_TRIG_DEFER_CALLBACKS | BEV_TRIG_IGNORE_WATERMARKS);
}

int http_write(struct http_exchange *x, const void *bytes, size_t count)
{
    struct evbuffer *const out = bufferevent_get_output(x->stream);

    assert(x->state == TAKEN);
    if (count > HTTP_RAW_BYTES_MAX || evbuffer_get_length(out) > HTTP_RAW_BYTES_MAX - count)
        return -ENOBUFS;
    set_times(x, 0, HTTP_WRITE_S);
    return evbuffer_add(out, bytes, count) < 0 ? -ENOMEM : 0;
}

void http_finish(struct http_exchange *x)
{
    assert(x->state == TAKEN);
    x->gone = NULL;
    x->close = true;
    x->state = SENDING;
    set_times(x, 0, HTTP_WRITE_S);
    /* With nothing left to send no callback would come. */
    bufferevent_trigger(x->stream, EV_WRITE, BEV_TRIG_DEFER_CALLBACKS | BEV_TRIG_IGNORE_WATERMARKS);
}

/* ---- the request ---- */

const char *http_method(const struct http_exchange *x)
{
    return http_method_str((enum http_method)x->parser.method);
}

const char *http_path(const struct http_exchange *x)
{
    return x->path;
}

const char *http_query(const struct http_exchange *x)
{
    return x->query;
}

const char *http_header(const struct http_exchange *x, const char *name)
{
    for (unsigned i = 0; i < x->header_count; i++)
        if (x->headers[i].value && strcasecmp(x->head.data + x->headers[i].name, name) == 0)
            return x->head.data + x->headers[i].value;
    return NULL;
}

const char *http_body(const struct http_exchange *x, size_t *ret_bytes)
{
    *ret_bytes = x->body.len;
    return xk_buf_str(&x->body);
}

unsigned http_tag(const struct http_exchange *x)
{
    return x->tag;
}

void http_peer(char ret[INET_ADDRSTRLEN], const struct http_exchange *x)
{
    struct sockaddr_in peer = {0};
    socklen_t bytes = sizeof(peer);

    if (getpeername(bufferevent_getfd(x->stream), (struct sockaddr *)&peer, &bytes) < 0 || peer.sin_family != AF_INET ||
        !inet_ntop(AF_INET, &peer.sin_addr, ret, INET_ADDRSTRLEN))
        ret[0] = '\0';
}

/* ---- reading ---- */

static void hand_over(struct http_exchange *x)
{
    x->path = xk_strndup(x->head.data, x->target_len);
    x->state = HANDLED;
    event_del(x->head_timer);
    set_times(x, 0, 0);
    if (!x->path)
        return http_refuse(x, 500);
    char *const mark = strchr(x->path, '?');
    x->query = mark ? mark + 1 : x->path + strlen(x->path);
    if (mark)
        *mark = '\0';
    x->handling = true;
    x->server->settings.handle(x->server->settings.context, x);
    x->handling = false;
}

static void parse(struct http_exchange *x)
{
    struct evbuffer *const in = bufferevent_get_input(x->stream);

    for (size_t bytes; x->state == READING && (bytes = evbuffer_get_contiguous_space(in)) > 0;) {
        const bool began = x->begun;
        const char *const at = (const char *)evbuffer_pullup(in, (ev_ssize_t)bytes);
        const size_t eaten = http_parser_execute(&x->parser, &callbacks, at, bytes);
        const enum http_errno wrong = HTTP_PARSER_ERRNO(&x->parser);
        (void)evbuffer_drain(in, eaten);
        if (x->whole) {
            http_parser_pause(&x->parser, 0);
            hand_over(x);
            return;
        }
        if (wrong != HPE_OK) {
            x->state = HANDLED;
            return http_refuse(x, x->refused ? x->refused : wrong == HPE_HEADER_OVERFLOW ? 431 : 400);
        }
        if (x->begun && !began) {
            const struct timeval limit = {.tv_sec = HTTP_HEAD_S};
            (void)event_add(x->head_timer, &limit);
            set_times(x, HTTP_READ_S, HTTP_WRITE_S);
        }
        if (x->parser.upgrade) {
            x->state = HANDLED;
            return http_refuse(x, 501);
        }
    }
}

static void begin_lingering(struct http_exchange *x)
{
    SSL *const tls = bufferevent_openssl_get_ssl(x->stream);

    x->state = LINGERING;
    if (tls)
        (void)SSL_shutdown(tls);
    (void)shutdown(bufferevent_getfd(x->stream), SHUT_WR);
    set_times(x, LINGER_S, 0);
}

/* Everything that can be done now: a loop and not a recursion, however many requests were sent at once. */
static void go_on(struct http_exchange *x)
{
    for (;;) {
        if (x->state == SENDING && evbuffer_get_length(bufferevent_get_output(x->stream)) == 0) {
            x->server->unsent -= x->reply_bytes;
            x->reply_bytes = 0;
            if (x->plain)
                (void)bufferevent_disable(x->stream, EV_WRITE);
            if (x->close)
                return begin_lingering(x);
            x->state = READING;
            request_reset(x);
            set_times(x, HTTP_IDLE_S, HTTP_WRITE_S);
        }
        if (x->state != READING || evbuffer_get_length(bufferevent_get_input(x->stream)) == 0)
            return;
        x->parsing = true;
        parse(x);
        x->parsing = false;
        if (x->state != SENDING)
            return;
    }
}

static void on_read(struct bufferevent *stream, void *context)
{
    struct http_exchange *const x = context;

    if (x->state == LINGERING) {
        struct evbuffer *const in = bufferevent_get_input(stream);
        x->lingered += evbuffer_get_length(in);
        (void)evbuffer_drain(in, evbuffer_get_length(in));
        if (x->lingered >= LINGER_BYTES_MAX)
            connection_free(x);
        return;
    }
    if (x->state == TAKEN)
        return x->readable(x->gone_context, bufferevent_get_input(stream));
    go_on(x);
}

static void on_written(struct bufferevent *stream, void *context)
{
    go_on(context);
}

/* Who takes an HTTPS port for an HTTP one reads in plain words what is wrong. */
static void refuse_plain(struct http_exchange *x)
{
    static const char page[] = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\nconnection: close\r\n\r\n"
                               "<html><body><h1>HTTP 400 Bad Request</h1>This port speaks HTTPS.</body></html>";
    const unsigned long wrong = bufferevent_get_openssl_error(x->stream);

    if (ERR_GET_LIB(wrong) == ERR_LIB_SSL && ERR_GET_REASON(wrong) == SSL_R_HTTP_REQUEST)
        (void)send(bufferevent_getfd(x->stream), page, sizeof(page) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void on_change(struct bufferevent *stream, short what, void *context)
{
    struct http_exchange *const x = context;

    if (what & BEV_EVENT_CONNECTED) {
        x->state = READING;
        (void)event_del(x->head_timer);
        set_times(x, HTTP_IDLE_S, HTTP_WRITE_S);
        return;
    }
    if (x->state == GREETING && what & BEV_EVENT_ERROR)
        refuse_plain(x);
    if (what & BEV_EVENT_TIMEOUT && what & BEV_EVENT_READING && x->state == READING && x->begun) {
        x->state = HANDLED;
        http_refuse(x, 408);
        (void)bufferevent_enable(stream, EV_READ);
        return;
    }
    connection_free(x);
}

static void on_head_late(evutil_socket_t fd, short what, void *context)
{
    struct http_exchange *const x = context;

    if (x->state == GREETING)
        return connection_free(x);
    if (x->state != READING)
        return;
    x->state = HANDLED;
    http_refuse(x, 408);
}

static struct bufferevent *stream_make(struct event_base *base, int fd, struct http_identity *identity)
{
    if (!identity)
        return bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
    SSL_CTX *const context = http_identity_context(identity);
    SSL *const tls = context ? SSL_new(context) : NULL;
    struct bufferevent *const stream =
        tls ? bufferevent_openssl_socket_new(base, fd, tls, BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE) : NULL;
    if (!stream)
        SSL_free(tls);
    return stream;
}

void http_server_adopt(struct http_server *s, int fd, unsigned tag, struct http_identity *identity)
{
    const struct timeval greeting = {.tv_sec = HTTP_HANDSHAKE_S};
    struct http_exchange *const x = xk_zalloc(sizeof(*x));
    struct bufferevent *const stream = x ? stream_make(s->base, fd, identity) : NULL;

    if (stream)
        x->head_timer = evtimer_new(s->base, on_head_late, x);
    if (!stream || !x->head_timer) {
        if (stream)
            bufferevent_free(stream);
        else
            evutil_closesocket(fd);
        free(x);
        return;
    }
    x->server = s;
    x->tag = tag;
    x->stream = stream;
    http_parser_init(&x->parser, HTTP_REQUEST);
    x->parser.data = x;
    request_reset(x);
    x->next = s->first;
    x->link = &s->first;
    if (x->next)
        x->next->link = &x->next;
    s->first = x;
    bufferevent_setwatermark(stream, EV_READ, 0, INPUT_BYTES_MAX);
    bufferevent_setcb(stream, on_read, on_written, on_change, x);
    if (identity) {
        x->state = GREETING;
        (void)event_add(x->head_timer, &greeting);
    } else {
        x->state = READING;
        set_times(x, HTTP_IDLE_S, HTTP_WRITE_S);
    }
    /* A sign that it can be written to is asked for only when it could not: see send_now(). */
    x->plain = identity == NULL;
    (void)bufferevent_enable(stream, EV_READ);
    if (x->plain)
        (void)bufferevent_disable(stream, EV_WRITE);
    else
        (void)bufferevent_enable(stream, EV_WRITE);
    if (++s->connections == s->settings.connections)
        pause_accepting(s, true);
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *peer, int bytes,
                      void *context)
{
    const struct listener *const from = context;
    const int on = 1;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    http_server_adopt(from->server, fd, from->tag, from->identity);
}

/* ---- the server ---- */

static void say_nothing(int severity, const char *text)
{
}

/* More open files than the usual soft limit of 1,024, as far as the hard one allows. */
static unsigned raise_files(unsigned wanted)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return wanted;
    const rlim_t need = (rlim_t)wanted + SPARE_FILES;
    if (limit.rlim_cur < need) {
        limit.rlim_cur = XK_MIN(need, limit.rlim_max);
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    return limit.rlim_cur >= need             ? wanted
           : limit.rlim_cur > 2 * SPARE_FILES ? (unsigned)(limit.rlim_cur - SPARE_FILES)
                                              : SPARE_FILES;
}

int http_server_open(struct http_server **ret, struct event_base *base, const struct http_settings *settings,
                     struct xk_err *err)
{
    struct http_server *const s = xk_zalloc(sizeof(*s));

    if (!s)
        return xk_fail_memory(err);
    event_set_log_callback(say_nothing);
    s->base = base;
    s->settings = *settings;
    s->settings.connections = raise_files(settings->connections ? settings->connections : HTTP_CONNECTIONS);
    *ret = s;
    return 0;
}

void http_server_close(struct http_server *s)
{
    if (!s)
        return;
    while (s->first)
        connection_free(s->first);
    for (unsigned i = 0; i < s->listener_count; i++)
        if (s->listeners[i].listener)
            evconnlistener_free(s->listeners[i].listener);
    free(s);
}

/* Bind and begin to accept. */
static int listen_at(struct listener *l, struct xk_err *err)
{
    char text[INET_ADDRSTRLEN] = "";
    socklen_t bytes = sizeof(l->address);
    const int on = 1;

    (void)inet_ntop(AF_INET, &l->address.sin_addr, text, sizeof(text));
    xk_autoclose int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        bind(fd, (const struct sockaddr *)&l->address, bytes) < 0 || listen(fd, BACKLOG) < 0 ||
        getsockname(fd, (struct sockaddr *)&l->address, &bytes) < 0)
        return xk_fail_sys(err, -errno, "listening on %s port %u", text, ntohs(l->address.sin_port));
    l->listener =
        evconnlistener_new(l->server->base, on_accept, l, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, -1, fd);
    if (!l->listener)
        return xk_fail_memory(err);
    fd = -1;
    return 0;
}

int http_server_listen(struct http_server *s, struct sockaddr_in *address, unsigned tag, struct http_identity *identity,
                       struct xk_err *err)
{
    struct listener *const l = &s->listeners[s->listener_count];

    if (s->listener_count == HTTP_LISTENERS_MAX)
        return xk_fail(err, -E2BIG, "listening on more than %d addresses", HTTP_LISTENERS_MAX);
    *l = (struct listener){.server = s, .tag = tag, .identity = identity, .address = *address};
    const int code = listen_at(l, err);
    if (code < 0)
        return code;
    *address = l->address;
    s->listener_count++;
    return 0;
}

/* ---- servers that misbehave on purpose ---- */

void http_server_identify(struct http_server *s, unsigned tag, struct http_identity *identity)
{
    for (unsigned i = 0; i < s->listener_count; i++)
        if (s->listeners[i].tag == tag)
            s->listeners[i].identity = identity;
}

/* What is there already: ends, or neither is read nor written to. */
static void connections_hear(struct http_server *s, unsigned tag, enum http_hearing how)
{
    for (struct http_exchange *x = s->first, *next; x; x = next) {
        next = x->next;
        if (x->tag != tag)
            continue;
        if (how == HTTP_HEARS)
            (void)bufferevent_enable(x->stream, EV_READ | EV_WRITE);
        else if (how == HTTP_DEAF)
            (void)bufferevent_disable(x->stream, EV_READ | EV_WRITE);
        else if (x->handling || x->state == SENDING)
            x->close = true; /* who asked for this still hears that it is done */
        else
            connection_free(x);
    }
}

int http_server_hear(struct http_server *s, unsigned tag, enum http_hearing how, struct xk_err *err)
{
    int code = 0;

    for (unsigned i = 0; i < s->listener_count && code == 0; i++) {
        struct listener *const l = &s->listeners[i];
        if (l->tag != tag)
            continue;
        if (how == HTTP_HEARS && !l->listener)
            code = listen_at(l, err);
        if (code < 0)
            break;
        l->hearing = how;
        if (how == HTTP_GONE && l->listener) {
            evconnlistener_free(l->listener);
            l->listener = NULL;
        } else if (how == HTTP_DEAF && l->listener) {
            (void)evconnlistener_disable(l->listener);
        } else if (how == HTTP_HEARS) {
            (void)evconnlistener_enable(l->listener);
        }
    }
    if (code == 0)
        connections_hear(s, tag, how);
    return code;
}

unsigned http_server_connections(const struct http_server *s)
{
    return s->connections;
}
