/*
 * Values, their builder, their packed form and their conversion to the types of the data model.
 *
 * The builder keeps one stack: closing a list moves what lies above its mark into the arena as one array. Decoders that
 * meet a list before they know its length need nothing else. A tree of linked nodes was the other way: four times the
 * memory and no indexing.
 */
#include "lib/xapi/value.h"

#include "core/text.h"

#include <assert.h>

#include <stdio.h>
#include <string.h>
#include <time.h>

/* ---- building ---- */

void xapi_build_done(struct xapi_build *b)
{
    free(b->stack);
    *b = (struct xapi_build){0};
}

void xapi_build_value(struct xapi_build *b, struct xapi_value v)
{
    if (b->error)
        return;
    if (b->count == b->capacity) {
        const size_t capacity = b->capacity ? b->capacity * 2 : 32;
        if (capacity > XAPI_VALUES_MAX) {
            b->error = -E2BIG;
            return;
        }
        struct xapi_value *const stack = xk_realloc(b->stack, capacity * sizeof(*stack));
        if (!stack) {
            b->error = -ENOMEM;
            return;
        }
        b->stack = stack;
        b->capacity = capacity;
    }
    b->stack[b->count++] = v;
}

void xapi_build_open(struct xapi_build *b, enum xapi_shape list_or_map)
{
    if (!b->error && b->depth == XAPI_DEPTH_MAX)
        b->error = -E2BIG;
    if (b->error)
        return;
    b->shapes[b->depth] = (uint8_t)list_or_map;
    b->marks[b->depth++] = b->count;
}

void xapi_build_close(struct xapi_build *b)
{
    if (b->error)
        return;
    assert(b->depth > 0);
    const size_t mark = b->marks[--b->depth], count = b->count - mark;
    const bool map = b->shapes[b->depth] == XAPI_MAP;

    if (map && count % 2)
        b->error = -EINVAL;
    for (size_t i = mark; map && i < b->count; i += 2)
        if (b->stack[i].shape != XAPI_TEXT)
            b->error = -EINVAL;
    struct xapi_value *const items = xk_arena_alloc(b->arena, count * sizeof(*items));
    if (!items)
        b->error = -ENOMEM;
    if (b->error)
        return;
    if (count)
        memcpy(items, b->stack + mark, count * sizeof(*items));
    b->count = mark;
    xapi_build_value(b, map ? xapi_map(items, count / 2) : xapi_list(items, count));
}

void xapi_build_bytes(struct xapi_build *b, enum xapi_shape text_or_time, const char *text, size_t bytes)
{
    if (b->error)
        return;
    const char *const copy = bytes <= UINT32_MAX ? xk_arena_strndup(b->arena, text, bytes) : NULL;
    if (!copy) {
        b->error = -ENOMEM;
        return;
    }
    xapi_build_value(b, (struct xapi_value){.shape = (uint8_t)text_or_time, .count = (uint32_t)bytes, .text = copy});
}

void xapi_build_text(struct xapi_build *b, const char *text)
{
    xapi_build_bytes(b, XAPI_TEXT, text, strlen(text));
}

void xapi_build_int(struct xapi_build *b, int64_t v)
{
    xapi_build_value(b, xapi_int(v));
}

int xapi_build_end(struct xapi_build *b, struct xapi_value *ret)
{
    if (!b->error && (b->depth != 0 || b->count != 1))
        b->error = -EINVAL;
    if (!b->error)
        *ret = b->stack[0];
    return b->error;
}

struct xapi_value xapi_nil(void)
{
    return (struct xapi_value){.shape = XAPI_NIL};
}

struct xapi_value xapi_bool(bool v)
{
    return (struct xapi_value){.shape = XAPI_BOOL, .truth = v};
}

struct xapi_value xapi_int(int64_t v)
{
    return (struct xapi_value){.shape = XAPI_INT, .integer = v};
}

struct xapi_value xapi_real(double v)
{
    return (struct xapi_value){.shape = XAPI_REAL, .real = v};
}

struct xapi_value xapi_str(const char *borrowed)
{
    return (struct xapi_value){.shape = XAPI_TEXT, .count = (uint32_t)strlen(borrowed), .text = borrowed};
}

struct xapi_value xapi_list(const struct xapi_value *items, size_t count)
{
    return (struct xapi_value){.shape = XAPI_LIST, .count = (uint32_t)count, .items = items};
}

struct xapi_value xapi_map(const struct xapi_value *pairs, size_t count)
{
    return (struct xapi_value){.shape = XAPI_MAP, .count = (uint32_t)count, .items = pairs};
}

