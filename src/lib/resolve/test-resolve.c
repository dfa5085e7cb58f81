/* Names, with a name server of our own that answers as the test tells it; connections on loopback. */
#include "lib/resolve/resolve.h"

#include "core/fs.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define SLOW_NS (300 * XK_NS_PER_MS)
#define LONG_NS (20 * XK_NS_PER_S)

/*
 * The server: "both" has an address of each family, "four" only IPv4, "lame" IPv4 while IPv6 is never answered,
 * "silent" is never answered, "many" has 20 addresses; anything else is not there.
 */
struct server {
    int fd;
    uint16_t port;
    pthread_t thread;
    unsigned asked;
    char root[64];
};

/* The first label of the question, and its type. returns   the end of the question; 0: not understood. */
static size_t read_question(const uint8_t *packet, size_t bytes, char *ret_label, uint16_t *ret_type)
{
    size_t at = 12;

    if (bytes < 17 || packet[at] > 60 || at + packet[at] > bytes)
        return 0;
    snprintf(ret_label, 64, "%.*s", packet[at], (const char *)packet + at + 1);
    while (at < bytes && packet[at])
        at += packet[at] + 1u;
    if (at + 5 > bytes)
        return 0;
    *ret_type = (uint16_t)(packet[at + 1] << 8 | packet[at + 2]);
    return at + 5;
}

static size_t add_record(uint8_t *packet, size_t at, uint16_t type, unsigned number)
{
    const uint16_t length = type == 1 ? 4 : 16;
    const uint8_t head[12] = {0xc0, 12, 0, (uint8_t)type, 0, 1, 0, 0, 0, 60, 0, (uint8_t)length};

    memcpy(packet + at, head, sizeof(head));
    memset(packet + at + 12, 0, length);
    if (type == 1) {
        packet[at + 12] = 127;
        packet[at + 15] = (uint8_t)number;
    } else {
        packet[at + 12 + 15] = (uint8_t)number;
    }
    return at + 12 + length;
}

static void answer(const struct server *s, uint8_t *packet, size_t bytes, const struct sockaddr_in *from)
{
    char label[64];
    uint16_t type = 0;
    size_t end = read_question(packet, bytes, label, &type);
    unsigned count = 0;

    const bool is_lame = strcmp(label, "lame") == 0;
    if (end == 0 || strcmp(label, "silent") == 0 || (is_lame && type != 1))
        return;
    if (strcmp(label, "both") == 0 || (type == 1 && (strcmp(label, "four") == 0 || is_lame)))
        count = 1;
    else if (strcmp(label, "many") == 0 && type == 1)
        count = 20;
    const bool known = count > 0 || strcmp(label, "four") == 0 || strcmp(label, "many") == 0;
    packet[2] = 0x85;
    packet[3] = known ? 0x80 : 0x83;
    packet[7] = (uint8_t)count;
    memset(packet + 8, 0, 4);
    for (unsigned i = 0; i < count; i++)
        end = add_record(packet, end, type, i + 1);
    (void)sendto(s->fd, packet, end, 0, (const struct sockaddr *)from, sizeof(*from));
}

static void *serve(void *context)
{
    struct server *const s = context;
    uint8_t packet[1024];

    for (;;) {
        struct sockaddr_in from;
        socklen_t bytes = sizeof(from);
        const ssize_t got = recvfrom(s->fd, packet, 512, 0, (struct sockaddr *)&from, &bytes);
        if (got <= 1)
            return NULL;
        s->asked++;
        answer(s, packet, (size_t)got, &from);
    }
}

static void write_file(const struct server *s, const char *name, const char *text)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/etc/%s", s->root, name);
    assert_int_equal(xk_file_replace(xk_fs_posix(), path, text, strlen(text), 0644, NULL), 0);
}

