/*
 * Datagrams: numbered and stamped by the sender, counted exactly by the receiver.
 *
 * Sent fast, several go to the kernel as one message that it cuts up again (UDP_SEGMENT); on the wire that makes no
 * difference. Where it cannot, they go in one call of sendmmsg, and at low rates one by one, each at its own time.
 * Received fast, the kernel gives several as one (UDP_GRO), which costs the arrival time of each; so only then.
 */
#include "lib/iperf/inner.h"
#include "lib/iperf/pace.h"
#include "lib/iperf/segments.h"

#include <endian.h>
#include <errno.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define SEGMENTS_MAX   64u
#define MESSAGES_LEAST 4u
#define MESSAGES_MOST  64u
#define MESSAGES_ALL   256u /* of all streams: 16 MiB, and 32 for as many streams as there may be */
#define SLOT_BYTES     65536u
#define BATCH_NS       250000u /* of a fast stream that leave together */
#define BATCH_RATE_BPS UINT64_C(200000000)
#define GRO_PPS        50000u
#define GATHER_NS      200000L /* for which what comes fast gathers between two looks */
#define GATHER_SHARE   8       /* of the socket's buffer that may be full of it */
#define HEADER_BYTES   16u
#define SPIN_NS        30000u               /* before the time of a datagram, which a sleep would miss */
#define CROWDED_NS     XK_NS_PER_MS         /* late by so much: others want the processor, too */
#define CALM_NS        (100 * XK_NS_PER_MS) /* without that: they do not any more */
#define SPIN_LATE_NS   200000u              /* by a late one, which may not get the processor back in time */

/* How datagrams are given to the kernel; a way that it refuses is not tried again. */
enum way { BY_SEGMENTS, BY_MESSAGES, ONE_BY_ONE };

struct sender {
    struct iperf_flow *flow;
    size_t block; /* bytes of a datagram */
    uint8_t *data;
    struct mmsghdr *messages;
    struct iovec *vectors;
    unsigned batch; /* datagrams at once */
    enum way way;
    uint64_t number;  /* of the last one sent */
    uint64_t calm_ns; /* from when on the processor is taken for free again */
};

static void stamp(uint8_t *at, uint64_t number, bool wide)
{
    const uint64_t now = iperf_now_ns();
    const uint32_t sec = htobe32((uint32_t)(now / XK_NS_PER_S));
    const uint32_t usec = htobe32((uint32_t)(now % XK_NS_PER_S / 1000));

    memcpy(at, &sec, 4);
    memcpy(at + 4, &usec, 4);
    if (wide) {
        const uint64_t n = htobe64(number);
        memcpy(at + 8, &n, 8);
    } else {
        const uint32_t n = htobe32((uint32_t)number);
        memcpy(at + 8, &n, 4);
    }
}

/* returns datagrams that left; -1 with errno. */
static ssize_t send_batch(struct sender *s, unsigned count)
{
    if (count > 1 && s->way == BY_SEGMENTS) {
        const ssize_t n = iperf_send_segments(s->flow->fd, s->data, (uint16_t)s->block, count);
        if (n >= 0 || (errno != EIO && errno != EINVAL && errno != EMSGSIZE && errno != EOPNOTSUPP))
            return n;
        s->way = BY_MESSAGES;
    }
    if (count > 1 && s->way == BY_MESSAGES) {
        const int n = sendmmsg(s->flow->fd, s->messages, count, MSG_NOSIGNAL);
        if (n >= 0 || errno != ENOSYS)
            return n;
        s->way = ONE_BY_ONE;
    }
    return send(s->flow->fd, s->data, s->block, MSG_NOSIGNAL) < 0 ? -1 : 1;
}

static int sender_init(struct sender *s, struct iperf_flow *f)
{
    const struct iperf_params *const p = &f->test->params;
    const uint32_t most = XK_MIN(SEGMENTS_MAX, IPERF_UDP_BLOCK_MAX / f->test->block_bytes);
    const uint64_t in_batch = p->rate_bps / 8 * BATCH_NS / XK_NS_PER_S / f->test->block_bytes;

    *s = (struct sender){.flow = f, .block = f->test->block_bytes};
    s->batch = p->rate_bps == 0 ? most : p->rate_bps < BATCH_RATE_BPS ? 1 : (unsigned)XK_MIN((uint64_t)most, in_batch);
    s->batch = XK_MAX(s->batch, 1u);
    s->data = xk_zalloc(s->block * s->batch);
    s->messages = xk_array_alloc(s->batch, sizeof(*s->messages));
    s->vectors = xk_array_alloc(s->batch, sizeof(*s->vectors));
    if (!s->data || !s->messages || !s->vectors)
        return -ENOMEM;
    for (size_t i = HEADER_BYTES; i < s->block * s->batch; i++)
        s->data[i] = p->repeating_payload ? (uint8_t)('0' + i % s->block % 10) : (uint8_t)(i * 167 >> 3);
    for (unsigned i = 0; i < s->batch; i++) {
        s->vectors[i] = (struct iovec){s->data + i * s->block, s->block};
        s->messages[i].msg_hdr = (struct msghdr){.msg_iov = &s->vectors[i], .msg_iovlen = 1};
    }
    return 0;
}

