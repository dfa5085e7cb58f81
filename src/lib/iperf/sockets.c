/* Sockets as the user asked for them. What the kernel refuses ends the test, with iperf3's words for it. */
#include "lib/iperf/inner.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/in6.h>
#include <linux/sock_diag.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define PATIENCE_MS       20
#define NOTICE_IDLE_S     30
#define NOTICE_INTERVAL_S 10
#define NOTICE_COUNT      6

static bool set_int(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof(value)) == 0;
}

static int set_buffers(int fd, uint32_t bytes, struct xk_err *err)
{
    static const int names[] = {SO_SNDBUF, SO_RCVBUF};

    for (size_t i = 0; i < XK_COUNT(names); i++) {
        int actual = 0;
        socklen_t size = sizeof(actual);
        if (!set_int(fd, SOL_SOCKET, names[i], (int)bytes))
            return iperf_fail(err, IPERF_E_SETBUF, errno);
        if (getsockopt(fd, SOL_SOCKET, names[i], &actual, &size) == 0 && (uint32_t)actual < bytes)
            return iperf_fail(err, IPERF_E_SETBUF2, 0);
    }
    return 0;
}

/*
 * As large as it may be: a full socket loses datagrams, which says nothing about the network. The send buffer stays as
 * it is: a sender has to wait for a slow device's queue, which drops what a larger one would let through.
 */
static void widen(int fd)
{
    if (!set_int(fd, SOL_SOCKET, SO_RCVBUFFORCE, IPERF_UDP_SOCKET_BYTES))
        (void)set_int(fd, SOL_SOCKET, SO_RCVBUF, IPERF_UDP_SOCKET_BYTES);
}

static int prepare_tcp(int fd, const struct iperf_test *t, struct xk_err *err)
{
    const struct iperf_params *const p = &t->params;

    if (p->nodelay && !set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1))
        return iperf_fail(err, IPERF_E_SETNODELAY, errno);
    if (p->mss && !set_int(fd, IPPROTO_TCP, TCP_MAXSEG, (int)p->mss))
        return iperf_fail(err, IPERF_E_SETMSS, errno);
    /* A server without that algorithm says so and goes on with its own. */
    if (p->congestion[0] &&
        setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, p->congestion, (socklen_t)strlen(p->congestion)) < 0 && !t->server)
        return iperf_fail(err, IPERF_E_SETCONGESTION, errno);
    if (t->settings->snd_timeout_ms && !set_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, (int)t->settings->snd_timeout_ms))
        return iperf_fail(err, IPERF_E_SETUSERTIMEOUT, errno);
    return 0;
}

static int set_flow_label(int fd, uint32_t label, const struct sockaddr_in6 *to, struct xk_err *err)
{
    struct in6_flowlabel_req request = {
        .flr_label = htonl(label),
        .flr_action = IPV6_FL_A_GET,
        .flr_flags = IPV6_FL_F_CREATE,
        .flr_share = IPV6_FL_S_EXCL,
    };

    if (to)
        memcpy(&request.flr_dst, &to->sin6_addr, sizeof(request.flr_dst));
    if (setsockopt(fd, IPPROTO_IPV6, IPV6_FLOWLABEL_MGR, &request, sizeof(request)) < 0 ||
        !set_int(fd, IPPROTO_IPV6, IPV6_FLOWINFO_SEND, 1))
        return iperf_fail(err, IPERF_E_SETFLOW, errno);
    return 0;
}

int iperf_socket_prepare(int fd, const struct iperf_test *t, int family, struct xk_err *err)
{
    const struct iperf_params *const p = &t->params;
    int code = 0;

    if (p->tos && family == AF_INET6 && !set_int(fd, IPPROTO_IPV6, IPV6_TCLASS, (int)p->tos))
        return iperf_fail(err, IPERF_E_SETCOS, errno);
    if (p->tos && family == AF_INET && !set_int(fd, IPPROTO_IP, IP_TOS, (int)p->tos))
        return iperf_fail(err, IPERF_E_SETTOS, errno);
    if (p->protocol == IPERF_UDP)
        widen(fd);
    if (p->window_bytes)
        code = set_buffers(fd, p->window_bytes, err);
    if (code == 0 && p->protocol == IPERF_TCP)
        code = prepare_tcp(fd, t, err);
    if (code == 0 && p->protocol == IPERF_SCTP)
        code = iperf_sctp_prepare(fd, t, err);
    if (code < 0)
        return code;
    if (p->dont_fragment && family == AF_INET && !set_int(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO))
        return iperf_fail(err, IPERF_E_SETDONTFRAGMENT, errno);
    if (p->fq_rate_bps) {
        const uint64_t bytes_per_s = p->fq_rate_bps / 8;
        if (setsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &bytes_per_s, sizeof(bytes_per_s)) < 0)
            return iperf_fail(err, IPERF_E_SETPACING, errno);
    }
    if (p->flowlabel && !t->server && family == AF_INET6)
        code = set_flow_label(fd, p->flowlabel, NULL, err);
    return code;
}

