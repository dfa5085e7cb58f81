/* Streams stand on each other: a log in an archive in a gzip file is a part of a gzip stream of a file. */
#include "lib/sessionlog/stream.h"

#include <string.h>
#include <zlib.h>

#define GZIP_IN_BYTES 65536
#define GZIP_WINDOW   (15 + 16) /* the largest window, and a gzip header */
#define SKIP_BYTES    65536

ssize_t stream_read_some(struct stream *s, void *buf, size_t bytes, struct xk_err *err)
{
    const size_t ready = s->ahead_bytes - s->ahead_at;

    if (!ready)
        return s->read(s, buf, bytes, err);
    const size_t now = XK_MIN(ready, bytes);
    memcpy(buf, s->ahead + s->ahead_at, now);
    s->ahead_at += now;
    return (ssize_t)now;
}

ssize_t stream_read(struct stream *s, void *buf, size_t bytes, struct xk_err *err)
{
    size_t have = 0;

    while (have < bytes) {
        const ssize_t n = stream_read_some(s, (uint8_t *)buf + have, bytes - have, err);
        if (n < 0)
            return n;
        if (n == 0)
            break;
        have += (size_t)n;
    }
    return (ssize_t)have;
}

int stream_peek(struct stream *s, const uint8_t **ret, size_t bytes, size_t *ret_bytes, struct xk_err *err)
{
    if (!s->ahead && !(s->ahead = xk_alloc(STREAM_AHEAD_BYTES)))
        return xk_fail_memory(err);
    memmove(s->ahead, s->ahead + s->ahead_at, s->ahead_bytes - s->ahead_at);
    s->ahead_bytes -= s->ahead_at;
    s->ahead_at = 0;
    while (s->ahead_bytes < XK_MIN(bytes, (size_t)STREAM_AHEAD_BYTES)) {
        const ssize_t n = s->read(s, s->ahead + s->ahead_bytes, STREAM_AHEAD_BYTES - s->ahead_bytes, err);
        if (n < 0)
            return (int)n;
        if (n == 0)
            break;
        s->ahead_bytes += (size_t)n;
    }
    *ret = s->ahead;
    *ret_bytes = XK_MIN(bytes, s->ahead_bytes);
    return 0;
}

void stream_done(struct stream *s)
{
    if (s->done)
        s->done(s);
    free(s->ahead);
    *s = (struct stream){0};
}

/* ---- files and pipes ---- */

static ssize_t read_file(struct stream *s, void *buf, size_t bytes, struct xk_err *err)
{
    struct stream_file *const f = (struct stream_file *)s;
    const size_t wanted = (size_t)XK_MIN((uint64_t)bytes, f->end - f->at);

    if (!wanted)
        return 0;
    const ssize_t n = f->file->fs->ops->pread(f->file->fs, f->file->fd, buf, wanted, f->at);
    if (n < 0)
        return xk_fail_sys(err, (int)n, "cannot read %s", s->name);
    f->at += (uint64_t)n;
    return n;
}

void stream_from_file(struct stream_file *ret, const struct xk_file *file, uint64_t from, uint64_t to)
{
    *ret = (struct stream_file){.stream = {.read = read_file, .name = file->path}, .file = file, .at = from, .end = to};
}

static ssize_t read_pipe(struct stream *s, void *buf, size_t bytes, struct xk_err *err)
{
    const struct stream_pipe *const p = (const struct stream_pipe *)s;

    for (;;) {
        const ssize_t n = read(p->fd, buf, bytes);
        if (n >= 0)
            return n;
        if (errno != EINTR)
            return xk_fail_sys(err, -errno, "cannot read %s", s->name);
    }
}

void stream_from_pipe(struct stream_pipe *ret, int fd, const char *name)
{
    *ret = (struct stream_pipe){.stream = {.read = read_pipe, .name = name}, .fd = fd};
}

