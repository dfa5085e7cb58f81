/*
 * `xenkit api describe`: the data model, looked up without a pool. The table that is shown here is the one that checks
 * arguments and that the simulated pool answers from.
 */
#include "rooms/api/api.h"

#include "core/text.h"
#include "lib/xapi/args.h"

#include <stdio.h>
#include <string.h>

#define LINE_BYTES       4096
#define NAME_BYTES       256
#define ERROR_PARAMS_MAX 16

struct describe {
    bool all;
};

static const struct xk_opt describe_opts[] = {
    XK_OPT_FLAG('a', "all", struct describe, all, "hidden and removed messages, too"),
    XK_OPT_END,
};

/* ---- words of the model ---- */

static const char *state_name(unsigned state)
{
    static const char *const names[] = {[XAPI_PUBLISHED] = "published",
                                        [XAPI_PROTOTYPED] = "prototype",
                                        [XAPI_DEPRECATED] = "deprecated",
                                        [XAPI_REMOVED] = "removed"};

    return names[state];
}

static const char *access_name(unsigned qualifier)
{
    static const char *const names[] = {
        [XAPI_RW] = "read and write", [XAPI_SRO] = "set at creation", [XAPI_DRO] = "read"};

    return names[qualifier];
}

static void put_type(struct xk_out *out, const char *key, uint16_t type)
{
    xk_auto(xk_buf_done) struct xk_buf b = XK_BUF_INIT(LINE_BYTES);

    xapi_type_text(&b, type);
    xk_put_str(out, key, xk_buf_str(&b));
}

/* "rio (XenServer 4.0, API 1.1)"; newer releases have numbers for names. */
static void put_since(struct xk_out *out, xapi_word release)
{
    const char *const name = xapi_text(release);

    for (size_t i = 0; *name && i < xapi_release_count; i++) {
        const struct xapi_release *const r = &xapi_releases[i];
        if (strcmp(xapi_text(r->code_name), name) == 0)
            return xk_putf(out, "since", "%s (%s, API %u.%u)", name, xapi_text(r->branding), r->major, r->minor);
    }
    xk_put_str(out, "since", *name ? name : NULL);
}

static void put_roles(struct xk_out *out, unsigned roles)
{
    static const struct {
        unsigned mask;
        const char *name;
    } names[] = {
        {XAPI_ROLE_PA, "pool-admin"}, {XAPI_ROLE_PO, "pool-operator"},      {XAPI_ROLE_VPA, "vm-power-admin"},
        {XAPI_ROLE_VA, "vm-admin"},   {XAPI_ROLE_VO, "vm-operator"},        {XAPI_ROLE_CC, "client-cert"},
        {XAPI_ROLE_RO, "read-only"},  {XAPI_ROLE_LOCAL, "the host itself"},
    };
    xk_auto(xk_buf_done) struct xk_buf b = XK_BUF_INIT(LINE_BYTES);

    for (size_t i = 0; i < XK_COUNT(names); i++)
        if (roles & names[i].mask)
            xk_buf_printf(&b, "%s%s", b.len ? ", " : "", names[i].name);
    xk_put_str(out, "roles", xk_buf_str(&b));
}

static void put_default(struct xk_out *out, xapi_word initial)
{
    if (initial == XAPI_NO_DEFAULT)
        xk_put_none(out, "default");
    else
        xk_put_str(out, "default", *xapi_text(initial) ? xapi_text(initial) : "\"\"");
}

/* The words of an enum that a type has in it. */
static void show_enums(struct xk_out *out, uint16_t type)
{
    const struct xapi_type *const t = xapi_type_of(type);

    if (t->kind == XAPI_SET || t->kind == XAPI_OPTION)
        return show_enums(out, t->of);
    if (t->kind == XAPI_DICT)
        return show_enums(out, t->to);
    if (t->kind != XAPI_ENUM)
        return;
    const struct xapi_enum *const e = &xapi_enums[t->of];
    xk_out_rows(out, "words");
    for (size_t i = 0; i < e->values; i++) {
        xk_row(out);
        xk_put_str(out, "enum", xapi_text(e->name));
        xk_put_str(out, "word", xapi_text(xapi_enum_values[e->first_value + i]));
    }
    xk_out_end(out);
}

