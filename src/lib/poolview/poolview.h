/*
 * A pool as it was at one moment: the records of the classes that say how it is, and what its hosts said when each was
 * asked; and the checks over it.
 */
#ifndef POOLVIEW_H
#define POOLVIEW_H

#include "core/check.h"
#include "lib/client/client.h"
#include "lib/portscan/portscan.h"
#include "lib/sessionlog/sessionlog.h"

#define POOLVIEW_HOSTS_MAX      1024
#define POOLVIEW_THREADS        64                 /* hosts asked at the same time */
#define POOLVIEW_DEADLINE_NS    (10 * XK_NS_PER_S) /* for each thing that a host is asked */
#define POOLVIEW_LOGS_NS        (60 * XK_NS_PER_S) /* for the master's logs */
#define POOLVIEW_LOAD_S         600                /* how far back its load is looked at */
#define POOLVIEW_LOAD_ROWS_MIN  3                  /* minutes of it that have to be known */
#define POOLVIEW_DISKS_MAX      64                 /* storage repositories of a host whose latency is looked at */
#define POOLVIEW_PORTS_MAX      2
#define POOLVIEW_SHORT_ID_BYTES 9 /* the first eight digits of a uuid, as names of metrics have them */

/* get_all_records of a class: pairs of ref and record; an empty map when the release has no such class. */
enum poolview_class {
    POOLVIEW_POOL,
    POOLVIEW_HOST,
    POOLVIEW_HOST_METRICS,
    POOLVIEW_VM,
    POOLVIEW_VM_METRICS,
    POOLVIEW_GUEST_METRICS,
    POOLVIEW_TASK,
    POOLVIEW_SR,
    POOLVIEW_VDI,
    POOLVIEW_MESSAGE,
    POOLVIEW_CERTIFICATE,
    POOLVIEW_CLASSES,
};

struct poolview_clock {
    bool known;
    double skew_s;  /* of the host against this machine; positive: the host is ahead */
    double bound_s; /* the truth lies within skew ± bound */
    char why[128];  /* when it is not known */
};

/* How the host's clock is kept, where its release tells. */
struct poolview_ntp {
    bool known;
    char mode[24]; /* DHCP, Custom, Factory, Disabled */
    bool sync_known, synchronised;
    char servers[256]; /* each with what chrony thinks of it; "" when there are none */
};

/* The certificate that the host shows when TLS begins. */
struct poolview_certificate {
    bool known;
    int64_t from_s, until_s;
};

/* Whom the host takes for the master. */
struct poolview_role {
    bool known, is_master;
    char master[RESOLVE_NAME_BYTES]; /* the address that a slave names */
    char why[128];                   /* known: the error that it answers with instead; else why it was not asked */
    int code;                        /* not known: as client_call() returned it */
};

struct poolview_series {
    unsigned rows; /* minutes whose value is known; 0: the others mean nothing */
    double mean, min, max;
};

struct poolview_disk {
    char sr[POOLVIEW_SHORT_ID_BYTES];
    struct poolview_series latency_us, iops;
};

/* What the host measured in the last POOLVIEW_LOAD_S seconds of its clock, minute by minute. */
struct poolview_load {
    bool known;
    int64_t from_s, until_s;
    struct poolview_series cpu;             /* share of all its processors, 0 … 1 */
    struct poolview_series memory_free_kib; /* of the hypervisor */
    struct poolview_disk disks[POOLVIEW_DISKS_MAX];
    unsigned disk_count;
    char why[128]; /* when it is not known */
};

/* Everything that was asked of one host. */
struct poolview_visit {
    struct poolview_clock clock;
    struct poolview_ntp ntp;
    struct poolview_certificate certificate;
    struct poolview_role role;
    struct poolview_load load;
    struct portscan_port ports[POOLVIEW_PORTS_MAX];
    unsigned port_count;
};

/* The sessions of the master's logs. */
struct poolview_sessions {
    struct sessionlog *log;             /* NULL: they could not be had, or were not asked for */
    struct sessionlog_summary *summary; /* lives as long as the log */
};

