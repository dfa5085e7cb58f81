/*
 * qcow2 through lib/qcow2's writer. The clusters of a unit that are not zeros lie next to each other in the file.
 */
#include "lib/convert/inner.h"

#include "lib/qcow2/qcow2.h"

#define CLUSTER       QCOW2_WRITE_CLUSTER
#define CLUSTERS      (CONVERT_UNIT / CLUSTER)
#define CLUSTER_PAGES (CLUSTER / CONVERT_PAGE)

struct qcow2_target {
    struct convert_target target; /* first */
    struct qcow2_writer writer;
};

static int qcow2_begin(struct convert_target *t, uint64_t disk_bytes, struct xk_err *err)
{
    if (disk_bytes != UINT64_MAX && disk_bytes > QCOW2_WRITE_MAX)
        return xk_fail(err, -EFBIG, "the disk is larger than the 2 PiB of a qcow2");
    return qcow2_writer_begin(&((struct qcow2_target *)t)->writer, t->file, err);
}

static bool cluster_filled(const struct convert_unit *u, size_t cluster)
{
    for (size_t page = cluster * CLUSTER_PAGES; page < (cluster + 1) * CLUSTER_PAGES; page++) {
        if (convert_page_filled(u, page))
            return true;
    }
    return false;
}

/* The next run of filled clusters at or after *at; 0: none. */
static size_t next_run(const struct convert_unit *u, size_t *at)
{
    size_t count = 0;

    while (*at < CLUSTERS && !cluster_filled(u, *at))
        ++*at;
    while (*at + count < CLUSTERS && cluster_filled(u, *at + count))
        count++;
    return count;
}

static int qcow2_place(struct convert_target *t, struct convert_unit *u, struct xk_err *err)
{
    struct qcow2_target *const self = (struct qcow2_target *)t;
    const uint64_t first = u->start / CLUSTER;
    uint64_t offset;
    size_t at = 0;
    size_t count;

    for (bool begun = false; (count = next_run(u, &at)) > 0; at += count, begun = true) {
        const int code = qcow2_writer_place(&self->writer, first + at, count, &offset, err);
        if (code < 0)
            return code;
        if (!begun)
            u->place = offset;
    }
    return 0;
}

static int qcow2_write(struct convert_target *t, struct convert_unit *u, struct xk_err *err)
{
    uint64_t offset = u->place;
    size_t at = 0;
    size_t count;

    if (u->clone)
        return convert_put(t, u, err);
    for (; (count = next_run(u, &at)) > 0; at += count, offset += count * CLUSTER) {
        const int code = convert_write(t, u->data + at * CLUSTER, count * CLUSTER, offset, err);
        if (code < 0)
            return code;
    }
    return 0;
}

static int qcow2_finish(struct convert_target *t, uint64_t disk_bytes, struct xk_err *err)
{
    struct qcow2_target *const self = (struct qcow2_target *)t;

    const int code = qcow2_writer_finish(&self->writer, disk_bytes, err);
    return code < 0 ? code : xk_file_size(&t->file_bytes, t->file, err);
}

static void qcow2_done(struct convert_target *t)
{
    qcow2_writer_done(&((struct qcow2_target *)t)->writer);
    free(t);
}

int convert_qcow2_target(struct convert_target **ret, struct xk_err *err)
{
    static const struct convert_target_ops ops = {
        .begin = qcow2_begin, .place = qcow2_place, .write = qcow2_write, .finish = qcow2_finish, .done = qcow2_done};
    struct qcow2_target *const self = xk_zalloc(sizeof(*self));

    if (!self)
        return xk_fail_memory(err);
    self->target.ops = &ops;
    self->target.grain_bytes = CLUSTER;
    *ret = &self->target;
    return 0;
}
