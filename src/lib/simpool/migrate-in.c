/*
 * Machines that come from another pool: POST /services/xenops with the document that migrate-away.c tells of.
 *
 * It comes from a program and is trusted no more than any other request. Everything is checked before the first object
 * is made, so that a machine comes whole or not at all.
 */
#include "lib/simpool/disk.h"
#include "lib/simpool/hosts.h"
#include "lib/simpool/migrate.h"
#include "lib/simpool/state.h"

#include <openssl/evp.h>
#include <string.h>

#define DOCUMENT_MEMORY_MAX (16u << 20)
#define OBJECTS_MAX         1024 /* of one document */

struct coming {
    struct simpool *p;
    struct xk_arena arena;
    struct xapi_value document;
    struct sim_object *host;
    struct sim_why why;
    struct {
        const char *ref;
        struct sim_object *made;
    } pairs[OBJECTS_MAX]; /* what the objects of the document are called there and here */
    size_t count;
    bool copy;
};

static const struct xapi_value *member(const struct xapi_value *v, const char *name)
{
    static const struct xapi_value none = {.shape = XAPI_LIST};
    const struct xapi_value *const found = xapi_map_get(v, name);

    return found ? found : &none;
}

static const char *word(const struct xapi_value *v, const char *name)
{
    return xapi_value_text(member(v, name));
}

static bool is_true(const struct xapi_value *v, const char *name)
{
    const struct xapi_value *const found = member(v, name);

    return found->shape == XAPI_BOOL && found->truth;
}

static size_t length(const struct xapi_value *list)
{
    return list->shape == XAPI_LIST ? list->count : 0;
}

/* ---- may it come? ---- */

static bool disk_fits(struct coming *m, const struct xapi_value *vdi)
{
    struct simpool *const p = m->p;
    const struct sim_object *const sr = sim_find(p, word(vdi, "to"), xapi_class_find("SR"));
    int64_t bytes = 0;

    if (!sr)
        return sim_deny(&m->why, "HANDLE_INVALID", "SR", word(vdi, "to"), NULL);
    if (!sim_host_sees_sr(p, m->host, sr->ref))
        return sim_deny(&m->why, "HOST_CANNOT_SEE_SR", m->host->ref, sr->ref, NULL);
    if (!sim_sr_has_feature(p, sr, "VDI_SNAPSHOT") || !sim_sr_has_feature(p, sr, "VDI_MIRROR"))
        return sim_deny(&m->why, "SR_DOES_NOT_SUPPORT_MIGRATION", sr->ref, "VDI_SNAPSHOT,VDI_MIRROR_IN", NULL);
    const struct xapi_value *const size = member(member(vdi, "record"), "physical_utilisation");
    if (size->shape == XAPI_INT)
        bytes = size->integer;
    else if (size->shape == XAPI_TEXT)
        (void)xk_parse_i64(&bytes, size->text);
    return sim_sr_has_room(sr, bytes, &m->why);
}

static bool machine_fits(struct coming *m, const struct xapi_value *vm)
{
    const struct xapi_value *const vdis = member(vm, "VDIs"), *const vifs = member(vm, "VIFs");
    const char *const uuid = word(member(vm, "record"), "uuid");
    const struct sim_object *const same = sim_find_uuid(m->p, uuid, xapi_class_find("VM"));

    if (same && !m->copy)
        return sim_deny(&m->why, "DUPLICATE_VM", same->ref, NULL);
    for (size_t i = 0; i < length(vdis); i++)
        if (!disk_fits(m, &vdis->items[i]))
            return false;
    for (size_t i = 0; i < length(vifs); i++)
        if (!sim_find(m->p, word(&vifs->items[i], "to"), xapi_class_find("network")))
            return sim_deny(&m->why, "HANDLE_INVALID", "network", word(&vifs->items[i], "to"), NULL);
    return true;
}

static int compare_versions(const char *a, const char *b)
{
    while (*a || *b) {
        char *a_end, *b_end;
        const unsigned long x = strtoul(a, &a_end, 10), y = strtoul(b, &b_end, 10);
        if (x != y)
            return x < y ? -1 : 1;
        a = *a_end == '.' ? a_end + 1 : "";
        b = *b_end == '.' ? b_end + 1 : "";
    }
    return 0;
}

static int64_t number(const struct xapi_value *record, const char *name)
{
    const struct xapi_value *const v = member(record, name);
    int64_t n = 0;

    if (v->shape == XAPI_INT)
        return v->integer;
    return v->shape == XAPI_TEXT && xk_parse_i64(&n, v->text) == 0 ? n : 0;
}

static bool is_live(const struct xapi_value *record)
{
    return sim_same(word(record, "power_state"), "Running") || sim_same(word(record, "power_state"), "Paused");
}

