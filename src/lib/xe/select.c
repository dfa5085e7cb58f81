/*
 * Which objects a command is about: all of a class, kept or dropped by the parameters that name fields.
 *
 * A field is compared with the text that `xe` shows for it, so `power-state=halted` and `other-config:key=value` mean
 * what the listing says.
 */
#include "lib/xe/inner.h"

#include "core/text.h"

#include <stdio.h>
#include <string.h>

struct xe_objects xe_all(struct xe *x, const char *kind, const char *class_name, const char *expression)
{
    const struct xe_record *const row = xe_record_find(kind);
    struct xe_objects objects = {0};
    char method[96];

    (void)snprintf(method, sizeof(method), "%s.get_all_records_where", class_name);
    const struct xapi_value records = xe_do(x, method, xapi_str(expression));
    if (!xe_fine(x) || records.shape != XAPI_MAP || !row)
        return objects;
    xe_index_learn(x, class_name, &records);
    objects.items = xk_arena_alloc(&x->arena, (records.count + 1) * sizeof(*objects.items));
    if (!objects.items) {
        xe_fail_memory(x);
        return objects;
    }
    for (uint32_t i = 0; i < records.count; i++)
        objects.items[objects.count++] = (struct xe_object){
            .kind = row, .ref = xapi_value_text(&records.items[2 * i]), .record = records.items[2 * i + 1]};
    return objects;
}

/* ---- filters ---- */

/* The longest field whose name and '-' begin a parameter: the old way to name a key of a map. */
static const struct xe_field *longest(const struct xe_record *kind, const char *name, unsigned flag)
{
    const struct xe_field *best = NULL;

    for (size_t i = 0; i < kind->fields; i++) {
        const struct xe_field *const f = &xe_fields[kind->first_field + i];
        const size_t len = strlen(xe_text(f->name));
        if (f->flags & flag && strncmp(name, xe_text(f->name), len) == 0 && name[len] == '-' &&
            (!best || len > strlen(xe_text(best->name))))
            best = f;
    }
    return best;
}

const struct xe_field *xe_named_field(struct xe *x, const struct xe_record *kind, const char *name,
                                      enum xe_named *ret_how)
{
    const struct xe_field *field = xe_field_find(kind, name);

    *ret_how = XE_NAMED_FIELD;
    if (field)
        return field;
    if (name[xe_stem(name)]) {
        const char *const stem = xk_arena_strndup(&x->arena, name, xe_stem(name));
        field = stem ? xe_field_find(kind, stem) : NULL;
        *ret_how = field && field->flags & XE_SET ? XE_NAMED_SET : XE_NAMED_PAIR;
        if (field && !(field->flags & (XE_SET | XE_DICT))) {
            xe_fail(x, "Field '%s' is not a set or map", stem);
            return NULL;
        }
    } else {
        field = longest(kind, name, XE_DICT);
        *ret_how = field ? XE_NAMED_PAIR : XE_NAMED_SET;
        field = field ? field : longest(kind, name, XE_SET);
    }
    if (!field)
        xe_fail(x, "Unknown field '%s'", name);
    return field;
}

static bool same_text(const struct xe_field *field, const char *a, const char *b)
{
    if (!(field->flags & XE_ANY_CASE))
        return strcmp(a, b) == 0;
    for (; *a || *b; a++, b++) {
        const int upper_a = *a >= 'A' && *a <= 'Z' ? *a + 32 : *a, upper_b = *b >= 'A' && *b <= 'Z' ? *b + 32 : *b;
        if (upper_a != upper_b)
            return false;
    }
    return true;
}

static bool fits(struct xe *x, struct xe_object *o, const struct xe_field *field, enum xe_named how, const char *key,
                 const char *value)
{
    if (how == XE_NAMED_FIELD)
        return same_text(field, xe_field_show(x, o, field), value);
    const struct xapi_value v = how == XE_NAMED_SET ? xe_field_words(x, o, field) : xe_field_pairs(x, o, field);
    bool found = false;
    for (uint32_t i = 0; !found && i < v.count; i++) {
        if (how == XE_NAMED_SET) {
            found = same_text(field, xapi_value_text(&v.items[i]), value);
        } else if (same_text(field, xapi_value_text(&v.items[2 * i]), key)) {
            /* Only the first pair of a key counts. */
            found = same_text(field, xapi_value_text(&v.items[2 * i + 1]), value);
            break;
        }
    }
    /* An object whose field cannot be read is none that fits. */
    return !xe_forgive(x) && found;
}

