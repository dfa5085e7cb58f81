/*
 * Why a test was no faster, and what it did to the delay.
 *
 * Three parts, used in this order around a test of lib/iperf:
 *
 *   account   what one side knows of itself: its streams as the kernel accounts for their time, its processors, its
 *             interface. Two of ours exchange theirs with the results.
 *   probe     echoes beside the streams: round trips and one-way delays, idle and loaded; the largest packet that
 * passes. diagnosis pure arithmetic over both: verdicts, each with the numbers that say so.
 */
#ifndef NETDIAG_H
#define NETDIAG_H

#include "lib/iperf/iperf.h"
#include "lib/nethost/nethost.h"

/* ---- account ---- */

#define NETDIAG_LOSSES_MAX  16
#define NETDIAG_STREAMS_MAX (2 * IPERF_STREAMS_MAX)
#define NETDIAG_TEXT_MAX    (1u << 20) /* of an account as JSON */

struct netdiag_stream {
    int id;
    bool sending;
    double seconds, cpu_percent; /* of its thread */
    double waited_percent;       /* of the time it was ready and got no processor; NAN: unknown */
    uint64_t slept, preempted;   /* how often it gave its processor up, and how often it was taken from it */
    uint64_t bytes;
    /* of a sender, from TCP: time with data to send, and what of it the window and the buffer cost */
    uint64_t busy_us, rwnd_limited_us, sndbuf_limited_us;
    uint64_t segments, retransmits, mss, rtt_min_us, rtt_mean_us, rtt_max_us, cwnd_max, wnd_max, delivery_bps;
    uint64_t pacing_bps, backoff_max;
    /* at each look, bytes that had come and were not taken, or were not sent yet */
    uint64_t waiting_mean, waiting_max;
};

struct netdiag_account {
    bool known;
    char program[64], kernel[64];
    struct nethost_link link;
    double seconds;
    unsigned processors, allowed; /* online; that the program may use */
    /* NAN: unknown. busiest: one of all; allowed: all together that the program may use */
    double busiest_percent, allowed_percent, softirq_percent, steal_percent;
    uint64_t softnet_processed, softnet_dropped, softnet_squeezed;
    uint64_t qdisc_packets, qdisc_drops; /* of the link's */
    uint64_t link_rx_packets, link_tx_packets;
    uint64_t sndbuf_bytes, rcvbuf_bytes;
    struct nethost_interface losses[NETDIAG_LOSSES_MAX]; /* interfaces that lost something */
    unsigned loss_count;
    struct netdiag_stream streams[NETDIAG_STREAMS_MAX];
    unsigned stream_count;
};

/* A test from its start to its end. */
struct netdiag_watch;
/* local: our end of the control connection. returns NULL without memory. */
struct netdiag_watch *netdiag_watch_begin(const char *root, const struct iperf_test *t, int control_fd);
void netdiag_watch_end(struct netdiag_watch *w);
/* When the streams have ended. */
void netdiag_account_make(struct netdiag_account *ret, struct netdiag_watch *w, const struct iperf_test *t);
/* As JSON, from malloc; NULL without memory. */
char *netdiag_account_text(const struct netdiag_account *a);
/* What the far side says; each number is bounded. returns 0; -EBADMSG; -ENOMEM. */
int netdiag_account_read(struct netdiag_account *ret, const char *json, struct xk_err *err);

/* ---- probe ---- */

#define NETDIAG_SAMPLES_MAX 200000u
#define NETDIAG_INTERVAL_NS (5 * XK_NS_PER_MS)

enum netdiag_phase { NETDIAG_IDLE, NETDIAG_LOADED, NETDIAG_PHASES };

struct netdiag_sample {
    uint64_t asked_ns;      /* our clock; 0: nothing */
    uint64_t rtt_ns;        /* without the time that the far side took; 0: no answer */
    int64_t up_ns, down_ns; /* differences of two clocks: one-way delay plus, minus their offset */
    enum netdiag_phase phase;
};

struct netdiag_probe;
/*
 * Begin to ask the server of a test that waits for its streams.
 *
 * returns   0; -ENOTSUP: it answers none; errno values.
 */
