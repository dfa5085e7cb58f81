/*
 * Machines as files: GET /export and /export_metadata.
 *
 * An XVA is a tar archive whose first member, ova.xml, holds the records of a machine and of all that belongs to it.
 * References lead from one record of the archive to another, as Ref:N; what is not in it they leave out. Disks follow
 * in pieces of 1 MiB, each with its SHA-1 in the next member; pieces of zeros are left out but for a disk's first and
 * last one, and no disk of the pool has anything else.
 */
#include "lib/simpool/ops.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARCHIVE_BYTES_MAX (256u << 20)
#define PIECE_BYTES       (1u << 20)
#define TAR_BLOCK         512u
#define EXPORT_VERSION    2

struct export
{
    struct simpool *p;
    const struct sim_object **parts; /* sorted, once all are known: part number N is Ref:N */
    size_t count, capacity;
    int error;
    bool snapshots, power, metadata; /* what the archive tells of */
};

static const char *const classes[] = {"host",      "VM",       "VM_metrics", "VM_guest_metrics", "VBD",  "VIF",
                                      "network",   "VDI",      "SR",         "VGPU_type",        "VGPU", "GPU_group",
                                      "PVS_proxy", "PVS_site", "VTPM"};

/* ---- which objects ---- */

static void add(struct export *e, const struct sim_object *o)
{
    if (!o || e->error)
        return;
    if (e->count == e->capacity) {
        const size_t more = e->capacity ? 2 * e->capacity : 64;
        const struct sim_object **const parts = realloc(e->parts, more * sizeof(struct sim_object *));
        if (!parts) {
            e->error = -ENOMEM;
            return;
        }
        e->parts = parts;
        e->capacity = more;
    }
    e->parts[e->count++] = o;
}

static void add_disk(struct export *e, const struct sim_object *vdi)
{
    add(e, vdi);
    if (vdi)
        add(e, sim_follow(e->p, vdi, "SR"));
}

static void add_one(struct export *e, const struct sim_object *vm)
{
    static const char *const others[] = {"metrics", "guest_metrics", "resident_on", "affinity"};
    const struct simpool *const p = e->p;
    const struct sim_object *o;

    add(e, vm);
    for (size_t at = 0; (o = sim_member(p, vm, "VIFs", &at));) {
        add(e, o);
        add(e, sim_follow(p, o, "network"));
    }
    for (size_t at = 0; (o = sim_member(p, vm, "VBDs", &at));) {
        add(e, o);
        if (!sim_bool(o, "empty"))
            add_disk(e, sim_follow(p, o, "VDI"));
    }
    for (size_t at = 0; (o = sim_member(p, vm, "VGPUs", &at));) {
        add(e, o);
        add(e, sim_follow(p, o, "type"));
        add(e, sim_follow(p, o, "GPU_group"));
    }
    for (o = sim_first(p, "PVS_proxy"); o; o = o->class_next) {
        const struct sim_object *const vif = sim_follow(p, o, "VIF");
        if (!vif || !sim_is(vif, "VM", vm->ref))
            continue;
        add(e, o);
        add(e, sim_follow(p, o, "site"));
    }
    for (size_t at = 0; (o = sim_member(p, vm, "VTPMs", &at));)
        add(e, o);
    if (e->power && sim_vm_power(vm) == SIM_IS_SUSPENDED)
        add_disk(e, sim_follow(p, vm, "suspend_VDI"));
    for (size_t i = 0; i < XK_COUNT(others); i++)
        add(e, sim_follow(p, vm, others[i]));
}

static void add_machine(struct export *e, const struct sim_object *vm)
{
    const struct sim_object *o;

    add_one(e, vm);
    if (!e->snapshots)
        return;
    for (size_t at = 0; (o = sim_member(e->p, vm, "snapshots", &at));)
        add_one(e, o);
    o = sim_follow(e->p, vm, "parent");
    if (o)
        add_one(e, o);
}

static int compare(const void *a, const void *b)
{
    const struct sim_object *const *const left = a, *const *const right = b;
    const uintptr_t l = (uintptr_t)*left, r = (uintptr_t)*right;

    return l < r ? -1 : l > r;
}

