/*
 * Machines in groups: appliances that start and stop together, schedules that make snapshots of their machines,
 * placement groups.
 */
#include "lib/simpool/ops.h"

#define OPERATION_NS (XK_NS_PER_S * 8 / 10)
#define MACHINES_MAX 4096 /* of one appliance that are looked at */

/* ---- appliances ---- */

/* In the order of the enum vm_appliance_operation. */
static const struct {
    const char *name, *error;
    unsigned states; /* one machine in such a state is needed */
} operations[] = {
    {"start", "There are no halted VMs in this appliance.", SIM_IS_HALTED},
    {"clean_shutdown", "There are no running VMs in this appliance.", SIM_IS_RUNNING},
    {"hard_shutdown", "All VMs in this appliance are halted.", SIM_IS_PAUSED | SIM_IS_RUNNING | SIM_IS_SUSPENDED},
    {"shutdown", "All VMs in this appliance are halted.", SIM_IS_PAUSED | SIM_IS_RUNNING | SIM_IS_SUSPENDED},
};

static bool may(const struct simpool *p, const struct sim_object *appliance, size_t op, struct sim_why *why)
{
    const struct sim_object *vm;
    size_t at = 0;

    if (sim_get(appliance, "current_operations")->count)
        return sim_deny_busy(why, appliance, 0);
    if (!sim_member(p, appliance, "VMs", &at))
        return sim_deny(why, "OPERATION_NOT_ALLOWED", "Appliance has no VMs.", NULL);
    for (at = 0; (vm = sim_member(p, appliance, "VMs", &at));)
        if (sim_vm_power(vm) & operations[op].states)
            return true;
    return sim_deny(why, "OPERATION_NOT_ALLOWED", operations[op].error, NULL);
}

void sim_appliance_allowed(struct simpool *p, struct sim_object *appliance)
{
    uint64_t mask = 0;

    for (size_t i = 0; i < XK_COUNT(operations); i++)
        if (may(p, appliance, i, NULL))
            mask |= UINT64_C(1) << i;
    sim_put_allowed(p, appliance, mask);
}

static int by_order(const void *left, const void *right)
{
    const int64_t a = sim_int(*(struct sim_object *const *)left, "order");
    const int64_t b = sim_int(*(struct sim_object *const *)right, "order");

    return a < b ? -1 : a > b;
}

/* What is done to one machine. returns whether it is then as it should be. */
static bool apply(struct sim_call *c, struct sim_object *vm, const char *op)
{
    struct simpool *const p = c->pool;

    if (sim_same(op, "start")) {
        const char *const wanted = c->args[1].truth ? "Paused" : "Running";
        if (sim_vm_may(p, vm, "start", true, NULL))
            (void)sim_vm_run(p, vm, NULL, c->args[1].truth, NULL);
        return sim_is(vm, "power_state", wanted);
    }
    const bool hard = sim_same(op, "hard_shutdown"), any = sim_same(op, "shutdown");
    if ((!hard && sim_vm_may(p, vm, "clean_shutdown", true, NULL)) ||
        ((hard || any) && sim_vm_may(p, vm, "hard_shutdown", true, NULL)))
        sim_vm_halt(p, vm);
    return sim_vm_power(vm) == SIM_IS_HALTED;
}

static enum sim_outcome partly(struct sim_call *c, struct sim_object *const *failed, size_t count)
{
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&c->arena);
    char name[64];

    snprintf(name, sizeof(name), "VM_appliance.%s", c->operation);
    xapi_build_open(&b, XAPI_LIST);
    xapi_build_text(&b, "OPERATION_PARTIALLY_FAILED");
    xapi_build_text(&b, name);
    for (size_t i = 0; i < count; i++)
        xapi_build_text(&b, failed[i]->ref);
    xapi_build_close(&b);
    return xapi_build_end(&b, &c->error) < 0 ? sim_no_memory(c) : SIM_FAILED;
}

static enum sim_outcome operate_end(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const appliance = sim_arg(c, 0);
    struct sim_object **const vms = xk_arena_alloc(&c->arena, MACHINES_MAX * sizeof(struct sim_object *)), *vm;
    const bool start = sim_same(c->operation, "start");
    size_t count = 0, failed = 0;

    if (!appliance)
        return SIM_FAILED;
    if (!vms)
        return sim_no_memory(c);
    for (size_t at = 0; count < MACHINES_MAX && (vm = sim_member(p, appliance, "VMs", &at));)
        vms[count++] = vm;
    qsort(vms, count, sizeof(struct sim_object *), by_order);
    for (size_t i = 0; i < count; i++) { /* they stop the other way round */
        vm = vms[start ? i : count - 1 - i];
        if (!apply(c, vm, c->operation))
            vms[start ? failed : count - 1 - failed] = vm, failed++;
    }
    sim_appliance_allowed(p, appliance);
    return failed ? partly(c, start ? vms : vms + count - failed, failed) : SIM_DONE;
}

