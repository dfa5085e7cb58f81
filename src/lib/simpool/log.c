/*
 * What is said, and in which words: the lines of a release, with its stamps, names and escapes.
 *
 * Handing lines to the machine's own syslog was weighed: tests and demos need files of their own.
 */
#include "lib/simpool/log.h"

#include "core/text.h"
#include "lib/simpool/era.h"
#include "lib/simpool/log-file.h"

#include <openssl/evp.h>

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define NAME            "xensource.log"
#define COUNTS_EVERY_S  600
#define SPLIT_BYTES_MAX 900 /* of a line, in releases that split */
#define TASK_BYTES      16
#define LOCAL_THREAD    "UNIX /var/lib/xcp/xapi"

struct sim_log {
    struct sim_log_file *files; /* one, or one for each host */
    unsigned count;
    const struct sim_era *era;
    struct xk_random random; /* of its own: whether there is a log does not change the pool */
    uint64_t threads;
    int64_t counted_s;
    char collection[64]; /* the task of the collector's pass */
};

/* ---- opening ---- */

static int add_file(struct simpool *p, char *path, struct xk_err *err)
{
    struct sim_log *const log = p->log;

    return path ? sim_log_file_open(&log->files[log->count++], p->settings.fs, p->settings.clock, path,
                                    p->settings.log_bytes, err)
                : xk_fail_memory(err);
}

