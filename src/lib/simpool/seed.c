/*
 * The pool that is there at the start: hosts, storage, networks, templates, and VMs of which some run.
 *
 * The same settings give the same pool but for refs and uuids. Every host has room for any of the VMs that are halted.
 */
#include "lib/simpool/access.h"
#include "lib/simpool/era.h"
#include "lib/simpool/hosts.h"
#include "lib/simpool/ops.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define HOST_MEMORY (INT64_C(512) << 30)
#define DISK_BYTES  (INT64_C(16) << 30)
#define ISO_BYTES   (INT64_C(700) << 20)
#define VM_MEMORY   (INT64_C(1) << 30)

struct seeding {
    struct simpool *pool;
    struct sim_object *hosts[SIMPOOL_HOSTS_MAX], *local_srs[SIMPOOL_HOSTS_MAX];
    struct sim_object *network, *internal, *shared, *isos;
    int64_t now;
};

static const char *const none[] = {NULL};

static void seed_metrics(struct seeding *s, struct sim_object *host)
{
    struct simpool *const p = s->pool;
    struct sim_object *const metrics = sim_create(p, "host_metrics");

    if (!metrics)
        return;
    sim_put_int(p, metrics, "memory_total", HOST_MEMORY);
    sim_put_int(p, metrics, "memory_free", HOST_MEMORY - (INT64_C(4) << 30));
    sim_put_bool(p, metrics, "live", true);
    sim_put_time(p, metrics, "last_updated", s->now);
    sim_put_text(p, host, "metrics", metrics->ref);
}

static void seed_software(struct simpool *p, struct sim_object *host)
{
    const struct sim_era *const era = sim_era(p->settings.era);

    sim_put_int(p, host, "API_version_major", era->api_major);
    sim_put_int(p, host, "API_version_minor", era->api_minor);
    sim_put_text(p, host, "API_version_vendor", "XenSource");
    sim_put_map(p, host, "software_version",
                (const char *const[]){"product_version",
                                      era->product,
                                      "product_brand",
                                      "XenServer",
                                      "network_backend",
                                      "openvswitch",
                                      "build_number",
                                      "cloud",
                                      "platform_name",
                                      "XCP",
                                      "platform_version",
                                      era->platform,
                                      "xapi",
                                      "26.1",
                                      "xen",
                                      "4.17.5",
                                      "linux",
                                      "4.19.0+1",
                                      "hostname",
                                      "localhost",
                                      "date",
                                      "2026-01-01",
                                      "dbv",
                                      "0.0.1",
                                      NULL});
    sim_put_map(p, host, "cpu_info",
                (const char *const[]){"cpu_count", "32", "socket_count", "2", "vendor", "GenuineIntel", "speed",
                                      "2400.000", "modelname", "Intel(R) Xeon(R) Gold 6336Y CPU @ 2.40GHz", "family",
                                      "6", "model", "106", "stepping", "6", NULL});
    sim_put_list(p, host, "capabilities", (const char *const[]){"xen-3.0-x86_64", "hvm-3.0-x86_64", NULL});
    sim_put_text(p, host, "edition", "premium");
    sim_put_text(p, host, "sched_policy", "credit");
}

static struct sim_object *seed_vm(struct seeding *s, const char *name, int64_t memory, int64_t vcpus)
{
    struct simpool *const p = s->pool;
    struct sim_object *const vm = sim_create(p, "VM"), *const metrics = vm ? sim_create(p, "VM_metrics") : NULL;

