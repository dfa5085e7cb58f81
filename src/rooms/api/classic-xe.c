/*
 * The classic `xe`: its options, and the two sides between which lib/xe works, a pool that is reached by lib/client and
 * the terminal.
 *
 * The real one sends its words to the server, which does everything. This one does it itself over the XenAPI: so it
 * needs no login for each command, and speaks to a server that has no thin protocol.
 */
#include "rooms/api/classic-xe.h"

#include "core/text.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define ORIGINATOR       "cli"
#define HOST_SOCKET      "/var/lib/xcp/xapi"
#define MEMORY_BYTES_MAX ((size_t)4 << 30)
#define WORDS_BYTES_MAX  (16u << 20)
#define COMPLETE_NS      (2 * XK_NS_PER_S)

void xe_say_error(const struct xe_front *f, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    if (f->app->log->fd >= 0)
        (void)vdprintf(f->app->log->fd, format, args);
    va_end(args);
}

static const char usage_text[] = "Usage:\n"
                                 "  %s <command>\n"
                                 "    [ -s <server> ]            XenServer host\n"
                                 "    [ -p <port> ]              XenServer port number\n"
                                 "    [ -u <username> -pw <password> | -pwf <password file> ]\n"
                                 "                               User authentication (password or file)\n"
                                 "    [ --nossl ]                Disable SSL/TLS\n"
                                 "    [ --debug ]                Enable debug output\n"
                                 "    [ --debug-on-fail ]        Enable debug output only on failure\n"
                                 "    [ --minimal ]              Output only values in a comma-separated lists\n"
                                 "    [ --traceparent <value> ]  Distributed tracing context\n"
                                 "    [ --trace ]                Show task stacktrace on failure\n"
                                 "    [ <other arguments> ... ]  Command-specific options\n"
                                 "\n"
                                 "A full list of commands can be obtained by running\n"
                                 "  %s help -s <server> -p <port>\n";

/* ---- the terminal ---- */

static int on_print(void *context, const char *text)
{
    const struct xe_front *const f = context;

    xk_out_raw(f->app->out, text, strlen(text));
    xk_out_raw(f->app->out, "\n", 1);
    xk_out_flush(f->app->out);
    const int error = xk_out_error(f->app->out);
    return error ? xk_fail_sys(f->err, error > 0 ? -error : error, "writing the output") : 0;
}

static int on_complain(void *context, const char *text)
{
    xe_say_error(context, "%s", text);
    return 0;
}

static int on_error(void *context, const char *code, const char *const *params, size_t count)
{
    const struct xe_front *const f = context;

    xe_say_error(f, "Error code: %s\nError parameters: ", code);
    for (size_t i = 0; i < count; i++)
        xe_say_error(f, "%s%s", i > 0 ? ", " : "", params[i]);
    xe_say_error(f, "\n");
    return 0;
}

static int on_prompt(void *context, struct xk_buf *ret)
{
    const struct xe_front *const f = context;
    char c;

    for (;;) {
        const ssize_t n = read(STDIN_FILENO, &c, 1);
        if (n < 0 && errno == EINTR && !xk_stop_signal())
            continue;
        if (n <= 0 && ret->len == 0)
            return xk_fail(f->err, -ECONNRESET, "standard input has ended");
        if (n <= 0 || c == '\n')
            return ret->error;
        xk_buf_add_char(ret, c);
    }
}

static int on_load(void *context, const char *path, struct xk_buf *ret)
{
    const struct xe_front *const f = context;
    xk_autoclose const int fd = open(path, O_RDONLY | O_CLOEXEC);
    char piece[64 << 10];
    ssize_t n = 0;

    while (fd >= 0 && !ret->error && (n = read(fd, piece, sizeof(piece))) > 0)
        xk_buf_add(ret, piece, (size_t)n);
    if (ret->error)
        return ret->error == -EFBIG ? -EFBIG : xk_fail_memory(f->err);
    return fd < 0 || n < 0 ? XE_TERMINAL_FAILED : 0;
}

