/*
 * Devices that hosts lend to machines: TPMs, USB, graphics, PCI; and crash dumps.
 *
 * Simulated hosts have no such hardware; what is made here are the records that need none, with the questions of the
 * real server. Pools that were loaded bring their own hardware along.
 */
#include "lib/simpool/ops.h"

#define USB_DEVICES_MAX 6
#define VGPU_DEVICE_MAX 20

/* An error whose parameters are members of a set. */
static enum sim_outcome fail_members(struct sim_call *c, const char *code, const struct sim_object *o,
                                     const char *field, bool attached_only)
{
    const struct sim_object *member;
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&c->arena);

    xapi_build_open(&b, XAPI_LIST);
    xapi_build_text(&b, code);
    for (size_t at = 0; (member = sim_member(c->pool, o, field, &at));)
        if (!attached_only || sim_bool(member, "currently_attached"))
            xapi_build_text(&b, member->ref);
    xapi_build_close(&b);
    return xapi_build_end(&b, &c->error) < 0 ? sim_no_memory(c) : SIM_FAILED;
}

static bool has_attached(const struct simpool *p, const struct sim_object *o, const char *field)
{
    const struct sim_object *member;

    for (size_t at = 0; (member = sim_member(p, o, field, &at));)
        if (sim_bool(member, "currently_attached"))
            return true;
    return false;
}

/* ---- groups of devices ---- */

static enum sim_outcome group_create(struct sim_call *c)
{
    static const char *const fields[] = {"name_label", "name_description", "other_config"};
    struct sim_object *const group = sim_create(c->pool, xapi_text(xapi_classes[c->message->class_index].name));

    if (!group)
        return sim_no_memory(c);
    for (unsigned i = 0; i < XK_COUNT(fields); i++)
        sim_put(c->pool, group, fields[i], c->args[i]);
    return sim_done_ref(c, group);
}

static enum sim_outcome group_destroy(struct sim_call *c, const char *virtual, const char *physical, const char *in_use,
                                      const char *not_empty)
{
    struct sim_object *const group = sim_arg(c, 0);

    if (!group)
        return SIM_FAILED;
    if (has_attached(c->pool, group, virtual))
        return fail_members(c, in_use, group, virtual, true);
    if (sim_get(group, physical)->count)
        return fail_members(c, not_empty, group, physical, false);
    sim_delete_members(c->pool, group, virtual);
    sim_delete(c->pool, group);
    return SIM_DONE;
}

static enum sim_outcome usb_group_destroy(struct sim_call *c)
{
    return group_destroy(c, "VUSBs", "PUSBs", "USB_GROUP_CONTAINS_VUSB", "USB_GROUP_CONTAINS_PUSB");
}

static enum sim_outcome gpu_group_destroy(struct sim_call *c)
{
    return group_destroy(c, "VGPUs", "PGPUs", "GPU_GROUP_CONTAINS_VGPU", "GPU_GROUP_CONTAINS_PGPU");
}

/* ---- USB ---- */

/* In the order of the enum vusb_operations: attach, plug, unplug. */
static void vusb_allowed(struct simpool *p, struct sim_object *vusb)
{
    const struct sim_object *const vm = sim_follow(p, vusb, "VM");
    const bool runs = vm && sim_vm_power(vm) == SIM_IS_RUNNING, attached = sim_bool(vusb, "currently_attached");

    sim_put_allowed(p, vusb, (vm ? 1u : 0u) | (runs && !attached ? 2u : 0u) | (runs && attached ? 4u : 0u));
}

static enum sim_outcome vusb_create(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const vm = sim_arg(c, 0), *const group = vm ? sim_arg(c, 1) : NULL;
    char text[160];

    if (!group)
        return SIM_FAILED;
    if (sim_get(vm, "VUSBs")->count >= USB_DEVICES_MAX)
        return sim_fail(c, "TOO_MANY_VUSBS", "6", NULL);
    if (sim_get(group, "VUSBs")->count)
        return sim_fail(c, "USB_GROUP_CONFLICT", group->ref, NULL);
    if (sim_is(vm, "ha_restart_priority", "restart")) {
        snprintf(text, sizeof(text), "VM %s ha_restart_priority has been set to 'restart', cannot create VUSB for it. ",
                 vm->ref);
        return sim_fail(c, "OPERATION_NOT_ALLOWED", text, NULL);
    }
    struct sim_object *const vusb = sim_create(p, "VUSB");
    if (!vusb)
        return sim_no_memory(c);
    sim_put_text(p, vusb, "VM", vm->ref);
    sim_put_text(p, vusb, "USB_group", group->ref);
    sim_put(p, vusb, "other_config", c->args[2]);
    vusb_allowed(p, vusb);
    sim_vm_allowed(p, vm);
    return sim_done_ref(c, vusb);
}

