/* The results of `xenkit net run` as records. */
#include "rooms/net/run.h"

#include "core/stats.h"
#include "core/text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define CELLS 24u

static double rounded(double v)
{
    return round(v * 1e6) / 1e6;
}

static void put_ms(struct xk_out *out, const char *key, double ms)
{
    if (isnan(ms))
        xk_put_none(out, key);
    else
        xk_put_double(out, key, round(ms * 1e4) / 1e4);
}

static void put_count(struct xk_out *out, const char *key, int64_t count)
{
    if (count < 0)
        xk_put_none(out, key);
    else
        xk_put_i64(out, key, count);
}

void run_sum(struct run_sum *ret, const struct run_leg *leg, bool sending)
{
    *ret = (struct run_sum){.overflow = 0};
    for (unsigned i = 0; i < leg->stream_count; i++) {
        const struct iperf_total *const x = &leg->streams[i].total;
        if (leg->streams[i].sending != sending)
            continue;
        ret->count++;
        ret->seconds = fmax(ret->seconds, x->receiver_s);
        ret->sent_bytes += x->sent_bytes;
        ret->received_bytes += x->received_bytes;
        ret->sent_bps += x->sender_s > 0 ? (double)x->sent_bytes * 8 / x->sender_s : 0;
        ret->received_bps += x->receiver_s > 0 ? (double)x->received_bytes * 8 / x->receiver_s : 0;
        ret->jitter_ms += x->jitter_s * 1000;
        ret->retransmits = x->retransmits < 0 || ret->retransmits < 0 ? -1 : ret->retransmits + x->retransmits;
        ret->packets += XK_MAX(x->sender_packets, x->receiver_packets);
        ret->lost += x->errors;
        if (leg->peer_account.known)
            ret->lost += XK_MAX(x->sender_packets - x->receiver_packets, INT64_C(0)); /* at the end, unseen */
        ret->duplicates += XK_MAX(x->duplicates, INT64_C(0));
        ret->reordered += XK_MAX(x->out_of_order, INT64_C(0));
        ret->late += XK_MAX(x->late, INT64_C(0));
        ret->distance = x->distance < 0 || ret->distance < 0 ? -1 : XK_MAX(ret->distance, x->distance);
        ret->overflow = x->overflow < 0 || ret->overflow < 0 ? -1 : ret->overflow + x->overflow;
    }
    if (ret->count)
        ret->jitter_ms /= ret->count;
}

void run_show_interval(struct run *r, const struct run_point *p)
{
    struct xk_out *const out = r->app->out;
    const bool both = r->leg->settings.params.bidirectional;

    /* On a terminal the picture says it. */
    if (xk_out_format(out) == XK_OUT_TABLE && run_live_shown(r) && xk_out_is_terminal(out))
        return;
    for (int way = 0; way < RUN_WAYS; way++) {
        if (!both && way != (r->leg->settings.params.reverse ? 1 : 0))
            continue;
        xk_row(out);
        xk_put_str(out, "test", way ? "receive" : "send");
        xk_put_double(out, "start_s", round(fmax(p->at_s - p->seconds, 0) * 1000) / 1000);
        xk_put_double(out, "end_s", round(p->at_s * 1000) / 1000);
        xk_put_rate(out, "rate", (uint64_t)p->bps[way]);
        if (r->opts->udp) {
            put_count(out, "packets", p->packets);
            put_count(out, "lost", way ? p->lost : -1);
        } else {
            put_count(out, "retransmits", way && !both ? -1 : p->retransmits);
            put_ms(out, "rtt_ms", p->rtt_ms);
        }
    }
    xk_out_flush(out);
}

/* ---- totals ---- */

static void put_udp(struct xk_out *out, const struct run_sum *s, bool told)
{
    xk_put_i64(out, "packets", s->packets);
    xk_put_i64(out, "lost", s->lost);
    xk_put_pct(out, "loss", s->packets > 0 ? 100.0 * (double)s->lost / (double)s->packets : 0);
    put_count(out, "lost_in_socket", s->overflow);
    put_count(out, "lost_in_network", s->overflow < 0 ? -1 : XK_MAX(s->lost - s->overflow, INT64_C(0)));
    put_count(out, "duplicates", told ? s->duplicates : -1);
    put_count(out, "reordered", told ? s->reordered : -1);
    put_count(out, "reorder_distance", told ? s->distance : -1);
    put_count(out, "late", told ? s->late : -1);
    xk_put_double(out, "jitter_ms", rounded(s->jitter_ms));
}

