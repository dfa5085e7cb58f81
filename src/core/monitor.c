/*
 * The two text formats that monitoring systems read.
 */
#include "core/out.h"

#include "core/text.h"

#include <math.h>

static void add_number_or_nothing(struct xk_buf *b, double v)
{
    if (isfinite(v))
        xk_buf_add_str(b, xk_number(v).s);
}

void xk_perfdata(struct xk_buf *b, const char *label, double value, const char *unit, double warn, double crit,
                 double min, double max)
{
    if (b->len)
        xk_buf_add_char(b, ' ');
    /* A quote is doubled, '=' is not allowed in a label at all. */
    xk_buf_add_char(b, '\'');
    struct xk_buf clean;
    xk_buf_init(&clean, 4 * XK_KIB);
    xk_add_clean(&clean, label);
    for (const char *c = xk_buf_str(&clean); *c; c++) {
        if (*c == '\'')
            xk_buf_add_char(b, '\'');
        xk_buf_add_char(b, *c == '=' ? '_' : *c);
    }
    if (clean.error && !b->error)
        b->error = clean.error;
    xk_buf_done(&clean);
    xk_buf_add_str(b, "'=");
    if (isfinite(value))
        xk_buf_printf(b, "%s%s", xk_number(value).s, unit ? unit : "");
    else
        xk_buf_add_char(b, 'U');
    const double limits[] = {warn, crit, min, max};
    for (size_t i = 0; i < XK_COUNT(limits); i++) {
        xk_buf_add_char(b, ';');
        add_number_or_nothing(b, limits[i]);
    }
}

static void add_label_value(struct xk_buf *b, const char *text)
{
    for (const char *c = text; *c; c++) {
        if (*c == '\n') {
            xk_buf_add_str(b, "\\n");
            continue;
        }
        if (*c == '"' || *c == '\\')
            xk_buf_add_char(b, '\\');
        xk_buf_add_char(b, *c);
    }
}

void xk_prometheus(struct xk_buf *b, const char *metric, const char *help, const char *type, const char *const *labels,
                   double value)
{
    if (help)
        xk_buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n", metric, help, metric, type);
    xk_buf_add_str(b, metric);
    if (labels && labels[0]) {
        for (size_t i = 0; labels[i]; i += 2) {
            xk_buf_printf(b, "%s%s=\"", i ? "," : "{", labels[i]);
            add_label_value(b, labels[i + 1]);
            xk_buf_add_char(b, '"');
        }
        xk_buf_add_char(b, '}');
    }
    if (isnan(value))
        xk_buf_add_str(b, " NaN\n");
    else if (isinf(value))
        xk_buf_add_str(b, value > 0 ? " +Inf\n" : " -Inf\n");
    else
        xk_buf_printf(b, " %s\n", xk_number(value).s);
}
