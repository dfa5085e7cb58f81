/*
 * What machine this is, from /proc, /sys, /etc and /run below the root, and from CPUID.
 *
 * Topology comes from the sibling lists in sysfs: a processor is counted as a core (or a socket) when it is the first
 * of its list, so no table of identifiers is kept. /proc/cpuinfo was weighed for this; on Xen and on ARM it lacks
 * "physical id" and "core id".
 *
 * Xen is told by three signs, since any may be hidden: xenfs (mounted late in dom0), /sys/hypervisor (absent in guests
 * without PV drivers) and the CPUID leaves (absent in PV).
 */
#include "lib/environment/environment.h"

#include "core/fs.h"
#include "core/text.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define CPUINFO_BYTES_MAX (32 * XK_MIB) /* about 4 KiB for each of 8192 processors */
#define STAT_BYTES_MAX    (8 * XK_MIB)
#define SMALL_BYTES_MAX   (64 * XK_KIB)

/* ---- texts ---- */

/* Copy without the white space around it, cut to the field. */
static void set_text(char *ret, size_t size, const char *text, size_t bytes)
{
    static const char white[] = " \t\r\n";
    while (bytes > 0 && strchr(white, text[0]) && text[0])
        text++, bytes--;
    while (bytes > 0 && (text[bytes - 1] == '\0' || strchr(white, text[bytes - 1])))
        bytes--;
    bytes = XK_MIN(bytes, size - 1);
    for (size_t i = 0; i < bytes; i++)
        ret[i] = text[i];
    ret[bytes] = '\0';
}

#define SET_TEXT(field, text, bytes) set_text((field), sizeof(field), (text), (bytes))

/* The first line of a file, "" when it cannot be read. */
static void read_line(char *ret, size_t size, const char *root, const char *path)
{
    xk_autofree char *line = xk_slurp_line(root, path);
    set_text(ret, size, line ? line : "", line ? strlen(line) : 0);
}

#define READ_LINE(field, root, path) read_line((field), sizeof(field), (root), (path))

/* A whole file as text; NULL when it cannot be read. */
static char *read_all(const char *root, const char *path, size_t max)
{
    char *text;
    return xk_slurp(&text, root, path, max, NULL) < 0 ? NULL : text;
}

struct line {
    const char *text;
    size_t bytes;
};

/* Step through the lines of a text; *at begins at its first byte. */
static bool next_line(const char **at, struct line *ret)
{
    if (**at == '\0')
        return false;
    ret->text = *at;
    ret->bytes = strcspn(*at, "\n");
    *at += ret->bytes + ((*at)[ret->bytes] == '\n');
    return true;
}

/* What stands behind "key", blanks and the separator; false when the line is another one. */
static bool value_of(const struct line *line, const char *key, char separator, struct line *ret)
{
    size_t at = strlen(key);
    if (line->bytes < at || strncmp(line->text, key, at) != 0)
        return false;
    while (at < line->bytes && (line->text[at] == ' ' || line->text[at] == '\t'))
        at++;
    if (at == line->bytes || line->text[at] != separator)
        return false;
    *ret = (struct line){line->text + at + 1, line->bytes - at - 1};
    return true;
}

/* The first word of a text as a number. */
static bool number_of(const struct line *value, uint64_t *ret)
{
    char word[32];
    SET_TEXT(word, value->text, value->bytes);
    word[strcspn(word, " \t")] = '\0';
    return word[0] >= '0' && word[0] <= '9' && xk_parse_u64(ret, word) == 0;
}

static bool number_in(const char *root, const char *path, uint64_t *ret)
{
    char word[32];
    READ_LINE(word, root, path);
    return number_of(&(struct line){word, strlen(word)}, ret);
}

/* A line "key:  123 kB" somewhere in a text. */
static bool kib_of(const char *text, const char *key, uint64_t *ret_bytes)
{
    struct line line, value;
    uint64_t kib;
    while (next_line(&text, &line))
        if (value_of(&line, key, ':', &value))
            return number_of(&value, &kib) && !xk_mul(kib, XK_KIB, ret_bytes);
    return false;
}

