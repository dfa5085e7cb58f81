/*
 * Machines from files: PUT /import and /import_metadata, and VM.import from a URL.
 *
 * The archive is read as it arrives (lib/xva). When its records are there, the machine and its disks are made, and the
 * rest of the archive fills the disks. Whatever goes wrong then, or who goes away, everything that was made is taken
 * back, unless the request says force, as with the real server.
 *
 * Facts: xapi's import.ml, stream_vdi.ml (2026-08). Archives without checksums behind their pieces, which current
 * servers do not get through any more, are read as the servers of their time did.
 */
#include "lib/simpool/disk.h"
#include "lib/simpool/fetch.h"
#include "lib/simpool/import.h"
#include "lib/simpool/transfer.h"

#include "core/bytes.h"
#include "lib/xva/xva.h"

#include <strings.h>

#define FULL_OBJECTS_MAX 20000u /* of an archive with disks: each of them is asked about all */
#define MAPPED_MAX       64

struct disk {
    char ref[SIM_REF_BYTES];
    uint64_t bytes, done;
};

/* vdi:KEY=UUID of a request. */
struct mapped {
    char key[SIM_REF_BYTES], uuid[SIM_REF_BYTES];
};

struct import {
    struct sim_transfer t;
    struct sim_import m;
    struct xva_reader *reader;
    char sr[SIM_REF_BYTES];
    struct disk *disks;
    size_t disk_count;
    bool undone;
    struct mapped mapped[MAPPED_MAX];
    size_t mapped_count;
    struct sim_error error; /* why a callback stopped the reader */
    struct sim_call *call;  /* VM.import, which waits for it; NULL: a request's body comes */
    struct sim_fetch *fetch;
    enum sim_outcome outcome;
};

/* ---- the archive's parts ---- */

static const struct sim_object *on_mapped(void *context, const char *key)
{
    const struct import *const i = context;
    const struct xapi_class *const row = xapi_class_find("VDI");
    const struct sim_object *found = NULL;

    for (size_t at = 0; at < i->mapped_count && !found; at++) {
        const char *const wanted = i->mapped[at].uuid;
        if (!sim_same(i->mapped[at].key, key))
            continue;
        found = sim_find_uuid(i->t.pool, wanted, row);
        for (const struct sim_object *vdi = found ? NULL : sim_first(i->t.pool, "VDI"); vdi; vdi = vdi->class_next) {
            const char *const scsi = sim_pair(vdi, "sm_config", "SCSIid");
            if (scsi && sim_same(scsi, wanted))
                return vdi;
        }
    }
    return found;
}

static int expect_disks(struct import *i)
{
    const struct sim_part **const parts = xk_array_alloc(XVA_DISKS_MAX, sizeof(struct sim_part *));
    struct xva_disk *const expected = xk_array_alloc(XVA_DISKS_MAX, sizeof(*expected));
    int code = -ENOMEM;

    i->disk_count = parts ? sim_import_disks(&i->m, parts, XVA_DISKS_MAX) : 0;
    i->disks = xk_array_alloc(i->disk_count + 1, sizeof(*i->disks));
    for (size_t d = 0; expected && i->disks && d < i->disk_count; d++) {
        memcpy(i->disks[d].ref, parts[d]->ref, sizeof(i->disks[d].ref));
        i->disks[d].bytes = (uint64_t)XK_MAX(sim_part_int(parts[d], "virtual_size"), INT64_C(0));
        i->t.total += i->disks[d].bytes;
        expected[d] = (struct xva_disk){.name = parts[d]->id, .bytes = i->disks[d].bytes};
    }
    if (expected && i->disks)
        code = xva_reader_expect(i->reader, expected, i->disk_count, i->m.export_version > 0, i->m.export_version < 2);
    free(parts);
    free(expected);
    return code;
}

static int on_metadata(void *context, const char *xml, size_t bytes)
{
    struct import *const i = context;
    const bool full = i->m.sr != NULL;
    bool good = sim_import_read(&i->m, xml, bytes);

    if (good && full && i->m.count > FULL_OBJECTS_MAX) {
        sim_error_set(&i->m.error, "IMPORT_ERROR", "INTERNAL_ERROR: [ more than 20000 objects ]", NULL);
        good = false;
    }
    good = good && sim_import_make(&i->m);
    i->error = i->m.error;
    if (!good)
        return -1;
    if (!full)
        return 0;
    /* From here on the networks of the new machine can be changed, before its disks are there. */
    struct sim_object *const task = sim_find(i->t.pool, i->t.task, NULL);
    if (task)
        sim_put_pair(i->t.pool, task, "other_config", "object_creation", "complete");
    if (expect_disks(i) == 0) {
        sim_transfer_cancellable(&i->t, true);
        return 0;
    }
    sim_error_set(&i->error, "IMPORT_ERROR", "INTERNAL_ERROR: [ Out_of_memory ]", NULL);
    return -1;
}

