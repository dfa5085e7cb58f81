/*
 * What the hosts of a pool tell each other to do.
 *
 * Most of these only a session of the pool itself may call (session.slave_login, with the pool's secret); others are
 * hidden, and for an administrator at most. All hosts share one database here, so a call to one of them that would
 * fetch a copy has nothing left to do once the host was found to answer. Facts: xapi_host.ml, xapi_ha.ml, xapi_psr.ml,
 * message_forwarding.ml of xapi (2026-08).
 */
#include "lib/simpool/access.h"
#include "lib/simpool/hosts.h"
#include "lib/simpool/keep.h"
#include "lib/simpool/ops.h"
#include "lib/simpool/pif.h"

#include <ctype.h>
#include <openssl/crypto.h>

/* The machine that argument 0 names. NULL: the error was recorded. */
static struct sim_member *member_arg(struct sim_call *c)
{
    const struct sim_object *const host = sim_host_arg(c, 0);
    const unsigned number = host ? sim_host_number(c->pool, host) : SIMPOOL_HOSTS_MAX;

    if (!host)
        return NULL;
    if (number < SIMPOOL_HOSTS_MAX)
        return &c->pool->members[number];
    (void)sim_fail(c, "CANNOT_CONTACT_HOST", host->ref, NULL);
    return NULL;
}

/* It was told, and nothing of that can be seen. */
static enum sim_outcome told(struct sim_call *c)
{
    return member_arg(c) ? SIM_DONE : SIM_FAILED;
}

static enum sim_outcome told_here(struct sim_call *c)
{
    return SIM_DONE;
}

/* ---- records of hosts ---- */

/* A host that is about to join: nobody has heard of it yet. */
static enum sim_outcome host_create(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    const char *const uuid = sim_arg_text(c, 0);

    for (size_t i = 0; i < 36; i++)
        if (!(i == 8 || i == 13 || i == 18 || i == 23 ? uuid[i] == '-' : isxdigit((unsigned char)uuid[i])))
            return sim_fail(c, "UUID_INVALID", "host", uuid, NULL);
    if (uuid[36] || sim_find_uuid(p, uuid, xapi_class_find("host")))
        return sim_fail(c, "UUID_INVALID", "host", uuid, NULL);
    struct sim_object *const host = sim_create(p, "host"), *const metrics = host ? sim_create(p, "host_metrics") : NULL;
    if (!metrics)
        return sim_no_memory(c);
    sim_put_uuid(p, host, uuid);
    for (unsigned i = 1; i < c->message->params; i++) {
        const char *const name = xapi_text(xapi_params[c->message->first_param + i].name);
        const struct xapi_field *const field = xapi_field_find(host->class_row, name);
        if (field && !sim_same(name, "name_description") && !sim_same(name, "ssl_legacy"))
            sim_put(p, host, name, c->args[i]);
    }
    sim_put_text(p, host, "name_description", "Default install");
    sim_put_bool(p, host, "enabled", false);
    sim_put_text(p, host, "metrics", metrics->ref);
    sim_put_bool(p, metrics, "live", false);
    sim_put_time(p, metrics, "last_updated", sim_now_s(p));
    return sim_done_ref(c, host);
}

/* ---- high availability ---- */

static enum sim_outcome set_armed(struct sim_call *c, bool on)
{
    struct sim_member *const m = member_arg(c);

    if (!m)
        return SIM_FAILED;
    m->armed = on;
    return SIM_DONE;
}

static enum sim_outcome ha_join(struct sim_call *c)
{
    return set_armed(c, true);
}

static enum sim_outcome ha_leave(struct sim_call *c)
{
    return set_armed(c, false);
}

static enum sim_outcome ha_release(struct sim_call *c)
{
    struct sim_object *const host = sim_host_arg(c, 0);

    if (!host)
        return SIM_FAILED;
    sim_put_list(c->pool, host, "ha_statefiles", (const char *const[]){NULL});
    return SIM_DONE;
}

static enum sim_outcome ha_preconfigure(struct sim_call *c)
{
    struct sim_object *const host = sim_host_arg(c, 0);

