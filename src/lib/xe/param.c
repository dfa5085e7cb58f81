/*
 * Fields are written: a word from the command line is made into what the message wants, with the real one's texts when
 * it cannot be, and sets and maps are changed member by member.
 */
#include "lib/xe/inner.h"

#include "core/text.h"

#include <stdio.h>
#include <string.h>

#define METHOD_BYTES 128

/* The type of a message's last parameter. */
static const struct xapi_type *value_type(const char *method)
{
    const struct xapi_message *const m = xapi_message_find(method);

    return m && m->params > 0 ? xapi_type_of(xapi_params[m->first_param + m->params - 1].type) : NULL;
}

/* The class and the enum inside a type. */
static const char *class_in(const struct xapi_type *t)
{
    if (t && t->kind == XAPI_SET)
        t = xapi_type_of(t->of);
    return t && t->kind == XAPI_REF && t->of != XAPI_NONE ? xapi_text(xapi_classes[t->of].name) : "VM";
}

static struct xapi_value whole_number(struct xe *x, const char *name, const char *text)
{
    int64_t number = 0;

    if (!xe_number(&number, text))
        xe_fail(x, "Failed to parse parameter '%s': expecting an integer", name);
    return xapi_int(number);
}

/* An empty text is an empty list. */
static struct xapi_value words(struct xe *x, const char *text)
{
    return *text ? xe_split(x, text, ',') : xapi_list(NULL, 0);
}

static struct xapi_value refs(struct xe *x, const char *class_name, const char *text)
{
    const struct xapi_value uuids = words(x, text);
    struct xapi_value *const items = xk_arena_alloc(&x->arena, (uuids.count + 1) * sizeof(*items));

    if (!items) {
        xe_fail_memory(x);
        return xapi_list(NULL, 0);
    }
    for (uint32_t i = 0; i < uuids.count; i++)
        items[i] = xapi_str(xe_by_uuid(x, class_name, uuids.items[i].text));
    return xapi_list(items, uuids.count);
}

static struct xapi_value numbers(struct xe *x, const char *text)
{
    const struct xapi_value list = words(x, text);
    struct xapi_value *const items = xk_arena_alloc(&x->arena, (list.count + 1) * sizeof(*items));

    if (!items) {
        xe_fail_memory(x);
        return xapi_list(NULL, 0);
    }
    for (uint32_t i = 0; i < list.count; i++)
        items[i] = whole_number(x, "value", list.items[i].text);
    return xapi_list(items, list.count);
}

/* Words without the blanks around them, and without those that are nothing else. */
static struct xapi_value trimmed(struct xe *x, const char *text)
{
    const struct xapi_value list = xe_split(x, text, ',');
    struct xapi_value *const items = xk_arena_alloc(&x->arena, (list.count + 1) * sizeof(*items));
    size_t count = 0;

    for (uint32_t i = 0; items && i < list.count; i++) {
        const char *const word = list.items[i].text + strspn(list.items[i].text, " \t\r\n");
        size_t len = strlen(word);
        while (len > 0 && strchr(" \t\r\n", word[len - 1]))
            len--;
        const char *const copy = xk_arena_strndup(&x->arena, word, len);
        if (copy && len > 0)
            items[count++] = xapi_str(copy);
    }
    return xapi_list(items, count);
}

static struct xapi_value truth(struct xe *x, const char *format, const char *name, const char *text)
{
    const bool yes = strcmp(text, "true") == 0;

    if (!yes && strcmp(text, "false") != 0) {
        const char *const message = xk_arena_printf(&x->arena, "%s%s%s", format, name,
                                                    *format == 'F' ? "': expecting a boolean (true or false)"
                                                                   : " must be a boolean (true or false)");
        xe_fail_other(x, XE_FAILED, message ? message : "");
    }
    return xapi_bool(yes);
}

static struct xapi_value made_of(struct xe *x, const struct xe_field *field, const char *text)
{
    const char *const name = xe_text(field->name), *const method = xe_text(field->set);
    const struct xapi_type *const type = value_type(method);
    int64_t number = 0;
    double real = 0;

