/*
 * Virtual disks.
 *
 * A simulated disk has a size, a place, and what was imported into it (disk.h); guests write nothing, so changed blocks
 * are none. What would have to be understood of its bytes (a foreign database) is refused.
 */
#include "lib/simpool/disk.h"
#include "lib/simpool/ops.h"

#define DISK_BYTES_MIN  (2 * SIM_MIB)
#define DISK_BYTES_MAX  (2040 * 1024 * SIM_MIB) /* of a VHD */
#define DISK_ROUND      (2 * SIM_MIB)           /* its block */
#define CBT_BLOCK_BYTES (64 << 10)              /* one bit of a map of changed blocks */
#define COPY_NS         (3 * XK_NS_PER_S)

static const char *const none[] = {NULL};

static bool is_managed(const struct sim_object *vdi, struct sim_why *why)
{
    return sim_bool(vdi, "managed") || sim_deny(why, "VDI_NOT_MANAGED", vdi->ref, NULL);
}

/* The usual questions before something happens to the disk of an argument: SR, disk, a way to it. NULL: answered. */
static struct sim_object *asked(struct sim_call *c, unsigned arg, const char *sr_op, const char *op)
{
    const struct simpool *const p = c->pool;
    struct sim_object *const vdi = sim_arg(c, arg);
    const struct sim_object *const sr = vdi ? sim_follow(p, vdi, "SR") : NULL;
    struct sim_why why;

    if (!vdi)
        return NULL;
    if (!sr) {
        (void)sim_bad_handle(c, (uint16_t)xapi_class_index(xapi_class_find("SR")), sim_text(vdi, "SR"));
        return NULL;
    }
    if ((sr_op && !sim_sr_may(p, sr, sr_op, &why)) || !sim_vdi_may(p, vdi, op, &why) || !sim_sr_pbd(p, sr, &why) ||
        !is_managed(vdi, &why)) {
        (void)sim_refuse(c, &why);
        return NULL;
    }
    return vdi;
}

/* ---- making and ending ---- */

/* The size that a disk gets, and what it takes of its SR at first. */
static int64_t rounded(int64_t bytes)
{
    return bytes < DISK_BYTES_MIN ? DISK_BYTES_MIN : (bytes + DISK_ROUND - 1) / DISK_ROUND * DISK_ROUND;
}

static bool has_size(int64_t bytes, struct sim_why *why)
{
    if (bytes >= 0 && bytes <= DISK_BYTES_MAX)
        return true;
    return sim_deny(why, "SR_BACKEND_FAILURE_79", "",
                    "VDI Invalid size [opterr=VDI size must be between 2 MB and 2088960 MB]", "", NULL);
}

static int64_t taken_at_first(const struct simpool *p, const struct sim_object *sr, int64_t bytes)
{
    return sim_sr_has_feature(p, sr, "THIN_PROVISIONING") ? 0 : bytes;
}

struct sim_object *sim_vdi_create(struct simpool *p, struct sim_object *sr, int64_t bytes, const char *type)
{
    struct sim_object *const vdi = sim_create(p, "VDI");
    const int64_t taken = taken_at_first(p, sr, rounded(bytes));

    if (!vdi)
        return NULL;
    sim_put_text(p, vdi, "SR", sr->ref);
    sim_put_int(p, vdi, "virtual_size", rounded(bytes));
    sim_put_int(p, vdi, "physical_utilisation", taken);
    sim_put_text(p, vdi, "type", type);
    sim_put_text(p, vdi, "location", sim_text(vdi, "uuid"));
    sim_put_bool(p, vdi, "managed", true);
    sim_put_text(p, vdi, "on_boot", "persist");
    sim_put_int(p, sr, "virtual_allocation", sim_int(sr, "virtual_allocation") + rounded(bytes));
    sim_sr_take(p, sr, taken);
    return vdi;
}

struct sim_object *sim_vdi_copy(struct simpool *p, const struct sim_object *from, const char *sr, bool snapshot)
{
    struct sim_object *const copy = sim_copy(p, from), *const to = sim_find(p, sr, NULL);

