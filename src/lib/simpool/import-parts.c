/*
 * The records of an archive: read, found by the names they have there, and made into objects by the messages that
 * clients use, so that what those refuse is refused here, too. Only what no client may set is written into the
 * database.
 *
 * Facts: xapi's import.ml, importexport.ml (2026-08). An archive of a newer server than the newest that the data model
 * knows is refused.
 */
#include "lib/simpool/import-parts.h"

#include <stdlib.h>

#define EXPORT_XAPI_MAJOR 26 /* of the data model: the newest server whose records can be understood */

bool sim_import_fail(struct sim_import *m, const char *code, const char *text)
{
    sim_error_set(&m->error, code, text, NULL);
    return false;
}

bool sim_import_fail_generic(struct sim_import *m, const char *text)
{
    char message[480];

    snprintf(message, sizeof(message), "INTERNAL_ERROR: [ %.440s ]", text);
    return sim_import_fail(m, "IMPORT_ERROR", message);
}

static int compare_ids(const void *a, const void *b)
{
    const struct sim_part *const *const left = a, *const *const right = b;

    return strcmp((*left)->id, (*right)->id);
}

struct sim_part *sim_part_of(const struct sim_import *m, const char *id)
{
    const struct sim_part key = {.id = id}, *const at = &key;
    struct sim_part **const found =
        m->count ? bsearch(&at, m->by_id, m->count, sizeof(struct sim_part *), compare_ids) : NULL;

    return found ? *found : NULL;
}

const char *sim_part_text(const struct sim_part *part, const char *field)
{
    const struct xapi_value *const v = xapi_map_get(part->snapshot, field);

    return v ? xapi_value_text(v) : "";
}

int64_t sim_part_int(const struct sim_part *part, const char *field)
{
    const struct xapi_value *const v = xapi_map_get(part->snapshot, field);
    int64_t number = 0;

    if (!v)
        return 0;
    return v->shape != XAPI_TEXT ? xapi_value_int(v) : xk_parse_i64(&number, v->text) == 0 ? number : 0;
}

bool sim_part_true(const struct sim_part *part, const char *field)
{
    const struct xapi_value *const v = xapi_map_get(part->snapshot, field);

    return v && v->shape == XAPI_BOOL && v->truth;
}

const char *sim_part_pair(const struct sim_part *part, const char *field, const char *key)
{
    const struct xapi_value *const map = xapi_map_get(part->snapshot, field);
    const struct xapi_value *const v = map ? xapi_map_get(map, key) : NULL;

    return v ? xapi_value_text(v) : NULL;
}

bool sim_part_is(const struct sim_part *part, const char *name)
{
    return part->class_row && sim_same(xapi_text(part->class_row->name), name);
}

static bool take_version(struct sim_import *m, const struct xapi_value *version)
{
    const struct sim_part v = {.snapshot = version};
    static const char *const needed[] = {"hostname",     "date",       "product_version", "product_brand",
                                         "build_number", "xapi_major", "xapi_minor"};
    char text[160];

    for (size_t i = 0; i < XK_COUNT(needed); i++)
        if (!xapi_map_get(version, needed[i])) {
            snprintf(text, sizeof(text), "Importexport.Failure(\"Failed to find key '%s' in version data\")",
                     needed[i]);
            return sim_import_fail_generic(m, text);
        }
    m->export_version = sim_part_int(&v, "export_vsn");
    if (sim_part_int(&v, "xapi_major") > EXPORT_XAPI_MAJOR) {
        sim_error_set(&m->error, "IMPORT_INCOMPATIBLE_VERSION", NULL);
        return false;
    }
    return true;
}

static bool take_object(struct sim_import *m, const struct xapi_value *object)
{
    struct sim_part *const part = &m->parts[m->count];
    const struct xapi_value *const snapshot = xapi_map_get(object, "snapshot");
    const struct sim_part o = {.snapshot = object};

    part->id = sim_part_text(&o, "id");
    part->class_row = xapi_class_find(sim_part_text(&o, "class"));
    part->snapshot = snapshot;
    if (!*part->id || !snapshot || snapshot->shape != XAPI_MAP)
        return sim_import_fail_generic(m, "Rpc.Runtime_error(\"Unexpected object\")");
    m->by_id[m->count++] = part;
    return true;
}

