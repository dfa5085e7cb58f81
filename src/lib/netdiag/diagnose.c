/*
 * Verdicts. The kernel accounts for a TCP sender's time: had nothing to send, was held up by the receiver's window, by
 * its own send buffer; the rest is the network. Whichever took most of it held the test up, unless something explains
 * that in turn: a processor that is full, a reader that does not take what has come.
 *
 * A counter of the host alone never makes a main verdict: it counts what others do there, too.
 */
#include "lib/netdiag/netdiag.h"

#include "core/text.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define RATE_REACHED     0.97  /* of the rate asked for */
#define PACING_REACHED   0.90  /* headers are paced, too */
#define SHARE            0.30  /* of the time, to hold a test up */
#define CPU_FULL         85.0  /* percent of a processor, of one thread */
#define CPU_WAITED       20.0  /* percent of the time that a thread was ready and others ran */
#define CPU_CROWDED      97.0  /* where the kernel does not tell: percent of all that the program may use, */
#define CPU_PUT_OFF      20.0  /* and times a second that its threads had to leave a processor to others */
#define CPU_PART         3.0   /* percent of one that a thread then had */
#define BOUND_SHARE      0.50  /* of the time with data to send, held up by a buffer, */
#define BOUND_RATE       0.25  /* and of what that buffer allows: the kernel counts its own overhead into it */
#define BOUND_ALL        0.80  /* of it: there is no other limit */
#define UNREAD_SHARE     0.75  /* of the window: what has come mostly waits to be taken */
#define READER_BEHIND    0.25  /* of the receive buffer full, on average */
#define LOSS_SHARE       0.002 /* of segments sent again; of datagrams lost */
#define HEAVY_LOSS_SHARE 0.005 /* of segments sent again, when processors are busy, too, */
#define NETWORK_SHARE    0.70  /* and of the time in which nothing but the congestion window held data back */
#define QUEUE_FACTOR     1.5   /* round trips under load against the least: a queue has built up */
#define QUEUE_US         1000
#define DROPS_MIN        10
#define DROPS_SHARE      1e-4 /* of an interface's packets */
#define SQUEEZES_A_S     5.0
#define BACKOFF_MIN      2       /* time-outs in a row */
#define PACKETS_A_S      10000.0 /* so many cost a processor something */
#define HEADERS          40u
#define UDP_HEADERS      28u
#define VANISHED_BYTES   65536.0 /* and less of a stream, when its full segments vanish */
#define VANISHED_SHARE   0.99    /* of datagrams */

static const struct {
    const char *name, *advice;
} limits[] = {
    [NETDIAG_RATE] = {"rate", "ask for more with --rate, or leave it out"},
    [NETDIAG_PACING] = {"pacing", "the kernel paces this connection; raise or remove the limit"},
    [NETDIAG_APPLICATION] = {"application",
                             "the sending program had nothing to send; look at where its data come from"},
    [NETDIAG_RECEIVE_WINDOW] = {"receive-window",
                                "raise the receiver's buffer: --window, or net.ipv4.tcp_rmem and net.core.rmem_max"},
    [NETDIAG_SLOW_RECEIVER] = {"slow-receiver",
                               "the receiving program does not take what has come; look at where its data go"},
    [NETDIAG_SEND_BUFFER] = {"send-buffer",
                             "raise the sender's buffer: --window, or net.ipv4.tcp_wmem and net.core.wmem_max"},
    [NETDIAG_LOSS] = {"loss", "packets are lost on the way: look at errors and drops of each switch port and link"},
    [NETDIAG_CAPACITY] = {"path-capacity", "the path carries no more; its slowest link is full"},
    [NETDIAG_PROCESSOR] = {"processor", "give the host more or faster processors, or use more streams"},
    [NETDIAG_BLACK_HOLE] = {"mtu-black-hole",
                            "let ICMP \"fragmentation needed\" through, or make the MTU the same all the "
                            "way; net.ipv4.tcp_mtu_probing=1 works around it"},
    [NETDIAG_SOCKET] = {"receiving-socket",
                        "the receiving program was too slow for its buffer: raise net.core.rmem_max, or send slower"},
    [NETDIAG_INTERFACE] = {"interface-drops",
                           "look at this interface's rings (ethtool -g, -S); of a vif, whether the guest "
                           "or its processor is overloaded"},
    [NETDIAG_QDISC] = {"queue-discipline",
                       "this host's own queue throws away: see `tc -s qdisc`; a limit may be set there"},
    [NETDIAG_SOFTIRQ] = {"soft-interrupts",
                         "packets wait for soft interrupts: spread them (RPS, more queues), or raise "
                         "net.core.netdev_budget"},
    [NETDIAG_OFFLOADS] = {"offloads-off", "switch them on: ethtool -K DEVICE tso on gso on gro on"},
    [NETDIAG_UNKNOWN] = {"unknown", "run xenkit net serve on the far side"},
};

