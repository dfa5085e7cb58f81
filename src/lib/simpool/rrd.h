/*
 * Metrics: what hosts, VMs and storage measure about themselves, and for how long.
 *
 * Nothing is stored. A measurement is a function of the object's uuid, the data source and the time, so any two
 * requests agree, every archive is the exact mean of the finer ones, and a year is there at the start. The only
 * thing remembered is which VM ran where and when (struct sim_history): a host's processors are as busy as the VMs
 * that ran on it at that time.
 */
#ifndef LIB_SIMPOOL_RRD_H
#define LIB_SIMPOOL_RRD_H

#include "lib/simpool/inner.h"

#define SIM_SPANS_MAX    512 /* changes of one VM that are remembered */
#define SIM_MARKS_MAX    4096
#define SIM_SOURCES_MAX  65536 /* columns of one reply */
#define SIM_DS_NAME      80
#define SIM_RRD_STEP_S   5
#define SIM_RRD_ARCHIVES 4

/* What somebody asked to be recorded, or forgotten. */
struct sim_mark {
    char ref[SIM_REF_BYTES], name[SIM_DS_NAME];
    bool enabled;
    int64_t since_s;
};

struct sim_archive {
    uint32_t rows, steps;
};
extern const struct sim_archive sim_archives[SIM_RRD_ARCHIVES];

/* ---- series: rrd-series.c ---- */

/* A number that belongs to an object, by its uuid, and to what is measured of it. */
uint64_t sim_series_key(const char *object, const char *what);
/* In [0, 1), from a key. */
double sim_series_share(uint64_t key);

#define SIM_SERIES_STEPS 13

/* A second, as far as all series have it in common. */
struct sim_instant {
    int64_t t;
    uint64_t pairs[SIM_SERIES_STEPS];
    double parts[SIM_SERIES_STEPS], wave;
};

void sim_instant_at(struct sim_instant *ret, int64_t t);
/* The mean over the seconds [from, to) of something that swings around 1, at most `depth` to either side. */
double sim_series_between(uint64_t key, double depth, const struct sim_instant *from, const struct sim_instant *to);
double sim_series_mean(uint64_t key, double depth, int64_t from, int64_t to);

/* ---- who ran where: rrd-history.c ---- */

enum sim_presence { SIM_ABSENT, SIM_PAUSED, SIM_RUNNING };

/*
 * The state that a VM has from now on. Called for each change of its power_state or resident_on; during the filling of
 * the pool nothing is remembered: what it is then it was for ever.
 */
void sim_history_note(struct simpool *p, struct sim_object *vm);
/* The pool is filled: histories begin. */
void sim_history_begin(struct simpool *p);
void sim_history_free(struct sim_history *h);
/* The part of [from, to) for which a VM ran (and ran or was paused) on a host; host SIMPOOL_HOSTS_MAX: on any. */
struct sim_part {
    double running, present;
};
struct sim_part sim_history_part(const struct sim_history *h, unsigned host, int64_t from, int64_t to);
/* Whether it was ever on that host; host SIMPOOL_HOSTS_MAX: on any. */
bool sim_history_visits(const struct sim_history *h, unsigned host);
/* Where it was last; SIMPOOL_HOSTS_MAX: nowhere. */
unsigned sim_history_place(const struct sim_history *h);
/* When it ended last; INT64_MAX: it has not. */
int64_t sim_history_end(const struct sim_history *h);

/* ---- data sources: rrd-source.c ---- */

enum sim_ds_type { SIM_DS_GAUGE, SIM_DS_DERIVE, SIM_DS_ABSOLUTE };

struct sim_ds {
    char name[SIM_DS_NAME];
    const char *units, *description;
    char about[SIM_DS_NAME]; /* what the description speaks of, in place of its %s */
    enum sim_ds_type type;
    bool standard; /* recorded without being asked to */
    bool enabled;
    double max;
    int64_t since_s; /* nothing before; INT64_MIN: for ever */
    uint8_t kind;    /* what it measures, known to rrd-source.c */
    unsigned index;
    const struct sim_object *owner, *device;
    struct sim_use *use;   /* of a VM's */
    struct sim_device *on; /* of a VIF's or VBD's */
};

/* What is measured at one host, as one request sees it. */
struct sim_rrd {
    struct simpool *pool;
    unsigned host;
    int64_t now_s, skew_s; /* by the host's clock; what that is ahead of the pool's */
    struct sim_use *vms;   /* that were ever here */
    size_t vm_count;
    struct sim_device *devices; /* of them */
    size_t device_count;
    struct sim_flow *places; /* the networks and storages that the devices are on */
    size_t place_count;
    struct sim_ds *sources; /* of all owners, in order */
    size_t source_count, source_room;
    /* The row that is looked at, and what all of its values have in common. */
    struct sim_instant from, to;
    uint64_t row, row_of_host; /* numbers of rows; host: for which the sums were made */
    double load, domains, memory_b;
    /* whose sources are being added */
    struct sim_use *adding;
    struct sim_device *adding_device;
    int error;
};

void sim_rrd_open(struct sim_rrd *r, struct simpool *p, unsigned host);
void sim_rrd_close(struct sim_rrd *r);
/* Append the sources of a host, a VM or an SR; also those that nobody has enabled when `all`. */
void sim_rrd_add(struct sim_rrd *r, const struct sim_object *owner, bool all);
/* The mean over [from, to); NaN: not measured then. */
double sim_rrd_value(struct sim_rrd *r, const struct sim_ds *ds, int64_t from, int64_t to);
/* `from` of the archive's row that is complete at `now`. */
int64_t sim_rrd_floor(int64_t now_s, int64_t step_s);
void sim_rrd_describe(const struct sim_ds *ds, char *ret, size_t bytes);

/* Somebody asked to record a source, or to forget what it has recorded. -ENOSPC: more than SIM_MARKS_MAX. */
int sim_rrd_mark(struct simpool *p, const struct sim_ds *ds, bool enabled);

/* ---- requests: rrd.c ---- */

void sim_rrd_updates(struct simpool *p, struct http_exchange *x);
void sim_rrd_host(struct simpool *p, struct http_exchange *x);
void sim_rrd_vm(struct simpool *p, struct http_exchange *x);
void sim_rrd_sr(struct simpool *p, struct http_exchange *x);

#endif
