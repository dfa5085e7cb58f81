/* Settings of the pool. Facts: xapi_pool.ml of xapi (2026-08). */
#include "lib/simpool/hosts.h"

#include "core/text.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define DAY_S 86400

static enum sim_outcome put_argument(struct sim_call *c, struct sim_object *pool)
{
    const char *const name = strstr(xapi_text(c->message->name), ".set_");

    sim_put(c->pool, pool, name + strlen(".set_"), c->args[1]);
    return SIM_DONE;
}

static enum sim_outcome invalid(struct sim_call *c, const char *what, int64_t value)
{
    char text[24];

    snprintf(text, sizeof(text), "%lld", (long long)value);
    return sim_fail(c, "INVALID_VALUE", what, text, NULL);
}

/* ---- limits of logins ---- */

/* The real server has these in memory; nobody can read them back there either. */
static enum sim_outcome set_threads(struct sim_call *c)
{
    const char *const what =
        strstr(xapi_text(c->message->name), "local") ? "local_auth_max_threads" : "ext_auth_max_threads";

    if (!sim_arg(c, 0))
        return SIM_FAILED;
    if (c->args[1].integer <= 0)
        return invalid(c, what, c->args[1].integer);
    sim_put(c->pool, sim_first(c->pool, "pool"), what, c->args[1]);
    return SIM_DONE;
}

static enum sim_outcome set_plain(struct sim_call *c)
{
    struct sim_object *const pool = sim_arg(c, 0);

    return pool ? put_argument(c, pool) : SIM_FAILED;
}

static enum sim_outcome set_cache_size(struct sim_call *c)
{
    struct sim_object *const pool = sim_arg(c, 0);

    if (!pool)
        return SIM_FAILED;
    return c->args[1].integer < 0 ? invalid(c, "size", c->args[1].integer) : put_argument(c, pool);
}

static enum sim_outcome set_cache_expiry(struct sim_call *c)
{
    struct sim_object *const pool = sim_arg(c, 0);

    if (!pool)
        return SIM_FAILED;
    return c->args[1].integer <= 0 ? invalid(c, "expiry", c->args[1].integer) : put_argument(c, pool);
}

static enum sim_outcome client_certificates(struct sim_call *c, bool on, const char *name)
{
    struct sim_object *const pool = sim_arg(c, 0);

    if (!pool)
        return SIM_FAILED;
    sim_put_bool(c->pool, pool, "client_certificate_auth_enabled", on);
    sim_put_text(c->pool, pool, "client_certificate_auth_name", name);
    return SIM_DONE;
}

static enum sim_outcome enable_client_certificates(struct sim_call *c)
{
    return client_certificates(c, true, sim_arg_text(c, 1));
}

static enum sim_outcome disable_client_certificates(struct sim_call *c)
{
    return client_certificates(c, false, "");
}

static enum sim_outcome enable_tls_verification(struct sim_call *c)
{
    struct simpool *const p = c->pool;

    for (struct sim_object *host = sim_first(p, "host"); host; host = host->class_next)
        if (!sim_host_is_live(p, host))
            return sim_fail(c, "HOST_OFFLINE", host->ref, NULL);
    for (struct sim_object *host = sim_first(p, "host"); host; host = host->class_next)
        sim_put_bool(p, host, "tls_verification_enabled", true);
    sim_put_bool(p, sim_first(p, "pool"), "tls_verification_enabled", true);
    return SIM_DONE;
}

static enum sim_outcome emergency_tls(struct sim_call *c, bool on)
{
    struct sim_object *const host = sim_host_object(c->pool, c->host);

    if (on && !sim_bool(sim_first(c->pool, "pool"), "tls_verification_enabled"))
        return sim_fail(c, "TLS_VERIFICATION_NOT_ENABLED_IN_POOL", NULL);
    if (host)
        sim_put_bool(c->pool, host, "tls_verification_enabled", on);
    return SIM_DONE;
}

static enum sim_outcome emergency_disable_tls(struct sim_call *c)
{
    return emergency_tls(c, false);
}

static enum sim_outcome emergency_enable_tls(struct sim_call *c)
{
    return emergency_tls(c, true);
}

static enum sim_outcome rotate_secret(struct sim_call *c)
{
    struct simpool *const p = c->pool;

