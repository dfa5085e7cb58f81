/*
 * Machines made from machines: clones, copies, snapshots, checkpoints; and back again: revert.
 *
 * All of them are one walk over the record, the disks and the interfaces, told by `struct kind` what differs. Nothing
 * exists before the work is over, so a cancelled one has nothing to take back.
 */
#include "lib/simpool/ops.h"

#include <openssl/evp.h>

#define BODY_BYTES 1024

static const char *const none[] = {NULL};

struct kind {
    const char *op, *vdi_op; /* what is done to the machine and to each of its disks */
    bool snapshot;           /* the result belongs to the machine */
    bool state;              /* it has the machine's memory, too */
    bool full;               /* disks are copied whole */
    const char *message, *told;
};

static const struct kind clone_kind = {.op = "clone", .vdi_op = "clone", .state = true};
static const struct kind copy_kind = {.op = "copy", .vdi_op = "copy", .state = true, .full = true};
static const struct kind snapshot_kind = {
    .op = "snapshot", .vdi_op = "snapshot", .snapshot = true, .message = "VM_SNAPSHOTTED", .told = "snapshotted"};
static const struct kind checkpoint_kind = {.op = "checkpoint",
                                            .vdi_op = "snapshot",
                                            .snapshot = true,
                                            .state = true,
                                            .message = "VM_CHECKPOINTED",
                                            .told = "checkpointed"};

/* ---- addresses ---- */

static void digest(uint8_t ret[16], const void *bytes, size_t len)
{
    unsigned got = 0;

    if (EVP_Digest(bytes, len, ret, &got, EVP_md5(), NULL) != 1 || got != 16)
        memset(ret, 0, 16);
}

/* The address that the real server derives from a machine's seed and a device's number. */
void sim_mac_of(const char *seed, int64_t device, char ret[24])
{
    uint8_t first[16], second[16];

    digest(first, seed, strlen(seed));
    for (int64_t i = 0; i < device * 2; i++)
        digest(first, first, sizeof(first));
    digest(second, first, sizeof(first));
    snprintf(ret, 24, "%02x:%02x:%02x:%02x:%02x:%02x", (first[0] & 0xfcu) | 2, first[1], first[2], first[3], second[1],
             second[2]);
}

static void new_seed(struct simpool *p, struct sim_object *vm)
{
    char ref[SIM_REF_BYTES];

    sim_new_ref(p, ref);
    sim_put_pair(p, vm, "other_config", "mac_seed", ref + strlen("OpaqueRef:"));
}

/* ---- may it? ---- */

static bool is_ignored(const struct xapi_value *ignored, const struct sim_object *vbd)
{
    return ignored && xapi_list_has(ignored, sim_text(vbd, "VDI"));
}

/* Each disk may be copied, and there is room for what that takes. */
static bool disks_may(const struct simpool *p, const struct sim_object *vm, const struct kind *kind,
                      const struct sim_object *sr, const struct xapi_value *ignored, struct sim_why *why)
{
    const struct sim_object *vbd;
    int64_t bytes = 0;

    for (size_t at = 0; (vbd = sim_member(p, vm, "VBDs", &at));) {
        const struct sim_object *const vdi = sim_is(vbd, "type", "Disk") ? sim_follow(p, vbd, "VDI") : NULL;
        if (!vdi || is_ignored(ignored, vbd))
            continue;
        const struct sim_object *const from = sim_follow(p, vdi, "SR"), *const to = sr ? sr : from;
        if (!sim_vdi_may(p, vdi, kind->vdi_op, why))
            return false;
        if (!to || !sim_sr_pbd(p, to, why))
            return false;
        if (kind->full) {
            bytes += sim_int(vdi, "physical_utilisation");
            if (!sim_sr_may(p, to, "vdi_create", why) || !sim_sr_has_room(to, bytes, why))
                return false;
        } else if (!sim_sr_may(p, from, kind->snapshot ? "vdi_snapshot" : "vdi_clone", why)) {
            return false;
        }
    }
    return true;
}

