/* Hosts. */
#include "lib/xe/inner.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *host_or_this(struct xe *x, const char *param)
{
    return xe_param(x, param) ? xe_param_ref(x, "host", param) : xe_this_host(x);
}

static void enable_one(struct xe *x, struct xe_object *host, void *context)
{
    (void)xe_do(x, "host.remove_from_other_config", xapi_str(host->ref), xapi_str("MAINTENANCE_MODE"));
    (void)xe_get(x, "host.enable", host->ref);
}

static void host_enable(struct xe *x)
{
    (void)xe_each(x, XE_SELECTS_HOSTS, 0, NULL, enable_one, NULL);
}

struct evacuation {
    const char *network;
    int64_t batch;
};

static void evacuate_one(struct xe *x, struct xe_object *host, void *context)
{
    const struct evacuation *const e = context;

    (void)xe_do(x, "host.evacuate", xapi_str(host->ref), xapi_str(e->network), xapi_int(e->batch));
}

static void host_evacuate(struct xe *x)
{
    static const char *const own[] = {"network-uuid", "batch-size", NULL};
    struct evacuation e = {.network =
                               xe_param(x, "network-uuid") ? xe_param_ref(x, "network", "network-uuid") : XE_NULL};
    const char *const batch = xe_param(x, "batch-size");

    if (batch && (!xe_number(&e.batch, batch) || e.batch < 0))
        xe_fail_server(x, "INTERNAL_ERROR", "INTERNAL_ERROR: [ Stdlib.Scanf.Scan_failure(\"scanf: bad input\") ]",
                       NULL);
    if (xe_fine(x))
        (void)xe_each(x, XE_SELECTS_HOSTS, XE_ONE, own, evacuate_one, &e);
}

/* ---- dangerous ones ---- */

static void careful(struct xe *x, const char *method, const char *const *warnings, size_t count)
{
    const char *const host = xe_param_ref(x, "host", "uuid");
    const bool force = xe_param_bool(x, "force", false);

    if (!xe_fine(x))
        return;
    for (size_t i = 0; !force && i < count; i++)
        xe_print(x, warnings[i]);
    if (force || xe_yes(x))
        (void)xe_get(x, method, host);
}

static void host_forget(struct xe *x)
{
    static const char *const warnings[] = {
        "WARNING: A host should only be forgotten if it is physically unrecoverable;",
        "WARNING: if possible, Hosts should be 'ejected' from the Pool instead.",
        "WARNING: Once a host has been forgotten it will have to be re-installed.",
        "WARNING: This operation is irreversible.",
    };

    careful(x, "host.destroy", warnings, XK_COUNT(warnings));
}

static void host_declare_dead(struct xe *x)
{
    static const char *const warnings[] = {
        "WARNING: A host should only be declared dead if it is verified offline.",
        "WARNING: Performing this operation if the host is still online and has any",
        "WARNING: running VMs may lead to possible data loss and/or corruption.",
    };

    careful(x, "host.declare_dead", warnings, XK_COUNT(warnings));
}

static void host_emergency_ha_disable(struct xe *x)
{
    const struct xapi_value soft = xapi_bool(xe_param_bool(x, "soft", false));

    xe_need_force(x);
    (void)xe_do(x, "host.emergency_ha_disable", soft);
}

static void need_force_for_auth(struct xe *x)
{
    if (!xe_param(x, "force"))
        xe_fail(x, "This operation is provided only to recover individual hosts that are unable to access the external "
                   "authentication service. This operation must be forced (use --force).");
}

static void host_enable_external_auth(struct xe *x)
{
    need_force_for_auth(x);
    (void)xe_do(x, "host.enable_external_auth", xapi_str(xe_param_ref(x, "host", "host-uuid")),
                xe_param_map(x, "config"), xapi_str(xe_required(x, "service-name")),
                xapi_str(xe_required(x, "auth-type")));
}

static void host_disable_external_auth(struct xe *x)
{
    need_force_for_auth(x);
    (void)xe_do(x, "host.disable_external_auth", xapi_str(xe_param_ref(x, "host", "host-uuid")),
                xe_param_map(x, "config"), xapi_bool(true));
}

/* ---- processors ---- */

