/*
 * One thread a connection, with a small stack and one buffer; the main thread only accepts, commits changes from time
 * to time and waits for the end. Weighed: an event loop, which libevent would give. Reading an image blocks in the file
 * system whatever the sockets do, so a loop needs a pool of threads behind it and requests that can be set aside half
 * done; a thread for each client has the conversation as plain code, and its memory (about 100 KiB) is bounded by the
 * number of connections just the same.
 *
 * Signals that ask for a stop reach the main thread alone, and only while it waits in ppoll(), so none is missed. To
 * stop, the clients' sockets are shut for reading: what is being worked on is still answered.
 */
#include "lib/nbd/inner.h"

#include "core/fs.h"
#include "core/text.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

#define STACK_BYTES      (192u * 1024)
#define BACKLOG          512
#define MESSAGE_NS       (30 * XK_NS_PER_S)  /* for one piece of a message, once it has begun */
#define HANDSHAKE_NS     (30 * XK_NS_PER_S)  /* for all of it */
#define SEND_NS          (120 * XK_NS_PER_S) /* for one piece, while the client does not read */
#define STOP_NS          (5 * XK_NS_PER_S)   /* for the requests that are under way when a stop is asked for */
#define DESCRIPTORS_MORE 64                  /* files beside the clients' sockets */
#define TICK_NS          XK_NS_PER_S

struct connection {
    struct nbd_server *server;
    struct connection *next, **link; /* in the server's list */
    int fd;
    uint64_t number;
    uint64_t handshake_until_ns; /* 0: over */
};

struct nbd_server {
    struct nbd_settings settings;
    int listener, wake; /* wake: an eventfd that ended connections write to */
    char *uri, *socket_path;
    ino_t socket_inode;
    uint16_t port;
    pthread_mutex_t lock; /* of all below */
    struct connection *connections;
    unsigned count;
    bool served; /* somebody got as far as requests */
    struct nbd_totals totals;
    struct nbd_counters counters;
    atomic_bool stopping;   /* no new requests */
    uint64_t refusals_told; /* a flood of refusals is one line a second */
};

/* ---- one connection's wire ---- */

static uint64_t now_ns(const struct nbd_server *s)
{
    return s->settings.clock->monotonic_ns(s->settings.clock);
}

/* until_ns 0: for ever. returns 0; -ETIMEDOUT. */
static int wait_for(const struct connection *c, short events, uint64_t until_ns)
{
    for (;;) {
        struct pollfd p = {.fd = c->fd, .events = events};
        const uint64_t now = until_ns ? now_ns(c->server) : 0;
        if (until_ns && now >= until_ns)
            return -ETIMEDOUT;
        const uint64_t left_ns = until_ns - now;
        const struct timespec left = {.tv_sec = (time_t)(left_ns / XK_NS_PER_S),
                                      .tv_nsec = (long)(left_ns % XK_NS_PER_S)};
        const int ready = ppoll(&p, 1, until_ns ? &left : NULL, NULL);
        if (ready > 0)
            return 0;
        if (ready < 0 && errno != EINTR)
            return -errno;
    }
}

static int receive(void *context, void *buf, size_t bytes, bool may_wait)
{
    const struct connection *const c = context;
    const uint64_t idle_ns = c->server->settings.idle_ns;
    uint64_t until_ns = 0;
    size_t got = 0;

    if (may_wait && atomic_load(&c->server->stopping))
        return -ENODATA;
    if (c->handshake_until_ns)
        until_ns = c->handshake_until_ns;
    else if (!may_wait)
        until_ns = now_ns(c->server) + MESSAGE_NS;
    else if (idle_ns)
        until_ns = now_ns(c->server) + idle_ns;
    while (got < bytes) {
        const ssize_t n = recv(c->fd, (uint8_t *)buf + got, bytes - got, MSG_DONTWAIT);
        if (n == 0)
            return got ? -ECONNRESET : -ENODATA;
        if (n > 0) {
            if (got == 0 && may_wait && !c->handshake_until_ns && (size_t)n < bytes)
                until_ns = now_ns(c->server) + MESSAGE_NS;
            got += (size_t)n;
        } else if (errno == EAGAIN) {
            const int code = wait_for(c, POLLIN, until_ns);
            if (code < 0)
                return code;
        } else if (errno != EINTR) {
            return -errno;
        }
    }
    return 0;
}

