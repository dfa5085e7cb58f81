/*
 * Objects from the records of an archive, class after class in the order in which they need each other: for each what
 * is there already and stands for it, or what has to be made. Each thing that was made is noted, and taken back in
 * reverse.
 */
#include "lib/simpool/import-parts.h"

#include <stdlib.h>

#define PAIRS_MAX 256u

static const char *const none[] = {NULL};

/* ---- hosts, storage ---- */

static bool import_host(struct sim_import *m, struct sim_part *part)
{
    const struct sim_object *const host = sim_part_same_uuid(m, part);

    sim_part_stands_for(part, host ? host->ref : SIM_NULL);
    return true;
}

static bool import_sr(struct sim_import *m, struct sim_part *part)
{
    const struct sim_object *const sr = m->sr ? NULL : sim_part_same_uuid(m, part);

    if (m->sr && !sim_same(sim_part_text(part, "content_type"), "iso"))
        sim_part_stands_for(part, m->sr);
    else if (sr)
        sim_part_stands_for(part, sr->ref);
    return true;
}

/* A medium of that location in any library. */
static const struct sim_object *iso_at(const struct sim_import *m, const char *location)
{
    const struct sim_object *vdi;

    for (const struct sim_object *sr = sim_first(m->pool, "SR"); sr; sr = sr->class_next) {
        if (!sim_is(sr, "content_type", "iso") || sim_is(sr, "type", "udev"))
            continue;
        for (size_t at = 0; (vdi = sim_member(m->pool, sr, "VDIs", &at));)
            if (sim_is(vdi, "location", location))
                return vdi;
    }
    return NULL;
}

static const struct sim_object *scsi_disk(const struct sim_import *m, const char *id)
{
    for (const struct sim_object *vdi = id ? sim_first(m->pool, "VDI") : NULL; vdi; vdi = vdi->class_next) {
        const char *const own = sim_pair(vdi, "sm_config", "SCSIid");
        if (own && sim_same(own, id))
            return vdi;
    }
    return NULL;
}

/* The disk that is there for one of the archive: as the request says, as its LUN, or at its place. */
static const struct sim_object *disk_there(const struct sim_import *m, const struct sim_part *part)
{
    const char *const scsi = sim_part_pair(part, "sm_config", "SCSIid"), *const sr_ref = sim_part_lookup(m, part, "SR");
    const char *const moved = sim_part_pair(part, "other_config", "maps_to");
    const struct sim_object *vdi = m->mapped ? m->mapped(m->context, sim_part_text(part, "uuid")) : NULL;

    if (!vdi && scsi && m->mapped)
        vdi = m->mapped(m->context, scsi);
    if (!vdi)
        vdi = scsi_disk(m, scsi);
    const struct sim_object *const sr = sr_ref ? sim_find(m->pool, sr_ref, NULL) : NULL;
    const struct sim_object *other;
    for (size_t at = 0; !vdi && sr && (other = sim_member(m->pool, sr, "VDIs", &at));)
        if (sim_is(other, "location", sim_part_text(part, "location")))
            vdi = other;
    return vdi || !moved ? vdi : sim_find(m->pool, moved, xapi_class_find("VDI"));
}

static bool import_disk_record(struct sim_import *m, struct sim_part *part)
{
    const struct sim_object *const vdi = disk_there(m, part);
    const char *const sr = sim_part_lookup(m, part, "SR");

    if (vdi) {
        sim_part_stands_for(part, vdi->ref);
        return true;
    }
    if (m->force)
        return true;
    if (m->dry_run && m->live)
        return sim_part_rehearsed(m, part);
    if (sr)
        sim_error_set(&m->error, "VDI_LOCATION_MISSING", sr, sim_part_text(part, "location"), NULL);
    else
        sim_error_set(&m->error, "VDI_CONTENT_ID_MISSING", NULL);
    return false;
}

