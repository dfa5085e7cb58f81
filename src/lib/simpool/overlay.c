/* What stands on interfaces: VLANs, tunnels, virtual functions. */
#include "lib/simpool/pif.h"

#define VLAN_TAG_MAX 4094

/* ---- VLANs ---- */

static struct sim_object *vlan_record(struct simpool *p, struct sim_object *tagged, struct sim_object *untagged,
                                      int64_t tag)
{
    struct sim_object *const vlan = sim_create(p, "VLAN");

    if (!vlan)
        return NULL;
    sim_put_text(p, vlan, "tagged_PIF", tagged->ref);
    sim_put_text(p, vlan, "untagged_PIF", untagged->ref);
    sim_put_int(p, vlan, "tag", tag);
    sim_put_text(p, untagged, "VLAN_master_of", vlan->ref);
    sim_put_text(p, untagged, "metrics", sim_text(tagged, "metrics"));
    return vlan;
}

static bool can_tag(const struct simpool *p, const struct sim_object *pif, int64_t tag, const struct sim_object *net,
                    struct sim_why *why)
{
    const struct sim_object *other;

    if (!sim_network_is_free(p, net, sim_text(pif, "host"), why) || !sim_pif_is_managed(pif, why))
        return false;
    if (sim_get(pif, "tunnel_access_PIF_of")->count)
        return sim_deny(why, "IS_TUNNEL_ACCESS_PIF", pif->ref, NULL);
    if (sim_int(pif, "VLAN") >= 0)
        return sim_deny(why, "PIF_IS_VLAN", pif->ref, NULL);
    if (sim_follow(p, pif, "bond_slave_of"))
        return sim_deny(why, "CANNOT_ADD_VLAN_TO_BOND_SLAVE", pif->ref, NULL);
    if (tag < 0 || tag > VLAN_TAG_MAX) {
        snprintf(why->text[0], SIM_WHY_BYTES, "%lld", (long long)tag);
        return sim_deny(why, "VLAN_TAG_INVALID", why->text[0], NULL);
    }
    for (size_t at = 0; (other = sim_member(p, pif, "VLAN_slave_of", &at));)
        if (sim_int(other, "tag") == tag)
            return sim_deny(why, "PIF_VLAN_EXISTS", sim_text(pif, "device"), NULL);
    for (size_t at = 0; (other = sim_member(p, net, "VIFs", &at));)
        if (sim_get(other, "trunks")->count)
            return sim_deny(why, "NETWORK_INCOMPATIBLE_WITH_TRUNKS", net->ref, NULL);
    return true;
}

static struct sim_object *vlan_make(struct simpool *p, struct sim_object *tagged, int64_t tag,
                                    const struct sim_object *net)
{
    struct sim_object *const pif =
        sim_pif_create(p, sim_text(tagged, "device"), net, sim_text(tagged, "host"), "fe:ff:ff:ff:ff:ff");

    if (!pif)
        return NULL;
    sim_put_int(p, pif, "VLAN", tag);
    sim_put_int(p, pif, "MTU", sim_int(tagged, "MTU"));
    sim_put_text(p, pif, "primary_address_type", sim_text(tagged, "primary_address_type"));
    sim_put_list(p, pif, "IPv6", (const char *const[]){"", NULL});
    sim_put_bool(p, pif, "currently_attached", true);
    return vlan_record(p, tagged, pif, tag);
}

static enum sim_outcome vlan_create(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const tagged = sim_arg(c, 0), *const net = tagged ? sim_arg(c, 2) : NULL;
    struct sim_why why;

    if (!net)
        return SIM_FAILED;
    if (!can_tag(p, tagged, c->args[1].integer, net, &why))
        return sim_refuse(c, &why);
    return sim_done_ref(c, vlan_make(p, tagged, c->args[1].integer, net));
}

static enum sim_outcome create_vlan(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    const struct sim_object *const net = sim_arg(c, 1), *const host = net ? sim_arg(c, 2) : NULL;
    struct sim_object *const tagged = host ? sim_pif_of_device(p, host, sim_arg_text(c, 0)) : NULL;
    struct sim_why why;

    if (!host)
        return SIM_FAILED;
    if (!tagged)
        return sim_invalid(c, "device", sim_arg_text(c, 0));
    if (!can_tag(p, tagged, c->args[3].integer, net, &why))
        return sim_refuse(c, &why);
    const struct sim_object *const vlan = vlan_make(p, tagged, c->args[3].integer, net);
    return sim_done_ref(c, vlan ? sim_follow(p, vlan, "untagged_PIF") : NULL);
}