const char *netdiag_limit_name(enum netdiag_limit limit)
{
    return limits[limit].name;
}

const char *netdiag_limit_advice(enum netdiag_limit limit)
{
    return limits[limit].advice;
}

XK_PRINTF(5, 6)
static void add(struct netdiag_verdicts *v, enum netdiag_limit limit, bool is_main, bool receive, const char *format,
                ...)
{
    va_list args;

    if (v->count == NETDIAG_VERDICTS_MAX)
        return;
    struct netdiag_verdict *const x = &v->items[v->count++];
    *x = (struct netdiag_verdict){.limit = limit, .main = is_main, .receive = receive};
    va_start(args, format);
    vsnprintf(x->evidence, sizeof(x->evidence), format, args);
    va_end(args);
}

/* ---- one way of a test ---- */

/* All streams of one way that a side has, added up. */
struct sum {
    unsigned count;
    double us, cpu_max, waited_max, seconds;
    uint64_t bytes, busy, rwnd, sndbuf, segments, retransmits, mss, rtt_min, rtt_mean, cwnd_max, wnd_max, backoff,
        waiting_mean, preempted;
};

static struct sum sum_of(const struct netdiag_account *a, bool sending)
{
    struct sum s = {.waited_max = NAN};

    for (unsigned i = 0; i < a->stream_count; i++) {
        const struct netdiag_stream *const x = &a->streams[i];
        if (x->sending != sending)
            continue;
        s.count++;
        s.us += fmax(x->seconds, 0) * 1e6;
        s.seconds = fmax(s.seconds, x->seconds);
        s.cpu_max = fmax(s.cpu_max, x->cpu_percent);
        s.waited_max = fmax(s.waited_max, x->waited_percent);
        s.preempted += x->preempted;
        s.bytes += x->bytes;
        s.busy += x->busy_us;
        s.rwnd += x->rwnd_limited_us;
        s.sndbuf += x->sndbuf_limited_us;
        s.segments += x->segments;
        s.retransmits += x->retransmits;
        s.mss = XK_MAX(s.mss, x->mss);
        if (x->rtt_min_us)
            s.rtt_min = s.rtt_min ? XK_MIN(s.rtt_min, x->rtt_min_us) : x->rtt_min_us;
        s.rtt_mean = XK_MAX(s.rtt_mean, x->rtt_mean_us);
        s.cwnd_max = XK_MAX(s.cwnd_max, x->cwnd_max);
        s.wnd_max = XK_MAX(s.wnd_max, x->wnd_max);
        s.backoff = XK_MAX(s.backoff, x->backoff_max);
        s.waiting_mean = XK_MAX(s.waiting_mean, x->waiting_mean);
    }
    return s;
}

struct way {
    const struct netdiag_case *c;
    struct netdiag_verdicts *v;
    const struct netdiag_way *traffic;
    const struct netdiag_account *sender, *receiver;
    const char *sender_name, *receiver_name; /* "this host", "the far side" */
    struct sum sent, received;
    bool receive;
};

/* The threads of that way did not get the processors that they wanted. */
static bool is_crowded(const struct netdiag_account *a, const struct sum *s)
{
    if (s->cpu_max < CPU_PART)
        return false;
    if (!isnan(s->waited_max))
        return s->waited_max >= CPU_WAITED;
    return a->allowed_percent >= CPU_CROWDED && s->seconds > 0 && (double)s->preempted / s->seconds >= CPU_PUT_OFF;
}

/* A thread of that way that had a processor all the time. */
static bool judge_full(const struct way *w, const struct netdiag_account *a, const struct sum *s, const char *who,
                       const char *what)
{
    if (!a->known || s->cpu_max < CPU_FULL)
        return false;
    add(w->v, NETDIAG_PROCESSOR, true, w->receive, "%s: the %s thread had %.0f %% of a processor", who, what,
        s->cpu_max);
    return true;
}

