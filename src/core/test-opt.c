/* Options: every kind, every spelling, every refusal. */
#include "core/opt.h"
#include "core/text.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct all {
    bool parent, color;
    unsigned verbose;
    const char *out;
    struct xk_words skip;
    uint64_t count, size, time, rate;
    int64_t shift;
    double ratio;
    int format;
};

struct common {
    bool help, parent;
};

static const char *const formats[] = {"raw", "vhd", "qcow2", NULL};

static const struct xk_opt all_opts[] = {
    XK_OPT_FLAG('p', "parent", struct all, parent, "show the parent"),
    XK_OPT_ON(0, "color", struct all, color, "print without colours"),
    XK_OPT_COUNT('v', "verbose", struct all, verbose, "tell more"),
    XK_OPT_TEXT('o', "out", struct all, out, "FILE", "write to FILE"),
    XK_OPT_LIST('s', "skip", struct all, skip, "ID", "leave out"),
    XK_OPT_U64('n', "count", struct all, count, "N", 1, 100, "how many [1]"),
    XK_OPT_I64(0, "shift", struct all, shift, "N", "how far"),
    XK_OPT_DOUBLE(0, "ratio", struct all, ratio, "X", "how much"),
    XK_OPT_SIZE(0, "max-bat", struct all, size, "SIZE", "refuse larger tables"),
    XK_OPT_DURATION('t', "time", struct all, time, "TIME", "how long"),
    XK_OPT_RATE(0, "rate", struct all, rate, "RATE", "how fast"),
    XK_OPT_CHOICE('f', "format", struct all, format, "FORMAT", formats, "which kind"),
    XK_OPT_FLAG('x', NULL, struct all, parent, "a letter only"),
    XK_OPT_END,
};

static const struct xk_opt common_opts[] = {
    XK_OPT_FLAG('h', "help", struct common, help, "show this text"),
    XK_OPT_FLAG('p', "parent", struct common, parent, "hidden by the command's own"),
    XK_OPT_END,
};

#define WORDS_MAX 16

struct parsed {
    struct all all;
    struct common common;
    const char *operands[WORDS_MAX];
    int count, result;
    struct xk_opt_memory lists;
    struct xk_err err;
};

static void parse(struct parsed *p, const char *const *words)
{
    char *argv[WORDS_MAX + 1];
    int argc = 0;

    for (; words[argc]; argc++) {
        assert_true(argc < WORDS_MAX);
        argv[argc] = (char *)(uintptr_t)words[argc];
    }
    *p = (struct parsed){.all = {.color = true, .count = 7}};
    const struct xk_opt_set sets[] = {{all_opts, &p->all}, {common_opts, &p->common}};
    p->result = xk_opt_parse(sets, 2, argc, argv, p->operands, &p->count, &p->lists, &p->err);
}

#define PARSE(p, ...) parse((p), (const char *const[]){__VA_ARGS__, NULL})

static void assert_refused(struct parsed *p, const char *text, const char *hint)
{
    assert_int_equal(p->result, -EINVAL);
    assert_int_equal(p->err.code, -EINVAL);
    assert_int_equal(p->err.exit, XK_EXIT_USAGE);
    assert_string_equal(p->err.text, text);
    assert_string_equal(p->err.hint, hint);
    xk_opt_done(&p->lists);
}

static void nothing_leaves_the_defaults(void **state)
{
    struct parsed p;

    parse(&p, (const char *const[]){NULL});
    assert_int_equal(p.result, 0);
    assert_int_equal(p.count, 0);
    assert_true(p.all.color);
    assert_int_equal(p.all.count, 7);
    assert_null(p.all.out);
}

static void every_kind_is_read(void **state)
{
    struct parsed p;

    PARSE(&p, "--parent", "--no-color", "-vv", "--verbose", "--out", "a.txt", "--count=100", "--shift", "-5",
          "--ratio=0.25", "--max-bat", "64M", "--time=250ms", "--rate", "100Mbit");
    assert_int_equal(p.result, 0);
    assert_true(p.all.parent);
    assert_false(p.all.color);
    assert_int_equal(p.all.verbose, 3);
    assert_string_equal(p.all.out, "a.txt");
    assert_int_equal(p.all.count, 100);
    assert_int_equal(p.all.shift, -5);
    assert_true(p.all.ratio == 0.25);
    assert_int_equal(p.all.size, 64 * XK_MIB);
    assert_int_equal(p.all.time, 250 * XK_NS_PER_MS);
    assert_int_equal(p.all.rate, 100000000);
    xk_opt_done(&p.lists);
}

