/*
 * The HTTP client against a server in a thread that sends what the test tells it, over TCP, TLS, a socket in the file
 * system and a proxy. Certificates are made here, with dates and names as each test needs them.
 */
#include "lib/http/client.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <arpa/inet.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include <cmocka.h>

#define REPLY_MAX  100000
#define LONG_NS    (20 * XK_NS_PER_S)
#define SHORT_NS   XK_NS_PER_S
#define DAY_S      86400
#define TEXT_BYTES 65536

/* ---- certificates ---- */

struct identity {
    EVP_PKEY *key;
    X509 *x509;
};

static void add_extension(X509 *x, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;

    X509V3_set_ctx(&context, issuer, x, NULL, NULL, 0);
    X509_EXTENSION *const e = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    assert_non_null(e);
    assert_int_equal(X509_add_ext(x, e, -1), 1);
    X509_EXTENSION_free(e);
}

/* signer NULL: signed by itself. names: "DNS:a,IP:1.2.3.4"; NULL: it is an authority. */
static struct identity make_identity(const struct identity *signer, const char *names, long from_s, long until_s)
{
    struct identity id = {.key = EVP_EC_gen("P-256"), .x509 = X509_new()};
    X509 *const issuer = signer ? signer->x509 : id.x509;

    assert_non_null(id.key);
    (void)X509_set_version(id.x509, X509_VERSION_3);
    (void)ASN1_INTEGER_set(X509_get_serialNumber(id.x509), signer ? 2 : 1);
    (void)X509_gmtime_adj(X509_getm_notBefore(id.x509), from_s);
    (void)X509_gmtime_adj(X509_getm_notAfter(id.x509), until_s);
    (void)X509_set_pubkey(id.x509, id.key);
    X509_NAME *const name = X509_get_subject_name(id.x509);
    (void)X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)(names ? "host-1" : "authority"),
                                     -1, -1, 0);
    (void)X509_set_issuer_name(id.x509, X509_get_subject_name(issuer));
    add_extension(id.x509, issuer, NID_basic_constraints, names ? "CA:FALSE" : "critical,CA:TRUE");
    if (names)
        add_extension(id.x509, issuer, NID_subject_alt_name, names);
    assert_true(X509_sign(id.x509, signer ? signer->key : id.key, EVP_sha256()) > 0);
    return id;
}

static void free_identity(struct identity *id)
{
    EVP_PKEY_free(id->key);
    X509_free(id->x509);
}

/* ---- the server ---- */

/* Connections are served in turn; each request gets the next reply, and a NULL reply ends the connection. */
struct server {
    int listener;
    uint16_t port;
    pthread_t thread;
    SSL_CTX *tls;         /* NULL: plain */
    const char **replies; /* NULL-ended for each connection; an empty text ends the server */
    bool silent;          /* reads, never answers */
    bool proxy;           /* the first head of a connection is for us */
    char got[TEXT_BYTES];
    unsigned connections;
    atomic_uint closed;
};

static ssize_t get(SSL *ssl, int fd, char *ret, size_t bytes)
{
    return ssl ? SSL_read(ssl, ret, (int)bytes) : read(fd, ret, bytes);
}

static void put(SSL *ssl, int fd, const char *text)
{
    const size_t bytes = strlen(text);

    if (ssl)
        (void)SSL_write(ssl, text, (int)bytes);
    else
        (void)send(fd, text, bytes, MSG_NOSIGNAL);
}

/* A whole request, appended to what was got. returns   false: the client is gone. */
static bool read_request(struct server *s, SSL *ssl, int fd)
{
    const size_t began = strlen(s->got);

    for (;;) {
        const size_t used = strlen(s->got);
        const ssize_t now = get(ssl, fd, s->got + used, sizeof(s->got) - used - 1);
        if (now <= 0)
            return false;
        s->got[used + (size_t)now] = '\0';
        const char *const head = strstr(s->got + began, "\r\n\r\n"), *const length =
                                                                         strstr(s->got + began, "Content-Length: ");
        if (head && (!length || strlen(head + 4) >= strtoul(length + 16, NULL, 10)))
            return true;
    }
}

