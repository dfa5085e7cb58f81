/*
 * What iperf 2 puts into the beginning of a connection and into datagrams: requests to the server, its acknowledgement,
 * and the report behind the last datagram. No I/O; everything is big-endian, 32-bit words.
 */
#ifndef LIB_IPERF2_WIRE_H
#define LIB_IPERF2_WIRE_H

#include "core/base.h"
#include "core/err.h"

#define IPERF2_DATAGRAM_BYTES   16 /* number, seconds, microseconds, upper half of the number: before the header */
#define IPERF2_KEY_MIN          4
#define IPERF2_KEY_MAX          128
#define IPERF2_HEADER_MAX       (255 + IPERF2_KEY_MAX) /* of a TCP connection, with its key */
#define IPERF2_ACK_BYTES        28
#define IPERF2_ACK_TIMED_BYTES  52                  /* with the times that a test of trip times wants */
#define IPERF2_REPORT_BYTES     128                 /* a datagram's own words and the server's report */
#define IPERF2_BURST_BYTES      92                  /* before each write of a TCP test of trip times */
#define IPERF2_SMALL_TRIP_BYTES 18                  /* the shortest datagram, when trip times are wanted */
#define IPERF2_AMOUNT_MAX       INT64_C(0x7fffffff) /* bytes or hundredths of a second that can be asked for */
#define IPERF2_VERSION_UPPER    0x00020001u         /* 2.1 */
#define IPERF2_VERSION_LOWER    0x00080003u         /* .8, a release */

/* What a client asks of its server. All false, all 0: nothing, its bytes are taken as they come. */
struct iperf2_header {
    bool wide;           /* numbers of datagrams have 64 bits */
    bool dual, tradeoff; /* connect back: at once, or when this test is over */
    bool reverse, full_duplex;
    bool peer_detect; /* TCP: an acknowledgement is waited for */
    bool wants_ack;   /* one is to be sent; some older clients expect it without a word. Only read */
    bool no_fin;      /* UDP: no report behind the last datagram */
    bool trip_times, small_trip_times, starts_later;
    bool quick_ack, has_key;
    bool isochronous, periodic, layer2, bounce_back; /* kinds of test that are not served here */
    uint32_t threads, port, block_bytes;
    bool timed; /* the amount is in hundredths of a second, else in bytes */
    uint32_t amount;
    uint32_t version_upper, version_lower;
    uint8_t tos;
    uint64_t rate; /* bits, or with `packets` datagrams, a second; 0: as fast as it goes */
    bool packets;
    uint32_t prefetch_bytes;
    uint32_t start_s, start_us;
    uint64_t pacing_bytes; /* a second; 0: none */
    char key[IPERF2_KEY_MAX + 1];
};

/*
 * How many bytes the header of a connection has, as far as `have` of them tell: at first the four of its flags, then
 * what these say, then the key. Ask again until it is not more than there are.
 *
 * returns   bytes, at most IPERF2_HEADER_MAX; 0: these bytes are no header; -EBADMSG: a length that cannot be.
 */
int iperf2_header_need(const uint8_t *data, size_t have);
/*
 * Decode the header of a connection, or of a datagram (which begins with its number).
 *
 * returns   0, also when there is no header in these bytes; -EBADMSG: it is cut off or its key has no valid length.
 */
int iperf2_header_decode(struct iperf2_header *ret, const uint8_t *data, size_t bytes, bool datagram,
                         struct xk_err *err);
/* returns the header's bytes, of which at most `room` are written; a datagram's are counted from its beginning. */
size_t iperf2_header_encode(uint8_t *ret, size_t room, const struct iperf2_header *h, bool datagram);

/* A datagram's own words. number < 0: the last one. */
struct iperf2_datagram {
    int64_t number;
    uint32_t s, us;
};
/* returns false when there are not enough bytes. */
bool iperf2_datagram_decode(struct iperf2_datagram *ret, const uint8_t *data, size_t bytes, bool wide);
void iperf2_datagram_encode(uint8_t ret[IPERF2_DATAGRAM_BYTES], const struct iperf2_datagram *d);

/* Smallest, largest, mean and spread of some values. */
struct iperf2_spread {
    uint64_t count;
    double sum, min, max, mean, m2;
};
void iperf2_spread_add(struct iperf2_spread *s, double value);
double iperf2_spread_deviation(const struct iperf2_spread *s); /* of fewer than two values: 0 */

/* What the receiver of datagrams tells its sender in the end. */
struct iperf2_report {
    uint64_t bytes;
    double seconds, jitter_s;
    int64_t errors, out_of_order, datagrams;
    bool has_transit; /* the next ones are valid */
    struct iperf2_spread transit;
    uint32_t packets_per_s;
};
void iperf2_report_encode(uint8_t ret[IPERF2_REPORT_BYTES], const struct iperf2_report *r);
/* returns 0; -EBADMSG: it is cut off, or none. */
int iperf2_report_decode(struct iperf2_report *ret, const uint8_t *data, size_t bytes, struct xk_err *err);

/* The acknowledgement of a header. The times are seconds since 1970. */
struct iperf2_ack {
    uint32_t version_upper, version_lower;
    bool timed;
    double sent_s, arrived_s, acknowledged_s;
};
size_t iperf2_ack_encode(uint8_t ret[IPERF2_ACK_TIMED_BYTES], const struct iperf2_ack *a);
int iperf2_ack_decode(struct iperf2_ack *ret, const uint8_t *data, size_t bytes, struct xk_err *err);

/* What stands before each write when trip times are measured over TCP. */
struct iperf2_burst {
    uint32_t sent_s, sent_us, start_s, start_us, id, bytes;
    uint64_t number;
};
void iperf2_burst_encode(uint8_t ret[IPERF2_BURST_BYTES], const struct iperf2_burst *b);
/* returns 0; -EBADMSG: a size smaller than this or too large. */
int iperf2_burst_decode(struct iperf2_burst *ret, const uint8_t data[IPERF2_BURST_BYTES], struct xk_err *err);

#endif
