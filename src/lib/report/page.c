/*
 * The page and everything in it that is text: head, sections, findings.
 *
 * The page is written straight down into one buffer; only the list of contents is known last and moved into its place
 * at the end. A tree of elements that is printed afterwards would make misuse impossible, but costs an allocation for
 * each cell and an answer to "memory is out" in each call; here the buffer's sticky error is the only one.
 *
 * Two fences against foreign text: everything passes report_add_text(), and the content security policy lists the
 * scripts by hash, so that even a hole in the first would not run anything. Markup is also well-formed XML (except the
 * scripts' content), which the unit test uses to find an element that was not closed.
 */
#include "lib/report/inner.h"

#include "core/text.h"

#include "assets.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define CONTENTS_BYTES_MAX (64 * XK_KIB)

/* ---- small parts ---- */

enum report_state report_state_of(enum xk_severity severity)
{
    return severity == XK_CRITICAL ? REPORT_CRITICAL : severity == XK_WARNING ? REPORT_WARNING : REPORT_NOTE;
}

const char *report_state_name(enum report_state state)
{
    static const char *const names[] = {
        [REPORT_NEUTRAL] = "neutral", [REPORT_GOOD] = "good",         [REPORT_NOTE] = "note",
        [REPORT_WARNING] = "warning", [REPORT_CRITICAL] = "critical",
    };
    assert((size_t)state < XK_COUNT(names));
    return names[state];
}

unsigned report_next_id(struct report *r)
{
    return ++r->last_id;
}

struct cut_text {
    char s[REPORT_TEXT_MAX + 4]; /* room for "…" */
};

/* The text, or its beginning up to a whole character and "…". */
static void cut(struct cut_text *ret, const char *text)
{
    if (text == NULL)
        text = "";
    size_t len = strnlen(text, REPORT_TEXT_MAX + 1);
    const bool longer = len > REPORT_TEXT_MAX;
    if (longer) {
        len = REPORT_TEXT_MAX;
        while (len > REPORT_TEXT_MAX - 4 && ((unsigned char)text[len] & 0xc0) == 0x80)
            len--;
    }
    memcpy(ret->s, text, len);
    strcpy(ret->s + len, longer ? "…" : "");
}

void report_add_text(struct report *r, const char *text)
{
    struct cut_text t;
    cut(&t, text);
    xk_add_html(&r->html, t.s);
}

void report_add_short(struct report *r, const char *text, size_t cells)
{
    struct cut_text t;
    cut(&t, text);
    /* Cleaning makes control characters longer, so it comes before measuring; doing it twice changes nothing. */
    xk_auto(xk_buf_done) struct xk_buf clean = XK_BUF_INIT(16 * REPORT_TEXT_MAX);
    xk_add_clean(&clean, t.s);
    if (clean.error != 0) {
        r->html.error = clean.error;
        return;
    }
    const char *const s = xk_buf_str(&clean);
    if (xk_display_width(s) <= cells) {
        xk_add_html(&r->html, s);
        return;
    }
    /* The end of a path or of a UUID tells more than its middle. */
    const size_t head_bytes = xk_display_prefix(s, cells / 2), tail_cells = cells - cells / 2 - 1;
    size_t tail = XK_MAX(head_bytes, clean.len > 8 * tail_cells ? clean.len - 8 * tail_cells : 0);
    while (s[tail] != '\0' && (((unsigned char)s[tail] & 0xc0) == 0x80 || xk_display_width(s + tail) > tail_cells))
        tail++;
    char head[REPORT_TEXT_MAX];
    snprintf(head, sizeof(head), "%.*s", (int)XK_MIN(head_bytes, sizeof(head) - 1), s);
    xk_add_html(&r->html, head);
    xk_buf_add_str(&r->html, "…");
    xk_add_html(&r->html, s + tail);
}

void report_add_sign(struct report *r, enum report_state state)
{
    xk_buf_printf(&r->html,
                  "<svg class=\"sign %s\" viewBox=\"0 0 16 16\" width=\"16\" height=\"16\" aria-hidden=\"true\">"
                  "<use href=\"#sign-%s\"/></svg>",
                  report_state_name(state), report_state_name(state));
}

