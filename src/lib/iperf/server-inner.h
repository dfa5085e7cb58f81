/* The server's parts, and what they share: one event loop runs all of them. */
#ifndef LIB_IPERF_SERVER_INNER_H
#define LIB_IPERF_SERVER_INNER_H

#include "lib/iperf/inner.h"

#include <event2/event.h>

struct bufferevent;

enum step { AWAIT_PARAMS, AWAIT_STREAMS, RUNNING, DRAINING, AWAIT_RESULTS, AWAIT_DONE };

struct server;

/* A test, from its control connection's cookie to its end. */
struct session {
    struct server *server;
    struct iperf_test test;
    struct bufferevent *control;
    int control_fd;
    struct sockaddr_storage peer, local;
    socklen_t local_bytes;
    struct event *timer, *wake, *echo; /* echo: its socket, once it has asked */
    enum step step;
    uint64_t deadline_ns; /* of the step */
    uint32_t length;      /* of the JSON to come, once known */
    bool has_length;
    bool is_unauthorized; /* which does not count as the one test of a server that ends after it */
    uint64_t rate_from_ns, rate_from_bytes;
    struct session *next, **link;
};

/* A connection that has not said its cookie yet. */
struct stranger {
    struct server *server;
    struct event *event;
    char cookie[IPERF_COOKIE_BYTES];
    size_t have;
    bool is_sctp; /* and can only be a stream */
    uint64_t until_ns;
    struct stranger *next, **link;
};

/* A client that waits for its turn. */
struct waiter {
    struct server *server;
    struct event *event;
    char cookie[IPERF_COOKIE_BYTES];
    struct iperf_address peer;
    unsigned place;
    struct waiter *next;
};

struct server {
    const struct iperf_settings *s;
    const struct iperf_events *events;
    const struct xk_clock *clock;
    struct event_base *base;
    int tcp_fd, udp_fd, sctp_fd; /* sctp_fd: from the first test on that asks for it */
    struct event *tcp_event, *udp_event, *sctp_event, *stop_timer;
    int family; /* of the listeners */
    uint16_t port;
    struct session *sessions;
    struct stranger *strangers;
    unsigned stranger_count, strangers_max;
    struct waiter *line; /* first come, first served */
    unsigned served;
    bool has_window; /* a listener has that of a test whose streams are awaited */
    bool is_mptcp;   /* the listener takes Multipath TCP: always, or for such a test */
    bool finished;   /* one test was asked for, and it is over */
    uint64_t quiet_since_ns;
    int code;
    struct xk_err *err;
};

/* ---- server.c ---- */

/* Open both ports anew, or for the first time. returns 0; what iperf_fail() gives. */
int iperf_server_listen(struct server *server, uint16_t port, struct xk_err *err);

/*
 * Make the listener of the test's protocol such that streams become what the test asks for: SCTP, Multipath TCP, with a
 * window, which accepted sockets take from it. give_back() is called when they stand, or the test is over.
 *
 * returns   0; a negative errno value; what iperf_fail() gives.
 */
int iperf_server_listen_for(struct server *server, const struct iperf_test *t, struct xk_err *err);
void iperf_server_give_back(struct server *server);

/* ---- server-newcomers.c: connections that are no test yet ---- */

void iperf_server_newcomer(evutil_socket_t fd, short what, void *context);
/* One of ours is told who we are, and whether it has to wait. */
void iperf_server_greet(const struct server *server, int fd, const char *cookie, unsigned place);
/* A test is over: whoever waits longest begins. */
void iperf_server_next(struct server *server);
/* Nobody is served any more. */
void iperf_server_send_away(struct server *server);

/* ---- server-datagrams.c: greetings of UDP streams, echoes ---- */

void iperf_server_datagram(evutil_socket_t fd, short what, void *context);

/* ---- server-session.c: a test from its parameters to its end ---- */

/* Takes over the connection. */
void iperf_session_begin(struct server *server, int fd, const char cookie[IPERF_COOKIE_BYTES]);
/* The next stream of the test; the socket is taken over. The session may be gone then. */
void iperf_session_adopt(struct session *x, int fd);
/* The test ends here: the client and our own user learn why. The session is gone then. */
void iperf_session_fail(struct session *x, int number, int system);
/* The server ends: what there is so far is told to our user, and the client learns that we went. */
void iperf_session_abort(struct session *x);

#endif