    if (!metrics)
        return NULL;
    sim_put_text(p, vm, "name_label", name);
    sim_put_int(p, vm, "memory_static_max", memory);
    sim_put_int(p, vm, "memory_dynamic_max", memory);
    sim_put_int(p, vm, "memory_dynamic_min", memory);
    sim_put_int(p, vm, "memory_static_min", memory / 2);
    sim_put_int(p, vm, "VCPUs_max", vcpus);
    sim_put_int(p, vm, "VCPUs_at_startup", vcpus);
    sim_put_int(p, vm, "domid", -1);
    sim_put_text(p, vm, "actions_after_shutdown", "destroy");
    sim_put_text(p, vm, "actions_after_reboot", "restart");
    sim_put_text(p, vm, "actions_after_crash", "restart");
    sim_put_text(p, vm, "HVM_boot_policy", "BIOS order");
    sim_put_text(p, vm, "domain_type", "hvm");
    sim_put_map(p, vm, "HVM_boot_params", (const char *const[]){"order", "cdn", "firmware", "bios", NULL});
    sim_put_map(p, vm, "platform",
                (const char *const[]){"acpi", "1", "apic", "true", "pae", "true", "nx", "true", "viridian", "false",
                                      "vga", "std", "videoram", "8", "device-model", "qemu-upstream-compat", NULL});
    char seed[SIM_REF_BYTES];
    sim_new_ref(p, seed);
    sim_put_map(p, vm, "other_config", (const char *const[]){"mac_seed", seed + strlen("OpaqueRef:"), NULL});
    sim_put_int(p, vm, "memory_overhead", sim_vm_overhead(vm));
    sim_put_text(p, vm, "metrics", metrics->ref);
    sim_put_time(p, metrics, "install_time", s->now - 86400);
    return vm;
}

static void seed_host(struct seeding *s, unsigned i)
{
    struct simpool *const p = s->pool;
    struct sim_object *const host = sim_create(p, "host"), *const sr = sim_create(p, "SR"),
                             *const pif = sim_create(p, "PIF");
    struct sim_object *const pbd = sim_create(p, "PBD"), *const link = sim_create(p, "PIF_metrics");
    const struct resolve_words address = resolve_host_text(&p->addresses[i]);
    char text[64];

    if (!host || !sr || !pif || !pbd || !link)
        return;
    s->hosts[i] = host;
    memcpy(p->host_refs[i], host->ref, SIM_REF_BYTES);
    s->local_srs[i] = sr;
    snprintf(text, sizeof(text), "host-%u", i + 1);
    sim_put_text(p, host, "name_label", text);
    sim_put_text(p, host, "hostname", text);
    sim_put_text(p, host, "name_description",
                 i == 0 ? "the master of the simulated pool" : "a member of the simulated pool");
    sim_put_text(p, host, "address", address.s);
    sim_put_bool(p, host, "enabled", true);
    sim_put_list(p, host, "allowed_operations",
                 (const char *const[]){"vm_start", "vm_resume", "vm_migrate", "provision", "evacuate", NULL});
    seed_software(p, host);
    seed_metrics(s, host);
    sim_seed_devices(p, host);

    snprintf(text, sizeof(text), "Local storage %u", i + 1);
    sim_put_text(p, sr, "name_label", text);
    sim_put_text(p, sr, "type", "ext");
    sim_put_text(p, sr, "content_type", "user");
    sim_put_int(p, sr, "physical_size", INT64_C(2) << 40);
    sim_put_int(p, sr, "physical_utilisation", INT64_C(200) << 30);
    sim_put_text(p, pbd, "host", host->ref);
    sim_put_text(p, pbd, "SR", sr->ref);
    sim_put_bool(p, pbd, "currently_attached", true);
    sim_put_map(p, pbd, "device_config", (const char *const[]){"device", "/dev/sda3", NULL});

    sim_put_text(p, pif, "device", "eth0");
    sim_put_text(p, pif, "host", host->ref);
    sim_put_text(p, pif, "network", s->network->ref);
    snprintf(text, sizeof(text), "02:00:00:00:00:%02x", i + 1);
    sim_put_text(p, pif, "MAC", text);
    sim_put_int(p, pif, "MTU", 1500);
    sim_put_int(p, pif, "VLAN", -1);
    sim_put_bool(p, pif, "physical", true);
    sim_put_bool(p, pif, "managed", true);
    sim_put_map(p, pif, "properties", (const char *const[]){"gro", "on", NULL});
    sim_put_text(p, pif, "device_name", "eth0");
    sim_put_bool(p, pif, "management", true);
    sim_put_bool(p, pif, "currently_attached", true);
    if (p->addresses[i].any.sa_family == AF_INET) {
        sim_put_text(p, pif, "ip_configuration_mode", "Static");
        sim_put_text(p, pif, "IP", address.s);
        sim_put_text(p, pif, "netmask", "255.0.0.0");
    } else {
        snprintf(text, sizeof(text), "%.46s/64", address.s);
        sim_put_text(p, pif, "primary_address_type", "IPv6");
        sim_put_text(p, pif, "ipv6_configuration_mode", "Static");
        sim_put_list(p, pif, "IPv6", (const char *const[]){text, NULL});
    }
    sim_put_text(p, pif, "metrics", link->ref);
    sim_put_bool(p, link, "carrier", true);
    sim_put_int(p, link, "speed", 10000);
    sim_put_bool(p, link, "duplex", true);

    sim_card_mac(i, 1, text);
    struct sim_object *const second = sim_card_introduce(p, host->ref, "eth1", text, true);
    if (second)
        sim_put_bool(p, second, "currently_attached", true);

    snprintf(text, sizeof(text), "Control domain on host: host-%u", i + 1);
    struct sim_object *const dom0 = seed_vm(s, text, INT64_C(4) << 30, 8);
    if (!dom0)
        return;
    sim_put_bool(p, dom0, "is_control_domain", true);
    sim_put_text(p, dom0, "power_state", "Running");
    sim_put_int(p, dom0, "domid", 0);
    sim_put_text(p, dom0, "resident_on", host->ref);
    sim_put_text(p, dom0, "domain_type", "pv");
    sim_put_text(p, host, "control_domain", dom0->ref);
}

