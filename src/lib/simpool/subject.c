/*
 * Subjects: those of the directory who may log in here, and external authentication itself.
 *
 * A login with a name other than root's is looked up in the directory, then among the subjects: the user's own or one
 * of a group. What the subject's roles were at that moment the session keeps, as on a real pool.
 */
#include "lib/simpool/access.h"
#include "lib/simpool/hosts.h"

#include "core/text.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static bool same_secret(const char *a, const char *b)
{
    const size_t len = strlen(a);

    return strlen(b) == len && CRYPTO_memcmp(a, b, len) == 0;
}

static const struct sim_object *master_of(const struct simpool *p)
{
    return sim_follow(p, sim_first(p, "pool"), "master");
}

/* The directory, when external authentication is on. */
static const struct sim_directory *directory_of(const struct simpool *p)
{
    return *sim_text(master_of(p), "external_auth_type") ? p->directory : NULL;
}

static struct sim_object *subject_identified(const struct simpool *p, const char *sid)
{
    struct sim_object *o = sim_first(p, "subject");

    while (o && strcmp(sim_text(o, "subject_identifier"), sid) != 0)
        o = o->class_next;
    return o;
}

static unsigned roles_of(const struct sim_object *subject)
{
    const struct xapi_value *const list = sim_get(subject, "roles");
    unsigned roles = 0;

    for (size_t i = 0; i < list->count; i++)
        roles |= sim_role_referred(xapi_value_text(&list->items[i]));
    return roles;
}

/* ---- login ---- */

enum sim_outcome sim_subject_login(struct sim_call *c, const char *user, const char *password, struct sim_standing *ret)
{
    const struct simpool *const p = c->pool;
    const struct sim_directory *const d = directory_of(p);
    const struct sim_person *const who = sim_directory_named(d, user);
    char text[512];

    if (!who || !who->password || !same_secret(who->password, password))
        return sim_fail(c, "SESSION_AUTHENTICATION_FAILED", user,
                        d ? "The user name or password is incorrect" : "Authentication failure", NULL);
    *ret = (struct sim_standing){.who = who, .subject = subject_identified(p, who->sid)};
    if (ret->subject)
        ret->roles = roles_of(ret->subject);
    for (unsigned i = 0; i < who->group_count; i++) {
        const struct sim_object *const group = subject_identified(p, d->people[who->groups[i]].sid);
        if (group && !ret->subject)
            ret->subject = group;
        ret->roles |= group ? roles_of(group) : 0;
    }
    if (!ret->subject) {
        snprintf(text, sizeof(text),
                 "Subject %s (identifier %s, from HTTP request from Internet) has no access rights in this pool", user,
                 who->sid);
        return sim_fail(c, "SESSION_AUTHORIZATION_FAILED", user, text, NULL);
    }
    if (!ret->roles) {
        snprintf(text, sizeof(text), "Subject %s (identifier %s) has no roles in this pool", user, who->sid);
        return sim_fail(c, "RBAC_PERMISSION_DENIED", "session.login_with_password", text, NULL);
    }
    return SIM_DONE;
}

/* Somebody's own subject is still there, or one of a group. */
static bool still_stands(const struct simpool *p, const char *sid)
{
    const struct sim_directory *const d = directory_of(p);
    const struct sim_person *const who = sim_directory_identified(d, sid);
    bool found = who && subject_identified(p, sid);

    for (unsigned i = 0; who && !found && i < who->group_count; i++)
        found = subject_identified(p, d->people[who->groups[i]].sid) != NULL;
    return found;
}

void sim_subjects_revalidate(struct simpool *p)
{
    for (struct sim_session *s = p->sessions, *next; s; s = next) {
        next = s->next;
        if (s->object && !s->superuser && !still_stands(p, sim_text(s->object, "auth_user_sid")))
            sim_session_end(p, s);
    }
}

/* ---- subjects ---- */

