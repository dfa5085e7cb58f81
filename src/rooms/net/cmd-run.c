/*
 * `xenkit net run`: a test against `xenkit net serve`, or any iperf3 server.
 *
 * Each direction is a test of its own, one after the other, unless both are asked for at the same time: a link that is
 * slow one way only hides behind the other else. The engine is looked at ten times a second; what is shown is drawn
 * from that.
 */
#include "rooms/net/net.h"
#include "rooms/net/run.h"

#include "core/text.h"
#include "lib/resolve/resolve.h"

#include <math.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>

#define SECONDS_MAX   (IPERF_TIME_MAX * XK_NS_PER_S)
#define IDLE_NS       XK_NS_PER_S /* of echoes before the load */
#define IDLE_STEP     (20 * XK_NS_PER_MS)
#define PATIENT_TRIES 20
#define PATIENT_NS    (100 * XK_NS_PER_MS)
#define RATE_UDP      UINT64_C(1000000000) /* of a UDP stream when no rate is said */

static const struct xk_opt run_opts_table[] = {
    XK_OPT_U64('p', "port", struct run_opts, port, "PORT", 1, 65535, "of the server [5201]"),
    XK_OPT_DURATION('t', "seconds", struct run_opts, seconds_ns, "TIME",
                    "of each direction, in whole seconds up to a day [5s]"),
    XK_OPT_U64('P', "streams", struct run_opts, streams, "N", 1, IPERF_STREAMS_MAX, "at the same time [1]"),
    XK_OPT_FLAG('u', "udp", struct run_opts, udp, "send datagrams, and count what is lost, doubled and overtaken"),
    XK_OPT_RATE('b', "rate", struct run_opts, rate_bps, "RATE",
                "of each stream, such as 100M [TCP: as fast as it goes; UDP: 1G]"),
    XK_OPT_RATE(0, "pace", struct run_opts, pace_bps, "RATE",
                "let the kernel pace each TCP stream (SO_MAX_PACING_RATE)"),
    XK_OPT_FLAG(0, "send", struct run_opts, send, "to the server only"),
    XK_OPT_FLAG('R', "reverse", struct run_opts, reverse, "from the server only"),
    XK_OPT_FLAG(0, "both", struct run_opts, both, "both directions at the same time [one after the other]"),
    XK_OPT_FLAG('l', "latency", struct run_opts, latency,
                "measure round trips and one-way delays, for an idle second and under load"),
    XK_OPT_SIZE('w', "window", struct run_opts, window_bytes, "SIZE", "of the sockets' buffers [the system's]"),
    XK_OPT_SIZE(0, "block", struct run_opts, block_bytes, "SIZE",
                "of a write, of a datagram [128K, 10 ms of --rate; what fits into a packet]"),
    XK_OPT_U64(0, "mss", struct run_opts, mss, "BYTES", 88, IPERF_MSS_MAX, "largest segment of TCP"),
    XK_OPT_DURATION(0, "omit", struct run_opts, omit_ns, "TIME", "leave out the beginning, up to 10m [0]"),
    XK_OPT_DURATION('i', "interval", struct run_opts, interval_ns, "TIME", "between two lines, 100ms to 1m [1s]"),
    XK_OPT_TEXT(0, "congestion", struct run_opts, congestion, "NAME", "algorithm of TCP [the system's]"),
    XK_OPT_FLAG(0, "nodelay", struct run_opts, nodelay, "send small writes at once (TCP_NODELAY)"),
    XK_OPT_FLAG(0, "dont-fragment", struct run_opts, dont_fragment, "IPv4: never cut a datagram up"),
    XK_OPT_FLAG(0, "fast", struct run_opts, fast, "receive without copying: less work for the processor"),
    XK_OPT_TEXT(0, "file", struct run_opts, file, "FILE", "send its bytes; with --reverse, write what comes to it"),
    XK_OPT_TEXT(0, "bind", struct run_opts, bind, "ADDRESS", "use this address of our own"),
    XK_OPT_FLAG('4', "ipv4", struct run_opts, four, "IPv4 only"),
    XK_OPT_FLAG('6', "ipv6", struct run_opts, six, "IPv6 only"),
    XK_OPT_TEXT(0, "title", struct run_opts, title, "TEXT", "goes into the record, the page and to the server"),
    XK_OPT_TEXT(0, "save", struct run_opts, save, "FILE", "write the measurement as one JSON record, too"),
    XK_OPT_TEXT(0, "html", struct run_opts, html, "FILE", "write it as one HTML page, too"),
    XK_OPT_END,
};

