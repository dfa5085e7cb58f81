/*
 * One descriptor that never blocks; every wait is resolve_wait(), so that a deadline and a stop hold in the middle of
 * a TLS handshake as well.
 *
 * The certificate is judged after the handshake and before the first byte of ours, instead of in a callback of
 * OpenSSL's: then there is one place that says what is wrong, and this machine's authorities, which take long to
 * load, are only loaded when nothing else decides.
 */
#include "lib/http/stream.h"

#include "lib/http/reader.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <time.h>

#define SOON_NS    (XK_NS_PER_MS / 10)
#define SOON_LOOKS 1000 /* a clock may stand still */

struct http_stream {
    int fd;
    SSL_CTX *context;
    SSL *ssl; /* NULL: plain */
    struct http_pin pin;
    bool asked; /* what was written last has no answer yet: reading first waits, instead of first failing */
};

void http_stream_close(struct http_stream *s)
{
    if (!s)
        return;
    if (s->ssl) {
        (void)SSL_shutdown(s->ssl); /* our half of the farewell; nobody waits for the other */
        SSL_free(s->ssl);
    }
    SSL_CTX_free(s->context);
    ERR_clear_error();
    if (s->fd >= 0)
        (void)close(s->fd);
    free(s);
}

const struct http_pin *http_stream_pin(const struct http_stream *s)
{
    return s->ssl ? &s->pin : NULL;
}