    if (sim_bool(sim_first(p, "pool"), "ha_enabled"))
        return sim_fail(c, "HA_IS_ENABLED", NULL);
    for (const struct sim_object *host = sim_first(p, "host"); host; host = host->class_next)
        if (!sim_host_is_live(p, host) || !sim_host_answers(p, host))
            return sim_fail(c, "CANNOT_CONTACT_HOST", host->ref, NULL);
    p->secret[0] = '\0'; /* who asks next makes a new one */
    return SIM_DONE;
}

/* ---- networks, guests ---- */

static enum sim_outcome set_switch_controller(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    const char *const address = sim_arg_text(c, 0);
    struct in_addr parsed;

    if (*address && inet_pton(AF_INET, address, &parsed) != 1)
        return sim_fail(c, "INVALID_IP_ADDRESS_SPECIFIED", "address", NULL);
    if (strcmp(sim_text(sim_first(p, "pool"), "vswitch_controller"), address) == 0)
        return SIM_DONE;
    sim_put_text(p, sim_first(p, "pool"), "vswitch_controller", address);
    for (struct sim_object *old; (old = sim_first(p, "SDN_controller")) != NULL;)
        sim_delete(p, old);
    struct sim_object *const controller = *address ? sim_create(p, "SDN_controller") : NULL;
    if (controller) {
        sim_put_text(p, controller, "protocol", "ssl");
        sim_put_text(p, controller, "address", address);
        sim_put_int(p, controller, "port", 6632);
    }
    return SIM_DONE;
}

static enum sim_outcome add_agent_config(struct sim_call *c)
{
    const char *const key = sim_arg_text(c, 1), *const value = sim_arg_text(c, 2);
    char text[256];

    if (!sim_arg(c, 0))
        return SIM_FAILED;
    snprintf(text, sizeof(text), "guest_agent_config:%s", key);
    const bool is_switch = strcmp(key, "auto_update_enabled") == 0, is_url = strcmp(key, "auto_update_url") == 0;
    if ((is_switch && strcmp(value, "true") != 0 && strcmp(value, "false") != 0) ||
        (is_url && !xk_has_prefix(value, "http://") && !xk_has_prefix(value, "https://")))
        return sim_fail(c, "INVALID_VALUE", text, value, NULL);
    if (!is_switch && !is_url)
        return sim_fail(c, "INVALID_VALUE", "guest_agent_config", key, NULL);
    return sim_generic(c);
}

static enum sim_outcome secureboot_readiness(struct sim_call *c)
{
    const struct sim_object *const pool = sim_arg(c, 0);

    if (!pool)
        return SIM_FAILED;
    c->result = xapi_str(*sim_text(pool, "custom_uefi_certificates") ? "ready" : "not_ready");
    return SIM_DONE;
}

static enum sim_outcome uefi_deprecated(struct sim_call *c)
{
    return sim_fail(c, "OPERATION_NOT_ALLOWED",
                    "Setting UEFI certificates is deprecated, please use `set_custom_uefi_certificates`", NULL);
}

static enum sim_outcome uefi_not_allowed(struct sim_call *c)
{
    return sim_fail(c, "OPERATION_NOT_ALLOWED",
                    "Setting UEFI certificates is not possible when allow_custom_uefi_certs is false", NULL);
}

/* ---- caches and logs ---- */

/* Every host that has a local SR of its own uses it as a cache. */
static enum sim_outcome caching(struct sim_call *c, bool on)
{
    struct simpool *const p = c->pool;

    if (!sim_arg(c, 0))
        return SIM_FAILED;
    for (struct sim_object *host = sim_first(p, "host"); host; host = host->class_next) {
        xk_autofree struct sim_move *moves = NULL;
        if (sim_bool(host, "enabled"))
            return sim_fail(c, "HOST_NOT_DISABLED", NULL);
        if (sim_residents(p, host, &moves))
            return sim_fail(c, "HOST_IN_USE", host->ref, "vm", moves[0].vm->ref, NULL);
    }
    for (struct sim_object *host = sim_first(p, "host"); host; host = host->class_next) {
        struct sim_object *sr = sim_first(p, "SR");
        const struct xapi_value *const pbds = sim_get(host, "PBDs");
        while (sr &&
               (sim_bool(sr, "shared") || strcmp(sim_text(sr, "type"), "ext") != 0 || sim_get(sr, "PBDs")->count != 1 ||
                !xapi_list_has(pbds, xapi_value_text(&sim_get(sr, "PBDs")->items[0]))))
            sr = sr->class_next;
        if (sr)
            sim_put_bool(p, sr, "local_cache_enabled", on);
        sim_put_text(p, host, "local_cache_sr", on && sr ? sr->ref : SIM_NULL);
    }
    return SIM_DONE;
}

