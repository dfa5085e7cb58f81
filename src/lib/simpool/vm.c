/*
 * The life of a machine: it starts, stops, sleeps, wakes and goes; each operation is asked about, takes its time, and
 * then changes what the real server changes.
 *
 * What would happen inside of the guest happens at once when it boots: its agent reports, and nothing changes later by
 * itself.
 */
#include "lib/simpool/ops.h"

#include <arpa/inet.h>

#define BODY_BYTES 1024

static const char *const none[] = {NULL};

/* ---- the first half ---- */

enum sim_outcome sim_vm_begin(struct sim_call *c, unsigned arg, const char *op, double seconds, sim_behaviour *finish,
                              bool cancellable)
{
    struct sim_object *const vm = sim_arg(c, arg);
    struct sim_why why;

    if (!vm)
        return SIM_FAILED;
    if (!sim_vm_may(c->pool, vm, op, true, &why))
        return sim_refuse(c, &why);
    return sim_work(c, (uint64_t)(seconds * 1e9), finish, vm, op, cancellable);
}

/* Tell administrators; the text is the real server's. */
static void tell(struct simpool *p, const struct sim_object *vm, const char *name, const char *what)
{
    char body[BODY_BYTES];

    snprintf(body, sizeof(body), "VM '%.600s' (uuid: %s) %s", sim_text(vm, "name_label"), sim_text(vm, "uuid"), what);
    sim_message(p, name, "VM", vm, body);
}

static void tell_host(struct simpool *p, const struct sim_object *vm, const char *name, const char *what,
                      const struct sim_object *host)
{
    char text[BODY_BYTES];

    snprintf(text, sizeof(text), "%s on host: %.600s (uuid: %s)", what, sim_text(host, "name_label"),
             sim_text(host, "uuid"));
    tell(p, vm, name, text);
}

/* Its disks and interfaces can be attached? */
static bool can_attach(const struct simpool *p, const struct sim_object *vm, struct sim_why *why)
{
    const struct sim_object *device;

    for (size_t at = 0; (device = sim_member(p, vm, "VBDs", &at));)
        if (!sim_vbd_may(p, device, "attach", why))
            return false;
    for (size_t at = 0; (device = sim_member(p, vm, "VIFs", &at));)
        if (!sim_vif_may(p, device, "attach", why))
            return sim_deny(why, "OPERATION_NOT_ALLOWED", "Failed to lock all VIFs", NULL);
    return true;
}

/* ---- guests ---- */

static void guest_address(const struct simpool *p, const struct sim_object *vm, char ret[32])
{
    const struct sim_object *vif;
    unsigned last = 0;

    *ret = '\0';
    for (size_t at = 0; (vif = sim_member(p, vm, "VIFs", &at));) {
        if (!sim_is(vif, "device", "0"))
            continue;
        (void)sscanf(sim_text(vif, "MAC"), "%*2x:%*2x:%*2x:%*2x:%*2x:%2x", &last);
        snprintf(ret, 32, "192.0.2.%u", 20 + last % 200);
    }
}

struct sim_object *sim_guest_create(struct simpool *p, struct sim_object *vm, const char *address)
{
    struct sim_object *const guest = sim_create(p, "VM_guest_metrics");

