/*
 * Help texts out of the tables. Lines are 79 cells wide wherever they are shown, so that a text in a pipe, in a
 * report and on a wide terminal is the same one.
 */
#include "core/door.h"

#include "core/text.h"

#include <stdio.h>
#include <string.h>

#define LINE_CELLS  79
#define LABEL_CELLS 26
#define NAME_CELLS  14

/* The words of text, from column `indent` on, which the first line already stands at. Ends the line. */
static void put_wrapped(struct xk_out *out, size_t indent, const char *text)
{
    size_t at = indent;

    for (const char *word = text; *word;) {
        const size_t bytes = strcspn(word, " ");
        char copy[256];
        snprintf(copy, sizeof(copy), "%.*s", (int)XK_MIN(bytes, sizeof(copy) - 1), word);
        const size_t cells = xk_display_width(copy);
        if (at > indent && at + 1 + cells > LINE_CELLS) {
            xk_out_rawf(out, "\n%*s", (int)indent, "");
            at = indent;
        } else if (at > indent) {
            xk_out_rawf(out, " ");
            at++;
        }
        xk_out_raw(out, copy, strlen(copy));
        at += cells;
        word += bytes;
        word += strspn(word, " ");
    }
    xk_out_rawf(out, "\n");
}

/* "  label   text", the text on a line of its own when the label is long. */
static void put_row(struct xk_out *out, size_t label_cells, const char *label, const char *text)
{
    const size_t cells = xk_display_width(label);

    xk_out_rawf(out, "  %s", label);
    if (cells > label_cells)
        xk_out_rawf(out, "\n%*s", (int)(label_cells + 4), "");
    else
        xk_out_rawf(out, "%*s", (int)(label_cells - cells + 2), "");
    put_wrapped(out, label_cells + 4, text);
}

static void put_options(struct xk_out *out, const char *heading, const struct xk_opt *opts, bool formats)
{
    if (!opts || opts->kind == XK_OPT_KIND_END)
        return;
    xk_out_rawf(out, "\n%s:\n", heading);
    for (const struct xk_opt *o = opts; o->kind != XK_OPT_KIND_END; o++) {
        char label[128];
        char text[640];
        if (!formats && xk_is_format_option(o))
            continue;
        xk_opt_label(label, sizeof(label), o);
        int bytes = snprintf(text, sizeof(text), "%s", o->help);
        for (size_t i = 0; o->choices && o->choices[i] && bytes > 0 && (size_t)bytes < sizeof(text); i++)
            bytes +=
                snprintf(text + bytes, sizeof(text) - (size_t)bytes, "%s%s", i ? ", " : "; one of ", o->choices[i]);
        put_row(out, LABEL_CELLS, label, text);
    }
}

static void put_exit(struct xk_out *out, const struct xk_exit_row *row)
{
    char number[16];

    snprintf(number, sizeof(number), row->status == XK_EXIT_SIGNAL ? "%d+n" : "%d", row->status);
    put_row(out, 5, number, row->meaning);
}

static void put_exits(struct xk_out *out, const struct xk_exit_row *own, bool common)
{

    xk_out_rawf(out, "\nExit status:\n");
    for (const struct xk_exit_row *e = own; e && e->meaning; e++)
        put_exit(out, e);
    for (const struct xk_exit_row *e = xk_common_exits; common && e->meaning; e++) {
        bool shadowed = false;
        for (const struct xk_exit_row *o = own; o && o->meaning; o++)
            shadowed = shadowed || o->status == e->status;
        if (!shadowed)
            put_exit(out, e);
    }
}

static void put_name(struct xk_out *out, const struct xk_room *room, const struct xk_command *command)
{
    xk_out_rawf(out, "xenkit %s%s%s", room->name, room->plain ? "" : " ", room->plain ? "" : command->name);
}

/* The first command that has an example, as it would be typed. */
static void put_example(struct xk_out *out, const struct xk_app *app)
{
    for (const struct xk_room *const *room = app->rooms; *room; room++) {
        for (const struct xk_command *const *c = (*room)->commands; *c; c++) {
            if (!(*c)->example)
                continue;
            xk_out_rawf(out, "  ");
            put_name(out, *room, *c);
            for (const char *const *word = (*c)->example; *word; word++)
                xk_out_rawf(out, " %s", *word);
            xk_out_rawf(out, "\n");
            return;
        }
    }
}

static void put_classics(struct xk_out *out, const struct xk_app *app)
{
    const char *before = "\nAnswers to the classic names: ";

    for (const struct xk_room *const *room = app->rooms; *room; room++) {
        for (const struct xk_classic *const *c = (*room)->classics; c && *c; c++) {
            xk_out_rawf(out, "%s%s", before, (*c)->name);
            before = ", ";
        }
    }
    if (before[0] == ',')
        xk_out_rawf(out, "\n");
}

