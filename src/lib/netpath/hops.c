/*
 * Routers, by datagrams whose life ends at each of them. One socket asks for all: every question goes to a port of its
 * own, and the error queue gives that port back with the router's complaint. No privilege is needed for it. Questions
 * are spread in time, because routers only complain so often.
 */
#include "lib/netpath/netpath.h"

#include "core/clock.h"

#include <errno.h>
#include <linux/errqueue.h>
#include <math.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define FIRST_PORT 33434
#define SPREAD_NS  (4 * XK_NS_PER_MS)
#define SMALL      32u
#define HEADERS_V4 28u
#define HEADERS_V6 48u

struct asking {
    int fd;
    bool six;
    const struct resolve_address *to;
    struct netpath_hop *hops;
    unsigned most;
    size_t payload_bytes;
    uint64_t asked_ns[NETPATH_HOPS_MAX * NETPATH_HOP_TRIES];
};

static uint64_t now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * XK_NS_PER_S + (uint64_t)now.tv_nsec;
}

static uint16_t port_of(const struct resolve_address *a)
{
    return ntohs(a->any.sa_family == AF_INET6 ? a->v6.sin6_port : a->v4.sin_port);
}

static void set_port(struct resolve_address *a, uint16_t port)
{
    if (a->any.sa_family == AF_INET6)
        a->v6.sin6_port = htons(port);
    else
        a->v4.sin_port = htons(port);
}

static bool same_host(const struct resolve_address *a, const struct resolve_address *b)
{
    if (a->any.sa_family != b->any.sa_family)
        return false;
    return a->any.sa_family == AF_INET6 ? IN6_ARE_ADDR_EQUAL(&a->v6.sin6_addr, &b->v6.sin6_addr)
                                        : a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
}

static int ask(struct asking *a, unsigned which)
{
    struct resolve_address to = *a->to;
    const int life = (int)(which / NETPATH_HOP_TRIES) + 1;
    const char payload[NETPATH_LARGE_MAX] = "xenkit net path";

    set_port(&to, (uint16_t)(FIRST_PORT + which));
    if (setsockopt(a->fd, a->six ? IPPROTO_IPV6 : IPPROTO_IP, a->six ? IPV6_UNICAST_HOPS : IP_TTL, &life,
                   sizeof(life)) < 0)
        return -errno;
    a->asked_ns[which] = now_ns();
    for (int i = 0; i < 2; i++) {
        /* An earlier complaint may be told here; it is in the queue as well. */
        if (sendto(a->fd, payload, a->payload_bytes, MSG_NOSIGNAL | MSG_DONTWAIT, &to.any, to.bytes) >= 0)
            return 0;
        if (errno == ENETUNREACH || errno == EPERM || errno == EACCES)
            return -errno;
    }
    return 0;
}

static void take_one(struct asking *a, const struct sock_extended_err *e, const struct resolve_address *by,
                     const struct resolve_address *asked)
{
    const unsigned which = (unsigned)port_of(asked) - FIRST_PORT;

    if (port_of(asked) < FIRST_PORT || which >= a->most * NETPATH_HOP_TRIES || !a->asked_ns[which])
        return;
    struct netpath_hop *const h = &a->hops[which / NETPATH_HOP_TRIES];
    const bool ended = a->six ? e->ee_type == ICMP6_TIME_EXCEEDED : e->ee_type == ICMP_TIME_EXCEEDED;
    const bool arrived = a->six ? e->ee_type == ICMP6_DST_UNREACH && e->ee_code == ICMP6_DST_UNREACH_NOPORT
                                : e->ee_type == ICMP_DEST_UNREACH && e->ee_code == ICMP_PORT_UNREACH;
    const bool too_large =
        a->six ? e->ee_type == ICMP6_PACKET_TOO_BIG : e->ee_type == ICMP_DEST_UNREACH && e->ee_code == ICMP_FRAG_NEEDED;
    h->by = *by;
    if (too_large) {
        h->told = e->ee_info;
        return;
    }
    h->answered = true;
    h->is_target = arrived && same_host(by, a->to);
    h->is_barrier = !ended && !h->is_target;
    h->rtt_ms[which % NETPATH_HOP_TRIES] = (double)(now_ns() - a->asked_ns[which]) / 1e6;
}

