/*
 * The undo file, big-endian: 64 bytes of head (cookie, version, how many runs, the image's size before and after, bytes
 * of the runs), the runs, and a SHA-256 over all of it. A run: place, bytes before, bytes after, then both contents;
 * the two lengths differ only where the file ends.
 *
 * Following it asks of every sector that it touches whether it still is what the repair found or wrote. A sector that
 * is neither was written by somebody else: then nothing is changed, for that one's data would be lost.
 */
#include "lib/vhd/undo.h"

#include "core/buf.h"
#include "core/bytes.h"
#include "core/text.h"
#include "lib/vhd/format.h"

#include <openssl/evp.h>
#include <string.h>

#define COOKIE       "xkvundo\n"
#define VERSION      1u
#define HEAD_BYTES   64u
#define DIGEST_BYTES 32u
#define RUN_SECTORS  256u /* in one run */
#define RUNS_MAX     (VHD_OVERLAY_SECTORS_MAX + 256u)

/* What a place held and holds. The contents are borrowed. */
struct run {
    uint64_t offset, old_bytes, new_bytes;
    const uint8_t *old, *new;
};

static int digest(uint8_t ret[DIGEST_BYTES], const void *data, size_t bytes, struct xk_err *err)
{
    return EVP_Digest(data, bytes, ret, NULL, EVP_sha256(), NULL) ? 0 : xk_fail_memory(err);
}

/* ---- making it ---- */

static void add_u64(struct xk_buf *b, uint64_t v)
{
    uint8_t bytes[8];
    struct xk_writer w = xk_writer(bytes, sizeof(bytes));
    xk_write_be64(&w, v);
    xk_buf_add(b, bytes, sizeof(bytes));
}

struct making {
    const struct vhd_overlay *o;
    const struct xk_file *f;
    struct xk_buf runs;
    uint64_t count;
    uint8_t *old;
};

static void add_run(struct making *m, uint64_t offset, uint64_t old_bytes, uint64_t new_bytes)
{
    add_u64(&m->runs, offset);
    add_u64(&m->runs, old_bytes);
    add_u64(&m->runs, new_bytes);
    xk_buf_add(&m->runs, m->old, (size_t)old_bytes);
    m->count++;
}

/* How much of [offset, offset + bytes) lies below `end`. */
static uint64_t below(uint64_t offset, uint64_t bytes, uint64_t end)
{
    return offset < end ? XK_MIN(bytes, end - offset) : 0;
}

/* Neighbouring changed sectors from the first one on; returns how many, or an error. */
static int add_changes(struct making *m, size_t first, struct xk_err *err)
{
    const struct vhd_overlay *const o = m->o;
    const uint64_t offset = o->sectors[first].number * VHD_SECTOR;
    size_t count = 1;

    while (count < RUN_SECTORS && first + count < o->count &&
           o->sectors[first + count].number == o->sectors[first].number + count)
        count++;
    const uint64_t old_bytes = below(offset, count * VHD_SECTOR, o->real_bytes);
    const uint64_t new_bytes = below(offset, count * VHD_SECTOR, o->bytes);
    const int code = xk_file_read(m->f, m->old, (size_t)old_bytes, offset, err);
    if (code < 0)
        return code;
    add_run(m, offset, old_bytes, new_bytes);
    for (uint64_t at = 0; at < new_bytes; at += VHD_SECTOR)
        xk_buf_add(&m->runs, o->sectors[first + at / VHD_SECTOR].data,
                   (size_t)XK_MIN(new_bytes - at, (uint64_t)VHD_SECTOR));
    return (int)count;
}

/* What is cut off at the end of the file. */
static int add_tail(struct making *m, struct xk_err *err)
{
    const struct vhd_overlay *const o = m->o;
    int code = 0;

    if (o->real_bytes > o->bytes && o->real_bytes - o->bytes > VHD_UNDO_TAIL_MAX)
        return xk_fail(err, -EFBIG, "%s: %s would be cut off, more than an undo file takes (%s)", o->path,
                       xk_size(o->real_bytes - o->bytes).s, xk_size(VHD_UNDO_TAIL_MAX).s);
    for (uint64_t at = o->bytes; code == 0 && at < o->real_bytes; at += RUN_SECTORS * VHD_SECTOR) {
        const uint64_t part = below(at, RUN_SECTORS * VHD_SECTOR, o->real_bytes);
        code = xk_file_read(m->f, m->old, (size_t)part, at, err);
        if (code == 0)
            add_run(m, at, part, 0);
    }
    return code;
}

