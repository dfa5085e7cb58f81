/*
 * The rows over this machine. Limits have names and stand beside the row's function; each finding says the number that
 * was read and the limit it passed.
 */
#include "lib/machine/machine.h"

#include "core/fs.h"
#include "core/text.h"

#include <dirent.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define DAY_S         INT64_C(86400)
#define SMALL_FILE    (256 * XK_KIB)
#define EVIDENCE_TEXT (4 * XK_KIB)

/* The object of findings about the machine as a whole. */
static const char *name_of(const struct machine *m)
{
    return m->environment.host[0] != '\0' ? m->environment.host : "localhost";
}

static double seconds(uint64_t ns)
{
    return (double)ns / (double)XK_NS_PER_S;
}

/* ---- clock ---- */

static const char *const daemon_names[MACHINE_DAEMONS] = {"chronyd", "ntpd", "systemd-timesyncd"};

static unsigned count_daemons(const struct machine_clock *clock)
{
    unsigned count = 0;
    for (size_t i = 0; i < MACHINE_DAEMONS; i++)
        count += clock->daemons[i] > 0;
    return count;
}

/* "chronyd (process 812) runs", or that none does. */
static struct xk_buf say_daemons(const struct machine_clock *clock)
{
    struct xk_buf text = XK_BUF_INIT(EVIDENCE_TEXT);
    for (size_t i = 0; i < MACHINE_DAEMONS; i++)
        if (clock->daemons[i] > 0)
            xk_buf_printf(&text, "%s%s (process %u)", text.len > 0 ? ", " : "", daemon_names[i], clock->daemons[i]);
    if (text.len > 0)
        xk_buf_add_str(&text, count_daemons(clock) > 1 ? " run" : " runs");
    else
        xk_buf_add_str(&text, "neither chronyd nor ntpd nor systemd-timesyncd runs");
    if (clock->timesyncd_has_synchronised)
        xk_buf_add_str(&text, "; /run/systemd/timesync/synchronized exists");
    return text;
}

/* A daemon needs minutes after the start before it trusts its servers. */
#define SETTLING_NS (UINT64_C(15) * 60 * XK_NS_PER_S)

static bool is_unsynchronised(const struct machine_clock *clock)
{
    return clock->state == TIME_ERROR || (clock->state >= 0 && (clock->kernel.status & STA_UNSYNC));
}

struct advice {
    enum xk_severity severity;
    const char *fix, *remark; /* NULL fix: the row's own */
};

/* Why an unsynchronised clock may be so, and what to look at. */
static struct advice advise(const struct xk_check *check, const struct machine *m)
{
    static const char *const look[MACHINE_DAEMONS] = {
        "see which servers chronyd reaches: `chronyc -n sources -v`, and whether UDP port 123 is let through",
        "see which servers ntpd reaches: `ntpq -pn`, and whether UDP port 123 is let through",
        "see which server it asks: `timedatectl timesync-status`, and whether UDP port 123 is let through",
    };
    const struct machine_clock *clock = &m->clock;
    const uint64_t up_ns = m->environment.uptime_ns;
    if (clock->daemons[MACHINE_CHRONYD] > 0 && clock->chrony_leaves_kernel_alone)
        return (struct advice){
            XK_NOTE,
            "see whether chronyd itself is content (`chronyc tracking`), and add the line rtcsync to chrony.conf",
            "; chrony.conf has no line rtcsync, so chronyd never tells the kernel that the time is right"};
    if (count_daemons(clock) > 0 && up_ns > 0 && up_ns < SETTLING_NS)
        return (struct advice){XK_NOTE, "look again in some minutes: `chronyc tracking`, `ntpq -p` or `timedatectl`",
                               "; the machine started only minutes ago"};
    for (size_t i = 0; i < MACHINE_DAEMONS; i++)
        if (clock->daemons[i] > 0)
            return (struct advice){check->severity, look[i], ""};
    return (struct advice){check->severity, NULL, ""};
}

static int run_clock_unsynchronised(const struct xk_check *check, const void *subject, struct xk_findings *sink,
                                    struct xk_err *err)
{
    const struct machine *m = subject;
    const int state = m->clock.state, status = m->clock.kernel.status;
    if (state == -ENOSYS) /* a folder, not a running machine */
        return 0;
    xk_auto(xk_buf_done) struct xk_buf daemons = say_daemons(&m->clock);
    if (state < 0) {
        xk_find(sink, check, XK_NOTE, name_of(m), NULL, "adjtimex cannot be asked: %s; %s", strerror(-state),
                xk_buf_str(&daemons));
        return 0;
    }
    if (!is_unsynchronised(&m->clock))
        return 0;
    const struct advice advice = advise(check, m);
    xk_find(sink, check, advice.severity, name_of(m), advice.fix,
            "adjtimex: state %d%s, status 0x%04x%s, estimated error %.6g s, largest error %.6g s; %s%s", state,
            state == TIME_ERROR ? " (TIME_ERROR)" : "", (unsigned)status, status & STA_UNSYNC ? " (STA_UNSYNC)" : "",
            (double)m->clock.kernel.esterror / 1e6, (double)m->clock.kernel.maxerror / 1e6, xk_buf_str(&daemons),
            advice.remark);
    return 0;
}

