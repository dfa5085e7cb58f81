/* Networks: their bridges, who is on them, what they are for. */
#include "lib/simpool/ops.h"

#define BRIDGE_LEN_MAX 15
#define BRIDGES_MAX    100000

static bool bridge_is_used(const struct simpool *p, const char *bridge)
{
    for (const struct sim_object *net = sim_first(p, "network"); net; net = net->class_next)
        if (sim_is(net, "bridge", bridge))
            return true;
    return false;
}

static enum sim_outcome create(struct sim_call *c)
{
    static const char *const reserved[] = {"xen", "xapi", "vif", "tap", "eth"};
    struct simpool *const p = c->pool;
    const struct xapi_value *record;
    char made[24];

    if (!sim_record_arg(c, 0, &record))
        return SIM_FAILED;
    const char *bridge = sim_record_text(record, "bridge");
    const bool given = *bridge != '\0', trusted = !c->session || c->session->pool; /* an import, for one */
    for (size_t i = 0; given && !trusted && i < XK_COUNT(reserved); i++)
        if (xk_has_prefix(bridge, reserved[i]) || strlen(bridge) > BRIDGE_LEN_MAX)
            return sim_invalid(c, "bridge", bridge);
    if (given && bridge_is_used(p, bridge))
        return sim_fail(c, "BRIDGE_NAME_EXISTS", bridge, NULL);
    for (unsigned i = 0; !given && i < BRIDGES_MAX; i++) {
        snprintf(made, sizeof(made), "xapi%u", i);
        bridge = made;
        if (!bridge_is_used(p, made))
            break;
    }
    if (sim_generic(c) == SIM_FAILED)
        return SIM_FAILED;
    struct sim_object *const net = sim_find(p, c->result.text, NULL);
    sim_put_text(p, net, "bridge", bridge);
    if (sim_int(net, "MTU") <= 0)
        sim_put_int(p, net, "MTU", 1500);
    sim_put_text(p, net, "default_locking_mode", "unlocked");
    return SIM_DONE;
}

/* An error whose parameters are all members of a set that meet a condition. */
static enum sim_outcome fail_members(struct sim_call *c, const char *code, const struct sim_object *o,
                                     const char *field, bool attached_only)
{
    const struct simpool *const p = c->pool;
    const struct sim_object *member;
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&c->arena);

    xapi_build_open(&b, XAPI_LIST);
    xapi_build_text(&b, code);
    for (size_t at = 0; (member = sim_member(p, o, field, &at));)
        if (!attached_only || sim_bool(member, "currently_attached"))
            xapi_build_text(&b, member->ref);
    xapi_build_close(&b);
    return xapi_build_end(&b, &c->error) < 0 ? sim_no_memory(c) : SIM_FAILED;
}

static const struct sim_object *attached_vif(const struct simpool *p, const struct sim_object *net)
{
    const struct sim_object *vif;

    for (size_t at = 0; (vif = sim_member(p, net, "VIFs", &at));)
        if (sim_bool(vif, "currently_attached") || sim_bool(vif, "reserved"))
            return vif;
    return NULL;
}

static enum sim_outcome destroy(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const net = sim_arg(c, 0);

    if (!net)
        return SIM_FAILED;
    if (attached_vif(p, net))
        return fail_members(c, "NETWORK_CONTAINS_VIF", net, "VIFs", true);
    if (sim_get(net, "PIFs")->count)
        return fail_members(c, "NETWORK_CONTAINS_PIF", net, "PIFs", false);
    if (sim_pair_is_true(net, "other_config", "is_host_internal_management_network"))
        return sim_fail(c, "CANNOT_DESTROY_SYSTEM_NETWORK", net->ref, NULL);
    sim_delete_members(p, net, "VIFs");
    sim_delete(p, net);
    return SIM_DONE;
}

static enum sim_outcome pool_introduce(struct sim_call *c)
{
    static const char *const fields[] = {"name_label", "name_description", "MTU",    "other_config",
                                         "bridge",     "managed",          "purpose"};
    struct simpool *const p = c->pool;
    struct sim_object *const net = sim_create(p, "network");

