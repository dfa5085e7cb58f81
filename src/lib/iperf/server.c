/*
 * The server: an event loop with a deadline on every connection; streams run in threads of their own.
 *
 * A new connection says who it is by 37 bytes: the cookie of a test that waits for streams makes it a stream, any other
 * begins a test or is told that the server is busy. The listener stays open all the time, so nobody meets a closed
 * port between two tests; iperf3 itself opens it anew for each.
 */
#include "lib/iperf/inner.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define STOP_CHECK_MS  50
#define TICK_MS        5  /* while receivers take what is under way, while greetings may come again */
#define GRACE_S        10 /* a client may be later than it said by this */
#define BACKLOG        1024
#define ECHOES_AT_ONCE 64
#define HELLO_LEGACY   123456789u /* up to 3.11, in the byte order of the client */
#define ANSWER_LEGACY  987654321u

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
    uint64_t rate_from_ns, rate_from_bytes;
    struct session *next, **link;
};

/* A connection that has not said its cookie yet. */
struct stranger {
    struct server *server;
    struct event *event;
    char cookie[IPERF_COOKIE_BYTES];
    size_t have;
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
    int tcp_fd, udp_fd;
    struct event *tcp_event, *udp_event, *stop_timer;
    uint16_t port;
    struct session *sessions;
    struct stranger *strangers;
    unsigned stranger_count;
    struct waiter *line; /* first come, first served */
    unsigned served;
    bool finished; /* one test was asked for, and it is over */
    uint64_t quiet_since_ns;
    int code;
    struct xk_err *err;
};

static void end_session(struct session *x);
static void all_streams_stand(struct session *x);
static void next_in_line(struct server *server);

/* ---- telling the client ---- */

static void say_state(struct session *x, int state)
{
    const int8_t byte = (int8_t)state;

    (void)bufferevent_write(x->control, &byte, 1);
}

/* The test ends here: the client and our own user learn why. */
static void fail_session(struct session *x, int number, int system)
{
    const uint32_t numbers[] = {htobe32((uint32_t)number), htobe32((uint32_t)system)};
    struct server *const server = x->server;
    struct xk_err err = {0};

    (void)iperf_fail(&err, number, system);
    say_state(x, IPERF_SERVER_ERROR);
    (void)bufferevent_write(x->control, numbers, sizeof(numbers));
    iperf_test_stop(&x->test);
    server->events->failed(server->events->context, &x->test, &err);
    end_session(x);
}

/* The client went or spoke nonsense: nobody is left to be told. */
static void drop_session(struct session *x, int number, int system)
{
    struct server *const server = x->server;
    struct xk_err err = {0};

    (void)iperf_fail(&err, number, system);
    const bool running = x->step == RUNNING || x->step == DRAINING;
    iperf_test_stop(&x->test);
    if (running)
        (void)iperf_test_finish(&x->test, NULL);
    server->events->failed(server->events->context, &x->test, &err);
    end_session(x);
}

static void close_echo(struct session *x)
{
    if (!x->echo)
        return;
    const int fd = event_get_fd(x->echo);
    event_free(x->echo);
    (void)close(fd);
    x->echo = NULL;
}

static void free_session(struct session *x)
{
    if (x->timer)
        event_free(x->timer);
    if (x->wake)
        event_free(x->wake);
    close_echo(x);
    x->server->events->gone(x->server->events->context, &x->test);
    iperf_test_done(&x->test);
    free(x);
}

/* Once its last bytes have gone, the control connection closes by itself. */
static void control_flushed(struct bufferevent *b, void *context)
{
    bufferevent_free(b);
}

static void control_lost(struct bufferevent *b, short what, void *context)
{
    bufferevent_free(b);
}

static void end_session(struct session *x)
{
    struct server *const server = x->server;
    const struct timeval patience = {.tv_sec = IPERF_HANDSHAKE_S};

    *x->link = x->next;
    if (x->next)
        x->next->link = x->link;
    if (x->control && evbuffer_get_length(bufferevent_get_output(x->control))) {
        bufferevent_setcb(x->control, NULL, control_flushed, control_lost, NULL);
        (void)bufferevent_set_timeouts(x->control, NULL, &patience);
        (void)bufferevent_enable(x->control, EV_WRITE);
        (void)bufferevent_disable(x->control, EV_READ);
    } else if (x->control) {
        bufferevent_free(x->control);
    }
    x->control = NULL;
    free_session(x);
    server->quiet_since_ns = iperf_now_ns();
    if (server->s->one_off)
        server->finished = true;
    else if (server->line)
        next_in_line(server);
    else
        server->events->listening(server->events->context, server->s, server->port, server->served + 1);
}

/* ---- the steps of a test ---- */

