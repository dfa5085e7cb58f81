/*
 * Disks as files: PUT /import_raw_vdi and GET /export_raw_vdi, as raw bytes, VHD, tar or qcow2; the last two have files
 * of their own.
 *
 * Raw bytes come from front to back, or with `chunked` each piece after its place and length (le64, le32; zeros at the
 * end). A VHD is taken and made as a stream: only what it has is written, so that a differencing one, which the real
 * server makes with `base`, is put on top of what the disk has.
 *
 * Facts: xapi's import_raw_vdi.ml, export_raw_vdi.ml, importexport.ml and vhd-tool's chunked.ml (2026-08).
 */
#include "lib/simpool/raw-disk.h"

#include "core/bytes.h"

#include <strings.h>

static const struct {
    const char *name, *type;
} formats[] = {
    [RAW_PLAIN] = {"raw", "application/octet-stream"},
    [RAW_VHD] = {"vhd", "application/vhd"},
    [RAW_TAR] = {"tar", "application/x-tar"},
    [RAW_QCOW2] = {"qcow2", "application/x-qemu-disk"},
};

/* ---- what is asked for ---- */

static enum raw_format format_of(const struct http_exchange *x, char word[16])
{
    if (!sim_http_param(x, "format", word, 16))
        return *word || !strstr(http_query(x), "format=") ? RAW_PLAIN : RAW_UNKNOWN;
    for (size_t i = 0; i < XK_COUNT(formats); i++)
        if (strcasecmp(word, formats[i].name) == 0)
            return (enum raw_format)i;
    return RAW_UNKNOWN;
}

/* By ref or by uuid, under one name. returns   0; -ENOENT: the request names none; -EINVAL: there is none. */
static int disk_of(struct sim_object **ret, struct simpool *p, const struct http_exchange *x, const char *param,
                   struct sim_error *error)
{
    const struct xapi_class *const row = xapi_class_find("VDI");
    char word[SIM_REF_BYTES];

    *ret = NULL;
    if (!sim_http_param(x, param, word, sizeof(word)) && !*word)
        return -ENOENT;
    *ret = sim_find(p, word, row);
    if (!*ret)
        *ret = sim_find_uuid(p, word, row);
    sim_error_set(error, "UUID_INVALID", "VDI", word, NULL);
    return *ret ? 0 : -EINVAL;
}

/* Would the control domain get it? */
static bool is_free(const struct simpool *p, const struct sim_object *vdi, bool writes, struct sim_error *error)
{
    const struct sim_object *vbd;

    for (size_t at = 0; (vbd = sim_member(p, vdi, "VBDs", &at));) {
        const struct sim_object *const vm = sim_follow(p, vbd, "VM");
        if (!vm || sim_vm_power(vm) == SIM_IS_SUSPENDED || !sim_bool(vbd, "currently_attached"))
            continue;
        if (!writes && !sim_is(vbd, "mode", "RW"))
            continue;
        sim_error_set(error, "VDI_IN_USE", vdi->ref, "attach", NULL);
        return false;
    }
    if (!writes || !sim_bool(vdi, "read_only"))
        return true;
    sim_error_set(error, "VDI_READONLY", vdi->ref, NULL);
    return false;
}

struct sim_object *raw_vdi(const struct raw_disk *r)
{
    return sim_find(r->t.pool, r->vdi, xapi_class_find("VDI"));
}

enum sim_transfer_step raw_broken(struct raw_disk *r)
{
    struct sim_error error;

    sim_error_set(&error, "VDI_IO_ERROR", "Device I/O errors", NULL);
    return sim_transfer_fail(&r->t, &error);
}

static void on_free(struct sim_transfer *t)
{
    struct raw_disk *const r = (struct raw_disk *)t;

    vhd_stream_free(r->stream);
    xva_reader_free(r->archive);
    raw_qcow2_close(r);
    free(r->blocks);
    xk_buf_done(&r->out);
    free(r);
}

/* ---- taking ---- */

/* What came in small pieces is written in large ones, of which those of zeros are none. */
static bool flush(struct raw_disk *r)
{
    struct sim_object *const vdi = raw_vdi(r);
    const size_t count = r->held;

    r->held = 0;
    return vdi && (count == 0 || sim_disk_write(r->t.pool, vdi, r->piece, count, r->held_at) == 0);
}

