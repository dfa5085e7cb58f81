/*
 * Interfaces of hosts: cards, up and down, addresses. What stands on them is in bond.c and overlay.c.
 *
 * Which cards a simulated host has is fixed: CARDS of them, eth0 and up, with addresses that follow from the host's
 * number. A forgotten one is found again by PIF.scan. Nothing of the host's real networking is touched.
 */
#include "lib/simpool/pif.h"

#include <arpa/inet.h>

#define CARDS     2
#define NAMES_MAX 4096 /* numbers that are tried for bond0, bond1 … */

/* ---- cards ---- */

static int host_number(const struct simpool *p, const char *host)
{
    for (unsigned i = 0; i < p->settings.hosts; i++)
        if (sim_same(p->host_refs[i], host))
            return (int)i;
    return -1;
}

void sim_card_mac(unsigned host, unsigned card, char ret[24])
{
    snprintf(ret, 24, "02:00:00:00:%02x:%02x", card & 255, (host + 1) & 255);
}

/* Whether the host has that card. */
static bool has_card(const struct simpool *p, const char *host, const char *device, char ret_mac[24])
{
    const int number = host_number(p, host);
    char name[16];

    for (unsigned i = 0; number >= 0 && i < CARDS; i++) {
        snprintf(name, sizeof(name), "eth%u", i);
        sim_card_mac((unsigned)number, i, ret_mac);
        if (sim_same(name, device))
            return true;
    }
    return false;
}

struct sim_object *sim_pif_on(const struct simpool *p, const struct sim_object *network, const char *host)
{
    struct sim_object *pif;

    for (size_t at = 0; (pif = sim_member(p, network, "PIFs", &at));)
        if (sim_is(pif, "host", host))
            return pif;
    return NULL;
}

struct sim_object *sim_pif_of_device(const struct simpool *p, const struct sim_object *host, const char *device)
{
    struct sim_object *pif;

    for (size_t at = 0; (pif = sim_member(p, host, "PIFs", &at));)
        if (sim_is(pif, "device", device) && sim_int(pif, "VLAN") < 0)
            return pif;
    return NULL;
}

/* ---- records ---- */

struct sim_object *sim_pif_create(struct simpool *p, const char *device, const struct sim_object *network,
                                  const char *host, const char *mac)
{
    struct sim_object *const pif = sim_create(p, "PIF");

    if (!pif)
        return NULL;
    sim_put_text(p, pif, "device", device);
    sim_put_text(p, pif, "device_name", device);
    sim_put_text(p, pif, "network", network->ref);
    sim_put_text(p, pif, "host", host);
    sim_put_text(p, pif, "MAC", mac);
    sim_put_int(p, pif, "MTU", 1500);
    sim_put_int(p, pif, "VLAN", -1);
    sim_put_bool(p, pif, "physical", false);
    sim_put_bool(p, pif, "managed", true);
    sim_put_bool(p, pif, "currently_attached", false);
    return pif;
}

void sim_pif_metrics_create(struct simpool *p, struct sim_object *pif)
{
    struct sim_object *const metrics = sim_create(p, "PIF_metrics");

    if (!metrics)
        return;
    sim_put_text(p, pif, "metrics", metrics->ref);
    sim_put_bool(p, metrics, "carrier", true);
    sim_put_bool(p, metrics, "duplex", true);
    sim_put_int(p, metrics, "speed", 10000);
    sim_put_text(p, metrics, "device_id", "10fb");
    sim_put_time(p, metrics, "last_updated", sim_now_s(p));
}

static struct sim_object *network_of_bridge(struct simpool *p, const char *device)
{
    char bridge[24], name[64];

    snprintf(bridge, sizeof(bridge), "xenbr%.8s", device + strlen("eth"));
    for (struct sim_object *net = sim_first(p, "network"); net; net = net->class_next)
        if (sim_is(net, "bridge", bridge))
            return net;
    struct sim_object *const net = sim_create(p, "network");
    if (!net)
        return NULL;
    snprintf(name, sizeof(name), "Pool-wide network associated with %.16s", device);
    sim_put_text(p, net, "name_label", name);
    sim_put_text(p, net, "bridge", bridge);
    sim_put_int(p, net, "MTU", 1500);
    sim_put_bool(p, net, "managed", true);
    sim_put_text(p, net, "default_locking_mode", "unlocked");
    return net;
}

