/*
 * The log that a host of the pool writes: xensource.log, in the words of the release that the pool plays.
 *
 * Never a live session's ref: only its trackid, the MD5 of it, as the real server. Every function does nothing when no
 * log was asked for.
 */
#ifndef LIB_SIMPOOL_LOG_H
#define LIB_SIMPOOL_LOG_H

#include "lib/simpool/inner.h"

#define SIM_LOG_LINE_BYTES_MAX 8192 /* what is longer is cut, as a syslog does */

/* What stands for a session in logs and errors: the MD5 of its ref, in hexadecimal. */
#define SIM_TRACKID_BYTES 33
void sim_trackid(char ret[SIM_TRACKID_BYTES], const char *ref);

enum sim_level { SIM_LOG_DEBUG, SIM_LOG_INFO, SIM_LOG_WARN, SIM_LOG_ERROR };

/*
 * Where a line comes from.
 *
 * thread    its name, such as "db_gc"; NULL: that of a connection.
 * client    its address; NULL: the host itself.
 * task      the word between the bars, "" for none.
 */
struct sim_source {
    unsigned host;
    const char *thread, *client, *task, *brand;
};

int sim_log_open(struct simpool *p, struct xk_err *err);
/* A host is new: where each has a file of its own, it gets one. */
void sim_log_join(struct simpool *p, unsigned host);
void sim_log_close(struct simpool *p);
/* The file that has a host's lines. NULL: none, or those of several hosts and this is not the master. */
const char *sim_log_path(const struct simpool *p, unsigned host);
void sim_log(struct simpool *p, const struct sim_source *from, enum sim_level level, const char *format, ...)
    XK_PRINTF(4, 5);

/* A host's toolstack starts. */
void sim_log_start(struct simpool *p, unsigned host);
void sim_log_auth_failed(struct sim_call *c, const char *user, const char *why);
/* sid: of a user of the directory; NULL: of the host itself. */
void sim_log_login(struct sim_call *c, const char *user, const char *sid);
void sim_log_session_create(struct sim_call *c, const struct sim_session *s, const char *user, const char *originator);
/* c     the call that ended it; NULL: a request that was no call. */
void sim_log_session_destroy(struct simpool *p, struct sim_call *c, const struct sim_session *s);
void sim_log_session_wrong(struct sim_call *c, const char *ref);
/* A pass of the collector begins; it tells how many sessions there are, every ten minutes. */
void sim_log_pass(struct simpool *p);
void sim_log_too_many(struct simpool *p, const char *group, unsigned disposable, unsigned all, unsigned limit);
/* It ends a session, because of its age or because there are too many. */
void sim_log_collected(struct simpool *p, const struct sim_session *s, bool old);
void sim_log_async(struct sim_call *c);
void sim_log_failed(struct sim_call *c);

#endif