static enum sim_outcome enable_caching(struct sim_call *c)
{
    return caching(c, true);
}

static enum sim_outcome disable_caching(struct sim_call *c)
{
    return caching(c, false);
}

static enum sim_outcome enable_redo_log(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const pool = sim_first(p, "pool"), *const sr = sim_arg(c, 0);

    if (!sr)
        return SIM_FAILED;
    if (!sim_bool(sr, "shared"))
        return sim_fail(c, "CANNOT_ENABLE_REDO_LOG", "Shared SR is required", NULL);
    struct sim_object *const vdi = sim_create(p, "VDI");
    if (!vdi)
        return sim_no_memory(c);
    sim_put_text(p, vdi, "name_label", "Metadata redo-log");
    sim_put_text(p, vdi, "SR", sr->ref);
    sim_put_text(p, vdi, "type", "redo_log");
    sim_put_int(p, vdi, "virtual_size", INT64_C(256) << 20);
    sim_put_text(p, vdi, "location", sim_text(vdi, "uuid"));
    sim_put_text(p, pool, "redo_log_vdi", vdi->ref);
    sim_put_bool(p, pool, "redo_log_enabled", true);
    return SIM_DONE;
}

static enum sim_outcome disable_redo_log(struct sim_call *c)
{
    sim_put_bool(c->pool, sim_first(c->pool, "pool"), "redo_log_enabled", false);
    sim_put_text(c->pool, sim_first(c->pool, "pool"), "redo_log_vdi", SIM_NULL);
    return SIM_DONE;
}

/* ---- workload balancing: there is no such server ---- */

static enum sim_outcome wlb_off(struct sim_call *c)
{
    return sim_fail(c, "WLB_NOT_INITIALIZED", NULL);
}

static enum sim_outcome wlb_connect(struct sim_call *c)
{
    if (!strchr(sim_arg_text(c, 0), ':'))
        return sim_fail(c, "WLB_URL_INVALID", sim_arg_text(c, 0), NULL);
    return sim_fail(c, "WLB_CONNECTION_REFUSED", NULL);
}

static enum sim_outcome removed(struct sim_call *c)
{
    return sim_fail(c, "MESSAGE_REMOVED", NULL);
}

static enum sim_outcome test_post(struct sim_call *c)
{
    return sim_fail(c, "INTERNAL_ERROR", "Failure(\"Failed to resolve proxy or host\")", NULL);
}

/* ---- telemetry ---- */

static enum sim_outcome set_next_collection(struct sim_call *c)
{
    struct sim_object *const pool = sim_arg(c, 0);

    if (!pool)
        return SIM_FAILED;
    const char *const frequency = sim_text(pool, "telemetry_frequency");
    const int64_t days = strcmp(frequency, "daily") == 0 ? 2 : strcmp(frequency, "weekly") == 0 ? 14 : 62;
    const struct xapi_value latest = xapi_time(&c->arena, sim_now_s(c->pool) + days * DAY_S);
    if (strcmp(xapi_value_text(&c->args[1]), xapi_value_text(&latest)) > 0)
        return sim_fail(c, "TELEMETRY_NEXT_COLLECTION_TOO_LATE", xapi_value_text(&c->args[1]), NULL);
    return put_argument(c, pool);
}

static struct sim_object *secret_create(struct simpool *p, const char *value)
{
    struct sim_object *const secret = sim_create(p, "secret");

    if (secret)
        sim_put_text(p, secret, "value", value);
    return secret;
}

static enum sim_outcome reset_telemetry(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const pool = sim_arg(c, 0);
    char ref[SIM_REF_BYTES];

    if (!pool)
        return SIM_FAILED;
    sim_new_ref(p, ref);
    struct sim_object *const old = sim_follow(p, pool, "telemetry_uuid"), *const secret = secret_create(
                                                                              p, ref + strlen("OpaqueRef:"));
    if (!secret)
        return sim_no_memory(c);
    sim_put_text(p, pool, "telemetry_uuid", secret->ref);
    if (old)
        sim_delete(p, old);
    return SIM_DONE;
}

/* ---- where updates come from ---- */