/* ---- parts ---- */

static struct sim_object *metrics_copy(struct simpool *p, const struct sim_object *from, struct sim_object *vm,
                                       const char *field)
{
    const struct sim_object *const old = sim_follow(p, from, field);
    struct sim_object *const copy = old ? sim_copy(p, old) : NULL;

    if (copy)
        sim_put_text(p, vm, field, copy->ref);
    return copy;
}

static void vbd_copy(struct simpool *p, const struct sim_object *vbd, struct sim_object *vm, const char *vdi,
                     bool attached)
{
    struct sim_object *const copy = sim_copy(p, vbd), *const metrics = copy ? sim_create(p, "VBD_metrics") : NULL;

    if (!metrics)
        return;
    sim_put_text(p, copy, "metrics", metrics->ref);
    sim_put_text(p, copy, "VM", vm->ref);
    sim_put_text(p, copy, "VDI", vdi);
    sim_put_bool(p, copy, "empty", sim_is_null(vdi));
    sim_put_bool(p, copy, "currently_attached", attached);
    /* Its disks go with it, whoever owned those that they were made from. */
    if (sim_is(copy, "type", "Disk") && !sim_pair(copy, "other_config", "owner"))
        sim_put_pair(p, copy, "other_config", "owner", "");
    sim_vbd_allowed(p, copy);
}

static void vif_copy(struct simpool *p, const struct sim_object *vif, struct sim_object *vm, bool same_address,
                     bool attached)
{
    struct sim_object *const copy = sim_copy(p, vif), *const metrics = copy ? sim_create(p, "VIF_metrics") : NULL;
    const char *const seed = sim_pair(vm, "other_config", "mac_seed");
    char mac[24];
    int64_t device;

    if (!metrics)
        return;
    sim_put_text(p, copy, "metrics", metrics->ref);
    sim_put_text(p, copy, "VM", vm->ref);
    sim_put_text(p, copy, "network", sim_text(vif, "network"));
    sim_put_bool(p, copy, "currently_attached", attached);
    if (!same_address && seed && xk_parse_i64(&device, sim_text(vif, "device")) == 0 && device >= 0 && device < 256) {
        sim_mac_of(seed, device, mac);
        sim_put_text(p, copy, "MAC", mac);
        sim_put_bool(p, copy, "MAC_autogenerated", true);
    }
    sim_vif_allowed(p, copy);
}

static struct sim_object *disk_copy(struct simpool *p, const struct sim_object *vdi, const struct kind *kind,
                                    const struct sim_object *sr)
{
    const char *const to = sr ? sr->ref : sim_text(vdi, "SR");
    struct sim_object *const copy = sim_vdi_copy(p, vdi, to, kind->snapshot);

    if (copy && kind->full)
        sim_sr_take(p, sim_follow(p, copy, "SR"), sim_int(copy, "physical_utilisation"));
    else if (copy)
        sim_put_int(p, copy, "physical_utilisation", 0); /* it shares all with the one that it was made from */
    return copy;
}

static void disks_copy(struct simpool *p, const struct sim_object *from, struct sim_object *vm, const struct kind *kind,
                       const struct sim_object *sr, const struct xapi_value *ignored)
{
    const bool suspended = sim_is(vm, "power_state", "Suspended");
    struct sim_object *vbd;

    for (size_t at = 0; (vbd = sim_member(p, from, "VBDs", &at));) {
        const bool attached = suspended && sim_bool(vbd, "currently_attached");
        struct sim_object *const vdi = sim_follow(p, vbd, "VDI");
        if (kind->snapshot && vdi && is_ignored(ignored, vbd))
            continue;
        const bool disk = vdi && sim_is(vbd, "type", "Disk");
        const struct sim_object *const copy = disk ? disk_copy(p, vdi, kind, sr) : vdi;
        vbd_copy(p, vbd, vm, copy ? copy->ref : SIM_NULL, attached);
        if (vdi)
            sim_vdi_allowed(p, vdi);
    }
}

/* ---- the record ---- */

