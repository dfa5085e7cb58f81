/*
 * A pool out of a dump: `--load`. From JSON, as `xenkit api dump` writes it, or from a XenServer database as it lies in
 * server status reports (xapi-db.xml).
 *
 * Nothing of a dump is taken for granted: classes and fields that the data model does not have are counted and left
 * out, values of a wrong type are counted and their defaults stand, refs that lead nowhere stay as they are.
 */
#ifndef LIB_SIMPOOL_LOAD_H
#define LIB_SIMPOOL_LOAD_H

#include "core/fs.h"
#include "lib/simpool/inner.h"

#define SIM_LOAD_TEXT_MAX    (16u << 20) /* of one text */
#define SIM_LOAD_ROW_MAX     (16u << 20) /* of one row of a database, as text */
#define SIM_LOAD_RECORD_MAX  (64u << 20) /* of one record, decoded */
#define SIM_LOAD_OBJECTS_MAX 2000000u
#define SIM_LOAD_DEPTH_MAX   16

/* Take a dump into the pool's database, which is empty; sim_note() says what could not be taken. */
int sim_load(struct simpool *p, const struct xk_fs *fs, const char *path, struct xk_err *err);

/* ---- for the readers of the two formats ---- */

/* What is known of one class while it is read. */
struct sim_load_class {
    struct xapi_packed **last; /* the values of the object before: most are the same again, and then they are shared */
    uint16_t *order;           /* the place of its n-th field: records of a class have them in one order */
    unsigned order_count;
};

struct sim_load {
    struct simpool *pool;
    struct sim_load_class *classes; /* xapi_class_count of them */
    struct xapi_packed **fields;    /* of the object that is being read, as many as its class has */
    const struct xapi_class *row;   /* its class; NULL: it is left out */
    unsigned position;              /* fields of it so far */
    /* counts, for the notes */
    uint64_t objects, wrong_refs, wrong_values, other_words, unknown_objects;
    struct xk_buf unknown; /* names of classes and fields that are left out, each once */
    unsigned unknown_count;
};

/* The class of that name; NULL (and counted) when its objects are left out. */
const struct xapi_class *sim_load_class_find(struct sim_load *l, const char *name);
/* An object of a class begins (NULL: one that is left out). returns 0; -ENOMEM; -E2BIG. */
int sim_load_begin(struct sim_load *l, const struct xapi_class *row);
/* The place of a field of that object; XAPI_NONE: it has none of that name, which was counted. */
unsigned sim_load_place(struct sim_load *l, const char *name);
/* The field's value, which may have the shape that XML-RPC gives it. returns 0; -ENOMEM. */
int sim_load_value(struct sim_load *l, unsigned place, struct xk_arena *arena, const struct xapi_value *v);
void sim_load_wrong(struct sim_load *l);
/* The object is whole. returns 0; -ENOMEM. */
int sim_load_end(struct sim_load *l, const char *ref);

/* returns   0; -EBADMSG; -E2BIG; -ENOMEM; errors of reading. */
int sim_load_json(struct sim_load *l, const struct xk_file *file, struct xk_err *err);
int sim_load_xml(struct sim_load *l, const struct xk_file *file, struct xk_err *err);

#endif
