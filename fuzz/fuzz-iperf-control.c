/*
 * The far side of a test of iperf3: a client that says anything to our server, a server that says anything to our
 * client. The input is a script: what goes over the control connection, in which pieces, and what becomes of the
 * streams meanwhile. Whatever it is, the test ends.
 */
#include "lib/iperf/server-inner.h"

#include "core/bytes.h"

#include <endian.h>
#include <event2/event.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#define STREAMS_MAX 8
#define STEPS_MAX   64
#define PATIENCE_MS 50
#define COOKIE      "fuzz-fuzz-fuzz-fuzz-fuzz-fuzz-fuzz-f"

/* Steps; every byte below the first is followed by that many bytes, and one more, for the control connection. */
enum step_code { OPEN_STREAM = 0x80, CLOSE_STREAM, RESET_STREAM, SEND_ON_STREAM, DOCUMENT, CLOSE_CONTROL };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* ---- events that nobody listens to ---- */

static void on_test(void *context, struct iperf_test *t)
{
    (void)context;
    (void)t;
}

static void on_interval(void *context, struct iperf_test *t, const struct iperf_interval *i)
{
    (void)context;
    (void)t;
    (void)i;
}

static void on_finished(void *context, struct iperf_test *t, const struct iperf_total *totals, unsigned count)
{
    (void)context;
    (void)t;
    for (unsigned i = 0; i < count; i++) {
        if (!totals[i].flow)
            abort();
    }
}

static char *on_output(void *context, struct iperf_test *t, bool *ret_json)
{
    (void)context;
    (void)t;
    *ret_json = false;
    return xk_strdup("nothing");
}

static void on_listening(void *context, const struct iperf_settings *s, uint16_t port, unsigned number)
{
    (void)context;
    (void)s;
    (void)port;
    (void)number;
}

static void on_failed(void *context, struct iperf_test *t, const struct xk_err *err)
{
    (void)context;
    (void)t;
    if (!err->text[0])
        abort();
}

static const struct iperf_events events = {
    .connecting = on_test,
    .accepted = on_test,
    .started = on_test,
    .omit_done = on_test,
    .interval = on_interval,
    .finished = on_finished,
    .output = on_output,
    .listening = on_listening,
    .failed = on_failed,
    .gone = on_test,
};

/* ---- the far side ---- */

struct far {
    struct xk_reader script;
    int control, listener; /* listener: of a server */
    int streams[STREAMS_MAX];
    unsigned count;
    struct server *server; /* that is spoken to; NULL: a client */
};

static void let_go(int fd, bool reset)
{
    const struct linger now = {.l_onoff = 1};

    if (fd >= 0 && reset)
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    if (fd >= 0)
        (void)close(fd);
}

static int accept_soon(int listener)
{
    struct pollfd p = {.fd = listener, .events = POLLIN};

    return poll(&p, 1, PATIENCE_MS) > 0 ? accept(listener, NULL, NULL) : -1;
}

static void open_stream(struct far *f)
{
    int ends[2] = {-1, -1};

    if (f->count == STREAMS_MAX)
        return;
    if (!f->server) {
        ends[0] = accept_soon(f->listener);
    } else if (f->server->sessions && f->server->sessions->step == AWAIT_STREAMS) {
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0)
            return;
        iperf_session_adopt(f->server->sessions, ends[1]);
    }
    if (ends[0] >= 0)
        f->streams[f->count++] = ends[0];
}