/* A map of texts without some keys, and with one more pair. */
static struct xapi_value map_with(struct sim_import *m, const struct sim_part *part, const char *field,
                                  const char *const *without, const char *key, const char *text)
{
    const struct xapi_value *const map = xapi_map_get(part->snapshot, field);
    const size_t count = map && map->shape == XAPI_MAP ? map->count : 0;
    struct xapi_value *const items = xk_arena_alloc(&m->arena, 2 * (count + 1) * sizeof(*items));
    size_t pairs = 0;

    for (size_t i = 0; items && i < count; i++) {
        bool kept = !key || !sim_same(map->items[2 * i].text, key);
        for (size_t j = 0; without[j]; j++)
            kept = kept && !sim_same(map->items[2 * i].text, without[j]);
        if (!kept)
            continue;
        items[2 * pairs] = map->items[2 * i];
        items[2 * pairs++ + 1] = map->items[2 * i + 1];
    }
    if (items && key) {
        char *const copy = xk_arena_strdup(&m->arena, text);
        items[2 * pairs] = xapi_str(key);
        items[2 * pairs++ + 1] = xapi_str(copy ? copy : "");
    }
    return xapi_map(items, pairs);
}

static bool import_disk(struct sim_import *m, struct sim_part *part)
{
    const struct sim_part *const sr = sim_part_named(m, part, "SR");

    if (!sr)
        return false;
    if (sim_same(sim_part_text(sr, "content_type"), "iso")) {
        const struct sim_object *const iso = iso_at(m, sim_part_text(part, "location"));
        if (iso)
            sim_part_stands_for(part, iso->ref);
        return true;
    }
    if (!m->sr)
        return import_disk_record(m, part);
    const struct sim_change changes[] = {{"SR", xapi_str(m->sr)},
                                         {"sm_config", map_with(m, part, "sm_config", none, "import_task", m->task)}};
    return sim_part_construct(m, part, changes, XK_COUNT(changes)) != NULL;
}

/* ---- machines ---- */

static bool import_metrics(struct sim_import *m, struct sim_part *part)
{
    if (m->dry_run)
        return sim_part_rehearsed(m, part);
    struct sim_object *const o = sim_create(m->pool, xapi_text(part->class_row->name));
    if (!o)
        return sim_import_fail_generic(m, "Out_of_memory");
    for (unsigned i = 0; i < part->class_row->fields; i++) {
        const struct xapi_field *const field = &xapi_fields[part->class_row->first_field + i];
        if (i != part->class_row->uuid && field->other == XAPI_NONE && !field->internal)
            sim_part_put_field(m, o, part, xapi_text(field->name));
    }
    return sim_part_made(m, part, o->ref);
}

static bool is_default_template(const struct sim_part *part)
{
    const char *const said = sim_part_pair(part, "other_config", "default_template");

    return sim_part_true(part, "is_default_template") ||
           (sim_part_true(part, "is_a_template") && said && sim_same(said, "true"));
}

static const struct sim_object *machine_named(const struct sim_import *m, const char *name)
{
    const struct sim_object *vm = sim_first(m->pool, "VM");

    while (vm && !sim_is(vm, "name_label", name))
        vm = vm->class_next;
    return vm;
}

/* May the machine take the place of the one that is there? returns   1: yes; 0: it is left out; -1: no. */
static int may_replace(struct sim_import *m, const struct sim_part *part, const struct sim_object *old)
{
    const int64_t have = sim_int(old, "version"), comes = sim_part_int(part, "version");
    char text[2][24];

    if (sim_vm_power(old) != SIM_IS_HALTED) {
        if (m->force)
            return 0;
        sim_error_set(&m->error, "VM_BAD_POWER_STATE", old->ref, "halted", sim_vm_power_word(old), NULL);
        return -1;
    }
    if (have < comes || m->force)
        return 1;
    snprintf(text[0], sizeof(text[0]), "%lld", (long long)have);
    snprintf(text[1], sizeof(text[1]), "%lld", (long long)comes);
    sim_error_set(&m->error, "VM_TO_IMPORT_IS_NOT_NEWER_VERSION", old->ref, text[0], text[1], NULL);
    return -1;
}

