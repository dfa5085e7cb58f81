/*
 * May this be done to a machine?
 *
 * What all checks look at is gathered once, then each of the fifty operations costs a few comparisons: an update of
 * allowed_operations asks for thirty of them. The order of the questions is the real server's (xapi,
 * xapi_vm_lifecycle.ml): clients see only the first error.
 */
#include "lib/simpool/ops.h"

#include <ctype.h>

enum { H = SIM_IS_HALTED, P = SIM_IS_PAUSED, R = SIM_IS_RUNNING, S = SIM_IS_SUSPENDED };

enum {
    OFFERED = 1,      /* appears in allowed_operations */
    TEMPLATE = 2,     /* also for templates */
    SNAPSHOT = 4,     /* also for snapshots */
    CONTROL = 8,      /* also for control domains */
    MOVES = 16,       /* the machine is taken out of its memory: suspend and its like */
    OWN_TEMPLATE = 32 /* for templates that did not come with the product */
};

struct operation {
    const char *name;
    const char *states; /* in the order in which VM_BAD_POWER_STATE names them */
    unsigned flags;
};

/* In the order of the enum vm_operations, which a test holds us to. */
static const struct operation operations[] = {
    {"snapshot", "HPSR", OFFERED},
    {"clone", "H", OFFERED | TEMPLATE | SNAPSHOT}, /* and S: see states_of() */
    {"copy", "H", OFFERED | TEMPLATE | SNAPSHOT},
    {"create_template", "HS", 0},
    {"revert", "HPSR", OFFERED | SNAPSHOT},
    {"checkpoint", "PSR", OFFERED | MOVES},
    {"snapshot_with_quiesce", "R", OFFERED},
    {"provision", "H", OFFERED | TEMPLATE},
    {"start", "H", OFFERED | CONTROL},
    {"start_on", "H", OFFERED | CONTROL},
    {"pause", "R", OFFERED},
    {"unpause", "P", OFFERED},
    {"clean_shutdown", "R", OFFERED},
    {"clean_reboot", "R", OFFERED},
    {"hard_shutdown", "PSR", OFFERED | SNAPSHOT},
    {"power_state_reset", "HPSR", 0},
    {"hard_reboot", "PR", OFFERED},
    {"suspend", "R", OFFERED | MOVES},
    {"csvm", "S", 0},
    {"resume", "S", OFFERED},
    {"resume_on", "S", OFFERED},
    {"pool_migrate", "R", OFFERED | MOVES},
    {"migrate_send", "HSR", OFFERED | OWN_TEMPLATE | MOVES},
    {"get_boot_record", "PSR", 0},
    {"send_sysrq", "R", 0},
    {"send_trigger", "R", 0},
    {"query_services", "HPSR", 0},
    {"shutdown", "PSR", 0},
    {"call_plugin", "R", 0},
    {"changing_memory_live", "R", CONTROL},
    {"awaiting_memory_live", "R", CONTROL},
    {"changing_dynamic_range", "HR", OFFERED | TEMPLATE | CONTROL},
    {"changing_static_range", "H", OFFERED | TEMPLATE | CONTROL},
    {"changing_memory_limits", "H", TEMPLATE | CONTROL},
    {"changing_shadow_memory", "H", OFFERED | TEMPLATE},
    {"changing_shadow_memory_live", "R", 0},
    {"changing_VCPUs", "H", TEMPLATE | CONTROL},
    {"changing_VCPUs_live", "R", OFFERED},
    {"changing_NVRAM", "H", OFFERED | TEMPLATE},
    {"assert_operation_valid", "HPSR", 0},
    {"data_source_op", "R", CONTROL},
    {"update_allowed_operations", "HPSR", 0},
    {"make_into_template", "H", OFFERED},
    {"import", "", 0},
    {"export", "HS", OFFERED | TEMPLATE | SNAPSHOT},
    {"metadata_export", "HPSR", OFFERED | TEMPLATE | SNAPSHOT | CONTROL},
    {"reverting", "HPSR", 0},
    {"destroy", "HS", OFFERED | SNAPSHOT | CONTROL | OWN_TEMPLATE},
    {"create_vtpm", "H", OFFERED},
    {"sysprep", "R", OFFERED},
};

