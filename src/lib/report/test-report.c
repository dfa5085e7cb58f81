#include "lib/report/report.h"

#include "core/testing/fault.h"
#include "core/text.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define NOW INT64_C(1795409642) /* 2026-11-23T04:54:02Z */

/* ---- a small HTML checker ---- */

#define DEPTH_MAX 64
#define IDS_MAX   8192
#define NAME_MAX_ 40

struct names {
    char (*list)[NAME_MAX_];
    size_t count;
};

static void names_add(struct names *n, const char *name, size_t len)
{
    assert_true(n->count < IDS_MAX && len < NAME_MAX_);
    memcpy(n->list[n->count], name, len);
    n->list[n->count++][len] = '\0';
}

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

static bool is_known_tag(const char *tag, size_t len)
{
    static const char *const known[] = {
        "html",   "head",  "meta", "title", "link", "style",   "body",    "a",      "svg",        "defs",  "symbol",
        "circle", "path",  "rect", "line",  "text", "g",       "use",     "desc",   "header",     "p",     "b",
        "span",   "h1",    "h2",   "h3",    "dl",   "div",     "dt",      "dd",     "time",       "nav",   "ol",
        "ul",     "li",    "main", "label", "code", "section", "article", "input",  "strong",     "table", "caption",
        "thead",  "tbody", "tr",   "th",    "td",   "data",    "figure",  "script", "figcaption", "br",    "footer",
    };
    for (size_t i = 0; i < XK_COUNT(known); i++)
        if (strlen(known[i]) == len && memcmp(known[i], tag, len) == 0)
            return true;
    return false;
}

/* Attributes up to the end of the tag: quoted, none that runs a script; ids and references are collected.
 */