    if (!guest)
        return NULL;
    sim_put_map(p, guest, "os_version",
                (const char *const[]){"name", "Debian GNU/Linux 12 (bookworm)", "uname", "6.1.0-18-amd64", "distro",
                                      "debian", "major", "12", "minor", "5", NULL});
    sim_put_map(p, guest, "PV_drivers_version",
                (const char *const[]){"major", "8", "minor", "4", "micro", "0", "build", "1", NULL});
    if (*address)
        sim_put_map(p, guest, "networks", (const char *const[]){"0/ip", address, "0/ipv4/0", address, NULL});
    sim_put_map(p, guest, "other",
                (const char *const[]){"platform-feature-multiprocessor-suspend", "1", "has-vendor-device", "0",
                                      "feature-suspend", "1", "feature-poweroff", "1", "feature-reboot", "1",
                                      "feature-vcpu-hotplug", "1", "feature-balloon", "1", "feature-static-ip-setting",
                                      "1", NULL});
    sim_put_bool(p, guest, "PV_drivers_up_to_date", true);
    sim_put_bool(p, guest, "PV_drivers_detected", true);
    sim_put_bool(p, guest, "live", true);
    sim_put_text(p, guest, "can_use_hotplug_vbd", "yes");
    sim_put_text(p, guest, "can_use_hotplug_vif", "yes");
    sim_put_time(p, guest, "last_updated", sim_now_s(p));
    sim_put_text(p, vm, "guest_metrics", guest->ref);
    return guest;
}

static void guest_boots(struct simpool *p, struct sim_object *vm)
{
    char address[32];

    if (sim_follow(p, vm, "guest_metrics"))
        return;
    guest_address(p, vm, address);
    (void)sim_guest_create(p, vm, address);
}

static void guest_forgotten(struct simpool *p, struct sim_object *vm)
{
    struct sim_object *const guest = sim_follow(p, vm, "guest_metrics");

    sim_put_text(p, vm, "guest_metrics", SIM_NULL);
    if (guest)
        sim_delete(p, guest);
}

/* ---- to and from a host ---- */

static void console_create(struct simpool *p, struct sim_object *vm, const struct sim_object *host)
{
    struct sim_object *const console = sim_create(p, "console");
    char location[128];

    if (!console)
        return;
    snprintf(location, sizeof(location), "https://%.42s/console?uuid=%.36s",
             resolve_url_text(sim_text(host, "address")).s, sim_text(console, "uuid"));
    sim_put_text(p, console, "location", location);
    sim_put_text(p, console, "protocol", "rfb");
    sim_put_int(p, console, "port", -1);
    sim_put_text(p, console, "VM", vm->ref);
}

/* "0" becomes xvda. */
static void device_name(const struct sim_object *vbd, char ret[16])
{
    int64_t number;

    if (xk_parse_i64(&number, sim_text(vbd, "userdevice")) == 0 && number >= 0 && number < 26)
        snprintf(ret, 16, "xvd%c", (char)('a' + number));
    else
        snprintf(ret, 16, "%.15s", sim_text(vbd, "userdevice"));
}

static void devices_attach(struct simpool *p, struct sim_object *vm)
{
    struct sim_object *device;
    char name[16];

    for (size_t at = 0; (device = sim_member(p, vm, "VBDs", &at));) {
        device_name(device, name);
        sim_put_text(p, device, "device", name);
        sim_put_bool(p, device, "currently_attached", true);
    }
    for (size_t at = 0; (device = sim_member(p, vm, "VIFs", &at));)
        sim_put_bool(p, device, "currently_attached", true);
    for (size_t at = 0; (device = sim_member(p, vm, "VUSBs", &at));)
        sim_put_bool(p, device, "currently_attached", true);
}

static void devices_detach(struct simpool *p, struct sim_object *vm)
{
    static const char *const fields[] = {"VBDs", "VIFs", "VGPUs", "VUSBs"};
    struct sim_object *device;

    for (size_t i = 0; i < XK_COUNT(fields); i++)
        for (size_t at = 0; (device = sim_member(p, vm, fields[i], &at));)
            sim_put_bool(p, device, "currently_attached", false);
}

/* The memory that the machine has at that host: as much of what it may have as is free. */
static int64_t memory_given(const struct simpool *p, const struct sim_object *vm, const struct sim_object *host)
{
    const int64_t least = sim_int(vm, "memory_dynamic_min"), most = sim_int(vm, "memory_dynamic_max");
    const int64_t available = sim_host_memory_free(p, host) - sim_vm_overhead(vm);

    return XK_MAX(XK_MIN(most, available), least);
}