/* A room to ask about: one with several verbs. */
static const char *room_to_ask(const struct xk_app *app)
{
    for (const struct xk_room *const *room = app->rooms; *room; room++) {
        if (!(*room)->plain)
            return (*room)->name;
    }
    return "ROOM";
}

void xk_help_house(struct xk_out *out, const struct xk_app *app, bool whole)
{
    xk_out_rawf(out, "xenkit %s: %s\n\n", XK_VERSION, app->summary);
    xk_out_rawf(out, "Usage: xenkit ROOM VERB [OPTIONS] [OPERANDS]\n\nRooms:\n");
    for (const struct xk_room *const *room = app->rooms; *room; room++)
        put_row(out, NAME_CELLS, (*room)->name, (*room)->summary);
    xk_out_rawf(out, "\nAlso:\n");
    for (const struct xk_room *const *room = xk_house_rooms; *room; room++)
        put_row(out, NAME_CELLS, (*room)->name, (*room)->summary);
    put_classics(out, app);
    xk_out_rawf(out, "\nExamples:\n");
    put_example(out, app);
    xk_out_rawf(out, "  xenkit help %s\n", room_to_ask(app));
    if (!whole)
        return;
    put_options(out, "Options of every verb", xk_common_opts, true);
    put_exits(out, NULL, true);
}

void xk_help_room(struct xk_out *out, const struct xk_room *room)
{
    if (room->plain) {
        xk_help_command(out, room, room->commands[0]);
        return;
    }
    xk_out_rawf(out, "Usage: xenkit %s VERB [OPTIONS] [OPERANDS]\n\n", room->name);
    put_wrapped(out, 0, room->summary);
    xk_out_rawf(out, "\nVerbs:\n");
    for (const struct xk_command *const *c = room->commands; *c; c++)
        put_row(out, NAME_CELLS, (*c)->name, (*c)->summary);
    if (room->classics && room->classics[0])
        xk_out_rawf(out, "\nClassic names:\n");
    for (const struct xk_classic *const *c = room->classics; c && *c; c++)
        put_row(out, NAME_CELLS, (*c)->name, (*c)->summary);
    xk_out_rawf(out, "\nxenkit help %s VERB explains one of them.\n", room->name);
}

void xk_help_command(struct xk_out *out, const struct xk_room *room, const struct xk_command *command)
{
    xk_out_rawf(out, "Usage: ");
    put_name(out, room, command);
    xk_out_rawf(out, " [OPTIONS]%s%s\n\n", command->operands ? " " : "", command->operands ? command->operands : "");
    put_wrapped(out, 0, command->summary);
    put_options(out, "Options", command->opts, true);
    put_options(out, "Common options", xk_common_opts, !command->raw);
    put_exits(out, command->exits, true);
    if (command->help)
        xk_out_rawf(out, "\n%s%s", command->help, xk_has_suffix(command->help, "\n") ? "" : "\n");
}

void xk_help_classic(struct xk_out *out, const struct xk_room *room, const struct xk_classic *classic)
{
    xk_out_rawf(out, "Usage: xenkit %s …, or %s … through a link of that name\n\n", classic->name, classic->name);
    put_wrapped(out, 0, classic->summary);
    xk_out_rawf(out, "\n");
    put_wrapped(out, 0,
                "A classic name takes the classic tool's own options and prints its own texts, so that scripts written "
                "for it keep working.");
    xk_out_rawf(out, "xenkit help %s lists what the room offers under its own name.\n", room->name);
    if (classic->exits)
        put_exits(out, classic->exits, false);
}

/* ---- xenkit help ---- */

static const struct xk_room *room_of_classic(const struct xk_app *app, const struct xk_classic *classic)
{
    for (const struct xk_room *const *room = app->rooms; *room; room++) {
        for (const struct xk_classic *const *c = (*room)->classics; c && *c; c++) {
            if (*c == classic)
                return *room;
        }
    }
    return NULL;
}

static int run_help(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    if (args->count == 0) {
        xk_help_house(app->out, app, true);
        return 0;
    }
    const char *const name = args->operands[0];
    const struct xk_room *const room = xk_room_find(app, name);
    const struct xk_classic *const classic = room ? NULL : xk_classic_find(app, name);
    if (!room && !classic)
        return xk_unknown_room(app, name, err);
    if (classic) {
        xk_help_classic(app->out, room_of_classic(app, classic), classic);
        return 0;
    }
    if (args->count == 1) {
        xk_help_room(app->out, room);
        return 0;
    }
    const struct xk_command *const command = xk_verb_find(room, args->operands[1]);
    if (!command)
        return xk_unknown_verb(room, args->operands[1], err);
    xk_help_command(app->out, room, command);
    return 0;
}

const struct xk_command xk_help_verb = {
    .name = "help",
    .summary = "explain a room or a verb",
    .operands = "[ROOM [VERB]]",
    .max_operands = 2,
    .run = run_help,
    .raw = true,
    .example = (const char *const[]){NULL},
};