static void enter(struct session *x, enum step step, uint64_t seconds)
{
    x->step = step;
    x->deadline_ns = seconds ? iperf_now_ns() + seconds * XK_NS_PER_S : UINT64_MAX;
    x->has_length = false;
}

static void set_timer(struct session *x, uint64_t at_ns)
{
    const uint64_t now = iperf_now_ns();
    const uint64_t ns = at_ns > now ? at_ns - now : 0;
    const struct timeval in = {.tv_sec = (time_t)(ns / XK_NS_PER_S), .tv_usec = (suseconds_t)(ns % XK_NS_PER_S / 1000)};

    (void)event_add(x->timer, &in);
}

/* What the parameters ask for against what this server allows. returns 0 or the error's number. */
static int check_limits(const struct session *x, struct xk_err *err)
{
    const struct iperf_settings *const s = x->server->s;
    const struct iperf_params *const p = &x->test.params;
    const uint64_t total = p->rate_bps * p->parallel * (p->bidirectional ? 2 : 1);

    if (p->protocol == IPERF_SCTP)
        return IPERF_E_NOSCTP;
    if (s->max_duration_s && (p->time_s == 0 || p->time_s + p->omit_s > s->max_duration_s))
        return IPERF_E_MAXSERVERTESTDURATION;
    if (s->rate_limit_bps && total > s->rate_limit_bps)
        return IPERF_E_TOTALRATE;
    if (s->private_key &&
        iperf_auth_check(s, p->authtoken, x->server->clock->utc_ns(x->server->clock) / (int64_t)XK_NS_PER_S, err) < 0)
        return IPERF_E_AUTHTEST;
    return 0;
}

static void take_params(struct session *x, const char *json, size_t bytes)
{
    struct server *const server = x->server;
    struct iperf_test *const t = &x->test;
    struct xk_err err;

    if (t->events->trace)
        t->events->trace(t->events->context, t, "get_parameters", json, bytes);
    if (iperf_params_decode(&t->params, json, bytes, &err) < 0)
        return fail_session(x, IPERF_E_RECVPARAMS, EBADMSG);
    iperf_test_set_up(t, x->control_fd);
    server->events->accepted(server->events->context, t);
    const int refused = check_limits(x, &err);
    if (refused)
        return fail_session(x, refused, 0);
    /* A window has to be known before the connection is made: accepted sockets take it from the listener. */
    if (t->params.window_bytes && t->params.protocol == IPERF_TCP &&
        iperf_socket_prepare(server->tcp_fd, t, AF_UNSPEC, &err) < 0)
        return fail_session(x, iperf_error_of(err.code, IPERF_E_SETBUF), 0);
    enter(x, AWAIT_STREAMS, IPERF_STREAMS_S);
    set_timer(x, iperf_now_ns() + TICK_MS * XK_NS_PER_MS);
    say_state(x, IPERF_CREATE_STREAMS);
}

static int open_listeners(struct server *server, uint16_t port, struct xk_err *err);

static void all_streams_stand(struct session *x)
{
    struct iperf_test *const t = &x->test;
    struct xk_err err;

    if (t->params.window_bytes)
        (void)open_listeners(x->server, x->server->port, NULL);
    say_state(x, IPERF_TEST_START);
    say_state(x, IPERF_TEST_RUNNING);
    enter(x, RUNNING, t->params.time_s ? t->params.omit_s + t->params.time_s + GRACE_S : 0);
    const int code = iperf_test_start(t, &err);
    if (code < 0)
        return fail_session(x, iperf_error_of(code, IPERF_E_INITSTREAM), 0);
    x->rate_from_ns = iperf_now_ns();
    set_timer(x, iperf_test_tick(t));
}

static void begin_drain(struct session *x)
{
    enter(x, DRAINING, IPERF_DRAIN_S);
    set_timer(x, 0);
}

static void drained(struct session *x)
{
    iperf_test_stop(&x->test);
    enter(x, AWAIT_RESULTS, IPERF_STREAMS_S);
    set_timer(x, x->deadline_ns);
    say_state(x, IPERF_EXCHANGE_RESULTS);
}

