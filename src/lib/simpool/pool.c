/* Hosts, storage, networks, devices: the calls that do more than read or set a field. */
#include "lib/simpool/log.h"

#include <stdio.h>
#include <string.h>

#define DEVICES_MAX 16 /* userdevice 0 … 15 */

/* ---- hosts ---- */

static enum sim_outcome set_enabled(struct sim_call *c, bool enabled)
{
    struct sim_object *const host = sim_arg(c, 0);

    if (!host)
        return SIM_FAILED;
    sim_put_bool(c->pool, host, "enabled", enabled);
    sim_put_list(c->pool, host, "allowed_operations",
                 enabled ? (const char *const[]){"vm_start", "vm_resume", "vm_migrate", "provision", "evacuate", NULL}
                         : (const char *const[]){"shutdown", "reboot", "evacuate", "enable", NULL});
    return SIM_DONE;
}

static enum sim_outcome host_enable(struct sim_call *c)
{
    return set_enabled(c, true);
}

static enum sim_outcome host_disable(struct sim_call *c)
{
    return set_enabled(c, false);
}

static enum sim_outcome host_time(struct sim_call *c)
{
    if (!sim_arg(c, 0))
        return SIM_FAILED;
    c->result = xapi_time(&c->arena, sim_now_s(c->pool));
    return SIM_DONE;
}

static enum sim_outcome host_free_memory(struct sim_call *c)
{
    const struct sim_object *const host = sim_arg(c, 0), *const metrics =
                                                             host ? sim_follow(c->pool, host, "metrics") : NULL;

    if (!host)
        return SIM_FAILED;
    c->result = xapi_int(metrics ? sim_int(metrics, "memory_free") : 0);
    return SIM_DONE;
}

static enum sim_outcome new_master_end(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    const struct sim_object *const host = sim_arg(c, 0);

    if (!host)
        return SIM_FAILED;
    for (unsigned i = 0; i < p->settings.hosts; i++)
        if (strcmp(p->host_refs[i], host->ref) == 0)
            p->master = i;
    sim_put_text(p, sim_first(p, "pool"), "master", host->ref);
    /* Every host starts its toolstack anew, and the table of sessions is not kept. */
    while (p->sessions)
        sim_session_end(p, p->sessions);
    for (unsigned i = 0; i < p->settings.hosts; i++)
        sim_log_start(p, i);
    return SIM_DONE;
}

static enum sim_outcome new_master(struct sim_call *c)
{
    const struct sim_object *const host = sim_arg(c, 0);

    if (!host)
        return SIM_FAILED;
    if (strcmp(host->ref, sim_text(sim_first(c->pool, "pool"), "master")) == 0)
        return SIM_DONE;
    return sim_work(c, XK_NS_PER_S, new_master_end, NULL, NULL, false);
}

static enum sim_outcome nothing_to_do(struct sim_call *c)
{
    return SIM_DONE; /* the database is always in step, and disks do not change behind its back */
}

/* ---- devices ---- */

static enum sim_outcome plug(struct sim_call *c, bool on)
{
    struct simpool *const p = c->pool;
    struct sim_object *const device = sim_arg(c, 0);
    const struct sim_object *const vm = device ? sim_follow(p, device, "VM") : NULL;

    if (!device)
        return SIM_FAILED;
    if (vm && strcmp(sim_text(vm, "power_state"), "Running") != 0)
        return sim_fail(c, "VM_BAD_POWER_STATE", vm->ref, "running",
                        strcmp(sim_text(vm, "power_state"), "Halted") == 0 ? "halted" : "suspended", NULL);
    if (sim_bool(device, "currently_attached") == on)
        return sim_fail(c, on ? "DEVICE_ALREADY_ATTACHED" : "DEVICE_ALREADY_DETACHED", device->ref, NULL);
    sim_put_bool(p, device, "currently_attached", on);
    sim_put_list(p, device, "allowed_operations",
                 on ? (const char *const[]){"attach", "unplug", NULL} : (const char *const[]){"attach", "plug", NULL});
    return SIM_DONE;
}

