/* `xenkit pool sessions`: every session of a log, what became of it, and who leaves sessions behind. */
#include "rooms/pool/sessions.h"

#include "core/text.h"

struct sessions {
    struct client_access access;
    bool follow, list;
    const char *live;
};

static const struct xk_opt sessions_opts[] = {
    XK_OPT_FLAG('f', "follow", struct sessions, follow,
                "then tell of each session as it begins and ends in the newest log, until stopped"),
    XK_OPT_FLAG('l', "list", struct sessions, list, "list each session in the table format, too"),
    XK_OPT_TEXT(0, "live", struct sessions, live, "POOL",
                "fetch the logs of this pool's hosts from them, and read those"),
    CLIENT_ACCESS_OPTS(struct sessions, access),
    XK_OPT_END,
};

/* What the callbacks need. */
struct telling {
    struct xk_app *app;
    bool list, following;
};

/* ---- rows ---- */

static void put_id(struct xk_out *out, const char *key, const uint8_t id[SESSIONLOG_ID_BYTES])
{
    char text[2 * SESSIONLOG_ID_BYTES + 1];

    sessionlog_id_text(text, id);
    xk_put_str(out, key, text);
}

static enum xk_color color_of(enum sessionlog_fate fate)
{
    return fate == SESSIONLOG_AGED || fate == SESSIONLOG_EVICTED ? XK_COLOR_WARN : XK_COLOR_NONE;
}

static int put_session(void *context, const struct sessionlog_session *s)
{
    const struct telling *const t = context;
    struct xk_out *const out = t->app->out;

    if (!t->list)
        return 0;
    xk_row(out);
    put_id(out, "trackid", s->id);
    xk_put_str(out, "user", s->user);
    xk_put_str(out, "originator", s->originator);
    xk_put_str(out, "via", sessionlog_via_name(s->via));
    xk_put_str(out, "user_agent", s->user_agent);
    xk_put_bool(out, "pool", s->pool);
    xk_put_str(out, "fate", sessionlog_fate_name(s->fate));
    xk_out_color(out, color_of(s->fate));
    xk_put_time(out, "created", s->created_s);
    xk_put_time(out, "last_seen", s->last_seen_s);
    if (s->fate == SESSIONLOG_OPEN)
        xk_put_none(out, "ended");
    else
        xk_put_time(out, "ended", s->ended_s);
    xk_put_bool(out, "in_use", s->in_use);
    xk_put_str(out, "host", s->host);
    if (s->has_parent)
        put_id(out, "parent", s->parent);
    else
        xk_put_none(out, "parent");
    return xk_out_error(out);
}

static int put_event(void *context, const struct sessionlog_event *event)
{
    static const char *const names[] = {"create", NULL, NULL, "restart"};
    const struct telling *const t = context;
    const struct sessionlog_session *const s = event->session;
    struct xk_out *const out = t->app->out;

    if (!t->following)
        return 0;
    xk_row(out);
    xk_put_time(out, "time", event->time_s);
    xk_put_str(out, "event", names[event->what] ? names[event->what] : sessionlog_fate_name(s->fate));
    if (names[event->what] == NULL)
        xk_out_color(out, color_of(s->fate));
    xk_put_u64(out, "open", event->open);
    if (s) {
        xk_put_u64(out, "client_open", event->client_open);
        put_id(out, "trackid", s->id);
        xk_put_str(out, "user", s->user);
        xk_put_str(out, "originator", s->originator);
        xk_put_str(out, "user_agent", s->user_agent);
    } else {
        static const char *const keys[] = {"client_open", "trackid", "user", "originator", "user_agent"};
        for (size_t i = 0; i < XK_COUNT(keys); i++)
            xk_put_none(out, keys[i]);
    }
    xk_out_flush(out);
    return xk_out_error(out);
}

