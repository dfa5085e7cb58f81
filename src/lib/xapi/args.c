/*
 * Checking goes through xapi_cast(), which is what the simulated server does with the same table: what passes here is
 * not refused there. Here the sentence names the argument, and refs and records are looked at as well.
 */
#include "lib/xapi/args.h"

#include "core/text.h"
#include "lib/xapi/wire.h"

#include <stdio.h>
#include <string.h>

#define SHOWN_BYTES  60  /* of a wrong value */
#define NAMES_MAX    160 /* fields of a class, for a suggestion */
#define WRONG_BYTES  256
#define PARAMS_BYTES 400

/* ---- types in words ---- */

void xapi_type_text(struct xk_buf *b, uint16_t type)
{
    static const char *const names[] = {
        [XAPI_VOID] = "nothing",  [XAPI_STRING] = "string", [XAPI_SECRET] = "secret string", [XAPI_INTEGER] = "int",
        [XAPI_FLOAT] = "float",   [XAPI_BOOLEAN] = "bool",  [XAPI_DATETIME] = "datetime",    [XAPI_REF] = "ref",
        [XAPI_ENUM] = "enum",     [XAPI_RECORD] = "record", [XAPI_SET] = "set of",           [XAPI_DICT] = "map of",
        [XAPI_OPTION] = "option",
    };
    const struct xapi_type *const t = xapi_type_of(type);

    xk_buf_add_str(b, names[t->kind]);
    if (t->kind == XAPI_REF || t->kind == XAPI_RECORD || t->kind == XAPI_ENUM) {
        const xapi_word name = t->of == XAPI_NONE     ? 0
                               : t->kind == XAPI_ENUM ? xapi_enums[t->of].name
                                                      : xapi_classes[t->of].name;
        xk_buf_printf(b, " %s", name ? xapi_text(name) : "of an internal class");
    }
    if (t->kind == XAPI_SET || t->kind == XAPI_DICT || t->kind == XAPI_OPTION) {
        xk_buf_add_char(b, ' ');
        xapi_type_text(b, t->of);
    }
    if (t->kind == XAPI_DICT) {
        xk_buf_add_str(b, " to ");
        xapi_type_text(b, t->to);
    }
}

/* ---- arguments ---- */

/* Which argument is looked at, for the sentence. */
struct place {
    const struct xapi_message *message;
    size_t number;
    const char *name, *field; /* field: of a record, else NULL */
    struct xk_err *err;
};

static int refuse(const struct place *p, const char *format, ...) XK_PRINTF(2, 3);

static int refuse(const struct place *p, const char *format, ...)
{
    xk_auto(xk_buf_done) struct xk_buf why = XK_BUF_INIT(XK_ERR_TEXT_MAX);
    va_list args;

    va_start(args, format);
    xk_buf_vprintf(&why, format, args);
    va_end(args);
    (void)xk_fail(p->err, -EINVAL, "%s: argument %zu (%s%s%s) %s", xapi_text(p->message->name), p->number, p->name,
                  p->field ? "." : "", p->field ? p->field : "", xk_buf_str(&why));
    xk_err_exit(p->err, XK_EXIT_USAGE);
    return -EINVAL;
}

static void show(char ret[SHOWN_BYTES + 8], const struct xapi_value *v)
{
    xk_auto(xk_buf_done) struct xk_buf b = XK_BUF_INIT(1u << 20);

    xapi_json_value(&b, v);
    snprintf(ret, SHOWN_BYTES + 8, "%.*s%s", SHOWN_BYTES, xk_buf_str(&b), b.len > SHOWN_BYTES ? "…" : "");
}

static void hint_enum(const struct place *p, uint16_t index)
{
    const struct xapi_enum *const row = &xapi_enums[index];
    xk_auto(xk_buf_done) struct xk_buf b = XK_BUF_INIT(4096);

    for (size_t i = 0; i < row->values; i++)
        xk_buf_printf(&b, "%s%s", i ? ", " : "", xapi_text(xapi_enum_values[row->first_value + i]));
    xk_err_hint(p->err, "it may be %s", xk_buf_str(&b));
}

/* The first enum in a type, such as that of a set's members. */
static uint16_t enum_in(uint16_t type)
{
    const struct xapi_type *const t = xapi_type_of(type);

    if (t->kind == XAPI_ENUM)
        return t->of;
    if (t->kind == XAPI_SET || t->kind == XAPI_OPTION)
        return enum_in(t->of);
    return t->kind == XAPI_DICT ? enum_in(t->to) : XAPI_NONE;
}