static void metrics_of_start(struct simpool *p, const struct sim_object *vm, int64_t memory)
{
    struct sim_object *const metrics = sim_follow(p, vm, "metrics");

    if (!metrics)
        return;
    sim_put_time(p, metrics, "start_time", sim_now_s(p));
    sim_put_time(p, metrics, "last_updated", sim_now_s(p));
    sim_put_int(p, metrics, "memory_actual", memory);
    sim_put_int(p, metrics, "VCPUs_number", sim_int(vm, "VCPUs_at_startup"));
    sim_put_text(p, metrics, "current_domain_type", sim_text(vm, "domain_type"));
    sim_put_bool(p, metrics, "hvm", sim_is(vm, "domain_type", "hvm"));
    sim_put_bool(p, metrics, "nomigrate", sim_pair_is_true(vm, "platform", "nomigrate"));
    sim_put_bool(p, metrics, "nested_virt", sim_pair_is_true(vm, "platform", "nested-virt"));
}

void sim_vm_arrive(struct simpool *p, struct sim_object *vm, struct sim_object *host, const char *state)
{
    const int64_t memory = memory_given(p, vm, host);

    sim_put_int(p, vm, "memory_overhead", sim_vm_overhead(vm));
    sim_host_memory_take(p, host, memory + sim_vm_overhead(vm));
    sim_put_text(p, vm, "resident_on", host->ref);
    sim_put_text(p, vm, "scheduled_to_be_resident_on", SIM_NULL);
    sim_put_int(p, vm, "domid", (int64_t)(p->generation % 30000) + 1);
    sim_put_int(p, vm, "memory_target", memory);
    sim_put_text(p, vm, "power_state", state);
    metrics_of_start(p, vm, memory);
    devices_attach(p, vm);
    console_create(p, vm, host);
    if (sim_same(state, "Running"))
        guest_boots(p, vm);
    sim_vm_refresh(p, vm);
}

void sim_vm_leave(struct simpool *p, struct sim_object *vm, const char *state)
{
    const struct sim_object *const host = sim_follow(p, vm, "resident_on");
    struct sim_object *const metrics = sim_follow(p, vm, "metrics");
    const bool halted = sim_same(state, "Halted");

    if (host)
        sim_host_memory_take(p, host, -(sim_int(vm, "memory_target") + sim_int(vm, "memory_overhead")));
    sim_put_text(p, vm, "power_state", state);
    sim_put_text(p, vm, "resident_on", SIM_NULL);
    sim_put_text(p, vm, "scheduled_to_be_resident_on", SIM_NULL);
    sim_put_int(p, vm, "domid", -1);
    if (halted) {
        devices_detach(p, vm);
        sim_put_bool(p, vm, "requires_reboot", false);
        sim_put_list(p, vm, "pending_guidances", none);
        sim_put_list(p, vm, "attached_PCIs", none);
    }
    if (metrics) {
        sim_put_int(p, metrics, "memory_actual", 0);
        sim_put_int(p, metrics, "VCPUs_number", 0);
        sim_put_text(p, metrics, "current_domain_type", halted ? "unspecified" : sim_text(vm, "domain_type"));
    }
    sim_delete_members(p, vm, "consoles");
    sim_vm_refresh(p, vm);
}

/* ---- start ---- */

void sim_vm_bios_fill(struct simpool *p, struct sim_object *vm)
{
    if (sim_get(vm, "bios_strings")->count == 0)
        sim_put_map(p, vm, "bios_strings",
                    (const char *const[]){"bios-vendor",
                                          "Xen",
                                          "bios-version",
                                          "",
                                          "system-manufacturer",
                                          "Xen",
                                          "system-product-name",
                                          "HVM domU",
                                          "system-version",
                                          "",
                                          "system-serial-number",
                                          "",
                                          "baseboard-manufacturer",
                                          "",
                                          "baseboard-product-name",
                                          "",
                                          "baseboard-version",
                                          "",
                                          "baseboard-serial-number",
                                          "",
                                          "baseboard-asset-tag",
                                          "",
                                          "baseboard-location-in-chassis",
                                          "",
                                          "enclosure-asset-tag",
                                          "",
                                          "hp-rombios",
                                          "",
                                          "oem-1",
                                          "Xen",
                                          "oem-2",
                                          "MS_VM_CERT/SHA1/bdbeb6e0a816d43fa6d3fe8aaef04c2bad9d3e3d",
                                          NULL});
}

