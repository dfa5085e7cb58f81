/* The pool as a whole. */
#include "lib/xe/inner.h"

#include "core/text.h"

#include <stdio.h>
#include <string.h>

#define SOON "10.000 seconds..."

static const char *pool_or_the_pool(struct xe *x)
{
    return xe_param(x, "uuid") ? xe_param_ref(x, "pool", "uuid") : xe_the_pool(x);
}

/* ---- who is in it ---- */

static void pool_join(struct xe *x)
{
    static const char *const refused[] = {
        "Host cannot contact destination host: connection refused.",
        "Check destination host has services running and accessible from this host.",
    };
    const bool force = xe_param_bool(x, "force", false);

    (void)xe_do(x, force ? "pool.join_force" : "pool.join", xapi_str(xe_required(x, "master-address")),
                xapi_str(xe_required(x, "master-username")), xapi_str(xe_required(x, "master-password")));
    if (xe_failed_with(x, "POOL_JOINING_HOST_CONNECTION_FAILED") && xe_forgive(x))
        return xe_list(x, refused, XK_COUNT(refused));
    xe_list_one(x, "Host agent will restart and attempt to join pool in " SOON);
}

/* The disks of SRs that only this host sees. */
static size_t lost_disks(struct xe *x, const char *host, const char **lines, size_t max)
{
    const struct xapi_value pbds = xe_get(x, "host.get_PBDs", host);
    size_t count = 0;

    for (uint32_t i = 0; i < pbds.count && xe_fine(x); i++) {
        const char *const sr = xe_get_text(x, "PBD.get_SR", xe_item(&pbds, i));
        const struct xapi_value others = xe_get(x, "SR.get_PBDs", sr);
        bool alone = xe_fine(x);
        for (uint32_t j = 0; j < others.count; j++)
            alone = alone && strcmp(xe_get_text(x, "PBD.get_host", xe_item(&others, j)), host) == 0;
        const struct xapi_value vdis = alone ? xe_get(x, "SR.get_VDIs", sr) : xapi_list(NULL, 0);
        for (uint32_t j = 0; j < vdis.count && count < max && xe_fine(x); j++)
            lines[count++] = xk_arena_printf(&x->arena, "VDI: %s (%s)", xe_uuid_of(x, "VDI", xe_item(&vdis, j)),
                                             xe_get_text(x, "VDI.get_name_label", xe_item(&vdis, j)));
        /* A warning that cannot be made is none. */
        (void)xe_forgive(x);
    }
    (void)xe_forgive(x);
    return count;
}

static void pool_eject(struct xe *x)
{
    const char *const host = xe_param_ref(x, "host", "host-uuid");
    const char *lines[512];

    if (xe_fine(x) && !xe_param_bool(x, "force", false)) {
        const size_t count = lost_disks(x, host, lines, XK_COUNT(lines));
        xe_print(x, "WARNING: Ejecting a host from the pool will reinitialise that host's local SRs.");
        xe_print(x, "WARNING: Any data contained with the local SRs will be lost.");
        if (count > 0)
            xe_print(x, "The following VDI objects will be destroyed:");
        for (size_t i = count; i-- > 0;)
            xe_print(x, lines[i] ? lines[i] : "");
        if (!xe_yes(x))
            return;
    }
    (void)xe_get(x, "pool.eject", host);
    xe_list_one(x, "Specified host will attempt to restart as a master of a new pool in " SOON);
}

static void pool_emergency_reset_master(struct xe *x)
{
    const char *const address = xe_required(x, "master-address");

    (void)xe_get(x, "pool.emergency_reset_master", address);
    const char *const line =
        xk_arena_printf(&x->arena, "Host agent will restart and become slave of %s in " SOON, address);
    xe_list_one(x, line ? line : "");
}

/* A host that knows that it is the master says HOST_STILL_BOOTING or answers host.get_all; a slave's local session does
 * neither. What the real one asks itself is asked of the pool here. */
static bool is_master(struct xe *x)
{
    const struct xapi_value pools = xe_do_bare(x, "pool.get_all");

    if (!xe_fine(x) || pools.count == 0) {
        (void)xe_forgive(x);
        return false;
    }
    const char *const master = xe_get_text(x, "pool.get_master", xe_item(&pools, 0)), *const host = xe_this_host(x);
    return !xe_forgive(x) && strcmp(master, host) == 0;
}

