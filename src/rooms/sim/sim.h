/* What the files of the room share. */
#ifndef ROOMS_SIM_SIM_H
#define ROOMS_SIM_SIM_H

#include "core/room.h"

extern const struct xk_command sim_cmd_sim;

#endif