/* What a start settles that was left open. */
static void settle(struct simpool *p, struct sim_object *vm)
{
    if (sim_is(vm, "domain_type", "unspecified"))
        sim_put_text(p, vm, "domain_type", *sim_text(vm, "HVM_boot_policy") ? "hvm" : "pv");
    if (sim_is(vm, "domain_type", "hvm") && !sim_pair(vm, "platform", "device-model")) {
        const char *const firmware = sim_pair(vm, "HVM_boot_params", "firmware");
        const bool uefi = firmware && sim_same(firmware, "uefi");
        sim_put_pair(p, vm, "platform", "device-model", uefi ? "qemu-upstream-uefi" : "qemu-upstream-compat");
    }
    sim_vm_bios_fill(p, vm);
    if (sim_bool(vm, "has_vendor_device") && sim_int(vm, "hardware_platform_version") < 2)
        sim_put_int(p, vm, "hardware_platform_version", 2);
    if (sim_is(vm, "ha_restart_priority", "restart"))
        sim_put_bool(p, vm, "ha_always_run", true);
}

/* A machine that is nested, or was told to, has all its memory at once. */
static bool is_pinned(const struct sim_object *vm, struct sim_why *why)
{
    const int64_t most = sim_int(vm, "memory_static_max");

    if (!sim_pair_is_true(vm, "platform", "nested-virt") ||
        (sim_int(vm, "memory_dynamic_min") == most && sim_int(vm, "memory_dynamic_max") == most))
        return true;
    return sim_deny(why, "MEMORY_CONSTRAINT_VIOLATION_MAXPIN", "nested virt", NULL);
}

static double seconds_of(const struct sim_object *vm, const char *field)
{
    return (double)XK_MIN(XK_MAX(sim_int(vm, field), 0), 86400);
}

/* host: asked for by the caller; NULL: choose one. */
static enum sim_outcome start_begin(struct sim_call *c, const char *op, const struct sim_object *host, double seconds,
                                    sim_behaviour *finish)
{
    struct simpool *const p = c->pool;
    struct sim_object *const vm = sim_arg(c, 0);
    const bool resumes = xk_has_prefix(op, "resume");
    struct sim_why why;

    if (!vm)
        return SIM_FAILED;
    if (!sim_vm_may(p, vm, op, true, &why) || !can_attach(p, vm, &why))
        return sim_refuse(c, &why);
    if (host ? !sim_vm_can_boot(p, vm, host, 0, &why) : !sim_vm_choose_host(p, vm, &why))
        return sim_refuse(c, &why);
    if (!resumes && !is_pinned(vm, &why))
        return sim_refuse(c, &why);
    return sim_work(c, (uint64_t)(seconds * 1e9), finish, vm, op, true);
}

static void image_destroy(struct simpool *p, struct sim_object *vm)
{
    struct sim_object *const image = sim_follow(p, vm, "suspend_VDI");

    sim_put_text(p, vm, "suspend_VDI", SIM_NULL);
    if (image)
        sim_vdi_destroy(p, image);
}

