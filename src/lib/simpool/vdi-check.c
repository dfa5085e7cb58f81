/* What may be done to a virtual disk: the features of its storage, its devices, what is done to it at the time. */
#include "lib/simpool/ops.h"

#include "core/text.h"

#include <stdio.h>
#include <string.h>

struct operation {
    const char *name, *feature; /* of the SR's driver; NULL: none needed */
    bool offered;               /* appears in allowed_operations: those that old releases know */
    bool live, live_read_only;  /* while the disk is attached, or attached for reading */
    bool metadata;              /* for a disk of which only the map of changed blocks is left */
    bool tracked;               /* while changed blocks are tracked */
};

/* In the order of the enum vdi_operations. */
static const struct operation operations[] = {
    {"clone", "VDI_CLONE", true, true, true, false, true},
    {"copy", NULL, true, false, true, false, true},
    {"resize", "VDI_RESIZE", true, false, false, false, true},
    {"resize_online", "VDI_RESIZE_ONLINE", true, true, true, false, true},
    {"snapshot", "VDI_SNAPSHOT", true, true, true, false, true},
    {"mirror", "VDI_MIRROR", false, true, true, false, false},
    {"destroy", "VDI_DELETE", true, false, false, true, true},
    {"forget", NULL, true, false, false, true, true},
    {"update", "VDI_UPDATE", true, false, false, true, true},
    {"force_unlock", NULL, false, false, false, true, true},
    {"generate_config", "VDI_GENERATE_CONFIG", true, false, false, true, true},
    {"enable_cbt", "VDI_CONFIG_CBT", false, true, true, false, true},
    {"disable_cbt", "VDI_CONFIG_CBT", false, true, true, false, true},
    {"data_destroy", "VDI_CONFIG_CBT", false, true, true, true, true},
    {"list_changed_blocks", "VDI_CONFIG_CBT", false, false, false, true, true},
    {"set_on_boot", "VDI_RESET_ON_BOOT", false, false, false, false, false},
    {"blocked", NULL, false, true, true, true, true},
    {"revert_to", "VDI_CLONE", false, true, true, false, true},
    {"revert_from", "VDI_CLONE", false, false, false, false, true},
};

static bool is_attached(const struct sim_object *vbd)
{
    return sim_bool(vbd, "currently_attached") || sim_bool(vbd, "reserved");
}

/* Does a device of a machine keep the operation from it? */
static bool fits_devices(const struct simpool *p, const struct sim_object *vdi, const struct operation *op,
                         struct sim_why *why)
{
    const struct sim_object *vbd, *busy = NULL;

    for (size_t at = 0; (vbd = sim_member(p, vdi, "VBDs", &at));) {
        const struct sim_object *const vm = sim_follow(p, vbd, "VM");
        const bool counts = is_attached(vbd) && !op->live && (!op->live_read_only || sim_is(vbd, "mode", "RW"));
        const bool excused = sim_same(op->name, "list_changed_blocks") && vm && sim_bool(vm, "is_a_snapshot");
        if (counts && !excused)
            return sim_deny(why, "VDI_IN_USE", vdi->ref, op->name, NULL);
        if (sim_get(vbd, "current_operations")->count)
            busy = vbd;
    }
    if (!busy || sim_same(op->name, "data_destroy"))
        return true;
    const struct xapi_value *const now = sim_get(busy, "current_operations");
    return sim_deny(why, "OTHER_OPERATION_IN_PROGRESS", "VDI", vdi->ref, xapi_value_text(&now->items[1]),
                    xapi_value_text(&now->items[0]), NULL);
}

static bool fits_destroy(const struct simpool *p, const struct sim_object *vdi, const struct sim_object *sr,
                         struct sim_why *why)
{
    const struct sim_object *const pool = sim_pool_object(p);
    const bool of_ha = sim_is(vdi, "type", "ha_statefile") || sim_is(vdi, "type", "redo_log");

    if (sr && sim_is(sr, "type", "udev"))
        return sim_deny(why, "VDI_IS_A_PHYSICAL_DEVICE", vdi->ref, NULL);
    if (sr && sim_bool(sr, "is_tools_sr"))
        return sim_deny(why, "SR_OPERATION_NOT_SUPPORTED", sr->ref, NULL);
    if (sim_is(vdi, "type", "rrd"))
        return sim_deny(why, "VDI_HAS_RRDS", vdi->ref, NULL);
    if (of_ha && sim_bool(pool, "ha_enabled"))
        return sim_deny(why, "HA_IS_ENABLED", NULL);
    return true;
}

static bool deny_text(struct sim_why *why, const char *code, const char *text, const char *ref)
{
    if (why)
        snprintf(why->text[0], SIM_WHY_BYTES, "%s%s", text, ref);
    return sim_deny(why, code, why ? why->text[0] : "", NULL);
}

