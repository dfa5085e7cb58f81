/*
 * A command's options as one table of rows.
 *
 * Parsing, --help, completion, --describe and the check of the man page all read the same rows. Values land in a
 * struct of the command's own, whose address the parser is given; each row names its member by offset.
 *
 *     struct query { bool parent; uint64_t max_bat; };
 *     static const struct xk_opt query_opts[] = {
 *         XK_OPT_FLAG('p', "parent",  struct query, parent,  "show the parent's locator and path"),
 *         XK_OPT_SIZE( 0,  "max-bat", struct query, max_bat, "SIZE", "refuse larger block tables [64M]"),
 *         XK_OPT_END
 *     };
 */
#ifndef XK_OPT_H
#define XK_OPT_H

#include "core/err.h"

enum xk_opt_kind {
    XK_OPT_KIND_END,
    XK_OPT_KIND_FLAG,     /* bool; also --no-NAME, which makes it false */
    XK_OPT_KIND_COUNT,    /* unsigned, one more each time */
    XK_OPT_KIND_TEXT,     /* const char *, points into argv; not empty where arg is FILE, DIR or PATH */
    XK_OPT_KIND_LIST,     /* struct xk_words: may be given again */
    XK_OPT_KIND_U64,      /* uint64_t between min and max */
    XK_OPT_KIND_I64,      /* int64_t */
    XK_OPT_KIND_DOUBLE,   /* double */
    XK_OPT_KIND_SIZE,     /* uint64_t bytes */
    XK_OPT_KIND_DURATION, /* uint64_t nanoseconds */
    XK_OPT_KIND_RATE,     /* uint64_t bits a second */
    XK_OPT_KIND_CHOICE,   /* int: index in choices */
};

/* The values of a repeated option, in order. The memory belongs to the parser's result. */
struct xk_words {
    const char **items;
    size_t count;
};

struct xk_opt {
    enum xk_opt_kind kind;
    char letter;                /* 0: none */
    const char *name;           /* without the dashes; NULL: letter only */
    size_t offset;              /* of the member in the command's struct */
    const char *arg;            /* what the value is called in help: FILE, SIZE, N; NULL for flags */
    const char *help;           /* one line, lower case, the default in [brackets] */
    const char *const *choices; /* NULL-ended, for CHOICE */
    uint64_t min, max;          /* U64, SIZE, DURATION, RATE: limits, both inclusive; max 0: no limit */
};

/* The member's type is checked at compile time. */
#define XK_OPT_AT_(type, member, want)                                                                                 \
    (offsetof(type, member) +                                                                                          \
     0 * sizeof(char[__builtin_types_compatible_p(__typeof__(((type *)0)->member), want) ? 1 : -1]))

#define XK_OPT_FLAG(l, n, t, m, h)                                                                                     \
    {                                                                                                                  \
        .kind = XK_OPT_KIND_FLAG, .letter = (l), .name = (n), .offset = XK_OPT_AT_(t, m, bool), .help = (h)            \
    }
/* A flag that is on unless --no-NAME is given; help shows that form, so the help text says what that does. */
#define XK_OPT_ON(l, n, t, m, h)                                                                                       \
    {                                                                                                                  \
        .kind = XK_OPT_KIND_FLAG, .letter = (l), .name = (n), .offset = XK_OPT_AT_(t, m, bool), .help = (h), .min = 1  \
    }
#define XK_OPT_COUNT(l, n, t, m, h)                                                                                    \
    {                                                                                                                  \
        .kind = XK_OPT_KIND_COUNT, .letter = (l), .name = (n), .offset = XK_OPT_AT_(t, m, unsigned), .help = (h)       \
    }
#define XK_OPT_TEXT(l, n, t, m, a, h)                                                                                  \
    {                                                                                                                  \
        .kind = XK_OPT_KIND_TEXT, .letter = (l), .name = (n), .offset = XK_OPT_AT_(t, m, const char *), .arg = (a),    \
        .help = (h)                                                                                                    \
    }
#define XK_OPT_LIST(l, n, t, m, a, h)                                                                                  \
    {                                                                                                                  \
        .kind = XK_OPT_KIND_LIST, .letter = (l), .name = (n), .offset = XK_OPT_AT_(t, m, struct xk_words), .arg = (a), \
        .help = (h)                                                                                                    \
    }
