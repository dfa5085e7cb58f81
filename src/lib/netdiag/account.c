/*
 * One side's account of itself. Counters of the host are differences over the time of the test, so what else runs there
 * is in them; that is why a verdict never rests on them alone.
 */
#include "lib/netdiag/netdiag.h"

#include "core/json.h"

#include <errno.h>
#include <json-c/json.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#define DEPTH_MAX 8

struct netdiag_watch {
    const char *root;
    struct nethost_counters before, after;
    struct nethost_link link;
    uint64_t begin_ns, qdisc_packets, qdisc_drops;
};

static uint64_t now_ns(const struct iperf_test *t)
{
    return t->clock->monotonic_ns(t->clock);
}

static void sum_qdiscs(const struct nethost_link *link, uint64_t *ret_packets, uint64_t *ret_drops)
{
    struct nethost_qdisc list[NETHOST_QDISCS_MAX];
    const int count = link->index ? nethost_qdiscs_read(list, link->index) : 0;

    *ret_packets = *ret_drops = 0;
    for (int i = 0; i < count; i++) {
        /* A root one counts what its children drop, too. */
        if (strcmp(list[i].kind, "ingress") == 0 || strcmp(list[i].kind, "clsact") == 0)
            continue;
        *ret_packets = XK_MAX(*ret_packets, list[i].packets);
        *ret_drops = XK_MAX(*ret_drops, list[i].drops);
    }
}

struct netdiag_watch *netdiag_watch_begin(const char *root, const struct iperf_test *t, int control_fd)
{
    struct netdiag_watch *const w = xk_zalloc(sizeof(*w));
    struct sockaddr_storage local = {0};
    socklen_t bytes = sizeof(local);

    if (!w)
        return NULL;
    w->root = root;
    if (getsockname(control_fd, (struct sockaddr *)&local, &bytes) == 0)
        nethost_link_read(&w->link, (struct sockaddr *)&local);
    sum_qdiscs(&w->link, &w->qdisc_packets, &w->qdisc_drops);
    w->begin_ns = now_ns(t);
    nethost_read(&w->before, root);
    return w;
}

void netdiag_watch_end(struct netdiag_watch *w)
{
    free(w);
}

/* ---- making ---- */

static double percent(uint64_t part, uint64_t whole)
{
    return whole ? 100.0 * (double)part / (double)whole : NAN;
}

static void take_processors(struct netdiag_account *a, const struct nethost_counters *c)
{
    uint64_t busy = 0, total = 0, all = 0, steal = 0;

    a->busiest_percent = a->softirq_percent = NAN;
    for (unsigned i = 0; i < c->processor_count; i++) {
        const struct nethost_processor *const p = &c->processors[i];
        const uint64_t used = p->total - XK_MIN(p->idle, p->total);
        if (!p->online)
            continue;
        a->processors++;
        a->busiest_percent = fmax(a->busiest_percent, percent(used, p->total));
        a->softirq_percent = fmax(a->softirq_percent, percent(p->softirq, p->total));
        all += p->total;
        steal += p->steal;
        if (!p->allowed)
            continue;
        a->allowed++;
        busy += used;
        total += p->total;
    }
    a->allowed_percent = percent(busy, total);
    a->steal_percent = percent(steal, all);
}

