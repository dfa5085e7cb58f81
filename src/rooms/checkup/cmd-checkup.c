/* `xenkit checkup`: the main job. */
#include "rooms/checkup/checkup.h"

#include "core/text.h"
#include "lib/client/client.h"
#include "rooms/checkup/demo-pool.h"

#define LOCALHOST   "localhost"
#define HOST_SOCKET "/var/lib/xcp/xapi" /* where the pool of a host is asked on the host itself */

struct checkup_opts {
    struct client_access access;
    bool demo, list;
    struct xk_words only, skip;
    const char *html, *demo_dir;
};

static const struct xk_opt checkup_opts[] = {
    XK_OPT_FLAG(0, "demo", struct checkup_opts, demo,
                "make sample images, healthy and damaged, and a simulated pool, and examine them"),
    XK_OPT_TEXT(0, "demo-dir", struct checkup_opts, demo_dir, "DIR",
                "with --demo: make them in DIR, new or empty [a new folder]"),
    XK_OPT_TEXT(0, "html", struct checkup_opts, html, "FILE", "write the findings as one HTML page, too"),
    XK_OPT_FLAG('l', "list", struct checkup_opts, list, "list the checks, examine nothing"),
    XK_OPT_LIST(0, "only", struct checkup_opts, only, "ID", "run this check or set of checks only; may be given again"),
    XK_OPT_LIST(0, "skip", struct checkup_opts, skip, "ID", "leave this check or set out; may be given again"),
    CLIENT_ACCESS_OPTS(struct checkup_opts, access),
    XK_OPT_END,
};

static int list_checks(struct xk_app *app, const struct checkup_opts *opts)
{
    xk_out_rows(app->out, "checks");
    for (const struct xk_check_set *const *set = xk_check_sets; *set; set++) {
        for (const struct xk_check *check = (*set)->checks; check->id; check++) {
            if (!xk_check_wanted(check, &opts->only, &opts->skip))
                continue;
            xk_row(app->out);
            xk_put_str(app->out, "id", check->id);
            xk_put_str(app->out, "severity", xk_severity_name(check->severity));
            xk_put_str(app->out, "title", check->title);
            if (xk_out_format(app->out) == XK_OUT_TABLE)
                continue;
            xk_put_str(app->out, "why", check->why);
            xk_put_str(app->out, "fix", check->fix);
        }
    }
    xk_out_end(app->out);
    return XK_EXIT_OK;
}

/* ---- the two ways to run ---- */

static char *join_titles(const char *const *targets, size_t count)
{
    xk_auto(xk_buf_done) struct xk_buf title = XK_BUF_INIT(4096);

    for (size_t i = 0; i < count && i < 3; i++)
        xk_buf_printf(&title, "%s%s", i ? ", " : "", targets[i]);
    if (count > 3)
        xk_buf_printf(&title, " and %zu more", count - 3);
    return xk_buf_take(&title);
}

static int examine(struct xk_app *app, const struct checkup_opts *opts, const char *const *targets, size_t count,
                   struct xk_err *err)
{
    struct checkup c;

    int code = checkup_examine(&c, app, targets, count, &opts->only, &opts->skip, &opts->access, err);
    if (code == 0) {
        xk_findings_show(app->out, &c.findings);
        if (opts->html) {
            xk_autofree char *title = join_titles(targets, count);
            code = title ? checkup_page_write(&c, app, opts->html, title, err) : xk_fail_memory(err);
        }
    }
    if (code == 0)
        code = c.tally.bad ? XK_EXIT_BAD : XK_EXIT_OK;
    checkup_done(&c);
    return code;
}