int netdiag_probe_begin(struct netdiag_probe **ret, const struct iperf_test *t, struct xk_err *err);
/* Ask all the time from now on, in a thread. */
int netdiag_probe_run(struct netdiag_probe *p, struct xk_err *err);
void netdiag_probe_phase(struct netdiag_probe *p, enum netdiag_phase phase);
/* Stop asking; the samples are then there until the end. */
void netdiag_probe_stop(struct netdiag_probe *p);
const struct netdiag_sample *netdiag_probe_samples(const struct netdiag_probe *p, size_t *ret_count);
/* Accepts NULL. */
void netdiag_probe_end(struct netdiag_probe *p);

/* The largest packets, with the IP header, that pass without being cut up. */
struct netdiag_mtu {
    bool known;
    uint32_t link;     /* our interface's, or the largest that can be asked for */
    uint32_t up, down; /* to the server, from it; 0: not even the smallest that was tried */
};
/* While the probe does not run. returns 0; -EINTR; errno values. */
int netdiag_probe_mtu(struct netdiag_mtu *ret, struct netdiag_probe *p, uint32_t link_mtu, struct xk_err *err);

/* ---- delay ---- */

struct netdiag_delays {
    size_t sent, answered;
    double min_ms, p50_ms, p90_ms, p99_ms, p999_ms, max_ms, mean_ms;
};

struct netdiag_latency {
    bool known;
    struct netdiag_delays rtt[NETDIAG_PHASES], up[NETDIAG_PHASES], down[NETDIAG_PHASES];
    double rpm[NETDIAG_PHASES]; /* round trips a minute: 60,000 / the mean in ms of the best 95 % */
    /* The far clock minus ours at the middle of the test, what it gains, and how wrong the offset may be. */
    double offset_ms, drift_ppm, error_ms;
};

/* returns 0; -ENODATA: too few answers; -ENOMEM. */
int netdiag_latency_make(struct netdiag_latency *ret, const struct netdiag_sample *samples, size_t count);
/* What a load adds to the delay, as a grade from "A+" to "F". */
const char *netdiag_bloat_grade(double added_ms);

/* ---- diagnosis ---- */

#define NETDIAG_VERDICTS_MAX 32

enum netdiag_limit {
    NETDIAG_RATE,
    NETDIAG_PACING,
    NETDIAG_APPLICATION,
    NETDIAG_RECEIVE_WINDOW,
    NETDIAG_SLOW_RECEIVER,
    NETDIAG_SEND_BUFFER,
    NETDIAG_LOSS,
    NETDIAG_CAPACITY,
    NETDIAG_PROCESSOR,
    NETDIAG_BLACK_HOLE,
    NETDIAG_SOCKET,
    NETDIAG_INTERFACE,
    NETDIAG_QDISC,
    NETDIAG_SOFTIRQ,
    NETDIAG_OFFLOADS,
    NETDIAG_UNKNOWN,
};
const char *netdiag_limit_name(enum netdiag_limit limit);   /* "receive-window" */
const char *netdiag_limit_advice(enum netdiag_limit limit); /* what to do next */

struct netdiag_verdict {
    enum netdiag_limit limit;
    bool main;    /* what held the test up; others contributed, or are worth knowing */
    bool receive; /* the way to us; else from us */
    char evidence[400];
};

struct netdiag_case {
    const struct iperf_params *params;
    const struct netdiag_account *own, *peer; /* the peer's may be unknown */
    const struct netdiag_mtu *mtu;
    /* of each way, [0] from us, [1] to us; as far as the peer told */
    struct netdiag_way {
        bool used;
        double seconds, received_bps, sent_bps;
        int64_t packets, lost, overflow; /* of UDP; overflow -1: not told */
    } ways[2];
};

struct netdiag_verdicts {
    struct netdiag_verdict items[NETDIAG_VERDICTS_MAX];
    unsigned count;
};

void netdiag_judge(struct netdiag_verdicts *ret, const struct netdiag_case *c);
/* The ways of a test that has ended. */
void netdiag_case_ways(struct netdiag_case *ret, const struct iperf_test *t, const struct iperf_total *totals,
                       unsigned count);

#endif
