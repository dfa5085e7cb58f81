/* The HTTP server over socket pairs and, for many connections, over TCP. */
#include "lib/http/server.h"

#include <errno.h>
#include <event2/buffer.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#define CONNECTIONS 1200

#define CROWD       300 /* more than a ring takes at once */

struct fixture {
    struct http_exchange *crowd[CROWD]; /* /held: they are answered together */
    unsigned crowd_count;
    struct http_exchange *taken;
    struct http_identity *identity;
    struct event_base *base;
    struct http_server *server;
    struct http_exchange *held; /* of a request for /later */
    unsigned gone;
    char got[65536];
};

static void on_gone(void *context)
{
    struct fixture *const f = context;

    f->gone++;
    f->held = NULL;
}

/* Speaks another protocol: gives each line back, and ends at an empty one. */
static void on_line(void *context, struct evbuffer *in)
{
    struct fixture *const f = context;
    char *line;
    size_t bytes;

    while (f->taken && (line = evbuffer_readln(in, &bytes, EVBUFFER_EOL_LF)) != NULL) {
        if (bytes > 0) {
            assert_int_equal(http_write(f->taken, line, bytes), 0);
        } else {
            assert_int_equal(http_write(f->taken, "bye", 3), 0);
            http_finish(f->taken);
            f->taken = NULL;
        }
        free(line);
    }
}

/* Answers with what it understood; /later waits for the test. */
static void handle(void *context, struct http_exchange *x)
{
    struct fixture *const f = context;
    struct xk_buf body = XK_BUF_INIT(1u << 20);
    const char *const header = http_header(x, "x-test");
    size_t bytes;

    if (strcmp(http_path(x), "/later") == 0) {
        f->held = x;
        return http_on_gone(x, on_gone, f);
    }
    if (strcmp(http_path(x), "/held") == 0) {
        assert_true(f->crowd_count < CROWD);
        f->crowd[f->crowd_count++] = x;
        return;
    }
    if (strcmp(http_path(x), "/drop") == 0)
        return http_drop(x);
    if (strcmp(http_path(x), "/reset") == 0)
        return http_reset(x);
    if (strcmp(http_path(x), "/take") == 0) {
        f->taken = x;
        return http_take(x, &(struct http_raw){.readable = on_line, .gone = on_gone, .context = f});
    }
    if (strcmp(http_path(x), "/early-take") == 0) {
        char text[32];
        f->taken = x;
        assert_int_equal(http_stream(x, &(struct http_reply){.status = 200},
                                     &(struct http_raw){.readable = on_line, .gone = on_gone, .context = f}),
                         0);
        snprintf(text, sizeof(text), "%lld", (long long)http_unread(x));
        assert_int_equal(http_write(x, text, strlen(text)), 0);
        return;
    }
    xk_buf_printf(&body, "%s|%s|%s|%s|%u|", http_method(x), http_path(x), http_query(x), header ? header : "-",
                  http_tag(x));
    const char *const sent = http_body(x, &bytes);
    xk_buf_add(&body, sent, bytes);
    http_reply(x,
               &(struct http_reply){.status = 200,
                                    .type = "text/plain",
                                    .headers = "X-Own: 1\r\n",
                                    .cut = strcmp(http_path(x), "/cut") == 0,
                                    .cut_bytes = 3,
                                    .rate_byte_s = strcmp(http_path(x), "/slow-reply") == 0 ? 50 : 0},
               &body);
}

static bool is_early(void *context, const char *path)
{
    return strncmp(path, "/early", 6) == 0;
}

static const struct http_body_limit limits[] = {{"/small", 5}, {NULL, 0}};

static int setup(void **state)
{
    struct fixture *const f = xk_zalloc(sizeof(*f));

    *state = f;
    f->base = event_base_new();
    return http_server_open(
        &f->server, f->base,
        &(struct http_settings){
            .body_bytes_max = 100, .body_limits = limits, .handle = handle, .early = is_early, .context = f},
        NULL);
}

static const struct http_identity_wish wish = {
    .name = "host-1", .also = "localhost", .from_s = 1700000000, .to_s = 2700000000};

static int setup_tls(void **state)
{
    const int code = setup(state);
    struct fixture *const f = *state;
    struct http_identity_wish mine = wish;

    assert_int_equal(resolve_literal(&mine.address, "127.0.0.1"), 0);
    return code < 0 ? code : http_identity_make(&f->identity, &mine, NULL);
}

