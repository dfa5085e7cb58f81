/*
 * Sessions: login, logout, and the collector that runs every half minute and ends the oldest ones of a group with too
 * many, or those that nobody used for a day. Logging in never evicts; that is why a leak shows late on a real pool.
 *
 * A host's local session is no object of the database: it is known to that host alone, and ends with it.
 */
#include "lib/simpool/access.h"
#include "lib/simpool/audit.h"
#include "lib/simpool/era.h"
#include "lib/simpool/hosts.h"
#include "lib/simpool/log.h"

#include <openssl/crypto.h>

#include <stdio.h>
#include <string.h>

#define LIMIT_ANONYMOUS 400
#define INACTIVE_S      86400
#define REVALIDATE_S    300
#define GROUP_BYTES_MAX 512
#define LOCAL_MAX       1000 /* local sessions of all hosts; then the oldest goes */
#define INTERNAL        "internal"
#define EXTERNAL        "external"

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
    sim_events_forget(p, s);
    session_free(s);
    if (o)
        sim_delete(p, o);
    sim_events_closed(p, ref);
}

void sim_sessions_close(struct simpool *p)
{
    while (p->sessions) {
        sim_events_forget(p, p->sessions);
        session_free(p->sessions);
    }
}

/* ---- login ---- */

static bool same_secret(const char *a, const char *b)
{
    const size_t len = strlen(a);

    return strlen(b) == len && CRYPTO_memcmp(a, b, len) == 0;
}

static bool is_root(const char *user)
{
    return *user == '\0' || strcmp(user, "root") == 0;
}

const char *sim_pool_secret(struct simpool *p)
{
    char parts[3][SIM_REF_BYTES];

    if (!*p->secret) {
        for (size_t i = 0; i < XK_COUNT(parts); i++)
            sim_new_ref(p, parts[i]);
        snprintf(p->secret, sizeof(p->secret), "%.36s/%.36s/%.36s", parts[0] + strlen("OpaqueRef:"),
                 parts[1] + strlen("OpaqueRef:"), parts[2] + strlen("OpaqueRef:"));
    }
    return p->secret;
}

static bool is_pool_secret(struct simpool *p, const char *text)
{
    return same_secret(sim_pool_secret(p), text) || (*p->secret_other && same_secret(p->secret_other, text));
}

/* Who guesses passwords has to wait; nobody else has to wait for them. */
static enum sim_outcome refuse_end(struct sim_call *c)
{
    return SIM_FAILED; /* the error was recorded before the wait */
}

static enum sim_outcome refuse(struct sim_call *c)
{
    return c->exchange && c->pool->settings.login_delay_ns
               ? sim_work(c, c->pool->settings.login_delay_ns, refuse_end, NULL, NULL, false)
               : SIM_FAILED;
}

static bool check_root(struct sim_call *c, const char *user, const char *password)
{
    if (same_secret(c->pool->user, user) &&
        (sim_is_local(c->pool, c->exchange) || same_secret(c->pool->password, password)))
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

/* A session in the database. NULL: no memory. */
static struct sim_session *session_create(struct sim_call *c, const char *user, const char *originator, bool pool,
                                          const struct sim_standing *standing)
{
    struct simpool *const p = c->pool;
    char group[GROUP_BYTES_MAX];

    if (pool)
        snprintf(group, sizeof(group), INTERNAL);
    else if (sim_era(p->settings.era)->named_limit == 0 || (is_root(user) && !*originator))
        snprintf(group, sizeof(group), EXTERNAL);
    else if (is_root(user))
        snprintf(group, sizeof(group), "originator:%s", originator);
    else
        snprintf(group, sizeof(group), "username:%s", user);
    struct sim_session *const s = session_add(c, group);
    struct sim_object *const o = s ? sim_create(p, "session") : NULL;
    if (!o) {
        if (s)
            session_free(s);
        return NULL;
    }
    s->object = o;
    s->pool = pool;
    s->superuser = standing == NULL;
    s->roles = standing ? standing->roles : 0;
    o->session = s;
    memcpy(s->ref, o->ref, sizeof(s->ref));
    sim_put_text(p, o, "this_host", sim_text(sim_first(p, "pool"), "master"));
    sim_put_text(p, o, "auth_user_name", user);
    sim_put_text(p, o, "originator", originator);
    sim_put_bool(p, o, "pool", pool);
    sim_put_bool(p, o, "is_local_superuser", s->superuser);
    sim_put_time(p, o, "last_active", s->last_active_s);
    sim_put_time(p, o, "validation_time", s->last_active_s);
    return s;
}

/* What makes a session one of the directory's users. */
static int session_limit(struct sim_call *c, struct sim_session *s, const struct sim_standing *standing)
{
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&c->arena);
    struct xapi_value permissions;

    sim_put_text(c->pool, s->object, "subject", standing->subject->ref);
    sim_put_text(c->pool, s->object, "auth_user_sid", standing->who->sid);
    xapi_build_open(&b, XAPI_LIST);
    sim_access_list(&b, standing->roles);
    xapi_build_close(&b);
    const int code = xapi_build_end(&b, &permissions);
    if (code == 0)
        sim_put(c->pool, s->object, "rbac_permissions", permissions);
    return code;
}