static void tell_unreadable(void *context, const struct xk_err *why)
{
    const struct telling *const t = context;

    xk_log(t->app->log, XK_LOG_WARN, "%s", why->text);
}

/* ---- running ---- */

static int read_logs(struct sessionlog *log, struct pool_sessions_live **ret_live, struct xk_app *app,
                     const struct xk_args *args, struct xk_err *err)
{
    const struct sessions *const opts = args->opts;
    int code = opts->live ? pool_sessions_live_open(ret_live, log, app, opts->live, &opts->access, err) : 0;

    for (int i = 0; code == 0 && i < args->count; i++)
        code = sessionlog_add(log, args->operands[i], err);
    return code < 0 ? code : sessionlog_run(log, err);
}

static int check_args(const struct xk_args *args, struct xk_err *err)
{
    const struct sessions *const opts = args->opts;
    const char *const wrong = opts->live && opts->follow ? "--follow needs a log here, and --live has those of others"
                              : !opts->live && args->count == 0 ? "a LOG, or --live POOL, is needed"
                              : !opts->live && !client_access_is_default(&opts->access)
                                  ? "how a pool is reached is of no effect without --live POOL"
                                  : NULL;

    if (!wrong)
        return 0;
    (void)xk_fail(err, -EINVAL, "%s", wrong);
    xk_err_exit(err, XK_EXIT_USAGE);
    return -EINVAL;
}

static int follow(struct sessionlog *log, struct telling *t, struct xk_err *err)
{
    xk_out_rows(t->app->out, "events");
    xk_out_flush(t->app->out);
    t->following = true;
    const int code = sessionlog_follow(log, err);
    t->following = false;
    xk_out_end(t->app->out);
    return code;
}

static int run(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    const struct sessions *const opts = args->opts;
    struct sessionlog *log = NULL;
    xk_auto(pool_sessions_live_closep) struct pool_sessions_live *live = NULL;
    struct sessionlog_summary summary;
    struct telling t = {.app = app, .list = !opts->follow && (opts->list || xk_out_format(app->out) != XK_OUT_TABLE)};
    const struct sessionlog_settings settings = {
        .fs = app->fs,
        .clock = app->clock,
        .temp_dir = xk_env(app, "TMPDIR"),
        .follow = opts->follow,
        .context = &t,
        .ended = put_session,
        .event = put_event,
        .unreadable = tell_unreadable,
    };

    int code = check_args(args, err);
    if (code == 0)
        code = sessionlog_open(&log, &settings, err);
    if (code < 0)
        return code;
    if (t.list)
        xk_out_rows(app->out, "sessions");
    code = read_logs(log, &live, app, args, err);
    if (code == 0 && opts->follow)
        code = follow(log, &t, err);
    if (code == 0)
        code = sessionlog_finish(log, &summary, err);
    if (t.list)
        xk_out_end(app->out);
    if (code == 0)
        code = pool_sessions_tell(app, &summary);
    if (code >= 0 && live)
        pool_sessions_live_tell(live, app->out);
    sessionlog_close(log);
    return code < 0 ? code : XK_EXIT_OK;
}

static const struct xk_exit_row exits[] = {
    {XK_EXIT_OK, "the logs were read, whatever they say"},
    {0, NULL},
};
static const struct sessions defaults = {.access = CLIENT_ACCESS_DEFAULTS};
static const char *const example[] = {"/dev/null", NULL};

const struct xk_command pool_cmd_sessions = {
    .name = "sessions",
    .summary = "tell from logs what became of every API session, and who leaks them",
    .operands = "[LOG|DIR|STATUS-REPORT…]",
    .min_operands = 0,
    .max_operands = -1,
    .opts = sessions_opts,
    .defaults = &defaults,
    .opts_bytes = sizeof(struct sessions),
    .run = run,
    .exits = exits,
    .help = "Logs are those of XAPI, xensource.log and its rotated pieces, in any order; - is standard input.",
    .example = example,
};
