/*
 * What a coordinator asks of agents for a step, however it reaches them.
 *
 * A server's port is open to the hosts of the step alone: it gets a secret that nobody but the coordinator, its agent
 * and those of its clients know, and closes any connection that does not show it.
 */
#ifndef MESH_ORDER_H
#define MESH_ORDER_H

#include "lib/mesh/message.h"
#include "lib/mesh/plan.h"

#define MESH_PROBE_S 1u /* of datagrams, which count losses */

/* Where a server listens, as its clients have to know it; plain bytes. */
struct mesh_port {
    uint64_t port; /* 0: there is none */
    char address[INET6_ADDRSTRLEN], secret[IPERF_SECRET_BYTES];
};

/* Be a server for so many clients. ret_port gets address and secret. returns 0; -EIO: no random numbers. */
int mesh_order_server(struct mesh_message *ret, struct mesh_port *ret_port, uint64_t number, const char *address,
                      unsigned clients);
/* Be a client of it; probe: by datagrams. */
struct mesh_message mesh_order_client(const struct mesh_plan *plan, uint64_t number, const struct mesh_port *server,
                                      bool probe);
/* How long such a flow lasts. */
uint64_t mesh_order_seconds(const struct mesh_plan *plan, bool probe);

#endif