static int on_data(void *context, size_t number, uint64_t start, const void *bytes, size_t count)
{
    struct import *const i = context;
    struct disk *const disk = &i->disks[number];
    struct sim_object *const vdi = sim_find(i->t.pool, disk->ref, xapi_class_find("VDI"));
    const uint64_t end = start + count;

    if (!vdi) {
        sim_error_set(&i->error, "HANDLE_INVALID", "VDI", disk->ref, NULL);
        return -1;
    }
    const uint64_t size = (uint64_t)sim_int(vdi, "virtual_size");
    if ((end > size && !(start >= size && xk_is_zero(bytes, count))) ||
        sim_disk_write(i->t.pool, vdi, bytes, count, start) < 0) {
        sim_error_set(&i->error, "VDI_IO_ERROR", "Device I/O error", NULL);
        return -1;
    }
    sim_transfer_progress(&i->t, end > disk->done ? end - disk->done : 0);
    disk->done = XK_MAX(disk->done, end);
    return 0;
}

/* Each piece stands in the table with its checksum. */
static int on_table(void *context, const char *xml, size_t bytes)
{
    struct import *const i = context;
    struct xk_arena arena = XK_ARENA_INIT(SIM_IMPORT_MEMORY_MAX);
    struct xk_buf document = XK_BUF_INIT(bytes + 128);
    struct xapi_reply reply = {0};
    size_t right = 0;

    xk_buf_add_str(&document, "<methodResponse><params><param>");
    xk_buf_add(&document, xml, bytes);
    xk_buf_add_str(&document, "</param></params></methodResponse>");
    if (!document.error && xapi_reply_decode(&reply, &arena, false, document.data, document.len, NULL) == 0 &&
        reply.value.shape == XAPI_MAP)
        for (size_t at = 0; at < reply.value.count; at++) {
            const char *const sum = xva_reader_sum(i->reader, reply.value.items[2 * at].text);
            right += sum && sim_same(sum, xapi_value_text(&reply.value.items[2 * at + 1]));
        }
    xk_buf_done(&document);
    xk_arena_done(&arena);
    return right == xva_reader_sums(i->reader) ? 0 : -1;
}

/* ---- ends ---- */

void sim_import_explain(struct sim_error *ret, const struct xva_told *told, bool machine)
{
    char text[640];

    switch (told->fault) {
    case XVA_ENDED:
        if (machine)
            sim_error_set(ret, "IMPORT_ERROR_PREMATURE_EOF", NULL);
        else
            sim_error_set(ret, "INTERNAL_ERROR", "End_of_file", NULL);
        return;
    case XVA_UNEXPECTED:
        sim_error_set(ret, "IMPORT_ERROR_UNEXPECTED_FILE", XVA_METADATA_NAME, told->found, NULL);
        return;
    case XVA_TABLE_WRONG:
        sim_error_set(ret, "IMPORT_ERROR_SOME_CHECKSUMS_FAILED", NULL);
        return;
    case XVA_SUM_WRONG:
        snprintf(
            text, sizeof(text),
            "INTERNAL_ERROR: [ Stream_vdi.Invalid_checksum(\"Block %s checksum failed: original = %s; recomputed = "
            "%s\") ]",
            told->found, told->said, told->computed);
        break;
    case XVA_SUM_NAME:
        snprintf(text, sizeof(text), "INTERNAL_ERROR: [ Stream_vdi.Failure(\"Found unsupported checksum file: %s\") ]",
                 told->found);
        break;
    case XVA_PIECE_NAME:
        snprintf(text, sizeof(text), "INTERNAL_ERROR: [ Stream_vdi.Failure(\"Invalid XVA file\") ]");
        break;
    case XVA_PIECE_NUMBER:
        snprintf(text, sizeof(text), "INTERNAL_ERROR: [ Failure(\"int_of_string\") ]");
        break;
    case XVA_STREAM_END:
        snprintf(text, sizeof(text), "INTERNAL_ERROR: [ Tar.Header.End_of_stream ]");
        break;
    case XVA_DAMAGED_TAR:
        snprintf(text, sizeof(text), "INTERNAL_ERROR: [ Tar.Header.Checksum_mismatch ]");
        break;
    case XVA_TOO_LARGE:
        snprintf(text, sizeof(text), "INTERNAL_ERROR: [ %s ]", told->found);
        break;
    default:
        snprintf(text, sizeof(text), "INTERNAL_ERROR: [ Out_of_memory ]");
        break;
    }
    sim_error_set(ret, "IMPORT_ERROR", text, NULL);
}

