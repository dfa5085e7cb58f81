/* Virtual machines: they start and stop, are copied, installed, removed. */
#include "lib/xe/inner.h"

#include "core/text.h"

#include <expat.h>
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

/* ---- copies ---- */

struct copies {
    const char *method;
    struct xapi_value third; /* nil: the message has two parameters */
    const char **refs;
    size_t count;
};

static void copy_one(struct xe *x, struct xe_object *vm, void *context)
{
    struct copies *const c = context;
    const struct xapi_value name = xapi_str(xe_required(x, "new-name-label"));
    const struct xapi_value made = c->third.shape == XAPI_NIL ? xe_do(x, c->method, xapi_str(vm->ref), name)
                                                              : xe_do(x, c->method, xapi_str(vm->ref), name, c->third);

    if (xe_fine(x))
        c->refs[c->count++] = xe_value_text(x, &made);
}

static void copies(struct xe *x, const char *method, struct xapi_value third, unsigned how)
{
    static const char *const own[] = {"new-name-label", "new-name-description", "ignore-vdi-uuids", NULL};
    static const char *const own_copy[] = {"new-name-label", "sr-uuid", "new-name-description", NULL};
    const char *const description = xe_param(x, "new-name-description");
    struct copies c = {.method = method, .third = third};
    const bool copy = strcmp(method, "VM.copy") == 0;

    c.refs = xk_arena_alloc(&x->arena, (1u << 16) * sizeof(*c.refs));
    if (!c.refs)
        return xe_fail_memory(x);
    (void)xe_each(x, XE_SELECTS_VMS, how, copy ? own_copy : own, copy_one, &c);
    /* Of several the last one comes first. */
    for (size_t i = 0; i < c.count / 2; i++) {
        const char *const swap = c.refs[i];
        c.refs[i] = c.refs[c.count - 1 - i];
        c.refs[c.count - 1 - i] = swap;
    }
    if (description && c.count > 0)
        (void)xe_do(x, "VM.set_name_description", xapi_str(c.refs[0]), xapi_str(description));
    for (size_t i = 0; i < c.count && xe_fine(x); i++)
        c.refs[i] = xe_uuid_of(x, "VM", c.refs[i]);
    xe_list(x, c.refs, c.count);
}

static void vm_clone(struct xe *x)
{
    copies(x, "VM.clone", xapi_nil(), XE_ALSO_TEMPLATES);
}

static void vm_checkpoint(struct xe *x)
{
    copies(x, "VM.checkpoint", xapi_nil(), 0);
}

static void vm_snapshot_with_quiesce(struct xe *x)
{
    copies(x, "VM.snapshot_with_quiesce", xapi_nil(), 0);
}

static void vm_snapshot(struct xe *x)
{
    const char *const ignored = xe_param(x, "ignore-vdi-uuids");
    const struct xapi_value uuids = ignored ? xe_split(x, ignored, ',') : xapi_list(NULL, 0);
    struct xapi_value *const refs = xk_arena_alloc(&x->arena, (uuids.count + 1) * sizeof(*refs));

    if (!refs)
        return xe_fail_memory(x);
    for (uint32_t i = 0; i < uuids.count; i++)
        refs[i] = xapi_str(xe_by_uuid(x, "VDI", uuids.items[i].text));
    copies(x, "VM.snapshot", xapi_list(refs, uuids.count), 0);
}

static const char *sr_or_null(struct xe *x)
{
    return xe_param(x, "sr-uuid") ? xe_param_ref(x, "SR", "sr-uuid") : XE_NULL;
}

static void vm_copy(struct xe *x)
{
    copies(x, "VM.copy", xapi_str(sr_or_null(x)), XE_ALSO_TEMPLATES | XE_ONE);
}

/* ---- snapshots ---- */

static const char *snapshot_uuid(struct xe *x)
{
    const char *const own = xe_param(x, "snapshot-uuid"), *const uuid = own ? own : xe_param(x, "uuid");

    if (!uuid)
        xe_fail(x, "Required parameter not found: snapshot-uuid or uuid.");
    return uuid ? uuid : "";
}

const char *xe_snapshot(struct xe *x)
{
    const char *const uuid = snapshot_uuid(x), *const ref = xe_by_uuid(x, "VM", uuid);

    if (!xe_get_bool(x, "VM.get_is_a_snapshot", ref))
        xe_fail(x, "This operation can only be performed on a VM snapshot. %s is not a VM snapshot.", uuid);
    return ref;
}

