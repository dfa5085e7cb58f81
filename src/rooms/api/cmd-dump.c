/*
 * `xenkit api dump`: all records of a pool in one JSON document, to look at them elsewhere (`xenkit sim --load`).
 *
 * One call for each class, so the classes are from slightly different moments. Secrets are emptied before anything is
 * written, see secrets.c.
 */
#include "rooms/api/api.h"

#include "core/text.h"
#include "lib/xapi/wire.h"

#include <string.h>

#define CLASS_BYTES_MAX (UINT64_C(1) << 30) /* of one class as JSON */

struct dump {
    struct client_access access;
};

static const struct xk_opt dump_opts[] = {CLIENT_ACCESS_OPTS(struct dump, access), XK_OPT_END};

/* ---- the document ---- */

/* Older and newer servers have other classes, and a user may not see all. */
static bool is_left_out(struct xk_app *app, const struct client *c, const char *message)
{
    static const char *const absent[] = {"MESSAGE_REMOVED", "MESSAGE_METHOD_UNKNOWN", "MESSAGE_DEPRECATED",
                                         "NOT_IMPLEMENTED"};
    const struct client_failure *const f = client_failure(c);

    for (size_t i = 0; f && i < XK_COUNT(absent); i++)
        if (strcmp(f->code, absent[i]) == 0)
            return true;
    if (!f || strcmp(f->code, "RBAC_PERMISSION_DENIED") != 0)
        return false;
    xk_log(app->log, XK_LOG_WARN, "%s: the user may not; the class is left out", message);
    return true;
}

static int dump_class(struct xk_app *app, struct client *c, const struct xapi_message *m, bool *first,
                      unsigned *removed, struct xk_err *err)
{
    xk_auto(xk_arena_done) struct xk_arena arena = XK_ARENA_INIT(API_RESULT_BYTES_MAX);
    xk_auto(xk_buf_done) struct xk_buf b = XK_BUF_INIT(CLASS_BYTES_MAX);
    const struct xapi_class *const class_row = &xapi_classes[m->class_index];
    struct xapi_value records;
    struct xk_err why = {0};

    const int code = client_call(c, &records, &arena, xapi_text(m->name), NULL, 0, &why);
    if (code == -EREMOTEIO && is_left_out(app, c, xapi_text(m->name)))
        return 0;
    if (code < 0) {
        *err = why;
        return code;
    }
    if (records.shape != XAPI_MAP)
        return xk_fail(err, -EPROTO, "%s gives no map of records", xapi_text(m->name));
    *removed += api_remove_secrets(&records, class_row);
    xk_buf_add_str(&b, *first ? "\n" : ",\n");
    xk_add_json_string(&b, xapi_text(class_row->name));
    xk_buf_add_char(&b, ':');
    xapi_json_value(&b, &records);
    if (b.error)
        return b.error == -ENOMEM ? xk_fail_memory(err) : xk_fail(err, b.error, "%s: too large", xapi_text(m->name));
    xk_out_raw(app->out, b.data, b.len);
    *first = false;
    return xk_out_error(app->out);
}

static int run(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    const struct dump *const opts = args->opts;
    xk_auto(client_closep) struct client *c = NULL;
    unsigned removed = 0;
    bool first = true;

    int code = client_open(&c, app, args->count ? args->operands[0] : NULL, &opts->access,
                           &(struct client_manner){.originator = API_ORIGINATOR}, err);
    if (code == 0) /* before the first byte is written */
        code = client_login(c, err);
    if (code < 0)
        return code;
    xk_out_rawf(app->out, "{\"xenkit_dump\":1,\"classes\":{");
    for (size_t i = 0; i < xapi_message_count && code == 0; i++)
        if (xapi_messages[i].kind == XAPI_GET_ALL_RECORDS)
            code = dump_class(app, c, &xapi_messages[i], &first, &removed, err);
    if (code < 0)
        return code;
    xk_out_rawf(app->out, "\n}}\n");
    xk_log(app->log, XK_LOG_INFO, "%u secrets were left empty", removed);
    return XK_EXIT_OK;
}

static const struct dump defaults = {.access = CLIENT_ACCESS_DEFAULTS};
static const char *const example[] = {NULL};

const struct xk_command api_cmd_dump = {
    .name = "dump",
    .summary = "write all records of a pool as one JSON document, without its secrets",
    .operands = "[POOL]",
    .max_operands = 1,
    .opts = dump_opts,
    .defaults = &defaults,
    .opts_bytes = sizeof(struct dump),
    .run = run,
    .example = example,
    .raw = true,
};
