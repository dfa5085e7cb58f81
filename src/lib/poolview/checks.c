/*
 * The checks of a pool. Each says its numbers; what a healthy pool shows stays below the limits named here.
 */
#include "lib/poolview/poolview.h"

#include "core/text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define SKEW_WARN_S 2.0 /* beyond what can be an error of measurement */
#define SKEW_BAD_S  60.0
#define STUCK_S     (6 * 3600) /* a task of that age; copies of large disks take hours */
#define SPACE_WARN  0.90
#define SPACE_BAD   0.98
#define CHAIN_WARN  25 /* of 30 that a chain may be long */
#define CHAIN_MAX   1000
#define MESSAGE_S   86400
#define MESSAGE_BAD 2 /* priorities 1 and 2: data lost or service at risk */
#define EXPIRES_S   (30 * 86400)
#define MEMORY_FREE 0.02

struct subject {
    struct poolview *views;
    size_t count;
};

#define FOR_EACH_VIEW(v, subject)                                                                                      \
    for (const struct poolview *v = (subject)->views; v < (subject)->views + (subject)->count; v++)
#define FOR_EACH(index, v, class) for (uint32_t index = 0; index < poolview_count(v, class); index++)

static const char *host_name(const struct poolview *v, const char *ref)
{
    const struct xapi_value *const host = poolview_find(v, POOLVIEW_HOST, ref);

    return host ? poolview_text(host, "name_label") : "a host that is not there";
}

static int check_reached(const struct xk_check *check, const void *subject, struct xk_findings *sink,
                         struct xk_err *err)
{
    FOR_EACH_VIEW(v, (const struct subject *)subject)
    {
        if (!v->reached)
            xk_find(sink, check, check->severity, v->url, v->why.hint[0] ? v->why.hint : NULL, "%s", v->why.text);
    }
    return 0;
}

static int check_slave(const struct xk_check *check, const void *subject, struct xk_findings *sink, struct xk_err *err)
{
    FOR_EACH_VIEW(v, (const struct subject *)subject)
    {
        if (v->master)
            xk_find(sink, check, check->severity, v->url, NULL, "the master is %s", v->master);
    }
    return 0;
}

