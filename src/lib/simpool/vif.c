/* Network interfaces of machines. */
#include "lib/simpool/ops.h"

#include <arpa/inet.h>

#define DEVICE_MAX   255 /* number of a device */
#define OFFERED_MAX  16  /* numbers that get_allowed_VIF_devices names */
#define VLAN_TAG_MAX 4094

/* ---- may it? ---- */

/* In the order of the enum vif_operations. */
enum { ATTACH = 1, PLUG = 2, UNPLUG = 4 };
static const char *const names[] = {"attach", "plug", "unplug"};
enum { ALL = 7 };

static void ask_current(struct sim_question *q, const struct sim_object *vif)
{
    const struct xapi_value *const now = sim_get(vif, "current_operations");

    if (!now->count || !sim_question_first(q, ALL) || !q->why)
        return;
    snprintf(q->why->text[0], SIM_WHY_BYTES, "{%s}", xapi_value_text(&now->items[1]));
    snprintf(q->why->text[1], SIM_WHY_BYTES, "{%s}", xapi_value_text(&now->items[0]));
    (void)sim_deny(q->why, "OTHER_OPERATION_IN_PROGRESS", "VIF", vif->ref, q->why->text[0], q->why->text[1], NULL);
}

static bool is_sriov(const struct simpool *p, const struct sim_object *network)
{
    const struct sim_object *pif;

    for (size_t at = 0; network && (pif = sim_member(p, network, "PIFs", &at));)
        if (sim_get(pif, "sriov_logical_PIF_of")->count)
            return true;
    return false;
}

static void ask(const struct simpool *p, const struct sim_object *vif, struct sim_question *q)
{
    const struct sim_object *const vm = sim_follow(p, vif, "VM");
    char local[SIM_WHY_BYTES];
    char *const text = q->why ? q->why->text[0] : local;

    q->may = ALL;
    if (!vm) {
        SIM_KEEP(q, ALL, "HANDLE_INVALID", "VM", sim_text(vif, "VM"));
        return;
    }
    const bool plugged = sim_bool(vif, "currently_attached") || sim_bool(vif, "reserved");
    const bool runs = sim_vm_power(vm) == SIM_IS_RUNNING;
    ask_current(q, vif);
    if (sim_vm_is_dom0(vm))
        SIM_KEEP(q, PLUG, "OPERATION_NOT_ALLOWED", "Control domain does not support hotplug");
    if (is_sriov(p, sim_follow(p, vif, "network")))
        SIM_KEEP(q, PLUG | UNPLUG, "OPERATION_NOT_ALLOWED", "Network SR-IOV VIF plug/unplug not allowed");
    if (runs && plugged)
        SIM_KEEP(q, PLUG, "DEVICE_ALREADY_ATTACHED", vif->ref);
    else if (runs)
        SIM_KEEP(q, UNPLUG, "DEVICE_ALREADY_DETACHED", vif->ref);
    else
        SIM_KEEP(q, PLUG | UNPLUG, "VM_BAD_POWER_STATE", vm->ref, "running", sim_vm_power_word(vm));
    if (sim_vm_stops(vm, text))
        SIM_KEEP(q, PLUG | UNPLUG, "OPERATION_NOT_ALLOWED", text);
    if (!runs || (!sim_is(vm, "domain_type", "hvm") && !*sim_text(vm, "HVM_boot_policy")))
        return;
    const char *const code = sim_guest_hotplug(p, vm, "can_use_hotplug_vif");
    if (code && sim_same(code, "OPERATION_NOT_ALLOWED"))
        SIM_KEEP(q, PLUG | UNPLUG, code, "VM states it does not support VIF hotplug.");
    else if (code)
        SIM_KEEP(q, PLUG | UNPLUG, code, vm->ref);
}

bool sim_vif_may(const struct simpool *p, const struct sim_object *vif, const char *op, struct sim_why *why)
{
    struct sim_question q = {.why = why};

    for (unsigned i = 0; i < XK_COUNT(names); i++)
        if (sim_same(names[i], op))
            q.op = 1u << i;
    ask(p, vif, &q);
    return (q.may & q.op) != 0;
}