/* The kernel adds 500 ppm since the last correction: daemons that ask every 34 minutes let it grow to 1 s. */
#define ERROR_MAX_US     5000000
#define ESTIMATED_MAX_US 1000000

static int run_clock_error(const struct xk_check *check, const void *subject, struct xk_findings *sink,
                           struct xk_err *err)
{
    const struct machine *m = subject;
    const struct timex *kernel = &m->clock.kernel;
    if (m->clock.state < 0 || is_unsynchronised(&m->clock))
        return 0;
    if (kernel->maxerror >= ERROR_MAX_US || kernel->esterror >= ESTIMATED_MAX_US)
        xk_find(sink, check, check->severity, name_of(m), NULL,
                "adjtimex: synchronised, but the largest error is %.3f s (limit %.0f s) and the estimated error %.3f s "
                "(limit %.0f s)",
                (double)kernel->maxerror / 1e6, ERROR_MAX_US / 1e6, (double)kernel->esterror / 1e6,
                ESTIMATED_MAX_US / 1e6);
    return 0;
}

static int run_clock_daemons(const struct xk_check *check, const void *subject, struct xk_findings *sink,
                             struct xk_err *err)
{
    const struct machine *m = subject;
    if (count_daemons(&m->clock) < 2)
        return 0;
    xk_auto(xk_buf_done) struct xk_buf daemons = say_daemons(&m->clock);
    xk_find(sink, check, check->severity, name_of(m), NULL, "%s", xk_buf_str(&daemons));
    return 0;
}

#define WRITTEN_S INT64_C(1767225600) /* 2026-01-01: before this, xenkit did not exist */

static int run_clock_past(const struct xk_check *check, const void *subject, struct xk_findings *sink,
                          struct xk_err *err)
{
    const struct machine *m = subject;
    const int64_t now_s = m->clock.utc_ns / (int64_t)XK_NS_PER_S;
    if (now_s < WRITTEN_S)
        xk_find(sink, check, check->severity, name_of(m), NULL, "the clock says %s, this program was written after %s",
                xk_iso_time(now_s).s, xk_iso_time(WRITTEN_S).s);
    return 0;
}

static int run_clocksource(const struct xk_check *check, const void *subject, struct xk_findings *sink,
                           struct xk_err *err)
{
    static const char *const slow[] = {"acpi_pm", "hpet", "jiffies", "pit", "refined-jiffies"};
    const struct machine *m = subject;
    for (size_t i = 0; i < XK_COUNT(slow); i++) {
        if (strcmp(m->environment.kernel.clocksource, slow[i]) != 0)
            continue;
        xk_autofree char *others =
            xk_slurp_line(m->root, "/sys/devices/system/clocksource/clocksource0/available_clocksource");
        xk_find(sink, check, check->severity, name_of(m), NULL, "current clock source: %s; available: %s", slow[i],
                others && others[0] ? others : "unknown");
    }
    return 0;
}

/* ---- what this machine is ---- */

static int run_virtualisation(const struct xk_check *check, const void *subject, struct xk_findings *sink,
                              struct xk_err *err)
{
    const struct machine *m = subject;
    const struct environment *e = &m->environment;
    xk_auto(xk_buf_done) struct xk_buf text = XK_BUF_INIT(EVIDENCE_TEXT);
    if (e->cpu.threads == 0)
        return 0;
    const char *version = e->virtualisation.xen_version;
    if (e->virtualisation.xen == ENVIRONMENT_XEN_DOM0)
        xk_buf_printf(&text, "Xen %s, this is dom0", version);
    else if (e->virtualisation.xen == ENVIRONMENT_XEN_DOMU)
        xk_buf_printf(&text, "Xen %s, this is a guest (domU)", version);
    else if (environment_is_guest(e))
        xk_buf_printf(&text, "no Xen; a guest of the hypervisor %s", e->virtualisation.hypervisor);
    else
        xk_buf_add_str(&text, "no Xen, no hypervisor below");
    if (e->virtualisation.guest_type[0] != '\0')
        xk_buf_printf(&text, ", %s", e->virtualisation.guest_type);
    if (e->virtualisation.container[0] != '\0')
        xk_buf_printf(&text, ", in a container (%s)", e->virtualisation.container);
    xk_buf_printf(&text, "; %u processor%s", e->cpu.threads, e->cpu.threads == 1 ? "" : "s");
    if (e->cpu.sockets > 0)
        xk_buf_printf(&text, " (%u core%s, %u socket%s)", e->cpu.cores, e->cpu.cores == 1 ? "" : "s", e->cpu.sockets,
                      e->cpu.sockets == 1 ? "" : "s");
    if (e->cpu.model[0] != '\0')
        xk_buf_printf(&text, " %s", e->cpu.model);
    if (e->memory.total_bytes > 0)
        xk_buf_printf(&text, ", %s memory", xk_size(e->memory.total_bytes).s);
    if (e->node_count > 1)
        xk_buf_printf(&text, " on %u NUMA nodes", e->node_count);
    xk_find(sink, check, check->severity, name_of(m), NULL, "%s", xk_buf_str(&text));
    return 0;
}