struct sim_object *sim_card_introduce(struct simpool *p, const char *host, const char *device, const char *mac,
                                      bool managed)
{
    const struct sim_object *const net = network_of_bridge(p, device);
    struct sim_object *const pif = net ? sim_pif_create(p, device, net, host, mac) : NULL;

    if (!pif)
        return NULL;
    sim_put_bool(p, pif, "physical", true);
    sim_put_bool(p, pif, "managed", managed);
    sim_put_map(p, pif, "properties", (const char *const[]){"gro", "on", NULL});
    sim_pif_metrics_create(p, pif);
    return pif;
}

/* ---- questions ---- */

bool sim_pif_is_managed(const struct sim_object *pif, struct sim_why *why)
{
    return sim_bool(pif, "managed") || sim_deny(why, "PIF_UNMANAGED", pif->ref, NULL);
}

bool sim_pif_is_unprotected(const struct simpool *p, const struct sim_object *pif, struct sim_why *why)
{
    const struct sim_object *const pool = sim_pool_object(p);

    if (!sim_bool(pif, "currently_attached"))
        return true;
    if (sim_bool(pool, "ha_enabled"))
        return sim_deny(why, "HA_IS_ENABLED", NULL);
    return !sim_bool(pool, "redo_log_enabled") || sim_deny(why, "REDO_LOG_IS_ENABLED", NULL);
}

static bool is_not_management(const struct sim_object *pif, struct sim_why *why)
{
    return !sim_bool(pif, "management") || sim_deny(why, "PIF_IS_MANAGEMENT_INTERFACE", pif->ref, NULL);
}

static bool is_alone(const struct simpool *p, const struct sim_object *pif, struct sim_why *why)
{
    if (sim_follow(p, pif, "bond_slave_of") || sim_get(pif, "bond_master_of")->count)
        return sim_deny(why, "PIF_ALREADY_BONDED", pif->ref, NULL);
    if (sim_get(pif, "VLAN_slave_of")->count || sim_int(pif, "VLAN") >= 0)
        return sim_deny(why, "PIF_VLAN_STILL_EXISTS", pif->ref, NULL);
    if (sim_get(pif, "tunnel_transport_PIF_of")->count || sim_get(pif, "tunnel_access_PIF_of")->count)
        return sim_deny(why, "PIF_TUNNEL_STILL_EXISTS", pif->ref, NULL);
    return true;
}

bool sim_network_is_free(const struct simpool *p, const struct sim_object *net, const char *host, struct sim_why *why)
{
    const struct sim_object *pif;

    if (!sim_bool(net, "managed"))
        return sim_deny(why, "NETWORK_UNMANAGED", net->ref, NULL);
    for (size_t at = 0; (pif = sim_member(p, net, "PIFs", &at));)
        if (sim_is(pif, "host", host))
            return sim_deny(why, "NETWORK_ALREADY_CONNECTED", host, pif->ref, NULL);
    return true;
}

/* A running machine of that host on that network. */
static bool has_no_vif(const struct simpool *p, const struct sim_object *net, const char *host, struct sim_why *why)
{
    const struct sim_object *vif;

    for (size_t at = 0; net && (vif = sim_member(p, net, "VIFs", &at));) {
        const struct sim_object *const vm = sim_follow(p, vif, "VM");
        if (vm && sim_bool(vif, "currently_attached") && sim_is(vm, "resident_on", host) && sim_vm_is_live(vm))
            return sim_deny(why, "VIF_IN_USE", net->ref, vif->ref, NULL);
    }
    return true;
}

/* ---- cards: messages ---- */