static bool is_folder(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* DIR/host-1/xensource.log and so on, where a server status report has them. */
static int open_folder(struct simpool *p, const char *dir, struct xk_err *err)
{
    int code = 0;

    for (unsigned i = p->log->count; i < p->settings.hosts && code == 0; i++) {
        xk_autofree char *own = xk_asprintf("%s/host-%u", dir, i + 1);
        if (!own)
            return xk_fail_memory(err);
        if (mkdir(own, 0750) < 0 && errno != EEXIST)
            return xk_fail_sys(err, -errno, "making the folder %s", own);
        code = add_file(p, xk_path_join(own, NAME), err);
    }
    return code;
}

int sim_log_open(struct simpool *p, struct xk_err *err)
{
    const char *const path = p->settings.log;

    if (!path)
        return 0;
    p->log = xk_zalloc(sizeof(*p->log));
    if (!p->log || (p->log->files = xk_array_alloc(SIMPOOL_HOSTS_MAX, sizeof(*p->log->files))) == NULL)
        return xk_fail_memory(err);
    p->log->era = sim_era(p->settings.era);
    xk_random_seed(&p->log->random, xk_random_u64(p->settings.random));
    return is_folder(path) ? open_folder(p, path, err) : add_file(p, xk_strdup(path), err);
}

void sim_log_join(struct simpool *p, unsigned host)
{
    if (p->log && host >= p->log->count && is_folder(p->settings.log))
        (void)open_folder(p, p->settings.log, NULL);
}

void sim_log_close(struct simpool *p)
{
    if (!p->log)
        return;
    for (unsigned i = 0; i < p->log->count; i++)
        sim_log_file_close(&p->log->files[i]);
    free(p->log->files);
    free(p->log);
    p->log = NULL;
}

const char *sim_log_path(const struct simpool *p, unsigned host)
{
    const struct sim_log *const log = p->log;

    if (!log || (log->count == 1 && host != p->master))
        return NULL;
    return log->files[log->count == 1 ? 0 : host].path;
}

/* ---- lines ---- */

static const char *hostname(const struct simpool *p, unsigned host)
{
    const struct sim_object *const o = sim_find(p, p->host_refs[host], xapi_class_find("host"));

    return o ? sim_text(o, "hostname") : "localhost";
}

static void put_stamp(struct xk_buf *b, int64_t utc_ns, bool inside)
{
    static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    const time_t seconds = (time_t)(utc_ns / (int64_t)XK_NS_PER_S);
    struct tm t;

    if (!gmtime_r(&seconds, &t))
        return;
    if (inside)
        xk_buf_printf(b, "%d%02d%02dT%02d:%02d:%02d.%03dZ|", t.tm_year + 1900, t.tm_mon + 1, t.tm_mday, t.tm_hour,
                      t.tm_min, t.tm_sec, (int)(utc_ns / 1000000 % 1000));
    else
        xk_buf_printf(b, "%s %2d %02d:%02d:%02d ", months[t.tm_mon], t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec);
}

/* Foreign text as this release leaves it. */
static void put_escaped(struct xk_buf *b, const char *text, enum sim_escape escape, const char *prefix)
{
    size_t line = 0;

    for (const char *c = text; *c && b->len < SIM_LOG_LINE_BYTES_MAX; c++) {
        const uint8_t byte = (uint8_t)*c;
        const bool control = byte < 0x20 || byte == 0x7f;
        if (escape == SIM_ESCAPE_HEX && (control || byte > 0x7f))
            xk_buf_printf(b, "\\x%02X", byte);
        else if (escape == SIM_ESCAPE_HEX && byte == '\\')
            xk_buf_add_str(b, "\\\\");
        else if (escape == SIM_ESCAPE_SYSLOG && control)
            xk_buf_printf(b, "#%03o", byte);
        else if (escape == SIM_ESCAPE_SPLIT && (byte == '\n' || line == SPLIT_BYTES_MAX)) {
            xk_buf_printf(b, "%s\n%s", byte == '\n' ? "" : "...", prefix);
            if (byte != '\n')
                xk_buf_add_char(b, *c);
            line = byte != '\n';
            continue;
        } else if (escape == SIM_ESCAPE_SPLIT && control)
            xk_buf_printf(b, "^%c", byte ^ 0x40);
        else
            xk_buf_add_char(b, *c);
        line++;
    }
}

static void put_line(struct simpool *p, const struct sim_source *from, enum sim_level level, const char *thread,
                     const char *message)
{
    static const char *const levels[] = {
        [SIM_LOG_DEBUG] = "debug", [SIM_LOG_INFO] = " info", [SIM_LOG_WARN] = " warn", [SIM_LOG_ERROR] = "error"};
    const struct sim_era *const era = p->log->era;
    const int64_t now_ns = sim_now_ns(p, from->host);
    const char *const name = hostname(p, from->host);
    xk_auto(xk_buf_done) struct xk_buf prefix = XK_BUF_INIT(1024), text = XK_BUF_INIT(1u << 20),
                                       line = XK_BUF_INIT(2 * SIM_LOG_LINE_BYTES_MAX);

    if (!era->stamp_inside) {
        put_stamp(&prefix, now_ns, false);
        xk_buf_printf(&prefix, "%s xapi: ", name);
    }
    xk_buf_add_char(&text, '[');
    if (era->stamp_inside)
        put_stamp(&text, now_ns, true);
    xk_buf_printf(&text, "%s|%s|%s|%s|%s] %s", levels[level], era->hostname ? name : "", thread, from->task,
                  from->brand, message);
    xk_buf_add_str(&line, xk_buf_str(&prefix));
    put_escaped(&line, xk_buf_str(&text), era->escape, xk_buf_str(&prefix));
    xk_buf_add_char(&line, '\n');
    if (!line.error && !text.error)
        (void)sim_log_file_append(&p->log->files[from->host < p->log->count ? from->host : 0], line.data, line.len,
                                  NULL);
}

static void vlog(struct simpool *p, const struct sim_source *from, enum sim_level level, const char *format,
                 va_list args) XK_PRINTF(4, 0);

static void vlog(struct simpool *p, const struct sim_source *from, enum sim_level level, const char *format,
                 va_list args)
{
    xk_auto(xk_buf_done) struct xk_buf message = XK_BUF_INIT(1u << 20);
    char thread[96];

    xk_buf_vprintf(&message, format, args);
    const struct sim_era *const era = p->log->era;
    const char *const name = from->thread ? from->thread : era->socket;
    const unsigned long long number = from->thread ? 0 : p->log->threads;
    if (era->client && !from->thread)
        snprintf(thread, sizeof(thread), "%llu %s %s->%s", number, p->settings.tls ? "HTTPS" : "HTTP",
                 from->client && *from->client ? from->client : "127.0.0.1", name);
    else
        snprintf(thread, sizeof(thread), "%llu %s", number, name);
    put_line(p, from, level, thread, xk_buf_str(&message));
}

void sim_log(struct simpool *p, const struct sim_source *from, enum sim_level level, const char *format, ...)
{
    va_list args;

    if (!p->log)
        return;
    va_start(args, format);
    vlog(p, from, level, format, args);
    va_end(args);
}

/* ---- what is said ---- */

void sim_trackid(char ret[SIM_TRACKID_BYTES], const char *ref)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned bytes = 0;

    ret[0] = '\0';
    if (EVP_Digest(ref, strlen(ref), digest, &bytes, EVP_md5(), NULL) != 1)
        return;
    for (unsigned i = 0; i < bytes && i < 16; i++)
        snprintf(ret + 2 * (size_t)i, 3, "%02x", digest[i]);
}

