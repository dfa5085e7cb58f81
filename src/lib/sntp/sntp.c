/*
 * One question at a time, each with a fresh random stamp, over a connected socket: what comes from another address the
 * kernel drops, what does not repeat the stamp is counted and ignored, so that a forger who answers first cannot stop
 * the true answer. A server that says itself that it cannot help is asked no further. The kernel's time of arrival is
 * used: waking up takes longer on a busy machine than the way of a packet through a room.
 */
#include "lib/sntp/sntp.h"

#include <math.h>
#include <string.h>
#include <sys/random.h>

#define PACKET_MAX 2048

struct asking {
    const char *server;
    const struct sntp_settings *settings;
    int fd;
    struct sntp_answer *answer;
    unsigned silent;
};

static int open_socket(const struct resolve_address *address, struct xk_err *err)
{
    const int on = 1;
    const int fd = socket(address->any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return xk_fail_sys(err, -errno, "cannot open a socket");
    (void)setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on)); /* without it the clock is read on arrival */
    if (connect(fd, &address->any, address->bytes) < 0) {
        const int code = -errno;
        (void)close(fd);
        return xk_fail_sys(err, code, "cannot reach %s", resolve_text(address).s);
    }
    return fd;
}

/* returns the bytes of a packet and when it came; a negative errno value. */
static ssize_t receive(const struct asking *a, uint8_t packet[PACKET_MAX], int64_t *ret_ns)
{
    const struct xk_clock *const clock = a->settings->limits.clock;
    struct iovec data = {.iov_base = packet, .iov_len = PACKET_MAX};
    union {
        char bytes[256];
        struct cmsghdr align;
    } control;
    struct msghdr m = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};

    const ssize_t n = recvmsg(a->fd, &m, 0);
    if (n < 0)
        return -errno;
    *ret_ns = clock->utc_ns(clock);
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SO_TIMESTAMPNS)
            continue;
        struct timespec t;
        memcpy(&t, CMSG_DATA(c), sizeof(t));
        *ret_ns = (int64_t)t.tv_sec * (int64_t)XK_NS_PER_S + t.tv_nsec;
    }
    return n;
}

static int refuse(const struct asking *a, enum sntp_verdict verdict, const struct sntp_reply *reply, struct xk_err *err)
{
    switch (verdict) {
    case SNTP_KISS:
        return xk_fail(err, -EPROTO, "%s refuses to serve (kiss code %s)", a->server, reply->reference);
    case SNTP_UNSYNCHRONISED:
        return xk_fail(err, -EPROTO, "%s is not synchronised itself (stratum %u)", a->server, reply->stratum);
    case SNTP_ZERO:
        return xk_fail(err, -EPROTO, "%s answers without a time", a->server);
    default:
        return xk_fail(err, -EPROTO, "%s may be wrong by %.1f s itself (root distance; at most %.1f s is useful)",
                       a->server, reply->root_distance_s, SNTP_DISTANCE_MAX);
    }
}

static void keep_sample(struct sntp_answer *answer, const struct sntp_reply *reply, int64_t sent_ns, int64_t arrived_ns)
{
    double offset_s, delay_s;

    sntp_weigh(&offset_s, &delay_s, reply, sent_ns, arrived_ns);
    if (!answer->samples || delay_s < answer->delay_s) {
        answer->offset_s = offset_s;
        answer->delay_s = delay_s;
        answer->reply = *reply;
    }
    answer->samples++;
}

