/*
 * What a machine takes of its host: processors and memory.
 */
#include "lib/simpool/ops.h"

/* ---- processors ---- */

static const char vcpu_rule[] = "VCPU values must satisfy: 0 < VCPUs_at_startup \xe2\x89\xa4 VCPUs_max";

static void overhead_update(struct simpool *p, struct sim_object *vm)
{
    if (!sim_vm_is_live(vm)) /* a running one's is part of what it took of its host */
        sim_put_int(p, vm, "memory_overhead", sim_vm_overhead(vm));
}

static enum sim_outcome set_vcpus_max(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const vm = sim_vm_asked(c, "changing_VCPUs");

    if (!vm)
        return SIM_FAILED;
    const int64_t value = c->args[1].integer;
    if (value < 1 || value < sim_int(vm, "VCPUs_at_startup"))
        return sim_invalid_int(c, vcpu_rule, value);
    sim_put_int(p, vm, "VCPUs_max", value);
    overhead_update(p, vm);
    if (sim_bool(vm, "is_control_domain") && sim_vm_power(vm) == SIM_IS_RUNNING)
        sim_put_bool(p, vm, "requires_reboot", true);
    return SIM_DONE;
}

static enum sim_outcome set_vcpus_at_startup(struct sim_call *c)
{
    struct sim_object *const vm = sim_arg(c, 0);

    if (!vm)
        return SIM_FAILED;
    if (sim_vm_is_dom0(vm))
        return sim_fail(c, "OPERATION_NOT_ALLOWED", "set_VCPUs_at_startup is not allowed on dom0", NULL);
    const int64_t value = c->args[1].integer;
    if (value < 1 || value > sim_int(vm, "VCPUs_max"))
        return sim_invalid_int(c, vcpu_rule, value);
    sim_put_int(c->pool, vm, "VCPUs_at_startup", value);
    return SIM_DONE;
}

static enum sim_outcome set_vcpus_number_live(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const vm = sim_vm_asked(c, "changing_VCPUs_live");
    struct sim_object *const metrics = vm ? sim_follow(p, vm, "metrics") : NULL;

    if (!vm)
        return SIM_FAILED;
    const int64_t value = c->args[1].integer;
    if (value < 1 || value > sim_int(vm, "VCPUs_max"))
        return sim_fail(c, "INTERNAL_ERROR", "the number of processors has to be between 1 and VCPUs_max", NULL);
    if (metrics)
        sim_put_int(p, metrics, "VCPUs_number", value);
    sim_put_int(p, vm, "VCPUs_at_startup", value);
    return SIM_DONE;
}

/* Asked about as everything, then not there; the real server's own answer. */
/* ---- memory ---- */

struct limits {
    int64_t static_min, dynamic_min, dynamic_max, static_max;
};

static struct limits limits_of(const struct sim_object *vm)
{
    return (struct limits){.static_min = sim_int(vm, "memory_static_min"),
                           .dynamic_min = sim_int(vm, "memory_dynamic_min"),
                           .dynamic_max = sim_int(vm, "memory_dynamic_max"),
                           .static_max = sim_int(vm, "memory_static_max")};
}

static bool limits_fit(const struct sim_object *vm, const struct limits *l, struct sim_why *why)
{
    const bool control = sim_bool(vm, "is_control_domain");
    const bool nested = sim_pair_is_true(vm, "platform", "nested-virt");

    if (control || nested) {
        if (l->static_min <= l->dynamic_min && l->dynamic_min == l->dynamic_max && l->dynamic_max == l->static_max)
            return true;
        return sim_deny(why, "MEMORY_CONSTRAINT_VIOLATION_MAXPIN", control ? "control domain" : "nested virt", NULL);
    }
    if (l->static_min <= l->dynamic_min && l->dynamic_min <= l->dynamic_max && l->dynamic_max <= l->static_max)
        return true;
    return sim_deny(why, "MEMORY_CONSTRAINT_VIOLATION_ORDER", NULL);
}

