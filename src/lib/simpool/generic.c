/*
 * What the table alone can answer: getters, setters, records, lookups, constructors and destructors of every class.
 *
 * One function for each kind of message. What the model calls custom and has no behaviour of its own is refused here as
 * not implemented: a success that did nothing would teach its caller something false.
 */
#include "lib/simpool/inner.h"

#include "core/text.h"

#include <stdio.h>
#include <string.h>

static const struct sim_class *class_of(const struct sim_call *c)
{
    return &c->pool->classes[c->message->class_index];
}

static unsigned place_of(const struct sim_call *c)
{
    return (unsigned)c->message->field - xapi_classes[c->message->class_index].first_field;
}

static enum sim_outcome get(struct sim_call *c)
{
    const struct sim_object *const o = sim_arg(c, 0);

    if (!o)
        return SIM_FAILED;
    c->result = o->fields[place_of(c)]->value;
    return SIM_DONE;
}

static enum sim_outcome set(struct sim_call *c)
{
    struct sim_object *const o = sim_arg(c, 0);

    if (!o)
        return SIM_FAILED;
    sim_put_at(c->pool, o, place_of(c), &c->args[1]);
    return SIM_DONE;
}

static enum sim_outcome add(struct sim_call *c)
{
    struct sim_object *const o = sim_arg(c, 0);
    const unsigned place = place_of(c);

    if (!o)
        return SIM_FAILED;
    const struct xapi_value *const now = &o->fields[place]->value;
    if (now->shape == XAPI_LIST) {
        sim_list_add(c->pool, o, place, &c->args[1]);
        return SIM_DONE;
    }
    char key[64];
    const char *text = sim_arg_text(c, 1);
    if (c->args[1].shape == XAPI_INT) {
        snprintf(key, sizeof(key), "%lld", (long long)c->args[1].integer);
        text = key;
    }
    if (xapi_map_get(now, text))
        return sim_fail(c, "MAP_DUPLICATE_KEY", xapi_text(o->class_row->name),
                        xapi_text(xapi_fields[c->message->field].name),
                        o->class_row->uuid == XAPI_NONE ? o->ref : sim_text(o, "uuid"), text, NULL);
    sim_map_set(c->pool, o, place, text, &c->args[2]);
    return SIM_DONE;
}

static enum sim_outcome take_out(struct sim_call *c)
{
    struct sim_object *const o = sim_arg(c, 0);
    const unsigned place = place_of(c);
    char key[64];

    if (!o)
        return SIM_FAILED;
    if (o->fields[place]->value.shape == XAPI_LIST) {
        sim_list_remove(c->pool, o, place, &c->args[1]);
        return SIM_DONE;
    }
    const char *text = sim_arg_text(c, 1);
    if (c->args[1].shape == XAPI_INT) {
        snprintf(key, sizeof(key), "%lld", (long long)c->args[1].integer);
        text = key;
    }
    if (xapi_map_get(&o->fields[place]->value, text))
        sim_map_unset(c->pool, o, place, text);
    return SIM_DONE;
}

/* ---- records ---- */

static bool record_value(struct sim_call *c, struct sim_object *o, struct xapi_value *ret)
{
    struct xapi_raw *const raw = xk_arena_alloc(&c->arena, sizeof(*raw));

    if (!raw || sim_record_as(raw, o, c->wire.protocol != XAPI_XML) < 0)
        return false;
    *ret = (struct xapi_value){.shape = XAPI_RAW, .raw = raw};
    return true;
}

static enum sim_outcome get_record(struct sim_call *c)
{
    struct sim_object *const o = sim_arg(c, 0);

    if (!o)
        return SIM_FAILED;
    return record_value(c, o, &c->result) ? SIM_DONE : sim_no_memory(c);
}

/* All objects of the class, or those that meet the expression in argument 0; as refs, or as records under their refs.
 */
static enum sim_outcome get_many(struct sim_call *c, bool records, const char *expression)
{
    const struct sim_class *const class = class_of(c);
    struct xapi_value *const items = xk_arena_alloc(&c->arena, (1 + (size_t) class->count) * 2 * sizeof(*items));
    size_t count = 0;
    bool wrong = false;

    if (!items)
        return sim_no_memory(c);
    for (struct sim_object *o = class->first; o; o = o->class_next) {
        if (expression && !sim_where(o->class_row, o, expression, &wrong))
            continue;
        items[count++] = xapi_str(o->ref);
        if (records && !record_value(c, o, &items[count++]))
            return sim_no_memory(c);
    }
    /* Also wrong when there is no object to try it on. */
    if (expression && class->count == 0)
        (void)sim_where(&xapi_classes[c->message->class_index], NULL, expression, &wrong);
    if (wrong)
        return sim_fail(c, "INVALID_VALUE", expression, "Stdlib.Parsing.Parse_error", NULL);
    c->result = records ? xapi_map(items, count / 2) : xapi_list(items, count);
    return SIM_DONE;
}

static enum sim_outcome get_by_uuid(struct sim_call *c)
{
    const struct xapi_class *const row = &xapi_classes[c->message->class_index];
    const char *const uuid = sim_arg_text(c, 0);
    const struct sim_object *const o = row->uuid == XAPI_NONE ? NULL : sim_find_uuid(c->pool, uuid, row);

    if (!o)
        return sim_fail(c, "UUID_INVALID", xapi_text(row->name), uuid, NULL);
    c->result = xapi_str(o->ref);
    return SIM_DONE;
}

static enum sim_outcome get_by_name_label(struct sim_call *c)
{
    const struct sim_class *const class = class_of(c);
    const unsigned place = xapi_classes[c->message->class_index].name_label;
    struct xapi_value *const items = xk_arena_alloc(&c->arena, (1 + (size_t) class->count) * sizeof(*items));
    size_t count = 0;

