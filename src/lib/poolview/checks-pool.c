/* The checks of the pool as a whole: its work, storage and machines. */
#include "lib/poolview/inner.h"

#include "core/text.h"
#include "lib/sessionlog/checks.h"

#include <stdio.h>
#include <string.h>

#define STUCK_S       (6 * 3600) /* a task of that age; copies of large disks take hours */
#define SPACE_WARN    0.90
#define SPACE_BAD     0.98
#define CHAIN_WARN    25 /* of 30 that a chain may be long */
#define CHAIN_MAX     1000
#define MESSAGE_S     86400
#define MESSAGE_BAD   2   /* priorities 1 and 2: data lost or service at risk */
#define TOOLS_GRACE_S 600 /* a machine that boots has that long to report */

int poolview_check_reached(const struct xk_check *check, const void *subject, struct xk_findings *sink,
                           struct xk_err *err)
{
    FOR_EACH_VIEW(v, subject)
    {
        if (!v->reached)
            xk_find(sink, check, check->severity, v->url, v->why.hint[0] ? v->why.hint : NULL, "%s", v->why.text);
    }
    return 0;
}

int poolview_check_slave(const struct xk_check *check, const void *subject, struct xk_findings *sink,
                         struct xk_err *err)
{
    FOR_EACH_VIEW(v, subject)
    {
        if (v->master)
            xk_find(sink, check, check->severity, v->url, NULL, "the master is %s", v->master);
    }
    return 0;
}

/* ---- work ---- */

int poolview_check_tasks(const struct xk_check *check, const void *subject, struct xk_findings *sink,
                         struct xk_err *err)
{
    FOR_EACH_VIEW(v, subject)
    {
        FOR_EACH(i, v, POOLVIEW_TASK)
        {
            const struct xapi_value *const t = poolview_record(v, POOLVIEW_TASK, i);
            const int64_t created_s = poolview_time(t, "created");
            const char *const status = poolview_text(t, "status");
            if (!created_s || v->pool_now_s - created_s < STUCK_S ||
                (strcmp(status, "pending") != 0 && strcmp(status, "cancelling") != 0))
                continue;
            xk_find(sink, check, check->severity, poolview_text(t, "name_label"), NULL,
                    "task %s has been %s for %s, progress %.0f %%", poolview_text(t, "uuid"), status,
                    xk_duration((uint64_t)(v->pool_now_s - created_s) * XK_NS_PER_S).s,
                    100 * poolview_real(t, "progress"));
        }
    }
    return 0;
}

int poolview_check_messages(const struct xk_check *check, const void *subject, struct xk_findings *sink,
                            struct xk_err *err)
{
    FOR_EACH_VIEW(v, subject)
    {
        FOR_EACH(i, v, POOLVIEW_MESSAGE)
        {
            const struct xapi_value *const m = poolview_record(v, POOLVIEW_MESSAGE, i);
            const int64_t at_s = poolview_time(m, "timestamp");
            const int64_t priority = poolview_int(m, "priority");
            if (v->pool_now_s - at_s > MESSAGE_S || priority < 1 || priority > MESSAGE_BAD)
                continue;
            xk_find(sink, check, check->severity, poolview_text(m, "name"), NULL, "priority %lld at %s, about %s %s",
                    (long long)priority, xk_iso_time(at_s).s, poolview_text(m, "cls"), poolview_text(m, "obj_uuid"));
        }
    }
    return 0;
}

/* ---- storage ---- */