/* ---- what the engine tells ---- */

static void connecting(void *context, struct iperf_test *t)
{
    struct run *const r = context;

    r->leg->peer = t->peer;
    r->connected = true;
    xk_log(r->app->log, XK_LOG_INFO, "%s: connected to %s port %u", r->leg->name, t->peer.host, t->peer.port);
}

static void waiting(void *context, struct iperf_test *t)
{
    struct run *const r = context;

    if (t->greeting.place == r->place)
        return;
    r->place = t->greeting.place;
    xk_log(r->app->log, XK_LOG_WARN, "%s is busy: we are number %u in line", r->host, r->place);
}

static double handshake_ms(int fd)
{
    struct tcp_info info = {0};
    socklen_t bytes = sizeof(info);

    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &bytes) == 0 && info.tcpi_rtt ? info.tcpi_rtt / 1000.0 : NAN;
}

/* The server waits for streams: the time for everything that wants an idle path. */
static int ready(void *context, struct iperf_test *t, struct xk_err *err)
{
    struct run *const r = context;
    struct run_leg *const leg = r->leg;
    const struct xk_clock *const clock = r->app->clock;
    struct sockaddr_storage local = {0};
    socklen_t bytes = sizeof(local);
    struct nethost_link link;

    leg->greeting = t->greeting;
    leg->handshake_rtt_ms = handshake_ms(t->control_fd);
    int code = netdiag_probe_begin(&r->probe, t, err);
    if (code < 0) {
        snprintf(leg->no_echo, sizeof(leg->no_echo), "%.190s", err->text);
        xk_err_clear(err);
        return code == -ENOMEM ? code : 0;
    }
    (void)getsockname(t->control_fd, (struct sockaddr *)&local, &bytes);
    nethost_link_read(&link, (struct sockaddr *)&local);
    code = link.mtu ? netdiag_probe_mtu(&leg->mtu, r->probe, link.mtu, err) : 0;
    if (code < 0 || !r->opts->latency)
        return code;
    code = netdiag_probe_run(r->probe, err);
    const uint64_t until = clock->monotonic_ns(clock) + IDLE_NS;
    while (code == 0 && clock->monotonic_ns(clock) < until) {
        if (xk_stop_signal())
            return xk_fail(err, -EINTR, "stopped");
        clock->sleep_ns(clock, IDLE_STEP);
    }
    return code;
}

static void started(void *context, struct iperf_test *t)
{
    struct run *const r = context;

    r->watch = netdiag_watch_begin(r->app->root, t, t->control_fd);
    if (r->probe)
        netdiag_probe_phase(r->probe, NETDIAG_LOADED);
    r->leg->block_bytes = t->block_bytes;
    memcpy(r->leg->congestion, t->congestion, sizeof(r->leg->congestion));
}

static void omit_done(void *context, struct iperf_test *t)
{
}

static void add_point(struct run_point *into, const struct run_point *p)
{
    const double seconds = into->seconds + p->seconds;

    for (int w = 0; w < RUN_WAYS; w++)
        into->bps[w] = seconds > 0 ? (into->bps[w] * into->seconds + p->bps[w] * p->seconds) / seconds : 0;
    into->at_s = p->at_s;
    into->seconds = seconds;
    into->rtt_ms = isnan(p->rtt_ms) ? into->rtt_ms : p->rtt_ms;
    into->retransmits += p->retransmits;
    into->packets += p->packets;
    into->lost += p->lost;
}

static void interval(void *context, struct iperf_test *t, const struct iperf_interval *i)
{
    struct run *const r = context;
    struct run_leg *const leg = r->leg;
    struct run_point p = {.at_s = i->end_s, .seconds = i->seconds, .rtt_ms = NAN};
    double rtt_sum = 0;
    unsigned rtts = 0;

    if (i->omitted || leg->point_count == RUN_POINTS_MAX)
        return;
    for (unsigned k = 0; k < i->count; k++) {
        const struct iperf_count *const c = &i->rows[k].count;
        const bool sending = i->rows[k].flow->sending;
        p.bps[sending ? 0 : 1] += i->seconds > 0 ? (double)c->bytes * 8 / i->seconds : 0;
        p.retransmits += (int64_t)c->retransmits;
        p.packets += c->packets;
        p.lost += c->errors;
        rtt_sum += (double)c->rtt_us / 1000;
        rtts += c->rtt_us > 0;
    }
    p.rtt_ms = rtts ? rtt_sum / rtts : NAN;
    leg->points[leg->point_count++] = p;
    if (run_live_shown(r))
        run_live_draw(r, t, i);
    add_point(&r->pending, &p);
    if (p.at_s + RUN_TICK_S / 2 < r->shown_until_s + (double)r->opts->interval_ns / 1e9)
        return;
    run_show_interval(r, &r->pending);
    r->shown_until_s = p.at_s;
    r->pending = (struct run_point){.rtt_ms = NAN};
}

