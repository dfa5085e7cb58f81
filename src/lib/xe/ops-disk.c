/* The disks and drives of virtual machines. */
#include "lib/xe/inner.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* ---- lists ---- */

/* Disks (or drives) of a VM: a record of the VBD and one of its VDI for each. */
static void list_disks(struct xe *x, struct xe_object *vm, bool drives)
{
    const struct xapi_value *const vbds = xe_object_get(x, vm, "VBDs");
    const char *const kind = drives ? "CD " : "Disk ";
    unsigned number = 0;

    for (uint32_t i = 0; vbds->shape == XAPI_LIST && i < vbds->count && xe_fine(x); i++) {
        struct xe_object vbd = xe_object(x, "vbd", xe_item(vbds, i));
        if (strcmp(xapi_value_text(xe_object_get(x, &vbd, "type")), drives ? "CD" : "Disk") != 0)
            continue;
        const char *const head = xk_arena_printf(&x->arena, "%s%u VBD:", kind, number);
        xe_say(x, head ? head : "");
        xe_table_begin(x);
        xe_print_object(x, &vbd, xe_param(x, "vbd-params"),
                        drives ? "uuid,vm-name-label,userdevice,empty" : "uuid,vm-name-label,userdevice");
        xe_table_end(x);
        if (!xe_value_bool(xe_object_get(x, &vbd, "empty"))) {
            struct xe_object vdi = xe_object(x, "vdi", xapi_value_text(xe_object_get(x, &vbd, "VDI")));
            const char *const line = xk_arena_printf(&x->arena, "%s%u VDI:", kind, number);
            xe_say(x, line ? line : "");
            xe_table_begin(x);
            xe_print_object(x, &vdi, xe_param(x, "vdi-params"), "uuid,name-label,virtual-size,sr-name-label");
            xe_table_end(x);
        }
        number++;
    }
}

static void list_one(struct xe *x, struct xe_object *vm, void *drives)
{
    list_disks(x, vm, drives != NULL);
}

static const char *const list_own[] = {"vbd-params", "vdi-params", NULL};

static void vm_disk_list(struct xe *x)
{
    (void)xe_each(x, XE_SELECTS_VMS, 0, list_own, list_one, NULL);
}

static void vm_cd_list(struct xe *x)
{
    (void)xe_each(x, XE_SELECTS_VMS, 0, list_own, list_one, x);
}

static void snapshot_disk_list(struct xe *x)
{
    struct xe_object vm = xe_object(x, "vm", xe_snapshot(x));

    if (xe_fine(x))
        list_disks(x, &vm, false);
}

static void crashdumps_one(struct xe *x, struct xe_object *vm, void *context)
{
    const struct xapi_value *const refs = xe_object_get(x, vm, "crash_dumps");

    xe_table_begin(x);
    for (uint32_t i = 0; refs->shape == XAPI_LIST && i < refs->count; i++) {
        struct xe_object o = xe_object(x, "crashdump", xe_item(refs, i));
        xe_print_object(x, &o, "all", "");
    }
    xe_table_end(x);
}

static void vm_crashdump_list(struct xe *x)
{
    (void)xe_each(x, XE_SELECTS_VMS, 0, NULL, crashdumps_one, NULL);
}

static void vifs_one(struct xe *x, struct xe_object *vm, void *context)
{
    const struct xapi_value *const refs = xe_object_get(x, vm, "VIFs");

    xe_table_begin(x);
    for (uint32_t i = 0; refs->shape == XAPI_LIST && i < refs->count; i++) {
        struct xe_object o = xe_object(x, "vif", xe_item(refs, i));
        xe_print_object(x, &o, xe_param(x, "params"), "uuid,device,MAC,network-uuid,network-name-label,vm-name-label");
    }
    xe_table_end(x);
}