static void host_cpu_info(struct xe *x)
{
    const struct xapi_value map = xe_get(x, "host.get_cpu_info", host_or_this(x, "uuid"));

    if (xe_fine(x))
        xe_table_map(x, &map);
}

void xe_put_features(struct xe *x, const struct xapi_value *cpu_info, const char *const *keys)
{
    struct xe_pair pairs[8];
    size_t count = 0;

    for (; *keys && count < XK_COUNT(pairs); keys++) {
        const struct xapi_value *const v = xapi_map_get(cpu_info, *keys);
        if (v)
            pairs[count++] = (struct xe_pair){.name = *keys, .value = xapi_value_text(v)};
    }
    xe_table_begin(x);
    xe_table_record(x, pairs, count);
    xe_table_end(x);
}

static void host_get_cpu_features(struct xe *x)
{
    static const char *const keys[] = {"features_pv", "features_hvm", "features_pv_host", "features_hvm_host", NULL};
    const struct xapi_value map = xe_get(x, "host.get_cpu_info", host_or_this(x, "uuid"));

    if (xe_fine(x))
        xe_put_features(x, &map, keys);
}

/* ---- updates ---- */

static void apply_one(struct xe *x, struct xe_object *host, void *context)
{
    const struct xapi_value guidance =
        xe_do(x, "host.apply_updates", xapi_str(host->ref), xapi_str(xe_required(x, "hash")));

    for (uint32_t i = 0; guidance.shape == XAPI_LIST && i < guidance.count; i++)
        xe_say(x, xe_joined(x, &guidance.items[i], "; "));
}

static void host_apply_updates(struct xe *x)
{
    static const char *const own[] = {"hash", NULL};

    (void)xe_each(x, XE_SELECTS_HOSTS, XE_ONE, own, apply_one, NULL);
}

struct words {
    const char *texts[1024];
    size_t count;
};

/* Those of several hosts are listed at the end, the last one first. */
static void words_put(struct xe *x, struct words *w)
{
    for (size_t i = 0; i < w->count / 2; i++) {
        const char *const swap = w->texts[i];
        w->texts[i] = w->texts[w->count - 1 - i];
        w->texts[w->count - 1 - i] = swap;
    }
    xe_list(x, w->texts, w->count);
}

static void precheck_one(struct xe *x, struct xe_object *host, void *context)
{
    struct words *const w = context;
    const struct xapi_value status =
        xe_do(x, "pool_update.precheck", xapi_str(xe_param_ref(x, "pool_update", "uuid")), xapi_str(host->ref));
    const char *const word = xapi_value_text(&status);

    if (xe_fine(x) && w->count < XK_COUNT(w->texts))
        w->texts[w->count++] = strcmp(word, "ok_livepatch_complete") == 0 ? "Ok: Patch can be applied without reboot."
                               : strcmp(word, "ok_livepatch_incomplete") == 0
                                   ? "Ok: Patch can be applied, but a reboot will be required."
                                   : "Ok.";
}

static void update_precheck(struct xe *x)
{
    static const char *const own[] = {"uuid", NULL};
    struct words *const w = xk_arena_alloc(&x->arena, sizeof(*w));

    if (!w)
        return xe_fail_memory(x);
    (void)xe_each(x, XE_SELECTS_HOSTS, 0, own, precheck_one, w);
    if (xe_fine(x))
        words_put(x, w);
}

static void capabilities_one(struct xe *x, struct xe_object *host, void *context)
{
    struct words *const w = context;
    const char *const text = xe_get_text(x, "host.get_system_status_capabilities", host->ref);

    if (xe_fine(x) && w->count < XK_COUNT(w->texts))
        w->texts[w->count++] = text;
}

static void host_get_system_status_capabilities(struct xe *x)
{
    struct words *const w = xk_arena_alloc(&x->arena, sizeof(*w));

    if (!w)
        return xe_fail_memory(x);
    (void)xe_each(x, XE_SELECTS_HOSTS, 0, NULL, capabilities_one, w);
    if (xe_fine(x))
        words_put(x, w);
}

/* ---- licenses ---- */

