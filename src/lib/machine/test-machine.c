/*
 * Every row twice: with its cause planted in a healthy machine, and with a near miss on which it stays silent.
 */
#include "lib/machine/machine.h"

#include "core/testing/fault.h"
#include "core/text.h"
#include "lib/environment/test-fixture.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define NOW_NS   INT64_C(1795409642000000000) /* 2026-11-23 */
#define MOUNTS   "27 1 254:0 / / rw - ext4 /dev/vda rw\n28 27 0:20 / /proc rw - proc proc rw\n"
#define POINTS   8
#define INODES   1000000u
#define BLOCK    4096u
#define BLOCKS_G ((uint64_t)XK_GIB / BLOCK)

/* The answers that no file gives. */
struct plan {
    int state;
    struct timex clock;
    struct {
        const char *point;
        int answer;
        int wait_for, then_tell; /* the answer comes when the first pipe ends, with a byte on the second; 0: at once */
        struct statfs sizes;
    } volumes[POINTS];
};

static int planned_statfs(const struct environment_system *system, const char *path, struct statfs *ret)
{
    const struct plan *plan = system->state;
    for (size_t i = 0; i < POINTS; i++) {
        if (!plan->volumes[i].point || strcmp(plan->volumes[i].point, path) != 0)
            continue;
        const int answer = plan->volumes[i].answer, then_tell = plan->volumes[i].then_tell;
        *ret = plan->volumes[i].sizes;
        if (plan->volumes[i].wait_for > 0) {
            char byte = 0;
            (void)!read(plan->volumes[i].wait_for, &byte, 1);
            (void)!write(then_tell, &byte, 1); /* from here on the plan may change */
        }
        return answer;
    }
    return -ENOENT;
}

static int planned_adjtimex(const struct environment_system *system, struct timex *ret)
{
    const struct plan *plan = system->state;
    *ret = plan->clock;
    return plan->state;
}

static int no_cpuid(const struct environment_system *system, uint32_t leaf, uint32_t ret_registers[4])
{
    return -ENOSYS;
}

static struct statfs sizes(uint64_t size_gib, uint64_t free_blocks, uint64_t free_inodes)
{
    return (struct statfs){.f_bsize = BLOCK,
                           .f_frsize = BLOCK,
                           .f_blocks = size_gib * BLOCKS_G,
                           .f_bfree = free_blocks,
                           .f_bavail = free_blocks,
                           .f_files = INODES,
                           .f_ffree = free_inodes};
}

/* A machine on which nothing is wrong, and what was found on it. */
struct world {
    struct fixture f;
    struct plan plan;
    struct environment_system system;
    int64_t now_ns;
    unsigned answer_ms;
    struct xk_findings found;
};

static int make(void **state)
{
    static struct world w;
    w = (struct world){.now_ns = NOW_NS};
    fixture_make(&w.f);
    w.plan = (struct plan){.state = TIME_OK, .clock = {.status = STA_PLL, .maxerror = 20000, .esterror = 500}};
    w.plan.volumes[0].point = "/";
    w.plan.volumes[0].sizes = sizes(100, 50 * BLOCKS_G, INODES / 2);
    w.system = (struct environment_system){planned_statfs, planned_adjtimex, no_cpuid, &w.plan};
    fixture_put(&w.f, "/proc/sys/kernel/hostname", "box\n");
    fixture_put(&w.f, "/proc/sys/kernel/osrelease", "6.1.0-28-amd64\n");
    fixture_put(&w.f, "/proc/sys/kernel/tainted", "0\n");
    fixture_put(&w.f, "/proc/uptime", "100000.00 1.00\n");
    fixture_put(&w.f, "/proc/cpuinfo", "processor\t: 0\nmodel name\t: A CPU\nmicrocode\t: 0x42\nflags\t: fpu\n");
    fixture_put(&w.f, "/proc/meminfo",
                "MemTotal: 8388608 kB\nMemAvailable: 4194304 kB\nSwapTotal: 1048576 kB\nSwapFree: 1048576 kB\n");
    fixture_put(&w.f, "/proc/vmstat", "nr_free_pages 5\noom_kill 0\n");
    fixture_put(&w.f, "/proc/stat", "cpu  100000 0 0 900000 0 0 0 100 0 0\n");
    fixture_put(&w.f, "/proc/self/mountinfo", MOUNTS);
    fixture_put(&w.f, "/proc/812/comm", "chronyd\n");
    fixture_put(&w.f, "/sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n");
    fixture_put(&w.f, "/sys/devices/system/clocksource/clocksource0/available_clocksource", "tsc hpet acpi_pm\n");
    fixture_put(&w.f, "/sys/devices/system/cpu/vulnerabilities/meltdown", "Mitigation: PTI\n");
    fixture_put(&w.f, "/sys/devices/system/cpu/vulnerabilities/mds", "Mitigation: Clear CPU buffers; SMT vulnerable\n");
    *state = &w;
    return 0;
}

