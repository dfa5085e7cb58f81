/* The checks of single hosts. Each says its numbers; what a healthy pool shows stays below the limits named here. */
#include "lib/poolview/inner.h"

#include "core/text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define SKEW_WARN_S    2.0 /* beyond what can be an error of measurement */
#define SKEW_BAD_S     60.0
#define EXPIRES_S      (30 * 86400)
#define MEMORY_FREE    0.02
#define CPU_BUSY       0.90    /* of all processors, on average */
#define LATENCY_BAD_US 50000.0 /* on average, of the slowest disk; a disk that turns needs a tenth of it */
#define IOPS_MIN       1.0     /* fewer requests a second say nothing of a disk */

const char *poolview_host_name(const struct poolview *v, const char *ref)
{
    const struct xapi_value *const host = poolview_find(v, POOLVIEW_HOST, ref);

    return host ? poolview_text(host, "name_label") : "a host that is not there";
}

static const char *name_of(const struct poolview *v, uint32_t host)
{
    return poolview_text(poolview_record(v, POOLVIEW_HOST, host), "name_label");
}

int poolview_check_live(const struct xk_check *check, const void *subject, struct xk_findings *sink, struct xk_err *err)
{
    FOR_EACH_VIEW(v, subject)
    {
        FOR_EACH(i, v, POOLVIEW_HOST)
        {
            const struct xapi_value *const host = poolview_record(v, POOLVIEW_HOST, i);
            if (!poolview_host_lives(v, host))
                xk_find(sink, check, check->severity, poolview_text(host, "name_label"), NULL,
                        "host_metrics.live is false; its address is %s, and %u virtual machines belong there",
                        poolview_text(host, "address"),
                        xapi_map_get(host, "resident_VMs") ? xapi_map_get(host, "resident_VMs")->count : 0);
        }
    }
    return 0;
}

int poolview_check_enabled(const struct xk_check *check, const void *subject, struct xk_findings *sink,
                           struct xk_err *err)
{
    FOR_EACH_VIEW(v, subject)
    {
        FOR_EACH(i, v, POOLVIEW_HOST)
        {
            const struct xapi_value *const host = poolview_record(v, POOLVIEW_HOST, i);
            if (poolview_host_lives(v, host) && !poolview_truth(host, "enabled"))
                xk_find(sink, check, check->severity, poolview_text(host, "name_label"), NULL,
                        "it is live, and enabled is false: no virtual machine starts there");
        }
    }
    return 0;
}

/* ---- whom it follows ---- */

static void find_master(const struct xk_check *check, struct xk_findings *sink, const struct poolview *v, uint32_t host,
                        const char *master)
{
    const struct poolview_role *const r = &v->visits[host].role;
    const bool should = poolview_host_is_master(v, poolview_ref(v, POOLVIEW_HOST, host));

    if (!r->known || should == r->is_master) {
        if (!r->known || should || strcmp(r->master, master) == 0)
            return;
    }
    if (*r->master && !should)
        xk_find(sink, check, check->severity, name_of(v, host), NULL, "it follows %s; the pool's master is %s",
                r->master, master);
    else if (*r->master)
        xk_find(sink, check, check->severity, name_of(v, host), NULL, "it is the master, and says that %s is",
                r->master);
    else if (strcmp(r->why, "SESSION_INVALID") == 0)
        xk_find(sink, check, check->severity, name_of(v, host), NULL,
                "it does not know a session of the pool (SESSION_INVALID): it has another database than the master %s",
                master);
    else if (*r->why)
        xk_find(sink, check, XK_WARNING, name_of(v, host), NULL, "asked for its master it answers %s", r->why);
    else
        xk_find(sink, check, check->severity, name_of(v, host), NULL, "it takes itself for the master; that is %s",
                master);
}

int poolview_check_master(const struct xk_check *check, const void *subject, struct xk_findings *sink,
                          struct xk_err *err)
{
    FOR_EACH_VIEW(v, subject)
    {
        const char *const ref =
            poolview_count(v, POOLVIEW_POOL) ? poolview_text(poolview_record(v, POOLVIEW_POOL, 0), "master") : "";
        const char *const master = poolview_text(poolview_find(v, POOLVIEW_HOST, ref), "address");
        for (uint32_t i = 0; v->visits && i < poolview_count(v, POOLVIEW_HOST); i++)
            find_master(check, sink, v, i, master);
    }
    return 0;
}

/* ---- versions ---- */

static const char *version_of(const struct xapi_value *host, const char *component)
{
    const struct xapi_value *const versions = xapi_map_get(host, "software_version");

    return poolview_text(versions, component);
}