static enum sim_outcome configure_proxy(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const pool = sim_arg(c, 0);
    const char *const url = sim_arg_text(c, 1), *const user = sim_arg_text(c, 2), *const password = sim_arg_text(c, 3);

    if (!pool)
        return SIM_FAILED;
    if (!xk_has_prefix(url, "http://") && !xk_has_prefix(url, "https://"))
        return sim_fail(c, "INVALID_REPOSITORY_PROXY_URL", url, NULL);
    if (!*user != !*password || strchr(user, '\n') || strchr(password, '\n'))
        return sim_fail(c, "INVALID_REPOSITORY_PROXY_CREDENTIAL", NULL);
    struct sim_object *const old = sim_follow(p, pool, "repository_proxy_password");
    const struct sim_object *const secret = *password ? secret_create(p, password) : NULL;
    sim_put_text(p, pool, "repository_proxy_url", url);
    sim_put_text(p, pool, "repository_proxy_username", user);
    sim_put_text(p, pool, "repository_proxy_password", secret ? secret->ref : SIM_NULL);
    if (old)
        sim_delete(p, old);
    return SIM_DONE;
}

static enum sim_outcome disable_proxy(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const pool = sim_arg(c, 0);

    if (!pool)
        return SIM_FAILED;
    struct sim_object *const old = sim_follow(p, pool, "repository_proxy_password");
    sim_put_text(p, pool, "repository_proxy_url", "");
    sim_put_text(p, pool, "repository_proxy_username", "");
    sim_put_text(p, pool, "repository_proxy_password", SIM_NULL);
    if (old)
        sim_delete(p, old);
    return SIM_DONE;
}

static enum sim_outcome configure_sync(struct sim_call *c)
{
    struct sim_object *const pool = sim_arg(c, 0);
    const bool weekly = strcmp(sim_arg_text(c, 1), "weekly") == 0;
    const int64_t day = c->args[2].integer;
    char text[24];

    if (!pool)
        return SIM_FAILED;
    snprintf(text, sizeof(text), "%lld", (long long)day);
    if (weekly && (day < 0 || day > 6))
        return sim_fail(c, "INVALID_UPDATE_SYNC_DAY", text, NULL);
    sim_put(c->pool, pool, "update_sync_frequency", c->args[1]);
    sim_put_int(c->pool, pool, "update_sync_day", weekly ? day : 0);
    return SIM_DONE;
}

static enum sim_outcome set_sync_enabled(struct sim_call *c)
{
    struct sim_object *const pool = sim_arg(c, 0);

    if (!pool)
        return SIM_FAILED;
    if (c->args[1].truth && sim_get(pool, "repositories")->count == 0)
        return sim_fail(c, "NO_REPOSITORIES_CONFIGURED", NULL);
    return put_argument(c, pool);
}

static void repositories_changed(struct simpool *p, struct sim_object *pool)
{
    sim_put_time(p, pool, "last_update_sync", 0);
    if (sim_get(pool, "repositories")->count)
        return;
    for (struct sim_object *host = sim_first(p, "host"); host; host = host->class_next)
        sim_put_text(p, host, "latest_synced_updates_applied", "unknown");
}

static enum sim_outcome set_repositories(struct sim_call *c)
{
    struct sim_object *const pool = sim_arg(c, 0);

    if (!pool)
        return SIM_FAILED;
    for (size_t i = 0; i < c->args[1].count; i++)
        if (!sim_find(c->pool, xapi_value_text(&c->args[1].items[i]), xapi_class_find("Repository")))
            return sim_bad_handle(c, (uint16_t)xapi_class_index(xapi_class_find("Repository")),
                                  xapi_value_text(&c->args[1].items[i]));
    sim_put(c->pool, pool, "repositories", c->args[1]);
    repositories_changed(c->pool, pool);
    return SIM_DONE;
}

static enum sim_outcome change_repository(struct sim_call *c, bool in)
{
    struct sim_object *const pool = sim_arg(c, 0);
    const struct sim_object *const repository = pool ? sim_arg(c, 1) : NULL;

    if (!repository)
        return SIM_FAILED;
    const unsigned place = xapi_field_place(pool->class_row, "repositories");
    if (in)
        sim_list_add(c->pool, pool, place, &c->args[1]);
    else
        sim_list_remove(c->pool, pool, place, &c->args[1]);
    repositories_changed(c->pool, pool);
    return SIM_DONE;
}

static enum sim_outcome add_repository(struct sim_call *c)
{
    return change_repository(c, true);
}

static enum sim_outcome remove_repository(struct sim_call *c)
{
    return change_repository(c, false);
}

/* A simulated pool reaches no repository. */
static enum sim_outcome sync_updates(struct sim_call *c)
{
    const struct sim_object *const pool = sim_arg(c, 0);