static int on_begin(void *context, enum xe_transfer kind, const char *path, const char *address)
{
    struct xe_front *const f = context;

    f->transfer = xe_transfer(f, kind, path, address);
    return f->transfer < 0 ? f->transfer : 0;
}

static int on_end(void *context)
{
    const struct xe_front *const f = context;

    return f->transfer;
}

/* ---- the pool ---- */

/* An error of the pool as a reply; 0 stays 0. */
static int as_reply(struct xe_front *f, int code, struct xk_arena *arena, struct xapi_reply *ret, struct xk_err *err)
{
    const struct client_failure *const failure = code == -EREMOTEIO ? client_failure(f->client) : NULL;

    if (!failure)
        return code;
    struct xapi_value *const texts = xk_arena_alloc(arena, (failure->count + 1u) * sizeof(*texts));
    if (!texts)
        return xk_fail_memory(err);
    for (unsigned i = 0; i <= failure->count; i++) {
        const char *const copy = xk_arena_strdup(arena, i == 0 ? failure->code : failure->params[i - 1]);
        if (!copy)
            return xk_fail_memory(err);
        texts[i] = xapi_str(copy);
    }
    xk_err_clear(err);
    *ret = (struct xapi_reply){.failed = true, .value = xapi_list(texts, failure->count + 1u)};
    return 0;
}

static bool is_socket(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISSOCK(st.st_mode);
}

/* On this host the management agent's own socket, or plain HTTP; elsewhere HTTPS. */
static void pool_url(const struct xe_front *f, char *ret, size_t bytes)
{
    const struct xe_options *const o = &f->options;
    const bool here = strcmp(o->server, "127.0.0.1") == 0, v6 = strchr(o->server, ':') && *o->server != '[';

    if (here && is_socket(HOST_SOCKET))
        (void)snprintf(ret, bytes, "unix:%s", HOST_SOCKET);
    else
        (void)snprintf(ret, bytes, "%s://%s%s%s%s%s", here || o->no_tls ? "http" : "https", v6 ? "[" : "", o->server,
                       v6 ? "]" : "", o->port ? ":" : "", o->port ? o->port : "");
}

static int on_open(void *context, struct xk_arena *arena, bool local, const char *user, const char *password,
                   struct xapi_reply *ret, struct xk_err *err)
{
    struct xe_front *const f = context;
    struct client_access access = CLIENT_ACCESS_DEFAULTS;
    const struct client_manner manner = {.originator = ORIGINATOR,
                                         .keep = !f->options.no_session_cache && !local,
                                         .trace = f->options.trace,
                                         .baggage = f->options.baggage};
    char url[512];

    access.user = f->options.user;
    access.password = f->options.password;
    access.password_is_default = !f->options.password_said;
    access.session_cache = !f->options.no_session_cache && !local;
    access.emergency = local;
    access.timeout_ns = 0; /* what the pool needs is waited for, as the real one does */
    f->local = local;
    pool_url(f, url, sizeof(url));
    int code = client_open(&f->client, f->client_app, url, &access, &manner, err);
    if (code == 0)
        code = as_reply(f, client_login(f->client, err), arena, ret, err);
    if (code < 0 || ret->failed) {
        client_close(f->client);
        f->client = NULL;
    }
    return code;
}

static int on_call(void *context, struct xk_arena *arena, const char *session, const char *method,
                   const struct xapi_value *params, size_t count, struct xapi_reply *ret, struct xk_err *err)
{
    struct xe_front *const f = context;

    *ret = (struct xapi_reply){0};
    const int code = session ? client_call_as(f->client, &ret->value, arena, session, method, params, count, err)
                             : client_call(f->client, &ret->value, arena, method, params, count, err);
    return as_reply(f, code, arena, ret, err);
}

static const char *on_session(void *context)
{
    const struct xe_front *const f = context;

    return client_session(f->client);
}

static void on_close(void *context)
{
    struct xe_front *const f = context;

    client_close(f->client);
    f->client = NULL;
}

static int64_t on_now(void *context)
{
    const struct xe_front *const f = context;

    return f->app->clock->utc_ns(f->app->clock) / (int64_t)XK_NS_PER_S;
}

