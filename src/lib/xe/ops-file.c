/* Commands that carry files: export, import, backup, logs, updates. */
#include "lib/xe/inner.h"

#include "core/text.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* ---- virtual machines ---- */

/* "false" unless it is one that the server knows. */
static const char *compression(const struct xe *x)
{
    const char *const word = xe_param_or(x, "compress", "");
    const bool gzip = strcmp(word, "true") == 0 || strcmp(word, "gzip") == 0;

    return gzip ? "gzip" : strcmp(word, "zstd") == 0 ? "zstd" : "false";
}

struct export_job {
    unsigned number;
};

static void export_one(struct xe *x, struct xe_object *vm, void *context)
{
    struct export_job *const job = context;
    const bool metadata = xe_param_bool(x, "metadata", false), keep = xe_param_bool(x, "preserve-power-state", false);
    const bool snapshots = xe_param_bool(x, "include-snapshots", false);
    const char *const path = xe_required(x, "filename");
    const unsigned number = job->number++;
    const char *const own = number > 1 ? xk_arena_printf(&x->arena, "%s%u", path, number) : path;
    const char *const task = xe_param(x, "task-uuid") ? xe_param_ref(x, "task", "task-uuid") : NULL;
    const char *const excluded =
        metadata ? xk_arena_printf(&x->arena, "&excluded_device_types=%s", xe_param_or(x, "excluded-device-types", ""))
                 : "";
    const char *const rest = xk_arena_printf(
        &x->arena, "&ref=%s&use_compression=%s&preserve_power_state=%s&export_snapshots=%s%s", vm->ref, compression(x),
        keep ? "true" : "false", snapshots ? "true" : "false", excluded ? excluded : "");

    if (!own || !rest)
        return xe_fail_memory(x);
    if (xe_fine(x))
        xe_file_move(x, XE_GET, task, "Export of VM", xapi_value_text(xe_object_get(x, vm, "uuid")), own,
                     metadata ? "/export_metadata" : "/export", rest, "Export");
}

static void vm_export(struct xe *x)
{
    static const char *const own[] = {
        "filename", "metadata", "compress", "preserve-power-state", "include-snapshots", "excluded-device-types", NULL};
    struct export_job job = {.number = 1};

    (void)xe_each(x, XE_SELECTS_VMS, 0, own, export_one, &job);
}

static void export_named(struct xe *x, const char *param, const char *what, const char *is)
{
    const char *const uuid = xe_required(x, param), *const ref = xe_by_uuid(x, "VM", uuid);
    struct export_job job = {.number = 1};

    if (xe_fine(x) && !xe_get_bool(x, is, ref))
        xe_fail(x, "This operation can only be performed on a VM %s. %s is not a VM %s.", what, uuid, what);
    struct xe_object vm = xe_object(x, "vm", ref);
    if (xe_fine(x))
        export_one(x, &vm, &job);
}

static void template_export(struct xe *x)
{
    export_named(x, "template-uuid", "template", "VM.get_is_a_template");
}

static void snapshot_export_to_template(struct xe *x)
{
    export_named(x, "snapshot-uuid", "snapshot", "VM.get_is_a_snapshot");
}

static const char *import_sr(struct xe *x)
{
    if (xe_param(x, "sr-uuid"))
        return xe_param_ref(x, "SR", "sr-uuid");
    const char *const uuid = xe_default_sr(x);
    if (!uuid)
        xe_fail(x, "No SR specified and Pool default SR is null");
    return uuid ? xe_by_uuid(x, "SR", uuid) : "";
}

static void refuse_import(struct xe *x, const char *line)
{
    if (xe_fine(x))
        xe_complain(x, line);
    xe_fail_exit(x, 1);
}

