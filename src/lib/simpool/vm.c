/*
 * Virtual machines: what may be done in which power state, how long it takes, what changes.
 *
 * One table has a row for each operation: the states in which it is allowed give both the check with its error and the
 * allowed_operations that clients show.
 */
#include "lib/simpool/inner.h"

#include "core/text.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum { HALTED = 1, PAUSED = 2, RUNNING = 4, SUSPENDED = 8, ANY = 15 };

struct operation {
    const char *name;
    unsigned states;      /* in which it is allowed */
    bool templates;       /* and for templates and snapshots, too */
    const char *expected; /* for VM_BAD_POWER_STATE, in the server's order */
    bool offered;         /* in allowed_operations */
};

static const struct operation operations[] = {
    {"start", HALTED, false, "halted", true},
    {"start_on", HALTED, false, "halted", true},
    {"pause", RUNNING, false, "running", true},
    {"unpause", PAUSED, false, "paused", true},
    {"clean_shutdown", RUNNING, false, "running", true},
    {"clean_reboot", RUNNING, false, "running", true},
    {"hard_shutdown", PAUSED | RUNNING | SUSPENDED, false, "paused, suspended, running", true},
    {"hard_reboot", PAUSED | RUNNING, false, "paused, running", true},
    {"suspend", RUNNING, false, "running", true},
    {"resume", SUSPENDED, false, "suspended", true},
    {"resume_on", SUSPENDED, false, "suspended", true},
    {"pool_migrate", RUNNING, false, "running", true},
    {"snapshot", ANY, false, "halted, paused, suspended, running", true},
    {"checkpoint", RUNNING | SUSPENDED, false, "running, suspended", true},
    {"clone", HALTED | SUSPENDED, true, "halted, suspended", true},
    {"copy", HALTED | SUSPENDED, true, "halted, suspended", true},
    {"provision", HALTED, true, "halted", true},
    {"destroy", HALTED, true, "halted", true},
    {"changing_VCPUs", HALTED, true, "halted", true},
    {"changing_static_range", HALTED, true, "halted", true},
    {"changing_dynamic_range", HALTED | RUNNING, true, "halted, running", true},
    {"make_into_template", HALTED, false, "halted", true},
    {"revert", ANY, true, "halted, paused, suspended, running", false},
    {"power_state_reset", ANY, false, "halted, paused, suspended, running", false},
};

static const struct operation *operation_find(const char *name)
{
    for (size_t i = 0; i < XK_COUNT(operations); i++)
        if (strcmp(operations[i].name, name) == 0)
            return &operations[i];
    return NULL;
}

static unsigned state_of(const struct sim_object *vm)
{
    const char *const state = sim_text(vm, "power_state");

    return strcmp(state, "Running") == 0  ? RUNNING
           : strcmp(state, "Halted") == 0 ? HALTED
           : strcmp(state, "Paused") == 0 ? PAUSED
                                          : SUSPENDED;
}

static bool fits(const struct sim_object *vm, const struct operation *op)
{
    if (sim_bool(vm, "is_control_domain"))
        return false;
    return (op->states & state_of(vm)) != 0 && (op->templates || !sim_bool(vm, "is_a_template"));
}

void sim_vm_allowed(struct simpool *p, struct sim_object *vm)
{
    const char *names[XK_COUNT(operations) + 1];
    size_t count = 0;

    for (size_t i = 0; i < XK_COUNT(operations) && sim_get(vm, "current_operations")->count == 0; i++)
        if (operations[i].offered && fits(vm, &operations[i]))
            names[count++] = operations[i].name;
    names[count] = NULL;
    sim_put_list(p, vm, "allowed_operations", names);
}

/* May the operation begin? */
static enum sim_outcome check(struct sim_call *c, const struct sim_object *vm, const char *name)
{
    const struct operation *const op = operation_find(name);
    const struct xapi_value *const current = sim_get(vm, "current_operations");
    const struct xapi_value *const blocked = xapi_map_get(sim_get(vm, "blocked_operations"), name);
    char actual[32];

