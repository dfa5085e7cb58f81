/*
 * The client: connects, says what it wants, lets the streams run, ends them and exchanges results.
 *
 * Everything on the control connection has a deadline. While streams run the loop waits for whichever comes first of a
 * byte from the server, the end of a stream and the next interval.
 */
#include "lib/iperf/inner.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define HELLO_AGAIN_NS  (250 * XK_NS_PER_MS)
#define CONNECT_MS      30000
#define PACING_TIMER_US 1000
#define DRAIN_LOOK_NS   (5 * XK_NS_PER_MS)
#define CONTROL_MSS     1000 /* of ours, so that it fits any path */

struct client {
    struct iperf_test test;
    const struct iperf_settings *s;
    const struct xk_clock *clock;
    struct resolve_addresses servers;
    const struct resolve_address *server; /* the one that answered */
    int control;
    struct xk_err *err;
};

static struct resolve_limits limits_in(const struct client *c, uint64_t ns)
{
    return (struct resolve_limits){
        .clock = c->clock, .deadline_ns = resolve_deadline(c->clock, ns), .root = "", .ignore_stop = false};
}

static int control_write(struct client *c, const void *bytes, size_t count, int error)
{
    const struct resolve_limits limits = limits_in(c, IPERF_STREAMS_S * XK_NS_PER_S);

    for (size_t done = 0; done < count;) {
        const ssize_t n = send(c->control, (const char *)bytes + done, count - done, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            done += (size_t)n;
            continue;
        }
        if (errno != EAGAIN && errno != EINTR)
            return iperf_fail(c->err, error, errno);
        struct pollfd p = {.fd = c->control, .events = POLLOUT};
        const int code = resolve_wait(&p, 1, &limits);
        if (code < 0)
            return code == -EINTR ? code : iperf_fail(c->err, error, -code);
    }
    return 0;
}

static int control_read(struct client *c, void *ret, size_t count, uint64_t ns, int error)
{
    const struct resolve_limits limits = limits_in(c, ns);

    for (size_t done = 0; done < count;) {
        const ssize_t n = recv(c->control, (char *)ret + done, count - done, MSG_DONTWAIT);
        if (n > 0) {
            done += (size_t)n;
            continue;
        }
        if (n == 0)
            return iperf_fail(c->err, IPERF_E_CTRLCLOSE, 0);
        if (errno != EAGAIN && errno != EINTR)
            return iperf_fail(c->err, error, errno);
        struct pollfd p = {.fd = c->control, .events = POLLIN};
        const int code = resolve_wait(&p, 1, &limits);
        if (code < 0)
            return code == -EINTR ? code : iperf_fail(c->err, error, -code);
    }
    return 0;
}

static int send_state(struct client *c, int state)
{
    const int8_t byte = (int8_t)state;

    return control_write(c, &byte, 1, IPERF_E_SENDMESSAGE);
}

static int send_document(struct client *c, struct xk_buf *b, int error)
{
    const uint32_t length = htobe32((uint32_t)b->len);

    if (b->error)
        return iperf_fail(c->err, error, -b->error);
    const int code = control_write(c, &length, sizeof(length), error);
    return code < 0 ? code : control_write(c, b->data, b->len, error);
}

/* What the server says instead of what was expected. */
static int server_refusal(struct client *c, int state)
{
    const uint64_t patience_ns = IPERF_HANDSHAKE_S * XK_NS_PER_S;
    int32_t numbers[2];

    switch (state) {
    case IPERF_ACCESS_DENIED:
        return iperf_fail(c->err, IPERF_E_ACCESSDENIED, 0);
    case IPERF_SERVER_TERMINATE:
        return iperf_fail(c->err, IPERF_E_SERVERTERM, 0);
    case IPERF_SERVER_ERROR:
        /* After a wrong password the real server closes without the second number. */
        if (control_read(c, &numbers[0], sizeof(numbers[0]), patience_ns, IPERF_E_CTRLREAD) < 0)
            return c->err->code;
        if (control_read(c, &numbers[1], sizeof(numbers[1]), patience_ns, IPERF_E_CTRLREAD) < 0)
            numbers[1] = 0;
        return iperf_fail(c->err, (int)be32toh((uint32_t)numbers[0]), (int)be32toh((uint32_t)numbers[1]));
    default:
        return iperf_fail(c->err, IPERF_E_MESSAGE, 0);
    }
}

