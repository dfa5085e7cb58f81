/*
 * Sessions: login, logout, and the collector that runs every half minute and ends the oldest ones of a group with too
 * many, or those that nobody used for a day. Logging in never evicts; that is why a leak shows late on a real pool.
 */
#include "lib/simpool/era.h"
#include "lib/simpool/log.h"

#include <openssl/crypto.h>

#include <stdio.h>
#include <string.h>

#define LIMIT_ANONYMOUS 400
#define INACTIVE_S      86400
#define GROUP_BYTES_MAX 512

struct sim_session *sim_session_find(struct simpool *p, const char *ref)
{
    const struct sim_object *const o = sim_find(p, ref, xapi_class_find("session"));
    struct sim_session *s = p->local_sessions ? p->sessions : NULL;

    if (o)
        return o->session;
    while (s && strcmp(s->ref, ref) != 0)
        s = s->next;
    return s;
}

static void session_free(struct sim_session *s)
{
    if (s->next)
        s->next->link = s->link;
    *s->link = s->next;
    if (s->object)
        s->object->session = NULL;
    free(s->group);
    free(s);
}

void sim_session_end(struct simpool *p, struct sim_session *s)
{
    char ref[SIM_REF_BYTES];

    memcpy(ref, s->ref, sizeof(ref));
    struct sim_object *const o = s->object;
    p->local_sessions -= s->local;
    session_free(s);
    if (o)
        sim_delete(p, o);
    sim_events_closed(p, ref);
}

void sim_sessions_close(struct simpool *p)
{
    while (p->sessions)
        session_free(p->sessions);
}

/* ---- login ---- */

static bool same_secret(const char *a, const char *b)
{
    const size_t len = strlen(a);

    return strlen(b) == len && CRYPTO_memcmp(a, b, len) == 0;
}

static bool check_password(struct sim_call *c, const char *user, const char *password)
{
    if (same_secret(c->pool->user, user) && same_secret(c->pool->password, password))
        return true;
    sim_log_auth_failed(c, user, "Authentication failure");
    (void)sim_fail(c, "SESSION_AUTHENTICATION_FAILED", user, "Authentication failure", NULL);
    return false;
}

static struct sim_session *session_add(struct sim_call *c, const char *group)
{
    struct simpool *const p = c->pool;
    struct sim_session *const s = xk_zalloc(sizeof(*s));

    if (!s || (s->group = xk_strdup(group)) == NULL) {
        free(s);
        return NULL;
    }
    sim_new_ref(p, s->ref);
    s->host = c->host;
    s->order = p->session_order++;
    s->last_active_s = sim_now_s(p);
    s->next = p->sessions;
    s->link = &p->sessions;
    if (s->next)
        s->next->link = &s->next;
    p->sessions = s;
    return s;
}

static enum sim_outcome login(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    const char *const user = sim_arg_text(c, 0), *const originator = sim_arg_text(c, 3);
    const struct sim_object *const master = sim_follow(p, sim_first(p, "pool"), "master");
    const bool is_root = !*user || strcmp(user, "root") == 0;
    char group[GROUP_BYTES_MAX];

    if (c->host != p->master)
        return sim_fail(c, "HOST_IS_SLAVE", sim_text(master, "address"), NULL);
    if (!check_password(c, user, sim_arg_text(c, 1)))
        return SIM_FAILED;
    if (sim_era(p->settings.era)->named_limit == 0 || (is_root && !*originator))
        snprintf(group, sizeof(group), "external");
    else if (is_root)
        snprintf(group, sizeof(group), "originator:%s", originator);
    else
        snprintf(group, sizeof(group), "username:%s", user);
    struct sim_session *const s = session_add(c, group);
    struct sim_object *const o = s ? sim_create(p, "session") : NULL;
    if (!o) {
        if (s)
            session_free(s);
        return sim_no_memory(c);
    }
    s->object = o;
    o->session = s;
    memcpy(s->ref, o->ref, sizeof(s->ref));
    sim_put_text(p, o, "this_host", master->ref);
    sim_put_text(p, o, "auth_user_name", user);
    sim_put_text(p, o, "originator", originator);
    sim_put_bool(p, o, "is_local_superuser", true);
    sim_put_time(p, o, "last_active", s->last_active_s);
    sim_put_time(p, o, "validation_time", s->last_active_s);
    sim_log_login(c, user);
    sim_log_session_create(c, s, user, originator);
    c->result = xapi_str(o->ref);
    return SIM_DONE;
}

