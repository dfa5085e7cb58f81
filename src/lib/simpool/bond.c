/*
 * Bonds: two or more interfaces as one.
 *
 * The bond's own interface takes the configuration, the VLANs, the tunnels and the machines' interfaces of its members,
 * and gives them back to the primary one in the end.
 */
#include "lib/simpool/pif.h"

#define BOND_NS XK_NS_PER_S

static const char *const none[] = {NULL};

static bool property_fits(const char *mode, const char *name, const char *value, struct sim_why *why)
{
    static const struct {
        const char *name, *values[2];
    } lacp[] = {{"hashing_algorithm", {"src_mac", "tcpudp_ports"}},
                {"lacp-time", {"fast", "slow"}},
                {"lacp-fallback-ab", {"true", "false"}}};
    int64_t number;

    if (sim_same(mode, "lacp")) {
        for (size_t i = 0; i < XK_COUNT(lacp); i++)
            if (sim_same(lacp[i].name, name) &&
                (sim_same(lacp[i].values[0], value) || sim_same(lacp[i].values[1], value)))
                return true;
        if (sim_same(name, "lacp-aggregation-key") && xk_parse_i64(&number, value) == 0)
            return true;
    }
    if (why)
        snprintf(why->text[0], SIM_WHY_BYTES, "%.100s = %.100s", name, value);
    return sim_deny(why, "INVALID_VALUE", "properties", why ? why->text[0] : "", NULL);
}

static void properties_complete(struct simpool *p, struct sim_object *bond)
{
    static const char *const defaults[][2] = {
        {"hashing_algorithm", "tcpudp_ports"}, {"lacp-time", "slow"}, {"lacp-fallback-ab", "true"}};

    for (size_t i = 0; sim_is(bond, "mode", "lacp") && i < XK_COUNT(defaults); i++)
        if (!sim_pair(bond, "properties", defaults[i][0]))
            sim_put_pair(p, bond, "properties", defaults[i][0], defaults[i][1]);
}

static bool has_address(const struct sim_object *pif)
{
    const bool v6 = sim_is(pif, "primary_address_type", "IPv6");

    return !sim_is(pif, v6 ? "ipv6_configuration_mode" : "ip_configuration_mode", "None");
}

/* Parameters of Bond.create. */
enum { BOND_NETWORK, MEMBERS, BOND_MAC, BOND_MODE, PROPERTIES };

/* The members' references are good, and they may be one. ret: the one whose configuration the bond gets. */
static bool can_bond(const struct sim_call *c, struct sim_object **ret_primary, struct sim_why *why)
{
    const struct simpool *const p = c->pool;
    const struct xapi_value *const refs = &c->args[MEMBERS];
    struct sim_object *first = NULL, *management = NULL, *addressed = NULL;
    size_t addresses = 0;

    for (size_t i = 0; i < refs->count; i++) {
        struct sim_object *const pif = sim_find(p, xapi_value_text(&refs->items[i]), xapi_class_find("PIF"));
        if (!pif)
            return sim_deny(why, "HANDLE_INVALID", "PIF", xapi_value_text(&refs->items[i]), NULL);
        first = first ? first : pif;
        if (!sim_pif_is_managed(pif, why))
            return false;
        if (sim_follow(p, pif, "bond_slave_of") || sim_get(pif, "bond_master_of")->count)
            return sim_deny(why, "PIF_ALREADY_BONDED", pif->ref, NULL);
        if (sim_int(pif, "VLAN") >= 0)
            return sim_deny(why, "PIF_VLAN_EXISTS", pif->ref, NULL);
        if (sim_get(pif, "tunnel_access_PIF_of")->count)
            return sim_deny(why, "IS_TUNNEL_ACCESS_PIF", pif->ref, NULL);
        if (sim_bool(pif, "management") && sim_bool(sim_pool_object(p), "ha_enabled"))
            return sim_deny(why, "HA_CANNOT_CHANGE_BOND_STATUS_OF_MGMT_IFACE", NULL);
        if (!sim_is(pif, "host", sim_text(first, "host")))
            return sim_deny(why, "PIF_CANNOT_BOND_CROSS_HOST", NULL);
        if (!xapi_value_same(sim_get(pif, "properties"), sim_get(first, "properties")))
            return sim_deny(why, "INCOMPATIBLE_PIF_PROPERTIES", NULL);
        if (!sim_is(pif, "primary_address_type", sim_text(first, "primary_address_type")))
            return sim_deny(why, "PIF_INCOMPATIBLE_PRIMARY_ADDRESS_TYPE", pif->ref, NULL);
        if (sim_bool(pif, "management"))
            management = pif;
        if (has_address(pif)) {
            addressed = addressed ? addressed : pif;
            addresses++;
        }
    }
    if (!first)
        return sim_deny(why, "PIF_BOND_NEEDS_MORE_MEMBERS", NULL);
    if (addresses > 1)
        return sim_deny(why, "PIF_BOND_MORE_THAN_ONE_IP", NULL);
    *ret_primary = management ? management : addressed ? addressed : first;
    return true;
}

