/*
 * Block devices of machines.
 *
 * May an operation begin? The first question that an operation fails decides its error, in the order of the real
 * server (xapi_vbd_helpers.ml). Sharing is asked only when something is about to happen: for the list of allowed
 * operations it would make every change of a shared disk touch all of its machines.
 */
#include "lib/simpool/ops.h"

#define DEVICES_MAX 255

/* ---- devices ---- */

/* The disk number that "3", "xvdd", "hdd" or "sdd" stand for; a partition counts as its disk. -1: no device. */
static int number_of(const char *device)
{
    static const char *const prefixes[] = {"xvd", "hd", "sd"};
    int64_t number;

    if (xk_parse_i64(&number, device) == 0)
        return number >= 0 && number <= DEVICES_MAX ? (int)number : -1;
    for (size_t i = 0; i < XK_COUNT(prefixes); i++) {
        if (!xk_has_prefix(device, prefixes[i]))
            continue;
        const char *at = device + strlen(prefixes[i]);
        int disk = 0, letters = 0;
        for (; *at >= 'a' && *at <= 'z' && letters < 2; at++, letters++)
            disk = disk * 26 + (*at - 'a' + 1);
        at += strspn(at, "0123456789");
        return letters && *at == '\0' && disk - 1 <= DEVICES_MAX ? disk - 1 : -1;
    }
    return -1;
}

static void used_devices(const struct simpool *p, const struct sim_object *vm, bool ret[DEVICES_MAX + 1])
{
    const struct sim_object *vbd;

    memset(ret, 0, DEVICES_MAX + 1);
    for (size_t at = 0; (vbd = sim_member(p, vm, "VBDs", &at));) {
        const int user = number_of(sim_text(vbd, "userdevice")), own = number_of(sim_text(vbd, "device"));
        if (user >= 0)
            ret[user] = true;
        if (own >= 0)
            ret[own] = true;
    }
}

static enum sim_outcome get_allowed_devices(struct sim_call *c)
{
    const struct sim_object *const vm = sim_arg(c, 0);
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&c->arena);
    bool used[DEVICES_MAX + 1];
    char text[8];

    if (!vm)
        return SIM_FAILED;
    used_devices(c->pool, vm, used);
    xapi_build_open(&b, XAPI_LIST);
    for (int i = 0; i < DEVICES_MAX; i++) {
        snprintf(text, sizeof(text), "%d", i);
        if (!used[i])
            xapi_build_text(&b, text);
    }
    xapi_build_close(&b);
    return xapi_build_end(&b, &c->result) < 0 ? sim_no_memory(c) : SIM_DONE;
}

/* ---- may it? ---- */

/* In the order of the enum vbd_operations. */
enum { ATTACH = 1, EJECT = 2, INSERT = 4, PLUG = 8, UNPLUG = 16, UNPLUG_FORCE = 32, PAUSE = 64, UNPAUSE = 128 };

static const char *const names[] = {"attach", "eject", "insert", "plug", "unplug", "unplug_force", "pause", "unpause"};
enum { ALL = 255, PLUGS = PLUG | UNPLUG | UNPLUG_FORCE, TAKES = ATTACH | PLUG | INSERT };

struct question {
    const struct simpool *pool;
    const struct sim_object *vbd, *vm;
    bool sharing; /* ask about other users of the disk, too */
    struct sim_question asked;
};

static bool is_pausing(const char *op)
{
    return sim_same(op, "pause") || sim_same(op, "unpause");
}

static void ask_current(struct question *q)
{
    const struct xapi_value *const now = sim_get(q->vbd, "current_operations");

    for (size_t i = 0; i < now->count; i++) {
        const char *const op = xapi_value_text(&now->items[2 * i + 1]);
        const unsigned stopped = ALL & ~(unsigned)(PAUSE | UNPAUSE);
        const unsigned also = (is_pausing(op) ? 0u : PAUSE) | (is_pausing(op) || sim_same(op, "attach") ? 0u : UNPAUSE);
        if (sim_question_first(&q->asked, stopped | also))
            (void)sim_deny_busy(q->asked.why, q->vbd, i);
    }
}

