/* The room of the network: throughput, clocks, ports. */
#ifndef ROOM_NET_H
#define ROOM_NET_H

#include "core/room.h"

extern const struct xk_room net_room;
extern const struct xk_command net_cmd_ntp, net_cmd_path, net_cmd_ports, net_cmd_run, net_cmd_serve, net_cmd_mesh,
    net_cmd_agent;

#endif
