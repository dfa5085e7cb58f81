/*
 * The coordinator of a mesh: starts the agents, lets them measure step by step, collects what they say.
 *
 * All flows of a step begin at one time: the difference between an agent's clock and this one is taken from the
 * question with the shortest round trip, and what is left of it is reported as the spread. An agent that dies, is
 * silent or says what no agent says is given up with the reason; whatever does not need it goes on.
 */
#ifndef MESH_RUN_H
#define MESH_RUN_H

#include "core/clock.h"
#include "lib/mesh/message.h"
#include "lib/mesh/plan.h"
#include "lib/mesh/tls.h"

#define MESH_WHY_BYTES 256

/* One measurement from a host to another. */
struct mesh_flow {
    struct mesh_pair pair;
    enum mesh_pattern pattern;
    unsigned step;
    bool done;   /* else `why` says what stopped it */
    bool probed; /* loss is known */
    char why[MESH_WHY_BYTES];
    double received_bps, cpu_percent, peer_cpu_percent; /* of the sending and the receiving process, in one processor */
    double rtt_p50_ms, rtt_p99_ms;                      /* under this load; 0: unknown */
    uint64_t echoes;                                    /* that these come from; 0: from what TCP says of itself */
    uint64_t retransmits;
    double loss_percent, jitter_ms; /* of the probe */
    int64_t begin_ns;               /* after the time that was agreed on, by this clock */
};

/* What is known of a host. */
struct mesh_agent {
    bool alive; /* at the end */
    char why[MESH_WHY_BYTES];
    char address[INET6_ADDRSTRLEN];
    struct mesh_message hello, look;
    uint64_t clock_error_ns; /* largest half round trip that an offset was taken from */
};

struct mesh_result {
    unsigned hosts;
    struct mesh_agent agents[MESH_HOSTS_MAX];
    struct mesh_flow *flows;
    size_t count, capacity;
    uint64_t spread_ns;      /* between the first and the last flow of a step, the largest */
    uint64_t load_spread_ns; /* the same of the patterns that load the network with all flows of a step together */
};

struct mesh_run_settings {
    const struct xk_clock *clock;
    const char *root;           /* as resolve.h has it */
    const struct mesh_key *key; /* for agents that listen; NULL: there are none */
    void *context;
    /* A flow has ended; may be NULL. */
    void (*on_flow)(void *context, const struct mesh_flow *flow);
};

/*
 * Measure what the plan says.
 *
 * ret       to be ended by mesh_result_done() in any case. Hosts that failed are in it, with their reasons.
 * returns   0; -EINTR: a stop was asked for, `ret` has what there is; -EHOSTUNREACH: less than two agents answered;
 *           -ENOMEM.
 */
int mesh_run(struct mesh_result *ret, const struct mesh_plan *plan, const struct mesh_run_settings *settings,
             struct xk_err *err);
void mesh_result_done(struct mesh_result *r);

/* How the flows of a step are measured, for whoever reaches the agents in a way of his own. */
struct mesh_steps {
    void *context;
    /* Measure them all at once; probe: their UDP second. returns 0; negative errno values, which end it. */
    int (*perform)(void *context, struct mesh_flow *flows, unsigned count, bool probe);
    /* The step is over; may be NULL. */
    void (*ended)(void *context, struct mesh_flow *flows, unsigned count);
};
/*
 * All steps of all patterns of the plan, one after the other; their flows go into `ret`.
 * returns   0; -ENOMEM; what perform() gave.
 */
int mesh_steps_run(struct mesh_result *ret, const struct mesh_plan *plan, const struct mesh_steps *steps,
                   struct xk_err *err);
/* The flow of MESH_PAIRS from a host to another; NULL: there is none. */
const struct mesh_flow *mesh_result_pair(const struct mesh_result *r, unsigned from, unsigned to);
/* The flows of a step of that pattern began within `spread_ns`. */
void mesh_result_spread(struct mesh_result *r, enum mesh_pattern pattern, uint64_t spread_ns);
/* Take what a MESH_RESULT says; probe: of the flow's UDP second. */
void mesh_flow_take(struct mesh_flow *f, const struct mesh_message *result, bool probe);

#endif
