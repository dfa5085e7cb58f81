/*
 * Dispatch, the options that every command has, and the one place where an error becomes text and exit status.
 *
 * `help` and `install-links` are rooms like others, so that parsing, --describe and completion need no second way.
 */
#include "core/door.h"

#include "core/text.h"

#include <assert.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

#define NAMES_MAX      128
#define EXIT_NO_READER (XK_EXIT_SIGNAL + SIGPIPE)
/* What a classic tool says when its output cannot be written. */
#define EXIT_CLASSIC_IO 1

const struct xk_opt xk_common_opts[] = {
    XK_OPT_FLAG('h', "help", struct xk_common, help, "show this text"),
    XK_OPT_FLAG(0, "version", struct xk_common, version, "show the version"),
    XK_OPT_FLAG(0, "json", struct xk_common, json, "print one JSON document"),
    XK_OPT_FLAG(0, "jsonl", struct xk_common, jsonl, "print one JSON object a line"),
    XK_OPT_FLAG(0, "csv", struct xk_common, csv, "print comma-separated values under a header"),
    XK_OPT_FLAG(0, "plain", struct xk_common, plain, "print values between tabs, without a header"),
    XK_OPT_ON(0, "color", struct xk_common, color, "print without colours, also on a terminal"),
    XK_OPT_FLAG('q', "quiet", struct xk_common, quiet, "print no warnings and no progress"),
    XK_OPT_COUNT('v', "verbose", struct xk_common, verbose,
                 "tell more, and at the end time and memory used; -vv: still more"),
    XK_OPT_TEXT('o', "out", struct xk_common, out, "FILE", "write the results to FILE [standard output]"),
    XK_OPT_END,
};

const struct xk_exit_row xk_common_exits[] = {
    {XK_EXIT_OK, "done"},
    {XK_EXIT_BAD, "the thing examined is bad"},
    {XK_EXIT_USAGE, "the command line is wrong"},
    {XK_EXIT_CANNOT, "cannot be done here: privilege or feature missing"},
    {XK_EXIT_REMOTE, "the far side failed"},
    {XK_EXIT_DAMAGED, "data damaged beyond safe use"},
    {XK_EXIT_IO, "input, output or memory failed"},
    {XK_EXIT_TIMEOUT, "out of time"},
    {XK_EXIT_SIGNAL, "stopped by signal n, results are partial"},
    {0, NULL},
};

static const struct xk_room help_room = {
    .name = "help",
    .summary = "explain a room or a verb",
    .commands = (const struct xk_command *const[]){&xk_help_verb, NULL},
    .plain = true,
};

static const struct xk_room links_room = {
    .name = "install-links",
    .summary = "make links of the classic names to this program",
    .commands = (const struct xk_command *const[]){&xk_links_verb, NULL},
    .plain = true,
};

const struct xk_room *const xk_house_rooms[] = {&help_room, &links_room, NULL};

const char *xk_env(const struct xk_app *app, const char *name)
{
    const size_t bytes = strlen(name);

    for (char **e = app->env; e && *e; e++) {
        if (strncmp(*e, name, bytes) == 0 && (*e)[bytes] == '=')
            return *e + bytes + 1;
    }
    return NULL;
}

/* ---- who is who ---- */

static const struct xk_room *find_in(const struct xk_room *const *rooms, const char *name)
{
    for (; *rooms; rooms++) {
        if (strcmp((*rooms)->name, name) == 0)
            return *rooms;
    }
    return NULL;
}

const struct xk_room *xk_room_find(const struct xk_app *app, const char *name)
{
    const struct xk_room *const room = find_in(app->rooms, name);

    return room ? room : find_in(xk_house_rooms, name);
}

const struct xk_command *xk_verb_find(const struct xk_room *room, const char *name)
{
    for (const struct xk_command *const *c = room->commands; *c; c++) {
        if (strcmp((*c)->name, name) == 0)
            return *c;
    }
    return NULL;
}

const struct xk_classic *xk_classic_find(const struct xk_app *app, const char *name)
{
    for (const struct xk_room *const *room = app->rooms; *room; room++) {
        for (const struct xk_classic *const *c = (*room)->classics; c && *c; c++) {
            if (strcmp((*c)->name, name) == 0)
                return *c;
        }
    }
    return NULL;
}

bool xk_is_format_option(const struct xk_opt *opt)
{
    return opt->offset == offsetof(struct xk_common, json) || opt->offset == offsetof(struct xk_common, jsonl) ||
           opt->offset == offsetof(struct xk_common, csv) || opt->offset == offsetof(struct xk_common, plain);
}

const char *xk_kind_name(enum xk_command_kind kind)
{
    return kind == XK_SERVER ? "server" : kind == XK_INTERACTIVE ? "interactive" : "one_shot";
}

