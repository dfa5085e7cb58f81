/*
 * Words of a command line become members of a struct, row by row.
 *
 * A word is looked up in the tables each time (they have a few dozen rows at most) rather than in an index built
 * first: nothing is allocated, and the order "the command's own rows before the common ones" needs no merging.
 * getopt_long() was weighed: it keeps global state, runs abbreviations, and has no types.
 */
#include "core/opt.h"

#include "core/text.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* Enough for the names of all tables together; more are left out of the suggestion only. */
#define OPT_NAMES_MAX 256

struct words_block {
    struct words_block *next;
    const char *items[];
};

struct parse {
    const struct xk_opt_set *sets;
    size_t set_count;
    int argc;
    char **argv;
    int at;
    struct xk_opt_memory *lists;
    struct xk_err *err;
};

/* A row, the struct that it fills, and how it was spelled. */
struct hit {
    const struct xk_opt *opt;
    void *into;
    bool negated;
    char label[72];
};

static int usage(struct xk_err *err, const char *format, ...) XK_PRINTF(2, 3);

static int usage(struct xk_err *err, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)xk_vfail(err, -EINVAL, format, args);
    va_end(args);
    xk_err_exit(err, XK_EXIT_USAGE);
    return -EINVAL;
}

static bool takes_value(const struct xk_opt *opt)
{
    return opt->kind != XK_OPT_KIND_FLAG && opt->kind != XK_OPT_KIND_COUNT;
}

static bool find_name(struct hit *ret, const struct parse *p, const char *name, size_t bytes)
{
    for (int negated = 0; negated <= 1; negated++) {
        if (negated && (bytes <= 3 || strncmp(name, "no-", 3) != 0))
            return false;
        const char *const want = negated ? name + 3 : name;
        const size_t want_bytes = negated ? bytes - 3 : bytes;
        for (size_t i = 0; i < p->set_count; i++) {
            for (const struct xk_opt *o = p->sets[i].opts; o && o->kind != XK_OPT_KIND_END; o++) {
                if (!o->name || strlen(o->name) != want_bytes || memcmp(o->name, want, want_bytes) != 0)
                    continue;
                if (negated && o->kind != XK_OPT_KIND_FLAG)
                    continue;
                *ret = (struct hit){.opt = o, .into = p->sets[i].into, .negated = negated};
                snprintf(ret->label, sizeof(ret->label), "--%s%s", negated ? "no-" : "", o->name);
                return true;
            }
        }
    }
    return false;
}

static bool find_letter(struct hit *ret, const struct parse *p, char letter)
{
    for (size_t i = 0; i < p->set_count; i++) {
        for (const struct xk_opt *o = p->sets[i].opts; o && o->kind != XK_OPT_KIND_END; o++) {
            if (!o->letter || o->letter != letter)
                continue;
            *ret = (struct hit){.opt = o, .into = p->sets[i].into};
            snprintf(ret->label, sizeof(ret->label), "-%c", letter);
            return true;
        }
    }
    return false;
}

static int unknown_name(const struct parse *p, const char *name, size_t bytes)
{
    const char *names[OPT_NAMES_MAX];
    size_t count = 0;
    char word[64];
    const char *begins = NULL;

    snprintf(word, sizeof(word), "%.*s", (int)XK_MIN(bytes, sizeof(word) - 1), name);
    const char *const bare = xk_has_prefix(word, "no-") ? word + 3 : word;
    for (size_t i = 0; i < p->set_count; i++) {
        for (const struct xk_opt *o = p->sets[i].opts; o && o->kind != XK_OPT_KIND_END; o++) {
            if (!o->name || count == OPT_NAMES_MAX)
                continue;
            names[count++] = o->name;
            if (!begins && strlen(bare) >= 2 && xk_has_prefix(o->name, bare))
                begins = o->name;
        }
    }
    const char *near = begins ? begins : xk_nearest(bare, names, count, sizeof(*names));
    const int code = usage(p->err, "unknown option --%s", word);
    if (near)
        xk_err_hint(p->err, "did you mean --%s%s?", bare != word ? "no-" : "", near);
    else
        xk_err_hint(p->err, "--help lists the options");
    return code;
}

static int no_value(const struct parse *p, const struct hit *hit)
{
    const int code = usage(p->err, "option %s needs a value (%s)", hit->label, hit->opt->arg);

    xk_err_hint(p->err, "%s: %s", hit->label, hit->opt->help);
    return code;
}

/* ---- values ---- */

static const char *value_hint(enum xk_opt_kind kind)
{
    switch (kind) {
    case XK_OPT_KIND_U64:
        return "a whole number is wanted, such as 42 or 0x2a";
    case XK_OPT_KIND_I64:
        return "a whole number is wanted, such as 42 or -42";
    case XK_OPT_KIND_DOUBLE:
        return "a number is wanted, such as 0.5";
    case XK_OPT_KIND_SIZE:
        return "a size is wanted, such as 512, 4k, 1M or 2GiB";
    case XK_OPT_KIND_DURATION:
        return "a time is wanted, such as 10s, 250ms or 2h";
    case XK_OPT_KIND_RATE:
        return "a rate is wanted, such as 100Mbit or 10MB/s";
    default:
        return NULL;
    }
}