static int unmake(void **state)
{
    struct world *w = *state;
    xk_findings_done(&w->found);
    fixture_done(&w->f);
    return 0;
}

/* Run all rows on the machine as it is now. */
static void examine(struct world *w)
{
    struct machine *m = NULL;
    const struct xk_clock clock = xk_clock_frozen(&w->now_ns);
    const struct machine_settings settings = {w->f.root, &w->system, &clock, w->answer_ms};
    xk_findings_done(&w->found);
    assert_int_equal(machine_open(&m, &settings, NULL), 0);
    for (const struct xk_check *row = machine_checks; row->id; row++)
        assert_int_equal(row->run(row, m, &w->found, NULL), 0);
    assert_int_equal(w->found.error, 0);
    machine_close(m);
}

static const struct xk_finding *finding(const struct world *w, const char *id)
{
    for (size_t i = 0; i < w->found.count; i++)
        if (strcmp(w->found.items[i].check->id, id) == 0)
            return &w->found.items[i];
    return NULL;
}

/* Exactly this row has spoken beside the two notes about identity, once, with these words in its evidence. */
static void expect(struct world *w, const char *id, enum xk_severity severity, const char *words)
{
    examine(w);
    const struct xk_finding *found = finding(w, id);
    if (!found)
        fail_msg("%s did not speak", id);
    for (size_t i = 0; i < w->found.count; i++) {
        const struct xk_finding *other = &w->found.items[i];
        if (other != found && strcmp(other->check->id, "machine.virtualisation") != 0 &&
            strcmp(other->check->id, "machine.kernel") != 0)
            fail_msg("%s spoke, too: %s", other->check->id, other->evidence);
    }
    if (!strstr(found->evidence, words))
        fail_msg("%s: no \"%s\" in \"%s\"", id, words, found->evidence);
    assert_string_equal(xk_severity_name(found->severity), xk_severity_name(severity));
    assert_true(found->fix[0] != '\0' && found->object[0] != '\0');
}

static void expect_nothing(struct world *w)
{
    examine(w);
    for (size_t i = 0; i < w->found.count; i++)
        if (w->found.items[i].severity > XK_NOTE)
            fail_msg("%s: %s", w->found.items[i].check->id, w->found.items[i].evidence);
    assert_int_equal(w->found.count, 2);
    assert_non_null(finding(w, "machine.virtualisation"));
    assert_non_null(finding(w, "machine.kernel"));
}

/* ---- the table itself ---- */

static void rows_are_whole(void **state)
{
    for (const struct xk_check *row = machine_checks; row->id; row++) {
        assert_true(xk_has_prefix(row->id, "machine."));
        assert_true(row->title[0] && row->why[0] && row->fix[0] && row->run);
        assert_non_null(strchr(row->fix, '`')); /* a command */
        for (const struct xk_check *other = machine_checks; other != row; other++)
            assert_string_not_equal(other->id, row->id);
    }
    assert_true(machine_check_set.accepts("localhost"));
    assert_false(machine_check_set.accepts("localhost2"));
    assert_false(machine_check_set.accepts("/localhost"));
}

static void a_healthy_machine_has_two_notes(void **state)
{
    struct world *w = *state;
    expect_nothing(w);
    assert_string_equal(finding(w, "machine.virtualisation")->object, "box");
    assert_string_equal(finding(w, "machine.virtualisation")->evidence,
                        "no Xen, no hypervisor below; 1 processor A CPU, 8 GiB memory");
    assert_string_equal(finding(w, "machine.kernel")->evidence, "Linux 6.1.0-28-amd64");
}

static void an_empty_folder_says_nothing(void **state)
{
    struct world *w = *state;
    fixture_done(&w->f);
    fixture_make(&w->f);
    w->system = *environment_system_of(w->f.root);
    examine(w);
    assert_int_equal(w->found.count, 0);
}

/* ---- clock ---- */

