/*
 * Lines as the real server writes them to local6: a stamp and where they come from, then one s-expression.
 *
 * Of a call's parameters only those are told that cannot be secret: names and descriptions, and references, with the
 * name and the uuid of what they refer to. Facts: rbac_audit.ml, audit_log.ml of xapi (2026-08).
 */
#include "lib/simpool/audit.h"

#include "core/text.h"
#include "lib/simpool/hosts.h"
#include "lib/simpool/log-file.h"
#include "lib/simpool/log.h"
#include "lib/simpool/transfer.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define LINE_BYTES_MAX 65536
#define TEXT_BYTES_MAX 64 /* of a time */

struct sim_audit {
    struct xk_buf lines;
    struct sim_log_file file;
    bool has_file;
    uint64_t count;
};

int sim_audit_open(struct simpool *p, struct xk_err *err)
{
    const char *const log = p->settings.log;
    struct stat st;

    p->audit = xk_zalloc(sizeof(*p->audit));
    if (!p->audit)
        return xk_fail_memory(err);
    p->audit->lines = XK_BUF_INIT(SIM_AUDIT_BYTES_MAX + LINE_BYTES_MAX);
    if (!log || stat(log, &st) < 0 || !S_ISDIR(st.st_mode))
        return 0;
    char *const path = xk_asprintf("%s/host-%u/audit.log", log, p->master + 1);
    if (!path)
        return xk_fail_memory(err);
    p->audit->has_file = true;
    return sim_log_file_open(&p->audit->file, p->settings.fs, p->settings.clock, path, p->settings.log_bytes, err);
}

void sim_audit_close(struct simpool *p)
{
    if (!p->audit)
        return;
    if (p->audit->has_file)
        sim_log_file_close(&p->audit->file);
    xk_buf_done(&p->audit->lines);
    free(p->audit);
    p->audit = NULL;
}

/* ---- lines ---- */

/* The older half goes, up to the end of a line. */
static void forget_old(struct xk_buf *b)
{
    if (b->len <= SIM_AUDIT_BYTES_MAX)
        return;
    const char *const end = memchr(b->data + b->len / 2, '\n', b->len - b->len / 2);
    const size_t gone = end ? (size_t)(end + 1 - b->data) : b->len;
    memmove(b->data, b->data + gone, b->len - gone);
    b->len -= gone;
}

static void add_line(struct simpool *p, const struct xk_buf *line)
{
    struct sim_audit *const a = p->audit;

    if (line->error)
        return; /* a line is no reason to refuse a call */
    if (a->has_file)
        (void)sim_log_file_append(&a->file, line->data, line->len, NULL);
    xk_buf_add(&a->lines, line->data, line->len);
    forget_old(&a->lines);
    a->lines.error = 0;
    a->count++;
}

static void put_quoted(struct xk_buf *b, const char *text)
{
    xk_buf_add_char(b, '\'');
    for (const char *at = text; *at; at++) {
        if (*at == '\\' || *at == '\'')
            xk_buf_add_char(b, '\\');
        xk_buf_add_char(b, *at == '\n' || *at == '\r' ? ' ' : *at);
    }
    xk_buf_add_char(b, '\'');
}

static void put_arg(struct xk_buf *b, const char *name, const char *value, const char *uuid, const char *ref)
{
    const char *const texts[] = {name, value, uuid, ref};

    xk_buf_add_char(b, '(');
    for (size_t i = 0; i < XK_COUNT(texts); i++) {
        if (i)
            xk_buf_add_char(b, ' ');
        put_quoted(b, texts[i]);
    }
    xk_buf_add_char(b, ')');
}

