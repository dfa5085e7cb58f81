/*
 * The fields of a record as `xe` shows them: where a value comes from and how it becomes text stands in the table of
 * fields (data/xe/fields.tsv); here the two are done.
 */
#include "lib/xe/inner.h"

#include "core/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define PATH_BYTES 128

struct xe_object xe_object(struct xe *x, const char *kind, const char *ref)
{
    const struct xe_record *const row = xe_record_find(kind);

    if (!row)
        xe_fail_memory(x);
    return (struct xe_object){.kind = row, .ref = ref};
}

static const struct xapi_value *record_of(struct xe *x, struct xe_object *o)
{
    char method[96];

    if (o->record.shape == XAPI_NIL) {
        (void)snprintf(method, sizeof(method), "%s.get_record", xe_text(o->kind->class_name));
        o->record = xe_do(x, method, xapi_str(o->ref));
    }
    return &o->record;
}

const struct xapi_value *xe_object_get(struct xe *x, struct xe_object *o, const char *field)
{
    static const struct xapi_value nothing = {.shape = XAPI_NIL};
    const struct xapi_value *const v = xapi_map_get(record_of(x, o), field);

    return v ? v : &nothing;
}

/* ---- paths ---- */

/* The class that a type refers to, alone or in a set. */
static const char *class_of_type(uint16_t type)
{
    const struct xapi_type *t = xapi_type_of(type);

    if (t->kind == XAPI_SET || t->kind == XAPI_OPTION)
        t = xapi_type_of(t->of);
    else if (t->kind == XAPI_DICT)
        t = xapi_type_of(t->to);
    return t->kind == XAPI_REF && t->of != XAPI_NONE ? xapi_text(xapi_classes[t->of].name) : NULL;
}

/* What a path led to. */
struct found {
    struct xapi_value value;
    const char *class_name; /* of the refs in it; NULL: none are */
    bool missing;           /* an object on the way is not there */
};

static struct found follow(struct xe *x, const char *class_name, const struct xapi_value *record, const char *path)
{
    const size_t len = strcspn(path, ">");
    char name[PATH_BYTES];
    static const struct xapi_value nothing = {.shape = XAPI_NIL};

    (void)snprintf(name, sizeof(name), "%.*s", (int)XK_MIN(len, sizeof(name) - 1), path);
    const struct xapi_class *const row = xapi_class_find(class_name);
    const struct xapi_field *const field = row ? xapi_field_find(row, name) : NULL;
    const struct xapi_value *v = xapi_map_get(record, name);
    v = v ? v : &nothing;
    const char *const next_class = field ? class_of_type(field->type) : NULL;
    if (!path[len])
        return (struct found){.value = *v, .class_name = next_class, .missing = v->shape == XAPI_NIL};
    path += len + 1;
    if (v->shape == XAPI_TEXT) {
        const struct xapi_value *const next = next_class ? xe_index_record(x, next_class, v->text) : NULL;
        return next ? follow(x, next_class, next, path) : (struct found){.missing = true};
    }
    struct xapi_value *const items = xk_arena_alloc(&x->arena, (v->count + 1) * sizeof(*items));
    if (!items || !next_class) {
        xe_fail_memory(x);
        return (struct found){.missing = true};
    }
    const char *last_class = NULL;
    for (uint32_t i = 0; i < v->count; i++) {
        const struct xapi_value *const next = xe_index_record(x, next_class, xe_item(v, i));
        const struct found f = next ? follow(x, next_class, next, path) : (struct found){.missing = true};
        items[i] = f.missing ? xapi_str(XE_NOT_IN_DATABASE) : f.value;
        last_class = f.class_name ? f.class_name : last_class;
    }
    return (struct found){.value = xapi_list(items, v->count), .class_name = last_class};
}

static struct found find(struct xe *x, struct xe_object *o, const struct xe_field *field)
{
    const char *const path = xe_text(field->path);

    if (!(field->flags & XE_CALLED)) {
        const struct xapi_value *const record = record_of(x, o);
        return xe_fine(x) ? follow(x, xe_text(o->kind->class_name), record, path) : (struct found){.missing = true};
    }
    const struct xapi_message *const m = xapi_message_find(path);
    const struct xapi_value v = field->flags & XE_BARE ? xe_do_bare(x, path) : xe_do(x, path, xapi_str(o->ref));
    const bool missing = field->flags & XE_HAS_OTHERWISE ? xe_forgive(x) : !xe_fine(x);
    return (struct found){.value = v, .class_name = m ? class_of_type(m->result) : NULL, .missing = missing};
}

