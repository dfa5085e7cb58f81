/*
 * The data sources of hosts, VMs and storage under their real names.
 *
 * Rows of constants where the real names are fixed, loops where they hold a device's; that only some of them are
 * recorded without being asked to is as on a real host.
 */
#include "lib/simpool/rrd-parts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct row {
    const char *name, *description, *units;
    enum sim_ds_type type;
    bool standard;
    double max;
};

static const struct row io_rows[] = {
    [IO_READ] = {"read", "Reads from device %s, in B/s", "B/s", SIM_DS_DERIVE, true, INFINITY},
    [IO_WRITE] = {"write", "Writes from device %s, in B/s", "B/s", SIM_DS_DERIVE, true, INFINITY},
    [IO_READ_LATENCY] = {"read_latency", "Read latency from device %s, in microseconds", "μs", SIM_DS_GAUGE, true,
                         INFINITY},
    [IO_WRITE_LATENCY] = {"write_latency", "Write latency from device %s, in microseconds", "μs", SIM_DS_GAUGE, true,
                          INFINITY},
    [IO_THROUGHPUT_READ] = {"io_throughput_read", "Data read from the %s, in MiB/s", "MiB/s", SIM_DS_ABSOLUTE, true,
                            INFINITY},
    [IO_THROUGHPUT_WRITE] = {"io_throughput_write", "Data written to the %s, in MiB/s", "MiB/s", SIM_DS_ABSOLUTE, true,
                             INFINITY},
    [IO_THROUGHPUT_TOTAL] = {"io_throughput_total", "All %s I/O, in MiB/s", "MiB/s", SIM_DS_ABSOLUTE, true, INFINITY},
    [IO_IOPS_READ] = {"iops_read", "Read requests per second", "requests/s", SIM_DS_ABSOLUTE, true, INFINITY},
    [IO_IOPS_WRITE] = {"iops_write", "Write requests per second", "requests/s", SIM_DS_ABSOLUTE, true, INFINITY},
    [IO_IOPS_TOTAL] = {"iops_total", "I/O Requests per second", "requests/s", SIM_DS_ABSOLUTE, true, INFINITY},
    [IO_IOWAIT] = {"iowait", "Total I/O wait time (all requests) per second", "s/s", SIM_DS_ABSOLUTE, true, INFINITY},
    [IO_INFLIGHT] = {"inflight", "Number of I/O requests currently in flight", "requests", SIM_DS_GAUGE, true,
                     INFINITY},
    [IO_LATENCY] = {"latency", "Average I/O latency", "μs", SIM_DS_GAUGE, true, INFINITY},
    [IO_QUEUE] = {"avgqu_sz", "Average I/O queue size", "requests", SIM_DS_GAUGE, true, INFINITY},
};

static const struct row runstate_rows[] = {
    {"runstate_fullrun", "Fraction of time that all vCPUs are running", "(fraction)", SIM_DS_DERIVE, false, 1},
    {"runstate_full_contention", "Fraction of time that all vCPUs are runnable (i.e., waiting for CPU)", "(fraction)",
     SIM_DS_DERIVE, false, 1},
    {"runstate_concurrency_hazard", "Fraction of time that some vCPUs are running and some are runnable", "(fraction)",
     SIM_DS_DERIVE, false, 1},
    {"runstate_blocked", "Fraction of time that all vCPUs are blocked or offline", "(fraction)", SIM_DS_DERIVE, false,
     1},
    {"runstate_partial_run", "Fraction of time that some vCPUs are running, and some are blocked", "(fraction)",
     SIM_DS_DERIVE, false, 1},
    {"runstate_partial_contention", "Fraction of time that some vCPUs are runnable and some are blocked", "(fraction)",
     SIM_DS_DERIVE, false, 1},
};

static const struct row xapi_rows[] = {
    {"xapi_memory_usage_kib", "Total memory allocated used by xapi daemon", "KiB", SIM_DS_GAUGE, true, INFINITY},
    {"xapi_free_memory_kib", "Free memory available to the xapi daemon", "KiB", SIM_DS_GAUGE, true, INFINITY},
    {"xapi_live_memory_kib", "Live memory used by xapi daemon", "KiB", SIM_DS_GAUGE, true, INFINITY},
    {"xapi_allocation_kib", "Memory allocation done by the xapi daemon", "KiB", SIM_DS_DERIVE, true, INFINITY},
    {"xapi_open_fds", "Number of open file descriptors held by xapi", "file descriptors", SIM_DS_GAUGE, true, INFINITY},
};

