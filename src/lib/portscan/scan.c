/*
 * Ordinary connects and datagrams, so no privilege is needed. The kernel's error queue tells who refused: a closed port
 * answers a SYN with a reset, so any ICMP message in its place comes from a firewall or a router. Kernels before 5.10
 * keep no such record for TCP; there the error number decides, and host-unreachable from a host that answered on
 * another port is a firewall's word.
 *
 * One connect is given longer than the others when the host says nothing at all: to find out that nobody in the own
 * network has its address takes the kernel three seconds.
 */
#include "lib/portscan/portscan.h"

#include "core/fs.h"

#include <linux/errqueue.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <string.h>
#include <sys/epoll.h>

#define SPARE_FDS      64
#define EVENTS         256
#define TURN           32 /* asked before answers are looked at, so that times are those of the network */
#define ASK_AGAIN_PART 2  /* a datagram goes out again after this part of the time */
#define NEIGHBOUR_NS   (3300 * XK_NS_PER_MS) /* the kernel asks three times, a second apart, who has an address */

struct probe {
    int fd; /* -1: free */
    struct portscan_port *port;
    uint64_t began_ns, until_ns;
    bool asked_again;
    bool extra; /* not one of the list's turn: see NEIGHBOUR_NS */
};

struct scan {
    struct portscan_list *list;
    const struct resolve_address *address;
    const struct portscan_settings *settings;
    const struct xk_clock *clock;
    struct probe *probes;
    unsigned parallel, busy;
    size_t *order, next;
    int epoll;
    bool heard; /* anything from the host itself */
};

/* ---- what is said to UDP ports, so that those who listen answer ---- */

struct greeting {
    uint16_t port;
    size_t bytes;
    uint8_t data[56];
};

static const struct greeting greetings[] = {
    /* DNS: who serves the root? */
    {53, 17, {0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1}},
    /* RPC: a call of portmapper's procedure 0, which does nothing */
    {111, 40, {0x78, 0x65, 0x6e, 0x6b, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1, 0x86, 0xa0, 0, 0, 0, 2}},
    /* NTP: a client's question */
    {123, 48, {0x23, [40] = 0xde, 0xad, 0xbe, 0xef, 1, 2, 3, 4}},
    /* RPC: the same to NFS version 3 */
    {2049, 40, {0x78, 0x65, 0x6e, 0x6b, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1, 0x86, 0xa3, 0, 0, 0, 3}},
};