static void generation_new(struct simpool *p, struct sim_object *vm)
{
    uint64_t a = 0, b = 0;
    char text[48];

    if (*sim_text(vm, "generation_id") == '\0')
        return;
    xk_random_bytes(p->settings.random, &a, sizeof(a));
    xk_random_bytes(p->settings.random, &b, sizeof(b));
    snprintf(text, sizeof(text), "%llu:%llu", (unsigned long long)(a >> 1), (unsigned long long)(b >> 1));
    sim_put_text(p, vm, "generation_id", text);
}

/* A word of the database's own notation, in which a snapshot keeps what its machine was. */
static void put_quoted(struct xk_buf *b, const char *text)
{
    xk_buf_add_char(b, '\'');
    for (; *text; text++) {
        if (*text == '\'' || *text == '\\')
            xk_buf_add_char(b, '\\');
        xk_buf_add_char(b, *text);
    }
    xk_buf_add_char(b, '\'');
}

static void put_scalar(struct xk_buf *b, const struct xapi_value *v)
{
    if (v->shape == XAPI_BOOL)
        xk_buf_add_str(b, v->truth ? "true" : "false");
    else if (v->shape == XAPI_INT)
        xk_buf_printf(b, "%lld", (long long)v->integer);
    else if (v->shape == XAPI_REAL)
        xk_buf_printf(b, "%.16g", v->real);
    else if (v->shape == XAPI_TEXT || v->shape == XAPI_TIME)
        xk_buf_add_str(b, v->text);
}

/* ('a' 'b') for a set, (('k' 'v') …) for a map. */
static void put_value(struct xk_buf *b, const struct xapi_value *v)
{
    const bool map = v->shape == XAPI_MAP;

    if (!map && v->shape != XAPI_LIST)
        return put_scalar(b, v);
    xk_buf_add_char(b, '(');
    for (size_t i = 0; i < v->count; i++) {
        struct xk_buf word = XK_BUF_INIT(SIM_CALL_BYTES_MAX);
        if (i)
            xk_buf_add_char(b, ' ');
        if (map) {
            xk_buf_add_char(b, '(');
            put_quoted(b, v->items[2 * i].text);
            xk_buf_add_char(b, ' ');
        }
        put_scalar(&word, &v->items[map ? 2 * i + 1 : i]);
        put_quoted(b, xk_buf_str(&word));
        if (map)
            xk_buf_add_char(b, ')');
        b->error = b->error ? b->error : word.error;
        xk_buf_done(&word);
    }
    xk_buf_add_char(b, ')');
}

static void metadata_put(struct simpool *p, struct sim_object *snapshot, const struct sim_object *vm)
{
    struct xk_buf all = XK_BUF_INIT(SIM_CALL_BYTES_MAX), one = XK_BUF_INIT(SIM_CALL_BYTES_MAX);

    xk_buf_add_char(&all, '(');
    for (unsigned i = 0; i < vm->class_row->fields; i++) {
        const char *name = xapi_text(xapi_fields[vm->class_row->first_field + i].name);
        xk_buf_add_str(&all, i ? " ('" : "('");
        for (; *name; name++)
            xk_buf_add_str(&all, *name == '_' ? "__" : (const char[]){*name, '\0'});
        xk_buf_add_str(&all, "' ");
        xk_buf_reset(&one);
        put_value(&one, &vm->fields[i]->value);
        put_quoted(&all, xk_buf_str(&one));
        xk_buf_add_char(&all, ')');
    }
    xk_buf_add_char(&all, ')');
    if (all.error || one.error)
        p->error = -ENOMEM;
    else
        sim_put_text(p, snapshot, "snapshot_metadata", xk_buf_str(&all));
    xk_buf_done(&all);
    xk_buf_done(&one);
}

