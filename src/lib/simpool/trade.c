/*
 * Certificates that pools give each other, and those that hosts of a pool tell each other of.
 *
 * What a pool trusts stands in its database; a single host may have more or less of it on its disk, which is kept as
 * differences, until it is told to take over the pool's. Facts: xapi_pool.ml, cert_distrib.ml, xapi_host.ml of xapi
 * (2026-08).
 */
#include "lib/simpool/certificate.h"
#include "lib/simpool/ops.h"

#include <stdio.h>
#include <string.h>

/* ---- between pools ---- */

/* The joiner's certificate is trusted from now on; the answer is what the hosts of the pool show. */
static enum sim_outcome exchange_hosts(struct sim_call *c)
{
    const struct simpool *const p = c->pool;
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&c->arena);
    char name[64];

    X509 *const x = sim_certificate_take(c, sim_arg_text(c, 1), "SERVER");
    if (!x)
        return SIM_FAILED;
    X509_free(x);
    if (sim_keep(c->pool, SIM_KEPT_JOINER, sim_arg_text(c, 0), sim_arg_text(c, 1)) < 0)
        return sim_invalid(c, "uuid", sim_arg_text(c, 0));
    xapi_build_open(&b, XAPI_MAP);
    for (unsigned i = 0; i < p->settings.hosts; i++) {
        const struct sim_object *const host = sim_host_object(p, i);
        xk_autofree char *pem = host && p->identities[i] ? http_identity_pem(p->identities[i]) : NULL;
        if (!pem)
            continue;
        snprintf(name, sizeof(name), "%.36s.pem", sim_text(host, "uuid"));
        xapi_build_text(&b, name);
        xapi_build_text(&b, pem);
    }
    xapi_build_close(&b);
    return xapi_build_end(&b, &c->result) < 0 ? sim_no_memory(c) : SIM_DONE;
}

/* Records of the certificates in a map of names and texts; all of them are read before the first is made. */
static enum sim_outcome import_authorities(struct sim_call *c, const struct xapi_value *map)
{
    for (size_t i = 0; i < map->count; i++) {
        const char *const name = map->items[2 * i].text;
        if (!sim_certificate_name_is_safe(name))
            return sim_fail(c, "CERTIFICATE_NAME_INVALID", name, NULL);
        X509 *const x = sim_certificate_parse(xapi_value_text(&map->items[2 * i + 1]));
        if (!x)
            return sim_fail(c, "CERTIFICATE_CORRUPT", name, NULL);
        X509_free(x);
    }
    for (size_t i = 0; i < map->count; i++) {
        const char *const name = map->items[2 * i].text;
        X509 *const x = sim_certificate_parse(xapi_value_text(&map->items[2 * i + 1]));
        const bool known = sim_certificate_find(c->pool, "name", name) != NULL;
        const bool good = known || (x && sim_certificate_add(c->pool, x, name, "ca", NULL));
        X509_free(x);
        if (!good)
            return sim_no_memory(c);
    }
    return SIM_DONE;
}

static const char *text_of(const struct simpool *p, const struct sim_object *o)
{
    return sim_kept(p, SIM_KEPT_CERTIFICATE, sim_text(o, "fingerprint_sha256"));
}

static enum sim_outcome exchange_authorities(struct sim_call *c)
{
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&c->arena);
    const struct xapi_class *const row = xapi_class_find("Certificate");

    for (size_t i = 0; i < c->args[1].count; i++)
        if (!sim_find(c->pool, xapi_value_text(&c->args[1].items[i]), row))
            return sim_bad_handle(c, (uint16_t)xapi_class_index(row), xapi_value_text(&c->args[1].items[i]));
    if (import_authorities(c, &c->args[0]) == SIM_FAILED)
        return SIM_FAILED;
    xapi_build_open(&b, XAPI_MAP);
    for (size_t i = 0; i < c->args[1].count; i++) {
        const struct sim_object *const o = sim_find(c->pool, xapi_value_text(&c->args[1].items[i]), row);
        const char *const pem = o ? text_of(c->pool, o) : NULL;
        if (!pem)
            continue;
        xapi_build_text(&b, sim_text(o, "name"));
        xapi_build_text(&b, pem);
    }
    xapi_build_close(&b);
    return xapi_build_end(&b, &c->result) < 0 ? sim_no_memory(c) : SIM_DONE;
}

/* One that is there already is no error here. */
static enum sim_outcome trust(struct sim_call *c, bool ca, const char *pem, const struct xapi_value *purposes)
{
    char sha256[SIM_HEX_BYTES];
    X509 *const x = sim_certificate_take(c, pem, "TRUSTED");

    if (!x)
        return SIM_FAILED;
    sim_certificate_fingerprint(x, EVP_sha256(), sha256);
    struct sim_object *o = sim_certificate_find(c->pool, "fingerprint_sha256", sha256);
    const bool fresh = !o;
    if (fresh)
        o = sim_certificate_add(c->pool, x, "", ca ? "ca" : "pinned", NULL);
    X509_free(x);
    if (!o)
        return sim_no_memory(c);
    if (fresh)
        sim_put(c->pool, o, "purpose", *purposes);
    return SIM_DONE;
}