    if (!copy || !to)
        return copy;
    sim_put_text(p, copy, "SR", sr);
    sim_put_text(p, copy, "location", sim_text(copy, "uuid"));
    sim_put_text(p, copy, "parent", SIM_NULL);
    sim_put_bool(p, copy, "managed", true);
    sim_put_bool(p, copy, "is_a_snapshot", snapshot);
    sim_put_text(p, copy, "snapshot_of", snapshot ? from->ref : SIM_NULL);
    sim_put_time(p, copy, "snapshot_time", snapshot ? sim_now_s(p) : 0);
    sim_put_map(p, copy, "sm_config", none);
    if (!snapshot)
        sim_put_bool(p, copy, "cbt_enabled", false);
    sim_put_int(p, to, "virtual_allocation", sim_int(to, "virtual_allocation") + sim_int(copy, "virtual_size"));
    if (sim_disk_share(p, from, copy) < 0)
        p->error = -ENOMEM;
    sim_vdi_allowed(p, copy);
    return copy;
}

void sim_vdi_destroy(struct simpool *p, struct sim_object *vdi)
{
    struct sim_object *const sr = sim_follow(p, vdi, "SR");
    struct sim_object *vbd;

    if (sr) {
        sim_put_int(p, sr, "virtual_allocation",
                    XK_MAX(sim_int(sr, "virtual_allocation") - sim_int(vdi, "virtual_size"), 0));
        sim_sr_take(p, sr, -sim_int(vdi, "physical_utilisation"));
    }
    for (size_t at = 0; (vbd = sim_member(p, vdi, "VBDs", &at)) && p->error == 0; at = 0)
        sim_delete(p, vbd);
    if (sim_is(vdi, "type", "suspend"))
        sim_let_go(p, vdi);
    sim_delete(p, vdi);
    if (sr)
        sim_sr_allowed(p, sr);
}

/* Its other fields as the record has them. */
static void fill(struct simpool *p, struct sim_object *vdi, const struct xapi_value *record)
{
    static const char *const texts[] = {"name_label", "name_description"}, *const flags[] = {"sharable", "read_only"},
                             *const others[] = {"other_config", "xenstore_data", "sm_config", "tags"};

    for (size_t i = 0; i < XK_COUNT(texts); i++)
        sim_put_text(p, vdi, texts[i], sim_record_text(record, texts[i]));
    for (size_t i = 0; i < XK_COUNT(flags); i++)
        sim_put_bool(p, vdi, flags[i], sim_record_true(record, flags[i]));
    for (size_t i = 0; i < XK_COUNT(others); i++) {
        const struct xapi_value *const v = xapi_map_get(record, others[i]);
        if (v)
            sim_put(p, vdi, others[i], *v);
    }
}

static enum sim_outcome create(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    const struct xapi_value *record;
    struct sim_why why;

    if (!sim_record_arg(c, 0, &record))
        return SIM_FAILED;
    struct sim_object *const sr = sim_find(p, sim_record_text(record, "SR"), xapi_class_find("SR"));
    const int64_t bytes = xapi_value_int(xapi_map_get(record, "virtual_size"));
    const char *const type = sim_record_text(record, "type");
    if (!sr)
        return sim_bad_handle(c, (uint16_t)xapi_class_index(xapi_class_find("SR")), sim_record_text(record, "SR"));
    if (!sim_sr_may(p, sr, "vdi_create", &why))
        return sim_refuse(c, &why);
    if (sim_same(type, "cbt_metadata"))
        return sim_fail(c, "VDI_INCOMPATIBLE_TYPE", "", "cbt_metadata", NULL);
    if (!sim_sr_pbd(p, sr, &why) || !has_size(bytes, &why) ||
        !sim_sr_has_room(sr, taken_at_first(p, sr, rounded(bytes)), &why))
        return sim_refuse(c, &why);
    struct sim_object *const vdi = sim_vdi_create(p, sr, bytes, type);
    if (!vdi)
        return sim_no_memory(c);
    fill(p, vdi, record);
    sim_vdi_allowed(p, vdi);
    sim_sr_allowed(p, sr);
    return sim_done_ref(c, vdi);
}