static void make_account(struct run *r, const struct iperf_test *t)
{
    if (r->watch && !r->leg->own.known)
        netdiag_account_make(&r->leg->own, r->watch, t);
}

static void end_probe(struct run *r)
{
    size_t count;

    if (!r->probe)
        return;
    netdiag_probe_stop(r->probe);
    const struct netdiag_sample *const samples = netdiag_probe_samples(r->probe, &count);
    if (r->opts->latency && netdiag_latency_make(&r->leg->latency, samples, count) < 0)
        snprintf(r->leg->no_echo, sizeof(r->leg->no_echo), "no echo was answered");
    netdiag_probe_end(r->probe);
    r->probe = NULL;
}

static char *account(void *context, struct iperf_test *t)
{
    struct run *const r = context;

    end_probe(r);
    make_account(r, t);
    return r->leg->own.known && t->greeting.version ? netdiag_account_text(&r->leg->own) : NULL;
}

static void finished(void *context, struct iperf_test *t, const struct iperf_total *totals, unsigned count)
{
    struct run *const r = context;
    struct run_leg *const leg = r->leg;

    end_probe(r);
    make_account(r, t);
    if (r->pending.seconds > 0)
        run_show_interval(r, &r->pending);
    leg->finished = true;
    leg->cpu_percent = t->cpu_percent[0];
    leg->peer_cpu_percent = t->got_results ? t->peer_cpu_percent[0] : NAN;
    for (unsigned i = 0; i < count && i < XK_COUNT(leg->streams); i++) {
        leg->streams[i] = (struct run_stream){totals[i].flow->id, totals[i].flow->sending, totals[i]};
        leg->streams[i].total.flow = NULL;
        leg->stream_count = i + 1;
    }
    if (t->peer_account && netdiag_account_read(&leg->peer_account, t->peer_account, NULL) < 0)
        leg->peer_account.known = false;
    leg->judged = (struct netdiag_case){
        .params = &leg->settings.params, .own = &leg->own, .peer = &leg->peer_account, .mtu = &leg->mtu};
    netdiag_case_ways(&leg->judged, t, totals, count);
    if (leg->own.known)
        netdiag_judge(&leg->verdicts, &leg->judged);
}

static void gone(void *context, struct iperf_test *t)
{
    struct run *const r = context;

    netdiag_probe_end(r->probe);
    netdiag_watch_end(r->watch);
    r->probe = NULL;
    r->watch = NULL;
}

/* ---- the course ---- */

/* Errors of the protocol are the far side's, but for those that are a matter of this machine. */
static int explain(const struct run *r, int code, struct xk_err *err)
{
    if (code > -IPERF_FAIL)
        return code;
    const int number = iperf_error_of(code, 0);
    if (number == IPERF_E_SETCONGESTION || number == IPERF_E_SETBUF || number == IPERF_E_SETBUF2 ||
        number == IPERF_E_SETMSS || number == IPERF_E_FILE)
        xk_err_exit(err, XK_EXIT_CANNOT);
    else
        xk_err_exit(err, XK_EXIT_REMOTE);
    if (number == IPERF_E_CONNECT)
        xk_err_hint(err, "start one there: xenkit net serve --bind ADDRESS; is port %u let through?",
                    (unsigned)r->opts->port);
    else if (number == IPERF_E_ACCESSDENIED)
        xk_err_hint(err, "xenkit net serve --queue N lets clients wait for their turn");
    return code;
}