/* ---- mistakes ---- */

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

/* The name that a word was short or wrong for; NULL: none is near. */
static const char *meant(const char *word, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (word[0] && xk_has_prefix(names[i], word))
            return names[i];
    }
    return xk_nearest(word, names, count, sizeof(*names));
}

int xk_unknown_room(const struct xk_app *app, const char *word, struct xk_err *err)
{
    const char *names[NAMES_MAX];
    size_t count = 0;

    for (const struct xk_room *const *room = app->rooms; *room; room++) {
        if (count < NAMES_MAX)
            names[count++] = (*room)->name;
        for (const struct xk_classic *const *c = (*room)->classics; c && *c && count < NAMES_MAX; c++)
            names[count++] = (*c)->name;
    }
    for (const struct xk_room *const *room = xk_house_rooms; *room && count < NAMES_MAX; room++)
        names[count++] = (*room)->name;
    const char *const near = meant(word, names, count);
    (void)usage(err, word[0] == '-' ? "unknown option \"%s\"" : "there is no room \"%s\"", word);
    if (near)
        xk_err_hint(err, "did you mean xenkit %s?", near);
    else
        xk_err_hint(err, "xenkit help lists the rooms");
    return -EINVAL;
}

int xk_unknown_verb(const struct xk_room *room, const char *word, struct xk_err *err)
{
    const char *names[NAMES_MAX];
    size_t count = 0;

    for (const struct xk_command *const *c = room->commands; *c && count < NAMES_MAX; c++)
        names[count++] = (*c)->name;
    const char *const near = meant(word, names, count);
    (void)usage(err, word[0] == '-' ? "%s: a verb comes before the option \"%s\"" : "%s has no verb \"%s\"", room->name,
                word);
    if (near)
        xk_err_hint(err, "did you mean xenkit %s %s?", room->name, near);
    else
        xk_err_hint(err, "xenkit help %s lists the verbs", room->name);
    return -EINVAL;
}

/* ---- endings ---- */

/*
 * Close the output and say what went wrong.
 *
 * result    what the command returned; err goes with a negative one.
 * returns   the exit status.
 */
static int conclude(struct xk_app *app, int result, struct xk_err *err, enum xk_command_kind kind)
{
    struct xk_out *const out = app->out;
    const int signal_number = kind == XK_SERVER ? 0 : xk_stop_signal();
    struct xk_err write_err = {0};

    if (result < 0 && err->code == 0)
        (void)xk_fail_sys(err, result, "it failed");
    if (result >= 0 && signal_number) {
        (void)xk_fail(err, -EINTR, "stopped by signal %d; the results are partial", signal_number);
        err->exit = XK_EXIT_SIGNAL + signal_number;
    }
    /* What is done so far stands in a -o FILE also after a stop; only a document says in itself that it is partial. */
    const bool tell = result < 0 || (err->code && xk_out_format(out) == XK_OUT_JSON);
    const int written = xk_out_finish(out, tell ? err : NULL, &write_err);
    xk_out_close(out);
    app->out = NULL;
    if (written == -EPIPE)
        return EXIT_NO_READER;
    if (err->code && !(written < 0 && err->code == written))
        xk_log_err(app->log, err);
    if (written < 0) {
        xk_err_exit(&write_err, XK_EXIT_IO);
        xk_log_err(app->log, &write_err);
    }
    return err->code ? err->exit : written < 0 ? write_err.exit : result;
}

/* An error before there is an output: with --json among the words there still is a document. */
static int refuse(struct xk_app *app, const struct xk_err *err, bool json)
{
    const struct xk_out_settings settings = {.format = XK_OUT_JSON, .fs = app->fs};
    struct xk_err write_err = {0};
    int written = 0;

    if (json && xk_out_open(&app->out, &settings, NULL) == 0) {
        written = xk_out_finish(app->out, err, &write_err);
        xk_out_close(app->out);
        app->out = NULL;
    }
    if (written == -EPIPE)
        return EXIT_NO_READER;
    xk_log_err(app->log, err);
    if (written < 0)
        xk_log_err(app->log, &write_err);
    return err->exit;
}

static int open_text(struct xk_app *app, struct xk_err *err)
{
    const struct xk_out_settings settings = {.format = XK_OUT_TABLE, .fs = app->fs, .color = app->log->color};

    return xk_out_open(&app->out, &settings, err);
}