static enum sim_outcome scan(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    const struct sim_object *const host = sim_arg(c, 0);
    char device[16], mac[24];

    if (!host)
        return SIM_FAILED;
    for (unsigned i = 0; i < CARDS; i++) {
        snprintf(device, sizeof(device), "eth%u", i);
        if (has_card(p, host->ref, device, mac) && !sim_pif_of_device(p, host, device) &&
            !sim_card_introduce(p, host->ref, device, mac, true))
            return sim_no_memory(c);
    }
    return SIM_DONE;
}

static enum sim_outcome introduce(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    const struct sim_object *const host = sim_arg(c, 0);
    const char *mac = sim_arg_text(c, 1), *const device = sim_arg_text(c, 2);
    char own[24] = "", lower[24];

    if (!host)
        return SIM_FAILED;
    const bool there = has_card(p, host->ref, device, own);
    if (*mac == '\0')
        mac = there ? own : "";
    if (!sim_mac_is_valid(mac))
        return sim_fail(c, "MAC_INVALID", mac, NULL);
    for (size_t i = 0; i < sizeof(lower); i++) {
        lower[i] = mac[i] >= 'A' && mac[i] <= 'F' ? (char)(mac[i] | 0x20) : mac[i];
        if (lower[i] == '\0')
            break;
    }
    if (sim_pif_of_device(p, host, device))
        return sim_fail(c, "DUPLICATE_PIF_DEVICE_NAME", device, NULL);
    if (!there || !sim_same(lower, own))
        return sim_fail(c, "COULD_NOT_FIND_NETWORK_INTERFACE_WITH_SPECIFIED_DEVICE_NAME_AND_MAC_ADDRESS", device, lower,
                        NULL);
    return sim_done_ref(c, sim_card_introduce(p, host->ref, device, own, c->args[3].truth));
}

void sim_pif_destroy(struct simpool *p, struct sim_object *pif, bool with_metrics)
{
    struct sim_object *const metrics = with_metrics ? sim_follow(p, pif, "metrics") : NULL;

    sim_delete(p, pif);
    if (metrics)
        sim_delete(p, metrics);
}

static enum sim_outcome forget(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const pif = sim_arg(c, 0);
    struct sim_why why;

    if (!pif)
        return SIM_FAILED;
    if (!is_not_management(pif, &why) || !is_alone(p, pif, &why) || !sim_pif_is_unprotected(p, pif, &why))
        return sim_refuse(c, &why);
    sim_pif_destroy(p, pif, true);
    return SIM_DONE;
}

static enum sim_outcome db_forget(struct sim_call *c)
{
    struct sim_object *const pif = sim_arg(c, 0);

    if (!pif)
        return SIM_FAILED;
    sim_delete(c->pool, pif);
    return SIM_DONE;
}

/* All as the caller says, the record alone. */
static enum sim_outcome pool_introduce(struct sim_call *c)
{
    static const char *const fields[] = {"device",
                                         "network",
                                         "host",
                                         "MAC",
                                         "MTU",
                                         "VLAN",
                                         "physical",
                                         "ip_configuration_mode",
                                         "IP",
                                         "netmask",
                                         "gateway",
                                         "DNS",
                                         NULL, /* bond_slave_of is not looked at */
                                         "VLAN_master_of",
                                         "management",
                                         "other_config",
                                         "disallow_unplug",
                                         "ipv6_configuration_mode",
                                         "IPv6",
                                         "ipv6_gateway",
                                         "primary_address_type",
                                         "managed",
                                         "properties"};
    struct simpool *const p = c->pool;

    if (!sim_arg(c, 1) || !sim_arg(c, 2))
        return SIM_FAILED;
    struct sim_object *const pif = sim_create(p, "PIF");
    if (!pif)
        return sim_no_memory(c);
    for (unsigned i = 0; i < XK_COUNT(fields) && i < c->message->params; i++)
        if (fields[i])
            sim_put(p, pif, fields[i], c->args[i]);
    sim_put_text(p, pif, "device_name", sim_arg_text(c, 0));
    sim_put_bool(p, pif, "currently_attached", false);
    sim_pif_metrics_create(p, pif);
    return sim_done_ref(c, pif);
}

/* ---- up and down ---- */

