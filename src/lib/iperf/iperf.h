/*
 * Throughput tests that speak iperf3's protocol, as its client or its server.
 *
 * Control runs in the caller's thread, every stream in one of its own. Nothing is printed: what happens is told through
 * struct iperf_events, and the state of the test can be read during each of these calls.
 */
#ifndef LIB_IPERF_H
#define LIB_IPERF_H

#include "core/clock.h"
#include "lib/iperf/loss.h"
#include "lib/iperf/native.h"
#include "lib/iperf/params.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>

#define IPERF_HANDSHAKE_S    10   /* for a cookie, for parameters */
#define IPERF_STREAMS_S      30   /* for all streams to connect, for results */
#define IPERF_DRAIN_S        5    /* for bytes under way when the sender has ended */
#define IPERF_PENDING_MAX    2048 /* connections that have not said what they are */
#define IPERF_RCV_TIMEOUT_MS 120000
#define IPERF_FIRST_NUMBER   5 /* streams are shown as [  5], [  7] …, as if by their descriptors */

struct iperf_address {
    char host[INET6_ADDRSTRLEN];
    uint16_t port;
};

/* What one side was told by its user, beyond what goes to the other one. */
struct iperf_settings {
    struct iperf_params params; /* a client's */
    const char *host, *bind_host, *bind_device;
    uint16_t port, client_port;
    int family;        /* AF_UNSPEC, AF_INET, AF_INET6 */
    double interval_s; /* 0: none */
    uint32_t connect_timeout_ms, rcv_timeout_ms, snd_timeout_ms;
    bool keepalive;
    uint32_t keepalive_idle_s, keepalive_interval_s, keepalive_count;
    const char *file;    /* its bytes are sent, or what comes is written to it */
    int affinity;        /* -1: any */
    bool fast;           /* receive without copying where the kernel can */
    bool native;         /* client: greet the server as one of ours would be */
    const char *secret;  /* IPERF_SECRET_BYTES - 1 characters that a cookie has to carry: whoever does not know them is
                          * shown the door; NULL: none. A client with one is native. */
    const char *program; /* what a server of ours calls itself; NULL: it greets nobody */
    /* authentication */
    const char *user, *password, *public_key, *private_key, *users_file;
    uint32_t skew_s;
    bool pkcs1;
    /* server */
    bool one_off;
    unsigned multi;   /* tests at the same time */
    unsigned waiting; /* clients that wait for their turn instead of being refused */
    uint64_t rate_limit_bps;
    double rate_limit_s;
    uint32_t idle_timeout_s, max_duration_s;
    /* SCTP: own addresses, all of which an association uses; a client's outgoing streams, 0: as the kernel likes */
    const char *xbind[IPERF_XBIND_MAX];
    unsigned xbind_count;
    uint32_t sctp_streams;
};

/* What a stream has done so far. */
struct iperf_count {
    uint64_t at_ns;
    uint64_t bytes;
    int64_t packets, errors, out_of_order, duplicates, late, overflow, distance;
    double jitter_s;
    uint64_t retransmits, reorder, cwnd_bytes, wnd_bytes, rtt_us, rttvar_us, pmtu;
    /* The kernel's account of a sender's time: with data to send; held up by the receiver's window, by its own buffer.
     */
    uint64_t busy_us, rwnd_limited_us, sndbuf_limited_us, delivery_bps, pacing_bps, min_rtt_us, segments, mss, backoff;
    uint64_t waiting_bytes; /* that have come and were not taken yet; of a sender: not sent yet */
};

struct iperf_test;

struct iperf_flow {
    struct iperf_test *test;
    int fd, file_fd;
    int id, number;
    bool sending;
    struct iperf_address local, remote;
    pthread_t thread;
    bool started, joined;
    _Alignas(64) _Atomic uint64_t bytes;
    _Atomic int64_t packets;
    _Atomic int failed;       /* errno value */
    _Atomic bool ended;       /* the far side closed, or the file is at its end */
    _Atomic uint64_t last_ns; /* receiver: when the newest bytes came */
    pthread_mutex_t lock;     /* of the next three */
    uint32_t segments_max;    /* datagrams that the kernel gave as one */
    struct iperf_loss loss;
    double jitter_s, transit_s;
    struct iperf_count base, last; /* at the start after what is omitted, at the last interval */
    struct iperf_count omitted;    /* what was left out */
    uint64_t rtt_sum_us, rtt_count, rtt_min_us, rtt_max_us, cwnd_max, wnd_max;
    uint64_t slept, preempted; /* how often it gave its processor up, and how often it was taken from it */
    uint64_t cpu_ns;           /* of its thread, once that has ended */
    int64_t waited_ns;         /* that its thread was ready and got no processor; -1: the kernel does not tell */
    uint64_t waiting_sum, waiting_max, looks, backoff_max; /* at each interval's end */
    struct iperf_result peer;
    bool has_peer;
};

/* A stream in one interval: differences, but for jitter and the state of TCP. */
struct iperf_row {
    const struct iperf_flow *flow;
    struct iperf_count count;
};

struct iperf_interval {
    double start_s, end_s, seconds;
    bool omitted;
    struct iperf_row rows[2 * IPERF_STREAMS_MAX];
    unsigned count;
};

