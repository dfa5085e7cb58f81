/*
 * How findings are shown. A check that found ten objects explains itself once, so people see a heading, the objects
 * with their evidence, and one remedy; programs get one row an object with everything in it.
 */
#include "core/check.h"

#include <stdio.h>

#define OBJECTS_SHOWN 8 /* of one check and severity; the rest is counted */

static enum xk_color color_of(enum xk_severity severity)
{
    return severity == XK_CRITICAL ? XK_COLOR_BAD : severity == XK_WARNING ? XK_COLOR_WARN : XK_COLOR_NOTE;
}

void xk_findings_tally(struct xk_tally *ret, const struct xk_findings *f)
{
    *ret = (struct xk_tally){0};
    for (size_t i = 0; i < f->count; i++) {
        ret->count[f->items[i].severity]++;
        ret->worst = XK_MAX(ret->worst, f->items[i].severity);
    }
    ret->bad = ret->count[XK_WARNING] + ret->count[XK_CRITICAL] + f->left_off > 0;
    if (f->count == 0)
        snprintf(ret->verdict, sizeof(ret->verdict), "all is well: nothing was found");
    else
        snprintf(ret->verdict, sizeof(ret->verdict), "%zu critical, %zu warning%s, %zu note%s", ret->count[XK_CRITICAL],
                 ret->count[XK_WARNING], ret->count[XK_WARNING] == 1 ? "" : "s", ret->count[XK_NOTE],
                 ret->count[XK_NOTE] == 1 ? "" : "s");
}

/* The findings [from, to) share check and severity. */
static void say_group(struct xk_out *out, const struct xk_findings *f, size_t from, size_t to)
{
    const struct xk_finding *first = &f->items[from];
    bool common_fix = false;

    xk_say_color(out, color_of(first->severity), "%s", xk_severity_name(first->severity));
    xk_say(out, "  %s  (%s)\n", first->check->title, first->check->id);
    for (size_t i = from; i < to && i < from + OBJECTS_SHOWN; i++) {
        const struct xk_finding *item = &f->items[i];
        xk_say(out, "    %s\n", xk_out_clean(out, item->object));
        xk_say(out, "      found: %s\n", xk_out_clean(out, item->evidence));
        if (item->fix != item->check->fix)
            xk_say(out, "      do:    %s\n", xk_out_clean(out, item->fix));
        else
            common_fix = true;
    }
    if (to - from > OBJECTS_SHOWN)
        xk_say(out, "    … and %zu more (all of them: --json)\n", to - from - OBJECTS_SHOWN);
    xk_say(out, "    why:   %s\n", first->check->why);
    if (common_fix)
        xk_say(out, "    do:    %s\n", first->check->fix);
    xk_say(out, "\n");
}

static void say_findings(struct xk_out *out, const struct xk_findings *f, const struct xk_tally *tally)
{
    for (size_t from = 0, to; from < f->count; from = to) {
        for (to = from + 1; to < f->count; to++) {
            if (f->items[to].check != f->items[from].check || f->items[to].severity != f->items[from].severity)
                break;
        }
        say_group(out, f, from, to);
    }
    xk_say_color(out, f->count ? color_of(tally->worst) : XK_COLOR_GOOD, "%s", tally->verdict);
    xk_say(out, "\n");
}

static void put_findings(struct xk_out *out, const struct xk_findings *f, const struct xk_tally *tally)
{
    xk_out_rows(out, "findings");
    for (size_t i = 0; i < f->count; i++) {
        const struct xk_finding *item = &f->items[i];
        xk_row(out);
        xk_put_str(out, "severity", xk_severity_name(item->severity));
        xk_put_str(out, "check", item->check->id);
        xk_put_str(out, "title", item->check->title);
        xk_put_str(out, "object", item->object);
        xk_put_str(out, "evidence", item->evidence);
        xk_put_str(out, "why", item->check->why);
        xk_put_str(out, "fix", item->fix);
    }
    xk_out_end(out);
    xk_out_record(out, "summary");
    xk_put_u64(out, "critical", tally->count[XK_CRITICAL]);
    xk_put_u64(out, "warnings", tally->count[XK_WARNING]);
    xk_put_u64(out, "notes", tally->count[XK_NOTE]);
    xk_put_u64(out, "left_off", f->left_off);
    xk_put_bool(out, "healthy", !tally->bad);
    xk_put_str(out, "verdict", tally->verdict);
    xk_out_end(out);
}

void xk_findings_show(struct xk_out *out, const struct xk_findings *f)
{
    struct xk_tally tally;

    xk_findings_tally(&tally, f);
    if (xk_out_format(out) == XK_OUT_TABLE)
        say_findings(out, f, &tally);
    else
        put_findings(out, f, &tally);
}
