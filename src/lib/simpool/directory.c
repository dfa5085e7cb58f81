/*
 * The directory of users that the simulated pool asks when external authentication is on.
 *
 * A real pool asks Active Directory; here a text has its users, their passwords, the roles that they begin with and
 * their groups. Identifiers are made from the order of the lines, so the same text always gives the same ones.
 */
#include "lib/simpool/access.h"

#include "core/text.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define FIRST_USER     1001
#define FIRST_GROUP    5001
#define LINE_BYTES_MAX 1024

static struct sim_person *person_add(struct sim_directory *d, const char *name, size_t len, unsigned first)
{
    if (d->count == SIM_USERS_MAX || len == 0 || len >= SIM_USER_NAME_MAX)
        return NULL;
    struct sim_person *const p = &d->people[d->count];
    *p = (struct sim_person){.number = first + d->count};
    d->count++;
    snprintf(p->name, sizeof(p->name), "%.*s", (int)len, name);
    snprintf(p->sid, sizeof(p->sid), "S-1-5-21-1000-2000-3000-%u", p->number);
    return p;
}

static struct sim_person *person_find(struct sim_directory *d, const char *name, size_t len)
{
    for (unsigned i = 0; i < d->count; i++)
        if (strlen(d->people[i].name) == len && strncasecmp(d->people[i].name, name, len) == 0)
            return &d->people[i];
    return NULL;
}

static bool add_groups(struct sim_directory *d, struct sim_person *user, const char *at)
{
    while (*at) {
        const size_t len = strcspn(at, ",");
        const struct sim_person *group = person_find(d, at, len);
        if (!group)
            group = person_add(d, at, len, FIRST_GROUP);
        if (!group || group->password || user->group_count == XK_COUNT(user->groups))
            return false;
        user->groups[user->group_count++] = (unsigned)(group - d->people);
        at += len + (at[len] == ',');
    }
    return true;
}

static const char *add_line(struct sim_directory *d, const char *line)
{
    const size_t name = strcspn(line, ":");
    const char *at = line + name;

    if (*at++ != ':' || name == 0)
        return "NAME:PASSWORD[:ROLE[:GROUP,GROUP…]] is needed";
    if (person_find(d, line, name) || strncasecmp(line, "root:", 5) == 0)
        return "this name is taken";
    const size_t password = strcspn(at, ":");
    struct sim_person *const user = person_add(d, line, name, FIRST_USER);
    if (!user)
        return "too many users, or a name that is too long";
    user->password = xk_strndup(at, password);
    if (!user->password)
        return "no memory";
    if (password == 0)
        return "the password is empty";
    at += password + (at[password] == ':');
    const size_t role = strcspn(at, ":");
    char text[SIM_USER_NAME_MAX];
    snprintf(text, sizeof(text), "%.*s", (int)XK_MIN(role, sizeof(text) - 1), at);
    user->role = sim_role_named(text);
    if (role && !user->role)
        return "there is no such role";
    at += role + (at[role] == ':');
    return add_groups(d, user, at) ? NULL : "groups: too many, or one has a user's name";
}

int sim_directory_read(struct sim_directory **ret, const char *text, struct xk_err *err)
{
    struct sim_directory *const d = xk_zalloc(sizeof(*d));
    unsigned number = 0;
    char line[LINE_BYTES_MAX];

    if (!d)
        return xk_fail_memory(err);
    while (*text) {
        const size_t len = strcspn(text, "\n");
        const char *wrong = len < sizeof(line) ? NULL : "the line is too long";
        number++;
        snprintf(line, sizeof(line), "%.*s", (int)XK_MIN(len, sizeof(line) - 1), text);
        line[strcspn(line, "\r")] = '\0';
        if (!wrong && *line && *line != '#')
            wrong = add_line(d, line);
        OPENSSL_cleanse(line, sizeof(line));
        if (wrong) {
            sim_directory_close(d);
            return xk_fail(err, -EINVAL, "users, line %u: %s", number, wrong);
        }
        text += len + (text[len] == '\n');
    }
    *ret = d;
    return 0;
}

void sim_directory_close(struct sim_directory *d)
{
    for (unsigned i = 0; d && i < d->count; i++) {
        if (d->people[i].password)
            OPENSSL_cleanse(d->people[i].password, strlen(d->people[i].password));
        free(d->people[i].password);
    }
    free(d);
}

const struct sim_person *sim_directory_named(const struct sim_directory *d, const char *name)
{
    const char *const slash = strchr(name, '\\'), *const at = strchr(name, '@');
    size_t len = at && !slash ? (size_t)(at - name) : strlen(name);

    if (!d || (at && !slash && strcasecmp(at + 1, SIM_DIRECTORY_NAME) != 0))
        return NULL;
    if (slash) {
        static const char own[] = SIM_DIRECTORY_NAME;
        const size_t domain = (size_t)(slash - name);
        /* The whole name, or as old Windows has it: up to the first dot. */
        if (strncasecmp(name, own, domain) != 0 || (own[domain] != '\0' && own[domain] != '.'))
            return NULL;
        name = slash + 1;
        len = strlen(name);
    }
    return person_find((struct sim_directory *)d, name, len);
}

const struct sim_person *sim_directory_identified(const struct sim_directory *d, const char *sid)
{
    for (unsigned i = 0; d && i < d->count; i++)
        if (strcmp(d->people[i].sid, sid) == 0)
            return &d->people[i];
    return NULL;
}

static void put_pair(struct xapi_build *b, const char *key, const char *text)
{
    xapi_build_value(b, xapi_str(key));
    xapi_build_text(b, text);
}

void sim_directory_describe(const struct sim_person *who, struct xapi_build *b)
{
    char text[SIM_USER_NAME_MAX + 64];

    snprintf(text, sizeof(text), "SIM\\%s", who->name);
    put_pair(b, "subject-name", text);
    snprintf(text, sizeof(text), "%u", who->number);
    if (who->password) {
        put_pair(b, "subject-gecos", who->name);
        put_pair(b, "subject-displayname", who->name);
        put_pair(b, "subject-uid", text);
        put_pair(b, "subject-gid", "513");
        snprintf(text, sizeof(text), "%s@%s", who->name, SIM_DIRECTORY_NAME);
        put_pair(b, "subject-upn", text);
        put_pair(b, "subject-account-disabled", "false");
        put_pair(b, "subject-account-locked", "false");
        put_pair(b, "subject-account-expired", "false");
        put_pair(b, "subject-password-expired", "false");
    } else {
        put_pair(b, "subject-gid", text);
    }
    put_pair(b, "subject-sid", who->sid);
    put_pair(b, "subject-is-group", who->password ? "false" : "true");
}

void sim_directory_enable(struct simpool *p)
{
    for (struct sim_object *host = sim_first(p, "host"); host; host = host->class_next) {
        sim_put_text(p, host, "external_auth_type", "AD");
        sim_put_text(p, host, "external_auth_service_name", SIM_DIRECTORY_NAME);
        sim_put_map(p, host, "external_auth_configuration", (const char *const[]){"domain", SIM_DIRECTORY_NAME, NULL});
    }
    for (unsigned i = 0; i < p->directory->count; i++)
        if (p->directory->people[i].role)
            (void)sim_subject_add(p, &p->directory->people[i], p->directory->people[i].role);
}
