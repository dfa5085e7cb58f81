/*
 * Small readers and writers of objects, refusals, and the lists of allowed operations.
 *
 * The list that a mask of operations stands for is built once and shared by all objects that have it: ten thousand
 * machines know a handful of different ones, and setting an equal one again costs a comparison of pointers.
 */
#include "lib/simpool/ops.h"

#include "lib/simpool/hosts.h"

#include <assert.h>
#include <stdarg.h>

#define MESSAGES_MAX 10000
#define MASKS_MAX    1024 /* slots; a power of two */

struct sim_allowed {
    uint64_t mask;
    const struct xapi_class *class_row; /* NULL: free */
    struct xapi_packed *list;
};

/* ---- reading ---- */

bool sim_is(const struct sim_object *o, const char *field, const char *word)
{
    return sim_same(sim_text(o, field), word);
}

const char *sim_pair(const struct sim_object *o, const char *field, const char *key)
{
    return sim_option(sim_get(o, field), key);
}

bool sim_pair_is_true(const struct sim_object *o, const char *field, const char *key)
{
    const char *const text = sim_pair(o, field, key);

    return text && (sim_same(text, "1") || sim_same(text, "true"));
}

struct sim_object *sim_member(const struct simpool *p, const struct sim_object *o, const char *field, size_t *at)
{
    const struct xapi_value *const refs = sim_get(o, field);

    while (*at < refs->count) {
        struct sim_object *const member = sim_find(p, xapi_value_text(&refs->items[(*at)++]), NULL);
        if (member)
            return member;
    }
    return NULL;
}

bool sim_is_null(const char *ref)
{
    return *ref == '\0' || sim_same(ref, SIM_NULL);
}

struct sim_object *sim_arg_or_null(const struct sim_call *c, unsigned arg)
{
    const struct xapi_type *const type = xapi_type_of(xapi_params[c->message->first_param + arg].type);

    return sim_find(c->pool, sim_arg_text(c, arg), &xapi_classes[type->of]);
}

const char *sim_record_text(const struct xapi_value *record, const char *key)
{
    return xapi_value_text(xapi_map_get(record, key));
}

bool sim_record_true(const struct xapi_value *record, const char *key)
{
    const struct xapi_value *const v = xapi_map_get(record, key);

    return v && v->shape == XAPI_BOOL && v->truth;
}

const char *sim_option(const struct xapi_value *map, const char *key)
{
    const struct xapi_value *const v = xapi_map_get(map, key);

    return v ? xapi_value_text(v) : NULL;
}

struct sim_object *sim_pool_object(const struct simpool *p)
{
    return sim_first(p, "pool");
}

struct sim_object *sim_master(const struct simpool *p)
{
    return sim_follow(p, sim_pool_object(p), "master");
}

/* ---- changing ---- */

void sim_put_real(struct simpool *p, struct sim_object *o, const char *field, double v)
{
    sim_put(p, o, field, xapi_real(v));
}

void sim_put_pair(struct simpool *p, struct sim_object *o, const char *field, const char *key, const char *text)
{
    const unsigned place = xapi_field_place(o->class_row, field);

    if (text) {
        const struct xapi_value v = xapi_str(text);
        sim_map_set(p, o, place, key, &v);
    } else if (xapi_map_get(sim_get(o, field), key)) {
        sim_map_unset(p, o, place, key);
    }
}

void sim_delete_members(struct simpool *p, struct sim_object *o, const char *field)
{
    for (size_t at = 0; p->error == 0; at = 0) {
        struct sim_object *const member = sim_member(p, o, field, &at);
        if (!member)
            return;
        sim_delete(p, member);
    }
}

void sim_device_delete(struct simpool *p, struct sim_object *device)
{
    struct sim_object *const metrics = sim_follow(p, device, "metrics");

    sim_delete(p, device);
    if (metrics)
        sim_delete(p, metrics);
}

/* What a copy gets anew or not at all. */
static bool is_own_field(const struct xapi_field *field)
{
    static const char *const own[] = {"uuid",
                                      "current_operations",
                                      "allowed_operations",
                                      "guest_metrics",
                                      "metrics",
                                      "domid",
                                      "blobs",
                                      "is_default_template",
                                      "resident_on",
                                      "scheduled_to_be_resident_on"};

    if (field->other != XAPI_NONE)
        return true;
    for (size_t i = 0; i < XK_COUNT(own); i++)
        if (sim_same(xapi_text(field->name), own[i]))
            return true;
    return false;
}

