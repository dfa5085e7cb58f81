/*
 * Machines that move: to another host of the pool with their disks in place, or with disks to other storage.
 *
 * Moves to another pool stand in migrate-away.c.
 */
#include "lib/simpool/hosts.h"
#include "lib/simpool/migrate.h"
#include "lib/simpool/pif.h"

#include <arpa/inet.h>

#define MIGRATE_NS (XK_NS_PER_S * 35 / 10)
#define BODY_BYTES 1024

/* ---- addresses of hosts on networks ---- */

/* options:network names the network that the memory goes over. */
static bool network_fits(const struct simpool *p, const struct xapi_value *options, const struct sim_object *host,
                         struct sim_why *why)
{
    const char *const ref = sim_option(options, "network");

    if (!ref)
        return true;
    const struct sim_object *const network = sim_find(p, ref, xapi_class_find("network"));
    if (!network)
        return sim_deny(why, "HANDLE_INVALID", "network", ref, NULL);
    const struct sim_object *const pif = sim_pif_on(p, network, host->ref);
    if (!pif)
        return sim_deny(why, "PIF_NOT_PRESENT", host->ref, network->ref, NULL);
    if (!sim_bool(pif, "currently_attached"))
        return sim_deny(why, "REQUIRED_PIF_IS_UNPLUGGED", pif->ref, NULL);
    if (!*sim_pif_address(pif).s)
        return sim_deny(why, "INTERFACE_HAS_NO_IP", pif->ref, NULL);
    return true;
}

static bool option_is(const struct xapi_value *options, const char *key)
{
    const char *const text = sim_option(options, key);

    return text && sim_same(text, "true");
}

/* ---- to another host ---- */

void sim_vm_move(struct simpool *p, struct sim_object *vm, struct sim_object *host)
{
    const struct sim_object *const from = sim_follow(p, vm, "resident_on");
    const int64_t taken = sim_int(vm, "memory_target") + sim_int(vm, "memory_overhead");
    struct sim_object *console;
    char location[128];

    if (from != host) {
        if (from)
            sim_host_memory_take(p, from, -taken);
        sim_host_memory_take(p, host, taken);
    }
    sim_put_text(p, vm, "resident_on", host->ref);
    sim_put_text(p, vm, "scheduled_to_be_resident_on", SIM_NULL);
    sim_put_int(p, vm, "domid", (int64_t)(p->generation % 30000) + 1);
    for (size_t at = 0; (console = sim_member(p, vm, "consoles", &at));) {
        snprintf(location, sizeof(location), "https://%.42s/console?uuid=%.36s",
                 resolve_url_text(sim_text(host, "address")).s, sim_text(console, "uuid"));
        sim_put_text(p, console, "location", location);
    }
    sim_vm_refresh(p, vm);
}

static void tell(struct simpool *p, const struct sim_object *vm, const struct sim_object *from,
                 const struct sim_object *to)
{
    char body[BODY_BYTES];

    snprintf(body, sizeof(body),
             "VM '%.300s' (uuid: %s) migrated from host '%.150s' (uuid: %s) to host '%.150s' (uuid: %s)",
             sim_text(vm, "name_label"), sim_text(vm, "uuid"), from ? sim_text(from, "name_label") : "",
             from ? sim_text(from, "uuid") : "", sim_text(to, "name_label"), sim_text(to, "uuid"));
    sim_message(p, "VM_MIGRATED", "VM", vm, body);
}

/* The memory that it has has to be free there, not only the least that it could do with. */
static bool has_memory(const struct simpool *p, const struct sim_object *vm, const struct sim_object *host,
                       struct sim_why *why)
{
    const int64_t needed = sim_int(vm, "memory_target") + sim_int(vm, "memory_overhead");
    const int64_t available = sim_host_memory_free(p, host);

    if (sim_is(vm, "resident_on", host->ref) || available >= needed)
        return true;
    if (why) {
        snprintf(why->text[0], SIM_WHY_BYTES, "%lld", (long long)needed);
        snprintf(why->text[1], SIM_WHY_BYTES, "%lld", (long long)available);
    }
    return sim_deny(why, "HOST_NOT_ENOUGH_FREE_MEMORY", why ? why->text[0] : "", why ? why->text[1] : "", NULL);
}