static int run_kernel(const struct xk_check *check, const void *subject, struct xk_findings *sink, struct xk_err *err)
{
    const struct machine *m = subject;
    const struct environment *e = &m->environment;
    if (e->kernel.release[0] == '\0')
        return 0;
    const char *system = e->distribution.product[0] ? e->distribution.product : e->distribution.name;
    xk_find(sink, check, check->severity, name_of(m), NULL, "Linux %s%s%s", e->kernel.release, system[0] ? ", " : "",
            system);
    return 0;
}

/* Bits of /proc/sys/kernel/tainted, from the kernel's Documentation/admin-guide/tainted-kernels.rst. */
static const struct {
    char letter;
    enum xk_severity severity;
    const char *meaning;
} taints[] = {
    {'P', XK_NOTE, "a module that is not free software was loaded"},
    {'F', XK_WARNING, "a module was loaded by force"},
    {'S', XK_NOTE, "the kernel runs on hardware it was not made for"},
    {'R', XK_WARNING, "a module was removed by force"},
    {'M', XK_WARNING, "the processor reported a machine check"},
    {'B', XK_WARNING, "a page of memory was found damaged"},
    {'U', XK_NOTE, "a program asked for the mark"},
    {'D', XK_CRITICAL, "the kernel died in an oops or BUG since it was started"},
    {'A', XK_NOTE, "an ACPI table was replaced"},
    {'W', XK_NOTE, "the kernel warned about itself"},
    {'C', XK_NOTE, "a driver from staging was loaded"},
    {'I', XK_NOTE, "a fault of the firmware is worked around"},
    {'O', XK_NOTE, "a module from outside the kernel was loaded"},
    {'E', XK_NOTE, "a module without signature was loaded"},
    {'L', XK_WARNING, "a processor was stuck (soft lockup)"},
    {'K', XK_NOTE, "the kernel was patched while running"},
    {'X', XK_NOTE, "the distribution's own mark"},
    {'T', XK_NOTE, "the layout of structures is randomised"},
    {'N', XK_NOTE, "an in-kernel test was run"},
};

static int run_tainted(const struct xk_check *check, const void *subject, struct xk_findings *sink, struct xk_err *err)
{
    const struct machine *m = subject;
    xk_autofree char *line = xk_slurp_line(m->root, "/proc/sys/kernel/tainted");
    xk_auto(xk_buf_done) struct xk_buf text = XK_BUF_INIT(EVIDENCE_TEXT);
    uint64_t bits;
    if (!line || xk_parse_u64(&bits, line) < 0 || bits == 0)
        return 0;
    enum xk_severity worst = check->severity;
    for (unsigned i = 0; i < 64; i++) {
        if (!(bits >> i & 1))
            continue;
        const bool known = i < XK_COUNT(taints);
        if (known)
            worst = XK_MAX(worst, taints[i].severity);
        xk_buf_printf(&text, "; bit %u%s%.1s: %s", i, known ? " " : "", known ? &taints[i].letter : "",
                      known ? taints[i].meaning : "unknown");
    }
    xk_find(sink, check, worst, name_of(m), NULL, "kernel.tainted = %" PRIu64 "%s", bits, xk_buf_str(&text));
    return 0;
}

static int run_restart_pending(const struct xk_check *check, const void *subject, struct xk_findings *sink,
                               struct xk_err *err)
{
    const struct machine *m = subject;
    xk_autofree char *packages = NULL;
    if (!xk_exists(m->root, "/run/reboot-required"))
        return 0;
    if (xk_slurp(&packages, m->root, "/run/reboot-required.pkgs", SMALL_FILE, NULL) == 0)
        for (char *at = packages; (at = strchr(at, '\n'));)
            *at = at[1] == '\0' ? '\0' : ' ';
    xk_find(sink, check, check->severity, name_of(m), NULL, "/run/reboot-required exists%s%.200s",
            packages && packages[0] ? ", for: " : "", packages ? packages : "");
    return 0;
}