bool sim_import_read(struct sim_import *m, const char *xml, size_t bytes)
{
    struct xk_buf document = XK_BUF_INIT(bytes + 128);
    struct xapi_reply reply = {0};
    struct xk_err err = {0};

    m->arena = XK_ARENA_INIT(SIM_IMPORT_MEMORY_MAX);
    xk_buf_add_str(&document, "<methodResponse><params><param>");
    const char *const start = strncmp(xml, "<?xml", 5) == 0 ? strstr(xml, "?>") : NULL;
    const size_t skip = start ? (size_t)(start + 2 - xml) : 0;
    xk_buf_add(&document, xml + skip, bytes - skip);
    xk_buf_add_str(&document, "</param></params></methodResponse>");
    const int code =
        document.error ? -ENOMEM : xapi_reply_decode(&reply, &m->arena, false, document.data, document.len, &err);
    xk_buf_done(&document);
    if (code < 0)
        return sim_import_fail_generic(m, code == -ENOMEM ? "Out_of_memory" : err.text);
    const struct xapi_value *const version = xapi_map_get(&reply.value, "version");
    const struct xapi_value *const objects = xapi_map_get(&reply.value, "objects");
    if (!version || !objects || objects->shape != XAPI_LIST)
        return sim_import_fail_generic(m, "Rpc.Runtime_error(\"Unexpected header\")");
    if (objects->count > SIM_IMPORT_OBJECTS_MAX)
        return sim_import_fail_generic(m, "more than 200000 objects");
    m->parts = xk_arena_alloc(&m->arena, (objects->count + 1) * sizeof(*m->parts));
    m->by_id = xk_arena_alloc(&m->arena, (objects->count + 1) * sizeof(struct sim_part *));
    m->created = xk_arena_alloc(&m->arena, (objects->count + 1) * sizeof(*m->created));
    if (!m->parts || !m->by_id || !m->created)
        return sim_import_fail_generic(m, "Out_of_memory");
    if (!take_version(m, version))
        return false;
    for (size_t i = 0; i < objects->count; i++)
        if (!take_object(m, &objects->items[i]))
            return false;
    if (m->count)
        qsort(m->by_id, m->count, sizeof(struct sim_part *), compare_ids);
    return true;
}

void sim_import_done(struct sim_import *m)
{
    xk_arena_done(&m->arena);
}

/* ---- what stands for them ---- */

void sim_part_stands_for(struct sim_part *part, const char *ref)
{
    snprintf(part->ref, sizeof(part->ref), "%s", ref);
}

bool sim_part_made(struct sim_import *m, struct sim_part *part, const char *ref)
{
    sim_part_stands_for(part, ref);
    part->created = true;
    m->created[m->created_count++] = (size_t)(part - m->parts);
    return true;
}

bool sim_part_rehearsed(struct sim_import *m, struct sim_part *part)
{
    sim_new_ref(m->pool, part->ref);
    part->dummy = true;
    return true;
}

const char *sim_part_lookup(const struct sim_import *m, const struct sim_part *from, const char *field)
{
    const struct sim_part *const part = sim_part_of(m, sim_part_text(from, field));

    return part && *part->ref ? part->ref : NULL;
}

const char *sim_part_lookup_needed(struct sim_import *m, const struct sim_part *from, const char *field)
{
    const char *const ref = sim_part_lookup(m, from, field);

    if (!ref)
        (void)sim_import_fail(m, "IMPORT_ERROR_FAILED_TO_FIND_OBJECT", sim_part_text(from, field));
    return ref;
}

const struct sim_part *sim_part_named(struct sim_import *m, const struct sim_part *from, const char *field)
{
    const struct sim_part *const part = sim_part_of(m, sim_part_text(from, field));

    if (!part)
        (void)sim_import_fail(m, "IMPORT_ERROR_FAILED_TO_FIND_OBJECT", sim_part_text(from, field));
    return part;
}

/* ---- records for constructors ---- */

/* References lead into the pool, or nowhere. */
static struct xapi_value translated(const struct sim_import *m, uint16_t type, const struct xapi_value *v)
{
    const struct xapi_type *const t = xapi_type_of(type);