/* Of VM.import: the message has none of the words that the request has for what went wrong. */
static void lay_bare(struct sim_error *e)
{
    static const struct {
        const char *code, *bare;
    } known[] = {
        {"IMPORT_ERROR_PREMATURE_EOF", "End_of_file"},
        {"IMPORT_ERROR_SOME_CHECKSUMS_FAILED", "Import.IFailure(0)"},
        {"IMPORT_ERROR_ATTACHED_DISKS_NOT_FOUND", "Import.IFailure(2)"},
        {"IMPORT_ERROR_FAILED_TO_FIND_OBJECT", "Import.IFailure(_)"},
        {"IMPORT_ERROR_UNEXPECTED_FILE", "Import.IFailure(_)"},
    };
    static const char before[] = "INTERNAL_ERROR: [ ", behind[] = " ]";
    char text[sizeof(e->texts[0])];

    for (size_t k = 0; k < XK_COUNT(known); k++)
        if (sim_same(e->texts[0], known[k].code))
            return sim_error_set(e, "INTERNAL_ERROR", known[k].bare, NULL);
    if (sim_same(e->texts[0], "IMPORT_ERROR") && e->count == 2 && xk_has_prefix(e->texts[1], before)) {
        snprintf(text, sizeof(text), "%s", e->texts[1] + strlen(before));
        if (strlen(text) >= strlen(behind))
            text[strlen(text) - strlen(behind)] = '\0';
        sim_error_set(e, "INTERNAL_ERROR", text, NULL);
    }
}

/* What a disk takes of its SR, now that it holds something. */
static void account(struct simpool *p, struct sim_object *vdi)
{
    struct sim_object *const sr = sim_follow(p, vdi, "SR");
    const int64_t held = (int64_t)sim_disk_held(p, vdi), had = sim_int(vdi, "physical_utilisation");

    if (held <= had)
        return;
    sim_put_int(p, vdi, "physical_utilisation", held);
    sim_sr_take(p, sr, held - had);
}

static enum sim_transfer_step succeed(struct import *i)
{
    struct xapi_value refs = xapi_list(NULL, 0);

    for (size_t d = 0; d < i->disk_count; d++) {
        struct sim_object *const vdi = sim_find(i->t.pool, i->disks[d].ref, NULL);
        if (vdi)
            account(i->t.pool, vdi);
    }
    if (!i->m.dry_run)
        sim_import_complete(&i->m, &refs);
    i->undone = true;
    return sim_transfer_succeed(&i->t, &refs);
}

static enum sim_transfer_step step_of(struct import *i, enum xva_state state)
{
    struct sim_error error;

    switch (state) {
    case XVA_MORE:
        return SIM_TRANSFER_MORE;
    case XVA_AGAIN:
        return SIM_TRANSFER_AGAIN;
    case XVA_DONE:
        return succeed(i);
    default:
        if (xva_reader_told(i->reader)->fault == XVA_USER)
            error = i->error;
        else
            sim_import_explain(&error, xva_reader_told(i->reader), i->m.sr != NULL);
        if (i->call)
            lay_bare(&error);
        return sim_transfer_fail(&i->t, &error);
    }
}

static enum sim_transfer_step on_bytes(struct sim_transfer *t, const uint8_t *bytes, size_t count, size_t *ret_taken)
{
    struct import *const i = (struct import *)t;

    return step_of(i, xva_reader_feed(i->reader, bytes, count, ret_taken));
}

static enum sim_transfer_step on_end(struct sim_transfer *t)
{
    struct import *const i = (struct import *)t;

    return step_of(i, xva_reader_end(i->reader));
}

