/*
 * Tables and lists of facts: the same cells go into both. After the last row that a table shows, cells are counted by
 * their row and not written.
 */
#include "lib/report/inner.h"

#include "core/text.h"

#include <assert.h>
#include <string.h>

void report_open_table(struct report *r, const char *class, const char *caption)
{
    const unsigned id = report_next_id(r);

    /* The region can have the focus, so that a keyboard can scroll it. */
    xk_buf_printf(&r->html,
                  "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-labelledby=\"x%u\"><table%s%s%s>\n"
                  "<caption id=\"x%u\">",
                  id, *class ? " class=\"" : "", class, *class ? "\"" : "", id);
    report_add_text(r, caption);
    xk_buf_add_str(&r->html, "</caption>\n<thead><tr>");
}

void report_table(struct report *r, const char *caption, const struct report_column *columns, size_t count)
{
    assert(r->block == REPORT_BLOCK_NONE && count > 0);
    r->block = REPORT_BLOCK_TABLE;
    r->columns = columns;
    r->column_count = count;
    r->rows = r->rows_left_off = 0;
    r->item_open = false;
    report_open_table(r, "", caption);
    for (size_t i = 0; i < count; i++) {
        xk_buf_printf(&r->html, "<th scope=\"col\"%s>", columns[i].number ? " class=\"number\"" : "");
        report_add_text(r, columns[i].title);
        xk_buf_add_str(&r->html, "</th>");
    }
    xk_buf_add_str(&r->html, "</tr></thead>\n<tbody>\n");
}

static void row_end(struct report *r)
{
    if (!r->item_open)
        return;
    while (r->column < r->column_count)
        report_cell_none(r);
    xk_buf_add_str(&r->html, "</tr>\n");
    r->item_open = false;
}

void report_row(struct report *r)
{
    assert(r->block == REPORT_BLOCK_TABLE);
    row_end(r);
    r->column = 0;
    if (r->rows == REPORT_ROWS_MAX) {
        r->rows_left_off++;
        return;
    }
    r->rows++;
    r->item_open = true;
    xk_buf_add_str(&r->html, "<tr>");
}

void report_facts(struct report *r)
{
    assert(r->block == REPORT_BLOCK_NONE);
    r->block = REPORT_BLOCK_FACTS;
    r->item_open = false;
    xk_buf_add_str(&r->html, "<dl class=\"facts\">\n");
}

void report_fact(struct report *r, const char *key)
{
    assert(r->block == REPORT_BLOCK_FACTS && !r->item_open);
    r->item_open = true;
    xk_buf_add_str(&r->html, "<div><dt>");
    report_add_text(r, key);
    xk_buf_add_str(&r->html, "</dt>");
}

void report_end(struct report *r)
{
    assert(r->block != REPORT_BLOCK_NONE);
    if (r->block == REPORT_BLOCK_TABLE) {
        row_end(r);
        if (r->rows == 0)
            xk_buf_printf(&r->html, "<tr><td colspan=\"%zu\" class=\"none\">none</td></tr>\n", r->column_count);
        xk_buf_add_str(&r->html, "</tbody>\n</table></div>\n");
        report_add_left_off(r, r->rows_left_off, "rows are");
    } else {
        assert(!r->item_open);
        xk_buf_add_str(&r->html, "</dl>\n");
    }
    r->block = REPORT_BLOCK_NONE;
}

/* returns whether the cell is to be written at all: the rows of a table after the last shown one are not. */
static bool cell_begin(struct report *r, bool number)
{
    assert(r->block != REPORT_BLOCK_NONE);
    const char *const class = number ? " class=\"number\"" : "";
    if (r->block == REPORT_BLOCK_FACTS) {
        assert(r->item_open);
        xk_buf_add_str(&r->html, "<dd>");
        return true;
    }
    if (!r->item_open) {
        assert(r->rows_left_off > 0);
        return false;
    }
    assert(r->column < r->column_count);
    if (r->column == 0)
        xk_buf_printf(&r->html, "<th scope=\"row\"%s>", class);
    else
        xk_buf_printf(&r->html, "<td%s>", class);
    return true;
}