static void vm_vif_list(struct xe *x)
{
    static const char *const own[] = {"params", NULL};
    struct xe_param *const params = xk_arena_alloc(&x->arena, (x->param_count + 1) * sizeof(*params));

    if (!params)
        return xe_fail_memory(x);
    /* It always may be about several. */
    params[0] = (struct xe_param){.name = "multiple", .value = "true"};
    if (x->param_count > 0)
        memcpy(params + 1, x->params, x->param_count * sizeof(*params));
    x->params = params;
    x->param_count++;
    (void)xe_each(x, XE_SELECTS_VMS, 0, own, vifs_one, NULL);
}

static void cd_list(struct xe *x)
{
    const struct xapi_value srs = xe_do(x, "SR.get_all_records_where", xapi_str("true"));

    xe_table_begin(x);
    for (uint32_t i = 0; i < srs.count && xe_fine(x); i++) {
        if (strcmp(xapi_value_text(xapi_map_get(&srs.items[2 * i + 1], "content_type")), "iso") != 0)
            continue;
        const struct xapi_value vdis = xe_get(x, "SR.get_VDIs", xapi_value_text(&srs.items[2 * i]));
        for (uint32_t j = 0; j < vdis.count; j++) {
            struct xe_object o = xe_object(x, "vdi", xe_item(&vdis, j));
            xe_print_object(x, &o, xe_param(x, "params"), "name-label,uuid");
        }
    }
    xe_table_end(x);
}

/* ---- disks ---- */

static const char *create_vbd(struct xe *x, const char *vm, const char *vdi, const char *device, bool bootable,
                              const char *mode, const char *type, bool unpluggable, bool empty, bool owner)
{
    const struct xapi_value owned[] = {xapi_str("owner"), xapi_str("")};
    const struct xapi_value pairs[] = {
        xapi_str("VM"),
        xapi_str(vm),
        xapi_str("VDI"),
        xapi_str(vdi),
        xapi_str("device"),
        xapi_str(""),
        xapi_str("userdevice"),
        xapi_str(device),
        xapi_str("bootable"),
        xapi_bool(bootable),
        xapi_str("mode"),
        xapi_str(mode),
        xapi_str("type"),
        xapi_str(type),
        xapi_str("unpluggable"),
        xapi_bool(unpluggable),
        xapi_str("empty"),
        xapi_bool(empty),
        xapi_str("other_config"),
        xapi_map(owned, owner ? 1 : 0),
        xapi_str("currently_attached"),
        xapi_bool(false),
        xapi_str("qos_algorithm_type"),
        xapi_str(""),
        xapi_str("qos_algorithm_params"),
        xapi_map(NULL, 0),
    };
    const struct xapi_value made = xe_do(x, "VBD.create", xapi_map(pairs, XK_COUNT(pairs) / 2));

    return xe_value_text(x, &made);
}

/* Plug it into a running VM, if that can be. */
static void plug(struct xe *x, const char *vbd)
{
    if (!xe_fine(x))
        return;
    (void)xe_get(x, "VBD.plug", vbd);
    if (x->failure == XE_SERVER)
        (void)xe_forgive(x);
}

struct disk {
    const char *sr, *device;
    int64_t bytes;
};

static void add_one(struct xe *x, struct xe_object *vm, void *context)
{
    const struct disk *const d = context;
    const struct xapi_value hint[] = {xapi_str("vmhint"), xapi_str(xe_uuid_of(x, "VM", vm->ref))};
    const struct xapi_value pairs[] = {
        xapi_str("name_label"),
        xapi_str("Created by xe"),
        xapi_str("name_description"),
        xapi_str("Created by xe"),
        xapi_str("SR"),
        xapi_str(d->sr),
        xapi_str("virtual_size"),
        xapi_int(d->bytes),
        xapi_str("type"),
        xapi_str("user"),
        xapi_str("sharable"),
        xapi_bool(false),
        xapi_str("read_only"),
        xapi_bool(false),
        xapi_str("other_config"),
        xapi_map(NULL, 0),
        xapi_str("xenstore_data"),
        xapi_map(NULL, 0),
        xapi_str("sm_config"),
        xapi_map(hint, 1),
        xapi_str("tags"),
        xapi_list(NULL, 0),
    };
    const struct xapi_value vdi = xe_do(x, "VDI.create", xapi_map(pairs, XK_COUNT(pairs) / 2));

    if (!xe_fine(x))
        return;
    plug(x, create_vbd(x, vm->ref, xe_value_text(x, &vdi), d->device, false, "RW", "Disk", true, false, true));
    if (xe_fine(x))
        return;
    /* A disk that no VM has would be lost. */
    const enum xe_failure failure = x->failure;
    const struct xapi_value server = x->server;
    if (xe_forgive(x)) {
        (void)xe_get(x, "VDI.destroy", xe_value_text(x, &vdi));
        if (x->failure != XE_LOST) {
            x->failure = failure;
            x->server = server;
        }
    }
}

