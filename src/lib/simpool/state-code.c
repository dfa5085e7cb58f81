/*
 * What stands in a frame of the state file: entries, each with a letter in front.
 *
 *     S  schema: names of all classes and of their fields; what follows counts by their place there, so that a file
 *        outlives changes of the data model
 *     O  an object: class, ref, generations, and those fields that are not as their class has them by default
 *     G  an object that is gone
 *     P  the pool: its clock, and its hosts in the order of their addresses
 *     I  key and certificate of a host
 *     K  a file that hosts keep, or that they no longer do
 *
 * Numbers are little endian; texts are a length of 4 bytes and as many bytes. Everything that is read is checked, also
 * behind a right checksum: a file can be made to have one.
 */
#include "lib/simpool/state.h"

#include "lib/simpool/keep.h"

#include "core/bytes.h"

#include <stdio.h>
#include <string.h>

#define OBJECT_BYTES_MAX (64u << 20) /* of one object, decoded */
#define NAME_BYTES_MAX   255

bool sim_state_keeps(const struct xapi_class *row)
{
    /* Messages are files on a real host, and in no table. */
    return row->flags & XAPI_CLASS_PERSIST || strcmp(xapi_text(row->name), "message") == 0;
}

/* ---- writing ---- */

static void put(struct xk_buf *b, uint64_t v, unsigned bytes)
{
    char little[8];

    for (unsigned i = 0; i < bytes; i++)
        little[i] = (char)(v >> (8 * i));
    xk_buf_add(b, little, bytes);
}

static void put_text(struct xk_buf *b, const char *text, size_t bytes)
{
    put(b, bytes, 4);
    xk_buf_add(b, text, bytes);
}

static void put_name(struct xk_buf *b, const char *name)
{
    put_text(b, name, strlen(name));
}

static void put_value(struct xk_buf *b, const struct xapi_value *v)
{
    const size_t items = v->shape == XAPI_LIST ? v->count : v->shape == XAPI_MAP ? 2 * (size_t)v->count : 0;
    uint64_t bits = 0;

    put(b, v->shape, 1);
    switch (v->shape) {
    case XAPI_BOOL:
        return put(b, v->truth, 1);
    case XAPI_INT:
        return put(b, (uint64_t)v->integer, 8);
    case XAPI_REAL:
        memcpy(&bits, &v->real, sizeof(bits));
        return put(b, bits, 8);
    case XAPI_TEXT:
    case XAPI_TIME:
        return put_text(b, v->text, v->count);
    case XAPI_LIST:
    case XAPI_MAP:
        put(b, v->count, 4);
        for (size_t i = 0; i < items; i++)
            put_value(b, &v->items[i]);
        return;
    }
}

void sim_state_put_schema(struct xk_buf *b)
{
    xk_buf_add_char(b, 'S');
    put(b, xapi_class_count, 2);
    for (unsigned i = 0; i < xapi_class_count; i++) {
        put_name(b, xapi_text(xapi_classes[i].name));
        put(b, xapi_classes[i].fields, 2);
        for (unsigned j = 0; j < xapi_classes[i].fields; j++)
            put_name(b, xapi_text(xapi_fields[xapi_classes[i].first_field + j].name));
    }
}

void sim_state_put_object(struct xk_buf *b, const struct simpool *p, const struct sim_object *o)
{
    struct xapi_packed **const defaults = p->classes[xapi_class_index(o->class_row)].defaults;
    unsigned count = 0;

    for (unsigned i = 0; i < o->class_row->fields; i++)
        count += o->fields[i] != defaults[i];
    xk_buf_add_char(b, 'O');
    put(b, xapi_class_index(o->class_row), 2);
    put_name(b, o->ref);
    put(b, o->created, 8);
    put(b, o->modified, 8);
    put(b, count, 2);
    for (unsigned i = 0; i < o->class_row->fields; i++) {
        if (o->fields[i] == defaults[i])
            continue;
        put(b, i, 2);
        put_value(b, &o->fields[i]->value);
    }
}

