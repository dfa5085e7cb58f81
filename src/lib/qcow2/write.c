/*
 * Everything is appended: data, each L2 table when the next one begins, then L1, reference counts, and the header into
 * the cluster kept free for it. Each cluster is used once, so the counts are ones up to the end of the file, and how
 * many clusters the counts need themselves is found by trying again until it fits.
 */
#include "lib/qcow2/qcow2.h"

#include "core/bytes.h"

#include <string.h>

#define CLUSTER         QCOW2_WRITE_CLUSTER
#define CLUSTER_BITS    16
#define L2_ENTRIES      (CLUSTER / 8)
#define BLOCK_REFCOUNTS (CLUSTER / 2)       /* of 16 bits */
#define COPIED          (UINT64_C(1) << 63) /* used once: may be written in place */
#define HEADER_BYTES    112u
#define L1_ENTRIES_MAX  (QCOW2_WRITE_MAX / CLUSTER / L2_ENTRIES)

int qcow2_writer_begin(struct qcow2_writer *ret, const struct xk_file *file, struct xk_err *err)
{
    *ret = (struct qcow2_writer){.file = file, .end = CLUSTER, .l2_index = UINT64_MAX};
    ret->l2 = xk_alloc(CLUSTER);
    return ret->l2 ? 0 : xk_fail_memory(err);
}

static int grow_l1(struct qcow2_writer *w, uint64_t entries, struct xk_err *err)
{
    if (entries > L1_ENTRIES_MAX)
        return xk_fail(err, -EFBIG, "%s: a qcow2 of these clusters holds at most 2 PiB", w->file->path);
    if (entries > w->l1_room) {
        const uint64_t room = XK_MAX(entries, w->l1_room * 2);
        uint64_t *const l1 = xk_realloc(w->l1, (size_t)room * sizeof(*l1));
        if (!l1)
            return xk_fail_memory(err);
        w->l1 = l1;
        w->l1_room = room;
    }
    for (; w->l1_entries < entries; w->l1_entries++)
        w->l1[w->l1_entries] = 0;
    return 0;
}

static int flush_l2(struct qcow2_writer *w, struct xk_err *err)
{
    if (w->l2_index == UINT64_MAX)
        return 0;
    const int code = xk_file_write(w->file, w->l2, CLUSTER, w->end, err);
    if (code < 0)
        return code;
    w->l1[w->l2_index] = w->end | COPIED;
    w->end += CLUSTER;
    w->l2_index = UINT64_MAX;
    return 0;
}

static int turn_to_l2(struct qcow2_writer *w, uint64_t index, struct xk_err *err)
{
    if (w->l2_index == index)
        return 0;
    int code = flush_l2(w, err);
    if (code == 0)
        code = grow_l1(w, index + 1, err);
    if (code < 0)
        return code;
    memset(w->l2, 0, CLUSTER);
    w->l2_index = index;
    return 0;
}

int qcow2_writer_place(struct qcow2_writer *w, uint64_t first, uint64_t count, uint64_t *ret_offset, struct xk_err *err)
{
    /* One table holds all of them, or a table would have to go between them. */
    if (first / L2_ENTRIES != (first + count - 1) / L2_ENTRIES)
        return xk_fail(err, -EINVAL, "%s: clusters of two tables cannot lie next to each other", w->file->path);
    const int code = turn_to_l2(w, first / L2_ENTRIES, err);
    if (code < 0)
        return code;
    struct xk_writer to = xk_writer(w->l2 + first % L2_ENTRIES * 8, (size_t)count * 8);
    *ret_offset = w->end;
    for (uint64_t i = 0; i < count; i++, w->end += CLUSTER)
        xk_write_be64(&to, w->end | COPIED);
    return 0;
}

static int write_l1(struct qcow2_writer *w, struct xk_err *err)
{
    uint8_t piece[4096];
    struct xk_writer to = xk_writer(piece, sizeof(piece));
    const uint64_t offset = w->end;

    for (uint64_t i = 0; i < w->l1_entries; i++) {
        xk_write_be64(&to, w->l1[i]);
        if (to.at == sizeof(piece) || i + 1 == w->l1_entries) {
            const uint64_t at = offset + (i + 1) * 8 - to.at;
            const int code = xk_file_write(w->file, piece, to.at, at, err);
            if (code < 0)
                return code;
            to = xk_writer(piece, sizeof(piece));
        }
    }
    w->end += XK_ROUND_UP(w->l1_entries * 8, CLUSTER);
    return 0;
}