static bool judge_crowded(const struct way *w, const struct netdiag_account *a, const struct sum *s, const char *who,
                          const char *what)
{
    if (!a->known || !is_crowded(a, s))
        return false;
    if (!isnan(s->waited_max))
        add(w->v, NETDIAG_PROCESSOR, true, w->receive,
            "%s: the %s thread had %.0f %% of a processor, and waited %.0f %% of the time while others had it; the %u "
            "that the program may use %s %.0f %% busy",
            who, what, s->cpu_max, s->waited_max, a->allowed, a->allowed == 1 ? "was" : "were", a->allowed_percent);
    else
        add(w->v, NETDIAG_PROCESSOR, true, w->receive,
            "%s: the %u processor%s that the program may use %s %.0f %% busy; the %s thread had %.0f %% of one, and "
            "had to leave it to others %llu times",
            who, a->allowed, a->allowed == 1 ? "" : "s", a->allowed == 1 ? "was" : "were", a->allowed_percent, what,
            s->cpu_max, (unsigned long long)s->preempted);
    return true;
}

/* Offloads that would have spared that side work, when its packets really were small and many. */
static void judge_offloads(const struct way *w, bool sending)
{
    static const enum nethost_offload of_sender[] = {NETHOST_TSO, NETHOST_GSO, NETHOST_TX_CHECKSUM, NETHOST_SCATTER};
    static const enum nethost_offload of_receiver[] = {NETHOST_GRO, NETHOST_RX_CHECKSUM};
    const struct netdiag_account *const a = sending ? w->sender : w->receiver;
    const struct sum *const s = sending ? &w->sent : &w->received;
    const uint64_t packets = sending ? a->link_tx_packets : a->link_rx_packets;
    const enum nethost_offload *const which = sending ? of_sender : of_receiver;
    char list[120] = "";

    if (!a->known || !packets || a->seconds <= 0 || (double)packets / a->seconds < PACKETS_A_S ||
        s->bytes / packets > a->link.mtu)
        return;
    for (size_t i = 0; i < (sending ? XK_COUNT(of_sender) : XK_COUNT(of_receiver)); i++) {
        if (a->link.offloads[which[i]] == 0) {
            const size_t at = strlen(list);
            snprintf(list + at, sizeof(list) - at, "%s%s", at ? ", " : "", nethost_offload_name(which[i]));
        }
    }
    if (list[0])
        add(w->v, NETDIAG_OFFLOADS, false, w->receive,
            "%s: off on %s: %s; %.0f packets a second, of %llu bytes each, went through the kernel one by one",
            sending ? w->sender_name : w->receiver_name, a->link.name, list, (double)packets / a->seconds,
            (unsigned long long)(s->bytes / packets));
}

/*
 * What the sender believes to pass against what passed. Of the way to us no more is known than passes the other way,
 * so what arrived counts, too: where full segments vanish, next to nothing does.
 */
static bool judge_black_hole(const struct way *w)
{
    const struct netdiag_mtu *const m = w->c->mtu;
    const uint32_t passes = m->known ? (w->receive ? m->down : m->up) : 0;
    const double arrived_bytes = w->traffic->received_bps * w->traffic->seconds / 8;

    if (m->known && passes && w->sent.mss && w->sent.mss + HEADERS > passes && passes < m->link &&
        arrived_bytes < VANISHED_BYTES * fmax(w->sent.count, 1)) {
        add(w->v, NETDIAG_BLACK_HOLE, true, w->receive,
            "packets of %u bytes pass, larger ones vanish, and TCP sends segments of %llu bytes and headers; %llu of "
            "%llu segments were sent again, and %.0f bytes arrived",
            passes, (unsigned long long)w->sent.mss, (unsigned long long)w->sent.retransmits,
            (unsigned long long)w->sent.segments, arrived_bytes);
        return true;
    }
    /* Without echoes: nothing gets through although the connection stands. */
    if (!m->known && w->sent.backoff >= BACKOFF_MIN && w->sent.retransmits >= BACKOFF_MIN &&
        w->traffic->received_bps < 1) {
        add(w->v, NETDIAG_BLACK_HOLE, true, w->receive,
            "the connection stands, but no segment of %llu bytes arrived: %llu time-outs in a row",
            (unsigned long long)w->sent.mss, (unsigned long long)w->sent.backoff);
        return true;
    }
    return false;
}