int iperf_socket_device(int fd, const struct iperf_settings *s, int error, struct xk_err *err)
{
    if (s->bind_device &&
        setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, s->bind_device, (socklen_t)strlen(s->bind_device)) < 0)
        return iperf_fail(err, error, errno);
    return 0;
}

int iperf_socket_bind(int fd, const struct iperf_settings *s, const struct resolve_limits *limits, int family,
                      uint16_t port, int error, struct xk_err *err)
{
    struct resolve_addresses own = {0};

    const int bound = iperf_socket_device(fd, s, error, err);
    if (bound < 0)
        return bound;
    if (!s->bind_host && !port)
        return 0;
    (void)set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (s->bind_host) {
        struct xk_err why = {0};
        const int code = resolve_name(&own, s->bind_host, port, family, limits, &why);
        if (code < 0)
            return code == -EINTR ? code : iperf_fail_because(err, error, why.text);
    } else {
        own.count = 1;
        own.list[0].any.sa_family = (sa_family_t)family;
        own.list[0].bytes = family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
        if (family == AF_INET6)
            own.list[0].v6.sin6_port = htons(port);
        else
            own.list[0].v4.sin_port = htons(port);
    }
    return bind(fd, &own.list[0].any, own.list[0].bytes) < 0 ? iperf_fail(err, error, errno) : 0;
}

int iperf_socket_keepalive(int fd, const struct iperf_settings *s, struct xk_err *err)
{
    if (!s->keepalive)
        return 0;
    if (!set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1) ||
        (s->keepalive_idle_s && !set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, (int)s->keepalive_idle_s)) ||
        (s->keepalive_interval_s && !set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, (int)s->keepalive_interval_s)) ||
        (s->keepalive_count && !set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, (int)s->keepalive_count)))
        return iperf_fail(err, IPERF_E_SETCNTLKA, errno);
    return 0;
}

void iperf_socket_notice(int fd)
{
    (void)set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    (void)set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, NOTICE_IDLE_S);
    (void)set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, NOTICE_INTERVAL_S);
    (void)set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, NOTICE_COUNT);
}

void iperf_socket_patience(int fd)
{
    const struct timeval wait = {.tv_usec = PATIENCE_MS * 1000};
    const int flags = fcntl(fd, F_GETFL);

    (void)fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
}

static void address_of(const struct sockaddr_storage *from, struct iperf_address *ret)
{
    const struct sockaddr_in6 *const v6 = (const struct sockaddr_in6 *)from;
    const struct sockaddr_in *const v4 = (const struct sockaddr_in *)from;

    if (from->ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
        (void)inet_ntop(AF_INET, &v6->sin6_addr.s6_addr[12], ret->host, sizeof(ret->host));
        ret->port = ntohs(v6->sin6_port);
    } else if (from->ss_family == AF_INET6) {
        (void)inet_ntop(AF_INET6, &v6->sin6_addr, ret->host, sizeof(ret->host));
        ret->port = ntohs(v6->sin6_port);
    } else {
        (void)inet_ntop(AF_INET, &v4->sin_addr, ret->host, sizeof(ret->host));
        ret->port = ntohs(v4->sin_port);
    }
}

void iperf_socket_ends(int fd, struct iperf_address *ret_local, struct iperf_address *ret_remote)
{
    struct sockaddr_storage at = {0};
    socklen_t bytes = sizeof(at);

    if (getsockname(fd, (struct sockaddr *)&at, &bytes) == 0)
        address_of(&at, ret_local);
    bytes = sizeof(at);
    if (getpeername(fd, (struct sockaddr *)&at, &bytes) == 0)
        address_of(&at, ret_remote);
}

void iperf_socket_congestion(int fd, char ret[32])
{
    char name[32] = "";
    socklen_t bytes = sizeof(name) - 1;

    if (getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &bytes) == 0)
        snprintf(ret, 32, "%s", name);
}

uint32_t iperf_socket_mss(int fd)
{
    int mss = 0;
    socklen_t bytes = sizeof(mss);

    return getsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &mss, &bytes) == 0 && mss > 0 ? (uint32_t)mss : 0;
}

int64_t iperf_socket_drops(int fd)
{
    uint32_t memory[SK_MEMINFO_VARS] = {0};
    socklen_t bytes = sizeof(memory);

    return getsockopt(fd, SOL_SOCKET, SO_MEMINFO, memory, &bytes) == 0 && bytes >= sizeof(memory)
               ? memory[SK_MEMINFO_DROPS]
               : 0;
}

uint64_t iperf_socket_waiting(int fd, bool sending)
{
    int bytes = 0;

    return ioctl(fd, sending ? SIOCOUTQNSD : SIOCINQ, &bytes) == 0 && bytes > 0 ? (uint64_t)bytes : 0;
}