static int wrong_type(const struct place *p, uint16_t type, const struct xapi_value *v)
{
    xk_auto(xk_buf_done) struct xk_buf wanted = XK_BUF_INIT(WRONG_BYTES);
    char shown[SHOWN_BYTES + 8];

    xapi_type_text(&wanted, type);
    if (p->message->flags & XAPI_MESSAGE_SECRET || xapi_type_of(type)->kind == XAPI_SECRET)
        (void)refuse(p, "has to be of type %s, and what was given is not", xk_buf_str(&wanted));
    else {
        show(shown, v);
        (void)refuse(p, "has to be of type %s, and %s is not", xk_buf_str(&wanted), shown);
    }
    if (enum_in(type) != XAPI_NONE)
        hint_enum(p, enum_in(type));
    return -EINVAL;
}

static bool is_ref(const char *text)
{
    return *text == '\0' || xk_has_prefix(text, "OpaqueRef:") || xk_has_prefix(text, "Ref:") ||
           strcmp(text, "NULL") == 0;
}

static bool refs_are_refs(uint16_t type, const struct xapi_value *v)
{
    const struct xapi_type *const t = xapi_type_of(type);

    if (t->kind == XAPI_REF)
        return is_ref(xapi_value_text(v));
    if (t->kind != XAPI_SET && t->kind != XAPI_OPTION && t->kind != XAPI_DICT)
        return true;
    const bool map = t->kind == XAPI_DICT;
    for (size_t i = 0; i < v->count * (map ? 2u : 1u); i++)
        if (!refs_are_refs(map && i % 2 ? t->to : t->of, &v->items[i]))
            return false;
    return true;
}

static int check_value(const struct place *p, struct xapi_value *ret, struct xk_arena *arena, uint16_t type,
                       const struct xapi_value *v);

static int unknown_field(const struct place *p, const struct xapi_class *class_row, const char *name)
{
    const char *names[NAMES_MAX];
    size_t count = 0;

    for (size_t i = 0; i < class_row->fields && count < NAMES_MAX; i++)
        names[count++] = xapi_text(xapi_fields[class_row->first_field + i].name);
    const char *const near = xk_nearest(name, names, count, sizeof(*names));
    (void)refuse(p, "has a field %s, and the class %s has none of that name", name, xapi_text(class_row->name));
    if (near)
        xk_err_hint(p->err, "did you mean %s?", near);
    return -EINVAL;
}

static int check_record(const struct place *p, struct xapi_value *ret, struct xk_arena *arena,
                        const struct xapi_class *class_row, const struct xapi_value *v)
{
    struct xapi_value *const pairs = xk_arena_alloc(arena, 2 * (size_t)v->count * sizeof(*pairs));

    if (!pairs)
        return xk_fail_memory(p->err);
    for (size_t i = 0; i < v->count; i++) {
        const char *const name = xapi_value_text(&v->items[2 * i]);
        const struct xapi_field *const field = xapi_field_find(class_row, name);
        if (!field)
            return unknown_field(p, class_row, name);
        struct place inside = *p;
        inside.field = name;
        pairs[2 * i] = v->items[2 * i];
        const int code = check_value(&inside, &pairs[2 * i + 1], arena, field->type, &v->items[2 * i + 1]);
        if (code < 0)
            return code;
    }
    *ret = xapi_map(pairs, v->count);
    return 0;
}

static int check_value(const struct place *p, struct xapi_value *ret, struct xk_arena *arena, uint16_t type,
                       const struct xapi_value *v)
{
    const struct xapi_type *const t = xapi_type_of(type);
    char wrong[WRONG_BYTES];

    const int code = xapi_cast(ret, arena, type, v, wrong, sizeof(wrong));
    if (code == -ENOMEM)
        return xk_fail_memory(p->err);
    if (code < 0)
        return wrong_type(p, type, v);
    if (!refs_are_refs(type, ret)) {
        (void)wrong_type(p, type, v);
        xk_err_hint(p->err, "a ref begins with OpaqueRef:");
        return -EINVAL;
    }
    return t->kind == XAPI_RECORD && t->of != XAPI_NONE ? check_record(p, ret, arena, &xapi_classes[t->of], v) : 0;
}

/* A constructor's record needs some of its fields. */
static int check_needed(const struct place *p, const struct xapi_value *record)
{
    char name[64];

    for (const char *at = xapi_text(p->message->needed); *at;) {
        const size_t bytes = strcspn(at, ",");
        snprintf(name, sizeof(name), "%.*s", (int)bytes, at);
        if (!xapi_map_get(record, name))
            return refuse(p, "needs the field %s", name);
        at += bytes + (at[bytes] == ',');
    }
    return 0;
}