static void sender_done(struct sender *s)
{
    free(s->data);
    free(s->messages);
    free(s->vectors);
}

/* Wait for the time of the next batch. returns whether to go on. */
static bool wait_turn(struct sender *s, struct iperf_pace *pace)
{
    const uint64_t now = iperf_now_ns();
    bool late;
    const uint64_t due = iperf_pace_due(pace, now, &late);

    /* Who stays awake for a microsecond's sake beside busy neighbours loses milliseconds to them later. */
    if (now > due + CROWDED_NS)
        s->calm_ns = now + CALM_NS;
    const uint64_t spin = s->batch == 1 && now >= s->calm_ns ? SPIN_NS : 0;
    return iperf_flow_sleep_until(s->flow, due, late ? SPIN_LATE_NS : spin);
}

void iperf_flow_udp_send(struct iperf_flow *f)
{
    const struct iperf_params *const p = &f->test->params;
    xk_auto(sender_done) struct sender s = {0};
    struct iperf_pace pace = {.begin_ns = iperf_now_ns(), .rate_bps = p->rate_bps};
    uint32_t in_burst = 0;

    if (sender_init(&s, f) < 0)
        return iperf_flow_fail(f, ENOMEM);
    for (bool more = true; more;) {
        if (p->rate_bps && in_burst++ % XK_MAX(p->burst, 1u) == 0 && !wait_turn(&s, &pace))
            return;
        for (unsigned i = 0; i < s.batch; i++)
            stamp(s.data + i * s.block, s.number + 1 + i, p->counters_64bit);
        const ssize_t n = send_batch(&s, s.batch);
        if (n < 0 && errno != EAGAIN && errno != EINTR && errno != ENOBUFS && errno != ECONNREFUSED)
            return iperf_flow_fail(f, errno);
        const uint64_t count = n > 0 ? (uint64_t)n : 0;
        s.number += count;
        if (p->rate_bps)
            iperf_pace_sent(&pace, iperf_now_ns(), count * s.block);
        atomic_store_explicit(&f->packets, f->packets + (int64_t)count, memory_order_relaxed);
        more = iperf_flow_sent(f, count * s.block, count);
    }
}

/* ---- receiving ---- */

union control {
    char bytes[CMSG_SPACE(sizeof(struct timespec)) + CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
};

struct receiver {
    struct iperf_flow *flow;
    uint8_t *data; /* as many slots as there are messages */
    struct mmsghdr *messages;
    struct iovec *vectors;
    union control *controls;
    size_t slot;
    unsigned count; /* messages at once */
};

static void one_datagram(struct iperf_flow *f, const uint8_t *data, size_t bytes, double arrival_s)
{
    uint32_t sec, usec, low;
    uint64_t number;

    if (bytes < HEADER_BYTES - 4)
        return; /* a greeting that came late */
    memcpy(&sec, data, 4);
    memcpy(&usec, data + 4, 4);
    if (f->test->params.counters_64bit && bytes >= HEADER_BYTES) {
        memcpy(&number, data + 8, 8);
        number = be64toh(number);
    } else {
        memcpy(&low, data + 8, 4);
        number = be32toh(low);
    }
    const bool first = f->loss.highest == 0;
    iperf_loss_add(&f->loss, number);
    const double transit = arrival_s - (double)be32toh(sec) - (double)be32toh(usec) / 1e6;
    const double change = transit > f->transit_s ? transit - f->transit_s : f->transit_s - transit;
    if (!first)
        f->jitter_s += (change - f->jitter_s) / 16;
    f->transit_s = transit;
    atomic_store_explicit(&f->bytes, f->bytes + bytes, memory_order_relaxed);
}

static void one_message(struct receiver *r, const struct mmsghdr *m, const uint8_t *data)
{
    struct iperf_flow *const f = r->flow;
    struct timespec stamp_ts = {0};
    int segment = 0;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m->msg_hdr); c; c = CMSG_NXTHDR((struct msghdr *)&m->msg_hdr, c)) {
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS)
            memcpy(&stamp_ts, CMSG_DATA(c), sizeof(stamp_ts));
        else if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO)
            memcpy(&segment, CMSG_DATA(c), sizeof(segment));
    }
    const double arrival_s =
        stamp_ts.tv_sec ? (double)stamp_ts.tv_sec + (double)stamp_ts.tv_nsec / 1e9 : (double)iperf_now_ns() / 1e9;
    const size_t step = segment > 0 ? (size_t)segment : m->msg_len;
    if (step)
        f->segments_max = XK_MAX(f->segments_max, (uint32_t)((m->msg_len + step - 1) / step));
    for (size_t at = 0; at < m->msg_len; at += step)
        one_datagram(f, data + at, XK_MIN(step, m->msg_len - at), arrival_s);
}

