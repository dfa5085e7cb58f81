/*
 * A test as the server sees it: parameters, streams, data, results. Each step has a deadline, which the time that
 * single bytes take does not move.
 */
#include "lib/iperf/server-inner.h"

#include <endian.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#define TICK_MS 5  /* while receivers take what is under way, while greetings may come again */
#define GRACE_S 10 /* a client may be later than it said by this */

static void end_session(struct session *x);
static void all_streams_stand(struct session *x);

/* ---- telling the client ---- */

static void say_state(struct session *x, int state)
{
    const int8_t byte = (int8_t)state;

    (void)bufferevent_write(x->control, &byte, 1);
}

/* The test ends here: the client and our own user learn why. */
void iperf_session_fail(struct session *x, int number, int system)
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
    const bool counts = !x->is_unauthorized;

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
    iperf_server_give_back(server);
    server->quiet_since_ns = iperf_now_ns();
    if (server->s->one_off && counts)
        server->finished = true;
    else if (server->line)
        iperf_server_next(server);
    else
        server->events->listening(server->events->context, server->s, server->port, server->served + 1);
}

/* ---- the steps of a test ---- */

static void enter(struct session *x, enum step step, uint64_t seconds)
{
    x->step = step;
    x->deadline_ns = seconds ? iperf_now_ns() + seconds * XK_NS_PER_S : UINT64_MAX;
    x->has_length = false;
    /* Nobody fills our memory with what is not asked for. */
    const size_t document = step == AWAIT_PARAMS ? IPERF_PARAMS_BYTES : step == AWAIT_RESULTS ? IPERF_CLIENT_BYTES : 0;
    bufferevent_setwatermark(x->control, EV_READ, 0, sizeof(x->length) + document);
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
    const uint64_t streams = iperf_test_streams(&x->test);

    if (s->max_duration_s && (p->time_s == 0 || p->time_s + p->omit_s > s->max_duration_s))
        return IPERF_E_MAXSERVERTESTDURATION;
    if (s->rate_limit_bps && p->rate_bps > s->rate_limit_bps / streams)
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
        return iperf_session_fail(x, IPERF_E_RECVPARAMS, EBADMSG);
    iperf_test_set_up(t, x->control_fd);
    const int refused = check_limits(x, &err);
    /* Before the streams come: what they are, and their window, is the listener's. */
    const int code = refused ? 0 : iperf_server_listen_for(server, t, &err);
    if (code == 0)
        server->events->accepted(server->events->context, t);
    x->is_unauthorized = refused == IPERF_E_AUTHTEST;
    if (refused)
        return iperf_session_fail(x, refused, 0);
    if (code < 0)
        return code <= -IPERF_FAIL ? iperf_session_fail(x, iperf_error_of(code, 0), 0)
                                   : iperf_session_fail(x, IPERF_E_STREAMLISTEN, -code);
    enter(x, AWAIT_STREAMS, IPERF_STREAMS_S);
    set_timer(x, iperf_now_ns() + TICK_MS * XK_NS_PER_MS);
    say_state(x, IPERF_CREATE_STREAMS);
}

static void all_streams_stand(struct session *x)
{
    struct iperf_test *const t = &x->test;
    struct xk_err err;

    say_state(x, IPERF_TEST_START);
    say_state(x, IPERF_TEST_RUNNING);
    enter(x, RUNNING, t->params.time_s ? t->params.omit_s + t->params.time_s + GRACE_S : 0);
    iperf_server_give_back(x->server);
    const int code = iperf_test_start(t, &err);
    if (code < 0)
        return iperf_session_fail(x, iperf_error_of(code, IPERF_E_INITSTREAM), 0);
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
        return iperf_session_fail(x, IPERF_E_RECVRESULTS, ENOMEM);
    if (server->events->trace)
        server->events->trace(server->events->context, &x->test, "get_results", json, bytes);
    if (iperf_results_decode(r, json, bytes, NULL) < 0)
        return iperf_session_fail(x, IPERF_E_RECVRESULTS, EBADMSG);
    const bool has_omitted = r->has_omitted;
    int code = iperf_test_take(&x->test, r, &err);
    iperf_results_done(r);
    if (code < 0)
        return iperf_session_fail(x, iperf_error_of(code, IPERF_E_RECVRESULTS), 0);
    code = iperf_test_finish(&x->test, &err);
    if (code < 0)
        return iperf_session_fail(x, IPERF_E_PACKAGERESULTS, ENOMEM);
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
        return iperf_session_fail(x, IPERF_E_PACKAGERESULTS, -b.error);
    if (server->events->trace)
        server->events->trace(server->events->context, &x->test, "send_results", b.data, b.len);
    const uint32_t length = htobe32((uint32_t)b.len);
    (void)bufferevent_write(x->control, &length, sizeof(length));
    (void)bufferevent_write(x->control, b.data, b.len);
    say_state(x, IPERF_DISPLAY_RESULTS);
    enter(x, AWAIT_DONE, IPERF_STREAMS_S);
    set_timer(x, x->deadline_ns);
    iperf_server_next(server);
}

