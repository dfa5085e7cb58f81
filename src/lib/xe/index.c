/*
 * What refs are called. The real `xe` looks into the server's database; a client has to ask.
 *
 * The first few objects of a class are asked for one by one, as a command about one VM wants it; then a list is
 * assumed, and the whole class is fetched at once: one call instead of one for each row.
 */
#include "lib/xe/inner.h"

#include "core/text.h"

#include <stdio.h>
#include <string.h>

#define SINGLE_CALLS 3
#define SLOTS_FIRST  64

struct slot {
    const char *ref; /* NULL: free */
    const char *class_name;
    struct xapi_value record; /* nil: there is no such object */
};

struct known_class {
    const char *name;
    unsigned calls;
    bool whole;
};

struct xe_index {
    struct slot *slots;
    size_t capacity, count;
    struct known_class classes[96];
    size_t class_count;
};

static size_t slot_of(const struct xe_index *index, const char *ref)
{
    size_t i = xapi_hash(7, ref) & (index->capacity - 1);

    while (index->slots[i].ref && strcmp(index->slots[i].ref, ref) != 0)
        i = (i + 1) & (index->capacity - 1);
    return i;
}

static bool grow(struct xe_index *index)
{
    struct xe_index bigger = {.capacity = index->capacity ? 2 * index->capacity : SLOTS_FIRST};

    bigger.slots = xk_array_alloc(bigger.capacity, sizeof(*bigger.slots));
    if (!bigger.slots)
        return false;
    for (size_t i = 0; i < index->capacity; i++)
        if (index->slots[i].ref)
            bigger.slots[slot_of(&bigger, index->slots[i].ref)] = index->slots[i];
    free(index->slots);
    index->slots = bigger.slots;
    index->capacity = bigger.capacity;
    return true;
}

static struct xe_index *index_of(struct xe *x)
{
    if (!x->index && !(x->index = xk_zalloc(sizeof(*x->index))))
        xe_fail_memory(x);
    return x->index;
}

static void remember(struct xe *x, const char *class_name, const char *ref, struct xapi_value record)
{
    struct xe_index *const index = index_of(x);

    if (!index || (2 * index->count >= index->capacity && !grow(index)))
        return xe_fail_memory(x);
    struct slot *const s = &index->slots[slot_of(index, ref)];
    if (!s->ref)
        index->count++;
    *s = (struct slot){.ref = ref, .class_name = class_name, .record = record};
}

void xe_index_learn(struct xe *x, const char *class_name, const struct xapi_value *records)
{
    for (uint32_t i = 0; records->shape == XAPI_MAP && i < records->count; i++)
        remember(x, class_name, xapi_value_text(&records->items[2 * i]), records->items[2 * i + 1]);
}

static struct known_class *class_state(struct xe *x, const char *name)
{
    struct xe_index *const index = index_of(x);

    if (!index)
        return NULL;
    for (size_t i = 0; i < index->class_count; i++)
        if (strcmp(index->classes[i].name, name) == 0)
            return &index->classes[i];
    if (index->class_count == XK_COUNT(index->classes))
        return NULL;
    index->classes[index->class_count] = (struct known_class){.name = name};
    return &index->classes[index->class_count++];
}

static const struct slot *find(const struct xe *x, const char *ref)
{
    if (!x->index || x->index->capacity == 0)
        return NULL;
    const struct slot *const s = &x->index->slots[slot_of(x->index, ref)];
    return s->ref ? s : NULL;
}

static void fetch_all(struct xe *x, struct known_class *c)
{
    char method[96];

    (void)snprintf(method, sizeof(method), "%s.get_all_records", c->name);
    c->whole = true;
    const struct xapi_value records = xe_do_bare(x, method);
    if (!xe_forgive(x))
        xe_index_learn(x, c->name, &records);
}

static void fetch_one(struct xe *x, const char *class_name, const char *ref)
{
    char method[96];

    (void)snprintf(method, sizeof(method), "%s.get_record", class_name);
    const struct xapi_value record = xe_do(x, method, xapi_str(ref));
    const bool failed = xe_forgive(x);
    remember(x, class_name, ref, failed ? xapi_nil() : record);
}

const struct xapi_value *xe_index_record(struct xe *x, const char *class_name, const char *ref)
{
    if (!xe_fine(x) || xe_is_null(ref))
        return NULL;
    const struct slot *s = find(x, ref);
    if (!s) {
        struct known_class *const c = class_state(x, class_name);
        if (c && !c->whole && c->calls++ >= SINGLE_CALLS)
            fetch_all(x, c);
        s = find(x, ref);
        /* What came into being since then is asked for alone. */
        if (!s && xe_fine(x))
            fetch_one(x, class_name, ref);
        s = find(x, ref);
    }
    return s && s->record.shape == XAPI_MAP ? &s->record : NULL;
}

static const char *text_of(struct xe *x, const char *class_name, const char *ref, const char *field)
{
    const struct xapi_value *const record = xe_index_record(x, class_name, ref);
    const struct xapi_value *const v = record ? xapi_map_get(record, field) : NULL;

    return v ? xe_value_text(x, v) : XE_NOT_IN_DATABASE;
}

const char *xe_index_uuid(struct xe *x, const char *class_name, const char *ref)
{
    return text_of(x, class_name, ref, "uuid");
}

const char *xe_index_name(struct xe *x, const char *class_name, const char *ref)
{
    return text_of(x, class_name, ref, "name_label");
}

const char *xe_index_convert(struct xe *x, const char *text)
{
    /* What errors are about, the likeliest first. */
    static const char *const classes[] = {"VM",           "VDI",         "SR",       "host",    "VBD",  "VIF",
                                          "network",      "PIF",         "PBD",      "pool",    "task", "VLAN",
                                          "Bond",         "tunnel",      "role",     "subject", "VMSS", "console",
                                          "VM_appliance", "pool_update", "GPU_group"};

    if (!xe_fine(x) || !xk_has_prefix(text, "OpaqueRef:") || xe_is_null(text))
        return text;
    const struct slot *s = find(x, text);
    for (size_t i = 0; (!s || s->record.shape != XAPI_MAP) && i < XK_COUNT(classes) && xe_fine(x); i++) {
        fetch_one(x, classes[i], text);
        s = find(x, text);
    }
    if (!s || s->record.shape != XAPI_MAP)
        return text;
    const char *const uuid = xapi_value_text(xapi_map_get(&s->record, "uuid"));
    const struct xapi_value *const name = xapi_map_get(&s->record, "name_label");
    const char *const converted = name ? xk_arena_printf(&x->arena, "%s (%s)", uuid, xapi_value_text(name)) : uuid;
    return converted ? converted : text;
}

void xe_index_done(struct xe *x)
{
    if (x->index)
        free(x->index->slots);
    free(x->index);
    x->index = NULL;
}
