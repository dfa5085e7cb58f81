/*
 * What an iperf3 client and server tell each other: states, errors, parameters, results.
 *
 * Everything that comes from the far side is untrusted; sizes and counts are bounded by the limits below. The facts
 * are those of iperf3 3.1 to 3.21.
 */
#ifndef LIB_IPERF_PARAMS_H
#define LIB_IPERF_PARAMS_H

#include "core/buf.h"
#include "core/err.h"

#define IPERF_PORT          5201
#define IPERF_COOKIE_BYTES  37 /* 36 characters and a NUL */
#define IPERF_STREAMS_MAX   128
#define IPERF_XBIND_MAX     16
#define IPERF_BLOCK_MAX     (1u << 20)
#define IPERF_UDP_BLOCK_MIN 16u
#define IPERF_UDP_BLOCK_MAX 65507u
#define IPERF_TIME_MAX      86400
#define IPERF_OMIT_MAX      600
#define IPERF_MSS_MAX       9216
#define IPERF_BUFFER_MAX    (512u << 20)
#define IPERF_BURST_MAX     1000
#define IPERF_PARAMS_BYTES  8192u       /* of the client's JSON */
#define IPERF_RESULTS_BYTES (64u << 20) /* of a server's; its output is inside */
#define IPERF_CLIENT_BYTES  (1u << 20)  /* of a client's */
#define IPERF_TEXT_BYTES    512         /* of a title, of extra data */
#define IPERF_UDP_RATE_BPS  (1u << 20)  /* when no rate is said */

/* A byte on the control connection says what comes next. */
enum iperf_state {
    IPERF_TEST_START = 1,
    IPERF_TEST_RUNNING = 2,
    IPERF_TEST_END = 4,
    IPERF_PARAM_EXCHANGE = 9,
    IPERF_CREATE_STREAMS = 10,
    IPERF_SERVER_TERMINATE = 11,
    IPERF_CLIENT_TERMINATE = 12,
    IPERF_EXCHANGE_RESULTS = 13,
    IPERF_DISPLAY_RESULTS = 14,
    IPERF_DONE = 16,
    IPERF_GREETING = 64, /* of ours; native.h */
    IPERF_ACCESS_DENIED = -1,
    IPERF_SERVER_ERROR = -2,
};

/*
 * Errors as they go over the wire after IPERF_SERVER_ERROR: name, number, whether the system's error follows, text.
 * The texts are those of iperf3 3.12, which scripts look for; for numbers that it does not have, those of 3.21.
 */