struct xapi_value xapi_time(struct xk_arena *a, int64_t unix_seconds)
{
    const time_t seconds = unix_seconds;
    struct tm tm;
    char text[64];

    if (!gmtime_r(&seconds, &tm) || strftime(text, sizeof(text), "%Y%m%dT%H:%M:%SZ", &tm) == 0)
        text[0] = '\0';
    const char *const copy = xk_arena_strdup(a, text);
    struct xapi_value v = xapi_str(copy ? copy : "");
    v.shape = XAPI_TIME;
    return v;
}

/* ---- packing ---- */

static size_t items_of(const struct xapi_value *v)
{
    return v->shape == XAPI_LIST ? v->count : v->shape == XAPI_MAP ? 2 * (size_t)v->count : 0;
}

static bool has_text(const struct xapi_value *v)
{
    return v->shape == XAPI_TEXT || v->shape == XAPI_TIME;
}

static void measure(const struct xapi_value *v, size_t *values, size_t *bytes)
{
    const size_t count = items_of(v);

    *values += count;
    if (has_text(v))
        *bytes += (size_t)v->count + 1;
    for (size_t i = 0; i < count; i++)
        measure(&v->items[i], values, bytes);
}

static struct xapi_value copy_into(const struct xapi_value *v, struct xapi_value **values, char **bytes)
{
    struct xapi_value copy = *v;
    const size_t count = items_of(v);

    if (has_text(v)) {
        memcpy(*bytes, v->text, (size_t)v->count + 1);
        copy.text = *bytes;
        *bytes += (size_t)v->count + 1;
    }
    if (count) {
        struct xapi_value *const items = *values;
        *values += count;
        for (size_t i = 0; i < count; i++)
            items[i] = copy_into(&v->items[i], values, bytes);
        copy.items = items;
    }
    return copy;
}

struct xapi_packed *xapi_pack(const struct xapi_value *v)
{
    size_t values = 0, bytes = 0;

    measure(v, &values, &bytes);
    struct xapi_packed *const p = xk_alloc(sizeof(*p) + values * sizeof(*v) + bytes);
    if (!p)
        return NULL;
    struct xapi_value *at = (struct xapi_value *)(p + 1);
    char *text = (char *)(at + values);
    p->value = copy_into(v, &at, &text);
    p->users = 1;
    return p;
}

struct xapi_packed *xapi_packed_ref(struct xapi_packed *p)
{
    p->users++;
    return p;
}

void xapi_packed_unref(struct xapi_packed *p)
{
    if (p && --p->users == 0)
        free(p);
}

/* ---- asking ---- */

const struct xapi_value *xapi_map_get(const struct xapi_value *map, const char *key)
{
    if (!map || map->shape != XAPI_MAP)
        return NULL;
    for (size_t i = 0; i < map->count; i++)
        if (strcmp(map->items[2 * i].text, key) == 0)
            return &map->items[2 * i + 1];
    return NULL;
}

const char *xapi_value_text(const struct xapi_value *v)
{
    return v && has_text(v) ? v->text : "";
}

int64_t xapi_value_int(const struct xapi_value *v)
{
    return v && v->shape == XAPI_INT ? v->integer : 0;
}

bool xapi_value_same(const struct xapi_value *a, const struct xapi_value *b)
{
    if (a->shape != b->shape || a->count != b->count)
        return false;
    switch (a->shape) {
    case XAPI_BOOL:
        return a->truth == b->truth;
    case XAPI_INT:
    case XAPI_INT32:
        return a->integer == b->integer;
    case XAPI_REAL:
        return memcmp(&a->real, &b->real, sizeof(a->real)) == 0;
    case XAPI_TEXT:
    case XAPI_TIME:
        return memcmp(a->text, b->text, a->count) == 0;
    default:
        for (size_t i = 0; i < items_of(a); i++)
            if (!xapi_value_same(&a->items[i], &b->items[i]))
                return false;
        return true;
    }
}

bool xapi_list_has(const struct xapi_value *list, const char *text)
{
    for (size_t i = 0; list && list->shape == XAPI_LIST && i < list->count; i++)
        if (strcmp(xapi_value_text(&list->items[i]), text) == 0)
            return true;
    return false;
}

/* ---- types ---- */

static const char *const kind_names[] = {
    [XAPI_VOID] = "unit",     [XAPI_STRING] = "string",     [XAPI_SECRET] = "string",     [XAPI_INTEGER] = "int64",
    [XAPI_FLOAT] = "float",   [XAPI_BOOLEAN] = "bool",      [XAPI_DATETIME] = "datetime", [XAPI_REF] = "string",
    [XAPI_ENUM] = "string",   [XAPI_RECORD] = "dictionary", [XAPI_SET] = "list",          [XAPI_DICT] = "dictionary",
    [XAPI_OPTION] = "option",
};

