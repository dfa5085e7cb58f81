/*
 * How far this machine's clock is from a time server's: an SNTP client (RFC 5905, section 14) that believes only
 * answers to its own questions.
 */
#ifndef SNTP_H
#define SNTP_H

#include "lib/resolve/resolve.h"

#define SNTP_PORT         123
#define SNTP_PACKET_BYTES 48
#define SNTP_SAMPLES_MIN  4
#define SNTP_SAMPLES_MAX  8
#define SNTP_SILENCE_MAX  3    /* questions without an answer, one after the other */
#define SNTP_WAIT_MS      2000 /* for one answer */
#define SNTP_DISTANCE_MAX 1.5  /* seconds: a server that is farther from its reference is no help */

enum sntp_verdict {
    SNTP_GOOD,
    SNTP_STRANGE,        /* no answer to our question: too short, another mode or version, a foreign origin */
    SNTP_KISS,           /* the server tells us to go away */
    SNTP_UNSYNCHRONISED, /* it says that it does not know the time */
    SNTP_ZERO,           /* it leaves its own times out */
    SNTP_DISTANT,        /* its own error is above SNTP_DISTANCE_MAX */
};

struct sntp_reply {
    unsigned stratum;
    char reference[16];      /* refid as it is shown: "GPS", "192.0.2.1"; the code of a kiss */
    double root_distance_s;  /* of the server from its reference */
    uint64_t received, sent; /* at the server: seconds since 1900 modulo 2^32, and fraction */
};

/* A question with a random stamp, which the answer has to repeat. */
void sntp_question(uint8_t ret[SNTP_PACKET_BYTES], const uint8_t stamp[8]);
/* Take an answer apart, from anybody. *ret is filled as far as the verdict allows. */
enum sntp_verdict sntp_reply_decode(struct sntp_reply *ret, const uint8_t *packet, size_t bytes,
                                    const uint8_t stamp[8]);
/*
 * What the four times say.
 *
 * sent_ns, arrived_ns   of question and answer here, since 1970. The server's era is the one nearest to sent_ns.
 */
void sntp_weigh(double *ret_offset_s, double *ret_delay_s, const struct sntp_reply *reply, int64_t sent_ns,
                int64_t arrived_ns);

struct sntp_settings {
    struct resolve_limits limits; /* the deadline is for everything, the name's resolution included */
    unsigned samples;             /* SNTP_SAMPLES_MIN … SNTP_SAMPLES_MAX */
    uint64_t interval_ns;         /* between two questions */
};

struct sntp_answer {
    struct resolve_address address;
    double offset_s; /* to be added to this machine's clock; of the sample with the least delay */
    double delay_s;
    unsigned samples; /* good ones */
    unsigned strange; /* packets that were no answers to our questions */
    struct sntp_reply reply;
};

/*
 * Ask a server. Blocks; several threads may ask side by side.
 *
 * server    "HOST", "HOST:PORT", "[IPV6]:PORT".
 * returns   0 with one good sample at least; -EINVAL: that is no server's name; -ETIMEDOUT; -ECONNREFUSED;
 *           -EHOSTUNREACH; -EPROTO: its answers cannot be used, the sentence says why; -EINTR.
 */
int sntp_ask(struct sntp_answer *ret, const char *server, const struct sntp_settings *settings, struct xk_err *err);

#endif