/* What is known of a map's keys beyond its type. */
static void show_map_options(struct xk_out *out, const char *message, const char *param)
{
    bool begun = false;

    for (size_t i = 0; i < xapi_map_option_count; i++) {
        const struct xapi_map_option *const o = &xapi_map_options[i];
        if (strcmp(xapi_text(o->message), message) != 0 || (param && strcmp(xapi_text(o->param), param) != 0))
            continue;
        if (!begun)
            xk_out_rows(out, "undocumented_keys");
        begun = true;
        xk_row(out);
        xk_put_str(out, "map", xapi_text(o->param));
        xk_put_str(out, "keys", xapi_text(o->keys));
        xk_put_str(out, "note", *xapi_text(o->note) ? xapi_text(o->note) : NULL);
    }
    if (begun)
        xk_out_end(out);
}

/* ---- a message ---- */

static void put_call(struct xk_out *out, const struct xapi_message *m)
{
    xk_auto(xk_buf_done) struct xk_buf b = XK_BUF_INIT(LINE_BYTES);

    for (size_t i = 0; i < m->params; i++) {
        const struct xapi_param *const p = &xapi_params[m->first_param + i];
        xk_buf_printf(&b, "%s%s%s", i ? " " : "", xapi_text(p->name), i >= m->required ? "?" : "");
    }
    xk_put_str(out, "parameters", xk_buf_str(&b));
}

static void show_params(struct xk_out *out, const struct xapi_message *m)
{
    if (m->params == 0)
        return;
    xk_out_rows(out, "parameters");
    for (size_t i = 0; i < m->params; i++) {
        const struct xapi_param *const p = &xapi_params[m->first_param + i];
        xk_row(out);
        xk_put_str(out, "parameter", xapi_text(p->name));
        put_type(out, "type", p->type);
        put_default(out, p->initial);
    }
    xk_out_end(out);
}

static void show_errors(struct xk_out *out, const struct xapi_message *m)
{
    const char *at = xapi_text(m->errors);
    char code[NAME_BYTES];

    if (!*at)
        return;
    xk_out_rows(out, "errors");
    for (; *at; at += *at == ',') {
        const size_t bytes = strcspn(at, ",");
        snprintf(code, sizeof(code), "%.*s", (int)bytes, at);
        const struct xapi_error *const known = xapi_error_find(code);
        xk_row(out);
        xk_put_str(out, "error", code);
        xk_put_str(out, "parameters", known ? xapi_text(known->params) : NULL);
        at += bytes;
    }
    xk_out_end(out);
}

static void show_message(struct xk_out *out, const struct xapi_message *m)
{
    xk_out_record(out, "message");
    xk_put_str(out, "name", xapi_text(m->name));
    put_type(out, "result", m->result);
    xk_put_str(out, "state", state_name(m->state));
    put_since(out, m->release);
    put_roles(out, m->roles);
    xk_put_bool(out, "session", (m->flags & XAPI_MESSAGE_SESSION) != 0);
    xk_put_bool(out, "async", (m->flags & XAPI_MESSAGE_ASYNC) != 0);
    xk_put_bool(out, "documented", (m->flags & XAPI_MESSAGE_HIDDEN) == 0);
    xk_put_bool(out, "in_emergency", (m->flags & XAPI_MESSAGE_EMERGENCY) != 0);
    if (*xapi_text(m->needed))
        xk_put_str(out, "needs_fields", xapi_text(m->needed));
    xk_out_end(out);
    show_params(out, m);
    for (size_t i = 0; i < m->params; i++)
        show_enums(out, xapi_params[m->first_param + i].type);
    show_errors(out, m);
    show_map_options(out, xapi_text(m->name), NULL);
}

/* ---- a field ---- */

