/*
 * A dynamic or differencing image as a stream, from front to back: what servers send and are sent. Nothing is opened.
 */
#ifndef VHD_STREAM_H
#define VHD_STREAM_H

#include "core/buf.h"
#include "lib/vhd/format.h"

#define VHD_STREAM_BLOCKS_MAX (1u << 22) /* entries of a table */

/* ---- reading ---- */

struct vhd_stream;

struct vhd_stream_settings {
    /* The size of the disk is known. returns   0; -1: stop. May be NULL. */
    int (*size)(void *context, uint64_t bytes);
    /* Bytes that the image has, in whole sectors; blocks come as the file has them. returns   0; -1: stop. */
    int (*data)(void *context, uint64_t start, const void *bytes, size_t count);
    void *context;
};

/* NULL: no memory. */
struct vhd_stream *vhd_stream_new(const struct vhd_stream_settings *settings) XK_MUST_USE;
void vhd_stream_free(struct vhd_stream *s); /* NULL is fine */
/*
 * Take what came.
 *
 * returns   0: more has to come; 1: all blocks were there, whatever follows; -EBADMSG: that is no such image;
 *           -ENOTSUP: its parts are not in the order of a stream, or it is fixed; -ECANCELED: a callback stopped it;
 *           -ENOMEM.
 */
int vhd_stream_feed(struct vhd_stream *s, const void *bytes, size_t count, struct xk_err *err);

/* ---- writing ---- */

struct vhd_stream_head {
    uint64_t bytes; /* of the disk; rounded up to whole sectors */
    uint8_t uuid[16];
    int64_t unix_seconds;
    bool differencing;
    uint8_t parent_uuid[16];
    const char *parent_name;
};

/*
 * What stands before the blocks.
 *
 * blocks    numbers of those that follow, of VHD_BLOCK_BYTES each, ascending: they come in this order, each as a
 *           bitmap of a sector and all its data.
 * returns   0; -EFBIG: above VHD_SIZE_MAX; -ENOMEM.
 */
int vhd_stream_head(struct xk_buf *ret, const struct vhd_stream_head *head, const uint32_t *blocks, size_t count);
/* What stands behind them. */
void vhd_stream_tail(struct xk_buf *ret, const struct vhd_stream_head *head);

#endif
