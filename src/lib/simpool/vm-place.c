/*
 * Where a machine can run: memory, storage, networks, processors and the host's own state.
 *
 * A host's free memory is a field of its metrics that starts and stops move, not a sum over its machines: choosing a
 * host costs the number of hosts however many machines there are.
 */
#include "lib/simpool/ops.h"

/* ---- memory ---- */

/* What Xen needs beside the machine's own memory: shadow pages and the machine's structures. */
int64_t sim_vm_overhead(const struct sim_object *vm)
{
    const int64_t mib = sim_int(vm, "memory_static_max") / SIM_MIB;
    const struct xapi_value *const multiplier = sim_get(vm, "HVM_shadow_multiplier");

    if (sim_is(vm, "domain_type", "pv"))
        return SIM_MIB;
    /* In pages of 4 KiB: 256 for each processor, one for a MiB of the map and one of its shadow. */
    const double pages = 256.0 * (double)sim_int(vm, "VCPUs_max") + 2.0 * (double)mib;
    const double shadow = pages / 256 * (multiplier->shape == XAPI_REAL ? multiplier->real : 1);
    if (!(shadow > 1) || shadow > 1e9)
        return (1 + 2) * SIM_MIB;
    const int64_t whole = (int64_t)shadow;
    return (whole + ((double)whole < shadow) + 2) * SIM_MIB;
}

int64_t sim_host_memory_free(const struct simpool *p, const struct sim_object *host)
{
    const struct sim_object *const metrics = sim_follow(p, host, "metrics");

    return metrics ? sim_int(metrics, "memory_free") : 0;
}

void sim_host_memory_take(struct simpool *p, const struct sim_object *host, int64_t bytes)
{
    struct sim_object *const metrics = sim_follow(p, host, "metrics");

    if (metrics)
        sim_put_int(p, metrics, "memory_free", sim_int(metrics, "memory_free") - bytes);
}

static bool has_memory(const struct simpool *p, const struct sim_object *vm, const struct sim_object *host,
                       struct sim_why *why)
{
    const int64_t needed = sim_int(vm, "memory_dynamic_min") + sim_vm_overhead(vm);
    const int64_t available = sim_host_memory_free(p, host);

    if (available >= needed)
        return true;
    if (why) {
        snprintf(why->text[0], SIM_WHY_BYTES, "%lld", (long long)needed);
        snprintf(why->text[1], SIM_WHY_BYTES, "%lld", (long long)available);
    }
    return sim_deny(why, "HOST_NOT_ENOUGH_FREE_MEMORY", why ? why->text[0] : "", why ? why->text[1] : "", NULL);
}

static bool has_sane_memory(const struct sim_object *vm, struct sim_why *why)
{
    const int64_t static_min = sim_int(vm, "memory_static_min"), static_max = sim_int(vm, "memory_static_max");
    const int64_t dynamic_min = sim_int(vm, "memory_dynamic_min"), dynamic_max = sim_int(vm, "memory_dynamic_max");

    /* The order that a start could still put right is not asked for. */
    if (static_min <= static_max && dynamic_min <= dynamic_max && static_max > 0)
        return true;
    return sim_deny(why, "MEMORY_CONSTRAINT_VIOLATION", "static_min <= static_max and dynamic_min <= dynamic_max",
                    NULL);
}

static bool has_sane_processors(const struct sim_object *vm, struct sim_why *why)
{
    const int64_t most = sim_int(vm, "VCPUs_max"), first = sim_int(vm, "VCPUs_at_startup");

    if (why)
        snprintf(why->text[0], SIM_WHY_BYTES, "%lld", (long long)(most < 1 ? most : first));
    const char *const text = why ? why->text[0] : "";
    if (most < 1)
        return sim_deny(why, "INVALID_VALUE", "VCPUs_max", text, NULL);
    if (first < 1)
        return sim_deny(why, "INVALID_VALUE", "VCPUs-at-startup", text, NULL);
    if (first > most)
        return sim_deny(why, "VALUE_NOT_SUPPORTED", "VCPUs-at-startup", text, "value greater than VCPUs-max", NULL);
    return true;
}