struct cast {
    struct xk_arena *arena;
    char *wrong;
    size_t wrong_bytes;
};

static int refuse(const struct cast *c, const char *expected, const struct xapi_value *v)
{
    static const char *const shapes[] = {
        [XAPI_NIL] = "nil",        [XAPI_BOOL] = "bool",   [XAPI_INT] = "int",       [XAPI_INT32] = "int",
        [XAPI_REAL] = "float",     [XAPI_TEXT] = "string", [XAPI_TIME] = "datetime", [XAPI_LIST] = "list",
        [XAPI_MAP] = "dictionary", [XAPI_RAW] = "value",
    };

    if (has_text(v))
        snprintf(c->wrong, c->wrong_bytes, "Expected %s, got '%.*s'", expected, 100, v->text);
    else if (v->shape == XAPI_INT)
        snprintf(c->wrong, c->wrong_bytes, "Expected %s, got '%lld'", expected, (long long)v->integer);
    else
        snprintf(c->wrong, c->wrong_bytes, "Expected %s, got %s", expected, shapes[v->shape]);
    return -EINVAL;
}

/* 0x, 0o and 0b, signs and underscores between digits: integers as OCaml writes them. */
static bool ocaml_int(int64_t *ret, const char *text)
{
    const bool minus = *text == '-';
    unsigned base = 10;
    uint64_t v = 0;

    text += *text == '-' || *text == '+';
    if (text[0] == '0' && text[1] && strchr("xXoObB", text[1])) {
        base = text[1] == 'x' || text[1] == 'X' ? 16 : text[1] == 'o' || text[1] == 'O' ? 8 : 2;
        text += 2;
    }
    if (*text == '\0' || *text == '_')
        return false;
    for (; *text; text++) {
        if (*text == '_')
            continue;
        const char low = (char)(*text | 0x20);
        const unsigned digit = *text >= '0' && *text <= '9' ? (unsigned)(*text - '0')
                               : low >= 'a' && low <= 'f'   ? (unsigned)(low - 'a') + 10
                                                            : 99;
        if (digit >= base || xk_mul(v, (uint64_t)base, &v) || xk_add(v, (uint64_t)digit, &v))
            return false;
    }
    /* Written in another base than ten, all 64 bits may be used, as in OCaml. */
    if (base == 10 && v > (uint64_t)INT64_MAX + minus)
        return false;
    *ret = (int64_t)(minus ? 0 - v : v);
    return true;
}

static int cast_one(const struct cast *c, struct xapi_value *ret, uint16_t type, const struct xapi_value *v);

static int cast_items(const struct cast *c, struct xapi_value *ret, const struct xapi_type *type,
                      const struct xapi_value *v)
{
    const bool map = type->kind == XAPI_DICT;
    const size_t count = items_of(v);
    struct xapi_value *const items = xk_arena_alloc(c->arena, count * sizeof(*items));

    if (!items)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        int code = cast_one(c, &items[i], map && i % 2 ? type->to : type->of, &v->items[i]);
        if (code < 0)
            return code;
        if (map && i % 2 == 0)
            items[i] = v->items[i]; /* checked, but a key stays text */
    }
    *ret = map ? xapi_map(items, count / 2) : xapi_list(items, count);
    return 0;
}