static void take_state(struct session *x, int state)
{
    if (state == IPERF_CLIENT_TERMINATE)
        return drop_session(x, IPERF_E_CLIENTTERM, 0);
    if (x->step == RUNNING && state == IPERF_TEST_END)
        return begin_drain(x);
    if (x->step == AWAIT_DONE && state == IPERF_DONE)
        return end_session(x);
    iperf_session_fail(x, IPERF_E_MESSAGE, 0);
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
            iperf_session_fail(x, error, EMSGSIZE);
            return true;
        }
    }
    if (evbuffer_get_length(in) < x->length)
        return false;
    xk_autofree char *json = xk_alloc((size_t)x->length + 1);
    if (!json) {
        iperf_session_fail(x, error, ENOMEM);
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
        (void)read_document(x, IPERF_CLIENT_BYTES, IPERF_E_RECVRESULTS);
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

static bool is_sending(const struct iperf_test *t)
{
    return t->params.reverse || t->params.bidirectional;
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
        return iperf_session_fail(x, numbers[x->step], ETIMEDOUT);
    }
    if (x->step == AWAIT_STREAMS) {
        answer_again(x);
        return set_timer(x, now + TICK_MS * XK_NS_PER_MS);
    }
    if (x->step != RUNNING)
        return set_timer(x, x->deadline_ns);
    const uint64_t tick = iperf_test_tick(&x->test);
    if (iperf_test_idle(&x->test, x->server->s->rcv_timeout_ms))
        return iperf_session_fail(x, IPERF_E_NOMSG, 0);
    if (over_rate(x))
        return iperf_session_fail(x, IPERF_E_TOTALRATE, 0);
    /* Without a time it is the client that knows the end; it must not forget it, unless datagrams were lost. */
    const bool may_lack = x->test.params.protocol == IPERF_UDP && is_sending(&x->test);
    if (x->deadline_ns == UINT64_MAX && !may_lack && iperf_test_over(&x->test))
        x->deadline_ns = now + GRACE_S * XK_NS_PER_S;
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
        iperf_session_fail(x, sending ? IPERF_E_STREAMWRITE : IPERF_E_STREAMREAD, failure);
}

/* ---- its beginning ---- */

void iperf_session_begin(struct server *server, int fd, const char cookie[IPERF_COOKIE_BYTES])
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
    if (iperf_socket_keepalive(fd, server->s, NULL) == 0 && !server->s->keepalive)
        iperf_socket_notice(fd);
    x->next = server->sessions;
    x->link = &server->sessions;
    if (x->next)
        x->next->link = &x->next;
    server->sessions = x;
    bufferevent_setcb(x->control, control_readable, NULL, control_event, x);
    iperf_server_greet(server, fd, cookie, 0);
    (void)bufferevent_enable(x->control, EV_READ | EV_WRITE);
    (void)event_add(x->wake, NULL);
    enter(x, AWAIT_PARAMS, IPERF_HANDSHAKE_S);
    set_timer(x, x->deadline_ns);
    say_state(x, IPERF_PARAM_EXCHANGE);
}

void iperf_session_adopt(struct session *x, int fd)
{
    struct xk_err err;

    const int code = iperf_socket_prepare(fd, &x->test, x->peer.ss_family, &err);
    if (code < 0) {
        (void)close(fd);
        return iperf_session_fail(x, iperf_error_of(code, IPERF_E_STREAMACCEPT), 0);
    }
    const int adopted = iperf_test_adopt(&x->test, fd, &err);
    if (adopted < 0)
        iperf_session_fail(x, iperf_error_of(adopted, IPERF_E_CREATESTREAM), ENOMEM);
    else if (x->test.flow_count == iperf_test_streams(&x->test))
        all_streams_stand(x);
}

void iperf_session_abort(struct session *x)
{
    const int8_t state = IPERF_SERVER_TERMINATE;

    iperf_test_stop(&x->test);
    if (x->test.phase == IPERF_ENDED && x->step < AWAIT_DONE)
        (void)iperf_test_finish(&x->test, NULL);
    (void)send(x->control_fd, &state, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    *x->link = x->next;
    if (x->next)
        x->next->link = x->link;
    bufferevent_free(x->control);
    free_session(x);
}
