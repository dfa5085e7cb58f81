/*
 * Charts as SVG.
 *
 * A drawing that is scaled as a whole has unreadable letters on a phone. So the outer SVG is as wide as its column and
 * as high as it says, places are percentages, letters keep their size, and labels stand inside the plot or above their
 * bar, where no margin needs to be known. Only lines need a coordinate system: they live in an inner SVG that is
 * stretched, with strokes that are not. All coordinates are integers (printf's decimal sign depends on the locale).
 *
 * A long line is thinned to the smallest and the largest value of each of THIN_COLUMNS places: what is drawn looks the
 * same, and a peak is never lost as it is with every n-th point or with means.
 */
#include "lib/report/inner.h"

#include "core/json.h"
#include "core/text.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define THIN_COLUMNS 600
#define PLOT_SCALE   10000 /* the inner SVG's width and height */
#define TICKS_MAX    12
#define LABEL_CELLS  38 /* of a bar, beside its value, on a phone */
#define NAME_CELLS   60 /* of a line, in the reading of a zoomable chart */
#define BAR_PITCH_PX 40
#define PLOT_PX      190
#define PLOT_TOP_PX  14
#define TICK_CELL_PX 7  /* a letter of a tick's label, at most */
#define AXIS_PX      24 /* below the plot, for its labels */
#define COLORS       8  /* line-1 … line-8 in style.css */
#define LATENCY_BINS 48
#define YEAR_10000   253402300800.0
#define HIST_MEDIAN  0.5
#define HIST_TAIL    0.99

/* ---- the frame of every chart ---- */

static void figure_begin(struct report *r, const struct report_chart *chart)
{
    assert(r->block == REPORT_BLOCK_NONE);
    xk_buf_add_str(&r->html, "<figure class=\"chart\">\n<figcaption><h3>");
    report_add_text(r, chart->title);
    xk_buf_add_str(&r->html, "</h3></figcaption>\n");
}

static void figure_end(struct report *r)
{
    xk_buf_add_str(&r->html, "</figure>\n");
}

static void figure_empty(struct report *r)
{
    xk_buf_add_str(&r->html, "<p class=\"none\">No values.</p>\n");
    figure_end(r);
}

/* Open the SVG. `made` is the description when the caller gave none. */
static void plot_begin(struct report *r, const struct report_chart *chart, unsigned height_px, const char *made)
{
    const unsigned id = report_next_id(r);
    xk_buf_printf(&r->html,
                  "<svg class=\"plot\" role=\"img\" aria-labelledby=\"x%ut x%ud\" width=\"100%%\" height=\"%u\">"
                  "<title id=\"x%ut\">",
                  id, id, height_px, id);
    report_add_text(r, chart->title);
    xk_buf_printf(&r->html, "</title><desc id=\"x%ud\">", id);
    report_add_text(r, chart->description != NULL ? chart->description : made);
    xk_buf_add_str(&r->html, "</desc>\n");
}

static void plot_end(struct report *r)
{
    xk_buf_add_str(&r->html, "</svg>\n");
}

/* The class that colours item i: its state's, or the next of the palette. */
static struct xk_word color_class(enum report_state state, size_t i)
{
    struct xk_word w;
    if (state == REPORT_NEUTRAL)
        snprintf(w.s, sizeof(w.s), "line-%zu", i % COLORS + 1);
    else
        snprintf(w.s, sizeof(w.s), "%s", report_state_name(state));
    return w;
}

static void key_begin(struct report *r)
{
    xk_buf_add_str(&r->html, "<ul class=\"key\">\n");
}

/* One entry; ends with an open <li> that the caller fills and closes with key_item_end(). */
static void key_item(struct report *r, const char *class, const char *name)
{
    xk_buf_printf(&r->html,
                  "<li><svg class=\"swatch\" width=\"14\" height=\"10\" aria-hidden=\"true\"><rect class=\"fill %s\" "
                  "width=\"14\" height=\"10\" rx=\"2\"/></svg><span>",
                  class);
    report_add_text(r, name);
    xk_buf_add_str(&r->html, "</span> <span class=\"hush\">");
}

