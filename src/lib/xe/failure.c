/*
 * How commands fail, and how that is told.
 *
 * The failure is kept in the run and not returned: a command calls a dozen messages in a row, and asking after each one
 * would hide what it does. A longjmp was weighed; it would leave locked and open things behind.
 */
#include "lib/xe/inner.h"

#include <stdio.h>
#include <string.h>

#define USAGE_LINE "For usage run: 'xe help'\n"

void xe_fail_memory(struct xe *x)
{
    if (x->failure == XE_LOST)
        return;
    x->failure = XE_LOST;
    x->status = xk_fail_memory(x->err);
}

void xe_fail_lost(struct xe *x, int code)
{
    x->failure = XE_LOST;
    x->status = code;
}

void xe_fail(struct xe *x, const char *format, ...)
{
    char text[2048];
    va_list args;

    if (!xe_fine(x))
        return;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    xe_fail_other(x, XE_FAILED, text);
}

void xe_fail_other(struct xe *x, enum xe_failure failure, const char *text)
{
    if (!xe_fine(x))
        return;
    x->failure = failure;
    x->text = xk_arena_strdup(&x->arena, text);
    if (!x->text)
        xe_fail_memory(x);
}

void xe_fail_exit(struct xe *x, int status)
{
    if (!xe_fine(x))
        return;
    x->failure = XE_EXIT;
    x->status = status;
}

void xe_fail_server(struct xe *x, const char *code, ...)
{
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&x->arena);
    va_list args;

    if (!xe_fine(x))
        return;
    xapi_build_open(&b, XAPI_LIST);
    va_start(args, code);
    for (const char *text = code; text; text = va_arg(args, const char *))
        xapi_build_text(&b, text);
    va_end(args);
    xapi_build_close(&b);
    x->failure = XE_SERVER;
    if (xapi_build_end(&b, &x->server) < 0)
        xe_fail_memory(x);
}

bool xe_failed_with(const struct xe *x, const char *code)
{
    return x->failure == XE_SERVER && strcmp(xe_item(&x->server, 0), code) == 0;
}

bool xe_forgive(struct xe *x)
{
    if (x->failure == XE_FINE || x->failure == XE_LOST)
        return false;
    x->failure = XE_FINE;
    return true;
}

/* ---- telling ---- */

/* The names that the model gives an error's parameters, one after the other. */
static const char *next_name(const char **names, char ret[128])
{
    const size_t len = strcspn(*names, ",");

    if (!**names)
        return NULL;
    (void)snprintf(ret, 128, "%.*s", (int)XK_MIN(len, (size_t)127), *names);
    *names += len + ((*names)[len] == ',');
    return ret;
}

const char *xe_error_lines(struct xe *x, const struct xapi_value *error, bool one_text)
{
    const char *const code = xe_item(error, 0), *const sentence = xe_error_text(code);
    const struct xapi_error *const row = xapi_error_find(code);
    const char *names = row ? xapi_text(row->params) : "";
    const bool all_vms = strcmp(code, "VMS_FAILED_TO_COOPERATE") == 0;
    struct xk_buf text = XK_BUF_INIT(1u << 20);
    char name[128];

    if (!sentence)
        return NULL;
    xk_buf_add_str(&text, sentence);
    if (one_text)
        xk_buf_add_char(&text, '\n');
    for (uint32_t i = 1;; i++) {
        const char *const known = all_vms ? i < error->count ? "VM" : NULL : next_name(&names, name);
        if (!known && i >= error->count)
            break;
        const char *const value = i < error->count ? xe_index_convert(x, xe_item(error, i)) : "<unknown>";
        xk_buf_printf(&text, "%s%s: %s", one_text && i == 1 ? "" : "\n", known ? known : "<extra>", value);
    }
    const char *const lines = text.error ? NULL : xk_arena_strdup(&x->arena, xk_buf_str(&text));
    xk_buf_done(&text);
    return lines ? lines : sentence;
}

const char *xe_exception_text(struct xe *x)
{
    struct xk_buf text = XK_BUF_INIT(64u << 10);

    if (x->failure == XE_SERVER) {
        xk_buf_printf(&text, "%s: [ ", xe_item(&x->server, 0));
        for (uint32_t i = 1; i < x->server.count; i++)
            xk_buf_printf(&text, "%s%s", i > 1 ? "; " : "", xe_item(&x->server, i));
        xk_buf_add_str(&text, " ]");
    } else {
        xk_buf_printf(&text, "INTERNAL_ERROR: [ %s(\"%s\") ]",
                      x->failure == XE_NO_FIELD ? "Records.CLI_failed_to_find_param" : "Cli_util.Cli_failure",
                      x->text ? x->text : "");
    }
    const char *const copy = xk_arena_strdup(&x->arena, xk_buf_str(&text));
    xk_buf_done(&text);
    return copy ? copy : "";
}

static void tell_server(struct xe *x)
{
    const char *const code = xe_item(&x->server, 0);
    const char *params[64];
    size_t count = 0;

    x->failure = XE_FINE;
    if (strcmp(code, "SESSION_AUTHENTICATION_FAILED") == 0) {
        xe_complain(x, *xe_item(&x->server, 1) ? "Authentication failed\n" : "Username/password must be specified\n");
        return xe_complain(x, USAGE_LINE);
    }
    const char *const lines = xe_error_lines(x, &x->server, false);
    if (lines) {
        const char *const text = xk_arena_printf(&x->arena, "%s\n", lines);
        return xe_complain(x, text ? text : lines);
    }
    for (uint32_t i = 1; i < x->server.count && count < XK_COUNT(params); i++)
        params[count++] = xe_index_convert(x, xe_item(&x->server, i));
    const int sent = x->settings->terminal->error(x->settings->terminal->context, code, params, count);
    if (sent < 0)
        xe_fail_lost(x, sent);
}

static void tell_text(struct xe *x, const char *format, const char *text)
{
    struct xk_buf line = XK_BUF_INIT(1u << 20);

    xk_buf_add_str(&line, format);
    xk_buf_add_str(&line, text);
    xk_buf_add_char(&line, '\n');
    xe_complain(x, xk_buf_str(&line));
    xk_buf_done(&line);
}

int xe_tell_failure(struct xe *x)
{
    const enum xe_failure failure = x->failure;
    const struct xe_terminal *const terminal = x->settings->terminal;
    const char *const text = x->text ? x->text : "";

    switch (failure) {
    case XE_FINE:
        return 0;
    case XE_LOST:
    case XE_EXIT:
        return x->status;
    case XE_SERVER:
        tell_server(x);
        break;
    case XE_NO_FIELD:
        x->failure = XE_FINE;
        (void)terminal->error(terminal->context, "Missing parameter", &text, 1);
        break;
    case XE_FAILED:
        x->failure = XE_FINE;
        tell_text(x, "Error: ", text);
        break;
    case XE_UNKNOWN_COMMAND:
    case XE_SYNTAX:
    case XE_MISSING:
        x->failure = XE_FINE;
        tell_text(x,
                  failure == XE_SYNTAX    ? "Syntax error: "
                  : failure == XE_MISSING ? "Required parameter not found: "
                                          : "Unknown command: ",
                  text);
        xe_complain(x, USAGE_LINE);
        break;
    }
    return x->failure == XE_LOST ? x->status : 1;
}
