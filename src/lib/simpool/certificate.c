/*
 * Certificates that the pool trusts, lists of those that are withdrawn, and hosts' own.
 *
 * A certificate is read by OpenSSL and checked against the pool's time, as the real server checks it. Only what a
 * client can read of it is kept: the record. Facts: xapi_pool.ml, certificates.ml of xapi (2026-08).
 */
#include "lib/simpool/hosts.h"

#include "lib/http/identity.h"

#include <ctype.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

#define PEM_BYTES_MAX 65536
#define IDENTITY_S    (INT64_C(3650) * 86400)
#define CRLS_MAX      64
#define CRL_NAME_MAX  128
#define HEX_BYTES     (EVP_MAX_MD_SIZE * 3 + 1)

/* ---- reading ---- */

static X509 *parse(const char *pem)
{
    const size_t len = strlen(pem);
    BIO *const bio = len <= PEM_BYTES_MAX ? BIO_new_mem_buf(pem, (int)len) : NULL;
    X509 *const x = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;

    BIO_free(bio);
    return x;
}

static int64_t seconds_of(const ASN1_TIME *t)
{
    struct tm tm = {0};

    return t && ASN1_TIME_to_tm(t, &tm) ? (int64_t)timegm(&tm) : 0;
}

static void fingerprint(const X509 *x, const EVP_MD *type, char ret[HEX_BYTES])
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned bytes = 0;

    ret[0] = '\0';
    if (!X509_digest(x, type, digest, &bytes))
        return;
    for (unsigned i = 0; i < bytes; i++)
        snprintf(ret + 3 * (size_t)i, 4, "%02X%s", digest[i], i + 1 < bytes ? ":" : "");
}

/* Names are those of files. */
static bool is_safe(const char *name)
{
    const size_t len = strlen(name);

    for (const char *at = name; *at; at++)
        if (!isalnum((unsigned char)*at) && !strchr("._-", *at))
            return false;
    return len > 4 && name[0] != '.' && strcmp(name + len - 4, ".pem") == 0;
}

/* The certificate of a text, when it is one and valid now; its error has the prefix CA_ or TRUSTED_. */
static X509 *take(struct sim_call *c, const char *pem, const char *prefix)
{
    X509 *const x = parse(pem);
    const struct xapi_value now = xapi_time(&c->arena, sim_now_s(c->pool));
    const int64_t from = x ? seconds_of(X509_get0_notBefore(x)) : 0, to = x ? seconds_of(X509_get0_notAfter(x)) : 0;
    char code[64];

    const char *const wrong = !x                          ? "INVALID"
                              : from > sim_now_s(c->pool) ? "NOT_VALID_YET"
                              : to < sim_now_s(c->pool)   ? "EXPIRED"
                                                          : NULL;
    if (!wrong)
        return x;
    snprintf(code, sizeof(code), "%s_CERTIFICATE_%s", prefix, wrong);
    const struct xapi_value limit = xapi_time(&c->arena, from > sim_now_s(c->pool) ? from : to);
    if (!x)
        (void)sim_fail(c, code, NULL);
    else
        (void)sim_fail(c, code, xapi_value_text(&now), xapi_value_text(&limit), NULL);
    X509_free(x);
    return NULL;
}

static struct sim_object *add(struct simpool *p, const X509 *x, const char *name, const char *type)
{
    struct sim_object *const o = sim_create(p, "Certificate");
    char sha256[HEX_BYTES], sha1[HEX_BYTES];

    if (!o)
        return NULL;
    fingerprint(x, EVP_sha256(), sha256);
    fingerprint(x, EVP_sha1(), sha1);
    sim_put_text(p, o, "name", name);
    sim_put_text(p, o, "type", type);
    sim_put_time(p, o, "not_before", seconds_of(X509_get0_notBefore(x)));
    sim_put_time(p, o, "not_after", seconds_of(X509_get0_notAfter(x)));
    sim_put_text(p, o, "fingerprint", sha256);
    sim_put_text(p, o, "fingerprint_sha256", sha256);
    sim_put_text(p, o, "fingerprint_sha1", sha1);
    return o;
}

static struct sim_object *find(const struct simpool *p, const char *field, const char *text)
{
    struct sim_object *o = sim_first(p, "Certificate");

    while (o && strcmp(sim_text(o, field), text) != 0)
        o = o->class_next;
    return o;
}

/* ---- authorities ---- */

static enum sim_outcome install_ca(struct sim_call *c)
{
    const char *const name = sim_arg_text(c, 0);
    char sha256[HEX_BYTES];
    X509 *const x = take(c, sim_arg_text(c, 1), "CA");
    enum sim_outcome outcome = SIM_DONE;