static void key_item_end(struct report *r)
{
    xk_buf_add_str(&r->html, "</span></li>\n");
}

/* ---- bars ---- */

static double drawable_or_zero(double v)
{
    return report_drawable(v) ? v : 0;
}

void report_bars(struct report *r, const struct report_chart *chart, const struct report_bar *bars, size_t count)
{
    figure_begin(r, chart);
    if (count == 0) {
        figure_empty(r);
        return;
    }
    const size_t shown = XK_MIN(count, (size_t)REPORT_BARS_MAX);
    double low = 0, high = 0;
    size_t largest = 0;
    for (size_t i = 0; i < shown; i++) {
        low = fmin(low, drawable_or_zero(bars[i].value));
        high = fmax(high, drawable_or_zero(bars[i].value));
        if (drawable_or_zero(bars[i].value) > drawable_or_zero(bars[largest].value))
            largest = i;
    }
    const double span = high > low ? high - low : 1;

    char made[120];
    snprintf(made, sizeof(made), "%zu bars; the largest value is %s.", shown,
             report_value(chart->unit, bars[largest].value).s);
    plot_begin(r, chart, (unsigned)shown * BAR_PITCH_PX - 10, made);
    for (size_t i = 0; i < shown; i++) {
        const double v = drawable_or_zero(bars[i].value);
        const unsigned top = (unsigned)i * BAR_PITCH_PX;
        xk_buf_add_str(&r->html, "<g><title>");
        report_add_text(r, bars[i].label);
        xk_buf_printf(&r->html, "</title><text x=\"0\" y=\"%u\">", top + 14);
        report_add_short(r, bars[i].label, LABEL_CELLS);
        xk_buf_printf(&r->html, "</text><text class=\"value\" x=\"100%%\" y=\"%u\">%s</text>", top + 14,
                      report_value(chart->unit, bars[i].value).s);
        xk_buf_printf(&r->html, "<rect class=\"track\" y=\"%u\" width=\"100%%\" height=\"10\" rx=\"2\"/>", top + 20);
        xk_buf_printf(&r->html, "<rect class=\"fill %s\" x=\"%s\" y=\"%u\" width=\"%s\" height=\"10\" rx=\"2\"/></g>\n",
                      bars[i].state == REPORT_NEUTRAL ? "line-1" : report_state_name(bars[i].state),
                      report_percent((fmin(v, 0) - low) / span).s, top + 20, report_percent(fabs(v) / span).s);
    }
    plot_end(r);
    report_add_left_off(r, count - shown, "bars are");
    figure_end(r);
}

/* ---- parts of a whole ---- */

void report_parts(struct report *r, const struct report_chart *chart, const struct report_bar *parts, size_t count,
                  double total)
{
    figure_begin(r, chart);
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += fmax(drawable_or_zero(parts[i].value), 0);
    const double whole = fmax(drawable_or_zero(total), sum);
    if (count == 0 || !report_drawable(sum)) {
        figure_empty(r);
        return;
    }
    const double scale = whole > 0 ? whole : 1;
    const size_t shown = XK_MIN(count, (size_t)REPORT_BARS_MAX);

    char made[120];
    snprintf(made, sizeof(made), "One bar of %zu parts, %s in all.", shown, report_value(chart->unit, whole).s);
    plot_begin(r, chart, 22, made);
    xk_buf_add_str(&r->html, "<rect class=\"track\" width=\"100%\" height=\"22\" rx=\"3\"/>\n");
    double at = 0;
    for (size_t i = 0; i < shown; i++) {
        const double v = fmax(drawable_or_zero(parts[i].value), 0);
        if (v == 0)
            continue;
        xk_buf_printf(&r->html, "<rect class=\"fill part %s\" x=\"%s\" width=\"%s\" height=\"22\"><title>",
                      color_class(parts[i].state, i).s, report_percent(at / scale).s, report_percent(v / scale).s);
        report_add_text(r, parts[i].label);
        xk_buf_add_str(&r->html, "</title></rect>\n");
        at += v;
    }
    plot_end(r);

    key_begin(r);
    for (size_t i = 0; i < shown; i++) {
        key_item(r, color_class(parts[i].state, i).s, parts[i].label);
        xk_buf_add_str(&r->html, report_value(chart->unit, parts[i].value).s);
        if (report_drawable(parts[i].value) && parts[i].value >= 0)
            xk_buf_printf(&r->html, ", %s", report_share(parts[i].value / scale).s);
        key_item_end(r);
    }
    xk_buf_add_str(&r->html, "</ul>\n");
    report_add_left_off(r, count - shown, "parts are");
    figure_end(r);
}

