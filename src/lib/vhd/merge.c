/*
 * The extents of the upper layers, seen as a chain of their own, are copied in ascending order through one buffer. The
 * writer below collects bitmaps and table entries and commits them after every GiB, so fragments cost their data and
 * little else. XenServer's coalesce goes block by block and renews bitmap, table and footer with each write.
 */
#include "lib/vhd/merge.h"

#include "lib/vhd/write.h"

#include <string.h>

#define COPY_BYTES      (2u << 20)
#define COMMIT_BYTES    XK_GIB
#define CHECKPOINT_UNIT (UINT64_C(64) * VHD_BLOCK_BYTES / VHD_SECTOR) /* sectors walked at a time */

/* Where merged sectors go: an image with blocks, or a plain run of sectors (fixed image, raw disk). */
struct target {
    struct vhd image;
    struct vhd_writer writer;
    struct xk_file raw;
    const struct xk_file *plain; /* NULL: through the writer */
    uint64_t sectors;            /* of its disk */
};

struct merge {
    const struct vhd_chain *chain;
    const struct vhd_merge *how;
    struct target target;
    struct vhd_merged result;
    uint8_t *buf;
    uint64_t uncommitted_bytes, started_ns;
    struct xk_err *err;
};

const char *vhd_merge_target(const struct vhd_chain *chain, size_t links)
{
    return links < chain->count ? chain->layers[links].path : chain->raw_path;
}

static int target_open(struct target *t, const struct vhd_chain *chain, size_t links, const struct xk_fs *fs,
                       struct xk_err *err)
{
    if (links >= chain->count) {
        if (links > chain->count || !chain->raw.open)
            return xk_fail(err, -EINVAL, "%s: there is no image %zu below it to merge into", chain->layers[0].path,
                           links);
        /* What is opened for writing is what the chain was made of. */
        int code = xk_file_open(&t->raw, fs, chain->raw_path, O_RDWR, 0, err);
        if (code == 0)
            code = xk_file_check_same(&t->raw, &chain->raw, err);
        t->plain = &t->raw;
        t->sectors = chain->raw_bytes / VHD_SECTOR;
        return code;
    }
    int code = vhd_open(&t->image, fs, chain->layers[links].path, VHD_WRITE | VHD_DEVICES, err);
    if (code == 0)
        code = xk_file_check_same(&t->image.file, &chain->layers[links].file, err);
    if (code < 0)
        return code;
    t->sectors = vhd_sectors(&t->image);
    if (vhd_is_sparse(&t->image))
        return vhd_writer_begin(&t->writer, &t->image, err);
    t->plain = &t->image.file;
    return 0;
}

static void target_close(struct target *t)
{
    vhd_writer_done(&t->writer);
    vhd_close(&t->image);
    xk_file_close(&t->raw);
}

static int target_commit(struct target *t, struct xk_err *err)
{
    return t->plain ? xk_file_sync(t->plain, err) : vhd_writer_commit(&t->writer, err);
}

static int target_write(struct target *t, const void *buf, uint64_t sector, uint64_t count, struct xk_err *err)
{
    if (t->plain)
        return xk_file_write(t->plain, buf, (size_t)(count * VHD_SECTOR), sector * VHD_SECTOR, err);
    return vhd_writer_write(&t->writer, buf, sector, count, err);
}

/* Sleep as long as this run is ahead of its bandwidth. */
static void throttle(const struct merge *m)
{
    const uint64_t rate = m->how->bandwidth_bps;
    if (!rate)
        return;
    const double due_ns = (double)m->result.sectors * VHD_SECTOR * 8 / (double)rate * (double)XK_NS_PER_S;
    const uint64_t passed_ns = m->how->clock->monotonic_ns(m->how->clock) - m->started_ns;
    if (due_ns > (double)passed_ns)
        m->how->clock->sleep_ns(m->how->clock, (uint64_t)(due_ns - (double)passed_ns));
}

