/*
 * Keys, certificates and the settings of TLS, all OpenSSL's.
 *
 * RSA was weighed, as real hosts have it: making three keys of 2048 bits takes between 0.1 and 1 s, P-256 a tenth of a
 * millisecond, and every client that can do TLS 1.2 takes it.
 */
#include "lib/http/identity.h"

#include "core/bytes.h"

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <stdio.h>
#include <string.h>
#include <time.h>

struct http_identity {
    EVP_PKEY *key;
    X509 *certificate;
    STACK_OF(X509) * chain; /* NULL: none */
    SSL_CTX *context;
};

static int fail_tls(struct xk_err *err, const char *what)
{
    return xk_fail(err, -ENOMEM, "TLS: %s failed", what);
}

void http_identity_free(struct http_identity *id)
{
    if (!id)
        return;
    SSL_CTX_free(id->context);
    X509_free(id->certificate);
    sk_X509_pop_free(id->chain, X509_free);
    EVP_PKEY_free(id->key);
    free(id);
}

/* ---- settings of TLS ---- */

/* Made for the first connection: it takes as long as everything else of an identity ten times over. */
struct ssl_ctx_st *http_identity_context(struct http_identity *id)
{
    if (id->context)
        return id->context;
    SSL_CTX *const c = SSL_CTX_new(TLS_server_method());
    if (!c || !SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION) || SSL_CTX_use_certificate(c, id->certificate) != 1 ||
        SSL_CTX_use_PrivateKey(c, id->key) != 1 || (id->chain && SSL_CTX_set1_chain(c, id->chain) != 1)) {
        SSL_CTX_free(c);
        return NULL;
    }
    /* An idle connection keeps no buffers: a thousand of them would hold 34 MiB. */
    (void)SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    (void)SSL_CTX_set_options(c, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_IGNORE_UNEXPECTED_EOF);
    /* Resumed by tickets, which keep nothing here. */
    (void)SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
    id->context = c;
    return c;
}

/* ---- certificates ---- */

static bool add_extension(X509 *certificate, int which, const char *value)
{
    X509V3_CTX context;

    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, certificate, certificate, NULL, NULL, 0);
    X509_EXTENSION *const extension = X509V3_EXT_conf_nid(NULL, &context, which, value);
    const bool good = extension && X509_add_ext(certificate, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return good;
}

static bool set_serial(X509 *certificate)
{
    BIGNUM *const number = BN_new();
    const bool good = number && BN_rand(number, 127, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) == 1 &&
                      BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != NULL;

    BN_free(number);
    return good;
}

static bool fill_certificate(X509 *certificate, EVP_PKEY *key, const struct http_identity_wish *wish)
{
    X509_NAME *const subject = X509_get_subject_name(certificate);
    char names[512];

    snprintf(names, sizeof(names), "IP:%s,DNS:%s%s%s", resolve_host_text(&wish->address).s, wish->name,
             wish->also ? ",DNS:" : "", wish->also ? wish->also : "");
    return X509_set_version(certificate, X509_VERSION_3) == 1 && set_serial(certificate) &&
           ASN1_TIME_set(X509_getm_notBefore(certificate), (time_t)wish->from_s) != NULL &&
           ASN1_TIME_set(X509_getm_notAfter(certificate), (time_t)wish->to_s) != NULL &&
           X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)wish->name, -1, -1, 0) ==
               1 &&
           X509_set_issuer_name(certificate, subject) == 1 && X509_set_pubkey(certificate, key) == 1 &&
           /* A client that is given this certificate as its CA has to accept it as one. */
           add_extension(certificate, NID_basic_constraints, "critical,CA:TRUE") &&
           add_extension(certificate, NID_subject_key_identifier, "hash") &&
           add_extension(certificate, NID_subject_alt_name, names) && X509_sign(certificate, key, EVP_sha256()) > 0;
}

int http_identity_make(struct http_identity **ret, const struct http_identity_wish *wish, struct xk_err *err)
{
    struct http_identity *const id = xk_zalloc(sizeof(*id));
    int code = 0;

    if (!id)
        return xk_fail_memory(err);
    id->key = EVP_EC_gen("P-256");
    id->certificate = X509_new();
    if (!id->key || !id->certificate || !fill_certificate(id->certificate, id->key, wish))
        code = fail_tls(err, "making a certificate");
    if (code < 0)
        http_identity_free(id);
    else
        *ret = id;
    return code;
}

/* ---- of others ---- */

static STACK_OF(X509) * read_chain(const char *pem)
{
    BIO *const in = BIO_new_mem_buf(pem, -1);
    STACK_OF(X509) *const chain = sk_X509_new_null();
    X509 *x;

    while (in && chain && (x = PEM_read_bio_X509(in, NULL, NULL, NULL)))
        if (sk_X509_push(chain, x) <= 0)
            X509_free(x);
    BIO_free(in);
    if (chain && sk_X509_num(chain) > 0)
        return chain;
    sk_X509_free(chain);
    return NULL;
}

int http_identity_take(struct http_identity **ret, EVP_PKEY *key, X509 *certificate, const char *chain,
                       struct xk_err *err)
{
    if (X509_check_private_key(certificate, key) != 1)
        return xk_fail(err, -EBADMSG, "TLS: the key is not that of the certificate");
    STACK_OF(X509) *const others = chain ? read_chain(chain) : NULL;
    if (chain && !others)
        return xk_fail(err, -EBADMSG, "TLS: the chain has no certificate");
    struct http_identity *const id = xk_zalloc(sizeof(*id));
    if (!id) {
        sk_X509_pop_free(others, X509_free);
        return xk_fail_memory(err);
    }
    *id = (struct http_identity){.key = key, .certificate = certificate, .chain = others};
    *ret = id;
    return 0;
}