static enum sim_outcome device_plug(struct sim_call *c)
{
    return plug(c, true);
}

static enum sim_outcome device_unplug(struct sim_call *c)
{
    return plug(c, false);
}

static enum sim_outcome device_destroy(struct sim_call *c)
{
    struct sim_object *const device = sim_arg(c, 0);

    if (!device)
        return SIM_FAILED;
    if (sim_bool(device, "currently_attached"))
        return sim_fail(c, "OPERATION_NOT_ALLOWED", "The device is currently attached", NULL);
    sim_delete(c->pool, device);
    return SIM_DONE;
}

static enum sim_outcome pbd_set(struct sim_call *c, bool on)
{
    struct sim_object *const pbd = sim_arg(c, 0);

    if (!pbd)
        return SIM_FAILED;
    sim_put_bool(c->pool, pbd, "currently_attached", on);
    return SIM_DONE;
}

static enum sim_outcome pbd_plug(struct sim_call *c)
{
    return pbd_set(c, true);
}

static enum sim_outcome pbd_unplug(struct sim_call *c)
{
    return pbd_set(c, false);
}

static enum sim_outcome vbd_eject(struct sim_call *c)
{
    struct sim_object *const vbd = sim_arg(c, 0);

    if (!vbd)
        return SIM_FAILED;
    if (strcmp(sim_text(vbd, "type"), "CD") != 0)
        return sim_fail(c, "VBD_NOT_REMOVABLE_MEDIA", vbd->ref, NULL);
    if (sim_bool(vbd, "empty"))
        return sim_fail(c, "VBD_IS_EMPTY", vbd->ref, NULL);
    sim_put_text(c->pool, vbd, "VDI", SIM_NULL);
    sim_put_bool(c->pool, vbd, "empty", true);
    return SIM_DONE;
}

static enum sim_outcome vbd_insert(struct sim_call *c)
{
    struct sim_object *const vbd = sim_arg(c, 0);
    const struct sim_object *const vdi = vbd ? sim_arg(c, 1) : NULL;

    if (!vdi)
        return SIM_FAILED;
    if (strcmp(sim_text(vbd, "type"), "CD") != 0)
        return sim_fail(c, "VBD_NOT_REMOVABLE_MEDIA", vbd->ref, NULL);
    if (!sim_bool(vbd, "empty"))
        return sim_fail(c, "VBD_NOT_EMPTY", vbd->ref, NULL);
    sim_put_text(c->pool, vbd, "VDI", vdi->ref);
    sim_put_bool(c->pool, vbd, "empty", false);
    return SIM_DONE;
}

/* ---- constructors that do more than store ---- */

static enum sim_outcome vm_create(struct sim_call *c)
{
    struct simpool *const p = c->pool;

    if (sim_generic(c) == SIM_FAILED)
        return SIM_FAILED;
    struct sim_object *const vm = sim_find(p, c->result.text, NULL), *const metrics = sim_create(p, "VM_metrics");
    if (!metrics)
        return sim_no_memory(c);
    sim_put_text(p, vm, "metrics", metrics->ref);
    sim_put_int(p, metrics, "VCPUs_number", sim_int(vm, "VCPUs_max"));
    sim_put_text(p, vm, "power_state", "Halted");
    sim_put_int(p, vm, "domid", -1);
    sim_vm_allowed(p, vm);
    return SIM_DONE;
}

