/* What the files of `xenkit net run` share: a test of one direction, or of both, and what came of it. */
#ifndef ROOM_NET_RUN_H
#define ROOM_NET_RUN_H

#include "core/room.h"
#include "lib/netdiag/netdiag.h"

#define RUN_LEGS_MAX   2      /* to the server, from it */
#define RUN_POINTS_MAX 20000u /* of a series; longer tests are looked at less often */
#define RUN_TICK_S     0.1
#define RUN_WAYS       2 /* [0] from us, [1] to us */

struct run_opts {
    uint64_t port, streams, seconds_ns, omit_ns, interval_ns, rate_bps, pace_bps, window_bytes, block_bytes, mss;
    bool udp, send, reverse, both, latency, nodelay, fast, four, six, dont_fragment;
    const char *congestion, *bind, *file, *save, *html, *title;
};

/* Of one tick. */
struct run_point {
    double at_s, seconds;
    double bps[RUN_WAYS];
    double rtt_ms; /* NAN: not known */
    int64_t retransmits, packets, lost;
};

struct run_stream {
    int number;
    bool sending;
    struct iperf_total total; /* without its flow, which is gone */
};

struct run_leg {
    const char *name; /* "send", "receive", "both" */
    struct iperf_settings settings;
    bool finished;
    struct iperf_greeting greeting;
    struct iperf_address peer;
    struct run_stream streams[2 * IPERF_STREAMS_MAX];
    unsigned stream_count;
    struct run_point *points;
    unsigned point_count;
    double cpu_percent, peer_cpu_percent;
    double handshake_rtt_ms; /* of the control connection; NAN: not known */
    uint32_t block_bytes;
    char congestion[32];
    struct netdiag_account own, peer_account;
    struct netdiag_mtu mtu;
    struct netdiag_latency latency;
    char no_echo[200]; /* why there is no latency */
    struct netdiag_case judged;
    struct netdiag_verdicts verdicts;
};

struct run {
    struct xk_app *app;
    const struct run_opts *opts;
    const char *host;
    struct run_leg *legs;
    unsigned leg_count;
    struct run_leg *leg; /* the one that runs */
    struct netdiag_watch *watch;
    struct netdiag_probe *probe;
    struct xk_buf live;  /* the picture on the terminal */
    unsigned live_lines; /* of it that stand there */
    unsigned place;      /* in line, as last told */
    bool connected;      /* the server took the parameters of this test */
    double shown_until_s;
    struct run_point pending; /* of an interval that is not over */
    int64_t started_utc_ns;
};

/* All streams of a way, added up. */
struct run_sum {
    unsigned count;
    double seconds, sent_bps, received_bps, jitter_ms;
    uint64_t sent_bytes, received_bytes;
    int64_t retransmits; /* -1: not told */
    int64_t packets, lost, duplicates, reordered, distance, late, overflow;
};
void run_sum(struct run_sum *ret, const struct run_leg *leg, bool sending);

/* ---- run-live.c ---- */

bool run_live_shown(const struct run *r);
void run_live_draw(struct run *r, const struct iperf_test *t, const struct iperf_interval *i);
void run_live_wipe(struct run *r);
/* A series as blocks of eight heights, at most `cells` of them. */
void run_spark(struct xk_buf *b, const struct run_leg *leg, int way, unsigned cells);

/* ---- run-show.c ---- */

void run_show_interval(struct run *r, const struct run_point *p);
void run_show(const struct run *r);
/* What a way lost or gained in delay under load, for the verdict of bufferbloat; NAN: not measured. */
double run_added_ms(const struct run_leg *leg, int way);

/* ---- run-page.c ---- */

int run_save(const struct run *r, struct xk_err *err);
int run_page(const struct run *r, struct xk_err *err);

#endif