static void snapshot_revert(struct xe *x)
{
    (void)xe_get(x, "VM.revert", xe_snapshot(x));
}

static void snapshot_reset_powerstate(struct xe *x)
{
    xe_need_force(x);
    (void)xe_get(x, "VM.power_state_reset", xe_fine(x) ? xe_snapshot(x) : "");
}

static void snapshot_copied(struct xe *x, const struct xapi_value *made)
{
    const char *const description = xe_param(x, "new-name-description"), *const ref = xe_value_text(x, made);

    if (description)
        (void)xe_do(x, "VM.set_name_description", xapi_str(ref), xapi_str(description));
    xe_list_one(x, xe_uuid_of(x, "VM", ref));
}

static void snapshot_clone(struct xe *x)
{
    const struct xapi_value made =
        xe_do(x, "VM.clone", xapi_str(xe_snapshot(x)), xapi_str(xe_required(x, "new-name-label")));

    snapshot_copied(x, &made);
}

static void snapshot_copy(struct xe *x)
{
    const struct xapi_value sr = xapi_str(sr_or_null(x));
    const struct xapi_value made =
        xe_do(x, "VM.copy", xapi_str(xe_snapshot(x)), xapi_str(xe_required(x, "new-name-label")), sr);

    snapshot_copied(x, &made);
}

static void snapshot_destroy(struct xe *x)
{
    const char *const ref = xe_snapshot(x);

    if (strcmp(xe_get_text(x, "VM.get_power_state", ref), "Halted") != 0)
        (void)xe_get(x, "VM.hard_shutdown", ref);
    (void)xe_get(x, "VM.destroy", ref);
}

/* ---- removal ---- */

#define DISKS_MAX 512

struct removal {
    const char *vm;
    const char *vdis[DISKS_MAX];
    size_t count;
    const char *suspended; /* or XE_NULL */
};

static void announce_disk(struct xe *x, const char *vdi)
{
    const struct xapi_value r = xe_get(x, "VDI.get_record", vdi);
    const struct xapi_value *const vbds = xapi_map_get(&r, "VBDs");
    const char *const line = xk_arena_printf(
        &x->arena, "VDI: %s (%s) %s", xapi_value_text(xapi_map_get(&r, "uuid")),
        xapi_value_text(xapi_map_get(&r, "name_label")),
        vbds && vbds->shape == XAPI_LIST && vbds->count > 1 ? " ** WARNING: disk is shared by other VMs" : "");

    if (xe_fine(x) && line)
        xe_print(x, line);
}

/* The disks that were made for the VM: their VBDs say "owner". */
static void collect(struct xe *x, struct removal *r)
{
    const struct xapi_value vbds = xe_get(x, "VM.get_VBDs", r->vm);

    for (uint32_t i = 0; i < vbds.count && r->count < DISKS_MAX && xe_fine(x); i++) {
        const struct xapi_value config = xe_get(x, "VBD.get_other_config", xe_item(&vbds, i));
        const char *const vdi = xe_get_text(x, "VBD.get_VDI", xe_item(&vbds, i));
        (void)xe_uuid_of(x, "VDI", vdi);
        if (!xe_forgive(x) && xapi_map_get(&config, "owner"))
            r->vdis[r->count++] = vdi;
    }
    r->suspended = xe_get_text(x, "VM.get_suspend_VDI", r->vm);
    (void)xe_uuid_of(x, "VDI", r->suspended);
    if (xe_forgive(x))
        r->suspended = XE_NULL;
}

static void announce(struct xe *x, const struct removal *r)
{
    const struct xapi_value record = xe_get(x, "VM.get_record", r->vm);
    const char *const line = xk_arena_printf(&x->arena, "VM : %s (%s)", xapi_value_text(xapi_map_get(&record, "uuid")),
                                             xapi_value_text(xapi_map_get(&record, "name_label")));

    if (xe_fine(x) && line)
        xe_print(x, line);
    for (size_t i = 0; i < r->count; i++)
        announce_disk(x, r->vdis[i]);
    if (!xe_is_null(r->suspended))
        announce_disk(x, r->suspended);
}