struct sim_object *sim_subject_add(struct simpool *p, const struct sim_person *who, unsigned role)
{
    xk_auto(xk_arena_done) struct xk_arena arena = XK_ARENA_INIT(65536);
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&arena);
    struct sim_object *const o = sim_create(p, "subject");
    struct xapi_value map;
    char ref[SIM_REF_BYTES];

    if (!o)
        return NULL;
    xapi_build_open(&b, XAPI_MAP);
    sim_directory_describe(who, &b);
    xapi_build_close(&b);
    if (xapi_build_end(&b, &map) < 0)
        p->error = -ENOMEM;
    else
        sim_put(p, o, "other_config", map);
    sim_put_text(p, o, "subject_identifier", who->sid);
    sim_role_ref(role, ref);
    sim_put_list(p, o, "roles", role ? (const char *const[]){ref, NULL} : (const char *const[]){NULL});
    return o;
}

static enum sim_outcome disabled(struct sim_call *c)
{
    return sim_fail(c, "AUTH_IS_DISABLED", NULL);
}

/* What the record says of the subject does not count: the directory is asked, as on a real pool. */
static enum sim_outcome create(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    const struct sim_directory *const d = directory_of(p);
    const char *const sid = xapi_value_text(xapi_map_get(&c->args[0], "subject_identifier"));

    if (subject_identified(p, sid))
        return sim_fail(c, "SUBJECT_ALREADY_EXISTS", NULL);
    if (!d)
        return disabled(c);
    const struct sim_person *const who = sim_directory_identified(d, sid);
    if (!who)
        return sim_fail(c, "SUBJECT_CANNOT_BE_RESOLVED", NULL);
    struct sim_object *const o = sim_subject_add(p, who, 0);
    if (!o)
        return sim_no_memory(c);
    c->result = xapi_str(o->ref);
    return SIM_DONE;
}

static enum sim_outcome change_roles(struct sim_call *c, bool in)
{
    struct sim_object *const o = sim_arg(c, 0);
    const char *const role = sim_arg_text(c, 1);

    if (!o)
        return SIM_FAILED;
    const bool has = xapi_list_has(sim_get(o, "roles"), role);
    if (in && has)
        return sim_fail(c, "ROLE_ALREADY_EXISTS", NULL);
    if (in ? !sim_role_referred(role) : !has)
        return sim_fail(c, "ROLE_NOT_FOUND", NULL);
    const unsigned place = xapi_field_place(o->class_row, "roles");
    if (in)
        sim_list_add(c->pool, o, place, &c->args[1]);
    else
        sim_list_remove(c->pool, o, place, &c->args[1]);
    return SIM_DONE;
}

static enum sim_outcome add_to_roles(struct sim_call *c)
{
    return change_roles(c, true);
}

static enum sim_outcome remove_from_roles(struct sim_call *c)
{
    return change_roles(c, false);
}

static enum sim_outcome get_permissions(struct sim_call *c)
{
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&c->arena);
    const struct sim_object *const o = sim_arg(c, 0);

    if (!o)
        return SIM_FAILED;
    xapi_build_open(&b, XAPI_LIST);
    sim_access_list(&b, roles_of(o));
    xapi_build_close(&b);
    return xapi_build_end(&b, &c->result) < 0 ? sim_no_memory(c) : SIM_DONE;
}

/* ---- the directory's own questions ---- */

static enum sim_outcome get_identifier(struct sim_call *c)
{
    const struct sim_directory *const d = directory_of(c->pool);
    const struct sim_person *const who = sim_directory_named(d, sim_arg_text(c, 0));

    if (!d)
        return disabled(c);
    if (!who)
        return sim_fail(c, "SUBJECT_CANNOT_BE_RESOLVED", NULL);
    c->result = xapi_str(who->sid);
    return SIM_DONE;
}

