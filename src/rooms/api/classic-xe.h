/* What the files of the classic `xe` share. */
#ifndef ROOMS_API_CLASSIC_XE_H
#define ROOMS_API_CLASSIC_XE_H

#include "lib/client/client.h"
#include "lib/xe/xe.h"

/* What the command line, XE_EXTRA_ARGS and ~/.xe say to the client itself. */
struct xe_options {
    const char *server, *port, *user, *password, *password_file, *trace, *baggage;
    bool no_tls, debug, debug_on_fail, no_session_cache, password_said;
    const char **words; /* what the command gets */
    size_t word_count;
};

enum xe_parsed { XE_PARSED, XE_PARSED_USAGE, XE_PARSED_VERSION, XE_PARSED_FAILED };

/*
 * Read them as the real one does. Passwords are wiped from argv; everything lives in the arena.
 * returns   XE_PARSED_FAILED: what is wrong was said.
 */
enum xe_parsed xe_options_read(struct xe_options *ret, struct xk_app *app, struct xk_arena *arena, int argc,
                               char **argv);

struct xe_front {
    struct xk_app *app, *client_app; /* the client's has a log of its own */
    struct xe_options options;
    struct client *client;
    bool local;
    int transfer; /* how the last one ended */
    struct xk_err *err;
};

void xe_say_error(const struct xe_front *f, const char *format, ...) XK_PRINTF(2, 3);
/* Copy a file from or to the pool, or connect the terminal. returns   as struct xe_terminal has it. */
int xe_transfer(struct xe_front *f, enum xe_transfer kind, const char *path, const char *address);

extern const struct xk_classic api_classic_xe;

#endif