static void ask_media(struct question *q)
{
    const char *const ref = q->vbd->ref;

    if (!sim_bool(q->vbd, "unpluggable"))
        SIM_KEEP(&q->asked, UNPLUG | UNPLUG_FORCE, "VBD_NOT_UNPLUGGABLE", ref);
    if (!sim_is(q->vbd, "type", "CD"))
        SIM_KEEP(&q->asked, INSERT | EJECT, "VBD_NOT_REMOVABLE_MEDIA", ref);
    if (sim_bool(q->vbd, "empty"))
        SIM_KEEP(&q->asked, EJECT, "VBD_IS_EMPTY", ref);
    else
        SIM_KEEP(&q->asked, INSERT, "VBD_NOT_EMPTY", ref);
}

static void ask_power(struct question *q)
{
    const enum sim_power power = sim_vm_power(q->vm);
    const bool plugged = sim_bool(q->vbd, "currently_attached") || sim_bool(q->vbd, "reserved");

    if (power == SIM_IS_RUNNING && plugged)
        SIM_KEEP(&q->asked, PLUG, "DEVICE_ALREADY_ATTACHED", q->vbd->ref);
    else if (power == SIM_IS_RUNNING)
        SIM_KEEP(&q->asked, UNPLUG | UNPLUG_FORCE, "DEVICE_ALREADY_DETACHED", q->vbd->ref);
    else
        SIM_KEEP(&q->asked, PLUGS | (power == SIM_IS_PAUSED ? 0 : PAUSE | UNPAUSE), "VM_BAD_POWER_STATE", q->vm->ref,
                 "running", sim_vm_power_word(q->vm));
}

/* Whether the machine is about to stop; the text says so. */
bool sim_vm_stops(const struct sim_object *vm, char ret[SIM_WHY_BYTES])
{
    static const char *const ends[] = {"clean_shutdown", "hard_shutdown", "suspend", "pause"};
    const struct xapi_value *const now = sim_get(vm, "current_operations");

    for (size_t i = 0; i < now->count; i++) {
        const char *const op = xapi_value_text(&now->items[2 * i + 1]);
        for (size_t j = 0; j < XK_COUNT(ends); j++) {
            if (!sim_same(op, ends[j]))
                continue;
            snprintf(ret, SIM_WHY_BYTES, "Current operation on VM:%s is %s", vm->ref, op);
            return true;
        }
    }
    return false;
}

/* Does the guest let devices of a kind come and go while it runs? NULL: yes; otherwise the code of the error. */
const char *sim_guest_hotplug(const struct simpool *p, const struct sim_object *vm, const char *field)
{
    const struct sim_object *const guest = sim_follow(p, vm, "guest_metrics");

    if (guest && sim_is(guest, field, "yes"))
        return NULL;
    if (guest && sim_is(guest, field, "no"))
        return "OPERATION_NOT_ALLOWED";
    if (guest && (sim_bool(guest, "PV_drivers_detected") ||
                  (sim_pair(guest, "PV_drivers_version", "major") && sim_pair(guest, "PV_drivers_version", "minor"))))
        return NULL;
    return "VM_MISSING_PV_DRIVERS";
}

static void ask_guest(struct question *q)
{
    char local[SIM_WHY_BYTES];
    char *const text = q->asked.why ? q->asked.why->text[0] : local;

    if (sim_vm_stops(q->vm, text))
        SIM_KEEP(&q->asked, PLUG | UNPLUG, "OPERATION_NOT_ALLOWED", text);
    const bool hvm = sim_is(q->vm, "domain_type", "hvm") || *sim_text(q->vm, "HVM_boot_policy");
    if (sim_vm_power(q->vm) == SIM_IS_RUNNING && hvm) {
        const char *const code = sim_guest_hotplug(q->pool, q->vm, "can_use_hotplug_vbd");
        if (code && sim_same(code, "OPERATION_NOT_ALLOWED"))
            SIM_KEEP(&q->asked, PLUGS, code, "VM states it does not support VBD hotplug.");
        else if (code)
            SIM_KEEP(&q->asked, PLUGS, code, q->vm->ref);
        if (sim_is(q->vbd, "type", "CD"))
            SIM_KEEP(&q->asked, PLUGS, "OPERATION_NOT_ALLOWED",
                     "HVM CDROMs cannot be hotplugged/unplugged, only inserted or ejected");
    }
    if (sim_is(q->vbd, "type", "CD") && sim_vm_power(q->vm) == SIM_IS_SUSPENDED)
        SIM_KEEP(&q->asked, INSERT | EJECT, "VM_BAD_POWER_STATE", q->vm->ref, "halted, running", "suspended");
}

