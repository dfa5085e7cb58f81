/* Provisioning services, SDN controllers, disaster recovery: records that only say what something outside is to do. */
#include "lib/simpool/ops.h"

#include <arpa/inet.h>

#define PORT_MAX         65535
#define SDN_PORT_DEFAULT 6632

static bool is_address(const char *text)
{
    uint8_t bytes[16];

    return inet_pton(AF_INET, text, bytes) == 1 || inet_pton(AF_INET6, text, bytes) == 1;
}

static enum sim_outcome bad_number(struct sim_call *c, const char *name, int64_t value)
{
    char text[24];

    snprintf(text, sizeof(text), "%lld", (long long)value);
    return sim_invalid(c, name, text);
}

/* ---- sites ---- */

static enum sim_outcome site_introduce(struct sim_call *c)
{
    static const char *const fields[] = {"name_label", "name_description", "PVS_uuid"};
    struct sim_object *const site = sim_create(c->pool, "PVS_site");

    if (!site)
        return sim_no_memory(c);
    for (unsigned i = 0; i < XK_COUNT(fields); i++)
        sim_put(c->pool, site, fields[i], c->args[i]);
    return sim_done_ref(c, site);
}

static const struct sim_object *running_proxy(const struct simpool *p, const struct sim_object *site)
{
    const struct sim_object *proxy;

    for (size_t at = 0; (proxy = sim_member(p, site, "proxies", &at));)
        if (sim_bool(proxy, "currently_attached"))
            return proxy;
    return NULL;
}

static void cache_end(struct simpool *p, struct sim_object *cache)
{
    struct sim_object *const vdi = sim_follow(p, cache, "VDI");

    if (vdi)
        sim_vdi_destroy(p, vdi);
    sim_delete(p, cache);
}

static enum sim_outcome site_forget(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const site = sim_arg(c, 0), *cache;
    const struct sim_object *const proxy = site ? running_proxy(p, site) : NULL;
    size_t at = 0;

    if (!site)
        return SIM_FAILED;
    if (proxy)
        return sim_fail(c, "PVS_SITE_CONTAINS_RUNNING_PROXIES", proxy->ref, NULL);
    const struct sim_object *const server = sim_member(p, site, "servers", &at);
    if (server)
        return sim_fail(c, "PVS_SITE_CONTAINS_SERVERS", server->ref, NULL);
    for (at = 0; (cache = sim_member(p, site, "cache_storage", &at)) && p->error == 0; at = 0)
        cache_end(p, cache);
    sim_delete(p, site);
    return SIM_DONE;
}

static enum sim_outcome site_set_uuid(struct sim_call *c)
{
    struct sim_object *const site = sim_arg(c, 0);
    const struct sim_object *const proxy = site ? running_proxy(c->pool, site) : NULL;

    if (!site)
        return SIM_FAILED;
    if (proxy)
        return sim_fail(c, "PVS_SITE_CONTAINS_RUNNING_PROXIES", proxy->ref, NULL);
    sim_put(c->pool, site, "PVS_uuid", c->args[1]);
    return SIM_DONE;
}

/* ---- servers ---- */

static const char *address_in_use(const struct simpool *p, const struct xapi_value *addresses)
{
    for (size_t i = 0; i < addresses->count; i++)
        for (const struct sim_object *o = sim_first(p, "PVS_server"); o; o = o->class_next)
            if (xapi_list_has(sim_get(o, "addresses"), xapi_value_text(&addresses->items[i])))
                return xapi_value_text(&addresses->items[i]);
    return NULL;
}

static enum sim_outcome server_introduce(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    const struct xapi_value *const addresses = &c->args[0];
    const int64_t first = c->args[1].integer, last = c->args[2].integer;

    for (size_t i = 0; i < addresses->count; i++)
        if (!is_address(xapi_value_text(&addresses->items[i])))
            return sim_fail(c, "INVALID_IP_ADDRESS_SPECIFIED", "addresses", NULL);
    const char *const used = address_in_use(p, addresses);
    if (used)
        return sim_fail(c, "PVS_SERVER_ADDRESS_IN_USE", used, NULL);
    if (first < 1 || first > PORT_MAX)
        return bad_number(c, "first_port", first);
    if (last < first || last > PORT_MAX)
        return bad_number(c, "last_port", last);
    if (!sim_arg_or_null(c, 3))
        return sim_invalid(c, "site", sim_arg_text(c, 3));
    struct sim_object *const server = sim_create(p, "PVS_server");
    if (!server)
        return sim_no_memory(c);
    sim_put(p, server, "addresses", *addresses);
    sim_put_int(p, server, "first_port", first);
    sim_put_int(p, server, "last_port", last);
    sim_put(p, server, "site", c->args[3]);
    return sim_done_ref(c, server);
}

