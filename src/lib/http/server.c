/*
 * How a connection lives: bytes gather in the bufferevent, http-parser eats them until one request is whole, then it is
 * paused and the handler is called. Nothing further is parsed until the reply is given and has left for the kernel, so
 * what a client can make us hold is one head, one body and one reply.
 *
 * libevent's own evhttp was weighed: it hides the head's limits and times, and cannot refuse a body from its head
 * alone.
 */
#include "lib/http/server-parts.h"

#include "core/fs.h"

#include <event2/bufferevent_ssl.h>

#include <assert.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#define INPUT_BYTES_MAX (64u << 10) /* not yet parsed */
#define LINGER_S        2
#define SPARE_FILES     64
#define BACKLOG         1024

/* ---- ends ---- */

static void pause_accepting(struct http_server *s, bool pause)
{
    for (unsigned i = 0; i < s->listener_count; i++) {
        struct http_listener *const l = &s->listeners[i];
        if (pause && l->listener)
            (void)evconnlistener_disable(l->listener);
        else if (l->listener && l->hearing == HTTP_HEARS)
            (void)evconnlistener_enable(l->listener);
    }
}

void http_exchange_free(struct http_exchange *x)
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
    http_reply_unhold(x);
    xk_buf_done(&x->reply_head);
    free(x->page);
    xk_buf_done(&x->head);
    xk_buf_done(&x->body);
    free(x->path);
    free(x);
    if (s->connections-- == s->settings.connections)
        pause_accepting(s, false);
}

void http_exchange_times(struct http_exchange *x, int read_s, int write_s)
{
    const struct timeval read = {.tv_sec = read_s}, write = {.tv_sec = write_s};

    (void)bufferevent_set_timeouts(x->stream, read_s ? &read : NULL, write_s ? &write : NULL);
}

static void begin_lingering(struct http_exchange *x)
{
    SSL *const tls = bufferevent_openssl_get_ssl(x->stream);

    x->state = HTTP_LINGERING;
    if (tls)
        (void)SSL_shutdown(tls);
    (void)shutdown(bufferevent_getfd(x->stream), SHUT_WR);
    http_exchange_times(x, LINGER_S, 0);
}

/* Everything that can be done now: a loop and not a recursion, however many requests were sent at once. */
void http_exchange_go_on(struct http_exchange *x)
{
    for (;;) {
        if (x->state == HTTP_SENDING && !x->held_link && evbuffer_get_length(bufferevent_get_output(x->stream)) == 0) {
            x->server->unsent -= x->reply_bytes;
            x->reply_bytes = 0;
            if (x->plain)
                (void)bufferevent_disable(x->stream, EV_WRITE);
            if (x->close)
                return begin_lingering(x);
            x->state = HTTP_READING;
            http_request_reset(x);
            http_exchange_times(x, HTTP_IDLE_S, HTTP_WRITE_S);
        }
        if (x->state != HTTP_READING || evbuffer_get_length(bufferevent_get_input(x->stream)) == 0)
            return;
        x->parsing = true;
        http_request_parse(x);
        x->parsing = false;
        if (x->state != HTTP_SENDING)
            return;
    }
}

static void on_read(struct bufferevent *stream, void *context)
{
    struct http_exchange *const x = context;

    if (x->state == HTTP_LINGERING) {
        struct evbuffer *const in = bufferevent_get_input(stream);
        x->lingered += evbuffer_get_length(in);
        (void)evbuffer_drain(in, evbuffer_get_length(in));
        if (x->lingered >= HTTP_LINGER_BYTES_MAX)
            http_exchange_free(x);
        return;
    }
    if (x->state == HTTP_TAKEN)
        return x->readable(x->gone_context, bufferevent_get_input(stream));
    http_exchange_go_on(x);
}

static void on_written(struct bufferevent *stream, void *context)
{
    struct http_exchange *const x = context;

    if (x->state == HTTP_TAKEN && x->writable)
        return x->writable(x->gone_context);
    http_exchange_go_on(x);
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
        x->state = HTTP_READING;
        (void)event_del(x->head_timer);
        http_exchange_times(x, HTTP_IDLE_S, HTTP_WRITE_S);
        return;
    }
    if (x->state == HTTP_GREETING && what & BEV_EVENT_ERROR)
        refuse_plain(x);
    if (what & BEV_EVENT_TIMEOUT && what & BEV_EVENT_READING && x->state == HTTP_READING && x->begun) {
        x->state = HTTP_HANDLED;
        http_refuse(x, 408);
        (void)bufferevent_enable(stream, EV_READ);
        return;
    }
    http_exchange_free(x);
}

