/*
 * What two of ours say to each other beyond iperf3's protocol.
 *
 * A client that understands it ends its cookie in a mark; only such a one is greeted, before the first state of iperf3,
 * with state IPERF_GREETING and a JSON document. A client that has to wait is greeted again while it does.
 *
 * Beside the streams a client may ask for echoes: datagrams to the server's port, answered only within a test that
 * asked for them, only to its host, only with the beginning of its cookie, and never with more bytes than came. Times
 * are nanoseconds of each host's own clock that never jumps.
 */
#ifndef LIB_IPERF_NATIVE_H
#define LIB_IPERF_NATIVE_H

#include "core/buf.h"
#include "core/err.h"

#define IPERF_MARK           "-xenkit"
#define IPERF_SECRET_BYTES   23   /* with its NUL; stands before the mark of a cookie */
#define IPERF_GREETING_BYTES 4096 /* of the document, at most */
#define IPERF_WAITING_MAX    1024 /* clients in line */
#define IPERF_WAITING_S      2    /* how often one in line is told its place */
#define IPERF_ECHO_BYTES     56   /* of an answer, and the least of a question */
#define IPERF_ECHO_TOKEN     16   /* characters of the cookie in a datagram */

struct iperf_greeting {
    unsigned version; /* 0: the server is none of ours */
    unsigned place;   /* in line; 0: the test begins */
    bool echo;        /* it answers echoes, when asked in the parameters */
    char program[64]; /* "xenkit 1.2.3" */
};

/* returns 0; -EBADMSG. */
int iperf_greeting_decode(struct iperf_greeting *ret, const char *json, size_t bytes, struct xk_err *err);
void iperf_greeting_encode(struct xk_buf *b, const struct iperf_greeting *g);
bool iperf_cookie_is_marked(const char *cookie);

enum iperf_echo_kind {
    IPERF_ECHO_ASK = 1,
    IPERF_ECHO_ASK_LARGE, /* the answer shall be as large as the question */
    IPERF_ECHO_ANSWER,
};

struct iperf_echo {
    enum iperf_echo_kind kind;
    char token[IPERF_ECHO_TOKEN];
    uint64_t number;
    uint64_t asked_ns, came_ns, answered_ns; /* by the asker's clock; by the answerer's */
};

/* returns 0; -EBADMSG: that is none. */
int iperf_echo_decode(struct iperf_echo *ret, const uint8_t *bytes, size_t count);
void iperf_echo_encode(uint8_t ret[IPERF_ECHO_BYTES], const struct iperf_echo *e);
/* Let a socket stamp what comes. */
void iperf_echo_prepare(int fd);
/*
 * Receive one datagram. returns its length, which may be more than `room`; negative errno values.
 * ret_came_ns   when the kernel had it, on iperf_now_ns()'s clock.
 */
ssize_t iperf_echo_receive(int fd, uint8_t *bytes, size_t room, uint64_t *ret_came_ns);

#endif
