/*
 * Where the bytes of a document go, how it begins and ends, and what is not a record.
 *
 * How the whole works: JSON and JSON lines are written at once, cell by cell. The other formats need a whole row (or
 * record) before the first byte: it is kept as a small tree of nodes in an arena. Rows are collected, at most
 * XK_OUT_LEARN_ROWS of them, to learn columns and widths, then drawn and forgotten; those that follow are drawn with
 * what was learned. So memory stays bounded and a long list begins to appear early.
 * Weighed: keeping the whole document and drawing it at the end. That is simpler, and impossible for a scan of a
 * million files or for a command that runs until it is stopped.
 */
#include "core/out-parts.h"

#include "core/text.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#define WRITE_BYTES      (64 * XK_KIB)
#define BUFFER_BYTES_MAX (64 * XK_MIB)
#define RECORD_BYTES_MAX (64 * XK_MIB)
#define NEW_FILE_MODE    0666

/* ---- bytes out ---- */

void xk_out_set_error(struct xk_out *out, int code)
{
    if (!out->error)
        out->error = code;
}

static int write_fd(int fd, const char *data, size_t bytes)
{
    while (bytes) {
        const ssize_t n = write(fd, data, bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN) {
            struct pollfd wait = {.fd = fd, .events = POLLOUT};
            (void)poll(&wait, 1, -1);
            continue;
        }
        if (n < 0)
            return -errno;
        data += n;
        bytes -= (size_t)n;
    }
    return 0;
}

static void write_bytes(struct xk_out *out, const char *data, size_t bytes)
{
    int r;

    if (out->error || !bytes)
        return;
    if (out->fd >= 0)
        r = write_fd(out->fd, data, bytes);
    else
        r = xk_file_write(&out->file.file, data, bytes, out->offset_bytes, NULL);
    if (r < 0)
        xk_out_set_error(out, r);
    out->offset_bytes += bytes;
}

void xk_out_drain(struct xk_out *out)
{
    if (out->buf.error)
        xk_out_set_error(out, out->buf.error);
    write_bytes(out, out->buf.data, out->buf.len);
    xk_buf_reset(&out->buf);
}

void xk_out_drain_when_full(struct xk_out *out)
{
    if (out->buf.len >= WRITE_BYTES || out->buf.error)
        xk_out_drain(out);
}

struct xk_buf *xk_out_sink(struct xk_out *out)
{
    const bool held = out->section == XK_SECTION_RECORD && out->format != XK_OUT_TABLE && out->format != XK_OUT_JSON;

    return held ? &out->held : &out->buf;
}

void xk_out_add_color(const struct xk_out *out, struct xk_buf *b, enum xk_color color)
{
    static const char *const sequences[] = {
        [XK_COLOR_NONE] = "\033[0m",  [XK_COLOR_GOOD] = "\033[32m",  [XK_COLOR_NOTE] = "\033[36m",
        [XK_COLOR_WARN] = "\033[33m", [XK_COLOR_BAD] = "\033[1;31m", [XK_COLOR_DIM] = "\033[2m",
    };

    if (out->color)
        xk_buf_add_str(b, sequences[color]);
}

/* ---- opening and closing ---- */

static bool is_device_path(const char *path)
{
    return xk_has_prefix(path, "/dev/") || xk_has_prefix(path, "/proc/");
}

static int open_file(struct xk_out *out, const char *path, struct xk_err *err)
{
    struct stat st;
    const bool there = stat(path, &st) == 0;

    out->where = path;
    if (there && !S_ISCHR(st.st_mode) && !S_ISFIFO(st.st_mode)) {
        out->replaced_dev = st.st_dev;
        out->replaced_ino = st.st_ino;
    }
    if (is_device_path(path) || (there && !S_ISREG(st.st_mode))) {
        out->fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
        if (out->fd < 0)
            return xk_fail_sys(err, -errno, "cannot write %s", path);
        out->owns_fd = true;
        return 0;
    }
    /* A link keeps pointing where it points: the file behind it is what is replaced. */
    xk_autofree char *real = there ? realpath(path, NULL) : NULL;
    out->fd = -1;
    return xk_newfile_begin(&out->file, out->fs, real ? real : path, NEW_FILE_MODE, false, err);
}

static size_t terminal_width(int fd)
{
    struct winsize size;

    return ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;
}

int xk_out_open(struct xk_out **ret, const struct xk_out_settings *settings, struct xk_err *err)
{
    struct xk_out *const out = xk_alloc(sizeof(*out));
    int r = 0;

    if (!out)
        return xk_fail_memory(err);
    memset(out, 0, offsetof(struct xk_out, rows));
    out->format = settings->format;
    out->fs = settings->fs;
    out->fd = STDOUT_FILENO;
    out->where = "standard output";
    out->arena = XK_ARENA_INIT(RECORD_BYTES_MAX);
    out->column_arena = XK_ARENA_INIT(XK_MIB);
    xk_buf_init(&out->buf, BUFFER_BYTES_MAX);
    xk_buf_init(&out->held, BUFFER_BYTES_MAX);
    xk_buf_init(&out->work, BUFFER_BYTES_MAX);
    for (size_t i = 0; i < XK_OUT_CLEAN_TEXTS; i++)
        xk_buf_init(&out->clean[i], XK_MIB);
    if (settings->file && strcmp(settings->file, "-") != 0)
        r = open_file(out, settings->file, err);
    if (r < 0) {
        xk_out_close(out);
        return r;
    }
    out->terminal = out->fd >= 0 && isatty(out->fd);
    out->width = out->terminal ? terminal_width(out->fd) : 0;
    out->color = out->terminal && settings->color && out->format == XK_OUT_TABLE;
    if (out->format == XK_OUT_JSON) {
        xk_json_init(&out->json, &out->buf, out->terminal ? 2 : 0);
        xk_json_object(&out->json, NULL);
        out->json_open = true;
    }
    *ret = out;
    return 0;
}