static enum sim_outcome limits_set(struct sim_call *c, struct sim_object *vm, const struct limits *l)
{
    struct simpool *const p = c->pool;
    struct sim_why why;

    if (!limits_fit(vm, l, &why))
        return sim_refuse(c, &why);
    sim_put_int(p, vm, "memory_static_min", l->static_min);
    sim_put_int(p, vm, "memory_static_max", l->static_max);
    sim_put_int(p, vm, "memory_dynamic_min", l->dynamic_min);
    sim_put_int(p, vm, "memory_dynamic_max", l->dynamic_max);
    if (!sim_vm_is_live(vm))
        sim_put_int(p, vm, "memory_target", l->dynamic_min);
    overhead_update(p, vm);
    if (sim_bool(vm, "is_control_domain") && sim_vm_power(vm) == SIM_IS_RUNNING)
        sim_put_bool(p, vm, "requires_reboot", true);
    return SIM_DONE;
}

static enum sim_outcome set_static(struct sim_call *c, bool min, bool max)
{
    struct sim_object *const vm = sim_vm_asked(c, "changing_static_range");
    struct limits l = vm ? limits_of(vm) : (struct limits){0};

    if (!vm)
        return SIM_FAILED;
    if (min)
        l.static_min = c->args[1].integer;
    if (max)
        l.static_max = c->args[min ? 2 : 1].integer;
    return limits_set(c, vm, &l);
}

static enum sim_outcome set_static_min(struct sim_call *c)
{
    return set_static(c, true, false);
}

static enum sim_outcome set_static_max(struct sim_call *c)
{
    return set_static(c, false, true);
}

static enum sim_outcome set_static_range(struct sim_call *c)
{
    return set_static(c, true, true);
}

/* A running machine's balloon follows at once, as far as its host has memory. */
static bool balloon(struct simpool *p, struct sim_object *vm, const struct limits *l, struct sim_why *why)
{
    const struct sim_object *const host = sim_follow(p, vm, "resident_on");
    struct sim_object *const metrics = sim_follow(p, vm, "metrics");
    const int64_t now = sim_int(vm, "memory_target");

    if (!host)
        return true;
    const int64_t available = sim_host_memory_free(p, host);
    if (l->dynamic_min - now > available) {
        if (why) {
            snprintf(why->text[0], SIM_WHY_BYTES, "%lld", (long long)((l->dynamic_min - now) / 1024));
            snprintf(why->text[1], SIM_WHY_BYTES, "%lld", (long long)(available / 1024));
        }
        return sim_deny(why, "HOST_NOT_ENOUGH_FREE_MEMORY", why ? why->text[0] : "", why ? why->text[1] : "", NULL);
    }
    const int64_t then = XK_MAX(XK_MIN(l->dynamic_max, now + available), l->dynamic_min);
    sim_host_memory_take(p, host, then - now);
    sim_put_int(p, vm, "memory_target", then);
    if (metrics)
        sim_put_int(p, metrics, "memory_actual", then);
    return true;
}

static enum sim_outcome set_dynamic(struct sim_call *c, bool min, bool max)
{
    struct simpool *const p = c->pool;
    struct sim_object *const vm = sim_vm_asked(c, "changing_dynamic_range");
    struct limits l = vm ? limits_of(vm) : (struct limits){0};
    struct sim_why why;

    if (!vm)
        return SIM_FAILED;
    if (min)
        l.dynamic_min = c->args[1].integer;
    if (max)
        l.dynamic_max = c->args[min ? 2 : 1].integer;
    if (!limits_fit(vm, &l, &why) ||
        (sim_vm_power(vm) == SIM_IS_RUNNING && !sim_bool(vm, "is_control_domain") && !balloon(p, vm, &l, &why)))
        return sim_refuse(c, &why);
    sim_put_int(p, vm, "memory_dynamic_min", l.dynamic_min);
    sim_put_int(p, vm, "memory_dynamic_max", l.dynamic_max);
    if (!sim_vm_is_live(vm))
        sim_put_int(p, vm, "memory_target", l.dynamic_min);
    return SIM_DONE;
}