static void remove_vm(struct xe *x, const struct removal *r)
{
    if (strcmp(xe_get_text(x, "VM.get_power_state", r->vm), "Halted") != 0)
        (void)xe_get(x, "VM.hard_shutdown", r->vm);
    (void)xe_get(x, "VM.destroy", r->vm);
    for (size_t i = 0; i < r->count; i++)
        (void)xe_get(x, "VDI.destroy", r->vdis[i]);
    if (xe_fine(x) && !xe_is_null(r->suspended)) {
        (void)xe_get(x, "VDI.destroy", r->suspended);
        (void)xe_forgive(x);
    }
}

static void uninstall(struct xe *x, const char *const *vms, size_t count)
{
    struct removal *const removals = xk_arena_alloc(&x->arena, (count + 1) * sizeof(*removals));

    if (!removals)
        return xe_fail_memory(x);
    for (size_t i = 0; i < count && xe_fine(x); i++) {
        removals[i].vm = vms[i];
        collect(x, &removals[i]);
    }
    if (!xe_fine(x))
        return;
    xe_print(x, "The following items are about to be destroyed");
    for (size_t i = 0; i < count; i++)
        announce(x, &removals[i]);
    if (!xe_fine(x) || (!xe_param_bool(x, "force", false) && !xe_yes(x)))
        return;
    for (size_t i = 0; i < count; i++)
        remove_vm(x, &removals[i]);
    if (xe_fine(x))
        xe_print(x, "All objects destroyed");
}

struct chosen {
    const char *refs[1024];
    size_t count;
};

static void choose_one(struct xe *x, struct xe_object *vm, void *context)
{
    struct chosen *const c = context;

    if (c->count < XK_COUNT(c->refs))
        c->refs[c->count++] = vm->ref;
}

static void vm_uninstall(struct xe *x)
{
    struct chosen *const c = xk_arena_alloc(&x->arena, sizeof(*c));

    if (!c)
        return xe_fail_memory(x);
    (void)xe_each(x, XE_SELECTS_VMS, 0, NULL, choose_one, c);
    const size_t vms = c->count;
    for (size_t i = 0; i < vms && xe_fine(x); i++) {
        const struct xapi_value snapshots = xe_get(x, "VM.get_snapshots", c->refs[i]);
        for (uint32_t j = 0; j < snapshots.count && c->count < XK_COUNT(c->refs); j++)
            c->refs[c->count++] = xe_item(&snapshots, j);
    }
    if (xe_fine(x))
        uninstall(x, c->refs, c->count);
}

static void template_uninstall(struct xe *x)
{
    const char *const uuid = xe_required(x, "template-uuid"), *const vm = xe_by_uuid(x, "VM", uuid);

    if (!xe_get_bool(x, "VM.get_is_a_template", vm))
        xe_fail(x, "This operation can only be performed on a VM template. %s is not a VM template.", uuid);
    if (xe_fine(x))
        uninstall(x, &vm, 1);
}

static void snapshot_uninstall(struct xe *x)
{
    const char *const vm = xe_snapshot(x);

    if (xe_fine(x))
        uninstall(x, &vm, 1);
}

/* ---- installation ---- */

static const char *template_by_name(struct xe *x, const char *name)
{
    struct xe_objects vms = xe_all(x, "vm", "VM", "true");

    xe_filter(x, &vms, "name-label", name);
    xe_filter(x, &vms, "is-a-template", "true");
    xe_filter(x, &vms, "is-control-domain", "false");
    if (vms.count == 1)
        return vms.items[0].ref;
    xe_fail(x, vms.count == 0 ? "No templates matched" : "More than one matching template found");
    return XE_NULL;
}

static const char *the_template(struct xe *x)
{
    const char *const uuid = xe_param(x, "template-uuid"), *const label = xe_param(x, "template-name-label");
    const char *const name = label ? label : xe_param(x, "template-name"), *const any = xe_param(x, "template");
    const char *ref = XE_NULL;

    if (uuid) {
        ref = xe_by_uuid(x, "VM", uuid);
        if (xe_forgive(x))
            xe_fail(x, "Cannot find template");
        return ref;
    }
    if (name)
        return template_by_name(x, name);
    if (!any) {
        xe_fail(x, "Template must be specified by parameter 'template-uuid', 'template-name', 'template-name-label' or "
                   "'template'");
        return ref;
    }
    ref = xe_by_uuid(x, "VM", any);
    return xe_forgive(x) ? template_by_name(x, any) : ref;
}