/* Wait for the answer to this question. returns 0 also when none came. */
static int await(struct asking *a, const uint8_t stamp[8], int64_t sent_ns, struct xk_err *err)
{
    struct resolve_limits limits = a->settings->limits;
    uint8_t packet[PACKET_MAX];
    struct sntp_reply reply;
    int64_t arrived_ns = 0;

    limits.deadline_ns = XK_MIN(limits.deadline_ns, resolve_deadline(limits.clock, SNTP_WAIT_MS * XK_NS_PER_MS));
    for (;;) {
        struct pollfd ready = {.fd = a->fd, .events = POLLIN};
        const int code = resolve_wait(&ready, 1, &limits);
        if (code == -ETIMEDOUT) {
            a->silent++;
            return 0;
        }
        if (code < 0)
            return xk_fail_sys(err, code, "asking %s", a->server);
        const ssize_t n = receive(a, packet, &arrived_ns);
        if (n == -EAGAIN)
            continue;
        if (n < 0)
            return xk_fail_sys(err, (int)n, "%s does not answer", a->server);
        const enum sntp_verdict verdict = sntp_reply_decode(&reply, packet, (size_t)n, stamp);
        if (verdict == SNTP_STRANGE) {
            a->answer->strange++;
            continue;
        }
        a->silent = 0;
        if (verdict != SNTP_GOOD)
            return refuse(a, verdict, &reply, err);
        keep_sample(a->answer, &reply, sent_ns, arrived_ns);
        return 0;
    }
}

static int ask_once(struct asking *a, struct xk_err *err)
{
    const struct xk_clock *const clock = a->settings->limits.clock;
    uint8_t packet[SNTP_PACKET_BYTES], stamp[8];

    if (getrandom(stamp, sizeof(stamp), 0) != sizeof(stamp))
        return xk_fail_sys(err, -EIO, "there are no random numbers");
    sntp_question(packet, stamp);
    const int64_t sent_ns = clock->utc_ns(clock);
    if (send(a->fd, packet, sizeof(packet), 0) < 0)
        return xk_fail_sys(err, -errno, "cannot ask %s", a->server);
    return await(a, stamp, sent_ns, err);
}

static bool is_late(const struct resolve_limits *limits)
{
    return limits->clock->monotonic_ns(limits->clock) >= limits->deadline_ns;
}

static int ask_address(struct asking *a, struct xk_err *err)
{
    const struct resolve_limits *const limits = &a->settings->limits;

    for (unsigned i = 0; i < a->settings->samples && a->silent < SNTP_SILENCE_MAX && !is_late(limits); i++) {
        if (i)
            limits->clock->sleep_ns(limits->clock, a->settings->interval_ns);
        const int code = ask_once(a, err);
        if (code < 0)
            return code;
    }
    if (a->answer->samples)
        return 0;
    if (a->answer->strange)
        return xk_fail(err, -EPROTO,
                       "%s: %u packets came that answer none of our questions: forged, or a broken server", a->server,
                       a->answer->strange);
    return xk_fail(err, -ETIMEDOUT, "%s does not answer", a->server);
}

/* The next address is tried only when one cannot be reached or nothing listens there. */
static bool is_unreachable(int code)
{
    return code == -ECONNREFUSED || code == -ENETUNREACH || code == -EHOSTUNREACH || code == -EADDRNOTAVAIL ||
           code == -EAFNOSUPPORT;
}

int sntp_ask(struct sntp_answer *ret, const char *server, const struct sntp_settings *settings, struct xk_err *err)
{
    char host[RESOLVE_NAME_BYTES];
    struct resolve_addresses addresses;
    uint16_t port;

    int code = resolve_split(host, &port, server, SNTP_PORT, err);
    if (code == 0)
        code = resolve_name(&addresses, host, port, AF_UNSPEC, &settings->limits, err);
    for (unsigned i = 0; code == 0 && i < addresses.count; i++) {
        *ret = (struct sntp_answer){.address = addresses.list[i]};
        struct asking a = {.server = server, .settings = settings, .answer = ret};
        a.fd = open_socket(&addresses.list[i], err);
        code = a.fd < 0 ? a.fd : ask_address(&a, err);
        if (a.fd >= 0)
            (void)close(a.fd);
        if (code == 0 || !is_unreachable(code) || i + 1 == addresses.count)
            return code;
        code = 0;
    }
    return code;
}
