/*
 * A disk as a qcow2 image. Its tables may stand anywhere in the file, and are written last, so the whole of it goes
 * through a file without a name: in memory, or beside the state, wherever disks are. Then it is read, or was written, a
 * megabyte at a time, so that others get their turn.
 *
 * What an image leaves to a backing file stays what the disk has: so a differencing image is put on top of it.
 *
 * Facts: xapi's qcow_tool_wrapper.ml (2026-08).
 */
#include "lib/simpool/raw-disk.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

_Static_assert(VHD_BLOCK_BYTES % QCOW2_WRITE_CLUSTER == 0, "blocks are whole clusters");

/* ---- the file ---- */

/* Whoever opens a file by this table gets ours, whatever it is called. */
static int open_ours(const struct xk_fs *fs, const char *path, int flags, mode_t mode)
{
    const struct raw_spool *const s = fs->state;
    const int fd = fcntl(s->file.fd, F_DUPFD_CLOEXEC, 0);

    return fd < 0 ? -errno : fd;
}

static int spool_open(struct raw_spool *s, struct simpool *p)
{
    const int fd = p->disk_folder ? open(p->disk_folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)
                                  : memfd_create("qcow2", MFD_CLOEXEC);

    if (fd < 0)
        return -errno;
    s->pool = p;
    s->ops = *xk_fs_posix()->ops;
    s->ops.open = open_ours;
    s->fs = (struct xk_fs){.ops = &s->ops, .state = s};
    s->file = (struct xk_file){.fs = &s->fs, .fd = fd, .open = true, .path = "the image"};
    return 0;
}

/* The file grew, or will. returns   -ENOSPC: past what disks may take in all. */
static int spool_count(struct raw_spool *s, uint64_t bytes)
{
    struct simpool *const p = s->pool;
    const uint64_t most = p->disk_folder ? SIM_DISKS_FILES_MAX : SIM_DISKS_MEMORY_MAX;

    if (bytes <= s->counted)
        return 0;
    if (bytes - s->counted > most - XK_MIN(p->disk_bytes, most))
        return -ENOSPC;
    p->disk_bytes += bytes - s->counted;
    s->counted = bytes;
    return 0;
}

int raw_qcow2_open(struct raw_disk *r, bool writes)
{
    const int code = spool_open(&r->spool, r->t.pool);

    return code < 0 || !writes ? code : qcow2_writer_begin(&r->writer, &r->spool.file, NULL);
}

void raw_qcow2_close(struct raw_disk *r)
{
    if (!r->spool.pool)
        return;
    qcow2_close(&r->image);
    qcow2_writer_done(&r->writer);
    xk_file_close(&r->spool.file);
    r->spool.pool->disk_bytes -= r->spool.counted;
    r->spool.pool = NULL;
}

/* ---- taking ---- */

enum sim_transfer_step raw_qcow2_take(struct raw_disk *r, const uint8_t *bytes, size_t count, size_t *ret_taken)
{
    struct raw_spool *const s = &r->spool;

    *ret_taken = count;
    if (spool_count(s, s->bytes + count) < 0 || xk_file_write(&s->file, bytes, count, s->bytes, NULL) < 0)
        return raw_broken(r);
    s->bytes += count;
    sim_transfer_progress(&r->t, count);
    return SIM_TRANSFER_MORE;
}

/* Zeros over what the disk has. */
static int store_zeros(struct raw_disk *r, uint64_t start, uint64_t end)
{
    uint64_t from, to;

    memset(r->other, 0, sizeof(r->other));
    while (start < end) {
        const size_t part = (size_t)XK_MIN(end - start, sizeof(r->other));
        const bool held = r->held > 0 && r->held_at < start + part && r->held_at + r->held > start;
        if ((held || (sim_disk_next(r->t.pool, raw_vdi(r), start, &from, &to) && from < start + part)) &&
            !raw_store(r, start, r->other, part))
            return -EIO;
        start += part;
    }
    return 0;
}