static enum sim_outcome exchange_trusted(struct sim_call *c)
{
    const bool ca = c->args[1].truth;
    const struct xapi_value *const import = &c->args[2], *const export = &c->args[3];
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&c->arena);

    if (!sim_arg(c, 0))
        return SIM_FAILED;
    for (size_t i = 0; i < import->count; i++)
        if (trust(c, ca, import->items[2 * i].text, &import->items[2 * i + 1]) == SIM_FAILED)
            return SIM_FAILED;
    xapi_build_open(&b, XAPI_MAP);
    for (size_t i = 0; i < export->count; i++) {
        const struct sim_object *const o =
            sim_find(c->pool, xapi_value_text(&export->items[i]), xapi_class_find("Certificate"));
        const char *const pem = o && sim_is(o, "type", ca ? "ca" : "pinned") ? text_of(c->pool, o) : NULL;
        if (!pem)
            continue;
        xapi_build_text(&b, pem);
        xapi_build_value(&b, *sim_get(o, "purpose"));
    }
    xapi_build_close(&b);
    return xapi_build_end(&b, &c->result) < 0 ? sim_no_memory(c) : SIM_DONE;
}

static enum sim_outcome exchange_crls(struct sim_call *c)
{
    const struct xapi_value *const import = &c->args[1], *const export = &c->args[2];
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&c->arena);

    if (!sim_arg(c, 0))
        return SIM_FAILED;
    for (size_t i = 0; i < import->count; i++) {
        const char *const name = import->items[2 * i].text, *const pem = xapi_value_text(&import->items[2 * i + 1]);
        if (!sim_certificate_name_is_safe(name))
            return sim_fail(c, "CRL_NAME_INVALID", name, NULL);
        if (sim_kept(c->pool, SIM_KEPT_CRL, name))
            return sim_fail(c, "CRL_ALREADY_EXISTS", name, NULL);
        if (!sim_is_crl(pem) || sim_keep(c->pool, SIM_KEPT_CRL, name, pem) < 0)
            return sim_fail(c, "CRL_CORRUPT", name, NULL);
    }
    xapi_build_open(&b, XAPI_MAP);
    for (size_t i = 0; i < export->count; i++) {
        const char *const name = xapi_value_text(&export->items[i]), *const pem = sim_kept(c->pool, SIM_KEPT_CRL, name);
        if (!pem)
            continue;
        xapi_build_text(&b, name);
        xapi_build_text(&b, pem);
    }
    xapi_build_close(&b);
    return xapi_build_end(&b, &c->result) < 0 ? sim_no_memory(c) : SIM_DONE;
}

/* ---- on one host ---- */

/* The name of a difference: the host and the file. NULL: too long, and it was said. */
static const char *difference_of(struct sim_call *c, const char *name, const char *code)
{
    const struct sim_object *const host = sim_host_arg(c, 0);

    if (!host)
        return NULL;
    if (!sim_certificate_name_is_safe(name)) {
        (void)sim_fail(c, code, name, NULL);
        return NULL;
    }
    const char *const text = xk_arena_printf(&c->arena, "%.36s/%s", sim_text(host, "uuid"), name);
    if (!text)
        (void)sim_no_memory(c);
    return text;
}

static bool pool_has(const struct simpool *p, char kind, const char *name)
{
    const struct sim_object *const o = sim_certificate_find(p, "name", name);

    return kind == SIM_KEPT_HOST_CRL ? sim_kept(p, SIM_KEPT_CRL, name) != NULL : o && sim_is(o, "type", "ca");
}

static bool host_has(const struct simpool *p, char kind, const char *difference)
{
    const char *const kept = sim_kept(p, kind, difference);

    return kept ? *kept != '\0' : pool_has(p, kind, strchr(difference, '/') + 1);
}

static enum sim_outcome host_install(struct sim_call *c, char kind)
{
    const bool crl = kind == SIM_KEPT_HOST_CRL;
    const char *const name = sim_arg_text(c, 1), *const pem = sim_arg_text(c, 2),
                      *const key = difference_of(c, name, crl ? "CRL_NAME_INVALID" : "CERTIFICATE_NAME_INVALID");
    X509 *const x = key && !crl ? sim_certificate_parse(pem) : NULL;
    const bool good = crl ? sim_is_crl(pem) : x != NULL;

    X509_free(x);
    if (!key)
        return SIM_FAILED;
    if (host_has(c->pool, kind, key))
        return sim_fail(c, crl ? "CRL_ALREADY_EXISTS" : "CERTIFICATE_ALREADY_EXISTS", name, NULL);
    if (!good || sim_keep(c->pool, kind, key, pem) < 0)
        return sim_fail(c, crl ? "CRL_CORRUPT" : "CERTIFICATE_CORRUPT", name, NULL);
    return SIM_DONE;
}