static enum sim_outcome local_login(struct sim_call *c)
{
    if (!check_password(c, sim_arg_text(c, 0), sim_arg_text(c, 1)))
        return SIM_FAILED;
    struct sim_session *const s = session_add(c, "local");
    if (!s)
        return sim_no_memory(c);
    s->local = true;
    c->pool->local_sessions++;
    c->result = xapi_str(s->ref);
    return SIM_DONE;
}

static enum sim_outcome logout(struct sim_call *c)
{
    struct sim_session *const s = c->session;

    if (!s->local)
        sim_log_session_destroy(c->pool, c, s);
    c->session = NULL;
    sim_session_end(c->pool, s);
    return SIM_DONE;
}

static enum sim_outcome change_password(struct sim_call *c)
{
    struct simpool *const p = c->pool;

    if (!same_secret(p->password, sim_arg_text(c, 0)))
        return sim_fail(c, "CHANGE_PASSWORD_REJECTED", "Authentication failure", NULL);
    char *const password = xk_strdup(sim_arg_text(c, 1));
    if (!password)
        return sim_no_memory(c);
    OPENSSL_cleanse(p->password, strlen(p->password));
    free(p->password);
    p->password = password;
    return SIM_DONE;
}

static enum sim_outcome no_subjects(struct sim_call *c)
{
    c->result = xapi_list(NULL, 0); /* the only user there is comes from no directory */
    return SIM_DONE;
}

/* ---- collector ---- */

static bool is_busy(const struct simpool *p, const struct sim_session *s)
{
    for (const struct sim_call *w = p->working; w; w = w->next)
        if (strcmp(w->session_ref, s->ref) == 0)
            return true;
    return false;
}

/* Older: used longer ago, and of those within one second, made earlier. */
static struct sim_session *oldest_of(const struct simpool *p, const char *group, unsigned *ret_count,
                                     unsigned *ret_disposable)
{
    struct sim_session *oldest = NULL;

    *ret_count = *ret_disposable = 0;
    for (struct sim_session *s = p->sessions; s; s = s->next) {
        if (s->local || strcmp(s->group, group) != 0)
            continue;
        ++*ret_count;
        if (is_busy(p, s))
            continue;
        ++*ret_disposable;
        if (!oldest || s->last_active_s < oldest->last_active_s ||
            (s->last_active_s == oldest->last_active_s && s->order < oldest->order))
            oldest = s;
    }
    return oldest;
}

void sim_sessions_collect(struct simpool *p)
{
    const int64_t now = sim_now_s(p);
    char told[GROUP_BYTES_MAX] = "";

    sim_log_pass(p);
    for (struct sim_session *s = p->sessions, *next; s; s = next) {
        next = s->next;
        if (!s->local && now - s->last_active_s > INACTIVE_S && !is_busy(p, s)) {
            sim_log_collected(p, s, true);
            sim_session_end(p, s);
        }
    }
    for (struct sim_session *s = p->sessions; s;) {
        const unsigned limit = p->settings.limit                   ? p->settings.limit
                               : strcmp(s->group, "external") == 0 ? LIMIT_ANONYMOUS
                                                                   : sim_era(p->settings.era)->named_limit;
        unsigned count, disposable;
        struct sim_session *const oldest = oldest_of(p, s->group, &count, &disposable);
        if (s->local || count <= limit || !oldest) {
            s = s->next;
            continue;
        }
        if (strcmp(told, s->group) != 0)
            sim_log_too_many(p, s->group, disposable, count, limit);
        snprintf(told, sizeof(told), "%s", s->group);
        sim_log_collected(p, oldest, false);
        sim_session_end(p, oldest);
        s = p->sessions; /* the list has changed under the feet */
    }
    /* The heartbeat that those who wait with event.next get. */
    sim_touch(p, sim_first(p, "pool"));
}

const struct sim_row sim_session_rows[] = {
    {"session.login_with_password", login},
    {"session.slave_local_login_with_password", local_login},
    {"session.logout", logout},
    {"session.local_logout", logout},
    {"session.change_password", change_password},
    {"session.get_all_subject_identifiers", no_subjects},
    {NULL, NULL},
};