static void take_stream(struct netdiag_account *a, const struct iperf_test *t, const struct iperf_flow *f)
{
    const struct iperf_count *const then = &f->base, *const now = &f->last;
    const double seconds = (double)(t->end_ns - t->start_ns) / 1e9;
    const double whole_s = (double)(t->end_ns - t->begin_ns) / 1e9;

    a->streams[a->stream_count++] = (struct netdiag_stream){
        .id = f->id,
        .sending = f->sending,
        .seconds = seconds,
        .cpu_percent = whole_s > 0 ? (double)f->cpu_ns / 1e7 / whole_s : 0,
        .waited_percent = whole_s > 0 && f->waited_ns >= 0 ? (double)f->waited_ns / 1e7 / whole_s : NAN,
        .slept = f->slept,
        .preempted = f->preempted,
        .bytes = now->bytes - then->bytes,
        .busy_us = now->busy_us - XK_MIN(then->busy_us, now->busy_us),
        .rwnd_limited_us = now->rwnd_limited_us - XK_MIN(then->rwnd_limited_us, now->rwnd_limited_us),
        .sndbuf_limited_us = now->sndbuf_limited_us - XK_MIN(then->sndbuf_limited_us, now->sndbuf_limited_us),
        .segments = now->segments - XK_MIN(then->segments, now->segments),
        .retransmits = now->retransmits - XK_MIN(then->retransmits, now->retransmits),
        .mss = now->mss,
        .rtt_min_us = now->min_rtt_us == UINT32_MAX ? 0 : now->min_rtt_us,
        .rtt_mean_us = f->rtt_count ? f->rtt_sum_us / f->rtt_count : 0,
        .rtt_max_us = f->rtt_max_us,
        .cwnd_max = f->cwnd_max,
        .wnd_max = f->wnd_max,
        .delivery_bps = now->delivery_bps,
        .pacing_bps = now->pacing_bps,
        .backoff_max = f->backoff_max,
        .waiting_mean = f->looks ? f->waiting_sum / f->looks : 0,
        .waiting_max = f->waiting_max,
    };
}

void netdiag_account_make(struct netdiag_account *ret, struct netdiag_watch *w, const struct iperf_test *t)
{
    struct utsname system;

    *ret = (struct netdiag_account){.known = true, .link = w->link};
    snprintf(ret->program, sizeof(ret->program), "xenkit %s", XK_VERSION);
    if (uname(&system) == 0)
        snprintf(ret->kernel, sizeof(ret->kernel), "%.60s", system.release);
    nethost_read(&w->after, w->root);
    nethost_since(&w->after, &w->before);
    ret->seconds = (double)(now_ns(t) - w->begin_ns) / 1e9;
    take_processors(ret, &w->after);
    ret->softnet_processed = w->after.softnet_processed;
    ret->softnet_dropped = w->after.softnet_dropped;
    ret->softnet_squeezed = w->after.softnet_squeezed;
    sum_qdiscs(&w->link, &ret->qdisc_packets, &ret->qdisc_drops);
    ret->qdisc_packets -= XK_MIN(ret->qdisc_packets, w->qdisc_packets);
    ret->qdisc_drops -= XK_MIN(ret->qdisc_drops, w->qdisc_drops);
    const struct nethost_interface *const link = nethost_find(&w->after, w->link.name);
    ret->link_rx_packets = link ? link->rx_packets : 0;
    ret->link_tx_packets = link ? link->tx_packets : 0;
    ret->sndbuf_bytes = (uint64_t)XK_MAX(t->sndbuf_bytes, 0);
    ret->rcvbuf_bytes = (uint64_t)XK_MAX(t->rcvbuf_bytes, 0);
    for (unsigned i = 0; i < w->after.interface_count && ret->loss_count < NETDIAG_LOSSES_MAX; i++) {
        const struct nethost_interface *const x = &w->after.interfaces[i];
        if (x->rx_dropped + x->rx_errors + x->tx_dropped + x->tx_errors)
            ret->losses[ret->loss_count++] = *x;
    }
    for (unsigned i = 0; i < t->flow_count && i < NETDIAG_STREAMS_MAX; i++)
        take_stream(ret, t, &t->flows[i]);
}

/* ---- both directions of the document: one list of members ---- */

struct document {
    struct xk_json *out;    /* when it is written */
    struct json_object *in; /* when it is read */
};

static struct json_object *get(const struct document *d, const char *name)
{
    struct json_object *o = NULL;

    return json_object_object_get_ex(d->in, name, &o) ? o : NULL;
}

