/* The room of the simulated pool: one command without a verb. */
#include "rooms/sim/sim.h"

static const struct xk_command *const commands[] = {
    &sim_cmd_sim,
    NULL,
};

const struct xk_room sim_room = {
    .name = "sim",
    .summary = "a simulated pool that real XenAPI clients can talk to",
    .commands = commands,
    .plain = true,
};
