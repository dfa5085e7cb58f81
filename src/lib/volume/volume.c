/*
 * Reading is a walk over the map that fetches each extent from its file; a format only explains its tables. The other
 * way, a read function for each format, doubles the number of places where an offset is computed from foreign numbers.
 *
 * Formats whose images stand on others of any format (VHDX, qcow2) open those through volume_open_below(), which
 * carries the trail of files above: depth and loops are looked at in one place.
 */
#include "lib/volume/inner.h"

#include "core/text.h"
#include "lib/vhd/image.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

const char *const volume_format_names[] = {"auto", "raw", "vhd", "vhdx", "qcow2", NULL};

#define VHDX_MARK  "vhdxfile"
#define QCOW2_MARK "QFI\xfb"

/* Also one that an unfinished resize disabled: it is a damaged VHD, not a raw disk. */
static bool is_vhd_mark(const uint8_t mark[8])
{
    return memcmp(mark, VHD_COOKIE, 8) == 0 || memcmp(mark, VHD_COOKIE_POISON, 8) == 0;
}

/* Does a file of `bytes` bytes end in a VHD footer? Old Virtual PC wrote one of 511 bytes. */
static int ends_like_vhd(bool *ret, const struct xk_file *f, uint64_t bytes, struct xk_err *err)
{
    uint8_t mark[8];

    *ret = false;
    if (bytes < VHD_SHORT_FOOTER_BYTES)
        return 0;
    const uint64_t footer = bytes % VHD_SECTOR == VHD_SHORT_FOOTER_BYTES ? VHD_SHORT_FOOTER_BYTES : VHD_FOOTER_BYTES;
    const ssize_t got = xk_file_read_some(f, mark, sizeof(mark), bytes - XK_MIN(footer, bytes), err);
    if (got < 0)
        return (int)got;
    *ret = got == (ssize_t)sizeof(mark) && is_vhd_mark(mark);
    return 0;
}

static int look_for_marks(enum volume_format *ret, const struct xk_file *f, uint64_t bytes, struct xk_err *err)
{
    uint8_t mark[8] = {0};
    bool vhd;

    const ssize_t got = xk_file_read_some(f, mark, sizeof(mark), 0, err);
    if (got < 0)
        return (int)got;
    const int code = ends_like_vhd(&vhd, f, bytes, err);
    if (code < 0)
        return code;
    *ret = memcmp(mark, VHDX_MARK, 8) == 0    ? VOLUME_VHDX
           : memcmp(mark, QCOW2_MARK, 4) == 0 ? VOLUME_QCOW2
           : vhd || is_vhd_mark(mark)         ? VOLUME_VHD
                                              : VOLUME_RAW;
    return 0;
}

static int probe(enum volume_format *ret, const struct xk_fs *fs, const char *path, struct xk_err *err)
{
    struct xk_file f;
    uint64_t bytes;

    int code = volume_file_open(&f, fs, path, &bytes, err);
    if (code < 0)
        return code;
    code = look_for_marks(ret, &f, bytes, err);
    xk_file_close(&f);
    return code;
}

enum volume_format volume_probe(const struct xk_fs *fs, const char *path)
{
    enum volume_format found = VOLUME_RAW;

    (void)probe(&found, fs, path, NULL);
    return found;
}

/* A file that could not be read just now must not become a raw disk, nor one whose marks were overwritten. */
static int guess(enum volume_format *ret, const struct xk_fs *fs, const char *path, struct xk_err *err)
{
    static const char *const names[] = {"vhd", "vhdx", "qcow2", "avhd", "avhdx", "vpc"};
    const char *const dot = strrchr(path, '.');

    int code = probe(ret, fs, path, err);
    if (code < 0 || *ret != VOLUME_RAW || !dot)
        return code;
    for (size_t i = 0; i < XK_COUNT(names) && code == 0; i++) {
        if (strcasecmp(dot + 1, names[i]) == 0)
            code = xk_fail(err, -EBADMSG, "%s: is called .%s, but no format is recognised in it", path, names[i]);
    }
    if (code < 0)
        xk_err_hint(err, "say the format (-f raw) when it is a raw disk all the same");
    return code;
}