static int say_hello(const struct probe *p)
{
    struct greeting g = {.bytes = 1};

    for (size_t i = 0; i < XK_COUNT(greetings); i++) {
        if (greetings[i].port == p->port->port)
            g = greetings[i];
    }
    return send(p->fd, g.data, g.bytes, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* ---- who refused ---- */

static enum portscan_state state_of_icmp(const struct sock_extended_err *e, bool udp)
{
    if (e->ee_origin == SO_EE_ORIGIN_ICMP && e->ee_type == ICMP_DEST_UNREACH) {
        if (e->ee_code == ICMP_PORT_UNREACH)
            return udp ? PORTSCAN_CLOSED : PORTSCAN_FILTERED;
        return e->ee_code == ICMP_NET_UNREACH || e->ee_code == ICMP_HOST_UNREACH ? PORTSCAN_UNREACHABLE
                                                                                 : PORTSCAN_FILTERED;
    }
    if (e->ee_origin == SO_EE_ORIGIN_ICMP6 && e->ee_type == ICMP6_DST_UNREACH) {
        if (e->ee_code == ICMP6_DST_UNREACH_NOPORT)
            return udp ? PORTSCAN_CLOSED : PORTSCAN_FILTERED;
        return e->ee_code == ICMP6_DST_UNREACH_NOROUTE || e->ee_code == ICMP6_DST_UNREACH_ADDR ? PORTSCAN_UNREACHABLE
                                                                                               : PORTSCAN_FILTERED;
    }
    return PORTSCAN_UNREACHABLE;
}

/* returns false when the kernel kept no record. */
static bool read_error_queue(enum portscan_state *ret, int fd, bool udp)
{
    char data[64], control[512];
    struct iovec into = {.iov_base = data, .iov_len = sizeof(data)};
    struct msghdr m = {.msg_iov = &into, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};

    if (recvmsg(fd, &m, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
        return false;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
        struct sock_extended_err e;
        if (!(c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) &&
            !(c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR))
            continue;
        memcpy(&e, CMSG_DATA(c), sizeof(e));
        *ret = state_of_icmp(&e, udp);
        return true;
    }
    return false;
}

static enum portscan_state state_of_error(int fd, int error, bool udp)
{
    enum portscan_state state;

    if (read_error_queue(&state, fd, udp))
        return state;
    switch (error) {
    case ECONNREFUSED:
        return PORTSCAN_CLOSED;
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EHOSTDOWN:
    case ENETDOWN:
    case EADDRNOTAVAIL:
    case EAFNOSUPPORT:
        return PORTSCAN_UNREACHABLE;
    case ECONNRESET: /* taken and dropped: somebody listens */
        return PORTSCAN_OPEN;
    default:
        return PORTSCAN_FILTERED;
    }
}

/* ---- one port ---- */

static void settle(struct scan *s, struct probe *p, enum portscan_state state, bool answered)
{
    p->port->state = state;
    if (answered)
        p->port->rtt_ms = (double)(s->clock->monotonic_ns(s->clock) - p->began_ns) / 1e6;
    s->heard |= state == PORTSCAN_OPEN || state == PORTSCAN_CLOSED;
    (void)close(p->fd);
    p->fd = -1;
    s->busy -= !p->extra;
}

static int open_probe(const struct scan *s, const struct portscan_port *port)
{
    const int on = 1;
    const int family = s->address->any.sa_family;
    const int type = (port->udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK | SOCK_CLOEXEC;

    const int fd = socket(family, type, 0);
    if (fd < 0)
        return -errno;
    if (family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof(on));
    else
        (void)setsockopt(fd, IPPROTO_IP, IP_RECVERR, &on, sizeof(on));
    return fd;
}

static int knock(const struct scan *s, const struct probe *p)
{
    struct resolve_address to = *s->address;

    if (to.any.sa_family == AF_INET6)
        to.v6.sin6_port = htons(p->port->port);
    else
        to.v4.sin_port = htons(p->port->port);
    if (connect(p->fd, &to.any, to.bytes) < 0)
        return -errno;
    return p->port->udp ? say_hello(p) : 0;
}

/* returns 0; -EMFILE and the like when there is no socket to be had. */
static int begin(struct scan *s, struct probe *p, struct portscan_port *port, uint64_t timeout_ns)
{
    p->fd = open_probe(s, port);
    if (p->fd < 0)
        return p->fd;
    p->port = port;
    p->asked_again = !port->udp;
    p->began_ns = s->clock->monotonic_ns(s->clock);
    p->until_ns = p->began_ns + timeout_ns;
    s->busy += !p->extra;
    struct epoll_event wanted = {.events = port->udp ? EPOLLIN : EPOLLOUT, .data.ptr = p};
    const int code = knock(s, p);
    if (code == 0 && !port->udp)
        settle(s, p, PORTSCAN_OPEN, true);
    else if (code < 0 && code != -EINPROGRESS)
        settle(s, p, state_of_error(p->fd, -code, port->udp), code == -ECONNREFUSED);
    else if (epoll_ctl(s->epoll, EPOLL_CTL_ADD, p->fd, &wanted) < 0)
        return -errno;
    return 0;
}

/* The socket has something to say. */
static void look(struct scan *s, struct probe *p)
{
    int error = 0;
    socklen_t bytes = sizeof(error);
    char data[16];

    (void)getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &error, &bytes);
    if (error) {
        const enum portscan_state state = state_of_error(p->fd, error, p->port->udp);
        settle(s, p, state, true);
    } else if (!p->port->udp) {
        settle(s, p, PORTSCAN_OPEN, true);
    } else if (recv(p->fd, data, sizeof(data), MSG_DONTWAIT) >= 0) {
        settle(s, p, PORTSCAN_OPEN, true);
    } else if (errno != EAGAIN) {
        settle(s, p, state_of_error(p->fd, errno, true), true);
    }
}

/* Time has passed: ask UDP again, give up on the others. returns when to look next. */
static uint64_t tick(struct scan *s)
{
    const uint64_t now_ns = s->clock->monotonic_ns(s->clock);
    uint64_t next_ns = UINT64_MAX;

    for (unsigned i = 0; i < s->parallel; i++) {
        struct probe *const p = &s->probes[i];
        if (p->fd < 0)
            continue;
        const uint64_t again_ns = p->began_ns + (p->until_ns - p->began_ns) / ASK_AGAIN_PART;
        if (now_ns >= p->until_ns) {
            settle(s, p, p->port->udp ? PORTSCAN_SILENT : PORTSCAN_FILTERED, false);
            continue;
        }
        if (!p->asked_again && now_ns >= again_ns) {
            p->asked_again = true;
            (void)say_hello(p);
        }
        next_ns = XK_MIN(next_ns, p->asked_again ? p->until_ns : again_ns);
    }
    return next_ns;
}

/* ---- all of them ---- */

static int fill(struct scan *s)
{
    unsigned asked = 0;

    for (unsigned i = 0; i < s->parallel && s->next < s->list->count && asked < TURN; i++) {
        if (s->probes[i].fd >= 0)
            continue;
        asked++;
        const int code = begin(s, &s->probes[i], &s->list->ports[s->order[s->next]], s->settings->timeout_ns);
        if (code == -EMFILE || code == -ENFILE || code == -ENOBUFS) /* later, when others have ended */
            return s->busy ? 0 : code;
        if (code < 0)
            return code;
        s->next++;
    }
    return 0;
}

/* returns 0; -ETIMEDOUT when until_ns has come; other negative errno values. */
static int wait_for(struct scan *s, uint64_t until_ns)
{
    struct epoll_event events[EVENTS];
    struct resolve_limits limits = s->settings->limits;
    struct pollfd ready = {.fd = s->epoll, .events = POLLIN};

    limits.deadline_ns = XK_MIN(limits.deadline_ns, until_ns);
    const int code = resolve_wait(&ready, 1, &limits);
    if (code < 0)
        return code;
    const int count = epoll_wait(s->epoll, events, EVENTS, 0);
    for (int i = 0; i < count; i++) {
        struct probe *const p = events[i].data.ptr;
        if (p->fd >= 0)
            look(s, p);
    }
    return 0;
}

static int run_all(struct scan *s)
{
    for (;;) {
        int code = fill(s);
        const uint64_t next_ns = tick(s);
        if (code == 0 && s->next == s->list->count && !s->busy)
            return 0;
        if (code == 0)
            code = wait_for(s, s->next < s->list->count && s->busy < s->parallel ? 0 : next_ns);
        if (code < 0 && code != -ETIMEDOUT)
            return code;
    }
}

/*
 * What the states of all ports say of each other: from a host that answers, "unreachable" is a firewall's word; a host
 * that a neighbour's probe could not find is not there at all.
 */
static void settle_all(struct scan *s, bool nobody_there)
{
    for (size_t i = 0; i < s->list->count; i++) {
        struct portscan_port *const p = &s->list->ports[i];
        if (s->heard && p->state == PORTSCAN_UNREACHABLE)
            p->state = PORTSCAN_FILTERED;
        else if (!s->heard && nobody_there && p->rtt_ms < 0)
            p->state = PORTSCAN_UNREACHABLE;
    }
}

/* A random order: neighbours in it are not neighbours in number, which firewalls count. */
static void shuffle(size_t *order, size_t count)
{
    struct xk_random r;

    xk_random_seed_system(&r);
    for (size_t i = 0; i < count; i++) {
        const size_t at = (size_t)xk_random_below(&r, i + 1);
        order[i] = order[at];
        order[at] = i;
    }
}

/* As many descriptors as may be had, at most `wanted` besides those in use. */
static unsigned raise_limit(unsigned wanted)
{
    const uint64_t all = xk_fd_limit_raise((uint64_t)wanted + SPARE_FDS);
    const uint64_t room = all > SPARE_FDS ? all - SPARE_FDS : 1;

    return (unsigned)XK_MIN((uint64_t)wanted, room);
}

static int scan_all(struct scan *s)
{
    struct portscan_port neighbour = {.port = s->list->ports[0].port, .rtt_ms = -1};
    struct probe *const last = &s->probes[s->parallel]; /* stands behind those that take ports in turn */

    s->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (s->epoll < 0)
        return -errno;
    last->extra = true;
    int code = begin(s, last, &neighbour, NEIGHBOUR_NS);
    if (code == 0)
        code = run_all(s);
    /* Heard nothing at all: what does the connect say that was begun first? */
    while (code == 0 && !s->heard && last->fd >= 0) {
        code = wait_for(s, last->until_ns);
        if (code == -ETIMEDOUT)
            break;
    }
    code = code == -ETIMEDOUT ? 0 : code;
    settle_all(s, neighbour.state == PORTSCAN_UNREACHABLE);
    return code;
}

int portscan_run(struct portscan_list *list, const struct resolve_address *address,
                 const struct portscan_settings *settings, struct xk_err *err)
{
    struct scan s = {
        .list = list, .address = address, .settings = settings, .clock = settings->limits.clock, .epoll = -1};

    if (!list->count)
        return 0;
    s.parallel = raise_limit(settings->parallel);
    s.probes = xk_array_alloc(s.parallel + 1, sizeof(*s.probes));
    s.order = xk_array_alloc(list->count, sizeof(*s.order));
    int code = s.probes && s.order ? 0 : -ENOMEM;
    for (unsigned i = 0; s.probes && i <= s.parallel; i++)
        s.probes[i].fd = -1;
    if (code == 0) {
        shuffle(s.order, list->count);
        code = scan_all(&s);
    }
    for (unsigned i = 0; s.probes && i <= s.parallel; i++) {
        if (s.probes[i].fd >= 0)
            (void)close(s.probes[i].fd);
    }
    if (s.epoll >= 0)
        (void)close(s.epoll);
    free(s.probes);
    free(s.order);
    return code < 0 ? xk_fail_sys(err, code, "asking the ports of %s", resolve_host_text(address).s) : 0;
}
