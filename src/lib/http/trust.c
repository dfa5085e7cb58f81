/*
 * The file of first uses has a line "HOST PORT SHA256" for each server, as known_hosts of SSH has; a line that does not
 * look like that is left alone. It is written anew as a whole, under a lock, so that of two commands that meet their
 * servers at the same time neither loses its line.
 *
 * A certificate that differs from the kept one is refused even if an authority vouches for it: whoever changed it on
 * purpose knows where to say so.
 */
#include "lib/http/trust.h"

#include "core/buf.h"
#include "core/text.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>

#define NAME_BYTES  256
#define FIELD_BYTES 1024

/* ---- fingerprints ---- */

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

int http_pin_parse(struct http_pin *ret, const char *text, struct xk_err *err)
{
    const char *c = text;
    size_t digits = 0;

    if (strncasecmp(c, "sha-256:", 8) == 0 || strncasecmp(c, "sha256:", 7) == 0)
        c = strchr(c, ':') + 1;
    for (; *c; c++) {
        const int digit = hex_digit(*c);
        if (*c == ':' && digits > 0 && digits % 2 == 0)
            continue;
        if (digit < 0 || digits == 2u * HTTP_PIN_BYTES)
            break;
        uint8_t *const byte = &ret->bytes[digits / 2];
        *byte = (uint8_t)(digits % 2 ? *byte | digit : digit << 4);
        digits++;
    }
    if (*c || digits != 2u * HTTP_PIN_BYTES) {
        (void)xk_fail(err, -EINVAL, "\"%s\" is no SHA-256 fingerprint: 64 hexadecimal digits are wanted", text);
        xk_err_hint(err, "openssl x509 -noout -fingerprint -sha256 -in CERTIFICATE shows it");
        return -EINVAL;
    }
    return 0;
}

void http_pin_text(char ret[HTTP_PIN_TEXT], const struct http_pin *pin)
{
    for (size_t i = 0; i < HTTP_PIN_BYTES; i++)
        snprintf(ret + 2 * i, 3, "%02x", pin->bytes[i]);
}

static bool same_pin(const struct http_pin *a, const struct http_pin *b)
{
    return memcmp(a->bytes, b->bytes, HTTP_PIN_BYTES) == 0;
}

/* ---- certificates in words ---- */

struct certificate {
    X509 *x509;
    const char *host;
    uint16_t port;
    struct http_pin pin;
    char fingerprint[HTTP_PIN_TEXT];
    char subject[FIELD_BYTES], names[FIELD_BYTES];
    struct xk_word from, until;
};

static struct xk_word time_word(const ASN1_TIME *time)
{
    struct tm tm = {0};

    return time && ASN1_TIME_to_tm(time, &tm) == 1 ? xk_iso_time(timegm(&tm)) : (struct xk_word){.s = "?"};
}

static void put_subject(char *ret, size_t size, X509 *x509)
{
    xk_auto(xk_buf_done) struct xk_buf clean = XK_BUF_INIT(size - 1);
    char text[FIELD_BYTES / 2] = "";

    (void)X509_NAME_get_text_by_NID(X509_get_subject_name(x509), NID_commonName, text, (int)sizeof(text));
    xk_add_clean(&clean, text);
    snprintf(ret, size, "%s", xk_buf_str(&clean));
}

/* The names and addresses that it was made for, with commas. */
static void put_names(char *ret, size_t size, X509 *x509)
{
    GENERAL_NAMES *const names = X509_get_ext_d2i(x509, NID_subject_alt_name, NULL, NULL);
    xk_auto(xk_buf_done) struct xk_buf b = XK_BUF_INIT(size - 1);

    for (int i = 0; names && i < sk_GENERAL_NAME_num(names); i++) {
        int type = 0;
        char text[NAME_BYTES] = "";
        const ASN1_STRING *const s = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &type);
        if (type == GEN_DNS)
            snprintf(text, sizeof(text), "%.*s", ASN1_STRING_length(s), (const char *)ASN1_STRING_get0_data(s));
        else if (type == GEN_IPADD)
            (void)inet_ntop(ASN1_STRING_length(s) == 16 ? AF_INET6 : AF_INET, ASN1_STRING_get0_data(s), text,
                            sizeof(text));
        if (*text && b.len)
            xk_buf_add_str(&b, ", ");
        xk_add_clean(&b, text);
    }
    GENERAL_NAMES_free(names);
    snprintf(ret, size, "%s", b.error ? "?" : xk_buf_str(&b));
}