    if (!host)
        return SIM_FAILED;
    for (size_t i = 0; i < c->args[1].count; i++)
        if (!sim_find(c->pool, xapi_value_text(&c->args[1].items[i]), xapi_class_find("VDI")))
            return sim_bad_handle(c, (uint16_t)xapi_class_index(xapi_class_find("VDI")),
                                  xapi_value_text(&c->args[1].items[i]));
    sim_put(c->pool, host, "ha_statefiles", c->args[1]);
    return SIM_DONE;
}

static enum sim_outcome assert_healthy(struct sim_call *c)
{
    return sim_is_in_emergency(c->pool, c->host) ? sim_fail(c, "HOST_STILL_BOOTING", NULL) : SIM_DONE;
}

/* ---- a host's own little database ---- */

static enum sim_outcome set_local_key(struct sim_call *c)
{
    const struct sim_object *const host = sim_host_arg(c, 0);
    struct sim_member *const m = host ? member_arg(c) : NULL;
    const char *const key = sim_arg_text(c, 1), *const value = sim_arg_text(c, 2);

    if (!m)
        return SIM_FAILED;
    const char *const name = xk_arena_printf(&c->arena, "%.36s/%s", sim_text(host, "uuid"), key);
    if (!name)
        return sim_no_memory(c);
    const int code = sim_keep(c->pool, SIM_KEPT_LOCAL, name, value);
    if (code < 0)
        return code == -ENOMEM ? sim_no_memory(c) : sim_invalid(c, "key", key);
    if (sim_same(key, "ha_armed"))
        m->armed = sim_same(value, "true");
    return SIM_DONE;
}

static enum sim_outcome ha_no_decisions(struct sim_call *c)
{
    const struct sim_object *const host = sim_host_arg(c, 0);

    if (!host)
        return SIM_FAILED;
    const char *const name = xk_arena_printf(&c->arena, "%.36s/ha_disable_failover_decisions", sim_text(host, "uuid"));
    return name && sim_keep(c->pool, SIM_KEPT_LOCAL, name, "true") == 0 ? SIM_DONE : sim_no_memory(c);
}

/* ---- blobs ---- */

static bool store_blobs(struct simpool *p, struct sim_object *host, bool on)
{
    sim_put_pair(p, host, "other_config", "no_local_storage", on ? NULL : "true");
    if (!on && sim_host_number(p, host) == p->master)
        sim_blobs_close(p); /* the master has them */
    return p->error == 0;
}

static enum sim_outcome host_blobs(struct sim_call *c, bool on)
{
    struct sim_object *const host = sim_host_arg(c, 0);

    if (!host)
        return SIM_FAILED;
    return store_blobs(c->pool, host, on) ? SIM_DONE : sim_no_memory(c);
}

static enum sim_outcome host_blobs_on(struct sim_call *c)
{
    return host_blobs(c, true);
}

static enum sim_outcome host_blobs_off(struct sim_call *c)
{
    return host_blobs(c, false);
}

static enum sim_outcome pool_blobs(struct sim_call *c, bool on)
{
    for (const struct sim_object *host = sim_first(c->pool, "host"); host; host = host->class_next)
        if (!sim_host_is_live(c->pool, host))
            return sim_fail(c, "HOST_OFFLINE", host->ref, NULL);
    for (struct sim_object *host = sim_first(c->pool, "host"); host; host = host->class_next)
        (void)store_blobs(c->pool, host, on);
    return SIM_DONE;
}

static enum sim_outcome pool_blobs_on(struct sim_call *c)
{
    return pool_blobs(c, true);
}

static enum sim_outcome pool_blobs_off(struct sim_call *c)
{
    return pool_blobs(c, false);
}

/* ---- the pool's secret changes ---- */

static bool is_secret(const char *a, const char *b)
{
    const size_t len = strlen(a);

    return len && strlen(b) == len && CRYPTO_memcmp(a, b, len) == 0;
}

static enum sim_outcome secret_wrong(struct sim_call *c, const char *text)
{
    return sim_fail(c, "INTERNAL_ERROR", text, NULL);
}

static enum sim_outcome secret_set(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    const char *const secret = sim_arg_text(c, 1);

    if (!member_arg(c))
        return SIM_FAILED;
    if (*secret == '\0' || strlen(secret) >= sizeof(p->secret))
        return sim_invalid(c, "pool_secret", "");
    memcpy(p->secret, secret, strlen(secret) + 1);
    return SIM_DONE;
}

