/*
 * Drivers of hosts that come in several variants, and devices that dom0 sees or does not.
 *
 * The drivers are what a tool of the host lists; the simulated hosts have one card of each kind, and what is not for
 * one of them has no hardware. Facts: xapi_host_driver.ml, xapi_pci.ml, xapi_pci_helpers.ml of xapi (2026-08).
 */
#include "lib/simpool/hosts.h"
#include "lib/simpool/keep.h"
#include "lib/simpool/ops.h"

/* ---- drivers ---- */

struct variant {
    const char *name, *version, *status;
    double priority;
    bool present;
};

struct driver {
    const char *name, *type, *description;
    int active, selected; /* of the variants; -1: none */
    struct variant variants[2];
};

static const struct driver drivers[] = {
    {"intel-ixgbe",
     "network",
     "10 Gigabit Ethernet",
     0,
     0,
     {{"generic", "5.20.3", "production", 30, true}, {"oem", "5.21.5", "beta", 20, true}}},
    {"intel-igb", "network", "Gigabit Ethernet", -1, -1, {{"generic", "5.14.9", "production", 30, false}}},
    {"intel-ahci", "storage", "SATA", 0, 0, {{"generic", "3.0", "production", 30, true}}},
    {"marvell-mvsas",
     "storage",
     "SAS",
     -1,
     -1,
     {{"generic", "0.8.16", "production", 30, false}, {"oem", "0.8.18", "experimental", 10, false}}},
};

static struct sim_object *driver_of(const struct simpool *p, const struct sim_object *host, const char *name)
{
    struct sim_object *o = sim_first(p, "Host_driver");

    while (o && !(sim_is(o, "host", host->ref) && sim_is(o, "name", name)))
        o = o->class_next;
    return o;
}

static struct sim_object *variant_of(const struct simpool *p, const struct sim_object *driver, const char *name)
{
    struct sim_object *o;

    for (size_t at = 0; (o = sim_member(p, driver, "variants", &at));)
        if (sim_is(o, "name", name))
            return o;
    return NULL;
}

static void put_variant(struct simpool *p, struct sim_object *driver, const struct driver *row, int number)
{
    const struct variant *const v = &row->variants[number];
    struct sim_object *o = variant_of(p, driver, v->name);

    if (!o && !(o = sim_create(p, "Driver_variant")))
        return; /* and p->error */
    sim_put_text(p, o, "driver", driver->ref);
    sim_put_text(p, o, "name", v->name);
    sim_put_text(p, o, "version", v->version);
    sim_put_text(p, o, "status", v->status);
    sim_put_real(p, o, "priority", v->priority);
    sim_put_bool(p, o, "hardware_present", v->present);
    if (number == row->selected && sim_is_null(sim_text(driver, "selected_variant")))
        sim_put_text(p, driver, "selected_variant", o->ref);
    if (number == row->active)
        sim_put_text(p, driver, "active_variant", o->ref);
}

static void put_driver(struct simpool *p, const struct sim_object *host, const struct driver *row)
{
    struct sim_object *o = driver_of(p, host, row->name);

    if (!o && !(o = sim_create(p, "Host_driver")))
        return;
    sim_put_text(p, o, "host", host->ref);
    sim_put_text(p, o, "name", row->name);
    sim_put_text(p, o, "friendly_name", row->name);
    sim_put_text(p, o, "type", row->type);
    sim_put_text(p, o, "description", row->description);
    for (int i = 0; i < (int)XK_COUNT(row->variants) && row->variants[i].name; i++)
        put_variant(p, o, row, i);
}

static bool is_listed(const struct sim_object *driver)
{
    for (size_t i = 0; i < XK_COUNT(drivers); i++)
        if (sim_is(driver, "name", drivers[i].name))
            return true;
    return false;
}

static void forget(struct simpool *p, struct sim_object *driver)
{
    sim_delete_members(p, driver, "variants");
    sim_delete(p, driver);
}

void sim_drivers_forget(struct simpool *p, const struct sim_object *host)
{
    for (struct sim_object *o = sim_first(p, "Host_driver"), *next; o; o = next) {
        next = o->class_next;
        if (sim_is(o, "host", host->ref))
            forget(p, o);
    }
}