/* The word that a snapshot keeps under a key; false when it does not fit or there is none. */
static bool metadata_get(const struct sim_object *snapshot, const char *key, char *ret, size_t bytes)
{
    char start[64];
    size_t len = 0;

    snprintf(start, sizeof(start), "('%s' '", key);
    const char *at = strstr(sim_text(snapshot, "snapshot_metadata"), start);
    if (!at)
        return false;
    for (at += strlen(start); *at && *at != '\''; at++) {
        if (*at == '\\' && at[1])
            at++;
        if (len + 1 >= bytes)
            return false;
        ret[len++] = *at;
    }
    ret[len] = '\0';
    return true;
}

static void record_of_clone(struct simpool *p, const struct sim_object *from, struct sim_object *vm)
{
    sim_put_text(p, vm, "snapshot_of", SIM_NULL);
    sim_put_bool(p, vm, "is_a_snapshot", false);
    sim_put_time(p, vm, "snapshot_time", 0);
    sim_put_map(p, vm, "snapshot_info", none);
    sim_put_text(p, vm, "snapshot_metadata", "");
    new_seed(p, vm);
    if (sim_bool(from, "is_a_template") && !sim_pair(vm, "other_config", "base_template_name"))
        sim_put_pair(p, vm, "other_config", "base_template_name", sim_text(from, "name_label"));
}

static void record_of_snapshot(struct simpool *p, const struct sim_object *from, struct sim_object *vm)
{
    sim_put_bool(p, vm, "is_a_template", true);
    sim_put_bool(p, vm, "is_a_snapshot", true);
    sim_put_text(p, vm, "snapshot_of", from->ref);
    sim_put_time(p, vm, "snapshot_time", sim_now_s(p));
    sim_put_map(p, vm, "snapshot_info",
                (const char *const[]){"power-state-at-snapshot", sim_text(from, "power_state"), "disk-snapshot-type",
                                      "crash_consistent", NULL});
    metadata_put(p, vm, from);
}

static struct sim_object *record_copy(struct simpool *p, struct sim_object *from, const struct kind *kind,
                                      const char *name)
{
    struct sim_object *const vm = sim_copy(p, from);
    const bool suspended = kind->state && sim_vm_power(from) == SIM_IS_SUSPENDED;
    const bool running = kind == &checkpoint_kind && sim_vm_is_live(from);

    if (!vm)
        return NULL;
    sim_put_text(p, vm, "name_label", name);
    sim_put_text(p, vm, "power_state", suspended || running ? "Suspended" : "Halted");
    sim_put_int(p, vm, "domid", -1);
    sim_put_text(p, vm, "suspend_VDI", SIM_NULL);
    sim_put_text(p, vm, "suspend_SR", SIM_NULL);
    sim_put_map(p, vm, "blocked_operations", none);
    sim_put_list(p, vm, "pending_guidances", none);
    sim_put_bool(p, vm, "ha_always_run", false);
    sim_put_bool(p, vm, "requires_reboot", false);
    sim_put_text(p, vm, "transportable_snapshot_id", "");
    sim_put_int(p, vm, "start_delay", 0);
    sim_put_int(p, vm, "shutdown_delay", 0);
    sim_put_int(p, vm, "order", 0);
    sim_put_int(p, vm, "version", 0);
    sim_put_pair(p, vm, "other_config", "default_template", NULL);
    sim_put_pair(p, vm, "other_config", "xensource_internal", NULL);
    generation_new(p, vm);
    if (kind->snapshot)
        record_of_snapshot(p, from, vm);
    else
        record_of_clone(p, from, vm);
    metrics_copy(p, from, vm, "guest_metrics");
    if (!metrics_copy(p, from, vm, "metrics")) {
        struct sim_object *const metrics = sim_create(p, "VM_metrics");
        if (metrics)
            sim_put_text(p, vm, "metrics", metrics->ref);
    }
    if (kind->snapshot) {
        sim_put_text(p, vm, "parent", sim_text(from, "parent"));
        sim_put_text(p, from, "parent", vm->ref);
    }
    return vm;
}