#define IPERF_ERRORS(X)                                                                                                \
    X(NONE, 0, 0, "no error")                                                                                          \
    X(SERVCLIENT, 1, 0, "cannot be both server and client")                                                            \
    X(NOROLE, 2, 0, "must either be a client (-c) or server (-s)")                                                     \
    X(SERVERONLY, 3, 0, "some option you are trying to set is server only")                                            \
    X(CLIENTONLY, 4, 0, "some option you are trying to set is client only")                                            \
    X(DURATION, 5, 0, "test duration too long (maximum = 86400 seconds)")                                              \
    X(NUMSTREAMS, 6, 0, "number of parallel streams too large (maximum = 128)")                                        \
    X(BLOCKSIZE, 7, 0, "block size too large (maximum = 1048576 bytes)")                                               \
    X(BUFSIZE, 8, 0, "socket buffer size too large (maximum = 536870912 bytes)")                                       \
    X(INTERVAL, 9, 0, "invalid report interval (min = 0.1, max = 60 seconds)")                                         \
    X(MSS, 10, 0, "TCP MSS too large (maximum = 9216 bytes)")                                                          \
    X(NOSENDFILE, 11, 0, "this OS does not support sendfile")                                                          \
    X(OMIT, 12, 0, "bogus value for --omit")                                                                           \
    X(UNIMP, 13, 0, "an option you are trying to set is not implemented yet")                                          \
    X(FILE, 14, 1, "unable to open -F file")                                                                           \
    X(BURST, 15, 0, "invalid burst count (maximum = 1000)")                                                            \
    X(ENDCONDITIONS, 16, 0, "only one test end condition (-t, -n, -k) may be specified")                               \
    X(LOGFILE, 17, 1, "unable to open log file")                                                                       \
    X(NOSCTP, 18, 0, "no SCTP support available")                                                                      \
    X(BIND, 19, 0, "--bind must be specified to use --cport")                                                          \
    X(UDPBLOCKSIZE, 20, 0, "block size invalid (minimum = 16 bytes, maximum = 65507 bytes)")                           \
    X(BADTOS, 21, 0, "bad TOS value (must be between 0 and 255 inclusive)")                                            \
    X(SETCLIENTAUTH, 22, 0, "you must specify a username, password, and path to a valid RSA public key")               \
    X(SETSERVERAUTH, 23, 0, "you must specify a path to a valid RSA private key and a user credential file")           \
    X(BADFORMAT, 24, 0, "bad format specifier (valid formats are in the set [kmgtKMGT])")                              \
    X(REVERSEBIDIR, 25, 0, "cannot be both reverse and bidirectional")                                                 \
    X(BADPORT, 26, 0, "port number must be between 1 and 65535 inclusive")                                             \
    X(TOTALRATE, 27, 0, "total required bandwidth is larger than server limit")                                        \
    X(TOTALINTERVAL, 28, 0, "invalid time interval for calculating average data rate")                                 \
    X(SKEWTHRESHOLD, 29, 0, "skew threshold must be a positive number")                                                \
    X(IDLETIMEOUT, 30, 0, "idle timeout parameter is not positive or larger than allowed limit")                       \
    X(RCVTIMEOUT, 31, 1, "receive timeout value is incorrect or not in range")                                         \
    X(RVRSONLYRCVTIMEOUT, 32, 1, "client receive timeout is valid only in receiving mode")                             \
    X(SNDTIMEOUT, 33, 1, "send timeout value is incorrect or not in range")                                            \
    X(UDPFILETRANSFER, 34, 0, "cannot transfer file using UDP")                                                        \
    X(SERVERAUTHUSERS, 35, 0, "cannot access authorized users file")                                                   \
    X(CNTLKA, 36, 1,                                                                                                   \
      "control connection Keepalive period should be larger than the full retry period (interval * count)")            \
    X(MAXSERVERTESTDURATION, 37, 0, "client's requested duration exceeds the server's maximum permitted limit")        \
    X(UNITVAL, 38, 0, "invalid unit value or suffix")                                                                  \
    X(RVRSONLYSKIPRXCOPY, 39, 0, "--skip-rx-copy is valid only in receiving mode")                                     \
    X(BADDSCP, 40, 0,                                                                                                  \
      "bad DSCP value (numeric: 0-63 inclusive, symbolic: one of [af11-13, af21-23, af31-33, af41-43, cs1-7, ef, va, " \
      "lowdelay, throughput, reliability])")                                                                           \
    X(NEWTEST, 100, 1, "unable to create a new test")                                                                  \
    X(INITTEST, 101, 1, "test initialization failed")                                                                  \
    X(LISTEN, 102, 1, "unable to start listener for connections")                                                      \
    X(CONNECT, 103, 1, "unable to connect to server")                                                                  \
    X(ACCEPT, 104, 1, "unable to accept connection from client")                                                       \
    X(SENDCOOKIE, 105, 1, "unable to send cookie to server")                                                           \
    X(RECVCOOKIE, 106, 1, "unable to receive cookie at server")                                                        \
    X(CTRLWRITE, 107, 1, "unable to write to the control socket")                                                      \
    X(CTRLREAD, 108, 1, "unable to read from the control socket")                                                      \
    X(CTRLCLOSE, 109, 0, "control socket has closed unexpectedly")                                                     \
    X(MESSAGE, 110, 0, "received an unknown control message")                                                          \
    X(SENDMESSAGE, 111, 1, "unable to send control message")                                                           \
    X(RECVMESSAGE, 112, 1, "unable to receive control message")                                                        \
    X(SENDPARAMS, 113, 1, "unable to send parameters to server")                                                       \
    X(RECVPARAMS, 114, 1, "unable to receive parameters from client")                                                  \
    X(PACKAGERESULTS, 115, 1, "unable to package results")                                                             \
    X(SENDRESULTS, 116, 1, "unable to send results")                                                                   \
    X(RECVRESULTS, 117, 1, "unable to receive results")                                                                \
    X(SELECT, 118, 1, "select failed")                                                                                 \
    X(CLIENTTERM, 119, 0, "the client has terminated")                                                                 \
    X(SERVERTERM, 120, 0, "the server has terminated")                                                                 \
    X(ACCESSDENIED, 121, 0, "the server is busy running a test. try again later")                                      \
    X(SETNODELAY, 122, 1, "unable to set TCP/SCTP NODELAY")                                                            \
    X(SETMSS, 123, 1, "unable to set TCP/SCTP MSS")                                                                    \
    X(SETBUF, 124, 1, "unable to set socket buffer size")                                                              \
    X(SETTOS, 125, 1, "unable to set IP TOS")                                                                          \
    X(SETCOS, 126, 1, "unable to set IPv6 traffic class")                                                              \
    X(SETFLOW, 127, 0, "unable to set IPv6 flow label")                                                                \
    X(REUSEADDR, 128, 1, "unable to reuse address on socket")                                                          \
    X(NONBLOCKING, 129, 1, "unable to set socket to non-blocking")                                                     \
    X(SETWINDOWSIZE, 130, 1, "unable to set socket window size")                                                       \
    X(PROTOCOL, 131, 0, "protocol does not exist")                                                                     \
    X(AFFINITY, 132, 1, "unable to set CPU affinity")                                                                  \
    X(DAEMON, 133, 1, "unable to become a daemon")                                                                     \
    X(SETCONGESTION, 134, 0,                                                                                           \
      "unable to set TCP_CONGESTION: Supplied congestion control algorithm not supported on this host")                \
    X(PIDFILE, 135, 1, "unable to write PID file")                                                                     \
    X(V6ONLY, 136, 1, "Unable to set/reset IPV6_V6ONLY")                                                               \
    X(SETSCTPDISABLEFRAG, 137, 1, "unable to set SCTP_DISABLE_FRAGMENTS")                                              \
    X(SETSCTPNSTREAM, 138, 1, "unable to set SCTP_INIT num of SCTP streams\n")                                         \
    X(SETPACING, 140, 1, "unable to set socket pacing")                                                                \
    X(SETBUF2, 141, 0, "socket buffer size not set correctly")                                                         \
    X(AUTHTEST, 142, 0, "test authorization failed")                                                                   \
    X(BINDDEV, 143, 0, "Unable to bind-to-device (check perror, maybe permissions?)")                                  \
    X(NOMSG, 144, 0, "idle timeout for receiving data")                                                                \
    X(SETDONTFRAGMENT, 145, 0, "unable to set IP Do-Not-Fragment flag")                                                \
    X(BINDDEVNOSUPPORT, 146, 0, "`<ip>%<dev>` is not supported as system does not support bind to device")             \
    X(HOSTDEV, 147, 0, "host device name (ip%<dev>) is supported (and required) only for IPv6 link-local address")     \
    X(SETUSERTIMEOUT, 148, 1, "unable to set TCP USER_TIMEOUT")                                                        \
    X(SETCNTLKA, 155, 1, "unable to set socket keepalive (SO_KEEPALIVE) option")                                       \
    X(SERVERTESTDURATION, 160, 1, "server test duration expired")                                                      \
    X(CREATESTREAM, 200, 1, "unable to create a new stream")                                                           \
    X(INITSTREAM, 201, 1, "unable to initialize stream")                                                               \
    X(STREAMLISTEN, 202, 1, "unable to start stream listener")                                                         \
    X(STREAMCONNECT, 203, 1, "unable to connect stream")                                                               \
    X(STREAMACCEPT, 204, 1, "unable to accept stream connection")                                                      \
    X(STREAMWRITE, 205, 1, "unable to write to stream socket")                                                         \
    X(STREAMREAD, 206, 1, "unable to read from stream socket")                                                         \
    X(STREAMCLOSE, 207, 0, "stream socket has closed unexpectedly")                                                    \
    X(STREAMID, 208, 0, "stream has an invalid id")                                                                    \
    X(NEWTIMER, 300, 1, "unable to create new timer")                                                                  \
    X(UPDATETIMER, 301, 1, "unable to update timer")

