/*
 * One line, one write(2) at the end of the file: nothing is kept back, so what was logged survives any end of the
 * program, and whoever follows the file sees it at once.
 *
 * Rotation goes from the oldest file to the newest and stops at the first that cannot be moved, so nothing is ever
 * moved over something that is still needed; packing goes through a temporary name. An interruption leaves a line twice
 * but never loses it.
 */
#include "lib/simpool/log-file.h"

#include <zlib.h>

#include <fcntl.h>
#include <sys/stat.h>

#define PACK_BYTES 65536

static int file_open(struct sim_log_file *f, struct xk_err *err)
{
    int code = xk_file_open(&f->file, f->fs, f->path, O_WRONLY | O_CREAT | O_APPEND, 0640, err);

    if (code == 0)
        code = xk_file_size(&f->bytes, &f->file, err);
    if (code < 0)
        xk_file_close(&f->file);
    return code;
}

int sim_log_file_open(struct sim_log_file *ret, const struct xk_fs *fs, const struct xk_clock *clock, char *path,
                      uint64_t bytes_max, struct xk_err *err)
{
    *ret = (struct sim_log_file){.path = path, .fs = fs, .clock = clock, .bytes_max = bytes_max};
    return file_open(ret, err);
}

void sim_log_file_close(struct sim_log_file *f)
{
    xk_file_close(&f->file);
    free(f->path);
    f->path = NULL;
}

/* ---- rotation ---- */

static char *numbered(const struct sim_log_file *f, unsigned number)
{
    return number == 0 ? xk_strdup(f->path) : xk_asprintf(number == 1 ? "%s.%u" : "%s.%u.gz", f->path, number);
}

/* Append the packed content of `from` to the open file. */
static int pack_into(struct xk_file *to, const struct xk_file *from, struct xk_err *err)
{
    xk_autofree uint8_t *in = xk_alloc(PACK_BYTES), *out = xk_alloc(PACK_BYTES);
    z_stream z = {0};
    uint64_t at = 0, written = 0;
    int code = 0;

    /* Level 1: the pool stands still meanwhile. 16 more window bits: the header of gzip. */
    if (!in || !out || deflateInit2(&z, 1, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return xk_fail_memory(err);
    for (bool end = false; !end && code == 0;) {
        const ssize_t got = xk_file_read_some(from, in, PACK_BYTES, at, err);
        if (got < 0) {
            code = (int)got;
            break;
        }
        at += (uint64_t)got;
        end = got < PACK_BYTES;
        z.next_in = in;
        z.avail_in = (uInt)got;
        do {
            z.next_out = out;
            z.avail_out = PACK_BYTES;
            (void)deflate(&z, end ? Z_FINISH : Z_NO_FLUSH);
            code = xk_file_write(to, out, PACK_BYTES - z.avail_out, written, err);
            written += PACK_BYTES - z.avail_out;
        } while (z.avail_out == 0 && code == 0);
    }
    (void)deflateEnd(&z);
    return code;
}

static int pack(const struct xk_fs *fs, const char *from_path, const char *to_path, struct xk_err *err)
{
    struct xk_newfile to = {0};
    struct xk_file from = {0};

    int code = xk_file_open(&from, fs, from_path, O_RDONLY, 0, err);
    if (code == 0)
        code = xk_newfile_begin(&to, fs, to_path, 0640, false, err);
    if (code == 0)
        code = pack_into(&to.file, &from, err);
    if (code == 0)
        code = xk_newfile_commit(&to, err);
    xk_newfile_abort(&to);
    xk_file_close(&from);
    return code;
}

static bool is_old(const struct sim_log_file *f, const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 &&
           f->clock->utc_ns(f->clock) / (int64_t)XK_NS_PER_S - st.st_mtime > (int64_t)SIM_LOG_AGE_S;
}

/* The file of one number becomes that of the next. A file that is not there is no error. */
static int move_up(const struct sim_log_file *f, unsigned number, struct xk_err *err)
{
    xk_autofree char *from = numbered(f, number), *to = numbered(f, number + 1);
    struct stat st;
    int code = 0;

    if (!from || !to)
        return xk_fail_memory(err);
    if (stat(from, &st) < 0)
        return 0;
    const bool gone = number + 1 > SIM_LOG_KEPT || (number > 0 && is_old(f, from));
    if (!gone && number == 1)
        code = pack(f->fs, from, to, err);
    if (code == 0)
        code = gone || number == 1 ? f->fs->ops->unlink(f->fs, from) : f->fs->ops->rename(f->fs, from, to);
    return code < 0 ? xk_fail_sys(err, code, "rotating %s", from) : 0;
}

/* Up to the first number that is free; what stands behind a gap need not move. */
static void rotate(struct sim_log_file *f)
{
    unsigned last = 0;

    for (bool there = true; there && last <= SIM_LOG_KEPT; last += there) {
        xk_autofree char *path = numbered(f, last + 1);
        struct stat st;
        if (!path)
            return;
        there = stat(path, &st) == 0;
    }
    for (unsigned number = last + 1; number-- > 0;)
        if (move_up(f, number, NULL) < 0)
            return;
    xk_file_close(&f->file);
}

/* ---- writing ---- */

int sim_log_file_append(struct sim_log_file *f, const char *line, size_t bytes, struct xk_err *err)
{
    if (f->bytes > 0 && f->bytes + bytes > f->bytes_max)
        rotate(f);
    int code = f->file.open ? 0 : file_open(f, err);
    if (code == 0 && f->torn)
        code = xk_file_truncate(&f->file, f->bytes, err);
    if (code < 0)
        return code;
    f->torn = false;
    code = xk_file_write(&f->file, line, bytes, f->bytes, err);
    if (code == 0)
        f->bytes += bytes;
    else
        f->torn = xk_file_truncate(&f->file, f->bytes, NULL) < 0;
    return code;
}