static bool is_descriptive(const char *name)
{
    static const char *const names[] = {"name", "label", "description", "name_label", "name_description", "new_name"};

    for (size_t i = 0; i < XK_COUNT(names); i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

static bool put_value(struct xk_buf *b, const struct simpool *p, const char *name, const struct xapi_value *v,
                      bool first)
{
    const char *const text = v->shape == XAPI_TEXT ? v->text : NULL;
    const struct sim_object *const o = text ? sim_find(p, text, NULL) : NULL;

    if (!text || (!o && !is_descriptive(name) && !xk_has_prefix(text, "OpaqueRef:")) || strcmp(text, SIM_NULL) == 0)
        return false;
    if (!first)
        xk_buf_add_char(b, ' ');
    if (!o || is_descriptive(name)) {
        put_arg(b, name, is_descriptive(name) ? text : "", "", is_descriptive(name) ? "" : text);
        return true;
    }
    const bool named = o->class_row->name_label != XAPI_NONE, known = o->class_row->uuid != XAPI_NONE;
    put_arg(b, name, named ? sim_text(o, "name_label") : "", known ? sim_text(o, "uuid") : "", o->ref);
    return true;
}

/* A constructor's record stands for its members. */
static void put_args(struct xk_buf *b, const struct sim_call *c)
{
    const struct xapi_message *const m = c->message;
    bool first = true;

    xk_buf_add_char(b, '(');
    for (unsigned i = 0; i < m->params; i++) {
        const struct xapi_value *const v = &c->args[i];
        if (m->kind == XAPI_CREATE && v->shape == XAPI_MAP) {
            for (size_t j = 0; j < v->count; j++)
                if (put_value(b, c->pool, v->items[2 * j].text, &v->items[2 * j + 1], first))
                    first = false;
        } else if (put_value(b, c->pool, xapi_text(xapi_params[m->first_param + i].name), v, first)) {
            first = false;
        }
    }
    xk_buf_add_char(b, ')');
}

/* "[20261123T10:00:00.000Z|audit||7 HTTP 127.0.0.1->:::80|VM.start D:00000000002a|audit] " */
static void put_head(struct xk_buf *b, const struct simpool *p, const char *client, const char *task, char kind)
{
    const int64_t now_ns = sim_now_ns(p, p->master);
    const time_t seconds = (time_t)(now_ns / (int64_t)XK_NS_PER_S);
    struct tm t;

    if (!gmtime_r(&seconds, &t))
        memset(&t, 0, sizeof(t));
    xk_buf_printf(b, "[%d%02d%02dT%02d:%02d:%02d.%03dZ|audit||%llu %s %s->:::%u|%s %c:%012llx|audit] ",
                  t.tm_year + 1900, t.tm_mon + 1, t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec,
                  (int)(now_ns / 1000000 % 1000), (unsigned long long)p->audit->count,
                  p->settings.tls ? "HTTPS" : "HTTP", *client ? client : "127.0.0.1", p->settings.tls ? 443u : 80u,
                  task, kind, (unsigned long long)p->audit->count);
}

static void put_who(struct xk_buf *b, const char *ref, const struct sim_session *s)
{
    const struct sim_object *const o = s && !s->local ? s->object : NULL;
    char trackid[SIM_TRACKID_BYTES];

    sim_trackid(trackid, ref);
    xk_buf_printf(b, "('trackid=%s' ", trackid);
    put_quoted(b, !o ? "LOCAL_SESSION" : s->superuser ? "LOCAL_SUPERUSER" : sim_text(o, "auth_user_sid"));
    xk_buf_add_char(b, ' ');
    put_quoted(b, o ? sim_text(o, "auth_user_name") : "");
    xk_buf_add_char(b, ' ');
}

/* ---- calls ---- */

static bool is_told(const struct sim_call *c)
{
    static const char *const silent[] = {"session.local_logout", "session.logout", "event.next", "event.from",
                                         "host.tickle_heartbeat"};
    const char *const name = c->message && c->args ? xapi_text(c->message->name) : NULL;

    if (!name || !c->pool->audit || !(c->message->flags & XAPI_MESSAGE_SESSION) || strstr(name, ".get"))
        return false;
    for (size_t i = 0; i < XK_COUNT(silent); i++)
        if (strcmp(silent[i], name) == 0)
            return false;
    return true;
}

void sim_audit_begin(struct sim_call *c)
{
    struct xk_buf b = XK_BUF_INIT(LINE_BYTES_MAX);

    if (!is_told(c) || !strstr(xapi_text(c->message->name), ".destroy"))
        return;
    put_args(&b, c);
    c->audited = b.error ? NULL : xk_arena_strdup(&c->arena, xk_buf_str(&b));
    xk_buf_done(&b);
}

static void put_result(struct xk_buf *b, const struct sim_call *c, bool failed)
{
    struct xk_buf text = XK_BUF_INIT(LINE_BYTES_MAX / 4);

    xk_buf_add_str(&text, failed ? "ERROR:" : "OK");
    for (size_t i = 0; failed && i < c->error.count; i++)
        xk_buf_printf(&text, i == 0 ? "%s: [ " : i == 1 ? "%s" : "; %s", xapi_value_text(&c->error.items[i]));
    xk_buf_add_str(&text, failed ? " ]" : "");
    put_quoted(b, xk_buf_str(&text));
    xk_buf_done(&text);
}

void sim_audit_end(struct sim_call *c, enum sim_outcome outcome, bool denied)
{
    struct xk_buf b = XK_BUF_INIT(LINE_BYTES_MAX);

    if (!is_told(c) || c->denied)
        return;
    c->denied = denied; /* the call ends with that error, which is no news then */
    if (c->exchange && !*c->log_client)
        http_peer(c->log_client, c->exchange);
    put_head(&b, c->pool, c->log_client, xapi_text(c->message->name), *c->task_ref && !c->passing ? 'R' : 'D');
    put_who(&b, c->session_ref, sim_session_find(c->pool, c->session_ref));
    xk_buf_add_str(&b, denied ? "'DENIED' " : "'ALLOWED' ");
    if (denied)
        xk_buf_add_str(&b, "''");
    else
        put_result(&b, c, outcome == SIM_FAILED);
    xk_buf_printf(&b, " 'API' '%s' ", xapi_text(c->message->name));
    if (c->audited)
        xk_buf_add_str(&b, c->audited);
    else
        put_args(&b, c);
    xk_buf_add_str(&b, ")\n");
    add_line(c->pool, &b);
    xk_buf_done(&b);
}

void sim_audit_session(struct simpool *p, const struct sim_session *s, const char *uname)
{
    const char *const action = uname ? "session.create" : "session.destroy";
    struct xk_buf b = XK_BUF_INIT(LINE_BYTES_MAX);

    if (!p->audit || s->local || s->pool || s->superuser || !s->object)
        return;
    put_head(&b, p, "", action, 'D');
    put_who(&b, s->ref, s);
    xk_buf_printf(&b, "'ALLOWED' 'OK' 'API' '%s' (", action);
    if (uname) {
        put_arg(&b, "uname", uname, "", "");
        xk_buf_add_char(&b, ' ');
    }
    put_arg(&b, "originator", sim_text(s->object, "originator"), "", "");
    xk_buf_add_str(&b, "))\n");
    add_line(p, &b);
    xk_buf_done(&b);
}

/* A line that another host has written. */
static enum sim_outcome append(struct sim_call *c)
{
    struct xk_buf b = XK_BUF_INIT(LINE_BYTES_MAX);

    for (const char *at = sim_arg_text(c, 0); *at; at++)
        xk_buf_add_char(&b, *at == '\n' || *at == '\r' ? ' ' : *at);
    xk_buf_add_char(&b, '\n');
    add_line(c->pool, &b);
    xk_buf_done(&b);
    return SIM_DONE;
}

/* ---- reading ---- */

/* "2026-11-23T10:00Z" as it stands in the log. */
static void plain_time(char ret[TEXT_BYTES_MAX], const char *text)
{
    size_t len = 0;

    for (; *text && len + 1 < TEXT_BYTES_MAX; text++)
        if (*text != '-' && *text != 'Z')
            ret[len++] = *text;
    ret[len] = '\0';
}

void sim_audit_download(struct simpool *p, struct http_exchange *x)
{
    const struct xk_buf *const all = &p->audit->lines;
    struct xk_buf body = XK_BUF_INIT(SIM_AUDIT_BYTES_MAX + LINE_BYTES_MAX);
    char asked[TEXT_BYTES_MAX], since[TEXT_BYTES_MAX];

    (void)sim_http_param(x, "since", asked, sizeof(asked));
    plain_time(since, asked);
    for (size_t at = 0; at < all->len;) {
        const char *const line = all->data + at;
        const size_t left = all->len - at;
        const char *const end = memchr(line, '\n', left);
        const size_t len = end ? (size_t)(end + 1 - line) : left;
        /* Lines of other hosts may have another head; what has no time is as old as it looks. */
        if (*since == '\0' || strncmp(line + (*line == '['), since, strlen(since)) >= 0)
            xk_buf_add(&body, line, len);
        at += len;
    }
    xk_buf_add_str(&body, "");
    sim_request_answer(p, x, &(struct http_reply){.status = 200, .type = "text/plain", .headers = "", .close = true},
                       &body);
}

const struct sim_row sim_audit_rows[] = {
    {"pool.audit_log_append", append},
    {NULL, NULL},
};
