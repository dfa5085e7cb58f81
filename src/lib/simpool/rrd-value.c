/*
 * What the data sources measure.
 *
 * What belongs together is computed from one thing: a VM's processors, network and disks have series of their own;
 * a host's processors carry those of the VMs that ran there, its network interfaces the traffic of their VIFs, its
 * storage that of their disks; memory is what the records say. Each value is linear in series whose means are exact, so
 * all archives agree with each other.
 */
#include "lib/simpool/fault.h"
#include "lib/simpool/rrd-parts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define CPUS_MAX       1024
#define CPUS_BUSY_MAX  0.6 /* of a host's, all together */
#define CPU_RIPPLE     0.001
#define USE_DEPTH      1.0
#define LATENCY_DEPTH  0.4
#define MEMORY_DEPTH   0.1
#define MANAGEMENT_B_S 2000.0 /* what a host itself sends and receives */

/* ---- what there is at a host ---- */

/* Between low and high, as many small ones as large ones. */
static double pick(uint64_t key, double low, double high)
{
    return low * pow(high / low, sim_series_share(key));
}

unsigned sim_rrd_vcpus(const struct sim_object *vm)
{
    const int64_t count = sim_int(vm, "VCPUs_at_startup");

    return (unsigned)XK_MAX(XK_MIN(count, (int64_t)CPUS_MAX), (int64_t)1);
}

unsigned sim_rrd_processors(const struct sim_object *host)
{
    const struct xapi_value *const info = sim_get(host, "cpu_info");
    const long count = strtol(xapi_value_text(xapi_map_get(info, "cpu_count")), NULL, 10);

    return (unsigned)XK_MAX(XK_MIN(count, (long)CPUS_MAX), 1L);
}

static double memory_b(const struct simpool *p, const struct sim_object *vm)
{
    const struct sim_object *const metrics = sim_follow(p, vm, "metrics");
    const int64_t actual = metrics ? sim_int(metrics, "memory_actual") : 0;

    return (double)(actual > 0 ? actual : sim_int(vm, "memory_dynamic_max"));
}

static void add_use(struct sim_rrd *r, struct sim_object *vm)
{
    const char *const id = sim_text(vm, "uuid");
    struct sim_use *const use = &r->vms[r->vm_count++];
    const int64_t now_s = r->now_s - r->skew_s;

    *use = (struct sim_use){.vm = vm, .cpu_key = sim_series_key(id, "cpu"), .memory_key = sim_series_key(id, "memory")};
    use->vcpus = sim_rrd_vcpus(vm);
    use->memory_b = memory_b(r->pool, vm);
    use->cpu_base = sim_bool(vm, "is_control_domain") ? pick(use->cpu_key, 0.02, 0.1) : pick(use->cpu_key, 0.03, 0.42);
    use->present_now = sim_history_part(vm->history, r->host, now_s, now_s + 1).present;
}

/* In order of the database, as are the devices' VMs mostly: the search begins behind the last hit. */
static struct sim_use *use_of(const struct sim_rrd *r, const struct sim_object *vm, size_t *hint)
{
    for (size_t i = 0; i < r->vm_count; i++) {
        const size_t at = (*hint + i) % r->vm_count;
        if (r->vms[at].vm == vm) {
            *hint = at;
            return &r->vms[at];
        }
    }
    return NULL;
}

static size_t place_of(struct sim_rrd *r, const struct sim_object *on)
{
    size_t place = 0;

    while (place < r->place_count && r->places[place].on != on)
        place++;
    if (place == r->place_count)
        r->places[r->place_count++] = (struct sim_flow){.on = on};
    return place;
}

