/*
 * gzip and zstd, the other way: bytes of an archive as they are made become bytes of a packed one.
 */
#include "lib/xva/xva.h"

#include <errno.h>
#include <zlib.h>
#include <zstd.h>

#define GZIP_HEADER  16
#define GZIP_MEMORY  8
#define OUTPUT_BYTES (64u << 10)

struct xva_pack {
    enum xva_packing packing;
    z_stream gzip;
    bool gzip_open;
    ZSTD_CCtx *zstd;
    uint8_t output[OUTPUT_BYTES];
};

struct xva_pack *xva_pack_new(enum xva_packing packing)
{
    struct xva_pack *const p = xk_zalloc(sizeof(*p));

    if (!p)
        return NULL;
    p->packing = packing;
    if (packing == XVA_ZSTD)
        p->zstd = ZSTD_createCCtx();
    else if (packing == XVA_GZIP)
        p->gzip_open = deflateInit2(&p->gzip, Z_DEFAULT_COMPRESSION, Z_DEFLATED, MAX_WBITS + GZIP_HEADER, GZIP_MEMORY,
                                    Z_DEFAULT_STRATEGY) == Z_OK;
    if (packing == XVA_PLAIN || p->zstd || p->gzip_open)
        return p;
    free(p);
    return NULL;
}

void xva_pack_free(struct xva_pack *p)
{
    if (!p)
        return;
    if (p->gzip_open)
        (void)deflateEnd(&p->gzip);
    ZSTD_freeCCtx(p->zstd);
    free(p);
}

static int gzip_add(struct xva_pack *p, struct xk_buf *ret, const void *bytes, size_t count, bool last)
{
    int code;

    p->gzip.next_in = (Bytef *)(uintptr_t)bytes;
    p->gzip.avail_in = (uInt)count;
    do {
        p->gzip.next_out = p->output;
        p->gzip.avail_out = sizeof(p->output);
        code = deflate(&p->gzip, last ? Z_FINISH : Z_NO_FLUSH);
        xk_buf_add(ret, p->output, sizeof(p->output) - p->gzip.avail_out);
    } while (code == Z_OK && (p->gzip.avail_out == 0 || last));
    return code == Z_STREAM_ERROR ? -EINVAL : ret->error;
}

static int zstd_add(struct xva_pack *p, struct xk_buf *ret, const void *bytes, size_t count, bool last)
{
    ZSTD_inBuffer in = {.src = bytes, .size = count};
    size_t left;

    do {
        ZSTD_outBuffer out = {.dst = p->output, .size = sizeof(p->output)};
        left = ZSTD_compressStream2(p->zstd, &out, &in, last ? ZSTD_e_end : ZSTD_e_continue);
        if (ZSTD_isError(left))
            return -ENOMEM;
        xk_buf_add(ret, p->output, out.pos);
    } while (last ? left > 0 : in.pos < in.size);
    return ret->error;
}

int xva_pack_add(struct xva_pack *p, struct xk_buf *ret, const void *bytes, size_t count, bool last)
{
    if (count > XVA_PIECE_MAX)
        return -E2BIG;
    if (p->packing == XVA_PLAIN) {
        xk_buf_add(ret, bytes, count);
        return ret->error;
    }
    return p->packing == XVA_ZSTD ? zstd_add(p, ret, bytes, count, last) : gzip_add(p, ret, bytes, count, last);
}