static enum sim_outcome operate(struct sim_call *c, size_t op)
{
    struct sim_object *const appliance = sim_arg(c, 0);
    struct sim_why why;

    if (!appliance)
        return SIM_FAILED;
    if (!may(c->pool, appliance, op, &why))
        return sim_refuse(c, &why);
    return sim_work(c, OPERATION_NS, operate_end, appliance, operations[op].name, false);
}

static enum sim_outcome start(struct sim_call *c)
{
    return operate(c, 0);
}

static enum sim_outcome clean_shutdown(struct sim_call *c)
{
    return operate(c, 1);
}

static enum sim_outcome hard_shutdown(struct sim_call *c)
{
    return operate(c, 2);
}

static enum sim_outcome shutdown_any(struct sim_call *c)
{
    return operate(c, 3);
}

static enum sim_outcome appliance_destroy(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const appliance = sim_arg(c, 0), *vm;

    if (!appliance)
        return SIM_FAILED;
    for (size_t at = 0; (vm = sim_member(p, appliance, "VMs", &at)) && p->error == 0; at = 0) {
        sim_put_text(p, vm, "appliance", SIM_NULL);
        sim_vm_allowed_only(p, vm);
    }
    sim_delete(p, appliance);
    return SIM_DONE;
}

/* Each machine's SRs, as VM.assert_can_be_recovered asks. */
static bool is_needed(const struct simpool *p, const struct sim_object *appliance, const struct sim_object *sr,
                      const struct sim_object **ret_vm)
{
    const struct sim_object *vm, *vbd;

    for (size_t at = 0; (vm = sim_member(p, appliance, "VMs", &at));) {
        for (size_t i = 0; (vbd = sim_member(p, vm, "VBDs", &i));) {
            const struct sim_object *const vdi = sim_is(vbd, "type", "CD") ? NULL : sim_follow(p, vbd, "VDI");
            *ret_vm = vm;
            if (vdi && sim_is(vdi, "SR", sr->ref) && !sim_is(sr, "content_type", "iso"))
                return true;
        }
    }
    return false;
}

static enum sim_outcome recovery(struct sim_call *c, bool list)
{
    const struct simpool *const p = c->pool;
    const struct sim_object *const appliance = sim_arg(c, 0), *vm = NULL;
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&c->arena);

    if (!appliance)
        return SIM_FAILED;
    if (!sim_session_find(c->pool, sim_arg_text(c, 1)))
        return sim_fail(c, "SESSION_INVALID", sim_arg_text(c, 1), NULL);
    xapi_build_open(&b, XAPI_LIST);
    for (const struct sim_object *sr = sim_first(p, "SR"); sr; sr = sr->class_next) {
        if (!is_needed(p, appliance, sr, &vm) || sim_sr_pbd(p, sr, NULL))
            continue;
        if (!list)
            return sim_fail(c, "VM_REQUIRES_SR", vm->ref, sr->ref, NULL);
        xapi_build_text(&b, sr->ref);
    }
    xapi_build_close(&b);
    if (!list)
        return SIM_DONE;
    return xapi_build_end(&b, &c->result) < 0 ? sim_no_memory(c) : SIM_DONE;
}

static enum sim_outcome assert_can_be_recovered(struct sim_call *c)
{
    return recovery(c, false);
}

static enum sim_outcome get_srs_required_for_recovery(struct sim_call *c)
{
    return recovery(c, true);
}

/* ---- schedules of snapshots ---- */

struct schedule_key {
    const char *key, *frequencies, *words; /* words: NULL: an hour */
};
static const struct schedule_key schedule_keys[] = {
    {"min", "hourly daily weekly", "0 15 30 45"},
    {"hour", "daily weekly", NULL},
    {"days", "weekly", "Monday Tuesday Wednesday Thursday Friday Saturday Sunday"},
};

static bool has_word(const char *words, const char *word, size_t len)
{
    for (const char *at = words; at && *at;) {
        const size_t next = strcspn(at, " ");
        if (next == len && strncmp(at, word, len) == 0)
            return true;
        at += next + (at[next] == ' ');
    }
    return false;
}