void xe_filter(struct xe *x, struct xe_objects *objects, const char *name, const char *value)
{
    enum xe_named how;
    size_t kept = 0;

    if (objects->count == 0 || !xe_fine(x))
        return;
    const struct xe_field *const field = xe_named_field(x, objects->items[0].kind, name, &how);
    if (!field)
        return;
    const char *const key = how == XE_NAMED_FIELD ? "" : name + strlen(xe_text(field->name)) + 1;
    if (how == XE_NAMED_SET && strcmp(key, "contains") != 0)
        return xe_fail(x, "Invalid syntax for set filtering (should be set-param:contains=key)");
    for (size_t i = 0; i < objects->count && xe_fine(x); i++)
        if (fits(x, &objects->items[i], field, how, key, value))
            objects->items[kept++] = objects->items[i];
    objects->count = kept;
}

/* ---- selectors ---- */

static bool is_ignored(const char *name, const char *const *ignored)
{
    const size_t stem = xe_stem(name);
    char text[128];

    (void)snprintf(text, sizeof(text), "%.*s", (int)XK_MIN(stem, sizeof(text) - 1), name);
    if (xe_is_standard_param(text))
        return true;
    for (; ignored && *ignored; ignored++)
        if (strcmp(*ignored, text) == 0)
            return true;
    return false;
}

static const char *quoted(struct xe *x, const char *text)
{
    struct xk_buf b = XK_BUF_INIT(1u << 20);

    for (; *text; text++) {
        if (*text == '"')
            xk_buf_add_char(&b, '\\');
        xk_buf_add_char(&b, *text);
    }
    const struct xapi_value v = xe_text_value(x, xk_buf_str(&b));
    xk_buf_done(&b);
    return v.text;
}

struct selector {
    enum xe_command_flag what;
    const char *name, *kind, *class_name, *expression;
};

static const struct selector selectors[] = {
    {XE_SELECTS_VMS, "vm", "vm", "VM", "(field \"uuid\"=\"%s\") or (field \"name__label\"=\"%s\")"},
    {XE_SELECTS_HOSTS, "host", "host", "host",
     "(field \"uuid\"=\"%s\") or (field \"hostname\"=\"%s\") or (field \"name__label\"=\"%s\")"},
    {XE_SELECTS_SRS, "sr", "sr", "SR", "(field \"uuid\"=\"%s\") or (field \"name__label\"=\"%s\")"},
};

static const struct selector *selector_of(enum xe_command_flag what)
{
    for (size_t i = 0; i < XK_COUNT(selectors); i++)
        if (selectors[i].what == what)
            return &selectors[i];
    return &selectors[0];
}

/* The expression with the name put in at each "%s". */
static const char *name_expression(struct xe *x, const struct selector *s, const char *name)
{
    struct xk_buf b = XK_BUF_INIT(1u << 20);

    for (const char *c = s->expression; *c; c++) {
        if (c[0] == '%' && c[1] == 's') {
            xk_buf_add_str(&b, name);
            c++;
        } else {
            xk_buf_add_char(&b, *c);
        }
    }
    const struct xapi_value v = xe_text_value(x, xk_buf_str(&b));
    xk_buf_done(&b);
    return v.text;
}

struct xe_objects xe_select(struct xe *x, enum xe_command_flag what, unsigned how, const char *const *ignored)
{
    const struct selector *const s = selector_of(what);
    const char *const name = xe_param(x, s->name);
    bool name_used = name == NULL;
    struct xe_objects objects =
        xe_all(x, s->kind, s->class_name, name ? name_expression(x, s, quoted(x, name)) : "true");

    if (what == XE_SELECTS_VMS && !(how & XE_ALSO_TEMPLATES))
        xe_filter(x, &objects, "is-a-template", "false");
    if (what == XE_SELECTS_VMS && !(how & XE_ALSO_CONTROL))
        xe_filter(x, &objects, "is-control-domain", "false");
    for (size_t i = 0; i < x->param_count; i++) {
        if (!name_used && strcmp(x->params[i].name, s->name) == 0)
            name_used = true;
        else if (!is_ignored(x->params[i].name, ignored))
            xe_filter(x, &objects, x->params[i].name, x->params[i].value);
    }
    return objects;
}

/* ---- doing it to each ---- */

/* After an operation on a VM the messages about it that came meanwhile are shown, those that matter more than 5. */
static void tell_messages(struct xe *x, struct xe_object *o, int64_t since_s, int64_t priority)
{
    const char *const uuid = xe_field_show_named(x, o, "uuid");
    const struct xapi_value found =
        xe_do(x, "message.get", xapi_str("VM"), xapi_str(uuid), xapi_time(&x->arena, since_s));

    if (xe_forgive(x) || x->minimal || found.shape != XAPI_MAP)
        return;
    for (uint32_t i = 0; i < found.count; i++) {
        const struct xapi_value *const m = &found.items[2 * i + 1], *const level = xapi_map_get(m, "priority");
        if (!level || xe_value_int(level) >= priority)
            continue;
        const char *const text = xk_arena_printf(&x->arena, "Message: time=%s priority=%s name='%s'\n\n",
                                                 xapi_value_text(xapi_map_get(m, "timestamp")), xe_value_text(x, level),
                                                 xapi_value_text(xapi_map_get(m, "name")));
        if (text)
            xe_complain(x, text);
    }
}