void sim_vif_allowed(struct simpool *p, struct sim_object *vif)
{
    struct sim_question q = {0};

    ask(p, vif, &q);
    sim_put_allowed(p, vif, q.may);
}

/* ---- making ---- */

static bool is_mac(const char *text)
{
    static const char shape[] = "hh:hh:hh:hh:hh:hh";

    if (strlen(text) != strlen(shape))
        return false;
    for (size_t i = 0; shape[i]; i++)
        if (shape[i] == ':' ? text[i] != ':' : !strchr("0123456789abcdefABCDEF", text[i]))
            return false;
    return true;
}

bool sim_mac_is_valid(const char *text)
{
    return is_mac(text);
}

static bool trunks_fit(const struct simpool *p, const struct sim_object *network, struct sim_why *why)
{
    const struct sim_object *pif;

    for (size_t at = 0; (pif = sim_member(p, network, "PIFs", &at));)
        if (sim_int(pif, "VLAN") >= 0)
            return sim_deny(why, "NETWORK_INCOMPATIBLE_WITH_TRUNKS", network->ref, NULL);
    return true;
}

static bool device_is_free(const struct simpool *p, const struct sim_object *vm, const char *device, int64_t number,
                           struct sim_why *why)
{
    const struct sim_object *vif;
    int64_t used;

    for (size_t at = 0; (vif = sim_member(p, vm, "VIFs", &at));)
        if (xk_parse_i64(&used, sim_text(vif, "device")) == 0 && used == number)
            return sim_deny(why, "DEVICE_ALREADY_EXISTS", device, NULL);
    return true;
}

static enum sim_outcome create(struct sim_call *c)
{
    static const char *const copied[] = {"device",       "MTU",          "other_config", "qos_algorithm_type",
                                         "locking_mode", "ipv4_allowed", "ipv6_allowed", "qos_algorithm_params",
                                         "trunks"};
    struct simpool *const p = c->pool;
    const struct xapi_value *record;
    char mac[24];
    int64_t number;
    struct sim_why why;

    if (!sim_record_arg(c, 0, &record))
        return SIM_FAILED;
    const char *const vm_ref = sim_record_text(record, "VM"), *const net_ref = sim_record_text(record, "network");
    const char *const device = sim_record_text(record, "device"), *given = sim_record_text(record, "MAC");
    const struct sim_object *const vm = sim_find(p, vm_ref, xapi_class_find("VM"));
    const struct sim_object *const network = sim_find(p, net_ref, xapi_class_find("network"));
    if (!vm)
        return sim_bad_handle(c, (uint16_t)xapi_class_index(xapi_class_find("VM")), vm_ref);
    if (!network)
        return sim_bad_handle(c, (uint16_t)xapi_class_index(xapi_class_find("network")), net_ref);
    if (xk_parse_i64(&number, device) < 0 || number < 0 || number > DEVICE_MAX)
        return sim_fail(c, "INVALID_DEVICE", device, NULL);
    const char *const seed = sim_pair(vm, "other_config", "mac_seed");
    const bool made = seed && *given == '\0';
    if (made) {
        sim_mac_of(seed, number, mac);
        given = mac;
    }
    if (!is_mac(given))
        return sim_fail(c, "MAC_INVALID", given, NULL);
    if ((xapi_map_get(record, "trunks")->count && !trunks_fit(p, network, &why)) ||
        !device_is_free(p, vm, device, number, &why))
        return sim_refuse(c, &why);
    struct sim_object *const vif = sim_create(p, "VIF"), *const metrics = vif ? sim_create(p, "VIF_metrics") : NULL;
    if (!metrics)
        return sim_no_memory(c);
    for (size_t i = 0; i < XK_COUNT(copied); i++)
        sim_put(p, vif, copied[i], *xapi_map_get(record, copied[i]));
    sim_put_text(p, vif, "VM", vm_ref);
    sim_put_text(p, vif, "network", net_ref);
    sim_put_text(p, vif, "MAC", given);
    sim_put_bool(p, vif, "MAC_autogenerated", made);
    sim_put_text(p, vif, "metrics", metrics->ref);
    if (sim_vm_power(vm) == SIM_IS_SUSPENDED)
        sim_put(p, vif, "currently_attached", *xapi_map_get(record, "currently_attached"));
    sim_vif_allowed(p, vif);
    return sim_done_ref(c, vif);
}