    if (!pool)
        return SIM_FAILED;
    if (sim_get(pool, "repositories")->count == 0)
        return sim_fail(c, "NO_REPOSITORY_ENABLED", NULL);
    return sim_fail(c, "REPOSYNC_FAILED", NULL);
}

static enum sim_outcome update_readiness(struct sim_call *c)
{
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&c->arena);
    const struct sim_object *const pool = sim_arg(c, 0);

    if (!pool)
        return SIM_FAILED;
    xapi_build_open(&b, XAPI_LIST);
    if (sim_bool(pool, "ha_enabled")) {
        xapi_build_open(&b, XAPI_LIST);
        xapi_build_value(&b, xapi_str("HA_IS_ENABLED"));
        xapi_build_close(&b);
    }
    for (const struct sim_object *host = sim_first(c->pool, "host"); host; host = host->class_next) {
        if (sim_host_is_live(c->pool, host))
            continue;
        xapi_build_open(&b, XAPI_LIST);
        xapi_build_value(&b, xapi_str("HOST_OFFLINE"));
        xapi_build_text(&b, host->ref);
        xapi_build_close(&b);
    }
    xapi_build_close(&b);
    return xapi_build_end(&b, &c->result) < 0 ? sim_no_memory(c) : SIM_DONE;
}

static enum sim_outcome apply_updates(struct sim_call *c)
{
    if (!sim_arg(c, 0))
        return SIM_FAILED;
    if (sim_bool(sim_first(c->pool, "pool"), "ha_enabled"))
        return sim_fail(c, "HA_IS_ENABLED", NULL);
    return sim_fail(c,
                    sim_get(sim_first(c->pool, "pool"), "repositories")->count ? "UPDATEINFO_HASH_MISMATCH"
                                                                               : "NO_REPOSITORY_ENABLED",
                    NULL);
}

const struct sim_row sim_pool_config_rows[] = {
    {"pool.set_local_auth_max_threads", set_threads},
    {"pool.set_ext_auth_max_threads", set_threads},
    {"pool.set_ext_auth_cache_enabled", set_plain},
    {"pool.set_ext_auth_cache_size", set_cache_size},
    {"pool.set_ext_auth_cache_expiry", set_cache_expiry},
    {"pool.enable_client_certificate_auth", enable_client_certificates},
    {"pool.disable_client_certificate_auth", disable_client_certificates},
    {"pool.enable_tls_verification", enable_tls_verification},
    {"host.emergency_disable_tls_verification", emergency_disable_tls},
    {"host.emergency_reenable_tls_verification", emergency_enable_tls},
    {"pool.rotate_secret", rotate_secret},
    {"pool.set_vswitch_controller", set_switch_controller},
    {"pool.set_igmp_snooping_enabled", set_plain},
    {"pool.add_to_guest_agent_config", add_agent_config},
    {"pool.get_guest_secureboot_readiness", secureboot_readiness},
    {"pool.set_uefi_certificates", uefi_deprecated},
    {"pool.set_custom_uefi_certificates", uefi_not_allowed},
    {"pool.enable_local_storage_caching", enable_caching},
    {"pool.disable_local_storage_caching", disable_caching},
    {"pool.enable_redo_log", enable_redo_log},
    {"pool.disable_redo_log", disable_redo_log},
    {"pool.initialize_wlb", wlb_connect},
    {"pool.deconfigure_wlb", wlb_off},
    {"pool.send_wlb_configuration", wlb_off},
    {"pool.retrieve_wlb_configuration", wlb_off},
    {"pool.retrieve_wlb_recommendations", wlb_off},
    {"host.retrieve_wlb_evacuate_recommendations", wlb_off},
    {"pool.send_test_post", test_post},
    {"pool.test_archive_target", removed},
    {"pool.set_telemetry_next_collection", set_next_collection},
    {"pool.reset_telemetry_uuid", reset_telemetry},
    {"pool.configure_repository_proxy", configure_proxy},
    {"pool.disable_repository_proxy", disable_proxy},
    {"pool.configure_update_sync", configure_sync},
    {"pool.set_update_sync_enabled", set_sync_enabled},
    {"pool.set_repositories", set_repositories},
    {"pool.add_repository", add_repository},
    {"pool.remove_repository", remove_repository},
    {"pool.sync_updates", sync_updates},
    {"pool.check_update_readiness", update_readiness},
    {"host.apply_updates", apply_updates},
    {NULL, NULL},
};