static void host_license_view(struct xe *x)
{
    const struct xapi_value map = xe_get(x, "host.get_license_params", host_or_this(x, "host-uuid"));
    struct xapi_value *const pairs = xk_arena_alloc(&x->arena, (2 * (size_t)map.count + 1) * sizeof(*pairs));
    size_t count = 0;

    if (!pairs)
        return xe_fail_memory(x);
    for (uint32_t i = 0; map.shape == XAPI_MAP && i < map.count; i++) {
        if (strcmp(xapi_value_text(&map.items[2 * i]), "sku_type") == 0)
            continue;
        pairs[2 * count] = map.items[2 * i];
        pairs[2 * count + 1] = map.items[2 * i + 1];
        count++;
    }
    const struct xapi_value shown = xapi_map(pairs, count);
    if (xe_fine(x))
        xe_table_map(x, &shown);
}

static void host_all_editions(struct xe *x)
{
    const struct xapi_value editions = xe_get(x, "host.get_editions", xe_this_host(x));
    const char **const texts = xk_arena_alloc(&x->arena, (editions.count + 1) * sizeof(*texts));

    if (!texts)
        return xe_fail_memory(x);
    for (uint32_t i = 0; i < editions.count; i++)
        texts[i] = xe_item(&editions, i);
    xe_list(x, texts, editions.count);
}

static void set_license_server(struct xe *x, const struct xapi_value *hosts, const char *key, const char *value)
{
    for (uint32_t i = 0; i < hosts->count; i++) {
        (void)xe_do(x, "host.remove_from_license_server", hosts->items[i], xapi_str(key));
        (void)xe_do(x, "host.add_to_license_server", hosts->items[i], xapi_str(key), xapi_str(value));
    }
}

/* A license server that does not give the edition is forgotten again. */
static void take_back(struct xe *x, const struct xapi_value *hosts, const struct xapi_value *old)
{
    const struct xapi_value error = x->server;

    (void)xe_forgive(x);
    for (uint32_t i = 0; i < hosts->count; i++)
        (void)xe_do(x, "host.set_license_server", hosts->items[i], old[i]);
    const char *const line = xk_arena_printf(&x->arena, "%s: %s\n\n", xe_item(&error, 1), xe_item(&error, 2));
    if (!x->minimal && line)
        xe_complain(x, line);
    xe_fail_exit(x, 1);
}

static void tell_editions(struct xe *x)
{
    const struct xapi_value error = x->server;

    (void)xe_forgive(x);
    const struct xapi_value editions = xe_get(x, "host.get_editions", xe_this_host(x));
    const char *const line = xk_arena_printf(&x->arena, "Valid editions are: %s\n\n", xe_joined(x, &editions, ", "));
    if (!x->minimal && line)
        xe_complain(x, line);
    if (xe_fine(x)) {
        x->failure = XE_SERVER;
        x->server = error;
    }
}

static void apply_edition(struct xe *x, const struct xapi_value *hosts, const char *method, const char *ref)
{
    const char *const address = xe_param(x, "license-server-address"), *const port = xe_param(x, "license-server-port");
    struct xapi_value *const old = xk_arena_alloc(&x->arena, (hosts->count + 1) * sizeof(*old));
    const char *const edition = xe_required(x, "edition");
    int64_t number = -1;

    if (!old)
        return xe_fail_memory(x);
    for (uint32_t i = 0; i < hosts->count; i++)
        old[i] = xe_get(x, "host.get_license_server", xe_item(hosts, i));
    if (address)
        set_license_server(x, hosts, "address", address);
    if (port && (!xe_number(&number, port) || number < 0 || number > 65535)) {
        if (!x->minimal)
            xe_complain(x, "NOTE: The given port number is invalid; reverting to the current value.\n\n");
    } else if (port) {
        set_license_server(x, hosts, "port", port);
    }
    if (strcmp(method, "host.apply_edition") == 0)
        (void)xe_do(x, method, xapi_str(ref), xapi_str(edition), xapi_bool(false));
    else
        (void)xe_do(x, method, xapi_str(ref), xapi_str(edition));
    if (xe_failed_with(x, "LICENSE_CHECKOUT_ERROR") && x->server.count == 3)
        take_back(x, hosts, old);
    else if (xe_failed_with(x, "INVALID_EDITION"))
        tell_editions(x);
}