static struct xapi_value fresh_generation(struct sim_import *m, const struct sim_part *part)
{
    const char *const old = sim_part_text(part, "generation_id");
    uint64_t a = 0, b = 0;

    if (!*old || m->live || sim_part_true(part, "is_a_template"))
        return xapi_str(old);
    xk_random_bytes(m->pool->settings.random, &a, sizeof(a));
    xk_random_bytes(m->pool->settings.random, &b, sizeof(b));
    const char *const text =
        xk_arena_printf(&m->arena, "%llu:%llu", (unsigned long long)(a >> 1), (unsigned long long)(b >> 1));
    return xapi_str(text ? text : "");
}

static struct xapi_value config_of(struct sim_import *m, const struct sim_part *part)
{
    static const char *const kept[] = {"grant_guest_api_access", NULL};
    static const char *const plain[] = {"grant_guest_api_access", "default_template", NULL};
    const char *const *const without = m->force ? kept : plain;
    char seed[SIM_REF_BYTES];

    if (m->restore)
        return map_with(m, part, "other_config", without, NULL, NULL);
    sim_new_ref(m->pool, seed);
    return map_with(m, part, "other_config", without, "mac_seed", seed + strlen("OpaqueRef:"));
}

static bool is_number_word(const char *text)
{
    return text[0] >= '0' && text[0] <= '3' && text[1] == '\0';
}

/* The order of machines that were written before there was one, and memory from before it was dynamic. */
static size_t old_ways(const struct sim_part *part, struct sim_change *changes)
{
    const char *const priority = sim_part_text(part, "ha_restart_priority");
    const int64_t most = sim_part_int(part, "memory_static_max");
    size_t count = 0;

    if (is_number_word(priority)) {
        changes[count++] = (struct sim_change){"ha_restart_priority", xapi_str("restart")};
        changes[count++] = (struct sim_change){"order", xapi_int(priority[0] - '0')};
    }
    if (!xapi_map_get(part->snapshot, "parent")) {
        changes[count++] = (struct sim_change){"memory_dynamic_min", xapi_int(most)};
        changes[count++] = (struct sim_change){"memory_dynamic_max", xapi_int(most)};
        changes[count++] = (struct sim_change){"memory_target", xapi_int(most)};
    }
    if (!xapi_map_get(part->snapshot, "has_vendor_device"))
        changes[count++] = (struct sim_change){"has_vendor_device", xapi_bool(false)};
    return count;
}

/* What no client may set, as it was. */
static void fill_machine(struct sim_import *m, struct sim_object *vm, const struct sim_part *part)
{
    static const char *const fields[] = {
        "last_booted_record", "last_boot_CPU_flags", "is_control_domain",         "is_a_snapshot",    "snapshot_info",
        "snapshot_time",      "bios_strings",        "transportable_snapshot_id", "snapshot_metadata"};
    struct simpool *const p = m->pool;
    const char *const host = sim_part_lookup(m, part, "resident_on"), *const affinity =
                                                                          sim_part_lookup(m, part, "affinity");

    for (size_t i = 0; i < XK_COUNT(fields); i++)
        sim_part_put_field(m, vm, part, fields[i]);
    sim_put_text(p, vm, "resident_on", host ? host : SIM_NULL);
    sim_put_text(p, vm, "affinity", affinity ? affinity : SIM_NULL);
    static const char *const both[] = {"metrics", "guest_metrics"};
    for (size_t i = 0; i < XK_COUNT(both); i++) {
        const char *const ref = sim_part_lookup(m, part, both[i]);
        struct sim_object *const old = ref ? sim_follow(p, vm, both[i]) : NULL;
        if (!ref)
            continue;
        sim_put_text(p, vm, both[i], ref);
        if (old)
            sim_delete(p, old);
    }
    sim_put_pair(p, vm, "other_config", "import_task", m->task);
    if (!m->force)
        sim_map_set(p, vm, xapi_field_place(vm->class_row, "current_operations"), m->task,
                    &(struct xapi_value){.shape = XAPI_TEXT, .count = 6, .text = "import"});
}