    if (blocked)
        return sim_fail(c, "OPERATION_BLOCKED", vm->ref, xapi_value_text(blocked), NULL);
    if (current->count)
        return sim_fail(c, "OTHER_OPERATION_IN_PROGRESS", "VM", vm->ref, xapi_value_text(&current->items[1]),
                        xapi_value_text(&current->items[0]), NULL);
    if (sim_bool(vm, "is_control_domain"))
        return sim_fail(c, "OPERATION_NOT_ALLOWED", "This operation is not allowed on dom0", NULL);
    if (!op->templates && sim_bool(vm, "is_a_template"))
        return sim_fail(c, sim_bool(vm, "is_a_snapshot") ? "VM_IS_SNAPSHOT" : "VM_IS_TEMPLATE", vm->ref, NULL);
    if (!(op->states & state_of(vm))) {
        snprintf(actual, sizeof(actual), "%s", sim_text(vm, "power_state"));
        actual[0] = (char)tolower((unsigned char)actual[0]);
        return sim_fail(c, "VM_BAD_POWER_STATE", vm->ref, op->expected, actual, NULL);
    }
    return SIM_DONE;
}

/* The first half of most operations: the VM of argument 0, checked, and the time it takes. */
static enum sim_outcome begin(struct sim_call *c, const char *name, double seconds, sim_behaviour *finish)
{
    struct sim_object *const vm = sim_arg(c, 0);

    if (!vm || check(c, vm, name) == SIM_FAILED)
        return SIM_FAILED;
    return sim_work(c, (uint64_t)(seconds * 1e9), finish, vm, name, seconds >= 3);
}

/* ---- power ---- */

static void metrics_set(struct simpool *p, const struct sim_object *vm, const char *field, int64_t now)
{
    struct sim_object *const metrics = sim_follow(p, vm, "metrics");

    if (metrics)
        sim_put_time(p, metrics, field, now);
}

static void devices_attach(struct simpool *p, const struct sim_object *vm, const char *field, bool on)
{
    const struct xapi_value *const refs = sim_get(vm, field);

    for (size_t i = 0; i < refs->count; i++) {
        struct sim_object *const device = sim_find(p, xapi_value_text(&refs->items[i]), NULL);
        if (!device)
            continue;
        sim_put_bool(p, device, "currently_attached", on);
        sim_put_list(p, device, "allowed_operations",
                     on ? (const char *const[]){"attach", "unplug", NULL} : (const char *const[]){"attach", NULL});
    }
}

static struct sim_object *host_metrics(const struct simpool *p, const struct sim_object *host)
{
    return sim_follow(p, host, "metrics");
}

static int64_t free_memory(const struct simpool *p, const struct sim_object *host)
{
    const struct sim_object *const metrics = host_metrics(p, host);

    return metrics ? sim_int(metrics, "memory_free") : 0;
}

static void take_memory(struct simpool *p, const struct sim_object *host, int64_t bytes)
{
    struct sim_object *const metrics = host_metrics(p, host);

    if (metrics)
        sim_put_int(p, metrics, "memory_free", sim_int(metrics, "memory_free") - bytes);
}

/* Where the VM is run: its affinity when there is room, else the host with the most free memory. */
static struct sim_object *choose_host(const struct simpool *p, const struct sim_object *vm)
{
    const int64_t needed = sim_int(vm, "memory_dynamic_max");
    struct sim_object *const affinity = sim_follow(p, vm, "affinity"), *best = NULL;

    if (affinity && sim_bool(affinity, "enabled") && free_memory(p, affinity) >= needed)
        return affinity;
    for (struct sim_object *host = sim_first(p, "host"); host; host = host->class_next)
        if (sim_bool(host, "enabled") && (!best || free_memory(p, host) > free_memory(p, best)))
            best = host;
    return best;
}

static enum sim_outcome place(struct sim_call *c, struct sim_object *vm, struct sim_object *host, const char *state)
{
    struct simpool *const p = c->pool;
    const int64_t needed = sim_int(vm, "memory_dynamic_max");
    char need[24], available[24];

    if (!host)
        return sim_fail(c, "NO_HOSTS_AVAILABLE", NULL);
    if (!sim_bool(host, "enabled"))
        return sim_fail(c, "HOST_DISABLED", host->ref, NULL);
    if (free_memory(p, host) < needed) {
        snprintf(need, sizeof(need), "%lld", (long long)needed);
        snprintf(available, sizeof(available), "%lld", (long long)free_memory(p, host));
        return sim_fail(c, "HOST_NOT_ENOUGH_FREE_MEMORY", need, available, NULL);
    }
    take_memory(p, host, needed);
    sim_put_text(p, vm, "resident_on", host->ref);
    sim_put_text(p, vm, "power_state", state);
    sim_put_int(p, vm, "domid", (int64_t)(p->generation % 30000) + 1);
    sim_put_int(p, vm, "memory_target", needed);
    metrics_set(p, vm, "start_time", sim_now_s(p));
    devices_attach(p, vm, "VBDs", true);
    devices_attach(p, vm, "VIFs", true);
    return SIM_DONE;
}

