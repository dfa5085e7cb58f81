/*
 * High availability: the flag and the plan. What happens when a host fails stands in ha-restart.c.
 *
 * The plan counts memory and storage: for n failures it takes those n hosts away whose loss hurts most (their protected
 * VMs and their room together) and finds the others a place for what ran there. The real server searches further; with
 * hosts of one size, as here, both come to the same number. Facts: xapi_ha.ml, xapi_ha_vm_failover.ml (2026-08).
 */
#include "lib/simpool/hosts.h"
#include "lib/simpool/ops.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENABLE_NS       (5 * XK_NS_PER_S)
#define STATEFILE_BYTES (INT64_C(4) << 20)
#define METADATA_BYTES  (INT64_C(256) << 20)

static struct sim_object *pool_of(const struct simpool *p)
{
    return sim_first(p, "pool");
}

bool sim_ha_protects(const struct sim_object *vm)
{
    return sim_bool(vm, "ha_always_run") && strcmp(sim_text(vm, "ha_restart_priority"), "restart") == 0;
}

/* ---- the plan ---- */

/* Which VMs the plan is for: those that are protected, or a list of them. */
struct scope {
    const struct xapi_value *vms; /* map of refs to priorities; NULL: as the records say */
    const struct sim_object *without;
};

static bool in_scope(const struct scope *s, const struct sim_object *vm)
{
    if (!s->vms)
        return sim_ha_protects(vm);
    return strcmp(xapi_value_text(xapi_map_get(s->vms, vm->ref)), "restart") == 0;
}

/* A host and what would be lost with it. */
struct loss {
    struct sim_object *host;
    int64_t bytes;
};

static int compare_loss(const void *left, const void *right)
{
    const struct loss *const a = left, *const b = right;

    return a->bytes > b->bytes ? -1 : a->bytes < b->bytes;
}

static struct sim_object *home_of(const struct simpool *p, const struct sim_object *vm)
{
    return sim_follow(p, vm, "resident_on");
}

static size_t list_losses(const struct simpool *p, const struct scope *s, struct loss *losses)
{
    struct sim_object *hosts[SIMPOOL_HOSTS_MAX];
    const size_t count = sim_targets(p, s->without, hosts);

    for (size_t i = 0; i < count; i++) {
        const struct sim_object *const metrics = sim_follow(p, hosts[i], "metrics");
        losses[i] = (struct loss){.host = hosts[i], .bytes = metrics ? sim_int(metrics, "memory_free") : 0};
        for (const struct sim_object *vm = sim_first(p, "VM"); vm; vm = vm->class_next)
            if (in_scope(s, vm) && home_of(p, vm) == hosts[i])
                losses[i].bytes += sim_int(vm, "memory_static_max");
    }
    qsort(losses, count, sizeof(*losses), compare_loss);
    return count;
}

static bool is_lost(const struct loss *losses, size_t n, const struct sim_object *host)
{
    for (size_t i = 0; i < n; i++)
        if (losses[i].host == host)
            return true;
    return false;
}

/* Could all that would be lost with n hosts run on the others? */
static bool holds(const struct simpool *p, const struct scope *s, const struct loss *losses, size_t count, size_t n)
{
    struct sim_object *left[SIMPOOL_HOSTS_MAX];
    xk_autofree struct sim_move *moves =
        xk_array_alloc((size_t)p->classes[xapi_class_index(xapi_class_find("VM"))].count + 1, sizeof(*moves));
    size_t moved = 0;

    if (!moves || n >= count)
        return false;
    for (size_t i = n; i < count; i++)
        left[i - n] = losses[i].host;
    for (struct sim_object *vm = sim_first(p, "VM"); vm; vm = vm->class_next)
        if (in_scope(s, vm) && (is_lost(losses, n, home_of(p, vm)) || home_of(p, vm) == s->without))
            moves[moved++] = (struct sim_move){.vm = vm};
    return sim_plan(p, moves, moved, left, count - n) == moved;
}

static size_t most_failures(const struct simpool *p, const struct scope *s)
{
    struct loss losses[SIMPOOL_HOSTS_MAX];
    const size_t count = list_losses(p, s, losses);
    size_t n = 0;

    while (n + 1 < count && holds(p, s, losses, count, n + 1))
        n++;
    return n;
}

static bool plan_exists(const struct simpool *p, const struct scope *s, int64_t n)
{
    struct loss losses[SIMPOOL_HOSTS_MAX];
    const size_t count = list_losses(p, s, losses);

    return n <= 0 || ((uint64_t)n < count && holds(p, s, losses, count, (size_t)n));
}