/* Against the master, which is upgraded first. */
int poolview_check_versions(const struct xk_check *check, const void *subject, struct xk_findings *sink,
                            struct xk_err *err)
{
    static const char *const components[] = {
        "product_version", "platform_version", "build_number", "xapi", "xen", "linux"};

    FOR_EACH_VIEW(v, subject)
    {
        const char *const ref =
            poolview_count(v, POOLVIEW_POOL) ? poolview_text(poolview_record(v, POOLVIEW_POOL, 0), "master") : "";
        const struct xapi_value *const master = poolview_find(v, POOLVIEW_HOST, ref);
        FOR_EACH(i, v, POOLVIEW_HOST)
        {
            const struct xapi_value *const host = poolview_record(v, POOLVIEW_HOST, i);
            xk_auto(xk_buf_done) struct xk_buf text = XK_BUF_INIT(4096);
            for (size_t k = 0; master && k < XK_COUNT(components); k++) {
                if (strcmp(version_of(host, components[k]), version_of(master, components[k])) != 0)
                    xk_buf_printf(&text, "%s%s %s, the master %s", text.len ? "; " : "", components[k],
                                  version_of(host, components[k]), version_of(master, components[k]));
            }
            if (text.len)
                xk_find(sink, check, check->severity, poolview_text(host, "name_label"), NULL, "%s", xk_buf_str(&text));
        }
    }
    return 0;
}

/* ---- clocks ---- */

int poolview_check_clocks(const struct xk_check *check, const void *subject, struct xk_findings *sink,
                          struct xk_err *err)
{
    FOR_EACH_VIEW(v, subject)
    {
        for (uint32_t i = 0; v->visits && i < poolview_count(v, POOLVIEW_HOST); i++) {
            const struct poolview_clock *const c = &v->visits[i].clock;
            if (!c->known || fabs(c->skew_s) <= SKEW_WARN_S + c->bound_s)
                continue;
            xk_find(sink, check, fabs(c->skew_s) > SKEW_BAD_S ? XK_CRITICAL : XK_WARNING, name_of(v, i), NULL,
                    "its clock is %.1f s %s this machine's (± %.1f s)", fabs(c->skew_s),
                    c->skew_s > 0 ? "ahead of" : "behind", c->bound_s);
        }
    }
    return 0;
}

int poolview_check_ntp(const struct xk_check *check, const void *subject, struct xk_findings *sink, struct xk_err *err)
{
    FOR_EACH_VIEW(v, subject)
    {
        for (uint32_t i = 0; v->visits && i < poolview_count(v, POOLVIEW_HOST); i++) {
            const struct poolview_ntp *const n = &v->visits[i].ntp;
            if (n->known && strcasecmp(n->mode, "disabled") == 0)
                xk_find(sink, check, check->severity, name_of(v, i), NULL, "ntp_mode is %s", n->mode);
            else if (n->known && n->sync_known && !n->synchronised)
                xk_find(sink, check, check->severity, name_of(v, i), NULL,
                        "its clock is not synchronised; ntp_mode is %s, its servers: %s", n->mode,
                        *n->servers ? n->servers : "none");
        }
    }
    return 0;
}

/* ---- certificates ---- */

static const char *problem_of(int64_t from_s, int64_t until_s, int64_t now_s)
{
    return until_s && now_s > until_s ? "has ended" : from_s && now_s < from_s ? "has not begun" : NULL;
}

const char *poolview_certificate_problem(const struct poolview_certificate *c, int64_t now_s)
{
    return problem_of(c->from_s, c->until_s, now_s);
}

int64_t poolview_host_now(const struct poolview *v, uint32_t host)
{
    const struct poolview_clock *const c = &v->visits[host].clock;

    return v->now_s + (c->known ? (int64_t)llround(c->skew_s) : 0);
}

/* What it shows, by this machine's clock and by its own. */
static void find_shown(const struct xk_check *check, struct xk_findings *sink, const struct poolview *v, uint32_t host)
{
    const struct poolview_certificate *const c = &v->visits[host].certificate;
    const struct poolview_clock *const clock = &v->visits[host].clock;
    const int64_t there_s = poolview_host_now(v, host);
    const char *const here = problem_of(c->from_s, c->until_s, v->now_s), *const there = problem_of(
                                                                              c->from_s, c->until_s, there_s);
    char words[160];

    if (here && there)
        snprintf(words, sizeof(words), "%s", here);
    else if (here)
        snprintf(words, sizeof(words), "%s on this machine's clock, and is valid on the host's", here);
    else if (there)
        snprintf(words, sizeof(words), "%s on the host's own clock", there);
    else if (c->until_s - v->now_s < EXPIRES_S)
        snprintf(words, sizeof(words), "ends in %lld days", (long long)(c->until_s - v->now_s) / 86400);
    else
        return;
    xk_find(sink, check, here || there ? XK_CRITICAL : XK_WARNING, name_of(v, host), NULL,
            "the certificate that it shows %s: it is for %s to %s; here it is %s, there %s%s", words,
            xk_iso_time(c->from_s).s, xk_iso_time(c->until_s).s, xk_iso_time(v->now_s).s,
            clock->known ? xk_iso_time(there_s).s : "unknown", clock->known ? "" : " time");
}

