/*
 * Who measures whom, in which order.
 *
 * A plan is hosts and patterns. It is laid out as steps; in a step all flows run at the same time.
 */
#ifndef MESH_PLAN_H
#define MESH_PLAN_H

#include "core/err.h"
#include "core/opt.h"
#include "lib/resolve/resolve.h"

#define MESH_HOSTS_MAX      64u
#define MESH_WORDS_MAX      32u          /* of the command that starts an agent */
#define MESH_PLAN_BYTES_MAX (256u << 10) /* of a plan's file */
#define MESH_NAME_BYTES     64

enum mesh_pattern {
    MESH_PAIRS,  /* rounds in which nobody has two partners, each pair once in either direction: the quality of links */
    MESH_ALL,    /* everybody to everybody at once: the load that a fabric bears */
    MESH_INCAST, /* all others to one, each in turn */
    MESH_OUTCAST, /* one to all others, each in turn */
    MESH_PATTERNS,
};
const char *mesh_pattern_name(enum mesh_pattern p);
/* returns 0; -EINVAL: there is none of that name. */
int mesh_pattern_find(enum mesh_pattern *ret, const char *name, struct xk_err *err);

struct mesh_host {
    char name[MESH_NAME_BYTES];
    char address[RESOLVE_NAME_BYTES];      /* where the others reach it: an address or a name */
    char *command[MESH_WORDS_MAX + 1];     /* starts its agent; NULL-ended, empty: see endpoint */
    char endpoint[RESOLVE_NAME_BYTES + 8]; /* HOST:PORT of an agent that listens; "": see command */
};

struct mesh_plan {
    struct mesh_host hosts[MESH_HOSTS_MAX];
    unsigned host_count;
    bool patterns[MESH_PATTERNS];
    uint64_t seconds, streams;
    uint64_t rate_bps;  /* of each stream; 0: as fast as it goes */
    uint64_t probe_bps; /* UDP beside each pair, for loss; 0: none */
};

/*
 * Read {"hosts":[{"name","address","command":[…]|"agent":"HOST:PORT"},…], "patterns":[…], "seconds", "streams",
 * "rate_bps", "probe_rate_bps"}. What is left out stays as it is in `ret`; a member that is not known is refused.
 *
 * returns   0; -EINVAL with what is wrong where; -ENOMEM. `ret` is to be ended by mesh_plan_done() in any case.
 */
int mesh_plan_decode(struct mesh_plan *ret, const char *json, size_t bytes, struct xk_err *err);
/* One more host. command   words; {} in them stands for the name. returns 0; -EINVAL: twice, too many, no name. */
int mesh_plan_add(struct mesh_plan *p, const char *name, const char *address, const char *const *command,
                  const char *endpoint, struct xk_err *err);
void mesh_plan_done(struct mesh_plan *p);
/* The words of a command, parted by spaces, NULL-ended; `text` is cut up and holds them. returns 0; -EINVAL. */
int mesh_plan_split(const char *ret[MESH_WORDS_MAX + 1], char *text, struct xk_err *err);
/* The patterns of a command line; without any the plan's own stay. returns 0; -EINVAL. */
int mesh_plan_choose(struct mesh_plan *p, const struct xk_words *names, struct xk_err *err);

struct mesh_pair {
    unsigned char from, to;
};
/* The flows of one step. returns how many; 0: the pattern has no such step. */
unsigned mesh_plan_step(struct mesh_pair ret[MESH_HOSTS_MAX * MESH_HOSTS_MAX], enum mesh_pattern pattern,
                        unsigned hosts, unsigned step);

#endif
