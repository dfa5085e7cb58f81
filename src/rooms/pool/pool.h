/* The room of a pool: whole or not, its sessions, hosts, tasks, versions, clocks, ports. */
#ifndef ROOM_POOL_H
#define ROOM_POOL_H

#include "core/room.h"

extern const struct xk_room pool_room;
extern const struct xk_command pool_cmd_sessions;

#endif