static void print_uuids(struct xe *x, const struct xapi_value *vms, bool dry_run)
{
    struct xk_buf b = XK_BUF_INIT(1u << 20);

    for (uint32_t i = 0; i < vms->count; i++)
        xk_buf_printf(&b, "%s%s", i > 0 ? "," : "", xe_uuid_of(x, "VM", xe_item(vms, i)));
    if (vms->count == 0 && dry_run)
        xk_buf_add_str(&b, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx");
    if (xe_fine(x))
        xe_print(x, xk_buf_str(&b));
    xk_buf_done(&b);
}

/* A task's result is a value of XML-RPC. */
static struct xapi_value result_value(struct xe *x, const char *text)
{
    struct xk_buf document = XK_BUF_INIT(16u << 20);
    struct xapi_reply reply = {0};

    xk_buf_printf(&document, "<methodResponse><params><param>%s</param></params></methodResponse>", text);
    const int code =
        document.error ? -ENOMEM : xapi_reply_decode(&reply, &x->arena, false, document.data, document.len, NULL);
    xk_buf_done(&document);
    return code < 0 ? xapi_list(NULL, 0) : reply.value;
}

static void import_file(struct xe *x, const char *sr)
{
    const bool metadata = xe_param_bool(x, "metadata", false), dry_run = xe_param_bool(x, "dry-run", false);
    const struct xapi_value disks = xe_param_map(x, "vdi");
    const char *const given = xe_required(x, "filename");
    const bool whole = !xk_has_suffix(xe_lower(x, given), "ova.xml");
    const char *const path = whole ? given : xk_arena_strndup(&x->arena, given, strlen(given) - strlen("ova.xml"));
    struct xk_buf rest = XK_BUF_INIT(1u << 20);

    if (!metadata && dry_run)
        return refuse_import(x, "Only metadata import function support dry-run\n");
    xk_buf_printf(&rest, "&restore=%s&force=%s&dry_run=%s&sr_id=%s",
                  xe_param_bool(x, "preserve", false) ? "true" : "false",
                  xe_param_bool(x, "force", false) ? "true" : "false", dry_run ? "true" : "false", sr);
    for (uint32_t i = 0; i < disks.count; i++)
        xk_buf_printf(&rest, "&vdi:%s=%s", disks.items[2 * i].text, disks.items[2 * i + 1].text);
    const struct xe_file file = {.kind = XE_PUT,
                                 .label = "VM import",
                                 .path = path ? path : "",
                                 .prefix = "",
                                 .address = metadata ? "/import_metadata?" : "/import?",
                                 .rest = xk_buf_str(&rest),
                                 .task_uuid = xe_param(x, "task-uuid")};
    const char *const result = xe_fine(x) ? xe_file_copy(x, &file) : "";
    xk_buf_done(&rest);
    if (!xe_fine(x))
        return;
    const struct xapi_value vms = result_value(x, result);
    print_uuids(x, &vms, dry_run);
}

static void vm_import(struct xe *x)
{
    const char *const sr = import_sr(x), *const type = xe_param_or(x, "type", "default");
    const bool url = xe_param(x, "url") != NULL;

    if (!xe_fine(x))
        return;
    if (url && xe_param(x, "filename"))
        return refuse_import(x,
                             "Invalid arguments. The 'url' and 'filename' parameters should not both be specified.\n");
    const bool foreign =
        strcmp(type, "ESXServer") == 0 || strcmp(type, "VirtualCenter") == 0 || strcmp(type, "HyperVServer") == 0;
    if (!foreign && strcmp(type, "default") != 0 && strcmp(type, "XenServer") != 0)
        return xe_fail_server(x, "INVALID_VALUE", type, NULL);
    if (foreign) {
        (void)xe_do(x, "VM.import_convert", xapi_str(type), xapi_str(xe_required(x, "host-username")),
                    xapi_str(xe_required(x, "host-password")), xapi_str(sr), xe_param_map(x, "remote-config"));
        return;
    }
    if (!url)
        return import_file(x, sr);
    const struct xapi_value vms =
        xe_do(x, "VM.import", xapi_str(xe_param(x, "url")), xapi_str(sr),
              xapi_bool(xe_param_bool(x, "preserve", false)), xapi_bool(xe_param_bool(x, "force", false)));
    print_uuids(x, &vms, false);
}

/* ---- disks ---- */

static void disk_file(struct xe *x, enum xe_transfer kind, const char *label, const char *address)
{
    const char *const vdi = xe_param_ref(x, "VDI", "uuid");
    const char *const format = xe_param(x, "format"), *const base = kind == XE_GET ? xe_param(x, "base") : NULL;
    const char *const rest = xk_arena_printf(&x->arena, "&vdi=%s%s%s%s%s", vdi, format ? "&format=" : "",
                                             format ? format : "", base ? "&base=" : "", base ? base : "");
    const struct xe_file file = {.kind = kind,
                                 .label = label,
                                 .path = xe_required(x, "filename"),
                                 .prefix = "",
                                 .address = address,
                                 .rest = rest ? rest : "",
                                 .bar = xe_param_bool(x, "progress", false)};

    if (xe_fine(x))
        (void)xe_file_copy(x, &file);
}

static void vdi_import(struct xe *x)
{
    disk_file(x, XE_PUT, "VDI import", "/import_raw_vdi?");
}

static void vdi_export(struct xe *x)
{
    disk_file(x, XE_GET, "VDI export", "/export_raw_vdi?");
}

/* ---- hosts ---- */

struct host_file {
    enum xe_transfer kind;
    const char *label, *path, *address, *rest;
    bool named; /* with several hosts each file has its host's name */
};

static void host_file_one(struct xe *x, struct xe_object *host, void *context)
{
    const struct host_file *const f = context;
    const struct xe_file file = {.kind = f->kind,
                                 .label = f->label,
                                 .path = f->path,
                                 .prefix = xe_host_prefix(x, host->ref),
                                 .address = f->address,
                                 .rest = f->rest};

    if (!f->named) {
        (void)xe_file_copy(x, &file);
        return;
    }
    struct xe_file own = file;
    own.path = xk_arena_printf(&x->arena, "%s-%s", f->path, xapi_value_text(xe_object_get(x, host, "name_label")));
    (void)xe_file_copy(x, &own);
}

static void host_backup(struct xe *x)
{
    static const char *const own[] = {"file-name", NULL};
    struct host_file f = {XE_GET, "host backup download", xe_required(x, "file-name"), "/host_backup?", "", false};

    (void)xe_each(x, XE_SELECTS_HOSTS, XE_ONE, own, host_file_one, &f);
}

static void host_restore(struct xe *x)
{
    static const char *const own[] = {"file-name", NULL};
    struct host_file f = {XE_PUT, "host backup upload", xe_required(x, "file-name"), "/host_restore?", "", false};

    (void)xe_each(x, XE_SELECTS_HOSTS, XE_ONE, own, host_file_one, &f);
}

static void host_logs_download(struct xe *x)
{
    static const char *const own[] = {"file-name", NULL};
    const time_t now = (time_t)x->settings->remote->now_s(x->settings->remote->context);
    struct tm t = {0};
    char name[64];

    (void)gmtime_r(&now, &t);
    (void)snprintf(name, sizeof(name), "logs-%d-%d-%dT%02d%02d%02dZ", t.tm_year + 1900, t.tm_mon + 1, t.tm_mday,
                   t.tm_hour, t.tm_min, t.tm_sec);
    struct host_file f = {XE_GET, "host logs download", xe_param_or(x, "file-name", name), "/host_logs_download?", "",
                          false};
    const struct xe_objects hosts = xe_select(x, XE_SELECTS_HOSTS, 0, own);
    f.named = hosts.count > 1;
    (void)xe_each(x, XE_SELECTS_HOSTS, 0, own, host_file_one, &f);
}

static void host_get_system_status(struct xe *x)
{
    static const char *const own[] = {"filename", "entries", "output", NULL};
    const char *const output = xe_param_or(x, "output", "tar.bz2");
    const char *const address =
        xk_arena_printf(&x->arena, "/system-status?entries=%s&output=%s&", xe_param_or(x, "entries", ""), output);
    struct host_file f = {XE_GET, "system-status download", xe_required(x, "filename"), address ? address : "", "",
                          false};

    if (strcmp(output, "tar.bz2") != 0 && strcmp(output, "tar") != 0 && strcmp(output, "zip") != 0)
        return xe_fail(x, "Invalid output format. Must be 'tar', 'zip' or 'tar.bz2'");
    (void)xe_each(x, XE_SELECTS_HOSTS, 0, own, host_file_one, &f);
}

struct certificate {
    const char *content, *key, *chain;
};

static void certificate_one(struct xe *x, struct xe_object *host, void *context)
{
    const struct certificate *const c = context;

    (void)xe_do(x, "host.install_server_certificate", xapi_str(host->ref), xapi_str(c->content), xapi_str(c->key),
                xapi_str(c->chain));
}

static void host_server_certificate_install(struct xe *x)
{
    static const char *const own[] = {"certificate", "private-key", "certificate-chain", NULL};
    const char *const chain = xe_param(x, "certificate-chain");
    struct certificate c = {.content = xe_file_need(x, xe_required(x, "certificate"), "certificate")};
    size_t chains = 0;

    c.key = xe_fine(x) ? xe_file_need(x, xe_required(x, "private-key"), "private key") : "";
    for (size_t i = 0; i < x->param_count; i++)
        chains += strcmp(x->params[i].name, "certificate-chain") == 0;
    if (chains > 1)
        xe_fail(x, "Parameter certificate-chain is defined multiple times, define it only once.");
    c.chain = chain && xe_fine(x) ? xe_file_need(x, chain, "certificate chain") : "";
    if (xe_fine(x))
        (void)xe_each(x, XE_SELECTS_HOSTS, XE_ONE, own, certificate_one, &c);
}

static void encode(struct xk_buf *b, const char *text)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const size_t len = strlen(text);

    for (size_t i = 0; i < len; i += 3) {
        const unsigned a = (unsigned char)text[i], c = i + 1 < len ? (unsigned char)text[i + 1] : 0,
                       d = i + 2 < len ? (unsigned char)text[i + 2] : 0;
        xk_buf_add_char(b, letters[a >> 2]);
        xk_buf_add_char(b, letters[(a & 3) << 4 | c >> 4]);
        xk_buf_add_char(b, i + 1 < len ? letters[(c & 15) << 2 | d >> 6] : '=');
        xk_buf_add_char(b, i + 2 < len ? letters[d & 63] : '=');
    }
}

