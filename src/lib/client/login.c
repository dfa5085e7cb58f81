/*
 * Sessions begin and end here, and nowhere else.
 *
 * A login is not repeated when its reply was lost, and a stop waits a moment for that reply: a session whose ref nobody
 * knows could not be ended by anybody, and counts for the pool's limit for a day.
 */
#include "lib/client/inner.h"

#include "core/secret.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <string.h>

#define API_VERSION  "1.0"
#define FOLLOWED_MAX 1

/* ---- master and slaves ---- */

int client_follow(struct client *c, const struct xapi_reply *reply, struct xk_err *err)
{
    const char *const address = reply->value.count > 1 ? xapi_value_text(&reply->value.items[1]) : "";
    struct client_place master = c->now;
    size_t bytes = 0;

    while (isalnum((unsigned char)address[bytes]) || (address[bytes] && strchr(".:-_", address[bytes])))
        bytes++;
    if (bytes == 0 || address[bytes] || bytes >= sizeof(master.host))
        return xk_fail(err, -EPROTO, "%s is a slave and names no master that could be asked", c->url);
    memcpy(master.host, address, bytes + 1);
    xk_log(c->app->log, XK_LOG_WARN, "%s is a slave of its pool; going on with its master %s", c->url, address);
    memcpy(c->redirect, address, bytes + 1);
    return client_go(c, &master, err);
}

/* ---- login ---- */

static bool is_loopback(const char *host)
{
    struct in_addr v4;

    return strcmp(host, "localhost") == 0 || strcmp(host, "::1") == 0 ||
           (inet_pton(AF_INET, host, &v4) == 1 && ntohl(v4.s_addr) >> 24 == IN_LOOPBACKNET);
}

static int ask_for_session(struct client *c, struct xapi_reply *ret, struct xk_arena *arena, struct xk_err *err)
{
    const struct xapi_value params[] = {xapi_str(c->access.user), xapi_str(c->password), xapi_str(API_VERSION),
                                        xapi_str(c->manner.originator)};
    const bool local = c->access.emergency;
    const struct client_post post = {
        .method = local ? "session.slave_local_login_with_password" : "session.login_with_password",
        .params = params,
        .count = local            ? 2
                 : c->plain_login ? 3
                                  : 4,
        .finish = true,
        .ask_thumbprint = c->now.tls && !c->socket_path,
    };

    return client_post(c, ret, arena, &post, err);
}

/* It went out, and nothing came back: whether there is a session now, and which, nobody can find out. */
static void warn_of_lost(const struct client *c, int code)
{
    const bool lost = code == -ECONNRESET || code == -EPIPE || code == -ETIMEDOUT || code == -EINTR;

    if (lost && http_client_sent(c->http))
        xk_log(c->app->log, XK_LOG_WARN,
               "the answer to a login at %s did not come: if it was taken, the pool has a session of %s (originator "
               "%s) that nobody can end, and ends it after a day",
               c->url, c->access.user, c->manner.originator);
}

/* The answer came when nobody had time for it any more. The session is there, and goes when the client does. */
static int login_late(const struct client *c, struct xk_err *err)
{
    (void)xk_fail(err, -ETIMEDOUT, "logging in as %.200s at %s: no answer in time", c->access.user, c->url);
    xk_err_hint(err, "--timeout says how long to wait");
    return -ETIMEDOUT;
}

static int login_failed(struct client *c, const struct xapi_reply *reply, struct xk_err *err)
{
    char doing[CLIENT_URL_BYTES + 320];

    snprintf(doing, sizeof(doing), "logging in as %.200s at %s", c->access.user, c->url);
    return client_fail(c, doing, &reply->value, err);
}

static int login_now(struct client *c, struct xk_err *err)
{
    xk_auto(xk_arena_done) struct xk_arena arena = XK_ARENA_INIT(CLIENT_FAILURE_BYTES_MAX);
    struct xapi_reply reply;

    for (unsigned followed = 0;;) {
        const int code = ask_for_session(c, &reply, &arena, err);
        if (code < 0) {
            warn_of_lost(c, code);
            return code;
        }
        if (!reply.failed)
            break;
        if (client_failed_with(&reply, "HOST_IS_SLAVE") && followed++ < FOLLOWED_MAX) {
            const int went = client_follow(c, &reply, err);
            if (went < 0)
                return went;
        } else if (client_failed_with(&reply, "MESSAGE_PARAMETER_COUNT_MISMATCH") && !c->plain_login) {
            c->plain_login = true; /* before 6.2 nobody said who they were */
        } else {
            return login_failed(c, &reply, err);
        }
    }
    const char *const ref = xapi_value_text(&reply.value);
    if (!*ref)
        return xk_fail(err, -EPROTO, "%s answers a login with no session", c->url);
    c->session = xk_strdup(ref);
    explicit_bzero((char *)ref, strlen(ref));
    if (!c->session)
        return xk_fail_memory(err);
    return http_client_late(c->http) ? login_late(c, err) : 0;
}

