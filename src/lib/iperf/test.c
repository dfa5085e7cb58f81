/*
 * What client and server do alike: streams, intervals, what is left out at the beginning, results.
 *
 * Numbers are never reset. A snapshot of each stream is taken where the measuring begins and at each interval's end;
 * what is told is always the difference of two snapshots.
 */
#include "lib/iperf/inner.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#define SHORT_INTERVAL 0.1 /* of an interval: a shorter last one without bytes is not told */
#define TIMERSLACK_NS  1ul

/* ---- begin and end ---- */

int iperf_test_init(struct iperf_test *t, const struct iperf_settings *s, const struct iperf_events *events,
                    const struct xk_clock *clock, struct xk_err *err)
{
    t->settings = s;
    t->events = events;
    t->clock = clock;
    t->utc_begin_ns = clock->utc_ns(clock);
    t->block_fd = -1;
    t->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (t->wake_fd < 0)
        return iperf_fail(err, IPERF_E_INITTEST, errno);
    t->interval = xk_zalloc(sizeof(*t->interval));
    return t->interval ? 0 : iperf_fail(err, IPERF_E_INITTEST, ENOMEM);
}

void iperf_test_done(struct iperf_test *t)
{
    atomic_store(&t->stop, true);
    for (unsigned i = 0; i < t->flow_count; i++) {
        struct iperf_flow *const f = &t->flows[i];
        (void)shutdown(f->fd, SHUT_RDWR);
        iperf_flow_join(f);
        (void)close(f->fd);
        if (f->file_fd >= 0)
            (void)close(f->file_fd);
        iperf_loss_done(&f->loss);
        (void)pthread_mutex_destroy(&f->lock);
    }
    free(t->block);
    if (t->block_fd >= 0)
        (void)close(t->block_fd);
    free(t->flows);
    free(t->interval);
    free(t->server_text);
    free(t->server_json);
    free(t->peer_account);
    if (t->wake_fd >= 0)
        (void)close(t->wake_fd);
    *t = (struct iperf_test){.wake_fd = -1, .block_fd = -1};
}

void iperf_test_set_up(struct iperf_test *t, int control_fd)
{
    t->control_mss = iperf_socket_mss(control_fd);
    t->block_bytes = t->params.block_bytes;
    if (!t->block_bytes && t->params.protocol == IPERF_UDP)
        t->block_bytes = t->control_mss ? XK_MIN(t->control_mss, IPERF_UDP_BLOCK_MAX) : 1460;
    else if (!t->block_bytes)
        t->block_bytes = t->params.protocol == IPERF_SCTP ? 64u << 10 : 128u << 10;
    t->has_retransmits = t->params.protocol == IPERF_TCP && (t->server ? t->params.reverse : !t->params.reverse);
    if (t->params.bidirectional)
        t->has_retransmits = t->params.protocol == IPERF_TCP;
}

unsigned iperf_test_streams(const struct iperf_test *t)
{
    return t->params.parallel * (t->params.bidirectional ? 2 : 1);
}

bool iperf_test_sends(const struct iperf_test *t, unsigned i)
{
    /* Of a test both ways, the client connects the streams that it sends on first. */
    const bool client_sends = t->params.bidirectional ? i < t->params.parallel : !t->params.reverse;

    return client_sends != t->server;
}

/* ---- streams ---- */

/* As iperf3 numbers them: 2 is left out. */
static int stream_id(unsigned i)
{
    return i == 0 ? 1 : (int)i + 2;
}