bool raw_store(struct raw_disk *r, uint64_t start, const uint8_t *bytes, size_t count)
{
    if (start > r->size || count > r->size - start || (r->held_at + r->held != start && !flush(r)))
        return false;
    while (count > 0) {
        const size_t part = XK_MIN(count, RAW_PIECE_BYTES - (size_t)(start % RAW_PIECE_BYTES));
        if (r->held == 0)
            r->held_at = start;
        memcpy(r->piece + r->held, bytes, part);
        r->held += part;
        start += part;
        bytes += part;
        count -= part;
        if (start % RAW_PIECE_BYTES == 0 && !flush(r))
            return false;
    }
    return true;
}

static int on_vhd_size(void *context, uint64_t bytes)
{
    const struct raw_disk *const r = context;

    return bytes > r->size ? -1 : 0;
}

static int on_vhd_data(void *context, uint64_t start, const void *bytes, size_t count)
{
    return raw_store(context, start, bytes, count) ? 0 : -1;
}

enum sim_transfer_step raw_taken(struct raw_disk *r)
{
    struct simpool *const p = r->t.pool;
    struct sim_object *const vdi = raw_vdi(r);
    const struct xapi_value result = xapi_str(r->vdi);

    if (!vdi || !flush(r))
        return raw_broken(r);
    const int64_t held = (int64_t)sim_disk_held(p, vdi), had = sim_int(vdi, "physical_utilisation");
    if (held > had) {
        sim_put_int(p, vdi, "physical_utilisation", held);
        sim_sr_take(p, sim_follow(p, vdi, "SR"), held - had);
    }
    return sim_transfer_succeed(&r->t, &result);
}

/* One piece of a chunked stream. returns   1: the end was there; 0; -1: it does not fit. */
static int take_chunk(struct raw_disk *r, const uint8_t *bytes, size_t count, size_t *ret_taken)
{
    if (r->chunk_left > 0) {
        const size_t part = (size_t)XK_MIN((uint64_t)count, r->chunk_left);
        if (!raw_store(r, r->at, bytes, part))
            return -1;
        r->at += part;
        r->chunk_left -= part;
        *ret_taken = part;
        return 0;
    }
    const size_t part = XK_MIN(count, sizeof(r->head) - r->head_bytes);
    memcpy(r->head + r->head_bytes, bytes, part);
    r->head_bytes += part;
    *ret_taken = part;
    if (r->head_bytes < sizeof(r->head))
        return 0;
    struct xk_reader reader = xk_reader(r->head, sizeof(r->head));
    r->at = xk_le64(&reader);
    r->chunk_left = xk_le32(&reader);
    r->head_bytes = 0;
    return r->at == 0 && r->chunk_left == 0;
}

static enum sim_transfer_step on_bytes(struct sim_transfer *t, const uint8_t *bytes, size_t count, size_t *ret_taken)
{
    struct raw_disk *const r = (struct raw_disk *)t;

    if (r->chunked) {
        for (size_t part = 0; *ret_taken < count; *ret_taken += part) {
            const int code = take_chunk(r, bytes + *ret_taken, count - *ret_taken, &part);
            if (code != 0) {
                *ret_taken += part;
                return code < 0 ? raw_broken(r) : raw_taken(r);
            }
        }
    } else if (r->format == RAW_TAR) {
        return raw_tar_take(r, bytes, count, ret_taken);
    } else if (r->format == RAW_QCOW2) {
        return raw_qcow2_take(r, bytes, count, ret_taken);
    } else if (r->format == RAW_VHD) {
        const int code = r->whole ? 1 : vhd_stream_feed(r->stream, bytes, count, NULL);
        *ret_taken = count;
        if (code < 0)
            return raw_broken(r);
        r->whole = code == 1;
    } else {
        *ret_taken = count;
        if (!raw_store(r, r->at, bytes, count))
            return raw_broken(r);
        r->at += count;
    }
    sim_transfer_progress(t, *ret_taken);
    return SIM_TRANSFER_MORE;
}

/* The body is at its end, or the connection: raw bytes may end anywhere when nobody said how many there are. */
static enum sim_transfer_step on_end(struct sim_transfer *t)
{
    struct raw_disk *const r = (struct raw_disk *)t;

    if (r->format == RAW_TAR)
        return raw_tar_end(r);
    if (r->format == RAW_QCOW2)
        return raw_qcow2_end(r);
    if (r->chunked || (r->format == RAW_VHD ? !r->whole : t->unread > 0 && t->unread != UINT64_MAX))
        return raw_broken(r);
    return raw_taken(r);
}

static void on_undo(struct sim_transfer *t)
{
    const struct raw_disk *const r = (const struct raw_disk *)t;
    struct sim_object *const vdi = r->made ? raw_vdi(r) : NULL;

    if (vdi)
        sim_vdi_destroy(t->pool, vdi);
}