static enum environment_switch switch_in(const char *root, const char *path, bool one_is_on)
{
    uint64_t v;
    if (!number_in(root, path, &v))
        return ENVIRONMENT_UNKNOWN;
    return (v != 0) == one_is_on ? ENVIRONMENT_ON : ENVIRONMENT_OFF;
}

/* ---- lists of processors and nodes: "0-3,8,10-11" ---- */

struct number_list {
    const char *at;
    unsigned next, last;
    bool in_range;
};

static bool digits(const char **at, unsigned *ret)
{
    unsigned v = 0;
    if (**at < '0' || **at > '9')
        return false;
    for (; **at >= '0' && **at <= '9'; (*at)++) {
        v = v * 10 + (unsigned)(**at - '0');
        if (v >= ENVIRONMENT_CPUS_MAX)
            return false;
    }
    *ret = v;
    return true;
}

/* The list ends at its first mistake. */
static bool next_number(struct number_list *list, unsigned *ret)
{
    if (!list->in_range) {
        list->at += *list->at == ',';
        if (!digits(&list->at, &list->next))
            return false;
        list->last = list->next;
        if (*list->at == '-') {
            list->at++;
            if (!digits(&list->at, &list->last) || list->last < list->next)
                return false;
        }
    }
    *ret = list->next;
    list->in_range = list->next++ < list->last;
    return true;
}

/* ---- processor ---- */

static int small_number_of(const struct line *value)
{
    uint64_t v;
    return number_of(value, &v) && v <= INT_MAX ? (int)v : -1;
}

static bool has_word(const struct line *text, const char *word)
{
    const size_t length = strlen(word);
    for (size_t at = 0; at + length <= text->bytes; at++) {
        if (at > 0 && text->text[at - 1] != ' ')
            continue;
        if (strncmp(text->text + at, word, length) == 0 &&
            (at + length == text->bytes || text->text[at + length] == ' '))
            return true;
    }
    return false;
}

static void read_cpuinfo(struct environment *e, const char *root)
{
    xk_autofree char *text = read_all(root, "/proc/cpuinfo", CPUINFO_BYTES_MAX);
    if (!text)
        return;
    const char *at = text;
    struct line line, value;
    bool first = true; /* the first processor speaks for all */
    unsigned processors = 0;
    while (next_line(&at, &line)) {
        if (value_of(&line, "processor", ':', &value)) {
            processors++;
            first = processors <= 1;
        } else if (!first)
            continue;
        else if (value_of(&line, "vendor_id", ':', &value))
            SET_TEXT(e->cpu.vendor, value.text, value.bytes);
        else if (value_of(&line, "model name", ':', &value))
            SET_TEXT(e->cpu.model, value.text, value.bytes);
        else if (value_of(&line, "microcode", ':', &value))
            SET_TEXT(e->cpu.microcode, value.text, value.bytes);
        else if (value_of(&line, "cpu family", ':', &value))
            e->cpu.family = small_number_of(&value);
        else if (value_of(&line, "model", ':', &value))
            e->cpu.model_number = small_number_of(&value);
        else if (value_of(&line, "stepping", ':', &value))
            e->cpu.stepping = small_number_of(&value);
        else if (value_of(&line, "flags", ':', &value))
            e->cpu.hypervisor_flag = has_word(&value, "hypervisor");
    }
    if (e->cpu.threads == 0)
        e->cpu.threads = processors;
}

/* Is the processor the first of the list in topology/`name` (or under its older name)? */
static bool leads(const char *root, unsigned cpu, const char *name, const char *older)
{
    const char *const names[] = {name, older};
    for (size_t i = 0; i < XK_COUNT(names); i++) {
        char path[128], line[ENVIRONMENT_TEXT_MAX];
        unsigned leader;
        (void)snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u/topology/%s", cpu, names[i]);
        READ_LINE(line, root, path);
        struct number_list list = {.at = line};
        if (next_number(&list, &leader))
            return leader == cpu;
    }
    return false;
}