/* A server of ours says who it is, and to a client in line where it stands. */
static int take_greeting(struct client *c)
{
    const uint64_t patience_ns = IPERF_HANDSHAKE_S * XK_NS_PER_S;
    struct iperf_test *const t = &c->test;
    char json[IPERF_GREETING_BYTES];
    uint32_t length;

    int code = control_read(c, &length, sizeof(length), patience_ns, IPERF_E_RECVMESSAGE);
    if (code < 0)
        return code;
    length = be32toh(length);
    if (length > sizeof(json))
        return iperf_fail(c->err, IPERF_E_RECVMESSAGE, EMSGSIZE);
    code = control_read(c, json, length, patience_ns, IPERF_E_RECVMESSAGE);
    if (code < 0)
        return code;
    if (iperf_greeting_decode(&t->greeting, json, length, NULL) < 0)
        return iperf_fail(c->err, IPERF_E_RECVMESSAGE, EBADMSG);
    if (t->greeting.place && t->events->waiting)
        t->events->waiting(t->events->context, t);
    return 0;
}

static int expect_state(struct client *c, int wanted, uint64_t seconds)
{
    int8_t state;

    for (;;) {
        int code = control_read(c, &state, 1, seconds * XK_NS_PER_S, IPERF_E_RECVMESSAGE);
        if (code < 0)
            return code;
        if (state != IPERF_GREETING || !c->s->native || wanted != IPERF_PARAM_EXCHANGE)
            return state == wanted ? 0 : server_refusal(c, state);
        code = take_greeting(c);
        if (code < 0)
            return code;
    }
}

/* ---- connecting ---- */

static int connect_by(const struct client *c, int fd, const struct resolve_address *to, uint64_t ns)
{
    const struct resolve_limits limits = limits_in(c, ns);
    int error = 0;
    socklen_t bytes = sizeof(error);

    (void)fcntl(fd, F_SETFL, O_NONBLOCK);
    if (connect(fd, &to->any, to->bytes) == 0)
        return 0;
    if (errno != EINPROGRESS)
        return -errno;
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    const int code = resolve_wait(&p, 1, &limits);
    if (code < 0)
        return code;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &bytes) < 0)
        return -errno;
    return -error;
}

static uint64_t connect_ns(const struct client *c)
{
    return (c->s->connect_timeout_ms ? c->s->connect_timeout_ms : CONNECT_MS) * XK_NS_PER_MS;
}

static int open_connection(const struct client *c, int protocol)
{
    return socket(c->server->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, protocol);
}

