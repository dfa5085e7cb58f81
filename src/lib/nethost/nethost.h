/*
 * What a host's network stack says about itself: interfaces and their losses, the work of soft interrupts, processors,
 * queue disciplines, offloads.
 *
 * Counters are read twice, and nethost_since() gives what happened in between. Text files are read below a root
 * directory ("" for none); what only the running kernel answers is unknown for any other.
 */
#ifndef NETHOST_H
#define NETHOST_H

#include "core/err.h"

#include <net/if.h>
#include <sys/socket.h>

#define NETHOST_INTERFACES_MAX 1024 /* looked at; a host with more guests is told without the rest */
#define NETHOST_PROCESSORS_MAX 1024
#define NETHOST_QDISCS_MAX     64
#define NETHOST_FILE_BYTES_MAX (4u << 20)

struct nethost_interface {
    char name[IFNAMSIZ];
    uint64_t rx_packets, rx_errors, rx_dropped, tx_packets, tx_errors, tx_dropped; /* overruns are errors */
};

/* Ticks of a processor. */
struct nethost_processor {
    uint64_t total, idle, softirq, steal;
    bool online, allowed; /* allowed: this process may run on it */
};

struct nethost_counters {
    struct nethost_interface interfaces[NETHOST_INTERFACES_MAX];
    unsigned interface_count;
    struct nethost_processor processors[NETHOST_PROCESSORS_MAX]; /* by number */
    unsigned processor_count;
    uint64_t softnet_processed, softnet_dropped, softnet_squeezed;
    bool has_interfaces, has_processors, has_softnet;
};

/* Never fails: what cannot be read is not there. */
void nethost_read(struct nethost_counters *ret, const char *root);
/* now − then. An interface that was not there before counts from its own zero; one that is gone is left out. */
void nethost_since(struct nethost_counters *now, const struct nethost_counters *then);
const struct nethost_interface *nethost_find(const struct nethost_counters *c, const char *name);
/* The two files' texts; for tests and the fuzzer. */
void nethost_parse_dev(struct nethost_counters *ret, const char *text);
void nethost_parse_softnet(struct nethost_counters *ret, const char *text);
void nethost_parse_stat(struct nethost_counters *ret, const char *text);

enum nethost_offload {
    NETHOST_TSO,
    NETHOST_GSO,
    NETHOST_GRO,
    NETHOST_TX_CHECKSUM,
    NETHOST_RX_CHECKSUM,
    NETHOST_SCATTER,
    NETHOST_OFFLOADS,
};
const char *nethost_offload_name(enum nethost_offload which); /* "tso", as a program's member */

/* The interface that traffic takes. */
struct nethost_link {
    char name[IFNAMSIZ]; /* "": unknown */
    unsigned index;
    uint32_t mtu;                   /* 0: unknown */
    int offloads[NETHOST_OFFLOADS]; /* 1 on, 0 off, -1 unknown */
    char qdisc[IFNAMSIZ];           /* of its root; "": unknown */
};

struct nethost_qdisc {
    char kind[IFNAMSIZ];
    unsigned index;          /* of the interface */
    uint32_t handle, parent; /* parent of a root one: TC_H_ROOT */
    uint64_t packets, bytes, drops, overlimits, requeues, queued_packets, queued_bytes;
};

/* The interface that has this address of our own. All unknown when there is none. */
void nethost_link_read(struct nethost_link *ret, const struct sockaddr *local);
/* Queue disciplines of an interface (index 0: of all). returns how many; a negative errno value. */
int nethost_qdiscs_read(struct nethost_qdisc ret[NETHOST_QDISCS_MAX], unsigned index);
/* One reply of the kernel. returns how many were added; for tests and the fuzzer. */
unsigned nethost_qdiscs_parse(struct nethost_qdisc *ret, unsigned room, const void *reply, size_t bytes,
                              bool *ret_done);

#endif