bool sim_vm_run(struct simpool *p, struct sim_object *vm, struct sim_object *host, bool paused, struct sim_why *why)
{
    const bool resumes = sim_vm_power(vm) == SIM_IS_SUSPENDED;

    /* Others may have taken what was free when this began. */
    if (!host)
        host = sim_vm_choose_host(p, vm, why);
    else if (!sim_vm_can_boot(p, vm, host, 0, why))
        host = NULL;
    if (!host || !can_attach(p, vm, why))
        return false;
    if (!resumes) {
        guest_forgotten(p, vm);
        settle(p, vm);
    } else {
        image_destroy(p, vm);
        if (sim_is(vm, "ha_restart_priority", "restart"))
            sim_put_bool(p, vm, "ha_always_run", true);
    }
    sim_vm_arrive(p, vm, host, paused ? "Paused" : "Running");
    tell_host(p, vm, resumes ? "VM_RESUMED" : "VM_STARTED", resumes ? "resumed" : "started", host);
    return true;
}

static enum sim_outcome run(struct sim_call *c, struct sim_object *vm, struct sim_object *host, bool paused)
{
    struct sim_why why;

    return sim_vm_run(c->pool, vm, host, paused, &why) ? SIM_DONE : sim_refuse(c, &why);
}

static enum sim_outcome delay_end(struct sim_call *c)
{
    return SIM_DONE;
}

/* The machine runs, or is halted; who waits for that waits a while longer. */
static enum sim_outcome delay(struct sim_call *c, enum sim_outcome outcome, const struct sim_object *vm,
                              const char *field)
{
    const double seconds = outcome == SIM_DONE ? seconds_of(vm, field) : 0;

    return seconds > 0 ? sim_work_on(c, (uint64_t)(seconds * 1e9), delay_end) : outcome;
}

static enum sim_outcome start_end(struct sim_call *c)
{
    struct sim_object *const vm = sim_arg(c, 0);

    if (!vm)
        return SIM_FAILED;
    const enum sim_outcome outcome = run(c, vm, NULL, c->args[1].truth);
    return xk_has_prefix(c->operation, "start") ? delay(c, outcome, vm, "start_delay") : outcome;
}

static enum sim_outcome start_on_end(struct sim_call *c)
{
    struct sim_object *const vm = sim_arg(c, 0), *const host = vm ? sim_arg(c, 1) : NULL;

    if (!host)
        return SIM_FAILED;
    const enum sim_outcome outcome = run(c, vm, host, c->args[2].truth);
    return xk_has_prefix(c->operation, "start") ? delay(c, outcome, vm, "start_delay") : outcome;
}

static enum sim_outcome start(struct sim_call *c)
{
    return start_begin(c, "start", NULL, 0.4, start_end);
}

static bool is_evacuating(const struct sim_object *host)
{
    const struct xapi_value *const now = sim_get(host, "current_operations");

    for (size_t i = 0; i < now->count; i++)
        if (sim_same(xapi_value_text(&now->items[2 * i + 1]), "evacuate"))
            return true;
    return false;
}

static enum sim_outcome start_on(struct sim_call *c)
{
    const struct sim_object *const host = sim_arg(c, 0) ? sim_arg(c, 1) : NULL;

    if (!host)
        return SIM_FAILED;
    if (is_evacuating(host))
        return sim_fail(c, "HOST_EVACUATE_IN_PROGRESS", host->ref, NULL);
    return start_begin(c, "start_on", host, 0.4, start_on_end);
}

static enum sim_outcome resume(struct sim_call *c)
{
    return start_begin(c, "resume", NULL, 1, start_end);
}

static enum sim_outcome resume_on(struct sim_call *c)
{
    const struct sim_object *const host = sim_arg(c, 0) ? sim_arg(c, 1) : NULL;

    return host ? start_begin(c, "resume_on", host, 1, start_on_end) : SIM_FAILED;
}

/* ---- stop ---- */

/* End what others do to the machine, as a hard stop does. */
static void cancel_others(struct simpool *p, const struct sim_object *vm, const char *const *ops)
{
    const struct timeval now = {0};

    for (struct sim_call *w = p->working; w; w = w->next) {
        if (!sim_same(w->subject, vm->ref))
            continue;
        for (const char *const *op = ops; *op; op++) {
            if (!sim_same(*op, w->operation))
                continue;
            w->cancelled = true;
            (void)event_add(w->timer, &now);
        }
    }
}