static int open_file(const struct iperf_test *t, bool sending)
{
    if (!t->settings->file || t->params.protocol == IPERF_UDP)
        return -1;
    return sending ? open(t->settings->file, O_RDONLY | O_CLOEXEC)
                   : open(t->settings->file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
}

int iperf_test_adopt(struct iperf_test *t, int fd, struct xk_err *err)
{
    const unsigned i = t->flow_count;

    if (!t->flows) {
        t->flow_capacity = iperf_test_streams(t);
        t->flows = aligned_alloc(64, t->flow_capacity * sizeof(*t->flows));
        if (t->flows)
            memset(t->flows, 0, t->flow_capacity * sizeof(*t->flows));
    }
    if (!t->flows || i >= t->flow_capacity) {
        (void)close(fd);
        return iperf_fail(err, IPERF_E_CREATESTREAM, ENOMEM);
    }
    struct iperf_flow *const f = &t->flows[i];
    f->test = t;
    f->fd = fd;
    f->id = stream_id(i);
    /* The numbers that iperf3 shows are its descriptors: a server's have one for the listener between them. */
    f->number = IPERF_FIRST_NUMBER + (int)(i == 0 ? 0 : t->server ? 2 * i + 1 : 2 * i);
    f->sending = iperf_test_sends(t, i);
    f->file_fd = -1;
    (void)pthread_mutex_init(&f->lock, NULL);
    t->flow_count++;
    if (!f->sending && t->params.protocol == IPERF_UDP && iperf_loss_init(&f->loss) < 0)
        return iperf_fail(err, IPERF_E_INITSTREAM, ENOMEM);
    f->file_fd = open_file(t, f->sending);
    if (f->file_fd < 0 && t->settings->file && t->params.protocol != IPERF_UDP)
        return iperf_fail(err, IPERF_E_FILE, errno);
    iperf_socket_patience(fd);
    iperf_socket_ends(fd, &f->local, &f->remote);
    if (i == 0) {
        socklen_t bytes = sizeof(int);
        (void)getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &t->sndbuf_bytes, &bytes);
        (void)getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &t->rcvbuf_bytes, &bytes);
        if (t->params.protocol == IPERF_TCP)
            iperf_socket_congestion(fd, t->congestion);
    }
    return 0;
}

static void cpu_now(uint64_t ret[3])
{
    struct rusage usage;

    ret[0] = iperf_now_ns() / 1000;
    ret[1] = ret[2] = 0;
    if (getrusage(RUSAGE_SELF, &usage) == 0) {
        ret[1] = (uint64_t)usage.ru_utime.tv_sec * 1000000u + (uint64_t)usage.ru_utime.tv_usec;
        ret[2] = (uint64_t)usage.ru_stime.tv_sec * 1000000u + (uint64_t)usage.ru_stime.tv_usec;
    }
}

static void cpu_end(struct iperf_test *t)
{
    uint64_t now[3];

    cpu_now(now);
    const double wall = (double)(now[0] - t->cpu_begin_us[0]);
    t->cpu_percent[1] = wall > 0 ? 100.0 * (double)(now[1] - t->cpu_begin_us[1]) / wall : 0;
    t->cpu_percent[2] = wall > 0 ? 100.0 * (double)(now[2] - t->cpu_begin_us[2]) / wall : 0;
    t->cpu_percent[0] = t->cpu_percent[1] + t->cpu_percent[2];
}

static int pin(int processor, struct xk_err *err)
{
    cpu_set_t set;

    if (processor < 0)
        return 0;
    CPU_ZERO(&set);
    CPU_SET((size_t)processor % CPU_SETSIZE, &set);
    return sched_setaffinity(0, sizeof(set), &set) < 0 ? iperf_fail(err, IPERF_E_AFFINITY, errno) : 0;
}

int iperf_test_start(struct iperf_test *t, struct xk_err *err)
{
    const int processor = t->server && t->params.affinity >= 0 ? t->params.affinity : t->settings->affinity;

    int code = pin(processor, err);
    if (code < 0)
        return code;
    code = t->params.protocol == IPERF_UDP ? 0 : iperf_flow_make_block(t);
    if (code < 0)
        return iperf_fail(err, IPERF_E_INITSTREAM, -code);
    /* Threads inherit it; sleeping to a deadline is off by 50 microseconds otherwise. */
    (void)prctl(PR_SET_TIMERSLACK, TIMERSLACK_NS);
    cpu_now(t->cpu_begin_us);
    t->begin_ns = t->start_ns = t->interval_ns = iperf_now_ns();
    t->phase = t->params.omit_s ? IPERF_OMITTING : IPERF_MEASURING;
    t->events->started(t->events->context, t);
    for (unsigned i = 0; i < t->flow_count; i++) {
        struct iperf_flow *const f = &t->flows[i];
        iperf_flow_count(f, &f->base);
        f->last = f->base;
        f->last_ns = t->begin_ns;
    }
    for (unsigned i = 0; code == 0 && i < t->flow_count; i++)
        code = iperf_flow_start(&t->flows[i]);
    return code < 0 ? iperf_fail(err, IPERF_E_INITSTREAM, -code) : 0;
}

/* ---- intervals ---- */

static struct iperf_count since(const struct iperf_count *now, const struct iperf_count *then)
{
    struct iperf_count d = *now;

