/* The room of a pool: which commands it has. */
#include "rooms/pool/pool.h"

static const struct xk_command *const commands[] = {
    &pool_cmd_sessions,
    NULL,
};

const struct xk_room pool_room = {
    .name = "pool",
    .summary = "a pool and its logs: who leaks sessions",
    .commands = commands,
};