/* The SR that the command line names; NULL: none. */
static const char *install_sr(struct xe *x, const char *template)
{
    const char *const name = xe_param(x, "sr-name-label");
    const bool by_uuid = xe_param(x, "sr-uuid") != NULL;

    if (xe_get_bool(x, "VM.get_is_a_snapshot", template)) {
        if (name || by_uuid)
            xe_fail(x,
                    "Do not use the sr-name-label or sr-uuid argument when installing from a snapshot. By default, it "
                    "will install each new disk on the same SR as the corresponding snapshot disks.");
        return XE_NULL;
    }
    const char *const sr = by_uuid ? xe_param_ref(x, "SR", "sr-uuid") : NULL;
    if (!name)
        return sr;
    const struct xapi_value named = xe_get(x, "SR.get_by_name_label", name);
    if (xe_fine(x) && named.count == 0)
        xe_fail(x, "No SR with that name-label found");
    else if (xe_fine(x) && sr && !xapi_list_has(&named, sr))
        xe_fail(x, "SR specified via sr-uuid doesn't have the name specified via sr-name-label");
    else if (xe_fine(x) && !sr && named.count > 1)
        xe_fail(x, "Multiple SRs with that name-label found");
    return sr ? sr : xe_item(&named, 0);
}

const char *xe_default_sr(struct xe *x)
{
    const char *const sr = xe_get_text(x, "pool.get_default_SR", xe_the_pool(x));
    const char *const uuid = xe_uuid_of(x, "SR", sr);

    if (xe_failed_with(x, "HANDLE_INVALID") && xe_forgive(x))
        return NULL;
    return uuid;
}

/* What a template says of itself: <restriction field="NAME" value="true"/>. */
struct recommendation {
    const char *field;
    bool decided, recommended;
};

static void on_element(void *context, const XML_Char *name, const XML_Char **attributes)
{
    struct recommendation *const r = context;
    bool about = false, yes = false;

    for (size_t i = 0; attributes[i]; i += 2) {
        about |= strcmp(attributes[i], "field") == 0 && strcmp(attributes[i + 1], r->field) == 0;
        yes |= strcmp(attributes[i], "value") == 0 && strcmp(attributes[i + 1], "true") == 0;
    }
    if (!r->decided && about && strcmp(name, "restriction") == 0) {
        r->decided = true;
        r->recommended = yes;
    }
}

static bool is_recommended(const char *xml, const char *field)
{
    struct recommendation r = {.field = field};
    XML_Parser parser = XML_ParserCreate(NULL);

    if (!parser)
        return false;
    XML_SetUserData(parser, &r);
    XML_SetStartElementHandler(parser, on_element);
    (void)XML_Parse(parser, xml, (int)strlen(xml), 1);
    XML_ParserFree(parser);
    return r.recommended;
}

/* The disks that the template will make are put on the SR: sr="…" in other_config:disks. */
static void choose_disks_sr(struct xe *x, const char *vm, const char *sr_uuid)
{
    const struct xapi_value config = xe_get(x, "VM.get_other_config", vm);
    const struct xapi_value *const disks = xapi_map_get(&config, "disks");
    struct xk_buf b = XK_BUF_INIT(1u << 20);

    if (!xe_fine(x) || !disks)
        return;
    for (const char *at = xapi_value_text(disks); *at;) {
        const char *const mark = strstr(at, " sr=\"");
        if (!mark) {
            xk_buf_add_str(&b, at);
            break;
        }
        const char *const end = strchr(mark + 5, '"');
        xk_buf_add(&b, at, (size_t)(mark - at));
        xk_buf_printf(&b, " sr=\"%s\"", sr_uuid);
        at = end ? end + 1 : "";
    }
    (void)xe_do(x, "VM.remove_from_other_config", xapi_str(vm), xapi_str("disks"));
    (void)xe_do(x, "VM.add_to_other_config", xapi_str(vm), xapi_str("disks"), xe_text_value(x, xk_buf_str(&b)));
    xk_buf_done(&b);
}