static const struct sim_transfer_kind import_kind = {
    .label = "Importing raw VDI", .take = on_bytes, .end = on_end, .undo = on_undo, .free = on_free};

/* ---- giving ---- */

static enum sim_transfer_step send_raw(struct raw_disk *r, const struct sim_object *vdi)
{
    const size_t part = (size_t)XK_MIN(r->size - r->at, (uint64_t)RAW_PIECE_BYTES);

    if (part == 0)
        return sim_transfer_succeed(&r->t, NULL);
    if (sim_disk_read(r->t.pool, vdi, r->piece, part, r->at) < 0)
        return raw_broken(r);
    r->at += part;
    sim_transfer_progress(&r->t, part);
    return sim_transfer_write(&r->t, r->piece, part);
}

static void mark(uint8_t bitmap[VHD_SECTOR], const struct raw_disk *r, bool all)
{
    memset(bitmap, 0, VHD_SECTOR);
    for (size_t i = 0; i < VHD_BLOCK_BYTES / VHD_SECTOR; i++)
        if (all || memcmp(r->piece + i * VHD_SECTOR, r->other + i * VHD_SECTOR, VHD_SECTOR) != 0)
            vhd_bit_set(bitmap, i);
}

static enum sim_transfer_step send_block(struct raw_disk *r, const struct sim_object *vdi)
{
    const struct sim_object *const base = raw_base(r);
    const uint64_t start = (uint64_t)r->blocks[r->block++] * VHD_BLOCK_BYTES;
    uint8_t bitmap[VHD_SECTOR];

    if ((*r->base && !base) || sim_disk_read(r->t.pool, vdi, r->piece, VHD_BLOCK_BYTES, start) < 0 ||
        (base && sim_disk_read(r->t.pool, base, r->other, VHD_BLOCK_BYTES, start) < 0))
        return raw_broken(r);
    mark(bitmap, r, !base);
    xk_buf_reset(&r->out);
    xk_buf_add(&r->out, bitmap, sizeof(bitmap));
    xk_buf_add(&r->out, r->piece, VHD_BLOCK_BYTES);
    sim_transfer_progress(&r->t, VHD_BLOCK_BYTES);
    return r->out.error ? raw_broken(r) : sim_transfer_write(&r->t, r->out.data, r->out.len);
}

static enum sim_transfer_step send_vhd(struct raw_disk *r, const struct sim_object *vdi)
{
    if (r->begun && r->block < r->block_count)
        return send_block(r, vdi);
    if (r->ended)
        return sim_transfer_succeed(&r->t, NULL);
    if (r->begun) {
        xk_buf_reset(&r->out);
        vhd_stream_tail(&r->out, &r->vhd);
        r->ended = true;
    }
    r->begun = true;
    return r->out.error ? raw_broken(r) : sim_transfer_write(&r->t, xk_buf_str(&r->out), r->out.len);
}

static enum sim_transfer_step on_room(struct sim_transfer *t)
{
    struct raw_disk *const r = (struct raw_disk *)t;
    const struct sim_object *const vdi = raw_vdi(r);

    if (!vdi)
        return raw_broken(r);
    switch (r->format) {
    case RAW_VHD:
        return send_vhd(r, vdi);
    case RAW_TAR:
        return raw_tar_send(r, vdi);
    case RAW_QCOW2:
        return raw_qcow2_send(r, vdi);
    default:
        return send_raw(r, vdi);
    }
}

static const struct sim_transfer_kind export_kind = {.label = "Exporting raw VDI", .send = on_room, .free = on_free};

/* The blocks in which either disk has something. */
static int find_blocks(struct raw_disk *r, const struct sim_object *vdi, const struct sim_object *base)
{
    const uint64_t blocks = (r->size + VHD_BLOCK_BYTES - 1) / VHD_BLOCK_BYTES;
    uint64_t from, to;

    r->blocks = xk_array_alloc((size_t)blocks + 1, sizeof(*r->blocks));
    if (!r->blocks)
        return -ENOMEM;
    for (uint64_t at = 0; at < r->size;) {
        uint64_t start = UINT64_MAX;
        if (sim_disk_next(r->t.pool, vdi, at, &from, &to))
            start = from;
        if (base && sim_disk_next(r->t.pool, base, at, &from, &to))
            start = XK_MIN(start, from);
        if (start >= r->size)
            break;
        r->blocks[r->block_count++] = (uint32_t)(start / VHD_BLOCK_BYTES);
        at = (start / VHD_BLOCK_BYTES + 1) * VHD_BLOCK_BYTES;
    }
    r->t.total = (uint64_t)r->block_count * VHD_BLOCK_BYTES;
    return 0;
}