static int teardown(void **state)
{
    struct fixture *const f = *state;

    http_server_close(f->server);
    http_identity_free(f->identity);
    event_base_free(f->base);
    free(f);
    return 0;
}

static int client_of(struct fixture *f)
{
    int ends[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    http_server_adopt(f->server, ends[0], 5, f->identity);
    return ends[1];
}

static void turn(struct fixture *f)
{
    for (int i = 0; i < 6; i++)
        (void)event_base_loop(f->base, EVLOOP_NONBLOCK);
}

static void say(struct fixture *f, int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
    turn(f);
}

/* What came, and whether that was all. */
static const char *hear(struct fixture *f, int fd, bool *ret_ended)
{
    size_t len = 0;
    ssize_t now;

    while ((now = recv(fd, f->got + len, sizeof(f->got) - 1 - len, 0)) > 0) {
        len += (size_t)now;
        turn(f);
    }
    f->got[len] = '\0';
    if (ret_ended)
        *ret_ended = now == 0 || (now < 0 && errno == ECONNRESET);
    return f->got;
}

static void a_request_is_answered_and_the_connection_stays(void **state)
{
    struct fixture *const f = *state;
    const int fd = client_of(f);
    bool ended;

    for (int i = 0; i < 3; i++) {
        say(f, fd, "POST /a?b=c HTTP/1.1\r\nX-Test:  v \r\nContent-Length: 3\r\n\r\nxyz");
        assert_string_equal(hear(f, fd, &ended), "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\ncontent-length: 20\r\n"
                                                 "connection: keep-alive\r\nX-Own: 1\r\n\r\nPOST|/a|b=c|v |5|xyz");
        assert_false(ended);
    }
    (void)close(fd);
    turn(f);
    assert_int_equal(http_server_connections(f->server), 0);
}

static void a_path_may_take_less(void **state)
{
    static const struct {
        const char *path;
        unsigned bytes;
        const char *want;
    } cases[] = {
        {"/small", 5, "200"},  {"/small", 6, "500"}, {"/small?a", 6, "500"}, {"/small/a", 6, "500"},
        {"/smalls", 6, "200"}, {"/smal", 6, "200"},  {"/other", 100, "200"},
    };
    struct fixture *const f = *state;

    for (size_t i = 0; i < XK_COUNT(cases); i++) {
        char text[256];
        bool ended;
        const int fd = client_of(f);
        snprintf(
            text, sizeof(text), "POST %s HTTP/1.1\r\nContent-Length: %u\r\n\r\n%.*s", cases[i].path, cases[i].bytes,
            strcmp(cases[i].want, "200") == 0 ? (int)cases[i].bytes : 0,
            "1234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890");
        say(f, fd, text);
        assert_memory_equal(hear(f, fd, &ended) + strlen("HTTP/1.1 "), cases[i].want, 3);
        (void)close(fd);
    }
}

/* Its body is not waited for, however long it is said to be; what came of it is there, and the rest comes. */
static void a_body_may_be_taken_as_it_comes(void **state)
{
    struct fixture *const f = *state;
    int fd = client_of(f);
    bool ended;

    say(f, fd, "PUT /early-take?a=b HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\none\n");
    assert_non_null(strstr(hear(f, fd, NULL), "connection: close\r\n\r\n99999999999one"));
    say(f, fd, "two\n\n");
    assert_string_equal(hear(f, fd, &ended), "twobye");
    assert_true(ended);
    (void)close(fd);
    fd = client_of(f);
    say(f, fd, "PUT /early HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nxyz");
    assert_non_null(strstr(hear(f, fd, &ended), "PUT|/early||-|5|"));
    assert_true(ended);
    (void)close(fd);
    fd = client_of(f);
    say(f, fd, "PUT /other HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n");
    assert_non_null(strstr(hear(f, fd, NULL), "HTTP/1.1 500"));
    (void)close(fd);
}

static void one_byte_at_a_time(void **state)
{
    struct fixture *const f = *state;
    static const char request[] = "POST /slow HTTP/1.1\r\nContent-Length: 2\r\n\r\nok";
    const int fd = client_of(f);
    char byte[2] = "";

    for (size_t i = 0; request[i]; i++) {
        byte[0] = request[i];
        say(f, fd, byte);
    }
    assert_non_null(strstr(hear(f, fd, NULL), "POST|/slow||-|5|ok"));
    (void)close(fd);
}

static void many_at_once_are_answered_in_order(void **state)
{
    struct fixture *const f = *state;
    const int fd = client_of(f);

    say(f, fd, "GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\nGET /3 HTTP/1.0\r\n\r\nGET /4 HTTP/1.1\r\n\r\n");
    bool ended;
    const char *const got = hear(f, fd, &ended);
    const char *const one = strstr(got, "GET|/1"), *const two = strstr(got, "GET|/2"),
                      *const three = strstr(got, "GET|/3");
    assert_true(one && two && three && one < two && two < three);
    assert_null(strstr(got, "GET|/4"));
    assert_true(ended);
    (void)close(fd);
}

static void a_reply_may_come_later(void **state)
{
    struct fixture *const f = *state;
    const int fd = client_of(f);

    say(f, fd, "GET /later HTTP/1.1\r\n\r\nGET /next HTTP/1.1\r\n\r\n");
    assert_string_equal(hear(f, fd, NULL), "");
    assert_non_null(f->held);
    http_reply(f->held, &(struct http_reply){.status = 200}, NULL);
    turn(f);
    const char *const got = hear(f, fd, NULL);
    assert_non_null(strstr(got, "content-length: 0\r\n"));
    assert_non_null(strstr(got, "GET|/next"));
    assert_int_equal(f->gone, 0);
    say(f, fd, "GET /later HTTP/1.1\r\n\r\n");
    (void)close(fd);
    turn(f);
    assert_int_equal(f->gone, 1);
}

/* The n-th of a crowd is told n times itself; each tenth one more than a socket takes. */
static size_t told(unsigned n)
{
    return n % 10 == 9 ? (1u << 20) + n : n;
}

static void many_are_told_together(void **state)
{
    struct fixture *const f = *state;
    int fds[CROWD];

    for (unsigned i = 0; i < CROWD; i++) {
        fds[i] = client_of(f);
        say(f, fds[i], "GET /held HTTP/1.1\r\n\r\n");
    }
    assert_int_equal(f->crowd_count, CROWD);
    http_server_hold(f->server);
    for (unsigned i = 0; i < CROWD; i++) {
        struct xk_buf body = XK_BUF_INIT(2u << 20);
        xk_buf_add_repeat(&body, (char)('!' + i % 90), told(i));
        http_reply(f->crowd[i], &(struct http_reply){.status = 200}, &body);
    }
    (void)close(fds[17]); /* who goes disturbs nobody */
    http_server_release(f->server);
    f->crowd_count = 0;
    for (unsigned i = 0; i < CROWD; i++) {
        size_t bytes = 0;
        if (i == 17)
            continue;
        while (bytes < told(i) || bytes == 0) {
            const char *const got = hear(f, fds[i], NULL);
            const char *const at = bytes ? got : strstr(got, "\r\n\r\n");
            assert_non_null(at);
            const char *const from = bytes ? got : at + 4;
            const char mark[] = {(char)('!' + i % 90), '\0'};
            assert_int_equal(strspn(from, mark), strlen(from));
            bytes += strlen(from);
            if (told(i) == 0)
                break;
            turn(f);
        }
        assert_int_equal(bytes, told(i));
        say(f, fds[i], "GET /after HTTP/1.1\r\n\r\n");
        assert_non_null(strstr(hear(f, fds[i], NULL), "GET|/after"));
        (void)close(fds[i]);
    }
}

/* The last of all tests, since the filter stays: as on a kernel that lets nobody have a ring. */
static void they_are_without_io_uring(void **state)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {.len = XK_COUNT(filter), .filter = filter};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
        skip();
    assert_int_equal(syscall(SYS_io_uring_setup, 1, NULL), -1);
    assert_int_equal(errno, ENOSYS);
    many_are_told_together(state);
}