static enum sim_outcome vbd_create(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    const struct xapi_value *const record = &c->args[0];
    const char *const wanted = xapi_value_text(xapi_map_get(record, "userdevice"));
    const struct sim_object *const vm = sim_find(p, xapi_value_text(xapi_map_get(record, "VM")), xapi_class_find("VM"));
    unsigned used = 0;
    char device[8];

    const struct xapi_value *const others = vm ? sim_get(vm, "VBDs") : NULL;
    for (size_t i = 0; others && i < others->count; i++) {
        const struct sim_object *const other = sim_find(p, xapi_value_text(&others->items[i]), NULL);
        if (other && *wanted && strcmp(sim_text(other, "userdevice"), wanted) == 0)
            return sim_fail(c, "DEVICE_ALREADY_EXISTS", wanted, NULL);
        for (unsigned n = 0; other && n < DEVICES_MAX; n++) {
            snprintf(device, sizeof(device), "%u", n);
            used |= strcmp(sim_text(other, "userdevice"), device) == 0 ? 1u << n : 0;
        }
    }
    if (sim_generic(c) == SIM_FAILED)
        return SIM_FAILED;
    struct sim_object *const vbd = sim_find(p, c->result.text, NULL);
    if (strcmp(wanted, "autodetect") == 0) {
        unsigned n = 0;
        while (n < DEVICES_MAX - 1 && used & 1u << n)
            n++;
        snprintf(device, sizeof(device), "%u", n);
        sim_put_text(p, vbd, "userdevice", device);
    }
    sim_put_list(p, vbd, "allowed_operations", (const char *const[]){"attach", NULL});
    return SIM_DONE;
}

static enum sim_outcome vif_create(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    uint8_t mac[6];
    char text[24];

    if (sim_generic(c) == SIM_FAILED)
        return SIM_FAILED;
    struct sim_object *const vif = sim_find(p, c->result.text, NULL);
    if (*sim_text(vif, "MAC") == '\0') {
        xk_random_bytes(p->settings.random, mac, sizeof(mac));
        snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", (mac[0] & 0xfcu) | 2, mac[1], mac[2], mac[3],
                 mac[4], mac[5]);
        sim_put_text(p, vif, "MAC", text);
        sim_put_bool(p, vif, "MAC_autogenerated", true);
    }
    sim_put_list(p, vif, "allowed_operations", (const char *const[]){"attach", NULL});
    return SIM_DONE;
}

/* ---- disks ---- */

static enum sim_outcome vdi_create(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct xapi_value size;
    char wrong[256];

    const struct xapi_value *const given = xapi_map_get(&c->args[0], "virtual_size");
    const struct xapi_class *const row = xapi_class_find("VDI");
    const uint16_t type = xapi_field_find(row, "virtual_size")->type;
    if (given && xapi_cast(&size, &c->arena, type, given, wrong, sizeof(wrong)) == 0 && size.integer <= 0)
        return sim_fail(c, "INVALID_VALUE", "virtual_size", "it has to be positive", NULL);
    if (sim_generic(c) == SIM_FAILED)
        return SIM_FAILED;
    struct sim_object *const vdi = sim_find(p, c->result.text, NULL);
    if (!sim_follow(p, vdi, "SR")) {
        sim_delete(p, vdi);
        return sim_bad_handle(c, (uint16_t)xapi_class_index(xapi_class_find("SR")), SIM_NULL);
    }
    sim_put_text(p, vdi, "location", sim_text(vdi, "uuid"));
    sim_put_bool(p, vdi, "managed", true);
    sim_put_list(p, vdi, "allowed_operations",
                 (const char *const[]){"clone", "copy", "resize", "snapshot", "destroy", "forget", "update", NULL});
    return SIM_DONE;
}

static bool is_in_use(const struct simpool *p, const struct sim_object *vdi)
{
    const struct xapi_value *const vbds = sim_get(vdi, "VBDs");

    for (size_t i = 0; i < vbds->count; i++) {
        const struct sim_object *const vbd = sim_find(p, xapi_value_text(&vbds->items[i]), NULL);
        if (vbd && sim_bool(vbd, "currently_attached"))
            return true;
    }
    return false;
}

static enum sim_outcome vdi_destroy(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const vdi = sim_arg(c, 0);

    if (!vdi)
        return SIM_FAILED;
    if (is_in_use(p, vdi))
        return sim_fail(c, "VDI_IN_USE", vdi->ref, "destroy", NULL);
    /* Its devices go with it. */
    for (const struct xapi_value *vbds; (vbds = sim_get(vdi, "VBDs"))->count > 0;)
        sim_delete(p, sim_find(p, xapi_value_text(&vbds->items[0]), NULL));
    sim_delete(p, vdi);
    return SIM_DONE;
}