static enum sim_outcome get_information(struct sim_call *c)
{
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&c->arena);
    const struct sim_object *const known = subject_identified(c->pool, sim_arg_text(c, 0));
    const struct sim_directory *const d = directory_of(c->pool);

    if (known) {
        c->result = *sim_get(known, "other_config");
        return SIM_DONE;
    }
    const struct sim_person *const who = sim_directory_identified(d, sim_arg_text(c, 0));
    if (!who)
        return d ? sim_fail(c, "SUBJECT_CANNOT_BE_RESOLVED", NULL) : disabled(c);
    xapi_build_open(&b, XAPI_MAP);
    sim_directory_describe(who, &b);
    xapi_build_close(&b);
    return xapi_build_end(&b, &c->result) < 0 ? sim_no_memory(c) : SIM_DONE;
}

static enum sim_outcome get_membership(struct sim_call *c)
{
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&c->arena);
    const struct sim_directory *const d = directory_of(c->pool);
    const struct sim_person *const who = sim_directory_identified(d, sim_arg_text(c, 0));

    if (!who)
        return d ? sim_fail(c, "SUBJECT_CANNOT_BE_RESOLVED", NULL) : disabled(c);
    xapi_build_open(&b, XAPI_LIST);
    for (unsigned i = 0; i < who->group_count; i++)
        xapi_build_value(&b, xapi_str(d->people[who->groups[i]].sid));
    xapi_build_close(&b);
    return xapi_build_end(&b, &c->result) < 0 ? sim_no_memory(c) : SIM_DONE;
}

/* ---- external authentication ---- */

/* The arguments are host or pool, config, service_name, auth_type. returns NULL when it may be, else the error's code.
 */
static const char *cannot_enable(const struct sim_call *c, const char **ret_why)
{
    const char *const type = sim_arg_text(c, 3), *const service = sim_arg_text(c, 2);
    const char *const user = xapi_value_text(xapi_map_get(&c->args[1], "user"));
    const struct sim_person *const who = sim_directory_named(c->pool->directory, user);

    *ret_why = type;
    if (strcmp(type, "AD") != 0)
        return "AUTH_UNKNOWN_TYPE";
    *ret_why = "enable requires user";
    if (!*user)
        return "AUTH_ENABLE_FAILED";
    *ret_why = "enable requires pass";
    const char *const password = xapi_value_text(xapi_map_get(&c->args[1], "pass"));
    if (!*password)
        return "AUTH_ENABLE_FAILED";
    *ret_why = "Failed to look up the domain";
    if (!c->pool->directory || strcasecmp(service, SIM_DIRECTORY_NAME) != 0)
        return "AUTH_ENABLE_FAILED_DOMAIN_LOOKUP_FAILED";
    *ret_why = "The user name or password is incorrect";
    return who && who->password && same_secret(who->password, password) ? NULL : "AUTH_ENABLE_FAILED_WRONG_CREDENTIALS";
}

static void host_enable(struct sim_call *c, struct sim_object *host)
{
    sim_put_text(c->pool, host, "external_auth_type", sim_arg_text(c, 3));
    sim_put_text(c->pool, host, "external_auth_service_name", sim_arg_text(c, 2));
    sim_put_map(c->pool, host, "external_auth_configuration",
                (const char *const[]){"domain", SIM_DIRECTORY_NAME, "user",
                                      xapi_value_text(xapi_map_get(&c->args[1], "user")), NULL});
}

static void host_disable(struct simpool *p, struct sim_object *host)
{
    sim_put_text(p, host, "external_auth_type", "");
    sim_put_text(p, host, "external_auth_service_name", "");
    sim_put_map(p, host, "external_auth_configuration", (const char *const[]){NULL});
}

static enum sim_outcome enable_host(struct sim_call *c)
{
    struct sim_object *const host = sim_arg(c, 0);
    const char *why;