static void read_governor(struct environment *e, const char *root, unsigned cpu)
{
    char path[128], governor[ENVIRONMENT_TEXT_MAX];
    (void)snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u/cpufreq/scaling_governor", cpu);
    READ_LINE(governor, root, path);
    if (e->frequency.governor[0] == '\0')
        (void)snprintf(e->frequency.governor, sizeof(e->frequency.governor), "%s", governor);
    else if (governor[0] != '\0' && strcmp(governor, e->frequency.governor) != 0)
        (void)snprintf(e->frequency.governor, sizeof(e->frequency.governor), "mixed");
}

static void read_topology(struct environment *e, const char *root)
{
    xk_autofree char *online = xk_slurp_line(root, "/sys/devices/system/cpu/online");
    struct number_list list = {.at = online ? online : ""};
    for (unsigned cpu; e->cpu.threads < ENVIRONMENT_CPUS_MAX && next_number(&list, &cpu);) {
        e->cpu.threads++;
        e->cpu.cores += leads(root, cpu, "core_cpus_list", "thread_siblings_list");
        e->cpu.sockets += leads(root, cpu, "package_cpus_list", "core_siblings_list");
        read_governor(e, root, cpu);
    }
    e->cpu.smt = switch_in(root, "/sys/devices/system/cpu/smt/active", true);
    READ_LINE(e->cpu.architecture, root, "/proc/sys/kernel/arch");
#if defined(__x86_64__)
    if (e->cpu.architecture[0] == '\0') /* kernels before 6.1 */
        SET_TEXT(e->cpu.architecture, "x86_64", 6);
#elif defined(__aarch64__)
    if (e->cpu.architecture[0] == '\0')
        SET_TEXT(e->cpu.architecture, "aarch64", 7);
#endif
}

static void read_frequency(struct environment *e, const char *root)
{
    uint64_t khz;
    READ_LINE(e->frequency.driver, root, "/sys/devices/system/cpu/cpu0/cpufreq/scaling_driver");
    READ_LINE(e->frequency.idle_driver, root, "/sys/devices/system/cpu/cpuidle/current_driver");
    if (number_in(root, "/sys/devices/system/cpu/cpu0/cpufreq/scaling_min_freq", &khz) &&
        xk_mul(khz, UINT64_C(1000), &e->frequency.min_hz))
        e->frequency.min_hz = 0;
    if (number_in(root, "/sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq", &khz) &&
        xk_mul(khz, UINT64_C(1000), &e->frequency.max_hz))
        e->frequency.max_hz = 0;
    e->frequency.turbo = switch_in(root, "/sys/devices/system/cpu/intel_pstate/no_turbo", false);
    if (e->frequency.turbo == ENVIRONMENT_UNKNOWN)
        e->frequency.turbo = switch_in(root, "/sys/devices/system/cpu/cpufreq/boost", true);
}

/* ---- memory ---- */

static void read_nodes(struct environment *e, const char *root)
{
    xk_autofree char *online = xk_slurp_line(root, "/sys/devices/system/node/online");
    struct number_list list = {.at = online ? online : ""};
    for (unsigned number; next_number(&list, &number);) {
        e->node_count++;
        if (e->nodes_described == ENVIRONMENT_NODES_MAX)
            continue;
        struct environment_node *node = &e->nodes[e->nodes_described++];
        char path[128], key[64];
        node->number = number;
        (void)snprintf(path, sizeof(path), "/sys/devices/system/node/node%u/cpulist", number);
        READ_LINE(node->cpus, root, path);
        (void)snprintf(path, sizeof(path), "/sys/devices/system/node/node%u/meminfo", number);
        xk_autofree char *text = read_all(root, path, SMALL_BYTES_MAX);
        (void)snprintf(key, sizeof(key), "Node %u MemTotal", number);
        if (!text || !kib_of(text, key, &node->memory_bytes))
            node->memory_bytes = 0;
        (void)snprintf(key, sizeof(key), "Node %u MemFree", number);
        if (!text || !kib_of(text, key, &node->memory_free_bytes))
            node->memory_free_bytes = 0;
    }
}

