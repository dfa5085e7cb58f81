/* The room of the network: which commands it has. */
#include "rooms/net/net.h"

static const struct xk_command *const commands[] = {
    &net_cmd_ntp,
    NULL,
};

const struct xk_room net_room = {
    .name = "net",
    .summary = "the network: time servers",
    .commands = commands,
};