static bool fits(struct coming *m)
{
    const struct xapi_value *const vms = member(&m->document, "VMs");
    const struct xapi_value *const record = length(vms) ? member(&vms->items[0], "record") : NULL;

    m->host = sim_find(m->p, word(&m->document, "host"), xapi_class_find("host"));
    m->copy = is_true(&m->document, "copy");
    if (!record || !*word(record, "uuid"))
        return sim_deny(&m->why, "INTERNAL_ERROR", "no machine in the document", NULL);
    if (!m->host)
        return sim_deny(&m->why, "HANDLE_INVALID", "host", word(&m->document, "host"), NULL);
    const char *const version = sim_pair(m->host, "software_version", "platform_version");
    if (version && compare_versions(word(&m->document, "platform_version"), version) > 0)
        return sim_deny(&m->why, "VM_HOST_INCOMPATIBLE_VERSION_MIGRATE", word(&vms->items[0], "ref"), m->host->ref,
                        NULL);
    if (!sim_bool(m->host, "enabled"))
        return sim_deny(&m->why, "HOST_DISABLED", m->host->ref, NULL);
    if (!sim_host_is_live(m->p, m->host))
        return sim_deny(&m->why, "HOST_OFFLINE", m->host->ref, NULL);
    for (size_t i = 0; i < length(vms); i++)
        if (!machine_fits(m, &vms->items[i]))
            return false;
    const int64_t needed = number(record, "memory_target") + number(record, "memory_overhead"),
                  available = sim_host_memory_free(m->p, m->host);
    if (!is_live(record) || needed <= available)
        return true;
    snprintf(m->why.text[0], SIM_WHY_BYTES, "%lld", (long long)needed);
    snprintf(m->why.text[1], SIM_WHY_BYTES, "%lld", (long long)available);
    return sim_deny(&m->why, "HOST_NOT_ENOUGH_FREE_MEMORY", m->why.text[0], m->why.text[1], NULL);
}

/* ---- it comes ---- */

/* What the machine's own pool keeps of it, and what follows from other fields. */
static bool is_kept_out(const struct xapi_field *field)
{
    static const char *const out[] = {"uuid",
                                      "allowed_operations",
                                      "current_operations",
                                      "power_state",
                                      "blobs",
                                      "metrics",
                                      "guest_metrics",
                                      "domid",
                                      "resident_on",
                                      "affinity",
                                      "scheduled_to_be_resident_on",
                                      "SR",
                                      "network",
                                      "currently_attached",
                                      "suspend_VDI"};
    const struct xapi_type *const type = xapi_type_of(field->type);

    if (type->kind == XAPI_REF || field->other != XAPI_NONE)
        return true;
    for (size_t i = 0; i < XK_COUNT(out); i++)
        if (sim_same(xapi_text(field->name), out[i]))
            return true;
    return false;
}

/* An object like the document's; values that are of no such type are left at their defaults. NULL: no memory. */
static struct sim_object *make(struct coming *m, const char *kind, const struct xapi_value *from)
{
    const struct xapi_class *const row = xapi_class_find(kind);
    const struct xapi_value *const record = member(from, "record");
    struct sim_object *const o = m->count < OBJECTS_MAX ? sim_create(m->p, kind) : NULL;
    char wrong[256];

    if (!o)
        return NULL;
    for (unsigned i = 0; i < row->fields; i++) {
        const struct xapi_field *const field = &xapi_fields[row->first_field + i];
        const struct xapi_value *const given = xapi_map_get(record, xapi_text(field->name));
        struct xapi_value v;
        if (given && !is_kept_out(field) && xapi_cast(&v, &m->arena, field->type, given, wrong, sizeof(wrong)) == 0)
            sim_put_at(m->p, o, i, &v);
    }
    if (!m->copy && *word(record, "uuid") && !sim_find_uuid(m->p, word(record, "uuid"), row))
        sim_put_uuid(m->p, o, word(record, "uuid"));
    m->pairs[m->count].ref = word(from, "ref");
    m->pairs[m->count++].made = o;
    return o;
}

/* What an object of the document became. NULL: it is none of them. */
static struct sim_object *here(const struct coming *m, const char *ref)
{
    for (size_t i = 0; i < m->count; i++)
        if (sim_same(m->pairs[i].ref, ref))
            return m->pairs[i].made;
    return NULL;
}

static bool make_disk(struct coming *m, const struct xapi_value *from)
{
    struct simpool *const p = m->p;
    struct sim_object *const sr = sim_find(p, word(from, "to"), xapi_class_find("SR"));
    struct sim_object *const vdi = here(m, word(from, "ref")) ? NULL : make(m, "VDI", from);

    if (!vdi)
        return here(m, word(from, "ref")) != NULL; /* two devices have it */
    sim_put_text(p, vdi, "SR", sr->ref);
    sim_put_text(p, vdi, "location", sim_text(vdi, "uuid"));
    sim_put_bool(p, vdi, "managed", true);
    sim_put_int(p, sr, "virtual_allocation", sim_int(sr, "virtual_allocation") + sim_int(vdi, "virtual_size"));
    sim_sr_take(p, sr, sim_int(vdi, "physical_utilisation"));
    return true;
}