static struct sim_object *vdi_copy_of(struct simpool *p, const struct sim_object *vdi, const char *sr)
{
    static const char *const own[] = {"name_label",
                                      "name_description",
                                      "virtual_size",
                                      "physical_utilisation",
                                      "type",
                                      "sharable",
                                      "read_only",
                                      "other_config",
                                      "managed",
                                      "sm_config",
                                      "xenstore_data",
                                      "tags",
                                      "allowed_operations"};
    struct sim_object *const copy = sim_create(p, "VDI");

    for (size_t i = 0; copy && i < XK_COUNT(own); i++)
        sim_put(p, copy, own[i], *sim_get(vdi, own[i]));
    if (copy) {
        sim_put_text(p, copy, "SR", sr);
        sim_put_text(p, copy, "location", sim_text(copy, "uuid"));
    }
    return copy;
}

static enum sim_outcome vdi_copied(struct sim_call *c, const char *sr, bool snapshot)
{
    struct simpool *const p = c->pool;
    const struct sim_object *const vdi = sim_arg(c, 0);
    struct sim_object *const copy = vdi ? vdi_copy_of(p, vdi, sr ? sr : sim_text(vdi, "SR")) : NULL;

    if (!vdi)
        return SIM_FAILED;
    if (!copy)
        return sim_no_memory(c);
    if (snapshot) {
        sim_put_bool(p, copy, "is_a_snapshot", true);
        sim_put_text(p, copy, "snapshot_of", vdi->ref);
        sim_put_time(p, copy, "snapshot_time", sim_now_s(p));
    }
    c->result = xapi_str(copy->ref);
    return SIM_DONE;
}

static enum sim_outcome vdi_snapshot(struct sim_call *c)
{
    return vdi_copied(c, NULL, true);
}

static enum sim_outcome vdi_clone(struct sim_call *c)
{
    return vdi_copied(c, NULL, false);
}

static enum sim_outcome vdi_copy_end(struct sim_call *c)
{
    return sim_arg(c, 1) ? vdi_copied(c, sim_arg_text(c, 1), false) : SIM_FAILED;
}

static enum sim_outcome vdi_copy(struct sim_call *c)
{
    struct sim_object *const vdi = sim_arg(c, 0);

    if (!vdi)
        return SIM_FAILED;
    /* Into a disk that is there already: only its content would change. */
    if (strcmp(sim_arg_text(c, 3), SIM_NULL) != 0 && *sim_arg_text(c, 3))
        return sim_fail(c, "NOT_IMPLEMENTED", "VDI.copy with into_vdi", NULL);
    return sim_arg(c, 1) ? sim_work(c, 3 * XK_NS_PER_S, vdi_copy_end, vdi, "copy", true) : SIM_FAILED;
}

static enum sim_outcome vdi_resize(struct sim_call *c)
{
    struct sim_object *const vdi = sim_arg(c, 0);

    if (!vdi)
        return SIM_FAILED;
    if (c->args[1].integer < sim_int(vdi, "virtual_size"))
        return sim_fail(c, "INVALID_VALUE", "size", "a disk cannot shrink", NULL);
    sim_put_int(c->pool, vdi, "virtual_size", c->args[1].integer);
    return SIM_DONE;
}

/* ---- messages ---- */

static enum sim_outcome message_create(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    static const struct {
        const char *cls, *class_name;
    } kinds[] = {{"VM", "VM"}, {"Host", "host"}, {"SR", "SR"}, {"Pool", "pool"}, {"VDI", "VDI"}};

    for (size_t i = 0; i < XK_COUNT(kinds); i++)
        if (strcmp(kinds[i].cls, sim_arg_text(c, 2)) == 0 &&
            !sim_find_uuid(p, sim_arg_text(c, 3), xapi_class_find(kinds[i].class_name)))
            return sim_fail(c, "UUID_INVALID", kinds[i].cls, sim_arg_text(c, 3), NULL);
    struct sim_object *const o = sim_create(p, "message");
    if (!o)
        return sim_no_memory(c);
    sim_put(p, o, "name", c->args[0]);
    sim_put(p, o, "priority", c->args[1]);
    sim_put(p, o, "cls", c->args[2]);
    sim_put(p, o, "obj_uuid", c->args[3]);
    sim_put(p, o, "body", c->args[4]);
    sim_put_time(p, o, "timestamp", sim_now_s(p));
    c->result = xapi_str(o->ref);
    return SIM_DONE;
}