/* What the answers depend on. */
struct facts {
    const struct simpool *pool;
    const struct sim_object *vm, *guest;
    const struct xapi_value *current, *blocked;
    enum sim_power power;
    bool template, default_template, snapshot, control, dom0;
    bool clones_suspended;
    bool implicit; /* a guest that does all it is asked to */
    bool immobile, nested;
    bool disk_resets, disk_resets_cached;
    const char *cannot_suspend; /* NULL: it can */
};

static const struct operation *operation_find(const char *name)
{
    for (size_t i = 0; i < XK_COUNT(operations); i++)
        if (sim_same(operations[i].name, name))
            return &operations[i];
    return NULL;
}

enum sim_power sim_vm_power(const struct sim_object *vm)
{
    const char *const state = sim_text(vm, "power_state");

    return sim_same(state, "Running")  ? SIM_IS_RUNNING
           : sim_same(state, "Halted") ? SIM_IS_HALTED
           : sim_same(state, "Paused") ? SIM_IS_PAUSED
                                       : SIM_IS_SUSPENDED;
}

bool sim_vm_is_live(const struct sim_object *vm)
{
    return (sim_vm_power(vm) & (SIM_IS_RUNNING | SIM_IS_PAUSED)) != 0;
}

bool sim_vm_is_dom0(const struct sim_object *vm)
{
    return sim_bool(vm, "is_control_domain") && sim_int(vm, "domid") == 0;
}

static const char *word_of(enum sim_power power)
{
    return power == SIM_IS_RUNNING  ? "running"
           : power == SIM_IS_HALTED ? "halted"
           : power == SIM_IS_PAUSED ? "paused"
                                    : "suspended";
}

const char *sim_vm_power_word(const struct sim_object *vm)
{
    return word_of(sim_vm_power(vm));
}

bool sim_vm_has_power(const struct sim_object *vm, unsigned states, const char *expected, struct sim_why *why)
{
    if (sim_vm_power(vm) & states)
        return true;
    return sim_deny(why, "VM_BAD_POWER_STATE", vm->ref, expected, sim_vm_power_word(vm), NULL);
}

static bool is_true(const struct sim_object *vm, const struct sim_object *metrics, const char *field, const char *key)
{
    return metrics ? sim_bool(metrics, field) : sim_pair_is_true(vm, "platform", key);
}

static void look_at_guest(struct facts *f)
{
    const struct sim_object *const metrics = sim_follow(f->pool, f->vm, "metrics");
    const struct sim_object *const guest = sim_follow(f->pool, f->vm, "guest_metrics");
    const char *const type = metrics ? sim_text(metrics, "current_domain_type") : "unspecified";
    const bool live = sim_vm_is_live(f->vm);

    f->guest = guest;
    f->implicit =
        !live || (!sim_same(type, "hvm") && !sim_same(type, "unspecified")) ||
        (guest && sim_pair(guest, "PV_drivers_version", "major") && sim_pair(guest, "PV_drivers_version", "minor"));
    f->cannot_suspend = guest && live ? sim_pair(guest, "other", "data-cant-suspend-reason") : NULL;
    f->nested = is_true(f->vm, metrics, "nested_virt", "nested-virt");
    f->immobile = f->nested || is_true(f->vm, metrics, "nomigrate", "nomigrate");
}

static void look_at_disks(struct facts *f)
{
    const struct sim_object *vbd;

    for (size_t at = 0; (vbd = sim_member(f->pool, f->vm, "VBDs", &at));) {
        const struct sim_object *const vdi = sim_follow(f->pool, vbd, "VDI");
        const char *const on_boot = vdi ? sim_pair(vdi, "sm_config", "on_boot") : NULL;
        if (!on_boot || !sim_same(on_boot, "reset"))
            continue;
        f->disk_resets = true;
        f->disk_resets_cached |= sim_pair_is_true(vdi, "sm_config", "caching");
    }
}

static struct facts facts_of(const struct simpool *p, const struct sim_object *vm)
{
    struct facts f = {.pool = p,
                      .vm = vm,
                      .current = sim_get(vm, "current_operations"),
                      .blocked = sim_get(vm, "blocked_operations"),
                      .power = sim_vm_power(vm),
                      .template = sim_bool(vm, "is_a_template"),
                      .snapshot = sim_bool(vm, "is_a_snapshot"),
                      .control = sim_bool(vm, "is_control_domain"),
                      .dom0 = sim_vm_is_dom0(vm)};
    const struct sim_object *const pool = sim_pool_object(p);