    if (t->kind == XAPI_REF) {
        const char *const ref = xapi_value_text(v);
        const struct sim_part *const part = sim_part_of(m, ref);
        if (part && *part->ref && !part->dummy)
            return xapi_str(part->ref);
        return xapi_str(sim_find(m->pool, ref, t->of == XAPI_NONE ? NULL : &xapi_classes[t->of]) ? ref : SIM_NULL);
    }
    if (t->kind == XAPI_SET && xapi_type_of(t->of)->kind == XAPI_REF)
        return xapi_list(NULL, 0);
    return *v;
}

static const struct sim_change *changed(const char *field, const struct sim_change *changes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (sim_same(changes[i].field, field))
            return &changes[i];
    return NULL;
}

/* What an older release did not have yet is as it is at first. */
static struct xapi_value field_of(struct sim_import *m, const struct sim_part *part, const struct xapi_field *field,
                                  const struct sim_change *changes, size_t count)
{
    const char *const name = xapi_text(field->name);
    const struct sim_change *const c = changed(name, changes, count);
    const struct xapi_value *const v = xapi_map_get(part->snapshot, name);
    struct xapi_value first = xapi_str("");

    if (c)
        return c->value;
    if (v)
        return translated(m, field->type, v);
    (void)xapi_default(&first, &m->arena, field->type, field->initial);
    return first;
}

static struct xapi_value record_of(struct sim_import *m, const struct sim_part *part, const struct sim_change *changes,
                                   size_t count)
{
    const struct xapi_class *const row = part->class_row;
    struct xapi_value *const items = xk_arena_alloc(&m->arena, 2 * (size_t)row->fields * sizeof(*items));
    size_t pairs = 0;

    for (unsigned i = 0; items && i < row->fields; i++) {
        const struct xapi_field *const field = &xapi_fields[row->first_field + i];
        if (field->qualifier == XAPI_DRO)
            continue;
        items[2 * pairs] = xapi_str(xapi_text(field->name));
        items[2 * pairs++ + 1] = field_of(m, part, field, changes, count);
    }
    return xapi_map(items, pairs);
}

struct sim_object *sim_part_construct(struct sim_import *m, struct sim_part *part, const struct sim_change *changes,
                                      size_t count)
{
    const struct xapi_value record = record_of(m, part, changes, count);
    char message[64], ref[SIM_REF_BYTES];

    snprintf(message, sizeof(message), "%s.create", xapi_text(part->class_row->name));
    if (!sim_call_own(m->pool, message, &record, 1, ref, &m->error)) {
        /* What the messages themselves call internal is none of the errors that this one may end in. */
        if (sim_same(m->error.texts[0], "INTERNAL_ERROR")) {
            char text[400];
            snprintf(text, sizeof(text), "%.390s", m->error.texts[1]);
            (void)sim_import_fail_generic(m, text);
        }
        return NULL;
    }
    (void)sim_part_made(m, part, ref);
    return sim_find(m->pool, ref, NULL);
}

void sim_part_put_field(struct sim_import *m, struct sim_object *o, const struct sim_part *part, const char *name)
{
    const struct xapi_field *const field = xapi_field_find(o->class_row, name);
    const struct xapi_value *const v = xapi_map_get(part->snapshot, name);
    struct xapi_value cast;

    if (field && v && sim_fit(&cast, &m->arena, field->type, v) >= 0)
        sim_put(m->pool, o, name, cast);
}

static bool is_uuid_free(const struct sim_import *m, const struct sim_part *part)
{
    const char *const uuid = sim_part_text(part, "uuid");

    return strlen(uuid) == 36 && !sim_find_uuid(m->pool, uuid, part->class_row);
}

void sim_part_keep_uuid(struct sim_import *m, struct sim_object *o, const struct sim_part *part)
{
    if (m->restore && is_uuid_free(m, part))
        sim_put_uuid(m->pool, o, sim_part_text(part, "uuid"));
}

const struct sim_object *sim_part_same_uuid(const struct sim_import *m, const struct sim_part *part)
{
    return sim_find_uuid(m->pool, sim_part_text(part, "uuid"), part->class_row);
}