static void clock_unsynchronised(void **state)
{
    struct world *w = *state;
    const char id[] = "machine.clock-unsynchronised";
    w->plan.state = TIME_ERROR;
    w->plan.clock = (struct timex){.status = STA_UNSYNC, .maxerror = 16000000, .esterror = 16000000};
    expect(w, id, XK_WARNING,
           "state 5 (TIME_ERROR), status 0x0040 (STA_UNSYNC), estimated error 16 s, largest error 16 s; "
           "chronyd (process 812) runs");
    assert_non_null(strstr(finding(w, id)->fix, "chronyc -n sources"));

    fixture_put(&w->f, "/proc/812/comm", "ntpd\n");
    expect(w, id, XK_WARNING, "ntpd (process 812) runs");
    assert_non_null(strstr(finding(w, id)->fix, "ntpq"));
    fixture_put(&w->f, "/proc/812/comm", "systemd-timesyn\n");
    expect(w, id, XK_WARNING, "systemd-timesyncd (process 812) runs");
    fixture_put(&w->f, "/proc/812/comm", "ntpd-not\n");
    expect(w, id, XK_WARNING, "neither chronyd nor ntpd nor systemd-timesyncd runs");
    assert_ptr_equal(finding(w, id)->fix, finding(w, id)->check->fix);
    fixture_put(&w->f, "/run/systemd/timesync/synchronized", "");
    expect(w, id, XK_WARNING, "/run/systemd/timesync/synchronized exists");

    /* The flag alone is enough, whatever the state. */
    w->plan.state = TIME_OK;
    expect(w, id, XK_WARNING, "state 0, status 0x0040 (STA_UNSYNC)");
    w->plan.clock.status = 0;
    w->plan.clock.maxerror = w->plan.clock.esterror = 1000;
    expect_nothing(w);
}

static void clock_unsynchronised_for_a_reason(void **state)
{
    struct world *w = *state;
    const char id[] = "machine.clock-unsynchronised";
    w->plan.state = TIME_ERROR;
    w->plan.clock.status = STA_UNSYNC;
    fixture_put(&w->f, "/etc/chrony/chrony.conf", "pool 2.debian.pool.ntp.org iburst\n#rtcsync\n");
    expect(w, id, XK_NOTE, "no line rtcsync");
    fixture_put(&w->f, "/etc/chrony/chrony.conf", "pool x iburst\n  rtcsync\n");
    expect(w, id, XK_WARNING, "chronyd");
    fixture_put(&w->f, "/proc/uptime", "600.00 1.00\n");
    expect(w, id, XK_NOTE, "started only minutes ago");
    fixture_put(&w->f, "/proc/uptime", "901.00 1.00\n");
    expect(w, id, XK_WARNING, "chronyd");
    fixture_put(&w->f, "/proc/uptime", "600.00 1.00\n");
    fixture_remove(&w->f, "/proc/812/comm"); /* nobody is there to settle anything */
    expect(w, id, XK_WARNING, "neither");

    w->plan.state = -EPERM;
    expect(w, id, XK_NOTE, "adjtimex cannot be asked: Operation not permitted");
    w->plan.state = -ENOSYS;
    expect_nothing(w);
}

static void clock_error(void **state)
{
    struct world *w = *state;
    w->plan.clock.maxerror = 4999999;
    w->plan.clock.esterror = 999999;
    expect_nothing(w);
    w->plan.clock.maxerror = 5000000;
    expect(w, "machine.clock-error", XK_WARNING, "largest error is 5.000 s (limit 5 s)");
    w->plan.clock.maxerror = 4999999;
    w->plan.clock.esterror = 1000000;
    expect(w, "machine.clock-error", XK_WARNING, "estimated error 1.000 s (limit 1 s)");
}

static void clock_daemons(void **state)
{
    struct world *w = *state;
    fixture_put(&w->f, "/proc/813/comm", "chronyd\n"); /* its helper, not a second daemon */
    expect_nothing(w);
    fixture_put(&w->f, "/proc/99/comm", "systemd-timesyn\n");
    expect(w, "machine.clock-daemons", XK_WARNING, "chronyd (process 812), systemd-timesyncd (process 99) run");
}

static void clock_past(void **state)
{
    struct world *w = *state;
    w->now_ns = INT64_C(1767225600) * INT64_C(1000000000);
    expect_nothing(w);
    w->now_ns -= INT64_C(1000000000);
    expect(w, "machine.clock-past", XK_CRITICAL, "the clock says 2025-12-31T23:59:59Z");
}

static void clocksource(void **state)
{
    struct world *w = *state;
    const char path[] = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    fixture_put(&w->f, path, "xen\n");
    expect_nothing(w);
    fixture_put(&w->f, path, "hpet\n");
    expect(w, "machine.clocksource-slow", XK_WARNING, "current clock source: hpet; available: tsc hpet acpi_pm");
}

/* ---- identity ---- */

static void be_dom0(struct world *w, const char *guest_type)
{
    fixture_put(&w->f, "/sys/hypervisor/type", "xen\n");
    fixture_put(&w->f, "/sys/hypervisor/guest_type", guest_type);
    fixture_put(&w->f, "/sys/hypervisor/version/major", "4\n");
    fixture_put(&w->f, "/sys/hypervisor/version/minor", "17\n");
    fixture_put(&w->f, "/proc/xen/capabilities", "control_d\n");
}