static void put_total(const struct run *r, const struct run_leg *leg, bool sending, const char *stream,
                      const struct run_sum *s)
{
    struct xk_out *const out = r->app->out;

    xk_row(out);
    xk_put_str(out, "test", sending ? "send" : "receive");
    xk_put_str(out, "stream", stream);
    xk_put_double(out, "seconds", rounded(s->seconds));
    xk_put_bytes(out, "sent", s->sent_bytes);
    xk_put_bytes(out, "received", s->received_bytes);
    xk_put_rate(out, "rate", (uint64_t)s->received_bps);
    xk_out_color(out, XK_COLOR_GOOD);
    if (r->opts->udp)
        put_udp(out, s, !sending || leg->peer_account.known);
    else
        put_count(out, "retransmits", s->retransmits);
    if (xk_out_format(out) == XK_OUT_TABLE) {
        xk_auto(xk_buf_done) struct xk_buf b = XK_BUF_INIT(1024);
        if (strcmp(stream, "all") == 0)
            run_spark(&b, leg, sending ? 0 : 1, CELLS);
        xk_put_str(out, "course", xk_buf_str(&b));
    }
}

static void put_leg_totals(const struct run *r, const struct run_leg *leg)
{
    for (int way = 0; way < RUN_WAYS; way++) {
        struct run_sum all;
        run_sum(&all, leg, way == 0);
        if (!all.count)
            continue;
        for (unsigned i = 0; all.count > 1 && i < leg->stream_count; i++) {
            struct run_leg one = {.streams = {leg->streams[i]}, .stream_count = 1};
            struct run_sum s;
            if (leg->streams[i].sending != (way == 0))
                continue;
            one.peer_account.known = leg->peer_account.known;
            run_sum(&s, &one, way == 0);
            struct xk_word name = xk_number(leg->streams[i].number);
            put_total(r, leg, way == 0, name.s, &s);
        }
        put_total(r, leg, way == 0, "all", &all);
    }
}

/* ---- latency ---- */

double run_added_ms(const struct run_leg *leg, int way)
{
    const struct netdiag_delays *const d = way == 0 ? leg->latency.up : leg->latency.down;

    if (!leg->latency.known || !d[NETDIAG_IDLE].answered || !d[NETDIAG_LOADED].answered)
        return NAN;
    return d[NETDIAG_LOADED].p50_ms - d[NETDIAG_IDLE].p50_ms;
}

static void put_delays(struct xk_out *out, const struct run_leg *leg, const char *path, enum netdiag_phase phase,
                       const struct netdiag_delays *d)
{
    xk_row(out);
    xk_put_str(out, "test", leg->name);
    xk_put_str(out, "path", path);
    xk_put_str(out, "state", phase == NETDIAG_IDLE ? "idle" : "loaded");
    xk_put_u64(out, "sent", d->sent);
    xk_put_u64(out, "answered", d->answered);
    put_ms(out, "min_ms", d->answered ? d->min_ms : NAN);
    put_ms(out, "p50_ms", d->answered ? d->p50_ms : NAN);
    put_ms(out, "p90_ms", d->answered ? d->p90_ms : NAN);
    put_ms(out, "p99_ms", d->answered ? d->p99_ms : NAN);
    put_ms(out, "p999_ms", d->answered ? d->p999_ms : NAN);
    put_ms(out, "max_ms", d->answered ? d->max_ms : NAN);
    put_ms(out, "rpm", strcmp(path, "round-trip") == 0 ? round(leg->latency.rpm[phase]) : NAN);
}

/* Of a server that answers no echoes: what TCP measured of itself, and the handshake for an idle path. */
static void put_series(struct xk_out *out, const struct run_leg *leg)
{
    struct netdiag_delays idle = {0}, loaded = {0};
    xk_autofree double *ms = xk_array_alloc(leg->point_count + 1, sizeof(*ms));
    size_t n = 0;

    for (unsigned i = 0; ms && i < leg->point_count; i++) {
        if (!isnan(leg->points[i].rtt_ms))
            ms[n++] = leg->points[i].rtt_ms;
    }
    if (!isnan(leg->handshake_rtt_ms)) {
        const double h = leg->handshake_rtt_ms;
        idle = (struct netdiag_delays){1, 1, h, h, h, h, h, h, h};
    }
    if (n) {
        xk_sort_doubles(ms, n);
        loaded = (struct netdiag_delays){n,
                                         n,
                                         ms[0],
                                         xk_percentile_sorted(ms, n, 0.5),
                                         xk_percentile_sorted(ms, n, 0.9),
                                         xk_percentile_sorted(ms, n, 0.99),
                                         xk_percentile_sorted(ms, n, 0.999),
                                         ms[n - 1],
                                         xk_mean(ms, n)};
    }
    put_delays(out, leg, "tcp", NETDIAG_IDLE, &idle);
    put_delays(out, leg, "tcp", NETDIAG_LOADED, &loaded);
}