    f.default_template =
        sim_bool(vm, "is_default_template") || sim_pair_is_true(vm, "other_config", "default_template");
    f.clones_suspended = f.snapshot || (pool && sim_pair_is_true(pool, "other_config", "allow_clone_suspended_vm"));
    look_at_guest(&f);
    look_at_disks(&f);
    return f;
}

/* ---- power ---- */

static const char *states_of(const struct facts *f, const struct operation *op)
{
    if (f->clones_suspended && (sim_same(op->name, "clone") || sim_same(op->name, "copy")))
        return "HS";
    if (f->control && (sim_same(op->name, "changing_VCPUs") || sim_same(op->name, "changing_static_range") ||
                       sim_same(op->name, "changing_memory_limits")))
        return "HR";
    return op->states;
}

static enum sim_power power_of(char letter)
{
    return letter == 'H'   ? SIM_IS_HALTED
           : letter == 'P' ? SIM_IS_PAUSED
           : letter == 'R' ? SIM_IS_RUNNING
                           : SIM_IS_SUSPENDED;
}

static bool fits_power(const struct facts *f, const struct operation *op, struct sim_why *why)
{
    const char *const states = states_of(f, op);
    size_t len = 0;

    for (const char *at = states; *at; at++)
        if (power_of(*at) == f->power)
            return true;
    if (!why)
        return false;
    why->text[0][0] = '\0';
    for (const char *at = states; *at; at++)
        len += (size_t)snprintf(why->text[0] + len, SIM_WHY_BYTES - len, "%s%s", at > states ? ", " : "",
                                word_of(power_of(*at)));
    return sim_deny(why, "VM_BAD_POWER_STATE", f->vm->ref, why->text[0], word_of(f->power), NULL);
}

/* ---- what else goes on ---- */

static const char *current(const struct facts *f, size_t i)
{
    return xapi_value_text(&f->current->items[2 * i + 1]);
}

static bool all_are(const struct facts *f, const char *op, const char *const *group)
{
    bool in = false;

    for (const char *const *g = group; *g; g++)
        in |= sim_same(*g, op);
    for (size_t i = 0; i < f->current->count && in; i++) {
        bool found = false;
        for (const char *const *g = group; *g; g++)
            found |= sim_same(*g, current(f, i));
        in = found;
    }
    return in;
}

static bool fits_others(const struct facts *f, const char *op)
{
    static const char *const copies[] = {"clone", "copy", "export", NULL}, *const records[] = {"get_boot_record", NULL},
                             *const snapshots[] = {"snapshot", "checkpoint", NULL};
    static const char *const moving[] = {"metadata_export", "clean_shutdown", "clean_reboot"};

    if (all_are(f, op, copies) || all_are(f, op, snapshots) || all_are(f, op, records))
        return true;
    const bool harder = sim_same(op, "hard_reboot");
    if (harder || sim_same(op, "hard_shutdown")) { /* ends what goes on, unless that is as hard */
        for (size_t i = 0; i < f->current->count; i++)
            if (sim_same(current(f, i), "hard_shutdown") ? true : harder && sim_same(current(f, i), "hard_reboot"))
                return false;
        return true;
    }
    for (size_t i = 0; i < XK_COUNT(moving) && f->current->count == 1; i++)
        if (sim_same(current(f, 0), "migrate_send") && sim_same(op, moving[i]))
            return true;
    return false;
}

static bool deny_busy(const struct facts *f, struct sim_why *why)
{
    size_t refs = 1, words = 1;

    if (!why || f->current->count == 1)
        return sim_deny_busy(why, f->vm, 0);
    strcpy(why->text[0], "{");
    strcpy(why->text[1], "{");
    for (size_t i = 0; i < f->current->count; i++) {
        const char *const end = i + 1 < f->current->count ? "," : "}";
        refs += (size_t)snprintf(why->text[0] + refs, SIM_WHY_BYTES - refs, "%s%s",
                                 xapi_value_text(&f->current->items[2 * i]), end);
        words += (size_t)snprintf(why->text[1] + words, SIM_WHY_BYTES - words, "%s%s", current(f, i), end);
        if (refs >= SIM_WHY_BYTES || words >= SIM_WHY_BYTES)
            break;
    }
    return sim_deny(why, "OTHER_OPERATION_IN_PROGRESS", "VM", f->vm->ref, why->text[1], why->text[0], NULL);
}