/* The memory of a suspended machine goes with a copy that has it; that of a running one is written for a checkpoint. */
static void state_copy(struct simpool *p, const struct sim_object *from, struct sim_object *vm, const struct kind *kind)
{
    const struct sim_object *const image = sim_follow(p, from, "suspend_VDI");
    struct sim_object *copy = NULL;

    if (!sim_is(vm, "power_state", "Suspended"))
        return;
    if (image)
        copy = disk_copy(p, image, kind, NULL);
    else if (sim_follow(p, sim_pool_object(p), "suspend_image_SR"))
        copy = sim_vm_image_create(p, vm, sim_follow(p, sim_pool_object(p), "suspend_image_SR"));
    if (copy)
        sim_put_text(p, vm, "suspend_VDI", copy->ref);
}

static struct sim_object *machine_copy(struct simpool *p, struct sim_object *from, const struct kind *kind,
                                       const char *name, const struct sim_object *sr, const struct xapi_value *ignored)
{
    struct sim_object *const vm = record_copy(p, from, kind, name);
    struct sim_object *device;

    if (!vm)
        return NULL;
    disks_copy(p, from, vm, kind, sr, ignored);
    for (size_t at = 0; (device = sim_member(p, from, "VIFs", &at));)
        vif_copy(p, device, vm, kind->snapshot, false);
    state_copy(p, from, vm, kind);
    sim_vm_refresh(p, vm);
    sim_vm_allowed(p, from);
    return p->error ? NULL : vm;
}

struct sim_object *sim_vm_snapshot(struct simpool *p, struct sim_object *vm, const char *name, bool checkpoint,
                                   struct sim_why *why)
{
    const struct kind *const kind = checkpoint ? &checkpoint_kind : &snapshot_kind;

    if (!sim_vm_may(p, vm, kind->op, true, why) || !disks_may(p, vm, kind, NULL, NULL, why))
        return NULL;
    return machine_copy(p, vm, kind, name, NULL, NULL);
}

/* ---- messages ---- */

static enum sim_outcome begin(struct sim_call *c, const struct kind *kind, const struct sim_object *sr,
                              const struct xapi_value *ignored, double seconds, sim_behaviour *finish)
{
    struct simpool *const p = c->pool;
    struct sim_object *const vm = sim_arg(c, 0);
    struct sim_why why;

    if (!vm)
        return SIM_FAILED;
    if (!sim_vm_may(p, vm, kind->op, true, &why) || !disks_may(p, vm, kind, sr, ignored, &why))
        return sim_refuse(c, &why);
    return sim_work(c, (uint64_t)(seconds * 1e9), finish, vm, kind->op, true);
}

static enum sim_outcome end(struct sim_call *c, const struct kind *kind, const struct sim_object *sr,
                            const struct xapi_value *ignored)
{
    struct simpool *const p = c->pool;
    struct sim_object *const from = sim_arg(c, 0);
    struct sim_why why;
    char body[BODY_BYTES];

    if (!from)
        return SIM_FAILED;
    if (!disks_may(p, from, kind, sr, ignored, &why)) /* others may have changed them meanwhile */
        return sim_refuse(c, &why);
    struct sim_object *const vm = machine_copy(p, from, kind, sim_arg_text(c, 1), sr, ignored);
    if (!vm)
        return sim_no_memory(c);
    /* A machine made of a checkpoint is not suspended. */
    if (!kind->snapshot && sim_bool(from, "is_a_snapshot") && sim_vm_power(vm) == SIM_IS_SUSPENDED)
        sim_vm_halt(p, vm);
    if (kind->message) {
        snprintf(body, sizeof(body), "VM '%.400s' (uuid: %s) %s, snapshot name: %.400s", sim_text(from, "name_label"),
                 sim_text(from, "uuid"), kind->told, sim_arg_text(c, 1));
        sim_message(p, kind->message, "VM", from, body);
    }
    return sim_done_ref(c, vm);
}

static enum sim_outcome clone_end(struct sim_call *c)
{
    return end(c, &clone_kind, NULL, NULL);
}

static enum sim_outcome clone_vm(struct sim_call *c)
{
    return begin(c, &clone_kind, NULL, NULL, 0.4, clone_end);
}

