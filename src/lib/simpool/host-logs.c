/*
 * GET /host_logs_download: the logs of the host that is asked, as a gzip'd tar of /var/log, as the real one gives them;
 * and GET /system-status: a tar with the same and the database, of what a real host's report has much more.
 *
 * With --log FOLDER each host has its own; one file for all of them is the master's. Without --log there is nothing in
 * the archive. All is made in memory, the newest first, so of very long logs the oldest pieces are left out.
 */
#include "lib/simpool/access.h"
#include "lib/simpool/log.h"
#include "lib/simpool/transfer.h"

#include "core/text.h"
#include "lib/xva/xva.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#define MEMBER            "var/log/xensource.log"
#define FOLDER_BYTES      64
#define ARCHIVE_BYTES_MAX (256u << 20)

static void add_member(struct xk_buf *tar, const char *name, const char *bytes, size_t size, int64_t mtime_s)
{
    uint8_t head[XVA_BLOCK];

    xva_tar_head(head, name, size, mtime_s);
    xk_buf_add(tar, head, sizeof(head));
    xk_buf_add(tar, bytes, size);
    xk_buf_add_repeat(tar, '\0', xva_tar_padding(size));
}

/* A whole file, whatever its bytes. returns   NULL: it is not there, larger than `room`, or cannot be read. */
static char *read_file(const struct simpool *p, const char *path, size_t room, size_t *ret_bytes)
{
    struct xk_file file = {0};
    uint64_t bytes = 0;
    char *data = NULL;

    if (xk_file_open(&file, p->settings.fs, path, O_RDONLY, 0, NULL) < 0)
        return NULL;
    if (xk_file_size(&bytes, &file, NULL) == 0 && bytes <= room)
        data = xk_alloc((size_t)bytes);
    const ssize_t got = data ? xk_file_read_some(&file, data, (size_t)bytes, 0, NULL) : -ENOMEM;
    xk_file_close(&file);
    if (got < 0) {
        free(data);
        return NULL;
    }
    *ret_bytes = (size_t)got;
    return data;
}

/* returns   whether there may be an older one. */
static bool add_piece(struct xk_buf *tar, const struct simpool *p, const char *folder, const char *path,
                      unsigned number)
{
    const char *const end = number > 1 ? ".gz" : "";
    char dot[16] = "", name[FOLDER_BYTES + 64];
    size_t bytes = 0;
    struct stat st;

    if (number)
        snprintf(dot, sizeof(dot), ".%u", number);
    xk_autofree char *piece = xk_asprintf("%s%s%s", path, dot, end);
    snprintf(name, sizeof(name), "%.*s" MEMBER "%s%s", FOLDER_BYTES, folder, dot, end);
    if (!piece || stat(piece, &st) < 0)
        return number == 0;
    xk_autofree char *data = read_file(p, piece, ARCHIVE_BYTES_MAX - tar->len - 4 * XVA_BLOCK, &bytes);
    if (data)
        add_member(tar, name, data, bytes, st.st_mtime);
    return data != NULL;
}