static int collect(struct making *m, struct xk_err *err)
{
    for (size_t i = 0; i < m->o->count;) {
        const int count = add_changes(m, i, err);
        if (count < 0)
            return count;
        i += (size_t)count;
    }
    const int code = add_tail(m, err);
    if (code == 0 && m->runs.error)
        return xk_fail(err, m->runs.error, "%s: the changes do not fit into an undo file", m->o->path);
    return code;
}

static int write_undo(const struct making *m, const char *undo_path, struct xk_err *err)
{
    uint8_t head[HEAD_BYTES] = {0};
    struct xk_writer w = xk_writer(head, sizeof(head));
    xk_auto(xk_buf_done) struct xk_buf whole = XK_BUF_INIT(VHD_UNDO_BYTES_MAX);
    uint8_t sum[DIGEST_BYTES];
    struct xk_newfile n;

    xk_write_raw(&w, COOKIE, sizeof(COOKIE) - 1);
    xk_write_be32(&w, VERSION);
    xk_write_be32(&w, (uint32_t)m->count);
    xk_write_be64(&w, m->o->real_bytes);
    xk_write_be64(&w, m->o->bytes);
    xk_write_be64(&w, m->runs.len);
    xk_buf_add(&whole, head, sizeof(head));
    xk_buf_add(&whole, m->runs.data ? m->runs.data : "", m->runs.len);
    if (whole.error)
        return xk_fail(err, whole.error, "%s: too many changes for one undo file", undo_path);
    int code = digest(sum, whole.data, whole.len, err);
    if (code < 0)
        return code;
    xk_buf_add(&whole, sum, sizeof(sum));
    if (whole.error)
        return xk_fail(err, whole.error, "%s: too many changes for one undo file", undo_path);
    code = xk_newfile_begin(&n, m->o->real, undo_path, 0600, true, err);
    if (code < 0)
        return code;
    code = xk_file_write(&n.file, whole.data, whole.len, 0, err);
    if (code == 0)
        code = xk_newfile_commit(&n, err);
    xk_newfile_abort(&n);
    return code;
}

static int write_changes(const struct vhd_overlay *o, const struct xk_file *f, struct xk_err *err)
{
    int code = 0;

    for (size_t i = 0; i < o->count && code == 0; i++) {
        const uint64_t at = o->sectors[i].number * VHD_SECTOR;
        code = xk_file_write(f, o->sectors[i].data, (size_t)below(at, VHD_SECTOR, o->bytes), at, err);
    }
    if (code == 0 && o->bytes != o->real_bytes)
        code = xk_file_truncate(f, o->bytes, err);
    return code < 0 ? code : xk_file_sync(f, err);
}

static int undo_open(const struct xk_file *image, const char *undo_path, struct xk_err *err);

static int apply(const struct vhd_overlay *o, const struct xk_file *f, const char *undo_path, struct xk_err *err)
{
    struct making m = {.o = o, .f = f, .runs = XK_BUF_INIT(VHD_UNDO_BYTES_MAX)};
    xk_autofree uint8_t *old = xk_alloc(RUN_SECTORS * VHD_SECTOR);
    uint64_t bytes;

    if (!old)
        return xk_fail_memory(err);
    m.old = old;
    int code = xk_file_size(&bytes, f, err);
    if (code == 0 && bytes != o->real_bytes)
        code = xk_fail(err, -EAGAIN, "%s: changed its size while the repair was planned", o->path);
    if (code == 0)
        code = collect(&m, err);
    if (code == 0)
        code = write_undo(&m, undo_path, err);
    xk_buf_done(&m.runs);
    if (code < 0)
        return code;
    code = write_changes(o, f, err);
    if (code == 0)
        code = xk_file_check_name(f, err);
    struct xk_err second = {0};
    if (code < 0 && undo_open(f, undo_path, &second) < 0)
        xk_err_hint(err, "taking it back failed, too (%s): `xenkit vhd repair --undo %s %s`", second.text, undo_path,
                    o->path);
    return code;
}

int vhd_undo_apply(const struct vhd_overlay *o, const char *undo_path, struct xk_err *err)
{
    struct xk_file f;

    int code = xk_file_open(&f, o->real, o->path, O_RDWR | O_NONBLOCK, 0, err);
    if (code < 0)
        return code;
    code = xk_file_check_identity(&f, o->dev, o->ino, err);
    if (code == 0)
        code = apply(o, &f, undo_path, err);
    xk_file_close(&f);
    return code;
}

/* ---- following it ---- */

struct following {
    struct xk_file image;
    uint8_t *data; /* the undo file */
    size_t bytes;
    uint64_t old_bytes, new_bytes; /* of the image */
    uint32_t count;
    struct run *runs;
    uint8_t *now; /* a run as it is in the image */
};