static void a_choice_is_an_index(void **state)
{
    struct parsed p;

    PARSE(&p, "-fqcow2");
    assert_int_equal(p.result, 0);
    assert_int_equal(p.all.format, 2);
    PARSE(&p, "-f", "vdh");
    assert_refused(&p, "option -f: \"vdh\" is not one of raw, vhd, qcow2", "did you mean vhd?");
    PARSE(&p, "--format=qcow");
    assert_int_equal(p.result, -EINVAL);
}

static void letters_are_bundled_and_values_follow(void **state)
{
    struct parsed p;

    PARSE(&p, "-pvofile", "-n5", "-t", "2h", "-x");
    assert_int_equal(p.result, 0);
    assert_true(p.all.parent);
    assert_int_equal(p.all.verbose, 1);
    assert_string_equal(p.all.out, "file");
    assert_int_equal(p.all.count, 5);
    assert_int_equal(p.all.time, 7200 * XK_NS_PER_S);
}

static void own_rows_come_before_common_ones(void **state)
{
    struct parsed p;

    PARSE(&p, "-p", "--parent", "-h");
    assert_true(p.all.parent);
    assert_false(p.common.parent);
    assert_true(p.common.help);
}

static void operands_and_options_mix(void **state)
{
    struct parsed p;

    PARSE(&p, "a", "-p", "-", "b", "--", "--count", "-v");
    assert_int_equal(p.result, 0);
    assert_int_equal(p.count, 5);
    assert_string_equal(p.operands[0], "a");
    assert_string_equal(p.operands[1], "-");
    assert_string_equal(p.operands[2], "b");
    assert_string_equal(p.operands[3], "--count");
    assert_string_equal(p.operands[4], "-v");
    assert_int_equal(p.all.verbose, 0);
}

static void lists_keep_their_order(void **state)
{
    struct parsed p;

    PARSE(&p, "-s", "one", "--skip=two", "x", "-sthree", "--skip", "");
    assert_int_equal(p.result, 0);
    assert_int_equal(p.all.skip.count, 4);
    assert_string_equal(p.all.skip.items[0], "one");
    assert_string_equal(p.all.skip.items[1], "two");
    assert_string_equal(p.all.skip.items[2], "three");
    assert_string_equal(p.all.skip.items[3], "");
    xk_opt_done(&p.lists);
    assert_null(p.lists.blocks);
}

static void a_later_word_wins(void **state)
{
    struct parsed p;

    PARSE(&p, "--out=a", "--parent", "-ob", "--no-parent", "--no-color", "--color");
    assert_string_equal(p.all.out, "b");
    assert_false(p.all.parent);
    assert_true(p.all.color);
}

static void abbreviations_are_refused_with_the_name(void **state)
{
    struct parsed p;

    PARSE(&p, "--par");
    assert_refused(&p, "unknown option --par", "did you mean --parent?");
    PARSE(&p, "--verbos");
    assert_refused(&p, "unknown option --verbos", "did you mean --verbose?");
    PARSE(&p, "--max-bat-", "1");
    assert_refused(&p, "unknown option --max-bat-", "did you mean --max-bat?");
    PARSE(&p, "--no-colour");
    assert_refused(&p, "unknown option --no-colour", "did you mean --no-color?");
    PARSE(&p, "--zzzzzz=1");
    assert_refused(&p, "unknown option --zzzzzz", "--help lists the options");
    PARSE(&p, "-pz");
    assert_refused(&p, "unknown option -z in \"-pz\"", "--help lists the options");
}

static void only_flags_have_a_no_form(void **state)
{
    struct parsed p;

    PARSE(&p, "--no-out");
    assert_int_equal(p.result, -EINVAL);
    PARSE(&p, "--no-");
    assert_int_equal(p.result, -EINVAL);
    PARSE(&p, "--no-verbose");
    assert_int_equal(p.result, -EINVAL);
}