static const struct row pif_rows[] = {
    {"rx", "Bytes per second received on physical interface %s", "B/s", SIM_DS_DERIVE, true, INFINITY},
    {"tx", "Bytes per second sent on physical interface %s", "B/s", SIM_DS_DERIVE, true, INFINITY},
    {"rx_errors", "Receive errors per second on physical interface %s", "err/s", SIM_DS_DERIVE, false, INFINITY},
    {"tx_errors", "Transmit errors per second on physical interface %s", "err/s", SIM_DS_DERIVE, false, INFINITY},
};

static const struct row vif_rows[] = {
    {"rx", "Bytes per second received on virtual interface number '%s'", "B/s", SIM_DS_DERIVE, true, INFINITY},
    {"tx", "Bytes per second transmitted on virtual interface number '%s'", "B/s", SIM_DS_DERIVE, true, INFINITY},
    {"rx_errors", "Receive errors per second on virtual interface number '%s'", "err/s", SIM_DS_DERIVE, false,
     INFINITY},
    {"tx_errors", "Transmit errors per second on virtual interface number '%s'", "err/s", SIM_DS_DERIVE, false,
     INFINITY},
};

/* ---- lists ---- */

static const struct sim_mark *mark_of(const struct simpool *p, const struct sim_object *owner, const char *name)
{
    for (size_t i = 0; i < p->mark_count; i++)
        if (strcmp(p->marks[i].ref, owner->ref) == 0 && strcmp(p->marks[i].name, name) == 0)
            return &p->marks[i];
    return NULL;
}

static void add(struct sim_rrd *r, const struct sim_object *owner, const struct sim_object *device,
                enum sim_ds_kind kind, unsigned index, const struct row *row, const char *name, bool all)
{
    const struct sim_mark *const mark = mark_of(r->pool, owner, name);
    const bool enabled = mark ? mark->enabled : row->standard;

    if (r->error || (!enabled && !all))
        return;
    if (r->source_count == r->source_room) {
        const size_t room = r->source_room ? 2 * r->source_room : 128;
        struct sim_ds *const sources = room <= SIM_SOURCES_MAX ? xk_realloc(r->sources, room * sizeof(*sources)) : NULL;
        if (!sources) {
            r->error = -ENOMEM;
            return;
        }
        r->sources = sources;
        r->source_room = room;
    }
    struct sim_ds *const ds = &r->sources[r->source_count++];
    *ds = (struct sim_ds){.units = row->units,
                          .description = row->description,
                          .type = row->type,
                          .standard = row->standard,
                          .enabled = enabled,
                          .max = row->max,
                          .since_s = mark ? mark->since_s : INT64_MIN,
                          .kind = (uint8_t)kind,
                          .index = index,
                          .owner = owner,
                          .device = device};
    snprintf(ds->name, sizeof(ds->name), "%s", name);
    ds->use = r->adding;
    ds->on = r->adding_device;
}

static void about(struct sim_rrd *r, size_t first, const char *what)
{
    for (size_t i = first; i < r->source_count; i++)
        snprintf(r->sources[i].about, sizeof(r->sources[i].about), "%s", what);
}

static void add_vm_devices(struct sim_rrd *r, const struct sim_object *vm, bool all)
{
    char name[SIM_DS_NAME];

    for (size_t i = 0; i < r->device_count; i++) {
        struct sim_device *const d = &r->devices[i];
        const size_t first = r->source_count;
        if (d->use != r->adding)
            continue;
        r->adding_device = d;
        const char *const place = d->is_vif ? sim_text(d->device, "device") : sim_text(d->device, "userdevice");
        char device[16];
        snprintf(device, sizeof(device), "%.10s", *sim_text(d->device, "device") ? sim_text(d->device, "device") : "");
        if (!d->is_vif && !*device)
            snprintf(device, sizeof(device), "xvd%c", (char)('a' + strtol(place, NULL, 10) % 26));
        for (unsigned m = 0; d->is_vif && m < XK_COUNT(vif_rows); m++) {
            snprintf(name, sizeof(name), "vif_%s_%s", device, vif_rows[m].name);
            add(r, vm, d->device, VM_VIF, m, &vif_rows[m], name, all);
        }
        for (unsigned m = 0; !d->is_vif && m < XK_COUNT(io_rows); m++) {
            snprintf(name, sizeof(name), "vbd_%s_%s", device, io_rows[m].name);
            add(r, vm, d->device, VM_VBD, m, &io_rows[m], name, all);
        }
        about(r, first, d->is_vif ? device : "VDI");
    }
    r->adding_device = NULL;
}

