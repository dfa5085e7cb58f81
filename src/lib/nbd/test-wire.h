/*
 * For tests: a client that is a list of bytes, and a disk to serve. What the server sends is kept.
 */
#ifndef NBD_TEST_WIRE_H
#define NBD_TEST_WIRE_H

#include "core/buf.h"
#include "lib/nbd/inner.h"

#include <string.h>

struct memory_wire {
    const uint8_t *in;
    size_t in_bytes, at;
    struct xk_buf out;
    bool out_full; /* the client stopped reading */
};

static int memory_receive(void *context, void *buf, size_t bytes, bool may_wait)
{
    struct memory_wire *const m = context;
    const size_t left = m->in_bytes - m->at;

    if (left < bytes) {
        m->at = m->in_bytes;
        return left ? -ECONNRESET : -ENODATA;
    }
    memcpy(buf, m->in + m->at, bytes);
    m->at += bytes;
    return 0;
}

static int memory_send(void *context, const void *buf, size_t bytes)
{
    struct memory_wire *const m = context;

    xk_buf_add(&m->out, buf, bytes);
    if (m->out.error)
        m->out_full = true;
    return m->out.error ? -EPIPE : 0;
}

/* A client over that wire. `room` holds NBD_HEADER_BYTES + NBD_BUFFER_BYTES. */
static inline struct nbd_client memory_client(struct memory_wire *m, const struct nbd_export *e,
                                              struct nbd_counters *counters, uint8_t *room, struct xk_err *err)
{
    return (struct nbd_client){
        .export = e,
        .wire = {.receive = memory_receive, .send = memory_send, .context = m},
        .counters = counters,
        .room = room,
        .buffer = room + NBD_HEADER_BYTES,
        .err = err,
    };
}

#endif