int volume_open_below(struct volume **ret, const struct xk_fs *fs, const char *path,
                      const struct volume_options *options, const struct volume_trail *above, struct xk_err *err)
{
    enum volume_format format = options->format;

    const int code = format == VOLUME_AUTO ? guess(&format, fs, path, err) : 0;
    if (code < 0)
        return code;
    switch (format) {
    case VOLUME_VHD:
        return volume_vhd_open(ret, fs, path, options, above, err);
    case VOLUME_VHDX:
        return volume_vhdx_open(ret, fs, path, options, above, err);
    case VOLUME_QCOW2:
        return volume_qcow2_open(ret, fs, path, options, above, err);
    default:
        return volume_raw_open(ret, fs, path, options, above, err);
    }
}

int volume_open(struct volume **ret, const struct xk_fs *fs, const char *path, const struct volume_options *options,
                struct xk_err *err)
{
    static const struct volume_options defaults;

    return volume_open_below(ret, fs, path, options ? options : &defaults, NULL, err);
}

void volume_close(struct volume *v)
{
    if (v)
        v->ops->close(v);
}

const char *volume_layer_path(const struct volume *v, int layer)
{
    const struct xk_file *const f = volume_layer_file(v, layer);

    return f ? f->path : NULL;
}

const struct xk_file *volume_layer_file(const struct volume *v, int layer)
{
    return layer >= 0 && (size_t)layer < v->layers ? v->ops->layer_file(v, layer) : NULL;
}

int volume_check_names(const struct volume *v, struct xk_err *err)
{
    int code = 0;

    for (int i = 0; (size_t)i < v->layers && code == 0; i++)
        code = xk_file_check_name(volume_layer_file(v, i), err);
    return code;
}

int volume_map(const struct volume *v, uint64_t start, uint64_t bytes, volume_visit *visit, void *context,
               struct xk_err *err)
{
    uint64_t end;

    if (xk_add(start, bytes, &end) || end > v->size_bytes)
        return xk_fail(err, -EINVAL, "%s: %llu bytes at %llu pass the end of the disk (%llu bytes)",
                       volume_layer_path(v, 0), (unsigned long long)bytes, (unsigned long long)start,
                       (unsigned long long)v->size_bytes);
    return bytes ? v->ops->map(v, start, bytes, visit, context, err) : 0;
}

struct read_target {
    const struct volume *volume;
    uint8_t *buf;
    uint64_t start;
    struct xk_err *err;
};

static int read_extent(void *context, const struct volume_extent *e)
{
    const struct read_target *t = context;
    uint8_t *const to = t->buf + (e->start - t->start);

    if (e->kind != VOLUME_DATA) {
        memset(to, 0, (size_t)e->bytes);
        return 0;
    }
    if (e->file)
        return xk_file_read(e->file, to, (size_t)e->bytes, e->file_offset, t->err);
    assert(t->volume->ops->read_stored);
    return t->volume->ops->read_stored(t->volume, to, e->start, (size_t)e->bytes, t->err);
}

int volume_read(const struct volume *v, void *buf, size_t bytes, uint64_t start, struct xk_err *err)
{
    struct read_target t = {.volume = v, .buf = buf, .start = start, .err = err};

    return volume_map(v, start, bytes, read_extent, &t, err);
}

/* ---- what the formats share ---- */

int volume_file_open(struct xk_file *ret, const struct xk_fs *fs, const char *path, uint64_t *ret_bytes,
                     struct xk_err *err)
{
    struct stat st;