static int send_all(void *context, const void *buf, size_t bytes)
{
    const struct connection *const c = context;
    uint64_t until_ns = 0;

    for (size_t sent = 0; sent < bytes;) {
        const ssize_t n = send(c->fd, (const uint8_t *)buf + sent, bytes - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n >= 0) {
            sent += (size_t)n;
        } else if (errno == EAGAIN) {
            if (!until_ns)
                until_ns = now_ns(c->server) + SEND_NS;
            const int code = wait_for(c, POLLOUT, until_ns);
            if (code < 0)
                return code;
        } else if (errno != EINTR) {
            return -errno;
        }
    }
    return 0;
}

/* ---- one connection ---- */

static void tell(struct nbd_server *s, enum xk_level level, uint64_t number, const char *text)
{
    pthread_mutex_lock(&s->lock);
    xk_log(s->settings.log, level, "client %llu: %s", (unsigned long long)number, text);
    pthread_mutex_unlock(&s->lock);
}

static void begin_requests(struct connection *c)
{
    c->handshake_until_ns = 0;
    pthread_mutex_lock(&c->server->lock);
    c->server->served = true;
    pthread_mutex_unlock(&c->server->lock);
}

static int converse(struct connection *c, struct xk_err *err)
{
    xk_autofree uint8_t *room = xk_alloc(NBD_HEADER_BYTES + NBD_BUFFER_BYTES);
    struct nbd_client client = {
        .export = &c->server->settings.export,
        .wire = {.receive = receive, .send = send_all, .context = c},
        .counters = &c->server->counters,
        .room = room,
        .err = err,
    };

    if (!room)
        return xk_fail_memory(err);
    client.buffer = room + NBD_HEADER_BYTES;
    c->handshake_until_ns = now_ns(c->server) + HANDSHAKE_NS;
    int code = nbd_handshake(&client);
    if (code > 0) {
        begin_requests(c);
        code = nbd_answer(&client);
    }
    if (code == -ETIMEDOUT)
        code = xk_fail(err, code,
                       c->handshake_until_ns ? "it did not finish the handshake in time"
                                             : "it went silent, or stopped reading");
    return code;
}

/* Clients that go away in the middle are told of only when somebody wants details. */
static void tell_end(struct connection *c, int code, const struct xk_err *why)
{
    struct nbd_server *const s = c->server;
    const bool gone = code == -ECONNRESET || code == -EPIPE || code == -ENODATA;

    if (code == 0 || gone) {
        tell(s, XK_LOG_INFO, c->number, gone ? "went away in the middle of something" : "disconnected");
        return;
    }
    pthread_mutex_lock(&s->lock);
    s->totals.broken++;
    pthread_mutex_unlock(&s->lock);
    tell(s, XK_LOG_WARN, c->number, why->text[0] ? why->text : strerrordesc_np(-code));
}

static void *serve_client(void *argument)
{
    struct connection *const c = argument;
    struct nbd_server *const s = c->server;
    struct xk_err err = {0};
    const uint64_t one = 1;

    const int code = converse(c, &err);
    tell_end(c, code, &err);
    pthread_mutex_lock(&s->lock);
    *c->link = c->next;
    if (c->next)
        c->next->link = c->link;
    (void)close(c->fd);
    s->count--;
    /* Under the lock: the server may be gone as soon as it is released. */
    (void)!write(s->wake, &one, sizeof(one));
    pthread_mutex_unlock(&s->lock);
    free(c);
    return NULL;
}

