/*
 * The pool's database: objects in hash tables by ref and by uuid, in a list for each class, and in one list by the
 * generation of their last change, which event.from walks from its newest end.
 *
 * A field is a packed value with a count of users: ten thousand VMs share the defaults that nobody changed. A record's
 * encoded form is kept until the object changes, so get_all_records is mostly copying.
 */
#include "lib/simpool/disk.h"
#include "lib/simpool/rrd.h"
#include "lib/simpool/state.h"

#include "core/text.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define BUCKETS_FIRST 1024

static uint32_t bucket_of(const struct simpool *p, const char *word)
{
    return xapi_hash(0, word) & (p->buckets - 1);
}

static const struct xapi_field *field_at(const struct sim_object *o, unsigned place)
{
    return &xapi_fields[o->class_row->first_field + place];
}

static unsigned place_of(const struct sim_object *o, const char *field)
{
    const unsigned place = xapi_field_place(o->class_row, field);

    assert(place != XAPI_NONE);
    return place;
}

/* ---- opening ---- */

static int defaults_make(struct sim_class *c, const struct xapi_class *row)
{
    c->defaults = xk_array_alloc(row->fields, sizeof(struct xapi_packed *));
    if (!c->defaults)
        return -ENOMEM;
    for (unsigned i = 0; i < row->fields; i++) {
        const struct xapi_field *const field = &xapi_fields[row->first_field + i];
        xk_auto(xk_arena_done) struct xk_arena arena = XK_ARENA_INIT(1u << 16);
        struct xapi_value v;
        const int code = xapi_default(&v, &arena, field->type, field->initial);
        if (code < 0)
            return code;
        c->defaults[i] = xapi_pack(&v);
        if (!c->defaults[i])
            return -ENOMEM;
    }
    return 0;
}

int sim_db_open(struct simpool *p, struct xk_err *err)
{
    p->buckets = BUCKETS_FIRST;
    p->classes = xk_array_alloc(xapi_class_count, sizeof(*p->classes));
    p->by_ref = xk_array_alloc(p->buckets, sizeof(struct sim_object *));
    p->by_uuid = xk_array_alloc(p->buckets, sizeof(struct sim_object *));
    p->deleted = xk_array_alloc(SIM_DELETED_MAX, sizeof(*p->deleted));
    if (!p->classes || !p->by_ref || !p->by_uuid || !p->deleted)
        return xk_fail_memory(err);
    for (unsigned i = 0; i < xapi_class_count; i++) {
        const int code = defaults_make(&p->classes[i], &xapi_classes[i]);
        if (code == -ENOMEM)
            return xk_fail_memory(err);
        assert(code == 0); /* the defaults are ours, and a test reads them all */
    }
    return 0;
}

static void object_free(struct simpool *p, struct sim_object *o)
{
    for (unsigned i = 0; o->fields && i < o->class_row->fields; i++)
        xapi_packed_unref(o->fields[i]);
    free(o->fields);
    sim_history_free(o->history);
    sim_disk_free(p, o->disk);
    free(o->xml);
    free(o->json);
    free(o);
}

void sim_db_close(struct simpool *p)
{
    for (unsigned i = 0; p->classes && i < xapi_class_count; i++) {
        struct sim_class *const c = &p->classes[i];
        for (struct sim_object *o = c->first, *next; o; o = next) {
            next = o->class_next;
            object_free(p, o);
        }
        for (unsigned j = 0; c->defaults && j < xapi_classes[i].fields; j++)
            xapi_packed_unref(c->defaults[j]);
        free(c->defaults);
    }
    free(p->classes);
    free(p->by_ref);
    free(p->by_uuid);
    free(p->deleted);
}

/* ---- order by generation ---- */

static void unlink_age(struct simpool *p, struct sim_object *o)
{
    if (o->newer)
        o->newer->older = o->older;
    else if (p->newest == o)
        p->newest = o->older;
    if (o->older)
        o->older->newer = o->newer;
    o->newer = o->older = NULL;
}

void sim_touch(struct simpool *p, struct sim_object *o)
{
    unlink_age(p, o);
    o->older = p->newest;
    if (p->newest)
        p->newest->newer = o;
    p->newest = o;
    o->modified = ++p->generation;
    free(o->xml);
    free(o->json);
    o->xml = o->json = NULL;
    o->xml_bytes = o->json_bytes = 0;
    sim_state_changed(p);
    sim_events_wake(p);
}