/* "D:" and twelve digits, as the short form of a task that is in no database. */
static void new_task(struct simpool *p, char ret[TASK_BYTES], char kind)
{
    snprintf(ret, TASK_BYTES, "%c:%012llx", kind,
             (unsigned long long)(xk_random_u64(&p->log->random) & UINT64_C(0xffffffffffff)));
}

/* The word for the task of a call; the same for all lines that it writes. */
static const char *call_task(struct sim_call *c)
{
    const char *const ref = c->task_ref + strlen("OpaqueRef:");
    char id[TASK_BYTES];

    if (*c->log_task)
        return c->log_task;
    c->pool->log->threads++;
    if (*c->task_ref) { /* the first eight digits of the ref and the next four */
        snprintf(c->log_task, sizeof(c->log_task), "%s R:%.8s%.4s", c->wire.method, ref, ref + 9);
    } else {
        new_task(c->pool, id, 'D');
        snprintf(c->log_task, sizeof(c->log_task), "%s %s", c->message ? xapi_text(c->message->name) : "", id);
    }
    return c->log_task;
}

static struct sim_source of_call(struct sim_call *c, const char *brand)
{
    if (c->exchange && !*c->log_client)
        http_peer(c->log_client, c->exchange);
    return (struct sim_source){.host = c->host,
                               .thread = sim_is_local(c->pool, c->exchange) ? LOCAL_THREAD : NULL,
                               .client = c->log_client,
                               .task = call_task(c),
                               .brand = brand};
}

static struct sim_source of_collector(struct simpool *p, const char *brand)
{
    return (struct sim_source){.host = p->master, .thread = "db_gc", .task = p->log->collection, .brand = brand};
}

static void put_origin(struct sim_call *c, char *ret, size_t bytes)
{
    const char *const agent = c->exchange ? http_header(c->exchange, "user-agent") : c->agent;

    snprintf(ret, bytes, "HTTP request from %s with User-Agent: %s",
             sim_is_local(c->pool, c->exchange) ? "Unix domain socket" : "Internet", agent ? agent : "unknown");
}

void sim_log_start(struct simpool *p, unsigned host)
{
    char task[64], id[TASK_BYTES];

    if (!p->log)
        return;
    new_task(p, id, 'D');
    snprintf(task, sizeof(task), "server_init %s", id);
    const struct sim_source from = {.host = host, .thread = "", .task = task, .brand = "xapi"};
    p->log->threads = 0;
    if (p->log->era->pid)
        sim_log(p, &from, SIM_LOG_DEBUG, "(Re)starting xapi, pid: %u",
                (unsigned)(1000 + xk_random_below(&p->log->random, 30000)));
    else
        sim_log(p, &from, SIM_LOG_INFO, "(Re)starting xapi...");
}