    d.bytes -= then->bytes;
    d.packets -= then->packets;
    d.errors -= then->errors;
    d.out_of_order -= then->out_of_order;
    d.duplicates -= then->duplicates;
    d.late -= then->late;
    d.overflow -= then->overflow;
    d.busy_us -= XK_MIN(d.busy_us, then->busy_us);
    d.rwnd_limited_us -= XK_MIN(d.rwnd_limited_us, then->rwnd_limited_us);
    d.sndbuf_limited_us -= XK_MIN(d.sndbuf_limited_us, then->sndbuf_limited_us);
    d.segments -= XK_MIN(d.segments, then->segments);
    d.retransmits -= XK_MIN(d.retransmits, then->retransmits);
    d.reorder -= XK_MIN(d.reorder, then->reorder);
    return d;
}

static void note_tcp(struct iperf_flow *f, const struct iperf_count *c)
{
    f->looks++;
    f->waiting_sum += c->waiting_bytes;
    f->waiting_max = XK_MAX(f->waiting_max, c->waiting_bytes);
    f->backoff_max = XK_MAX(f->backoff_max, c->backoff);
    if (!f->sending || !c->rtt_us)
        return;
    f->rtt_sum_us += c->rtt_us;
    f->rtt_min_us = f->rtt_count++ ? XK_MIN(f->rtt_min_us, c->rtt_us) : c->rtt_us;
    f->rtt_max_us = XK_MAX(f->rtt_max_us, c->rtt_us);
    f->cwnd_max = XK_MAX(f->cwnd_max, c->cwnd_bytes);
    f->wnd_max = XK_MAX(f->wnd_max, c->wnd_bytes);
}

static void end_interval(struct iperf_test *t, uint64_t now, bool last)
{
    struct iperf_interval *const v = t->interval;
    uint64_t bytes = 0;

    v->omitted = t->phase == IPERF_OMITTING;
    const uint64_t zero = v->omitted ? t->begin_ns : t->start_ns;
    v->start_s = (double)(t->interval_ns - zero) / 1e9;
    v->end_s = (double)(now - zero) / 1e9;
    v->seconds = (double)(now - t->interval_ns) / 1e9;
    v->count = t->flow_count;
    for (unsigned i = 0; i < t->flow_count; i++) {
        struct iperf_flow *const f = &t->flows[i];
        struct iperf_count count;
        iperf_flow_count(f, &count);
        note_tcp(f, &count);
        v->rows[i] = (struct iperf_row){f, since(&count, &f->last)};
        f->last = count;
        bytes += v->rows[i].count.bytes;
    }
    t->interval_ns = now;
    if (v->count && (!last || bytes || v->seconds >= t->settings->interval_s * SHORT_INTERVAL))
        t->events->interval(t->events->context, t, v);
}

static uint64_t interval_ns(const struct iperf_test *t)
{
    return t->settings->interval_s > 0 ? (uint64_t)(t->settings->interval_s * 1e9) : UINT64_MAX / 4;
}

static void end_omit(struct iperf_test *t, uint64_t now)
{
    if (now > t->interval_ns)
        end_interval(t, now, true);
    for (unsigned i = 0; i < t->flow_count; i++) {
        struct iperf_flow *const f = &t->flows[i];
        iperf_flow_count(f, &f->base);
        f->omitted = since(&f->base, &(struct iperf_count){0});
        f->last = f->base;
        f->waiting_sum = f->waiting_max = f->looks = f->backoff_max = 0;
        f->rtt_sum_us = f->rtt_count = f->rtt_min_us = f->rtt_max_us = f->cwnd_max = f->wnd_max = 0;
    }
    t->sent_bytes = t->sent_blocks = t->got_bytes = 0;
    t->phase = IPERF_MEASURING;
    t->start_ns = t->interval_ns = now;
    cpu_now(t->cpu_begin_us);
    t->events->omit_done(t->events->context, t);
}

uint64_t iperf_test_tick(struct iperf_test *t)
{
    const uint64_t now = iperf_now_ns();
    const uint64_t omit_end = t->begin_ns + t->params.omit_s * XK_NS_PER_S;

    if (t->phase == IPERF_OMITTING && now >= omit_end)
        end_omit(t, now);
    else if (now >= t->interval_ns + interval_ns(t))
        end_interval(t, now, false);
    const uint64_t next = t->interval_ns + interval_ns(t);
    return t->phase == IPERF_OMITTING ? XK_MIN(next, omit_end) : next;
}

bool iperf_test_over(const struct iperf_test *t)
{
    const struct iperf_params *const p = &t->params;
    bool all_ended = t->flow_count > 0;

    if (t->phase != IPERF_MEASURING)
        return false;
    if (p->bytes || p->blocks) {
        const uint64_t sent = t->sent_bytes, got = t->got_bytes;
        if (p->bytes && (sent >= p->bytes || got >= p->bytes))
            return true;
        if (p->blocks && (t->sent_blocks >= p->blocks || got / t->block_bytes >= p->blocks))
            return true;
    } else if (p->time_s && iperf_now_ns() >= t->start_ns + p->time_s * XK_NS_PER_S) {
        return true;
    }
    for (unsigned i = 0; i < t->flow_count; i++)
        all_ended = all_ended && t->flows[i].ended;
    return all_ended;
}

