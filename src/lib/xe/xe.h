/*
 * `xe`: a command line in, calls to a pool and lines of text out, with the names, parameters and texts of the real one.
 *
 * It runs over two small interfaces, so that the same code is a client of its own (on a terminal) and the far side of
 * the real client (behind the thin protocol, thin.h). One thread for each run; nothing is shared between runs.
 */
#ifndef LIB_XE_H
#define LIB_XE_H

#include "lib/xapi/wire.h"
#include "lib/xe/model.h"

#define XE_ARGS_MAX         4096
#define XE_UPLOAD_BYTES_MAX (32u << 20) /* of a file that a command reads, as the real server */

/* Answers of the user's side. */
enum {
    XE_TERMINAL_FAILED = 1, /* it could not */
    XE_TERMINAL_ENDED = 2,  /* it could not, has told the user, and ends with status 1 */
};

/*
 * The pool that is talked to.
 *
 * open      log in: local asks for a session of the host itself, user and password are those of the command line (""
 * when it has none). A refusal of the server comes back as a failed reply. call      one message; params without the
 * session, which is `session` or, for NULL, the one that was opened. The reply lives in the arena. session   the opened
 * session's ref, for addresses of files. close     log out, if open() logged in. Called once after each successful
 * open(). now_s     the pool's time, as near as it is known. returns   0; a negative errno value when the pool cannot
 * be reached, with err filled.
 */
struct xe_remote {
    void *context;
    int (*open)(void *context, struct xk_arena *arena, bool local, const char *user, const char *password,
                struct xapi_reply *ret, struct xk_err *err);
    int (*call)(void *context, struct xk_arena *arena, const char *session, const char *method,
                const struct xapi_value *params, size_t count, struct xapi_reply *ret, struct xk_err *err);
    const char *(*session)(void *context);
    void (*close)(void *context);
    int64_t (*now_s)(void *context);
};

enum xe_transfer { XE_GET, XE_PUT, XE_CONNECT };

/*
 * The side where the user is. All of them return 0, one of the answers above, or a negative errno value when that side
 * is gone.
 *
 * print     a line: the end of line is added.
 * complain  text for stderr, as it is.
 * error     an error code that has no sentence, with its parameters.
 * prompt    one line from the user.
 * load      a file that the command line names.
 * begin     copy a file from or to the pool's HTTP server (an empty name: stdout), or connect the terminal. `address`
 * is a path, or https://HOST/PATH. end       wait until that is done.
 */
struct xe_terminal {
    void *context;
    int (*print)(void *context, const char *text);
    int (*complain)(void *context, const char *text);
    int (*error)(void *context, const char *code, const char *const *params, size_t count);
    int (*prompt)(void *context, struct xk_buf *ret);
    int (*load)(void *context, const char *path, struct xk_buf *ret);
    int (*begin)(void *context, enum xe_transfer kind, const char *path, const char *address);
    int (*end)(void *context);
};

struct xe_settings {
    const struct xe_remote *remote;
    const struct xe_terminal *terminal;
    size_t memory_bytes_max; /* of one run */
    /* Whether to give up a wait; may be NULL. */
    bool (*stop)(void *context);
    void *stop_context;
};

/*
 * Run a command line, without the program's name.
 *
 * returns   the exit status; a negative errno value when the pool or the user's side was lost.
 */
int xe_run(const struct xe_settings *settings, const char *const *args, size_t count, struct xk_err *err);

/*
 * Append what could stand at the end of a command line, one word a line: commands, parameters with "=", values as far
 * as the tables know them. The last of `words` is what was begun.
 */
void xe_complete(struct xk_buf *ret, const char *const *words, size_t count);

#define XE_LIST_COMMAND_BYTES 96
/*
 * Which objects of the pool the value of a parameter names: the command that lists them, and the field that is meant.
 *
 * begun     "NAME=…"
 */
bool xe_complete_list(char ret[XE_LIST_COMMAND_BYTES], const char **ret_field, const char *command, const char *begun);

/* How a command is served. */
enum xe_serving { XE_SERVED, XE_NOT_SERVED };
enum xe_serving xe_serving(const struct xe_command *command);

#endif