void sim_state_put_gone(struct xk_buf *b, const struct xapi_class *row, const char *ref)
{
    xk_buf_add_char(b, 'G');
    put(b, xapi_class_index(row), 2);
    put_name(b, ref);
}

void sim_state_put_pool(struct xk_buf *b, const struct simpool *p)
{
    xk_buf_add_char(b, 'P');
    put(b, p->generation, 8);
    put(b, (uint64_t)sim_now_s(p), 8);
    put(b, p->settings.hosts, 2);
    for (unsigned i = 0; i < p->settings.hosts; i++)
        put_name(b, p->host_refs[i]);
}

int sim_state_put_identity(struct xk_buf *b, const struct http_identity *id, unsigned host, struct xk_err *err)
{
    struct xk_buf saved = XK_BUF_INIT(HTTP_IDENTITY_BYTES_MAX);
    const int code = http_identity_save(&saved, id, err);

    if (code == 0) {
        xk_buf_add_char(b, 'I');
        put(b, host, 2);
        put_text(b, saved.data, saved.len);
        explicit_bzero(saved.data, saved.len);
    }
    xk_buf_done(&saved);
    return code;
}

void sim_state_put_kept(struct xk_buf *b, const struct sim_kept *k)
{
    xk_buf_add_char(b, 'K');
    xk_buf_add_char(b, k->kind);
    put_name(b, k->name);
    xk_buf_add_char(b, k->text != NULL);
    put_name(b, k->text ? k->text : "");
}

/* ---- reading ---- */

struct take {
    struct simpool *pool;
    struct sim_schema *schema;
    struct xk_reader r;
    struct xk_err *err;
};

static int damaged(struct take *t, const char *what)
{
    return xk_fail(t->err, -EBADMSG, "byte %zu of a group: %s", t->r.at, what);
}

/* A text that lies in the frame; sets bad when it does not. */
static const char *take_bytes(struct xk_reader *r, size_t *ret_bytes)
{
    const uint32_t bytes = xk_le32(r);
    const char *const at = (const char *)r->data + r->at;

    *ret_bytes = bytes;
    xk_skip(r, bytes);
    if (r->bad || memchr(at, '\0', bytes)) {
        r->bad = true;
        *ret_bytes = 0;
        return "";
    }
    return at;
}

static bool take_name(struct xk_reader *r, char *ret, size_t max)
{
    size_t bytes;
    const char *const at = take_bytes(r, &bytes);

    if (r->bad || bytes == 0 || bytes >= max)
        return false;
    memcpy(ret, at, bytes);
    ret[bytes] = '\0';
    return true;
}

static void take_value(struct xk_reader *r, struct xapi_build *b, unsigned depth)
{
    const uint8_t shape = xk_u8(r);
    uint64_t bits;
    double real;
    size_t bytes;

    switch (shape) {
    case XAPI_NIL:
        return xapi_build_value(b, xapi_nil());
    case XAPI_BOOL:
        return xapi_build_value(b, xapi_bool(xk_u8(r) != 0));
    case XAPI_INT:
        return xapi_build_int(b, (int64_t)xk_le64(r));
    case XAPI_REAL:
        bits = xk_le64(r);
        memcpy(&real, &bits, sizeof(real));
        return xapi_build_value(b, xapi_real(real));
    case XAPI_TEXT:
    case XAPI_TIME: {
        const char *const at = take_bytes(r, &bytes);
        return xapi_build_bytes(b, shape, at, bytes);
    }
    case XAPI_LIST:
    case XAPI_MAP: {
        /* Every value takes a byte at least, so a count that is too large ends soon. */
        const uint64_t count = (uint64_t)xk_le32(r) * (shape == XAPI_MAP ? 2 : 1);
        if (depth == 0 || count > xk_left(r)) {
            r->bad = true;
            return;
        }
        xapi_build_open(b, shape);
        for (uint64_t i = 0; i < count && !r->bad && !b->error; i++)
            take_value(r, b, depth - 1);
        return xapi_build_close(b);
    }
    default:
        r->bad = true;
    }
}