static void leave(struct simpool *p, struct sim_object *vm, const char *state)
{
    const struct sim_object *const host = sim_follow(p, vm, "resident_on");
    struct sim_object *const guest = sim_follow(p, vm, "guest_metrics");

    if (host)
        take_memory(p, host, -sim_int(vm, "memory_dynamic_max"));
    sim_put_text(p, vm, "resident_on", SIM_NULL);
    sim_put_text(p, vm, "power_state", state);
    sim_put_int(p, vm, "domid", -1);
    if (strcmp(state, "Halted") == 0) {
        sim_put_int(p, vm, "memory_target", 0);
        sim_put_text(p, vm, "guest_metrics", SIM_NULL);
        if (guest)
            sim_delete(p, guest);
    }
    devices_attach(p, vm, "VBDs", false);
    devices_attach(p, vm, "VIFs", false);
}

static enum sim_outcome start_end(struct sim_call *c)
{
    struct sim_object *const vm = sim_arg(c, 0);

    return vm ? place(c, vm, choose_host(c->pool, vm), c->args[1].truth ? "Paused" : "Running") : SIM_FAILED;
}

static enum sim_outcome start(struct sim_call *c)
{
    return begin(c, "start", 0.4, start_end);
}

static enum sim_outcome start_on_end(struct sim_call *c)
{
    struct sim_object *const vm = sim_arg(c, 0), *const host = vm ? sim_arg(c, 1) : NULL;

    return host ? place(c, vm, host, c->args[2].truth ? "Paused" : "Running") : SIM_FAILED;
}

static enum sim_outcome start_on(struct sim_call *c)
{
    return sim_arg(c, 1) ? begin(c, "start_on", 0.4, start_on_end) : SIM_FAILED;
}

static enum sim_outcome halt_end(struct sim_call *c)
{
    struct sim_object *const vm = sim_arg(c, 0);

    if (!vm)
        return SIM_FAILED;
    leave(c->pool, vm, "Halted");
    return SIM_DONE;
}

static enum sim_outcome clean_shutdown(struct sim_call *c)
{
    return begin(c, "clean_shutdown", 0.6, halt_end);
}

static enum sim_outcome hard_shutdown(struct sim_call *c)
{
    return begin(c, "hard_shutdown", 0.2, halt_end);
}

static enum sim_outcome shutdown_any(struct sim_call *c)
{
    const struct sim_object *const vm = sim_arg(c, 0);

    if (!vm)
        return SIM_FAILED;
    return state_of(vm) == RUNNING ? clean_shutdown(c) : hard_shutdown(c);
}

static enum sim_outcome reset(struct sim_call *c)
{
    struct sim_object *const vm = sim_arg(c, 0);

    if (!vm)
        return SIM_FAILED;
    leave(c->pool, vm, "Halted");
    sim_vm_allowed(c->pool, vm);
    return SIM_DONE;
}

static enum sim_outcome reboot_end(struct sim_call *c)
{
    struct sim_object *const vm = sim_arg(c, 0);

    if (!vm)
        return SIM_FAILED;
    sim_put_text(c->pool, vm, "power_state", "Running");
    sim_put_int(c->pool, vm, "domid", sim_int(vm, "domid") + 1);
    metrics_set(c->pool, vm, "start_time", sim_now_s(c->pool));
    return SIM_DONE;
}

static enum sim_outcome clean_reboot(struct sim_call *c)
{
    return begin(c, "clean_reboot", 1, reboot_end);
}

static enum sim_outcome hard_reboot(struct sim_call *c)
{
    return begin(c, "hard_reboot", 0.4, reboot_end);
}

static enum sim_outcome pause_end(struct sim_call *c)
{
    struct sim_object *const vm = sim_arg(c, 0);

    if (vm)
        sim_put_text(c->pool, vm, "power_state", "Paused");
    return vm ? SIM_DONE : SIM_FAILED;
}

static enum sim_outcome pause_vm(struct sim_call *c)
{
    return begin(c, "pause", 0.1, pause_end);
}

