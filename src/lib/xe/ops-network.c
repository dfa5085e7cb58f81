/* Networks: VIFs, VLANs, tunnels. */
#include "lib/xe/inner.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>

/* A locally administered address of one host. */
static const char *random_mac(struct xe *x)
{
    unsigned char b[6];

    if (RAND_bytes(b, sizeof(b)) != 1) {
        xe_fail_memory(x);
        return "";
    }
    b[0] = (unsigned char)((b[0] | 2) & ~1);
    const char *const text =
        xk_arena_printf(&x->arena, "%02x:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3], b[4], b[5]);
    return text ? text : "";
}

static void vif_create(struct xe *x)
{
    const char *const mac = xe_param_or(x, "mac", "");
    const char *const address = strcmp(mac, "random") == 0 ? random_mac(x) : mac;
    const char *const vm = xe_param_ref(x, "VM", "vm-uuid");
    const char *const network = xe_param_ref(x, "network", "network-uuid");
    const struct xapi_value mtu = xe_get(x, "network.get_MTU", network);
    const struct xapi_value pairs[] = {
        xapi_str("device"),
        xapi_str(xe_required(x, "device")),
        xapi_str("network"),
        xapi_str(network),
        xapi_str("VM"),
        xapi_str(vm),
        xapi_str("MAC"),
        xapi_str(address),
        xapi_str("MTU"),
        xapi_int(xe_value_int(&mtu)),
        xapi_str("other_config"),
        xapi_map(NULL, 0),
        xapi_str("currently_attached"),
        xapi_bool(false),
        xapi_str("qos_algorithm_type"),
        xapi_str(""),
        xapi_str("qos_algorithm_params"),
        xapi_map(NULL, 0),
        xapi_str("locking_mode"),
        xapi_str("network_default"),
        xapi_str("ipv4_allowed"),
        xapi_list(NULL, 0),
        xapi_str("ipv6_allowed"),
        xapi_list(NULL, 0),
        xapi_str("trunks"),
        xapi_list(NULL, 0),
    };
    const struct xapi_value vif = xe_do(x, "VIF.create", xapi_map(pairs, XK_COUNT(pairs) / 2));

    xe_list_one(x, xe_uuid_of(x, "VIF", xe_value_text(x, &vif)));
}

static void configure(struct xe *x, const char *method)
{
    const char *const vif = xe_param_ref(x, "VIF", "uuid");
    const struct xapi_message *const m = xapi_message_find(method);
    const char *const mode =
        m ? xe_enum_value(x, xapi_type_of(xapi_params[m->first_param + 1].type)->of, xe_required(x, "mode")) : "";
    const char *const address = xe_param_or(x, "address", "");

    if (strcmp(mode, "Static") == 0 && !*address)
        xe_fail(x, "Required parameter not found: address");
    (void)xe_do(x, method, xapi_str(vif), xapi_str(mode), xapi_str(address), xapi_str(xe_param_or(x, "gateway", "")));
}

static void vif_configure_ipv4(struct xe *x)
{
    configure(x, "VIF.configure_ipv4");
}

static void vif_configure_ipv6(struct xe *x)
{
    configure(x, "VIF.configure_ipv6");
}

static int64_t vlan_number(struct xe *x)
{
    int64_t number = 0;

    if (!xe_number(&number, xe_required(x, "vlan")))
        xe_fail(x, "Failed to parse parameter 'vlan': expecting an integer");
    return number;
}

static void vlan_create(struct xe *x)
{
    const struct xapi_value network = xapi_str(xe_param_ref(x, "network", "network-uuid"));
    const struct xapi_value pif = xapi_str(xe_param_ref(x, "PIF", "pif-uuid"));
    const struct xapi_value vlan = xe_do(x, "VLAN.create", pif, xapi_int(vlan_number(x)), network);

    xe_list_one(x, xe_uuid_of(x, "PIF", xe_get_text(x, "VLAN.get_untagged_PIF", xe_value_text(x, &vlan))));
}

static void pool_vlan_create(struct xe *x)
{
    const struct xapi_value network = xapi_str(xe_param_ref(x, "network", "network-uuid"));
    const struct xapi_value pif = xapi_str(xe_param_ref(x, "PIF", "pif-uuid"));
    const struct xapi_value pifs = xe_do(x, "pool.create_VLAN_from_PIF", pif, network, xapi_int(vlan_number(x)));
    const char **const uuids = xk_arena_alloc(&x->arena, (pifs.count + 1) * sizeof(*uuids));

    if (!uuids)
        return xe_fail_memory(x);
    for (uint32_t i = 0; i < pifs.count; i++)
        uuids[i] = xe_uuid_of(x, "PIF", xe_item(&pifs, i));
    xe_list(x, uuids, pifs.count);
}

/* The uuid of a VLAN; for old scripts also that of its PIF. */
static void vlan_destroy(struct xe *x)
{
    const char *const uuid = xe_required(x, "uuid");

    (void)xe_get(x, "VLAN.destroy", xe_by_uuid(x, "VLAN", uuid));
    if (xe_fine(x) || xe_failed_with(x, "HANDLE_INVALID") || xe_failed_with(x, "HOST_OFFLINE"))
        return;
    const struct xapi_value server = x->server;
    if (!xe_forgive(x))
        return;
    const char *const pif = xe_by_uuid(x, "PIF", uuid);
    if (!xe_forgive(x)) {
        (void)xe_get(x, "PIF.destroy", pif);
        return;
    }
    x->failure = XE_SERVER;
    x->server = server;
}

static void tunnel_create(struct xe *x)
{
    const struct xapi_value network = xapi_str(xe_param_ref(x, "network", "network-uuid"));
    const struct xapi_value pif = xapi_str(xe_param_ref(x, "PIF", "pif-uuid"));
    const struct xapi_message *const m = xapi_message_find("tunnel.create");
    const struct xapi_type *const type = m && m->params > 2 ? xapi_type_of(xapi_params[m->first_param + 2].type) : NULL;
    const char *const word = xe_param_or(x, "protocol", "gre");
    const struct xapi_value protocol =
        xapi_str(type && type->kind == XAPI_ENUM ? xe_enum_value(x, type->of, word) : word);
    const struct xapi_value tunnel = xe_do(x, "tunnel.create", pif, network, protocol);

    xe_list_one(x, xe_uuid_of(x, "PIF", xe_get_text(x, "tunnel.get_access_PIF", xe_value_text(x, &tunnel))));
}

static void sdn_controller_introduce(struct xe *x)
{
    const struct xapi_message *const m = xapi_message_find("SDN_controller.introduce");
    const char *const word = xe_param(x, "protocol");
    int64_t port = 0;

    if (xe_param(x, "tcp-port") && !xe_number(&port, xe_param(x, "tcp-port")))
        xe_fail(x, "port field should be an integer");
    const char *const protocol =
        word && m ? xe_enum_value(x, xapi_type_of(xapi_params[m->first_param].type)->of, word) : "ssl";
    const struct xapi_value made = xe_do(x, "SDN_controller.introduce", xapi_str(protocol),
                                         xapi_str(xe_param_or(x, "address", "")), xapi_int(port));
    xe_list_one(x, xe_uuid_of(x, "SDN_controller", xe_value_text(x, &made)));
}

const struct xe_row xe_network_rows[] = {
    {"vif-create", vif_create},
    {"vif-configure-ipv4", vif_configure_ipv4},
    {"vif-configure-ipv6", vif_configure_ipv6},
    {"vlan-create", vlan_create},
    {"pool-vlan-create", pool_vlan_create},
    {"vlan-destroy", vlan_destroy},
    {"tunnel-create", tunnel_create},
    {"sdn-controller-introduce", sdn_controller_introduce},
    {NULL, NULL},
};