    if (!host)
        return SIM_FAILED;
    if (*sim_text(host, "external_auth_type"))
        return sim_fail(c, "AUTH_ALREADY_ENABLED", sim_text(host, "external_auth_type"),
                        sim_text(host, "external_auth_service_name"), NULL);
    const char *const wrong = cannot_enable(c, &why);
    if (wrong)
        return sim_fail(c, wrong, why, NULL);
    host_enable(c, host);
    return SIM_DONE;
}

static enum sim_outcome enable_pool(struct sim_call *c)
{
    const struct sim_object *const pool = sim_arg(c, 0);
    const char *why;
    char code[80];

    if (!pool)
        return SIM_FAILED;
    for (struct sim_object *host = sim_first(c->pool, "host"); host; host = host->class_next)
        if (*sim_text(host, "external_auth_type"))
            return sim_fail(c, "POOL_AUTH_ALREADY_ENABLED", host->ref, NULL);
    const char *const wrong = cannot_enable(c, &why);
    if (wrong && strcmp(wrong, "AUTH_UNKNOWN_TYPE") == 0)
        return sim_fail(c, wrong, why, NULL);
    snprintf(code, sizeof(code), "POOL_%s", wrong ? wrong : "");
    if (wrong)
        return sim_fail(c, code, sim_text(pool, "master"), why, NULL);
    for (struct sim_object *host = sim_first(c->pool, "host"); host; host = host->class_next)
        host_enable(c, host);
    return SIM_DONE;
}

static enum sim_outcome disable_host(struct sim_call *c)
{
    struct sim_object *const host = sim_arg(c, 0);

    if (!host)
        return SIM_FAILED;
    host_disable(c->pool, host);
    sim_subjects_revalidate(c->pool);
    return SIM_DONE;
}

static enum sim_outcome disable_pool(struct sim_call *c)
{
    if (!sim_arg(c, 0))
        return SIM_FAILED;
    for (struct sim_object *host = sim_first(c->pool, "host"); host; host = host->class_next)
        host_disable(c->pool, host);
    sim_subjects_revalidate(c->pool);
    return SIM_DONE;
}

/* A host with other settings than the master's is told of by a message. */
static enum sim_outcome detect_differences(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    const struct sim_object *const pool = sim_arg(c, 0), *const master = pool ? master_of(p) : NULL;
    char text[512];

    if (!pool)
        return SIM_FAILED;
    for (struct sim_object *host = sim_first(p, "host"); host; host = host->class_next) {
        const char *const type = sim_text(host, "external_auth_type"), *const name =
                                                                           sim_text(host, "external_auth_service_name");
        if (strcmp(type, sim_text(master, "external_auth_type")) == 0 &&
            strcmp(name, sim_text(master, "external_auth_service_name")) == 0)
            continue;
        snprintf(
            text, sizeof(text),
            "host_external_auth_type=%.32s, host_external_auth_service_name=%.128s, master_external_auth_type=%.32s, "
            "master_external_auth_service_name=%.128s",
            type, name, sim_text(master, "external_auth_type"), sim_text(master, "external_auth_service_name"));
        sim_alert(p, "EXTAUTH_IN_POOL_IS_NON_HOMOGENEOUS", 2, "Host", host, text);
    }
    return SIM_DONE;
}

const struct sim_row sim_subject_rows[] = {
    {"subject.create", create},
    {"subject.add_to_roles", add_to_roles},
    {"subject.remove_from_roles", remove_from_roles},
    {"subject.get_permissions_name_label", get_permissions},
    {"auth.get_subject_identifier", get_identifier},
    {"auth.get_subject_information_from_identifier", get_information},
    {"auth.get_group_membership", get_membership},
    {"host.enable_external_auth", enable_host},
    {"host.disable_external_auth", disable_host},
    {"pool.enable_external_auth", enable_pool},
    {"pool.disable_external_auth", disable_pool},
    {"pool.detect_nonhomogeneous_external_auth", detect_differences},
    {NULL, NULL},
};