static void do_one(struct xe *x, enum xe_command_flag what, struct xe_object *o, xe_operation *operation, void *context)
{
    const struct xe_remote *const remote = x->settings->remote;
    int64_t priority = 5;

    if (what != XE_SELECTS_VMS)
        return operation(x, o, context);
    const int64_t now = remote->now_s(remote->context);
    (void)xe_number(&priority, xe_param_or(x, "message-priority", "5"));
    operation(x, o, context);
    if (xe_fine(x))
        tell_messages(x, o, now, priority);
}

struct failed {
    const char *uuid, *text;
};

static void note_failure(struct xe *x, struct xe_object *o, struct failed *ret)
{
    const char *text = x->failure == XE_SERVER ? xe_exception_text(x) : NULL;
    const struct xapi_value error = x->server;
    const bool server = x->failure == XE_SERVER;

    if (!text)
        text = xe_exception_text(x);
    if (!xe_forgive(x))
        return;
    const char *const lines = server ? xe_error_lines(x, &error, true) : NULL;
    *ret = (struct failed){.uuid = xe_field_show_named(x, o, "uuid"), .text = lines ? lines : text};
}

static size_t do_many(struct xe *x, enum xe_command_flag what, struct xe_objects *objects, xe_operation *operation,
                      void *context)
{
    struct failed *const failed = xk_arena_alloc(&x->arena, objects->count * sizeof(*failed));
    size_t failures = 0, done = 0;

    if (!failed)
        xe_fail_memory(x);
    for (size_t i = 0; i < objects->count && xe_fine(x); i++) {
        do_one(x, what, &objects->items[i], operation, context);
        if (xe_fine(x))
            done++;
        else if (x->failure != XE_LOST && x->failure != XE_EXIT)
            note_failure(x, &objects->items[i], &failed[failures++]);
    }
    /* The last one first, as the real one tells them. */
    for (size_t i = failures; i-- > 0 && xe_fine(x);) {
        const char *const line =
            xk_arena_printf(&x->arena, "operation failed on %s: %s", failed[i].uuid, failed[i].text);
        if (line)
            xe_print(x, line);
    }
    if (failures > 0)
        xe_fail_exit(x, 1);
    return done;
}

static void refuse_many(struct xe *x, enum xe_command_flag what, bool one)
{
    if (what == XE_SELECTS_VMS && one)
        xe_fail(x, "Multiple matches VMs found. Operation can only be performed on one VM at a time");
    else if (what == XE_SELECTS_VMS)
        xe_fail(x, "Multiple matches VMs found. --multiple required to complete the operation");
    else if (one)
        xe_fail(x, "Multiple matching %s found. Operation can only be performed on one %s at a time",
                what == XE_SELECTS_HOSTS ? "hosts" : "SRs", what == XE_SELECTS_HOSTS ? "host" : "SR");
    else
        xe_fail(x, "Multiple matching %s found. --multiple required to complete the operation",
                what == XE_SELECTS_HOSTS ? "hosts" : "SRs");
}

size_t xe_each(struct xe *x, enum xe_command_flag what, unsigned how, const char *const *ignored,
               xe_operation *operation, void *context)
{
    struct xe_objects objects = xe_select(x, what, how, ignored);
    size_t done = 0;

    if (xe_fine(x) && objects.count == 0)
        xe_fail(x, what == XE_SELECTS_VMS ? "No matching VMs found" : "No matching hosts found");
    if (xe_fine(x) && objects.count == 1) {
        do_one(x, what, &objects.items[0], operation, context);
        done = 1;
    } else if (xe_fine(x)) {
        const bool many = !(how & XE_ONE) && xe_param_bool(x, "multiple", false);
        if (many && xe_fine(x))
            done = do_many(x, what, &objects, operation, context);
        else
            refuse_many(x, what, (how & XE_ONE) != 0);
    }
    if (x->failure == XE_NO_FIELD && what == XE_SELECTS_VMS) {
        const char *const name = x->text;
        (void)xe_forgive(x);
        xe_fail(x, "Parameter '%s' is not a field of the VM class. Failed to select VM for operation.", name);
    }
    return done;
}
