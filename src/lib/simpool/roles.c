/*
 * Roles and permissions.
 *
 * A permission is a message's name in lower case, or a key of a map that its message lets other roles change. The real
 * server has them in code, not in its database, and so here: they are made from the model when somebody first asks for
 * them, and no event ever tells of them. Whether a call is allowed needs only the mask that stands in its row.
 */
#include "lib/simpool/access.h"

#include "core/text.h"

#include <ctype.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#define NAME_BYTES_MAX 256
#define ANY_TASK       "task.destroy/any"

/* In the order in which the server lists those that have a permission. */
static const struct role {
    const char *name, *description, *uuid; /* uuid NULL: made from the name */
    unsigned bit;
    bool internal;
} roles[] = {
    {"vm-power-admin",
     "The VM Power Administrator role has full access to VM and template management and can choose where to start VMs "
     "and use the dynamic memory control and VM snapshot features",
     NULL, XAPI_ROLE_VPA, false},
    {"vm-admin", "The VM Administrator role can manage VMs and templates", NULL, XAPI_ROLE_VA, false},
    {"vm-operator", "The VM Operator role can use VMs and interact with VM consoles", NULL, XAPI_ROLE_VO, false},
    {"read-only", "The Read-Only role can log in with basic read-only access", NULL, XAPI_ROLE_RO, false},
    {"client-cert",
     "The Client Certificate role has access to functionality granted to those who authenticate using a client "
     "certificate",
     NULL, XAPI_ROLE_CC, true},
    {"pool-admin",
     "The Pool Administrator role has full access to all features and settings, including accessing Dom0 and managing "
     "subjects, roles and external authentication",
     "0165f154-ba3e-034e-6b27-5d271af109ba", XAPI_ROLE_PA, false},
    {"pool-operator",
     "The Pool Operator role manages host- and pool-wide resources, including setting up storage, creating resource "
     "pools and managing patches, high availability (HA) and workload balancing (WLB)",
     NULL, XAPI_ROLE_PO, false},
};

unsigned sim_role_named(const char *name_label)
{
    for (size_t i = 0; i < XK_COUNT(roles); i++)
        if (strcmp(roles[i].name, name_label) == 0)
            return roles[i].bit;
    return 0;
}

/* A name's reference is its MD5: the same in every pool. */
static void ref_of_name(const char *name, char ret[SIM_REF_BYTES])
{
    uint8_t digest[EVP_MAX_MD_SIZE] = {0};

    (void)EVP_Digest(name, strlen(name), digest, NULL, EVP_md5(), NULL);
    snprintf(ret, SIM_REF_BYTES, "OpaqueRef:%.36s", xk_uuid_text(digest).s);
}

static void ref_of_role(const struct role *role, char ret[SIM_REF_BYTES])
{
    if (role->uuid)
        snprintf(ret, SIM_REF_BYTES, "OpaqueRef:%s", role->uuid);
    else
        ref_of_name(role->name, ret);
}

void sim_role_ref(unsigned role, char ret[SIM_REF_BYTES])
{
    ret[0] = '\0';
    for (size_t i = 0; i < XK_COUNT(roles); i++)
        if (roles[i].bit == (role & -role))
            ref_of_role(&roles[i], ret);
}

unsigned sim_role_referred(const char *ref)
{
    char own[SIM_REF_BYTES];

    for (size_t i = 0; i < XK_COUNT(roles); i++) {
        ref_of_role(&roles[i], own);
        if (strcmp(own, ref) == 0)
            return roles[i].bit;
    }
    return 0;
}

/* ---- keys of maps ---- */

/* One of "KEY:PA,PO|KEY*:VO". */
struct key {
    char name[NAME_BYTES_MAX];
    unsigned roles;
};

static bool next_key(const char **at, struct key *ret)
{
    static const struct {
        const char *name;
        unsigned bit;
    } words[] = {{"PA", XAPI_ROLE_PA}, {"PO", XAPI_ROLE_PO}, {"VPA", XAPI_ROLE_VPA}, {"VA", XAPI_ROLE_VA},
                 {"VO", XAPI_ROLE_VO}, {"CC", XAPI_ROLE_CC}, {"RO", XAPI_ROLE_RO}};

    if (!**at)
        return false;
    const size_t len = strcspn(*at, ":");
    snprintf(ret->name, sizeof(ret->name), "%.*s", (int)len, *at);
    ret->roles = 0;
    *at += len;
    while (**at == ':' || **at == ',') {
        const char *const word = ++*at;
        *at += strcspn(word, ",|");
        for (size_t i = 0; i < XK_COUNT(words); i++)
            if (strlen(words[i].name) == (size_t)(*at - word) &&
                strncmp(word, words[i].name, strlen(words[i].name)) == 0)
                ret->roles |= words[i].bit;
    }
    *at += **at == '|';
    return true;
}