static void read_memory(struct environment *e, const char *root)
{
    xk_autofree char *text = read_all(root, "/proc/meminfo", SMALL_BYTES_MAX);
    uint64_t free_bytes = 0, buffers = 0, cached = 0;
    if (text && kib_of(text, "MemTotal", &e->memory.total_bytes)) {
        e->memory.known = kib_of(text, "MemAvailable", &e->memory.available_bytes);
        if (!e->memory.known) { /* kernels before 3.14: nearly the same */
            e->memory.known = kib_of(text, "MemFree", &free_bytes) && kib_of(text, "Buffers", &buffers) &&
                              kib_of(text, "Cached", &cached) && !xk_add(free_bytes, buffers, &free_bytes) &&
                              !xk_add(free_bytes, cached, &e->memory.available_bytes);
        }
        if (!kib_of(text, "SwapTotal", &e->memory.swap_total_bytes) ||
            !kib_of(text, "SwapFree", &e->memory.swap_free_bytes))
            e->memory.swap_total_bytes = e->memory.swap_free_bytes = 0;
    }

    char choice[ENVIRONMENT_TEXT_MAX]; /* "always [madvise] never" */
    READ_LINE(choice, root, "/sys/kernel/mm/transparent_hugepage/enabled");
    const char *open = strchr(choice, '[');
    const char *close = open ? strchr(open, ']') : NULL;
    if (close)
        SET_TEXT(e->memory.huge_pages, open + 1, (size_t)(close - open - 1));
}

/* ---- kernel and distribution ---- */

/* Words that change how fast or how protected the machine is. The others may hold secrets and are left out. */
static const char *const telling_parameters[] = {
    "amd_iommu",
    "amd_pstate",
    "clocksource",
    "cpufreq.default_governor",
    "default_hugepagesz",
    "gather_data_sampling",
    "hugepages",
    "hugepagesz",
    "idle",
    "intel_idle.max_cstate",
    "intel_iommu",
    "intel_pstate",
    "iommu",
    "iommu.strict",
    "irqaffinity",
    "isolcpus",
    "kpti",
    "l1tf",
    "maxcpus",
    "mds",
    "mem",
    "mitigations",
    "mmio_stale_data",
    "nmi_watchdog",
    "nohz",
    "nohz_full",
    "nopcid",
    "nopti",
    "nosmt",
    "nospec_store_bypass_disable",
    "nospectre_v1",
    "nospectre_v2",
    "nr_cpus",
    "numa",
    "numa_balancing",
    "preempt",
    "processor.max_cstate",
    "pti",
    "rcu_nocbs",
    "reg_file_data_sampling",
    "retbleed",
    "spec_rstack_overflow",
    "spec_store_bypass_disable",
    "spectre_bhi",
    "spectre_v2",
    "spectre_v2_user",
    "srbds",
    "swiotlb",
    "threadirqs",
    "transparent_hugepage",
    "tsc",
    "tsx",
    "tsx_async_abort",
    "xen_timer_slop",
};

static bool is_telling(const char *word, size_t bytes)
{
    const char *equals = memchr(word, '=', bytes);
    const size_t length = equals ? (size_t)(equals - word) : bytes;
    for (size_t i = 0; i < XK_COUNT(telling_parameters); i++)
        if (strlen(telling_parameters[i]) == length && strncmp(telling_parameters[i], word, length) == 0)
            return true;
    return false;
}

/* Words are whole or left out. */
static void append_word(char *ret, size_t size, const char *word, size_t bytes)
{
    const size_t used = strlen(ret);
    if (used + bytes + 2 <= size)
        (void)snprintf(ret + used, size - used, "%s%.*s", used > 0 ? " " : "", (int)bytes, word);
}