static int wrong_count(const struct xapi_message *m, size_t count, struct xk_err *err)
{
    xk_auto(xk_buf_done) struct xk_buf b = XK_BUF_INIT(PARAMS_BYTES);

    for (size_t i = 0; i < m->params; i++) {
        const struct xapi_param *const param = &xapi_params[m->first_param + i];
        xk_buf_printf(&b, "%s%s%s%s", i ? ", " : "", i >= m->required ? "[" : "", xapi_text(param->name),
                      i >= m->required ? "]" : "");
    }
    if (m->params == m->required)
        (void)xk_fail(err, -EINVAL, "%s takes %u argument%s, and %zu %s given", xapi_text(m->name), m->params,
                      m->params == 1 ? "" : "s", count, count == 1 ? "was" : "were");
    else
        (void)xk_fail(err, -EINVAL, "%s takes %u to %u arguments, and %zu %s given", xapi_text(m->name), m->required,
                      m->params, count, count == 1 ? "was" : "were");
    if (m->params)
        xk_err_hint(err, "they are %s", xk_buf_str(&b));
    xk_err_exit(err, XK_EXIT_USAGE);
    return -EINVAL;
}

int xapi_args_check(struct xapi_value *ret, struct xk_arena *arena, const struct xapi_message *message,
                    const struct xapi_value *args, size_t count, struct xk_err *err)
{
    if (count < message->required || count > message->params)
        return wrong_count(message, count, err);
    for (size_t i = 0; i < count; i++) {
        const struct xapi_param *const param = &xapi_params[message->first_param + i];
        const struct place p = {.message = message, .number = i + 1, .name = xapi_text(param->name), .err = err};
        int code = check_value(&p, &ret[i], arena, param->type, &args[i]);
        if (code == 0 && message->kind == XAPI_CREATE && i == 0)
            code = check_needed(&p, &ret[i]);
        if (code < 0)
            return code;
    }
    return 0;
}

/* ---- words ---- */

static int parse_json(struct xapi_value *ret, struct xk_arena *arena, const char *word, struct xk_err *err)
{
    struct xk_err why = {0};
    const int code = xapi_json_decode(ret, arena, word, strlen(word), &why);

    if (code == 0 || code == -ENOMEM)
        return code == 0 ? 0 : xk_fail_memory(err);
    (void)xk_fail(err, -EINVAL, "\"%.200s\" begins like JSON and is none: %s", word, why.text);
    xk_err_exit(err, XK_EXIT_USAGE);
    return -EINVAL;
}

static int push_part(struct xapi_build *b, uint16_t type, const char *at, size_t bytes, struct xk_err *err)
{
    struct xapi_value v;
    const char *const word = xk_arena_strndup(b->arena, at, bytes);

    if (!word)
        return xk_fail_memory(err);
    const int code = xapi_word_parse(&v, b->arena, type, word, err);
    if (code == 0)
        xapi_build_value(b, v);
    return code;
}

/* The type of what stands under a key. */
static uint16_t type_under(const struct xapi_type *t, const char *key, size_t bytes, uint16_t otherwise)
{
    char name[64];

    if (t->kind != XAPI_RECORD)
        return t->to;
    snprintf(name, sizeof(name), "%.*s", (int)XK_MIN(bytes, sizeof(name) - 1), key);
    const struct xapi_field *const field = t->of == XAPI_NONE ? NULL : xapi_field_find(&xapi_classes[t->of], name);
    return field ? field->type : otherwise;
}

static int parse_pair(struct xapi_build *b, uint16_t type, const char *at, size_t bytes, struct xk_err *err)
{
    const char *const equals = memchr(at, '=', bytes);

    if (!equals) {
        (void)xk_fail(err, -EINVAL, "\"%.*s\": KEY=VALUE is wanted for a map", (int)XK_MIN(bytes, (size_t)200), at);
        xk_err_exit(err, XK_EXIT_USAGE);
        return -EINVAL;
    }
    const size_t key_bytes = (size_t)(equals - at);
    const uint16_t of = type_under(xapi_type_of(type), at, key_bytes, XAPI_NONE);
    xapi_build_bytes(b, XAPI_TEXT, at, key_bytes);
    if (of == XAPI_NONE) { /* no such field: the check says so */
        xapi_build_bytes(b, XAPI_TEXT, equals + 1, bytes - key_bytes - 1);
        return 0;
    }
    return push_part(b, of, equals + 1, bytes - key_bytes - 1, err);
}