static enum sim_outcome unpause_end(struct sim_call *c)
{
    struct sim_object *const vm = sim_arg(c, 0);

    if (vm)
        sim_put_text(c->pool, vm, "power_state", "Running");
    return vm ? SIM_DONE : SIM_FAILED;
}

static enum sim_outcome unpause(struct sim_call *c)
{
    return begin(c, "unpause", 0.1, unpause_end);
}

static enum sim_outcome suspend_end(struct sim_call *c)
{
    struct sim_object *const vm = sim_arg(c, 0);

    if (!vm)
        return SIM_FAILED;
    leave(c->pool, vm, "Suspended");
    return SIM_DONE;
}

static enum sim_outcome suspend(struct sim_call *c)
{
    return begin(c, "suspend", 1, suspend_end);
}

static enum sim_outcome resume(struct sim_call *c)
{
    return begin(c, "resume", 1, start_end);
}

static enum sim_outcome resume_on(struct sim_call *c)
{
    return sim_arg(c, 1) ? begin(c, "resume_on", 1, start_on_end) : SIM_FAILED;
}

static enum sim_outcome migrate_end(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const vm = sim_arg(c, 0), *const host = vm ? sim_arg(c, 1) : NULL;
    const struct sim_object *const from = vm ? sim_follow(p, vm, "resident_on") : NULL;

    if (!host)
        return SIM_FAILED;
    if (free_memory(p, host) < sim_int(vm, "memory_dynamic_max") && from != host)
        return place(c, vm, host, "Running"); /* which says what is missing */
    if (from)
        take_memory(p, from, -sim_int(vm, "memory_dynamic_max"));
    take_memory(p, host, sim_int(vm, "memory_dynamic_max"));
    sim_put_text(p, vm, "resident_on", host->ref);
    sim_put_int(p, vm, "domid", sim_int(vm, "domid") + 1);
    return SIM_DONE;
}

static enum sim_outcome pool_migrate(struct sim_call *c)
{
    const struct sim_object *const host = sim_arg(c, 1);

    if (!host)
        return SIM_FAILED;
    if (!sim_bool(host, "enabled"))
        return sim_fail(c, "HOST_DISABLED", host->ref, NULL);
    return begin(c, "pool_migrate", 3.5, migrate_end);
}

/* ---- copies ---- */

/* What a copy gets anew or not at all. */
static bool is_own_field(const struct xapi_field *field)
{
    static const char *const own[] = {
        "uuid",  "current_operations",  "allowed_operations", "guest_metrics", "metrics", "domid", "resident_on",
        "blobs", "is_default_template", "power_state",        "bios_strings"};

    if (field->other != XAPI_NONE)
        return true;
    for (size_t i = 0; i < XK_COUNT(own); i++)
        if (strcmp(xapi_text(field->name), own[i]) == 0)
            return true;
    return false;
}

static struct sim_object *object_copy(struct simpool *p, const struct sim_object *from)
{
    struct sim_object *const o = sim_create(p, xapi_text(from->class_row->name));

    for (unsigned i = 0; o && i < from->class_row->fields; i++)
        if (!is_own_field(&xapi_fields[from->class_row->first_field + i]))
            sim_put_at(p, o, i, &from->fields[i]->value);
    return o;
}

static void disk_copy(struct simpool *p, const struct sim_object *vbd, struct sim_object *vm, bool snapshot)
{
    const struct sim_object *const vdi = sim_follow(p, vbd, "VDI");
    struct sim_object *const vbd_copy = object_copy(p, vbd);

    if (!vbd_copy)
        return;
    sim_put_text(p, vbd_copy, "VM", vm->ref);
    sim_put_bool(p, vbd_copy, "currently_attached", false);
    if (!vdi)
        return;
    const bool disk = strcmp(sim_text(vbd, "type"), "Disk") == 0;
    struct sim_object *const vdi_copy = disk ? object_copy(p, vdi) : NULL;
    sim_put_text(p, vbd_copy, "VDI", vdi_copy ? vdi_copy->ref : vdi->ref);
    if (!vdi_copy)
        return;
    sim_put_text(p, vdi_copy, "SR", sim_text(vdi, "SR"));
    sim_put_text(p, vdi_copy, "location", sim_text(vdi_copy, "uuid"));
    sim_put_bool(p, vdi_copy, "is_a_snapshot", snapshot);
    if (snapshot) {
        sim_put_text(p, vdi_copy, "snapshot_of", vdi->ref);
        sim_put_time(p, vdi_copy, "snapshot_time", sim_now_s(p));
    }
}