static void configuration_move(struct simpool *p, struct sim_object *from, struct sim_object *to)
{
    static const char *const fields[] = {"IP", "netmask", "gateway", "DNS", "ipv6_gateway"};
    static const char *const modes[] = {"ip_configuration_mode", "ipv6_configuration_mode"};

    for (size_t i = 0; i < XK_COUNT(fields); i++) {
        sim_put(p, to, fields[i], *sim_get(from, fields[i]));
        sim_put_text(p, from, fields[i], "");
    }
    for (size_t i = 0; i < XK_COUNT(modes); i++) {
        sim_put(p, to, modes[i], *sim_get(from, modes[i]));
        sim_put_text(p, from, modes[i], "None");
    }
    sim_put(p, to, "IPv6", *sim_get(from, "IPv6"));
    sim_put_list(p, from, "IPv6", none);
    sim_put(p, to, "management", *sim_get(from, "management"));
    sim_put_bool(p, from, "management", false);
}

/* VLANs, tunnels and the interfaces of the host's own machines go where the traffic goes. */
static void traffic_move(struct simpool *p, struct sim_object *from, struct sim_object *to)
{
    const struct sim_object *const net = sim_follow(p, from, "network");
    const char *const host = sim_text(from, "host");
    struct sim_object *o;

    for (size_t at = 0; (o = sim_member(p, from, "VLAN_slave_of", &at)) && p->error == 0; at = 0) {
        struct sim_object *const untagged = sim_follow(p, o, "untagged_PIF");
        sim_put_text(p, o, "tagged_PIF", to->ref);
        if (untagged)
            sim_put_text(p, untagged, "device", sim_text(to, "device"));
    }
    for (size_t at = 0; (o = sim_member(p, from, "tunnel_transport_PIF_of", &at)) && p->error == 0; at = 0)
        sim_put_text(p, o, "transport_PIF", to->ref);
    for (struct sim_object *vif = net ? sim_first(p, "VIF") : NULL; vif; vif = vif->class_next) {
        const struct sim_object *const vm = sim_is(vif, "network", net->ref) ? sim_follow(p, vif, "VM") : NULL;
        if (vm && sim_is(vm, "resident_on", host))
            sim_put_text(p, vif, "network", sim_text(to, "network"));
    }
}

static enum sim_outcome bond_create_end(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    const struct sim_object *const net = sim_arg(c, BOND_NETWORK);
    const struct xapi_value *const refs = &c->args[MEMBERS];
    struct sim_object *primary;
    char device[24];
    struct sim_why why;

    if (!net)
        return SIM_FAILED;
    if (!can_bond(c, &primary, &why))
        return sim_refuse(c, &why);
    const char *const host = sim_text(primary, "host"), *const mac = sim_arg_text(c, BOND_MAC);
    sim_pif_device_new(p, host, "bond", device);
    struct sim_object *const master = sim_pif_create(p, device, net, host, *mac ? mac : sim_text(primary, "MAC"));
    struct sim_object *const bond = master ? sim_create(p, "Bond") : NULL;
    if (!bond)
        return sim_no_memory(c);
    sim_pif_metrics_create(p, master);
    sim_put(p, master, "properties", *sim_get(primary, "properties"));
    sim_put_bool(p, master, "currently_attached", true);
    sim_put_text(p, bond, "master", master->ref);
    sim_put_text(p, bond, "primary_slave", primary->ref);
    sim_put(p, bond, "mode", c->args[BOND_MODE]);
    sim_put(p, bond, "properties", c->args[PROPERTIES]);
    sim_put_int(p, bond, "links_up", (int64_t)refs->count);
    sim_put_bool(p, bond, "auto_update_mac", *mac == '\0');
    properties_complete(p, bond);
    configuration_move(p, primary, master);
    for (size_t i = 0; i < refs->count; i++) {
        struct sim_object *const member = sim_find(p, xapi_value_text(&refs->items[i]), NULL);
        traffic_move(p, member, master);
        if (sim_bool(member, "disallow_unplug")) {
            sim_put_bool(p, master, "disallow_unplug", true);
            sim_put_bool(p, member, "disallow_unplug", false);
        }
        sim_put_text(p, member, "bond_slave_of", bond->ref);
        sim_put_bool(p, member, "currently_attached", false);
    }
    return sim_done_ref(c, bond);
}

