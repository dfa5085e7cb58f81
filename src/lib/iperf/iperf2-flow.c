/*
 * One direction of a stream: a thread that sends or receives until it is over.
 *
 * Counting is cut into intervals by the thread itself, at the first packet behind the end of one, so that an interval
 * has what came in it however late the report is written; when nothing comes, the reporter cuts. Sockets block with a
 * short timeout: one system call for each block, and a stop is seen soon.
 */
#include "lib/iperf/iperf2-inner.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#define PATIENCE_MS    100
#define SLEEP_NS       (50 * XK_NS_PER_MS)
#define SPIN_NS        30000u /* before a deadline that has to be met */
#define CLOSE_LEAST_NS (2 * XK_NS_PER_S)
#define EARLY_NS       (300 * XK_NS_PER_MS) /* by which a server may end before its time: its clock began later */

uint64_t iperf2_now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * XK_NS_PER_S + (uint64_t)now.tv_nsec;
}

bool iperf2_flow_may_run(const struct iperf2_flow *f)
{
    return !atomic_load_explicit(&f->test->stop, memory_order_relaxed);
}

static void wake(struct iperf2_flow *f)
{
    const uint64_t one = 1;

    if (write(f->test->wake_fd, &one, sizeof(one)) < 0)
        return; /* the counter is full: it is awake */
}

void iperf2_flow_fail(struct iperf2_flow *f, const char *what, int error)
{
    atomic_store(&f->failed_at, what);
    atomic_store(&f->failed, error);
}

void iperf2_flow_end(struct iperf2_flow *f)
{
    if (f->about.sending && !f->about.udp && f->test->settings->enhanced)
        iperf2_socket_tcp(f->fd, &f->now.tcp);
    atomic_store(&f->ended, true);
    wake(f);
}

void iperf2_flow_cut(struct iperf2_flow *f, uint64_t now_ns)
{
    const uint64_t interval_ns = f->test->settings->interval_ns;

    while (interval_ns && now_ns >= f->start_ns + (f->cut_count + 1) * interval_ns &&
           f->cut_count - f->cut_told < IPERF2_CUTS) {
        if (f->about.sending && !f->about.udp && f->test->settings->enhanced)
            iperf2_socket_tcp(f->fd, &f->now.tcp);
        f->cuts[f->cut_count++ % IPERF2_CUTS] = f->now;
        f->now.transit = f->now.write_us = (struct iperf2_spread){0};
    }
}