static int setup(void **state)
{
    struct server *const s = xk_zalloc(sizeof(*s));
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof(address);
    char text[128];

    *state = s;
    s->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (bind(s->fd, (struct sockaddr *)&address, bytes) < 0 ||
        getsockname(s->fd, (struct sockaddr *)&address, &bytes) < 0)
        return -1;
    s->port = ntohs(address.sin_port);
    strcpy(s->root, "/tmp/xenkit-resolve.XXXXXX");
    if (!mkdtemp(s->root))
        return -1;
    snprintf(text, sizeof(text), "%s/etc", s->root);
    if (mkdir(text, 0700) < 0)
        return -1;
    snprintf(text, sizeof(text), "search example.test\nnameserver 127.0.0.1:%u\n", s->port);
    write_file(s, "resolv.conf", text);
    write_file(s, "hosts",
               "# comment\n192.0.2.7 Printer.example printer # own\n2001:db8::7\tprinter\nbroken\n::1 six\n");
    return pthread_create(&s->thread, NULL, serve, s);
}

static int teardown(void **state)
{
    struct server *const s = *state;
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(s->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char text[128];

    (void)sendto(s->fd, "", 1, 0, (const struct sockaddr *)&address, sizeof(address));
    (void)pthread_join(s->thread, NULL);
    (void)close(s->fd);
    for (unsigned i = 0; i < 2; i++) {
        snprintf(text, sizeof(text), "%s/etc/%s", s->root, i ? "hosts" : "resolv.conf");
        (void)unlink(text);
    }
    snprintf(text, sizeof(text), "%s/etc", s->root);
    (void)rmdir(text);
    (void)rmdir(s->root);
    free(s);
    return 0;
}

static struct resolve_limits limits_of(const struct server *s, uint64_t ns)
{
    return (struct resolve_limits){
        .clock = xk_clock_system(), .deadline_ns = resolve_deadline(xk_clock_system(), ns), .root = s ? s->root : ""};
}

/* What a name gives, as words; the error's code when it fails. */
static int look_up(const struct server *s, char *ret, size_t size, const char *name, int family, struct xk_err *err)
{
    const struct resolve_limits limits = limits_of(s, LONG_NS);
    struct resolve_addresses a;

    const int code = resolve_name(&a, name, 443, family, &limits, err);
    ret[0] = '\0';
    for (unsigned i = 0; code == 0 && i < a.count; i++) {
        const struct resolve_words w = resolve_host_text(&a.list[i]);
        const size_t used = strlen(ret);
        snprintf(ret + used, size - used, "%s%s", i ? " " : "", w.s);
    }
    return code;
}

static void test_literals(void **state)
{
    static const struct {
        const char *name, *want;
        int family, code;
    } rows[] = {
        {"192.0.2.1", "192.0.2.1", AF_UNSPEC, 0},
        {"2001:DB8:0::1", "2001:db8::1", AF_UNSPEC, 0},
        {"[::1]", "::1", AF_INET6, 0},
        {"fe80::1%lo", "fe80::1%lo", AF_UNSPEC, 0},
        {"fe80::1%nosuch", "", AF_UNSPEC, -EINVAL},
        {"192.0.2.1", "", AF_INET6, -EHOSTUNREACH},
        {"::1", "", AF_INET, -EHOSTUNREACH},
        {"1:2", "", AF_UNSPEC, -EINVAL},
        {"", "", AF_UNSPEC, -EINVAL},
        {".a", "", AF_UNSPEC, -EINVAL},
        {"a..b", "", AF_UNSPEC, -EINVAL},
        {"a b", "", AF_UNSPEC, -EINVAL},
        {"a/b", "", AF_UNSPEC, -EINVAL},
        {"h\xc3\xb6st", "", AF_UNSPEC, -EINVAL},
        {"x123456789012345678901234567890123456789012345678901234567890123", "", AF_UNSPEC, -EINVAL},
    };
    char got[256];

    for (size_t i = 0; i < XK_COUNT(rows); i++) {
        assert_int_equal(look_up(*state, got, sizeof(got), rows[i].name, rows[i].family, NULL), rows[i].code);
        assert_string_equal(got, rows[i].want);
    }
    assert_int_equal(((struct server *)*state)->asked, 0);
}

static void test_hosts_file(void **state)
{
    char got[256];

    assert_int_equal(look_up(*state, got, sizeof(got), "PRINTER", AF_INET6, NULL), 0);
    assert_string_equal(got, "2001:db8::7");
    assert_int_equal(look_up(*state, got, sizeof(got), "printer.example", AF_UNSPEC, NULL), 0);
    assert_string_equal(got, "192.0.2.7");
    assert_int_equal(look_up(*state, got, sizeof(got), "localhost", AF_INET, NULL), 0);
    assert_string_equal(got, "127.0.0.1");
    assert_int_equal(look_up(*state, got, sizeof(got), "a.localhost", AF_INET, NULL), 0);
    assert_int_equal(((struct server *)*state)->asked, 0);
}

static void test_name_server(void **state)
{
    struct server *const s = *state;
    char got[512];
    struct xk_err err = {0};

    assert_int_equal(look_up(s, got, sizeof(got), "four", AF_UNSPEC, NULL), 0);
    assert_string_equal(got, "127.0.0.1");
    assert_int_equal(look_up(s, got, sizeof(got), "both.example.test", AF_UNSPEC, NULL), 0);
    assert_non_null(strstr(got, "127.0.0.1"));
    assert_non_null(strstr(got, "::1"));
    assert_int_equal(look_up(s, got, sizeof(got), "both.", AF_INET6, NULL), 0);
    assert_string_equal(got, "::1");
    assert_int_equal(look_up(s, got, sizeof(got), "four.", AF_INET6, &err), -EHOSTUNREACH);
    assert_string_equal(err.text, "there is no host \"four.\"");
    assert_int_equal(look_up(s, got, sizeof(got), "missing", AF_UNSPEC, &err), -EHOSTUNREACH);
    assert_int_equal(err.exit, XK_EXIT_REMOTE);
    assert_int_equal(look_up(s, got, sizeof(got), "many", AF_INET, NULL), 0);
    assert_non_null(strstr(got, "127.0.0.16"));
    assert_null(strstr(got, "127.0.0.17"));
}

static void test_time_is_bounded(void **state)
{
    const struct resolve_limits limits = limits_of(*state, SLOW_NS);
    const uint64_t began_ns = limits.clock->monotonic_ns(limits.clock);
    struct resolve_addresses a;
    struct xk_err err = {0};

    assert_int_equal(resolve_name(&a, "silent", 1, AF_UNSPEC, &limits, &err), -ETIMEDOUT);
    const uint64_t took_ns = limits.clock->monotonic_ns(limits.clock) - began_ns;
    assert_true(took_ns >= SLOW_NS && took_ns < LONG_NS / 4);
    assert_int_equal(err.exit, XK_EXIT_TIMEOUT);
}

static void test_other_family_is_not_waited_for(void **state)
{
    const struct resolve_limits limits = limits_of(*state, LONG_NS);
    const uint64_t began_ns = limits.clock->monotonic_ns(limits.clock);
    struct resolve_addresses a;

    assert_int_equal(resolve_name(&a, "lame", 1, AF_UNSPEC, &limits, NULL), 0);
    assert_int_equal(a.count, 1);
    assert_true(limits.clock->monotonic_ns(limits.clock) - began_ns < LONG_NS / 4);
}

static void test_split(void **state)
{
    static const struct {
        const char *text, *host;
        unsigned port;
        int code;
    } rows[] = {
        {"host", "host", 443, 0},
        {"host:80", "host", 80, 0},
        {"[::1]:80", "::1", 80, 0},
        {"[::1]", "::1", 443, 0},
        {"2001:db8::1", "2001:db8::1", 443, 0},
        {"host:", "", 0, -EINVAL},
        {"host:0", "", 0, -EINVAL},
        {"host:65536", "", 0, -EINVAL},
        {"host:0x50", "host", 80, 0},
        {"host:-1", "", 0, -EINVAL},
        {"host: 1", "", 0, -EINVAL},
        {":80", "", 0, -EINVAL},
        {"", "", 0, -EINVAL},
        {"[::1", "", 0, -EINVAL},
        {"[::1]x", "", 0, -EINVAL},
        {"[]:80", "", 0, -EINVAL},
    };

    for (size_t i = 0; i < XK_COUNT(rows); i++) {
        char host[RESOLVE_NAME_BYTES] = "";
        uint16_t port = 0;
        assert_int_equal(resolve_split(host, &port, rows[i].text, 443, NULL), rows[i].code);
        assert_string_equal(host, rows[i].host);
        assert_int_equal(port, rows[i].port);
    }
}

/* A listener, and a port where nothing listens. */
static int listen_at(const char *ip, struct resolve_address *ret, bool listening)
{
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    *ret = (struct resolve_address){.v4 = {.sin_family = AF_INET}, .bytes = sizeof(ret->v4)};
    (void)inet_pton(AF_INET, ip, &ret->v4.sin_addr);
    assert_int_equal(bind(fd, &ret->any, ret->bytes), 0);
    assert_int_equal(getsockname(fd, &ret->any, &ret->bytes), 0);
    if (listening)
        assert_int_equal(listen(fd, 5), 0);
    return fd;
}

static void test_connect(void **state)
{
    const struct resolve_limits limits = limits_of(NULL, LONG_NS);
    struct resolve_addresses a = {.count = 2};
    struct resolve_address peer;
    struct xk_err err = {0};
    const int dead = listen_at("127.0.0.1", &a.list[0], false), alive = listen_at("127.0.0.2", &a.list[1], true);

    const int fd = resolve_connect(&peer, &a, "pair", &limits, &err);
    assert_true(fd >= 0);
    assert_memory_equal(&peer.v4, &a.list[1].v4, sizeof(peer.v4));
    (void)close(fd);
    a.count = 1;
    assert_int_equal(resolve_connect(NULL, &a, "pair", &limits, &err), -ECONNREFUSED);
    assert_non_null(strstr(err.text, "connecting to pair, 127.0.0.1 port "));
    assert_non_null(strstr(err.text, "Connection refused"));
    (void)close(dead);
    (void)close(alive);
}

/* A listener whose queue is full answers nothing, as a machine that is off. */
static void test_connect_is_bounded(void **state)
{
    struct resolve_addresses a = {.count = 1};
    int waiting[8];
    struct xk_err err = {0};
    const int full = listen_at("127.0.0.1", &a.list[0], false);

    assert_int_equal(listen(full, 0), 0);
    for (size_t i = 0; i < XK_COUNT(waiting); i++) {
        waiting[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)connect(waiting[i], &a.list[0].any, a.list[0].bytes);
    }
    const struct resolve_limits limits = limits_of(NULL, SLOW_NS);
    assert_int_equal(resolve_connect(NULL, &a, "127.0.0.1", &limits, &err), -ETIMEDOUT);
    assert_non_null(strstr(err.text, "connecting to 127.0.0.1 port "));

    /* And one behind it in the list is reached all the same, long before the first would have been given up. */
    const struct resolve_limits more = limits_of(NULL, LONG_NS);
    const int alive = listen_at("127.0.0.2", &a.list[1], true);
    const uint64_t began_ns = more.clock->monotonic_ns(more.clock);
    a.count = 2;
    const int fd = resolve_connect(NULL, &a, "pair", &more, &err);
    assert_true(fd >= 0);
    assert_true(more.clock->monotonic_ns(more.clock) - began_ns < LONG_NS / 4);
    (void)close(fd);
    (void)close(alive);
    for (size_t i = 0; i < XK_COUNT(waiting); i++)
        (void)close(waiting[i]);
    (void)close(full);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_literals, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hosts_file, setup, teardown),
        cmocka_unit_test_setup_teardown(test_name_server, setup, teardown),
        cmocka_unit_test_setup_teardown(test_time_is_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_family_is_not_waited_for, setup, teardown),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_connect),
        cmocka_unit_test(test_connect_is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