/* ---- scales ---- */

struct scale {
    double low, high;
    double step;    /* between ticks */
    unsigned ticks; /* after the first, which stands at `first` */
    double first;
};

/* The largest of 1, 2, 5 × 10ⁿ that is not much above the wish; for sizes the powers of 1024 take the place of 1. */
static double nice_step(double wish, enum report_unit unit)
{
    double base = 1;
    if (unit == REPORT_BYTES)
        while (wish >= 1024 * base)
            base *= 1024;
    wish /= base;
    const double ten = pow(10, floor(log10(wish)));
    const double lead = wish / ten;
    return base * ten * (lead < 1.5 ? 1 : lead < 3.5 ? 2 : lead < 7.5 ? 5 : 10);
}

/* A scale of values that ends on ticks, with zero on it when it is not far away. */
static struct scale value_scale(double low, double high, enum report_unit unit)
{
    if (low >= 0 && low < 0.6 * high)
        low = 0;
    if (high <= 0 && high > 0.6 * low)
        high = 0;
    /* Values that differ by nothing but rounding are one value. */
    if (!(high - low > 1e-9 * fmax(fabs(low), fabs(high)))) {
        const double room = high == 0 ? 1 : fabs(high) / 2;
        low = low >= 0 ? fmax(low - room, 0) : low - room;
        high += room;
    }
    struct scale s = {.step = nice_step((high - low) / 4, unit)};
    if (!(s.step > 0 && isfinite(s.step)))
        s.step = high - low;
    s.low = floor(low / s.step) * s.step;
    s.high = ceil(high / s.step) * s.step;
    s.ticks = (unsigned)XK_MIN((s.high - s.low) / s.step + 0.5, (double)TICKS_MAX);
    s.first = s.low;
    return s;
}

/* A scale that ends where the values end, with ticks inside. */
static struct scale x_scale(double low, double high, bool is_time)
{
    static const double time_steps[] = {
        1,    2,    5,     10,    15,    30,    60,        120,       300,        600,        900,        1800,
        3600, 7200, 10800, 21600, 43200, 86400, 2 * 86400, 7 * 86400, 14 * 86400, 30 * 86400, 91 * 86400, 365 * 86400};
    struct scale s = {.low = low, .high = high, .first = low};
    if (!(high > low))
        return s;
    s.step = nice_step((high - low) / 4, REPORT_NUMBER);
    if (is_time && s.step >= 1) {
        size_t i = 0;
        while (i + 1 < XK_COUNT(time_steps) && time_steps[i] < (high - low) / 5)
            i++;
        s.step = fmax(time_steps[i], time_steps[i] < (high - low) / 10 ? s.step : 0);
    }
    s.first = ceil(low / s.step) * s.step;
    if (s.first <= high)
        s.ticks = (unsigned)XK_MIN((high - s.first) / s.step, (double)TICKS_MAX);
    return s;
}

static double fraction_of(const struct scale *s, double v)
{
    return s->high > s->low ? (v - s->low) / (s->high - s->low) : 0.5;
}

/* As many digits as neighbours need to differ. */
static struct xk_word tick_text(const struct scale *s, enum report_unit unit, double v)
{
    if (fabs(v) < s->step / 1e6)
        v = 0;
    const double largest = fmax(fabs(s->low), fabs(s->high));
    const bool fine = s->step > 0 && log10(largest / s->step) > 2.5;
    return fine && unit == REPORT_NUMBER ? xk_number(v) : report_value(unit, v);
}

