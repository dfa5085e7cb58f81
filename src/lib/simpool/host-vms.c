/*
 * Where VMs go when hosts are emptied, stop or fail.
 *
 * A plan takes the largest VM first and gives it the host with most room of those that it could run on. The real server
 * packs more cleverly when memory is short; nobody relies on which host it chooses.
 */
#include "lib/simpool/hosts.h"
#include "lib/simpool/ops.h"

#include <stdlib.h>

static int64_t memory_of(const struct sim_object *vm)
{
    return (sim_vm_is_live(vm) ? sim_int(vm, "memory_target") : sim_int(vm, "memory_dynamic_min")) +
           sim_vm_overhead(vm);
}

static int compare_memory(const void *left, const void *right)
{
    const struct sim_move *const a = left, *const b = right;
    const int64_t x = memory_of(a->vm), y = memory_of(b->vm);

    return x > y ? -1 : x < y;
}

size_t sim_plan(const struct simpool *p, struct sim_move *moves, size_t count, struct sim_object *const *hosts,
                size_t host_count)
{
    int64_t free_bytes[SIMPOOL_HOSTS_MAX];
    size_t placed = 0;

    for (size_t i = 0; i < host_count; i++)
        free_bytes[i] = sim_host_memory_free(p, hosts[i]);
    qsort(moves, count, sizeof(*moves), compare_memory);
    for (size_t i = 0; i < count; i++) {
        const int64_t bytes = memory_of(moves[i].vm);
        size_t best = host_count;
        for (size_t j = 0; j < host_count; j++)
            if (free_bytes[j] >= bytes && (best == host_count || free_bytes[j] > free_bytes[best]) &&
                sim_vm_can_boot(p, moves[i].vm, hosts[j], SIM_BOOT_ANY_MEMORY, NULL))
                best = j;
        moves[i].to = best < host_count ? hosts[best] : NULL;
        if (best < host_count) {
            free_bytes[best] -= bytes;
            placed++;
        }
    }
    return placed;
}

bool sim_plan_why(const struct simpool *p, const struct sim_move *move, struct sim_object *const *hosts,
                  size_t host_count, struct sim_why *why)
{
    if (host_count == 0)
        return sim_deny(why, "NO_HOSTS_AVAILABLE", move->vm->ref, NULL);
    for (size_t i = 0; i < host_count; i++)
        if (!sim_vm_can_boot(p, move->vm, hosts[i], SIM_BOOT_ANY_MEMORY, why))
            return false;
    return sim_deny(why, "HOST_NOT_ENOUGH_FREE_MEMORY", move->vm->ref, NULL);
}

size_t sim_targets(const struct simpool *p, const struct sim_object *without, struct sim_object **hosts)
{
    size_t count = 0;

    for (struct sim_object *host = sim_first(p, "host"); host && count < SIMPOOL_HOSTS_MAX; host = host->class_next)
        if (host != without && sim_bool(host, "enabled") && sim_host_is_live(p, host))
            hosts[count++] = host;
    return count;
}

size_t sim_residents(const struct simpool *p, const struct sim_object *host, struct sim_move **ret)
{
    struct sim_move *const moves = xk_array_alloc((size_t)sim_get(host, "resident_VMs")->count + 1, sizeof(*moves));
    struct sim_object *vm;
    size_t count = 0;

    for (size_t at = 0; moves && (vm = sim_member(p, host, "resident_VMs", &at));)
        if (!sim_bool(vm, "is_control_domain"))
            moves[count++] = (struct sim_move){.vm = vm};
    *ret = moves;
    return count;
}