static int load(struct following *u, const struct xk_fs *fs, const char *undo_path, struct xk_err *err)
{
    struct xk_file f;
    uint64_t bytes;

    int code = xk_file_open(&f, fs, undo_path, O_RDONLY | O_NONBLOCK, 0, err);
    if (code < 0)
        return code;
    code = xk_file_size(&bytes, &f, err);
    if (code == 0 && (bytes < HEAD_BYTES + DIGEST_BYTES || bytes > VHD_UNDO_BYTES_MAX + DIGEST_BYTES))
        code = xk_fail(err, -EINVAL, "%s: %s is no size of an undo file", undo_path, xk_size(bytes).s);
    if (code == 0 && !(u->data = xk_alloc((size_t)bytes)))
        code = xk_fail_memory(err);
    if (code == 0)
        code = xk_file_read(&f, u->data, (size_t)bytes, 0, err);
    xk_file_close(&f);
    u->bytes = (size_t)bytes;
    return code;
}

static int parse_head(struct following *u, const char *undo_path, struct xk_err *err)
{
    struct xk_reader r = xk_reader(u->data, u->bytes);
    uint8_t cookie[sizeof(COOKIE) - 1], sum[DIGEST_BYTES];

    xk_take_bytes(&r, cookie, sizeof(cookie));
    const uint32_t version = xk_be32(&r);
    if (memcmp(cookie, COOKIE, sizeof(cookie)) != 0)
        return xk_fail(err, -EINVAL, "%s: is not an undo file", undo_path);
    if (version != VERSION)
        return xk_fail(err, -EINVAL, "%s: version %u of undo files is not known", undo_path, version);
    u->count = xk_be32(&r);
    u->old_bytes = xk_be64(&r);
    u->new_bytes = xk_be64(&r);
    const uint64_t run_bytes = xk_be64(&r);
    const int code = digest(sum, u->data, u->bytes - DIGEST_BYTES, err);
    if (code < 0)
        return code;
    if (memcmp(sum, u->data + u->bytes - DIGEST_BYTES, sizeof(sum)) != 0 || u->count > RUNS_MAX ||
        run_bytes != u->bytes - HEAD_BYTES - DIGEST_BYTES)
        return xk_fail(err, -EBADMSG, "%s: the undo file is damaged; the image was not touched", undo_path);
    return 0;
}

static int parse_runs(struct following *u, const char *undo_path, struct xk_err *err)
{
    struct xk_reader r = xk_reader(u->data, u->bytes - DIGEST_BYTES);

    u->runs = xk_array_alloc(u->count, sizeof(*u->runs));
    u->now = xk_alloc(RUN_SECTORS * VHD_SECTOR);
    if (!u->runs || !u->now)
        return xk_fail_memory(err);
    xk_skip(&r, HEAD_BYTES);
    for (uint32_t i = 0; i < u->count; i++) {
        struct run *const run = &u->runs[i];
        run->offset = xk_be64(&r);
        run->old_bytes = xk_be64(&r);
        run->new_bytes = xk_be64(&r);
        if (r.bad || run->old_bytes > RUN_SECTORS * VHD_SECTOR || run->new_bytes > RUN_SECTORS * VHD_SECTOR ||
            run->offset > UINT64_MAX / 2)
            return xk_fail(err, -EBADMSG, "%s: run %u of the undo file cannot be", undo_path, i);
        run->old = u->data + r.at;
        xk_skip(&r, (size_t)run->old_bytes);
        run->new = u->data + r.at;
        xk_skip(&r, (size_t)run->new_bytes);
    }
    return r.bad || xk_left(&r) ? xk_fail(err, -EBADMSG, "%s: the undo file ends in the wrong place", undo_path) : 0;
}

/* One sector of a run, `at` bytes into it, as it is now. `there`: bytes that the file has of it. */
static bool is_known(const struct run *run, uint64_t at, const uint8_t *now, uint64_t there)
{
    const uint64_t old_bytes = run->old_bytes > at ? XK_MIN(run->old_bytes - at, there) : 0;
    const uint64_t new_bytes = run->new_bytes > at ? XK_MIN(run->new_bytes - at, there) : 0;

    if (memcmp(now, run->old + XK_MIN(at, run->old_bytes), (size_t)old_bytes) == 0)
        return true;
    /* Cut off by the repair: put back, or its space only. */
    if (run->new_bytes == 0)
        return xk_is_zero(now, (size_t)there);
    return run->new_bytes > at && memcmp(now, run->new + at, (size_t)new_bytes) == 0;
}