/* ---- the whole ---- */

/* What the real one says when it cannot reach the server, or loses it. */
static void tell_lost(const struct xe_front *f, int code, const struct xk_err *err)
{
    static const int system_errors[] = {ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, EACCES};

    for (size_t i = 0; i < XK_COUNT(system_errors); i++)
        if (code == -system_errors[i])
            return xe_say_error(f, "Error: %s (calling connect )\n", strerror(system_errors[i]));
    if (code == -ENOENT || code == -ENXIO)
        return xe_say_error(f, "Host '%s' not found.\n", f->options.server);
    if (code == -ECONNRESET)
        return xe_say_error(f, "Lost connection to the server.\n");
    xe_say_error(f, "Error: %s\n%s%s", err->text, err->hint, *err->hint ? "\n" : "");
}

static int run_command(struct xe_front *f, struct xk_err *err)
{
    const struct xe_remote remote = {
        .context = f,
        .open = on_open,
        .call = on_call,
        .session = on_session,
        .close = on_close,
        .now_s = on_now,
    };
    const struct xe_terminal terminal = {
        .context = f,
        .print = on_print,
        .complain = on_complain,
        .error = on_error,
        .prompt = on_prompt,
        .load = on_load,
        .begin = on_begin,
        .end = on_end,
    };
    const struct xe_settings settings = {
        .remote = &remote, .terminal = &terminal, .memory_bytes_max = MEMORY_BYTES_MAX};

    f->err = err;
    const int status = xe_run(&settings, f->options.words, f->options.word_count, err);
    if (status >= 0)
        return status;
    if (status != -EINTR)
        tell_lost(f, status, err);
    return 1;
}

/* --debug-on-fail: what would have been said is kept, and said when the command has failed. */
static int run_with_log(struct xe_front *f, struct xk_err *err)
{
    const bool keep = f->options.debug_on_fail && !f->options.debug;
    xk_autoclose const int kept = keep ? memfd_create("xe-debug", MFD_CLOEXEC) : -1;
    struct xk_log log = *f->app->log;
    struct xk_app app = *f->app;
    char piece[4096];
    ssize_t n;

    log.level = f->options.debug || keep ? XK_LOG_DEBUG : XK_LOG_WARN;
    log.fd = keep ? kept : log.fd;
    log.terminal &= !keep;
    app.log = &log;
    f->client_app = &app;
    const int status = run_command(f, err);
    if (status == 0 || kept < 0 || lseek(kept, 0, SEEK_SET) < 0)
        return status;
    xe_say_error(f, "\nDebug info:\n\n");
    while ((n = read(kept, piece, sizeof(piece))) > 0)
        xe_say_error(f, "%.*s", (int)n, piece);
    return status;
}

static int run(struct xk_app *app, int argc, char **argv)
{
    struct xk_arena arena = XK_ARENA_INIT(WORDS_BYTES_MAX);
    struct xe_front f = {.app = app};
    struct xk_err err = {0};
    int status = 1;

    switch (xe_options_read(&f.options, app, &arena, argc, argv)) {
    case XE_PARSED:
        status = run_with_log(&f, &err);
        break;
    case XE_PARSED_USAGE:
        xe_say_error(&f, usage_text, argv[0], argv[0]);
        status = 0;
        break;
    case XE_PARSED_VERSION:
        xk_out_rawf(app->out, "ThinCLI protocol: 0.2\n");
        status = 0;
        break;
    case XE_PARSED_FAILED:
        break;
    }
    xk_arena_done(&arena);
    return status;
}

/* ---- completion ---- */

static int on_value(void *context, const char *text)
{
    xk_buf_add_str(context, text);
    return 0;
}

static int on_silence(void *context, const char *text)
{
    return 0;
}

static int on_silent_error(void *context, const char *code, const char *const *params, size_t count)
{
    return 0;
}

/* Nobody is asked for a password while a line is typed: there is a kept session, or nothing to offer. */
static int on_open_kept(void *context, struct xk_arena *arena, bool local, const char *user, const char *password,
                        struct xapi_reply *ret, struct xk_err *err)
{
    struct xe_front *const f = context;
    struct client_access access = CLIENT_ACCESS_DEFAULTS;
    char url[512];

