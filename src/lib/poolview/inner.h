/* Between the parts of the library; nobody else includes this. */
#ifndef LIB_POOLVIEW_INNER_H
#define LIB_POOLVIEW_INNER_H

#include "lib/poolview/poolview.h"

#define POOLVIEW_ORIGINATOR "xenkit-checkup"

/* Seconds since 1970 of a time on the wire; 0: it is none. */
int64_t poolview_seconds(const struct xapi_value *v);

/* ---- visit.c ---- */

/*
 * Ask every host that lives, side by side. `c` is logged in and stays unused meanwhile.
 * returns   0; -ENOMEM. What a host does not say is unknown.
 */
int poolview_visit_all(struct poolview *v, struct xk_app *app, const struct client *c, unsigned asks,
                       struct xk_err *err);
/* The SHA-256 of a host's certificate as the pool has it; NULL: it does not. */
const char *poolview_fingerprint(const struct poolview *v, const char *host);
/* Its port is open, or nobody knows; when it is not, the check of ports says so. */
bool poolview_has_port(const struct poolview_visit *visit);
/* Where a host is asked itself, for client_open_beside(): NULL for the master, which is asked already. */
const char *poolview_place(const struct poolview *v, uint32_t host);

/* ---- load.c ---- */

/* What an export of metrics (XML) says of a host. returns   0; -EBADMSG; -EFBIG; -ENOMEM. */
int poolview_load_decode(struct poolview_load *ret, const char *xml, size_t bytes, const char *host_uuid,
                         struct xk_err *err);

/* ---- the checks ---- */

struct poolview_subject {
    struct poolview *views;
    size_t count;
};

#define FOR_EACH_VIEW(v, subject)                                                                                      \
    for (const struct poolview *v = ((const struct poolview_subject *)(subject))->views;                               \
         v <                                                                                                           \
         ((const struct poolview_subject *)(subject))->views + ((const struct poolview_subject *)(subject))->count;    \
         v++)
#define FOR_EACH(index, v, class) for (uint32_t index = 0; index < poolview_count(v, class); index++)

typedef int poolview_check(const struct xk_check *check, const void *subject, struct xk_findings *sink,
                           struct xk_err *err);

/* checks-host.c */
extern poolview_check poolview_check_live, poolview_check_enabled, poolview_check_master, poolview_check_versions,
    poolview_check_clocks, poolview_check_ntp, poolview_check_certificates, poolview_check_ports, poolview_check_memory,
    poolview_check_cpu, poolview_check_latency, poolview_check_silent, poolview_check_metrics;
/* checks-pool.c */
extern poolview_check poolview_check_reached, poolview_check_slave, poolview_check_tasks, poolview_check_messages,
    poolview_check_space, poolview_check_chains, poolview_check_ha, poolview_check_tools, poolview_check_old_tools,
    poolview_check_sessions;

const char *poolview_host_name(const struct poolview *v, const char *ref);

#endif