/* ---- text ---- */

static const char *arena_text(struct xe *x, struct xk_buf *b)
{
    const char *const text = b->error ? NULL : xk_arena_strdup(&x->arena, xk_buf_str(b));

    xk_buf_done(b);
    if (!text)
        xe_fail_memory(x);
    return text ? text : "";
}

/* YYYYMMDDTHH:MM:SSZ, whatever dashes it came with. */
static const char *time_text(struct xe *x, const char *text)
{
    struct xk_buf b = XK_BUF_INIT(64);

    if (strlen(text) < 10 || text[4] != '-')
        return text;
    for (const char *c = text; *c && b.len < 60; c++)
        if (*c != '-' || c - text > 8)
            xk_buf_add_char(&b, *c);
    return arena_text(x, &b);
}

static const char *shown(const struct xe_field *field, const char *value)
{
    const char *const word = xe_enum_show(xe_text(field->table), value);

    return word ? word : value;
}

static const char *uuid_of(struct xe *x, const char *class_name, const char *ref)
{
    return xe_index_uuid(x, class_name ? class_name : "VDI", ref);
}

const char *xe_joined(struct xe *x, const struct xapi_value *list, const char *separator)
{
    struct xk_buf b = XK_BUF_INIT(16u << 20);

    for (uint32_t i = 0; list->shape == XAPI_LIST && i < list->count; i++) {
        if (i > 0)
            xk_buf_add_str(&b, separator);
        xk_buf_add_str(&b, xe_value_text(x, &list->items[i]));
    }
    return arena_text(x, &b);
}

static const char *join_pairs(struct xe *x, const struct xapi_value *map)
{
    struct xk_buf b = XK_BUF_INIT(16u << 20);

    for (uint32_t i = 0; i < map->count; i++)
        xk_buf_printf(&b, "%s%s: %s", i > 0 ? "; " : "", xapi_value_text(&map->items[2 * i]),
                      xapi_value_text(&map->items[2 * i + 1]));
    return arena_text(x, &b);
}

/* The members as texts: of a set, or the values of a map. */
static struct xapi_value members(struct xe *x, const struct xe_field *field, const struct found *f)
{
    const unsigned step = f->value.shape == XAPI_MAP ? 2 : 1;
    struct xapi_value *const items = xk_arena_alloc(&x->arena, (f->value.count + 1) * sizeof(*items));

    if (!items) {
        xe_fail_memory(x);
        return xapi_list(NULL, 0);
    }
    const uint32_t count = f->value.shape == XAPI_LIST || f->value.shape == XAPI_MAP ? f->value.count : 0;
    for (uint32_t i = 0; i < count; i++) {
        const char *const text = xe_value_text(x, &f->value.items[step * i + step - 1]);
        items[i] = xapi_str(field->form == XE_UUIDS ? uuid_of(x, f->class_name, text) : shown(field, text));
    }
    return xapi_list(items, count);
}

static struct xapi_value pairs(struct xe *x, const struct xe_field *field, const struct found *f)
{
    struct xapi_value *const items = xk_arena_alloc(&x->arena, (2 * (size_t)f->value.count + 1) * sizeof(*items));

    if (!items) {
        xe_fail_memory(x);
        return xapi_map(NULL, 0);
    }
    const uint32_t count = f->value.shape == XAPI_MAP ? f->value.count : 0;
    for (uint32_t i = 0; i < count; i++) {
        const char *const value = xe_value_text(x, &f->value.items[2 * i + 1]);
        items[2 * i] = xapi_str(shown(field, xapi_value_text(&f->value.items[2 * i])));
        items[2 * i + 1] = xapi_str(field->form == XE_UUID_MAP ? uuid_of(x, f->class_name, value) : value);
    }
    return xapi_map(items, count);
}