static enum sim_outcome vusb_unplug(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const vusb = sim_arg(c, 0), *const vm = vusb ? sim_follow(p, vusb, "VM") : NULL;
    struct sim_why why;

    if (!vusb)
        return SIM_FAILED;
    if (vm && !sim_vm_has_power(vm, SIM_IS_RUNNING, "running", &why))
        return sim_refuse(c, &why);
    if (!sim_bool(vusb, "currently_attached"))
        return sim_fail(c, "DEVICE_ALREADY_DETACHED", vusb->ref, NULL);
    sim_put_bool(p, vusb, "currently_attached", false);
    vusb_allowed(p, vusb);
    return SIM_DONE;
}

static enum sim_outcome vusb_destroy(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const vusb = sim_arg(c, 0), *const vm = vusb ? sim_follow(p, vusb, "VM") : NULL;
    char text[160];

    if (!vusb)
        return SIM_FAILED;
    if (sim_bool(vusb, "currently_attached")) {
        snprintf(text, sizeof(text), "VUSB '%.36s' still attached to '%.36s'", sim_text(vusb, "uuid"),
                 vm ? sim_text(vm, "uuid") : "");
        return sim_fail(c, "OPERATION_NOT_ALLOWED", text, NULL);
    }
    sim_delete(p, vusb);
    if (vm)
        sim_vm_allowed(p, vm);
    return SIM_DONE;
}

/* The hardware is as its records say. */
static enum sim_outcome pusb_scan(struct sim_call *c)
{
    return sim_arg(c, 0) ? SIM_DONE : SIM_FAILED;
}

static enum sim_outcome pusb_set_passthrough(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const pusb = sim_arg(c, 0);
    const struct sim_object *const group = pusb ? sim_follow(p, pusb, "USB_group") : NULL;
    size_t at = 0;

    if (!pusb)
        return SIM_FAILED;
    const struct sim_object *const vusb = group && !c->args[1].truth ? sim_member(p, group, "VUSBs", &at) : NULL;
    if (vusb)
        return sim_fail(c, "PUSB_VDI_CONFLICT", pusb->ref, vusb->ref, NULL);
    sim_put(p, pusb, "passthrough_enabled", c->args[1]);
    return SIM_DONE;
}

/* ---- TPM ---- */

static struct sim_object *secret_create(struct simpool *p, const char *value)
{
    struct sim_object *const secret = sim_create(p, "secret");

    if (secret)
        sim_put_text(p, secret, "value", value);
    return secret;
}

static enum sim_outcome vtpm_create(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const vm = sim_arg(c, 0);
    struct sim_why why;

    if (!vm)
        return SIM_FAILED;
    if (!sim_vm_may(p, vm, "create_vtpm", true, &why))
        return sim_refuse(c, &why);
    struct sim_object *const vtpm = sim_create(p, "VTPM"), *const secret = vtpm ? secret_create(p, "") : NULL;
    if (!secret)
        return sim_no_memory(c);
    sim_put_text(p, vtpm, "VM", vm->ref);
    sim_put(p, vtpm, "is_unique", c->args[1]);
    sim_put_text(p, vtpm, "persistence_backend", "xapi");
    sim_put_text(p, vtpm, "contents", secret->ref);
    sim_vm_allowed(p, vm);
    return sim_done_ref(c, vtpm);
}

static enum sim_outcome vtpm_destroy(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const vtpm = sim_arg(c, 0), *const vm = vtpm ? sim_follow(p, vtpm, "VM") : NULL;
    struct sim_why why;

    if (!vtpm)
        return SIM_FAILED;
    if (vm && !sim_vm_has_power(vm, SIM_IS_HALTED | SIM_IS_SUSPENDED, "halted;suspended", &why))
        return sim_refuse(c, &why);
    struct sim_object *const secret = sim_follow(p, vtpm, "contents");
    sim_delete(p, vtpm);
    if (secret)
        sim_delete(p, secret);
    if (vm)
        sim_vm_allowed(p, vm);
    return SIM_DONE;
}

static enum sim_outcome vtpm_get_contents(struct sim_call *c)
{
    const struct sim_object *const vtpm = sim_arg(c, 0), *const secret =
                                                             vtpm ? sim_follow(c->pool, vtpm, "contents") : NULL;

