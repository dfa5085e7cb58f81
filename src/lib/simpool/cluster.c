/*
 * Clusters of hosts: their making and their end, with the checks of interfaces that come before.
 *
 * Facts: xapi_cluster.ml, xapi_cluster_host.ml, xapi_clustering.ml of xapi (2026-08).
 */
#include "lib/simpool/hosts.h"

#include "lib/simpool/pif.h"

#include <stdio.h>
#include <string.h>

static bool is_usable(struct sim_call *c, const struct sim_object *pif)
{
    if (!sim_bool(pif, "disallow_unplug"))
        (void)sim_fail(c, "PIF_ALLOWS_UNPLUG", pif->ref, NULL);
    else if (!sim_bool(pif, "currently_attached"))
        (void)sim_fail(c, "REQUIRED_PIF_IS_UNPLUGGED", pif->ref, NULL);
    else if (!*sim_pif_address(pif).s)
        (void)sim_fail(c, "PIF_HAS_NO_NETWORK_CONFIGURATION", pif->ref, NULL);
    else
        return true;
    return false;
}

static void count_hosts(struct simpool *p, struct sim_object *cluster)
{
    const int64_t count = sim_get(cluster, "cluster_hosts")->count;
    int64_t live = 0;

    for (size_t i = 0; i < (size_t)count; i++) {
        const struct sim_object *const o =
            sim_find(p, xapi_value_text(&sim_get(cluster, "cluster_hosts")->items[i]), NULL);
        live += o && sim_bool(o, "enabled");
    }
    sim_put_int(p, cluster, "expected_hosts", count);
    sim_put_int(p, cluster, "live_hosts", live);
    sim_put_int(p, cluster, "quorum", count / 2 + 1);
    sim_put_bool(p, cluster, "is_quorate", live >= count / 2 + 1);
}

static struct sim_object *member_create(struct simpool *p, struct sim_object *cluster, const struct sim_object *pif)
{
    struct sim_object *const o = sim_create(p, "Cluster_host");

    if (!o)
        return NULL;
    sim_put_text(p, o, "cluster", cluster->ref);
    sim_put_text(p, o, "host", sim_text(pif, "host"));
    sim_put_text(p, o, "PIF", pif->ref);
    sim_put_bool(p, o, "enabled", true);
    sim_put_bool(p, o, "joined", true);
    sim_put_bool(p, o, "live", true);
    sim_put_time(p, o, "last_update_live", sim_now_s(p));
    sim_put_list(p, o, "allowed_operations", (const char *const[]){"enable", "disable", "destroy", NULL});
    count_hosts(p, cluster);
    return o;
}

/* timeouts are arguments number `timeout` and the next. NULL: the error was recorded. */
static struct sim_object *cluster_create(struct sim_call *c, const struct sim_object *pif, unsigned stack,
                                         unsigned timeout)
{
    struct simpool *const p = c->pool;
    char token[SIM_REF_BYTES];

    if (strcmp(sim_arg_text(c, stack), "corosync") != 0) {
        (void)sim_fail(c, "INVALID_CLUSTER_STACK", sim_arg_text(c, stack), NULL);
        return NULL;
    }
    if (!(c->args[timeout].real >= 1) || !(c->args[timeout + 1].real >= 0.65)) {
        (void)sim_fail(c, "INVALID_VALUE", c->args[timeout].real >= 1 ? "token_timeout_coefficient" : "token_timeout",
                       "too small", NULL);
        return NULL;
    }
    if (sim_first(p, "Cluster")) {
        (void)sim_fail(c, "CLUSTER_ALREADY_EXISTS", NULL);
        return NULL;
    }
    if (!is_usable(c, pif))
        return NULL;
    struct sim_object *const o = sim_create(p, "Cluster");
    if (!o) {
        (void)sim_no_memory(c);
        return NULL;
    }
    sim_new_ref(p, token);
    sim_put_text(p, o, "cluster_token", token + strlen("OpaqueRef:"));
    sim_put_text(p, o, "cluster_stack", "corosync");
    sim_put_int(p, o, "cluster_stack_version", 3);
    sim_put(p, o, "token_timeout", c->args[timeout]);
    sim_put(p, o, "token_timeout_coefficient", c->args[timeout + 1]);
    sim_put_list(p, o, "allowed_operations",
                 (const char *const[]){"add", "remove", "enable", "disable", "destroy", NULL});
    return o;
}