static bool make_devices(struct coming *m, const struct xapi_value *from, const struct sim_object *vm)
{
    struct simpool *const p = m->p;
    const struct xapi_value *const vdis = member(from, "VDIs"), *const vbds = member(from, "VBDs"),
                                   *const vifs = member(from, "VIFs");

    for (size_t i = 0; i < length(vdis); i++)
        if (!make_disk(m, &vdis->items[i]))
            return false;
    for (size_t i = 0; i < length(vbds); i++) {
        struct sim_object *const vbd = make(m, "VBD", &vbds->items[i]);
        const struct sim_object *const vdi = here(m, word(member(&vbds->items[i], "record"), "VDI"));
        if (!vbd)
            return false;
        sim_put_text(p, vbd, "VM", vm->ref);
        if (vdi)
            sim_put_text(p, vbd, "VDI", vdi->ref);
        else /* a drive whose disc stayed behind */
            sim_put_bool(p, vbd, "empty", true);
    }
    for (size_t i = 0; i < length(vifs); i++) {
        struct sim_object *const vif = make(m, "VIF", &vifs->items[i]);
        if (!vif)
            return false;
        sim_put_text(p, vif, "VM", vm->ref);
        sim_put_text(p, vif, "network", word(&vifs->items[i], "to"));
    }
    return true;
}

static struct sim_object *make_machine(struct coming *m, const struct xapi_value *from)
{
    struct simpool *const p = m->p;
    struct sim_object *const vm = make(m, "VM", from), *const metrics = vm ? sim_create(p, "VM_metrics") : NULL;

    if (!metrics)
        return NULL;
    sim_put_text(p, vm, "metrics", metrics->ref);
    sim_put_time(p, metrics, "install_time", sim_now_s(p));
    sim_put_text(p, vm, "power_state", "Halted");
    sim_put_int(p, vm, "domid", -1);
    return make_devices(m, from, vm) ? vm : NULL;
}

/* Snapshots belong to the machine, and their disks to its disks. */
static void relate(struct coming *m, struct sim_object *vm)
{
    const struct xapi_value *const vms = member(&m->document, "VMs");

    for (size_t i = 0; i < length(vms); i++) {
        const struct xapi_value *const vdis = member(&vms->items[i], "VDIs");
        struct sim_object *const snapshot = i ? here(m, word(&vms->items[i], "ref")) : NULL;
        if (snapshot)
            sim_put_text(m->p, snapshot, "snapshot_of", vm->ref);
        for (size_t j = 0; j < length(vdis); j++) {
            struct sim_object *const vdi = here(m, word(&vdis->items[j], "ref"));
            const struct sim_object *const of = here(m, word(member(&vdis->items[j], "record"), "snapshot_of"));
            if (vdi && of)
                sim_put_text(m->p, vdi, "snapshot_of", of->ref);
            if (vdi)
                sim_vdi_allowed(m->p, vdi);
        }
    }
}

/* It goes on as it was. */
static void go_on(struct coming *m, struct sim_object *vm, const struct xapi_value *record)
{
    struct simpool *const p = m->p;
    const struct sim_object *const image = here(m, word(record, "suspend_VDI"));
    char body[600];

    if (m->copy)
        return sim_vm_refresh(p, vm);
    if (is_live(record)) {
        sim_vm_arrive(p, vm, m->host, word(record, "power_state"));
        snprintf(body, sizeof(body),
                 "VM '%.200s' (uuid: %.36s) migrated from another pool to host '%.150s' (uuid: %.36s)",
                 sim_text(vm, "name_label"), sim_text(vm, "uuid"), sim_text(m->host, "name_label"),
                 sim_text(m->host, "uuid"));
        sim_message(p, "VM_MIGRATED", "VM", vm, body);
    } else if (image) {
        sim_put_text(p, vm, "suspend_VDI", image->ref);
        sim_put_text(p, vm, "power_state", "Suspended");
    }
    sim_vm_refresh(p, vm);
}

/* NULL: no memory, and nothing of it stays. */
static struct sim_object *take(struct coming *m)
{
    const struct xapi_value *const vms = member(&m->document, "VMs");
    struct sim_object *first = NULL;

    for (size_t i = 0; i < length(vms); i++) {
        struct sim_object *const vm = make_machine(m, &vms->items[i]);
        if (!vm) {
            while (m->count)
                sim_delete(m->p, m->pairs[--m->count].made);
            return NULL;
        }
        first = first ? first : vm;
    }
    relate(m, first);
    go_on(m, first, member(&vms->items[0], "record"));
    return first;
}