void sim_vm_halt(struct simpool *p, struct sim_object *vm)
{
    image_destroy(p, vm);
    sim_vm_leave(p, vm, "Halted");
}

static enum sim_outcome halt_end(struct sim_call *c)
{
    struct sim_object *const vm = sim_arg(c, 0);

    if (!vm)
        return SIM_FAILED;
    sim_vm_halt(c->pool, vm);
    tell(c->pool, vm, "VM_SHUTDOWN", sim_same(c->operation, "hard_shutdown") ? "shutdown forcibly" : "shutdown");
    return delay(c, SIM_DONE, vm, "shutdown_delay");
}

static enum sim_outcome stop_begin(struct sim_call *c, const char *op, double seconds)
{
    struct sim_object *const vm = sim_arg(c, 0);

    if (!vm)
        return SIM_FAILED;
    const enum sim_outcome outcome = sim_vm_begin(c, 0, op, seconds, halt_end, !sim_same(op, "hard_shutdown"));
    if (outcome == SIM_WORKING)
        sim_put_bool(c->pool, vm, "ha_always_run", false);
    return outcome;
}

static enum sim_outcome clean_shutdown(struct sim_call *c)
{
    return stop_begin(c, "clean_shutdown", 0.6);
}

static enum sim_outcome hard_shutdown(struct sim_call *c)
{
    static const char *const ended[] = {"clean_shutdown", "clean_reboot", "hard_reboot", "pool_migrate",
                                        "call_plugin",    "shutdown",     "suspend",     NULL};
    const enum sim_outcome outcome = stop_begin(c, "hard_shutdown", 0.2);

    if (outcome == SIM_WORKING)
        cancel_others(c->pool, sim_find(c->pool, c->subject, NULL), ended);
    return outcome;
}

static enum sim_outcome shutdown_any(struct sim_call *c)
{
    return stop_begin(c, "shutdown", 0.6);
}

static enum sim_outcome reset(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const vm = sim_arg(c, 0);

    if (!vm)
        return SIM_FAILED;
    if (sim_bool(vm, "is_control_domain"))
        return sim_fail(c, "CANNOT_RESET_CONTROL_DOMAIN", vm->ref, NULL);
    const struct sim_object *const host = sim_follow(p, vm, "resident_on");
    const struct sim_object *const metrics = host ? sim_follow(p, host, "metrics") : NULL;
    if (sim_vm_is_live(vm) && host && metrics && sim_bool(metrics, "live")) {
        if (host == sim_master(p))
            return sim_fail(c, "DOMAIN_EXISTS", vm->ref, NULL);
        return sim_fail(c, "HOST_IS_LIVE", host->ref, NULL);
    }
    sim_vm_leave(p, vm, "Halted");
    return SIM_DONE;
}

static enum sim_outcome reboot_end(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const vm = sim_arg(c, 0);

    if (!vm)
        return SIM_FAILED;
    sim_put_text(p, vm, "power_state", "Running");
    sim_put_int(p, vm, "domid", sim_int(vm, "domid") + 1);
    sim_put_bool(p, vm, "requires_reboot", false);
    metrics_of_start(p, vm, sim_int(vm, "memory_target"));
    guest_boots(p, vm);
    sim_vm_refresh(p, vm);
    tell(c->pool, vm, "VM_REBOOTED", sim_same(c->operation, "clean_reboot") ? "rebooted cleanly" : "rebooted forcibly");
    return SIM_DONE;
}

static enum sim_outcome clean_reboot(struct sim_call *c)
{
    return sim_vm_begin(c, 0, "clean_reboot", 1, reboot_end, true);
}

static enum sim_outcome hard_reboot(struct sim_call *c)
{
    static const char *const ended[] = {"clean_shutdown", "clean_reboot", "pool_migrate",
                                        "call_plugin",    "suspend",      NULL};
    const enum sim_outcome outcome = sim_vm_begin(c, 0, "hard_reboot", 0.4, reboot_end, false);

