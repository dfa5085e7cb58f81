/* A coordinator's stream to one agent: a process that was started for it, whose standard streams it is. */
#ifndef MESH_LINK_H
#define MESH_LINK_H

#include "lib/mesh/line.h"
#include "lib/mesh/run.h"

#include <sys/types.h>

struct mesh_link {
    const struct mesh_host *host;
    pid_t pid; /* of the command, or of the process that carries TLS */
    int fd, err_fd;
    bool alive;
    struct mesh_reader reader;
    char last_words[MESH_WHY_BYTES]; /* what the process wrote to its standard error last */
    uint64_t heard_ns;
    bool greeted;
    /* the clock */
    uint64_t asked_ns, asked_number, best_rtt_ns;
    int64_t offset_ns; /* the agent's clock less this one */
    unsigned samples;
};

/* returns 0; a negative errno value with err filled. */
int mesh_link_start(struct mesh_link *l, const struct mesh_host *host, const struct mesh_run_settings *s,
                    struct xk_err *err);
/* What came on the standard error. */
void mesh_link_hear_error(struct mesh_link *l);
/* Ends the agent, too. */
void mesh_link_close(struct mesh_link *l);

#endif
