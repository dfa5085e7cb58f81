/*
 * The words that the classic `xe` takes for itself: options of the command line first, then XE_EXTRA_ARGS, then the
 * file ~/.xe. What is left of all three goes to the command, in the same order.
 */
#include "rooms/api/classic-xe.h"

#include "core/text.h"

#include <stdio.h>
#include <string.h>

#define RC_BYTES_MAX (1u << 20)

struct reader {
    struct xe_options *o;
    struct xk_app *app;
    struct xk_arena *arena;
    struct xe_front front; /* for messages */
    enum xe_parsed result;
};

static void wrong(struct reader *r, enum xe_parsed result, const char *text)
{
    xe_say_error(&r->front, "%s", text);
    r->result = result;
}

/* The whole of "true" and "false", as the real one's language wants them. */
static bool truth(struct reader *r, const char *value)
{
    if (strcmp(value, "true") != 0 && strcmp(value, "false") != 0)
        wrong(r, XE_PARSED_FAILED, "Unhandled exception\nInvalid_argument(\"bool_of_string\")\n");
    return strcmp(value, "true") == 0;
}

static void set_port(struct reader *r, const char *value)
{
    uint64_t port = 0;

    if (xk_parse_u64(&port, value) < 0 || port > 65535)
        wrong(r, XE_PARSED_USAGE, "Port number must be an integer (0-65535)\n");
    r->o->port = value;
}

/* It becomes a line of every request. */
static bool is_header(const char *value)
{
    const char *c = value;

    while (*c >= ' ' && *c <= '~')
        c++;
    return !*c && c - value <= CLIENT_TRACE_BYTES_MAX;
}

static void set_trace(struct reader *r, const char *value)
{
    if (is_header(value))
        r->o->trace = value;
    else
        wrong(r, XE_PARSED_FAILED, "Error: --traceparent: no value that a header can have\n");
}

/* returns   whether it is a word for the client. */
static bool set(struct reader *r, const char *name, const char *value)
{
    struct xe_options *const o = r->o;

    if (strcmp(name, "server") == 0)
        o->server = value;
    else if (strcmp(name, "port") == 0)
        set_port(r, value);
    else if (strcmp(name, "username") == 0)
        o->user = value;
    else if (strcmp(name, "password") == 0)
        o->password = value, o->password_said = true;
    else if (strcmp(name, "passwordfile") == 0)
        o->password_file = value;
    else if (strcmp(name, "nossl") == 0)
        o->no_tls = truth(r, value);
    else if (strcmp(name, "debug") == 0)
        o->debug = strcmp(value, "true") == 0;
    else if (strcmp(name, "debugonfail") == 0)
        o->debug_on_fail = strcmp(value, "true") == 0;
    else if (strcmp(name, "traceparent") == 0)
        set_trace(r, value);
    else
        return false;
    return true;
}

static void keep(struct reader *r, const char *word)
{
    r->o->words[r->o->word_count++] = word;
}

static void take_words(struct reader *r, const char *const *words, size_t count)
{
    static const struct {
        const char *word, *name, *value; /* value NULL: the next word */
    } options[] = {{"-s", "server", NULL},         {"-p", "port", NULL},
                   {"-u", "username", NULL},       {"-pw", "password", NULL},
                   {"-pwf", "passwordfile", NULL}, {"--nossl", "nossl", "true"},
                   {"--debug", "debug", "true"},   {"--debug-on-fail", "debugonfail", "true"},
                   {"-h", "server", NULL},         {"--traceparent", "traceparent", NULL}};

    for (size_t i = 0; i < count && r->result == XE_PARSED; i++) {
        const char *const word = words[i], *const mark = strchr(word, '=');
        bool taken = false;
        for (size_t j = 0; j < XK_COUNT(options) && !taken; j++) {
            if (strcmp(word, options[j].word) != 0 || (!options[j].value && i + 1 == count))
                continue;
            taken = set(r, options[j].name, options[j].value ? options[j].value : words[++i]);
        }
        if (!taken && strcmp(word, "--no-session-cache") == 0)
            taken = r->o->no_session_cache = true;
        if (!taken && mark) {
            const char *const name = xk_arena_strndup(r->arena, word, (size_t)(mark - word));
            taken = name && set(r, name, mark + 1);
        }
        if (!taken)
            keep(r, word);
    }
}

/* ---- ~/.xe ---- */

/* Lines NAME=VALUE; one that is none spoils the whole file. */
static void take_rc(struct reader *r, const char **rest, size_t *rest_count, size_t rest_max)
{
    const char *const home = xk_env(r->app, "HOME");
    const char *const path = xk_arena_printf(r->arena, "%s/.xe", home ? home : "");
    char *text = NULL;

    if (!path || xk_slurp(&text, r->app->root, path, RC_BYTES_MAX, NULL) < 0)
        return;
    const char *const copy = xk_arena_strdup(r->arena, text);
    free(text);
    bool whole = copy != NULL;
    for (const char *line = copy; whole && *line; line += strcspn(line, "\n"), line += *line == '\n') {
        const size_t len = strcspn(line, "\n");
        whole = len == 0 || memchr(line, '=', len);
    }
    if (!whole) {
        xe_say_error(&r->front, "Error parsing rc file. No defaults loaded\n");
        return;
    }
    for (const char *line = copy; *line && r->result == XE_PARSED;) {
        const size_t len = strcspn(line, "\n");
        char *const word = xk_arena_strndup(r->arena, line, len);
        char *const mark = word ? strchr(word, '=') : NULL;
        line += len + (line[len] == '\n');
        if (!mark)
            continue;
        *mark = '\0';
        const bool taken = set(r, word, mark + 1);
        *mark = '=';
        if (!taken && *rest_count < rest_max)
            rest[(*rest_count)++] = word;
    }
    r->o->password_said = false;
}

