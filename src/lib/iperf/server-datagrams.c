/*
 * The server's datagrams. A greeting opens a stream: it gets a socket that is connected to where it came from, beside
 * the one that goes on listening. Echoes are answered within tests that asked for them.
 */
#include "lib/iperf/server-inner.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define HELLO_LEGACY   123456789u /* up to 3.11, in the byte order of the client */
#define ANSWER_LEGACY  987654321u
#define ECHOES_AT_ONCE 64

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

static in_port_t port_of(const struct sockaddr_storage *a)
{
    return a->ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)a)->sin6_port
                                    : ((const struct sockaddr_in *)a)->sin_port;
}

/*
 * The socket of the stream that this address has already. A client that waited in vain greets again, and both greetings
 * may have come before either was read; two streams would be one too many. returns -1: it has none.
 */
static int stream_to(const struct session *x, const struct sockaddr_storage *from)
{
    for (unsigned i = 0; i < x->test.flow_count; i++) {
        struct sockaddr_storage to = {0};
        socklen_t bytes = sizeof(to);
        if (getpeername(x->test.flows[i].fd, (struct sockaddr *)&to, &bytes) == 0 && same_host(&to, from) &&
            port_of(&to) == port_of(from))
            return x->test.flows[i].fd;
    }
    return -1;
}

/* Hello is answered only to the host that asked for a test, while its streams are awaited. */
void iperf_server_datagram(evutil_socket_t fd, short what, void *context)
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
        const int known = stream_to(x, &from);
        if (known >= 0) {
            (void)send(known, &answer, sizeof(answer), MSG_DONTWAIT | MSG_NOSIGNAL);
            return;
        }
        const int stream = udp_towards(x, &from, bytes);
        if (stream < 0)
            return iperf_session_fail(x, IPERF_E_STREAMACCEPT, errno);
        (void)send(stream, &answer, sizeof(answer), MSG_NOSIGNAL);
        (void)iperf_session_adopt(x, stream);
        return;
    }
}