static enum sim_outcome destroy(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const vif = sim_arg(c, 0), *const vm = vif ? sim_follow(p, vif, "VM") : NULL;

    if (!vif)
        return SIM_FAILED;
    if (vm && sim_vm_power(vm) == SIM_IS_RUNNING && sim_bool(vif, "currently_attached"))
        return sim_fail(c, "OPERATION_NOT_ALLOWED", "VIF currently attached to a running VM", NULL);
    sim_device_delete(p, vif);
    return SIM_DONE;
}

/* ---- plugging ---- */

static enum sim_outcome plug_as(struct sim_call *c, const char *op, bool on)
{
    struct sim_object *const vif = sim_arg(c, 0);
    struct sim_why why;

    if (!vif)
        return SIM_FAILED;
    if (!sim_vif_may(c->pool, vif, op, &why))
        return sim_refuse(c, &why);
    sim_put_bool(c->pool, vif, "currently_attached", on);
    sim_vif_allowed(c->pool, vif);
    return SIM_DONE;
}

static enum sim_outcome plug(struct sim_call *c)
{
    return plug_as(c, "plug", true);
}

static enum sim_outcome unplug(struct sim_call *c)
{
    return plug_as(c, "unplug", false);
}

static bool is_there(const struct simpool *p, const struct sim_object *network, const char *host)
{
    const struct sim_object *pif;

    for (size_t at = 0; (pif = sim_member(p, network, "PIFs", &at));)
        if (sim_is(pif, "host", host))
            return true;
    return sim_get(network, "PIFs")->count == 0;
}

static enum sim_outcome move(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const vif = sim_arg(c, 0);
    const struct sim_object *const network = vif ? sim_arg(c, 1) : NULL, *const vm =
                                                                             vif ? sim_follow(p, vif, "VM") : NULL;
    struct sim_why why;

    if (!network)
        return SIM_FAILED;
    const bool active = vm && sim_bool(vif, "currently_attached") && sim_vm_power(vm) != SIM_IS_SUSPENDED;
    if (active && !is_there(p, network, sim_text(vm, "resident_on")))
        return sim_fail(c, "HOST_CANNOT_ATTACH_NETWORK", sim_text(vm, "resident_on"), network->ref, NULL);
    if (sim_get(vif, "trunks")->count && !trunks_fit(p, network, &why))
        return sim_refuse(c, &why);
    sim_put_text(p, vif, "network", network->ref);
    sim_vif_allowed(p, vif);
    return SIM_DONE;
}

static enum sim_outcome get_allowed_devices(struct sim_call *c)
{
    const struct simpool *const p = c->pool;
    const struct sim_object *const vm = sim_arg(c, 0);
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&c->arena);
    char text[8];

    if (!vm)
        return SIM_FAILED;
    xapi_build_open(&b, XAPI_LIST);
    for (int i = 0; i < OFFERED_MAX; i++) {
        snprintf(text, sizeof(text), "%d", i);
        if (device_is_free(p, vm, text, i, NULL))
            xapi_build_text(&b, text);
    }
    xapi_build_close(&b);
    return xapi_build_end(&b, &c->result) < 0 ? sim_no_memory(c) : SIM_DONE;
}

/* ---- what it may send ---- */

static bool is_address(int family, const char *text)
{
    uint8_t bytes[16];

    return inet_pton(family, text, bytes) == 1;
}

/* "10.0.0.1/24" */
static bool is_cidr(int family, const char *text)
{
    const char *const slash = strchr(text, '/');
    char address[64];
    int64_t bits;

    if (!slash || (size_t)(slash - text) >= sizeof(address))
        return false;
    snprintf(address, sizeof(address), "%.*s", (int)(slash - text), text);
    return is_address(family, address) && xk_parse_i64(&bits, slash + 1) == 0 && bits >= 0 &&
           bits <= (family == AF_INET ? 32 : 128);
}

/* An address, or a whole network of them. */
static bool is_source(int family, const char *text)
{
    return is_address(family, text) || is_cidr(family, text);
}