/* ---- objects ---- */

void sim_new_ref(struct simpool *p, char ret[SIM_REF_BYTES])
{
    uint8_t bytes[16];

    xk_random_bytes(p->settings.random, bytes, sizeof(bytes));
    bytes[6] = (uint8_t)((bytes[6] & 0x0f) | 0x40);
    bytes[8] = (uint8_t)((bytes[8] & 0x3f) | 0x80);
    snprintf(ret, SIM_REF_BYTES, "OpaqueRef:%.36s", xk_uuid_text(bytes).s);
}

static void insert(struct simpool *p, struct sim_object *o)
{
    struct sim_object **const ref = &p->by_ref[bucket_of(p, o->ref)];

    o->ref_next = *ref;
    *ref = o;
    if (o->class_row->uuid != XAPI_NONE) {
        struct sim_object **const uuid =
            &p->by_uuid[bucket_of(p, xapi_value_text(&o->fields[o->class_row->uuid]->value))];
        o->uuid_next = *uuid;
        *uuid = o;
    }
}

/* Twice the buckets when there are as many objects; without memory the chains only grow longer. */
static void grow(struct simpool *p)
{
    if (p->objects < p->buckets)
        return;
    struct sim_object **const by_ref = xk_array_alloc(2 * (size_t)p->buckets, sizeof(*by_ref));
    struct sim_object **const by_uuid = xk_array_alloc(2 * (size_t)p->buckets, sizeof(*by_uuid));
    if (!by_ref || !by_uuid) {
        free(by_ref);
        free(by_uuid);
        return;
    }
    free(p->by_ref);
    free(p->by_uuid);
    p->by_ref = by_ref;
    p->by_uuid = by_uuid;
    p->buckets *= 2;
    for (unsigned i = 0; i < xapi_class_count; i++)
        for (struct sim_object *o = p->classes[i].first; o; o = o->class_next)
            insert(p, o);
}

/* Into the hash tables and to the end of its class. */
static void object_link(struct simpool *p, struct sim_object *o)
{
    struct sim_class *const c = &p->classes[xapi_class_index(o->class_row)];

    grow(p);
    insert(p, o);
    o->class_prev = c->last;
    if (c->last)
        c->last->class_next = o;
    else
        c->first = o;
    c->last = o;
    c->count++;
    p->objects++;
}

struct sim_object *sim_create(struct simpool *p, const char *class_name)
{
    const struct xapi_class *const row = xapi_class_find(class_name);
    struct sim_object *const o = xk_zalloc(sizeof(*o));

    assert(row);
    const struct sim_class *const c = &p->classes[xapi_class_index(row)];
    if (o) {
        o->class_row = row;
        o->fields = xk_array_alloc(row->fields, sizeof(struct xapi_packed *));
        for (unsigned i = 0; o->fields && i < row->fields; i++)
            o->fields[i] = xapi_packed_ref(c->defaults[i]);
        sim_new_ref(p, o->ref);
    }
    if (o && o->fields && row->uuid != XAPI_NONE) {
        char uuid[SIM_REF_BYTES];
        sim_new_ref(p, uuid);
        const struct xapi_value v = xapi_str(uuid + strlen("OpaqueRef:"));
        struct xapi_packed *const packed = xapi_pack(&v);
        if (packed) {
            xapi_packed_unref(o->fields[row->uuid]);
            o->fields[row->uuid] = packed;
        } else {
            object_free(p, o);
            p->error = -ENOMEM;
            return NULL;
        }
    }
    if (!o || !o->fields) {
        free(o);
        p->error = -ENOMEM;
        return NULL;
    }
    object_link(p, o);
    o->created = p->generation + 1;
    sim_touch(p, o);
    return o;
}

static void bucket_remove(struct sim_object **at, const struct sim_object *o, bool by_uuid)
{
    while (*at != o)
        at = by_uuid ? &(*at)->uuid_next : &(*at)->ref_next;
    *at = by_uuid ? o->uuid_next : o->ref_next;
}

void sim_forget(struct simpool *p, struct sim_object *o)
{
    struct sim_class *const c = &p->classes[xapi_class_index(o->class_row)];

    bucket_remove(&p->by_ref[bucket_of(p, o->ref)], o, false);
    if (o->class_row->uuid != XAPI_NONE)
        bucket_remove(&p->by_uuid[bucket_of(p, xapi_value_text(&o->fields[o->class_row->uuid]->value))], o, true);
    if (o->class_prev)
        o->class_prev->class_next = o->class_next;
    else
        c->first = o->class_next;
    if (o->class_next)
        o->class_next->class_prev = o->class_prev;
    else
        c->last = o->class_prev;
    c->count--;
    p->objects--;
    unlink_age(p, o);
    object_free(p, o);
}