static void host_license_add(struct xe *x)
{
    const char *const host = xe_param(x, "host-uuid") ? xe_param_ref(x, "host", "host-uuid") : xe_this_host(x);
    const char *const content = xe_file_load(x, xe_required(x, "license-file"));
    struct xk_buf b = XK_BUF_INIT(XE_UPLOAD_BYTES_MAX * 2);

    if (!content)
        return refuse_import(x, "Failed to read license file.\n");
    encode(&b, content);
    (void)xe_do(x, "host.license_add", xapi_str(host), xapi_str(xk_buf_str(&b)));
    xk_buf_done(&b);
    if (xe_fine(x))
        return xe_print(x, "License applied.");
    if (xe_forgive(x))
        refuse_import(x, "Failed to apply license file.\n");
}

/* ---- the pool ---- */

static const char *master_prefix(struct xe *x)
{
    const char *const prefix =
        xk_arena_printf(&x->arena, "https://%s", xe_get_text(x, "host.get_address", xe_the_master(x)));

    return prefix ? prefix : "";
}

static void pool_dump_database(struct xe *x)
{
    const struct xe_file file = {.kind = XE_GET,
                                 .label = "dump database",
                                 .path = xe_required(x, "file-name"),
                                 .prefix = master_prefix(x),
                                 .address = "/pool/xmldbdump?",
                                 .rest = ""};

    if (xe_fine(x))
        (void)xe_file_copy(x, &file);
}