/* An SR that is none is no error: every disk stays where it is. */
static enum sim_outcome copy_end(struct sim_call *c)
{
    return end(c, &copy_kind, sim_arg_or_null(c, 2), NULL);
}

static enum sim_outcome copy(struct sim_call *c)
{
    const struct sim_object *const sr = sim_arg_or_null(c, 2);

    if (sim_arg(c, 0) && sr && sim_is(sr, "content_type", "iso"))
        return sim_fail(c, "OPERATION_NOT_ALLOWED", "Cannot copy a VM's disks to an ISO SR", NULL);
    return begin(c, &copy_kind, sr, NULL, 4, copy_end);
}

static enum sim_outcome snapshot_end(struct sim_call *c)
{
    return end(c, &snapshot_kind, NULL, &c->args[2]);
}

static enum sim_outcome snapshot(struct sim_call *c)
{
    return begin(c, &snapshot_kind, NULL, &c->args[2], 0.4, snapshot_end);
}

static enum sim_outcome checkpoint_end(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    const enum sim_outcome outcome = end(c, &checkpoint_kind, NULL, NULL);
    struct sim_object *const vm = sim_arg(c, 0);

    /* It was put to sleep and woken: another domain, the same machine. */
    if (outcome == SIM_DONE && vm && sim_vm_power(vm) == SIM_IS_RUNNING)
        sim_put_int(p, vm, "domid", sim_int(vm, "domid") + 1);
    return outcome;
}

static enum sim_outcome checkpoint(struct sim_call *c)
{
    return begin(c, &checkpoint_kind, NULL, NULL, 1, checkpoint_end);
}

static enum sim_outcome csvm_end(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const from = sim_arg(c, 0);
    char name[BODY_BYTES];

    if (!from)
        return SIM_FAILED;
    snprintf(name, sizeof(name), "%.900s-cloned-suspended", sim_text(from, "name_label"));
    const struct sim_object *const vm = machine_copy(p, from, &clone_kind, name, NULL, NULL);
    return vm ? sim_done_ref(c, vm) : sim_no_memory(c);
}

static enum sim_outcome csvm(struct sim_call *c)
{
    struct sim_object *const vm = sim_arg(c, 0);
    const struct sim_object *const image = vm ? sim_follow(c->pool, vm, "suspend_VDI") : NULL;

    if (vm && !image)
        return sim_bad_handle(c, (uint16_t)xapi_class_index(xapi_class_find("VDI")), sim_text(vm, "suspend_VDI"));
    return sim_vm_begin(c, 0, "csvm", 0.6, csvm_end, true);
}

/* ---- revert ---- */

/* Fields that a machine keeps, whatever a snapshot of it says. */
static bool is_kept(const char *name)
{
    static const char *const kept[] = {"uuid",
                                       "suspend_VDI",
                                       "power_state",
                                       "parent",
                                       "current_operations",
                                       "allowed_operations",
                                       "metrics",
                                       "guest_metrics",
                                       "resident_on",
                                       "domid",
                                       "scheduled_to_be_resident_on",
                                       "tags",
                                       "affinity",
                                       "name_label",
                                       "is_a_snapshot",
                                       "is_a_template",
                                       "is_default_template",
                                       "snapshot_time",
                                       "snapshot_info",
                                       "snapshot_metadata",
                                       "transportable_snapshot_id",
                                       "blobs",
                                       "ha_always_run",
                                       "blocked_operations"};

    for (size_t i = 0; i < XK_COUNT(kept); i++)
        if (sim_same(name, kept[i]))
            return true;
    return false;
}

static void fields_revert(struct simpool *p, struct sim_object *vm, const struct sim_object *snapshot)
{
    char name[BODY_BYTES];

    for (unsigned i = 0; i < vm->class_row->fields; i++) {
        const struct xapi_field *const field = &xapi_fields[vm->class_row->first_field + i];
        if (field->other == XAPI_NONE && !is_kept(xapi_text(field->name)))
            sim_put_at(p, vm, i, &snapshot->fields[i]->value);
    }
    if (metadata_get(snapshot, "name__label", name, sizeof(name)))
        sim_put_text(p, vm, "name_label", name);
    generation_new(p, vm);
}

