/*
 * Making machines and changing what they are: disks, boot, template or not. Processors and memory: vm-size.c.
 *
 * Setters that only store are the table's; here are those that the server asks about, or that change more than one
 * field.
 */
#include "lib/simpool/ops.h"

#include <expat.h>

#define BIOS_STRING_MAX 512
#define PROVISION_DISKS 64

static const char *const none[] = {NULL};

/* ---- create ---- */

static enum sim_outcome create(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    const struct xapi_value *record;

    if (!sim_record_arg(c, 0, &record))
        return SIM_FAILED;
    const bool suspended = sim_same(sim_record_text(record, "power_state"), "Suspended");
    if (suspended && (sim_is_null(sim_record_text(record, "suspend_VDI")) ||
                      *sim_record_text(record, "last_booted_record") == '\0' ||
                      xapi_map_get(record, "last_boot_CPU_flags")->count == 0)) {
        char ref[SIM_REF_BYTES];
        sim_new_ref(p, ref);
        return sim_fail(c, "VM_BAD_POWER_STATE", ref, "halted", "suspended", NULL);
    }
    if (sim_generic(c) == SIM_FAILED)
        return SIM_FAILED;
    struct sim_object *const vm = sim_find(p, c->result.text, NULL), *const metrics = sim_create(p, "VM_metrics");
    if (!metrics)
        return sim_no_memory(c);
    sim_put_text(p, vm, "metrics", metrics->ref);
    sim_put_text(p, vm, "power_state", suspended ? "Suspended" : "Halted");
    if (!suspended) {
        sim_put_text(p, vm, "suspend_VDI", SIM_NULL);
        sim_put_text(p, vm, "last_booted_record", "");
        sim_put_map(p, vm, "last_boot_CPU_flags", none);
    }
    sim_put_int(p, vm, "domid", -1);
    sim_put_map(p, vm, "blocked_operations", none);
    sim_put_bool(p, vm, "is_vmss_snapshot", false);
    sim_put_bool(p, vm, "is_snapshot_from_vmpp", false);
    sim_put_text(p, vm, "snapshot_schedule", SIM_NULL);
    sim_put_text(p, vm, "protection_policy", SIM_NULL);
    if (sim_is(vm, "domain_type", "unspecified"))
        sim_put_text(p, vm, "domain_type", *sim_text(vm, "HVM_boot_policy") ? "hvm" : "pv");
    if (!sim_pair(vm, "other_config", "mac_seed")) {
        char seed[SIM_REF_BYTES];
        sim_new_ref(p, seed);
        sim_put_pair(p, vm, "other_config", "mac_seed", seed + strlen("OpaqueRef:"));
    }
    if (sim_bool(vm, "has_vendor_device") && sim_int(vm, "hardware_platform_version") < 2)
        sim_put_int(p, vm, "hardware_platform_version", 2);
    sim_put_int(p, vm, "memory_overhead", sim_vm_overhead(vm));
    sim_vm_allowed(p, vm);
    return SIM_DONE;
}

/* ---- template or not ---- */

static void make_template(struct simpool *p, struct sim_object *vm)
{
    struct sim_object *const metrics = sim_follow(p, vm, "metrics");

    sim_put_bool(p, vm, "ha_always_run", false);
    sim_delete_members(p, vm, "VUSBs");
    sim_put_list(p, vm, "groups", none);
    sim_put_text(p, vm, "metrics", SIM_NULL);
    if (metrics)
        sim_delete(p, metrics);
    sim_put_bool(p, vm, "is_a_template", true);
}

static void make_machine(struct simpool *p, struct sim_object *vm)
{
    struct sim_object *metrics = sim_follow(p, vm, "metrics");

    if (!metrics) { /* a template has lost its own */
        metrics = sim_create(p, "VM_metrics");
        if (!metrics)
            return;
        sim_put_text(p, vm, "metrics", metrics->ref);
    }
    sim_put_time(p, metrics, "install_time", sim_now_s(p));
    sim_put_bool(p, vm, "is_a_template", false);
}

static bool is_protected(const struct simpool *p, const struct sim_object *vm)
{
    return sim_bool(sim_pool_object(p), "ha_enabled") && sim_bool(vm, "ha_always_run") &&
           sim_is(vm, "ha_restart_priority", "restart");
}