static enum sim_outcome pool_migrate_end(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const vm = sim_arg(c, 0), *const host = vm ? sim_arg(c, 1) : NULL;
    const struct sim_object *const from = vm ? sim_follow(p, vm, "resident_on") : NULL;
    struct sim_why why;

    if (!host)
        return SIM_FAILED;
    if (!sim_vm_has_power(vm, SIM_IS_RUNNING, "running", &why) || !sim_vm_can_boot(p, vm, host, 0, &why) ||
        !has_memory(p, vm, host, &why))
        return sim_refuse(c, &why);
    sim_vm_move(p, vm, host);
    tell(p, vm, from, host);
    return SIM_DONE;
}

static enum sim_outcome pool_migrate(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const vm = sim_arg(c, 0), *const host = vm ? sim_arg(c, 1) : NULL;
    const struct xapi_value *const options = &c->args[2];
    struct sim_why why;

    if (!host)
        return SIM_FAILED;
    if (!sim_vm_may(p, vm, "pool_migrate", !option_is(options, "force"), &why) ||
        !sim_vm_can_boot(p, vm, host, 0, &why) || !has_memory(p, vm, host, &why) ||
        !network_fits(p, options, host, &why))
        return sim_refuse(c, &why);
    return sim_work(c, MIGRATE_NS, pool_migrate_end, vm, "pool_migrate", true);
}

/* The same machine on the same host, with new device models. */
static enum sim_outcome restart_end(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const vm = sim_arg(c, 0), *const host = vm ? sim_follow(p, vm, "resident_on") : NULL;

    if (!vm)
        return SIM_FAILED;
    if (!host)
        return sim_fail(c, "VM_BAD_POWER_STATE", vm->ref, "running", sim_vm_power_word(vm), NULL);
    sim_vm_move(p, vm, host);
    sim_put_list(p, vm, "pending_guidances", (const char *const[]){NULL});
    return SIM_DONE;
}

static enum sim_outcome restart_device_models(struct sim_call *c)
{
    struct sim_object *const vm = sim_arg(c, 0);
    struct sim_why why;

    if (!vm)
        return SIM_FAILED;
    if (sim_vm_power(vm) != SIM_IS_RUNNING)
        return sim_fail(c, "VM_BAD_POWER_STATE", vm->ref, "Running", sim_text(vm, "power_state"), NULL);
    if (!sim_vm_may(c->pool, vm, "pool_migrate", true, &why))
        return sim_refuse(c, &why);
    return sim_work(c, XK_NS_PER_S, restart_end, vm, "pool_migrate", true);
}

/* ---- with disks ---- */

/* What migrate_receive gave: a host of this pool, or of another. */
static bool read_dest(const struct sim_call *c, struct sim_object **ret_host, struct sim_why *why)
{
    static const char *const needed[] = {"master", "xenops", "session_id", "host", "SM"};
    const struct xapi_value *const dest = &c->args[SIM_MIGRATE_DEST];

    for (size_t i = 0; i < XK_COUNT(needed); i++)
        if (!sim_option(dest, needed[i]))
            return sim_deny(why, "INTERNAL_ERROR", "Not_found", NULL);
    *ret_host = sim_find(c->pool, sim_option(dest, "host"), xapi_class_find("host")); /* NULL: of another pool */
    return true;
}

static struct sim_object *mapped_sr(const struct sim_call *c, const struct sim_object *vdi)
{
    const char *const ref = sim_option(&c->args[SIM_MIGRATE_VDIS], vdi->ref);

    return ref ? sim_find(c->pool, ref, xapi_class_find("SR")) : NULL;
}

/* Every disk has its place, and those that go to another can go there. */
static bool disks_fit(const struct sim_call *c, const struct sim_object *vm, const struct sim_object *host,
                      struct sim_why *why)
{
    const struct simpool *const p = c->pool;
    const struct sim_object *vbd;

