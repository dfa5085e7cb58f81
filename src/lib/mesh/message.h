/*
 * What the coordinator of a mesh and its agents say to each other: one JSON object a line.
 *
 * A message is {"mesh":WORD, …}; which members a word carries stands in the table of message.c. Both sides are
 * untrusted: a line is bounded, every number has its range, texts are cut, members that nobody knows are ignored so
 * that a newer side can say more. Times are nanoseconds of the speaker's own monotonic clock.
 */
#ifndef MESH_MESSAGE_H
#define MESH_MESSAGE_H

#include "core/buf.h"
#include "core/err.h"
#include "lib/iperf/native.h"

#define MESH_VERSION       2
#define MESH_LINE_BYTES    4096u /* with its newline; no more than a pipe takes at once */
#define MESH_STREAMS_MAX   128u
#define MESH_SECONDS_MAX   3600u
#define MESH_CLIENTS_MAX   128u
#define MESH_OFFLOADS_TEXT 64

enum mesh_word {
    MESH_HELLO, /* agent, first of all: version, program, kernel */
    MESH_BEAT,  /* agent, every second */
    MESH_CLOCK, /* both: number; the answer has at_ns */
    MESH_LOOK,  /* host: an address of the agent's; the answer has interface, mtu, qdisc, offloads */
    MESH_SERVE, /* number, host (address to bind), clients, secret; the answer MESH_SERVING has port */
    MESH_SERVING,
    MESH_RUN,     /* number, host, port, secret, seconds, streams, udp, rate_bps; answered by READY, RESULT */
    MESH_READY,   /* number: connected, waits for GO */
    MESH_GO,      /* number, at_ns by the agent's clock */
    MESH_STARTED, /* number, at_ns */
    MESH_RESULT,  /* number, and what was measured */
    MESH_FAILED,  /* number, text: answers any of the above */
    MESH_END,     /* number: that server or client is wanted no more */
    MESH_WORDS,
};

struct mesh_message {
    enum mesh_word word;
    uint64_t number;
    uint64_t at_ns;
    /* about the agent */
    uint64_t version, mtu;
    char program[64], kernel[64], interface[16], qdisc[16];
    char offloads[MESH_OFFLOADS_TEXT]; /* those that are on: "tso,gso"; "?" : unknown */
    /* what is to be done */
    char host[256]; /* address */
    uint64_t port, clients, seconds, streams, rate_bps;
    bool udp;
    char secret[IPERF_SECRET_BYTES]; /* that the server's clients have to know */
    /* what came of it */
    double received_bps, sent_bps, duration_s, jitter_ms, rtt_p50_ms, rtt_p99_ms, cpu_percent, peer_cpu_percent;
    uint64_t packets, lost_packets, retransmits;
    uint64_t echoes; /* that the round trips come from; 0: they are what TCP says of itself */
    char text[256];
};

/* One line with its newline; never more than MESH_LINE_BYTES. */
void mesh_message_encode(struct xk_buf *ret, const struct mesh_message *m);
/*
 * One line without its newline.
 *
 * returns   0; -EBADMSG: no JSON object, no known word, a member of a wrong type or out of its range; -ENOMEM.
 */
int mesh_message_decode(struct mesh_message *ret, const char *line, size_t bytes, struct xk_err *err);

#endif
