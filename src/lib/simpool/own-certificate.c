/*
 * The certificates that hosts show: made anew, or brought by an administrator.
 *
 * With TLS, who connects from now on is shown the new one. Without, the record is all there is to see. Facts:
 * xapi_host.ml, cert_refresh.ml, gencert's lib.ml of xapi (2026-08).
 */
#include "lib/simpool/certificate.h"

#include "lib/http/identity.h"

#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>

#define RSA_BITS_MIN 2048
#define RSA_BITS_MAX 4096

/* A host has one record of a type; the one that it had goes. */
static void forget_others(struct simpool *p, const struct sim_object *host, const char *type,
                          const struct sim_object *but)
{
    for (struct sim_object *o = sim_first(p, "Certificate"), *next; o; o = next) {
        next = o->class_next;
        if (o != but && strcmp(sim_text(o, "host"), host->ref) == 0 && strcmp(sim_text(o, "type"), type) == 0)
            sim_certificate_remove(p, o);
    }
}

/* Shown from now on. Connections of today still use the one before; it goes when the pool does. */
static enum sim_outcome show(struct sim_call *c, unsigned number, struct http_identity *fresh)
{
    struct simpool *const p = c->pool;
    struct http_identity *const old = p->identities[number];

    p->retired[p->retired_count++] = old;
    p->identities[number] = fresh;
    http_server_identify(p->server, number, fresh);
    sim_identities_tell(p);
    return SIM_DONE;
}

static bool may_retire(struct sim_call *c)
{
    if (c->pool->retired_count < XK_COUNT(c->pool->retired))
        return true;
    (void)sim_fail(c, "INTERNAL_ERROR", "Failure(\"too many certificates in one run\")", NULL);
    return false;
}

/* Only a record: nobody is shown anything. */
static enum sim_outcome record(struct sim_call *c, const struct sim_object *host, const char *type,
                               const struct http_identity *id)
{
    xk_autofree char *pem = http_identity_pem(id);
    X509 *const x = pem ? sim_certificate_parse(pem) : NULL;
    const struct sim_object *const o = x ? sim_certificate_add(c->pool, x, "", type, host) : NULL;

    X509_free(x);
    if (!o)
        return sim_no_memory(c);
    forget_others(c->pool, host, type, o);
    return SIM_DONE;
}

/* Another key and certificate. type: "host", or "host_internal", which only other hosts are shown. */
static enum sim_outcome renew(struct sim_call *c, unsigned number, const char *type)
{
    struct simpool *const p = c->pool;
    const struct sim_object *const host = sim_host_object(p, number);
    const bool shown = p->identities[number] && strcmp(type, "host") == 0;
    struct http_identity *fresh = NULL;

    if (!host)
        return sim_fail(c, "HOST_STILL_BOOTING", NULL);
    if (shown && !may_retire(c))
        return SIM_FAILED;
    if (sim_identity_make(p, number, &fresh, NULL) < 0)
        return sim_no_memory(c);
    if (shown)
        return show(c, number, fresh);
    const enum sim_outcome outcome = record(c, host, type, fresh);
    http_identity_free(fresh);
    return outcome;
}

static enum sim_outcome reset_server(struct sim_call *c)
{
    const struct sim_object *const host = sim_host_arg(c, 0);

    if (!host)
        return SIM_FAILED;
    return renew(c, sim_host_number(c->pool, host), "host");
}

static enum sim_outcome emergency_reset(struct sim_call *c)
{
    return renew(c, c->host, "host");
}

static enum sim_outcome refresh(struct sim_call *c)
{
    const struct sim_object *const host = sim_host_arg(c, 0);

    if (!host)
        return SIM_FAILED;
    for (const struct sim_object *o = sim_first(c->pool, "host"); o; o = o->class_next)
        if (!sim_host_is_live(c->pool, o))
            return sim_fail(c, "CANNOT_CONTACT_HOST", o->ref, NULL);
    return renew(c, sim_host_number(c->pool, host), "host_internal");
}

/* ---- brought by an administrator ---- */

static enum sim_outcome wrong_key(struct sim_call *c, const EVP_PKEY *key)
{
    char text[24];