static void tell_cost(struct xk_app *app, uint64_t started_ns)
{
    const uint64_t elapsed_ns = app->clock->monotonic_ns(app->clock) - started_ns;
    struct rusage self;

    if (app->log->level < XK_LOG_INFO || getrusage(RUSAGE_SELF, &self) < 0)
        return;
    const uint64_t cpu_us = ((uint64_t)self.ru_utime.tv_sec + (uint64_t)self.ru_stime.tv_sec) * 1000000 +
                            (uint64_t)self.ru_utime.tv_usec + (uint64_t)self.ru_stime.tv_usec;
    xk_log(app->log, XK_LOG_INFO, "%s elapsed, %s of processor time, %s of memory at most", xk_duration(elapsed_ns).s,
           xk_duration(cpu_us * 1000).s, xk_size((uint64_t)self.ru_maxrss * XK_KIB).s);
}

/* ---- a command ---- */

static int check_common(const struct xk_command *command, const struct xk_common *common, int operands,
                        struct xk_err *err)
{
    const int formats = common->json + common->jsonl + common->csv + common->plain;

    if (formats > 1)
        return usage(err, "only one of --json, --jsonl, --csv and --plain can be given");
    if (formats && command->raw)
        return usage(err, "%s prints no records, so it takes no output format", command->name);
    if (common->quiet && common->verbose)
        return usage(err, "--quiet and --verbose contradict each other");
    if (operands < command->min_operands) {
        (void)usage(err, "%s: an operand is missing: %s", command->name, command->operands);
        xk_err_hint(err, "--help says how %s is used", command->name);
        return -EINVAL;
    }
    if (command->max_operands >= 0 && operands > command->max_operands) {
        if (command->max_operands == 0)
            (void)usage(err, "%s takes no operands", command->name);
        else
            (void)usage(err, "%s: too many operands, it takes %s", command->name, command->operands);
        xk_err_hint(err, "--help says how %s is used", command->name);
        return -EINVAL;
    }
    return 0;
}

static enum xk_out_format format_of(const struct xk_common *common)
{
    return common->json    ? XK_OUT_JSON
           : common->jsonl ? XK_OUT_JSONL
           : common->csv   ? XK_OUT_CSV
           : common->plain ? XK_OUT_PLAIN
                           : XK_OUT_TABLE;
}

static void set_log(struct xk_log *log, const struct xk_common *common)
{
    if (common->quiet)
        log->level = XK_LOG_ERROR;
    else if (common->verbose)
        log->level = common->verbose > 1 ? XK_LOG_DEBUG : XK_LOG_INFO;
    log->color = log->color && common->color;
}

static int show_version(struct xk_app *app)
{
    struct xk_err err = {0};

    if (open_text(app, &err) < 0)
        return refuse(app, &err, false);
    xk_out_rawf(app->out, "xenkit %s\n", XK_VERSION);
    return conclude(app, 0, &err, XK_ONE_SHOT);
}

static int show_help(struct xk_app *app, const struct xk_room *room, const struct xk_command *command)
{
    struct xk_err err = {0};

    if (open_text(app, &err) < 0)
        return refuse(app, &err, false);
    if (command)
        xk_help_command(app->out, room, command);
    else if (room)
        xk_help_room(app->out, room);
    else
        xk_help_house(app->out, app, true);
    return conclude(app, 0, &err, XK_ONE_SHOT);
}

static int open_results(struct xk_app *app, const struct xk_common *common, const char *const *operands, int count,
                        struct xk_err *err)
{
    const struct xk_out_settings settings = {
        .format = format_of(common), .file = common->out, .color = app->log->color, .fs = app->fs};

    int r = xk_out_open(&app->out, &settings, err);
    if (r < 0)
        return r;
    for (int i = 0; i < count && r == 0; i++)
        r = xk_out_check_source(app->out, operands[i], err);
    if (r < 0) {
        xk_out_close(app->out);
        app->out = NULL;
    }
    return r;
}

static int run_command(struct xk_app *app, const struct xk_room *room, const struct xk_command *command, int argc,
                       char **argv, bool json)
{
    const uint64_t started_ns = app->clock->monotonic_ns(app->clock);
    struct xk_common common = {.color = true};
    xk_auto(xk_opt_done) struct xk_opt_memory lists = {0};
    xk_autofree void *opts = xk_zalloc(command->opts_bytes);
    xk_autofree const char **operands = xk_array_alloc((size_t)argc + 1, sizeof(*operands));
    struct xk_err err = {0};
    int count = 0;

    if (!opts || !operands) {
        (void)xk_fail_memory(&err);
        return refuse(app, &err, json);
    }
    if (command->defaults)
        memcpy(opts, command->defaults, command->opts_bytes);
    const struct xk_opt_set sets[] = {{command->opts, opts}, {xk_common_opts, &common}};
    int r = xk_opt_parse(sets, XK_COUNT(sets), argc, argv, operands, &count, &lists, &err);
    if (r == 0 && common.help)
        return show_help(app, room, command);
    if (r == 0 && common.version)
        return show_version(app);
    if (r == 0)
        r = check_common(command, &common, count, &err);
    if (r == 0) {
        set_log(app->log, &common);
        r = open_results(app, &common, operands, count, &err);
    }
    if (r < 0)
        return refuse(app, &err, json);
    const struct xk_args args = {.opts = opts, .operands = operands, .count = count};
    r = command->run(app, &args, &err);
    const int status = conclude(app, r, &err, command->kind);
    tell_cost(app, started_ns);
    return status;
}