    if (!vtpm)
        return SIM_FAILED;
    if (!secret)
        return sim_bad_handle(c, (uint16_t)xapi_class_index(xapi_class_find("secret")), sim_text(vtpm, "contents"));
    c->result = *sim_get(secret, "value");
    return SIM_DONE;
}

static bool is_base64(const char *text)
{
    const size_t len = strlen(text),
                 body = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");

    return len % 4 == 0 && len - body <= 2 && strspn(text + body, "=") == len - body;
}

static enum sim_outcome vtpm_set_contents(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const vtpm = sim_arg(c, 0), *const old = vtpm ? sim_follow(p, vtpm, "contents") : NULL;

    if (!vtpm)
        return SIM_FAILED;
    if (!is_base64(sim_arg_text(c, 1)))
        return sim_fail(c, "INTERNAL_ERROR", "the contents are not in base64", NULL);
    struct sim_object *const secret = secret_create(p, sim_arg_text(c, 1));
    if (!secret)
        return sim_no_memory(c);
    sim_put_text(p, vtpm, "contents", secret->ref);
    if (old)
        sim_delete(p, old);
    return SIM_DONE;
}

/* ---- graphics ---- */

static bool device_is_used(const struct simpool *p, const struct sim_object *vm, int64_t device)
{
    const struct sim_object *vgpu;
    int64_t used;

    for (size_t at = 0; (vgpu = sim_member(p, vm, "VGPUs", &at));)
        if (xk_parse_i64(&used, sim_text(vgpu, "device")) == 0 && used == device)
            return true;
    return false;
}

/* Parameters of VGPU.create. */
enum { VM, GROUP, DEVICE, OTHER_CONFIG, TYPE };

static enum sim_outcome vgpu_create(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const vm = sim_arg(c, VM), *const group = vm ? sim_arg(c, GROUP) : NULL, *other;
    const char *const device = sim_arg_text(c, DEVICE), *const type = sim_arg_text(c, TYPE);
    char text[16];
    int64_t number;
    struct sim_why why;

    if (!group)
        return SIM_FAILED;
    if (!sim_bool(vm, "is_a_snapshot") && !sim_vm_has_power(vm, SIM_IS_HALTED, "halted", &why))
        return sim_refuse(c, &why);
    if (!sim_is_null(type) && !sim_arg_or_null(c, TYPE))
        return sim_invalid(c, "type", type);
    for (size_t at = 0; (other = sim_member(p, vm, "VGPUs", &at));) {
        const struct sim_object *const kind = sim_follow(p, other, "type");
        if (!kind || !xapi_list_has(sim_get(kind, "compatible_types_in_vm"), type))
            return sim_fail(c, "VGPU_TYPE_NOT_COMPATIBLE", type, NULL);
    }
    if (xk_parse_i64(&number, device) < 0 || number < 0 || number > VGPU_DEVICE_MAX)
        return sim_fail(c, "INVALID_DEVICE", device, NULL);
    if (number && device_is_used(p, vm, number))
        return sim_fail(c, "DEVICE_ALREADY_EXISTS", device, NULL);
    while (number <= VGPU_DEVICE_MAX && device_is_used(p, vm, number))
        number++;
    if (number > VGPU_DEVICE_MAX)
        return sim_fail(c, "VM_PCI_BUS_FULL", vm->ref, NULL);
    struct sim_object *const vgpu = sim_create(p, "VGPU");
    if (!vgpu)
        return sim_no_memory(c);
    snprintf(text, sizeof(text), "%lld", (long long)number);
    sim_put_text(p, vgpu, "VM", vm->ref);
    sim_put_text(p, vgpu, "GPU_group", group->ref);
    sim_put_text(p, vgpu, "device", text);
    sim_put(p, vgpu, "other_config", c->args[OTHER_CONFIG]);
    sim_put_text(p, vgpu, "type", sim_is_null(type) ? SIM_NULL : type);
    sim_vm_allowed(p, vm);
    return sim_done_ref(c, vgpu);
}

static enum sim_outcome vgpu_destroy(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const vgpu = sim_arg(c, 0), *const vm = vgpu ? sim_follow(p, vgpu, "VM") : NULL;

    if (!vgpu)
        return SIM_FAILED;
    if (vm && sim_vm_power(vm) == SIM_IS_RUNNING)
        return sim_fail(c, "OPERATION_NOT_ALLOWED", "vGPU currently attached to a running VM", NULL);
    sim_delete(p, vgpu);
    if (vm)
        sim_vm_allowed(p, vm);
    return SIM_DONE;
}

static enum sim_outcome vgpu_atomic_set_resident_on(struct sim_call *c)
{
    struct sim_object *const vgpu = sim_arg(c, 0);