static void seed_networks(struct seeding *s)
{
    struct simpool *const p = s->pool;

    s->network = sim_create(p, "network");
    s->internal = sim_create(p, "network");
    if (!s->network || !s->internal)
        return;
    sim_put_text(p, s->network, "name_label", "Pool-wide network associated with eth0");
    sim_put_text(p, s->network, "bridge", "xenbr0");
    sim_put_bool(p, s->network, "managed", true);
    sim_put_int(p, s->network, "MTU", 1500);
    sim_put_text(p, s->internal, "name_label", "Host internal management network");
    sim_put_text(p, s->internal, "bridge", "xenapi");
    sim_put_bool(p, s->internal, "managed", true);
    sim_put_int(p, s->internal, "MTU", 1500);
    sim_put_map(p, s->internal, "other_config",
                (const char *const[]){"is_guest_installer_network", "true", "is_host_internal_management_network",
                                      "true", NULL});
}

static void seed_shared(struct seeding *s)
{
    struct simpool *const p = s->pool;

    s->shared = sim_create(p, "SR");
    if (!s->shared)
        return;
    sim_put_text(p, s->shared, "name_label", "NFS storage");
    sim_put_text(p, s->shared, "type", "nfs");
    sim_put_text(p, s->shared, "content_type", "user");
    sim_put_bool(p, s->shared, "shared", true);
    sim_put_int(p, s->shared, "physical_size", INT64_C(20) << 40);
    sim_put_int(p, s->shared, "physical_utilisation", INT64_C(1) << 40);
    for (unsigned i = 0; i < p->settings.hosts; i++) {
        struct sim_object *const pbd = sim_create(p, "PBD");
        if (!pbd)
            return;
        sim_put_text(p, pbd, "host", s->hosts[i]->ref);
        sim_put_text(p, pbd, "SR", s->shared->ref);
        sim_put_bool(p, pbd, "currently_attached", true);
        sim_put_map(p, pbd, "device_config",
                    (const char *const[]){"server", "192.0.2.10", "serverpath", "/export/vms", NULL});
    }
}

static void seed_isos(struct seeding *s)
{
    static const char *const names[] = {"debian-12.5.0-amd64-netinst.iso", "guest-tools.iso"};
    struct simpool *const p = s->pool;

    s->isos = sim_create(p, "SR");
    if (!s->isos)
        return;
    sim_put_text(p, s->isos, "name_label", "ISO library");
    sim_put_text(p, s->isos, "type", "iso");
    sim_put_text(p, s->isos, "content_type", "iso");
    sim_put_bool(p, s->isos, "shared", true);
    sim_put_int(p, s->isos, "physical_size", INT64_C(100) << 30);
    sim_put_int(p, s->isos, "physical_utilisation", INT64_C(2) << 30);
    for (size_t i = 0; i < XK_COUNT(names); i++) {
        struct sim_object *const vdi = sim_create(p, "VDI");
        if (!vdi)
            return;
        sim_put_text(p, vdi, "name_label", names[i]);
        sim_put_text(p, vdi, "location", names[i]);
        sim_put_text(p, vdi, "SR", s->isos->ref);
        sim_put_text(p, vdi, "type", "user");
        sim_put_bool(p, vdi, "read_only", true);
        sim_put_bool(p, vdi, "managed", true);
        sim_put_int(p, vdi, "virtual_size", ISO_BYTES);
        sim_put_int(p, vdi, "physical_utilisation", ISO_BYTES);
    }
    for (unsigned i = 0; i < p->settings.hosts; i++) {
        struct sim_object *const pbd = sim_create(p, "PBD");
        if (!pbd)
            return;
        sim_put_text(p, pbd, "host", s->hosts[i]->ref);
        sim_put_text(p, pbd, "SR", s->isos->ref);
        sim_put_bool(p, pbd, "currently_attached", true);
        sim_put_map(p, pbd, "device_config", (const char *const[]){"location", "192.0.2.10:/export/isos", NULL});
    }
}

