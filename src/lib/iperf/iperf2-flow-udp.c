/*
 * Datagrams of iperf 2: numbered and stamped by the sender, counted exactly by the receiver.
 *
 * The last one has its number negated and is sent again until the receiver answers it with its report. Sent fast,
 * several go to the kernel as one message that it cuts up again (UDP_SEGMENT); at lower rates each goes at its own
 * time, counted from the beginning, so that the sum is right in the end. What comes is stamped by the kernel, since a
 * busy thread would measure its own delay.
 */
#include "lib/iperf/iperf2-inner.h"
#include "lib/iperf/segments.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/udp.h>
#include <poll.h>
#include <string.h>
#include <time.h>

#define SEGMENTS_MAX   64u
#define BATCH_NS       250000u /* of a fast stream that leave together */
#define BATCH_RATE_BPS UINT64_C(200000000)
#define CATCH_UP_NS    25000.0 /* between datagrams that are late */
#define MESSAGES       64
#define FIN_EVERY_MS   10
#define FIN_TRIES      200
#define FIN_SILENCE_MS 250 /* behind a report: the client has it */
#define FIN_REPORTS    9
#define HELLO_TRIES    100 /* of a client that is to be sent to */
#define HELLO_MS       20

struct sender {
    struct iperf2_flow *flow;
    uint8_t *data;
    size_t block;
    unsigned batch;
    bool segments;
    int file_fd;
    int64_t number; /* of the next one */
    double gap_ns;
    uint64_t sent;
};

static void sender_done(struct sender *s)
{
    if (s->data && s->file_fd >= 0)
        (void)close(s->file_fd);
    free(s->data);
}

static bool sender_init(struct sender *s, struct iperf2_flow *f)
{
    const struct iperf2_settings *const settings = f->test->settings;
    const double gap_ns = iperf2_flow_gap_s(f) * 1e9;
    unsigned batch = 1;

    if (gap_ns <= 0)
        batch = SEGMENTS_MAX;
    else if ((double)f->block_bytes * 8e9 / gap_ns >= (double)BATCH_RATE_BPS)
        batch = (unsigned)XK_MIN((double)SEGMENTS_MAX, BATCH_NS / gap_ns);
    batch = XK_MIN(batch, IPERF2_UDP_MAX / f->block_bytes);
    *s = (struct sender){.flow = f,
                         .block = f->block_bytes,
                         .batch = XK_MAX(batch, 1u),
                         .segments = true,
                         .file_fd = -1,
                         .number = 1,
                         .gap_ns = gap_ns};
    s->data = xk_alloc(s->block * s->batch);
    if (!s->data)
        return false;
    for (size_t i = 0; i < s->block * s->batch; i++)
        s->data[i] = (uint8_t)('0' + i % s->block % 10);
    for (unsigned i = 0; i < s->batch; i++)
        memcpy(s->data + i * s->block, f->header, XK_MIN(f->header_bytes, s->block));
    if (settings->file && !f->server_side)
        s->file_fd = strcmp(settings->file, "-") == 0 ? dup(STDIN_FILENO) : open(settings->file, O_RDONLY | O_CLOEXEC);
    return true;
}

static void stamp(const struct sender *s, uint8_t *at, int64_t number)
{
    struct timespec now;
    uint8_t words[IPERF2_DATAGRAM_BYTES];

    (void)clock_gettime(CLOCK_REALTIME, &now);
    iperf2_datagram_encode(
        words,
        &(struct iperf2_datagram){.number = number, .s = (uint32_t)now.tv_sec, .us = (uint32_t)(now.tv_nsec / 1000)});
    memcpy(at, words, XK_MIN(sizeof(words), s->block));
}

/* returns how many datagrams left; -1 with errno. */
static int send_batch(struct sender *s, unsigned count, size_t last_bytes)
{
    if (count > 1 && s->segments) {
        const ssize_t n = iperf_send_segments(s->flow->fd, s->data, (uint16_t)s->block, count);
        if (n >= 0)
            return (int)count;
        if (errno != EIO && errno != EINVAL && errno != EMSGSIZE && errno != EOPNOTSUPP && errno != ENOPROTOOPT)
            return -1;
        s->segments = false;
    }
    for (unsigned i = 0; i < count; i++) {
        const size_t bytes = i + 1 == count ? last_bytes : s->block;
        if (send(s->flow->fd, s->data + i * s->block, bytes, MSG_NOSIGNAL) < 0)
            return i ? (int)i : -1;
    }
    return (int)count;
}

/* A stream that was held up makes good for it without sleeping, and still not in one burst. */
static uint64_t due(const struct sender *s, uint64_t last_ns)
{
    const double step = s->gap_ns * s->batch;

    return XK_MAX(s->flow->start_ns + (uint64_t)((double)s->sent * s->gap_ns),
                  last_ns + (uint64_t)XK_MIN(step / 2, CATCH_UP_NS));
}