    if (!vgpu)
        return SIM_FAILED;
    sim_put(c->pool, vgpu, "resident_on", c->args[1]);
    sim_put_text(c->pool, vgpu, "scheduled_to_be_resident_on", SIM_NULL);
    return SIM_DONE;
}

/* The types of a group are those of its cards. */
static void group_types(struct simpool *p, struct sim_object *group, const char *field)
{
    const unsigned place = xapi_field_place(group->class_row, field);
    const struct sim_object *pgpu;

    sim_put_list(p, group, field, (const char *const[]){NULL});
    for (size_t at = 0; (pgpu = sim_member(p, group, "PGPUs", &at));) {
        const struct xapi_value *const types = sim_get(pgpu, field);
        for (size_t i = 0; i < types->count; i++)
            sim_list_add(p, group, place, &types->items[i]);
    }
}

static enum sim_outcome update_enabled_types(struct sim_call *c)
{
    struct sim_object *const group = sim_arg(c, 0);

    if (!group)
        return SIM_FAILED;
    group_types(c->pool, group, "enabled_VGPU_types");
    return SIM_DONE;
}

static enum sim_outcome update_supported_types(struct sim_call *c)
{
    struct sim_object *const group = sim_arg(c, 0);

    if (!group)
        return SIM_FAILED;
    group_types(c->pool, group, "supported_VGPU_types");
    return SIM_DONE;
}

static bool supports(const struct sim_object *pgpu, const char *type, struct sim_why *why)
{
    return xapi_list_has(sim_get(pgpu, "supported_VGPU_types"), type) ||
           sim_deny(why, "VGPU_TYPE_NOT_SUPPORTED", type, NULL);
}

/* A virtual one of that type that is on the card now. */
static bool is_unused(const struct simpool *p, const struct sim_object *pgpu, const char *type, struct sim_why *why)
{
    const struct sim_object *vgpu;

    for (size_t at = 0; (vgpu = sim_member(p, pgpu, "resident_VGPUs", &at));)
        if (sim_is(vgpu, "type", type))
            return sim_deny(why, "PGPU_IN_USE_BY_VM", vgpu->ref, NULL);
    return true;
}

static void enabled_changed(struct simpool *p, const struct sim_object *pgpu)
{
    struct sim_object *const group = sim_follow(p, pgpu, "GPU_group");

    if (group)
        group_types(p, group, "enabled_VGPU_types");
}

static enum sim_outcome add_enabled_type(struct sim_call *c)
{
    struct sim_object *const pgpu = sim_arg(c, 0);
    struct sim_why why;

    if (!pgpu)
        return SIM_FAILED;
    if (!supports(pgpu, sim_arg_text(c, 1), &why))
        return sim_refuse(c, &why);
    sim_list_add(c->pool, pgpu, xapi_field_place(pgpu->class_row, "enabled_VGPU_types"), &c->args[1]);
    enabled_changed(c->pool, pgpu);
    return SIM_DONE;
}

static enum sim_outcome remove_enabled_type(struct sim_call *c)
{
    struct sim_object *const pgpu = sim_arg(c, 0);
    struct sim_why why;

    if (!pgpu)
        return SIM_FAILED;
    if (!is_unused(c->pool, pgpu, sim_arg_text(c, 1), &why))
        return sim_refuse(c, &why);
    sim_list_remove(c->pool, pgpu, xapi_field_place(pgpu->class_row, "enabled_VGPU_types"), &c->args[1]);
    enabled_changed(c->pool, pgpu);
    return SIM_DONE;
}

static enum sim_outcome set_enabled_types(struct sim_call *c)
{
    struct sim_object *const pgpu = sim_arg(c, 0);
    struct sim_why why;

    if (!pgpu)
        return SIM_FAILED;
    for (size_t i = 0; i < c->args[1].count; i++)
        if (!supports(pgpu, xapi_value_text(&c->args[1].items[i]), &why))
            return sim_refuse(c, &why);
    const struct xapi_value *const now = sim_get(pgpu, "enabled_VGPU_types");
    for (size_t i = 0; i < now->count; i++) {
        const char *const type = xapi_value_text(&now->items[i]);
        if (!xapi_list_has(&c->args[1], type) && !is_unused(c->pool, pgpu, type, &why))
            return sim_refuse(c, &why);
    }
    sim_put(c->pool, pgpu, "enabled_VGPU_types", c->args[1]);
    enabled_changed(c->pool, pgpu);
    return SIM_DONE;
}

