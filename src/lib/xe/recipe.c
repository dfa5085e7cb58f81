/*
 * Most commands are one message with arguments from the command line: a line in the table of commands says which, and
 * here it is done. What type an argument has stands in the model of the API and is not said twice.
 *
 *     [?PARAM] [WHO:] MESSAGE[|OTHER] ARGUMENT… [> RESULT]
 *
 *     WHO       vm, host or sr: the objects that the parameters choose; then +c control domains, too, +t templates,
 *               too, and 1 for never more than one
 *     ?PARAM    a truth that chooses between MESSAGE and OTHER
 *     ARGUMENT  PARAM, PARAM? (may be left out), PARAM?DEFAULT, 'LITERAL, @self, @pool, @thepool, @thishost; :bytes,
 *               :integer, :real, :args, :anycase say how the word is read; FIELD=ARGUMENT in a constructor's record
 *     RESULT    uuid, uuids (of the refs that come back), text, texts, msg, table, sources, real, print
 */
#include "lib/xe/inner.h"

#include "core/text.h"

#include <stdio.h>
#include <string.h>

#define WORDS_MAX   96
#define WORD_BYTES  256
#define IGNORED_MAX 16

struct recipe {
    const char *words[WORDS_MAX];
    size_t count;
    const char *chooser; /* "force" of "?force" */
    enum xe_command_flag who;
    bool selects;
    unsigned how;
    const char *method, *other; /* other: NULL */
    size_t first, last;         /* arguments */
    const char *result;         /* NULL: none */
    const char *ignored[IGNORED_MAX + 1];
};

static size_t cut(struct xe *x, const char *text, const char *words[WORDS_MAX])
{
    size_t count = 0;

    while (*text && count < WORDS_MAX) {
        const size_t len = strcspn(text, " ");
        words[count] = xk_arena_strndup(&x->arena, text, len);
        if (!words[count]) {
            xe_fail_memory(x);
            return 0;
        }
        count++;
        text += len + strspn(text + len, " ");
    }
    return count;
}

/* The parameter of "MTU=name?default:kind", without what stands around it. */
static void param_name(const char *argument, char ret[WORD_BYTES])
{
    (void)snprintf(ret, WORD_BYTES, "%.*s", (int)strcspn(argument, "?:"), argument);
}

static const char *argument_of(const char *word)
{
    const char *const mark = strchr(word, '=');

    return mark && *word != '\'' ? mark + 1 : word;
}

static void read_selector(struct recipe *r, const char *word)
{
    const struct {
        const char *name;
        enum xe_command_flag who;
    } who[] = {{"vm", XE_SELECTS_VMS}, {"host", XE_SELECTS_HOSTS}, {"sr", XE_SELECTS_SRS}};

    for (size_t i = 0; i < XK_COUNT(who); i++)
        if (xk_has_prefix(word, who[i].name))
            r->who = who[i].who;
    r->selects = true;
    const char *const plus = strchr(word, '+');
    if (plus && strchr(plus, 'c'))
        r->how |= XE_ALSO_CONTROL;
    if (plus && strchr(plus, 't'))
        r->how |= XE_ALSO_TEMPLATES;
    if (strchr(word, '1'))
        r->how |= XE_ONE;
}

static void read_recipe(struct xe *x, struct recipe *r, const char *text)
{
    size_t at = 0, ignored = 0;

    r->count = cut(x, text, r->words);
    if (at < r->count && *r->words[at] == '?')
        r->chooser = r->words[at++] + 1;
    if (at < r->count && xk_has_suffix(r->words[at], ":"))
        read_selector(r, r->words[at++]);
    const char *const methods = at < r->count ? r->words[at++] : "";
    const char *const bar = strchr(methods, '|');
    r->method = bar ? xk_arena_strndup(&x->arena, methods, (size_t)(bar - methods)) : methods;
    r->other = bar ? bar + 1 : NULL;
    if (!r->method)
        return xe_fail_memory(x);
    r->first = r->last = at;
    while (r->last < r->count && strcmp(r->words[r->last], ">") != 0)
        r->last++;
    r->result = r->last + 1 < r->count ? r->words[r->last + 1] : NULL;
    for (size_t i = r->first; i < r->last && ignored < IGNORED_MAX; i++) {
        const char *const argument = argument_of(r->words[i]);
        char name[WORD_BYTES];
        param_name(argument, name);
        if (*argument != '\'' && *argument != '@')
            r->ignored[ignored++] = xk_arena_strdup(&x->arena, name);
    }
}

