/*
 * Machines planted as folders: a Xen dom0, a guest, a laptop, nothing at all, and hostile files.
 */
#include "lib/environment/environment.h"
#include "lib/environment/test-fixture.h"
#include "core/text.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static int make(void **state)
{
    static struct fixture f;
    fixture_make(&f);
    *state = &f;
    return 0;
}

static int unmake(void **state)
{
    fixture_done(*state);
    return 0;
}

static struct environment *look(const struct fixture *f, const struct environment_system *system)
{
    static struct environment e;
    environment_read(&e, f->root, system);
    return &e;
}

/* ---- processors ---- */

static void plant_cpu(const struct fixture *f, unsigned cpu, const char *core, const char *package,
                      const char *governor)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u/topology/thread_siblings_list", cpu);
    fixture_put(f, path, core);
    (void)snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u/topology/core_siblings_list", cpu);
    fixture_put(f, path, package);
    (void)snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u/cpufreq/scaling_governor", cpu);
    fixture_put(f, path, governor);
}

static void processors(void **state)
{
    const struct fixture *f = *state;
    fixture_put(f, "/proc/cpuinfo",
                "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 85\n"
                "model name\t: Intel(R) Xeon(R) Gold 6226R CPU @ 2.90GHz\nstepping\t: 7\nmicrocode\t: 0x5003604\n"
                "flags\t\t: fpu vme hypervisors not_hypervisor\n\n"
                "processor\t: 1\nvendor_id\t: Other\nmodel name\t: Other\nstepping\t: 9\n\n");
    /* Two sockets, four cores with two threads, one thread of the last core offline. */
    fixture_put(f, "/sys/devices/system/cpu/online", "0-5,7\n");
    plant_cpu(f, 0, "0,4\n", "0-1,4-5\n", "performance\n");
    plant_cpu(f, 1, "1,5\n", "0-1,4-5\n", "performance\n");
    plant_cpu(f, 2, "2\n", "2-3,7\n", "performance\n");
    plant_cpu(f, 3, "3,7\n", "2-3,7\n", "performance\n");
    plant_cpu(f, 4, "0,4\n", "0-1,4-5\n", "performance\n");
    plant_cpu(f, 5, "1,5\n", "0-1,4-5\n", "performance\n");
    plant_cpu(f, 7, "3,7\n", "2-3,7\n", "performance\n");
    fixture_put(f, "/sys/devices/system/cpu/smt/active", "1\n");
    fixture_put(f, "/sys/devices/system/cpu/cpu0/cpufreq/scaling_driver", "intel_pstate\n");
    fixture_put(f, "/sys/devices/system/cpu/cpu0/cpufreq/scaling_min_freq", "1200000\n");
    fixture_put(f, "/sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq", "3900000\n");
    fixture_put(f, "/sys/devices/system/cpu/intel_pstate/no_turbo", "1\n");
    fixture_put(f, "/sys/devices/system/cpu/cpuidle/current_driver", "intel_idle\n");

    const struct environment *e = look(f, NULL);
    assert_string_equal(e->cpu.vendor, "GenuineIntel");
    assert_string_equal(e->cpu.model, "Intel(R) Xeon(R) Gold 6226R CPU @ 2.90GHz");
    assert_string_equal(e->cpu.microcode, "0x5003604");
    assert_int_equal(e->cpu.family, 6);
    assert_int_equal(e->cpu.model_number, 85);
    assert_int_equal(e->cpu.stepping, 7);
    assert_int_equal(e->cpu.threads, 7);
    assert_int_equal(e->cpu.cores, 4);
    assert_int_equal(e->cpu.sockets, 2);
    assert_int_equal(e->cpu.smt, ENVIRONMENT_ON);
    assert_false(e->cpu.hypervisor_flag);
    assert_string_equal(e->virtualisation.hypervisor, "");
    assert_false(environment_is_guest(e));
    assert_string_equal(e->frequency.governor, "performance");
    assert_string_equal(e->frequency.driver, "intel_pstate");
    assert_string_equal(e->frequency.idle_driver, "intel_idle");
    assert_int_equal(e->frequency.turbo, ENVIRONMENT_OFF);
    assert_true(e->frequency.min_hz == 1200000000 && e->frequency.max_hz == 3900000000);

    fixture_remove(f, "/sys/devices/system/cpu/intel_pstate/no_turbo");
    fixture_put(f, "/sys/devices/system/cpu/cpufreq/boost", "1\n");
    plant_cpu(f, 7, "3,7\n", "2-3,7\n", "powersave\n");
    e = look(f, NULL);
    assert_int_equal(e->frequency.turbo, ENVIRONMENT_ON);
    assert_string_equal(e->frequency.governor, "mixed");
}