static struct xk_word time_text(double v, double step)
{
    const struct xk_word iso = xk_iso_time((int64_t)floor(v)); /* 2026-11-23T04:54:02Z */
    struct xk_word w;
    if (step >= 86400)
        snprintf(w.s, sizeof(w.s), "%.10s", iso.s);
    else
        snprintf(w.s, sizeof(w.s), "%.*s", step >= 60 ? 5 : 8, strlen(iso.s) > 11 ? iso.s + 11 : iso.s);
    return w;
}

static void add_x_label(struct report *r, double fraction, unsigned y, const char *text)
{
    const char *const anchor = fraction < 0.08 ? "start" : fraction > 0.92 ? "end" : "middle";
    xk_buf_printf(&r->html, "<text class=\"tick\" x=\"%s\" y=\"%u\" text-anchor=\"%s\">%s</text>\n",
                  report_percent(fraction).s, y, anchor, text);
}

/* The vertical place of a value, in pixels of the outer SVG. */
static unsigned y_of(const struct scale *s, double v)
{
    const double down = 1 - fraction_of(s, v);
    return PLOT_TOP_PX + (unsigned)(fmin(fmax(down, 0), 1) * PLOT_PX + 0.5);
}

static void add_grid(struct report *r, const struct scale *s)
{
    for (unsigned i = 0; i <= s->ticks; i++) {
        const unsigned y = y_of(s, s->first + i * s->step);
        xk_buf_printf(&r->html, "<line class=\"%s\" x1=\"0\" x2=\"100%%\" y1=\"%u\" y2=\"%u\"/>\n",
                      i == 0 ? "axis" : "grid", y, y);
    }
}

/* The labels of the value axis are an SVG of their own to the left of the plot, as wide as the longest. */
static void frame_begin(struct report *r, const struct scale *s, enum report_unit unit)
{
    size_t cells = 1;
    for (unsigned i = 0; i <= s->ticks; i++)
        cells = XK_MAX(cells, strlen(tick_text(s, unit, s->first + i * s->step).s));
    const size_t wide = cells * TICK_CELL_PX;
    xk_buf_printf(&r->html,
                  "<div class=\"frame\"><svg class=\"plot ticks\" width=\"%zu\" height=\"%d\" aria-hidden=\"true\">",
                  wide, PLOT_TOP_PX + PLOT_PX + AXIS_PX);
    for (unsigned i = 0; i <= s->ticks; i++) {
        const double v = s->first + i * s->step;
        xk_buf_printf(&r->html, "<text class=\"tick\" x=\"%zu\" y=\"%u\">%s</text>", wide, y_of(s, v) + 4,
                      tick_text(s, unit, v).s);
    }
    xk_buf_add_str(&r->html, "</svg>\n");
}

static void frame_end(struct report *r)
{
    xk_buf_add_str(&r->html, "</div>\n");
}

/* ---- histograms ---- */

static void add_edge(struct report *r, enum report_unit unit, double v, size_t edge, size_t bins)
{
    add_x_label(r, (double)edge / (double)bins, PLOT_TOP_PX + PLOT_PX + 16, report_value(unit, v).s);
}

static void add_columns(struct report *r, const struct report_chart *chart, const struct report_bin *bins, size_t count,
                        const char *words)
{
    double most = 0, all = 0;
    for (size_t i = 0; i < count; i++) {
        most = fmax(most, (double)bins[i].count);
        all += (double)bins[i].count;
    }
    const struct scale s = value_scale(0, most, REPORT_NUMBER);
    char made[320];
    snprintf(made, sizeof(made), "%s values in %zu columns from %s to %s; the highest column has %s.",
             report_value(REPORT_NUMBER, all).s, count, report_value(chart->unit, bins[0].low).s,
             report_value(chart->unit, bins[count - 1].high).s, report_value(REPORT_NUMBER, most).s);
    frame_begin(r, &s, REPORT_NUMBER);
    plot_begin(r, chart, PLOT_TOP_PX + PLOT_PX + AXIS_PX, words != NULL ? words : made);
    add_grid(r, &s);
    for (size_t i = 0; i < count; i++) {
        const unsigned top = y_of(&s, (double)bins[i].count), bottom = PLOT_TOP_PX + PLOT_PX;
        if (bins[i].count == 0)
            continue;
        /* A single value among millions is still to be seen: at least one pixel. */
        const unsigned height = XK_MAX(bottom - top, 1u);
        xk_buf_printf(&r->html,
                      "<rect class=\"fill part line-1\" x=\"%s\" y=\"%u\" width=\"%s\" height=\"%u\"><title>%s to %s: "
                      "%llu</title></rect>\n",
                      report_percent((double)i / (double)count).s, bottom - height, report_percent(1 / (double)count).s,
                      height, report_value(chart->unit, bins[i].low).s, report_value(chart->unit, bins[i].high).s,
                      (unsigned long long)bins[i].count);
    }
    const size_t labels = XK_MIN(count, (size_t)4);
    for (size_t i = 0; i < labels; i++)
        add_edge(r, chart->unit, bins[i * count / labels].low, i * count / labels, count);
    add_edge(r, chart->unit, bins[count - 1].high, count, count);
    plot_end(r);
    frame_end(r);
    if (words != NULL)
        xk_buf_printf(&r->html, "<p class=\"words\">%s</p>\n", words);
}