/* ---- arguments ---- */

static struct xapi_value typed(struct xe *x, const struct xapi_type *type, const char *param, const char *text,
                               const char *kind, const char *otherwise);

static struct xapi_value list_of(struct xe *x, const struct xapi_type *of, const char *param, const char *text)
{
    const struct xapi_value words = *text ? xe_split(x, text, ',') : xapi_list(NULL, 0);
    struct xapi_value *const items = xk_arena_alloc(&x->arena, (words.count + 1) * sizeof(*items));

    if (!items) {
        xe_fail_memory(x);
        return words;
    }
    for (uint32_t i = 0; i < words.count; i++)
        items[i] = typed(x, of, param, words.items[i].text, "", NULL);
    return xapi_list(items, words.count);
}

static struct xapi_value whole(struct xe *x, const char *param, const char *text, const char *kind)
{
    int64_t number = 0;

    if (strcmp(kind, "bytes") == 0)
        return xapi_int(xe_bytes(x, param, text));
    if (!xe_number(&number, text)) {
        if (strcmp(kind, "integer") == 0)
            xe_fail(x, "Failed to parse parameter '%s': expecting an integer", param);
        else
            xe_fail_server(x, "INTERNAL_ERROR", "Failure: Int64.of_string", NULL);
    }
    return xapi_int(number);
}

static struct xapi_value real(struct xe *x, const char *param, const char *text, const char *kind,
                              const char *otherwise)
{
    double number = 0;

    if (!xe_real(&number, text) && !(otherwise && xe_real(&number, otherwise))) {
        if (strcmp(kind, "real") == 0)
            xe_fail(x, "Failed to parse parameter '%s': expecting a float", param);
        else
            xe_fail_server(x, "INTERNAL_ERROR", "Failure: float_of_string", NULL);
    }
    return xapi_real(number);
}

static struct xapi_value typed(struct xe *x, const struct xapi_type *type, const char *param, const char *text,
                               const char *kind, const char *otherwise)
{
    switch ((enum xapi_kind)type->kind) {
    case XAPI_INTEGER:
        return whole(x, param, text, kind);
    case XAPI_FLOAT:
        return real(x, param, text, kind, otherwise);
    case XAPI_BOOLEAN:
        return xapi_bool(strcmp(text, "true") == 0);
    case XAPI_ENUM:
        return xapi_str(xe_enum_value(x, type->of, text));
    case XAPI_REF:
        if (strcmp(text, XE_NULL) == 0 || type->of == XAPI_NONE)
            return xapi_str(text);
        return xapi_str(xe_by_uuid(x, xapi_text(xapi_classes[type->of].name), text));
    case XAPI_SET:
        return list_of(x, xapi_type_of(type->of), param, text);
    default:
        return xapi_str(text);
    }
}

static struct xapi_value literal(const struct xapi_type *type, const char *text)
{
    int64_t number = 0;
    double real_number = 0;

    switch ((enum xapi_kind)type->kind) {
    case XAPI_INTEGER:
        (void)xe_number(&number, text);
        return xapi_int(number);
    case XAPI_FLOAT:
        (void)xe_real(&real_number, text);
        return xapi_real(real_number);
    case XAPI_BOOLEAN:
        return xapi_bool(strcmp(text, "true") == 0);
    case XAPI_SET:
        return xapi_list(NULL, 0);
    case XAPI_DICT:
        return xapi_map(NULL, 0);
    default:
        return xapi_str(text);
    }
}

/* args:key:file=PATH gives the file's content for a key. */
static struct xapi_value plugin_args(struct xe *x, const char *param)
{
    const struct xapi_value map = xe_param_map(x, param);
    struct xapi_value *const pairs = (struct xapi_value *)map.items;

