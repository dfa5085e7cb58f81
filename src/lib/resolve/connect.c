/*
 * Connecting: the addresses are tried in order, the next one a quarter of a second after the last or as soon as all
 * that were begun have failed, and the first that connects wins (RFC 8305, without its memory of past times).
 */
#include "lib/resolve/resolve.h"

#include <netinet/tcp.h>
#include <string.h>

#define NEXT_NS  (250 * XK_NS_PER_MS)
#define SLICE_MS 50 /* a signal ends poll() at once; this is for one that comes just before it */

uint64_t resolve_deadline(const struct xk_clock *clock, uint64_t ns)
{
    uint64_t at;

    return ns == 0 || xk_add(clock->monotonic_ns(clock), ns, &at) ? RESOLVE_NO_DEADLINE : at;
}

int resolve_wait(struct pollfd *fds, nfds_t count, const struct resolve_limits *limits)
{
    for (;;) {
        if (!limits->ignore_stop && xk_stop_signal())
            return -EINTR;
        int slice_ms = SLICE_MS;
        if (limits->deadline_ns != RESOLVE_NO_DEADLINE) {
            const uint64_t now_ns = limits->clock->monotonic_ns(limits->clock);
            const uint64_t left_ns = limits->deadline_ns > now_ns ? limits->deadline_ns - now_ns : 0;
            slice_ms = (int)XK_MIN((uint64_t)SLICE_MS, XK_DIV_UP(left_ns, XK_NS_PER_MS));
        }
        const int ready = poll(fds, count, slice_ms);
        if (ready > 0)
            return ready;
        if (ready < 0 && errno != EINTR)
            return -errno;
        if (ready == 0 && slice_ms == 0)
            return -ETIMEDOUT;
    }
}

struct race {
    struct pollfd fds[RESOLVE_ADDRESSES_MAX]; /* fd -1: has failed */
    unsigned begun, running;
    int failed; /* what the first one that failed said */
    unsigned failed_at;
};

static void race_lost(struct race *r, unsigned at, int code)
{
    if (r->fds[at].fd >= 0) {
        (void)close(r->fds[at].fd);
        r->running--;
    }
    r->fds[at].fd = -1;
    if (!r->failed) {
        r->failed = code;
        r->failed_at = at;
    }
}

/* Begin with the next address. returns   its number when it is connected already; -1 otherwise. */
static int race_begin(struct race *r, const struct resolve_addresses *addresses)
{
    const unsigned at = r->begun++;
    const struct resolve_address *const a = &addresses->list[at];
    const int fd = socket(a->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    r->fds[at] = (struct pollfd){.fd = fd, .events = POLLOUT};
    if (fd < 0) {
        race_lost(r, at, -errno);
        return -1;
    }
    r->running++;
    if (connect(fd, &a->any, a->bytes) == 0)
        return (int)at;
    if (errno != EINPROGRESS && errno != EINTR)
        race_lost(r, at, -errno);
    return -1;
}

/* Whether one has got through by now. returns   its number; -1: none. */
static int race_look(struct race *r)
{
    for (unsigned i = 0; i < r->begun; i++) {
        int code = 0;
        socklen_t bytes = sizeof(code);
        if (r->fds[i].fd < 0 || !r->fds[i].revents)
            continue;
        if (getsockopt(r->fds[i].fd, SOL_SOCKET, SO_ERROR, &code, &bytes) < 0)
            code = errno;
        if (code == 0)
            return (int)i;
        race_lost(r, i, -code);
    }
    return -1;
}

static int say_why(const struct race *r, int code, const struct resolve_addresses *addresses, const char *name,
                   struct xk_err *err)
{
    const struct resolve_address *const a = &addresses->list[r->failed_at];
    const struct resolve_words host = resolve_host_text(a), where = resolve_text(a);
    const char *const told = strcmp(host.s, name) == 0 ? "" : name, *const gap = *told ? ", " : "";

    if (code == -EINTR)
        return xk_fail(err, code, "connecting to %s%s%s: stopped", told, gap, where.s);
    if (code == -ETIMEDOUT) {
        (void)xk_fail(err, code, "connecting to %s%s%s: no answer in time", told, gap, where.s);
        xk_err_hint(err, "is the machine up, and does a firewall let this port through?");
        return code;
    }
    (void)xk_fail_sys(err, code, "connecting to %s%s%s", told, gap, where.s);
    if (code == -ECONNREFUSED)
        xk_err_hint(err, "the machine is there, but nothing listens at this port");
    return code;
}

int resolve_connect(struct resolve_address *ret_peer, const struct resolve_addresses *addresses, const char *name,
                    const struct resolve_limits *limits, struct xk_err *err)
{
    struct race r = {0};
    int winner = -1, code = 0;

    for (uint64_t next_ns = 0; winner < 0 && code == 0;) {
        const uint64_t now_ns = limits->clock->monotonic_ns(limits->clock);
        if (r.begun < addresses->count && (now_ns >= next_ns || r.running == 0)) {
            winner = race_begin(&r, addresses);
            next_ns = now_ns + NEXT_NS;
            continue;
        }
        if (r.running == 0) {
            code = r.failed;
            break;
        }
        struct resolve_limits part = *limits;
        if (r.begun < addresses->count)
            part.deadline_ns = XK_MIN(limits->deadline_ns, next_ns);
        code = resolve_wait(r.fds, r.begun, &part);
        if (code > 0 || (code == -ETIMEDOUT && part.deadline_ns < limits->deadline_ns))
            code = 0;
        winner = race_look(&r);
    }
    for (unsigned i = 0; i < r.begun; i++)
        if (r.fds[i].fd >= 0 && (int)i != winner)
            (void)close(r.fds[i].fd);
    if (winner < 0)
        return say_why(&r, code ? code : -EHOSTUNREACH, addresses, name, err);
    const int fd = r.fds[winner].fd, on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (ret_peer)
        *ret_peer = addresses->list[winner];
    return fd;
}
