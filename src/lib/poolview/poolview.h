/*
 * A pool as it was at one moment: the records of the classes that say how it is, and the clocks of its hosts; and the
 * checks over it.
 */
#ifndef POOLVIEW_H
#define POOLVIEW_H

#include "core/check.h"
#include "lib/client/client.h"

#define POOLVIEW_HOSTS_MAX   1024
#define POOLVIEW_THREADS     16                 /* hosts asked at the same time */
#define POOLVIEW_DEADLINE_NS (10 * XK_NS_PER_S) /* for each thing that is asked */

/* get_all_records of a class: pairs of ref and record; an empty map when the release has no such class. */
enum poolview_class {
    POOLVIEW_POOL,
    POOLVIEW_HOST,
    POOLVIEW_HOST_METRICS,
    POOLVIEW_VM,
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

struct poolview {
    const char *url;
    struct xk_arena arena;
    struct xapi_value records[POOLVIEW_CLASSES];
    struct poolview_clock *clocks; /* of each host, in the order of its records */
    int64_t now_s;
    bool reached;
    struct xk_err why; /* when it was not reached */
    char *master;      /* the address that a slave sent us to; NULL: the master was asked */
};

/* Which classes are wanted: bits 1 << enum poolview_class; clocks: ask every live host for its time, too. */
struct poolview_wanted {
    unsigned classes;
    bool clocks;
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

extern const struct xk_check pool_checks[];
extern const struct xk_check_set pool_check_set;

#endif
