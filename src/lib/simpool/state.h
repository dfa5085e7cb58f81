/*
 * A pool's database in a file that is always whole: `--state`.
 *
 * The file is a log. It begins with everything there was (a snapshot) and goes on with write groups: what one turn of
 * the loop changed, appended at once before anybody is told. docs in state.c.
 */
#ifndef LIB_SIMPOOL_STATE_H
#define LIB_SIMPOOL_STATE_H

#include "core/fs.h"
#include "lib/simpool/inner.h"

#define SIM_STATE_BYTES_MAX (UINT64_C(4) << 30) /* of a file */
#define SIM_STATE_FRAME_MAX (256u << 20)        /* of one group */
#define SIM_STATE_PART      (1u << 20)          /* of a snapshot: as much as is written at once */

struct sim_state;
struct sim_kept;

/*
 * Open the file, and take what is in it into the pool's database, which is empty. One process at a time: it is locked.
 *
 * returns   1; 0: there is no such file yet, sim_state_begin() makes it; -EBADMSG: it is damaged (nothing was changed);
 *           -ENOTSUP: another format; -EBUSY: somebody else has it; -EFBIG; other errors of reading and writing.
 */
int sim_state_open(struct simpool *p, const struct xk_fs *fs, const char *path, struct xk_err *err);
/* The pool is as it shall be: make the file when it is new, or write what has changed since it was read. */
int sim_state_begin(struct simpool *p, struct xk_err *err);
/*
 * Append what has changed since the last time. To be called before anybody is told of it.
 * returns   0, also without a state; after an error the next call tries all of it again.
 */
int sim_state_flush(struct simpool *p, struct xk_err *err);
/* Something changed: it is written before the loop waits again, also when nobody asked. */
void sim_state_changed(struct simpool *p);
void sim_state_close(struct simpool *p);

/* ---- state-code.c: what stands in a frame ---- */

/* Which class and field the numbers of a file mean; those that this program does not know are NULL and XAPI_NONE. */
struct sim_schema {
    const struct xapi_class **classes;
    uint16_t **places; /* of the fields of each class */
    uint16_t *counts;
    unsigned class_count;
    unsigned unknown_classes, unknown_fields;
};

void sim_schema_done(struct sim_schema *s);
void sim_state_put_schema(struct xk_buf *b);
void sim_state_put_object(struct xk_buf *b, const struct simpool *p, const struct sim_object *o);
void sim_state_put_gone(struct xk_buf *b, const struct xapi_class *row, const char *ref);
/* Hosts in the order of their addresses, and the time. */
void sim_state_put_pool(struct xk_buf *b, const struct simpool *p);
/* A file of the hosts, or that it is gone. */
void sim_state_put_kept(struct xk_buf *b, const struct sim_kept *k);
int sim_state_put_identity(struct xk_buf *b, const struct http_identity *id, unsigned host, struct xk_err *err);
/* Take the content of a frame into the database. returns   0; -EBADMSG; -ENOMEM. */
int sim_state_take(struct simpool *p, struct sim_schema *s, const char *bytes, size_t count, struct xk_err *err);
/* Whether objects of the class are kept: the real server forgets tasks and sessions, too. */
bool sim_state_keeps(const struct xapi_class *row);

#endif