static void pool_restore_database(struct xe *x)
{
    const bool dry_run = xe_param(x, "dry-run") != NULL;
    const struct xe_file file = {.kind = XE_PUT,
                                 .label = "restore database",
                                 .path = xe_required(x, "file-name"),
                                 .prefix = "",
                                 .address = "/pool/xmldbdump?",
                                 .rest = dry_run ? "&dry_run=true" : "&dry_run=false"};

    if (!xe_param(x, "force") && !dry_run)
        return xe_fail(x,
                       "This operation will restore the database backup to this host, making it the master. All slave "
                       "hosts are assumed dead and they will be forgotten. This operation must be forced (use "
                       "--force).");
    (void)xe_file_copy(x, &file);
    xe_list_one(x, dry_run ? "Dry-run backup restore successful"
                           : "Host will reboot with restored database in 30.000 seconds...");
}

static void pool_sync_bundle(struct xe *x)
{
    const struct xe_file file = {.kind = XE_PUT,
                                 .label = "upload bundle",
                                 .path = xe_required(x, "filename"),
                                 .prefix = master_prefix(x),
                                 .address = "/bundle?",
                                 .rest = ""};

    if (xe_fine(x))
        (void)xe_file_copy(x, &file);
}

static void name_update_disk(struct xe *x, const char *update)
{
    const char *const vdi = xe_get_text(x, "pool_update.get_vdi", update);
    const char *const label =
        xk_arena_printf(&x->arena, "Update: %s", xe_get_text(x, "pool_update.get_name_label", update));

    (void)xe_do(x, "VDI.set_name_label", xapi_str(vdi), xapi_str(label ? label : ""));
}