static void virtualisation(void **state)
{
    struct world *w = *state;
    be_dom0(w, "PV\n");
    expect(w, "machine.virtualisation", XK_NOTE, "Xen 4.17, this is dom0, PV; 1 processor");
    fixture_put(&w->f, "/proc/xen/capabilities", "");
    fixture_put(&w->f, "/sys/devices/system/node/online", "0-1\n");
    expect(w, "machine.virtualisation", XK_NOTE, "this is a guest (domU), PV");
    assert_non_null(strstr(finding(w, "machine.virtualisation")->evidence, "8 GiB memory on 2 NUMA nodes"));
    fixture_remove(&w->f, "/sys/hypervisor/type");
    fixture_remove(&w->f, "/proc/xen/capabilities");
    fixture_put(&w->f, "/proc/cpuinfo", "processor\t: 0\nflags\t: fpu hypervisor sse\n");
    fixture_put(&w->f, "/run/systemd/container", "lxc\n");
    expect(w, "machine.virtualisation", XK_NOTE, "no Xen; a guest of the hypervisor unknown, in a container (lxc)");
    fixture_remove(&w->f, "/proc/cpuinfo");
    examine(w);
    assert_null(finding(w, "machine.virtualisation"));
}

static void kernel(void **state)
{
    struct world *w = *state;
    fixture_put(&w->f, "/etc/os-release", "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n");
    expect(w, "machine.kernel", XK_NOTE, "Linux 6.1.0-28-amd64, Debian GNU/Linux 12 (bookworm)");
    fixture_put(&w->f, "/etc/xensource-inventory", "PRODUCT_BRAND='XCP-ng'\nPRODUCT_VERSION='8.3.0'\n");
    expect(w, "machine.kernel", XK_NOTE, "Linux 6.1.0-28-amd64, XCP-ng 8.3.0");
    fixture_remove(&w->f, "/proc/sys/kernel/osrelease");
    examine(w);
    assert_null(finding(w, "machine.kernel"));
}

static void tainted(void **state)
{
    struct world *w = *state;
    const char id[] = "machine.kernel-tainted", path[] = "/proc/sys/kernel/tainted";
    fixture_put(&w->f, path, "4609\n"); /* 1 + 512 + 4096 */
    expect(w, id, XK_NOTE, "kernel.tainted = 4609; bit 0 P: ");
    assert_non_null(strstr(finding(w, id)->evidence, "; bit 9 W: "));
    assert_non_null(strstr(finding(w, id)->evidence, "; bit 12 O: "));
    fixture_put(&w->f, path, "16384\n");
    expect(w, id, XK_WARNING, "bit 14 L: a processor was stuck");
    fixture_put(&w->f, path, "16512\n");
    expect(w, id, XK_CRITICAL, "bit 7 D: the kernel died");
    fixture_put(&w->f, path, "1073741824\n");
    expect(w, id, XK_NOTE, "bit 30: unknown");
    const char *const silent[] = {"0\n", "", "x\n", "-1\n", "99999999999999999999999\n"};
    for (size_t i = 0; i < XK_COUNT(silent); i++) {
        fixture_put(&w->f, path, silent[i]);
        expect_nothing(w);
    }
}

static void restart_pending(void **state)
{
    struct world *w = *state;
    fixture_put(&w->f, "/run/reboot-required.pkgs", "linux-image-amd64\nlibc6\n");
    expect_nothing(w);
    fixture_put(&w->f, "/run/reboot-required", "*** System restart required ***\n");
    expect(w, "machine.restart-pending", XK_NOTE, "for: linux-image-amd64 libc6");
    fixture_remove(&w->f, "/run/reboot-required.pkgs");
    expect(w, "machine.restart-pending", XK_NOTE, "/run/reboot-required exists");
}

static void uptime(void **state)
{
    struct world *w = *state;
    fixture_put(&w->f, "/proc/uptime", "31535999.00 1.00\n");
    expect_nothing(w);
    fixture_put(&w->f, "/proc/uptime", "34560000.00 1.00\n");
    expect(w, "machine.uptime-long", XK_NOTE, "up for 400 days, with the kernel 6.1.0-28-amd64");
}

/* ---- processor ---- */