static int bad_value(const struct parse *p, const struct hit *hit, int code, const char *word)
{
    const char *const hint = value_hint(hit->opt->kind);

    (void)usage(p->err, code == -ERANGE ? "option %s: \"%s\" is out of range" : "option %s: \"%s\" is not a %s",
                hit->label, word, hit->opt->kind == XK_OPT_KIND_DURATION ? "time" : xk_opt_kind_name(hit->opt->kind));
    if (hint)
        xk_err_hint(p->err, "%s", hint);
    return -EINVAL;
}

static void add_limit(char *ret, size_t bytes, enum xk_opt_kind kind, uint64_t v)
{
    switch (kind) {
    case XK_OPT_KIND_SIZE:
        snprintf(ret, bytes, "%s", xk_size(v).s);
        break;
    case XK_OPT_KIND_DURATION:
        snprintf(ret, bytes, "%s", xk_duration(v).s);
        break;
    case XK_OPT_KIND_RATE:
        snprintf(ret, bytes, "%s", xk_rate(v).s);
        break;
    default:
        snprintf(ret, bytes, "%llu", (unsigned long long)v);
    }
}

static int check_limits(const struct parse *p, const struct hit *hit, uint64_t value, const char *word)
{
    const struct xk_opt *const o = hit->opt;
    char low[48], high[48];

    if (value >= o->min && (!o->max || value <= o->max))
        return 0;
    add_limit(low, sizeof(low), o->kind, o->min);
    add_limit(high, sizeof(high), o->kind, o->max);
    (void)usage(p->err, "option %s: \"%s\" is out of range", hit->label, word);
    if (o->max)
        xk_err_hint(p->err, "it may be %s to %s", low, high);
    else
        xk_err_hint(p->err, "it must be at least %s", low);
    return -EINVAL;
}

static int set_choice(const struct parse *p, const struct hit *hit, const char *word, int *member)
{
    size_t count = 0;
    char all[XK_ERR_HINT_MAX - 40] = "";
    size_t used = 0;

    for (; hit->opt->choices[count]; count++) {
        if (strcmp(hit->opt->choices[count], word) == 0) {
            *member = (int)count;
            return 0;
        }
        if (used < sizeof(all)) {
            const int n = snprintf(all + used, sizeof(all) - used, "%s%s", count ? ", " : "", hit->opt->choices[count]);
            used += n > 0 ? (size_t)n : 0;
        }
    }
    const char *const near = xk_nearest(word, hit->opt->choices, count, sizeof(*hit->opt->choices));
    (void)usage(p->err, "option %s: \"%s\" is not one of %s", hit->label, word, all);
    if (near)
        xk_err_hint(p->err, "did you mean %s?", near);
    return -EINVAL;
}

/* A list has at most argc words, so its memory is taken once, at the first one; a default list is left behind then. */
static int add_word(const struct parse *p, const char *word, struct xk_words *member)
{
    struct words_block *block = p->lists->blocks;

    while (block && block->items != member->items)
        block = block->next;
    if (!block) {
        const size_t room = (size_t)p->argc;
        block = xk_alloc(sizeof(*block) + room * sizeof(block->items[0]));
        if (!block)
            return xk_fail_memory(p->err);
        block->next = p->lists->blocks;
        p->lists->blocks = block;
        *member = (struct xk_words){.items = block->items};
    }
    member->items[member->count++] = word;
    return 0;
}

static bool names_file(const struct xk_opt *o)
{
    static const char *const names[] = {"FILE", "DIR", "PATH"};

    for (size_t i = 0; i < XK_COUNT(names); i++)
        if (strcmp(o->arg, names[i]) == 0)
            return true;
    return false;
}

static int set_value(const struct parse *p, const struct hit *hit, const char *word)
{
    void *const member = (char *)hit->into + hit->opt->offset;
    uint64_t u = 0;
    int r = 0;

    switch (hit->opt->kind) {
    case XK_OPT_KIND_TEXT:
        if (word[0] == '\0' && names_file(hit->opt))
            return usage(p->err, "option %s: a file's name is empty", hit->label);
        *(const char **)member = word;
        return 0;
    case XK_OPT_KIND_LIST:
        return add_word(p, word, member);
    case XK_OPT_KIND_CHOICE:
        return set_choice(p, hit, word, member);
    case XK_OPT_KIND_I64:
        r = xk_parse_i64(member, word);
        return r < 0 ? bad_value(p, hit, r, word) : 0;
    case XK_OPT_KIND_DOUBLE:
        r = xk_parse_double(member, word);
        return r < 0 ? bad_value(p, hit, r, word) : 0;
    case XK_OPT_KIND_U64:
        r = xk_parse_u64(&u, word);
        break;
    case XK_OPT_KIND_SIZE:
        r = xk_parse_size(&u, word);
        break;
    case XK_OPT_KIND_DURATION:
        r = xk_parse_duration(&u, word);
        break;
    case XK_OPT_KIND_RATE:
        r = xk_parse_rate(&u, word);
        break;
    case XK_OPT_KIND_END:
    case XK_OPT_KIND_FLAG:
    case XK_OPT_KIND_COUNT:
        assert(takes_value(hit->opt));
    }
    if (r < 0)
        return bad_value(p, hit, r, word);
    r = check_limits(p, hit, u, word);
    if (r == 0)
        *(uint64_t *)member = u;
    return r;
}

