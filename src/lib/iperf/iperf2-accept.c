/*
 * What connects to us: a server's clients, and the server that a client has asked to connect back.
 *
 * Connections wait in one table until their header is whole, at most a few seconds, so that a silent one holds up
 * nobody. Datagrams are looked at in iperf2-accept-udp.c.
 */
#include "lib/iperf/iperf2-inner.h"

#include "core/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <string.h>
#include <time.h>

#define DESCRIPTORS  4096 /* wanted */
#define REDIAL_NS    (20 * XK_NS_PER_MS)
#define TIME_SLACK_S 600 /* between two clocks, for trip times to mean anything */

enum kind { HEADER, DIAL, REDIAL };

struct iperf2_pending {
    enum kind kind;
    int fd;
    uint64_t deadline_ns, began_ns, again_ns; /* again: of REDIAL */
    int64_t accepted_utc_ns;
    uint8_t data[IPERF2_HEADER_MAX];
    size_t have;
    /* DIAL: the flow that asked for it */
    struct iperf2_header asked;
    struct iperf2_about about;
    unsigned id;
};

int iperf2_accept_listen(struct iperf2_test *t, uint16_t from, uint16_t to, struct xk_err *err)
{
    const struct iperf2_settings *const s = t->settings;

    (void)xk_fd_limit_raise(DESCRIPTORS);
    t->pending = xk_array_alloc(IPERF2_PENDING_MAX, sizeof(*t->pending));
    if (!t->pending)
        return xk_fail_memory(err);
    for (int port = from; port <= XK_MAX(from, to); port++) {
        if (t->listener_count == IPERF2_PORTS_MAX)
            return xk_fail(err, -E2BIG, "more than %u ports", IPERF2_PORTS_MAX);
        const int fd = iperf2_socket_listen(t, (uint16_t)port, err);
        if (fd < 0)
            return fd;
        if (!s->udp)
            (void)fcntl(fd, F_SETFL, O_NONBLOCK);
        struct iperf2_end own = {.bytes = sizeof(own.v6)};
        (void)getsockname(fd, &own.any, &own.bytes);
        t->listeners[t->listener_count++] = (struct iperf2_listener){fd, iperf2_end_name(&own).port};
    }
    const struct iperf2_socket about = {
        .listens = true,
        .fd = t->listeners[0].fd,
        .port = t->listeners[0].port,
        .port_last = t->listeners[t->listener_count - 1].port,
        .window_bytes = iperf2_socket_window(t->listeners[0].fd, false),
        .block_bytes = s->block_bytes,
        .streams = 1,
    };
    t->events->socket(t->events->context, &about);
    return 0;
}

static void close_listeners(struct iperf2_test *t)
{
    for (unsigned i = 0; i < t->listener_count; i++)
        (void)close(t->listeners[i].fd);
    t->listener_count = 0;
}

void iperf2_accept_done(struct iperf2_test *t)
{
    for (unsigned i = 0; i < t->pending_count; i++)
        (void)close(t->pending[i].fd);
    t->pending_count = 0;
    free(t->pending);
    t->pending = NULL;
    close_listeners(t);
}

static void forget(struct iperf2_test *t, unsigned i)
{
    t->pending[i] = t->pending[--t->pending_count];
}

/* ---- flows from headers ---- */

/* What a test of these kinds would measure is not measured here. */
static const char *refused_kind(const struct iperf2_header *h)
{
    return h->isochronous   ? "--isochronous"
           : h->periodic    ? "--burst-period"
           : h->layer2      ? "--l2checks"
           : h->bounce_back ? "--bounceback"
                            : NULL;
}

static void fill_sender(struct iperf2_flow *f, const struct iperf2_header *h)
{
    const struct iperf2_settings *const s = f->test->settings;

    if (h->block_bytes)
        f->block_bytes = XK_MIN(h->block_bytes, s->udp ? IPERF2_UDP_MAX : IPERF2_ASKED_MAX);
    if (s->udp)
        f->block_bytes = XK_MAX(f->block_bytes, (uint32_t)IPERF2_DATAGRAM_BYTES);
    f->timed = h->timed;
    f->limit_bytes = h->timed ? 0 : h->amount;
    f->limit_ns = h->timed ? (uint64_t)h->amount * 10 * XK_NS_PER_MS : 0;
    f->rate = h->rate;
    f->rate_in_packets = h->packets;
    if (s->udp && f->rate == 0)
        f->rate = IPERF2_UDP_RATE;
    f->about.block_bytes = f->block_bytes;
    if (h->pacing_bytes)
        (void)setsockopt(f->fd, SOL_SOCKET, SO_MAX_PACING_RATE, &h->pacing_bytes, sizeof(h->pacing_bytes));
}