    /* A FIFO must not make us wait; what it is, is asked after opening, so that nobody can swap it in between. */
    int code = xk_file_open(ret, fs, path, O_RDONLY | O_NONBLOCK, 0, err);
    if (code < 0)
        return code;
    code = fs->ops->fstat(fs, ret->fd, &st);
    if (code < 0)
        code = xk_fail_sys(err, code, "cannot look at %s", path);
    else if (S_ISDIR(st.st_mode))
        code = xk_fail(err, -EISDIR, "%s is a folder, not a disk image", path);
    else if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        code = xk_fail(err, -ENOTSUP, "%s is neither a regular file nor a block device", path);
    else
        code = xk_file_size(ret_bytes, ret, err);
    if (code < 0)
        xk_file_close(ret);
    return code;
}

size_t volume_trail_length(const struct volume_trail *t)
{
    size_t length = 0;

    for (; t; t = t->above)
        length++;
    return length;
}

size_t volume_depth_left(const struct volume_options *options, const struct volume_trail *above)
{
    const size_t most = options->depth_max ? XK_MIN(options->depth_max, (size_t)VOLUME_DEPTH_MAX) : VOLUME_DEPTH_MAX;
    const size_t used = volume_trail_length(above);

    return used < most ? most - used : 0;
}

int volume_trail_add(struct volume_trail *ret, const struct volume_trail *above, const struct xk_file *file,
                     const struct volume_options *options, struct xk_err *err)
{
    struct stat st;

    if (volume_depth_left(options, above) == 0)
        return xk_fail(err, -ELOOP, "%s: the chain has more than %zu images", file->path, volume_trail_length(above));
    const int code = file->fs->ops->fstat(file->fs, file->fd, &st);
    if (code < 0)
        return xk_fail_sys(err, code, "cannot look at %s", file->path);
    for (const struct volume_trail *t = above; t; t = t->above) {
        if (t->dev == st.st_dev && t->ino == st.st_ino)
            return xk_fail(err, -ELOOP, "%s is its own ancestor (through %s)", file->path, above->path);
    }
    *ret = (struct volume_trail){.above = above, .path = file->path, .dev = st.st_dev, .ino = st.st_ino};
    return 0;
}

static bool lies_below(const char *path, const char *folder)
{
    const size_t length = strlen(folder);

    return strcmp(folder, "/") == 0 || (strncmp(path, folder, length) == 0 && path[length] == '/');
}

int volume_parent_path(char **ret, const char *child, const char *name, const char *root, struct xk_err *err)
{
    xk_autofree char *child_real = realpath(child, NULL);
    if (!child_real)
        return xk_fail_sys(err, -errno, "%s", child);
    xk_autofree char *dir = xk_dir_name(child_real);
    xk_autofree char *joined = dir ? xk_path_join(dir, name) : NULL;
    if (!joined)
        return xk_fail_memory(err);
    xk_autofree char *real = realpath(joined, NULL);
    if (!real)
        return xk_fail_sys(err, -errno, "%s: its parent %s", child, joined);
    if (root) {
        xk_autofree char *real_root = realpath(root, NULL);
        if (!real_root)
            return xk_fail_sys(err, -errno, "chain root %s", root);
        if (!lies_below(real, real_root))
            return xk_fail(err, -EXDEV, "%s: its parent %s lies outside the chain root %s", child, real, real_root);
    }
    *ret = XK_TAKE(real);
    return 0;
}

static bool continues(const struct volume_extent *a, const struct volume_extent *b)
{
    if (a->kind != b->kind || a->layer != b->layer || a->file != b->file)
        return false;
    return a->kind != VOLUME_DATA || !a->file || a->file_offset + a->bytes == b->file_offset;
}

int volume_join_add(struct volume_join *j, const struct volume_extent *e)
{
    if (j->pending.bytes && continues(&j->pending, e)) {
        j->pending.bytes += e->bytes;
        return 0;
    }
    const int code = volume_join_flush(j);
    j->pending = *e;
    return code;
}

int volume_join_flush(struct volume_join *j)
{
    const struct volume_extent e = j->pending;

    j->pending.bytes = 0;
    return e.bytes ? j->visit(j->context, &e) : 0;
}