static void a_reply_may_be_cut_and_a_connection_reset(void **state)
{
    struct fixture *const f = *state;
    struct resolve_address address;
    bool ended;
    int fd = client_of(f);

    say(f, fd, "GET /cut HTTP/1.1\r\n\r\n");
    const char *const got = hear(f, fd, &ended);
    assert_non_null(strstr(got, "content-length: 14\r\n"));
    assert_string_equal(strstr(got, "\r\n\r\n") + 4, "GET");
    assert_true(ended);
    (void)close(fd);
    /* A reset needs TCP. */
    assert_int_equal(resolve_literal(&address, "127.0.0.1"), 0);
    assert_int_equal(http_server_listen(f->server, &address, 1, NULL, NULL), 0);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, &address.any, address.bytes), 0);
    turn(f);
    say(f, fd, "GET /reset HTTP/1.1\r\n\r\n");
    assert_int_equal(recv(fd, f->got, sizeof(f->got), 0), -1);
    assert_int_equal(errno, ECONNRESET);
    (void)close(fd);
}

static void a_reply_may_be_slow(void **state)
{
    struct fixture *const f = *state;
    const int fd = client_of(f);
    bool ended;

    say(f, fd, "GET /slow-reply HTTP/1.1\r\n\r\n");
    const size_t first = strlen(hear(f, fd, &ended));
    assert_true(first < 60); /* of about 130 */
    assert_false(ended);
    /* Others are not disturbed meanwhile. */
    const int other = client_of(f);
    say(f, other, "GET /other HTTP/1.1\r\n\r\n");
    assert_non_null(strstr(hear(f, other, NULL), "GET|/other"));
    (void)close(other);
    (void)close(fd);
}