static void count_datagrams(struct iperf2_flow *f, uint64_t now, uint64_t bytes, unsigned count, bool failed)
{
    pthread_mutex_lock(&f->lock);
    iperf2_flow_cut(f, now);
    f->now.count.bytes += bytes;
    f->now.count.calls += count;
    f->now.count.call_errors += failed;
    f->now.count.packets += count;
    f->now.count.datagrams += count;
    f->now.count.last_ns = now;
    pthread_mutex_unlock(&f->lock);
}

/* returns bytes of the last datagram of the batch; 0: there is no more. */
static size_t fill(struct sender *s, unsigned *count)
{
    struct iperf2_flow *const f = s->flow;

    *count = s->batch;
    if (s->file_fd >= 0) {
        const size_t from = XK_MIN(s->block, XK_MAX(f->header_bytes, (size_t)IPERF2_DATAGRAM_BYTES));
        *count = 1;
        const ssize_t n = from < s->block ? read(s->file_fd, s->data + from, s->block - from) : 0;
        return n > 0 ? from + (size_t)n : 0;
    }
    if (f->timed || f->endless)
        return s->block;
    const uint64_t left = f->limit_bytes - f->now.count.bytes;
    if (left <= s->block) {
        *count = 1;
        return XK_MAX((size_t)left, XK_MIN(s->block, (size_t)IPERF2_DATAGRAM_BYTES));
    }
    *count = (unsigned)XK_MIN((uint64_t)s->batch, left / s->block);
    return s->block;
}

static void send_data(struct sender *s)
{
    struct iperf2_flow *const f = s->flow;
    uint64_t last_ns = 0, now = f->start_ns;

    while (s->file_fd >= 0 ? iperf2_flow_may_run(f) : !iperf2_flow_over(f, now)) {
        unsigned count;
        if (s->gap_ns > 0 && s->sent > 0) {
            const uint64_t at = due(s, last_ns);
            if (f->timed && !f->endless && at >= f->limit_ns && s->file_fd < 0) {
                (void)iperf2_flow_sleep_until(f, f->limit_ns, false);
                return;
            }
            if (!iperf2_flow_sleep_until(f, at, s->batch == 1))
                return;
        }
        const size_t last = fill(s, &count);
        if (last == 0)
            return;
        for (unsigned i = 0; i < count; i++)
            stamp(s, s->data + i * s->block, s->number + (int64_t)i);
        const int n = send_batch(s, count, last);
        const bool failed = n < 0;
        last_ns = now = iperf2_now_ns();
        if (failed && errno != EAGAIN && errno != EINTR && errno != ENOBUFS && errno != ECONNREFUSED)
            return iperf2_flow_fail(f, "write", errno);
        const unsigned sent = n > 0 ? (unsigned)n : 0;
        s->number += sent;
        s->sent += XK_MAX(sent, 1u); /* one that failed has had its time, too */
        count_datagrams(f, now, sent ? (sent - 1) * s->block + (sent == count ? last : s->block) : 0, sent, failed);
    }
}

/* The report of the receiver, or nothing when it does not answer. */
static void await_report(struct sender *s)
{
    struct iperf2_flow *const f = s->flow;
    uint8_t answer[2048];
    int refused = 0;

    for (int i = 0; i < FIN_TRIES; i++) {
        struct pollfd p = {.fd = f->fd, .events = POLLIN};
        if (poll(&p, 1, FIN_EVERY_MS) > 0) {
            const ssize_t n = recv(f->fd, answer, sizeof(answer), MSG_DONTWAIT);
            if (n > 0 && iperf2_report_decode(&f->relay, answer, (size_t)n, NULL) == 0) {
                f->has_relay = true;
                return;
            }
            if (n >= 0 || errno != ECONNREFUSED)
                continue;
            /* Nobody is there, and that is known at once: no need to wait for each. */
            if (refused++ == 0)
                iperf2_flow_fail(f, "read", ECONNREFUSED);
            (void)poll(NULL, 0, FIN_EVERY_MS);
        }
        (void)send(f->fd, s->data, s->block, MSG_NOSIGNAL);
    }
    f->no_ack = true;
}