static enum sim_outcome set_is_a_template(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const vm = c->args[1].truth ? sim_vm_asked(c, "make_into_template") : sim_arg(c, 0);

    if (!vm)
        return SIM_FAILED;
    if (c->args[1].truth && is_protected(p, vm))
        return sim_fail(c, "VM_IS_PROTECTED", vm->ref, NULL);
    if (c->args[1].truth)
        make_template(p, vm);
    else
        make_machine(p, vm);
    sim_vm_refresh(p, vm);
    return SIM_DONE;
}

static enum sim_outcome set_is_default_template(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const vm = sim_arg(c, 0);
    const bool on = c->args[1].truth;

    if (!vm)
        return SIM_FAILED;
    if (on && !sim_bool(vm, "is_a_template")) {
        if (!sim_vm_asked(c, "make_into_template"))
            return SIM_FAILED;
        make_template(p, vm);
    }
    sim_put_pair(p, vm, "other_config", "default_template", on ? "true" : "false");
    sim_put_bool(p, vm, "is_default_template", on);
    sim_vm_refresh(p, vm);
    return SIM_DONE;
}

/* ---- provision: the disks that a template's other_config:disks asks for ---- */

struct provision {
    struct {
        char device[16], size[24], sr[64], type[16];
        bool bootable;
    } disks[PROVISION_DISKS];
    unsigned count, depth;
    bool wrong;
};

static void copy_word(struct provision *v, char *to, size_t bytes, const char *from)
{
    if ((size_t)snprintf(to, bytes, "%s", from) >= bytes)
        v->wrong = true;
}

static void on_open(void *context, const XML_Char *name, const XML_Char **attributes)
{
    struct provision *const v = context;
    const unsigned depth = v->depth++;

    if (depth != 1 || !sim_same(name, "disk")) {
        v->wrong |= depth > 0 || !sim_same(name, "provision");
        return;
    }
    if (v->count == PROVISION_DISKS) {
        v->wrong = true;
        return;
    }
    const unsigned i = v->count++;
    unsigned seen = 0;
    copy_word(v, v->disks[i].type, sizeof(v->disks[i].type), "system");
    for (; attributes[0]; attributes += 2) {
        if (sim_same(attributes[0], "device")) {
            copy_word(v, v->disks[i].device, sizeof(v->disks[i].device), attributes[1]);
            seen |= 1;
        } else if (sim_same(attributes[0], "size")) {
            copy_word(v, v->disks[i].size, sizeof(v->disks[i].size), attributes[1]);
            seen |= 2;
        } else if (sim_same(attributes[0], "sr")) {
            copy_word(v, v->disks[i].sr, sizeof(v->disks[i].sr), attributes[1]);
            seen |= 4;
        } else if (sim_same(attributes[0], "bootable")) {
            v->disks[i].bootable = sim_same(attributes[1], "true");
            seen |= 8;
        } else if (sim_same(attributes[0], "type") &&
                   xapi_enum_has(xapi_type_of(xapi_field_find(xapi_class_find("VDI"), "type")->type)->of,
                                 attributes[1])) {
            copy_word(v, v->disks[i].type, sizeof(v->disks[i].type), attributes[1]);
        }
    }
    v->wrong |= seen != 15;
}

static void on_close(void *context, const XML_Char *name)
{
    ((struct provision *)context)->depth--;
}

/* Entities are not needed and stay unknown: a document type ends the reading. */
static void on_doctype(void *context, const XML_Char *name, const XML_Char *system, const XML_Char *public, int subset)
{
    ((struct provision *)context)->wrong = true;
}

static bool provision_read(struct provision *ret, const char *xml)
{
    XML_Parser parser = XML_ParserCreate(NULL);

    *ret = (struct provision){0};
    if (!parser)
        return false;
    XML_SetUserData(parser, ret);
    XML_SetElementHandler(parser, on_open, on_close);
    XML_SetStartDoctypeDeclHandler(parser, on_doctype);
    const bool good = XML_Parse(parser, xml, (int)strlen(xml), 1) == XML_STATUS_OK && !ret->wrong;
    XML_ParserFree(parser);
    return good;
}