/* What may be done to whom, once all relations are there. */
static void seed_allowed(struct simpool *p)
{
    static const char *const classes[] = {"SR", "VDI", "VBD", "VIF", "VM"};

    for (size_t i = 0; i < XK_COUNT(classes); i++)
        for (struct sim_object *o = sim_first(p, classes[i]); o && p->error == 0; o = o->class_next)
            sim_allowed(p, o);
}

static void seed_pool(struct seeding *s)
{
    struct simpool *const p = s->pool;
    struct sim_object *const pool = sim_create(p, "pool");

    if (!pool)
        return;
    sim_put_text(p, pool, "name_label", "simulated");
    sim_put_text(p, pool, "name_description", "a pool that xenkit simulates");
    sim_put_text(p, pool, "master", s->hosts[0]->ref);
    sim_put_text(p, pool, "default_SR", s->shared->ref);
    sim_put_text(p, pool, "suspend_image_SR", s->shared->ref);
    sim_put_text(p, pool, "crash_dump_SR", s->shared->ref);
}

static void seed_console(struct seeding *s, const struct sim_object *vm, const struct sim_object *host)
{
    struct simpool *const p = s->pool;
    struct sim_object *const console = sim_create(p, "console");
    char text[128];

    if (!console)
        return;
    sim_put_text(p, console, "VM", vm->ref);
    sim_put_text(p, console, "protocol", "rfb");
    sim_put_int(p, console, "port", -1);
    snprintf(text, sizeof(text), "https://%.42s/console?uuid=%.36s", resolve_url_text(sim_text(host, "address")).s,
             sim_text(console, "uuid"));
    sim_put_text(p, console, "location", text);
}

static void seed_devices(struct seeding *s, struct sim_object *vm, const char *name, unsigned number, bool runs)
{
    struct simpool *const p = s->pool;
    struct sim_object *const vdi = sim_create(p, "VDI"), *const vbd = sim_create(p, "VBD"),
                             *const vif = sim_create(p, "VIF"), *const disk = sim_create(p, "VBD_metrics"),
                             *const link = sim_create(p, "VIF_metrics");
    char text[96];

    if (!vdi || !vbd || !vif || !disk || !link)
        return;
    snprintf(text, sizeof(text), "%s-disk", name);
    sim_put_text(p, vdi, "name_label", text);
    sim_put_text(p, vdi, "SR", s->shared->ref);
    sim_put_int(p, vdi, "virtual_size", DISK_BYTES);
    sim_put_int(p, vdi, "physical_utilisation", DISK_BYTES / 4);
    sim_put_text(p, vdi, "type", "user");
    sim_put_text(p, vdi, "location", sim_text(vdi, "uuid"));
    sim_put_bool(p, vdi, "managed", true);
    sim_put_text(p, vbd, "VM", vm->ref);
    sim_put_text(p, vbd, "VDI", vdi->ref);
    sim_put_text(p, vbd, "device", runs ? "xvda" : "");
    sim_put_text(p, vbd, "userdevice", "0");
    sim_put_bool(p, vbd, "bootable", true);
    sim_put_text(p, vbd, "mode", "RW");
    sim_put_text(p, vbd, "type", "Disk");
    sim_put_bool(p, vbd, "unpluggable", true);
    sim_put_map(p, vbd, "other_config", (const char *const[]){"owner", "", NULL});
    sim_put_text(p, vbd, "metrics", disk->ref);
    sim_put_text(p, vif, "VM", vm->ref);
    sim_put_text(p, vif, "network", s->network->ref);
    sim_put_text(p, vif, "device", "0");
    sim_put_int(p, vif, "MTU", 1500);
    snprintf(text, sizeof(text), "02:10:00:%02x:%02x:%02x", number >> 16 & 255, number >> 8 & 255, number & 255);
    sim_put_text(p, vif, "MAC", text);
    sim_put_text(p, vif, "metrics", link->ref);
    sim_put_bool(p, vbd, "currently_attached", runs);
    sim_put_bool(p, vif, "currently_attached", runs);
}