/* Of datagrams all or none vanish. */
static bool judge_udp_black_hole(const struct way *w, double lost)
{
    const struct netdiag_mtu *const m = w->c->mtu;
    const uint32_t passes = m->known ? (w->receive ? m->down : m->up) : 0;

    if (!passes || passes >= m->link || lost < VANISHED_SHARE || w->c->params->block_bytes + UDP_HEADERS <= passes)
        return false;
    add(w->v, NETDIAG_BLACK_HOLE, true, w->receive,
        "packets of %u bytes pass, and of %lld datagrams of %u bytes and headers %lld vanished", passes,
        (long long)w->traffic->packets, w->c->params->block_bytes, (long long)w->traffic->lost);
    return true;
}

static bool judge_rate(const struct way *w)
{
    const struct iperf_params *const p = w->c->params;
    const unsigned streams = p->parallel ? p->parallel : 1;
    const double asked = (double)p->rate_bps * streams, paced = (double)p->fq_rate_bps * streams;
    const double got = p->protocol == IPERF_UDP ? w->traffic->sent_bps : w->traffic->received_bps;

    if (p->rate_bps && got >= asked * RATE_REACHED) {
        add(w->v, NETDIAG_RATE, true, w->receive, "%s of the %s asked for", xk_rate((uint64_t)got).s,
            xk_rate((uint64_t)asked).s);
        return true;
    }
    if (p->fq_rate_bps && got >= paced * PACING_REACHED) {
        add(w->v, NETDIAG_PACING, true, w->receive, "%s of the %s that the socket was limited to",
            xk_rate((uint64_t)got).s, xk_rate((uint64_t)paced).s);
        return true;
    }
    return false;
}

static bool has_queue(const struct sum *s)
{
    return (double)s->rtt_mean > (double)s->rtt_min * QUEUE_FACTOR && s->rtt_mean > s->rtt_min + QUEUE_US;
}

/* bits a second that a buffer of each stream lets through in a round trip; 0: unknown */
static double allowed_by(const struct sum *s, uint64_t buffer)
{
    return s->rtt_mean ? (double)buffer * 8e6 / (double)s->rtt_mean * s->count : 0;
}

/*
 * A buffer that holds the rate down to what it allows in a round trip: the kernel says so most of the time, or what was
 * reached is all that it allows, without a queue that would make round trips longer than the path does. One that is
 * full because its reader is slow would allow far more: a segment is acknowledged before it is read.
 */
static bool is_bound(const struct way *w, uint64_t held_us, uint64_t buffer)
{
    const struct sum *const s = &w->sent;
    const double allowed_bps = allowed_by(s, buffer);
    const double rate_bps = w->traffic->received_bps;

    if (allowed_bps <= 0 || !s->busy)
        return false;
    return ((double)held_us >= (double)s->busy * BOUND_SHARE && rate_bps >= allowed_bps * BOUND_RATE) ||
           (held_us > 0 && rate_bps >= allowed_bps * BOUND_ALL && !has_queue(s));
}

static void tell_window(const struct way *w, double share)
{
    const struct sum *const s = &w->sent;

    if (!w->receiver->known) {
        add(w->v, NETDIAG_RECEIVE_WINDOW, true, w->receive,
            "for %.0f %% of the time %s's window was full (%s at most, round trip %.3g ms); whether its buffer is "
            "small or "
            "its reader slow it does not tell",
            share * 100, w->receiver_name, xk_size(s->wnd_max).s, (double)s->rtt_mean / 1000);
        return;
    }
    add(w->v, NETDIAG_RECEIVE_WINDOW, true, w->receive,
        "for %.0f %% of the time the receive window was full: %s at most (buffer %s), with a round trip of %.3g ms no "
        "more "
        "than %s a stream",
        share * 100, xk_size(s->wnd_max).s, xk_size(w->receiver->rcvbuf_bytes).s, (double)s->rtt_mean / 1000,
        s->rtt_mean ? xk_rate((uint64_t)((double)s->wnd_max * 8e6 / (double)s->rtt_mean)).s : "any");
}

static void tell_buffer(const struct way *w, double share)
{
    add(w->v, NETDIAG_SEND_BUFFER, true, w->receive,
        "for %.0f %% of the time the send buffer was too small: %s, with a round trip of %.3g ms", share * 100,
        xk_size(w->sender->sndbuf_bytes).s, (double)w->sent.rtt_mean / 1000);
}

