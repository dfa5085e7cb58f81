/*
 * Settings of hosts and what can be asked of their control domains.
 *
 * What a real host does to files of its control domain shows here as far as a client can see it: in its record, and in
 * what it is asked later. Facts: xapi_host.ml of xapi (2026-08).
 */
#include "lib/simpool/hosts.h"

#include "core/text.h"
#include "lib/simpool/pif.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define DMESG_BYTES_MAX 65536
#define SSH_TIMEOUT_MAX 172800
#define HOSTNAME_MAX    255

static enum sim_outcome invalid(struct sim_call *c, const char *what, const char *value)
{
    return sim_fail(c, "INVALID_VALUE", what, value, NULL);
}

static enum sim_outcome invalid_int(struct sim_call *c, const char *what, int64_t value)
{
    char text[24];

    snprintf(text, sizeof(text), "%lld", (long long)value);
    return invalid(c, what, text);
}

/* The field of argument 0's record that the message is named after gets argument 1. */
static enum sim_outcome put_argument(struct sim_call *c, struct sim_object *host)
{
    const char *const name = strstr(xapi_text(c->message->name), ".set_");

    sim_put(c->pool, host, name + strlen(".set_"), c->args[1]);
    return SIM_DONE;
}

/* ---- power, names ---- */

static enum sim_outcome set_power_on_mode(struct sim_call *c)
{
    struct sim_object *const host = sim_arg(c, 0);

    if (!host)
        return SIM_FAILED;
    sim_put(c->pool, host, "power_on_mode", c->args[1]);
    sim_put(c->pool, host, "power_on_config", c->args[2]);
    sim_host_allowed(c->pool, host);
    return SIM_DONE;
}

static const char *hostname_wrong(const char *name)
{
    const size_t len = strlen(name);

    if (len == 0)
        return "hostname empty";
    if (len > HOSTNAME_MAX)
        return "hostname is too long";
    for (const char *at = name; *at; at++)
        if (!(isalnum((unsigned char)*at) || *at == '-' || *at == '.'))
            return "hostname contains invalid characters";
    return name[0] == '-' || name[len - 1] == '-' ? "hostname contains invalid characters" : NULL;
}

static enum sim_outcome set_hostname_live(struct sim_call *c)
{
    struct sim_object *const host = sim_host_arg(c, 0);
    const char *const name = sim_arg_text(c, 1), *const wrong = hostname_wrong(name);
    char text[HOSTNAME_MAX + 64];

    if (!host)
        return SIM_FAILED;
    if (wrong)
        return sim_fail(c, "HOST_NAME_INVALID", wrong, NULL);
    sim_put_text(c->pool, host, "hostname", name);
    struct sim_object *const dom0 = sim_follow(c->pool, host, "control_domain");
    snprintf(text, sizeof(text), "Control domain on host: %s", name);
    if (dom0)
        sim_put_text(c->pool, dom0, "name_label", text);
    return SIM_DONE;
}

static enum sim_outcome set_iscsi_iqn(struct sim_call *c)
{
    struct sim_object *const host = sim_host_arg(c, 0);

    if (!host)
        return SIM_FAILED;
    if (!*sim_arg_text(c, 1))
        return invalid(c, "value", "");
    sim_put(c->pool, host, "iscsi_iqn", c->args[1]);
    /* Old clients look here. */
    sim_map_set(c->pool, host, xapi_field_place(host->class_row, "other_config"), "iscsi_iqn", &c->args[1]);
    return SIM_DONE;
}

static enum sim_outcome set_multipathing(struct sim_call *c)
{
    struct sim_object *const host = sim_host_arg(c, 0);

    if (!host)
        return SIM_FAILED;
    const struct xapi_value text = xapi_str(c->args[1].truth ? "true" : "false");
    sim_put(c->pool, host, "multipathing", c->args[1]);
    sim_map_set(c->pool, host, xapi_field_place(host->class_row, "other_config"), "multipathing", &text);
    return SIM_DONE;
}