static enum sim_outcome login(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    const char *const user = sim_arg_text(c, 0), *const originator = sim_arg_text(c, 3);
    struct sim_standing standing = {0};
    struct sim_session *s;

    if (!sim_is_master(p, c->host))
        return sim_fail(c, "HOST_IS_SLAVE", sim_master_address(p, c->host), NULL);
    if (p->directory && !same_secret(p->user, user)) {
        if (sim_subject_login(c, user, sim_arg_text(c, 1), &standing) == SIM_FAILED) {
            sim_log_auth_failed(c, user, xapi_value_text(&c->error.items[c->error.count - 1]));
            return refuse(c);
        }
        char name[SIM_USER_NAME_MAX + 8];
        snprintf(name, sizeof(name), "SIM\\%s", standing.who->name);
        s = session_create(c, name, originator, false, &standing);
    } else {
        if (!check_root(c, user, sim_arg_text(c, 1)))
            return refuse(c);
        s = session_create(c, user, originator, false, NULL);
    }
    if (!s || (standing.who && session_limit(c, s, &standing) < 0))
        return sim_no_memory(c);
    sim_agent_note(c);
    sim_audit_session(c->pool, s, user);
    sim_log_login(c, user, standing.who ? standing.who->sid : NULL);
    sim_log_session_create(c, s, user, originator);
    c->result = xapi_str(s->object->ref);
    return SIM_DONE;
}

/* One host to the master, as the pool's own: it may all, and counts for another group. */
static enum sim_outcome slave_login(struct sim_call *c)
{
    const struct sim_object *const host = sim_arg(c, 0);

    if (!is_pool_secret(c->pool, sim_arg_text(c, 1)))
        return sim_fail(c, "SESSION_AUTHENTICATION_FAILED", sim_arg_text(c, 0), "Pool credentials invalid", NULL);
    if (!sim_is_master(c->pool, c->host))
        return sim_fail(c, "HOST_IS_SLAVE", sim_master_address(c->pool, c->host), NULL);
    if (!host)
        return SIM_FAILED;
    struct sim_session *const s = session_create(c, host->ref, "xapi", true, NULL);
    if (!s)
        return sim_no_memory(c);
    sim_put_text(c->pool, s->object, "this_host", host->ref);
    sim_log_session_create(c, s, "", "xapi");
    c->result = xapi_str(s->object->ref);
    return SIM_DONE;
}

static enum sim_outcome local_create(struct sim_call *c, bool pool)
{
    struct simpool *const p = c->pool;
    struct sim_session *oldest = NULL;

    for (struct sim_session *s = p->local_sessions < LOCAL_MAX ? NULL : p->sessions; s; s = s->next)
        if (s->local)
            oldest = s; /* the list begins with the newest */
    if (oldest)
        sim_session_end(p, oldest);
    struct sim_session *const s = session_add(c, "local");
    if (!s)
        return sim_no_memory(c);
    s->local = true;
    s->pool = pool;
    s->superuser = true;
    p->local_sessions++;
    c->result = xapi_str(s->ref);
    return SIM_DONE;
}

static enum sim_outcome local_login(struct sim_call *c)
{
    return check_root(c, sim_arg_text(c, 0), sim_arg_text(c, 1)) ? local_create(c, false) : refuse(c);
}

