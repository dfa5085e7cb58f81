/*
 * What disks hold, in files beside the state: one sparse file for each disk, under its uuid. A disk that shares what
 * another one holds has a link to its file; a file with several links is copied when one of its disks is written to.
 *
 * A file is opened for each access: a pool may have more disks than a process may have files. A disk that is deleted
 * loses its file only when the state file knows, so that a crash leaves either both or none; files of no disk are
 * removed at the start.
 */
#include "lib/simpool/disk.h"
#include "lib/simpool/ops.h"

#include "core/bytes.h"

#include <dirent.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define ZERO_BYTES       4096u /* zeros of so many bytes, on their boundary, become a hole */
#define GONE_BYTES_MAX   (1u << 20)
#define COPY_BYTES       (1u << 20)
#define UUID_LENGTH      36u
#define STAT_BLOCK_BYTES 512u

static char *path_of(const struct simpool *p, const char *name)
{
    struct xk_buf b = XK_BUF_INIT(PATH_MAX);

    xk_buf_printf(&b, "%s/%s", p->disk_folder, name);
    return xk_buf_take(&b);
}

/* name      lives as long as the file is open. returns   0; -ENOENT: it holds nothing. */
static int file_open(struct xk_file *ret, const struct simpool *p, const char *name, int flags)
{
    xk_autofree char *path = path_of(p, name);

    *ret = (struct xk_file){0};
    const int code = path ? xk_file_open(ret, p->settings.fs, path, flags, 0600, NULL) : -ENOMEM;
    ret->path = name; /* for messages, as long as the file is open */
    return code;
}

static uint64_t held(const struct xk_file *f)
{
    struct stat st;

    return f->fs->ops->fstat(f->fs, f->fd, &st) < 0 ? 0 : (uint64_t)st.st_blocks * STAT_BLOCK_BYTES;
}

/* returns   1: other disks have the file, too; 0; why that cannot be told. */
static int is_shared(const struct xk_file *f)
{
    struct stat st;
    const int code = f->fs->ops->fstat(f->fs, f->fd, &st);

    return code < 0 ? code : st.st_nlink > 1;
}

/* ---- reading ---- */

int sim_disk_file_read(const struct simpool *p, const char *name, void *ret, size_t bytes, uint64_t start)
{
    xk_auto(xk_file_close) struct xk_file f = {0};
    const int code = file_open(&f, p, name, O_RDONLY);
    const ssize_t got = code < 0 ? 0 : xk_file_read_some(&f, ret, bytes, start, NULL);

    if ((code < 0 && code != -ENOENT) || got < 0)
        return code < 0 ? code : (int)got;
    memset((uint8_t *)ret + got, 0, bytes - (size_t)got);
    return 0;
}

static bool next_run(const struct xk_file *f, uint64_t from, uint64_t *ret_start, uint64_t *ret_end)
{
    const struct xk_fs *const fs = f->fs;
    const int64_t start = fs->ops->seek(fs, f->fd, from, SEEK_DATA);

    if (start == -ENXIO)
        return false;
    /* A file system that cannot tell has no holes. */
    const int64_t end = fs->ops->seek(fs, f->fd, start < 0 ? from : (uint64_t)start, start < 0 ? SEEK_END : SEEK_HOLE);
    if (end < 0 || (uint64_t)end <= from)
        return false;
    *ret_start = start < 0 ? from : (uint64_t)start;
    *ret_end = (uint64_t)end;
    return true;
}

bool sim_disk_file_next(const struct simpool *p, const char *name, uint64_t from, uint64_t *ret_start,
                        uint64_t *ret_end)
{
    xk_auto(xk_file_close) struct xk_file f = {0};

    return file_open(&f, p, name, O_RDONLY) == 0 && next_run(&f, from, ret_start, ret_end);
}

uint64_t sim_disk_file_held(const struct simpool *p, const char *name)
{
    xk_auto(xk_file_close) struct xk_file f = {0};

    return file_open(&f, p, name, O_RDONLY) == 0 ? held(&f) : 0;
}

/* ---- writing ---- */

static int write_run(const struct xk_file *f, const uint8_t *bytes, size_t count, uint64_t start, bool zeros)
{
    uint64_t size = 0;

    if (!zeros)
        return xk_file_write(f, bytes, count, start, NULL);
    const int code = xk_file_size(&size, f, NULL);
    if (code < 0 || start >= size)
        return code;
    if (f->fs->ops->allocate(f->fs, f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, start, count) == 0)
        return 0;
    return xk_file_write_zeros(f, start, start + count, NULL);
}

/* Runs of zeros and of anything else, each in one go. */
static int write_sparse(const struct xk_file *f, const uint8_t *bytes, size_t count, uint64_t start)
{
    size_t from = 0;

    while (from < count) {
        size_t to = from;
        bool zeros = false;
        do {
            const size_t part = XK_MIN(count - to, ZERO_BYTES - (size_t)((start + to) % ZERO_BYTES));
            const bool empty = part == ZERO_BYTES && xk_is_zero(bytes + to, part);
            if (to > from && empty != zeros)
                break;
            zeros = empty;
            to += part;
        } while (to < count);
        const int code = write_run(f, bytes + from, to - from, start + from, zeros);
        if (code < 0)
            return code;
        from = to;
    }
    return 0;
}