static void vulnerable(void **state)
{
    struct world *w = *state;
    const char id[] = "machine.cpu-vulnerable";
    fixture_put(&w->f, "/sys/devices/system/cpu/vulnerabilities/spectre_v2",
                "Vulnerable: eIBRS with unprivileged eBPF\n");
    fixture_put(&w->f, "/sys/devices/system/cpu/vulnerabilities/itlb_multihit", "KVM: Vulnerable\n");
    expect(w, id, XK_WARNING,
           "2 entries: itlb_multihit: KVM: Vulnerable; spectre_v2: Vulnerable: eIBRS with unprivileged "
           "eBPF; "
           "microcode 0x42");

    /* In a guest the host decides, unless the guest turned protection off itself. */
    fixture_put(&w->f, "/proc/cpuinfo", "processor\t: 0\nflags\t: fpu hypervisor\n");
    expect(w, id, XK_NOTE, "microcode unknown; this is a guest of unknown");
    assert_non_null(strstr(finding(w, id)->fix, "host"));
    fixture_put(&w->f, "/proc/cmdline", "ro mitigations=off quiet\n");
    expect(w, id, XK_WARNING, "mitigations=off");
    assert_non_null(strstr(finding(w, id)->fix, "remove mitigations=off"));
    fixture_put(&w->f, "/proc/cmdline", "ro quiet\n");
    be_dom0(w, "PV\n");
    expect(w, id, XK_NOTE, "2 entries");
    assert_non_null(strstr(finding(w, id)->fix, "xl dmesg"));
}

static void microcode(void **state)
{
    struct world *w = *state;
    const char id[] = "machine.microcode-old";
    fixture_put(&w->f, "/sys/devices/system/cpu/vulnerabilities/tsa", "Mitigation: Clear CPU buffers\n");
    expect_nothing(w);
    fixture_put(&w->f, "/sys/devices/system/cpu/vulnerabilities/tsa",
                "Vulnerable: Clear CPU buffers attempted, no microcode\n");
    expect(w, id, XK_WARNING,
           "1 entry: tsa: Vulnerable: Clear CPU buffers attempted, no microcode; "
           "microcode 0x42");
    fixture_put(&w->f, "/sys/devices/system/cpu/vulnerabilities/old_microcode", "Vulnerable\n");
    expect(w, id, XK_WARNING, "2 entries: old_microcode: Vulnerable; tsa");
    be_dom0(w, "PV\n");
    expect(w, id, XK_NOTE, "2 entries");
}

static void steal(void **state)
{
    struct world *w = *state;
    fixture_put(&w->f, "/proc/stat", "cpu  0 0 0 9001 0 0 0 999 0 0\n");
    expect_nothing(w);
    fixture_put(&w->f, "/proc/stat", "cpu  0 0 0 9000 0 0 0 1000 0 0\n");
    expect(w, "machine.steal", XK_WARNING,
           "10.0 % of the processors' time since boot (limit 10 %): 1000 of 10000 ticks");
    fixture_put(&w->f, "/proc/stat", "cpu  0 0 0 2999 0 0 0 3000 0 0\n"); /* not yet a minute */
    expect_nothing(w);
}

/* ---- memory ---- */

static void plant_memory(struct world *w, uint64_t total_mib, uint64_t available_mib, uint64_t swap_mib,
                         uint64_t swap_free_mib)
{
    char text[256];
    (void)snprintf(text, sizeof(text), "MemTotal: %zu kB\nMemAvailable: %zu kB\nSwapTotal: %zu kB\nSwapFree: %zu kB\n",
                   (size_t)total_mib << 10, (size_t)available_mib << 10, (size_t)swap_mib << 10,
                   (size_t)swap_free_mib << 10);
    fixture_put(&w->f, "/proc/meminfo", text);
}

static void memory(void **state)
{
    struct world *w = *state;
    plant_memory(w, 10000, 1000, 1024, 1024);
    expect_nothing(w);
    plant_memory(w, 10000, 999, 1024, 1024);
    expect(w, "machine.memory-low", XK_WARNING, "10.0 % (limits 10 % and 4 GiB)");
    plant_memory(w, 512000, 4096, 1024, 1024); /* under one percent, but four gigabytes */
    expect_nothing(w);
    plant_memory(w, 10000, 300, 1024, 1024);
    expect(w, "machine.memory-low", XK_WARNING, "300 MiB of");
    plant_memory(w, 10000, 299, 1024, 1024);
    expect(w, "machine.memory-low", XK_CRITICAL, "299 MiB of 9.77 GiB available, 3.0 %");
    fixture_put(&w->f, "/proc/meminfo", "MemTotal: 0 kB\nMemAvailable: 0 kB\n");
    expect_nothing(w);
}

static void memory_killed(void **state)
{
    struct world *w = *state;
    fixture_put(&w->f, "/proc/vmstat", "nr_free_pages 5\noom_kill_not 3\noom_kill x\n");
    expect_nothing(w);
    fixture_put(&w->f, "/proc/vmstat", "nr_free_pages 5\noom_kill 3\nunevictable 1\n");
    expect(w, "machine.memory-killed", XK_WARNING, "3 processes killed since boot (oom_kill 3)");
}