static int cast_one(const struct cast *c, struct xapi_value *ret, uint16_t type, const struct xapi_value *v)
{
    const struct xapi_type *const t = xapi_type_of(type);
    const char *const name = kind_names[t->kind];
    double real;
    int64_t integer;

    *ret = *v;
    switch ((enum xapi_kind)t->kind) {
    case XAPI_VOID:
        return 0;
    case XAPI_STRING:
    case XAPI_SECRET:
    case XAPI_REF:
        return v->shape == XAPI_TEXT ? 0 : refuse(c, name, v);
    case XAPI_ENUM:
        if (v->shape != XAPI_TEXT)
            return refuse(c, name, v);
        return xapi_enum_has(t->of, v->text) ? 0 : refuse(c, xapi_text(xapi_enums[t->of].name), v);
    case XAPI_INTEGER:
        if (v->shape == XAPI_INT)
            return 0;
        if (v->shape != XAPI_TEXT || !ocaml_int(&integer, v->text))
            return refuse(c, name, v);
        *ret = xapi_int(integer);
        return 0;
    case XAPI_FLOAT:
        if (v->shape == XAPI_REAL)
            return 0;
        if (v->shape == XAPI_INT)
            real = (double)v->integer;
        else if (v->shape != XAPI_TEXT || xk_parse_double(&real, v->text) < 0)
            return refuse(c, name, v);
        *ret = xapi_real(real);
        return 0;
    case XAPI_BOOLEAN:
        return v->shape == XAPI_BOOL ? 0 : refuse(c, name, v);
    case XAPI_DATETIME:
        if (v->shape != XAPI_TIME && v->shape != XAPI_TEXT)
            return refuse(c, name, v);
        ret->shape = XAPI_TIME;
        return 0;
    case XAPI_RECORD: /* its fields are looked at by whoever makes the object */
        return v->shape == XAPI_MAP ? 0 : refuse(c, name, v);
    case XAPI_SET:
        return v->shape == XAPI_LIST ? cast_items(c, ret, t, v) : refuse(c, name, v);
    case XAPI_DICT:
        return v->shape == XAPI_MAP ? cast_items(c, ret, t, v) : refuse(c, name, v);
    case XAPI_OPTION: /* a list of none or one */
        return v->shape == XAPI_LIST && v->count <= 1 ? cast_items(c, ret, t, v) : refuse(c, name, v);
    }
    return -EINVAL;
}

int xapi_cast(struct xapi_value *ret, struct xk_arena *arena, uint16_t type, const struct xapi_value *v, char *wrong,
              size_t wrong_bytes)
{
    const struct cast c = {.arena = arena, .wrong = wrong, .wrong_bytes = wrong_bytes};

    wrong[0] = '\0';
    return cast_one(&c, ret, type, v);
}

static struct xapi_value empty_of(uint16_t type)
{
    const struct xapi_type *const t = xapi_type_of(type);
    struct xapi_value v;

    switch ((enum xapi_kind)t->kind) {
    case XAPI_INTEGER:
        return xapi_int(0);
    case XAPI_FLOAT:
        return xapi_real(0);
    case XAPI_BOOLEAN:
        return xapi_bool(false);
    case XAPI_DATETIME:
        v = xapi_str("19700101T00:00:00Z");
        v.shape = XAPI_TIME;
        return v;
    case XAPI_REF:
        return xapi_str("OpaqueRef:NULL");
    case XAPI_ENUM:
        return xapi_str(xapi_text(xapi_enum_values[xapi_enums[t->of].first_value]));
    case XAPI_SET:
    case XAPI_OPTION:
        return xapi_list(NULL, 0);
    case XAPI_DICT:
    case XAPI_RECORD:
        return xapi_map(NULL, 0);
    default:
        return xapi_str("");
    }
}

/* One word of a default, without the quotes that it may have. */
static void push_word(struct xapi_build *b, const char *at, size_t len)
{
    if (len >= 2 && at[0] == '"' && at[len - 1] == '"')
        xapi_build_bytes(b, XAPI_TEXT, at + 1, len - 2);
    else
        xapi_build_bytes(b, XAPI_TEXT, at, len);
}

int xapi_default(struct xapi_value *ret, struct xk_arena *arena, uint16_t type, xapi_word initial)
{
    const struct xapi_type *const t = xapi_type_of(type);
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(arena);
    const char *at = initial == XAPI_NO_DEFAULT ? NULL : xapi_text(initial);
    struct xapi_value raw;
    char wrong[256];

    if (!at) {
        *ret = empty_of(type);
        return 0;
    }
    const bool map = t->kind == XAPI_DICT, group = map || t->kind == XAPI_SET || t->kind == XAPI_OPTION;
    if (t->kind == XAPI_BOOLEAN) {
        *ret = xapi_bool(strcmp(at, "true") == 0);
        return 0;
    }
    /* One table row gives the empty list to an enum: none of its words. */
    if (t->kind == XAPI_ENUM && strcmp(at, "[]") == 0) {
        *ret = empty_of(type);
        return 0;
    }
    if (!group) {
        push_word(&b, at, strlen(at));
    } else {
        if (*at != (map ? '{' : '['))
            return -EINVAL;
        xapi_build_open(&b, map ? XAPI_MAP : XAPI_LIST);
        for (at++; *at && *at != (map ? '}' : ']');) {
            const size_t len = *at == '"' ? strcspn(at + 1, "\"") + 2 : strcspn(at, ",]}");
            push_word(&b, at, len);
            at += len;
            at += *at == ',' || *at == ':';
        }
        xapi_build_close(&b);
    }
    const int code = xapi_build_end(&b, &raw);
    return code < 0 ? code : xapi_cast(ret, arena, type, &raw, wrong, sizeof(wrong));
}
