/* Machines that go to another pool: what the two sides of that share. */
#ifndef LIB_SIMPOOL_MIGRATE_H
#define LIB_SIMPOOL_MIGRATE_H

#include "lib/simpool/ops.h"

/* Parameters of VM.migrate_send and its questions. */
enum { SIM_MIGRATE_VM, SIM_MIGRATE_DEST, SIM_MIGRATE_LIVE, SIM_MIGRATE_VDIS, SIM_MIGRATE_VIFS, SIM_MIGRATE_OPTIONS };

/* The dest of the call's arguments is no host of this pool. */
bool sim_migrate_leaves(const struct sim_call *c);
/* Ask the other pool whether the machine may come. */
enum sim_outcome sim_migrate_ask(struct sim_call *c);
/* Ask, then send it there: the whole of VM.migrate_send. */
enum sim_outcome sim_migrate_away(struct sim_call *c);
/* POST /services/xenops: a machine comes from another pool. */
void sim_migrate_in(struct simpool *p, struct http_exchange *x);

/* Disks whose content goes to another pool. Begin with only `vdis` set. */
struct sim_disks_going {
    struct xapi_value vdis; /* from the disk here to its name there */
    size_t disk;
    uint64_t at;
};
/*
 * The document for /services/SM with the next piece.
 * returns   1; 0: nothing is left; -EIO: the error was recorded, there is no document.
 */
int sim_disks_next(struct sim_call *c, struct sim_disks_going *g, struct xk_buf *ret);
/* POST /services/SM: bytes of a disk of it. */
void sim_migrate_bytes(struct simpool *p, struct http_exchange *x);
/* A machine, its snapshots and all their disks go. */
void sim_migrate_forget(struct simpool *p, struct sim_object *vm);

#endif
