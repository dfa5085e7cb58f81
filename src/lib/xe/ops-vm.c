/* Virtual machines: they start and stop, and what one may ask about them. */
#include "lib/xe/inner.h"

#include "core/text.h"

#include <stdio.h>
#include <string.h>

/* ---- where one can start ---- */

/* Why a VM cannot run on a host, in the words of the table that is shown then. */
static const char *reason(struct xe *x)
{
    static const struct {
        const char *code, *text;
        unsigned param; /* put behind the text; 0: none */
    } rows[] = {
        {"VM_REQUIRES_SR", "VM requires access to SR: ", 2},
        {"HOST_DISABLED", "Host disabled (use 'xe host-enable' to re-enable)", 0},
        {"HOST_DISABLED_INDEFINITELY", "Host disabled indefinitely (use 'xe host-enable' to re-enable)", 0},
        {"HOST_NOT_LIVE", "Host down", 0},
        {"HOST_NOT_ENOUGH_FREE_MEMORY", "Not enough free memory", 0},
        {"VM_REQUIRES_NETWORK", "VM requires access to network: ", 2},
        {"HOST_CANNOT_ATTACH_NETWORK", "Host cannot attach to network: ", 2},
        {"VM_HVM_REQUIRED", "HVM not supported", 0},
    };
    const struct xapi_value error = x->server;
    const char *const code = x->failure == XE_SERVER ? xe_item(&error, 0) : "";
    struct xk_buf b = XK_BUF_INIT(1u << 16);

    if (!xe_forgive(x))
        return "";
    for (size_t i = 0; i < XK_COUNT(rows) && b.len == 0; i++)
        if (strcmp(code, rows[i].code) == 0)
            xk_buf_printf(&b, "%s%s", rows[i].text,
                          rows[i].param == 0            ? ""
                          : rows[i].param < error.count ? xe_index_convert(x, xe_item(&error, rows[i].param))
                                                        : "<server did not provide reference>");
    if (strcmp(code, "HOST_NOT_ENOUGH_PCPUS") == 0 && error.count == 3)
        xk_buf_printf(&b, "Not enough CPUs (VM needs %s, but host has %s)", xe_item(&error, 1), xe_item(&error, 2));
    if (strcmp(code, "INVALID_VALUE") == 0 && error.count == 3)
        xk_buf_printf(&b, "Field has invalid value: %s = %s", xe_item(&error, 1), xe_item(&error, 2));
    if (strcmp(code, "HA_CONSTRAINT_VIOLATION_SR_NOT_SHARED") == 0 && error.count == 2)
        xk_buf_printf(&b,
                      "VM requires access to non-shared SR: %s. SR must both be marked as shared and a properly "
                      "configured PBD must be plugged-in on every host",
                      xe_index_convert(x, xe_item(&error, 1)));
    if (strcmp(code, "HA_CONSTRAINT_VIOLATION_NETWORK_NOT_SHARED") == 0 && error.count == 2)
        xk_buf_printf(&b,
                      "VM requires access to non-shared Network: %s. Network must either be entirely virtual or there "
                      "must be a PIF connecting to this Network on every host.",
                      xe_index_convert(x, xe_item(&error, 1)));
    if (b.len == 0) {
        xk_buf_printf(&b, "Server_error(%s, [ ", code);
        for (uint32_t i = 1; i < error.count; i++)
            xk_buf_printf(&b, "%s%s", i > 1 ? "; " : "", xe_item(&error, i));
        xk_buf_add_str(&b, " ])");
    }
    const struct xapi_value v = xe_text_value(x, xk_buf_str(&b));
    xk_buf_done(&b);
    return v.text;
}

static void host_report(struct xe *x, const char *vm)
{
    const struct xapi_value hosts = xe_do_bare(x, "host.get_all");
    struct xe_pair *const pairs = xk_arena_alloc(&x->arena, (hosts.count + 1) * sizeof(*pairs));

    if (!pairs)
        return xe_fail_memory(x);
    for (uint32_t i = 0; i < hosts.count && xe_fine(x); i++) {
        const char *const host = xe_item(&hosts, i);
        pairs[i] = (struct xe_pair){.name = xe_get_text(x, "host.get_name_label", host), .value = "OK"};
        (void)xe_do(x, "VM.assert_can_boot_here", xapi_str(vm), xapi_str(host));
        if (x->failure == XE_SERVER)
            pairs[i].value = xk_arena_printf(&x->arena, "Cannot start here [%s]", reason(x));
    }
    xe_table_begin(x);
    xe_table_record(x, pairs, hosts.count);
    xe_table_end(x);
}

