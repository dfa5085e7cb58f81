/*
 * Messages and the progress line.
 *
 * A message is one write(2), so that lines of several processes do not mix. The progress line is wiped with blanks
 * instead of a terminal's erase sequence: it then also works where colours and sequences are unwanted.
 */
#include "core/log.h"

#include "core/buf.h"
#include "core/text.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#define LOG_LINE_MAX     2048
#define PROG_INTERVAL_NS (100 * XK_NS_PER_MS)
#define PROG_COLUMNS_MAX 160
#define PROG_BAR_CELLS   24
/* A rate from less time than this is noise. */
#define PROG_RATE_MIN_NS (500 * XK_NS_PER_MS)

static void write_all(int fd, const char *text, size_t bytes)
{
    while (bytes) {
        const ssize_t n = write(fd, text, bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return; /* there is nowhere left to complain */
        text += n;
        bytes -= (size_t)n;
    }
}

static size_t columns(const struct xk_log *log)
{
    struct winsize size;

    if (ioctl(log->fd, TIOCGWINSZ, &size) < 0 || size.ws_col < 20)
        return 80;
    return XK_MIN((size_t)size.ws_col, (size_t)PROG_COLUMNS_MAX);
}

static void wipe(struct xk_log *log)
{
    char line[PROG_COLUMNS_MAX + 2];

    if (!log->progress_shown)
        return;
    const size_t blanks = columns(log) - 1;
    memset(line, ' ', blanks + 2);
    line[0] = '\r';
    line[blanks + 1] = '\r';
    write_all(log->fd, line, blanks + 2);
    log->progress_shown = false;
}

/* Also when there is no memory left: then without what is not plain ASCII. */
static void write_line(struct xk_log *log, const char *before, const char *text)
{
    struct xk_buf line;
    char poor[LOG_LINE_MAX + 64];

    wipe(log);
    xk_buf_init(&line, 16 * XK_KIB);
    xk_buf_add_str(&line, before);
    xk_add_clean(&line, text);
    xk_buf_add_char(&line, '\n');
    if (!line.error) {
        write_all(log->fd, line.data, line.len);
    } else {
        snprintf(poor, sizeof(poor), "%s%s", before, text);
        const size_t bytes = strlen(poor);
        for (size_t i = 0; i < bytes; i++) {
            if (poor[i] < ' ' || poor[i] > '~')
                poor[i] = '?';
        }
        poor[bytes] = '\n';
        write_all(log->fd, poor, bytes + 1);
    }
    xk_buf_done(&line);
}

static const char *prefix(const struct xk_log *log, enum xk_level level)
{
    if (!log->terminal || !log->color || level > XK_LOG_WARN)
        return "xenkit: ";
    return level == XK_LOG_ERROR ? "\033[1;31mxenkit:\033[0m " : "\033[1;33mxenkit:\033[0m ";
}

void xk_log(struct xk_log *log, enum xk_level level, const char *format, ...)
{
    char text[LOG_LINE_MAX];
    va_list args;

    if (!log || log->fd < 0 || level > log->level)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    write_line(log, prefix(log, level), text);
}

void xk_log_err(struct xk_log *log, const struct xk_err *err)
{
    xk_log(log, XK_LOG_ERROR, "%s", err->text);
    if (err->hint[0] && log && log->fd >= 0)
        write_line(log, "  hint: ", err->hint);
}

/* ---- progress ---- */

static bool is_shown(const struct xk_prog *p)
{
    return p->log && p->log->fd >= 0 && p->log->terminal && p->log->level >= XK_LOG_WARN;
}

void xk_prog_begin(struct xk_prog *p, struct xk_log *log, const struct xk_clock *clock, const char *what,
                   uint64_t total, bool bytes)
{
    *p = (struct xk_prog){.log = log, .clock = clock, .what = what, .total = total, .bytes = bytes};
    p->started_ns = clock->monotonic_ns(clock);
    p->drawn_ns = p->started_ns;
}

static void add_count(struct xk_buf *line, const struct xk_prog *p, double count)
{
    if (p->bytes)
        xk_buf_add_str(line, xk_size((uint64_t)count).s);
    else
        xk_buf_printf(line, "%.0f", count);
}

static void add_rate_and_time(struct xk_buf *line, const struct xk_prog *p, uint64_t elapsed_ns)
{
    const double seconds = (double)elapsed_ns / (double)XK_NS_PER_S;
    const double rate = (double)p->done / seconds;

    xk_buf_add_str(line, "  ");
    add_count(line, p, rate);
    xk_buf_add_str(line, "/s");
    if (p->total <= p->done || rate <= 0)
        return;
    const double left = (double)(p->total - p->done) / rate;
    if (left < 100 * 3600)
        xk_buf_printf(line, "  %.0f:%02.0f left", (double)(uint64_t)(left / 60), (double)((uint64_t)left % 60));
}

static void draw(struct xk_prog *p, uint64_t elapsed_ns)
{
    const size_t cells = columns(p->log) - 1;
    struct xk_buf line;

    xk_buf_init(&line, 4 * XK_KIB);
    xk_buf_add_char(&line, '\r');
    xk_add_clean(&line, p->what);
    if (p->total) {
        const double share = XK_MIN(1.0, (double)p->done / (double)p->total);
        const size_t full = (size_t)(share * PROG_BAR_CELLS);
        xk_buf_add_str(&line, " [");
        xk_buf_add_repeat(&line, '#', full);
        xk_buf_add_repeat(&line, '.', PROG_BAR_CELLS - full);
        xk_buf_printf(&line, "] %3.0f %%", share * 100);
    } else {
        xk_buf_add_char(&line, ' ');
        add_count(&line, p, (double)p->done);
    }
    if (elapsed_ns >= PROG_RATE_MIN_NS)
        add_rate_and_time(&line, p, elapsed_ns);
    if (!line.error) {
        const size_t fits = 1 + xk_display_prefix(line.data + 1, cells);
        const size_t width = xk_display_width(line.data + 1);
        if (width < cells)
            xk_buf_add_repeat(&line, ' ', cells - width);
        if (!line.error)
            write_all(p->log->fd, line.data, width < cells ? line.len : fits);
        p->log->progress_shown = true;
    }
    xk_buf_done(&line);
}

void xk_prog_set(struct xk_prog *p, uint64_t done)
{
    p->done = done;
    if (!is_shown(p))
        return;
    const uint64_t now = p->clock->monotonic_ns(p->clock);
    if (now - p->drawn_ns < PROG_INTERVAL_NS)
        return;
    p->drawn_ns = now;
    draw(p, now - p->started_ns);
}

void xk_prog_end(struct xk_prog *p)
{
    if (p->log && p->log->fd >= 0)
        wipe(p->log);
}
