/* The logs of XAPI as targets of checks: files that are called xensource.log, rotated ones too. */
#include "lib/sessionlog/checks.h"

#include "core/text.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define SHARE_WARN 0.8
#define LATELY_S   86400 /* before the end of the log */

struct subject {
    struct sessionlog *log;
    struct sessionlog_summary summary;
};

static void put_client(char *ret, size_t bytes, const struct sessionlog_client *c)
{
    struct xk_buf name = XK_BUF_INIT(4096);

    xk_buf_printf(&name, "originator %s, user %s", c->originator && *c->originator ? c->originator : "(none)",
                  c->user && *c->user ? c->user : "(none)");
    if (c->user_agent)
        xk_buf_printf(&name, ", user agent %s", c->user_agent);
    strncpy(ret, xk_buf_str(&name), bytes - 1);
    ret[bytes - 1] = '\0';
    xk_buf_done(&name);
}

static int check_leaks(const struct xk_check *check, const void *subject, struct xk_findings *sink, struct xk_err *err)
{
    const struct sessionlog_summary *const sum = &((const struct subject *)subject)->summary;
    char name[1024];

    for (size_t i = 0; i < sum->client_count; i++) {
        const struct sessionlog_client *const c = &sum->clients[i];
        if (!sessionlog_client_leaks(c))
            continue;
        put_client(name, sizeof(name), c);
        xk_find(sink, check, check->severity, name, NULL,
                "of %llu sessions %llu were logged out of, %llu are open, %llu were left to the collector",
                (unsigned long long)c->created, (unsigned long long)c->fates[SESSIONLOG_LOGOUT],
                (unsigned long long)c->fates[SESSIONLOG_OPEN],
                (unsigned long long)(c->fates[SESSIONLOG_AGED] + c->fates[SESSIONLOG_EVICTED]));
    }
    return 0;
}

static void find_limit(const struct xk_check *check, struct xk_findings *sink, const struct sessionlog_summary *sum,
                       const struct sessionlog_group *g)
{
    const bool lately = g->evicted && sum->last_s - g->evicted_s < LATELY_S;
    const bool full = sessionlog_group_share(g) >= SHARE_WARN;
    char evicted[96] = "none was thrown out";

    if (!full && !g->evicted)
        return;
    if (g->evicted)
        snprintf(evicted, sizeof(evicted), "%llu were thrown out, the last at %s", (unsigned long long)g->evicted,
                 xk_iso_time(g->evicted_s).s);
    xk_find(sink, check,
            lately ? XK_CRITICAL
            : full ? XK_WARNING
                   : XK_NOTE,
            g->name, NULL, "%llu of %llu sessions are open, %s; the log is from %s to %s", (unsigned long long)g->open,
            (unsigned long long)g->limit, evicted, xk_iso_time(sum->first_s).s, xk_iso_time(sum->last_s).s);
}

void sessionlog_find_limits(const struct xk_check *check, struct xk_findings *sink,
                            const struct sessionlog_summary *sum)
{
    for (size_t i = 0; i < sum->group_count; i++)
        find_limit(check, sink, sum, &sum->groups[i]);
}

static int check_limits(const struct xk_check *check, const void *subject, struct xk_findings *sink, struct xk_err *err)
{
    sessionlog_find_limits(check, sink, &((const struct subject *)subject)->summary);
    return 0;
}

static int check_in_use(const struct xk_check *check, const void *subject, struct xk_findings *sink, struct xk_err *err)
{
    const struct sessionlog_summary *const sum = &((const struct subject *)subject)->summary;

    if (sum->in_use)
        xk_find(sink, check, check->severity, "sessions", NULL,
                "%llu had been used in the 15 minutes before, or were used again", (unsigned long long)sum->in_use);
    return 0;
}

const struct xk_check sessionlog_checks[] = {
    {"sessions.leak", "A client leaves sessions behind", XK_WARNING,
     "Sessions that nobody ends fill the pool's limit; then sessions are thrown out, whoever uses them.",
     "let the client call session.logout also after an error; `xenkit pool sessions` says what to change", check_leaks,
     0},
    {"sessions.limit", "Sessions are at their limit, or near", XK_WARNING,
     "When a group is full, its session that was used least recently is ended.",
     "find who leaves sessions behind: `xenkit pool sessions`", check_limits, 0},
    {"sessions.evicted-in-use", "Sessions were thrown out while they were used", XK_CRITICAL,
     "Clients that did nothing wrong get SESSION_INVALID.", "stop the client that leaves sessions behind", check_in_use,
     0},
    {NULL, NULL, XK_NOTE, NULL, NULL, NULL, 0},
};

static bool accepts(const char *target)
{
    struct stat st;

    return xk_has_prefix(xk_base_name(target), "xensource.log") && stat(target, &st) == 0 && S_ISREG(st.st_mode);
}

static void close_logs(void *subject)
{
    struct subject *const s = subject;

    if (s)
        sessionlog_close(s->log);
    free(s);
}

static int open_logs(void **ret_subject, struct xk_app *app, const char *const *targets, size_t count,
                     const void *access, struct xk_err *err)
{
    const struct sessionlog_settings settings = {.fs = app->fs, .clock = app->clock, .temp_dir = xk_env(app, "TMPDIR")};
    struct subject *const s = xk_zalloc(sizeof(*s));

    if (!s)
        return xk_fail_memory(err);
    int code = sessionlog_open(&s->log, &settings, err);
    for (size_t i = 0; code == 0 && i < count; i++)
        code = sessionlog_add(s->log, targets[i], err);
    if (code == 0)
        code = sessionlog_run(s->log, err);
    if (code == 0)
        code = sessionlog_finish(s->log, &s->summary, err);
    if (code < 0) {
        close_logs(s);
        return code;
    }
    *ret_subject = s;
    return 0;
}

const struct xk_check_set sessionlog_check_set = {
    .name = "sessions",
    .summary = "logs of XAPI: who leaves sessions behind",
    .accepts = accepts,
    .open = open_logs,
    .close = close_logs,
    .checks = sessionlog_checks,
};
