/*
 * The hosts' certificates, as HTTPS shows them and as the database tells of them.
 *
 * They are valid by the real clock, which the client's TLS goes by, whatever time it is in the pool.
 */
#include "lib/simpool/keep.h"

#include <stdio.h>
#include <string.h>

#define VALID_S     (INT64_C(3650) * 86400)
#define BACKDATED_S INT64_C(86400) /* so that a client whose clock is behind accepts it */
#define PEM_MAX     (SIMPOOL_HOSTS_MAX * (size_t)4096)
#define NAME_BYTES  64 /* of the longest common name there is */

static const struct sim_object *host_at(const struct simpool *p, unsigned host)
{
    return sim_find(p, p->host_refs[host], xapi_class_find("host"));
}

/* A loaded host may be called anything; a DNS name has no commas and blanks. */
static void name_of(const struct simpool *p, unsigned host, char ret[NAME_BYTES])
{
    const struct sim_object *const object = host_at(p, host);

    snprintf(ret, NAME_BYTES, "%.63s", object ? sim_text(object, "hostname") : "");
    if (!*ret || ret[strspn(ret, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-")])
        snprintf(ret, NAME_BYTES, "host-%u", host + 1);
}

int sim_identity_make(const struct simpool *p, unsigned host, struct http_identity **ret, struct xk_err *err)
{
    const int64_t now_s = p->settings.clock->utc_ns(p->settings.clock) / (int64_t)XK_NS_PER_S;
    const struct resolve_words address = resolve_host_text(&p->addresses[host]);
    char name[NAME_BYTES];

    name_of(p, host, name);
    const struct http_identity_wish wish = {
        .name = name,
        .also = strcmp(address.s, "127.0.0.1") == 0 || strcmp(address.s, "::1") == 0 ? "localhost" : NULL,
        .address = p->addresses[host],
        .from_s = now_s - BACKDATED_S,
        .to_s = now_s + VALID_S,
    };
    return http_identity_make(ret, &wish, err);
}

int sim_identities_make(struct simpool *p, struct xk_err *err)
{
    int code = 0;

    for (unsigned i = 0; i < p->settings.hosts && code == 0; i++) {
        char name[NAME_BYTES];
        struct http_identity *const old = p->identities[i];
        if (old && http_identity_is_for(old, &p->addresses[i]))
            continue;
        code = sim_identity_make(p, i, &p->identities[i], err);
        name_of(p, i, name);
        if (code == 0 && old) {
            sim_note(p, "host %s has a new certificate, for its new address", name);
            http_identity_free(old);
        }
    }
    if (code == 0)
        sim_identities_tell(p);
    return code;
}

void sim_identities_tell(struct simpool *p)
{
    for (unsigned i = 0; i < p->settings.hosts && p->identities[i]; i++) {
        char sha1[HTTP_FINGERPRINT_BYTES], sha256[HTTP_FINGERPRINT_BYTES];
        int64_t from_s, to_s;
        bool told = false;
        http_identity_fingerprint(sha1, p->identities[i], HTTP_SHA1);
        http_identity_fingerprint(sha256, p->identities[i], HTTP_SHA256);
        http_identity_times(p->identities[i], &from_s, &to_s);
        for (struct sim_object *o = sim_first(p, "Certificate"), *next; o; o = next) {
            next = o->class_next;
            if (strcmp(sim_text(o, "host"), p->host_refs[i]) != 0 || strcmp(sim_text(o, "type"), "host") != 0)
                continue;
            if (strcmp(sim_text(o, "fingerprint_sha256"), sha256) == 0)
                told = true;
            else
                sim_delete(p, o);
        }
        struct sim_object *const o = told ? NULL : sim_create(p, "Certificate");
        if (!o)
            continue;
        sim_put_text(p, o, "type", "host");
        sim_put_text(p, o, "host", p->host_refs[i]);
        sim_put_time(p, o, "not_before", from_s);
        sim_put_time(p, o, "not_after", to_s);
        sim_put_text(p, o, "fingerprint", sha256);
        sim_put_text(p, o, "fingerprint_sha256", sha256);
        sim_put_text(p, o, "fingerprint_sha1", sha1);
    }
}

void sim_identities_close(struct simpool *p)
{
    for (unsigned i = 0; i < SIMPOOL_HOSTS_MAX; i++)
        http_identity_free(p->identities[i]);
}

void simpool_fingerprint(char ret[SIMPOOL_FINGERPRINT_BYTES], const struct simpool *pool, unsigned host)
{
    _Static_assert(SIMPOOL_FINGERPRINT_BYTES == HTTP_FINGERPRINT_BYTES, "one size");

    ret[0] = '\0';
    if (pool->identities[host])
        http_identity_fingerprint(ret, pool->identities[host], HTTP_SHA256);
}

char *simpool_certificates(const struct simpool *pool)
{
    struct xk_buf all = XK_BUF_INIT(PEM_MAX);

    for (unsigned i = 0; i < pool->settings.hosts && pool->identities[i]; i++) {
        xk_autofree char *pem = http_identity_pem(pool->identities[i]);
        if (!pem)
            all.error = -ENOMEM;
        else
            xk_buf_add_str(&all, pem);
    }
    xk_buf_add_str(&all, "");
    char *const text = xk_buf_take(&all);
    xk_buf_done(&all);
    return text;
}

/* ---- messages ---- */

/* A host without TLS shows nothing; what it would show may have been brought to it. */
static const char *kept_of(const struct simpool *p, const struct sim_object *host)
{
    for (const struct sim_object *o = sim_first(p, "Certificate"); o; o = o->class_next)
        if (strcmp(sim_text(o, "host"), host->ref) == 0 && strcmp(sim_text(o, "type"), "host") == 0)
            return sim_kept(p, SIM_KEPT_CERTIFICATE, sim_text(o, "fingerprint_sha256"));
    return NULL;
}

static enum sim_outcome get_certificate(struct sim_call *c)
{
    const struct sim_object *const host = sim_arg(c, 0);

    if (!host)
        return SIM_FAILED;
    for (unsigned i = 0; i < c->pool->settings.hosts; i++) {
        if (!c->pool->identities[i] || strcmp(c->pool->host_refs[i], host->ref) != 0)
            continue;
        xk_autofree char *pem = http_identity_pem(c->pool->identities[i]);
        const char *const text = pem ? xk_arena_strdup(&c->arena, pem) : NULL;
        if (!text)
            return sim_no_memory(c);
        c->result = xapi_str(text);
        return SIM_DONE;
    }
    const char *const kept = kept_of(c->pool, host);
    if (!kept)
        return sim_fail(c, "CERTIFICATE_DOES_NOT_EXIST", sim_text(host, "uuid"), NULL); /* a pool without TLS */
    c->result = xapi_str(kept);
    return SIM_DONE;
}

const struct sim_row sim_identity_rows[] = {
    {"host.get_server_certificate", get_certificate},
    {NULL, NULL},
};
