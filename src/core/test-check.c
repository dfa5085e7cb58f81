/* Findings: order, limits, what is kept when memory is short. */
#include "core/check.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const struct xk_check damaged = {.id = "vhd.damaged", .severity = XK_CRITICAL, .fix = "restore it"};
static const struct xk_check old = {.id = "vhd.old", .severity = XK_NOTE, .fix = "leave it"};

static void texts_are_copied(void **state)
{
    struct xk_findings f = {0};
    char object[] = "a.vhd", fix[] = "delete it";

    xk_find(&f, &damaged, XK_WARNING, object, fix, "%d of %d", 3, 4);
    xk_find(&f, &damaged, XK_WARNING, object, NULL, "%s", "");
    memset(object, 'x', sizeof(object) - 1);
    memset(fix, 'x', sizeof(fix) - 1);
    assert_int_equal(f.count, 2);
    assert_string_equal(f.items[0].object, "a.vhd");
    assert_string_equal(f.items[0].fix, "delete it");
    assert_string_equal(f.items[0].evidence, "3 of 4");
    assert_int_equal(f.items[0].severity, XK_WARNING);
    assert_string_equal(f.items[1].fix, "restore it");
    xk_findings_done(&f);
    xk_findings_done(&f);
}

static void the_worst_comes_first(void **state)
{
    struct xk_findings f = {0};

    xk_find(&f, &old, XK_NOTE, "b", NULL, "1");
    xk_find(&f, &old, XK_CRITICAL, "a", NULL, "2");
    xk_find(&f, &damaged, XK_CRITICAL, "z", NULL, "3");
    xk_find(&f, &old, XK_NOTE, "a", NULL, "5");
    xk_find(&f, &old, XK_NOTE, "a", NULL, "4");
    xk_find(&f, &damaged, XK_WARNING, "a", NULL, "6");
    xk_findings_sort(&f);
    const char *const wanted[] = {"3", "2", "6", "4", "5", "1"};
    for (size_t i = 0; i < XK_COUNT(wanted); i++)
        assert_string_equal(f.items[i].evidence, wanted[i]);
    xk_findings_done(&f);
    xk_findings_sort(&f);
}

static void what_is_too_much_is_counted(void **state)
{
    struct xk_findings f = {0};

    for (unsigned i = 0; i < XK_FINDINGS_MAX + 5; i++)
        xk_find(&f, &old, XK_NOTE, "disk", NULL, "%u", i);
    assert_int_equal(f.count, XK_FINDINGS_MAX);
    assert_int_equal(f.left_off, 5);
    assert_int_equal(f.error, 0);
    xk_findings_done(&f);
}

static void a_text_without_room_is_counted_too(void **state)
{
    struct xk_findings f = {.arena = XK_ARENA_INIT(64)};

    xk_find(&f, &old, XK_NOTE, "disk", NULL, "small");
    xk_find(&f, &old, XK_NOTE, "disk", NULL, "%0200d", 1);
    assert_int_equal(f.count, 1);
    assert_int_equal(f.left_off, 1);
    assert_int_equal(f.error, -ENOMEM);
    xk_findings_done(&f);
}

static void severities_have_names(void **state)
{
    assert_string_equal(xk_severity_name(XK_NOTE), "note");
    assert_string_equal(xk_severity_name(XK_WARNING), "warning");
    assert_string_equal(xk_severity_name(XK_CRITICAL), "critical");
}

static void a_remedy_names_its_file_for_a_shell(void **state)
{
    static const struct xk_check row = {.id = "t.x", .title = "t", .why = "w", .fix = "`mend FILE` and `look FILE`"};
    static const struct {
        const char *object, *want;
    } rows[] = {
        {"/srv/a.vhd", "`mend /srv/a.vhd` and `look /srv/a.vhd`"},
        {"a b", "`mend 'a b'` and `look 'a b'`"},
        {"it's", "`mend 'it'\\''s'` and `look 'it'\\''s'`"},
        {"-rf", "`mend '-rf'` and `look '-rf'`"},
        {"$(x)", "`mend '$(x)'` and `look '$(x)'`"},
    };
    for (size_t i = 0; i < XK_COUNT(rows); i++) {
        struct xk_findings found = {0};
        xk_find(&found, &row, XK_NOTE, rows[i].object, NULL, "e");
        assert_int_equal(found.count, 1);
        assert_string_equal(found.items[0].fix, rows[i].want);
        xk_findings_done(&found);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_remedy_names_its_file_for_a_shell),
        cmocka_unit_test(texts_are_copied),
        cmocka_unit_test(the_worst_comes_first),
        cmocka_unit_test(what_is_too_much_is_counted),
        cmocka_unit_test(a_text_without_room_is_counted_too),
        cmocka_unit_test(severities_have_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