/* returns   false: its memory is not in the archive. */
static bool wake_state(struct sim_import *m, struct sim_object *vm, const struct sim_part *part)
{
    struct simpool *const p = m->pool;
    struct sim_object *const metrics = sim_follow(p, vm, "metrics");

    if (!sim_same(sim_part_text(part, "power_state"), "Suspended"))
        return true;
    const char *const image =
        m->force ? sim_part_lookup(m, part, "suspend_VDI") : sim_part_lookup_needed(m, part, "suspend_VDI");
    if (!image)
        return m->force;
    sim_put_text(p, vm, "power_state", "Suspended");
    sim_put_text(p, vm, "suspend_VDI", image);
    if (metrics)
        sim_put_text(p, metrics, "current_domain_type", sim_text(vm, "domain_type"));
    return true;
}

static bool make_machine(struct sim_import *m, struct sim_part *part)
{
    const int64_t version = m->restore ? sim_part_int(part, "version") + 1 : 0;
    struct sim_change changes[20] = {
        {"other_config", config_of(m, part)},      {"generation_id", fresh_generation(m, part)},
        {"protection_policy", xapi_str(SIM_NULL)}, {"version", xapi_int(version)},
        {"appliance", xapi_str(SIM_NULL)},         {"suspend_VDI", xapi_str(SIM_NULL)},
        {"affinity", xapi_str(SIM_NULL)},          {"power_state", xapi_str("Halted")}};
    size_t count = 8;

    if (!m->force)
        changes[count++] = (struct sim_change){"is_default_template", xapi_bool(false)};
    count += old_ways(part, changes + count);
    struct sim_object *const vm = sim_part_construct(m, part, changes, count);
    if (!vm)
        return false;
    sim_part_keep_uuid(m, vm, part);
    fill_machine(m, vm, part);
    if (!wake_state(m, vm, part))
        return false;
    sim_vm_allowed(m->pool, vm);
    return true;
}

static bool import_machine(struct sim_import *m, struct sim_part *part)
{
    const struct sim_object *const twin =
        is_default_template(part) ? machine_named(m, sim_part_text(part, "name_label")) : NULL;
    struct sim_object *const old = m->restore ? (struct sim_object *)(uintptr_t)sim_part_same_uuid(m, part) : NULL;

    if (twin) {
        sim_part_stands_for(part, twin->ref);
        return true;
    }
    const int may = old ? may_replace(m, part, old) : 1;
    if (may <= 0)
        return may == 0;
    if (m->dry_run)
        return sim_part_rehearsed(m, part);
    if (old)
        sim_vm_destroy(m->pool, old);
    return make_machine(m, part);
}

/* ---- networks and devices ---- */

static const struct sim_object *network_there(const struct sim_import *m, const struct sim_part *part)
{
    const char *const bridge = sim_part_text(part, "bridge");

    for (const struct sim_object *n = sim_first(m->pool, "network"); n; n = n->class_next)
        if (sim_is(n, "name_label", sim_part_text(part, "name_label")))
            return n;
    for (const struct sim_object *n = sim_first(m->pool, "network"); n; n = n->class_next)
        if (*bridge && sim_is(n, "bridge", bridge))
            return n;
    return NULL;
}

static bool import_network(struct sim_import *m, struct sim_part *part)
{
    const struct sim_object *const there = network_there(m, part);

    if (there) {
        sim_part_stands_for(part, there->ref);
        return true;
    }
    if (m->dry_run)
        return sim_part_rehearsed(m, part);
    struct sim_object *const network = sim_part_construct(m, part, NULL, 0);
    if (network)
        sim_put_pair(m->pool, network, "other_config", "import_task", m->task);
    return network != NULL;
}

