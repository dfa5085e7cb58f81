/* What an agent does in a process of its own: be the server or the client of one test. */
#ifndef MESH_TASK_H
#define MESH_TASK_H

#include "lib/mesh/agent.h"
#include "lib/mesh/message.h"

/*
 * Both speak in messages of `ask->number` to `out`. The client reads from `go` when to begin: a struct mesh_go.
 * returns   0; a negative errno value with err filled.
 */
struct mesh_go {
    uint64_t at_ns; /* on this host's monotonic clock */
};
int mesh_task_serve(const struct mesh_message *ask, int out, const struct mesh_agent_settings *s, struct xk_err *err);
int mesh_task_run(const struct mesh_message *ask, int go, int out, const struct mesh_agent_settings *s,
                  struct xk_err *err);

#endif