void sim_delete(struct simpool *p, struct sim_object *o)
{
    /* The other ends of its relations forget it. */
    for (unsigned i = 0; i < o->class_row->fields; i++) {
        const struct xapi_field *const field = field_at(o, i);
        const struct xapi_value none =
            xapi_type_of(field->type)->kind == XAPI_REF ? xapi_str(SIM_NULL) : xapi_list(NULL, 0);
        if (field->other != XAPI_NONE)
            sim_put_at(p, o, i, &none);
    }
    p->deleted[p->deleted_count++ % SIM_DELETED_MAX] =
        (struct sim_deleted){.class_row = o->class_row, .created = o->created, .deleted = ++p->generation};
    if (strcmp(xapi_text(o->class_row->name), "VDI") == 0)
        sim_disk_drop(p, o);
    memcpy(p->deleted[(p->deleted_count - 1) % SIM_DELETED_MAX].ref, o->ref, SIM_REF_BYTES);
    sim_forget(p, o);
    sim_state_changed(p);
    sim_events_wake(p);
}

/* ---- objects that were somewhere before ---- */

int sim_restore(struct simpool *p, const struct xapi_class *row, const char *ref, struct xapi_packed *const *fields,
                uint64_t created, uint64_t modified)
{
    struct sim_object *const old = sim_find(p, ref, NULL);
    struct sim_object *const o = xk_zalloc(sizeof(*o));

    if (!o || (o->fields = xk_array_alloc(row->fields, sizeof(struct xapi_packed *))) == NULL) {
        free(o);
        return -ENOMEM;
    }
    assert(strlen(ref) < SIM_REF_BYTES && (!old || old->class_row == row));
    if (old)
        sim_forget(p, old);
    o->class_row = row;
    memcpy(o->ref, ref, strlen(ref) + 1);
    for (unsigned i = 0; i < row->fields; i++)
        o->fields[i] = xapi_packed_ref(fields[i] ? fields[i] : p->classes[xapi_class_index(row)].defaults[i]);
    object_link(p, o);
    o->created = created;
    sim_touch(p, o);
    o->modified = modified;
    p->generation = XK_MAX(p->generation - 1, modified);
    return 0;
}

/* A file of somebody else's may have objects of one generation: their order is the same each time, too. */
static int compare_created(const void *left, const void *right)
{
    const struct sim_object *const *const a = left, *const *const b = right;

    if ((*a)->created != (*b)->created)
        return (*a)->created < (*b)->created ? -1 : 1;
    return strcmp((*a)->ref, (*b)->ref);
}

static int compare_modified(const void *left, const void *right)
{
    const struct sim_object *const *const a = left, *const *const b = right;

    if ((*a)->modified != (*b)->modified)
        return (*a)->modified < (*b)->modified ? -1 : 1;
    return strcmp((*a)->ref, (*b)->ref);
}

int sim_restore_end(struct simpool *p)
{
    xk_autofree struct sim_object **all = xk_array_alloc(p->objects, sizeof(struct sim_object *));
    size_t count = 0;

    if (!all)
        return -ENOMEM;
    for (unsigned i = 0; i < xapi_class_count; i++) {
        struct sim_class *const c = &p->classes[i];
        const size_t first = count;
        for (struct sim_object *o = c->first; o; o = o->class_next)
            all[count++] = o;
        if (count > first)
            qsort(all + first, count - first, sizeof(struct sim_object *), compare_created);
        c->first = c->last = NULL;
        for (size_t j = first; j < count; j++) {
            all[j]->class_prev = c->last;
            all[j]->class_next = NULL;
            *(c->last ? &c->last->class_next : &c->first) = all[j];
            c->last = all[j];
        }
    }
    if (count)
        qsort(all, count, sizeof(struct sim_object *), compare_modified);
    p->newest = NULL;
    for (size_t i = 0; i < count; i++) {
        all[i]->newer = NULL;
        all[i]->older = p->newest;
        if (p->newest)
            p->newest->newer = all[i];
        p->newest = all[i];
    }
    return 0;
}