void iperf2_flow_udp_send(struct iperf2_flow *f)
{
    const struct iperf2_settings *const settings = f->test->settings;
    struct sender s __attribute__((cleanup(sender_done))) = {.file_fd = -1};

    if (!sender_init(&s, f)) {
        iperf2_flow_fail(f, "memory", ENOMEM);
        return iperf2_flow_end(f);
    }
    if (!f->server_side) {
        uint64_t at = iperf2_now_ns() + (uint64_t)(settings->delay_s * 1e9);
        if (settings->start_s > 0)
            at = (uint64_t)XK_MAX((int64_t)(settings->start_s * 1e9) - f->utc_offset_ns, INT64_C(0));
        (void)iperf2_flow_sleep_until(f, at, true);
    }
    pthread_mutex_lock(&f->lock);
    f->start_ns = iperf2_now_ns();
    pthread_mutex_unlock(&f->lock);
    f->limit_ns += f->start_ns;
    send_data(&s);
    stamp(&s, s.data, -s.number);
    const uint64_t now = iperf2_now_ns();
    const ssize_t n = send(f->fd, s.data, s.block, MSG_NOSIGNAL);
    count_datagrams(f, now, n > 0 ? (uint64_t)n : 0, n > 0, false);
    iperf2_flow_end(f);
    if (!f->about.no_fin && !f->shares_fd && !settings->multicast)
        await_report(&s);
}

/* ---- receiving ---- */

bool iperf2_flow_datagram(struct iperf2_flow *f, const uint8_t *data, size_t bytes, int64_t arrived_utc_ns)
{
    struct iperf2_datagram d;

    if (!iperf2_datagram_decode(&d, data, bytes, f->wide))
        return false; /* none of ours */
    const bool last = d.number < 0;
    const uint64_t number = (uint64_t)(last ? -d.number : d.number);
    const double transit_s = (double)arrived_utc_ns / 1e9 - (double)d.s - (double)d.us / 1e6;
    const int64_t at = arrived_utc_ns - f->utc_offset_ns;
    uint64_t now = at > (int64_t)f->start_ns ? (uint64_t)at : f->start_ns;

    now = XK_MAX(now, f->now.count.last_ns);
    iperf2_flow_cut(f, now);
    const bool first = f->loss.unique == 0;
    iperf_loss_add(&f->loss, number);
    const double change = transit_s > f->transit_last_s ? transit_s - f->transit_last_s : f->transit_last_s - transit_s;
    f->transit_last_s = transit_s;
    if (!first)
        f->now.jitter_s += (change - f->now.jitter_s) / 16;
    iperf2_spread_add(&f->now.transit, transit_s);
    iperf2_spread_add(&f->transit_total, transit_s);
    f->now.count.bytes += bytes;
    f->now.count.calls++;
    f->now.count.packets++;
    f->now.count.datagrams = (int64_t)f->loss.highest;
    f->now.count.errors = (int64_t)iperf_loss_lost(&f->loss);
    f->now.count.out_of_order = (int64_t)f->loss.reordered;
    f->now.count.last_ns = now;
    return last;
}

union control {
    char bytes[CMSG_SPACE(sizeof(struct timespec))];
    struct cmsghdr align;
};

struct receiver {
    uint8_t *data;
    size_t slot;
    struct mmsghdr messages[MESSAGES];
    struct iovec vectors[MESSAGES];
    union control controls[MESSAGES];
};

static void receiver_done(struct receiver *r)
{
    free(r->data);
}

static int64_t arrival(const struct msghdr *m)
{
    struct timespec at = {0};

    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR((struct msghdr *)m, c)) {
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS)
            memcpy(&at, CMSG_DATA(c), sizeof(at));
    }
    if (at.tv_sec == 0)
        (void)clock_gettime(CLOCK_REALTIME, &at);
    return (int64_t)at.tv_sec * (int64_t)XK_NS_PER_S + at.tv_nsec;
}

/* returns datagrams; 0: none for now; -1: the flow is over. */
static int receive_some(struct iperf2_flow *f, struct receiver *r, bool *ret_last)
{
    for (unsigned i = 0; i < MESSAGES; i++) {
        r->vectors[i] = (struct iovec){r->data + i * r->slot, r->slot};
        r->messages[i].msg_hdr = (struct msghdr){.msg_iov = &r->vectors[i],
                                                 .msg_iovlen = 1,
                                                 .msg_control = r->controls[i].bytes,
                                                 .msg_controllen = sizeof(r->controls[i].bytes)};
    }
    const int n = recvmmsg(f->fd, r->messages, MESSAGES, MSG_WAITFORONE, NULL);
    if (n < 0 && errno != EAGAIN && errno != EINTR && errno != ECONNREFUSED) {
        iperf2_flow_fail(f, "recvmsg", errno);
        return -1;
    }
    pthread_mutex_lock(&f->lock);
    for (int i = 0; i < n && !*ret_last; i++)
        *ret_last = iperf2_flow_datagram(f, r->data + (size_t)i * r->slot, r->messages[i].msg_len,
                                         arrival(&r->messages[i].msg_hdr));
    pthread_mutex_unlock(&f->lock);
    return XK_MAX(n, 0);
}

