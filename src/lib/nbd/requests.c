/*
 * Requests, one after the other. Whatever a request's length, data pass in pieces through one buffer a client, so
 * memory grows with clients and not with what they ask for. With structured replies a read is answered in chunks as its
 * pieces come, and holes are told instead of sent.
 */
#include "lib/nbd/inner.h"

#include <assert.h>
#include <string.h>

#define REQUEST_BYTES 28u
#define CHUNK_BYTES   20u
#define RUNS_MAX      512u
/* A hole inside data that is smaller is sent as zeros: a chunk of its own costs more. */
#define HOLE_BYTES_MIN (32u * 1024)
/* Of a block status reply, for each context. */
#define DESCRIPTORS_MAX (NBD_BUFFER_BYTES / 2 / 8)
#define ERROR_TEXT_MAX  256u

_Static_assert(CHUNK_BYTES + 8 <= NBD_HEADER_BYTES, "a chunk's header fits before its data");

struct request {
    uint16_t flags, type;
    uint64_t cookie, offset;
    uint32_t bytes;
};

/* ---- replies ---- */

static uint32_t nbd_error(int code)
{
    switch (code) {
    case -EPERM:
    case -EROFS:
        return NBD_EPERM;
    case -ENOMEM:
        return NBD_ENOMEM;
    case -EINVAL:
        return NBD_EINVAL;
    case -ENOSPC:
    case -EFBIG:
    case -EDQUOT:
        return NBD_ENOSPC;
    case -ENOTSUP:
        return NBD_ENOTSUP;
    default:
        return NBD_EIO;
    }
}

static void write_chunk(struct xk_writer *w, const struct request *q, unsigned flags, uint16_t type, size_t bytes)
{
    xk_write_be32(w, NBD_STRUCTURED_MAGIC);
    xk_write_be16(w, (uint16_t)flags);
    xk_write_be16(w, type);
    xk_write_be64(w, q->cookie);
    xk_write_be32(w, (uint32_t)bytes);
}

static int send_simple(struct nbd_client *c, const struct request *q, uint32_t error)
{
    uint8_t data[16];
    struct xk_writer w = xk_writer(data, sizeof(data));

    xk_write_be32(&w, NBD_SIMPLE_MAGIC);
    xk_write_be32(&w, error);
    xk_write_be64(&w, q->cookie);
    return c->wire.send(c->wire.context, data, sizeof(data));
}

/* The answer to a request without data, or the refusal of any. */
static int send_result(struct nbd_client *c, const struct request *q, int result, const struct xk_err *why)
{
    uint8_t data[CHUNK_BYTES + 6 + ERROR_TEXT_MAX];
    struct xk_writer w = xk_writer(data, sizeof(data));
    const char *const text = why ? why->text : "";
    const size_t text_bytes = strnlen(text, ERROR_TEXT_MAX);

    if (!c->structured)
        return send_simple(c, q, result < 0 ? nbd_error(result) : 0);
    if (result < 0) {
        write_chunk(&w, q, NBD_REPLY_DONE, NBD_REPLY_ERROR, 6 + text_bytes);
        xk_write_be32(&w, nbd_error(result));
        xk_write_be16(&w, (uint16_t)text_bytes);
        xk_write_raw(&w, text, text_bytes);
    } else {
        write_chunk(&w, q, NBD_REPLY_DONE, NBD_REPLY_NONE, 0);
    }
    return c->wire.send(c->wire.context, data, w.at);
}

/* ---- reading ---- */

/*
 * One reply header, then all data in pieces. The header promises success, so a later failure can only be told by
 * hanging up; the first piece is read before.
 */
static int read_plain(struct nbd_client *c, const struct request *q)
{
    uint8_t header[CHUNK_BYTES + 8];
    struct xk_writer w = xk_writer(header, sizeof(header));
    struct xk_err err = {0};

    if (c->structured) {
        write_chunk(&w, q, NBD_REPLY_DONE, NBD_REPLY_DATA, (size_t)q->bytes + 8);
        xk_write_be64(&w, q->offset);
    } else {
        xk_write_be32(&w, NBD_SIMPLE_MAGIC);
        xk_write_be32(&w, 0);
        xk_write_be64(&w, q->cookie);
    }
    size_t header_bytes = w.at;
    for (uint32_t at = 0; at < q->bytes;) {
        const size_t part = XK_MIN(q->bytes - at, NBD_BUFFER_BYTES);
        int code = volume_read(c->export->volume, c->buffer, part, q->offset + at, &err);
        if (code < 0 && at == 0)
            return send_result(c, q, code, &err);
        if (code < 0)
            return xk_fail(c->err, code, "its read could not be finished: %s", err.text);
        memcpy(c->buffer - header_bytes, header, header_bytes);
        code = c->wire.send(c->wire.context, c->buffer - header_bytes, header_bytes + part);
        if (code < 0)
            return code;
        header_bytes = 0;
        at += (uint32_t)part;
    }
    return 0;
}