static int compress_into(struct xk_buf *ret, const struct xk_buf *tar)
{
    uint8_t out[65536];
    z_stream z = {.next_in = (Bytef *)(uintptr_t)tar->data, .avail_in = (uInt)tar->len};
    int code = Z_OK;

    if (deflateInit2(&z, 1, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return -ENOMEM;
    while (code == Z_OK && !ret->error) {
        z.next_out = out;
        z.avail_out = sizeof(out);
        code = deflate(&z, Z_FINISH);
        xk_buf_add(ret, out, sizeof(out) - z.avail_out);
    }
    (void)deflateEnd(&z);
    return ret->error;
}

/* Roles as the data model has them for this path. */
static bool may(struct simpool *p, const struct http_exchange *x)
{
    char ref[SIM_REF_BYTES];
    const struct sim_session *const s =
        sim_http_param(x, "session_id", ref, sizeof(ref)) ? sim_session_find(p, ref) : NULL;

    return !s || sim_access_has(s, XAPI_ROLE_PA | XAPI_ROLE_PO);
}

/* Of the host that is asked, the newest first; then the archive's end. */
static void add_logs(struct xk_buf *tar, const struct simpool *p, const char *folder, unsigned host)
{
    const char *const path = sim_log_path(p, host);

    for (unsigned number = 0; path && add_piece(tar, p, folder, path, number);)
        number++;
}

void sim_host_logs(struct simpool *p, struct http_exchange *x)
{
    const struct http_reply head = {.status = 200, .type = "application/x-gzip", .close = true};
    struct xk_buf tar = XK_BUF_INIT(ARCHIVE_BYTES_MAX), packed = XK_BUF_INIT(ARCHIVE_BYTES_MAX);

    if (!may(p, x))
        return http_refuse(x, 403);
    add_logs(&tar, p, "", http_tag(x));
    xk_buf_add_repeat(&tar, '\0', 2 * (size_t)XVA_BLOCK);
    if (tar.error || compress_into(&packed, &tar) < 0)
        sim_request_fail(p, x, 500, &(struct sim_error){.count = 1, .texts = {"INTERNAL_ERROR"}});
    else
        sim_request_answer(p, x, &head, &packed);
    xk_buf_done(&tar);
    xk_buf_done(&packed);
}

/* ---- the report of a host ---- */

static bool has_word(const char *list, const char *word)
{
    const size_t len = strlen(word);

    for (const char *at = list; *at; at += strcspn(at, ",") + (at[strcspn(at, ",")] == ','))
        if (strcspn(at, ",") == len && strncmp(at, word, len) == 0)
            return true;
    return *list == '\0'; /* all are meant */
}

void sim_system_status(struct simpool *p, struct http_exchange *x)
{
    const int64_t now_s = sim_now_s(p);
    struct sim_error error;
    struct xk_buf body = XK_BUF_INIT(ARCHIVE_BYTES_MAX);
    char word[16], entries[1024], folder[FOLDER_BYTES], headers[256], stamp[32];
    struct tm t;

    if (sim_http_param(x, "list", word, sizeof(word)) || *word) { /* for everybody */
        sim_report_capabilities(&body);
        return http_reply(x, &(struct http_reply){.status = 200, .type = "application/xml", .close = true}, &body);
    }
    if (!sim_http_allowed(p, x, "get_system_status", XAPI_ROLE_PA | XAPI_ROLE_PO))
        return;
    if (sim_http_param(x, "output", word, sizeof(word)) && (sim_same(word, "tar.bz2") || sim_same(word, "zip"))) {
        sim_error_set(&error, "SYSTEM_STATUS_RETRIEVAL_FAILED", "xen-bugtool failed: a simulated host writes tar only",
                      NULL);
        return sim_request_fail(p, x, 500, &error);
    }
    (void)sim_http_param(x, "entries", entries, sizeof(entries));
    if (!gmtime_r(&(time_t){now_s}, &t))
        return http_refuse(x, 500);
    (void)strftime(folder, sizeof(folder), "bug-report-%Y%m%d%H%M%S/", &t);
    (void)strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S-00:00", &t);
    if (has_word(entries, "xenserver-databases")) {
        struct xk_buf database = XK_BUF_INIT(SIM_REPLY_BYTES_MAX);
        char name[FOLDER_BYTES + 16];
        sim_database_text(p, &database, false);
        snprintf(name, sizeof(name), "%sxapi-db.xml", folder);
        add_member(&body, name, xk_buf_str(&database), database.len, now_s);
        xk_buf_done(&database);
    }
    if (has_word(entries, "xenserver-logs"))
        add_logs(&body, p, folder, http_tag(x));
    xk_buf_add_repeat(&body, '\0', 2 * (size_t)XVA_BLOCK);
    snprintf(headers, sizeof(headers), "content-disposition: attachment; filename=\"system_status-%s-%.64s.tar\"\r\n",
             stamp, sim_text(sim_find(p, p->host_refs[http_tag(x)], NULL), "hostname"));
    /* The type is misspelt on the real server, too. */
    sim_request_answer(
        p, x, &(struct http_reply){.status = 200, .type = "appliation/x-tar", .headers = headers, .close = true},
        &body);
}