/* ---- what it is ---- */

static bool fits_kind(const struct facts *f, const struct operation *op, struct sim_why *why)
{
    const char *const ref = f->vm->ref;

    if (f->template && !f->snapshot && !(op->flags & TEMPLATE) && !(op->flags & OWN_TEMPLATE && !f->default_template))
        return sim_deny(why, "VM_IS_TEMPLATE", ref, NULL); /* documented with one parameter; xapi adds the operation */
    if (f->snapshot && !(op->flags & SNAPSHOT))
        return sim_deny(why, "VM_IS_SNAPSHOT", ref, op->name, NULL);
    if (!f->template && sim_same(op->name, "provision"))
        return sim_deny(why, "PROVISION_ONLY_ALLOWED_ON_TEMPLATE", NULL);
    if (!f->snapshot && sim_same(op->name, "revert"))
        return sim_deny(why, "REVERT_ONLY_ALLOWED_ON_SNAPSHOT", NULL);
    return true;
}

static bool fits_control(const struct facts *f, const struct operation *op, struct sim_why *why)
{
    if (f->dom0 && (sim_same(op->name, "changing_VCPUs") || sim_same(op->name, "destroy")))
        return sim_deny(why, "OPERATION_NOT_ALLOWED", "This operation is not allowed on dom0", NULL);
    if (f->control && !(op->flags & CONTROL))
        return sim_deny(why, "OPERATION_NOT_ALLOWED", "This operation is not allowed on a control domain", NULL);
    return true;
}

static bool has_feature(const struct facts *f, const char *feature)
{
    const char *const text = f->guest ? sim_pair(f->guest, "other", feature) : NULL;

    return text && sim_same(text, "1");
}

/* Does the guest take part? */
static bool fits_guest(const struct facts *f, const struct operation *op, bool strict, struct sim_why *why)
{
    const char *const ref = f->vm->ref;

    if (op->flags & MOVES && sim_vm_is_live(f->vm)) {
        if (f->cannot_suspend)
            return sim_deny(why, "VM_NON_SUSPENDABLE", ref, f->cannot_suspend, NULL);
        if (!f->implicit && strict && !has_feature(f, "feature-suspend"))
            return sim_deny(why, "VM_LACKS_FEATURE", ref, NULL);
        return true;
    }
    if (f->implicit)
        return true;
    const bool shutdown = has_feature(f, "feature-shutdown");
    if ((sim_same(op->name, "clean_shutdown") && strict && !shutdown && !has_feature(f, "feature-poweroff")) ||
        (sim_same(op->name, "clean_reboot") && strict && !shutdown && !has_feature(f, "feature-reboot")) ||
        (sim_same(op->name, "changing_VCPUs_live") && !has_feature(f, "feature-vcpu-hotplug")))
        return sim_deny(why, "VM_LACKS_FEATURE", ref, NULL);
    return true;
}

static bool fits_disks(const struct facts *f, const struct operation *op, struct sim_why *why)
{
    const char *const name = op->name;
    const bool saves = sim_same(name, "checkpoint") || sim_same(name, "snapshot") || sim_same(name, "suspend");

    if ((saves && f->disk_resets) || (sim_same(name, "pool_migrate") && f->disk_resets_cached))
        return sim_deny(why, "VDI_ON_BOOT_MODE_INCOMPATIBLE_WITH_OPERATION", NULL);
    return true;
}

