/* `xenkit net mesh`: measure a network from each host to each other one. */
#include "rooms/net/mesh-show.h"
#include "rooms/net/net.h"

#include "core/text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SECONDS       2
#define PROBE_BPS     10000000
#define NOT_SAID      UINT64_MAX
#define DEFAULT_SHELL "ssh -T -o BatchMode=yes {} xenkit net agent"

struct mesh_opts {
    const char *plan, *shell, *key_file, *html, *prometheus;
    struct xk_words patterns;
    uint64_t agent_port, seconds, streams, rate_bps, probe_bps;
};

static const struct xk_opt mesh_opts[] = {
    XK_OPT_TEXT(0, "plan", struct mesh_opts, plan, "FILE", "hosts and more from a file of JSON (see the manual page)"),
    XK_OPT_TEXT(0, "shell", struct mesh_opts, shell, "COMMAND",
                "how the agent of host {} is started [" DEFAULT_SHELL "]"),
    XK_OPT_U64(0, "agent-port", struct mesh_opts, agent_port, "PORT", 1, 65535,
               "agents listen on this port of their hosts, with the key of --key-file"),
    XK_OPT_TEXT('k', "key-file", struct mesh_opts, key_file, "FILE", "the key of agents that listen"),
    XK_OPT_LIST(0, "pattern", struct mesh_opts, patterns, "NAME",
                "pairs, all, incast or outcast; may be given again [pairs]"),
    XK_OPT_U64('t', "seconds", struct mesh_opts, seconds, "N", 1, MESH_SECONDS_MAX, "each flow lasts [2]"),
    XK_OPT_U64('P', "streams", struct mesh_opts, streams, "N", 1, MESH_STREAMS_MAX, "TCP streams of a flow [1]"),
    XK_OPT_RATE('b', "rate", struct mesh_opts, rate_bps, "RATE", "of each stream [as fast as it goes]"),
    XK_OPT_RATE(0, "probe-rate", struct mesh_opts, probe_bps, "RATE",
                "of the UDP second after each flow that counts losses; 0: none [10Mbit/s]"),
    XK_OPT_TEXT(0, "html", struct mesh_opts, html, "FILE", "write a page with heat maps, too"),
    XK_OPT_TEXT(0, "prometheus", struct mesh_opts, prometheus, "FILE",
                "write the links as metrics, too, for node_exporter's textfile collector"),
    XK_OPT_END,
};

/* ---- the plan ---- */

/* HOST or HOST=ADDRESS. */
static int add_host(struct mesh_plan *plan, const char *operand, const struct mesh_opts *opts,
                    const char *const *command, struct xk_err *err)
{
    char name[MESH_NAME_BYTES], endpoint[RESOLVE_NAME_BYTES + 8] = "";
    const char *const address = strchr(operand, '=');
    const size_t bytes = address ? (size_t)(address - operand) : strlen(operand);

    if (bytes >= sizeof(name))
        return xk_fail(err, -EINVAL, "\"%s\" is no host's name", operand);
    snprintf(name, sizeof(name), "%.*s", (int)bytes, operand);
    const char *const where = address ? address + 1 : name;
    if (opts->agent_port && strlen(where) < RESOLVE_NAME_BYTES)
        snprintf(endpoint, sizeof(endpoint), strchr(where, ':') ? "[%.200s]:%u" : "%.200s:%u", where,
                 (unsigned)opts->agent_port);
    return mesh_plan_add(plan, name, where, opts->agent_port ? NULL : command, endpoint, err);
}

static int read_file(struct mesh_plan *plan, const char *path, struct xk_err *err)
{
    xk_autofree char *text = NULL;

    const int code = xk_slurp(&text, "", path, MESH_PLAN_BYTES_MAX, err);
    return code < 0 ? code : mesh_plan_decode(plan, text, strlen(text), err);
}