static int start_thread(struct connection *c)
{
    pthread_attr_t attr;
    pthread_t thread;

    if (pthread_attr_init(&attr) != 0)
        return -ENOMEM;
    (void)pthread_attr_setstacksize(&attr, STACK_BYTES);
    (void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    const int code = pthread_create(&thread, &attr, serve_client, c);
    (void)pthread_attr_destroy(&attr);
    return -code;
}

static void refuse_client(struct nbd_server *s, int fd, const char *why)
{
    const uint64_t now = now_ns(s);

    (void)close(fd);
    pthread_mutex_lock(&s->lock);
    s->totals.refused++;
    if (s->refusals_told == 0 || now - s->refusals_told >= XK_NS_PER_S) {
        xk_log(s->settings.log, XK_LOG_WARN, "a client was refused: %s (%llu in all)", why,
               (unsigned long long)s->totals.refused);
        s->refusals_told = now;
    }
    pthread_mutex_unlock(&s->lock);
}

static void add_client(struct nbd_server *s, int fd)
{
    struct connection *const c = xk_zalloc(sizeof(*c));
    const int one = 1;

    if (!c) {
        refuse_client(s, fd, "memory is out");
        return;
    }
    if (s->port)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    *c = (struct connection){.server = s, .fd = fd};
    pthread_mutex_lock(&s->lock);
    const bool full = s->count >= s->settings.connections_max;
    if (!full) {
        c->number = ++s->totals.clients;
        c->next = s->connections;
        c->link = &s->connections;
        if (c->next)
            c->next->link = &c->next;
        s->connections = c;
        s->count++;
    }
    pthread_mutex_unlock(&s->lock);
    if (full) {
        free(c);
        refuse_client(s, fd, "all connections are taken");
        return;
    }
    if (start_thread(c) == 0)
        return;
    pthread_mutex_lock(&s->lock);
    *c->link = c->next;
    if (c->next)
        c->next->link = c->link;
    s->count--;
    pthread_mutex_unlock(&s->lock);
    free(c);
    refuse_client(s, fd, "no thread could be started for it");
}

/* ---- the address ---- */

static int fail_address(struct xk_err *err, int code, const char *what)
{
    if (code == -EADDRINUSE) {
        xk_fail(err, code, "%s is in use", what);
        xk_err_hint(err, "end the other server, or choose another address; --port 0 takes a free port");
        return code;
    }
    return xk_fail_sys(err, code, "cannot listen on %s", what);
}

/* A socket file that nobody listens on any more may be replaced; nothing else may. */
static int clear_address(const struct sockaddr_un *address, struct xk_err *err)
{
    struct stat st;

    if (lstat(address->sun_path, &st) != 0)
        return errno == ENOENT ? 0 : xk_fail_sys(err, -errno, "%s", address->sun_path);
    if (!S_ISSOCK(st.st_mode))
        return xk_fail(err, -EEXIST, "%s: is there already, and is no socket", address->sun_path);
    xk_autoclose const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return xk_fail_sys(err, -errno, "cannot make a socket");
    if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 || errno != ECONNREFUSED)
        return fail_address(err, -EADDRINUSE, address->sun_path);
    return unlink(address->sun_path) == 0 ? 0 : xk_fail_sys(err, -errno, "%s", address->sun_path);
}

static int listen_unix(struct nbd_server *s, const char *path, struct xk_err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat st;

    if (strlen(path) >= sizeof(address.sun_path))
        return xk_fail(err, -ENAMETOOLONG, "%s: the path of a socket has at most %zu bytes", path,
                       sizeof(address.sun_path) - 1);
    memcpy(address.sun_path, path, strlen(path));
    int code = clear_address(&address, err);
    if (code < 0)
        return code;
    s->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s->listener < 0)
        return xk_fail_sys(err, -errno, "cannot make a socket");
    /* Only its owner may connect, from the first moment on. */
    const mode_t mask = umask(0177);
    code = bind(s->listener, (const struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
    (void)umask(mask);
    if (code < 0)
        return fail_address(err, code, path);
    s->socket_path = xk_strdup(path);
    if (!s->socket_path) {
        (void)unlink(path);
        return xk_fail_memory(err);
    }
    if (lstat(path, &st) == 0)
        s->socket_inode = st.st_ino;
    return listen(s->listener, BACKLOG) < 0 ? fail_address(err, -errno, path) : 0;
}

static int listen_tcp(struct nbd_server *s, uint16_t port, struct xk_err *err)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof(address);
    const int one = 1;
    char what[40];

    snprintf(what, sizeof(what), "127.0.0.1 port %u", port);
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s->listener < 0)
        return xk_fail_sys(err, -errno, "cannot make a socket");
    (void)setsockopt(s->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(s->listener, (const struct sockaddr *)&address, sizeof(address)) < 0 || listen(s->listener, BACKLOG) < 0 ||
        getsockname(s->listener, (struct sockaddr *)&address, &bytes) < 0)
        return fail_address(err, -errno, what);
    s->port = ntohs(address.sin_port);
    return 0;
}

