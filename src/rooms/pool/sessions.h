/* Between cmd-sessions.c and sessions-tell.c. */
#ifndef ROOM_POOL_SESSIONS_H
#define ROOM_POOL_SESSIONS_H

#include "lib/sessionlog/sessionlog.h"
#include "rooms/pool/pool.h"

/* Everything but the sessions themselves: counts, limits, clients, and what is wrong with them. returns 0; -ENOMEM. */
int pool_sessions_tell(struct xk_app *app, const struct sessionlog_summary *sum);

#endif
