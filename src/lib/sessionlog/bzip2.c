/* Status reports are packed with bzip2. What follows the last whole stream of a file is not looked at. */
#include "lib/sessionlog/stream.h"

#include <bzlib.h>
#include <string.h>

#define IN_BYTES 65536

static void bzip2_done(struct stream *s)
{
    struct stream_bzip2 *const b = (struct stream_bzip2 *)s;

    if (b->decompress)
        (void)BZ2_bzDecompressEnd(b->decompress);
    free(b->decompress);
    free(b->in);
}

/* returns 1 when there is more to unpack; 0 at the end. */
static int refill(struct stream_bzip2 *b, struct xk_err *err)
{
    bz_stream *const z = b->decompress;

    if (z->avail_in)
        return 1;
    const ssize_t n = stream_read_some(b->from, b->in, IN_BYTES, err);
    if (n < 0)
        return (int)n;
    z->next_in = (char *)b->in;
    z->avail_in = (unsigned)n;
    return n > 0;
}

/* Another stream may follow, as pbzip2 writes them. */
static int begin_again(bz_stream *z)
{
    char *const next_in = z->next_in;
    const unsigned avail_in = z->avail_in;
    char *const next_out = z->next_out;
    const unsigned avail_out = z->avail_out;

    (void)BZ2_bzDecompressEnd(z);
    *z = (bz_stream){0};
    const int code = BZ2_bzDecompressInit(z, 0, 0);
    z->next_in = next_in;
    z->avail_in = avail_in;
    z->next_out = next_out;
    z->avail_out = avail_out;
    return code;
}

static ssize_t read_bzip2(struct stream *s, void *buf, size_t bytes, struct xk_err *err)
{
    struct stream_bzip2 *const b = (struct stream_bzip2 *)s;
    bz_stream *const z = b->decompress;
    const unsigned wanted = (unsigned)XK_MIN(bytes, (size_t)UINT32_MAX / 2);

    z->next_out = buf;
    z->avail_out = wanted;
    while (z->avail_out == wanted && !b->ended) {
        const int more = refill(b, err);
        if (more < 0)
            return more;
        if (!more) {
            b->damaged |= !b->between;
            break;
        }
        const int code = BZ2_bzDecompress(z);
        if (code == BZ_MEM_ERROR)
            return xk_fail_memory(err);
        if (code == BZ_STREAM_END) {
            b->between = true;
            b->ended = begin_again(z) != BZ_OK;
        } else if (code != BZ_OK) {
            b->damaged |= !b->between;
            b->ended = true;
        } else if (z->avail_out != wanted) {
            b->between = false;
        }
    }
    return (ssize_t)(wanted - z->avail_out);
}

int stream_from_bzip2(struct stream_bzip2 *ret, struct stream *from, struct xk_err *err)
{
    *ret = (struct stream_bzip2){.stream = {.read = read_bzip2, .done = bzip2_done, .name = from->name}, .from = from};
    bz_stream *const z = xk_zalloc(sizeof(*z));
    ret->in = xk_alloc(IN_BYTES);
    if (!z || !ret->in || BZ2_bzDecompressInit(z, 0, 0) != BZ_OK) {
        free(z);
        free(ret->in);
        *ret = (struct stream_bzip2){0};
        return xk_fail_memory(err);
    }
    ret->decompress = z;
    return 0;
}