static void vm_disk_add(struct xe *x)
{
    static const char *const own[] = {"sr-uuid", "device", "disk-size", NULL};
    struct disk d = {.bytes = xe_bytes(x, "disk-size", xe_required(x, "disk-size")),
                     .device = xe_required(x, "device")};

    if (xe_param(x, "sr-uuid")) {
        d.sr = xe_param_ref(x, "SR", "sr-uuid");
    } else {
        const char *const uuid = xe_default_sr(x);
        if (!uuid)
            xe_fail(x, "No default Pool SR set; you must specify an SR on the commandline");
        d.sr = uuid ? xe_by_uuid(x, "SR", uuid) : "";
    }
    if (xe_fine(x))
        (void)xe_each(x, XE_SELECTS_VMS, 0, own, add_one, &d);
}

static void remove_one(struct xe *x, struct xe_object *vm, void *device)
{
    const struct xapi_value record = xe_get(x, "VM.get_record", vm->ref);
    const struct xapi_value *const vbds = xapi_map_get(&record, "VBDs");
    const char *found = NULL;

    for (uint32_t i = 0; vbds && vbds->shape == XAPI_LIST && i < vbds->count && xe_fine(x); i++)
        if (!found && strcmp(xe_get_text(x, "VBD.get_userdevice", xe_item(vbds, i)), device) == 0)
            found = xe_item(vbds, i);
    if (!found)
        return xe_fail(x, "Disk not found");
    const char *const vdi = xe_get_text(x, "VBD.get_VDI", found);
    (void)xe_get(x, "VBD.destroy", found);
    (void)xe_get(x, "VDI.destroy", vdi);
}

static void vm_disk_remove(struct xe *x)
{
    static const char *const own[] = {"device", NULL};
    const char *const device = xe_required(x, "device");
    char *const copy = xk_arena_strdup(&x->arena, device);

    (void)xe_each(x, XE_SELECTS_VMS, 0, own, remove_one, copy);
}

/* ---- drives ---- */

static bool is_iso(struct xe *x, const char *vdi)
{
    return strcmp(xe_get_text(x, "SR.get_content_type", xe_get_text(x, "VDI.get_SR", vdi)), "iso") == 0;
}

/* Disks of that name that lie on an ISO library. */
static struct xapi_value named_isos(struct xe *x, const char *name)
{
    const struct xapi_value all = xe_get(x, "VDI.get_by_name_label", name);
    struct xapi_value *const items = xk_arena_alloc(&x->arena, (all.count + 1) * sizeof(*items));
    size_t count = 0;

    for (uint32_t i = 0; items && i < all.count && xe_fine(x); i++)
        if (is_iso(x, xe_item(&all, i)))
            items[count++] = all.items[i];
    return xapi_list(items, count);
}

static void cd_add_one(struct xe *x, struct xe_object *vm, void *vdi)
{
    plug(x, create_vbd(x, vm->ref, vdi, xe_required(x, "device"), false, "RO", "CD", true, false, false));
}