static enum sim_outcome set_plain(struct sim_call *c)
{
    struct sim_object *const host = sim_host_arg(c, 0);

    return host ? put_argument(c, host) : SIM_FAILED;
}

static enum sim_outcome set_ssl_legacy(struct sim_call *c)
{
    if (!sim_arg(c, 0))
        return SIM_FAILED;
    if (c->args[1].truth)
        return sim_fail(c, "VALUE_NOT_SUPPORTED", "value", "true", "Legacy SSL support has been removed", NULL);
    return SIM_DONE;
}

/* There is none left to disable. */
static enum sim_outcome no_ssl_legacy(struct sim_call *c)
{
    return sim_arg(c, 0) ? SIM_DONE : SIM_FAILED;
}

static enum sim_outcome set_max_cstate(struct sim_call *c)
{
    struct sim_object *const host = sim_host_arg(c, 0);
    const char *const value = sim_arg_text(c, 1);
    unsigned number = 0;
    int end = 0;

    if (!host)
        return SIM_FAILED;
    const bool plain = *value == '\0' || strcmp(value, "unlimited") == 0;
    if (!plain && ((sscanf(value, "%u%n", &number, &end) != 1 || value[end] != '\0') &&
                   (sscanf(value, "%u,%*u%n", &number, &end) != 1 || value[end] != '\0')))
        return invalid(c, "max_cstate", value);
    if (number > 1)
        return sim_fail(c, "VALUE_NOT_SUPPORTED", "max_cstate", value,
                        "Only C0, C1 and unlimited are supported for max-cstate", NULL);
    return put_argument(c, host);
}

/* ---- time ---- */

static enum sim_outcome set_ntp_mode(struct sim_call *c)
{
    struct sim_object *const host = sim_host_arg(c, 0);

    if (!host)
        return SIM_FAILED;
    if (strcmp(sim_arg_text(c, 1), "Custom") == 0 && sim_get(host, "ntp_custom_servers")->count == 0)
        return sim_fail(c, "INVALID_NTP_CONFIG", "Can't set ntp_mode to Custom when ntp_custom_servers is empty", NULL);
    return put_argument(c, host);
}

static enum sim_outcome set_ntp_servers(struct sim_call *c)
{
    struct sim_object *const host = sim_host_arg(c, 0);

    if (!host)
        return SIM_FAILED;
    if (c->args[1].count == 0 && strcmp(sim_text(host, "ntp_mode"), "Custom") == 0)
        return sim_fail(c, "INVALID_NTP_CONFIG", "Can't set ntp_custom_servers empty when ntp_mode is Custom", NULL);
    return put_argument(c, host);
}

static bool has_ntp(const struct sim_object *host)
{
    return strcmp(sim_text(host, "ntp_mode"), "Disabled") != 0;
}

/* Its own servers, when it has some: all of them answer. */
static enum sim_outcome ntp_status(struct sim_call *c)
{
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&c->arena);
    const struct sim_object *const host = sim_host_arg(c, 0);

    if (!host)
        return SIM_FAILED;
    const struct xapi_value *const servers = sim_get(host, "ntp_custom_servers");
    xapi_build_open(&b, XAPI_MAP);
    for (size_t i = 0; i < servers->count && strcmp(sim_text(host, "ntp_mode"), "Custom") == 0; i++) {
        xapi_build_value(&b, servers->items[i]);
        xapi_build_value(&b, xapi_str(i == 0 ? "Current synchronized" : "Combined"));
    }
    xapi_build_close(&b);
    return xapi_build_end(&b, &c->result) < 0 ? sim_no_memory(c) : SIM_DONE;
}

static enum sim_outcome ntp_synchronized(struct sim_call *c)
{
    const struct sim_object *const host = sim_host_arg(c, 0);