static void number(const struct document *d, const char *name, uint64_t *v)
{
    if (d->out) {
        xk_json_u64(d->out, name, *v);
        return;
    }
    struct json_object *const o = get(d, name);
    const int64_t read = json_object_is_type(o, json_type_int) ? json_object_get_int64(o) : 0;
    *v = read > 0 ? (uint64_t)XK_MIN(read, INT64_MAX / 1024) : 0; /* sums of them do not overflow */
}

static void small(const struct document *d, const char *name, unsigned *v)
{
    uint64_t wide = *v;

    number(d, name, &wide);
    *v = (unsigned)XK_MIN(wide, UINT64_C(1) << 30);
}

static void real(const struct document *d, const char *name, double *v)
{
    if (d->out) {
        xk_json_double(d->out, name, *v);
        return;
    }
    struct json_object *const o = get(d, name);
    const bool is_number = json_object_is_type(o, json_type_int) || json_object_is_type(o, json_type_double);
    const double read = is_number ? json_object_get_double(o) : NAN;
    *v = read >= 0 && read < 1e15 ? read : NAN;
}

static void text(const struct document *d, const char *name, char *v, size_t bytes)
{
    if (d->out) {
        xk_json_str(d->out, name, v);
        return;
    }
    struct json_object *const o = get(d, name);
    snprintf(v, bytes, "%s", json_object_is_type(o, json_type_string) ? json_object_get_string(o) : "");
}

static void flag(const struct document *d, const char *name, int *v)
{
    if (d->out && *v >= 0)
        xk_json_bool(d->out, name, *v);
    if (d->out)
        return;
    struct json_object *const o = get(d, name);
    *v = json_object_is_type(o, json_type_boolean) ? json_object_get_boolean(o) : -1;
}

static void stream_members(const struct document *d, struct netdiag_stream *s)
{
    unsigned id = (unsigned)s->id;
    int sending = s->sending;

    small(d, "id", &id);
    flag(d, "sending", &sending);
    s->id = (int)id;
    s->sending = sending == 1;
    real(d, "seconds", &s->seconds);
    real(d, "cpu_percent", &s->cpu_percent);
    real(d, "waited_percent", &s->waited_percent);
    number(d, "slept", &s->slept);
    number(d, "preempted", &s->preempted);
    number(d, "bytes", &s->bytes);
    number(d, "waiting_mean_bytes", &s->waiting_mean);
    number(d, "waiting_max_bytes", &s->waiting_max);
    if (!s->sending)
        return;
    number(d, "busy_us", &s->busy_us);
    number(d, "rwnd_limited_us", &s->rwnd_limited_us);
    number(d, "sndbuf_limited_us", &s->sndbuf_limited_us);
    number(d, "segments", &s->segments);
    number(d, "retransmits", &s->retransmits);
    number(d, "mss_bytes", &s->mss);
    number(d, "rtt_min_us", &s->rtt_min_us);
    number(d, "rtt_mean_us", &s->rtt_mean_us);
    number(d, "rtt_max_us", &s->rtt_max_us);
    number(d, "cwnd_max_bytes", &s->cwnd_max);
    number(d, "wnd_max_bytes", &s->wnd_max);
    number(d, "delivery_bps", &s->delivery_bps);
    number(d, "pacing_bps", &s->pacing_bps);
    number(d, "backoff_max", &s->backoff_max);
}

static void loss_members(const struct document *d, struct nethost_interface *x)
{
    text(d, "interface", x->name, sizeof(x->name));
    number(d, "rx_packets", &x->rx_packets);
    number(d, "rx_dropped", &x->rx_dropped);
    number(d, "rx_errors", &x->rx_errors);
    number(d, "tx_packets", &x->tx_packets);
    number(d, "tx_dropped", &x->tx_dropped);
    number(d, "tx_errors", &x->tx_errors);
}

