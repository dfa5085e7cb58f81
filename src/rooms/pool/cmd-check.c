/* `xenkit pool check`: is every host of the pool live? */
#include "rooms/pool/check.h"

#include "core/text.h"

struct check {
    struct client_access access;
    const char *warn, *crit;
    uint64_t deadline_ns;
};

static const struct xk_opt check_opts[] = {
    XK_OPT_TEXT('w', "warn", struct check, warn, "RANGE", "dead hosts outside it are a warning [none]"),
    XK_OPT_TEXT('c', "crit", struct check, crit, "RANGE", "dead hosts outside it are critical [0]"),
    XK_OPT_DURATION('t', "deadline", struct check, deadline_ns, "TIME", "for everything together [10s]"),
    CLIENT_ACCESS_OPTS(struct check, access),
    XK_OPT_END,
};

static int parse_range(struct pool_check_range *ret, const char *option, const char *text, struct xk_err *err)
{
    if (!text || pool_check_range_parse(ret, text) == 0)
        return 0;
    const int code = xk_fail(err, -EINVAL, "%s %s: a range such as 0, 1:3 or @2:4 is needed", option, text);
    xk_err_exit(err, XK_EXIT_USAGE);
    return code;
}

static int run(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    const struct check *const opts = args->opts;
    struct pool_check_settings s = {.pool = args->count ? args->operands[0] : xk_env(app, "XENKIT_POOL"),
                                    .timeout_ns = opts->deadline_ns};
    xk_auto(xk_buf_done) struct xk_buf line = XK_BUF_INIT(64 * XK_KIB);

    int code = parse_range(&s.warn, "--warn", opts->warn, err);
    if (code == 0)
        code = parse_range(&s.crit, "--crit", opts->crit, err);
    if (code == 0 && !s.pool) {
        code = xk_fail(err, -EINVAL, "no pool is named");
        xk_err_exit(err, XK_EXIT_USAGE);
    }
    if (code < 0)
        return code;
    const int status = pool_check_run(app, &opts->access, &s, &line);
    if (xk_out_format(app->out) == XK_OUT_TABLE) {
        xk_out_rawf(app->out, "%s\n", xk_buf_str(&line));
        return status;
    }
    static const char *const words[] = {"ok", "warning", "critical", "unknown"};
    xk_out_record(app->out, "check");
    xk_put_str(app->out, "status", words[status]);
    xk_put_str(app->out, "line", xk_buf_str(&line));
    xk_out_end(app->out);
    if (status >= POOL_CRITICAL) { /* statuses from 2 up are told in the document */
        code = xk_fail(err, -EREMOTEIO, "%s", xk_buf_str(&line));
        xk_err_exit(err, (enum xk_exit)status);
    }
    return code < 0 ? code : status;
}

static const struct xk_exit_row exits[] = {
    {POOL_OK, "every host is live"},
    {POOL_WARNING, "a slave was asked, and every host is live; or --warn"},
    {POOL_CRITICAL, "hosts are dead; or bad usage"},
    {POOL_UNKNOWN, "the pool could not be asked"},
    {0, NULL},
};
static const struct check defaults = {.access = CLIENT_ACCESS_DEFAULTS, .deadline_ns = 10 * XK_NS_PER_S};
static const char *const example[] = {NULL};

const struct xk_command pool_cmd_check = {
    .name = "check",
    .summary = "is every host of the pool live? One line for monitoring",
    .operands = "[POOL]",
    .min_operands = 0,
    .max_operands = 1,
    .opts = check_opts,
    .defaults = &defaults,
    .opts_bytes = sizeof(struct check),
    .run = run,
    .exits = exits,
    .example = example,
    .help = "POOL is a URL or HOST[:PORT] [XENKIT_POOL]. The classic name of this is check_xenpool.",
};