static bool import_gpu_group(struct sim_import *m, struct sim_part *part)
{
    const struct xapi_value *const types = xapi_map_get(part->snapshot, "GPU_types");

    for (const struct sim_object *g = sim_first(m->pool, "GPU_group"); g; g = g->class_next)
        if (types && xapi_value_same(types, sim_get(g, "GPU_types"))) {
            sim_part_stands_for(part, g->ref);
            return true;
        }
    if (!m->sr)
        return sim_import_fail_generic(m, "Failure(\"Unable to find GPU group with matching GPU_types\")");
    struct sim_object *const group = sim_create(m->pool, "GPU_group");
    if (!group)
        return sim_import_fail_generic(m, "Out_of_memory");
    static const char *const fields[] = {"name_label", "name_description", "other_config", "GPU_types"};
    for (size_t i = 0; i < XK_COUNT(fields); i++)
        sim_part_put_field(m, group, part, fields[i]);
    return sim_part_made(m, part, group->ref);
}

static bool has_qemu(const struct sim_part *vm)
{
    const char *const type = sim_part_text(vm, "domain_type");
    const bool unsaid = !*type || sim_same(type, "unspecified");

    return unsaid ? *sim_part_text(vm, "HVM_boot_policy") != '\0' : !sim_same(type, "pv");
}

static bool import_vbd(struct sim_import *m, struct sim_part *part)
{
    const struct sim_object *const there = m->restore ? sim_part_same_uuid(m, part) : NULL;
    const bool attached = sim_part_true(part, "currently_attached"), cd = sim_same(sim_part_text(part, "type"), "CD");

    if (there) {
        sim_part_stands_for(part, there->ref);
        return true;
    }
    const char *const vm = sim_part_lookup_needed(m, part, "VM"), *const vdi = sim_part_lookup(m, part, "VDI");
    const struct sim_part *const owner = vm ? sim_part_named(m, part, "VM") : NULL;
    if (!owner)
        return false;
    const bool suspended = sim_same(sim_part_text(owner, "power_state"), "Suspended");
    if (attached && !vdi && !(cd && (has_qemu(owner) || (m->dry_run && m->live && !suspended)))) {
        sim_error_set(&m->error, "IMPORT_ERROR_ATTACHED_DISKS_NOT_FOUND", NULL);
        return false;
    }
    if (!vdi && sim_same(sim_part_text(part, "type"), "Disk"))
        return true; /* there are no empty disks */
    if (m->dry_run)
        return sim_part_rehearsed(m, part);
    const struct sim_change changes[] = {{"VM", xapi_str(vm)},
                                         {"VDI", xapi_str(vdi ? vdi : SIM_NULL)},
                                         {"empty", xapi_bool(!vdi)},
                                         {"device", xapi_str("")},
                                         {"currently_attached", xapi_bool(false)}};
    struct sim_object *const vbd = sim_part_construct(m, part, changes, XK_COUNT(changes));
    if (!vbd)
        return false;
    sim_part_keep_uuid(m, vbd, part);
    sim_put_bool(m->pool, vbd, "currently_attached", attached);
    return true;
}

