/*
 * Echoes of ICMP. A ping socket needs no privilege where it is allowed, and the kernel keeps others' answers away; a
 * raw one sees all of them, so each question carries an identifier, a number and random bytes that the answer has to
 * repeat.
 */
#include "lib/netpath/netpath.h"

#include "core/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/errqueue.h>
#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ECHO_HEADER 8u
#define TOKEN_BYTES 16u
#define TRIES       3
#define STEP_NS     (100 * XK_NS_PER_MS) /* a stop is seen within it */

struct netpath_ping {
    int fd;
    bool six, raw;
    uint16_t id, number;
    uint8_t token[TOKEN_BYTES];
    uint8_t packet[NETPATH_PACKET_MAX], answer[NETPATH_PACKET_MAX];
};

static uint64_t now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * XK_NS_PER_S + (uint64_t)now.tv_nsec;
}

static uint32_t header_bytes(const struct netpath_ping *p)
{
    return p->six ? 40 : 20;
}

int netpath_ping_open(struct netpath_ping **ret, const struct resolve_address *to, struct xk_err *err)
{
    const bool six = to->any.sa_family == AF_INET6;
    const int protocol = six ? (int)IPPROTO_ICMPV6 : (int)IPPROTO_ICMP, on = 1;
    const int probe = six ? IPV6_PMTUDISC_PROBE : IP_PMTUDISC_PROBE;
    struct xk_random random;

    struct netpath_ping *const p = xk_zalloc(sizeof(*p));
    if (!p)
        return xk_fail_memory(err);
    p->six = six;
    p->fd = socket(to->any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
    if (p->fd < 0) {
        p->raw = true;
        p->fd = socket(to->any.sa_family, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
    }
    int code = p->fd < 0 ? -errno : 0;
    if (code == 0 && connect(p->fd, &to->any, to->bytes) < 0)
        code = -errno;
    if (code == 0 &&
        (setsockopt(p->fd, six ? IPPROTO_IPV6 : IPPROTO_IP, six ? IPV6_MTU_DISCOVER : IP_MTU_DISCOVER, &probe,
                    sizeof(probe)) < 0 ||
         setsockopt(p->fd, six ? IPPROTO_IPV6 : IPPROTO_IP, six ? IPV6_RECVERR : IP_RECVERR, &on, sizeof(on)) < 0))
        code = -errno;
    if (code < 0) {
        netpath_ping_close(p);
        if (code == -EPERM || code == -EACCES)
            return xk_fail(err, -EACCES, "echoes of ICMP are not allowed here");
        return xk_fail_sys(err, code, "opening a socket for echoes");
    }
    xk_random_seed_system(&random);
    xk_random_bytes(&random, &p->id, sizeof(p->id));
    xk_random_bytes(&random, p->token, sizeof(p->token));
    *ret = p;
    return 0;
}

void netpath_ping_close(struct netpath_ping *p)
{
    if (p && p->fd >= 0)
        (void)close(p->fd);
    free(p);
}

const char *netpath_ping_kind(const struct netpath_ping *p)
{
    return p->raw ? "raw" : "ping";
}

static uint16_t checksum(const uint8_t *bytes, size_t count)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < count; i++)
        sum += i % 2 ? bytes[i] : (uint32_t)bytes[i] << 8;
    sum = (sum & 0xffff) + (sum >> 16);
    sum += sum >> 16;
    return (uint16_t)~sum;
}

/* ICMP's header and what follows; the checksum of ICMPv6 is the kernel's business. */
static void make_question(struct netpath_ping *p, size_t bytes)
{
    memset(p->packet, 0, bytes);
    p->packet[0] = p->six ? ICMP6_ECHO_REQUEST : ICMP_ECHO;
    memcpy(p->packet + 4, &p->id, sizeof(p->id));
    const uint16_t number = htons(++p->number);
    memcpy(p->packet + 6, &number, sizeof(number));
    memcpy(p->packet + ECHO_HEADER, p->token, TOKEN_BYTES);
    if (p->six)
        return;
    const uint16_t sum = htons(checksum(p->packet, bytes));
    memcpy(p->packet + 2, &sum, sizeof(sum));
}

/* Is what came the answer to the question of `bytes`? */
static bool is_answer(const struct netpath_ping *p, size_t got, size_t bytes)
{
    const uint8_t *at = p->answer;

    /* A raw socket of IPv4 gives the header, too. */
    if (p->raw && !p->six) {
        const size_t header = got > 0 ? (size_t)(at[0] & 15) * 4 : 0;
        if (header < 20 || got < header)
            return false;
        at += header;
        got -= header;
    }
    return got == bytes && at[0] == (p->six ? ICMP6_ECHO_REPLY : ICMP_ECHOREPLY) &&
           (!p->raw || memcmp(at + 4, &p->id, sizeof(p->id)) == 0) && memcmp(at + 6, p->packet + 6, 2) == 0 &&
           memcmp(at + ECHO_HEADER, p->token, TOKEN_BYTES) == 0;
}

