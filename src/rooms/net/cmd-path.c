/*
 * `xenkit net path`: what lies between this host and another one, without loading it.
 *
 * Round trips and the largest packet come from echoes of ICMP. Where those are not allowed or not answered, the time of
 * a TCP handshake stands for the round trip, and a `xenkit net serve` on the far side for the echoes of large packets.
 * How each number was found is told beside it.
 */
#include "rooms/net/net.h"

#include "core/stats.h"
#include "core/text.h"
#include "lib/netdiag/netdiag.h"
#include "lib/netpath/netpath.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define RESOLVE_NS   (5 * XK_NS_PER_S)
#define COUNT_MAX    10000
#define INTERVAL_NS  (20 * XK_NS_PER_MS)
#define TIMEOUT_MAX  (10 * XK_NS_PER_S)
#define MTU_LEAST_NS (100 * XK_NS_PER_MS) /* to wait for the answer to a large packet */
#define NOT_WHOLE    1

struct path_opts {
    uint64_t port, count, hops, timeout_ns;
    bool four, six;
};

static const struct xk_opt path_opts_table[] = {
    XK_OPT_U64('c', "count", struct path_opts, count, "N", 1, COUNT_MAX, "round trips to measure [20]"),
    XK_OPT_U64(0, "max-hops", struct path_opts, hops, "N", 0, NETPATH_HOPS_MAX,
               "routers to ask, at most; 0: none, which sends no datagrams at all [30]"),
    XK_OPT_U64('p', "port", struct path_opts, port, "PORT", 1, 65535,
               "of TCP, and of xenkit net serve, where ICMP says nothing [5201]"),
    XK_OPT_DURATION('t', "timeout", struct path_opts, timeout_ns, "TIME", "to wait for an answer, 10ms to 10s [1s]"),
    XK_OPT_FLAG('4', "ipv4", struct path_opts, four, "IPv4 only"),
    XK_OPT_FLAG('6', "ipv6", struct path_opts, six, "IPv6 only"),
    XK_OPT_END,
};

struct path {
    struct xk_app *app;
    const struct path_opts *opts;
    const char *host;
    struct resolve_address to, local;
    struct nethost_link link;
    uint32_t kernel_mtu;
    struct netpath_ping *ping;
    const char *rtt_by; /* "icmp", "tcp"; NULL: nothing answered */
    double *rtt_ms;
    size_t sent, answered;
    int64_t largest; /* 0: not known */
    struct netdiag_mtu served;
    const char *mtu_by; /* "icmp", "xenkit net serve"; NULL: nothing answered */
    struct netpath_told told;
    struct netpath_hop hops[NETPATH_HOPS_MAX];
    int hop_count;
    struct netpath_hop large[NETPATH_HOPS_MAX]; /* the same with packets as large as our link takes */
    int large_count;                            /* 0: not asked, since they pass */
    char no_icmp[160];
};

/* ---- asking ---- */

/* returns 0; -EINTR; errno values that end it all. */
static int measure_rtt(struct path *p, bool by_icmp)
{
    const struct path_opts *const o = p->opts;

    p->sent = p->answered = 0;
    for (uint64_t i = 0; i < o->count; i++) {
        /* A host that keeps silent three times will not begin to speak. */
        if (i >= 3 && p->answered == 0)
            break;
        const int64_t rtt =
            by_icmp ? netpath_ping_ask(p->ping, 84, o->timeout_ns, NULL) : netpath_knock(&p->to, o->timeout_ns);
        if (rtt < 0)
            return (int)rtt;
        p->sent++;
        if (rtt > 0)
            p->rtt_ms[p->answered++] = (double)rtt / 1e6;
        p->app->clock->sleep_ns(p->app->clock, INTERVAL_NS);
        if (xk_stop_signal())
            return -EINTR;
    }
    if (p->answered)
        p->rtt_by = by_icmp ? "icmp" : "tcp";
    xk_sort_doubles(p->rtt_ms, p->answered);
    return 0;
}

/* An answer is waited for as long as four slow ones took. */
static uint64_t patience(const struct path *p)
{
    const double slow_ns = p->answered ? p->rtt_ms[p->answered - 1] * 4e6 : 0;

    return XK_MIN(MTU_LEAST_NS + (uint64_t)slow_ns, p->opts->timeout_ns);
}

