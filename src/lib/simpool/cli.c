/*
 * POST /cli: the far side of the real `xe`.
 *
 * Commands wait, for tasks and for their user, so each runs in a thread; the pool stays in its one. A command is a
 * client of the pool like any other: it calls through a socket that the pool's own HTTP server was given, and shares
 * nothing else with it. Bytes of the user's connection, which may be TLS, go through the event loop to a second socket.
 *
 * The loop greets, and waits for the answer, before there is a thread: who only connects costs none.
 *
 * A thread that ends says so through a pipe, and shuts its sockets down; the loop sends on what is left in them, joins
 * it and closes them. So no descriptor is closed while somebody else uses it, and the loop never waits for a command.
 */
#include "lib/simpool/inner.h"

#include "core/text.h"
#include "lib/xe/thin.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define CLI_RUNNING_MAX      32  /* commands at a time; more wait */
#define CLI_GREETING_S       30  /* for the user's side to greet back */
#define CLI_WAITING_MAX      512 /* and still more are refused */
#define CLI_STACK_BYTES      (2u * XK_MIB)
#define CLI_MEMORY_BYTES_MAX (256u << 20) /* of one command */
#define CLI_REPLY_BYTES_MAX  (256u << 20) /* of one message's reply */
#define CLI_UNREAD_BYTES_MAX (256u << 10) /* sent by the user's side before the command wants it */
#define CLI_HEAD_BYTES_MAX   (16u << 10)

enum { COMMAND_USER, LOOP_USER, COMMAND_POOL, LOOP_POOL, SOCKETS };

struct sim_cli {
    struct simpool *pool;
    struct sim_cli *next, **link;
    struct http_exchange *exchange; /* NULL: the user is gone */
    struct evbuffer *in;            /* what came and was not taken yet */
    struct bufferevent *relay;
    int sockets[SOCKETS]; /* -1: not open, or somebody else's */
    unsigned host;
    struct event *timer; /* until the greeting has come */
    bool greeted, started, drained;
    _Atomic bool ended;
    pthread_t thread;
    struct xk_arena arena; /* of the words */
    const char **words;
    size_t word_count;
    const char *session; /* that the words name; NULL: log in */
    /* Of the thread alone. */
    char own_session[SIM_REF_BYTES];
    bool logged_in, local;
    int64_t call_id;
};

/* ---- the thread: a client of the pool ---- */

