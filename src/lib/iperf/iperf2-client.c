/*
 * The client's side, and the door of both.
 *
 * All streams are connected first, one after the other, then all of them begin; so that none has the link for itself.
 */
#include "lib/iperf/iperf2-inner.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>

#define RETRY_NS        (200 * XK_NS_PER_MS)
#define CONNECT_S       130 /* as long as the kernel tries */
#define CONNECTS        10  /* of a test that only connects */
#define TRADEOFF_SLOP_S 3

struct client {
    struct iperf2_test *test;
    struct resolve_addresses to, own;
    bool told_socket;
    struct iperf2_spread connect_ms;
    unsigned failed;
};

/* An address some steps further, for one of several streams. */
static void advance(struct iperf2_end *e, unsigned steps)
{
    if (e->any.sa_family == AF_INET) {
        e->v4.sin_addr.s_addr = htonl(ntohl(e->v4.sin_addr.s_addr) + steps);
        return;
    }
    for (int i = 15; i >= 0 && steps; i--) {
        steps += e->v6.sin6_addr.s6_addr[i];
        e->v6.sin6_addr.s6_addr[i] = (uint8_t)steps;
        steps >>= 8;
    }
}

static struct iperf2_end end_of(const struct resolve_address *a, uint16_t port)
{
    struct iperf2_end e = {.bytes = a->bytes};

    memcpy(&e.v6, &a->v6, sizeof(e.v6));
    e.v4.sin_port = htons(port); /* at the same place for both families */
    return e;
}

static int resolve_ends(struct client *c, struct xk_err *err)
{
    const struct iperf2_settings *const s = c->test->settings;
    const struct resolve_limits limits = {
        .clock = c->test->clock, .deadline_ns = RESOLVE_NO_DEADLINE, .root = s->root ? s->root : ""};
    int code = resolve_name(&c->to, s->host, s->port, s->ipv6 ? AF_INET6 : AF_INET, &limits, NULL);

    if (code < 0 && !s->ipv6 && code != -EINTR)
        code = resolve_name(&c->to, s->host, s->port, AF_UNSPEC, &limits, NULL);
    if (code < 0)
        return xk_fail(err, code, "%s: Unknown host", s->host);
    if (s->bind_host && resolve_name(&c->own, s->bind_host, 0, c->to.list[0].any.sa_family, &limits, NULL) < 0)
        return xk_fail(err, -EADDRNOTAVAIL, "%s: Unknown host", s->bind_host);
    return 0;
}

static void tell_socket(struct client *c, int fd)
{
    struct iperf2_test *const t = c->test;
    const struct iperf2_settings *const s = t->settings;
    int mss = 0;
    socklen_t bytes = sizeof(mss);
    double gap_us = s->gap_s * 1e6;

    if (c->told_socket)
        return;
    c->told_socket = true;
    if (!s->udp)
        (void)getsockopt(fd, IPPROTO_TCP, 2 /* TCP_MAXSEG */, &mss, &bytes);
    if (gap_us <= 0 && s->rate > 0)
        gap_us = s->rate_in_packets ? 1e6 / (double)s->rate : 8e6 * s->block_bytes / (double)s->rate;
    const struct iperf2_socket about = {
        .fd = fd,
        .host = s->host,
        .port = s->port,
        .window_bytes = iperf2_socket_window(fd, true),
        .mss = s->mss ? (int)s->mss : mss,
        .gap_us = gap_us,
        .block_bytes = s->block_bytes,
        .streams = s->parallel,
    };
    t->events->socket(t->events->context, &about);
}

/* Bind to what the user named. returns 0; -1: it was warned of, and the test goes on without it. */
static int bind_own(struct client *c, int fd, unsigned index)
{
    const struct iperf2_settings *const s = c->test->settings;

    if (!s->bind_host)
        return 0;
    const bool next_port = s->next_own_port || !(s->next_port || s->next_host || s->next_own_host);
    struct iperf2_end own =
        end_of(&c->own.list[0], (uint16_t)(s->bind_port ? s->bind_port + (next_port ? index : 0) : 0));
    if (s->next_own_host)
        advance(&own, index);
    if (bind(fd, &own.any, own.bytes) == 0)
        return 0;
    iperf2_test_warn_errno(c->test, "bind", errno);
    return -1;
}