static void fill_receiver(struct iperf2_flow *f, const struct iperf2_header *h)
{
    const struct iperf2_settings *const s = f->test->settings;

    f->wide = h->wide;
    if (s->has_time)
        f->limit_ns = iperf2_now_ns() + s->hundredths * 10 * XK_NS_PER_MS;
    if (s->udp) {
        f->rate = h->rate;
        f->rate_in_packets = h->packets;
        f->about.clamp_bytes = 0;
        if (!s->window_bytes)
            iperf2_socket_widen(f->fd);
    } else {
        f->rate = s->has_rate ? s->rate : 0; /* to read at */
    }
}

static void describe(struct iperf2_flow *f, const struct iperf2_header *h, int64_t utc_ns)
{
    const struct iperf2_settings *const s = f->test->settings;
    const int64_t apart_s = utc_ns / (int64_t)XK_NS_PER_S - (int64_t)h->start_s;

    f->about.reverse = h->reverse;
    f->about.full_duplex = h->full_duplex;
    f->about.no_fin = h->no_fin || (s->udp && (h->reverse || h->full_duplex));
    f->about.quick_ack |= h->quick_ack;
    f->about.starts_later = h->starts_later;
    f->about.version_upper = h->version_upper;
    f->about.version_lower = h->version_lower;
    f->about.connected_utc_ns = utc_ns;
    f->about.tos = s->override_tos ? s->tos_back : h->tos;
    f->about.prefetch_bytes = h->prefetch_bytes;
    f->about.trip_times = h->trip_times;
    if (h->trip_times && !h->small_trip_times && !h->starts_later &&
        (apart_s > TIME_SLACK_S || apart_s < -TIME_SLACK_S)) {
        f->about.trip_times = false;
        iperf2_test_warn(f->test,
                         "WARN: ignore --trip-times because client didn't provide valid start timestamp within %d "
                         "seconds of now",
                         TIME_SLACK_S);
    }
    f->asked = *h;
    if (f->about.tos > 0 || s->override_tos)
        iperf2_socket_tos(f->test, f->fd, f->about.tos);
}

/* The header that a server that sends begins with, so that trip times have a beginning. */
static void begin_with_header(struct iperf2_flow *f, const struct iperf2_header *asked)
{
    const uint64_t utc_ns = (uint64_t)f->test->clock->utc_ns(f->test->clock);
    const struct iperf2_header h = {
        .timed = f->timed,
        .amount = asked->amount,
        .threads = 1,
        .port = asked->port,
        .version_upper = IPERF2_VERSION_UPPER,
        .version_lower = IPERF2_VERSION_LOWER,
        .trip_times = true,
        .start_s = (uint32_t)(utc_ns / XK_NS_PER_S),
        .start_us = (uint32_t)(utc_ns % XK_NS_PER_S / 1000),
    };

    if (f->about.trip_times)
        f->header_bytes = iperf2_header_encode(f->header, sizeof(f->header), &h, f->about.udp);
}

static struct iperf2_flow *sender_for(struct iperf2_test *t, int fd, const struct iperf2_header *h, unsigned id,
                                      bool starred, int64_t utc_ns)
{
    struct iperf2_flow *const f = iperf2_flow_new(t, fd, true, starred);

    if (!f)
        return NULL;
    f->about.id = id;
    fill_sender(f, h);
    describe(f, h, utc_ns);
    if (h->reverse || h->full_duplex)
        begin_with_header(f, h);
    iperf2_flow_join_group(f);
    return f;
}