void sim_schema_done(struct sim_schema *s)
{
    for (unsigned i = 0; s->places && i < s->class_count; i++)
        free(s->places[i]);
    free(s->places);
    free(s->counts);
    free(s->classes);
    *s = (struct sim_schema){0};
}

static int take_schema(struct take *t)
{
    struct sim_schema *const s = t->schema;
    char name[NAME_BYTES_MAX + 1];

    sim_schema_done(s);
    const unsigned count = xk_le16(&t->r);
    s->classes = xk_array_alloc(count, sizeof(struct xapi_class *));
    s->places = xk_array_alloc(count, sizeof(uint16_t *));
    s->counts = xk_array_alloc(count, sizeof(uint16_t));
    if (!s->classes || !s->places || !s->counts)
        return xk_fail_memory(t->err);
    s->class_count = count;
    for (unsigned i = 0; i < count; i++) {
        if (!take_name(&t->r, name, sizeof(name)))
            return damaged(t, "a class without a name");
        const struct xapi_class *const row = s->classes[i] = xapi_class_find(name);
        s->counts[i] = xk_le16(&t->r);
        s->unknown_classes += row == NULL;
        s->places[i] = xk_array_alloc(s->counts[i], sizeof(uint16_t));
        if (!s->places[i])
            return xk_fail_memory(t->err);
        for (unsigned j = 0; j < s->counts[i]; j++) {
            if (!take_name(&t->r, name, sizeof(name)))
                return damaged(t, "a field without a name");
            const struct xapi_field *const field = row ? xapi_field_find(row, name) : NULL;
            s->places[i][j] = field ? (uint16_t)(field - xapi_fields - row->first_field) : XAPI_NONE;
            s->unknown_fields += row && !field;
        }
    }
    return 0;
}

/* Objects of one class are much alike: a value that is the default takes no memory of its own. */
static struct xapi_packed *keep(struct take *t, const struct xapi_class *row, unsigned place,
                                const struct xapi_value *v)
{
    struct xapi_packed *const initial = t->pool->classes[xapi_class_index(row)].defaults[place];

    return xapi_value_same(&initial->value, v) ? xapi_packed_ref(initial) : xapi_pack(v);
}

/* One field into its place; fields that are not known (any more) are read and left out. */
static int take_field(struct take *t, const struct xapi_class *row, const uint16_t *places, unsigned count,
                      struct xapi_packed **fields)
{
    xk_auto(xk_arena_done) struct xk_arena arena = XK_ARENA_INIT(OBJECT_BYTES_MAX);
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&arena);
    const unsigned number = xk_le16(&t->r);
    struct xapi_value v, fit;

    take_value(&t->r, &b, XAPI_DEPTH_MAX - 1);
    if (t->r.bad || number >= count)
        return damaged(t, "a field is not whole");
    int code = xapi_build_end(&b, &v);
    if (code < 0)
        return code == -ENOMEM ? xk_fail_memory(t->err) : damaged(t, "a value is not whole");
    if (!row || places[number] == XAPI_NONE)
        return 0;
    const unsigned place = places[number];
    code = sim_fit(&fit, &arena, xapi_fields[row->first_field + place].type, &v);
    if (code < 0)
        return code == -ENOMEM ? xk_fail_memory(t->err) : damaged(t, "a value of a wrong type");
    xapi_packed_unref(fields[place]);
    fields[place] = keep(t, row, place, &fit);
    return fields[place] ? 0 : xk_fail_memory(t->err);
}

static int take_object(struct take *t)
{
    const unsigned number = xk_le16(&t->r);
    char ref[SIM_REF_BYTES];

    if (number >= t->schema->class_count || !take_name(&t->r, ref, sizeof(ref)))
        return damaged(t, "an object without class or ref");
    const struct xapi_class *const row = t->schema->classes[number];
    const uint64_t created = xk_le64(&t->r), modified = xk_le64(&t->r);
    const unsigned count = xk_le16(&t->r);
    const struct sim_object *const old = sim_find(t->pool, ref, NULL);
    if (t->r.bad || created > modified || modified > INT64_MAX || (old && old->class_row != row))
        return damaged(t, "an object that cannot be");
    const size_t fields = row ? row->fields : 1;
    xk_autofree struct xapi_packed **values = xk_array_alloc(fields, sizeof(struct xapi_packed *));
    int code = values ? 0 : xk_fail_memory(t->err);
    for (unsigned i = 0; i < count && code == 0; i++)
        code = take_field(t, row, t->schema->places[number], t->schema->counts[number], values);
    if (code == 0 && row && sim_restore(t->pool, row, ref, values, created, modified) < 0)
        code = xk_fail_memory(t->err);
    for (size_t i = 0; values && i < fields; i++)
        xapi_packed_unref(values[i]);
    return code;
}