static const char *check_attributes(const char *at, struct names *ids, struct names *references, bool *ret_closed)
{
    for (;;) {
        at += strspn(at, " \n");
        if (*at == '>') {
            *ret_closed = false;
            return at + 1;
        }
        if (at[0] == '/' && at[1] == '>') {
            *ret_closed = true;
            return at + 2;
        }
        const size_t name = strspn(at, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-0123456789");
        if (name == 0 || at[name] != '=' || at[name + 1] != '"')
            fail_msg("bad attribute at: %.80s", at);
        assert_false(name > 2 && at[0] == 'o' && at[1] == 'n'); /* onclick … */
        const char *const value = at + name + 2;
        const size_t len = strcspn(value, "\"<");
        if (value[len] != '"')
            fail_msg("attribute does not end: %.80s", at);
        if (name == 2 && memcmp(at, "id", 2) == 0) {
            names_add(ids, value, len);
        } else if (memcmp(at, "aria-labelledby", XK_MIN(name, (size_t)15)) == 0 && name == 15) {
            for (size_t i = 0; i < len;) {
                const size_t word = XK_MIN(strcspn(value + i, " "), len - i);
                names_add(references, value + i, word);
                i += word + (i + word < len);
            }
        } else if (name == 3 && memcmp(at, "for", 3) == 0) {
            names_add(references, value, len);
        } else if (name == 4 && memcmp(at, "href", 4) == 0) {
            if (value[0] == '#')
                names_add(references, value + 1, len - 1);
            else
                assert_true(xk_has_prefix(value, "data:image/svg+xml,")); /* nothing is loaded */
        }
        at = value + len + 1;
    }
}

static void check_page(const char *page)
{
    struct names ids = {xk_array_alloc(IDS_MAX, NAME_MAX_), 0}, references = {xk_array_alloc(IDS_MAX, NAME_MAX_), 0};
    const char *open[DEPTH_MAX];
    size_t depth = 0;
    assert_non_null(ids.list);
    assert_non_null(references.list);
    assert_true(xk_has_prefix(page, "<!DOCTYPE html>\n"));
    const char *at = page + 16;
    for (;;) {
        const size_t text = strcspn(at, "<");
        for (size_t i = 0; i < text; i++) {
            if (at[i] == '&' && strcspn(at + i, ";") > 6)
                fail_msg("a bare & in: %.60s", at + i);
            if ((unsigned char)at[i] < ' ' && at[i] != '\n')
                fail_msg("a control character before: %.60s", at + i);
        }
        at += text;
        if (*at == '\0')
            break;
        at++;
        const bool end = *at == '/';
        at += end;
        const size_t len = strcspn(at, " />\n");
        if (!is_known_tag(at, len))
            fail_msg("unknown tag: %.60s", at);
        if (end) {
            assert_true(depth > 0);
            const char *const begun = open[--depth];
            if (strncmp(begun, at, len) != 0 || begun[len] == '\0' || strchr(" />\n", begun[len]) == NULL)
                fail_msg("</%.20s> ends <%.20s>", at, begun);
            at += len;
            assert_int_equal(*at++, '>');
            continue;
        }
        const char *const tag = at;
        bool closed = false;
        at = check_attributes(at + len, &ids, &references, &closed);
        if (closed)
            continue;
        if (strncmp(tag, "script", len) == 0 || strncmp(tag, "style", len) == 0) {
            const char *const stop = strncmp(tag, "script", len) == 0 ? "</script>" : "</style>";
            at = strstr(at, stop);
            assert_non_null(at);
            at += strlen(stop);
            continue;
        }
        assert_true(depth < DEPTH_MAX);
        open[depth++] = tag;
    }
    assert_int_equal(depth, 0);
    qsort(ids.list, ids.count, sizeof(*ids.list), by_name);
    for (size_t i = 1; i < ids.count; i++)
        if (strcmp(ids.list[i - 1], ids.list[i]) == 0)
            fail_msg("the id %s is there twice", ids.list[i]);
    for (size_t i = 0; i < references.count; i++)
        if (bsearch(references.list[i], ids.list, ids.count, sizeof(*ids.list), by_name) == NULL)
            fail_msg("nothing has the id %s", references.list[i]);
    free(ids.list);
    free(references.list);
}

/* ---- helpers ---- */

/* memmem() and not strstr(), which takes the length of the whole page each time under ASan. */
static size_t times(const char *page, const char *what)
{
    const char *const end = page + strlen(page);
    const size_t len = strlen(what);
    size_t n = 0;
    for (const char *at = page; (at = memmem(at, (size_t)(end - at), what, len)) != NULL; at += len)
        n++;
    return n;
}

static void begin(struct report *r)
{
    report_begin(r, &(struct report_head){.kind = "test", .title = "A page"});
}

/* Finish and check the page; it lives until report_done(). */
static const char *finish(struct report *r)
{
    assert_int_equal(report_finish(r), 0);
    check_page(r->html.data);
    return r->html.data;
}

static const struct report_chart chart = {"A chart", NULL, REPORT_NUMBER};

/* Everything, with `text` in each place that takes one. */
static void build(struct report *r, const char *text, size_t max_bytes)
{
    const struct xk_check check = {.id = text, .title = text, .why = text, .fix = text};
    struct xk_finding items[] = {
        {&check, XK_CRITICAL, text, text, text},
        {&check, XK_CRITICAL, text, text, "another `fix it`"},
        {&check, XK_NOTE, text, text, text},
    };
    const struct xk_findings findings = {.items = items, .count = XK_COUNT(items), .left_off = 3};
    const struct report_chart named = {text, text, REPORT_BYTES};
    const struct report_bar bars[] = {{text, 1, REPORT_NEUTRAL}, {text, 2, REPORT_WARNING}};
    const struct report_column columns[] = {{text, false}, {text, true}};
    const struct report_node nodes[] = {
        {.name = text, .note = text, .parent = REPORT_NO_PARENT, .state = REPORT_NOTE},
        {.name = text, .note = text, .parent = 0, .virtual_bytes = 5, .physical_bytes = 3},
    };
    const double x[] = {1, 2, 3}, y[] = {4, NAN, 6};
    const struct report_line line = {text, y};
    const struct report_lines lines = {
        .x = x, .count = 3, .x_is_time = true, .x_title = text, .lines = &line, .line_count = 1};
    const struct report_bin bin = {0, 1, 7};

    report_begin(r, &(struct report_head){.kind = text,
                                          .title = text,
                                          .subtitle = text,
                                          .state = REPORT_CRITICAL,
                                          .verdict = text,
                                          .unix_seconds = NOW,
                                          .machine = text,
                                          .command = text,
                                          .max_bytes = max_bytes});
    report_section(r, text, text);
    report_findings(r, &findings);
    report_section(r, text, NULL);
    report_paragraph(r, text);
    report_statement(r, REPORT_GOOD, text);
    report_table(r, text, columns, XK_COUNT(columns));
    report_row(r);
    report_cell_text(r, text);
    report_cell_code(r, text);
    report_row(r);
    report_cell_state(r, REPORT_WARNING, text);
    report_end(r);
    report_facts(r);
    report_fact(r, text);
    report_cell_text(r, text);
    report_end(r);
    report_bars(r, &named, bars, XK_COUNT(bars));
    report_parts(r, &named, bars, XK_COUNT(bars), 0);
    report_histogram(r, &named, &bin, 1);
    report_line_chart(r, &named, &lines);
    report_series(r, &named, &lines);
    report_tree(r, text, nodes, XK_COUNT(nodes));
}

/* ---- tests ---- */

static void whole_page(void **state)
{
    struct report r;
    build(&r, "plain", 0);
    const char *const page = finish(&r);
    assert_non_null(strstr(page, "<time datetime=\"2026-11-23T04:54:02Z\">2026-11-23 04:54:02 UTC</time>"));
    assert_non_null(strstr(page, "<p class=\"verdict critical\">"));
    assert_non_null(strstr(page, "default-src 'none'"));
    assert_non_null(strstr(page, "3 more findings"));
    assert_non_null(strstr(page, "2 times"));
    assert_null(strstr(page, "sourceMappingURL"));
    /* The list of contents is before the text that it lists. */
    const char *const contents = strstr(page, "<a href=\"#s2\">plain</a>");
    assert_non_null(contents);
    assert_true(contents < strstr(page, "<main id=\"main\">"));
    report_done(&r);
}

static void hostile_text_stays_text(void **state)
{
    static const char *const texts[] = {
        "\"><script>alert(1)</script><img src=x onerror=alert(1)>",
        "</title></style></svg></script><!-- ' & &amp; \" `<b> <i>` ``` `",
        "\x1b[31mred\x07\x01\x7f",
        "\xff\xfe\xc3 \xe2\x82 \xed\xa0\x80 \xf0\x9f",
        "\xe2\x80\xae"
        "gpj.exe \xe2\x81\xa6",
        "]]><![CDATA[ &#0; \n\n `a b`\n: `c d`.\n`",
        "",
        NULL,
    };
    for (size_t i = 0; i < XK_COUNT(texts); i++) {
        struct report r;
        build(&r, texts[i], 0);
        const char *const page = finish(&r);
        assert_null(strstr(page, "<img"));
        assert_null(strstr(page, "<script>alert"));
        assert_null(strstr(page, "<!--"));
        assert_null(strstr(page, "\x1b"));
        assert_null(strstr(page, "\xe2\x80\xae"));
        /* One for the data of the series, one for dygraphs, one for the page's own. */
        assert_int_equal(times(page, "<script"), report_can_zoom() ? 3 : 1);
        assert_int_equal(times(page, "</script"), report_can_zoom() ? 3 : 1);
        report_done(&r);
    }
}

static void long_text_is_cut(void **state)
{
    static char text[REPORT_TEXT_MAX * 3];
    for (size_t i = 0; i + 4 < sizeof(text); i += 3)
        memcpy(text + i, "\xe2\x82\xac", 3); /* € */
    struct report r;
    begin(&r);
    report_paragraph(&r, text);
    const char *const page = finish(&r);
    assert_int_equal(times(page, "\xe2\x82\xac"), REPORT_TEXT_MAX / 3);
    assert_null(strstr(page, "\\x")); /* no half of a character was left */
    assert_non_null(strstr(page, "\xe2\x82\xac…</p>"));
    report_done(&r);
}

static void rich_text(void **state)
{
    static const struct {
        const char *rich, *html;
    } cases[] = {
        {"say `word` & go", "<p>say <code>word</code> &amp; go</p>"},
        {"run `a b` now", "<p>run <span class=\"command\"><code>a b</code></span> now</p>"},
        {"run: `a b`.", "<p>run: <span class=\"command own\"><code>a b</code></span></p>"},
        {"`a b`", "<p><span class=\"command own\"><code>a b</code></span></p>"},
        {"one\ntwo\n", "<p>one<br/>two</p>"},
        {"a ` alone", "<p>a ` alone</p>"},
        {"`a b` or `c d`", "<p><span class=\"command\"><code>a b</code></span> or "
                           "<span class=\"command\"><code>c d</code></span></p>"},
    };
    for (size_t i = 0; i < XK_COUNT(cases); i++) {
        struct report r;
        begin(&r);
        report_paragraph(&r, cases[i].rich);
        if (strstr(finish(&r), cases[i].html) == NULL)
            fail_msg("“%s” is not %s", cases[i].rich, cases[i].html);
        report_done(&r);
    }
}

static void findings_are_ordered_and_limited(void **state)
{
    static const struct xk_check first = {.id = "t.first", .title = "First", .why = "So.", .fix = "mend it"},
                                 second = {.id = "t.second", .title = "Second", .why = "So.", .fix = "mend it"};
    struct xk_findings findings = {0};
    xk_find(&findings, &second, XK_NOTE, "note", NULL, "seen");
    for (unsigned i = 0; i < REPORT_OBJECTS_MAX + 7; i++)
        xk_find(&findings, &first, XK_WARNING, "many", NULL, "item <%u>", i);
    xk_find(&findings, &second, XK_CRITICAL, "worst", NULL, "bad");
    assert_int_equal(findings.error, 0);

    /* Not sorted on purpose: the worst still comes first. */
    struct report r;
    begin(&r);
    report_findings(&r, &findings);
    const char *const page = finish(&r);
    const char *const critical = strstr(page, "finding critical"), *const warning = strstr(page, "finding warning"),
                      *const note = strstr(page, "finding note");
    assert_true(critical != NULL && warning != NULL && note != NULL);
    assert_true(critical < warning && warning < note);
    assert_int_equal(times(page, "<li>"), REPORT_OBJECTS_MAX + 2);
    assert_non_null(strstr(page, "7 more of the same kind are not shown."));
    assert_int_equal(times(page, "class=\"pick "), 4);
    report_done(&r);
    xk_findings_done(&findings);

    /* One severity needs no filter, none at all says so. */
    xk_find(&findings, &first, XK_NOTE, "x", NULL, "y");
    begin(&r);
    report_findings(&r, &findings);
    assert_int_equal(times(finish(&r), "class=\"pick "), 0);
    report_done(&r);
    xk_findings_done(&findings);
    begin(&r);
    report_findings(&r, &findings);
    assert_non_null(strstr(finish(&r), "Nothing was found."));
    report_done(&r);
}

static void tables(void **state)
{
    static const struct report_column columns[] = {{"name", false}, {"size", true}, {"when", false}};
    struct report r;
    begin(&r);
    report_table(&r, "Empty", columns, 3);
    report_end(&r);
    report_table(&r, "Cells", columns, 3);
    report_row(&r);
    report_cell_bool(&r, true);
    report_cell_bytes(&r, 3 * XK_GIB / 2);
    report_cell_time(&r, 0);
    report_row(&r);
    report_cell_u64(&r, UINT64_MAX);
    report_cell_value(&r, REPORT_PERCENT, 12.345);
    report_cell_usage(&r, REPORT_GOOD, 250);
    report_row(&r);
    report_cell_value(&r, REPORT_RATE, NAN);
    report_cell_usage(&r, REPORT_GOOD, INFINITY);
    report_row(&r);
    report_end(&r);
    const char *const page = finish(&r);
    assert_non_null(strstr(page, "colspan=\"3\" class=\"none\">none</td>"));
    assert_non_null(strstr(page, "<th scope=\"col\" class=\"number\">size</th>"));
    assert_non_null(strstr(page, "<th scope=\"row\">yes</th><td class=\"number\"><data value=\"1610612736\" "
                                 "title=\"1610612736 bytes\">1.5 GiB</data></td>"
                                 "<td><time datetime=\"1970-01-01T00:00:00Z\">1970-01-01 00:00:00 UTC</time></td>"));
    assert_non_null(strstr(page, "<th scope=\"row\" class=\"number\">18446744073709551615</th>"));
    assert_non_null(strstr(page, ">12.35 %</data>"));
    assert_non_null(strstr(page, "width=\"100.000%\" height=\"8\" rx=\"2\"/></svg><span>250 %</span>"));
    assert_int_equal(times(page, "<td"), 1 + 2 + 2 + 2 + 2); /* short rows are filled up */
    report_done(&r);
}

static void rows_are_limited(void **state)
{
    static const struct report_column columns[] = {{"n", true}};
    struct report r;
    begin(&r);
    report_table(&r, "Long", columns, 1);
    for (unsigned i = 0; i < REPORT_ROWS_MAX + 5; i++) {
        report_row(&r);
        report_cell_u64(&r, i);
    }
    report_end(&r);
    const char *const page = finish(&r);
    assert_int_equal(times(page, "<tr>"), 1 + REPORT_ROWS_MAX);
    assert_non_null(strstr(page, "5 more rows are not shown."));
    report_done(&r);
}

static void sections_beyond_the_contents(void **state)
{
    struct report r;
    begin(&r);
    for (unsigned i = 0; i < REPORT_SECTIONS_MAX + 3; i++)
        report_section(&r, "again", NULL);
    const char *const page = finish(&r);
    assert_int_equal(times(page, "<h2 "), REPORT_SECTIONS_MAX + 3);
    assert_int_equal(times(page, "<li><a href=\"#s"), REPORT_SECTIONS_MAX);
    report_done(&r);
}

static const double odd[] = {0, -1,        NAN,        INFINITY, -INFINITY, 1e308, -1e308, 5e-324,
                             1, 1 + 1e-12, 0x1p53 + 2, -0x1p63,  0x1p64,    0.1,   -0.0,   1.7e308 + 9e307};

static void charts_take_any_value(void **state)
{
    static const enum report_unit units[] = {REPORT_NUMBER, REPORT_BYTES, REPORT_DURATION, REPORT_RATE, REPORT_PERCENT};
    for (size_t u = 0; u < XK_COUNT(units); u++) {
        const struct report_chart c = {"odd values", NULL, units[u]};
        /* Each pair of values, so that any of them is once the lowest and once the highest. */
        for (size_t i = 0; i < XK_COUNT(odd); i++) {
            struct report r;
            begin(&r);
            for (size_t j = 0; j < XK_COUNT(odd); j++) {
                const double pair[] = {odd[i], odd[j]}, places[] = {1, 2};
                const struct report_bar bars[] = {{"a", odd[i], REPORT_GOOD}, {"b", odd[j], REPORT_NEUTRAL}};
                const struct report_bin bins[] = {{odd[i], odd[j], 1}, {odd[j], odd[i], UINT64_MAX}};
                const struct report_line lines[] = {{"as values", pair}, {"in place", places}};
                report_bars(&r, &c, bars, 2);
                report_parts(&r, &c, bars, 2, odd[j]);
                report_histogram(&r, &c, bins, 2);
                const struct report_lines as_y = {.x = places, .count = 2, .lines = lines, .line_count = 2};
                const struct report_lines as_x = {
                    .x = pair, .count = 2, .x_is_time = true, .lines = lines + 1, .line_count = 1};
                report_line_chart(&r, &c, &as_y);
                report_series(&r, &c, &as_x);
            }
            const char *const page = finish(&r);
            const char *const main_part = strstr(page, "<main");
            assert_non_null(main_part);
            for (const char *at = main_part; (at = strstr(at, "d=\"M")) != NULL; at++)
                assert_int_equal(strspn(at + 3, "MLh0123456789 "), strcspn(at + 3, "\""));
            assert_int_equal(times(main_part, "=\"nan"), 0);
            assert_int_equal(times(main_part, "=\"-nan"), 0);
            assert_int_equal(times(main_part, "=\"inf"), 0);
            report_done(&r);
        }
    }
}

static void charts_with_nothing(void **state)
{
    static const double none[] = {NAN, NAN}, x[] = {1, 2};
    static const struct report_line gap = {"gap", none};
    static struct xk_hist hist;
    xk_hist_init(&hist);
    struct report r;
    begin(&r);
    report_bars(&r, &chart, NULL, 0);
    report_parts(&r, &chart, NULL, 0, 10);
    report_histogram(&r, &chart, NULL, 0);
    report_latency(&r, &chart, &hist);
    report_line_chart(&r, &chart, &(struct report_lines){0});
    report_line_chart(&r, &chart, &(struct report_lines){.x = x, .count = 2, .lines = &gap, .line_count = 1});
    report_series(&r, &chart, &(struct report_lines){.x = none, .count = 2, .lines = &gap, .line_count = 1});
    report_tree(&r, "Chains", NULL, 0);
    const char *const page = finish(&r);
    assert_int_equal(times(page, "No values."), 7);
    assert_int_equal(times(page, "No images."), 1);
    assert_int_equal(times(page, "<script"), 1); /* no dygraphs for nothing */
    report_done(&r);
}

static void charts_with_one_value(void **state)
{
    static const double one[] = {42};
    static const struct report_line line = {"one", one};
    static const struct report_bar bar = {"one", 42, REPORT_NEUTRAL};
    static const struct report_bin bin = {42, 42, 1};
    static const struct report_lines lines = {.x = one, .count = 1, .lines = &line, .line_count = 1};
    static struct xk_hist hist;
    xk_hist_init(&hist);
    xk_hist_add(&hist, 0);
    struct report r;
    begin(&r);
    report_bars(&r, &chart, &bar, 1);
    report_parts(&r, &chart, &bar, 1, 84);
    report_histogram(&r, &chart, &bin, 1);
    report_latency(&r, &chart, &hist);
    report_line_chart(&r, &chart, &lines);
    const char *const page = finish(&r);
    assert_non_null(strstr(page, "42, 50 %"));
    assert_non_null(strstr(page, " d=\"M5000 ")); /* a dot in the middle */
    report_done(&r);
}

static void many_values_keep_their_peak(void **state)
{
    enum { COUNT = 3 * REPORT_POINTS_MAX };
    double *const x = xk_array_alloc(COUNT, sizeof(*x)), *const y = xk_array_alloc(COUNT, sizeof(*y));
    assert_non_null(x);
    assert_non_null(y);
    for (size_t i = 0; i < COUNT; i++) {
        x[i] = (double)NOW + (double)i;
        y[i] = i == 31337 ? 1000 : (double)(i % 7);
    }
    const struct report_line line[REPORT_LINES_MAX + 2] = {[0 ... REPORT_LINES_MAX + 1] = {"all the same", y}};
    const struct report_lines lines = {
        .x = x, .count = COUNT, .x_is_time = true, .lines = line, .line_count = REPORT_LINES_MAX + 2};
    struct report r;
    begin(&r);
    report_series(&r, &chart, &lines);
    const char *page = finish(&r);
    assert_int_equal(times(page, "class=\"line line-"), REPORT_LINES_MAX);
    assert_non_null(strstr(page, "2 more lines are not shown."));
    /* Peak at 1000 of 1000: the top of the plot. */
    assert_int_equal(times(page, " 0L"), REPORT_LINES_MAX);
    if (report_can_zoom()) {
        const char *const rows = strstr(page, "\"rows\":");
        assert_non_null(rows);
        assert_true(times(rows, "],[") <= REPORT_POINTS_MAX);
        assert_int_equal(times(rows, ",1000,1000,1000,1000,1000,1000,1000,1000]"), 1); /* one row */
    }
    report_done(&r);

    static struct report_bar bars[REPORT_BARS_MAX + 9];
    static struct report_bin bins[10 * REPORT_BARS_MAX + 1];
    for (size_t i = 0; i < XK_COUNT(bins); i++)
        bins[i] = (struct report_bin){(double)i, (double)i + 1, UINT64_MAX / 2};
    begin(&r);
    report_bars(&r, &chart, bars, XK_COUNT(bars));
    report_parts(&r, &chart, bars, XK_COUNT(bars), 1);
    report_histogram(&r, &chart, bins, XK_COUNT(bins));
    page = finish(&r);
    assert_non_null(strstr(page, "9 more bars are not shown."));
    assert_non_null(strstr(page, "9 more parts are not shown."));
    assert_int_equal(times(page, "<rect class=\"fill part"), XK_DIV_UP(XK_COUNT(bins), 11));
    report_done(&r);
    free(x);
    free(y);
}

static void latency_counts_every_value(void **state)
{
    static struct xk_hist hist;
    struct xk_random random;
    xk_random_seed(&random, 7);
    for (unsigned round = 0; round < 50; round++) {
        xk_hist_init(&hist);
        const unsigned count = 1 + (unsigned)xk_random_below(&random, 500);
        for (unsigned i = 0; i < count; i++)
            xk_hist_add(&hist, xk_random_u64(&random) >> xk_random_below(&random, 64));
        struct report r;
        begin(&r);
        report_latency(&r, &(struct report_chart){"latency", NULL, REPORT_DURATION}, &hist);
        const char *const page = finish(&r);
        unsigned sum = 0;
        for (const char *at = page; (at = strstr(at, "<rect class=\"fill part")) != NULL; at++) {
            const char *const title = strstr(at, "<title>"), *const end = strstr(title, "</title>");
            const char *number = end;
            while (number[-1] >= '0' && number[-1] <= '9')
                number--;
            sum += (unsigned)strtoul(number, NULL, 10);
        }
        assert_int_equal(sum, count);
        report_done(&r);
    }
}

static void time_runs_forward(void **state)
{
    /* The point that goes back, and the one at no time, are left out of drawing and data. */
    static const double x[] = {10, 20, 15, NAN, 30}, y[] = {1, 2, 777, 777, 3};
    static const struct report_line line = {"l", y};
    struct report r;
    begin(&r);
    report_series(&r, &chart, &(struct report_lines){.x = x, .count = 5, .lines = &line, .line_count = 1});
    const char *const page = finish(&r);
    assert_non_null(strstr(page, "values between 1 and 3."));
    if (report_can_zoom())
        assert_non_null(strstr(page, "\"rows\":[[10,1],[20,2],[30,3]]"));
    report_done(&r);
}

/* ---- chains ---- */

static void tree_page(struct report *r, const struct report_node *nodes, size_t count)
{
    begin(r);
    report_tree(r, "Chains", nodes, count);
}

static void tree_of_everything(void **state)
{
    static const struct report_node nodes[] = {
        {.name = "leaf", .parent = 1, .virtual_bytes = XK_GIB, .physical_bytes = 4 * XK_GIB, .state = REPORT_GOOD},
        {.name = "base", .parent = REPORT_NO_PARENT, .depth = 9},
        {.name = "self", .parent = 2},
        {.name = "loop-a", .parent = 4},
        {.name = "loop-b", .parent = 3},
        {.name = "on the loop", .parent = 3},
        {.name = "gone", .parent = REPORT_NO_PARENT, .absent = true, .state = REPORT_CRITICAL},
        {.name = "orphan", .parent = 6, .note = "parent missing", .state = REPORT_CRITICAL},
    };
    struct report r;
    tree_page(&r, nodes, XK_COUNT(nodes));
    const char *const page = finish(&r);
    assert_int_equal(times(page, "<g class=\"node "), XK_COUNT(nodes));
    assert_int_equal(times(page, "<svg class=\"tree\""), 4);
    assert_int_equal(times(page, ">circle of parents</text>"), 2);
    assert_int_equal(times(page, "class=\"arrow\""), 4);
    assert_non_null(strstr(page, ">depth 9 · 0 B of 0 B</text>"));
    assert_non_null(strstr(page, "node critical absent"));
    assert_non_null(strstr(page, ">not found</text>"));
    report_done(&r);
}

/* The lanes of a random forest stay few, and every image is drawn once. */
static void trees_stay_narrow(void **state)
{
    static struct report_node nodes[REPORT_NODES_MAX];
    struct xk_random random;
    xk_random_seed(&random, 3);
    for (unsigned round = 0; round < 20; round++) {
        for (size_t i = 0; i < REPORT_NODES_MAX; i++)
            nodes[i] = (struct report_node){.name = "node",
                                            .parent = i == 0 ? REPORT_NO_PARENT : (size_t)xk_random_below(&random, i)};
        struct report r;
        tree_page(&r, nodes, REPORT_NODES_MAX);
        const char *const page = finish(&r);
        assert_int_equal(times(page, "<g class=\"node "), REPORT_NODES_MAX);
        for (const char *at = page; (at = strstr(at, "<svg class=\"tree\"")) != NULL; at++)
            assert_true(strtoul(strstr(at, " width=\"") + 8, NULL, 10) <= 322 + 8 * 18);
        report_done(&r);
    }
}

static void large_forests_are_limited(void **state)
{
    enum { COUNT = 20000 };
    struct report_node *const nodes = xk_array_alloc(COUNT, sizeof(*nodes));
    assert_non_null(nodes);
    /* A chain too deep to be drawn, a wide family, and trouble at the end of both. */
    for (size_t i = 0; i < COUNT; i++)
        nodes[i] = (struct report_node){.name = "x",
                                        .parent = i == 0 || i == 5000 ? REPORT_NO_PARENT
                                                  : i < 5000          ? i - 1
                                                                      : 5000};
    nodes[4999].state = REPORT_CRITICAL;
    nodes[COUNT - 1] = (struct report_node){.name = "the bad child", .parent = 5000, .state = REPORT_WARNING};
    struct report r;
    tree_page(&r, nodes, COUNT);
    const char *const page = finish(&r);
    assert_int_equal(times(page, "<g class=\"node "), REPORT_NODES_MAX);
    assert_non_null(strstr(page, ">the bad child</text>"));
    assert_non_null(strstr(page, "19500 more images are not shown."));
    assert_non_null(strstr(page, " more below</text>"));
    report_done(&r);

    /* All of them in circles. */
    for (size_t i = 0; i < COUNT; i++)
        nodes[i].parent = (i + 1) % COUNT;
    tree_page(&r, nodes, COUNT);
    assert_int_equal(times(finish(&r), ">circle of parents</text>"), 1);
    report_done(&r);
    free(nodes);
}

/* ---- limits and faults ---- */

static void a_full_page_is_an_error(void **state)
{
    struct report r;
    build(&r, "x", 0);
    const size_t whole = strlen(finish(&r));
    report_done(&r);
    for (size_t max = 1; max < whole; max += max < 40000 ? 997 : 9973) {
        build(&r, "x", max);
        assert_int_equal(report_finish(&r), -EFBIG);
        report_done(&r);
    }
    build(&r, "x", whole - 1);
    assert_int_equal(report_finish(&r), -EFBIG);
    report_done(&r);
    build(&r, "x", whole);
    assert_int_equal(report_finish(&r), 0);
    assert_int_equal(r.html.len, whole);
    report_done(&r);
}

static void memory_runs_out(void **state)
{
    const size_t live = xk_fault_alloc_live();
    for (unsigned sticky = 0; sticky < 2; sticky++) {
        bool fired = true;
        for (uint64_t at = 1; fired; at++) {
            struct report r;
            xk_fault_alloc_arm(at, sticky == 1);
            build(&r, "x", 0);
            const int code = report_finish(&r);
            fired = xk_fault_alloc_fired();
            (void)xk_fault_alloc_disarm();
            assert_int_equal(code, fired ? -ENOMEM : 0);
            report_done(&r);
            assert_int_equal(xk_fault_alloc_live(), live);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_page),
        cmocka_unit_test(hostile_text_stays_text),
        cmocka_unit_test(long_text_is_cut),
        cmocka_unit_test(rich_text),
        cmocka_unit_test(findings_are_ordered_and_limited),
        cmocka_unit_test(tables),
        cmocka_unit_test(rows_are_limited),
        cmocka_unit_test(sections_beyond_the_contents),
        cmocka_unit_test(charts_take_any_value),
        cmocka_unit_test(charts_with_nothing),
        cmocka_unit_test(charts_with_one_value),
        cmocka_unit_test(many_values_keep_their_peak),
        cmocka_unit_test(latency_counts_every_value),
        cmocka_unit_test(time_runs_forward),
        cmocka_unit_test(tree_of_everything),
        cmocka_unit_test(trees_stay_narrow),
        cmocka_unit_test(large_forests_are_limited),
        cmocka_unit_test(a_full_page_is_an_error),
        cmocka_unit_test(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