static void add_vm(struct sim_rrd *r, const struct sim_object *vm, bool all)
{
    static const struct row cpu = {NULL, "CPU%s usage", "(fraction)", SIM_DS_DERIVE, true, 1};
    static const struct row usage = {NULL, "Domain CPU usage", "(fraction)", SIM_DS_DERIVE, true, 1};
    static const struct row memory = {NULL, "Memory currently allocated to VM", "B", SIM_DS_GAUGE, true, INFINITY};
    static const struct row target = {NULL, "Target of VM balloon driver", "B", SIM_DS_GAUGE, true, INFINITY};
    static const struct row guest = {NULL,    "Memory used as reported by the guest agent", "KiB", SIM_DS_GAUGE, true,
                                     INFINITY};
    static const struct row dom0 = {NULL, "Dom0 current free memory", "KiB", SIM_DS_GAUGE, true, INFINITY};
    char name[SIM_DS_NAME];

    r->adding = NULL;
    for (size_t i = 0; i < r->vm_count && !r->adding; i++)
        if (r->vms[i].vm == vm)
            r->adding = &r->vms[i];
    for (unsigned i = 0; i < sim_rrd_vcpus(vm); i++) {
        snprintf(name, sizeof(name), "cpu%u", i);
        add(r, vm, NULL, VM_CPU, i, &cpu, name, all);
        about(r, r->source_count - (r->source_count > 0), name + 3);
    }
    add(r, vm, NULL, VM_CPU_USAGE, 0, &usage, "cpu_usage", all);
    for (unsigned i = 0; i < XK_COUNT(runstate_rows); i++)
        add(r, vm, NULL, VM_RUNSTATE, i, &runstate_rows[i], runstate_rows[i].name, all);
    add(r, vm, NULL, VM_MEMORY, 0, &memory, "memory", all);
    add(r, vm, NULL, VM_MEMORY_TARGET, 0, &target, "memory_target", all);
    if (sim_bool(vm, "is_control_domain") || sim_follow(r->pool, vm, "guest_metrics"))
        add(r, vm, NULL, VM_MEMORY_FREE, 0, sim_bool(vm, "is_control_domain") ? &dom0 : &guest, "memory_internal_free",
            all);
    if (r->adding)
        add_vm_devices(r, vm, all);
    r->adding = NULL;
}

static void add_storage(struct sim_rrd *r, const struct sim_object *owner, const struct sim_object *sr, bool all)
{
    const size_t first = r->source_count;
    char name[SIM_DS_NAME];

    for (unsigned m = 0; m < XK_COUNT(io_rows); m++) {
        if (owner == sr)
            snprintf(name, sizeof(name), "%s", io_rows[m].name);
        else
            snprintf(name, sizeof(name), "%s_%.8s", io_rows[m].name, sim_text(sr, "uuid"));
        add(r, owner, sr, STORAGE, m, &io_rows[m], name, all);
    }
    about(r, first, "SR");
}

static bool has_disks(const struct sim_object *sr)
{
    return strcmp(sim_text(sr, "content_type"), "iso") != 0;
}

static void add_host_storage(struct sim_rrd *r, const struct sim_object *host, bool all)
{
    for (const struct sim_object *pbd = sim_first(r->pool, "PBD"); pbd; pbd = pbd->class_next) {
        const struct sim_object *const sr = sim_follow(r->pool, pbd, "SR");
        if (sr && sim_rrd_is_here(r, pbd) && sim_bool(pbd, "currently_attached") && has_disks(sr))
            add_storage(r, host, sr, all);
    }
}

static void add_host_network(struct sim_rrd *r, const struct sim_object *host, bool all)
{
    static const struct row aggregate[] = {
        {"pif_aggr_rx", "Bytes per second received on all physical interfaces", "B/s", SIM_DS_DERIVE, true, INFINITY},
        {"pif_aggr_tx", "Bytes per second sent on all physical interfaces", "B/s", SIM_DS_DERIVE, true, INFINITY},
    };
    char name[SIM_DS_NAME];

    for (const struct sim_object *pif = sim_first(r->pool, "PIF"); pif; pif = pif->class_next) {
        const size_t first = r->source_count;
        if (!sim_rrd_is_counted(r, pif))
            continue;
        for (unsigned i = 0; i < XK_COUNT(pif_rows); i++) {
            snprintf(name, sizeof(name), "pif_%.40s_%s", sim_text(pif, "device"), pif_rows[i].name);
            add(r, host, pif, HOST_PIF, i, &pif_rows[i], name, all);
        }
        about(r, first, sim_text(pif, "device"));
    }
    for (unsigned i = 0; i < XK_COUNT(aggregate); i++)
        add(r, host, NULL, HOST_PIFS, i, &aggregate[i], aggregate[i].name, all);
}