static void swap_used(void **state)
{
    struct world *w = *state;
    plant_memory(w, 8192, 1024, 1000, 501);
    expect_nothing(w);
    plant_memory(w, 8192, 1024, 1000, 500);
    expect(w, "machine.swap-used", XK_WARNING,
           "500 MiB of 1000 MiB swap used, 50 % (limit 50 %); 12.5 % of memory available");
    plant_memory(w, 8192, 2048, 1000, 0); /* what was swapped out is not missed */
    expect(w, "machine.swap-used", XK_NOTE, "25.0 % of memory available");
    plant_memory(w, 8192, 1024, 1000, 2000); /* more free than there is */
    expect_nothing(w);
}

static void swap_none(void **state)
{
    struct world *w = *state;
    plant_memory(w, 2048, 1024, 0, 0);
    expect_nothing(w); /* a machine of its own may do without */
    be_dom0(w, "PV\n");
    expect(w, "machine.swap-none", XK_WARNING, "this is dom0: 2 GiB memory, no swap");
    plant_memory(w, 2048, 1024, 1, 1);
    expect_nothing(w);
}

/* ---- file systems ---- */

static void full(void **state)
{
    struct world *w = *state;
    const char id[] = "machine.filesystem-full";
    w->plan.volumes[0].sizes = sizes(100, 10 * BLOCKS_G + 1, INODES);
    expect_nothing(w);
    w->plan.volumes[0].sizes = sizes(100, 10 * BLOCKS_G, INODES);
    expect(w, id, XK_WARNING, "/dev/vda, ext4: 90.0 % used, 10 GiB of 100 GiB available");
    assert_string_equal(finding(w, id)->object, "/");
    assert_non_null(strstr(finding(w, id)->fix, "`du -xh -d 2 / | sort"));
    w->plan.volumes[0].sizes = sizes(1000, 64 * BLOCKS_G, INODES); /* 93.6 %, but much is left */
    expect_nothing(w);
    w->plan.volumes[0].sizes = sizes(10000, 300 * BLOCKS_G, INODES);
    expect(w, id, XK_WARNING, "97.0 % used");
    w->plan.volumes[0].sizes = sizes(100, BLOCKS_G, INODES);
    expect(w, id, XK_CRITICAL, "99.0 % used");
    /* What is reserved for root is not available to others. */
    w->plan.volumes[0].sizes = sizes(100, 20 * BLOCKS_G, INODES);
    w->plan.volumes[0].sizes.f_bavail = 0;
    expect(w, id, XK_CRITICAL, "100.0 % used, 0 B of 100 GiB available");
    /* Nonsense is not judged. */
    w->plan.volumes[0].sizes = sizes(100, 0, INODES);
    w->plan.volumes[0].sizes.f_blocks = (__typeof__(w->plan.volumes[0].sizes.f_blocks))UINT64_MAX;
    expect_nothing(w);
}

static void inodes(void **state)
{
    struct world *w = *state;
    const char id[] = "machine.filesystem-inodes";
    w->plan.volumes[0].sizes = sizes(100, 50 * BLOCKS_G, 50001);
    expect_nothing(w);
    w->plan.volumes[0].sizes = sizes(100, 50 * BLOCKS_G, 50000);
    expect(w, id, XK_WARNING, "95.0 % of the inodes used, 50000 of 1000000 free");
    w->plan.volumes[0].sizes = sizes(100, 50 * BLOCKS_G, 10000);
    expect(w, id, XK_CRITICAL, "99.0 %");
    w->plan.volumes[0].sizes.f_files = w->plan.volumes[0].sizes.f_ffree = 0; /* btrfs */
    expect_nothing(w);
}

/* Which mounts are looked at: each file system once, and only what can fill up. */
static void volumes_are_chosen(void **state)
{
    struct world *w = *state;
    fixture_put(&w->f, "/proc/self/mountinfo",
                MOUNTS "30 27 254:0 / /again rw - ext4 /dev/vda rw\n"
                       "31 27 7:0 / /snap ro - squashfs /dev/loop0 ro\n"
                       "32 27 254:2 / /read-only ro - ext4 /dev/vdc ro\n"
                       "33 27 0:50 / /docker rw - overlay overlay rw\n"
                       "34 27 0:51 / /covered rw - tmpfs one rw\n"
                       "35 34 0:52 / /covered rw - tmpfs two rw\n"
                       "36 27 254:3 / /mnt/it's\\040`full` rw - xfs /dev/vdd rw\n");
    struct machine *m = NULL;
    const struct xk_clock clock = xk_clock_frozen(&w->now_ns);
    assert_int_equal(machine_open(&m, &(struct machine_settings){w->f.root, &w->system, &clock, 0}, NULL), 0);
    const char *const want[] = {"/", "/covered", "/mnt/it's `full`"};
    assert_int_equal(m->volume_count, XK_COUNT(want));
    for (size_t i = 0; i < XK_COUNT(want); i++)
        assert_string_equal(m->volumes[i].mount->point, want[i]);
    assert_string_equal(m->volumes[1].mount->source, "two");
    machine_close(m);

    /* A name that a shell would act on does not get into a command. */
    w->plan.volumes[1].point = "/mnt/it's `full`";
    w->plan.volumes[1].sizes = sizes(100, BLOCKS_G, INODES);
    expect(w, "machine.filesystem-full", XK_CRITICAL, "/dev/vdd, xfs");
    assert_ptr_equal(finding(w, "machine.filesystem-full")->fix, finding(w, "machine.filesystem-full")->check->fix);
}