void sim_ha_update(struct simpool *p)
{
    struct sim_object *const pool = pool_of(p);

    if (!pool || !sim_bool(pool, "ha_enabled"))
        return;
    const int64_t wanted = sim_int(pool, "ha_host_failures_to_tolerate"),
                  can = (int64_t)most_failures(p, &(struct scope){0}), planned = XK_MIN(wanted, can),
                  before = sim_int(pool, "ha_plan_exists_for");
    char text[24];

    if (wanted > can && !sim_bool(pool, "ha_overcommitted")) {
        char body[400];
        snprintf(body, sizeof(body),
                 "The failover tolerance for pool '%.200s' has dropped and the initially specified number of host "
                 "failures to tolerate can no longer be guaranteed",
                 sim_text(pool, "name_label"));
        sim_alert(p, "HA_POOL_OVERCOMMITTED", 3, "Pool", pool, body);
    }
    sim_put_bool(p, pool, "ha_overcommitted", wanted > can);
    sim_put_int(p, pool, "ha_plan_exists_for", planned);
    snprintf(text, sizeof(text), "%lld", (long long)planned);
    if (planned < before)
        sim_alert(p, "HA_POOL_DROP_IN_PLAN_EXISTS_FOR", 3, "Pool", pool, text);
}

bool sim_ha_allows_disable(struct sim_call *c, const struct sim_object *host)
{
    const struct sim_object *const pool = pool_of(c->pool);

    if (!sim_bool(pool, "ha_enabled") || sim_bool(pool, "ha_allow_overcommit") ||
        plan_exists(c->pool, &(struct scope){.without = host}, sim_int(pool, "ha_plan_exists_for")))
        return true;
    (void)sim_fail(c, "HA_OPERATION_WOULD_BREAK_FAILOVER_PLAN", NULL);
    return false;
}

/* ---- on and off ---- */

/* Why an SR cannot have the statefile. NULL: it can. */
static const char *cannot_host(const struct simpool *p, const struct sim_object *sr)
{
    const struct xapi_value *const pbds = sim_get(sr, "PBDs");
    size_t plugged = 0;

    for (size_t i = 0; i < pbds->count; i++) {
        const struct sim_object *const pbd = sim_find(p, xapi_value_text(&pbds->items[i]), NULL);
        plugged += pbd && sim_bool(pbd, "currently_attached");
    }
    return plugged < p->classes[xapi_class_index(xapi_class_find("host"))].count ? "SR_HAS_NO_PBDS" : NULL;
}

static struct sim_object *statefile_sr(const struct simpool *p, const struct xapi_value *given)
{
    if (given->count)
        return sim_find(p, xapi_value_text(&given->items[0]), xapi_class_find("SR"));
    struct sim_object *sr = sim_first(p, "SR");
    while (sr && cannot_host(p, sr))
        sr = sr->class_next;
    return sr;
}

static struct sim_object *find_or_create(struct simpool *p, struct sim_object *sr, const char *name, const char *type,
                                         int64_t bytes)
{
    for (struct sim_object *vdi = sim_first(p, "VDI"); vdi; vdi = vdi->class_next)
        if (strcmp(sim_text(vdi, "SR"), sr->ref) == 0 && strcmp(sim_text(vdi, "type"), type) == 0)
            return vdi;
    struct sim_object *const vdi = sim_create(p, "VDI");
    if (!vdi)
        return NULL;
    sim_put_text(p, vdi, "name_label", name);
    sim_put_text(p, vdi, "name_description", "Used for storage heartbeating");
    sim_put_text(p, vdi, "SR", sr->ref);
    sim_put_text(p, vdi, "type", type);
    sim_put_int(p, vdi, "virtual_size", bytes);
    sim_put_int(p, vdi, "physical_utilisation", bytes);
    sim_put_bool(p, vdi, "sharable", true);
    sim_put_bool(p, vdi, "managed", true);
    sim_put_text(p, vdi, "location", sim_text(vdi, "uuid"));
    return vdi;
}

static void tell_hosts(struct simpool *p, const char *statefile)
{
    const char *peers[SIMPOOL_HOSTS_MAX + 1];
    size_t count = 0;

    for (const struct sim_object *host = sim_first(p, "host"); host && statefile; host = host->class_next)
        peers[count++] = sim_text(host, "uuid");
    peers[count] = NULL;
    for (struct sim_object *host = sim_first(p, "host"); host; host = host->class_next) {
        const unsigned number = sim_host_number(p, host);
        sim_put_list(p, host, "ha_statefiles", (const char *const[]){statefile, NULL});
        sim_put_list(p, host, "ha_network_peers", peers);
        if (number < SIMPOOL_HOSTS_MAX)
            p->members[number].armed = statefile != NULL;
    }
}

