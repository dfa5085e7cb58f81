/*
 * What the data sources measure.
 *
 * What belongs together is computed from one thing: a VM's processors, network and disks have series of their own;
 * a host's processors carry those of the VMs that ran there, its network interfaces the traffic of their VIFs, its
 * storage that of their disks; memory is what the records say. Each value is linear in series whose means are exact, so
 * all archives agree with each other.
 */
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

static void add_device(struct sim_rrd *r, const struct sim_object *o, const struct sim_object *on, bool is_vif)
{
    const struct simpool *const p = r->pool;
    const struct sim_object *const vm = sim_follow(p, o, "VM");

    if (!vm || !on || !sim_history_visits(vm->history, r->host))
        return;
    const char *const id = sim_text(o, "uuid");
    struct sim_device *const d = &r->devices[r->device_count++];
    *d = (struct sim_device){.vm = vm, .device = o, .on = on, .is_vif = is_vif};
    d->in_key = sim_series_key(id, "in");
    d->out_key = sim_series_key(id, "out");
    d->in_b_s = pick(d->in_key ^ 1, is_vif ? 500 : 5000, is_vif ? 3e6 : 8e6);
    d->out_b_s = pick(d->out_key ^ 1, is_vif ? 500 : 5000, is_vif ? 3e6 : 8e6);
    d->in_block = pick(d->in_key ^ 2, 4096, 131072);
    d->out_block = pick(d->out_key ^ 2, 4096, 131072);
    d->in_delay = pick(d->in_key ^ 3, 0.0002, 0.005);
    d->out_delay_s = pick(d->out_key ^ 3, 0.0002, 0.005);
}

static const struct sim_object *storage_of(const struct simpool *p, const struct sim_object *vbd)
{
    const struct sim_object *const vdi = sim_follow(p, vbd, "VDI");

    return vdi && strcmp(sim_text(vbd, "type"), "Disk") == 0 ? sim_follow(p, vdi, "SR") : NULL;
}

void sim_rrd_open(struct sim_rrd *r, struct simpool *p, unsigned host)
{
    const uint32_t vms = p->classes[xapi_class_index(xapi_class_find("VM"))].count;
    const size_t devices = (size_t)p->classes[xapi_class_index(xapi_class_find("VIF"))].count +
                           p->classes[xapi_class_index(xapi_class_find("VBD"))].count;

    *r = (struct sim_rrd){.pool = p, .host = host, .load_from = INT64_MIN};
    r->now_s = sim_now_ns(p, host) / (int64_t)XK_NS_PER_S;
    r->skew_s = r->now_s - sim_now_s(p);
    r->vms = xk_array_alloc(vms, sizeof(struct sim_object *));
    r->devices = xk_array_alloc(devices, sizeof(*r->devices));
    if (!r->vms || !r->devices) {
        r->error = -ENOMEM;
        return;
    }
    for (struct sim_object *vm = sim_first(p, "VM"); vm; vm = vm->class_next)
        if (sim_history_visits(vm->history, host))
            r->vms[r->vm_count++] = vm;
    for (const struct sim_object *vif = sim_first(p, "VIF"); vif; vif = vif->class_next)
        add_device(r, vif, sim_follow(p, vif, "network"), true);
    for (const struct sim_object *vbd = sim_first(p, "VBD"); vbd; vbd = vbd->class_next)
        add_device(r, vbd, storage_of(p, vbd), false);
}

void sim_rrd_close(struct sim_rrd *r)
{
    free(r->vms);
    free(r->devices);
    free(r->sources);
}

/* ---- use ---- */

static uint64_t key_of(const struct sim_rrd *r, const struct sim_object *o, const char *what, unsigned index)
{
    return sim_series_key(sim_text(o, "uuid"), what) + index;
}

