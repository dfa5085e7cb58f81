/* Between the commands that show a pool as tables. */
#ifndef ROOM_POOL_LIST_H
#define ROOM_POOL_LIST_H

#include "lib/poolview/poolview.h"
#include "rooms/pool/pool.h"

struct pool_list {
    struct client_access access;
};

/* Ask the pool that is named, or else the usual one; its silence is an error here. */
int pool_list_take(struct poolview *ret, struct xk_app *app, const char *url, const struct client_access *access,
                   unsigned classes, unsigned asks, struct xk_err *err);
#define POOL_CLASS(name) (1u << POOLVIEW_##name)

extern const struct xk_command pool_cmd_hosts, pool_cmd_versions, pool_cmd_vms, pool_cmd_srs, pool_cmd_tasks,
    pool_cmd_clock, pool_cmd_ports;

#endif
