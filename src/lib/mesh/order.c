/* Orders. The secret is as long as a cookie of the engine has room for: 110 bits, new for each server. */
#include "lib/mesh/order.h"

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>

int mesh_order_server(struct mesh_message *ret, struct mesh_port *ret_port, uint64_t number, const char *address,
                      unsigned clients)
{
    static const char letters[32] = "abcdefghijklmnopqrstuvwxyz234567";
    unsigned char random[IPERF_SECRET_BYTES - 1];

    if (getrandom(random, sizeof(random), 0) != sizeof(random))
        return -EIO;
    *ret_port = (struct mesh_port){0};
    snprintf(ret_port->address, sizeof(ret_port->address), "%s", address);
    for (size_t i = 0; i < sizeof(random); i++)
        ret_port->secret[i] = letters[random[i] % sizeof(letters)];
    *ret = (struct mesh_message){.word = MESH_SERVE, .number = number, .clients = clients};
    snprintf(ret->host, sizeof(ret->host), "%s", ret_port->address);
    snprintf(ret->secret, sizeof(ret->secret), "%s", ret_port->secret);
    return 0;
}

uint64_t mesh_order_seconds(const struct mesh_plan *plan, bool probe)
{
    return probe ? MESH_PROBE_S : plan->seconds;
}

struct mesh_message mesh_order_client(const struct mesh_plan *plan, uint64_t number, const struct mesh_port *server,
                                      bool probe)
{
    struct mesh_message m = {
        .word = MESH_RUN,
        .number = number,
        .port = server->port,
        .seconds = mesh_order_seconds(plan, probe),
        .streams = probe ? 1 : plan->streams,
        .rate_bps = probe ? plan->probe_bps : plan->rate_bps,
        .udp = probe,
    };

    snprintf(m.host, sizeof(m.host), "%s", server->address);
    snprintf(m.secret, sizeof(m.secret), "%s", server->secret);
    return m;
}
