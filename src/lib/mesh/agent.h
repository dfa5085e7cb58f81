/*
 * An agent of a mesh: does on its host what the coordinator at the other end of a stream asks for.
 *
 * Servers and clients of a test run in processes of their own, which end with the agent, and the agent ends with the
 * stream: nothing is left behind when a coordinator dies.
 */
#ifndef MESH_AGENT_H
#define MESH_AGENT_H

#include "core/clock.h"
#include "core/err.h"

#define MESH_TASKS_MAX 512u /* servers and clients at the same time */

struct mesh_agent_settings {
    const struct xk_clock *clock;
    struct xk_random *random;
    const char *program; /* "xenkit 1.2.3" */
};

/*
 * Serve one coordinator until its end of the stream closes or a stop is asked for.
 *
 * in, out   may be the same.
 * returns   0; -EBADMSG: the coordinator says what no coordinator says; errors of the stream.
 */
int mesh_agent_serve(int in, int out, const struct mesh_agent_settings *s, struct xk_err *err);

#endif