static void add_device(struct sim_rrd *r, const struct sim_object *o, const struct sim_object *on, bool is_vif,
                       size_t *hint)
{
    const struct sim_object *const vm = on ? sim_follow(r->pool, o, "VM") : NULL;
    struct sim_use *const use = vm && sim_history_visits(vm->history, r->host) ? use_of(r, vm, hint) : NULL;

    if (!use)
        return;
    const char *const id = sim_text(o, "uuid");
    struct sim_device *const d = &r->devices[r->device_count++];
    *d = (struct sim_device){.use = use, .device = o, .place = place_of(r, on), .is_vif = is_vif};
    d->in_key = sim_series_key(id, "in");
    d->out_key = sim_series_key(id, "out");
    d->in_b_s = pick(d->in_key ^ 1, is_vif ? 500 : 5000, is_vif ? 3e6 : 8e6);
    d->out_b_s = pick(d->out_key ^ 1, is_vif ? 500 : 5000, is_vif ? 3e6 : 8e6);
    d->in_block = pick(d->in_key ^ 2, 4096, 131072);
    d->out_block = pick(d->out_key ^ 2, 4096, 131072);
    d->in_delay_s = pick(d->in_key ^ 3, 0.0002, 0.005);
    d->out_delay_s = pick(d->out_key ^ 3, 0.0002, 0.005);
}

static const struct sim_object *storage_of(const struct simpool *p, const struct sim_object *vbd)
{
    const struct sim_object *const vdi = sim_follow(p, vbd, "VDI");

    return vdi && strcmp(sim_text(vbd, "type"), "Disk") == 0 ? sim_follow(p, vdi, "SR") : NULL;
}

static uint32_t count_of(const struct simpool *p, const char *class_name)
{
    return p->classes[xapi_class_index(xapi_class_find(class_name))].count;
}

void sim_rrd_open(struct sim_rrd *r, struct simpool *p, unsigned host)
{
    size_t hint = 0;

    *r = (struct sim_rrd){.pool = p, .host = host};
    r->now_s = sim_now_ns(p, host) / (int64_t)XK_NS_PER_S;
    r->skew_s = r->now_s - sim_now_s(p);
    r->vms = xk_array_alloc(count_of(p, "VM"), sizeof(*r->vms));
    r->devices = xk_array_alloc((size_t)count_of(p, "VIF") + count_of(p, "VBD"), sizeof(*r->devices));
    r->places = xk_array_alloc((size_t)count_of(p, "network") + count_of(p, "SR"), sizeof(*r->places));
    if (!r->vms || !r->devices || !r->places) {
        r->error = -ENOMEM;
        return;
    }
    for (struct sim_object *vm = sim_first(p, "VM"); vm; vm = vm->class_next)
        if (sim_history_visits(vm->history, host))
            add_use(r, vm);
    for (const struct sim_object *vif = sim_first(p, "VIF"); vif; vif = vif->class_next)
        add_device(r, vif, sim_follow(p, vif, "network"), true, &hint);
    for (const struct sim_object *vbd = sim_first(p, "VBD"); vbd; vbd = vbd->class_next)
        add_device(r, vbd, storage_of(p, vbd), false, &hint);
}

void sim_rrd_close(struct sim_rrd *r)
{
    free(r->vms);
    free(r->devices);
    free(r->places);
    free(r->sources);
}

/* ---- one row ---- */

static double series(const struct sim_rrd *r, uint64_t key, double depth)
{
    return sim_series_between(key, depth, &r->from, &r->to);
}

static uint64_t key_of(const struct sim_object *o, const char *what, unsigned index)
{
    return sim_series_key(sim_text(o, "uuid"), what) + index;
}

/* One of a VM's processors while it runs. */
static double vcpu(const struct sim_rrd *r, const struct sim_use *use, unsigned index)
{
    return use->cpu_base * series(r, use->cpu_key + 1 + index, USE_DEPTH);
}

static double vcpu_sum(const struct sim_rrd *r, const struct sim_use *use)
{
    double sum = 0;

    for (unsigned i = 0; i < use->vcpus; i++)
        sum += vcpu(r, use, i);
    return sum;
}