static enum sim_outcome set_allowed(struct sim_call *c, int family, const char *field)
{
    struct sim_object *const vif = sim_arg(c, 0);

    if (!vif)
        return SIM_FAILED;
    for (size_t i = 0; i < c->args[1].count; i++)
        if (!is_source(family, xapi_value_text(&c->args[1].items[i])))
            return sim_fail(c, "INVALID_IP_ADDRESS_SPECIFIED", field, NULL);
    sim_put(c->pool, vif, field, c->args[1]);
    return SIM_DONE;
}

static enum sim_outcome add_allowed(struct sim_call *c, int family, const char *field)
{
    struct sim_object *const vif = sim_arg(c, 0);

    if (!vif)
        return SIM_FAILED;
    if (!is_source(family, sim_arg_text(c, 1)))
        return sim_fail(c, "INVALID_IP_ADDRESS_SPECIFIED", field, NULL);
    sim_list_add(c->pool, vif, xapi_field_place(vif->class_row, field), &c->args[1]);
    return SIM_DONE;
}

static enum sim_outcome remove_allowed(struct sim_call *c, const char *field)
{
    struct sim_object *const vif = sim_arg(c, 0);

    if (!vif)
        return SIM_FAILED;
    sim_list_remove(c->pool, vif, xapi_field_place(vif->class_row, field), &c->args[1]);
    return SIM_DONE;
}

static enum sim_outcome set_ipv4_allowed(struct sim_call *c)
{
    return set_allowed(c, AF_INET, "ipv4_allowed");
}

static enum sim_outcome set_ipv6_allowed(struct sim_call *c)
{
    return set_allowed(c, AF_INET6, "ipv6_allowed");
}

static enum sim_outcome add_ipv4_allowed(struct sim_call *c)
{
    return add_allowed(c, AF_INET, "ipv4_allowed");
}

static enum sim_outcome add_ipv6_allowed(struct sim_call *c)
{
    return add_allowed(c, AF_INET6, "ipv6_allowed");
}

static enum sim_outcome remove_ipv4_allowed(struct sim_call *c)
{
    return remove_allowed(c, "ipv4_allowed");
}

static enum sim_outcome remove_ipv6_allowed(struct sim_call *c)
{
    return remove_allowed(c, "ipv6_allowed");
}

/* A locked interface may only have the addresses that it is allowed. */
static bool fits_lock(const struct simpool *p, const struct sim_object *vif, int family, const char *address,
                      struct sim_why *why)
{
    const struct sim_object *const network = sim_follow(p, vif, "network");
    const char *mode = sim_text(vif, "locking_mode");
    char bare[64];

    if (sim_same(mode, "network_default") && network)
        mode = sim_text(network, "default_locking_mode");
    if (!sim_same(mode, "locked"))
        return true;
    snprintf(bare, sizeof(bare), "%.*s", (int)XK_MIN(strcspn(address, "/"), sizeof(bare) - 1), address);
    if (xapi_list_has(sim_get(vif, family == AF_INET ? "ipv4_allowed" : "ipv6_allowed"), bare))
        return true;
    return sim_deny(why, "ADDRESS_VIOLATES_LOCKING_CONSTRAINT", address, NULL);
}

static enum sim_outcome configure(struct sim_call *c, int family)
{
    struct simpool *const p = c->pool;
    struct sim_object *const vif = sim_arg(c, 0), *const vm = vif ? sim_follow(p, vif, "VM") : NULL;
    const char *const address = sim_arg_text(c, 2), *const gateway = sim_arg_text(c, 3);
    const bool v4 = family == AF_INET;
    struct sim_why why;