/* Under the lock somebody else may have been quicker; otherwise the new session is kept for all. */
static int login_kept(struct client *c, const char *path, struct xk_err *err)
{
    struct xk_err why = {0};
    xk_autoclose const int lock = client_kept_lock(c, path, &why);

    if (lock == -EINTR) {
        if (err)
            *err = why;
        return lock;
    }
    if (lock >= 0 && client_kept_take(c, path))
        return 0;
    const int code = login_now(c, err);
    if (code < 0)
        return code;
    c->session_kept = lock >= 0 && client_kept_write(c, path, &why) == 0;
    if (!c->session_kept)
        xk_log(c->app->log, XK_LOG_WARN, "the session is not kept: %s", why.text);
    return 0;
}

/* With a kept session, or a new one. */
static int take_or_login(struct client *c, struct xk_err *err)
{
    xk_autofree char *path = client_kept_path(c);

    if (path && client_kept_take(c, path))
        return 0;
    const int code = client_password(c, err);
    if (code < 0)
        return code;
    if (!c->now.tls && !c->socket_path && !is_loopback(c->now.host))
        xk_log(c->app->log, XK_LOG_WARN, "%s is not encrypted: the password can be read on the way", c->url);
    return path && c->manner.keep ? login_kept(c, path, err) : login_now(c, err);
}

int client_login(struct client *c, struct xk_err *err)
{
    if (c->session)
        return 0;
    const int code = take_or_login(c, err);
    if (c->session && !c->session_kept)
        client_mark_begin(c);
    if (code == 0)
        client_end_orphans(c);
    return code;
}

bool client_take_kept(struct client *c)
{
    xk_autofree char *path = c->session ? NULL : client_kept_path(c);

    return c->session ? c->session_kept : path && client_kept_take(c, path);
}

/* ---- logout ---- */

static void session_drop(struct client *c)
{
    xk_secret_free(c->session);
    c->session = NULL;
    c->session_kept = false;
    if (!c->borrowed)
        client_mark_end(c);
}

static int say_goodbye(struct client *c, struct xk_err *err)
{
    xk_auto(xk_arena_done) struct xk_arena arena = XK_ARENA_INIT(CLIENT_FAILURE_BYTES_MAX);
    const struct xapi_value session = xapi_str(c->session);
    const struct client_post post = {
        .method = c->access.emergency ? "session.local_logout" : "session.logout", .params = &session, .count = 1};
    struct xapi_reply reply = {0};

    int code = client_post(c, &reply, &arena, &post, err);
    if (code == -ECONNRESET) { /* once more: ending a session that has ended does no harm */
        xk_err_clear(err);
        code = client_post(c, &reply, &arena, &post, err);
    }
    if (code == 0 && reply.failed && !client_failed_with(&reply, "SESSION_INVALID"))
        code = client_fail(c, post.method, &reply.value, err);
    return code;
}

void client_session_over(struct client *c)
{
    if (c->session_kept)
        client_kept_remove(c);
    session_drop(c);
}

/* It is said to have ended. Should it live all the same, nobody would know it any more, so it is ended for sure. */
void client_session_lost(struct client *c)
{
    const bool cleaning = c->cleaning;

    c->cleaning = true;
    (void)say_goodbye(c, NULL);
    c->cleaning = cleaning;
    c->manner.keep |= c->session_kept; /* whoever kept it wants one to be kept */
    client_session_over(c);
}

int client_logout(struct client *c, struct xk_err *err)
{
    const bool cleaning = c->cleaning;

    if (!c->session)
        return 0;
    c->cleaning = true;
    const int code = say_goodbye(c, err);
    c->cleaning = cleaning;
    if (c->session_kept && code == 0)
        client_kept_remove(c);
    if (code == 0)
        session_drop(c);
    return code;
}

int client_check_kept(struct client *c, struct xk_err *err)
{
    xk_auto(xk_arena_done) struct xk_arena arena = XK_ARENA_INIT(CLIENT_FAILURE_BYTES_MAX);
    const struct xapi_value session = xapi_str(c->session);
    const struct client_post post = {.method = "pool.get_all", .params = &session, .count = 1};
    struct xapi_reply reply = {0};

    const int code = client_post(c, &reply, &arena, &post, err);
    if (code < 0 || !reply.failed)
        return code;
    const bool ended = client_failed_with(&reply, "SESSION_INVALID");
    (void)client_fail(c, post.method, &reply.value, err);
    if (!ended)
        return -EREMOTEIO;
    client_session_lost(c);
    return -ESTALE;
}