/* Can all of them be made? Then they are made, so that there are all or none. */
static enum sim_outcome provision_disks(struct sim_call *c, struct sim_object *vm, const struct provision *v)
{
    struct simpool *const p = c->pool;
    struct sim_object *srs[PROVISION_DISKS];
    int64_t sizes[PROVISION_DISKS];
    struct sim_why why;

    for (unsigned i = 0; i < v->count; i++) {
        srs[i] = sim_find_uuid(p, v->disks[i].sr, xapi_class_find("SR"));
        if (!srs[i])
            return sim_fail(c, "UUID_INVALID", "sr", v->disks[i].sr, NULL);
        if (xk_parse_i64(&sizes[i], v->disks[i].size) < 0 || sizes[i] < 0)
            return sim_fail(c, "INTERNAL_ERROR", "Xapi_templates.Parse_failure", NULL);
        if (!sim_sr_may(p, srs[i], "vdi_create", &why) || !sim_sr_pbd(p, srs[i], &why) ||
            !sim_sr_has_room(srs[i], sizes[i], &why))
            return sim_refuse(c, &why);
    }
    for (unsigned i = 0; i < v->count; i++) {
        struct sim_object *const vdi = sim_vdi_create(p, srs[i], sizes[i], v->disks[i].type);
        struct sim_object *const vbd = vdi ? sim_create(p, "VBD") : NULL;
        if (!vbd)
            return sim_no_memory(c);
        sim_put_text(p, vdi, "name_label", v->disks[i].device);
        sim_put_text(p, vdi, "name_description", "Created by template provisioner");
        sim_put_text(p, vbd, "VM", vm->ref);
        sim_put_text(p, vbd, "VDI", vdi->ref);
        sim_put_text(p, vbd, "userdevice", v->disks[i].device);
        sim_put_bool(p, vbd, "bootable", v->disks[i].bootable);
        sim_put_text(p, vbd, "mode", "RW");
        sim_put_text(p, vbd, "type", "Disk");
        sim_put_bool(p, vbd, "unpluggable", !sim_same(v->disks[i].type, "system"));
        sim_put_map(p, vbd, "other_config", (const char *const[]){"owner", "", NULL});
        sim_vbd_allowed(p, vbd);
        sim_vdi_allowed(p, vdi);
    }
    sim_put_pair(p, vm, "other_config", "disks", NULL);
    return SIM_DONE;
}

static enum sim_outcome provision(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const vm = sim_vm_asked(c, "provision");
    struct provision v = {0};

    if (!vm)
        return SIM_FAILED;
    const char *const disks = sim_pair(vm, "other_config", "disks");
    if (disks && !provision_read(&v, disks))
        return sim_fail(c, "INTERNAL_ERROR", "Xapi_templates.Parse_failure", NULL);
    /* A script would run in a control domain, which is not there. */
    if (sim_pair(vm, "other_config", "postinstall"))
        return sim_fail(c, "NOT_IMPLEMENTED", "VM.provision of a template with other_config:postinstall", NULL);
    if (provision_disks(c, vm, &v) == SIM_FAILED)
        return SIM_FAILED;
    make_machine(p, vm);
    sim_vm_refresh(p, vm);
    return SIM_DONE;
}

/* ---- what needs a guest that runs ---- */

static enum sim_outcome not_there(struct sim_call *c, const char *op, const char *name)
{
    return sim_vm_asked(c, op) ? sim_fail(c, "NOT_IMPLEMENTED", name, NULL) : SIM_FAILED;
}

static enum sim_outcome add_to_vcpus_params_live(struct sim_call *c)
{
    return not_there(c, "changing_VCPUs_live", "add_to_VCPUs_params_live");
}

static enum sim_outcome send_sysrq(struct sim_call *c)
{
    return not_there(c, "send_sysrq", "send_sysrq");
}

static enum sim_outcome send_trigger(struct sim_call *c)
{
    return not_there(c, "send_trigger", "send_trigger");
}

static enum sim_outcome query_services(struct sim_call *c)
{
    return not_there(c, "query_services", "query_services");
}

/* ---- boot and firmware ---- */

static enum sim_outcome nvram(struct sim_call *c)
{
    return sim_vm_asked(c, "changing_NVRAM") ? sim_generic(c) : SIM_FAILED;
}

