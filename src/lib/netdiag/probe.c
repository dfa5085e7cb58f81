/*
 * Echoes beside a test: one thread asks at fixed times and takes the answers.
 *
 * A question is remembered by its number; an answer counts once, and only with the number and the time of a question
 * that was asked. The kernel stamps arrivals on both sides, so that a busy program does not look like a slow network.
 */
#include "lib/netdiag/netdiag.h"

#include "lib/resolve/resolve.h"

#include <errno.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define HOPEFUL_TRIES 10 /* for the first answer */
#define HOPEFUL_NS    (200 * XK_NS_PER_MS)
#define LATE_NS       (300 * XK_NS_PER_MS) /* for the last answers */
#define MTU_LEAST     576u
#define MTU_MOST      65535u
#define MTU_TRIES     3
#define HEADERS_V4    28u
#define HEADERS_V6    48u
#define UNREADY_NS    XK_NS_PER_MS

struct netdiag_probe {
    int fd;
    bool six;
    char token[IPERF_ECHO_TOKEN];
    struct netdiag_sample *samples;
    _Atomic uint32_t asked;
    uint64_t next_number; /* questions of the search for the MTU have numbers of their own */
    uint64_t rtt_ns;      /* of the first answer */
    _Atomic enum netdiag_phase phase;
    _Atomic bool stop;
    pthread_t thread;
    bool running;
    uint8_t *packet;
};

static uint64_t monotonic(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * XK_NS_PER_S + (uint64_t)now.tv_nsec;
}