static int check_run(const struct following *u, const struct run *run, const char *path, struct xk_err *err)
{
    const uint64_t bytes = XK_MAX(run->old_bytes, run->new_bytes);
    const ssize_t there = xk_file_read_some(&u->image, u->now, (size_t)bytes, run->offset, err);

    if (there < 0)
        return (int)there;
    for (uint64_t at = 0; at < (uint64_t)there;) {
        const uint64_t part = XK_MIN((uint64_t)there - at, VHD_SECTOR - (run->offset + at) % VHD_SECTOR);
        if (!is_known(run, at, u->now + at, part))
            return xk_fail(err, -ESTALE,
                           "%s: byte %llu and what follows was written to after the repair, or this is another image; "
                           "nothing was changed",
                           path, (unsigned long long)(run->offset + at));
        at += part;
    }
    return 0;
}

static int check_image(const struct following *u, struct xk_err *err)
{
    const char *const path = u->image.path;
    uint64_t bytes;

    int code = xk_file_size(&bytes, &u->image, err);
    if (code == 0 && (bytes < XK_MIN(u->old_bytes, u->new_bytes) || bytes > XK_MAX(u->old_bytes, u->new_bytes)))
        code = xk_fail(err, -ESTALE,
                       "%s: has %llu bytes; before the repair it had %llu, after it %llu: nothing was changed", path,
                       (unsigned long long)bytes, (unsigned long long)u->old_bytes, (unsigned long long)u->new_bytes);
    for (uint32_t i = 0; i < u->count && code == 0; i++)
        code = check_run(u, &u->runs[i], path, err);
    return code;
}

static int put_back(const struct following *u, struct xk_err *err)
{
    int code = 0;

    for (uint32_t i = 0; i < u->count && code == 0; i++)
        code = xk_file_write(&u->image, u->runs[i].old, (size_t)u->runs[i].old_bytes, u->runs[i].offset, err);
    if (code == 0 && u->old_bytes < u->new_bytes)
        code = xk_file_truncate(&u->image, u->old_bytes, err);
    return code < 0 ? code : xk_file_sync(&u->image, err);
}

static int remove_file(const struct xk_fs *fs, const char *path, struct xk_err *err)
{
    xk_autofree char *dir = xk_dir_name(path);
    if (!dir)
        return xk_fail_memory(err);
    int code = fs->ops->unlink(fs, path);
    if (code == 0)
        code = fs->ops->sync_dir(fs, dir);
    return code < 0 ? xk_fail_sys(err, code, "%s: the image is as it was, but its undo file cannot be removed", path)
                    : 0;
}

/* named: it was opened by its name, for who asked; an image that lost it keeps its undo file. */
static int take_back(const struct following *u, bool named, const char *undo_path, struct xk_err *err)
{
    int code = put_back(u, err);
    if (code == 0 && named)
        code = xk_file_check_name(&u->image, err);
    return code < 0 ? code : remove_file(u->image.fs, undo_path, err);
}

static void following_done(struct following *u)
{
    free(u->now);
    free(u->runs);
    free(u->data);
}

/* Everything that can be known without writing. */
static int prepare(struct following *u, const struct xk_fs *fs, const char *undo_path, struct xk_err *err)
{
    int code = load(u, fs, undo_path, err);
    if (code == 0)
        code = parse_head(u, undo_path, err);
    return code < 0 ? code : parse_runs(u, undo_path, err);
}

static int follow(uint64_t *ret_bytes, bool preview, const struct xk_fs *fs, const char *path, const char *undo_path,
                  struct xk_err *err)
{
    struct following u = {.image.fd = -1};

    int code = prepare(&u, fs, undo_path, err);
    if (code == 0)
        code = xk_file_open(&u.image, fs, path, (preview ? O_RDONLY : O_RDWR) | O_NONBLOCK, 0, err);
    if (code == 0)
        code = check_image(&u, err);
    if (code == 0 && !preview)
        code = take_back(&u, true, undo_path, err);
    if (code == 0 && ret_bytes) {
        *ret_bytes = 0;
        for (uint32_t i = 0; i < u.count; i++)
            *ret_bytes += u.runs[i].old_bytes;
    }
    xk_file_close(&u.image);
    following_done(&u);
    return code;
}

/* For who has the image open for writing, whatever its name leads to now. */
static int undo_open(const struct xk_file *image, const char *undo_path, struct xk_err *err)
{
    struct following u = {.image = *image};

    int code = prepare(&u, image->fs, undo_path, err);
    if (code == 0)
        code = check_image(&u, err);
    if (code == 0)
        code = take_back(&u, false, undo_path, err);
    following_done(&u);
    return code;
}

int vhd_undo(const struct xk_fs *fs, const char *path, const char *undo_path, struct xk_err *err)
{
    return follow(NULL, false, fs, path, undo_path, err);
}

int vhd_undo_preview(uint64_t *ret_bytes, const struct xk_fs *fs, const char *path, const char *undo_path,
                     struct xk_err *err)
{
    return follow(ret_bytes, true, fs, path, undo_path, err);
}
