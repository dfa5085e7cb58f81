/*
 * Files of the classic `xe`: HTTP/1.0 on a connection of its own, as the real one speaks it. A PUT waits for the
 * server's 200 before it sends the file. A file that did not come whole is removed again.
 */
#include "rooms/api/classic-xe.h"

#include "core/text.h"
#include "lib/http/stream.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>

#define HEAD_BYTES_MAX (64u << 10)
#define PIECE_BYTES    (256u << 10)
#define CONNECT_NS     (30 * XK_NS_PER_S)
#define REDIRECTS_MAX  4
#define ESCAPE         0x1d /* Ctrl-] */

struct peer {
    struct http_stream *stream;
    struct resolve_limits limits;
    struct xk_buf head; /* and what came behind it */
    size_t body;        /* where that begins */
    unsigned status;
    char location[2048];
};

static int send_all(struct peer *p, const void *bytes, size_t count)
{
    for (size_t sent = 0; sent < count;) {
        const ssize_t n = http_stream_write(p->stream, (const char *)bytes + sent, count - sent, &p->limits);
        if (n < 0)
            return (int)n;
        sent += (size_t)n;
    }
    return 0;
}

static int receive_head(struct peer *p)
{
    char piece[4096];
    const char *end = NULL;

    while (!(p->head.len > 0 && (end = strstr(p->head.data, "\r\n\r\n")))) {
        const ssize_t n = http_stream_read(p->stream, piece, sizeof(piece), &p->limits);
        if (n <= 0)
            return n < 0 ? (int)n : -ECONNRESET;
        xk_buf_add(&p->head, piece, (size_t)n);
        if (p->head.error)
            return -EPROTO;
    }
    p->body = (size_t)(end + 4 - p->head.data);
    if (sscanf(p->head.data, "HTTP/1.%*1[01] %3u", &p->status) != 1)
        return -EPROTO;
    const char *const location = strcasestr(p->head.data, "\r\nlocation: ");
    if (location && location < end)
        (void)snprintf(p->location, sizeof(p->location), "%.*s",
                       (int)XK_MIN(strcspn(location + 12, "\r"), sizeof(p->location) - 1), location + 12);
    return 0;
}

static void peer_close(struct peer *p)
{
    http_stream_close(p->stream);
    xk_buf_done(&p->head);
    *p = (struct peer){0};
}

/* A path, or https://HOST/PATH. */
static int peer_open(struct xe_front *f, struct peer *p, const char *verb, const char *address, const char *headers)
{
    const char *const rest = xk_has_prefix(address, "https://") ? address + 8 : NULL;
    const char *const path = rest ? strchrnul(rest, '/') : address;
    char host[512];
    struct xk_buf request = XK_BUF_INIT(HEAD_BYTES_MAX);

    *p = (struct peer){.limits = {.clock = f->app->clock,
                                  .deadline_ns = resolve_deadline(f->app->clock, CONNECT_NS),
                                  .root = f->app->root},
                       .head = XK_BUF_INIT(HEAD_BYTES_MAX)};
    if (rest)
        (void)snprintf(host, sizeof(host), "%.*s", (int)XK_MIN((size_t)(path - rest), sizeof(host) - 1), rest);
    xk_buf_printf(&request, "%s %s HTTP/1.0\r\n%s\r\n", verb, *path ? path : "/", headers);
    int code = request.error ? -E2BIG : client_stream(f->client, &p->stream, rest ? host : NULL, &p->limits, f->err);
    p->limits.deadline_ns = RESOLVE_NO_DEADLINE;
    if (code == 0)
        code = send_all(p, request.data, request.len);
    if (code == 0)
        code = receive_head(p);
    xk_buf_done(&request);
    return code;
}

/* The same, and on to where the server says. returns   0 with a connection whose head has status 200. */
static int peer_reach(struct xe_front *f, struct peer *p, const char *verb, const char *address, const char *headers)
{
    char place[2048];

    (void)snprintf(place, sizeof(place), "%s", address);
    for (unsigned i = 0; i < REDIRECTS_MAX; i++) {
        const int code = peer_open(f, p, verb, place, headers);
        if (code == 0 && p->status == 200)
            return 0;
        (void)snprintf(place, sizeof(place), "%s", p->location);
        const bool go_on = code == 0 && p->status == 302 && *place;
        peer_close(p);
        if (!go_on)
            return XE_TERMINAL_FAILED;
    }
    return XE_TERMINAL_FAILED;
}

static int write_all(int fd, const char *bytes, size_t count)
{
    while (count > 0) {
        const ssize_t n = write(fd, bytes, count);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        bytes += n;
        count -= (size_t)n;
    }
    return 0;
}