static void show_field(struct xk_out *out, const struct xapi_class *c, const struct xapi_field *f)
{
    char name[NAME_BYTES];

    xk_out_record(out, "field");
    xk_putf(out, "name", "%s.%s", xapi_text(c->name), xapi_text(f->name));
    put_type(out, "type", f->type);
    xk_put_str(out, "access", access_name(f->qualifier));
    xk_put_str(out, "state", state_name(f->state));
    put_since(out, f->release);
    put_default(out, f->initial);
    if (f->other != XAPI_NONE) {
        const struct xapi_field *const other = &xapi_fields[f->other];
        xk_putf(out, "other_end", "%s.%s", xapi_text(xapi_classes[other->class_index].name), xapi_text(other->name));
    }
    xk_out_end(out);
    xk_out_rows(out, "messages");
    for (size_t i = 0; i < c->messages; i++) {
        const struct xapi_message *const m = &xapi_messages[c->first_message + i];
        if (m->field == XAPI_NONE || &xapi_fields[m->field] != f)
            continue;
        xk_row(out);
        xk_put_str(out, "message", xapi_text(m->name));
        put_call(out, m);
        put_roles(out, m->roles);
    }
    xk_out_end(out);
    show_enums(out, f->type);
    snprintf(name, sizeof(name), "%s.get_record", xapi_text(c->name));
    show_map_options(out, name, xapi_text(f->name));
}

/* ---- a class, all classes ---- */

static void show_class(struct xk_out *out, const struct xapi_class *c, bool all)
{
    xk_out_record(out, "class");
    xk_put_str(out, "name", xapi_text(c->name));
    xk_put_str(out, "state", state_name(c->state));
    xk_put_bool(out, "kept", (c->flags & XAPI_CLASS_DATABASE) != 0);
    xk_put_bool(out, "outlives_a_restart", (c->flags & XAPI_CLASS_PERSIST) != 0);
    xk_put_bool(out, "events", (c->flags & XAPI_CLASS_EVENTS) != 0);
    xk_out_end(out);
    xk_out_rows(out, "fields");
    for (size_t i = 0; i < c->fields; i++) {
        const struct xapi_field *const f = &xapi_fields[c->first_field + i];
        if (f->internal || (f->state == XAPI_REMOVED && !all))
            continue;
        xk_row(out);
        xk_put_str(out, "field", xapi_text(f->name));
        put_type(out, "type", f->type);
        xk_put_str(out, "access", access_name(f->qualifier));
        xk_put_str(out, "state", state_name(f->state));
        put_since(out, f->release);
    }
    xk_out_end(out);
    xk_out_rows(out, "messages");
    for (size_t i = 0; i < c->messages; i++) {
        const struct xapi_message *const m = &xapi_messages[c->first_message + i];
        if (!all && (m->state == XAPI_REMOVED || m->flags & XAPI_MESSAGE_HIDDEN))
            continue;
        xk_row(out);
        xk_put_str(out, "message", xapi_text(m->name));
        put_call(out, m);
        put_type(out, "result", m->result);
        xk_put_str(out, "state", state_name(m->state));
    }
    xk_out_end(out);
}

static void show_classes(struct xk_out *out)
{
    xk_out_rows(out, "classes");
    for (size_t i = 0; i < xapi_class_count; i++) {
        const struct xapi_class *const c = &xapi_classes[i];
        xk_row(out);
        xk_put_str(out, "class", xapi_text(c->name));
        xk_put_u64(out, "fields", c->fields);
        xk_put_u64(out, "messages", c->messages);
        xk_put_bool(out, "events", (c->flags & XAPI_CLASS_EVENTS) != 0);
        xk_put_str(out, "state", state_name(c->state));
    }
    xk_out_end(out);
}

/* ---- an enum, an error ---- */

static bool show_enum(struct xk_out *out, const char *word)
{
    for (uint16_t i = 0; i < xapi_enum_count; i++) {
        if (strcmp(xapi_text(xapi_enums[i].name), word) != 0)
            continue;
        for (uint16_t type = 0; type < xapi_type_count; type++)
            if (xapi_types[type].kind == XAPI_ENUM && xapi_types[type].of == i) {
                show_enums(out, type);
                return true;
            }
    }
    return false;
}