/* One connection: a reply for each request, until the script says MORE. */
static void serve_one(struct server *s, int fd, const char ***reply)
{
    SSL *ssl = NULL;

    if (s->proxy) {
        (void)read_request(s, NULL, fd);
        put(NULL, fd, *(*reply)++);
    }
    if (s->tls) {
        ssl = SSL_new(s->tls);
        (void)SSL_set_fd(ssl, fd);
    }
    while ((!ssl || SSL_accept(ssl) == 1) && read_request(s, ssl, fd)) {
        if (s->silent)
            continue;
        if (!**reply || !***reply)
            break;
        put(ssl, fd, *(*reply)++);
        if (!**reply)
            break;
    }
    if (!**reply)
        ++*reply;
    SSL_free(ssl);
}

static void *serve(void *context)
{
    struct server *const s = context;
    const char **reply = s->replies;

    for (;;) {
        const int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            return NULL;
        s->connections++;
        serve_one(s, fd, &reply);
        (void)close(fd);
        atomic_fetch_add(&s->closed, 1);
    }
}

static void server_start(struct server *s, const char *path)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    socklen_t bytes = sizeof(v4);

    (void)signal(SIGPIPE, SIG_IGN);
    s->listener = socket(path ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (path) {
        snprintf(local.sun_path, sizeof(local.sun_path), "%s", path);
        assert_int_equal(bind(s->listener, (struct sockaddr *)&local, sizeof(local)), 0);
    } else {
        assert_int_equal(bind(s->listener, (struct sockaddr *)&v4, bytes), 0);
        assert_int_equal(getsockname(s->listener, (struct sockaddr *)&v4, &bytes), 0);
        s->port = ntohs(v4.sin_port);
    }
    assert_int_equal(listen(s->listener, 5), 0);
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void server_tls(struct server *s, const struct identity *id)
{
    s->tls = SSL_CTX_new(TLS_server_method());
    assert_int_equal(SSL_CTX_use_certificate(s->tls, id->x509), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(s->tls, id->key), 1);
}

static void server_stop(struct server *s)
{
    (void)shutdown(s->listener, SHUT_RDWR);
    (void)pthread_join(s->thread, NULL);
    (void)close(s->listener);
    SSL_CTX_free(s->tls);
}

/* ---- the client ---- */

static struct xk_log quiet = {.fd = -1};

static struct http_target target_of(const struct server *s)
{
    return (struct http_target){
        .host = "127.0.0.1",
        .port = s->port,
        .tls = s->tls != NULL,
        .trust = {.fs = xk_fs_posix(), .clock = xk_clock_system(), .log = &quiet},
    };
}

static struct http_client *client_of(const struct http_target *t)
{
    struct http_client *c = NULL;

    assert_int_equal(http_client_open(&c, t, "test/1", xk_clock_system(), "", NULL), 0);
    return c;
}

static int ask_for(struct http_client *c, struct http_reader **ret, const char *method, const char *path,
                   const char *body, uint64_t ns, struct xk_err *err)
{
    const struct http_request request = {.method = method,
                                         .path = path,
                                         .body = body,
                                         .bytes = body ? strlen(body) : 0,
                                         .type = body ? "text/xml" : NULL,
                                         .reply_max = REPLY_MAX};
    const uint64_t deadline_ns = resolve_deadline(xk_clock_system(), ns);
    const struct http_limits limits = {.connect_deadline_ns = deadline_ns, .deadline_ns = deadline_ns};

    return http_client_send(c, ret, &request, &limits, err);
}

/* One request on a connection of its own. returns   the code; *ret_body: the body. */
static int once(const struct http_target *t, char *ret_body, size_t bytes, struct xk_err *err)
{
    struct http_client *const c = client_of(t);
    struct http_reader *reply = NULL;

    const int code = ask_for(c, &reply, "GET", "/", NULL, LONG_NS, err);
    if (code == 0)
        snprintf(ret_body, bytes, "%u %s", http_reader_status(reply), xk_buf_str(&reply->body));
    http_client_close(c);
    return code;
}

#define OK(text, length) "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: " length "\r\n\r\n" text
#define MORE             NULL

/* ---- plain ---- */

static void test_keeps_the_connection(void **state)
{
    const char *replies[] = {
        OK("first", "5"), OK("second", "6"), "HTTP/1.1 200 OK\r\n\r\nto the end", MORE, OK("again", "5"), MORE, ""};
    static struct server s;
    struct http_reader *reply = NULL;

    s = (struct server){.replies = replies};
    server_start(&s, NULL);
    const struct http_target t = target_of(&s);
    struct http_client *const c = client_of(&t);
    assert_int_equal(ask_for(c, &reply, "POST", "/a?b", "<x/>", LONG_NS, NULL), 0);
    assert_string_equal(xk_buf_str(&reply->body), "first");
    assert_string_equal(http_reader_header(reply, "content-TYPE"), "text/plain");
    assert_int_equal(ask_for(c, &reply, "GET", "/", NULL, LONG_NS, NULL), 0);
    assert_string_equal(xk_buf_str(&reply->body), "second");
    assert_int_equal(s.connections, 1);
    assert_non_null(strstr(s.got, "POST /a?b HTTP/1.1\r\nHost: 127.0.0.1:"));
    assert_non_null(strstr(s.got, "\r\nUser-Agent: test/1\r\n"));
    assert_non_null(strstr(s.got, "\r\nContent-Type: text/xml\r\nContent-Length: 4\r\n\r\n<x/>GET / "));
    assert_int_equal(ask_for(c, &reply, "GET", "/", NULL, LONG_NS, NULL), 0);
    assert_string_equal(xk_buf_str(&reply->body), "to the end");
    assert_int_equal(ask_for(c, &reply, "GET", "/", NULL, LONG_NS, NULL), 0);
    assert_string_equal(xk_buf_str(&reply->body), "again");
    assert_int_equal(s.connections, 2);
    http_client_close(c);
    server_stop(&s);
}

/* A kept connection that the server has closed meanwhile is noticed before the request leaves: here it is shut at once.
 */
static void test_closed_meanwhile(void **state)
{
    const char *replies[] = {OK("one", "3"), MORE, OK("two", "3"), MORE, ""};
    static struct server s;
    struct http_reader *reply = NULL;

    s = (struct server){.replies = replies};
    server_start(&s, NULL);
    const struct http_target t = target_of(&s);
    struct http_client *const c = client_of(&t);
    assert_int_equal(ask_for(c, &reply, "GET", "/", NULL, LONG_NS, NULL), 0);
    while (atomic_load(&s.closed) == 0)
        (void)sched_yield();
    assert_int_equal(ask_for(c, &reply, "POST", "/", "x", LONG_NS, NULL), 0);
    assert_string_equal(xk_buf_str(&reply->body), "two");
    http_client_close(c);
    server_stop(&s);
}

static void test_bad_replies(void **state)
{
    static const struct {
        const char *reply;
        int code;
        const char *text;
    } rows[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ncut", -ECONNRESET, "in the middle of the reply"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 100001\r\n\r\n", -EFBIG, "its body is too large"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n", -EPROTO, "not a reply of HTTP"},
        {"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n", -EPROTO, "another protocol"},
        {"SSH-2.0-OpenSSH_9.2\r\n", -EPROTO, "not a reply of HTTP"},
        {"\025\003\003", -EPROTO, "not a reply of HTTP"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", -EPROTO, "not a reply"},
        {" ", -EPROTO, ""},
    };

    for (size_t i = 0; i < XK_COUNT(rows); i++) {
        const char *replies[] = {rows[i].reply, MORE, ""};
        static struct server s;
        struct xk_err err = {0};
        char body[64];
        s = (struct server){.replies = replies};
        server_start(&s, NULL);
        const struct http_target t = target_of(&s);
        const int code = once(&t, body, sizeof(body), &err);
        server_stop(&s);
        if (strcmp(rows[i].reply, " ") == 0)
            assert_true(code < 0);
        else
            assert_int_equal(code, rows[i].code);
        assert_non_null(strstr(err.text, rows[i].text));
    }
}

static void test_silence_is_bounded(void **state)
{
    const char *replies[] = {""};
    static struct server s;
    struct http_reader *reply = NULL;
    struct xk_err err = {0};

    s = (struct server){.replies = replies, .silent = true};
    server_start(&s, NULL);
    const struct http_target t = target_of(&s);
    struct http_client *const c = client_of(&t);
    assert_int_equal(ask_for(c, &reply, "GET", "/", NULL, SHORT_NS, &err), -ETIMEDOUT);
    assert_true(http_client_sent(c));
    http_client_close(c);
    server_stop(&s);
    struct http_client *const refused = client_of(&t);
    assert_int_equal(ask_for(refused, &reply, "GET", "/", NULL, LONG_NS, &err), -ECONNREFUSED);
    assert_false(http_client_sent(refused));
    http_client_close(refused);
}

static void test_socket_in_the_file_system(void **state)
{
    const char *replies[] = {OK("local", "5"), MORE, ""};
    static struct server s;
    char path[64], body[64];

    snprintf(path, sizeof(path), "/tmp/xenkit-http.%d", (int)getpid());
    (void)unlink(path);
    s = (struct server){.replies = replies};
    server_start(&s, path);
    struct http_target t = target_of(&s);
    t.socket_path = path;
    assert_int_equal(once(&t, body, sizeof(body), NULL), 0);
    assert_string_equal(body, "200 local");
    server_stop(&s);
    (void)unlink(path);
}

/* ---- TLS ---- */

struct tls_case {
    struct server server;
    struct identity authority, own;
    char folder[64], known[96], ca[96];
};

static void tls_start(struct tls_case *c, bool signed_by_authority, const char *names, long from_s, long until_s,
                      const char **replies)
{
    *c = (struct tls_case){.server = {.replies = replies}};
    c->authority = make_identity(NULL, NULL, -10 * DAY_S, 10 * DAY_S);
    c->own = make_identity(signed_by_authority ? &c->authority : NULL, names, from_s, until_s);
    strcpy(c->folder, "/tmp/xenkit-http.XXXXXX");
    assert_non_null(mkdtemp(c->folder));
    snprintf(c->known, sizeof(c->known), "%s/state/certificates", c->folder);
    snprintf(c->ca, sizeof(c->ca), "%s/ca.pem", c->folder);
    FILE *const f = fopen(c->ca, "w");
    assert_int_equal(PEM_write_X509(f, c->authority.x509), 1);
    (void)fclose(f);
    server_tls(&c->server, &c->own);
    server_start(&c->server, NULL);
}

static void tls_stop(struct tls_case *c)
{
    static const char *const names[] = {"state/certificates", "state/certificates.lock", "ca.pem"};
    char path[128];

    server_stop(&c->server);
    free_identity(&c->authority);
    free_identity(&c->own);
    for (size_t i = 0; i < XK_COUNT(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", c->folder, names[i]);
        (void)unlink(path);
    }
    snprintf(path, sizeof(path), "%s/state", c->folder);
    (void)rmdir(path);
    (void)rmdir(c->folder);
}

static const char *const endless[] = {
    OK("safe", "4"), MORE, OK("safe", "4"), MORE, OK("safe", "4"), MORE, OK("safe", "4"), MORE, ""};

static struct http_pin pin_of(const struct identity *id)
{
    struct http_pin pin;
    unsigned bytes = HTTP_PIN_BYTES;

    assert_int_equal(X509_digest(id->x509, EVP_sha256(), pin.bytes, &bytes), 1);
    return pin;
}

static void test_authority(void **state)
{
    static struct tls_case c;
    struct xk_err err = {0};
    char body[64];

    tls_start(&c, true, "IP:127.0.0.1,DNS:host-1", -DAY_S, DAY_S, (const char **)endless);
    struct http_target t = target_of(&c.server);
    t.trust.ca_file = c.ca;
    assert_int_equal(once(&t, body, sizeof(body), &err), 0);
    assert_string_equal(body, "200 safe");
    t.host = "localhost";
    assert_int_equal(once(&t, body, sizeof(body), &err), -EKEYREJECTED);
    assert_non_null(strstr(err.text, "is for 127.0.0.1, host-1, not for this name"));
    assert_int_equal(err.exit, XK_EXIT_REMOTE);
    t.host = "127.0.0.1";
    t.trust.ca_file = "/dev/null";
    assert_int_equal(once(&t, body, sizeof(body), &err), -EINVAL);
    tls_stop(&c);

    tls_start(&c, false, "IP:127.0.0.1", -DAY_S, DAY_S, (const char **)endless);
    t = target_of(&c.server);
    t.trust.ca_file = c.ca;
    assert_int_equal(once(&t, body, sizeof(body), &err), -EKEYREJECTED);
    assert_non_null(strstr(err.text, "is signed by itself, not by an authority of"));
    tls_stop(&c);
}

/* Wrong times are told apart, with what this machine's clock says. */
static void test_dates(void **state)
{
    static const struct {
        long from_s, until_s;
        const char *text;
    } rows[] = {{-2 * DAY_S, -DAY_S, "has expired at "}, {DAY_S, 2 * DAY_S, "is not valid before "}};

    for (size_t i = 0; i < XK_COUNT(rows); i++) {
        static struct tls_case c;
        struct xk_err err = {0};
        char body[64];
        tls_start(&c, i == 0, "IP:127.0.0.1", rows[i].from_s, rows[i].until_s, (const char **)endless);
        struct http_target t = target_of(&c.server);
        if (i == 0)
            t.trust.ca_file = c.ca;
        else
            t.trust.known_file = c.known;
        assert_int_equal(once(&t, body, sizeof(body), &err), -EKEYREJECTED);
        assert_non_null(strstr(err.text, rows[i].text));
        assert_non_null(strstr(err.text, "this machine's clock says 20"));
        assert_non_null(strstr(err.hint, "NTP"));
        assert_int_not_equal(access(c.known, F_OK), 0);
        /* A fingerprint counts for more than dates, and the clock is the one that was handed in. */
        const struct http_pin pin = pin_of(&c.own);
        t.trust.pins = &pin;
        t.trust.pin_count = 1;
        assert_int_equal(once(&t, body, sizeof(body), &err), 0);
        t.trust.pin_count = 0;
        int64_t now_ns =
            xk_clock_system()->utc_ns(xk_clock_system()) + (rows[i].from_s + DAY_S / 2) * (int64_t)XK_NS_PER_S;
        const struct xk_clock frozen = xk_clock_frozen(&now_ns);
        t.trust.clock = &frozen;
        assert_int_equal(once(&t, body, sizeof(body), &err), 0);
        tls_stop(&c);
    }
}

static void test_pins(void **state)
{
    static struct tls_case c;
    struct http_pin pins[2] = {{.bytes = {1, 2, 3}}};
    struct xk_err err = {0};
    char body[64], text[HTTP_PIN_TEXT];

    tls_start(&c, false, "DNS:other", -DAY_S, DAY_S, (const char **)endless);
    struct http_target t = target_of(&c.server);
    t.trust.pins = pins;
    t.trust.pin_count = 1;
    assert_int_equal(once(&t, body, sizeof(body), &err), -EKEYREJECTED);
    pins[1] = pin_of(&c.own);
    http_pin_text(text, &pins[1]);
    assert_non_null(strstr(err.text, text));
    assert_non_null(strstr(err.text, "0102030000"));
    t.trust.pin_count = 2;
    assert_int_equal(once(&t, body, sizeof(body), &err), 0);
    t.trust.pin_count = 1;
    t.trust.vouched = &pins[1];
    assert_int_equal(once(&t, body, sizeof(body), &err), 0);
    t.trust.insecure = true;
    t.trust.vouched = NULL;
    assert_int_equal(once(&t, body, sizeof(body), &err), 0);
    assert_null(strstr(c.server.got, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"));
    tls_stop(&c);
}

static void test_pin_words(void **state)
{
    static const char hex[] = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
    struct http_pin pin;
    char text[HTTP_PIN_TEXT], word[256] = "SHA-256:", colons[256];

    assert_int_equal(http_pin_parse(&pin, hex, NULL), 0);
    http_pin_text(text, &pin);
    assert_string_equal(text, hex);
    assert_int_equal(http_pin_parse(&pin, strcat(word, hex), NULL), 0);
    for (size_t i = 0; i < 32; i++)
        snprintf(colons + 3 * i, 4, "%.2s%s", hex + 2 * i, i == 31 ? "" : ":");
    assert_int_equal(http_pin_parse(&pin, colons, NULL), 0);
    assert_int_equal(http_pin_parse(&pin, hex + 1, NULL), -EINVAL);
    assert_int_equal(http_pin_parse(&pin, hex + 2, NULL), -EINVAL);
    assert_int_equal(http_pin_parse(&pin, strcat(colons, "0"), NULL), -EINVAL);
    assert_int_equal(http_pin_parse(&pin, "", NULL), -EINVAL);
}

static void test_first_use(void **state)
{
    static struct tls_case c;
    struct xk_err err = {0};
    char body[64], told[1024] = "";
    int ends[2];
    struct stat st;

    tls_start(&c, false, "DNS:other", -DAY_S, DAY_S, (const char **)endless);
    assert_int_equal(pipe(ends), 0);
    struct xk_log log = {.fd = ends[1], .level = XK_LOG_WARN};
    struct http_target t = target_of(&c.server);
    t.trust.log = &log;
    assert_int_equal(once(&t, body, sizeof(body), &err), -EKEYREJECTED);
    assert_non_null(strstr(err.text, "cannot be kept: there is no home folder"));
    t.trust.known_file = c.known;
    assert_int_equal(once(&t, body, sizeof(body), &err), 0);
    assert_true(read(ends[0], told, sizeof(told) - 1) > 0);
    assert_non_null(strstr(told, "first connection to 127.0.0.1 port "));
    assert_int_equal(stat(c.known, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(once(&t, body, sizeof(body), &err), 0); /* and now without a word */
    (void)close(ends[1]);
    assert_int_equal(read(ends[0], told, sizeof(told)), 0);
    (void)close(ends[0]);
    t.trust.log = &quiet;

    /* The same server with another certificate. */
    const uint16_t port = c.server.port;
    SSL_CTX *const other = c.server.tls;
    struct identity changed = make_identity(NULL, "DNS:other", -DAY_S, DAY_S);
    server_tls(&c.server, &changed);
    assert_int_equal(once(&t, body, sizeof(body), &err), -EKEYREJECTED);
    assert_non_null(strstr(err.text, "HAS CHANGED"));
    assert_non_null(strstr(err.hint, c.known));
    assert_int_equal(port, t.port);
    SSL_CTX_free(other);
    free_identity(&changed);
    tls_stop(&c);
}

/* Lines of other servers and ones that nobody understands stay. */
static void test_first_use_keeps_other_lines(void **state)
{
    static const char before[] =
        "127.0.0.1 1 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n# mine\nlast";
    static struct tls_case c;
    char body[64], path[128];
    xk_autofree char *after = NULL;

    tls_start(&c, false, "DNS:other", -DAY_S, DAY_S, (const char **)endless);
    snprintf(path, sizeof(path), "%s/state", c.folder);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(xk_file_replace(xk_fs_posix(), c.known, before, strlen(before), 0600, NULL), 0);
    struct http_target t = target_of(&c.server);
    t.trust.known_file = c.known;
    assert_int_equal(once(&t, body, sizeof(body), NULL), 0);
    assert_int_equal(xk_slurp(&after, "", c.known, 4096, NULL), 0);
    assert_memory_equal(after, before, strlen(before));
    assert_memory_equal(after + strlen(before), "\n127.0.0.1 ", 11);
    tls_stop(&c);
}

static void test_not_tls(void **state)
{
    const char *replies[] = {"HTTP/1.1 400 Bad Request\r\n\r\n", MORE, ""};
    static struct server s;
    static struct tls_case c;
    struct xk_err err = {0};
    char body[64];

    /* It waits for the end of a head, and so never answers a TLS hello; the short deadline is what ends it. */
    s = (struct server){.replies = replies, .proxy = true};
    replies[0] = "HTTP/1.1 400 Bad Request\r\n\r\n";
    server_start(&s, NULL);
    struct http_target t = target_of(&s);
    t.tls = true;
    struct http_client *const client = client_of(&t);
    struct http_reader *reply;
    const int code = ask_for(client, &reply, "GET", "/", NULL, SHORT_NS, &err);
    assert_true(code == -ETIMEDOUT || code == -EPROTO);
    http_client_close(client);
    server_stop(&s);

    tls_start(&c, false, "DNS:other", -DAY_S, DAY_S, (const char **)endless);
    t = target_of(&c.server);
    t.tls = false;
    assert_true(once(&t, body, sizeof(body), &err) < 0);
    tls_stop(&c);
}

static void test_old_tls(void **state)
{
    static struct tls_case c;
    struct xk_err err = {0};
    char body[64];

    tls_start(&c, false, "DNS:other", -DAY_S, DAY_S, (const char **)endless);
    SSL_CTX_set_security_level(c.server.tls, 0);
    (void)SSL_CTX_set_min_proto_version(c.server.tls, TLS1_VERSION);
    (void)SSL_CTX_set_max_proto_version(c.server.tls, TLS1_1_VERSION);
    struct http_target t = target_of(&c.server);
    t.trust.insecure = true;
    assert_int_equal(once(&t, body, sizeof(body), &err), -EPROTO);
    assert_non_null(strstr(err.text, "no TLS of version 1.2 or later"));
    tls_stop(&c);
}

static void test_proxy(void **state)
{
    const char *good[] = {"HTTP/1.1 200 Connection established\r\n\r\n", OK("behind", "6"), MORE, ""};
    const char *bad[] = {"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", MORE, ""};
    static struct server s;
    struct xk_err err = {0};
    char body[64];

    struct identity own = make_identity(NULL, "DNS:pool.example", -DAY_S, DAY_S);
    const struct http_pin pin = pin_of(&own);
    s = (struct server){.replies = good, .proxy = true};
    server_tls(&s, &own);
    server_start(&s, NULL);
    struct http_target t = target_of(&s);
    t.host = "pool.example"; /* known to nobody but the proxy */
    t.port = 443;
    t.proxy_host = "127.0.0.1";
    t.proxy_port = s.port;
    t.trust.pins = &pin;
    t.trust.pin_count = 1;
    assert_int_equal(once(&t, body, sizeof(body), &err), 0);
    assert_string_equal(body, "200 behind");
    assert_non_null(strstr(
        s.got,
        "CONNECT pool.example:443 HTTP/1.1\r\nHost: pool.example:443\r\n\r\nGET / HTTP/1.1\r\nHost: pool.example\r\n"));
    server_stop(&s);
    s = (struct server){.replies = bad, .proxy = true};
    server_start(&s, NULL);
    t.proxy_port = s.port;
    assert_int_equal(once(&t, body, sizeof(body), &err), -ECONNREFUSED);
    assert_non_null(strstr(err.text, "does not connect to pool.example port 443: HTTP status 403"));
    server_stop(&s);
    free_identity(&own);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keeps_the_connection),
        cmocka_unit_test(test_closed_meanwhile),
        cmocka_unit_test(test_bad_replies),
        cmocka_unit_test(test_silence_is_bounded),
        cmocka_unit_test(test_socket_in_the_file_system),
        cmocka_unit_test(test_authority),
        cmocka_unit_test(test_dates),
        cmocka_unit_test(test_pins),
        cmocka_unit_test(test_pin_words),
        cmocka_unit_test(test_first_use),
        cmocka_unit_test(test_first_use_keeps_other_lines),
        cmocka_unit_test(test_not_tls),
        cmocka_unit_test(test_old_tls),
        cmocka_unit_test(test_proxy),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
