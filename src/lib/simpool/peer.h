/*
 * Requests that the pool makes of another pool, while its loop goes on.
 */
#ifndef LIB_SIMPOOL_PEER_H
#define LIB_SIMPOOL_PEER_H

#include "lib/simpool/inner.h"

/* What came of it. */
struct sim_peer_reply {
    int code; /* 0, or why there is none: a negative errno value */
    struct xapi_reply reply;
};

typedef enum sim_outcome sim_peer_done(struct sim_call *c, const struct sim_peer_reply *reply);

/*
 * POST a JSON document, and go on with the call when its JSON-RPC reply is there.
 *
 * url       http:// or https://, a host, a port or none, a path; certificates are not checked, as between real pools.
 * body      taken over.
 * done      says how the call goes on; may begin more work.
 * returns   SIM_WORKING; SIM_FAILED: the error was recorded (the URL is none, no memory).
 */
enum sim_outcome sim_peer_post(struct sim_call *c, const char *url, struct xk_buf *body, sim_peer_done *done);
/* The error that the far side answered, or that it could not be asked, as the error of the call. */
enum sim_outcome sim_peer_refuse(struct sim_call *c, const struct sim_peer_reply *reply, const char *url);
void sim_peers_close(struct simpool *p);

#endif