static void processors_without_sysfs_are_counted_in_cpuinfo(void **state)
{
    const struct fixture *f = *state;
    fixture_put(f, "/proc/cpuinfo",
                "processor\t: 0\nBogoMIPS\t: 50.00\n\nprocessor\t: 1\n\nprocessor\t: 2\nflags\t: hypervisor\n");
    const struct environment *e = look(f, NULL);
    assert_int_equal(e->cpu.threads, 3);
    assert_int_equal(e->cpu.cores, 0);
    assert_int_equal(e->cpu.family, -1);
    assert_false(e->cpu.hypervisor_flag); /* the first processor speaks for all */
}

/* ---- memory ---- */

static void memory_and_nodes(void **state)
{
    const struct fixture *f = *state;
    fixture_put(
        f, "/proc/meminfo",
        "MemTotal:        2048000 kB\nMemFree:          100000 kB\nMemAvailable:    1024000 kB\n"
        "Buffers: 1 kB\nCached: 2 kB\nSwapCached: 7 kB\nSwapTotal:       1048572 kB\nSwapFree:        1048000 kB\n");
    fixture_put(f, "/sys/devices/system/node/online", "0,2\n");
    fixture_put(f, "/sys/devices/system/node/node0/cpulist", "0-3\n");
    fixture_put(f, "/sys/devices/system/node/node0/meminfo",
                "Node 0 MemTotal:        1024000 kB\nNode 0 MemFree:          4096 kB\n");
    fixture_put(f, "/sys/devices/system/node/node2/cpulist", "4-7\n");
    fixture_put(f, "/sys/devices/system/node/node2/meminfo", "Node 2 MemTotal:        1024001 kB\n");
    fixture_put(f, "/sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
    const struct environment *e = look(f, NULL);
    assert_true(e->memory.known);
    assert_true(e->memory.total_bytes == 2048000 * XK_KIB && e->memory.available_bytes == 1024000 * XK_KIB);
    assert_true(e->memory.swap_total_bytes == 1048572 * XK_KIB && e->memory.swap_free_bytes == 1048000 * XK_KIB);
    assert_string_equal(e->memory.huge_pages, "madvise");
    assert_int_equal(e->node_count, 2);
    assert_int_equal(e->nodes_described, 2);
    assert_int_equal(e->nodes[1].number, 2);
    assert_string_equal(e->nodes[1].cpus, "4-7");
    assert_true(e->nodes[0].memory_bytes == 1024000 * XK_KIB && e->nodes[0].memory_free_bytes == 4096 * XK_KIB);
    assert_true(e->nodes[1].memory_bytes == 1024001 * XK_KIB && e->nodes[1].memory_free_bytes == 0);

    /* An old kernel without MemAvailable. */
    fixture_put(f, "/proc/meminfo", "MemTotal: 1000 kB\nMemFree: 100 kB\nBuffers: 20 kB\nCached: 30 kB\n");
    e = look(f, NULL);
    assert_true(e->memory.known && e->memory.available_bytes == 150 * XK_KIB && e->memory.swap_total_bytes == 0);
}

/* ---- kernel, distribution ---- */

static void kernel_and_distribution(void **state)
{
    const struct fixture *f = *state;
    fixture_put(f, "/proc/sys/kernel/hostname", "xcp-1\n");
    fixture_put(f, "/proc/sys/kernel/osrelease", "4.19.0+1\n");
    fixture_put(f, "/proc/sys/kernel/arch", "x86_64\n");
    fixture_put(f, "/proc/version", "Linux version 4.19.0+1 (mockbuild@x) (gcc) #1 SMP\n");
    fixture_put(f, "/proc/uptime", "1078.60 1962.23\n");
    fixture_put(f, "/proc/cmdline",
                "root=LABEL=root-x ro nosmt mitigations=auto,nosmt token=secret nolapic hypervisor isolcpus=1-3 "
                "mitigations_not=1 -- idle=poll\n");
    fixture_put(f, "/sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n");
    fixture_put(f, "/etc/os-release",
                "#PRETTY_NAME=no\nNAME=\"XCP-ng\"\nID='xenenterprise'\nVERSION_ID=8.3.0\n"
                "PRETTY_NAME=\"XCP-ng \\\"8.3\\\"  \"\n");
    fixture_put(f, "/etc/xensource-inventory",
                "PRIMARY_DISK='/dev/sda'\nPRODUCT_BRAND='XCP-ng'\nPRODUCT_VERSION='8.3.0'\n");
    const struct environment *e = look(f, NULL);
    assert_string_equal(e->host, "xcp-1");
    assert_string_equal(e->kernel.release, "4.19.0+1");
    assert_string_equal(e->cpu.architecture, "x86_64");
    assert_string_equal(e->kernel.version, "Linux version 4.19.0+1 (mockbuild@x) (gcc) #1 SMP");
    assert_string_equal(e->kernel.parameters, "nosmt mitigations=auto,nosmt isolcpus=1-3");
    assert_string_equal(e->kernel.clocksource, "tsc");
    assert_string_equal(e->distribution.name, "XCP-ng \"8.3\"");
    assert_string_equal(e->distribution.id, "xenenterprise");
    assert_string_equal(e->distribution.version, "8.3.0");
    assert_string_equal(e->distribution.product, "XCP-ng 8.3.0");
    assert_true(e->uptime_ns == UINT64_C(1078600000000));

    /* The other place of os-release. */
    fixture_remove(f, "/etc/os-release");
    fixture_put(f, "/usr/lib/os-release", "NAME=Plain\n");
    assert_string_equal(look(f, NULL)->distribution.name, "Plain");
}

static void long_parameters_stay_whole_words(void **state)
{
    const struct fixture *f = *state;
    char line[4096] = "";
    for (unsigned i = 0; i < 60; i++)
        (void)snprintf(line + strlen(line), sizeof(line) - strlen(line), "isolcpus=%u000000000 ", i);
    fixture_put(f, "/proc/cmdline", line);
    const struct environment *e = look(f, NULL);
    const size_t length = strlen(e->kernel.parameters);
    assert_in_range(length, ENVIRONMENT_LINE_MAX - 25, ENVIRONMENT_LINE_MAX - 1);
    assert_memory_equal(e->kernel.parameters, line, length);
    assert_true(line[length] == ' ');
}

/* ---- steal ---- */

static void steal(void **state)
{
    const struct fixture *f = *state;
    struct environment_ticks before, after;
    assert_int_equal(environment_ticks_read(&before, f->root), -ENOENT);
    fixture_put(f, "/proc/stat", "cpu  100 20 300 4000 50 6 7 517 90 9\ncpu0 1 2 3\n");
    assert_int_equal(environment_ticks_read(&before, f->root), 0);
    assert_int_equal(before.steal, 517);
    assert_int_equal(before.total, 5000); /* guest time is part of user time already */
    fixture_put(f, "/proc/stat", "cpu  200 20 300 4100 50 6 7 567 90 9\n");
    assert_int_equal(environment_ticks_read(&after, f->root), 0);
    assert_true(fabs(environment_steal_percent(&before, &after) - 20) < 1e-12);
    assert_true(isnan(environment_steal_percent(&after, &before)));
    assert_true(isnan(environment_steal_percent(&after, &after)));
    const char *const bad[] = {"",
                               "cpu",
                               "cpu  1 2 3\n",
                               "cpu0 1 2 3 4 5 6 7 8\n",
                               "cpu  1 2 3 4 5 6 7 -8\n",
                               "cpu  18446744073709551615 1 1 1 1 1 1 1\n"};
    for (size_t i = 0; i < XK_COUNT(bad); i++) {
        fixture_put(f, "/proc/stat", bad[i]);
        assert_int_equal(environment_ticks_read(&after, f->root), -EBADMSG);
    }
}

/* ---- hypervisors ---- */

struct planted_cpuid {
    const char *base, *behind; /* signatures at 0x40000000 and 0x40000100 */
    bool hypervisor;
};

static int planted_cpuid(const struct environment_system *system, uint32_t leaf, uint32_t r[4])
{
    const struct planted_cpuid *p = system->state;
    memset(r, 0, 4 * sizeof(r[0]));
    const char *signature = leaf == 0x40000000 ? p->base : leaf == 0x40000100 ? p->behind : NULL;
    if (leaf == 1 && p->hypervisor)
        r[2] = 1u << 31;
    if (signature)
        memcpy(&r[1], signature, strlen(signature)); /* at most 12 */
    const bool is_version = leaf == (p->behind ? 0x40000101 : 0x40000001);
    r[0] = is_version ? 4u << 16 | 17 : 0x31237648; /* what Hyper-V says of itself */
    return 0;
}

static const struct environment *look_with_cpuid(const struct fixture *f, struct planted_cpuid planted)
{
    const struct environment_system system = {.cpuid = planted_cpuid, .state = &planted};
    return look(f, &system);
}

static void hypervisors_by_cpuid(void **state)
{
    const struct fixture *f = *state;
    const struct environment *e = look_with_cpuid(f, (struct planted_cpuid){"KVMKVMKVM", NULL, true});
    assert_string_equal(e->virtualisation.hypervisor, "kvm");
    assert_true(environment_is_guest(e) && e->virtualisation.xen == ENVIRONMENT_XEN_NONE);

    e = look_with_cpuid(f, (struct planted_cpuid){"XenVMMXenVMM", NULL, true});
    assert_string_equal(e->virtualisation.hypervisor, "xen");
    assert_string_equal(e->virtualisation.xen_version, "4.17");
    assert_int_equal(e->virtualisation.xen, ENVIRONMENT_XEN_DOMU);

    e = look_with_cpuid(f, (struct planted_cpuid){"Microsoft Hv", NULL, true});
    assert_string_equal(e->virtualisation.hypervisor, "hyperv");
    e = look_with_cpuid(f, (struct planted_cpuid){"Microsoft Hv", "XenVMMXenVMM", true});
    assert_string_equal(e->virtualisation.hypervisor, "xen");
    assert_string_equal(e->virtualisation.xen_version, "4.17");

    e = look_with_cpuid(f, (struct planted_cpuid){"\x01\x02\x1b[31m", NULL, true});
    assert_string_equal(e->virtualisation.hypervisor, "unknown");

    /* Leaves mean nothing when the bit is not set. */
    e = look_with_cpuid(f, (struct planted_cpuid){"XenVMMXenVMM", NULL, false});
    assert_string_equal(e->virtualisation.hypervisor, "");
    assert_false(environment_is_guest(e));
}

static void plant_xen(const struct fixture *f, const char *features, const char *guest_type)
{
    fixture_put(f, "/sys/hypervisor/type", "xen\n");
    fixture_put(f, "/sys/hypervisor/guest_type", guest_type);
    fixture_put(f, "/sys/hypervisor/version/major", "4\n");
    fixture_put(f, "/sys/hypervisor/version/minor", "17\n");
    fixture_put(f, "/sys/hypervisor/version/extra", ".7\n");
    fixture_put(f, "/sys/hypervisor/properties/features", features);
}

static void xen_dom0_and_guests(void **state)
{
    const struct fixture *f = *state;
    plant_xen(f, "000228f0\n", "PV\n"); /* as a real dom0 says it */
    const struct environment *e = look(f, NULL);
    assert_int_equal(e->virtualisation.xen, ENVIRONMENT_XEN_DOM0); /* xenfs need not be mounted */
    assert_string_equal(e->virtualisation.xen_version, "4.17.7");
    assert_string_equal(e->virtualisation.guest_type, "PV");
    assert_false(environment_is_guest(e));

    plant_xen(f, "000220f0\n", "PVH\n");
    e = look(f, NULL);
    assert_int_equal(e->virtualisation.xen, ENVIRONMENT_XEN_DOMU);
    assert_true(environment_is_guest(e));
    fixture_put(f, "/proc/xen/capabilities", "");
    assert_int_equal(look(f, NULL)->virtualisation.xen, ENVIRONMENT_XEN_DOMU);
    fixture_put(f, "/proc/xen/capabilities", "control_d\n");
    assert_int_equal(look(f, NULL)->virtualisation.xen, ENVIRONMENT_XEN_DOM0);

    /* Another hypervisor uses the folder too. */
    fixture_remove(f, "/proc/xen/capabilities");
    fixture_put(f, "/sys/hypervisor/type", "z/VM\n");
    assert_int_equal(look(f, NULL)->virtualisation.xen, ENVIRONMENT_XEN_NONE);
}

static void containers_and_hardware(void **state)
{
    const struct fixture *f = *state;
    assert_string_equal(look(f, NULL)->virtualisation.container, "");
    fixture_put(f, "/.dockerenv", "");
    assert_string_equal(look(f, NULL)->virtualisation.container, "docker");
    fixture_put(f, "/run/systemd/container", "lxc\n");
    fixture_put(f, "/sys/class/dmi/id/sys_vendor", "Dell Inc.\n");
    fixture_put(f, "/sys/class/dmi/id/product_name", "PowerEdge R640\n");
    const struct environment *e = look(f, NULL);
    assert_string_equal(e->virtualisation.container, "lxc");
    assert_string_equal(e->virtualisation.vendor, "Dell Inc.");
    assert_string_equal(e->virtualisation.product, "PowerEdge R640");
}

/* ---- nothing, and hostile files ---- */

static void an_empty_root_is_unknown(void **state)
{
    const struct environment *e = look(*state, NULL);
    assert_string_equal(e->cpu.model, "");
    assert_int_equal(e->cpu.threads, 0);
    assert_int_equal(e->node_count, 0);
    assert_false(e->memory.known);
    assert_int_equal(e->virtualisation.xen, ENVIRONMENT_XEN_NONE);
    assert_true(e->uptime_ns == 0);
}

static void as_json(const struct environment *e, char *text, size_t size)
{
    xk_auto(xk_buf_done) struct xk_buf buf = XK_BUF_INIT(XK_MIB);
    struct xk_json j;
    xk_json_init(&j, &buf, 0);
    environment_json(&j, NULL, e, NULL);
    assert_int_equal(buf.error, 0);
    assert_int_equal(j.depth, 0);
    assert_true(buf.len < size);
    (void)snprintf(text, size, "%s", xk_buf_str(&buf));
}

/* Every file of interest holds the same bytes, whatever they are. */
static void hostile_files(void **state)
{
    static const char *const paths[] = {
        "/proc/cpuinfo",
        "/proc/meminfo",
        "/proc/stat",
        "/proc/uptime",
        "/proc/cmdline",
        "/proc/version",
        "/proc/sys/kernel/hostname",
        "/proc/sys/kernel/osrelease",
        "/proc/xen/capabilities",
        "/proc/self/mountinfo",
        "/etc/os-release",
        "/etc/xensource-inventory",
        "/run/systemd/container",
        "/sys/hypervisor/type",
        "/sys/hypervisor/version/major",
        "/sys/hypervisor/properties/features",
        "/sys/class/dmi/id/sys_vendor",
        "/sys/devices/system/cpu/online",
        "/sys/devices/system/cpu/cpu0/topology/core_cpus_list",
        "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
        "/sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq",
        "/sys/devices/system/node/online",
        "/sys/devices/system/node/node0/meminfo",
        "/sys/kernel/mm/transparent_hugepage/enabled",
    };
    static char noise[200000];
    static const char *const texts[] = {
        "0-4294967295,99999999999999999999\n",
        "0-,\n",
        "8191-0\n",
        ",,,,\n",
        "processor: 0\nmodel name:\nflags:",
        "[",
        "]x[\n",
        "MemTotal: 99999999999999999999 kB\nMemAvailable: 18446744073709551615 kB",
        "cpu  \n",
        "PRETTY_NAME=\"\\",
        "'",
        "--",
        "\n\n\n",
        "Node 0 MemTotal: 18446744073709551615 kB\n",
        "xen",
        "ffffffffffffffffffffffff",
        "1 1 1:1 / / rw - a",
        "1 1 1:1 / / rw -  \n1 1 1:1 / / rw - a b c\n1 1 1:1 / / rw - a b c\n",
    };
    const struct fixture *f = *state;
    unsigned seed = 1;
    for (size_t i = 0; i < sizeof(noise); i++)
        noise[i] = (char)((seed = seed * 1103515245 + 12345) >> 16);
    for (size_t t = 0; t < XK_COUNT(texts) + 2; t++) {
        for (size_t i = 0; i < XK_COUNT(paths); i++) {
            if (t < XK_COUNT(texts))
                fixture_put(f, paths[i], texts[t]);
            else
                fixture_bytes(f, paths[i], noise, t == XK_COUNT(texts) ? sizeof(noise) : 0);
        }
        char text[XK_KIB * 64];
        as_json(look(f, NULL), text, sizeof(text));
        struct environment_mounts mounts;
        (void)environment_mounts_read(&mounts, f->root, NULL);
        (void)environment_mount_of(&mounts, "/a/b//c/");
        environment_mounts_done(&mounts);
    }
}

static void folders_and_fifos_instead_of_files(void **state)
{
    const struct fixture *f = *state;
    char path[512];
    fixture_path(path, sizeof(path), f, "/proc/version");
    assert_int_equal(mkfifo(path, 0600), 0);
    fixture_put(f, "/proc/cpuinfo/x", "");
    fixture_put(f, "/proc/meminfo/x", "");
    fixture_put(f, "/sys/devices/system/cpu/online/x", "");
    assert_int_equal(look(f, NULL)->cpu.threads, 0);
}

/* ---- JSON ---- */

static void json_has_nulls_for_unknown(void **state)
{
    const struct fixture *f = *state;
    char text[XK_KIB * 64];
    as_json(look(f, NULL), text, sizeof(text));
    assert_true(xk_has_prefix(text, "{\"xenkit_version\":\"" XK_VERSION "\",\"host\":null,\"cpu\":{\"model\":null,"));
    assert_non_null(strstr(text, "\"family\":null,"));
    assert_non_null(strstr(text, "\"steal_percent\":null}"));

    fixture_put(f, "/proc/meminfo", "MemTotal: 4 kB\nMemAvailable: 2 kB\n");
    fixture_put(f, "/proc/stat", "cpu  50 0 0 40 0 0 0 10 0 0\n");
    fixture_put(f, "/sys/devices/system/node/online", "0\n");
    as_json(look(f, NULL), text, sizeof(text));
    assert_non_null(strstr(text, "\"memory\":{\"total_bytes\":4096,\"available_bytes\":2048,\"swap_total_bytes\":0,"));
    assert_non_null(strstr(text, "\"steal_percent\":10}"));
    assert_non_null(strstr(text, "\"nodes\":[{\"number\":0,\"cpus\":null,\"memory_bytes\":null,"));
}

static void this_machine(void **state)
{
    static struct environment e;
    environment_read(&e, "", NULL);
    assert_true(e.cpu.threads > 0);
    assert_true(e.memory.known && e.memory.total_bytes >= e.memory.available_bytes);
    assert_true(e.uptime_ns > 0);
    assert_string_not_equal(e.kernel.release, "");
    assert_true(e.cpu.sockets <= e.cpu.cores && e.cpu.cores <= e.cpu.threads);
    char text[XK_KIB * 64];
    as_json(&e, text, sizeof(text));

    struct environment_file_system fs;
    struct xk_err err;
    assert_int_equal(environment_file_system_read(&fs, "", environment_system_of(""), "/proc/self", &err), 0);
    assert_string_equal(fs.type, "proc");
    assert_string_equal(fs.point, "/proc");
    assert_int_equal(environment_file_system_read(&fs, "", environment_system_of(""), "/does/not/exist", &err),
                     -ENOENT);
    assert_non_null(strstr(err.text, "/does/not/exist"));
}

/* ---- mounts ---- */

static void mounts_are_decoded(void **state)
{
    const struct fixture *f = *state;
    fixture_put(
        f, "/proc/self/mountinfo",
        "22 27 0:21 / /proc rw,relatime - proc proc rw\n"
        "27 1 254:1 / / rw,discard shared:1 - ext4 /dev/vda rw,errors=remount-ro\n"
        "this is no mount\n"
        "40 27 7:0 /sub\\040folder /mnt/two\\040words\\134\\011 ro shared:1 master:2 - iso9660 //srv/a\\040b ro\n"
        "41 27 0:50 / /mnt/empty rw - tmpfs  rw\n");
    struct environment_mounts m;
    assert_int_equal(environment_mounts_read(&m, f->root, NULL), 0);
    assert_int_equal(m.count, 4);
    assert_int_equal(m.left_off, 1);
    assert_string_equal(m.items[2].point, "/mnt/two words\\\t");
    assert_string_equal(m.items[2].inside, "/sub folder");
    assert_string_equal(m.items[2].source, "//srv/a b");
    assert_string_equal(m.items[3].source, "");
    assert_int_equal(m.items[1].major, 254);
    assert_int_equal(m.items[1].minor, 1);
    assert_true(environment_option_is_set(m.items[1].super_options, "errors=remount-ro"));
    assert_false(environment_option_is_set(m.items[1].super_options, "errors"));
    assert_false(environment_option_is_set(m.items[1].super_options, "r"));
    assert_true(environment_option_is_set("ro", "ro"));
    environment_mounts_done(&m);
    assert_int_equal(environment_mounts_read(&m, "/does/not/exist", NULL), -ENOENT);
    assert_null(environment_mount_of(&m, "/"));
    environment_mounts_done(&m);
}

static void a_path_lies_on_the_mount_one_sees(void **state)
{
    const struct fixture *f = *state;
    fixture_put(f, "/proc/self/mountinfo",
                "22 27 0:21 / /proc rw - proc proc rw\n" /* moved there from an initramfs: listed before its parent */
                "27 1 254:0 / / rw - ext4 /dev/vda rw\n"
                "30 27 0:30 / /a/b rw - tmpfs covered rw\n"
                "31 27 0:31 / /a rw - tmpfs over rw\n" /* hides /a/b */
                "32 31 0:32 / /a/c rw - tmpfs one rw\n"
                "33 32 0:33 / /a/c rw - tmpfs two rw\n"); /* stacked */
    struct environment_mounts m;
    assert_int_equal(environment_mounts_read(&m, f->root, NULL), 0);
    const struct {
        const char *path, *source;
    } rows[] = {{"/", "/dev/vda"},   {"/etc", "/dev/vda"},        {"/proc", "proc"},
                {"/proc/1", "proc"}, {"/procession", "/dev/vda"}, {"/a", "over"},
                {"/a/b", "over"},    {"/a/b/x", "over"},          {"/a/c", "two"},
                {"/a/c/d/e", "two"}, {"/a/cd", "over"},           {"/a/c/", "two"}};
    for (size_t i = 0; i < XK_COUNT(rows); i++)
        assert_string_equal(environment_mount_of(&m, rows[i].path)->source, rows[i].source);
    environment_mounts_done(&m);
}

static int planted_statfs(const struct environment_system *system, const char *path, struct statfs *ret)
{
    if (strcmp(path, "/data/disk.vhd") != 0)
        return -EACCES;
    *ret = *(const struct statfs *)system->state;
    return 0;
}

static void file_system_of_a_path(void **state)
{
    const struct fixture *f = *state;
    struct statfs sizes = {.f_type = 0xef53,
                           .f_bsize = 4096,
                           .f_frsize = 1024,
                           .f_blocks = 1000,
                           .f_bfree = 500,
                           .f_bavail = 400,
                           .f_files = 64,
                           .f_ffree = 32};
    const struct environment_system system = {.statfs = planted_statfs, .state = &sizes};
    fixture_put(
        f, "/proc/self/mountinfo",
        "27 1 254:0 / / rw - ext4 /dev/vda rw\n28 27 254:2 / /data rw,noatime - ext4 /dev/vdb rw,data=ordered\n");
    struct environment_file_system fs;
    struct xk_err err;
    assert_int_equal(environment_file_system_read(&fs, f->root, &system, "/data/disk.vhd", &err), 0);
    assert_string_equal(fs.point, "/data");
    assert_string_equal(fs.source, "/dev/vdb");
    assert_string_equal(fs.options, "rw,noatime,rw,data=ordered");
    assert_true(fs.size_bytes == 1024000 && fs.free_bytes == 512000 && fs.available_bytes == 409600);
    assert_true(fs.inodes == 64 && fs.inodes_free == 32 && fs.magic == 0xef53 && fs.block_bytes == 1024);

    xk_auto(xk_buf_done) struct xk_buf buf = XK_BUF_INIT(XK_MIB);
    struct xk_json j;
    xk_json_init(&j, &buf, 0);
    environment_file_system_json(&j, NULL, &fs);
    assert_non_null(strstr(xk_buf_str(&buf), "\"point\":\"/data\",\"type\":\"ext4\",\"source\":\"/dev/vdb\""));

    assert_int_equal(environment_file_system_read(&fs, f->root, &system, "/other", &err), -EACCES);
    assert_int_equal(environment_file_system_read(&fs, f->root, &system, "relative", &err), -EINVAL);
    sizes.f_blocks = (__typeof__(sizes.f_blocks))UINT64_MAX;
    assert_int_equal(environment_file_system_read(&fs, f->root, &system, "/data/disk.vhd", &err), -EOVERFLOW);
    assert_int_equal(environment_file_system_read(&fs, f->root, environment_system_of(f->root), "/data/disk.vhd", &err),
                     -ENOSYS);
}

#define ON_A_FIXTURE(test) cmocka_unit_test_setup_teardown(test, make, unmake)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_A_FIXTURE(processors),
        ON_A_FIXTURE(processors_without_sysfs_are_counted_in_cpuinfo),
        ON_A_FIXTURE(memory_and_nodes),
        ON_A_FIXTURE(kernel_and_distribution),
        ON_A_FIXTURE(long_parameters_stay_whole_words),
        ON_A_FIXTURE(steal),
        ON_A_FIXTURE(hypervisors_by_cpuid),
        ON_A_FIXTURE(xen_dom0_and_guests),
        ON_A_FIXTURE(containers_and_hardware),
        ON_A_FIXTURE(an_empty_root_is_unknown),
        ON_A_FIXTURE(hostile_files),
        ON_A_FIXTURE(folders_and_fifos_instead_of_files),
        ON_A_FIXTURE(json_has_nulls_for_unknown),
        cmocka_unit_test(this_machine),
        ON_A_FIXTURE(mounts_are_decoded),
        ON_A_FIXTURE(a_path_lies_on_the_mount_one_sees),
        ON_A_FIXTURE(file_system_of_a_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