/* What goes through a device while its VM runs. */
static const struct sim_flow *flow_of(const struct sim_rrd *r, struct sim_device *d)
{
    struct sim_flow *const f = &d->flow;

    if (d->row == r->row)
        return f;
    d->row = r->row;
    *f = (struct sim_flow){.in = d->in_b_s * series(r, d->in_key, USE_DEPTH),
                           .out = d->out_b_s * series(r, d->out_key, USE_DEPTH),
                           .weight = 1};
    if (d->is_vif)
        return f;
    f->requests_in = f->in / d->in_block;
    f->requests_out = f->out / d->out_block;
    const double more_s =
        sim_fault_latency_s(r->pool, r->places[d->place].on, r->from.t - r->skew_s, r->to.t - r->skew_s);
    f->wait_s = f->requests_in * (d->in_delay_s + more_s) + f->requests_out * (d->out_delay_s + more_s);
    f->delay_in_s = d->in_delay_s * series(r, d->in_key + 7, LATENCY_DEPTH) + more_s;
    f->delay_out_s = d->out_delay_s * series(r, d->out_key + 7, LATENCY_DEPTH) + more_s;
    return f;
}

static void add_flow(struct sim_flow *sum, const struct sim_flow *f, double running)
{
    sum->in += running * f->in;
    sum->out += running * f->out;
    sum->requests_in += running * f->requests_in;
    sum->requests_out += running * f->requests_out;
    sum->wait_s += running * f->wait_s;
    sum->delay_in_s += running * f->delay_in_s;
    sum->delay_out_s += running * f->delay_out_s;
    sum->weight += running;
}

/* The sums over all VMs and devices: once for all of the host's sources. */
static void sum_host(struct sim_rrd *r)
{
    const int64_t from = r->from.t - r->skew_s, to = r->to.t - r->skew_s;

    if (r->row_of_host == r->row)
        return;
    r->row_of_host = r->row;
    r->load = r->domains = r->memory_b = 0;
    for (size_t i = 0; i < r->vm_count; i++) {
        struct sim_use *const use = &r->vms[i];
        use->part = sim_history_part(use->vm->history, r->host, from, to);
        r->domains += use->part.running;
        r->memory_b += (use->present_now - use->part.present) * use->memory_b;
        if (use->part.running > 0)
            r->load += use->part.running * vcpu_sum(r, use);
    }
    for (size_t i = 0; i < r->place_count; i++)
        r->places[i] = (struct sim_flow){.on = r->places[i].on};
    for (size_t i = 0; i < r->device_count; i++) {
        struct sim_device *const d = &r->devices[i];
        if (d->use->part.running > 0)
            add_flow(&r->places[d->place], flow_of(r, d), d->use->part.running);
    }
}

/* ---- hosts ---- */

static double host_cpu_avg(struct sim_rrd *r, const struct sim_object *host)
{
    const double usual = XK_MIN(r->load / sim_rrd_processors(host), CPUS_BUSY_MAX);

    /* What else is there fills it up to where a fault says. */
    return XK_MAX(usual, sim_fault_cpu(r->pool, r->host, r->from.t - r->skew_s, r->to.t - r->skew_s));
}

/* Neighbours differ by the same amount to either side of the average, so their mean is the average. */
static double host_cpu(struct sim_rrd *r, const struct sim_ds *ds)
{
    const double average = host_cpu_avg(r, ds->owner);
    const bool odd_one = ds->index % 2 == 0 && ds->index + 1 == sim_rrd_processors(ds->owner);
    const uint64_t key = key_of(ds->owner, "pair", ds->index / 2);
    const double apart =
        average * (sim_series_share(key) - 0.5) + XK_MIN(CPU_RIPPLE, average / 4) * (series(r, key, USE_DEPTH) - 1);

    const double by = XK_MAX(XK_MIN(apart, 1 - average), average - 1); /* no processor is more than busy */
    return odd_one ? average : ds->index % 2 == 0 ? average + by : average - by;
}

/* Free now, less what took its place since, plus what was not there then. */
static double host_memory_free_kib(const struct sim_rrd *r, const struct sim_object *host)
{
    const struct sim_object *const metrics = sim_follow(r->pool, host, "metrics");
    const double now_b = metrics ? (double)sim_int(metrics, "memory_free") : 0;

    return XK_MAX(now_b + r->memory_b, 0.0) / 1024;
}