/* ---- saved ---- */

/* Two lengths, little endian, then the key and the certificate as DER, and those of its chain. */
static int add_chain(struct xk_buf *ret, const struct http_identity *id)
{
    for (int i = 0; id->chain && i < sk_X509_num(id->chain); i++) {
        unsigned char *der = NULL;
        const int bytes = i2d_X509(sk_X509_value(id->chain, i), &der);
        if (bytes <= 0)
            return -ENOMEM;
        xk_buf_add(ret, der, (size_t)bytes);
        OPENSSL_free(der);
    }
    return ret->error;
}

int http_identity_save(struct xk_buf *ret, const struct http_identity *id, struct xk_err *err)
{
    unsigned char *key = NULL, *certificate = NULL;
    const int key_bytes = i2d_PrivateKey(id->key, &key), bytes = i2d_X509(id->certificate, &certificate);
    int code = -ENOMEM;

    if (key_bytes > 0 && bytes > 0) {
        uint8_t head[8];
        struct xk_writer w = xk_writer(head, sizeof(head));
        xk_write_le32(&w, (uint32_t)key_bytes);
        xk_write_le32(&w, (uint32_t)bytes);
        xk_buf_add(ret, head, sizeof(head));
        xk_buf_add(ret, key, (size_t)key_bytes);
        xk_buf_add(ret, certificate, (size_t)bytes);
        code = add_chain(ret, id);
    }
    if (key)
        OPENSSL_cleanse(key, (size_t)key_bytes);
    OPENSSL_free(key);
    OPENSSL_free(certificate);
    return code < 0 ? xk_fail_memory(err) : 0;
}

/* What stands behind the certificate. returns false: it is damaged, or there is no memory. */
static bool load_chain(struct http_identity *id, const unsigned char *at, size_t left)
{
    const unsigned char *const end = at + left;

    if (left && !(id->chain = sk_X509_new_null()))
        return false;
    while (at < end) {
        X509 *const x = d2i_X509(NULL, &at, (long)(end - at));
        if (!x || sk_X509_push(id->chain, x) <= 0) {
            X509_free(x);
            return false;
        }
    }
    return true;
}

int http_identity_load(struct http_identity **ret, const void *bytes, size_t count, struct xk_err *err)
{
    struct xk_reader r = xk_reader(bytes, count);
    const uint32_t key_bytes = xk_le32(&r), certificate_bytes = xk_le32(&r);

    if (r.bad || count > HTTP_IDENTITY_BYTES_MAX || (uint64_t)key_bytes + certificate_bytes > xk_left(&r))
        return xk_fail(err, -EBADMSG, "TLS: the saved key has a wrong length");
    struct http_identity *const id = xk_zalloc(sizeof(*id));
    if (!id)
        return xk_fail_memory(err);
    const unsigned char *at = r.data + r.at;
    id->key = d2i_AutoPrivateKey(NULL, &at, (long)key_bytes);
    at = r.data + r.at + key_bytes;
    id->certificate = d2i_X509(NULL, &at, (long)certificate_bytes);
    const size_t left = xk_left(&r) - key_bytes - certificate_bytes;
    int code = 0;
    if (!id->key || !id->certificate || X509_check_private_key(id->certificate, id->key) != 1 ||
        !load_chain(id, r.data + r.at + key_bytes + certificate_bytes, left))
        code = xk_fail(err, -EBADMSG, "TLS: the saved key and certificate are damaged");
    if (code < 0)
        http_identity_free(id);
    else
        *ret = id;
    return code;
}

/* ---- asking ---- */

void http_identity_fingerprint(char ret[HTTP_FINGERPRINT_BYTES], const struct http_identity *id,
                               enum http_digest digest)
{
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned count = 0;

    ret[0] = '\0';
    if (X509_digest(id->certificate, digest == HTTP_SHA1 ? EVP_sha1() : EVP_sha256(), bytes, &count) != 1)
        return;
    for (unsigned i = 0; i < count; i++)
        snprintf(ret + 3 * i, HTTP_FINGERPRINT_BYTES - 3 * i, i + 1 < count ? "%02X:" : "%02X", bytes[i]);
}

static int64_t seconds_of(const ASN1_TIME *time)
{
    struct tm tm;

    return ASN1_TIME_to_tm(time, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

void http_identity_times(const struct http_identity *id, int64_t *ret_from_s, int64_t *ret_to_s)
{
    *ret_from_s = seconds_of(X509_get0_notBefore(id->certificate));
    *ret_to_s = seconds_of(X509_get0_notAfter(id->certificate));
}

bool http_identity_is_for(const struct http_identity *id, const struct resolve_address *address)
{
    const bool v4 = address->any.sa_family == AF_INET;

    return X509_check_ip(id->certificate, v4 ? (const void *)&address->v4.sin_addr : &address->v6.sin6_addr,
                         v4 ? sizeof(address->v4.sin_addr) : sizeof(address->v6.sin6_addr), 0) == 1;
}

char *http_identity_pem(const struct http_identity *id)
{
    BIO *const out = BIO_new(BIO_s_mem());
    char *text = NULL, *pem = NULL;

    if (out && PEM_write_bio_X509(out, id->certificate) == 1) {
        const long bytes = BIO_get_mem_data(out, &text);
        pem = xk_strndup(text, (size_t)bytes);
    }
    BIO_free(out);
    return pem;
}