    for (size_t at = 0; (vbd = sim_member(p, vm, "VBDs", &at));) {
        const struct sim_object *const vdi = sim_is(vbd, "type", "Disk") ? sim_follow(p, vbd, "VDI") : NULL;
        const struct sim_object *const to = vdi ? mapped_sr(c, vdi) : NULL;
        if (!vdi)
            continue;
        if (!to && !sim_option(&c->args[SIM_MIGRATE_VDIS], vdi->ref))
            return sim_deny(why, "VDI_NOT_IN_MAP", vdi->ref, NULL);
        if (!to)
            return sim_deny(why, "HANDLE_INVALID", "SR", sim_option(&c->args[SIM_MIGRATE_VDIS], vdi->ref), NULL);
        if (!sim_host_sees_sr(p, host, to->ref))
            return sim_deny(why, "VM_REQUIRES_SR", vm->ref, to->ref, NULL);
        if (sim_is(vdi, "SR", to->ref))
            continue;
        if (sim_bool(vdi, "cbt_enabled"))
            return sim_deny(why, "VDI_CBT_ENABLED", vdi->ref, NULL);
        if (!sim_sr_has_feature(p, to, "VDI_SNAPSHOT") || !sim_sr_has_feature(p, to, "VDI_MIRROR"))
            return sim_deny(why, "SR_DOES_NOT_SUPPORT_MIGRATION", to->ref, NULL);
        if (!sim_sr_has_room(to, sim_int(vdi, "physical_utilisation"), why))
            return false;
    }
    return true;
}

static bool can_migrate(const struct sim_call *c, const struct sim_object *vm, struct sim_object **ret_host,
                        struct sim_why *why)
{
    const struct simpool *const p = c->pool;

    if (!read_dest(c, ret_host, why))
        return false;
    if (!*ret_host)
        return sim_deny(why, "HANDLE_INVALID", "host", sim_option(&c->args[SIM_MIGRATE_DEST], "host"), NULL);
    if (!disks_fit(c, vm, *ret_host, why) || !sim_vm_can_boot(p, vm, *ret_host, SIM_BOOT_ANY_SR, why))
        return false;
    if (sim_vm_is_live(vm) && !has_memory(p, vm, *ret_host, why))
        return false;
    if (c->args[SIM_MIGRATE_VIFS].count)
        return sim_deny(why, "OPERATION_NOT_ALLOWED",
                        "VIF mapping is not allowed for intra-pool migration -all VIFs must be on the same network",
                        NULL);
    if (option_is(&c->args[SIM_MIGRATE_OPTIONS], "copy"))
        return sim_deny(why, "OPERATION_NOT_ALLOWED",
                        "Copy mode is disallowed on intra pool storage migration, try efficient alternatives, for "
                        "example, VM.copy/clone.",
                        NULL);
    return true;
}

static enum sim_outcome migrate_send_end(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const vm = sim_arg(c, SIM_MIGRATE_VM), *host, *vbd;
    const struct sim_object *const from = vm ? sim_follow(p, vm, "resident_on") : NULL;
    struct sim_why why;

    if (!vm)
        return SIM_FAILED;
    if (!can_migrate(c, vm, &host, &why))
        return sim_refuse(c, &why);
    for (size_t at = 0; (vbd = sim_member(p, vm, "VBDs", &at));) {
        struct sim_object *const vdi = sim_is(vbd, "type", "Disk") ? sim_follow(p, vbd, "VDI") : NULL;
        struct sim_object *const to = vdi ? mapped_sr(c, vdi) : NULL;
        if (to && !sim_is(vdi, "SR", to->ref) && !sim_vdi_move(p, vdi, to))
            return sim_no_memory(c);
    }
    if (sim_vm_is_live(vm)) {
        sim_vm_move(p, vm, host);
        tell(p, vm, from, host);
    }
    sim_vm_refresh(p, vm);
    return sim_done_ref(c, vm);
}

static enum sim_outcome migrate_send(struct sim_call *c)
{
    struct sim_object *const vm = sim_arg(c, SIM_MIGRATE_VM), *host;
    struct sim_why why;

    if (!vm)
        return SIM_FAILED;
    if (!read_dest(c, &host, &why))
        return sim_refuse(c, &why);
    if (!host)
        return sim_migrate_away(c);
    if (!sim_vm_may(c->pool, vm, "migrate_send", true, &why) || !can_migrate(c, vm, &host, &why))
        return sim_refuse(c, &why);
    return sim_work(c, MIGRATE_NS + XK_NS_PER_S / 2, migrate_send_end, vm, "migrate_send", true);
}