/* What the tool does not list goes, with its variants. */
static enum sim_outcome rescan(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    const struct sim_object *const host = sim_host_arg(c, 0);

    if (!host)
        return SIM_FAILED;
    for (size_t i = 0; i < XK_COUNT(drivers); i++)
        put_driver(p, host, &drivers[i]);
    for (struct sim_object *o = sim_first(p, "Host_driver"), *next; o; o = next) {
        next = o->class_next;
        if (sim_is(o, "host", host->ref) && !is_listed(o))
            forget(p, o);
    }
    return SIM_DONE;
}

static enum sim_outcome choose(struct sim_call *c, struct sim_object *driver, const struct sim_object *variant)
{
    if (!sim_bool(variant, "hardware_present"))
        return sim_fail(c, "HOST_DRIVER_NO_HARDWARE", variant->ref, NULL);
    sim_put_text(c->pool, driver, "selected_variant", variant->ref);
    return SIM_DONE;
}

static enum sim_outcome driver_select(struct sim_call *c)
{
    struct sim_object *const driver = sim_arg(c, 0);
    const struct sim_object *const variant = driver ? sim_arg(c, 1) : NULL;

    if (!variant)
        return SIM_FAILED;
    return sim_is(variant, "driver", driver->ref) ? choose(c, driver, variant)
                                                  : sim_invalid(c, "variant", variant->ref);
}

static enum sim_outcome variant_select(struct sim_call *c)
{
    const struct sim_object *const variant = sim_arg(c, 0);
    struct sim_object *const driver = variant ? sim_follow(c->pool, variant, "driver") : NULL;

    if (!variant)
        return SIM_FAILED;
    return driver ? choose(c, driver, variant)
                  : sim_bad_handle(c, (uint16_t)xapi_class_index(xapi_class_find("Host_driver")),
                                   sim_text(variant, "driver"));
}

static enum sim_outcome deselect(struct sim_call *c)
{
    struct sim_object *const driver = sim_arg(c, 0);

    if (!driver)
        return SIM_FAILED;
    sim_put_text(c->pool, driver, "active_variant", SIM_NULL);
    sim_put_text(c->pool, driver, "selected_variant", SIM_NULL);
    return SIM_DONE;
}

/* ---- devices that dom0 sees ---- */

/* "now,next": whether it is hidden since the host's start, and will be after the next one. */
static void hidden(const struct simpool *p, const struct sim_object *pci, bool *ret_now, bool *ret_next)
{
    const char *const kept = sim_kept(p, SIM_KEPT_PCI, pci->ref);

    *ret_now = kept && kept[0] == '1';
    *ret_next = kept && kept[0] && kept[1] == '1';
}

static const char *access_of(const struct simpool *p, const struct sim_object *pci)
{
    bool now, next;

    hidden(p, pci, &now, &next);
    return now ? (next ? "disabled" : "enable_on_reboot") : (next ? "disable_on_reboot" : "enabled");
}

static int keep_hidden(struct simpool *p, const struct sim_object *pci, bool now, bool next)
{
    const char text[3] = {now ? '1' : '0', next ? '1' : '0', '\0'};

    return sim_keep(p, SIM_KEPT_PCI, pci->ref, now || next ? text : NULL);
}

/* A graphics card's record tells of it, too. */
static void tell_cards(struct simpool *p, const struct sim_object *pci)
{
    for (struct sim_object *o = sim_first(p, "PGPU"); o; o = o->class_next)
        if (sim_is(o, "PCI", pci->ref))
            sim_put_text(p, o, "dom0_access", access_of(p, pci));
}

void sim_pci_booted(struct simpool *p, const struct sim_object *host)
{
    for (const struct sim_object *pci = sim_first(p, "PCI"); pci; pci = pci->class_next) {
        bool now, next;
        hidden(p, pci, &now, &next);
        if (!sim_is(pci, "host", host->ref) || now == next)
            continue;
        (void)keep_hidden(p, pci, next, next);
        tell_cards(p, pci);
    }
}