struct sim_object *sim_copy(struct simpool *p, const struct sim_object *from)
{
    struct sim_object *const o = sim_create(p, xapi_text(from->class_row->name));

    for (unsigned i = 0; o && i < from->class_row->fields; i++)
        if (!is_own_field(&xapi_fields[from->class_row->first_field + i]))
            sim_put_at(p, o, i, &from->fields[i]->value);
    return o;
}

void sim_message(struct simpool *p, const char *name, const char *cls, const struct sim_object *about, const char *body)
{
    static const struct {
        const char *name;
        int64_t priority;
    } urgent[] = {{"VM_CRASHED", 2}, {"HOST_CLOCK_SKEW_DETECTED", 4}};
    struct sim_object *const o = sim_create(p, "message");
    int64_t priority = 5; /* information */

    if (!o)
        return;
    for (size_t i = 0; i < XK_COUNT(urgent); i++)
        priority = sim_same(name, urgent[i].name) ? urgent[i].priority : priority;
    sim_put_text(p, o, "name", name);
    sim_put_int(p, o, "priority", priority);
    sim_put_text(p, o, "cls", cls);
    sim_put_text(p, o, "obj_uuid", sim_text(about, "uuid"));
    sim_put_text(p, o, "body", body);
    sim_put_time(p, o, "timestamp", sim_now_s(p));
    if (p->classes[xapi_class_index(o->class_row)].count > MESSAGES_MAX)
        sim_delete(p, sim_first(p, "message"));
}

void sim_new_mac(struct simpool *p, char ret[24])
{
    uint8_t mac[6];

    xk_random_bytes(p->settings.random, mac, sizeof(mac));
    mac[0] = (uint8_t)((mac[0] & 0xfc) | 2); /* local, unicast */
    snprintf(ret, 24, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
}

/* ---- refusals ---- */

bool sim_deny(struct sim_why *why, const char *code, ...)
{
    va_list args;
    const char *text;
    size_t count = 0;

    if (!why)
        return false;
    why->code = code;
    va_start(args, code);
    while ((text = va_arg(args, const char *)) && count < SIM_WHY_PARAMS)
        why->params[count++] = text;
    va_end(args);
    if (count < SIM_WHY_PARAMS)
        why->params[count] = NULL;
    return false;
}

bool sim_question_first(struct sim_question *q, unsigned ops)
{
    const bool first = q->op && (q->may & ops & q->op);

    q->may &= ~ops;
    return first;
}

enum sim_outcome sim_refuse(struct sim_call *c, const struct sim_why *why)
{
    const char *params[SIM_WHY_PARAMS + 1] = {NULL};

    for (size_t i = 0; i < SIM_WHY_PARAMS && why->params[i]; i++)
        params[i] = why->params[i];
    return sim_fail(c, why->code, params[0], params[1], params[2], params[3], params[4], NULL);
}

bool sim_deny_busy(struct sim_why *why, const struct sim_object *o, size_t at)
{
    const struct xapi_value *const now = sim_get(o, "current_operations");

    return sim_deny(why, "OTHER_OPERATION_IN_PROGRESS", xapi_text(o->class_row->name), o->ref,
                    xapi_value_text(&now->items[2 * at + 1]), xapi_value_text(&now->items[2 * at]), NULL);
}

enum sim_outcome sim_invalid(struct sim_call *c, const char *what, const char *value)
{
    return sim_fail(c, "INVALID_VALUE", what, value, NULL);
}

enum sim_outcome sim_invalid_int(struct sim_call *c, const char *what, int64_t value)
{
    char text[24];

    snprintf(text, sizeof(text), "%lld", (long long)value);
    return sim_invalid(c, what, text);
}

enum sim_outcome sim_done_ref(struct sim_call *c, const struct sim_object *o)
{
    if (!o)
        return sim_no_memory(c);
    struct xapi_value v;
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&c->arena);
    xapi_build_text(&b, o->ref); /* copied: the reply may be made after the object is gone */
    if (xapi_build_end(&b, &v) < 0)
        return sim_no_memory(c);
    c->result = v;
    return SIM_DONE;
}

/* ---- allowed operations ---- */