static int on_extent(void *context, const struct qcow2_extent *e)
{
    struct raw_disk *const r = context;
    /* The last cluster may pass the disk's end. */
    const size_t count = (size_t)XK_MIN(e->bytes, r->image.size_bytes - XK_MIN(e->start, r->image.size_bytes));
    int code = 0;

    if (e->kind == QCOW2_ABSENT)
        return 0;
    if (e->kind == QCOW2_ZERO)
        return store_zeros(r, e->start, e->start + count);
    if (e->bytes > sizeof(r->other))
        return -EIO;
    if (e->kind == QCOW2_COMPRESSED) {
        uint8_t *const cluster = xk_array_alloc(qcow2_cluster_bytes(&r->image), 1);
        const size_t skip = (size_t)(e->start % qcow2_cluster_bytes(&r->image));
        code = cluster ? qcow2_read_compressed(&r->image, cluster, e->entry, NULL) : -ENOMEM;
        if (code == 0)
            memcpy(r->other, cluster + skip, XK_MIN(count, qcow2_cluster_bytes(&r->image) - skip));
        free(cluster);
    } else {
        code = xk_file_read(&r->image.file, r->other, count, e->file_offset, NULL);
    }
    return code < 0 ? code : raw_store(r, e->start, r->other, count) ? 0 : -EIO;
}

enum sim_transfer_step raw_qcow2_end(struct raw_disk *r)
{
    if (!r->begun && qcow2_open(&r->image, &r->spool.fs, "the image", NULL) < 0)
        return raw_broken(r);
    r->begun = true;
    if (r->image.size_bytes > r->size || !raw_vdi(r))
        return raw_broken(r);
    const uint64_t part = XK_MIN(r->image.size_bytes - r->at, (uint64_t)VHD_BLOCK_BYTES);
    if (part > 0 && qcow2_map(&r->image, r->at, part, on_extent, r, NULL) < 0)
        return raw_broken(r);
    r->at += part;
    return r->at < r->image.size_bytes ? SIM_TRANSFER_AGAIN : raw_taken(r);
}

/* ---- giving ---- */

static bool is_wanted(const struct raw_disk *r, size_t at, bool differencing)
{
    return differencing ? memcmp(r->piece + at, r->other + at, QCOW2_WRITE_CLUSTER) != 0
                        : !xk_is_zero(r->piece + at, QCOW2_WRITE_CLUSTER);
}

static int put_block(struct raw_disk *r, const struct sim_object *vdi, const struct sim_object *base)
{
    const uint64_t start = (uint64_t)r->blocks[r->block++] * VHD_BLOCK_BYTES;
    int code = sim_disk_read(r->t.pool, vdi, r->piece, VHD_BLOCK_BYTES, start);

    if (code == 0 && base)
        code = sim_disk_read(r->t.pool, base, r->other, VHD_BLOCK_BYTES, start);
    for (size_t at = 0; at < VHD_BLOCK_BYTES && code == 0; at += QCOW2_WRITE_CLUSTER) {
        uint64_t offset;
        if (start + at >= r->size || !is_wanted(r, at, base != NULL))
            continue;
        code = spool_count(&r->spool, r->writer.end + 4 * QCOW2_WRITE_CLUSTER);
        if (code == 0)
            code = qcow2_writer_place(&r->writer, (start + at) / QCOW2_WRITE_CLUSTER, 1, &offset, NULL);
        if (code == 0)
            code = xk_file_write(&r->spool.file, r->piece + at, QCOW2_WRITE_CLUSTER, offset, NULL);
    }
    return code;
}

static int finish(struct raw_disk *r)
{
    const int code = qcow2_writer_finish(&r->writer, r->size, NULL);

    r->ended = true;
    r->at = 0;
    return code < 0 ? code : xk_file_size(&r->spool.bytes, &r->spool.file, NULL);
}

enum sim_transfer_step raw_qcow2_send(struct raw_disk *r, const struct sim_object *vdi)
{
    const struct sim_object *const base = raw_base(r);

    if (*r->base && !base)
        return raw_broken(r);
    if (r->block < r->block_count) {
        if (put_block(r, vdi, base) < 0)
            return raw_broken(r);
        sim_transfer_progress(&r->t, VHD_BLOCK_BYTES);
        return SIM_TRANSFER_AGAIN;
    }
    if (!r->ended && finish(r) < 0)
        return raw_broken(r);
    const size_t part = (size_t)XK_MIN(r->spool.bytes - r->at, (uint64_t)RAW_PIECE_BYTES);
    if (part == 0)
        return sim_transfer_succeed(&r->t, NULL);
    if (xk_file_read(&r->spool.file, r->piece, part, r->at, NULL) < 0)
        return raw_broken(r);
    r->at += part;
    return sim_transfer_write(&r->t, r->piece, part);
}
