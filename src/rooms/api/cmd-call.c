/* `xenkit api call`: any message, its arguments as words, checked before anything is sent. */
#include "rooms/api/api.h"

#include "core/text.h"
#include "lib/xapi/args.h"

#include <stdio.h>
#include <string.h>

#define ARGS_MAX     16
#define PROGRESS_ALL 1000

struct call {
    struct client_access access;
    const char *pool;
    bool async;
    uint64_t deadline_ns, grace_ns;
};

static const struct xk_opt call_opts[] = {
    XK_OPT_TEXT(0, "pool", struct call, pool, "POOL",
                "URL or HOST[:PORT] of the pool [XENKIT_POOL, or the kept session's]"),
    XK_OPT_FLAG(0, "async", struct call, async, "as a task: with progress, and cancelled when this command is stopped"),
    XK_OPT_DURATION(0, "deadline", struct call, deadline_ns, "TIME", "cancel the task after TIME [never]"),
    XK_OPT_DURATION(0, "grace", struct call, grace_ns, "TIME", "wait so long for a cancelled task to end [1m]"),
    CLIENT_ACCESS_OPTS(struct call, access),
    XK_OPT_END,
};

static int usage(struct xk_err *err, const char *format, ...) XK_PRINTF(2, 3);

static int usage(struct xk_err *err, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)xk_vfail(err, -EINVAL, format, args);
    va_end(args);
    xk_err_exit(err, XK_EXIT_USAGE);
    return -EINVAL;
}

/* ---- which message ---- */

static const char *bare_name(const char *word)
{
    return xk_has_prefix(word, "Async.") ? word + strlen("Async.") : word;
}

static bool is_message(const char *word)
{
    return xapi_message_find(bare_name(word)) != NULL;
}

static int unknown_message(const char *word, struct xk_err *err)
{
    xk_autofree const char **all = xk_array_alloc(xapi_message_count, sizeof(*all));

    (void)usage(err, "the data model has no message %s", word);
    for (size_t i = 0; all && i < xapi_message_count; i++)
        all[i] = xapi_text(xapi_messages[i].name);
    const char *const near = all ? xk_nearest(word, all, xapi_message_count, sizeof(*all)) : NULL;
    if (near)
        xk_err_hint(err, "did you mean %s?", near);
    else
        xk_err_hint(err, "xenkit api describe CLASS lists the messages of a class");
    return -EINVAL;
}

/* Sessions are the client's business: one that a call opened would be left behind. */
static int refuse_login(const struct xapi_message *m, struct xk_err *err)
{
    static const char *const names[] = {"session.login_with_password", "session.slave_login",
                                        "session.slave_local_login", "session.slave_local_login_with_password",
                                        "session.create_from_db_file"};

    for (size_t i = 0; i < XK_COUNT(names); i++) {
        if (strcmp(xapi_text(m->name), names[i]) == 0) {
            (void)usage(err, "%s would open a session that nobody ends", names[i]);
            xk_err_hint(err, "every call logs in by itself; xenkit api login keeps a session for the next ones");
            return -EINVAL;
        }
    }
    return 0;
}

/* ---- its arguments ---- */

static bool is_uuid(const char *word)
{
    for (size_t i = 0; i < 36; i++) {
        const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? word[i] != '-' : !strchr("0123456789abcdefABCDEF", word[i]) || !word[i])
            return false;
    }
    return word[36] == '\0';
}

static int ref_by_name(struct client *c, struct xapi_value *ret, struct xk_arena *arena, const char *class_name,
                       const char *name, struct xk_err *err)
{
    char message[128];
    struct xapi_value refs;

    snprintf(message, sizeof(message), "%s.get_by_name_label", class_name);
    const int code = client_ask(c, &refs, arena, err, message, "s", name);
    if (code < 0)
        return code;
    if (refs.shape != XAPI_LIST || refs.count != 1)
        return usage(err, "%u objects of the class %s have the name \"%s\"", refs.shape == XAPI_LIST ? refs.count : 0,
                     class_name, name);
    *ret = refs.items[0];
    return 0;
}

/* A ref may be said as a uuid, or as name:LABEL: it is looked up. */
static int look_up(struct client *c, struct xapi_value *v, struct xk_arena *arena, const struct xapi_type *type,
                   struct xk_err *err)
{
    const char *const word = xapi_value_text(v);
    const struct xapi_class *const class_row = type->of == XAPI_NONE ? NULL : &xapi_classes[type->of];
    char message[128];

    if (type->kind != XAPI_REF || !class_row || v->shape != XAPI_TEXT)
        return 0;
    const char *const name = xapi_text(class_row->name);
    if (class_row->uuid != XAPI_NONE && is_uuid(word)) {
        snprintf(message, sizeof(message), "%s.get_by_uuid", name);
        return client_ask(c, v, arena, err, message, "s", word);
    }
    if (class_row->name_label != XAPI_NONE && xk_has_prefix(word, "name:"))
        return ref_by_name(c, v, arena, name, word + strlen("name:"), err);
    return 0;
}