    if (!host)
        return SIM_FAILED;
    c->result = xapi_bool(has_ntp(host));
    return SIM_DONE;
}

static const char *const timezones[] = {"Africa/Johannesburg", "America/Los_Angeles", "America/New_York",
                                        "America/Sao_Paulo",   "Asia/Kolkata",        "Asia/Shanghai",
                                        "Asia/Tokyo",          "Australia/Sydney",    "Europe/Berlin",
                                        "Europe/London",       "Europe/Paris",        "UTC"};

static enum sim_outcome list_timezones(struct sim_call *c)
{
    struct xapi_value *const items = xk_arena_alloc(&c->arena, XK_COUNT(timezones) * sizeof(*items));

    if (!sim_host_arg(c, 0))
        return SIM_FAILED;
    if (!items)
        return sim_no_memory(c);
    for (size_t i = 0; i < XK_COUNT(timezones); i++)
        items[i] = xapi_str(timezones[i]);
    c->result = xapi_list(items, XK_COUNT(timezones));
    return SIM_DONE;
}

static enum sim_outcome set_timezone(struct sim_call *c)
{
    struct sim_object *const host = sim_host_arg(c, 0);

    if (!host)
        return SIM_FAILED;
    for (size_t i = 0; i < XK_COUNT(timezones); i++)
        if (strcmp(timezones[i], sim_arg_text(c, 1)) == 0)
            return put_argument(c, host);
    return invalid(c, "timezone", sim_arg_text(c, 1));
}

/* ---- access to the control domain ---- */

static void ssh_expire(struct sim_call *c, struct sim_object *host)
{
    const int64_t timeout = sim_int(host, "ssh_enabled_timeout");

    sim_put_time(c->pool, host, "ssh_expiry", timeout ? sim_now_s(c->pool) + timeout : 0);
}

static enum sim_outcome enable_ssh(struct sim_call *c)
{
    struct sim_object *const host = sim_host_arg(c, 0);

    if (!host)
        return SIM_FAILED;
    sim_put_bool(c->pool, host, "ssh_auto_mode", false);
    sim_put_bool(c->pool, host, "ssh_enabled", true);
    ssh_expire(c, host);
    return SIM_DONE;
}

static enum sim_outcome disable_ssh(struct sim_call *c)
{
    struct sim_object *const host = sim_host_arg(c, 0);

    if (!host)
        return SIM_FAILED;
    sim_put_bool(c->pool, host, "ssh_enabled", false);
    sim_put_time(c->pool, host, "ssh_expiry", sim_now_s(c->pool));
    return SIM_DONE;
}

static enum sim_outcome set_ssh_timeout(struct sim_call *c)
{
    struct sim_object *const host = sim_host_arg(c, 0);

    if (!host)
        return SIM_FAILED;
    if (c->args[1].integer < 0 || c->args[1].integer > SSH_TIMEOUT_MAX)
        return invalid_int(c, "ssh_enabled_timeout", c->args[1].integer);
    (void)put_argument(c, host);
    if (sim_bool(host, "ssh_enabled"))
        ssh_expire(c, host);
    return SIM_DONE;
}

static enum sim_outcome set_console_timeout(struct sim_call *c)
{
    struct sim_object *const host = sim_host_arg(c, 0);

    if (!host)
        return SIM_FAILED;
    if (c->args[1].integer < 0)
        return invalid_int(c, "console_timeout", c->args[1].integer);
    return put_argument(c, host);
}

void sim_ssh_collect(struct simpool *p)
{
    for (struct sim_object *host = sim_first(p, "host"); host; host = host->class_next)
        if (sim_bool(host, "ssh_enabled") && sim_int(host, "ssh_enabled_timeout") > 0 &&
            sim_time(host, "ssh_expiry") > 0 && sim_time(host, "ssh_expiry") <= sim_now_s(p))
            sim_put_bool(p, host, "ssh_enabled", false);
}