static int send_text(int fd, const char *bytes, size_t count)
{
    while (count > 0) {
        const ssize_t n = send(fd, bytes, count, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -ECONNRESET;
        bytes += n;
        count -= (size_t)n;
    }
    return 0;
}

/* Read more behind what is there. */
static int receive_more(int fd, struct xk_buf *b)
{
    char piece[64 << 10];
    ssize_t n;

    do {
        n = recv(fd, piece, sizeof(piece), 0);
    } while (n < 0 && errno == EINTR);
    if (n <= 0)
        return -ECONNRESET;
    xk_buf_add(b, piece, (size_t)n);
    return b->error;
}

/* The server is our own: a head with a length, and a body. */
static int receive_reply(int fd, struct xk_buf *b, size_t *ret_body)
{
    static const char length_name[] = "content-length: ";
    const char *end = NULL;
    size_t length = 0;
    int code = 0;

    while (code == 0 && !(b->len > 0 && (end = strstr(b->data, "\r\n\r\n")))) {
        code = b->len > CLI_HEAD_BYTES_MAX ? -EPROTO : receive_more(fd, b);
    }
    if (code < 0)
        return code;
    const char *const mark = strcasestr(b->data, length_name);
    if (!mark || mark > end || sscanf(mark + strlen(length_name), "%zu", &length) != 1)
        return -EPROTO;
    *ret_body = (size_t)(end + 4 - b->data);
    while (code == 0 && b->len < *ret_body + length)
        code = receive_more(fd, b);
    return code;
}

static int post(struct sim_cli *job, struct xk_arena *arena, const char *method, const struct xapi_value *params,
                size_t count, struct xapi_reply *ret, struct xk_err *err)
{
    const int fd = job->sockets[COMMAND_POOL];
    const struct xapi_call call = {
        .protocol = XAPI_JSON2, .method = method, .params = xapi_list(params, count), .id = xapi_int(++job->call_id)};
    struct xk_buf body = XK_BUF_INIT(SIM_BODY_BYTES_MAX), message = XK_BUF_INIT(SIM_BODY_BYTES_MAX + 1024);
    struct xk_buf reply = XK_BUF_INIT(CLI_REPLY_BYTES_MAX);
    size_t start = 0;

    xapi_call_encode(&body, &call);
    xk_buf_printf(&message,
                  "POST /jsonrpc HTTP/1.1\r\nHost: localhost\r\nUser-Agent: xe\r\nContent-Type: application/json\r\n"
                  "Content-Length: %zu\r\n\r\n",
                  body.len);
    xk_buf_add(&message, xk_buf_str(&body), body.len);
    int code = message.error || body.error ? -E2BIG : send_text(fd, message.data, message.len);
    if (code == 0)
        code = receive_reply(fd, &reply, &start);
    if (code == 0)
        code = xapi_reply_decode(ret, arena, true, reply.data + start, reply.len - start, err);
    else
        (void)xk_fail(err, code, "calling %s: the pool is gone", method);
    xk_buf_done(&body);
    xk_buf_done(&message);
    xk_buf_done(&reply);
    return code;
}

static int on_call(void *context, struct xk_arena *arena, const char *session, const char *method,
                   const struct xapi_value *params, size_t count, struct xapi_reply *ret, struct xk_err *err)
{
    struct sim_cli *const job = context;
    struct xapi_value *const all = xk_arena_alloc(arena, (count + 1) * sizeof(*all));

    if (!all)
        return xk_fail_memory(err);
    all[0] = xapi_str(session ? session : job->own_session);
    if (count > 0)
        memcpy(all + 1, params, count * sizeof(*all));
    return post(job, arena, method, all, count + 1, ret, err);
}

static int on_open(void *context, struct xk_arena *arena, bool local, const char *user, const char *password,
                   struct xapi_reply *ret, struct xk_err *err)
{
    struct sim_cli *const job = context;
    const struct xapi_value params[] = {xapi_str(user), xapi_str(password), xapi_str("2.21"), xapi_str("cli")};

    if (job->session) {
        (void)snprintf(job->own_session, sizeof(job->own_session), "%s", job->session);
        *ret = (struct xapi_reply){.value = xapi_nil()};
        return 0;
    }
    const int code = local ? post(job, arena, "session.slave_local_login_with_password", params, 2, ret, err)
                           : post(job, arena, "session.login_with_password", params, XK_COUNT(params), ret, err);
    if (code < 0 || ret->failed)
        return code;
    (void)snprintf(job->own_session, sizeof(job->own_session), "%s", xapi_value_text(&ret->value));
    job->logged_in = true;
    job->local = local;
    return 0;
}

static void on_close(void *context)
{
    struct sim_cli *const job = context;
    struct xk_arena arena = XK_ARENA_INIT(SIM_BODY_BYTES_MAX);
    struct xapi_reply reply = {0};

    if (job->logged_in)
        (void)on_call(job, &arena, NULL, job->local ? "session.local_logout" : "session.logout", NULL, 0, &reply, NULL);
    job->logged_in = false;
    xk_arena_done(&arena);
}

static const char *on_session(void *context)
{
    const struct sim_cli *const job = context;

    return job->own_session;
}

static int64_t on_now(void *context)
{
    const struct sim_cli *const job = context;

    return sim_now_s(job->pool);
}

static void *run(void *context)
{
    struct sim_cli *const job = context;
    const struct xe_remote remote = {
        .context = job,
        .open = on_open,
        .call = on_call,
        .session = on_session,
        .close = on_close,
        .now_s = on_now,
    };
    const struct xe_settings settings = {.remote = &remote, .memory_bytes_max = CLI_MEMORY_BYTES_MAX};
    struct xk_err err = {0};

    (void)thin_serve(job->sockets[COMMAND_USER], &settings, job->words, job->word_count, &err);
    const int wake = job->pool->cli_wake[1];
    (void)shutdown(job->sockets[COMMAND_POOL], SHUT_RDWR);
    (void)shutdown(job->sockets[COMMAND_USER], SHUT_RDWR);
    job->ended = true;
    /* A pipe that is full has woken the loop already. */
    const ssize_t written = write(wake, "", 1);
    (void)written;
    return NULL;
}

/* ---- the loop ---- */

static void start_waiting(struct simpool *p);

static void job_free(struct sim_cli *job)
{
    if (job->next)
        job->next->link = job->link;
    *job->link = job->next;
    if (job->timer)
        event_free(job->timer);
    if (job->relay)
        bufferevent_free(job->relay);
    for (size_t i = 0; i < SOCKETS; i++)
        if (job->sockets[i] >= 0)
            (void)close(job->sockets[i]);
    xk_arena_done(&job->arena);
    free(job);
}

/* Nothing more can be done for it: the thread has ended, or is told to, and never began. */
static void job_end(struct sim_cli *job)
{
    struct simpool *const p = job->pool;

    if (job->started) {
        (void)pthread_join(job->thread, NULL);
        p->cli_running--;
    }
    if (job->exchange)
        http_finish(job->exchange);
    job_free(job);
}

/* The thread, which may be at work still, finds its sockets at their end. */
static void job_stop(struct sim_cli *job)
{
    (void)shutdown(job->sockets[COMMAND_USER], SHUT_RDWR);
    (void)shutdown(job->sockets[COMMAND_POOL], SHUT_RDWR);
}

/* What the user's side sent goes to the command, as far as that takes it. */
static void pass_on(struct sim_cli *job)
{
    struct evbuffer *const out = job->relay ? bufferevent_get_output(job->relay) : NULL;
    const size_t waiting = out ? evbuffer_get_length(out) : CLI_UNREAD_BYTES_MAX;

    if (job->in && waiting < CLI_UNREAD_BYTES_MAX)
        (void)evbuffer_remove_buffer(job->in, out, CLI_UNREAD_BYTES_MAX - waiting);
}

/* Somebody who cannot be served, before there is a thread for him. */
static void job_drop(struct sim_cli *job)
{
    http_finish(job->exchange);
    job->exchange = NULL;
    job_free(job);
}

/* returns   whether the greeting is there; what is none ends the job. */
static bool take_greeting(struct sim_cli *job, struct evbuffer *in)
{
    uint8_t bytes[THIN_GREETING_BYTES];

    if (evbuffer_copyout(in, bytes, sizeof(bytes)) < (ev_ssize_t)sizeof(bytes))
        return false;
    if (thin_check_greeting(bytes, NULL) < 0) {
        job_drop(job);
        return false;
    }
    (void)evbuffer_drain(in, sizeof(bytes));
    (void)event_del(job->timer);
    return true;
}

static void on_user_bytes(void *context, struct evbuffer *in)
{
    struct sim_cli *const job = context;

    if (!job->greeted) {
        if (!take_greeting(job, in))
            return;
        job->greeted = true;
        job->in = in;
        return start_waiting(job->pool);
    }
    job->in = in;
    pass_on(job);
}

static void on_greeting_late(evutil_socket_t fd, short what, void *context)
{
    job_drop(context);
}

static void on_user_gone(void *context)
{
    struct sim_cli *const job = context;

    job->exchange = NULL;
    job->in = NULL;
    if (job->started)
        job_stop(job);
    else
        job_free(job);
}

static void end_finished(struct simpool *p)
{
    for (struct sim_cli *job = p->clis, *next; job; job = next) {
        next = job->next;
        if (job->ended && job->drained)
            job_end(job);
    }
    start_waiting(p);
}

static void on_wake(evutil_socket_t fd, short what, void *pool)
{
    char bytes[64];

    while (read(fd, bytes, sizeof(bytes)) == (ssize_t)sizeof(bytes))
        ;
    end_finished(pool);
}

static void on_relay_bytes(struct bufferevent *relay, void *context)
{
    struct sim_cli *const job = context;
    struct evbuffer *const in = bufferevent_get_input(relay);
    bool gone = job->exchange == NULL;

    for (size_t bytes; !gone && (bytes = evbuffer_get_contiguous_space(in)) > 0;) {
        gone = http_write(job->exchange, evbuffer_pullup(in, (ev_ssize_t)bytes), bytes) < 0;
        (void)evbuffer_drain(in, bytes);
    }
    if (!gone)
        return;
    (void)evbuffer_drain(in, evbuffer_get_length(in));
    if (job->exchange) {
        struct http_exchange *const x = job->exchange;
        job->exchange = NULL;
        job->in = NULL;
        http_drop(x);
        job_stop(job);
    }
}

static void on_relay_written(struct bufferevent *relay, void *context)
{
    pass_on(context);
}

static void on_relay_end(struct bufferevent *relay, short what, void *context)
{
    struct sim_cli *const job = context;

    on_relay_bytes(relay, job);
    job->drained = true;
    (void)bufferevent_disable(relay, EV_READ | EV_WRITE);
    /* Threads that end later say so by themselves. */
    if (job->ended)
        end_finished(job->pool);
}

static bool start(struct sim_cli *job)
{
    struct simpool *const p = job->pool;
    pthread_attr_t attributes;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, &job->sockets[COMMAND_USER]) < 0 ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, &job->sockets[COMMAND_POOL]) < 0 ||
        evutil_make_socket_nonblocking(job->sockets[LOOP_USER]) < 0 ||
        evutil_make_socket_nonblocking(job->sockets[LOOP_POOL]) < 0)
        return false;
    job->relay = bufferevent_socket_new(p->base, job->sockets[LOOP_USER], BEV_OPT_CLOSE_ON_FREE);
    if (!job->relay)
        return false;
    job->sockets[LOOP_USER] = -1;
    bufferevent_setcb(job->relay, on_relay_bytes, on_relay_written, on_relay_end, job);
    bufferevent_setwatermark(job->relay, EV_READ, 0, CLI_UNREAD_BYTES_MAX);
    if (bufferevent_enable(job->relay, EV_READ | EV_WRITE) < 0 || pthread_attr_init(&attributes) != 0)
        return false;
    (void)pthread_attr_setstacksize(&attributes, CLI_STACK_BYTES);
    http_server_adopt(p->server, job->sockets[LOOP_POOL], job->host, NULL);
    job->sockets[LOOP_POOL] = -1;
    const int code = pthread_create(&job->thread, &attributes, run, job);
    (void)pthread_attr_destroy(&attributes);
    if (code != 0)
        return false;
    job->started = true;
    p->cli_running++;
    pass_on(job);
    return true;
}