/* ---- network and storage ---- */

/* Of all devices on a network or a storage at this host. */
static const struct sim_flow *flow_on(const struct sim_rrd *r, const struct sim_object *on)
{
    static const struct sim_flow none;

    for (size_t i = 0; i < r->place_count; i++)
        if (r->places[i].on == on)
            return &r->places[i];
    return &none;
}

static double io_value(const struct sim_flow *f, unsigned metric)
{
    const double weight = f->weight > 0 ? f->weight : 1;

    switch ((enum sim_io_metric)metric) {
    case IO_READ:
        return f->in;
    case IO_WRITE:
        return f->out;
    case IO_READ_LATENCY:
        return 1e6 * f->delay_in_s / weight;
    case IO_WRITE_LATENCY:
        return 1e6 * f->delay_out_s / weight;
    case IO_THROUGHPUT_READ:
        return f->in / 1048576;
    case IO_THROUGHPUT_WRITE:
        return f->out / 1048576;
    case IO_THROUGHPUT_TOTAL:
        return (f->in + f->out) / 1048576;
    case IO_IOPS_READ:
        return f->requests_in;
    case IO_IOPS_WRITE:
        return f->requests_out;
    case IO_IOPS_TOTAL:
        return f->requests_in + f->requests_out;
    case IO_IOWAIT:
    case IO_INFLIGHT:
    case IO_QUEUE:
        return f->wait_s;
    case IO_LATENCY:
        return 1e6 * (f->delay_in_s + f->delay_out_s) / 2 / weight;
    }
    return 0;
}

static double pif_value(const struct sim_rrd *r, const struct sim_object *pif, unsigned index)
{
    const struct sim_flow *const f = flow_on(r, sim_follow(r->pool, pif, "network"));
    const double own = MANAGEMENT_B_S * series(r, key_of(pif, "own", index), USE_DEPTH);

    return index > 1 || !sim_bool(pif, "currently_attached") ? 0 : own + (index == 0 ? f->in : f->out);
}

bool sim_rrd_is_here(const struct sim_rrd *r, const struct sim_object *o)
{
    return strcmp(sim_text(o, "host"), r->pool->host_refs[r->host]) == 0;
}

bool sim_rrd_is_counted(const struct sim_rrd *r, const struct sim_object *pif)
{
    return sim_rrd_is_here(r, pif) && sim_bool(pif, "physical");
}

static double pifs_value(const struct sim_rrd *r, unsigned index)
{
    double sum = 0;

    for (const struct sim_object *pif = sim_first(r->pool, "PIF"); pif; pif = pif->class_next)
        if (sim_rrd_is_counted(r, pif))
            sum += pif_value(r, pif, index);
    return sum;
}

/* ---- values ---- */

/* How a VM's processors share the time: none of them runs, all of them, or some; nobody ever waits. */
static double runstate(const struct sim_rrd *r, const struct sim_use *use, unsigned index)
{
    const double busy = vcpu_sum(r, use) / use->vcpus;

    return index == 0 ? busy / 2 : index == 3 ? 1 - busy : index == 4 ? busy / 2 : 0;
}

static double vm_memory_free_kib(const struct sim_rrd *r, const struct sim_use *use, double running)
{
    return use->memory_b / 1024 * (0.2 + 0.4 * sim_series_share(use->memory_key)) *
           series(r, use->memory_key, running > 0 ? MEMORY_DEPTH : 0);
}