static int parse_group(struct xapi_value *ret, struct xk_arena *arena, uint16_t type, const char *word,
                       struct xk_err *err)
{
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(arena);
    const struct xapi_type *const t = xapi_type_of(type);
    const bool list = t->kind == XAPI_SET || t->kind == XAPI_OPTION;

    xapi_build_open(&b, list ? XAPI_LIST : XAPI_MAP);
    for (const char *at = word; *at;) {
        const size_t bytes = strcspn(at, ",");
        const int code = list ? push_part(&b, t->of, at, bytes, err) : parse_pair(&b, type, at, bytes, err);
        if (code < 0)
            return code;
        at += bytes + (at[bytes] == ',');
    }
    xapi_build_close(&b);
    const int code = xapi_build_end(&b, ret);
    return code < 0 ? xk_fail(err, code, "\"%.200s\" has too many parts", word) : 0;
}

int xapi_word_parse(struct xapi_value *ret, struct xk_arena *arena, uint16_t type, const char *word, struct xk_err *err)
{
    const struct xapi_type *const t = xapi_type_of(type);
    const size_t bytes = strlen(word);

    switch ((enum xapi_kind)t->kind) {
    case XAPI_BOOLEAN:
        *ret = strcmp(word, "true") == 0    ? xapi_bool(true)
               : strcmp(word, "false") == 0 ? xapi_bool(false)
                                            : xapi_str(word);
        return 0;
    case XAPI_SET:
    case XAPI_OPTION:
        return *word == '[' ? parse_json(ret, arena, word, err) : parse_group(ret, arena, type, word, err);
    case XAPI_DICT:
    case XAPI_RECORD:
        return *word == '{' ? parse_json(ret, arena, word, err) : parse_group(ret, arena, type, word, err);
    default:
        if (bytes >= 2 && word[0] == '"' && word[bytes - 1] == '"')
            return parse_json(ret, arena, word, err);
        *ret = xapi_str(word); /* numbers, too: the check makes them of their text */
        return 0;
    }
}

/* ---- results ---- */

static void settle_items(struct xapi_value *v, uint16_t keys, uint16_t values)
{
    struct xapi_value *const items = (struct xapi_value *)v->items; /* made by the decoder, in the arena */
    const bool map = v->shape == XAPI_MAP;

    for (size_t i = 0; i < v->count * (map ? 2u : 1u); i++)
        if (!map || i % 2)
            xapi_settle(&items[i], map ? values : keys);
}

void xapi_settle_record(struct xapi_value *v, const struct xapi_class *class_row)
{
    struct xapi_value *const items = (struct xapi_value *)v->items;
    const struct xapi_field *const fields = &xapi_fields[class_row->first_field];
    size_t next = 0; /* servers send fields in one order, so the next one is most likely where the last one was + 1 */

    if (v->shape != XAPI_MAP)
        return;
    for (size_t i = 0; i < v->count; i++) {
        for (size_t tried = 0; tried < class_row->fields; tried++, next++) {
            next = next >= class_row->fields ? 0 : next;
            if (strcmp(items[2 * i].text, xapi_text(fields[next].name)) == 0) {
                xapi_settle(&items[2 * i + 1], fields[next].type);
                break;
            }
        }
    }
}

static void settle_number(struct xapi_value *v, bool real)
{
    int64_t integer;
    double number;

    if (real && v->shape == XAPI_INT)
        *v = xapi_real((double)v->integer);
    else if (v->shape != XAPI_TEXT)
        return;
    else if (real && xk_parse_double(&number, v->text) == 0)
        *v = xapi_real(number);
    else if (!real && xk_parse_i64(&integer, v->text) == 0)
        *v = xapi_int(integer);
}

void xapi_settle(struct xapi_value *v, uint16_t type)
{
    const struct xapi_type *const t = xapi_type_of(type);

    switch ((enum xapi_kind)t->kind) {
    case XAPI_INTEGER:
    case XAPI_FLOAT:
        settle_number(v, t->kind == XAPI_FLOAT);
        break;
    case XAPI_DATETIME:
        if (v->shape == XAPI_TEXT)
            v->shape = XAPI_TIME;
        break;
    case XAPI_VOID:
        if (v->shape == XAPI_TEXT && v->count == 0)
            *v = xapi_nil();
        break;
    case XAPI_SET:
    case XAPI_OPTION:
        if (v->shape == XAPI_LIST)
            settle_items(v, t->of, t->of);
        break;
    case XAPI_DICT:
        if (v->shape == XAPI_MAP)
            settle_items(v, t->of, t->to);
        break;
    case XAPI_RECORD:
        if (t->of != XAPI_NONE)
            xapi_settle_record(v, &xapi_classes[t->of]);
        break;
    default:
        break;
    }
}
