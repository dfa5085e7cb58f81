/*
 * Compressed clusters: a raw deflate stream or one zstd frame, stored somewhere in the file in whole sectors, with
 * whatever follows behind it. zstd expands straight into the cluster; its streaming functions would first allocate the
 * window that the frame asks for.
 */
#include "lib/qcow2/qcow2.h"

#include <zlib.h>
#include <zstd.h>

#define DEFLATE_WINDOW_BITS 12 /* what QEMU writes */

static void *zlib_alloc(void *unused, unsigned count, unsigned bytes)
{
    return xk_array_alloc(count, bytes);
}

static void zlib_free(void *unused, void *memory)
{
    free(memory);
}

static int expand_deflate(uint8_t *ret, uint32_t ret_bytes, const uint8_t *from, uint32_t bytes)
{
    z_stream z = {.zalloc = zlib_alloc, .zfree = zlib_free, .avail_in = bytes, .next_out = ret, .avail_out = ret_bytes};

    z.next_in = (z_const Bytef *)from;
    const int begun = inflateInit2(&z, -DEFLATE_WINDOW_BITS);
    if (begun != Z_OK)
        return -ENOMEM;
    const int ended = inflate(&z, Z_FINISH);
    const bool whole = z.avail_out == 0 && (ended == Z_STREAM_END || ended == Z_BUF_ERROR);
    (void)inflateEnd(&z);
    return whole ? 0 : ended == Z_MEM_ERROR ? -ENOMEM : -EBADMSG;
}

static int expand_zstd(uint8_t *ret, uint32_t ret_bytes, const uint8_t *from, uint32_t bytes)
{
    const size_t frame = ZSTD_findFrameCompressedSize(from, bytes);
    if (ZSTD_isError(frame))
        return -EBADMSG;
    ZSTD_DCtx *const context = ZSTD_createDCtx();
    if (!context)
        return -ENOMEM;
    const size_t got = ZSTD_decompressDCtx(context, ret, ret_bytes, from, frame);
    (void)ZSTD_freeDCtx(context);
    return !ZSTD_isError(got) && got == ret_bytes ? 0 : -EBADMSG;
}

int qcow2_read_compressed(const struct qcow2 *q, uint8_t *ret, uint64_t entry, struct xk_err *err)
{
    const uint32_t split = 62 - (q->cluster_bits - 8); /* the place below, the number of further sectors above */
    const uint64_t offset = entry & ((UINT64_C(1) << split) - 1);
    const uint64_t sectors = (entry & ~(UINT64_C(3) << 62)) >> split;
    const uint64_t stored = (sectors + 1) * 512 - offset % 512; /* at most two clusters */

    if (offset >= q->file_bytes)
        return xk_fail(err, -EBADMSG, "%s: a compressed cluster at %llu lies outside the file", q->path,
                       (unsigned long long)offset);
    const size_t bytes = (size_t)XK_MIN(stored, q->file_bytes - offset);
    xk_autofree uint8_t *from = xk_alloc(bytes);
    if (!from)
        return xk_fail_memory(err);
    int code = xk_file_read(&q->file, from, bytes, offset, err);
    if (code < 0)
        return code;
    code = q->compression == QCOW2_ZSTD ? expand_zstd(ret, qcow2_cluster_bytes(q), from, (uint32_t)bytes)
                                        : expand_deflate(ret, qcow2_cluster_bytes(q), from, (uint32_t)bytes);
    if (code == -ENOMEM)
        return xk_fail_memory(err);
    return code < 0 ? xk_fail(err, code, "%s: the compressed cluster at %llu does not expand to a cluster", q->path,
                              (unsigned long long)offset)
                    : 0;
}