/* One that the pool has on record: of a host that could not be looked at, of an authority, for what is inside. */
static void find_recorded(const struct xk_check *check, struct xk_findings *sink, const struct poolview *v,
                          const struct xapi_value *c)
{
    const int64_t from_s = poolview_time(c, "not_before"), until_s = poolview_time(c, "not_after");
    const char *const host = poolview_text(c, "host"), *const name = poolview_text(c, "name"),
                      *const wrong = problem_of(from_s, until_s, v->now_s);
    const bool of_host = strcmp(poolview_text(c, "type"), "ca") != 0 && poolview_find(v, POOLVIEW_HOST, host);
    const char *const object = of_host ? poolview_host_name(v, host) : *name ? name : poolview_text(c, "uuid");

    if (!wrong && (!until_s || until_s - v->now_s >= EXPIRES_S))
        return;
    xk_find(sink, check, wrong ? XK_CRITICAL : XK_WARNING, object, NULL,
            "the certificate on record (%s) %s: it is for %s to %s, and it is %s", poolview_text(c, "type"),
            wrong ? wrong : "ends within 30 days", xk_iso_time(from_s).s, xk_iso_time(until_s).s,
            xk_iso_time(v->now_s).s);
}

static bool is_shown(const struct poolview *v, const struct xapi_value *certificate)
{
    const char *const host = poolview_text(certificate, "host");

    for (uint32_t i = 0; v->visits && i < poolview_count(v, POOLVIEW_HOST); i++)
        if (strcmp(poolview_ref(v, POOLVIEW_HOST, i), host) == 0)
            return v->visits[i].certificate.known && strcmp(poolview_text(certificate, "type"), "host") == 0;
    return false;
}

int poolview_check_certificates(const struct xk_check *check, const void *subject, struct xk_findings *sink,
                                struct xk_err *err)
{
    FOR_EACH_VIEW(v, subject)
    {
        for (uint32_t i = 0; v->visits && i < poolview_count(v, POOLVIEW_HOST); i++)
            if (v->visits[i].certificate.known)
                find_shown(check, sink, v, i);
        FOR_EACH(i, v, POOLVIEW_CERTIFICATE)
        {
            const struct xapi_value *const c = poolview_record(v, POOLVIEW_CERTIFICATE, i);
            if (!is_shown(v, c))
                find_recorded(check, sink, v, c);
        }
    }
    return 0;
}

/* ---- ports ---- */

int poolview_check_ports(const struct xk_check *check, const void *subject, struct xk_findings *sink,
                         struct xk_err *err)
{
    FOR_EACH_VIEW(v, subject)
    {
        for (uint32_t i = 0; v->visits && i < poolview_count(v, POOLVIEW_HOST); i++) {
            const struct poolview_visit *const visit = &v->visits[i];
            for (unsigned k = 0; k < visit->port_count; k++) {
                const struct portscan_port *const p = &visit->ports[k];
                const struct portscan_row *const row = portscan_find_row(p->port, p->udp);
                if (p->state == PORTSCAN_OPEN)
                    continue;
                xk_find(sink, check, k == 0 ? check->severity : XK_NOTE, name_of(v, i), NULL,
                        "port tcp/%u at %s is %s from this machine: %s", p->port,
                        poolview_text(poolview_record(v, POOLVIEW_HOST, i), "address"), portscan_state_name(p->state),
                        row ? row->purpose : "the XenAPI");
            }
        }
    }
    return 0;
}

int poolview_check_silent(const struct xk_check *check, const void *subject, struct xk_findings *sink,
                          struct xk_err *err)
{
    FOR_EACH_VIEW(v, subject)
    {
        for (uint32_t i = 0; v->visits && i < poolview_count(v, POOLVIEW_HOST); i++) {
            const struct poolview_role *const r = &v->visits[i].role;
            if (!r->known && *r->why)
                xk_find(sink, check, r->code == -EKEYREJECTED ? XK_NOTE : check->severity, name_of(v, i), NULL,
                        "it is live, and asked itself: %s", r->why);
        }
    }
    return 0;
}

/* ---- load ---- */

