/*
 * The ways of hosts to storage repositories (PBDs), and the secrets that their configurations name.
 */
#include "lib/simpool/ops.h"

/* ---- secrets of a configuration ---- */

/* A password in a configuration becomes a secret, and the configuration only names it. */
struct xapi_value sim_pbd_config(struct sim_call *c, const struct xapi_value *config)
{
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&c->arena);
    struct xapi_value v;

    xapi_build_open(&b, XAPI_MAP);
    for (size_t i = 0; i < config->count; i++) {
        const char *const key = config->items[2 * i].text;
        const size_t len = strlen(key);
        if (len < 8 || !sim_same(key + len - 8, "password")) {
            xapi_build_value(&b, config->items[2 * i]);
            xapi_build_value(&b, config->items[2 * i + 1]);
            continue;
        }
        struct sim_object *const secret = sim_create(c->pool, "secret");
        char *const name = xk_arena_printf(&c->arena, "%s_secret", key);
        if (!secret || !name)
            return *config;
        sim_put(c->pool, secret, "value", config->items[2 * i + 1]);
        xapi_build_value(&b, xapi_str(name));
        xapi_build_text(&b, sim_text(secret, "uuid"));
    }
    xapi_build_close(&b);
    return xapi_build_end(&b, &v) < 0 ? *config : v;
}

static void secrets_destroy(struct simpool *p, const struct xapi_value *config)
{
    for (size_t i = 0; i < config->count; i++) {
        const char *const key = config->items[2 * i].text;
        const size_t len = strlen(key);
        if (len < 7 || !sim_same(key + len - 7, "_secret"))
            continue;
        struct sim_object *const secret =
            sim_find_uuid(p, xapi_value_text(&config->items[2 * i + 1]), xapi_class_find("secret"));
        if (secret)
            sim_delete(p, secret);
    }
}

/* ---- PBDs ---- */

struct sim_object *sim_pbd_create(struct simpool *p, const struct sim_object *sr, const struct sim_object *host,
                                  const struct xapi_value *config)
{
    struct sim_object *const pbd = sim_create(p, "PBD");

    if (!pbd)
        return NULL;
    sim_put_text(p, pbd, "host", host->ref);
    sim_put_text(p, pbd, "SR", sr->ref);
    sim_put(p, pbd, "device_config", *config);
    return pbd;
}

void sim_pbd_destroy(struct simpool *p, struct sim_object *pbd)
{
    secrets_destroy(p, sim_get(pbd, "device_config"));
    sim_delete(p, pbd);
}

static const struct sim_object *pbd_of_host(const struct simpool *p, const struct sim_object *sr, const char *host)
{
    const struct sim_object *pbd;

    for (size_t at = 0; (pbd = sim_member(p, sr, "PBDs", &at));)
        if (sim_is(pbd, "host", host))
            return pbd;
    return NULL;
}

static enum sim_outcome create(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    const struct xapi_value *record;
    struct sim_why why;

    if (!sim_record_arg(c, 0, &record))
        return SIM_FAILED;
    const char *const host_ref = sim_record_text(record, "host"), *const sr_ref = sim_record_text(record, "SR");
    const struct sim_object *const host = sim_find(p, host_ref, xapi_class_find("host"));
    struct sim_object *const sr = sim_find(p, sr_ref, xapi_class_find("SR"));
    if (!sr)
        return sim_bad_handle(c, (uint16_t)xapi_class_index(xapi_class_find("SR")), sr_ref);
    if (!host)
        return sim_bad_handle(c, (uint16_t)xapi_class_index(xapi_class_find("host")), host_ref);
    if (!sim_sr_may(p, sr, "pbd_create", &why))
        return sim_refuse(c, &why);
    const struct sim_object *const old = pbd_of_host(p, sr, host_ref);
    if (old)
        return sim_fail(c, "PBD_EXISTS", sr_ref, host_ref, old->ref, NULL);
    const struct xapi_value *const config = xapi_map_get(record, "device_config");
    if (sim_option(config, "SRmaster"))
        return sim_fail(c, "VALUE_NOT_SUPPORTED", "SRmaster", sim_option(config, "SRmaster"),
                        "This key is for internal use only", NULL);
    const struct xapi_value kept = sim_pbd_config(c, config);
    struct sim_object *const pbd = sim_pbd_create(p, sr, host, &kept);
    if (!pbd)
        return sim_no_memory(c);
    sim_sr_allowed(p, sr);
    return sim_done_ref(c, pbd);
}