static void vm_cd_add(struct xe *x)
{
    static const char *const own[] = {"cd-name", "device", "cd-location", NULL};
    const char *const name = xe_required(x, "cd-name");
    const struct xapi_value vdis = named_isos(x, name);

    if (xe_fine(x) && vdis.count == 0)
        xe_fail(x, "CD %s not found!", name);
    if (xe_fine(x))
        (void)xe_each(x, XE_SELECTS_VMS, 0, own, cd_add_one, xk_arena_strdup(&x->arena, xe_item(&vdis, 0)));
}

static void cd_remove_one(struct xe *x, struct xe_object *vm, void *context)
{
    const char *const name = xe_required(x, "cd-name");
    const struct xapi_value *const vbds = xe_object_get(x, vm, "VBDs");
    const char *found = NULL;

    for (uint32_t i = 0; vbds->shape == XAPI_LIST && i < vbds->count && !found && xe_fine(x); i++) {
        const char *const vdi = xe_get_text(x, "VBD.get_VDI", xe_item(vbds, i));
        const bool iso = is_iso(x, vdi);
        const char *const label = iso ? xe_get_text(x, "VDI.get_name_label", vdi) : "";
        const bool same = xe_forgive(x) ? strcmp(name, "<EMPTY>") == 0 : iso && strcmp(label, name) == 0;
        found = same ? xe_item(vbds, i) : NULL;
    }
    if (!found)
        return xe_fail(x, "Disk not found");
    (void)xe_get(x, "VBD.destroy", found);
}

static void vm_cd_remove(struct xe *x)
{
    static const char *const own[] = {"cd-name", NULL};

    (void)xe_each(x, XE_SELECTS_VMS, 0, own, cd_remove_one, NULL);
}

/* The drives of a VM; only the empty ones when asked. */
static struct xapi_value drives(struct xe *x, struct xe_object *vm, bool empty)
{
    const struct xapi_value *const vbds = xe_object_get(x, vm, "VBDs");
    struct xapi_value *const items = xk_arena_alloc(&x->arena, (vbds->count + 1) * sizeof(*items));
    size_t count = 0;

    for (uint32_t i = 0; items && vbds->shape == XAPI_LIST && i < vbds->count && xe_fine(x); i++)
        if (strcmp(xe_get_text(x, "VBD.get_type", xe_item(vbds, i)), "CD") == 0 &&
            (!empty || xe_get_bool(x, "VBD.get_empty", xe_item(vbds, i))))
            items[count++] = vbds->items[i];
    return xapi_list(items, count);
}

static void eject_one(struct xe *x, struct xe_object *vm, void *context)
{
    const struct xapi_value found = drives(x, vm, false);

    if (!xe_fine(x))
        return;
    if (found.count != 1)
        return xe_fail(x, found.count == 0 ? "No CDs found" : "Two or more CDs found. Please use vbd-eject");
    (void)xe_get(x, "VBD.eject", xe_item(&found, 0));
}

static void vm_cd_eject(struct xe *x)
{
    (void)xe_each(x, XE_SELECTS_VMS, 0, NULL, eject_one, NULL);
}

static void insert_one(struct xe *x, struct xe_object *vm, void *vdi)
{
    const struct xapi_value found = drives(x, vm, true);

    if (!xe_fine(x))
        return;
    if (found.count == 0)
        return xe_fail_server(x, "VM_NO_EMPTY_CD_VBD", vm->ref, NULL);
    if (found.count > 1)
        return xe_fail(x, "Two or more empty CD devices found. Please use vbd-insert");
    (void)xe_do(x, "VBD.insert", found.items[0], xapi_str(vdi));
}

static void vm_cd_insert(struct xe *x)
{
    static const char *const own[] = {"cd-name", NULL};
    const char *const name = xe_required(x, "cd-name");
    const struct xapi_value vdis = named_isos(x, name);

    if (xe_fine(x) && vdis.count == 0)
        xe_fail(x, "CD %s not found", name);
    if (xe_fine(x) && vdis.count > 1)
        xe_fail(x, "Multiple CDs named %s found. Please use vbd-insert and specify uuids", name);
    if (xe_fine(x))
        (void)xe_each(x, XE_SELECTS_VMS, 0, own, insert_one, xk_arena_strdup(&x->arena, xe_item(&vdis, 0)));
}