static bool judge_window(const struct way *w)
{
    const struct sum *const s = &w->sent;
    const double share = s->us > 0 ? (double)s->rwnd / s->us : 0;

    if (share < SHARE || s->rwnd < s->sndbuf)
        return false;
    const double room = (double)XK_MAX(w->receiver->rcvbuf_bytes, UINT64_C(1));
    if (w->receiver->known &&
        (double)w->received.waiting_mean >= room * READER_BEHIND / XK_MAX(w->received.count, 1u)) {
        add(w->v, NETDIAG_SLOW_RECEIVER, true, w->receive,
            "for %.0f %% of the time the receive window was full, and %s on average had come to %s without being taken "
            "(buffer %s)",
            share * 100, xk_size(w->received.waiting_mean).s, w->receiver_name, xk_size(w->receiver->rcvbuf_bytes).s);
        return true;
    }
    tell_window(w, share);
    return true;
}

/* Small buffers are the cause also where processors are busy: whoever waits for each round trip is not slowed by them.
 */
static bool judge_bound(const struct way *w)
{
    const struct sum *const s = &w->sent;

    if (s->rwnd >= s->sndbuf && is_bound(w, s->rwnd, s->wnd_max) &&
        (double)w->received.waiting_mean < (double)s->wnd_max * UNREAD_SHARE) {
        tell_window(w, (double)s->rwnd / (double)s->busy);
        return true;
    }
    if (s->sndbuf > s->rwnd && is_bound(w, s->sndbuf, w->sender->sndbuf_bytes)) {
        tell_buffer(w, (double)s->sndbuf / (double)s->busy);
        return true;
    }
    return false;
}

/* That share of the segments was lost, and not by our own host's queue. */
static bool is_lossy(const struct way *w, double share)
{
    const struct sum *const s = &w->sent;

    return s->segments && (double)s->retransmits >= (double)s->segments * share &&
           (double)w->sender->qdisc_drops < (double)s->retransmits / 2;
}

static void tell_loss(const struct way *w, bool is_main)
{
    const struct sum *const s = &w->sent;

    add(w->v, NETDIAG_LOSS, is_main, w->receive,
        "%llu of %llu segments (%.3g %%) were sent again, with a round trip of %.3g ms on average (least %.3g ms)%s",
        (unsigned long long)s->retransmits, (unsigned long long)s->segments,
        100.0 * (double)s->retransmits / (double)s->segments, (double)s->rtt_mean / 1000, (double)s->rtt_min / 1000,
        has_queue(s) ? "" : ": no queue, so a lossy or policed path");
}

/* Where the sender mostly had data that the congestion window did not let go, losses are what made that small. */
static bool judge_heavy_loss(const struct way *w)
{
    const struct sum *const s = &w->sent;
    const uint64_t held = s->busy - XK_MIN(s->busy, s->rwnd + s->sndbuf);

    if (s->us <= 0 || (double)held < s->us * NETWORK_SHARE || has_queue(s) || !is_lossy(w, HEAVY_LOSS_SHARE))
        return false;
    tell_loss(w, true);
    return true;
}

/*
 * A congestion window that neither losses nor a queue keep small grows until something else does: a buffer that was
 * full for any time, when what was reached is about what it allows. Two small ones may share the time, and a congestion
 * window that stays where they let it come takes most of it.
 */
static bool judge_small(const struct way *w)
{
    const struct sum *const s = &w->sent;
    const bool window = s->rwnd >= s->sndbuf;
    const double allowed_bps = allowed_by(s, window ? s->wnd_max : w->sender->sndbuf_bytes);

    if (!s->busy || s->rwnd + s->sndbuf == 0 || has_queue(s) || allowed_bps <= 0 ||
        w->traffic->received_bps < allowed_bps * BOUND_RATE)
        return false;
    if (window)
        tell_window(w, (double)s->rwnd / (double)s->busy);
    else
        tell_buffer(w, (double)s->sndbuf / (double)s->busy);
    return true;
}