/* One of a VM's processors while it runs. */
static double vcpu(const struct sim_rrd *r, const struct sim_object *vm, unsigned index, int64_t from, int64_t to)
{
    const bool is_dom0 = sim_bool(vm, "is_control_domain");
    const uint64_t key = key_of(r, vm, "cpu", 0);
    const double base = is_dom0 ? pick(key, 0.02, 0.1) : pick(key, 0.03, 0.42);

    return base * sim_series_mean(key + 1 + index, USE_DEPTH, from, to);
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

static struct sim_part part_here(const struct sim_rrd *r, const struct sim_object *vm, int64_t from, int64_t to)
{
    return sim_history_part(vm->history, r->host, from - r->skew_s, to - r->skew_s);
}

/* How many of the host's processors are busy, as the VMs say that ran here. */
static double host_load(struct sim_rrd *r, int64_t from, int64_t to)
{
    if (r->load_from == from && r->load_to == to)
        return r->load;
    double load = 0;
    for (size_t i = 0; i < r->vm_count; i++) {
        const double running = part_here(r, r->vms[i], from, to).running;
        for (unsigned v = 0; running > 0 && v < sim_rrd_vcpus(r->vms[i]); v++)
            load += running * vcpu(r, r->vms[i], v, from, to);
    }
    r->load_from = from;
    r->load_to = to;
    r->load = load;
    return load;
}

static double host_cpu_avg(struct sim_rrd *r, const struct sim_object *host, int64_t from, int64_t to)
{
    return XK_MIN(host_load(r, from, to) / sim_rrd_processors(host), CPUS_BUSY_MAX);
}

/* Neighbours differ by the same amount to either side of the average, so their mean is the average. */
static double host_cpu(struct sim_rrd *r, const struct sim_ds *ds, int64_t from, int64_t to)
{
    const double average = host_cpu_avg(r, ds->owner, from, to);
    const bool odd_one = ds->index % 2 == 0 && ds->index + 1 == sim_rrd_processors(ds->owner);
    const uint64_t key = key_of(r, ds->owner, "pair", ds->index / 2);
    const double by = average * (sim_series_share(key) - 0.5) +
                      XK_MIN(CPU_RIPPLE, average / 4) * (sim_series_mean(key, USE_DEPTH, from, to) - 1);

    return odd_one ? average : ds->index % 2 == 0 ? average + by : average - by;
}

static double memory_b(const struct sim_rrd *r, const struct sim_object *vm)
{
    const struct sim_object *const metrics = sim_follow(r->pool, vm, "metrics");
    const int64_t actual = metrics ? sim_int(metrics, "memory_actual") : 0;

    return (double)(actual > 0 ? actual : sim_int(vm, "memory_dynamic_max"));
}

/* Free now, less what took its place since, plus what was not there then. */
static double host_memory_free_kib(struct sim_rrd *r, const struct sim_object *host, int64_t from, int64_t to)
{
    const struct sim_object *const metrics = sim_follow(r->pool, host, "metrics");
    double free_b = metrics ? (double)sim_int(metrics, "memory_free") : 0;

    for (size_t i = 0; i < r->vm_count; i++) {
        const double now = part_here(r, r->vms[i], r->now_s, r->now_s + 1).present,
                     then = part_here(r, r->vms[i], from, to).present;
        if (now != then)
            free_b += (now - then) * memory_b(r, r->vms[i]);
    }
    return XK_MAX(free_b, 0.0) / 1024;
}

/* ---- network and storage ---- */

struct flow {
    double in, out, requests_in, requests_out, wait_s, delay_in_s, delay_out_s, weight;
};

static void add_flow(struct flow *f, const struct sim_device *d, double running, int64_t from, int64_t to)
{
    const double in = running * d->in_b_s * sim_series_mean(d->in_key, USE_DEPTH, from, to);
    const double out = running * d->out_b_s * sim_series_mean(d->out_key, USE_DEPTH, from, to);

    f->in += in;
    f->out += out;
    if (d->is_vif)
        return;
    f->requests_in += in / d->in_block;
    f->requests_out += out / d->out_block;
    f->wait_s += in / d->in_block * d->in_delay + out / d->out_block * d->out_delay_s;
    f->delay_in_s += running * d->in_delay * sim_series_mean(d->in_key + 7, LATENCY_DEPTH, from, to);
    f->delay_out_s += running * d->out_delay_s * sim_series_mean(d->out_key + 7, LATENCY_DEPTH, from, to);
    f->weight += running;
}

/* Of all devices on a network or a storage at this host; NULL: on every network. */
static struct flow flow_on(const struct sim_rrd *r, const struct sim_object *on, int64_t from, int64_t to)
{
    struct flow f = {0};

    for (size_t i = 0; i < r->device_count; i++) {
        const struct sim_device *const d = &r->devices[i];
        const double running = d->on == on ? part_here(r, d->vm, from, to).running : 0;
        if (running > 0)
            add_flow(&f, d, running, from, to);
    }
    return f;
}

static double io_value(const struct flow *f, unsigned metric)
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

static double pif_value(const struct sim_rrd *r, const struct sim_object *pif, unsigned index, int64_t from, int64_t to)
{
    const struct sim_object *const network = sim_follow(r->pool, pif, "network");
    const struct flow f = flow_on(r, network, from, to);
    const double own = MANAGEMENT_B_S * sim_series_mean(key_of(r, pif, "own", index), USE_DEPTH, from, to);

    return index > 1 || !sim_bool(pif, "currently_attached") ? 0 : own + (index == 0 ? f.in : f.out);
}

bool sim_rrd_is_here(const struct sim_rrd *r, const struct sim_object *o)
{
    return strcmp(sim_text(o, "host"), r->pool->host_refs[r->host]) == 0;
}

bool sim_rrd_is_counted(const struct sim_rrd *r, const struct sim_object *pif)
{
    return sim_rrd_is_here(r, pif) && sim_bool(pif, "physical");
}

static double pifs_value(const struct sim_rrd *r, unsigned index, int64_t from, int64_t to)
{
    double sum = 0;

    for (const struct sim_object *pif = sim_first(r->pool, "PIF"); pif; pif = pif->class_next)
        if (sim_rrd_is_counted(r, pif))
            sum += pif_value(r, pif, index, from, to);
    return sum;
}

/* ---- values ---- */

/* How a VM's processors share the time: none of them runs, all of them, or some; nobody ever waits. */
static double runstate(struct sim_rrd *r, const struct sim_object *vm, unsigned index, int64_t from, int64_t to)
{
    double use = 0;

    for (unsigned i = 0; i < sim_rrd_vcpus(vm); i++)
        use += vcpu(r, vm, i, from, to) / sim_rrd_vcpus(vm);
    return index == 0 ? use / 2 : index == 3 ? 1 - use : index == 4 ? use / 2 : 0;
}

static double vm_value(struct sim_rrd *r, const struct sim_ds *ds, int64_t from, int64_t to)
{
    const struct sim_object *const vm = ds->owner;
    const struct sim_part part = sim_history_part(vm->history, SIMPOOL_HOSTS_MAX, from - r->skew_s, to - r->skew_s);
    struct flow f = {0};
    double sum = 0;

    if (part.present < 0.5) /* as the archives: unknown when more than half of it is */
        return NAN;
    const double running = part.running / part.present;
    switch ((enum sim_ds_kind)ds->kind) {
    case VM_CPU:
        return running * vcpu(r, vm, ds->index, from, to);
    case VM_CPU_USAGE:
        for (unsigned i = 0; i < sim_rrd_vcpus(vm); i++)
            sum += vcpu(r, vm, i, from, to);
        return running * sum / sim_rrd_vcpus(vm);
    case VM_RUNSTATE:
        return running * runstate(r, vm, ds->index, from, to);
    case VM_MEMORY:
        return memory_b(r, vm);
    case VM_MEMORY_TARGET:
        return (double)(sim_int(vm, "memory_target") > 0 ? sim_int(vm, "memory_target")
                                                         : sim_int(vm, "memory_dynamic_max"));
    case VM_MEMORY_FREE: {
        const uint64_t key = key_of(r, vm, "memory", 0);
        return memory_b(r, vm) / 1024 * (0.2 + 0.4 * sim_series_share(key)) *
               sim_series_mean(key, running > 0 ? MEMORY_DEPTH : 0, from, to);
    }
    case VM_VIF:
    case VM_VBD:
        for (size_t i = 0; i < r->device_count; i++)
            if (r->devices[i].device == ds->device)
                add_flow(&f, &r->devices[i], running, from, to);
        if (ds->kind == VM_VBD)
            return io_value(&f, ds->index);
        return ds->index == 0 ? f.in : ds->index == 1 ? f.out : 0;
    default:
        return 0;
    }
}

static double xapi_value(struct sim_rrd *r, const struct sim_ds *ds, int64_t from, int64_t to)
{
    const uint64_t key = key_of(r, ds->owner, "xapi", 0);
    const double total = pick(key, 60000, 200000), live = 0.6 * sim_series_mean(key, MEMORY_DEPTH, from, to);

    switch (ds->index) {
    case 0:
        return total;
    case 1:
        return total * (1 - live);
    case 2:
        return total * live;
    case 3:
        return 4000 * sim_series_mean(key + 1, USE_DEPTH, from, to);
    default:
        return 90 * sim_series_mean(key + 2, MEMORY_DEPTH, from, to);
    }
}

static double domains(const struct sim_rrd *r, int64_t from, int64_t to)
{
    double count = 0;

    for (size_t i = 0; i < r->vm_count; i++)
        count += part_here(r, r->vms[i], from, to).running;
    return count;
}

static double storage_value(const struct sim_rrd *r, const struct sim_ds *ds, int64_t from, int64_t to)
{
    if (ds->kind != STORAGE)
        return (double)sim_int(ds->device, ds->kind == STORAGE_SIZE ? "physical_size" : "physical_utilisation");
    const struct flow f = flow_on(r, ds->device, from, to);
    return io_value(&f, ds->index);
}

static double value(struct sim_rrd *r, const struct sim_ds *ds, int64_t from, int64_t to)
{
    const struct sim_object *const host = ds->owner;
    const struct sim_object *metrics;

    switch ((enum sim_ds_kind)ds->kind) {
    case HOST_CPU:
        return host_cpu(r, ds, from, to);
    case HOST_CPU_AVG:
        return host_cpu_avg(r, host, from, to);
    case HOST_LOADAVG:
        return 0.3 * sim_series_mean(key_of(r, host, "loadavg", 0), USE_DEPTH, from, to);
    case HOST_LOAD:
        return host_load(r, from, to) / sim_rrd_processors(host);
    case HOST_VCPUS:
        return host_load(r, from, to);
    case HOST_DOMAINS:
        return domains(r, from, to);
    case HOST_MEMORY_TOTAL:
        metrics = sim_follow(r->pool, host, "metrics");
        return metrics ? (double)sim_int(metrics, "memory_total") / 1024 : NAN;
    case HOST_MEMORY_FREE:
        return host_memory_free_kib(r, host, from, to);
    case HOST_PIF:
        return pif_value(r, ds->device, ds->index, from, to);
    case HOST_PIFS:
        return pifs_value(r, ds->index, from, to);
    case HOST_XAPI:
        return xapi_value(r, ds, from, to);
    case STORAGE:
    case STORAGE_SIZE:
    case STORAGE_USED:
        return storage_value(r, ds, from, to);
    case ALWAYS_ZERO:
        return 0;
    default:
        return vm_value(r, ds, from, to);
    }
}

double sim_rrd_value(struct sim_rrd *r, const struct sim_ds *ds, int64_t from, int64_t to)
{
    /* Unknown when more than half of it is. */
    if (ds->since_s != INT64_MIN && ds->since_s + r->skew_s > from + (to - from) / 2)
        return NAN;
    return value(r, ds, from, to);
}

int64_t sim_rrd_floor(int64_t now_s, int64_t step_s)
{
    return now_s - now_s % step_s;
}