static enum sim_outcome message_destroy(struct sim_call *c)
{
    struct sim_object *const o = sim_arg(c, 0);

    if (!o)
        return SIM_FAILED;
    sim_delete(c->pool, o);
    return SIM_DONE;
}

static enum sim_outcome message_destroy_many(struct sim_call *c)
{
    for (size_t i = 0; i < c->args[0].count; i++) {
        struct sim_object *const o =
            sim_find(c->pool, xapi_value_text(&c->args[0].items[i]), xapi_class_find("message"));
        if (o)
            sim_delete(c->pool, o);
    }
    return SIM_DONE;
}

/* Those of one object (NULL: of all) not older than `since`; times are texts that sort as they pass. */
static enum sim_outcome messages_of(struct sim_call *c, const char *cls, const char *uuid, const char *since)
{
    struct simpool *const p = c->pool;
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&c->arena);

    xapi_build_open(&b, XAPI_MAP);
    for (struct sim_object *o = sim_first(p, "message"); o; o = o->class_next) {
        if ((cls && (strcmp(sim_text(o, "cls"), cls) != 0 || strcmp(sim_text(o, "obj_uuid"), uuid) != 0)) ||
            strcmp(sim_text(o, "timestamp"), since) < 0)
            continue;
        struct xapi_raw *const raw = xk_arena_alloc(&c->arena, sizeof(*raw));
        if (!raw || sim_record(raw, o) < 0)
            return sim_no_memory(c);
        xapi_build_value(&b, xapi_str(o->ref));
        xapi_build_value(&b, (struct xapi_value){.shape = XAPI_RAW, .raw = raw});
    }
    xapi_build_close(&b);
    return xapi_build_end(&b, &c->result) < 0 ? sim_no_memory(c) : SIM_DONE;
}

static enum sim_outcome message_get(struct sim_call *c)
{
    return messages_of(c, sim_arg_text(c, 0), sim_arg_text(c, 1), sim_arg_text(c, 2));
}

static enum sim_outcome message_get_since(struct sim_call *c)
{
    return messages_of(c, NULL, NULL, sim_arg_text(c, 0));
}

const struct sim_row sim_pool_rows[] = {
    {"message.create", message_create},
    {"message.destroy", message_destroy},
    {"message.destroy_many", message_destroy_many},
    {"message.get", message_get},
    {"message.get_since", message_get_since},
    {"host.enable", host_enable},
    {"host.disable", host_disable},
    {"host.get_servertime", host_time},
    {"host.get_server_localtime", host_time},
    {"host.compute_free_memory", host_free_memory},
    {"pool.designate_new_master", new_master},
    {"pool.sync_database", nothing_to_do},
    {"SR.scan", nothing_to_do},
    {"VM.create", vm_create},
    {"VBD.create", vbd_create},
    {"VBD.destroy", device_destroy},
    {"VBD.plug", device_plug},
    {"VBD.unplug", device_unplug},
    {"VBD.eject", vbd_eject},
    {"VBD.insert", vbd_insert},
    {"VIF.create", vif_create},
    {"VIF.destroy", device_destroy},
    {"VIF.plug", device_plug},
    {"VIF.unplug", device_unplug},
    {"PBD.plug", pbd_plug},
    {"PBD.unplug", pbd_unplug},
    {"VDI.create", vdi_create},
    {"VDI.destroy", vdi_destroy},
    {"VDI.snapshot", vdi_snapshot},
    {"VDI.clone", vdi_clone},
    {"VDI.copy", vdi_copy},
    {"VDI.resize", vdi_resize},
    {"VDI.resize_online", vdi_resize},
    {NULL, NULL},
};