#define XK_OPT_U64(l, n, t, m, a, lo, hi, h)                                                                           \
    {                                                                                                                  \
        .kind = XK_OPT_KIND_U64, .letter = (l), .name = (n), .offset = XK_OPT_AT_(t, m, uint64_t), .arg = (a),         \
        .help = (h), .min = (lo), .max = (hi)                                                                          \
    }
#define XK_OPT_I64(l, n, t, m, a, h)                                                                                   \
    {                                                                                                                  \
        .kind = XK_OPT_KIND_I64, .letter = (l), .name = (n), .offset = XK_OPT_AT_(t, m, int64_t), .arg = (a),          \
        .help = (h)                                                                                                    \
    }
#define XK_OPT_DOUBLE(l, n, t, m, a, h)                                                                                \
    {                                                                                                                  \
        .kind = XK_OPT_KIND_DOUBLE, .letter = (l), .name = (n), .offset = XK_OPT_AT_(t, m, double), .arg = (a),        \
        .help = (h)                                                                                                    \
    }
#define XK_OPT_SIZE(l, n, t, m, a, h)                                                                                  \
    {                                                                                                                  \
        .kind = XK_OPT_KIND_SIZE, .letter = (l), .name = (n), .offset = XK_OPT_AT_(t, m, uint64_t), .arg = (a),        \
        .help = (h)                                                                                                    \
    }
#define XK_OPT_DURATION(l, n, t, m, a, h)                                                                              \
    {                                                                                                                  \
        .kind = XK_OPT_KIND_DURATION, .letter = (l), .name = (n), .offset = XK_OPT_AT_(t, m, uint64_t), .arg = (a),    \
        .help = (h)                                                                                                    \
    }
#define XK_OPT_RATE(l, n, t, m, a, h)                                                                                  \
    {                                                                                                                  \
        .kind = XK_OPT_KIND_RATE, .letter = (l), .name = (n), .offset = XK_OPT_AT_(t, m, uint64_t), .arg = (a),        \
        .help = (h)                                                                                                    \
    }
#define XK_OPT_CHOICE(l, n, t, m, a, c, h)                                                                             \
    {                                                                                                                  \
        .kind = XK_OPT_KIND_CHOICE, .letter = (l), .name = (n), .offset = XK_OPT_AT_(t, m, int), .arg = (a),           \
        .help = (h), .choices = (c)                                                                                    \
    }
#define XK_OPT_END                                                                                                     \
    {                                                                                                                  \
        .kind = XK_OPT_KIND_END                                                                                        \
    }

/* One table and the struct its rows point into. */
struct xk_opt_set {
    const struct xk_opt *opts; /* ends with XK_OPT_END; NULL: none */
    void *into;
};

/*
 * Parse argv[0 … argc-1] (the words after the command's name).
 *
 * sets      `set_count` tables, searched in order (the command's own, then the common ones). Their structs hold the
 *           defaults on entry. Options and operands may be mixed; "--" ends the options; "-" is an operand.
 *           Short flags can be bundled (-qv), a value can follow at once (-o FILE, -oFILE, --out=FILE, --out FILE).
 *           Names must be whole: an abbreviation is refused with a suggestion.
 * operands  room for argc words; the first *ret_operands of them are the operands, in order.
 * lists     holds the memory of repeated options; the caller ends it with xk_opt_done().
 * returns   0; -EINVAL with a sentence and a hint (exit class usage); -ENOMEM.
 */
struct xk_opt_memory {
    void *blocks;
};
int xk_opt_parse(const struct xk_opt_set *sets, size_t set_count, int argc, char **argv, const char **operands,
                 int *ret_operands, struct xk_opt_memory *lists, struct xk_err *err);
void xk_opt_done(struct xk_opt_memory *lists);

/* The left column of help and of the man page: "-o, --out FILE", "    --json". `ret` is a fixed buffer. */
void xk_opt_label(char *ret, size_t bytes, const struct xk_opt *opt);
/* "flag", "size", … for --describe. */
const char *xk_opt_kind_name(enum xk_opt_kind kind);

#endif