void report_histogram(struct report *r, const struct report_chart *chart, const struct report_bin *bins, size_t count)
{
    figure_begin(r, chart);
    if (count == 0) {
        figure_empty(r);
        return;
    }
    struct report_bin merged[REPORT_BARS_MAX];
    const size_t each = XK_DIV_UP(count, (size_t)REPORT_BARS_MAX), columns = XK_DIV_UP(count, each);
    for (size_t i = 0; i < columns; i++) {
        const size_t from = i * each, to = XK_MIN(from + each, count);
        merged[i] = (struct report_bin){.low = bins[from].low, .high = bins[to - 1].high};
        for (size_t j = from; j < to; j++)
            if (xk_add(merged[i].count, bins[j].count, &merged[i].count))
                merged[i].count = UINT64_MAX;
    }
    add_columns(r, chart, merged, columns, NULL);
    figure_end(r);
}

void report_latency(struct report *r, const struct report_chart *chart, const struct xk_hist *hist)
{
    figure_begin(r, chart);
    if (hist->count == 0) {
        figure_empty(r);
        return;
    }
    /* Bins narrower than a tenth would show the histogram's own buckets instead of the values. */
    const double low = (double)XK_MAX(hist->min, UINT64_C(1)), high = fmax((double)hist->max, low);
    const double wanted = log(high / low) / log(1.1) + 1;
    const size_t count = (size_t)fmin(wanted, LATENCY_BINS);
    struct report_bin bins[LATENCY_BINS] = {0};
    for (size_t i = 0; i < count; i++) {
        bins[i].low = i == 0 ? (double)hist->min : low * pow(high / low, (double)i / (double)count);
        bins[i].high = i + 1 == count ? (double)hist->max : low * pow(high / low, (double)(i + 1) / (double)count);
    }
    size_t bin = 0;
    for (unsigned b = 0; b < XK_HIST_BUCKETS; b++) {
        if (hist->bucket[b] == 0)
            continue;
        while (bin + 1 < count && (double)xk_hist_bucket_low(b) >= bins[bin].high)
            bin++;
        bins[bin].count += hist->bucket[b];
    }
    char words[200];
    snprintf(words, sizeof(words), "Median %s, 99 %% below %s, largest %s, of %s values.",
             report_value(chart->unit, (double)xk_hist_percentile(hist, HIST_MEDIAN)).s,
             report_value(chart->unit, (double)xk_hist_percentile(hist, HIST_TAIL)).s,
             report_value(chart->unit, (double)hist->max).s, report_value(REPORT_NUMBER, (double)hist->count).s);
    add_columns(r, chart, bins, count, words);
    figure_end(r);
}

/* ---- lines ---- */

struct range {
    double low, high;
    bool any;
};

static void range_add(struct range *range, double v)
{
    if (!report_drawable(v))
        return;
    range->low = range->any ? fmin(range->low, v) : v;
    range->high = range->any ? fmax(range->high, v) : v;
    range->any = true;
}