/* One address of the server. ret_refused: the errno value when it was asked and did not answer. */
static int try_control(struct client *c, const struct resolve_limits *limits, int *ret_refused)
{
    const int on = 1;

    c->control = open_connection(c, 0);
    if (c->control < 0)
        return iperf_fail(c->err, IPERF_E_CONNECT, errno);
    int code = iperf_socket_bind(c->control, c->s, limits, c->server->any.sa_family, 0, IPERF_E_CONNECT, c->err);
    if (code == 0) {
        /* Results then come through where large packets vanish: that is told, instead of a time-out. */
        if (c->s->native)
            (void)setsockopt(c->control, IPPROTO_TCP, TCP_MAXSEG, &(int){CONTROL_MSS}, sizeof(int));
        /* The window of the streams is asked for here, too: the MSS and the route are then the same. */
        code = connect_by(c, c->control, c->server, connect_ns(c));
        if (code == 0) {
            (void)setsockopt(c->control, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
            return iperf_socket_keepalive(c->control, c->s, c->err);
        }
        *ret_refused = -code;
    }
    (void)close(c->control);
    c->control = -1;
    return code;
}

/* The addresses of the server, one after the other. */
static int connect_control(struct client *c)
{
    const struct resolve_limits limits = limits_in(c, connect_ns(c));
    int refused = 0;
    struct xk_err why = {0};
    int code = resolve_name(&c->servers, c->s->host, c->s->port, c->s->family, &limits, &why);

    if (code == -EINTR)
        return code;
    if (code < 0)
        return iperf_fail_because(c->err, IPERF_E_CONNECT, why.text);
    for (unsigned i = 0; i < c->servers.count; i++) {
        c->server = &c->servers.list[i];
        code = try_control(c, &limits, &refused);
        if (code == 0 || code == -EINTR)
            return code;
    }
    /* What a server answers says more than that our own address is of another family. */
    return refused ? iperf_fail(c->err, IPERF_E_CONNECT, refused) : code;
}

/* Its own end, as the user named it. */
static int bind_stream(const struct client *c, int fd, const struct resolve_limits *limits, uint16_t port)
{
    const int family = c->server->any.sa_family;

    if (c->test.params.protocol == IPERF_SCTP && c->s->xbind_count)
        return iperf_sctp_bind(fd, c->s, limits, family, port, c->err);
    return iperf_socket_bind(fd, c->s, limits, family, port, IPERF_E_STREAMCONNECT, c->err);
}

static int connect_stream(struct client *c, uint16_t port)
{
    const struct resolve_limits limits = limits_in(c, connect_ns(c));
    const struct iperf_params *const p = &c->test.params;
    const int fd = open_connection(c, p->protocol == IPERF_SCTP ? IPPROTO_SCTP : p->mptcp ? IPPROTO_MPTCP : 0);

    if (fd < 0)
        return iperf_fail(c->err, IPERF_E_STREAMCONNECT, errno);
    int code = iperf_socket_prepare(fd, &c->test, c->server->any.sa_family, c->err);
    if (code == 0)
        code = bind_stream(c, fd, &limits, port);
    if (code == 0)
        code = connect_by(c, fd, c->server, connect_ns(c));
    if (code == 0 && send(fd, c->test.cookie, IPERF_COOKIE_BYTES, MSG_NOSIGNAL) != IPERF_COOKIE_BYTES)
        code = iperf_fail(c->err, IPERF_E_SENDCOOKIE, errno);
    if (code == 0)
        return iperf_test_adopt(&c->test, fd, c->err);
    (void)close(fd);
    return code <= -IPERF_FAIL || code == -EINTR ? code : iperf_fail(c->err, IPERF_E_STREAMCONNECT, -code);
}

/* Say hello until the server answers; a lost datagram must not end the test. */
static int greet(struct client *c, int fd)
{
    const uint32_t hello = htole32(IPERF_HELLO_TO_SERVER);
    const uint64_t until = c->clock->monotonic_ns(c->clock) + IPERF_STREAMS_S * XK_NS_PER_S;
    uint8_t answer[IPERF_UDP_BLOCK_MAX];

    while (c->clock->monotonic_ns(c->clock) < until) {
        const struct resolve_limits limits = limits_in(c, HELLO_AGAIN_NS);
        if (send(fd, &hello, sizeof(hello), MSG_NOSIGNAL) < 0 && errno != ECONNREFUSED && errno != EAGAIN)
            return iperf_fail(c->err, IPERF_E_STREAMWRITE, errno);
        struct pollfd p = {.fd = fd, .events = POLLIN};
        const int code = resolve_wait(&p, 1, &limits);
        if (code == -EINTR)
            return code;
        /* A server that sends may be faster with its first data than with its answer: either will do. */
        if (code > 0 && recv(fd, answer, sizeof(answer), MSG_DONTWAIT) >= IPERF_HELLO_BYTES)
            return 0;
    }
    return iperf_fail(c->err, IPERF_E_STREAMREAD, ETIMEDOUT);
}

static int connect_udp_stream(struct client *c, uint16_t port)
{
    const struct resolve_limits limits = limits_in(c, connect_ns(c));
    const int fd = socket(c->server->any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return iperf_fail(c->err, IPERF_E_STREAMCONNECT, errno);
    int code = iperf_socket_prepare(fd, &c->test, c->server->any.sa_family, c->err);
    if (code == 0)
        code = iperf_socket_bind(fd, c->s, &limits, c->server->any.sa_family, port, IPERF_E_STREAMCONNECT, c->err);
    if (code == 0 && connect(fd, &c->server->any, c->server->bytes) < 0)
        code = -errno;
    if (code == 0)
        code = greet(c, fd);
    if (code == 0)
        return iperf_test_adopt(&c->test, fd, c->err);
    (void)close(fd);
    return code <= -IPERF_FAIL || code == -EINTR ? code : iperf_fail(c->err, IPERF_E_STREAMCONNECT, -code);
}

static int connect_streams(struct client *c)
{
    const unsigned count = iperf_test_streams(&c->test);
    int code = 0;

    for (unsigned i = 0; code == 0 && i < count; i++) {
        const uint16_t port = c->s->client_port ? (uint16_t)(c->s->client_port + i) : 0;
        code = c->test.params.protocol == IPERF_UDP ? connect_udp_stream(c, port) : connect_stream(c, port);
    }
    return code;
}

/* ---- the course of a test ---- */

static void trace(struct client *c, const char *what, const struct xk_buf *json)
{
    if (c->test.events->trace && !json->error)
        c->test.events->trace(c->test.events->context, &c->test, what, json->data, json->len);
}

static void make_cookie(char ret[IPERF_COOKIE_BYTES], const struct iperf_settings *s, struct xk_random *random)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz234567";

    for (int i = 0; i < IPERF_COOKIE_BYTES - 1; i++)
        ret[i] = letters[xk_random_below(random, sizeof(letters) - 1)];
    ret[IPERF_COOKIE_BYTES - 1] = '\0';
    if (s->native)
        memcpy(ret + IPERF_COOKIE_BYTES - sizeof(IPERF_MARK), IPERF_MARK, sizeof(IPERF_MARK));
    if (s->secret)
        memcpy(ret + IPERF_SECRET_AT, s->secret, IPERF_SECRET_BYTES - 1);
}

static int set_up(struct client *c, struct xk_random *random)
{
    struct iperf_test *const t = &c->test;
    struct iperf_address local;
    xk_auto(xk_buf_done) struct xk_buf b = XK_BUF_INIT(IPERF_PARAMS_BYTES);

    int code = connect_control(c);
    if (code < 0)
        return code;
    iperf_socket_ends(c->control, &local, &t->peer);
    make_cookie(t->cookie, c->s, random);
    t->control_fd = c->control;
    code = control_write(c, t->cookie, IPERF_COOKIE_BYTES, IPERF_E_SENDCOOKIE);
    if (code == 0)
        code = expect_state(c, IPERF_PARAM_EXCHANGE, IPERF_STREAMS_S);
    if (code < 0)
        return code;
    iperf_test_set_up(t, c->control);
    t->params.block_bytes = t->block_bytes;
    t->params.pacing_timer_us = t->params.pacing_timer_us ? t->params.pacing_timer_us : PACING_TIMER_US;
    if (c->s->user)
        code = iperf_auth_make(t->params.authtoken, sizeof(t->params.authtoken), c->s,
                               c->clock->utc_ns(c->clock) / (int64_t)XK_NS_PER_S, c->err);
    if (code < 0)
        return code;
    iperf_params_encode(&b, &t->params);
    trace(c, "send_parameters", &b);
    code = send_document(c, &b, IPERF_E_SENDPARAMS);
    if (code < 0)
        return code;
    t->events->connecting(t->events->context, t);
    if (code == 0)
        code = expect_state(c, IPERF_CREATE_STREAMS, IPERF_STREAMS_S);
    if (code == 0 && t->events->ready)
        code = t->events->ready(t->events->context, t, c->err);
    if (code == 0)
        code = connect_streams(c);
    if (code == 0)
        code = expect_state(c, IPERF_TEST_START, IPERF_STREAMS_S);
    if (code == 0)
        code = expect_state(c, IPERF_TEST_RUNNING, IPERF_STREAMS_S);
    return code == 0 ? iperf_test_start(t, c->err) : code;
}

/* What the end of a stream or the lack of data means. returns 0: go on. */
static int look_at_streams(struct client *c)
{
    struct iperf_test *const t = &c->test;
    bool sending = false;
    uint64_t count;

    while (read(t->wake_fd, &count, sizeof(count)) > 0)
        continue;
    const int failure = iperf_test_failure(t, &sending);
    /* The server's own message, when there is one, says more than a broken connection. */
    if (failure && failure != EPIPE && failure != ECONNRESET)
        return iperf_fail(c->err, sending ? IPERF_E_STREAMWRITE : IPERF_E_STREAMREAD, failure);
    if (iperf_test_idle(t, c->s->rcv_timeout_ms))
        return iperf_fail(c->err, IPERF_E_NOMSG, 0);
    return 0;
}

static uint64_t time_of_end(const struct iperf_test *t)
{
    if (t->phase != IPERF_MEASURING || !t->params.time_s || t->params.bytes || t->params.blocks)
        return UINT64_MAX;
    return t->start_ns + t->params.time_s * XK_NS_PER_S;
}

static int run(struct client *c)
{
    struct iperf_test *const t = &c->test;

    for (;;) {
        if (iperf_test_over(t))
            return 0;
        const uint64_t tick = iperf_test_tick(t);
        const uint64_t patience = iperf_now_ns() + XK_NS_PER_S;
        const uint64_t next = XK_MIN(XK_MIN(tick, time_of_end(t)), patience);
        const uint64_t now = iperf_now_ns();
        const struct resolve_limits limits = limits_in(c, next > now ? next - now : 1);
        struct pollfd fds[] = {{.fd = c->control, .events = POLLIN}, {.fd = t->wake_fd, .events = POLLIN}};
        int code = resolve_wait(fds, XK_COUNT(fds), &limits);
        if (code < 0 && code != -ETIMEDOUT)
            return code;
        if (code > 0 && fds[0].revents) {
            int8_t state;
            code = control_read(c, &state, 1, XK_NS_PER_S, IPERF_E_RECVMESSAGE);
            return code < 0 ? code : server_refusal(c, state);
        }
        code = look_at_streams(c);
        if (code < 0)
            return code;
    }
}

/*
 * Tell the server that the test is over, and stop. What it has sent by the time that it hears of this is waited for
 * where it is one of ours, which tells how many datagrams that were: otherwise the last ones would look lost.
 */
static int end(struct client *c)
{
    struct iperf_test *const t = &c->test;
    const struct iperf_params *const p = &t->params;
    const bool drains = t->greeting.version && p->protocol == IPERF_UDP && (p->reverse || p->bidirectional);

    if (drains) {
        t->far_sends = true;
        (void)iperf_test_drained(t);
    } else {
        iperf_test_stop(t);
    }
    int code = send_state(c, IPERF_TEST_END);
    if (code == 0)
        code = expect_state(c, IPERF_EXCHANGE_RESULTS, IPERF_STREAMS_S);
    t->far_sends = false;
    const uint64_t until = iperf_now_ns() + IPERF_DRAIN_S * XK_NS_PER_S;
    while (code == 0 && drains && !iperf_test_drained(t) && iperf_now_ns() < until)
        c->clock->sleep_ns(c->clock, DRAIN_LOOK_NS);
    iperf_test_stop(t);
    return code;
}

static int exchange(struct client *c)
{
    struct iperf_test *const t = &c->test;
    xk_auto(xk_buf_done) struct xk_buf b = XK_BUF_INIT(IPERF_RESULTS_BYTES);
    xk_autofree struct iperf_results *r = xk_zalloc(sizeof(*r));
    xk_autofree char *json = NULL;
    uint32_t length;

    if (!r)
        return xk_fail_memory(c->err);
    iperf_test_results(t, r);
    iperf_results_encode(&b, r);
    iperf_results_done(r);
    trace(c, "send_results", &b);
    int code = send_document(c, &b, IPERF_E_SENDRESULTS);
    if (code == 0)
        code = control_read(c, &length, sizeof(length), IPERF_STREAMS_S * XK_NS_PER_S, IPERF_E_RECVRESULTS);
    if (code < 0)
        return code;
    length = be32toh(length);
    json = length <= IPERF_RESULTS_BYTES ? xk_alloc((size_t)length + 1) : NULL;
    if (!json)
        return iperf_fail(c->err, IPERF_E_RECVRESULTS, length <= IPERF_RESULTS_BYTES ? ENOMEM : EMSGSIZE);
    code = control_read(c, json, length, IPERF_STREAMS_S * XK_NS_PER_S, IPERF_E_RECVRESULTS);
    if (code < 0)
        return code;
    if (t->events->trace)
        t->events->trace(t->events->context, t, "get_results", json, length);
    code = iperf_results_decode(r, json, length, NULL);
    if (code == 0)
        code = iperf_test_take(t, r, c->err);
    else
        code = iperf_fail(c->err, IPERF_E_RECVRESULTS, EBADMSG);
    iperf_results_done(r);
    return code < 0 ? code : expect_state(c, IPERF_DISPLAY_RESULTS, IPERF_STREAMS_S);
}

/* A signal: what there is so far is told, and the server learns that we went. */
static int interrupted(struct client *c)
{
    iperf_test_stop(&c->test);
    const int8_t byte = IPERF_CLIENT_TERMINATE;
    if (c->control >= 0)
        (void)send(c->control, &byte, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (c->test.phase == IPERF_ENDED)
        (void)iperf_test_finish(&c->test, NULL);
    return xk_fail(c->err, -EINTR, "interrupt - the client has terminated");
}

int iperf_client(const struct iperf_settings *s, const struct iperf_events *events, const struct xk_clock *clock,
                 struct xk_random *random, struct xk_err *err)
{
    xk_autofree struct client *c = xk_zalloc(sizeof(*c));

    if (!c)
        return xk_fail_memory(err);
    *c = (struct client){.s = s, .clock = clock, .control = -1, .err = err};
    c->test.wake_fd = -1;
    int code = iperf_test_init(&c->test, s, events, clock, err);
    c->test.params = s->params;
    if (code == 0)
        code = set_up(c, random);
    if (code == 0)
        code = run(c);
    if (code == 0)
        code = end(c);
    if (code == 0)
        code = exchange(c);
    if (code == 0)
        code = iperf_test_finish(&c->test, err);
    if (code == 0)
        code = send_state(c, IPERF_DONE);
    else if (code == -EINTR)
        code = interrupted(c);
    events->gone(events->context, &c->test);
    iperf_test_done(&c->test);
    if (c->control >= 0)
        (void)close(c->control);
    return code;
}