    if (outcome == SIM_WORKING)
        cancel_others(c->pool, sim_find(c->pool, c->subject, NULL), ended);
    return outcome;
}

/* ---- pause and sleep ---- */

static enum sim_outcome pause_end(struct sim_call *c)
{
    struct sim_object *const vm = sim_arg(c, 0);

    if (!vm)
        return SIM_FAILED;
    sim_put_text(c->pool, vm, "power_state", "Paused");
    sim_vm_refresh(c->pool, vm);
    tell(c->pool, vm, "VM_PAUSED", "paused");
    return SIM_DONE;
}

static enum sim_outcome pause_vm(struct sim_call *c)
{
    return sim_vm_begin(c, 0, "pause", 0.1, pause_end, false);
}

static enum sim_outcome unpause_end(struct sim_call *c)
{
    struct sim_object *const vm = sim_arg(c, 0);

    if (!vm)
        return SIM_FAILED;
    sim_put_text(c->pool, vm, "power_state", "Running");
    guest_boots(c->pool, vm);
    sim_vm_refresh(c->pool, vm);
    tell(c->pool, vm, "VM_UNPAUSED", "unpaused");
    return SIM_DONE;
}

static enum sim_outcome unpause(struct sim_call *c)
{
    return sim_vm_begin(c, 0, "unpause", 0.1, unpause_end, false);
}

/* Where its memory is written to: the machine's own choice, else the pool's, else its host's. */
static struct sim_object *suspend_sr(const struct simpool *p, const struct sim_object *vm, struct sim_why *why)
{
    const struct sim_object *const host = sim_follow(p, vm, "resident_on");
    struct sim_object *const choices[] = {sim_follow(p, vm, "suspend_SR"),
                                          sim_follow(p, sim_pool_object(p), "suspend_image_SR"),
                                          host ? sim_follow(p, host, "suspend_image_sr") : NULL};

    for (size_t i = 0; i < XK_COUNT(choices); i++)
        if (choices[i] && host && sim_host_sees_sr(p, host, choices[i]->ref))
            return choices[i];
    (void)sim_deny(why, "VM_NO_SUSPEND_SR", vm->ref, NULL);
    return NULL;
}

struct sim_object *sim_vm_image_create(struct simpool *p, struct sim_object *vm, struct sim_object *sr)
{
    struct sim_object *const vdi = sim_create(p, "VDI");

    if (!vdi)
        return NULL;
    sim_put_text(p, vdi, "name_label", "Suspend image");
    sim_put_text(p, vdi, "name_description", "Suspend image");
    sim_put_text(p, vdi, "SR", sr->ref);
    sim_put_text(p, vdi, "type", "suspend");
    sim_put_int(p, vdi, "virtual_size", sim_int(vm, "memory_static_max"));
    sim_put_int(p, vdi, "physical_utilisation", sim_int(vm, "memory_target"));
    sim_put_text(p, vdi, "location", sim_text(vdi, "uuid"));
    sim_put_bool(p, vdi, "managed", true);
    sim_put_map(p, vdi, "sm_config", (const char *const[]){"vmhint", sim_text(vm, "uuid"), NULL});
    sim_sr_take(p, sr, sim_int(vm, "memory_target"));
    sim_vdi_allowed(p, vdi);
    sim_put_text(p, vm, "suspend_VDI", vdi->ref);
    return vdi;
}

static enum sim_outcome suspend_end(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const vm = sim_arg(c, 0);
    struct sim_why why;

    if (!vm)
        return SIM_FAILED;
    struct sim_object *const sr = suspend_sr(p, vm, &why);
    if (!sr)
        return sim_refuse(c, &why);
    if (!sim_sr_has_room(sr, sim_int(vm, "memory_target"), NULL))
        return sim_fail(c, "SR_SUSPEND_SPACE_INSUFFICIENT", sr->ref, NULL);
    if (!sim_vm_image_create(p, vm, sr))
        return sim_no_memory(c);
    sim_vm_leave(p, vm, "Suspended");
    tell(c->pool, vm, "VM_SUSPENDED", "suspended");
    return SIM_DONE;
}