    access.user = f->options.user;
    access.timeout_ns = COMPLETE_NS;
    pool_url(f, url, sizeof(url));
    *ret = (struct xapi_reply){0};
    int code = client_open(&f->client, f->client_app, url, &access,
                           &(struct client_manner){.originator = ORIGINATOR, .keep = true}, err);
    if (code == 0 && !client_take_kept(f->client))
        code = -ENOENT;
    if (code < 0)
        on_close(f);
    return code;
}

/* Values that only the pool knows, "NAME=" before each. */
static void offer_values(const struct xk_offer *offer, struct xe_front *f, const char *command, const char *begun)
{
    const struct xe_remote remote = {
        .context = f, .open = on_open_kept, .call = on_call, .session = on_session, .close = on_close, .now_s = on_now};
    struct xk_buf values = XK_BUF_INIT(WORDS_BYTES_MAX);
    const struct xe_terminal terminal = {
        .context = &values, .print = on_value, .complain = on_silence, .error = on_silent_error};
    const struct xe_settings settings = {
        .remote = &remote, .terminal = &terminal, .memory_bytes_max = MEMORY_BYTES_MAX};
    char list[XE_LIST_COMMAND_BYTES], params[128];
    const char *field;
    struct xk_err err = {0};

    if (!xe_complete_list(list, &field, command, begun))
        return;
    (void)snprintf(params, sizeof(params), "params=%s", field);
    (void)xe_run(&settings, (const char *const[]){list, params, "--minimal"}, 3, &err);
    char *rest = values.data;
    for (char *value; rest && (value = strsep(&rest, ","));) {
        char text[512];
        (void)snprintf(text, sizeof(text), "%.*s=%s", (int)strcspn(begun, "="), begun, value);
        if (*value)
            offer->take(offer, text);
    }
    xk_buf_done(&values);
}

static void complete(const struct xk_offer *offer, const struct xk_app *app, int count, char **words)
{
    struct xk_arena arena = XK_ARENA_INIT(WORDS_BYTES_MAX);
    struct xk_log silent = {.fd = -1};
    struct xk_app own = *app;
    struct xe_front f = {.app = &own, .client_app = &own};
    struct xk_buf found = XK_BUF_INIT(1u << 20);
    char program[] = "xe";
    char **const argv = xk_arena_alloc(&arena, ((size_t)count + 2) * sizeof(*argv));

    own.log = &silent;
    if (argv) {
        argv[0] = program;
        memcpy(argv + 1, words, (size_t)count * sizeof(*argv));
        /* The last word is begun only, whatever it will be. */
        const enum xe_parsed parsed = xe_options_read(&f.options, &own, &arena, count, argv);
        if ((parsed == XE_PARSED || parsed == XE_PARSED_USAGE) && f.options.words &&
            f.options.word_count < XE_ARGS_MAX) {
            f.options.words[f.options.word_count] = words[count - 1];
            xe_complete(&found, f.options.words, f.options.word_count + 1);
            char *rest = found.data;
            for (char *line; rest && (line = strsep(&rest, "\n"));)
                if (*line)
                    offer->take(offer, line);
            if (found.len == 0 && f.options.word_count > 0)
                offer_values(offer, &f, f.options.words[0], words[count - 1]);
        }
    }
    xk_buf_done(&found);
    xk_arena_done(&arena);
}

static const struct xk_exit_row exits[] = {
    {0, "done; also no command at all, and --help"},
    {1, "the command, the server or the way to it failed"},
    {2, "host-ha-xapi-healthcheck: not healthy"},
    {3, "host-ha-xapi-healthcheck: it could not be asked"},
    {0, NULL},
};

const struct xk_classic api_classic_xe = {
    .name = "xe",
    .summary = "the command line of XenServer and XCP-ng, with its commands, options and texts",
    .run = run,
    .kind = XK_ONE_SHOT,
    .exits = exits,
    .complete = complete,
};
