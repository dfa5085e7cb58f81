/*
 * The classic `vhd-util`: its command table, output and options.
 *
 * Options have a small getopt of their own: the C library's keeps its state in globals and writes to stderr by itself.
 * The original writes text through stdio and raw data through write(2), so that in a file the data stand before text
 * that was printed earlier; the text buffer here has the same size and gives the same order.
 */
#include "rooms/vhd/classic.h"

#include "rooms/vhd/room.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

/* ---- output ---- */

void vhd_classic_flush(struct vhd_classic *c)
{
    xk_out_raw(c->app->out, c->text, c->text_bytes);
    c->text_bytes = 0;
    xk_out_flush(c->app->out);
}

static void add_text(struct vhd_classic *c, const char *text, size_t count)
{
    while (count > 0) {
        if (c->text_bytes == sizeof(c->text))
            vhd_classic_flush(c);
        const size_t piece = XK_MIN(count, sizeof(c->text) - c->text_bytes);
        memcpy(c->text + c->text_bytes, text, piece);
        c->text_bytes += piece;
        text += piece;
        count -= piece;
    }
}

void vhd_classic_say(struct vhd_classic *c, const char *format, ...)
{
    char *text = NULL;
    va_list args;

    va_start(args, format);
    const int count = vasprintf(&text, format, args);
    va_end(args);
    if (count < 0)
        return;
    add_text(c, text, (size_t)count);
    free(text);
    if (xk_out_is_terminal(c->app->out))
        vhd_classic_flush(c);
}

void vhd_classic_complain(struct vhd_classic *c, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    if (c->app->log->fd >= 0)
        vdprintf(c->app->log->fd, format, args);
    va_end(args);
}

int vhd_classic_data(struct vhd_classic *c, const void *bytes, size_t count)
{
    xk_out_raw(c->app->out, bytes, count);
    xk_out_flush(c->app->out);
    const int error = xk_out_error(c->app->out);
    return error > 0 ? -error : error;
}

void vhd_classic_debug(const struct vhd_classic *c, const char *format, ...)
{
    va_list args;

    if (!c->debug)
        return;
    va_start(args, format);
    vsyslog(LOG_INFO, format, args);
    va_end(args);
}

int vhd_classic_code(struct vhd_classic *c, int code, const struct xk_err *err)
{
    if (code < 0)
        vhd_classic_debug(c, "vhd-util: %s", err->text);
    /* That another file has the name now is seen by no other means. The original is silent: it does not ask. */
    if (code == -ESTALE && err->text[0])
        vhd_classic_complain(c, "vhd-util: %s\n", err->text);
    return code == -EBADMSG || code == -ENOTSUP || code == -ESTALE ? -EINVAL : code;
}

const char *vhd_classic_clean(struct vhd_classic *c, const char *text)
{
    return xk_out_is_terminal(c->app->out) ? xk_out_clean(c->app->out, text) : text;
}

/* ---- options ---- */

struct vhd_classic_options vhd_classic_options(struct vhd_classic *c, int argc, char **argv, const char *letters)
{
    return (struct vhd_classic_options){
        .classic = c, .argc = argc, .argv = argv, .letters = letters, .at = 1, .first_operand = 1, .last_operand = 1};
}

static bool is_option(const char *word)
{
    return word[0] == '-' && word[1] != '\0';
}

/* Put the options just read, argv[last_operand … at-1], before the operands that were skipped. */
static void move_operands(struct vhd_classic_options *o)
{
    const int operands = o->last_operand - o->first_operand;
    for (int i = 0; i < operands; i++) {
        char *const operand = o->argv[o->first_operand];
        memmove(&o->argv[o->first_operand], &o->argv[o->first_operand + 1],
                (size_t)(o->at - 1 - o->first_operand) * sizeof(*o->argv));
        o->argv[o->at - 1] = operand;
    }
    o->first_operand += o->at - o->last_operand;
    o->last_operand = o->at;
}

/* Step to the next word with options. returns false at the end; the operands are then known. */
static bool next_word(struct vhd_classic_options *o)
{
    const bool in_order = xk_env(o->classic->app, "POSIXLY_CORRECT") != NULL;

    move_operands(o);
    while (!in_order && o->at < o->argc && !is_option(o->argv[o->at]))
        o->at++;
    o->last_operand = o->at;
    if (o->at < o->argc && strcmp(o->argv[o->at], "--") == 0) {
        o->at++;
        move_operands(o);
        o->at = o->argc;
    } else if (o->at < o->argc && is_option(o->argv[o->at])) {
        o->in_word = o->argv[o->at++] + 1;
        return true;
    }
    o->operands = o->argv + o->first_operand;
    o->operand_count = o->argc - o->first_operand;
    return false;
}