/* Somebody else has the disk: for writing, or at all when it is to be written to. */
static bool is_shared_badly(const struct simpool *p, const struct sim_object *vdi, const struct sim_object *vbd)
{
    const bool writes = sim_is(vbd, "mode", "RW");
    const struct sim_object *other;

    for (size_t at = 0; (other = sim_member(p, vdi, "VBDs", &at));) {
        const struct sim_object *const vm = other == vbd ? NULL : sim_follow(p, other, "VM");
        if (!vm || sim_vm_power(vm) == SIM_IS_SUSPENDED || sim_pair_is_true(vm, "other_config", "is_system_domain"))
            continue;
        const bool active = sim_bool(other, "currently_attached") || sim_bool(other, "reserved") ||
                            sim_get(other, "current_operations")->count;
        if (active && (writes || sim_is(other, "mode", "RW")))
            return true;
    }
    return false;
}

static void ask_disk(struct question *q)
{
    const struct sim_object *const vdi = sim_bool(q->vbd, "empty") ? NULL : sim_follow(q->pool, q->vbd, "VDI");

    if (!vdi)
        return;
    const struct xapi_value *const now = sim_get(vdi, "current_operations");
    if (!sim_bool(vdi, "managed"))
        SIM_KEEP(&q->asked, ALL, "VDI_NOT_MANAGED", q->vbd->ref);
    for (size_t i = 0; i < now->count; i++) {
        const char *const op = xapi_value_text(&now->items[2 * i + 1]);
        if (!sim_same(op, "mirror") && !sim_same(op, "copy") && sim_question_first(&q->asked, TAKES))
            (void)sim_deny_busy(q->asked.why, vdi, i);
    }
    if (!q->sharing || sim_bool(q->vbd, "currently_attached"))
        return;
    if (!sim_bool(vdi, "sharable") && !sim_pair_is_true(q->vm, "other_config", "is_system_domain") &&
        is_shared_badly(q->pool, vdi, q->vbd))
        SIM_KEEP(&q->asked, TAKES, "VDI_IN_USE", vdi->ref, "attach");
    if (sim_is(q->vbd, "mode", "RW") && sim_bool(vdi, "read_only"))
        SIM_KEEP(&q->asked, TAKES, "VDI_READONLY", vdi->ref);
}

static void ask(struct question *q)
{
    q->vm = sim_follow(q->pool, q->vbd, "VM");
    q->asked.may = ALL;
    if (!q->vm) { /* a device of nothing can do nothing */
        SIM_KEEP(&q->asked, ALL, "HANDLE_INVALID", "VM", sim_text(q->vbd, "VM"));
        return;
    }
    ask_current(q);
    ask_media(q);
    ask_power(q);
    ask_guest(q);
    ask_disk(q);
}

bool sim_vbd_may(const struct simpool *p, const struct sim_object *vbd, const char *op, struct sim_why *why)
{
    struct question q = {.pool = p, .vbd = vbd, .sharing = true, .asked = {.why = why}};

    for (unsigned i = 0; i < XK_COUNT(names); i++)
        if (sim_same(names[i], op))
            q.asked.op = 1u << i;
    ask(&q);
    return (q.asked.may & q.asked.op) != 0;
}

void sim_vbd_allowed(struct simpool *p, struct sim_object *vbd)
{
    struct question q = {.pool = p, .vbd = vbd};

    ask(&q);
    sim_put_allowed(p, vbd, q.asked.may);
}