static bool import_vif(struct sim_import *m, struct sim_part *part)
{
    static const char key[] = "mirror_vif_map", *const without[] = {key, NULL};
    const struct sim_object *const there = m->restore ? sim_part_same_uuid(m, part) : NULL;
    const char *const given = sim_part_pair(part, "other_config", key);

    if (there) {
        sim_part_stands_for(part, there->ref);
        return true;
    }
    const char *const vm = sim_part_lookup_needed(m, part, "VM");
    const char *const network = vm ? given ? given : sim_part_lookup_needed(m, part, "network") : NULL;
    if (!network)
        return false;
    if (m->dry_run)
        return sim_part_rehearsed(m, part);
    const struct sim_change changes[] = {{"VM", xapi_str(vm)},
                                         {"network", xapi_str(network)},
                                         {"MAC", xapi_str(m->restore ? sim_part_text(part, "MAC") : "")},
                                         {"other_config", map_with(m, part, "other_config", without, NULL, NULL)},
                                         {"currently_attached", xapi_bool(false)}};
    struct sim_object *const vif = sim_part_construct(m, part, changes, XK_COUNT(changes));
    if (!vif)
        return false;
    sim_part_keep_uuid(m, vif, part);
    const struct sim_object *const owner = sim_find(m->pool, vm, NULL);
    if (owner && sim_vm_power(owner) != SIM_IS_HALTED)
        sim_put_bool(m->pool, vif, "currently_attached", sim_part_true(part, "currently_attached"));
    return true;
}

/* ---- graphics, streaming, keys ---- */

static bool import_vgpu_type(struct sim_import *m, struct sim_part *part)
{
    const char *const identifier = sim_part_text(part, "identifier");
    const struct sim_object *t;

    for (t = sim_first(m->pool, "VGPU_type"); t && !sim_is(t, "identifier", identifier);)
        t = t->class_next;
    for (t = t ? t : sim_first(m->pool, "VGPU_type"); t && !sim_is(t, "identifier", identifier) &&
                                                      !(sim_is(t, "vendor_name", sim_part_text(part, "vendor_name")) &&
                                                        sim_is(t, "model_name", sim_part_text(part, "model_name")));)
        t = t->class_next;
    if (!t)
        return import_metrics(m, part); /* the record as it is */
    sim_part_stands_for(part, t->ref);
    return true;
}

static bool import_vgpu(struct sim_import *m, struct sim_part *part)
{
    const struct sim_object *const there = m->restore ? sim_part_same_uuid(m, part) : NULL;

    if (there) {
        sim_part_stands_for(part, there->ref);
        return true;
    }
    const char *const vm = sim_part_lookup_needed(m, part, "VM"),
                      *const group = vm ? sim_part_lookup_needed(m, part, "GPU_group") : NULL,
                      *const type = group ? sim_part_lookup_needed(m, part, "type") : NULL;
    if (!type)
        return false;
    if (m->dry_run)
        return sim_part_rehearsed(m, part);
    const struct xapi_value *const config = xapi_map_get(part->snapshot, "other_config");
    const struct xapi_value args[] = {xapi_str(vm), xapi_str(group), xapi_str(sim_part_text(part, "device")),
                                      config ? *config : xapi_map(NULL, 0), xapi_str(type)};
    char ref[SIM_REF_BYTES];
    if (!sim_call_own(m->pool, "VGPU.create", args, XK_COUNT(args), ref, &m->error))
        return false;
    (void)sim_part_made(m, part, ref);
    struct sim_object *const vgpu = sim_find(m->pool, ref, NULL);
    if (vgpu)
        sim_part_keep_uuid(m, vgpu, part);
    return true;
}

/* A site is never made for a machine that was in one; without it the proxy is left out. */
static bool import_pvs_proxy(struct sim_import *m, struct sim_part *part)
{
    const struct sim_part *const site = sim_part_named(m, part, "site");
    const char *const vif = site ? sim_part_lookup_needed(m, part, "VIF") : NULL;
    const struct sim_object *there = sim_first(m->pool, "PVS_site");
    char ref[SIM_REF_BYTES];

    if (!vif)
        return false;
    while (there && !sim_is(there, "PVS_uuid", sim_part_text(site, "PVS_uuid")))
        there = there->class_next;
    if (!there)
        return true;
    if (m->dry_run)
        return sim_part_rehearsed(m, part);
    const struct xapi_value args[] = {xapi_str(there->ref), xapi_str(vif)};
    return sim_call_own(m->pool, "PVS_proxy.create", args, XK_COUNT(args), ref, &m->error) &&
           sim_part_made(m, part, ref);
}

