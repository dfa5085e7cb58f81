/*
 * Certificates that the pool trusts, and lists of those that are withdrawn.
 *
 * A certificate is read by OpenSSL and checked against the pool's time, as the real server checks it. The record has
 * what a client can read of it; its text is kept as hosts keep files. Facts: xapi_pool.ml, certificates.ml of xapi
 * (2026-08).
 */
#include "lib/simpool/certificate.h"

#include <ctype.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>

#define PEM_BYTES_MAX SIM_KEPT_BYTES_MAX

/* ---- reading ---- */

X509 *sim_certificate_parse(const char *pem)
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

void sim_certificate_fingerprint(const X509 *x, const EVP_MD *type, char ret[SIM_HEX_BYTES])
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned bytes = 0;

    ret[0] = '\0';
    if (!X509_digest(x, type, digest, &bytes))
        return;
    for (unsigned i = 0; i < bytes; i++)
        snprintf(ret + 3 * (size_t)i, 4, "%02X%s", digest[i], i + 1 < bytes ? ":" : "");
}

bool sim_certificate_name_is_safe(const char *name)
{
    const size_t len = strlen(name);

    for (const char *at = name; *at; at++)
        if (!isalnum((unsigned char)*at) && !strchr("._-", *at))
            return false;
    return len > 4 && name[0] != '.' && strcmp(name + len - 4, ".pem") == 0;
}

