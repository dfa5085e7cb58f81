/*
 * The server: an event loop with a deadline on every connection; streams run in threads of their own.
 *
 * The listener stays open all the time, so nobody meets a closed port between two tests; iperf3 itself opens it anew
 * for each.
 */
#include "lib/iperf/server-inner.h"

#include "core/fs.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define STOP_CHECK_MS    50
#define BACKLOG          1024
#define DESCRIPTORS_MORE 64                          /* that the process has besides */
#define DESCRIPTORS_TEST (2 * IPERF_STREAMS_MAX + 8) /* of a test */

/* ---- listening ---- */

static int bind_listener(const struct server *server, int fd, int protocol, int family, uint16_t port,
                         struct xk_err *err)
{
    const struct iperf_settings *const s = server->s;
    const struct resolve_limits limits = {.clock = server->clock, .deadline_ns = RESOLVE_NO_DEADLINE, .root = ""};
    /* The socket that hears both families can have addresses of both. */
    const int addresses = family == AF_INET6 && s->family != AF_INET6 ? AF_UNSPEC : family;

    if (protocol == IPPROTO_SCTP && s->xbind_count)
        return iperf_sctp_bind(fd, s, &limits, addresses, port, err);
    return iperf_socket_bind(fd, s, &limits, family, port, IPERF_E_LISTEN, err);
}

static int listen_on(const struct server *server, int type, int protocol, int family, uint16_t port, struct xk_err *err)
{
    const int on = 1, off = 0;
    const int fd = socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);

    if (fd < 0)
        return -errno;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (family == AF_INET6 && server->s->family != AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    int code = bind_listener(server, fd, protocol, family, port, err);
    if (code == 0 && type == SOCK_STREAM && listen(fd, BACKLOG) < 0)
        code = -errno;
    if (code < 0) {
        (void)close(fd);
        return code;
    }
    return fd;
}

static void close_listener(struct event **event, int *fd)
{
    if (*event)
        event_free(*event);
    if (*fd >= 0)
        (void)close(*fd);
    *event = NULL;
    *fd = -1;
}

static void close_listeners(struct server *server)
{
    close_listener(&server->tcp_event, &server->tcp_fd);
    close_listener(&server->udp_event, &server->udp_fd);
    close_listener(&server->sctp_event, &server->sctp_fd);
}

static int family_of(const struct iperf_settings *s)
{
    if (s->family != AF_UNSPEC)
        return s->family;
    if (!s->bind_host)
        return AF_INET6; /* hears IPv4, too */
    return strchr(s->bind_host, ':') ? AF_INET6 : AF_INET;
}

/* returns 0; -ENOMEM. */
static int await(struct server *server, struct event **ret, int fd, event_callback_fn callback)
{
    *ret = event_new(server->base, fd, EV_READ | EV_PERSIST, callback, server);
    return *ret && event_add(*ret, NULL) == 0 ? 0 : -ENOMEM;
}

static int listen_tcp(const struct server *server, uint16_t port, struct xk_err *err)
{
    return listen_on(server, SOCK_STREAM, server->is_mptcp ? IPPROTO_MPTCP : 0, server->family, port, err);
}

int iperf_server_listen(struct server *server, uint16_t port, struct xk_err *err)
{
    struct sockaddr_storage at = {0};
    socklen_t bytes = sizeof(at);

    close_listeners(server);
    server->family = family_of(server->s);
    server->tcp_fd = listen_tcp(server, port, err);
    if (server->tcp_fd == -EAFNOSUPPORT && server->s->family == AF_UNSPEC && server->family == AF_INET6) {
        server->family = AF_INET; /* a kernel without IPv6 */
        server->tcp_fd = listen_tcp(server, port, err);
    }
    if (server->tcp_fd < 0)
        return server->tcp_fd <= -IPERF_FAIL ? server->tcp_fd : iperf_fail(err, IPERF_E_LISTEN, -server->tcp_fd);
    if (getsockname(server->tcp_fd, (struct sockaddr *)&at, &bytes) == 0)
        server->port = ntohs(server->family == AF_INET6 ? ((struct sockaddr_in6 *)&at)->sin6_port
                                                        : ((struct sockaddr_in *)&at)->sin_port);
    server->udp_fd = listen_on(server, SOCK_DGRAM, 0, server->family, server->port, err);
    if (server->udp_fd < 0)
        return server->udp_fd <= -IPERF_FAIL ? server->udp_fd : iperf_fail(err, IPERF_E_LISTEN, -server->udp_fd);
    if (await(server, &server->tcp_event, server->tcp_fd, iperf_server_newcomer) < 0 ||
        await(server, &server->udp_event, server->udp_fd, iperf_server_datagram) < 0)
        return iperf_fail(err, IPERF_E_LISTEN, ENOMEM);
    return 0;
}

