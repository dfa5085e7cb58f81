/* The room of the network: which commands it has, and under which classic names it answers. */
#include "rooms/net/iperf.h"
#include "rooms/net/iperf3.h"
#include "rooms/net/net.h"

static const struct xk_command *const commands[] = {
    &net_cmd_ntp, &net_cmd_path, &net_cmd_ports, &net_cmd_run, &net_cmd_serve, &net_cmd_mesh, &net_cmd_agent, NULL,
};

static const struct xk_classic *const classics[] = {
    &net_classic_iperf3,
    &net_classic_iperf,
    NULL,
};

const struct xk_room net_room = {
    .name = "net",
    .summary = "the network: throughput, time servers, ports",
    .commands = commands,
    .classics = classics,
};