X509 *sim_certificate_take(struct sim_call *c, const char *pem, const char *prefix)
{
    X509 *const x = sim_certificate_parse(pem);
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

/* "" without memory: then it is not kept, and what would need it says so. */
static char *pem_of(X509 *x)
{
    BIO *const out = BIO_new(BIO_s_mem());
    char *text = NULL, *pem = NULL;

    if (out && PEM_write_bio_X509(out, x) == 1) {
        const long bytes = BIO_get_mem_data(out, &text);
        pem = xk_strndup(text, (size_t)bytes);
    }
    BIO_free(out);
    return pem;
}

struct sim_object *sim_certificate_add(struct simpool *p, X509 *x, const char *name, const char *type,
                                       const struct sim_object *host)
{
    xk_autofree char *pem = pem_of(x);
    char sha256[SIM_HEX_BYTES], sha1[SIM_HEX_BYTES];

    sim_certificate_fingerprint(x, EVP_sha256(), sha256);
    sim_certificate_fingerprint(x, EVP_sha1(), sha1);
    if (!pem || sim_keep(p, SIM_KEPT_CERTIFICATE, sha256, pem) < 0)
        return NULL;
    struct sim_object *const o = sim_create(p, "Certificate");
    if (!o)
        return NULL;
    sim_put_text(p, o, "name", name);
    sim_put_text(p, o, "type", type);
    if (host)
        sim_put_text(p, o, "host", host->ref);
    sim_put_time(p, o, "not_before", seconds_of(X509_get0_notBefore(x)));
    sim_put_time(p, o, "not_after", seconds_of(X509_get0_notAfter(x)));
    sim_put_text(p, o, "fingerprint", sha256);
    sim_put_text(p, o, "fingerprint_sha256", sha256);
    sim_put_text(p, o, "fingerprint_sha1", sha1);
    return o;
}

struct sim_object *sim_certificate_find(const struct simpool *p, const char *field, const char *text)
{
    struct sim_object *o = sim_first(p, "Certificate");

    while (o && strcmp(sim_text(o, field), text) != 0)
        o = o->class_next;
    return o;
}

void sim_certificate_remove(struct simpool *p, struct sim_object *o)
{
    char sha256[SIM_HEX_BYTES];

    snprintf(sha256, sizeof(sha256), "%s", sim_text(o, "fingerprint_sha256"));
    sim_delete(p, o);
    if (!sim_certificate_find(p, "fingerprint_sha256", sha256))
        (void)sim_keep(p, SIM_KEPT_CERTIFICATE, sha256, NULL);
}

/* ---- authorities ---- */

static enum sim_outcome install_ca(struct sim_call *c)
{
    const char *const name = sim_arg_text(c, 0);
    char sha256[SIM_HEX_BYTES];
    X509 *const x = sim_certificate_take(c, sim_arg_text(c, 1), "CA");
    enum sim_outcome outcome = SIM_DONE;

    if (!x)
        return SIM_FAILED;
    sim_certificate_fingerprint(x, EVP_sha256(), sha256);
    if (!sim_certificate_name_is_safe(name))
        outcome = sim_fail(c, "CERTIFICATE_NAME_INVALID", name, NULL);
    else if (sim_certificate_find(c->pool, "name", name))
        outcome = sim_fail(c, "CERTIFICATE_ALREADY_EXISTS", name, NULL);
    else if (!sim_certificate_add(c->pool, x, name, "ca", NULL))
        outcome = sim_no_memory(c);
    X509_free(x);
    return outcome;
}

static enum sim_outcome uninstall_ca(struct sim_call *c)
{
    const char *const name = sim_arg_text(c, 0);
    struct sim_object *const o = sim_certificate_find(c->pool, "name", name);
    const bool force = c->message->params > 1 && c->args[1].truth;

    if (!sim_certificate_name_is_safe(name))
        return sim_fail(c, "CERTIFICATE_NAME_INVALID", name, NULL);
    if (o)
        sim_certificate_remove(c->pool, o);
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
    char sha256[SIM_HEX_BYTES];

    if (!sim_arg(c, 0))
        return SIM_FAILED;
    X509 *const x = sim_certificate_take(c, sim_arg_text(c, 2), "TRUSTED");
    if (!x)
        return SIM_FAILED;
    sim_certificate_fingerprint(x, EVP_sha256(), sha256);
    enum sim_outcome outcome = SIM_DONE;
    if (!ca && c->args[3].count == 0) {
        outcome = sim_fail(c, "CERTIFICATE_LACKS_PURPOSE", NULL);
    } else if (sim_certificate_find(c->pool, "fingerprint_sha256", sha256)) {
        outcome = sim_fail(c, "TRUSTED_CERTIFICATE_ALREADY_EXISTS", sha256, NULL);
    } else {
        struct sim_object *const o = sim_certificate_add(c->pool, x, "", ca ? "ca" : "pinned", NULL);
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
    sim_certificate_remove(c->pool, o);
    return SIM_DONE;
}

/* ---- lists of those that are withdrawn ---- */

bool sim_is_crl(const char *pem)
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
    const char *const name = sim_arg_text(c, 0), *const pem = sim_arg_text(c, 1);

    if (!sim_certificate_name_is_safe(name) || strlen(name) >= SIM_KEPT_NAME_MAX)
        return sim_fail(c, "CRL_NAME_INVALID", name, NULL);
    if (sim_kept(c->pool, SIM_KEPT_CRL, name))
        return sim_fail(c, "CRL_ALREADY_EXISTS", name, NULL);
    if (!sim_is_crl(pem) || sim_keep(c->pool, SIM_KEPT_CRL, name, pem) < 0)
        return sim_fail(c, "CRL_CORRUPT", name, NULL);
    return SIM_DONE;
}

static enum sim_outcome crl_uninstall(struct sim_call *c)
{
    const char *const name = sim_arg_text(c, 0);

    if (!sim_kept(c->pool, SIM_KEPT_CRL, name))
        return sim_fail(c, "CRL_DOES_NOT_EXIST", name, NULL);
    (void)sim_keep(c->pool, SIM_KEPT_CRL, name, NULL);
    return SIM_DONE;
}

static enum sim_outcome crl_list(struct sim_call *c)
{
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&c->arena);

    xapi_build_open(&b, XAPI_LIST);
    for (const struct sim_kept *k = NULL; (k = sim_kept_next(c->pool, SIM_KEPT_CRL, k));)
        xapi_build_text(&b, k->name);
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
    {NULL, NULL},
};