/* A test that ends by its time needs no other end, and a sender at a low rate has its pauses. */
static bool is_stuck(struct iperf_test *t, uint64_t now, uint32_t ms)
{
    uint64_t sent = 0;
    bool sends = false;

    if (t->params.rate_bps || t->params.time_s)
        return false;
    for (unsigned i = 0; i < t->flow_count; i++) {
        sends = sends || t->flows[i].sending;
        sent += t->flows[i].sending ? t->flows[i].bytes : 0;
    }
    if (sent != t->progress_bytes || !t->progress_ns) {
        t->progress_bytes = sent;
        t->progress_ns = now;
    }
    return sends && now >= t->progress_ns + ms * XK_NS_PER_MS;
}

bool iperf_test_idle(struct iperf_test *t, uint32_t ms)
{
    const uint64_t now = iperf_now_ns();
    bool receives = false;

    if (is_stuck(t, now, ms))
        return true;
    for (unsigned i = 0; i < t->flow_count; i++) {
        const struct iperf_flow *const f = &t->flows[i];
        if (f->sending)
            continue;
        receives = true;
        if (now < f->last_ns + ms * XK_NS_PER_MS)
            return false;
    }
    return receives;
}

int iperf_test_failure(const struct iperf_test *t, bool *ret_sending)
{
    for (unsigned i = 0; i < t->flow_count; i++) {
        if (t->flows[i].failed) {
            *ret_sending = t->flows[i].sending;
            return t->flows[i].failed;
        }
    }
    return 0;
}

/* ---- the end ---- */

bool iperf_test_drained(struct iperf_test *t)
{
    bool busy = false;

    if (!t->drain)
        t->drain_ns = iperf_now_ns();
    t->drain = true;
    for (unsigned i = 0; i < t->flow_count; i++) {
        struct iperf_flow *const f = &t->flows[i];
        if (!f->sending && f->started && !f->joined && pthread_tryjoin_np(f->thread, NULL) == 0)
            f->joined = true;
        busy = busy || (!f->sending && f->started && !f->joined);
    }
    return !busy;
}

void iperf_test_stop(struct iperf_test *t)
{
    if (t->phase != IPERF_OMITTING && t->phase != IPERF_MEASURING)
        return;
    t->stop = true;
    for (unsigned i = 0; i < t->flow_count; i++)
        iperf_flow_join(&t->flows[i]);
    /* Where nothing was drained the test ends now; else with the last bytes that came. */
    uint64_t end = iperf_now_ns();
    if (t->drain) {
        uint64_t newest = t->interval_ns;
        for (unsigned i = 0; i < t->flow_count; i++)
            newest = XK_MAX(newest, t->flows[i].sending ? t->drain_ns : (uint64_t)t->flows[i].last_ns);
        end = XK_MIN(end, newest);
    }
    t->end_ns = XK_MAX(end, t->interval_ns);
    end_interval(t, t->end_ns, true);
    t->phase = IPERF_ENDED;
    cpu_end(t);
    if (t->params.protocol != IPERF_UDP) {
        /* The far side reads to the end and knows that it has everything. */
        for (unsigned i = 0; i < t->flow_count; i++) {
            if (t->flows[i].sending)
                (void)shutdown(t->flows[i].fd, SHUT_WR);
        }
    }
}

/* ---- results ---- */

void iperf_test_results(struct iperf_test *t, struct iperf_results *ret)
{
    *ret = (struct iperf_results){.count = t->flow_count, .has_omitted = true};
    if (t->params.detail && t->events->account)
        ret->account = t->events->account(t->events->context, t);
    memcpy(ret->cpu_percent, t->cpu_percent, sizeof(ret->cpu_percent));
    ret->sender_has_retransmits = t->has_retransmits ? 1 : t->params.protocol == IPERF_TCP ? -1 : 0;
    snprintf(ret->congestion, sizeof(ret->congestion), "%s", t->congestion);
    for (unsigned i = 0; i < t->flow_count; i++) {
        const struct iperf_flow *const f = &t->flows[i];
        const struct iperf_count d = since(&f->last, &f->base);
        ret->streams[i] = (struct iperf_result){
            .id = f->id,
            .bytes = d.bytes,
            .retransmits = f->sending && t->has_retransmits ? (int64_t)d.retransmits : -1,
            .jitter_s = f->last.jitter_s,
            .errors = f->last.errors,
            .omitted_errors = f->omitted.errors,
            .packets = f->last.packets,
            .omitted_packets = f->omitted.packets,
            .end_s = (double)(t->end_ns - t->start_ns) / 1e9,
            .out_of_order = f->sending ? -1 : d.out_of_order,
            .duplicates = d.duplicates,
            .late = d.late,
            .overflow = d.overflow,
            .distance = f->last.distance,
        };
    }
}

