/* What the files of the iperf engine share; the outside is iperf.h. */
#ifndef LIB_IPERF_INNER_H
#define LIB_IPERF_INNER_H

#include "lib/iperf/iperf.h"
#include "lib/resolve/resolve.h"

#include <sched.h>

#define IPERF_SECRET_AT        (IPERF_COOKIE_BYTES - sizeof(IPERF_MARK) - (IPERF_SECRET_BYTES - 1)) /* in a cookie */
#define IPERF_HELLO_TO_SERVER  0x36373839u /* little endian on the wire: "9876" */
#define IPERF_HELLO_TO_CLIENT  0x39383736u
#define IPERF_HELLO_BYTES      4
#define IPERF_UDP_SOCKET_BYTES (4 << 20) /* receive buffer of a UDP stream */

/* ---- test.c: what both roles do alike ---- */

/* returns 0; what iperf_fail() gives. `t` must be zeroed; done() takes what init() left at any point. */
int iperf_test_init(struct iperf_test *t, const struct iperf_settings *s, const struct iperf_events *events,
                    const struct xk_clock *clock, struct xk_err *err);
void iperf_test_done(struct iperf_test *t);
/* Bring the parameters into force: block size, what each side knows of retransmits. control_fd: for the MSS. */
void iperf_test_set_up(struct iperf_test *t, int control_fd);
/* How many streams the test has, and which way number `i` of them goes. */
unsigned iperf_test_streams(const struct iperf_test *t);
bool iperf_test_sends(const struct iperf_test *t, unsigned i);
/* Take over a connected socket as the next stream. returns 0; -ENOMEM, errno values; the socket is ours in any case. */
int iperf_test_adopt(struct iperf_test *t, int fd, struct xk_err *err);
int iperf_test_start(struct iperf_test *t, struct xk_err *err);
/* Do what the time asks for: an interval, the end of what is omitted. returns when to be called again. */
uint64_t iperf_test_tick(struct iperf_test *t);
/* Whether the client's side of the test has come to its end: time, amount, file. */
bool iperf_test_over(const struct iperf_test *t);
/* Nothing has come for too long, or a sender that nothing but the far side holds back could send nothing. */
bool iperf_test_idle(struct iperf_test *t, uint32_t ms);
/* The errno value of the first stream that failed, 0: none. */
int iperf_test_failure(const struct iperf_test *t, bool *ret_sending);
/* End the senders and let receivers take what is under way. returns whether all of them have; else ask again. */
bool iperf_test_drained(struct iperf_test *t);
/* End all streams; the last interval is told. */
void iperf_test_stop(struct iperf_test *t);
/* Its end is iperf_results_done(). */
void iperf_test_results(struct iperf_test *t, struct iperf_results *ret);
/* Take the far side's results. returns 0; iperf_fail(STREAMID). */
int iperf_test_take(struct iperf_test *t, struct iperf_results *r, struct xk_err *err);
/* Tell the totals. */
int iperf_test_finish(struct iperf_test *t, struct xk_err *err);

/* ---- flow.c, flow-udp.c ---- */

/* All streams of TCP send one block, which stays in the cache. returns 0; -ENOMEM, errno values. */
int iperf_flow_make_block(struct iperf_test *t);
int iperf_flow_start(struct iperf_flow *f);
void iperf_flow_join(struct iperf_flow *f);
/* What it has done so far, with the state of TCP. */
void iperf_flow_count(struct iperf_flow *f, struct iperf_count *ret);
void iperf_flow_udp_send(struct iperf_flow *f);
void iperf_flow_udp_receive(struct iperf_flow *f);
void iperf_flow_wake(struct iperf_flow *f);
void iperf_flow_fail(struct iperf_flow *f, int error);
/* Wait until `ns` on the monotonic clock, the last spin_ns of it awake, or for a stop. returns whether to go on. */
bool iperf_flow_sleep_until(const struct iperf_flow *f, uint64_t ns, uint64_t spin_ns);
/* Account for what was sent. returns whether the test may send more. */
bool iperf_flow_sent(struct iperf_flow *f, uint64_t bytes, uint64_t blocks);
/* Receiver: the test is ending, and what was under way has come. */
bool iperf_flow_quiet(const struct iperf_flow *f);
uint64_t iperf_now_ns(void);

/* ---- sockets.c ---- */

/* Options that have to be set before a connection is made. returns 0; what iperf_fail() gives. */
int iperf_socket_prepare(int fd, const struct iperf_test *t, int family, struct xk_err *err);
/* Only what goes over the device that the user named, if any. returns 0; iperf_fail(error). */
int iperf_socket_device(int fd, const struct iperf_settings *s, int error, struct xk_err *err);
/* Bind to the host, device and port that the user named. returns 0; -EINTR; iperf_fail(error). */
int iperf_socket_bind(int fd, const struct iperf_settings *s, const struct resolve_limits *limits, int family,
                      uint16_t port, int error, struct xk_err *err);
int iperf_socket_keepalive(int fd, const struct iperf_settings *s, struct xk_err *err);
/* A host that vanished without a word is noticed within a minute and a half. */
void iperf_socket_notice(int fd);
/* Send and receive calls end after this long, so that a thread sees a stop. */
void iperf_socket_patience(int fd);
void iperf_socket_ends(int fd, struct iperf_address *ret_local, struct iperf_address *ret_remote);
void iperf_socket_congestion(int fd, char ret[32]);
uint32_t iperf_socket_mss(int fd);
/* Datagrams that the socket dropped for want of room: what SO_RXQ_OVFL counts, at any moment. */
int64_t iperf_socket_drops(int fd);
/* Bytes that came and were not taken yet; of a sender, that were not sent yet. */
uint64_t iperf_socket_waiting(int fd, bool sending);
/* tcp-info.c: the kernel's own view of a TCP connection. */
void iperf_tcp_info(int fd, struct iperf_count *ret);

/* ---- sctp.c: the same for SCTP ---- */

int iperf_sctp_prepare(int fd, const struct iperf_test *t, struct xk_err *err);
/* Bind to all the addresses that the user named. family: AF_UNSPEC takes both kinds. returns as iperf_socket_bind(). */
int iperf_sctp_bind(int fd, const struct iperf_settings *s, const struct resolve_limits *limits, int family,
                    uint16_t port, struct xk_err *err);
/* What of a TCP connection's state SCTP has, too. */
void iperf_sctp_info(int fd, struct iperf_count *ret);

/* ---- place.c: the processors of streams whose two ends are on this machine ---- */

struct iperf_place {
    cpu_set_t allowed;
    int fd, processor;
    bool follows;
    unsigned reads;
};

/* To be called by the thread that sends: it stays on a processor from now on. */
void iperf_place_sender(const struct iperf_flow *f);
struct iperf_place iperf_place_receiver(const struct iperf_flow *f);
/* To be called by the thread that receives, before each read: it goes where the sender is. */
void iperf_place_follow(struct iperf_place *p);

/* ---- auth.c ---- */

/* The token for the parameters. returns 0; iperf_fail(SETCLIENTAUTH). */
int iperf_auth_make(char *ret, size_t bytes, const struct iperf_settings *s, int64_t utc_s, struct xk_err *err);
/* returns 0; iperf_fail(AUTHTEST), the same for each reason. */
int iperf_auth_check(const struct iperf_settings *s, const char *token, int64_t utc_s, struct xk_err *err);

#endif
