/*
 * The flows of a test, and what is told of them: intervals, ends, sums.
 *
 * One pass tells at most one interval of each flow, so that the sum over several flows has the same interval of each.
 * A sum is told when all its flows have reported; what a flow that ends leaves over goes into the next one.
 */
#include "lib/iperf/iperf2-inner.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#define PARTIAL_SHARE 0.25 /* of an interval: what is shorter than this is not told of */
#define STACK_BYTES   (256u << 10)
#define WAIT_MS       50 /* for a stop that another thread's signal told */

int iperf2_test_init(struct iperf2_test *t, const struct iperf2_settings *s, const struct iperf2_events *events,
                     const struct xk_clock *clock, struct xk_err *err)
{
    *t = (struct iperf2_test){.settings = s, .events = events, .clock = clock, .accepts_left = -1};
    t->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return t->wake_fd < 0 ? xk_fail_sys(err, -errno, "eventfd failed") : 0;
}

static void flow_done(struct iperf2_flow *f)
{
    if (f->started)
        (void)pthread_join(f->thread, NULL);
    if (f->fd >= 0)
        (void)close(f->fd);
    iperf_loss_done(&f->loss);
    (void)pthread_mutex_destroy(&f->lock);
    free(f);
}

static void pair_leave(struct iperf2_flow *f)
{
    if (f->pair && --f->pair->holders == 0)
        free(f->pair);
    f->pair = NULL;
}

void iperf2_test_done(struct iperf2_test *t)
{
    atomic_store(&t->stop, true);
    for (unsigned i = 0; i < t->flow_count; i++) {
        pair_leave(t->flows[i]);
        flow_done(t->flows[i]);
    }
    t->flow_count = 0;
    iperf2_accept_done(t);
    while (t->groups) {
        struct iperf2_group *const next = t->groups->next;
        free(t->groups);
        t->groups = next;
    }
    if (t->wake_fd >= 0)
        (void)close(t->wake_fd);
}

void iperf2_test_warn(struct iperf2_test *t, const char *format, ...)
{
    char text[512];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    t->events->warn(t->events->context, text);
}

void iperf2_test_warn_errno(struct iperf2_test *t, const char *what, int error)
{
    iperf2_test_warn(t, "%s failed: %s", what, strerror(error));
}

/* ---- flows ---- */

struct iperf2_flow *iperf2_flow_new(struct iperf2_test *t, int fd, bool sending, bool starred)
{
    const struct iperf2_settings *const s = t->settings;
    struct iperf2_flow *const f = t->flow_count < IPERF2_FLOWS_MAX ? xk_zalloc(sizeof(*f)) : NULL;

    if (!f)
        return NULL;
    f->test = t;
    f->fd = fd;
    f->server_side = s->server;
    f->about.udp = s->udp;
    f->about.sending = sending;
    f->about.starred = starred;
    f->about.connected = true;
    f->about.clamp_bytes = s->clamp_bytes;
    f->about.prefetch_bytes = s->prefetch_bytes;
    f->block_bytes = f->about.block_bytes = s->block_bytes;
    f->about.quick_ack = s->quick_ack && !s->udp;
    f->utc_offset_ns = t->clock->utc_ns(t->clock) - (int64_t)iperf2_now_ns();
    (void)pthread_mutex_init(&f->lock, NULL);
    if (iperf_loss_init(&f->loss) < 0) {
        f->fd = -1;
        flow_done(f);
        return NULL;
    }
    iperf2_socket_describe(fd, &f->about);
    t->flows[t->flow_count++] = f;
    t->had_flows = true;
    return f;
}

void iperf2_flow_join_group(struct iperf2_flow *f)
{
    struct iperf2_test *const t = f->test;
    const struct iperf2_end *const key = t->settings->sum_by_destination ? &f->about.local : &f->about.peer;
    struct iperf2_group *g = t->groups;

    while (g && !iperf2_socket_same_host(&g->key, key))
        g = g->next;
    if (!g) {
        g = xk_zalloc(sizeof(*g));
        if (!g)
            return; /* a sum that is missing is no reason to end the test */
        g->key = *key;
        g->about = f->about;
        g->next = t->groups;
        t->groups = g;
    }
    f->group = g;
    g->active++;
    g->most = XK_MAX(g->most, g->active);
}

int iperf2_flow_pair(struct iperf2_flow *a, struct iperf2_flow *b)
{
    struct iperf2_pair *const p = xk_zalloc(sizeof(*p));

    if (!p)
        return -ENOMEM;
    p->active = p->holders = 2;
    a->pair = b->pair = p;
    a->shares_fd = b->shares_fd = true;
    return 0;
}

