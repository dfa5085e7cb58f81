/*
 * The tests of an agent, on the iperf engine.
 *
 * A client connects and agrees on everything, says that it is ready, and holds there until the time that it is told:
 * what the streams of all hosts then have in common is their beginning. The delay under load is that of echoes beside
 * the streams, two hundred a second; where none come back, it is what TCP says of itself ten times a second. A UDP
 * stream has none.
 */
#include "lib/mesh/task.h"

#include "core/stats.h"
#include "lib/iperf/iperf.h"
#include "lib/netdiag/netdiag.h"
#include "lib/mesh/line.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define TICK_S             0.1
#define PROBE_BYTES        1200 /* of a datagram; fits any path that IPv6 allows */
#define CONNECT_TIMEOUT_MS 10000

struct task {
    const struct mesh_message *ask;
    const struct mesh_agent_settings *settings;
    int out, go;
    struct xk_hist rtt_us;
    struct netdiag_probe *probe;
};

static struct mesh_message answer(const struct task *k, enum mesh_word word)
{
    return (struct mesh_message){.word = word, .number = k->ask->number};
}

static void tell(const struct task *k, const struct mesh_message *m)
{
    (void)mesh_write(k->out, m); /* an agent that is gone has taken this process along */
}

/* ---- events ---- */

static void nothing(void *context, struct iperf_test *test)
{
    (void)context;
    (void)test;
}

static void on_interval(void *context, struct iperf_test *test, const struct iperf_interval *i)
{
    struct task *const k = context;

    (void)test;
    for (unsigned row = 0; row < i->count; row++)
        if (i->rows[row].flow->sending && i->rows[row].count.rtt_us > 0)
            xk_hist_add(&k->rtt_us, i->rows[row].count.rtt_us);
}

static void end_probe(struct task *k)
{
    netdiag_probe_end(k->probe);
    k->probe = NULL;
}

static int on_ready(void *context, struct iperf_test *test, struct xk_err *err)
{
    struct task *const k = context;
    const struct xk_clock *const clock = k->settings->clock;
    const struct mesh_message ready = answer(k, MESH_READY);
    struct mesh_go go;
    ssize_t n;

    if (!k->ask->udp)
        (void)netdiag_probe_begin(&k->probe, test, NULL); /* without it TCP has to say */
    tell(k, &ready);
    do
        n = read(k->go, &go, sizeof(go));
    while (n < 0 && errno == EINTR && !xk_stop_signal());
    if (n != sizeof(go))
        return xk_fail(err, -ECANCELED, "the test was called off");
    const uint64_t now = clock->monotonic_ns(clock);
    if (go.at_ns > now)
        clock->sleep_ns(clock, go.at_ns - now);
    return 0;
}

static void on_started(void *context, struct iperf_test *test)
{
    struct task *const k = context;
    struct mesh_message m = answer(k, MESH_STARTED);

    (void)test;
    if (k->probe) {
        netdiag_probe_phase(k->probe, NETDIAG_LOADED);
        if (netdiag_probe_run(k->probe, NULL) < 0)
            end_probe(k);
    }
    m.at_ns = k->settings->clock->monotonic_ns(k->settings->clock);
    tell(k, &m);
}

/* The streams have ended: what was asked after that is no round trip under load. */
static char *on_account(void *context, struct iperf_test *test)
{
    struct task *const k = context;

    (void)test;
    if (k->probe)
        netdiag_probe_stop(k->probe);
    return NULL;
}

static void take_round_trips(struct task *k, struct mesh_message *m)
{
    struct netdiag_latency latency = {0};
    size_t count = 0;

    if (k->probe) {
        netdiag_probe_stop(k->probe);
        const struct netdiag_sample *const samples = netdiag_probe_samples(k->probe, &count);
        (void)netdiag_latency_make(&latency, samples, count);
    }
    const struct netdiag_delays *const loaded = &latency.rtt[NETDIAG_LOADED];
    m->echoes = latency.known ? loaded->answered : 0;
    m->rtt_p50_ms = m->echoes ? loaded->p50_ms : (double)xk_hist_percentile(&k->rtt_us, 0.5) / 1e3;
    m->rtt_p99_ms = m->echoes ? loaded->p99_ms : (double)xk_hist_percentile(&k->rtt_us, 0.99) / 1e3;
}