static enum sim_outcome destroy(struct sim_call *c)
{
    struct sim_object *const vdi = asked(c, 0, "vdi_destroy", "destroy");

    if (!vdi)
        return SIM_FAILED;
    sim_vdi_destroy(c->pool, vdi);
    return SIM_DONE;
}

/* The record goes, the volume stays on its storage. */
static enum sim_outcome forget(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const vdi = sim_arg(c, 0);
    struct sim_why why;

    if (!vdi)
        return SIM_FAILED;
    if (!sim_vdi_may(p, vdi, "forget", &why))
        return sim_refuse(c, &why);
    sim_delete_members(p, vdi, "VBDs");
    struct sim_object *const sr = sim_follow(p, vdi, "SR");
    sim_delete(p, vdi);
    if (sr)
        sim_sr_allowed(p, sr);
    return SIM_DONE;
}

static bool looks_like_uuid(const char *text)
{
    static const char shape[] = "hhhhhhhh-hhhh-hhhh-hhhh-hhhhhhhhhhhh";

    if (strlen(text) != strlen(shape))
        return false;
    for (size_t i = 0; shape[i]; i++)
        if (shape[i] == '-' ? text[i] != '-' : !strchr("0123456789abcdefABCDEF", text[i]))
            return false;
    return true;
}

/* Parameters of introduce and pool_introduce, in their order. */
enum {
    UUID,
    LABEL,
    DESCRIPTION,
    SR,
    TYPE,
    SHARABLE,
    READ_ONLY,
    OTHER_CONFIG,
    LOCATION,
    XENSTORE,
    SM_CONFIG,
    MANAGED,
    SIZE,
    USED,
    METADATA_OF,
    IS_SNAPSHOT,
    SNAPSHOT_TIME,
    SNAPSHOT_OF
};

static bool location_is_free(const struct simpool *p, const struct sim_object *sr, const char *location,
                             const char *uuid, struct sim_why *why)
{
    const struct sim_object *vdi;

    for (size_t at = 0; (vdi = sim_member(p, sr, "VDIs", &at));)
        if (sim_is(vdi, "location", location) && !(uuid && sim_is(vdi, "uuid", uuid)))
            return sim_deny(why, "LOCATION_NOT_UNIQUE", sr->ref, location, NULL);
    return true;
}

static enum sim_outcome introduce(struct sim_call *c)
{
    const struct simpool *const p = c->pool;
    const struct sim_object *const sr = sim_arg(c, SR);
    struct sim_why why;

    if (!sr)
        return SIM_FAILED;
    if (!sim_sr_may(p, sr, "vdi_introduce", &why) || !sim_sr_pbd(p, sr, &why) ||
        !location_is_free(p, sr, sim_arg_text(c, LOCATION), sim_arg_text(c, UUID), &why))
        return sim_refuse(c, &why);
    /* The driver looks for the volume, and no volume is without its record here. */
    return sim_fail(c, "SR_BACKEND_FAILURE_46", "", "The VDI is not available", "", NULL);
}