static bool key_is(const char *pattern, const char *key)
{
    const size_t len = strlen(pattern);

    return len && pattern[len - 1] == '*' ? strncmp(pattern, key, len - 1) == 0 : strcmp(pattern, key) == 0;
}

static void lower(char *text)
{
    for (; *text; text++)
        *text = (char)tolower((unsigned char)*text);
}

/* ---- checking ---- */

bool sim_access_has(const struct sim_session *s, unsigned wanted)
{
    return !s || s->local || s->superuser || s->roles & wanted;
}

void sim_access_denial(char ret[SIM_DENIAL_BYTES], unsigned wanted)
{
    char names[NAME_BYTES_MAX] = "";

    for (size_t i = 0; i < XK_COUNT(roles); i++)
        if (wanted & roles[i].bit) {
            const size_t len = strlen(names);
            snprintf(names + len, sizeof(names) - len, "%s%s", len ? ", " : "", roles[i].name);
        }
    snprintf(ret, SIM_DENIAL_BYTES, "No permission in user session. (Roles with this permission: %s)", names);
}

enum sim_outcome sim_access_deny(struct sim_call *c, const char *permission, unsigned wanted)
{
    char text[SIM_DENIAL_BYTES];

    sim_access_denial(text, wanted);
    return sim_fail(c, "RBAC_PERMISSION_DENIED", permission, text, NULL);
}

enum sim_outcome sim_access_check(struct sim_call *c)
{
    const struct xapi_message *const m = c->message;
    const char *keys = xapi_text(m->keys);
    unsigned wanted = m->roles & ~(unsigned)XAPI_ROLE_LOCAL;
    char permission[2 * NAME_BYTES_MAX];
    struct key key;

    if (!(m->flags & XAPI_MESSAGE_SESSION) || sim_access_has(c->session, 0))
        return SIM_DONE;
    snprintf(permission, sizeof(permission), "%s", xapi_text(m->name));
    while (m->params > 1 && next_key(&keys, &key)) {
        if (!key_is(key.name, sim_arg_text(c, 1)))
            continue;
        snprintf(permission, sizeof(permission), "%s/key:%s", xapi_text(m->name), key.name);
        wanted = key.roles;
        break;
    }
    lower(permission);
    return c->session->roles & wanted ? SIM_DONE : sim_access_deny(c, permission, wanted);
}

/* ---- all permissions ---- */

typedef void visit(void *context, const char *name, unsigned wanted);

static void each_permission(visit *see, void *context)
{
    char name[2 * NAME_BYTES_MAX];
    struct key key;

    for (unsigned i = 0; i < xapi_message_count; i++) {
        const struct xapi_message *const m = &xapi_messages[i];
        if (!(m->roles & XAPI_ROLE_PA))
            continue;
        see(context, xapi_text(m->name), m->roles);
        for (const char *keys = xapi_text(m->keys); next_key(&keys, &key);) {
            snprintf(name, sizeof(name), "%s/key:%s", xapi_text(m->name), key.name);
            see(context, name, key.roles);
        }
    }
    see(context, ANY_TASK, XAPI_ROLE_PA | XAPI_ROLE_PO);
}

struct listing {
    struct xapi_build *build;
    unsigned roles; /* only permissions of these */
    bool refs;
};

static void list_permission(void *context, const char *name, unsigned wanted)
{
    const struct listing *const l = context;
    char text[2 * NAME_BYTES_MAX];

    if (!(wanted & l->roles))
        return;
    if (l->refs) {
        ref_of_name(name, text);
    } else {
        snprintf(text, sizeof(text), "%s", name);
        lower(text);
    }
    xapi_build_text(l->build, text);
}

void sim_access_list(struct xapi_build *b, unsigned of)
{
    for (size_t i = 0; i < XK_COUNT(roles); i++)
        if (of & roles[i].bit)
            xapi_build_value(b, xapi_str(roles[i].name));
    each_permission(list_permission, &(struct listing){.build = b, .roles = of});
}

/* ---- the rows of the class ---- */