static int describe(struct certificate *ret, SSL *ssl, const char *host, uint16_t port)
{
    unsigned bytes = HTTP_PIN_BYTES;

    *ret = (struct certificate){.x509 = SSL_get1_peer_certificate(ssl), .host = host, .port = port};
    if (!ret->x509 || X509_digest(ret->x509, EVP_sha256(), ret->pin.bytes, &bytes) != 1)
        return -ENOMEM;
    http_pin_text(ret->fingerprint, &ret->pin);
    put_subject(ret->subject, sizeof(ret->subject), ret->x509);
    put_names(ret->names, sizeof(ret->names), ret->x509);
    ret->from = time_word(X509_get0_notBefore(ret->x509));
    ret->until = time_word(X509_get0_notAfter(ret->x509));
    return 0;
}

static time_t now_s(const struct http_trust *t)
{
    return (time_t)(t->clock->utc_ns(t->clock) / (int64_t)XK_NS_PER_S);
}

/* ---- refusals ---- */

static int refuse(struct xk_err *err, const char *format, ...) XK_PRINTF(2, 3);

static int refuse(struct xk_err *err, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)xk_vfail(err, -EKEYREJECTED, format, args);
    va_end(args);
    xk_err_exit(err, XK_EXIT_REMOTE);
    return -EKEYREJECTED;
}

static int refuse_dates(const struct certificate *c, const struct http_trust *t, bool expired, struct xk_err *err)
{
    const struct xk_word now = xk_iso_time(now_s(t));

    (void)refuse(err, "the certificate of %s port %u %s %s; this machine's clock says %s", c->host, c->port,
                 expired ? "has expired at" : "is not valid before", expired ? c->until.s : c->from.s, now.s);
    xk_err_hint(err,
                expired ? "if that clock is right (NTP), the host needs a new certificate; until then --cert-sha256 %s "
                          "trusts this one"
                        : "most likely this machine's clock or the host's is wrong (NTP); --cert-sha256 %s trusts this "
                          "certificate",
                c->fingerprint);
    return -EKEYREJECTED;
}

static int refuse_name(const struct certificate *c, struct xk_err *err)
{
    (void)refuse(err, "the certificate that %s port %u shows is for %.200s, not for this name", c->host, c->port,
                 *c->names     ? c->names
                 : *c->subject ? c->subject
                               : "nobody");
    xk_err_hint(err, "use a name that it is for, or --cert-sha256 %s to trust it under any", c->fingerprint);
    return -EKEYREJECTED;
}

static int refuse_chain(const struct certificate *c, const struct http_trust *t, int wrong, struct xk_err *err)
{
    switch (wrong) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return refuse_dates(c, t, wrong == X509_V_ERR_CERT_HAS_EXPIRED, err);
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        return refuse_name(c, err);
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        (void)refuse(err, "the certificate of %s port %u is signed by itself, not by an authority of %s", c->host,
                     c->port, t->ca_file);
        break;
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        (void)refuse(err, "the certificate of %s port %u is not signed by an authority of %s", c->host, c->port,
                     t->ca_file);
        break;
    default:
        (void)refuse(err, "the certificate of %s port %u cannot be verified: %s", c->host, c->port,
                     X509_verify_cert_error_string(wrong));
    }
    xk_err_hint(err, "its SHA-256 fingerprint is %s", c->fingerprint);
    return -EKEYREJECTED;
}

static int refuse_pins(const struct certificate *c, const struct http_trust *t, struct xk_err *err)
{
    char wanted[HTTP_PIN_TEXT];

    http_pin_text(wanted, t->pin_count ? &t->pins[0] : t->vouched);
    (void)refuse(err, "%s port %u shows the certificate %s, and %s%s was to be trusted", c->host, c->port,
                 c->fingerprint, wanted, t->pin_count > 1 ? " or another given one" : "");
    xk_err_hint(err, "either somebody is in between, or the host has a new certificate: compare on the host itself");
    return -EKEYREJECTED;
}

static int refuse_change(const struct certificate *c, const struct http_trust *t, const struct http_pin *kept,
                         struct xk_err *err)
{
    char before[HTTP_PIN_TEXT];

    http_pin_text(before, kept);
    (void)refuse(err, "THE CERTIFICATE OF %s PORT %u HAS CHANGED: it was %s, now it is %s (%s to %s)", c->host, c->port,
                 before, c->fingerprint, c->from.s, c->until.s);
    xk_err_hint(err,
                "somebody may be in between. If the host has a new certificate (compare it there), remove the line "
                "\"%s %u\" from %s, or give --cert-sha256",
                c->host, c->port, t->known_file);
    return -EKEYREJECTED;
}

/* ---- chains ---- */

/* Where distributions keep their authorities. */
static const char *const system_folders[] = {"/etc/ssl/certs", "/etc/pki/tls/certs"};
static const char *const system_bundles[] = {"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt",
                                             "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"};