void xk_out_close(struct xk_out *out)
{
    if (!out)
        return;
    xk_newfile_abort(&out->file);
    if (out->owns_fd)
        (void)close(out->fd);
    xk_buf_done(&out->buf);
    xk_buf_done(&out->held);
    xk_buf_done(&out->work);
    for (size_t i = 0; i < XK_OUT_CLEAN_TEXTS; i++)
        xk_buf_done(&out->clean[i]);
    xk_arena_done(&out->arena);
    xk_arena_done(&out->column_arena);
    free(out);
}

static void put_json_error(struct xk_json *json, const char *key, const struct xk_err *failed)
{
    const char *const name = strerrorname_np(-failed->code);

    xk_json_object(json, key);
    xk_json_str(json, "code", name ? name : "EIO");
    xk_json_i64(json, "exit", failed->exit);
    xk_json_str(json, "message", failed->text);
    xk_json_str(json, "hint", failed->hint[0] ? failed->hint : NULL);
    xk_json_end(json);
}

int xk_out_finish(struct xk_out *out, const struct xk_err *failed, struct xk_err *err)
{
    if (out->section != XK_SECTION_NONE)
        xk_out_end(out);
    if (out->carried == XK_CARRIED_RECORD)
        xk_buf_add(&out->buf, out->held.data, out->held.len);
    if (out->held.error)
        xk_out_set_error(out, out->held.error);
    if (out->format == XK_OUT_JSON && out->json_open) {
        if (failed)
            put_json_error(&out->json, "error", failed);
        xk_json_end(&out->json);
        xk_buf_add_char(&out->buf, '\n');
        out->json_open = false;
    } else if (out->format == XK_OUT_JSONL && failed) {
        xk_json_init(&out->json, &out->buf, 0);
        xk_json_object(&out->json, NULL);
        put_json_error(&out->json, "error", failed);
        xk_json_end(&out->json);
        xk_buf_add_char(&out->buf, '\n');
    }
    xk_out_drain(out);
    if (out->error)
        return xk_fail_sys(err, out->error, "cannot write %s", out->where);
    if (out->fd < 0 && (!failed || out->format == XK_OUT_JSON))
        return xk_newfile_commit(&out->file, err);
    return 0;
}

enum xk_out_format xk_out_format(const struct xk_out *out)
{
    return out->format;
}

bool xk_out_is_terminal(const struct xk_out *out)
{
    return out->terminal;
}

size_t xk_out_width(const struct xk_out *out)
{
    return out->width;
}

int xk_out_error(const struct xk_out *out)
{
    return out->error ? out->error : out->buf.error;
}

int xk_out_check_source(const struct xk_out *out, const char *path, struct xk_err *err)
{
    if (!out->replaced_ino || xk_path_check_identity(out->fs, path, out->replaced_dev, out->replaced_ino, NULL) < 0)
        return 0;
    return xk_fail(err, -EINVAL, "-o %s: the results would replace %s, which they are made from", out->where, path);
}

/* ---- text and bytes ---- */

static void say(struct xk_out *out, enum xk_color color, const char *format, va_list args) XK_PRINTF(3, 0);

static void say(struct xk_out *out, enum xk_color color, const char *format, va_list args)
{
    if (out->format != XK_OUT_TABLE)
        return;
    xk_out_end_row(out);
    xk_out_draw_rows(out, &out->buf);
    if (color != XK_COLOR_NONE)
        xk_out_add_color(out, &out->buf, color);
    xk_buf_vprintf(&out->buf, format, args);
    if (color != XK_COLOR_NONE)
        xk_out_add_color(out, &out->buf, XK_COLOR_NONE);
    out->section_was_last = false;
    xk_out_drain_when_full(out);
}

void xk_say(struct xk_out *out, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say(out, XK_COLOR_NONE, format, args);
    va_end(args);
}

void xk_say_color(struct xk_out *out, enum xk_color color, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say(out, color, format, args);
    va_end(args);
}

const char *xk_out_clean(struct xk_out *out, const char *foreign)
{
    struct xk_buf *const b = &out->clean[out->clean_next++ % XK_OUT_CLEAN_TEXTS];

    xk_buf_reset(b);
    xk_add_clean(b, foreign);
    if (b->error)
        xk_out_set_error(out, b->error);
    return xk_buf_str(b);
}

void xk_out_raw(struct xk_out *out, const void *bytes, size_t count)
{
    if (count >= WRITE_BYTES) {
        xk_out_drain(out);
        write_bytes(out, bytes, count);
        return;
    }
    xk_buf_add(&out->buf, bytes, count);
    xk_out_drain_when_full(out);
}

void xk_out_rawf(struct xk_out *out, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    xk_buf_vprintf(&out->buf, format, args);
    va_end(args);
    xk_out_drain_when_full(out);
}

void xk_out_flush(struct xk_out *out)
{
    if (out->section == XK_SECTION_ROWS) {
        xk_out_end_row(out);
        xk_out_draw_rows(out, &out->buf);
    }
    xk_out_drain(out);
}