void report_add_left_off(struct report *r, size_t n, const char *what)
{
    if (n > 0)
        xk_buf_printf(&r->html, "<p class=\"more\">%zu more %s not shown.</p>\n", n, what);
}

bool report_drawable(double v)
{
    return isfinite(v) && fabs(v) <= DBL_MAX / 4;
}

/* Four significant digits are what a reader compares; the exact value belongs into --json. */
static double rounded(double v)
{
    char text[40];
    snprintf(text, sizeof(text), "%.3e", v);
    return strtod(text, NULL);
}

/* Rounded numbers are short; the bound is for the compiler. */
static struct xk_word number_and_unit(double v, const char *unit)
{
    struct xk_word w;
    snprintf(w.s, sizeof(w.s), "%.24s%s%s", xk_number(v).s, *unit == '\0' ? "" : " ", unit);
    return w;
}

static struct xk_word scaled(double v, double base, const char *const *units, size_t count)
{
    size_t i = 0;
    for (v = rounded(v); i + 1 < count && fabs(v) >= base; i++)
        v = rounded(v / base);
    return number_and_unit(v, units[i]);
}

struct xk_word report_value(enum report_unit unit, double v)
{
    static const char *const bytes[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    static const char *const rates[] = {"bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"};
    static const char *const numbers[] = {"", "k", "M", "G", "T", "P"};
    if (!report_drawable(v))
        return (struct xk_word){"no value"};
    switch (unit) {
    case REPORT_BYTES:
        return scaled(v, 1024, bytes, XK_COUNT(bytes));
    case REPORT_RATE:
        return scaled(v, 1000, rates, XK_COUNT(rates));
    case REPORT_DURATION:
        if (v >= 0 && v < 0x1p63)
            return xk_duration((uint64_t)(v + 0.5));
        return number_and_unit(rounded(v / 1e9), "s");
    case REPORT_PERCENT:
        return number_and_unit(rounded(v), "%");
    case REPORT_NUMBER:
        break;
    }
    if (fabs(v) < 1e6)
        return number_and_unit(v == rint(v) ? v : rounded(v), "");
    return scaled(v, 1000, numbers, XK_COUNT(numbers));
}

struct xk_word report_percent(double fraction)
{
    /* In whole thousandths of a percent, since printf's decimal sign depends on the locale. */
    const double clamped = fraction > 0 ? fmin(fraction, 1) : 0; /* NaN: 0 */
    const unsigned v = (unsigned)(clamped * 100000 + 0.5);
    struct xk_word w;
    snprintf(w.s, sizeof(w.s), "%u.%03u%%", v / 1000, v % 1000);
    return w;
}

struct xk_word report_share(double fraction)
{
    return number_and_unit(rint(fraction * 1000) / 10, "%");
}

/* ---- rich text ---- */

static void add_command(struct report *r, const char *command, bool own_line)
{
    xk_buf_printf(&r->html, "<span class=\"command%s\"><code>", own_line ? " own" : "");
    report_add_text(r, command);
    xk_buf_add_str(&r->html, "</code></span>");
}

/* A command stands on a line of its own when it is the whole line, or ends it after a colon. */
static bool stands_alone(const char *before, const char *after)
{
    size_t len = strlen(before);
    while (len > 0 && before[len - 1] == ' ')
        len--;
    return (len == 0 || before[len - 1] == ':') && after[strspn(after, " .")] == '\0';
}

/* `line` is ours to change. */
static void add_rich_line(struct report *r, char *line)
{
    char *const begin = line;
    for (;;) {
        char *const open = strchr(line, '`');
        char *const close = open == NULL ? NULL : strchr(open + 1, '`');
        if (close == NULL) {
            report_add_text(r, line);
            return;
        }
        *open = *close = '\0';
        const bool own_line = line == begin && stands_alone(line, close + 1);
        report_add_text(r, line);
        if (strchr(open + 1, ' ') != NULL) {
            add_command(r, open + 1, own_line);
        } else {
            xk_buf_add_str(&r->html, "<code>");
            report_add_text(r, open + 1);
            xk_buf_add_str(&r->html, "</code>");
        }
        line = close + 1;
        if (own_line)
            return; /* only a period is left */
    }
}

static void add_rich(struct report *r, const char *rich)
{
    struct cut_text t;
    cut(&t, rich);
    char *rest = t.s;
    for (;;) {
        char *const line = strsep(&rest, "\n");
        add_rich_line(r, line);
        if (rest == NULL || *rest == '\0')
            return;
        xk_buf_add_str(&r->html, "<br/>");
    }
}

void report_paragraph(struct report *r, const char *rich)
{
    assert(r->block == REPORT_BLOCK_NONE);
    xk_buf_add_str(&r->html, "<p>");
    add_rich(r, rich);
    xk_buf_add_str(&r->html, "</p>\n");
}

void report_statement(struct report *r, enum report_state state, const char *rich)
{
    assert(r->block == REPORT_BLOCK_NONE);
    xk_buf_printf(&r->html, "<p class=\"statement %s\">", report_state_name(state));
    report_add_sign(r, state);
    xk_buf_add_str(&r->html, "<span>");
    add_rich(r, rich);
    xk_buf_add_str(&r->html, "</span></p>\n");
}

/* ---- the page ---- */

const char report_signs[] =
    "<svg class=\"signs\" width=\"0\" height=\"0\" aria-hidden=\"true\"><defs>\n"
    "<symbol id=\"sign-neutral\" viewBox=\"0 0 16 16\"><circle cx=\"8\" cy=\"8\" r=\"4\" class=\"hollow\"/></symbol>\n"
    "<symbol id=\"sign-good\" viewBox=\"0 0 16 16\"><circle cx=\"8\" cy=\"8\" r=\"7\"/>"
    "<path class=\"cut\" d=\"M4.6 8.3l2.4 2.4 4.5-5\"/></symbol>\n"
    "<symbol id=\"sign-note\" viewBox=\"0 0 16 16\"><circle cx=\"8\" cy=\"8\" r=\"7\"/>"
    "<path class=\"cut\" d=\"M8 7.4v4.2M8 4.5v.2\"/></symbol>\n"
    "<symbol id=\"sign-warning\" viewBox=\"0 0 16 16\"><path d=\"M8 1.4 15.3 14.4H.7z\"/>"
    "<path class=\"cut\" d=\"M8 6v4.2M8 12.3v.2\"/></symbol>\n"
    "<symbol id=\"sign-critical\" viewBox=\"0 0 16 16\"><path d=\"M5.1 1h5.8L15 5.1v5.8L10.9 15H5.1L1 10.9V5.1z\"/>"
    "<path class=\"cut\" d=\"M5.4 5.4l5.2 5.2M10.6 5.4l-5.2 5.2\"/></symbol>\n"
    "</defs></svg>\n";

static void add_meta(struct report *r, const struct report_head *head)
{
    struct xk_buf *const h = &r->html;
    xk_buf_add_str(h, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
                      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
                      "<meta name=\"color-scheme\" content=\"light dark\"/>\n"
                      "<meta name=\"referrer\" content=\"no-referrer\"/>\n");
    xk_buf_printf(h,
                  "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; "
                  "style-src 'unsafe-inline'; script-src %s %s; base-uri 'none'; form-action 'none'\"/>\n",
                  report_page_js_hash, report_dygraphs_js_hash);
    xk_buf_add_str(h, "<meta name=\"generator\" content=\"xenkit " XK_VERSION "\"/>\n<title>");
    report_add_text(r, head->title);
    xk_buf_add_str(h, " — xenkit ");
    report_add_text(r, head->kind);
    xk_buf_add_str(h,
                   "</title>\n"
                   "<link rel=\"icon\" href=\"data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 "
                   "0 32 32' fill='%230e6b72'%3E%3Crect x='2' y='22' width='21' height='7' rx='2'/%3E%3Crect x='5.5' "
                   "y='12.5' width='21' height='7' rx='2'/%3E%3Crect x='9' y='3' width='21' height='7' "
                   "rx='2'/%3E%3C/svg%3E\"/>\n<style>\n");
    xk_buf_add(h, report_style, report_style_len);
    xk_buf_add_str(h, "</style>\n</head>\n");
}

static void add_header(struct report *r, const struct report_head *head)
{
    struct xk_buf *const h = &r->html;
    xk_buf_add_str(h,
                   "<header class=\"top\">\n<p class=\"brand\"><svg class=\"mark\" viewBox=\"0 0 32 32\" width=\"26\" "
                   "height=\"26\" aria-hidden=\"true\"><rect x=\"2\" y=\"22\" width=\"21\" height=\"7\" rx=\"2\"/>"
                   "<rect x=\"5.5\" y=\"12.5\" width=\"21\" height=\"7\" rx=\"2\"/>"
                   "<rect x=\"9\" y=\"3\" width=\"21\" height=\"7\" rx=\"2\"/></svg><b>xenkit</b> <span>");
    report_add_text(r, head->kind);
    xk_buf_add_str(h, "</span></p>\n<h1>");
    report_add_text(r, head->title);
    xk_buf_add_str(h, "</h1>\n");
    if (head->subtitle != NULL) {
        xk_buf_add_str(h, "<p class=\"subtitle\">");
        add_rich(r, head->subtitle);
        xk_buf_add_str(h, "</p>\n");
    }
    if (head->verdict != NULL) {
        xk_buf_printf(h, "<p class=\"verdict %s\">", report_state_name(head->state));
        report_add_sign(r, head->state);
        xk_buf_add_str(h, "<strong>");
        report_add_text(r, head->verdict);
        xk_buf_add_str(h, "</strong></p>\n");
    }
    if (head->unix_seconds != 0 || head->machine != NULL || head->command != NULL) {
        report_facts(r);
        if (head->unix_seconds != 0) {
            report_fact(r, "Time");
            report_cell_time(r, head->unix_seconds);
        }
        if (head->machine != NULL) {
            report_fact(r, "Machine");
            report_cell_text(r, head->machine);
        }
        if (head->command != NULL) {
            xk_buf_add_str(h, "<div><dt>Command</dt><dd>");
            add_command(r, head->command, false);
            xk_buf_add_str(h, "</dd></div>\n");
        }
        report_end(r);
    }
    xk_buf_add_str(h, "</header>\n");
}

void report_begin(struct report *r, const struct report_head *head)
{
    *r = (struct report){
        .html = XK_BUF_INIT(head->max_bytes > 0 ? head->max_bytes : REPORT_BYTES_MAX),
        .contents = XK_BUF_INIT(CONTENTS_BYTES_MAX),
    };
    add_meta(r, head);
    xk_buf_add_str(&r->html, "<body>\n<a class=\"skip\" href=\"#main\">Skip to the report</a>\n");
    xk_buf_add(&r->html, report_signs, sizeof(report_signs) - 1);
    add_header(r, head);
    r->contents_at = r->html.len;
    xk_buf_add_str(&r->html, "<main id=\"main\">\n");
}

static void section_end(struct report *r)
{
    assert(r->block == REPORT_BLOCK_NONE);
    if (r->section_open)
        xk_buf_add_str(&r->html, "</section>\n");
    r->section_open = false;
}

void report_section(struct report *r, const char *title, const char *intro)
{
    section_end(r);
    const unsigned number = ++r->sections;
    xk_buf_printf(&r->html, "<section aria-labelledby=\"s%u\">\n<h2 id=\"s%u\">", number, number);
    const size_t at = r->html.len;
    report_add_text(r, title);
    if (number <= REPORT_SECTIONS_MAX && r->html.error == 0) {
        xk_buf_printf(&r->contents, "<li><a href=\"#s%u\">", number);
        xk_buf_add(&r->contents, r->html.data + at, r->html.len - at);
        xk_buf_add_str(&r->contents, "</a></li>\n");
    }
    xk_buf_add_str(&r->html, "</h2>\n");
    r->section_open = true;
    if (intro != NULL) {
        xk_buf_add_str(&r->html, "<p class=\"intro\">");
        add_rich(r, intro);
        xk_buf_add_str(&r->html, "</p>\n");
    }
}

/* Make room at contents_at and put the list there. */
static void insert_contents(struct report *r)
{
    static const char begin[] = "<nav aria-label=\"Contents\"><ol>\n", end[] = "</ol></nav>\n";
    const size_t list = r->contents.len, all = sizeof(begin) - 1 + list + sizeof(end) - 1;
    const size_t moved = r->html.len - r->contents_at;
    xk_buf_add_repeat(&r->html, ' ', all);
    if (r->html.error != 0)
        return;
    char *const at = r->html.data + r->contents_at;
    memmove(at + all, at, moved);
    memcpy(at, begin, sizeof(begin) - 1);
    memcpy(at + sizeof(begin) - 1, r->contents.data, list);
    memcpy(at + sizeof(begin) - 1 + list, end, sizeof(end) - 1);
}

static void add_script(struct report *r, const char *script, size_t len)
{
    xk_buf_add_str(&r->html, "<script>");
    xk_buf_add(&r->html, script, len);
    xk_buf_add_str(&r->html, "</script>\n");
}

int report_finish(struct report *r)
{
    section_end(r);
    xk_buf_add_str(&r->html, "</main>\n<footer>Made by xenkit " XK_VERSION
                             ". This page is complete in itself and loads nothing.</footer>\n");
    if (r->series && report_can_zoom())
        add_script(r, report_dygraphs_js, report_dygraphs_js_len);
    add_script(r, report_page_js, report_page_js_len);
    xk_buf_add_str(&r->html, "</body>\n</html>\n");
    if (r->contents.error != 0 && r->html.error == 0)
        r->html.error = r->contents.error;
    if (r->sections > 1 && r->html.error == 0)
        insert_contents(r);
    return r->html.error;
}

void report_done(struct report *r)
{
    if (r == NULL)
        return;
    xk_buf_done(&r->html);
    xk_buf_done(&r->contents);
}

bool report_can_zoom(void)
{
    return report_dygraphs_js_len > 0;
}

/* ---- findings ---- */

static bool same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool is_empty(const char *text)
{
    return text == NULL || *text == '\0';
}

static void add_fix(struct report *r, const char *fix)
{
    if (is_empty(fix))
        return;
    xk_buf_add_str(&r->html, "<p class=\"fix\"><b>What to do:</b> ");
    add_rich(r, fix);
    xk_buf_add_str(&r->html, "</p>\n");
}

/* One card: `count` findings of the same check and severity. */
static void add_card(struct report *r, const struct xk_finding *items, size_t count)
{
    struct xk_buf *const h = &r->html;
    const struct xk_check *const check = items[0].check;
    const enum report_state state = report_state_of(items[0].severity);
    bool one_fix = true;
    for (size_t i = 1; i < count; i++)
        one_fix = one_fix && same_text(items[i].fix, items[0].fix);

    xk_buf_printf(h, "<article class=\"finding %s\">\n<p class=\"severity\">", report_state_name(state));
    report_add_sign(r, state);
    xk_buf_printf(h, "<span>%s</span></p>\n<div>\n<header><h3>", report_state_name(state));
    report_add_text(r, check->title);
    if (count > 1)
        xk_buf_printf(h, " <span class=\"times\">%zu times</span>", count);
    xk_buf_add_str(h, "</h3><p class=\"check\"><span class=\"hidden\">Check </span><code>");
    report_add_text(r, check->id);
    xk_buf_add_str(h, "</code></p></header>\n");
    if (!is_empty(check->why)) {
        xk_buf_add_str(h, "<p class=\"why\">");
        add_rich(r, check->why);
        xk_buf_add_str(h, "</p>\n");
    }
    xk_buf_add_str(h, "<ul class=\"evidence\">\n");
    for (size_t i = 0; i < XK_MIN(count, (size_t)REPORT_OBJECTS_MAX); i++) {
        xk_buf_add_str(h, "<li>");
        if (!is_empty(items[i].object)) {
            xk_buf_add_str(h, "<code class=\"object\">");
            report_add_text(r, items[i].object);
            xk_buf_add_str(h, "</code> ");
        }
        xk_buf_add_str(h, "<span>");
        add_rich(r, items[i].evidence);
        xk_buf_add_str(h, "</span>\n");
        if (!one_fix)
            add_fix(r, items[i].fix);
        xk_buf_add_str(h, "</li>\n");
    }
    xk_buf_add_str(h, "</ul>\n");
    if (count > REPORT_OBJECTS_MAX)
        report_add_left_off(r, count - REPORT_OBJECTS_MAX, "of the same kind are");
    if (one_fix)
        add_fix(r, items[0].fix);
    xk_buf_add_str(h, "</div>\n</article>\n");
}

static const enum xk_severity worst_first[] = {XK_CRITICAL, XK_WARNING, XK_NOTE};

/*
 * Radio buttons before the cards: style.css hides what was not picked, so no script is needed. They must be siblings
 * of the cards for that, hence no fieldset.
 */
static void add_filter(struct report *r, const size_t counts[], size_t all)
{
    const unsigned group = report_next_id(r);
    xk_buf_printf(&r->html,
                  "<input type=\"radio\" class=\"pick all\" name=\"pick%u\" id=\"pick%u-all\" checked=\"checked\"/>"
                  "<label for=\"pick%u-all\"><span class=\"hidden\">Show </span>all <b>%zu</b></label>\n",
                  group, group, group, all);
    for (size_t i = 0; i < XK_COUNT(worst_first); i++) {
        const enum xk_severity severity = worst_first[i];
        if (counts[severity] == 0)
            continue;
        const char *const name = report_state_name(report_state_of(severity));
        xk_buf_printf(&r->html,
                      "<input type=\"radio\" class=\"pick %s\" name=\"pick%u\" id=\"pick%u-%s\"/>"
                      "<label for=\"pick%u-%s\"><span class=\"hidden\">Show only </span>",
                      name, group, group, name, group, name);
        report_add_sign(r, report_state_of(severity));
        xk_buf_printf(&r->html, "%s <b>%zu</b></label>\n", name, counts[severity]);
    }
}

void report_findings(struct report *r, const struct xk_findings *findings)
{
    assert(r->block == REPORT_BLOCK_NONE);
    size_t counts[XK_CRITICAL + 1] = {0};
    for (size_t i = 0; i < findings->count; i++)
        counts[findings->items[i].severity]++;
    if (findings->count == 0 && findings->left_off == 0) {
        report_statement(r, REPORT_GOOD, "Nothing was found.");
        return;
    }
    xk_buf_add_str(&r->html, "<div class=\"findings\">\n");
    if ((counts[XK_CRITICAL] > 0) + (counts[XK_WARNING] > 0) + (counts[XK_NOTE] > 0) > 1)
        add_filter(r, counts, findings->count);
    xk_buf_add_str(&r->html, "<div class=\"cards\">\n");
    for (size_t s = 0; s < XK_COUNT(worst_first); s++) {
        for (size_t i = 0, next; i < findings->count; i = next) {
            const struct xk_finding *const first = &findings->items[i];
            next = i + 1;
            if (first->severity != worst_first[s])
                continue;
            while (next < findings->count && findings->items[next].check == first->check &&
                   findings->items[next].severity == first->severity)
                next++;
            add_card(r, first, next - i);
        }
    }
    xk_buf_add_str(&r->html, "</div>\n</div>\n");
    report_add_left_off(r, findings->left_off, "findings were counted but are");
}
