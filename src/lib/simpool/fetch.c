/*
 * A thread for each: it waits for names, connections and TLS, and writes the body into a pair of sockets, whose other
 * end the pool's loop reads as fast as somebody takes it. When the loop shuts its end, the thread ends at its next
 * wait; when the thread has closed its own, the loop joins it and looks at what came of it.
 *
 * A bufferevent for the whole of it was weighed: names would need a resolver on the loop, and the certificate a second
 * way to be judged.
 *
 * Facts: import_inner of xapi's xapi_vm.ml, open_uri.ml (2026-08).
 */
#include "lib/simpool/fetch.h"

#include "core/text.h"
#include "lib/http/reader.h"
#include "lib/http/stream.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <fcntl.h>
#include <pthread.h>
#include <strings.h>

#define FETCHES_MAX       16 /* at a time */
#define FOLLOWED_MAX      5
#define URL_BYTES_MAX     4096u
#define PIECE_BYTES       (64u << 10)
#define WAITING_BYTES_MAX (256u << 10) /* fetched, and not taken yet */
#define STACK_BYTES       (512u << 10)
#define CONNECT_NS        (30 * XK_NS_PER_S)
#define IDLE_NS           (300 * XK_NS_PER_S) /* without a byte */

struct sim_fetch {
    struct simpool *pool;
    struct sim_fetch_user user;
    struct sim_fetch *next, **link;
    struct bufferevent *in;
    bool dropped;
    pthread_t thread;
    /* Of the thread, until it has closed `out`. */
    int out;
    char url[URL_BYTES_MAX];
    struct sim_error error;
};

/* ---- URLs ---- */

struct place {
    char host[RESOLVE_NAME_BYTES], text[RESOLVE_NAME_BYTES + 8]; /* text: for the Host header */
    const char *path;
    struct http_target target;
};

static bool wrong(struct sim_fetch *f, const char *what)
{
    char text[512];

    snprintf(text, sizeof(text), "Failure(\"%s: %.400s\")", what, f->url);
    sim_error_set(&f->error, "INTERNAL_ERROR", text, NULL);
    return false;
}

/* returns   false: the error was recorded. */
static bool read_url(struct sim_fetch *f, struct place *ret)
{
    static const char authority[] = "//";
    const size_t scheme = strcspn(f->url, ":/?#");
    const char *at = f->url + scheme + 1;

    *ret = (struct place){.target.host = ret->host};
    f->url[strcspn(f->url, "#")] = '\0';
    if (scheme == 0 || f->url[scheme] != ':')
        return wrong(f, "Failed to parse URI");
    f->url[scheme] = '\0';
    ret->target.tls = strcasecmp(f->url, "https") == 0;
    const bool file = strcasecmp(f->url, "file") == 0;
    if (!file && !ret->target.tls && strcasecmp(f->url, "http") != 0)
        return wrong(f, "Unsupported URI scheme");
    f->url[scheme] = ':';
    at += xk_has_prefix(at, authority) ? strlen(authority) : 0;
    ret->path = at + strcspn(at, "/?");
    if (file) {
        ret->target.socket_path = ret->path;
        return true;
    }
    for (const char *user = memchr(at, '@', (size_t)(ret->path - at)); user;
         user = memchr(at, '@', (size_t)(ret->path - at)))
        at = user + 1;
    const size_t len = (size_t)(ret->path - at);
    if (len > 0 && len < sizeof(ret->text)) {
        memcpy(ret->text, at, len);
        ret->text[len] = '\0';
        if (resolve_split(ret->host, &ret->target.port, ret->text, ret->target.tls ? 443 : 80, NULL) == 0)
            return true;
    }
    return wrong(f, "Failed to parse host and port from URI");
}

/* ---- the thread ---- */

static struct resolve_limits limits_in(const struct sim_fetch *f, uint64_t ns)
{
    const struct xk_clock *const clock = f->pool->settings.clock;

    return (struct resolve_limits){.clock = clock, .deadline_ns = resolve_deadline(clock, ns), .root = ""};
}

static bool lost(struct sim_fetch *f, int code, const char *call)
{
    char text[160];

    switch (code) {
    case -EKEYREJECTED:
    case -EPROTO:
        sim_error_set(&f->error, "INTERNAL_ERROR", "Connection failed: certificate verify failed.", NULL);
        break;
    case -EHOSTUNREACH:
    case -EINVAL:
        sim_error_set(&f->error, "INTERNAL_ERROR", "Not_found", NULL);
        break;
    default:
        snprintf(text, sizeof(text), "Unix.Unix_error(Unix.%s, \"%s\", \"\")", strerrorname_np(-code), call);
        sim_error_set(&f->error, "INTERNAL_ERROR", text, NULL);
        break;
    }
    return false;
}