static void put_latency(const struct run *r)
{
    struct xk_out *const out = r->app->out;

    xk_out_rows(out, "latency");
    for (unsigned i = 0; i < r->leg_count; i++) {
        const struct run_leg *const leg = &r->legs[i];
        if (!leg->finished)
            continue;
        if (!leg->latency.known) {
            put_series(out, leg);
            continue;
        }
        for (int phase = 0; phase < NETDIAG_PHASES; phase++) {
            put_delays(out, leg, "round-trip", (enum netdiag_phase)phase, &leg->latency.rtt[phase]);
            put_delays(out, leg, "up", (enum netdiag_phase)phase, &leg->latency.up[phase]);
            put_delays(out, leg, "down", (enum netdiag_phase)phase, &leg->latency.down[phase]);
        }
    }
    xk_out_end(out);
    xk_out_rows(out, "clock");
    for (unsigned i = 0; i < r->leg_count; i++) {
        const struct netdiag_latency *const l = &r->legs[i].latency;
        if (!l->known)
            continue;
        xk_row(out);
        xk_put_str(out, "test", r->legs[i].name);
        xk_put_double(out, "offset_ms", rounded(l->offset_ms));
        xk_put_double(out, "drift_ppm", rounded(l->drift_ppm));
        xk_put_double(out, "one_way_error_ms", rounded(l->error_ms));
    }
    xk_out_end(out);
    xk_out_rows(out, "bufferbloat");
    for (unsigned i = 0; i < r->leg_count; i++) {
        for (int way = 0; way < RUN_WAYS; way++) {
            const double added = run_added_ms(&r->legs[i], way);
            if (isnan(added))
                continue;
            xk_row(out);
            xk_put_str(out, "test", r->legs[i].name);
            xk_put_str(out, "path", way ? "down" : "up");
            xk_put_double(out, "added_ms", rounded(added));
            const char *const grade = netdiag_bloat_grade(added);
            xk_put_str(out, "grade", grade);
            xk_out_color(out, grade[0] == 'A' ? XK_COLOR_GOOD : grade[0] == 'B' ? XK_COLOR_NOTE : XK_COLOR_BAD);
        }
    }
    xk_out_end(out);
}

/* ---- what limited it, and what was left out ---- */

static void put_limits(const struct run *r)
{
    struct xk_out *const out = r->app->out;

    xk_out_cards(out, "limits");
    for (unsigned i = 0; i < r->leg_count; i++) {
        for (unsigned k = 0; k < r->legs[i].verdicts.count; k++) {
            const struct netdiag_verdict *const v = &r->legs[i].verdicts.items[k];
            xk_row(out);
            xk_put_str(out, "test", v->main ? v->receive ? "receive" : "send" : r->legs[i].name);
            xk_put_str(out, "limit", netdiag_limit_name(v->limit));
            xk_out_color(out, v->main ? XK_COLOR_NOTE : XK_COLOR_WARN);
            xk_put_bool(out, "main", v->main);
            xk_put_str(out, "evidence", v->evidence);
            xk_put_str(out, "advice", netdiag_limit_advice(v->limit));
        }
    }
    xk_out_end(out);
}

static void put_percent(struct xk_out *out, const char *key, double percent)
{
    char name[40];

    snprintf(name, sizeof(name), "%s_percent", key);
    if (isnan(percent))
        xk_put_none(out, name);
    else
        xk_put_pct(out, key, round(percent * 10) / 10);
}

/* What both ends know of themselves. */
static void put_hosts(const struct run *r)
{
    struct xk_out *const out = r->app->out;

    xk_out_rows(out, "hosts");
    for (unsigned i = 0; i < r->leg_count; i++) {
        const struct run_leg *const leg = &r->legs[i];
        const struct netdiag_account *const sides[] = {&leg->own, &leg->peer_account};
        for (unsigned k = 0; k < XK_COUNT(sides); k++) {
            const struct netdiag_account *const a = sides[k];
            double thread = NAN;
            uint64_t slept = 0, preempted = 0;
            if (!a->known)
                continue;
            for (unsigned n = 0; n < a->stream_count; n++) {
                thread = fmax(thread, a->streams[n].cpu_percent);
                slept += a->streams[n].slept;
                preempted += a->streams[n].preempted;
            }
            xk_row(out);
            xk_put_str(out, "test", leg->name);
            xk_put_str(out, "side", k ? "far" : "here");
            xk_put_str(out, "kernel", a->kernel);
            xk_put_str(out, "interface", a->link.name);
            xk_put_u64(out, "mtu", a->link.mtu);
            xk_put_u64(out, "processors", a->processors);
            put_percent(out, "thread", thread);
            xk_put_u64(out, "slept", slept);
            xk_put_u64(out, "preempted", preempted);
            put_percent(out, "allowed", a->allowed_percent);
            put_percent(out, "busiest", a->busiest_percent);
            put_percent(out, "softirq", a->softirq_percent);
            put_percent(out, "steal", a->steal_percent);
        }
    }
    xk_out_end(out);
}