static void on_undo(struct sim_transfer *t)
{
    struct import *const i = (struct import *)t;

    if (!i->undone)
        sim_import_undo(&i->m);
    i->undone = true;
}

static void on_free(struct sim_transfer *t)
{
    struct import *const i = (struct import *)t;

    xva_reader_free(i->reader);
    sim_import_done(&i->m);
    free(i->disks);
    free(i);
}

static const struct sim_transfer_kind full_kind = {
    .label = "VM.import", .take = on_bytes, .end = on_end, .undo = on_undo, .free = on_free};
static const struct sim_transfer_kind metadata_kind = {
    .label = "VM.metadata_import", .take = on_bytes, .end = on_end, .undo = on_undo, .free = on_free};

/* ---- requests ---- */

static bool is_chunked(const struct http_exchange *x)
{
    return http_header(x, "transfer-encoding") != NULL;
}

/* The SR that the request names, or the pool's. NULL: answered. */
static struct sim_object *sr_of(struct simpool *p, struct http_exchange *x)
{
    struct sim_error error;
    struct sim_object *sr;
    const int code = sim_request_object(&sr, p, x, "SR", "sr_id", "sr_uuid", &error);

    if (code == 0)
        return sr;
    if (code == -ENOENT) {
        sr = sim_follow(p, sim_pool_object(p), "default_SR");
        sim_error_set(&error, "DEFAULT_SR_NOT_FOUND", sim_text(sim_pool_object(p), "default_SR"), NULL);
    }
    if (!sr)
        sim_request_fail(p, x, 500, &error);
    return sr;
}

/* vdi:KEY=VALUE parts of a query, whose colon may be written as an escape. */
static void take_map(struct import *i, const struct http_exchange *x)
{
    static const char plain[] = "vdi:", escaped[] = "vdi%3A";
    char name[SIM_REF_BYTES + sizeof(escaped)];

    for (const char *at = http_query(x); at && i->mapped_count < MAPPED_MAX;) {
        struct mapped *const map = &i->mapped[i->mapped_count];
        const char *const prefix = strncasecmp(at, escaped, strlen(escaped)) == 0 ? escaped : plain;
        const size_t len = strcspn(at, "=&");
        if (len > strlen(prefix) && len < sizeof(name) && strncasecmp(at, prefix, strlen(prefix)) == 0) {
            snprintf(name, sizeof(name), "%.*s", (int)len, at);
            snprintf(map->key, sizeof(map->key), "%.*s", (int)sizeof(map->key) - 1, name + strlen(prefix));
            i->mapped_count += sim_http_param(x, name, map->uuid, sizeof(map->uuid));
        }
        at = strchr(at, '&');
        at = at ? at + 1 : NULL;
    }
}

struct manner {
    bool metadata, restore, force, dry_run, live;
};

/* NULL: no memory. */
static struct import *import_make(struct simpool *p, const struct manner *manner)
{
    struct import *const i = xk_zalloc(sizeof(*i));
    const struct xva_settings settings = {.metadata = on_metadata,
                                          .data = on_data,
                                          .table = on_table,
                                          .context = i,
                                          .metadata_only = manner->metadata,
                                          .force = manner->force};

    if (!i)
        return NULL;
    i->reader = xva_reader_new(&settings);
    i->m = (struct sim_import){.pool = p,
                               .task = i->t.task,
                               .restore = manner->restore,
                               .force = manner->force,
                               .dry_run = manner->dry_run,
                               .live = manner->live,
                               .mapped = on_mapped,
                               .context = i};
    if (i->reader)
        return i;
    on_free(&i->t);
    return NULL;
}

/* NULL: answered. */
static struct import *import_new(struct simpool *p, struct http_exchange *x, const struct sim_transfer_kind *kind)
{
    const bool metadata = kind == &metadata_kind;
    const struct manner manner = {.metadata = metadata,
                                  .restore = sim_request_says(x, "restore", false),
                                  .force = sim_request_says(x, "force", false),
                                  .dry_run = metadata && sim_request_says(x, "dry_run", false),
                                  .live = metadata && sim_request_says(x, "live", false)};
    struct import *const i = import_make(p, &manner);

    if (!i) {
        http_refuse(x, 500);
        return NULL;
    }
    if (metadata)
        take_map(i, x);
    return sim_transfer_begin(&i->t, p, x, kind) ? i : NULL;
}