static void pool_emergency_transition_to_master(struct xe *x)
{
    const bool force = xe_param_bool(x, "force", false);

    if (xe_fine(x) && !force && is_master(x))
        return xe_list_one(x, "Host agent is already master. Use '--force' to execute the operation anyway.");
    (void)xe_do_bare(x, "pool.emergency_transition_to_master");
    xe_list_one(x, "Host agent will restart and transition to master in " SOON);
}

/* ---- certificates ---- */

static void install(struct xe *x, const char *method, const char *what)
{
    const char *const path = xe_required(x, "filename"), *const content = xe_file_load(x, path);

    if (!content) {
        const char *const line = xk_arena_printf(&x->arena, "Failed to read %s\n", what);
        if (xe_fine(x))
            xe_complain(x, line ? line : "");
        return xe_fail_exit(x, 1);
    }
    (void)xe_do(x, method, xapi_str(xk_base_name(path)), xapi_str(content));
}

static void pool_install_ca_certificate(struct xe *x)
{
    install(x, "pool.install_ca_certificate", "certificate");
}

static void pool_crl_install(struct xe *x)
{
    install(x, "pool.crl_install", "CRL");
}

static void pool_install_trusted_certificate(struct xe *x)
{
    const struct xapi_message *const m = xapi_message_find("pool.install_trusted_certificate");
    const char *const pool = pool_or_the_pool(x), *const purposes = xe_param(x, "purpose");
    const bool ca = xe_param_bool(x, "ca", true);
    const struct xapi_value words = purposes ? xe_split(x, purposes, ',') : xapi_list(NULL, 0);
    struct xapi_value *const items = (struct xapi_value *)words.items;

    for (uint32_t i = 0; m && i < words.count; i++)
        items[i] = xapi_str(xe_enum_value(x, xapi_type_of(xapi_type_of(xapi_params[m->first_param + 3].type)->of)->of,
                                          words.items[i].text));
    const char *const content = xe_fine(x) ? xe_file_need(x, xe_required(x, "filename"), "certificate") : "";
    (void)xe_do(x, "pool.install_trusted_certificate", xapi_str(pool), xapi_bool(ca), xapi_str(content), words);
}

/* ---- high availability ---- */

static void pool_ha_compute_hypothetical(struct xe *x)
{
    struct xapi_value *const pairs = xk_arena_alloc(&x->arena, (2 * x->param_count + 1) * sizeof(*pairs));
    size_t vms = 0, priorities = 0;

    if (!pairs)
        return xe_fail_memory(x);
    for (size_t i = 0; i < x->param_count; i++) {
        if (strcmp(x->params[i].name, "vm-uuid") == 0)
            pairs[2 * vms++] = xapi_str(x->params[i].value);
        else if (strcmp(x->params[i].name, "restart-priority") == 0)
            pairs[2 * priorities++ + 1] = xapi_str(x->params[i].value);
    }
    if (vms != priorities)
        return xe_fail(x, "Call requires an equal number of vm-uuid and restart-priority arguments");
    for (size_t i = 0; i < vms; i++)
        pairs[2 * i] = xapi_str(xe_by_uuid(x, "VM", pairs[2 * i].text));
    const struct xapi_value n =
        xe_do(x, "pool.ha_compute_hypothetical_max_host_failures_to_tolerate", xapi_map(pairs, vms));
    xe_list_one(x, xe_value_text(x, &n));
}

/* "UUID (NAME)" */
static const char *named(struct xe *x, const char *class_name, const char *ref)
{
    char method[64];

    (void)snprintf(method, sizeof(method), "%s.get_name_label", class_name);
    const char *const text =
        xk_arena_printf(&x->arena, "%s (%s)", xe_uuid_of(x, class_name, ref), xe_get_text(x, method, ref));
    return text ? text : "";
}