static void on_finished(void *context, struct iperf_test *test, const struct iperf_total *totals, unsigned count)
{
    struct task *const k = context;
    struct mesh_message m = answer(k, MESH_RESULT);

    for (unsigned i = 0; i < count; i++) {
        const struct iperf_total *const t = &totals[i];
        m.received_bps += t->receiver_s > 0 ? 8.0 * (double)t->received_bytes / t->receiver_s : 0;
        m.sent_bps += t->sender_s > 0 ? 8.0 * (double)t->sent_bytes / t->sender_s : 0;
        m.duration_s = XK_MAX(m.duration_s, t->sender_s);
        m.jitter_ms = XK_MAX(m.jitter_ms, t->jitter_s * 1e3);
        m.packets += (uint64_t)XK_MAX(t->sender_packets, (int64_t)0);
        m.lost_packets += (uint64_t)XK_MAX(t->errors, (int64_t)0);
        m.retransmits += (uint64_t)XK_MAX(t->retransmits, (int64_t)0);
    }
    take_round_trips(k, &m);
    m.cpu_percent = test->cpu_percent[0];
    m.peer_cpu_percent = test->peer_cpu_percent[0];
    tell(k, &m);
}

static void on_listening(void *context, const struct iperf_settings *settings, uint16_t port, unsigned number)
{
    const struct task *const k = context;
    struct mesh_message m = answer(k, MESH_SERVING);

    (void)settings;
    m.port = port;
    if (number == 1)
        tell(k, &m);
}

static void on_server_interval(void *context, struct iperf_test *test, const struct iperf_interval *i)
{
    (void)context;
    (void)test;
    (void)i;
}

static void on_server_finished(void *context, struct iperf_test *test, const struct iperf_total *totals, unsigned count)
{
    (void)context;
    (void)test;
    (void)totals;
    (void)count;
}

static char *no_output(void *context, struct iperf_test *test, bool *ret_json)
{
    (void)context;
    (void)test;
    *ret_json = false;
    return NULL;
}

/* The client tells what went wrong. */
static void on_failed(void *context, struct iperf_test *test, const struct xk_err *err)
{
    (void)context;
    (void)test;
    (void)err;
}

/* ---- the two roles ---- */

int mesh_task_serve(const struct mesh_message *ask, int out, const struct mesh_agent_settings *s, struct xk_err *err)
{
    struct task k = {.ask = ask, .settings = s, .out = out, .go = -1};
    const struct iperf_events events = {
        .context = &k,
        .accepted = nothing,
        .started = nothing,
        .omit_done = nothing,
        .interval = on_server_interval,
        .finished = on_server_finished,
        .output = no_output,
        .listening = on_listening,
        .failed = on_failed,
        .gone = nothing,
    };
    const struct iperf_settings settings = {
        .bind_host = ask->host,
        .multi = (unsigned)XK_MAX(ask->clients, UINT64_C(1)),
        .affinity = -1,
        .program = s->program,
        .secret = ask->secret,
    };
    return iperf_server(&settings, &events, s->clock, s->random, err);
}

int mesh_task_run(const struct mesh_message *ask, int go, int out, const struct mesh_agent_settings *s,
                  struct xk_err *err)
{
    struct task k = {.ask = ask, .settings = s, .out = out, .go = go};
    const struct iperf_events events = {
        .context = &k,
        .connecting = nothing,
        .ready = on_ready,
        .started = on_started,
        .omit_done = nothing,
        .interval = on_interval,
        .account = on_account,
        .finished = on_finished,
        .gone = nothing,
    };
    const struct iperf_settings settings = {
        .params = {.protocol = ask->udp ? IPERF_UDP : IPERF_TCP,
                   .time_s = (uint32_t)ask->seconds,
                   .parallel = (uint32_t)ask->streams,
                   .rate_bps = ask->rate_bps,
                   .block_bytes = ask->udp        ? PROBE_BYTES
                                  : ask->rate_bps ? iperf_paced_block(ask->rate_bps)
                                                  : 0,
                   .counters_64bit = ask->udp,
                   .echo = !ask->udp,
                   .affinity = -1},
        .host = ask->host,
        .port = (uint16_t)ask->port,
        .interval_s = TICK_S,
        .connect_timeout_ms = CONNECT_TIMEOUT_MS,
        .affinity = -1,
        .native = true,
        .secret = ask->secret,
    };
    xk_hist_init(&k.rtt_us);
    const int code = iperf_client(&settings, &events, s->clock, s->random, err);
    end_probe(&k);
    return code;
}