/* All words are looked at before the first lookup is sent. */
static int read_args(struct xapi_value *ret, struct xk_arena *arena, const struct xapi_message *m, const char **words,
                     size_t count, struct xk_err *err)
{
    struct xapi_value checked[ARGS_MAX], probe[ARGS_MAX];

    for (size_t i = 0; i < count; i++) {
        const uint16_t type = i < m->params ? xapi_params[m->first_param + i].type : 0;
        const int code = xapi_word_parse(&ret[i], arena, type, words[i], err);
        if (code < 0)
            return code;
        const bool named = i < m->params && xapi_type_of(type)->kind == XAPI_REF &&
                           (is_uuid(words[i]) || xk_has_prefix(words[i], "name:"));
        probe[i] = named ? xapi_str("OpaqueRef:") : ret[i];
    }
    return xapi_args_check(checked, arena, m, probe, count, err);
}

static int look_up_all(struct client *c, struct xapi_value *args, struct xk_arena *arena, const struct xapi_message *m,
                       size_t count, struct xk_err *err)
{
    for (size_t i = 0; i < count; i++) {
        const int code = look_up(c, &args[i], arena, xapi_type_of(xapi_params[m->first_param + i].type), err);
        if (code < 0)
            return code;
    }
    return 0;
}

/* ---- the call ---- */

static void show_progress(void *context, double done)
{
    xk_prog_set(context, (uint64_t)(done * PROGRESS_ALL));
}

static int send(struct xk_app *app, struct client *c, struct xapi_value *ret, struct xk_arena *arena,
                const struct call *opts, const char *name, const struct xapi_value *args, size_t count,
                struct xk_err *err)
{
    struct xk_prog progress;
    const struct client_watch watch = {
        .progress = show_progress, .context = &progress, .deadline_ns = opts->deadline_ns, .grace_ns = opts->grace_ns};

    if (!opts->async)
        return client_call(c, ret, arena, name, args, count, err);
    xk_prog_begin(&progress, app->log, app->clock, bare_name(name), PROGRESS_ALL, false);
    const int code = client_run(c, ret, arena, bare_name(name), args, count, &watch, err);
    xk_prog_end(&progress);
    return code;
}

static int call(struct xk_app *app, const char *pool, const struct call *opts, const char *name, const char **words,
                size_t count, struct xk_err *err)
{
    xk_auto(xk_arena_done) struct xk_arena arena = XK_ARENA_INIT(API_RESULT_BYTES_MAX);
    xk_auto(client_closep) struct client *c = NULL;
    const struct xapi_message *const m = xapi_message_find(bare_name(name));
    struct xapi_value args[ARGS_MAX], result = xapi_nil();

    int code = m ? refuse_login(m, err) : 0;
    if (code == 0 && opts->async && !(m && m->flags & XAPI_MESSAGE_ASYNC))
        code = usage(err, "%s cannot be called as a task", bare_name(name));
    if (code == 0 && m)
        code = read_args(args, &arena, m, words, count, err);
    if (code == 0)
        code = client_open(&c, app, pool, &opts->access, &(struct client_manner){.originator = API_ORIGINATOR}, err);
    if (code == 0 && m)
        code = look_up_all(c, args, &arena, m, count, err);
    if (code == 0)
        code = send(app, c, &result, &arena, opts, name, args, count, err);
    if (code == 0)
        api_show(app->out, &result);
    return code;
}

static int run(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    const struct call *const opts = args->opts;
    const bool first = !opts->pool && args->count > 1 &&
                       api_is_pool(args->operands[0], !is_message(args->operands[0]) && is_message(args->operands[1]));
    const char *const pool = first ? args->operands[0] : opts->pool;
    const char **const words = args->operands + first;
    const size_t count = (size_t)args->count - first - 1;

    if ((opts->deadline_ns || opts->grace_ns) && !opts->async)
        return usage(err, "--%s is for tasks: --async makes the call one", opts->deadline_ns ? "deadline" : "grace");
    if (count > ARGS_MAX)
        return usage(err, "no message takes %zu arguments", count);
    if (!is_message(words[0]) && strcmp(words[0], "system.listMethods") != 0)
        return unknown_message(words[0], err);
    return call(app, pool, opts, words[0], words + 1, count, err);
}

static const struct call defaults = {.access = CLIENT_ACCESS_DEFAULTS};
static const char *const example[] = {"VM.get_all", NULL};

const struct xk_command api_cmd_call = {
    .name = "call",
    .summary = "call a message, such as VM.get_all_records",
    .operands = "[POOL] CLASS.MESSAGE [ARGUMENT…]",
    .min_operands = 1,
    .max_operands = -1,
    .opts = call_opts,
    .defaults = &defaults,
    .opts_bytes = sizeof(struct call),
    .run = run,
    .example = example,
    .complete = api_offer_messages,
    .help =
        "An ARGUMENT is a word or JSON; a,b is a set, a=b,c=d a map. A ref may be given as a uuid or as name:LABEL.\n"
        "Arguments are checked against the data model before anything is sent.",
};