static void another_protocol_takes_the_connection(void **state)
{
    struct fixture *const f = *state;
    int fd = client_of(f);
    bool ended;

    say(f, fd, "POST /take HTTP/1.0\r\nContent-Length: 0\r\n\r\nfirst\nsec");
    assert_string_equal(hear(f, fd, &ended), "first");
    say(f, fd, "ond\n");
    assert_string_equal(hear(f, fd, &ended), "second");
    assert_false(ended);
    say(f, fd, "\n");
    assert_string_equal(hear(f, fd, &ended), "bye");
    assert_true(ended);
    assert_int_equal(f->gone, 0);
    (void)close(fd);
    turn(f);
    assert_int_equal(http_server_connections(f->server), 0);
    fd = client_of(f);
    say(f, fd, "GET /take HTTP/1.1\r\n\r\n");
    (void)close(fd);
    turn(f);
    assert_int_equal(f->gone, 1);
}

static void what_is_refused(void **state)
{
    struct fixture *const f = *state;
    static const struct {
        const char *request, *status;
    } rows[] = {
        {"POST / HTTP/1.1\r\nContent-Length: 101\r\n\r\n", "500"},
        {"POST / HTTP/1.1\r\nContent-Length: 1125899906842624\r\n\r\n", "500"},
        {"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999999\r\n\r\n", "400"},
        {"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", "400"},
        {"POST / HTTP/1.1\r\n\r\n", "500"},
        {"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "500"},
        {"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "400"},
        {"nonsense\r\n\r\n", "400"},
        {"GET / HTTP/9.9\r\n\r\n", "505"},
        {"\x16\x03\x01\x02", "400"},
    };
    bool ended;

    for (size_t i = 0; i < XK_COUNT(rows); i++) {
        const int fd = client_of(f);
        say(f, fd, rows[i].request);
        const char *const got = hear(f, fd, &ended);
        if (strncmp(got, "HTTP/1.1 ", 9) != 0 || strncmp(got + 9, rows[i].status, 3) != 0 || !ended)
            fail_msg("row %zu: %s", i, got);
        (void)close(fd);
    }
    const int fd = client_of(f);
    say(f, fd, "GET /drop HTTP/1.1\r\n\r\n");
    assert_string_equal(hear(f, fd, &ended), "");
    assert_true(ended);
    (void)close(fd);
}

static void a_head_that_is_too_long(void **state)
{
    struct fixture *const f = *state;
    const int fd = client_of(f);
    char part[1025];

    memset(part, 'a', sizeof(part) - 1);
    part[sizeof(part) - 1] = '\0';
    say(f, fd, "GET / HTTP/1.1\r\nX: ");
    for (size_t i = 0; i < HTTP_HEAD_BYTES_MAX / 1024 + 1; i++)
        (void)send(fd, part, sizeof(part) - 1, MSG_NOSIGNAL), turn(f);
    assert_memory_equal(hear(f, fd, NULL), "HTTP/1.1 431", 12);
    (void)close(fd);
}

static void more_than_a_thousand_connections(void **state)
{
    struct fixture *const f = *state;
    struct resolve_address address;
    static const char request[] = "GET /many HTTP/1.1\r\n\r\n";
    int fds[CONNECTIONS];

    assert_int_equal(resolve_literal(&address, "127.0.0.1"), 0);
    assert_int_equal(http_server_listen(f->server, &address, 1, NULL, NULL), 0);
    for (size_t i = 0; i < CONNECTIONS; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fds[i] < 0) {
            while (i-- > 0)
                (void)close(fds[i]);
            skip(); /* not enough files for us */
        }
        assert_int_equal(connect(fds[i], &address.any, address.bytes), 0);
        turn(f);
    }
    for (size_t i = 0; i < 10; i++)
        turn(f);
    assert_int_equal(http_server_connections(f->server), CONNECTIONS);
    for (size_t i = 0; i < CONNECTIONS; i++)
        assert_int_equal(send(fds[i], request, sizeof(request) - 1, MSG_NOSIGNAL), (ssize_t)sizeof(request) - 1);
    for (size_t i = 0; i < 100; i++)
        turn(f);
    for (size_t i = 0; i < CONNECTIONS; i++) {
        const ssize_t bytes = recv(fds[i], f->got, sizeof(f->got) - 1, MSG_DONTWAIT);
        assert_true(bytes > 0);
        f->got[bytes] = '\0';
        assert_non_null(strstr(f->got, "GET|/many||-|1|"));
        (void)close(fds[i]);
    }
}

/* ---- TLS ---- */

/* A client that trusts only the server's certificate and wants to find 127.0.0.1 in it. */
static SSL *tls_client_of(struct fixture *f, int fd)
{
    SSL_CTX *const context = SSL_CTX_new(TLS_client_method());
    BIO *const pem = BIO_new(BIO_s_mem());
    char *const text = http_identity_pem(f->identity);

    assert_true(context && pem && text && BIO_puts(pem, text) > 0);
    X509 *const certificate = PEM_read_bio_X509(pem, NULL, NULL, NULL);
    assert_int_equal(X509_STORE_add_cert(SSL_CTX_get_cert_store(context), certificate), 1);
    X509_VERIFY_PARAM_set_time(SSL_CTX_get0_param(context), 1800000000);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL *const tls = SSL_new(context);
    assert_int_equal(X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tls), "127.0.0.1"), 1);
    SSL_set_fd(tls, fd);
    SSL_CTX_free(context);
    X509_free(certificate);
    BIO_free(pem);
    free(text);
    for (int i = 0, code; (code = SSL_connect(tls)) != 1; i++) {
        assert_true(SSL_get_error(tls, code) == SSL_ERROR_WANT_READ && i < 20);
        turn(f);
    }
    turn(f);
    return tls;
}