/* The end of a stream's story, from both sides as far as they told. */
struct iperf_total {
    const struct iperf_flow *flow;
    uint64_t sent_bytes, received_bytes;
    double sender_s, receiver_s, jitter_s;
    int64_t retransmits; /* -1: nobody knows */
    int64_t sender_packets, receiver_packets, errors, out_of_order;
    int64_t duplicates, late, overflow, distance; /* -1: the receiver does not tell, as iperf3 does not */
    uint64_t reorder, cwnd_max, wnd_max, rtt_max_us, rtt_min_us, rtt_mean_us;
};

/* sums.c: of all streams that go one way. Of a total, what the fields behind `errors` and `out_of_order` say is 0. */
struct iperf_count iperf_interval_sum(const struct iperf_interval *v, bool sending);
struct iperf_total iperf_total_sum(const struct iperf_total *totals, unsigned count, bool sending);

enum iperf_phase { IPERF_SETTING_UP, IPERF_OMITTING, IPERF_MEASURING, IPERF_ENDED };

struct iperf_test {
    const struct iperf_settings *settings;
    const struct iperf_events *events;
    const struct xk_clock *clock;
    struct iperf_params params;
    bool server;
    unsigned number; /* of a server's tests, from 1 */
    char cookie[IPERF_COOKIE_BYTES];
    struct iperf_address peer;
    uint32_t block_bytes, control_mss;
    int sndbuf_bytes, rcvbuf_bytes;
    bool has_retransmits, peer_has_retransmits;
    char congestion[32], peer_congestion[32];
    uint8_t *block; /* what TCP streams send */
    int block_fd;   /* the same as a file in memory, for zerocopy; -1: none */
    struct iperf_flow *flows;
    unsigned flow_count, flow_capacity;
    uint64_t progress_bytes, progress_ns; /* of senders; when they last made some */
    int wake_fd;                          /* readable when a stream ended, failed or reached the amount */
    _Atomic bool stop, drain;
    _Atomic bool far_sends; /* while draining: the far side has not said that it has ended, so nothing is quiet yet */
    uint64_t drain_ns;      /* when that began: the senders' end */
    _Atomic uint64_t sent_bytes, sent_blocks, got_bytes, got_blocks; /* of all streams, for ends by amount */
    _Atomic enum iperf_phase phase;
    uint64_t begin_ns, start_ns, interval_ns,
        end_ns; /* begin: with what is omitted; start: without; interval: of the last one */
    struct iperf_interval *interval;
    double cpu_percent[3], peer_cpu_percent[3];
    uint64_t cpu_begin_us[3]; /* wall, user, system */
    char *server_text, *server_json;
    bool got_results, peer_counts_omitted;
    int64_t utc_begin_ns;
    struct iperf_greeting greeting; /* client: version 0 when the server is none of ours */
    int control_fd;
    char *peer_account;
    void *view; /* of whoever listens to the events */
};

struct iperf_events {
    void *context;
    void (*connecting)(void *context, struct iperf_test *test); /* client: the server took the parameters */
    /* May be NULL, all four. Client: it is in line, greeting.place says where. */
    void (*waiting)(void *context, struct iperf_test *test);
    /* Client: the streams connect next. returns 0; a negative errno value with err filled, which ends the test. */
    int (*ready)(void *context, struct iperf_test *test, struct xk_err *err);
    /* One of ours asks: a JSON object about this side, from malloc; what came from there is test->peer_account. */
    char *(*account)(void *context, struct iperf_test *test);
    /* Server: this client has been put in line, or has left it (place 0). */
    void (*in_line)(void *context, const struct iperf_address *client, unsigned place);
    void (*accepted)(void *context, struct iperf_test *test); /* server: a client's parameters have come */
    void (*started)(void *context, struct iperf_test *test);  /* all streams stand */
    void (*omit_done)(void *context, struct iperf_test *test);
    void (*interval)(void *context, struct iperf_test *test, const struct iperf_interval *i);
    void (*finished)(void *context, struct iperf_test *test, const struct iperf_total *totals, unsigned count);
    /* Server: what it printed for this test so far, to be sent to the client; json says which it is. From malloc. */
    char *(*output)(void *context, struct iperf_test *test, bool *ret_json);
    void (*listening)(void *context, const struct iperf_settings *settings, uint16_t port, unsigned number);
    /* Server: a test ended badly; it goes on with the next one. */
    void (*failed)(void *context, struct iperf_test *test, const struct xk_err *err);
    void (*gone)(void *context, struct iperf_test *test); /* the test's memory goes now */
    /* What goes over the control connection, when somebody wants to see it; may be NULL. */
    void (*trace)(void *context, struct iperf_test *test, const char *what, const char *json, size_t bytes);
};

/* Whether the file has an RSA key in PEM, as authentication needs it. */
bool iperf_auth_is_key(const char *path, bool private);
/*
 * One test against a server.
 *
 * returns   0; what iperf_fail() gave; another negative errno value.
 */
int iperf_client(const struct iperf_settings *s, const struct iperf_events *events, const struct xk_clock *clock,
                 struct xk_random *random, struct xk_err *err);
/* Serve until a stop is asked for, or one test when `one_off` is set. Same results. */
int iperf_server(const struct iperf_settings *s, const struct iperf_events *events, const struct xk_clock *clock,
                 struct xk_random *random, struct xk_err *err);

#endif
