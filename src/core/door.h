/*
 * The door: from the words of a command line to the room, the verb or the classic name that they mean, and from what
 * came of it to an exit status. The rest of this header is shared between the files that answer for the whole house:
 * help, --describe, completion, links.
 */
#ifndef XK_DOOR_H
#define XK_DOOR_H

#include "core/room.h"

/*
 * Do what argv says. argv[0] may be a classic name; then all of argv goes to that tool's own parser.
 *
 * app       `out` is opened here and closed again; the rest is the caller's. `rooms` is the registry.
 * returns   the exit status; see enum xk_exit. 141 when the reader of standard output went away.
 */
int xk_door(const struct xk_app *app, int argc, char **argv);

/* ---- who is who ---- */

/* The door's own rooms, found after app->rooms: `help` and `install-links`. NULL-ended. */
extern const struct xk_room *const xk_house_rooms[];
/* The exit statuses that every native command shares; ends with a NULL meaning. */
extern const struct xk_exit_row xk_common_exits[];

/* The room of that name; NULL when there is none. */
const struct xk_room *xk_room_find(const struct xk_app *app, const char *name);
const struct xk_command *xk_verb_find(const struct xk_room *room, const char *name);
const struct xk_classic *xk_classic_find(const struct xk_app *app, const char *name);
/* Report a word that names nothing here, with the nearest name as hint. Both return -EINVAL. */
int xk_unknown_room(const struct xk_app *app, const char *word, struct xk_err *err);
int xk_unknown_verb(const struct xk_room *room, const char *word, struct xk_err *err);
/* Whether a row of xk_common_opts is --json, --jsonl, --csv or --plain, which a raw command refuses. */
bool xk_is_format_option(const struct xk_opt *opt);
const char *xk_kind_name(enum xk_command_kind kind); /* "one_shot", "server", "interactive" */

/* ---- texts ---- */

/* What xenkit is and its rooms; `whole` adds options and exit statuses. */
void xk_help_house(struct xk_out *out, const struct xk_app *app, bool whole);
void xk_help_room(struct xk_out *out, const struct xk_room *room);
void xk_help_command(struct xk_out *out, const struct xk_room *room, const struct xk_command *command);
void xk_help_classic(struct xk_out *out, const struct xk_room *room, const struct xk_classic *classic);

/* Everything the tables know, as one JSON document. returns 0; -ENOMEM, -EFBIG. */
int xk_describe(struct xk_out *out, const struct xk_app *app, struct xk_err *err);
/*
 * What could stand in place of the last word, one a line; nothing where a file name belongs.
 * words     after "xenkit"; a lone "=" between two words is the one of --name=value, as bash splits it.
 */
void xk_complete(struct xk_out *out, const struct xk_app *app, int count, char **words);

extern const struct xk_command xk_help_verb, xk_links_verb;

#endif