/* What the command line says stands above what the file says. */
static int make_plan(struct mesh_plan *plan, const struct xk_args *args, struct xk_err *err)
{
    const struct mesh_opts *const opts = args->opts;
    xk_autofree char *shell = xk_strdup(opts->shell ? opts->shell : DEFAULT_SHELL);
    const char *words[MESH_WORDS_MAX + 1];

    *plan =
        (struct mesh_plan){.patterns = {[MESH_PAIRS] = true}, .seconds = SECONDS, .streams = 1, .probe_bps = PROBE_BPS};
    if (!shell)
        return xk_fail_memory(err);
    int code = mesh_plan_split(words, shell, err);
    if (code == 0 && opts->plan)
        code = read_file(plan, opts->plan, err);
    for (int i = 0; code == 0 && i < args->count; i++)
        code = add_host(plan, args->operands[i], opts, words, err);
    if (code == 0)
        code = mesh_plan_choose(plan, &opts->patterns, err);
    if (code == 0 && plan->host_count < 2)
        code = xk_fail(err, -EINVAL, "a mesh needs two hosts or more");
    if (code == -EINVAL)
        xk_err_exit(err, XK_EXIT_USAGE);
    if (opts->seconds)
        plan->seconds = opts->seconds;
    if (opts->streams)
        plan->streams = opts->streams;
    if (opts->rate_bps)
        plan->rate_bps = opts->rate_bps;
    if (opts->probe_bps != NOT_SAID)
        plan->probe_bps = opts->probe_bps;
    return code;
}

/* ---- the run ---- */

struct view {
    struct xk_app *app;
    const struct mesh_plan *plan;
};

static void on_flow(void *context, const struct mesh_flow *f)
{
    const struct view *const v = context;

    xk_log(v->app->log, XK_LOG_INFO, "%s: %s to %s: %s", mesh_pattern_name(f->pattern),
           v->plan->hosts[f->pair.from].name, v->plan->hosts[f->pair.to].name,
           f->done ? xk_rate((uint64_t)f->received_bps).s : f->why);
}

static int measure(struct xk_app *app, const struct mesh_opts *opts, const struct mesh_plan *plan, struct xk_err *err)
{
    struct mesh_result result = {0};
    struct mesh_verdict verdict = {0};
    struct mesh_key key;
    struct view view = {.app = app, .plan = plan};
    const struct mesh_run_settings settings = {
        .clock = app->clock,
        .root = app->root,
        .key = opts->key_file ? &key : NULL,
        .context = &view,
        .on_flow = on_flow,
    };
    struct xk_tally tally;

    int code = opts->key_file ? mesh_key_read(&key, opts->key_file, err) : 0;
    if (code == 0)
        code = mesh_run(&result, plan, &settings, err);
    /* What was measured before a stop is shown. */
    const int ended = code;
    if (code == 0 || (code == -EINTR && result.count > 0)) {
        code = mesh_verdict_find(&verdict, plan, &result);
        const struct net_mesh m = {.plan = plan, .result = &result, .verdict = &verdict};
        if (code == 0)
            net_mesh_show(app, &m);
        if (code == 0 && opts->html)
            code = net_mesh_page(app, &m, opts->html, err);
        if (code == 0 && opts->prometheus)
            code = net_mesh_metrics(app, &m, opts->prometheus, err);
    }
    xk_findings_tally(&tally, &verdict.findings);
    mesh_verdict_done(&verdict);
    mesh_result_done(&result);
    if (code < 0 || ended < 0)
        return code < 0 ? code : ended;
    return tally.bad ? XK_EXIT_BAD : XK_EXIT_OK;
}

static int run(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    xk_autofree struct mesh_plan *plan = xk_zalloc(sizeof(*plan));

    if (!plan)
        return xk_fail_memory(err);
    int code = make_plan(plan, args, err);
    if (code == 0)
        code = measure(app, args->opts, plan, err);
    mesh_plan_done(plan);
    return code;
}

static const struct xk_exit_row exits[] = {
    {XK_EXIT_OK, "all links are alike"},
    {XK_EXIT_BAD, "a link or a host is out of line, or could not be measured"},
    {0, NULL},
};
static const struct mesh_opts defaults = {.probe_bps = NOT_SAID};
static const char *const example[] = {"a=127.0.0.1", "b=127.0.0.1", "--shell", "false", NULL};

const struct xk_command net_cmd_mesh = {
    .name = "mesh",
    .summary = "measure from each host to each other one, and name what is not like the rest",
    .operands = "[HOST[=ADDRESS]…]",
    .min_operands = 0,
    .max_operands = -1,
    .opts = mesh_opts,
    .defaults = &defaults,
    .opts_bytes = sizeof(struct mesh_opts),
    .run = run,
    .exits = exits,
    .example = example,
};