struct sim_object *sim_find(const struct simpool *p, const char *ref, const struct xapi_class *class_row)
{
    for (struct sim_object *o = p->by_ref[bucket_of(p, ref)]; o; o = o->ref_next)
        if (strcmp(o->ref, ref) == 0)
            return class_row && o->class_row != class_row ? NULL : o;
    return NULL;
}

struct sim_object *sim_find_uuid(const struct simpool *p, const char *uuid, const struct xapi_class *class_row)
{
    for (struct sim_object *o = p->by_uuid[bucket_of(p, uuid)]; o; o = o->uuid_next)
        if (o->class_row == class_row && strcmp(xapi_value_text(&o->fields[class_row->uuid]->value), uuid) == 0)
            return o;
    return NULL;
}

struct sim_object *sim_first(const struct simpool *p, const char *class_name)
{
    return p->classes[xapi_class_index(xapi_class_find(class_name))].first;
}

static bool is_words(uint16_t type, const struct xapi_value *v)
{
    const struct xapi_type *const t = xapi_type_of(type);
    const bool map = t->kind == XAPI_DICT;

    if (t->kind == XAPI_ENUM)
        return v->shape == XAPI_TEXT;
    if (!(map && v->shape == XAPI_MAP) && !(t->kind == XAPI_SET && v->shape == XAPI_LIST))
        return false;
    for (size_t i = 0; i < v->count; i++)
        if (!is_words(map ? t->to : t->of, &v->items[map ? 2 * i + 1 : i]))
            return false;
    return true;
}

int sim_fit(struct xapi_value *ret, struct xk_arena *arena, uint16_t type, const struct xapi_value *v)
{
    char wrong[256];
    const int code = xapi_cast(ret, arena, type, v, wrong, sizeof(wrong));

    if (code != -EINVAL || !is_words(type, v))
        return code;
    *ret = *v;
    return 1;
}

/* ---- fields ---- */

const struct xapi_value *sim_get(const struct sim_object *o, const char *field)
{
    return &o->fields[place_of(o, field)]->value;
}

const char *sim_text(const struct sim_object *o, const char *field)
{
    return xapi_value_text(sim_get(o, field));
}

int64_t sim_int(const struct sim_object *o, const char *field)
{
    return xapi_value_int(sim_get(o, field));
}

bool sim_bool(const struct sim_object *o, const char *field)
{
    const struct xapi_value *const v = sim_get(o, field);

    return v->shape == XAPI_BOOL && v->truth;
}

struct sim_object *sim_follow(const struct simpool *p, const struct sim_object *o, const char *field)
{
    return sim_find(p, sim_text(o, field), NULL);
}

int64_t sim_time(const struct sim_object *o, const char *field)
{
    struct tm tm = {0};
    const char *const end = strptime(sim_text(o, field), "%Y%m%dT%H:%M:%S", &tm);

    return end ? (int64_t)timegm(&tm) : 0;
}

void sim_put_alone(struct simpool *p, struct sim_object *o, unsigned place, const struct xapi_value *v)
{
    if (xapi_value_same(&o->fields[place]->value, v))
        return;
    struct xapi_packed *const packed = xapi_pack(v);
    if (!packed) {
        p->error = -ENOMEM;
        return;
    }
    /* The old value last: v may lie in it. */
    struct xapi_packed *const old = o->fields[place];
    o->fields[place] = packed;
    xapi_packed_unref(old);
    sim_touch(p, o);
    if (p->histories && (place == p->vm_places[0] || place == p->vm_places[1]) && o->class_row == p->vm_class)
        sim_history_note(p, o);
}

/* Put `ref` into a field that is one end of a relation, or take it out. */
static void write_end(struct simpool *p, struct sim_object *o, unsigned place, const char *ref, bool in)
{
    const struct xapi_value v = xapi_str(ref), none = xapi_str(SIM_NULL);
    const struct xapi_value *const now = &o->fields[place]->value;

    if (now->shape == XAPI_TEXT) {
        if (in || strcmp(now->text, ref) == 0)
            sim_put_alone(p, o, place, in ? &v : &none);
        return;
    }
    if (p->bulk || now->shape != XAPI_LIST || xapi_list_has(now, ref) == in)
        return;
    struct xapi_value *const items = xk_array_alloc((size_t)now->count + 1, sizeof(*items));
    size_t count = 0;
    if (!items) {
        p->error = -ENOMEM;
        return;
    }
    for (size_t i = 0; i < now->count; i++)
        if (strcmp(xapi_value_text(&now->items[i]), ref) != 0)
            items[count++] = now->items[i];
    if (in)
        items[count++] = v;
    const struct xapi_value list = xapi_list(items, count);
    sim_put_alone(p, o, place, &list);
    free(items);
}

