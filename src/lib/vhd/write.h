/*
 * Writing to the disk inside a sparse image: sectors go into blocks of this image, never into its parents.
 *
 *     struct vhd_writer w;
 *     if (vhd_writer_begin(&w, &image, err) == 0)
 *         code = vhd_writer_write(&w, buf, sector, count, err);
 *     if (code == 0)
 *         code = vhd_writer_commit(&w, err);
 *     vhd_writer_done(&w);
 *
 * Until a commit the image reads as before, except for sectors it had already: those are overwritten in place. A commit
 * is ordered: data and the footer behind them, then bitmaps, then the table, each on stable storage before the next.
 * Whatever point it is cut off at, the image opens and holds the old or the new content of each sector; only the batmap
 * may need `repair`.
 */
#ifndef VHD_WRITE_H
#define VHD_WRITE_H

#include "lib/vhd/image.h"

#define VHD_WRITER_BLOCKS_MAX 1024 /* touched blocks between two commits; the writer commits by itself then */

struct vhd_writer {
    struct vhd *image;
    struct vhd_touched *touched; /* blocks with a changed bitmap, by block number */
    size_t count, capacity;
    uint64_t end;       /* where the next block goes, bytes */
    uint64_t stale_end; /* bytes of the file below this may hold something else than zeros */
    bool grown;         /* blocks were added: the footer moves */
    bool reserve;       /* set by the caller: give new blocks their space at once instead of leaving holes */
};

/*
 * image     opened with VHD_WRITE, without VHD_NO_TABLES; its description is updated by commits.
 * returns   0; -EINVAL: fixed, or not opened for writing; -EBADMSG: tables damaged, or blocks
 *           that share sectors.
 */
int vhd_writer_begin(struct vhd_writer *ret, struct vhd *image, struct xk_err *err);
/* returns 0; -EINVAL: past the end of the disk; -ENOSPC; -EFBIG: the file would pass 2 TiB; I/O errors. */
int vhd_writer_write(struct vhd_writer *w, const void *buf, uint64_t sector, uint64_t count, struct xk_err *err);
/* Give a block a place, with no sector marked present. returns as vhd_writer_write(). */
int vhd_writer_allocate(struct vhd_writer *w, uint32_t block, struct xk_err *err);
/*
 * Mark sectors of an allocated (or just allocated) block as present and return where in the file they go, for a caller
 * that moves the data itself before the commit.
 */
int vhd_writer_place(struct vhd_writer *w, uint64_t sector, uint64_t count_in_block, uint64_t *ret_offset,
                     struct xk_err *err);
/*
 * A block with changes that are not committed: the first at or after `block`.
 *
 * ret_bitmap   the sectors it will have after the commit; valid until the next call that changes the writer.
 * ret_data     where its data begin in the file, bytes.
 * returns      false: there is none.
 */
bool vhd_writer_pending(const struct vhd_writer *w, uint32_t block, uint32_t *ret_block, const uint8_t **ret_bitmap,
                        uint64_t *ret_data);
int vhd_writer_commit(struct vhd_writer *w, struct xk_err *err);
/* Frees; what was not committed is dropped. */
void vhd_writer_done(struct vhd_writer *w);

#endif