int iperf2_flow_start(struct iperf2_flow *f)
{
    pthread_attr_t attributes;

    (void)pthread_attr_init(&attributes);
    (void)pthread_attr_setstacksize(&attributes, STACK_BYTES);
    const int error = pthread_create(&f->thread, &attributes, iperf2_flow_run, f);
    (void)pthread_attr_destroy(&attributes);
    f->started = error == 0;
    if (error) {
        iperf2_flow_fail(f, "pthread_create", error);
        f->start_ns = iperf2_now_ns();
        atomic_store(&f->ended, true);
        atomic_store(&f->gone, true);
    }
    return -error;
}

/* ---- rows ---- */

static void add_spread(struct iperf2_spread *to, const struct iperf2_spread *s)
{
    if (s->count == 0)
        return;
    const double whole = (double)(to->count + s->count), off = s->mean - to->mean;

    to->min = to->count == 0 || s->min < to->min ? s->min : to->min;
    to->max = to->count == 0 || s->max > to->max ? s->max : to->max;
    to->m2 += s->m2 + off * off * (double)to->count * (double)s->count / whole;
    to->mean += off * (double)s->count / whole;
    to->sum += s->sum;
    to->count += s->count;
}

/* Calls of the other direction are other calls. */
static void add_row(struct iperf2_row *to, const struct iperf2_row *row, bool same_kind)
{
    to->count.bytes += row->count.bytes;
    to->count.packets += row->count.packets;
    to->count.datagrams += row->count.datagrams;
    to->count.errors += row->count.errors;
    to->count.out_of_order += row->count.out_of_order;
    to->jitter_s = XK_MAX(to->jitter_s, row->jitter_s);
    to->threads++;
    if (!same_kind)
        return;
    to->count.calls += row->count.calls;
    to->count.call_errors += row->count.call_errors;
    for (size_t i = 0; i < IPERF2_BINS; i++)
        to->count.bins[i] += row->count.bins[i];
    to->tcp.retransmits += row->tcp.retransmits;
    add_spread(&to->transit, &row->transit);
}

static double rate_of(int64_t packets, double seconds)
{
    return seconds > 0 ? (double)packets / seconds : 0;
}

/* What came between two states. */
static struct iperf2_row make_row(const struct iperf2_cut *now, const struct iperf2_counts *before,
                                  uint64_t before_retransmits)
{
    const struct iperf2_counts *const c = &now->count;
    struct iperf2_row row = {
        .count = {.bytes = c->bytes - before->bytes,
                  .calls = c->calls - before->calls,
                  .call_errors = c->call_errors - before->call_errors,
                  .packets = c->packets - before->packets,
                  .datagrams = c->datagrams - before->datagrams,
                  /* What was lost before the interval and came in it after all is nobody's loss. */
                  .errors = XK_MAX(c->errors - before->errors, INT64_C(0)),
                  .out_of_order = c->out_of_order - before->out_of_order},
        .jitter_s = now->jitter_s,
        .transit = now->transit,
        .write_us = now->write_us,
        .tcp = now->tcp,
    };

    for (size_t i = 0; i < IPERF2_BINS; i++)
        row.count.bins[i] = c->bins[i] - before->bins[i];
    row.tcp.retransmits -= XK_MIN(before_retransmits, row.tcp.retransmits);
    return row;
}

static double since_s(uint64_t ns, uint64_t start_ns)
{
    return ns > start_ns ? (double)(ns - start_ns) / 1e9 : 0;
}

static void tell_sum(struct iperf2_test *t, struct iperf2_group *g, double start_s, double end_s, bool final)
{
    struct iperf2_row *const row = final ? &g->total : &g->since;

    row->start_s = start_s;
    row->end_s = end_s;
    row->final = final;
    row->sum = true;
    row->packets_s = rate_of(row->count.packets, end_s - start_s);
    t->events->sum(t->events->context, &g->about, row);
}

/* Of a full-duplex connection alone, both directions are no sum. */
static bool sums(const struct iperf2_test *t, const struct iperf2_group *g)
{
    return t->settings->sum_only || g->active > (g->about.full_duplex ? 2u : 1u);
}

static void add_to_sums(struct iperf2_flow *f, const struct iperf2_row *row)
{
    struct iperf2_group *const g = f->group;

    if (g) {
        const bool same = f->about.sending == g->about.sending;
        g->start_ns = g->start_ns == 0 ? f->start_ns : XK_MIN(g->start_ns, f->start_ns);
        add_row(&g->since, row, same);
        const unsigned threads = g->total.threads;
        add_row(&g->total, row, same);
        g->total.threads = threads;
    }
    if (f->pair) {
        f->pair->start_ns = f->pair->start_ns == 0 ? f->start_ns : XK_MIN(f->pair->start_ns, f->start_ns);
        add_row(&f->pair->since, row, true);
        add_row(&f->pair->total, row, true);
    }
}