    if (!net)
        return sim_no_memory(c);
    for (unsigned i = 0; i < XK_COUNT(fields); i++)
        sim_put(p, net, fields[i], c->args[i]);
    sim_put_text(p, net, "default_locking_mode", "unlocked");
    return sim_done_ref(c, net);
}

static enum sim_outcome set_default_locking_mode(struct sim_call *c)
{
    struct sim_object *const net = sim_arg(c, 0);
    const struct sim_object *const vif = net ? attached_vif(c->pool, net) : NULL;

    if (!net)
        return SIM_FAILED;
    if (vif)
        return sim_fail(c, "VIF_IN_USE", net->ref, vif->ref, NULL);
    sim_put(c->pool, net, "default_locking_mode", c->args[1]);
    return SIM_DONE;
}

/* The two kinds of export would contradict each other. */
static enum sim_outcome add_purpose(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const net = sim_arg(c, 0);
    const char *const wanted = sim_arg_text(c, 1);

    if (!net)
        return SIM_FAILED;
    if (xapi_list_has(sim_get(net, "purpose"), wanted))
        return SIM_DONE;
    const char *const other = sim_same(wanted, "nbd")            ? "insecure_nbd"
                              : sim_same(wanted, "insecure_nbd") ? "nbd"
                                                                 : NULL;
    for (const struct sim_object *o = other ? sim_first(p, "network") : NULL; o; o = o->class_next)
        if (xapi_list_has(sim_get(o, "purpose"), other))
            return sim_fail(c, "NETWORK_INCOMPATIBLE_PURPOSES", wanted, other, NULL);
    sim_list_add(p, net, xapi_field_place(net->class_row, "purpose"), &c->args[1]);
    return SIM_DONE;
}

static enum sim_outcome remove_purpose(struct sim_call *c)
{
    struct sim_object *const net = sim_arg(c, 0);

    if (!net)
        return SIM_FAILED;
    sim_list_remove(c->pool, net, xapi_field_place(net->class_row, "purpose"), &c->args[1]);
    return SIM_DONE;
}

/* The interface of a host on a network comes up with it. */
static void bring_up(struct simpool *p, const struct sim_object *net, const char *host)
{
    struct sim_object *pif;

    for (size_t at = 0; (pif = sim_member(p, net, "PIFs", &at));)
        if (sim_is(pif, "host", host) && sim_bool(pif, "managed"))
            sim_put_bool(p, pif, "currently_attached", true);
}

static enum sim_outcome attach(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    const struct sim_object *const net = sim_arg(c, 0), *const host = net ? sim_arg(c, 1) : NULL, *pif;

    if (!host)
        return SIM_FAILED;
    for (size_t at = 0; (pif = sim_member(p, net, "PIFs", &at));)
        if (sim_is(pif, "host", host->ref) && sim_follow(p, pif, "bond_slave_of"))
            return sim_fail(c, "CANNOT_PLUG_BOND_SLAVE", pif->ref, NULL);
    bring_up(p, net, host->ref);
    return SIM_DONE;
}

static enum sim_outcome attach_for_vm(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    const struct sim_object *const host = sim_arg(c, 0), *const vm = host ? sim_arg(c, 1) : NULL, *vif;

    if (!vm)
        return SIM_FAILED;
    for (size_t at = 0; (vif = sim_member(p, vm, "VIFs", &at));) {
        const struct sim_object *const net = sim_follow(p, vif, "network");
        if (net)
            bring_up(p, net, host->ref);
    }
    return SIM_DONE;
}

/* Interfaces stay up: only bridges without any would go, and those have no records. */
static enum sim_outcome detach_for_vm(struct sim_call *c)
{
    return sim_arg(c, 0) && sim_arg(c, 1) ? SIM_DONE : SIM_FAILED;
}

const struct sim_row sim_network_rows[] = {
    {"network.create", create},
    {"network.destroy", destroy},
    {"network.pool_introduce", pool_introduce},
    {"network.set_default_locking_mode", set_default_locking_mode},
    {"network.add_purpose", add_purpose},
    {"network.remove_purpose", remove_purpose},
    {"network.attach", attach},
    {"network.attach_for_vm", attach_for_vm},
    {"network.detach_for_vm", detach_for_vm},
    {NULL, NULL},
};