static void cell_end(struct report *r)
{
    if (r->block == REPORT_BLOCK_FACTS) {
        xk_buf_add_str(&r->html, "</dd></div>\n");
        r->item_open = false;
        return;
    }
    xk_buf_add_str(&r->html, r->column == 0 ? "</th>" : "</td>");
    r->column++;
}

void report_cell_text(struct report *r, const char *text)
{
    if (!cell_begin(r, false))
        return;
    report_add_text(r, text);
    cell_end(r);
}

void report_cell_code(struct report *r, const char *text)
{
    if (!cell_begin(r, false))
        return;
    xk_buf_add_str(&r->html, "<code>");
    report_add_text(r, text);
    xk_buf_add_str(&r->html, "</code>");
    cell_end(r);
}

void report_cell_u64(struct report *r, uint64_t v)
{
    if (!cell_begin(r, true))
        return;
    xk_buf_printf(&r->html, "%llu", (unsigned long long)v);
    cell_end(r);
}

void report_cell_bytes(struct report *r, uint64_t bytes)
{
    if (!cell_begin(r, true))
        return;
    xk_buf_printf(&r->html, "<data value=\"%llu\" title=\"%llu bytes\">%s</data>", (unsigned long long)bytes,
                  (unsigned long long)bytes, xk_size(bytes).s);
    cell_end(r);
}

void report_cell_value(struct report *r, enum report_unit unit, double v)
{
    if (!report_drawable(v)) {
        report_cell_none(r);
        return;
    }
    if (!cell_begin(r, true))
        return;
    xk_buf_printf(&r->html, "<data value=\"%s\">%s</data>", xk_number(v).s, report_value(unit, v).s);
    cell_end(r);
}

void report_cell_time(struct report *r, int64_t unix_seconds)
{
    if (!cell_begin(r, false))
        return;
    const struct xk_word iso = xk_iso_time(unix_seconds);
    struct xk_word shown = iso;
    char *const letter = strchr(shown.s, 'T');
    const size_t len = strlen(shown.s);
    if (letter != NULL && shown.s[len - 1] == 'Z') {
        *letter = ' ';
        shown.s[len - 1] = '\0';
    }
    xk_buf_printf(&r->html, "<time datetime=\"%s\">%s UTC</time>", iso.s, shown.s);
    cell_end(r);
}

void report_cell_bool(struct report *r, bool v)
{
    report_cell_text(r, v ? "yes" : "no");
}

void report_cell_state(struct report *r, enum report_state state, const char *text)
{
    if (!cell_begin(r, false))
        return;
    xk_buf_printf(&r->html, "<span class=\"state %s\">", report_state_name(state));
    report_add_sign(r, state);
    report_add_text(r, text);
    xk_buf_add_str(&r->html, "</span>");
    cell_end(r);
}

void report_cell_usage(struct report *r, enum report_state state, double percent)
{
    if (!report_drawable(percent)) {
        report_cell_none(r);
        return;
    }
    if (!cell_begin(r, true))
        return;
    xk_buf_printf(&r->html,
                  "<span class=\"usage\"><svg width=\"72\" height=\"8\" aria-hidden=\"true\"><rect class=\"track\" "
                  "width=\"100%%\" height=\"8\" rx=\"2\"/><rect class=\"fill %s\" width=\"%s\" height=\"8\" rx=\"2\"/>"
                  "</svg><span>%s</span></span>",
                  report_state_name(state), report_percent(percent / 100).s, report_share(percent / 100).s);
    cell_end(r);
}

void report_cell_none(struct report *r)
{
    if (!cell_begin(r, false))
        return;
    xk_buf_add_str(&r->html, "<span class=\"none\" title=\"no value\">–</span>");
    cell_end(r);
}
