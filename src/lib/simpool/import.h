/*
 * What the records of an archive become in the pool: import-parts.c and import-records.c, for the requests of import.c
 * and for recoveries.
 */
#ifndef LIB_SIMPOOL_IMPORT_H
#define LIB_SIMPOOL_IMPORT_H

#include "lib/simpool/ops.h"
#include "lib/xva/xva.h"

#define SIM_IMPORT_MEMORY_MAX  (384u << 20) /* of the records of an archive */
#define SIM_IMPORT_OBJECTS_MAX 200000u

/* A record of the archive and what stands for it in the pool. */
struct sim_part {
    const char *id;
    const struct xapi_class *class_row; /* NULL: a class that is not known */
    const struct xapi_value *snapshot;  /* a map */
    char ref[SIM_REF_BYTES];            /* "": nothing */
    bool created, dummy;                /* dummy: of a rehearsal, there is no object */
};

struct sim_import {
    struct simpool *pool;
    const char *sr;   /* where disks go; NULL: records only, whose disks are there */
    const char *task; /* the ref of it */
    bool restore, force, dry_run, live;
    /* The disk that the request wants for one that has that uuid or SCSI id. NULL: none; may be NULL itself. */
    const struct sim_object *(*mapped)(void *context, const char *key);
    void *context;
    /* from here on its own */
    struct xk_arena arena;
    struct sim_part *parts; /* in the archive's order */
    struct sim_part **by_id;
    size_t count;
    size_t *created; /* numbers of parts, in the order in which they were made */
    size_t created_count;
    int64_t export_version;
    struct sim_error error;
};

/* Take ova.xml apart. returns   false: m->error says why. */
bool sim_import_read(struct sim_import *m, const char *xml, size_t bytes);
/* Make the objects, or with dry_run look whether they could be made. returns   false: m->error; nothing is left. */
bool sim_import_make(struct sim_import *m);
/* Take back what was made, unless it was forced. */
void sim_import_undo(struct sim_import *m);
/* Nothing can fail any more. ret   the machines that were made, as refs. */
void sim_import_complete(struct sim_import *m, struct xapi_value *ret);
void sim_import_done(struct sim_import *m);

/* The disks that follow in the archive, in their order. returns   how many, at most `max`. */
size_t sim_import_disks(const struct sim_import *m, const struct sim_part **ret, size_t max);
int64_t sim_part_int(const struct sim_part *part, const char *field);
const char *sim_part_text(const struct sim_part *part, const char *field);

/* ---- import.c ---- */

/* What the real server answers when an archive is wrong. machine: it was to have one, and not only a disk. */
void sim_import_explain(struct sim_error *ret, const struct xva_told *told, bool machine);

/* ---- export.c ---- */

/* The records of machines with their snapshots, as ova.xml has them. returns   0; -ENOMEM, -EFBIG. */
int sim_export_records(struct simpool *p, const struct sim_object *const *vms, size_t count, struct xk_buf *ret);

#endif
