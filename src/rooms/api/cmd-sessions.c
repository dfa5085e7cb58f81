/* `xenkit api sessions`: what is kept here, and with --check whether the pool still knows it. */
#include "rooms/api/api.h"

#include "core/text.h"

#include <string.h>

struct sessions {
    struct client_access access;
    bool check;
};

static const struct xk_opt sessions_opts[] = {
    XK_OPT_FLAG(0, "check", struct sessions, check, "ask each pool whether the session still lives"),
    CLIENT_ACCESS_OPTS(struct sessions, access),
    XK_OPT_END,
};

/* "alive", "ended", or why that is not known. No new session is opened. */
static const char *state_of(struct xk_app *app, const struct sessions *opts, const struct client_kept *kept,
                            struct xk_err *why)
{
    xk_auto(client_closep) struct client *c = NULL;
    struct client_access access = opts->access;

    access.user = kept->user;
    *why = (struct xk_err){0};
    if (client_open(&c, app, kept->url, &access, &(struct client_manner){.originator = API_ORIGINATOR}, why) < 0)
        return why->text;
    if (!client_take_kept(c))
        return "gone";
    const int code = client_check_kept(c, why);
    return code == 0 ? "alive" : code == -ESTALE ? "ended" : why->text;
}

static int run(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    const struct sessions *const opts = args->opts;
    struct client_kept *kept = NULL;
    struct xk_err why;
    size_t count = 0;

    const int code = client_kept_list(&kept, &count, app, err);
    if (code < 0)
        return code;
    if (count == 0)
        xk_say(app->out, "No session is kept.\n");
    xk_out_rows(app->out, "sessions");
    for (size_t i = 0; i < count; i++) {
        const char *const state = opts->check ? state_of(app, opts, &kept[i], &why) : NULL;
        xk_row(app->out);
        xk_put_str(app->out, "pool", kept[i].url);
        xk_put_str(app->out, "user", kept[i].user);
        xk_put_str(app->out, "trackid", kept[i].track);
        xk_put_time(app->out, "since", kept[i].created_s);
        if (opts->check)
            xk_put_str(app->out, "state", state);
    }
    xk_out_end(app->out);
    free(kept);
    return XK_EXIT_OK;
}

static const struct sessions defaults = {.access = CLIENT_ACCESS_DEFAULTS};
static const char *const example[] = {NULL};

const struct xk_command api_cmd_sessions = {
    .name = "sessions",
    .summary = "list the sessions that are kept here",
    .opts = sessions_opts,
    .defaults = &defaults,
    .opts_bytes = sizeof(struct sessions),
    .run = run,
    .example = example,
};