static void tell_pair(struct iperf2_flow *f, double start_s, double end_s, bool final)
{
    const struct iperf2_test *const t = f->test;
    struct iperf2_row *const row = final ? &f->pair->total : &f->pair->since;

    row->start_s = start_s;
    row->end_s = end_s;
    row->final = final;
    row->packets_s = rate_of(row->count.packets, end_s - start_s);
    if (t->settings->enhanced)
        t->events->both(t->events->context, &f->about, row);
    f->pair->since = (struct iperf2_row){0};
    f->pair->told_s = end_s;
}

static void reported(struct iperf2_flow *f, double end_s)
{
    struct iperf2_test *const t = f->test;
    struct iperf2_group *const g = f->group;

    if (f->pair && ++f->pair->reported == f->pair->active) {
        tell_pair(f, f->pair->told_s, end_s, false);
        f->pair->reported = 0;
    }
    if (!g || ++g->reported < g->active)
        return;
    if (sums(t, g))
        tell_sum(t, g, g->told_s, end_s, false);
    else
        g->masked |= g->about.full_duplex;
    g->since = (struct iperf2_row){0};
    g->told_s = end_s;
    g->reported = 0;
}

/* ---- intervals ---- */

/* returns whether an interval was told. */
static bool tell_interval(struct iperf2_flow *f, uint64_t now)
{
    struct iperf2_test *const t = f->test;
    const uint64_t interval_ns = t->settings->interval_ns;
    struct iperf2_cut cut;

    pthread_mutex_lock(&f->lock);
    const bool ended = atomic_load(&f->ended);
    if (f->start_ns && !ended)
        iperf2_flow_cut(f, now);
    const bool due = f->start_ns && f->cut_told < f->cut_count;
    if (due)
        cut = f->cuts[f->cut_told++ % IPERF2_CUTS];
    pthread_mutex_unlock(&f->lock);
    if (!due)
        return false;
    struct iperf2_row row = make_row(&cut, &f->told, f->told_retransmits);
    row.start_s = (double)((f->cut_told - 1) * interval_ns) / 1e9;
    row.end_s = (double)(f->cut_told * interval_ns) / 1e9;
    row.packets_s = rate_of(row.count.packets, since_s(cut.count.last_ns, XK_MAX(f->told.last_ns, f->start_ns)));
    f->told = cut.count;
    f->told_retransmits = cut.tcp.retransmits;
    t->events->row(t->events->context, &f->about, &row);
    add_to_sums(f, &row);
    reported(f, row.end_s);
    return true;
}

/* ---- the end ---- */

static void leave_group(struct iperf2_flow *f, uint64_t end_ns)
{
    struct iperf2_test *const t = f->test;
    struct iperf2_group *const g = f->group;
    const double interval_s = (double)t->settings->interval_ns / 1e9;

    if (!g)
        return;
    f->group = NULL;
    g->end_ns = XK_MAX(g->end_ns, end_ns);
    g->total.threads++;
    if (--g->active > 0)
        return;
    const double end_s = since_s(g->end_ns, g->start_ns);
    const bool told = (g->most > 1 || t->settings->sum_only) && !g->masked;
    if (told && interval_s > 0 && g->told_s > 0 && g->since.count.bytes && !t->settings->udp &&
        end_s - g->told_s > interval_s * PARTIAL_SHARE)
        tell_sum(t, g, g->told_s, end_s, false);
    if (told)
        tell_sum(t, g, 0, end_s, true);
    for (struct iperf2_group **at = &t->groups; *at; at = &(*at)->next) {
        if (*at == g) {
            *at = g->next;
            break;
        }
    }
    free(g);
}

static void leave_pair(struct iperf2_flow *f, uint64_t end_ns)
{
    if (!f->pair)
        return;
    f->pair->end_ns = XK_MAX(f->pair->end_ns, end_ns);
    if (--f->pair->active == 0)
        tell_pair(f, 0, since_s(f->pair->end_ns, f->pair->start_ns), true);
    else if (f->pair->reported >= f->pair->active)
        f->pair->reported = 0;
}

static void tell_failure(struct iperf2_flow *f)
{
    const int error = atomic_exchange(&f->failed, 0);

    if (error == 0)
        return;
    iperf2_test_warn_errno(f->test, atomic_load(&f->failed_at), error);
    f->test->failed = true;
}