/* ---- the pool's own, on every host ---- */

/* The behaviour of a host's message for all of them: the first that refuses is told. */
static enum sim_outcome on_all(struct sim_call *c, sim_behaviour *one)
{
    const struct xapi_value pool = c->args[0];
    enum sim_outcome outcome = sim_arg(c, 0) ? SIM_DONE : SIM_FAILED;

    for (struct sim_object *host = sim_first(c->pool, "host"); host && outcome == SIM_DONE; host = host->class_next)
        outcome = sim_host_is_live(c->pool, host) ? SIM_DONE : sim_fail(c, "HOST_OFFLINE", host->ref, NULL);
    const struct xapi_message *const message = c->message;
    char name[96];
    snprintf(name, sizeof(name), "host%s", strchr(xapi_text(message->name), '.'));
    for (struct sim_object *host = sim_first(c->pool, "host"); host && outcome == SIM_DONE; host = host->class_next) {
        c->message = xapi_message_find(name);
        c->args[0] = xapi_str(host->ref);
        outcome = one(c);
    }
    c->message = message;
    c->args[0] = pool;
    return outcome;
}

static enum sim_outcome pool_enable_ssh(struct sim_call *c)
{
    return on_all(c, enable_ssh);
}

static enum sim_outcome pool_disable_ssh(struct sim_call *c)
{
    return on_all(c, disable_ssh);
}

static enum sim_outcome pool_set_ssh_timeout(struct sim_call *c)
{
    return on_all(c, set_ssh_timeout);
}

static enum sim_outcome pool_set_console_timeout(struct sim_call *c)
{
    return on_all(c, set_console_timeout);
}

static enum sim_outcome pool_set_plain(struct sim_call *c)
{
    return on_all(c, set_plain);
}

/* ---- licences ---- */

static const char *const editions[] = {"trial", "standard-per-socket", "premium-per-socket", "premium", NULL};

static const char *edition_find(const char *name)
{
    for (size_t i = 0; editions[i]; i++)
        if (strcmp(editions[i], name) == 0)
            return editions[i];
    return *name ? NULL : editions[0];
}

static enum sim_outcome apply_edition(struct sim_call *c)
{
    struct sim_object *const host = sim_host_arg(c, 0);
    const char *const edition = edition_find(sim_arg_text(c, 1));

    if (!host)
        return SIM_FAILED;
    if (!edition)
        return sim_fail(c, "INVALID_EDITION", sim_arg_text(c, 1), NULL);
    sim_put_text(c->pool, host, "edition", edition);
    sim_put_map(c->pool, host, "license_params",
                (const char *const[]){"sku_type", edition, "expiry", "20991231T23:59:59Z", NULL});
    return SIM_DONE;
}

static enum sim_outcome pool_apply_edition(struct sim_call *c)
{
    return on_all(c, apply_edition);
}

/* Nothing that a client sends is one that its maker has signed. */
static enum sim_outcome license_add(struct sim_call *c)
{
    return sim_host_arg(c, 0) ? sim_fail(c, "LICENSE_PROCESSING_ERROR", NULL) : SIM_FAILED;
}

static enum sim_outcome license_remove(struct sim_call *c)
{
    struct sim_object *const host = sim_host_arg(c, 0);

    if (!host)
        return SIM_FAILED;
    sim_put_text(c->pool, host, "edition", editions[0]);
    return SIM_DONE;
}