static void nic_copy(struct simpool *p, const struct sim_object *vif, struct sim_object *vm, bool snapshot)
{
    struct sim_object *const copy = object_copy(p, vif);
    uint8_t mac[6];
    char text[24];

    if (!copy)
        return;
    xk_random_bytes(p->settings.random, mac, sizeof(mac));
    mac[0] = (uint8_t)((mac[0] & 0xfc) | 2); /* local, unicast */
    snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
    sim_put_text(p, copy, "VM", vm->ref);
    sim_put_text(p, copy, "network", sim_text(vif, "network"));
    sim_put_bool(p, copy, "currently_attached", false);
    if (!snapshot)
        sim_put_text(p, copy, "MAC", text);
}

static struct sim_object *vm_copy(struct simpool *p, const struct sim_object *from, const char *name, bool snapshot)
{
    struct sim_object *const vm = object_copy(p, from), *const metrics = vm ? sim_create(p, "VM_metrics") : NULL;

    if (!metrics)
        return NULL;
    sim_put_text(p, vm, "name_label", name);
    sim_put_text(p, vm, "power_state", "Halted");
    sim_put_int(p, vm, "domid", -1);
    sim_put_text(p, vm, "metrics", metrics->ref);
    sim_put_int(p, metrics, "VCPUs_number", sim_int(vm, "VCPUs_max"));
    sim_put_bool(p, vm, "is_a_snapshot", snapshot);
    if (snapshot) {
        sim_put_bool(p, vm, "is_a_template", true);
        sim_put_text(p, vm, "snapshot_of", from->ref);
        sim_put_time(p, vm, "snapshot_time", sim_now_s(p));
    } else {
        sim_put_text(p, vm, "snapshot_of", SIM_NULL);
    }
    const struct xapi_value *const disks = sim_get(from, "VBDs"), *const nics = sim_get(from, "VIFs");
    for (size_t i = 0; i < disks->count; i++)
        disk_copy(p, sim_find(p, xapi_value_text(&disks->items[i]), NULL), vm, snapshot);
    for (size_t i = 0; i < nics->count; i++)
        nic_copy(p, sim_find(p, xapi_value_text(&nics->items[i]), NULL), vm, snapshot);
    sim_vm_allowed(p, vm);
    return vm;
}

static enum sim_outcome copy_as(struct sim_call *c, bool snapshot)
{
    const struct sim_object *const from = sim_arg(c, 0);
    const struct sim_object *const vm = from ? vm_copy(c->pool, from, sim_arg_text(c, 1), snapshot) : NULL;

    if (!from)
        return SIM_FAILED;
    if (!vm)
        return sim_no_memory(c);
    c->result = xapi_str(vm->ref);
    return SIM_DONE;
}

static enum sim_outcome clone_end(struct sim_call *c)
{
    return copy_as(c, false);
}

static enum sim_outcome snapshot_end(struct sim_call *c)
{
    return copy_as(c, true);
}

static enum sim_outcome clone(struct sim_call *c)
{
    return begin(c, "clone", 0.4, clone_end);
}

static enum sim_outcome copy(struct sim_call *c)
{
    const char *const sr = sim_arg_text(c, 2);

    if (strcmp(sr, SIM_NULL) != 0 && *sr && !sim_arg(c, 2))
        return SIM_FAILED;
    return begin(c, "copy", 4, clone_end);
}

static enum sim_outcome snapshot(struct sim_call *c)
{
    return begin(c, "snapshot", 0.4, snapshot_end);
}

static enum sim_outcome checkpoint_end(struct sim_call *c)
{
    const enum sim_outcome outcome = copy_as(c, true);

    if (outcome == SIM_DONE)
        sim_put_text(c->pool, sim_find(c->pool, c->result.text, NULL), "power_state", "Suspended");
    return outcome;
}

static enum sim_outcome checkpoint(struct sim_call *c)
{
    return begin(c, "checkpoint", 1, checkpoint_end);
}

static enum sim_outcome provision(struct sim_call *c)
{
    struct sim_object *const vm = sim_arg(c, 0);