/* A role, or a permission: what a row of class role is. */
struct row {
    char ref[SIM_REF_BYTES], label[2 * NAME_BYTES_MAX];
    const char *description;
    unsigned roles; /* of a role itself; of a permission: those that have it */
    bool is_role, internal;
};

static struct row row_of_role(const struct role *role)
{
    struct row row = {
        .description = role->description, .roles = role->bit, .is_role = true, .internal = role->internal};

    ref_of_role(role, row.ref);
    snprintf(row.label, sizeof(row.label), "%s", role->name);
    return row;
}

struct rows {
    void (*see)(void *context, const struct row *row);
    void *context;
};

static void see_permission(void *context, const char *name, unsigned wanted)
{
    const struct rows *const r = context;
    struct row row = {.description = "A basic permission", .roles = wanted, .internal = true};

    ref_of_name(name, row.ref);
    snprintf(row.label, sizeof(row.label), "%s", name);
    lower(row.label);
    r->see(r->context, &row);
}

static void each_row(void (*see)(void *context, const struct row *row), void *context)
{
    each_permission(see_permission, &(struct rows){.see = see, .context = context});
    for (size_t i = 0; i < XK_COUNT(roles); i++) {
        const struct row row = row_of_role(&roles[i]);
        see(context, &row);
    }
}

struct search {
    const char *ref, *label; /* one of them, the other NULL; both NULL: find nothing */
    struct row found;
    bool any;
};

static void see_match(void *context, const struct row *row)
{
    struct search *const s = context;

    if (!s->any && ((s->ref && strcmp(s->ref, row->ref) == 0) || (s->label && strcmp(s->label, row->label) == 0))) {
        s->found = *row;
        s->any = true;
    }
}

/* The row that argument 0 refers to. */
static bool row_arg(struct sim_call *c, struct row *ret)
{
    struct search s = {.ref = sim_arg_text(c, 0)};

    each_row(see_match, &s);
    *ret = s.found;
    if (!s.any)
        (void)sim_bad_handle(c, (uint16_t)xapi_class_index(xapi_class_find("role")), s.ref);
    return s.any;
}

static enum sim_outcome built(struct sim_call *c, struct xapi_build *b)
{
    return xapi_build_end(b, &c->result) < 0 ? sim_no_memory(c) : SIM_DONE;
}

static void put_subroles(struct xapi_build *b, const struct row *row, bool refs, bool itself)
{
    xapi_build_open(b, XAPI_LIST);
    if (row->is_role)
        each_permission(list_permission, &(struct listing){.build = b, .roles = row->roles, .refs = refs});
    else if (itself)
        xapi_build_text(b, refs ? row->ref : row->label);
    xapi_build_close(b);
}

static void put_record(struct xapi_build *b, const struct row *row)
{
    xapi_build_open(b, XAPI_MAP);
    xapi_build_value(b, xapi_str("uuid"));
    xapi_build_text(b, row->ref + strlen("OpaqueRef:"));
    xapi_build_value(b, xapi_str("name_label"));
    xapi_build_text(b, row->label);
    xapi_build_value(b, xapi_str("name_description"));
    xapi_build_text(b, row->description);
    xapi_build_value(b, xapi_str("subroles"));
    put_subroles(b, row, true, false);
    xapi_build_value(b, xapi_str("is_internal"));
    xapi_build_value(b, xapi_bool(row->internal));
    xapi_build_close(b);
}

static enum sim_outcome get_record(struct sim_call *c)
{
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&c->arena);
    struct row row;

    if (!row_arg(c, &row))
        return SIM_FAILED;
    put_record(&b, &row);
    return built(c, &b);
}

static enum sim_outcome get_by_uuid(struct sim_call *c)
{
    char ref[SIM_REF_BYTES];
    struct search s = {.ref = ref};

    snprintf(ref, sizeof(ref), "OpaqueRef:%.36s", sim_arg_text(c, 0));
    each_row(see_match, &s);
    if (!s.any || strlen(sim_arg_text(c, 0)) != 36)
        return sim_fail(c, "UUID_INVALID", "role", sim_arg_text(c, 0), NULL);
    c->result = xapi_str(xk_arena_strdup(&c->arena, ref));
    return c->result.text ? SIM_DONE : sim_no_memory(c);
}

static enum sim_outcome get_by_name_label(struct sim_call *c)
{
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&c->arena);
    struct search s = {.label = sim_arg_text(c, 0)};

    each_row(see_match, &s);
    xapi_build_open(&b, XAPI_LIST);
    if (s.any)
        xapi_build_text(&b, s.found.ref);
    xapi_build_close(&b);
    return built(c, &b);
}