/* The lowest edition of all hosts. */
static enum sim_outcome license_state(struct sim_call *c)
{
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&c->arena);
    size_t lowest = XK_COUNT(editions) - 2;

    if (!sim_arg(c, 0))
        return SIM_FAILED;
    for (const struct sim_object *host = sim_first(c->pool, "host"); host; host = host->class_next)
        for (size_t i = 0; i < lowest; i++)
            if (strcmp(editions[i], sim_text(host, "edition")) == 0)
                lowest = i;
    xapi_build_open(&b, XAPI_MAP);
    xapi_build_value(&b, xapi_str("edition"));
    xapi_build_value(&b, xapi_str(editions[lowest]));
    xapi_build_value(&b, xapi_str("expiry"));
    xapi_build_value(&b, xapi_str(lowest ? "20991231T23:59:59Z" : "never"));
    xapi_build_close(&b);
    return xapi_build_end(&b, &c->result) < 0 ? sim_no_memory(c) : SIM_DONE;
}

/* ---- the display of the console ---- */

static enum sim_outcome set_display(struct sim_call *c, bool on)
{
    struct sim_object *const host = sim_host_arg(c, 0);
    const char *now;

    if (!host)
        return SIM_FAILED;
    now = sim_text(host, "display");
    if (on)
        now = strcmp(now, "disabled") == 0            ? "enable_on_reboot"
              : strcmp(now, "disable_on_reboot") == 0 ? "enabled"
                                                      : now;
    else
        now = strcmp(now, "enabled") == 0            ? "disable_on_reboot"
              : strcmp(now, "enable_on_reboot") == 0 ? "disabled"
                                                     : now;
    sim_put_text(c->pool, host, "display", now);
    c->result = *sim_get(host, "display");
    return SIM_DONE;
}

static enum sim_outcome enable_display(struct sim_call *c)
{
    return set_display(c, true);
}

static enum sim_outcome disable_display(struct sim_call *c)
{
    return set_display(c, false);
}

/* ---- the hypervisor's console ---- */

static struct xk_buf *console_of(struct sim_call *c, const struct sim_object *host)
{
    const unsigned number = sim_host_number(c->pool, host);

    if (number == SIMPOOL_HOSTS_MAX)
        return NULL;
    struct xk_buf *const b = &c->pool->members[number].dmesg;
    if (b->len == 0) {
        xk_buf_done(b);
        xk_buf_init(b, DMESG_BYTES_MAX);
        xk_buf_printf(b, "(XEN) Xen version 4.17.5 (simulated)\n(XEN) Command line: dom0_mem=4096M,max:4096M\n");
    }
    return b;
}

static enum sim_outcome dmesg(struct sim_call *c)
{
    const struct sim_object *const host = sim_host_arg(c, 0);
    struct xk_buf *const b = host ? console_of(c, host) : NULL;

    if (!b)
        return SIM_FAILED;
    char *const text = xk_arena_strdup(&c->arena, xk_buf_str(b));
    if (!text)
        return sim_no_memory(c);
    c->result = xapi_str(text);
    return SIM_DONE;
}

static enum sim_outcome send_keys(struct sim_call *c)
{
    const struct sim_object *const host = sim_host_arg(c, 0);
    struct xk_buf *const b = host ? console_of(c, host) : NULL;

    if (!b)
        return SIM_FAILED;
    for (const char *key = sim_arg_text(c, 1); *key && b->len < DMESG_BYTES_MAX / 2; key++)
        xk_buf_printf(b, "(XEN) '%c' pressed\n", isprint((unsigned char)*key) ? *key : '?');
    return SIM_DONE;
}

/* ---- plugins, uploads, diagnoses ---- */

static enum sim_outcome has_extension(struct sim_call *c)
{
    if (!sim_arg(c, 0))
        return SIM_FAILED;
    c->result = xapi_bool(false);
    return SIM_DONE;
}

static enum sim_outcome call_extension(struct sim_call *c)
{
    return sim_host_arg(c, 0) ? sim_fail(c, "MESSAGE_METHOD_UNKNOWN", sim_arg_text(c, 1), NULL) : SIM_FAILED;
}

/* A simulated host reaches nobody outside. */
static enum sim_outcome upload(struct sim_call *c)
{
    if (!sim_arg(c, 0))
        return SIM_FAILED;
    if (!*sim_arg_text(c, 1))
        return invalid(c, "url", "");
    return sim_fail(c, "INTERNAL_ERROR", "Failure(\"Failed to resolve proxy or host\")", NULL);
}