static void sort(struct export *e)
{
    size_t kept = 0;

    if (e->count)
        qsort(e->parts, e->count, sizeof(*e->parts), compare);
    for (size_t i = 0; i < e->count; i++)
        if (i == 0 || e->parts[i] != e->parts[i - 1])
            e->parts[kept++] = e->parts[i];
    e->count = kept;
}

/* ---- records ---- */

/* The name that a part has in the archive; SIM_NULL for what is not in it. */
static const char *name_of(const struct export *e, struct xk_arena *a, const struct sim_object *o)
{
    const struct sim_object **const found =
        o && e->count ? bsearch(&o, e->parts, e->count, sizeof(*e->parts), compare) : NULL;
    const char *const name = found ? xk_arena_printf(a, "Ref:%zu", (size_t)(found - e->parts)) : NULL;

    return name ? name : SIM_NULL;
}

static bool is_ref(const struct xapi_value *v)
{
    return v->shape == XAPI_TEXT && strncmp(xapi_value_text(v), "OpaqueRef:", 10) == 0;
}

static struct xapi_value translated(const struct export *e, struct xk_arena *a, const struct xapi_value *v)
{
    if (is_ref(v))
        return xapi_str(name_of(e, a, sim_find(e->p, xapi_value_text(v), NULL)));
    if (v->shape != XAPI_LIST || v->count == 0)
        return *v;
    struct xapi_value *const items = xk_arena_alloc(a, v->count * sizeof(*items));
    size_t count = 0;
    for (size_t i = 0; items && i < v->count; i++) {
        items[count] = translated(e, a, &v->items[i]);
        if (!is_ref(&v->items[i]) || !sim_is_null(xapi_value_text(&items[count])))
            count++;
    }
    return items ? xapi_list(items, count) : xapi_list(NULL, 0);
}

static struct xapi_value emptied(const struct xapi_value *v)
{
    switch (v->shape) {
    case XAPI_LIST:
        return xapi_list(NULL, 0);
    case XAPI_MAP:
        return xapi_map(NULL, 0);
    case XAPI_BOOL:
        return xapi_bool(false);
    default:
        return xapi_str(is_ref(v) ? SIM_NULL : "");
    }
}

static bool is_among(const char *word, const char *words)
{
    const size_t len = strlen(word);

    for (const char *at = words; (at = strstr(at, word)); at += len)
        if ((at == words || at[-1] == ' ') && (at[len] == ' ' || at[len] == '\0'))
            return true;
    return false;
}

/* What is not told of an object elsewhere. */
static bool is_left_out(const struct export *e, const char *class, const char *field)
{
    if (is_among(field, "allowed_operations current_operations blobs crash_dumps protection_policy"))
        return true;
    if (sim_same(class, "host"))
        return is_among(field, "license_params external_auth_type external_auth_service_name "
                               "external_auth_configuration logging supported_bootloaders cpu_configuration "
                               "other_config capabilities software_version sched_policy ha_statefiles "
                               "ha_network_peers tags");
    if (sim_same(class, "VM") && !e->snapshots)
        return is_among(field, "is_a_snapshot snapshot_of snapshots transportable_snapshot_id parent");
    return !e->power && sim_same(field, "currently_attached");
}

static struct xapi_value field_value(const struct export *e, struct xk_arena *a, const struct sim_object *o,
                                     const char *class, const char *field)
{
    const struct xapi_value *const v = sim_get(o, field);

    if (is_left_out(e, class, field))
        return emptied(v);
    if (!e->power && sim_same(class, "VM") && sim_same(field, "power_state"))
        return xapi_str("Halted");
    return translated(e, a, v);
}