static enum sim_outcome suspend(struct sim_call *c)
{
    const enum sim_outcome outcome = sim_vm_begin(c, 0, "suspend", 1, suspend_end, true);

    if (outcome == SIM_WORKING)
        sim_put_bool(c->pool, sim_find(c->pool, c->subject, NULL), "ha_always_run", false);
    return outcome;
}

/* The guest alone sleeps or wakes; outside, only its agent falls silent. */
static enum sim_outcome guest_sleeps(struct sim_call *c, bool sleeps)
{
    struct sim_object *const vm = sim_arg(c, 0), *const guest = vm ? sim_follow(c->pool, vm, "guest_metrics") : NULL;
    struct sim_why why;

    if (!vm)
        return SIM_FAILED;
    if (!sim_vm_has_power(vm, SIM_IS_RUNNING, "running", &why))
        return sim_refuse(c, &why);
    if (!guest)
        return sim_fail(c, "VM_LACKS_FEATURE", vm->ref, NULL);
    sim_put_bool(c->pool, guest, "live", !sleeps);
    return SIM_DONE;
}

static enum sim_outcome s3_suspend(struct sim_call *c)
{
    return guest_sleeps(c, true);
}

static enum sim_outcome s3_resume(struct sim_call *c)
{
    return guest_sleeps(c, false);
}

/* ---- the end ---- */

void sim_vm_destroy(struct simpool *p, struct sim_object *vm)
{
    static const char *const parts[] = {"VBDs", "VIFs", "VGPUs", "VUSBs", "VTPMs", "consoles", "crash_dumps"};
    struct sim_object *const own[] = {sim_follow(p, vm, "metrics"), sim_follow(p, vm, "guest_metrics")};
    struct sim_object *const appliance = sim_follow(p, vm, "appliance");
    const struct xapi_value *const blobs = sim_get(vm, "blobs");
    struct sim_object *child;

    for (size_t i = 0; i < blobs->count; i++) {
        struct sim_object *const blob = sim_find(p, xapi_value_text(&blobs->items[2 * i + 1]), NULL);
        if (blob)
            sim_delete(p, blob);
    }
    for (size_t at = 0; (child = sim_member(p, vm, "children", &at)); at = 0)
        sim_put_text(p, child, "parent", sim_text(vm, "parent"));
    for (size_t i = 0; i < XK_COUNT(parts); i++) {
        struct sim_object *part;
        for (size_t at = 0; (part = sim_member(p, vm, parts[i], &at)) && p->error == 0; at = 0) {
            struct sim_object *const vdi = i == 0 ? sim_follow(p, part, "VDI") : NULL;
            struct sim_object *const metrics = i < 2 ? sim_follow(p, part, "metrics") : NULL;
            sim_delete(p, part);
            if (metrics)
                sim_delete(p, metrics);
            if (vdi)
                sim_vdi_allowed(p, vdi);
        }
    }
    for (size_t i = 0; i < XK_COUNT(own); i++)
        if (own[i])
            sim_delete(p, own[i]);
    sim_delete(p, vm);
    if (appliance)
        sim_appliance_allowed(p, appliance);
}

static enum sim_outcome destroy(struct sim_call *c)
{
    struct sim_object *const vm = sim_arg(c, 0);
    struct sim_why why;

    if (!vm)
        return SIM_FAILED;
    if (!sim_vm_may(c->pool, vm, "destroy", true, &why))
        return sim_refuse(c, &why);
    sim_vm_destroy(c->pool, vm);
    return SIM_DONE;
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
    {"VM.s3_suspend", s3_suspend},
    {"VM.s3_resume", s3_resume},
    {"VM.destroy", destroy},
    {NULL, NULL},
};
