/*
 * One command from its words to its exit status, in the order in which the real server does it: the line is read, the
 * command found, its parameters checked, and only then somebody logs in.
 */
#include "lib/xe/inner.h"

#include "core/text.h"

#include <stdio.h>
#include <string.h>

static const struct xe_row *const all_rows[] = {xe_vm_rows,   xe_copy_rows,  xe_install_rows, xe_disk_rows,
                                                xe_host_rows, xe_pool_rows,  xe_storage_rows, xe_network_rows,
                                                xe_file_rows, xe_other_rows, xe_migrate_rows};

xe_command_run *xe_code_of(const char *command)
{
    for (size_t i = 0; i < XK_COUNT(all_rows); i++)
        for (const struct xe_row *row = all_rows[i]; row->name; row++)
            if (strcmp(row->name, command) == 0)
                return row->run;
    return NULL;
}

enum xe_serving xe_serving(const struct xe_command *command)
{
    const char *const recipe = xe_text(command->recipe);

    if (strcmp(recipe, "!") == 0)
        return xe_code_of(xe_text(command->name)) ? XE_SERVED : XE_NOT_SERVED;
    return strcmp(recipe, "-") == 0 ? XE_NOT_SERVED : XE_SERVED;
}

/* Commas stand between the names. */
static void check_required(struct xe *x, const char *names)
{
    const struct xapi_value list = *names ? xe_split(x, names, ',') : xapi_list(NULL, 0);

    for (uint32_t i = 0; i < list.count && xe_fine(x); i++)
        if (!xe_param(x, list.items[i].text))
            xe_fail_other(x, XE_MISSING, list.items[i].text);
}

static void serve(struct xe *x, const struct xe_entry *entry)
{
    if (!entry->command) {
        (void)xe_listing_run(x, entry->name);
        return;
    }
    if (strcmp(xe_text(entry->command->recipe), "!") == 0)
        return xe_code_of(entry->name)(x);
    xe_recipe_run(x, entry->command);
}

/* --trace: the failure as the server's language knows it. There is no stack to show. */
static void tell_trace(struct xe *x, const char *raised)
{
    if (!raised || x->failure == XE_LOST)
        return;
    const char *const line = xk_arena_printf(&x->arena, "Raised %s\nBacktrace:\n", raised);
    xe_complain(x, line ? line : "");
}

static const char *raised_text(struct xe *x)
{
    const char *const word = xe_param(x, "trace");
    struct xk_buf b = XK_BUF_INIT(1u << 20);

    if (!word || strcmp(word, "true") != 0 || (x->failure != XE_SERVER && x->failure != XE_FAILED))
        return NULL;
    if (x->failure == XE_FAILED) {
        xk_buf_printf(&b, "Cli_util.Cli_failure(\"%s\")", x->text);
    } else {
        xk_buf_printf(&b, "Server_error(%s, [ ", xe_item(&x->server, 0));
        for (uint32_t i = 1; i < x->server.count; i++)
            xk_buf_printf(&b, "%s%s", i > 1 ? "; " : "", xe_item(&x->server, i));
        xk_buf_add_str(&b, " ])");
    }
    const char *const text = xk_arena_strdup(&x->arena, xk_buf_str(&b));
    xk_buf_done(&b);
    return text;
}

static void log_in_and_serve(struct xe *x, const struct xe_entry *entry)
{
    const struct xe_remote *const remote = x->settings->remote;
    struct xapi_reply reply = {0};

    const int code = remote->open(remote->context, &x->arena, (entry->flags & XE_LOCAL_SESSION) != 0,
                                  xe_param_or(x, "username", ""), xe_param_or(x, "password", ""), &reply, x->err);
    if (code < 0)
        return xe_fail_lost(x, code);
    if (reply.failed) {
        x->failure = XE_SERVER;
        x->server = reply.value;
        return;
    }
    serve(x, entry);
    xe_say_flush(x);
    const char *const raised = raised_text(x);
    x->status = xe_tell_failure(x);
    tell_trace(x, raised);
    xe_index_done(x);
    remote->close(remote->context);
    if (x->failure != XE_LOST && x->status != 0) {
        x->failure = XE_EXIT;
        return;
    }
}

/* "minimal" is the one parameter that every command has; it is a word of the real one's language. */
static void read_minimal(struct xe *x)
{
    const char *const word = xe_param(x, "minimal");

    if (word && strcmp(word, "true") != 0 && strcmp(word, "false") != 0)
        xe_fail_server(x, "INTERNAL_ERROR", "INTERNAL_ERROR: [ Invalid_argument(\"bool_of_string\") ]", NULL);
    x->minimal = word && strcmp(word, "true") == 0;
}

static void run(struct xe *x, const char *const *args, size_t count)
{
    struct xe_entry entry;

    if (xe_args_parse(x, args, count) < 0)
        return;
    read_minimal(x);
    if (!xe_fine(x))
        return;
    if (strcmp(x->command, "help") == 0) {
        xe_help(x);
        return xe_say_flush(x);
    }
    if (!xe_entry_find(&entry, x->command))
        return xe_fail_other(x, XE_UNKNOWN_COMMAND, x->command);
    check_required(x, entry.required);
    if (!xe_fine(x))
        return;
    if (entry.command && xe_serving(entry.command) == XE_NOT_SERVED)
        return xe_fail(x, "%s: this command is not served here", entry.name);
    log_in_and_serve(x, &entry);
}

int xe_run(const struct xe_settings *settings, const char *const *args, size_t count, struct xk_err *err)
{
    struct xe x = {.settings = settings, .err = err, .arena = XK_ARENA_INIT(settings->memory_bytes_max)};

    xk_buf_init(&x.minimal_text, settings->memory_bytes_max);
    xk_buf_init(&x.table_text, settings->memory_bytes_max);
    run(&x, args, count);
    const int status = xe_tell_failure(&x);
    xe_index_done(&x);
    xk_buf_done(&x.minimal_text);
    xk_buf_done(&x.table_text);
    xk_arena_done(&x.arena);
    return status;
}