static void take_all(struct asking *a)
{
    for (;;) {
        union {
            char bytes[512];
            struct cmsghdr align;
        } control;
        struct resolve_address asked = {.bytes = sizeof(asked.v6)};
        char part[64];
        struct iovec vector = {part, sizeof(part)};
        struct msghdr m = {.msg_name = &asked.any,
                           .msg_namelen = sizeof(asked.v6),
                           .msg_iov = &vector,
                           .msg_iovlen = 1,
                           .msg_control = control.bytes,
                           .msg_controllen = sizeof(control.bytes)};
        if (recvmsg(a->fd, &m, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
            return;
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
            const size_t bytes = c->cmsg_len - CMSG_LEN(0);
            struct sock_extended_err e;
            struct resolve_address by = {.bytes = sizeof(by.v6)};
            if (!((c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) ||
                  (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR)) ||
                bytes < sizeof(e))
                continue;
            memcpy(&e, CMSG_DATA(c), sizeof(e));
            memcpy(&by.any, CMSG_DATA(c) + sizeof(e), XK_MIN(bytes - sizeof(e), sizeof(by.v6)));
            if (e.ee_origin == SO_EE_ORIGIN_ICMP || e.ee_origin == SO_EE_ORIGIN_ICMP6)
                take_one(a, &e, &by, &asked);
        }
    }
}

static void listen_until(struct asking *a, uint64_t until)
{
    for (uint64_t now = now_ns(); now < until && !xk_stop_signal(); now = now_ns()) {
        struct pollfd p = {.fd = a->fd};
        const uint64_t left = XK_MIN(until - now, 100 * XK_NS_PER_MS);
        const struct timespec patience = {.tv_nsec = (long)left};
        if (ppoll(&p, 1, &patience, NULL) > 0)
            take_all(a);
    }
}

/* How many hops there are, as far as is known by now. */
static unsigned count_hops(const struct asking *a)
{
    for (unsigned i = 0; i < a->most; i++) {
        if (a->hops[i].is_target || a->hops[i].is_barrier)
            return i + 1;
    }
    return a->most;
}

/* Has each hop up to the end answered each question? */
static bool all_known(const struct asking *a)
{
    const unsigned count = count_hops(a);

    if (!a->hops[count - 1].is_target && !a->hops[count - 1].is_barrier)
        return false;
    for (unsigned i = 0; i < count * NETPATH_HOP_TRIES; i++) {
        if (isnan(a->hops[i / NETPATH_HOP_TRIES].rtt_ms[i % NETPATH_HOP_TRIES]))
            return false;
    }
    return true;
}

int netpath_hops(struct netpath_hop ret[NETPATH_HOPS_MAX], const struct resolve_address *to, unsigned most,
                 uint32_t packet_bytes, uint64_t timeout_ns, struct xk_err *err)
{
    struct asking a = {
        .to = to, .six = to->any.sa_family == AF_INET6, .hops = ret, .most = XK_MIN(most, (unsigned)NETPATH_HOPS_MAX)};
    const uint32_t headers = a.six ? HEADERS_V6 : HEADERS_V4;
    const int on = 1, probe = a.six ? IPV6_PMTUDISC_PROBE : IP_PMTUDISC_PROBE;
    int code = 0;

    a.payload_bytes = packet_bytes > headers + SMALL ? XK_MIN(packet_bytes, NETPATH_LARGE_MAX) - headers : SMALL;
    for (unsigned i = 0; i < NETPATH_HOPS_MAX; i++)
        ret[i] = (struct netpath_hop){.rtt_ms = {NAN, NAN, NAN}};
    a.fd = socket(to->any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (a.fd < 0)
        return xk_fail_sys(err, -errno, "opening a socket for the routers' complaints");
    if (setsockopt(a.fd, a.six ? IPPROTO_IPV6 : IPPROTO_IP, a.six ? IPV6_RECVERR : IP_RECVERR, &on, sizeof(on)) < 0)
        code = -errno;
    if (packet_bytes)
        (void)setsockopt(a.fd, a.six ? IPPROTO_IPV6 : IPPROTO_IP, a.six ? IPV6_MTU_DISCOVER : IP_MTU_DISCOVER, &probe,
                         sizeof(probe));
    /* Each round asks every hop once; the first one shows how far it is. */
    for (unsigned round = 0; code == 0 && round < NETPATH_HOP_TRIES; round++) {
        for (unsigned i = 0; code == 0 && i < count_hops(&a); i++) {
            code = ask(&a, i * NETPATH_HOP_TRIES + round);
            listen_until(&a, now_ns() + SPREAD_NS);
        }
    }
    const uint64_t until = now_ns() + timeout_ns;
    while (code == 0 && now_ns() < until && !all_known(&a) && !xk_stop_signal())
        listen_until(&a, XK_MIN(until, now_ns() + 20 * XK_NS_PER_MS));
    (void)close(a.fd);
    if (code < 0)
        return xk_fail_sys(err, code, "asking the routers on the way");
    return xk_stop_signal() ? xk_fail(err, -EINTR, "stopped while asking the routers") : (int)count_hops(&a);
}

int netpath_route(struct resolve_address *ret_local, uint32_t *ret_mtu, const struct resolve_address *to,
                  struct xk_err *err)
{
    const bool six = to->any.sa_family == AF_INET6;
    struct resolve_address there = *to;
    int mtu = 0;
    socklen_t bytes = sizeof(mtu);

    if (port_of(&there) == 0)
        set_port(&there, FIRST_PORT);
    const int fd = socket(to->any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return xk_fail_sys(err, -errno, "opening a socket");
    *ret_local = (struct resolve_address){.bytes = sizeof(ret_local->v6)};
    int code = connect(fd, &there.any, there.bytes) < 0 ? -errno : 0;
    if (code == 0 && getsockname(fd, &ret_local->any, &ret_local->bytes) < 0)
        code = -errno;
    if (code == 0 && getsockopt(fd, six ? IPPROTO_IPV6 : IPPROTO_IP, six ? IPV6_MTU : IP_MTU, &mtu, &bytes) < 0)
        mtu = 0;
    (void)close(fd);
    *ret_mtu = mtu > 0 ? (uint32_t)mtu : 0;
    return code < 0 ? xk_fail_sys(err, code, "there is no route to %s", resolve_host_text(to).s) : 0;
}
