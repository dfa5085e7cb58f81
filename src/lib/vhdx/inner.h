/*
 * What the files of this library share.
 */
#ifndef VHDX_INNER_H
#define VHDX_INNER_H

#include "lib/vhdx/vhdx.h"

#define VHDX_UNIT (1u << 20) /* regions and blocks begin at multiples of 1 MiB */

/* CRC-32C (Castagnoli), reflected; `crc` is 0 at first, and the result so far when a buffer is summed in parts. */
uint32_t vhdx_crc32c(uint32_t crc, const void *bytes, size_t count);

/* What the header in force says about the log. */
struct vhdx_log_place {
    uint8_t guid[16];
    uint64_t offset;
    uint32_t bytes;
};
/*
 * Read the log and keep what it changes.
 * ret       NULL when nothing is to be replayed.
 * file_bytes  raised to what the file has to have afterwards.
 * returns   0; -EBADMSG: no sequence in it is whole; -EFBIG.
 */
int vhdx_log_read(struct vhdx_log **ret, const struct xk_file *file, uint64_t *file_bytes,
                  const struct vhdx_log_place *place, struct xk_err *err);
void vhdx_log_free(struct vhdx_log *log);
/* Lay the patches over bytes that were read at `offset`. */
void vhdx_log_apply(const struct vhdx_log *log, uint8_t *buf, size_t bytes, uint64_t offset);
bool vhdx_log_touches(const struct vhdx_log *log, uint64_t offset, uint64_t bytes);

static inline bool vhdx_guid_is_null(const uint8_t guid[16])
{
    for (int i = 0; i < 16; i++) {
        if (guid[i])
            return false;
    }
    return true;
}

#endif