static enum sim_outcome set_nvram_efi(struct sim_call *c)
{
    struct sim_object *const vm = sim_arg(c, 0);

    if (!vm)
        return SIM_FAILED;
    sim_put_pair(c->pool, vm, "NVRAM", "EFI-variables", sim_arg_text(c, 1));
    if (!sim_same(sim_arg_text(c, 2), "no"))
        sim_put_text(c->pool, vm, "secureboot_certificates_state", "ok");
    return SIM_DONE;
}

static enum sim_outcome set_domain_type(struct sim_call *c)
{
    struct sim_object *const vm = sim_arg(c, 0);
    const char *const value = sim_arg_text(c, 1);

    if (!vm)
        return SIM_FAILED;
    if (sim_same(value, "unspecified"))
        return sim_invalid(c, "domain_type", value);
    sim_put_text(c->pool, vm, "domain_type", value);
    sim_put_text(c->pool, vm, "HVM_boot_policy", sim_same(value, "hvm") ? "BIOS order" : "");
    sim_vm_refresh(c->pool, vm);
    return SIM_DONE;
}

static enum sim_outcome set_boot_policy(struct sim_call *c)
{
    struct sim_object *const vm = sim_arg(c, 0);

    if (!vm)
        return SIM_FAILED;
    sim_put_text(c->pool, vm, "domain_type", *sim_arg_text(c, 1) ? "hvm" : "pv");
    sim_put_text(c->pool, vm, "HVM_boot_policy", sim_arg_text(c, 1));
    sim_vm_refresh(c->pool, vm);
    return SIM_DONE;
}

static enum sim_outcome set_vendor_device(struct sim_call *c)
{
    struct sim_object *const vm = sim_arg(c, 0);
    struct sim_why why;

    if (!vm)
        return SIM_FAILED;
    if (!sim_vm_has_power(vm, SIM_IS_HALTED, "halted", &why))
        return sim_refuse(c, &why);
    sim_put(c->pool, vm, "has_vendor_device", c->args[1]);
    if (c->args[1].truth && sim_int(vm, "hardware_platform_version") < 2)
        sim_put_int(c->pool, vm, "hardware_platform_version", 2);
    return SIM_DONE;
}

static const char *const bios_keys[] = {"bios-vendor",
                                        "bios-version",
                                        "system-manufacturer",
                                        "system-product-name",
                                        "system-version",
                                        "system-serial-number",
                                        "baseboard-manufacturer",
                                        "baseboard-product-name",
                                        "baseboard-version",
                                        "baseboard-serial-number",
                                        "baseboard-asset-tag",
                                        "baseboard-location-in-chassis",
                                        "enclosure-asset-tag"};

static bool is_bios_string(const char *key, const char *value, struct sim_why *why)
{
    bool known = false;

    for (size_t i = 0; i < XK_COUNT(bios_keys); i++)
        known |= sim_same(bios_keys[i], key);
    if (!known)
        return sim_deny(why, "INVALID_VALUE", key, "Unknown key", NULL);
    if (*value == '\0')
        return sim_deny(why, "INVALID_VALUE", key, "Value provided is empty", NULL);
    if (strlen(value) > BIOS_STRING_MAX) {
        snprintf(why->text[0], SIM_WHY_BYTES, "%.180s has length more than %d characters", value, BIOS_STRING_MAX);
        return sim_deny(why, "INVALID_VALUE", key, why->text[0], NULL);
    }
    for (const char *at = value; *at; at++) {
        if (*at >= 32 && *at < 127)
            continue;
        snprintf(why->text[0], SIM_WHY_BYTES, "%.180s has non-printable ASCII characters", value);
        return sim_deny(why, "INVALID_VALUE", key, why->text[0], NULL);
    }
    return true;
}

static enum sim_outcome set_bios_strings(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const vm = sim_arg(c, 0);
    const struct xapi_value *const given = &c->args[1];
    struct sim_why why;

    if (!vm)
        return SIM_FAILED;
    if (sim_get(vm, "bios_strings")->count)
        return sim_fail(c, "VM_BIOS_STRINGS_ALREADY_SET", NULL);
    for (size_t i = 0; i < given->count; i++)
        if (!is_bios_string(given->items[2 * i].text, xapi_value_text(&given->items[2 * i + 1]), &why))
            return sim_refuse(c, &why);
    sim_vm_bios_fill(p, vm);
    for (size_t i = 0; i < given->count; i++)
        sim_put_pair(p, vm, "bios_strings", given->items[2 * i].text, xapi_value_text(&given->items[2 * i + 1]));
    return SIM_DONE;
}