    switch ((enum xe_writer)field->writer) {
    case XE_WRITE_INT:
        return whole_number(x, name, text);
    case XE_WRITE_STRICT_INT:
        if (!xe_number(&number, text))
            xe_fail_server(x, "INTERNAL_ERROR", "Failure: Int64.of_string", NULL);
        return xapi_int(number);
    case XE_WRITE_BOOL:
        return truth(x, "Failed to parse parameter '", name, text);
    case XE_WRITE_STRICT_BOOL:
        return truth(x, "Parameter ", name, text);
    case XE_WRITE_REAL:
        if (!xe_real(&real, text))
            xe_fail(x, "Parameter %s must be a floating-point number", name);
        return xapi_real(real);
    case XE_WRITE_BYTES:
        return xapi_int(xe_bytes(x, name, text));
    case XE_WRITE_ENUM:
        return xapi_str(type && type->kind == XAPI_ENUM ? xe_enum_value(x, type->of, text) : text);
    case XE_WRITE_REF_OR_NULL:
        if (!*text)
            return xapi_str(XE_NULL);
        return xapi_str(xe_by_uuid(x, class_in(type), text));
    case XE_WRITE_REF:
        return xapi_str(xe_by_uuid(x, class_in(type), text));
    case XE_WRITE_REFS:
        return refs(x, class_in(type), text);
    case XE_WRITE_WORDS:
        return words(x, text);
    case XE_WRITE_TRIMMED:
        return trimmed(x, text);
    case XE_WRITE_INTS:
        return numbers(x, text);
    case XE_WRITE_TEXT:
    case XE_READ_ONLY:
        break;
    }
    return xapi_str(text);
}

static void write_field(struct xe *x, struct xe_object *o, const struct xe_field *field, const char *text)
{
    const struct xapi_value value = made_of(x, field, text);

    (void)xe_do(x, xe_text(field->set), xapi_str(o->ref), value);
}

/* ---- sets ---- */

/* "VIF.add_tags" with "remove_tags"; "VM.add_to_platform" with "remove_from_platform". */
static void remover(char ret[METHOD_BYTES], const char *adder)
{
    const char *const verb = strchr(adder, '.') + 1;
    const bool map = xk_has_prefix(verb, "add_to_");

    (void)snprintf(ret, METHOD_BYTES, "%.*s%s%s", (int)(verb - adder), adder, map ? "remove_from_" : "remove_",
                   verb + (map ? 7 : 4));
}

/* A few fields have messages only for the whole value: it is read, changed and written. */
static bool is_whole(const char *adder)
{
    return !xk_has_prefix(strchr(adder, '.') + 1, "add_");
}

static struct xapi_value member(struct xe *x, const char *method, const char *text)
{
    const struct xapi_type *t = value_type(method);

    t = t && t->kind == XAPI_SET ? xapi_type_of(t->of) : t;
    if (t && t->kind == XAPI_INTEGER)
        return whole_number(x, "value", text);
    if (t && t->kind == XAPI_ENUM)
        return xapi_str(xe_enum_value(x, t->of, text));
    if (t && t->kind == XAPI_REF)
        return xapi_str(xe_by_uuid(x, class_in(t), text));
    return xapi_str(text);
}

static void change_whole_set(struct xe *x, struct xe_object *o, const struct xe_field *field, const char *text,
                             bool add)
{
    const struct xapi_value value = member(x, xe_text(field->add), text);
    char method[METHOD_BYTES];
    const char *const setter = xe_text(field->add), *const verb = strchr(setter, '.') + 1;

    (void)snprintf(method, sizeof(method), "%.*sg%s", (int)(verb - setter), setter, verb + 1);
    const struct xapi_value old = xe_get(x, method, o->ref);
    struct xapi_value *const items = xk_arena_alloc(&x->arena, (old.count + 1) * sizeof(*items));
    size_t count = 0;
    if (!items)
        return xe_fail_memory(x);
    const bool present = xe_fine(x) && xapi_list_has(&old, xapi_value_text(&value));
    if (add && !present)
        items[count++] = value;
    for (uint32_t i = 0; old.shape == XAPI_LIST && i < old.count; i++)
        if (add || strcmp(xe_item(&old, i), xapi_value_text(&value)) != 0)
            items[count++] = old.items[i];
    (void)xe_do(x, setter, xapi_str(o->ref), xapi_list(items, count));
}