static void refresh(struct simpool *p, struct sim_object *vbd)
{
    struct sim_object *const vdi = sim_follow(p, vbd, "VDI");

    sim_vbd_allowed(p, vbd);
    if (vdi)
        sim_vdi_allowed(p, vdi);
}

/* ---- making ---- */

static bool is_moving(const struct sim_object *vm, struct sim_why *why)
{
    const struct xapi_value *const now = sim_get(vm, "current_operations");

    for (size_t i = 0; i < now->count; i++) {
        const char *const op = xapi_value_text(&now->items[2 * i + 1]);
        if (sim_same(op, "migrate_send") || sim_same(op, "pool_migrate"))
            return !sim_deny_busy(why, vm, i);
    }
    return false;
}

static bool fits_disk(const struct xapi_value *record, const struct sim_object *vdi, struct sim_why *why)
{
    static const char *const types = " system user ephemeral suspend crashdump metadata rrd pvs_cache ";
    const char *const type = sim_record_text(record, "type"), *const mode = sim_record_text(record, "mode");
    const bool empty = sim_record_true(record, "empty");
    char word[32];

    if (!empty) {
        snprintf(word, sizeof(word), " %.28s ", sim_text(vdi, "type"));
        if (!strstr(types, word))
            return sim_deny(why, "VDI_INCOMPATIBLE_TYPE", vdi->ref, sim_text(vdi, "type"), NULL);
    }
    if (sim_same(type, "CD") && !sim_same(mode, "RO"))
        return sim_deny(why, "VBD_CDS_MUST_BE_READONLY", NULL);
    if (!sim_same(type, "CD") && empty)
        return sim_deny(why, "VBD_NOT_REMOVABLE_MEDIA", "in constructor", NULL);
    if (sim_same(mode, "RW") && sim_bool(vdi, "read_only"))
        return sim_deny(why, "VDI_READONLY", vdi->ref, NULL);
    return true;
}

/* Which device it becomes, as text. */
static bool choose_device(const struct simpool *p, const struct sim_object *vm, const char *wanted, char ret[16],
                          struct sim_why *why)
{
    bool used[DEVICES_MAX + 1];

    used_devices(p, vm, used);
    if (!sim_same(wanted, "autodetect")) {
        const int number = number_of(wanted);
        if (number < 0)
            return sim_deny(why, "INVALID_DEVICE", wanted, NULL);
        if (used[number])
            return sim_deny(why, "DEVICE_ALREADY_EXISTS", wanted, NULL);
        snprintf(ret, 16, "%.15s", wanted);
        return true;
    }
    for (int i = 0; i < DEVICES_MAX; i++) {
        if (used[i])
            continue;
        snprintf(ret, 16, "%d", i);
        return true;
    }
    return sim_deny(why, "INVALID_DEVICE", wanted, NULL);
}

static enum sim_outcome create(struct sim_call *c)
{
    static const char *const copied[] = {"bootable",     "mode",
                                         "type",         "unpluggable",
                                         "empty",        "qos_algorithm_type",
                                         "other_config", "qos_algorithm_params"};
    struct simpool *const p = c->pool;
    const struct xapi_value *record;
    char device[16];
    struct sim_why why;