void sim_log_auth_failed(struct sim_call *c, const char *user, const char *why)
{
    char origin[512];

    if (!c->pool->log)
        return;
    put_origin(c, origin, sizeof(origin));
    const struct sim_source from = of_call(c, c->pool->log->era->session_brand);
    sim_log(c->pool, &from, SIM_LOG_INFO, "Failed to locally authenticate user %s from %s: %s", user, origin, why);
}

void sim_log_login(struct sim_call *c, const char *user, const char *sid)
{
    char origin[512];

    if (!c->pool->log)
        return;
    put_origin(c, origin, sizeof(origin));
    const struct sim_source from = of_call(c, c->pool->log->era->session_brand);
    if (sid)
        sim_log(c->pool, &from, SIM_LOG_DEBUG,
                "Successful external authentication user %s (subject_identifier, %s from %s)", user, sid, origin);
    else
        sim_log(c->pool, &from, SIM_LOG_DEBUG, "%s %s from %s", c->pool->log->era->success, user, origin);
}

void sim_log_session_create(struct sim_call *c, const struct sim_session *s, const char *user, const char *originator)
{
    char own[SIM_TRACKID_BYTES], none[SIM_TRACKID_BYTES];

    if (!c->pool->log)
        return;
    const struct sim_era *const era = c->pool->log->era;
    const struct sim_source from = of_call(c, era->session_brand);
    sim_trackid(own, s->ref);
    sim_trackid(none, SIM_NULL);
    sim_log(c->pool, &from, SIM_LOG_INFO,
            "Session.create trackid=%s pool=%s uname=%s %s%s%sis_local_superuser=%s auth_user_sid=%s parent=trackid=%s",
            own, s->object && sim_bool(s->object, "pool") ? "true" : "false", user,
            era->originator ? "originator=" : "", era->originator ? originator : "", era->originator ? " " : "",
            s->object && !sim_bool(s->object, "is_local_superuser") ? "false" : "true",
            s->object ? sim_text(s->object, "auth_user_sid") : "", none);
}

static void put_destroy(struct simpool *p, const struct sim_source *from, const struct sim_session *s)
{
    char own[SIM_TRACKID_BYTES];

    sim_trackid(own, s->ref);
    sim_log(p, from, SIM_LOG_INFO, "Session.destroy trackid=%s", own);
}

void sim_log_session_destroy(struct simpool *p, struct sim_call *c, const struct sim_session *s)
{
    char task[64], id[TASK_BYTES];

    if (!p->log)
        return;
    new_task(p, id, 'D');
    snprintf(task, sizeof(task), "session.logout %s", id);
    const char *const brand = p->log->era->session_brand;
    const struct sim_source from =
        c ? of_call(c, brand) : (struct sim_source){.host = p->master, .task = task, .brand = brand};
    put_destroy(p, &from, s);
}

void sim_log_session_wrong(struct sim_call *c, const char *ref)
{
    /* A session of another host is alive there: its ref is a secret. */
    if (!c->pool->log || !c->pool->log->era->checks || sim_session_find(c->pool, ref))
        return;
    const struct sim_source from = of_call(c, "session_check");
    sim_log(c->pool, &from, SIM_LOG_INFO,
            "Session check failed: the client used an illegal or expired session ref '%s'", ref);
}

/* ---- the collector ---- */

/* "" or " in group 'G'" with a space where the sentence goes on. */
static void put_group(const struct simpool *p, char *ret, size_t bytes, const char *group)
{
    if (p->log->era->groups)
        snprintf(ret, bytes, "in group '%s' ", group);
    else
        ret[0] = '\0';
}

void sim_log_too_many(struct simpool *p, const char *group, unsigned disposable, unsigned all, unsigned limit)
{
    char words[1024];

    if (!p->log)
        return;
    const struct sim_source from = of_collector(p, p->log->era->gc_brand);
    put_group(p, words, sizeof(words), group);
    sim_log(p, &from, SIM_LOG_DEBUG,
            "Number of disposable sessions %sin database (%u/%u) exceeds limit (%u): will delete the oldest", words,
            disposable, all, limit);
}