static void small_file_systems_are_left_out(void **state)
{
    struct world *w = *state;
    w->plan.volumes[0].sizes = sizes(0, 0, 0);
    w->plan.volumes[0].sizes.f_blocks = 255;
    expect_nothing(w);
    w->plan.volumes[0].sizes.f_blocks = 256;
    w->plan.volumes[0].sizes.f_files = 0;
    expect(w, "machine.filesystem-full", XK_CRITICAL, "100.0 % used");
}

static void went_read_only(void **state)
{
    struct world *w = *state;
    fixture_put(&w->f, "/proc/self/mountinfo",
                MOUNTS "30 27 254:1 / /backup ro,noatime - ext4 /dev/vdb ro\n" /* on purpose */
                       "31 27 254:0 /etc /jail/etc ro - ext4 /dev/vda rw\n"
                       "32 27 11:0 / /cdrom rw - iso9660 /dev/sr0 ro\n");
    expect_nothing(w);
    fixture_put(&w->f, "/proc/self/mountinfo",
                MOUNTS "30 27 254:1 / /data rw,noatime - ext4 /dev/vdb ro,errors=remount-ro\n");
    expect(w, "machine.filesystem-read-only", XK_CRITICAL,
           "/dev/vdb, ext4: mounted rw,noatime, but the file system is ro,errors=remount-ro");
    assert_string_equal(finding(w, "machine.filesystem-read-only")->object, "/data");
}

static void silent_servers_do_not_hold_us_up(void **state)
{
    struct world *w = *state;
    const char id[] = "machine.filesystem-silent";
    int held[2], told[2];
    char byte;
    assert_int_equal(pipe(held), 0);
    assert_int_equal(pipe(told), 0);
    fixture_put(
        &w->f, "/proc/self/mountinfo",
        MOUNTS
        "30 27 0:60 / /run/sr-mount/1 rw - nfs4 filer:/sr rw\n31 27 0:61 / /run/sr-mount/2 rw - nfs filer:/b rw\n");
    w->answer_ms = 10000;
    w->plan.volumes[1].point = "/run/sr-mount/1";
    w->plan.volumes[1].sizes = sizes(100, 50 * BLOCKS_G, INODES);
    w->plan.volumes[2].point = "/run/sr-mount/2";
    w->plan.volumes[2].sizes = sizes(100, 5 * BLOCKS_G, INODES);
    expect(w, "machine.filesystem-full", XK_WARNING, "filer:/b, nfs: 95.0 % used");

    w->plan.volumes[2].sizes = sizes(100, 50 * BLOCKS_G, INODES);
    w->plan.volumes[1].answer = -ESTALE;
    expect(w, id, XK_CRITICAL, "filer:/sr, nfs4: ");
    w->plan.volumes[1].answer = 0;
    w->plan.volumes[1].wait_for = held[0];
    w->plan.volumes[1].then_tell = told[1];
    w->answer_ms = 20;
    expect(w, id, XK_CRITICAL, "filer:/sr, nfs4: no answer to statfs in time");
    assert_string_equal(finding(w, id)->object, "/run/sr-mount/1");

    /* The one left behind ends by itself when the server is back. */
    assert_int_equal(close(held[1]), 0);
    assert_int_equal(read(told[0], &byte, 1), 1);
    w->answer_ms = 10000;
    expect_nothing(w);
    assert_int_equal(close(held[0]), 0);
    assert_int_equal(close(told[0]), 0);
    assert_int_equal(close(told[1]), 0);
}