static void pool_ha_compute_vm_failover_plan(struct xe *x)
{
    const struct xapi_value hosts = xe_split(x, xe_required(x, "host-uuids"), ',');
    struct xapi_value *const refs = (struct xapi_value *)hosts.items;
    struct xapi_value vms[1024];
    struct xe_pair pairs[1025] = {{"VM", "Destination Host or Error"}};
    size_t count = 0;

    for (uint32_t i = 0; i < hosts.count && xe_fine(x); i++) {
        refs[i] = xapi_str(xe_by_uuid(x, "host", refs[i].text));
        const struct xapi_value resident = xe_get(x, "host.get_resident_VMs", refs[i].text);
        for (uint32_t j = 0; j < resident.count && count < XK_COUNT(vms); j++)
            if (!xe_get_bool(x, "VM.get_is_control_domain", xe_item(&resident, j)))
                vms[count++] = resident.items[j];
    }
    const struct xapi_value plan = xe_do(x, "pool.ha_compute_vm_failover_plan", hosts, xapi_list(vms, count));
    size_t rows = 1;
    for (uint32_t i = 0; plan.shape == XAPI_MAP && i < plan.count && rows < XK_COUNT(pairs) && xe_fine(x); i++) {
        const struct xapi_value *const host = xapi_map_get(&plan.items[2 * i + 1], "host"), *const code = xapi_map_get(
                                                                                                &plan.items[2 * i + 1],
                                                                                                "error_code");
        pairs[rows++] = (struct xe_pair){.name = named(x, "VM", xapi_value_text(&plan.items[2 * i])),
                                         .value = host   ? named(x, "host", xapi_value_text(host))
                                                  : code ? xapi_value_text(code)
                                                         : "UNKNOWN"};
    }
    xe_table_begin(x);
    xe_table_record(x, pairs, rows);
    xe_table_end(x);
}

/* ---- the rest ---- */

static void pool_retrieve_wlb_recommendations(struct xe *x)
{
    const struct xapi_value map = xe_do_bare(x, "pool.retrieve_wlb_recommendations");

    if (xe_fine(x))
        xe_put_vm_words(x, &map, "VM", "Host, OptID, RecID, Reason");
}

static void pool_get_cpu_features(struct xe *x)
{
    static const char *const keys[] = {"features_pv_host", "features_hvm_host", NULL};
    const struct xapi_value map = xe_get(x, "pool.get_cpu_info", pool_or_the_pool(x));

    if (xe_fine(x))
        xe_put_features(x, &map, keys);
}

static void pool_configure_update_sync(struct xe *x)
{
    const struct xapi_message *const m = xapi_message_find("pool.configure_update_sync");
    const char *const pool = pool_or_the_pool(x);
    const char *const frequency = m ? xe_enum_value(x, xapi_type_of(xapi_params[m->first_param + 1].type)->of,
                                                    xe_required(x, "update-sync-frequency"))
                                    : "";
    int64_t day = 0;

    if (strcmp(frequency, "weekly") == 0 &&
        (!xe_param(x, "update-sync-day") || !xe_number(&day, xe_param(x, "update-sync-day")) || day < 0 || day > 6))
        xe_fail(x, "Invalid value for day picked, must be an integer from 0 to 6");
    (void)xe_do(x, "pool.configure_update_sync", xapi_str(pool), xapi_str(frequency), xapi_int(day));
}

const struct xe_row xe_pool_rows[] = {
    {"pool-join", pool_join},
    {"pool-eject", pool_eject},
    {"pool-emergency-reset-master", pool_emergency_reset_master},
    {"pool-emergency-transition-to-master", pool_emergency_transition_to_master},
    {"pool-install-ca-certificate", pool_install_ca_certificate},
    {"pool-certificate-install", pool_install_ca_certificate},
    {"pool-crl-install", pool_crl_install},
    {"pool-install-trusted-certificate", pool_install_trusted_certificate},
    {"pool-ha-compute-hypothetical-max-host-failures-to-tolerate", pool_ha_compute_hypothetical},
    {"pool-ha-compute-vm-failover-plan", pool_ha_compute_vm_failover_plan},
    {"pool-retrieve-wlb-recommendations", pool_retrieve_wlb_recommendations},
    {"pool-get-cpu-features", pool_get_cpu_features},
    {"pool-configure-update-sync", pool_configure_update_sync},
    {NULL, NULL},
};