/* returns   X509_V_OK or what is wrong. */
static int verify_with(X509_STORE *store, const struct certificate *c, const struct http_trust *t, SSL *ssl)
{
    X509_STORE_CTX *const context = X509_STORE_CTX_new();
    int wrong = X509_V_ERR_OUT_OF_MEM;

    if (context && X509_STORE_CTX_init(context, store, c->x509, SSL_get_peer_cert_chain(ssl)) == 1) {
        X509_VERIFY_PARAM *const param = X509_STORE_CTX_get0_param(context);
        (void)X509_STORE_CTX_set_default(context, "ssl_server");
        X509_VERIFY_PARAM_set_time(param, now_s(t));
        if (X509_VERIFY_PARAM_set1_ip_asc(param, c->host) != 1)
            (void)X509_VERIFY_PARAM_set1_host(param, c->host, 0);
        wrong = X509_verify_cert(context) == 1 ? X509_V_OK : X509_STORE_CTX_get_error(context);
    }
    X509_STORE_CTX_free(context);
    ERR_clear_error();
    return wrong;
}

static int check_authorities(const struct certificate *c, const struct http_trust *t, SSL *ssl, struct xk_err *err)
{
    X509_STORE *const store = X509_STORE_new();
    int wrong = X509_V_ERR_OUT_OF_MEM;

    if (store && X509_STORE_load_file(store, t->ca_file) != 1) {
        X509_STORE_free(store);
        ERR_clear_error();
        (void)xk_fail(err, -EINVAL, "%s: no certificates of authorities (PEM) could be read from it", t->ca_file);
        xk_err_exit(err, XK_EXIT_USAGE);
        return -EINVAL;
    }
    if (store)
        wrong = verify_with(store, c, t, ssl);
    X509_STORE_free(store);
    return wrong == X509_V_OK ? 0 : refuse_chain(c, t, wrong, err);
}

static bool places_vouch(const char *const *places, size_t count, bool folders, const struct certificate *c,
                         const struct http_trust *t, SSL *ssl)
{
    X509_STORE *const store = X509_STORE_new();
    bool good = false;

    for (size_t i = 0; store && i < count; i++)
        if (places[i] && access(places[i], R_OK) == 0)
            (void)(folders ? X509_STORE_load_path(store, places[i]) : X509_STORE_load_file(store, places[i]));
    good = store && verify_with(store, c, t, ssl) == X509_V_OK;
    X509_STORE_free(store);
    ERR_clear_error();
    return good;
}

/* The folders first: from them only what is asked for is read, and a bundle takes 20 ms. */
static bool system_vouches(const struct certificate *c, const struct http_trust *t, SSL *ssl)
{
    const char *const file = secure_getenv("SSL_CERT_FILE"), *const folder = secure_getenv("SSL_CERT_DIR");

    if (file || folder)
        return places_vouch(&folder, 1, true, c, t, ssl) || places_vouch(&file, 1, false, c, t, ssl);
    return places_vouch(system_folders, XK_COUNT(system_folders), true, c, t, ssl) ||
           places_vouch(system_bundles, XK_COUNT(system_bundles), false, c, t, ssl);
}

/* ---- first uses ---- */

/* Whether a line is that of this server. *ret: its fingerprint. */
static bool is_line_of(const char *line, size_t bytes, const char *server, uint16_t server_port, struct http_pin *ret)
{
    char host[NAME_BYTES], pin[HTTP_PIN_TEXT + 1], text[NAME_BYTES + HTTP_PIN_TEXT + 16];
    unsigned port;

    if (bytes >= sizeof(text))
        return false;
    snprintf(text, sizeof(text), "%.*s", (int)bytes, line);
    return sscanf(text, "%255s %5u %65s", host, &port, pin) == 3 && port == server_port &&
           strcasecmp(host, server) == 0 && http_pin_parse(ret, pin, NULL) == 0;
}

bool http_known_find(struct http_pin *ret, const char *text, const char *host, uint16_t port)
{
    for (const char *line = text; *line;) {
        const size_t bytes = strcspn(line, "\n");
        if (is_line_of(line, bytes, host, port, ret))
            return true;
        line += bytes + (line[bytes] == '\n');
    }
    return false;
}

static int read_known(char **ret, const struct http_trust *t, struct xk_err *err)
{
    struct xk_err why = {0};
    const int code = xk_slurp(ret, "", t->known_file, HTTP_KNOWN_BYTES_MAX, &why);

    if (code != -ENOENT) {
        if (code < 0 && err)
            *err = why;
        return code;
    }
    *ret = xk_strdup("");
    return *ret ? 0 : xk_fail_memory(err);
}