static enum sim_outcome destroy(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const pbd = sim_arg(c, 0), *const sr = pbd ? sim_follow(p, pbd, "SR") : NULL;
    struct sim_why why;

    if (!pbd)
        return SIM_FAILED;
    if (sr && !sim_sr_may(p, sr, "pbd_destroy", &why))
        return sim_refuse(c, &why);
    if (sim_bool(pbd, "currently_attached"))
        return sim_fail(c, "OPERATION_NOT_ALLOWED", "PBD is currently attached", NULL);
    sim_pbd_destroy(p, pbd);
    if (sr)
        sim_sr_allowed(p, sr);
    return SIM_DONE;
}

static enum sim_outcome plug(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const pbd = sim_arg(c, 0), *const sr = pbd ? sim_follow(p, pbd, "SR") : NULL;
    struct sim_why why;

    if (!pbd)
        return SIM_FAILED;
    if (!sr)
        return sim_bad_handle(c, (uint16_t)xapi_class_index(xapi_class_find("SR")), sim_text(pbd, "SR"));
    if (!sim_sr_may(p, sr, "plug", &why))
        return sim_refuse(c, &why);
    if (!sim_sr_driver(p, sim_text(sr, "type")))
        return sim_fail(c, "SR_UNKNOWN_DRIVER", sim_text(sr, "type"), NULL);
    if (sim_bool(pbd, "currently_attached"))
        return SIM_DONE;
    const struct sim_object *const other = sim_sr_pbd(p, sr, NULL);
    if (!sim_bool(sr, "shared") && other)
        return sim_fail(c, "SR_NOT_SHARABLE", sr->ref, sim_text(other, "host"), NULL);
    sim_put_bool(p, pbd, "currently_attached", true);
    if (sim_int(sr, "physical_size") < 0) { /* the driver tells what it found */
        sim_put_int(p, sr, "physical_size", SIM_DEVICE_BYTES);
        sim_put_int(p, sr, "physical_utilisation", 0);
    }
    sim_sr_refresh(p, sr);
    return SIM_DONE;
}

/* A disk of the SR that a machine on that host has. */
static const struct sim_object *disk_in_use(const struct simpool *p, const struct sim_object *sr, const char *host)
{
    const struct sim_object *vdi, *vbd;

    for (size_t at = 0; (vdi = sim_member(p, sr, "VDIs", &at));) {
        for (size_t i = 0; (vbd = sim_member(p, vdi, "VBDs", &i));) {
            const struct sim_object *const vm = sim_follow(p, vbd, "VM");
            if (vm && sim_bool(vbd, "currently_attached") && !sim_is(vdi, "type", "metadata") &&
                sim_is(vm, "resident_on", host))
                return vdi;
        }
    }
    return NULL;
}

static enum sim_outcome unplug(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const pbd = sim_arg(c, 0), *const sr = pbd ? sim_follow(p, pbd, "SR") : NULL;
    const struct sim_object *vdi;
    struct sim_why why;

    if (!pbd)
        return SIM_FAILED;
    if (!sr) {
        sim_put_bool(p, pbd, "currently_attached", false);
        return SIM_DONE;
    }
    for (size_t at = 0; (vdi = sim_member(p, sr, "VDIs", &at));)
        if (sim_get(vdi, "current_operations")->count) {
            (void)sim_deny_busy(&why, vdi, 0);
            return sim_refuse(c, &why);
        }
    if (!sim_sr_may(p, sr, "unplug", &why))
        return sim_refuse(c, &why);
    if (!sim_bool(pbd, "currently_attached"))
        return SIM_DONE;
    vdi = disk_in_use(p, sr, sim_text(pbd, "host"));
    if (vdi)
        return sim_fail(c, "VDI_IN_USE", vdi->ref, "unplug", NULL);
    sim_put_bool(p, pbd, "currently_attached", false);
    sim_sr_refresh(p, sr);
    return SIM_DONE;
}

const struct sim_row sim_pbd_rows[] = {
    {"PBD.create", create},
    {"PBD.destroy", destroy},
    {"PBD.plug", plug},
    {"PBD.unplug", unplug},
    {"PBD.set_device_config", sim_for_drivers_only},
    {NULL, NULL},
};