static enum sim_outcome copy_bios_strings(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const vm = sim_arg(c, 0), *const host = vm ? sim_arg(c, 1) : NULL;

    if (!host)
        return SIM_FAILED;
    if (sim_get(vm, "bios_strings")->count)
        return sim_fail(c, "VM_BIOS_STRINGS_ALREADY_SET", NULL);
    sim_put(p, vm, "bios_strings", *sim_get(host, "bios_strings"));
    sim_put_text(p, vm, "affinity", host->ref);
    return SIM_DONE;
}

/* ---- availability, order, groups ---- */

static enum sim_outcome restart_priority_set(struct sim_call *c, struct sim_object *vm, const char *value)
{
    struct simpool *const p = c->pool;

    if (!sim_same(value, "restart") && !sim_same(value, "best-effort") && *value)
        return sim_invalid(c, "ha_restart_priority", value);
    sim_put_text(p, vm, "ha_restart_priority", value);
    if (sim_vm_power(vm) == SIM_IS_RUNNING)
        sim_put_bool(p, vm, "ha_always_run", sim_same(value, "restart"));
    sim_vm_allowed(p, vm);
    return SIM_DONE;
}

static enum sim_outcome set_ha_restart_priority(struct sim_call *c)
{
    struct sim_object *const vm = sim_arg(c, 0);

    return vm ? restart_priority_set(c, vm, sim_arg_text(c, 1)) : SIM_FAILED;
}

static enum sim_outcome set_ha_always_run(struct sim_call *c)
{
    struct sim_object *const vm = sim_arg(c, 0);

    return vm ? restart_priority_set(c, vm, c->args[1].truth ? "restart" : "") : SIM_FAILED;
}

/* A number that has to be none below zero; the text names it as the real server does. */
static enum sim_outcome set_positive(struct sim_call *c)
{
    const char *const field = xapi_text(xapi_fields[c->message->field].name);
    char text[96];

    if (!sim_arg(c, 0))
        return SIM_FAILED;
    if (c->args[1].integer < 0) {
        snprintf(text, sizeof(text), "%s must be non-negative", field);
        return sim_invalid_int(c, text, c->args[1].integer);
    }
    return sim_generic(c);
}

static bool is_plain(const struct sim_object *vm)
{
    return !sim_bool(vm, "is_control_domain") && !sim_bool(vm, "is_a_template") && !sim_bool(vm, "is_a_snapshot");
}

static enum sim_outcome set_appliance(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const vm = sim_arg(c, 0);

    if (!vm)
        return SIM_FAILED;
    if (!is_plain(vm))
        return sim_fail(c, "OPERATION_NOT_ALLOWED",
                        "Control domains, templates and snapshots cannot be assigned to appliances.", NULL);
    struct sim_object *const old = sim_follow(p, vm, "appliance");
    sim_put(p, vm, "appliance", c->args[1]);
    if (old)
        sim_appliance_allowed(p, old);
    sim_vm_allowed(p, vm);
    return SIM_DONE;
}

static enum sim_outcome set_groups(struct sim_call *c)
{
    struct sim_object *const vm = sim_arg(c, 0);

    if (!vm)
        return SIM_FAILED;
    if (!is_plain(vm))
        return sim_fail(c, "OPERATION_NOT_ALLOWED",
                        "Control domains, templates, and snapshots cannot be added to VM groups.", NULL);
    if (c->args[1].count > 1)
        return sim_fail(c, "TOO_MANY_GROUPS", NULL);
    sim_put(c->pool, vm, "groups", c->args[1]);
    return SIM_DONE;
}