/* Until the far side has something to say. returns   -EPIPE: nobody wants it any more. */
static int wait_for_bytes(const struct sim_fetch *f, struct http_stream *stream)
{
    const struct resolve_limits limits = limits_in(f, IDLE_NS);
    struct pollfd fds[] = {{.fd = http_stream_fd(stream), .events = POLLIN}, {.fd = f->out, .events = POLLRDHUP}};
    const int ready = resolve_wait(fds, XK_COUNT(fds), &limits);

    return ready < 0 ? ready : fds[1].revents ? -EPIPE : 0;
}

/* returns   bytes; 0 at the end; a negative errno value. */
static ssize_t take(const struct sim_fetch *f, struct http_stream *stream, char *piece)
{
    for (;;) {
        const struct resolve_limits now = limits_in(f, 1);
        const ssize_t got = http_stream_read(stream, piece, PIECE_BYTES, &now);
        if (got != -ETIMEDOUT)
            return got;
        const int code = wait_for_bytes(f, stream);
        if (code < 0)
            return code;
    }
}

static int give(const struct sim_fetch *f, const char *bytes, size_t count)
{
    while (count > 0) {
        const struct resolve_limits limits = limits_in(f, IDLE_NS);
        struct pollfd fd = {.fd = f->out, .events = POLLOUT | POLLRDHUP};
        const int ready = resolve_wait(&fd, 1, &limits);
        if (ready < 0 || fd.revents & (POLLRDHUP | POLLHUP | POLLERR))
            return ready < 0 ? ready : -EPIPE;
        const ssize_t n = send(f->out, bytes, count, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return -errno;
        bytes += n > 0 ? n : 0;
        count -= n > 0 ? (size_t)n : 0;
    }
    return 0;
}

static int ask(const struct sim_fetch *f, struct http_stream *stream, const struct place *at)
{
    const struct resolve_limits limits = limits_in(f, CONNECT_NS);
    xk_auto(xk_buf_done) struct xk_buf request = XK_BUF_INIT(2 * URL_BYTES_MAX);

    xk_buf_printf(&request, "GET %s%s HTTP/1.1\r\nHost: %s\r\nUser-Agent: xapi/simulated\r\nConnection: close\r\n\r\n",
                  *at->path == '/' ? "" : "/", at->path, at->text);
    for (size_t done = 0; !request.error && done < request.len;) {
        const ssize_t n = http_stream_write(stream, request.data + done, request.len - done, &limits);
        if (n < 0)
            return (int)n;
        done += (size_t)n;
    }
    return request.error;
}

/* The head of the reply; *ret_left bytes of the body came with it, at the beginning of `piece`. */
static bool read_head(struct sim_fetch *f, struct http_stream *stream, struct http_reader *r, char *piece,
                      size_t *ret_left)
{
    while (!http_reader_whole(r)) {
        const ssize_t got = take(f, stream, piece);
        if (got < 0)
            return lost(f, (int)got, "read");
        if (got == 0) {
            sim_error_set(&f->error, "IMPORT_ERROR_PREMATURE_EOF", NULL);
            return false;
        }
        const ssize_t eaten = http_reader_feed(r, piece, (size_t)got, NULL);
        if (eaten < 0) {
            sim_error_set(&f->error, "IMPORT_ERROR", "Malformed response", NULL);
            return false;
        }
        *ret_left = (size_t)(got - eaten);
        memmove(piece, piece + eaten, *ret_left);
    }
    return true;
}

/* What a reply asks for. returns   whether there is one more URL to ask, in f->url. */
static bool answer(struct sim_fetch *f, struct http_stream *stream, const struct http_reader *r, char *piece,
                   size_t left)
{
    const unsigned status = http_reader_status(r);
    const char *const location = http_reader_header(r, "location");
    char text[128];

    if (status == 200) {
        int code = give(f, piece, left);
        for (ssize_t got; code == 0 && (got = take(f, stream, piece)) > 0;) /* what is cut, its reader will see */
            code = give(f, piece, (size_t)got);
        return false;
    }
    if (status / 100 == 3 && location && strlen(location) < sizeof(f->url)) {
        memcpy(f->url, location, strlen(location) + 1);
        return true;
    }
    snprintf(text, sizeof(text), "%u %s", status, http_status_str((enum http_status)status));
    sim_error_set(&f->error, "IMPORT_ERROR", status / 100 == 3 ? "Redirect with no new location" : text, NULL);
    return false;
}

/* returns   as answer(). */
static bool fetch(struct sim_fetch *f, char *piece)
{
    const struct resolve_limits limits = limits_in(f, CONNECT_NS);
    struct http_stream *stream = NULL;
    struct http_reader reader;
    struct place at;
    size_t left = 0;
    bool more = false;

    if (!read_url(f, &at))
        return false;
    at.target.trust = (struct http_trust){.clock = f->pool->settings.clock};
    int code = http_stream_open(&stream, &at.target, &limits, NULL);
    if (code < 0)
        return lost(f, code, "connect");
    http_reader_init(&reader, 0, false, true);
    code = ask(f, stream, &at);
    if (code < 0)
        (void)lost(f, code, "write");
    else if (read_head(f, stream, &reader, piece, &left))
        more = answer(f, stream, &reader, piece, left);
    http_reader_done(&reader);
    http_stream_close(stream);
    return more;
}

static void *run(void *context)
{
    struct sim_fetch *const f = context;
    xk_autofree char *piece = malloc(PIECE_BYTES);
    unsigned followed = 0;

    if (!piece)
        sim_error_set(&f->error, "INTERNAL_ERROR", "Out_of_memory", NULL);
    while (piece && fetch(f, piece))
        if (followed++ == FOLLOWED_MAX) {
            sim_error_set(&f->error, "IMPORT_ERROR", "Maximum redirect limit reached", NULL);
            break;
        }
    (void)close(f->out);
    return NULL;
}

/* ---- the loop ---- */

static void fetch_free(struct sim_fetch *f)
{
    if (f->next)
        f->next->link = f->link;
    *f->link = f->next;
    bufferevent_free(f->in);
    free(f);
}

static void on_read(struct bufferevent *in, void *context)
{
    struct sim_fetch *const f = context;
    struct evbuffer *const bytes = bufferevent_get_input(in);

    if (f->dropped)
        (void)evbuffer_drain(bytes, evbuffer_get_length(bytes));
    else
        f->user.bytes(f->user.context, bytes);
}

/* The thread has closed its end: it was its last word. */
static void on_change(struct bufferevent *in, short what, void *context)
{
    struct sim_fetch *const f = context;

    if (what & BEV_EVENT_READING && what & (BEV_EVENT_EOF | BEV_EVENT_ERROR)) {
        (void)pthread_join(f->thread, NULL);
        f->thread = 0;
        if (f->dropped)
            return fetch_free(f);
        f->user.ended(f->user.context, bufferevent_get_input(in), f->error.count ? &f->error : NULL);
    }
}

static int begin(struct sim_fetch *f)
{
    pthread_attr_t attributes;

    if (pthread_attr_init(&attributes) != 0)
        return -ENOMEM;
    (void)pthread_attr_setstacksize(&attributes, STACK_BYTES);
    const int code = pthread_create(&f->thread, &attributes, run, f);
    (void)pthread_attr_destroy(&attributes);
    return -code;
}

int sim_fetch_begin(struct sim_fetch **ret, struct simpool *p, const char *url, const struct sim_fetch_user *user)
{
    struct sim_fetch *const f = xk_zalloc(sizeof(*f));
    size_t others = 0;
    int pair[2];

    for (const struct sim_fetch *o = p->fetches; o; o = o->next)
        others++;
    if (!f || others >= FETCHES_MAX || strlen(url) >= sizeof(f->url) ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
        free(f);
        return -ENOMEM;
    }
    *f = (struct sim_fetch){.pool = p, .user = *user, .out = pair[1]};
    memcpy(f->url, url, strlen(url) + 1);
    f->in = bufferevent_socket_new(p->base, pair[0], BEV_OPT_CLOSE_ON_FREE);
    if (!f->in)
        (void)close(pair[0]);
    const int code = f->in ? begin(f) : -ENOMEM;
    if (code < 0) {
        if (f->in)
            bufferevent_free(f->in);
        (void)close(pair[1]);
        free(f);
        return code;
    }
    f->next = p->fetches;
    f->link = &p->fetches;
    if (f->next)
        f->next->link = &f->next;
    p->fetches = f;
    bufferevent_setcb(f->in, on_read, NULL, on_change, f);
    bufferevent_setwatermark(f->in, EV_READ, 0, WAITING_BYTES_MAX);
    (void)bufferevent_enable(f->in, EV_READ);
    *ret = f;
    return 0;
}

void sim_fetch_drop(struct sim_fetch *f)
{
    if (!f)
        return;
    if (!f->thread)
        return fetch_free(f);
    struct evbuffer *const bytes = bufferevent_get_input(f->in);
    f->dropped = true;
    (void)shutdown(bufferevent_getfd(f->in), SHUT_WR);
    (void)evbuffer_drain(bytes, evbuffer_get_length(bytes));
}

/* The threads see the stop that ends the pool, that their end was shut, or their deadlines. */
void sim_fetches_close(struct simpool *p)
{
    while (p->fetches) {
        struct sim_fetch *const f = p->fetches;
        (void)shutdown(bufferevent_getfd(f->in), SHUT_RDWR);
        if (f->thread)
            (void)pthread_join(f->thread, NULL);
        fetch_free(f);
    }
}