static enum sim_outcome server_forget(struct sim_call *c)
{
    struct sim_object *const server = sim_arg(c, 0);

    if (!server)
        return SIM_FAILED;
    sim_delete(c->pool, server);
    return SIM_DONE;
}

/* ---- proxies ---- */

static bool is_first_device(const struct simpool *p, const struct sim_object *vif)
{
    const struct sim_object *const vm = sim_follow(p, vif, "VM"), *other;
    int64_t own, number;

    if (!vm || xk_parse_i64(&own, sim_text(vif, "device")) < 0)
        return false;
    for (size_t at = 0; (other = sim_member(p, vm, "VIFs", &at));)
        if (xk_parse_i64(&number, sim_text(other, "device")) == 0 && number < own)
            return false;
    return true;
}

static enum sim_outcome proxy_create(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    const struct sim_object *const site = sim_arg_or_null(c, 0), *const vif = sim_arg_or_null(c, 1);

    for (const struct sim_object *o = sim_first(p, "PVS_proxy"); vif && o; o = o->class_next)
        if (sim_is(o, "VIF", vif->ref))
            return sim_fail(c, "PVS_PROXY_ALREADY_PRESENT", o->ref, NULL);
    if (!site)
        return sim_invalid(c, "site", sim_arg_text(c, 0));
    if (!vif)
        return sim_invalid(c, "VIF", sim_arg_text(c, 1));
    if (!is_first_device(p, vif))
        return sim_fail(c, "PVS_VIF_MUST_BE_FIRST_DEVICE", NULL);
    struct sim_object *const proxy = sim_create(p, "PVS_proxy");
    if (!proxy)
        return sim_no_memory(c);
    sim_put_text(p, proxy, "site", site->ref);
    sim_put_text(p, proxy, "VIF", vif->ref);
    sim_put_text(p, proxy, "status", "stopped");
    return sim_done_ref(c, proxy);
}

static enum sim_outcome proxy_destroy(struct sim_call *c)
{
    struct sim_object *const proxy = sim_arg(c, 0);

    if (!proxy)
        return SIM_FAILED;
    sim_delete(c->pool, proxy);
    return SIM_DONE;
}

/* ---- caches ---- */

static enum sim_outcome cache_create(struct sim_call *c)
{
    static const char *const refs[] = {"host", "SR", "site"};
    struct simpool *const p = c->pool;
    const struct xapi_value *record;
    struct sim_why why;

    if (!sim_record_arg(c, 0, &record))
        return SIM_FAILED;
    for (size_t i = 0; i < XK_COUNT(refs); i++)
        if (!sim_find(p, sim_record_text(record, refs[i]),
                      xapi_class_find(sim_same(refs[i], "site") ? "PVS_site" : refs[i])))
            return sim_invalid(c, refs[i], sim_record_text(record, refs[i]));
    const char *const host = sim_record_text(record, "host"), *const site_ref = sim_record_text(record, "site");
    const struct sim_object *const site = sim_find(p, site_ref, NULL), *cache;
    for (size_t at = 0; (cache = sim_member(p, site, "cache_storage", &at));)
        if (sim_is(cache, "host", host))
            return sim_fail(c, "PVS_CACHE_STORAGE_ALREADY_PRESENT", site_ref, host, NULL);
    struct sim_object *const sr = sim_find(p, sim_record_text(record, "SR"), NULL);
    const int64_t bytes = xapi_value_int(xapi_map_get(record, "size"));
    if (bytes < 0)
        return bad_number(c, "size", bytes);
    if (!sim_sr_may(p, sr, "vdi_create", &why) || !sim_sr_pbd(p, sr, &why) || !sim_sr_has_room(sr, bytes, &why))
        return sim_refuse(c, &why);
    if (sim_generic(c) == SIM_FAILED)
        return SIM_FAILED;
    struct sim_object *const made = sim_find(p, c->result.text, NULL), *const vdi =
                                                                           sim_vdi_create(p, sr, bytes, "pvs_cache");
    if (!vdi)
        return sim_no_memory(c);
    sim_put_text(p, vdi, "name_label", "PVS cache VDI");
    sim_put_text(p, vdi, "name_description", "PVS cache VDI");
    sim_vdi_allowed(p, vdi);
    sim_put_text(p, made, "VDI", vdi->ref);
    return SIM_DONE;
}