#define UPTIME_LONG_NS ((uint64_t)(365 * DAY_S) * XK_NS_PER_S)

static int run_uptime(const struct xk_check *check, const void *subject, struct xk_findings *sink, struct xk_err *err)
{
    const struct machine *m = subject;
    if (m->environment.uptime_ns > UPTIME_LONG_NS)
        xk_find(sink, check, check->severity, name_of(m), NULL, "up for %.0f days, with the kernel %s",
                seconds(m->environment.uptime_ns) / (double)DAY_S, m->environment.kernel.release);
    return 0;
}

/* ---- processor ---- */

#define VULNERABILITIES     "/sys/devices/system/cpu/vulnerabilities"
#define VULNERABILITIES_MAX 128
#define OLD_MICROCODE       "old_microcode"

/* A row's share of the list: what only microcode can mend, or the rest. */
enum { BY_KERNEL, BY_MICROCODE };

static int not_hidden(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* "name: what the kernel says" of each line that says Vulnerable and belongs to the share. returns how many. */
static size_t list_vulnerabilities(struct xk_buf *ret, const struct machine *m, int share)
{
    size_t count = 0;
    struct dirent **entries = NULL;
    xk_autofree char *folder = xk_asprintf("%s" VULNERABILITIES, m->root);
    const int found = folder ? scandir(folder, &entries, not_hidden, alphasort) : 0;
    for (int i = 0; i < found; i++) {
        xk_autofree char *path = xk_asprintf(VULNERABILITIES "/%s", entries[i]->d_name);
        xk_autofree char *line = path && i < VULNERABILITIES_MAX ? xk_slurp_line(m->root, path) : NULL;
        if (line && strstr(line, "Vulnerable")) {
            const bool by_microcode = strstr(line, "no microcode") || strcmp(entries[i]->d_name, OLD_MICROCODE) == 0;
            if (by_microcode == (share == BY_MICROCODE)) {
                xk_buf_printf(ret, "%s%s: %.120s", count > 0 ? "; " : "", entries[i]->d_name, line);
                count++;
            }
        }
        free(entries[i]);
    }
    free(entries);
    return count;
}

/*
 * In a guest the host decides what the processor offers; in dom0 the hypervisor mitigates, and the kernel does not know
 * it. There the kernel's word is worth a note.
 */
static int run_vulnerable(const struct xk_check *check, const void *subject, struct xk_findings *sink,
                          struct xk_err *err)
{
    const struct machine *m = subject;
    const struct environment *e = &m->environment;
    xk_auto(xk_buf_done) struct xk_buf list = XK_BUF_INIT(EVIDENCE_TEXT);
    const size_t count = list_vulnerabilities(&list, m, check->detail);
    if (count == 0)
        return 0;
    const bool turned_off = check->detail == BY_KERNEL && strstr(e->kernel.parameters, "mitigations=off");
    const bool dom0 = e->virtualisation.xen == ENVIRONMENT_XEN_DOM0, guest = environment_is_guest(e);
    const char *fix = NULL;
    if (turned_off)
        fix =
            dom0
                ? "let dom0 start without it: `/opt/xensource/libexec/xen-cmdline --delete-dom0 mitigations`, and "
                  "restart"
                : "remove mitigations=off from the kernel's command line, in /etc/default/grub and with `update-grub`, "
                  "and restart";
    else if (dom0 && check->detail == BY_KERNEL)
        fix = "dom0's kernel does not know what Xen does: ask Xen with `xl dmesg | grep -A 20 Speculative`";
    else if (guest)
        fix = "the host must offer the protection: update its microcode and hypervisor, then stop and start this guest";
    xk_find(sink, check, !turned_off && (guest || dom0) ? XK_NOTE : check->severity, name_of(m), fix,
            "%zu entr%s: %s%s; microcode %s%s%s%s", count, count == 1 ? "y" : "ies", xk_buf_str(&list),
            list.error ? " …" : "", e->cpu.microcode[0] ? e->cpu.microcode : "unknown",
            turned_off ? "; mitigations=off" : "", guest ? "; this is a guest of " : "",
            guest ? e->virtualisation.hypervisor : "");
    return 0;
}

#define STEAL_MAX_PERCENT 10.0
#define STEAL_TICKS_MIN   6000 /* a minute of one processor: less says nothing */

static int run_steal(const struct xk_check *check, const void *subject, struct xk_findings *sink, struct xk_err *err)
{
    const struct machine *m = subject;
    const struct environment_ticks boot = {0}, *now = &m->environment.ticks;
    const double percent = environment_steal_percent(&boot, now);
    if (now->total >= STEAL_TICKS_MIN && percent >= STEAL_MAX_PERCENT)
        xk_find(sink, check, check->severity, name_of(m), NULL,
                "%.1f %% of the processors' time since boot (limit %.0f %%): %" PRIu64 " of %" PRIu64 " ticks", percent,
                STEAL_MAX_PERCENT, now->steal, now->total);
    return 0;
}

/* ---- memory ---- */

static double percent_of(uint64_t part, uint64_t whole)
{
    return whole > 0 ? 100.0 * (double)part / (double)whole : 0;
}

/* Both must hold: a tenth of a large memory is plenty. */
#define MEMORY_LOW_PERCENT      10.0
#define MEMORY_LOW_BYTES        (4 * XK_GIB)
#define MEMORY_CRITICAL_PERCENT 3.0
#define MEMORY_CRITICAL_BYTES   XK_GIB

static int run_memory(const struct xk_check *check, const void *subject, struct xk_findings *sink, struct xk_err *err)
{
    const struct machine *m = subject;
    const uint64_t total = m->environment.memory.total_bytes, available = m->environment.memory.available_bytes;
    const double percent = percent_of(available, total);
    if (!m->environment.memory.known || total == 0 || percent >= MEMORY_LOW_PERCENT || available >= MEMORY_LOW_BYTES)
        return 0;
    const bool critical = percent < MEMORY_CRITICAL_PERCENT && available < MEMORY_CRITICAL_BYTES;
    xk_find(sink, check, critical ? XK_CRITICAL : check->severity, name_of(m), NULL,
            "%s of %s available, %.1f %% (limits %.0f %% and %s)", xk_size(available).s, xk_size(total).s, percent,
            MEMORY_LOW_PERCENT, xk_size(MEMORY_LOW_BYTES).s);
    return 0;
}

static int run_memory_killed(const struct xk_check *check, const void *subject, struct xk_findings *sink,
                             struct xk_err *err)
{
    const struct machine *m = subject;
    xk_autofree char *text = NULL;
    if (xk_slurp(&text, m->root, "/proc/vmstat", SMALL_FILE, NULL) < 0)
        return 0;
    char *rest = text;
    for (const char *line; (line = strsep(&rest, "\n"));) {
        static const char key[] = "oom_kill ";
        uint64_t killed;
        if (xk_has_prefix(line, key) && xk_parse_u64(&killed, line + strlen(key)) == 0 && killed > 0)
            xk_find(sink, check, check->severity, name_of(m), NULL, "%" PRIu64 " process%s killed since boot (%s)",
                    killed, killed == 1 ? "" : "es", line);
    }
    return 0;
}

#define SWAP_USED_PERCENT     50.0
#define SWAP_HARMLESS_PERCENT 25.0 /* of memory available: what was swapped out is not missed */

static int run_swap_used(const struct xk_check *check, const void *subject, struct xk_findings *sink,
                         struct xk_err *err)
{
    const struct machine *m = subject;
    const uint64_t total = m->environment.memory.swap_total_bytes;
    const uint64_t used = total - XK_MIN(total, m->environment.memory.swap_free_bytes);
    if (!m->environment.memory.known || total == 0 || percent_of(used, total) < SWAP_USED_PERCENT)
        return 0;
    const double available = percent_of(m->environment.memory.available_bytes, m->environment.memory.total_bytes);
    xk_find(sink, check, available >= SWAP_HARMLESS_PERCENT ? XK_NOTE : check->severity, name_of(m), NULL,
            "%s of %s swap used, %.0f %% (limit %.0f %%); %.1f %% of memory available", xk_size(used).s,
            xk_size(total).s, percent_of(used, total), SWAP_USED_PERCENT, available);
    return 0;
}

static int run_swap_none(const struct xk_check *check, const void *subject, struct xk_findings *sink,
                         struct xk_err *err)
{
    const struct machine *m = subject;
    if (m->environment.virtualisation.xen == ENVIRONMENT_XEN_DOM0 && m->environment.memory.known &&
        m->environment.memory.swap_total_bytes == 0)
        xk_find(sink, check, check->severity, name_of(m), NULL, "this is dom0: %s memory, no swap",
                xk_size(m->environment.memory.total_bytes).s);
    return 0;
}

/* ---- file systems ---- */

#define VOLUME_BYTES_MIN        XK_MIB /* smaller ones are kernel interfaces in disguise */
#define FULL_PERCENT            90.0
#define FULL_BYTES              (64 * XK_GIB) /* with this much left, a tenth is plenty */
#define FULL_ALWAYS_PERCENT     97.0
#define FULL_CRITICAL_PERCENT   99.0
#define INODES_PERCENT          95.0
#define INODES_CRITICAL_PERCENT 99.0

/* As df(1): of what users without privilege can have. */
static double used_percent(uint64_t all, uint64_t unused, uint64_t available)
{
    const double used = (double)(all - XK_MIN(all, unused));
    return used + (double)available > 0 ? 100 * used / (used + (double)available) : 0;
}

struct fill {
    uint64_t size_bytes, available_bytes;
};

/* false: the file system says nonsense, or is too small to matter. */
static bool measure_fill(const struct machine_volume *v, struct fill *ret)
{
    const uint64_t block = (uint64_t)(v->sizes.f_frsize > 0 ? v->sizes.f_frsize : v->sizes.f_bsize);
    return v->answer == 0 && !xk_mul(block, (uint64_t)v->sizes.f_blocks, &ret->size_bytes) &&
           !xk_mul(block, (uint64_t)v->sizes.f_bavail, &ret->available_bytes) && ret->size_bytes >= VOLUME_BYTES_MIN;
}

/*
 * A command about this mount point; NULL (and the row's own text) when its name would not be safe to paste into a
 * shell: whoever may mount with FUSE chooses it.
 */
static char *fix_for(const char *point, const char *before, const char *after)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+:@";
    return point[strspn(point, plain)] == '\0' ? xk_asprintf("%s%s%s", before, point, after) : NULL;
}