/* x as it is drawn: points whose x is no number or goes back are skipped by giving NaN. */
static double x_next(const struct report_lines *lines, size_t i, double *last)
{
    const double x = lines->x[i];
    if (!report_drawable(x) || x < *last)
        return NAN;
    *last = x;
    return x;
}

struct pen {
    struct xk_buf *out;
    bool down;
};

static void pen_to(struct pen *pen, double x, double y)
{
    const int px = (int)(x * PLOT_SCALE + 0.5), py = (int)((1 - y) * PLOT_SCALE + 0.5);
    /* The empty stroke makes a lone point a dot. */
    xk_buf_printf(pen->out, pen->down ? "L%d %d" : "M%d %dh0", px, py);
    pen->down = true;
}

/* The extreme points of one place on the x axis, in the order they came. */
struct column {
    int place;
    size_t low_i, high_i;
    double low, high, low_x, high_x;
};

static void column_flush(struct column *c, struct pen *pen)
{
    if (c->place < 0)
        return;
    const bool low_first = c->low_i <= c->high_i;
    pen_to(pen, low_first ? c->low_x : c->high_x, low_first ? c->low : c->high);
    if (c->low_i != c->high_i)
        pen_to(pen, low_first ? c->high_x : c->low_x, low_first ? c->high : c->low);
    c->place = -1;
}

static void column_add(struct column *c, struct pen *pen, int place, size_t i, double x, double y)
{
    if (c->place != place) {
        column_flush(c, pen);
        *c = (struct column){place, i, i, y, y, x, x};
        return;
    }
    if (y < c->low) {
        c->low = y;
        c->low_x = x;
        c->low_i = i;
    }
    if (y > c->high) {
        c->high = y;
        c->high_x = x;
        c->high_i = i;
    }
}

static void add_line(struct report *r, const struct report_lines *lines, size_t which, const struct scale *xs,
                     const struct scale *ys)
{
    const double *const y = lines->lines[which].y;
    const bool thin = lines->count > 2 * THIN_COLUMNS;
    struct pen pen = {&r->html, false};
    struct column column = {.place = -1};
    double last = -INFINITY;
    xk_buf_printf(&r->html, "<path class=\"line line-%zu\" d=\"", which % COLORS + 1);
    for (size_t i = 0; i < lines->count && r->html.error == 0; i++) {
        const double x = x_next(lines, i, &last);
        if (isnan(x))
            continue;
        if (!report_drawable(y[i])) {
            column_flush(&column, &pen);
            pen.down = false;
            continue;
        }
        const double fx = fraction_of(xs, x), fy = fraction_of(ys, y[i]);
        if (thin)
            column_add(&column, &pen, (int)(fx * THIN_COLUMNS), i, fx, fy);
        else
            pen_to(&pen, fx, fy);
    }
    column_flush(&column, &pen);
    xk_buf_add_str(&r->html, "\"/>\n");
}

static void add_x_axis(struct report *r, const struct report_lines *lines, const struct scale *s, bool is_time)
{
    const unsigned y = PLOT_TOP_PX + PLOT_PX + 16;
    if (!(s->high > s->low)) {
        add_x_label(r, 0.5, y, is_time ? xk_iso_time((int64_t)s->low).s : xk_number(s->low).s);
        return;
    }
    for (unsigned i = 0; i <= s->ticks; i++) {
        const double v = s->first + i * s->step;
        if (v <= s->high)
            add_x_label(r, fraction_of(s, v), y, is_time ? time_text(v, s->step).s : tick_text(s, REPORT_NUMBER, v).s);
    }
}

static void add_x_words(struct report *r, const struct report_lines *lines, const struct scale *s, bool is_time)
{
    if (lines->x_title == NULL && !is_time)
        return;
    xk_buf_add_str(&r->html, "<p class=\"words\">");
    report_add_text(r, lines->x_title);
    if (is_time)
        xk_buf_printf(&r->html, "%s%s to %s", lines->x_title == NULL ? "" : ", ", xk_iso_time((int64_t)s->low).s,
                      xk_iso_time((int64_t)s->high).s);
    xk_buf_add_str(&r->html, "</p>\n");
}