static void say(const struct far *f, const void *bytes, size_t count)
{
    (void)send(f->control, bytes, count, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* returns false when the script is over, or the far side gone. */
static bool take_step(struct far *f)
{
    uint8_t piece[UINT16_MAX];
    const uint8_t step = xk_u8(&f->script);

    if (f->script.bad)
        return false;
    if (step < OPEN_STREAM || step == DOCUMENT) {
        const size_t wanted = step == DOCUMENT ? xk_be16(&f->script) : step + 1u;
        const size_t count = XK_MIN(wanted, xk_left(&f->script));
        const uint32_t length = htobe32((uint32_t)count);
        xk_take_bytes(&f->script, piece, count);
        if (step == DOCUMENT)
            say(f, &length, sizeof(length));
        say(f, piece, count);
        return true;
    }
    if (step == OPEN_STREAM)
        open_stream(f);
    else if (step == CLOSE_CONTROL)
        return false;
    else if (f->count && (step == CLOSE_STREAM || step == RESET_STREAM))
        let_go(f->streams[--f->count], step == RESET_STREAM);
    else if (f->count && step == SEND_ON_STREAM)
        (void)send(f->streams[f->count - 1], COOKIE COOKIE, 2 * strlen(COOKIE), MSG_NOSIGNAL | MSG_DONTWAIT);
    return true;
}

static void far_done(struct far *f)
{
    while (f->count)
        let_go(f->streams[--f->count], true);
    let_go(f->control, true);
    f->control = -1;
}

/* ---- our server ---- */

static void turn(struct server *server)
{
    for (int i = 0; i < 4; i++)
        (void)event_base_loop(server->base, EVLOOP_NONBLOCK);
}

static void try_server(const uint8_t *data, size_t bytes)
{
    const struct iperf_settings settings = {
        .params = {.affinity = -1}, .affinity = -1, .rcv_timeout_ms = 100, .multi = 1, .bind_host = "127.0.0.1"};
    struct xk_err err = {0};
    struct server server = {.s = &settings,
                            .events = &events,
                            .clock = xk_clock_system(),
                            .tcp_fd = -1,
                            .udp_fd = -1,
                            .err = &err,
                            .base = event_base_new()};
    struct far far = {.script = xk_reader(data, bytes), .control = -1, .listener = -1, .server = &server};
    int ends[2];

    if (server.base && socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0) {
        far.control = ends[0];
        iperf_session_begin(&server, ends[1], COOKIE);
        turn(&server);
        for (int i = 0; i < STEPS_MAX && take_step(&far); i++)
            turn(&server);
        far_done(&far);
        turn(&server);
        while (server.sessions)
            iperf_session_abort(server.sessions);
        turn(&server);
    }
    if (server.tcp_event)
        event_free(server.tcp_event);
    if (server.udp_event)
        event_free(server.udp_event);
    let_go(server.tcp_fd, false);
    let_go(server.udp_fd, false);
    if (server.base)
        event_base_free(server.base);
}

/* ---- our client ---- */

static void *be_server(void *context)
{
    struct far *const f = context;

    f->control = accept_soon(f->listener);
    for (int i = 0; f->control >= 0 && i < STEPS_MAX && take_step(f); i++)
        continue;
    (void)poll(NULL, 0, 1); /* what was said is read before the connection breaks */
    far_done(f);
    return NULL;
}

static void try_client(const uint8_t *data, size_t bytes)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct far far = {.script = xk_reader(data, bytes), .control = -1, .listener = socket(AF_INET, SOCK_STREAM, 0)};
    socklen_t size = sizeof(at);
    pthread_t thread;

    if (far.listener >= 0 && bind(far.listener, (struct sockaddr *)&at, size) == 0 && listen(far.listener, 16) == 0 &&
        getsockname(far.listener, (struct sockaddr *)&at, &size) == 0 &&
        pthread_create(&thread, NULL, be_server, &far) == 0) {
        const struct iperf_settings settings = {
            .params = {.bytes = 1000, .block_bytes = 1000, .parallel = 1, .affinity = -1, .version = "3.12"},
            .host = "127.0.0.1",
            .port = ntohs(at.sin_port),
            .family = AF_INET,
            .affinity = -1,
            .native = bytes & 1,
            .rcv_timeout_ms = 100,
        };
        struct xk_random random;
        struct xk_err err = {0};
        xk_random_seed(&random, 1);
        if (iperf_client(&settings, &events, xk_clock_system(), &random, &err) < 0 && !err.text[0])
            abort();
        (void)pthread_join(thread, NULL);
    }
    let_go(far.listener, false);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes > 0 && data[0] & 1)
        try_client(data + 1, bytes - 1);
    else if (bytes > 0)
        try_server(data + 1, bytes - 1);
    return 0;
}