    if (!sim_record_arg(c, 0, &record))
        return SIM_FAILED;
    const char *const vm_ref = sim_record_text(record, "VM"), *const vdi_ref = sim_record_text(record, "VDI");
    const struct sim_object *const vm = sim_find(p, vm_ref, xapi_class_find("VM"));
    const struct sim_object *const vdi = sim_find(p, vdi_ref, xapi_class_find("VDI"));
    if (!vm)
        return sim_bad_handle(c, (uint16_t)xapi_class_index(xapi_class_find("VM")), vm_ref);
    if (!vdi && !sim_record_true(record, "empty"))
        return sim_bad_handle(c, (uint16_t)xapi_class_index(xapi_class_find("VDI")), vdi_ref);
    if (!fits_disk(record, vdi, &why) || is_moving(vm, &why) ||
        !choose_device(p, vm, sim_record_text(record, "userdevice"), device, &why))
        return sim_refuse(c, &why);
    struct sim_object *const vbd = sim_create(p, "VBD"), *const metrics = vbd ? sim_create(p, "VBD_metrics") : NULL;
    if (!metrics)
        return sim_no_memory(c);
    for (size_t i = 0; i < XK_COUNT(copied); i++)
        sim_put(p, vbd, copied[i], *xapi_map_get(record, copied[i]));
    sim_put_text(p, vbd, "VM", vm_ref);
    sim_put_text(p, vbd, "VDI", vdi ? vdi_ref : SIM_NULL);
    sim_put_text(p, vbd, "userdevice", device);
    sim_put_text(p, vbd, "metrics", metrics->ref);
    if (sim_vm_power(vm) == SIM_IS_SUSPENDED) { /* part of a state that is brought along */
        sim_put(p, vbd, "device", *xapi_map_get(record, "device"));
        sim_put(p, vbd, "currently_attached", *xapi_map_get(record, "currently_attached"));
    }
    refresh(p, vbd);
    return sim_done_ref(c, vbd);
}

static enum sim_outcome destroy(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const vbd = sim_arg(c, 0);
    char text[160];

    if (!vbd)
        return SIM_FAILED;
    const struct sim_object *const vm = sim_follow(p, vbd, "VM");
    if (sim_bool(vbd, "currently_attached") || sim_bool(vbd, "reserved")) {
        snprintf(text, sizeof(text), "VBD '%.36s' still attached to '%.36s'", sim_text(vbd, "uuid"),
                 vm ? sim_text(vm, "uuid") : "");
        return sim_fail(c, "OPERATION_NOT_ALLOWED", text, NULL);
    }
    struct sim_object *const vdi = sim_follow(p, vbd, "VDI");
    sim_device_delete(p, vbd);
    if (vdi)
        sim_vdi_allowed(p, vdi);
    return SIM_DONE;
}

/* ---- plugging ---- */

/* The device of argument 0, after the question. NULL: answered. */
static struct sim_object *asked(struct sim_call *c, const char *op)
{
    struct sim_object *const vbd = sim_arg(c, 0);
    struct sim_why why;

    if (!vbd)
        return NULL;
    if (sim_vbd_may(c->pool, vbd, op, &why))
        return vbd;
    (void)sim_refuse(c, &why);
    return NULL;
}

static enum sim_outcome plug(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const vbd = asked(c, "plug");
    const struct sim_object *const vm = vbd ? sim_follow(p, vbd, "VM") : NULL;
    char device[16];

    if (!vbd)
        return SIM_FAILED;
    if (sim_is(vm, "domain_type", "hvm") && !sim_is(vbd, "type", "CD") && sim_is(vbd, "mode", "RO"))
        return sim_fail(c, "DISK_VBD_MUST_BE_READWRITE_FOR_HVM", vbd->ref, NULL);
    const struct sim_object *const vdi = sim_follow(p, vbd, "VDI"), *const host = sim_follow(p, vm, "resident_on");
    if (vdi && host && !sim_host_sees_sr(p, host, sim_text(vdi, "SR")))
        return sim_fail(c, "SR_HAS_NO_PBDS", sim_text(vdi, "SR"), NULL);
    snprintf(device, sizeof(device), "xvd%c",
             (char)('a' + XK_MIN(XK_MAX(number_of(sim_text(vbd, "userdevice")), 0), 25)));
    sim_put_text(p, vbd, "device", device);
    sim_put_bool(p, vbd, "currently_attached", true);
    refresh(p, vbd);
    return SIM_DONE;
}

static enum sim_outcome unplug_as(struct sim_call *c, const char *op)
{
    struct sim_object *const vbd = asked(c, op);

    if (!vbd)
        return SIM_FAILED;
    sim_put_bool(c->pool, vbd, "currently_attached", false);
    refresh(c->pool, vbd);
    return SIM_DONE;
}

static enum sim_outcome unplug(struct sim_call *c)
{
    return unplug_as(c, "unplug");
}

