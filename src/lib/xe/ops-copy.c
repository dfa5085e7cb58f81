/* Virtual machines are copied; snapshots, which are copies as well. */
#include "lib/xe/inner.h"

#include "core/text.h"

#include <string.h>

/* ---- copies ---- */

struct copies {
    const char *method;
    struct xapi_value third; /* nil: the message has two parameters */
    const char **refs;
    size_t count;
};

static void copy_one(struct xe *x, struct xe_object *vm, void *context)
{
    struct copies *const c = context;
    const struct xapi_value name = xapi_str(xe_required(x, "new-name-label"));
    const struct xapi_value made = c->third.shape == XAPI_NIL ? xe_do(x, c->method, xapi_str(vm->ref), name)
                                                              : xe_do(x, c->method, xapi_str(vm->ref), name, c->third);

    if (xe_fine(x))
        c->refs[c->count++] = xe_value_text(x, &made);
}

static void copies(struct xe *x, const char *method, struct xapi_value third, unsigned how)
{
    static const char *const own[] = {"new-name-label", "new-name-description", "ignore-vdi-uuids", NULL};
    static const char *const own_copy[] = {"new-name-label", "sr-uuid", "new-name-description", NULL};
    const char *const description = xe_param(x, "new-name-description");
    struct copies c = {.method = method, .third = third};
    const bool copy = strcmp(method, "VM.copy") == 0;

    c.refs = xk_arena_alloc(&x->arena, (1u << 16) * sizeof(*c.refs));
    if (!c.refs)
        return xe_fail_memory(x);
    (void)xe_each(x, XE_SELECTS_VMS, how, copy ? own_copy : own, copy_one, &c);
    /* Of several the last one comes first. */
    for (size_t i = 0; i < c.count / 2; i++) {
        const char *const swap = c.refs[i];
        c.refs[i] = c.refs[c.count - 1 - i];
        c.refs[c.count - 1 - i] = swap;
    }
    if (description && c.count > 0)
        (void)xe_do(x, "VM.set_name_description", xapi_str(c.refs[0]), xapi_str(description));
    for (size_t i = 0; i < c.count && xe_fine(x); i++)
        c.refs[i] = xe_uuid_of(x, "VM", c.refs[i]);
    xe_list(x, c.refs, c.count);
}

static void vm_clone(struct xe *x)
{
    copies(x, "VM.clone", xapi_nil(), XE_ALSO_TEMPLATES);
}

static void vm_checkpoint(struct xe *x)
{
    copies(x, "VM.checkpoint", xapi_nil(), 0);
}

static void vm_snapshot_with_quiesce(struct xe *x)
{
    copies(x, "VM.snapshot_with_quiesce", xapi_nil(), 0);
}

static void vm_snapshot(struct xe *x)
{
    const char *const ignored = xe_param(x, "ignore-vdi-uuids");
    const struct xapi_value uuids = ignored ? xe_split(x, ignored, ',') : xapi_list(NULL, 0);
    struct xapi_value *const refs = xk_arena_alloc(&x->arena, (uuids.count + 1) * sizeof(*refs));

    if (!refs)
        return xe_fail_memory(x);
    for (uint32_t i = 0; i < uuids.count; i++)
        refs[i] = xapi_str(xe_by_uuid(x, "VDI", uuids.items[i].text));
    copies(x, "VM.snapshot", xapi_list(refs, uuids.count), 0);
}

static const char *sr_or_null(struct xe *x)
{
    return xe_param(x, "sr-uuid") ? xe_param_ref(x, "SR", "sr-uuid") : XE_NULL;
}

static void vm_copy(struct xe *x)
{
    copies(x, "VM.copy", xapi_str(sr_or_null(x)), XE_ALSO_TEMPLATES | XE_ONE);
}

/* ---- snapshots ---- */

static const char *snapshot_uuid(struct xe *x)
{
    const char *const own = xe_param(x, "snapshot-uuid"), *const uuid = own ? own : xe_param(x, "uuid");

    if (!uuid)
        xe_fail(x, "Required parameter not found: snapshot-uuid or uuid.");
    return uuid ? uuid : "";
}

const char *xe_snapshot(struct xe *x)
{
    const char *const uuid = snapshot_uuid(x), *const ref = xe_by_uuid(x, "VM", uuid);

    if (!xe_get_bool(x, "VM.get_is_a_snapshot", ref))
        xe_fail(x, "This operation can only be performed on a VM snapshot. %s is not a VM snapshot.", uuid);
    return ref;
}

static void snapshot_revert(struct xe *x)
{
    (void)xe_get(x, "VM.revert", xe_snapshot(x));
}

static void snapshot_reset_powerstate(struct xe *x)
{
    xe_need_force(x);
    (void)xe_get(x, "VM.power_state_reset", xe_fine(x) ? xe_snapshot(x) : "");
}

static void snapshot_copied(struct xe *x, const struct xapi_value *made)
{
    const char *const description = xe_param(x, "new-name-description"), *const ref = xe_value_text(x, made);

    if (description)
        (void)xe_do(x, "VM.set_name_description", xapi_str(ref), xapi_str(description));
    xe_list_one(x, xe_uuid_of(x, "VM", ref));
}

static void snapshot_clone(struct xe *x)
{
    const struct xapi_value made =
        xe_do(x, "VM.clone", xapi_str(xe_snapshot(x)), xapi_str(xe_required(x, "new-name-label")));

    snapshot_copied(x, &made);
}

static void snapshot_copy(struct xe *x)
{
    const struct xapi_value sr = xapi_str(sr_or_null(x));
    const struct xapi_value made =
        xe_do(x, "VM.copy", xapi_str(xe_snapshot(x)), xapi_str(xe_required(x, "new-name-label")), sr);

    snapshot_copied(x, &made);
}

static void snapshot_destroy(struct xe *x)
{
    const char *const ref = xe_snapshot(x);

    if (strcmp(xe_get_text(x, "VM.get_power_state", ref), "Halted") != 0)
        (void)xe_get(x, "VM.hard_shutdown", ref);
    (void)xe_get(x, "VM.destroy", ref);
}

const struct xe_row xe_copy_rows[] = {
    {"vm-clone", vm_clone},
    {"vm-checkpoint", vm_checkpoint},
    {"vm-snapshot", vm_snapshot},
    {"vm-snapshot-with-quiesce", vm_snapshot_with_quiesce},
    {"vm-copy", vm_copy},
    {"snapshot-revert", snapshot_revert},
    {"snapshot-reset-powerstate", snapshot_reset_powerstate},
    {"snapshot-clone", snapshot_clone},
    {"snapshot-copy", snapshot_copy},
    {"snapshot-destroy", snapshot_destroy},
    {NULL, NULL},
};