/* Which iperf3 has no words for: an address that SCTP is to use could not be bound. */
#define IPERF_E_SETSCTPBINDX 139

enum iperf_error {
#define IPERF_ERROR_NAME(name, number, with_errno, text) IPERF_E_##name = (number),
    IPERF_ERRORS(IPERF_ERROR_NAME)
#undef IPERF_ERROR_NAME
};

/*
 * Record an error of that number in the words of iperf3.
 *
 * system    an errno value, positive; its text follows where iperf3 puts one.
 * returns   -(IPERF_FAIL + number), so that callers can tell which it was.
 */
#define IPERF_FAIL 10000
int iperf_fail(struct xk_err *err, int number, int system);
/* The same, with another text in the place of the errno value's. */
int iperf_fail_because(struct xk_err *err, int number, const char *reason);
/* The number of an error that iperf_fail() returned; `otherwise` for any other code. */
int iperf_error_of(int code, int otherwise);

enum iperf_protocol { IPERF_TCP, IPERF_UDP, IPERF_SCTP };

/* What the client asks for; both sides run the same test by it. Zero means "not said". */
struct iperf_params {
    enum iperf_protocol protocol;
    uint32_t omit_s, time_s, parallel, block_bytes, mss, window_bytes, tos, flowlabel, burst, pacing_timer_us;
    uint64_t bytes, blocks; /* the test ends when so much was transferred, by all streams together */
    uint64_t rate_bps;      /* of each stream; 0: as fast as it goes */
    uint64_t fq_rate_bps;
    int affinity; /* the processor that the server should use; -1: any */
    bool mptcp, nodelay, reverse, bidirectional, get_server_output, counters_64bit, repeating_payload, zerocopy,
        dont_fragment, skip_rx_copy;
    bool gso, gro;
    bool xenkit; /* the far side is one of ours */
    bool echo;   /* a client of ours will ask for echoes */
    bool detail; /* and wants to know what struct iperf_events calls the account */
    char congestion[32], title[IPERF_TEXT_BYTES], extra_data[IPERF_TEXT_BYTES], version[32];
    char authtoken[4096];
};