int poolview_check_space(const struct xk_check *check, const void *subject, struct xk_findings *sink,
                         struct xk_err *err)
{
    FOR_EACH_VIEW(v, subject)
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

int poolview_check_chains(const struct xk_check *check, const void *subject, struct xk_findings *sink,
                          struct xk_err *err)
{
    FOR_EACH_VIEW(v, subject)
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

/* ---- availability ---- */

int poolview_check_ha(const struct xk_check *check, const void *subject, struct xk_findings *sink, struct xk_err *err)
{
    FOR_EACH_VIEW(v, subject)
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

/* ---- machines without tools ---- */

/* Whether it runs for long enough that its tools would have reported. */
static bool runs_long(const struct poolview *v, const struct xapi_value *vm)
{
    const struct xapi_value *const m = poolview_find(v, POOLVIEW_VM_METRICS, poolview_text(vm, "metrics"));
    const int64_t start_s = poolview_time(m, "start_time");

    return strcmp(poolview_text(vm, "power_state"), "Running") == 0 && !poolview_truth(vm, "is_control_domain") &&
           !poolview_truth(vm, "is_a_template") && !poolview_truth(vm, "is_a_snapshot") && start_s &&
           v->pool_now_s - start_s >= TOOLS_GRACE_S;
}

/* "8.4.0-1"; "" when no drivers were seen. */
static void put_drivers(char *ret, size_t bytes, const struct xapi_value *guest)
{
    const struct xapi_value *const version = guest ? xapi_map_get(guest, "PV_drivers_version") : NULL;

    ret[0] = '\0';
    if (version && *poolview_text(version, "major"))
        snprintf(ret, bytes, "%.16s.%.16s.%.16s-%.16s", poolview_text(version, "major"),
                 poolview_text(version, "minor"), poolview_text(version, "micro"), poolview_text(version, "build"));
}

static void find_tools(const struct xk_check *check, struct xk_findings *sink, const struct poolview *v,
                       const struct xapi_value *vm, bool old)
{
    const struct xapi_value *const guest = poolview_find(v, POOLVIEW_GUEST_METRICS, poolview_text(vm, "guest_metrics"));
    const struct xapi_value *const m = poolview_find(v, POOLVIEW_VM_METRICS, poolview_text(vm, "metrics"));
    const uint64_t runs_s = (uint64_t)(v->pool_now_s - poolview_time(m, "start_time"));
    char drivers[80];

    put_drivers(drivers, sizeof(drivers), guest);
    if (!*drivers && !old)
        xk_find(sink, check, check->severity, poolview_text(vm, "name_label"), NULL, "it runs since %s, and %s (%s)",
                xk_duration(runs_s * XK_NS_PER_S).s,
                guest ? "its guest metrics name no drivers" : "there are no guest metrics", poolview_text(vm, "uuid"));
    else if (*drivers && old && !poolview_truth(guest, "PV_drivers_up_to_date"))
        xk_find(sink, check, check->severity, poolview_text(vm, "name_label"), NULL,
                "its drivers are %s, and PV_drivers_up_to_date is false (%s)", drivers, poolview_text(vm, "uuid"));
}

static int check_tools(const struct xk_check *check, const void *subject, struct xk_findings *sink, bool old)
{
    FOR_EACH_VIEW(v, subject)
    {
        FOR_EACH(i, v, POOLVIEW_VM)
        {
            const struct xapi_value *const vm = poolview_record(v, POOLVIEW_VM, i);
            if (runs_long(v, vm))
                find_tools(check, sink, v, vm, old);
        }
    }
    return 0;
}

int poolview_check_tools(const struct xk_check *check, const void *subject, struct xk_findings *sink,
                         struct xk_err *err)
{
    return check_tools(check, subject, sink, false);
}

int poolview_check_old_tools(const struct xk_check *check, const void *subject, struct xk_findings *sink,
                             struct xk_err *err)
{
    return check_tools(check, subject, sink, true);
}

/* ---- sessions ---- */

int poolview_check_sessions(const struct xk_check *check, const void *subject, struct xk_findings *sink,
                            struct xk_err *err)
{
    FOR_EACH_VIEW(v, subject)
    {
        if (v->sessions.summary)
            sessionlog_find_limits(check, sink, v->sessions.summary);
    }
    return 0;
}