static void read_kernel(struct environment *e, const char *root)
{
    READ_LINE(e->host, root, "/proc/sys/kernel/hostname");
    READ_LINE(e->kernel.release, root, "/proc/sys/kernel/osrelease");
    READ_LINE(e->kernel.version, root, "/proc/version");
    READ_LINE(e->kernel.clocksource, root, "/sys/devices/system/clocksource/clocksource0/current_clocksource");

    xk_autofree char *line = xk_slurp_line(root, "/proc/cmdline");
    const char *at = line ? line : "";
    for (size_t bytes; at += strspn(at, " \t"), (bytes = strcspn(at, " \t")) > 0; at += bytes) {
        if (bytes == 2 && strncmp(at, "--", 2) == 0) /* the rest belongs to init */
            break;
        if (is_telling(at, bytes))
            append_word(e->kernel.parameters, sizeof(e->kernel.parameters), at, bytes);
    }
}

/* The value of KEY=value, KEY='value' or KEY="value" with backslashes, as in os-release(5). */
static bool shell_value(const char *text, const char *key, char *ret, size_t size)
{
    struct line line, value;
    while (next_line(&text, &line)) {
        if (!value_of(&line, key, '=', &value))
            continue;
        const char quote = value.bytes > 0 && (value.text[0] == '"' || value.text[0] == '\'') ? value.text[0] : '\0';
        char plain[ENVIRONMENT_TEXT_MAX];
        size_t used = 0;
        for (size_t i = quote != '\0'; i < value.bytes && used < sizeof(plain); i++) {
            if (value.text[i] == quote)
                break;
            if (value.text[i] == '\\' && quote != '\'' && i + 1 < value.bytes)
                i++;
            plain[used++] = value.text[i];
        }
        set_text(ret, size, plain, used);
        return true;
    }
    return false;
}

#define SHELL_VALUE(text, key, field) shell_value((text), (key), (field), sizeof(field))

static void read_distribution(struct environment *e, const char *root)
{
    xk_autofree char *text = read_all(root, "/etc/os-release", SMALL_BYTES_MAX);
    if (!text)
        text = read_all(root, "/usr/lib/os-release", SMALL_BYTES_MAX);
    if (text) {
        if (!SHELL_VALUE(text, "PRETTY_NAME", e->distribution.name))
            (void)SHELL_VALUE(text, "NAME", e->distribution.name);
        (void)SHELL_VALUE(text, "ID", e->distribution.id);
        (void)SHELL_VALUE(text, "VERSION_ID", e->distribution.version);
    }
    xk_autofree char *inventory = read_all(root, "/etc/xensource-inventory", SMALL_BYTES_MAX);
    char brand[48], version[48];
    if (inventory && SHELL_VALUE(inventory, "PRODUCT_BRAND", brand)) {
        const bool known = SHELL_VALUE(inventory, "PRODUCT_VERSION", version);
        (void)snprintf(e->distribution.product, sizeof(e->distribution.product), "%s%s%s", brand, known ? " " : "",
                       known ? version : "");
    }
}

static void read_uptime(struct environment *e, const char *root)
{
    char line[64];
    READ_LINE(line, root, "/proc/uptime");
    line[strcspn(line, " ")] = '\0';
    if (line[0] < '0' || line[0] > '9' || xk_parse_duration(&e->uptime_ns, line) < 0)
        e->uptime_ns = 0;
}

/* ---- hypervisor ---- */

/* Leaf 0x40000000 of CPUID: twelve letters in ebx, ecx, edx. */
static const struct {
    char signature[12];
    const char *name;
} hypervisors[] = {
    {{'X', 'e', 'n', 'V', 'M', 'M', 'X', 'e', 'n', 'V', 'M', 'M'}, "xen"},
    {{'K', 'V', 'M', 'K', 'V', 'M', 'K', 'V', 'M'}, "kvm"},
    {{'M', 'i', 'c', 'r', 'o', 's', 'o', 'f', 't', ' ', 'H', 'v'}, "hyperv"},
    {{'V', 'M', 'w', 'a', 'r', 'e', 'V', 'M', 'w', 'a', 'r', 'e'}, "vmware"},
    {{'V', 'B', 'o', 'x', 'V', 'B', 'o', 'x', 'V', 'B', 'o', 'x'}, "virtualbox"},
    {{'T', 'C', 'G', 'T', 'C', 'G', 'T', 'C', 'G', 'T', 'C', 'G'}, "qemu"},
    {{'b', 'h', 'y', 'v', 'e', ' ', 'b', 'h', 'y', 'v', 'e', ' '}, "bhyve"},
    {{' ', 'l', 'r', 'p', 'e', 'p', 'y', 'h', ' ', 'v', 'r'}, "parallels"},
    {{'A', 'C', 'R', 'N', 'A', 'C', 'R', 'N', 'A', 'C', 'R', 'N'}, "acrn"},
};

