/* What the files of the iperf 2 engine share; the outside is iperf2.h. */
#ifndef LIB_IPERF2_INNER_H
#define LIB_IPERF2_INNER_H

#include "lib/iperf/iperf2.h"
#include "lib/iperf/loss.h"
#include "lib/resolve/resolve.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

#define IPERF2_CUTS 64 /* intervals that a flow may be ahead of the reports */

/* The state of a flow at the end of an interval. */
struct iperf2_cut {
    struct iperf2_counts count;
    double jitter_s;
    struct iperf2_spread transit, write_us;
    struct iperf2_tcp tcp;
};

/* All flows of one peer that run at the same time. */
struct iperf2_group {
    struct iperf2_group *next;
    struct iperf2_about about; /* of its first flow */
    struct iperf2_end key;
    unsigned active, most, reported; /* flows; at most at once; that have reported this interval */
    uint64_t start_ns, end_ns;
    double told_s; /* where the last interval ended */
    bool masked;   /* intervals were not summed, so neither is the end */
    struct iperf2_row since, total;
};

/* Both directions of a connection. */
struct iperf2_pair {
    unsigned active, reported, holders;
    struct iperf2_row since, total;
    double told_s; /* where the last interval ended */
    uint64_t start_ns, end_ns;
};

struct iperf2_test;

struct iperf2_flow {
    struct iperf2_test *test;
    struct iperf2_about about;
    struct iperf2_group *group;
    struct iperf2_pair *pair;
    int fd;
    bool shares_fd, server_side, wide, timed, endless;
    uint64_t limit_bytes, limit_ns; /* of a sender; of a receiver: when to give up, 0: never */
    uint64_t rate;
    bool rate_in_packets;
    double gap_s;
    uint32_t block_bytes;
    uint8_t header[IPERF2_HEADER_MAX + IPERF2_DATAGRAM_BYTES];
    size_t header_bytes;  /* sent first; of datagrams in each */
    uint64_t first_bytes; /* already read */
    bool skips_header;    /* the stream begins with a header of the far side */
    bool awaits_ack;      /* of the header that is sent */
    _Atomic bool has_ack; /* it has come, and has not been told */
    struct iperf2_ack ack;
    double ack_arrived_s;
    _Atomic bool saw_last; /* the last datagram came over the listener */
    bool back_later;       /* when it is over, the client is connected to */
    unsigned back_id;      /* of the flow that goes there */
    struct iperf2_header asked;
    pthread_t thread;
    bool started, told_end;
    uint64_t start_ns;        /* monotonic */
    int64_t utc_offset_ns;    /* from the monotonic clock to the time of day */
    _Atomic bool ended, gone; /* its last packet is counted; its thread has nothing more to do */
    _Atomic int failed;       /* errno value */
    const char *_Atomic failed_at;
    bool has_relay, no_ack; /* valid when it is gone */
    struct iperf2_report relay;
    pthread_mutex_t lock; /* of all below */
    struct iperf2_cut now, cuts[IPERF2_CUTS];
    uint64_t cut_count, cut_told; /* intervals that were cut, reported */
    struct iperf2_counts told;    /* at the last report */
    uint64_t told_retransmits;
    struct iperf2_spread transit_total, write_total;
    struct iperf_loss loss;
    double transit_last_s;
};

struct iperf2_listener {
    int fd;
    uint16_t port;
};

struct iperf2_pending; /* server */

struct iperf2_test {
    const struct iperf2_settings *settings;
    const struct iperf2_events *events;
    const struct xk_clock *clock;
    struct iperf2_flow *flows[IPERF2_FLOWS_MAX];
    unsigned flow_count, next_id;
    struct iperf2_group *groups;
    struct iperf2_listener listeners[IPERF2_PORTS_MAX];
    unsigned listener_count;
    struct iperf2_pending *pending;
    unsigned pending_count;
    int wake_fd;
    int accepts_left;         /* connections to serve; -1: any number */
    uint64_t accept_until_ns; /* 0: for ever */
    bool only_peer;           /* the listener of a client: its server alone may connect */
    struct iperf2_end peer;
    bool had_flows, stop_told, failed;
    _Atomic bool stop;
};

/* ---- iperf2-test.c: flows, their reports ---- */

int iperf2_test_init(struct iperf2_test *t, const struct iperf2_settings *s, const struct iperf2_events *events,
                     const struct xk_clock *clock, struct xk_err *err);