static void take_results(struct session *x, const char *json, size_t bytes)
{
    struct server *const server = x->server;
    xk_auto(xk_buf_done) struct xk_buf b = XK_BUF_INIT(IPERF_RESULTS_BYTES);
    xk_autofree struct iperf_results *r = xk_zalloc(sizeof(*r));
    struct xk_err err;

    if (!r)
        return fail_session(x, IPERF_E_RECVRESULTS, ENOMEM);
    if (server->events->trace)
        server->events->trace(server->events->context, &x->test, "get_results", json, bytes);
    if (iperf_results_decode(r, json, bytes, NULL) < 0)
        return fail_session(x, IPERF_E_RECVRESULTS, EBADMSG);
    const bool has_omitted = r->has_omitted;
    int code = iperf_test_take(&x->test, r, &err);
    iperf_results_done(r);
    if (code < 0)
        return fail_session(x, iperf_error_of(code, IPERF_E_RECVRESULTS), 0);
    code = iperf_test_finish(&x->test, &err);
    if (code < 0)
        return fail_session(x, IPERF_E_PACKAGERESULTS, ENOMEM);
    iperf_test_results(&x->test, r);
    /* A side that does not know what was omitted takes every error for a real one. */
    r->has_omitted = has_omitted;
    if (x->test.params.get_server_output) {
        bool json_output = false;
        char *const output = server->events->output(server->events->context, &x->test, &json_output);
        *(json_output ? &r->server_json : &r->server_text) = output;
    }
    iperf_results_encode(&b, r);
    iperf_results_done(r);
    if (b.error)
        return fail_session(x, IPERF_E_PACKAGERESULTS, -b.error);
    if (server->events->trace)
        server->events->trace(server->events->context, &x->test, "send_results", b.data, b.len);
    const uint32_t length = htobe32((uint32_t)b.len);
    (void)bufferevent_write(x->control, &length, sizeof(length));
    (void)bufferevent_write(x->control, b.data, b.len);
    say_state(x, IPERF_DISPLAY_RESULTS);
    enter(x, AWAIT_DONE, IPERF_STREAMS_S);
    set_timer(x, x->deadline_ns);
    next_in_line(server);
}

static void take_state(struct session *x, int state)
{
    if (state == IPERF_CLIENT_TERMINATE)
        return drop_session(x, IPERF_E_CLIENTTERM, 0);
    if (x->step == RUNNING && state == IPERF_TEST_END)
        return begin_drain(x);
    if (x->step == AWAIT_DONE && state == IPERF_DONE)
        return end_session(x);
    fail_session(x, IPERF_E_MESSAGE, 0);
}

/* A length and a document. returns whether it was there; the session may be gone then. */
static bool read_document(struct session *x, uint32_t most, int error)
{
    struct evbuffer *const in = bufferevent_get_input(x->control);

    if (!x->has_length) {
        uint32_t length;
        if (evbuffer_get_length(in) < sizeof(length))
            return false;
        (void)evbuffer_remove(in, &length, sizeof(length));
        x->length = be32toh(length);
        x->has_length = true;
        if (x->length > most) {
            fail_session(x, error, EMSGSIZE);
            return true;
        }
    }
    if (evbuffer_get_length(in) < x->length)
        return false;
    xk_autofree char *json = xk_alloc((size_t)x->length + 1);
    if (!json) {
        fail_session(x, error, ENOMEM);
        return true;
    }
    (void)evbuffer_remove(in, json, x->length);
    (x->step == AWAIT_PARAMS ? take_params : take_results)(x, json, x->length);
    return true;
}

static void control_readable(struct bufferevent *b, void *context)
{
    struct session *const x = context;
    int8_t state;

    if (x->step == AWAIT_PARAMS) {
        (void)read_document(x, IPERF_PARAMS_BYTES, IPERF_E_RECVPARAMS);
    } else if (x->step == AWAIT_RESULTS) {
        (void)read_document(x, IPERF_RESULTS_BYTES, IPERF_E_RECVRESULTS);
    } else if (evbuffer_remove(bufferevent_get_input(b), &state, 1) == 1) {
        take_state(x, state);
    }
}

static void control_event(struct bufferevent *b, short what, void *context)
{
    struct session *const x = context;

    if (x->step == AWAIT_DONE)
        end_session(x); /* it has everything */
    else
        drop_session(x, IPERF_E_CTRLCLOSE, 0);
}

/* ---- time ---- */

static uint64_t all_bytes(const struct iperf_test *t)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < t->flow_count; i++)
        sum += t->flows[i].bytes;
    return sum;
}

static bool over_rate(struct session *x)
{
    const struct iperf_settings *const s = x->server->s;
    const uint64_t now = iperf_now_ns();
    const double seconds = (double)(now - x->rate_from_ns) / 1e9;

    if (!s->rate_limit_bps || seconds < s->rate_limit_s)
        return false;
    const uint64_t bytes = all_bytes(&x->test);
    const double rate = (double)(bytes - x->rate_from_bytes) * 8 / seconds;
    x->rate_from_ns = now;
    x->rate_from_bytes = bytes;
    return rate > (double)s->rate_limit_bps;
}