static int merge_extent(void *context, const struct vhd_extent *e)
{
    struct merge *m = context;

    if (e->layer == VHD_LAYER_ZERO)
        return 0;
    if (e->start + e->sectors > m->target.sectors)
        return xk_fail(m->err, -ERANGE, "sector %llu of %s lies past the end of %s; grow that one first",
                       (unsigned long long)e->start, m->chain->layers[0].path,
                       vhd_merge_target(m->chain, m->how->links));
    for (uint64_t at = 0; at < e->sectors;) {
        const uint64_t count = XK_MIN(e->sectors - at, (uint64_t)(COPY_BYTES / VHD_SECTOR));
        int code = xk_file_read(&m->chain->layers[e->layer].file, m->buf, (size_t)(count * VHD_SECTOR),
                                e->file_offset + at * VHD_SECTOR, m->err);
        if (code == 0)
            code = target_write(&m->target, m->buf, e->start + at, count, m->err);
        if (code < 0)
            return code;
        at += count;
        m->result.sectors += count;
        m->uncommitted_bytes += count * VHD_SECTOR;
        throttle(m);
    }
    return 0;
}

/* Who deletes the merged images relies on what their names and the target's lead to now. */
static int check_names(const struct target *t, const struct vhd_chain *chain, size_t links, struct xk_err *err)
{
    int code = vhd_chain_check_names(chain, links, err);
    if (code == 0)
        code = xk_file_check_name(t->raw.open ? &t->raw : &t->image.file, err);
    if (code == -ESTALE)
        xk_err_hint(err, "keep what was to be merged: its data may have gone into a file without a name");
    return code;
}

static int checkpoint(struct merge *m, uint64_t sector)
{
    const int code = target_commit(&m->target, m->err);
    m->uncommitted_bytes = 0;
    return code < 0 || !m->how->checkpoint ? code : m->how->checkpoint(m->how->context, sector);
}

static int merge_all(struct merge *m)
{
    /* The upper layers alone: what they lack shows as zeros, and is left alone. */
    const struct vhd_chain upper = {.layers = m->chain->layers, .count = m->how->links, .raw.fd = -1};
    const uint64_t total = vhd_sectors(&m->chain->layers[0]);
    uint64_t at = m->how->start_sector;

    while (at < total && !m->result.stopped) {
        const uint64_t count = XK_MIN(CHECKPOINT_UNIT, total - at);
        int code = vhd_chain_map(&upper, at, count, merge_extent, m, m->err);
        if (code < 0)
            return code;
        at += count;
        m->result.stopped = at < total && xk_stop_signal() != 0;
        if (m->how->progress)
            m->how->progress(m->how->context, at, total);
        if (m->uncommitted_bytes >= COMMIT_BYTES || m->result.stopped) {
            code = checkpoint(m, at);
            if (code < 0)
                return code;
        }
    }
    return m->result.stopped ? 0 : checkpoint(m, total);
}

int vhd_merge_run(struct vhd_merged *ret, const struct vhd_chain *chain, const struct xk_fs *fs,
                  const struct vhd_merge *how, struct xk_err *err)
{
    struct merge m = {.chain = chain, .how = how, .err = err, .target.image.file.fd = -1, .target.raw.fd = -1};

    xk_autofree uint8_t *buf = xk_alloc(COPY_BYTES);
    if (!buf)
        return xk_fail_memory(err);
    m.buf = buf;
    if (how->bandwidth_bps)
        m.started_ns = how->clock->monotonic_ns(how->clock);
    int code = target_open(&m.target, chain, how->links, fs, err);
    m.target.writer.reserve = how->reserve;
    if (code == 0)
        code = merge_all(&m);
    if (code == 0)
        code = check_names(&m.target, chain, how->links, err);
    target_close(&m.target);
    if (code == 0)
        *ret = m.result;
    return code;
}