static enum sim_outcome pool_introduce(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const sr = sim_arg(c, SR);
    const char *const uuid = sim_arg_text(c, UUID);
    struct sim_why why;

    if (!sr)
        return SIM_FAILED;
    if (!location_is_free(p, sr, sim_arg_text(c, LOCATION), NULL, &why))
        return sim_refuse(c, &why);
    if (!looks_like_uuid(uuid))
        return sim_fail(c, "UUID_INVALID", "VDI", uuid, NULL);
    if (sim_find_uuid(p, uuid, xapi_class_find("VDI")))
        return sim_fail(c, "INTERNAL_ERROR", "Db_exn.Uniqueness_constraint_violation(\"VDI\", \"uuid\", _)", NULL);
    struct sim_object *const vdi = sim_create(p, "VDI");
    if (!vdi)
        return sim_no_memory(c);
    sim_put_uuid(p, vdi, uuid);
    static const struct {
        const char *field;
        unsigned arg;
    } fields[] = {{"name_label", LABEL},
                  {"name_description", DESCRIPTION},
                  {"SR", SR},
                  {"type", TYPE},
                  {"sharable", SHARABLE},
                  {"read_only", READ_ONLY},
                  {"other_config", OTHER_CONFIG},
                  {"location", LOCATION},
                  {"xenstore_data", XENSTORE},
                  {"sm_config", SM_CONFIG},
                  {"managed", MANAGED},
                  {"virtual_size", SIZE},
                  {"physical_utilisation", USED},
                  {"metadata_of_pool", METADATA_OF},
                  {"is_a_snapshot", IS_SNAPSHOT},
                  {"snapshot_time", SNAPSHOT_TIME},
                  {"snapshot_of", SNAPSHOT_OF}};
    for (size_t i = 0; i < XK_COUNT(fields); i++)
        sim_put(p, vdi, fields[i].field, c->args[fields[i].arg]);
    sim_vdi_allowed(p, vdi);
    return sim_done_ref(c, vdi);
}

/* ---- copies ---- */

static enum sim_outcome copied(struct sim_call *c, bool snapshot)
{
    struct simpool *const p = c->pool;
    struct sim_object *const vdi =
        asked(c, 0, snapshot ? "vdi_snapshot" : "vdi_clone", snapshot ? "snapshot" : "clone");
    struct sim_object *const copy = vdi ? sim_vdi_copy(p, vdi, sim_text(vdi, "SR"), snapshot) : NULL;

    if (!vdi)
        return SIM_FAILED;
    if (!copy)
        return sim_no_memory(c);
    sim_put_int(p, copy, "physical_utilisation", 0);
    sim_put(p, copy, "sm_config", c->args[1]);
    sim_vdi_allowed(p, vdi);
    return sim_done_ref(c, copy);
}

static enum sim_outcome snapshot(struct sim_call *c)
{
    return copied(c, true);
}

static enum sim_outcome clone(struct sim_call *c)
{
    return copied(c, false);
}

/* Where a copy goes: into a disk that is there, or into a new one on an SR. */
static bool can_copy(const struct sim_call *c, const struct sim_object *vdi, const struct sim_object *sr,
                     const struct sim_object *into, struct sim_why *why)
{
    const struct simpool *const p = c->pool;

    if (!sim_vdi_may(p, vdi, "copy", why) || !is_managed(vdi, why))
        return false;
    if (!into)
        return sim_sr_may(p, sr, "vdi_create", why) && sim_sr_pbd(p, sr, why) &&
               sim_sr_has_room(sr, sim_int(vdi, "physical_utilisation"), why);
    if (sim_bool(into, "read_only"))
        return sim_deny(why, "VDI_READONLY", into->ref, NULL);
    if (sim_int(into, "virtual_size") >= sim_int(vdi, "virtual_size"))
        return true;
    if (why)
        snprintf(why->text[0], SIM_WHY_BYTES, "%lld", (long long)sim_int(vdi, "virtual_size"));
    return sim_deny(why, "VDI_TOO_SMALL", into->ref, why ? why->text[0] : "", NULL);
}

static enum sim_outcome copy_end(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const vdi = sim_arg(c, 0), *const into = sim_arg_or_null(c, 3);
    struct sim_object *const sr = into ? sim_follow(p, into, "SR") : vdi ? sim_arg(c, 1) : NULL;
    struct sim_why why;

    if (!vdi || !sr)
        return SIM_FAILED;
    if (!can_copy(c, vdi, sr, into, &why))
        return sim_refuse(c, &why);
    struct sim_object *const copy = into ? into : sim_vdi_copy(p, vdi, sr->ref, false);
    if (!copy)
        return sim_no_memory(c);
    if (into) {
        sim_sr_take(p, sr, sim_int(vdi, "physical_utilisation") - sim_int(into, "physical_utilisation"));
        sim_put_int(p, into, "physical_utilisation", sim_int(vdi, "physical_utilisation"));
        if (sim_disk_share(p, vdi, into) < 0)
            return sim_fail(c, "VDI_IO_ERROR", "Device I/O error", NULL);
    } else {
        sim_put_bool(p, copy, "read_only", false);
        sim_sr_take(p, sr, sim_int(copy, "physical_utilisation"));
    }
    sim_vdi_allowed(p, copy);
    return sim_done_ref(c, copy);
}