/* What the kernels say of each stream: the numbers that the verdicts come from, for programs. */
static void put_accounts(const struct run *r)
{
    struct xk_out *const out = r->app->out;

    xk_out_rows(out, "accounts");
    for (unsigned i = 0; i < r->leg_count; i++) {
        const struct netdiag_account *const sides[] = {&r->legs[i].own, &r->legs[i].peer_account};
        for (unsigned k = 0; k < XK_COUNT(sides); k++) {
            for (unsigned n = 0; sides[k]->known && n < sides[k]->stream_count; n++) {
                const struct netdiag_stream *const s = &sides[k]->streams[n];
                xk_row(out);
                xk_put_str(out, "test", r->legs[i].name);
                xk_put_str(out, "side", k ? "far" : "here");
                xk_put_i64(out, "stream", s->id);
                xk_put_bool(out, "sending", s->sending);
                xk_put_double(out, "seconds", rounded(s->seconds));
                xk_put_bytes(out, "moved", s->bytes);
                put_percent(out, "thread", s->cpu_percent);
                put_percent(out, "thread_waited", s->waited_percent);
                xk_put_bytes(out, "waiting_mean", s->waiting_mean);
                xk_put_bytes(out, "waiting_max", s->waiting_max);
                xk_put_u64(out, "busy_us", s->busy_us);
                xk_put_u64(out, "receive_window_limited_us", s->rwnd_limited_us);
                xk_put_u64(out, "send_buffer_limited_us", s->sndbuf_limited_us);
                xk_put_u64(out, "segments", s->segments);
                xk_put_u64(out, "retransmits", s->retransmits);
                xk_put_bytes(out, "mss", s->mss);
                xk_put_u64(out, "rtt_min_us", s->rtt_min_us);
                xk_put_u64(out, "rtt_mean_us", s->rtt_mean_us);
                xk_put_u64(out, "rtt_max_us", s->rtt_max_us);
                xk_put_bytes(out, "cwnd_max", s->cwnd_max);
                xk_put_bytes(out, "receive_window_max", s->wnd_max);
                xk_put_rate(out, "delivery", s->delivery_bps);
                xk_put_rate(out, "pacing", s->pacing_bps);
                xk_put_u64(out, "backoff_max", s->backoff_max);
            }
        }
    }
    xk_out_end(out);
}

static void put_far_side(const struct run *r)
{
    const struct run_leg *const leg = &r->legs[0];
    struct xk_out *const out = r->app->out;

    xk_out_record(out, "server");
    xk_put_str(out, "host", r->host);
    xk_put_str(out, "address", leg->peer.host);
    xk_put_u64(out, "port", leg->peer.port);
    xk_put_str(out, "program",
               leg->greeting.version ? leg->greeting.program : "iperf3, or a program that speaks like it");
    xk_out_end(out);
    xk_out_record(out, "path");
    xk_put_u64(out, "mtu", leg->own.link.mtu);
    if (leg->mtu.known) {
        xk_put_u64(out, "largest_up", leg->mtu.up);
        xk_put_u64(out, "largest_down", leg->mtu.down);
    } else {
        xk_put_none(out, "largest_up");
        xk_put_none(out, "largest_down");
    }
    put_ms(out, "handshake_rtt_ms", leg->handshake_rtt_ms);
    xk_put_str(out, "congestion", leg->congestion);
    xk_out_end(out);
}

void run_show(const struct run *r)
{
    struct xk_out *const out = r->app->out;
    const struct run_leg *const leg = &r->legs[0];

    xk_out_rows(out, "results");
    for (unsigned i = 0; i < r->leg_count; i++)
        put_leg_totals(r, &r->legs[i]);
    xk_out_end(out);
    if (r->opts->latency)
        put_latency(r);
    put_limits(r);
    put_hosts(r);
    if (xk_out_format(out) != XK_OUT_TABLE)
        put_accounts(r);
    put_far_side(r);
    if (!leg->greeting.version)
        xk_say(out,
               "\nThe server is no xenkit, so nothing is known of its own end: its window, its drops, its processors.\n"
               "%s",
               r->opts->latency ? "Its latency is what TCP measured of itself (none with UDP): no one-way delays.\n"
                                : "");
    else if (leg->no_echo[0])
        xk_say(out, "\nNo latency was measured: %s.\n", xk_out_clean(out, leg->no_echo));
}
