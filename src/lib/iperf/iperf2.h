/*
 * Throughput tests that speak iperf 2's protocol, as its client or its server.
 *
 * One thread keeps the connections, the clock of the reports and the events; every direction of a stream has a thread
 * of its own. Nothing is printed: what happens is told through struct iperf2_events, always from the caller's thread.
 */
#ifndef LIB_IPERF2_H
#define LIB_IPERF2_H

#include "core/clock.h"
#include "lib/iperf/iperf2-wire.h"

#include <netinet/in.h>
#include <sys/socket.h>

#define IPERF2_PORT        5001
#define IPERF2_TCP_BLOCK   (128u << 10)
#define IPERF2_UDP_BLOCK   1470u
#define IPERF2_UDP6_BLOCK  1450u
#define IPERF2_UDP_RATE    1048576u /* bits a second, when nothing else is asked for */
#define IPERF2_BLOCK_MAX   (64u << 20)
#define IPERF2_ASKED_MAX   (256u << 10) /* bytes of a block that a client may ask a server to send */
#define IPERF2_UDP_MAX     65507u
#define IPERF2_STREAMS_MAX 512u  /* of one client */
#define IPERF2_FLOWS_MAX   1024u /* directions of streams at once, of a server */
#define IPERF2_PENDING_MAX 2048u /* connections that have not said what they are */
#define IPERF2_PORTS_MAX   256u  /* of a range */
#define IPERF2_HEADER_S    4     /* for a header to come */
#define IPERF2_DIAL_S      5     /* for a connection back to a client */
#define IPERF2_SILENCE_S   10    /* a sender of datagrams is gone */
#define IPERF2_IDLE_S      3660  /* a TCP stream is, when its client has said nothing for so long */
#define IPERF2_SLOP_S      2     /* a receiver waits longer than its sender was to send */
#define IPERF2_BINS        8
#define IPERF2_INTERVAL_NS 100000u /* the shortest */

enum iperf2_mode { IPERF2_NORMAL, IPERF2_REVERSE, IPERF2_FULL_DUPLEX, IPERF2_DUAL, IPERF2_TRADEOFF };

struct iperf2_settings {
    bool server, udp, ipv6, compatible, enhanced;
    enum iperf2_mode mode;
    const char *host, *device; /* the server; the device to bind to */
    const char *bind_host;
    uint16_t bind_port, port, port_last, listen_port;
    bool next_port, next_own_port, next_host, next_own_host; /* of each further stream */
    unsigned parallel; /* client: streams; server: connections to serve, 0: any number */
    bool timed;        /* client: ends by time, else by bytes; neither with `endless` */
    bool endless, has_time;
    uint64_t hundredths, bytes; /* hundredths of a second */
    uint64_t interval_ns;       /* 0: none */
    uint64_t rate;              /* bits, or packets, a second; 0: as fast as it goes */
    bool rate_in_packets, has_rate;
    double gap_s; /* between two datagrams, instead of a rate; 0: as the rate says */
    uint32_t block_bytes;
    bool has_block;
    uint32_t window_bytes, mss, clamp_bytes, prefetch_bytes;
    int tos, ttl;      /* ttl -1: as the system has it */
    bool override_tos; /* server: `tos_back` instead of what the client asks for */
    int tos_back;
    const char *congestion;
    uint64_t pacing_bytes; /* a second; 0: none */
    bool nodelay, quick_ack, dont_route, real_time, write_times;
    bool multicast; /* client: to a group; server: of one, `bind_host`, and then of one client at a time */
    bool no_fin, trip_times, peer_detect, no_connect_sync, single_client, sum_by_destination, sum_only;
    double delay_s, start_s; /* before the first byte; the time of day of the first byte */
    bool connect_only;
    int connects; /* of connect_only; -1: the default */
    int connect_retries;
    const char *file; /* its bytes are sent; "-": standard input */
    bool has_key;
    char key[IPERF2_KEY_MAX + 1];
    double key_timeout_s; /* server: 0: none */
    const char *root;     /* "" or the folder that stands for /, for names of hosts */
};