/* Block of a paced stream of ours: a hundredth of a second's worth, so that a rate holds within a short test, too. */
static inline uint32_t iperf_paced_block(uint64_t rate_bps)
{
    return (uint32_t)XK_MIN(XK_MAX(rate_bps / 800, UINT64_C(1) << 10), UINT64_C(128) << 10);
}

/* returns 0; -EBADMSG with the reason: no JSON object, a field of a wrong type or out of its range. */
int iperf_params_decode(struct iperf_params *ret, const char *json, size_t bytes, struct xk_err *err);
void iperf_params_encode(struct xk_buf *b, const struct iperf_params *p);

/* Of one stream, as its own side counted it. */
struct iperf_result {
    int id;
    uint64_t bytes;
    int64_t retransmits; /* -1: this side does not know */
    double jitter_s, start_s, end_s;
    int64_t errors, omitted_errors, packets, omitted_packets;
    /* between two of ours; -1: not told. overflow: dropped by the receiving socket; distance: how much too late, in
     * numbers */
    int64_t out_of_order, duplicates, late, overflow, distance;
};

struct iperf_results {
    double cpu_percent[3];          /* total, user, system */
    int64_t sender_has_retransmits; /* -1: receiver, 0, 1 */
    bool has_omitted;               /* the side counts what was omitted apart (3.14 and later) */
    char congestion[32];
    struct iperf_result streams[2 * IPERF_STREAMS_MAX];
    unsigned count;
    char *server_text, *server_json; /* from the allocator; NULL: none */
    char *account;                   /* JSON between two of ours, as server_text; see struct iperf_events */
};

void iperf_results_done(struct iperf_results *r);
/* returns 0; -EBADMSG: no such document; -ENOMEM. */
int iperf_results_decode(struct iperf_results *ret, const char *json, size_t bytes, struct xk_err *err);
void iperf_results_encode(struct xk_buf *b, const struct iperf_results *r);

#endif