static bool is_hour(const char *text)
{
    int64_t hour;

    return xk_parse_i64(&hour, text) == 0 && hour >= 0 && hour <= 23;
}

/* frequency: that it is for; "": any. */
static bool schedule_pair_fits(const char *frequency, const char *key, const char *value, struct sim_why *why)
{
    for (size_t i = 0; i < XK_COUNT(schedule_keys); i++) {
        const struct schedule_key *const row = &schedule_keys[i];
        if (!sim_same(row->key, key) || (*frequency && !has_word(row->frequencies, frequency, strlen(frequency))))
            continue;
        bool good = row->words ? *value != '\0' : is_hour(value);
        for (const char *at = value; row->words && good && *at;) {
            const size_t len = strcspn(at, ",");
            good = has_word(row->words, at, len) && (at[len] == '\0' || sim_same(key, "days"));
            at += len + (at[len] == ',');
        }
        return good || sim_deny(why, "INVALID_VALUE", key, value, NULL);
    }
    return sim_deny(why, "INVALID_VALUE", key, value, NULL);
}

static bool schedule_fits(const char *frequency, const struct xapi_value *schedule, struct sim_why *why)
{
    for (size_t i = 0; i < schedule->count; i++)
        if (!schedule_pair_fits(frequency, schedule->items[2 * i].text, xapi_value_text(&schedule->items[2 * i + 1]),
                                why))
            return false;
    return true;
}

/* What the frequency needs and nobody said; what it does not know goes. */
static void schedule_complete(struct simpool *p, struct sim_object *vmss)
{
    static const char *const defaults[] = {"0", "0", "Monday"};
    const char *const frequency = sim_text(vmss, "frequency");

    for (size_t i = 0; i < XK_COUNT(schedule_keys); i++) {
        const bool known = has_word(schedule_keys[i].frequencies, frequency, strlen(frequency));
        if (!known)
            sim_put_pair(p, vmss, "schedule", schedule_keys[i].key, NULL);
        else if (!sim_pair(vmss, "schedule", schedule_keys[i].key))
            sim_put_pair(p, vmss, "schedule", schedule_keys[i].key, defaults[i]);
    }
}

static enum sim_outcome bad_count(struct sim_call *c, int64_t value)
{
    char text[24];

    snprintf(text, sizeof(text), "%lld", (long long)value);
    return sim_invalid(c, "retained_snapshots", text);
}

static enum sim_outcome vmss_create(struct sim_call *c)
{
    const struct xapi_value *record;
    struct sim_why why;

    if (!sim_record_arg(c, 0, &record))
        return SIM_FAILED;
    if (sim_same(sim_record_text(record, "type"), "snapshot_with_quiesce"))
        return sim_fail(c, "FEATURE_RESTRICTED", NULL);
    if (!schedule_fits(sim_record_text(record, "frequency"), xapi_map_get(record, "schedule"), &why))
        return sim_refuse(c, &why);
    const int64_t kept = xapi_value_int(xapi_map_get(record, "retained_snapshots"));
    if (kept < 1 || kept > 10)
        return bad_count(c, kept);
    const enum sim_outcome outcome = sim_generic(c);
    if (outcome == SIM_DONE)
        schedule_complete(c->pool, sim_find(c->pool, c->result.text, NULL));
    return outcome;
}

static enum sim_outcome vmss_destroy(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const vmss = sim_arg(c, 0);

    if (!vmss)
        return SIM_FAILED;
    if (sim_get(vmss, "VMs")->count)
        return sim_fail(c, "VMSS_HAS_VM", NULL);
    sim_delete(p, vmss);
    return SIM_DONE;
}

static enum sim_outcome vmss_set_retained(struct sim_call *c)
{
    if (!sim_arg(c, 0))
        return SIM_FAILED;
    if (c->args[1].integer < 1 || c->args[1].integer > 10)
        return bad_count(c, c->args[1].integer);
    return sim_generic(c);
}

static enum sim_outcome vmss_set_frequency(struct sim_call *c)
{
    const enum sim_outcome outcome = sim_generic(c);

    if (outcome == SIM_DONE)
        schedule_complete(c->pool, sim_arg(c, 0));
    return outcome;
}

static enum sim_outcome vmss_set_schedule(struct sim_call *c)
{
    struct sim_why why;

    if (!sim_arg(c, 0))
        return SIM_FAILED;
    return schedule_fits("", &c->args[1], &why) ? sim_generic(c) : sim_refuse(c, &why);
}

static enum sim_outcome vmss_add_to_schedule(struct sim_call *c)
{
    struct sim_why why;