bool sim_pif_can_plug(const struct simpool *p, const struct sim_object *pif, struct sim_why *why)
{
    size_t at = 0;
    const struct sim_object *const tunnel = sim_member(p, pif, "tunnel_access_PIF_of", &at);
    const struct sim_object *const transport = tunnel ? sim_follow(p, tunnel, "transport_PIF") : NULL;

    if (!sim_pif_is_managed(pif, why))
        return false;
    if (transport && sim_is(transport, "ip_configuration_mode", "None"))
        return sim_deny(why, "TRANSPORT_PIF_NOT_CONFIGURED", transport->ref, NULL);
    if (sim_follow(p, pif, "bond_slave_of"))
        return sim_deny(why, "CANNOT_PLUG_BOND_SLAVE", pif->ref, NULL);
    return true;
}

void sim_pif_plug(struct simpool *p, struct sim_object *pif)
{
    size_t at = 0;
    struct sim_object *const tunnel = sim_member(p, pif, "tunnel_access_PIF_of", &at);
    struct sim_object *const transport = tunnel ? sim_follow(p, tunnel, "transport_PIF") : NULL;

    if (transport)
        sim_put_bool(p, transport, "currently_attached", true);
    if (tunnel)
        sim_put_pair(p, tunnel, "status", "active", "true");
    sim_put_bool(p, pif, "currently_attached", true);
}

static enum sim_outcome plug(struct sim_call *c)
{
    struct sim_object *const pif = sim_arg(c, 0);
    struct sim_why why;

    if (!pif)
        return SIM_FAILED;
    if (!sim_pif_can_plug(c->pool, pif, &why))
        return sim_refuse(c, &why);
    sim_pif_plug(c->pool, pif);
    return SIM_DONE;
}

bool sim_pif_can_unplug(const struct simpool *p, const struct sim_object *pif, struct sim_why *why)
{
    if (!sim_pif_is_managed(pif, why) || !sim_pif_is_unprotected(p, pif, why) || !is_not_management(pif, why) ||
        !has_no_vif(p, sim_follow(p, pif, "network"), sim_text(pif, "host"), why))
        return false;
    return !sim_bool(pif, "disallow_unplug") || sim_deny(why, "PIF_DOES_NOT_ALLOW_UNPLUG", pif->ref, NULL);
}

static void unplug_now(struct simpool *p, struct sim_object *pif)
{
    struct sim_object *tunnel;

    for (size_t at = 0; (tunnel = sim_member(p, pif, "tunnel_transport_PIF_of", &at));) {
        struct sim_object *const access = sim_follow(p, tunnel, "access_PIF");
        sim_put_pair(p, tunnel, "status", "active", "false");
        if (access)
            sim_put_bool(p, access, "currently_attached", false);
    }
    sim_put_bool(p, pif, "currently_attached", false);
}

static enum sim_outcome unplug(struct sim_call *c)
{
    struct sim_object *const pif = sim_arg(c, 0);
    struct sim_why why;

    if (!pif)
        return SIM_FAILED;
    if (!sim_pif_can_unplug(c->pool, pif, &why))
        return sim_refuse(c, &why);
    unplug_now(c->pool, pif);
    return SIM_DONE;
}

/* ---- addresses ---- */

static bool is_ip(int family, const char *text)
{
    uint8_t bytes[16];

    return inet_pton(family, text, bytes) == 1;
}

struct resolve_words sim_pif_address(const struct sim_object *pif)
{
    const struct xapi_value *const list = sim_get(pif, "IPv6");
    struct resolve_words w = {.s = ""};

    if (!sim_is(pif, "primary_address_type", "IPv6")) {
        snprintf(w.s, sizeof(w.s), "%s", sim_text(pif, "IP"));
        return w;
    }
    for (size_t i = 0; i < list->count && !*w.s; i++) {
        const char *const text = xapi_value_text(&list->items[i]);
        snprintf(w.s, sizeof(w.s), "%.*s", (int)XK_MIN(strcspn(text, "/"), sizeof(w.s) - 1), text);
    }
    return w;
}