static enum sim_outcome empty_map(struct sim_call *c)
{
    if (!sim_host_arg(c, 0))
        return SIM_FAILED;
    c->result = xapi_map(NULL, 0);
    return SIM_DONE;
}

/* What the real host does is done to its own files, and leaves no trace that a client could see. */
static enum sim_outcome within_host(struct sim_call *c)
{
    return sim_host_arg(c, 0) ? SIM_DONE : SIM_FAILED;
}

static enum sim_outcome uefi_moved(struct sim_call *c)
{
    return sim_fail(c, "OPERATION_NOT_ALLOWED", "To set UEFI certificates use: `Pool.set_custom_uefi_certificates`",
                    NULL);
}

static enum sim_outcome set_sched_gran(struct sim_call *c)
{
    return sim_host_arg(c, 0) ? sim_fail(c, "OPERATION_NOT_ALLOWED", "Disabled by xapi.conf", NULL) : SIM_FAILED;
}

static enum sim_outcome get_sched_gran(struct sim_call *c)
{
    if (!sim_host_arg(c, 0))
        return SIM_FAILED;
    c->result = xapi_str("cpu");
    return SIM_DONE;
}

static enum sim_outcome clear_guidance(struct sim_call *c)
{
    struct sim_object *const host = sim_host_object(c->pool, c->host);

    if (host)
        sim_put_list(c->pool, host, "pending_guidances", (const char *const[]){NULL});
    return SIM_DONE;
}

static enum sim_outcome set_servertime(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    const struct sim_object *const host = sim_host_arg(c, 0);
    struct tm tm = {0};

    if (!host)
        return SIM_FAILED;
    if (has_ntp(host))
        return sim_fail(c, "NOT_ALLOWED_WHEN_NTP_IS_ENABLED", host->ref, NULL);
    if (!strptime(sim_arg_text(c, 1), "%Y%m%dT%H:%M:%S", &tm))
        return invalid(c, "value", sim_arg_text(c, 1));
    p->skew_ns[sim_host_number(p, host)] = ((int64_t)timegm(&tm) - sim_now_s(p)) * (int64_t)XK_NS_PER_S;
    return SIM_DONE;
}

/* ---- caches ---- */

static enum sim_outcome in_maintenance(struct sim_call *c, const struct sim_object *host)
{
    xk_autofree struct sim_move *moves = NULL;

    if (sim_bool(host, "enabled"))
        return sim_fail(c, "HOST_NOT_DISABLED", NULL);
    const size_t count = sim_residents(c->pool, host, &moves);
    return count ? sim_fail(c, "HOST_IN_USE", host->ref, "vm", moves[0].vm->ref, NULL) : SIM_DONE;
}

static enum sim_outcome enable_caching(struct sim_call *c)
{
    struct sim_object *const host = sim_host_arg(c, 0), *const sr = host ? sim_arg(c, 1) : NULL;

    if (!sr || in_maintenance(c, host) == SIM_FAILED)
        return SIM_FAILED;
    const struct sim_object *const pbd = sim_get(sr, "PBDs")->count == 1
                                             ? sim_find(c->pool, xapi_value_text(&sim_get(sr, "PBDs")->items[0]), NULL)
                                             : NULL;
    if (sim_bool(sr, "shared") || !pbd || strcmp(sim_text(sr, "type"), "ext") != 0)
        return sim_fail(c, "SR_OPERATION_NOT_SUPPORTED", NULL);
    if (strcmp(sim_text(pbd, "host"), host->ref) != 0)
        return sim_fail(c, "HOST_CANNOT_SEE_SR", host->ref, sr->ref, NULL);
    struct sim_object *const old = sim_follow(c->pool, host, "local_cache_sr");
    if (old)
        sim_put_bool(c->pool, old, "local_cache_enabled", false);
    sim_put_text(c->pool, host, "local_cache_sr", sr->ref);
    sim_put_bool(c->pool, sr, "local_cache_enabled", true);
    return SIM_DONE;
}

