/* `xenkit pool tasks`: what the pool is at, since when, and whether it gets on; and an end to it. */
#include "rooms/pool/list.h"

#include <string.h>

struct tasks {
    struct client_access access;
    struct xk_words cancel;
    uint64_t watch_ns;
    bool all;
};

static const struct xk_opt tasks_opts[] = {
    XK_OPT_FLAG('a', "all", struct tasks, all, "those that have ended, too"),
    XK_OPT_DURATION(0, "watch", struct tasks, watch_ns, "TIME",
                    "look a second time after TIME, to see which get on [1s]"),
    XK_OPT_LIST(0, "cancel", struct tasks, cancel, "UUID", "cancel this task instead of listing; may be given again"),
    CLIENT_ACCESS_OPTS(struct tasks, access),
    XK_OPT_END,
};

static bool is_pending(const struct xapi_value *task)
{
    const char *const status = poolview_text(task, "status");

    return strcmp(status, "pending") == 0 || strcmp(status, "cancelling") == 0;
}

static void put_task(struct xk_out *out, const struct poolview *before, const struct poolview *after, uint32_t i)
{
    const struct xapi_value *const task = poolview_record(after, POOLVIEW_TASK, i);
    const struct xapi_value *const was = poolview_find(before, POOLVIEW_TASK, poolview_ref(after, POOLVIEW_TASK, i));
    const int64_t created_s = poolview_time(task, "created");

    xk_row(out);
    xk_put_str(out, "name", poolview_text(task, "name_label"));
    xk_put_str(out, "status", poolview_text(task, "status"));
    xk_put_duration(out, "age",
                    created_s && after->pool_now_s > created_s ? (uint64_t)(after->pool_now_s - created_s) * XK_NS_PER_S
                                                               : 0);
    xk_put_pct(out, "progress", 100 * poolview_real(task, "progress"));
    if (is_pending(task) && was)
        xk_put_bool(out, "moves", poolview_real(task, "progress") > poolview_real(was, "progress"));
    else
        xk_put_none(out, "moves");
    const struct xapi_value *const allowed = xapi_map_get(task, "allowed_operations");
    xk_put_bool(out, "cancellable", allowed && allowed->shape == XAPI_LIST && xapi_list_has(allowed, "cancel"));
    xk_put_str(out, "uuid", poolview_text(task, "uuid"));
}

static int list(struct xk_app *app, const struct tasks *opts, const char *url, struct xk_err *err)
{
    struct poolview before = {0}, after = {0};

    int code = pool_list_take(&before, app, url, &opts->access, POOL_CLASS(POOL) | POOL_CLASS(TASK), 0, err);
    if (code == 0 && opts->watch_ns && poolview_count(&before, POOLVIEW_TASK))
        app->clock->sleep_ns(app->clock, opts->watch_ns);
    if (code == 0)
        code = pool_list_take(&after, app, url, &opts->access, POOL_CLASS(POOL) | POOL_CLASS(TASK), 0, err);
    if (code == 0) {
        size_t shown = 0;
        xk_out_rows(app->out, "tasks");
        for (uint32_t i = 0; i < poolview_count(&after, POOLVIEW_TASK); i++) {
            if (!opts->all && !is_pending(poolview_record(&after, POOLVIEW_TASK, i)))
                continue;
            put_task(app->out, &before, &after, i);
            shown++;
        }
        xk_out_end(app->out);
        if (!shown)
            xk_say(app->out, "No task is %s.\n", opts->all ? "known" : "pending");
    }
    poolview_done(&before);
    poolview_done(&after);
    return code;
}

static int cancel_one(struct xk_app *app, struct client *c, const char *uuid, struct xk_err *err)
{
    struct xk_arena arena = XK_ARENA_INIT(XK_MIB);
    struct xapi_value task;

    int code = client_ask(c, &task, &arena, err, "task.get_by_uuid", "s", uuid);
    if (code == 0)
        code = client_ask(c, NULL, NULL, err, "task.cancel", "s", xapi_value_text(&task));
    xk_arena_done(&arena);
    if (code < 0)
        return code;
    xk_row(app->out);
    xk_put_str(app->out, "uuid", uuid);
    xk_put_bool(app->out, "cancelled", true);
    return 0;
}

static int cancel(struct xk_app *app, const struct tasks *opts, const char *url, const char *const *uuids, size_t count,
                  struct xk_err *err)
{
    xk_auto(client_closep) struct client *c = NULL;
    const struct client_manner manner = {.originator = "xenkit-pool"};

    int code = client_open(&c, app, url, &opts->access, &manner, err);
    if (code < 0)
        return code;
    xk_out_rows(app->out, "cancelled");
    for (size_t i = 0; code == 0 && i < count; i++)
        code = cancel_one(app, c, uuids[i], err);
    xk_out_end(app->out);
    return code;
}

/* "[POOL] cancel UUID…" is the same as "[POOL] --cancel UUID…". */
static int run(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    const struct tasks *const opts = args->opts;
    int at = args->count && strcmp(args->operands[0], "cancel") != 0;
    const char *const url = at ? args->operands[0] : NULL;

    if (at < args->count && strcmp(args->operands[at], "cancel") == 0 && at + 1 < args->count && !opts->cancel.count)
        return cancel(app, opts, url, args->operands + at + 1, (size_t)(args->count - at - 1), err);
    if (at < args->count) {
        const int code = xk_fail(err, -EINVAL, "%s: after the pool only \"cancel UUID\" may come", args->operands[at]);
        xk_err_exit(err, XK_EXIT_USAGE);
        return code;
    }
    if (opts->cancel.count)
        return cancel(app, opts, url, opts->cancel.items, opts->cancel.count, err);
    return list(app, opts, url, err);
}

static const struct tasks defaults = {.access = CLIENT_ACCESS_DEFAULTS, .watch_ns = XK_NS_PER_S};
static const char *const example[] = {NULL};

const struct xk_command pool_cmd_tasks = {
    .name = "tasks",
    .summary = "list the tasks of a pool, and which of them get on; cancel them",
    .operands = "[POOL] [cancel UUID…]",
    .max_operands = -1,
    .opts = tasks_opts,
    .defaults = &defaults,
    .opts_bytes = sizeof(struct tasks),
    .run = run,
    .example = example,
};