static void change_set(struct xe *x, struct xe_object *o, const struct xe_field *field, const char *text, bool add)
{
    const char *const adder = xe_text(field->add);
    char method[METHOD_BYTES];

    if (is_whole(adder))
        return change_whole_set(x, o, field, text, add);
    remover(method, adder);
    const struct xapi_value value = member(x, adder, text);
    (void)xe_do(x, add ? adder : method, xapi_str(o->ref), value);
}

/* ---- maps ---- */

/* What stands for a key on the wire: the words of operations are shown differently. */
static const char *key_value(struct xe *x, const struct xe_field *field, const char *key)
{
    const char *const table = xe_text(field->table);
    const uint16_t none = XAPI_NONE;
    uint16_t operations = none;

    if (!*table)
        return key;
    for (size_t i = 0; i < xe_enum_word_count; i++)
        if (strcmp(table, xe_text(xe_enum_words[i].table)) == 0 && strcmp(key, xe_text(xe_enum_words[i].text)) == 0)
            return xe_text(xe_enum_words[i].value);
    for (uint16_t i = 0; i < xapi_enum_count; i++)
        if (strcmp(xapi_text(xapi_enums[i].name), "vm_operations") == 0)
            operations = i;
    if (operations == none || !xapi_enum_has(operations, key) || xe_enum_show(table, key))
        xe_fail_server(x, "INVALID_VALUE", "blocked_operation", key, NULL);
    return key;
}

static void check_key(struct xe *x, const struct xe_field *field, const char *key)
{
    if (strcmp(xe_text(field->name), "VCPUs-params") == 0 && strcmp(key, "weight") != 0 && strcmp(key, "cap") != 0 &&
        strcmp(key, "mask") != 0)
        xe_fail(x, "Failed to add parameter '%s': expecting 'weight','cap' or 'mask'", key);
}

/* A map without a key, or with one pair more, that has messages only for the whole of it. */
static void change_whole_map(struct xe *x, struct xe_object *o, const struct xe_field *field, const char *key,
                             const char *value)
{
    const char *const getter = xe_text(field->add), *const verb = strchr(getter, '.') + 1;
    char setter[METHOD_BYTES];
    const struct xapi_value old = xe_get(x, getter, o->ref);
    struct xapi_value *const pairs = xk_arena_alloc(&x->arena, (2 * (size_t)old.count + 2) * sizeof(*pairs));
    size_t count = 0;

    if (!pairs)
        return xe_fail_memory(x);
    (void)snprintf(setter, sizeof(setter), "%.*ss%s", (int)(verb - getter), getter, verb + 1);
    if (value && !(xe_fine(x) && xapi_map_get(&old, key))) {
        pairs[0] = xapi_str(key);
        pairs[1] = xapi_str(value);
        count = 1;
    }
    for (uint32_t i = 0; old.shape == XAPI_MAP && i < old.count; i++) {
        if (!value && strcmp(xapi_value_text(&old.items[2 * i]), key) == 0)
            continue;
        pairs[2 * count] = old.items[2 * i];
        pairs[2 * count + 1] = old.items[2 * i + 1];
        count++;
    }
    (void)xe_do(x, setter, xapi_str(o->ref), xapi_map(pairs, count));
}

/* value NULL: remove the key. */
static void change_map(struct xe *x, struct xe_object *o, const struct xe_field *field, const char *key,
                       const char *value)
{
    const char *const adder = xe_text(field->add);
    char method[METHOD_BYTES];

    if (is_whole(adder))
        return change_whole_map(x, o, field, key, value);
    if (value)
        check_key(x, field, key);
    const char *const wire_key = key_value(x, field, key);
    remover(method, adder);
    if (value)
        (void)xe_do(x, adder, xapi_str(o->ref), xapi_str(wire_key), xapi_str(value));
    else
        (void)xe_do(x, method, xapi_str(o->ref), xapi_str(wire_key));
}

/* ---- param-set ---- */