static void add_host(struct sim_rrd *r, const struct sim_object *host, bool all)
{
    static const struct row cpu = {NULL, "Physical cpu usage for cpu %s", "(fraction)", SIM_DS_DERIVE, true, 1};
    static const struct {
        enum sim_ds_kind kind;
        struct row row;
    } rows[] = {
        {HOST_CPU_AVG, {"cpu_avg", "Average physical cpu usage", "(fraction)", SIM_DS_DERIVE, true, 1}},
        {HOST_LOADAVG, {"loadavg", "Domain0 loadavg", "(fraction)", SIM_DS_GAUGE, true, INFINITY}},
        {HOST_LOAD,
         {"hostload",
          "Host load per physical cpu, where load refers to the number of vCPU(s) in running or runnable status.",
          "(fraction)", SIM_DS_GAUGE, true, INFINITY}},
        {HOST_VCPUS,
         {"running_vcpus", "The total number of running vCPUs per host", "count", SIM_DS_GAUGE, true, INFINITY}},
        {HOST_DOMAINS,
         {"running_domains", "The total number of running domains per host", "count", SIM_DS_GAUGE, true, INFINITY}},
        {ALWAYS_ZERO, {"memory_reclaimed", "Host memory reclaimed by squeezed", "B", SIM_DS_GAUGE, true, INFINITY}},
        {ALWAYS_ZERO,
         {"memory_reclaimed_max", "Host memory that could be reclaimed by squeezed", "B", SIM_DS_GAUGE, true,
          INFINITY}},
        {HOST_MEMORY_TOTAL,
         {"memory_total_kib", "Total amount of memory in the host", "KiB", SIM_DS_GAUGE, true, INFINITY}},
        {HOST_MEMORY_FREE, {"memory_free_kib", "Total amount of free memory", "KiB", SIM_DS_GAUGE, true, INFINITY}},
        {ALWAYS_ZERO,
         {"Tapdisks_in_low_memory_mode", "Number of tapdisks in low memory mode", "count", SIM_DS_ABSOLUTE, true,
          INFINITY}},
    };
    char name[SIM_DS_NAME];

    for (unsigned i = 0; i < sim_rrd_processors(host); i++) {
        snprintf(name, sizeof(name), "cpu%u", i);
        add(r, host, NULL, HOST_CPU, i, &cpu, name, all);
        about(r, r->source_count - (r->source_count > 0), name + 3);
    }
    for (size_t i = 0; i < XK_COUNT(rows); i++)
        add(r, host, NULL, rows[i].kind, 0, &rows[i].row, rows[i].row.name, all);
    add_host_network(r, host, all);
    add_host_storage(r, host, all);
    for (unsigned i = 0; i < XK_COUNT(xapi_rows); i++)
        add(r, host, NULL, HOST_XAPI, i, &xapi_rows[i], xapi_rows[i].name, all);
}

void sim_rrd_add(struct sim_rrd *r, const struct sim_object *owner, bool all)
{
    static const struct row size = {NULL, "Size of the SR", "B", SIM_DS_GAUGE, true, INFINITY};
    static const struct row used = {NULL, "Physical utilisation of the SR", "B", SIM_DS_GAUGE, true, INFINITY};
    const char *const class_name = xapi_text(owner->class_row->name);

    if (strcmp(class_name, "host") == 0) {
        add_host(r, owner, all);
    } else if (strcmp(class_name, "VM") == 0) {
        add_vm(r, owner, all);
    } else {
        add_storage(r, owner, owner, all);
        add(r, owner, owner, STORAGE_SIZE, 0, &size, "size", all);
        add(r, owner, owner, STORAGE_USED, 0, &used, "physical_utilisation", all);
    }
}

void sim_rrd_describe(const struct sim_ds *ds, char *ret, size_t bytes)
{
    const char *const mark = strstr(ds->description, "%s");
    const int before = mark ? (int)(mark - ds->description) : (int)strlen(ds->description);

    snprintf(ret, bytes, "%.*s%s%s", before, ds->description, mark ? ds->about : "", mark ? mark + 2 : "");
}

/* ---- wishes ---- */

int sim_rrd_mark(struct simpool *p, const struct sim_ds *ds, bool enabled)
{
    struct sim_mark *mark = (struct sim_mark *)mark_of(p, ds->owner, ds->name);

    if (!mark) {
        if (!p->marks && (p->marks = xk_array_alloc(SIM_MARKS_MAX, sizeof(*p->marks))) == NULL)
            return -ENOMEM;
        if (p->mark_count == SIM_MARKS_MAX)
            return -ENOSPC;
        mark = &p->marks[p->mark_count++];
        memcpy(mark->ref, ds->owner->ref, sizeof(mark->ref));
        memcpy(mark->name, ds->name, sizeof(mark->name));
    }
    mark->enabled = enabled;
    mark->since_s = sim_now_s(p);
    return 0;
}