static double vm_value(struct sim_rrd *r, const struct sim_ds *ds)
{
    const struct sim_object *const vm = ds->owner;
    const struct sim_part part =
        sim_history_part(vm->history, SIMPOOL_HOSTS_MAX, r->from.t - r->skew_s, r->to.t - r->skew_s);
    struct sim_flow f = {0};

    if (part.present < 0.5 || !ds->use) /* as the archives: unknown when more than half of it is */
        return NAN;
    const double running = part.running / part.present;
    switch ((enum sim_ds_kind)ds->kind) {
    case VM_CPU:
        return running * vcpu(r, ds->use, ds->index);
    case VM_CPU_USAGE:
        return running * vcpu_sum(r, ds->use) / ds->use->vcpus;
    case VM_RUNSTATE:
        return running * runstate(r, ds->use, ds->index);
    case VM_MEMORY:
        return ds->use->memory_b;
    case VM_MEMORY_TARGET:
        return (double)(sim_int(vm, "memory_target") > 0 ? sim_int(vm, "memory_target")
                                                         : sim_int(vm, "memory_dynamic_max"));
    case VM_MEMORY_FREE:
        return vm_memory_free_kib(r, ds->use, running);
    case VM_VIF:
    case VM_VBD:
        add_flow(&f, flow_of(r, ds->on), running);
        if (ds->kind == VM_VBD)
            return io_value(&f, ds->index);
        return ds->index == 0 ? f.in : ds->index == 1 ? f.out : 0;
    default:
        return 0;
    }
}

static double xapi_value(const struct sim_rrd *r, const struct sim_ds *ds)
{
    const uint64_t key = key_of(ds->owner, "xapi", 0);
    const double total = pick(key, 60000, 200000), live = 0.6 * series(r, key, MEMORY_DEPTH);

    switch (ds->index) {
    case 0:
        return total;
    case 1:
        return total * (1 - live);
    case 2:
        return total * live;
    case 3:
        return 4000 * series(r, key + 1, USE_DEPTH);
    default:
        return 90 * series(r, key + 2, MEMORY_DEPTH);
    }
}

static double storage_value(const struct sim_rrd *r, const struct sim_ds *ds)
{
    if (ds->kind != STORAGE)
        return (double)sim_int(ds->device, ds->kind == STORAGE_SIZE ? "physical_size" : "physical_utilisation");
    return io_value(flow_on(r, ds->device), ds->index);
}

/* Of a host, or of storage at a host. */
static double host_value(struct sim_rrd *r, const struct sim_ds *ds)
{
    const struct sim_object *const host = ds->owner, *metrics;

    sum_host(r);
    switch ((enum sim_ds_kind)ds->kind) {
    case HOST_CPU:
        return host_cpu(r, ds);
    case HOST_CPU_AVG:
        return host_cpu_avg(r, host);
    case HOST_LOADAVG:
        return 0.3 * series(r, key_of(host, "loadavg", 0), USE_DEPTH);
    case HOST_LOAD:
        return r->load / sim_rrd_processors(host);
    case HOST_VCPUS:
        return r->load;
    case HOST_DOMAINS:
        return r->domains;
    case HOST_MEMORY_TOTAL:
        metrics = sim_follow(r->pool, host, "metrics");
        return metrics ? (double)sim_int(metrics, "memory_total") / 1024 : NAN;
    case HOST_MEMORY_FREE:
        return host_memory_free_kib(r, host);
    case HOST_PIF:
        return pif_value(r, ds->device, ds->index);
    case HOST_PIFS:
        return pifs_value(r, ds->index);
    case HOST_XAPI:
        return xapi_value(r, ds);
    case STORAGE:
    case STORAGE_SIZE:
    case STORAGE_USED:
        return storage_value(r, ds);
    default:
        return 0;
    }
}

double sim_rrd_value(struct sim_rrd *r, const struct sim_ds *ds, int64_t from, int64_t to)
{
    /* Unknown when more than half of it is. */
    if (ds->since_s != INT64_MIN && ds->since_s + r->skew_s > from + (to - from) / 2)
        return NAN;
    if (r->row == 0 || r->from.t != from || r->to.t != to) {
        sim_instant_at(&r->from, from);
        sim_instant_at(&r->to, to);
        r->row++;
    }
    return ds->kind <= VM_VBD ? vm_value(r, ds) : host_value(r, ds);
}

int64_t sim_rrd_floor(int64_t now_s, int64_t step_s)
{
    return now_s - now_s % step_s;
}