/* ---- storage and networks ---- */

bool sim_host_sees_sr(const struct simpool *p, const struct sim_object *host, const char *sr)
{
    const struct sim_object *pbd;

    for (size_t at = 0; (pbd = sim_member(p, host, "PBDs", &at));)
        if (sim_bool(pbd, "currently_attached") && sim_is(pbd, "SR", sr))
            return true;
    return false;
}

struct sim_object *sim_sr_pbd(const struct simpool *p, const struct sim_object *sr, struct sim_why *why)
{
    struct sim_object *pbd;

    for (size_t at = 0; (pbd = sim_member(p, sr, "PBDs", &at));)
        if (sim_bool(pbd, "currently_attached"))
            return pbd;
    (void)sim_deny(why, "SR_HAS_NO_PBDS", sr->ref, NULL);
    return NULL;
}

static bool sees_disks(const struct simpool *p, const struct sim_object *vm, const struct sim_object *host,
                       struct sim_why *why)
{
    const struct sim_object *vbd, *vdi;

    for (size_t at = 0; (vbd = sim_member(p, vm, "VBDs", &at));) {
        vdi = sim_bool(vbd, "empty") ? NULL : sim_follow(p, vbd, "VDI");
        if (vdi && !sim_host_sees_sr(p, host, sim_text(vdi, "SR")))
            return sim_deny(why, "VM_REQUIRES_SR", vm->ref, sim_text(vdi, "SR"), NULL);
    }
    vdi = sim_vm_power(vm) == SIM_IS_SUSPENDED ? sim_follow(p, vm, "suspend_VDI") : NULL;
    if (vdi && !sim_host_sees_sr(p, host, sim_text(vdi, "SR")))
        return sim_deny(why, "VM_REQUIRES_SR", vm->ref, sim_text(vdi, "SR"), NULL);
    return true;
}

/* A network without any interface is where the first of its running machines is. */
static bool sees_network(const struct simpool *p, const struct sim_object *network, const struct sim_object *host)
{
    const struct sim_object *other;
    bool elsewhere = false;

    for (size_t at = 0; (other = sim_member(p, network, "PIFs", &at));)
        if (sim_is(other, "host", host->ref))
            return true;
    if (sim_get(network, "PIFs")->count)
        return false;
    if (sim_pair_is_true(network, "other_config", "assume_network_is_shared") || !sim_bool(network, "managed"))
        return true;
    for (size_t at = 0; (other = sim_member(p, network, "VIFs", &at));) {
        const struct sim_object *const vm = sim_follow(p, other, "VM");
        if (!vm || sim_vm_power(vm) != SIM_IS_RUNNING)
            continue;
        if (sim_is(vm, "resident_on", host->ref))
            return true;
        elsewhere = true;
    }
    return !elsewhere;
}

static bool sees_networks(const struct simpool *p, const struct sim_object *vm, const struct sim_object *host,
                          struct sim_why *why)
{
    const struct sim_object *vif;

    for (size_t at = 0; (vif = sim_member(p, vm, "VIFs", &at));) {
        const struct sim_object *const network = sim_follow(p, vif, "network");
        if (network && !sees_network(p, network, host))
            return sim_deny(why, "VM_REQUIRES_NETWORK", vm->ref, network->ref, NULL);
    }
    return true;
}

/* ---- the host ---- */

static bool has_processors(const struct sim_object *vm, const struct sim_object *host, struct sim_why *why)
{
    const char *const count = sim_pair(host, "cpu_info", "cpu_count");
    int64_t pcpus;

    if (!count || xk_parse_i64(&pcpus, count) < 0 || sim_int(vm, "VCPUs_max") <= pcpus ||
        sim_pair_is_true(vm, "platform", "vcpu-unrestricted"))
        return true;
    if (why)
        snprintf(why->text[0], SIM_WHY_BYTES, "%lld", (long long)sim_int(vm, "VCPUs_max"));
    return sim_deny(why, "HOST_NOT_ENOUGH_PCPUS", why ? why->text[0] : "", count, NULL);
}