struct run {
    uint64_t start, end;
    bool hole;
};

struct runs {
    struct run items[RUNS_MAX];
    size_t count;
};

static int add_run(void *context, const struct volume_extent *e)
{
    struct runs *const r = context;
    const bool hole = e->kind != VOLUME_DATA;
    struct run *const last = r->count ? &r->items[r->count - 1] : NULL;

    if (last && last->hole == hole) {
        last->end += e->bytes;
        return 0;
    }
    if (r->count == RUNS_MAX)
        return 1;
    r->items[r->count++] = (struct run){.start = e->start, .end = e->start + e->bytes, .hole = hole};
    return 0;
}

/* Small holes become part of the data around them. */
static void join_runs(struct runs *r)
{
    size_t kept = 0;

    for (size_t i = 0; i < r->count; i++) {
        struct run run = r->items[i];
        struct run *const last = kept ? &r->items[kept - 1] : NULL;
        if (run.hole && run.end - run.start < HOLE_BYTES_MIN)
            run.hole = false;
        if (last && last->hole == run.hole)
            last->end = run.end;
        else
            r->items[kept++] = run;
    }
    r->count = kept;
}

static int send_hole(struct nbd_client *c, const struct request *q, const struct run *run)
{
    uint8_t data[CHUNK_BYTES + 12];
    struct xk_writer w = xk_writer(data, sizeof(data));

    write_chunk(&w, q, 0, NBD_REPLY_HOLE, 12);
    xk_write_be64(&w, run->start);
    xk_write_be32(&w, (uint32_t)(run->end - run->start));
    return c->wire.send(c->wire.context, data, sizeof(data));
}

/* ret_result: reading failed; nothing of that piece was sent. returns the wire's result. */
static int send_data(struct nbd_client *c, const struct request *q, const struct run *run, int *ret_result,
                     struct xk_err *why)
{
    for (uint64_t at = run->start; at < run->end;) {
        const size_t part = (size_t)XK_MIN(run->end - at, (uint64_t)NBD_BUFFER_BYTES);
        struct xk_writer w = xk_writer(c->buffer - CHUNK_BYTES - 8, CHUNK_BYTES + 8);
        *ret_result = volume_read(c->export->volume, c->buffer, part, at, why);
        if (*ret_result < 0)
            return 0;
        write_chunk(&w, q, 0, NBD_REPLY_DATA, part + 8);
        xk_write_be64(&w, at);
        const int code = c->wire.send(c->wire.context, w.data, w.at + part);
        if (code < 0)
            return code;
        at += part;
    }
    return 0;
}

static int read_chunks(struct nbd_client *c, const struct request *q)
{
    const uint64_t end = q->offset + q->bytes;
    struct xk_err err = {0};
    struct runs r;
    int result = 0;

    for (uint64_t at = q->offset; at < end && result == 0;) {
        r.count = 0;
        result = volume_map(c->export->volume, at, end - at, add_run, &r, &err);
        if (result < 0)
            break;
        result = 0;
        at = r.items[r.count - 1].end;
        join_runs(&r);
        for (size_t i = 0; i < r.count && result == 0; i++) {
            const int code =
                r.items[i].hole ? send_hole(c, q, &r.items[i]) : send_data(c, q, &r.items[i], &result, &err);
            if (code < 0)
                return code;
        }
    }
    return send_result(c, q, result, &err);
}

static int answer_read(struct nbd_client *c, const struct request *q)
{
    atomic_fetch_add(&c->counters->read_bytes, q->bytes);
    return c->structured && !(q->flags & NBD_CMD_FLAG_DF) ? read_chunks(c, q) : read_plain(c, q);
}

/* Read and drop, so that it is in the page cache. */
static int cache(struct nbd_client *c, const struct request *q, struct xk_err *why)
{
    int code = 0;

    for (uint32_t at = 0; at < q->bytes && code == 0;) {
        const size_t part = XK_MIN(q->bytes - at, NBD_BUFFER_BYTES);
        code = volume_read(c->export->volume, c->buffer, part, q->offset + at, why);
        at += (uint32_t)part;
    }
    return code;
}

/* ---- block status ---- */

struct descriptors {
    uint8_t *data; /* DESCRIPTORS_MAX of 8 bytes */
    size_t count, max;
    uint64_t bytes; /* of the last one */
    uint32_t flags;
    bool full;
};