#define CPUID_FEATURES   UINT32_C(1)
#define CPUID_HYPERVISOR UINT32_C(0x40000000)
#define CPUID_BEHIND_HV  UINT32_C(0x40000100) /* Xen's own leaves when it plays Hyper-V for a Windows guest */
#define HYPERVISOR_BIT   (UINT32_C(1) << 31)  /* of ecx in leaf 1 */

static const char *hypervisor_at(const struct environment_system *system, uint32_t leaf)
{
    uint32_t r[4];
    if (system->cpuid(system, leaf, r) < 0)
        return NULL;
    for (size_t i = 0; i < XK_COUNT(hypervisors); i++)
        if (memcmp(&r[1], hypervisors[i].signature, sizeof(hypervisors[i].signature)) == 0)
            return hypervisors[i].name;
    return NULL;
}

static void ask_cpuid(struct environment *e, const struct environment_system *system)
{
    uint32_t r[4];
    if (system->cpuid(system, CPUID_FEATURES, r) < 0 || !(r[2] & HYPERVISOR_BIT))
        return;
    e->cpu.hypervisor_flag = true;
    uint32_t leaf = CPUID_HYPERVISOR;
    const char *name = hypervisor_at(system, leaf);
    if (name && strcmp(name, "hyperv") == 0) {
        const char *behind = hypervisor_at(system, CPUID_BEHIND_HV);
        if (behind && strcmp(behind, "xen") == 0) {
            name = behind;
            leaf = CPUID_BEHIND_HV;
        }
    }
    if (!name)
        return;
    (void)snprintf(e->virtualisation.hypervisor, sizeof(e->virtualisation.hypervisor), "%s", name);
    if (strcmp(name, "xen") == 0 && system->cpuid(system, leaf + 1, r) == 0) {
        e->virtualisation.xen = ENVIRONMENT_XEN_DOMU;
        (void)snprintf(e->virtualisation.xen_version, sizeof(e->virtualisation.xen_version), "%u.%u", r[0] >> 16,
                       r[0] & 0xffff);
    }
}

#define XEN_FEATURE_DOM0 (UINT64_C(1) << 11) /* XENFEAT_dom0 in Xen's public/features.h */

static bool features_say_dom0(const char *root)
{
    char hex[32], word[40];
    uint64_t features;
    READ_LINE(hex, root, "/sys/hypervisor/properties/features");
    (void)snprintf(word, sizeof(word), "0x%s", hex);
    return hex[0] != '\0' && xk_parse_u64(&features, word) == 0 && (features & XEN_FEATURE_DOM0);
}

static void ask_xen(struct environment *e, const char *root)
{
    char type[32], capabilities[64], major[16], minor[16], extra[32];
    READ_LINE(type, root, "/sys/hypervisor/type");
    READ_LINE(capabilities, root, "/proc/xen/capabilities");
    const bool control = strstr(capabilities, "control_d") != NULL;
    if (strcmp(type, "xen") != 0 && !control && !xk_exists(root, "/proc/xen/capabilities"))
        return;
    e->virtualisation.xen = control || features_say_dom0(root) ? ENVIRONMENT_XEN_DOM0 : ENVIRONMENT_XEN_DOMU;
    (void)snprintf(e->virtualisation.hypervisor, sizeof(e->virtualisation.hypervisor), "xen");
    READ_LINE(e->virtualisation.guest_type, root, "/sys/hypervisor/guest_type");
    READ_LINE(major, root, "/sys/hypervisor/version/major");
    READ_LINE(minor, root, "/sys/hypervisor/version/minor");
    READ_LINE(extra, root, "/sys/hypervisor/version/extra");
    if (major[0] != '\0')
        (void)snprintf(e->virtualisation.xen_version, sizeof(e->virtualisation.xen_version), "%s.%s%s", major, minor,
                       extra);
}