static enum sim_outcome create(struct sim_call *c)
{
    const struct sim_object *const pif = sim_arg(c, 0);
    struct sim_object *const o = pif ? cluster_create(c, pif, 1, 3) : NULL;

    if (!o)
        return SIM_FAILED;
    sim_put(c->pool, o, "pool_auto_join", c->args[2]);
    if (!member_create(c->pool, o, pif))
        return sim_no_memory(c);
    c->result = xapi_str(o->ref);
    return SIM_DONE;
}

static enum sim_outcome pool_create(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    const struct sim_object *const network = sim_arg(c, 0);

    if (!network)
        return SIM_FAILED;
    for (const struct sim_object *host = sim_first(p, "host"); host; host = host->class_next) {
        const struct sim_object *const pif = sim_pif_on(p, network, host->ref);
        if (!pif)
            return sim_fail(c, "PIF_NOT_PRESENT", host->ref, network->ref, NULL);
        if (!sim_host_is_live(p, host))
            return sim_fail(c, "HOST_OFFLINE", host->ref, NULL);
        if (!is_usable(c, pif))
            return SIM_FAILED;
    }
    struct sim_object *const o =
        cluster_create(c, sim_pif_on(p, network, sim_text(sim_first(p, "pool"), "master")), 1, 2);
    if (!o)
        return SIM_FAILED;
    sim_put_bool(p, o, "pool_auto_join", true);
    for (const struct sim_object *host = sim_first(p, "host"); host; host = host->class_next)
        if (!member_create(p, o, sim_pif_on(p, network, host->ref)))
            return sim_no_memory(c);
    c->result = xapi_str(o->ref);
    return SIM_DONE;
}

static void dissolve(struct simpool *p, struct sim_object *cluster)
{
    for (struct sim_object *o = sim_first(p, "Cluster_host"), *next; o; o = next) {
        next = o->class_next;
        if (strcmp(sim_text(o, "cluster"), cluster->ref) == 0)
            sim_delete(p, o);
    }
    sim_delete(p, cluster);
}

static bool is_unused(struct sim_call *c)
{
    for (const struct sim_object *sr = sim_first(c->pool, "SR"); sr; sr = sr->class_next)
        if (strcmp(sim_text(sr, "type"), "gfs2") == 0) {
            (void)sim_fail(c, "CLUSTER_STACK_IN_USE", "corosync", NULL);
            return false;
        }
    return true;
}

static enum sim_outcome destroy(struct sim_call *c)
{
    struct sim_object *const o = sim_arg(c, 0);
    char text[24];

    if (!o || !is_unused(c))
        return SIM_FAILED;
    snprintf(text, sizeof(text), "%u", sim_get(o, "cluster_hosts")->count);
    if (sim_get(o, "cluster_hosts")->count > 1)
        return sim_fail(c, "CLUSTER_DOES_NOT_HAVE_ONE_NODE", text, NULL);
    dissolve(c->pool, o);
    return SIM_DONE;
}

static enum sim_outcome pool_destroy(struct sim_call *c)
{
    struct sim_object *const o = sim_arg(c, 0);

    if (!o || !is_unused(c))
        return SIM_FAILED;
    dissolve(c->pool, o);
    return SIM_DONE;
}

static enum sim_outcome network_of(struct sim_call *c)
{
    const struct sim_object *const o = sim_arg(c, 0);

    if (!o)
        return SIM_FAILED;
    const struct xapi_value *const members = sim_get(o, "cluster_hosts");
    const struct sim_object *const member =
        members->count ? sim_find(c->pool, xapi_value_text(&members->items[0]), NULL) : NULL;
    const struct sim_object *const pif = member ? sim_follow(c->pool, member, "PIF") : NULL;
    if (!pif)
        return sim_fail(c, "INTERNAL_ERROR", "No cluster_hosts found", NULL);
    c->result = *sim_get(pif, "network");
    return SIM_DONE;
}

/* Every host of the pool that is not a member becomes one. */
static enum sim_outcome resync(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const o = sim_arg(c, 0);

    if (!o || network_of(c) == SIM_FAILED)
        return SIM_FAILED;
    const struct sim_object *const network = sim_find(p, xapi_value_text(&c->result), NULL);
    c->result = xapi_nil();
    for (const struct sim_object *host = sim_first(p, "host"); host && network; host = host->class_next) {
        const struct sim_object *member = sim_first(p, "Cluster_host");
        while (member && strcmp(sim_text(member, "host"), host->ref) != 0)
            member = member->class_next;
        const struct sim_object *const pif = member ? NULL : sim_pif_on(p, network, host->ref);
        if (pif && (!is_usable(c, pif) || !member_create(p, o, pif)))
            return SIM_FAILED;
    }
    return SIM_DONE;
}