void iperf2_test_done(struct iperf2_test *t);
void iperf2_test_warn(struct iperf2_test *t, const char *format, ...) XK_PRINTF(2, 3);
/* What the C library says of an error behind what failed: "tcp connect failed: Connection refused". */
void iperf2_test_warn_errno(struct iperf2_test *t, const char *what, int error);
/* A flow on a socket that is connected; the caller gives it its id. returns NULL: no memory, or there are too many. */
struct iperf2_flow *iperf2_flow_new(struct iperf2_test *t, int fd, bool sending, bool starred);
/* Add it to the sums of its peer. */
void iperf2_flow_join_group(struct iperf2_flow *f);
/* Two flows over one socket. */
int iperf2_flow_pair(struct iperf2_flow *a, struct iperf2_flow *b);
/* Count from now on. returns 0; negative errno values: the flow is over. */
int iperf2_flow_start(struct iperf2_flow *f);
/* Tell the intervals that are due, and what has ended; free what is gone. returns when to be called again. */
uint64_t iperf2_test_tick(struct iperf2_test *t);
/* Wait until something happens or `until_ns`. */
void iperf2_test_wait(struct iperf2_test *t, struct pollfd *polls, unsigned count, uint64_t until_ns);

/* ---- iperf2-flow.c ---- */

void *iperf2_flow_run(void *flow);
bool iperf2_flow_may_run(const struct iperf2_flow *f);
uint64_t iperf2_now_ns(void);
/* Cut all intervals that ended before `now_ns`, so that what is counted next belongs to the one after them. */
void iperf2_flow_cut(struct iperf2_flow *f, uint64_t now_ns); /* with its lock */
/* Wait until `at_ns`; with `precise` to the microsecond. returns whether to go on. */
bool iperf2_flow_sleep_until(const struct iperf2_flow *f, uint64_t at_ns, bool precise);
void iperf2_flow_fail(struct iperf2_flow *f, const char *what, int error);
/* Its last packet is counted. */
void iperf2_flow_end(struct iperf2_flow *f);
/* Whether the sender has sent what it was to send. */
bool iperf2_flow_over(const struct iperf2_flow *f, uint64_t now_ns);
/* The time between two blocks; 0: none. */
double iperf2_flow_gap_s(const struct iperf2_flow *f);
void iperf2_flow_udp_send(struct iperf2_flow *f);
void iperf2_flow_udp_receive(struct iperf2_flow *f);
/* Count a datagram. returns whether it was the last one. */
bool iperf2_flow_datagram(struct iperf2_flow *f, const uint8_t *data, size_t bytes, int64_t arrived_utc_ns);

/* ---- iperf2-socket.c ---- */

/* A socket with the options of the settings; what the kernel refuses is warned of. returns it; negative errno value. */
int iperf2_socket_open(struct iperf2_test *t, int family, bool client);
int iperf2_socket_listen(struct iperf2_test *t, uint16_t port, struct xk_err *err);
/* The ends, device, times and TCP's state into the flow's description. */
void iperf2_socket_describe(int fd, struct iperf2_about *about);
void iperf2_socket_tcp(int fd, struct iperf2_tcp *ret);
int iperf2_socket_window(int fd, bool sending);
void iperf2_socket_widen(int fd);
void iperf2_socket_tos(struct iperf2_test *t, int fd, int tos);
bool iperf2_socket_same_host(const struct iperf2_end *a, const struct iperf2_end *b);
bool iperf2_socket_same_end(const struct iperf2_end *a, const struct iperf2_end *b);

/* ---- iperf2-accept.c: what connects to us ---- */

int iperf2_accept_listen(struct iperf2_test *t, uint16_t from, uint16_t to, struct xk_err *err);
/* Take what comes and tell what happens, until there is nothing more to wait for. */
int iperf2_accept_loop(struct iperf2_test *t, struct xk_err *err);
/* Connect to the client of a flow that it had asked this of. */
void iperf2_accept_dial(struct iperf2_test *t, const struct iperf2_flow *f);
void iperf2_accept_done(struct iperf2_test *t);
/*
 * Begin what the header asks for. The flows are not started yet.
 *
 * returns   the flow that receives, or the one that sends when there is none; NULL: refused, and the socket is closed.
 */
struct iperf2_flow *iperf2_accept_take(struct iperf2_test *t, int fd, const struct iperf2_header *h,
                                       uint64_t first_bytes, int64_t utc_ns);
/* iperf2-accept-udp.c: take what has come to a listener of datagrams; let one of a group hear all peers again. */
void iperf2_accept_anybody(const struct iperf2_test *t);
void iperf2_accept_datagrams(struct iperf2_test *t, const struct iperf2_listener *l);

#endif