/* A VLAN on each of the interfaces, or, when one of them cannot have it, none at all. */
static enum sim_outcome vlans_make(struct sim_call *c, struct sim_object *const *tagged, size_t count, int64_t tag,
                                   const struct sim_object *net)
{
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&c->arena);
    struct simpool *const p = c->pool;
    struct sim_why why;

    for (size_t i = 0; i < count; i++)
        if (!can_tag(p, tagged[i], tag, net, &why))
            return sim_refuse(c, &why);
    xapi_build_open(&b, XAPI_LIST);
    for (size_t i = 0; i < count; i++) {
        const struct sim_object *const vlan = vlan_make(p, tagged[i], tag, net);
        if (!vlan)
            return sim_no_memory(c);
        xapi_build_text(&b, sim_text(vlan, "untagged_PIF"));
    }
    xapi_build_close(&b);
    return xapi_build_end(&b, &c->result) < 0 ? sim_no_memory(c) : SIM_DONE;
}

static bool is_live(const struct simpool *p, const struct sim_object *pif)
{
    const struct sim_object *const host = sim_follow(p, pif, "host");
    const struct sim_object *const metrics = host ? sim_follow(p, host, "metrics") : NULL;

    return metrics && sim_bool(metrics, "live");
}

/* On each live host, over its interface on the network of the one that is given. */
static enum sim_outcome create_vlan_from_pif(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    const struct sim_object *const like = sim_arg(c, 0), *const net = like ? sim_arg(c, 1) : NULL;
    const struct sim_object *const under = net ? sim_follow(p, like, "network") : NULL;
    struct sim_object *pif;
    size_t count = 0;

    if (!net)
        return SIM_FAILED;
    if (!under)
        return sim_bad_handle(c, (uint16_t)xapi_class_index(xapi_class_find("network")), sim_text(like, "network"));
    struct sim_object **const tagged =
        xk_arena_alloc(&c->arena, (sim_get(under, "PIFs")->count + 1) * sizeof(struct sim_object *));
    if (!tagged)
        return sim_no_memory(c);
    for (size_t at = 0; (pif = sim_member(p, under, "PIFs", &at));)
        if (is_live(p, pif))
            tagged[count++] = pif;
    return vlans_make(c, tagged, count, c->args[2].integer, net);
}

/* On each host, over its interface of that name. */
static enum sim_outcome create_vlan_everywhere(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    const struct sim_object *const net = sim_arg(c, 1);
    size_t hosts = 1, count = 0;

    if (!net)
        return SIM_FAILED;
    for (const struct sim_object *host = sim_first(p, "host"); host; host = host->class_next)
        hosts++;
    struct sim_object **const tagged = xk_arena_alloc(&c->arena, hosts * sizeof(struct sim_object *));
    if (!tagged)
        return sim_no_memory(c);
    for (const struct sim_object *host = sim_first(p, "host"); host; host = host->class_next) {
        tagged[count] = sim_pif_of_device(p, host, sim_arg_text(c, 0));
        if (!tagged[count++])
            return sim_invalid(c, "device", sim_arg_text(c, 0));
    }
    return vlans_make(c, tagged, count, c->args[2].integer, net);
}

/* The host gets the VLANs that the master has, over its own interface on the same network. */
static enum sim_outcome sync_vlans(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    const struct sim_object *const host = sim_arg(c, 0), *const master = sim_master(p);

    if (!host || !master)
        return SIM_FAILED;
    for (const struct sim_object *vlan = sim_first(p, "VLAN"), *next; vlan; vlan = next) {
        next = vlan->class_next;
        const struct sim_object *const under = sim_follow(p, vlan, "tagged_PIF"), *const over = sim_follow(
                                                                                      p, vlan, "untagged_PIF");
        const struct sim_object *const net = over && sim_is(over, "host", master->ref) ? sim_follow(p, over, "network")
                                                                                       : NULL,
                                       *const below = under ? sim_follow(p, under, "network") : NULL;
        struct sim_object *const own = net && below ? sim_pif_on(p, below, host->ref) : NULL;
        if (own && !sim_pif_on(p, net, host->ref) && !vlan_make(p, own, sim_int(vlan, "tag"), net))
            return sim_no_memory(c);
    }
    return SIM_DONE;
}