static int take_gone(struct take *t)
{
    const unsigned number = xk_le16(&t->r);
    char ref[SIM_REF_BYTES];

    if (number >= t->schema->class_count || !take_name(&t->r, ref, sizeof(ref)))
        return damaged(t, "an object without class or ref");
    struct sim_object *const o = sim_find(t->pool, ref, t->schema->classes[number]);
    if (o)
        sim_forget(t->pool, o);
    return 0;
}

static int take_pool(struct take *t)
{
    struct simpool *const p = t->pool;
    const uint64_t generation = xk_le64(&t->r);
    const int64_t now_s = (int64_t)xk_le64(&t->r);
    const unsigned hosts = xk_le16(&t->r);

    if (t->r.bad || generation > INT64_MAX || hosts == 0 || hosts > SIMPOOL_HOSTS_MAX)
        return damaged(t, "a pool that cannot be");
    for (unsigned i = 0; i < hosts; i++)
        if (!take_name(&t->r, p->host_refs[i], SIM_REF_BYTES))
            return damaged(t, "a host without a ref");
    p->settings.hosts = hosts;
    p->generation = XK_MAX(p->generation, generation);
    p->saved_s = now_s;
    return 0;
}

static int take_identity(struct take *t)
{
    struct simpool *const p = t->pool;
    const unsigned host = xk_le16(&t->r);
    const uint32_t bytes = xk_le32(&t->r);
    const uint8_t *const at = t->r.data + t->r.at;

    xk_skip(&t->r, bytes);
    if (t->r.bad || host >= SIMPOOL_HOSTS_MAX)
        return damaged(t, "a key that is not whole");
    http_identity_free(p->identities[host]);
    p->identities[host] = NULL;
    return http_identity_load(&p->identities[host], at, bytes, t->err);
}

static int take_kept(struct take *t)
{
    char name[SIM_KEPT_NAME_MAX], kind = (char)xk_u8(&t->r);

    if (!take_name(&t->r, name, sizeof(name)))
        return damaged(t, "a file without a name");
    const bool there = xk_u8(&t->r);
    size_t bytes = 0;
    const char *const at = take_bytes(&t->r, &bytes);
    if (t->r.bad || bytes > SIM_KEPT_BYTES_MAX)
        return damaged(t, "a file that is not whole");
    xk_autofree char *text = there ? xk_strndup(at, bytes) : NULL;
    if (there && !text)
        return xk_fail_memory(t->err);
    const int code = sim_keep(t->pool, kind, name, text);
    return code == -ENOMEM ? xk_fail_memory(t->err) : code < 0 ? damaged(t, "too many files") : 0;
}

int sim_state_take(struct simpool *p, struct sim_schema *s, const char *bytes, size_t count, struct xk_err *err)
{
    struct take t = {.pool = p, .schema = s, .r = xk_reader(bytes, count), .err = err};
    int code = 0;

    while (code == 0 && xk_left(&t.r) > 0) {
        switch (xk_u8(&t.r)) {
        case 'S':
            code = take_schema(&t);
            break;
        case 'O':
            code = take_object(&t);
            break;
        case 'G':
            code = take_gone(&t);
            break;
        case 'P':
            code = take_pool(&t);
            break;
        case 'I':
            code = take_identity(&t);
            break;
        case 'K':
            code = take_kept(&t);
            break;
        default:
            code = damaged(&t, "an entry of an unknown kind");
        }
    }
    if (code == 0 && t.r.bad)
        code = damaged(&t, "it ends early");
    return code;
}
