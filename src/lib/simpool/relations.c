/*
 * Both ends of many relations at once, for filling an empty database; and refs that are no relations.
 *
 * All members of all sets are listed and sorted by the set they belong to, so that each set is written once; one by
 * one, a set of n costs n * n. What a set has already stays, also refs that lead nowhere.
 */
#include "lib/simpool/inner.h"

#include <string.h>

struct member {
    struct sim_object *object; /* whose set it is */
    unsigned place;
    size_t order;
    const char *ref;
};

static int compare_members(const void *left, const void *right)
{
    const struct member *const a = left, *const b = right;

    if (a->object != b->object)
        return a->object < b->object ? -1 : 1;
    if (a->place != b->place)
        return a->place < b->place ? -1 : 1;
    return a->order < b->order ? -1 : a->order > b->order;
}

/* The sets that the ref fields of one object make it a member of. returns how many there are; members may be NULL. */
static size_t list_members(const struct simpool *p, const struct sim_object *o, struct member *members)
{
    size_t count = 0;

    for (unsigned i = 0; i < o->class_row->fields; i++) {
        const struct xapi_field *const field = &xapi_fields[o->class_row->first_field + i];
        const struct xapi_value *const v = &o->fields[i]->value;
        if (field->other == XAPI_NONE || v->shape != XAPI_TEXT)
            continue;
        const struct xapi_field *const other = &xapi_fields[field->other];
        const struct xapi_class *const row = &xapi_classes[other->class_index];
        struct sim_object *const end = sim_find(p, v->text, row);
        if (!end || xapi_type_of(other->type)->kind != XAPI_SET)
            continue;
        if (members)
            members[count] = (struct member){
                .object = end, .place = (unsigned)(other - xapi_fields) - row->first_field, .ref = o->ref};
        count++;
    }
    return count;
}

static size_t list_all(const struct simpool *p, struct member *members)
{
    size_t count = 0;

    for (unsigned i = 0; i < xapi_class_count; i++)
        for (const struct sim_object *o = p->classes[i].first; o; o = o->class_next)
            count += list_members(p, o, members ? members + count : NULL);
    return count;
}

void sim_bulk_begin(struct simpool *p)
{
    p->bulk = true;
}

static int compare_texts(const void *left, const void *right)
{
    const struct xapi_value *const a = left, *const b = right;

    return strcmp(xapi_value_text(a), xapi_value_text(b));
}

/* The members of one set, those that it has first. `items` and `sorted` have room for them all. */
static void write_set(struct simpool *p, const struct member *members, size_t count, struct xapi_value *items,
                      struct xapi_value *sorted)
{
    struct sim_object *const o = members->object;
    const struct xapi_value *const now = &o->fields[members->place]->value;
    const size_t had = now->shape == XAPI_LIST ? now->count : 0;
    size_t all = had;

    if (had > 0) {
        memcpy(items, now->items, had * sizeof(*items));
        memcpy(sorted, now->items, had * sizeof(*items));
        qsort(sorted, had, sizeof(*sorted), compare_texts);
    }
    for (size_t i = 0; i < count; i++) {
        const struct xapi_value ref = xapi_str(members[i].ref);
        if (had == 0 || !bsearch(&ref, sorted, had, sizeof(*sorted), compare_texts))
            items[all++] = ref;
    }
    if (all == had)
        return;
    const struct xapi_value list = xapi_list(items, all);
    sim_put_alone(p, o, members->place, &list);
}

/* Sets can have members that no ref leads to. */
static size_t largest_set(const struct member *members, size_t count)
{
    size_t most = 0;

    for (size_t i = 0; i < count; i++) {
        const struct xapi_value *const now = &members[i].object->fields[members[i].place]->value;
        most = now->shape == XAPI_LIST ? XK_MAX(most, (size_t)now->count) : most;
    }
    return most;
}

void sim_bulk_end(struct simpool *p)
{
    const size_t count = list_all(p, NULL);
    xk_autofree struct member *members = xk_array_alloc(count, sizeof(*members));

    p->bulk = false;
    if (members)
        (void)list_all(p, members);
    const size_t most = members ? count + largest_set(members, count) : 0;
    xk_autofree struct xapi_value *items = xk_array_alloc(most, sizeof(*items));
    xk_autofree struct xapi_value *sorted = xk_array_alloc(most, sizeof(*sorted));
    if (!members || !items || !sorted) {
        p->error = -ENOMEM;
        return;
    }
    for (size_t i = 0; i < count; i++)
        members[i].order = i;
    if (count)
        qsort(members, count, sizeof(*members), compare_members);
    for (size_t i = 0, first = 0; i < count; i++) {
        if (i + 1 < count && members[i + 1].object == members[i].object && members[i + 1].place == members[i].place)
            continue;
        write_set(p, members + first, i + 1 - first, items, sorted);
        first = i + 1;
    }
}

/* The fields of one class that refer to another one's objects without these knowing it. */
static void let_go_in(struct simpool *p, const struct xapi_class *row, const struct sim_object *gone)
{
    const struct xapi_value none = xapi_str(SIM_NULL);

    for (unsigned i = 0; i < row->fields; i++) {
        const struct xapi_field *const field = &xapi_fields[row->first_field + i];
        const struct xapi_type *const type = xapi_type_of(field->type);
        if (type->kind != XAPI_REF || field->other != XAPI_NONE || type->of != xapi_class_index(gone->class_row))
            continue;
        for (struct sim_object *o = p->classes[xapi_class_index(row)].first; o; o = o->class_next)
            if (strcmp(xapi_value_text(&o->fields[i]->value), gone->ref) == 0)
                sim_put_alone(p, o, i, &none);
    }
}

void sim_let_go(struct simpool *p, const struct sim_object *gone)
{
    for (unsigned i = 0; i < xapi_class_count; i++)
        let_go_in(p, &xapi_classes[i], gone);
}
