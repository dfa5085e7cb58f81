/*
 * Sockets as the user asked for them. What the kernel refuses is warned of, and the test goes on without it, as with
 * the stock program.
 */
#include "lib/iperf/iperf2-inner.h"
#include "lib/iperf/inner.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <string.h>

#define SINGLE_BACKLOG 1

static bool set_int(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof(value)) == 0;
}

struct iperf2_name iperf2_end_name(const struct iperf2_end *e)
{
    struct iperf2_name n = {.s = "0.0.0.0"};

    if (e->any.sa_family == AF_INET6) {
        (void)inet_ntop(AF_INET6, &e->v6.sin6_addr, n.s, sizeof(n.s));
        n.port = ntohs(e->v6.sin6_port);
    } else if (e->any.sa_family == AF_INET) {
        (void)inet_ntop(AF_INET, &e->v4.sin_addr, n.s, sizeof(n.s));
        n.port = ntohs(e->v4.sin_port);
    }
    return n;
}

bool iperf2_socket_same_host(const struct iperf2_end *a, const struct iperf2_end *b)
{
    if (a->any.sa_family != b->any.sa_family)
        return false;
    if (a->any.sa_family == AF_INET6)
        return memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr, sizeof(a->v6.sin6_addr)) == 0;
    return a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
}

bool iperf2_socket_same_end(const struct iperf2_end *a, const struct iperf2_end *b)
{
    return iperf2_socket_same_host(a, b) && a->v4.sin_port == b->v4.sin_port; /* at the same place in both */
}

void iperf2_socket_tcp(int fd, struct iperf2_tcp *ret)
{
    struct iperf_count c = {0};
    struct tcp_info info;
    socklen_t bytes = sizeof(info);

    memset(&info, 0, sizeof(info));
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &bytes) < 0)
        return;
    iperf_tcp_info(fd, &c);
    *ret = (struct iperf2_tcp){
        .valid = true,
        .retransmits = c.retransmits,
        .cwnd_kib = (uint32_t)(c.cwnd_bytes / 1024),
        .mss = info.tcpi_snd_mss,
        .rtt_us = (uint32_t)c.rtt_us,
        .rttvar_us = (uint32_t)c.rttvar_us,
    };
}

int iperf2_socket_window(int fd, bool sending)
{
    int value = 0;
    socklen_t bytes = sizeof(value);

    (void)getsockopt(fd, SOL_SOCKET, sending ? SO_SNDBUF : SO_RCVBUF, &value, &bytes);
    return value;
}

/* As large as it may be: a full socket loses datagrams, which says nothing about the network. */
void iperf2_socket_widen(int fd)
{
    if (!set_int(fd, SOL_SOCKET, SO_RCVBUFFORCE, IPERF_UDP_SOCKET_BYTES))
        (void)set_int(fd, SOL_SOCKET, SO_RCVBUF, IPERF_UDP_SOCKET_BYTES);
}

void iperf2_socket_tos(struct iperf2_test *t, int fd, int tos)
{
    int family = 0;
    socklen_t bytes = sizeof(family);

    (void)getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &bytes);
    if (family == AF_INET6 && !set_int(fd, IPPROTO_IPV6, IPV6_TCLASS, tos))
        iperf2_test_warn_errno(t, "setsockopt IPV6_TCLASS", errno);
    /* A socket of both families sends IPv4 with this one. */
    if (!set_int(fd, IPPROTO_IP, IP_TOS, tos) && family == AF_INET)
        iperf2_test_warn_errno(t, "setsockopt IP_TOS", errno);
}

static void set_tcp(struct iperf2_test *t, int fd)
{
    const struct iperf2_settings *const s = t->settings;

    if (s->mss && !set_int(fd, IPPROTO_TCP, TCP_MAXSEG, (int)s->mss))
        iperf2_test_warn(t, "WARNING: attempt to set TCP maxmimum segment size to %u failed", s->mss);
    if (s->nodelay && !set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1))
        iperf2_test_warn_errno(t, "setsockopt TCP_NODELAY", errno);
    if (s->clamp_bytes && !set_int(fd, IPPROTO_TCP, TCP_WINDOW_CLAMP, (int)s->clamp_bytes))
        iperf2_test_warn_errno(t, "setsockopt TCP_WINDOW_CLAMP", errno);
    if (s->prefetch_bytes && !set_int(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, (int)s->prefetch_bytes))
        iperf2_test_warn_errno(t, "setsockopt TCP_NOTSENT_LOWAT", errno);
    /* A peer that is gone without a word ends its flow within a minute. */
    (void)set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    (void)set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, 20);
    (void)set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, 10);
    (void)set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
    (void)set_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, 60000);
}