static void check_whole_map_keys(struct xe *x, const struct xe_field *field, const char *key)
{
    static const char *const keys[] = {"bios-vendor",
                                       "bios-version",
                                       "system-manufacturer",
                                       "system-product-name",
                                       "system-version",
                                       "system-serial-number",
                                       "baseboard-manufacturer",
                                       "baseboard-product-name",
                                       "baseboard-version",
                                       "baseboard-serial-number",
                                       "baseboard-asset-tag",
                                       "baseboard-location-in-chassis",
                                       "enclosure-asset-tag"};
    struct xk_buf text = XK_BUF_INIT(1024);

    if (strcmp(xe_text(field->name), "bios-strings") != 0)
        return;
    for (size_t i = 0; i < XK_COUNT(keys); i++) {
        if (strcmp(key, keys[i]) == 0) {
            xk_buf_done(&text);
            return;
        }
        xk_buf_printf(&text, "%s%s", i > 0 ? ", " : "", keys[i]);
    }
    xe_fail(x, "Unknown key '%s': expecting %s", key, xk_buf_str(&text));
    xk_buf_done(&text);
}

/* All pairs that the command line gives for a map that is written as a whole; the last one stands first. */
static void write_whole_map(struct xe *x, struct xe_object *o, const struct xe_field *field)
{
    struct xapi_value *const pairs = xk_arena_alloc(&x->arena, (2 * x->param_count + 1) * sizeof(*pairs));
    const size_t len = strlen(xe_text(field->name)) + 1;
    size_t count = 0;

    if (!pairs)
        return xe_fail_memory(x);
    for (size_t i = x->param_count; i-- > 0 && xe_fine(x);) {
        enum xe_named how;
        if (strcmp(x->params[i].name, "uuid") == 0 || xe_is_standard_param(x->params[i].name) ||
            xe_named_field(x, o->kind, x->params[i].name, &how) != field || how != XE_NAMED_PAIR)
            continue;
        pairs[2 * count] = xapi_str(x->params[i].name + len);
        pairs[2 * count + 1] = xapi_str(x->params[i].value);
        count++;
    }
    for (size_t i = 0; i < count; i++)
        check_whole_map_keys(x, field, pairs[2 * i].text);
    (void)xe_do(x, xe_text(field->set_map), xapi_str(o->ref), xapi_map(pairs, count));
}

static void set_pair(struct xe *x, struct xe_object *o, const struct xe_field *field, const char *key,
                     const char *value)
{
    if (field->flags & XE_DICT_PAIR) {
        (void)xe_do(x, xe_text(field->set_map), xapi_str(o->ref), xapi_str(key), xapi_str(value));
        return;
    }
    if (!(field->flags & XE_DICT_RW))
        return xe_fail(x, "Map field '%s' is read-only.", xe_text(field->name));
    const struct xapi_value old = xe_field_pairs(x, o, field);
    if (xe_fine(x) && xapi_map_get(&old, key))
        change_map(x, o, field, key, NULL);
    change_map(x, o, field, key, value);
}

static void set_one(struct xe *x, struct xe_object *o, const char *name, const char *value)
{
    enum xe_named how;
    const struct xe_field *const field = xe_named_field(x, o->kind, name, &how);

    if (!field)
        return;
    if (how == XE_NAMED_SET)
        return xe_fail(x, "Cannot param-set on set fields");
    if (how == XE_NAMED_PAIR) {
        if (!(field->flags & XE_DICT_WHOLE))
            set_pair(x, o, field, name + strlen(xe_text(field->name)) + 1, value);
        return;
    }
    if (field->writer)
        return write_field(x, o, field, value);
    if (field->flags & XE_DICT_RW)
        return xe_fail(x, "Field '%s' is a map or set. use the 'name:key=value' syntax.", name);
    xe_fail(x, "Field '%s' is read-only.", name);
}

static struct xe_object the_object(struct xe *x, const struct xe_listing *listing)
{
    const struct xe_record *const kind = &xe_records[listing->record];
    const char *const uuid = xe_required(x, "uuid");

    return (struct xe_object){.kind = kind, .ref = xe_by_uuid(x, xe_text(kind->class_name), uuid)};
}

