/*
 * The contract of every command, tried on the real binary.
 *
 * Which commands there are, and with which words each can be run, comes from `xenkit --describe`; so a new command is
 * tried without a new test. Its manual page is compared with its table of options: the section "## VERB" of
 * src/rooms/ROOM/xenkit-ROOM.1.scd ("# OPTIONS" for a room without verbs) has one line for each option, written
 * "*-o*, *--out* _FILE_".
 */
#include "core/base.h"
#include "core/text.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <json-c/json.h>
#include <pty.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>

#define WORDS_MAX       48
#define LABELS_MAX      128
#define TERMINAL_BYTES  (256 * 1024)
#define RUN_SECONDS_MAX 60

/* What examples may find in the folder that they are run in. */
static const char *const fixtures[][WORDS_MAX] = {
    {"vhd", "create", "--size", "4M", "sample.vhd", NULL},
};

struct plan {
    const char *xenkit, *source;
    const char *called; /* argv[0] */
    unsigned count, failed;
};

/* ---- TAP ---- */

static void test(struct plan *p, bool good, const char *format, ...) XK_PRINTF(3, 4);

static void test(struct plan *p, bool good, const char *format, ...)
{
    va_list args;

    p->count++;
    p->failed += !good;
    printf("%sok %u - ", good ? "" : "not ", p->count);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
}

static void tell(const char *what, const char *text)
{
    struct xk_buf clean = XK_BUF_INIT(4096);

    xk_add_clean(&clean, text);
    printf("# %s: %s\n", what, xk_buf_str(&clean));
    xk_buf_done(&clean);
}

static void give_up(const char *why)
{
    printf("Bail out! %s: %s\n", why, strerror(errno));
    exit(99);
}

/* ---- running it ---- */

struct ran {
    int status; /* as a shell says it: 128 + n when a signal killed it */
    char *out, *err;
    size_t out_bytes, err_bytes;
};

static void ran_done(struct ran *r)
{
    free(r->out);
    free(r->err);
    *r = (struct ran){0};
}

static char *read_whole(int fd, size_t *ret_bytes)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        give_up("fstat");
    char *const text = calloc(1, (size_t)st.st_size + 1);
    if (!text || pread(fd, text, (size_t)st.st_size, 0) != st.st_size)
        give_up("read");
    *ret_bytes = (size_t)st.st_size;
    return text;
}

static void become(const struct plan *p, int out, int err, char *const *argv)
{
    const int nothing = open("/dev/null", O_RDONLY);

    (void)dup2(nothing, STDIN_FILENO);
    if (out < 0)
        (void)close(STDOUT_FILENO);
    else
        (void)dup2(out, STDOUT_FILENO);
    (void)dup2(err, STDERR_FILENO);
    (void)signal(SIGPIPE, SIG_DFL);
    (void)alarm(RUN_SECONDS_MAX);
    (void)execv(p->xenkit, argv);
    _exit(127);
}

/* out: where standard output goes; -1: closed; -2: into ret->out. */
static void run_into(struct ran *ret, const struct plan *p, int out, const char *const *words)
{
    char *argv[WORDS_MAX + 2] = {(char *)(uintptr_t)p->called};
    const int kept = memfd_create("out", MFD_CLOEXEC), err = memfd_create("err", MFD_CLOEXEC);
    int status = 0;

    for (size_t i = 0; words[i]; i++)
        argv[i + 1] = (char *)(uintptr_t)words[i];
    if (kept < 0 || err < 0)
        give_up("memfd_create");
    (void)fflush(stdout);
    const pid_t child = fork();
    if (child < 0)
        give_up("fork");
    if (child == 0)
        become(p, out == -2 ? kept : out, err, argv);
    if (waitpid(child, &status, 0) != child)
        give_up("waitpid");
    ret->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    ret->out = read_whole(kept, &ret->out_bytes);
    ret->err = read_whole(err, &ret->err_bytes);
    close(kept);
    close(err);
}

static void run(struct ran *ret, const struct plan *p, const char *const *words)
{
    run_into(ret, p, -2, words);
}