static const char *form_text(struct xe *x, const struct xe_field *field, const struct found *f)
{
    const struct xapi_value *const v = &f->value;
    const char *text = NULL;

    switch ((enum xe_form)field->form) {
    case XE_TEXT:
        text = xe_value_text(x, v);
        if (field->flags & XE_QUOTED)
            return xe_value_text(
                x, &(struct xapi_value){.shape = XAPI_TEXT, .text = xk_arena_printf(&x->arena, "'%s'", text)});
        return *text ? text : xe_text(field->empty);
    case XE_BOOL:
    case XE_INT:
        return xe_value_text(x, v);
    case XE_REAL:
        text = xk_arena_printf(&x->arena, "%.3f", xe_value_real(v));
        return text ? text : "";
    case XE_TIME:
        return time_text(x, xe_value_text(x, v));
    case XE_ENUM:
        return shown(field, xe_value_text(x, v));
    case XE_UUID:
        return uuid_of(x, f->class_name, xe_value_text(x, v));
    case XE_NAME:
        return xe_index_name(x, f->class_name ? f->class_name : "VM", xe_value_text(x, v));
    case XE_UUIDS:
    case XE_WORDS:
    case XE_VALUES:
    case XE_COMMAS: {
        const struct xapi_value list = members(x, field, f);
        return xe_joined(x, &list, field->form == XE_COMMAS ? ", " : "; ");
    }
    case XE_MAP:
    case XE_UUID_MAP: {
        const struct xapi_value map = pairs(x, field, f);
        return join_pairs(x, &map);
    }
    case XE_RATE:
    case XE_SPECIAL:
        break;
    }
    return "";
}

/* A field of all hosts. */
static const char *same_text(struct xe *x, const struct xe_field *field)
{
    const struct xapi_value hosts = xe_do_bare(x, "host.get_all_records");
    const char *same = NULL;

    for (uint32_t i = 0; i < hosts.count; i++) {
        const struct found f = follow(x, "host", &hosts.items[2 * i + 1], xe_text(field->path));
        const char *const text = form_text(x, field, &f);
        if (same && strcmp(same, text) != 0)
            return "<inconsistent>";
        same = text;
    }
    return same ? same : "<inconsistent>";
}

/* "host=pif_%s_rx": a data source of the object that the field `host` refers to, named after the device. */
static const char *rate_text(struct xe *x, struct xe_object *o, const struct xe_field *field)
{
    const char *const path = xe_text(field->path), *const mark = strchr(path, '=');
    const char *const hole = mark ? strstr(mark, "%s") : NULL;
    char owner[32], method[64], source[256];

    if (!hole)
        return "";
    (void)snprintf(owner, sizeof(owner), "%.*s", (int)XK_MIN((size_t)(mark - path), sizeof(owner) - 1), path);
    (void)snprintf(source, sizeof(source), "%.*s%s%s", (int)(hole - mark - 1), mark + 1,
                   xapi_value_text(xe_object_get(x, o, "device")), hole + 2);
    (void)snprintf(method, sizeof(method), "%s.query_data_source", owner);
    const struct xapi_value v = xe_do(x, method, *xe_object_get(x, o, owner), xapi_str(source));
    if (xe_forgive(x))
        return "<unknown>";
    const char *const text = xk_arena_printf(&x->arena, "%.3f", xe_value_real(&v) / 1024);
    return text ? text : "";
}

static const char *show(struct xe *x, struct xe_object *o, const struct xe_field *field)
{
    if (field->form == XE_SPECIAL)
        return xe_special(x, o, field);
    if (field->form == XE_RATE)
        return rate_text(x, o, field);
    if (field->flags & XE_ALL_HOSTS)
        return same_text(x, field);
    const struct found f = find(x, o, field);
    if (f.missing && field->flags & XE_HAS_OTHERWISE)
        return xe_text(field->otherwise);
    return xe_fine(x) ? form_text(x, field, &f) : "";
}

const char *xe_field_show(struct xe *x, struct xe_object *o, const struct xe_field *field)
{
    const char *const text = show(x, o, field);

    if (!xe_failed_with(x, "HANDLE_INVALID"))
        return text;
    (void)xe_forgive(x);
    return "<invalid reference>";
}

const char *xe_field_show_named(struct xe *x, struct xe_object *o, const char *name)
{
    const struct xe_field *const field = xe_field_find(o->kind, name);

    if (!field)
        xe_fail_other(x, XE_NO_FIELD, name);
    return field ? xe_field_show(x, o, field) : "";
}

struct xapi_value xe_field_words(struct xe *x, struct xe_object *o, const struct xe_field *field)
{
    const struct found f = find(x, o, field);

    return members(x, field, &f);
}

struct xapi_value xe_field_pairs(struct xe *x, struct xe_object *o, const struct xe_field *field)
{
    if (field->form == XE_SPECIAL)
        return xe_special_pairs(x, o);
    const struct found f = find(x, o, field);
    return pairs(x, field, &f);
}