static enum sim_outcome vlan_pool_introduce(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const tagged = sim_arg(c, 0), *const untagged = tagged ? sim_arg(c, 1) : NULL;

    if (!untagged)
        return SIM_FAILED;
    struct sim_object *const vlan = vlan_record(p, tagged, untagged, c->args[2].integer);
    if (!vlan)
        return sim_no_memory(c);
    sim_put(p, vlan, "other_config", c->args[3]);
    return sim_done_ref(c, vlan);
}

static enum sim_outcome vlan_end(struct sim_call *c, struct sim_object *vlan)
{
    struct simpool *const p = c->pool;
    struct sim_object *const pif = sim_follow(p, vlan, "untagged_PIF");
    struct sim_why why;

    if (pif) {
        if (sim_follow(p, pif, "bond_slave_of") || sim_get(pif, "bond_master_of")->count)
            return sim_fail(c, "PIF_ALREADY_BONDED", pif->ref, NULL);
        if (!sim_pif_is_unprotected(p, pif, &why) || !sim_pif_can_unplug(p, pif, &why))
            return sim_refuse(c, &why);
    }
    sim_delete(p, vlan);
    if (pif)
        sim_pif_destroy(p, pif, false);
    return SIM_DONE;
}

static enum sim_outcome vlan_destroy(struct sim_call *c)
{
    struct sim_object *const vlan = sim_arg(c, 0);

    return vlan ? vlan_end(c, vlan) : SIM_FAILED;
}

static enum sim_outcome pif_destroy_message(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    const struct sim_object *const pif = sim_arg(c, 0);

    if (!pif)
        return SIM_FAILED;
    if (sim_int(pif, "VLAN") < 0)
        return sim_fail(c, "PIF_IS_PHYSICAL", pif->ref, NULL);
    struct sim_object *const vlan = sim_follow(p, pif, "VLAN_master_of");
    if (!vlan)
        return sim_bad_handle(c, (uint16_t)xapi_class_index(xapi_class_find("VLAN")), sim_text(pif, "VLAN_master_of"));
    return vlan_end(c, vlan);
}

/* ---- tunnels ---- */

/* NULL: no memory, or (why) it cannot be made; nothing is left of it then. */
static struct sim_object *tunnel_make(struct simpool *p, const struct sim_object *transport,
                                      const struct sim_object *net, const struct xapi_value *protocol,
                                      struct sim_why *why)
{
    const char *const host = sim_text(transport, "host");
    char device[24], mac[24];

    why->code = NULL;
    sim_pif_device_new(p, host, "tunnel", device);
    sim_new_mac(p, mac);
    struct sim_object *const access = sim_pif_create(p, device, net, host, mac), *const tunnel =
                                                                                     access ? sim_create(p, "tunnel")
                                                                                            : NULL;
    if (!tunnel)
        return NULL;
    sim_put_int(p, access, "MTU", -1);
    sim_put_text(p, access, "metrics", sim_text(transport, "metrics"));
    sim_put_text(p, tunnel, "access_PIF", access->ref);
    sim_put_text(p, tunnel, "transport_PIF", transport->ref);
    sim_put(p, tunnel, "protocol", *protocol);
    if (!sim_pif_can_plug(p, access, why)) {
        sim_delete(p, tunnel);
        sim_delete(p, access);
        return NULL;
    }
    sim_pif_plug(p, access);
    return tunnel;
}

static enum sim_outcome tunnel_create(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    const struct sim_object *const transport = sim_arg(c, 0), *const net = transport ? sim_arg(c, 1) : NULL;
    struct sim_why why;

    if (!net)
        return SIM_FAILED;
    if (!sim_network_is_free(p, net, sim_text(transport, "host"), &why) || !sim_pif_is_managed(transport, &why))
        return sim_refuse(c, &why);
    if (sim_follow(p, transport, "bond_slave_of"))
        return sim_fail(c, "CANNOT_ADD_TUNNEL_TO_BOND_SLAVE", transport->ref, NULL);
    if (sim_get(transport, "tunnel_access_PIF_of")->count)
        return sim_fail(c, "IS_TUNNEL_ACCESS_PIF", transport->ref, NULL);
    for (const struct sim_object *h = sim_first(p, "host"); h; h = h->class_next) {
        const char *const backend = sim_pair(h, "software_version", "network_backend");
        if (!backend || !sim_same(backend, "openvswitch"))
            return sim_fail(c, "OPENVSWITCH_NOT_ACTIVE", NULL);
    }
    const struct sim_object *const tunnel = tunnel_make(p, transport, net, &c->args[2], &why);
    if (tunnel)
        return sim_done_ref(c, tunnel);
    return why.code ? sim_refuse(c, &why) : sim_no_memory(c);
}