int iperf2_socket_open(struct iperf2_test *t, int family, bool client)
{
    const struct iperf2_settings *const s = t->settings;
    const int fd = socket(family, (s->udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        iperf2_test_warn_errno(t, "socket", errno);
        return -errno;
    }
    if (s->window_bytes && !set_int(fd, SOL_SOCKET, client ? SO_SNDBUF : SO_RCVBUF, (int)s->window_bytes))
        iperf2_test_warn(t, "WARNING: Unable to change the window size");
    if (s->congestion && !s->udp &&
        setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, s->congestion, (socklen_t)strlen(s->congestion)) < 0)
        iperf2_test_warn(t, "Attempt to set '%s' congestion control failed: %s", s->congestion, strerror(errno));
    if (s->ttl > 0 && !set_int(fd, IPPROTO_IP, IP_TTL, s->ttl))
        iperf2_test_warn_errno(t, "v4 ttl", errno);
    if (s->ttl > 0 && family == AF_INET6)
        (void)set_int(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, s->ttl);
    if (s->ttl > 0 && s->multicast && !set_int(fd, IPPROTO_IP, IP_MULTICAST_TTL, s->ttl) && family == AF_INET)
        iperf2_test_warn_errno(t, "multicast ttl", errno);
    if (s->ttl > 0 && s->multicast && family == AF_INET6)
        (void)set_int(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, s->ttl);
    if (s->tos > 0)
        iperf2_socket_tos(t, fd, s->tos);
    if (!s->udp)
        set_tcp(t, fd);
    if (s->pacing_bytes &&
        setsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &s->pacing_bytes, sizeof(s->pacing_bytes)) < 0)
        iperf2_test_warn_errno(t, "setsockopt SO_MAX_PACING_RATE", errno);
    if (s->dont_route && !set_int(fd, SOL_SOCKET, SO_DONTROUTE, 1))
        iperf2_test_warn_errno(t, "setsockopt SO_DONTROUTE", errno);
    if (s->device && setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, s->device, (socklen_t)strlen(s->device)) < 0) {
        const int error = errno;
        iperf2_test_warn_errno(t, "bind to device", error);
        (void)close(fd);
        return -error;
    }
    return fd;
}

/* Hear what goes to a group; on the device that was named, else on the one that the routes lead to. */
static int join_group(int fd, const struct resolve_address *group, const char *device)
{
    struct group_req request = {.gr_interface = device ? if_nametoindex(device) : 0};
    const int level = group->any.sa_family == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP;

    if (device && request.gr_interface == 0)
        return -errno;
    if (group->any.sa_family == AF_INET6 && !device)
        request.gr_interface = group->v6.sin6_scope_id;
    memcpy(&request.gr_group, &group->any, group->bytes);
    return setsockopt(fd, level, MCAST_JOIN_GROUP, &request, sizeof(request)) < 0 ? -errno : 0;
}

int iperf2_socket_listen(struct iperf2_test *t, uint16_t port, struct xk_err *err)
{
    const struct iperf2_settings *const s = t->settings;
    const int family = s->ipv6 ? AF_INET6 : AF_INET;
    struct resolve_addresses own = {.count = 1};
    struct resolve_address *const a = &own.list[0];

    if (s->bind_host) {
        const struct resolve_limits limits = {
            .clock = t->clock, .deadline_ns = RESOLVE_NO_DEADLINE, .root = s->root ? s->root : ""};
        const int code = resolve_name(&own, s->bind_host, port, family, &limits, err);
        if (code < 0)
            return code;
    } else {
        a->any.sa_family = (sa_family_t)family;
        a->bytes = s->ipv6 ? sizeof(a->v6) : sizeof(a->v4);
        if (s->ipv6)
            a->v6.sin6_port = htons(port);
        else
            a->v4.sin_port = htons(port);
    }
    const int fd = iperf2_socket_open(t, family, false);
    if (fd < 0)
        return xk_fail_sys(err, fd, "socket failed");
    (void)set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (s->ipv6)
        (void)set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
    if (s->udp) {
        (void)set_int(fd, SOL_SOCKET, SO_TIMESTAMPNS, 1);
        (void)set_int(fd, IPPROTO_IP, IP_PKTINFO, 1);
        if (s->ipv6)
            (void)set_int(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
    }
    const char *what = "listener bind failed";
    const int joined = s->multicast ? join_group(fd, a, s->device) : 0;
    if (joined < 0) {
        (void)close(fd);
        return xk_fail_sys(err, joined, "multicast join failed");
    }
    if (bind(fd, &a->any, a->bytes) == 0) {
        what = "listen failed";
        if (s->udp || listen(fd, s->single_client ? SINGLE_BACKLOG : SOMAXCONN) == 0)
            return fd;
    }
    const int error = errno;
    (void)close(fd);
    return xk_fail_sys(err, -error, "%s", what);
}

/* The device that has the address. */
static void find_device(const struct iperf2_end *local, char *ret, size_t bytes)
{
    struct ifaddrs *all = NULL;
    struct iperf2_end plain = *local;

    if (local->any.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&local->v6.sin6_addr)) {
        plain = (struct iperf2_end){.v4 = {.sin_family = AF_INET}};
        memcpy(&plain.v4.sin_addr, local->v6.sin6_addr.s6_addr + 12, 4);
    }
    if (getifaddrs(&all) < 0)
        return;
    for (const struct ifaddrs *i = all; i; i = i->ifa_next) {
        struct iperf2_end e = {0};
        if (!i->ifa_addr || i->ifa_addr->sa_family != plain.any.sa_family)
            continue;
        memcpy(&e, i->ifa_addr, plain.any.sa_family == AF_INET6 ? sizeof(e.v6) : sizeof(e.v4));
        if (iperf2_socket_same_host(&e, &plain)) {
            strncpy(ret, i->ifa_name, bytes - 1);
            break;
        }
    }
    freeifaddrs(all);
}

void iperf2_socket_describe(int fd, struct iperf2_about *about)
{
    about->fd = fd;
    about->local.bytes = about->peer.bytes = sizeof(about->local.v6);
    (void)getsockname(fd, &about->local.any, &about->local.bytes);
    (void)getpeername(fd, &about->peer.any, &about->peer.bytes);
    find_device(&about->local, about->device, sizeof(about->device));
    if (!about->udp)
        iperf2_socket_tcp(fd, &about->tcp);
}
