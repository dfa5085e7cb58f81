/*
 * The audit log of the pool: who called what, with whom and what for, and whether he might. Read with GET /audit_log;
 * with --log FOLDER it stands in the folder of the host that was the master at the start, too.
 */
#ifndef LIB_SIMPOOL_AUDIT_H
#define LIB_SIMPOOL_AUDIT_H

#include "lib/simpool/inner.h"

#define SIM_AUDIT_BYTES_MAX (4u << 20) /* that are remembered; older lines are forgotten */

int sim_audit_open(struct simpool *p, struct xk_err *err);
void sim_audit_close(struct simpool *p);
/* A call is about to be carried out: what it names may be gone afterwards. */
void sim_audit_begin(struct sim_call *c);
/* It was, or (denied) it was not allowed. */
void sim_audit_end(struct sim_call *c, enum sim_outcome outcome, bool denied);
/* A session of a user of the directory begins or ends; uname: NULL: it ends. */
void sim_audit_session(struct simpool *p, const struct sim_session *s, const char *uname);
void sim_audit_download(struct simpool *p, struct http_exchange *x);

extern const struct sim_row sim_audit_rows[];

#endif
