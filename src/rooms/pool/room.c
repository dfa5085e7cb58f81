/* The room of a pool: which commands it has. */
#include "rooms/pool/check.h"
#include "rooms/pool/pool.h"

static const struct xk_command *const commands[] = {
    &pool_cmd_check,
    &pool_cmd_sessions,
    NULL,
};

static const struct xk_classic *const classics[] = {
    &pool_classic_check,
    NULL,
};

const struct xk_room pool_room = {
    .name = "pool",
    .summary = "a pool: its hosts, and who leaks sessions",
    .commands = commands,
    .classics = classics,
};
