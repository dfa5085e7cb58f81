/* What the two halves of the data sources share: what there is (rrd-source.c) and what it measures (rrd-value.c). */
#ifndef LIB_SIMPOOL_RRD_PARTS_H
#define LIB_SIMPOOL_RRD_PARTS_H

#include "lib/simpool/rrd.h"

enum sim_ds_kind {
    VM_CPU,
    VM_CPU_USAGE,
    VM_RUNSTATE,
    VM_MEMORY,
    VM_MEMORY_TARGET,
    VM_MEMORY_FREE,
    VM_VIF,
    VM_VBD,
    HOST_CPU,
    HOST_CPU_AVG,
    HOST_LOADAVG,
    HOST_LOAD,
    HOST_VCPUS,
    HOST_DOMAINS,
    HOST_MEMORY_TOTAL,
    HOST_MEMORY_FREE,
    HOST_PIF,
    HOST_PIFS,
    HOST_XAPI,
    STORAGE,
    STORAGE_SIZE,
    STORAGE_USED,
    ALWAYS_ZERO,
};

/* A VM that was ever at the host. */
struct sim_use {
    struct sim_object *vm;
    uint64_t cpu_key, memory_key;
    double cpu_base, memory_b, present_now;
    unsigned vcpus;
    struct sim_part part; /* of the row, here */
};

/* What goes through a device, or through all on a network or a storage. */
struct sim_flow {
    const struct sim_object *on;
    double in, out, requests_in, requests_out, wait_s, delay_in_s, delay_out_s, weight;
};

/* A VIF or a VBD of such a VM. */
struct sim_device {
    struct sim_use *use;
    const struct sim_object *device;
    size_t place; /* its network, or its disk's storage */
    bool is_vif;
    uint64_t in_key, out_key;
    double in_b_s, out_b_s;         /* received and sent, or read and written */
    double in_block, out_block;     /* bytes of one request */
    double in_delay_s, out_delay_s; /* of one request */
    uint64_t row;                   /* for which the flow was computed */
    struct sim_flow flow;           /* while the VM runs */
};

/* Names of a VBD begin with its device, those of storage at a host end with its uuid's first digits. */
enum sim_io_metric {
    IO_READ,
    IO_WRITE,
    IO_READ_LATENCY,
    IO_WRITE_LATENCY,
    IO_THROUGHPUT_READ,
    IO_THROUGHPUT_WRITE,
    IO_THROUGHPUT_TOTAL,
    IO_IOPS_READ,
    IO_IOPS_WRITE,
    IO_IOPS_TOTAL,
    IO_IOWAIT,
    IO_INFLIGHT,
    IO_LATENCY,
    IO_QUEUE,
};

/* Processors of a VM, and of a host. */
unsigned sim_rrd_vcpus(const struct sim_object *vm);
unsigned sim_rrd_processors(const struct sim_object *host);
/* Whether a PBD or a PIF belongs to the host. */
bool sim_rrd_is_here(const struct sim_rrd *r, const struct sim_object *o);
/* Whether a PIF is an interface that the host's kernel counts: no VLAN or tunnel, whose traffic is that of what it
 * stands on. */
bool sim_rrd_is_counted(const struct sim_rrd *r, const struct sim_object *pif);

#endif