/* Connect, also when that takes long; a stop ends it. returns 0; an errno value. */
static int connect_patiently(int fd, const struct iperf2_end *to)
{
    const uint64_t until = iperf2_now_ns() + CONNECT_S * XK_NS_PER_S;
    int error = 0;
    socklen_t bytes = sizeof(error);

    (void)fcntl(fd, F_SETFL, O_NONBLOCK);
    if (connect(fd, &to->any, to->bytes) < 0) {
        if (errno != EINPROGRESS)
            return errno;
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        while (poll(&p, 1, 50) <= 0) {
            if (xk_stop_signal())
                return EINTR;
            if (iperf2_now_ns() >= until)
                return ETIMEDOUT;
        }
        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &bytes) < 0)
            return errno;
    }
    if (error == 0)
        (void)fcntl(fd, F_SETFL, 0);
    return error;
}

/* returns a connected socket; -1: that was told. ret_ms: how long it took. */
static int connect_one(struct client *c, unsigned index, double *ret_ms)
{
    struct iperf2_test *const t = c->test;
    const struct iperf2_settings *const s = t->settings;
    const uint16_t port = (uint16_t)(s->port + (s->next_port ? index : 0));
    struct iperf2_end to = end_of(&c->to.list[0], port);
    int error = 0;

    if (s->next_host)
        advance(&to, index);
    for (int tries = 0; tries <= s->connect_retries; tries++) {
        const int fd = iperf2_socket_open(t, to.any.sa_family, true);
        if (fd < 0)
            return -1;
        (void)bind_own(c, fd, index);
        if (!s->udp)
            tell_socket(c, fd);
        const uint64_t begin = iperf2_now_ns();
        error = connect_patiently(fd, &to);
        *ret_ms = (double)(iperf2_now_ns() - begin) / 1e6;
        if (error == 0) {
            tell_socket(c, fd);
            iperf2_spread_add(&c->connect_ms, *ret_ms);
            return fd;
        }
        (void)close(fd);
        iperf2_test_warn_errno(t, s->udp ? "udp connect" : "tcp connect", error);
        if (error == EINTR)
            break;
        if (tries < s->connect_retries)
            t->clock->sleep_ns(t->clock, RETRY_NS);
    }
    c->failed++;
    t->failed = true;
    return -1;
}

static void make_header(struct iperf2_flow *f)
{
    struct iperf2_test *const t = f->test;
    const struct iperf2_settings *const s = t->settings;
    const uint64_t utc_ns = s->start_s > 0 ? (uint64_t)(s->start_s * 1e9) : (uint64_t)t->clock->utc_ns(t->clock);
    const bool back = s->mode != IPERF2_NORMAL;
    uint64_t rate = s->has_rate ? s->rate : s->udp ? IPERF2_UDP_RATE : 0;

    if (rate && s->rate_in_packets && back)
        rate *= 8 * (uint64_t)s->block_bytes; /* what older servers understand */
    struct iperf2_header h = {
        .wide = s->udp,
        .dual = s->mode == IPERF2_DUAL,
        .tradeoff = s->mode == IPERF2_TRADEOFF,
        .reverse = s->mode == IPERF2_REVERSE,
        .full_duplex = s->mode == IPERF2_FULL_DUPLEX,
        .peer_detect = s->peer_detect,
        .no_fin = f->about.no_fin,
        .trip_times = s->trip_times,
        .small_trip_times = s->udp && s->trip_times && s->block_bytes < 128 && !back,
        .starts_later = s->start_s > 0,
        .quick_ack = s->quick_ack && s->mode != IPERF2_REVERSE,
        .has_key = s->has_key,
        .threads = s->parallel,
        .port = s->listen_port ? s->listen_port : s->port,
        .block_bytes = s->has_block ? s->block_bytes : 0,
        .timed = s->timed || s->endless,
        .amount = (uint32_t)XK_MIN(s->timed     ? s->hundredths
                                   : s->endless ? UINT64_MAX
                                                : s->bytes,
                                   (uint64_t)IPERF2_AMOUNT_MAX),
        .version_upper = IPERF2_VERSION_UPPER,
        .version_lower = IPERF2_VERSION_LOWER,
        .tos = (uint8_t)s->tos,
        .rate = rate,
        .prefetch_bytes = back ? s->prefetch_bytes : 0,
        .start_s = (uint32_t)(utc_ns / XK_NS_PER_S),
        .start_us = (uint32_t)(utc_ns % XK_NS_PER_S / 1000),
        .pacing_bytes = s->pacing_bytes,
    };
    memcpy(h.key, s->key, sizeof(h.key));
    f->header_bytes = iperf2_header_encode(f->header, sizeof(f->header), &h, s->udp);
    f->awaits_ack = s->peer_detect && !s->udp;
}