static void uuid_bytes(uint8_t ret[16], const struct sim_object *o)
{
    const char *at = sim_text(o, "uuid");

    for (size_t i = 0; i < 16; i++, at += 2) {
        at += *at == '-';
        if (sscanf(at, "%2hhx", &ret[i]) != 1)
            return;
    }
}

const struct sim_object *raw_base(const struct raw_disk *r)
{
    return *r->base ? sim_find(r->t.pool, r->base, xapi_class_find("VDI")) : NULL;
}

/* returns   0; -ENOMEM. */
static int prepare_vhd(struct raw_disk *r, const struct sim_object *vdi, const struct sim_object *base)
{
    r->vhd = (struct vhd_stream_head){
        .bytes = r->size, .unix_seconds = sim_now_s(r->t.pool), .differencing = base != NULL, .parent_name = ""};
    uuid_bytes(r->vhd.uuid, vdi);
    if (base)
        uuid_bytes(r->vhd.parent_uuid, base);
    const int code = find_blocks(r, vdi, base);
    return code < 0 ? code : vhd_stream_head(&r->out, &r->vhd, r->blocks, r->block_count);
}

/* ---- requests ---- */

/* NULL: answered. */
static struct raw_disk *raw_disk_new(struct simpool *p, struct http_exchange *x, const struct sim_transfer_kind *kind)
{
    struct raw_disk *const r = xk_zalloc(sizeof(*r));
    struct sim_error error;
    char word[16], text[64];

    if (!r) {
        http_refuse(x, 500);
        return NULL;
    }
    r->out = XK_BUF_INIT((size_t)VHD_STREAM_BLOCKS_MAX * 4 + 2 * VHD_BLOCK_BYTES);
    r->format = format_of(x, word);
    if (!sim_transfer_begin(&r->t, p, x, kind))
        return NULL;
    if (r->format != RAW_UNKNOWN)
        return r;
    snprintf(text, sizeof(text), "Unknown format %s", word);
    sim_error_set(&error, "INTERNAL_ERROR", text, NULL);
    sim_transfer_refuse(&r->t, 404, &error);
    return NULL;
}

/* Make the disk that the bytes go into. NULL: refused, and the error. */
static const struct sim_object *make_disk(struct raw_disk *r, const struct sim_object *sr, int64_t bytes,
                                          struct sim_error *error)
{
    const struct xapi_value pairs[] = {xapi_str("name_label"),   xapi_str("Imported VDI"), xapi_str("SR"),
                                       xapi_str(sr->ref),        xapi_str("type"),         xapi_str("user"),
                                       xapi_str("virtual_size"), xapi_int(bytes),          xapi_str("sharable"),
                                       xapi_bool(false),         xapi_str("read_only"),    xapi_bool(false),
                                       xapi_str("other_config"), xapi_map(NULL, 0)};
    const struct xapi_value record = xapi_map(pairs, XK_COUNT(pairs) / 2);
    char ref[SIM_REF_BYTES];

    if (!sim_call_own(r->t.pool, "VDI.create", &record, 1, ref, error))
        return NULL;
    r->made = true;
    memcpy(r->vdi, ref, sizeof(r->vdi));
    return raw_vdi(r);
}

static void accept_import(struct raw_disk *r, struct sim_object *vdi, const struct sim_object *sr)
{
    struct http_exchange *const x = r->t.exchange;
    const struct vhd_stream_settings settings = {.size = on_vhd_size, .data = on_vhd_data, .context = r};
    const int64_t length = http_unread(x);
    struct sim_error error;
    const struct sim_object *into = vdi;
    unsigned status = 500;
    char word[8], text[64];

    r->chunked = sim_http_param(x, "chunked", word, sizeof(word)) || *word;
    sim_error_set(&error, "INTERNAL_ERROR", "Out_of_memory", NULL);
    if (r->chunked && r->format != RAW_PLAIN) {
        sim_error_set(&error, "INTERNAL_ERROR", "Cannot handle chunked VHD", NULL);
        return sim_transfer_refuse(&r->t, 404, &error);
    }
    if (http_header(x, "transfer-encoding")) {
        sim_error_set(&error, "INTERNAL_ERROR", "Cannot handle encoding: chunked", NULL);
        return sim_transfer_refuse(&r->t, 404, &error);
    }
    if (!into && (r->format == RAW_VHD || r->format == RAW_QCOW2)) {
        snprintf(text, sizeof(text), "Importing a %s directly into an SR not yet supported",
                 r->format == RAW_VHD ? "VHD" : "QCOW2");
        sim_error_set(&error, "INTERNAL_ERROR", text, NULL);
        status = 400;
    } else if (!into && (length < 0 || r->format == RAW_TAR)) {
        sim_error_set(&error, "INTERNAL_ERROR", "Not enough info supplied to import", NULL);
        status = 400;
    } else if (!into) {
        into = make_disk(r, sr, length, &error);
    } else if (!is_free(r->t.pool, into, true, &error)) {
        into = NULL;
    }
    r->size = into ? (uint64_t)sim_int(into, "virtual_size") : 0;
    if (into &&
        ((r->format == RAW_VHD && !(r->stream = vhd_stream_new(&settings))) ||
         (r->format == RAW_TAR && raw_tar_open(r) < 0) || (r->format == RAW_QCOW2 && raw_qcow2_open(r, false) < 0)))
        into = NULL;
    if (!into)
        return sim_transfer_refuse(&r->t, status, &error);
    memcpy(r->vdi, into->ref, sizeof(r->vdi));
    r->t.total = length > 0 ? (uint64_t)length : r->size;
    if (sim_transfer_accept(&r->t, "application/octet-stream", ""))
        sim_transfer_cancellable(&r->t, true);
}