static int add_from_parent(void *context, const struct volume_extent *from)
{
    struct volume_extent e = *from;

    if (e.layer != VOLUME_NO_LAYER)
        e.layer++;
    return volume_join_add(context, &e);
}

int volume_join_parent(struct volume_join *j, const struct volume *parent, uint64_t start, uint64_t bytes,
                       struct xk_err *err)
{
    const uint64_t parent_bytes = parent ? parent->size_bytes : 0;
    const uint64_t there = start < parent_bytes ? XK_MIN(bytes, parent_bytes - start) : 0;
    const struct volume_extent rest = {
        .start = start + there, .bytes = bytes - there, .kind = VOLUME_HOLE, .layer = VOLUME_NO_LAYER};
    const int code = there ? volume_map(parent, start, there, add_from_parent, j, err) : 0;

    return code || !rest.bytes ? code : volume_join_add(j, &rest);
}

int volume_read_parent(const struct volume *parent, uint8_t *buf, uint64_t start, size_t bytes, struct xk_err *err)
{
    const uint64_t parent_bytes = parent ? parent->size_bytes : 0;
    const size_t there = start < parent_bytes ? (size_t)XK_MIN((uint64_t)bytes, parent_bytes - start) : 0;

    memset(buf + there, 0, bytes - there);
    return there ? volume_read(parent, buf, there, start, err) : 0;
}

struct volume_runs *volume_runs_new(void)
{
    struct volume_runs *const r = xk_zalloc(sizeof(*r));

    if (r)
        (void)pthread_mutex_init(&r->lock, NULL);
    return r;
}

void volume_runs_free(struct volume_runs *r)
{
    if (!r)
        return;
    (void)pthread_mutex_destroy(&r->lock);
    free(r);
}

/* The end of the run of data around `at` when it is the one last seen; 0: not known. */
static uint64_t known_run(struct volume_runs *r, uint64_t at)
{
    pthread_mutex_lock(&r->lock);
    const uint64_t to = r->from <= at && at < r->to ? r->to : 0;
    pthread_mutex_unlock(&r->lock);
    return to;
}

static void remember_run(struct volume_runs *r, uint64_t from, uint64_t to)
{
    pthread_mutex_lock(&r->lock);
    r->from = from;
    r->to = to;
    pthread_mutex_unlock(&r->lock);
}

/*
 * What begins at `at`: returns true and the end of a run of data, or false and the end of a hole. A file system that
 * cannot tell, or a file that changes under us, has data up to the end: whatever is there, reading it is right.
 */
static bool data_at(const struct xk_file *f, struct volume_runs *runs, uint64_t at, uint64_t end, uint64_t *ret_to)
{
    const uint64_t known = known_run(runs, at);
    if (known) {
        *ret_to = XK_MIN(known, end);
        return true;
    }
    const int64_t data = f->fs->ops->seek(f->fs, f->fd, at, SEEK_DATA);
    if (data == -ENXIO || (data >= 0 && (uint64_t)data > at)) {
        *ret_to = data < 0 ? end : XK_MIN((uint64_t)data, end);
        return false;
    }
    const int64_t hole = data < 0 ? data : f->fs->ops->seek(f->fs, f->fd, at, SEEK_HOLE);
    const uint64_t to = hole >= 0 && (uint64_t)hole > at ? (uint64_t)hole : end;
    remember_run(runs, at, to);
    *ret_to = XK_MIN(to, end);
    return true;
}

int volume_split_holes(const struct volume_extent *e, struct volume_runs *runs, volume_visit *visit, void *context)
{
    const uint64_t end = e->file_offset + e->bytes;

    for (uint64_t at = e->file_offset, to = at; at < end; at = to) {
        struct volume_extent part = {.start = e->start + (at - e->file_offset), .layer = e->layer};
        if (data_at(e->file, runs, at, end, &to)) {
            part.file = e->file;
            part.file_offset = at;
        } else {
            part.kind = VOLUME_HOLE;
        }
        part.bytes = to - at;
        const int code = visit(context, &part);
        if (code)
            return code;
    }
    return 0;
}