static void fill(struct iperf2_flow *f, unsigned id, double connect_ms)
{
    struct iperf2_test *const t = f->test;
    const struct iperf2_settings *const s = t->settings;

    f->about.id = id;
    f->about.reverse = s->mode == IPERF2_REVERSE;
    f->about.full_duplex = s->mode == IPERF2_FULL_DUPLEX;
    f->about.no_fin = s->no_fin || (s->udp && f->about.full_duplex);
    f->about.trip_times = s->trip_times;
    f->about.starts_later = s->start_s > 0;
    f->about.tos = s->tos;
    f->about.connect_ms = connect_ms;
    f->about.connected_utc_ns = t->clock->utc_ns(t->clock);
    f->wide = true;
    f->gap_s = s->gap_s;
    f->rate = s->rate;
    f->rate_in_packets = s->rate_in_packets;
    f->timed = s->timed;
    f->endless = s->endless;
    f->limit_bytes = s->timed || s->endless ? 0 : s->bytes;
    if (f->about.sending) {
        f->limit_ns = s->timed ? s->hundredths * 10 * XK_NS_PER_MS : 0;
        return;
    }
    f->limit_ns = s->timed ? iperf2_now_ns() + (s->hundredths * 10 + IPERF2_SLOP_S * 1000) * XK_NS_PER_MS : 0;
    f->skips_header = s->trip_times;
    if (s->udp && !s->window_bytes)
        iperf2_socket_widen(f->fd);
    if (s->udp)
        (void)setsockopt(f->fd, SOL_SOCKET, SO_TIMESTAMPNS, &(int){1}, sizeof(int));
}

/* One stream: its flow, or both of its flows. returns 0; -ENOMEM. */
static int begin_stream(struct iperf2_test *t, int fd, double connect_ms)
{
    const struct iperf2_settings *const s = t->settings;
    const bool reverse = s->mode == IPERF2_REVERSE, both = s->mode == IPERF2_FULL_DUPLEX;
    struct iperf2_flow *const f = iperf2_flow_new(t, fd, !reverse, reverse);
    struct iperf2_about shown;

    if (!f) {
        (void)close(fd);
        return -ENOMEM;
    }
    fill(f, ++t->next_id, connect_ms);
    if (!s->compatible)
        make_header(f);
    shown = f->about;
    shown.starred = false;
    t->events->connected(t->events->context, &shown);
    if (s->parallel > 1 || s->sum_only || (both && !s->enhanced))
        iperf2_flow_join_group(f);
    if (both) {
        const int other = dup(fd);
        struct iperf2_flow *const back = other < 0 ? NULL : iperf2_flow_new(t, other, false, true);
        if (!back || iperf2_flow_pair(f, back) < 0)
            return -ENOMEM;
        fill(back, f->about.id, connect_ms);
        if (f->group)
            iperf2_flow_join_group(back);
    }
    return 0;
}

/* The server that is to send hears of it first. returns 0; -1 with errno. */
static int ask(struct iperf2_flow *f)
{
    if (f->about.udp || f->about.sending || !f->header_bytes || f->shares_fd)
        return 0;
    const ssize_t n = send(f->fd, f->header, f->header_bytes, MSG_NOSIGNAL);
    return n == (ssize_t)f->header_bytes ? 0 : -1;
}

static void start_streams(struct iperf2_test *t)
{
    for (unsigned i = 0; i < t->flow_count; i++) {
        struct iperf2_flow *const f = t->flows[i];
        if (f->started)
            continue;
        if (ask(f) < 0)
            iperf2_flow_fail(f, "send_hdr", errno);
        (void)iperf2_flow_start(f);
    }
}