    if (!vm || check(c, vm, "provision") == SIM_FAILED)
        return SIM_FAILED;
    sim_put_bool(c->pool, vm, "is_a_template", false);
    sim_vm_allowed(c->pool, vm);
    return SIM_DONE;
}

static enum sim_outcome set_is_a_template(struct sim_call *c)
{
    struct sim_object *const vm = sim_arg(c, 0);

    if (!vm)
        return SIM_FAILED;
    if (c->args[1].truth && check(c, vm, "make_into_template") == SIM_FAILED)
        return SIM_FAILED;
    sim_put_bool(c->pool, vm, "is_a_template", c->args[1].truth);
    sim_vm_allowed(c->pool, vm);
    return SIM_DONE;
}

/* Devices go with their VM, disks stay. */
static void devices_destroy(struct simpool *p, struct sim_object *vm, const char *field)
{
    for (const struct xapi_value *refs; (refs = sim_get(vm, field))->count > 0;) {
        struct sim_object *const device = sim_find(p, xapi_value_text(&refs->items[0]), NULL);
        if (!device)
            return;
        sim_delete(p, device);
    }
}

static enum sim_outcome destroy(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const vm = sim_arg(c, 0);

    /* A checkpoint is suspended and may go all the same. */
    if (!vm || (!sim_bool(vm, "is_a_snapshot") && check(c, vm, "destroy") == SIM_FAILED))
        return SIM_FAILED;
    struct sim_object *const metrics = sim_follow(p, vm, "metrics"), *const guest = sim_follow(p, vm, "guest_metrics");
    devices_destroy(p, vm, "VBDs");
    devices_destroy(p, vm, "VIFs");
    devices_destroy(p, vm, "consoles");
    if (metrics)
        sim_delete(p, metrics);
    if (guest)
        sim_delete(p, guest);
    sim_delete(p, vm);
    return SIM_DONE;
}

/* ---- inquiries ---- */

static enum sim_outcome assert_operation_valid(struct sim_call *c)
{
    const struct sim_object *const vm = sim_arg(c, 0);

    if (!vm)
        return SIM_FAILED;
    return operation_find(sim_arg_text(c, 1)) ? check(c, vm, sim_arg_text(c, 1))
                                              : sim_fail(c, "NOT_IMPLEMENTED", sim_arg_text(c, 1), NULL);
}

static enum sim_outcome update_allowed(struct sim_call *c)
{
    struct sim_object *const vm = sim_arg(c, 0);

    if (vm)
        sim_vm_allowed(c->pool, vm);
    return vm ? SIM_DONE : SIM_FAILED;
}

static enum sim_outcome possible_hosts(struct sim_call *c)
{
    const struct simpool *const p = c->pool;
    const struct sim_object *const vm = sim_arg(c, 0);
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&c->arena);

    if (!vm)
        return SIM_FAILED;
    xapi_build_open(&b, XAPI_LIST);
    for (const struct sim_object *host = sim_first(p, "host"); host; host = host->class_next)
        if (sim_bool(host, "enabled") && free_memory(p, host) >= sim_int(vm, "memory_dynamic_max"))
            xapi_build_value(&b, xapi_str(host->ref));
    xapi_build_close(&b);
    return xapi_build_end(&b, &c->result) < 0 ? sim_no_memory(c) : SIM_DONE;
}

const struct sim_row sim_vm_rows[] = {
    {"VM.start", start},
    {"VM.start_on", start_on},
    {"VM.pause", pause_vm},
    {"VM.unpause", unpause},
    {"VM.clean_shutdown", clean_shutdown},
    {"VM.shutdown", shutdown_any},
    {"VM.hard_shutdown", hard_shutdown},
    {"VM.power_state_reset", reset},
    {"VM.clean_reboot", clean_reboot},
    {"VM.hard_reboot", hard_reboot},
    {"VM.suspend", suspend},
    {"VM.resume", resume},
    {"VM.resume_on", resume_on},
    {"VM.pool_migrate", pool_migrate},
    {"VM.clone", clone},
    {"VM.copy", copy},
    {"VM.snapshot", snapshot},
    {"VM.checkpoint", checkpoint},
    {"VM.provision", provision},
    {"VM.set_is_a_template", set_is_a_template},
    {"VM.destroy", destroy},
    {"VM.assert_operation_valid", assert_operation_valid},
    {"VM.update_allowed_operations", update_allowed},
    {"VM.get_possible_hosts", possible_hosts},
    {NULL, NULL},
};