static void set_vendor_device(struct xe *x, const char *vm, const char *template)
{
    const char *const recommendations = xe_get_text(x, "VM.get_recommendations", template);
    const bool allowed = !xe_get_bool(x, "pool.get_policy_no_vendor_device", xe_the_pool(x));
    const bool wanted = allowed && is_recommended(recommendations, "has-vendor-device");

    (void)xe_do(x, "VM.set_has_vendor_device", xapi_str(vm), xapi_bool(wanted));
    if (!xe_failed_with(x, "LICENSE_RESTRICTION") || strcmp(xe_item(&x->server, 1), "PCI_device_for_auto_update") != 0)
        return;
    (void)xe_forgive(x);
    const char *const line = xk_arena_printf(
        &x->arena,
        "Note: the VM template recommends setting has-vendor-device=true (to provide the option of obtaining PV "
        "drivers "
        "through Windows Update), but a suitable licence has not been deployed for this host. Ignoring this "
        "recommendation and continuing with installation of VM \"%s\"...\n\n",
        xe_get_text(x, "VM.get_name_label", vm));
    if (!x->minimal && line)
        xe_complain(x, line);
}

static void provision(struct xe *x, const char *vm, const char *template, const char *suspend_sr, const char *sr_uuid)
{
    (void)xe_do(x, "VM.set_name_description", xapi_str(vm), xapi_str("Installed via xe CLI"));
    (void)xe_do(x, "VM.set_suspend_SR", xapi_str(vm), xapi_str(suspend_sr));
    choose_disks_sr(x, vm, sr_uuid);
    set_vendor_device(x, vm, template);
    (void)xe_get(x, "VM.provision", vm);
    if (xe_param(x, "copy-bios-strings-from"))
        (void)xe_do(x, "VM.copy_bios_strings", xapi_str(vm),
                    xapi_str(xe_param_ref(x, "host", "copy-bios-strings-from")));
    xe_list_one(x, xe_uuid_of(x, "VM", vm));
}

static void destroy_half_made(struct xe *x, const char *vm)
{
    const enum xe_failure failure = x->failure;
    const struct xapi_value server = x->server;

    if (!xe_forgive(x))
        return;
    (void)xe_get(x, "VM.destroy", vm);
    if (x->failure != XE_LOST) {
        x->failure = failure;
        x->server = server;
    }
}

static void vm_install(struct xe *x)
{
    const char *const template = the_template(x), *const name = xe_required(x, "new-name-label");

    if (xe_fine(x) && !xe_get_bool(x, "VM.get_is_a_template", template))
        xe_fail(x, "Can only install from templates");
    const char *const sr = install_sr(x, template);
    const char *suspend_sr = sr ? sr : XE_NULL;
    if (xe_fine(x)) {
        if (sr)
            (void)xe_uuid_of(x, "SR", sr);
        if (!sr || xe_forgive(x))
            suspend_sr = xe_get_text(x, "VM.get_suspend_SR", template);
    }
    const char *sr_uuid = sr && !xe_is_null(sr) ? xe_uuid_of(x, "SR", sr) : xe_default_sr(x);
    if (!sr_uuid) {
        const struct xapi_value config = xe_get(x, "VM.get_other_config", template);
        if (xapi_map_get(&config, "disks"))
            xe_fail(x, "Failed to find a valid default SR for the Pool. Please provide an sr-name-label or sr-uuid "
                       "parameter.");
        sr_uuid = "";
    }
    const struct xapi_value made = sr && !xe_is_null(sr)
                                       ? xe_do(x, "VM.copy", xapi_str(template), xapi_str(name), xapi_str(sr))
                                       : xe_do(x, "VM.clone", xapi_str(template), xapi_str(name));
    if (!xe_fine(x))
        return;
    provision(x, xe_value_text(x, &made), template, suspend_sr, sr_uuid);
    if (!xe_fine(x))
        destroy_half_made(x, xe_value_text(x, &made));
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
    {"vm-clone", vm_clone},
    {"vm-checkpoint", vm_checkpoint},
    {"vm-snapshot", vm_snapshot},
    {"vm-snapshot-with-quiesce", vm_snapshot_with_quiesce},
    {"vm-copy", vm_copy},
    {"snapshot-revert", snapshot_revert},
    {"snapshot-reset-powerstate", snapshot_reset_powerstate},
    {"snapshot-clone", snapshot_clone},
    {"snapshot-copy", snapshot_copy},
    {"snapshot-destroy", snapshot_destroy},
    {"snapshot-uninstall", snapshot_uninstall},
    {"template-uninstall", template_uninstall},
    {"vm-uninstall", vm_uninstall},
    {"vm-install", vm_install},
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