/* When no host would take the VM, say of each one why; the failure stays. */
static void explain_no_hosts(struct xe *x, const char *vm)
{
    static const char *const lines[] = {
        "There are no suitable hosts to start this VM on.",
        "The following table provides per-host reasons for why the VM could not be started:",
        "",
    };

    if (!xe_failed_with(x, "NO_HOSTS_AVAILABLE"))
        return;
    const struct xapi_value error = x->server;
    (void)xe_forgive(x);
    xe_list(x, lines, XK_COUNT(lines));
    host_report(x, vm);
    if (xe_fine(x)) {
        x->failure = XE_SERVER;
        x->server = error;
    }
}

const char *xe_host_by_name(struct xe *x, const char *name)
{
    const struct xe_objects hosts = xe_all(x, "host", "host", "true");

    for (size_t i = 0; i < hosts.count; i++)
        if (strcmp(xapi_value_text(xapi_map_get(&hosts.items[i].record, "name_label")), name) == 0 ||
            strcmp(xapi_value_text(xapi_map_get(&hosts.items[i].record, "uuid")), name) == 0)
            return hosts.items[i].ref;
    xe_fail(x, "Host %s not found", name);
    return XE_NULL;
}

/* ---- start and stop ---- */

static void start_one(struct xe *x, struct xe_object *vm, void *context)
{
    const struct xapi_value force = xapi_bool(xe_param_bool(x, "force", false));
    const struct xapi_value paused = xapi_bool(xe_param_bool(x, "paused", false));
    const char *const on = xe_param(x, "on");
    const struct xapi_value task =
        on ? xe_do(x, "Async.VM.start_on", xapi_str(vm->ref), xapi_str(xe_host_by_name(x, on)), paused, force)
           : xe_do(x, "Async.VM.start", xapi_str(vm->ref), paused, force);

    xe_wait(x, xapi_value_text(&task));
    explain_no_hosts(x, vm->ref);
}

static void vm_start(struct xe *x)
{
    static const char *const own[] = {"on", "paused", "progress", NULL};

    (void)xe_each(x, XE_SELECTS_VMS, XE_ALSO_CONTROL, own, start_one, NULL);
}

static void resume_one(struct xe *x, struct xe_object *vm, void *context)
{
    const struct xapi_value force = xapi_bool(xe_param_bool(x, "force", false));
    const char *const on = xe_param(x, "on");
    const struct xapi_value task = on ? xe_do(x, "Async.VM.resume_on", xapi_str(vm->ref),
                                              xapi_str(xe_host_by_name(x, on)), xapi_bool(false), force)
                                      : xe_do(x, "Async.VM.resume", xapi_str(vm->ref), xapi_bool(false), force);

    xe_wait(x, xapi_value_text(&task));
    if (!on)
        explain_no_hosts(x, vm->ref);
}

static void vm_resume(struct xe *x)
{
    static const char *const own[] = {"on", "progress", NULL};

    (void)xe_each(x, XE_SELECTS_VMS, 0, own, resume_one, NULL);
}

struct message {
    const char *name;
};

static void async_one(struct xe *x, struct xe_object *vm, void *context)
{
    const struct message *const m = context;
    const struct xapi_value task = xe_do(x, m->name, xapi_str(vm->ref));

    xe_wait(x, xapi_value_text(&task));
}

static void vm_suspend(struct xe *x)
{
    static const char *const own[] = {"progress", NULL};
    struct message m = {"Async.VM.suspend"};

    (void)xe_each(x, XE_SELECTS_VMS, 0, own, async_one, &m);
}

static void vm_shutdown(struct xe *x)
{
    static const char *const own[] = {"progress", NULL};
    struct message m = {xe_param_bool(x, "force", false) ? "Async.VM.hard_shutdown" : "Async.VM.clean_shutdown"};

    if (xe_fine(x))
        (void)xe_each(x, XE_SELECTS_VMS, 0, own, async_one, &m);
}

static void reset_one(struct xe *x, struct xe_object *vm, void *context)
{
    (void)xe_get(x, "VM.power_state_reset", vm->ref);
}

static void vm_reset_powerstate(struct xe *x)
{
    xe_need_force(x);
    if (xe_fine(x))
        (void)xe_each(x, XE_SELECTS_VMS, 0, NULL, reset_one, NULL);
}