static void host_apply_edition(struct xe *x)
{
    const struct xapi_value host = xapi_str(host_or_this(x, "host-uuid"));
    const struct xapi_value hosts = xapi_list(&host, 1);

    if (xe_fine(x))
        apply_edition(x, &hosts, "host.apply_edition", host.text);
}

static void pool_apply_edition(struct xe *x)
{
    const char *const pool = xe_param(x, "uuid") ? xe_param_ref(x, "pool", "uuid") : xe_the_pool(x);
    const struct xapi_value hosts = xe_do_bare(x, "host.get_all");

    if (xe_fine(x))
        apply_edition(x, &hosts, "pool.apply_edition", pool);
}

/* ---- what stands in the way ---- */

static void host_get_vms_which_prevent_evacuation(struct xe *x)
{
    const struct xapi_value map = xe_get(x, "host.get_vms_which_prevent_evacuation", xe_param_ref(x, "host", "uuid"));
    const char *const chosen = xe_param(x, "params"), *const columns = chosen ? chosen : "uuid,name-label,reason";
    const struct xe_record *const vm = xe_record_find("vm");
    const bool all = strcmp(columns, "all") == 0;
    struct xe_pair pairs[160];

    for (uint32_t i = 0; map.shape == XAPI_MAP && vm && i < map.count && xe_fine(x); i++) {
        struct xe_object o = xe_object(x, "vm", xapi_value_text(&map.items[2 * i]));
        size_t count = 0;
        for (size_t j = 0; j < vm->fields && count < XK_COUNT(pairs) - 1; j++) {
            const struct xe_field *const field = &xe_fields[vm->first_field + j];
            if (all || xe_in_list(columns, xe_text(field->name)))
                xe_field_line(x, &o, field, &pairs[count++]);
        }
        if (all || xe_in_list(columns, "reason"))
            pairs[count++] =
                (struct xe_pair){.name = "reason ( RO)", .value = xe_joined(x, &map.items[2 * i + 1], ",")};
        xe_table_begin(x);
        xe_table_record(x, pairs, count);
        xe_table_end(x);
    }
}

void xe_put_vm_words(struct xe *x, const struct xapi_value *map, const char *head_name, const char *head_value)
{
    struct xe_pair *const pairs = xk_arena_alloc(&x->arena, (map->count + 1) * sizeof(*pairs));

    if (!pairs)
        return xe_fail_memory(x);
    pairs[0] = (struct xe_pair){.name = head_name, .value = head_value};
    for (uint32_t i = 0; map->shape == XAPI_MAP && i < map->count; i++) {
        const char *const vm = xapi_value_text(&map->items[2 * i]);
        pairs[i + 1] = (struct xe_pair){.name = xk_arena_printf(&x->arena, "%s (%s)", xe_uuid_of(x, "VM", vm),
                                                                xe_get_text(x, "VM.get_name_label", vm)),
                                        .value = xe_joined(x, &map->items[2 * i + 1], " ")};
    }
    xe_table_begin(x);
    xe_table_record(x, pairs, map->count + 1);
    xe_table_end(x);
}

static void host_retrieve_wlb_evacuate_recommendations(struct xe *x)
{
    const struct xapi_value map =
        xe_get(x, "host.retrieve_wlb_evacuate_recommendations", xe_param_ref(x, "host", "uuid"));

    if (xe_fine(x))
        xe_put_vm_words(x, &map, "VM", "[Host, RecID] / Error");
}

static void host_ha_xapi_healthcheck(struct xe *x)
{
    const struct xapi_value healthy = xe_do_bare(x, "host.ha_xapi_healthcheck");

    if (!xe_fine(x)) {
        const char *const line =
            xk_arena_printf(&x->arena, "Host.ha_xapi_healthcheck threw exception: %s\n", xe_exception_text(x));
        if (xe_forgive(x))
            xe_complain(x, line ? line : "");
        return xe_fail_exit(x, 3);
    }
    if (xe_value_bool(&healthy))
        return xe_print(x, "xapi is healthy.");
    xe_complain(x, "Host.ha_xapi_healthcheck reports false\n");
    /* The statement that ends it is taken for an exception, too. */
    xe_complain(x, "Host.ha_xapi_healthcheck threw exception: INTERNAL_ERROR: [ Cli_operations.ExitWithError(2) ]\n");
    xe_fail_exit(x, 3);
}