static int run_full(const struct xk_check *check, const void *subject, struct xk_findings *sink, struct xk_err *err)
{
    const struct machine *m = subject;
    for (size_t i = 0; i < m->volume_count; i++) {
        const struct machine_volume *v = &m->volumes[i];
        struct fill fill;
        if (!measure_fill(v, &fill))
            continue;
        const double percent = used_percent(v->sizes.f_blocks, v->sizes.f_bfree, v->sizes.f_bavail);
        if (percent < FULL_PERCENT || (percent < FULL_ALWAYS_PERCENT && fill.available_bytes >= FULL_BYTES))
            continue;
        xk_autofree char *fix =
            fix_for(v->mount->point, "see what takes the space: `du -xh -d 2 ", " | sort -h | tail`");
        xk_find(sink, check, percent >= FULL_CRITICAL_PERCENT ? XK_CRITICAL : check->severity, v->mount->point, fix,
                "%s, %s: %.1f %% used, %s of %s available (limits %.0f %%, and %.0f %% with less than %s)",
                v->mount->source, v->mount->type, percent, xk_size(fill.available_bytes).s, xk_size(fill.size_bytes).s,
                FULL_ALWAYS_PERCENT, FULL_PERCENT, xk_size(FULL_BYTES).s);
    }
    return 0;
}