/* Of a list of name servers, those of the one family from `added`, those of the other from what was there. */
static void put_dns(struct simpool *p, struct sim_object *pif, int family, const char *added)
{
    char text[1024] = "";
    size_t len = 0;

    for (int turn = 0; turn < 2; turn++) {
        const char *at = turn ? sim_text(pif, "DNS") : added;
        const int wanted = turn == 0 ? family : family == AF_INET ? AF_INET6 : AF_INET;
        while (*at) {
            char word[64];
            const size_t next = strcspn(at, ",");
            snprintf(word, sizeof(word), "%.*s", (int)XK_MIN(next, sizeof(word) - 1), at);
            if (is_ip(wanted, word) && len + strlen(word) + 2 < sizeof(text))
                len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s", len ? "," : "", word);
            at += next + (at[next] == ',');
        }
    }
    sim_put_text(p, pif, "DNS", text);
}

static bool can_configure(const struct simpool *p, const struct sim_object *pif, const char *mode, const char *type,
                          bool same, struct sim_why *why)
{
    if (!sim_pif_is_managed(pif, why) || (!same && !sim_pif_is_unprotected(p, pif, why)))
        return false;
    if (sim_bool(pif, "management") && sim_same(mode, "None") && sim_is(pif, "primary_address_type", type))
        return sim_deny(why, "PIF_IS_MANAGEMENT_INTERFACE", pif->ref, NULL);
    return true;
}

/* Parameters of reconfigure_ip. */
enum { PIF, MODE, IP, NETMASK, GATEWAY, DNS };

static enum sim_outcome reconfigure_ip(struct sim_call *c)
{
    static const char *const names[] = {[IP] = "IP", [NETMASK] = "netmask", [GATEWAY] = "gateway"};
    struct simpool *const p = c->pool;
    struct sim_object *const pif = sim_arg(c, PIF);
    const char *const mode = sim_arg_text(c, MODE);
    bool same = sim_same(mode, "Static") && pif && sim_is(pif, "ip_configuration_mode", mode);
    struct sim_why why;

    if (!pif)
        return SIM_FAILED;
    for (unsigned i = IP; i <= GATEWAY; i++)
        same &= sim_is(pif, names[i], sim_arg_text(c, i));
    if (!sim_pif_is_managed(pif, &why))
        return sim_refuse(c, &why);
    for (unsigned i = IP; i <= GATEWAY; i++) {
        const bool needed = sim_same(mode, "Static") && i != GATEWAY;
        if ((needed || *sim_arg_text(c, i)) && !is_ip(AF_INET, sim_arg_text(c, i)))
            return sim_fail(c, "INVALID_IP_ADDRESS_SPECIFIED", names[i], NULL);
    }
    if (!can_configure(p, pif, mode, "IPv4", same, &why))
        return sim_refuse(c, &why);
    sim_put_text(p, pif, "ip_configuration_mode", mode);
    for (unsigned i = IP; i <= GATEWAY; i++)
        sim_put_text(p, pif, names[i], sim_arg_text(c, i));
    put_dns(p, pif, AF_INET, sim_arg_text(c, DNS));
    if (sim_same(mode, "DHCP") && sim_bool(pif, "currently_attached")) { /* whoever asks is given one */
        char address[32];
        snprintf(address, sizeof(address), "198.51.100.%u", 10 + (unsigned)(p->generation % 200));
        sim_put_text(p, pif, "IP", address);
        sim_put_text(p, pif, "netmask", "255.255.255.0");
        sim_put_text(p, pif, "gateway", "198.51.100.1");
    }
    return SIM_DONE;
}