static int ask(const struct netdiag_probe *p, enum iperf_echo_kind kind, uint64_t number, uint64_t now, size_t bytes)
{
    struct iperf_echo e = {.kind = kind, .number = number, .asked_ns = now};

    memcpy(e.token, p->token, sizeof(e.token));
    iperf_echo_encode(p->packet, &e);
    return send(p->fd, p->packet, bytes, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* One answer out of the socket. returns its length; 0: something else; negative: nothing there. */
static ssize_t take_answer(const struct netdiag_probe *p, struct iperf_echo *ret, uint64_t *ret_came_ns)
{
    uint8_t bytes[IPERF_ECHO_BYTES];

    const ssize_t n = iperf_echo_receive(p->fd, bytes, sizeof(bytes), ret_came_ns);
    if (n < 0)
        return n == -ECONNREFUSED ? 0 : n;
    if (iperf_echo_decode(ret, bytes, XK_MIN((size_t)n, sizeof(bytes))) < 0 || ret->kind != IPERF_ECHO_ANSWER ||
        memcmp(ret->token, p->token, sizeof(ret->token)) != 0)
        return 0;
    return n;
}

static bool wait_readable(const struct netdiag_probe *p, uint64_t until)
{
    for (;;) {
        const uint64_t now = monotonic();
        struct pollfd fd = {.fd = p->fd, .events = POLLIN};
        const uint64_t left = until > now ? until - now : 0;
        const struct timespec patience = {.tv_sec = (time_t)(left / XK_NS_PER_S),
                                          .tv_nsec = (long)(left % XK_NS_PER_S)};
        const int n = ppoll(&fd, 1, &patience, NULL);
        if (n > 0)
            return true;
        if (n == 0 || errno != EINTR || xk_stop_signal())
            return false;
    }
}

/* ---- the thread ---- */

static void take_answers(struct netdiag_probe *p)
{
    struct iperf_echo e;
    uint64_t came;
    ssize_t n;

    while ((n = take_answer(p, &e, &came)) >= 0) {
        if (n == 0 || e.number >= p->asked)
            continue;
        struct netdiag_sample *const s = &p->samples[e.number];
        const uint64_t there = e.answered_ns - e.came_ns;
        if (s->rtt_ns || s->asked_ns != e.asked_ns || came < s->asked_ns || there > came - s->asked_ns)
            continue;
        s->rtt_ns = XK_MAX(came - s->asked_ns - there, UINT64_C(1));
        s->up_ns = (int64_t)(e.came_ns - s->asked_ns);
        s->down_ns = (int64_t)(came - e.answered_ns);
    }
}

static void *keep_asking(void *context)
{
    struct netdiag_probe *const p = context;
    uint64_t next = monotonic();

    while (!p->stop && p->asked < NETDIAG_SAMPLES_MAX) {
        const uint64_t now = monotonic();
        if (now < next) {
            if (wait_readable(p, next))
                take_answers(p);
            continue;
        }
        struct netdiag_sample *const s = &p->samples[p->asked];
        *s = (struct netdiag_sample){.asked_ns = now, .phase = p->phase};
        p->asked++;
        (void)ask(p, IPERF_ECHO_ASK, p->asked - 1, now, IPERF_ECHO_BYTES);
        /* What was missed is not made up for: a burst would measure itself. */
        next = XK_MAX(next + NETDIAG_INTERVAL_NS, now + NETDIAG_INTERVAL_NS / 2);
    }
    const uint64_t until = monotonic() + LATE_NS;
    while (monotonic() < until && wait_readable(p, until))
        take_answers(p);
    return NULL;
}

/* ---- life ---- */

static int open_towards(struct netdiag_probe *p, int control_fd)
{
    struct sockaddr_storage peer = {0}, local = {0};
    socklen_t bytes = sizeof(peer), local_bytes = sizeof(local);
    const int on = 1, large = 1 << 20;

    if (getpeername(control_fd, (struct sockaddr *)&peer, &bytes) < 0 ||
        getsockname(control_fd, (struct sockaddr *)&local, &local_bytes) < 0)
        return -errno;
    p->six = peer.ss_family == AF_INET6;
    p->fd = socket(peer.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (p->fd < 0)
        return -errno;
    /* From the address that the server knows us by. */
    if (p->six)
        ((struct sockaddr_in6 *)&local)->sin6_port = 0;
    else
        ((struct sockaddr_in *)&local)->sin_port = 0;
    if (bind(p->fd, (struct sockaddr *)&local, local_bytes) < 0 || connect(p->fd, (struct sockaddr *)&peer, bytes) < 0)
        return -errno;
    iperf_echo_prepare(p->fd);
    (void)setsockopt(p->fd, SOL_SOCKET, SO_RCVBUF, &large, sizeof(large));
    (void)setsockopt(p->fd, p->six ? IPPROTO_IPV6 : IPPROTO_IP, p->six ? IPV6_RECVERR : IP_RECVERR, &on, sizeof(on));
    return 0;
}

/* returns whether an answer to that question came in time. */
static bool await_answer(const struct netdiag_probe *p, uint64_t number, uint64_t until, size_t *ret_bytes)
{
    struct iperf_echo e;
    uint64_t came;

    while (wait_readable(p, until)) {
        const ssize_t n = take_answer(p, &e, &came);
        if (n > 0 && e.number == number) {
            *ret_bytes = (size_t)n;
            return true;
        }
        if (n >= 0)
            continue;
        /* An ICMP error stands in the error queue; what it says, the sizes that pass say better. */
        char drained[512];
        struct iovec vector = {drained, sizeof(drained)};
        char control[512];
        struct msghdr m = {
            .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
        if (recvmsg(p->fd, &m, MSG_ERRQUEUE | MSG_DONTWAIT) < 0 && monotonic() + UNREADY_NS < until) {
            const struct timespec pause = {.tv_nsec = UNREADY_NS};
            (void)nanosleep(&pause, NULL);
        }
    }
    return false;
}

int netdiag_probe_begin(struct netdiag_probe **ret, const struct iperf_test *t, struct xk_err *err)
{
    size_t bytes;

    if (!t->greeting.version || !t->greeting.echo)
        return xk_fail(err, -ENOTSUP, "the server does not answer echoes");
    struct netdiag_probe *const p = xk_zalloc(sizeof(*p));
    if (!p)
        return xk_fail_memory(err);
    p->fd = -1;
    memcpy(p->token, t->cookie, sizeof(p->token));
    p->samples = xk_array_alloc(NETDIAG_SAMPLES_MAX, sizeof(*p->samples));
    p->packet = xk_zalloc(MTU_MOST);
    int code = p->samples && p->packet ? open_towards(p, t->control_fd) : -ENOMEM;
    if (code == 0) {
        code = -ENOTSUP;
        for (uint64_t i = 0; code < 0 && i < HOPEFUL_TRIES && !xk_stop_signal(); i++) {
            const uint64_t now = monotonic();
            (void)ask(p, IPERF_ECHO_ASK, NETDIAG_SAMPLES_MAX + i, now, IPERF_ECHO_BYTES);
            if (await_answer(p, NETDIAG_SAMPLES_MAX + i, now + HOPEFUL_NS, &bytes))
                code = 0;
            p->rtt_ns = monotonic() - now;
        }
        p->next_number = NETDIAG_SAMPLES_MAX + HOPEFUL_TRIES;
    }
    if (code < 0) {
        netdiag_probe_end(p);
        return code == -ENOTSUP ? xk_fail(err, code, "no echo came back: is UDP let through?")
                                : xk_fail(err, code, "opening a socket for echoes");
    }
    *ret = p;
    return 0;
}

int netdiag_probe_run(struct netdiag_probe *p, struct xk_err *err)
{
    const int error = pthread_create(&p->thread, NULL, keep_asking, p);

    if (error)
        return xk_fail(err, -error, "starting the thread of echoes");
    p->running = true;
    return 0;
}

void netdiag_probe_phase(struct netdiag_probe *p, enum netdiag_phase phase)
{
    p->phase = phase;
}

void netdiag_probe_stop(struct netdiag_probe *p)
{
    p->stop = true;
    if (p->running)
        (void)pthread_join(p->thread, NULL);
    p->running = false;
}

const struct netdiag_sample *netdiag_probe_samples(const struct netdiag_probe *p, size_t *ret_count)
{
    *ret_count = p->asked;
    return p->samples;
}

void netdiag_probe_end(struct netdiag_probe *p)
{
    if (!p)
        return;
    netdiag_probe_stop(p);
    if (p->fd >= 0)
        (void)close(p->fd);
    free(p->samples);
    free(p->packet);
    free(p);
}

/* ---- the largest packet ---- */

/* Does a packet of that size pass, to the server or, answered as large, from it? */
static bool passes(struct netdiag_probe *p, uint32_t packet, enum iperf_echo_kind kind)
{
    const size_t bytes = packet - (p->six ? HEADERS_V6 : HEADERS_V4);
    const uint64_t patience = XK_MIN(50 * XK_NS_PER_MS + 4 * p->rtt_ns, XK_NS_PER_S);
    size_t got = 0;

    for (int i = 0; i < MTU_TRIES && !xk_stop_signal(); i++) {
        const uint64_t now = monotonic(), number = p->next_number++;
        const int code = ask(p, kind, number, now, bytes);
        if (code == -EMSGSIZE)
            return false; /* our own interface does not take it */
        if (code == 0 && await_answer(p, number, now + patience, &got) && (kind == IPERF_ECHO_ASK || got == bytes))
            return true;
    }
    return false;
}

/* The largest that passes, of MTU_LEAST … most; 0: none. */
static uint32_t search(struct netdiag_probe *p, uint32_t most, enum iperf_echo_kind kind)
{
    uint32_t good = MTU_LEAST, bad = most + 1;

    if (passes(p, most, kind))
        return most;
    if (most <= MTU_LEAST || !passes(p, MTU_LEAST, kind))
        return 0;
    bad = most;
    while (bad - good > 1 && !xk_stop_signal()) {
        const uint32_t middle = good + (bad - good) / 2;
        *(passes(p, middle, kind) ? &good : &bad) = middle;
    }
    return good;
}

int netdiag_probe_mtu(struct netdiag_mtu *ret, struct netdiag_probe *p, uint32_t link_mtu, struct xk_err *err)
{
    const int probe = p->six ? IPV6_PMTUDISC_PROBE : IP_PMTUDISC_PROBE;

    *ret = (struct netdiag_mtu){0};
    if (setsockopt(p->fd, p->six ? IPPROTO_IPV6 : IPPROTO_IP, p->six ? IPV6_MTU_DISCOVER : IP_MTU_DISCOVER, &probe,
                   sizeof(probe)) < 0)
        return xk_fail(err, -errno, "asking for packets that are not cut up");
    const uint32_t most = XK_MIN(XK_MAX(link_mtu, MTU_LEAST), MTU_MOST - (p->six ? 40 : 0));
    ret->link = most; /* larger ones cannot be asked for */
    ret->up = search(p, most, IPERF_ECHO_ASK);
    /* A question has to arrive for an answer of its size, so only what passes there can be asked for. */
    ret->down = ret->up ? search(p, ret->up, IPERF_ECHO_ASK_LARGE) : 0;
    ret->known = true;
    return xk_stop_signal() ? xk_fail(err, -EINTR, "stopped while looking for the largest packet") : 0;
}