static enum sim_outcome unplug_force(struct sim_call *c)
{
    return unplug_as(c, "unplug_force");
}

static enum sim_outcome eject(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const vbd = asked(c, "eject"), *const vdi = vbd ? sim_follow(p, vbd, "VDI") : NULL;

    if (!vbd)
        return SIM_FAILED;
    sim_put_bool(p, vbd, "empty", true);
    sim_put_text(p, vbd, "VDI", SIM_NULL);
    sim_vbd_allowed(p, vbd);
    if (vdi)
        sim_vdi_allowed(p, vdi);
    return SIM_DONE;
}

static enum sim_outcome insert(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const vbd = asked(c, "insert");
    const struct sim_object *const vdi = vbd ? sim_arg(c, 1) : NULL;

    if (!vdi)
        return SIM_FAILED;
    if (!sim_bool(vdi, "managed"))
        return sim_fail(c, "VDI_NOT_MANAGED", vdi->ref, NULL);
    const struct sim_object *const vm = sim_follow(p, vbd, "VM"), *const host = sim_follow(p, vm, "resident_on");
    if (host && !sim_host_sees_sr(p, host, sim_text(vdi, "SR")))
        return sim_fail(c, "SR_HAS_NO_PBDS", sim_text(vdi, "SR"), NULL);
    sim_put_text(p, vbd, "VDI", vdi->ref);
    sim_put_bool(p, vbd, "empty", false);
    refresh(p, vbd);
    return SIM_DONE;
}

/* Drivers stopped supporting it; what is asked before that still is. */
static enum sim_outcome pause_as(struct sim_call *c, const char *op)
{
    const struct sim_object *const vbd = asked(c, op), *const vdi = vbd ? sim_follow(c->pool, vbd, "VDI") : NULL;

    if (!vbd)
        return SIM_FAILED;
    if (!vdi)
        return sim_bad_handle(c, (uint16_t)xapi_class_index(xapi_class_find("VDI")), sim_text(vbd, "VDI"));
    return sim_fail(c, "SR_OPERATION_NOT_SUPPORTED", sim_text(vdi, "SR"), NULL);
}

static enum sim_outcome pause_vbd(struct sim_call *c)
{
    return pause_as(c, "pause");
}

static enum sim_outcome unpause(struct sim_call *c)
{
    return pause_as(c, "unpause");
}

static enum sim_outcome assert_attachable(struct sim_call *c)
{
    return asked(c, "attach") ? SIM_DONE : SIM_FAILED;
}

static enum sim_outcome set_mode(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const vbd = sim_arg(c, 0), *const vm = vbd ? sim_follow(p, vbd, "VM") : NULL;
    struct sim_why why;

    if (!vbd)
        return SIM_FAILED;
    if (vm && !sim_vm_has_power(vm, SIM_IS_HALTED, "halted", &why))
        return sim_refuse(c, &why);
    sim_put(p, vbd, "mode", c->args[1]);
    refresh(p, vbd);
    return SIM_DONE;
}

/* Fields whose change changes what may be done. */
static enum sim_outcome set_and_refresh(struct sim_call *c)
{
    const enum sim_outcome outcome = sim_generic(c);

    if (outcome == SIM_DONE)
        refresh(c->pool, sim_arg(c, 0));
    return outcome;
}

const struct sim_row sim_vbd_rows[] = {
    {"VBD.create", create},
    {"VBD.destroy", destroy},
    {"VBD.plug", plug},
    {"VBD.unplug", unplug},
    {"VBD.unplug_force", unplug_force},
    {"VBD.unplug_force_no_safety_check", unplug_force},
    {"VBD.eject", eject},
    {"VBD.insert", insert},
    {"VBD.pause", pause_vbd},
    {"VBD.unpause", unpause},
    {"VBD.assert_attachable", assert_attachable},
    {"VBD.set_mode", set_mode},
    {"VBD.set_type", set_and_refresh},
    {"VBD.set_unpluggable", set_and_refresh},
    {"VM.get_allowed_VBD_devices", get_allowed_devices},
    {NULL, NULL},
};