static void values_are_wanted_or_not(void **state)
{
    struct parsed p;

    PARSE(&p, "--out");
    assert_refused(&p, "option --out needs a value (FILE)", "--out: write to FILE");
    PARSE(&p, "-po");
    assert_refused(&p, "option -o needs a value (FILE)", "-o: write to FILE");
    PARSE(&p, "--parent=yes");
    assert_refused(&p, "option --parent takes no value", "");
    PARSE(&p, "--no-parent=");
    assert_refused(&p, "option --no-parent takes no value", "");
}

static void numbers_are_whole_words_within_limits(void **state)
{
    struct parsed p;

    PARSE(&p, "--count=5x");
    assert_refused(&p, "option --count: \"5x\" is not a number", "a whole number is wanted, such as 42 or 0x2a");
    PARSE(&p, "--count=0");
    assert_refused(&p, "option --count: \"0\" is out of range", "it may be 1 to 100");
    PARSE(&p, "-n", "101");
    assert_refused(&p, "option -n: \"101\" is out of range", "it may be 1 to 100");
    PARSE(&p, "--count=99999999999999999999999");
    assert_refused(&p, "option --count: \"99999999999999999999999\" is out of range",
                   "a whole number is wanted, such as 42 or 0x2a");
    PARSE(&p, "--max-bat=many");
    assert_refused(&p, "option --max-bat: \"many\" is not a size", "a size is wanted, such as 512, 4k, 1M or 2GiB");
    PARSE(&p, "--time=-1");
    assert_int_equal(p.result, -EINVAL);
    PARSE(&p, "--ratio=nan");
    assert_int_equal(p.result, -EINVAL);
    PARSE(&p, "--rate=");
    assert_int_equal(p.result, -EINVAL);
}

static void very_long_words_are_cut_in_messages_only(void **state)
{
    char word[8192];
    struct parsed p;

    memset(word, 'a', sizeof(word) - 1);
    word[sizeof(word) - 1] = '\0';
    memcpy(word, "--", 2);
    PARSE(&p, word);
    assert_int_equal(p.result, -EINVAL);
    PARSE(&p, "--count", word);
    assert_int_equal(p.result, -EINVAL);
    PARSE(&p, "--format", word);
    assert_int_equal(p.result, -EINVAL);
    PARSE(&p, "-o", word);
    assert_int_equal(p.result, 0);
    assert_ptr_equal(p.all.out, word);
}

static void labels_are_columns(void **state)
{
    static const char *const wanted[] = {
        "-p, --parent",    "    --no-color",      "-v, --verbose", "-o, --out FILE",     "-s, --skip ID",
        "-n, --count N",   "    --shift N",       "    --ratio X", "    --max-bat SIZE", "-t, --time TIME",
        "    --rate RATE", "-f, --format FORMAT", "-x  ",
    };
    char label[64];

    for (size_t i = 0; i < XK_COUNT(wanted); i++) {
        xk_opt_label(label, sizeof(label), &all_opts[i]);
        assert_string_equal(label, wanted[i]);
    }
    assert_int_equal(all_opts[XK_COUNT(wanted)].kind, XK_OPT_KIND_END);
}

static void every_kind_has_a_name(void **state)
{
    for (int i = XK_OPT_KIND_END; i <= XK_OPT_KIND_CHOICE; i++) {
        for (int j = XK_OPT_KIND_END; j < i; j++)
            assert_string_not_equal(xk_opt_kind_name((enum xk_opt_kind)i), xk_opt_kind_name((enum xk_opt_kind)j));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_leaves_the_defaults),
        cmocka_unit_test(every_kind_is_read),
        cmocka_unit_test(a_choice_is_an_index),
        cmocka_unit_test(letters_are_bundled_and_values_follow),
        cmocka_unit_test(own_rows_come_before_common_ones),
        cmocka_unit_test(operands_and_options_mix),
        cmocka_unit_test(lists_keep_their_order),
        cmocka_unit_test(a_later_word_wins),
        cmocka_unit_test(abbreviations_are_refused_with_the_name),
        cmocka_unit_test(only_flags_have_a_no_form),
        cmocka_unit_test(values_are_wanted_or_not),
        cmocka_unit_test(numbers_are_whole_words_within_limits),
        cmocka_unit_test(very_long_words_are_cut_in_messages_only),
        cmocka_unit_test(labels_are_columns),
        cmocka_unit_test(every_kind_has_a_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