/* On a terminal; both streams together. The terminal's buffer is small, so it is read while the command runs. */
static void run_on_terminal(struct ran *ret, const struct plan *p, const char *const *words)
{
    const struct winsize size = {.ws_row = 24, .ws_col = 100};
    struct termios raw = {0};
    char *argv[WORDS_MAX + 2] = {(char *)(uintptr_t)p->called};
    int master, slave, status = 0;

    for (size_t i = 0; words[i]; i++)
        argv[i + 1] = (char *)(uintptr_t)words[i];
    cfmakeraw(&raw);
    if (openpty(&master, &slave, NULL, &raw, &size) < 0)
        give_up("openpty");
    (void)fflush(stdout);
    const pid_t child = fork();
    if (child < 0)
        give_up("fork");
    if (child == 0) {
        close(master);
        become(p, slave, slave, argv);
    }
    close(slave);
    *ret = (struct ran){.out = calloc(1, TERMINAL_BYTES), .err = calloc(1, 1)};
    for (ssize_t n = 1; n > 0 && ret->out_bytes < TERMINAL_BYTES - 1;) {
        n = read(master, ret->out + ret->out_bytes, TERMINAL_BYTES - 1 - ret->out_bytes);
        ret->out_bytes += n > 0 ? (size_t)n : 0;
    }
    close(master);
    if (waitpid(child, &status, 0) != child)
        give_up("waitpid");
    ret->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* ---- JSON ---- */

/* NULL unless the text is exactly one value and a newline. */
static struct json_object *parse_whole(const char *text, size_t bytes)
{
    struct json_tokener *const tokener = json_tokener_new_ex(64);
    struct json_object *value = NULL;

    if (bytes < 2 || bytes > INT32_MAX || text[bytes - 1] != '\n')
        goto out;
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    value = json_tokener_parse_ex(tokener, text, (int)bytes - 1);
    if (json_tokener_get_error(tokener) != json_tokener_success || json_tokener_get_parse_end(tokener) != bytes - 1) {
        json_object_put(value);
        value = NULL;
    }
out:
    json_tokener_free(tokener);
    return value;
}

static struct json_object *member(struct json_object *o, const char *key)
{
    struct json_object *ret = NULL;

    if (!json_object_object_get_ex(o, key, &ret)) {
        printf("Bail out! --describe has no member \"%s\"\n", key);
        exit(99);
    }
    return ret;
}

static const char *text_of(struct json_object *o, const char *key)
{
    struct json_object *const value = member(o, key);

    return value ? json_object_get_string(value) : NULL;
}

/* Whether the document says it failed, with this status. */
static bool tells_error(struct json_object *document, int status)
{
    struct json_object *error = NULL, *exit_member = NULL, *message = NULL, *code = NULL;

    return json_object_object_get_ex(document, "error", &error) &&
           json_object_object_get_ex(error, "exit", &exit_member) &&
           json_object_object_get_ex(error, "message", &message) && json_object_object_get_ex(error, "code", &code) &&
           json_object_get_int(exit_member) == status && json_object_get_string_len(message) > 0 &&
           json_object_get_string(code)[0] == 'E';
}

/* ---- one command ---- */

struct command {
    struct json_object *row;
    char title[96];
    const char *words[WORDS_MAX]; /* room and verb */
    size_t word_count, example_count;
    bool raw;
};

/* room, verb, then extra words, then the example. */
static const char *const *with(const struct command *c, const char **storage, bool example, const char *const *extra)
{
    struct json_object *const words = member(c->row, "example");
    size_t n = c->word_count;

    memcpy(storage, c->words, n * sizeof(*storage));
    for (size_t i = 0; extra && extra[i]; i++)
        storage[n++] = extra[i];
    for (size_t i = 0; example && i < c->example_count; i++)
        storage[n++] = json_object_get_string(json_object_array_get_idx(words, i));
    storage[n] = NULL;
    return storage;
}

#define WITH(c, example, ...)                                                                                          \
    with((c), (const char *[WORDS_MAX]){NULL}, (example), (const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

static void label_of(char *ret, size_t bytes, struct json_object *option)
{
    const char *label = text_of(option, "label");

    label += strspn(label, " ");
    snprintf(ret, bytes, "%s", label);
}

static void check_help(struct plan *p, const struct command *c)
{
    static const char *const spellings[] = {"-h", "--help"};
    struct json_object *const options = member(c->row, "options");

    for (size_t i = 0; i < XK_COUNT(spellings); i++) {
        struct ran r;
        run(&r, p, WITH(c, false, spellings[i]));
        test(p, r.status == 0 && r.err_bytes == 0 && r.out_bytes > 0, "%s: %s is on standard output, with status 0",
             c->title, spellings[i]);
        bool all = true;
        for (size_t at = 0; at < json_object_array_length(options); at++) {
            char label[128];
            label_of(label, sizeof(label), json_object_array_get_idx(options, at));
            all = all && strstr(r.out, label);
        }
        test(p, all, "%s: %s lists every option", c->title, spellings[i]);
        ran_done(&r);
    }
}

static void check_usage(struct plan *p, const struct command *c)
{
    struct ran r;

    run(&r, p, WITH(c, true, "--no-such-option"));
    test(p, r.status == 2 && r.out_bytes == 0 && strstr(r.err, "no-such-option"),
         "%s: an unknown option is refused on standard error, with status 2", c->title);
    ran_done(&r);
    run(&r, p, WITH(c, true, "--json", "--no-such-option"));
    struct json_object *const document = parse_whole(r.out, r.out_bytes);
    test(p, r.status == 2 && tells_error(document, 2), "%s: with --json the refusal is a document", c->title);
    if (!document)
        tell("got", r.out);
    json_object_put(document);
    ran_done(&r);
    run(&r, p, WITH(c, true, "--json", "--csv"));
    test(p, r.status == 2, "%s: two formats are refused", c->title);
    ran_done(&r);
}

static void check_json(struct plan *p, const struct command *c)
{
    struct ran r;

    run(&r, p, WITH(c, true, "--json"));
    struct json_object *const document = parse_whole(r.out, r.out_bytes);
    test(p, json_object_is_type(document, json_type_object), "%s: --json prints one valid document", c->title);
    if (!document)
        tell("got", r.out);
    test(p, r.status < 2 || tells_error(document, r.status), "%s: status %d is told in the document", c->title,
         r.status);
    test(p, !c->raw || r.status == 2, "%s: a command without records refuses formats, others do not", c->title);
    json_object_put(document);
    ran_done(&r);
    if (c->raw)
        return;
    run(&r, p, WITH(c, true, "--jsonl"));
    bool valid = true;
    for (char *line = r.out, *end; valid && (end = strchr(line, '\n')); line = end + 1) {
        struct json_object *const value = parse_whole(line, (size_t)(end + 1 - line));
        valid = json_object_is_type(value, json_type_object);
        json_object_put(value);
    }
    test(p, valid && (r.out_bytes == 0 || r.out[r.out_bytes - 1] == '\n'), "%s: --jsonl prints an object a line",
         c->title);
    ran_done(&r);
    run(&r, p, WITH(c, true, "--json", "-o", "result.json"));
    const int fd = open("result.json", O_RDONLY | O_CLOEXEC);
    size_t bytes = 0;
    xk_autofree char *text = fd < 0 ? NULL : read_whole(fd, &bytes);
    struct json_object *const written = text ? parse_whole(text, bytes) : NULL;
    test(p, written && r.out_bytes == 0, "%s: -o writes the document to a file, and nothing elsewhere", c->title);
    json_object_put(written);
    if (fd >= 0)
        (void)close(fd);
    (void)unlink("result.json");
    ran_done(&r);
}

static void check_escapes(struct plan *p, const struct command *c)
{
    static const char *const formats[] = {NULL, "--json", "--jsonl", "--csv", "--plain"};
    bool clean = true;
    struct ran r;

    for (size_t i = 0; i < (c->raw ? 1 : XK_COUNT(formats)); i++) {
        run(&r, p, formats[i] ? WITH(c, true, formats[i]) : WITH(c, true));
        clean = clean && (c->raw || !memchr(r.out, '\033', r.out_bytes)) && !memchr(r.err, '\033', r.err_bytes);
        ran_done(&r);
    }
    test(p, clean, "%s: no ESC where there is no terminal", c->title);
    if (c->raw)
        return;
    if (setenv("NO_COLOR", "1", 1) < 0)
        give_up("setenv");
    run_on_terminal(&r, p, WITH(c, true));
    (void)unsetenv("NO_COLOR");
    test(p, !memchr(r.out, '\033', r.out_bytes), "%s: no ESC on a terminal with NO_COLOR", c->title);
    ran_done(&r);
    run_on_terminal(&r, p, WITH(c, true, "--no-color"));
    test(p, !memchr(r.out, '\033', r.out_bytes), "%s: no ESC on a terminal with --no-color", c->title);
    ran_done(&r);
}

/* What happens to output that has nowhere to go; only where there is output at all. */
static void check_output(struct plan *p, const struct command *c)
{
    struct ran usual, r;
    int ends[2];

    run(&usual, p, WITH(c, true, "-q"));
    const bool did_it = usual.status < 2;
    if (usual.out_bytes == 0) {
        test(p, !did_it || c->raw, "%s: its example prints something", c->title);
        ran_done(&usual);
        return;
    }
    const int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    run_into(&r, p, full, WITH(c, true, "-q"));
    test(p, (did_it ? r.status == 6 : r.status >= 2) && r.err_bytes > 0, "%s: a full device is an error", c->title);
    ran_done(&r);
    (void)close(full);
    run_into(&r, p, -1, WITH(c, true, "-q"));
    test(p, (did_it ? r.status == 6 : r.status >= 2) && r.err_bytes > 0, "%s: a closed output is an error", c->title);
    ran_done(&r);
    if (pipe2(ends, O_CLOEXEC) < 0)
        give_up("pipe");
    (void)close(ends[0]);
    run_into(&r, p, ends[1], WITH(c, true, "-q"));
    test(p, r.status == 141 && r.err_bytes == 0, "%s: a reader that went away is no reason to complain", c->title);
    if (r.err_bytes)
        tell("stderr", r.err);
    ran_done(&r);
    (void)close(ends[1]);
    ran_done(&usual);
}

static void check_rows(struct plan *p, const struct command *c, struct json_object *common)
{
    struct json_object *const options = member(c->row, "options");
    const char *const summary = text_of(c->row, "summary");
    bool good = true;

    test(p, summary && summary[0] && !strchr(summary, '\n') && !xk_has_suffix(summary, "."),
         "%s: the summary is one line without a period", c->title);
    for (size_t i = 0; i < json_object_array_length(options); i++) {
        struct json_object *const own = json_object_array_get_idx(options, i);
        const char *const name = text_of(own, "name"), *const letter = text_of(own, "letter");
        const char *const help = text_of(own, "help");
        good = good && (name || letter) && help && help[0];
        for (size_t j = 0; j < json_object_array_length(common); j++) {
            struct json_object *const other = json_object_array_get_idx(common, j);
            const char *const other_letter = text_of(other, "letter");
            if ((name && strcmp(name, text_of(other, "name")) == 0) ||
                (letter && other_letter && strcmp(letter, other_letter) == 0)) {
                tell("takes the place of a common option", text_of(own, "label"));
                good = false;
            }
        }
    }
    test(p, good, "%s: options are explained, and leave the common ones alone", c->title);
}

static void check_completion(struct plan *p, const struct command *c)
{
    struct json_object *const options = member(c->row, "options");
    const char *words[WORDS_MAX] = {"--complete", "--"};
    bool all = true;
    struct ran r;

    memcpy(words + 2, c->words, c->word_count * sizeof(*words));
    words[c->word_count + 2] = "--";
    run(&r, p, words);
    for (size_t i = 0; i < json_object_array_length(options); i++) {
        char line[128];
        char label[128];
        label_of(label, sizeof(label), json_object_array_get_idx(options, i));
        const char *const name = strstr(label, "--");
        snprintf(line, sizeof(line), "%.*s\n", name ? (int)strcspn(name, " ") : 0, name ? name : "");
        all = all && (!name || strstr(r.out, line));
    }
    test(p, all && r.status == 0 && strstr(r.out, "--help\n"), "%s: completion offers every option", c->title);
    ran_done(&r);
}

/* ---- the manual page ---- */

struct labels {
    char text[LABELS_MAX][128];
    size_t count;
};

static bool has_label(const struct labels *l, const char *label)
{
    for (size_t i = 0; i < l->count; i++) {
        if (strcmp(l->text[i], label) == 0)
            return true;
    }
    return false;
}

/* "*-o*, *--out* _FILE_" without its marks: a backslash takes the next character as it is. */
static void add_label(struct labels *l, const char *line)
{
    char *const to = l->text[l->count];
    size_t n = 0;

    for (; *line && *line != '\n' && n < sizeof(l->text[0]) - 1; line++) {
        if (*line == '*' || *line == '_')
            continue;
        if (*line == '\\' && line[1])
            line++;
        to[n++] = *line;
    }
    to[n] = '\0';
    l->count += l->count < LABELS_MAX - 1;
}

/* The options of the section with that heading, up to the next heading of the same or a higher level. */
static bool read_section(struct labels *ret, const char *path, const char *heading)
{
    FILE *const file = fopen(path, "re");
    char line[1024];
    size_t level = 0;
    bool found = false;

    *ret = (struct labels){0};
    while (file && fgets(line, sizeof(line), file)) {
        const size_t hashes = strspn(line, "#");
        line[strcspn(line, "\n")] = '\0';
        if (hashes && level && hashes <= level)
            level = 0;
        if (hashes && line[hashes] == ' ' && strcmp(line + hashes + 1, heading) == 0) {
            level = hashes;
            found = true;
        }
        if (level && xk_has_prefix(line, "*-"))
            add_label(ret, line);
    }
    if (file)
        (void)fclose(file);
    return found;
}

/* The options by which every command reaches a pool stand in xenkit(1), once, for those that take all of them. */
static void read_access(struct labels *ret, const struct plan *p, const struct labels *table)
{
    char path[512];

    snprintf(path, sizeof(path), "%s/docs/xenkit.1.scd", p->source);
    (void)read_section(ret, path, "ACCESS TO A POOL");
    for (size_t i = 0; i < ret->count; i++)
        if (!has_label(table, ret->text[i]))
            ret->count = 0;
}

static void compare_page(struct plan *p, const char *title, const char *path, const char *heading,
                         struct json_object *options)
{
    static struct labels access;
    struct labels page, table = {0};
    bool same = true;

    test(p, read_section(&page, path, heading), "%s: the manual page has a section %s", title, heading);
    for (size_t i = 0; i < json_object_array_length(options) && table.count < LABELS_MAX - 1; i++)
        label_of(table.text[table.count++], sizeof(table.text[0]), json_object_array_get_idx(options, i));
    read_access(&access, p, &table);
    for (size_t i = 0; i < table.count; i++) {
        if (!has_label(&page, table.text[i]) && !has_label(&access, table.text[i])) {
            tell("not in the manual page", table.text[i]);
            same = false;
        }
    }
    for (size_t i = 0; i < page.count; i++) {
        if (!has_label(&table, page.text[i])) {
            tell("only in the manual page", page.text[i]);
            same = false;
        }
    }
    test(p, same, "%s: the options of the manual page are those of the table", title);
}

static void check_page(struct plan *p, const struct command *c, const char *room, bool plain, bool house)
{
    char path[512], heading[64];

    if (house)
        snprintf(path, sizeof(path), "%s/docs/xenkit.1.scd", p->source);
    else
        snprintf(path, sizeof(path), "%s/src/rooms/%s/xenkit-%s.1.scd", p->source, room, room);
    snprintf(heading, sizeof(heading), "%s", plain && !house ? "OPTIONS" : text_of(c->row, "name"));
    for (char *h = heading; *h; h++)
        *h = (char)toupper((unsigned char)*h);
    compare_page(p, c->title, path, heading, member(c->row, "options"));
}

/* ---- the house ---- */

static void check_command(struct plan *p, struct json_object *room, struct json_object *row, struct json_object *common,
                          bool house)
{
    struct command c = {.row = row, .raw = json_object_get_boolean(member(row, "raw"))};
    struct json_object *const words = member(row, "words"), *const example = member(row, "example");
    size_t used = 0;

    for (; c.word_count < json_object_array_length(words) && c.word_count < 4; c.word_count++) {
        c.words[c.word_count] = json_object_get_string(json_object_array_get_idx(words, c.word_count));
        const int n = snprintf(c.title + used, sizeof(c.title) - used, "%s%s", used ? " " : "", c.words[c.word_count]);
        used += n > 0 ? (size_t)n : 0;
    }
    check_rows(p, &c, common);
    check_help(p, &c);
    check_page(p, &c, text_of(room, "name"), json_object_get_boolean(member(room, "plain")), house);
    check_completion(p, &c);
    if (strcmp(text_of(row, "kind"), "one_shot") != 0)
        return;
    c.example_count = example ? json_object_array_length(example) : 0;
    test(p, example && c.example_count < WORDS_MAX / 2, "%s: it has an example", c.title);
    check_usage(p, &c);
    check_json(p, &c);
    check_escapes(p, &c);
    check_output(p, &c);
}

static void check_verbs_are_offered(struct plan *p, struct json_object *room)
{
    const char *const name = text_of(room, "name");
    struct json_object *const commands = member(room, "commands");
    struct xk_buf wanted = XK_BUF_INIT(64 * 1024);
    struct ran r;

    for (size_t i = 0; i < json_object_array_length(commands); i++)
        xk_buf_printf(&wanted, "%s\n", text_of(json_object_array_get_idx(commands, i), "name"));
    run(&r, p, (const char *const[]){"--complete", "--", name, "", NULL});
    if (!json_object_get_boolean(member(room, "plain")))
        test(p, r.status == 0 && strcmp(r.out, xk_buf_str(&wanted)) == 0, "%s: completion offers its verbs", name);
    ran_done(&r);
    run(&r, p, (const char *const[]){name, "--help", NULL});
    test(p, r.status == 0 && r.err_bytes == 0, "%s: --help explains the room", name);
    ran_done(&r);
    xk_buf_done(&wanted);
}

/* Through a link of its name a classic tool is the same as behind "xenkit NAME". */
static void check_classic(struct plan *p, struct json_object *row)
{
    const char *const name = text_of(row, "name");
    struct ran direct, linked;
    char path[256];

    snprintf(path, sizeof(path), "links/%s", name);
    run(&direct, p, (const char *const[]){name, "no-such-word", NULL});
    const char *const xenkit = p->xenkit;
    p->xenkit = p->called = path;
    run(&linked, p, (const char *const[]){"no-such-word", NULL});
    p->xenkit = xenkit;
    p->called = "xenkit";
    test(p, linked.status == direct.status && linked.status < 126, "%s: the same through its link", name);
    ran_done(&direct);
    ran_done(&linked);
    run(&direct, p, (const char *const[]){"help", name, NULL});
    test(p, direct.status == 0 && strstr(direct.out, text_of(row, "summary")), "%s: help explains it", name);
    ran_done(&direct);
    test(p, unlink(path) == 0, "%s: install-links made its link", name);
}

static void check_classics(struct plan *p, struct json_object *all)
{
    struct json_object *const rooms = member(all, "rooms");
    struct ran r;

    if (mkdir("links", 0700) < 0)
        give_up("mkdir");
    run(&r, p, (const char *const[]){"install-links", "links", NULL});
    test(p, r.status == 0, "install-links makes the links");
    ran_done(&r);
    for (size_t i = 0; i < json_object_array_length(rooms); i++) {
        struct json_object *const classics = member(json_object_array_get_idx(rooms, i), "classics");
        for (size_t j = 0; j < json_object_array_length(classics); j++)
            check_classic(p, json_object_array_get_idx(classics, j));
    }
    test(p, rmdir("links") == 0, "install-links leaves nothing else");
}

static void check_rooms(struct plan *p, struct json_object *all, const char *key)
{
    struct json_object *const rooms = member(all, key), *const common = member(all, "common_options");

    for (size_t i = 0; i < json_object_array_length(rooms); i++) {
        struct json_object *const room = json_object_array_get_idx(rooms, i);
        struct json_object *const commands = member(room, "commands");
        check_verbs_are_offered(p, room);
        for (size_t j = 0; j < json_object_array_length(commands); j++)
            check_command(p, room, json_object_array_get_idx(commands, j), common, strcmp(key, "house") == 0);
    }
}

static void check_house(struct plan *p, struct json_object *all)
{
    char path[512];
    struct ran r;

    snprintf(path, sizeof(path), "%s/docs/xenkit.1.scd", p->source);
    compare_page(p, "every command", path, "OPTIONS", member(all, "common_options"));
    run(&r, p, (const char *const[]){NULL});
    size_t lines = 0;
    for (const char *c = r.out; *c; c++)
        lines += *c == '\n';
    test(p, r.status == 0 && r.err_bytes == 0 && lines > 0 && lines <= 40, "xenkit alone fits on a screen");
    ran_done(&r);
    run(&r, p, (const char *const[]){"no-such-room", NULL});
    test(p, r.status == 2 && r.out_bytes == 0 && r.err_bytes > 0, "an unknown room is refused with status 2");
    ran_done(&r);
    run(&r, p, (const char *const[]){"--version", NULL});
    test(p, r.status == 0 && xk_has_prefix(r.out, "xenkit "), "--version tells the version");
    ran_done(&r);
}

static void make_fixtures(const struct plan *p)
{
    for (size_t i = 0; i < XK_COUNT(fixtures); i++) {
        struct ran r;
        run(&r, p, fixtures[i]);
        if (r.status != 0)
            tell("a fixture could not be made", r.err);
        ran_done(&r);
    }
}

/*
 * A simulated pool for the examples of the commands that need one; they find it, and its password, in the environment.
 * returns   its process; -1: it did not start, and those commands will say so.
 */
static pid_t start_pool(const struct plan *p, const char *folder)
{
    static const char *const words[] = {"xenkit", "sim", "--plain", "--hosts", "1", "--vms", "3", NULL};
    char url[256] = "", path[512];
    int ends[2];
    size_t used = 0;
    ssize_t got;

    if (pipe2(ends, O_CLOEXEC) < 0)
        give_up("pipe");
    (void)fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        (void)dup2(ends[1], STDOUT_FILENO);
        (void)alarm(10 * RUN_SECONDS_MAX);
        (void)execv(p->xenkit, (char *const *)(uintptr_t)words);
        _exit(127);
    }
    (void)close(ends[1]);
    while (!memchr(url, '\t', used) && (got = read(ends[0], url + used, sizeof(url) - used - 1)) > 0)
        used += (size_t)got;
    (void)close(ends[0]);
    url[strcspn(url, "\t")] = '\0';
    snprintf(path, sizeof(path), "%s/password", folder);
    FILE *const file = fopen(path, "we");
    if (file) {
        (void)fputs("xenkit\n", file);
        (void)fclose(file);
    }
    (void)setenv("XENKIT_POOL", url, 1);
    (void)setenv("XENKIT_PASSWORD_FILE", path, 1);
    (void)setenv("XDG_STATE_HOME", folder, 1);
    return child;
}

static void stop_pool(pid_t pool)
{
    static const char *const left[] = {"password", "xenkit/certificates", "xenkit/certificates.lock"};
    glob_t locks = {0};

    if (pool > 0) {
        (void)kill(pool, SIGTERM);
        (void)waitpid(pool, NULL, 0);
    }
    for (size_t i = 0; i < XK_COUNT(left); i++)
        (void)unlink(left[i]);
    if (glob("xenkit/sessions/*", 0, NULL, &locks) == 0)
        for (size_t i = 0; i < locks.gl_pathc; i++)
            (void)unlink(locks.gl_pathv[i]);
    globfree(&locks);
    (void)rmdir("xenkit/sessions");
    (void)rmdir("xenkit");
}

int main(void)
{
    struct plan p = {.xenkit = getenv("XENKIT"), .source = getenv("XENKIT_SOURCE"), .called = "xenkit"};
    char folder[] = "/tmp/xenkit-contract-XXXXXX";
    struct ran r;

    if (!p.xenkit || !p.source) {
        printf("Bail out! XENKIT names the binary, XENKIT_SOURCE the source tree\n");
        return 99;
    }
    xk_autofree char *xenkit = realpath(p.xenkit, NULL);
    xk_autofree char *source = realpath(p.source, NULL);
    p.xenkit = xenkit;
    p.source = source;
    if (!xenkit || !source || !mkdtemp(folder) || chdir(folder) < 0)
        give_up("the folder of the test");
    (void)unsetenv("NO_COLOR");
    (void)setenv("TERM", "xterm", 1);

    run(&r, &p, (const char *const[]){"--describe", NULL});
    struct json_object *const all = parse_whole(r.out, r.out_bytes);
    test(&p, all && r.status == 0 && r.err_bytes == 0, "--describe is one valid document");
    ran_done(&r);
    if (all) {
        make_fixtures(&p);
        const pid_t pool = start_pool(&p, folder);
        check_house(&p, all);
        check_rooms(&p, all, "house");
        check_rooms(&p, all, "rooms");
        check_classics(&p, all);
        stop_pool(pool);
        json_object_put(all);
    }
    printf("1..%u\n", p.count);
    (void)unlink("sample.vhd");
    if (chdir("/") == 0 && rmdir(folder) < 0) {
        printf("# something stayed in %s\n", folder);
        return 1;
    }
    return p.failed ? 1 : 0;
}
