/*
 * A host that joins another pool: pool.join between two `xenkit sim` on one machine.
 *
 * The pool of one host sends its records to the other pool's master, then what its disks hold, stops listening, and the
 * master listens at its address from then on: a host of the pool like any other. The program that it was goes on
 * without a pool, and waits at the master: when it ends, the host has died; when the host is ejected, it is a pool of
 * its own again, a new one.
 *
 * What real hosts say to each other there, no client speaks. Ours say it at a path that real slaves use.
 */
#ifndef LIB_SIMPOOL_JOIN_H
#define LIB_SIMPOOL_JOIN_H

#include "lib/simpool/hosts.h"
#include "lib/simpool/ops.h"

#define SIM_JOIN_PATH "/remote_db_access"

/* pool.join of an address that is none of ours; arguments of the call: address, user, password. */
enum sim_outcome sim_join(struct sim_call *c);
void sim_joined_close(struct simpool *p);

/* POST SIM_JOIN_PATH. */
void sim_join_in(struct simpool *p, struct http_exchange *x);
/* The host of that number was ejected. */
void sim_join_ejected(struct simpool *p, unsigned host);
void sim_joiners_close(struct simpool *p);

#endif