    for (uint32_t i = 0; i < map.count && xe_fine(x); i++) {
        const char *const key = pairs[2 * i].text;
        if (strcmp(key + xe_stem(key), ":file") != 0)
            continue;
        const char *const name = xk_arena_strndup(&x->arena, key, xe_stem(key));
        const char *const what = xk_arena_printf(&x->arena, "file %s", pairs[2 * i + 1].text);
        if (!name || !what)
            xe_fail_memory(x);
        else
            pairs[2 * i + 1] = xapi_str(xe_file_need(x, pairs[2 * i + 1].text, what));
        pairs[2 * i] = xapi_str(name ? name : key);
    }
    return map;
}

static const char *param_any_case(struct xe *x, const char *name)
{
    const char *const lower = xe_lower(x, name);

    for (size_t i = 0; i < x->param_count; i++)
        if (strcmp(xe_lower(x, x->params[i].name), lower) == 0)
            return x->params[i].value;
    return NULL;
}

static const char *place(struct xe *x, const char *argument, const char *self)
{
    if (strcmp(argument, "@self") == 0)
        return self;
    if (strcmp(argument, "@thepool") == 0)
        return xe_the_pool(x);
    if (strcmp(argument, "@pool") == 0)
        return xe_param(x, "uuid") ? xe_param_ref(x, "pool", "uuid") : xe_the_pool(x);
    return xe_param(x, "host-uuid") ? xe_param_ref(x, "host", "host-uuid") : xe_this_host(x);
}

static struct xapi_value argument_value(struct xe *x, const char *argument, const struct xapi_type *type,
                                        const char *self)
{
    const char *const mark = strchr(argument, '?'), *const colon = strrchr(argument, ':');
    const char *const kind = colon && *argument != '\'' ? colon + 1 : "";
    char name[WORD_BYTES], otherwise[WORD_BYTES] = "";

    if (*argument == '\'')
        return literal(type, argument + 1);
    if (*argument == '@')
        return xapi_str(place(x, argument, self));
    param_name(argument, name);
    if (mark)
        param_name(mark + 1, otherwise);
    if (type->kind == XAPI_DICT)
        return strcmp(kind, "args") == 0 ? plugin_args(x, xk_arena_strdup(&x->arena, name)) : xe_param_map(x, name);
    if (type->kind == XAPI_BOOLEAN)
        return xapi_bool(xe_param_bool(x, name, strcmp(otherwise, "true") == 0));
    const char *const given = strcmp(kind, "anycase") == 0 ? param_any_case(x, name) : xe_param(x, name);
    if (!given && mark && !*otherwise && type->kind != XAPI_ENUM)
        return type->kind == XAPI_REF ? xapi_str(XE_NULL) : literal(type, "");
    const char *const text = given ? given : mark ? xk_arena_strdup(&x->arena, otherwise) : xe_required(x, name);
    const char *const param = xk_arena_strdup(&x->arena, name);
    if (!text || !param) {
        xe_fail_memory(x);
        return xapi_nil();
    }
    return xe_fine(x) ? typed(x, type, param, text, kind, mark ? otherwise : NULL) : xapi_nil();
}

/* FIELD=ARGUMENT words as the record that a constructor takes. */
static struct xapi_value record_value(struct xe *x, const struct recipe *r, const struct xapi_message *m,
                                      const char *self)
{
    struct xapi_value *const pairs = xk_arena_alloc(&x->arena, (2 * (r->last - r->first) + 1) * sizeof(*pairs));
    size_t count = 0;

    if (!pairs) {
        xe_fail_memory(x);
        return xapi_nil();
    }
    for (size_t i = r->first; i < r->last && xe_fine(x); i++) {
        const char *const argument = argument_of(r->words[i]);
        const char *const name = xk_arena_strndup(&x->arena, r->words[i], (size_t)(argument - r->words[i] - 1));
        const struct xapi_field *const field = name ? xapi_field_find(&xapi_classes[m->class_index], name) : NULL;
        if (!field) {
            xe_fail_memory(x);
            break;
        }
        pairs[2 * count] = xapi_str(name);
        pairs[2 * count + 1] = argument_value(x, argument, xapi_type_of(field->type), self);
        count++;
    }
    return xapi_map(pairs, count);
}

/* ---- results ---- */