static enum sim_outcome local_login_secret(struct sim_call *c)
{
    if (!is_pool_secret(c->pool, sim_arg_text(c, 0)))
        return sim_fail(c, "SESSION_AUTHENTICATION_FAILED", "localhost", "Pool credentials invalid", NULL);
    return local_create(c, true);
}

static enum sim_outcome initial_auth(struct sim_call *c)
{
    c->result = xapi_str(sim_pool_secret(c->pool));
    return SIM_DONE;
}

/* ---- logout ---- */

/* A session of the other kind lives on: the real server looks only in its own table, and says nothing. */
static enum sim_outcome end_session(struct sim_call *c, bool local)
{
    struct sim_session *const s = c->session;

    if (s->local == local) {
        if (!local)
            sim_log_session_destroy(c->pool, c, s);
        if (!local)
            sim_audit_session(c->pool, s, NULL);
        c->session = NULL;
        sim_session_end(c->pool, s);
    }
    return SIM_DONE;
}

static enum sim_outcome logout(struct sim_call *c)
{
    return end_session(c, false);
}

static enum sim_outcome local_logout(struct sim_call *c)
{
    return end_session(c, true);
}

/* Root's; who is root already is not asked for the old one. */
static enum sim_outcome change_password(struct sim_call *c)
{
    struct simpool *const p = c->pool;

    if (!c->session->superuser)
        return sim_fail(c, "USER_IS_NOT_LOCAL_SUPERUSER", "Failed to change password for user root", NULL);
    if (!*sim_arg_text(c, 1))
        return sim_fail(c, "CHANGE_PASSWORD_REJECTED", "Authentication token manipulation error", NULL);
    char *const password = xk_strdup(sim_arg_text(c, 1));
    if (!password)
        return sim_no_memory(c);
    OPENSSL_cleanse(p->password, strlen(p->password));
    free(p->password);
    p->password = password;
    return SIM_DONE;
}

/* A file of the host's own control domain; a simulated one has none. */
static enum sim_outcome from_db_file(struct sim_call *c)
{
    char *const text = xk_arena_printf(&c->arena, "Unix.Unix_error(Unix.ENOENT, \"open\", \"%s\")", sim_arg_text(c, 0));

    return text ? sim_fail(c, "INTERNAL_ERROR", text, NULL) : sim_no_memory(c);
}

/* ---- subjects' sessions ---- */

static const char *subject_sid(const struct simpool *p, const struct sim_session *s)
{
    const struct sim_object *const subject = s->object ? sim_follow(p, s->object, "subject") : NULL;

    return subject ? sim_text(subject, "subject_identifier") : "";
}

/* Of the users themselves and of the subjects that they came in by, each once. */
static enum sim_outcome subject_identifiers(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    size_t count = 0, sessions = 0;

    for (const struct sim_session *s = p->sessions; s; s = s->next)
        sessions++;
    struct xapi_value *const items = xk_arena_alloc(&c->arena, (2 * sessions + 1) * sizeof(*items));
    if (!items)
        return sim_no_memory(c);
    for (const struct sim_session *s = p->sessions; s; s = s->next) {
        const char *const sids[] = {s->object ? sim_text(s->object, "auth_user_sid") : "", subject_sid(p, s)};
        for (size_t i = 0; !s->superuser && i < XK_COUNT(sids); i++) {
            const struct xapi_value so_far = xapi_list(items, count);
            if (*sids[i] && !xapi_list_has(&so_far, sids[i]))
                items[count++] = xapi_str(sids[i]);
        }
    }
    c->result = xapi_list(items, count);
    return SIM_DONE;
}

static enum sim_outcome logout_subject(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    const char *const sid = sim_arg_text(c, 0);

    for (struct sim_session *s = p->sessions, *next; s; s = next) {
        next = s->next;
        if (s->object && !s->superuser && s != c->session &&
            (strcmp(sim_text(s->object, "auth_user_sid"), sid) == 0 || strcmp(subject_sid(p, s), sid) == 0)) {
            sim_log_session_destroy(p, c, s);
            sim_audit_session(p, s, NULL);
            sim_session_end(p, s);
        }
    }
    return SIM_DONE;
}

/* ---- collector ---- */