static int listen_sctp(struct server *server, struct xk_err *err)
{
    if (server->sctp_fd < 0)
        server->sctp_fd = listen_on(server, SOCK_STREAM, IPPROTO_SCTP, server->family, server->port, err);
    if (server->sctp_fd < 0)
        return server->sctp_fd;
    return server->sctp_event ? 0 : await(server, &server->sctp_event, server->sctp_fd, iperf_server_newcomer);
}

static int listen_mptcp(struct server *server)
{
    const int probe = socket(server->family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP);

    if (probe < 0)
        return -errno;
    (void)close(probe);
    server->is_mptcp = true;
    server->code = iperf_server_listen(server, server->port, server->err);
    return server->code;
}

int iperf_server_listen_for(struct server *server, const struct iperf_test *t, struct xk_err *err)
{
    const struct iperf_params *const p = &t->params;
    int code = 0;

    if (p->protocol == IPERF_UDP)
        return 0;
    if (p->protocol == IPERF_SCTP)
        code = listen_sctp(server, err);
    else if (p->mptcp && !server->is_mptcp)
        code = listen_mptcp(server);
    if (code < 0 || !p->window_bytes)
        return code;
    server->has_window = true;
    return iperf_socket_prepare(p->protocol == IPERF_SCTP ? server->sctp_fd : server->tcp_fd, t, AF_UNSPEC, err);
}

void iperf_server_give_back(struct server *server)
{
    if (!server->has_window && server->is_mptcp == server->s->params.mptcp)
        return;
    for (const struct session *x = server->sessions; x; x = x->next) {
        if (x->step == AWAIT_STREAMS)
            return; /* it comes here, too */
    }
    server->has_window = false;
    server->is_mptcp = server->s->params.mptcp;
    server->code = iperf_server_listen(server, server->port, server->err);
}

/* ---- all of it ---- */

static void look_around(evutil_socket_t fd, short what, void *context)
{
    struct server *const server = context;
    const uint64_t now = iperf_now_ns();

    if (server->s->idle_timeout_s && !server->sessions &&
        now - server->quiet_since_ns > server->s->idle_timeout_s * XK_NS_PER_S) {
        server->quiet_since_ns = now;
        server->code = iperf_server_listen(server, server->port, server->err);
    }
}

int iperf_server(const struct iperf_settings *s, const struct iperf_events *events, const struct xk_clock *clock,
                 struct xk_random *random, struct xk_err *err)
{
    struct server server = {.s = s,
                            .events = events,
                            .clock = clock,
                            .tcp_fd = -1,
                            .udp_fd = -1,
                            .sctp_fd = -1,
                            .is_mptcp = s->params.mptcp,
                            .err = err,
                            .quiet_since_ns = iperf_now_ns()};
    const struct timeval often = {.tv_usec = STOP_CHECK_MS * 1000};

    const uint64_t descriptors =
        xk_fd_limit_raise(DESCRIPTORS_MORE + IPERF_PENDING_MAX + (uint64_t)s->multi * DESCRIPTORS_TEST);
    server.strangers_max = (unsigned)XK_MIN((uint64_t)IPERF_PENDING_MAX, descriptors / 2);
    server.base = event_base_new();
    if (!server.base)
        return iperf_fail(err, IPERF_E_INITTEST, ENOMEM);
    server.code = iperf_server_listen(&server, s->port, err);
    server.stop_timer = event_new(server.base, -1, EV_PERSIST, look_around, &server);
    if (server.code == 0 && (!server.stop_timer || event_add(server.stop_timer, &often) < 0))
        server.code = iperf_fail(err, IPERF_E_INITTEST, ENOMEM);
    if (server.code == 0)
        events->listening(events->context, s, server.port, 1);
    while (server.code == 0 && !server.finished && !xk_stop_signal())
        (void)event_base_loop(server.base, EVLOOP_ONCE);
    if (server.code == 0 && !server.finished)
        server.code = xk_fail(err, -EINTR, "interrupt - the server has terminated");
    while (server.sessions)
        iperf_session_abort(server.sessions);
    iperf_server_send_away(&server);
    /* The last bytes of a test that just ended. */
    for (int i = 0; server.finished && i < 20; i++)
        (void)event_base_loop(server.base, EVLOOP_NONBLOCK);
    close_listeners(&server);
    if (server.stop_timer)
        event_free(server.stop_timer);
    event_base_free(server.base);
    return server.code;
}