static enum sim_outcome copy(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const vdi = sim_arg(c, 0), *const into = sim_arg_or_null(c, 3);
    const struct sim_object *const sr = into ? sim_follow(p, into, "SR") : vdi ? sim_arg(c, 1) : NULL;
    struct sim_why why;

    if (!vdi || !sr)
        return SIM_FAILED;
    if (!can_copy(c, vdi, sr, into, &why))
        return sim_refuse(c, &why);
    return sim_work(c, COPY_NS, copy_end, vdi, "copy", true);
}

/* ---- moving ---- */

struct sim_object *sim_vdi_move(struct simpool *p, struct sim_object *vdi, struct sim_object *sr)
{
    struct sim_object *const copy = sim_vdi_copy(p, vdi, sr->ref, false);
    struct sim_object *other;

    if (!copy)
        return NULL;
    sim_sr_take(p, sr, sim_int(copy, "physical_utilisation"));
    for (size_t at = 0; (other = sim_member(p, vdi, "VBDs", &at)) && p->error == 0; at = 0)
        sim_put_text(p, other, "VDI", copy->ref);
    for (size_t at = 0; (other = sim_member(p, vdi, "snapshots", &at)) && p->error == 0; at = 0)
        sim_put_text(p, other, "snapshot_of", copy->ref);
    sim_vdi_destroy(p, vdi);
    sim_vdi_allowed(p, copy);
    return copy;
}

static bool can_migrate(const struct simpool *p, const struct sim_object *vdi, const struct sim_object *sr,
                        struct sim_why *why)
{
    if (sim_is(vdi, "type", "cbt_metadata"))
        return sim_deny(why, "VDI_INCOMPATIBLE_TYPE", vdi->ref, "cbt_metadata", NULL);
    if (sim_bool(vdi, "cbt_enabled"))
        return sim_deny(why, "VDI_CBT_ENABLED", vdi->ref, NULL);
    if (!sim_sr_pbd(p, sr, why) || !sim_vdi_may(p, vdi, "mirror", why))
        return false;
    if (!sim_sr_has_feature(p, sr, "VDI_SNAPSHOT") || !sim_sr_has_feature(p, sr, "VDI_MIRROR"))
        return sim_deny(why, "SR_DOES_NOT_SUPPORT_MIGRATION", sr->ref, NULL);
    return sim_sr_has_room(sr, sim_int(vdi, "physical_utilisation"), why);
}

static enum sim_outcome pool_migrate_end(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const vdi = sim_arg(c, 0), *const sr = vdi ? sim_arg(c, 1) : NULL;
    struct sim_why why;

    if (!sr)
        return SIM_FAILED;
    if (!can_migrate(p, vdi, sr, &why))
        return sim_refuse(c, &why);
    return sim_done_ref(c, sim_vdi_move(p, vdi, sr));
}

static enum sim_outcome pool_migrate(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    const struct sim_object *const vdi = sim_arg(c, 0), *const sr = vdi ? sim_arg(c, 1) : NULL;
    size_t at = 0;
    struct sim_why why;

    if (!sr)
        return SIM_FAILED;
    const struct sim_object *const vbd = sim_member(p, vdi, "VBDs", &at);
    struct sim_object *const vm = vbd ? sim_follow(p, vbd, "VM") : NULL;
    if (!vm)
        return sim_fail(c, "VDI_NEEDS_VM_FOR_MIGRATE", vdi->ref, NULL);
    if (!sim_vm_may(p, vm, "migrate_send", true, &why) || !can_migrate(p, vdi, sr, &why))
        return sim_refuse(c, &why);
    const struct sim_object *const host = sim_follow(p, vm, "resident_on");
    if (host && !sim_host_sees_sr(p, host, sr->ref))
        return sim_fail(c, "VM_REQUIRES_SR", vm->ref, sr->ref, NULL);
    return sim_work(c, 4 * XK_NS_PER_S, pool_migrate_end, vm, "migrate_send", true);
}