int vhd_classic_option(struct vhd_classic_options *o)
{
    if ((!o->in_word || !*o->in_word) && !next_word(o))
        return -1;

    const char letter = *o->in_word++;
    const char *const known = letter == ':' ? NULL : strchr(o->letters, letter);
    if (!known) {
        vhd_classic_complain(o->classic, "%s: invalid option -- '%c'\n", o->argv[0], letter);
        return '?';
    }
    o->value = NULL;
    if (known[1] != ':')
        return letter;
    if (*o->in_word) {
        o->value = o->in_word;
        o->in_word = NULL;
    } else if (o->at < o->argc) {
        o->value = o->argv[o->at++];
    } else {
        vhd_classic_complain(o->classic, "%s: option requires an argument -- '%c'\n", o->argv[0], letter);
        return '?';
    }
    return letter;
}

bool vhd_classic_number(uint64_t *ret, const char *word)
{
    char *end;

    while (isspace((unsigned char)*word))
        word++;
    if (!isdigit((unsigned char)word[*word == '+']))
        return false;
    errno = 0;
    *ret = strtoull(word, &end, 10);
    return *end == '\0' && errno == 0;
}

bool vhd_classic_signed_number(int64_t *ret, const char *word)
{
    char *end;

    errno = 0;
    *ret = strtoll(word, &end, 10);
    return end != word && *end == '\0' && errno == 0;
}

bool vhd_classic_mib(uint64_t *ret_bytes, const char *word)
{
    uint64_t mib;
    return vhd_classic_number(&mib, word) && !xk_mul(mib, XK_MIB, ret_bytes);
}

bool vhd_classic_fails_at(struct vhd_classic *c, const char *point)
{
    if (!xk_env(c->app, point))
        return false;
    vhd_classic_say(c, "Failing at %s\n", point);
    return true;
}

/* ---- commands ---- */

/* In the order of the usage line. */
static const struct {
    const char *name;
    vhd_classic_command *run;
} commands[] = {
    {"create", vhd_classic_create}, {"snapshot", vhd_classic_snapshot}, {"query", vhd_classic_query},
    {"read", vhd_classic_read},     {"set", vhd_classic_set},           {"repair", vhd_classic_repair},
    {"resize", vhd_classic_resize}, {"fill", vhd_classic_fill},         {"coalesce", vhd_classic_coalesce},
    {"modify", vhd_classic_modify}, {"scan", vhd_classic_scan},         {"check", vhd_classic_check},
    {"revert", vhd_classic_revert}, {"key", vhd_classic_key},           {"copy", vhd_classic_copy},
};

static int help(struct vhd_classic *c)
{
    vhd_classic_say(c, "usage: vhd-util COMMAND [OPTIONS]\n");
    for (size_t i = 0; i < XK_COUNT(commands); i++)
        vhd_classic_say(c, i == 0 ? "COMMAND := { %s" : " | %s", commands[i].name);
    vhd_classic_say(c, " }\n");
    return 0;
}

/* argv[0] becomes the command's name, which the messages about options begin with. */
static int run_command(struct vhd_classic *c, int argc, char **argv)
{
    if (argc < 2)
        return help(c);

    for (size_t i = 0; i < XK_COUNT(commands); i++) {
        if (strcmp(argv[1], commands[i].name) != 0)
            continue;
        int count = 0;
        xk_autofree char **words = xk_array_alloc((size_t)argc, sizeof(*words));
        if (!words)
            return -ENOMEM;
        for (int n = 1; n < argc; n++) {
            if (n > 1 && strcmp(argv[n], "--debug") == 0)
                c->debug = true;
            else
                words[count++] = argv[n];
        }
        return commands[i].run(c, count, words);
    }
    vhd_classic_complain(c, "invalid COMMAND %s\n", argv[1]);
    return help(c);
}

static int run(struct xk_app *app, int argc, char **argv)
{
    struct vhd_classic c = {.app = app};

    const int result = run_command(&c, argc, argv);
    vhd_classic_flush(&c);
    return abs(result);
}

static const struct xk_exit_row exits[] = {
    {0, "done; also no command, an unknown command, and -h of snapshot, query, scan, check and key"},
    {2, "ENOENT: no such file, or the parent is missing"},
    {5, "EIO: a file ends early, or the disk failed"},
    {13, "EACCES: permission denied"},
    {22, "EINVAL: wrong usage, -h of the other commands, or an image that is not sound"},
    {28, "ENOSPC: the disk is full, or a snapshot would be deeper than its limit"},
    {32, "EPIPE: a part lies behind the end of the file"},
    {34, "ERANGE: a block or sector behind the end of the disk"},
    {38, "ENOSYS: not possible with this kind of image or volume"},
    {40, "ELOOP: an image is its own ancestor"},
    {0, NULL},
};

const struct xk_classic vhd_classic_vhd_util = {
    .name = "vhd-util",
    .summary = "the VHD tool of XenServer, with its options, texts and statuses",
    .run = run,
    .kind = XK_ONE_SHOT,
    .exits = exits,
};