void sim_log_collected(struct simpool *p, const struct sim_session *s, bool old)
{
    char own[SIM_TRACKID_BYTES], words[1024], active[24];
    const time_t seconds = (time_t)s->last_active_s;
    struct tm t;

    if (!p->log || !s->object || !gmtime_r(&seconds, &t))
        return;
    const struct sim_source from = of_collector(p, p->log->era->gc_brand),
                            then = of_collector(p, p->log->era->session_brand);
    (void)strftime(active, sizeof(active), "%Y%m%dT%H:%M:%SZ", &t);
    put_group(p, words, sizeof(words), s->group);
    sim_trackid(own, s->ref);
    /* With its ref, as the real one: it ends with this very line, and a reader can check the trackid. */
    sim_log(p, &from, SIM_LOG_DEBUG,
            "Session.destroy _ref=%s uuid=%s trackid=%s (last active %s): Timed out session %sbecause %s", s->ref,
            sim_text(s->object, "uuid"), own, active, words,
            old ? "of its age" : "max number of sessions was exceeded");
    put_destroy(p, &then, s);
}

static void count_sessions(struct simpool *p)
{
    unsigned all = 0, pool = 0, anonymous = 0, groups = 0;

    for (const struct sim_session *s = p->sessions; s; s = s->next) {
        const struct sim_session *before = p->sessions;
        if (s->local)
            continue;
        all++;
        pool += strcmp(s->group, "internal") == 0;
        anonymous += strcmp(s->group, "external") == 0;
        while (before != s && strcmp(before->group, s->group) != 0)
            before = before->next;
        groups += before == s && strchr(s->group, ':');
    }
    const struct sim_source from = of_collector(p, p->log->era->gc_brand);
    sim_log(p, &from, SIM_LOG_DEBUG, "session_log: active_sessions=%u (%u pool, %u anon, %u named - %u groups)", all,
            pool, anonymous, all - pool - anonymous, groups);
}

void sim_log_pass(struct simpool *p)
{
    const int64_t now = sim_now_s(p);
    char id[TASK_BYTES];

    if (!p->log)
        return;
    new_task(p, id, 'D');
    snprintf(p->log->collection, sizeof(p->log->collection), "DB GC %s", id);
    if (!p->log->era->groups || (p->log->counted_s && now - p->log->counted_s <= COUNTS_EVERY_S))
        return;
    p->log->counted_s = now;
    count_sessions(p);
}

/* ---- calls ---- */

void sim_log_async(struct sim_call *c)
{
    char own[SIM_TRACKID_BYTES];

    if (!c->pool->log)
        return;
    const struct sim_source from = of_call(c, "dispatcher");
    sim_trackid(own, c->session_ref);
    sim_log(c->pool, &from, SIM_LOG_INFO, "spawning a new thread to handle the current task (trackid=%s)", own);
}

void sim_log_failed(struct sim_call *c)
{
    xk_auto(xk_buf_done) struct xk_buf what = XK_BUF_INIT(1u << 16);

    if (!c->pool->log || !c->pool->log->era->backtrace || c->error.count == 0)
        return;
    const struct sim_source from = of_call(c, "backtrace");
    xk_buf_printf(&what, "Server_error(%s, [ ", xapi_value_text(&c->error.items[0]));
    for (size_t i = 1; i < c->error.count; i++) {
        const char *const text = xapi_value_text(&c->error.items[i]);
        /* A session's ref in an error is a secret, too. */
        xk_buf_printf(&what, "%s%s", i > 1 ? "; " : "", sim_session_find(c->pool, text) ? "" : text);
    }
    xk_buf_add_str(&what, " ])");
    sim_log(c->pool, &from, SIM_LOG_ERROR, "%s failed with exception %s", call_task(c), xk_buf_str(&what));
    sim_log(c->pool, &from, SIM_LOG_ERROR, "Raised %s", xk_buf_str(&what));
}