static enum sim_outcome dom0_access(struct sim_call *c, bool on)
{
    struct simpool *const p = c->pool;
    const struct sim_object *const pci = sim_arg(c, 0);
    bool now, next;

    if (!pci)
        return SIM_FAILED;
    if (!on && sim_is(pci, "driver_name", "ahci")) /* what the host starts from */
        return sim_fail(c, "BOOT_DEVICE_PASSTHROUGH_DISALLOWED", "/dev/sda1", NULL);
    hidden(p, pci, &now, &next);
    if (keep_hidden(p, pci, now, !on) < 0)
        return sim_no_memory(c);
    tell_cards(p, pci);
    c->result = xapi_str(access_of(p, pci));
    return SIM_DONE;
}

static enum sim_outcome enable_dom0_access(struct sim_call *c)
{
    return dom0_access(c, true);
}

static enum sim_outcome disable_dom0_access(struct sim_call *c)
{
    return dom0_access(c, false);
}

static enum sim_outcome dom0_access_status(struct sim_call *c)
{
    const struct sim_object *const pci = sim_arg(c, 0);

    if (!pci)
        return SIM_FAILED;
    c->result = xapi_str(access_of(c->pool, pci));
    return SIM_DONE;
}

/* Functions of a card that no machine has, nor will have. */
static enum sim_outcome sriov_capacity(struct sim_call *c)
{
    const struct simpool *const p = c->pool;
    const struct sim_object *const sriov = sim_arg(c, 0);
    const struct sim_object *const pif = sriov ? sim_follow(p, sriov, "physical_PIF") : NULL;
    const struct sim_object *const card = pif ? sim_follow(p, pif, "PCI") : NULL, *function;
    int64_t idle = 0;

    if (!sriov)
        return SIM_FAILED;
    for (size_t at = 0; card && (function = sim_member(p, card, "virtual_functions", &at));)
        idle += sim_get(function, "attached_VMs")->count == 0 &&
                sim_is_null(sim_text(function, "scheduled_to_be_attached_to"));
    c->result = xapi_int(idle);
    return SIM_DONE;
}

/* ---- at the start ---- */

void sim_seed_devices(struct simpool *p, struct sim_object *host)
{
    static const struct {
        const char *id, *class_id, *class_name, *vendor_id, *vendor, *device_id, *device, *driver;
    } rows[] = {
        {"0000:00:1f.2", "0106", "SATA controller", "8086", "Intel Corporation", "1d02", "SATA AHCI Controller",
         "ahci"},
        {"0000:01:00.0", "0200", "Ethernet controller", "8086", "Intel Corporation", "10fb",
         "82599ES 10-Gigabit SFI/SFP+ Network Connection", "ixgbe"},
    };

    for (size_t i = 0; i < XK_COUNT(rows); i++) {
        struct sim_object *const pci = sim_create(p, "PCI");
        if (!pci)
            return;
        sim_put_text(p, pci, "host", host->ref);
        sim_put_text(p, pci, "pci_id", rows[i].id);
        sim_put_text(p, pci, "class_id", rows[i].class_id);
        sim_put_text(p, pci, "class_name", rows[i].class_name);
        sim_put_text(p, pci, "vendor_id", rows[i].vendor_id);
        sim_put_text(p, pci, "vendor_name", rows[i].vendor);
        sim_put_text(p, pci, "device_id", rows[i].device_id);
        sim_put_text(p, pci, "device_name", rows[i].device);
        sim_put_text(p, pci, "driver_name", rows[i].driver);
    }
}

const struct sim_row sim_driver_rows[] = {
    {"Host_driver.select", driver_select},
    {"Host_driver.deselect", deselect},
    {"Host_driver.rescan", rescan},
    {"Driver_variant.select", variant_select},
    {"PCI.enable_dom0_access", enable_dom0_access},
    {"PCI.disable_dom0_access", disable_dom0_access},
    {"PCI.get_dom0_access_status", dom0_access_status},
    {"network_sriov.get_remaining_capacity", sriov_capacity},
    {NULL, NULL},
};
