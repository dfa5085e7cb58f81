/*
 * Virtual machines are installed from templates, and uninstalled with their disks.
 */
#include "lib/xe/inner.h"

#include "core/text.h"

#include <expat.h>
#include <stdio.h>
#include <string.h>

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

const struct xe_row xe_install_rows[] = {
    {"snapshot-uninstall", snapshot_uninstall},
    {"template-uninstall", template_uninstall},
    {"vm-uninstall", vm_uninstall},
    {"vm-install", vm_install},
    {NULL, NULL},
};