static void judge_network(const struct way *w)
{
    const struct sum *const s = &w->sent;

    if (!has_queue(s) && is_lossy(w, LOSS_SHARE))
        tell_loss(w, true);
    else if (!judge_small(w))
        add(w->v, NETDIAG_CAPACITY, true, w->receive,
            "neither end held it up: %s arrived, the round trip grew from %.3g to %.3g ms, %llu of %llu segments were "
            "sent again",
            xk_rate((uint64_t)fmax(w->traffic->received_bps, 0)).s, (double)s->rtt_min / 1000,
            (double)s->rtt_mean / 1000, (unsigned long long)s->retransmits, (unsigned long long)s->segments);
}

static bool judge_processor(const struct way *w, bool crowded)
{
    bool (*const judge)(const struct way *, const struct netdiag_account *, const struct sum *, const char *,
                        const char *) = crowded ? judge_crowded : judge_full;

    return judge(w, w->sender, &w->sent, w->sender_name, "sending") ||
           judge(w, w->receiver, &w->received, w->receiver_name, "receiving");
}

/* The first of these that holds is what held a test of TCP up. */
static void judge_sender(const struct way *w)
{
    const struct sum *const s = &w->sent;
    const double idle = s->us > 0 ? 1 - XK_MIN((double)s->busy / s->us, 1.0) : 0;
    const double buffer = s->us > 0 ? (double)s->sndbuf / s->us : 0;

    if (judge_black_hole(w) || judge_rate(w) || judge_processor(w, false) || judge_bound(w) || judge_heavy_loss(w) ||
        judge_processor(w, true))
        return;
    if (idle >= SHARE) {
        add(w->v, NETDIAG_APPLICATION, true, w->receive, "for %.0f %% of the time %s had nothing to send", idle * 100,
            w->sender_name);
        return;
    }
    if (judge_window(w))
        return;
    if (buffer >= SHARE)
        tell_buffer(w, buffer);
    else
        judge_network(w);
}

static void judge_tcp(const struct way *w)
{
    if (!w->sender->known) {
        if (!judge_rate(w) && !judge_full(w, w->receiver, &w->received, w->receiver_name, "receiving") &&
            !judge_crowded(w, w->receiver, &w->received, w->receiver_name, "receiving"))
            add(w->v, NETDIAG_UNKNOWN, true, w->receive, "the sender is no xenkit: it does not tell what held it up");
        return;
    }
    const unsigned at = w->v->count;
    judge_sender(w);
    const enum netdiag_limit limit = at < w->v->count ? w->v->items[at].limit : NETDIAG_UNKNOWN;
    if (limit == NETDIAG_PROCESSOR && is_lossy(w, HEAVY_LOSS_SHARE))
        tell_loss(w, false);
    if (limit == NETDIAG_PROCESSOR || limit == NETDIAG_CAPACITY || limit == NETDIAG_LOSS) {
        judge_offloads(w, true);
        judge_offloads(w, false);
    }
}

static void judge_udp(const struct way *w)
{
    const struct netdiag_way *const t = w->traffic;
    const double lost = t->packets > 0 ? (double)t->lost / (double)t->packets : 0;
    const int64_t overflow = XK_MAX(t->overflow, INT64_C(0));

    if (judge_udp_black_hole(w, lost))
        return;
    if (lost >= LOSS_SHARE && (double)overflow >= (double)t->lost / 2) {
        add(w->v, NETDIAG_SOCKET, true, w->receive,
            "%lld of %lld lost datagrams had arrived: %s's own socket dropped them", (long long)overflow,
            (long long)t->lost, w->receiver_name);
        return;
    }
    if (lost >= LOSS_SHARE) {
        if (t->overflow < 0)
            add(w->v, NETDIAG_LOSS, true, w->receive,
                "%lld of %lld datagrams (%.3g %%) were lost, on the way or in the receiver's socket: it does not tell",
                (long long)t->lost, (long long)t->packets, lost * 100);
        else
            add(w->v, NETDIAG_LOSS, true, w->receive,
                "%lld of %lld datagrams (%.3g %%) were lost on the way, and %lld in the receiver's socket",
                (long long)(t->lost - overflow), (long long)t->packets, lost * 100, (long long)overflow);
        return;
    }
    if (judge_rate(w))
        return;
    if (judge_full(w, w->sender, &w->sent, w->sender_name, "sending") ||
        judge_crowded(w, w->sender, &w->sent, w->sender_name, "sending"))
        return;
    if (!w->sender->known)
        add(w->v, NETDIAG_UNKNOWN, true, w->receive, "the sender is no xenkit: it does not tell what held it up");
    else
        add(w->v, NETDIAG_CAPACITY, true, w->receive, "%s left the sender, and its interface took no more",
            xk_rate((uint64_t)fmax(t->sent_bps, 0)).s);
}