/* ---- size ---- */

static enum sim_outcome resize_as(struct sim_call *c, const char *op)
{
    struct simpool *const p = c->pool;
    struct sim_object *const vdi = asked(c, 0, "vdi_resize", op);
    struct sim_object *const sr = vdi ? sim_follow(p, vdi, "SR") : NULL;
    struct sim_why why;

    if (!vdi)
        return SIM_FAILED;
    const int64_t old = sim_int(vdi, "virtual_size");
    if (c->args[1].integer < old)
        return sim_fail(c, "SR_BACKEND_FAILURE_79", "", "VDI Invalid size [opterr=shrinking not allowed]", "", NULL);
    if (!has_size(c->args[1].integer, &why))
        return sim_refuse(c, &why);
    const int64_t more = rounded(c->args[1].integer) - old, taken = taken_at_first(p, sr, more);
    if (!sim_sr_has_room(sr, taken, &why))
        return sim_refuse(c, &why);
    sim_put_int(p, vdi, "virtual_size", old + more);
    sim_put_int(p, vdi, "physical_utilisation", sim_int(vdi, "physical_utilisation") + taken);
    sim_put_int(p, sr, "virtual_allocation", sim_int(sr, "virtual_allocation") + more);
    sim_sr_take(p, sr, taken);
    return SIM_DONE;
}

static enum sim_outcome resize(struct sim_call *c)
{
    return resize_as(c, "resize");
}

static enum sim_outcome resize_online(struct sim_call *c)
{
    return resize_as(c, "resize_online");
}

/* ---- changed blocks ---- */

static enum sim_outcome set_cbt(struct sim_call *c, bool on)
{
    struct sim_object *const vdi =
        asked(c, 0, on ? "vdi_enable_cbt" : "vdi_disable_cbt", on ? "enable_cbt" : "disable_cbt");

    if (!vdi)
        return SIM_FAILED;
    sim_put_bool(c->pool, vdi, "cbt_enabled", on);
    sim_vdi_allowed(c->pool, vdi);
    return SIM_DONE;
}

static enum sim_outcome enable_cbt(struct sim_call *c)
{
    return set_cbt(c, true);
}

static enum sim_outcome disable_cbt(struct sim_call *c)
{
    return set_cbt(c, false);
}

/* The map stays, the blocks go; devices have to be gone. */
static enum sim_outcome data_destroy(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const vdi = sim_arg(c, 0);

    if (vdi && sim_is(vdi, "type", "cbt_metadata"))
        return SIM_DONE;
    if (!asked(c, 0, "vdi_data_destroy", "data_destroy"))
        return SIM_FAILED;
    if (sim_get(vdi, "VBDs")->count)
        return sim_fail(c, "VDI_IN_USE", vdi->ref, "data_destroy", NULL);
    sim_sr_take(p, sim_follow(p, vdi, "SR"), -sim_int(vdi, "physical_utilisation"));
    sim_put_int(p, vdi, "physical_utilisation", 0);
    sim_put_text(p, vdi, "type", "cbt_metadata");
    sim_vdi_allowed(p, vdi);
    return SIM_DONE;
}

/* Whether both are of one disk: that disk itself or its snapshots. */
static bool are_related(const struct sim_object *a, const struct sim_object *b)
{
    const char *const left = sim_bool(a, "is_a_snapshot") ? sim_text(a, "snapshot_of") : a->ref;
    const char *const right = sim_bool(b, "is_a_snapshot") ? sim_text(b, "snapshot_of") : b->ref;

    return sim_same(left, right) && !sim_is_null(left);
}

static enum sim_outcome list_changed_blocks(struct sim_call *c)
{
    const struct sim_object *const from = sim_arg(c, 0), *const to = from ? sim_arg(c, 1) : NULL;