    if (!items)
        return sim_no_memory(c);
    for (const struct sim_object *o = class->first; o; o = o->class_next)
        if (strcmp(xapi_value_text(&o->fields[place]->value), sim_arg_text(c, 0)) == 0)
            items[count++] = xapi_str(o->ref);
    c->result = xapi_list(items, count);
    return SIM_DONE;
}

/* ---- constructors ---- */

/* As the server, the first field that is missing, in the class's order. */
static bool has_needed(struct sim_call *c, const struct xapi_value *record)
{
    char name[96], text[160];

    for (const char *at = xapi_text(c->message->needed); *at;) {
        const size_t len = strcspn(at, ",");
        snprintf(name, sizeof(name), "%.*s", (int)len, at);
        if (!xapi_map_get(record, name)) {
            snprintf(text, sizeof(text), "Server_helpers.Dispatcher_FieldNotFound(\"%s\")", name);
            (void)sim_fail(c, "INTERNAL_ERROR", text, NULL);
            return false;
        }
        at += len + (at[len] == ',');
    }
    return true;
}

/* What only the server may set, and what it does not know, is not looked at. */
static bool is_for_clients(const struct xapi_field *field)
{
    return field->qualifier != XAPI_DRO;
}

bool sim_record_arg(struct sim_call *c, unsigned arg, const struct xapi_value **ret)
{
    const struct xapi_class *const row = &xapi_classes[c->message->class_index];
    const struct xapi_value *const record = &c->args[arg];
    struct xapi_value *const pairs = xk_arena_alloc(&c->arena, 2 * (size_t)row->fields * sizeof(*pairs));
    struct xapi_value *const map = xk_arena_alloc(&c->arena, sizeof(*map));
    char wrong[256], text[320];
    size_t count = 0;

    if (!pairs || !map) {
        (void)sim_no_memory(c);
        return false;
    }
    if (!has_needed(c, record))
        return false;
    for (unsigned i = 0; i < row->fields; i++) {
        const struct xapi_field *const field = &xapi_fields[row->first_field + i];
        const struct xapi_value *const given = xapi_map_get(record, xapi_text(field->name));
        if (!is_for_clients(field))
            continue;
        pairs[2 * count] = xapi_str(xapi_text(field->name));
        const int code = given ? xapi_cast(&pairs[2 * count + 1], &c->arena, field->type, given, wrong, sizeof(wrong))
                               : xapi_default(&pairs[2 * count + 1], &c->arena, field->type, field->initial);
        if (code < 0) {
            snprintf(text, sizeof(text), "Failure(\"%s\")", wrong);
            (void)(code == -ENOMEM ? sim_no_memory(c) : sim_fail(c, "INTERNAL_ERROR", text, NULL));
            return false;
        }
        count++;
    }
    *map = xapi_map(pairs, count);
    *ret = map;
    return true;
}

/* Refs of a record have to be those of objects, or none. */
static bool has_good_refs(struct sim_call *c, const struct xapi_class *row, const struct xapi_value *record)
{
    for (size_t i = 0; i < record->count; i++) {
        const struct xapi_type *const type = xapi_type_of(xapi_field_find(row, record->items[2 * i].text)->type);
        const char *const ref = xapi_value_text(&record->items[2 * i + 1]);
        if (type->kind == XAPI_REF && strcmp(ref, SIM_NULL) != 0 && *ref && type->of != XAPI_NONE &&
            !sim_find(c->pool, ref, &xapi_classes[type->of])) {
            (void)sim_bad_handle(c, type->of, ref);
            return false;
        }
    }
    return true;
}

static enum sim_outcome create(struct sim_call *c)
{
    const struct xapi_class *const row = &xapi_classes[c->message->class_index];
    const struct xapi_value *record;

    if (!sim_record_arg(c, 0, &record) || !has_good_refs(c, row, record))
        return SIM_FAILED;
    struct sim_object *const o = sim_create(c->pool, xapi_text(row->name));
    if (!o)
        return sim_no_memory(c);
    for (size_t i = 0; i < record->count; i++)
        sim_put(c->pool, o, record->items[2 * i].text, record->items[2 * i + 1]);
    sim_allowed(c->pool, o);
    c->result = xapi_str(o->ref);
    return SIM_DONE;
}

static enum sim_outcome destroy(struct sim_call *c)
{
    struct sim_object *const o = sim_arg(c, 0);

    if (!o)
        return SIM_FAILED;
    sim_delete(c->pool, o);
    return SIM_DONE;
}

enum sim_outcome sim_generic(struct sim_call *c)
{
    switch ((enum xapi_message_kind)c->message->kind) {
    case XAPI_GET:
        return get(c);
    case XAPI_SETTER:
        return set(c);
    case XAPI_ADD:
        return add(c);
    case XAPI_REMOVE:
        return take_out(c);
    case XAPI_CREATE:
        return create(c);
    case XAPI_DESTROY:
        return destroy(c);
    case XAPI_GET_RECORD:
        return get_record(c);
    case XAPI_GET_BY_UUID:
        return get_by_uuid(c);
    case XAPI_GET_BY_NAME_LABEL:
        return get_by_name_label(c);
    case XAPI_GET_ALL:
        return get_many(c, false, NULL);
    case XAPI_GET_ALL_WHERE:
        return get_many(c, false, sim_arg_text(c, 0));
    case XAPI_GET_ALL_RECORDS:
        return get_many(c, true, NULL);
    case XAPI_GET_ALL_RECORDS_WHERE:
        return get_many(c, true, sim_arg_text(c, 0));
    case XAPI_CUSTOM:
        break;
    }
    return sim_fail(c, "NOT_IMPLEMENTED", xapi_text(c->message->name), NULL);
}