static int ready(void *context, struct iperf_test *t, struct xk_err *err)
{
    struct path *const p = context;
    struct netdiag_probe *probe = NULL;

    if (netdiag_probe_begin(&probe, t, err) == 0 && netdiag_probe_mtu(&p->served, probe, p->link.mtu, err) == 0 &&
        p->served.up)
        p->mtu_by = "xenkit net serve";
    netdiag_probe_end(probe);
    /* That was all that we came for: the server is told that we go. */
    return xk_fail(err, -EINTR, "the test is not wanted");
}

static void nothing(void *context, struct iperf_test *t)
{
}

/* A `net serve` there echoes within the beginning of a test, which then does not come. */
static void ask_server(struct path *p)
{
    const struct iperf_settings settings = {
        .host = resolve_host_text(&p->to).s,
        .port = (uint16_t)p->opts->port,
        .connect_timeout_ms = (uint32_t)(p->opts->timeout_ns / XK_NS_PER_MS),
        .affinity = -1,
        .native = true,
        .params = {.time_s = 1, .parallel = 1, .affinity = -1, .echo = true, .version = "3.21"},
    };
    const struct iperf_events events = {.context = p, .connecting = nothing, .ready = ready, .gone = nothing};

    (void)iperf_client(&settings, &events, p->app->clock, p->app->random, NULL);
}

static uint64_t largest_up(const struct path *p)
{
    return p->largest > 0 ? (uint64_t)p->largest : p->served.up;
}

static int ask_all(struct path *p, struct xk_err *err)
{
    int code = netpath_ping_open(&p->ping, &p->to, err);

    if (code == 0) {
        code = measure_rtt(p, true);
        if (code == 0 && !p->rtt_by)
            snprintf(p->no_icmp, sizeof(p->no_icmp), "no echo of ICMP was answered");
    } else if (code == -EACCES) {
        snprintf(p->no_icmp, sizeof(p->no_icmp), "%.150s", err->text);
        code = 0;
    }
    if (code == 0 && p->rtt_by && p->link.mtu) {
        p->largest = netpath_ping_mtu(p->ping, p->link.mtu, patience(p), &p->told);
        code = p->largest < 0 ? (int)p->largest : 0;
        p->mtu_by = p->largest > 0 ? "icmp" : NULL;
    }
    if (code == 0 && !p->rtt_by)
        code = measure_rtt(p, false);
    if (code == 0 && !p->mtu_by && p->link.mtu)
        ask_server(p);
    if (code == 0 && p->opts->hops) {
        p->hop_count = netpath_hops(p->hops, &p->to, (unsigned)p->opts->hops, 0, p->opts->timeout_ns, err);
        code = p->hop_count < 0 && p->hop_count != -EINTR ? 0 : XK_MIN(p->hop_count, 0);
    }
    if (code == 0 && p->hop_count > 0 && p->link.mtu <= NETPATH_LARGE_MAX && largest_up(p) < p->link.mtu) {
        p->large_count = netpath_hops(p->large, &p->to, (unsigned)p->hop_count, p->link.mtu, p->opts->timeout_ns, err);
        code = p->large_count < 0 && p->large_count != -EINTR ? 0 : XK_MIN(p->large_count, 0);
    }
    if (code == -EINTR)
        return xk_fail(err, code, "stopped");
    return code < 0 ? xk_fail_sys(err, code, "asking %s", p->host) : 0;
}

/* ---- telling ---- */

static void put_ms(struct xk_out *out, const char *key, double ms)
{
    if (isnan(ms))
        xk_put_none(out, key);
    else
        xk_put_double(out, key, round(ms * 1e4) / 1e4);
}

/* What becomes of packets as large as our link takes, on the way to a hop; NULL: unknown. */
static const char *large_packets(const struct path *p, int hop)
{
    if (hop >= p->large_count || !p->hops[hop].answered)
        return NULL;
    return p->large[hop].told ? "told" : p->large[hop].answered ? "pass" : "vanish";
}

static void put_hops(const struct path *p)
{
    struct xk_out *const out = p->app->out;

    xk_out_rows(out, "hops");
    for (int i = 0; i < p->hop_count; i++) {
        const struct netpath_hop *const h = &p->hops[i];
        double best = NAN;
        unsigned answers = 0;
        for (int k = 0; k < NETPATH_HOP_TRIES; k++) {
            best = fmin(best, h->rtt_ms[k]);
            answers += isnan(h->rtt_ms[k]) ? 0 : 1;
        }
        xk_row(out);
        xk_put_u64(out, "hop", (uint64_t)i + 1);
        xk_put_str(out, "address", h->answered ? resolve_host_text(&h->by).s : NULL);
        xk_put_u64(out, "sent", NETPATH_HOP_TRIES);
        xk_put_u64(out, "answered", answers);
        put_ms(out, "best_ms", best);
        if (p->large_count > 0)
            xk_put_str(out, "large_packets", large_packets(p, i));
        xk_put_str(out, "what",
                   !h->answered    ? "silent"
                   : h->is_target  ? "target"
                   : h->is_barrier ? "barrier"
                                   : "router");
        xk_out_color(out, h->is_target ? XK_COLOR_GOOD : h->is_barrier ? XK_COLOR_BAD : XK_COLOR_NONE);
    }
    xk_out_end(out);
}

