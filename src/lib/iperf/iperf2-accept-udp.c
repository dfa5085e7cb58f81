/*
 * Datagrams of peers that are not known yet: each peer gets a socket of its own, connected to it.
 *
 * What came for a new socket between its bind and its connect may be another peer's; so both sockets are emptied here
 * first, and only then does the flow's thread begin: nothing is lost, and nothing comes in the wrong order. (Connecting
 * the listener itself and listening anew, the other way, loses what is queued in it.)
 *
 * What goes to a group comes to every socket that is bound to it. So there the listener itself is lent to the one flow
 * that there is, connected to its peer until that is over.
 */
#include "lib/iperf/iperf2-inner.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#define DRAIN_MAX     4096 /* datagrams at once; the rest in the next round */
#define CONTROL_BYTES 256

struct arrival {
    struct iperf2_end from, to; /* to: bytes 0 when it is not known */
    int64_t utc_ns;
    ssize_t bytes;
};

/* One datagram that is there. returns false: there is none. */
static bool receive(int fd, uint8_t *data, size_t room, struct arrival *ret)
{
    union {
        char bytes[CONTROL_BYTES];
        struct cmsghdr align;
    } control;
    struct iovec vector = {data, room};
    struct msghdr m = {.msg_name = &ret->from.v6,
                       .msg_namelen = sizeof(ret->from.v6),
                       .msg_iov = &vector,
                       .msg_iovlen = 1,
                       .msg_control = control.bytes,
                       .msg_controllen = sizeof(control.bytes)};
    struct timespec at = {0};

    *ret = (struct arrival){.bytes = -1};
    for (int tries = 0; ret->bytes < 0; tries++) {
        ret->bytes = recvmsg(fd, &m, MSG_DONTWAIT);
        /* An error of an earlier answer stands in the way of what has come. */
        if (ret->bytes < 0 && (errno != ECONNREFUSED || tries == 16))
            return false;
    }
    ret->from.bytes = m.msg_namelen;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
        struct in_pktinfo v4;
        struct in6_pktinfo v6;
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) {
            memcpy(&at, CMSG_DATA(c), sizeof(at));
        } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO && ret->from.any.sa_family == AF_INET) {
            memcpy(&v4, CMSG_DATA(c), sizeof(v4));
            ret->to.v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = v4.ipi_addr};
            ret->to.bytes = sizeof(ret->to.v4);
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            memcpy(&v6, CMSG_DATA(c), sizeof(v6));
            ret->to.v6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_addr = v6.ipi6_addr};
            if (IN6_IS_ADDR_LINKLOCAL(&v6.ipi6_addr))
                ret->to.v6.sin6_scope_id = v6.ipi6_ifindex;
            ret->to.bytes = sizeof(ret->to.v6);
        }
    }
    if (at.tv_sec == 0)
        (void)clock_gettime(CLOCK_REALTIME, &at);
    ret->utc_ns = (int64_t)at.tv_sec * (int64_t)XK_NS_PER_S + at.tv_nsec;
    return true;
}

static struct iperf2_flow *flow_of(struct iperf2_test *t, const struct iperf2_end *peer, uint16_t port)
{
    for (unsigned i = 0; i < t->flow_count; i++) {
        struct iperf2_flow *const f = t->flows[i];
        if (f->about.udp && !f->about.connected_back && iperf2_socket_same_end(&f->about.peer, peer) &&
            iperf2_end_name(&f->about.local).port == port)
            return f;
    }
    return NULL;
}

static int lend_listener(struct iperf2_test *t, const struct iperf2_listener *l, const struct arrival *a)
{
    if (connect(l->fd, &a->from.any, a->from.bytes) == 0)
        return dup(l->fd);
    iperf2_test_warn_errno(t, "connect UDP", errno);
    return -1;
}

void iperf2_accept_anybody(const struct iperf2_test *t)
{
    const struct sockaddr nobody = {.sa_family = AF_UNSPEC};

    for (unsigned i = 0; i < t->listener_count; i++)
        (void)connect(t->listeners[i].fd, &nobody, sizeof(nobody));
}

/* A socket of the peer's own. returns it; -1. */
static int own_socket(struct iperf2_test *t, const struct iperf2_listener *l, const struct arrival *a)
{
    struct iperf2_end own = a->to;
    const int fd = iperf2_socket_open(t, a->from.any.sa_family, false);

    if (fd < 0)
        return -1;
    if (own.bytes == 0) {
        own.bytes = sizeof(own.v6);
        (void)getsockname(l->fd, &own.any, &own.bytes);
    }
    own.v4.sin_port = htons(l->port);
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    (void)setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &(int){1}, sizeof(int));
    if (own.any.sa_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &(int){0}, sizeof(int));
    if (bind(fd, &own.any, own.bytes) < 0 || connect(fd, &a->from.any, a->from.bytes) < 0) {
        iperf2_test_warn_errno(t, "connect UDP", errno);
        (void)close(fd);
        return -1;
    }
    return fd;
}

static void take_datagram(struct iperf2_test *t, const struct iperf2_listener *l, const uint8_t *data,
                          const struct arrival *a)
{
    struct iperf2_flow *f = flow_of(t, &a->from, l->port);
    struct iperf2_header h = {0};
    struct iperf2_datagram d;

    if (!f) {
        if (t->settings->compatible || t->only_peer)
            h.wide = true; /* nothing stands in these, but all that send so number them so */
        else if (iperf2_header_decode(&h, data, (size_t)a->bytes, true, NULL) < 0)
            return;
        /* The last ones of a test that is over, sent again. */
        if (!iperf2_datagram_decode(&d, data, (size_t)a->bytes, h.wide) || d.number <= 0)
            return;
        if ((t->only_peer && !iperf2_socket_same_host(&a->from, &t->peer)) || t->accepts_left == 0)
            return;
        /* One client at a time. */
        if (t->settings->multicast && t->flow_count > 0)
            return;
        const int fd = t->settings->multicast ? lend_listener(t, l, a) : own_socket(t, l, a);
        f = fd >= 0 ? iperf2_accept_take(t, fd, &h, 0, a->utc_ns) : NULL;
        if (!f)
            return;
    }
    if (f->about.sending || atomic_load(&f->ended))
        return;
    pthread_mutex_lock(&f->lock);
    const bool last = iperf2_flow_datagram(f, data, (size_t)a->bytes, a->utc_ns);
    pthread_mutex_unlock(&f->lock);
    if (last)
        atomic_store(&f->saw_last, true);
}

/* What came to the new sockets before they were connected, whoever it is from. */
static void drain_new(struct iperf2_test *t, const struct iperf2_listener *l, uint8_t *data, int64_t connected_utc_ns)
{
    for (unsigned i = 0; i < t->flow_count; i++) {
        const struct iperf2_flow *const f = t->flows[i];
        struct arrival a;
        if (f->started || f->about.sending || !f->about.udp)
            continue;
        for (int n = 0; n < DRAIN_MAX && receive(f->fd, data, IPERF2_UDP_MAX, &a); n++) {
            take_datagram(t, l, data, &a);
            if (a.utc_ns > connected_utc_ns)
                break;
        }
    }
}

void iperf2_accept_datagrams(struct iperf2_test *t, const struct iperf2_listener *l)
{
    xk_autofree uint8_t *data = xk_alloc(IPERF2_UDP_MAX);
    struct arrival a;

    for (int n = 0; data && n < DRAIN_MAX && receive(l->fd, data, IPERF2_UDP_MAX, &a); n++)
        take_datagram(t, l, data, &a);
    if (data)
        drain_new(t, l, data, t->clock->utc_ns(t->clock));
}