static ssize_t read_call(struct stream *s, void *buf, size_t bytes, struct xk_err *err)
{
    const struct stream_call *const c = (struct stream_call *)s;

    return c->read(c->context, buf, bytes, err);
}

void stream_from_call(struct stream_call *ret, const char *name,
                      ssize_t (*read)(void *context, void *bytes, size_t count, struct xk_err *err), void *context)
{
    *ret = (struct stream_call){.stream = {.read = read_call, .name = name}, .read = read, .context = context};
}

static ssize_t read_part(struct stream *s, void *buf, size_t bytes, struct xk_err *err)
{
    struct stream_part *const p = (struct stream_part *)s;
    const size_t wanted = (size_t)XK_MIN((uint64_t)bytes, p->left);

    if (!wanted)
        return 0;
    const ssize_t n = stream_read_some(p->from, buf, wanted, err);
    if (n > 0)
        p->left -= (uint64_t)n;
    return n;
}

void stream_from_part(struct stream_part *ret, struct stream *from, uint64_t bytes, const char *name)
{
    *ret = (struct stream_part){.stream = {.read = read_part, .name = name}, .from = from, .left = bytes};
}

int stream_part_skip(struct stream_part *p, struct xk_err *err)
{
    xk_autofree uint8_t *waste = p->left ? xk_alloc(SKIP_BYTES) : NULL;

    if (p->left && !waste)
        return xk_fail_memory(err);
    while (p->left) {
        const ssize_t n = read_part(&p->stream, waste, SKIP_BYTES, err);
        if (n <= 0)
            return (int)n;
    }
    return 0;
}

/* ---- gzip ---- */

static void gzip_done(struct stream *s)
{
    struct stream_gzip *const g = (struct stream_gzip *)s;

    if (g->inflate)
        (void)inflateEnd(g->inflate);
    free(g->inflate);
    free(g->in);
}

static int refill(struct stream_gzip *g, z_stream *z, struct xk_err *err)
{
    const ssize_t n = stream_read_some(g->from, g->in, GZIP_IN_BYTES, err);

    if (n < 0)
        return (int)n;
    z->next_in = g->in;
    z->avail_in = (uInt)n;
    return n > 0;
}

static ssize_t read_gzip(struct stream *s, void *buf, size_t bytes, struct xk_err *err)
{
    struct stream_gzip *const g = (struct stream_gzip *)s;
    z_stream *const z = g->inflate;

    z->next_out = buf;
    z->avail_out = (uInt)XK_MIN(bytes, (size_t)UINT32_MAX / 2);
    const uInt wanted = z->avail_out;
    while (z->avail_out == wanted && !g->ended) {
        if (!z->avail_in) {
            const int more = refill(g, z, err);
            if (more < 0)
                return more;
            if (!more) {
                g->damaged |= !g->members || z->total_in != 0;
                break;
            }
        }
        const int code = inflate(z, Z_NO_FLUSH);
        if (code == Z_MEM_ERROR)
            return xk_fail_memory(err);
        if (code == Z_STREAM_END) {
            g->members = true;
            (void)inflateReset(z); /* another one may follow */
        } else if (code != Z_OK) {
            g->damaged |= !g->members || z->total_out != 0; /* else it is what tapes and downloads append */
            g->ended = true;
        }
    }
    return (ssize_t)(wanted - z->avail_out);
}

int stream_from_gzip(struct stream_gzip *ret, struct stream *from, struct xk_err *err)
{
    *ret = (struct stream_gzip){.stream = {.read = read_gzip, .done = gzip_done, .name = from->name}, .from = from};
    z_stream *const z = xk_zalloc(sizeof(*z));
    ret->in = xk_alloc(GZIP_IN_BYTES);
    if (!z || !ret->in || inflateInit2(z, GZIP_WINDOW) != Z_OK) {
        free(z);
        free(ret->in);
        *ret = (struct stream_gzip){0};
        return xk_fail_memory(err);
    }
    ret->inflate = z;
    return 0;
}