static const struct xapi_enum *operations_of(const struct xapi_class *row, unsigned *ret_place)
{
    const unsigned place = xapi_field_place(row, "allowed_operations");

    if (place == XAPI_NONE)
        return NULL;
    *ret_place = place;
    const struct xapi_type *const set = xapi_type_of(xapi_fields[row->first_field + place].type);
    const struct xapi_type *const member = xapi_type_of(set->of);
    assert(set->kind == XAPI_SET && member->kind == XAPI_ENUM && xapi_enums[member->of].values <= 64);
    return &xapi_enums[member->of];
}

static struct xapi_packed *list_of(const struct xapi_enum *words, uint64_t mask)
{
    struct xapi_value items[64];
    size_t count = 0;

    /* Backwards, as the real server's lists come out. */
    for (unsigned i = words->values; i-- > 0;)
        if (mask >> i & 1)
            items[count++] = xapi_str(xapi_text(xapi_enum_values[words->first_value + i]));
    const struct xapi_value list = xapi_list(items, count);
    return xapi_pack(&list);
}

static struct sim_allowed *slot_of(struct simpool *p, const struct xapi_class *row, uint64_t mask)
{
    size_t at = (size_t)((mask * UINT64_C(0x9e3779b97f4a7c15)) >> 40) + xapi_class_index(row);

    for (size_t tries = 0; tries < 8; tries++, at++) {
        struct sim_allowed *const slot = &p->allowed[at % MASKS_MAX];
        if (!slot->class_row || (slot->class_row == row && slot->mask == mask))
            return slot;
    }
    return &p->allowed[at % MASKS_MAX]; /* its list goes */
}

void sim_put_allowed(struct simpool *p, struct sim_object *o, uint64_t mask)
{
    unsigned place;
    const struct xapi_enum *const words = operations_of(o->class_row, &place);

    assert(words);
    if (!p->allowed)
        p->allowed = xk_array_alloc(MASKS_MAX, sizeof(*p->allowed));
    if (!p->allowed) {
        p->error = -ENOMEM;
        return;
    }
    struct sim_allowed *const slot = slot_of(p, o->class_row, mask);
    if (!slot->class_row || slot->class_row != o->class_row || slot->mask != mask) {
        struct xapi_packed *const list = list_of(words, mask);
        if (!list) {
            p->error = -ENOMEM;
            return;
        }
        xapi_packed_unref(slot->list);
        *slot = (struct sim_allowed){.mask = mask, .class_row = o->class_row, .list = list};
    }
    sim_put_packed(p, o, place, slot->list);
}

void sim_allowed_close(struct simpool *p)
{
    for (size_t i = 0; p->allowed && i < MASKS_MAX; i++)
        xapi_packed_unref(p->allowed[i].list);
    free(p->allowed);
    p->allowed = NULL;
}

void sim_allowed(struct simpool *p, struct sim_object *o)
{
    static const struct {
        const char *class_name;
        void (*update)(struct simpool *p, struct sim_object *o);
    } rows[] = {{"VM", sim_vm_allowed},     {"VBD", sim_vbd_allowed},  {"VIF", sim_vif_allowed},
                {"VDI", sim_vdi_allowed},   {"SR", sim_sr_allowed},    {"VM_appliance", sim_appliance_allowed},
                {"host", sim_host_allowed}, {"pool", sim_pool_allowed}};

    for (size_t i = 0; i < XK_COUNT(rows); i++)
        if (sim_same(xapi_text(o->class_row->name), rows[i].class_name))
            rows[i].update(p, o);
}

void sim_vm_refresh(struct simpool *p, struct sim_object *vm)
{
    struct sim_object *device;

    for (size_t at = 0; (device = sim_member(p, vm, "VBDs", &at));) {
        struct sim_object *const vdi = sim_follow(p, device, "VDI");
        sim_vbd_allowed(p, device);
        if (vdi)
            sim_vdi_allowed(p, vdi);
    }
    for (size_t at = 0; (device = sim_member(p, vm, "VIFs", &at));)
        sim_vif_allowed(p, device);
    sim_vm_allowed(p, vm);
}

void sim_vm_allowed(struct simpool *p, struct sim_object *vm)
{
    struct sim_object *const appliance = sim_follow(p, vm, "appliance");
    struct sim_object *vtpm;

    sim_vm_allowed_only(p, vm);
    if (appliance)
        sim_appliance_allowed(p, appliance);
    for (size_t at = 0; (vtpm = sim_member(p, vm, "VTPMs", &at));)
        sim_put_allowed(p, vtpm, sim_vm_power(vm) == SIM_IS_HALTED);
}