    if (!x)
        return SIM_FAILED;
    fingerprint(x, EVP_sha256(), sha256);
    if (!is_safe(name))
        outcome = sim_fail(c, "CERTIFICATE_NAME_INVALID", name, NULL);
    else if (find(c->pool, "name", name))
        outcome = sim_fail(c, "CERTIFICATE_ALREADY_EXISTS", name, NULL);
    else if (!add(c->pool, x, name, "ca"))
        outcome = sim_no_memory(c);
    X509_free(x);
    return outcome;
}

static enum sim_outcome uninstall_ca(struct sim_call *c)
{
    const char *const name = sim_arg_text(c, 0);
    struct sim_object *const o = find(c->pool, "name", name);
    const bool force = c->message->params > 1 && c->args[1].truth;

    if (!is_safe(name))
        return sim_fail(c, "CERTIFICATE_NAME_INVALID", name, NULL);
    if (o)
        sim_delete(c->pool, o);
    return o || force ? SIM_DONE : sim_fail(c, "CERTIFICATE_DOES_NOT_EXIST", name, NULL);
}

static enum sim_outcome list_ca(struct sim_call *c)
{
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&c->arena);

    xapi_build_open(&b, XAPI_LIST);
    for (const struct sim_object *o = sim_first(c->pool, "Certificate"); o; o = o->class_next)
        if (strcmp(sim_text(o, "type"), "ca") == 0)
            xapi_build_text(&b, sim_text(o, "name"));
    xapi_build_close(&b);
    return xapi_build_end(&b, &c->result) < 0 ? sim_no_memory(c) : SIM_DONE;
}

/* ---- trusted for a purpose ---- */

static enum sim_outcome install_trusted(struct sim_call *c)
{
    const bool ca = c->args[1].truth;
    char sha256[HEX_BYTES];

    if (!sim_arg(c, 0))
        return SIM_FAILED;
    X509 *const x = take(c, sim_arg_text(c, 2), "TRUSTED");
    if (!x)
        return SIM_FAILED;
    fingerprint(x, EVP_sha256(), sha256);
    enum sim_outcome outcome = SIM_DONE;
    if (!ca && c->args[3].count == 0) {
        outcome = sim_fail(c, "CERTIFICATE_LACKS_PURPOSE", NULL);
    } else if (find(c->pool, "fingerprint_sha256", sha256)) {
        outcome = sim_fail(c, "TRUSTED_CERTIFICATE_ALREADY_EXISTS", sha256, NULL);
    } else {
        struct sim_object *const o = add(c->pool, x, "", ca ? "ca" : "pinned");
        if (o)
            sim_put(c->pool, o, "purpose", c->args[3]);
        else
            outcome = sim_no_memory(c);
    }
    X509_free(x);
    return outcome;
}

static enum sim_outcome uninstall_trusted(struct sim_call *c)
{
    struct sim_object *const o = sim_arg(c, 0) ? sim_arg(c, 1) : NULL;

    if (!o)
        return SIM_FAILED;
    if (strcmp(sim_text(o, "type"), "ca") != 0 && strcmp(sim_text(o, "type"), "pinned") != 0)
        return sim_fail(c, "NOT_TRUSTED_CERTIFICATE", o->ref, NULL);
    sim_delete(c->pool, o);
    return SIM_DONE;
}

/* ---- lists of those that are withdrawn ---- */

struct sim_crls {
    char names[CRLS_MAX][CRL_NAME_MAX];
    unsigned count;
};

static unsigned crl_find(const struct sim_crls *crls, const char *name)
{
    unsigned i = 0;

    while (crls && i < crls->count && strcmp(crls->names[i], name) != 0)
        i++;
    return i;
}

static bool is_crl(const char *pem)
{
    const size_t len = strlen(pem);
    BIO *const bio = len <= PEM_BYTES_MAX ? BIO_new_mem_buf(pem, (int)len) : NULL;
    X509_CRL *const crl = bio ? PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL) : NULL;

    X509_CRL_free(crl);
    BIO_free(bio);
    return crl != NULL;
}

static enum sim_outcome crl_install(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    const char *const name = sim_arg_text(c, 0);

    if (!is_safe(name) || strlen(name) >= CRL_NAME_MAX)
        return sim_fail(c, "CRL_NAME_INVALID", name, NULL);
    if (!p->crls && (p->crls = xk_zalloc(sizeof(*p->crls))) == NULL)
        return sim_no_memory(c);
    if (crl_find(p->crls, name) < p->crls->count)
        return sim_fail(c, "CRL_ALREADY_EXISTS", name, NULL);
    if (!is_crl(sim_arg_text(c, 1)) || p->crls->count == CRLS_MAX)
        return sim_fail(c, "CRL_CORRUPT", name, NULL);
    snprintf(p->crls->names[p->crls->count++], CRL_NAME_MAX, "%s", name);
    return SIM_DONE;
}