static void add_line_key(struct report *r, const struct report_chart *chart, const struct report_lines *lines,
                         size_t shown)
{
    key_begin(r);
    for (size_t l = 0; l < shown; l++) {
        struct range range = {0};
        for (size_t i = 0; i < lines->count; i++)
            range_add(&range, lines->lines[l].y[i]);
        struct xk_word class;
        snprintf(class.s, sizeof(class.s), "line-%zu", l % COLORS + 1);
        key_item(r, class.s, lines->lines[l].name);
        if (range.any)
            xk_buf_printf(&r->html, "%s … %s", report_value(chart->unit, range.low).s,
                          report_value(chart->unit, range.high).s);
        else
            xk_buf_add_str(&r->html, "no value");
        key_item_end(r);
    }
    xk_buf_add_str(&r->html, "</ul>\n");
}

/* returns false when there is nothing to draw. */
static bool add_line_plot(struct report *r, const struct report_chart *chart, const struct report_lines *lines)
{
    const size_t shown = XK_MIN(lines->line_count, (size_t)REPORT_LINES_MAX);
    struct range xr = {0}, yr = {0};
    double last = -INFINITY;
    for (size_t i = 0; i < lines->count; i++) {
        const double x = x_next(lines, i, &last);
        range_add(&xr, x);
        for (size_t l = 0; l < shown && !isnan(x); l++)
            range_add(&yr, lines->lines[l].y[i]);
    }
    if (!xr.any || !yr.any)
        return false;
    const bool is_time = lines->x_is_time && xr.low >= -YEAR_10000 / 10 && xr.high < YEAR_10000;
    const struct scale xs = x_scale(xr.low, xr.high, is_time), ys = value_scale(yr.low, yr.high, chart->unit);

    char made[320];
    snprintf(made, sizeof(made), "%zu lines with %zu points each, from %s to %s; values between %s and %s.", shown,
             lines->count, is_time ? xk_iso_time((int64_t)xr.low).s : xk_number(xr.low).s,
             is_time ? xk_iso_time((int64_t)xr.high).s : xk_number(xr.high).s, report_value(chart->unit, yr.low).s,
             report_value(chart->unit, yr.high).s);
    frame_begin(r, &ys, chart->unit);
    plot_begin(r, chart, PLOT_TOP_PX + PLOT_PX + AXIS_PX, made);
    add_grid(r, &ys);
    xk_buf_printf(&r->html,
                  "<svg x=\"0\" y=\"%d\" width=\"100%%\" height=\"%d\" viewBox=\"0 0 %d %d\" "
                  "preserveAspectRatio=\"none\" class=\"lines\">\n",
                  PLOT_TOP_PX, PLOT_PX, PLOT_SCALE, PLOT_SCALE);
    for (size_t l = 0; l < shown; l++)
        add_line(r, lines, l, &xs, &ys);
    xk_buf_add_str(&r->html, "</svg>\n");
    add_x_axis(r, lines, &xs, is_time);
    plot_end(r);
    frame_end(r);
    add_x_words(r, lines, &xs, is_time);
    return true;
}

static void add_line_rest(struct report *r, const struct report_chart *chart, const struct report_lines *lines)
{
    const size_t shown = XK_MIN(lines->line_count, (size_t)REPORT_LINES_MAX);
    add_line_key(r, chart, lines, shown);
    report_add_left_off(r, lines->line_count - shown, "lines are");
    figure_end(r);
}

void report_line_chart(struct report *r, const struct report_chart *chart, const struct report_lines *lines)
{
    figure_begin(r, chart);
    if (add_line_plot(r, chart, lines))
        add_line_rest(r, chart, lines);
    else
        figure_empty(r);
}

/* ---- series to zoom into ---- */

/* Rows from..to of the data become two: the smallest, then the largest value of each line. */
static void add_thinned_rows(struct xk_json *j, const struct report_lines *lines, size_t shown, size_t from, size_t to)
{
    struct range ranges[REPORT_LINES_MAX] = {0};
    for (size_t l = 0; l < shown; l++)
        for (size_t i = from; i < to; i++)
            range_add(&ranges[l], lines->lines[l].y[i]);
    for (unsigned half = 0; half < 2; half++) {
        xk_json_array(j, NULL);
        xk_json_double(j, NULL, lines->x[from]);
        for (size_t l = 0; l < shown; l++)
            xk_json_double(j, NULL, !ranges[l].any ? NAN : half == 0 ? ranges[l].low : ranges[l].high);
        xk_json_end(j);
    }
}