/* A virtual GPU of the simulated hosts never knows how to be saved. */
static bool fits_devices(const struct facts *f, const struct operation *op, struct sim_why *why)
{
    const struct sim_object *const vm = f->vm;
    const bool moves = op->flags & MOVES;

    if (moves && sim_get(vm, "attached_PCIs")->count)
        return sim_deny(why, "VM_HAS_PCI_ATTACHED", vm->ref, NULL);
    if (moves && sim_get(vm, "VGPUs")->count && !(sim_same(op->name, "migrate_send") && f->power == SIM_IS_HALTED) &&
        !(sim_same(op->name, "checkpoint") && f->power == SIM_IS_SUSPENDED))
        return sim_deny(why, "VM_HAS_VGPU", vm->ref, NULL);
    if ((moves || sim_same(op->name, "snapshot")) && sim_get(vm, "VUSBs")->count)
        return sim_deny(why, "VM_HAS_VUSBS", vm->ref, NULL);
    return true;
}

static bool fits_groups(const struct facts *f, const struct operation *op, struct sim_why *why)
{
    const struct sim_object *const vm = f->vm;

    if (sim_same(op->name, "make_into_template")) {
        if (sim_follow(f->pool, vm, "appliance"))
            return sim_deny(why, "VM_IS_PART_OF_AN_APPLIANCE", vm->ref, sim_text(vm, "appliance"), NULL);
        if (sim_follow(f->pool, vm, "snapshot_schedule"))
            return sim_deny(why, "VM_ASSIGNED_TO_SNAPSHOT_SCHEDULE", vm->ref, sim_text(vm, "snapshot_schedule"), NULL);
    }
    if (sim_same(op->name, "query_services") && !sim_pair_is_true(vm, "other_config", "is_system_domain"))
        return sim_deny(why, "NOT_SYSTEM_DOMAIN", vm->ref, NULL);
    const unsigned vtpms = sim_get(vm, "VTPMs")->count;
    if (sim_same(op->name, "create_vtpm") && vtpms) {
        if (why)
            snprintf(why->text[0], SIM_WHY_BYTES, "%u", vtpms);
        return sim_deny(why, "VTPM_MAX_AMOUNT_REACHED", why ? why->text[0] : "", NULL);
    }
    return true;
}

static bool may(const struct facts *f, const struct operation *op, bool strict, struct sim_why *why)
{
    const struct xapi_value *const blocked = f->blocked->count ? xapi_map_get(f->blocked, op->name) : NULL;

    if (blocked)
        return sim_deny(why, "OPERATION_BLOCKED", f->vm->ref, xapi_value_text(blocked), NULL);
    if (!fits_power(f, op, why))
        return false;
    if (f->current->count && !fits_others(f, op->name))
        return deny_busy(f, why);
    if (!fits_kind(f, op, why))
        return false;
    if (op->flags & MOVES && f->immobile && strict)
        return sim_deny(why, "VM_IS_IMMOBILE", f->vm->ref, NULL);
    if (sim_same(op->name, "changing_dynamic_range") && f->nested && strict)
        return sim_deny(why, "VM_IS_USING_NESTED_VIRT", f->vm->ref, NULL);
    if (!fits_control(f, op, why) || !fits_guest(f, op, strict, why))
        return false;
    if (sim_same(op->name, "snapshot_with_quiesce"))
        return sim_deny(why, "VM_SNAPSHOT_WITH_QUIESCE_NOT_SUPPORTED", f->vm->ref, "", NULL);
    return fits_disks(f, op, why) && fits_devices(f, op, why) && fits_groups(f, op, why);
}

bool sim_vm_may(const struct simpool *p, const struct sim_object *vm, const char *op, bool strict, struct sim_why *why)
{
    const struct facts f = facts_of(p, vm);

    return may(&f, operation_find(op), strict, why);
}

struct sim_object *sim_vm_asked(struct sim_call *c, const char *op)
{
    struct sim_object *const vm = sim_arg(c, 0);
    struct sim_why why;

    if (!vm)
        return NULL;
    if (sim_vm_may(c->pool, vm, op, true, &why))
        return vm;
    (void)sim_refuse(c, &why);
    return NULL;
}

void sim_vm_allowed_only(struct simpool *p, struct sim_object *vm)
{
    const struct facts f = facts_of(p, vm);
    uint64_t mask = 0;

    for (size_t i = 0; i < XK_COUNT(operations); i++)
        if (operations[i].flags & OFFERED && may(&f, &operations[i], true, NULL))
            mask |= UINT64_C(1) << i;
    sim_put_allowed(p, vm, mask);
}