static enum sim_outcome set_snapshot_schedule(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const vm = sim_arg(c, 0);
    const char *const ref = sim_arg_text(c, 1);
    const struct sim_object *const schedule = sim_arg_or_null(c, 1);

    if (!vm)
        return SIM_FAILED;
    if ((!schedule && !sim_is_null(ref)) || (schedule && sim_bool(vm, "is_control_domain")))
        return sim_fail(c, "INVALID_VALUE", ref, NULL);
    if (schedule && sim_bool(vm, "is_a_template"))
        return sim_fail(c, "VM_IS_TEMPLATE", vm->ref, NULL);
    if (schedule && sim_is(schedule, "type", "snapshot_with_quiesce"))
        return sim_fail(c, "VM_SNAPSHOT_WITH_QUIESCE_NOT_SUPPORTED", vm->ref, "", NULL);
    sim_put_text(p, vm, "snapshot_schedule", schedule ? ref : SIM_NULL);
    sim_vm_allowed(p, vm);
    return SIM_DONE;
}

static enum sim_outcome set_suspend_vdi(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const vm = sim_arg(c, 0), *const vdi = vm ? sim_arg(c, 1) : NULL;
    const struct sim_object *const old = vm ? sim_follow(p, vm, "suspend_VDI") : NULL;
    struct sim_why why;
    char left[96], right[96];

    if (!vm)
        return SIM_FAILED;
    if (!sim_vm_has_power(vm, SIM_IS_SUSPENDED, "suspended", &why))
        return sim_refuse(c, &why);
    if (!vdi)
        return SIM_FAILED;
    if (sim_is(vdi, "type", "cbt_metadata"))
        return sim_fail(c, "VDI_INCOMPATIBLE_TYPE", vm->ref, "cbt_metadata", NULL);
    if (vdi == old)
        return SIM_DONE;
    /* The disks are compared by their content; what was not copied from the other is another. */
    if (!old || sim_int(old, "virtual_size") != sim_int(vdi, "virtual_size") || !sim_is(vdi, "type", "suspend")) {
        snprintf(left, sizeof(left), "%s", old ? sim_text(old, "uuid") : "");
        snprintf(right, sizeof(right), "%s", sim_text(vdi, "uuid"));
        return sim_fail(c, "SUSPEND_VDI_REPLACEMENT_IS_NOT_IDENTICAL", left, right, NULL);
    }
    sim_put_text(p, vm, "suspend_VDI", vdi->ref);
    return SIM_DONE;
}

static enum sim_outcome set_blocked(struct sim_call *c)
{
    const enum sim_outcome outcome = sim_generic(c);

    if (outcome == SIM_DONE)
        sim_vm_allowed(c->pool, sim_arg(c, 0));
    return outcome;
}

const struct sim_row sim_vm_set_rows[] = {
    {"VM.create", create},
    {"VM.provision", provision},
    {"VM.set_is_a_template", set_is_a_template},
    {"VM.set_is_default_template", set_is_default_template},
    {"VM.set_NVRAM", nvram},
    {"VM.add_to_NVRAM", nvram},
    {"VM.remove_from_NVRAM", nvram},
    {"VM.set_NVRAM_EFI_variables", set_nvram_efi},
    {"VM.set_domain_type", set_domain_type},
    {"VM.set_HVM_boot_policy", set_boot_policy},
    {"VM.set_has_vendor_device", set_vendor_device},
    {"VM.set_bios_strings", set_bios_strings},
    {"VM.copy_bios_strings", copy_bios_strings},
    {"VM.set_ha_restart_priority", set_ha_restart_priority},
    {"VM.set_ha_always_run", set_ha_always_run},
    {"VM.set_start_delay", set_positive},
    {"VM.set_shutdown_delay", set_positive},
    {"VM.set_order", set_positive},
    {"VM.set_appliance", set_appliance},
    {"VM.set_groups", set_groups},
    {"VM.set_snapshot_schedule", set_snapshot_schedule},
    {"VM.set_suspend_VDI", set_suspend_vdi},
    {"VM.set_blocked_operations", set_blocked},
    {"VM.add_to_blocked_operations", set_blocked},
    {"VM.remove_from_blocked_operations", set_blocked},
    {"VM.add_to_VCPUs_params_live", add_to_vcpus_params_live},
    {"VM.send_sysrq", send_sysrq},
    {"VM.send_trigger", send_trigger},
    {"VM.query_services", query_services},
    {NULL, NULL},
};