/* The rest of the last interval, and the sum of all of them. */
static void tell_end(struct iperf2_flow *f)
{
    struct iperf2_test *const t = f->test;
    const double interval_s = (double)t->settings->interval_ns / 1e9;
    const uint64_t end_ns = XK_MAX(f->now.count.last_ns, f->start_ns);
    const double end_s = since_s(end_ns, f->start_ns), told_s = (double)f->cut_told * interval_s;

    f->told_end = true;
    tell_failure(f);
    struct iperf2_row rest = make_row(&f->now, &f->told, f->told_retransmits);
    rest.start_s = told_s;
    rest.end_s = end_s;
    rest.packets_s = rate_of(rest.count.packets, since_s(end_ns, XK_MAX(f->told.last_ns, f->start_ns)));
    add_to_sums(f, &rest);
    if (interval_s > 0 && rest.count.bytes && end_s - told_s > interval_s * PARTIAL_SHARE &&
        !(f->about.udp && f->about.sending))
        t->events->row(t->events->context, &f->about, &rest);
    struct iperf2_row all = make_row(&f->now, &(struct iperf2_counts){0}, 0);
    all.end_s = end_s;
    all.final = true;
    all.transit = f->transit_total;
    all.write_us = f->write_total;
    all.packets_s = rate_of(all.count.packets, end_s);
    t->events->row(t->events->context, &f->about, &all);
    leave_pair(f, end_ns);
    leave_group(f, end_ns);
}

static void tell_gone(struct iperf2_flow *f)
{
    struct iperf2_test *const t = f->test;

    tell_failure(f);
    if (f->has_relay)
        t->events->relayed(t->events->context, &f->about, &f->relay);
    if (!f->no_ack)
        return;
    t->failed = true;
    if (f->about.sending)
        iperf2_test_warn(t, "[%3d] WARNING: did not receive ack of last datagram after %d tries.", f->about.fd,
                         f->timed ? 10 : 1);
    else
        iperf2_test_warn(t, "[%3d] WARNING: ack of last datagram failed.", f->about.fd);
}

/* returns whether a flow went away. */
static bool reap(struct iperf2_test *t)
{
    bool any = false;

    for (unsigned i = 0; i < t->flow_count;) {
        struct iperf2_flow *const f = t->flows[i];
        if (!f->told_end || !atomic_load(&f->gone)) {
            i++;
            continue;
        }
        tell_gone(f);
        memmove(&t->flows[i], &t->flows[i + 1], (t->flow_count - i - 1) * sizeof(t->flows[0]));
        t->flow_count--;
        any = true;
        if (f->back_later)
            iperf2_accept_dial(t, f);
        pair_leave(f);
        flow_done(f);
    }
    return any;
}

uint64_t iperf2_test_tick(struct iperf2_test *t)
{
    const uint64_t now = iperf2_now_ns(), interval_ns = t->settings->interval_ns;
    uint64_t next = UINT64_MAX;
    bool more = true;

    while (more) {
        more = false;
        for (unsigned i = 0; i < t->flow_count; i++)
            more |= tell_interval(t->flows[i], now);
    }
    for (unsigned i = 0; i < t->flow_count; i++) {
        struct iperf2_flow *const f = t->flows[i];
        if (atomic_exchange(&f->has_ack, false))
            t->events->clocks(t->events->context, &f->about, &f->ack, f->ack_arrived_s);
        if (!f->told_end && atomic_load(&f->ended) && f->cut_told == f->cut_count)
            tell_end(f);
    }
    (void)reap(t);
    for (unsigned i = 0; i < t->flow_count; i++) {
        struct iperf2_flow *const f = t->flows[i];
        pthread_mutex_lock(&f->lock);
        if (interval_ns && f->start_ns && !atomic_load(&f->ended))
            next = XK_MIN(next, f->start_ns + (f->cut_told + 1) * interval_ns);
        pthread_mutex_unlock(&f->lock);
    }
    if (t->flow_count == 0 && t->had_flows) {
        t->had_flows = false;
        t->events->idle(t->events->context);
    }
    return next;
}

void iperf2_test_wait(struct iperf2_test *t, struct pollfd *polls, unsigned count, uint64_t until_ns)
{
    const uint64_t now = iperf2_now_ns();
    uint64_t wait_ns = until_ns > now ? until_ns - now : 0, many;

    wait_ns = XK_MIN(wait_ns, WAIT_MS * XK_NS_PER_MS);
    const struct timespec timeout = {.tv_nsec = (long)wait_ns};
    polls[count] = (struct pollfd){.fd = t->wake_fd, .events = POLLIN};
    (void)ppoll(polls, count + 1, &timeout, NULL);
    if (read(t->wake_fd, &many, sizeof(many)) < 0)
        return; /* nobody has woken us */
}