static enum sim_outcome disable_caching(struct sim_call *c)
{
    struct sim_object *const host = sim_host_arg(c, 0);

    if (!host || in_maintenance(c, host) == SIM_FAILED)
        return SIM_FAILED;
    struct sim_object *const sr = sim_follow(c->pool, host, "local_cache_sr");
    if (sr)
        sim_put_bool(c->pool, sr, "local_cache_enabled", false);
    sim_put_text(c->pool, host, "local_cache_sr", SIM_NULL);
    return SIM_DONE;
}

/* ---- the management interface ---- */

static struct sim_object *management_pif(const struct simpool *p, const struct sim_object *host)
{
    struct sim_object *pif = sim_first(p, "PIF");

    while (pif && (!sim_bool(pif, "management") || strcmp(sim_text(pif, "host"), host->ref) != 0))
        pif = pif->class_next;
    return pif;
}

static enum sim_outcome get_management(struct sim_call *c)
{
    const struct sim_object *const host = sim_arg(c, 0), *const pif = host ? management_pif(c->pool, host) : NULL;

    if (!host)
        return SIM_FAILED;
    if (!pif)
        return sim_fail(c, "INTERNAL_ERROR", "Not_found", NULL);
    c->result = xapi_str(pif->ref);
    return SIM_DONE;
}

static enum sim_outcome move_management(struct sim_call *c, struct sim_object *pif)
{
    struct simpool *const p = c->pool;
    struct sim_object *const host = sim_follow(p, pif, "host"), *const old = host ? management_pif(p, host) : NULL;

    const bool v6 = sim_is(pif, "primary_address_type", "IPv6");
    if (sim_is(pif, v6 ? "ipv6_configuration_mode" : "ip_configuration_mode", "None"))
        return sim_fail(c, "PIF_HAS_NO_NETWORK_CONFIGURATION", pif->ref, NULL);
    if (!*sim_pif_address(pif).s)
        return sim_fail(c, "INTERFACE_HAS_NO_IP", pif->ref, NULL);
    if (!host || old == pif)
        return SIM_DONE;
    if (old)
        sim_put_bool(p, old, "management", false);
    sim_put_bool(p, pif, "management", true);
    return SIM_DONE;
}

static enum sim_outcome management(struct sim_call *c)
{
    struct sim_object *const pif = sim_arg(c, 0);

    if (!pif)
        return SIM_FAILED;
    if (sim_bool(sim_first(c->pool, "pool"), "ha_enabled"))
        return sim_fail(c, "HA_IS_ENABLED", NULL);
    return move_management(c, pif);
}

static enum sim_outcome pool_management(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    const struct sim_object *const network = sim_arg(c, 0);
    enum sim_outcome outcome = SIM_DONE;

    if (!network)
        return SIM_FAILED;
    if (sim_bool(sim_first(p, "pool"), "ha_enabled"))
        return sim_fail(c, "HA_IS_ENABLED", NULL);
    for (const struct sim_object *host = sim_first(p, "host"); host; host = host->class_next)
        if (!sim_pif_on(p, network, host->ref))
            return sim_fail(c, "PIF_NOT_PRESENT", host->ref, network->ref, NULL);
    for (const struct sim_object *host = sim_first(p, "host"); host && outcome == SIM_DONE; host = host->class_next)
        outcome = move_management(c, sim_pif_on(p, network, host->ref));
    return outcome;
}

static enum sim_outcome local_management(struct sim_call *c)
{
    if (!sim_is_in_emergency(c->pool, c->host))
        return sim_fail(c, "NOT_IN_EMERGENCY_MODE", NULL);
    return SIM_DONE; /* the interface is up: the call came through it */
}