/* A client whose answer was lost says hello again, to the socket that is connected to it by now. */
static void answer_again(const struct session *x)
{
    const uint32_t answer = htole32(IPERF_HELLO_TO_CLIENT);
    uint32_t hello;

    for (unsigned i = 0; x->test.params.protocol == IPERF_UDP && i < x->test.flow_count; i++) {
        while (recv(x->test.flows[i].fd, &hello, sizeof(hello), MSG_DONTWAIT | MSG_TRUNC) == IPERF_HELLO_BYTES)
            (void)send(x->test.flows[i].fd, &answer, sizeof(answer), MSG_DONTWAIT | MSG_NOSIGNAL);
    }
}

static void session_timer(evutil_socket_t fd, short what, void *context)
{
    struct session *const x = context;
    const uint64_t now = iperf_now_ns();

    if (x->step == DRAINING) {
        if (iperf_test_drained(&x->test) || now >= x->deadline_ns)
            return drained(x);
        return set_timer(x, now + TICK_MS * XK_NS_PER_MS);
    }
    if (now >= x->deadline_ns) {
        static const int numbers[] = {[AWAIT_PARAMS] = IPERF_E_RECVPARAMS,
                                      [AWAIT_STREAMS] = IPERF_E_STREAMACCEPT,
                                      [RUNNING] = IPERF_E_SERVERTESTDURATION,
                                      [AWAIT_RESULTS] = IPERF_E_RECVRESULTS,
                                      [AWAIT_DONE] = IPERF_E_RECVMESSAGE};
        return fail_session(x, numbers[x->step], ETIMEDOUT);
    }
    if (x->step == AWAIT_STREAMS) {
        answer_again(x);
        return set_timer(x, now + TICK_MS * XK_NS_PER_MS);
    }
    if (x->step != RUNNING)
        return set_timer(x, x->deadline_ns);
    const uint64_t tick = iperf_test_tick(&x->test);
    if (iperf_test_idle(&x->test, x->server->s->rcv_timeout_ms))
        return fail_session(x, IPERF_E_NOMSG, 0);
    if (over_rate(x))
        return fail_session(x, IPERF_E_TOTALRATE, 0);
    set_timer(x, XK_MIN(XK_MIN(tick, x->deadline_ns), now + XK_NS_PER_S / 10));
}

/* A stream ended or failed. Connections that broke are the client's business, which will speak on the control one. */
static void session_woken(evutil_socket_t fd, short what, void *context)
{
    struct session *const x = context;
    bool sending = false;
    uint64_t count;

    (void)!read(fd, &count, sizeof(count));
    const int failure = iperf_test_failure(&x->test, &sending);
    if (x->step == RUNNING && failure && failure != EPIPE && failure != ECONNRESET)
        fail_session(x, sending ? IPERF_E_STREAMWRITE : IPERF_E_STREAMREAD, failure);
}

/* ---- newcomers ---- */