static void make_report(const struct iperf2_flow *f, struct iperf2_report *ret)
{
    const struct iperf2_counts *const c = &f->now.count;
    const double seconds = (double)(c->last_ns - f->start_ns) / 1e9;

    *ret = (struct iperf2_report){
        .bytes = c->bytes,
        .seconds = seconds,
        .jitter_s = f->now.jitter_s,
        .errors = c->errors,
        .out_of_order = c->out_of_order,
        .datagrams = c->datagrams,
        .has_transit = f->test->settings->enhanced || f->about.trip_times,
        .transit = f->transit_total,
        .packets_per_s = seconds > 0 ? (uint32_t)((double)c->packets / seconds) : 0,
    };
}

/* Answer the last datagram until the client is quiet. */
static void send_report(struct iperf2_flow *f, uint8_t *scratch, size_t bytes)
{
    struct iperf2_report report;
    uint8_t answer[IPERF2_REPORT_BYTES];

    make_report(f, &report);
    iperf2_report_encode(answer, &report);
    for (int i = 0; i < FIN_REPORTS; i++) {
        struct pollfd p = {.fd = f->fd, .events = POLLIN};
        if (send(f->fd, answer, sizeof(answer), MSG_NOSIGNAL) < 0 && errno != ECONNREFUSED)
            return iperf2_flow_fail(f, "write-ackfin", errno);
        if (poll(&p, 1, FIN_SILENCE_MS) == 0)
            return;
        const ssize_t n = recv(f->fd, scratch, bytes, MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN)
            return; /* it has closed its end: it needs nothing more */
    }
    f->no_ack = true;
}

static void say_hello(struct iperf2_flow *f)
{
    xk_autofree uint8_t *hello = xk_zalloc(XK_MAX((size_t)f->block_bytes, f->header_bytes));
    struct sender s = {.flow = f, .block = f->block_bytes};

    if (!hello)
        return;
    for (int i = 0; i < HELLO_TRIES && iperf2_flow_may_run(f); i++) {
        struct pollfd p = {.fd = f->fd, .events = POLLIN};
        memcpy(hello, f->header, f->header_bytes);
        stamp(&s, hello, 1);
        (void)send(f->fd, hello, XK_MAX((size_t)f->block_bytes, f->header_bytes), MSG_NOSIGNAL);
        if (poll(&p, 1, HELLO_MS) > 0 && (p.revents & POLLIN))
            return;
    }
}

void iperf2_flow_udp_receive(struct iperf2_flow *f)
{
    struct receiver *r = xk_zalloc(sizeof(*r));
    bool last = atomic_load(&f->saw_last), any = false;

    if (r)
        r->data = xk_alloc((r->slot = XK_MIN((size_t)IPERF2_UDP_MAX + 1, (size_t)f->block_bytes + 2048)) * MESSAGES);
    if (!r || !r->data) {
        iperf2_flow_fail(f, "memory", ENOMEM);
        free(r);
        return iperf2_flow_end(f);
    }
    if (f->header_bytes && !f->shares_fd)
        say_hello(f);
    if (f->start_ns == 0) {
        pthread_mutex_lock(&f->lock);
        f->start_ns = iperf2_now_ns();
        pthread_mutex_unlock(&f->lock);
    }
    const uint64_t gaps_ns = (uint64_t)(iperf2_flow_gap_s(f) * 3e9);
    const uint64_t silence_ns = IPERF2_SILENCE_S * XK_NS_PER_S + gaps_ns, gone_ns = XK_NS_PER_S + gaps_ns;
    uint64_t heard = iperf2_now_ns();
    while (iperf2_flow_may_run(f) && !last) {
        const int n = receive_some(f, r, &last);
        const uint64_t now = iperf2_now_ns();
        if (n < 0)
            break;
        heard = n > 0 ? now : heard;
        any |= n > 0;
        last |= atomic_load(&f->saw_last);
        if (f->limit_ns && now >= f->limit_ns) {
            /*
             * A server says that it ends, and says so again until it is answered: one that did not is gone. Where it
             * does not say so, the last datagrams may be lost, and one that was silent for longer is gone.
             */
            const bool says_end = !f->about.no_fin && !f->shares_fd;
            if (!f->server_side && (!any || says_end || heard + IPERF2_SLOP_S * XK_NS_PER_S + gone_ns < f->limit_ns))
                iperf2_flow_fail(f, "recvmsg", ETIMEDOUT);
            break;
        }
        if (now >= heard + silence_ns) {
            iperf2_flow_fail(f, "recvmsg", ETIMEDOUT);
            break;
        }
    }
    iperf2_flow_end(f);
    if (last && !f->about.no_fin && !f->shares_fd && !f->test->settings->multicast)
        send_report(f, r->data, r->slot);
    receiver_done(r);
    free(r);
}