/* It has a task that is not over, or its parent has. */
static bool is_busy(const struct simpool *p, const struct sim_session *s)
{
    for (const struct sim_object *o = s->object; o; o = sim_follow(p, o, "parent")) {
        const struct xapi_value *const tasks = sim_get(o, "tasks");
        for (size_t i = 0; i < tasks->count; i++) {
            const struct sim_object *const task = sim_find(p, xapi_value_text(&tasks->items[i]), NULL);
            if (task && !sim_task_is_over(task))
                return true;
        }
    }
    return false;
}

static unsigned limit_of(const struct simpool *p, const char *group)
{
    if (p->settings.limit)
        return p->settings.limit;
    return strcmp(group, EXTERNAL) == 0 || strcmp(group, INTERNAL) == 0 ? LIMIT_ANONYMOUS
                                                                        : sim_era(p->settings.era)->named_limit;
}

/* By group; in it, the one used longest ago first, and of those used within a second the oldest. */
static int compare_turn(const void *left, const void *right)
{
    const struct sim_session *const a = *(struct sim_session *const *)left, *const b =
                                                                                *(struct sim_session *const *)right;
    const int group = strcmp(a->group, b->group);

    if (group != 0)
        return group;
    if (a->last_active_s != b->last_active_s)
        return a->last_active_s < b->last_active_s ? -1 : 1;
    return a->order < b->order ? -1 : 1;
}

/* Those that may be ended, in the order in which they would be. NULL: no memory; then the next pass has to do. */
static struct sim_session **list_disposable(const struct simpool *p, size_t *ret_count)
{
    size_t count = 0;

    for (const struct sim_session *s = p->sessions; s; s = s->next)
        count++;
    struct sim_session **const list = xk_array_alloc(count + 1, sizeof(*list));
    count = 0;
    for (struct sim_session *s = list ? p->sessions : NULL; s; s = s->next)
        if (!s->local && !is_busy(p, s))
            list[count++] = s;
    if (list)
        qsort(list, count, sizeof(*list), compare_turn);
    *ret_count = count;
    return list;
}

static unsigned count_of(const struct simpool *p, const char *group)
{
    unsigned count = 0;

    for (const struct sim_session *s = p->sessions; s; s = s->next)
        count += strcmp(s->group, group) == 0;
    return count;
}

/* One group, sorted: all that nobody used for a day, then the oldest of those above the limit. */
static void collect_group(struct simpool *p, struct sim_session **group, size_t count)
{
    const unsigned limit = limit_of(p, group[0]->group);
    const int64_t now = sim_now_s(p);
    size_t old = 0;

    while (old < count && now - group[old]->last_active_s >= INACTIVE_S)
        old++;
    if (count - old > limit)
        sim_log_too_many(p, group[0]->group, (unsigned)count, count_of(p, group[0]->group), limit);
    for (size_t i = 0; i < count && (i < old || count - i > limit); i++) {
        sim_log_collected(p, group[i], i < old);
        sim_audit_session(p, group[i], NULL);
        sim_session_end(p, group[i]);
    }
}

void sim_sessions_collect(struct simpool *p)
{
    const int64_t now = sim_now_s(p);
    size_t count;

    sim_log_pass(p);
    if (now - p->revalidated_s >= REVALIDATE_S) {
        p->revalidated_s = now;
        sim_subjects_revalidate(p);
    }
    xk_autofree struct sim_session **list = list_disposable(p, &count);
    for (size_t first = 0, end; list && first < count; first = end) {
        for (end = first + 1; end < count && strcmp(list[end]->group, list[first]->group) == 0;)
            end++;
        collect_group(p, list + first, end - first);
    }
}

const struct sim_row sim_session_rows[] = {
    {"session.login_with_password", login},
    {"session.slave_login", slave_login},
    {"session.slave_local_login", local_login_secret},
    {"session.slave_local_login_with_password", local_login},
    {"pool.initial_auth", initial_auth},
    {"session.create_from_db_file", from_db_file},
    {"session.logout", logout},
    {"session.local_logout", local_logout},
    {"session.change_password", change_password},
    {"session.get_all_subject_identifiers", subject_identifiers},
    {"session.logout_subject_identifier", logout_subject},
    {NULL, NULL},
};
