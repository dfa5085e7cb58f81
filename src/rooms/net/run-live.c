/* The picture of a running test on a terminal: a line for each stream, with the course of its rate so far. */
#include "rooms/net/run.h"

#include "core/text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define STREAMS_SHOWN   16
#define CELLS           40u
#define CELLS_LEAST     3u
#define COLUMNS_DEFAULT 80
#define DRAW_EVERY      2 /* ticks */

static const char *const blocks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};

bool run_live_shown(const struct run *r)
{
    return r->app->log->terminal && r->app->log->level >= XK_LOG_WARN;
}

void run_spark(struct xk_buf *b, const struct run_leg *leg, int way, unsigned cells)
{
    const unsigned count = leg->point_count, shown = XK_MIN(cells, count);
    double most = 0;

    for (unsigned i = 0; i < count; i++)
        most = fmax(most, leg->points[i].bps[way]);
    for (unsigned c = 0; c < shown; c++) {
        const unsigned from = c * count / shown, to = (c + 1) * count / shown;
        double sum = 0;
        for (unsigned i = from; i < to; i++)
            sum += leg->points[i].bps[way];
        const double share = most > 0 ? sum / (to - from) / most : 0;
        xk_buf_add_str(b, blocks[(unsigned)XK_MIN(share * 8, 7.0)]);
    }
}

/* A line that wraps would not be where the next picture is drawn over this one. */
static size_t columns(const struct run *r)
{
    struct winsize size;

    return ioctl(r->app->log->fd, TIOCGWINSZ, &size) < 0 || size.ws_col == 0 ? COLUMNS_DEFAULT : size.ws_col;
}

/* returns how many columns it took, at most `room`. */
static size_t draw_line(struct xk_buf *b, size_t room, const char *what, double bps, const struct iperf_count *c,
                        bool udp)
{
    char text[160];
    int length = snprintf(text, sizeof(text), "  %-12s %14s", what, xk_rate((uint64_t)bps).s);

    if (c && udp)
        length += snprintf(text + length, sizeof(text) - (size_t)length, "  lost %lld", (long long)c->errors);
    else if (c && c->rtt_us)
        length += snprintf(text + length, sizeof(text) - (size_t)length, "  rtt %.3g ms  again %llu",
                           (double)c->rtt_us / 1000, (unsigned long long)c->retransmits);
    const size_t shown = XK_MIN((size_t)length, room);
    xk_buf_add(b, text, shown);
    return shown;
}

void run_live_wipe(struct run *r)
{
    char up[32];

    if (!r->live_lines)
        return;
    const int bytes = snprintf(up, sizeof(up), "\033[%uA\033[J", r->live_lines);
    (void)!write(r->app->log->fd, up, (size_t)bytes);
    r->live_lines = 0;
}

void run_live_draw(struct run *r, const struct iperf_test *t, const struct iperf_interval *i)
{
    const struct run_leg *const leg = r->leg;
    const struct run_point *const now = &leg->points[leg->point_count - 1];
    const bool udp = t->params.protocol == IPERF_UDP;
    const size_t room = columns(r) - 1;
    unsigned lines = 0;

    if (leg->point_count % DRAW_EVERY)
        return;
    xk_buf_reset(&r->live);
    if (r->live_lines)
        xk_buf_printf(&r->live, "\033[%uA\033[J", r->live_lines);
    for (unsigned k = 0; i->count > 1 && k < i->count && k < STREAMS_SHOWN; k++, lines++) {
        char name[40];
        const struct iperf_flow *const f = i->rows[k].flow;
        snprintf(name, sizeof(name), "%s %d", f->sending ? "send" : "receive", f->id);
        (void)draw_line(&r->live, room, name, i->seconds > 0 ? (double)i->rows[k].count.bytes * 8 / i->seconds : 0,
                        &i->rows[k].count, udp);
        xk_buf_add_char(&r->live, '\n');
    }
    for (int way = 0; way < RUN_WAYS; way++) {
        if (way == 0 ? t->params.reverse : !t->params.reverse && !t->params.bidirectional)
            continue;
        char end[24];
        const size_t used = draw_line(&r->live, room, way ? "receive" : "send", now->bps[way],
                                      i->count == 1 ? &i->rows[0].count : NULL, udp);
        const size_t rest = 2 + (size_t)snprintf(end, sizeof(end), "  %.0f s", now->at_s);
        if (used + rest + CELLS_LEAST <= room) {
            xk_buf_add_str(&r->live, "  ");
            run_spark(&r->live, leg, way, (unsigned)XK_MIN(room - used - rest, (size_t)CELLS));
            xk_buf_add_str(&r->live, end);
        }
        xk_buf_add_char(&r->live, '\n');
        lines++;
    }
    if (!r->live.error)
        (void)!write(r->app->log->fd, r->live.data, r->live.len);
    r->live_lines = lines;
}