static int run_streams(struct client *c, struct xk_err *err)
{
    struct iperf2_test *const t = c->test;
    const struct iperf2_settings *const s = t->settings;

    for (unsigned i = 0; i < s->parallel && !xk_stop_signal(); i++) {
        double ms = 0;
        const int fd = connect_one(c, i, &ms);
        if (fd < 0)
            continue;
        if (begin_stream(t, fd, ms) < 0)
            return xk_fail_memory(err);
        if (s->no_connect_sync)
            start_streams(t);
    }
    start_streams(t);
    const int code = iperf2_accept_loop(t, err);
    if (s->enhanced && !s->udp && !s->sum_only && c->connect_ms.count > 1)
        t->events->connects(t->events->context, &c->connect_ms, c->failed);
    return code;
}

static void only_connect(struct client *c)
{
    struct iperf2_test *const t = c->test;
    const struct iperf2_settings *const s = t->settings;
    const uint64_t end = iperf2_now_ns() + s->hundredths * 10 * XK_NS_PER_MS;
    uint64_t next = iperf2_now_ns();
    int left = s->interval_ns ? -1 : s->connects < 0 ? CONNECTS : s->connects == 0 ? -1 : s->connects;

    t->next_id = 1;
    while (left != 0 && !xk_stop_signal() && (!s->timed || iperf2_now_ns() < end)) {
        struct iperf2_about about = {.id = 1, .connected = true};
        const int fd = connect_one(c, 0, &about.connect_ms);
        if (fd >= 0) {
            iperf2_socket_describe(fd, &about);
            about.connected_utc_ns = t->clock->utc_ns(t->clock);
            t->events->connected(t->events->context, &about);
            (void)close(fd);
        }
        left -= left > 0;
        next += s->interval_ns;
        const uint64_t now = iperf2_now_ns();
        if (s->interval_ns && next > now && left != 0)
            t->clock->sleep_ns(t->clock, XK_MIN(next, XK_MAX(end, now)) - now);
    }
    if (s->enhanced && c->connect_ms.count > 1)
        t->events->connects(t->events->context, &c->connect_ms, c->failed);
}

/* The port that the server connects back to. */
static int listen_for_server(struct client *c, struct xk_err *err)
{
    struct iperf2_test *const t = c->test;
    const struct iperf2_settings *const s = t->settings;
    const uint16_t port = s->listen_port ? s->listen_port : s->port;
    const uint64_t slop_s = s->mode == IPERF2_TRADEOFF ? s->hundredths / 100 + TRADEOFF_SLOP_S : IPERF2_SLOP_S;

    t->only_peer = true;
    t->peer = end_of(&c->to.list[0], 0);
    t->accepts_left = (int)s->parallel;
    t->accept_until_ns = iperf2_now_ns() + (s->hundredths / 100 + slop_s + 1) * XK_NS_PER_S;
    return iperf2_accept_listen(t, port, port, err);
}

int iperf2_client(const struct iperf2_settings *s, const struct iperf2_events *events, const struct xk_clock *clock,
                  struct xk_err *err)
{
    struct iperf2_test t;
    struct client c = {.test = &t};

    int code = iperf2_test_init(&t, s, events, clock, err);
    if (code == 0)
        code = resolve_ends(&c, err);
    if (code == 0 && (s->mode == IPERF2_DUAL || s->mode == IPERF2_TRADEOFF))
        code = listen_for_server(&c, err);
    if (code == 0 && s->connect_only)
        only_connect(&c);
    else if (code == 0)
        code = run_streams(&c, err);
    iperf2_test_done(&t);
    return code < 0 ? code : t.failed;
}

int iperf2_server(const struct iperf2_settings *s, const struct iperf2_events *events, const struct xk_clock *clock,
                  struct xk_err *err)
{
    struct iperf2_test t;

    int code = iperf2_test_init(&t, s, events, clock, err);
    t.accepts_left = s->parallel ? (int)s->parallel : -1;
    if (s->has_time)
        t.accept_until_ns = iperf2_now_ns() + s->hundredths * 10 * XK_NS_PER_MS;
    else if (s->has_key && s->key_timeout_s > 0)
        t.accept_until_ns = iperf2_now_ns() + (uint64_t)(s->key_timeout_s * 1e9);
    if (code == 0)
        code = iperf2_accept_listen(&t, s->port, s->port_last, err);
    if (code == 0)
        code = iperf2_accept_loop(&t, err);
    iperf2_test_done(&t);
    return code;
}