static void close_descriptor(struct descriptors *d)
{
    if (d->bytes == 0)
        return;
    struct xk_writer w = xk_writer(d->data + d->count * 8, 8);
    xk_write_be32(&w, (uint32_t)d->bytes);
    xk_write_be32(&w, d->flags);
    d->count++;
    d->bytes = 0;
}

static void add_descriptor(struct descriptors *d, uint64_t bytes, uint32_t flags)
{
    if (d->full)
        return;
    if (d->bytes && d->flags != flags)
        close_descriptor(d);
    if (d->count == d->max) {
        d->full = true;
        return;
    }
    d->flags = flags;
    d->bytes += bytes;
}

struct status_walk {
    struct descriptors allocation, layer;
    bool want_allocation, want_layer;
};

static int add_status(void *context, const struct volume_extent *e)
{
    struct status_walk *const s = context;
    const uint32_t states[] = {
        [VOLUME_DATA] = 0, [VOLUME_ZERO] = NBD_STATE_ZERO, [VOLUME_HOLE] = NBD_STATE_HOLE | NBD_STATE_ZERO};

    if (s->want_allocation)
        add_descriptor(&s->allocation, e->bytes, states[e->kind]);
    if (s->want_layer)
        add_descriptor(&s->layer, e->bytes, e->layer == VOLUME_NO_LAYER ? 0 : (uint32_t)e->layer + 1);
    return (!s->want_allocation || s->allocation.full) && (!s->want_layer || s->layer.full);
}

static int send_status(struct nbd_client *c, const struct request *q, uint32_t id, struct descriptors *d, bool last)
{
    uint8_t header[CHUNK_BYTES + 4];
    struct xk_writer w = xk_writer(header, sizeof(header));

    close_descriptor(d);
    write_chunk(&w, q, last ? NBD_REPLY_DONE : 0, NBD_REPLY_BLOCK_STATUS, 4 + d->count * 8);
    xk_write_be32(&w, id);
    const int code = c->wire.send(c->wire.context, header, sizeof(header));
    return code ? code : c->wire.send(c->wire.context, d->data, d->count * 8);
}

static int answer_status(struct nbd_client *c, const struct request *q)
{
    const size_t max = q->flags & NBD_CMD_FLAG_REQ_ONE ? 1 : DESCRIPTORS_MAX;
    struct xk_err err = {0};
    struct status_walk s = {
        .allocation = {.data = c->buffer, .max = max},
        .layer = {.data = c->buffer + NBD_BUFFER_BYTES / 2, .max = max},
        .want_allocation = c->allocation,
        .want_layer = c->layer,
    };

    int code = volume_map(c->export->volume, q->offset, q->bytes, add_status, &s, &err);
    if (code < 0)
        return send_result(c, q, code, &err);
    if (c->allocation) {
        code = send_status(c, q, NBD_CONTEXT_ALLOCATION, &s.allocation, !c->layer);
        if (code < 0)
            return code;
    }
    return c->layer ? send_status(c, q, NBD_CONTEXT_LAYER, &s.layer, true) : 0;
}

/* ---- changing ---- */

/* All data of the request are taken off the wire, whatever becomes of them. */
static int answer_write(struct nbd_client *c, const struct request *q, int result, struct xk_err *why)
{
    for (uint32_t at = 0; at < q->bytes;) {
        const size_t part = XK_MIN(q->bytes - at, NBD_BUFFER_BYTES);
        const int code = c->wire.receive(c->wire.context, c->buffer, part, false);
        if (code < 0)
            return code;
        if (result == 0)
            result = volume_overlay_write(c->export->overlay, c->buffer, part, q->offset + at, why);
        at += (uint32_t)part;
    }
    if (result == 0 && q->flags & NBD_CMD_FLAG_FUA)
        result = volume_overlay_flush(c->export->overlay, why);
    if (result == 0)
        atomic_fetch_add(&c->counters->written_bytes, q->bytes);
    return send_result(c, q, result, why);
}

static int clear(struct nbd_client *c, const struct request *q, struct xk_err *why)
{
    struct volume_overlay *const o = c->export->overlay;
    int code = q->type == NBD_CMD_TRIM
                   ? volume_overlay_trim(o, q->offset, q->bytes, why)
                   : volume_overlay_zero(o, q->offset, q->bytes, q->flags & NBD_CMD_FLAG_NO_HOLE, why);

    if (code == 0 && q->flags & NBD_CMD_FLAG_FUA)
        code = volume_overlay_flush(o, why);
    return code;
}

/* ---- one request ---- */

