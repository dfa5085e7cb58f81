/* `xenkit api login` and `logout`: a session that the next commands find. */
#include "rooms/api/api.h"

struct login {
    struct client_access access;
};

static const struct xk_opt login_opts[] = {CLIENT_ACCESS_OPTS(struct login, access), XK_OPT_END};

static const char *pool_of(const struct xk_args *args)
{
    return args->count > 0 ? args->operands[0] : NULL;
}

static int refuse_no_cache(const struct client_access *access, const char *verb, struct xk_err *err)
{
    if (access->session_cache && !access->emergency)
        return 0;
    (void)xk_fail(err, -EINVAL, "%s is about a session that is kept, so %s makes no sense", verb,
                  access->emergency ? "--emergency" : "--no-session-cache");
    xk_err_exit(err, XK_EXIT_USAGE);
    return -EINVAL;
}

static void tell(struct xk_app *app, const struct client *c)
{
    char track[CLIENT_TRACK_BYTES];

    client_session_track(c, track);
    xk_out_record(app->out, "session");
    xk_put_str(app->out, "pool", client_url(c));
    xk_put_str(app->out, "user", client_user(c));
    xk_put_str(app->out, "trackid", track);
    xk_out_end(app->out);
}

static int login(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    const struct login *const opts = args->opts;
    xk_auto(client_closep) struct client *c = NULL;
    const struct client_manner manner = {.originator = API_ORIGINATOR, .keep = true};
    struct xapi_value hosts;
    xk_auto(xk_arena_done) struct xk_arena arena = XK_ARENA_INIT(API_RESULT_BYTES_MAX);

    int code = refuse_no_cache(&opts->access, "login", err);
    if (code == 0)
        code = client_open(&c, app, pool_of(args), &opts->access, &manner, err);
    if (code == 0) /* a session that was kept before may have ended */
        code = client_ask(c, &hosts, &arena, err, "pool.get_all", "");
    if (code == 0 && !client_is_kept(c)) {
        (void)xk_fail(err, -EIO, "the session could not be kept");
        return -EIO;
    }
    if (code == 0)
        tell(app, c);
    return code;
}

/* Only the file is opened: without a kept session there is nothing to end, and nobody is asked for a password. */
static int logout(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    const struct login *const opts = args->opts;
    xk_auto(client_closep) struct client *c = NULL;
    const struct client_manner manner = {.originator = API_ORIGINATOR};

    int code = refuse_no_cache(&opts->access, "logout", err);
    if (code == 0)
        code = client_open(&c, app, pool_of(args), &opts->access, &manner, err);
    if (code < 0)
        return code;
    if (!client_take_kept(c)) {
        (void)xk_fail(err, -ENOENT, "no session of %s at %s is kept", client_user(c), client_url(c));
        xk_err_exit(err, XK_EXIT_CANNOT);
        xk_err_hint(err, "xenkit api sessions lists those that are");
        return -ENOENT;
    }
    tell(app, c);
    return client_logout(c, err);
}

static const struct login defaults = {.access = CLIENT_ACCESS_DEFAULTS};
static const char *const example[] = {NULL};

const struct xk_command api_cmd_login = {
    .name = "login",
    .summary = "log in and keep the session for the next commands",
    .operands = "[POOL]",
    .max_operands = 1,
    .opts = login_opts,
    .defaults = &defaults,
    .opts_bytes = sizeof(struct login),
    .run = login,
    .example = example,
};

const struct xk_command api_cmd_logout = {
    .name = "logout",
    .summary = "end a kept session",
    .operands = "[POOL]",
    .max_operands = 1,
    .opts = login_opts,
    .defaults = &defaults,
    .opts_bytes = sizeof(struct login),
    .run = logout,
    .example = example,
};