    if (!key)
        return sim_fail(c, "SERVER_CERTIFICATE_KEY_INVALID", NULL);
    if (EVP_PKEY_base_id(key) != EVP_PKEY_RSA)
        return sim_fail(c, "SERVER_CERTIFICATE_KEY_ALGORITHM_NOT_SUPPORTED", OBJ_nid2sn(EVP_PKEY_base_id(key)), NULL);
    snprintf(text, sizeof(text), "%d", EVP_PKEY_bits(key));
    if (EVP_PKEY_bits(key) < RSA_BITS_MIN || EVP_PKEY_bits(key) > RSA_BITS_MAX)
        return sim_fail(c, "SERVER_CERTIFICATE_KEY_RSA_LENGTH_NOT_SUPPORTED", text, NULL);
    return SIM_DONE;
}

/* PKCS 8 without a password; anything else is none. */
static EVP_PKEY *read_key(const char *pem)
{
    static const char begin[] = "-----BEGIN PRIVATE KEY-----";
    const size_t len = strlen(pem);
    BIO *const in = strstr(pem, begin) && len <= SIM_KEPT_BYTES_MAX ? BIO_new_mem_buf(strstr(pem, begin), -1) : NULL;
    EVP_PKEY *const key = in ? PEM_read_bio_PrivateKey(in, NULL, NULL, NULL) : NULL;

    BIO_free(in);
    return key;
}

static bool signature_is_strong(const X509 *x)
{
    int digest = 0;

    return X509_get_signature_info((X509 *)x, &digest, NULL, NULL, NULL) == 1 &&
           (digest == NID_sha256 || digest == NID_sha512);
}

enum { HOST, CERTIFICATE, KEY, CHAIN };

static enum sim_outcome use(struct sim_call *c, const struct sim_object *host, struct http_identity *id)
{
    const unsigned number = sim_host_number(c->pool, host);

    if (number < SIMPOOL_HOSTS_MAX && c->pool->identities[number]) {
        if (may_retire(c))
            return show(c, number, id);
        http_identity_free(id);
        return SIM_FAILED;
    }
    const enum sim_outcome outcome = record(c, host, "host", id);
    http_identity_free(id);
    return outcome;
}

static enum sim_outcome install(struct sim_call *c)
{
    const struct sim_object *const host = sim_host_arg(c, HOST);
    const char *const chain = *sim_arg_text(c, CHAIN) ? sim_arg_text(c, CHAIN) : NULL;
    struct http_identity *id = NULL;

    if (!host)
        return SIM_FAILED;
    if (sim_bool(sim_first(c->pool, "pool"), "ha_enabled"))
        return sim_fail(c, "HA_IS_ENABLED", NULL);
    EVP_PKEY *const key = read_key(sim_arg_text(c, KEY));
    enum sim_outcome outcome = wrong_key(c, key);
    X509 *const x = outcome == SIM_DONE ? sim_certificate_take(c, sim_arg_text(c, CERTIFICATE), "SERVER") : NULL;
    if (!x)
        outcome = SIM_FAILED;
    else if (X509_check_private_key(x, key) != 1)
        outcome = sim_fail(c, "SERVER_CERTIFICATE_KEY_MISMATCH", NULL);
    else if (!signature_is_strong(x))
        outcome = sim_fail(c, "SERVER_CERTIFICATE_SIGNATURE_NOT_SUPPORTED", NULL);
    else if (http_identity_take(&id, key, x, chain, NULL) < 0)
        outcome = sim_fail(c, "SERVER_CERTIFICATE_CHAIN_INVALID", NULL);
    else
        return use(c, host, id);
    X509_free(x);
    EVP_PKEY_free(key);
    return outcome;
}

void sim_certificates_close(struct simpool *p)
{
    for (unsigned i = 0; i < p->retired_count; i++)
        http_identity_free(p->retired[i]);
}

const struct sim_row sim_own_certificate_rows[] = {
    {"host.reset_server_certificate", reset_server},
    {"host.emergency_reset_server_certificate", emergency_reset},
    {"host.refresh_server_certificate", refresh},
    {"host.install_server_certificate", install},
    {NULL, NULL},
};