static int ended(const struct xe_front *f, const char *before, const char *word, const char *behind)
{
    xe_say_error(f, "Operation failed. Error: %s%s%s\n", before, word, behind);
    return XE_TERMINAL_ENDED;
}

/* ---- GET ---- */

static int copy_body(struct peer *p, int fd)
{
    char *const piece = xk_alloc(PIECE_BYTES);
    ssize_t n = 1;

    int code = piece ? write_all(fd, p->head.data + p->body, p->head.len - p->body) : -ENOMEM;
    while (code == 0 && (n = http_stream_read(p->stream, piece, PIECE_BYTES, &p->limits)) > 0)
        code = write_all(fd, piece, (size_t)n);
    free(piece);
    return code < 0 || n < 0 ? XE_TERMINAL_FAILED : 0;
}

static int get(struct xe_front *f, const char *path, const char *address)
{
    struct peer p;
    int code = peer_reach(f, &p, "GET", address, "");

    if (code != 0)
        return code;
    if (!*path) {
        code = copy_body(&p, STDOUT_FILENO);
        peer_close(&p);
        return code;
    }
    xk_autoclose const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        char word[4400];
        (void)snprintf(word, sizeof(word), "%.4096s: %s", path, strerror(errno));
        peer_close(&p);
        return ended(f, "Sys_error(\"", word, "\")");
    }
    code = copy_body(&p, fd);
    peer_close(&p);
    if (code != 0)
        (void)unlink(path);
    return code;
}

/* ---- PUT ---- */

static int put(struct xe_front *f, const char *path, const char *address)
{
    char headers[64] = "", *const piece = xk_alloc(PIECE_BYTES);
    xk_autoclose const int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    struct peer p;
    ssize_t n = 0;

    if (fd < 0 || fstat(fd, &st) < 0 || !piece) {
        free(piece);
        return ended(f, "file '", path, "' does not exist");
    }
    if (S_ISREG(st.st_mode))
        (void)snprintf(headers, sizeof(headers), "Content-length: %lld\r\n", (long long)st.st_size);
    int code = peer_reach(f, &p, "PUT", address, headers);
    while (code == 0 && (n = read(fd, piece, PIECE_BYTES)) > 0)
        code = send_all(&p, piece, (size_t)n);
    free(piece);
    if (p.stream)
        peer_close(&p);
    return code != 0 || n < 0 ? XE_TERMINAL_FAILED : 0;
}

/* ---- CONNECT ---- */

/* Bytes both ways until the far side ends or the user types the escape. */
static int talk(struct peer *p, int fd)
{
    char piece[64 << 10];
    bool open_still = true;

    (void)write_all(STDOUT_FILENO, p->head.data + p->body, p->head.len - p->body);
    while (open_still && !xk_stop_signal()) {
        struct pollfd fds[] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
        if (poll(fds, XK_COUNT(fds), -1) < 0 && errno != EINTR)
            return -errno;
        if (fds[0].revents) {
            const ssize_t n = read(STDIN_FILENO, piece, sizeof(piece));
            const char *const escape = n > 0 ? memchr(piece, ESCAPE, (size_t)n) : NULL;
            open_still = n > 0 && !escape && send_all(p, piece, escape ? (size_t)(escape - piece) : (size_t)n) == 0;
        }
        if (open_still && fds[1].revents) {
            const ssize_t n = http_stream_read(p->stream, piece, sizeof(piece), &p->limits);
            open_still = n > 0 && write_all(STDOUT_FILENO, piece, (size_t)n) == 0;
        }
    }
    return 0;
}

static int connect_terminal(struct xe_front *f, const char *address)
{
    struct termios before;
    struct peer p;
    const bool terminal = tcgetattr(STDIN_FILENO, &before) == 0;
    int code = peer_open(f, &p, "CONNECT", address, "content-length: 0\r\n");

    if (code == 0 && p.status != 200) {
        if (p.status == 404)
            xe_say_error(f, "Server replied with HTTP 404: the console is not available\n");
        else
            xe_say_error(f, "Server said: %.*s", (int)strcspn(p.head.data, "\n"), p.head.data);
        code = XE_TERMINAL_FAILED;
    }
    if (code == 0 && terminal) {
        struct termios raw = before;
        cfmakeraw(&raw);
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
    if (code == 0)
        code = talk(&p, http_stream_fd(p.stream));
    if (terminal) {
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &before);
        (void)write_all(STDOUT_FILENO, "\r\n", 2);
    }
    peer_close(&p);
    return code < 0 ? XE_TERMINAL_FAILED : code;
}

int xe_transfer(struct xe_front *f, enum xe_transfer kind, const char *path, const char *address)
{
    switch (kind) {
    case XE_GET:
        return get(f, path, address);
    case XE_PUT:
        return put(f, path, address);
    case XE_CONNECT:
        break;
    }
    return connect_terminal(f, address);
}