static const char *tls_ask(struct fixture *f, SSL *tls, const char *request)
{
    size_t len = 0;
    int now;

    assert_int_equal(SSL_write(tls, request, (int)strlen(request)), (int)strlen(request));
    turn(f);
    while ((now = SSL_read(tls, f->got + len, (int)(sizeof(f->got) - 1 - len))) > 0) {
        len += (size_t)now;
        turn(f);
    }
    f->got[len] = '\0';
    return f->got;
}

static void https_is_http_inside(void **state)
{
    struct fixture *const f = *state;
    const int fd = client_of(f);
    SSL *const tls = tls_client_of(f, fd);

    assert_int_equal(SSL_get_verify_result(tls), X509_V_OK);
    for (int i = 0; i < 3; i++)
        assert_non_null(
            strstr(tls_ask(f, tls, "POST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nxyz"), "POST|/a||-|5|xyz"));
    assert_non_null(strstr(tls_ask(f, tls, "GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.0\r\n\r\n"), "GET|/2"));
    /* The end is said, not only made: a cut reply can be told from a whole one. */
    assert_int_equal(SSL_get_shutdown(tls), SSL_RECEIVED_SHUTDOWN);
    SSL_free(tls);
    (void)close(fd);
    turn(f);
    assert_int_equal(http_server_connections(f->server), 0);
}

static void a_body_that_is_too_large_is_refused_in_tls(void **state)
{
    struct fixture *const f = *state;
    const int fd = client_of(f);
    SSL *const tls = tls_client_of(f, fd);

    assert_memory_equal(tls_ask(f, tls, "POST / HTTP/1.1\r\nContent-Length: 101\r\n\r\n"), "HTTP/1.1 500", 12);
    SSL_free(tls);
    (void)close(fd);
}