static void put_link(const struct path *p)
{
    struct xk_out *const out = p->app->out;
    struct nethost_qdisc qdiscs[NETHOST_QDISCS_MAX];

    xk_out_record(out, "link");
    xk_put_str(out, "interface", p->link.name[0] ? p->link.name : NULL);
    if (p->link.mtu)
        xk_put_u64(out, "mtu", p->link.mtu);
    else
        xk_put_none(out, "mtu");
    for (int i = 0; i < NETHOST_OFFLOADS; i++) {
        const char *const name = nethost_offload_name((enum nethost_offload)i);
        if (p->link.offloads[i] < 0)
            xk_put_none(out, name);
        else
            xk_put_bool(out, name, p->link.offloads[i] == 1);
    }
    xk_out_end(out);
    const int count = p->link.index ? nethost_qdiscs_read(qdiscs, p->link.index) : 0;
    xk_out_rows(out, "queues");
    for (int i = 0; i < count; i++) {
        xk_row(out);
        xk_put_str(out, "kind", qdiscs[i].kind);
        xk_putf(out, "handle", "%x:", qdiscs[i].handle >> 16);
        xk_put_u64(out, "packets", qdiscs[i].packets);
        xk_put_u64(out, "drops", qdiscs[i].drops);
        xk_put_u64(out, "overlimits", qdiscs[i].overlimits);
        xk_put_u64(out, "requeues", qdiscs[i].requeues);
        xk_put_bytes(out, "queued", qdiscs[i].queued_bytes);
    }
    xk_out_end(out);
}

static void put_rtt(const struct path *p)
{
    struct xk_out *const out = p->app->out;
    const size_t n = p->answered;

    xk_out_record(out, "round_trip");
    xk_put_str(out, "by", p->rtt_by);
    xk_put_u64(out, "sent", p->sent);
    xk_put_u64(out, "answered", n);
    put_ms(out, "min_ms", n ? p->rtt_ms[0] : NAN);
    put_ms(out, "p50_ms", n ? xk_percentile_sorted(p->rtt_ms, n, 0.5) : NAN);
    put_ms(out, "p90_ms", n ? xk_percentile_sorted(p->rtt_ms, n, 0.9) : NAN);
    put_ms(out, "p99_ms", n ? xk_percentile_sorted(p->rtt_ms, n, 0.99) : NAN);
    put_ms(out, "max_ms", n ? p->rtt_ms[n - 1] : NAN);
    xk_out_end(out);
}

/* Large packets vanish when fewer pass than the link takes and no router says why. */
static bool vanish(const struct path *p)
{
    return p->mtu_by && largest_up(p) < p->link.mtu && p->link.mtu <= NETPATH_PACKET_MAX && !p->told.mtu &&
           p->kernel_mtu > largest_up(p);
}

static void put_mtu(const struct path *p)
{
    struct xk_out *const out = p->app->out;

    xk_out_record(out, "mtu");
    xk_put_str(out, "by", p->mtu_by);
    if (p->mtu_by)
        xk_put_u64(out, "largest", largest_up(p));
    else
        xk_put_none(out, "largest");
    if (p->served.down)
        xk_put_u64(out, "largest_back", p->served.down);
    else
        xk_put_none(out, "largest_back");
    xk_put_u64(out, "known_to_kernel", p->kernel_mtu);
    if (p->told.mtu)
        xk_put_u64(out, "told", p->told.mtu);
    else
        xk_put_none(out, "told");
    xk_put_str(out, "told_by", p->told.mtu ? p->told.by.s : NULL);
    xk_put_bool(out, "vanish", vanish(p));
    xk_out_end(out);
}