/* From now on both are taken. */
static enum sim_outcome secret_accept(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    const char *const old = sim_arg_text(c, 1), *const fresh = sim_arg_text(c, 2);

    if (!member_arg(c))
        return SIM_FAILED;
    if (is_secret(p->secret_other, fresh) && is_secret(sim_pool_secret(p), old))
        return SIM_DONE;
    if (*p->secret_other)
        return secret_wrong(c, "notify_new: existing pool secrets are inconsistent");
    if (!is_secret(sim_pool_secret(p), old) || *fresh == '\0' || strlen(fresh) >= sizeof(p->secret_other))
        return secret_wrong(c, "notify_new: old pool secret doesn't match");
    memcpy(p->secret_other, fresh, strlen(fresh) + 1);
    return SIM_DONE;
}

/* The new one is the first now. */
static enum sim_outcome secret_send(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    const char *const old = sim_arg_text(c, 1), *const fresh = sim_arg_text(c, 2);
    char first[sizeof(p->secret)];

    if (!member_arg(c))
        return SIM_FAILED;
    if (!*p->secret_other)
        return secret_wrong(c, "notify_send: expected 2 pool secrets, got: 1");
    if (is_secret(sim_pool_secret(p), fresh) && is_secret(p->secret_other, old))
        return SIM_DONE;
    if (!is_secret(sim_pool_secret(p), old) || !is_secret(p->secret_other, fresh))
        return secret_wrong(c, "notify_send: runtime secrets don't match");
    memcpy(first, p->secret, sizeof(first));
    memcpy(p->secret, p->secret_other, sizeof(p->secret));
    memcpy(p->secret_other, first, sizeof(first));
    OPENSSL_cleanse(first, sizeof(first));
    return SIM_DONE;
}

/* The old one is no longer taken. */
static enum sim_outcome secret_clean(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    const char *const old = sim_arg_text(c, 1), *const fresh = sim_arg_text(c, 2);

    if (!member_arg(c))
        return SIM_FAILED;
    if (!*p->secret_other && is_secret(sim_pool_secret(p), fresh))
        return SIM_DONE;
    if (!*p->secret_other)
        return secret_wrong(c, "cleanup_internal: host has been cleaned up, but pool secret doesn't match");
    if (!is_secret(sim_pool_secret(p), fresh) || !is_secret(p->secret_other, old))
        return secret_wrong(c, "cleanup_internal: runtime secrets don't match");
    OPENSSL_cleanse(p->secret_other, sizeof(p->secret_other));
    return SIM_DONE;
}

/* ---- networks ---- */

/* Which interfaces are up says who brought up those bridges. */
static enum sim_outcome sync_attached(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    const struct sim_object *const host = sim_host_arg(c, 0);
    struct sim_object *pif;

    if (!host)
        return SIM_FAILED;
    for (size_t at = 0; (pif = sim_member(p, host, "PIFs", &at));) {
        const struct sim_object *const net = sim_follow(p, pif, "network");
        if (net && sim_bool(pif, "managed") && !sim_bool(pif, "management"))
            sim_put_bool(p, pif, "currently_attached", xapi_list_has(&c->args[1], sim_text(net, "bridge")));
    }
    return SIM_DONE;
}

static void end_all(struct simpool *p, const struct sim_object *host, const char *kind, const char *field)
{
    for (struct sim_object *o = sim_first(p, kind), *next; o; o = next) {
        next = o->class_next;
        const struct sim_object *const pif = sim_follow(p, o, field);
        if (pif && sim_is(pif, "host", host->ref))
            sim_delete(p, o);
    }
}

/* The records of all its interfaces go; the next scan finds its cards anew. */
static enum sim_outcome reset_networking(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const host = sim_arg(c, 0), *pif;

    if (!host)
        return SIM_FAILED;
    end_all(p, host, "Bond", "master");
    end_all(p, host, "VLAN", "untagged_PIF");
    end_all(p, host, "tunnel", "access_PIF");
    end_all(p, host, "network_sriov", "physical_PIF");
    for (size_t at = 0; (pif = sim_member(p, host, "PIFs", &at)) && p->error == 0; at = 0)
        sim_pif_destroy(p, pif, sim_bool(pif, "physical"));
    return SIM_DONE;
}