/* One field of the row, as a value. */
static enum sim_outcome get_field(struct sim_call *c)
{
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&c->arena);
    const char *const field = xapi_text(xapi_fields[c->message->field].name);
    struct row row;

    if (!row_arg(c, &row))
        return SIM_FAILED;
    if (strcmp(field, "subroles") == 0)
        put_subroles(&b, &row, true, false);
    else if (strcmp(field, "is_internal") == 0)
        xapi_build_value(&b, xapi_bool(row.internal));
    else if (strcmp(field, "name_label") == 0)
        xapi_build_text(&b, row.label);
    else if (strcmp(field, "name_description") == 0)
        xapi_build_text(&b, row.description);
    else
        xapi_build_text(&b, row.ref + strlen("OpaqueRef:"));
    return built(c, &b);
}

struct many {
    struct xapi_build *build;
    bool records, roles, permissions;
};

static void see_many(void *context, const struct row *row)
{
    const struct many *const m = context;

    if (!(row->is_role ? m->roles : m->permissions))
        return;
    xapi_build_text(m->build, row->ref);
    if (m->records)
        put_record(m->build, row);
}

/* The server knows two expressions here; any other means all rows. */
static enum sim_outcome get_many(struct sim_call *c, bool records, const char *expression)
{
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&c->arena);
    const struct many m = {.build = &b,
                           .records = records,
                           .roles = strcmp(expression, "subroles=[]") != 0,
                           .permissions = strcmp(expression, "subroles<>[]") != 0};

    xapi_build_open(&b, records ? XAPI_MAP : XAPI_LIST);
    each_row(see_many, (void *)&m);
    xapi_build_close(&b);
    return built(c, &b);
}

static enum sim_outcome get_all(struct sim_call *c)
{
    return get_many(c, false, "");
}

static enum sim_outcome get_all_records(struct sim_call *c)
{
    return get_many(c, true, "");
}

static enum sim_outcome get_all_where(struct sim_call *c)
{
    return get_many(c, false, sim_arg_text(c, 0));
}

static enum sim_outcome get_all_records_where(struct sim_call *c)
{
    return get_many(c, true, sim_arg_text(c, 0));
}

static enum sim_outcome permissions_of(struct sim_call *c, bool refs)
{
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&c->arena);
    struct row row;

    if (!row_arg(c, &row))
        return SIM_FAILED;
    put_subroles(&b, &row, refs, true);
    return built(c, &b);
}

static enum sim_outcome get_permissions(struct sim_call *c)
{
    return permissions_of(c, true);
}

static enum sim_outcome get_permissions_name_label(struct sim_call *c)
{
    return permissions_of(c, false);
}

static enum sim_outcome holders_of(struct sim_call *c, struct search s)
{
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&c->arena);
    char ref[SIM_REF_BYTES];

    each_row(see_match, &s);
    xapi_build_open(&b, XAPI_LIST);
    for (size_t i = 0; s.any && !s.found.is_role && i < XK_COUNT(roles); i++)
        if (s.found.roles & roles[i].bit) {
            ref_of_role(&roles[i], ref);
            xapi_build_text(&b, ref);
        }
    xapi_build_close(&b);
    return built(c, &b);
}

static enum sim_outcome get_by_permission(struct sim_call *c)
{
    return holders_of(c, (struct search){.ref = sim_arg_text(c, 0)});
}

static enum sim_outcome get_by_permission_name_label(struct sim_call *c)
{
    return holders_of(c, (struct search){.label = sim_arg_text(c, 0)});
}

const struct sim_row sim_role_rows[] = {
    {"role.get_record", get_record},
    {"role.get_by_uuid", get_by_uuid},
    {"role.get_by_name_label", get_by_name_label},
    {"role.get_uuid", get_field},
    {"role.get_name_label", get_field},
    {"role.get_name_description", get_field},
    {"role.get_subroles", get_field},
    {"role.get_is_internal", get_field},
    {"role.get_all", get_all},
    {"role.get_all_where", get_all_where},
    {"role.get_all_records", get_all_records},
    {"role.get_all_records_where", get_all_records_where},
    {"role.get_permissions", get_permissions},
    {"role.get_permissions_name_label", get_permissions_name_label},
    {"role.get_by_permission", get_by_permission},
    {"role.get_by_permission_name_label", get_by_permission_name_label},
    {NULL, NULL},
};