int poolview_check_metrics(const struct xk_check *check, const void *subject, struct xk_findings *sink,
                           struct xk_err *err)
{
    FOR_EACH_VIEW(v, subject)
    {
        for (uint32_t i = 0; v->visits && i < poolview_count(v, POOLVIEW_HOST); i++) {
            const struct poolview_load *const l = &v->visits[i].load;
            if (!l->known && *l->why)
                xk_find(sink, check, check->severity, name_of(v, i), NULL, "/rrd_updates: %s", l->why);
        }
    }
    return 0;
}

static bool is_enough(const struct poolview_series *s)
{
    return s->rows >= POOLVIEW_LOAD_ROWS_MIN;
}

int poolview_check_memory(const struct xk_check *check, const void *subject, struct xk_findings *sink,
                          struct xk_err *err)
{
    FOR_EACH_VIEW(v, subject)
    {
        FOR_EACH(i, v, POOLVIEW_HOST)
        {
            const struct xapi_value *const host = poolview_record(v, POOLVIEW_HOST, i);
            const struct xapi_value *const m = poolview_find(v, POOLVIEW_HOST_METRICS, poolview_text(host, "metrics"));
            const int64_t total = poolview_int(m, "memory_total"), left = poolview_int(m, "memory_free");
            const struct poolview_series *const s = v->visits ? &v->visits[i].load.memory_free_kib : NULL;
            char window[160] = "";
            if (total <= 0 || !poolview_truth(m, "live") || (double)left >= MEMORY_FREE * (double)total)
                continue;
            if (s && is_enough(s))
                snprintf(window, sizeof(window), "; on average %s in %u minutes before, %s at least",
                         xk_size((uint64_t)(s->mean * 1024)).s, s->rows, xk_size((uint64_t)(s->min * 1024)).s);
            xk_find(sink, check, check->severity, poolview_text(host, "name_label"), NULL,
                    "%s of %s are free (%.1f %%)%s", xk_size((uint64_t)XK_MAX(left, INT64_C(0))).s,
                    xk_size((uint64_t)total).s, 100 * (double)left / (double)total, window);
        }
    }
    return 0;
}

int poolview_check_cpu(const struct xk_check *check, const void *subject, struct xk_findings *sink, struct xk_err *err)
{
    FOR_EACH_VIEW(v, subject)
    {
        for (uint32_t i = 0; v->visits && i < poolview_count(v, POOLVIEW_HOST); i++) {
            const struct poolview_load *const l = &v->visits[i].load;
            if (!l->known || !is_enough(&l->cpu) || l->cpu.mean < CPU_BUSY)
                continue;
            xk_find(sink, check, check->severity, name_of(v, i), NULL,
                    "its processors were busy for %.1f %% of the time (%.1f %% to %.1f %% in the minute) over %u "
                    "minutes until %s",
                    100 * l->cpu.mean, 100 * l->cpu.min, 100 * l->cpu.max, l->cpu.rows, xk_iso_time(l->until_s).s);
        }
    }
    return 0;
}

/* The repository whose uuid begins so; NULL: none. */
static const struct xapi_value *sr_of(const struct poolview *v, const char *short_id)
{
    FOR_EACH(i, v, POOLVIEW_SR)
    {
        const struct xapi_value *const sr = poolview_record(v, POOLVIEW_SR, i);
        if (xk_has_prefix(poolview_text(sr, "uuid"), short_id))
            return sr;
    }
    return NULL;
}

static void find_latency(const struct xk_check *check, struct xk_findings *sink, const struct poolview *v,
                         uint32_t host)
{
    const struct poolview_load *const l = &v->visits[host].load;

    for (unsigned k = 0; k < l->disk_count; k++) {
        const struct poolview_disk *const d = &l->disks[k];
        if (!is_enough(&d->latency_us) || d->latency_us.mean < LATENCY_BAD_US || !is_enough(&d->iops) ||
            d->iops.mean < IOPS_MIN)
            continue;
        const struct xapi_value *const sr = sr_of(v, d->sr);
        xk_find(
            sink, check, check->severity, sr ? poolview_text(sr, "name_label") : d->sr, NULL,
            "at %s a request takes %.0f ms on average (up to %.0f ms in a minute), with %.0f requests a second, over "
            "%u minutes until %s",
            name_of(v, host), d->latency_us.mean / 1000, d->latency_us.max / 1000, d->iops.mean, d->latency_us.rows,
            xk_iso_time(l->until_s).s);
    }
}

int poolview_check_latency(const struct xk_check *check, const void *subject, struct xk_findings *sink,
                           struct xk_err *err)
{
    FOR_EACH_VIEW(v, subject)
    {
        for (uint32_t i = 0; v->visits && i < poolview_count(v, POOLVIEW_HOST); i++)
            find_latency(check, sink, v, i);
    }
    return 0;
}
