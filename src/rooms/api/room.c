/* The room of the XenAPI: any message of any pool, by hand. */
#include "rooms/api/api.h"
#include "rooms/api/classic-xe.h"

static const struct xk_command *const commands[] = {
    &api_cmd_call,  &api_cmd_describe, &api_cmd_watch,    &api_cmd_dump, &api_cmd_get,
    &api_cmd_login, &api_cmd_logout,   &api_cmd_sessions, NULL,
};

static const struct xk_classic *const classics[] = {
    &api_classic_xe,
    NULL,
};

const struct xk_room api_room = {
    .name = "api",
    .summary = "call any message of a pool's XenAPI, watch its events, look its data model up",
    .commands = commands,
    .classics = classics,
};