struct iperf2_end {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    };
    socklen_t bytes;
};
/* "192.0.2.1", "2001:db8::1"; its port by the way. */
struct iperf2_name {
    char s[INET6_ADDRSTRLEN];
    uint16_t port;
};
struct iperf2_name iperf2_end_name(const struct iperf2_end *e);

/* The kernel's view of a TCP connection. */
struct iperf2_tcp {
    bool valid;
    uint64_t retransmits;
    uint32_t cwnd_kib, mss, rtt_us, rttvar_us;
};

/* What a flow has done: since its beginning, or in an interval. */
struct iperf2_counts {
    uint64_t bytes;
    uint64_t calls, call_errors;             /* writes of a sender, reads of a receiver */
    uint64_t bins[IPERF2_BINS];              /* of reads, by their size in eighths of the block */
    int64_t packets;                         /* that came or went */
    int64_t datagrams, errors, out_of_order; /* by their numbers: up to the highest, never came, came too late */
    uint64_t last_ns;                        /* of the newest packet */
};

/* One line of a report. */
struct iperf2_row {
    double start_s, end_s;
    bool final, sum;
    unsigned threads;
    struct iperf2_counts count; /* last_ns: 0 */
    double packets_s;           /* between the newest packet and the one before the row */
    double jitter_s;
    struct iperf2_spread transit, write_us;
    struct iperf2_tcp tcp; /* its retransmits: of this row */
};

/* A flow: one direction of a stream. */
struct iperf2_about {
    unsigned id;
    bool starred, sending, udp, reverse, full_duplex, connected_back; /* starred: the role is not the program's own */
    bool connected, key_failed;
    bool no_fin, trip_times, starts_later, quick_ack;
    int fd, tos;
    struct iperf2_end local, peer;
    char device[32]; /* of the local address; "" */
    double connect_ms;
    int64_t connected_utc_ns;
    struct iperf2_tcp tcp; /* at the beginning */
    uint32_t version_upper, version_lower;
    uint32_t block_bytes, prefetch_bytes, clamp_bytes;
};

/* What is told of a socket before it connects or listens. */
struct iperf2_socket {
    bool listens;
    int fd;
    uint16_t port, port_last;
    const char *host;
    int window_bytes, mss;
    double gap_us; /* between datagrams */
    uint32_t block_bytes;
    unsigned streams;
};

struct iperf2_events {
    void *context;
    void (*socket)(void *context, const struct iperf2_socket *s);
    void (*connected)(void *context, const struct iperf2_about *flow);
    void (*row)(void *context, const struct iperf2_about *flow, const struct iperf2_row *row);
    /* Of all flows with the same peer. */
    void (*sum)(void *context, const struct iperf2_about *flow, const struct iperf2_row *row);
    /* Both directions of one full-duplex connection. */
    void (*both)(void *context, const struct iperf2_about *flow, const struct iperf2_row *row);
    void (*relayed)(void *context, const struct iperf2_about *flow, const struct iperf2_report *report);
    void (*idle)(void *context);     /* nothing goes on any more; what comes is another test */
    void (*stopping)(void *context); /* server: told to stop while there is traffic */
    void (*connects)(void *context, const struct iperf2_spread *ms, unsigned failed); /* client: of all of them */
    void (*clocks)(void *context, const struct iperf2_about *flow, const struct iperf2_ack *ack, double arrived_s);
    void (*warn)(void *context, const char *text);
};

/*
 * A test, or all that a server serves until it is stopped.
 *
 * returns   0; 1: it ended, but a connection or a part of it failed, and that was told; a negative errno value with err
 *           filled: it could not begin.
 */
int iperf2_client(const struct iperf2_settings *s, const struct iperf2_events *events, const struct xk_clock *clock,
                  struct xk_err *err);
int iperf2_server(const struct iperf2_settings *s, const struct iperf2_events *events, const struct xk_clock *clock,
                  struct xk_err *err);

#endif