static void write_object(struct export *e, struct xk_buf *xml, const struct sim_object *o)
{
    struct xk_arena arena = XK_ARENA_INIT(SIM_CALL_BYTES_MAX);
    const struct xapi_class *const row = o->class_row;
    const char *const class = xapi_text(row->name);
    struct xapi_value *const items = xk_arena_alloc(&arena, 2 * (size_t)row->fields * sizeof(*items));
    size_t count = 0;

    if (!items)
        e->error = -ENOMEM;
    for (unsigned i = 0; items && i < row->fields; i++) {
        const struct xapi_field *const field = &xapi_fields[row->first_field + i];
        if (field->internal)
            continue;
        items[2 * count] = xapi_str(xapi_text(field->name));
        items[2 * count++ + 1] = field_value(e, &arena, o, class, xapi_text(field->name));
    }
    const struct xapi_value pairs[] = {xapi_str("class"),    xapi_str(class),
                                       xapi_str("id"),       xapi_str(name_of(e, &arena, o)),
                                       xapi_str("snapshot"), xapi_map(items, count)};
    const struct xapi_value object = xapi_map(pairs, 3);
    if (items)
        xapi_xml_value(xml, &object);
    xk_arena_done(&arena);
}

static const char *about(const struct sim_object *host, const char *key)
{
    const char *const text = host ? sim_pair(host, "software_version", key) : NULL;

    return text ? text : "";
}

static void write_records(struct export *e, struct xk_buf *xml)
{
    const struct sim_object *const host = sim_master(e->p);
    const struct xapi_value pairs[] = {xapi_str("hostname"),
                                       xapi_str(about(host, "hostname")),
                                       xapi_str("date"),
                                       xapi_str(about(host, "date")),
                                       xapi_str("product_version"),
                                       xapi_str(about(host, "product_version")),
                                       xapi_str("product_brand"),
                                       xapi_str(about(host, "product_brand")),
                                       xapi_str("build_number"),
                                       xapi_str(about(host, "build_number")),
                                       xapi_str("xapi_major"),
                                       xapi_int(1),
                                       xapi_str("xapi_minor"),
                                       xapi_int(3),
                                       xapi_str("export_vsn"),
                                       xapi_int(EXPORT_VERSION)};
    const struct xapi_value version = xapi_map(pairs, XK_COUNT(pairs) / 2);

    xk_buf_add_str(xml, "<value><struct><member><name>version</name>");
    xapi_xml_value(xml, &version);
    xk_buf_add_str(xml, "</member><member><name>objects</name><value><array><data>");
    for (size_t i = 0; i < XK_COUNT(classes); i++) {
        const struct xapi_class *const row = xapi_class_find(classes[i]);
        for (size_t j = 0; j < e->count; j++)
            if (e->parts[j]->class_row == row)
                write_object(e, xml, e->parts[j]);
    }
    xk_buf_add_str(xml, "</data></array></value></member></struct></value>");
}

/* ---- the archive ---- */

static void write_member(struct export *e, struct xk_buf *tar, const char *name, const void *bytes, size_t size)
{
    struct {
        char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], sum[8], type, link[100], magic[6], version[2],
            user[32], group[32], major[8], minor[8], prefix[155], rest[12];
    } header = {.type = '0', .magic = "ustar", .version = {'0', '0'}};
    unsigned sum = 0;

    _Static_assert(sizeof(header) == TAR_BLOCK, "a header is a block");
    snprintf(header.name, sizeof(header.name), "%s", name);
    snprintf(header.mode, sizeof(header.mode), "%07o", 0400);
    snprintf(header.uid, sizeof(header.uid), "%07o", 0);
    snprintf(header.gid, sizeof(header.gid), "%07o", 0);
    snprintf(header.size, sizeof(header.size), "%011zo", size);
    snprintf(header.mtime, sizeof(header.mtime), "%011llo", (unsigned long long)sim_now_s(e->p) & 077777777777);
    memset(header.sum, ' ', sizeof(header.sum));
    for (size_t i = 0; i < sizeof(header); i++)
        sum += ((const unsigned char *)&header)[i];
    snprintf(header.sum, sizeof(header.sum), "%06o", sum & 0777777);
    xk_buf_add(tar, &header, sizeof(header));
    xk_buf_add(tar, bytes, size);
    xk_buf_add_repeat(tar, '\0', (TAR_BLOCK - size % TAR_BLOCK) % TAR_BLOCK);
}