static void metrics_replace(struct simpool *p, struct sim_object *vm, const struct sim_object *snapshot,
                            const char *field)
{
    struct sim_object *const old = sim_follow(p, vm, field);

    sim_put_text(p, vm, field, SIM_NULL);
    if (old)
        sim_delete(p, old);
    metrics_copy(p, snapshot, vm, field);
}

/* Is it a disk that one of the snapshot's disks was made from? */
static bool has_snapshot(const struct simpool *p, const struct sim_object *vdi, const struct sim_object *snapshot)
{
    const struct sim_object *vbd;

    for (size_t at = 0; (vbd = sim_member(p, snapshot, "VBDs", &at));) {
        const struct sim_object *const of = sim_follow(p, vbd, "VDI");
        if (of && sim_is(of, "snapshot_of", vdi->ref))
            return true;
    }
    return false;
}

static bool is_among(const struct sim_object *vdi, struct sim_object *const *gone, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (gone[i] == vdi)
            return true;
    return false;
}

/* The machine's disks go when the snapshot has them; disks that came later are kept, but not attached any more. */
static void disks_drop(struct simpool *p, struct sim_object *vm, const struct sim_object *snapshot,
                       struct sim_object **ret_gone, size_t *gone, size_t max)
{
    struct sim_object *vbd;

    for (size_t at = 0; (vbd = sim_member(p, vm, "VBDs", &at)) && p->error == 0; at = 0) {
        struct sim_object *const vdi = sim_is(vbd, "type", "Disk") ? sim_follow(p, vbd, "VDI") : NULL;
        sim_device_delete(p, vbd);
        if (vdi && has_snapshot(p, vdi, snapshot) && *gone < max) {
            if (!is_among(vdi, ret_gone, *gone)) /* a machine can have a disk twice */
                ret_gone[(*gone)++] = vdi;
        } else if (vdi) {
            sim_vdi_allowed(p, vdi);
        }
    }
}

/* All snapshots of the disk that goes are from now on snapshots of the one that takes its place. */
static void snapshots_move(struct simpool *p, const struct sim_object *from, const struct sim_object *to)
{
    struct sim_object *snapshot;

    for (size_t at = 0; (snapshot = sim_member(p, from, "snapshots", &at)) && p->error == 0; at = 0)
        sim_put_text(p, snapshot, "snapshot_of", to->ref);
}

#define REVERTED_MAX 256 /* more disks than a machine can have */

static void disks_revert(struct simpool *p, struct sim_object *vm, const struct sim_object *snapshot)
{
    struct sim_object *gone[REVERTED_MAX], *vbd;
    size_t count = 0;

    disks_drop(p, vm, snapshot, gone, &count, XK_COUNT(gone));
    for (size_t at = 0; (vbd = sim_member(p, snapshot, "VBDs", &at));) {
        struct sim_object *const vdi = sim_follow(p, vbd, "VDI");
        const bool disk = vdi && sim_is(vbd, "type", "Disk");
        struct sim_object *const of = disk ? sim_follow(p, vdi, "snapshot_of") : NULL;
        struct sim_object *const copy = disk ? disk_copy(p, vdi, &clone_kind, NULL) : vdi;
        if (disk && !copy)
            return;
        vbd_copy(p, vbd, vm, copy ? copy->ref : SIM_NULL,
                 sim_is(snapshot, "power_state", "Suspended") && sim_bool(vbd, "currently_attached"));
        if (of)
            snapshots_move(p, of, copy);
    }
    for (size_t i = 0; i < count; i++)
        sim_vdi_destroy(p, gone[i]);
}