int iperf_test_take(struct iperf_test *t, struct iperf_results *r, struct xk_err *err)
{
    memcpy(t->peer_cpu_percent, r->cpu_percent, sizeof(t->peer_cpu_percent));
    snprintf(t->peer_congestion, sizeof(t->peer_congestion), "%s", r->congestion);
    t->peer_has_retransmits = r->sender_has_retransmits > 0;
    t->peer_counts_omitted = r->has_omitted;
    for (unsigned i = 0; i < r->count; i++) {
        struct iperf_flow *f = NULL;
        for (unsigned k = 0; k < t->flow_count && !f; k++)
            f = t->flows[k].id == r->streams[i].id ? &t->flows[k] : NULL;
        if (!f)
            return iperf_fail(err, IPERF_E_STREAMID, 0);
        f->peer = r->streams[i];
        f->has_peer = true;
    }
    t->server_text = XK_TAKE(r->server_text);
    t->server_json = XK_TAKE(r->server_json);
    t->peer_account = XK_TAKE(r->account);
    t->got_results = true;
    return 0;
}

static void add_up(const struct iperf_test *t, const struct iperf_flow *f, struct iperf_total *ret)
{
    const struct iperf_count own = since(&f->last, &f->base);
    const struct iperf_result *const peer = f->has_peer ? &f->peer : NULL;
    const double own_s = (double)(t->end_ns - t->start_ns) / 1e9;
    const double peer_s = peer && peer->end_s > 0 ? peer->end_s - peer->start_s : own_s;
    const int64_t peer_packets = peer ? peer->packets - peer->omitted_packets : 0;

    *ret = (struct iperf_total){
        .flow = f, .retransmits = -1, .duplicates = -1, .late = -1, .overflow = -1, .distance = -1};
    if (f->sending) {
        ret->sent_bytes = own.bytes;
        ret->received_bytes = peer ? peer->bytes : 0;
        ret->sender_s = own_s;
        ret->receiver_s = peer_s;
        ret->retransmits = t->has_retransmits ? (int64_t)own.retransmits : -1;
        ret->sender_packets = own.packets;
        ret->receiver_packets = peer_packets;
        if (peer) {
            ret->jitter_s = peer->jitter_s;
            ret->errors = peer->errors - peer->omitted_errors;
            ret->out_of_order = XK_MAX(peer->out_of_order, (int64_t)0);
            ret->duplicates = peer->duplicates;
            ret->late = peer->late;
            ret->overflow = peer->overflow;
            ret->distance = peer->distance;
        }
    } else {
        ret->sent_bytes = peer ? peer->bytes : 0;
        ret->received_bytes = own.bytes;
        ret->sender_s = peer_s;
        ret->receiver_s = own_s;
        ret->retransmits = peer ? peer->retransmits : -1;
        ret->sender_packets = peer_packets;
        ret->receiver_packets = own.packets;
        ret->jitter_s = f->last.jitter_s;
        ret->errors = own.errors;
        ret->out_of_order = own.out_of_order;
        ret->duplicates = own.duplicates;
        ret->late = own.late;
        ret->overflow = own.overflow;
        ret->distance = own.distance;
    }
    ret->reorder = f->sending ? own.reorder : 0;
    ret->cwnd_max = f->cwnd_max;
    ret->wnd_max = f->wnd_max;
    ret->rtt_max_us = f->rtt_max_us;
    ret->rtt_min_us = f->rtt_min_us;
    ret->rtt_mean_us = f->rtt_count ? f->rtt_sum_us / f->rtt_count : 0;
}

int iperf_test_finish(struct iperf_test *t, struct xk_err *err)
{
    xk_autofree struct iperf_total *totals = xk_array_alloc(XK_MAX(t->flow_count, 1u), sizeof(*totals));

    if (!totals)
        return xk_fail_memory(err);
    for (unsigned i = 0; i < t->flow_count; i++)
        add_up(t, &t->flows[i], &totals[i]);
    t->events->finished(t->events->context, t, totals, t->flow_count);
    return 0;
}