    if (!vif)
        return SIM_FAILED;
    if (sim_same(sim_arg_text(c, 1), "Static")) {
        if (!is_cidr(family, address))
            return sim_fail(c, "INVALID_CIDR_ADDRESS_SPECIFIED", "address", NULL);
        if (!fits_lock(p, vif, family, address, &why))
            return sim_refuse(c, &why);
        if (*gateway && !is_address(family, gateway))
            return sim_fail(c, "INVALID_IP_ADDRESS_SPECIFIED", "gateway", NULL);
    }
    const struct sim_object *const guest = vm ? sim_follow(p, vm, "guest_metrics") : NULL;
    const char *const able = guest ? sim_pair(guest, "other", "feature-static-ip-setting") : NULL;
    if (!able || !sim_same(able, "1"))
        return sim_fail(c, "VM_LACKS_FEATURE", sim_text(vif, "VM"), NULL);
    sim_put(p, vif, v4 ? "ipv4_configuration_mode" : "ipv6_configuration_mode", c->args[1]);
    sim_put_list(p, vif, v4 ? "ipv4_addresses" : "ipv6_addresses", (const char *const[]){address, NULL});
    sim_put_text(p, vif, v4 ? "ipv4_gateway" : "ipv6_gateway", gateway);
    return SIM_DONE;
}

static enum sim_outcome configure_ipv4(struct sim_call *c)
{
    return configure(c, AF_INET);
}

static enum sim_outcome configure_ipv6(struct sim_call *c)
{
    return configure(c, AF_INET6);
}

/* ---- trunks ---- */

static enum sim_outcome bad_tag(struct sim_call *c, int64_t tag)
{
    char text[24];

    snprintf(text, sizeof(text), "%lld", (long long)tag);
    return sim_fail(c, "VLAN_TAG_INVALID", text, NULL);
}

static bool is_tag(int64_t tag)
{
    return tag >= 0 && tag <= VLAN_TAG_MAX;
}

static enum sim_outcome trunks_set(struct sim_call *c, bool add)
{
    struct simpool *const p = c->pool;
    struct sim_object *const vif = sim_arg(c, 0);
    const struct sim_object *const network = vif ? sim_follow(p, vif, "network") : NULL;
    const bool list = c->args[1].shape == XAPI_LIST;
    struct sim_why why;

    if (!vif)
        return SIM_FAILED;
    if (!list && !is_tag(c->args[1].integer))
        return bad_tag(c, c->args[1].integer);
    if (network && (!list || c->args[1].count) && !trunks_fit(p, network, &why))
        return sim_refuse(c, &why);
    for (size_t i = 0; list && i < c->args[1].count; i++)
        if (!is_tag(xapi_value_int(&c->args[1].items[i])))
            return bad_tag(c, xapi_value_int(&c->args[1].items[i]));
    if (add)
        sim_list_add(p, vif, xapi_field_place(vif->class_row, "trunks"), &c->args[1]);
    else
        sim_put(p, vif, "trunks", c->args[1]);
    return SIM_DONE;
}

static enum sim_outcome add_trunks(struct sim_call *c)
{
    return trunks_set(c, true);
}

static enum sim_outcome set_trunks(struct sim_call *c)
{
    return trunks_set(c, false);
}

static enum sim_outcome remove_trunks(struct sim_call *c)
{
    struct sim_object *const vif = sim_arg(c, 0);

    if (!vif)
        return SIM_FAILED;
    sim_list_remove(c->pool, vif, xapi_field_place(vif->class_row, "trunks"), &c->args[1]);
    return SIM_DONE;
}

const struct sim_row sim_vif_rows[] = {
    {"VIF.create", create},
    {"VIF.destroy", destroy},
    {"VIF.plug", plug},
    {"VIF.unplug", unplug},
    {"VIF.unplug_force", unplug},
    {"VIF.move", move},
    {"VIF.set_ipv4_allowed", set_ipv4_allowed},
    {"VIF.add_ipv4_allowed", add_ipv4_allowed},
    {"VIF.remove_ipv4_allowed", remove_ipv4_allowed},
    {"VIF.set_ipv6_allowed", set_ipv6_allowed},
    {"VIF.add_ipv6_allowed", add_ipv6_allowed},
    {"VIF.remove_ipv6_allowed", remove_ipv6_allowed},
    {"VIF.configure_ipv4", configure_ipv4},
    {"VIF.configure_ipv6", configure_ipv6},
    {"VIF.add_trunks", add_trunks},
    {"VIF.remove_trunks", remove_trunks},
    {"VIF.set_trunks", set_trunks},
    {"VM.get_allowed_VIF_devices", get_allowed_devices},
    {NULL, NULL},
};
