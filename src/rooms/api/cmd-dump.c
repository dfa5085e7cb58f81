/*
 * `xenkit api dump`: all records of a pool in one JSON document, to look at them elsewhere (`xenkit sim --load`).
 *
 * One call for each class, so the classes are from slightly different moments. What is or looks like a secret is
 * emptied before it is written: typed as such, in a field or under a key that is named like one, or a login in a URL.
 */
#include "rooms/api/api.h"

#include "core/text.h"
#include "lib/xapi/wire.h"

#include <stdio.h>
#include <string.h>

#define CLASS_BYTES_MAX (UINT64_C(1) << 30) /* of one class as JSON */
#define WORD_BYTES      256

struct dump {
    struct client_access access;
};

static const struct xk_opt dump_opts[] = {CLIENT_ACCESS_OPTS(struct dump, access), XK_OPT_END};

/* ---- secrets ---- */

struct removal {
    unsigned removed;
};

/* A name that secrets go by. A ref to a secret is none: the secret itself is emptied. */
static bool is_secret_name(const char *name)
{
    static const char *const parts[] = {"password", "passwd",     "passphrase", "pwd",     "secret",        "token",
                                        "chap",     "credential", "private",    "api_key", "efi-variables", "apikey"};

    for (size_t i = 0; i < XK_COUNT(parts); i++)
        if (strcasestr(name, parts[i]))
            return true;
    return false;
}

/* "scheme://user:password@host" */
static bool has_login(const char *text)
{
    const char *const start = strstr(text, "://"), *const host = start ? start + 3 : text;
    const size_t bytes = strcspn(host, "/");
    const char *const at = start ? memchr(host, '@', bytes) : NULL;

    return at && memchr(host, ':', (size_t)(at - host));
}

static void empty(struct xapi_value *v, struct removal *r)
{
    if (v->shape != XAPI_TEXT || v->count == 0 || xk_has_prefix(v->text, "OpaqueRef:"))
        return;
    *v = xapi_str("");
    r->removed++;
}

/* The decoder made the values, in our arena: they may be changed in place. */
static struct xapi_value *items_of(const struct xapi_value *v)
{
    return (struct xapi_value *)v->items;
}

static void clean_value(struct xapi_value *v, const char *name, bool secret, struct removal *r)
{
    struct xapi_value *const items = v->shape == XAPI_LIST || v->shape == XAPI_MAP ? items_of(v) : NULL;

    if (v->shape == XAPI_TEXT && (secret || is_secret_name(name) || has_login(v->text)))
        return empty(v, r);
    for (size_t i = 0; items && i < v->count; i++) {
        if (v->shape == XAPI_MAP)
            clean_value(&items[2 * i + 1], items[2 * i].text, secret, r);
        else
            clean_value(&items[i], "", secret, r);
    }
}

static void clean_records(struct xapi_value *records, const struct xapi_class *c, struct removal *r)
{
    const bool all = strcmp(xapi_text(c->name), "secret") == 0;

    for (size_t i = 0; i < records->count; i++) {
        struct xapi_value *const record = &items_of(records)[2 * i + 1];
        for (size_t j = 0; record->shape == XAPI_MAP && j < record->count; j++) {
            const char *const name = items_of(record)[2 * j].text;
            const struct xapi_field *const f = xapi_field_find(c, name);
            const bool secret =
                (f && xapi_type_of(f->type)->kind == XAPI_SECRET) || (all && strcmp(name, "value") == 0);
            clean_value(&items_of(record)[2 * j + 1], name, secret, r);
        }
    }
}

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
                      struct removal *removal, struct xk_err *err)
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
    clean_records(&records, class_row, removal);
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
    struct removal removal = {0};
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
            code = dump_class(app, c, &xapi_messages[i], &first, &removal, err);
    if (code < 0)
        return code;
    xk_out_rawf(app->out, "\n}}\n");
    xk_log(app->log, XK_LOG_INFO, "%u secrets were left empty", removal.removed);
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
