/* Inside lib/machine: which mounts can fill up, and how full they are. */
#ifndef MACHINE_VOLUMES_H
#define MACHINE_VOLUMES_H

#include "lib/machine/machine.h"

/* Fill m->volumes from m->mounts. returns 0; -ENOMEM. */
int machine_volumes_read(struct machine *m, const struct environment_system *system, unsigned answer_ms,
                         struct xk_err *err);

#endif