    if (!to || !asked(c, 1, "vdi_list_changed_blocks", "list_changed_blocks"))
        return SIM_FAILED;
    if (!sim_bool(from, "cbt_enabled") || !sim_bool(to, "cbt_enabled"))
        return sim_fail(c, "SR_BACKEND_FAILURE_460", "",
                        "Failed to calculate changed blocks for given VDIs. [opterr=Changed block tracking is not "
                        "enabled]",
                        "", NULL);
    if (!are_related(from, to))
        return sim_fail(c, "SR_BACKEND_FAILURE_460", "",
                        "Failed to calculate changed blocks for given VDIs. [opterr=Source and target VDI are "
                        "unrelated]",
                        "", NULL);
    const int64_t bits = (sim_int(to, "virtual_size") + CBT_BLOCK_BYTES - 1) / CBT_BLOCK_BYTES;
    const size_t bytes = (size_t)(bits + 7) / 8, letters = (bytes + 2) / 3 * 4;
    char *const text = xk_arena_alloc(&c->arena, letters + 1);
    if (!text)
        return sim_no_memory(c);
    memset(text, 'A', letters); /* zeros in base64 */
    memset(text + letters - (3 - bytes % 3) % 3, '=', (3 - bytes % 3) % 3);
    c->result = xapi_str(text);
    return SIM_DONE;
}

/* ---- the rest ---- */

/* Storage is always as its records say. */
static enum sim_outcome update(struct sim_call *c)
{
    return asked(c, 0, NULL, "update") ? SIM_DONE : SIM_FAILED;
}

static enum sim_outcome force_unlock(struct sim_call *c)
{
    const struct sim_object *const vdi = sim_arg(c, 0);
    struct sim_why why;

    if (!vdi)
        return SIM_FAILED;
    if (!sim_vdi_may(c->pool, vdi, "force_unlock", &why))
        return sim_refuse(c, &why);
    return sim_fail(c, "MESSAGE_DEPRECATED", NULL);
}

static bool is_off(const struct simpool *p, const struct sim_object *vdi, struct sim_why *why)
{
    const struct sim_object *vbd;

    for (size_t at = 0; (vbd = sim_member(p, vdi, "VBDs", &at));) {
        const struct sim_object *const vm = sim_follow(p, vbd, "VM");
        if (vm && !sim_vm_has_power(vm, SIM_IS_HALTED, "halted", why))
            return false;
    }
    return true;
}

static enum sim_outcome set_on_boot(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const vdi = sim_arg(c, 0);
    struct sim_why why;

    if (!vdi)
        return SIM_FAILED;
    if (!is_off(p, vdi, &why))
        return sim_refuse(c, &why);
    if (!asked(c, 0, "vdi_set_on_boot", "set_on_boot"))
        return SIM_FAILED;
    sim_put(p, vdi, "on_boot", c->args[1]);
    sim_vdi_allowed(p, vdi);
    return SIM_DONE;
}

static enum sim_outcome set_allow_caching(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const vdi = sim_arg(c, 0);
    struct sim_why why;

    if (!vdi)
        return SIM_FAILED;
    if (!is_off(p, vdi, &why))
        return sim_refuse(c, &why);
    sim_put(p, vdi, "allow_caching", c->args[1]);
    return SIM_DONE;
}

/* For the storage drivers' own sessions, and clients have none. */
enum sim_outcome sim_for_drivers_only(struct sim_call *c)
{
    return sim_arg(c, 0) ? sim_fail(c, "PERMISSION_DENIED", "", NULL) : SIM_FAILED;
}

static enum sim_outcome db_introduce(struct sim_call *c)
{
    return sim_arg(c, SR) ? sim_fail(c, "PERMISSION_DENIED", "", NULL) : SIM_FAILED;
}

static enum sim_outcome open_database(struct sim_call *c)
{
    const struct sim_object *const vdi = sim_arg(c, 0);