static void add_rows(struct xk_json *j, const struct report_lines *lines, size_t shown)
{
    const size_t each = lines->count <= REPORT_POINTS_MAX ? 1 : XK_DIV_UP(lines->count, (size_t)REPORT_POINTS_MAX / 2);
    double last = -INFINITY;
    xk_json_array(j, "rows");
    for (size_t i = 0; i < lines->count && j->buf->error == 0; i += each) {
        if (isnan(x_next(lines, i, &last)))
            continue;
        if (each > 1) {
            add_thinned_rows(j, lines, shown, i, XK_MIN(i + each, lines->count));
            continue;
        }
        xk_json_array(j, NULL);
        xk_json_double(j, NULL, lines->x[i]);
        for (size_t l = 0; l < shown; l++)
            xk_json_double(j, NULL, report_drawable(lines->lines[l].y[i]) ? lines->lines[l].y[i] : NAN);
        xk_json_end(j);
    }
    xk_json_end(j);
}

static const char *unit_name(enum report_unit unit)
{
    static const char *const names[] = {
        [REPORT_NUMBER] = "number", [REPORT_BYTES] = "bytes",     [REPORT_DURATION] = "duration",
        [REPORT_RATE] = "rate",     [REPORT_PERCENT] = "percent",
    };
    return names[unit];
}

/* The data as JSON in a <script> that is not run. With no "<" in it nothing can end the element or begin a comment. */
static void add_data(struct report *r, const struct report_chart *chart, const struct report_lines *lines)
{
    const size_t shown = XK_MIN(lines->line_count, (size_t)REPORT_LINES_MAX);
    xk_auto(xk_buf_done) struct xk_buf data = XK_BUF_INIT(r->html.max);
    struct xk_json j;
    xk_json_init(&j, &data, 0);
    xk_json_object(&j, NULL);
    xk_json_str(&j, "unit", unit_name(chart->unit));
    xk_json_bool(&j, "time", lines->x_is_time);
    xk_json_array(&j, "labels");
    xk_json_str(&j, NULL, "x");
    for (size_t l = 0; l < shown; l++) {
        /* dygraphs finds a line by its name, so names must differ. */
        char name[8 * NAME_CELLS];
        const char *const given = lines->lines[l].name == NULL ? "" : lines->lines[l].name;
        snprintf(name, sizeof(name), "%zu. %.*s", l + 1, (int)xk_display_prefix(given, NAME_CELLS), given);
        xk_json_str(&j, NULL, name);
    }
    xk_json_end(&j);
    add_rows(&j, lines, shown);
    xk_json_end(&j);
    if (data.error != 0 && r->html.error == 0)
        r->html.error = data.error;

    xk_buf_add_str(&r->html, "<script type=\"application/json\">");
    const char *rest = xk_buf_str(&data);
    for (size_t plain; *rest != '\0'; rest += plain) {
        plain = strcspn(rest, "<");
        xk_buf_add(&r->html, rest, plain);
        if (rest[plain] == '<') {
            xk_buf_add_str(&r->html, "\\u003c");
            plain++;
        }
    }
    xk_buf_add_str(&r->html, "</script>\n");
}

void report_series(struct report *r, const struct report_chart *chart, const struct report_lines *lines)
{
    figure_begin(r, chart);
    xk_buf_add_str(&r->html, "<div class=\"series\">\n<div class=\"still\">\n");
    const bool any = add_line_plot(r, chart, lines);
    xk_buf_add_str(&r->html, "</div>\n");
    if (any && report_can_zoom()) {
        add_data(r, chart, lines);
        r->series = true;
    }
    xk_buf_add_str(&r->html, "</div>\n");
    if (any)
        add_line_rest(r, chart, lines);
    else
        figure_empty(r);
}