void xe_param_set(struct xe *x, const struct xe_listing *listing)
{
    struct xe_object o = the_object(x, listing);
    const struct xe_field *whole = NULL;

    for (size_t i = 0; i < x->param_count && xe_fine(x); i++) {
        const char *const name = x->params[i].name;
        if (strcmp(name, "uuid") == 0 || xe_is_standard_param(name))
            continue;
        set_one(x, &o, name, x->params[i].value);
        enum xe_named how;
        const struct xe_field *const field = xe_fine(x) ? xe_named_field(x, o.kind, name, &how) : NULL;
        if (field && how == XE_NAMED_PAIR && field->flags & XE_DICT_WHOLE)
            whole = field;
    }
    if (whole && xe_fine(x))
        write_whole_map(x, &o, whole);
}

/* ---- param-add, -remove, -clear ---- */

static const struct xe_field *the_field(struct xe *x, const struct xe_object *o)
{
    const char *const name = xe_required(x, "param-name");
    const struct xe_field *const field = xe_fine(x) ? xe_field_find(o->kind, name) : NULL;

    if (!field)
        xe_fail_other(x, XE_NO_FIELD, name);
    return field;
}

void xe_param_add(struct xe *x, const struct xe_listing *listing)
{
    struct xe_object o = the_object(x, listing);
    const struct xe_field *const field = the_field(x, &o);
    const char *const key = xe_param(x, "param-key");

    if (!field)
        return;
    if (field->flags & XE_SET_RW) {
        if (key)
            return change_set(x, &o, field, key, true);
        return xe_fail(x, "When adding a key to a set, use the syntax: *-param-add param-name=<name> param-key=<key>");
    }
    if (!(field->flags & XE_DICT_RW))
        return xe_fail(x, field->flags & (XE_SET | XE_DICT) ? "Parameter is read-only"
                                                            : "Can only add to parameters of type Set or Map");
    for (size_t i = 0; i < x->param_count && xe_fine(x); i++) {
        const char *const name = x->params[i].name;
        if (strcmp(name, "uuid") != 0 && strcmp(name, "param-name") != 0 && strcmp(name, "param-key") != 0 &&
            !xe_is_standard_param(name))
            change_map(x, &o, field, name, x->params[i].value);
    }
}

void xe_param_remove(struct xe *x, const struct xe_listing *listing)
{
    struct xe_object o = the_object(x, listing);
    const struct xe_field *const field = the_field(x, &o);
    const char *const key = xe_required(x, "param-key");

    if (!field)
        return;
    if (field->flags & XE_SET_RW) {
        const struct xapi_value members = xe_field_words(x, &o, field);
        if (xe_fine(x) && !xapi_list_has(&members, key))
            return xe_fail(x, "Key %s is not in the set", key);
        return change_set(x, &o, field, key, false);
    }
    if (field->flags & XE_DICT_RW) {
        const struct xapi_value pairs = xe_field_pairs(x, &o, field);
        if (xe_fine(x) && !xapi_map_get(&pairs, key))
            return xe_fail(x, "Key %s is not in map", key);
        return change_map(x, &o, field, key, NULL);
    }
    xe_fail(x, field->flags & (XE_SET | XE_DICT) ? "Cannot remove parameters from read-only map"
                                                 : "Can only remove from parameters of type Set or Map");
}

void xe_param_clear(struct xe *x, const struct xe_listing *listing)
{
    struct xe_object o = the_object(x, listing);
    const struct xe_field *const field = the_field(x, &o);

    if (!field)
        return;
    if (field->flags & XE_SET_RW) {
        const struct xapi_value members = xe_field_words(x, &o, field);
        for (uint32_t i = 0; i < members.count && xe_fine(x); i++)
            change_set(x, &o, field, xe_item(&members, i), false);
        return;
    }
    if (field->flags & (XE_DICT_CLEAR | XE_DICT_WHOLE)) {
        (void)xe_do(x, xe_text(field->set_map), xapi_str(o.ref), xapi_map(NULL, 0));
        return;
    }
    if (field->flags & XE_DICT_RW) {
        const struct xapi_value pairs = xe_field_pairs(x, &o, field);
        for (uint32_t i = 0; i < pairs.count && xe_fine(x); i++)
            change_map(x, &o, field, xapi_value_text(&pairs.items[2 * i]), NULL);
        return;
    }
    if (!field->writer)
        return xe_fail(x, "Can only clear RW parameters");
    write_field(x, &o, field, "");
    if (!xe_fine(x) && xe_forgive(x))
        xe_fail(x, "Cannot clear this parameter");
}