static void set_switch(const struct hit *hit)
{
    void *const member = (char *)hit->into + hit->opt->offset;

    if (hit->opt->kind == XK_OPT_KIND_FLAG)
        *(bool *)member = !hit->negated;
    else
        *(unsigned *)member += 1;
}

/* ---- words ---- */

static int parse_long(struct parse *p, const char *word)
{
    const char *const equals = strchr(word, '=');
    const size_t bytes = equals ? (size_t)(equals - word) : strlen(word);
    struct hit hit;

    if (!find_name(&hit, p, word, bytes))
        return unknown_name(p, word, bytes);
    if (!takes_value(hit.opt)) {
        if (equals)
            return usage(p->err, "option %s takes no value", hit.label);
        set_switch(&hit);
        return 0;
    }
    if (equals)
        return set_value(p, &hit, equals + 1);
    if (p->at + 1 >= p->argc)
        return no_value(p, &hit);
    return set_value(p, &hit, p->argv[++p->at]);
}

static int parse_letters(struct parse *p, const char *word)
{
    for (const char *c = word; *c; c++) {
        struct hit hit;
        if (!find_letter(&hit, p, *c)) {
            const int code = usage(p->err, "unknown option -%c in \"-%s\"", *c, word);
            xk_err_hint(p->err, "--help lists the options");
            return code;
        }
        if (!takes_value(hit.opt)) {
            set_switch(&hit);
            continue;
        }
        if (c[1])
            return set_value(p, &hit, c + 1);
        if (p->at + 1 >= p->argc)
            return no_value(p, &hit);
        return set_value(p, &hit, p->argv[++p->at]);
    }
    return 0;
}

int xk_opt_parse(const struct xk_opt_set *sets, size_t set_count, int argc, char **argv, const char **operands,
                 int *ret_operands, struct xk_opt_memory *lists, struct xk_err *err)
{
    struct parse p = {.sets = sets, .set_count = set_count, .argc = argc, .argv = argv, .lists = lists, .err = err};
    int count = 0;
    bool ended = false;

    for (; p.at < argc; p.at++) {
        const char *const word = argv[p.at];
        int r = 0;
        if (ended || word[0] != '-' || !word[1])
            operands[count++] = word;
        else if (strcmp(word, "--") == 0)
            ended = true;
        else if (word[1] == '-')
            r = parse_long(&p, word + 2);
        else
            r = parse_letters(&p, word + 1);
        if (r < 0)
            return r;
    }
    *ret_operands = count;
    return 0;
}

void xk_opt_done(struct xk_opt_memory *lists)
{
    struct words_block *block = lists->blocks;

    while (block) {
        struct words_block *const next = block->next;
        free(block);
        block = next;
    }
    lists->blocks = NULL;
}

void xk_opt_label(char *ret, size_t bytes, const struct xk_opt *opt)
{
    char letter[5] = "    ";
    const char *const no = opt->kind == XK_OPT_KIND_FLAG && opt->min ? "no-" : "";

    if (opt->letter)
        snprintf(letter, sizeof(letter), "-%c%s", opt->letter, opt->name ? ", " : "  ");
    snprintf(ret, bytes, "%s%s%s%s%s%s", letter, opt->name ? "--" : "", opt->name ? no : "", opt->name ? opt->name : "",
             opt->arg ? " " : "", opt->arg ? opt->arg : "");
}

const char *xk_opt_kind_name(enum xk_opt_kind kind)
{
    switch (kind) {
    case XK_OPT_KIND_END:
        break;
    case XK_OPT_KIND_FLAG:
        return "flag";
    case XK_OPT_KIND_COUNT:
        return "count";
    case XK_OPT_KIND_TEXT:
        return "text";
    case XK_OPT_KIND_LIST:
        return "list";
    case XK_OPT_KIND_U64:
        return "number";
    case XK_OPT_KIND_I64:
        return "signed number";
    case XK_OPT_KIND_DOUBLE:
        return "decimal number";
    case XK_OPT_KIND_SIZE:
        return "size";
    case XK_OPT_KIND_DURATION:
        return "duration";
    case XK_OPT_KIND_RATE:
        return "rate";
    case XK_OPT_KIND_CHOICE:
        return "choice";
    }
    return "end";
}