    if (!vdi)
        return SIM_FAILED;
    if (!sim_is(vdi, "type", "metadata"))
        return sim_fail(c, "VDI_INCOMPATIBLE_TYPE", vdi->ref, sim_text(vdi, "type"), NULL);
    return sim_fail(c, "COULD_NOT_IMPORT_DATABASE", "the disk holds no database", NULL);
}

/* The cache of databases that were read is empty: none can be opened. */
static enum sim_outcome read_database_pool_uuid(struct sim_call *c)
{
    c->result = xapi_str("");
    return sim_arg(c, 0) ? SIM_DONE : SIM_FAILED;
}

/* Networks for it may be declared, but nothing of the pool serves disks. */
static enum sim_outcome get_nbd_info(struct sim_call *c)
{
    const struct sim_object *const vdi = sim_arg(c, 0);

    if (!vdi)
        return SIM_FAILED;
    if (sim_is(vdi, "type", "cbt_metadata"))
        return sim_fail(c, "VDI_INCOMPATIBLE_TYPE", vdi->ref, "cbt_metadata", NULL);
    for (const struct sim_object *net = sim_first(c->pool, "network"); net; net = net->class_next)
        if (xapi_list_has(sim_get(net, "purpose"), "nbd") || xapi_list_has(sim_get(net, "purpose"), "insecure_nbd"))
            return sim_fail(c, "NOT_IMPLEMENTED", "VDI.get_nbd_info", NULL);
    c->result = xapi_list(NULL, 0);
    return SIM_DONE;
}

/* No driver of the pool can put a disk back into the state of its snapshot in place. */
static enum sim_outcome revert(struct sim_call *c)
{
    const struct sim_object *const vdi = sim_arg(c, 0);
    const struct sim_object *const sr = vdi ? sim_follow(c->pool, vdi, "SR") : NULL;
    struct sim_why why;

    if (!vdi)
        return SIM_FAILED;
    if (sr && !sim_sr_may(c->pool, sr, "vdi_revert", &why))
        return sim_refuse(c, &why);
    return sim_fail(c, "UNIMPLEMENTED_IN_SM_BACKEND", sim_text(vdi, "SR"), NULL);
}

const struct sim_row sim_vdi_rows[] = {
    {"VDI.create", create},
    {"VDI.destroy", destroy},
    {"VDI.forget", forget},
    {"VDI.introduce", introduce},
    {"VDI.pool_introduce", pool_introduce},
    {"VDI.db_introduce", db_introduce},
    {"VDI.db_forget", sim_for_drivers_only},
    {"VDI.snapshot", snapshot},
    {"VDI.clone", clone},
    {"VDI.copy", copy},
    {"VDI.revert", revert},
    {"VDI.pool_migrate", pool_migrate},
    {"VDI.resize", resize},
    {"VDI.resize_online", resize_online},
    {"VDI.update", update},
    {"VDI.force_unlock", force_unlock},
    {"VDI.enable_cbt", enable_cbt},
    {"VDI.disable_cbt", disable_cbt},
    {"VDI.data_destroy", data_destroy},
    {"VDI.list_changed_blocks", list_changed_blocks},
    {"VDI.get_nbd_info", get_nbd_info},
    {"VDI.open_database", open_database},
    {"VDI.read_database_pool_uuid", read_database_pool_uuid},
    {"VDI.set_on_boot", set_on_boot},
    {"VDI.set_allow_caching", set_allow_caching},
    {"VDI.set_sharable", sim_for_drivers_only},
    {"VDI.set_managed", sim_for_drivers_only},
    {"VDI.set_read_only", sim_for_drivers_only},
    {"VDI.set_missing", sim_for_drivers_only},
    {"VDI.set_virtual_size", sim_for_drivers_only},
    {"VDI.set_physical_utilisation", sim_for_drivers_only},
    {"VDI.set_is_a_snapshot", sim_for_drivers_only},
    {"VDI.set_snapshot_of", sim_for_drivers_only},
    {"VDI.set_snapshot_time", sim_for_drivers_only},
    {"VDI.set_metadata_of_pool", sim_for_drivers_only},
    {"VDI.set_cbt_enabled", sim_for_drivers_only},
    {NULL, NULL},
};