static int tell_demo(struct xk_app *app, const struct checkup_demo *demo, const struct checkup_demo_pool *pool,
                     const struct checkup *c, const char *page, struct xk_err *err)
{
    xk_auto(xk_buf_done) struct xk_buf differences = XK_BUF_INIT(XK_MIB);
    const int wrong_images = checkup_demo_verify(demo, c, &differences);
    const int wrong_pool = checkup_demo_pool_verify(c, &differences);

    if (wrong_images < 0 || wrong_pool < 0)
        return xk_fail_memory(err);
    const int wrong = wrong_images + wrong_pool;
    xk_say(app->out, "\nSample images:  %s\nHTML page:      %s\n", xk_out_clean(app->out, demo->dir),
           xk_out_clean(app->out, page));
    if (xk_out_format(app->out) != XK_OUT_TABLE) {
        xk_out_record(app->out, "demo");
        xk_put_str(app->out, "dir", demo->dir);
        xk_put_str(app->out, "html", page);
        xk_put_u64(app->out, "planted", demo->count + pool->planted);
        xk_put_u64(app->out, "differences", (uint64_t)wrong);
        xk_out_end(app->out);
    }
    if (wrong) {
        xk_say_color(app->out, XK_COLOR_BAD, "The demo failed:");
        xk_say(app->out, "\n%s", xk_buf_str(&differences));
        return XK_EXIT_BAD;
    }
    xk_say_color(app->out, XK_COLOR_GOOD, "The demo worked:");
    xk_say(app->out,
           " each of the %zu planted faults was found, and nothing else in the sample images and the\n"
           "simulated pool. (It is gone now; `xenkit sim` starts one.)\n",
           demo->count + pool->planted);
    return XK_EXIT_OK;
}

static int run_demo(struct xk_app *app, const struct checkup_opts *opts, struct xk_err *err)
{
    xk_auto(checkup_demo_done) struct checkup_demo demo = {0};
    xk_auto(checkup_demo_pool_stop) struct checkup_demo_pool pool = {.process = -1};
    struct checkup c = {0};

    int code = checkup_demo_build(&demo, app, opts->demo_dir, err);
    if (code < 0)
        return code;
    xk_autofree char *page = opts->html ? xk_strdup(opts->html) : xk_path_join(demo.dir, "checkup.html");
    if (!page)
        return xk_fail_memory(err);
    code = checkup_demo_pool_start(&pool, app, demo.dir, err);
    if (code < 0)
        return code;
    const char *const targets[] = {demo.dir, LOCALHOST, pool.url, pool.log};
    code = checkup_examine(&c, app, targets, XK_COUNT(targets), &opts->only, &opts->skip, &pool.access, err);
    if (code == 0) {
        xk_findings_show(app->out, &c.findings);
        code = checkup_page_write(&c, app, page, "Sample images, a simulated pool and this machine", err);
    }
    if (code == 0)
        code = tell_demo(app, &demo, &pool, &c, page, err);
    checkup_done(&c);
    return code;
}

static int run(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    const struct checkup_opts *opts = args->opts;
    const char *const here[] = {LOCALHOST, "unix:" HOST_SOCKET};
    const char *wrong = NULL;

    if (opts->demo && args->count)
        wrong = "--demo makes its own targets";
    else if (opts->demo && (opts->only.count || opts->skip.count))
        wrong = "--demo runs every check, since it compares what was found with what was planted";
    else if (opts->demo_dir && !opts->demo)
        wrong = "--demo-dir goes with --demo";
    else if (opts->list && (opts->demo || opts->html || args->count))
        wrong = "--list examines nothing";
    if (wrong) {
        const int code = xk_fail(err, -EINVAL, "%s", wrong);
        xk_err_exit(err, XK_EXIT_USAGE);
        return code;
    }
    if (opts->list)
        return list_checks(app, opts);
    if (opts->demo)
        return run_demo(app, opts, err);
    if (args->count == 0)
        return examine(app, opts, here, *app->root || !xk_exists("", HOST_SOCKET) ? 1 : 2, err);
    return examine(app, opts, args->operands, (size_t)args->count, err);
}

static const struct xk_exit_row exits[] = {
    {XK_EXIT_OK, "nothing of severity warning or critical; with --demo: exactly the planted faults were found"},
    {XK_EXIT_BAD,
     "something of severity warning or critical was found; with --demo: the findings differ from the plan"},
    {0, NULL},
};
static const struct checkup_opts defaults = {.access = CLIENT_ACCESS_DEFAULTS};
static const char *const example[] = {LOCALHOST, NULL};

const struct xk_command checkup_cmd_checkup = {
    .name = "checkup",
    .summary = "find what is wrong with a pool, disks and this machine, and what to do about it",
    .operands = "[FILE|DIR|localhost|URL…]",
    .min_operands = 0,
    .max_operands = -1,
    .opts = checkup_opts,
    .defaults = &defaults,
    .opts_bytes = sizeof(struct checkup_opts),
    .run = run,
    .exits = exits,
    .help = "Without a target, this machine is examined, and its pool when it is a host. From a folder, every disk "
            "image in it and below is taken.",
    .example = example,
};