static enum sim_outcome cache_destroy(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const cache = sim_arg(c, 0), *const site = cache ? sim_follow(p, cache, "site") : NULL;

    if (!cache)
        return SIM_FAILED;
    if (site && running_proxy(p, site))
        return sim_fail(c, "PVS_CACHE_STORAGE_IS_IN_USE", cache->ref, NULL);
    cache_end(p, cache);
    return SIM_DONE;
}

/* ---- SDN ---- */

static enum sim_outcome sdn_introduce(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    const bool passive = sim_same(sim_arg_text(c, 0), "pssl");
    const char *const address = sim_arg_text(c, 1);
    const int64_t port = c->args[2].integer;

    if (sim_first(p, "SDN_controller"))
        return sim_fail(c, "OPERATION_NOT_ALLOWED", "SDN controller has been configured. Please forget it first.",
                        NULL);
    if (passive && *address)
        return sim_invalid(c, "address", address);
    if (passive && port)
        return bad_number(c, "port", port);
    if (!passive && *address == '\0')
        return sim_invalid(c, "address", address);
    if (!passive && !is_address(address))
        return sim_fail(c, "INVALID_IP_ADDRESS_SPECIFIED", "address", NULL);
    if (port < 0 || port > PORT_MAX)
        return bad_number(c, "port", port);
    struct sim_object *const sdn = sim_create(p, "SDN_controller");
    if (!sdn)
        return sim_no_memory(c);
    sim_put(p, sdn, "protocol", c->args[0]);
    sim_put(p, sdn, "address", c->args[1]);
    sim_put_int(p, sdn, "port", !passive && port == 0 ? SDN_PORT_DEFAULT : port);
    return sim_done_ref(c, sdn);
}

static enum sim_outcome sdn_forget(struct sim_call *c)
{
    struct sim_object *const sdn = sim_arg(c, 0);

    if (!sdn)
        return SIM_FAILED;
    sim_delete(c->pool, sdn);
    return SIM_DONE;
}

/* ---- disaster recovery ---- */

/* SRs of other pools would be looked for on the device, and there are none. */
static enum sim_outcome dr_create(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    const char *const type = sim_arg_text(c, 0);
    char text[128];

    for (const struct sim_object *sm = sim_first(p, "SM"); sm; sm = sm->class_next) {
        if (!sim_is(sm, "type", type) || !xapi_map_get(sim_get(sm, "features"), "SR_METADATA"))
            continue;
        return sim_done_ref(c, sim_create(p, "DR_task"));
    }
    snprintf(text, sizeof(text), "Disaster recovery not supported on SRs of type %.60s", type);
    return sim_fail(c, "OPERATION_NOT_ALLOWED", text, NULL);
}

static enum sim_outcome dr_destroy(struct sim_call *c)
{
    struct sim_object *const task = sim_arg(c, 0);

    if (!task)
        return SIM_FAILED;
    sim_delete(c->pool, task);
    return SIM_DONE;
}

const struct sim_row sim_pvs_rows[] = {
    {"PVS_site.introduce", site_introduce},
    {"PVS_site.forget", site_forget},
    {"PVS_site.set_PVS_uuid", site_set_uuid},
    {"PVS_server.introduce", server_introduce},
    {"PVS_server.forget", server_forget},
    {"PVS_proxy.create", proxy_create},
    {"PVS_proxy.destroy", proxy_destroy},
    {"PVS_cache_storage.create", cache_create},
    {"PVS_cache_storage.destroy", cache_destroy},
    {"SDN_controller.introduce", sdn_introduce},
    {"SDN_controller.forget", sdn_forget},
    {"DR_task.create", dr_create},
    {"DR_task.destroy", dr_destroy},
    {NULL, NULL},
};
