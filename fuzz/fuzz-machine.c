/*
 * A file of this machine that holds anything: the first byte chooses which one, the rest is its content, the others are
 * those of a plain machine. Beside not crashing, what was understood has to make sense, and every row has to cope.
 */
#include "lib/environment/test-fixture.h"
#include "lib/machine/machine.h"
#include "lib/measure/measure.h"

#include <math.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct {
    const char *path, *plain;
} files[] = {
    {"/proc/cpuinfo", "processor\t: 0\nmodel name\t: A CPU\nflags\t: fpu\n"},
    {"/proc/meminfo", "MemTotal: 8388608 kB\nMemAvailable: 4194304 kB\nSwapTotal: 1024 kB\nSwapFree: 1024 kB\n"},
    {"/proc/self/mountinfo", "27 1 254:0 / / rw - ext4 /dev/vda rw\n30 27 0:60 / /sr rw - nfs4 filer:/sr rw\n"},
    {"/proc/stat", "cpu  100000 0 0 900000 0 0 0 100 0 0\n"},
    {"/proc/uptime", "100000.00 1.00\n"},
    {"/proc/cmdline", "ro quiet\n"},
    {"/proc/vmstat", "oom_kill 0\n"},
    {"/proc/1/comm", "chronyd\n"},
    {"/proc/sys/kernel/tainted", "0\n"},
    {"/proc/xen/capabilities", "control_d\n"},
    {"/etc/os-release", "PRETTY_NAME=\"Debian\"\n"},
    {"/etc/xensource-inventory", "PRODUCT_BRAND='XCP-ng'\n"},
    {"/etc/chrony.conf", "rtcsync\n"},
    {"/run/reboot-required.pkgs", "libc6\n"},
    {"/run/reboot-required", ""},
    {"/sys/hypervisor/properties/features", "000228f0\n"},
    {"/sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n"},
    {"/sys/devices/system/cpu/online", "0-1\n"},
    {"/sys/devices/system/cpu/cpu1/topology/thread_siblings_list", "0-1\n"},
    {"/sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq", "3900000\n"},
    {"/sys/devices/system/node/online", "0\n"},
    {"/sys/devices/system/node/node0/meminfo", "Node 0 MemTotal: 4 kB\n"},
    {"/sys/devices/system/cpu/vulnerabilities/meltdown", "Mitigation: PTI\n"},
};

static struct fixture folder;

static void remove_folder(void)
{
    fixture_done(&folder);
}

static int planned_statfs(const struct environment_system *system, const char *path, struct statfs *ret)
{
    *ret = (struct statfs){.f_bsize = 4096, .f_blocks = 100000, .f_bfree = 1, .f_files = 1000, .f_ffree = 1};
    return 0;
}

static int planned_adjtimex(const struct environment_system *system, struct timex *ret)
{
    *ret = (struct timex){.status = STA_UNSYNC};
    return TIME_ERROR;
}

static int no_cpuid(const struct environment_system *system, uint32_t leaf, uint32_t ret_registers[4])
{
    return -ENOSYS;
}

static void expect_sense(const struct machine *m)
{
    const struct environment *e = &m->environment;
    assert(e->cpu.cores <= e->cpu.threads && e->cpu.sockets <= e->cpu.threads);
    assert(e->nodes_described <= ENVIRONMENT_NODES_MAX && e->nodes_described <= e->node_count);
    const struct environment_ticks boot = {0};
    const double steal = environment_steal_percent(&boot, &e->ticks);
    assert(isnan(steal) || (steal >= 0 && steal <= 100));
    assert(m->mounts.count <= ENVIRONMENT_MOUNTS_MAX && m->volume_count <= m->mounts.count);
    for (size_t i = 0; i < m->mounts.count; i++)
        assert(m->mounts.items[i].point[0] == '/');
    for (size_t i = 0; i < m->volume_count; i++)
        assert(environment_mount_of(&m->mounts, m->volumes[i].mount->point) == m->volumes[i].mount);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct environment_system system = {planned_statfs, planned_adjtimex, no_cpuid, NULL};
    if (size == 0)
        return 0;
    if (folder.root[0] == '\0') {
        fixture_make(&folder);
        (void)atexit(remove_folder);
        for (size_t i = 0; i < XK_COUNT(files); i++)
            fixture_put(&folder, files[i].path, files[i].plain);
    }
    const size_t chosen = data[0] % XK_COUNT(files);
    fixture_bytes(&folder, files[chosen].path, data + 1, size - 1);

    struct machine *m;
    int64_t now_ns = 0;
    const struct xk_clock clock = xk_clock_frozen(&now_ns);
    const struct machine_settings settings = {.root = folder.root, .system = &system, .clock = &clock};
    if (machine_open(&m, &settings, NULL) == 0) {
        expect_sense(m);
        struct xk_findings found = {0};
        for (const struct xk_check *row = machine_checks; row->id; row++)
            (void)row->run(row, m, &found, NULL);
        for (size_t i = 0; i < found.count; i++)
            assert(found.items[i].object[0] != '\0' && found.items[i].evidence[0] != '\0');
        xk_findings_done(&found);

        static struct measure record;
        xk_auto(xk_buf_done) struct xk_buf text = XK_BUF_INIT(XK_MIB);
        measure_init(&record, "fuzz", 0);
        record.environment = m->environment;
        (void)measure_text(&record, &text, NULL);
        measure_done(&record);
        machine_close(m);
    }
    fixture_put(&folder, files[chosen].path, files[chosen].plain);
    return 0;
}