static void set_up(struct run_leg *leg, const struct run *r, const char *name)
{
    const struct run_opts *const o = r->opts;
    struct iperf_settings *const s = &leg->settings;
    struct iperf_params *const p = &s->params;

    leg->name = name;
    *s = (struct iperf_settings){
        .host = r->host,
        .bind_host = o->bind,
        .port = (uint16_t)o->port,
        .family = o->four  ? AF_INET
                  : o->six ? AF_INET6
                           : AF_UNSPEC,
        .interval_s = fmax(RUN_TICK_S, (double)o->seconds_ns / 1e9 / RUN_POINTS_MAX * 1.1),
        .rcv_timeout_ms = IPERF_RCV_TIMEOUT_MS,
        .file = o->file,
        .affinity = -1,
        .fast = o->fast,
        .native = true,
    };
    *p = (struct iperf_params){
        .protocol = o->udp ? IPERF_UDP : IPERF_TCP,
        .time_s = (uint32_t)(o->seconds_ns / XK_NS_PER_S),
        .omit_s = (uint32_t)(o->omit_ns / XK_NS_PER_S),
        .parallel = (uint32_t)o->streams,
        .block_bytes = (uint32_t)o->block_bytes,
        .mss = (uint32_t)o->mss,
        .window_bytes = (uint32_t)o->window_bytes,
        .rate_bps = o->rate_bps ? o->rate_bps
                    : o->udp    ? RATE_UDP
                                : 0,
        .fq_rate_bps = o->pace_bps,
        .affinity = -1,
        .nodelay = o->nodelay,
        .dont_fragment = o->dont_fragment,
        .counters_64bit = o->udp,
        .reverse = name[0] == 'r',
        .bidirectional = name[0] == 'b',
        .echo = true,
        .detail = true,
    };
    snprintf(p->congestion, sizeof(p->congestion), "%s", o->congestion ? o->congestion : "");
    snprintf(p->title, sizeof(p->title), "%s", o->title ? o->title : "");
    snprintf(p->version, sizeof(p->version), "3.21");
}

static int check_options(const struct run_opts *o, struct xk_err *err)
{
    const char *wrong = NULL;

    if (o->send + o->reverse + o->both > 1)
        wrong = "--send, --reverse and --both exclude each other";
    else if (o->four && o->six)
        wrong = "--ipv4 and --ipv6 exclude each other";
    else if (o->seconds_ns < XK_NS_PER_S || o->seconds_ns > SECONDS_MAX || o->seconds_ns % XK_NS_PER_S)
        wrong = "--seconds: whole seconds, from 1s to 1d";
    else if (o->omit_ns > IPERF_OMIT_MAX * XK_NS_PER_S || o->omit_ns % XK_NS_PER_S)
        wrong = "--omit: whole seconds, up to 10m";
    else if (o->interval_ns < 100 * XK_NS_PER_MS || o->interval_ns > 60 * XK_NS_PER_S)
        wrong = "--interval: from 100ms to 1m";
    else if (o->window_bytes > IPERF_BUFFER_MAX)
        wrong = "--window: at most 512M";
    else if (o->udp && o->block_bytes && (o->block_bytes < IPERF_UDP_BLOCK_MIN || o->block_bytes > IPERF_UDP_BLOCK_MAX))
        wrong = "--block: a datagram has from 16 to 65507 bytes";
    else if (o->block_bytes > IPERF_BLOCK_MAX)
        wrong = "--block: at most 1M";
    else if (o->udp && (o->file || o->congestion || o->mss || o->nodelay || o->fast || o->pace_bps))
        wrong = "--pace, --file, --congestion, --mss, --nodelay and --fast are for TCP";
    else if (o->dont_fragment && !o->udp)
        wrong = "--dont-fragment is for UDP; TCP never has its packets cut up";
    else if (o->file && !o->send && !o->reverse)
        wrong = "--file goes with --send or --reverse";
    if (!wrong)
        return 0;
    const int code = xk_fail(err, -EINVAL, "%s", wrong);
    xk_err_exit(err, XK_EXIT_USAGE);
    return code;
}

/* A datagram that fits into one packet. The engine would take it from the control connection, whose segments are small.
 */