/* ---- machines ---- */

static enum sim_outcome prepare_poweroff(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const host = sim_host_arg(c, 0), *pbd;
    xk_autofree struct sim_move *moves = NULL;
    const size_t count = host ? sim_residents(p, host, &moves) : 0;

    if (!host)
        return SIM_FAILED;
    if (!moves)
        return sim_no_memory(c);
    for (size_t i = 0; i < count; i++)
        sim_vm_halt(p, moves[i].vm);
    for (size_t at = 0; (pbd = sim_member(p, host, "PBDs", &at));)
        sim_put_bool(p, pbd, "currently_attached", false);
    sim_put_bool(p, host, "enabled", false);
    sim_host_allowed(p, host);
    const unsigned number = sim_host_number(p, host);
    if (number < SIMPOOL_HOSTS_MAX)
        p->members[number].armed = false;
    sim_ha_update(p);
    return SIM_DONE;
}

static enum sim_outcome allocate_for_vm(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    const struct sim_object *const host = sim_host_arg(c, 0);
    struct sim_object *const vm = host ? sim_arg(c, 1) : NULL;
    struct sim_why why;

    if (!vm)
        return SIM_FAILED;
    if (!sim_vm_can_boot(p, vm, host, 0, &why))
        return sim_refuse(c, &why);
    sim_put_text(p, vm, "scheduled_to_be_resident_on", host->ref);
    return SIM_DONE;
}

static enum sim_outcome set_resident_on(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const vm = sim_arg(c, 0), *const host = vm ? sim_arg(c, 1) : NULL;

    if (!host)
        return SIM_FAILED;
    if (sim_vm_is_live(vm))
        sim_vm_move(p, vm, host);
    else
        sim_put_text(p, vm, "resident_on", host->ref);
    sim_put_text(p, vm, "scheduled_to_be_resident_on", SIM_NULL);
    return SIM_DONE;
}

static enum sim_outcome migrate_complete(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const vm = sim_arg(c, 0);

    if (!vm || !sim_arg(c, 1))
        return SIM_FAILED;
    const struct xapi_value guidance = xapi_str("restart_device_model");
    sim_list_remove(p, vm, xapi_field_place(vm->class_row, "pending_guidances"), &guidance);
    sim_vm_refresh(p, vm);
    return SIM_DONE;
}

static enum sim_outcome snapshot_metadata(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const vm = sim_arg(c, 0);

    if (!vm || !sim_arg(c, 1))
        return SIM_FAILED;
    sim_put_bool(p, vm, "is_a_snapshot", true);
    sim_put(p, vm, "snapshot_time", c->args[2]);
    sim_put(p, vm, "snapshot_of", c->args[1]);
    sim_put(p, vm, "transportable_snapshot_id", c->args[3]);
    sim_vm_refresh(p, vm);
    return SIM_DONE;
}

/* ---- the directory ---- */

/* On one host. returns   false: the error was recorded. */
static bool set_ldaps(struct sim_call *c, struct sim_object *host, bool on, bool force)
{
    struct simpool *const p = c->pool;
    char text[48];

    if (!*sim_text(host, "external_auth_type")) {
        (void)sim_fail(c, "AUTH_IS_DISABLED", NULL);
        return false;
    }
    snprintf(text, sizeof(text), "ldaps is already %s", on ? "true" : "false");
    const char *const now = sim_pair(host, "external_auth_configuration", "ldaps");
    if (now && sim_same(now, on ? "true" : "false") && !force) {
        (void)sim_fail(c, "AUTH_SET_LDAPS_FAILED", host->ref, text, NULL);
        return false;
    }
    const struct sim_object *authority = sim_first(p, "Certificate");
    while (authority && !sim_is(authority, "type", "ca"))
        authority = authority->class_next;
    if (on && !authority) {
        (void)sim_fail(c, "AUTH_SET_LDAPS_FAILED", host->ref, "No CA certificate is installed for LDAPS", NULL);
        return false;
    }
    sim_put_pair(p, host, "external_auth_configuration", "ldaps", on ? "true" : "false");
    return true;
}