static void query_one(struct xe *x, struct xe_object *vm, void *context)
{
    const struct xapi_value map = xe_get(x, "VM.query_services", vm->ref);
    struct xe_pair *const pairs = xk_arena_alloc(&x->arena, (map.count + 1) * sizeof(*pairs));

    if (!pairs)
        return xe_fail_memory(x);
    pairs[0] = (struct xe_pair){.name = "Type", .value = "Name"};
    for (uint32_t i = 0; i < map.count; i++)
        pairs[i + 1] = (struct xe_pair){.name = xapi_value_text(&map.items[2 * i]),
                                        .value = xapi_value_text(&map.items[2 * i + 1])};
    xe_table_begin(x);
    xe_table_record(x, pairs, map.count + 1);
    xe_table_end(x);
}

static void vm_query_services(struct xe *x)
{
    (void)xe_each(x, XE_SELECTS_VMS, 0, NULL, query_one, NULL);
}

static void vm_destroy(struct xe *x)
{
    const char *const vm = xe_param_ref(x, "VM", "uuid");

    if (xe_get_bool(x, "VM.get_is_control_domain", vm))
        return xe_fail_server(x, "OPERATION_NOT_ALLOWED", "You cannot destroy a control domain via the CLI", NULL);
    (void)xe_get(x, "VM.destroy", vm);
}

/* ---- the rest ---- */

static void bios_one(struct xe *x, struct xe_object *vm, void *context)
{
    static const struct {
        const char *key, *value;
    } generic[] = {{"bios-vendor", "Xen"},
                   {"bios-version", ""},
                   {"system-manufacturer", "Xen"},
                   {"system-product-name", "HVM domU"},
                   {"system-version", ""},
                   {"system-serial-number", ""},
                   {"baseboard-manufacturer", ""},
                   {"baseboard-product-name", ""},
                   {"baseboard-version", ""},
                   {"baseboard-serial-number", ""},
                   {"baseboard-asset-tag", ""},
                   {"baseboard-location-in-chassis", ""},
                   {"enclosure-asset-tag", ""},
                   {"hp-rombios", ""},
                   {"oem-1", "Xen"},
                   {"oem-2", "MS_VM_CERT/SHA1/bdbeb6e0a816d43fa6d3fe8aaef04c2bad9d3e3d"}};
    const struct xapi_value map = xe_get(x, "VM.get_bios_strings", vm->ref);
    bool same = map.count == XK_COUNT(generic);

    for (size_t i = 0; same && i < XK_COUNT(generic); i++) {
        const struct xapi_value *const v = xapi_map_get(&map, generic[i].key);
        same = v && strcmp(xapi_value_text(v), generic[i].value) == 0;
    }
    xe_say(x, map.count == 0 ? "The BIOS strings of this VM have not yet been set."
              : same         ? "This VM is BIOS-generic."
                             : "This VM is BIOS-customized.");
}

static void vm_is_bios_customized(struct xe *x)
{
    (void)xe_each(x, XE_SELECTS_VMS, 0, NULL, bios_one, NULL);
}

struct sysprep {
    const char *answer_file;
    double timeout_s;
};

static void sysprep_one(struct xe *x, struct xe_object *vm, void *context)
{
    const struct sysprep *const s = context;

    (void)xe_do(x, "VM.sysprep", xapi_str(vm->ref), xapi_str(s->answer_file), xapi_real(s->timeout_s));
}

static void vm_sysprep(struct xe *x)
{
    static const char *const own[] = {"filename", "timeout", NULL};
    struct sysprep s = {.timeout_s = 180};

    if (xe_param(x, "timeout") && (!xe_real(&s.timeout_s, xe_param(x, "timeout")) || s.timeout_s < 0))
        s.timeout_s = s.timeout_s < 0 ? 0 : 180;
    s.answer_file = xe_file_load(x, xe_required(x, "filename"));
    if (!s.answer_file) {
        if (xe_fine(x))
            xe_complain(x, "Failed to read file.\n");
        return xe_fail_exit(x, 1);
    }
    (void)xe_each(x, XE_SELECTS_VMS, 0, own, sysprep_one, &s);
}

static void wlb_one(struct xe *x, const struct xe_object *vm)
{
    const struct xapi_value map = xe_get(x, "VM.retrieve_wlb_recommendations", vm->ref);
    struct xe_pair *const pairs = xk_arena_alloc(&x->arena, (map.count + 1) * sizeof(*pairs));

    if (!pairs)
        return xe_fail_memory(x);
    pairs[0] = (struct xe_pair){.name = "Host(Uuid)", .value = "Stars, RecID, ZeroScoreReason"};
    for (uint32_t i = 0; i < map.count; i++) {
        const char *const host = xapi_value_text(&map.items[2 * i]);
        pairs[i + 1] =
            (struct xe_pair){.name = xk_arena_printf(&x->arena, "%s(%s)", xe_get_text(x, "host.get_name_label", host),
                                                     xe_uuid_of(x, "host", host)),
                             .value = xe_joined(x, &map.items[2 * i + 1], " ")};
    }
    xe_table_begin(x);
    xe_table_record(x, pairs, map.count + 1);
    xe_table_end(x);
}