static void start_waiting(struct simpool *p)
{
    for (struct sim_cli *job = p->clis, *next; job && p->cli_running < CLI_RUNNING_MAX; job = next) {
        next = job->next;
        if (!p->cli_closed && job->greeted && !job->started && job->exchange && !start(job))
            job_drop(job);
    }
}

static void greet(struct sim_cli *job)
{
    const struct timeval limit = {.tv_sec = CLI_GREETING_S};
    struct xk_buf b = XK_BUF_INIT(256);

    thin_put_greeting(&b);
    job->timer = evtimer_new(job->pool->base, on_greeting_late, job);
    const bool good =
        !b.error && job->timer && event_add(job->timer, &limit) == 0 && http_write(job->exchange, b.data, b.len) == 0;
    xk_buf_done(&b);
    if (!good)
        job_drop(job);
}

void sim_cli_handle(struct simpool *p, struct http_exchange *x)
{
    size_t bytes, waiting = 0;
    const char *const body = http_body(x, &bytes);
    struct sim_cli *const job = bytes > THIN_REQUEST_BYTES_MAX ? NULL : xk_zalloc(sizeof(*job));

    for (const struct sim_cli *other = p->clis; other; other = other->next)
        waiting += !other->started; /* also those that have not greeted yet */
    if (!job || waiting >= CLI_WAITING_MAX) {
        free(job);
        return http_refuse(x, 500);
    }
    job->pool = p;
    job->host = http_tag(x);
    job->arena = XK_ARENA_INIT(8 * THIN_REQUEST_BYTES_MAX);
    for (size_t i = 0; i < SOCKETS; i++)
        job->sockets[i] = -1;
    job->next = p->clis;
    job->link = &p->clis;
    if (job->next)
        job->next->link = &job->next;
    p->clis = job;
    if (thin_words(&job->words, &job->word_count, &job->session, &job->arena, body, bytes, NULL) < 0) {
        job_free(job);
        return http_refuse(x, 500);
    }
    job->exchange = x;
    http_take(x, &(const struct http_raw){.readable = on_user_bytes, .gone = on_user_gone, .context = job});
    greet(job);
}

int sim_cli_open(struct simpool *p, struct xk_err *err)
{
    if (pipe2(p->cli_wake, O_CLOEXEC | O_NONBLOCK) < 0) {
        p->cli_wake[0] = p->cli_wake[1] = -1;
        return xk_fail_sys(err, -errno, "making a pipe");
    }
    p->cli_event = event_new(p->base, p->cli_wake[0], EV_READ | EV_PERSIST, on_wake, p);
    return p->cli_event && event_add(p->cli_event, NULL) == 0 ? 0 : xk_fail_memory(err);
}

void sim_cli_close(struct simpool *p)
{
    p->cli_closed = true;
    for (struct sim_cli *job = p->clis; job; job = job->next)
        if (job->started)
            job_stop(job);
    while (p->clis) {
        struct sim_cli *const job = p->clis;
        struct http_exchange *const x = job->exchange;
        job->exchange = NULL;
        if (x)
            http_drop(x);
        job_end(job);
    }
    if (p->cli_event)
        event_free(p->cli_event);
    for (size_t i = 0; i < XK_COUNT(p->cli_wake); i++)
        if (p->cli_wake[i] > 0)
            (void)close(p->cli_wake[i]);
}
