/*
 * Machines as files: GET /export and /export_metadata.
 *
 * The records of a machine and of all that belongs to it become ova.xml, at once; references lead from one record of
 * the archive to another, as Ref:N; what is not in it they leave out. Disks follow a piece at a time, as the client
 * takes them: pieces of zeros are left out but for a disk's first and last one.
 */
#include "lib/simpool/disk.h"
#include "lib/simpool/import.h"
#include "lib/simpool/transfer.h"

#include "core/bytes.h"
#include "lib/xva/xva.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define ARCHIVE_BYTES_MAX (256u << 20)
#define CHAIN_MAX         64u /* images in a chain */
#define EXPORT_VERSION    2
#define ERA_XXHASH        6 /* place in simpool_eras of the first that writes them */

struct disk {
    char ref[SIM_REF_BYTES], name[SIM_REF_BYTES];
    uint64_t bytes, at; /* at: where the next piece may begin */
};

/* What an archive of records can do without, by the names that a request has for it. */
enum device { DEVICE_VBD, DEVICE_VIF, DEVICE_VGPU, DEVICE_VTPM, DEVICES };
static const char *const device_names[DEVICES] = {"vbd", "vif", "vgpu", "vtpm"};

struct export
{
    struct sim_transfer t;
    struct simpool *p;
    const struct sim_object **parts; /* sorted, once all are known: part number N is Ref:N */
    size_t count, capacity;
    int error;
    bool snapshots, power, metadata, parents; /* what the archive tells of */
    bool without[DEVICES];                    /* by enum device */
    char vm[SIM_REF_BYTES];
    struct disk *disks;
    size_t disk_count, disk;
    struct xva_pack *pack;
    struct xk_buf tar; /* made, not packed yet */
    uint8_t piece[XVA_PIECE_BYTES];
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

/* With what it lies on, when that is asked for; a chain that runs in a circle ends. */
static void add_disk(struct export *e, const struct sim_object *vdi)
{
    for (unsigned depth = 0; vdi && depth < CHAIN_MAX; depth++) {
        const char *const parent = e->parents ? sim_pair(vdi, "sm_config", "vhd-parent") : NULL;
        add(e, vdi);
        add(e, sim_follow(e->p, vdi, "SR"));
        vdi = parent ? sim_find_uuid(e->p, parent, vdi->class_row) : NULL;
    }
}

static void add_one(struct export *e, const struct sim_object *vm)
{
    static const char *const others[] = {"metrics", "guest_metrics", "resident_on", "affinity"};
    const struct simpool *const p = e->p;
    const struct sim_object *o;

    add(e, vm);
    for (size_t at = 0; !e->without[DEVICE_VIF] && (o = sim_member(p, vm, "VIFs", &at));) {
        add(e, o);
        add(e, sim_follow(p, o, "network"));
    }
    for (size_t at = 0; !e->without[DEVICE_VBD] && (o = sim_member(p, vm, "VBDs", &at));) {
        add(e, o);
        if (!sim_bool(o, "empty"))
            add_disk(e, sim_follow(p, o, "VDI"));
    }
    for (size_t at = 0; !e->without[DEVICE_VGPU] && (o = sim_member(p, vm, "VGPUs", &at));) {
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
    for (size_t at = 0; !e->without[DEVICE_VTPM] && (o = sim_member(p, vm, "VTPMs", &at));)
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

static void write_member(const struct simpool *p, struct xk_buf *tar, const char *name, const void *bytes, size_t size)
{
    uint8_t head[XVA_BLOCK];

    xva_tar_head(head, name, size, sim_now_s(p));
    xk_buf_add(tar, head, sizeof(head));
    xk_buf_add(tar, bytes, size);
    xk_buf_add_repeat(tar, '\0', xva_tar_padding(size));
}

void sim_tar_end(struct xk_buf *tar)
{
    xk_buf_add_repeat(tar, '\0', 2 * (size_t)XVA_BLOCK);
}

int sim_tar_piece(struct xk_buf *tar, const struct simpool *p, const char *folder, uint64_t number, const void *bytes,
                  size_t count)
{
    const enum xva_sum kind = p->settings.era >= ERA_XXHASH ? XVA_XXHASH : XVA_SHA1;
    char name[SIM_REF_BYTES + 32], text[XVA_SUM_TEXT];
    const int code = xva_sum_text(text, kind, bytes, count);

    if (code < 0)
        return code;
    snprintf(name, sizeof(name), "%s/%08llu", folder, (unsigned long long)number);
    write_member(p, tar, name, bytes, count);
    snprintf(name, sizeof(name), "%s/%08llu%s", folder, (unsigned long long)number, xva_sum_suffixes[kind]);
    write_member(p, tar, name, text, strlen(text));
    return tar->error;
}

static int write_piece(struct export *e, const struct disk *disk, const struct sim_object *vdi, uint64_t number)
{
    const uint64_t start = number * XVA_PIECE_BYTES;
    const size_t bytes = (size_t)XK_MIN(disk->bytes - start, (uint64_t)XVA_PIECE_BYTES);
    const int code = sim_disk_read(e->p, vdi, e->piece, bytes, start);

    if (code == 0 && number > 0 && start + bytes < disk->bytes && xk_is_zero(e->piece, bytes))
        return 0;
    return code < 0 ? code : sim_tar_piece(&e->tar, e->p, disk->name, number, e->piece, bytes);
}

/* The number of the next piece that has to be written. returns   false: the disk is done. */
static bool next_piece(const struct export *e, const struct disk *disk, const struct sim_object *vdi, uint64_t *ret)
{
    uint64_t start, end;

    if (disk->at >= disk->bytes)
        return false;
    const uint64_t last = (disk->bytes - 1) / XVA_PIECE_BYTES, at = disk->at / XVA_PIECE_BYTES;
    const bool more = sim_disk_next(e->p, vdi, disk->at, &start, &end);
    *ret = at == 0 || !more ? at == 0 ? 0 : last : XK_MIN(start / XVA_PIECE_BYTES, last);
    return true;
}

static void add_export_disk(struct export *e, const struct sim_object *vdi, struct xk_arena *arena)
{
    struct disk *const disk = &e->disks[e->disk_count++];

    memcpy(disk->ref, vdi->ref, sizeof(disk->ref));
    snprintf(disk->name, sizeof(disk->name), "%s", name_of(e, arena, vdi));
    disk->bytes = (uint64_t)XK_MAX(sim_int(vdi, "virtual_size"), INT64_C(0));
    e->t.total += disk->bytes;
}

static int compare_disks(const void *a, const void *b)
{
    return strcmp(((const struct disk *)a)->name, ((const struct disk *)b)->name);
}

/* Those of the machine's drives, and its memory, in the order of their names. */
static bool find_disks(struct export *e, const struct sim_object *vm)
{
    struct xk_arena arena = XK_ARENA_INIT(1u << 20);
    const struct sim_object *vbd;

    e->disks = xk_array_alloc(sim_get(vm, "VBDs")->count + 1, sizeof(*e->disks));
    if (!e->disks)
        return false;
    for (size_t at = 0; (vbd = sim_member(e->p, vm, "VBDs", &at));) {
        const struct sim_object *const vdi =
            sim_is(vbd, "type", "CD") || sim_bool(vbd, "empty") ? NULL : sim_follow(e->p, vbd, "VDI");
        const struct sim_object *const sr = vdi ? sim_follow(e->p, vdi, "SR") : NULL;
        if (sr && !sim_is(sr, "content_type", "iso"))
            add_export_disk(e, vdi, &arena);
    }
    const struct sim_object *const image =
        e->power && sim_vm_power(vm) == SIM_IS_SUSPENDED ? sim_follow(e->p, vm, "suspend_VDI") : NULL;
    if (image)
        add_export_disk(e, image, &arena);
    qsort(e->disks, e->disk_count, sizeof(*e->disks), compare_disks);
    xk_arena_done(&arena);
    return true;
}

/* ---- sending ---- */

static enum sim_transfer_step broken(struct export *e, const char *code, const char *text, const char *ref)
{
    struct sim_error error;

    sim_error_set(&error, code, text, ref, NULL);
    return sim_transfer_fail(&e->t, &error);
}

/* What was made goes out, packed as the request wants it. */
static enum sim_transfer_step send_made(struct export *e, bool last)
{
    struct xk_buf out = XK_BUF_INIT(2 * XVA_PIECE_MAX);
    const int code = e->tar.error ? e->tar.error : xva_pack_add(e->pack, &out, xk_buf_str(&e->tar), e->tar.len, last);
    enum sim_transfer_step step;

    xk_buf_reset(&e->tar);
    if (code < 0)
        step = broken(e, "INTERNAL_ERROR", "Out_of_memory", NULL);
    else
        step = sim_transfer_write(&e->t, xk_buf_str(&out), out.len);
    if (step == SIM_TRANSFER_MORE && out.len == 0)
        step = SIM_TRANSFER_AGAIN;
    xk_buf_done(&out);
    return step;
}

static enum sim_transfer_step on_room(struct sim_transfer *t)
{
    struct export *const e = (struct export *)t;

    while (e->disk < e->disk_count && e->tar.len == 0) {
        struct disk *const disk = &e->disks[e->disk];
        const struct sim_object *const vdi = sim_find(e->p, disk->ref, xapi_class_find("VDI"));
        uint64_t number;
        if (!vdi)
            return broken(e, "HANDLE_INVALID", "VDI", disk->ref);
        if (!next_piece(e, disk, vdi, &number)) {
            e->disk++;
            continue;
        }
        if (write_piece(e, disk, vdi, number) < 0)
            return broken(e, "VDI_IO_ERROR", "Device I/O errors", NULL);
        const uint64_t next = XK_MIN((number + 1) * XVA_PIECE_BYTES, disk->bytes);
        sim_transfer_progress(&e->t, next - disk->at);
        disk->at = next;
    }
    if (e->tar.len > 0)
        return send_made(e, false);
    sim_tar_end(&e->tar);
    const enum sim_transfer_step step = send_made(e, true);
    return step == SIM_TRANSFER_OVER ? step : sim_transfer_succeed(&e->t, NULL);
}

static void name_operation(struct export *e, bool on)
{
    struct sim_object *const vm = sim_find(e->p, e->vm, xapi_class_find("VM"));
    const struct xapi_value operation = xapi_str("export");

    if (!vm)
        return;
    sim_map_set(e->p, vm, xapi_field_place(vm->class_row, "current_operations"), e->t.task, on ? &operation : NULL);
    sim_vm_allowed(e->p, vm);
}

static void on_free(struct sim_transfer *t)
{
    struct export *const e = (struct export *)t;

    name_operation(e, false);
    xva_pack_free(e->pack);
    xk_buf_done(&e->tar);
    free(e->disks);
    free(e->parts);
    free(e);
}

static const struct sim_transfer_kind export_kind = {.label = "VM.export", .send = on_room, .free = on_free};
static const struct sim_transfer_kind records_kind = {.label = "VM.export_metadata", .send = on_room, .free = on_free};

int sim_export_records(struct simpool *p, const struct sim_object *const *vms, size_t count, struct xk_buf *ret)
{
    struct export *const e = xk_zalloc(sizeof(*e));

    if (!e)
        return -ENOMEM;
    e->p = p;
    e->power = e->metadata = e->snapshots = true;
    for (size_t i = 0; i < count; i++)
        add_machine(e, vms[i]);
    sort(e);
    write_records(e, ret);
    const int code = e->error ? e->error : ret->error;
    free(e->parts);
    free(e);
    return code;
}

/* ---- requests ---- */

/* The machine of the request. NULL: answered. */
static const struct sim_object *machine_of(struct simpool *p, struct http_exchange *x)
{
    struct sim_object *vm;
    struct sim_error error;

    if (sim_request_object(&vm, p, x, "VM", "ref", "uuid", &error) == -ENOENT)
        sim_error_set(&error, "UUID_INVALID", "VM", "", NULL);
    if (!vm)
        sim_request_fail(p, x, 500, &error);
    return vm;
}

static void refuse(struct export *e, const struct sim_why *why)
{
    struct sim_error error = {0};

    sim_error_set(&error, why->code, why->params[0], why->params[0] ? why->params[1] : NULL,
                  why->params[0] && why->params[1] ? why->params[2] : NULL,
                  why->params[0] && why->params[1] && why->params[2] ? why->params[3] : NULL, NULL);
    sim_transfer_refuse(&e->t, 500, &error);
}

/* NULL: answered. */
static struct export *export_new(struct simpool *p, struct http_exchange *x, const struct sim_transfer_kind *kind)
{
    struct export *const e = xk_zalloc(sizeof(*e));

    if (!e) {
        http_refuse(x, 500);
        return NULL;
    }
    e->p = p;
    e->tar = XK_BUF_INIT(ARCHIVE_BYTES_MAX);
    return sim_transfer_begin(&e->t, p, x, kind) ? e : NULL;
}

/* The records are made, and all is known that can go wrong before the first byte. */
static void start(struct export *e, enum xva_packing packing, const struct sim_object *vm)
{
    struct xk_buf xml = XK_BUF_INIT(ARCHIVE_BYTES_MAX);
    struct sim_why why;

    sort(e);
    write_records(e, &xml);
    write_member(e->p, &e->tar, XVA_METADATA_NAME, xk_buf_str(&xml), xml.len);
    e->pack = xva_pack_new(packing);
    const bool good = !xml.error && !e->tar.error && !e->error && e->pack && (!vm || find_disks(e, vm));
    xk_buf_done(&xml);
    if (!good) {
        (void)sim_deny(&why, "INTERNAL_ERROR", "the archive does not fit", NULL);
        return refuse(e, &why);
    }
    if (vm) {
        memcpy(e->vm, vm->ref, sizeof(e->vm));
        name_operation(e, true);
        sim_transfer_cancellable(&e->t, true);
    }
    (void)sim_transfer_accept(&e->t, "application/octet-stream",
                              "Content-Disposition: attachment; filename=\"export.xva\"\r\n");
}

static bool is_default_template(const struct sim_object *vm)
{
    return sim_bool(vm, "is_default_template") ||
           (sim_bool(vm, "is_a_template") && sim_pair_is_true(vm, "other_config", "default_template"));
}

/* excluded_device_types: names with commas between. returns whether all of them are known. */
static bool leave_out(struct export *e, const struct http_exchange *x)
{
    char list[128], *rest = list;

    if (!sim_http_param(x, "excluded_device_types", list, sizeof(list)))
        return true;
    for (const char *word; (word = strsep(&rest, ","));) {
        enum device d = 0;
        while (d < DEVICES && strcasecmp(word, device_names[d]) != 0)
            d++;
        if (d == DEVICES && *word)
            return false;
        if (d < DEVICES)
            e->without[d] = true;
    }
    return true;
}

void sim_export_metadata(struct simpool *p, struct http_exchange *x)
{
    const bool all = sim_request_says(x, "all", false), with_dom0 = sim_request_says(x, "include_dom0", true);
    const struct sim_object *const one = all ? NULL : machine_of(p, x);
    struct sim_why why;

    if (!all && !one)
        return;
    struct export *const e = export_new(p, x, &records_kind);
    if (!e)
        return;
    e->power = e->metadata = true;
    e->snapshots = sim_request_says(x, "export_snapshots", true);
    e->parents = sim_request_says(x, "include_vhd_parents", false);
    if (!leave_out(e, x)) {
        (void)sim_deny(&why, "INTERNAL_ERROR", "excluded_device_types names no type of device: vbd, vif, vgpu, vtpm do",
                       NULL);
        return refuse(e, &why);
    }
    for (const struct sim_object *vm = all ? sim_first(p, "VM") : one; vm; vm = all ? vm->class_next : NULL) {
        if (all && (is_default_template(vm) || (!with_dom0 && sim_vm_is_dom0(vm))))
            continue;
        if (!sim_vm_may(p, vm, "metadata_export", true, &why))
            return refuse(e, &why);
        add_machine(e, vm);
    }
    start(e, XVA_PLAIN, NULL);
}

static enum xva_packing packing_of(const struct http_exchange *x)
{
    char word[16];

    (void)sim_http_param(x, "use_compression", word, sizeof(word));
    return sim_same(word, "true") || sim_same(word, "gzip") ? XVA_GZIP : sim_same(word, "zstd") ? XVA_ZSTD : XVA_PLAIN;
}

void sim_export(struct simpool *p, struct http_exchange *x)
{
    const struct sim_object *const vm = machine_of(p, x);
    struct sim_why why;

    if (!vm)
        return;
    struct export *const e = export_new(p, x, &export_kind);
    if (!e)
        return;
    e->power = sim_request_says(x, "preserve_power_state", false);
    sim_transfer_progress(&e->t, 0);
    if (!sim_vm_may(p, vm, "export", true, &why))
        return refuse(e, &why);
    add_machine(e, vm);
    start(e, packing_of(x), vm);
}