/* Options that are handed on: all but those that this command takes itself. */
static struct xapi_value other_params(struct xe *x, const char *first, const char *second)
{
    struct xapi_value *const pairs = xk_arena_alloc(&x->arena, (2 * x->param_count + 1) * sizeof(*pairs));
    size_t count = 0;

    for (size_t i = 0; pairs && i < x->param_count; i++) {
        if (strcmp(x->params[i].name, first) == 0 || strcmp(x->params[i].name, second) == 0)
            continue;
        pairs[2 * count] = xapi_str(x->params[i].name);
        pairs[2 * count + 1] = xapi_str(x->params[i].value);
        count++;
    }
    return xapi_map(pairs, count);
}

static void host_crashdump_upload(struct xe *x)
{
    (void)xe_do(x, "host_crashdump.upload", xapi_str(xe_param_ref(x, "host_crashdump", "uuid")),
                xapi_str(xe_param_or(x, "url", "")), other_params(x, "uuid", "url"));
}

static void bugreport_one(struct xe *x, struct xe_object *host, void *context)
{
    (void)xe_do(x, "host.bugreport_upload", xapi_str(host->ref), xapi_str(xe_param_or(x, "url", "")),
                other_params(x, "host", "url"));
}

static void host_bugreport_upload(struct xe *x)
{
    static const char *const own[] = {"url", "http_proxy", NULL};

    (void)xe_each(x, XE_SELECTS_HOSTS, 0, own, bugreport_one, NULL);
}

static void hostdriver_select(struct xe *x)
{
    const char *const driver = xe_param_ref(x, "Host_driver", "uuid"), *const name = xe_required(x, "variant-name");
    const struct xapi_value variants = xe_get(x, "Host_driver.get_variants", driver);

    for (uint32_t i = 0; i < variants.count && xe_fine(x); i++) {
        const struct xapi_value r = xe_get(x, "Driver_variant.get_record", xe_item(&variants, i));
        if (strcmp(xapi_value_text(xapi_map_get(&r, "name")), name) != 0)
            continue;
        (void)xe_do(x, "Host_driver.select", xapi_str(driver), variants.items[i]);
        return;
    }
    xe_fail(x, "%s does not identify a variant of this driver", name);
}

static void hostdriver_deselect(struct xe *x)
{
    xe_need_force(x);
    (void)xe_get(x, "Host_driver.deselect", xe_fine(x) ? xe_param_ref(x, "Host_driver", "uuid") : "");
}

const struct xe_row xe_host_rows[] = {
    {"host-enable", host_enable},
    {"host-evacuate", host_evacuate},
    {"host-forget", host_forget},
    {"host-declare-dead", host_declare_dead},
    {"host-emergency-ha-disable", host_emergency_ha_disable},
    {"host-enable-external-auth", host_enable_external_auth},
    {"host-disable-external-auth", host_disable_external_auth},
    {"host-cpu-info", host_cpu_info},
    {"host-get-cpu-features", host_get_cpu_features},
    {"host-apply-updates", host_apply_updates},
    {"update-precheck", update_precheck},
    {"host-get-system-status-capabilities", host_get_system_status_capabilities},
    {"host-license-view", host_license_view},
    {"host-all-editions", host_all_editions},
    {"host-apply-edition", host_apply_edition},
    {"pool-apply-edition", pool_apply_edition},
    {"host-get-vms-which-prevent-evacuation", host_get_vms_which_prevent_evacuation},
    {"host-retrieve-wlb-evacuate-recommendations", host_retrieve_wlb_evacuate_recommendations},
    {"host-ha-xapi-healthcheck", host_ha_xapi_healthcheck},
    {"host-crashdump-upload", host_crashdump_upload},
    {"host-bugreport-upload", host_bugreport_upload},
    {"hostdriver-select", hostdriver_select},
    {"hostdriver-deselect", hostdriver_deselect},
    {NULL, NULL},
};