/* ---- XE_EXTRA_ARGS ---- */

/* Words between commas; "\," is a comma in a word, and every backslash is dropped. */
static size_t cut_extra(struct reader *r, const char *text, const char **words, size_t max)
{
    size_t count = 0;

    while (*text && count < max) {
        struct xk_buf word = XK_BUF_INIT(RC_BYTES_MAX);
        if (*text == ',') {
            text++;
            continue;
        }
        for (; *text && !(*text == ',' && text[-1] != '\\'); text++)
            if (*text != '\\')
                xk_buf_add_char(&word, *text);
        const char *const copy = xk_arena_strdup(r->arena, xk_buf_str(&word));
        xk_buf_done(&word);
        text += *text == ',';
        if (copy)
            words[count++] = copy;
    }
    return count;
}

/* ---- all of them ---- */

/* The second line of the file; the first one is the user. */
static void read_password_file(struct reader *r)
{
    char *text = NULL;

    if (xk_slurp(&text, "", r->o->password_file, RC_BYTES_MAX, NULL) < 0) {
        xe_say_error(&r->front, "Error opening password file '%s'\n", r->o->password_file);
        r->result = XE_PARSED_FAILED;
        return;
    }
    char *const second = strchr(text, '\n');
    if (!second || !second[1]) {
        wrong(r, XE_PARSED_FAILED,
              "Error: password file format: expecting username on the first line, password on the second line\n");
    } else {
        r->o->user = xk_arena_strndup(r->arena, text, (size_t)(second - text));
        r->o->password = xk_arena_strndup(r->arena, second + 1, strcspn(second + 1, "\n"));
        r->o->password_said = true;
    }
    explicit_bzero(text, strlen(text));
    free(text);
}

/* What stands after -pw and password= is nobody else's business. */
static void wipe(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        char *const mark = strchr(argv[i], '=');
        if (strcmp(argv[i], "-pw") == 0 && i + 1 < argc)
            memset(argv[i + 1], 'x', strlen(argv[i + 1]));
        else if (mark && strncmp(argv[i], "password=", 9) == 0)
            memset(mark + 1, 'x', strlen(mark + 1));
    }
}

enum xe_parsed xe_options_read(struct xe_options *ret, struct xk_app *app, struct xk_arena *arena, int argc,
                               char **argv)
{
    struct reader r = {.o = ret, .app = app, .arena = arena, .front = {.app = app}, .result = XE_PARSED};
    const char **const words = xk_arena_alloc(arena, 4 * XE_ARGS_MAX * sizeof(*words));
    const char **const own = words + XE_ARGS_MAX, **const extra = own + XE_ARGS_MAX, **const rest = extra + XE_ARGS_MAX;
    const char *const extra_text = xk_env(app, "XE_EXTRA_ARGS");
    size_t own_count = 0, rest_count = 0;
    bool help = false;

    *ret = (struct xe_options){.server = "127.0.0.1", .user = "root", .password = "null"};
    if (!words || argc > XE_ARGS_MAX) {
        xe_say_error(&r.front, "Error: the command line is too long\n");
        return XE_PARSED_FAILED;
    }
    ret->words = words;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-version") == 0)
            return XE_PARSED_VERSION;
        help |= strcmp(argv[i], "-help") == 0 || strcmp(argv[i], "--help") == 0;
        own[own_count] = xk_arena_strdup(arena, argv[i]);
        if (own[own_count])
            own_count++;
    }
    wipe(argc, argv);
    take_rc(&r, rest, &rest_count, XE_ARGS_MAX / 4);
    /* What comes first has the last word: the file, then the environment, then the command line. */
    const size_t extra_count = extra_text ? cut_extra(&r, extra_text, extra, XE_ARGS_MAX / 4) : 0;
    take_words(&r, extra, extra_count);
    const size_t extra_left = ret->word_count;
    memcpy(extra, words, extra_left * sizeof(*words));
    ret->word_count = 0;
    take_words(&r, own, XK_MIN(own_count, (size_t)XE_ARGS_MAX / 2));
    memcpy(words + ret->word_count, extra, extra_left * sizeof(*words));
    ret->word_count += extra_left;
    memcpy(words + ret->word_count, rest, rest_count * sizeof(*words));
    ret->word_count += rest_count;
    const char *const trace = xk_env(app, "TRACEPARENT");
    if (trace && *trace)
        set_trace(&r, trace);
    const char *const baggage = xk_env(app, "BAGGAGE");
    if (baggage && *baggage && !is_header(baggage))
        wrong(&r, XE_PARSED_FAILED, "Error: BAGGAGE: no value that a header can have\n");
    else if (baggage && *baggage)
        ret->baggage = baggage;
    if (r.result == XE_PARSED && help)
        return XE_PARSED_USAGE;
    if (r.result == XE_PARSED && ret->password_file)
        read_password_file(&r);
    return r.result == XE_PARSED && ret->word_count == 0 ? XE_PARSED_USAGE : r.result;
}
