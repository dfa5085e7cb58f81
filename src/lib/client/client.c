/* Opening, closing, and what a client knows; how it works stands in the other files. */
#include "lib/client/inner.h"

#include "core/secret.h"

#include <string.h>

int client_open(struct client **ret, struct xk_app *app, const char *pool, const struct client_access *access,
                const struct client_manner *manner, struct xk_err *err)
{
    struct client *const c = xk_zalloc(sizeof(*c));

    if (!c)
        return xk_fail_memory(err);
    c->app = app;
    c->access = *access;
    c->manner = *manner;
    c->mark = -1;
    c->failure_arena = XK_ARENA_INIT(CLIENT_FAILURE_BYTES_MAX);
    const int code = client_access_open(c, pool, err);
    if (code < 0) {
        client_close(c);
        return code;
    }
    *ret = c;
    return 0;
}

int client_open_beside(struct client **ret, const struct client *c, const char *host, const char *sha256,
                       const struct client_manner *manner, struct xk_err *err)
{
    struct client *const beside = xk_zalloc(sizeof(*beside));

    if (!beside)
        return xk_fail_memory(err);
    beside->app = c->app;
    beside->access = c->access;
    beside->manner = *manner;
    beside->mark = -1;
    beside->beside = true;
    beside->failure_arena = XK_ARENA_INIT(CLIENT_FAILURE_BYTES_MAX);
    const int code = client_access_beside(beside, c, host, sha256, err);
    if (code < 0) {
        client_close(beside);
        return code;
    }
    *ret = beside;
    return 0;
}

void client_close(struct client *c)
{
    struct xk_err err = {0};
    char track[CLIENT_TRACK_BYTES];

    if (!c)
        return;
    if (c->session && !c->session_kept && !c->beside) {
        client_session_track(c, track);
        const char *const url = *c->url ? c->url : c->named_url;
        if (client_logout(c, &err) < 0)
            xk_log(c->app->log, XK_LOG_WARN,
                   "the session (trackid %s) at %s could not be ended: %s; %sthe pool ends it after a day", track, url,
                   err.text, c->mark >= 0 ? "the next command there tries again, and " : "");
    }
    if (c->mark >= 0)
        (void)close(c->mark); /* its session is still there: the next command may get through to it */
    http_client_close(c->http);
    xk_secret_free(c->password);
    xk_secret_free(c->session);
    xk_arena_done(&c->failure_arena);
    free(c->socket_path);
    free(c->folder);
    free(c->known_file);
    free(c->mark_path);
    free(c);
}

const char *client_url(const struct client *c)
{
    return c->url;
}

uint16_t client_port(const struct client *c)
{
    return c->socket_path ? 0 : c->now.port;
}

const char *client_user(const struct client *c)
{
    return c->access.user;
}

const char *client_redirect(const struct client *c)
{
    return *c->redirect ? c->redirect : NULL;
}

const char *client_certificate_sha256(const struct client *c)
{
    return c->certificate;
}

const char *client_session(const struct client *c)
{
    return c->session ? c->session : "";
}

void client_session_track(const struct client *c, char ret[CLIENT_TRACK_BYTES])
{
    ret[0] = '\0';
    if (c->session)
        client_track(ret, c->session);
}

bool client_is_kept(const struct client *c)
{
    return c->session && c->session_kept;
}