static void hostile_machines(void **state)
{
    static const char *const paths[] = {"/proc/cpuinfo",
                                        "/proc/meminfo",
                                        "/proc/vmstat",
                                        "/proc/stat",
                                        "/proc/uptime",
                                        "/proc/self/mountinfo",
                                        "/proc/812/comm",
                                        "/proc/cmdline",
                                        "/proc/sys/kernel/tainted",
                                        "/run/reboot-required",
                                        "/run/reboot-required.pkgs",
                                        "/etc/chrony.conf",
                                        "/sys/devices/system/cpu/vulnerabilities/meltdown"};
    struct world *w = *state;
    static char noise[300000];
    unsigned seed = 7;
    for (size_t i = 0; i < sizeof(noise); i++)
        noise[i] = (char)((seed = seed * 1103515245 + 12345) >> 16);
    memcpy(noise + 100, "Vulnerable", 10);
    for (size_t i = 0; i < XK_COUNT(paths); i++)
        fixture_bytes(&w->f, paths[i], noise, sizeof(noise));
    examine(w);
    for (size_t i = 0; i < XK_COUNT(paths); i++)
        fixture_put(&w->f, paths[i], "");
    examine(w);
}

/* Every allocation fails in turn, once and for good: what is known is less, or there is an error; nothing is lost. */
static void memory_may_end_at_any_moment(void **state)
{
    struct world *w = *state;
    const struct xk_clock clock = xk_clock_frozen(&w->now_ns);
    const struct machine_settings settings = {w->f.root, &w->system, &clock, 0};
    fixture_put(&w->f, "/proc/99/comm", "ntpd\n");
    fixture_put(&w->f, "/run/reboot-required", "");
    fixture_put(&w->f, "/sys/devices/system/cpu/vulnerabilities/tsa", "Vulnerable\n");
    w->plan.volumes[0].sizes = sizes(100, BLOCKS_G, INODES);
    for (unsigned sticky = 0; sticky < 2; sticky++) {
        bool fired = true;
        for (uint64_t at = 1; fired; at++) {
            struct machine *m = NULL;
            struct xk_findings found = {0};
            struct xk_err err;
            const size_t live = xk_fault_alloc_live();
            xk_fault_alloc_arm(at, sticky);
            int rc = machine_open(&m, &settings, &err);
            for (const struct xk_check *row = machine_checks; row->id && rc == 0; row++)
                rc = row->run(row, m, &found, &err);
            fired = xk_fault_alloc_fired();
            (void)xk_fault_alloc_disarm();
            assert_true(rc == 0 || (rc == -ENOMEM && fired));
            assert_true(fired || found.count == 6);
            xk_findings_done(&found);
            machine_close(m);
            assert_int_equal(xk_fault_alloc_live(), live);
            assert_true(at < 10000);
        }
    }
}

static void this_machine_can_be_examined(void **state)
{
    struct machine *m = NULL;
    struct xk_findings found = {0};
    assert_int_equal(machine_open(&m, &(struct machine_settings){.root = "", .clock = xk_clock_system()}, NULL), 0);
    for (const struct xk_check *row = machine_checks; row->id; row++)
        assert_int_equal(row->run(row, m, &found, NULL), 0);
    assert_true(found.count >= 2);
    /* A change of root that is no mount point leaves none of the machine's file systems in sight. */
    struct environment_mounts mounts;
    (void)environment_mounts_read(&mounts, "", NULL);
    assert_true(m->volume_count > 0 || !environment_mount_of(&mounts, "/"));
    environment_mounts_done(&mounts);
    xk_findings_done(&found);
    machine_close(m);
    machine_close(NULL);
}

#define ON_A_WORLD(test) cmocka_unit_test_setup_teardown(test, make, unmake)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_whole),
        ON_A_WORLD(a_healthy_machine_has_two_notes),
        ON_A_WORLD(an_empty_folder_says_nothing),
        ON_A_WORLD(clock_unsynchronised),
        ON_A_WORLD(clock_unsynchronised_for_a_reason),
        ON_A_WORLD(clock_error),
        ON_A_WORLD(clock_daemons),
        ON_A_WORLD(clock_past),
        ON_A_WORLD(clocksource),
        ON_A_WORLD(virtualisation),
        ON_A_WORLD(kernel),
        ON_A_WORLD(tainted),
        ON_A_WORLD(restart_pending),
        ON_A_WORLD(uptime),
        ON_A_WORLD(vulnerable),
        ON_A_WORLD(microcode),
        ON_A_WORLD(steal),
        ON_A_WORLD(memory),
        ON_A_WORLD(memory_killed),
        ON_A_WORLD(swap_used),
        ON_A_WORLD(swap_none),
        ON_A_WORLD(full),
        ON_A_WORLD(inodes),
        ON_A_WORLD(volumes_are_chosen),
        ON_A_WORLD(small_file_systems_are_left_out),
        ON_A_WORLD(went_read_only),
        ON_A_WORLD(silent_servers_do_not_hold_us_up),
        ON_A_WORLD(hostile_machines),
        ON_A_WORLD(memory_may_end_at_any_moment),
        cmocka_unit_test(this_machine_can_be_examined),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