static bool is_fast(const struct iperf_test *t)
{
    return t->params.rate_bps == 0 || t->params.rate_bps / 8 / t->block_bytes > GRO_PPS;
}

static int receiver_init(struct receiver *r, struct iperf_flow *f)
{
    const int on = 1;

    *r = (struct receiver){.flow = f};
    (void)setsockopt(f->fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on));
    const bool gro = is_fast(f->test) && setsockopt(f->fd, SOL_UDP, UDP_GRO, &on, sizeof(on)) == 0;
    r->slot = gro ? SLOT_BYTES : XK_MIN((size_t)SLOT_BYTES, (size_t)f->test->block_bytes + 64);
    r->count = XK_MIN(XK_MAX(MESSAGES_ALL / f->test->flow_count, MESSAGES_LEAST), MESSAGES_MOST);
    r->data = xk_alloc(r->slot * r->count);
    r->messages = xk_array_alloc(r->count, sizeof(*r->messages));
    r->vectors = xk_array_alloc(r->count, sizeof(*r->vectors));
    r->controls = xk_array_alloc(r->count, sizeof(*r->controls));
    if (!r->data || !r->messages || !r->vectors || !r->controls)
        return -ENOMEM;
    for (unsigned i = 0; i < r->count; i++) {
        r->vectors[i] = (struct iovec){r->data + i * r->slot, r->slot};
        r->messages[i].msg_hdr = (struct msghdr){.msg_iov = &r->vectors[i], .msg_iovlen = 1};
    }
    return 0;
}

/*
 * Whoever waits for a datagram is woken by it, and on one machine that is the sender's work: a wake-up for each few of
 * them slows a sender down that sends them one by one (iperf3's by a quarter). The socket has room for what comes
 * meanwhile, and the kernel has stamped it. What comes put together needs no such thing.
 */
static void let_gather(void)
{
    const struct timespec pause = {.tv_nsec = GATHER_NS};

    (void)nanosleep(&pause, NULL);
}

static void receiver_done(struct receiver *r)
{
    free(r->data);
    free(r->messages);
    free(r->vectors);
    free(r->controls);
}

void iperf_flow_udp_receive(struct iperf_flow *f)
{
    struct iperf_test *const t = f->test;
    xk_auto(receiver_done) struct receiver r = {0};

    if (receiver_init(&r, f) < 0)
        return iperf_flow_fail(f, ENOMEM);
    const bool fast = is_fast(t);
    while (!atomic_load_explicit(&t->stop, memory_order_relaxed)) {
        for (unsigned i = 0; i < r.count; i++) {
            r.messages[i].msg_hdr.msg_control = r.controls[i].bytes;
            r.messages[i].msg_hdr.msg_controllen = sizeof(r.controls[i].bytes);
        }
        const int n = recvmmsg(f->fd, r.messages, r.count, MSG_WAITFORONE, NULL);
        if (n < 0 && errno != EAGAIN && errno != EINTR && errno != ECONNREFUSED)
            return iperf_flow_fail(f, errno);
        if (n <= 0) {
            if (iperf_flow_quiet(f))
                return;
            continue;
        }
        const uint64_t before = f->bytes;
        atomic_store_explicit(&f->last_ns, iperf_now_ns(), memory_order_relaxed);
        pthread_mutex_lock(&f->lock);
        for (int i = 0; i < n; i++)
            one_message(&r, &r.messages[i], r.data + (size_t)i * r.slot);
        pthread_mutex_unlock(&f->lock);
        const uint64_t more = f->bytes - before;
        const uint64_t got = atomic_fetch_add_explicit(&t->got_bytes, more, memory_order_relaxed) + more;
        if ((t->params.bytes && got >= t->params.bytes) ||
            (t->params.blocks && got / t->block_bytes >= t->params.blocks))
            iperf_flow_wake(f);
        if (fast && f->segments_max == 1 && (unsigned)n < r.count && more < (uint64_t)t->rcvbuf_bytes / GATHER_SHARE)
            let_gather();
    }
}
