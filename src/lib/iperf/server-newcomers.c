/*
 * Connections that are no test yet.
 *
 * A new one says who it is by 37 bytes: the cookie of a test that waits for streams makes it a stream, any other begins
 * a test, waits for its turn or is told that the server is busy.
 */
#include "lib/iperf/server-inner.h"

#include <endian.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

void iperf_server_greet(const struct server *server, int fd, const char *cookie, unsigned place)
{
    struct iperf_greeting g = {.version = 1, .place = place, .echo = true};
    xk_auto(xk_buf_done) struct xk_buf b = XK_BUF_INIT(IPERF_GREETING_BYTES);
    const int8_t state = IPERF_GREETING;
    uint32_t length = 0;

    if (!server->s->program || !iperf_cookie_is_marked(cookie))
        return;
    snprintf(g.program, sizeof(g.program), "%s", server->s->program);
    xk_buf_add(&b, &state, sizeof(state));
    xk_buf_add(&b, &length, sizeof(length));
    iperf_greeting_encode(&b, &g);
    if (b.error)
        return;
    length = htobe32((uint32_t)(b.len - sizeof(state) - sizeof(length)));
    memcpy(b.data + sizeof(state), &length, sizeof(length));
    /* It has nothing unsent, so there is room. */
    (void)send(fd, b.data, b.len, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* ---- the line ---- */

/* A client that has its results is in nobody's way, even when its goodbye never comes. */
static unsigned tests_at_work(const struct server *server)
{
    unsigned count = 0;

    for (const struct session *x = server->sessions; x; x = x->next)
        count += x->step != AWAIT_DONE;
    return count;
}

static void leave_line(struct waiter *w)
{
    struct waiter **link = &w->server->line;

    while (*link != w)
        link = &(*link)->next;
    *link = w->next;
    if (w->server->events->in_line)
        w->server->events->in_line(w->server->events->context, &w->peer, 0);
    event_free(w->event);
    free(w);
}

/* A client in line has nothing to say; when it does, or when it closes, it is no client any more. */
static void waiter_speaks(evutil_socket_t fd, short what, void *context)
{
    struct waiter *const w = context;
    struct server *const server = w->server;
    char byte;

    if (what & EV_TIMEOUT)
        return iperf_server_greet(w->server, fd, w->cookie, w->place);
    if (recv(fd, &byte, 1, MSG_DONTWAIT) < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    leave_line(w);
    (void)close(fd);
    unsigned place = 1;
    for (struct waiter *o = server->line; o; o = o->next)
        o->place = place++;
}

/* returns whether there was room. */
static bool join_line(struct server *server, int fd, const char cookie[IPERF_COOKIE_BYTES])
{
    const struct timeval often = {.tv_sec = IPERF_WAITING_S};
    struct iperf_address local;
    struct waiter **link = &server->line;
    unsigned place = 1;

    for (; *link; link = &(*link)->next)
        place++;
    struct waiter *const w = place <= server->s->waiting ? xk_zalloc(sizeof(*w)) : NULL;
    if (!w)
        return false;
    w->event = event_new(server->base, fd, EV_READ | EV_PERSIST, waiter_speaks, w);
    if (!w->event || event_add(w->event, &often) < 0) {
        if (w->event)
            event_free(w->event);
        free(w);
        return false;
    }
    w->server = server;
    w->place = place;
    memcpy(w->cookie, cookie, IPERF_COOKIE_BYTES);
    iperf_socket_ends(fd, &local, &w->peer);
    *link = w;
    iperf_server_greet(server, fd, cookie, place);
    if (server->events->in_line)
        server->events->in_line(server->events->context, &w->peer, place);
    return true;
}

void iperf_server_next(struct server *server)
{
    char cookie[IPERF_COOKIE_BYTES];

    while (server->line && tests_at_work(server) < server->s->multi) {
        struct waiter *const w = server->line;
        const int fd = event_get_fd(w->event);
        memcpy(cookie, w->cookie, sizeof(cookie));
        leave_line(w);
        for (struct waiter *o = server->line; o; o = o->next)
            iperf_server_greet(server, event_get_fd(o->event), o->cookie, --o->place);
        iperf_session_begin(server, fd, cookie);
    }
}

static void cookie_known(struct server *server, int fd, bool is_sctp, const char cookie[IPERF_COOKIE_BYTES])
{
    const enum iperf_protocol protocol = is_sctp ? IPERF_SCTP : IPERF_TCP;
    const int8_t denied = IPERF_ACCESS_DENIED;

    if (server->s->secret && CRYPTO_memcmp(cookie + IPERF_SECRET_AT, server->s->secret, IPERF_SECRET_BYTES - 1) != 0) {
        (void)close(fd);
        return;
    }
    for (struct session *x = server->sessions; x; x = x->next) {
        if (x->step == AWAIT_STREAMS && x->test.params.protocol == protocol &&
            memcmp(x->test.cookie, cookie, IPERF_COOKIE_BYTES - 1) == 0)
            return iperf_session_adopt(x, fd);
    }
    if (!is_sctp && tests_at_work(server) < server->s->multi && !server->line && !server->finished)
        return iperf_session_begin(server, fd, cookie);
    if (!is_sctp && server->s->waiting && !server->finished && join_line(server, fd, cookie))
        return;
    (void)send(fd, &denied, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)close(fd);
}

static int leave(struct stranger *g)
{
    const int fd = event_get_fd(g->event);

    *g->link = g->next;
    if (g->next)
        g->next->link = g->link;
    g->server->stranger_count--;
    event_free(g->event);
    free(g);
    return fd;
}

/* Single bytes do not make the time longer. */
static void set_patience(struct stranger *g)
{
    const uint64_t now = iperf_now_ns();
    const uint64_t us = g->until_ns > now ? (g->until_ns - now) / 1000 : 1;
    const struct timeval left = {.tv_sec = (time_t)(us / 1000000), .tv_usec = (suseconds_t)(us % 1000000)};

    (void)event_add(g->event, &left);
}

static void stranger_readable(evutil_socket_t fd, short what, void *context)
{
    struct stranger *const g = context;
    struct server *const server = g->server;
    char cookie[IPERF_COOKIE_BYTES];

    const ssize_t n = what & EV_TIMEOUT ? 0 : recv(fd, g->cookie + g->have, sizeof(g->cookie) - g->have, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        (void)close(leave(g));
        return;
    }
    g->have += (size_t)n;
    if (g->have < sizeof(g->cookie))
        return set_patience(g);
    memcpy(cookie, g->cookie, sizeof(cookie));
    cookie[sizeof(cookie) - 1] = '\0'; /* what a stranger ends it with is anything */
    const bool is_sctp = g->is_sctp;
    cookie_known(server, leave(g), is_sctp, cookie);
}

static struct stranger *oldest(const struct server *server)
{
    struct stranger *g = server->strangers;

    while (g->next)
        g = g->next;
    return g;
}

void iperf_server_newcomer(evutil_socket_t fd, short what, void *context)
{
    struct server *const server = context;

    const int connection = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (connection < 0) {
        if ((errno == EMFILE || errno == ENFILE) && server->strangers)
            (void)close(leave(oldest(server)));
        return;
    }
    /* Whoever has been silent for longest makes room: those who mean it say their cookie at once. */
    if (server->stranger_count == server->strangers_max)
        (void)close(leave(oldest(server)));
    struct stranger *const g = xk_zalloc(sizeof(*g));
    struct event *const event =
        g ? event_new(server->base, connection, EV_READ | EV_PERSIST, stranger_readable, g) : NULL;
    if (!event) {
        free(g);
        (void)close(connection);
        return;
    }
    *g = (struct stranger){.server = server,
                           .event = event,
                           .is_sctp = fd == server->sctp_fd,
                           .until_ns = iperf_now_ns() + IPERF_HANDSHAKE_S * XK_NS_PER_S,
                           .next = server->strangers,
                           .link = &server->strangers};
    if (g->next)
        g->next->link = &g->next;
    server->strangers = g;
    server->stranger_count++;
    set_patience(g);
}

void iperf_server_send_away(struct server *server)
{
    while (server->strangers)
        (void)close(leave(server->strangers));
    while (server->line) {
        const int fd = event_get_fd(server->line->event);
        leave_line(server->line);
        (void)close(fd);
    }
}
