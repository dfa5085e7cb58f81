/*
 * xenkit --complete: the shells' files hand over the words so far and show what comes back. All knowledge is in the
 * tables, so a new verb needs no new completion file.
 */
#include "core/door.h"

#include "core/text.h"

#include <string.h>

/* The last word, split where it is --name=value. */
struct asked {
    struct xk_offer offer; /* first: a command's own candidates come back through it */
    struct xk_out *out;
    const char *word;   /* what a candidate must begin with */
    const char *before; /* printed before each candidate: "--name=" */
    int before_bytes;
};

static void offer(const struct asked *a, const char *candidate)
{
    if (xk_has_prefix(candidate, a->word))
        xk_out_rawf(a->out, "%.*s%s\n", a->before_bytes, a->before, candidate);
}

static void take_candidate(const struct xk_offer *to, const char *candidate)
{
    offer((const struct asked *)to, candidate);
}

static void offer_rooms(const struct asked *a, const struct xk_app *app, bool classics)
{
    for (const struct xk_room *const *room = app->rooms; *room; room++) {
        offer(a, (*room)->name);
        for (const struct xk_classic *const *c = (*room)->classics; classics && c && *c; c++)
            offer(a, (*c)->name);
    }
    for (const struct xk_room *const *room = xk_house_rooms; *room; room++)
        offer(a, (*room)->name);
}

static void offer_verbs(const struct asked *a, const struct xk_room *room)
{
    for (const struct xk_command *const *c = room->commands; *c && !room->plain; c++)
        offer(a, (*c)->name);
}

/* --no-NAME is offered for what is on by itself, and, of the command's own, to whoever begins to write it. */
static void offer_options(const struct asked *a, const struct xk_opt *opts, bool formats)
{
    const bool negated = opts != xk_common_opts && xk_has_prefix(a->word, "--no-");

    for (const struct xk_opt *o = opts; o && o->kind != XK_OPT_KIND_END; o++) {
        const bool flag = o->kind == XK_OPT_KIND_FLAG;
        char text[128] = "--";
        if (!o->name || (!formats && xk_is_format_option(o)))
            continue;
        if (flag && (o->min || negated))
            strcat(text, "no-");
        strncat(text, o->name, sizeof(text) - strlen(text) - 1);
        offer(a, text);
    }
}

static const struct xk_opt *find_option(const struct xk_opt *opts, const char *word, size_t bytes)
{
    for (const struct xk_opt *o = opts; o && o->kind != XK_OPT_KIND_END; o++) {
        const bool takes_value = o->kind != XK_OPT_KIND_FLAG && o->kind != XK_OPT_KIND_COUNT;
        if (!takes_value)
            continue;
        if (bytes == 2 && word[0] == '-' && word[1] == o->letter)
            return o;
        if (o->name && xk_has_prefix(word, "--") && strlen(o->name) == bytes - 2 &&
            memcmp(word + 2, o->name, bytes - 2) == 0)
            return o;
    }
    return NULL;
}

/* The option whose value is being written; NULL: none. */
static const struct xk_opt *option_of(const struct xk_command *command, const char *word, size_t bytes)
{
    const struct xk_opt *const own = find_option(command->opts, word, bytes);

    return own ? own : find_option(xk_common_opts, word, bytes);
}

static void complete_command(struct asked *a, const struct xk_command *command, int count, char **words)
{
    const struct xk_opt *option = NULL;
    const char *const equals = xk_has_prefix(a->word, "--") ? strchr(a->word, '=') : NULL;

    for (int i = 0; i < count; i++) {
        if (strcmp(words[i], "--") == 0)
            return;
    }
    if (equals) {
        option = option_of(command, a->word, (size_t)(equals - a->word));
        a->before = a->word;
        a->before_bytes = (int)(equals + 1 - a->word);
        a->word = equals + 1;
        if (!option)
            return;
    } else if (strcmp(a->word, "=") == 0 && count > 0) {
        option = option_of(command, words[count - 1], strlen(words[count - 1]));
        a->word = "";
    } else if (count > 1 && strcmp(words[count - 1], "=") == 0) {
        option = option_of(command, words[count - 2], strlen(words[count - 2]));
    } else if (count > 0) {
        option = option_of(command, words[count - 1], strlen(words[count - 1]));
    }
    if (option) {
        for (size_t i = 0; option->choices && option->choices[i]; i++)
            offer(a, option->choices[i]);
        return;
    }
    if (a->word[0] == '-') {
        offer_options(a, command->opts, true);
        offer_options(a, xk_common_opts, !command->raw);
    } else if (command->complete) {
        command->complete(&a->offer, a->word);
    }
}

void xk_complete(struct xk_out *out, const struct xk_app *app, int count, char **words)
{
    struct asked a = {.offer = {take_candidate}, .out = out, .word = count > 0 ? words[count - 1] : "", .before = ""};

    if (count <= 1) {
        offer_rooms(&a, app, true);
        if (a.word[0] == '-') {
            offer(&a, "--help");
            offer(&a, "--version");
            offer(&a, "--describe");
        }
        return;
    }
    const struct xk_classic *const classic = xk_classic_find(app, words[0]);
    if (classic && classic->complete)
        return classic->complete(&a.offer, app, count - 1, words + 1);
    const struct xk_room *const room = xk_room_find(app, words[0]);
    if (!room)
        return;
    if (room->commands[0] == &xk_help_verb && a.word[0] != '-') {
        const struct xk_room *const about = count == 3 ? xk_room_find(app, words[1]) : NULL;
        if (count == 2)
            offer_rooms(&a, app, true);
        else if (about)
            offer_verbs(&a, about);
        return;
    }
    if (room->plain) {
        complete_command(&a, room->commands[0], count - 2, words + 1);
        return;
    }
    if (count == 2) {
        offer_verbs(&a, room);
        if (a.word[0] == '-')
            offer(&a, "--help");
        return;
    }
    const struct xk_command *const command = xk_verb_find(room, words[1]);
    if (command)
        complete_command(&a, command, count - 3, words + 2);
}