/* ---- VBDs ---- */

static void vbd_create(struct xe *x)
{
    const char *const vm = xe_param_ref(x, "VM", "vm-uuid");
    const bool empty = xe_param(x, "vdi-uuid") == NULL;
    const char *const vdi = empty ? XE_NULL : xe_param_ref(x, "VDI", "vdi-uuid");
    const bool bootable = xe_param_bool(x, "bootable", false);
    const char *const mode = xe_lower(x, xe_param_or(x, "mode", "rw"));
    const char *const type = xe_lower(x, xe_param_or(x, "type", "disk"));

    if (strcmp(mode, "ro") != 0 && strcmp(mode, "rw") != 0)
        xe_fail(x, "Unknown mode: %s (should be \"ro\" or \"rw\"", mode);
    const char *const wire_type = strcmp(type, "cd") == 0       ? "CD"
                                  : strcmp(type, "disk") == 0   ? "Disk"
                                  : strcmp(type, "floppy") == 0 ? "Floppy"
                                                                : NULL;
    if (!wire_type)
        xe_fail(x, "\"Unknown type: %s (should be \"cd\", \"disk\" or \"floppy\"", type);
    const bool unpluggable = xe_param_bool(x, "unpluggable", true);
    if (wire_type && strcmp(wire_type, "Disk") == 0 && empty)
        xe_fail(x, "Empty VBDs can only be made for type=CD");
    if (!xe_fine(x))
        return;
    const char *const vbd = create_vbd(x, vm, vdi, xe_required(x, "device"), bootable,
                                       strcmp(mode, "ro") == 0 ? "RO" : "RW", wire_type, unpluggable, empty, false);
    xe_list_one(x, xe_uuid_of(x, "VBD", vbd));
}

static void vbd_unplug(struct xe *x)
{
    const char *const vbd = xe_param_ref(x, "VBD", "uuid");
    double timeout_s = 0;

    if (xe_param(x, "timeout") && !xe_real(&timeout_s, xe_param(x, "timeout")))
        xe_fail(x, "Failed to parse parameter 'timeout': expecting a float");
    const bool force = xe_param_bool(x, "force", false);
    const double started = xe_monotonic_s();
    (void)xe_get(x, force ? "VBD.unplug_force" : "VBD.unplug", vbd);
    if (!xe_failed_with(x, "DEVICE_DETACH_REJECTED"))
        return;
    /* The guest refused; it may let go a little later. */
    const struct xapi_value server = x->server;
    (void)xe_forgive(x);
    bool attached = true;
    while (attached && xe_fine(x) && xe_monotonic_s() - started < timeout_s) {
        (void)nanosleep(&(const struct timespec){.tv_sec = 5}, NULL);
        attached = xe_get_bool(x, "VBD.get_currently_attached", vbd);
    }
    if (attached && xe_fine(x)) {
        x->failure = XE_SERVER;
        x->server = server;
    }
}

const struct xe_row xe_disk_rows[] = {
    {"vm-disk-list", vm_disk_list},
    {"vm-cd-list", vm_cd_list},
    {"snapshot-disk-list", snapshot_disk_list},
    {"vm-crashdump-list", vm_crashdump_list},
    {"vm-vif-list", vm_vif_list},
    {"cd-list", cd_list},
    {"vm-disk-add", vm_disk_add},
    {"vm-disk-remove", vm_disk_remove},
    {"vm-cd-add", vm_cd_add},
    {"vm-cd-remove", vm_cd_remove},
    {"vm-cd-eject", vm_cd_eject},
    {"vm-cd-insert", vm_cd_insert},
    {"vbd-create", vbd_create},
    {"vbd-unplug", vbd_unplug},
    {NULL, NULL},
};