static void acknowledge(struct iperf2_test *t, int fd, const struct iperf2_header *h, int64_t accepted_utc_ns)
{
    const struct iperf2_ack a = {
        .version_upper = IPERF2_VERSION_UPPER,
        .version_lower = IPERF2_VERSION_LOWER,
        .timed = h->trip_times,
        .sent_s = (double)h->start_s + (double)h->start_us / 1e6,
        .arrived_s = (double)accepted_utc_ns / 1e9,
        .acknowledged_s = (double)t->clock->utc_ns(t->clock) / 1e9,
    };
    uint8_t bytes[IPERF2_ACK_TIMED_BYTES];

    const size_t n = iperf2_ack_encode(bytes, &a);
    (void)send(fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* Whether the client may do what it asks for; what is refused is told by its name. */
static bool admit(struct iperf2_test *t, int fd, const struct iperf2_header *h)
{
    const struct iperf2_settings *const s = t->settings;
    const char *const kind = refused_kind(h);
    struct iperf2_about about = {.connected = true, .udp = s->udp};

    iperf2_socket_describe(fd, &about);
    if (kind) {
        iperf2_test_warn(t, "refused: client %s asks for %s, which is not supported", iperf2_end_name(&about.peer).s,
                         kind);
        return false;
    }
    if (s->udp || (!s->has_key && !h->has_key))
        return true;
    if (s->has_key && h->has_key && strcmp(s->key, h->key) == 0)
        return true;
    about.key_failed = true;
    t->events->connected(t->events->context, &about);
    return false;
}

struct iperf2_flow *iperf2_accept_take(struct iperf2_test *t, int fd, const struct iperf2_header *h,
                                       uint64_t first_bytes, int64_t utc_ns)
{
    struct iperf2_flow *f = NULL, *back = NULL;

    if (!admit(t, fd, h)) {
        (void)close(fd);
        return NULL;
    }
    const unsigned id = ++t->next_id;
    if (h->reverse) {
        f = sender_for(t, fd, h, id, false, utc_ns);
    } else if ((f = iperf2_flow_new(t, fd, false, false))) {
        f->about.id = id;
        fill_receiver(f, h);
        describe(f, h, utc_ns);
        f->first_bytes = first_bytes;
        f->start_ns = (uint64_t)XK_MAX(utc_ns - f->utc_offset_ns, INT64_C(1));
        iperf2_flow_join_group(f);
    }
    if (!f) {
        iperf2_test_warn(t, "too many connections");
        (void)close(fd);
        return NULL;
    }
    if (h->full_duplex) {
        const int other = dup(fd);
        back = other >= 0 ? sender_for(t, other, h, id, true, utc_ns) : NULL;
        if (!back || iperf2_flow_pair(f, back) < 0)
            iperf2_test_warn(t, "too many connections");
        f->limit_ns = h->timed ? f->start_ns + ((uint64_t)h->amount * 10 + IPERF2_SLOP_S * 1000) * XK_NS_PER_MS : 0;
    }
    if (h->dual || h->tradeoff)
        f->back_id = ++t->next_id;
    f->back_later = h->tradeoff;
    f->about.tcp.valid &= !t->only_peer && !t->settings->compatible; /* as the real one shows it */
    t->accepts_left -= t->accepts_left > 0;
    t->events->connected(t->events->context, &f->about);
    if (h->dual)
        iperf2_accept_dial(t, f);
    return f;
}

static void start_all(struct iperf2_test *t)
{
    for (unsigned i = 0; i < t->flow_count; i++) {
        if (!t->flows[i]->started && !atomic_load(&t->flows[i]->ended))
            (void)iperf2_flow_start(t->flows[i]);
    }
}

/* ---- connecting back ---- */

void iperf2_accept_dial(struct iperf2_test *t, const struct iperf2_flow *f)
{
    const struct iperf2_settings *const s = t->settings;
    struct iperf2_end to = f->about.peer;

    if (t->pending_count == IPERF2_PENDING_MAX || atomic_load(&t->stop))
        return;
    const int fd = iperf2_socket_open(t, to.any.sa_family, true);
    if (fd < 0)
        return;
    to.v4.sin_port = htons((uint16_t)f->asked.port); /* at the same place for both families */
    (void)fcntl(fd, F_SETFL, O_NONBLOCK);
    struct iperf2_pending *const p = &t->pending[t->pending_count];
    *p = (struct iperf2_pending){
        .kind = DIAL,
        .fd = fd,
        .began_ns = iperf2_now_ns(),
        .asked = f->asked,
        .about = f->about,
        .id = f->back_id,
    };
    p->deadline_ns = p->began_ns + IPERF2_DIAL_S * XK_NS_PER_S;
    p->about.peer = to;
    const struct iperf2_name name = iperf2_end_name(&to);
    const uint32_t block = f->asked.block_bytes ? f->asked.block_bytes : s->block_bytes;
    const uint64_t rate = f->asked.rate ? f->asked.rate : IPERF2_UDP_RATE;
    const struct iperf2_socket about = {
        .fd = fd,
        .host = name.s,
        .port = name.port,
        .window_bytes = iperf2_socket_window(fd, true),
        .mss = (int)s->mss,
        .block_bytes = block,
        .gap_us = 8e6 * (double)block / (double)rate,
        .streams = 1,
    };
    t->events->socket(t->events->context, &about);
    if (connect(fd, &to.any, to.bytes) < 0 && errno != EINPROGRESS) {
        iperf2_test_warn_errno(t, "tcp connect", errno);
        (void)close(fd);
        return;
    }
    t->pending_count++;
}

/* A client may listen a little later than it asks. returns whether to wait for it. */
static bool dial_later(struct iperf2_test *t, struct iperf2_pending *p)
{
    const uint64_t now = iperf2_now_ns();
    const int fd = now + REDIAL_NS < p->deadline_ns ? iperf2_socket_open(t, p->about.peer.any.sa_family, true) : -1;

    if (fd < 0)
        return false;
    (void)fcntl(fd, F_SETFL, O_NONBLOCK);
    (void)close(p->fd);
    p->fd = fd;
    p->kind = REDIAL;
    p->again_ns = now + REDIAL_NS;
    return true;
}

static void dial_again(struct iperf2_pending *p)
{
    if (iperf2_now_ns() < p->again_ns)
        return;
    p->kind = DIAL;
    if (connect(p->fd, &p->about.peer.any, p->about.peer.bytes) < 0 && errno != EINPROGRESS)
        p->deadline_ns = 0; /* and dialed() tells why */
}

static void dialed(struct iperf2_test *t, unsigned i)
{
    int error = 0;
    socklen_t bytes = sizeof(error);

    (void)getsockopt(t->pending[i].fd, SOL_SOCKET, SO_ERROR, &error, &bytes);
    if (error == ECONNREFUSED && dial_later(t, &t->pending[i]))
        return;
    const struct iperf2_pending p = t->pending[i];
    forget(t, i);
    if (error == 0 && iperf2_now_ns() >= p.deadline_ns && !t->settings->udp) {
        struct iperf2_end peer = {.bytes = sizeof(peer.v6)};
        if (getpeername(p.fd, &peer.any, &peer.bytes) < 0)
            error = ETIMEDOUT;
    }
    struct iperf2_header h = p.asked;
    h.dual = h.tradeoff = h.trip_times = false;
    struct iperf2_flow *const f = error ? NULL : sender_for(t, p.fd, &h, p.id, true, t->clock->utc_ns(t->clock));
    if (!f) {
        iperf2_test_warn_errno(t, "tcp connect", error ? error : ENOMEM);
        (void)close(p.fd);
        return;
    }
    (void)fcntl(p.fd, F_SETFL, 0);
    f->about.reverse = f->about.connected_back = true;
    f->about.no_fin = false;
    f->about.connect_ms = (double)(iperf2_now_ns() - p.began_ns) / 1e6;
    f->wide = true;
    t->events->connected(t->events->context, &f->about);
}

/* ---- TCP ---- */

static bool is_peer(const struct iperf2_test *t, int fd)
{
    struct iperf2_end peer = {.bytes = sizeof(peer.v6)};

    return !t->only_peer || (getpeername(fd, &peer.any, &peer.bytes) == 0 && iperf2_socket_same_host(&peer, &t->peer));
}

static void accept_tcp(struct iperf2_test *t, const struct iperf2_listener *l)
{
    while (t->pending_count < IPERF2_PENDING_MAX) {
        const int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            return;
        if (!is_peer(t, fd)) {
            (void)close(fd);
            continue;
        }
        const int64_t utc_ns = t->clock->utc_ns(t->clock);
        if (t->settings->compatible || t->only_peer) {
            /* Nothing stands at the beginning of these. */
            (void)iperf2_accept_take(t, fd, &(struct iperf2_header){0}, 0, utc_ns);
            continue;
        }
        const uint64_t now = iperf2_now_ns();
        (void)fcntl(fd, F_SETFL, O_NONBLOCK);
        t->pending[t->pending_count++] = (struct iperf2_pending){
            .kind = HEADER,
            .fd = fd,
            .began_ns = now,
            .deadline_ns = now + IPERF2_HEADER_S * XK_NS_PER_S,
            .accepted_utc_ns = utc_ns,
        };
        if (t->settings->single_client)
            return;
    }
}

static void drop(struct iperf2_test *t, unsigned i, const char *why)
{
    struct iperf2_about about = {0};

    if (why) {
        iperf2_socket_describe(t->pending[i].fd, &about);
        iperf2_test_warn(t, "%s failed", why);
    }
    (void)close(t->pending[i].fd);
    forget(t, i);
}

/* Read on; when the header is whole, begin. */
static void read_header(struct iperf2_test *t, unsigned i)
{
    struct iperf2_pending *const p = &t->pending[i];
    struct iperf2_header h;
    int need;

    while ((need = iperf2_header_need(p->data, p->have)) > (int)p->have) {
        const ssize_t n = recv(p->fd, p->data + p->have, (size_t)need - p->have, 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            if (iperf2_now_ns() >= p->deadline_ns)
                drop(t, i, "read tcp flags (runt)");
            return;
        }
        if (n <= 0)
            return drop(t, i, p->have ? "read tcp flags (runt)" : "read tcp flags (peer close)");
        p->have += (size_t)n;
    }
    if (need < 0 || iperf2_header_decode(&h, p->data, p->have, false, NULL) < 0)
        return drop(t, i, "read tcp test info");
    const struct iperf2_pending whole = *p;
    forget(t, i);
    (void)fcntl(whole.fd, F_SETFL, 0);
    const struct iperf2_flow *const f = iperf2_accept_take(t, whole.fd, &h, whole.have, whole.accepted_utc_ns);
    if (f && h.wants_ack)
        acknowledge(t, whole.fd, &h, whole.accepted_utc_ns);
}

/* ---- the loop ---- */

static bool accepts(const struct iperf2_test *t)
{
    const bool busy = t->flow_count > 0 || t->pending_count > 0;

    const bool one = t->settings->single_client || t->settings->multicast;

    return t->listener_count > 0 && !(one && busy && !t->only_peer);
}

static unsigned make_polls(const struct iperf2_test *t, struct pollfd *polls)
{
    unsigned n = 0;

    for (unsigned i = 0; accepts(t) && i < t->listener_count; i++)
        polls[n++] = (struct pollfd){.fd = t->listeners[i].fd, .events = POLLIN};
    for (unsigned i = 0; i < t->pending_count; i++)
        polls[n++] = (struct pollfd){.fd = t->pending[i].kind == REDIAL ? -1 : t->pending[i].fd,
                                     .events = t->pending[i].kind == DIAL ? POLLOUT : POLLIN};
    return n;
}

static void serve_polls(struct iperf2_test *t, const struct pollfd *polls, unsigned listeners)
{
    const uint64_t now = iperf2_now_ns();

    /* From the end, since what is done is replaced by the last one. */
    for (unsigned i = t->pending_count; i-- > 0;) {
        if (t->pending[i].kind == REDIAL) {
            dial_again(&t->pending[i]);
            continue;
        }
        if (!polls[listeners + i].revents && now < t->pending[i].deadline_ns)
            continue;
        if (t->pending[i].kind == DIAL)
            dialed(t, i);
        else
            read_header(t, i);
    }
    for (unsigned i = 0; i < listeners; i++) {
        if (polls[i].revents && t->accepts_left != 0)
            (t->settings->udp ? iperf2_accept_datagrams : accept_tcp)(t, &t->listeners[i]);
    }
}

/* No more connections are taken: the number is reached, or the time is over. */
static void close_when_done(struct iperf2_test *t)
{
    const bool late = t->accept_until_ns && iperf2_now_ns() >= t->accept_until_ns;

    if (t->listener_count == 0 || (t->accepts_left != 0 && !late && !atomic_load(&t->stop)))
        return;
    if (late && t->only_peer && t->accepts_left != 0 && !atomic_load(&t->stop)) {
        iperf2_test_warn(t, "ERROR: expected reverse connect did not occur");
        t->failed = true;
    }
    close_listeners(t);
    for (unsigned i = t->pending_count; i-- > 0;) {
        if (t->pending[i].kind == HEADER)
            drop(t, i, NULL);
    }
}

static void heed_stop(struct iperf2_test *t)
{
    if (!xk_stop_signal() || atomic_load(&t->stop))
        return;
    atomic_store(&t->stop, true);
    if (t->settings->server && t->flow_count)
        t->events->stopping(t->events->context);
}

int iperf2_accept_loop(struct iperf2_test *t, struct xk_err *err)
{
    xk_autofree struct pollfd *polls = xk_array_alloc(IPERF2_PORTS_MAX + IPERF2_PENDING_MAX + 1, sizeof(*polls));

    if (!polls)
        return xk_fail_memory(err);
    start_all(t);
    for (;;) {
        heed_stop(t);
        close_when_done(t);
        const uint64_t next = iperf2_test_tick(t);
        if (t->flow_count == 0 && t->listener_count == 0 && t->pending_count == 0)
            return 0;
        if (t->settings->multicast && t->settings->server && t->flow_count == 0)
            iperf2_accept_anybody(t);
        const unsigned listeners = accepts(t) ? t->listener_count : 0;
        const unsigned count = make_polls(t, polls);
        iperf2_test_wait(t, polls, count, next);
        serve_polls(t, polls, listeners);
        start_all(t);
    }
}