static void members(const struct document *d, struct netdiag_account *a)
{
    text(d, "program", a->program, sizeof(a->program));
    text(d, "kernel", a->kernel, sizeof(a->kernel));
    text(d, "interface", a->link.name, sizeof(a->link.name));
    text(d, "qdisc", a->link.qdisc, sizeof(a->link.qdisc));
    small(d, "mtu_bytes", &a->link.mtu);
    for (int i = 0; i < NETHOST_OFFLOADS; i++)
        flag(d, nethost_offload_name((enum nethost_offload)i), &a->link.offloads[i]);
    real(d, "seconds", &a->seconds);
    small(d, "processors", &a->processors);
    small(d, "allowed_processors", &a->allowed);
    real(d, "busiest_percent", &a->busiest_percent);
    real(d, "allowed_percent", &a->allowed_percent);
    real(d, "softirq_percent", &a->softirq_percent);
    real(d, "steal_percent", &a->steal_percent);
    number(d, "softnet_processed", &a->softnet_processed);
    number(d, "softnet_dropped", &a->softnet_dropped);
    number(d, "softnet_squeezed", &a->softnet_squeezed);
    number(d, "qdisc_packets", &a->qdisc_packets);
    number(d, "qdisc_drops", &a->qdisc_drops);
    number(d, "link_rx_packets", &a->link_rx_packets);
    number(d, "link_tx_packets", &a->link_tx_packets);
    number(d, "sndbuf_bytes", &a->sndbuf_bytes);
    number(d, "rcvbuf_bytes", &a->rcvbuf_bytes);
}

char *netdiag_account_text(const struct netdiag_account *a)
{
    struct netdiag_account copy = *a;
    xk_auto(xk_buf_done) struct xk_buf b = XK_BUF_INIT(NETDIAG_TEXT_MAX);
    struct xk_json j;
    const struct document d = {.out = &j};

    xk_json_init(&j, &b, 0);
    xk_json_object(&j, NULL);
    members(&d, &copy);
    xk_json_array(&j, "losses");
    for (unsigned i = 0; i < copy.loss_count; i++) {
        xk_json_object(&j, NULL);
        loss_members(&d, &copy.losses[i]);
        xk_json_end(&j);
    }
    xk_json_end(&j);
    xk_json_array(&j, "streams");
    for (unsigned i = 0; i < copy.stream_count; i++) {
        xk_json_object(&j, NULL);
        stream_members(&d, &copy.streams[i]);
        xk_json_end(&j);
    }
    xk_json_end(&j);
    xk_json_end(&j);
    return xk_buf_take(&b);
}

/* The items of an array member, at most `most`. */
static unsigned items(const struct document *d, const char *name, size_t most, struct json_object **ret)
{
    *ret = get(d, name);
    return json_object_is_type(*ret, json_type_array) ? (unsigned)XK_MIN(json_object_array_length(*ret), most) : 0;
}

int netdiag_account_read(struct netdiag_account *ret, const char *json, struct xk_err *err)
{
    struct json_object *list;

    const size_t bytes = strlen(json);
    struct json_tokener *const reader = json_tokener_new_ex(DEPTH_MAX);
    if (!reader)
        return xk_fail_memory(err);
    struct json_object *const root = bytes <= NETDIAG_TEXT_MAX ? json_tokener_parse_ex(reader, json, (int)bytes) : NULL;
    json_tokener_free(reader);
    if (!json_object_is_type(root, json_type_object)) {
        json_object_put(root);
        return xk_fail(err, -EBADMSG, "the far side's account of itself is no JSON object");
    }
    const struct document d = {.in = root};
    *ret = (struct netdiag_account){.known = true};
    members(&d, ret);
    ret->loss_count = items(&d, "losses", NETDIAG_LOSSES_MAX, &list);
    for (unsigned i = 0; i < ret->loss_count; i++)
        loss_members(&(struct document){.in = json_object_array_get_idx(list, i)}, &ret->losses[i]);
    ret->stream_count = items(&d, "streams", NETDIAG_STREAMS_MAX, &list);
    for (unsigned i = 0; i < ret->stream_count; i++)
        stream_members(&(struct document){.in = json_object_array_get_idx(list, i)}, &ret->streams[i]);
    json_object_put(root);
    return 0;
}