/* The host gets the tunnels that the master has, over its own interface on the same network. */
static enum sim_outcome sync_tunnels(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    const struct sim_object *const host = sim_arg(c, 0), *const master = sim_master(p);
    struct sim_why why;

    if (!host || !master)
        return SIM_FAILED;
    for (const struct sim_object *o = sim_first(p, "tunnel"), *next; o; o = next) {
        next = o->class_next;
        const struct sim_object *const under = sim_follow(p, o, "transport_PIF"), *const over =
                                                                                      sim_follow(p, o, "access_PIF");
        const struct sim_object *const net = over && sim_is(over, "host", master->ref) ? sim_follow(p, over, "network")
                                                                                       : NULL,
                                       *const below = under ? sim_follow(p, under, "network") : NULL;
        const struct sim_object *const own = net && below ? sim_pif_on(p, below, host->ref) : NULL;
        if (own && !sim_pif_on(p, net, host->ref) && !tunnel_make(p, own, net, sim_get(o, "protocol"), &why))
            return why.code ? sim_refuse(c, &why) : sim_no_memory(c);
    }
    return SIM_DONE;
}

static enum sim_outcome tunnel_destroy(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const tunnel = sim_arg(c, 0), *const access =
                                                         tunnel ? sim_follow(p, tunnel, "access_PIF") : NULL;
    struct sim_why why;

    if (!tunnel)
        return SIM_FAILED;
    if (access && !sim_pif_can_unplug(p, access, &why))
        return sim_refuse(c, &why);
    sim_delete(p, tunnel);
    if (access)
        sim_pif_destroy(p, access, false);
    return SIM_DONE;
}

/* ---- SR-IOV: no card of a simulated host has it ---- */

static enum sim_outcome sriov_create(struct sim_call *c)
{
    const struct simpool *const p = c->pool;
    const struct sim_object *const pif = sim_arg(c, 0), *const net = pif ? sim_arg(c, 1) : NULL;
    struct sim_why why;

    if (!net)
        return SIM_FAILED;
    if (!sim_network_is_free(p, net, sim_text(pif, "host"), &why) || !sim_pif_is_managed(pif, &why))
        return sim_refuse(c, &why);
    if (!sim_bool(pif, "physical"))
        return sim_fail(c, "PIF_IS_NOT_PHYSICAL", pif->ref, NULL);
    if (sim_get(pif, "sriov_physical_PIF_of")->count)
        return sim_fail(c, "NETWORK_SRIOV_ALREADY_ENABLED", pif->ref, NULL);
    if (!xapi_list_has(sim_get(pif, "capabilities"), "sriov"))
        return sim_fail(c, "PIF_IS_NOT_SRIOV_CAPABLE", pif->ref, NULL);
    return sim_fail(c, "NETWORK_SRIOV_ENABLE_FAILED", pif->ref, "the simulated host has no such card", NULL);
}

static enum sim_outcome sriov_destroy(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const sriov = sim_arg(c, 0);
    struct sim_object *const logical = sriov ? sim_follow(p, sriov, "logical_PIF") : NULL;
    struct sim_why why;

    if (!sriov)
        return SIM_FAILED;
    if (logical && sim_get(logical, "VLAN_slave_of")->count)
        return sim_fail(c, "PIF_VLAN_STILL_EXISTS", logical->ref, NULL);
    if (logical && !sim_pif_can_unplug(p, logical, &why))
        return sim_refuse(c, &why);
    sim_delete(p, sriov);
    if (logical)
        sim_pif_destroy(p, logical, false);
    return SIM_DONE;
}

const struct sim_row sim_overlay_rows[] = {
    {"PIF.destroy", pif_destroy_message},
    {"PIF.create_VLAN", create_vlan},
    {"pool.create_VLAN", create_vlan_everywhere},
    {"pool.create_VLAN_from_PIF", create_vlan_from_pif},
    {"VLAN.create", vlan_create},
    {"VLAN.pool_introduce", vlan_pool_introduce},
    {"VLAN.destroy", vlan_destroy},
    {"host.sync_vlans", sync_vlans},
    {"host.sync_tunnels", sync_tunnels},
    {"tunnel.create", tunnel_create},
    {"tunnel.destroy", tunnel_destroy},
    {"network_sriov.create", sriov_create},
    {"network_sriov.destroy", sriov_destroy},
    {NULL, NULL},
};