static bool import_vtpm(struct sim_import *m, struct sim_part *part)
{
    const char *const vm = sim_part_lookup_needed(m, part, "VM");
    char text[160], ref[SIM_REF_BYTES];

    if (!vm)
        return false;
    if (m->restore && sim_part_same_uuid(m, part)) {
        snprintf(text, sizeof(text), "A VTPM with UUID %.36s already exists", sim_part_text(part, "uuid"));
        return sim_import_fail(m, "IMPORT_ERROR", text);
    }
    if (m->dry_run)
        return sim_part_rehearsed(m, part);
    const struct xapi_value args[] = {xapi_str(vm), xapi_bool(sim_part_true(part, "is_unique"))};
    if (!sim_call_own(m->pool, "VTPM.create", args, XK_COUNT(args), ref, &m->error))
        return false;
    (void)sim_part_made(m, part, ref);
    struct sim_object *const vtpm = sim_find(m->pool, ref, NULL);
    if (vtpm) {
        sim_part_put_field(m, vtpm, part, "is_protected");
        sim_part_keep_uuid(m, vtpm, part);
    }
    return true;
}

/* ---- all of them ---- */

static const struct {
    const char *class_name;
    bool (*import)(struct sim_import *m, struct sim_part *part);
} handlers[] = {{"host", import_host},
                {"SR", import_sr},
                {"VDI", import_disk},
                {"VM_guest_metrics", import_metrics},
                {"VM_metrics", import_metrics},
                {"VM", import_machine},
                {"network", import_network},
                {"GPU_group", import_gpu_group},
                {"VBD", import_vbd},
                {"VIF", import_vif},
                {"VGPU_type", import_vgpu_type},
                {"VGPU", import_vgpu},
                {"PVS_proxy", import_pvs_proxy},
                {"VTPM", import_vtpm}};

/* A seed may be only one machine's and its snapshots', or two machines would have the same addresses. */
static bool seeds_are_free(struct sim_import *m)
{
    for (size_t i = 0; i < m->count; i++) {
        const struct sim_part *const part = &m->parts[i];
        const char *const seed = sim_part_is(part, "VM") ? sim_part_pair(part, "other_config", "mac_seed") : NULL;
        const struct sim_part *const of = seed ? sim_part_of(m, sim_part_text(part, "snapshot_of")) : NULL;
        const char *const uuid = sim_part_text(of ? of : part, "uuid");
        for (const struct sim_object *vm = seed ? sim_first(m->pool, "VM") : NULL; vm; vm = vm->class_next) {
            const char *const own = sim_pair(vm, "other_config", "mac_seed");
            const struct sim_object *const machine = sim_follow(m->pool, vm, "snapshot_of");
            if (own && sim_same(own, seed) && !sim_is(machine ? machine : vm, "uuid", uuid))
                return sim_import_fail(m, "DUPLICATE_MAC_SEED", seed);
        }
    }
    return true;
}

/* Snapshots are those of the machine that was made, and stand in its line. */
static bool link_snapshots(struct sim_import *m)
{
    for (size_t i = 0; i < m->count; i++) {
        struct sim_part *const part = &m->parts[i];
        struct sim_object *const vm =
            sim_part_is(part, "VM") && part->created ? sim_find(m->pool, part->ref, NULL) : NULL;
        if (!vm)
            continue;
        const char *const parent = sim_part_lookup(m, part, "parent"), *const of = sim_part_text(part, "snapshot_of");
        if (parent)
            sim_put_text(m->pool, vm, "parent", parent);
        if (!sim_bool(vm, "is_a_snapshot") || sim_is_null(of))
            continue;
        const char *const machine = strncmp(of, "Ref:", 4) == 0 ? sim_part_lookup_needed(m, part, "snapshot_of") : of;
        if (!machine)
            return false;
        if (sim_find(m->pool, machine, vm->class_row))
            sim_put_text(m->pool, vm, "snapshot_of", machine);
    }
    return true;
}