/* ---- the request ---- */

static void reply(struct http_exchange *x, const struct xapi_reply *what)
{
    const struct xapi_call call = {.protocol = XAPI_JSON2, .id = xapi_int(1)};
    struct xk_buf body = XK_BUF_INIT(1u << 20);

    xapi_reply_encode(&body, &call, what, false);
    http_reply(x, &(struct http_reply){.status = 200, .type = "application/json", .headers = ""}, &body);
}

static void refuse(struct http_exchange *x, struct coming *m)
{
    struct xapi_value texts[SIM_WHY_PARAMS + 1] = {xapi_str(m->why.code)};
    size_t count = 1;

    for (size_t i = 0; i < SIM_WHY_PARAMS && m->why.params[i]; i++)
        texts[count++] = xapi_str(m->why.params[i]);
    const struct xapi_reply wrong = {.failed = true, .value = xapi_list(texts, count)};
    reply(x, &wrong);
}

/* What came is called so here. */
static void reply_taken(struct http_exchange *x, struct coming *m, const struct sim_object *vm)
{
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&m->arena);
    struct xapi_value v;

    xapi_build_open(&b, XAPI_MAP);
    xapi_build_text(&b, "VM");
    xapi_build_text(&b, vm->ref);
    xapi_build_text(&b, "VDIs");
    xapi_build_open(&b, XAPI_MAP);
    for (size_t i = 0; i < m->count; i++)
        if (m->pairs[i].made->class_row == xapi_class_find("VDI")) {
            xapi_build_text(&b, m->pairs[i].ref);
            xapi_build_text(&b, m->pairs[i].made->ref);
        }
    xapi_build_close(&b);
    xapi_build_close(&b);
    if (xapi_build_end(&b, &v) < 0)
        http_refuse(x, 500);
    else
        reply(x, &(struct xapi_reply){.value = v});
}

static void undo(struct simpool *p, struct http_exchange *x, const char *ref)
{
    struct sim_object *const vm = sim_find(p, ref, xapi_class_find("VM"));

    if (vm)
        sim_migrate_forget(p, vm);
    reply(x, &(struct xapi_reply){.value = xapi_str("")});
}

void sim_migrate_bytes(struct simpool *p, struct http_exchange *x)
{
    size_t bytes;
    const char *const body = http_body(x, &bytes);
    struct xk_arena arena = XK_ARENA_INIT(DOCUMENT_MEMORY_MAX);
    struct xapi_value v;

    if (xapi_json_decode(&v, &arena, body, bytes, NULL) < 0 || v.shape != XAPI_MAP) {
        xk_arena_done(&arena);
        return http_refuse(x, 400);
    }
    struct sim_object *const vdi = sim_find(p, word(&v, "VDI"), xapi_class_find("VDI"));
    const int64_t start = number(&v, "start");
    const char *const text = word(&v, "data");
    const size_t len = strlen(text);
    uint8_t *const data = xk_arena_alloc(&arena, len + 4);
    int got = data && len % 4 == 0 && start >= 0 ? EVP_DecodeBlock(data, (const unsigned char *)text, (int)len) : -1;
    if (got > 0)
        got -= (text[len - 1] == '=') + (text[len - 2] == '=');
    if (vdi && got >= 0 && start <= sim_int(vdi, "virtual_size") - got &&
        sim_disk_write(p, vdi, data, (size_t)got, (uint64_t)start) == 0)
        reply(x, &(struct xapi_reply){.value = xapi_str("")});
    else
        http_refuse(x, 400);
    xk_arena_done(&arena);
}

void sim_migrate_in(struct simpool *p, struct http_exchange *x)
{
    size_t bytes;
    const char *const body = http_body(x, &bytes);
    xk_autofree struct coming *m = xk_zalloc(sizeof(*m));

    if (!m)
        return http_refuse(x, 500);
    m->p = p;
    m->arena = XK_ARENA_INIT(DOCUMENT_MEMORY_MAX);
    if (xapi_json_decode(&m->document, &m->arena, body, bytes, NULL) < 0 || m->document.shape != XAPI_MAP) {
        http_refuse(x, 400);
    } else if (*word(&m->document, "undo")) {
        undo(p, x, word(&m->document, "undo"));
    } else if (!fits(m)) {
        refuse(x, m);
    } else if (is_true(&m->document, "check")) {
        reply(x, &(struct xapi_reply){.value = xapi_str("")});
    } else {
        const struct sim_object *const vm = take(m);
        if (vm && sim_state_flush(p, NULL) == 0) {
            reply_taken(x, m, vm);
        } else {
            p->error = 0;
            http_refuse(x, 500);
        }
    }
    xk_arena_done(&m->arena);
}