/* returns what is wrong with it, as the error it is answered with; 0: nothing. */
static int check_request(const struct nbd_client *c, const struct request *q, struct xk_err *why)
{
    static const struct {
        unsigned flags;
        bool range, changes, limited;
    } rules[] = {
        [NBD_CMD_READ] = {NBD_CMD_FLAG_DF, true, false, true},
        [NBD_CMD_WRITE] = {NBD_CMD_FLAG_FUA, true, true, true},
        [NBD_CMD_FLUSH] = {0, false, false, false},
        [NBD_CMD_TRIM] = {NBD_CMD_FLAG_FUA, true, true, false},
        [NBD_CMD_CACHE] = {0, true, false, true},
        [NBD_CMD_WRITE_ZEROES] = {NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_NO_HOLE, true, true, false},
        [NBD_CMD_BLOCK_STATUS] = {NBD_CMD_FLAG_REQ_ONE, true, false, false},
    };
    uint64_t end;

    if (q->type >= XK_COUNT(rules))
        return xk_fail(why, -EINVAL, "command %u is not known here", q->type);
    /* FUA says nothing where nothing is written; clients may set it all the same. */
    if (q->flags & ~(rules[q->type].flags | NBD_CMD_FLAG_FUA))
        return xk_fail(why, -EINVAL, "command %u does not know the flags %04x", q->type, q->flags);
    if (q->flags & NBD_CMD_FLAG_DF && !c->structured)
        return xk_fail(why, -EINVAL, "the flag DF needs structured replies");
    if (rules[q->type].changes && !c->export->overlay)
        return xk_fail(why, -EPERM, "the export is read-only");
    if (!rules[q->type].range)
        return 0;
    if (rules[q->type].limited && q->bytes > NBD_REQUEST_BYTES_MAX)
        return xk_fail(why, -EINVAL, "%u bytes are more than the %u of one request", q->bytes, NBD_REQUEST_BYTES_MAX);
    if (q->bytes == 0)
        return xk_fail(why, -EINVAL, "a request for nothing");
    if (xk_add(q->offset, (uint64_t)q->bytes, &end) || end > c->export->volume->size_bytes)
        return xk_fail(why, rules[q->type].changes ? -ENOSPC : -EINVAL,
                       "%u bytes at %llu are not a part of the disk (%llu bytes)", q->bytes,
                       (unsigned long long)q->offset, (unsigned long long)c->export->volume->size_bytes);
    if (q->type == NBD_CMD_BLOCK_STATUS && !c->allocation && !c->layer)
        return xk_fail(why, -EINVAL, "no context was chosen");
    return 0;
}

static int answer_request(struct nbd_client *c, const struct request *q)
{
    struct xk_err err = {0};
    int result = check_request(c, q, &err);

    if (q->type == NBD_CMD_WRITE)
        return answer_write(c, q, result, &err);
    if (result < 0)
        return send_result(c, q, result, &err);
    switch (q->type) {
    case NBD_CMD_READ:
        return answer_read(c, q);
    case NBD_CMD_BLOCK_STATUS:
        return answer_status(c, q);
    case NBD_CMD_CACHE:
        result = cache(c, q, &err);
        break;
    case NBD_CMD_FLUSH:
        result = c->export->overlay ? volume_overlay_flush(c->export->overlay, &err) : 0;
        break;
    default:
        result = clear(c, q, &err);
        break;
    }
    return send_result(c, q, result, &err);
}

enum { NEXT = 0, ENDED = 1 };

static int next_request(struct nbd_client *c)
{
    uint8_t header[REQUEST_BYTES];
    struct xk_reader r = xk_reader(header, sizeof(header));

    const int code = c->wire.receive(c->wire.context, header, sizeof(header), true);
    if (code == -ENODATA)
        return ENDED;
    if (code < 0)
        return code;
    const uint32_t magic = xk_be32(&r);
    struct request q;
    q.flags = xk_be16(&r);
    q.type = xk_be16(&r);
    q.cookie = xk_be64(&r);
    q.offset = xk_be64(&r);
    q.bytes = xk_be32(&r);
    assert(!r.bad);
    if (magic != NBD_REQUEST_MAGIC)
        return xk_fail(c->err, -EPROTO, "it sent %08x where a request begins", magic);
    if (q.type == NBD_CMD_DISC)
        return ENDED;
    /* Nobody knows whether so much data follow, and nobody waits for them. */
    if (q.type == NBD_CMD_WRITE && q.bytes > NBD_REQUEST_BYTES_MAX)
        return xk_fail(c->err, -EPROTO, "it wanted to write %u bytes at once", q.bytes);
    atomic_fetch_add(&c->counters->requests, 1);
    return answer_request(c, &q);
}

int nbd_answer(struct nbd_client *c)
{
    int code = NEXT;

    while (code == NEXT)
        code = next_request(c);
    return code == ENDED ? 0 : code;
}