void sim_import_raw_vdi(struct simpool *p, struct http_exchange *x)
{
    struct sim_object *vdi, *sr = NULL;
    struct sim_error error;
    int code = disk_of(&vdi, p, x, "vdi", &error);

    if (code == 0)
        sr = sim_follow(p, vdi, "SR");
    else if (code == -ENOENT)
        code = sim_request_object(&sr, p, x, "SR", "sr_id", "sr_uuid", &error);
    if (code == -ENOENT)
        sim_error_set(&error, "VDI_MISSING", NULL);
    if (code < 0 || !sr)
        return sim_request_fail(p, x, code == -EINVAL ? 500 : 400, &error);
    if (sim_request_moves(p, x, sr))
        return;
    struct raw_disk *const r = raw_disk_new(p, x, &import_kind);
    if (r)
        accept_import(r, vdi, sr);
}

void sim_export_raw_vdi(struct simpool *p, struct http_exchange *x)
{
    struct sim_object *vdi, *base = NULL;
    struct sim_error error;
    char line[128], most[24];

    const int code = disk_of(&vdi, p, x, "vdi", &error);
    if (code == -ENOENT)
        sim_error_set(&error, "INTERNAL_ERROR", "Failure(\"Missing vdi query parameter\")", NULL);
    if (code < 0 || disk_of(&base, p, x, "base", &error) == -EINVAL)
        return sim_request_fail(p, x, 500, &error);
    const struct sim_object *const sr = sim_follow(p, vdi, "SR");
    if (sr && sim_request_moves(p, x, sr))
        return;
    struct raw_disk *const r = raw_disk_new(p, x, &export_kind);
    if (!r)
        return;
    memcpy(r->vdi, vdi->ref, sizeof(r->vdi));
    if (base)
        memcpy(r->base, base->ref, sizeof(r->base));
    r->size = r->t.total = (uint64_t)sim_int(vdi, "virtual_size");
    bool good = is_free(p, vdi, false, &error);
    if (good && base && r->format == RAW_PLAIN) {
        sim_error_set(&error, "NOT_IMPLEMENTED", "base with format raw", NULL);
        good = false;
    }
    if (good && r->format == RAW_VHD && r->size > VHD_SIZE_MAX) {
        snprintf(most, sizeof(most), "%llu", (unsigned long long)VHD_SIZE_MAX);
        sim_error_set(&error, "VDI_TOO_LARGE", vdi->ref, most, NULL);
        good = false;
    } else if (good && r->format == RAW_VHD && prepare_vhd(r, vdi, base) < 0) {
        sim_error_set(&error, "INTERNAL_ERROR", "Out_of_memory", NULL);
        good = false;
    } else if (good && r->format == RAW_QCOW2 && (find_blocks(r, vdi, base) < 0 || raw_qcow2_open(r, true) < 0)) {
        sim_error_set(&error, "INTERNAL_ERROR", "Out_of_memory", NULL);
        good = false;
    }
    if (!good)
        return sim_transfer_refuse(&r->t, 500, &error);
    snprintf(line, sizeof(line), "Content-Disposition: attachment; filename=\"%.36s.%s\"\r\n", sim_text(vdi, "uuid"),
             formats[r->format].name);
    if (sim_transfer_accept(&r->t, formats[r->format].type, line))
        sim_transfer_cancellable(&r->t, true);
}