static void take_errors(const struct netpath_ping *p, struct netpath_told *told)
{
    for (;;) {
        union {
            char bytes[512];
            struct cmsghdr align;
        } control;
        char part[64];
        struct iovec vector = {part, sizeof(part)};
        struct msghdr m = {
            .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)};
        if (recvmsg(p->fd, &m, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
            return;
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); told && c; c = CMSG_NXTHDR(&m, c)) {
            struct {
                struct sock_extended_err e;
                struct resolve_address from;
            } heard = {0};
            const bool is_error = (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) ||
                                  (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR);
            if (!is_error)
                continue;
            memcpy(&heard.e, CMSG_DATA(c), XK_MIN(c->cmsg_len - CMSG_LEN(0), sizeof(heard.e)));
            const size_t rest = c->cmsg_len - CMSG_LEN(0) - XK_MIN(c->cmsg_len - CMSG_LEN(0), sizeof(heard.e));
            memcpy(&heard.from.any, CMSG_DATA(c) + sizeof(heard.e), XK_MIN(rest, sizeof(heard.from.v6)));
            heard.from.bytes = sizeof(heard.from.v6);
            if (heard.e.ee_errno != EMSGSIZE || heard.e.ee_origin == SO_EE_ORIGIN_LOCAL)
                continue;
            told->mtu = heard.e.ee_info;
            told->by = resolve_host_text(&heard.from);
        }
    }
}

int64_t netpath_ping_ask(struct netpath_ping *p, uint32_t packet_bytes, uint64_t timeout_ns, struct netpath_told *told)
{
    const size_t bytes = XK_MAX(packet_bytes - header_bytes(p), ECHO_HEADER + TOKEN_BYTES);
    const uint64_t begin = now_ns(), until = begin + timeout_ns;

    make_question(p, bytes);
    if (send(p->fd, p->packet, bytes, MSG_NOSIGNAL) < 0 && errno != ECONNREFUSED && errno != EHOSTUNREACH)
        return -errno;
    for (uint64_t now = now_ns(); now < until; now = now_ns()) {
        struct pollfd fd = {.fd = p->fd, .events = POLLIN};
        const uint64_t step = XK_MIN(until - now, STEP_NS);
        const struct timespec patience = {.tv_nsec = (long)step};
        if (xk_stop_signal())
            return -EINTR;
        if (ppoll(&fd, 1, &patience, NULL) <= 0)
            continue;
        if (fd.revents & POLLERR)
            take_errors(p, told);
        const ssize_t got = recv(p->fd, p->answer, sizeof(p->answer), MSG_DONTWAIT);
        if (got > 0 && is_answer(p, (size_t)got, bytes))
            return (int64_t)(now_ns() - begin);
        if (told && told->mtu && told->mtu < packet_bytes)
            return 0; /* nothing better will come */
    }
    return 0;
}

/* returns 1, 0, or a negative errno value. */
static int64_t passes(struct netpath_ping *p, uint32_t size, uint64_t timeout_ns, struct netpath_told *told)
{
    for (int i = 0; i < TRIES; i++) {
        struct netpath_told now = {0};
        const int64_t rtt = netpath_ping_ask(p, size, timeout_ns, &now);
        if (now.mtu)
            *told = now;
        if (rtt == -EMSGSIZE)
            return 0;
        if (rtt != 0)
            return rtt < 0 ? rtt : 1;
        if (now.mtu)
            return 0;
    }
    return 0;
}

int64_t netpath_ping_mtu(struct netpath_ping *p, uint32_t most, uint64_t timeout_ns, struct netpath_told *ret_told)
{
    uint32_t good = NETPATH_PACKET_MIN, bad;

    *ret_told = (struct netpath_told){0};
    most = XK_MIN(XK_MAX(most, NETPATH_PACKET_MIN), NETPATH_PACKET_MAX);
    int64_t code = passes(p, most, timeout_ns, ret_told);
    if (code != 0)
        return code < 0 ? code : most;
    code = passes(p, good, timeout_ns, ret_told);
    if (code <= 0 || most == good)
        return code < 0 ? code : 0;
    bad = most;
    while (bad - good > 1) {
        /* What a router says is tried first. */
        const bool hint = ret_told->mtu > good && ret_told->mtu < bad;
        const uint32_t size = hint ? ret_told->mtu : good + (bad - good) / 2;
        code = passes(p, size, timeout_ns, ret_told);
        if (code < 0)
            return code;
        *(code ? &good : &bad) = size;
        if (code && hint && good + 1 < bad) {
            code = passes(p, good + 1, timeout_ns, ret_told);
            if (code < 0)
                return code;
            if (code)
                good++;
            else
                bad = good + 1;
        }
    }
    return good;
}

int64_t netpath_knock(const struct resolve_address *to, uint64_t timeout_ns)
{
    int error = 0;
    socklen_t bytes = sizeof(error);
    int64_t rtt = 0;

    const int fd = socket(to->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    const uint64_t begin = now_ns(), until = begin + timeout_ns;
    if (connect(fd, &to->any, to->bytes) < 0 && errno != EINPROGRESS)
        error = errno;
    for (uint64_t now = now_ns(); !error && now < until && rtt == 0; now = now_ns()) {
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        const struct timespec patience = {.tv_nsec = (long)XK_MIN(until - now, STEP_NS)};
        if (xk_stop_signal()) {
            rtt = -EINTR;
        } else if (ppoll(&p, 1, &patience, NULL) > 0) {
            rtt = (int64_t)(now_ns() - begin);
            (void)getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &bytes);
        }
    }
    (void)close(fd);
    /* A refusal has made the way there and back, too; a firewall's may come from anywhere. */
    if (error == ECONNREFUSED)
        return rtt > 0 ? rtt : (int64_t)(now_ns() - begin);
    return error ? 0 : rtt;
}
