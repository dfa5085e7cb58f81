/* What import-records.c makes objects with: the records of an archive, and what stands for each in the pool. */
#ifndef LIB_SIMPOOL_IMPORT_PARTS_H
#define LIB_SIMPOOL_IMPORT_PARTS_H

#include "lib/simpool/import.h"

/* A field of the object that is not as the record has it. */
struct sim_change {
    const char *field;
    struct xapi_value value;
};

/* Set m->error. returns   false */
bool sim_import_fail(struct sim_import *m, const char *code, const char *text);
/* The same, as the real server writes an exception of its own into an error. */
bool sim_import_fail_generic(struct sim_import *m, const char *text);

bool sim_part_is(const struct sim_part *part, const char *class_name);
bool sim_part_true(const struct sim_part *part, const char *field);
/* The text under a key of one of its maps. NULL: there is none. */
const char *sim_part_pair(const struct sim_part *part, const char *field, const char *key);
/* By its name in the archive. NULL: there is none. */
struct sim_part *sim_part_of(const struct sim_import *m, const char *id);
/* The record that another one names. NULL: it is not there, and the error. */
const struct sim_part *sim_part_named(struct sim_import *m, const struct sim_part *from, const char *field);

/* What stands for the record that another one names. NULL: nothing; _needed: and the error. */
const char *sim_part_lookup(const struct sim_import *m, const struct sim_part *from, const char *field);
const char *sim_part_lookup_needed(struct sim_import *m, const struct sim_part *from, const char *field);
/* An object that was there before. */
void sim_part_stands_for(struct sim_part *part, const char *ref);
/* One that was made, and is taken back when the import fails. returns   true */
bool sim_part_made(struct sim_import *m, struct sim_part *part, const char *ref);
/* In a rehearsal nothing is made; but what needs it finds something. returns   true */
bool sim_part_rehearsed(struct sim_import *m, struct sim_part *part);

/* Make it by the message of its class. NULL: refused, and the error. */
struct sim_object *sim_part_construct(struct sim_import *m, struct sim_part *part, const struct sim_change *changes,
                                      size_t count);
/* One field of an object as the record has it, when that is of its type. */
void sim_part_put_field(struct sim_import *m, struct sim_object *o, const struct sim_part *part, const char *name);
/* The record's uuid, when it is to be kept and nobody has it. */
void sim_part_keep_uuid(struct sim_import *m, struct sim_object *o, const struct sim_part *part);
/* NULL: none of its class has its uuid. */
const struct sim_object *sim_part_same_uuid(const struct sim_import *m, const struct sim_part *part);

#endif