/* What is left of a card for one type: its largest number of them less those that are there. */
static int64_t capacity_of(const struct simpool *p, const struct sim_object *pgpu, const char *type)
{
    const struct xapi_value *const most = xapi_map_get(sim_get(pgpu, "supported_VGPU_max_capacities"), type);
    const struct sim_object *vgpu;
    int64_t left = most ? xapi_value_int(most) : 0;

    if (!xapi_list_has(sim_get(pgpu, "enabled_VGPU_types"), type))
        return 0;
    for (size_t at = 0; (vgpu = sim_member(p, pgpu, "resident_VGPUs", &at));) {
        if (!sim_is(vgpu, "type", type))
            return 0; /* a card is one type's at a time */
        left--;
    }
    return XK_MAX(left, 0);
}

static enum sim_outcome pgpu_capacity(struct sim_call *c)
{
    const struct sim_object *const pgpu = sim_arg(c, 0), *const type = pgpu ? sim_arg(c, 1) : NULL;

    if (!type)
        return SIM_FAILED;
    c->result = xapi_int(capacity_of(c->pool, pgpu, type->ref));
    return SIM_DONE;
}

static enum sim_outcome group_capacity(struct sim_call *c)
{
    const struct sim_object *const group = sim_arg(c, 0), *const type = group ? sim_arg(c, 1) : NULL, *pgpu;
    int64_t sum = 0;

    if (!type)
        return SIM_FAILED;
    for (size_t at = 0; (pgpu = sim_member(c->pool, group, "PGPUs", &at));)
        sum += capacity_of(c->pool, pgpu, type->ref);
    c->result = xapi_int(sum);
    return SIM_DONE;
}

/* Takes effect when the host starts anew. */
static enum sim_outcome dom0_access(struct sim_call *c, bool on)
{
    struct sim_object *const pgpu = sim_arg(c, 0);

    if (!pgpu)
        return SIM_FAILED;
    const char *const now = sim_text(pgpu, "dom0_access");
    const bool is_on = sim_same(now, "enabled") || sim_same(now, "disable_on_reboot");
    sim_put_text(c->pool, pgpu, "dom0_access",
                 on ? (is_on ? "enabled" : "enable_on_reboot") : (is_on ? "disable_on_reboot" : "disabled"));
    c->result = *sim_get(pgpu, "dom0_access");
    return SIM_DONE;
}

static enum sim_outcome enable_dom0_access(struct sim_call *c)
{
    return dom0_access(c, true);
}

static enum sim_outcome disable_dom0_access(struct sim_call *c)
{
    return dom0_access(c, false);
}

/* ---- crash dumps ---- */

static enum sim_outcome crashdump_destroy(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const dump = sim_arg(c, 0), *const vdi = dump ? sim_follow(p, dump, "VDI") : NULL;

    if (!dump)
        return SIM_FAILED;
    if (vdi && sim_vdi_may(p, vdi, "destroy", NULL)) /* the record goes in any case */
        sim_vdi_destroy(p, vdi);
    sim_delete(p, dump);
    return SIM_DONE;
}

const struct sim_row sim_device_rows[] = {
    {"USB_group.create", group_create},
    {"USB_group.destroy", usb_group_destroy},
    {"GPU_group.create", group_create},
    {"GPU_group.destroy", gpu_group_destroy},
    {"GPU_group.update_enabled_VGPU_types", update_enabled_types},
    {"GPU_group.update_supported_VGPU_types", update_supported_types},
    {"GPU_group.get_remaining_capacity", group_capacity},
    {"PGPU.add_enabled_VGPU_types", add_enabled_type},
    {"PGPU.remove_enabled_VGPU_types", remove_enabled_type},
    {"PGPU.set_enabled_VGPU_types", set_enabled_types},
    {"PGPU.get_remaining_capacity", pgpu_capacity},
    {"PGPU.enable_dom0_access", enable_dom0_access},
    {"PGPU.disable_dom0_access", disable_dom0_access},
    {"VGPU.create", vgpu_create},
    {"VGPU.destroy", vgpu_destroy},
    {"VGPU.atomic_set_resident_on", vgpu_atomic_set_resident_on},
    {"VUSB.create", vusb_create},
    {"VUSB.unplug", vusb_unplug},
    {"VUSB.destroy", vusb_destroy},
    {"PUSB.scan", pusb_scan},
    {"PUSB.set_passthrough_enabled", pusb_set_passthrough},
    {"VTPM.create", vtpm_create},
    {"VTPM.destroy", vtpm_destroy},
    {"VTPM.get_contents", vtpm_get_contents},
    {"VTPM.set_contents", vtpm_set_contents},
    {"crashdump.destroy", crashdump_destroy},
    {NULL, NULL},
};