static void read_container(struct environment *e, const char *root)
{
    READ_LINE(e->virtualisation.container, root, "/run/systemd/container");
    if (e->virtualisation.container[0] == '\0' && xk_exists(root, "/run/.containerenv"))
        SET_TEXT(e->virtualisation.container, "podman", 6);
    if (e->virtualisation.container[0] == '\0' && xk_exists(root, "/.dockerenv"))
        SET_TEXT(e->virtualisation.container, "docker", 6);
}

static void read_virtualisation(struct environment *e, const char *root, const struct environment_system *system)
{
    READ_LINE(e->virtualisation.vendor, root, "/sys/class/dmi/id/sys_vendor");
    READ_LINE(e->virtualisation.product, root, "/sys/class/dmi/id/product_name");
    ask_cpuid(e, system);
    ask_xen(e, root);
    if (e->virtualisation.hypervisor[0] == '\0' && e->cpu.hypervisor_flag)
        SET_TEXT(e->virtualisation.hypervisor, "unknown", 7);
    read_container(e, root);
}

/* ---- the public story ---- */

const char *environment_xen_name(enum environment_xen xen)
{
    static const char *const names[] = {"none", "dom0", "domU"};
    return names[xen];
}

bool environment_is_guest(const struct environment *e)
{
    return e->virtualisation.hypervisor[0] != '\0' && e->virtualisation.xen != ENVIRONMENT_XEN_DOM0;
}

int environment_ticks_read(struct environment_ticks *ret, const char *root)
{
    enum { STEAL = 7, COUNTED }; /* user nice system idle iowait irq softirq steal; user holds guest already */
    xk_autofree char *text = NULL;
    const int rc = xk_slurp(&text, root, "/proc/stat", STAT_BYTES_MAX, NULL);
    if (rc < 0)
        return rc;
    struct line line;
    const char *at = text;
    if (!next_line(&at, &line) || strncmp(line.text, "cpu ", 4) != 0)
        return -EBADMSG;
    struct environment_ticks ticks = {0};
    size_t used = 3;
    for (size_t i = 0; i < COUNTED; i++) {
        uint64_t v;
        while (used < line.bytes && line.text[used] == ' ')
            used++;
        const struct line rest = {line.text + used, line.bytes - used};
        if (!number_of(&rest, &v) || xk_add(ticks.total, v, &ticks.total))
            return -EBADMSG;
        if (i == STEAL)
            ticks.steal = v;
        while (used < line.bytes && line.text[used] != ' ')
            used++;
    }
    *ret = ticks;
    return 0;
}

double environment_steal_percent(const struct environment_ticks *before, const struct environment_ticks *after)
{
    if (after->total <= before->total || after->steal < before->steal)
        return NAN;
    return 100.0 * (double)(after->steal - before->steal) / (double)(after->total - before->total);
}

void environment_init(struct environment *ret)
{
    *ret = (struct environment){.cpu = {.family = -1, .model_number = -1, .stepping = -1}};
}

void environment_read(struct environment *ret, const char *root, const struct environment_system *system)
{
    environment_init(ret);
    read_topology(ret, root);
    read_cpuinfo(ret, root);
    read_frequency(ret, root);
    read_nodes(ret, root);
    read_memory(ret, root);
    read_kernel(ret, root);
    read_virtualisation(ret, root, system ? system : environment_system_of(root));
    if (environment_ticks_read(&ret->ticks, root) < 0)
        ret->ticks = (struct environment_ticks){0};
    read_distribution(ret, root);
    read_uptime(ret, root);
}
