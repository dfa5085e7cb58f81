/*
 * What moves as the body of a request or a reply: archives and disks. Each such transfer is the work of a task, one
 * that its client made for it or one of its own, shows there how far it got, and can be cancelled.
 *
 * As with the real server a client hears "200 OK" before its bytes are looked at: how it ended, says the task.
 */
#ifndef LIB_SIMPOOL_TRANSFER_H
#define LIB_SIMPOOL_TRANSFER_H

#include "lib/simpool/ops.h"

#define SIM_TRANSFER_IDLE_S 300          /* without a byte: the client is taken for gone */
#define SIM_TRANSFER_PIECE  (256u << 10) /* written at a time */

/* Storage is the first member of the user's struct. */
struct sim_transfer {
    struct simpool *pool;
    struct http_exchange *exchange; /* NULL: gone */
    struct evbuffer *in;            /* what came and was not taken yet */
    struct event *again;
    char task[SIM_REF_BYTES];
    bool cancellable, over, gone;
    uint64_t done, total, told, told_ns;
    uint64_t unread; /* of the body; UINT64_MAX: unknown */
    struct sim_transfer *next, **link;
    const struct sim_transfer_kind *kind;
};

enum sim_transfer_step {
    SIM_TRANSFER_MORE,  /* wants more bytes */
    SIM_TRANSFER_AGAIN, /* has more to do without them */
    SIM_TRANSFER_OVER,  /* was ended */
};

struct sim_transfer_kind {
    const char *label; /* of its own task; NULL: it has none when its client made none */
    /* Bytes of the body came; *ret_taken of them are done with. NULL: it sends. */
    enum sim_transfer_step (*take)(struct sim_transfer *t, const uint8_t *bytes, size_t count, size_t *ret_taken);
    /* There will be none more. */
    enum sim_transfer_step (*end)(struct sim_transfer *t);
    /* All that was sent has left: send more. NULL: it takes. */
    enum sim_transfer_step (*send)(struct sim_transfer *t);
    /* It is over: with a result or none, or with an error. NULL: who wants to know asks the task. */
    void (*told)(struct sim_transfer *t, const struct xapi_value *result, const struct sim_error *error);
    /* It failed, was cancelled, or its client is gone: take back what was made. Not after a success. */
    void (*undo)(struct sim_transfer *t);
    void (*free)(struct sim_transfer *t); /* also of the storage */
};

/*
 * Begin: the task is found, or made. What the request asks for is looked at afterwards.
 *
 * t         zeroed; owned by the pool from now on, and freed by its kind.
 * returns   false: no memory; answered and freed.
 */
bool sim_transfer_begin(struct sim_transfer *t, struct simpool *p, struct http_exchange *x,
                        const struct sim_transfer_kind *kind);
/*
 * The same for the work of a call, whose bytes come from elsewhere: there is no exchange.
 *
 * returns   false: no memory; nothing has begun, and t is the caller's.
 */
bool sim_transfer_begin_for(struct sim_transfer *t, struct simpool *p, const struct sim_object *task,
                            const struct sim_transfer_kind *kind);
/* More bytes for it, or the last ones; `in` lives until it is freed. */
void sim_transfer_feed(struct sim_transfer *t, struct evbuffer *in, bool last);
/* It cannot go on; it is freed. */
void sim_transfer_stop(struct sim_transfer *t, const struct sim_error *error);
/* The request cannot be carried out: its task ends so, the client is told the status. It is freed. */
void sim_transfer_refuse(struct sim_transfer *t, unsigned status, const struct sim_error *error);
/*
 * 200, and from now on bytes. headers: more lines, or "".
 *
 * returns   false: no memory; answered and freed.
 */
bool sim_transfer_accept(struct sim_transfer *t, const char *type, const char *headers);
/* returns   SIM_TRANSFER_OVER when it could not be written. */
enum sim_transfer_step sim_transfer_write(struct sim_transfer *t, const void *bytes, size_t count);
/* So far it got, of `total`. */
void sim_transfer_progress(struct sim_transfer *t, uint64_t more);
void sim_transfer_cancellable(struct sim_transfer *t, bool can);
/* How it ended; both return SIM_TRANSFER_OVER. result: NULL for none. */
enum sim_transfer_step sim_transfer_succeed(struct sim_transfer *t, const struct xapi_value *result);
enum sim_transfer_step sim_transfer_fail(struct sim_transfer *t, const struct sim_error *error);

/* Somebody cancels a task: the transfer that works for it, if there is one, ends. */
void sim_transfer_cancel(struct simpool *p, const char *task_ref);
void sim_transfers_close(struct simpool *p);

/* A request's own error without a transfer: what its task, if it has one, ends with. */
void sim_request_fail(struct simpool *p, struct http_exchange *x, unsigned status, const struct sim_error *error);
/* The same for one that is answered at once. */
void sim_request_answer(struct simpool *p, struct http_exchange *x, const struct http_reply *head, struct xk_buf *body);
/* Of the query or a cookie: does it say "true"? */
bool sim_request_says(const struct http_exchange *x, const char *name, bool otherwise);
/*
 * The object of a class that a request names, by ref or by uuid.
 * returns   0; -ENOENT: it names none; -EINVAL: there is no such object, and the error.
 */
int sim_request_object(struct sim_object **ret, struct simpool *p, const struct http_exchange *x,
                       const char *class_name, const char *ref_param, const char *uuid_param,
                       struct sim_error *ret_error);
/* A piece of a disk with its checksum behind it, and the end, as archives have them. returns   0; -ENOMEM. */
int sim_tar_piece(struct xk_buf *tar, const struct simpool *p, const char *folder, uint64_t number, const void *bytes,
                  size_t count);
void sim_tar_end(struct xk_buf *tar);

/* A host that sees the SR answers, when the one that was asked does not. returns   whether it was answered. */
bool sim_request_moves(struct simpool *p, struct http_exchange *x, const struct sim_object *sr);

#endif