static int run_inodes(const struct xk_check *check, const void *subject, struct xk_findings *sink, struct xk_err *err)
{
    const struct machine *m = subject;
    for (size_t i = 0; i < m->volume_count; i++) {
        const struct machine_volume *v = &m->volumes[i];
        struct fill fill;
        if (!measure_fill(v, &fill) || v->sizes.f_files == 0) /* some have no table of inodes */
            continue;
        const double percent = used_percent(v->sizes.f_files, v->sizes.f_ffree, v->sizes.f_ffree);
        if (percent < INODES_PERCENT)
            continue;
        xk_autofree char *fix = fix_for(
            v->mount->point, "see which folder holds that many files: `du --inodes -x -d 2 ", " | sort -n | tail`");
        xk_find(sink, check, percent >= INODES_CRITICAL_PERCENT ? XK_CRITICAL : check->severity, v->mount->point, fix,
                "%s, %s: %.1f %% of the inodes used, %" PRIu64 " of %" PRIu64 " free (limit %.0f %%)", v->mount->source,
                v->mount->type, percent, (uint64_t)v->sizes.f_ffree, (uint64_t)v->sizes.f_files, INODES_PERCENT);
    }
    return 0;
}

/*
 * When a file system is mounted read-only on purpose, the mount and the file system both say so. When only the file
 * system does, it went there by itself.
 */