/* ---- what a host's counters say ---- */

static bool is_many(uint64_t drops, uint64_t packets)
{
    return drops >= DROPS_MIN && (double)drops >= (double)(packets + drops) * DROPS_SHARE;
}

static void judge_host(struct netdiag_verdicts *v, const struct netdiag_account *a, const char *who, bool receive)
{
    for (unsigned i = 0; i < a->loss_count; i++) {
        const struct nethost_interface *const x = &a->losses[i];
        const uint64_t in = x->rx_dropped + x->rx_errors, out = x->tx_dropped + x->tx_errors;
        if (is_many(in, x->rx_packets))
            add(v, NETDIAG_INTERFACE, false, receive, "%s: %s dropped %llu incoming packets beside %llu that it took",
                who, x->name, (unsigned long long)in, (unsigned long long)x->rx_packets);
        if (is_many(out, x->tx_packets))
            add(v, NETDIAG_INTERFACE, false, receive, "%s: %s dropped %llu outgoing packets beside %llu that it sent",
                who, x->name, (unsigned long long)out, (unsigned long long)x->tx_packets);
    }
    if (is_many(a->qdisc_drops, a->qdisc_packets))
        add(v, NETDIAG_QDISC, false, receive, "%s: the queue discipline %s of %s dropped %llu packets beside %llu", who,
            a->link.qdisc, a->link.name, (unsigned long long)a->qdisc_drops, (unsigned long long)a->qdisc_packets);
    if (a->seconds > 0 &&
        ((double)a->softnet_squeezed / a->seconds >= SQUEEZES_A_S || is_many(a->softnet_dropped, a->softnet_processed)))
        add(v, NETDIAG_SOFTIRQ, false, receive,
            "%s: %llu rounds of soft interrupts ended with packets left (%.1f a second), %llu packets of %llu were "
            "dropped "
            "from a processor's backlog",
            who, (unsigned long long)a->softnet_squeezed, (double)a->softnet_squeezed / a->seconds,
            (unsigned long long)a->softnet_dropped, (unsigned long long)a->softnet_processed);
}

void netdiag_judge(struct netdiag_verdicts *ret, const struct netdiag_case *c)
{
    ret->count = 0;
    for (int i = 0; i < 2; i++) {
        if (!c->ways[i].used)
            continue;
        struct way w = {
            .c = c,
            .v = ret,
            .traffic = &c->ways[i],
            .receive = i == 1,
            .sender = i ? c->peer : c->own,
            .receiver = i ? c->own : c->peer,
            .sender_name = i ? "the far side" : "this host",
            .receiver_name = i ? "this host" : "the far side",
        };
        w.sent = sum_of(w.sender, true);
        w.received = sum_of(w.receiver, false);
        (c->params->protocol == IPERF_UDP ? judge_udp : judge_tcp)(&w);
    }
    const bool receive = !c->ways[0].used;
    judge_host(ret, c->own, "this host", receive);
    if (c->peer->known)
        judge_host(ret, c->peer, "the far side", receive);
}

void netdiag_case_ways(struct netdiag_case *ret, const struct iperf_test *t, const struct iperf_total *totals,
                       unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        const struct iperf_total *const x = &totals[i];
        struct netdiag_way *const w = &ret->ways[x->flow->sending ? 0 : 1];
        const bool first = !w->used;
        w->used = true;
        w->seconds = fmax(w->seconds, fmax(x->sender_s, x->receiver_s));
        w->sent_bps += x->sender_s > 0 ? (double)x->sent_bytes * 8 / x->sender_s : 0;
        w->received_bps += x->receiver_s > 0 ? (double)x->received_bytes * 8 / x->receiver_s : 0;
        w->packets += XK_MAX(x->sender_packets, x->receiver_packets);
        /* What the sender sent and nobody saw is lost, too, when it was the end of the test. */
        const int64_t tail = XK_MAX(x->sender_packets - x->receiver_packets, INT64_C(0));
        w->lost += x->errors + (t->peer_account ? tail : 0);
        w->overflow = first ? x->overflow : w->overflow < 0 || x->overflow < 0 ? -1 : w->overflow + x->overflow;
    }
}