static void what_is_no_handshake_disturbs_nobody(void **state)
{
    struct fixture *const f = *state;
    static const char *const garbage[] = {
        "\x16\x03\x01",
        "\x16\x03\x01\xff\xff\xff\xff\xff\xff\xff",
        "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80",
        "\x15\x03\x03\x01\x02\x02\x28",
        "SSH-2.0-OpenSSH_9.2\r\n",
    };
    int fds[XK_COUNT(garbage)];
    bool ended;

    for (size_t i = 0; i < XK_COUNT(garbage); i++) {
        fds[i] = client_of(f);
        say(f, fds[i], garbage[i]);
    }
    const int plain = client_of(f);
    say(f, plain, "GET / HTTP/1.1\r\n\r\n");
    assert_non_null(strstr(hear(f, plain, &ended), "HTTP/1.1 400 Bad Request\r\n"));
    assert_true(ended);
    const int fd = client_of(f);
    SSL *const tls = tls_client_of(f, fd);
    assert_non_null(strstr(tls_ask(f, tls, "GET /good HTTP/1.1\r\n\r\n"), "GET|/good"));
    /* Only what may still become a handshake is kept. */
    assert_in_range(http_server_connections(f->server), 1, 3);
    for (size_t i = 0; i < XK_COUNT(garbage); i++)
        (void)close(fds[i]);
    (void)close(plain);
    SSL_free(tls);
    (void)close(fd);
    turn(f);
    assert_int_equal(http_server_connections(f->server), 0);
}

static void an_identity_is_saved_and_loaded(void **state)
{
    struct fixture *const f = *state;
    xk_auto(xk_buf_done) struct xk_buf saved = XK_BUF_INIT(HTTP_IDENTITY_BYTES_MAX);
    struct http_identity *again = NULL;
    char before[HTTP_FINGERPRINT_BYTES], after[HTTP_FINGERPRINT_BYTES];
    struct resolve_address address;
    int64_t from_s, to_s;

    assert_int_equal(http_identity_save(&saved, f->identity, NULL), 0);
    assert_int_equal(http_identity_load(&again, saved.data, saved.len, NULL), 0);
    http_identity_fingerprint(before, f->identity, HTTP_SHA256);
    http_identity_fingerprint(after, again, HTTP_SHA256);
    assert_int_equal(strlen(before), 95);
    assert_string_equal(before, after);
    http_identity_times(again, &from_s, &to_s);
    assert_int_equal(from_s, wish.from_s);
    assert_int_equal(to_s, wish.to_s);
    assert_int_equal(resolve_literal(&address, "127.0.0.1"), 0);
    assert_true(http_identity_is_for(again, &address));
    assert_int_equal(resolve_literal(&address, "127.0.0.2"), 0);
    assert_false(http_identity_is_for(again, &address));
    assert_int_equal(resolve_literal(&address, "::1"), 0);
    assert_false(http_identity_is_for(again, &address));
    http_identity_free(again);
    for (size_t i = 0; i < saved.len; i++)
        assert_int_equal(http_identity_load(&again, saved.data, i, NULL), -EBADMSG);
    saved.data[10] ^= 1;
    assert_int_equal(http_identity_load(&again, saved.data, saved.len, NULL), -EBADMSG);
}

int main(void)
{
#define TLS(function) cmocka_unit_test_setup_teardown(function, setup_tls, teardown)
#define T(function)   cmocka_unit_test_setup_teardown(function, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_request_is_answered_and_the_connection_stays),
        T(a_path_may_take_less),
        T(a_body_may_be_taken_as_it_comes),
        T(one_byte_at_a_time),
        T(many_at_once_are_answered_in_order),
        T(a_reply_may_come_later),
        T(many_are_told_together),
        T(a_reply_may_be_cut_and_a_connection_reset),
        T(a_reply_may_be_slow),
        T(another_protocol_takes_the_connection),
        T(what_is_refused),
        T(a_head_that_is_too_long),
        T(more_than_a_thousand_connections),
        TLS(https_is_http_inside),
        TLS(a_body_that_is_too_large_is_refused_in_tls),
        TLS(what_is_no_handshake_disturbs_nobody),
        TLS(an_identity_is_saved_and_loaded),
        T(they_are_without_io_uring),
    };
    (void)signal(SIGPIPE, SIG_IGN); /* as the program does */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