static void write_piece(struct export *e, struct xk_buf *tar, const char *disk, int64_t number, size_t size)
{
    void *const zeros = calloc(1, size);
    unsigned char sum[EVP_MAX_MD_SIZE];
    char name[100], text[2 * EVP_MAX_MD_SIZE + 1];
    unsigned bytes = 0;

    if (!zeros || !EVP_Digest(zeros, size, sum, &bytes, EVP_sha1(), NULL))
        e->error = -ENOMEM;
    for (unsigned i = 0; i < bytes; i++)
        snprintf(text + 2 * (size_t)i, 3, "%02x", sum[i]);
    if (!e->error) {
        snprintf(name, sizeof(name), "%.40s/%08lld", disk, (long long)number);
        write_member(e, tar, name, zeros, size);
        snprintf(name, sizeof(name), "%.40s/%08lld.checksum", disk, (long long)number);
        write_member(e, tar, name, text, strlen(text));
    }
    free(zeros);
}

static void write_disk(struct export *e, struct xk_buf *tar, const struct sim_object *vdi)
{
    struct xk_arena arena = XK_ARENA_INIT(TAR_BLOCK);
    const char *const name = name_of(e, &arena, vdi);
    const int64_t size = sim_int(vdi, "virtual_size"), last = (size - 1) / PIECE_BYTES;

    if (size > 0)
        write_piece(e, tar, name, 0, (size_t)XK_MIN(size, (int64_t)PIECE_BYTES));
    if (last > 0)
        write_piece(e, tar, name, last, (size_t)(size - last * PIECE_BYTES));
    xk_arena_done(&arena);
}

static void write_disks(struct export *e, struct xk_buf *tar, const struct sim_object *vm)
{
    const struct sim_object *vbd;

    for (size_t at = 0; (vbd = sim_member(e->p, vm, "VBDs", &at));) {
        const struct sim_object *const vdi =
            sim_is(vbd, "type", "CD") || sim_bool(vbd, "empty") ? NULL : sim_follow(e->p, vbd, "VDI");
        const struct sim_object *const sr = vdi ? sim_follow(e->p, vdi, "SR") : NULL;
        if (sr && !sim_is(sr, "content_type", "iso"))
            write_disk(e, tar, vdi);
    }
    const struct sim_object *const image =
        e->power && sim_vm_power(vm) == SIM_IS_SUSPENDED ? sim_follow(e->p, vm, "suspend_VDI") : NULL;
    if (image)
        write_disk(e, tar, image);
}

/* ---- requests ---- */

static bool says(const struct http_exchange *x, const char *name, bool otherwise)
{
    char word[16];

    return sim_http_param(x, name, word, sizeof(word)) ? sim_same(word, "true") : otherwise;
}

/* The task that a client made for the transfer ends with it. */
static void end(struct simpool *p, const struct http_exchange *x, const struct sim_why *why)
{
    char ref[SIM_REF_BYTES];
    struct sim_object *const task =
        sim_http_param(x, "task_id", ref, sizeof(ref)) ? sim_find(p, ref, xapi_class_find("task")) : NULL;
    const char *words[SIM_WHY_PARAMS + 2] = {why ? why->code : NULL};

    if (!task || sim_task_is_over(task))
        return;
    for (size_t i = 0; why && i < SIM_WHY_PARAMS && why->params[i]; i++)
        words[i + 1] = why->params[i];
    sim_put_list(p, task, "error_info", words);
    sim_put_list(p, task, "allowed_operations", words + SIM_WHY_PARAMS + 1);
    sim_put_real(p, task, "progress", 1);
    sim_put_time(p, task, "finished", sim_now_s(p));
    sim_put_text(p, task, "status", why ? "failure" : "success");
}

static void fail(struct simpool *p, struct http_exchange *x, const struct sim_why *why)
{
    end(p, x, why);
    http_refuse(x, 500);
}

