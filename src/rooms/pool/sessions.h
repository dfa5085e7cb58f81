/* Between cmd-sessions.c, sessions-tell.c and sessions-live.c. */
#ifndef ROOM_POOL_SESSIONS_H
#define ROOM_POOL_SESSIONS_H

#include "lib/client/client.h"
#include "lib/sessionlog/sessionlog.h"
#include "rooms/pool/pool.h"

/* Everything but the sessions themselves: counts, limits, clients, and what is wrong with them. returns 0; -ENOMEM. */
int pool_sessions_tell(struct xk_app *app, const struct sessionlog_summary *sum);

struct pool_sessions_live;
/*
 * Add the logs of a pool's hosts, fetched from each.
 * ret       to be closed in any case; NULL: there is none.
 * returns   0 when those of one host could be had; as client_open(); -EREMOTEIO.
 */
int pool_sessions_live_open(struct pool_sessions_live **ret, struct sessionlog *log, struct xk_app *app,
                            const char *pool, const struct client_access *access, struct xk_err *err);
void pool_sessions_live_close(struct pool_sessions_live *live);
static inline void pool_sessions_live_closep(struct pool_sessions_live *const *live)
{
    pool_sessions_live_close(*live);
}
/* Whose logs were read, and who is logged in through a directory. */
void pool_sessions_live_tell(const struct pool_sessions_live *live, struct xk_out *out);

#endif
