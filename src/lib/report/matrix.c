/*
 * A square of numbers, shaded: who does what to whom.
 *
 * A table and not a picture: its numbers can be read out, copied and searched, and it scrolls sideways on a phone.
 */
#include "lib/report/inner.h"

#include "core/text.h"

#include <assert.h>
#include <math.h>

#define SHADES 8 /* heat-0 … heat-8 in style.css */

void report_matrix(struct report *r, const char *caption, enum report_unit unit, const char *const *names, size_t count,
                   const double *values, bool low_is_bad)
{
    double least = INFINITY, most = -INFINITY;

    assert(r->block == REPORT_BLOCK_NONE);
    for (size_t i = 0; i < count * count; i++)
        if (report_drawable(values[i])) {
            least = fmin(least, values[i]);
            most = fmax(most, values[i]);
        }
    report_open_table(r, "heat", caption);
    xk_buf_add_str(&r->html, "<th scope=\"col\">from \\ to</th>");
    for (size_t i = 0; i < count; i++) {
        xk_buf_add_str(&r->html, "<th scope=\"col\" class=\"number\">");
        report_add_text(r, names[i]);
        xk_buf_add_str(&r->html, "</th>");
    }
    xk_buf_add_str(&r->html, "</tr></thead>\n<tbody>\n");
    for (size_t row = 0; row < count; row++) {
        xk_buf_add_str(&r->html, "<tr><th scope=\"row\">");
        report_add_text(r, names[row]);
        xk_buf_add_str(&r->html, "</th>");
        for (size_t i = 0; i < count; i++) {
            const double v = values[row * count + i];
            if (!report_drawable(v)) {
                xk_buf_add_str(&r->html, "<td class=\"number none\">-</td>");
                continue;
            }
            const double share = most > least ? (v - least) / (most - least) : low_is_bad ? 1 : 0;
            xk_buf_printf(&r->html, "<td class=\"number heat-%d\">%s</td>",
                          (int)lround((low_is_bad ? 1 - share : share) * SHADES), report_value(unit, v).s);
        }
        xk_buf_add_str(&r->html, "</tr>\n");
    }
    xk_buf_add_str(&r->html, "</tbody></table></div>\n");
}