/* The machine of the request. NULL: answered. */
static const struct sim_object *machine_of(struct simpool *p, struct http_exchange *x)
{
    const struct xapi_class *const row = xapi_class_find("VM");
    const struct sim_object *vm;
    char word[SIM_REF_BYTES];
    struct sim_why why;

    if (sim_http_param(x, "ref", word, sizeof(word))) {
        vm = sim_find(p, word, row);
        if (!vm)
            (void)sim_deny(&why, "HANDLE_INVALID", "VM", word, NULL);
    } else {
        vm = sim_http_param(x, "uuid", word, sizeof(word)) ? sim_find_uuid(p, word, row) : NULL;
        if (!vm)
            (void)sim_deny(&why, "UUID_INVALID", "VM", word, NULL);
    }
    if (!vm)
        fail(p, x, &why);
    return vm;
}

static void reply(struct export *e, struct http_exchange *x, const struct sim_object *vm)
{
    struct xk_buf xml = XK_BUF_INIT(ARCHIVE_BYTES_MAX), tar = XK_BUF_INIT(ARCHIVE_BYTES_MAX);

    sort(e);
    write_records(e, &xml);
    write_member(e, &tar, "ova.xml", xk_buf_str(&xml), xml.len);
    if (!e->metadata)
        write_disks(e, &tar, vm);
    xk_buf_add_repeat(&tar, '\0', 2 * (size_t)TAR_BLOCK);
    if (xml.error || tar.error || e->error) {
        struct sim_why why;
        (void)sim_deny(&why, "INTERNAL_ERROR", "the archive does not fit", NULL);
        fail(e->p, x, &why);
    } else {
        const struct http_reply head = {.status = 200,
                                        .type = "application/octet-stream",
                                        .headers = "Content-Disposition: attachment; filename=\"export.xva\"\r\n",
                                        .close = true};
        end(e->p, x, NULL);
        http_reply(x, &head, &tar);
    }
    xk_buf_done(&xml);
    xk_buf_done(&tar);
    free(e->parts);
}

static bool is_default_template(const struct sim_object *vm)
{
    return sim_bool(vm, "is_default_template") ||
           (sim_bool(vm, "is_a_template") && sim_pair_is_true(vm, "other_config", "default_template"));
}

void sim_export_metadata(struct simpool *p, struct http_exchange *x)
{
    struct export e = {.p = p, .power = true, .metadata = true, .snapshots = says(x, "export_snapshots", true)};
    const bool all = says(x, "all", false), with_dom0 = says(x, "include_dom0", true);
    const struct sim_object *const one = all ? NULL : machine_of(p, x);
    const char *code = NULL;
    struct sim_why why;

    if (!all && !one)
        return;
    for (const struct sim_object *vm = all ? sim_first(p, "VM") : one; vm && !code; vm = all ? vm->class_next : NULL) {
        if (all && (is_default_template(vm) || (!with_dom0 && sim_vm_is_dom0(vm))))
            continue;
        if (!sim_vm_may(p, vm, "metadata_export", true, &why))
            code = why.code;
        add_machine(&e, vm);
    }
    if (!code)
        return reply(&e, x, NULL);
    free(e.parts);
    fail(p, x, &why);
}

void sim_export(struct simpool *p, struct http_exchange *x)
{
    struct export e = {.p = p, .power = says(x, "preserve_power_state", false)};
    const struct sim_object *const vm = machine_of(p, x);
    char word[16];
    struct sim_why why;

    if (!vm)
        return;
    if (!sim_vm_may(p, vm, "export", true, &why))
        return fail(p, x, &why);
    if (sim_http_param(x, "use_compression", word, sizeof(word)) && !sim_same(word, "false")) {
        (void)sim_deny(&why, "NOT_IMPLEMENTED", "export with use_compression", NULL);
        return fail(p, x, &why);
    }
    add_machine(&e, vm);
    reply(&e, x, vm);
}

/* Machines come in by VM.create and VBD.create: archives are not read. */
void sim_import(struct simpool *p, struct http_exchange *x)
{
    struct sim_why why;

    (void)sim_deny(&why, "NOT_IMPLEMENTED", http_path(x) + 1, NULL);
    end(p, x, &why);
    http_refuse(x, 501);
}