static int tell(const struct path *p, struct xk_err *err)
{
    struct xk_out *const out = p->app->out;

    if (p->opts->hops)
        put_hops(p);
    xk_out_record(out, "path");
    xk_put_str(out, "host", p->host);
    xk_put_str(out, "address", resolve_host_text(&p->to).s);
    xk_put_str(out, "local", resolve_host_text(&p->local).s);
    xk_out_end(out);
    put_link(p);
    put_rtt(p);
    put_mtu(p);
    if (p->no_icmp[0])
        xk_say(out, "\n%s; %s.\n", p->no_icmp,
               p->rtt_by ? "the round trip is that of TCP's handshake" : "nor did TCP answer");
    if (!p->mtu_by)
        xk_say(
            out,
            "\nThe largest packet is not known: let ICMP echoes through, or run xenkit net serve on the far side.\n");
    if (vanish(p)) {
        int hole = 0;
        while (hole < p->large_count && strcmp(large_packets(p, hole) ? large_packets(p, hole) : "", "vanish") != 0)
            hole++;
        xk_say_color(out, XK_COLOR_BAD, "\nPackets larger than %llu bytes vanish", (unsigned long long)largest_up(p));
        if (hole < p->large_count)
            xk_say(out, " on the way to hop %d, %s", hole + 1, resolve_host_text(&p->hops[hole].by).s);
        xk_say(out, ", and nobody says so: connections hang that send them.\n"
                    "Let ICMP \"fragmentation needed\" through, or make the MTU the same all the way.\n");
        return NOT_WHOLE;
    }
    if (!p->rtt_by && !p->mtu_by) {
        const int code =
            xk_fail(err, -EHOSTUNREACH, "%s answers neither ICMP nor TCP on port %u", p->host, (unsigned)p->opts->port);
        xk_err_exit(err, XK_EXIT_REMOTE);
        return code;
    }
    return XK_EXIT_OK;
}

static int run(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    const struct path_opts *const o = args->opts;
    struct path_opts adapted = *o;
    struct resolve_limits limits = {
        .clock = app->clock, .deadline_ns = resolve_deadline(app->clock, RESOLVE_NS), .root = app->root};
    struct resolve_addresses found;
    char host[RESOLVE_NAME_BYTES];
    uint16_t port;
    int code = 0;

    if (o->four && o->six)
        code = xk_fail(err, -EINVAL, "--ipv4 and --ipv6 exclude each other");
    else if (o->timeout_ns < 10 * XK_NS_PER_MS || o->timeout_ns > TIMEOUT_MAX)
        code = xk_fail(err, -EINVAL, "--timeout: from 10ms to 10s");
    if (code < 0) {
        xk_err_exit(err, XK_EXIT_USAGE);
        return code;
    }
    code = resolve_split(host, &port, args->operands[0], (uint16_t)o->port, err);
    if (code < 0)
        return code;
    adapted.port = port;
    code = resolve_name(&found, host, port, o->four ? AF_INET : o->six ? AF_INET6 : AF_UNSPEC, &limits, err);
    if (code < 0)
        return code;
    xk_autofree struct path *p = xk_zalloc(sizeof(*p));
    xk_autofree double *rtts = xk_array_alloc(o->count, sizeof(*rtts));
    if (!p || !rtts)
        return xk_fail_memory(err);
    *p = (struct path){.app = app, .opts = &adapted, .host = host, .to = found.list[0], .rtt_ms = rtts};
    code = netpath_route(&p->local, &p->kernel_mtu, &p->to, err);
    if (code == 0) {
        nethost_link_read(&p->link, &p->local.any);
        code = ask_all(p, err);
    }
    /* What was learned of the way meanwhile. */
    if (code == 0)
        code = netpath_route(&p->local, &p->kernel_mtu, &p->to, err);
    if (code == 0)
        code = tell(p, err);
    netpath_ping_close(p->ping);
    return code;
}

static const struct xk_exit_row exits[] = {
    {XK_EXIT_OK, "the far side answers, and as large packets pass as the link takes, or somebody says which do"},
    {NOT_WHOLE, "large packets vanish, and nobody says so"},
    {0, NULL},
};
static const struct path_opts defaults = {.port = IPERF_PORT, .count = 20, .hops = 30, .timeout_ns = XK_NS_PER_S};
static const char *const example[] = {"--count", "2", "127.0.0.1", NULL};

const struct xk_command net_cmd_path = {
    .name = "path",
    .summary = "round trips, the largest packet, routers and queues on the way to a host",
    .operands = "HOST[:PORT]",
    .min_operands = 1,
    .max_operands = 1,
    .opts = path_opts_table,
    .defaults = &defaults,
    .opts_bytes = sizeof(struct path_opts),
    .run = run,
    .exits = exits,
    .example = example,
};