static int run_read_only(const struct xk_check *check, const void *subject, struct xk_findings *sink,
                         struct xk_err *err)
{
    static const char *const writable[] = {"btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "reiserfs", "xfs"};
    const struct machine *m = subject;
    for (size_t i = 0; i < m->mounts.count; i++) {
        const struct environment_mount *mount = &m->mounts.items[i];
        bool judged = false;
        for (size_t t = 0; t < XK_COUNT(writable); t++)
            judged |= strcmp(mount->type, writable[t]) == 0;
        if (judged && environment_option_is_set(mount->options, "rw") &&
            environment_option_is_set(mount->super_options, "ro"))
            xk_find(sink, check, check->severity, mount->point, NULL, "%s, %s: mounted %s, but the file system is %s",
                    mount->source, mount->type, mount->options, mount->super_options);
    }
    return 0;
}

static int run_silent(const struct xk_check *check, const void *subject, struct xk_findings *sink, struct xk_err *err)
{
    const struct machine *m = subject;
    for (size_t i = 0; i < m->volume_count; i++) {
        const struct machine_volume *v = &m->volumes[i];
        if (v->answer == -ETIMEDOUT || v->answer == -ESTALE || v->answer == -EIO || v->answer == -ENOTCONN)
            xk_find(sink, check, check->severity, v->mount->point, NULL, "%s, %s: %s", v->mount->source, v->mount->type,
                    v->answer == -ETIMEDOUT ? "no answer to statfs in time" : strerror(-v->answer));
    }
    return 0;
}

/* ---- the table ---- */

const struct xk_check machine_checks[] = {
    {.id = "machine.clock-unsynchronised",
     .title = "Clock not synchronised",
     .severity = XK_WARNING,
     .why =
         "Hosts of a pool whose clocks drift apart lose their sessions and heartbeats, certificates look invalid, and "
         "logs of several machines cannot be put in order.",
     .fix = "install and start a time daemon: `systemctl enable --now chronyd` (Debian: `apt install chrony`), then "
            "`chronyc tracking`",
     .run = run_clock_unsynchronised},
    {.id = "machine.clock-error",
     .title = "Clock may be wrong by seconds",
     .severity = XK_WARNING,
     .why =
         "The kernel counts the clock as synchronised, but the last correction is so long ago, or was so rough, that "
         "the error can be seconds.",
     .fix = "see when a server was last reached: `chronyc tracking`, `ntpq -pn` or `timedatectl timesync-status`",
     .run = run_clock_error},
    {.id = "machine.clock-daemons",
     .title = "Several time daemons",
     .severity = XK_WARNING,
     .why = "Each corrects what the other has just set; the clock wanders instead of settling.",
     .fix = "keep one and stop the others, for example `systemctl disable --now systemd-timesyncd`",
     .run = run_clock_daemons},
    {.id = "machine.clock-past",
     .title = "Clock shows a time in the past",
     .severity = XK_CRITICAL,
     .why =
         "Certificates are not valid yet, make and backups take old files for new ones, and stamps in logs are wrong. "
         "Usually the battery of the real-time clock is empty.",
     .fix = "set the time once, then let a daemon keep it: `chronyc makestep`, `hwclock --systohc`",
     .run = run_clock_past},
    {.id = "machine.clocksource-slow",
     .title = "Slow clock source",
     .severity = XK_WARNING,
     .why =
         "Asking this clock costs about a microsecond or more and goes through the kernel or the hypervisor each time; "
         "databases and tracing suffer first. The kernel falls back to it when the TSC looked unstable.",
     .fix = "see why it was chosen: `dmesg | grep -iE 'clocksource|tsc'`",
     .run = run_clocksource},
    {.id = "machine.virtualisation",
     .title = "Where this machine runs",
     .severity = XK_NOTE,
     .why = "What the numbers of other checks and measurements mean depends on it.",
     .fix = "nothing to do; on a Xen host `xl info` and `xl list` say more",
     .run = run_virtualisation},
    {.id = "machine.kernel",
     .title = "Kernel and distribution",
     .severity = XK_NOTE,
     .why = "Reports of faults ask for it first.",
     .fix =
         "nothing to do; compare with what the distribution offers now: `yum check-update` or `apt list --upgradable`",
     .run = run_kernel},
    {.id = "machine.kernel-tainted",
     .title = "Tainted kernel",
     .severity = XK_NOTE,
     .why = "The kernel keeps a mark of everything that makes its own word doubtful: foreign modules, but also oopses, "
            "machine checks and lockups that scrolled away long ago.",
     .fix = "look for the cause: `dmesg --level=emerg,alert,crit,err,warn`, and in /var/log/kern.log or "
            "`journalctl -k -b`",
     .run = run_tainted},
    {.id = "machine.restart-pending",
     .title = "An update waits for a restart",
     .severity = XK_NOTE,
     .why = "The update is installed, and the old version still runs.",
     .fix = "plan a restart: `systemctl reboot`",
     .run = run_restart_pending},
    {.id = "machine.uptime-long",
     .title = "Not restarted for more than a year",
     .severity = XK_NOTE,
     .why =
         "The running kernel (and on a host, Xen) lacks every fix of that time, and nobody knows whether the machine "
         "still starts.",
     .fix = "install updates and plan a restart; on a pool one host after the other: `xe host-evacuate`, then "
            "`xe host-reboot`",
     .run = run_uptime},
    {.id = "machine.cpu-vulnerable",
     .title = "Processor faults that are not mitigated",
     .severity = XK_WARNING,
     .why = "A program or guest can read what it must not, through side effects of the processor.",
     .fix = "update and restart the kernel; see `grep . /sys/devices/system/cpu/vulnerabilities/*`",
     .run = run_vulnerable,
     .detail = BY_KERNEL},
    {.id = "machine.microcode-old",
     .title = "Microcode too old for the mitigations",
     .severity = XK_WARNING,
     .why = "The kernel knows how to protect against these faults, but the processor's microcode does not help it.",
     .fix = "update microcode and restart: `apt install intel-microcode` or `amd64-microcode`, `yum update "
            "microcode_ctl linux-firmware`, or the vendor's BIOS",
     .run = run_vulnerable,
     .detail = BY_MICROCODE},
    {.id = "machine.steal",
     .title = "The hypervisor gives the processors to others",
     .severity = XK_WARNING,
     .why =
         "Virtual processors that are ready to run wait for a real one: everything here is slower by that share, and "
         "measurements are not worth much.",
     .fix = "watch it with `vmstat 5` (column st); on the host look for too many virtual processors with `xentop`, and "
            "at caps and weights with `xl sched-credit2`",
     .run = run_steal},
    {.id = "machine.memory-low",
     .title = "Memory nearly used up",
     .severity = XK_WARNING,
     .why =
         "Soon the kernel drops caches it needs, then swaps, then kills processes; on a host the toolstack may be one "
         "of them.",
     .fix = "see who takes it: `ps aux --sort=-rss | head`; give dom0 more with `/opt/xensource/libexec/xen-cmdline "
            "--set-xen dom0_mem=4096M,max:4096M` and a restart",
     .run = run_memory},
    {.id = "machine.memory-killed",
     .title = "Processes were killed for lack of memory",
     .severity = XK_WARNING,
     .why = "Memory ran out, in the machine or in the limits of a service, and the kernel chose a victim.",
     .fix = "see which and when: `journalctl -k | grep -i 'out of memory\\|oom-kill'`",
     .run = run_memory_killed},
    {.id = "machine.swap-used",
     .title = "Swap heavily used",
     .severity = XK_WARNING,
     .why = "Memory was short for long enough to push half of the swap full; what is fetched back costs a disk access.",
     .fix = "see whether it still swaps, and who: `vmstat 5` (columns si and so), `smem -s swap` or `top` (field SWAP)",
     .run = run_swap_used},
    {.id = "machine.swap-none",
     .title = "dom0 has no swap",
     .severity = XK_WARNING,
     .why = "dom0's memory is small and fixed. Without swap, a short peak (a backup, many VM starts) ends in killed "
            "processes of the toolstack.",
     .fix = "see whether swap was lost at boot: `swapon --show`, `grep swap /etc/fstab`, then `swapon -a`",
     .run = run_swap_none},
    {.id = "machine.filesystem-full",
     .title = "File system nearly full",
     .severity = XK_WARNING,
     .why = "Programs fail in surprising ways when they cannot write; on a host, a full root or log volume stops the "
            "toolstack, and a full storage repository stops VMs.",
     .fix = "see what takes the space: `du -xh -d 2 MOUNTPOINT | sort -h | tail`",
     .run = run_full},
    {.id = "machine.filesystem-inodes",
     .title = "File system nearly out of inodes",
     .severity = XK_WARNING,
     .why = "No file can be made when the inodes are used up, although df shows free space.",
     .fix = "see which folder holds that many files: `du --inodes -x -d 2 MOUNTPOINT | sort -n | tail`",
     .run = run_inodes},
    {.id = "machine.filesystem-read-only",
     .title = "File system went read-only",
     .severity = XK_CRITICAL,
     .why = "It is mounted for writing, but the kernel stopped all writing after an error of the disk or of its "
            "structures.",
     .fix = "save the data, look for the error (`dmesg | grep -iE 'error|remount'`), and check it unmounted: `fsck`",
     .run = run_read_only},
    {.id = "machine.filesystem-silent",
     .title = "File system does not answer",
     .severity = XK_CRITICAL,
     .why =
         "The server of a network file system is gone or the disk below fails: every program that touches it hangs or "
         "fails, VMs on it included.",
     .fix = "see whether the server can be reached (`rpcinfo -t SERVER nfs`, `ping SERVER`) and what the kernel says "
            "(`dmesg | tail`); a dead mount goes with `umount -f -l MOUNTPOINT`",
     .run = run_silent},
    {0},
};