static enum sim_outcome host_uninstall(struct sim_call *c, char kind)
{
    const bool crl = kind == SIM_KEPT_HOST_CRL, force = !crl && c->args[2].truth;
    const char *const name = sim_arg_text(c, 1), *const key = difference_of(
                                                     c, name, crl ? "CRL_NAME_INVALID" : "CERTIFICATE_NAME_INVALID");

    if (!key)
        return SIM_FAILED;
    if (!host_has(c->pool, kind, key))
        return force ? SIM_DONE : sim_fail(c, crl ? "CRL_DOES_NOT_EXIST" : "CERTIFICATE_DOES_NOT_EXIST", name, NULL);
    /* An empty text: the pool has it, and this host has not. */
    const int code = sim_keep(c->pool, kind, key, pool_has(c->pool, kind, name) ? "" : NULL);
    return code < 0 ? sim_no_memory(c) : SIM_DONE;
}

static enum sim_outcome host_list(struct sim_call *c, char kind)
{
    const struct simpool *const p = c->pool;
    const struct sim_object *const host = sim_host_arg(c, 0);
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&c->arena);
    const struct sim_kept *k = NULL;

    if (!host)
        return SIM_FAILED;
    const char *const uuid = sim_text(host, "uuid");
    xapi_build_open(&b, XAPI_LIST);
    while ((k = sim_kept_next(p, kind, k)))
        if (xk_has_prefix(k->name, uuid) && *k->text)
            xapi_build_text(&b, k->name + strlen(uuid) + 1);
    while (kind == SIM_KEPT_HOST_CRL && (k = sim_kept_next(p, SIM_KEPT_CRL, k))) {
        const char *const key = xk_arena_printf(&c->arena, "%s/%s", uuid, k->name);
        if (key && !sim_kept(p, kind, key))
            xapi_build_text(&b, k->name);
    }
    for (const struct sim_object *o = sim_first(p, "Certificate"); kind == SIM_KEPT_HOST_CA && o; o = o->class_next) {
        const char *const key = xk_arena_printf(&c->arena, "%s/%s", uuid, sim_text(o, "name"));
        if (sim_is(o, "type", "ca") && key && !sim_kept(p, kind, key))
            xapi_build_text(&b, sim_text(o, "name"));
    }
    xapi_build_close(&b);
    return xapi_build_end(&b, &c->result) < 0 ? sim_no_memory(c) : SIM_DONE;
}

static enum sim_outcome host_install_ca(struct sim_call *c)
{
    return host_install(c, SIM_KEPT_HOST_CA);
}

static enum sim_outcome host_uninstall_ca(struct sim_call *c)
{
    return host_uninstall(c, SIM_KEPT_HOST_CA);
}

static enum sim_outcome host_list_ca(struct sim_call *c)
{
    return host_list(c, SIM_KEPT_HOST_CA);
}

static enum sim_outcome host_install_crl(struct sim_call *c)
{
    return host_install(c, SIM_KEPT_HOST_CRL);
}

static enum sim_outcome host_uninstall_crl(struct sim_call *c)
{
    return host_uninstall(c, SIM_KEPT_HOST_CRL);
}

static enum sim_outcome host_list_crls(struct sim_call *c)
{
    return host_list(c, SIM_KEPT_HOST_CRL);
}

/* The host takes over what the pool has. */
static enum sim_outcome host_sync(struct sim_call *c)
{
    static const char kinds[] = {SIM_KEPT_HOST_CA, SIM_KEPT_HOST_CRL};
    struct simpool *const p = c->pool;
    const struct sim_object *const host = sim_host_arg(c, 0);

    if (!host)
        return SIM_FAILED;
    for (size_t i = 0; i < sizeof(kinds); i++)
        for (const struct sim_kept *k = sim_kept_next(p, kinds[i], NULL), *next; k; k = next) {
            next = sim_kept_next(p, kinds[i], k);
            if (xk_has_prefix(k->name, sim_text(host, "uuid")))
                (void)sim_keep(p, kinds[i], k->name, NULL);
        }
    return SIM_DONE;
}

const struct sim_row sim_trade_rows[] = {
    {"pool.exchange_certificates_on_join", exchange_hosts},
    {"pool.exchange_ca_certificates_on_join", exchange_authorities},
    {"pool.exchange_trusted_certificates_on_join", exchange_trusted},
    {"pool.exchange_crls_on_join", exchange_crls},
    {"host.install_ca_certificate", host_install_ca},
    {"host.uninstall_ca_certificate", host_uninstall_ca},
    {"host.certificate_list", host_list_ca},
    {"host.crl_install", host_install_crl},
    {"host.crl_uninstall", host_uninstall_crl},
    {"host.crl_list", host_list_crls},
    {"host.certificate_sync", host_sync},
    {"host.copy_primary_host_certs", host_sync},
    {NULL, NULL},
};
