/*
 * Rooms, commands, classic names: rows of data that the door, --help, --describe, completion and the tests read.
 */
#ifndef XK_ROOM_H
#define XK_ROOM_H

#include "core/clock.h"
#include "core/fs.h"
#include "core/log.h"
#include "core/opt.h"
#include "core/out.h"

/* Everything a command may touch. Tests build one with a frozen clock and a folder of fixtures as root. */
struct xk_app {
    struct xk_out *out;
    struct xk_log *log;
    const struct xk_clock *clock;
    struct xk_random *random;
    const struct xk_fs *fs;
    const char *root;                   /* "" or a folder that stands for / : /proc, /sys and /etc are read below it */
    char **env;                         /* as environ */
    const struct xk_room *const *rooms; /* all, NULL-ended */
    const char *summary;                /* what the program is for, in a few words */
};

/* NULL when it is not set. */
const char *xk_env(const struct xk_app *app, const char *name);

struct xk_args {
    const void *opts; /* the command's own struct, filled */
    const char **operands;
    int count;
};

/* A status of the command's own, for --describe and the man page. */
struct xk_exit_row {
    int status;
    const char *meaning;
};

/* Takes the candidates of a completion. */
struct xk_offer {
    void (*take)(const struct xk_offer *offer, const char *candidate);
};

enum xk_command_kind {
    XK_ONE_SHOT,    /* does its work and ends */
    XK_SERVER,      /* runs until it is stopped */
    XK_INTERACTIVE, /* needs a terminal */
};

struct xk_command {
    const char *name;
    const char *summary;            /* one line, lower case, no period */
    const char *operands;           /* as in the usage line: "FILE…", "[DIR]"; NULL: none */
    int min_operands, max_operands; /* max -1: any number */
    const struct xk_opt *opts;
    const void *defaults; /* opts_bytes of them; NULL: zeros */
    size_t opts_bytes;
    /*
     * returns   an exit status 0 … 127 when the command did its work; a negative errno value with err filled when
     *           it did not. Results go to app->out.
     */
    int (*run)(struct xk_app *app, const struct xk_args *args, struct xk_err *err);
    enum xk_command_kind kind;
    const struct xk_exit_row *exits; /* own statuses beside the common ones; ends with a NULL meaning; may be NULL */
    const char *help;                /* more lines for --help; may be NULL */
    const char *const *example;      /* an argv (without "xenkit NOUN VERB") that the contract test runs; NULL-ended */
    bool raw;                        /* writes bytes, not records: the output formats are refused */
    /* Offers what may stand in place of `word`, an operand; what does not begin like it is left out. NULL: files. */
    void (*complete)(const struct xk_offer *offer, const char *word);
};

struct xk_classic {
    const char *name;
    const char *summary;
    /* argv[0] is the classic name. returns the classic tool's own exit status. */
    int (*run)(struct xk_app *app, int argc, char **argv);
    enum xk_command_kind kind;
    const struct xk_exit_row *exits;
    int unsaid; /* status in place of 0 when standard output cannot be written; 0: 1 */
    /* Offers what may stand in place of the last of `words`, which are those behind the name. NULL: files. */
    void (*complete)(const struct xk_offer *offer, const struct xk_app *app, int count, char **words);
};

struct xk_room {
    const char *name;
    const char *summary;
    const struct xk_command *const *commands; /* NULL-ended. A room of one command without a verb: see `plain` */
    const struct xk_classic *const *classics; /* NULL-ended; may be NULL */
    bool plain;                               /* `xenkit ROOM …` is commands[0] itself, there are no verbs */
};

/* The list in src/rooms/meson.build, NULL-ended. */
extern const struct xk_room *const xk_rooms[];

/* Options every native command has. */
struct xk_common {
    bool help, version, json, jsonl, csv, plain, color, quiet;
    unsigned verbose;
    const char *out;
};
extern const struct xk_opt xk_common_opts[];

#endif