static enum sim_outcome enable_end(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const pool = pool_of(p), *const sr = statefile_sr(p, &c->args[0]);
    const struct sim_object *const statefile =
        sr ? find_or_create(p, sr, "Statefile for HA", "ha_statefile", STATEFILE_BYTES) : NULL;

    if (!sr)
        return sim_fail(c, "CANNOT_CREATE_STATE_FILE", NULL);
    if (!statefile || !find_or_create(p, sr, "Metadata for HA", "redo_log", METADATA_BYTES))
        return sim_no_memory(c);
    sim_put_list(p, pool, "ha_statefiles", (const char *const[]){statefile->ref, NULL});
    sim_put(p, pool, "ha_configuration", c->args[1]);
    sim_put_text(p, pool, "ha_cluster_stack", "xhad");
    sim_put_bool(p, pool, "ha_enabled", true);
    tell_hosts(p, statefile->ref);
    sim_ha_update(p);
    return SIM_DONE;
}

static enum sim_outcome enable(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const pool = pool_of(p);

    if (sim_get(pool, "current_operations")->count)
        return sim_fail(c, "HA_ENABLE_IN_PROGRESS", NULL);
    if (sim_bool(pool, "ha_enabled"))
        return sim_fail(c, "HA_IS_ENABLED", NULL);
    for (const struct sim_object *host = sim_first(p, "host"); host; host = host->class_next)
        if (!sim_host_is_live(p, host))
            return sim_fail(c, "HOST_OFFLINE", host->ref, NULL);
    const struct sim_object *const sr = statefile_sr(p, &c->args[0]);
    if (!sr && c->args[0].count)
        return sim_bad_handle(c, (uint16_t)xapi_class_index(xapi_class_find("SR")),
                              xapi_value_text(&c->args[0].items[0]));
    if (!sr)
        return sim_fail(c, "CANNOT_CREATE_STATE_FILE", NULL);
    const char *const wrong = cannot_host(p, sr);
    if (wrong)
        return sim_fail(c, wrong, sr->ref, NULL);
    return sim_work(c, ENABLE_NS, enable_end, pool, "ha_enable", false);
}

static enum sim_outcome disable_end(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const pool = pool_of(p);

    sim_put_bool(p, pool, "ha_enabled", false);
    sim_put_list(p, pool, "ha_statefiles", (const char *const[]){NULL});
    sim_put_map(p, pool, "ha_configuration", (const char *const[]){NULL});
    sim_put_bool(p, pool, "ha_overcommitted", false);
    sim_put_int(p, pool, "ha_plan_exists_for", 0);
    tell_hosts(p, NULL);
    return SIM_DONE;
}

static enum sim_outcome disable(struct sim_call *c)
{
    struct sim_object *const pool = pool_of(c->pool);

    if (sim_get(pool, "current_operations")->count)
        return sim_fail(c, "HA_DISABLE_IN_PROGRESS", NULL);
    if (!sim_bool(pool, "ha_enabled"))
        return sim_fail(c, "HA_NOT_ENABLED", NULL);
    return sim_work(c, ENABLE_NS, disable_end, pool, "ha_disable", false);
}

/* On this host alone, when the master cannot be asked any more. */
static enum sim_outcome emergency_disable(struct sim_call *c)
{
    struct sim_member *const m = &c->pool->members[c->host];

    if (!m->armed && !c->args[0].truth)
        return sim_fail(c, "HA_NOT_ENABLED", NULL);
    m->armed = false;
    return SIM_DONE;
}

/* ---- questions ---- */

static enum sim_outcome exists(struct sim_call *c)
{
    c->result = xapi_bool(plan_exists(c->pool, &(struct scope){0}, c->args[0].integer));
    return SIM_DONE;
}

static enum sim_outcome max_failures(struct sim_call *c)
{
    c->result = xapi_int((int64_t)most_failures(c->pool, &(struct scope){0}));
    sim_ha_update(c->pool);
    return SIM_DONE;
}

static enum sim_outcome hypothetical(struct sim_call *c)
{
    const struct xapi_value *const map = &c->args[0];

    for (size_t i = 0; i < map->count; i++) {
        const char *const priority = xapi_value_text(&map->items[2 * i + 1]), *const ref = map->items[2 * i].text;
        if (*priority && strcmp(priority, "restart") != 0 && strcmp(priority, "best-effort") != 0)
            return sim_fail(c, "INVALID_VALUE", "ha_restart_priority", priority, NULL);
        if (!sim_find(c->pool, ref, xapi_class_find("VM")))
            return sim_bad_handle(c, (uint16_t)xapi_class_index(xapi_class_find("VM")), ref);
    }
    c->result = xapi_int((int64_t)most_failures(c->pool, &(struct scope){.vms = map}));
    return SIM_DONE;
}