static void follow_end(struct simpool *p, const struct sim_object *o, const struct xapi_field *field, const char *ref,
                       bool in)
{
    const struct xapi_field *const other = &xapi_fields[field->other];
    const struct xapi_class *const row = &xapi_classes[other->class_index];
    struct sim_object *const end = sim_find(p, ref, row);

    if (end && other != field)
        write_end(p, end, (unsigned)(other - xapi_fields) - row->first_field, o->ref, in);
}

void sim_put_packed(struct simpool *p, struct sim_object *o, unsigned place, struct xapi_packed *v)
{
    assert(field_at(o, place)->other == XAPI_NONE);
    if (o->fields[place] == v || xapi_value_same(&o->fields[place]->value, &v->value))
        return;
    xapi_packed_unref(o->fields[place]);
    o->fields[place] = xapi_packed_ref(v);
    sim_touch(p, o);
}

void sim_put_uuid(struct simpool *p, struct sim_object *o, const char *uuid)
{
    const struct xapi_value v = xapi_str(uuid);
    const unsigned place = o->class_row->uuid;

    bucket_remove(&p->by_uuid[bucket_of(p, xapi_value_text(&o->fields[place]->value))], o, true);
    sim_put_alone(p, o, place, &v);
    struct sim_object **const bucket = &p->by_uuid[bucket_of(p, xapi_value_text(&o->fields[place]->value))];
    o->uuid_next = *bucket;
    *bucket = o;
}

void sim_put_at(struct simpool *p, struct sim_object *o, unsigned place, const struct xapi_value *v)
{
    const struct xapi_field *const field = field_at(o, place);

    if (field->other == XAPI_NONE) {
        sim_put_alone(p, o, place, v);
        return;
    }
    struct xapi_packed *const before = xapi_packed_ref(o->fields[place]);
    const struct xapi_value *const old = &before->value;
    sim_put_alone(p, o, place, v);
    const struct xapi_value *const now = &o->fields[place]->value;
    if (old->shape == XAPI_TEXT && strcmp(old->text, xapi_value_text(now)) != 0)
        follow_end(p, o, field, old->text, false);
    if (now->shape == XAPI_TEXT)
        follow_end(p, o, field, now->text, true);
    for (size_t i = 0; old->shape == XAPI_LIST && i < old->count; i++)
        if (!xapi_list_has(now, xapi_value_text(&old->items[i])))
            follow_end(p, o, field, xapi_value_text(&old->items[i]), false);
    for (size_t i = 0; now->shape == XAPI_LIST && i < now->count; i++)
        if (!xapi_list_has(old, xapi_value_text(&now->items[i])))
            follow_end(p, o, field, xapi_value_text(&now->items[i]), true);
    xapi_packed_unref(before);
}

void sim_put(struct simpool *p, struct sim_object *o, const char *field, struct xapi_value v)
{
    sim_put_at(p, o, place_of(o, field), &v);
}

void sim_put_text(struct simpool *p, struct sim_object *o, const char *field, const char *text)
{
    sim_put(p, o, field, xapi_str(text));
}

void sim_put_int(struct simpool *p, struct sim_object *o, const char *field, int64_t v)
{
    sim_put(p, o, field, xapi_int(v));
}

void sim_put_bool(struct simpool *p, struct sim_object *o, const char *field, bool v)
{
    sim_put(p, o, field, xapi_bool(v));
}

void sim_put_time(struct simpool *p, struct sim_object *o, const char *field, int64_t unix_seconds)
{
    xk_auto(xk_arena_done) struct xk_arena arena = XK_ARENA_INIT(4096);

    sim_put(p, o, field, xapi_time(&arena, unix_seconds));
}

static void put_texts(struct simpool *p, struct sim_object *o, const char *field, const char *const *texts,
                      enum xapi_shape shape)
{
    xk_auto(xk_arena_done) struct xk_arena arena = XK_ARENA_INIT(1u << 20);
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&arena);
    struct xapi_value v;

    xapi_build_open(&b, shape);
    for (; *texts; texts++)
        xapi_build_value(&b, xapi_str(*texts));
    xapi_build_close(&b);
    if (xapi_build_end(&b, &v) < 0)
        p->error = -ENOMEM;
    else
        sim_put(p, o, field, v);
}