static bool show_error(struct xk_out *out, const char *word)
{
    const struct xapi_error *const e = xapi_error_find(word);
    char text[XK_ERR_TEXT_MAX], hint[XK_ERR_HINT_MAX], names[ERROR_PARAMS_MAX][NAME_BYTES];
    const char *params[ERROR_PARAMS_MAX];
    unsigned count = 0;

    if (!e)
        return false;
    for (const char *at = xapi_text(e->params); *at && count < ERROR_PARAMS_MAX; count++) {
        const size_t bytes = strcspn(at, ",");
        snprintf(names[count], NAME_BYTES, "<%.*s>", (int)XK_MIN(bytes, (size_t)NAME_BYTES - 3), at);
        params[count] = names[count];
        at += bytes + (at[bytes] == ',');
    }
    client_explain(text, sizeof(text), hint, sizeof(hint), word, params, count);
    /* The code with its parameters stands at the end of a sentence, and is all there is without one. */
    char *const code = strstr(text, word);
    if (code)
        code[code > text + 1 ? -2 : 0] = '\0';
    xk_out_record(out, "error");
    xk_put_str(out, "code", word);
    xk_put_str(out, "parameters", xapi_text(e->params));
    xk_put_str(out, "meaning", *text ? text : NULL);
    xk_put_str(out, "hint", *hint ? hint : NULL);
    xk_out_end(out);
    return true;
}

/* ---- finding ---- */

static int unknown(const char *word, struct xk_err *err)
{
    const size_t all = (size_t)xapi_class_count + xapi_message_count + xapi_enum_count + xapi_error_count;
    xk_autofree const char **names = xk_array_alloc(all, sizeof(*names));
    size_t count = 0;

    for (size_t i = 0; names && i < xapi_class_count; i++)
        names[count++] = xapi_text(xapi_classes[i].name);
    for (size_t i = 0; names && i < xapi_message_count; i++)
        names[count++] = xapi_text(xapi_messages[i].name);
    for (size_t i = 0; names && i < xapi_enum_count; i++)
        names[count++] = xapi_text(xapi_enums[i].name);
    for (size_t i = 0; names && i < xapi_error_count; i++)
        names[count++] = xapi_text(xapi_errors[i].code);
    const char *const near = names ? xk_nearest(word, names, count, sizeof(*names)) : NULL;
    (void)xk_fail(err, -EINVAL, "the data model has no class, field, message, enum or error \"%s\"", word);
    xk_err_exit(err, XK_EXIT_USAGE);
    if (near)
        xk_err_hint(err, "did you mean %s?", near);
    return -EINVAL;
}

/* CLASS.MEMBER, the class in any case. */
static bool show_member(struct xk_out *out, const char *word)
{
    const char *const dot = strchr(word, '.');
    char class_name[NAME_BYTES], name[NAME_BYTES];

    if (!dot || dot - word >= NAME_BYTES)
        return false;
    snprintf(class_name, sizeof(class_name), "%.*s", (int)(dot - word), word);
    const struct xapi_class *const c = xapi_class_find_any_case(class_name);
    const struct xapi_field *const f = c ? xapi_field_find(c, dot + 1) : NULL;
    if (f && !f->internal) {
        show_field(out, c, f);
        return true;
    }
    snprintf(name, sizeof(name), "%s%.*s", c ? xapi_text(c->name) : "", NAME_BYTES / 2, dot);
    const struct xapi_message *const m = c ? xapi_message_find(name) : NULL;
    if (m)
        show_message(out, m);
    return m != NULL;
}

static int run(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    const struct describe *const opts = args->opts;
    const char *word = args->count ? args->operands[0] : NULL;

    if (!word) {
        show_classes(app->out);
        return XK_EXIT_OK;
    }
    word += xk_has_prefix(word, "Async.") ? strlen("Async.") : 0;
    const struct xapi_class *const c = xapi_class_find_any_case(word);
    if (c) {
        show_class(app->out, c, opts->all);
        return XK_EXIT_OK;
    }
    return show_member(app->out, word) || show_enum(app->out, word) || show_error(app->out, word) ? XK_EXIT_OK
                                                                                                  : unknown(word, err);
}

static const char *const example[] = {"VM.start", NULL};

const struct xk_command api_cmd_describe = {
    .name = "describe",
    .summary = "look up a class, a field, a message, an enum or an error of the data model",
    .operands = "[CLASS[.FIELD|.MESSAGE]|ENUM|ERROR]",
    .max_operands = 1,
    .opts = describe_opts,
    .opts_bytes = sizeof(struct describe),
    .run = run,
    .example = example,
    .complete = api_offer_names,
};
