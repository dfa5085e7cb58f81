/*
 * pool-client: a client for benches of XenAPI servers, so small that it is the server which is measured.
 *
 *     pool-client repeat HOST PORT PATH COUNT FILE
 *         posts what is in FILE so many times on one connection and takes the replies
 *     pool-client wake HOST PORT USER PASSWORD WAITERS ROUNDS LIMIT-MS
 *         so many connections block in event.from; a VM is changed; the time from before the change is sent to each
 *         one's whole reply, and beside it the same for a bare loop of send(), which is what this machine needs at
 *         least; exit status 1 when the 99th percentile over all rounds is above the limit and that of the loop
 */
#include "core/base.h"
#include "core/clock.h"
#include "core/stats.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define REPLY_BYTES_MAX (256u << 20)
#define WAITERS_MAX     4000u
#define ROUNDS_MAX      10000u
#define BATCH           64
#define BARE_BYTES      4096 /* of a reply, about what an event is */
#define BARE_HEAD_BYTES 41

struct connection {
    int fd;
    char *got; /* NUL-terminated */
    size_t len, capacity;
    size_t whole; /* bytes of the reply, 0: not known yet */
    bool answered;
};

static void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
static void die(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fputs("pool-client: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(2);
}

static void connect_to(struct connection *c, const char *host, const char *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    const int on = 1;

    *c = (struct connection){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    if (c->fd < 0 || inet_pton(AF_INET, host, &address.sin_addr) != 1 ||
        connect(c->fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0)
        die("connecting to %s:%s: %s", host, port, strerror(errno));
}

static void send_all(const struct connection *c, const char *bytes, size_t count)
{
    while (count > 0) {
        const ssize_t now = send(c->fd, bytes, count, MSG_NOSIGNAL);
        if (now <= 0)
            die("sending: %s", strerror(errno));
        bytes += now;
        count -= (size_t)now;
    }
}

/* What there is now. returns whether the reply is whole. */
static bool receive(struct connection *c)
{
    if (c->capacity - c->len < 65536) {
        c->capacity = c->capacity ? c->capacity * 2 : 131072;
        c->got = c->capacity <= REPLY_BYTES_MAX ? realloc(c->got, c->capacity) : NULL;
        if (!c->got)
            die("a reply that is too large");
    }
    const ssize_t now = recv(c->fd, c->got + c->len, c->capacity - c->len - 1, 0);
    if (now <= 0)
        die("the connection ended: %s", now < 0 ? strerror(errno) : "no reply");
    c->len += (size_t)now;
    c->got[c->len] = '\0';
    if (c->whole == 0) {
        const char *const end = strstr(c->got, "\r\n\r\n");
        const char *const length = end ? strcasestr(c->got, "\ncontent-length:") : NULL;
        if (!length)
            return false;
        if (strncmp(c->got, "HTTP/1.1 200 ", 13) != 0)
            die("%.60s", c->got);
        c->whole = (size_t)(end + 4 - c->got) + strtoul(length + 16, NULL, 10);
    }
    return c->len >= c->whole;
}

static void take_reply(struct connection *c)
{
    c->len = c->whole = 0;
    while (!receive(c))
        ;
}

static char *post(const char *path, const char *body, size_t bytes, size_t *ret_bytes)
{
    char *const request = malloc(bytes + 256);

    if (!request)
        die("no memory");
    const int head =
        snprintf(request, 256, "POST %s HTTP/1.1\r\nHost: bench\r\nContent-Length: %zu\r\n\r\n", path, bytes);
    memcpy(request + head, body, bytes);
    *ret_bytes = (size_t)head + bytes;
    return request;
}

/* ---- repeat ---- */

static int repeat(char **argv)
{
    static char body[1u << 20];
    struct connection c;
    FILE *const file = fopen(argv[4], "rb");
    size_t bytes, got = 0;

    if (!file)
        die("%s: %s", argv[4], strerror(errno));
    bytes = fread(body, 1, sizeof(body), file);
    (void)fclose(file);
    char *const request = post(argv[2], body, bytes, &bytes);
    connect_to(&c, argv[0], argv[1]);
    for (int i = atoi(argv[3]); i > 0; i--) {
        send_all(&c, request, bytes);
        take_reply(&c);
        got += c.whole;
    }
    printf("%zu\n", got);
    free(request);
    return 0;
}

/* ---- wake ---- */

/* A JSON-RPC call; the reply is in c->got. */
static void ask(struct connection *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void ask(struct connection *c, const char *format, ...)
{
    char body[1024];
    va_list args;
    size_t bytes;

    va_start(args, format);
    const int len = vsnprintf(body, sizeof(body), format, args);
    va_end(args);
    char *const request = post("/jsonrpc", body, (size_t)len, &bytes);
    send_all(c, request, bytes);
    free(request);
}

/* The text behind "NAME": in a reply. */
static void find_text(char *ret, size_t bytes, const char *reply, const char *name)
{
    const char *const at = strstr(reply, name);
    const char *const text = at ? strchr(at + strlen(name), '"') : NULL;

    if (!text)
        die("no %s in %.300s", name, strstr(reply, "\r\n\r\n"));
    snprintf(ret, bytes, "%.*s", (int)strcspn(text + 1, "\""), text + 1);
}

static int compare(const void *left, const void *right)
{
    const double a = *(const double *)left, b = *(const double *)right;

    return a < b ? -1 : a > b;
}

static void wait_for_events(struct connection *c, const char *session, const char *token)
{
    c->answered = false;
    c->len = c->whole = 0;
    ask(c, "{\"id\":1,\"method\":\"event.from\",\"params\":[\"%s\",[\"vm\"],\"%s\",60.0]}", session, token);
}

/* Take each one's reply; when it was whole goes to ret_ms, from `begun`. */
static void take_all(struct connection *all, unsigned count, int poll, uint64_t begun, double *ret_ms)
{
    const struct xk_clock *const clock = xk_clock_system();

    for (unsigned answered = 0; answered < count;) {
        struct epoll_event events[BATCH];
        const int ready = epoll_wait(poll, events, BATCH, 20000);
        if (ready <= 0)
            die("%u of %u were told in 20 s", answered, count);
        for (int i = 0; i < ready; i++) {
            struct connection *const c = &all[events[i].data.u32];
            if (!receive(c) || c->answered)
                continue;
            c->answered = true;
            ret_ms[answered++] = (double)(clock->monotonic_ns(clock) - begun) / 1e6;
        }
    }
}

/* Connections, all watched by one epoll descriptor. */
static struct connection *connect_all(unsigned count, const char *host, const char *port, int poll)
{
    struct connection *const all = calloc(count, sizeof(*all));

    if (!all)
        die("no memory");
    for (unsigned i = 0; i < count; i++) {
        connect_to(&all[i], host, port);
        struct epoll_event e = {.events = EPOLLIN, .data.u32 = i};
        if (epoll_ctl(poll, EPOLL_CTL_ADD, all[i].fd, &e) < 0)
            die("epoll: %s", strerror(errno));
    }
    return all;
}

static double p99_of(double *late_ms, size_t count)
{
    qsort(late_ms, count, sizeof(*late_ms), compare);
    return late_ms[(count * 99 + 99) / 100 - 1];
}

/* Sends the same page to each of `count` connections for each byte that comes in by `trigger`. */
static void send_barely(int listener, int trigger, unsigned count)
{
    static char page[BARE_BYTES];
    int *const fds = calloc(count, sizeof(*fds));
    char byte;

    memset(page, ' ', sizeof(page));
    memcpy(page + snprintf(page, sizeof(page), "HTTP/1.1 200 OK\r\nContent-Length: %4zu\r\n\r\n",
                           sizeof(page) - BARE_HEAD_BYTES),
           "{}", 2);
    for (unsigned i = 0; fds && i < count; i++)
        fds[i] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    while (fds && read(trigger, &byte, 1) == 1) {
        for (unsigned i = 0; i < count; i++)
            (void)send(fds[i], page, sizeof(page), MSG_NOSIGNAL);
    }
    _exit(0);
}

/* What this machine needs at least: a loop of send() to as many sockets, and the same client. returns   its 99 %, ms */
static double bare(unsigned waiters, unsigned rounds)
{
    const struct xk_clock *const clock = xk_clock_system();
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t bytes = sizeof(address);
    const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), poll = epoll_create1(EPOLL_CLOEXEC);
    double *const late_ms = calloc((size_t)waiters * rounds, sizeof(*late_ms));
    int trigger[2];
    char port[8];

    if (!late_ms || poll < 0 || bind(listener, (struct sockaddr *)&address, bytes) < 0 ||
        listen(listener, (int)waiters) < 0 || getsockname(listener, (struct sockaddr *)&address, &bytes) < 0 ||
        pipe2(trigger, O_CLOEXEC) < 0)
        die("a bare server: %s", strerror(errno));
    const pid_t server = fork();
    if (server == 0) {
        (void)close(trigger[1]);
        send_barely(listener, trigger[0], waiters);
    }
    snprintf(port, sizeof(port), "%u", ntohs(address.sin_port));
    struct connection *const all = connect_all(waiters, "127.0.0.1", port, poll);
    for (unsigned round = 0; round < rounds; round++) {
        const struct timespec pause = {.tv_nsec = 3000000};
        (void)nanosleep(&pause, NULL);
        for (unsigned i = 0; i < waiters; i++) {
            all[i].answered = false;
            all[i].len = all[i].whole = 0;
        }
        const uint64_t begun = clock->monotonic_ns(clock);
        if (write(trigger[1], "", 1) != 1)
            die("the bare server is gone");
        take_all(all, waiters, poll, begun, late_ms + (size_t)round * waiters);
    }
    (void)close(trigger[1]);
    (void)waitpid(server, NULL, 0);
    for (unsigned i = 0; i < waiters; i++)
        (void)close(all[i].fd);
    free(all);
    const double p99 = p99_of(late_ms, (size_t)waiters * rounds);
    free(late_ms);
    return p99;
}

static int wake(char **argv)
{
    const unsigned waiters = (unsigned)atoi(argv[4]), rounds = (unsigned)atoi(argv[5]);
    const double limit_ms = strtod(argv[6], NULL);
    const struct xk_clock *const clock = xk_clock_system();
    struct rlimit files = {.rlim_cur = WAITERS_MAX + 64, .rlim_max = WAITERS_MAX + 64};
    struct connection changer;
    char session[128], token[128], vm[128];

    if (waiters == 0 || waiters > WAITERS_MAX || rounds == 0 || rounds > ROUNDS_MAX)
        die("1 to %u waiters, 1 to %u rounds", WAITERS_MAX, ROUNDS_MAX);
    (void)setrlimit(RLIMIT_NOFILE, &files);
    double *const late_ms = calloc((size_t)waiters * rounds, sizeof(*late_ms));
    const int poll = epoll_create1(EPOLL_CLOEXEC);
    if (!late_ms || poll < 0)
        die("no memory");
    const double bare_ms = bare(waiters, rounds);
    connect_to(&changer, argv[0], argv[1]);
    ask(&changer, "{\"id\":1,\"method\":\"session.login_with_password\",\"params\":[\"%s\",\"%s\"]}", argv[2], argv[3]);
    take_reply(&changer);
    find_text(session, sizeof(session), changer.got, "\"result\":");
    ask(&changer, "{\"id\":1,\"method\":\"VM.get_all\",\"params\":[\"%s\"]}", session);
    take_reply(&changer);
    find_text(vm, sizeof(vm), changer.got, "\"result\":[");
    ask(&changer, "{\"id\":1,\"method\":\"event.from\",\"params\":[\"%s\",[\"vm\"],\"\",0.0]}", session);
    take_reply(&changer);
    find_text(token, sizeof(token), changer.got, "\"token\":");
    struct connection *const all = connect_all(waiters, argv[0], argv[1], poll);
    for (unsigned i = 0; i < waiters; i++)
        wait_for_events(&all[i], session, token);
    for (unsigned round = 0; round < rounds; round++) {
        /* A call on the other connection is answered after all requests that were sent before have been read. */
        for (int i = 0; i < 3; i++) {
            ask(&changer, "{\"id\":1,\"method\":\"VM.get_all\",\"params\":[\"%s\"]}", session);
            take_reply(&changer);
        }
        const uint64_t begun = clock->monotonic_ns(clock);
        ask(&changer, "{\"id\":1,\"method\":\"VM.set_name_description\",\"params\":[\"%s\",\"%s\",\"%u\"]}", session,
            vm, round);
        take_all(all, waiters, poll, begun, late_ms + (size_t)round * waiters);
        take_reply(&changer);
        for (unsigned i = 0; i < waiters; i++) {
            find_text(token, sizeof(token), all[i].got, "\"token\":");
            wait_for_events(&all[i], session, token);
        }
    }
    const size_t count = (size_t)waiters * rounds;
    const double p99 = p99_of(late_ms, count);
    printf("%u blocked, %u changes: median %.2f ms, 99 %% %.2f ms, all %.2f ms; a bare loop of send(): 99 %% %.2f ms "
           "(asked for: 99 %% below %s ms, or 1.25 times the bare loop's)\n",
           waiters, rounds, late_ms[count / 2], p99, late_ms[count - 1], bare_ms, argv[6]);
    return p99 > limit_ms && p99 > 1.25 * bare_ms;
}

int main(int argc, char **argv)
{
    if (argc == 7 && strcmp(argv[1], "repeat") == 0)
        return repeat(argv + 2);
    if (argc == 9 && strcmp(argv[1], "wake") == 0)
        return wake(argv + 2);
    fputs(
        "usage: pool-client repeat HOST PORT PATH COUNT FILE | wake HOST PORT USER PASSWORD WAITERS ROUNDS LIMIT-MS\n",
        stderr);
    return 2;
}