/* One of ours is told who we are, and whether it has to wait. It has nothing unsent, so this never blocks. */
static void greet(const struct server *server, int fd, const char *cookie, unsigned place)
{
    struct iperf_greeting g = {.version = 1, .place = place, .echo = true};
    xk_auto(xk_buf_done) struct xk_buf b = XK_BUF_INIT(IPERF_GREETING_BYTES);
    const int8_t state = IPERF_GREETING;
    uint32_t length = 0;

    if (!server->s->program || !iperf_cookie_is_marked(cookie))
        return;
    snprintf(g.program, sizeof(g.program), "%s", server->s->program);
    xk_buf_add(&b, &state, sizeof(state));
    xk_buf_add(&b, &length, sizeof(length));
    iperf_greeting_encode(&b, &g);
    if (b.error)
        return;
    length = htobe32((uint32_t)(b.len - sizeof(state) - sizeof(length)));
    memcpy(b.data + sizeof(state), &length, sizeof(length));
    (void)send(fd, b.data, b.len, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void begin_session(struct server *server, int fd, const char cookie[IPERF_COOKIE_BYTES])
{
    struct session *const x = xk_zalloc(sizeof(*x));
    const int on = 1;
    socklen_t bytes = sizeof(x->peer);

    if (!x) {
        (void)close(fd);
        return;
    }
    x->server = server;
    x->test.wake_fd = -1;
    x->control_fd = x->test.control_fd = fd;
    x->test.server = true;
    x->test.number = ++server->served;
    memcpy(x->test.cookie, cookie, IPERF_COOKIE_BYTES - 1);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    (void)getpeername(fd, (struct sockaddr *)&x->peer, &bytes);
    x->local_bytes = sizeof(x->local);
    (void)getsockname(fd, (struct sockaddr *)&x->local, &x->local_bytes);
    struct iperf_address local;
    iperf_socket_ends(fd, &local, &x->test.peer);
    const int code = iperf_test_init(&x->test, server->s, server->events, server->clock, NULL);
    x->control = bufferevent_socket_new(server->base, fd, BEV_OPT_CLOSE_ON_FREE);
    x->timer = evtimer_new(server->base, session_timer, x);
    x->wake = code == 0 ? event_new(server->base, x->test.wake_fd, EV_READ | EV_PERSIST, session_woken, x) : NULL;
    if (code < 0 || !x->control || !x->timer || !x->wake) {
        if (x->control)
            bufferevent_free(x->control);
        else
            (void)close(fd);
        free_session(x);
        return;
    }
    (void)iperf_socket_keepalive(fd, server->s, NULL);
    x->next = server->sessions;
    x->link = &server->sessions;
    if (x->next)
        x->next->link = &x->next;
    server->sessions = x;
    bufferevent_setcb(x->control, control_readable, NULL, control_event, x);
    bufferevent_setwatermark(x->control, EV_READ, 0, IPERF_RESULTS_BYTES + IPERF_PARAMS_BYTES);
    greet(server, fd, cookie, 0);
    (void)bufferevent_enable(x->control, EV_READ | EV_WRITE);
    (void)event_add(x->wake, NULL);
    enter(x, AWAIT_PARAMS, IPERF_HANDSHAKE_S);
    set_timer(x, x->deadline_ns);
    say_state(x, IPERF_PARAM_EXCHANGE);
}

static bool take_stream(struct session *x, int fd)
{
    struct xk_err err;

    const int code = iperf_socket_prepare(fd, &x->test, x->peer.ss_family, &err);
    if (code < 0) {
        (void)close(fd);
        fail_session(x, iperf_error_of(code, IPERF_E_STREAMACCEPT), 0);
        return false;
    }
    const int adopted = iperf_test_adopt(&x->test, fd, &err);
    if (adopted < 0)
        fail_session(x, iperf_error_of(adopted, IPERF_E_CREATESTREAM), ENOMEM);
    else if (x->test.flow_count == iperf_test_streams(&x->test))
        all_streams_stand(x);
    return adopted == 0;
}

/* ---- the line ---- */

/* A client that has its results is in nobody's way, even when its goodbye never comes. */
static unsigned tests_at_work(const struct server *server)
{
    unsigned count = 0;

    for (const struct session *x = server->sessions; x; x = x->next)
        count += x->step != AWAIT_DONE;
    return count;
}

static void leave_line(struct waiter *w)
{
    struct waiter **link = &w->server->line;

    while (*link != w)
        link = &(*link)->next;
    *link = w->next;
    if (w->server->events->in_line)
        w->server->events->in_line(w->server->events->context, &w->peer, 0);
    event_free(w->event);
    free(w);
}

/* A client in line has nothing to say; when it does, or when it closes, it is no client any more. */
static void waiter_speaks(evutil_socket_t fd, short what, void *context)
{
    struct waiter *const w = context;
    struct server *const server = w->server;
    char byte;

    if (what & EV_TIMEOUT)
        return greet(w->server, fd, w->cookie, w->place);
    if (recv(fd, &byte, 1, MSG_DONTWAIT) < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    leave_line(w);
    (void)close(fd);
    unsigned place = 1;
    for (struct waiter *o = server->line; o; o = o->next)
        o->place = place++;
}

/* returns whether there was room. */
static bool join_line(struct server *server, int fd, const char cookie[IPERF_COOKIE_BYTES])
{
    const struct timeval often = {.tv_sec = IPERF_WAITING_S};
    struct iperf_address local;
    struct waiter **link = &server->line;
    unsigned place = 1;

    for (; *link; link = &(*link)->next)
        place++;
    struct waiter *const w = place <= server->s->waiting ? xk_zalloc(sizeof(*w)) : NULL;
    if (!w)
        return false;
    w->event = event_new(server->base, fd, EV_READ | EV_PERSIST, waiter_speaks, w);
    if (!w->event || event_add(w->event, &often) < 0) {
        if (w->event)
            event_free(w->event);
        free(w);
        return false;
    }
    w->server = server;
    w->place = place;
    memcpy(w->cookie, cookie, IPERF_COOKIE_BYTES);
    iperf_socket_ends(fd, &local, &w->peer);
    *link = w;
    greet(server, fd, cookie, place);
    if (server->events->in_line)
        server->events->in_line(server->events->context, &w->peer, place);
    return true;
}

static void next_in_line(struct server *server)
{
    char cookie[IPERF_COOKIE_BYTES];

    while (server->line && tests_at_work(server) < server->s->multi) {
        struct waiter *const w = server->line;
        const int fd = event_get_fd(w->event);
        memcpy(cookie, w->cookie, sizeof(cookie));
        leave_line(w);
        for (struct waiter *o = server->line; o; o = o->next)
            greet(server, event_get_fd(o->event), o->cookie, --o->place);
        begin_session(server, fd, cookie);
    }
}

static void cookie_known(struct server *server, int fd, const char cookie[IPERF_COOKIE_BYTES])
{
    const int8_t denied = IPERF_ACCESS_DENIED;

    for (struct session *x = server->sessions; x; x = x->next) {
        if (x->step == AWAIT_STREAMS && x->test.params.protocol == IPERF_TCP &&
            memcmp(x->test.cookie, cookie, IPERF_COOKIE_BYTES - 1) == 0) {
            (void)take_stream(x, fd);
            return;
        }
    }
    if (tests_at_work(server) < server->s->multi && !server->line && !server->finished)
        return begin_session(server, fd, cookie);
    if (server->s->waiting && !server->finished && join_line(server, fd, cookie))
        return;
    (void)send(fd, &denied, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)close(fd);
}

static int leave(struct stranger *g)
{
    const int fd = event_get_fd(g->event);

    *g->link = g->next;
    if (g->next)
        g->next->link = g->link;
    g->server->stranger_count--;
    event_free(g->event);
    free(g);
    return fd;
}

static void stranger_readable(evutil_socket_t fd, short what, void *context)
{
    struct stranger *const g = context;
    struct server *const server = g->server;
    char cookie[IPERF_COOKIE_BYTES];

    const ssize_t n = what & EV_TIMEOUT ? 0 : recv(fd, g->cookie + g->have, sizeof(g->cookie) - g->have, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        (void)close(leave(g));
        return;
    }
    g->have += (size_t)n;
    if (g->have < sizeof(g->cookie))
        return;
    memcpy(cookie, g->cookie, sizeof(cookie));
    cookie_known(server, leave(g), cookie);
}

static void newcomer(evutil_socket_t fd, short what, void *context)
{
    struct server *const server = context;
    const struct timeval patience = {.tv_sec = IPERF_HANDSHAKE_S};

    const int connection = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (connection < 0)
        return;
    struct stranger *const g = server->stranger_count < IPERF_PENDING_MAX ? xk_zalloc(sizeof(*g)) : NULL;
    struct event *const event =
        g ? event_new(server->base, connection, EV_READ | EV_PERSIST, stranger_readable, g) : NULL;
    if (!event) {
        free(g);
        (void)close(connection);
        return;
    }
    *g = (struct stranger){.server = server, .event = event, .next = server->strangers, .link = &server->strangers};
    if (g->next)
        g->next->link = &g->next;
    server->strangers = g;
    server->stranger_count++;
    (void)event_add(event, &patience);
}

static bool same_host(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
    if (a->ss_family != b->ss_family)
        return false;
    if (a->ss_family == AF_INET6)
        return memcmp(&((const struct sockaddr_in6 *)a)->sin6_addr, &((const struct sockaddr_in6 *)b)->sin6_addr,
                      sizeof(struct in6_addr)) == 0;
    return ((const struct sockaddr_in *)a)->sin_addr.s_addr == ((const struct sockaddr_in *)b)->sin_addr.s_addr;
}

/* A socket that only hears this client, from the address that it spoke to. returns -1 with errno. */
static int udp_towards(const struct session *x, const struct sockaddr_storage *from, socklen_t bytes)
{
    const int fd = socket(from->ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const int on = 1;

    if (fd < 0)
        return -1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, (const struct sockaddr *)&x->local, x->local_bytes) < 0 ||
        connect(fd, (const struct sockaddr *)from, bytes) < 0) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

/* An echo goes back only within a test that asked for them, to the socket that asked first. */
static void answer_echo(const struct session *x, int fd, uint8_t *bytes, size_t count, uint64_t came_ns)
{
    struct iperf_echo e;

    if (iperf_echo_decode(&e, bytes, count) < 0 || e.kind == IPERF_ECHO_ANSWER ||
        memcmp(e.token, x->test.cookie, sizeof(e.token)) != 0)
        return;
    const size_t answer = e.kind == IPERF_ECHO_ASK_LARGE ? count : IPERF_ECHO_BYTES;
    e.kind = IPERF_ECHO_ANSWER;
    e.came_ns = came_ns;
    e.answered_ns = iperf_now_ns();
    iperf_echo_encode(bytes, &e);
    (void)send(fd, bytes, answer, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void echo_readable(evutil_socket_t fd, short what, void *context)
{
    const struct session *const x = context;
    uint8_t bytes[IPERF_UDP_BLOCK_MAX];
    uint64_t came_ns;

    for (int i = 0; i < ECHOES_AT_ONCE; i++) {
        const ssize_t n = iperf_echo_receive(fd, bytes, sizeof(bytes), &came_ns);
        if (n < 0)
            return;
        if ((size_t)n <= sizeof(bytes))
            answer_echo(x, fd, bytes, (size_t)n, came_ns);
    }
}

/* Answers that show whether a packet of their size passes must not go in pieces. */
static void never_cut_up(int fd, int family)
{
    const int four = IP_PMTUDISC_PROBE, six = IPV6_PMTUDISC_PROBE;

    (void)setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &four, sizeof(four));
    if (family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &six, sizeof(six));
}

static void first_echo(struct server *server, uint8_t *bytes, size_t count, const struct sockaddr_storage *from,
                       socklen_t from_bytes)
{
    struct iperf_echo e;

    if (iperf_echo_decode(&e, bytes, count) < 0 || e.kind == IPERF_ECHO_ANSWER)
        return;
    for (struct session *x = server->sessions; x; x = x->next) {
        if (!x->test.params.echo || x->echo || x->step < AWAIT_STREAMS || !same_host(&x->peer, from) ||
            memcmp(e.token, x->test.cookie, sizeof(e.token)) != 0)
            continue;
        const int fd = udp_towards(x, from, from_bytes);
        if (fd < 0)
            return;
        iperf_echo_prepare(fd);
        never_cut_up(fd, from->ss_family);
        x->echo = event_new(server->base, fd, EV_READ | EV_PERSIST, echo_readable, x);
        if (!x->echo || event_add(x->echo, NULL) < 0) {
            if (x->echo)
                event_free(x->echo);
            x->echo = NULL;
            (void)close(fd);
            return;
        }
        return answer_echo(x, fd, bytes, count, iperf_now_ns());
    }
}

/* Hello is answered only to the host that asked for a test, while its streams are awaited. */
static void udp_hello(evutil_socket_t fd, short what, void *context)
{
    struct server *const server = context;
    struct sockaddr_storage from = {0};
    socklen_t bytes = sizeof(from);
    uint8_t datagram[IPERF_ECHO_BYTES];
    uint32_t hello = 0;

    const ssize_t n = recvfrom(fd, datagram, sizeof(datagram), MSG_DONTWAIT, (struct sockaddr *)&from, &bytes);
    if (n == IPERF_ECHO_BYTES)
        return first_echo(server, datagram, sizeof(datagram), &from, bytes);
    if (n != IPERF_HELLO_BYTES)
        return;
    memcpy(&hello, datagram, sizeof(hello));
    const bool legacy = hello == HELLO_LEGACY || hello == __builtin_bswap32(HELLO_LEGACY);
    const uint32_t answer = hello == HELLO_LEGACY ? ANSWER_LEGACY
                            : legacy              ? __builtin_bswap32(ANSWER_LEGACY)
                                                  : htole32(IPERF_HELLO_TO_CLIENT);
    if (!legacy && hello != htole32(IPERF_HELLO_TO_SERVER))
        return;
    for (struct session *x = server->sessions; x; x = x->next) {
        if (x->step != AWAIT_STREAMS || x->test.params.protocol != IPERF_UDP || !same_host(&x->peer, &from))
            continue;
        const int stream = udp_towards(x, &from, bytes);
        if (stream < 0)
            return fail_session(x, IPERF_E_STREAMACCEPT, errno);
        (void)send(stream, &answer, sizeof(answer), MSG_NOSIGNAL);
        (void)take_stream(x, stream);
        return;
    }
}

/* ---- listening ---- */

static int listen_on(const struct server *server, int type, int family, uint16_t port, struct xk_err *err)
{
    const struct iperf_settings *const s = server->s;
    const struct resolve_limits limits = {.clock = server->clock, .deadline_ns = RESOLVE_NO_DEADLINE, .root = ""};
    const int on = 1, off = 0;
    const int protocol = type == SOCK_STREAM && s->params.mptcp ? IPPROTO_MPTCP : 0;
    const int fd = socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);

    if (fd < 0)
        return -errno;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (family == AF_INET6 && s->family != AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    int code = iperf_socket_bind(fd, s, &limits, family, port, err);
    if (code == 0 && type == SOCK_STREAM && listen(fd, BACKLOG) < 0)
        code = -errno;
    if (code < 0) {
        (void)close(fd);
        return code;
    }
    return fd;
}

static void close_listeners(struct server *server)
{
    if (server->tcp_event)
        event_free(server->tcp_event);
    if (server->udp_event)
        event_free(server->udp_event);
    if (server->tcp_fd >= 0)
        (void)close(server->tcp_fd);
    if (server->udp_fd >= 0)
        (void)close(server->udp_fd);
    server->tcp_event = server->udp_event = NULL;
    server->tcp_fd = server->udp_fd = -1;
}

static int family_of(const struct iperf_settings *s)
{
    if (s->family != AF_UNSPEC)
        return s->family;
    if (!s->bind_host)
        return AF_INET6; /* hears IPv4, too */
    return strchr(s->bind_host, ':') ? AF_INET6 : AF_INET;
}

static int open_listeners(struct server *server, uint16_t port, struct xk_err *err)
{
    int family = family_of(server->s);
    struct sockaddr_storage at = {0};
    socklen_t bytes = sizeof(at);

    close_listeners(server);
    server->tcp_fd = listen_on(server, SOCK_STREAM, family, port, err);
    if (server->tcp_fd == -EAFNOSUPPORT && server->s->family == AF_UNSPEC && family == AF_INET6) {
        family = AF_INET; /* a kernel without IPv6 */
        server->tcp_fd = listen_on(server, SOCK_STREAM, family, port, err);
    }
    if (server->tcp_fd < 0)
        return server->tcp_fd <= -IPERF_FAIL ? server->tcp_fd : iperf_fail(err, IPERF_E_LISTEN, -server->tcp_fd);
    if (getsockname(server->tcp_fd, (struct sockaddr *)&at, &bytes) == 0)
        server->port =
            ntohs(family == AF_INET6 ? ((struct sockaddr_in6 *)&at)->sin6_port : ((struct sockaddr_in *)&at)->sin_port);
    server->udp_fd = listen_on(server, SOCK_DGRAM, family, server->port, err);
    if (server->udp_fd < 0)
        return server->udp_fd <= -IPERF_FAIL ? server->udp_fd : iperf_fail(err, IPERF_E_LISTEN, -server->udp_fd);
    server->tcp_event = event_new(server->base, server->tcp_fd, EV_READ | EV_PERSIST, newcomer, server);
    server->udp_event = event_new(server->base, server->udp_fd, EV_READ | EV_PERSIST, udp_hello, server);
    if (!server->tcp_event || !server->udp_event || event_add(server->tcp_event, NULL) < 0 ||
        event_add(server->udp_event, NULL) < 0)
        return iperf_fail(err, IPERF_E_LISTEN, ENOMEM);
    return 0;
}

/* ---- all of it ---- */

static void look_around(evutil_socket_t fd, short what, void *context)
{
    struct server *const server = context;
    const uint64_t now = iperf_now_ns();

    if (server->s->idle_timeout_s && !server->sessions &&
        now - server->quiet_since_ns > server->s->idle_timeout_s * XK_NS_PER_S) {
        server->quiet_since_ns = now;
        server->code = open_listeners(server, server->port, server->err);
    }
}

static void say_goodbye(struct server *server)
{
    while (server->sessions) {
        struct session *const x = server->sessions;
        const int8_t state = IPERF_SERVER_TERMINATE;
        iperf_test_stop(&x->test);
        if (x->test.phase == IPERF_ENDED && x->step < AWAIT_DONE)
            (void)iperf_test_finish(&x->test, NULL);
        (void)send(x->control_fd, &state, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        server->sessions = x->next;
        bufferevent_free(x->control);
        free_session(x);
    }
    while (server->strangers)
        (void)close(leave(server->strangers));
    while (server->line) {
        const int fd = event_get_fd(server->line->event);
        leave_line(server->line);
        (void)close(fd);
    }
}

int iperf_server(const struct iperf_settings *s, const struct iperf_events *events, const struct xk_clock *clock,
                 struct xk_random *random, struct xk_err *err)
{
    struct server server = {.s = s,
                            .events = events,
                            .clock = clock,
                            .tcp_fd = -1,
                            .udp_fd = -1,
                            .err = err,
                            .quiet_since_ns = iperf_now_ns()};
    const struct timeval often = {.tv_usec = STOP_CHECK_MS * 1000};

    server.base = event_base_new();
    if (!server.base)
        return iperf_fail(err, IPERF_E_INITTEST, ENOMEM);
    server.code = open_listeners(&server, s->port, err);
    server.stop_timer = event_new(server.base, -1, EV_PERSIST, look_around, &server);
    if (server.code == 0 && (!server.stop_timer || event_add(server.stop_timer, &often) < 0))
        server.code = iperf_fail(err, IPERF_E_INITTEST, ENOMEM);
    if (server.code == 0)
        events->listening(events->context, s, server.port, 1);
    while (server.code == 0 && !server.finished && !xk_stop_signal())
        (void)event_base_loop(server.base, EVLOOP_ONCE);
    if (server.code == 0 && !server.finished)
        server.code = xk_fail(err, -EINTR, "interrupt - the server has terminated");
    say_goodbye(&server);
    /* The last bytes of a test that just ended. */
    for (int i = 0; server.finished && i < 20; i++)
        (void)event_base_loop(server.base, EVLOOP_NONBLOCK);
    close_listeners(&server);
    if (server.stop_timer)
        event_free(server.stop_timer);
    event_base_free(server.base);
    return server.code;
}