static enum sim_outcome failover_plan(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&c->arena);
    const struct xapi_value *const failed = &c->args[0], *const vms = &c->args[1];
    xk_autofree struct sim_move *moves = xk_array_alloc((size_t)vms->count + 1, sizeof(*moves));
    struct sim_object *hosts[SIMPOOL_HOSTS_MAX];
    size_t count = 0;
    struct sim_why why;

    if (!moves)
        return sim_no_memory(c);
    for (struct sim_object *host = sim_first(p, "host"); host && count < SIMPOOL_HOSTS_MAX; host = host->class_next)
        if (sim_host_is_live(p, host) && !xapi_list_has(failed, host->ref))
            hosts[count++] = host;
    for (size_t i = 0; i < vms->count; i++) {
        moves[i] = (struct sim_move){.vm = sim_find(p, xapi_value_text(&vms->items[i]), xapi_class_find("VM"))};
        if (!moves[i].vm)
            return sim_bad_handle(c, (uint16_t)xapi_class_index(xapi_class_find("VM")),
                                  xapi_value_text(&vms->items[i]));
    }
    (void)sim_plan(p, moves, vms->count, hosts, count);
    xapi_build_open(&b, XAPI_MAP);
    for (size_t i = 0; i < vms->count; i++) {
        xapi_build_text(&b, moves[i].vm->ref);
        xapi_build_open(&b, XAPI_MAP);
        xapi_build_value(&b, xapi_str(moves[i].to ? "host" : "error_code"));
        if (!moves[i].to)
            (void)sim_plan_why(p, &moves[i], hosts, count, &why);
        xapi_build_text(&b, moves[i].to ? moves[i].to->ref : why.code);
        xapi_build_close(&b);
    }
    xapi_build_close(&b);
    return xapi_build_end(&b, &c->result) < 0 ? sim_no_memory(c) : SIM_DONE;
}

static enum sim_outcome set_tolerance(struct sim_call *c)
{
    struct sim_object *const pool = sim_arg(c, 0);
    const int64_t n = c->args[1].integer;
    char text[24];

    if (!pool)
        return SIM_FAILED;
    snprintf(text, sizeof(text), "%lld", (long long)n);
    if (n < 0)
        return sim_fail(c, "INVALID_VALUE", "ha_host_failures_to_tolerate", text, NULL);
    if (sim_int(pool, "ha_plan_exists_for") > 0 && !sim_bool(pool, "ha_allow_overcommit") &&
        !plan_exists(c->pool, &(struct scope){0}, n))
        return sim_fail(c, "HA_OPERATION_WOULD_BREAK_FAILOVER_PLAN", NULL);
    sim_put_int(c->pool, pool, "ha_host_failures_to_tolerate", n);
    sim_ha_update(c->pool);
    return SIM_DONE;
}

static enum sim_outcome prevent_restarts(struct sim_call *c)
{
    if (!sim_bool(pool_of(c->pool), "ha_enabled"))
        return sim_fail(c, "HA_NOT_ENABLED", NULL);
    c->pool->ha_quiet_until_s = sim_now_s(c->pool) + c->args[0].integer;
    return SIM_DONE;
}

static enum sim_outcome recompute(struct sim_call *c)
{
    sim_ha_update(c->pool);
    return SIM_DONE;
}

static enum sim_outcome healthcheck(struct sim_call *c)
{
    c->result = xapi_bool(true); /* it is asked of an agent that answers */
    return SIM_DONE;
}

const struct sim_row sim_ha_rows[] = {
    {"pool.enable_ha", enable},
    {"pool.disable_ha", disable},
    {"pool.ha_failover_plan_exists", exists},
    {"pool.ha_compute_max_host_failures_to_tolerate", max_failures},
    {"pool.ha_compute_hypothetical_max_host_failures_to_tolerate", hypothetical},
    {"pool.ha_compute_vm_failover_plan", failover_plan},
    {"pool.set_ha_host_failures_to_tolerate", set_tolerance},
    {"pool.ha_prevent_restarts_for", prevent_restarts},
    {"pool.ha_schedule_plan_recomputation", recompute},
    {"host.emergency_ha_disable", emergency_disable},
    {"host.ha_xapi_healthcheck", healthcheck},
    {NULL, NULL},
};