static int run_classic(struct xk_app *app, const struct xk_classic *classic, int argc, char **argv)
{
    struct xk_err err = {0};

    if (open_text(app, &err) < 0)
        return refuse(app, &err, false);
    const int status = classic->run(app, argc, argv);
    const int written = xk_out_finish(app->out, NULL, &err);
    xk_out_close(app->out);
    app->out = NULL;
    if (written == -EPIPE)
        return EXIT_NO_READER;
    if (written < 0) {
        xk_log_err(app->log, &err);
        return status ? status : classic->unsaid ? classic->unsaid : EXIT_CLASSIC_IO;
    }
    const int signal_number = classic->kind == XK_SERVER ? 0 : xk_stop_signal();
    return status == 0 && signal_number ? XK_EXIT_SIGNAL + signal_number : status;
}

/* ---- the words ---- */

static bool has_json(int argc, char **argv)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--json") == 0)
            return true;
    }
    return false;
}

static bool is_help(const char *word)
{
    return strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0;
}

static int run_room(struct xk_app *app, const struct xk_room *room, int argc, char **argv, bool json)
{
    struct xk_err err = {0};

    if (room->plain)
        return run_command(app, room, room->commands[0], argc, argv, json);
    if (argc == 0) {
        (void)usage(&err, "%s needs a verb", room->name);
        xk_err_hint(&err, "xenkit help %s lists them", room->name);
        return refuse(app, &err, json);
    }
    const struct xk_command *const command = xk_verb_find(room, argv[0]);
    if (command)
        return run_command(app, room, command, argc - 1, argv + 1, json);
    if (is_help(argv[0]))
        return show_help(app, room, NULL);
    if (strcmp(argv[0], "--version") == 0)
        return show_version(app);
    (void)xk_unknown_verb(room, argv[0], &err);
    return refuse(app, &err, json);
}

/* What the completion files and the contract test ask. */
static int answer(struct xk_app *app, int argc, char **argv)
{
    struct xk_err err = {0};
    int r = 0;

    if (open_text(app, &err) < 0)
        return refuse(app, &err, false);
    if (strcmp(argv[0], "--describe") == 0)
        r = xk_describe(app->out, app, &err);
    else
        xk_complete(app->out, app, argc - 2, argv + 2);
    return conclude(app, r, &err, XK_ONE_SHOT);
}

static int run_first_word(struct xk_app *app, int argc, char **argv, bool json)
{
    const char *const word = argv[0];
    struct xk_err err = {0};
    const struct xk_room *const room = xk_room_find(app, word);

    if (room)
        return run_room(app, room, argc - 1, argv + 1, json);
    const struct xk_classic *const classic = xk_classic_find(app, word);
    if (classic)
        return run_classic(app, classic, argc, argv);
    if (is_help(word))
        return show_help(app, NULL, NULL);
    if (strcmp(word, "--version") == 0)
        return show_version(app);
    if (strcmp(word, "--describe") == 0 && argc == 1)
        return answer(app, argc, argv);
    if (strcmp(word, "--complete") == 0 && argc > 1 && strcmp(argv[1], "--") == 0)
        return answer(app, argc, argv);
    (void)xk_unknown_room(app, word, &err);
    return refuse(app, &err, json);
}

int xk_door(const struct xk_app *house, int argc, char **argv)
{
    struct xk_log log = *house->log;
    struct xk_app app = *house;
    struct xk_err err = {0};

    assert(house->rooms && house->clock && house->fs);
    app.log = &log;
    const char *const no_color = xk_env(&app, "NO_COLOR");
    const char *const term = xk_env(&app, "TERM");
    if ((no_color && no_color[0]) || (term && strcmp(term, "dumb") == 0))
        log.color = false;
    const struct xk_classic *const classic = argc > 0 ? xk_classic_find(&app, xk_base_name(argv[0])) : NULL;
    if (classic)
        return run_classic(&app, classic, argc, argv);
    if (argc > 1)
        return run_first_word(&app, argc - 1, argv + 1, has_json(argc - 1, argv + 1));
    if (open_text(&app, &err) < 0)
        return refuse(&app, &err, false);
    xk_help_house(app.out, &app, false);
    return conclude(&app, 0, &err, XK_ONE_SHOT);
}