static enum sim_outcome host_ldaps(struct sim_call *c)
{
    struct sim_object *const host = sim_host_arg(c, 0);

    return host && set_ldaps(c, host, c->args[1].truth, c->args[2].truth) ? SIM_DONE : SIM_FAILED;
}

/* All of them, or none. */
static enum sim_outcome pool_ldaps(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    const bool on = c->args[1].truth;

    if (!sim_arg(c, 0))
        return SIM_FAILED;
    for (struct sim_object *host = sim_first(p, "host"); host; host = host->class_next) {
        if (set_ldaps(c, host, on, c->args[2].truth))
            continue;
        for (struct sim_object *o = sim_first(p, "host"); o != host; o = o->class_next)
            sim_put_pair(p, o, "external_auth_configuration", "ldaps", on ? "false" : "true");
        return SIM_FAILED;
    }
    return SIM_DONE;
}

/* ---- what no host of a real pool does either ---- */

static enum sim_outcome assert_failed(struct sim_call *c)
{
    return sim_fail(c, "INTERNAL_ERROR", "Assert_failure", NULL);
}

static enum sim_outcome atom(struct sim_call *c)
{
    return member_arg(c) ? sim_fail(c, "INTERNAL_ERROR", "local_exec: failed to parse command", NULL) : SIM_FAILED;
}

static enum sim_outcome no_such_card(struct sim_call *c)
{
    return member_arg(c) ? sim_fail(c, "INTERNAL_ERROR", "Subprocess exitted with unexpected code 1", NULL)
                         : SIM_FAILED;
}

/* Extensions are scripts of the host, and this one is installed nowhere. */
static enum sim_outcome no_extension(struct sim_call *c)
{
    return sim_host_arg(c, 0) ? sim_fail(c, "MESSAGE_METHOD_UNKNOWN", xapi_text(c->message->name), NULL) : SIM_FAILED;
}

const struct sim_row sim_neighbour_rows[] = {
    {"host.create", host_create},
    {"host.prepare_for_poweroff", prepare_poweroff},
    {"host.allocate_resources_for_vm", allocate_for_vm},
    {"host.request_backup", told},
    {"host.request_config_file_sync", told},
    {"host.signal_networking_change", told_here},
    {"host.notify", told_here},
    {"host.update_firewalld_service_status", told_here},
    {"host.write_uefi_certificates_to_disk", told},
    {"host.local_assert_healthy", assert_healthy},
    {"host.set_localdb_key", set_local_key},
    {"host.attach_static_vdis", told},
    {"host.detach_static_vdis", told},
    {"host.ha_disarm_fencing", ha_leave},
    {"host.ha_join_liveset", ha_join},
    {"host.ha_stop_daemon", ha_leave},
    {"host.ha_disable_failover_decisions", ha_no_decisions},
    {"host.ha_wait_for_shutdown_via_statefile", told},
    {"host.ha_release_resources", ha_release},
    {"host.preconfigure_ha", ha_preconfigure},
    {"host.enable_binary_storage", host_blobs_on},
    {"host.disable_binary_storage", host_blobs_off},
    {"pool.enable_binary_storage", pool_blobs_on},
    {"pool.disable_binary_storage", pool_blobs_off},
    {"host.update_pool_secret", secret_set},
    {"host.notify_accept_new_pool_secret", secret_accept},
    {"host.notify_send_new_pool_secret", secret_send},
    {"host.cleanup_pool_secret", secret_clean},
    {"host.reset_networking", reset_networking},
    {"host.sync_pif_currently_attached", sync_attached},
    {"host.external_auth_set_ldaps", host_ldaps},
    {"pool.external_auth_set_ldaps", pool_ldaps},
    {"host.update_master", assert_failed},
    {"host.cert_distrib_atom", atom},
    {"host.mxgpu_vf_setup", no_such_card},
    {"host.nvidia_vf_setup", no_such_card},
    {"VM.hard_reboot_internal", assert_failed},
    {"VM.atomic_set_resident_on", set_resident_on},
    {"VM.pool_migrate_complete", migrate_complete},
    {"VM.update_snapshot_metadata", snapshot_metadata},
    {"LVHD.enable_thin_provisioning", no_extension},
    {NULL, NULL},
};