static enum sim_outcome reconfigure_ipv6(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const pif = sim_arg(c, 0);
    const char *const mode = sim_arg_text(c, 1), *const address = sim_arg_text(c, 2),
                      *const gateway = sim_arg_text(c, 3);
    const char *const slash = strchr(address, '/');
    char bare[64];
    int64_t bits;
    struct sim_why why;

    if (!pif)
        return SIM_FAILED;
    const bool same = sim_same(mode, "Static") && sim_is(pif, "ipv6_configuration_mode", mode) &&
                      xapi_list_has(sim_get(pif, "IPv6"), address) && sim_is(pif, "ipv6_gateway", gateway);
    if (!sim_pif_is_managed(pif, &why))
        return sim_refuse(c, &why);
    if (*gateway && !is_ip(AF_INET6, gateway))
        return sim_fail(c, "INVALID_IP_ADDRESS_SPECIFIED", "gateway", NULL);
    snprintf(bare, sizeof(bare), "%.*s", slash ? (int)XK_MIN(slash - address, 63) : 0, address);
    if (*address && (!is_ip(AF_INET6, bare) || xk_parse_i64(&bits, slash + 1) < 0 || bits < 0 || bits > 128))
        return sim_fail(c, "INVALID_CIDR_ADDRESS_SPECIFIED", "IPv6", NULL);
    if (!can_configure(p, pif, mode, "IPv6", same, &why))
        return sim_refuse(c, &why);
    sim_put_text(p, pif, "ipv6_configuration_mode", mode);
    sim_put_text(p, pif, "ipv6_gateway", gateway);
    sim_put_list(p, pif, "IPv6", (const char *const[]){address, NULL});
    put_dns(p, pif, AF_INET6, sim_arg_text(c, 4));
    return SIM_DONE;
}

static enum sim_outcome set_primary_address_type(struct sim_call *c)
{
    struct sim_object *const pif = sim_arg(c, 0);
    struct sim_why why;

    if (!pif)
        return SIM_FAILED;
    if (!sim_pif_is_unprotected(c->pool, pif, &why) || !is_not_management(pif, &why))
        return sim_refuse(c, &why);
    sim_put(c->pool, pif, "primary_address_type", c->args[1]);
    return SIM_DONE;
}

static enum sim_outcome set_property(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const pif = sim_arg(c, 0), *slave;
    const char *const name = sim_arg_text(c, 1), *const value = sim_arg_text(c, 2);
    size_t at = 0;

    if (!pif)
        return SIM_FAILED;
    if (!sim_same(name, "gro") || (!sim_same(value, "on") && !sim_same(value, "off")))
        return sim_invalid(c, "properties", xk_arena_printf(&c->arena, "%s = %s", name, value));
    const struct sim_object *const bond = sim_member(p, pif, "bond_master_of", &at);
    if ((!bond && !sim_bool(pif, "physical")) || sim_follow(p, pif, "bond_slave_of"))
        return sim_fail(c, "CANNOT_CHANGE_PIF_PROPERTIES", pif->ref, NULL);
    sim_put_pair(p, pif, "properties", name, value);
    for (at = 0; bond && (slave = sim_member(p, bond, "slaves", &at));)
        sim_put_pair(p, slave, "properties", name, value);
    return SIM_DONE;
}

/* The lowest number that no device of the host has. */
void sim_pif_device_new(const struct simpool *p, const char *host, const char *stem, char ret[24])
{
    for (unsigned n = 0; n < NAMES_MAX; n++) {
        bool used = false;
        snprintf(ret, 24, "%.12s%u", stem, n);
        for (const struct sim_object *pif = sim_first(p, "PIF"); pif && !used; pif = pif->class_next)
            used = sim_is(pif, "host", host) && sim_is(pif, "device", ret);
        if (!used)
            return;
    }
}

const struct sim_row sim_pif_rows[] = {
    {"PIF.scan", scan},
    {"PIF.introduce", introduce},
    {"PIF.pool_introduce", pool_introduce},
    {"PIF.db_introduce", pool_introduce},
    {"PIF.forget", forget},
    {"PIF.db_forget", db_forget},
    {"PIF.plug", plug},
    {"PIF.unplug", unplug},
    {"PIF.reconfigure_ip", reconfigure_ip},
    {"PIF.reconfigure_ipv6", reconfigure_ipv6},
    {"PIF.set_primary_address_type", set_primary_address_type},
    {"PIF.set_property", set_property},
    {NULL, NULL},
};