/* A master without one would answer nobody any more, and there is no console to bring it back. */
static enum sim_outcome no_management(struct sim_call *c)
{
    if (sim_bool(sim_first(c->pool, "pool"), "ha_enabled"))
        return sim_fail(c, "HA_IS_ENABLED", NULL);
    if (!sim_is_master(c->pool, c->host))
        return sim_fail(c, "SLAVE_REQUIRES_MANAGEMENT_INTERFACE", NULL);
    return sim_fail(c, "NOT_IMPLEMENTED", "host.management_disable", NULL);
}

const struct sim_row sim_host_config_rows[] = {
    {"host.set_power_on_mode", set_power_on_mode},
    {"host.set_hostname_live", set_hostname_live},
    {"host.set_iscsi_iqn", set_iscsi_iqn},
    {"host.set_multipathing", set_multipathing},
    {"host.set_ssl_legacy", set_ssl_legacy},
    {"pool.disable_ssl_legacy", no_ssl_legacy},
    {"host.set_numa_affinity_policy", set_plain},
    {"host.set_https_only", set_plain},
    {"host.set_ssh_auto_mode", set_plain},
    {"host.set_max_cstate", set_max_cstate},
    {"host.set_ntp_mode", set_ntp_mode},
    {"host.set_ntp_custom_servers", set_ntp_servers},
    {"host.get_ntp_servers_status", ntp_status},
    {"host.get_ntp_synchronized", ntp_synchronized},
    {"host.set_timezone", set_timezone},
    {"host.list_timezones", list_timezones},
    {"host.set_servertime", set_servertime},
    {"host.enable_ssh", enable_ssh},
    {"host.disable_ssh", disable_ssh},
    {"host.set_ssh_enabled_timeout", set_ssh_timeout},
    {"host.set_console_idle_timeout", set_console_timeout},
    {"pool.enable_ssh", pool_enable_ssh},
    {"pool.disable_ssh", pool_disable_ssh},
    {"pool.set_ssh_enabled_timeout", pool_set_ssh_timeout},
    {"pool.set_console_idle_timeout", pool_set_console_timeout},
    {"pool.set_ssh_auto_mode", pool_set_plain},
    {"pool.set_https_only", pool_set_plain},
    {"host.apply_edition", apply_edition},
    {"pool.apply_edition", pool_apply_edition},
    {"host.license_add", license_add},
    {"host.license_remove", license_remove},
    {"pool.get_license_state", license_state},
    {"host.enable_display", enable_display},
    {"host.disable_display", disable_display},
    {"host.dmesg", dmesg},
    {"host.send_debug_keys", send_keys},
    {"host.has_extension", has_extension},
    {"pool.has_extension", has_extension},
    {"host.call_extension", call_extension},
    {"host.bugreport_upload", upload},
    {"host_crashdump.upload", upload},
    {"host.get_diagnostic_timing_stats", empty_map},
    {"host.syslog_reconfigure", within_host},
    {"host.refresh_pack_info", within_host},
    {"host.sync_data", within_host},
    {"host.backup_rrds", within_host},
    {"host.apply_guest_agent_config", within_host},
    {"host.rescan_drivers", within_host},
    {"host.set_uefi_certificates", uefi_moved},
    {"host.set_sched_gran", set_sched_gran},
    {"host.get_sched_gran", get_sched_gran},
    {"host.emergency_clear_mandatory_guidance", clear_guidance},
    {"host.enable_local_storage_caching", enable_caching},
    {"host.disable_local_storage_caching", disable_caching},
    {"host.get_management_interface", get_management},
    {"host.management_reconfigure", management},
    {"pool.management_reconfigure", pool_management},
    {"host.local_management_reconfigure", local_management},
    {"host.management_disable", no_management},
    {NULL, NULL},
};
