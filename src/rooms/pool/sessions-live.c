/*
 * A pool keeps a table of its sessions and shows it to nobody: session has no get_all, and get_record wants the ref,
 * which is the session's secret. What a pool gives is its hosts' logs, over HTTP, and the identifiers of those who are
 * logged in through a directory (session.get_all_subject_identifiers). So the logs are fetched, the master's first, and
 * read as if they were here.
 *
 * One after the other: they go through one reader, and only the master's is long.
 */
#include "rooms/pool/sessions.h"

#include "lib/poolview/poolview.h"
#include "rooms/pool/list.h"

#include <stdio.h>

#define SUBJECTS_BYTES_MAX (16u << 20)

struct fetched {
    bool read;
    char why[256];
};

struct pool_sessions_live {
    struct poolview view;
    struct client *client;
    struct fetched *hosts;
    struct xk_arena arena;
    struct xapi_value subjects;
};

void pool_sessions_live_close(struct pool_sessions_live *live)
{
    if (!live)
        return;
    client_close(live->client);
    poolview_done(&live->view);
    xk_arena_done(&live->arena);
    free(live->hosts);
    free(live);
}

/* What concerns this host alone is told; the others are read. */
static int fetch(struct pool_sessions_live *live, struct sessionlog *log, struct xk_app *app, uint32_t host,
                 struct xk_err *err)
{
    const struct client_manner manner = {.originator = "xenkit-sessions"};
    const struct xapi_value *const record = poolview_record(&live->view, POOLVIEW_HOST, host);
    struct fetched *const f = &live->hosts[host];
    struct xk_err why = {0};

    const int code = poolview_host_lives(&live->view, record)
                         ? poolview_add_logs(log, &live->view, live->client, host, &manner, &why)
                         : xk_fail(&why, -EHOSTUNREACH, "the host is not live");
    f->read = code == 0;
    if (code == -ENOMEM || code == -EINTR) {
        *err = why;
        return code;
    }
    if (code < 0) {
        snprintf(f->why, sizeof(f->why), "%.255s", why.text);
        xk_log(app->log, XK_LOG_WARN, "the logs of %s are missing: %s", poolview_text(record, "name_label"), f->why);
    }
    return 0;
}

static int fetch_all(struct pool_sessions_live *live, struct sessionlog *log, struct xk_app *app, bool master,
                     struct xk_err *err)
{
    int code = 0;

    for (uint32_t i = 0; code == 0 && i < poolview_count(&live->view, POOLVIEW_HOST); i++)
        if (poolview_host_is_master(&live->view, poolview_ref(&live->view, POOLVIEW_HOST, i)) == master)
            code = fetch(live, log, app, i, err);
    return code;
}

static bool any_is_read(const struct pool_sessions_live *live)
{
    for (uint32_t i = 0; i < poolview_count(&live->view, POOLVIEW_HOST); i++)
        if (live->hosts[i].read)
            return true;
    return false;
}

int pool_sessions_live_open(struct pool_sessions_live **ret, struct sessionlog *log, struct xk_app *app,
                            const char *pool, const struct client_access *access, struct xk_err *err)
{
    const struct client_manner manner = {.originator = "xenkit-sessions"};
    struct pool_sessions_live *const live = xk_zalloc(sizeof(*live));

    if (!live)
        return xk_fail_memory(err);
    live->arena = XK_ARENA_INIT(SUBJECTS_BYTES_MAX);
    live->subjects = xapi_list(NULL, 0);
    *ret = live;
    int code = pool_list_take(&live->view, app, pool, access,
                              POOL_CLASS(POOL) | POOL_CLASS(HOST) | POOL_CLASS(HOST_METRICS) | POOL_CLASS(CERTIFICATE),
                              0, err);
    if (code == 0)
        code = client_open(&live->client, app, pool, access, &manner, err);
    if (code == 0)
        code = client_login(live->client, err);
    if (code < 0)
        return code;
    /* A release or a user without it: then nobody's name is known. */
    if (client_ask(live->client, &live->subjects, &live->arena, NULL, "session.get_all_subject_identifiers", "") < 0 ||
        live->subjects.shape != XAPI_LIST)
        live->subjects = xapi_list(NULL, 0);
    live->hosts = xk_array_alloc(poolview_count(&live->view, POOLVIEW_HOST) + 1, sizeof(*live->hosts));
    if (!live->hosts)
        return xk_fail_memory(err);
    code = fetch_all(live, log, app, true, err);
    if (code == 0)
        code = fetch_all(live, log, app, false, err);
    if (code == 0 && !any_is_read(live)) {
        code = xk_fail(err, -EREMOTEIO, "no host of the pool gives its logs");
        xk_err_hint(err, "that needs the role pool-operator; or copy /var/log of the master and name it here");
    }
    return code;
}

void pool_sessions_live_tell(const struct pool_sessions_live *live, struct xk_out *out)
{
    xk_out_rows(out, "logs");
    for (uint32_t i = 0; i < poolview_count(&live->view, POOLVIEW_HOST); i++) {
        const struct xapi_value *const host = poolview_record(&live->view, POOLVIEW_HOST, i);
        xk_row(out);
        xk_put_str(out, "host", poolview_text(host, "name_label"));
        xk_put_str(out, "address", poolview_text(host, "address"));
        xk_put_bool(out, "read", live->hosts[i].read);
        xk_out_color(out, live->hosts[i].read ? XK_COLOR_GOOD : XK_COLOR_WARN);
        xk_put_str(out, "error", live->hosts[i].read ? NULL : live->hosts[i].why);
    }
    xk_out_end(out);
    xk_out_rows(out, "subjects");
    for (uint32_t i = 0; i < live->subjects.count; i++) {
        xk_row(out);
        xk_put_str(out, "subject_identifier", xapi_value_text(&live->subjects.items[i]));
    }
    xk_out_end(out);
}