static void patch_upload(struct xe *x)
{
    const char *const rest =
        xk_arena_printf(&x->arena, "&sr_id=%s", xe_get_text(x, "pool.get_default_SR", xe_the_pool(x)));
    const struct xe_file file = {.kind = XE_PUT,
                                 .label = "host patch upload",
                                 .path = xe_required(x, "file-name"),
                                 .prefix = "",
                                 .address = "/pool_patch_upload?",
                                 .rest = rest ? rest : ""};
    const char *const patch = xe_fine(x) ? xe_file_copy(x, &file) : "";
    const char *const uuid = xe_uuid_of(x, "pool_patch", patch);

    name_update_disk(x, xe_get_text(x, "pool_patch.get_pool_update", patch));
    if (xe_fine(x))
        xe_print(x, uuid);
}

static void update_upload(struct xe *x)
{
    const char *sr = xe_param(x, "sr-uuid");

    if (!sr && !(sr = xe_default_sr(x)))
        xe_fail(
            x, "No sr-uuid parameter was given, and the pool's default SR is unspecified or invalid. Please explicitly "
               "specify the SR to use in the sr-uuid parameter, or set the pool's default SR.");
    const char *const rest = xk_arena_printf(&x->arena, "&sr_id=%s", sr ? xe_by_uuid(x, "SR", sr) : "");
    const struct xe_file file = {.kind = XE_PUT,
                                 .label = "host patch upload",
                                 .path = xe_required(x, "file-name"),
                                 .prefix = "",
                                 .address = "/import_raw_vdi?",
                                 .rest = rest ? rest : ""};
    const char *const result = xe_fine(x) ? xe_file_copy(x, &file) : "";
    const struct xapi_value vdi = result_value(x, result);
    const struct xapi_value update = xe_do(x, "pool_update.introduce", vdi);
    if (x->failure == XE_SERVER) {
        const struct xapi_value server = x->server;
        (void)xe_forgive(x);
        (void)xe_get(x, "VDI.destroy", xapi_value_text(&vdi));
        (void)xe_forgive(x);
        if (xe_fine(x)) {
            x->failure = XE_SERVER;
            x->server = server;
        }
        return;
    }
    const char *const uuid = xe_uuid_of(x, "pool_update", xe_value_text(x, &update));
    name_update_disk(x, xe_value_text(x, &update));
    if (xe_fine(x))
        xe_print(x, uuid);
}

/* ---- reports and logs ---- */

static void pool_retrieve_wlb_report(struct xe *x)
{
    const char *const report = xe_required(x, "report");
    const char *const label = xk_arena_printf(&x->arena, "WLB report: %s", report);
    struct xk_buf rest = XK_BUF_INIT(1u << 18);

    xk_buf_printf(&rest, "&report=%s", xe_url_escaped(x, report));
    for (size_t i = 0; i < x->param_count; i++)
        if (strcmp(x->params[i].name, "report") != 0 && strcmp(x->params[i].name, "filename") != 0 &&
            !xe_is_standard_param(x->params[i].name))
            xk_buf_printf(&rest, "&%s=%s", xe_url_escaped(x, x->params[i].name), xe_url_escaped(x, x->params[i].value));
    xe_file_move(x, XE_GET, NULL, label ? label : "", "", xe_param_or(x, "filename", ""), "/wlb_report",
                 xk_buf_str(&rest), "Report generation");
    xk_buf_done(&rest);
}

static void pool_retrieve_wlb_diagnostics(struct xe *x)
{
    xe_file_move(x, XE_GET, NULL, "WLB diagnostics download", "", xe_param_or(x, "filename", ""), "/wlb_diagnostics",
                 "", "WLB diagnostics download");
}

static void audit_log_get(struct xe *x)
{
    const char *const path = xe_required(x, "filename");
    const char *const since = xk_arena_printf(&x->arena, "%.255s", xe_param_or(x, "since", ""));

    if (!since)
        return xe_fail_memory(x);
    const char *const label =
        *since ? xk_arena_printf(&x->arena, "audit-log-get (since \"%s\") into file %.255s", since, path)
               : xk_arena_printf(&x->arena, "audit-log-get into file %.255s", path);
    const char *const rest = *since ? xk_arena_printf(&x->arena, "&since=%s", xe_url_escaped(x, since)) : "";
    xe_file_move(x, XE_GET, NULL, label ? label : "", "", path, "/audit_log", rest ? rest : "", label ? label : "");
}