void sim_import_metadata(struct simpool *p, struct http_exchange *x)
{
    struct import *const i = import_new(p, x, &metadata_kind);

    if (i)
        (void)sim_transfer_accept(&i->t, "application/octet-stream", "");
}

void sim_import(struct simpool *p, struct http_exchange *x)
{
    const struct sim_object *const sr = sr_of(p, x);
    struct sim_error error;

    if (!sr || sim_request_moves(p, x, sr))
        return;
    struct import *const i = import_new(p, x, &full_kind);
    if (!i)
        return;
    memcpy(i->sr, sr->ref, sizeof(i->sr));
    i->m.sr = i->sr;
    sim_transfer_progress(&i->t, 0);
    if (sim_is(sr, "content_type", "iso")) {
        sim_error_set(&error, "SR_OPERATION_NOT_SUPPORTED", NULL);
        return sim_transfer_refuse(&i->t, 400, &error);
    }
    if (is_chunked(x)) {
        sim_error_set(&error, "IMPORT_ERROR_CANNOT_HANDLE_CHUNKED", NULL);
        return sim_transfer_refuse(&i->t, 403, &error);
    }
    (void)sim_transfer_accept(&i->t, "application/octet-stream", "");
}

/* ---- from a URL ---- */

/* The call gets copies: what the archive was read into goes before it is answered. */
static void on_told(struct sim_transfer *t, const struct xapi_value *result, const struct sim_error *error)
{
    struct import *const i = (struct import *)t;
    struct sim_call *const c = i->call;
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&c->arena);

    i->outcome = error ? SIM_FAILED : SIM_DONE;
    xapi_build_open(&b, XAPI_LIST);
    for (size_t at = 0; at < (error ? error->count : result->count); at++)
        xapi_build_text(&b, error ? error->texts[at] : xapi_value_text(&result->items[at]));
    xapi_build_close(&b);
    if (xapi_build_end(&b, error ? &c->error : &c->result) < 0)
        i->outcome = sim_no_memory(c);
}

static void on_url_free(struct sim_transfer *t)
{
    struct import *const i = (struct import *)t;
    struct sim_call *const c = i->call;
    const enum sim_outcome outcome = i->outcome;

    sim_fetch_drop(i->fetch);
    on_free(t);
    c->session = sim_session_find(c->pool, c->session_ref);
    sim_answer(c, outcome);
}

static const struct sim_transfer_kind url_kind = {
    .take = on_bytes, .end = on_end, .undo = on_undo, .told = on_told, .free = on_url_free};

static void on_fetched(void *context, struct evbuffer *in)
{
    struct import *const i = context;

    sim_transfer_feed(&i->t, in, false);
}

static void on_fetch_end(void *context, struct evbuffer *in, const struct sim_error *error)
{
    struct import *const i = context;

    if (error)
        sim_transfer_stop(&i->t, error);
    else
        sim_transfer_feed(&i->t, in, true);
}

static enum sim_outcome import_url(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    const struct sim_object *const sr = sim_arg(c, 1), *const task = sr ? sim_work_task(c) : NULL;
    const struct manner manner = {.restore = c->args[2].truth, .force = c->args[3].truth};

    if (!sr)
        return SIM_FAILED;
    struct import *const i = import_make(p, &manner);
    if (!i)
        return sim_no_memory(c);
    memcpy(i->sr, sr->ref, sizeof(i->sr));
    i->m.sr = i->sr;
    i->call = c;
    const struct sim_fetch_user user = {.bytes = on_fetched, .ended = on_fetch_end, .context = i};
    if (!task || sim_fetch_begin(&i->fetch, p, sim_arg_text(c, 0), &user) < 0 ||
        !sim_transfer_begin_for(&i->t, p, task, &url_kind)) {
        sim_fetch_drop(i->fetch);
        on_free(&i->t);
        return sim_no_memory(c);
    }
    sim_transfer_cancellable(&i->t, true);
    return SIM_WORKING;
}

const struct sim_row sim_import_rows[] = {
    {"VM.import", import_url},
    {NULL, NULL},
};

bool sim_takes_early(void *pool, const char *path)
{
    static const char *const paths[] = {"/import", "/host_restore",   "/pool_patch_upload",
                                        "/bundle", "/pool/xmldbdump", "/blob"};

    for (size_t i = 0; i < XK_COUNT(paths); i++)
        if (xk_has_prefix(path, paths[i]))
            return true;
    return false;
}