struct poolview {
    const char *url;
    struct xk_arena arena;
    struct xapi_value records[POOLVIEW_CLASSES];
    struct poolview_visit *visits; /* of each host, in the order of its records; NULL: nothing was asked of hosts */
    struct poolview_sessions sessions;
    uint16_t port;      /* where the XenAPI is reached; 0: through a socket */
    int64_t now_s;      /* by this machine's clock */
    int64_t pool_now_s; /* by the master's, which the times in records are of; now_s when it is not known */
    bool reached;
    struct xk_err why; /* when it was not reached */
    char *master;      /* the address that a slave sent us to; NULL: the master was asked */
};

enum poolview_ask {
    POOLVIEW_ASK_CLOCK = 1,
    POOLVIEW_ASK_NTP = 2,
    POOLVIEW_ASK_CERTIFICATE = 4,
    POOLVIEW_ASK_ROLE = 8,
    POOLVIEW_ASK_LOAD = 16,
    POOLVIEW_ASK_PORTS = 32,
    POOLVIEW_ASK_SESSIONS = 64, /* of the master alone */
    POOLVIEW_ASK_ALL = 127,
};

/* Which classes are wanted: bits 1 << enum poolview_class; what every live host is asked: bits of enum poolview_ask. */
struct poolview_wanted {
    unsigned classes, asks;
};

/*
 * Ask a pool. returns 0, also when it could not be reached (ret->reached is false then); -ENOMEM; -EINTR; -EINVAL: the
 * access is not said right. End it with poolview_done() in any case.
 */
int poolview_take(struct poolview *ret, struct xk_app *app, const char *url, const struct client_access *access,
                  const struct poolview_wanted *wanted, struct xk_err *err);
void poolview_done(struct poolview *v);

uint32_t poolview_count(const struct poolview *v, enum poolview_class c);
const char *poolview_ref(const struct poolview *v, enum poolview_class c, uint32_t index);
const struct xapi_value *poolview_record(const struct poolview *v, enum poolview_class c, uint32_t index);
/* NULL: no such ref. */
const struct xapi_value *poolview_find(const struct poolview *v, enum poolview_class c, const char *ref);
/* Fields of a record; what is missing or of another shape is "", 0, false. */
const char *poolview_text(const struct xapi_value *record, const char *field);
int64_t poolview_int(const struct xapi_value *record, const char *field);
double poolview_real(const struct xapi_value *record, const char *field);
bool poolview_truth(const struct xapi_value *record, const char *field);
/* Seconds since 1970 of a time; 0: none. */
int64_t poolview_time(const struct xapi_value *record, const char *field);
bool poolview_host_lives(const struct poolview *v, const struct xapi_value *host);
bool poolview_host_is_master(const struct poolview *v, const char *ref);
/* The time that a host's own clock shows; that of this machine's when it is not known. */
int64_t poolview_host_now(const struct poolview *v, uint32_t host);
/* "has ended", "has not begun"; NULL: it is valid at that time. */
const char *poolview_certificate_problem(const struct poolview_certificate *c, int64_t now_s);

/*
 * Add the ports of a host that this machine needs: that of the XenAPI, and the shell's unless it is shut or this is a
 * host itself. Behind an unusual port of the XenAPI there is something that forwards it, and whether the shell's is
 * forwarded, too, nobody knows.
 *
 * host      its record.
 * returns   0; -ENOMEM.
 */
int poolview_list_ports(struct portscan_list *list, const struct poolview *v, const struct xapi_value *host);
/*
 * Read the logs of a host over the network (/host_logs_download) into `log`. The pool's records of the class
 * Certificate say whom to trust.
 *
 * returns   0; -EREMOTEIO: the host does not give them; what client_download_read() and sessionlog_add_stream() return.
 */
int poolview_add_logs(struct sessionlog *log, const struct poolview *v, const struct client *c, uint32_t host,
                      const struct client_manner *manner, struct xk_err *err);

extern const struct xk_check pool_checks[];
extern const struct xk_check_set pool_check_set;

#endif