static void on_head_late(evutil_socket_t fd, short what, void *context)
{
    struct http_exchange *const x = context;

    if (x->state == HTTP_GREETING)
        return http_exchange_free(x);
    if (x->state != HTTP_READING)
        return;
    x->state = HTTP_HANDLED;
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
    x->head = XK_BUF_INIT(2 * HTTP_HEAD_BYTES_MAX);
    x->body = XK_BUF_INIT(s->settings.body_bytes_max + 1);
    x->reply_head = XK_BUF_INIT(HTTP_HEAD_BYTES_MAX);
    x->next = s->first;
    x->link = &s->first;
    if (x->next)
        x->next->link = &x->next;
    s->first = x;
    bufferevent_setwatermark(stream, EV_READ, 0, INPUT_BYTES_MAX);
    bufferevent_setcb(stream, on_read, on_written, on_change, x);
    if (identity) {
        x->state = HTTP_GREETING;
        (void)event_add(x->head_timer, &greeting);
    } else {
        x->state = HTTP_READING;
        http_exchange_times(x, HTTP_IDLE_S, HTTP_WRITE_S);
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
    const struct http_listener *const from = context;
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
    const uint64_t need = (uint64_t)wanted + SPARE_FILES, all = xk_fd_limit_raise(need);

    return all >= need ? wanted : all > 2 * SPARE_FILES ? (unsigned)(all - SPARE_FILES) : SPARE_FILES;
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
        http_exchange_free(s->first);
    for (unsigned i = 0; i < s->listener_count; i++)
        if (s->listeners[i].listener)
            evconnlistener_free(s->listeners[i].listener);
    http_ring_close(s->ring);
    free(s);
}

/* Bind and begin to accept. */
static int listen_at(struct http_listener *l, struct xk_err *err)
{
    const int on = 1;

    xk_autoclose int fd = socket(l->address.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        bind(fd, &l->address.any, l->address.bytes) < 0 || listen(fd, BACKLOG) < 0 ||
        getsockname(fd, &l->address.any, &l->address.bytes) < 0)
        return xk_fail_sys(err, -errno, "listening on %s", resolve_text(&l->address).s);
    l->listener =
        evconnlistener_new(l->server->base, on_accept, l, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, -1, fd);
    if (!l->listener)
        return xk_fail_memory(err);
    fd = -1;
    return 0;
}

int http_server_listen(struct http_server *s, struct resolve_address *address, unsigned tag,
                       struct http_identity *identity, struct xk_err *err)
{
    unsigned at = 0;

    while (at < s->listener_count && s->listeners[at].server) /* one that was forgotten leaves its place */
        at++;
    struct http_listener *const l = &s->listeners[at];
    if (at == HTTP_LISTENERS_MAX)
        return xk_fail(err, -E2BIG, "listening on more than %d addresses", HTTP_LISTENERS_MAX);
    *l = (struct http_listener){.server = s, .tag = tag, .identity = identity, .address = *address};
    const int code = listen_at(l, err);
    if (code < 0) {
        *l = (struct http_listener){0};
        return code;
    }
    *address = l->address;
    s->listener_count = XK_MAX(s->listener_count, at + 1);
    return 0;
}

/* ---- servers that misbehave on purpose ---- */

void http_server_identify(struct http_server *s, unsigned tag, struct http_identity *identity)
{
    for (unsigned i = 0; i < s->listener_count; i++)
        if (s->listeners[i].tag == tag && s->listeners[i].server)
            s->listeners[i].identity = identity;
}

void http_server_forget(struct http_server *s, unsigned tag)
{
    for (unsigned i = 0; i < s->listener_count; i++) {
        if (s->listeners[i].tag != tag || !s->listeners[i].server)
            continue;
        if (s->listeners[i].listener)
            evconnlistener_free(s->listeners[i].listener);
        s->listeners[i] = (struct http_listener){0};
    }
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
        else if (x->handling || x->state == HTTP_SENDING)
            x->close = true; /* who asked for this still hears that it is done */
        else
            http_exchange_free(x);
    }
}

int http_server_hear(struct http_server *s, unsigned tag, enum http_hearing how, struct xk_err *err)
{
    int code = 0;

    for (unsigned i = 0; i < s->listener_count && code == 0; i++) {
        struct http_listener *const l = &s->listeners[i];
        if (l->tag != tag || !l->server)
            continue;
        if (how == HTTP_HEARS && !l->listener)
            code = listen_at(l, err);
        if (code < 0)
            break;
        l->hearing = how;
        if ((how == HTTP_GONE || how == HTTP_SHUT) && l->listener) {
            evconnlistener_free(l->listener);
            l->listener = NULL;
        } else if (how == HTTP_DEAF && l->listener) {
            (void)evconnlistener_disable(l->listener);
        } else if (how == HTTP_HEARS) {
            (void)evconnlistener_enable(l->listener);
        }
    }
    if (code == 0 && how != HTTP_SHUT)
        connections_hear(s, tag, how);
    return code;
}

unsigned http_server_connections(const struct http_server *s)
{
    return s->connections;
}

uint64_t http_server_replies(const struct http_server *s)
{
    return s->replies;
}