static enum sim_outcome assert_can_migrate(struct sim_call *c)
{
    const struct sim_object *const vm = sim_arg(c, SIM_MIGRATE_VM);
    struct sim_object *host;
    struct sim_why why;

    if (!vm)
        return SIM_FAILED;
    if (!read_dest(c, &host, &why))
        return sim_refuse(c, &why);
    if (!host)
        return sim_migrate_ask(c);
    return can_migrate(c, vm, &host, &why) ? SIM_DONE : sim_refuse(c, &why);
}

/* What only the sending host can see are graphics cards, and the machines have none that would matter. */
static enum sim_outcome assert_can_migrate_sender(struct sim_call *c)
{
    struct sim_object *host;
    struct sim_why why;

    if (!sim_arg(c, SIM_MIGRATE_VM))
        return SIM_FAILED;
    return read_dest(c, &host, &why) ? SIM_DONE : sim_refuse(c, &why);
}

/* The words that migrate_send of this or another pool needs to find this host. */
static enum sim_outcome migrate_receive(struct sim_call *c)
{
    const struct simpool *const p = c->pool;
    const struct sim_object *const host = sim_arg(c, 0), *const network = host ? sim_arg(c, 1) : NULL;
    const struct sim_object *const pif = network ? sim_pif_on(p, network, host->ref) : NULL;
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&c->arena);

    if (!network)
        return SIM_FAILED;
    if (!pif)
        return sim_fail(c, "HOST_CANNOT_ATTACH_NETWORK", host->ref, network->ref, NULL);
    const struct resolve_words ip = sim_pif_address(pif);
    if (!*ip.s)
        return sim_fail(c,
                        sim_is(pif, "ip_configuration_mode", "None") ? "PIF_HAS_NO_NETWORK_CONFIGURATION"
                                                                     : "INTERFACE_HAS_NO_IP",
                        pif->ref, NULL);
    const struct resolve_words at = resolve_url_text(ip.s),
                               master = resolve_url_text(sim_text(sim_master(p), "address"));
    const unsigned number = sim_host_number(p, host);
    const unsigned port = resolve_port(&p->addresses[number < SIMPOOL_HOSTS_MAX ? number : p->master]);
    const char *const scheme = p->settings.tls ? "https" : "http";
    /* Real hosts have ports of their own, which no URL has to name. */
    char *const texts[] = {
        xk_arena_printf(&c->arena, "%s://%s:%u/services/SM?session_id=%s", scheme, at.s, port, c->session_ref),
        xk_arena_printf(&c->arena, "%s://%s:%u/services/xenops?session_id=%s", scheme, at.s, port, c->session_ref),
        xk_arena_printf(&c->arena, "%s://%s:%u/", scheme, master.s, port),
    };
    static const char *const keys[] = {"SM", "xenops", "master"};
    xapi_build_open(&b, XAPI_MAP);
    for (size_t i = 0; i < XK_COUNT(keys); i++) {
        if (!texts[i])
            return sim_no_memory(c);
        xapi_build_value(&b, xapi_str(keys[i]));
        xapi_build_value(&b, xapi_str(texts[i]));
    }
    xapi_build_value(&b, xapi_str("host"));
    xapi_build_text(&b, host->ref);
    xapi_build_value(&b, xapi_str("session_id"));
    xapi_build_text(&b, c->session_ref);
    xapi_build_close(&b);
    return xapi_build_end(&b, &c->result) < 0 ? sim_no_memory(c) : SIM_DONE;
}

const struct sim_row sim_migrate_rows[] = {
    {"VM.pool_migrate", pool_migrate},
    {"VM.restart_device_models", restart_device_models},
    {"VM.migrate_send", migrate_send},
    {"VM.assert_can_migrate", assert_can_migrate},
    {"VM.assert_can_migrate_sender", assert_can_migrate_sender},
    {"host.migrate_receive", migrate_receive},
    {NULL, NULL},
};