/* The folders above the file, private ones. */
static void make_folders(const char *path)
{
    char part[4096];

    for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        snprintf(part, sizeof(part), "%.*s", (int)(slash - path), path);
        (void)mkdir(part, 0700);
    }
}

static int add_known(const struct http_trust *t, const struct certificate *c, struct xk_err *err)
{
    xk_auto(xk_buf_done) struct xk_buf b = XK_BUF_INIT(HTTP_KNOWN_BYTES_MAX);
    xk_autofree char *lock_path = xk_asprintf("%s.lock", t->known_file);
    xk_autofree char *text = NULL;

    if (!lock_path)
        return xk_fail_memory(err);
    make_folders(t->known_file);
    xk_autoclose const int lock = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (lock < 0 || flock(lock, LOCK_EX) < 0)
        return xk_fail_sys(err, -errno, "%s", lock_path);
    int code = read_known(&text, t, err);
    if (code < 0)
        return code;
    struct http_pin other;
    if (http_known_find(&other, text, c->host, c->port)) /* somebody was quicker */
        return same_pin(&other, &c->pin) ? 0 : refuse_change(c, t, &other, err);
    xk_buf_add_str(&b, text);
    if (b.len && b.data[b.len - 1] != '\n')
        xk_buf_add_char(&b, '\n');
    xk_buf_printf(&b, "%s %u %s\n", c->host, c->port, c->fingerprint);
    if (b.error)
        return xk_fail(err, b.error, "%s: it cannot grow any more", t->known_file);
    return xk_file_replace(t->fs, t->known_file, b.data, b.len, 0600, err);
}

static int first_use(const struct certificate *c, const struct http_trust *t, SSL *ssl, struct xk_err *err)
{
    time_t now = now_s(t);
    struct xk_err why = {0};

    if (!t->vouched && system_vouches(c, t, ssl))
        return 0;
    if (X509_cmp_time(X509_get0_notBefore(c->x509), &now) > 0)
        return refuse_dates(c, t, false, err);
    if (X509_cmp_time(X509_get0_notAfter(c->x509), &now) < 0)
        return refuse_dates(c, t, true, err);
    const int code = t->known_file ? add_known(t, c, &why) : xk_fail(&why, -ENOENT, "there is no home folder for it");
    if (code == -EKEYREJECTED) {
        if (err)
            *err = why;
        return code;
    }
    if (code < 0) {
        (void)refuse(err, "this is the first connection to %s port %u, and its certificate cannot be kept: %s", c->host,
                     c->port, why.text);
        xk_err_hint(err, "--cert-sha256 %s trusts it without keeping it", c->fingerprint);
        return -EKEYREJECTED;
    }
    if (!t->vouched)
        xk_log(
            t->log, XK_LOG_WARN,
            "first connection to %s port %u: its certificate (SHA-256 %s, for %s, valid until %s) is trusted from now "
            "on; compare it on the host. Kept in %s",
            c->host, c->port, c->fingerprint, *c->names ? c->names : c->subject, c->until.s, t->known_file);
    return 0;
}

static int check_known(const struct certificate *c, const struct http_trust *t, SSL *ssl, struct xk_err *err)
{
    xk_autofree char *text = NULL;
    struct http_pin kept;

    if (t->known_file) {
        const int code = read_known(&text, t, err);
        if (code < 0)
            return code;
        if (http_known_find(&kept, text, c->host, c->port))
            return same_pin(&kept, &c->pin) ? 0 : refuse_change(c, t, &kept, err);
    }
    if (t->vouched && !same_pin(t->vouched, &c->pin))
        return refuse_pins(c, t, err);
    return first_use(c, t, ssl, err);
}

/* ---- all together ---- */

static int judge(const struct certificate *c, const struct http_trust *t, SSL *ssl, struct xk_err *err)
{
    if (t->insecure)
        return 0;
    if (t->pin_count > 0) {
        for (size_t i = 0; i < t->pin_count; i++)
            if (same_pin(&t->pins[i], &c->pin))
                return 0;
        return t->vouched && same_pin(t->vouched, &c->pin) ? 0 : refuse_pins(c, t, err);
    }
    if (t->ca_file)
        return check_authorities(c, t, ssl, err);
    return check_known(c, t, ssl, err);
}

int http_trust_check(struct http_pin *ret_pin, const struct http_trust *trust, SSL *ssl, const char *host,
                     uint16_t port, struct xk_err *err)
{
    struct certificate c;

    if (describe(&c, ssl, host, port) < 0) {
        X509_free(c.x509);
        return xk_fail_memory(err);
    }
    *ret_pin = c.pin;
    const int code = judge(&c, trust, ssl, err);
    X509_free(c.x509);
    return code;
}