static int64_t seconds_of(const ASN1_TIME *t)
{
    struct tm tm = {0};

    return t && ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

bool http_stream_validity(const struct http_stream *s, int64_t *ret_from_s, int64_t *ret_until_s)
{
    X509 *const shown = s->ssl ? SSL_get1_peer_certificate(s->ssl) : NULL;

    if (!shown)
        return false;
    *ret_from_s = seconds_of(X509_get0_notBefore(shown));
    *ret_until_s = seconds_of(X509_get0_notAfter(shown));
    X509_free(shown);
    return true;
}

/* ---- waiting ---- */

/*
 * For a reply that comes soon, from this machine or one beside it: a processor that falls asleep for it takes longer to
 * wake up than it has to wait. Who is to run on this processor, perhaps the server itself, does so in between.
 */
static bool comes_soon(const struct http_stream *s, const struct resolve_limits *limits)
{
    struct pollfd fd = {.fd = s->fd, .events = POLLIN};
    const uint64_t from_ns = limits->clock->monotonic_ns(limits->clock);

    for (unsigned i = 0; i < SOON_LOOKS && limits->clock->monotonic_ns(limits->clock) - from_ns < SOON_NS; i++) {
        if (poll(&fd, 1, 0) != 0)
            return true;
        (void)sched_yield();
    }
    return false;
}

static int wait_for(const struct http_stream *s, short events, const struct resolve_limits *limits)
{
    struct pollfd fd = {.fd = s->fd, .events = events};
    const int ready = resolve_wait(&fd, 1, limits);

    return ready < 0 ? ready : 0;
}

/* After a TLS call that did not get through. returns   0: try again; 1: the end; a negative errno value. */
static int wait_for_tls(const struct http_stream *s, int result, const struct resolve_limits *limits)
{
    const int saved_errno = errno;

    switch (SSL_get_error(s->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        return wait_for(s, POLLIN, limits);
    case SSL_ERROR_WANT_WRITE:
        return wait_for(s, POLLOUT, limits);
    case SSL_ERROR_ZERO_RETURN:
        return 1;
    case SSL_ERROR_SYSCALL:
        return saved_errno ? -saved_errno : -ECONNRESET;
    default:
        /* An end without a farewell is how many servers close. */
        return ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING ? 1 : -EPROTO;
    }
}

ssize_t http_stream_write(struct http_stream *s, const void *bytes, size_t count, const struct resolve_limits *limits)
{
    for (;;) {
        size_t done = 0;
        int code = 0;
        if (s->ssl) {
            ERR_clear_error();
            errno = 0;
            const int result = SSL_write_ex(s->ssl, bytes, count, &done);
            if (result == 1)
                return (ssize_t)done;
            code = wait_for_tls(s, result, limits);
            code = code == 1 ? -EPIPE : code;
        } else {
            const ssize_t sent = send(s->fd, bytes, count, MSG_NOSIGNAL);
            s->asked = true;
            if (sent > 0)
                return sent;
            code = errno == EAGAIN ? wait_for(s, POLLOUT, limits) : errno == EINTR ? 0 : -errno;
        }
        if (code < 0)
            return code;
    }
}

ssize_t http_stream_read(struct http_stream *s, void *bytes, size_t count, const struct resolve_limits *limits)
{
    for (;;) {
        size_t done = 0;
        int code = 0;
        if (s->ssl) {
            ERR_clear_error();
            errno = 0;
            const int result = SSL_read_ex(s->ssl, bytes, count, &done);
            if (result == 1)
                return (ssize_t)done;
            code = wait_for_tls(s, result, limits);
            if (code == 1)
                return 0;
        } else {
            if (s->asked && !comes_soon(s, limits) && (code = wait_for(s, POLLIN, limits)) < 0)
                return code;
            s->asked = false;
            const ssize_t got = recv(s->fd, bytes, count, 0);
            if (got >= 0)
                return got;
            code = errno == EAGAIN ? wait_for(s, POLLIN, limits) : errno == EINTR ? 0 : -errno;
        }
        if (code < 0)
            return code;
    }
}

int http_stream_fd(const struct http_stream *s)
{
    return s->fd;
}

bool http_stream_idle(struct http_stream *s)
{
    struct pollfd fd = {.fd = s->fd, .events = POLLIN};
    char byte;

    if (poll(&fd, 1, 0) == 0)
        return true;
    if (!s->ssl)
        return false;
    /* TLS 1.3 sends tickets after the handshake: those are read here, and are not for us. */
    ERR_clear_error();
    const int result = SSL_peek(s->ssl, &byte, 1);
    return result <= 0 && SSL_get_error(s->ssl, result) == SSL_ERROR_WANT_READ;
}

/* ---- connecting ---- */

static int connect_socket(struct http_stream *s, const char *path, struct xk_err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (strlen(path) >= sizeof(address.sun_path))
        return xk_fail(err, -EINVAL, "%s: too long for the path of a socket", path);
    memcpy(address.sun_path, path, strlen(path) + 1);
    s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    /* On this machine it either works at once, or (EAGAIN) too many wait already. */
    if (s->fd < 0 || connect(s->fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
        return xk_fail_sys(err, -errno, "connecting to %s", path);
    return 0;
}

static int connect_tcp(struct http_stream *s, const char *host, uint16_t port, const struct resolve_limits *limits,
                       struct xk_err *err)
{
    struct resolve_addresses addresses;

    const int code = resolve_name(&addresses, host, port, AF_UNSPEC, limits, err);
    if (code < 0)
        return code;
    s->fd = resolve_connect(NULL, &addresses, host, limits, err);
    return s->fd < 0 ? s->fd : 0;
}

static int write_all(struct http_stream *s, const struct xk_buf *b, const struct resolve_limits *limits)
{
    for (size_t at = 0; at < b->len;) {
        const ssize_t sent = http_stream_write(s, b->data + at, b->len - at, limits);
        if (sent < 0)
            return (int)sent;
        at += (size_t)sent;
    }
    return 0;
}

/* The reply is read byte by byte: what follows it belongs to the far side, and it is short. */
static int read_proxy_reply(struct http_stream *s, struct http_reader *r, const struct resolve_limits *limits,
                            struct xk_err *err)
{
    while (!http_reader_whole(r)) {
        char byte;
        const ssize_t got = http_stream_read(s, &byte, 1, limits);
        if (got < 0)
            return xk_fail_sys(err, (int)got, "waiting for the reply");
        const ssize_t used = got ? http_reader_feed(r, &byte, 1, err) : http_reader_end(r, err);
        if (used < 0)
            return (int)used;
    }
    return 0;
}

static int ask_proxy(struct http_stream *s, const struct http_target *t, const struct resolve_limits *limits,
                     struct xk_err *err)
{
    xk_auto(xk_buf_done) struct xk_buf request = XK_BUF_INIT(2048);
    xk_auto(http_reader_done) struct http_reader reader;
    const bool v6 = strchr(t->host, ':') != NULL;
    struct xk_err why = {0};

    http_reader_init(&reader, 0, false, true);
    xk_buf_printf(&request, "CONNECT %s%s%s:%u HTTP/1.1\r\nHost: %s%s%s:%u\r\n\r\n", v6 ? "[" : "", t->host,
                  v6 ? "]" : "", t->port, v6 ? "[" : "", t->host, v6 ? "]" : "", t->port);
    if (request.error)
        return xk_fail_memory(err);
    int code = write_all(s, &request, limits);
    if (code < 0)
        (void)xk_fail_sys(&why, code, "sending the request");
    else
        code = read_proxy_reply(s, &reader, limits, &why);
    if (code < 0)
        return xk_fail(err, code, "proxy %s port %u, asked for %s port %u: %s", t->proxy_host, t->proxy_port, t->host,
                       t->port, why.text);
    const unsigned status = http_reader_status(&reader);
    if (status / 100 != 2) {
        (void)xk_fail(err, -ECONNREFUSED, "proxy %s port %u does not connect to %s port %u: HTTP status %u",
                      t->proxy_host, t->proxy_port, t->host, t->port, status);
        if (status == 407)
            xk_err_hint(err, "the proxy wants a login, which is not supported");
        return -ECONNREFUSED;
    }
    return 0;
}

/* ---- TLS ---- */

static bool is_address(const char *host)
{
    unsigned char bytes[sizeof(struct in6_addr)];

    return inet_pton(AF_INET, host, bytes) == 1 || strchr(host, ':');
}

static int tls_failed(const struct http_target *t, int code, struct xk_err *err)
{
    const unsigned long wrong = ERR_peek_error();
    char text[160];

    if (code == -ETIMEDOUT)
        return xk_fail(err, code, "%s port %u does not go on with the TLS handshake in time", t->host, t->port);
    if (code == -EINTR)
        return xk_fail(err, code, "connecting to %s port %u: stopped", t->host, t->port);
    if (code != -EPROTO && code != -ECONNRESET)
        return xk_fail_sys(err, code, "TLS with %s port %u", t->host, t->port);
    switch (ERR_GET_REASON(wrong)) {
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_HTTP_REQUEST:
    case SSL_R_PACKET_LENGTH_TOO_LONG:
        (void)xk_fail(err, -EPROTO, "%s port %u does not speak TLS", t->host, t->port);
        xk_err_hint(err, "http://%s:%u is the way without encryption", t->host, t->port);
        return -EPROTO;
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
        (void)xk_fail(err, -EPROTO, "%s port %u has no TLS of version 1.2 or later", t->host, t->port);
        xk_err_hint(err, "older versions are broken; the host needs an update, or an SSH tunnel to its port 80");
        return -EPROTO;
    }
    if (!wrong)
        return xk_fail(err, -ECONNRESET, "%s port %u ends the connection in the TLS handshake", t->host, t->port);
    ERR_error_string_n(wrong, text, sizeof(text));
    return xk_fail(err, -EPROTO, "TLS with %s port %u: %s", t->host, t->port,
                   ERR_reason_error_string(wrong) ? ERR_reason_error_string(wrong) : text);
}

/* Not the machine's openssl.cnf: it may name modules that a static program cannot load. */
static SSL_CTX *tls_context(void)
{
    if (OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_LOAD_SSL_STRINGS, NULL) != 1)
        return NULL;
    SSL_CTX *const context = SSL_CTX_new(TLS_client_method());
    if (!context)
        return NULL;
    SSL_CTX_set_security_level(context, 1); /* keys of 1024 bits: hosts of version 6 made those for themselves */
    SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL); /* http_trust_check() does it */
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1) {
        SSL_CTX_free(context);
        return NULL;
    }
    return context;
}

static int begin_tls(struct http_stream *s, const struct http_target *t, const struct resolve_limits *limits,
                     struct xk_err *err)
{
    s->context = tls_context();
    s->ssl = s->context ? SSL_new(s->context) : NULL;
    if (!s->ssl || SSL_set_fd(s->ssl, s->fd) != 1 ||
        (!is_address(t->host) && SSL_set_tlsext_host_name(s->ssl, t->host) != 1))
        return xk_fail_memory(err);
    for (;;) {
        ERR_clear_error();
        errno = 0;
        const int result = SSL_connect(s->ssl);
        if (result == 1)
            break;
        int code = wait_for_tls(s, result, limits);
        if (code != 0)
            return tls_failed(t, code == 1 ? -ECONNRESET : code, err);
    }
    return http_trust_check(&s->pin, &t->trust, s->ssl, t->host, t->port, err);
}

int http_stream_open(struct http_stream **ret, const struct http_target *target, const struct resolve_limits *limits,
                     struct xk_err *err)
{
    struct http_stream *const s = xk_zalloc(sizeof(*s));
    int code = 0;

    if (!s)
        return xk_fail_memory(err);
    s->fd = -1;
    if (target->socket_path)
        code = connect_socket(s, target->socket_path, err);
    else if (target->proxy_host)
        code = connect_tcp(s, target->proxy_host, target->proxy_port, limits, err);
    else
        code = connect_tcp(s, target->host, target->port, limits, err);
    if (code == 0 && target->proxy_host && !target->socket_path)
        code = ask_proxy(s, target, limits, err);
    if (code == 0 && target->tls)
        code = begin_tls(s, target, limits, err);
    if (code < 0) {
        http_stream_close(s);
        return code;
    }
    *ret = s;
    return 0;
}
