/* The room of a pool: which commands it has. */
#include "rooms/pool/check.h"
#include "rooms/pool/list.h"
#include "rooms/pool/pool.h"

static const struct xk_command *const commands[] = {
    &pool_cmd_check, &pool_cmd_hosts,    &pool_cmd_versions, &pool_cmd_vms,   &pool_cmd_srs,
    &pool_cmd_tasks, &pool_cmd_sessions, &pool_cmd_clock,    &pool_cmd_ports, NULL,
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