static int check_live(const struct xk_check *check, const void *subject, struct xk_findings *sink, struct xk_err *err)
{
    FOR_EACH_VIEW(v, (const struct subject *)subject)
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

static int check_enabled(const struct xk_check *check, const void *subject, struct xk_findings *sink,
                         struct xk_err *err)
{
    FOR_EACH_VIEW(v, (const struct subject *)subject)
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

/* ---- versions ---- */

static const char *version_of(const struct xapi_value *host, const char *component)
{
    const struct xapi_value *const versions = xapi_map_get(host, "software_version");

    return poolview_text(versions, component);
}

/* Against the master, which is upgraded first. */
static int check_versions(const struct xk_check *check, const void *subject, struct xk_findings *sink,
                          struct xk_err *err)
{
    static const char *const components[] = {
        "product_version", "platform_version", "build_number", "xapi", "xen", "linux"};

    FOR_EACH_VIEW(v, (const struct subject *)subject)
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

static int check_clocks(const struct xk_check *check, const void *subject, struct xk_findings *sink, struct xk_err *err)
{
    FOR_EACH_VIEW(v, (const struct subject *)subject)
    {
        for (uint32_t i = 0; v->clocks && i < poolview_count(v, POOLVIEW_HOST); i++) {
            const struct poolview_clock *const c = &v->clocks[i];
            if (!c->known || fabs(c->skew_s) <= SKEW_WARN_S + c->bound_s)
                continue;
            xk_find(sink, check, fabs(c->skew_s) > SKEW_BAD_S ? XK_CRITICAL : XK_WARNING,
                    poolview_text(poolview_record(v, POOLVIEW_HOST, i), "name_label"), NULL,
                    "its clock is %.1f s %s this machine's (± %.1f s)", fabs(c->skew_s),
                    c->skew_s > 0 ? "ahead of" : "behind", c->bound_s);
        }
    }
    return 0;
}

static int check_certificates(const struct xk_check *check, const void *subject, struct xk_findings *sink,
                              struct xk_err *err)
{
    FOR_EACH_VIEW(v, (const struct subject *)subject)
    {
        FOR_EACH(i, v, POOLVIEW_CERTIFICATE)
        {
            const struct xapi_value *const c = poolview_record(v, POOLVIEW_CERTIFICATE, i);
            const int64_t from_s = poolview_time(c, "not_before"), until_s = poolview_time(c, "not_after");
            const char *const host = host_name(v, poolview_text(c, "host"));
            if (until_s && v->now_s > until_s)
                xk_find(sink, check, XK_CRITICAL, host, NULL, "its certificate (%s) ended at %s",
                        poolview_text(c, "type"), xk_iso_time(until_s).s);
            else if (from_s && v->now_s < from_s)
                xk_find(sink, check, XK_CRITICAL, host, NULL, "its certificate (%s) begins at %s",
                        poolview_text(c, "type"), xk_iso_time(from_s).s);
            else if (until_s && until_s - v->now_s < EXPIRES_S)
                xk_find(sink, check, XK_WARNING, host, NULL, "its certificate (%s) ends at %s",
                        poolview_text(c, "type"), xk_iso_time(until_s).s);
        }
    }
    return 0;
}

/* ---- work ---- */

static int check_tasks(const struct xk_check *check, const void *subject, struct xk_findings *sink, struct xk_err *err)
{
    FOR_EACH_VIEW(v, (const struct subject *)subject)
    {
        FOR_EACH(i, v, POOLVIEW_TASK)
        {
            const struct xapi_value *const t = poolview_record(v, POOLVIEW_TASK, i);
            const int64_t created_s = poolview_time(t, "created");
            const char *const status = poolview_text(t, "status");
            if (!created_s || v->now_s - created_s < STUCK_S ||
                (strcmp(status, "pending") != 0 && strcmp(status, "cancelling") != 0))
                continue;
            xk_find(sink, check, check->severity, poolview_text(t, "name_label"), NULL,
                    "task %s has been %s for %s, progress %.0f %%", poolview_text(t, "uuid"), status,
                    xk_duration((uint64_t)(v->now_s - created_s) * XK_NS_PER_S).s, 100 * poolview_real(t, "progress"));
        }
    }
    return 0;
}

static int check_messages(const struct xk_check *check, const void *subject, struct xk_findings *sink,
                          struct xk_err *err)
{
    FOR_EACH_VIEW(v, (const struct subject *)subject)
    {
        FOR_EACH(i, v, POOLVIEW_MESSAGE)
        {
            const struct xapi_value *const m = poolview_record(v, POOLVIEW_MESSAGE, i);
            const int64_t at_s = poolview_time(m, "timestamp");
            const int64_t priority = poolview_int(m, "priority");
            if (v->now_s - at_s > MESSAGE_S || priority < 1 || priority > MESSAGE_BAD)
                continue;
            xk_find(sink, check, check->severity, poolview_text(m, "name"), NULL, "priority %lld at %s, about %s %s",
                    (long long)priority, xk_iso_time(at_s).s, poolview_text(m, "cls"), poolview_text(m, "obj_uuid"));
        }
    }
    return 0;
}

/* ---- storage ---- */

static int check_space(const struct xk_check *check, const void *subject, struct xk_findings *sink, struct xk_err *err)
{
    FOR_EACH_VIEW(v, (const struct subject *)subject)
    {
        FOR_EACH(i, v, POOLVIEW_SR)
        {
            const struct xapi_value *const sr = poolview_record(v, POOLVIEW_SR, i);
            const int64_t size = poolview_int(sr, "physical_size"), used = poolview_int(sr, "physical_utilisation");
            if (size <= 0 || strcmp(poolview_text(sr, "content_type"), "iso") == 0 ||
                poolview_truth(sr, "is_tools_sr") || strcmp(poolview_text(sr, "type"), "udev") == 0)
                continue;
            const double share = (double)used / (double)size;
            if (share >= SPACE_WARN)
                xk_find(sink, check, share >= SPACE_BAD ? XK_CRITICAL : XK_WARNING, poolview_text(sr, "name_label"),
                        NULL, "%s of %s are in use (%.1f %%)", xk_size((uint64_t)used).s, xk_size((uint64_t)size).s,
                        100 * share);
        }
    }
    return 0;
}

static const struct xapi_value *vdi_by_uuid(const struct poolview *v, const char *uuid)
{
    FOR_EACH(i, v, POOLVIEW_VDI)
    {
        const struct xapi_value *const vdi = poolview_record(v, POOLVIEW_VDI, i);
        if (strcmp(poolview_text(vdi, "uuid"), uuid) == 0)
            return vdi;
    }
    return NULL;
}

static const char *parent_of(const struct xapi_value *vdi)
{
    const struct xapi_value *const config = xapi_map_get(vdi, "sm_config");

    return poolview_text(config, "vhd-parent");
}

static int check_chains(const struct xk_check *check, const void *subject, struct xk_findings *sink, struct xk_err *err)
{
    FOR_EACH_VIEW(v, (const struct subject *)subject)
    {
        FOR_EACH(i, v, POOLVIEW_VDI)
        {
            const struct xapi_value *const vdi = poolview_record(v, POOLVIEW_VDI, i);
            unsigned depth = 1;
            for (const struct xapi_value *at = vdi; at && *parent_of(at) && depth < CHAIN_MAX; depth++)
                at = vdi_by_uuid(v, parent_of(at));
            if (depth >= CHAIN_WARN && !poolview_truth(vdi, "is_a_snapshot") && poolview_truth(vdi, "managed"))
                xk_find(sink, check, check->severity, poolview_text(vdi, "name_label"), NULL,
                        "a chain of %u images (disk %s)", depth, poolview_text(vdi, "uuid"));
        }
    }
    return 0;
}

/* ---- the pool ---- */

static int check_ha(const struct xk_check *check, const void *subject, struct xk_findings *sink, struct xk_err *err)
{
    FOR_EACH_VIEW(v, (const struct subject *)subject)
    {
        FOR_EACH(i, v, POOLVIEW_POOL)
        {
            const struct xapi_value *const p = poolview_record(v, POOLVIEW_POOL, i);
            const int64_t tolerate = poolview_int(p, "ha_host_failures_to_tolerate");
            const int64_t plan = poolview_int(p, "ha_plan_exists_for");
            if (!poolview_truth(p, "ha_enabled") || (plan >= tolerate && !poolview_truth(p, "ha_overcommitted")))
                continue;
            xk_find(sink, check, check->severity,
                    *poolview_text(p, "name_label") ? poolview_text(p, "name_label") : v->url, NULL,
                    "a plan exists for %lld failing hosts, %lld are to be tolerated%s", (long long)plan,
                    (long long)tolerate, poolview_truth(p, "ha_overcommitted") ? "; it is overcommitted" : "");
        }
    }
    return 0;
}

static int check_memory(const struct xk_check *check, const void *subject, struct xk_findings *sink, struct xk_err *err)
{
    FOR_EACH_VIEW(v, (const struct subject *)subject)
    {
        FOR_EACH(i, v, POOLVIEW_HOST)
        {
            const struct xapi_value *const host = poolview_record(v, POOLVIEW_HOST, i);
            const struct xapi_value *const m = poolview_find(v, POOLVIEW_HOST_METRICS, poolview_text(host, "metrics"));
            const int64_t total = poolview_int(m, "memory_total"), left = poolview_int(m, "memory_free");
            if (total > 0 && poolview_truth(m, "live") && (double)left < MEMORY_FREE * (double)total)
                xk_find(sink, check, check->severity, poolview_text(host, "name_label"), NULL, "%s of %s are free",
                        xk_size((uint64_t)left).s, xk_size((uint64_t)total).s);
        }
    }
    return 0;
}

const struct xk_check pool_checks[] = {
    {"pool.unreachable", "Pool cannot be asked", XK_CRITICAL,
     "Without an answer of the master nothing can be said of the pool.",
     "see that the address is that of the master, that port 443 is open (`xenkit net ports HOST`), and who may log in",
     check_reached, 0},
    {"pool.not-master", "A slave was asked", XK_NOTE,
     "It sent on to the master. What has the address of a slave stops working when that host is gone.",
     "use the master's address", check_slave, 0},
    {"pool.host-dead", "Host is not live", XK_CRITICAL,
     "Its heartbeat has not reached the master. Its virtual machines are down or out of control.",
     "look at its console and network; when it is gone for good: `xe host-declare-dead`", check_live, 0},
    {"pool.host-disabled", "Host is disabled", XK_WARNING, "It is in maintenance, or somebody forgot to enable it.",
     "`xe host-enable` when the maintenance is over", check_enabled, 0},
    {"pool.version", "Versions differ", XK_WARNING,
     "A pool of mixed versions is for the time of an upgrade only: machines may not migrate, features are off.",
     "finish the upgrade of the host", check_versions, 0},
    {"pool.clock-skew", "Clock is off", XK_WARNING,
     "Skew breaks TLS and pool joins, ends sessions early, and makes logs of hosts disagree.",
     "let chronyd run against the same servers on every host; `xenkit net ntp SERVER` shows who is right", check_clocks,
     0},
    {"pool.certificate", "Certificate ends", XK_WARNING, "Clients that check it refuse the host when it has ended.",
     "`xe host-refresh-server-certificate`, or install a new one", check_certificates, 0},
    {"pool.task-stuck", "Task does not end", XK_WARNING,
     "What waits for it waits with it, and its session and locks stay.",
     "`xe task-cancel`; when it does not help, restart the toolstack of its host (`xe-toolstack-restart`)", check_tasks,
     0},
    {"pool.alert", "The pool raised an alert", XK_WARNING, "The pool itself says that something is at risk.",
     "read it in the alerts of the pool, and delete it when it is done with", check_messages, 0},
    {"pool.space", "Storage is nearly full", XK_WARNING,
     "A repository without space stops virtual machines that write, and cannot merge snapshots any more.",
     "delete snapshots that nobody needs, or grow it", check_space, 0},
    {"pool.chain", "Chain of a disk is long", XK_WARNING,
     "At 30 images no more snapshots can be taken, and each read looks through all of them.",
     "delete old snapshots and let the storage manager merge", check_chains, 0},
    {"pool.ha", "High availability is short of a plan", XK_WARNING,
     "Not all protected virtual machines can be started again after the failures that are to be tolerated.",
     "add memory or hosts, or protect fewer machines", check_ha, 0},
    {"pool.memory", "Host is out of memory", XK_NOTE,
     "No further virtual machine starts there, and none can move to it.", "move machines to another host", check_memory,
     0},
    {NULL, NULL, XK_NOTE, NULL, NULL, NULL, 0},
};

/* ---- the set ---- */

static bool accepts(const char *target)
{
    return xk_has_prefix(target, "https://") || xk_has_prefix(target, "http://") || xk_has_prefix(target, "unix:");
}

static void close_pools(void *subject)
{
    struct subject *const s = subject;

    for (size_t i = 0; s && i < s->count; i++)
        poolview_done(&s->views[i]);
    if (s)
        free(s->views);
    free(s);
}

static int open_pools(void **ret_subject, struct xk_app *app, const char *const *targets, size_t count,
                      const void *access, struct xk_err *err)
{
    static const struct client_access usual = CLIENT_ACCESS_DEFAULTS;
    const struct poolview_wanted all = {.classes = (1u << POOLVIEW_CLASSES) - 1, .clocks = true};
    struct subject *const s = xk_zalloc(sizeof(*s));
    int code = 0;

    if (!s)
        return xk_fail_memory(err);
    s->views = xk_array_alloc(count, sizeof(*s->views));
    if (!s->views)
        code = xk_fail_memory(err);
    for (; code == 0 && s->count < count; s->count++)
        code = poolview_take(&s->views[s->count], app, targets[s->count], access ? access : &usual, &all, err);
    if (code < 0) {
        close_pools(s);
        return code;
    }
    *ret_subject = s;
    return 0;
}

const struct xk_check_set pool_check_set = {
    .name = "pool",
    .summary = "a pool: hosts, versions, clocks, certificates, tasks, storage",
    .accepts = accepts,
    .open = open_pools,
    .close = close_pools,
    .checks = pool_checks,
};