    if (!sim_arg(c, 0))
        return SIM_FAILED;
    if (!schedule_pair_fits("", sim_arg_text(c, 1), sim_arg_text(c, 2), &why))
        return sim_refuse(c, &why);
    return sim_generic(c);
}

static enum sim_outcome vmss_set_type(struct sim_call *c)
{
    if (!sim_arg(c, 0))
        return SIM_FAILED;
    if (sim_same(sim_arg_text(c, 1), "snapshot_with_quiesce"))
        return sim_fail(c, "FEATURE_RESTRICTED", NULL);
    return sim_generic(c);
}

/* The oldest snapshots that schedules made of a machine, until no more than `kept` are there. */
static void retire(struct simpool *p, const struct sim_object *vm, int64_t kept)
{
    for (;;) {
        struct sim_object *oldest = NULL, *snapshot;
        int64_t count = 0;
        for (size_t at = 0; (snapshot = sim_member(p, vm, "snapshots", &at));) {
            if (!sim_bool(snapshot, "is_vmss_snapshot"))
                continue;
            count++;
            if (!oldest || strcmp(sim_text(snapshot, "snapshot_time"), sim_text(oldest, "snapshot_time")) < 0)
                oldest = snapshot;
        }
        if (count <= kept || p->error)
            return;
        struct sim_object *vbd;
        for (size_t at = 0; (vbd = sim_member(p, oldest, "VBDs", &at)) && p->error == 0; at = 0) {
            struct sim_object *const vdi = sim_is(vbd, "type", "Disk") ? sim_follow(p, vbd, "VDI") : NULL;
            if (vdi)
                sim_vdi_destroy(p, vdi); /* and its device */
            else
                sim_delete(p, vbd);
        }
        sim_vm_destroy(p, oldest);
    }
}

static enum sim_outcome snapshot_now_end(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const vmss = sim_arg(c, 0), *vm;
    char name[256], stamp[32];
    struct sim_why why = {0};
    bool failed = false;

    if (!vmss)
        return SIM_FAILED;
    const struct xapi_value now = xapi_time(&c->arena, sim_now_s(p));
    snprintf(stamp, sizeof(stamp), "%.31s", xapi_value_text(&now));
    for (size_t at = 0; (vm = sim_member(p, vmss, "VMs", &at));) {
        snprintf(name, sizeof(name), "%.200s-%s", sim_text(vmss, "name_label"), stamp);
        struct sim_object *const snapshot = sim_vm_snapshot(p, vm, name, sim_is(vmss, "type", "checkpoint"), &why);
        failed |= !snapshot;
        if (!snapshot)
            continue;
        sim_put_bool(p, snapshot, "is_vmss_snapshot", true);
        retire(p, vm, sim_int(vmss, "retained_snapshots"));
    }
    sim_put(p, vmss, "last_run_time", now);
    if (failed)
        return why.code ? sim_refuse(c, &why) : sim_no_memory(c);
    c->result = xapi_str("True");
    return SIM_DONE;
}

static enum sim_outcome snapshot_now(struct sim_call *c)
{
    return sim_arg(c, 0) ? sim_work(c, XK_NS_PER_S, snapshot_now_end, NULL, NULL, false) : SIM_FAILED;
}

/* ---- groups ---- */

static enum sim_outcome group_destroy(struct sim_call *c)
{
    struct sim_object *const group = sim_arg(c, 0);

    if (!group)
        return SIM_FAILED;
    sim_delete(c->pool, group); /* its machines forget it */
    return SIM_DONE;
}

const struct sim_row sim_appliance_rows[] = {
    {"VM_appliance.start", start},
    {"VM_appliance.clean_shutdown", clean_shutdown},
    {"VM_appliance.hard_shutdown", hard_shutdown},
    {"VM_appliance.shutdown", shutdown_any},
    {"VM_appliance.destroy", appliance_destroy},
    {"VM_appliance.assert_can_be_recovered", assert_can_be_recovered},
    {"VM_appliance.get_SRs_required_for_recovery", get_srs_required_for_recovery},
    {"VMSS.create", vmss_create},
    {"VMSS.destroy", vmss_destroy},
    {"VMSS.set_retained_snapshots", vmss_set_retained},
    {"VMSS.set_frequency", vmss_set_frequency},
    {"VMSS.set_schedule", vmss_set_schedule},
    {"VMSS.add_to_schedule", vmss_add_to_schedule},
    {"VMSS.set_type", vmss_set_type},
    {"VMSS.snapshot_now", snapshot_now},
    {"VM_group.destroy", group_destroy},
    {NULL, NULL},
};