static bool is_ready(const struct simpool *p, const struct sim_object *vm, const struct sim_object *host,
                     struct sim_why *why)
{
    const struct sim_object *const metrics = sim_follow(p, host, "metrics");
    const bool control = sim_bool(vm, "is_control_domain");

    if (metrics && !sim_bool(metrics, "live"))
        return sim_deny(why, "HOST_NOT_LIVE", NULL);
    if (control && sim_follow(p, vm, "affinity") && !sim_is(vm, "affinity", host->ref))
        return sim_deny(why, "OPERATION_NOT_ALLOWED",
                        "Cannot boot a control domain on a host different from its affinity", NULL);
    const bool stays = sim_vm_power(vm) == SIM_IS_RUNNING && sim_is(vm, "resident_on", host->ref);
    if (!control && !stays && !sim_bool(host, "enabled"))
        return sim_deny(why, "HOST_DISABLED", host->ref, NULL);
    return true;
}

bool sim_vm_can_boot(const struct simpool *p, const struct sim_object *vm, const struct sim_object *host,
                     unsigned without, struct sim_why *why)
{
    if (!has_sane_processors(vm, why) || !has_sane_memory(vm, why) || !is_ready(p, vm, host, why))
        return false;
    if (!(without & SIM_BOOT_ANY_SR) && !sees_disks(p, vm, host, why))
        return false;
    if (!sees_networks(p, vm, host, why))
        return false;
    const bool stays = sim_vm_is_live(vm) && sim_is(vm, "resident_on", host->ref);
    if (!(without & SIM_BOOT_ANY_MEMORY) && !stays && !has_memory(p, vm, host, why))
        return false;
    return has_processors(vm, host, why);
}

/* How many machines of an anti-affinity group run there. */
static size_t group_count(const struct simpool *p, const struct sim_object *group, const struct sim_object *host)
{
    const struct sim_object *vm;
    size_t count = 0;

    for (size_t at = 0; group && (vm = sim_member(p, group, "VMs", &at));)
        count += sim_vm_power(vm) == SIM_IS_RUNNING && sim_is(vm, "resident_on", host->ref);
    return count;
}

static bool is_better(const struct simpool *p, const struct sim_object *group, const struct sim_object *a,
                      const struct sim_object *b)
{
    const size_t left = group_count(p, group, a), right = group_count(p, group, b);

    if (left != right)
        return left < right;
    return sim_host_memory_free(p, a) > sim_host_memory_free(p, b);
}

static struct sim_object *best_host(const struct simpool *p, const struct sim_object *vm, unsigned without)
{
    struct sim_object *const affinity = sim_follow(p, vm, "affinity"), *best = NULL;
    const struct sim_object *group;
    size_t at = 0;

    if (affinity && sim_vm_can_boot(p, vm, affinity, without, NULL))
        return affinity;
    while ((group = sim_member(p, vm, "groups", &at)) && !sim_is(group, "placement", "anti_affinity"))
        continue;
    for (struct sim_object *host = sim_first(p, "host"); host; host = host->class_next)
        if (sim_vm_can_boot(p, vm, host, without, NULL) && (!best || is_better(p, group, host, best)))
            best = host;
    return best;
}

struct sim_object *sim_vm_choose_host(const struct simpool *p, const struct sim_object *vm, struct sim_why *why)
{
    struct sim_object *host = best_host(p, vm, 0);

    if (host)
        return host;
    host = best_host(p, vm, SIM_BOOT_ANY_MEMORY);
    if (!host)
        (void)sim_deny(why, "NO_HOSTS_AVAILABLE", NULL);
    else if (has_memory(p, vm, host, why)) /* it was the only thing missing */
        return host;
    return NULL;
}