/* What only this operation asks for. */
static bool fits_own(const struct simpool *p, const struct sim_object *vdi, const struct sim_object *sr,
                     const struct operation *op, struct sim_why *why)
{
    const char *const name = op->name;
    const bool snapshot = sim_bool(vdi, "is_a_snapshot"), resets = sim_is(vdi, "on_boot", "reset");
    const bool of_ha = sim_is(vdi, "type", "ha_statefile") || sim_is(vdi, "type", "redo_log");

    if (sim_same(name, "forget") && sim_is(vdi, "type", "rrd"))
        return sim_deny(why, "VDI_HAS_RRDS", vdi->ref, NULL);
    if ((sim_same(name, "forget") || xk_has_prefix(name, "resize")) && of_ha &&
        sim_bool(sim_pool_object(p), "ha_enabled"))
        return sim_deny(why, "HA_IS_ENABLED", NULL);
    if (sim_same(name, "destroy") || sim_same(name, "revert_from"))
        return fits_destroy(p, vdi, sr, why);
    if (sim_same(name, "data_destroy")) {
        if (!snapshot)
            return deny_text(why, "OPERATION_NOT_ALLOWED", "VDI is not a snapshot: ", vdi->ref);
        if (!sim_bool(vdi, "cbt_enabled"))
            return sim_deny(why, "VDI_NO_CBT_METADATA", vdi->ref, NULL);
        return fits_destroy(p, vdi, sr, why);
    }
    if (sim_same(name, "snapshot") && sim_bool(vdi, "sharable"))
        return sim_deny(why, "VDI_IS_SHARABLE", vdi->ref, NULL);
    if ((sim_same(name, "snapshot") || sim_same(name, "copy")) && resets)
        return sim_deny(why, "VDI_ON_BOOT_MODE_INCOMPATIBLE_WITH_OPERATION", NULL);
    if (sim_same(name, "snapshot") && sim_get(vdi, "current_operations")->count)
        return sim_deny(why, "OPERATION_NOT_ALLOWED", "Snapshot operation not allowed during copy.", NULL);
    if (sim_same(name, "copy") && of_ha)
        return sim_deny(why, "OPERATION_NOT_ALLOWED",
                        "VDI containing HA statefile or redo log cannot be copied (check the VDI's allowed "
                        "operations).",
                        NULL);
    if (sim_same(name, "enable_cbt") || sim_same(name, "disable_cbt")) {
        if (snapshot)
            return deny_text(why, "OPERATION_NOT_ALLOWED", "VDI is a snapshot: ", vdi->ref);
        if (!sim_is(vdi, "type", "user") && !sim_is(vdi, "type", "system"))
            return sim_deny(why, "VDI_INCOMPATIBLE_TYPE", vdi->ref, sim_text(vdi, "type"), NULL);
        if (resets)
            return sim_deny(why, "VDI_ON_BOOT_MODE_INCOMPATIBLE_WITH_OPERATION", NULL);
    }
    if (sim_same(name, "revert_to") && !snapshot)
        return sim_deny(why, "REVERT_ONLY_ALLOWED_ON_SNAPSHOT", NULL);
    return true;
}

static bool may(const struct simpool *p, const struct sim_object *vdi, const struct operation *op, struct sim_why *why)
{
    const struct sim_object *const sr = sim_follow(p, vdi, "SR");
    const struct xapi_value *const now = sim_get(vdi, "current_operations");
    bool mirrors = false;
    size_t busy = now->count;

    for (size_t i = now->count; i-- > 0;) {
        mirrors |= sim_same(xapi_value_text(&now->items[2 * i + 1]), "mirror");
        if (!sim_same(xapi_value_text(&now->items[2 * i + 1]), "copy"))
            busy = i;
    }
    if (busy < now->count && !(mirrors && sim_same(op->name, "destroy")))
        return sim_deny_busy(why, vdi, busy);
    if (sim_same(op->name, "resize") && sr && !sim_sr_pbd(p, sr, NULL))
        return sim_deny(why, "SR_HAS_NO_PBDS", sr->ref, NULL);
    if (!fits_devices(p, vdi, op, why))
        return false;
    if (op->feature && !(sr && sim_sr_has_feature(p, sr, op->feature)))
        return sim_deny(why, "SR_OPERATION_NOT_SUPPORTED", sim_text(vdi, "SR"), NULL);
    if (!op->metadata && sim_is(vdi, "type", "cbt_metadata"))
        return sim_deny(why, "VDI_INCOMPATIBLE_TYPE", vdi->ref, "cbt_metadata", NULL);
    if (!op->tracked && sim_bool(vdi, "cbt_enabled"))
        return sim_deny(why, "VDI_CBT_ENABLED", vdi->ref, NULL);
    return fits_own(p, vdi, sr, op, why);
}

bool sim_vdi_may(const struct simpool *p, const struct sim_object *vdi, const char *op, struct sim_why *why)
{
    size_t i = 0;

    while (i + 1 < XK_COUNT(operations) && !sim_same(operations[i].name, op))
        i++;
    return may(p, vdi, &operations[i], why);
}

void sim_vdi_allowed(struct simpool *p, struct sim_object *vdi)
{
    uint64_t mask = 0;

    for (size_t i = 0; i < XK_COUNT(operations); i++)
        if (operations[i].offered && may(p, vdi, &operations[i], NULL))
            mask |= UINT64_C(1) << i;
    sim_put_allowed(p, vdi, mask);
}
