/*
 * Machines that come back after a disaster: their records are taken from one database into that of another session.
 *
 * Here both are the same, since no disk holds a database: what is recovered takes the place of what is there, as an
 * import of its records that restores, and the disks stay where they are.
 *
 * Facts: xapi's xapi_dr.ml, xapi_vm.ml, xapi_vm_appliance.ml (2026-08).
 */
#include "lib/simpool/access.h"
#include "lib/simpool/import.h"

#define RECORDS_BYTES_MAX (64u << 20)

/* Could the session that gets them have opened a database? */
static bool session_may(struct sim_call *c)
{
    const struct sim_session *const s = sim_session_find(c->pool, sim_arg_text(c, 1));
    const struct xapi_message *const open = xapi_message_find("VDI.open_database");

    if (!s) {
        (void)sim_fail(c, "SESSION_INVALID", sim_arg_text(c, 1), NULL);
        return false;
    }
    if (sim_access_has(s, open->roles))
        return true;
    (void)sim_fail(c, "RBAC_PERMISSION_DENIED", xapi_text(c->message->name),
                   "The supplied session does not have the required permissions for VM recovery.", NULL);
    return false;
}

static enum sim_outcome fail_as(struct sim_call *c, const struct sim_error *e)
{
    return sim_fail(c, e->texts[0], e->count > 1 ? e->texts[1] : NULL, e->count > 2 ? e->texts[2] : NULL,
                    e->count > 3 ? e->texts[3] : NULL, NULL);
}

/* What brought an SR here was a disaster; now it is the pool's own. */
static void keep_storage(struct simpool *p, const struct sim_object *vm)
{
    const struct sim_object *vbd;

    for (size_t at = 0; (vbd = sim_member(p, vm, "VBDs", &at));) {
        const struct sim_object *const vdi = sim_follow(p, vbd, "VDI");
        struct sim_object *const sr = vdi ? sim_follow(p, vdi, "SR") : NULL;
        if (sr)
            sim_put_text(p, sr, "introduced_by", SIM_NULL);
    }
}

/* ret   the machines that were made; of the call's arena. */
static enum sim_outcome recover(struct sim_call *c, const struct sim_object *const *vms, size_t count,
                                struct xapi_value *ret)
{
    struct simpool *const p = c->pool;
    struct xk_buf xml = XK_BUF_INIT(RECORDS_BYTES_MAX);
    struct sim_import m = {.pool = p, .task = *c->task_ref ? c->task_ref : SIM_NULL, .restore = true};
    struct xapi_value refs;

    m.force = c->args[2].truth;
    int code = sim_export_records(p, vms, count, &xml);
    const bool good = code == 0 && sim_import_read(&m, xml.data, xml.len) && sim_import_make(&m);
    xk_buf_done(&xml);
    if (good) {
        sim_import_complete(&m, &refs);
        struct xapi_value *const copies = xk_arena_alloc(&c->arena, (refs.count + 1) * sizeof(*copies));
        code = copies ? 0 : -ENOMEM;
        for (size_t i = 0; copies && i < refs.count; i++) {
            const char *const copy = xk_arena_strdup(&c->arena, xapi_value_text(&refs.items[i]));
            copies[i] = xapi_str(copy ? copy : SIM_NULL);
            const struct sim_object *const vm = copy ? sim_find(p, copy, NULL) : NULL;
            if (vm)
                keep_storage(p, vm);
        }
        *ret = xapi_list(copies, copies ? refs.count : 0);
    }
    const struct sim_error error = m.error;
    sim_import_done(&m);
    return good && code == 0 ? SIM_DONE : code < 0 ? sim_no_memory(c) : fail_as(c, &error);
}

static enum sim_outcome vm_recover(struct sim_call *c)
{
    const struct sim_object *const vm = sim_arg(c, 0);
    struct xapi_value refs;

    return vm && session_may(c) ? recover(c, &vm, 1, &refs) : SIM_FAILED;
}

static enum sim_outcome appliance_recover(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const appliance = sim_arg(c, 0);
    struct xapi_value refs, args[2];
    struct sim_error error;
    const struct sim_object *vm;
    char none[SIM_REF_BYTES];
    size_t count = 0;

    if (!appliance || !session_may(c))
        return SIM_FAILED;
    args[0] = c->args[0];
    args[1] = c->args[1];
    if (!sim_call_own(p, "VM_appliance.assert_can_be_recovered", args, XK_COUNT(args), none, &error))
        return fail_as(c, &error);
    const struct sim_object **const vms =
        xk_arena_alloc(&c->arena, (sim_get(appliance, "VMs")->count + 1) * sizeof(struct sim_object *));
    if (!vms)
        return sim_no_memory(c);
    for (size_t at = 0; (vm = sim_member(p, appliance, "VMs", &at));)
        vms[count++] = vm;
    if (recover(c, vms, count, &refs) == SIM_FAILED)
        return SIM_FAILED;
    /* The machines that it had are those again that it has. */
    for (size_t i = 0; i < refs.count; i++) {
        struct sim_object *const made = sim_find(p, xapi_value_text(&refs.items[i]), NULL);
        if (made && !sim_bool(made, "is_a_template"))
            sim_put_text(p, made, "appliance", appliance->ref);
    }
    sim_appliance_allowed(p, appliance);
    return SIM_DONE;
}

const struct sim_row sim_recover_rows[] = {
    {"VM.recover", vm_recover},
    {"VM_appliance.recover", appliance_recover},
    {NULL, NULL},
};