static void seed_guest(struct seeding *s, struct sim_object *vm, unsigned number)
{
    char address[32];

    snprintf(address, sizeof(address), "192.0.2.%u", 20 + number % 200);
    (void)sim_guest_create(s->pool, vm, address);
}

/* Two of three run, spread over the hosts. */
static void seed_guest_vm(struct seeding *s, unsigned number)
{
    static const char *const kinds[] = {"web", "db", "app", "mail", "build", "desk"};
    struct simpool *const p = s->pool;
    const bool runs = number % 3 != 2;
    struct sim_object *const host = s->hosts[number % p->settings.hosts];
    char name[64];

    snprintf(name, sizeof(name), "%s-%02u", kinds[number % XK_COUNT(kinds)], number / (unsigned)XK_COUNT(kinds) + 1);
    struct sim_object *const vm = seed_vm(s, name, VM_MEMORY, number % 3 + 1);
    if (!vm)
        return;
    sim_put_list(p, vm, "tags", number % 4 == 0 ? (const char *const[]){"production", NULL} : none);
    seed_devices(s, vm, name, number, runs);
    if (runs) {
        struct sim_object *const metrics = sim_follow(p, host, "metrics"), *const own = sim_follow(p, vm, "metrics");
        sim_put_text(p, vm, "power_state", "Running");
        sim_put_text(p, vm, "resident_on", host->ref);
        sim_put_int(p, vm, "domid", number + 1);
        sim_put_int(p, vm, "memory_target", VM_MEMORY);
        sim_put_time(p, own, "start_time", s->now - 3600);
        sim_put_int(p, own, "memory_actual", VM_MEMORY);
        sim_put_int(p, own, "VCPUs_number", sim_int(vm, "VCPUs_at_startup"));
        sim_put_text(p, own, "current_domain_type", "hvm");
        sim_put_bool(p, own, "hvm", true);
        sim_put_int(p, metrics, "memory_free", sim_int(metrics, "memory_free") - VM_MEMORY - sim_vm_overhead(vm));
        seed_guest(s, vm, number);
        seed_console(s, vm, host);
    }
}

static void seed_templates(struct seeding *s)
{
    static const char *const names[] = {"Debian Bookworm 12", "Rocky Linux 9", "Windows Server 2022 (64-bit)",
                                        "Other install media"};

    for (size_t i = 0; i < XK_COUNT(names); i++) {
        struct sim_object *const vm = seed_vm(s, names[i], INT64_C(2) << 30, 2);
        if (!vm)
            return;
        sim_put_bool(s->pool, vm, "is_a_template", true);
        sim_put_bool(s->pool, vm, "is_default_template", true);
        sim_put_pair(s->pool, vm, "other_config", "default_template", "true");
    }
}

int sim_seed(struct simpool *p, struct xk_err *err)
{
    struct seeding s = {.pool = p, .now = sim_now_s(p)};

    sim_bulk_begin(p);
    seed_networks(&s);
    for (unsigned i = 0; i < p->settings.hosts && !p->error; i++)
        seed_host(&s, i);
    if (!p->error)
        seed_shared(&s);
    if (!p->error)
        seed_isos(&s);
    if (!p->error)
        seed_pool(&s);
    if (!p->error)
        sim_seed_drivers(p);
    for (unsigned i = 0; i < p->settings.vms && !p->error; i++)
        seed_guest_vm(&s, i);
    if (!p->error)
        seed_templates(&s);
    sim_bulk_end(p);
    seed_allowed(p);
    if (p->directory)
        sim_directory_enable(p);
    return p->error ? xk_fail_memory(err) : 0;
}