static void blob_move(struct xe *x, enum xe_transfer kind, const char *format, const char *label)
{
    const char *const blob = xe_param_ref(x, "blob", "uuid");
    const char *const task_label = xk_arena_printf(&x->arena, "%s%s", format, blob);
    const char *const rest = xk_arena_printf(&x->arena, "&ref=%s", blob);

    if (!task_label || !rest)
        return xe_fail_memory(x);
    if (xe_fine(x))
        xe_file_move(x, kind, NULL, task_label, "", xe_required(x, "filename"), "/blob", rest, label);
}

static void blob_get(struct xe *x)
{
    blob_move(x, XE_GET, "Obtaining blob, ref=", "Blob get");
}

static void blob_put(struct xe *x)
{
    blob_move(x, XE_PUT, "Blob PUT, ref=", "Blob put");
}

static void repository_introduce_remote_pool(struct xe *x)
{
    const char *const label = xe_required(x, "name-label"), *const url = xe_required(x, "binary-url");
    const char *const certificate = xe_file_need(x, xe_required(x, "certificate-file"), "certificate file");
    const struct xapi_value made =
        xe_do(x, "Repository.introduce_remote_pool", xapi_str(label), xapi_str(xe_param_or(x, "name-description", "")),
              xapi_str(url), xapi_str(certificate));

    xe_list_one(x, xe_uuid_of(x, "Repository", xe_value_text(x, &made)));
}

/* ---- the console ---- */

static void console(struct xe *x)
{
    const struct xe_terminal *const t = x->settings->terminal;
    const struct xe_remote *const remote = x->settings->remote;
    const struct xe_objects vms = xe_select(x, XE_SELECTS_VMS, XE_ALSO_CONTROL, NULL);
    const char *found = NULL;

    if (xe_fine(x) && vms.count != 1)
        return refuse_import(x, vms.count == 0 ? "No VM found\n"
                                               : "Multiple VMs found: please narrow your request to one VM.\n");
    const struct xapi_value consoles = xe_fine(x) ? xe_get(x, "VM.get_consoles", vms.items[0].ref) : xapi_nil();
    for (uint32_t i = 0; i < consoles.count && !found && xe_fine(x); i++)
        if (strcmp(xe_get_text(x, "console.get_protocol", xe_item(&consoles, i)), "vt100") == 0)
            found = xe_item(&consoles, i);
    if (!found)
        return refuse_import(x, "No text console available\n");
    const char *const line = xk_arena_printf(&x->arena, "Connecting to console on VM %s. Press Ctrl + ']' to quit.",
                                             xe_get_text(x, "VM.get_name_label", vms.items[0].ref));
    const char *const address = xk_arena_printf(
        &x->arena, "%s&session_id=%s", xe_get_text(x, "console.get_location", found), remote->session(remote->context));
    if (!xe_fine(x))
        return;
    xe_print(x, line ? line : "");
    const int begun = t->begin(t->context, XE_CONNECT, "", address ? address : "");
    const int code = begun < 0 ? begun : t->end(t->context);
    if (code < 0)
        xe_fail_lost(x, code);
    else if (code > 0)
        xe_fail(x, "Failure");
}

const struct xe_row xe_file_rows[] = {
    {"vm-export", vm_export},
    {"template-export", template_export},
    {"snapshot-export-to-template", snapshot_export_to_template},
    {"vm-import", vm_import},
    {"vdi-import", vdi_import},
    {"vdi-export", vdi_export},
    {"host-backup", host_backup},
    {"host-restore", host_restore},
    {"host-logs-download", host_logs_download},
    {"host-get-system-status", host_get_system_status},
    {"host-server-certificate-install", host_server_certificate_install},
    {"host-license-add", host_license_add},
    {"pool-dump-database", pool_dump_database},
    {"pool-restore-database", pool_restore_database},
    {"pool-sync-bundle", pool_sync_bundle},
    {"patch-upload", patch_upload},
    {"update-upload", update_upload},
    {"pool-retrieve-wlb-report", pool_retrieve_wlb_report},
    {"pool-retrieve-wlb-diagnostics", pool_retrieve_wlb_diagnostics},
    {"audit-log-get", audit_log_get},
    {"blob-get", blob_get},
    {"blob-put", blob_put},
    {"repository-introduce-remote-pool", repository_introduce_remote_pool},
    {"console", console},
    {NULL, NULL},
};