static enum sim_outcome member_add(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const cluster = sim_arg(c, 0);
    const struct sim_object *const host = cluster ? sim_arg(c, 1) : NULL, *const pif = host ? sim_arg(c, 2) : NULL;

    if (!pif)
        return SIM_FAILED;
    if (strcmp(sim_text(pif, "host"), host->ref) != 0)
        return sim_fail(c, "PIF_NOT_ATTACHED_TO_HOST", pif->ref, host->ref, NULL);
    for (const struct sim_object *o = sim_first(p, "Cluster_host"); o; o = o->class_next)
        if (strcmp(sim_text(o, "host"), host->ref) == 0)
            return sim_fail(c, "INTERNAL_ERROR", "Cluster host cannot be created because it already exists", NULL);
    if (!is_usable(c, pif))
        return SIM_FAILED;
    const struct sim_object *const o = member_create(p, cluster, pif);
    if (!o)
        return sim_no_memory(c);
    c->result = xapi_str(o->ref);
    return SIM_DONE;
}

static enum sim_outcome member_remove(struct sim_call *c)
{
    struct sim_object *const o = sim_arg(c, 0), *const cluster = o ? sim_follow(c->pool, o, "cluster") : NULL;

    if (!o || !is_unused(c))
        return SIM_FAILED;
    if (cluster && sim_get(cluster, "cluster_hosts")->count == 1)
        return sim_fail(c, "CLUSTER_HOST_IS_LAST", o->ref, NULL);
    sim_delete(c->pool, o);
    if (cluster)
        count_hosts(c->pool, cluster);
    return SIM_DONE;
}

static enum sim_outcome set_enabled(struct sim_call *c, bool on)
{
    struct sim_object *const o = sim_arg(c, 0), *const cluster = o ? sim_follow(c->pool, o, "cluster") : NULL;

    if (!o || (!on && !is_unused(c)))
        return SIM_FAILED;
    sim_put_bool(c->pool, o, "enabled", on);
    sim_put_bool(c->pool, o, "live", on);
    sim_put_time(c->pool, o, "last_update_live", sim_now_s(c->pool));
    if (cluster)
        count_hosts(c->pool, cluster);
    return SIM_DONE;
}

static enum sim_outcome enable(struct sim_call *c)
{
    return set_enabled(c, true);
}

static enum sim_outcome disable(struct sim_call *c)
{
    return set_enabled(c, false);
}

/* A member whose host is dead for good; the others have to know that first. */
static enum sim_outcome member_forget(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const o = sim_arg(c, 0), *const cluster = o ? sim_follow(p, o, "cluster") : NULL;
    const struct sim_object *const host = o ? sim_follow(p, o, "host") : NULL;

    if (!o)
        return SIM_FAILED;
    if (host && sim_host_is_live(p, host))
        return sim_fail(c, "CLUSTER_FORCE_DESTROY_FAILED", cluster ? cluster->ref : SIM_NULL, NULL);
    sim_delete(p, o);
    if (cluster) {
        sim_put_list(p, cluster, "pending_forget", (const char *const[]){NULL});
        count_hosts(p, cluster);
    }
    return SIM_DONE;
}

static enum sim_outcome stack_sync(struct sim_call *c)
{
    struct sim_object *const o = sim_arg(c, 0);

    if (!o)
        return SIM_FAILED;
    count_hosts(c->pool, o);
    return SIM_DONE;
}

const struct sim_row sim_cluster_rows[] = {
    {"Cluster.create", create},
    {"Cluster.pool_create", pool_create},
    {"Cluster.destroy", destroy},
    {"Cluster.pool_destroy", pool_destroy},
    {"Cluster.pool_force_destroy", pool_destroy},
    {"Cluster.get_network", network_of},
    {"Cluster.pool_resync", resync},
    {"Cluster.cstack_sync", stack_sync},
    {"Cluster_host.create", member_add},
    {"Cluster_host.forget", member_forget},
    {"Cluster_host.destroy", member_remove},
    {"Cluster_host.force_destroy", member_remove},
    {"Cluster_host.enable", enable},
    {"Cluster_host.disable", disable},
    {NULL, NULL},
};