static const char *result_class(const struct xapi_message *m)
{
    const struct xapi_type *t = xapi_type_of(m->result);

    t = t->kind == XAPI_SET ? xapi_type_of(t->of) : t;
    return t->kind == XAPI_REF && t->of != XAPI_NONE ? xapi_text(xapi_classes[t->of].name) : "VM";
}

static void put_list(struct xe *x, const struct xapi_value *list, const char *uuids_of)
{
    const char **const texts = xk_arena_alloc(&x->arena, (list->count + 1) * sizeof(*texts));

    if (!texts)
        return xe_fail_memory(x);
    for (uint32_t i = 0; i < list->count; i++)
        texts[i] = uuids_of ? xe_uuid_of(x, uuids_of, xe_item(list, i)) : xe_value_text(x, &list->items[i]);
    xe_list(x, texts, list->count);
}

static void put_sources(struct xe *x, const struct xapi_value *list)
{
    static const char *const names[] = {"name_label", "name_description", "enabled", "standard", "min", "max", "units"};
    struct xe_pair pairs[XK_COUNT(names)];

    xe_table_begin(x);
    for (uint32_t i = 0; i < list->count; i++) {
        for (size_t j = 0; j < XK_COUNT(names); j++) {
            const struct xapi_value *const v = xapi_map_get(&list->items[i], names[j]);
            const bool is_real = j == 4 || j == 5;
            pairs[j].name = names[j];
            pairs[j].value = !v        ? ""
                             : is_real ? xk_arena_printf(&x->arena, "%.3f", xe_value_real(v))
                                       : xe_value_text(x, v);
        }
        xe_table_record(x, pairs, XK_COUNT(pairs));
    }
    xe_table_end(x);
}

static void put_result(struct xe *x, const char *result, const struct xapi_message *m, const struct xapi_value *v)
{
    if (!result || !xe_fine(x))
        return;
    if (strcmp(result, "uuid") == 0)
        xe_list_one(x, xe_uuid_of(x, result_class(m), xe_value_text(x, v)));
    else if (strcmp(result, "uuids") == 0)
        put_list(x, v, result_class(m));
    else if (strcmp(result, "texts") == 0)
        put_list(x, v, NULL);
    else if (strcmp(result, "text") == 0)
        xe_list_one(x, xe_value_text(x, v));
    else if (strcmp(result, "msg") == 0)
        xe_say(x, xe_value_text(x, v));
    else if (strcmp(result, "print") == 0)
        xe_print(x, xe_value_text(x, v));
    else if (strcmp(result, "table") == 0)
        xe_table_map(x, v);
    else if (strcmp(result, "sources") == 0)
        put_sources(x, v);
    else if (strcmp(result, "real") == 0)
        xe_list_one(x, xk_arena_printf(&x->arena, "%f", xe_value_real(v)));
}

/* ---- doing ---- */

static void do_it(struct xe *x, struct xe_object *self, void *context)
{
    const struct recipe *const r = context;
    const bool first = !r->chooser || xe_param_bool(x, r->chooser, false);
    const char *const method = first ? r->method : r->other;
    const struct xapi_message *const m = xapi_message_find(method);
    struct xapi_value args[XE_PARAMS_MAX];
    size_t count = 0;

    if (!m)
        return xe_fail_server(x, "MESSAGE_METHOD_UNKNOWN", method, NULL);
    const char *const ref = self ? self->ref : "";
    if (m->kind == XAPI_CREATE) {
        args[count++] = record_value(x, r, m, ref);
    } else {
        for (size_t i = r->first; i < r->last && count < m->params && xe_fine(x); i++, count++)
            args[count] = argument_value(x, r->words[i], xapi_type_of(xapi_params[m->first_param + count].type), ref);
    }
    const struct xapi_value v = xe_call(x, method, args, count);
    put_result(x, r->result, m, &v);
}

void xe_recipe_run(struct xe *x, const struct xe_command *command)
{
    struct recipe r = {0};

    if (strcmp(xe_text(command->recipe), "nothing") == 0)
        return;
    read_recipe(x, &r, xe_text(command->recipe));
    if (!xe_fine(x))
        return;
    if (r.selects)
        (void)xe_each(x, r.who, r.how, r.ignored, do_it, &r);
    else
        do_it(x, NULL, &r);
}