/* As URIs want it: what is no letter, digit or one of -._~/ becomes %XX. */
static void add_escaped(struct xk_buf *b, const char *text)
{
    for (; *text; text++) {
        const unsigned char c = (unsigned char)*text;
        const bool plain =
            (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || strchr("-._~/", c) != NULL;
        if (plain)
            xk_buf_add_char(b, (char)c);
        else
            xk_buf_printf(b, "%%%02X", c);
    }
}

static int make_uri(struct nbd_server *s, struct xk_err *err)
{
    xk_auto(xk_buf_done) struct xk_buf uri = XK_BUF_INIT(4 * NBD_NAME_MAX);

    if (s->socket_path)
        xk_buf_add_str(&uri, "nbd+unix:///");
    else
        xk_buf_printf(&uri, "nbd://127.0.0.1:%u/", s->port);
    add_escaped(&uri, s->settings.export.name);
    if (s->socket_path) {
        xk_autofree char *real = realpath(s->socket_path, NULL);
        xk_buf_add_str(&uri, "?socket=");
        add_escaped(&uri, real ? real : s->socket_path);
    }
    s->uri = xk_buf_take(&uri);
    return s->uri ? 0 : xk_fail_memory(err);
}

int nbd_listen(struct nbd_server **ret, const struct nbd_settings *settings, struct xk_err *err)
{
    struct nbd_server *const s = xk_zalloc(sizeof(*s));

    if (!s)
        return xk_fail_memory(err);
    assert(strlen(settings->export.name) <= NBD_NAME_MAX);
    s->settings = *settings;
    s->listener = s->wake = -1;
    (void)pthread_mutex_init(&s->lock, NULL);
    (void)xk_fd_limit_raise((uint64_t)settings->connections_max + DESCRIPTORS_MORE);
    int code = settings->socket ? listen_unix(s, settings->socket, err) : listen_tcp(s, settings->port, err);
    if (code == 0) {
        s->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        code = s->wake < 0 ? xk_fail_sys(err, -errno, "cannot make an eventfd") : make_uri(s, err);
    }
    if (code < 0) {
        nbd_close(s);
        return code;
    }
    *ret = s;
    return 0;
}

const char *nbd_uri(const struct nbd_server *s)
{
    return s->uri;
}

uint16_t nbd_port(const struct nbd_server *s)
{
    return s->port;
}

struct nbd_totals nbd_totals(const struct nbd_server *s)
{
    struct nbd_totals t = s->totals;

    t.requests = atomic_load(&s->counters.requests);
    t.read_bytes = atomic_load(&s->counters.read_bytes);
    t.written_bytes = atomic_load(&s->counters.written_bytes);
    return t;
}

void nbd_close(struct nbd_server *s)
{
    struct stat st;

    if (!s)
        return;
    assert(s->count == 0);
    if (s->listener >= 0)
        (void)close(s->listener);
    if (s->wake >= 0)
        (void)close(s->wake);
    if (s->socket_path && lstat(s->socket_path, &st) == 0 && st.st_ino == s->socket_inode)
        (void)unlink(s->socket_path);
    (void)pthread_mutex_destroy(&s->lock);
    free(s->socket_path);
    free(s->uri);
    free(s);
}

/* ---- the main loop ---- */

static void accept_clients(struct nbd_server *s)
{
    for (int i = 0; i < BACKLOG; i++) {
        const int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            add_client(s, fd);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
            /* It stays in the queue; asking again at once would only spin. */
            s->settings.clock->sleep_ns(s->settings.clock, 50 * XK_NS_PER_MS);
        if (errno != EINTR && errno != ECONNABORTED)
            return;
    }
}

static unsigned count_clients(struct nbd_server *s, bool *ret_served)
{
    pthread_mutex_lock(&s->lock);
    const unsigned count = s->count;
    *ret_served = s->served;
    pthread_mutex_unlock(&s->lock);
    return count;
}

/* Until something happens, a second at most. returns 0 or an error of polling. */
static int wait_event(struct nbd_server *s, bool accepting, const sigset_t *during, struct xk_err *err)
{
    struct pollfd p[] = {{.fd = s->wake, .events = POLLIN}, {.fd = accepting ? s->listener : -1, .events = POLLIN}};
    const struct timespec tick = {.tv_sec = TICK_NS / XK_NS_PER_S};
    uint64_t ended;

    const int ready = ppoll(p, XK_COUNT(p), &tick, during);
    if (ready < 0 && errno != EINTR)
        return xk_fail_sys(err, -errno, "waiting for clients");
    if (ready > 0 && p[0].revents)
        (void)!read(s->wake, &ended, sizeof(ended));
    if (ready > 0 && p[1].revents)
        accept_clients(s);
    return 0;
}

static void commit_changes(struct nbd_server *s, uint64_t *last_ns)
{
    struct xk_err err = {0};

    if (!s->settings.export.overlay || now_ns(s) - *last_ns < s->settings.commit_ns)
        return;
    if (volume_overlay_flush(s->settings.export.overlay, &err) < 0) {
        pthread_mutex_lock(&s->lock);
        xk_log(s->settings.log, XK_LOG_WARN, "changes could not be put on stable storage: %s", err.text);
        pthread_mutex_unlock(&s->lock);
    }
    *last_ns = now_ns(s);
}

static int serve(struct nbd_server *s, const sigset_t *during, struct xk_err *err)
{
    uint64_t committed_ns = now_ns(s);
    bool served;
    int code = 0;

    while (code == 0 && !xk_stop_signal()) {
        code = wait_event(s, true, during, err);
        if (count_clients(s, &served) == 0 && served && s->settings.once)
            break;
        commit_changes(s, &committed_ns);
    }
    return code;
}

static void shut_clients(struct nbd_server *s, int how)
{
    pthread_mutex_lock(&s->lock);
    for (const struct connection *c = s->connections; c; c = c->next)
        (void)shutdown(c->fd, how);
    pthread_mutex_unlock(&s->lock);
}

/* Every thread has to be gone, since it looks at the server and the disk. */
static void end_clients(struct nbd_server *s)
{
    const uint64_t until_ns = now_ns(s) + STOP_NS;
    bool served, forced = false;

    atomic_store(&s->stopping, true);
    shut_clients(s, SHUT_RD);
    while (count_clients(s, &served) > 0) {
        if (!forced && now_ns(s) >= until_ns) {
            shut_clients(s, SHUT_RDWR);
            forced = true;
        }
        (void)wait_event(s, false, NULL, NULL);
    }
}

int nbd_run(struct nbd_server *s, struct xk_err *err)
{
    static const int stops[] = {SIGINT, SIGTERM, SIGHUP};
    sigset_t blocked, before;

    (void)sigemptyset(&blocked);
    for (size_t i = 0; i < XK_COUNT(stops); i++)
        (void)sigaddset(&blocked, stops[i]);
    (void)pthread_sigmask(SIG_BLOCK, &blocked, &before);
    int code = serve(s, &before, err);
    /* A second signal ends the waiting the hard way. */
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    end_clients(s);
    if (code == 0 && s->settings.export.overlay)
        code = volume_overlay_flush(s->settings.export.overlay, err);
    return code;
}