static void machine_revert(struct simpool *p, struct sim_object *vm, struct sim_object *snapshot)
{
    struct sim_object *const image = sim_follow(p, vm, "suspend_VDI");
    struct sim_object *vif;

    if (sim_vm_power(vm) != SIM_IS_HALTED)
        sim_vm_halt(p, vm);
    else if (image)
        sim_vdi_destroy(p, image);
    fields_revert(p, vm, snapshot);
    disks_revert(p, vm, snapshot);
    sim_delete_members(p, vm, "VIFs");
    for (size_t at = 0; (vif = sim_member(p, snapshot, "VIFs", &at));)
        vif_copy(p, vif, vm, true, false);
    metrics_replace(p, vm, snapshot, "metrics");
    metrics_replace(p, vm, snapshot, "guest_metrics");
    sim_put_text(p, vm, "parent", snapshot->ref);
    sim_put_text(p, vm, "power_state", sim_text(snapshot, "power_state"));
    const struct sim_object *const state = sim_follow(p, snapshot, "suspend_VDI");
    const struct sim_object *const copy = state ? disk_copy(p, state, &clone_kind, NULL) : NULL;
    sim_put_text(p, vm, "suspend_VDI", copy ? copy->ref : SIM_NULL);
    sim_vm_refresh(p, vm);
}

/* The machine itself is gone: it comes back under its uuid. */
static struct sim_object *machine_again(struct simpool *p, struct sim_object *snapshot)
{
    struct sim_object *const vm = sim_copy(p, snapshot);
    char uuid[64];

    if (!vm)
        return NULL;
    if (metadata_get(snapshot, "uuid", uuid, sizeof(uuid)) && !sim_find_uuid(p, uuid, vm->class_row))
        sim_put_uuid(p, vm, uuid);
    sim_put_bool(p, vm, "is_a_template", false);
    sim_put_bool(p, vm, "is_a_snapshot", false);
    sim_put_time(p, vm, "snapshot_time", 0);
    sim_put_map(p, vm, "snapshot_info", none);
    sim_put_text(p, vm, "snapshot_metadata", "");
    sim_put_text(p, vm, "power_state", "Halted");
    sim_put_text(p, vm, "suspend_VDI", SIM_NULL);
    sim_put_int(p, vm, "domid", -1);
    sim_put_text(p, snapshot, "snapshot_of", vm->ref);
    return vm;
}

static enum sim_outcome revert_end(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const snapshot = sim_arg(c, 0);
    char body[BODY_BYTES];

    if (!snapshot)
        return SIM_FAILED;
    struct sim_object *vm = sim_follow(p, snapshot, "snapshot_of");
    if (!vm)
        vm = machine_again(p, snapshot);
    if (!vm)
        return sim_no_memory(c);
    machine_revert(p, vm, snapshot);
    snprintf(body, sizeof(body), "VM '%.400s' (uuid: %s) reverted to snapshot: %.400s (uuid %s)",
             sim_text(vm, "name_label"), sim_text(vm, "uuid"), sim_text(snapshot, "name_label"),
             sim_text(snapshot, "uuid"));
    sim_message(p, "VM_SNAPSHOT_REVERTED", "VM", vm, body);
    return SIM_DONE;
}

static enum sim_outcome revert(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const snapshot = sim_arg(c, 0);
    struct sim_why why;

    if (!snapshot)
        return SIM_FAILED;
    struct sim_object *const vm = sim_follow(p, snapshot, "snapshot_of");
    if (!sim_vm_may(p, snapshot, "revert", true, &why) || (vm && !sim_vm_may(p, vm, "reverting", true, &why)))
        return sim_refuse(c, &why);
    const enum sim_outcome outcome = sim_work(c, XK_NS_PER_S * 6 / 10, revert_end, snapshot, "revert", false);
    if (outcome == SIM_WORKING && vm)
        sim_work_beside(c, vm, "reverting");
    return outcome;
}

const struct sim_row sim_vm_copy_rows[] = {
    {"VM.clone", clone_vm},
    {"VM.copy", copy},
    {"VM.snapshot", snapshot},
    {"VM.checkpoint", checkpoint},
    {"VM.csvm", csvm},
    {"VM.revert", revert},
    {NULL, NULL},
};