void sim_put_map(struct simpool *p, struct sim_object *o, const char *field, const char *const *pairs)
{
    put_texts(p, o, field, pairs, XAPI_MAP);
}

void sim_put_list(struct simpool *p, struct sim_object *o, const char *field, const char *const *items)
{
    put_texts(p, o, field, items, XAPI_LIST);
}

void sim_map_set(struct simpool *p, struct sim_object *o, unsigned place, const char *key, const struct xapi_value *v)
{
    const struct xapi_value *const now = &o->fields[place]->value;
    struct xapi_value *const items = xk_array_alloc(2 * (size_t)now->count + 2, sizeof(*items));
    size_t count = 0;

    if (!items) {
        p->error = -ENOMEM;
        return;
    }
    for (size_t i = 0; i < now->count; i++) {
        if (strcmp(now->items[2 * i].text, key) == 0)
            continue;
        items[count++] = now->items[2 * i];
        items[count++] = now->items[2 * i + 1];
    }
    if (v) {
        items[count++] = xapi_str(key);
        items[count++] = *v;
    }
    const struct xapi_value map = xapi_map(items, count / 2);
    sim_put_at(p, o, place, &map);
    free(items);
}

void sim_map_unset(struct simpool *p, struct sim_object *o, unsigned place, const char *key)
{
    sim_map_set(p, o, place, key, NULL);
}

static void list_change(struct simpool *p, struct sim_object *o, unsigned place, const struct xapi_value *v, bool in)
{
    const struct xapi_value *const now = &o->fields[place]->value;
    struct xapi_value *const items = xk_array_alloc((size_t)now->count + 1, sizeof(*items));
    size_t count = 0;

    if (!items) {
        p->error = -ENOMEM;
        return;
    }
    for (size_t i = 0; i < now->count; i++)
        if (!xapi_value_same(&now->items[i], v))
            items[count++] = now->items[i];
    if (in)
        items[count++] = *v;
    const struct xapi_value list = xapi_list(items, count);
    sim_put_at(p, o, place, &list);
    free(items);
}

void sim_list_add(struct simpool *p, struct sim_object *o, unsigned place, const struct xapi_value *v)
{
    const struct xapi_value *const now = &o->fields[place]->value;

    for (size_t i = 0; i < now->count; i++)
        if (xapi_value_same(&now->items[i], v))
            return; /* a set */
    list_change(p, o, place, v, true);
}

void sim_list_remove(struct simpool *p, struct sim_object *o, unsigned place, const struct xapi_value *v)
{
    list_change(p, o, place, v, false);
}

/* ---- records ---- */

/* One encoding of it, in a block of just its size. */
static int encode(struct sim_object *o, bool json)
{
    const unsigned fields = o->class_row->fields;
    xk_autofree struct xapi_value *items = xk_array_alloc(2 * (size_t)fields, sizeof(*items));
    struct xk_buf b = XK_BUF_INIT(SIM_CALL_BYTES_MAX);
    size_t count = 0;

    if (!items)
        return -ENOMEM;
    for (unsigned i = 0; i < fields; i++) {
        if (field_at(o, i)->internal)
            continue;
        items[2 * count] = xapi_str(xapi_text(field_at(o, i)->name));
        items[2 * count++ + 1] = o->fields[i]->value;
    }
    const struct xapi_value record = xapi_map(items, count);
    if (json)
        xapi_json_value(&b, &record);
    else
        xapi_xml_value(&b, &record);
    const size_t bytes = b.len;
    char *const text = xk_buf_take(&b);
    xk_buf_done(&b);
    if (!text)
        return -ENOMEM;
    char *const fit = xk_realloc(text, bytes + 1);
    *(json ? &o->json : &o->xml) = fit ? fit : text;
    *(json ? &o->json_bytes : &o->xml_bytes) = bytes;
    return 0;
}

int sim_record_as(struct xapi_raw *ret, struct sim_object *o, bool json)
{
    if (!(json ? o->json : o->xml) && encode(o, json) < 0)
        return -ENOMEM;
    *ret = (struct xapi_raw){.xml = o->xml, .json = o->json, .xml_bytes = o->xml_bytes, .json_bytes = o->json_bytes};
    return 0;
}

int sim_record(struct xapi_raw *ret, struct sim_object *o)
{
    return sim_record_as(ret, o, true) < 0 ? -ENOMEM : sim_record_as(ret, o, false);
}
