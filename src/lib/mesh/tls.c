/*
 * A pump between a TLS connection and a descriptor.
 *
 * Certificates as the simulated pool has them would also do, but then somebody has to carry a fingerprint around, and
 * the agent would still have to ask for a secret; one key in one file says both.
 */
#include "lib/mesh/tls.h"

#include "core/secret.h"
#include "lib/resolve/resolve.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>

#define IDENTITY    "xenkit-mesh"
#define CHUNK_BYTES 4096

int mesh_key_read(struct mesh_key *ret, const char *path, struct xk_err *err)
{
    char *text = NULL;
    struct stat st;

    if (stat(path, &st) < 0)
        return xk_fail_sys(err, -errno, "%s", path);
    if (st.st_mode & (S_IRWXG | S_IRWXO)) {
        const int code = xk_fail(err, -EPERM, "others than its owner may use the key in %s", path);
        xk_err_hint(err, "chmod 600 %s", path);
        return code;
    }
    int code = xk_secret_read(&text, path, err);
    if (code < 0)
        return code;
    if (strlen(text) < MESH_KEY_TEXT_MIN) {
        code = xk_fail(err, -EINVAL, "the key in %s has less than %d characters", path, MESH_KEY_TEXT_MIN);
        xk_err_hint(err, "make one: `openssl rand -hex 32 > %s; chmod 600 %s`", path, path);
    } else if (EVP_Digest(text, strlen(text), ret->bytes, NULL, EVP_sha256(), NULL) != 1) {
        code = xk_fail_memory(err);
    }
    xk_secret_free(text);
    return code;
}

/* ---- the handshake ---- */

static unsigned give_key(SSL *ssl, unsigned char *ret, unsigned room)
{
    const struct mesh_key *const key = SSL_get_app_data(ssl);

    if (room < MESH_KEY_BYTES)
        return 0;
    memcpy(ret, key->bytes, MESH_KEY_BYTES);
    return MESH_KEY_BYTES;
}

static unsigned on_client(SSL *ssl, const char *hint, char *identity, unsigned identity_room, unsigned char *ret,
                          unsigned room)
{
    (void)hint;
    if (identity_room < sizeof(IDENTITY))
        return 0;
    memcpy(identity, IDENTITY, sizeof(IDENTITY));
    return give_key(ssl, ret, room);
}

static unsigned on_server(SSL *ssl, const char *identity, unsigned char *ret, unsigned room)
{
    return strcmp(identity, IDENTITY) == 0 ? give_key(ssl, ret, room) : 0;
}

/* Wait for what a call wants. returns 0: call again; -ECONNRESET: it cannot go on; what waiting returns. */
static int wait_for(SSL *ssl, int net, int result, const struct resolve_limits *limits)
{
    const int what = SSL_get_error(ssl, result);

    if (what != SSL_ERROR_WANT_READ && what != SSL_ERROR_WANT_WRITE)
        return -ECONNRESET;
    struct pollfd p = {.fd = net, .events = what == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT};
    const int code = resolve_wait(&p, 1, limits);
    return code < 0 ? code : 0;
}

static int shake_hands(SSL *ssl, int net, bool server, const struct xk_clock *clock, struct xk_err *err)
{
    const struct resolve_limits limits = {
        .clock = clock, .deadline_ns = resolve_deadline(clock, MESH_HANDSHAKE_S * XK_NS_PER_S), .root = ""};
    int result, code = 0;

    do {
        ERR_clear_error();
        result = server ? SSL_accept(ssl) : SSL_connect(ssl);
        if (result != 1)
            code = wait_for(ssl, net, result, &limits);
    } while (result != 1 && code == 0);
    /* A certificate instead of the key does not do. */
    if (code == 0 && !SSL_session_reused(ssl))
        code = -ECONNRESET;
    if (code == -ECONNRESET)
        return xk_fail(err, -EACCES, "the other side does not have the same key, or is no agent of a mesh");
    return code < 0 ? xk_fail_sys(err, code, "the handshake") : 0;
}

/* ---- the pump ---- */

static int send_all(SSL *ssl, int net, const char *bytes, int count, const struct xk_clock *clock)
{
    const struct resolve_limits limits = {.clock = clock, .deadline_ns = RESOLVE_NO_DEADLINE, .root = ""};
    int code = 0;

    for (int result = 0; code == 0 && (result = SSL_write(ssl, bytes, count)) <= 0;)
        code = wait_for(ssl, net, result, &limits);
    return code;
}

static int write_all(int fd, const char *bytes, size_t count)
{
    while (count > 0) {
        const ssize_t n = write(fd, bytes, count);
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0) {
            bytes += n;
            count -= (size_t)n;
        }
    }
    return 0;
}

/* returns 0 when either side has ended. */
static int pump(SSL *ssl, int net, int plain, const struct xk_clock *clock)
{
    char bytes[CHUNK_BYTES];

    while (!xk_stop_signal()) {
        struct pollfd polls[] = {{.fd = net, .events = POLLIN}, {.fd = plain, .events = POLLIN}};
        int code = 0;
        if (poll(polls, XK_COUNT(polls), -1) < 0)
            continue;
        if (polls[0].revents != 0) {
            int n;
            while (code == 0 && (n = SSL_read(ssl, bytes, sizeof(bytes))) > 0)
                code = write_all(plain, bytes, (size_t)n);
            if (code < 0 || SSL_get_error(ssl, n) != SSL_ERROR_WANT_READ)
                return 0;
        }
        if (polls[1].revents != 0) {
            const ssize_t n = read(plain, bytes, sizeof(bytes));
            if (n == 0 || (n < 0 && errno != EINTR) || (n > 0 && send_all(ssl, net, bytes, (int)n, clock) < 0))
                return 0;
        }
    }
    return -EINTR;
}

static SSL_CTX *context(bool server)
{
    SSL_CTX *const c = SSL_CTX_new(TLS_method());

    if (!c)
        return NULL;
    SSL_CTX_set_psk_client_callback(c, on_client);
    SSL_CTX_set_psk_server_callback(c, on_server);
    /* A key of SHA-256 goes with suites of that hash; without certificates, nothing but the key can be offered. */
    if (SSL_CTX_set_min_proto_version(c, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_ciphersuites(c, "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256") != 1) {
        SSL_CTX_free(c);
        return NULL;
    }
    SSL_CTX_set_verify(c, server ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_num_tickets(c, 0);
    return c;
}

int mesh_tls_carry(int net, int plain, bool server, const struct mesh_key *key, const struct xk_clock *clock,
                   struct xk_err *err)
{
    SSL_CTX *const c = context(server);
    SSL *const ssl = c ? SSL_new(c) : NULL;
    int code;

    if (!ssl || SSL_set_fd(ssl, net) != 1) {
        code = xk_fail_memory(err);
    } else {
        SSL_set_app_data(ssl, (void *)(uintptr_t)key);
        (void)fcntl(net, F_SETFL, O_NONBLOCK);
        code = shake_hands(ssl, net, server, clock, err);
        if (code == 0)
            code = pump(ssl, net, plain, clock);
        if (code == 0)
            (void)SSL_shutdown(ssl);
    }
    SSL_free(ssl);
    SSL_CTX_free(c);
    return code;
}