static uint64_t datagram_bytes(const struct run *r)
{
    const struct resolve_limits limits = {
        .clock = r->app->clock, .deadline_ns = resolve_deadline(r->app->clock, 5 * XK_NS_PER_S), .root = r->app->root};
    struct resolve_addresses found;
    struct sockaddr_storage local = {0};
    socklen_t bytes = sizeof(local);
    struct nethost_link link = {0};
    uint64_t fit = 1448;

    const int family = r->opts->four ? AF_INET : r->opts->six ? AF_INET6 : AF_UNSPEC;
    if (resolve_name(&found, r->host, (uint16_t)r->opts->port, family, &limits, NULL) < 0)
        return fit;
    const int fd = socket(found.list[0].any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return fit;
    if (connect(fd, &found.list[0].any, found.list[0].bytes) == 0 &&
        getsockname(fd, (struct sockaddr *)&local, &bytes) == 0) {
        nethost_link_read(&link, (struct sockaddr *)&local);
        const uint32_t headers = found.list[0].any.sa_family == AF_INET6 ? 48 : 28;
        if (link.mtu > headers + IPERF_UDP_BLOCK_MIN)
            fit = XK_MIN(link.mtu - headers, (uint64_t)IPERF_UDP_BLOCK_MAX);
    }
    (void)close(fd);
    return fit;
}

static int run_legs(struct run *r, struct xk_err *err)
{
    const struct iperf_events events = {
        .context = r,
        .connecting = connecting,
        .waiting = waiting,
        .ready = ready,
        .account = account,
        .started = started,
        .omit_done = omit_done,
        .interval = interval,
        .finished = finished,
        .gone = gone,
    };
    int code = 0;

    for (unsigned i = 0; code == 0 && i < r->leg_count; i++) {
        r->leg = &r->legs[i];
        r->pending = (struct run_point){.rtt_ms = NAN};
        r->shown_until_s = 0;
        r->connected = false;
        r->leg->points = xk_array_alloc(RUN_POINTS_MAX, sizeof(*r->leg->points));
        if (!r->leg->points)
            return xk_fail_memory(err);
        for (int tries = 0; tries < PATIENT_TRIES; tries++) {
            code = iperf_client(&r->leg->settings, &events, r->app->clock, r->app->random, err);
            /* A server that is no xenkit may still be putting the test before this one away, or its port. */
            if (i == 0 || code > -IPERF_FAIL || r->connected || r->leg->greeting.version || xk_stop_signal())
                break;
            r->app->clock->sleep_ns(r->app->clock, PATIENT_NS);
        }
        run_live_wipe(r);
    }
    return explain(r, code, err);
}

static int run(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    const struct run_opts *const opts = args->opts;
    struct run_opts adapted = *opts;
    struct run r = {.app = app,
                    .opts = &adapted,
                    .leg_count = opts->send || opts->reverse || opts->both ? 1 : 2,
                    .live = XK_BUF_INIT(XK_MIB),
                    .started_utc_ns = app->clock->utc_ns(app->clock)};
    char host[RESOLVE_NAME_BYTES];
    uint16_t port;

    int code = check_options(opts, err);
    if (code == 0)
        code = resolve_split(host, &port, args->operands[0], (uint16_t)opts->port, err);
    if (code < 0)
        return code;
    adapted.port = port;
    r.host = host;
    if (opts->udp && !opts->block_bytes)
        adapted.block_bytes = datagram_bytes(&r);
    else if (opts->rate_bps && !opts->block_bytes)
        adapted.block_bytes = iperf_paced_block(opts->rate_bps);
    r.legs = xk_array_alloc(r.leg_count, sizeof(*r.legs));
    if (!r.legs)
        return xk_fail_memory(err);
    set_up(&r.legs[0], &r, opts->both ? "both" : opts->reverse ? "receive" : "send");
    if (r.leg_count > 1)
        set_up(&r.legs[1], &r, "receive");
    xk_out_rows(app->out, "intervals");
    code = run_legs(&r, err);
    xk_out_end(app->out);
    if (r.legs[0].finished) {
        struct xk_err later = {0};
        run_show(&r);
        int written = opts->save ? run_save(&r, &later) : 0;
        if (written == 0 && opts->html)
            written = run_page(&r, &later);
        if (written < 0 && code == 0) {
            code = written;
            *err = later;
        }
    }
    for (unsigned i = 0; i < r.leg_count; i++)
        free(r.legs[i].points);
    free(r.legs);
    xk_buf_done(&r.live);
    return code;
}

static const struct run_opts defaults = {
    .port = IPERF_PORT,
    .streams = 1,
    .seconds_ns = 5 * XK_NS_PER_S,
    .interval_ns = XK_NS_PER_S,
};
static const char *const example[] = {"--seconds", "1", "127.0.0.1:1", NULL};

const struct xk_command net_cmd_run = {
    .name = "run",
    .summary = "measure throughput to a server and back, and say what limits it",
    .operands = "HOST[:PORT]",
    .min_operands = 1,
    .max_operands = 1,
    .opts = run_opts_table,
    .defaults = &defaults,
    .opts_bytes = sizeof(struct run_opts),
    .run = run,
    .help = "The server is xenkit net serve, or any iperf3 -s, which tells less: no echoes, nothing about its own end.",
    .example = example,
};
