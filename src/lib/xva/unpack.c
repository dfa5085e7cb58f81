/*
 * gzip and zstd, a step at a time. Several streams behind each other are one, as the tools of these names take them.
 */
#include "lib/xva/parts.h"

#include <errno.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#define GZIP_ONLY        16
#define ZSTD_WINDOW_BITS 27 /* what the zstd tool takes unasked: 128 MiB */

struct xva_unpack {
    enum xva_packing packing;
    z_stream gzip;
    bool gzip_open, between; /* between: a stream ended, and the next one has not begun */
    ZSTD_DCtx *zstd;
};

enum xva_packing xva_packing_of(const uint8_t *bytes, size_t count)
{
    static const uint8_t gzip[] = {0x1f, 0x8b}, zstd[] = {0x28, 0xb5, 0x2f, 0xfd};

    if (count >= sizeof(zstd) && memcmp(bytes, zstd, sizeof(zstd)) == 0)
        return XVA_ZSTD;
    return count >= sizeof(gzip) && memcmp(bytes, gzip, sizeof(gzip)) == 0 ? XVA_GZIP : XVA_PLAIN;
}

struct xva_unpack *xva_unpack_new(enum xva_packing packing)
{
    struct xva_unpack *const u = xk_zalloc(sizeof(*u));

    if (!u)
        return NULL;
    u->packing = packing;
    if (packing == XVA_ZSTD) {
        u->zstd = ZSTD_createDCtx();
        if (u->zstd)
            (void)ZSTD_DCtx_setParameter(u->zstd, ZSTD_d_windowLogMax, ZSTD_WINDOW_BITS);
    } else {
        u->gzip_open = inflateInit2(&u->gzip, MAX_WBITS + GZIP_ONLY) == Z_OK;
    }
    if (u->zstd || u->gzip_open)
        return u;
    free(u);
    return NULL;
}

void xva_unpack_free(struct xva_unpack *u)
{
    if (!u)
        return;
    if (u->gzip_open)
        (void)inflateEnd(&u->gzip);
    ZSTD_freeDCtx(u->zstd);
    free(u);
}

static int gzip_step(struct xva_unpack *u, const void *in, size_t count, size_t *ret_taken, void *out, size_t bytes,
                     size_t *ret_made)
{
    if (u->between) {
        if (count == 0)
            return 0;
        if (inflateReset(&u->gzip) != Z_OK)
            return -EBADMSG;
        u->between = false;
    }
    u->gzip.next_in = (Bytef *)(uintptr_t)in;
    u->gzip.avail_in = (uInt)XK_MIN(count, (size_t)UINT32_MAX);
    u->gzip.next_out = out;
    u->gzip.avail_out = (uInt)XK_MIN(bytes, (size_t)UINT32_MAX);
    const uInt had = u->gzip.avail_in, room = u->gzip.avail_out;
    const int code = inflate(&u->gzip, Z_NO_FLUSH);
    *ret_taken = had - u->gzip.avail_in;
    *ret_made = room - u->gzip.avail_out;
    if (code == Z_MEM_ERROR)
        return -ENOMEM;
    u->between = code == Z_STREAM_END;
    return code == Z_OK || code == Z_STREAM_END || code == Z_BUF_ERROR ? 0 : -EBADMSG;
}

int xva_unpack_step(struct xva_unpack *u, const void *in, size_t count, size_t *ret_taken, void *out, size_t bytes,
                    size_t *ret_made)
{
    *ret_taken = *ret_made = 0;
    if (u->packing == XVA_GZIP)
        return gzip_step(u, in, count, ret_taken, out, bytes, ret_made);
    ZSTD_inBuffer from = {.src = in, .size = count};
    ZSTD_outBuffer to = {.dst = out, .size = bytes};
    const size_t code = ZSTD_decompressStream(u->zstd, &to, &from);
    *ret_taken = from.pos;
    *ret_made = to.pos;
    return ZSTD_isError(code) ? -EBADMSG : 0;
}