bool sim_import_make(struct sim_import *m)
{
    bool good = !m->restore || seeds_are_free(m);

    for (size_t h = 0; good && h < XK_COUNT(handlers); h++)
        for (size_t i = 0; good && i < m->count; i++)
            if (sim_part_is(&m->parts[i], handlers[h].class_name))
                good = handlers[h].import(m, &m->parts[i]);
    if (good && !m->dry_run)
        good = link_snapshots(m);
    if (good && m->pool->error)
        good = sim_import_fail_generic(m, "Out_of_memory");
    if (!good)
        sim_import_undo(m);
    return good;
}

static void undo_one(struct sim_import *m, struct sim_part *part)
{
    struct simpool *const p = m->pool;
    struct sim_object *const o = sim_find(p, part->ref, part->class_row);

    if (!o)
        return;
    if (sim_part_is(part, "VM"))
        sim_vm_destroy(p, o);
    else if (sim_part_is(part, "VDI"))
        sim_vdi_destroy(p, o);
    else if (sim_part_is(part, "VBD") || sim_part_is(part, "VIF"))
        sim_device_delete(p, o);
    else
        sim_delete(p, o);
}

void sim_import_undo(struct sim_import *m)
{
    while (!m->force && m->created_count > 0)
        undo_one(m, &m->parts[m->created[--m->created_count]]);
}

void sim_import_complete(struct sim_import *m, struct xapi_value *ret)
{
    struct xapi_value *const refs = xk_arena_alloc(&m->arena, (m->count + 1) * sizeof(*refs));
    size_t machines = 0, snapshots = 0;

    for (size_t i = 0; i < m->count && refs; i++) {
        struct sim_part *const part = &m->parts[i];
        struct sim_object *const vm =
            sim_part_is(part, "VM") && part->created ? sim_find(m->pool, part->ref, NULL) : NULL;
        if (!vm)
            continue;
        sim_map_unset(m->pool, vm, xapi_field_place(vm->class_row, "current_operations"), m->task);
        sim_vm_refresh(m->pool, vm);
        machines += !sim_bool(vm, "is_a_snapshot");
    }
    /* Snapshots alone are told of, beside a machine they are not. */
    for (size_t i = 0; i < m->count && refs; i++) {
        const struct sim_part *const part = &m->parts[i];
        const struct sim_object *const vm =
            sim_part_is(part, "VM") && part->created ? sim_find(m->pool, part->ref, NULL) : NULL;
        if (vm && (machines == 0 || !sim_bool(vm, "is_a_snapshot")))
            refs[snapshots++] = xapi_str(vm->ref);
    }
    *ret = xapi_list(refs, refs ? snapshots : 0);
}

/* ---- disks ---- */

static int compare_names(const void *a, const void *b)
{
    const struct sim_part *const *const left = a, *const *const right = b;

    return strcmp((*left)->id, (*right)->id);
}

static bool is_of_drive(const struct sim_import *m, const struct sim_part *vdi)
{
    for (size_t i = 0; i < m->count; i++) {
        const struct sim_part *const part = &m->parts[i];
        if (sim_part_is(part, "VBD") && !sim_same(sim_part_text(part, "type"), "CD") &&
            sim_same(sim_part_text(part, "VDI"), vdi->id))
            return true;
    }
    return false;
}

size_t sim_import_disks(const struct sim_import *m, const struct sim_part **ret, size_t max)
{
    size_t count = 0;

    for (size_t i = 0; i < m->count && count < max; i++) {
        const struct sim_part *const part = &m->parts[i];
        if (sim_part_is(part, "VDI") && part->created &&
            (sim_same(sim_part_text(part, "type"), "suspend") || is_of_drive(m, part)))
            ret[count++] = part;
    }
    if (count)
        qsort(ret, count, sizeof(*ret), compare_names);
    return count;
}