static enum sim_outcome crl_uninstall(struct sim_call *c)
{
    struct sim_crls *const crls = c->pool->crls;
    const unsigned i = crl_find(crls, sim_arg_text(c, 0));

    if (!crls || i == crls->count)
        return sim_fail(c, "CRL_DOES_NOT_EXIST", sim_arg_text(c, 0), NULL);
    memmove(crls->names[i], crls->names[i + 1], (crls->count - i - 1) * sizeof(crls->names[0]));
    crls->count--;
    return SIM_DONE;
}

static enum sim_outcome crl_list(struct sim_call *c)
{
    const struct sim_crls *const crls = c->pool->crls;
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&c->arena);

    xapi_build_open(&b, XAPI_LIST);
    for (unsigned i = 0; crls && i < crls->count; i++)
        xapi_build_text(&b, crls->names[i]);
    xapi_build_close(&b);
    return xapi_build_end(&b, &c->result) < 0 ? sim_no_memory(c) : SIM_DONE;
}

/* All hosts have the same ones: there is but one database. */
static enum sim_outcome sync_certificates(struct sim_call *c)
{
    for (const struct sim_object *host = sim_first(c->pool, "host"); host; host = host->class_next)
        if (!sim_host_is_live(c->pool, host))
            return sim_fail(c, "HOST_OFFLINE", host->ref, NULL);
    return SIM_DONE;
}

/* ---- a host's own ---- */

/* Another key and certificate, for those who connect from now on. */
static enum sim_outcome renew(struct sim_call *c, unsigned number)
{
    struct simpool *const p = c->pool;
    const struct sim_object *const host = sim_host_object(p, number);
    const int64_t now_s = p->settings.clock->utc_ns(p->settings.clock) / (int64_t)XK_NS_PER_S;
    struct http_identity *fresh = NULL;

    if (!host || !p->identities[number])
        return sim_fail(c, "NOT_IMPLEMENTED", xapi_text(c->message->name), NULL); /* a pool without TLS has none */
    const struct http_identity_wish wish = {.name = sim_text(host, "hostname"),
                                            .also = number == 0 ? "localhost" : NULL,
                                            .address = p->addresses[number].sin_addr,
                                            .from_s = now_s - 86400,
                                            .to_s = now_s + IDENTITY_S};
    if (http_identity_make(&fresh, &wish, NULL) < 0)
        return sim_no_memory(c);
    struct http_identity *const old = p->identities[number];
    p->identities[number] = fresh;
    http_server_identify(p->server, number, fresh);
    sim_identities_tell(p);
    /* Connections of today still use it; it goes when the pool does. */
    if (p->retired_count < XK_COUNT(p->retired))
        p->retired[p->retired_count++] = old;
    return SIM_DONE;
}

static enum sim_outcome reset_server(struct sim_call *c)
{
    const struct sim_object *const host = sim_host_arg(c, 0);

    if (!host)
        return SIM_FAILED;
    if (c->pool->retired_count == XK_COUNT(c->pool->retired))
        return sim_fail(c, "INTERNAL_ERROR", "Failure(\"too many certificates in one run\")", NULL);
    return renew(c, sim_host_number(c->pool, host));
}

static enum sim_outcome emergency_reset(struct sim_call *c)
{
    if (c->pool->retired_count == XK_COUNT(c->pool->retired))
        return sim_fail(c, "INTERNAL_ERROR", "Failure(\"too many certificates in one run\")", NULL);
    return renew(c, c->host);
}

void sim_certificates_close(struct simpool *p)
{
    for (unsigned i = 0; i < p->retired_count; i++)
        http_identity_free(p->retired[i]);
    free(p->crls);
}

const struct sim_row sim_certificate_rows[] = {
    {"pool.certificate_install", install_ca},
    {"pool.install_ca_certificate", install_ca},
    {"pool.certificate_uninstall", uninstall_ca},
    {"pool.uninstall_ca_certificate", uninstall_ca},
    {"pool.certificate_list", list_ca},
    {"pool.crl_install", crl_install},
    {"pool.crl_uninstall", crl_uninstall},
    {"pool.crl_list", crl_list},
    {"pool.certificate_sync", sync_certificates},
    {"pool.install_trusted_certificate", install_trusted},
    {"pool.uninstall_trusted_certificate", uninstall_trusted},
    {"host.reset_server_certificate", reset_server},
    {"host.emergency_reset_server_certificate", emergency_reset},
    {NULL, NULL},
};