static void vm_retrieve_wlb_recommendations(struct xe *x)
{
    const struct xe_objects vms = xe_select(x, XE_SELECTS_VMS, 0, NULL);

    if (xe_fine(x) && vms.count == 1)
        return wlb_one(x, &vms.items[0]);
    xe_fail(x, vms.count == 0 ? "No matching VMs found"
                              : "Multiple VMs found. Operation can only be performed on one VM at a time");
}

static void with_database(struct xe *x, const char *class_name, const char *method, bool force)
{
    const struct xapi_value database = xe_param_map(x, "database");
    const struct xapi_value *const vdi = xapi_map_get(&database, "vdi-uuid");
    const struct xe_remote *const remote = x->settings->remote;
    const struct xapi_value to = xapi_str(remote->session(remote->context));
    const bool forced = force && xe_param_bool(x, "force", false);

    if (!vdi)
        return xe_fail(x, "A parameter of the form 'database:vdi-uuid=<uuid>' must be specified to run this command.");
    const char *const session = xe_get_text(x, "VDI.open_database", xe_by_uuid(x, "VDI", xapi_value_text(vdi)));
    if (!xe_fine(x))
        return;
    x->session = session;
    const char *const ref = xe_param_ref(x, class_name, "uuid");
    if (force)
        (void)xe_do(x, method, xapi_str(ref), to, xapi_bool(forced));
    else
        (void)xe_do(x, method, xapi_str(ref), to);
    xe_end_database(x);
}

static void vm_recover(struct xe *x)
{
    with_database(x, "VM", "VM.recover", true);
}

static void vm_assert_can_be_recovered(struct xe *x)
{
    with_database(x, "VM", "VM.assert_can_be_recovered", false);
}

static void appliance_recover(struct xe *x)
{
    with_database(x, "VM_appliance", "VM_appliance.recover", true);
}

static void appliance_assert_can_be_recovered(struct xe *x)
{
    with_database(x, "VM_appliance", "VM_appliance.assert_can_be_recovered", false);
}

static void diagnostic_vm_status(struct xe *x)
{
    const char *const vm = xe_param_ref(x, "VM", "uuid");
    struct xe_object o = xe_object(x, "vm", vm);

    xe_table_begin(x);
    xe_print_object(x, &o, NULL, "uuid,name-label,power-state,possible-hosts");
    xe_table_end(x);
    xe_list_one(x, "Checking to see whether disks are attachable");
    const struct xapi_value vbds = xe_get(x, "VM.get_VBDs", vm);
    for (uint32_t i = 0; i < vbds.count && xe_fine(x); i++) {
        struct xe_object vbd = xe_object(x, "vbd", xe_item(&vbds, i));
        xe_table_begin(x);
        xe_print_object(x, &vbd, NULL, "uuid,userdevice,device,vdi-uuid,empty,mode,type,storage-lock,attachable");
        xe_table_end(x);
    }
    xe_list_one(x, "Checking to see whether VM can boot on each host");
    host_report(x, vm);
    (void)xe_get(x, "VM.assert_agile", vm);
    const char *text = "VM is agile.";
    if (x->failure == XE_SERVER)
        text = xk_arena_printf(&x->arena, "VM is not agile because: %s", reason(x));
    xe_list_one(x, text ? text : "");
}

const struct xe_row xe_vm_rows[] = {
    {"vm-start", vm_start},
    {"vm-resume", vm_resume},
    {"vm-suspend", vm_suspend},
    {"vm-shutdown", vm_shutdown},
    {"vm-reset-powerstate", vm_reset_powerstate},
    {"vm-query-services", vm_query_services},
    {"vm-destroy", vm_destroy},
    {"vm-is-bios-customized", vm_is_bios_customized},
    {"vm-sysprep", vm_sysprep},
    {"vm-retrieve-wlb-recommendations", vm_retrieve_wlb_recommendations},
    {"vm-recover", vm_recover},
    {"vm-assert-can-be-recovered", vm_assert_can_be_recovered},
    {"appliance-recover", appliance_recover},
    {"appliance-assert-can-be-recovered", appliance_assert_can_be_recovered},
    {"diagnostic-vm-status", diagnostic_vm_status},
    {NULL, NULL},
};