bool iperf2_flow_sleep_until(const struct iperf2_flow *f, uint64_t at_ns, bool precise)
{
    const uint64_t spin_ns = precise ? SPIN_NS : 0;

    while (iperf2_flow_may_run(f)) {
        const uint64_t now = iperf2_now_ns();
        if (now >= at_ns)
            return true;
        if (now + spin_ns >= at_ns)
            continue;
        const uint64_t until = XK_MIN(at_ns - spin_ns, now + SLEEP_NS);
        const struct timespec at = {.tv_sec = (time_t)(until / XK_NS_PER_S), .tv_nsec = (long)(until % XK_NS_PER_S)};
        (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
    }
    return false;
}

double iperf2_flow_gap_s(const struct iperf2_flow *f)
{
    if (f->gap_s > 0)
        return f->gap_s;
    if (f->rate == 0)
        return 0;
    return f->rate_in_packets ? 1 / (double)f->rate : (double)f->block_bytes * 8 / (double)f->rate;
}

bool iperf2_flow_over(const struct iperf2_flow *f, uint64_t now_ns)
{
    if (!iperf2_flow_may_run(f))
        return true;
    if (f->endless)
        return false;
    return f->timed ? now_ns >= f->limit_ns : f->now.count.bytes >= f->limit_bytes;
}

/* ---- TCP, sending ---- */

/* Where the bytes come from. */
struct source {
    uint8_t *block;
    int file_fd;
    size_t file_left, file_at; /* of what was read */
};

static bool source_open(struct source *s, struct iperf2_flow *f)
{
    const char *const path = f->test->settings->file;

    s->file_fd = -1;
    s->block = xk_alloc(XK_MAX(f->block_bytes, (uint32_t)IPERF2_BURST_BYTES));
    for (uint32_t i = 0; s->block && i < f->block_bytes; i++)
        s->block[i] = (uint8_t)('0' + i % 10);
    if (s->block && path && !f->server_side)
        s->file_fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
    return s->block;
}

static void source_done(struct source *s)
{
    if (s->block && s->file_fd >= 0)
        (void)close(s->file_fd);
    free(s->block);
}

/* Send from the block. returns bytes; 0: the file is at its end; -1 with errno. */
static ssize_t source_send(struct source *s, struct iperf2_flow *f, size_t bytes)
{
    if (s->file_fd < 0)
        return send(f->fd, s->block, bytes, MSG_NOSIGNAL);
    if (s->file_left == 0) {
        const ssize_t got = read(s->file_fd, s->block, f->block_bytes);
        if (got <= 0)
            return got;
        s->file_left = (size_t)got;
        s->file_at = 0;
    }
    const ssize_t n = send(f->fd, s->block + s->file_at, s->file_left, MSG_NOSIGNAL);
    s->file_left -= n > 0 ? (size_t)n : 0;
    s->file_at += n > 0 ? (size_t)n : 0;
    return n;
}

static void count_sent(struct iperf2_flow *f, uint64_t now, uint64_t bytes, uint64_t calls, double write_us)
{
    pthread_mutex_lock(&f->lock);
    iperf2_flow_cut(f, now);
    f->now.count.bytes += bytes;
    f->now.count.calls += calls;
    f->now.count.packets += (int64_t)calls;
    f->now.count.last_ns = now;
    if (write_us > 0) {
        iperf2_spread_add(&f->now.write_us, write_us);
        iperf2_spread_add(&f->write_total, write_us);
    }
    pthread_mutex_unlock(&f->lock);
}

/* All of it, or until a stop. */
static bool send_whole(struct iperf2_flow *f, const uint8_t *data, size_t bytes)
{
    for (size_t done = 0; done < bytes;) {
        const ssize_t n = send(f->fd, data + done, bytes - done, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            iperf2_flow_fail(f, "tcp write", errno);
            return false;
        }
        done += n > 0 ? (size_t)n : 0;
        if (!iperf2_flow_may_run(f))
            return false;
    }
    return true;
}

static void write_burst(struct iperf2_flow *f, uint8_t *block, uint32_t bytes, uint32_t id)
{
    const uint64_t utc_ns = iperf2_now_ns() + (uint64_t)f->utc_offset_ns;
    const uint64_t start_ns = f->start_ns + (uint64_t)f->utc_offset_ns;
    const struct iperf2_burst b = {
        .sent_s = (uint32_t)(utc_ns / XK_NS_PER_S),
        .sent_us = (uint32_t)(utc_ns % XK_NS_PER_S / 1000),
        .start_s = (uint32_t)(start_ns / XK_NS_PER_S),
        .start_us = (uint32_t)(start_ns % XK_NS_PER_S / 1000),
        .id = id,
        .bytes = bytes,
        .number = (uint64_t)id * bytes,
    };

    iperf2_burst_encode(block, &b);
}

static void await_ack(struct iperf2_flow *f)
{
    const size_t want = f->about.trip_times ? IPERF2_ACK_TIMED_BYTES : IPERF2_ACK_BYTES;
    const uint64_t until = iperf2_now_ns() + IPERF2_HEADER_S * XK_NS_PER_S;
    uint8_t answer[IPERF2_ACK_TIMED_BYTES];
    size_t have = 0;

    while (have < want && iperf2_flow_may_run(f) && iperf2_now_ns() < until) {
        const ssize_t n = recv(f->fd, answer + have, want - have, 0);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            break;
        have += n > 0 ? (size_t)n : 0;
    }
    if (have < want || iperf2_ack_decode(&f->ack, answer, have, NULL) < 0)
        return iperf2_flow_fail(f, "recvack", have < want ? ETIMEDOUT : EBADMSG);
    f->ack_arrived_s = (double)((int64_t)iperf2_now_ns() + f->utc_offset_ns) / 1e9;
    atomic_store(&f->has_ack, true);
    wake(f);
}

/* Say the beginning, wait as long as was asked for, and count from then on. */
static bool begin_tcp(struct iperf2_flow *f)
{
    const struct iperf2_settings *const s = f->test->settings;

    if (f->header_bytes && !send_whole(f, f->header, f->header_bytes))
        return false;
    if (f->awaits_ack)
        await_ack(f);
    if (!f->server_side) {
        uint64_t at = iperf2_now_ns() + (uint64_t)(s->delay_s * 1e9);
        if (s->start_s > 0)
            at = (uint64_t)XK_MAX((int64_t)(s->start_s * 1e9) - f->utc_offset_ns, INT64_C(0));
        if (!iperf2_flow_sleep_until(f, at, false))
            return false;
    }
    pthread_mutex_lock(&f->lock);
    f->start_ns = iperf2_now_ns();
    pthread_mutex_unlock(&f->lock);
    f->limit_ns += f->start_ns;
    if (f->header_bytes)
        count_sent(f, f->start_ns, f->header_bytes, 0, 0);
    return true;
}

/* The test is over for the sender when the far side has closed as well: all of it has come. */
static void close_tcp(struct iperf2_flow *f)
{
    const uint64_t least = f->timed ? XK_MAX(CLOSE_LEAST_NS, f->limit_ns - f->start_ns) : CLOSE_LEAST_NS;
    const uint64_t until = iperf2_now_ns() + XK_MIN(least, 60 * XK_NS_PER_S);
    uint8_t rest[4096];

    if (shutdown(f->fd, SHUT_WR) < 0) {
        if (f->failed == 0)
            iperf2_flow_fail(f, "shutdown", errno);
        return;
    }
    if (f->shares_fd)
        return;
    for (;;) {
        const ssize_t n = recv(f->fd, rest, sizeof(rest), 0);
        if (n == 0)
            return;
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return iperf2_flow_fail(f, "client await server close", errno);
        if (iperf2_now_ns() >= until)
            return iperf2_flow_fail(f, "client await server close", ETIMEDOUT);
        if (!iperf2_flow_may_run(f) && n < 0)
            return;
    }
}

static void send_blocks(struct iperf2_flow *f, struct source *s)
{
    const bool bursts = f->about.trip_times, times = f->test->settings->write_times;
    const double gap_ns = iperf2_flow_gap_s(f) * 1e9;
    const uint32_t block = bursts ? XK_MAX(f->block_bytes, (uint32_t)IPERF2_BURST_BYTES) : f->block_bytes;
    uint64_t blocks = 0, now = f->start_ns;
    size_t in_block = 0; /* sent of a burst */
    uint32_t id = 0;

    while (s->file_fd >= 0 ? iperf2_flow_may_run(f) : !iperf2_flow_over(f, now)) {
        size_t bytes = block;
        if (!f->timed && !f->endless && s->file_fd < 0)
            bytes = (size_t)XK_MIN((uint64_t)block, f->limit_bytes - f->now.count.bytes);
        if (gap_ns > 0 && in_block == 0 &&
            !iperf2_flow_sleep_until(f, f->start_ns + (uint64_t)((double)blocks * gap_ns), false))
            return;
        if (bursts && in_block == 0)
            write_burst(f, s->block, block, ++id);
        const uint64_t before = times ? iperf2_now_ns() : 0;
        const ssize_t n =
            bursts ? send(f->fd, s->block + in_block, block - in_block, MSG_NOSIGNAL) : source_send(s, f, bytes);
        now = iperf2_now_ns();
        if (n == 0)
            return;
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return iperf2_flow_fail(f, "tcp write", errno);
        if (n < 0)
            continue;
        blocks += in_block == 0;
        in_block = bursts ? (in_block + (size_t)n) % block : 0;
        count_sent(f, now, (uint64_t)n, 1, times ? (double)(now - before) / 1e3 : 0);
    }
}

static void send_tcp(struct iperf2_flow *f)
{
    struct source s __attribute__((cleanup(source_done))) = {0};

    if (!source_open(&s, f))
        return iperf2_flow_fail(f, "memory", ENOMEM);
    if (!begin_tcp(f))
        return;
    send_blocks(f, &s);
    close_tcp(f);
    pthread_mutex_lock(&f->lock);
    const uint64_t now = iperf2_now_ns();
    iperf2_flow_cut(f, now);
    f->now.count.last_ns = now;
    pthread_mutex_unlock(&f->lock);
}

/* ---- TCP, receiving ---- */

/* Trip times: where the stream stands in its bursts. */
struct bursts {
    uint8_t head[IPERF2_BURST_BYTES];
    size_t have, left; /* of a head, of the burst behind it */
    uint8_t header[IPERF2_HEADER_MAX];
    size_t header_have;
    bool in_header;
    struct iperf2_burst burst;
    bool lost; /* the stream is no chain of bursts: nothing can be said */
};

/* returns bytes of a header at the beginning, which tells nothing new. */
static size_t skip_header(struct bursts *b, const uint8_t *data, size_t bytes)
{
    size_t done = 0;

    while (b->in_header) {
        const int need = iperf2_header_need(b->header, b->header_have);
        b->lost = need <= 0 || (size_t)need > sizeof(b->header);
        b->in_header = !b->lost && (size_t)need > b->header_have;
        if (!b->in_header || done == bytes)
            break;
        const size_t part = XK_MIN((size_t)need - b->header_have, bytes - done);
        memcpy(b->header + b->header_have, data + done, part);
        b->header_have += part;
        done += part;
    }
    return done;
}

static void follow_bursts(struct iperf2_flow *f, struct bursts *b, const uint8_t *data, size_t bytes, uint64_t now)
{
    const size_t skipped = skip_header(b, data, bytes);

    data += skipped;
    bytes -= skipped;
    while (bytes > 0 && !b->lost) {
        if (b->left > 0) {
            const size_t part = XK_MIN(bytes, b->left);
            b->left -= part;
            bytes -= part;
            data += part;
        } else {
            const size_t part = XK_MIN(bytes, sizeof(b->head) - b->have);
            memcpy(b->head + b->have, data, part);
            b->have += part;
            bytes -= part;
            data += part;
            if (b->have < sizeof(b->head))
                return;
            b->have = 0;
            b->lost = iperf2_burst_decode(&b->burst, b->head, NULL) < 0;
            b->left = b->lost ? 0 : b->burst.bytes - IPERF2_BURST_BYTES;
        }
        if (b->left == 0 && !b->lost) {
            const double arrived_s = (double)((int64_t)now + f->utc_offset_ns) / 1e9;
            const double transit_s = arrived_s - (double)b->burst.sent_s - (double)b->burst.sent_us / 1e6;
            iperf2_spread_add(&f->now.transit, transit_s);
            iperf2_spread_add(&f->transit_total, transit_s);
        }
    }
}

static void count_read(struct iperf2_flow *f, struct bursts *b, const uint8_t *data, uint64_t bytes, uint64_t now)
{
    const uint64_t width = XK_MAX(f->block_bytes / IPERF2_BINS, 1u);

    pthread_mutex_lock(&f->lock);
    iperf2_flow_cut(f, now);
    f->now.count.bytes += bytes;
    f->now.count.calls++;
    f->now.count.packets++;
    f->now.count.bins[XK_MIN((bytes - 1) / width, (uint64_t)IPERF2_BINS - 1)]++;
    f->now.count.last_ns = now;
    if (b && data)
        follow_bursts(f, b, data, (size_t)bytes, now);
    pthread_mutex_unlock(&f->lock);
}

static void quick_ack(const struct iperf2_flow *f)
{
    if (f->about.quick_ack)
        (void)setsockopt(f->fd, IPPROTO_TCP, TCP_QUICKACK, &(int){1}, sizeof(int));
}

/* A client knows what it has asked for: a server that is gone before has not done it. */
static bool is_cut_off(const struct iperf2_flow *f, uint64_t now)
{
    if (f->server_side || !(f->about.reverse || f->about.full_duplex) || !iperf2_flow_may_run(f))
        return false;
    if (f->limit_ns)
        return now + IPERF2_SLOP_S * XK_NS_PER_S + EARLY_NS < f->limit_ns;
    return f->now.count.bytes + IPERF2_HEADER_MAX < f->limit_bytes;
}

static void receive_tcp(struct iperf2_flow *f)
{
    const size_t room = XK_MAX(f->block_bytes, 1u);
    xk_autofree uint8_t *block = xk_alloc(room);
    struct bursts bursts = {.in_header = f->skips_header};
    const double ns_per_byte = f->rate ? 8e9 / (double)f->rate : 0;
    uint64_t now = iperf2_now_ns(), heard = now;

    if (!block)
        return iperf2_flow_fail(f, "memory", ENOMEM);
    if (f->start_ns == 0) {
        pthread_mutex_lock(&f->lock);
        f->start_ns = now;
        pthread_mutex_unlock(&f->lock);
    }
    if (f->first_bytes)
        count_read(f, NULL, NULL, f->first_bytes, f->start_ns);
    while (iperf2_flow_may_run(f) && (f->limit_ns == 0 || now < f->limit_ns)) {
        if (ns_per_byte > 0 &&
            !iperf2_flow_sleep_until(f, f->start_ns + (uint64_t)((double)f->now.count.bytes * ns_per_byte), false))
            break;
        quick_ack(f);
        const ssize_t n = recv(f->fd, block, room, 0);
        now = iperf2_now_ns();
        if (n > 0) {
            heard = now;
            count_read(f, f->about.trip_times ? &bursts : NULL, block, (uint64_t)n, now);
            if (f->limit_bytes && f->now.count.bytes >= f->limit_bytes)
                break;
        } else if (n == 0) {
            if (is_cut_off(f, now))
                iperf2_flow_fail(f, "recv", ECONNRESET);
            break;
        } else if (errno != EAGAIN && errno != EINTR) {
            iperf2_flow_fail(f, "recv", errno);
            break;
        } else if (now >= heard + IPERF2_IDLE_S * XK_NS_PER_S) {
            iperf2_flow_fail(f, "recv", ETIMEDOUT);
            break;
        }
    }
    pthread_mutex_lock(&f->lock);
    iperf2_flow_cut(f, now);
    f->now.count.last_ns = now;
    pthread_mutex_unlock(&f->lock);
}

/* ---- the thread ---- */

static void be_real_time(struct iperf2_flow *f)
{
    const struct sched_param most = {.sched_priority = sched_get_priority_max(SCHED_RR)};

    (void)prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
    if (f->test->settings->real_time && pthread_setschedparam(pthread_self(), SCHED_RR, &most) != 0)
        iperf2_flow_fail(f, "sched_setscheduler", EPERM);
}

void *iperf2_flow_run(void *flow)
{
    struct iperf2_flow *const f = flow;
    const struct timeval patience = {.tv_usec = PATIENCE_MS * 1000};

    be_real_time(f);
    (void)setsockopt(f->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    (void)setsockopt(f->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    if (f->about.udp) {
        (f->about.sending ? iperf2_flow_udp_send : iperf2_flow_udp_receive)(f);
    } else {
        (f->about.sending ? send_tcp : receive_tcp)(f);
        /* What the client waits for, to know that all of it has come. */
        if (!f->about.sending && !f->shares_fd)
            (void)shutdown(f->fd, SHUT_RDWR);
        iperf2_flow_end(f);
    }
    atomic_store(&f->gone, true);
    wake(f);
    return NULL;
}