static enum sim_outcome set_dynamic_min(struct sim_call *c)
{
    return set_dynamic(c, true, false);
}

static enum sim_outcome set_dynamic_max(struct sim_call *c)
{
    return set_dynamic(c, false, true);
}

static enum sim_outcome set_dynamic_range(struct sim_call *c)
{
    return set_dynamic(c, true, true);
}

static enum sim_outcome set_limits(struct sim_call *c)
{
    struct sim_object *const vm = sim_vm_asked(c, "changing_memory_limits");

    if (!vm)
        return SIM_FAILED;
    return limits_set(c, vm,
                      &(struct limits){.static_min = c->args[1].integer,
                                       .static_max = c->args[2].integer,
                                       .dynamic_min = c->args[3].integer,
                                       .dynamic_max = c->args[4].integer});
}

static enum sim_outcome set_memory(struct sim_call *c)
{
    struct sim_object *const vm = sim_vm_asked(c, "changing_memory_limits");

    if (!vm)
        return SIM_FAILED;
    const int64_t value = c->args[1].integer;
    return limits_set(c, vm,
                      &(struct limits){.static_min = sim_int(vm, "memory_static_min"),
                                       .static_max = value,
                                       .dynamic_min = value,
                                       .dynamic_max = value});
}

/* Balloons follow at once: the target is there already. */
static enum sim_outcome wait_memory_target_live(struct sim_call *c)
{
    return sim_vm_asked(c, "awaiting_memory_live") ? SIM_DONE : SIM_FAILED;
}

/* Does nothing on the real server either since set_memory_dynamic_range is there. */
static enum sim_outcome set_memory_target_live(struct sim_call *c)
{
    return sim_vm_asked(c, "changing_memory_live") ? SIM_DONE : SIM_FAILED;
}

static enum sim_outcome shadow_set(struct sim_call *c, struct sim_object *vm)
{
    const double value = c->args[1].real;
    char text[48];

    if (!(value >= 1)) {
        snprintf(text, sizeof(text), "%.12g%s", value, value == (double)(int64_t)value ? "." : "");
        return sim_invalid(c, "multiplier", text);
    }
    sim_put_real(c->pool, vm, "HVM_shadow_multiplier", value);
    overhead_update(c->pool, vm);
    return SIM_DONE;
}

static enum sim_outcome set_shadow_multiplier(struct sim_call *c)
{
    struct sim_object *const vm = sim_vm_asked(c, "changing_shadow_memory");

    return vm ? shadow_set(c, vm) : SIM_FAILED;
}

static enum sim_outcome set_shadow_multiplier_live(struct sim_call *c)
{
    struct sim_object *const vm = sim_vm_asked(c, "changing_shadow_memory_live");

    return vm ? shadow_set(c, vm) : SIM_FAILED;
}

const struct sim_row sim_vm_size_rows[] = {
    {"VM.set_VCPUs_max", set_vcpus_max},
    {"VM.set_VCPUs_at_startup", set_vcpus_at_startup},
    {"VM.set_VCPUs_number_live", set_vcpus_number_live},
    {"VM.set_memory_static_min", set_static_min},
    {"VM.set_memory_static_max", set_static_max},
    {"VM.set_memory_static_range", set_static_range},
    {"VM.set_memory_dynamic_min", set_dynamic_min},
    {"VM.set_memory_dynamic_max", set_dynamic_max},
    {"VM.set_memory_dynamic_range", set_dynamic_range},
    {"VM.set_memory_limits", set_limits},
    {"VM.set_memory", set_memory},
    {"VM.set_memory_target_live", set_memory_target_live},
    {"VM.wait_memory_target_live", wait_memory_target_live},
    {"VM.set_HVM_shadow_multiplier", set_shadow_multiplier},
    {"VM.set_shadow_multiplier_live", set_shadow_multiplier_live},
    {NULL, NULL},
};