static int copy_content(const struct xk_file *from, const struct xk_file *to)
{
    xk_autofree uint8_t *piece = xk_array_alloc(COPY_BYTES, 1);
    uint64_t at = 0, end;
    int code = piece ? 0 : -ENOMEM;

    while (code == 0 && next_run(from, at, &at, &end))
        while (code == 0 && at < end) {
            const size_t part = (size_t)XK_MIN(end - at, (uint64_t)COPY_BYTES);
            code = xk_file_read(from, piece, part, at, NULL);
            if (code == 0)
                code = xk_file_write(to, piece, part, at, NULL);
            at += part;
        }
    return code;
}

/* A file of its own under that name, which takes the place of one that others have, too. */
static int copy_to(struct simpool *p, const struct xk_file *from, const char *name)
{
    xk_autofree char *path = path_of(p, name);
    xk_auto(xk_newfile_abort) struct xk_newfile n = {0};

    if (p->disk_bytes + held(from) > SIM_DISKS_FILES_MAX)
        return -ENOSPC;
    int code = path ? xk_newfile_begin(&n, p->settings.fs, path, 0600, false, NULL) : -ENOMEM;
    n.no_sync = true;
    if (code == 0)
        code = copy_content(from, &n.file);
    const uint64_t more = code == 0 ? held(&n.file) : 0;
    if (code == 0)
        code = xk_newfile_commit(&n, NULL);
    if (code == 0)
        p->disk_bytes += more;
    return code;
}

int sim_disk_file_write(struct simpool *p, const char *name, const void *bytes, size_t count, uint64_t start)
{
    xk_auto(xk_file_close) struct xk_file f = {0};
    int code = file_open(&f, p, name, O_RDWR | O_CREAT);

    if (code == -ENOENT && mkdir(p->disk_folder, 0700) == 0)
        code = file_open(&f, p, name, O_RDWR | O_CREAT);
    if (code == 0)
        code = is_shared(&f);
    if (code == 1) {
        code = copy_to(p, &f, name);
        xk_file_close(&f);
        if (code == 0)
            code = file_open(&f, p, name, O_RDWR);
    }
    if (code < 0)
        return code;
    const uint64_t before = held(&f);
    if (p->disk_bytes + count > SIM_DISKS_FILES_MAX)
        return -ENOSPC;
    code = write_sparse(&f, bytes, count, start);
    p->disk_bytes += held(&f) - before;
    return code;
}

int sim_disk_file_share(struct simpool *p, const char *from, const char *to)
{
    xk_autofree char *old = path_of(p, from), *new = path_of(p, to);
    xk_auto(xk_file_close) struct xk_file f = {0}, moved = {0};
    const struct xk_fs *const fs = p->settings.fs;

    if (!old || !new)
        return -ENOMEM;
    (void)fs->ops->unlink(fs, new);
    int code = file_open(&f, p, from, O_RDONLY);
    if (code == -ENOENT)
        return 0;
    if (code == 0)
        code = fs->ops->link(fs, old, new);
    if (code < 0)
        return code;
    /* Without links in the file system it was moved. */
    return file_open(&moved, p, from, O_RDONLY) == -ENOENT ? copy_to(p, &f, from) : 0;
}

/* ---- the folder ---- */

static bool is_disk(const struct simpool *p, const char *name)
{
    return strlen(name) == UUID_LENGTH && sim_find_uuid(p, name, xapi_class_find("VDI"));
}

int sim_disks_open(struct simpool *p, const char *state, struct xk_err *err)
{
    struct xk_buf folder = XK_BUF_INIT(PATH_MAX);

    xk_buf_printf(&folder, "%s.disks", state);
    p->disk_folder = xk_buf_take(&folder);
    p->disks_gone = XK_BUF_INIT(GONE_BYTES_MAX);
    if (!p->disk_folder)
        return xk_fail_memory(err);
    DIR *const dir = opendir(p->disk_folder);
    if (!dir && errno == ENOENT) /* it is made for the first disk that is written to */
        return 0;
    if (!dir)
        return xk_fail_sys(err, -errno, "%s: opening the folder of what disks hold", p->disk_folder);
    for (const struct dirent *entry; (entry = readdir(dir));) {
        if (entry->d_name[0] == '.')
            continue;
        xk_autofree char *path = path_of(p, entry->d_name);
        if (path && !is_disk(p, entry->d_name))
            (void)p->settings.fs->ops->unlink(p->settings.fs, path);
        else if (path)
            p->disk_bytes += sim_disk_file_held(p, entry->d_name);
    }
    (void)closedir(dir);
    return 0;
}

void sim_disk_drop(struct simpool *p, struct sim_object *vdi)
{
    if (p->disk_folder)
        xk_buf_printf(&p->disks_gone, "%.36s\n", sim_text(vdi, "uuid"));
}

void sim_disks_settle(struct simpool *p)
{
    const struct xk_fs *const fs = p->settings.fs;

    if (p->disks_gone.len == 0)
        return;
    for (const char *at = p->disks_gone.data; *at; at += UUID_LENGTH + 1) {
        char name[UUID_LENGTH + 1];
        snprintf(name, sizeof(name), "%.36s", at);
        xk_auto(xk_file_close) struct xk_file f = {0};
        if (file_open(&f, p, name, O_RDONLY) == 0 && is_shared(&f) == 0)
            p->disk_bytes -= XK_MIN(p->disk_bytes, held(&f));
        xk_autofree char *path = path_of(p, name);
        if (path && !is_disk(p, name))
            (void)fs->ops->unlink(fs, path);
    }
    xk_buf_reset(&p->disks_gone); /* what did not fit is found at the next start */
}

void sim_disks_close(struct simpool *p)
{
    if (p->disk_folder)
        sim_disks_settle(p);
    xk_buf_done(&p->disks_gone);
    free(p->disk_folder);
    p->disk_folder = NULL;
}
