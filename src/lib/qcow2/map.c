/*
 * Two tables deep: an L1 entry names an L2 table, an L2 entry a cluster. Both are read in pieces of some dozens
 * of entries; walks are ascending, so each piece is read once. With subclusters an L2 entry has a second word of bits.
 */
#include "lib/qcow2/qcow2.h"

#include "core/bytes.h"

#define PIECE_BYTES 512u /* small: backing files are walked by recursion, each on its own piece of stack */
#define OFFSET_MASK UINT64_C(0x00fffffffffffe00)
#define COMPRESSED  (UINT64_C(1) << 62)
#define ZERO_FLAG   UINT64_C(1)
#define SUBCLUSTERS 32u

/* A part of a table on disk. */
struct piece {
    uint64_t offset; /* in the file */
    uint32_t count;  /* bytes; 0: nothing is loaded */
    uint8_t bytes[PIECE_BYTES];
};

struct map {
    const struct qcow2 *q;
    int (*visit)(void *context, const struct qcow2_extent *extent);
    void *context;
    struct xk_err *err;
    struct piece l1, l2;
};

/* `words` 64-bit words at a position of the file that is known to lie in a table that ends at `table_end`. */
static int load(struct map *m, struct piece *p, uint64_t offset, uint64_t table_end, uint64_t *ret, unsigned words)
{
    if (offset < p->offset || offset + words * 8 > p->offset + p->count) {
        p->count = 0;
        const size_t bytes = (size_t)XK_MIN((uint64_t)PIECE_BYTES, table_end - offset);
        const int code = xk_file_read(&m->q->file, p->bytes, bytes, offset, m->err);
        if (code < 0)
            return code;
        p->offset = offset;
        p->count = (uint32_t)bytes;
    }
    struct xk_reader r = xk_reader(p->bytes + (offset - p->offset), words * 8);
    for (unsigned i = 0; i < words; i++)
        ret[i] = xk_be64(&r);
    return 0;
}

static int emit(const struct map *m, uint64_t start, uint64_t bytes, enum qcow2_kind kind, uint64_t file_offset)
{
    const struct qcow2_extent e = {.start = start, .bytes = bytes, .kind = kind, .file_offset = file_offset};

    return bytes ? m->visit(m->context, &e) : 0;
}

/* The last cluster need not be there whole: what the file does not have is zeros. */
static int emit_data(const struct map *m, uint64_t start, uint64_t bytes, uint64_t file_offset)
{
    const uint64_t file_bytes = m->q->file_bytes;
    const uint64_t there = file_offset < file_bytes ? XK_MIN(bytes, file_bytes - file_offset) : 0;

    const int code = emit(m, start, there, QCOW2_DATA, file_offset);
    return code ? code : emit(m, start + there, bytes - there, QCOW2_ZERO, 0);
}

static int check_cluster(const struct map *m, uint64_t offset, uint64_t start)
{
    if (offset % qcow2_cluster_bytes(m->q) == 0 && offset && offset < m->q->file_bytes)
        return 0;
    return xk_fail(m->err, -EBADMSG, "%s: the cluster for byte %llu of the disk at %llu lies outside the file",
                   m->q->path, (unsigned long long)start, (unsigned long long)offset);
}

static int map_subclusters(const struct map *m, uint64_t start, uint64_t end, uint64_t host, uint64_t bits)
{
    const uint64_t cluster = qcow2_cluster_bytes(m->q);
    const uint64_t sub = cluster / SUBCLUSTERS;

    while (start < end) {
        const uint64_t n = start % cluster / sub;
        const uint64_t stop = XK_MIN(end, (start / sub + 1) * sub);
        const bool here = bits >> n & 1;
        const bool zero = bits >> (n + SUBCLUSTERS) & 1;
        if (here && (zero || !host))
            return xk_fail(m->err, -EBADMSG, "%s: byte %llu of the disk is in a contradictory state", m->q->path,
                           (unsigned long long)start);
        const int code = here ? emit_data(m, start, stop - start, host + start % cluster)
                              : emit(m, start, stop - start, zero ? QCOW2_ZERO : QCOW2_ABSENT, 0);
        if (code)
            return code;
        start = stop;
    }
    return 0;
}

static int map_cluster(const struct map *m, uint64_t start, uint64_t end, const uint64_t words[2])
{
    const struct qcow2 *const q = m->q;
    const uint64_t entry = words[0];
    const uint64_t host = entry & OFFSET_MASK;

    if (entry & COMPRESSED) {
        const struct qcow2_extent e = {.start = start, .bytes = end - start, .kind = QCOW2_COMPRESSED, .entry = entry};
        return m->visit(m->context, &e);
    }
    const int code = host ? check_cluster(m, host, start) : 0;
    if (code < 0)
        return code;
    if (q->extended)
        return map_subclusters(m, start, end, host, words[1]);
    if (q->version >= 3 && (entry & ZERO_FLAG))
        return emit(m, start, end - start, QCOW2_ZERO, 0);
    return host ? emit_data(m, start, end - start, host + start % qcow2_cluster_bytes(q))
                : emit(m, start, end - start, QCOW2_ABSENT, 0);
}

/* The part of the range under one L1 entry. */
static int map_table(struct map *m, uint64_t start, uint64_t end, uint64_t table)
{
    const struct qcow2 *const q = m->q;
    const uint64_t cluster = qcow2_cluster_bytes(q);
    const unsigned words = q->extended ? 2 : 1;
    const uint64_t reach = cluster * (cluster / 8 / words);

    if (!table)
        return emit(m, start, end - start, QCOW2_ABSENT, 0);
    if (table % cluster || table > q->file_bytes || q->file_bytes - table < cluster)
        return xk_fail(m->err, -EBADMSG, "%s: the L2 table at byte %llu lies outside the file", q->path,
                       (unsigned long long)table);
    while (start < end) {
        uint64_t entry[2] = {0};
        const uint64_t stop = XK_MIN(end, (start / cluster + 1) * cluster);
        int code = load(m, &m->l2, table + start % reach / cluster * words * 8, table + cluster, entry, words);
        if (code == 0)
            code = map_cluster(m, start, stop, entry);
        if (code)
            return code;
        start = stop;
    }
    return 0;
}

int qcow2_map(const struct qcow2 *q, uint64_t start, uint64_t bytes,
              int (*visit)(void *context, const struct qcow2_extent *extent), void *context, struct xk_err *err)
{
    struct map m = {.q = q, .visit = visit, .context = context, .err = err};
    const uint64_t cluster = qcow2_cluster_bytes(q);
    const uint64_t reach = cluster * (cluster / (q->extended ? 16 : 8));
    const uint64_t l1_end = q->l1_offset + (uint64_t)q->l1_entries * 8;
    const uint64_t end = start + bytes;

    if (end < start || end > q->size_bytes)
        return xk_fail(err, -EINVAL, "%s: %llu bytes at %llu pass the end of the disk", q->path,
                       (unsigned long long)bytes, (unsigned long long)start);
    while (start < end) {
        uint64_t entry;
        const uint64_t stop = XK_MIN(end, (start / reach + 1) * reach);
        int code = load(&m, &m.l1, q->l1_offset + start / reach * 8, l1_end, &entry, 1);
        if (code == 0)
            code = map_table(&m, start, stop, entry & OFFSET_MASK);
        if (code)
            return code;
        start = stop;
    }
    return 0;
}