static enum sim_outcome bond_create(struct sim_call *c)
{
    const struct simpool *const p = c->pool;
    const struct sim_object *const net = sim_arg(c, BOND_NETWORK);
    const struct xapi_value *const properties = &c->args[PROPERTIES];
    const char *const mac = sim_arg_text(c, BOND_MAC);
    struct sim_object *primary;
    struct sim_why why;

    if (!net)
        return SIM_FAILED;
    if (!can_bond(c, &primary, &why) || !sim_network_is_free(p, net, sim_text(primary, "host"), &why))
        return sim_refuse(c, &why);
    if (*mac && !sim_mac_is_valid(mac))
        return sim_fail(c, "MAC_INVALID", mac, NULL);
    for (size_t i = 0; i < properties->count; i++)
        if (!property_fits(sim_arg_text(c, BOND_MODE), properties->items[2 * i].text,
                           xapi_value_text(&properties->items[2 * i + 1]), &why))
            return sim_refuse(c, &why);
    return sim_work(c, BOND_NS, bond_create_end, NULL, NULL, false);
}

static enum sim_outcome bond_destroy(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const bond = sim_arg(c, 0), *const master = bond ? sim_follow(p, bond, "master") : NULL, *slave;
    size_t at = 0;

    if (!bond)
        return SIM_FAILED;
    struct sim_object *primary = sim_follow(p, bond, "primary_slave");
    if (!primary)
        primary = sim_member(p, bond, "slaves", &at);
    if (!master || !primary) {
        sim_delete(p, bond);
        return SIM_DONE;
    }
    if (sim_bool(sim_pool_object(p), "ha_enabled") && sim_bool(master, "management"))
        return sim_fail(c, "HA_CANNOT_CHANGE_BOND_STATUS_OF_MGMT_IFACE", NULL);
    const bool plugged = sim_bool(master, "currently_attached");
    configuration_move(p, master, primary);
    traffic_move(p, master, primary);
    if (sim_bool(master, "disallow_unplug"))
        sim_put_bool(p, primary, "disallow_unplug", true);
    for (at = 0; (slave = sim_member(p, bond, "slaves", &at)) && p->error == 0; at = 0) {
        sim_put_text(p, slave, "bond_slave_of", SIM_NULL);
        sim_put_bool(p, slave, "currently_attached", plugged);
    }
    sim_delete(p, bond);
    sim_pif_destroy(p, master, true);
    return SIM_DONE;
}

static enum sim_outcome bond_set_mode(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const bond = sim_arg(c, 0);
    const char *const mode = sim_arg_text(c, 1);

    if (!bond)
        return SIM_FAILED;
    sim_put_text(p, bond, "mode", mode);
    for (size_t i = 0; i < sim_get(bond, "properties")->count;) {
        const struct xapi_value *const pair = &sim_get(bond, "properties")->items[2 * i];
        char key[64];
        snprintf(key, sizeof(key), "%.63s", pair[0].text);
        if (property_fits(mode, pair[0].text, xapi_value_text(&pair[1]), NULL) || strlen(pair[0].text) >= sizeof(key))
            i++;
        else
            sim_put_pair(p, bond, "properties", key, NULL);
    }
    properties_complete(p, bond);
    return SIM_DONE;
}

static enum sim_outcome bond_set_property(struct sim_call *c)
{
    struct sim_object *const bond = sim_arg(c, 0);
    struct sim_why why;

    if (!bond)
        return SIM_FAILED;
    if (!property_fits(sim_text(bond, "mode"), sim_arg_text(c, 1), sim_arg_text(c, 2), &why))
        return sim_refuse(c, &why);
    sim_put_pair(c->pool, bond, "properties", sim_arg_text(c, 1), sim_arg_text(c, 2));
    return SIM_DONE;
}

const struct sim_row sim_bond_rows[] = {
    {"Bond.create", bond_create},
    {"Bond.destroy", bond_destroy},
    {"Bond.set_mode", bond_set_mode},
    {"Bond.set_property", bond_set_property},
    {NULL, NULL},
};