struct counts {
    uint64_t table_offset, table_clusters, blocks, clusters; /* `clusters`: of the file in all */
};

static struct counts plan_counts(uint64_t end)
{
    const uint64_t used = end / CLUSTER;
    struct counts c = {.table_offset = end};

    for (;;) {
        const uint64_t clusters = used + c.table_clusters + c.blocks;
        const uint64_t blocks = XK_DIV_UP(clusters, BLOCK_REFCOUNTS);
        const uint64_t table_clusters = XK_DIV_UP(blocks * 8, CLUSTER);
        if (blocks == c.blocks && table_clusters == c.table_clusters) {
            c.clusters = clusters;
            return c;
        }
        c.blocks = blocks;
        c.table_clusters = table_clusters;
    }
}

static int write_counts(struct qcow2_writer *w, const struct counts *c, struct xk_err *err)
{
    const uint64_t blocks_offset = c->table_offset + c->table_clusters * CLUSTER;
    struct xk_writer to = {0};
    int code = 0;

    for (uint64_t i = 0; i < c->table_clusters * L2_ENTRIES && code == 0; i++) {
        if (i % L2_ENTRIES == 0)
            to = xk_writer(w->l2, CLUSTER);
        xk_write_be64(&to, i < c->blocks ? blocks_offset + i * CLUSTER : 0);
        if (to.at == CLUSTER)
            code = xk_file_write(w->file, w->l2, CLUSTER, c->table_offset + i / L2_ENTRIES * CLUSTER, err);
    }
    for (uint64_t i = 0; i < c->blocks && code == 0; i++) {
        const uint64_t left = c->clusters - i * BLOCK_REFCOUNTS;
        to = xk_writer(w->l2, CLUSTER);
        for (uint64_t n = 0; n < BLOCK_REFCOUNTS; n++)
            xk_write_be16(&to, n < left);
        code = xk_file_write(w->file, w->l2, CLUSTER, blocks_offset + i * CLUSTER, err);
    }
    return code;
}

static int write_header(const struct qcow2_writer *w, const struct counts *c, uint64_t size_bytes, uint64_t l1_offset,
                        struct xk_err *err)
{
    uint8_t header[HEADER_BYTES + 8] = {0}; /* 8: the end of the extensions */
    struct xk_writer to = xk_writer(header, sizeof(header));

    xk_write_raw(&to, "QFI\xfb", 4);
    xk_write_be32(&to, 3);
    xk_write_zeros(&to, 12); /* no backing file */
    xk_write_be32(&to, CLUSTER_BITS);
    xk_write_be64(&to, size_bytes);
    xk_write_be32(&to, 0); /* not encrypted */
    xk_write_be32(&to, (uint32_t)w->l1_entries);
    xk_write_be64(&to, l1_offset);
    xk_write_be64(&to, c->table_offset);
    xk_write_be32(&to, (uint32_t)c->table_clusters);
    xk_write_zeros(&to, 12); /* no snapshots */
    xk_write_zeros(&to, 24); /* no features */
    xk_write_be32(&to, 4);   /* reference counts of 2^4 bits */
    xk_write_be32(&to, HEADER_BYTES);
    return xk_file_write(w->file, header, sizeof(header), 0, err);
}

int qcow2_writer_finish(struct qcow2_writer *w, uint64_t size_bytes, struct xk_err *err)
{
    int code = flush_l2(w, err);
    if (code == 0) /* a table of one entry even for an empty disk: QEMU takes no table of none */
        code = grow_l1(w, XK_MAX(XK_DIV_UP(size_bytes, CLUSTER * L2_ENTRIES), UINT64_C(1)), err);
    if (code < 0)
        return code;
    const uint64_t l1_offset = w->end;
    code = write_l1(w, err);
    if (code < 0)
        return code;
    const struct counts counts = plan_counts(w->end);
    code = write_counts(w, &counts, err);
    return code < 0 ? code : write_header(w, &counts, size_bytes, l1_offset, err);
}

void qcow2_writer_done(struct qcow2_writer *w)
{
    free(w->l1);
    free(w->l2);
    *w = (struct qcow2_writer){0};
}
